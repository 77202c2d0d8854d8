"""Which weight files may be combined, what their weights are, and how events of each status enter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from deepmem.data.identity import Events, refuse_other_events
from deepmem.data.provenance import differences
from deepmem.data.weights import read_weights, weight_names
from deepmem.errors import UsageError, nearest
from deepmem.event import Status, Weight, by_status, count_statuses
from deepmem.jobs.provenance import hypotheses_of

# How events of each status enter; flagged ones are left out unless they are asked for.
_TREATMENT = {
    Status.GOOD: "used",
    Status.PRECISION: "used with their errors",
    Status.NO_SOLUTION: "weight 0",
    Status.BAD_INPUT: "left out",
    Status.OUTSIDE_TRAINING: "left out (--flagged takes them)",
    Status.BELOW_GRID: "left out",
}


def read_named(paths: Sequence[str], names: Sequence[str]) -> dict[str, Weight]:
    """Weights by name from files of the same events, whichever of them has it.

    **Raises** `UsageError` where none has.
    """
    there = {name: path for path in paths for name in weight_names(path)}
    for name in names:
        if name not in there:
            raise UsageError(
                f"{', '.join(paths)}: there is no weight {name!r}{nearest(name, there)}; "
                f"there are {', '.join(there)}"
            )
    return {name: read_weights(there[name], name) for name in names}


def concatenate(runs: Sequence[Mapping[str, Weight]]) -> dict[str, Weight]:
    """The weights by name of several runs of events, one after the other."""
    return {
        name: Weight(
            *(
                np.concatenate([getattr(run[name], key) for run in runs])
                for key in ("value", "error", "status")
            )
        )
        for name in runs[0]
    }


def outside_training(weights: Iterable[Weight]) -> np.ndarray:
    """Which events have a weight outside its model's training range, bool `[events]`."""
    return np.logical_or.reduce([weight.status == Status.OUTSIDE_TRAINING for weight in weights])


def count(weights: Iterable[Weight]) -> np.ndarray:
    """How many weights have each status, `[statuses]`."""
    return np.sum([count_statuses(weight.status) for weight in weights], axis=0)


def statuses_in_words(
    statuses: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, dict[str, dict[str, int]]]:
    """Numbers by status, of sets of weights by name, as JSON."""
    return {
        source: {name: by_status(numbers) for name, numbers in each.items()}
        for source, each in statuses.items()
    }


def status_sentences(statuses: Mapping[str, Mapping[str, np.ndarray]], take_flagged: bool) -> Iterator[str]:
    """A sentence for each set of weights: how many have which status, and how they enter."""
    for source, each in statuses.items():
        for name, numbers in each.items():
            parts = []
            for status in Status:
                if numbers[status]:
                    outside = take_flagged and status == Status.OUTSIDE_TRAINING
                    treatment = "used" if outside else _TREATMENT[status]
                    parts.append(f"{numbers[status]:,} with status {status.value}, {treatment}")
            yield f"{name}, {source}: {'; '.join(parts)}."


def as_sentences(remarks: Sequence[str]) -> list[str]:
    """Remarks with a capital and a full stop."""
    return [f"{text[0].upper()}{text[1:]}." for text in remarks]


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


def refuse_same_events(files: Sequence[str], force: bool) -> list[str]:
    """See that the first of several files, of signal, is of other events than the second, of background.

    **Returns** remarks. **Raises** `UsageError` where they are the same, but for `force`.
    """
    if len(files) < 2:
        return []
    first, second = (Events.of_file(path) for path in files[:2])
    if first is None or second is None or not first.same(second):
        return []
    text = f"{files[0]} and {files[1]} are of the same events: no signal and background"
    return [_refuse(text, force)]


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
