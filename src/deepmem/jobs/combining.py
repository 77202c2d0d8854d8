"""Which weight files may be combined, what their weights are, and how events of each status enter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from deepmem.data.identity import Events, refuse_other_events
from deepmem.data.provenance import differences
from deepmem.data.weights import branch_names, read_weights, weight_names
from deepmem.errors import UsageError, nearest
from deepmem.event import Status, Weight, by_status, count_statuses
from deepmem.jobs.provenance import hypotheses_of

# How the events of each status enter that are used; flagged ones are left out unless they are asked for.
_TREATMENT = {
    Status.GOOD: "used",
    Status.PRECISION: "used with their errors",
    Status.NO_SOLUTION: "used as 0",
    Status.BAD_INPUT: "used",
    Status.OUTSIDE_TRAINING: "used",
    Status.BELOW_GRID: "used",
}


def read_named(paths: Sequence[str], names: Sequence[str]) -> dict[str, Weight]:
    """Weights by name from files of the same events, whichever of them has it.

    **Raises** `UsageError` where none has, and where a jet is lost in some of the events alone.
    """
    there = {name: path for path in paths for name in branch_names(path)}
    for name in names:
        if name not in there:
            weights = [each for path in paths for each in weight_names(path)] or list(there)
            raise UsageError(
                f"{', '.join(paths)}: there is no weight {name!r}{nearest(name, weights)}; "
                f"there are {', '.join(weights)}"
            )
    found = {name: read_weights(there[name], name) for name in names}
    for name, weight in found.items():
        _refuse_mixed([weight], f"{name} in {there[name]}")
    return found


def _refuse_mixed(weights: Sequence[Weight], what: str) -> None:
    """**Raises** `UsageError` for weights with all jets beside some with a lost one."""
    lost: set[int] = set()
    for weight in weights:
        known = np.isfinite(weight.value)
        lost |= {0} if weight.lost is None else set(np.unique(weight.lost[known]).tolist())
    if len(lost) > 1:
        raise UsageError(
            f"{what} has weights of events with a lost jet beside others, whose unit is another, and "
            "whose σ_vis: compute them apart, from files of their own"
        )


def concatenate(runs: Sequence[Mapping[str, Weight]]) -> dict[str, Weight]:
    """The weights by name of several runs of events, one after the other.

    **Raises** `UsageError` where a jet is lost in some of the events alone.
    """
    for name in runs[0]:
        _refuse_mixed([run[name] for run in runs], name)
    return {
        name: Weight(
            np.concatenate([run[name].value for run in runs]),
            np.concatenate([run[name].error for run in runs]),
            np.concatenate([run[name].status for run in runs]),
        )
        for name in runs[0]
    }


def outside_training(weights: Iterable[Weight]) -> np.ndarray:
    """Which events have a weight outside its model's training range, bool `[events]`."""
    return np.logical_or.reduce([weight.status == Status.OUTSIDE_TRAINING for weight in weights])


def count(weights: Iterable[Weight]) -> np.ndarray:
    """How many weights have each status, `[statuses]`."""
    return np.sum([count_statuses(weight.status) for weight in weights], axis=0)


Counts = Mapping[str, Mapping[str, np.ndarray]]
"""How many weights have each status, `[statuses]`, by source (`exact`, `learned`) and name."""


