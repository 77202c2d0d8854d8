"""What travels through DeepMEM: an event's weight, its error and its status.

Units, once and for all: energies, momenta and masses in GeV, angles in radians, a weight in GeV^(-n) with
n the number of measured momentum components that it is a density in. An exact weight and a learned weight
have this one type, so whoever writes, compares or plots them never asks who computed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np


class Status(IntEnum):
    """How far a weight can be relied on; each value says what to try."""

    GOOD = 0
    PRECISION = 1
    NO_SOLUTION = 2
    BAD_INPUT = 3
    OUTSIDE_TRAINING = 4
    BELOW_GRID = 5

    @property
    def meaning(self) -> str:
        return _MEANING[self]


_MEANING = {
    Status.GOOD: "good",
    Status.PRECISION: "precision not reached: allow more calls",
    Status.NO_SOLUTION: "no physical solution, so the weight is 0: the event does not fit the hypothesis",
    Status.BAD_INPUT: "bad input: a value is missing, NaN or infinite; look at the event",
    Status.OUTSIDE_TRAINING: "outside the range the model was trained on: compute this event exactly",
    Status.BELOW_GRID: "below the density grid's lowest x: use a grid that reaches lower",
}


_WORST_FIRST = (
    Status.BAD_INPUT,
    Status.BELOW_GRID,
    Status.NO_SOLUTION,
    Status.PRECISION,
    Status.OUTSIDE_TRAINING,
    Status.GOOD,
)


def worst(*statuses: np.ndarray) -> np.ndarray:
    """The worst of several statuses of each event, int32: 3, then 5, 2, 1, 4, 0; arrays of one shape."""
    rank = np.argsort(_WORST_FIRST)
    return np.array(_WORST_FIRST, dtype=np.int32)[rank[np.stack(statuses)].min(axis=0)]


def count_statuses(status: np.ndarray) -> np.ndarray:
    """How many events have each `Status`, `[statuses]`: to be added up, chunk by chunk."""
    return np.bincount(status, minlength=len(Status))


def by_status(numbers: np.ndarray) -> dict[str, int]:
    """Such numbers by the status' own number and meaning."""
    return {f"{each.value} {each.meaning}": int(numbers[each]) for each in Status if numbers[each]}


@dataclass(frozen=True)
class Weight:
    """The weights of a run of events under one hypothesis.

    - `value`: float64 `[events]`, GeV^(-n); NaN where the status is 3 or 5, 0 where it is 2.
    - `error`: float64 `[events]`, one standard deviation, absolute; NaN where there is none.
    - `status`: int32 `[events]`, see `Status`.
    - `source`: int32 `[events]`, 0 learned, 1 exact; None where all come from one place.
    - `neutrinos`: float64 `[events, 2, 3]`, where asked for: (px, py, pz) of ν and ν̄ in GeV, averaged over
      the integral, ∫ p dW/W; NaN where the weight is 0 or unknown.
    """

    value: np.ndarray
    error: np.ndarray
    status: np.ndarray
    source: np.ndarray | None = None
    neutrinos: np.ndarray | None = None

    def __post_init__(self) -> None:
        shapes = {np.shape(array) for array in (self.value, self.error, self.status)}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise ValueError(f"value, error and status must be of one length, got shapes {sorted(shapes)}")

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, rows: slice | np.ndarray) -> Weight:
        source = None if self.source is None else self.source[rows]
        neutrinos = None if self.neutrinos is None else self.neutrinos[rows]
        return Weight(self.value[rows], self.error[rows], self.status[rows], source, neutrinos)

    @staticmethod
    def concatenate(parts: Sequence[Weight]) -> Weight:
        """The same kind of weight of several runs of events, one after the other."""
        arrays = ([getattr(part, field.name) for part in parts] for field in fields(Weight))
        return Weight(*(None if each[0] is None else np.concatenate(each) for each in arrays))  # type: ignore[arg-type]
