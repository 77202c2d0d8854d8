"""Parton densities x·f(x, Q), interpolated as LHAPDF interpolates them: "logcubic" (A. Buckley et al.,
arXiv:1412.7420).

It is a cubic Hermite in log x and in log Q² whose derivative at a knot is the mean of the slopes on either
side of it, one-sided at the edges of each subgrid (they meet at the quark thresholds). All of it is linear in
the values at knots, so the order of the directions doesn't matter; that allows two shapes, `PartonDensity`
for any x and Q, and `DensityAtScale`, with the Q direction done once, which is what most processes use.

Both are pytrees: another grid of the same shape, as an argument of a compiled function, compiles nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from deepmem.errors import UsageError
from deepmem.physics.precision import require_double

# Leaves are NumPy arrays as read (float64 whatever JAX's setting), JAX arrays inside `jit`.
Values: TypeAlias = np.ndarray | Array

# Of the index over x.
_MAXIMUM_CELLS = 1 << 14


class DensityAtScale(eqx.Module):
    """x·f(x) at one scale for a choice of partons: piecewise cubic in log x.

    A point reads the four coefficients of one cubic, for all its flavours from one place in memory.
    """

    log_x: Float[Values, "knots"]
    coefficients: Float[Values, "intervals 4 partons"]
    floor: Float[Values, ""]
    index_start: Float[Values, "cells"]
    index_scale: Float[Values, ""]
    partons: tuple[int, ...] = eqx.field(static=True)
    index_steps: int = eqx.field(static=True)

    def xf(self, x: Float[Array, ""]) -> Float[Array, "partons"]:
        """x·f of every parton in `self.partons`, in that order.

        Σ_k c_k t^k with t = log x − log x_i and x_i the knot below; 0 for x ≥ 1, the lowest knot's value
        below the grid (see `below`), the highest knot's if the grid ends before x = 1.

        **Arguments:** `x`: momentum fraction, any shape `[...]`. **Returns** `[..., partons]`.
        """
        require_double("DensityAtScale.xf")
        log_x, t, index = _locate_x(self, x)
        c = self.coefficients[index]
        t = t[..., None]
        value = c[..., 0, :] + t * (c[..., 1, :] + t * (c[..., 2, :] + t * c[..., 3, :]))
        return jnp.where((log_x >= 0.0)[..., None], 0.0, jnp.maximum(value, self.floor))

    def below(self, x: Float[Array, ""]) -> Bool[Array, ""]:
        """Whether `x` lies below the grid's lowest knot, where the density is not known."""
        return jnp.log(x) < self.log_x[0] - _EDGE


