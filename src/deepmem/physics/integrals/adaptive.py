"""An integral over the unit cube whose points go where the integrand is large: one map a coordinate (VEGAS).

    I = ∫ d^du f(u),   ρ(u) = (1 − ε) Π_i 1/(K Δ_i(u_i)) + ε,

points of density ρ: most by steps Δ_i of K bins in each coordinate, learned from the second moments of what
came before, and a part ε uniform. Products of many learned densities are far too low somewhere; 1/ρ is never
above 1/ε. NumPy only. Source: G. P. Lepage, J. Comput. Phys. 27 (1978) 192.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from deepmem.physics.integrals.importance import BINS, IDENTITY, better_maps

_UNIFORM = 5
"""One of so many points is uniform."""
_FEWEST = 200
"""Points, at least, that the sum of squares is worth which maps are learned from."""
_LEAST, _MOST_OF = 25, 0.8
"""Points above 0, at least, and the part of them, where `_FEWEST` are not there."""


class Cube(NamedTuple):
    """Points of the unit cube."""

    u: Float[np.ndarray, "d points"]
    jacobian: Float[np.ndarray, "points"]
    """1/density."""
    bins: np.ndarray
    """In which step of each coordinate's map a point is `[d, points]`."""


def drawn(grid: np.ndarray, v: Float[np.ndarray, "d points"]) -> Cube:
    """Points from uniform numbers, by the maps of a grid."""
    knots = grid[..., 0]
    steps = np.diff(knots, axis=1)
    row = np.arange(len(knots))[:, None]
    bins = np.minimum((v * BINS).astype(int), BINS - 1)
    u = knots[row, bins] + (v * BINS - bins) * steps[row, bins]
    uniform = -(-v.shape[1] // _UNIFORM)
    u[:, :uniform] = v[:, :uniform]
    for each, at, edges in zip(bins, u, knots, strict=True):
        each[:uniform] = np.clip(np.searchsorted(edges, at[:uniform], side="right") - 1, 0, BINS - 1)
    part = uniform / v.shape[1]
    density = np.prod(1 / (BINS * steps[row, bins]), axis=0)
    return Cube(u, 1 / ((1 - part) * density + part), bins)


class Adaptive:
    """Maps of all coordinates, and the sums that they are learned from.

    No map follows a few points that are far larger than all others: these count as the largest of those that
    there are enough of.
    """

    def __init__(self, dimensions: int) -> None:
        self.grid = np.repeat(IDENTITY[None], dimensions, axis=0)
        self._forget()

    def _forget(self) -> None:
        self._moments = np.zeros((len(self.grid), BINS))
        self._sum, self._points = 0.0, 0

    def add(self, cube: Cube, values: Float[np.ndarray, "points"]) -> None:
        """What the integrand, with 1/density in it, is at points that were drawn."""
        squares = _limited(values**2)
        for row, each in zip(self._moments, cube.bins, strict=True):
            row += np.bincount(each, squares, minlength=BINS)
        self._sum += float(values.sum())
        self._points += len(values)

    def learn(self) -> None:
        """Better maps from what was added since; nothing where all of it was 0."""
        if self._sum > 0:
            moments, sums = self._moments[None, :, :, None], np.array([[[self._sum]]])
            grid, _ = better_maps(self.grid[None], moments, sums, np.array([self._points]))
            self.grid = grid[0]
        self._forget()


def _limited(squares: np.ndarray) -> np.ndarray:
    """The same, none larger than the sum over `_FEWEST`; over four fifths of those above 0, if these are few.

    All are 0 where there is next to nothing to learn from.
    """
    falling = np.sort(squares)[::-1]
    above = int((falling > 0).sum())
    if above < _LEAST:
        return np.zeros_like(squares)
    below = np.cumsum(falling[::-1])[::-1] - falling
    worth = np.arange(1, len(falling) + 1) * falling + below
    enough = worth >= min(_FEWEST, _MOST_OF * above) * falling
    return np.minimum(squares, falling[np.argmax(enough)])
