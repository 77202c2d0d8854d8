"""Momenta of the visible legs from energies and masses, resonance by resonance from the leaves to the root.

With P the other legs of a resonance and n the direction of the one that is solved, m its mass,

    E P⁰ − |p| n·P⃗ = K = (s − P² − m²)/2,   |p| = (K n·P⃗ + P⁰ √(K² − m² R))/R,   R = P⁰² − (n·P⃗)²,
    dE/ds = |p|/(2 √(K² − m² R)).

The other root exists where K < m P⁰ alone, with E of the order of m: where P⁰ is above m_H²/2m_b ≈ 1.7 TeV,
and never where a jet is seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp

from deepmem.kinematics import FourVector, Scalar, add, dot
from deepmem.physics.phasespace.composition import Composition, Solve
from deepmem.physics.phasespace.seen import Seen
from deepmem.physics.phasespace.visible import Shared, Visible

# Of K: the least root, which keeps what has no solution finite.
_LEAST_ROOT = 0.03
_LEAST_ENERGY = 1e-3  # GeV


class Solution(NamedTuple):
    """The energy of a leg that a mass decides."""

    energy: Scalar
    """GeV; finite also where there is no solution."""
    slope: Scalar
    """dE/ds, GeV⁻¹."""
    valid: Scalar


class Chain:
    """The visible legs of one event, by their numbers among all outgoing legs."""

    def __init__(self, composition: Composition, shared: Shared, event: Visible) -> None:
        self.composition, self.event = composition, event
        visible = composition.tree.visible
        kinds = tuple(composition.tree.legs[number].kind for number in visible)
        self.seen = Seen(shared, event, kinds)
        self.place = {number: i for i, number in enumerate(visible)}
        """Of a leg among the visible ones."""
        of_pair = () if composition.pair is None else composition.pair.legs
        of_lost = () if composition.lost is None else (composition.lost.leg,)
        of_taus = (each.leg for each in composition.taus)
        solved = (each.leg for each in (*composition.solves, *composition.late))
        self.solved = {*solved, *of_pair, *of_taus, *of_lost}
        """Legs that are not known beforehand."""

    def measured(self, number: int) -> Scalar:
        """The measured energy of a leg, GeV."""
        return self.event.legs.energy[self.place[number]]

    def momentum(self, number: int, energy: Scalar) -> FourVector:
        """Of an energy; above the leg's mass whatever it is."""
        return self.seen.momentum(self.place[number], energy)

    def measure(self, number: int, momentum: FourVector) -> Scalar:
        """|p|² sinθ d|p|/(2E (2π)³) per dE."""
        place = self.place[number]
        return self.seen.measure(place, self.seen.size(place, momentum[0]))

    def likelihood(self, number: int, energy: Scalar) -> Scalar:
        """T(E_rec|E) within its support, else 0, in GeV⁻¹."""
        place = self.place[number]
        rec, response = self.event.legs.energy[place], self.seen.responses[place]
        low, high = response.support(rec, self.event.legs.mass[place])
        inside = (energy > low) & (energy < high)
        return jnp.where(inside, response.density(rec, jnp.where(inside, energy, rec)), 0.0)

    def solve(self, each: Solve, s: Scalar, momenta: Mapping[int, FourVector]) -> Solution:
        """The energy with which a leg and the others make a mass, see the module's first lines."""
        return self.along(each.leg, self.seen.direction(self.place[each.leg]), each.others, s, momenta)

    def along(
        self,
        leg: int,
        direction: tuple[Scalar, Scalar, Scalar],
        others: Sequence[int],
        s: Scalar,
        momenta: Mapping[int, FourVector],
    ) -> Solution:
        """The same of a leg in a direction, a unit vector."""
        nx, ny, nz = direction
        mass = self.event.legs.mass[self.place[leg]]
        total = add(*(momenta[number] for number in others))
        square = self._square(others, total)
        along = total[1] * nx + total[2] * ny + total[3] * nz
        k = (s - square - mass**2) / 2
        rest = total[0] ** 2 - along**2
        under = k**2 - mass**2 * rest
        root = jnp.sqrt(jnp.maximum(under, _LEAST_ROOT**2 * k**2))
        size = (k * along + total[0] * root) / rest
        valid = (k > 0) & (under > 0) & (size > 0)
        energy = jnp.sqrt(jnp.maximum(size, _LEAST_ENERGY) ** 2 + mass**2)
        return Solution(energy, size / (2 * root), valid)

    def _square(self, others: Sequence[int], total: FourVector) -> Scalar:
        """Their invariant mass² : of a single visible one its own, without rounding."""
        if len(others) == 1 and others[0] in self.place:
            return self.event.legs.mass[self.place[others[0]]] ** 2
        return dot(total, total)

    def known(self, drawn: Sequence[Scalar]) -> dict[int, FourVector]:
        """The momenta of perfect legs, and of those whose energies are drawn."""
        energies = dict(zip(self.composition.drawn, drawn, strict=True))
        return {
            number: self.momentum(number, energies.get(number, self.measured(number)))
            for number in self.place
            if number not in self.solved
        }

    def solutions(self, s: Sequence[Scalar], momenta: dict[int, FourVector]) -> list[Solution]:
        """All that is solved before the neutrino, in its order; `momenta` get what comes out."""
        found = []
        for each, mass in zip(self.composition.solves, s, strict=True):
            solution = self.solve(each, mass, momenta)
            momenta[each.leg] = self.momentum(each.leg, solution.energy)
            found.append(solution)
        return found
