"""A cheap weight: the integrand on a few fixed points. Networks learn what is missing to it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from deepmem.errors import UsageError
from deepmem.physics.integrals.slots import SLOT
from deepmem.physics.phasespace import trials
from deepmem.physics.phasespace.parts import sides_of
from deepmem.physics.processes import refuse_assigned
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.partonic import Partonic, shared_by_events
from deepmem.physics.weights.plan import plan_for
from deepmem.physics.weights.preparation import prepare
from deepmem.physics.weights.visible import visible

# Between what relative variances are believed, and how far logarithms of ratios go.
_LEAST_VARIANCE, _LARGEST_VARIANCE, _DECADES = 0.05, 1e6, 3.0


class Rough(NamedTuple):
    """Cheap estimates of weights, see `rough`: `value` `[events]`, 0 where no point counted and NaN where an
    event can't be computed; `error` `[events]`, absolute, as far as so few points tell; `details` `[events,
    names]`, what else tells how good they are."""

    value: np.ndarray
    error: np.ndarray
    details: np.ndarray


def details_of_rough(alpha: Hypothesis) -> tuple[str, ...]:
    """The names of what `rough` says beside the value."""
    refuse_assigned(alpha.process, "a rough weight")
    plan = plan_for(alpha)
    kinds = ("share", "variance", "sides") if plan.two_sided else ("share", "variance")
    return tuple(f"{kind} {number}" for number in range(len(plan.permutations)) for kind in kinds)


def rough(alpha: Hypothesis, events: Any, points: int = 512) -> Rough:
    """A cheap estimate of the weights of events: the integrand's mean on a few fixed points.

        W ≈ Σ_a Σ_s k_as ⟨f_as⟩ / n_a,  k_as ∝ 1/V_as², Σ_s k_as = 1

    a the assignments of b jets, s which top comes first in the map by angle (else there is one side), V the
    relative variance on the points. Squares, for a few points see too little of a variance. Its error is no
    error that could be relied on: all this is what a network is told, which learns the ratio of exact weights
    to it.

    **Arguments:** `events` as for `compute`; `points` of each side and assignment, a multiple of 256.

    **Returns** values, and as details for each assignment: log10 of its share of the weight, of V, and of the
    ratio of both sides; NaN beside a value that is 0 or NaN.

    **Raises** `UsageError` as `compute` does, for a scan, or for a number of points that is no multiple.
    """
    refuse_assigned(alpha.process, "a rough weight")
    if points < SLOT or points % SLOT:
        raise UsageError(f"points must be a multiple of {SLOT}, got {points}")
    if alpha.count != 1:
        raise UsageError(f"a rough weight is that of one value of a parameter, not of {alpha.count}")
    measured, good = visible(alpha, events)
    names = details_of_rough(alpha)
    value, error = np.full(len(good), np.nan), np.full(len(good), np.nan)
    details = np.full((len(good), len(names)), np.nan)
    rows = np.flatnonzero(good)
    if not len(rows):
        return Rough(value, error, details)
    plan, shared = plan_for(alpha), shared_by_events(alpha)
    f = plan.integrand(Partonic.of(alpha), False)
    chosen = prepare(alpha, plan, shared, measured.rows(rows))
    tried, _ = plan.tried(f, shared, chosen)
    sides = sides_of(tried) if plan.two_sided else (tried,)
    each = [trials.trial(f, shared, side, plan.dimensions, points // SLOT) for side in sides]
    # [sides, events, permutations]
    shape = (len(sides), len(rows), len(plan.permutations))
    mean, spread = (np.stack(part).reshape(shape) for part in zip(*each, strict=True))
    variance = np.clip(spread - 1, _LEAST_VARIANCE, _LARGEST_VARIANCE)
    share = variance**-2 / (variance**-2).sum(axis=0)
    parts = (share * mean).sum(axis=0)
    value[rows] = total = parts.mean(axis=1)
    squares = ((share * mean) ** 2 * variance).sum(axis=(0, 2)) / points
    error[rows] = np.sqrt(squares) / parts.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        kinds = [
            np.maximum(np.log10(parts / parts.sum(axis=1, keepdims=True)), -_DECADES),
            np.log10(variance.min(axis=0)),
        ]
        if plan.two_sided:
            kinds.append(np.clip(np.nan_to_num(np.log10(mean[1] / mean[0])), -_DECADES, _DECADES))
    said = np.stack(kinds, axis=2).reshape(len(rows), -1)
    details[rows] = np.where(total[:, None] > 0, said, np.nan)
    return Rough(value, error, details)
