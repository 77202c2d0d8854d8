"""Refine, and learn from what was computed: active learning, and what it is worth beside random choice."""

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
from deepmem.data.root import Source, read_weights, write_weights
from deepmem.errors import UsageError
from deepmem.evaluation import metrics
from deepmem.evaluation.report import report
from deepmem.event import Status, Weight
from deepmem.refinement import refine as refine_files
from deepmem.refinement import write_result
from deepmem.reporter import Reporter
from deepmem.surrogate.model import Surrogate
from deepmem.workflow import listed, model_card, on_device, paired, train

# Options of `refine` on the command line that are keyword arguments here; other keywords are parameters.
_REFINE_OPTIONS = (
    "inputfile", "output-model", "device", "tolerance", "budget", "weight", "audit", "precision", "calls",
    "seed", "pdf", "keep", "force",
)  # fmt: skip


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
    for path in (output, *([] if output_model is None else [output_model])):
        refuse_input_as_output(path, [config, model])
    config, old = Config.load(config or {}, need=(), device=device), Surrogate.load(model)
    target = Path(output_model or f"{model}.learned.model")
    training = _training_again(config, old, target) if learn else None
    check_writable(output)
    with owned(output, command), on_device(config.device):
        result = refine_files(
            events, output, process, model,
            config=config, compare_random=compare_random, keep_parts=learn, reporter=reporter, **settings,
        )  # fmt: skip
        if training is not None:
            paths = events or training.input_paths
            result["learn"] = _learn(paths, training, old, target, result, reporter)
            result["summary"] += _say_learned(result["learn"])
            result["figures"] += _draw_learning(result)
        parts = result.pop("parts", None)
        result["command"] = command
        result["model_card"] = {"file": str(model), "sha256": sha256(model), **model_card(old)}
        write_result(result)
        if parts is not None:
            parts.remove()  # an interrupted training is repeated, what was computed for it is not
    return result | {"report": report(result["folder"])}


def _refine_command(words: Sequence[Any], options: Mapping[str, Any], switches: Mapping[str, bool]) -> str:
    """The command line that asks for the same again."""
    words = ["deepmem", "refine", *words]
    for key, value in options.items():
        if isinstance(value, bool):
            words += [f"--{key}"] * value
        elif key in _REFINE_OPTIONS:
            listed = ",".join(value) if key == "keep" else value
            words += [f"--{key}", listed] if listed not in (None, "") else []
        else:
            words += ["--set", f"{key}={value}"]
    return shlex.join([*map(str, words), *(switch for switch, on in switches.items() if on)])


def _training_again(config: Config, old: Surrogate, target: Path) -> Config:
    """The configuration of a training that takes the place of a model's, checked against it."""
    training = Config.load(config)
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
