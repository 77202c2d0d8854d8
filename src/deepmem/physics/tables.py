"""Tables: densities in pieces, over a line or over the unit square, drawn from and evaluated.

A `Table` is linear between equidistant nodes. With h₀ and h₁ at the ends of a cell, h₀t + (h₁ − h₀)t²/2 = r
lies below its part t, which is solved in the form that survives h₀ = h₁:

    t = 2r / (h₀ + √(h₀² + 2 (h₁ − h₀) r)).

A table of the square has knots `[rows + 1, 1 + columns + 1]`, see `draw_pair`. It is data, made with NumPy,
for many events at once. Nothing here knows physics.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import Scalar


def cell_of(x: Scalar, cells: int) -> tuple[Scalar, Scalar]:
    """The cell of unit length that x falls into, and how far into it."""
    if cells == 1:  # a constant spares what has one value looking it up
        return np.zeros((), dtype=int), x
    cell = jnp.clip(jnp.floor(x), 0, cells - 1).astype(int)
    return cell, x - cell


def within(below: Scalar, u: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """The cell that u falls into, how far into it, and its share.

    **Arguments:** `below`, the share below each edge, from 0 to 1 `[cells + 1]`.
    """
    last = below.shape[0] - 2
    k, step = jnp.zeros(jnp.shape(u), dtype=jnp.int32), 1 << (last.bit_length() - 1)
    while step:
        further = jnp.minimum(k + step, last)
        k = jnp.where(below[further].astype(float) <= u, further, k)
        step //= 2
    low, high = below[k].astype(float), below[k + 1].astype(float)
    share = high - low
    return k, jnp.clip((u - low) / share, 0.0, 1.0), share


# --- of one number
# -----------------------------------------------------------------------------------------------------------


class Table(NamedTuple):
    """A density that is linear between equidistant nodes `low`, `low + step`, …; leading axes are a batch."""

    low: Scalar
    step: Scalar
    heights: Scalar
    """The density at the nodes `[..., nodes]`, normalised."""
    below: Scalar
    """Its integral up to each node `[..., nodes]`, from 0 to 1."""

    @classmethod
    def of(cls, low: Scalar, step: Scalar, heights: Scalar) -> Table:
        """The table of heights that need not be normalised."""
        pieces = (heights[..., 1:] + heights[..., :-1]) / 2 * step
        below = jnp.concatenate([jnp.zeros_like(pieces[..., :1]), jnp.cumsum(pieces, axis=-1)], axis=-1)
        total = below[..., -1:]
        return cls(low, step, heights / total, below / total)

    @property
    def _cells(self) -> int:
        return int(self.heights.shape[-1]) - 1

    def draw(self, u: Scalar) -> Scalar:
        """The point below which a fraction u of the density lies; u `[...]`."""
        u = jnp.asarray(u)
        k = jnp.clip((self.below <= u[..., None]).sum(axis=-1) - 1, 0, self._cells - 1)
        h0, h1 = _at(self.heights, k), _at(self.heights, k + 1)
        rest = (u - _at(self.below, k)) / self.step
        root = jnp.sqrt(jnp.maximum(h0**2 + 2 * (h1 - h0) * rest, 0.0))
        t = jnp.clip(2 * rest / jnp.maximum(h0 + root, 1e-300), 0.0, 1.0)
        return self.low + self.step * (k + t)

    def density(self, x: Scalar) -> Scalar:
        """At x `[...]` between the first node and the last; that of the nearest node beyond them."""
        at = jnp.clip((x - self.low) / self.step, 0.0, self._cells)
        k = jnp.clip(jnp.floor(at), 0, self._cells - 1).astype(int)
        h0 = _at(self.heights, k)
        return h0 + (at - k) * (_at(self.heights, k + 1) - h0)


def _at(values: Scalar, k: Scalar) -> Scalar:
    """The k-th of the last axis, for each of what leads."""
    values = jnp.broadcast_to(values, (*k.shape, values.shape[-1]))
    return jnp.take_along_axis(values, k[..., None], axis=-1)[..., 0]


def quantiles(density: np.ndarray) -> np.ndarray:
    """Of densities that are constant in each cell of (0, 1) `[..., cells]`, as many as there are cells."""
    cells = density.shape[-1]
    below = np.concatenate([np.zeros_like(density[..., :1]), np.cumsum(density, axis=-1)], axis=-1)
    below /= below[..., -1:]
    at = np.linspace(0, 1, cells + 1)[1:-1]
    k = (below[..., None, 1:] <= at[:, None]).sum(axis=-1)
    low, high = (np.take_along_axis(below, k + i, axis=-1) for i in (0, 1))
    ends = np.zeros_like(low[..., :1])
    return np.concatenate([ends, (k + (at - low) / (high - low)) / cells, ends + 1], axis=-1)


# --- of two
# -----------------------------------------------------------------------------------------------------------


def draw_pair(table: Scalar, u: Scalar, v: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """x(u), y(u, v) and dx dy/du dv of a `table` of knots `[cells of u + 1, 1 + cells of v + 1]`.

    x goes straight through its first column, and y through the others, knots in v for each knot in u. Between
    them y is bilinear: what it follows may move with x by more than it is wide.
    """
    table, rows, columns = jnp.asarray(table), table.shape[0] - 1, table.shape[1] - 2
    (i, s), (j, t) = cell_of(u * rows, rows), cell_of(v * columns, columns)
    low, high = table[i, 0], table[i + 1, 0]
    left = (1 - s) * table[i, j + 1] + s * table[i + 1, j + 1]
    right = (1 - s) * table[i, j + 2] + s * table[i + 1, j + 2]
    return low + s * (high - low), left + t * (right - left), rows * columns * (high - low) * (right - left)


def even_table(rows: int, columns: int) -> np.ndarray:
    """The table that changes nothing."""
    x, y = np.linspace(0, 1, rows + 1), np.linspace(0, 1, columns + 1)
    return np.concatenate([x[:, None], np.tile(y, (rows + 1, 1))], axis=1)


def table_of(density: np.ndarray) -> np.ndarray:
    """The tables that follow densities `[events, rows, columns]`: quantiles of x, and of y there."""
    cells = density.shape[1]
    first = quantiles(density.sum(axis=2))
    at = np.clip(first * cells - 0.5, 0, cells - 1 - 1e-9)
    row = at.astype(int)
    part = (at - row)[..., None]
    events = np.arange(len(density))[:, None]
    there = (1 - part) * density[events, row] + part * density[events, np.minimum(row + 1, cells - 1)]
    return np.concatenate([first[..., None], quantiles(there)], axis=-1)


def composition(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The tables through whose knots `inner` and then `outer` go `[events, …]`."""
    rows, columns = inner.shape[1] - 1, inner.shape[2] - 2
    events = np.arange(len(inner))[:, None, None]
    u, v = inner[..., :1] * rows, inner[..., 1:] * columns
    i, j = np.minimum(u.astype(int), rows - 1), np.minimum(v.astype(int), columns - 1)
    s, t = u - i, v - j
    x = (1 - s) * outer[events, i, 0] + s * outer[events, i + 1, 0]
    low, high = ((1 - s) * outer[events, i, j + k] + s * outer[events, i + 1, j + k] for k in (1, 2))
    return np.concatenate([x, low + t * (high - low)], axis=-1)