@dataclass(frozen=True)
class Statuses:
    """How many of the weights that are `there` have which status, and how many of these are `used`;
    `take_flagged`, whether those outside a model's training range may be."""

    there: Counts
    used: Counts
    take_flagged: bool

    def sentences(self) -> Iterator[str]:
        """A sentence for each set of weights."""
        for source, each in self.there.items():
            for name, numbers in each.items():
                used = self.used[source][name]
                parts = [
                    f"{numbers[status]:,} with status {status.value}, "
                    f"{_entered(status, int(numbers[status]), int(used[status]), self.take_flagged)}"
                    for status in Status
                    if numbers[status]
                ]
                yield f"{name}, {source}: {'; '.join(parts)}."

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON, with statuses in words."""
        return {"statuses": _in_words(self.there), "statuses_used": _in_words(self.used)}


def _in_words(counts: Counts) -> dict[str, dict[str, dict[str, int]]]:
    return {
        source: {name: by_status(numbers) for name, numbers in each.items()}
        for source, each in counts.items()
    }


def _entered(status: Status, number: int, used: int, take_flagged: bool) -> str:
    if used == 0:
        flagged = status == Status.OUTSIDE_TRAINING and not take_flagged
        return "left out (--flagged takes them)" if flagged else "left out"
    return _TREATMENT[status] if used == number else f"{used:,} of them {_TREATMENT[status]}"


def as_sentences(remarks: Sequence[str]) -> list[str]:
    """Remarks with a full stop; no capitals, for a name may come first, which would be another one."""
    return [text if text.endswith((".", "?", "!")) else f"{text}." for text in remarks]


def refuse_other_hypotheses(
    files: Sequence[str], groups: Sequence[Sequence[str]], names: Sequence[str], force: bool
) -> list[str]:
    """See that files may be combined: learned and exact weights of the same events, one hypothesis for each
    name, one energy of the protons for all.

    **Arguments:** `files` of exact weights; `groups`, of each the files of learned ones; `names` of weights.

    **Returns** remarks on what a reader should know. **Raises** `UsageError` where numbers would be wrong,
    but for `force`.
    """
    remarks = []
    for path, group in zip(files, groups, strict=False):
        remarks += refuse_other_events([path, *group], force)
    first: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in (*files, *(path for group in groups for path in group)):
        for name, entry in hypotheses_of(path).items():
            if name not in names:
                continue
            origin, other = first.setdefault(name, (path, entry))
            if differ := differences(other, entry):
                text = f"{name} differs between {origin} and {path}: {'; '.join(differ)}"
                remarks.append(_refuse(text, force))
    return remarks + _between({name: entry for name, (_, entry) in first.items()}, force)


def refuse_same_events(files: Sequence[str], labelled: bool, force: bool) -> list[str]:
    """See that no two files have events in common, and none has events twice, as far as they say it.

    **Arguments:** `labelled`, whether events say themselves if they are signal; else those of the first file
    are, and all others background.

    **Returns** remarks. **Raises** `UsageError` where events come twice, but for `force`.
    """
    known = {i: found for i, path in enumerate(files) if (found := Events.of_file(path)) is not None}
    remarks = [
        _refuse(f"{files[i]} has {number:,} of its events twice, which count twice", force)
        for i, each in known.items()
        if (number := each.repeated)
    ]
    for (i, one), (j, other) in combinations(known.items(), 2):
        if one.same(other):
            text = f"{files[i]} and {files[j]} are of the same events"
        elif number := one.shared(other):
            text = f"{files[i]} and {files[j]} have {number:,} events in common"
        else:
            continue
        wrong = "no signal and background" if i == 0 and not labelled else "these count twice"
        remarks.append(_refuse(f"{text}: {wrong}", force))
    return remarks


def refuse_other_units(files: Sequence[str], names: Sequence[str], force: bool) -> list[str]:
    """See that weights that are added have one unit, as far as files say it: else the sum means nothing.

    **Returns** remarks. **Raises** `UsageError` where they differ, but for `force`.
    """
    units: dict[str, str] = {}
    for path in files:
        for name, entry in hypotheses_of(path).items():
            if name in names and "unit" in entry:
                units.setdefault(name, entry["unit"])
    if len(set(units.values())) < 2:
        return []
    text = (
        f"the weights have different units ({', '.join(f'{name} {unit}' for name, unit in units.items())}): "
        "what their sum is depends on the unit of energy"
    )
    if not force:
        raise UsageError(
            f"{text}. Say with κ of each background (--kappa), in GeV to the power that is missing, how they "
            "are to be compared (--force takes 1)"
        )
    return [f"{text}; κ = 1 was taken"]


def random_numbers(seed: int) -> np.random.Generator:
    """A generator. **Raises** `UsageError` where the seed is negative."""
    if seed < 0:
        raise UsageError(f"the seed (--seed) must be 0 or more, got {seed}")
    return np.random.default_rng(seed)


def _between(entries: Mapping[str, Mapping[str, Any]], force: bool) -> list[str]:
    """What the hypotheses of several weights do not have in common, though the events are the same."""
    remarks = []
    (name, one), *others = list(entries.items()) or [("", {})]
    for other, entry in others:
        if one["parameters"]["sqrt_s"] != entry["parameters"]["sqrt_s"]:
            energies = [each["parameters"]["sqrt_s"] for each in (one, entry)]
            text = f"√s is {energies[0]:g} GeV for {name} and {energies[1]:g} for {other}"
            remarks.append(_refuse(text, force))
        differ = [
            key for key in ("pdf", "pdf_sha256", "missing", "met") if one.get(key, 0) != entry.get(key, 0)
        ]
        common = one["responses"].keys() & entry["responses"].keys()
        differ += [kind for kind in sorted(common) if one["responses"][kind] != entry["responses"][kind]]
        if differ:
            remarks.append(f"{name} and {other} were computed with different {', '.join(differ)}")
    return remarks


def _refuse(text: str, force: bool) -> str:
    if not force:
        raise UsageError(f"{text} (--force takes them all the same)")
    return text
