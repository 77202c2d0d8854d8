"""The shares of cells of one mass, from what a fit of its event says along it."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import Scalar
from deepmem.physics.phasespace.composed.masses import CELLS, edges
from deepmem.physics.phasespace.composed.pulls import EVEN, FARTHEST, NO_SOLUTION, REACH, TEMPER, Pulls
from deepmem.physics.phasespace.composed.tau_pairs import TauPair, profile
from deepmem.physics.phasespace.lines import BreitWigner

# The part of cells that is even where there is no profile.
_EVEN_ALONE = 0.08
# Of ln L of a mass.
_LEAST = -60.0
# Pieces of a cell of the mass of two taus.
_IN_CELLS = 4


def along(pulls: Pulls, x: Scalar, path: Scalar, t: Scalar, q: int, shape: BreitWigner) -> Scalar:
    """The shares of one mass from its profile: Simpson's rule over edges and middles."""
    theta = edges(shape)
    middle = (theta[1:] + theta[:-1]) / 2
    nodes = jnp.stack([theta[:-1], middle], axis=1).ravel()
    nodes = jnp.concatenate([nodes, theta[-1:]])
    s = shape.mass**2 + shape.mass * shape.width * jnp.tan(jnp.minimum(nodes, np.pi / 2 - 1e-9))
    at = jnp.clip(0.5 * jnp.log(jnp.maximum(s, 1e-3)) - jnp.log(pulls.poles[q]), *REACH)

    def chi2(there: Scalar) -> Scalar:
        move = jnp.clip(there - t[q], -FARTHEST, FARTHEST)
        along = path[:, q] * move
        z, exists = pulls(x + along[: len(x)], (t + along[len(x) :]).at[q].set(there))
        return (z**2).sum() + jnp.where(exists, 0.0, NO_SOLUTION)

    profile = jax.vmap(chi2)(at)
    height = jnp.exp(-TEMPER * (profile - profile.min()) / 2)
    share = (height[:-2:2] + 4 * height[1::2] + height[2::2]) / 6 * (theta[1:] - theta[:-1])
    return (1 - EVEN) * share / share.sum() + EVEN / CELLS


def together(
    pulls: Pulls,
    fit: tuple[Scalar, ...],
    pair: tuple[int, int, Scalar],
    inner: BreitWigner,
    outer: BreitWigner,
) -> tuple[Scalar, Scalar]:
    """The shares of one mass `[CELLS]`, and of another one given that `[GIVEN, CELLS]`.

    **Arguments:** `pair`, the numbers of both, and nodes of ln √s/m of the former.

    The former has what is left of the likelihood when the latter, by its shape, is summed over.
    """
    (x, slope, t), (q, r, nodes) = fit, pair

    def height(of_inner: Scalar, of_outer: Scalar) -> Scalar:
        there = t.at[q].set(of_inner).at[r].set(of_outer)
        z, exists = pulls(x + jnp.clip(slope @ (there - t), -FARTHEST, FARTHEST), there)
        return -TEMPER / 2 * ((z**2).sum() + jnp.where(exists, 0.0, NO_SOLUTION))

    theta = edges(outer)
    at = _logs(outer, theta, pulls.poles[r])
    heights = jax.vmap(lambda each: jax.vmap(partial(height, each))(at))(nodes)
    most = heights.max(axis=1, keepdims=True)
    share = jnp.exp(heights - most)
    share = (share[:, 1:] + share[:, :-1]) / 2 * jnp.diff(theta)
    total = share.sum(axis=1, keepdims=True)
    of_outer = (1 - EVEN) * share / total + EVEN / CELLS
    left = (most + jnp.log(total))[:, 0]
    theta = edges(inner)
    at = _logs(inner, (theta[1:] + theta[:-1]) / 2, pulls.poles[q])
    share = jnp.diff(theta) * jnp.exp(_parabolic(at, nodes, jnp.maximum(left - left.max(), _LEAST)))
    return (1 - EVEN) * share / share.sum() + EVEN / CELLS, of_outer


def _logs(shape: BreitWigner, theta: Scalar, pole: Scalar) -> Scalar:
    """ln √s/m at angles of a Breit–Wigner shape, where there is a profile."""
    s = shape.mass**2 + shape.mass * shape.width * jnp.tan(jnp.minimum(theta, np.pi / 2 - 1e-9))
    return jnp.clip(0.5 * jnp.log(jnp.maximum(s, 1e-3)) - jnp.log(pole), *REACH)


def _parabolic(x: Scalar, nodes: Scalar, values: Scalar) -> Scalar:
    """Through the three nearest of even nodes, below the largest value; beyond the last ones their value."""
    at = jnp.clip((x - nodes[0]) / (nodes[1] - nodes[0]), 0.0, len(nodes) - 1.0)
    k = jnp.clip(jnp.round(at).astype(int), 1, len(nodes) - 2)
    before, here, after = (values[k + i] for i in (-1, 0, 1))
    part = at - k
    found = here + part * (after - before) / 2 + part**2 * (after - 2 * here + before) / 2
    return jnp.minimum(found, values.max())


def of_taus(pulls: Pulls, x: Scalar, t: Scalar, shape: BreitWigner) -> Scalar:
    """The shares of the mass of two taus, by how likely their energies are in cells, ends included: the least
    mass that can be is inside of one, and |M|² of a photon is largest there."""
    theta = edges(shape)
    inside = jnp.arange(_IN_CELLS + 1) / _IN_CELLS
    nodes = theta[:-1, None] + (theta[1:] - theta[:-1])[:, None] * inside
    s = shape.mass**2 + shape.mass * shape.width * jnp.tan(jnp.minimum(nodes, np.pi / 2 - 1e-9))
    pair = TauPair(pulls.composition, pulls.shared, pulls.chain.event)
    others = pulls.transverse(x, t)
    heights = jax.vmap(lambda each: profile(pair, each, others))(jnp.maximum(s, 1e-3).ravel())
    heights = heights.reshape(s.shape)
    share = (heights[:, 1:] + heights[:, :-1]).sum(axis=1) * (theta[1:] - theta[:-1])
    total = share.sum()
    share = jnp.where(total > 0, share / jnp.where(total > 0, total, 1.0), 1 / CELLS)
    return (1 - _EVEN_ALONE) * share + _EVEN_ALONE / CELLS


def alone(shape: BreitWigner) -> Scalar:
    """The shares of a mass by its own shape."""
    theta = edges(shape)
    share = theta[1:] - theta[:-1]
    return (1 - _EVEN_ALONE) * share / share.sum() + _EVEN_ALONE / CELLS
