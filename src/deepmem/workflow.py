"""Train, test, predict: the one place where reading, learning and judging meet.

Everything here is called by the command line and by Python alike; nothing here prints. What a person should
see goes to a `Reporter`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from deepmem.columns import check_units
from deepmem.config import Config
from deepmem.data.files import check_writable, make_folder, sha256, write_text
from deepmem.data.loaders import LOADERS, Loader, Paired, Rows, ahead
from deepmem.data.root import Source, read_provenance, read_weights, write_weights
from deepmem.errors import DeepMEMError, UsageError
from deepmem.evaluation import metrics
from deepmem.evaluation.report import read_history, report, write_evidence
from deepmem.event import Status, Weight
from deepmem.exact import by_status, compute_files
from deepmem.generate import generate
from deepmem.physics.pdf import PdfNotFoundError
from deepmem.physics.processes import find_process
from deepmem.refinement import refine as refine_files
from deepmem.refinement import write_result
from deepmem.reporter import Reporter
from deepmem.surrogate import calibration
from deepmem.surrogate.calibration import Calibration, Comparison, TwoSample
from deepmem.surrogate.features import FeatureMap
from deepmem.surrogate.guide import Guide
from deepmem.surrogate.model import Surrogate, energy_unit, load_scaler, save_scaler
from deepmem.surrogate.network import Network, build_members
from deepmem.surrogate.preparation import Preparation, Prepared, unit_factors
from deepmem.surrogate.training import Recipe, Record, Training, history_line

# Options of `refine` on the command line that are keyword arguments here; other keywords are parameters.
_REFINE_OPTIONS = (
    "inputfile", "output-model", "device", "tolerance", "budget", "weight", "audit", "precision", "calls",
    "seed", "pdf", "keep",
)  # fmt: skip


_GUIDED_AT_ONCE = 1_000  # events, some seconds of work


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


def _paired(config: Config) -> Paired:
    if not config.output_paths:
        raise UsageError("'output_paths' is missing: the files with the weights of the events")
    there = _weight_branches(config)
    status = tuple(f"{name}_status" for name in config.weights)
    status = status if there.issuperset(status) else ()
    errors = config.weight_errors or ()
    own = tuple(f"{name}_error" for name in config.weights)
    if config.weight_errors is None and status and there.issuperset(own):
        errors = own
    return Paired(
        Source(config.input_paths, config.input_tree, config.columns),
        Source(config.output_paths, config.output_tree, config.weights + errors + status),
        len(config.weights),
        bool(errors),
        bool(status),
    )


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
    reporter: Reporter | None = None,
) -> Surrogate:
    """Learn weights from events, and keep the model of the lowest validation loss.

    **Arguments:** `config`, a path, a dict or a `Config`; `loader`, `epochs`, `device`, `seed` override its
    keys; `resume`, take up a run that was interrupted: it ends exactly as it would have.

    **Returns** the best model, which is also at `save_lowest_loss_model_at`; beside it, in the run folder:
    `metrics.jsonl`, the checkpoint and the training curve.

    **Raises** `UsageError` where the configuration or a file is wrong, `DeepMEMError` where the training
    diverges.
    """
    reporter = reporter or Reporter()
    config = Config.load(config, loader=loader, epochs=epochs, device=device, seed=seed)
    if config.dir_name_processing:
        reporter.warning(
            "'dir_name_processing' is deprecated: write the whole branch names in prefixes and suffixes"
        )
    with on_device(config.device):
        return _train(config, resume, reporter)


def _train(config: Config, resume: bool, reporter: Reporter) -> Surrogate:
    data = _paired(config)
    for path in filter(None, (config.save_lowest_loss_model_at, config.save_scaler_at)):
        data.inputs.refuse_as_output(path)
        data.weights.refuse_as_output(path)
        check_writable(path)
    make_folder(config.folder)
    rows = LOADERS[config.loader](data, config.split, config.chunk_entries)
    features, settings = FeatureMap(config.columns, config.features), _guide(config)
    guide = None if settings is None else Guide(settings, config.columns)
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
    scaler = preparation.scaler
    assert scaler is not None
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


def _guide(config: Config) -> dict[str, Any] | None:
    """The settings of a guide, with what else the configuration says of exact weights."""
    if config.guide is None:
        return None
    there = {"response": config.response, "column_names": config.column_names}
    return {key: value for key, value in there.items() if value} | config.guide


def _unguided(config: Config, data: Paired) -> Iterator[str]:
    """What to try where labels with neutrinos are learned without a guide."""
    for entry in _hypotheses(data) if config.guide is None else ():
        if find_process(entry["process"]).invisible:
            yield (
                f"{entry['process']} has neutrinos, and networks learn such weights badly by themselves: "
                f'with "guide": {{"process": "{entry["process"]}"}} in the input file they learn what is '
                "missing to a cheap estimate, at some milliseconds per event"
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
    """What the labels are the weights of, where their file says it."""
    try:
        return read_provenance(data.weights.files[0].path).get("hypotheses", [])
    except DeepMEMError:  # a file of another program
        return []


def _noticing(rows: Iterator[Rows], config: Config, reporter: Reporter) -> Iterator[Rows]:
    """The same rows; the first chunk is looked at for degrees and MeV."""
    unit = unit_factors(config.columns, energy_unit(config.unit))
    for i, chunk in enumerate(rows):
        if i == 0:
            for text in check_units(chunk.inputs * unit, config.columns):
                reporter.warning(text)
        yield chunk


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
                f"the model has {_listed(in_model)}, "
                f"the configuration {_listed(in_config)}"
            )
    if config.load_scaler_from and not load_scaler(config.load_scaler_from).same_as(model.scaler):
        raise UsageError(
            f"the scaler {config.load_scaler_from} does not belong to the model {config.model_to_load}: "
            "give the one that was saved with it, or leave 'load_scaler_from' out (the model carries its own)"
        )
    return model


def _listed(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def test(
    config: str | Path | Mapping[str, Any] | Config,
    *,
    loader: str | None = None,
    device: int | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Compare a model with the true weights of the test part.

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
        rows = Loader(_paired(config), config.split, config.chunk_entries)
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
            "figure": config.save_testing_histogram_at,
            "file": str(config.folder / "test.json"),
            "weight_unit": config.weight_unit,
            "command": [f"deepmem {command} --inputfile {source}" for command in ("train", "test")],
            "data": data.inputs.provenance() + data.weights.provenance(),
            "model_card": _model_card(model),
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


def _model_card(model: Surrogate) -> dict[str, Any]:
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
    if config is not None:
        config = Config.load(config, device=device)
        device = config.device
        tree = tree or config.input_tree
        chunk_entries = config.chunk_entries
        events = events or config.input_paths
    if not events:
        raise UsageError("no events: name at least one ROOT file")
    with on_device(device):
        surrogate = _model_of(config) if isinstance(config, Config) else Surrogate.load(str(model))
        source = Source(events, tree, surrogate.columns, keep)
        source.refuse_as_output(output)
        check_writable(output)
        provenance = surrogate.provenance("predict") | {"inputs": source.provenance()}
        unit = unit_factors(surrogate.columns, energy_unit(surrogate.unit))
        names = surrogate.weights if at is None else tuple(surrogate.at({}, at))
        counts = {name: np.zeros(len(Status), dtype=int) for name in names}
        bounds = source.boundaries(0, source.num_entries, chunk_entries)
        test = surrogate.sample_test()
        with (
            write_weights(output, names, provenance, kept=source.kept_types) as writer,
            reporter.progress("predicting", source.num_entries) as step,
        ):
            for start, table, kept in ahead(_with_kept(source, bounds)):
                if start == 0:
                    for text in check_units(table * unit, surrogate.columns):
                        reporter.warning(text)
                weights = surrogate.predict_and_test(table, test)
                weights = weights if at is None else surrogate.at(weights, at)
                writer.append(weights, kept)
                for name, weight in weights.items():
                    counts[name] += np.bincount(weight.status, minlength=len(Status))
                step(len(table))
    return {
        "events": source.num_entries,
        "output": str(output),
        "status": {name: by_status(numbers) for name, numbers in counts.items()},
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
) -> Iterator[tuple[int, np.ndarray, dict[str, np.ndarray]]]:
    for start, stop in bounds:
        yield start, source.read(start, stop), source.read_kept(start, stop)


def refine(
    events: Sequence[str],
    output: str | Path,
    process: str,
    model: str | Path,
    *,
    config: str | Path | Mapping[str, Any] | Config | None = None,
    learn: bool = False,
    compare_random: bool = False,
    output_model: str | Path | None = None,
    device: int | None = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Write learned weights with those that are not good enough computed exactly, and learn from these.

    **Arguments:** as for `refinement.refine`; `learn`, whether to train again, as `config` (a training's)
    says, with what was computed added to its training part; `compare_random`, whether to learn also from
    half of it, and from as many events chosen at random, so that it is seen what each is worth;
    `output_model`, where the new model goes (`MODEL.learned.model`); `device`, number of the GPU, instead of
    the configuration's.

    **Returns** what `refinement.refine` does; after learning, under `learn`, |Δ| of the model before and
    after, on the audited events and on a part of the refined ones: exact weights that it did not learn from;
    under `report`, where the page for collaborators is.

    **Raises** `UsageError` as `refinement.refine` and `train` do, or where the two models differ in what
    they read.
    """
    reporter = reporter or Reporter()
    if not learn and (output_model is not None or compare_random):
        raise UsageError(f"{'--compare-random' if compare_random else '--output-model'} belongs to --learn")
    if learn and config is None:
        raise UsageError("--learn trains again: give with --inputfile the input file of the training")
    command = _refine_command(
        [*events, "--process", process, "--model", model, "--output", output],
        {"inputfile": config if isinstance(config, str | Path) else None, "output-model": output_model,
         "device": device, **settings},
        {"--learn": learn, "--compare-random": compare_random},
    )  # fmt: skip
    config, old = Config.load(config or {}, need=(), device=device), Surrogate.load(model)
    target = Path(output_model or f"{model}.learned.model")
    training = _training_again(config, old, model, target) if learn else None
    with on_device(config.device):
        result = refine_files(
            events, output, process, model,
            config=config, compare_random=compare_random, reporter=reporter, **settings,
        )  # fmt: skip
        if training is not None:
            paths = events or training.input_paths
            result["learn"] = _learn(paths, training, old, target, result, reporter)
            result["summary"] += _say_learned(result["learn"])
            result["figures"] += _draw_learning(result)
    result["command"] = command
    result["model_card"] = {"file": str(model), "sha256": sha256(model), **_model_card(old)}
    write_result(result)
    return result | {"report": report(result["folder"])}


