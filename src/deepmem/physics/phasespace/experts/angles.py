"""A line on the circle: an angle φ and one of two branches, ∝ (a bell in a pull) · (what is cheap to know).

The pull is that of an energy which φ and the branch decide, known at nodes and linear between them; then the
mean of the bell over a cell, and the place within it, have closed forms, from its cumulative distribution

    q(x) = ½ (1 + x/√(x² + c²)),

near the normal one, with longer tails. The cell that is drawn is cut into finer ones, with pulls of their
own. A share of points is even, for the pull is approximate. All but the place may be known in single
precision: it is a proposal and no result.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import Scalar

ANGLES = 32
"""Cells of a turn, for each branch."""
FINER = 4
"""Parts of the cell that is drawn."""
_GROUPS = 8
_SPILL = 0.1
"""Of the mass of a cell, what both of its neighbours have beside their own: peaks end within cells."""
_WIDE = 1.3
"""c: of the bell."""
# A pull may rise by this much over a cell for the bell to be taken for flat there.
_STRAIGHT = 0.03


class Cell(NamedTuple):
    """A cell that was drawn."""

    number: jax.Array
    """In its turn."""
    sign: Scalar
    """Of the branch: 1 of the first one, −1 of the second."""
    mass: Scalar
    """How likely it is, of all cells."""
    within: Scalar
    """How far its number fell into it."""
    even: Scalar
    """Whether it was drawn evenly."""


def masses(nodes: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
    """How likely cells of both branches are, one after the other `[2 · ANGLES]`, not normalised.

    **Arguments:** each branch's pull and factor at the ends of its cells `[ANGLES + 1]`.
    """
    return jnp.concatenate([_masses(*branch) for branch in nodes])


def _masses(pull: jax.Array, factor: jax.Array) -> jax.Array:
    level, step = likelihood(pull), pull[1:] - pull[:-1]
    straight = jnp.abs(step) < _STRAIGHT
    mean = (level[1:] - level[:-1]) / jnp.where(straight, 1.0, step)
    middle = level[1:] + level[:-1]
    square = middle * (2 - middle)
    mean = jnp.where(straight, square * jnp.sqrt(square) / (2 * _WIDE), jnp.abs(mean))
    return mean * (factor[1:] + factor[:-1]) + 1e-30


def cell(mass: jax.Array, u: Scalar, even_share: float) -> Cell:
    """A cell by its mass and a little of its neighbours', `even_share` of the points evenly."""
    is_even = u < even_share
    turns = mass.reshape(2, ANGLES)
    mass = (turns + _SPILL * (jnp.roll(turns, 1, axis=1) + jnp.roll(turns, -1, axis=1))).ravel()
    even = jnp.clip(u / even_share * 2 * ANGLES, 0.0, 2 * ANGLES - 1e-9)
    drawn, part, within = _cell(mass, jnp.clip((u - even_share) / (1 - even_share), 0.0, 1.0))
    number = jnp.where(is_even, jnp.floor(even).astype(drawn.dtype), drawn)
    part = jnp.where(is_even, mass[number] / mass.sum(), part).astype(float)
    within = jnp.where(is_even, even - jnp.floor(even), within)
    return Cell(number % ANGLES, jnp.where(number < ANGLES, 1.0, -1.0), part, within, is_even)


def places(cell: Cell, precision: Any) -> tuple[jax.Array, jax.Array]:
    """(cosφ, sinφ) of the ends of the parts of a cell `[FINER + 1]`."""
    numbers = 2 * np.pi / ANGLES * np.arange(ANGLES)
    cos, sin = (jnp.asarray(f(numbers).astype(precision))[cell.number] for f in (np.cos, np.sin))
    turned = 2 * np.pi / (ANGLES * FINER) * np.arange(FINER + 1)
    c, s = (f(turned).astype(precision) for f in (np.cos, np.sin))
    return cos * c - sin * s, sin * c + cos * s


def draw(cell: Cell, pull: jax.Array, factor: jax.Array, even_share: float) -> tuple[Scalar, Scalar]:
    """φ within a cell, along the bell, and dφ/du, of both branches.

    **Arguments:** pull and factor at the ends of its parts `[FINER + 1]`.
    """
    mass = _masses(pull, factor)
    upto = jnp.cumsum(mass)
    at = (cell.within * upto[-1]).astype(mass.dtype)
    even = jnp.clip(cell.within * FINER, 0.0, FINER - 1e-9)
    part = jnp.where(cell.even, jnp.floor(even).astype(int), jnp.clip((upto < at).sum(), 0, FINER - 1))
    rest = jnp.clip((1 - (upto[part] - at) / mass[part]).astype(float), 0.0, 1.0)
    share = (mass[part] / upto[-1]).astype(float)
    start, end = pull[part].astype(float), pull[part + 1].astype(float)
    step = end - start
    low, high = likelihood(start), likelihood(end)
    straight = jnp.abs(step) < _STRAIGHT
    step = jnp.where(straight, 1.0, step)
    bent = jnp.clip((_pull_of(low + rest * (high - low)) - start) / step, 0.0, 1.0)
    rest = jnp.where(cell.even, even - jnp.floor(even), jnp.where(straight, rest, bent))
    inside = jnp.where(straight, 1.0, bell(start + rest * step) * step / (high - low))
    density = (1 - even_share) * cell.mass * share * FINER * inside + even_share / (2 * ANGLES)
    phi = 2 * np.pi * (cell.number + (part + rest) / FINER) / ANGLES
    return phi, 2 * np.pi / (ANGLES * density)


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
    return (1 + x / jnp.sqrt(x**2 + _WIDE**2)) / 2


def bell(x: Scalar) -> Scalar:
    """dq/dx."""
    rest = 1 / (x**2 + _WIDE**2)
    return _WIDE**2 / 2 * rest * jnp.sqrt(rest)


def _pull_of(q: Scalar) -> Scalar:
    """x of `likelihood`(x) = q."""
    q = jnp.clip(q, 1e-12, 1 - 1e-12)
    return _WIDE * (2 * q - 1) / (2 * jnp.sqrt(q * (1 - q)))


def near_limit(t: Scalar, scale: Scalar) -> Scalar:
    """G(t)/√scale, G(t) = ∫_{z<t} φ(z)/√(t − z) dz to a tenth, with a longer tail."""
    y = t - 0.74
    return 1 / ((1 + jnp.exp(-(t + 1.16) / 0.45)) * jnp.sqrt(scale * jnp.sqrt(y * y + 1.05)))
