"""The last steps of a composed map: the neutrino, the last one of two (`two_neutrinos`), or none.

*One mass.* p_T has a table (`transverse`), or is drawn from missing p_T's response, flat: T d²p_T = d²u.
With its lepton's p = √(p_T² + m²) and k = p_T, s = least + 2pk (cosh Δη − 1), least = m² + 2 (pk − p⃗_T·k⃗),
and for both signs of Δη, of rapidities,

    d³ν/2E = d²k/2 ds/(ds/dΔη),   ds/dΔη = √(r (r + 4pk)),   r = s − least.

*Two masses.* ν lies on an ellipse, d³ν/2E = ds_W ds_t dφ/(8 √G) (`solutions.ellipse`). φ follows a table of
missing p_T's response along it, made for each point: in single precision, for it is a proposal and no result.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtri

from deepmem.kinematics import FourVector, Scalar, add
from deepmem.physics.phasespace import solutions
from deepmem.physics.phasespace.composed.chain import Chain
from deepmem.physics.phasespace.composed.energies import Visibles
from deepmem.physics.phasespace.composed.masses import shape_of
from deepmem.physics.phasespace.composed.transverse import across, scale_of
from deepmem.physics.phasespace.composition import Composition, Neutrino
from deepmem.physics.phasespace.expert import Proposal, by_branch
from deepmem.physics.phasespace.lines import Above
from deepmem.physics.phasespace.visible import Shared, Visible

# Of a single mass: the share that does not follow its shape, and where p_T leaves it out of reach.
_BROAD, _OUT_OF_REACH = 0.08, 0.95
CUBE = (2 * np.pi) ** 3
ANGLES = 32
"""Nodes of the table of φ."""
_GROUP = 4
# Nodes in one turn of a loop over them.
_UNROLLED = 16
# The response along the ellipse is taken for this much wider, and this part of φ is even.
_WIDER, _EVEN = 1.25, 0.08
_LARGEST_SQUARE = 60.0


class Unfinished(NamedTuple):
    """A point without its lost leg."""

    momenta: dict[int, FourVector]
    """By number, with an axis of branches where they differ."""
    density: Scalar
    """`[branches]`."""
    s: tuple[Scalar, ...]
    """Of the resonances that are left, the lost leg's last, GeV²."""


def whole_point(
    composition: Composition, before: Visibles, momenta: dict[int, FourVector], density: Scalar
) -> Proposal | Unfinished:
    """All legs, or all but the lost one."""
    if composition.lost is not None:
        return Unfinished(momenta, density, before.s)
    return Proposal(by_branch(*(momenta[leg.number] for leg in composition.tree.legs)), density)


def none(
    shared: Shared, event: Visible, u: jax.Array, before: Visibles, composition: Composition
) -> Proposal | Unfinished:
    """Where nothing escapes; with a recoil its response to all that is seen."""
    density = before.density
    if composition.missing == "recoil":
        total = add(*before.momenta.values())
        missing = shared.detector.transverse
        assert missing is not None
        # of −K_meas, which is to be the p_T of all legs but a lost one
        density = density * missing.density(
            (event.missing[0], event.missing[1]), (total[1], total[2]), event.activity
        )
    return whole_point(composition, before, before.momenta, jnp.atleast_1d(density))


def centre_of(event: Visible, before: Visibles, composition: Composition) -> tuple[Scalar, Scalar]:
    """The p_T that is measured, or balances, of all neutrinos that have no momentum yet."""
    momenta = before.momenta
    if composition.missing in ("exact", "response"):
        there = [momenta[each] for each in composition.tree.invisible if each in momenta]
        hidden = (0.0, 0.0) if before.hidden is None else before.hidden
        x, y = (event.missing[i] - sum((p[i + 1] for p in there), hidden[i]) for i in (0, 1))
        return x, y
    total = add(*momenta.values())
    if composition.missing == "balance":
        return -total[1], -total[2]
    return event.missing[0] - total[1], event.missing[1] - total[2]


def smeared(
    shared: Shared, event: Visible, u: jax.Array, pt: tuple[Scalar, Scalar], composition: Composition
) -> tuple[Scalar, Scalar]:
    """What is missing, drawn by its response, where it has one."""
    if composition.missing not in ("response", "recoil"):
        return pt
    sigma = shared.detector.transverse.sigma(event.activity)  # type: ignore[union-attr]
    place = composition.place_of_neutrino
    return pt[0] + sigma * ndtri(u[place]), pt[1] + sigma * ndtri(u[place + 1])


