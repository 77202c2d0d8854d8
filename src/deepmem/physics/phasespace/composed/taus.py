"""The last steps of a map with two taus of one mother: their energies from its mass and missing p_T.

The visible energies follow their responses, R dE_vis = du. ln E₁ follows a table, made for each point, of how
likely it is; E₂ follows from s. With x = E_vis/E_τ

    T(E_rec|E_τ) dE_τ = ∫ dE_vis R(E_rec|E_vis) f(x) dE_τ/E_τ.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from deepmem.kinematics import FourVector, Scalar, add
from deepmem.physics.phasespace.composed.energies import Visibles
from deepmem.physics.phasespace.composed.tau_pairs import NODES, Seen, TauPair
from deepmem.physics.phasespace.composition import Composition
from deepmem.physics.phasespace.expert import Proposal, by_branch
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.tables import Table

# This part of the table is even.
_EVEN = 0.08


class Before(NamedTuple):
    """What the last step wants."""

    visibles: Visibles
    seen: Seen
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
    """E_vis of both, and the table of ln E₁."""
    pair = TauPair(composition, shared, event)
    seen = pair.seen(u[len(composition.drawn) :])
    return Before(before, seen, *pair.heights(before.s[0], seen.energy, _others(before.momenta)))


def solved_pair(
    shared: Shared, event: Visible, u: jax.Array, before: Before, composition: Composition
) -> Proposal:
    """E₁ from the table, E₂ from the mass."""
    pair, (visibles, seen, low, high, heights) = TauPair(composition, shared, event), before
    legs = pair.pair
    even = _EVEN * heights.mean() + 1e-30
    table = Table.of(0.0, 1 / (NODES - 1), heights + even)
    part = table.draw(u[len(composition.drawn) + len(legs.smeared)])
    first = jnp.exp(low + (high - low) * part)
    second, slope, valid = pair.other_energy(first, visibles.s[0])
    energies, momenta = (first, second), dict(visibles.momenta)
    # f dE/E of both, with dE₁ = E₁ d ln E₁
    density = visibles.density * seen.density * pair.fractions(energies, seen.energy) * slope / second
    density = density * (high - low) / table.density(part)
    for i, number in enumerate(legs.legs):
        momenta[number] = pair.momentum(i, energies[i])
        density = density * pair.chain.measure(number, momenta[number])
    there = pair.transverse(energies, seen.energy, _others(visibles.momenta))
    missing = shared.detector.transverse
    assert missing is not None
    density = density * missing.density((event.missing[0], event.missing[1]), there, event.activity)
    good = valid & (high > low)
    every = by_branch(*(momenta[leg.number] for leg in composition.tree.legs))
    return Proposal(every, jnp.atleast_1d(jnp.where(good, density, 0.0)))
