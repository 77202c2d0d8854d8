"""Rows of events integrated together: contributions to one number each, with effort by what they contribute.

A trial of a few hundred fixed points of each row decides which are dropped, together less than a thousandth
of the sum, and how many points the others get at first, by their spread. Then they get points in rounds until
the sum is precise. What was dropped counts as the trial says, and as an error.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deepmem.event import Status, worst
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.course import Course
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.integrals.groups import Groups
from deepmem.physics.integrals.importance import FirstMaps
from deepmem.physics.integrals.integral import Integral
from deepmem.physics.integrals.integrand import Integrand
from deepmem.physics.integrals.slots import SLOT
from deepmem.physics.phasespace import trials
from deepmem.physics.phasespace.parts import Rows as PartsOfRows
from deepmem.physics.phasespace.parts import chosen
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.weights import regions
from deepmem.physics.weights.plan import Plan

# What is dropped, of a sum at most; and of the precision that is asked for.
_DROPPED, _OF_PRECISION = 1e-3, 0.1
BELIEVED = 1 << 12
"""Evaluations of an assignment of jets before it counts as small: a sixth of a sum may be a narrow peak."""
_NUMBERS = 1 << 40
"""Above those that tell rows apart."""


class Rows(NamedTuple):
    """Contributions to the numbers of events."""

    visible: Visible
    """With what trials of the plan decide."""
    groups: Groups
    numbers: np.ndarray
    """Of each row's event in its file."""
    parts: np.ndarray
    """What tells rows of an event apart."""
    share: np.ndarray
    """What the sum over rows is multiplied by, one number for all rows of an event `[events]`."""
    minimum: np.ndarray | int = 0
    """Evaluations of each row before it may stop."""
    maps: FirstMaps | None = None
    """That rows begin with."""
    kinds: np.ndarray | None = None
    """The region of each row, by its place in the plan."""
    allowances: np.ndarray | None = None
    """See `Integral.allowances`."""


def cut(
    plan: Plan, f: Integrand | tuple[Integrand, ...], shared: Shared, rows: Rows
) -> tuple[Rows, PartsOfRows]:
    """The rows that are integrated: in regions, in parts, or whole."""
    if isinstance(f, tuple):
        parts = regions.chosen(plan, f, shared, rows.visible, rows.groups)
    elif plan.two_sided:
        parts = chosen(f, shared, rows.visible, plan.dimensions, rows.groups, rows.minimum)
    else:
        count = len(rows.parts)
        least = np.broadcast_to(rows.minimum, count)
        parts = PartsOfRows(rows.visible, np.arange(count), np.zeros(count, dtype=int), least)
    return of_parts(plan, rows, parts), parts


def of_parts(plan: Plan, rows: Rows, parts: PartsOfRows) -> Rows:
    """The rows that are integrated, where some are cut into parts: the points of a whole one are its own."""
    kinds = allowances = None
    if plan.regions:
        kinds = parts.part - regions.NEAR
        allowances = np.array([getattr(each.rule, "allowance", 0.0) for each in plan.regions])[kinds]
    return Rows(
        parts.visible,
        Groups(rows.groups.event[parts.of]),
        rows.numbers[parts.of],
        rows.parts[parts.of] + _NUMBERS * parts.part,
        rows.share,
        parts.minimum,
        parts.maps,
        kinds,
        allowances,
    )


class Done(NamedTuple):
    """What an integration of rows leaves for others to follow."""

    visible: Visible
    """All rows, with what trials decided."""
    value: np.ndarray
    """The first value of each row, before its share."""
    parts: PartsOfRows
    """What was integrated of them."""
    course: Course | None
    """Of these."""
    dropped: np.ndarray | None
    """What the trial says of the others, of each event of the sum; None where there was none."""


def integrated(
    plan: Plan,
    f: Integrand | tuple[Integrand, ...],
    shared: Shared,
    rows: Rows,
    accuracy: Accuracy,
    steering: int,
    correlated: bool,
    remembered: bool = False,
) -> tuple[Estimate, Done]:
    """The sums over rows of prepared events' integrals, and what was done.

    **Arguments:** the first `steering` values stop an event; `correlated` and `remembered` as of `Integral`.
    """
    groups, asked = rows.groups, (accuracy, steering, correlated, remembered)
    if isinstance(f, tuple) or groups.single or not plan.selects:
        pieces, parts = cut(plan, f, shared, rows)
        found = _of_rows(plan, f, shared, pieces, *asked)
        value = np.bincount(parts.of, found.value[:, 0], groups.event.size)
        done = Done(rows.visible, value, parts, found.course, None)
        return averaged(found, pieces.groups, rows.share, accuracy, steering), done
    first = trials.first_look(f, shared, rows.visible, plan.dimensions)
    kept = kept_rows(first, groups, accuracy, steering)
    size = np.abs(first.mean[:, :steering]).max(axis=1) * deviation(first)
    largest = groups.max(np.where(kept, size, 0.0))[groups.event]
    part = np.divide(size, largest, out=np.ones_like(size), where=largest > 0)
    minimum = np.maximum(np.broadcast_to(rows.minimum, len(kept)) * part, SLOT).astype(int)
    where = np.flatnonzero(kept)
    largest_ones = Rows(
        rows.visible.rows(where),
        Groups(groups.event[where]),
        rows.numbers[where],
        rows.parts[where],
        rows.share,
        minimum[where],
    )
    estimate = _of_rows(plan, f, shared, largest_ones, *asked, believed=BELIEVED)
    dropped = groups.sum(np.where(kept[:, None], 0.0, first.mean))
    trial = groups.sum(np.full(len(kept), SLOT))
    value = first.mean[:, 0].copy()
    value[where] = estimate.value[:, 0]
    parts = PartsOfRows(largest_ones.visible, where, np.zeros_like(where), minimum[where])
    done = Done(rows.visible, value, parts, estimate.course, dropped)
    return averaged(estimate, largest_ones.groups, rows.share, accuracy, steering, dropped, trial), done


