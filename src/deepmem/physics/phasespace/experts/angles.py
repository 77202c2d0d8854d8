"""A line on the circle: an angle φ and one of two branches, ∝ (a bell in a pull) · (what is cheap to know).

The pull is that of an energy which φ and the branch decide, known at nodes and linear between them; then the
mean of the bell over a cell, and the place within it, have closed forms, from its cumulative distribution

    q(x) = ½ (1 + x/√(x² + 9/4)),

near the normal one, with longer tails. A share of points is even, for the pull is approximate. Cells may be
kept in single precision: they are a proposal and no result.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import Scalar

ANGLES = 32
"""Cells of a turn, for each branch."""
_GROUPS = 8
# A pull may be this constant over a cell for the bell to be taken for flat there.
_STRAIGHT = 1e-3


class Cells(NamedTuple):
    """Cells of φ for both branches, one after the other `[2 · ANGLES]`."""

    pull: jax.Array
    """At their beginnings."""
    step: jax.Array
    """Its rise over each."""
    mass: jax.Array
    """How likely a cell is, not normalised."""


class Angle(NamedTuple):
    """What was drawn."""

    phi: Scalar
    sign: Scalar
    """Of the branch: 1 of the first one, −1 of the second."""
    weight: Scalar
    """dφ/du, of both branches."""


def cells_of(nodes: list[tuple[jax.Array, jax.Array]]) -> Cells:
    """Of each branch's pull and factor at the ends of its cells `[ANGLES + 1]`."""
    branches = []
    for pull, factor in nodes:
        level, step = likelihood(pull), pull[1:] - pull[:-1]
        # the small numbers make the ratio the bell's height where the pull is constant
        mean = jnp.abs((level[1:] - level[:-1] + 3e-7) / (step + 1e-6))
        branches.append(Cells(pull[:-1], step, mean * (factor[1:] + factor[:-1]) + 1e-30))
    return Cells(*(jnp.concatenate(parts) for parts in zip(*branches, strict=True)))


def draw(cells: Cells, u: Scalar, even_share: float) -> Angle:
    """A cell by its mass, the place within along the bell; `even_share` of the points evenly."""
    count = 2 * ANGLES
    is_even = u < even_share
    even = jnp.clip(u / even_share * count, 0.0, count - 1e-9)
    cell, mass, within = _cell(cells.mass, jnp.clip((u - even_share) / (1 - even_share), 0.0, 1.0))
    cell = jnp.where(is_even, jnp.floor(even).astype(cell.dtype), cell)
    start, step = (x[cell].astype(float) for x in (cells.pull, cells.step))
    mass = jnp.where(is_even, cells.mass[cell] / cells.mass.sum(), mass).astype(float)
    low, high = likelihood(start), likelihood(start + step)
    straight = jnp.abs(step) < _STRAIGHT
    step = jnp.where(straight, 1.0, step)
    bent = jnp.clip((_pull_of(low + within * (high - low)) - start) / step, 0.0, 1.0)
    within = jnp.where(is_even, even - jnp.floor(even), jnp.where(straight, within, bent))
    bell = 1 / ((start + within * step) ** 2 + 2.25)
    inside = jnp.where(straight, 1.0, 1.125 * bell * jnp.sqrt(bell) * step / (high - low))
    density = (1 - even_share) * mass * inside + even_share / count
    phi = 2 * np.pi * (cell % ANGLES + within) / ANGLES
    return Angle(phi, jnp.where(cell < ANGLES, 1.0, -1.0), 2 * np.pi / (ANGLES * density))


def _cell(mass: jax.Array, u: Scalar) -> tuple[jax.Array, Scalar, Scalar]:
    """The cell that u falls into, its share of all mass, and how far into it: a group first, then in one."""
    groups = mass.reshape(_GROUPS, -1)
    of_group = groups.sum(axis=1)
    upto = jnp.cumsum(of_group)
    at = (u * upto[-1]).astype(mass.dtype)
    group = jnp.clip((upto < at).sum(), 0, _GROUPS - 1)
    row = groups[group]
    upto_cell = upto[group] - of_group[group] + jnp.cumsum(row)
    cell = jnp.clip((upto_cell < at).sum(), 0, len(row) - 1)
    within = 1 - (upto_cell[cell] - at) / row[cell]
    return group * len(row) + cell, row[cell] / upto[-1], jnp.clip(within.astype(float), 0.0, 1.0)


def likelihood(x: Scalar) -> Scalar:
    """q: how likely a pull is below x."""
    return (1 + x / jnp.sqrt(x**2 + 2.25)) / 2


def _pull_of(q: Scalar) -> Scalar:
    """x of `likelihood`(x) = q."""
    q = jnp.clip(q, 1e-12, 1 - 1e-12)
    return 1.5 * (2 * q - 1) / (2 * jnp.sqrt(q * (1 - q)))
