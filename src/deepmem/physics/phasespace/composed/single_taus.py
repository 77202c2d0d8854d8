"""Taus beside their neutrinos: the visible energy by its response, and the part x of the energy that it is.

    T(E_rec|E_τ) dE_τ = ∫ dE_vis R(E_rec|E_vis) f(x) dx/x,   E_τ = E_vis/x.

E_vis is flat in its response. ln x follows a table of the event: f(x) times what E_τ leaves the neutrino.
Below one resonance that is how likely p_T reaches its mass. Below W and t, K = (m_t² − m_W² − m_b²)/2, it is
(m_W²/2 + b·τ)(K − b·τ), |M|² of the decay. What follows takes the tau as a lepton of this energy.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deepmem.kinematics import FourVector, Scalar, add, dot
from deepmem.physics.detector.taus import density as fraction_density
from deepmem.physics.phasespace.composed.chain import Chain
from deepmem.physics.phasespace.composed.masses import shape_of
from deepmem.physics.phasespace.composition import Composition, Neutrino, Tau
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.tables import Table

NODES = 48
"""Of the table of ln x."""
# The least x of leptons: what is seen of them has more than this part of a proton's energy.
_LEAST_PART = 1e-4
# The part of the table that is even; of r relative to m², and of K, how softly masses stop to be reached.
_EVEN, _SOFT = 0.1, 0.2


class TauTables(NamedTuple):
    """Of ln x of each tau of an event."""

    heights: Scalar
    """The density at the nodes, of the part of the way from the least ln x to 0 `[taus, NODES]`."""
    below: Scalar
    """Its integral up to each node."""

    def of(self, i: int) -> Table:
        return Table(0.0, 1 / (NODES - 1), jnp.asarray(self.heights[i]), jnp.asarray(self.below[i]))


class Drawn(NamedTuple):
    """All taus of a point."""

    momenta: dict[int, FourVector]
    density: Scalar
    """Of all, ∫ T dE_τ/du."""
    hidden: tuple[Scalar, Scalar]
    """The p_T that is not seen of them, (p_x, p_y) in GeV."""


def _least(event: Visible, place: int) -> tuple[Scalar, Scalar]:
    """r, and the least ln x."""
    r = (event.own[place] / event.legs.mass[place]) ** 2
    return r, jnp.log(jnp.maximum(r, _LEAST_PART))


def drawn(shared: Shared, event: Visible, u: jax.Array, composition: Composition, chain: Chain) -> Drawn:
    """Energies of all taus from their coordinates, and what comes along."""
    tables, momenta, density = event.choices.fit.taus, {}, jnp.asarray(1.0)
    hidden = [jnp.asarray(0.0), jnp.asarray(0.0)]
    of_seen = len(composition.drawn)
    of_part = of_seen + sum(tau.smeared for tau in composition.taus)
    for i, tau in enumerate(composition.taus):
        place = chain.place[tau.leg]
        seen, own, mass = chain.measured(tau.leg), event.own[place], event.legs.mass[place]
        if tau.smeared:
            seen, weight = chain.seen.responses[place].flatten(u[of_seen], seen, own)
            density, of_seen = density * weight, of_seen + 1
        table, (r, low) = tables.of(i), _least(event, place)
        part = table.draw(u[of_part + i])
        x = jnp.exp(low * (1 - part))
        kind = composition.tree.legs[tau.leg].kind
        density = density * fraction_density(kind, x, r) * -low / table.density(part)
        energy = seen / x
        density = jnp.where(energy > mass, density, 0.0)
        momenta[tau.leg] = chain.momentum(tau.leg, energy)
        visible = jnp.sqrt(jnp.maximum(seen**2 - own**2, 0.0))
        away = chain.seen.size(place, energy) - visible
        direction = chain.seen.direction(place)
        hidden = [each + away * along for each, along in zip(hidden, direction[:2], strict=True)]
    return Drawn(momenta, density, (hidden[0], hidden[1]))


def tau_tables(composition: Composition, shared: Shared, event: Visible) -> TauTables:
    """The tables of one event, all else having the energy that was measured."""
    chain, found = Chain(composition, shared, event), []
    for tau in composition.taus:
        place = chain.place[tau.leg]
        r, low = _least(event, place)
        x = jnp.exp(low * (1 - jnp.linspace(0.0, 1.0, NODES)))
        momentum = chain.momentum(tau.leg, chain.measured(tau.leg) / x)
        heights = fraction_density(composition.tree.legs[tau.leg].kind, x, r)
        heights = heights * _left(composition, shared, chain, tau, momentum)
        found.append(Table.of(0.0, 1 / (NODES - 1), heights + _EVEN * heights.mean() + 1e-30))
    return TauTables(jnp.stack([each.heights for each in found]), jnp.stack([each.below for each in found]))


def _left(composition: Composition, shared: Shared, chain: Chain, tau: Tau, momentum: FourVector) -> Scalar:
    """How likely the neutrino is beside a tau of some momenta `[NODES]`; nothing but a proposal."""
    both = (each for each in (composition.first, composition.neutrino) if each is not None)
    neutrino = next(each for each in both if each.lepton == tau.leg)
    resonances = [composition.tree.resonances[place] for place in neutrino.masses]
    squares = [shape_of(shared.parameters, each.mass, each.width).mass[0] ** 2 for each in resonances]
    if len(squares) == 2:
        beside = add(*(chain.momentum(number, chain.measured(number)) for number in neutrino.others))
        product = dot(beside, momentum)
        most = (squares[1] - squares[0] - dot(beside, beside)) / 2
        rest = most - product
        soft = jnp.sqrt(rest**2 + (_SOFT * most) ** 2)
        return (squares[0] / 2 + product) * (rest + soft) * (1 + rest / soft)
    if composition.first is not None:
        return jnp.ones(NODES)
    return _by_mass(composition, chain, neutrino, momentum, squares[0])


def _by_mass(
    composition: Composition, chain: Chain, neutrino: Neutrino, momentum: FourVector, square: Scalar
) -> Scalar:
    """|p| times how likely what is left of p_T makes the mass, 1/√(r (r + 4pk)) where r = m² − least > 0."""
    numbers = [number for number in chain.place if number != neutrino.lepton]
    if composition.missing == "response":
        numbers = []
    others = [chain.momentum(number, chain.measured(number)) for number in numbers]
    there = [chain.event.missing[i] - sum((p[i + 1] for p in others), 0.0) for i in (0, 1)]
    if composition.missing == "response":
        seen = chain.momentum(neutrino.lepton, chain.measured(neutrino.lepton))
        there = [there[i] + seen[i + 1] for i in (0, 1)]
    _, px, py, pz = momentum
    kx, ky = there[0] - px, there[1] - py
    pt, k = jnp.sqrt(px**2 + py**2), jnp.sqrt(kx**2 + ky**2)
    r = square - 2 * (pt * k - px * kx - py * ky)
    soft = jnp.sqrt(r**2 + (_SOFT * square) ** 2)
    return jnp.sqrt(pt**2 + pz**2) * (1 + r / soft) / jnp.sqrt(soft * (soft + 4 * pt * k))
