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
from deepmem.physics.integrals.integral import Integral
from deepmem.physics.integrals.integrand import Integrand, Staged
from deepmem.physics.phasespace import trials
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.integration import averaged
from deepmem.physics.weights.partonic import Partonic, shared_by_events
from deepmem.physics.weights.plan import Plan, plan_for, rank
from deepmem.physics.weights.preparation import prepare
from deepmem.physics.weights.visible import Measured


class Before(NamedTuple):
    """What an integration leaves for others to follow: its rows, and the rule's course of each."""

    rows: Visible
    course: Course

    def of(self, index: np.ndarray) -> Before:
        """Some of the rows."""
        rows, course = jax.tree.map(lambda leaf: leaf[index], tuple(self))
        return Before(rows, course)


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
    def integrand(self) -> Integrand:
        return self.plan.integrand(Partonic.of(self.alpha), self.neutrinos)

    def integrate(
        self, measured: Measured, numbers: np.ndarray, remembered: bool = False
    ) -> tuple[Estimate, Before | None]:
        """The mean over assignments of events' integrals; the weights, of its values, stop an event.

        **Arguments:** `measured`, of events that can be computed; `numbers`, in their file, `[events]`;
        `remembered`, whether another integration is to follow.
        """
        events = prepare(self.alpha, self.plan, self.shared, measured)
        rows, minimum = self.plan.tried(self.integrand, self.shared, events)
        groups = self._groups(len(numbers))
        if self.plan.two_sided:
            assert isinstance(self.integrand, Staged)
            rows = trials.best_side(self.integrand, self.shared, rows, self.plan.dimensions, groups)
        integral = self._integral(rows, numbers, minimum, remembered, None)
        estimate = self.plan.rule.integrate(integral, self.accuracy)
        before = None if estimate.course is None else Before(rows, estimate.course)
        return self._mean(estimate, len(numbers)), before

    def follow(
        self, before: Before, at: np.ndarray, measured: Measured, numbers: np.ndarray
    ) -> tuple[Estimate, np.ndarray]:
        """The same of events that are nearly those at `at` of an integration before, at its points.

        **Returns** what `integrate` does, and the covariance with the weights before `[events, weights]`.
        """
        together = len(self.plan.permutations)
        before = before.of((at[:, None] * together + np.arange(together)).ravel())
        events = prepare(self.alpha, self.plan, self.shared, measured)
        rows, groups = self.plan.alike(before.rows, events), self._groups(len(numbers))
        integral = self._integral(rows, numbers, None, True, before.course)
        estimate = self.plan.rule.integrate(integral, self.accuracy)
        covariance = before.course.covariance(estimate.course)  # type: ignore[arg-type]
        mean = groups.sum(covariance) / groups.size[:, None] ** 2
        return self._mean(estimate, len(numbers)), mean

    def _groups(self, events: int) -> Groups:
        return Groups.of_size(len(self.plan.permutations), events)

    def _mean(self, estimate: Estimate, events: int) -> Estimate:
        """The mean over permutations."""
        groups = self._groups(events)
        share = np.full(events, 1 / len(self.plan.permutations))
        return averaged(estimate, groups, share, self.accuracy, self.alpha.count)

    def _integral(
        self,
        rows: Visible,
        numbers: np.ndarray,
        minimum: int | np.ndarray | None,
        remembered: bool,
        follows: Course | None,
    ) -> Integral:
        groups = self._groups(len(numbers))
        # a permutation's points are the same alone and beside others
        parts = np.tile([rank(order) for order in self.plan.permutations], len(numbers))
        return Integral(
            self.integrand,
            self.shared,
            rows,
            self.plan.dimensions,
            numbers[groups.event],
            parts,
            minimum,
            self.alpha.count,
            correlated=self.alpha.polynomial is not None,
            groups=groups,
            remembered=remembered,
            follows=follows,
        )
