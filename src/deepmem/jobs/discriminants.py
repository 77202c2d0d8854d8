"""How well weights tell a signal from backgrounds: D of each event, and ROC curves.

Exact and learned weights are treated alike, on the same events, so that the difference between two curves is
the learning's and nothing else's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.config import Config
from deepmem.data.files import make_folder, write_json
from deepmem.data.root import Source
from deepmem.data.weights import Weights
from deepmem.errors import UsageError
from deepmem.evaluation import plots
from deepmem.evaluation.metrics import Estimate
from deepmem.event import Status, Weight, worst
from deepmem.jobs.combining import (
    Statuses,
    as_sentences,
    concatenate,
    count,
    outside_training,
    random_numbers,
    read_named,
    refuse_other_hypotheses,
    refuse_other_units,
    refuse_same_events,
)
from deepmem.jobs.roc import Areas, areas, roc
from deepmem.jobs.visible import VisibleCrossSection, select, visible_cross_section

_SURELY = 5.0  # standard errors
_END = 0.05  # so near to 0 or 1 are all D but so many
_NO_CLASSES = "a ROC needs labels: give --label BRANCH, or one file of signal and one of background events"


def discriminate(
    weights: Sequence[str | Path],
    signal: str,
    background: str | Sequence[str],
    *,
    kappa: Sequence[float] = (),
    sigma_signal: float | None = None,
    sigma_background: Sequence[float] = (),
    selection: Mapping[str, Any] | None = None,
    config: str | Path | Mapping[str, Any] | Config | None = None,
    label: str | None = None,
    learned: Sequence[str | Path] = (),
    flagged: bool = False,
    force: bool = False,
    output: str | Path = "post",
    seed: int = 1,
) -> dict[str, Any]:
    """How well weights tell a signal from one or several backgrounds.

    D = (W_s/σ_s) / (W_s/σ_s + Σ_b κ_b W_b/σ_b), W_s and all W_b being 0 or one of them NaN: NaN, counted.
    Weights that missed their precision (status 1) enter with their errors, which the bootstrap varies.

    **Arguments:**

    - `weights`: weight files with all the names; without `label` the first is of signal events and further
      ones are of background events, and one alone has no ROC.
    - `signal`, `background`: names of weights; `kappa`: κ of each background (1). Weights of different units
      need it.
    - `sigma_signal`, `sigma_background`: σ_vis in pb, of each background; else computed from each file's
      provenance within `selection`, or that of `config`, which also brings the response where it is not a
      plain Gaussian.
    - `label`: a branch of the files (`--keep`), 1 for signal and 0 for background.
    - `learned`: files with learned weights of the same events, as many for each of `weights`.
    - `flagged`: whether events outside a model's training range (status 4) enter; `force`: whether files
      that say they are of other events, or of other hypotheses, are taken all the same.
    - `output`: the folder for `discriminate.json`, `.png` and `discriminant.root`; `seed`, of the bootstrap.

    **Returns** what `discriminate.json` holds: σ_vis, counts, AUC of each, and the AUC difference
    exact − learned with its paired bootstrap error.

    **Raises** `UsageError` for a wrong name, files of different events or hypotheses, or a σ_vis that cannot
    be computed.
    """
    names = _names(signal, background)
    backgrounds = names[1:]
    kappas = dict(zip(backgrounds, _kappas(kappa, backgrounds), strict=True))
    given = [sigma_signal, *_one_each("--sigma-background", sigma_background or None, backgrounds)]
    rng = random_numbers(seed)
    sample = _sample([str(path) for path in weights], [str(path) for path in learned], names, label, force)
    remarks = sample.remarks + ([] if kappa else refuse_other_units(sample.files, names, force))
    settings = Config.load(config or {}, need=())
    cuts = selection if selection is not None else settings.selection
    sigma = {
        name: visible_cross_section(sample.files[0], name, value, cuts, settings.response)
        for name, value in zip(names, given, strict=True)
    }
    within = select(sample.files, signal, cuts, sample.events)
    remarks += [text.rstrip(".") for each in sigma.values() for text in each.remarks]
    remarks += within.remarks + sample.negative(within.rows)
    scale = {name: sigma[name].pb / kappas.get(name, 1.0) for name in names}
    d = {source: _discriminant(each, scale) for source, each in sample.weights.items()}
    view = _view(sample, d, within.rows, flagged)
    found = None if view.is_signal is None else _areas(view, view.is_signal, rng)
    remarks += [] if found is None else _order_remarks(found.auc)
    remarks += _at_one_end(view.values["exact"], kappas)
    result = _Result(
        signal=signal,
        kappas=kappas,
        sigma_vis=sigma,
        selection=cuts,
        events=sample.events,
        outside_selection=int((~within.rows).sum()),
        without_discriminant=int((~view.usable & within.rows).sum()),
        both_weights_zero=sample.without_weight(within.rows),
        statuses=Statuses(sample.statuses(within.rows), sample.statuses(view.usable), flagged),
        remarks=remarks,
        areas=found,
    )
    return _write(Path(output), result, view, Weights(_branches(d), result.provenance(sample.files)))


def _names(signal: str, background: str | Sequence[str]) -> list[str]:
    """The weights' names, the signal's first. **Raises** `UsageError` where one is given twice, or none."""
    names = [signal, *([background] if isinstance(background, str) else background)]
    if len(names) < 2 or len(set(names)) != len(names):
        raise UsageError(f"name the signal and each background once, got {', '.join(names)}")
    return names


def _kappas(given: Sequence[float], backgrounds: Sequence[str]) -> list[float]:
    """κ of each background. **Raises** `UsageError` where one is not above 0, or their number is wrong."""
    kappas = _one_each("--kappa", given or [1.0] * len(backgrounds), backgrounds)
    for value, name in zip(kappas, backgrounds, strict=True):
        if not (np.isfinite(value) and value > 0):
            raise UsageError(f"κ of {name} (--kappa) must be a number above 0, got {value}")
    return [float(value) for value in kappas]


def _one_each(option: str, values: Sequence[Any] | None, names: Sequence[str]) -> list[Any]:
    """Values of an option, None for each of `names` where it has none."""
    if values is None:
        return [None] * len(names)
    if len(values) != len(names):
        raise UsageError(
            f"{option}: expected {len(names)} value(s), one for each of {', '.join(names)} in this order, "
            f"got {len(values)} ({', '.join(map(str, values))})"
        )
    return list(values)


@dataclass(frozen=True)
class _Sample:
    """Events with the weights of all names: `exact` and perhaps `learned`; `is_signal`, bool `[events]`,
    where that is known."""

    files: list[str]
    weights: dict[str, dict[str, Weight]]
    is_signal: np.ndarray | None
    remarks: list[str]

    @property
    def events(self) -> int:
        """How many there are."""
        return len(next(iter(self.weights["exact"].values())))

    def statuses(self, rows: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """How many of some events, bool `[events]`, have each status, `[statuses]`, by source and name."""
        return {
            source: {name: count([weight[rows]]) for name, weight in each.items()}
            for source, each in self.weights.items()
        }

    def without_weight(self, rows: np.ndarray) -> int:
        """How many of some events, bool `[events]`, have exact weights of 0 only."""
        zero = np.logical_and.reduce([each.value == 0 for each in self.weights["exact"].values()])
        return int((zero & rows).sum())

    def negative(self, rows: np.ndarray) -> list[str]:
        """How many of some events, bool `[events]`, have a negative weight, a remark for each source."""
        remarks = []
        for source, each in self.weights.items():
            below = np.logical_or.reduce([weight.value < 0 for weight in each.values()]) & rows
            if below.any():
                remarks.append(
                    f"{int(below.sum()):,} events have a negative {source} weight, and so no discriminant"
                )
        return remarks


def _sample(
    files: list[str], learned: list[str], names: Sequence[str], label: str | None, force: bool
) -> _Sample:
    """Read weight files. **Raises** `UsageError` where they may not be combined."""
    if not files:
        raise UsageError("no weights: name at least one weight file")
    exact = [read_named([path], names) for path in files]
    groups = _groups(files, learned)
    guesses = [read_named(group, names) for group in groups]
    for path, one, other in zip(files, exact, guesses, strict=False):
        events, others = len(one[names[0]]), len(other[names[0]])
        if events != others:
            raise UsageError(
                f"{path} has {events} entries and the learned weights {others}: "
                "they must be of the same events, file by file"
            )
    remarks = refuse_other_hypotheses(files, groups, names, force)
    remarks += refuse_same_events(files, label is not None, force)
    is_signal = _classes(files, label, [len(each[names[0]]) for each in exact])
    weights = {"exact": concatenate(exact)}
    if guesses:
        weights["learned"] = concatenate(guesses)
    return _Sample(files, weights, is_signal, remarks)


def _groups(files: Sequence[str], learned: Sequence[str]) -> list[Sequence[str]]:
    """The learned files that belong to each file of exact weights."""
    if len(learned) % len(files):
        raise UsageError(
            f"{len(learned)} learned files for {len(files)} of exact weights: as many are needed for each"
        )
    each = len(learned) // len(files)
    return [learned[i : i + each] for i in range(0, len(learned), each)] if each else []


def _classes(files: Sequence[str], label: str | None, lengths: Sequence[int]) -> np.ndarray | None:
    if label is not None:
        return _labels(files, label)
    if len(files) == 1:
        return None
    return np.arange(sum(lengths)) < lengths[0]


def _labels(files: Sequence[str], branch: str) -> np.ndarray:
    """Which events a branch calls signal. **Raises** `UsageError` where it has values other than 0 and 1."""
    source = Source(files, None, [branch])
    values = source.read(0, source.num_entries)[:, 0]
    strange = np.flatnonzero(~np.isin(values, (0, 1)))
    if len(strange):
        examples = ", ".join(f"{value:g}" for value in np.unique(values[strange])[:3])
        raise UsageError(
            f"the branch {branch!r} must be 1 for signal and 0 for background: {len(strange):,} of "
            f"{len(values):,} events have another value (such as {examples}; {int(np.isnan(values).sum()):,} "
            f"are NaN), the first of them entry {strange[0]}. Write a branch of 0 and 1"
        )
    return values == 1


def _discriminant(weights: Mapping[str, Weight], scale: Mapping[str, float]) -> Weight:
    """D of each event with its error from independent errors of the weights, and the worst status; NaN where
    a weight is negative, or its status says that there is none.

    **Arguments:** `weights`, the signal's first; `scale` that each is divided by.
    """
    value = np.array([weight.value / scale[name] for name, weight in weights.items()])
    error = np.array([weight.error / scale[name] for name, weight in weights.items()])
    lost = np.isin([weight.status for weight in weights.values()], (Status.BAD_INPUT, Status.BELOW_GRID))
    value = np.where(lost | (value < 0), np.nan, value)
    signal, background = value[0], value[1:].sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        d = signal / (signal + background)
        noise = np.hypot(background * error[0], signal * np.sqrt((error[1:] ** 2).sum(axis=0)))
        uncertainty = noise / (signal + background) ** 2
    return Weight(d, uncertainty, worst(*(weight.status for weight in weights.values())))


def _at_one_end(d: np.ndarray, kappas: Mapping[str, float]) -> list[str]:
    """A remark where nearly all D are at one end, with κ of the one background that puts their median at 0.5.

    D/(1 − D) = W_s σ_b/(κ W_b σ_s).
    """
    if len(kappas) != 1 or not len(d):
        return []
    ends = {f"below {_END}": d < _END, f"above {1 - _END}": d > 1 - _END}
    where = next((text for text, there in ends.items() if there.mean() > 1 - _END), None)
    ((name, kappa),) = kappas.items()
    with np.errstate(divide="ignore"):
        better = kappa * float(np.median(d / (1 - d)))
    if where is None or not 0 < better < np.inf:
        return []
    return [f"nearly all D are {where}: κ of {name} (--kappa) {better:.2g} brings their median to 0.5"]


def _branches(d: Mapping[str, Weight]) -> dict[str, Weight]:
    return {"D" if source == "exact" else "D_learned": weight for source, weight in d.items()}


@dataclass(frozen=True)
class _View:
    """What is compared: `usable` events, bool `[events]`; of these, by source, D and its noise, which is
    not 0 where a weight missed its precision; and which are signal."""

    usable: np.ndarray
    values: dict[str, np.ndarray]
    noise: dict[str, np.ndarray]
    is_signal: np.ndarray | None


def _view(sample: _Sample, d: Mapping[str, Weight], within: np.ndarray, take_flagged: bool) -> _View:
    values = {
        source: weight.value
        if take_flagged
        else np.where(outside_training(sample.weights[source].values()), np.nan, weight.value)
        for source, weight in d.items()
    }
    usable = np.logical_and.reduce([within, *(np.isfinite(each) for each in values.values())])
    noise = {
        source: np.where(weight.status == Status.PRECISION, np.nan_to_num(weight.error), 0.0)[usable]
        for source, weight in d.items()
    }
    classes = None if sample.is_signal is None else sample.is_signal[usable]
    return _View(usable, {source: each[usable] for source, each in values.items()}, noise, classes)


def _areas(view: _View, is_signal: np.ndarray, rng: np.random.Generator) -> Areas:
    """AUC of each set of weights. **Raises** `UsageError` where all events are of one class."""
    if is_signal.all() or not is_signal.any():
        raise UsageError("all events with a discriminant are of one class: a ROC needs both")
    return areas(view.values, view.noise, is_signal, rng)


def _order_remarks(auc: Mapping[str, Estimate]) -> list[str]:
    return [
        f"the {source} weights call background what is called signal: are the files (or labels) of "
        "signal and background in the right order?"
        for source, area in auc.items()
        if area.value + _SURELY * area.error < 0.5
    ]


@dataclass(frozen=True)
class _Result:
    """How well weights tell a signal from backgrounds.

    - `kappas`, by background; `sigma_vis`, by weight; `selection`, cuts
    - how many `events` there are, how many of them are outside the selection, how many of the others have no
      discriminant (`without_discriminant`), and of how many all exact weights are 0
    - `areas` under the ROC curves; None where nothing says which events are signal
    """

    signal: str
    kappas: dict[str, float]
    sigma_vis: dict[str, VisibleCrossSection]
    selection: Mapping[str, Any] | None
    events: int
    outside_selection: int
    without_discriminant: int
    both_weights_zero: int
    statuses: Statuses
    remarks: list[str]
    areas: Areas | None

    @property
    def summary(self) -> list[str]:
        """What a person should know, in sentences."""
        sentences = [
            f"{self.events:,} events, {self.without_discriminant:,} of them without a discriminant "
            f"({self.both_weights_zero:,} because all weights are 0)."
        ]
        if self.outside_selection:
            sentences.append(f"{self.outside_selection:,} events outside the selection are left out.")
        sentences += as_sentences([_NO_CLASSES]) if self.areas is None else _in_words(self.areas)
        return [*sentences, *self.statuses.sentences(), *as_sentences(self.remarks)]

    def provenance(self, files: Sequence[str]) -> dict[str, Any]:
        """What a file of discriminants says of itself."""
        return {
            "command": "discriminate",
            "weights": files,
            "sigma_vis": {name: each.to_dict() for name, each in self.sigma_vis.items()},
            "kappa": list(self.kappas.values()),
        }

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "title": f"{self.signal} against {' + '.join(self.kappas)}",
            "signal": self.signal,
            "background": list(self.kappas),
            "kappa": list(self.kappas.values()),
            "sigma_vis": {name: each.to_dict() for name, each in self.sigma_vis.items()},
            "selection": self.selection,
            "events": self.events,
            "outside_selection": self.outside_selection,
            "without_discriminant": self.without_discriminant,
            "both_weights_zero": self.both_weights_zero,
            **self.statuses.to_dict(),
            "remarks": self.remarks,
            **({"remark": _NO_CLASSES} if self.areas is None else self.areas.to_dict()),
            "summary": self.summary,
        }


def _in_words(areas: Areas) -> list[str]:
    auc = ", ".join(f"{source} {area.value:.4f} ± {area.error:.4f}" for source, area in areas.auc.items())
    sentences = [f"AUC: {auc}."]
    if (difference := areas.exact_minus_learned) is not None:
        sentences.append(
            f"AUC exact − learned on the same events: {difference.value:+.5f} ± {difference.error:.5f}."
        )
    return sentences


def _write(folder: Path, result: _Result, view: _View, d: Weights) -> dict[str, Any]:
    """Write figure, discriminants and numbers; **returns** what `discriminate.json` holds."""
    make_folder(folder)
    curves: dict[str, tuple[np.ndarray, np.ndarray, str]] = {}
    for source, auc in ({} if result.areas is None else result.areas.auc).items():
        assert view.is_signal is not None
        text = f"{source}: AUC {auc.value:.4f} ± {auc.error:.4f}"
        curves[source] = (*roc(view.values[source], view.is_signal), text)
    plots.discriminant(folder / "discriminate.png", view.values, view.is_signal, curves)
    caption = "Distribution of D" + (", and signal kept against background kept." if curves else ".")
    d.to_root(folder / "discriminant.root")
    contents = result.to_dict() | {
        "figures": [{"file": "discriminate.png", "caption": caption}],
        "output": str(folder),
    }
    write_json(folder / "discriminate.json", contents)
    return contents
