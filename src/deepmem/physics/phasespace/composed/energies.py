"""The first steps of a composed map: masses from their tables, then all visible energies but late ones.

The drawn energies follow the fit of the event. With E₀ its energies, t = ln √s/m − anchor and L its spread,

    E_a = E₀_a / (exp(−x_a − Σ_q slope_aq t_q) − Σ_b L_ab z_b),

for with σ = rE the response is Gaussian in 1/E. x is what goes along with the p_T of a neutrino that has a
table, and 0 else. z = c y (1 + d y²), y normal: wider than the fit says, mostly in its tails. The z of a
quark beside a neutrino has a mean and a width that follow s_t (`neutrino_fit`).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtri

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.phasespace.composed import single_taus
from deepmem.physics.phasespace.composed.chain import Chain
from deepmem.physics.phasespace.composed.fit import nested, tabulated
from deepmem.physics.phasespace.composed.masses import Given, MassTable, MassTables, shape_of
from deepmem.physics.phasespace.composed.neutrino_fit import Followed, looked_at, quark_of
from deepmem.physics.phasespace.composed.transverse import Point, drawn
from deepmem.physics.phasespace.composition import Composition
from deepmem.physics.phasespace.visible import Shared, Visible

# c and d.
_WIDER, _TAILS = 1.05, 0.02
# The least of E₀/E, and how far ln √s moves energies along.
_LEAST_INVERSE, _FARTHEST = 0.15, 1.5
_EDGE = 1e-12
_SQRT_2PI = float(np.sqrt(2 * np.pi))


class Masses(NamedTuple):
    """After the first step."""

    s: tuple[Scalar, ...]
    """Of the resonances with a table, in the order of `fit.tabulated`, GeV²."""
    density: Scalar
    """ds/du of all."""
    transverse: Point | None = None
    """p_T of the neutrino, where it has a table."""


class Visibles(NamedTuple):
    """After the second step."""

    momenta: dict[int, FourVector]
    """Of all visible legs but late ones, by number."""
    s: tuple[Scalar, ...]
    """Of the resonances that are left, GeV²."""
    density: Scalar
    transverse: Point | None = None
    hidden: tuple[Scalar, Scalar] | None = None
    """p_T that is not seen of taus beside neutrinos, (p_x, p_y) in GeV."""


def masses(shared: Shared, event: Visible, u: jax.Array, _: None, composition: Composition) -> Masses:
    """All s that have a table."""
    places = tabulated(composition)
    numbers = [composition.mass_variable(place) for place in places]
    resonances = [composition.tree.resonances[place] for place in places]
    shapes = [shape_of(shared.parameters, each.mass, each.width) for each in resonances]
    here, given = event.choices.fit, {}
    each = tuple(MassTable(shape, here.shares[i]) for i, shape in enumerate(shapes))
    for i, (q, r) in enumerate(nested(composition)):
        given[r] = Given(q, here.given[i], here.nodes[i, 0], here.nodes[i, 1])
    tables = MassTables(each, given)
    s, density = tables.draw(jnp.asarray([u[i] for i in numbers]))
    return Masses(s, 1 / density)


def of_missing(
    shared: Shared, event: Visible, u: jax.Array, before: Masses, composition: Composition
) -> Masses:
    """The p_T of a neutrino that has a table."""
    place, t = composition.place_of_neutrino, _logs(shared, before.s, composition)
    found = drawn(event.choices.fit.tables, jnp.asarray(t), u[place], u[place + 1])
    return before._replace(transverse=found)


def energies(
    shared: Shared, event: Visible, u: jax.Array, before: Masses, composition: Composition
) -> Visibles:
    """The energies that are drawn, and those that follow from masses."""
    chain, count = Chain(composition, shared, event), len(composition.solves)
    given, density = _drawn(shared, event, u, before, composition)
    density = density * before.density
    momenta = chain.known(given)
    for solution in chain.solutions(before.s[:count], momenta):
        density = jnp.where(solution.valid, density * solution.slope, 0.0)
    for number, momentum in momenta.items():
        density = density * chain.measure(number, momentum)
        if chain.seen.dimensions[chain.place[number]]:
            density = density * chain.likelihood(number, momentum[0])
    found = Visibles(momenta, before.s[count:], density, before.transverse)
    return _with_taus(shared, event, u, found, chain) if composition.taus else found


def _with_taus(shared: Shared, event: Visible, u: jax.Array, before: Visibles, chain: Chain) -> Visibles:
    """The same with taus beside neutrinos."""
    found = single_taus.drawn(shared, event, u, chain.composition, chain)
    density = before.density * found.density
    for number, momentum in found.momenta.items():
        density = density * chain.measure(number, momentum)
    return before._replace(momenta=before.momenta | found.momenta, density=density, hidden=found.hidden)


def _drawn(
    shared: Shared, event: Visible, u: jax.Array, before: Masses, composition: Composition
) -> tuple[list[Scalar], Scalar]:
    """The drawn energies, and dE/du of all; see the module's first lines."""
    here, s, count = event.choices.fit, before.s, len(composition.drawn)
    x, anchor = jnp.zeros(count), here.anchor
    if before.transverse is not None:
        x, anchor = jnp.clip(before.transverse.x, -_FARTHEST, _FARTHEST), before.transverse.t
    logs = _logs(shared, s, composition)
    t = [jnp.clip(log - anchor[q], -_FARTHEST, _FARTHEST) for q, log in enumerate(logs)]
    # a loop over them has one body to compile
    y = lax.map(lambda each: ndtri(jnp.clip(each, _EDGE, 1 - _EDGE)), u[:count])
    z = [_WIDER * y[a] * (1 + _TAILS * y[a] ** 2) for a in range(count)]
    density, found = jnp.asarray(1.0), []
    for neutrino, of_quark in zip(looked_at(composition), here.quarks, strict=True):
        if (quark := quark_of(composition, neutrino)) is not None:
            shift, width = _of_quark(shared, of_quark, s, composition, neutrino.masses[1])
            z[quark], density = shift + width * z[quark], density * width
    for a in range(count):
        moved = jnp.exp(-sum((here.slope[a, q] * t[q] for q in range(len(t))), x[a]))
        inverse = moved - sum(here.spread[a, b] * z[b] for b in range(a + 1))
        good = inverse > _LEAST_INVERSE
        inverse = jnp.maximum(inverse, _LEAST_INVERSE)
        found.append(here.energy[a] / inverse)
        slope = _WIDER * (1 + 3 * _TAILS * y[a] ** 2) * _SQRT_2PI * jnp.exp(y[a] ** 2 / 2)
        density = density * jnp.where(good, found[a] / inverse * here.spread[a, a] * slope, 0.0)
    return found, density


