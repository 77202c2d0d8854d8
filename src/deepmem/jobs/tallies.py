"""What a job says of the weights that it has written: how many have which status, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepmem.event import Status, Weight, by_status, count_statuses
from deepmem.inputs import count_reasons


class Tally:
    """Numbers of events, added up chunk by chunk: `statuses` by weight, `[statuses]`, and `reasons`."""

    def __init__(self, names: Sequence[str]):
        self.statuses = {name: np.zeros(len(Status), dtype=np.int64) for name in names}
        self.reasons: dict[str, Counter[str]] = {name: Counter() for name in names}

    def add(self, weights: Mapping[str, Weight]) -> None:
        """Count the next weights, by name."""
        for name, weight in weights.items():
            self.statuses[name] += count_statuses(weight.status)
            self.reasons[name].update(count_reasons(weight.reason))

    def to_dict(self) -> dict[str, Any]:
        """For a file: by weight, how many events have which status, and why."""
        return {
            name: {"statuses": by_status(numbers), "reasons": dict(self.reasons[name].most_common())}
            for name, numbers in self.statuses.items()
        }


def added_up(counts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `Tally.to_dict` gave of several runs of events, of all of them."""
    total: dict[str, Any] = {}
    for name, of_weight in counts[0].items():
        total[name] = {}
        for kind in of_weight:
            numbers: Counter[str] = Counter()
            for each in counts:
                numbers.update(each[name][kind])
            total[name][kind] = dict(sorted(numbers.items()) if kind == "statuses" else numbers.most_common())
    return total


@dataclass(frozen=True)
class Written:
    """A file of weights that a job has written."""

    events: int
    output: str
    tally: Tally

    def to_dict(self) -> dict[str, Any]:
        """The same for a person, with statuses and reasons in words."""
        return {
            "events": self.events,
            "output": self.output,
            "status": {name: by_status(numbers) for name, numbers in self.tally.statuses.items()},
            "reasons": {name: dict(each.most_common()) for name, each in self.tally.reasons.items()},
        }
