"""Train, test, predict: the place where reading, learning and judging meet.

Everything here is called by the command line and by Python alike; nothing here prints. What a person should
see goes to a `Reporter`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from deepmem.columns import Ranges
from deepmem.config import Config
from deepmem.data.files import check_writable, make_folder, owned, refuse_input_as_output, sha256, write_text
from deepmem.data.identity import EventHashes, refuse_other_events, refuse_other_labels
from deepmem.data.loaders import LOADERS, Loader, Paired, Rows, ahead
from deepmem.data.provenance import described, differences
from deepmem.data.root import (
    Source,
    expand,
    read_provenance,
    read_weights,
    refuse_other_than_weight,
    write_weights,
)
from deepmem.errors import DeepMEMError, UsageError
from deepmem.evaluation import metrics
from deepmem.evaluation.report import read_history, report, write_evidence
from deepmem.event import Status, Weight, by_status, count_statuses
from deepmem.exact import compute_files
from deepmem.generate import generate
from deepmem.inputs import count_reasons
from deepmem.physics.pdf import PdfNotFoundError
from deepmem.physics.processes import all_processes, find_process
from deepmem.reporter import Reporter
from deepmem.surrogate import calibration
from deepmem.surrogate.calibration import Calibration, Comparison, TwoSample
from deepmem.surrogate.features import FeatureMap
from deepmem.surrogate.guide import Guide
from deepmem.surrogate.model import Surrogate, energy_unit, load_scaler, save_scaler
from deepmem.surrogate.network import Network, build_members
from deepmem.surrogate.preparation import Preparation, Prepared, unit_factors, unusable_weights
from deepmem.surrogate.training import Recipe, Record, Training, history_line

_GUIDED_AT_ONCE = 1_000  # events, some seconds of work
_LARGEST_NOISE = 0.5  # relative error of labels in the mean from which they hardly say anything


def on_device(number: int | None) -> AbstractContextManager[Any]:
    """Run what is inside on the GPU of that number, or on the CPU for None.

    **Raises** `UsageError` that lists what there is.
    """
    if number is None:
        return jax.default_device(jax.devices("cpu")[0])
    try:
        gpus = jax.devices("gpu")
    except RuntimeError:
        gpus = []
    if number >= len(gpus):
        there = ", ".join(f"{i}: {gpu.device_kind}" for i, gpu in enumerate(gpus))
        raise UsageError(
            f"--device={number}: there is no such GPU; "
            + (
                f"there are {there}"
                if there
                else "JAX sees none here (install deepmem[cuda], or leave --device away for the CPU)"
            )
        )
    return jax.default_device(gpus[number])


def paired(config: Config, force: bool = False, reporter: Reporter | None = None) -> Paired:
    """The events and weights that a configuration names, entry by entry.

    **Raises** `UsageError` where weights say that they are of other events than those they are paired with,
    or are of several hypotheses under one name, but for `force`.
    """
    reporter = reporter or Reporter()
    if not config.output_paths:
        raise UsageError("'output_paths' is missing: the files with the weights of the events")
    there = _weight_branches(config)
    refuse_other_than_weight(config.weights, there)
    wrong = [name for name in config.weight_errors or () if name.endswith(("_status", "_source"))]
    if wrong or set(config.weight_errors or ()) & set(config.weights):
        raise UsageError(f"'weight_errors' must name errors, got {', '.join(config.weight_errors or ())}")
    status = tuple(f"{name}_status" for name in config.weights)
    status = status if there.issuperset(status) else ()
    errors = config.weight_errors or ()
    own = tuple(f"{name}_error" for name in config.weights)
    if config.weight_errors is None and status and there.issuperset(own):
        errors = own
    data = Paired(
        Source(config.input_paths, config.input_tree, config.columns),
        Source(config.output_paths, config.output_tree, config.weights + errors + status),
        len(config.weights),
        bool(errors),
        bool(status),
    )
    for text in _contradictions(data, config, force):
        if not force:
            raise UsageError(f"{text} (--force learns all the same)")
        reporter.warning(text)
    return data


def _contradictions(data: Paired, config: Config, force: bool) -> Iterator[str]:
    """What files of weights say that does not fit their events, one another, or the configuration."""
    known: dict[str, tuple[str, dict[str, Any]]] = {}
    for events, file in zip(data.inputs.files, data.weights.files, strict=True):
        yield from refuse_other_labels(events, file.path, force)
        about = _said(file.path)
        for name, entry in described({"hypotheses": about.get("hypotheses", [])}).items():
            first, other = known.setdefault(name, (file.path, entry))
            if name not in config.weights:
                continue
            if differ := differences(other, entry):
                yield (
                    f"{name} is not the weight of one hypothesis: {first} and {file.path} differ in "
                    f"{'; '.join(differ)}"
                )
            if config.process not in (None, entry["process"]):
                yield f"'process' is {config.process!r}, and {file.path} has weights of {entry['process']!r}"
        names = about.get("column_names")
        if names is not None and config.column_names and dict(config.column_names) != names:
            yield f"{file.path} was computed with other 'column_names' than the configuration has: {names}"


def _weight_branches(config: Config) -> frozenset[str]:
    """The branches that every file of weights has."""
    files = Source(config.output_paths, config.output_tree, config.weights).files
    return frozenset.intersection(*(file.branches for file in files))


def train(
    config: str | Path | Mapping[str, Any] | Config,
    *,
    loader: str | None = None,
    epochs: int | None = None,
    device: int | None = None,
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
    given = config
    config = Config.load(config, loader=loader, epochs=epochs, device=device, seed=seed)
    if config.dir_name_processing:
        reporter.warning(
            "'dir_name_processing' is deprecated: write the whole branch names in prefixes and suffixes"
        )
    for path in filter(None, (config.save_lowest_loss_model_at, config.save_scaler_at)):
        refuse_input_as_output(path, [given])
        check_writable(path)
    model, log = config.save_lowest_loss_model_at, config.folder / "metrics.jsonl"
    with owned(model, f"train {model}"), owned(log, f"train {model}"), on_device(config.device):
        return _train(config, resume, force, reporter)


def _train(config: Config, resume: bool, force: bool, reporter: Reporter) -> Surrogate:
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
    features, guide = FeatureMap(config.columns, config.features), _guide(config)
    settings = None if guide is None else guide.settings
    preparation = Preparation(features, config.weights, energy_unit(config.unit), guide=guide)
    reporter.message(
        f"{data.num_entries:,} events in {len(data.inputs.files)} file(s), "
        f"{len(config.columns)} columns, {len(preparation.names)} features"
    )
    for text in _unguided(config, data):
        reporter.message(text)
    if guide is not None:
        parts = [rows.scan("train"), rows.scan("validation")]
        with reporter.progress("guide", rows.size("train") + rows.size("validation")) as step:
            for chunk in chain.from_iterable(parts):
                for at in range(0, len(chunk.inputs), _GUIDED_AT_ONCE):
                    step(len(preparation.guided(chunk.inputs[at : at + _GUIDED_AT_ONCE])))
    counts = preparation.fit(_noticing(rows.scan("train"), config, reporter))
    reporter.message(f"training part: {counts}")
    reporter.message(f"all {data.num_entries:,} entries: {_unusable(data, config)}")
    scaler = preparation.scaler
    assert scaler is not None
    for name, noise in zip(config.weights, scaler.label_noise * np.log(10), strict=True):
        if noise > _LARGEST_NOISE:
            reporter.warning(
                f"{name}: the labels' errors are {noise:.2g} times the labels themselves, in the mean. Are "
                "they absolute, and in the labels' own unit ('weight_errors')?"
            )
    if config.save_scaler_at:
        save_scaler(config.save_scaler_at, scaler, config.columns)

    networks = build_members(
        config.network, len(preparation.names), len(config.weights), config.width, config.depth,
        config.ensemble, config.seed,
    )  # fmt: skip
    recipe = Recipe(
        config.network, config.LearningRate, config.batch_size, config.epochs,
        config.patience or max(10, config.epochs // 3), config.shuffle, config.seed,
        config.ensemble,
    )  # fmt: skip
    training = Training(rows, preparation, counts.used, networks, recipe)
    fingerprint: dict[str, Any] = {
        "columns": list(config.columns),
        "weights": list(config.weights),
        "features": config.features,
        "guide": settings,
    }
    fingerprint |= {
        "loader": config.loader,
        "rows": counts.as_dict(),
        "width": config.width,
        "depth": config.depth,
        "unit": config.unit,
        "weight_errors": list(config.weight_errors or ()),
        "split": list(config.split),
        # the order in which hybrid reads
        "chunk_entries": config.chunk_entries,
        # other files, or other events in them, give another scaler
        "scaler": hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in scaler)).hexdigest(),
    }

    def surrogate(honest: Honest | None = None) -> Surrogate:
        about = {
            "process": config.process,
            "weight_unit": config.weight_unit,
            "hypotheses": _hypotheses(data),
            "column_names": _said(data.weights.files[0].path).get("column_names"),
            "forced": force,
            "epoch": training.best_epoch,
            "loss": training.best_loss,
            "training_rows": counts.as_dict(),
            "versions": {name: version(name) for name in ("deepmem", "jax", "equinox", "optax")},
            "configuration": config.model_dump(exclude_unset=True),
        }
        return Surrogate(
            config.columns, config.weights, config.unit, config.features, config.network,
            config.width, config.depth, config.ensemble, scaler, training.best, *(honest or Honest()), about,
            settings,
        )  # fmt: skip

    log = config.folder / "metrics.jsonl"
    checkpoint = config.folder / "checkpoint.safetensors"
    history: list[dict[str, Any]] = []
    if resume:
        training.resume(checkpoint, fingerprint)
        history = read_history(log)[: training.epoch]
        reporter.message(f"resumed after epoch {training.epoch}")
    write_text(log, "".join(json.dumps(entry) + "\n" for entry in history))
    with (
        log.open("a", encoding="utf-8") as lines,
        _tensorboard(config) as board,
        reporter.progress("training", config.epochs) as step,
    ):
        step(training.epoch)
        for record in training:
            line = history_line(record)
            history.append(json.loads(line))
            lines.write(line + "\n")
            lines.flush()
            if training.best_epoch == training.epoch:
                surrogate().save(config.save_lowest_loss_model_at)
            training.save(checkpoint, fingerprint)
            board(record)
            step(1, _note(record))
    reporter.message(f"{training.finished}; lowest loss in epoch {training.best_epoch}")
    from deepmem.evaluation.plots import training_curve

    honest = _calibrate(rows, preparation, counts.used, training.best, config, reporter)
    result = surrogate(honest)
    result = _with_rate(result, rows, honest) if honest.calibration is not None else result
    result.save(config.save_lowest_loss_model_at)
    reporter.message(f"model: {config.save_lowest_loss_model_at}")
    if history:  # someone may have deleted metrics.jsonl
        training_curve(config.folder / "training.png", history)
        reporter.message(f"training curve: {config.folder / 'training.png'}")
    return result


def _unusable(data: Paired, config: Config) -> str:
    """How many weights of the files, all parts of them, cannot be learned from, and why."""
    reasons: Counter[str] = Counter()
    for start, stop in data.weights.boundaries(0, data.num_entries, config.chunk_entries):
        reasons.update(unusable_weights(data.labels(start, stop), config.weights)[1])
    left = ", ".join(f"{number:,} {reason}" for reason, number in sorted(reasons.items()) if number)
    return f"left out by their weights: {left}" if left else "none is left out by its weight"


def _guide(config: Config) -> Guide | None:
    """The guide, with what else the configuration says of exact weights."""
    if config.guide is None:
        return None
    there = {"response": config.response, "column_names": config.column_names}
    return Guide({key: value for key, value in there.items() if value} | config.guide, config.columns)


def _unguided(config: Config, data: Paired) -> Iterator[str]:
    """What to try where labels with neutrinos are learned without a guide."""
    menu = all_processes()
    for entry in _hypotheses(data) if config.guide is None else ():
        name = entry.get("process")
        # one that somebody else has registered is not known here
        if name in menu and menu[name].invisible:
            yield (
                f"{name} has neutrinos, and networks learn such weights badly by themselves: with "
                f'"guide": {{"process": "{name}"}} in the input file they learn what is missing to a cheap '
                "estimate, at some milliseconds per event"
            )
            return


class Honest(NamedTuple):
    """What a model knows of its own errors, see `surrogate.calibration`."""

    spread: Network | None = None
    calibration: Calibration | None = None
    reference: TwoSample | None = None


def _calibrate(
    rows: Loader, preparation: Preparation, used: int, networks: Network, config: Config, reporter: Reporter
) -> Honest:
    """Errors and limits of a trained ensemble, from training and validation rows."""
    if rows.size("validation") < calibration.LEAST_ROWS:
        reporter.warning(
            f"a validation part of {rows.size('validation')} rows says nothing about errors, which will be "
            f"NaN: give 'split' a second number, for {calibration.LEAST_ROWS} rows or more"
        )
        return Honest()
    part = min(1.0, calibration.LEARNED_FROM / used)
    training = _gathered(preparation, rows.scan("train"), part)
    validation = _gathered(preparation, rows.scan("validation"), 1.0)
    assert preparation.scaler is not None
    found = calibration.fit(
        networks,
        config.ensemble,
        training,
        validation,
        preparation.scaler.target_std,
        bool((preparation.scaler.label_noise > 0).any()),
        config.seed,
    )
    if found is None:
        reporter.warning("too few validation rows have a valid weight: errors will be NaN")
        return Honest()
    for name, hidden in zip(config.weights, found[1].hidden, strict=True):
        if hidden:
            reporter.warning(
                f"{name}: the labels' own errors are more than twice the network's and hide them, so the "
                "errors of learned weights are estimates, not calibrated: compute the validation part more "
                "precisely"
            )
    return Honest(*found, calibration.two_sample_of(training.features, 0.0))


def _gathered(preparation: Preparation, rows: Iterator[Rows], part: float) -> Prepared:
    """All prepared rows, or a part that the rows' own draw decides."""
    parts = []
    for chunk in rows:
        prepared = preparation(chunk)
        # the low bits say which member leaves a row out
        chosen = (prepared.draw[:, 0] >> np.uint32(8)) < part * 2**24
        parts.append(Prepared(*(array[chosen] for array in prepared)))
    return Prepared(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _with_rate(model: Surrogate, rows: Loader, honest: Honest) -> Surrogate:
    """The same model, which knows what part of the validation sample it calls outside."""
    statuses = [next(iter(model.predict(chunk.inputs).values())).status for chunk in rows.scan("validation")]
    status = np.concatenate(statuses)
    finite = status != Status.BAD_INPUT
    outside = float(np.mean(status[finite] == Status.OUTSIDE_TRAINING)) if finite.any() else 0.0
    assert honest.reference is not None
    return dataclasses.replace(model, reference=honest.reference._replace(outside=np.asarray(outside)))


def _hypotheses(data: Paired) -> list[dict[str, Any]]:
    """What the labels are the weights of, where the first of their files that says anything says it."""
    return next(filter(None, (_said(file.path).get("hypotheses") for file in data.weights.files)), [])


def _said(path: str) -> dict[str, Any]:
    """The provenance of a file; nothing where it is of another program."""
    try:
        return read_provenance(path)
    except DeepMEMError:
        return {}


def _noticing(rows: Iterator[Rows], config: Config, reporter: Reporter) -> Iterator[Rows]:
    """The same rows; what looks like degrees or MeV in any of them is said at their end."""
    unit, ranges = unit_factors(config.columns, energy_unit(config.unit)), Ranges(config.columns)
    for chunk in rows:
        ranges.add(chunk.inputs * unit)
        yield chunk
    for text in ranges.problems():
        reporter.warning(text)


def _note(record: Record) -> str:
    validation = "" if record.validation_loss is None else f", validation {record.validation_loss:.3g}"
    return f"loss {record.loss:.3g}{validation}, {record.events_per_second:,.0f} events/s"


@contextmanager
def _tensorboard(config: Config) -> Iterator[Any]:
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

    def write(record: Record) -> None:
        writer.add_scalar("loss/training", record.loss, record.epoch)
        if record.validation_loss is not None:
            writer.add_scalar("loss/validation", record.validation_loss, record.epoch)
        writer.add_scalar("events per second", record.events_per_second, record.epoch)

    try:
        yield write
    finally:
        writer.close()


def _model_of(config: Config) -> Surrogate:
    """The model that a configuration loads, checked against what else the configuration says."""
    model = Surrogate.load(config.model_to_load)
    for key, in_model, in_config in (
        ("columns", model.columns, config.columns),
        ("weights", model.weights, config.weights),
        ("unit", model.unit, config.unit),
    ):
        if in_model != in_config:
            raise UsageError(
                f"{config.model_to_load} and the configuration disagree on {key}: "
                f"the model has {listed(in_model)}, "
                f"the configuration {listed(in_config)}"
            )
    guide = _guide(config)
    if (None if guide is None else json.loads(json.dumps(guide.settings))) != model.guide:
        raise UsageError(
            f"{config.model_to_load} and the configuration disagree on the guide, with its response and "
            "column_names: the model was trained with another one (--model MODEL alone uses the model's own)"
        )
    if config.load_scaler_from and not load_scaler(config.load_scaler_from).same_as(model.scaler):
        raise UsageError(
            f"the scaler {config.load_scaler_from} does not belong to the model {config.model_to_load}: "
            "give the one that was saved with it, or leave 'load_scaler_from' out (the model carries its own)"
        )
    return model


def listed(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def test(
    config: str | Path | Mapping[str, Any] | Config,
    *,
    loader: str | None = None,
    device: int | None = None,
    force: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Compare a model with the true weights of the test part.

    **Arguments:** as for `train`.

    **Returns** per weight what `evaluation.metrics.compare` and `honesty` do, the loss, and what was left
    out; also in `test.json` in the run folder, with the figure at `save_testing_histogram_at` and the page
    `report.html` for collaborators.

    **Raises** `UsageError` where files are wrong, the model does not fit the configuration, or there is no
    test part.
    """
    reporter = reporter or Reporter()
    source = config if isinstance(config, str | Path) else "the configuration"
    config = Config.load(config, loader=loader, device=device)
    with on_device(config.device):
        model = _model_of(config)
        # whichever loader trains, a part is read in file order, chunk by chunk
        rows = Loader(paired(config, force, reporter), config.split, config.chunk_entries)
        total = rows.size("test")
        if total == 0:
            raise UsageError(f"split {list(config.split)} leaves no test part to test on")
        truth, predicted = [], []
        with reporter.progress("testing", total) as step:
            for chunk in rows.scan("test"):
                truth.append(chunk)
                predicted.append(model.predict(chunk.inputs))
                step(len(chunk.inputs))
    true = Rows.concatenate(truth)
    pairs: dict[str, tuple[Weight, Weight]] = {}
    further: dict[str, Any] = {}
    for i, name in enumerate(config.weights):
        t = _labels(true, i)
        p = Weight.concatenate([weights[name] for weights in predicted])
        figures = metrics.compare(t.value, p.value)
        if not figures["events"]:
            raise UsageError(f"no event of the test part has a valid weight {name!r}")
        pairs[name] = t, p
        # the mean square of Δ in units of the training part's spread
        loss = (figures["rms"] / float(model.scaler.target_std[i])) ** 2
        further[name] = {"loss": loss, "left_out_by_reason": _reasons(t.value, p.value)}
    from deepmem.evaluation.plots import weights_against_each_other

    weights_against_each_other(
        config.save_testing_histogram_at,
        {name: (t.value, p.value) for name, (t, p) in pairs.items()},
        ("truth", "DeepMEM"),
        config.weight_unit,
    )
    data = rows.data
    result = write_evidence(
        config.folder,
        pairs,
        {
            "model": config.model_to_load,
            "model_file_sha256": sha256(config.model_to_load),
            "figure": config.save_testing_histogram_at,
            "file": str(config.folder / "test.json"),
            "weight_unit": config.weight_unit,
            "command": [f"deepmem {command} --inputfile {source}" for command in ("train", "test")],
            "data": data.inputs.provenance() + data.weights.provenance(),
            "model_card": model_card(model),
            "weights": further,
        },
    )
    return result | {"report": report(config.folder)}


def _labels(rows: Rows, i: int) -> Weight:
    """The i-th label of rows as a weight; without an error of its own it counts as exact."""
    value = rows.weights[:, i].astype(np.float64)
    error = np.full_like(value, np.nan) if rows.errors is None else rows.errors[:, i].astype(np.float64)
    known = np.where(np.isfinite(value), Status.GOOD, Status.BAD_INPUT)
    status = known if rows.status is None else rows.status[:, i]
    return Weight(value, error, status.astype(np.int32))


def model_card(model: Surrogate) -> dict[str, Any]:
    """What a reader of the report should know of a model."""
    return {
        "process": model.about.get("process"),
        "weights": list(model.weights),
        "columns": list(model.columns),
        "unit": model.unit,
        "features": f"{model.kind}: {', '.join(model.feature_names)}",
        "guide": model.guide,
        "network": f"{model.network}, {model.depth} layers of {model.width}",
        "members": model.members,
        "errors": _errors_of(model),
        "epoch": model.about.get("epoch"),
        "loss": model.about.get("loss"),
        "training_rows": model.about.get("training_rows"),
        "versions": model.about.get("versions"),
    }


def _errors_of(model: Surrogate) -> str:
    if model.calibration is None:
        return "none"
    if model.calibration.hidden.any():
        return "estimated: the labels' own errors hide the network's"
    return "calibrated on the validation part"


def _reasons(truth: np.ndarray, predicted: np.ndarray) -> dict[str, int]:
    reasons = {
        "true weight NaN": np.isnan(truth),
        "true weight infinite": np.isinf(truth),
        "true weight zero": truth == 0,
        "true weight negative": np.isfinite(truth) & (truth < 0),
        "no prediction (bad input)": ~np.isfinite(predicted),
    }
    return {reason: int(mask.sum()) for reason, mask in reasons.items() if mask.any()}


def predict(
    events: Sequence[str],
    output: str | Path,
    *,
    model: str | Path | None = None,
    config: str | Path | Mapping[str, Any] | Config | None = None,
    tree: str | None = None,
    keep: Sequence[str] = (),
    chunk_entries: int = 100_000,
    device: int | None = None,
    at: Mapping[str, float] | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Write a weight file for any number of events, streamed, entry by entry in their order.

    **Arguments:** `events`, files, globs, `path:tree` or addresses (none: the configuration's
    `input_paths`); `model` or `config`; `keep`, branches to copy along; `at`, a value of the parameter in
    which the model's weights are a scan: the weight there is written instead.

    **Returns** counts by status and the path.

    **Raises** `UsageError` where a file, the model or a column is wrong, or the output cannot be written.
    """
    reporter = reporter or Reporter()
    if (model is None) == (config is None):
        raise UsageError(
            "predict needs either a model (--model) or a configuration (--inputfile), and not both"
        )
    given = config
    if config is not None:
        config = Config.load(config, device=device)
        model = config.model_to_load
        device = config.device
        tree = tree or config.input_tree
        chunk_entries = config.chunk_entries
        events = events or config.input_paths
    if not events:
        raise UsageError("no events: name at least one ROOT file")
    with on_device(device):
        surrogate = _model_of(config) if isinstance(config, Config) else Surrogate.load(str(model))
        source = Source(events, tree, surrogate.columns, keep)
        source.refuse_as_output(output, model, given)
        check_writable(output)
        provenance = surrogate.provenance("predict") | {"inputs": source.provenance()}
        hashes, ranges = EventHashes(surrogate.columns), Ranges(surrogate.columns)
        unit = unit_factors(surrogate.columns, energy_unit(surrogate.unit))
        names = surrogate.weights if at is None else tuple(surrogate.at({}, at))
        counts: dict[str, Any] = dict.fromkeys(names, 0)
        reasons: dict[str, Counter[str]] = {name: Counter() for name in names}
        bounds = source.boundaries(0, source.num_entries, chunk_entries)
        test = surrogate.sample_test()
        with (
            write_weights(output, names, provenance, kept=source.kept_types) as writer,
            reporter.progress("predicting", source.num_entries) as step,
        ):
            for table, kept in ahead(_with_kept(source, bounds)):
                ranges.add(table * unit)
                hashes.add(table)
                weights = surrogate.predict_and_test(table, test)
                weights = weights if at is None else surrogate.at(weights, at)
                writer.append(weights, kept)
                for name, weight in weights.items():
                    counts[name] = counts[name] + count_statuses(weight.status)
                    reasons[name].update(count_reasons(weight.reason))
                step(len(table))
            for text in ranges.problems():
                reporter.warning(text)
            source.refuse_changes()
            provenance["events"] = hashes.to_dict()
    return {
        "events": source.num_entries,
        "output": str(output),
        "status": {name: by_status(numbers) for name, numbers in counts.items()},
        "reasons": {name: dict(each.most_common()) for name, each in reasons.items()},
        "sample": None if test is None else _say_sample(test.result(), reporter),
    }


def _say_sample(found: Comparison, reporter: Reporter) -> dict[str, Any]:
    """One line on whether these events are like those learned from."""
    what = f"{found.events:,} of these events against the training part: "
    if found.differs:
        reporter.warning(
            f"{what}they differ, most in {found.where!r} (probability {found.probability:.1g}). Errors were "
            "calibrated for events like the training part's: check some with 'deepmem refine'"
        )
    elif found.events:
        reporter.message(f"{what}no difference seen (probability {found.probability:.2g})")
    return {"differs": found.differs, **found._asdict()}


def _with_kept(
    source: Source, bounds: Sequence[tuple[int, int]]
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    for start, stop in bounds:
        yield source.read(start, stop), source.read_kept(start, stop)


def compare(
    truth: str,
    predicted: str,
    output: str | Path,
    *,
    truth_name: str | None = None,
    predicted_name: str | None = None,
    flagged: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Figures for any two sets of weights, entry by entry.

    **Arguments:** `truth`, `predicted`, ROOT files (`path:tree`) with a weight each; `output`, a folder for
    `compare.png` and `compare.json`; `flagged`, whether events outside a model's training range (status 4)
    enter; `force`, whether files that say they are of other events are taken all the same.

    **Raises** `UsageError` where a file is wrong, or the two are not of the same events.
    """
    t, p = read_weights(truth, truth_name), read_weights(predicted, predicted_name or truth_name)
    if len(t) != len(p):
        raise UsageError(
            f"{truth} has {len(t)} entries and {predicted} {len(p)}: they must be of the same events"
        )
    remarks = refuse_other_events([truth, predicted], force)
    remarks += _other_hypotheses((truth, truth_name), (predicted, predicted_name or truth_name))
    left = np.zeros(len(t), dtype=bool)
    if not flagged:
        left = (t.status == Status.OUTSIDE_TRAINING) | (p.status == Status.OUTSIDE_TRAINING)
        t, p = (dataclasses.replace(each, value=np.where(left, np.nan, each.value)) for each in (t, p))
    result = metrics.compare(t.value, p.value)
    if not result["events"]:
        raise UsageError(f"{truth} and {predicted} have no event with a valid weight in both")
    result["statuses"] = {
        what: by_status(count_statuses(each.status)) for what, each in (("truth", t), ("predicted", p))
    }
    result |= {"flagged_left_out": int(left.sum()), "remarks": remarks}
    name = truth_name or predicted_name or "weight"
    folder = Path(output)
    make_folder(folder)
    from deepmem.evaluation.plots import weights_against_each_other

    weights_against_each_other(folder / "compare.png", {name: (t.value, p.value)})
    result["figure"] = str(folder / "compare.png")
    write_text(folder / "compare.json", json.dumps(result, indent=2) + "\n")
    return result


def _other_hypotheses(one: tuple[str, str | None], other: tuple[str, str | None]) -> list[str]:
    """In what the hypotheses of two weights differ, where their files say it."""
    entries = []
    for address, name in (one, other):
        known = described(_said(expand([address])[0][0]))
        only = next(iter(known.values())) if len(known) == 1 and name is None else {}
        entries.append(known.get(name or "", only))
    if not all(entries) or not (differ := differences(*entries)):
        return []
    return [f"the two weights are of different hypotheses: {'; '.join(differ)}"]


def example(name: str) -> str:
    """The path of a file of the built-in example data."""
    return str(files("deepmem") / "examples" / "drell_yan" / name)


def demo(
    output: str | Path,
    *,
    process: str = "drell_yan",
    events: int = 2000,
    epochs: int | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """The whole workflow: compute exact weights of events, train on them, test, predict all events.

    Drell-Yan events are built in. Without a density grid (the extra `generate` brings one) the weights that
    MoMEMta gave for them are learned instead. Events of another process are generated with Pythia first.

    **Arguments:** `output`, a folder for everything that is made; `process`, of the menu; `events`, how many
    to generate where they are not built in; `epochs`, 100 for the built-in ones, 200 for others.

    **Returns** the test's figures and where to look.
    """
    reporter = reporter or Reporter()
    folder = Path(output)
    make_folder(folder)
    config = _demo_events(process, events, folder, reporter) | {
        "epochs": epochs or (100 if process == "drell_yan" else 200),
        "save_lowest_loss_model_at": str(folder / f"{process}.model"),
        "save_testing_histogram_at": str(folder / "histogram.png"),
        "run_folder": str(folder / "run"),
    }
    for key in ("save_scaler_at", "load_saved_model_from", "load_scaler_from"):
        config.pop(key, None)
    computed: dict[str, Any] | None = None
    try:
        exact = folder / "exact.root"
        precision = 1e-3 if process == "drell_yan" else 0.01
        computed = compute_files(
            config["input_paths"], exact, [process], precision=precision, reporter=reporter
        )
        config |= {"output_paths": [str(exact)], "output_tree": "deepmem", "weights": [process]}
    except PdfNotFoundError as error:
        if process != "drell_yan":
            raise
        reporter.warning(
            f"{error}\nWithout a grid, the weights that MoMEMta gave are learned instead of exact ones."
        )
        config["output_paths"] = [example("momemta_weights.root")]
    write_text(folder / "input.json", json.dumps(config, indent=2) + "\n")
    train(config, reporter=reporter)
    result = test(config, reporter=reporter)
    result["computed"] = computed
    result["predicted"] = predict((), folder / "weights.root", config=config, reporter=reporter)
    return result


def _demo_events(process: str, events: int, folder: Path, reporter: Reporter) -> dict[str, Any]:
    """The configuration for the events of a demo, which are there when this returns."""
    if process == "drell_yan":
        config = json.loads(Path(example("input.json")).read_text(encoding="utf-8"))
        return config | {"input_paths": [example("momemta_events.root")]}
    entry = find_process(process)
    path = folder / "events.root"
    with reporter.progress(f"generating {process}", events) as step:
        done = 0

        def progress(count: int) -> None:
            nonlocal done
            step(count - done)
            done = count

        generate(process, events, output=path, progress=progress)
    return {
        "input_paths": [str(path)],
        "input_tree": "events",
        "prefixes": [list(entry.columns)],
        "suffixes": [[""]],
        "process": process,
        "weight_unit": f"GeV^-{len(entry.visible)}",
        **({"guide": {"process": process}} if entry.invisible else {}),
    }