class PartonDensity(eqx.Module):
    """x·f(x, Q) of one member of a set: bicubic in log x and log Q². A point touches the corners of one cell.

    - `log_x`, `log_q2`: the knots; a threshold between two subgrids is there twice in `log_q2`.
    - `corners`: per knot the value, ∂/∂log x, ∂/∂log Q² and the mixed derivative.
    - `floor`: LHAPDF's `ForcePositive`, the least value that x·f may take (−∞ if the set allows any).
    """

    log_x: Float[Values, "knots"]
    log_q2: Float[Values, "scales"]
    corners: Float[Values, "scales knots 4 partons"]
    floor: Float[Values, ""]
    index_start: Float[Values, "cells"]
    index_scale: Float[Values, ""]
    partons: tuple[int, ...] = eqx.field(static=True)
    index_steps: int = eqx.field(static=True)
    name: str = eqx.field(static=True)
    sha256: str = eqx.field(static=True)
    """Of the bytes of the `.dat` file, followed by those of the `.info` file where there is one."""

    @property
    def scales(self) -> tuple[float, float]:
        """The range of Q in GeV that the grid covers; the density is frozen at its edges."""
        low, high = np.exp(np.asarray(self.log_q2)[[0, -1]] / 2)
        return float(low), float(high)

    def outside(self, Q: float) -> str | None:
        """What is to be said where the grid does not reach the scale `Q` (GeV)."""
        low, high = self.scales
        if low * (1 - _EDGE_Q) <= Q <= high * (1 + _EDGE_Q):
            return None
        edge = low if low > Q else high
        return (
            f"Q = {Q:g} GeV is outside the grid of {self.name}, {low:g} to {high:g} GeV: "
            f"the density is frozen at {edge:g} GeV"
        )

    def negative_at(self, Q: float) -> bool:
        """Whether the density of a parton is negative on a knot next to the scale `Q` (GeV)."""
        log_q2 = np.asarray(self.log_q2)
        j = int(np.clip(np.searchsorted(log_q2, 2 * np.log(Q), side="right") - 1, 0, len(log_q2) - 2))
        values = np.asarray(self.corners)[j : j + 2, :, 0]
        return bool(np.maximum(values, self.floor).min() < 0)

    def select(self, *partons: int) -> PartonDensity:
        """The same density for these PDG codes alone, in this order (0 is read as 21, the gluon).

        **Raises** `UsageError` for a parton that the grid doesn't have.
        """
        wanted = tuple(21 if parton == 0 else int(parton) for parton in partons)
        missing = [parton for parton in wanted if parton not in self.partons]
        if missing:
            raise UsageError(
                f"the density {self.name} has no parton {', '.join(map(str, missing))} (PDG codes); "
                f"it has {', '.join(map(str, self.partons))}"
            )
        columns = np.array([self.partons.index(parton) for parton in wanted])
        return dataclasses.replace(self, corners=self.corners[..., columns], partons=wanted)

    def xf(self, x: Float[Array, ""], Q: Float[Array, ""]) -> Float[Array, "partons"]:
        """x·f of every parton in `self.partons`, in that order.

        Outside the grid: frozen at the edge in Q, 0 for x ≥ 1, frozen at the lowest x (see `below`).

        **Arguments:** `x`: momentum fraction; `Q`: scale in GeV; shapes that broadcast to `[...]`.
        **Returns** `[..., partons]`.
        """
        require_double("PartonDensity.xf")
        x, Q = jnp.broadcast_arrays(x, Q)
        log_x, t, i = _locate_x(self, x)
        knots, corners = jnp.asarray(self.log_x), jnp.asarray(self.corners)
        width_x = knots[i + 1] - knots[i]
        j, s, width_q = self._locate_q(Q)
        in_q = _hermite(s / width_q, width_q)
        in_x = _hermite(t / width_x, width_x)
        total = jnp.zeros(())
        for up in (0, 1):
            for right in (0, 1):
                corner = corners[j + up, i + right]
                for derivative in range(4):
                    weight = in_x[right][derivative % 2] * in_q[up][derivative // 2]
                    total = total + weight[..., None] * corner[..., derivative, :]
        return jnp.where((log_x >= 0.0)[..., None], 0.0, jnp.maximum(total, self.floor))

    def below(self, x: Float[Array, ""]) -> Bool[Array, ""]:
        """Whether `x` lies below the grid's lowest knot, where the density is not known."""
        return jnp.log(x) < self.log_x[0] - _EDGE

    def at_scale(self, Q: Float[Array, ""]) -> DensityAtScale:
        """The density at the one scale `Q` (GeV): the Q direction done once, for all x.

        Differentiable in Q, and cheap enough to be called inside `jit` for every batch.
        """
        require_double("PartonDensity.at_scale")
        corners = jnp.asarray(self.corners)
        j, s, width_q = self._locate_q(jnp.asarray(Q))
        low, high = _hermite(s / width_q, width_q)
        knots = (
            low[0] * corners[j, :, 0:2]
            + low[1] * corners[j, :, 2:4]
            + high[0] * corners[j + 1, :, 0:2]
            + high[1] * corners[j + 1, :, 2:4]
        )
        value, slope = knots[:, 0], knots[:, 1]
        width = jnp.diff(jnp.asarray(self.log_x))[:, None]
        secant = (value[1:] - value[:-1]) / width
        coefficients = jnp.stack(
            [
                value[:-1],
                slope[:-1],
                (3 * secant - 2 * slope[:-1] - slope[1:]) / width,
                (slope[:-1] + slope[1:] - 2 * secant) / width**2,
            ],
            axis=1,
        )
        return DensityAtScale(
            jnp.asarray(self.log_x),
            coefficients,
            jnp.asarray(self.floor),
            jnp.asarray(self.index_start),
            jnp.asarray(self.index_scale),
            self.partons,
            self.index_steps,
        )

    def _locate_q(self, Q: Float[Array, ""]) -> tuple[Array, Array, Array]:
        """The knot below `Q`, the distance from it in log Q², and the interval's width."""
        knots = jnp.asarray(self.log_q2)
        log_q2 = jnp.clip(2 * jnp.log(Q), knots[0], knots[-1])
        # "right": a threshold belongs to the subgrid above it, as in LHAPDF
        j = jnp.clip(jnp.searchsorted(knots, log_q2, side="right") - 1, 0, len(knots) - 2)
        return j, log_q2 - knots[j], knots[j + 1] - knots[j]


# Rounding of log(x) at the lowest knot is not "below the grid".
_EDGE = 1e-12
# That of log Q² at an edge is not outside.
_EDGE_Q = 1e-9


def _locate_x(
    grid: DensityAtScale | PartonDensity, x: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""], Array]:
    """log x, its distance from the knot below (0 at most at the edges), and that knot's index.

    A table with one entry per cell of equal width in log x starts the search at the cell's first knot; the
    few comparisons that remain are unrolled. That is several times faster in XLA than a binary search.
    """
    knots = jnp.asarray(grid.log_x)
    log_x = jnp.log(x)
    clipped = jnp.clip(log_x, knots[0], knots[-1])
    # NaN must not become an index
    cell = jnp.nan_to_num((clipped - knots[0]) * grid.index_scale).astype(jnp.int32)
    index = jnp.asarray(grid.index_start)[cell]
    for _ in range(grid.index_steps):
        index = index + (clipped >= knots[index + 1])
    index = jnp.minimum(index, len(knots) - 2)
    return log_x, clipped - knots[index], index