def of_mass(
    shared: Shared,
    u: jax.Array,
    composition: Composition,
    neutrino: Neutrino,
    lepton: tuple[FourVector, Scalar],
    pt: tuple[Scalar, Scalar],
    sign: Scalar,
) -> tuple[FourVector, Scalar]:
    """A neutrino of given p_T by the mass of its W and the sign of Δη, and (d³ν/2E)/((2π)³ d²k du).

    **Arguments:** `lepton`, its momentum and mass.
    """
    ((_, px, py, _), mass), (kx, ky) = lepton, pt
    of_lepton, size = jnp.sqrt(px**2 + py**2 + mass**2), jnp.sqrt(kx**2 + ky**2)
    least = mass**2 + 2 * (of_lepton * size - px * kx - py * ky)
    resonance = composition.tree.resonances[neutrino.masses[0]]
    line = Above(shape_of(shared.parameters, resonance.mass, resonance.width), _BROAD, _OUT_OF_REACH)
    rest = line.draw(u[composition.mass_variable(neutrino.masses[0])], least)
    momentum, slope = solutions.beside(lepton[0], of_lepton, pt, rest, sign)
    return momentum, 1 / (line.density(rest, least) * 2 * CUBE * slope)


def one_mass(
    shared: Shared, event: Visible, u: jax.Array, before: Visibles, composition: Composition
) -> Proposal | Unfinished:
    """The neutrino by p_T and the mass of its W, and energies that follow after it. Two branches."""
    neutrino, chain = composition.neutrino, Chain(composition, shared, event)
    assert neutrino is not None
    momenta, density = dict(before.momenta), before.density
    lepton, (kx, ky) = momenta[neutrino.lepton], centre_of(event, before, composition)
    if before.transverse is not None:
        scale, aim, missing = scale_of(composition, shared, lepton), (kx, ky), shared.detector.transverse
        assert missing is not None
        k, measure = before.transverse.k, before.transverse.density
        kx, ky = across(lepton, (scale * k[0], scale * k[1]))
        density = density * scale**2 * measure * missing.density(aim, (kx, ky), event.activity)
    else:
        kx, ky = smeared(shared, event, u, (kx, ky), composition)
    sign = jnp.array([1.0, -1.0])
    mass = event.legs.mass[chain.place[neutrino.lepton]]
    momenta[neutrino.leg], weight = of_mass(shared, u, composition, neutrino, (lepton, mass), (kx, ky), sign)
    density = density * weight
    for each, s in zip(composition.late, before.s, strict=composition.lost is None):
        solution = chain.solve(each, s, momenta)
        momenta[each.leg] = chain.momentum(each.leg, solution.energy)
        of_leg = chain.measure(each.leg, momenta[each.leg]) * chain.likelihood(each.leg, solution.energy)
        density = jnp.where(solution.valid, density * solution.slope * of_leg, 0.0)
    return whole_point(composition, before, momenta, jnp.broadcast_to(density, 2))


class Path(NamedTuple):
    """Where the neutrino can be, of a point."""

    visibles: Visibles
    ellipse: solutions.Ellipse
    centre: tuple[Scalar, Scalar]
    """Of missing p_T's response, GeV."""


def two_masses(
    shared: Shared, event: Visible, u: jax.Array, before: Visibles, composition: Composition
) -> Path:
    """The ellipse."""
    neutrino, momenta = composition.neutrino, before.momenta
    assert neutrino is not None
    others = add(*(momenta[number] for number in neutrino.others))
    path = solutions.ellipse(momenta[neutrino.lepton], others, before.s[0], before.s[1])
    centre = centre_of(event, before, composition)
    return Path(before, path, centre)


def _along(shared: Shared, event: Visible, path: solutions.Ellipse, centre: tuple[Scalar, Scalar]) -> Scalar:
    """The response at the nodes of an ellipse `[ANGLES]`: in a loop, which has one body to compile."""
    sigma = _WIDER * shared.detector.transverse.sigma(event.activity)  # type: ignore[union-attr]
    axes = []
    for i in (0, 1):
        of_axis = (path.centre[i + 1] - centre[i], path.cosine[i + 1], path.sine[i + 1])
        axes.append([(part / sigma).astype(np.float32) for part in of_axis])
    angles = 2 * np.pi * np.arange(ANGLES) / ANGLES

    def at(_: None, node: tuple[Scalar, Scalar]) -> tuple[None, Scalar]:
        cosine, sine = node
        away = [a + b * cosine + c * sine for a, b, c in axes]
        return None, near(away, [c * cosine - b * sine for _, b, c in axes])

    nodes = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    return lax.scan(at, None, nodes, unroll=_UNROLLED)[1]


