"""Weights of events that are sums over final states and assignments: the rows of each, integrated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from deepmem.inputs import Reason
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.integrals.groups import Groups
from deepmem.physics.weights.contributions import Contributions, contributions
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.integration import Rows
from deepmem.physics.weights.integration import integrated as rows_integrated
from deepmem.physics.weights.partonic import Partonic, negative_densities, shared_by_events
from deepmem.physics.weights.plan import Plan, plan_for
from deepmem.physics.weights.preparation import prepare


def integrated(
    alpha: Hypothesis,
    events: Any,
    accuracy: Accuracy,
    entries: np.ndarray | None,
    neutrinos: bool,
    plan: Plan | None = None,
) -> tuple[Estimate, np.ndarray]:
    """The sums of events that can be computed, in their order; and why others can't be, `[events]`.

    **Arguments:** as of `engine.compute`; `plan`, of a process of one final state.
    """
    found, reason = contributions(alpha, events)
    signed, count = negative_densities(alpha), len(reason)
    numbers = np.arange(count) if entries is None else np.asarray(entries)
    parts = [
        (np.unique(each.event), _of_final_state(each, accuracy, numbers, neutrinos, signed, plan))
        for each in found
        if len(each.event)
    ]
    if not parts:
        return Estimate.of_nothing(), np.where(reason == Reason.NONE, Reason.LACKING, reason)
    joined = Estimate.joined([estimate for _, estimate in parts])
    # each event has one final state
    order = np.argsort(np.concatenate([events for events, _ in parts]), kind="stable")
    return jax.tree.map(lambda array: array[order], joined), reason


def _of_final_state(
    rows: Contributions,
    accuracy: Accuracy,
    numbers: np.ndarray,
    neutrinos: bool,
    signed: bool,
    plan: Plan | None,
) -> Estimate:
    alpha = rows.alpha
    plan, shared = plan or plan_for(alpha), shared_by_events(alpha)
    # rows are assignments already
    plan = replace(plan, permutations=(tuple(range(len(alpha.process.visible))),))
    visible = prepare(alpha, plan, shared, rows.measured)
    visible = visible._replace(tags=rows.tags)
    f = plan.integrand(replace(Partonic.of(alpha), signed=signed), neutrinos)
    visible, minimum = plan.tried(f, shared, visible)
    _, group = np.unique(rows.event, return_inverse=True)
    groups = Groups(group)
    together = Rows(visible, groups, numbers[rows.event], rows.part, rows.share[groups.first], minimum)
    return rows_integrated(plan, f, shared, together, accuracy, alpha.count, alpha.polynomial is not None)
