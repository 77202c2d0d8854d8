"""The weights of events under a hypothesis: examined, prepared, integrated by the plan, judged.

What it cannot promise: with `MH = event` the propagator is dropped, and the number is a decay-angle
discriminant, no density. Only the resonances that a process names are mapped.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from deepmem.columns import Ranges
from deepmem.data.table import as_table, has_column
from deepmem.errors import DeepMEMWarning, UsageError
from deepmem.event import Status, Weight, worst
from deepmem.inputs import Reason
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.integrals.groups import Groups
from deepmem.physics.weights import couplings, sums
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.integration import Rows, integrated
from deepmem.physics.weights.partonic import Partonic, negative_densities, shared_by_events
from deepmem.physics.weights.plan import Plan, plan_for, rank
from deepmem.physics.weights.preparation import prepare
from deepmem.physics.weights.visible import examined

# The share of a weight that may come from below the density grid before the weight is called unknown.
_TOLERATED_BELOW_GRID = 1e-3
# And the share that may come from negative densities before it is no good weight.
_TOLERATED_NEGATIVE = 1e-3


def compute(
    alpha: Hypothesis,
    events: Any,
    *,
    precision: float = 0.01,
    calls: int | None = None,
    seed: int = 0,
    entries: np.ndarray | None = None,
    neutrinos: bool = False,
    plan: Plan | None = None,
    assignments: bool = False,
) -> dict[str, Weight]:
    """The weights of events under a hypothesis: one per value of a scan.

    **Arguments:** `events` as for `as_table`, in GeV; `precision`, relative error at which an event stops;
    `calls`, integrand evaluations per event at most; `seed`; `entries`, the events' numbers in their file
    (0, 1, …), which fix their random points, so that an event gets the same weight alone and among others
    (what all of a file looks like, degrees or MeV, is then for the caller to find, see `columns.Ranges`);
    `neutrinos`, whether the weights bring the mean momenta of what escapes; `plan`, how they are
    integrated, by default `plan_for(alpha)`; `assignments`, whether they bring the shares of assignments.

    **Returns** name → `Weight`; a failure is a status of its own event, never an exception.

    **Raises** `UsageError` for missing columns, angles in degrees, a grid that is not found, or a precision
    that is not positive.
    """
    accuracy = Accuracy(precision, calls, seed)
    if neutrinos and not alpha.process.invisible:
        raise UsageError(f"{alpha.process.name} has no neutrinos, whose momenta are asked for")
    if neutrinos and alpha.polynomial is not None:
        raise UsageError(f"{alpha.process.name} has free couplings, and momenta of neutrinos depend on them")
    if assignments and not (alpha.process.assigned and alpha.process.jets):
        raise UsageError(f"{alpha.process.name} has no assignments: these are of reactions with jets")
    if entries is None:
        _all_looked_at(alpha, events)
    if neutrinos and alpha.process.classes.count("invisible") != 2:
        raise UsageError(f"momenta are told of two neutrinos, and {alpha.process.name} has another number")
    of_jets = None
    if alpha.process.assigned:
        estimate, reason, of_jets = sums.integrated(alpha, events, accuracy, entries, neutrinos, plan)
    else:
        estimate, reason = _integrated(alpha, events, accuracy, entries, neutrinos, plan)
    count, sets, signed = len(reason), alpha.count, negative_densities(alpha)
    rows = np.flatnonzero(reason == Reason.NONE)
    found = []
    for k in range(sets):
        value, error = np.full(count, np.nan), np.full(count, np.nan)
        status, why = np.full(count, Status.BAD_INPUT, dtype=np.int32), reason.copy()
        evaluations = np.zeros(count, dtype=np.int64)
        if len(rows):
            evaluations[rows] = estimate.evaluations
            value[rows], error[rows], status[rows], why[rows] = _judged(estimate, k, sets, precision, signed)
        momenta = np.full((count, 2, 3), np.nan) if neutrinos else None
        if momenta is not None and len(rows):
            moments = estimate.value[:, (2 + signed) * sets + k :: sets].reshape(-1, 2, 3)
            weight = estimate.value[:, k]
            known = (weight > 0) & np.isfinite(value[rows])
            momenta[rows[known]] = moments[known] / weight[known, None, None]
        one = Weight(value, error, status, neutrinos=momenta, reason=why, evaluations=evaluations)
        if assignments and of_jets is not None:
            one = replace(one, share=of_jets.share, role=of_jets.role)
        found.append(one)
    if alpha.polynomial is None:
        return dict(zip(alpha.names, found, strict=True))
    covariance = None
    if len(rows) and estimate.covariance is not None:
        covariance = np.full((count, sets, sets), np.nan)
        covariance[rows] = estimate.covariance
    return {alpha.names[0]: couplings.of_points(alpha, found, covariance, precision)}


def _all_looked_at(alpha: Hypothesis, events: Any) -> None:
    """Refuse angles in degrees, and warn of other columns that look strange."""
    columns = alpha.columns_of(partial(has_column, events))
    ranges = Ranges(columns)
    ranges.add(as_table(events, columns))
    ranges.refuse()
    for text in ranges.problems():
        warnings.warn(text, DeepMEMWarning, stacklevel=3)


def _integrated(
    alpha: Hypothesis,
    events: Any,
    accuracy: Accuracy,
    entries: np.ndarray | None,
    neutrinos: bool,
    plan: Plan | None,
) -> tuple[Estimate, np.ndarray]:
    """The mean over permutations of the integrals of events that can be computed; why others can't."""
    measured, reason = examined(alpha, events)
    rows = np.flatnonzero(reason == Reason.NONE)
    if not len(rows):
        return Estimate.of_nothing(), reason
    plan, shared = plan or plan_for(alpha), shared_by_events(alpha)
    chosen = prepare(alpha, plan, shared, measured.rows(rows))
    numbers = rows if entries is None else np.asarray(entries)[rows]
    f = plan.integrand(Partonic.of(alpha), neutrinos)
    visible, minimum = plan.tried(f, shared, chosen)
    together = len(plan.permutations)
    groups = Groups.of_size(together, len(rows))
    # a permutation's points are the same alone and beside others
    parts = np.tile([rank(order) for order in plan.permutations], len(rows))
    share = np.full(len(rows), 1 / together)
    permuted = Rows(visible, groups, numbers[groups.event], parts, share, minimum)
    correlated = alpha.polynomial is not None
    return integrated(plan, f, shared, permuted, accuracy, alpha.count, correlated)[0], reason