def near(away: Sequence[Scalar], along: Sequence[Scalar], nodes: int = ANGLES) -> Scalar:
    """exp(−d²/2), its mean over the piece of an ellipse that a node stands for.

    The piece is straight. Of length 2h, it makes the bell wider along itself, 1 → 1 + h²/3, and lower.

    **Arguments:** `away`, d in units of the bell's σ; `along`, its derivative in φ.
    """
    square = away[0] ** 2 + away[1] ** 2
    slope = along[0] ** 2 + along[1] ** 2
    wider = 1 + np.float32((2 * np.pi / nodes) ** 2 / 12) * slope
    part = (away[0] * along[0] + away[1] * along[1]) ** 2 / jnp.maximum(slope, np.float32(1e-9))
    square = square - part * (1 - 1 / wider)
    return jnp.exp(-jnp.minimum(square, np.float32(_LARGEST_SQUARE)) / 2) / jnp.sqrt(wider)


def on_ellipse(
    shared: Shared,
    event: Visible,
    u: jax.Array,
    before: Path,
    composition: Composition,
) -> Proposal | Unfinished:
    """φ from the table, and the neutrino."""
    visibles, path, centre = before
    neutrino = composition.neutrino
    assert neutrino is not None
    heights = _along(shared, event, path, centre)
    phi, density = draw_angle(tuple(heights[i] for i in range(ANGLES)), u[composition.place_of_neutrino])
    momentum = path.at(jnp.cos(phi), jnp.sin(phi))
    missing = shared.detector.transverse
    assert missing is not None
    likelihood = missing.density(centre, (momentum[1], momentum[2]), event.activity)
    weight = visibles.density * likelihood / (8 * path.root_gram * CUBE * density)
    momenta = visibles.momenta | {neutrino.leg: momentum}
    weight = jnp.atleast_1d(jnp.where(path.exists, weight, 0.0))
    return whole_point(composition, visibles, momenta, weight)


def draw_angle(heights: tuple[Scalar, ...], u: Scalar) -> tuple[Scalar, Scalar]:
    """φ that follows heights at equidistant nodes, linear in between, and its density.

    In scalars: what is selected, first a group of cells and then one of them, needs no look-up.
    """
    floor = _EVEN * sum(heights) / ANGLES + np.float32(1e-30)
    nodes = [height + floor for height in (*heights, heights[0])]
    groups = [nodes[first : first + _GROUP + 1] for first in range(0, ANGLES, _GROUP)]
    areas = [(group[0] + group[-1]) / 2 + sum(group[1:-1]) for group in groups]
    exact = u * sum(areas).astype(float)
    at = exact.astype(np.float32)
    low, cell, chosen = _selected(at, areas, groups, 0 * at)
    rest = [[one, other] for one, other in pairwise(chosen)]
    low, within, (start, end) = _selected(at, [(one + other) / 2 for one, other in rest], rest, low)
    cell = (_GROUP * cell + within).astype(float)
    start, end = start.astype(float), end.astype(float)
    # within a cell h₀ y + (h₁ − h₀) y²/2 = part (h₀ + h₁)/2
    part = jnp.clip((exact - low) / ((start + end) / 2), 0.0, 1.0)
    root = jnp.sqrt(jnp.maximum(start**2 + (end**2 - start**2) * part, 0.0))
    y = part * (start + end) / (start + root)
    density = (start + (end - start) * y) / sum(areas).astype(float) * ANGLES / (2 * np.pi)
    return 2 * np.pi * (cell + y) / ANGLES, density


def _selected(
    at: Scalar, areas: Sequence[Scalar], values: Sequence[Sequence[Scalar]], upto: Scalar
) -> tuple[Scalar, Scalar, list[Scalar]]:
    """Of consecutive areas, from `upto` on, the one with `at`: where it begins, its number, and values."""
    low, number, chosen = upto, 0 * at, list(values[0])
    for n, (area, each) in enumerate(zip(areas, values, strict=True)):
        if n:
            here = at >= upto
            low, number = jnp.where(here, upto, low), jnp.where(here, np.float32(n), number)
            chosen = [jnp.where(here, new, old) for new, old in zip(each, chosen, strict=True)]
        upto = upto + area
    return low, number, chosen
