"""Importance maps: where an integrand is large, learned from its second moments, a coordinate at a time.

A map is a monotone cubic from (0, 1) to (0, 1) for each coordinate, through knots (i/K, y_i) with slopes
y'_i: an array `[..., knots, 2]` of both.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from deepmem.physics.integrals.points import lattice_points

BINS = 32
"""Between the knots of a map."""

# The part of points that stays uniform under a map, whatever went before; and of what one more of them adds.
# With less, parts of a peak that few points have told of are left out, in several coordinates at once.
_FLOOR, _UNIFORM = 0.2, 0.4
# The least excess of the second moment over the squared mean that a map is trusted to reach.
_LEAST_EXCESS = 0.01


SMOOTHINGS_OF_FEW = 3
"""How often the density of a map is smoothed of which few points tell."""
# And how many of them must count.
_TELLING = 80.0


class FirstMaps(NamedTuple):
    """Maps of events that were learned before, from points that count for nothing."""

    learned: np.ndarray
    """Whether an event has one `[events]`."""
    knots: np.ndarray
    """Of all coordinates `[events, d, knots]`; those not learned change nothing."""

    @classmethod
    def none(cls, events: int, dimensions: int) -> FirstMaps:
        """Those that change nothing."""
        return cls(np.zeros(events, dtype=bool), np.tile(IDENTITY[:, 0], (events, dimensions, 1)))

    @classmethod
    def from_points(cls, points: Float[np.ndarray, "n d"], w: Float[np.ndarray, "events n"]) -> FirstMaps:
        """Those that points teach, the same for all, where enough of them count: (Σ w)²/Σ w² ≥ 80.

        **Arguments:** `w`, the integrand at the points.
        """
        (count, n), dimensions = w.shape, points.shape[1]
        total = w.sum(axis=1, keepdims=True)
        relative = np.divide(w, total, out=np.zeros_like(w), where=total > 0)
        squares = relative**2
        cell = np.arange(dimensions) * BINS + np.minimum((points * BINS).astype(int), BINS - 1)
        moments = np.zeros((count, dimensions * BINS))
        for event, each in enumerate(squares):
            moments[event] = np.bincount(cell.ravel(), np.repeat(each, dimensions))
        moments, sums = moments.reshape(count, dimensions, BINS, 1), relative.sum(axis=1)[:, None, None]
        even = np.tile(IDENTITY, (count, dimensions, 1, 1))
        grid, _ = better_maps(even, moments, sums, np.full(count, n), SMOOTHINGS_OF_FEW)
        found = cls.none(count, dimensions)
        learned = (total[:, 0] > 0) & (squares.sum(axis=1) * _TELLING <= 1)
        found.knots[learned] = grid[learned, ..., 0]
        return found._replace(learned=learned)

    def of_all(self) -> np.ndarray:
        """As maps of a lattice `[events, d, knots, 2]`."""
        return _with_slopes(self.knots)


def mapped(grid: Float[Array, "knots 2"], u: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """y(u) under one coordinate's map, and dy/du."""
    k = jnp.clip(jnp.floor(u * BINS), 0, BINS - 1).astype(jnp.int32)
    return _cubic(grid[k], grid[k + 1], u * BINS - k)


def mapped_rows(
    grid: Float[np.ndarray, "rows knots 2"], u: Float[np.ndarray, "rows points"]
) -> tuple[Float[np.ndarray, "rows points"], Float[np.ndarray, "rows points"]]:
    """The same of one coordinate of many rows, in NumPy."""
    row, k = np.arange(len(u))[:, None], np.clip((u * BINS).astype(int), 0, BINS - 1)
    return _cubic(grid[row, k], grid[row, k + 1], u * BINS - k)


def _cubic(low: Any, high: Any, t: Any) -> tuple[Any, Any]:
    y0, s0, y1, s1 = low[..., 0], low[..., 1] / BINS, high[..., 0], high[..., 1] / BINS
    rise = y1 - y0
    c2 = 3 * rise - 2 * s0 - s1
    c3 = s0 + s1 - 2 * rise
    y = y0 + t * (s0 + t * (c2 + t * c3))
    return y, (s0 + t * (2 * c2 + 3 * t * c3)) * BINS


@jax.jit
def second_moments(
    values: Float[Array, "slots points values"],
    shift: Float[Array, "slots shifts d"],
    offset: Float[Array, "slots"],
    z: Float[Array, "d"],
) -> Float[Array, "slots d bins values"]:
    """Σ value² in bins of each coordinate before the map."""
    slots, _, d = shift.shape
    u = lattice_points(shift, offset, z).reshape(slots, -1, d)
    # A flat scatter: ten times faster on a CPU than products with one-hot arrays. On a GPU its order of
    # summation isn't fixed, so there a learned map is reproducible to rounding only.
    table = jnp.arange(slots)[:, None, None] * d + jnp.arange(d)
    at = table * BINS + jnp.floor(u * BINS).astype(jnp.int32)
    squares = jnp.broadcast_to((values**2)[:, :, None], (*u.shape, values.shape[-1]))
    sums = jax.ops.segment_sum(squares.reshape(-1, values.shape[-1]), at.ravel(), slots * d * BINS)
    return sums.reshape(slots, d, BINS, -1)


