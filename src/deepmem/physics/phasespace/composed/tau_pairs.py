"""Two taus of one mother: their energies as functions of one of them and of the mother's mass.

With n the directions, m the mass of a tau and K = s/2 − m²,

    E₁E₂ − |p₁||p₂| n₁·n₂ = K.

How likely E₁ is at a mass is ∫ dE_vis R f(x) of both, x = E_vis/E_τ, times the response of missing p_T, to
which p_τ − p_vis belongs, or of the recoil.
"""

from __future__ import annotations

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
# Of x, how far inside of its range a proposal takes it.
_INSIDE = 0.02


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

    def _range_of_seen(self, i: int, energy: Scalar) -> tuple[Scalar, Scalar, Scalar]:
        """Of E_vis of a tau of an energy: what its response and its decay allow, GeV, and whether they do.

        Where they do not it is the response's alone.
        """
        place = self.places[i]
        rec, own = self.event.legs.energy[place], self.event.own[place]
        low, high = self.chain.seen.responses[place].support(rec, own)
        least, most = jnp.maximum(low, self.least[i] * energy), jnp.minimum(high, energy)
        exists = most > least
        return jnp.where(exists, least, low), jnp.where(exists, most, high), exists

    def seen(self, i: int, energy: Scalar, u: Scalar | None) -> tuple[Scalar, Scalar]:
        """E_vis of a tau of an energy, and R f(x) dE_vis/du; without `u` as measured."""
        place = self.places[i]
        found, density = self.event.legs.energy[place], jnp.asarray(1.0)
        if u is not None:
            low, high, exists = self._range_of_seen(i, energy)
            found, density = self.chain.seen.responses[place].flatten_between(u, found, low, high)
            density = jnp.where(exists, density, 0.0)
        return found, density * fraction_density(self.kinds[i], found / energy, self.least[i])

    def likely(self, i: int, energy: Scalar) -> Scalar:
        """About ∫ dE_vis R f(x), how likely a tau of an energy is seen as it is; nothing but a proposal."""
        place = self.places[i]
        rec = self.event.legs.energy[place]
        x, part = rec / energy, jnp.asarray(1.0)
        if self.chain.seen.dimensions[place]:
            low, high, exists = self._range_of_seen(i, energy)
            part = exists * self.chain.seen.responses[place].part_between(
                self.event.legs.energy[place], low, high
            )
            x = jnp.clip(x, self.least[i] + _INSIDE, 1 - _INSIDE)
        return part * fraction_density(self.kinds[i], x, self.least[i])

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

    def range(self, s: Scalar) -> tuple[Scalar, Scalar]:
        """ln E₁ that E_vis allow; the first is the larger one where there is none."""
        least = []
        for place in self.places:
            low = self.event.legs.energy[place]
            if self.chain.seen.dimensions[place]:
                low, _ = self.chain.seen.responses[place].support(low, self.event.own[place])
            least.append(jnp.maximum(low, self.mass))
        high, _, valid = self.other_energy(least[1], s)
        return jnp.log(least[0]), jnp.log(jnp.where(valid, high, least[0]))

    def heights(self, s: Scalar, others: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar, Scalar]:
        """The range of ln E₁, and how likely it is at its nodes, by what is seen and what is missing."""
        low, high = self.range(s)
        first = jnp.exp(low + (high - low) * jnp.linspace(0.0, 1.0, NODES))
        second, _, valid = self.other_energy(first, s)
        energies = (first, second)
        rec = [self.event.legs.energy[place] for place in self.places]
        seen = [jnp.minimum(each, energy) for each, energy in zip(rec, energies, strict=True)]
        there = self.transverse(energies, (seen[0], seen[1]), others)
        sigma = _WIDER * self.shared.detector.transverse.sigma(self.event.activity)  # type: ignore[union-attr]
        pull = sum(((there[k] - self.event.missing[k]) / sigma) ** 2 for k in (0, 1))
        likely = self.likely(0, first) * self.likely(1, second)
        return low, high, jnp.where(valid, likely, 0.0) * jnp.exp(-pull / 2)


def profile(pair: TauPair, s: Scalar, others: tuple[Scalar, Scalar]) -> Scalar:
    """How likely a mass is: ∫ d ln E₁ of how likely it is with what is seen and missing."""
    low, high, heights = pair.heights(s, others)
    return jnp.where(high > low, (high - low) * heights.mean(), 0.0)