def _refine_command(words: Sequence[Any], options: Mapping[str, Any], switches: Mapping[str, bool]) -> str:
    """The command line that asks for the same again."""
    words = ["deepmem", "refine", *words]
    for key, value in options.items():
        if key in _REFINE_OPTIONS:
            listed = ",".join(value) if key == "keep" else value
            words += [f"--{key}", listed] if listed not in (None, "") else []
        else:
            words += ["--set", f"{key}={value}"]
    return shlex.join([*map(str, words), *(switch for switch, on in switches.items() if on)])


def _training_again(config: Config, old: Surrogate, model: str | Path, target: Path) -> Config:
    """The configuration of a training that takes the place of a model's, checked against it."""
    training = Config.load(config)
    if target.exists() and target.samefile(model):
        raise UsageError(f"--output-model {target}: the model itself is not overwritten; choose another name")
    if training.weights != old.weights or training.columns != old.columns or len(old.weights) != 1:
        raise UsageError(
            f"--learn: the input file learns {_listed(training.weights)} from {_listed(training.columns)}, "
            f"the model is of {_listed(old.weights)} from {_listed(old.columns)}: one weight and the same "
            "columns are expected in both"
        )
    check_writable(target)
    return training


@dataclasses.dataclass(frozen=True)
class _Lessons:
    """Trainings that have exact weights of a refined file added to their training part."""

    training: Config
    source: Source
    truth: Weight
    output: str
    reporter: Reporter

    def usable(self, entries: np.ndarray) -> np.ndarray:
        """Those of some entries that have a weight to learn from."""
        weight = self.truth[entries]
        return entries[(weight.status <= Status.PRECISION) & (weight.value > 0)]

    def learn(self, entries: np.ndarray, weights: Path, model: Path) -> Surrogate:
        """The model of a training with these entries, whose weights go to a file of their own."""
        name = self.training.weights[0]
        entries = np.sort(self.usable(entries))
        if not len(entries):
            raise UsageError("--learn: nothing that was computed has a positive weight to learn from")
        about = {"command": "refine --learn", "of": self.output}
        columns = self.source.columns
        kept = dict.fromkeys(columns, self.source.dtype)
        with write_weights(weights, [name], about, kept=kept) as writer:
            for table, inside in self.source.scattered(entries):
                weight = dataclasses.replace(self.truth[inside], source=None)
                writer.append({name: weight}, dict(zip(columns, table.T, strict=True)))
        before = Loader(_paired(self.training), self.training.split, self.training.chunk_entries)
        sizes = [before.size(part) for part in ("train", "validation", "test")]
        changes = {
            # first, so that they are learned from; the parts of the others stay what they were
            "input_paths": (f"{weights}:deepmem", *self.training.input_paths),
            "output_paths": (f"{weights}:deepmem", *self.training.output_paths),
            "split": (sizes[0] + len(entries), *sizes[1:]),
            "save_lowest_loss_model_at": str(model),
            "run_folder": f"{model}.run",
        }
        return train(self.training.model_copy(update=changes), reporter=self.reporter)

    def predict(self, model: Surrogate, entries: np.ndarray) -> np.ndarray:
        """What a model says of these entries, in ascending order."""
        tables = [table for table, _ in self.source.scattered(entries)]
        if not tables:
            return np.empty(0)
        return model.predict(np.concatenate(tables))[self.training.weights[0]].value


