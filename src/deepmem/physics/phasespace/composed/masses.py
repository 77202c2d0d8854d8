"""The mass of a resonance: a table of its Breit–Wigner shape, made for an event.

In θ = arctan((s − m²)/mΓ) the shape is even. Cells between m ± Γ/2 … 0.9 m or 30 m, in equal ratios,
each have a share of the points, and θ is even within a cell:

    density(s) = share_k/(θ_{k+1} − θ_k) · mΓ/((s − m²)² + m²Γ²).

So what is off the pole of a narrow resonance, where an event is measured there, is a share of cells and no
shape of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepmem.kinematics import Scalar
from deepmem.physics.phasespace.lines import BreitWigner
from deepmem.physics.tables import cell_of
from deepmem.physics.theory.parameters import Parameters, electroweak

CELLS = 64
GIVEN = 14
"""Nodes of ln √s/m of one mass at which another one has shares of its own."""
# The first edge beside the pole, in widths, and the last ones, in masses.
_FIRST, _BELOW, _ABOVE = 0.5, 0.9, 30.0
_EDGE = 1e-15
# Of θ to π/2, so that s is finite.
_LAST = 1e-13
_Stacked = TypeVar("_Stacked")


def shape_of(p: Parameters, mass: str, width: str) -> BreitWigner:
    """The shape of a resonance by the names of its parameters, `[scan]`; W's mass as it is derived."""
    m = electroweak(p).MW if mass == "MW" else p.get(mass)
    gamma = p.get(width)
    return BreitWigner(jnp.broadcast_to(m, jnp.shape(gamma)), gamma)


