"""Events in two regions, near a resonance and off it, each with a map of its own: W = W_near + W_off.

What spreads little under one map may have hardly a point under the other. A few fixed points say what each
region contributes, and none of them counts. Near the resonance its map may find few, so trials are made
whatever they say; off it they are made where it matters. Both regions are integrated together, and points go
where they take the most off the error of the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from deepmem.physics.integrals.groups import Groups
from deepmem.physics.integrals.integrand import Integrand
from deepmem.physics.phasespace import trials
from deepmem.physics.phasespace.parts import Rows
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.weights.plan import Plan

NEAR, OFF = 1, 2
"""The parts of a row."""
# What part of what there is near the resonance is no reason for trials off it.
_TRIFLE = 0.05
# Evaluations of both regions before they may stop; and of one that was not seen to contribute.
_LEAST, _EMPTY = (1024, 256), 512


def chosen(
    plan: Plan, integrands: Sequence[Integrand], shared: Shared, rows: Visible, groups: Groups
) -> Rows:
    """Both regions of each row, with what trials decide.

    **Arguments:** `plan`, whose `regions` these are; `integrands` of both; `rows` before any trial.
    """
    regions = [_of_region(rows, each, plan.regions) for each in plan.regions]
    sizes = np.stack(
        [
            _size(*trials.trial(f, shared, region, plan.dimensions, slots=1))
            for f, region in zip(integrands, regions, strict=True)
        ]
    )
    usual = np.full_like(sizes, getattr(plan.rule, "minimum", 0))
    for k, (f, own) in enumerate(zip(integrands, plan.regions, strict=True)):
        large = np.flatnonzero((k == 0) | (sizes[k] >= _TRIFLE * sizes[0]))
        if len(large):
            tried, usual[k, large] = own.tried(f, shared, regions[k].rows(large))
            regions[k] = _replaced(regions[k], large, tried)
    count = rows.size
    return Rows(
        jax.tree.map(lambda *both: np.stack(both, axis=1).reshape(2 * count, *both[0].shape[1:]), *regions),
        np.repeat(np.arange(count), 2),
        np.tile([NEAR, OFF], count),
        _first_points(sizes, usual, groups).T.ravel(),
    )


def _of_region(rows: Visible, own: Plan, every: Sequence[Plan]) -> Visible:
    """The rows with the choices of a region's plan, beside those that the other region's map asks for."""
    asked: dict[str, Any] = {}
    for plan in (*every, own):
        asked |= {name: value for name, value in plan.choices._asdict().items() if value is not None}
    return rows.choosing(
        **{name: np.tile(value, (rows.size, *[1] * np.ndim(value))) for name, value in asked.items()}
    )


def _size(mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The root of the integrand's mean square."""
    return mean * np.sqrt(np.where(mean > 0, spread, 0.0))


def _replaced(rows: Visible, at: np.ndarray, some: Visible) -> Visible:
    """The rows with others at some places."""

    def replaced(every: np.ndarray, few: np.ndarray) -> np.ndarray:
        found = np.array(every)
        found[at] = few
        return found

    return jax.tree.map(replaced, rows, some)


def _first_points(sizes: np.ndarray, usual: np.ndarray, groups: Groups) -> np.ndarray:
    """Evaluations before a region may stop, by its part of the largest deviation `[regions, rows]`."""
    largest = groups.max(sizes.max(axis=0))[groups.event]
    part = np.divide(sizes, largest, out=np.ones_like(sizes), where=largest > 0)
    wanted = np.where(sizes > 0, np.maximum(usual * part, np.array(_LEAST)[:, None]), _EMPTY)
    return np.where(largest > 0, wanted, usual).astype(int)