def _hermite(u: Float[Array, ""], width: Float[Array, ""]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Cubic Hermite weights at u ∈ [0, 1]: (value, derivative) at the lower knot, and at the upper one."""
    u2, u3 = u * u, u * u * u
    low = (2 * u3 - 3 * u2 + 1, (u3 - 2 * u2 + u) * width)
    high = (3 * u2 - 2 * u3, (u3 - u2) * width)
    return low, high


def _index_table(log_x: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Cells of equal width in log x: the interval each begins in, cells per unit, most knots in one."""
    span = log_x[-1] - log_x[0]
    cells = int(min(_MAXIMUM_CELLS, np.ceil(span / np.diff(log_x).min()) + 1))
    # One cell more than needed, for the upper edge; margins larger than any rounding of the cell's number.
    scale = cells / span
    starts = log_x[0] + (np.arange(cells + 1) - 1e-9) / scale
    ends = log_x[0] + (np.arange(cells + 1) + 1 + 1e-9) / scale
    last = len(log_x) - 2
    first = np.clip(np.searchsorted(log_x, starts, side="right") - 1, 0, last)
    final = np.clip(np.searchsorted(log_x, ends, side="right") - 1, 0, last)
    return first.astype(np.int32), float(scale), int((final - first).max())


def _knot_slopes(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Derivatives at the knots along the first axis: the mean of both slopes, one-sided at the edges."""
    slopes = np.diff(values, axis=0) / np.diff(knots).reshape(-1, *[1] * (values.ndim - 1))
    return np.concatenate([slopes[:1], (slopes[1:] + slopes[:-1]) / 2, slopes[-1:]])


@dataclasses.dataclass(frozen=True)
class Subgrid:
    """x·f on knots, between two quark thresholds."""

    x: np.ndarray
    q: np.ndarray
    """Knots in Q, GeV."""
    partons: tuple[int, ...]
    """PDG codes."""
    values: np.ndarray
    """`[Q, x, partons]`."""


def interpolation(subgrids: Sequence[Subgrid], floor: float, name: str, sha256: str) -> PartonDensity:
    """The density of subgrids in ascending Q, all with the same knots in x and the same partons."""
    log_x = np.log(subgrids[0].x)
    log_q2, corners = [], []
    for grid in subgrids:
        along_q = np.log(grid.q**2)
        slopes_x = np.moveaxis(_knot_slopes(np.moveaxis(grid.values, 1, 0), log_x), 0, 1)
        per_knot = np.stack([grid.values, slopes_x], axis=2)
        log_q2.append(along_q)
        corners.append(np.concatenate([per_knot, _knot_slopes(per_knot, along_q)], axis=2))
    start, scale, steps = _index_table(log_x)
    return PartonDensity(
        log_x=log_x,
        log_q2=np.concatenate(log_q2),
        corners=np.concatenate(corners),
        floor=np.asarray(floor),
        index_start=start,
        index_scale=np.asarray(scale),
        partons=subgrids[0].partons,
        index_steps=steps,
        name=name,
        sha256=sha256,
    )