def edges(shapes: BreitWigner) -> Scalar:
    """θ at the edges of cells `[..., CELLS + 1]`, of masses and widths `[...]`."""
    mass, width = jnp.asarray(shapes.mass)[..., None], jnp.asarray(shapes.width)[..., None]
    steps = jnp.linspace(0.0, 1.0, CELLS // 2 - 1)
    near = jnp.minimum(_FIRST * width, 0.5 * _BELOW * mass)
    below, above = (near * (end * mass / near) ** steps for end in (_BELOW, _ABOVE))
    masses = jnp.concatenate([0 * mass, mass - below[..., ::-1], mass, mass + above], axis=-1)
    theta = jnp.arctan((masses**2 - mass**2) / (mass * width))
    return jnp.concatenate([theta, jnp.full_like(mass, np.pi / 2)], axis=-1)


class MassTable(NamedTuple):
    """The line of one s in (0, ∞); `[scan]` tables, one for each value of a scan."""

    shapes: BreitWigner
    """`[scan]`."""
    shares: Scalar
    """Of cells `[scan, CELLS]`, each row of sum 1."""

    def at(self, value: Scalar, u: Scalar) -> tuple[Scalar, Scalar]:
        """s and its density in the table of one value, by the value's number."""
        shape, share = self.shapes.of(value), jnp.asarray(self.shares)[value]
        theta = edges(shape)
        below = jnp.cumsum(share)
        k = _cell(below, u)
        low, width = theta[k], theta[k + 1] - theta[k]
        part = jnp.clip((u - below[k] + share[k]) / share[k], 0.0, 1.0)
        tangent = jnp.tan(jnp.minimum(low + part * width, np.pi / 2 - _LAST))
        strength = shape.mass * shape.width
        s = jnp.maximum(shape.mass**2 + strength * tangent, 0.0)
        return s, share[k] / (width * strength * (1 + tangent**2))

    def densities(self, s: Scalar) -> Scalar:
        """Of s in the table of each value, `[scan]`."""

        def one(shape: BreitWigner, share: Scalar) -> Scalar:
            theta, strength = edges(shape), shape.mass * shape.width
            distance = s - shape.mass**2
            k = jnp.clip((theta <= jnp.arctan(distance / strength)).sum() - 1, 0, CELLS - 1)
            return share[k] / (theta[k + 1] - theta[k]) * strength / (distance**2 + strength**2)

        return jax.vmap(one)(self.shapes, jnp.asarray(self.shares))


def _cell(below: Scalar, u: Scalar) -> Scalar:
    """How many of the numbers in `below` `[CELLS]`, which rise, are not above u; the last cell at most."""
    k, step = jnp.zeros(jnp.shape(u), dtype=jnp.int32), 1 << (CELLS.bit_length() - 1)
    while step:
        further = jnp.minimum(k + step, CELLS - 1)
        k = jnp.where(below[further - 1] <= u, further, k)
        step //= 2
    return k


class Given(NamedTuple):
    """The shares of one s where another one is known."""

    place: int
    """Of the other one among the tables."""
    shares: Scalar
    """At nodes of its ln √s/m, linear in between `[GIVEN, scan, CELLS]`."""
    low: Scalar
    """The first node."""
    step: Scalar


class MassTables(NamedTuple):
    """Several s, whose resonances all have one of the scan's values: the mixture over these."""

    tables: tuple[MassTable, ...]
    given: Mapping[int, Given] = MappingProxyType({})
    """Of a table by its place: what takes its shares' place where another s, before it, is known."""

    def draw(self, u: jax.Array) -> tuple[tuple[Scalar, ...], Scalar]:
        """All s from as many numbers, the first of which decides about the value, too; and their density."""
        if not self.tables:
            return (), jnp.asarray(1.0)
        count = len(self.tables[0].shapes.mass)
        numbers = jnp.stack([u[i] for i in range(len(self.tables))])
        value: Scalar = 0
        if count > 1:
            value, first = cell_of(u[0] * count, count)
            numbers = numbers.at[0].set(jnp.clip(first, _EDGE, 1 - _EDGE))
        alone = jnp.asarray(self._alone)
        s, densities = lax.map(lambda each: each[0].at(value, each[1]), (self._stacked, numbers[alone]))
        found, density = dict(zip(self._alone, s, strict=True)), jnp.prod(densities)
        if self.given:
            places = jnp.asarray([*self.given])
            known = self._known(found)
            s, densities = lax.map(lambda each: each[0].at(value, each[1]), (known, numbers[places]))
            found |= dict(zip(self.given, s, strict=True))
            density = density * jnp.prod(densities)
        in_order = tuple(found[i] for i in range(len(self.tables)))
        return in_order, density if count == 1 else self.density(in_order)

    def density(self, s: tuple[Scalar, ...]) -> Scalar:
        """Of all s together."""
        there = jnp.stack([s[i] for i in self._alone])
        density = jnp.prod(lax.map(lambda one: one[0].densities(one[1]), (self._stacked, there)), axis=0)
        if self.given:
            known = self._known(dict(enumerate(s)))
            there = jnp.stack([s[i] for i in self.given])
            of_given = lax.map(lambda one: one[0].densities(one[1]), (known, there))
            density = density * jnp.prod(of_given, axis=0)
        return density.mean()

    @property
    def _alone(self) -> list[int]:
        return [i for i in range(len(self.tables)) if i not in self.given]

    @property
    def _stacked(self) -> MassTable:
        """The tables that need no other s along a first axis: a loop over them has one body to compile."""
        return _stack([self.tables[i] for i in self._alone])

    def _known(self, s: Mapping[int, Scalar]) -> MassTable:
        """The others along a first axis, where the s that they follow are known."""
        one = _stack(list(self.given.values()))
        poles = jnp.stack([self.tables[given.place].shapes.mass[0] for given in self.given.values()])
        square = jnp.stack([s[given.place] for given in self.given.values()])
        at = (0.5 * jnp.log(jnp.maximum(square, 1e-6) / poles**2) - one.low) / one.step
        k, part = cell_of(jnp.clip(at, 0.0, GIVEN - 1.0), GIVEN - 1)
        rows, part = jnp.arange(len(poles)), part[:, None, None]
        shares = (1 - part) * one.shares[rows, k] + part * one.shares[rows, k + 1]
        return _stack([self.tables[i] for i in self.given])._replace(shares=shares)


def _stack(each: Sequence[_Stacked]) -> _Stacked:
    return jax.tree.map(lambda *parts: jnp.stack([jnp.asarray(part) for part in parts]), *each)
