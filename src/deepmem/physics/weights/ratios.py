"""Two integrals of the same rows at the same points, of events as measured and as a variation has them.

With w and v of each row, c their covariance, k the share, and d and d' what both dropped,

    W = k (Σ w + d),   V = k (Σ v + d'),   R = V/W,
    (σ_R/R)² = k² Σ (σ_v²/V² + σ_w²/W² − 2c/(V W)) + k² (d'/V − d/W)².

Where this is no small part of the precision that is asked for, rows get further points, the same in both.
The nominal weight stays what it was, and the variation's is then R times it. No variation changes another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np

from deepmem.event import Status
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.course import Course, covariance
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.integrals.groups import Groups
from deepmem.physics.integrals.integral import Integral
from deepmem.physics.integrals.rules import Rule
from deepmem.physics.integrals.single import Single
from deepmem.physics.phasespace.visible import Visible
from deepmem.physics.weights.integration import averaged

# The relative error of a ratio that is aimed at, as a part of the precision of weights, as long as all takes
# less than so many times the evaluations of the nominal weight; and the one that is not given up before.
_AIM, _CHEAP, _NEEDED = 0.15, 4, 0.3
# How many times the relative error of a variation may be the nominal one, or what was asked for.
_WORSE = 2.0


class Dropped(NamedTuple):
    """What a trial says of the rows that are not integrated, of each event."""

    nominal: np.ndarray
    varied: np.ndarray
    trial: np.ndarray
    """Its evaluations."""


class Pair:
    """Both integrals, event by event; `nominal`, what was found of events as measured.

    **Arguments:** `integral`, of events as a variation has them, which follows the course of the nominal
    one; `events`, the nominal rows; `share` of each event; the first `steering` values are weights.
    """

    def __init__(
        self,
        rule: Rule,
        accuracy: Accuracy,
        integral: Integral,
        events: Visible,
        nominal: Estimate,
        share: np.ndarray,
        steering: int,
        dropped: Dropped | None = None,
    ) -> None:
        assert integral.follows is not None
        self._rule, self._accuracy = rule, accuracy
        self._integrals = replace(integral, events=events), integral
        self._nominal, self._share, self._steering, self._dropped = nominal, share, steering, dropped
        self._groups: Groups = integral.contributions
        self._estimate = rule.integrate(integral, accuracy)
        assert self._estimate.course is not None
        self._courses: tuple[Course, Course] = integral.follows, self._estimate.course
        self._extended = np.zeros(len(share), dtype=bool)

    def suited(self) -> np.ndarray:
        """Which events, varied, are integrated well by the points of the nominal ones."""
        found, weights = self._varied(), slice(self._steering)
        with np.errstate(divide="ignore", invalid="ignore"):
            nominal, varied = (
                np.abs(each.error[:, weights] / each.value[:, weights]) for each in (self._nominal, found)
            )
        allowed = _WORSE * np.fmax(nominal, self._accuracy.precision)
        unsolved = np.isin(found.status, (Status.NO_SOLUTION, Status.BAD_INPUT))
        return ~unsolved & (varied <= allowed).all(axis=1)

    def extend(self, events: np.ndarray) -> None:
        """Give rows further points until the ratios of these events (`[events]`, bool) are precise."""
        if isinstance(self._rule, Single):
            return
        calls = self._accuracy.budget(self._rule.calls)
        dimensions, event = self._integrals[0].dimensions, self._groups.event
        while True:
            parts, square = self._variance()
            largest = square.argmax(axis=1)
            spent = self._groups.sum(self._estimate.evaluations)
            aim = np.where(spent < _CHEAP * self._nominal.evaluations, _AIM, _NEEDED)
            excess = square.max(axis=1) - (aim * self._accuracy.precision) ** 2
            longer, cost = self._rule.further(self._courses[0], dimensions)
            part = np.where(np.isfinite(cost), parts[np.arange(len(event)), largest[event]], 0.0)
            rows = _urgent(part, 2 * cost, np.where(events, excess, 0.0), calls - spent, self._groups)
            if not len(rows):
                return
            self._extended[event[rows]] = True
            follows = _at(longer, rows)
            found = [
                self._rule.integrate(each.alone(rows, follows, _at(course, rows)), self._accuracy)
                for each, course in zip(self._integrals, self._courses, strict=True)
            ]
            for course, estimate in zip(self._courses, found, strict=True):
                _put(course, rows, estimate.course)
            new = found[1]._replace(
                evaluations=sum(each.evaluations for each in found) + self._estimate.evaluations[rows],
                course=None,
            )
            _put(self._estimate._replace(course=None), rows, new)

    def found(self) -> tuple[Estimate, np.ndarray]:
        """What events have as the variation has them, and the covariance with the nominal weights
        `[events, weights]`."""
        found, both = self._varied(), self._groups.sum(covariance(*self._courses))
        if self._dropped is not None:
            both = both + (self._dropped.nominal * self._dropped.varied)[:, : self._steering]
        both = both * self._share[:, None] ** 2
        return self._of_ratios(found, both) if self._extended.any() else (found, both)

    def _of_ratios(self, found: Estimate, both: np.ndarray) -> tuple[Estimate, np.ndarray]:
        """The same, where there are further points, from the ratio and the nominal weight of fewer points."""
        at, steering = np.flatnonzero(self._extended), self._steering
        weight, its_error = (each[at, :steering] for each in (self._nominal.value, self._nominal.error))
        factor = weight / (self._sums()[0][at] * self._share[at, None])
        factor = np.tile(factor, found.value.shape[1] // steering)
        value, error, status, both = found.value.copy(), found.error.copy(), found.status.copy(), both.copy()
        value[at], error[at] = value[at] * factor, error[at] * np.abs(factor)
        varied, its_square = value[at, :steering], (its_error / weight) ** 2
        relative = np.sqrt(self._variance()[1][at] + its_square)
        error[at, :steering] = np.abs(varied) * relative
        both[at] = weight * varied * its_square
        precision = self._accuracy.precision
        missed = (found.error > precision * np.abs(found.value))[at, :steering].any(axis=1)
        status[at[missed & (status[at] == Status.PRECISION)]] = Status.GOOD
        missed = (relative > precision).any(axis=1)
        status[at[missed & (status[at] == Status.GOOD)]] = Status.PRECISION
        return found._replace(value=value, error=error, status=status), both

    def _varied(self) -> Estimate:
        """The sums over rows as a variation has them, times the share."""
        dropped = () if self._dropped is None else (self._dropped.varied, self._dropped.trial)
        estimate = self._estimate._replace(course=None)
        return averaged(estimate, self._groups, self._share, self._accuracy, self._steering, *dropped)

    def _sums(self) -> list[np.ndarray]:
        """Of the nominal events and of the varied ones, before the share `[events, weights]`."""
        sums = [self._groups.sum(each.value) for each in self._courses]
        if self._dropped is not None:
            both = self._dropped.nominal, self._dropped.varied
            sums = [each + dropped[:, : self._steering] for each, dropped in zip(sums, both, strict=True)]
        return sums

    def _variance(self) -> tuple[np.ndarray, np.ndarray]:
        """(σ_R/R)²: what rows are of it `[rows, weights]`, and all of it `[events, weights]`; 0 without R."""
        nominal, varied = self._courses
        of_nominal, of_varied = self._sums()
        event = self._groups.event
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = covariance(nominal, nominal) / of_nominal[event] ** 2
            parts = parts + covariance(varied, varied) / of_varied[event] ** 2
            parts = parts - 2 * covariance(nominal, varied) / (of_nominal * of_varied)[event]
            parts = np.maximum(np.nan_to_num(parts, nan=0.0, posinf=0.0, neginf=0.0), 0.0)
            square = self._groups.sum(parts)
            if self._dropped is not None:
                both = (each[:, : self._steering] for each in self._dropped[:2])
                one, other = (each / of for each, of in zip(both, (of_nominal, of_varied), strict=True))
                square = square + np.nan_to_num((other - one) ** 2, nan=0.0, posinf=0.0)
        return parts, square


def _urgent(
    part: np.ndarray, cost: np.ndarray, excess: np.ndarray, left: np.ndarray, groups: Groups
) -> np.ndarray:
    """Which rows get twice the points, so that variances of their events shrink by what is in excess.

    Those first that take the most off for what they cost, as far as the evaluations that are left pay for it.

    **Arguments:** `part` of the variance, and `cost`, of each row; `excess` and `left` of each event.
    """
    gain = part / cost
    order = np.lexsort((-gain, groups.event))
    event = groups.event[order]

    def before(values: np.ndarray) -> np.ndarray:
        """The sums over rows of the event that come first."""
        values = values[order]
        sums = np.cumsum(values) - values
        return sums - sums[groups.first][event]

    cost = np.where(part > 0, cost, 0.0)
    wanted = (part[order] > 0) & (before(part / 2) < excess[event])
    wanted &= before(cost) + cost[order] <= left[event]
    return np.sort(order[wanted])


def _at(course: Course, rows: np.ndarray) -> Course:
    found: Course = jax.tree.map(lambda leaf: leaf[rows], course)
    return found


def _put(whole: Course | Estimate, rows: np.ndarray, new: Course | Estimate | None) -> None:
    """Write what some rows have now."""
    for old, each in zip(jax.tree.leaves(whole), jax.tree.leaves(new), strict=True):
        old[rows] = each