def _logs(shared: Shared, s: tuple[Scalar, ...], composition: Composition) -> list[Scalar]:
    """ln √s/m of the masses that energies follow from."""
    found = []
    for each, mass in zip(composition.solves, s, strict=False):
        resonance = composition.tree.resonances[each.resonance]
        pole = shape_of(shared.parameters, resonance.mass, resonance.width).mass[0]
        found.append(0.5 * jnp.log(jnp.maximum(mass, 1e-6) / pole**2))
    return found


def _of_quark(
    shared: Shared, here: Followed, s: tuple[Scalar, ...], composition: Composition, place: int
) -> tuple[Scalar, Scalar]:
    """Shift and width of the energy of the quark beside a neutrino, at the mass of both: linear in ln s.

    **Arguments:** `place`, of the resonance of both.
    """
    resonance, mass = composition.tree.resonances[place], s[tabulated(composition).index(place)]
    pole = shape_of(shared.parameters, resonance.mass, resonance.width).mass[0]
    t = 0.5 * jnp.log(jnp.maximum(mass, 1e-6) / pole**2)
    low, high = here.nodes[:-1], here.nodes[1:]
    part = jnp.clip((t - low) / jnp.maximum(high - low, _EDGE), 0.0, 1.0)
    shift, width = (each[0] + (part * jnp.diff(each)).sum() for each in (here.shift, here.width))
    return shift, width