def _judged(
    estimate: Estimate, k: int, count: int, precision: float, signed: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Value, error, status, reason of the k-th weight of a scan: each its own, though they share points."""
    value, error = estimate.value[:, k].copy(), estimate.error[:, k].copy()
    size, status = np.abs(value), estimate.status.copy()
    missed = (status == Status.GOOD) & (error > precision * size)
    status[missed] = Status.PRECISION
    if count > 1:
        # one that is precise beside others that are not; where all are, it was for points that weren't finite
        precise = estimate.error[:, :count] <= precision * np.abs(estimate.value[:, :count])
        reached = (status == Status.PRECISION) & precise[:, k] & ~precise.all(axis=1) & (value != 0)
        status[reached] = Status.GOOD
        status[(value == 0) & (status != Status.BAD_INPUT)] = Status.NO_SOLUTION
    below = np.abs(estimate.value[:, count + k]) > _TOLERATED_BELOW_GRID * size
    negative = value < 0
    if signed:
        negative |= estimate.value[:, 2 * count + k] > _TOLERATED_NEGATIVE * size
    status = worst(
        status,
        np.where(below, Status.BELOW_GRID, Status.GOOD),
        np.where(negative, Status.PRECISION, Status.GOOD),
    )
    reason = np.where(status == Status.BAD_INPUT, Reason.NO_POINT, Reason.NONE)
    reason[negative & (status == Status.PRECISION)] = Reason.NEGATIVE_DENSITY
    unknown = (status == Status.BELOW_GRID) | (status == Status.BAD_INPUT)
    value[unknown] = error[unknown] = np.nan
    return value, error, status, reason.astype(np.int32)
