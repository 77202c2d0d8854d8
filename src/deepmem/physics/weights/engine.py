"""The weights of events under a hypothesis: examined, prepared, integrated by the plan, judged.

What it cannot promise: with `MH = event` the propagator is dropped, and the number is a decay-angle
discriminant, no density. Only the resonances that a process names are mapped.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from deepmem.data.table import as_table, has_column
from deepmem.errors import DeepMEMWarning, UsageError
from deepmem.event import Status, Weight, variation_name, worst
from deepmem.inputs import Reason
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.processes.base import Process
from deepmem.physics.weights import couplings, sums
from deepmem.physics.weights.contributions import lost_legs
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.partonic import negative_densities
from deepmem.physics.weights.permuted import Integration
from deepmem.physics.weights.plan import Plan, plan_for
from deepmem.physics.weights.variations import Nominal
from deepmem.physics.weights.visible import examined
from deepmem.ranges import Ranges

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
    variations: Mapping[str, Any] | None = None,
) -> dict[str, Weight]:
    """The weights of events under a hypothesis: one per value of a scan.

    **Arguments:** `events` as for `as_table`, in GeV; `precision`, relative error at which an event stops;
    `calls`, integrand evaluations per event at most; `seed`; `entries`, the events' numbers in their file
    (0, 1, …), which fix their random points, so that an event gets the same weight alone and among others
    (what all of a file looks like, degrees or MeV, is then for the caller to find, see `ranges.Ranges`);
    `neutrinos`, whether the weights bring the mean momenta of what escapes; `plan`, how they are
    integrated, by default `plan_for(alpha)`; `assignments`, whether they bring the shares of assignments;
    `variations`, the same events measured otherwise, by name: their
    weights, NAME__VARIATION, have the points of the others.

    **Returns** name → `Weight`; a failure is a status of its own event, never an exception.

    **Raises** `UsageError` for missing columns, angles in degrees, a grid that is not found, or a precision
    that is not positive; for variations of a weight with free couplings.
    """
    work = Integration(alpha, Accuracy(precision, calls, seed), neutrinos, plan)
    _refuse(alpha, neutrinos, bool(variations), assignments)
    if entries is None:
        _all_looked_at(alpha, events)
    nominal: Nominal | sums.Sums
    of_jets = None
    if alpha.process.assigned:
        of_sums = sums.Work(work.accuracy, entries, neutrinos, plan, remembered=bool(variations))
        nominal = sums.integrated(alpha, events, of_sums)
        estimate, reason, of_jets = nominal[:3]
    else:
        measured, reason = examined(alpha, events)
        numbers = np.arange(len(reason)) if entries is None else np.asarray(entries)
        nominal = Nominal.of(work, measured, np.flatnonzero(reason == Reason.NONE), numbers, bool(variations))
        estimate = nominal.estimate
    found = _weights(work, estimate, reason)
    if assignments and of_jets is not None:
        found = [replace(each, share=of_jets.share, role=of_jets.role) for each in found]
    if alpha.lost is not None and of_jets is not None:
        found = [replace(each, lost=of_jets.lost) for each in found]
    if alpha.polynomial is not None:
        covariance = None
        rows = np.flatnonzero(reason == Reason.NONE)
        if len(rows) and estimate.covariance is not None:
            covariance = np.full((len(reason), alpha.count, alpha.count), np.nan)
            covariance[rows] = estimate.covariance
        return {alpha.names[0]: couplings.of_points(alpha, found, covariance, precision)}
    weights = dict(zip(alpha.names, found, strict=True))
    events_in_all = len(reason)
    for name, varied in (variations or {}).items():
        estimate, reason, covariance = _varied(work, nominal, varied, entries)
        if len(reason) != events_in_all:
            raise UsageError(f"the variation {name} has {len(reason)} events, and there are {events_in_all}")
        found = _weights(work, estimate, reason)
        for k, (called, weight) in enumerate(zip(alpha.names, found, strict=True)):
            of_both = np.full(events_in_all, np.nan)
            of_both[reason == Reason.NONE] = covariance[:, k]
            varied_weight = _beside(weights[called], replace(weight, covariance=of_both), precision)
            weights[variation_name(called, name)] = varied_weight
    return weights


def _varied(
    work: Integration, nominal: Nominal | sums.Sums, varied: Any, entries: np.ndarray | None
) -> tuple[Estimate, np.ndarray, np.ndarray]:
    """The integrals of events measured otherwise; why others have none; the covariance with the nominal ones.

    It is 0 where it is not known, and the error of a ratio is too large then: where jets are assigned in
    other ways.
    """
    if isinstance(nominal, sums.Sums):
        of_sums = sums.Work(work.accuracy, entries, work.neutrinos, work.chosen)
        found = sums.integrated(work.alpha, varied, of_sums, nominal)
        return found.estimate, found.reason, found.covariance
    measured, reason = examined(work.alpha, varied)
    if len(reason) != len(nominal.numbers):
        return Estimate.of_nothing(), reason, np.zeros((0, work.alpha.count))
    estimate, covariance = nominal.varied(work, measured, np.flatnonzero(reason == Reason.NONE))
    return estimate, reason, covariance


def _beside(nominal: Weight, varied: Weight, precision: float) -> Weight:
    """A variation's weight, which is precise where the nominal one is good and their ratio is precise."""
    assert varied.covariance is not None and varied.reason is not None
    known = np.isfinite(varied.value + nominal.value)
    varied = replace(varied, covariance=np.where(known, varied.covariance, np.nan))
    ratio, error = varied.ratio_to(nominal)
    missed = (varied.status == Status.PRECISION) & (varied.error > precision * np.abs(varied.value))
    good = missed & (nominal.status == Status.GOOD) & (error <= precision * np.abs(ratio))
    good &= varied.reason == Reason.NONE
    return replace(varied, status=np.where(good, Status.GOOD, varied.status).astype(np.int32))


