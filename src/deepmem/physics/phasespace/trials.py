"""Trials on a few fixed points: how each event with neutrinos is best integrated.

A table of two coordinates of W pairs; the shares of the channels of H → WW; and what `parts` asks for. The
points are the same for all events, so that an event's choice does not depend on the others; and none of them
counts in a weight, which would be biased by having chosen after looking.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from deepmem.physics.integrals.integrand import Integrand
from deepmem.physics.integrals.integrand import values as integrand_values
from deepmem.physics.integrals.points import fixed_points
from deepmem.physics.integrals.slots import SLOT, slots_per_call
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.precision import double_precision
from deepmem.physics.tables import composition, table_of

# Points of a trial, in slots.
_TRIAL_SLOTS = 2
CELLS = (16, 32)
"""Of a table of two coordinates."""
# Of the rounds that fill it, one after the other: points, in slots; what part of the table is not even, for a
# cell that saw nothing in a few points may have something; how often cells are averaged with those around.
_TABLE_ROUNDS = ((2, 0.6, 2), (4, 0.8, 1))
# Points that find the shares of channels, in slots, and the least share of each.
_SHARE_SLOTS, _LEAST_CHANNEL = 4, 0.03
EASY = 8.0
"""The mean square of the integrand over its squared mean, on these points, below which half the minimum of
evaluations does."""


def trial(
    f: Integrand,
    shared: Shared,
    events: Visible,
    dimensions: int,
    slots: int = _TRIAL_SLOTS,
) -> tuple[np.ndarray, np.ndarray]:
    """Of the integrand on a few fixed points: the mean, and the mean square over its square (∞: all 0)."""
    w = at_fixed_points(f, shared, events, fixed_points(slots, dimensions))
    return w.mean(axis=1), spread_of(w)


def at_fixed_points(f: Integrand, shared: Shared, events: Visible, points: np.ndarray) -> np.ndarray:
    """The integrand, mean over a scan, at the same points `[slots, points, d]` for all `[events, points]`."""
    found = np.zeros((events.size, points.shape[0] * points.shape[1]))
    for here, w in _on_points(f, shared, events, points):
        found[here] = w
    return found


class FirstLook(NamedTuple):
    """Of the integrand of rows on a slot of fixed points."""

    mean: np.ndarray
    """Of each value `[rows, values]`."""
    spread: np.ndarray
    """The mean square of the first value over its squared mean `[rows]`; ∞ where all is 0."""


def first_look(f: Integrand, shared: Shared, rows: Visible, dimensions: int) -> FirstLook:
    """What a slot of fixed points says of each row."""
    count, per_call = rows.size, slots_per_call()
    x = np.tile(fixed_points(1, dimensions), (per_call, 1, 1))
    means, spreads = [], []
    with double_precision():
        for first in range(0, count, per_call):
            here = np.minimum(np.arange(first, first + per_call), count - 1)
            parts = integrand_values(f, shared, rows.rows(here), x, min(per_call, count - first))
            values = np.nan_to_num(np.concatenate([np.asarray(part) for part in parts], axis=-1))
            means.append(values.mean(axis=1)[: count - first])
            spreads.append(spread_of(values[..., 0])[: count - first])
    return FirstLook(np.concatenate(means), np.concatenate(spreads))


def _on_points(
    f: Integrand, shared: Shared, events: Visible, points: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """The integrand, mean over a scan, at the same points `[slots, points, d]` for all.

    Some events at a time: which, and `[events, points]`.
    """
    count, slots = events.size, len(points)
    per_call = slots_per_call() // slots
    x = np.tile(points, (per_call, 1, 1))
    with double_precision():
        for first in range(0, count, per_call):
            rows = np.minimum(np.arange(first, first + per_call), count - 1).repeat(slots)
            used = slots * min(per_call, count - first)
            values, *_ = integrand_values(f, shared, events.rows(rows), x, used)
            w = np.nan_to_num(np.asarray(values).mean(axis=-1)).reshape(per_call, -1)
            yield slice(first, first + per_call), w[: count - first]


def on_points(f: Integrand, shared: Shared, rows: Visible, x: np.ndarray) -> np.ndarray:
    """The integrand, mean over a scan, at points of each row's own `[rows, points, d]`, in whole slots."""
    count, points, dimensions = x.shape
    slots = points // SLOT
    x = x.reshape(count * slots, SLOT, dimensions)
    found, per_call = [], slots_per_call()
    with double_precision():
        for first in range(0, len(x), per_call):
            here = np.minimum(np.arange(first, first + per_call), len(x) - 1)
            used = min(per_call, len(x) - first)
            values, *_ = integrand_values(f, shared, rows.rows(here // slots), x[here], used)
            found.append(np.nan_to_num(np.asarray(values).mean(axis=-1))[: len(x) - first])
    return np.concatenate(found).reshape(count, points)


def filled_table(
    f: Integrand,
    shared: Shared,
    events: Visible,
    dimensions: int,
    pair: tuple[int, int],
) -> np.ndarray:
    """The events' tables of two coordinates, from the integrand on fixed points: √(mean square) per cell.

    That is the density of least variance. Cells share with their neighbours, for they have seen few points.
    Each round refines the table before: where much was found there are more points, and finer cells.
    """
    table = np.asarray(events.choices.table)
    for slots, uneven, times in _TABLE_ROUNDS:
        points = fixed_points(slots, dimensions)
        flat, count = points.reshape(-1, dimensions), CELLS[0] * CELLS[1]
        row, column = (np.floor(flat[:, i] * n).astype(int) for i, n in zip(pair, CELLS, strict=True))
        at = row * CELLS[1] + column
        per_cell = np.maximum(np.bincount(at, minlength=count), 1)
        finer = []
        for here, w in _on_points(f, shared, events.choosing(table=table), points):
            squares = np.stack([np.bincount(at, each**2, count) for each in w]) / per_cell
            density = _smooth(np.sqrt(squares).reshape(-1, *CELLS), times)
            total = density.sum(axis=(1, 2), keepdims=True)
            even = np.full_like(density, 1 / count)
            density = np.divide(density, total, out=even.copy(), where=total > 0)
            finer.append(composition(table[here], table_of(uneven * density + (1 - uneven) * even)))
        table = np.concatenate(finer)
    return table


def shared_out(
    f: Integrand,
    shared: Shared,
    events: Visible,
    dimensions: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The events' shares of channels, from the integrand on fixed points; its mean square over the mean's.

    With shares ∝ share · √(mean square of a channel's points) they add the same to the variance.
    """
    points = fixed_points(_SHARE_SLOTS, dimensions)
    default = np.asarray(events.choices.shares)[0]
    channel = (points[..., 0].ravel()[:, None] >= np.cumsum(default)[:-1]).sum(axis=1)
    of_channel = np.maximum(np.bincount(channel, minlength=len(default)), 1)
    shares, spread = [], []
    for _, w in _on_points(f, shared, events, points):
        squares = np.stack([np.bincount(channel, each**2, len(default)) for each in w]) / of_channel
        best = default * np.sqrt(squares)
        total = best.sum(axis=1, keepdims=True)
        best = np.divide(best, total, out=np.tile(default, (len(w), 1)), where=total > 0)
        shares.append(_LEAST_CHANNEL + (1 - len(default) * _LEAST_CHANNEL) * best)
        spread.append(spread_of(w))
    return np.concatenate(shares), np.concatenate(spread)


def spread_of(w: np.ndarray) -> np.ndarray:
    """The mean square over the mean's, ∞ where all is 0."""
    mean = w.mean(axis=1)
    # each over the mean first: squares of small weights are too small for a number
    relative = np.divide(w, mean[:, None], out=np.zeros_like(w), where=mean[:, None] > 0)
    return np.where(mean > 0, (relative**2).mean(axis=1), np.inf)


def _smooth(density: np.ndarray, times: int) -> np.ndarray:
    """Cells averaged with their neighbours, as often."""
    for axis in (1, 2) * times:
        density = np.moveaxis(density, axis, -1)
        padded = np.pad(density, ((0, 0), (0, 0), (1, 1)), mode="edge")
        density = np.moveaxis((padded[..., :-2] + 2 * density + padded[..., 2:]) / 4, -1, axis)
    return density
