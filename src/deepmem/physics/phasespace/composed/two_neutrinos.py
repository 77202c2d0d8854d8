"""The first one of two neutrinos of a composed map, or both where ellipses cross.

*Two masses.* It lies on an ellipse (`solutions.ellipse`), and φ on it follows a table of what it leaves the
other one, made for each point. With two masses of its own that is the response of missing p_T, summed along
the other's ellipse; with one, how likely k = p_T reaches the mass, 1/√(r (r + 4pk)), r = m² − 2 (pk − p⃗·k⃗);
and where an energy follows from a second mass, how likely this is, too.

*One mass.* φ and p_T follow a table of the event's, and the mass gives Δη, with the sign that it draws.

*Crossed.* Four masses and p_T give both, up to four solutions (`solutions.top_pair`).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import FourVector, Scalar, add
from deepmem.physics.phasespace import solutions
from deepmem.physics.phasespace.composed.chain import Chain
from deepmem.physics.phasespace.composed.energies import Visibles
from deepmem.physics.phasespace.composed.masses import shape_of
from deepmem.physics.phasespace.composed.neutrinos import (
    ANGLES,
    CUBE,
    centre_of,
    draw_angle,
    of_mass,
    whole_point,
)
from deepmem.physics.phasespace.composition import Composition, Neutrino
from deepmem.physics.phasespace.expert import Proposal
from deepmem.physics.phasespace.lines import Power
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.tables import draw_pair

_OTHER_ANGLES = 16
"""Nodes on the other's ellipse."""
# The response of missing p_T is taken for this much wider, and that of an energy.
_WIDER, _WIDER_ENERGY = 1.25, 1.3
_LARGEST_SQUARE = 60.0
# Of r, relative to m²: how softly k stops to reach the mass.
_SOFT = 0.15
_TYPICAL_PT = 40.0
"""GeV, of a neutrino whose p_T is drawn."""


class Path(NamedTuple):
    """Where the first neutrino can be, of a point."""

    visibles: Visibles
    ellipse: solutions.Ellipse


def _ellipse(neutrino: Neutrino, before: Visibles, first: int) -> solutions.Ellipse:
    """Of a neutrino whose masses begin at a place among those that are left."""
    others = add(*(before.momenta[number] for number in neutrino.others))
    return solutions.ellipse(before.momenta[neutrino.lepton], others, *before.s[first : first + 2])


def path(
    shared: Shared, event: Visible, u: jax.Array, before: Visibles, composition: Composition
) -> tuple[Path, Scalar]:
    """The ellipse of the first neutrino, and how likely its nodes are `[ANGLES]`."""
    first, other = composition.first, composition.neutrino
    assert first is not None and other is not None
    ellipse, centre = _ellipse(first, before, 0), centre_of(event, before.momenta, composition)
    angles = 2 * np.pi * np.arange(ANGLES) / ANGLES
    cosine, sine = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    left = []
    for i in (0, 1):
        a, b, c = (part[i + 1].astype(np.float32) for part in (ellipse.centre, ellipse.cosine, ellipse.sine))
        left.append(centre[i].astype(np.float32) - (a + b * cosine + c * sine))
    if len(other.masses) == 2:
        return Path(before, ellipse), _by_response(shared, event, before, (left[0], left[1]), composition)
    heights = _by_mass(shared, event, before, (left[0], left[1]), composition)
    return Path(before, ellipse), heights


def _by_response(
    shared: Shared, event: Visible, before: Visibles, left: tuple[Scalar, Scalar], composition: Composition
) -> Scalar:
    """The response of missing p_T to what is left of it, summed along the other's ellipse.

    It is wider by what is between two nodes there.
    """
    assert composition.neutrino is not None
    ellipse = _ellipse(composition.neutrino, before, 2)
    sigma = _WIDER * shared.detector.transverse.sigma(event.activity)  # type: ignore[union-attr]
    axes = [ellipse.cosine[1], ellipse.cosine[2], ellipse.sine[1], ellipse.sine[2]]
    apart = (2 * np.pi / _OTHER_ANGLES) ** 2 / 24 * sum(axis**2 for axis in axes)
    scale = (1 / (2 * (sigma**2 + apart))).astype(np.float32)
    centre, cosine, sine = (
        [part[i].astype(np.float32) for i in (1, 2)]
        for part in (ellipse.centre, ellipse.cosine, ellipse.sine)
    )
    heights = 0 * left[0]
    for angle in 2 * np.pi * np.arange(_OTHER_ANGLES) / _OTHER_ANGLES:
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        square = sum((left[i] - (centre[i] + cosine[i] * c + sine[i] * s)) ** 2 for i in (0, 1))
        heights = heights + jnp.exp(-jnp.minimum(square * scale, np.float32(_LARGEST_SQUARE / 2)))
    return heights


