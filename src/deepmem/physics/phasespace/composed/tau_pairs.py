"""Two taus of one mother: their energies as functions of one of them and of the mother's mass.

With n the directions, m the mass of a tau and K = s/2 − m²,

    E₁E₂ − |p₁||p₂| n₁·n₂ = K.

How likely E₁ is at a mass is f(x₁) f(x₂), x = E_vis/E_τ, times the response of missing p_T, to which
p_τ − p_vis belongs, or of the recoil.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.detector.taus import density as fraction_density
from deepmem.physics.phasespace.composed.chain import Chain
from deepmem.physics.phasespace.composition import Composition
from deepmem.physics.phasespace.visible import Shared, Visible

NODES = 32
"""Of the table of ln E₁."""
# The response of missing p_T is taken for this much wider.
_WIDER = 1.25
# Of K: the least root, which keeps what has no solution finite.
_LEAST_ROOT = 0.03
_LEAST_ENERGY = 1e-3  # GeV


class Seen(NamedTuple):
    """What is seen of both taus."""

    energy: tuple[Scalar, Scalar]
    """E_vis, GeV."""
    density: Scalar
    """Of both, R dE_vis/du."""


class TauPair:
    """Two taus of one event whose mother has a mass."""

    def __init__(self, composition: Composition, shared: Shared, event: Visible) -> None:
        pair = composition.pair
        assert pair is not None
        self.composition, self.shared, self.event, self.pair = composition, shared, event, pair
        self.chain = Chain(composition, shared, event)
        self.places = tuple(self.chain.place[number] for number in pair.legs)
        self.kinds = tuple(composition.tree.legs[number].kind for number in pair.legs)
        self.directions = tuple(self.chain.seen.direction(place) for place in self.places)
        self.mass = event.legs.mass[self.places[0]]
        self.least = tuple((event.own[place] / self.mass) ** 2 for place in self.places)
        one, other = self.directions
        self.cosine = sum(a * b for a, b in zip(one, other, strict=True))

    def measured(self) -> tuple[Scalar, Scalar]:
        """E_vis as measured, never below its mass."""
        one, other = (self.event.legs.energy[place] for place in self.places)
        return one, other

    def seen(self, u: jax.Array) -> Seen:
        """Both E_vis, by their responses."""
        found, density, at = list(self.measured()), jnp.asarray(1.0), 0
        for i, place in enumerate(self.places):
            if self.chain.seen.dimensions[place]:
                response, rec = self.chain.seen.responses[place], found[i]
                found[i], weight = response.flatten(u[at], rec, self.event.own[place])
                density, at = density * weight, at + 1
        return Seen((found[0], found[1]), density)

    def other_energy(self, first: Scalar, s: Scalar) -> tuple[Scalar, Scalar, Scalar]:
        """E₂ in GeV, dE₂/ds, and whether there is a solution, of E₁ or with both exchanged."""
        k = s / 2 - self.mass**2
        size = jnp.sqrt(jnp.maximum(first**2 - self.mass**2, 0.0))
        along = size * self.cosine
        rest = first**2 - along**2
        under = k**2 - self.mass**2 * rest
        root = jnp.sqrt(jnp.maximum(under, _LEAST_ROOT**2 * k**2))
        momentum = (k * along + first * root) / rest
        valid = (k > 0) & (under > 0) & (momentum > 0) & (first > self.mass)
        energy = jnp.sqrt(jnp.maximum(momentum, _LEAST_ENERGY) ** 2 + self.mass**2)
        return energy, momentum / (2 * root), valid

    def momentum(self, i: int, energy: Scalar) -> FourVector:
        return self.chain.seen.momentum(self.places[i], energy)

    def missing(self, i: int, energy: Scalar, seen: Scalar) -> tuple[Scalar, Scalar]:
        """p_T that is not seen of a tau, (p_x, p_y) in GeV."""
        size = jnp.sqrt(jnp.maximum(energy**2 - self.mass**2, 0.0))
        visible = jnp.sqrt(jnp.maximum(seen**2 - self.event.own[self.places[i]] ** 2, 0.0))
        x, y, _ = self.directions[i]
        return (size - visible) * x, (size - visible) * y

    def transverse(
        self, energies: tuple[Scalar, Scalar], seen: tuple[Scalar, Scalar], others: tuple[Scalar, Scalar]
    ) -> tuple[Scalar, Scalar]:
        """What the response of missing p_T or of the recoil compares with the event's.

        **Arguments:** `others`, the p_T of all legs that are no taus.
        """
        if self.composition.missing == "recoil":
            parts = [self.momentum(i, energies[i])[1:3] for i in (0, 1)]
            return others[0] + parts[0][0] + parts[1][0], others[1] + parts[0][1] + parts[1][1]
        (ax, ay), (bx, by) = (self.missing(i, energies[i], seen[i]) for i in (0, 1))
        return ax + bx, ay + by

    def fractions(self, energies: tuple[Scalar, Scalar], seen: tuple[Scalar, Scalar]) -> Scalar:
        """f(x₁) f(x₂)."""
        first, second = (
            fraction_density(self.kinds[i], seen[i] / energies[i], self.least[i]) for i in (0, 1)
        )
        return first * second

    def range(self, s: Scalar, seen: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        """ln E₁ that f(x₁) and f(x₂) allow; the first is the larger one where there is none."""
        low = jnp.maximum(seen[0], self.mass)
        high, _, valid = self.other_energy(jnp.maximum(seen[1], self.mass), s)
        return jnp.log(low), jnp.log(jnp.where(valid, high, low))

    def heights(
        self, s: Scalar, seen: tuple[Scalar, Scalar], others: tuple[Scalar, Scalar]
    ) -> tuple[Scalar, Scalar, Scalar]:
        """The range of ln E₁, and at its nodes f f times the response, of which one is the largest."""
        low, high = self.range(s, seen)
        first = jnp.exp(low + (high - low) * jnp.linspace(0.0, 1.0, NODES))
        second, _, valid = self.other_energy(first, s)
        energies = (first, second)
        there = self.transverse(energies, seen, others)
        sigma = _WIDER * self.shared.detector.transverse.sigma(self.event.activity)  # type: ignore[union-attr]
        pull = sum(((there[k] - self.event.missing[k]) / sigma) ** 2 for k in (0, 1))
        fractions = jnp.where(valid, self.fractions(energies, seen), 0.0)
        return low, high, fractions * jnp.exp(-pull / 2)


def profile(pair: TauPair, s: Scalar, others: tuple[Scalar, Scalar]) -> Scalar:
    """How likely a mass is with E_vis as measured: ∫ d ln E₁ f f times the response."""
    low, high, heights = pair.heights(s, pair.measured(), others)
    return jnp.where(high > low, (high - low) * heights.mean(), 0.0)