def _refuse(alpha: Hypothesis, neutrinos: bool, variations: bool, assignments: bool) -> None:
    """**Raises** `UsageError` for what a weight of this hypothesis does not have."""
    if neutrinos and not alpha.process.invisible:
        raise UsageError(f"{alpha.process.name} has no neutrinos, whose momenta are asked for")
    if neutrinos and alpha.polynomial is not None:
        raise UsageError(f"{alpha.process.name} has free couplings, and momenta of neutrinos depend on them")
    variants = [each.process for each in alpha.process.variants] or [alpha.process]
    if neutrinos and any(_escaping_signs(each) != [-1, 1] for each in variants):
        raise UsageError(
            f"momenta are told of a neutrino and an antineutrino, and {alpha.process.name} has others"
        )
    if assignments and not (alpha.process.assigned and alpha.process.jets):
        raise UsageError(f"{alpha.process.name} has no assignments: these are of reactions with jets")
    if alpha.lost is not None:
        # what can't be lost is refused, whether an event lacks a jet or not
        for variant in variants:
            own = alpha.of_variant(variant)
            for leg in lost_legs(own):
                plan_for(own, lost=leg)
    if variations and alpha.polynomial is not None:
        raise UsageError(
            f"{alpha.process.name} has free couplings, and there are variations: one of both at a time (give "
            "the couplings values)"
        )


def _escaping_signs(process: Process) -> list[int]:
    """The signs of the codes of what escapes, in rising order."""
    legs = zip(process.outgoing, process.classes, strict=True)
    return sorted(1 if code > 0 else -1 for code, kind in legs if kind == "invisible")


def _weights(work: Integration, estimate: Estimate, reason: np.ndarray) -> list[Weight]:
    """The weights of all events, one for each value of a scan.

    **Arguments:** `estimate` of the events that can be computed; `reason` why others can't `[events]`.
    """
    rows = np.flatnonzero(reason == Reason.NONE)
    count, sets, signed = len(reason), work.alpha.count, negative_densities(work.alpha)
    found = []
    for k in range(sets):
        value, error = np.full(count, np.nan), np.full(count, np.nan)
        status, why = np.full(count, Status.BAD_INPUT, dtype=np.int32), reason.copy()
        evaluations = np.zeros(count, dtype=np.int64)
        if len(rows):
            evaluations[rows] = estimate.evaluations
            value[rows], error[rows], status[rows], why[rows] = _judged(
                estimate, k, sets, work.accuracy.precision, signed
            )
        momenta = np.full((count, 2, 3), np.nan) if work.neutrinos else None
        if momenta is not None and len(rows):
            moments = estimate.value[:, (2 + signed) * sets + k :: sets].reshape(-1, 2, 3)
            weight = estimate.value[:, k]
            known = (weight > 0) & np.isfinite(value[rows])
            momenta[rows[known]] = moments[known] / weight[known, None, None]
        found.append(Weight(value, error, status, neutrinos=momenta, reason=why, evaluations=evaluations))
    return found


def _all_looked_at(alpha: Hypothesis, events: Any) -> None:
    """Refuse angles in degrees, and warn of other columns that look strange."""
    columns = alpha.columns_of(partial(has_column, events))
    ranges = Ranges(columns)
    ranges.add(as_table(events, columns))
    ranges.refuse()
    for text in ranges.problems():
        warnings.warn(text, DeepMEMWarning, stacklevel=3)


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