def better_maps(
    grid: np.ndarray,
    moments: np.ndarray,
    sums: np.ndarray,
    points: np.ndarray,
    smoothings: int | np.ndarray = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Better importance maps, and the factors by which they should reduce the variance.

    The best separable density is the root of the second moment's projection (G. P. Lepage, J. Comput. Phys.
    27 (1978) 192). It is smoothed, and a part of it stays uniform so that no region is starved on the word of
    a few points; a part of all maps together, too, however often one follows another.

    **Arguments:** `grid` `[events, d, knots, 2]`; `moments` `[events, d, bins, values]`, `sums`
    `[events, shifts, values]` and `points` `[events]` under the present map; `smoothings`, how often bins are
    averaged with their neighbours, of all or `[events]`. **Returns** the new grid and the gains `[events]`.
    """
    total = moments.sum(axis=2, keepdims=True)
    projection = np.divide(moments, total, out=np.zeros_like(moments), where=total > 0).mean(axis=-1)
    density = np.sqrt(projection)
    times = np.broadcast_to(smoothings, len(density))[:, None, None]
    for k in range(np.max(smoothings, initial=0)):
        padded = np.pad(density, ((0, 0), (0, 0), (1, 1)), mode="edge")
        smooth = (padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]) / 4
        density = np.where(k < times, smooth, density)
    norm = density.sum(axis=-1, keepdims=True)
    flat = np.full_like(density, 1 / BINS)
    density = np.divide(density, norm, out=flat.copy(), where=norm > 0)
    density = (1 - _UNIFORM) * density + _UNIFORM * flat

    # second moment over mean squared, before, and after if the projections told all
    squares, mean = moments[:, 0].sum(axis=1), sums.sum(axis=1)
    before = points[:, None] * squares / np.where(mean != 0, mean**2, np.inf)
    ratio = (projection / (density * BINS)).sum(axis=-1) / np.where(
        norm[..., 0] > 0, projection.sum(axis=-1), 1
    )
    after = before * ratio.prod(axis=-1)[:, None]
    gain = (np.maximum(before - 1, 0) / np.maximum(after - 1, _LEAST_EXCESS)).mean(axis=-1)
    return _with_floor(composed(grid, density)), gain


def composed(grid: np.ndarray, density: np.ndarray) -> np.ndarray:
    """The map whose density is that of `grid` times `density` (piecewise constant before the map)."""
    cumulative = np.concatenate([np.zeros_like(density[..., :1]), np.cumsum(density, axis=-1)], axis=-1)
    cumulative /= cumulative[..., -1:]
    target = np.linspace(0, 1, BINS + 1)[1:-1]
    k = (cumulative[..., None, 1:] <= target[:, None]).sum(axis=-1)
    low = np.take_along_axis(cumulative, k, axis=-1)
    high = np.take_along_axis(cumulative, k + 1, axis=-1)
    t = (target - low) / (high - low)
    inner, _ = _cubic(
        np.take_along_axis(grid, k[..., None], axis=-2),
        np.take_along_axis(grid, k[..., None] + 1, axis=-2),
        t,
    )
    return _between_ends(inner)


def _with_floor(grid: np.ndarray) -> np.ndarray:
    """A map whose density is at least `_FLOOR` everywhere, and else as given."""
    y = grid[..., 0]
    level = (1 - _FLOOR) * np.linspace(0, 1, BINS + 1) + _FLOOR * y
    target = np.linspace(0, 1, BINS + 1)[1:-1]
    k = (level[..., None, 1:] <= target[:, None]).sum(axis=-1)
    low, high = (np.take_along_axis(level, k + i, axis=-1) for i in (0, 1))
    start, end = (np.take_along_axis(y, k + i, axis=-1) for i in (0, 1))
    return _between_ends(start + (target - low) / (high - low) * (end - start))


def _between_ends(inner: np.ndarray) -> np.ndarray:
    """The map from 0 through these knots to 1."""
    ends = np.zeros_like(inner[..., :1])
    return _with_slopes(np.concatenate([ends, inner, ends + 1], axis=-1))


def _with_slopes(knots: np.ndarray) -> np.ndarray:
    return np.stack([knots, _slopes(knots)], axis=-1)


def _slopes(knots: np.ndarray) -> np.ndarray:
    """Slopes at equidistant knots that keep a cubic monotone: harmonic means, one-sided at the ends.

    F. N. Fritsch, J. Butland, SIAM J. Sci. Stat. Comput. 5 (1984) 300.
    """
    secant = np.diff(knots, axis=-1) * BINS
    inner = 2 * secant[..., 1:] * secant[..., :-1] / (secant[..., 1:] + secant[..., :-1])
    return np.concatenate([secant[..., :1], inner, secant[..., -1:]], axis=-1)


IDENTITY = _with_slopes(np.linspace(0, 1, BINS + 1))
"""The map that changes nothing."""
