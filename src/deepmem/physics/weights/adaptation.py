"""Points where an integrand is large: a density of two numbers in (0, 1), learned on the first points.

The square is cut into rows of the first number and cells of the second; within a cell points are uniform. The
probability of a cell that makes the variance least is ∝ volume · √⟨f²⟩ (G. P. Lepage, J. Comput. Phys. 27
(1978) 192). A part of the points stays uniform, so no cell is missed, and the estimate is unbiased whatever
was learned. Both maps are continuous and rise, so that integrals of nearly the same integrand, drawn from the
same random numbers, keep nearly the same points.

NumPy only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_UNIFORM = 0.3
"""The part of the points that is uniform."""


class Grid(NamedTuple):
    """Rows of the first number, `edges` `[rows + 1]`; `probability` `[rows, cells]` of their cells."""

    edges: np.ndarray
    probability: np.ndarray

    @classmethod
    def uniform(cls, edges: np.ndarray, cells: int) -> Grid:
        """The grid before anything is learned."""
        return cls(edges, np.repeat(np.diff(edges)[:, None] / cells, cells, axis=1))

    def draw(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Two numbers from two uniform ones, and 1/density of each point."""
        cells = self.probability.shape[1]
        share = self.probability.sum(axis=1)
        row, within = _cell(np.cumsum(share)[None], np.zeros(len(u), dtype=int), u)
        cell, rest = _cell(np.cumsum(self.probability / share[:, None], axis=1), row, v)
        width = np.diff(self.edges)[row]
        return (
            np.clip(self.edges[row] + width * within, 0.0, 1 - 2.0**-53),
            np.clip((cell + rest) / cells, 0.0, 1 - 2.0**-53),
            width / cells / self.probability[row, cell],
        )

    def cell(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Which cell points lie in, counted row by row."""
        rows, cells = self.probability.shape
        row = np.clip(np.searchsorted(self.edges, first, side="right") - 1, 0, rows - 1)
        return row * cells + np.minimum((second * cells).astype(int), cells - 1)

    def learned(self, squares: np.ndarray, counts: np.ndarray) -> Grid:
        """The grid for an integrand with sums of f² in cells, each of them of so many points."""
        shape = self.probability.shape
        volume = np.diff(self.edges)[:, None] / shape[1]
        height = np.sqrt(np.where(counts > 0, squares / np.maximum(counts, 1), 0.0)).reshape(shape)
        # a cell is worth what its neighbours are worth: few points tell little of one alone
        near = np.pad(height, ((0, 0), (2, 2)), mode="edge")
        size = volume * sum(share * near[:, k : k + shape[1]] for k, share in enumerate((1, 2, 3, 2, 1)))
        if not size.sum() > 0:
            return self
        uniform = np.broadcast_to(volume, shape)
        return Grid(self.edges, _UNIFORM * uniform + (1 - _UNIFORM) * size / size.sum())


def _cell(below: np.ndarray, row: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which cell of a row a uniform number falls in, and where; `below`, cumulative `[rows, cells]`."""
    cells = below.shape[1]
    # rows side by side, row k from k to k + 1, make one rising sequence
    cell = np.searchsorted((below + np.arange(len(below))[:, None]).ravel(), u + row, side="right")
    cell = np.clip(cell - row * cells, 0, cells - 1)
    first = np.where(cell > 0, below[row, cell - 1], 0.0)
    return cell, np.clip((u - first) / (below[row, cell] - first), 0.0, 1.0)


class Pilot:
    """What the first points tell about several integrands, all wanted to the same relative precision."""

    def __init__(self, grid: Grid, integrands: int) -> None:
        self.grid = grid
        cells = grid.probability.size
        self._squares, self._sums = np.zeros((integrands, cells)), np.zeros(integrands)
        self._counts = np.zeros(cells)
        self._own_squares, self._own_sums = np.zeros(integrands), np.zeros(integrands)

    def add(self, first: np.ndarray, second: np.ndarray, jacobian: np.ndarray, values: np.ndarray) -> None:
        """Points drawn from `grid`, and `values` `[integrands, points]` with the Jacobian in them."""
        cell, size = self.grid.cell(first, second), self.grid.probability.size
        self._counts += np.bincount(cell, minlength=size)
        self._sums += values.sum(axis=1)
        self._own_sums += values.sum(axis=1)
        self._own_squares += (values**2).sum(axis=1)
        for squares, f in zip(self._squares, values / jacobian, strict=True):
            squares += np.bincount(cell, f**2, minlength=size)

    def learn(self) -> None:
        """Adapt `grid` to the last points' integrands, unless one has not been seen at all.

        The less precise an integrand is with the grid that there was, the more it counts.
        """
        if (self._own_sums > 0).all():
            weight = self._own_squares / self._own_sums**2 / self._sums**2
            both = (weight[:, None] * self._squares).sum(axis=0)
            self.grid = self.grid.learned(both / both.max(), self._counts)
        self._own_squares[:] = self._own_sums[:] = 0.0
