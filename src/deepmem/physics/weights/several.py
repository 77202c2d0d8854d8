"""Sums over integrals of several integrands, such as those with one leg or another lost.

    W = Σ_ℓ W_ℓ,   σ² = Σ_ℓ σ_ℓ²

Trials of all of them say what each contributes, and how much it spreads. Each is integrated until its error
is its part of what the sum is allowed, ∝ √(what it contributes times its spread), beside what is known of the
others, from their integrals or else from trials. No event depends on which others there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np

from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.integrals.groups import Groups
from deepmem.physics.integrals.integral import Integral
from deepmem.physics.integrals.integrand import Integrand
from deepmem.physics.integrals.slots import SLOT
from deepmem.physics.phasespace import trials
from deepmem.physics.phasespace.parts import Rows as PartsOfRows
from deepmem.physics.phasespace.visible import Shared
from deepmem.physics.weights.integration import BELIEVED, Done, Rows, averaged, deviation, kept_rows
from deepmem.physics.weights.plan import Plan

# Of the error that is allowed, what is aimed at: what trials say of the others is not precise. And rounds.
_AIM, _ROUNDS = 0.9, 2
_LEAST = 0.02
"""Of the variance that is allowed, the part that any integrand has."""


class Part(NamedTuple):
    """The rows of one integrand."""

    plan: Plan
    f: Integrand | tuple[Integrand, ...]
    """Those of all regions, where the plan has some: such a part is in no sum with others."""
    shared: Shared
    rows: Rows
    """Their groups are of those events alone that have some."""
    event: np.ndarray
    """Of each row, among all events of the sum `[rows]`, none left out by all parts together."""

    @property
    def integrand(self) -> Integrand:
        """Of a plan without regions."""
        assert not isinstance(self.f, tuple)
        return self.f


class _Sum:
    """What is known of all parts: of each row the value and its variance, at first by the trial alone."""

    def __init__(
        self, parts: Sequence[Part], accuracy: Accuracy, steering: int, correlated: bool, remembered: bool
    ) -> None:
        self.parts, self.accuracy, self.steering = parts, accuracy, steering
        self.correlated, self.remembered = correlated, remembered
        self.event = np.concatenate([part.event for part in parts])
        self.first = [
            trials.first_look(part.integrand, part.shared, part.rows.visible, part.plan.dimensions)
            for part in parts
        ]
        looks = trials.FirstLook(*(np.concatenate(each) for each in zip(*self.first, strict=True)))
        self.order = np.argsort(self.event, kind="stable")
        groups = Groups(self.event[self.order])
        back = np.argsort(self.order, kind="stable")
        sorted_looks = trials.FirstLook(*(each[self.order] for each in looks))
        self.kept = self._split(kept_rows(sorted_looks, groups, accuracy, steering)[back])
        size = np.abs(looks.mean[:, :steering]).max(axis=1) * deviation(looks)
        self.size = self._split(np.where(np.concatenate(self.kept), size, 0.0))
        self.value = [look.mean.copy() for look in self.first]
        self.estimates: list[Estimate | None] = [None for _ in parts]

    def _split(self, values: np.ndarray) -> list[np.ndarray]:
        ends = np.cumsum([len(part.event) for part in self.parts])[:-1]
        return np.split(values, ends)

    def total(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Σ over all rows of each event."""
        found = np.zeros((int(self.event.max()) + 1, *np.shape(values[0])[1:]))
        for part, each in zip(self.parts, values, strict=True):
            np.add.at(found, part.event, each)
        return found

    def integrate(self, k: int, events: np.ndarray) -> None:
        """The kept rows of one part, of the events at which `events` is True."""
        part = self.parts[k]
        rows = np.flatnonzero(self.kept[k] & events[part.event])
        if not len(rows):
            return
        event = part.event[rows]
        own = [kept[:, None] * (i == k) for i, kept in enumerate(self.kept)]
        beside = self.total([np.where(mine, 0.0, value) for mine, value in zip(own, self.value, strict=True)])
        sizes = self.total(self.size)
        of_part = self.total([size * (i == k) for i, size in enumerate(self.size)])
        share = np.divide(of_part, sizes, out=np.ones_like(sizes), where=sizes > 0)
        share = _LEAST + (1 - _LEAST) * share
        largest = np.zeros(len(sizes))
        for each, size in zip(self.parts, self.size, strict=True):
            np.maximum.at(largest, each.event, size)
        scale = np.divide(
            self.size[k][rows], largest[event], out=np.ones(len(rows)), where=largest[event] > 0
        )
        minimum = np.broadcast_to(part.rows.minimum, len(part.event))[rows]
        integral = Integral(
            part.f,
            part.shared,
            part.rows.visible.rows(rows),
            part.plan.dimensions,
            part.rows.numbers[rows],
            part.rows.parts[rows],
            np.maximum(minimum * scale, SLOT).astype(int),
            self.steering,
            correlated=self.correlated,
            groups=Groups(np.unique(event, return_inverse=True)[1]),
            beside=beside[event],
            part=_AIM * np.sqrt(share[event]),
            believed=BELIEVED,
            remembered=self.remembered,
        )
        estimate = part.plan.rule.integrate(integral, self.accuracy)
        self.value[k][rows] = np.nan_to_num(estimate.value)
        self._remember(k, rows, estimate)

    def affordable(self) -> np.ndarray:
        """Events that have spent little of what they may, so that another round would be of use."""
        found = np.ones(int(self.event.max()) + 1, dtype=bool)
        for part, estimate in zip(self.parts, self.estimates, strict=True):
            if estimate is not None:
                spent = np.zeros(len(found))
                np.add.at(spent, part.event, estimate.evaluations)
                found &= 4 * spent <= self.accuracy.budget(getattr(part.plan.rule, "calls", SLOT))
        return found

    def _remember(self, k: int, rows: np.ndarray, estimate: Estimate) -> None:
        """Results of rows, in place of those before; what these cost counts, too."""
        whole, count = self.estimates[k], len(self.parts[k].event)
        if whole is None:
            whole = jax.tree.map(lambda leaf: np.zeros((count, *leaf.shape[1:]), leaf.dtype), estimate)
        assert whole is not None
        before = whole.evaluations[rows]
        for old, new in zip(jax.tree.leaves(whole), jax.tree.leaves(estimate), strict=True):
            old[rows] = new
        whole.evaluations[rows] += before
        self.estimates[k] = whole

    def result(self, share: np.ndarray) -> Estimate:
        """The sums, times each event's share."""
        found = []
        for k, estimate in enumerate(self.estimates):
            if estimate is not None:
                estimate = _rows(estimate._replace(course=None), self.kept[k])
                found.append((self.parts[k].event[self.kept[k]], estimate))
        event = np.concatenate([each for each, _ in found])
        order = np.argsort(event, kind="stable")
        joined = _rows(Estimate.joined([estimate for _, estimate in found]), order)
        trial = [np.full(len(part.event), SLOT) for part in self.parts]
        return averaged(
            joined,
            Groups(event[order]),
            share,
            self.accuracy,
            self.steering,
            self.total(self._dropped()),
            self.total(trial).astype(np.int64),
        )

    def _dropped(self) -> list[np.ndarray]:
        """What the trial says of each part's rows that are not integrated; 0 of others."""
        looks = zip(self.kept, self.first, strict=True)
        return [np.where(kept[:, None], 0.0, look.mean) for kept, look in looks]

    def done(self) -> list[Done]:
        """What each part leaves for others to follow."""
        found = []
        for k, (part, dropped) in enumerate(zip(self.parts, self._dropped(), strict=True)):
            rows, estimate = np.flatnonzero(self.kept[k]), self.estimates[k]
            whole = np.zeros_like(rows)
            parts = PartsOfRows(part.rows.visible.rows(rows), rows, whole, whole)
            course = None if estimate is None else _rows(estimate, rows).course
            of_events = np.zeros((int(self.event.max()) + 1, dropped.shape[1]))
            np.add.at(of_events, part.event, dropped)
            found.append(Done(part.rows.visible, self.value[k][:, 0], parts, course, of_events))
        return found


