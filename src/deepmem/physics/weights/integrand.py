"""The integrand of a weight, for one event and one point of the unit cube.

    W(x|α) = ∫ Π_vis [ |p|² sinθ d|p| / (2E (2π)³) · T(E_rec|E) ] · (2π)⁴ (2/s) · Σ f_a f_b |M|² / (2 x₁x₂s)

Directions are measured perfectly, T acts on energies. W is a density in (E_rec, θ, φ) of each visible
particle, in GeV^(−n), n the number of them (MoMEMta's convention). Every integrand is f(shared, event, u) ↦
the values `[scan]`, the parts of them below the density's grid `[scan]`, and where densities are negative
somewhere the parts that come from there `[scan]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from deepmem.kinematics import FourVector, add
from deepmem.physics.integrals.integrand import Integrand, Staged
from deepmem.physics.phasespace.expert import Step
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.precision import require_double
from deepmem.physics.weights.partonic import Partonic

Map: TypeAlias = Callable[[tuple[str, ...], Shared, Visible, jax.Array], tuple[Sequence[jax.Array], Any]]
"""(classes, shared, event, u) ↦ energies of the legs, and Π T times the Jacobian."""


@cache
def of_seen(partonic: Partonic, energies_at: Map) -> Integrand:
    """The integrand where all particles are seen."""

    def f(shared: Shared, event: Visible, u: jax.Array) -> tuple[jax.Array, ...]:
        require_double("the integrand of a weight")
        energies, density = energies_at(partonic.process.visible_classes, shared, event, u)
        legs, momenta = event.legs, []
        for i, energy in enumerate(energies):
            sine, x, y, z = legs.sine[i], legs.x[i], legs.y[i], legs.z[i]
            momenta.append((energy, energy * x, energy * y, energy * z))
            # |p|² sinθ d|p|/(2E(2π)³) of a massless particle is E sinθ dE/(2(2π)³)
            density = density * energy * sine / (2 * (2 * jnp.pi) ** 3)
        if (recoil := shared.detector.recoil) is not None:
            _, px, py, _ = add(*momenta)
            aim = event.missing[0], event.missing[1]
            density = density * recoil.density(aim, (px, py), event.activity) * recoil.prior((px, py))
        values, below, *negative = partonic(shared, momenta)
        values, *negative = (jnp.where(density > 0, part * density, 0.0) for part in (values, *negative))
        return values, jnp.where(below, values, 0.0), *negative

    f.large = partonic.large  # type: ignore[attr-defined]
    return f


@cache
def of_escaping(
    partonic: Partonic,
    steps: tuple[Step, ...],
    neutrinos: bool = False,
    drawn: tuple[tuple[int, ...], ...] = (),
    plain: bool = False,
) -> Staged:
    """The same where particles escape: |M|² and densities only at points that have a solution.

    **Arguments:** `neutrinos`: with a last part, the values times (px, py, pz) of each escaping leg,
    `[legs · 3 · scan]`, neutrinos before antineutrinos; `drawn`: orders of the legs of which each point has
    one in |M|², by a coordinate after those of the steps, in place of their mean; `plain`, see `Staged`.
    """
    *before, last = steps
    proposed = (*before, _possible(last, drawn))
    return Staged(proposed, _of_solution(partonic, neutrinos), partonic.large, plain, _apart)


def _apart(shared: Shared) -> tuple[Shared, Shared]:
    """What maps and what |M|² know: densities belong to |M|², what was seen to maps."""
    of_map = shared._replace(density=None)  # type: ignore[arg-type]
    return of_map, shared._replace(detector=None, resonance=None, acceptance=None)  # type: ignore[arg-type]


@cache
def _possible(
    last: Step, drawn: tuple[tuple[int, ...], ...]
) -> Callable[[Shared, Visible, jax.Array, Any], tuple[Any, jax.Array]]:
    """The last step of a map, and which of its branches count; legs in the order that is drawn."""

    def proposed(shared: Shared, event: Visible, u: jax.Array, parcel: Any) -> tuple[Any, jax.Array]:
        require_double("the integrand of a weight")
        legs, density = last(shared, event, u, parcel)
        total = add(*legs)
        # not where a fraction of momentum, as in `Partonic`, were above 1
        energy = jnp.sqrt(total[0] ** 2 - total[1] ** 2 - total[2] ** 2)
        possible = energy + jnp.abs(total[3]) < shared.parameters.sqrt_s[0]
        if (recoil := shared.detector.recoil) is not None:
            density = density * recoil.prior((total[1], total[2]))
        factors = None if event.tags is None else event.tags[None]
        if drawn:
            number = jnp.minimum((u[-1] * len(drawn)).astype(int), len(drawn) - 1)
            legs = _in_order(legs, drawn, number)
            if factors is not None:
                # of all orders, whose sum their mean stands for
                factors = len(drawn) * factors.reshape(1, len(drawn), -1)[:, number]
        return (legs, density, factors), (density > 0) & possible

    return proposed


@cache
def _of_solution(partonic: Partonic, neutrinos: bool) -> Callable[[Shared, Any], tuple[jax.Array, ...]]:
    """The values at the momenta of a solution, from whichever map."""
    process = partonic.process
    escaping = [i for i, kind in enumerate(process.classes) if kind == "invisible"]
    escaping.sort(key=lambda i: process.outgoing[i] < 0)

    def complete(shared: Shared, parcel: tuple[Sequence[FourVector], Any, Any]) -> tuple[jax.Array, ...]:
        legs, density, factors = parcel
        values, below, *negative = partonic(shared, legs, factors)
        values, *negative = (part * density for part in (values, *negative))
        parts: tuple[jax.Array, ...] = (values, jnp.where(below, values, 0.0), *negative)
        if neutrinos:
            parts += (jnp.concatenate([values * legs[i][axis] for i in escaping for axis in (1, 2, 3)]),)
        return parts

    return complete


def _in_order(
    legs: Sequence[FourVector], orders: tuple[tuple[int, ...], ...], number: jax.Array
) -> Sequence[FourVector]:
    """The legs in one of some orders."""
    found: list[FourVector] = []
    for places in zip(*orders, strict=True):
        chosen = legs[places[0]]
        for k, place in enumerate(places):
            if place != places[0]:
                same = zip(legs[place], chosen, strict=True)
                chosen = tuple(jnp.where(number == k, one, other) for one, other in same)
        found.append(chosen)
    return found