def _by_mass(
    shared: Shared, event: Visible, before: Visibles, left: tuple[Scalar, Scalar], composition: Composition
) -> Scalar:
    """How likely what is left of p_T makes the mass of the other's W, and an energy that follows then."""
    other = composition.neutrino
    assert other is not None
    lepton = tuple(part.astype(np.float32) for part in before.momenta[other.lepton])
    resonance = composition.tree.resonances[other.masses[0]]
    square = (shape_of(shared.parameters, resonance.mass, resonance.width).mass[0] ** 2).astype(np.float32)
    kx, ky = left
    pt, size = jnp.sqrt(lepton[1] ** 2 + lepton[2] ** 2), jnp.sqrt(kx**2 + ky**2)
    r = square - 2 * (pt * size - lepton[1] * kx - lepton[2] * ky)
    smooth = jnp.sqrt(r**2 + (np.float32(_SOFT) * square) ** 2)
    slope = jnp.sqrt(smooth * (smooth + 4 * pt * size))
    heights = (1 + r / smooth) / slope
    for each, s in zip(composition.late, before.s[2:], strict=True):
        cosh, sinh = size + smooth / (2 * pt), slope / (2 * pt)
        chain, allowed = Chain(composition, shared, event), 0.0 * heights
        for sign in (1.0, -1.0):
            neutrino: FourVector = (
                (lepton[0] * cosh + sign * lepton[3] * sinh) / pt,
                kx,
                ky,
                (lepton[3] * cosh + sign * lepton[0] * sinh) / pt,
            )
            found = chain.solve(each, s, {**before.momenta, other.leg: neutrino})
            response = chain.seen.responses[chain.place[each.leg]]
            measured = chain.measured(each.leg)
            width = _WIDER_ENERGY * response.scale(measured) / measured
            pull = jnp.clip((measured / found.energy - 1) / width, -20.0, 20.0)
            allowed = allowed + jnp.where(found.valid, jnp.exp(-(pull**2) / 2) * found.slope, 0.0)
        heights = heights * allowed.astype(np.float32)
    return heights


def on_path(
    shared: Shared, event: Visible, u: jax.Array, before: tuple[Path, Scalar], composition: Composition
) -> Visibles:
    """φ from the table, and the first neutrino."""
    (visibles, ellipse), heights = before
    assert composition.first is not None
    phi, density = draw_angle(tuple(heights[i] for i in range(ANGLES)), u[len(composition.drawn)])
    momentum = ellipse.at(jnp.cos(phi), jnp.sin(phi))
    weight = visibles.density / (8 * ellipse.root_gram * CUBE * density)
    momenta = visibles.momenta | {composition.first.leg: momentum}
    return Visibles(momenta, visibles.s[2:], jnp.where(ellipse.exists, weight, 0.0))


def drawn(
    shared: Shared, event: Visible, u: jax.Array, before: Visibles, composition: Composition
) -> Visibles:
    """The first neutrino by φ, p_T and the sign of Δη, from the event's table, and the mass of its W."""
    first, place = composition.first, len(composition.drawn)
    assert first is not None
    x, y, of_table = draw_pair(event.choices.table, u[place], u[place + 1])
    line, t, phi = Power(2.0, _TYPICAL_PT), jnp.abs(2 * y - 1), 2 * jnp.pi * x
    size = line.draw(1 - t, 0.0, jnp.inf)
    # either sign has half of the numbers
    measure = of_table * 2 * jnp.pi * size * 2 / line.density(size, 0.0, jnp.inf)
    pt, sign = (size * jnp.cos(phi), size * jnp.sin(phi)), jnp.where(y < 0.5, -1.0, 1.0)
    lepton = before.momenta[first.lepton]
    momentum, weight = of_mass(shared, u, composition, first, lepton, pt, sign)
    momenta = before.momenta | {first.leg: momentum}
    return Visibles(momenta, before.s, before.density * measure * weight)


def crossed(
    shared: Shared, event: Visible, u: jax.Array, before: Visibles, composition: Composition
) -> Proposal:
    """Both neutrinos where their ellipses cross, four branches."""
    first, last = composition.first, composition.neutrino
    assert first is not None and last is not None
    sides = []
    for each in (first, last):
        sides += [
            before.momenta[each.lepton],
            add(*(before.momenta[number] for number in each.others)),
        ]
    s = before.s
    pair = solutions.top_pair(
        sides[0], sides[1], sides[2], sides[3], centre_of(event, before.momenta, composition),
        (s[0], s[1], s[2], s[3]),
    )  # fmt: skip
    momenta = before.momenta | {first.leg: pair.neutrino, last.leg: pair.antineutrino}
    point = whole_point(composition, before, momenta, before.density * pair.jacobian)
    assert isinstance(point, Proposal)
    return point