def integrated(
    parts: Sequence[Part],
    share: np.ndarray,
    accuracy: Accuracy,
    steering: int,
    correlated: bool,
    most: int,
    remembered: bool,
) -> tuple[Estimate, list[np.ndarray], list[Done]]:
    """The sums of events `[events]`, of each part the first value of each row, before its share, and what
    was done, where others are to follow: where `remembered`.

    **Arguments:** `share` of each event, see `Rows.share`; the first `steering` values stop an event; `most`,
    how many parts an event may have, which share its budget.
    """
    if accuracy.calls is not None:
        accuracy = replace(accuracy, calls=max(accuracy.calls // most, SLOT))
    whole = _Sum(parts, accuracy, steering, correlated, remembered)
    events = np.ones(len(share), dtype=bool)
    for _ in range(_ROUNDS):
        for k in range(len(parts)):
            whole.integrate(k, events)
        estimate = whole.result(share)
        missed = (estimate.error > accuracy.precision * np.abs(estimate.value))[:, :steering].any(axis=1)
        events = missed & whole.affordable()
        if not events.any():
            break
    done = whole.done() if remembered else []
    return whole.result(share), [each[:, 0] for each in whole.value], done


def _rows(estimate: Estimate, index: np.ndarray) -> Estimate:
    found: Estimate = jax.tree.map(lambda leaf: leaf[index], estimate)
    return found