def _learn(
    events: Sequence[str],
    training: Config,
    old: Surrogate,
    target: Path,
    result: dict[str, Any],
    reporter: Reporter,
) -> dict[str, Any]:
    """Train again with the exact weights of a refined file, and judge by those that were held out.

    Where events were computed at random too, learn also from these and from half of either: the curve of
    what worst first and random choice are worth.
    """
    folder, name = Path(result["folder"]), old.weights[0]
    truth = read_weights(result["output"], name)
    source = Source(events, training.input_tree, old.columns)
    lessons = _Lessons(training, source, truth, result["output"], reporter)
    with np.load(folder / "entries.npz", allow_pickle=False) as arrays:
        entries = dict(arrays)
    worst, random = entries["refined"], entries["random"]
    worst = worst[~np.isin(worst, entries["held_out"])]
    new = lessons.learn(worst, folder / "learned.root", target)
    models = {("worst first", 0): old, ("worst first", len(worst)): new}
    if len(random):
        models["random", 0] = old
        for choice, chosen in (("worst first", worst), ("random", random)):
            for number in (max(1, len(chosen) // 2), len(chosen)):
                if (choice, number) not in models:
                    path = folder / "learning" / f"{choice.replace(' ', '_')}_{number}.model"
                    models[choice, number] = lessons.learn(chosen[:number], path.with_suffix(".root"), path)
    judged = {"audited": entries["audited"], "refined_held_out": entries["held_out"]}
    figures: dict[str, Any] = {
        "model": str(target),
        "events": len(lessons.usable(worst)),
        "file": str(folder / "learned.root"),
        "curve": _curve(lessons, models, judged, (result["population"], len(entries["refined"]))),
    }
    for what, rows in judged.items():
        if len(rows):
            figures[what] = {
                when: metrics.compare(truth.value[rows], lessons.predict(model, rows))
                for when, model in (("before", old), ("after", new))
            }
    return figures


def _curve(
    lessons: _Lessons,
    models: Mapping[tuple[str, int], Surrogate],
    judged: Mapping[str, np.ndarray],
    sizes: Sequence[int],
) -> list[dict[str, Any]]:
    """|Δ| of models that have learned from so many events, chosen in two ways.

    **Arguments:** `judged`, of each part of the events a random sample that no model has learned from;
    `sizes`, of the parts.

    **Returns** a point per model: quantiles of |Δ| of each part and of `all`, None where none can be judged.
    """
    curve = []
    for (choice, number), model in models.items():
        delta = {}
        for what, rows in judged.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                delta[what] = np.abs(np.log10(lessons.predict(model, rows) / lessons.truth.value[rows]))
        found = {what: metrics.stratified_quantiles([each], [1]) for what, each in delta.items()}
        there = [(each, size) for each, size in zip(delta.values(), sizes, strict=True) if size]
        found["all"] = metrics.stratified_quantiles([each for each, _ in there], [size for _, size in there])
        curve.append({"choice": choice, "exact": number, **found})
    return sorted(curve, key=lambda point: (point["choice"] == "random", point["exact"]))


def _say_learned(learned: Mapping[str, Any]) -> list[str]:
    sentences = [f"{learned['events']:,} exact weights were added to the training of {learned['model']}."]
    for key, what in (("audited", "audited"), ("refined_held_out", "refined and held out")):
        if key in learned and learned[key]["after"]["events"]:
            before, after = learned[key]["before"], learned[key]["after"]
            sentences.append(
                f"|Δ| of 68 % of {after['events']:,} {what} events: {before['q68']:.2g} before, "
                f"{after['q68']:.2g} after."
            )
    ends = {point["choice"]: point for point in learned["curve"]}
    for part, what in (("all", "all events"), ("refined_held_out", "the worst")):
        if len(ends) == 2 and ends["random"][part]:
            said = [
                f"{choice}, |Δ| < {_with_error(point[part]['q68'])} for 68 % and "
                f"{_with_error(point[part]['q95'])} for 95 %"
                for choice, point in ends.items()
            ]
            spent = ends["random"]["exact"]
            sentences.append(f"What {spent:,} exact weights are worth for {what}: {'; '.join(said)}.")
    return sentences


def _draw_learning(result: Mapping[str, Any]) -> list[dict[str, str]]:
    from deepmem.evaluation.plots import learning

    shown = {"all": "all events", "refined_held_out": "the worst: refined, held out"}
    curve = result["learn"]["curve"]
    shown = {key: what for key, what in shown.items() if curve[0].get(key)}
    if not shown:
        return []
    learning(Path(result["folder"]) / "learning.png", curve, shown)
    caption = (
        "|Δ| of 68 % (full) and 95 % (dashed) of events, judged on exact weights that no model learned from, "
        "against the exact weights added to the training; at 0 the model as it was. Each point is one "
        "training: another seed moves it, too."
    )
    if left := result["flagged_still_learned"]:
        caption += f" {left:,} flagged events that the budget did not reach are not judged."
    return [{"file": "learning.png", "caption": caption}]


def _with_error(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.2g} ± {figure['error']:.1g}"


def compare(
    truth: str,
    predicted: str,
    output: str | Path,
    *,
    truth_name: str | None = None,
    predicted_name: str | None = None,
) -> dict[str, Any]:
    """Figures for any two sets of weights, entry by entry.

    **Arguments:** `truth`, `predicted`, ROOT files (`path:tree`) with a weight each; `output`, a folder for
    `compare.png` and `compare.json`.

    **Raises** `UsageError` where a file is wrong, or the two differ in their number of entries.
    """
    t, p = read_weights(truth, truth_name), read_weights(predicted, predicted_name or truth_name)
    if len(t) != len(p):
        raise UsageError(
            f"{truth} has {len(t)} entries and {predicted} {len(p)}: they must be of the same events"
        )
    result = metrics.compare(t.value, p.value)
    if not result["events"]:
        raise UsageError(f"{truth} and {predicted} have no event with a valid weight in both")
    name = truth_name or predicted_name or "weight"
    folder = Path(output)
    make_folder(folder)
    from deepmem.evaluation.plots import weights_against_each_other

    weights_against_each_other(folder / "compare.png", {name: (t.value, p.value)})
    result["figure"] = str(folder / "compare.png")
    write_text(folder / "compare.json", json.dumps(result, indent=2) + "\n")
    return result


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