def kept_rows(first: trials.FirstLook, groups: Groups, accuracy: Accuracy, steering: int) -> np.ndarray:
    """Which rows are integrated: all but the smallest of an event, by what the trial says at most of them.

    An event of which the trial saw nothing keeps all.
    """
    most = np.abs(first.mean[:, :steering])
    most = most * (1 + 2 * deviation(first) / np.sqrt(SLOT))[:, None]
    total = np.abs(groups.sum(first.mean[:, :steering]))[groups.event]
    part = np.divide(most, total, out=np.zeros_like(most), where=total > 0).max(axis=1)
    order = np.lexsort((part, groups.event))
    sums = np.cumsum(part[order])
    before = np.r_[0.0, sums][groups.first]
    small = np.empty(len(part), dtype=bool)
    small[order] = sums - before[groups.event] <= min(_DROPPED, _OF_PRECISION * accuracy.precision)
    return ~small | (groups.max(np.abs(first.mean).max(axis=1)) == 0)[groups.event]


def deviation(first: trials.FirstLook) -> np.ndarray:
    """The standard deviation of each row's integrand over its mean; 0 where all is 0."""
    return np.sqrt(np.maximum(np.where(np.isfinite(first.spread), first.spread, 1.0) - 1, 0.0))


def _of_rows(
    plan: Plan,
    f: Integrand | tuple[Integrand, ...],
    shared: Shared,
    rows: Rows,
    accuracy: Accuracy,
    steering: int,
    correlated: bool,
    remembered: bool,
    believed: int = 0,
) -> Estimate:
    integral = Integral(
        f,
        shared,
        rows.visible,
        plan.dimensions,
        rows.numbers,
        rows.parts,
        rows.minimum,
        steering,
        correlated=correlated,
        groups=rows.groups,
        maps=rows.maps,
        remembered=remembered,
        kinds=rows.kinds,
        allowances=rows.allowances,
        believed=believed,
    )
    return plan.rule.integrate(integral, accuracy)


def averaged(
    estimate: Estimate,
    groups: Groups,
    share: np.ndarray,
    accuracy: Accuracy,
    steering: int,
    dropped: np.ndarray | None = None,
    trial: np.ndarray | None = None,
) -> Estimate:
    """The sum over rows, times each event's share.

    Its status is not the worst of theirs: a part that is not precise by itself, or that has no solution, may
    be of no weight in the sum. It is precise as a whole, and unknown if any part is.
    """
    if groups.single and dropped is None:
        covariance = estimate.covariance
        if covariance is not None:
            covariance = covariance * share[:, None, None] ** 2
        return estimate._replace(
            value=estimate.value * share[:, None],
            error=estimate.error * share[:, None],
            covariance=covariance,
            course=None,
        )
    value, variance = groups.sum(estimate.value), groups.sum(estimate.error**2)
    covariance = estimate.covariance
    if covariance is not None:
        covariance = groups.sum(covariance)
    evaluations = groups.sum(estimate.evaluations)
    if dropped is not None and trial is not None:
        value, variance, evaluations = value + dropped, variance + dropped**2, evaluations + trial
        if covariance is not None:
            few = dropped[:, : covariance.shape[1]]
            covariance = covariance + few[:, :, None] * few[:, None, :]
    error = np.sqrt(variance)
    precise = (error <= accuracy.precision * np.abs(value))[:, :steering].all(axis=1)
    status = np.where(precise, Status.GOOD, Status.PRECISION)
    possible = groups.max(estimate.status != Status.NO_SOLUTION)
    status = np.where(possible, status, Status.NO_SOLUTION)
    unknown = np.where(groups.max(estimate.status == Status.BAD_INPUT), Status.BAD_INPUT, Status.GOOD)
    if covariance is not None:
        covariance = covariance * share[:, None, None] ** 2
    return Estimate(
        value * share[:, None], error * share[:, None], worst(status, unknown), evaluations, covariance
    )
