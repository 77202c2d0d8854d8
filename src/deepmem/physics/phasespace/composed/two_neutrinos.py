"""The first one of two neutrinos of a composed map, or both where ellipses cross.

*Two masses.* It lies on an ellipse (`solutions.ellipse`), and φ on it follows a table of what it leaves the
other one, made for each point. With two masses of its own that is the response of missing p_T, summed along
the other's ellipse; with one, how likely k = p_T reaches the mass, 1/√(r (r + 4pk)), r = m² − 2 (pk − p⃗·k⃗);
and where an energy follows from a second mass, how likely this is, too.

*One mass.* Energy and azimuth β about its lepton's momentum p follow a table of the event's, which a few
points fill; the mass gives the angle between both, d³ν/2E = ds dE dβ/(4p).

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
    near,
    smeared,
    whole_point,
)
from deepmem.physics.phasespace.composition import Composition, Neutrino
from deepmem.physics.phasespace.expert import Proposal
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.tables import draw_pair

_OTHER_ANGLES = 16
"""Nodes on the other's ellipse."""
# The response of missing p_T is taken for this much wider, and that of an energy.
_WIDER, _WIDER_ENERGY = 1.25, 1.3
_TYPICAL_ENERGY, _EDGE = 60.0, 1e-12
"""GeV, of a neutrino whose energy is drawn; and of what is left of the table's numbers."""


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
    ellipse, centre = _ellipse(first, before, 0), centre_of(event, before, composition)
    if len(other.masses) == 1:
        centre = smeared(shared, event, u, centre, composition)
    angles = 2 * np.pi * np.arange(ANGLES) / ANGLES
    cosine, sine = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    axes = (
        [each.astype(np.float32) for each in part] for part in (ellipse.centre, ellipse.cosine, ellipse.sine)
    )
    momentum = [a + b * cosine + c * sine for a, b, c in zip(*axes, strict=True)]
    left = centre[0].astype(np.float32) - momentum[1], centre[1].astype(np.float32) - momentum[2]
    if len(other.masses) == 1:
        return Path(before, ellipse), _by_mass(shared, event, before, left, composition)
    return Path(before, ellipse), _by_response(shared, event, _ellipse(other, before, 2), left)


def _by_response(
    shared: Shared, event: Visible, ellipse: solutions.Ellipse, left: tuple[Scalar, Scalar]
) -> Scalar:
    """The response of missing p_T to what is left of it, summed along the other's ellipse."""
    sigma = _WIDER * shared.detector.transverse.sigma(event.activity)  # type: ignore[union-attr]
    centre, cosine, sine = (
        [(part[i] / sigma).astype(np.float32) for i in (1, 2)]
        for part in (ellipse.centre, ellipse.cosine, ellipse.sine)
    )
    scale, heights = (1 / sigma).astype(np.float32), 0 * left[0]
    for angle in 2 * np.pi * np.arange(_OTHER_ANGLES) / _OTHER_ANGLES:
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        away = [left[i] * scale - (centre[i] + cosine[i] * c + sine[i] * s) for i in (0, 1)]
        along = [sine[i] * c - cosine[i] * s for i in (0, 1)]
        heights = heights + near(away, along, _OTHER_ANGLES)
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
    smooth, slope, heights = solutions.within_reach((lepton[1], lepton[2]), left, square)
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
    phi, density = draw_angle(tuple(heights[i] for i in range(ANGLES)), u[composition.place_of_first])
    momentum = ellipse.at(jnp.cos(phi), jnp.sin(phi))
    weight = visibles.density / (8 * ellipse.root_gram * CUBE * density)
    momenta = visibles.momenta | {composition.first.leg: momentum}
    density = jnp.where(ellipse.exists, weight, 0.0)
    return visibles._replace(momenta=momenta, s=visibles.s[2:], density=density)


def drawn(
    shared: Shared, event: Visible, u: jax.Array, before: Visibles, composition: Composition
) -> Visibles:
    """The first neutrino by its energy and β, from the event's table, and the mass of its W."""
    first, place = composition.first, composition.place_of_first
    assert first is not None
    x, t, of_table = draw_pair(event.choices.table, u[place], u[place + 1])
    beta, rest = 2 * jnp.pi * x, jnp.maximum(1 - t, _EDGE)
    energy, px, py, pz = before.momenta[first.lepton]
    size, pt = jnp.sqrt(px**2 + py**2 + pz**2), jnp.sqrt(px**2 + py**2)
    mass = event.legs.mass[composition.tree.visible.index(first.lepton)]
    k = (before.s[0] - mass**2) / 2
    least = k / (energy + size)
    own = least + _TYPICAL_ENERGY * t / rest
    # 1 − cosα of both, with E² − p² = m²
    away = (k / own - mass**2 / (energy + size)) / size
    valid = (k > 0) & (away >= 0) & (away <= 2)
    cosine, sine = 1 - away, jnp.sqrt(jnp.where(valid, away * (2 - away), 1.0))
    one, other = sine * jnp.cos(beta) / pt, sine * jnp.sin(beta) / (size * pt)
    momentum = (
        own,
        own * (cosine * px / size - one * py - other * px * pz),
        own * (cosine * py / size + one * px - other * py * pz),
        own * (cosine * pz / size + other * pt**2),
    )
    measure = of_table * 2 * jnp.pi * _TYPICAL_ENERGY / rest**2 / (4 * size * CUBE)
    momenta = before.momenta | {first.leg: momentum}
    density = jnp.where(valid, before.density * measure, 0.0)
    return before._replace(momenta=momenta, s=before.s[1:], density=density)


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
        sides[0], sides[1], sides[2], sides[3], centre_of(event, before, composition),
        (s[0], s[1], s[2], s[3]),
    )  # fmt: skip
    momenta = before.momenta | {first.leg: pair.neutrino, last.leg: pair.antineutrino}
    point = whole_point(composition, before, momenta, before.density * pair.jacobian)
    assert isinstance(point, Proposal)
    return point
