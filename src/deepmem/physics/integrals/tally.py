"""The account of each event: its value and error so far, what they cost, and what went wrong."""

from __future__ import annotations

import numpy as np

from deepmem.event import Status
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.integrals.integral import Integral

# Of doubling an event: the least part of it, and what is added to the part that should do.
_LEAST_PART, _MARGIN = 0.25, 0.1
# How many times less effective than the best one a contribution may be that gets points along with it.
_EFFECTIVE = 16.0
# The relative error from which next to nothing is known of a contribution.
_UNKNOWN = 0.5


class Tally:
    """What is known of each event of an integral, and whether that is enough.

    A point at which the integrand isn't finite counts as zero, enlarges the error, and its event is never
    "good". The largest single contribution, times an `allowance`, is part of the error, so that a peak seen
    once doesn't count as measured.
    """

    def __init__(self, integral: Integral, outputs: int, precision: float, allowance: float = 0.0) -> None:
        count = integral.count
        self._groups, self._steering = integral.contributions, integral.steering
        own = integral.allowances
        self._precision, self._allowance = precision, np.full(count, allowance) if own is None else own
        self._beside = 0.0 if integral.beside is None else integral.beside
        self._part = np.ones(count) if integral.part is None else integral.part
        self._believed = integral.believed
        self.value = np.zeros((count, outputs))
        self.error = np.zeros((count, outputs))
        steering = min(outputs, self._steering or outputs)
        self.covariance = np.zeros((count, steering, steering)) if integral.correlated else None
        self.evaluations = np.zeros(count, dtype=np.int64)
        self._current = np.zeros(count, dtype=np.int64)
        self._bad = np.zeros(count, dtype=np.int64)
        self._ever_bad = np.zeros(count, dtype=np.int64)
        self._largest = np.zeros((count, outputs))

    def add(
        self, event: np.ndarray, largest: np.ndarray, bad: np.ndarray, evaluations: int | np.ndarray
    ) -> None:
        """What slots of these events have seen: the largest |value|, how many points were not finite."""
        np.add.at(self.evaluations, event, evaluations)
        np.add.at(self._current, event, evaluations)
        np.add.at(self._bad, event, bad)
        np.add.at(self._ever_bad, event, bad)
        np.maximum.at(self._largest, event, largest)

    def forget(self, event: np.ndarray) -> None:
        """Start anew under another map; what was spent and what failed stays on record."""
        self._current[event] = 0
        self._bad[event] = 0
        self._largest[event] = 0

    @property
    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """The largest |value| `[events, values]`, and how many points were not finite `[events]`."""
        return self._largest, self._bad

    def resume(self, largest: np.ndarray, bad: np.ndarray, evaluations: np.ndarray) -> None:
        """Go on where another account ended, whose evaluations were paid there."""
        self._largest[:], self._bad[:], self._ever_bad[:] = largest, bad, bad
        self._current[:] = evaluations

    def unseen(self, event: np.ndarray, points: np.ndarray) -> np.ndarray:
        """An allowance for what the spread can't show: more values like the largest, and failed points."""
        return self._largest[event] * (self._allowance + self._bad)[event, None] / points

    def finished(self, event: np.ndarray, empty: np.ndarray | bool) -> np.ndarray:
        """Which events need no more points: precise, hopeless, or zero as often as `empty` asks for."""
        wanted = self._precision * self._size()[event]
        of_group, group = np.sqrt(self._groups.sum(self.error**2)), self._groups.event[event]
        enough = of_group[group] <= wanted
        # together, contributions that stop before have half of the variance that is allowed
        enough |= self.error[event] <= wanted / np.sqrt(2 * self._groups.size[group])[:, None]
        precise = enough[:, : self._steering].all(axis=1)
        zero = (self._largest[event] == 0).all(axis=1)
        done = np.where(zero, empty, precise) & ~self._unknown(event)
        return done | (self._bad[event] == self._current[event])

    def _unknown(self, event: np.ndarray) -> np.ndarray:
        """Of which few points tell, and by too few points to believe that there is no more."""
        unknown = self.error[event] >= _UNKNOWN * np.abs(self.value[event])
        return unknown[:, : self._steering].any(axis=1) & (self._current[event] < self._believed)

    def distant(self, event: np.ndarray) -> np.ndarray:
        """Which events would miss their part of the precision with four times as many points, too."""
        part = np.sqrt(self._groups.size[self._groups.event[event]])[:, None]
        wanted = 2 * self._precision * self._size()[event] / part
        return (self.error[event] > wanted)[:, : self._steering].any(axis=1)

    def weight_of_error(self, event: np.ndarray) -> np.ndarray:
        """The error of an event over the sum that it contributes to, of the value where that is largest."""
        size = np.maximum(self._size()[event], np.finfo(float).tiny)
        return (self.error[event] / size)[:, : self._steering].max(axis=1)

    def urgent(self, event: np.ndarray, cost: np.ndarray, new: np.ndarray) -> np.ndarray:
        """How many points each event is to get next, as a part of those it has, so that its sum is precise.

        That is as many again, or as many as are expected to do. Of contributions to one sum those are first
        that take the most off its variance for what they cost; those that are far less effective wait (0).

        **Arguments:** `cost`, of doubling each, in evaluations; `new`, which have a map of which nothing is
        known yet.
        """
        group = self._groups.event[event]
        size = np.maximum(self._size(), np.finfo(float).tiny)
        variance = ((self.error / size) ** 2)[:, : self._steering].max(axis=1)
        total = self._groups.sum(variance)[group]
        variance = variance[event]
        if self._groups.single:
            return np.where(new, 1.0, _part_of_doubling(variance, total - self._precision**2))
        new = new | self._unknown(event)
        gain = variance / cost
        best = np.zeros(len(self._groups.first))
        np.maximum.at(best, group, np.where(new, 0.0, gain))
        order = np.lexsort((-gain, ~new, group))
        halved = np.cumsum(variance[order]) / 2
        begins = np.flatnonzero(np.diff(group[order], prepend=-1))
        before = halved - variance[order] / 2
        before -= np.repeat(before[begins], np.diff(begins, append=len(order)))
        excess = np.empty(len(event))
        excess[order] = total[order] - before - self._precision**2
        wanted = (excess > 0) & (gain * _EFFECTIVE >= best[group])
        return np.where(new, 1.0, np.where(wanted, _part_of_doubling(variance, excess), 0.0))

    def spent(self) -> np.ndarray:
        """Evaluations of each event and those it shares its budget with."""
        return self._groups.sum(self.evaluations)[self._groups.event]

    def estimate(self) -> Estimate:
        """What came out."""
        value, error = self.value, self.error
        precise = (error <= self._precision * np.abs(value))[:, : self._steering].all(axis=1)
        status = np.where(precise & (self._ever_bad == 0), Status.GOOD, Status.PRECISION)
        status = np.where((self._largest == 0).all(axis=1), Status.NO_SOLUTION, status)
        lost = self._bad == self._current
        status = np.where(lost, Status.BAD_INPUT, status)
        value, error = (np.where(lost[:, None], np.nan, array) for array in (value, error))
        covariance = self.covariance
        if covariance is not None:
            covariance = np.where(lost[:, None, None], np.nan, covariance)
        return Estimate(value, error, status.astype(np.int32), self.evaluations, covariance)

    def _size(self) -> np.ndarray:
        """|value| of the sum that an event contributes to, times the part of its error that is allowed,
        `[events, values]`."""
        own = self._groups.sum(self.value)[self._groups.event]
        return np.abs(own + self._beside) * self._part[:, None]


def _part_of_doubling(variance: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """The part of its points that takes the excess off a variance, which falls with their number."""
    left = np.maximum(variance - excess, variance / 2)
    part = np.divide(variance, left, out=np.full_like(variance, 2.0), where=left > 0) - 1
    return np.clip(part + _MARGIN, _LEAST_PART, 1.0)
