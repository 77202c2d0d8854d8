"""Train: read, prepare, learn epoch by epoch, and keep the model of the lowest validation loss."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.columns import misgivings
from deepmem.config import Config
from deepmem.data.files import check_writable, make_folder, owned, refuse_input_as_output, write_text
from deepmem.data.loaders import LOADERS, Loader, Paired, Rows
from deepmem.devices import DeviceNumber, on_device
from deepmem.errors import DeepMEMWarning, UsageError
from deepmem.evaluation.history import Epoch, read_history
from deepmem.jobs.doubts import Labels, repeated_files
from deepmem.jobs.events import tell_objects, unit_of
from deepmem.jobs.labels import describe_unusable, label_column_names, label_hypotheses, paired
from deepmem.jobs.models import guide_of
from deepmem.jobs.tasks import gev_factors
from deepmem.jobs.uncertainty import Uncertainty, uncertainty_of, with_rate
from deepmem.physics.processes import all_processes
from deepmem.ranges import Ranges, Unsaid
from deepmem.reporter import Reporter
from deepmem.surrogate.features import FeatureMap
from deepmem.surrogate.guide import Guide
from deepmem.surrogate.model import Surrogate, energy_unit, save_scaler
from deepmem.surrogate.network import build_members
from deepmem.surrogate.preparation import Counts, Preparation, Scaler
from deepmem.surrogate.training import Recipe, Training

_GUIDED_AT_ONCE = 1_000  # events, some seconds of work
_LARGEST_NOISE = 0.5  # relative error of labels in the mean from which they hardly say anything


def train(
    config: str | Path | Mapping[str, Any] | Config,
    *,
    loader: str | None = None,
    epochs: int | None = None,
    device: DeviceNumber = None,
    seed: int | None = None,
    resume: bool = False,
    force: bool = False,
    reporter: Reporter | None = None,
) -> Surrogate:
    """Learn weights from events, and keep the model of the lowest validation loss.

    **Arguments:** `config`, a path, a dict or a `Config`; `loader`, `epochs`, `device`, `seed` override its
    keys; `resume`, take up a run that was interrupted: it ends exactly as it would have; `force`, take
    weights that say they are of other events, or of several hypotheses.

    **Returns** the best model, which is also at `save_lowest_loss_model_at`; beside it, in the run folder:
    `metrics.jsonl`, the checkpoint and the training curve.

    **Raises** `UsageError` where the configuration or a file is wrong, `DeepMEMError` where the training
    diverges.
    """
    reporter = reporter or Reporter()
    original = config
    config = Config.load(config, loader=loader, epochs=epochs, device=device, seed=seed)
    if config.dir_name_processing:
        reporter.warning(
            "'dir_name_processing' is deprecated: write the whole branch names in prefixes and suffixes"
        )
    for path in filter(None, (config.save_lowest_loss_model_at, config.save_scaler_at)):
        refuse_input_as_output(path, [original])
        check_writable(path)
    model, log = config.save_lowest_loss_model_at, config.folder / "metrics.jsonl"
    with owned(model, f"train {model}"), owned(log, f"train {model}"), on_device(config.device):
        lesson = _lesson(config, force, reporter)
        return _learn(lesson, resume, reporter)


@dataclass(frozen=True)
class _Lesson:
    """What is learned from: rows, what makes features of them, and how many of them are of use."""

    config: Config
    data: Paired
    rows: Loader
    preparation: Preparation
    counts: Counts
    guide: Guide | None
    force: bool
    doubts: tuple[str, ...]
    """What makes errors and tests of the model look better than they are, a sentence each."""

    @property
    def scaler(self) -> Scaler:
        assert self.preparation.scaler is not None
        return self.preparation.scaler

    @property
    def guide_settings(self) -> dict[str, Any] | None:
        return None if self.guide is None else self.guide.settings


def _lesson(config: Config, force: bool, reporter: Reporter) -> _Lesson:
    """Read what a configuration names, and fit the scaler on its training part."""
    data = paired(config, force, reporter)
    if config.column_names and config.guide is None:
        reporter.message(
            "'column_names' is for exact weights: learned from are the columns of 'prefixes', 'suffixes'"
        )
    for path in filter(None, (config.save_lowest_loss_model_at, config.save_scaler_at)):
        data.inputs.refuse_as_output(path)
        data.weights.refuse_as_output(path)
    make_folder(config.folder)
    rows = LOADERS[config.loader](data, config.split, config.chunk_entries)
    features, guide = FeatureMap(config.described, config.features, config.padded), guide_of(config)
    preparation = Preparation(features, config.weights, energy_unit(unit_of(config)), guide=guide)
    reporter.message(
        f"{data.num_entries:,} events in {len(data.inputs.files)} file(s), "
        f"{len(config.columns)} columns, {len(preparation.names)} features"
    )
    tell_objects(data.inputs, reporter)
    reporter.message(
        "columns: " + "; ".join(f"{column.name} ({column.meaning})" for column in config.described)
    )
    for text in misgivings(config.described):
        warnings.warn(text, DeepMEMWarning, stacklevel=3)
    for text in _hints(config, data):
        reporter.message(text)
    doubts = list(repeated_files(data))
    for text in doubts:
        reporter.warning(text)
    if guide is not None:
        _ask_guide(rows, preparation, reporter)
    counts = preparation.fit(_with_warnings(rows.scan("train"), config, doubts, reporter))
    reporter.message(f"training part: {counts}")
    reporter.message(f"all {data.num_entries:,} entries: {describe_unusable(data, config)}")
    lesson = _Lesson(config, data, rows, preparation, counts, guide, force, tuple(doubts))
    for name, noise in zip(config.weights, lesson.scaler.label_noise * np.log(10), strict=True):
        if noise > _LARGEST_NOISE:
            reporter.warning(
                f"{name}: the labels' errors are {noise:.2g} times the labels themselves, in the mean. Are "
                "they absolute, and in the labels' own unit ('weight_errors')?"
            )
    if config.save_scaler_at:
        save_scaler(config.save_scaler_at, lesson.scaler, config.columns)
    return lesson


def _hints(config: Config, data: Paired) -> Iterator[str]:
    """What to try where labels with neutrinos are learned without a guide."""
    menu = all_processes()
    for entry in label_hypotheses(data) if config.guide is None else ():
        name = entry.get("process")
        # one that somebody else has registered is not known here
        if name in menu and menu[name].invisible:
            yield (
                f"{name} has neutrinos, and networks learn such weights badly by themselves: with "
                f'"guide": {{"process": "{name}"}} in the input file they learn what is missing to a cheap '
                "estimate, at some milliseconds per event"
            )
            return


def _ask_guide(rows: Loader, preparation: Preparation, reporter: Reporter) -> None:
    """Ask the guide of each row now; the preparation keeps the answers."""
    parts = [rows.scan("train"), rows.scan("validation")]
    with reporter.progress("guide", rows.size("train") + rows.size("validation")) as step:
        for chunk in chain.from_iterable(parts):
            for at in range(0, len(chunk.inputs), _GUIDED_AT_ONCE):
                step(len(preparation.guided(chunk.inputs[at : at + _GUIDED_AT_ONCE])))


def _with_warnings(
    rows: Iterator[Rows], config: Config, doubts: list[str], reporter: Reporter
) -> Iterator[Rows]:
    """The same rows; what looks like degrees, MeV, charges or azimuths of no name, logarithms or copies in
    them is told at their end, and what makes errors look other than they are is added to `doubts`.

    **Raises** `UsageError` where labels have no spread, or are logarithms.
    """
    factors, ranges = gev_factors(config.described, unit_of(config)), Ranges(config.described)
    nameless = Unsaid(config.described if config.features == "physics" else ())
    labels = Labels(config.weights)
    for chunk in rows:
        ranges.add(chunk.inputs * factors)
        nameless.add(chunk.inputs)
        labels.add(chunk)
        yield chunk
    labels.refuse_logarithms()
    labels.refuse_no_spread()
    for text in nameless.problems():
        warnings.warn(text, DeepMEMWarning, stacklevel=3)
    for text in ranges.problems():
        reporter.warning(text)
    for text in labels.problems():
        reporter.warning(text)
        doubts.append(text)


def _learn(lesson: _Lesson, resume: bool, reporter: Reporter) -> Surrogate:
    """Train, and write the best model with its errors, and the training curve."""
    from deepmem.evaluation.plots import training_curve

    config = lesson.config
    training = _training(lesson)
    history = _run_epochs(lesson, training, resume, reporter)
    reporter.message(f"{training.finished}; lowest loss in epoch {training.best_epoch}")
    uncertainty = uncertainty_of(
        training.best, lesson.rows, lesson.preparation, lesson.counts.used, config, reporter
    )
    model = with_rate(_surrogate(lesson, training, uncertainty), lesson.rows)
    model.save(config.save_lowest_loss_model_at)
    reporter.message(f"model: {config.save_lowest_loss_model_at}")
    if history:  # someone may have deleted metrics.jsonl
        training_curve(config.folder / "training.png", history)
        reporter.message(f"training curve: {config.folder / 'training.png'}")
    return model


def _training(lesson: _Lesson) -> Training:
    """The networks to train, and how."""
    config = lesson.config
    networks = build_members(
        config.network, len(lesson.preparation.names), len(config.weights), config.width, config.depth,
        config.ensemble, config.seed,
    )  # fmt: skip
    recipe = Recipe(
        config.network, config.LearningRate, config.batch_size, config.epochs,
        config.patience or max(10, config.epochs // 3), config.shuffle, config.seed,
        config.ensemble,
    )  # fmt: skip
    return Training(lesson.rows, lesson.preparation, lesson.counts.used, networks, recipe)


def _run_epochs(lesson: _Lesson, training: Training, resume: bool, reporter: Reporter) -> list[Epoch]:
    """Train to the end; checkpoint, log and best model are written after each epoch.

    **Returns** the epochs, as in `metrics.jsonl`.
    """
    config, fingerprint = lesson.config, _fingerprint(lesson)
    log, checkpoint = config.folder / "metrics.jsonl", config.folder / "checkpoint.safetensors"
    history: list[Epoch] = []
    if resume:
        training.resume(checkpoint, fingerprint)
        history = read_history(log)[: training.epoch]
        reporter.message(f"resumed after epoch {training.epoch}")
    write_text(log, "".join(epoch.line for epoch in history))
    with (
        log.open("a", encoding="utf-8") as lines,
        _tensorboard(config) as board,
        reporter.progress("training", config.epochs) as step,
    ):
        step(training.epoch)
        for epoch in training:
            history.append(epoch)
            lines.write(epoch.line)
            lines.flush()
            if training.best_epoch == training.epoch:
                _surrogate(lesson, training, Uncertainty()).save(config.save_lowest_loss_model_at)
            training.save(checkpoint, fingerprint)
            board(epoch)
            step(1, _note(epoch))
    return history


def _fingerprint(lesson: _Lesson) -> dict[str, Any]:
    """What two runs must have in common for one to take up the other."""
    config = lesson.config
    return {
        "columns": [list(map(str, (c.name, c.object, c.quantity))) for c in config.described],
        "weights": list(config.weights),
        "features": config.features,
        "guide": lesson.guide_settings,
        "loader": config.loader,
        "rows": lesson.counts.as_dict(),
        "width": config.width,
        "depth": config.depth,
        "unit": unit_of(config),
        "padded": list(config.padded),
        "weight_errors": list(config.weight_errors or ()),
        "split": list(config.split),
        # the order in which hybrid reads
        "chunk_entries": config.chunk_entries,
        # other files, or other events in them, give another scaler
        "scaler": hashlib.sha256(
            b"".join(np.ascontiguousarray(array).tobytes() for array in lesson.scaler)
        ).hexdigest(),
    }


def _surrogate(lesson: _Lesson, training: Training, uncertainty: Uncertainty) -> Surrogate:
    """The best model so far."""
    config = lesson.config
    about = {
        "process": config.process,
        "weight_unit": config.weight_unit,
        "hypotheses": label_hypotheses(lesson.data),
        "column_names": label_column_names(lesson.data),
        "forced": lesson.force,
        "doubts": list(lesson.doubts),
        "epoch": training.best_epoch,
        "loss": training.best_loss,
        "training_rows": lesson.counts.as_dict(),
        "versions": {name: version(name) for name in ("deepmem", "jax", "equinox", "optax")},
        **lesson.data.inputs.about_objects,
        "configuration": config.model_dump(exclude_unset=True, by_alias=True),
    }
    return Surrogate(
        config.columns, config.weights, unit_of(config), config.features, config.network,
        config.width, config.depth, config.ensemble, lesson.scaler, training.best,
        uncertainty.spread, uncertainty.calibration, uncertainty.reference, about, lesson.guide_settings,
        config.said_columns, config.padded,
    )  # fmt: skip


def _note(epoch: Epoch) -> str:
    validation = "" if epoch.validation_loss is None else f", validation {epoch.validation_loss:.3g}"
    return f"loss {epoch.loss:.3g}{validation}, {epoch.events_per_second:,.0f} events/s"


@contextmanager
def _tensorboard(config: Config) -> Iterator[Any]:
    """A function that logs a record, where the configuration wants it."""
    if not config.tensorboard:
        yield lambda record: None
        return
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise UsageError(
            "\"tensorboard\": true needs the extra: pip install 'deepmem[tensorboard]'"
        ) from None
    writer = SummaryWriter(str(config.folder / "tensorboard"))

    def write(epoch: Epoch) -> None:
        writer.add_scalar("loss/training", epoch.loss, epoch.epoch)
        if epoch.validation_loss is not None:
            writer.add_scalar("loss/validation", epoch.validation_loss, epoch.epoch)
        writer.add_scalar("events per second", epoch.events_per_second, epoch.epoch)

    try:
        yield write
    finally:
        writer.close()
