"""Weights of events that are sums over final states and assignments: the rows of each, integrated."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from deepmem.data.table import has_column
from deepmem.event import LARGEST_SHARES
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.integrals.groups import Groups
from deepmem.physics.processes.base import JETS
from deepmem.physics.weights.contributions import Contributions, contributions
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.integration import Rows
from deepmem.physics.weights.integration import integrated as rows_integrated
from deepmem.physics.weights.partonic import Partonic, negative_densities, shared_by_events
from deepmem.physics.weights.plan import Plan, plan_for
from deepmem.physics.weights.preparation import prepare


class OfJets(NamedTuple):
    """What assignments contribute to each event, see `Weight.share`, and the likeliest one, `Weight.role`."""

    share: np.ndarray
    role: np.ndarray


def integrated(
    alpha: Hypothesis,
    events: Any,
    accuracy: Accuracy,
    entries: np.ndarray | None,
    neutrinos: bool,
    plan: Plan | None = None,
) -> tuple[Estimate, np.ndarray, OfJets]:
    """The sums of events that can be computed, in their order; why others can't be `[events]`; who is who.

    **Arguments:** as of `engine.compute`; `plan`, of a process of one final state.
    """
    found, reason = contributions(alpha, events)
    signed, count = negative_densities(alpha), len(reason)
    numbers = np.arange(count) if entries is None else np.asarray(entries)
    columns = alpha.columns_of(partial(has_column, events))
    jets = sum(re.fullmatch(r"j\d+_PT", column) is not None for column in columns)
    of_jets = OfJets(np.full((count, LARGEST_SHARES), np.nan), np.full((count, jets), -1, dtype=np.int32))
    events_of, estimates = [], []
    for each in found:
        if len(each.event):
            estimate, values = _of_final_state(each, accuracy, numbers, neutrinos, signed, plan)
            _tell(each, values, of_jets)
            events_of.append(np.unique(each.event))
            estimates.append(estimate)
    if not estimates:
        return Estimate.of_nothing(), reason, of_jets
    # each event has one final state
    order = np.argsort(np.concatenate(events_of), kind="stable")
    joined = jax.tree.map(lambda array: array[order], Estimate.joined(estimates))
    return joined, reason, of_jets


def _tell(rows: Contributions, values: np.ndarray, of_jets: OfJets) -> None:
    """Fill in what the rows of a final state contribute, and the likeliest assignment."""
    process = rows.alpha.process
    kinds = enumerate(process.classes)
    legs = np.array([leg for leg, kind in kinds if kind in JETS], dtype=np.int32)
    order = np.lexsort((-values, rows.event))
    groups = Groups(np.unique(rows.event[order], return_inverse=True)[1])
    total = groups.sum(values[order])
    for i, (begin, size) in enumerate(zip(groups.first, groups.size, strict=True)):
        here = order[begin : begin + size]
        if total[i] > 0:
            largest = here[:LARGEST_SHARES]
            event = rows.event[here[0]]
            of_jets.share[event, : len(largest)] = values[largest] / total[i]
            of_jets.role[event, rows.jets[here[0]]] = legs


def _of_final_state(
    rows: Contributions,
    accuracy: Accuracy,
    numbers: np.ndarray,
    neutrinos: bool,
    signed: bool,
    plan: Plan | None,
) -> tuple[Estimate, np.ndarray]:
    """The sums over rows, and the first value of each row."""
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
