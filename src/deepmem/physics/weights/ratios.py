"""Two integrals of the same rows at the same points, of events as measured and as a variation has them.

An event's rows may have several integrands, such as those with one leg or another lost.

With w and v of each row, c their covariance, k the share, and d and d' what both dropped,

    W = k (Σ w + d),   V = k (Σ v + d'),   R = V/W,
    (σ_R/R)² = k² Σ (σ_v²/V² + σ_w²/W² − 2c/(V W)) + k² (d'/V − d/W)².

Where this is no small part of the precision that is asked for, rows get further points, the same in both.
The nominal weight stays what it was, and the variation's is then R times it. No variation changes another.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from deepmem.physics.integrals.slots import SLOT
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


class Both:
    """Both integrals of the rows of one integrand.

    **Arguments:** `integral`, of events as a variation has them, which follows the course of the nominal
    one; `rows`, the nominal ones; `event` of each row, among those of the sum.
    """

    def __init__(
        self, rule: Rule, accuracy: Accuracy, integral: Integral, rows: Visible, event: np.ndarray
    ) -> None:
        assert integral.follows is not None
        self.event = event
        self._rule, self._accuracy = rule, accuracy
        self._integrals = replace(integral, events=rows), integral
        self._estimate = rule.integrate(integral, accuracy)
        assert self._estimate.course is not None
        self._courses: tuple[Course, Course] = integral.follows, self._estimate.course

    @property
    def estimate(self) -> Estimate:
        """Of the rows as the variation has them, with the evaluations of both for further points."""
        return self._estimate._replace(course=None)

    @property
    def values(self) -> np.ndarray:
        """w and v `[rows, 2, weights]`."""
        return np.stack([each.value for each in self._courses], axis=1)

    @property
    def covariances(self) -> np.ndarray:
        """σ_w², σ_v² and c `[rows, 3, weights]`."""
        w, v = self._courses
        return np.stack([covariance(w, w), covariance(v, v), covariance(w, v)], axis=1)

    @property
    def calls(self) -> int:
        """Evaluations of an event at most, where the accuracy does not say."""
        return SLOT if isinstance(self._rule, Single) else self._rule.calls

    def cost(self) -> np.ndarray:
        """The evaluations of further points, in each of both `[rows]`; ∞ where there are none."""
        if isinstance(self._rule, Single):
            return np.full(len(self.event), np.inf)
        return self._rule.further(self._courses[0], self._integrals[0].dimensions)[1]

    def extend(self, rows: np.ndarray) -> None:
        """Give some rows further points."""
        if isinstance(self._rule, Single) or not len(rows):
            return
        longer, _ = self._rule.further(self._courses[0], self._integrals[0].dimensions)
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
        _put(self.estimate, rows, new)


class Pair:
    """Both sums over rows, event by event; `nominal`, what was found of events as measured.

    **Arguments:** `parts`, the rows of each integrand, with some of each event; `share` of each event; the
    first `steering` values are weights.
    """

    def __init__(
        self,
        parts: Sequence[Both],
        accuracy: Accuracy,
        nominal: Estimate,
        share: np.ndarray,
        steering: int,
        dropped: Dropped | None = None,
    ) -> None:
        self._parts, self._accuracy = parts, accuracy
        self._nominal, self._share, self._steering, self._dropped = nominal, share, steering, dropped
        event = np.concatenate([each.event for each in parts])
        self._order = np.argsort(event, kind="stable")
        self._groups = Groups(event[self._order])
        self._extended = np.zeros(len(share), dtype=bool)

    def _of_rows(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Those of all parts, in the order of events."""
        return np.concatenate(values)[self._order]

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
        calls, event = self._budgets(), self._groups.event
        while True:
            parts, square = self._variance()
            largest = square.argmax(axis=1)
            spent = self._groups.sum(self._of_rows([each.estimate.evaluations for each in self._parts]))
            aim = np.where(spent < _CHEAP * self._nominal.evaluations, _AIM, _NEEDED)
            excess = square.max(axis=1) - (aim * self._accuracy.precision) ** 2
            cost = self._of_rows([each.cost() for each in self._parts])
            part = np.where(np.isfinite(cost), parts[np.arange(len(event)), largest[event]], 0.0)
            rows = _urgent(part, 2 * cost, np.where(events, excess, 0.0), calls - spent, self._groups)
            if not len(rows):
                return
            self._extended[event[rows]] = True
            urgent = np.zeros(len(event), dtype=bool)
            urgent[self._order[rows]] = True
            ends = np.cumsum([len(each.event) for each in self._parts])[:-1]
            for each, here in zip(self._parts, np.split(urgent, ends), strict=True):
                each.extend(np.flatnonzero(here))

    def _budgets(self) -> np.ndarray:
        """Evaluations of each event at most, those of the integrands that it has rows of `[events]`."""
        given, calls = self._accuracy.calls, np.zeros(len(self._share), dtype=np.int64)
        for each in self._parts:
            calls[np.unique(each.event)] += each.calls
        return calls if given is None else np.full_like(calls, self._accuracy.budget(given))

    def found(self) -> tuple[Estimate, np.ndarray]:
        """What events have as the variation has them, and the covariance with the nominal weights
        `[events, weights]`."""
        found, both = self._varied(), self._groups.sum(self._covariances()[:, 2])
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
        joined = Estimate.joined([each.estimate for each in self._parts])
        estimate = jax.tree.map(lambda leaf: leaf[self._order], joined)
        return averaged(estimate, self._groups, self._share, self._accuracy, self._steering, *dropped)

    def _sums(self) -> list[np.ndarray]:
        """Of the nominal events and of the varied ones, before the share `[events, weights]`."""
        sums = list(np.moveaxis(self._groups.sum(self._of_rows([each.values for each in self._parts])), 1, 0))
        if self._dropped is not None:
            both = self._dropped.nominal, self._dropped.varied
            sums = [each + dropped[:, : self._steering] for each, dropped in zip(sums, both, strict=True)]
        return sums

    def _covariances(self) -> np.ndarray:
        """σ_w², σ_v² and c of all rows `[rows, 3, weights]`."""
        return self._of_rows([each.covariances for each in self._parts])

    def _variance(self) -> tuple[np.ndarray, np.ndarray]:
        """(σ_R/R)²: what rows are of it `[rows, weights]`, and all of it `[events, weights]`; 0 without R."""
        of_nominal, of_varied = self._sums()
        nominal, varied, both = np.moveaxis(self._covariances(), 1, 0)
        event = self._groups.event
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = nominal / of_nominal[event] ** 2
            parts = parts + varied / of_varied[event] ** 2
            parts = parts - 2 * both / (of_nominal * of_varied)[event]
            parts = np.maximum(np.nan_to_num(parts, nan=0.0, posinf=0.0, neginf=0.0), 0.0)
            square = self._groups.sum(parts)
            if self._dropped is not None:
                dropped = (each[:, : self._steering] for each in self._dropped[:2])
                one, other = (each / of for each, of in zip(dropped, (of_nominal, of_varied), strict=True))
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
