"""The last steps of a map with two taus of one mother: their energies from its mass and missing p_T.

ln E₁ follows a table, made for each point, of how likely it is; E₂ follows from s. The visible energies come
last, by their responses where the decay allows them. With x = E_vis/E_τ

    T(E_rec|E_τ) dE_τ = ∫ dE_vis R(E_rec|E_vis) f(x) dE_τ/E_τ.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deepmem.kinematics import FourVector, Scalar, add
from deepmem.physics.phasespace.composed.energies import Visibles
from deepmem.physics.phasespace.composed.tau_pairs import NODES, TauPair
from deepmem.physics.phasespace.composition import Composition
from deepmem.physics.phasespace.expert import Proposal, by_branch
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.tables import Table

# This part of the table is even.
_EVEN = 0.08


class Before(NamedTuple):
    """What the last step wants."""

    visibles: Visibles
    low: Scalar
    high: Scalar
    heights: Scalar


def _others(momenta: dict[int, FourVector]) -> tuple[Scalar, Scalar]:
    if not momenta:
        return jnp.asarray(0.0), jnp.asarray(0.0)
    total = add(*momenta.values())
    return total[1], total[2]


def tabulated_pair(
    shared: Shared, event: Visible, u: jax.Array, before: Visibles, composition: Composition
) -> Before:
    """The table of ln E₁."""
    pair = TauPair(composition, shared, event)
    return Before(before, *pair.heights(before.s[0], _others(before.momenta)))


def solved_pair(
    shared: Shared, event: Visible, u: jax.Array, before: Before, composition: Composition
) -> Proposal:
    """E₁ from the table, E₂ from the mass, and what is seen of both."""
    pair, (visibles, low, high, heights) = TauPair(composition, shared, event), before
    legs, place = pair.pair, len(composition.drawn)
    even = _EVEN * heights.mean() + 1e-300
    table = Table.of(0.0, 1 / (NODES - 1), heights + even)
    part = table.draw(u[place + len(legs.smeared)])
    first = jnp.exp(low + (high - low) * part)
    second, slope, valid = pair.other_energy(first, visibles.s[0])
    energies, momenta, seen = (first, second), dict(visibles.momenta), []
    # f dE/E of both, with dE₁ = E₁ d ln E₁
    density = visibles.density * slope / second * (high - low) / table.density(part)
    for i, number in enumerate(legs.legs):
        smeared = number in legs.smeared
        found, of_seen = pair.seen(i, energies[i], u[place] if smeared else None)
        seen.append(found)
        place += smeared
        momenta[number] = pair.momentum(i, energies[i])
        density = density * of_seen * pair.chain.measure(number, momenta[number])
    there = pair.transverse(energies, (seen[0], seen[1]), _others(visibles.momenta))
    missing = shared.detector.transverse
    assert missing is not None
    density = density * missing.density((event.missing[0], event.missing[1]), there, event.activity)
    good = valid & (high > low)
    every = by_branch(*(momenta[leg.number] for leg in composition.tree.legs))
    return Proposal(every, jnp.atleast_1d(jnp.where(good, density, 0.0)))
