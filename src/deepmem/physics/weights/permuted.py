"""The integrals of events whose legs are permuted, by the plan: rows, trials, the rule, the mean.

Another integral of nearly the same events may follow one that is done: its rows have the choices of trials of
that one, and its points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import numpy as np

from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.course import Course
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.integrals.groups import Groups
from deepmem.physics.integrals.importance import FirstMaps
from deepmem.physics.integrals.integral import Integral
from deepmem.physics.integrals.integrand import Integrand
from deepmem.physics.phasespace.parts import Rows as PartsOfRows
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.integration import Rows, averaged, cut, of_parts
from deepmem.physics.weights.partonic import Partonic, shared_by_events
from deepmem.physics.weights.plan import Plan, plan_for, rank
from deepmem.physics.weights.preparation import prepare
from deepmem.physics.weights.ratios import Both, Pair
from deepmem.physics.weights.visible import Measured


class Before(NamedTuple):
    """What an integration leaves for others to follow: its rows, and the rule's course of each."""

    rows: Visible
    course: Course
    of: np.ndarray
    """The row of an event and a permutation that each is a part of."""
    part: np.ndarray
    maps: FirstMaps | None

    def at(self, whole: np.ndarray) -> Before:
        """Those that are parts of some rows, of which each is there once."""
        first = np.searchsorted(self.of, whole)
        size = np.searchsorted(self.of, whole, side="right") - first
        begin = np.repeat(first - np.r_[0, np.cumsum(size)[:-1]], size)
        index = begin + np.arange(size.sum())
        rows, course, _, part, maps = jax.tree.map(lambda leaf: leaf[index], tuple(self))
        return Before(rows, course, np.repeat(np.arange(len(whole)), size), part, maps)


@dataclass(frozen=True)
class Integration:
    """How events are integrated under a hypothesis; `neutrinos`: with momenta of what escapes."""

    alpha: Hypothesis
    accuracy: Accuracy
    neutrinos: bool = False
    chosen: Plan | None = None
    """Instead of `plan_for(alpha)`."""

    @cached_property
    def plan(self) -> Plan:
        return self.chosen or plan_for(self.alpha)

    @cached_property
    def shared(self) -> Shared:
        return shared_by_events(self.alpha)

    @cached_property
    def integrand(self) -> Integrand | tuple[Integrand, ...]:
        return self.plan.integrands(Partonic.of(self.alpha), self.neutrinos)

    def integrate(
        self, measured: Measured, numbers: np.ndarray, remembered: bool = False
    ) -> tuple[Estimate, Before | None]:
        """The mean over assignments of events' integrals; the weights, of its values, stop an event.

        **Arguments:** `measured`, of events that can be computed; `numbers`, in their file, `[events]`;
        `remembered`, whether another integration is to follow.
        """
        events = prepare(self.alpha, self.plan, self.shared, measured)
        visible, minimum = self.plan.tried(self.integrand, self.shared, events)
        whole = self._rows(visible, numbers, minimum)
        rows, parts = cut(self.plan, self.integrand, self.shared, whole)
        estimate = self.plan.rule.integrate(self._integral(rows, remembered), self.accuracy)
        before = None
        if estimate.course is not None:
            before = Before(rows.visible, estimate.course, parts.of, parts.part, rows.maps)
        return self._mean(estimate, rows), before

    def follow(
        self, before: Before, at: np.ndarray, nominal: Estimate, measured: Measured, numbers: np.ndarray
    ) -> Pair:
        """Of events that are nearly those at `at` of an integration before, at its points.

        **Arguments:** `nominal`, what it found of these.
        """
        together = len(self.plan.permutations)
        before = before.at((at[:, None] * together + np.arange(together)).ravel())
        events = prepare(self.alpha, self.plan, self.shared, measured)
        visible = self.plan.alike(before.rows, before.of, events)
        whole = self._rows(visible, numbers, 0)
        parts = PartsOfRows(visible, before.of, before.part, np.zeros(len(before.of)), before.maps)
        rows = of_parts(self.plan, whole, parts)
        integral, count = self._integral(rows, True, before.course), self.alpha.count
        both = Both(self.plan.rule, self.accuracy, integral, before.rows, rows.groups.event)
        return Pair([both], self.accuracy, nominal, rows.share, count)

    def _rows(self, visible: Visible, numbers: np.ndarray, minimum: np.ndarray | int) -> Rows:
        """One row for each event and each permutation, whose points are the same alone and beside others."""
        permutations = self.plan.permutations
        groups = Groups.of_size(len(permutations), len(numbers))
        parts = np.tile([rank(order) for order in permutations], len(numbers))
        share = np.full(len(numbers), 1 / len(permutations))
        return Rows(visible, groups, numbers[groups.event], parts, share, minimum)

    def _mean(self, estimate: Estimate, rows: Rows) -> Estimate:
        """The mean over permutations."""
        return averaged(estimate, rows.groups, rows.share, self.accuracy, self.alpha.count)

    def _integral(self, rows: Rows, remembered: bool, follows: Course | None = None) -> Integral:
        return Integral(
            self.integrand,
            self.shared,
            rows.visible,
            self.plan.dimensions,
            rows.numbers,
            rows.parts,
            rows.minimum if follows is None else None,
            self.alpha.count,
            correlated=self.alpha.polynomial is not None,
            groups=rows.groups,
            remembered=remembered,
            follows=follows,
            maps=rows.maps,
            kinds=rows.kinds,
            allowances=rows.allowances,
        )
