"""Active learning: refine, learn again from what was computed, and what that is worth beside random
choice."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.config import Config
from deepmem.data.files import check_writable, owned, refuse_input_as_output, sha256
from deepmem.data.loaders import Loader
from deepmem.data.root import Source
from deepmem.data.weights import read_weights, write_weights
from deepmem.devices import DeviceNumber, on_device
from deepmem.errors import UsageError
from deepmem.evaluation.metrics import compare, stratified_quantiles
from deepmem.evaluation.report import report
from deepmem.event import Status, Weight
from deepmem.jobs import refinement
from deepmem.jobs.account import Account
from deepmem.jobs.events import names_for, refuse_objects
from deepmem.jobs.labels import paired
from deepmem.jobs.models import listed, model_card
from deepmem.jobs.outcome import RANDOM, WORST_FIRST, Change, Entries, Learning, Point, Refinement
from deepmem.jobs.staff import Staff
from deepmem.jobs.training import train
from deepmem.reporter import Reporter
from deepmem.surrogate.model import Surrogate


def refine(
    events: Sequence[str],
    output: str | Path,
    process: str,
    model: str | Path,
    *,
    tolerance: float | None = None,
    budget: str | int | None = None,
    weight: str | None = None,
    audit: int | None = None,
    precision: float | None = None,
    calls: int | None = None,
    seed: int = 0,
    pdf: str | None = None,
    keep: Sequence[str] = (),
    force: bool = False,
    config: str | Path | Mapping[str, Any] | Config | None = None,
    learn: bool = False,
    compare_random: bool = False,
    output_model: str | Path | None = None,
    device: DeviceNumber = None,
    schema: str | None = None,
    staff: Staff = Staff(),  # noqa: B008  (it is a value)
    reporter: Reporter | None = None,
    **parameters: Any,
) -> dict[str, Any]:
    """Write learned weights with those that are not good enough computed exactly, and learn from these.

    Flagged events (status 4) and those whose weight has no error come first, then those with the largest
    relative errors. Called again, it continues where an interrupted call stopped.

    **Arguments:**

    - `events`: files, globs, `path:tree` or addresses (none: the configuration's `input_paths`).
    - `process`, `precision` (0.01, or the tolerance where it is lower), `calls`, `seed`, `pdf`, `config`,
      `keep`, `parameters`: of the exact weights, which are those that `deepmem compute` gives.
    - `model`: a model file, and `weight`, which of its weights (where it has several).
    - `tolerance`: the relative error up to which a weight may stay learned; or `budget`: `"600s"`, `"10m"`,
      `"2h"`, or a number of events, worst first.
    - `audit`: how many of the events that stay learned are computed as well, beyond the budget, to measure
      bias and coverage (200, or 2 % of them where that is less).
    - `schema`: of the events, instead of the configuration's.
    - `staff`: who computes exact weights, by default this process.
    - `force`: whether a model of another hypothesis is taken all the same.
    - `learn`: whether to train again, as `config` (a training's) says, with what was computed added to its
      training part; `compare_random`, whether to learn also from half of it, and from as many events chosen
      at random, so that it is seen what each is worth; `output_model`, where the new model goes
      (`MODEL.learned.model`); `device`, number of the GPU, instead of the configuration's.

    **Returns** what `OUTPUT.refine/refine.json` holds, beside its figures: counts, the audit's figures, the
    work saved, the sum of the logarithms of all weights, and sentences that say so. `failed` says why the
    learned weights are wrong, where the audit shows that; they have status 4 then. `entries.npz` there has
    the numbers of the events computed: `refined` (worst first), a random part of these that is not to be
    learned from (`held_out`), `audited` and `random`. After learning, under `learn`: |Δ| of the model before
    and after, on the audited events and on the held-out ones, which it did not learn from; under `report`,
    where the page for collaborators is.

    **Raises** `UsageError` where a file, the model, a name or a number is wrong, the output cannot be
    written, or the two models differ in what they read; `DeepMEMError` where the training diverges.
    """
    reporter = reporter or Reporter()
    _refuse_lone_options(learn, compare_random, output_model, config)
    settings = refinement.Settings(
        tolerance, budget, weight, audit, compare_random, precision, calls, seed, pdf, keep,
        keep_parts=learn, force=force, staff=staff, parameters=parameters,
    )  # fmt: skip
    words = [*events, "--process", process, "--model", model, "--output", output]
    inputfile = config if isinstance(config, str | Path) else None
    others = {"inputfile": inputfile, "schema": schema, "output-model": output_model, "device": device}
    command = _command(words, others, settings, learn)
    for path in (output, *([] if output_model is None else [output_model])):
        refuse_input_as_output(path, [config, model])
    config, old = Config.load(config or {}, need=(), device=device, schema=schema), Surrogate.load(model)
    target = Path(output_model or f"{model}.learned.model")
    training = _training_again(config, old, target) if learn else None
    check_writable(output)
    with owned(output, command), on_device(config.device):
        outcome = refinement.refine(
            events, output, process, model, settings, config=config, reporter=reporter
        )
        card = {"file": str(model), "sha256": sha256(model), **model_card(old)}
        account = Account(outcome, command, card)
        contents = account.write()
        if training is not None:
            paths = events or training.input_paths
            learning = _learn(paths, training, old, target, outcome, reporter)
            contents = dataclasses.replace(account, learning=learning).write()
        if outcome.parts is not None:
            outcome.parts.remove()  # an interrupted training is repeated, what was computed for it is not
    return contents | {"report": report(outcome.folder)}


def _refuse_lone_options(
    learn: bool, compare_random: bool, output_model: str | Path | None, config: Any
) -> None:
    """**Raises** `UsageError` where options of learning come without it, or it without a training's."""
    if not learn and (output_model is not None or compare_random):
        raise UsageError(f"{'--compare-random' if compare_random else '--output-model'} belongs to --learn")
    if learn and config is None:
        raise UsageError("--learn trains again: give with --inputfile the input file of the training")


def _command(
    words: Sequence[Any], options: Mapping[str, Any], settings: refinement.Settings, learn: bool
) -> str:
    """The command line that asks for the same again."""
    words = ["deepmem", "refine", *words]
    own = ("tolerance", "budget", "weight", "audit", "precision", "calls", "seed", "pdf")
    options = {**options, **{key: getattr(settings, key) for key in own}}
    for key, value in (options | {"keep": ",".join(settings.keep) or None}).items():
        words += [] if value is None else [f"--{key}", value]
    for key, value in settings.parameters.items():
        words += ["--set", f"{key}={value}"]
    switches = {"force": settings.force, "learn": learn, "compare-random": settings.compare_random}
    return shlex.join([*map(str, words), *(f"--{key}" for key, on in switches.items() if on)])


def _training_again(config: Config, old: Surrogate, target: Path) -> Config:
    """The configuration of a training that takes the place of a model's, checked against it."""
    training = Config.load(config)
    refuse_objects(training)
    if names := names_for(training, old.columns, old.about):
        raise UsageError(
            f"--learn adds events under the model's own names to those learned from, and 'column_names' "
            f"calls {listed([*names])} otherwise: train on the refined weights instead"
        )
    if training.weights != old.weights or training.columns != old.columns or len(old.weights) != 1:
        raise UsageError(
            f"--learn: the input file learns {listed(training.weights)} from {listed(training.columns)}, "
            f"the model is of {listed(old.weights)} from {listed(old.columns)}: one weight and the same "
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
        before = Loader(paired(self.training), self.training.split, self.training.chunk_entries)
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
    outcome: Refinement,
    reporter: Reporter,
) -> Learning:
    """Train again with the exact weights of a refined file, and judge by those that were held out.

    Where events were computed at random too, learn also from these and from half of either: the curve of
    what worst first and random choice are worth.
    """
    folder, entries = outcome.folder, outcome.entries
    source = Source(events, training.input_tree, old.columns)
    truth = read_weights(outcome.output, old.weights[0])
    lessons = _Lessons(training, source, truth, outcome.output, reporter)
    worst = entries.refined[~np.isin(entries.refined, entries.held_out)]
    new = lessons.learn(worst, folder / "learned.root", target)
    models = {(WORST_FIRST, 0): old, (WORST_FIRST, len(worst)): new}
    if len(entries.random):
        models[RANDOM, 0] = old
        for choice, rows in ((WORST_FIRST, worst), (RANDOM, entries.random)):
            for number in (max(1, len(rows) // 2), len(rows)):
                if (choice, number) not in models:
                    path = folder / "learning" / f"{choice.replace(' ', '_')}_{number}.model"
                    models[choice, number] = lessons.learn(rows[:number], path.with_suffix(".root"), path)
    parts = _parts(entries)
    changes = {
        part: Change(*(compare(truth.value[rows], lessons.predict(each, rows)) for each in (old, new)))
        for part, rows in parts.items()
        if len(rows)
    }
    curve = _curve(lessons, models, parts, (outcome.population, len(entries.refined)))
    return Learning(
        str(target), len(lessons.usable(worst)), str(folder / "learned.root"), curve, changes
    )  # fmt: skip


def _parts(entries: Entries) -> dict[str, np.ndarray]:
    """Of each part of the events, a random sample that no model has learned from."""
    return {"audited": entries.audited, "refined_held_out": entries.held_out}


def _curve(
    lessons: _Lessons,
    models: Mapping[tuple[str, int], Surrogate],
    parts: Mapping[str, np.ndarray],
    sizes: Sequence[int],
) -> list[Point]:
    """A point per model; `sizes`, how many events the parts are samples of."""
    curve = []
    for (choice, number), model in models.items():
        delta = {}
        for part, rows in parts.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                delta[part] = np.abs(np.log10(lessons.predict(model, rows) / lessons.truth.value[rows]))
        quantiles = {part: stratified_quantiles([each], [1]) for part, each in delta.items()}
        strata = [(each, size) for each, size in zip(delta.values(), sizes, strict=True) if size]
        quantiles["all"] = stratified_quantiles([each for each, _ in strata], [size for _, size in strata])
        curve.append(Point(choice, number, quantiles))
    return sorted(curve, key=lambda point: (point.choice == RANDOM, point.exact))
