"""The last steps of a composed map where a leg is lost: all that is known of it is that no jet was seen.

    d³p/2E = ds ds' dφ/(8 √G) = |p| (dE/ds)/(2 cosh²η) ds dη dφ = p_T |p|/(2E) dp_T dη dφ,

with two masses an ellipse, with one its energy in a direction, with none as it is; times

    P_lost = 1 − (1 − loss) P(measured p_T > least | p) [|η| < largest],

0 near a jet or a lepton. What is drawn last, φ, η or p_T, follows a table of P_lost times the measure, made
for each point in single precision: it is a proposal and no result.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import FourVector, Scalar, add, dot
from deepmem.physics.phasespace import solutions
from deepmem.physics.phasespace.composed.chain import Chain
from deepmem.physics.phasespace.composed.neutrinos import ANGLES, Unfinished, draw_angle
from deepmem.physics.phasespace.composition import Composition, Lost
from deepmem.physics.phasespace.expert import Proposal, by_branch
from deepmem.physics.phasespace.visible import Shared, Visible

_CUBE = (2 * np.pi) ** 3
# η = c artanh t, t even in (−1, 1) or at equidistant nodes; and how near to an end t may be.
_SPREAD, _EDGE = 2.5, 1e-12
# How many times the response is as wide in a table, and how wide it is there at least, relative to p_T.
_WIDER, _NARROWEST = 1.25, 0.02
# Where p_T of a leg of no resonance begins to fall, GeV.
_FALLING = 60.0
_LOGISTIC = 1.702
"""1/(1 + exp(−1.702 z)) is within 0.01 of the normal distribution's integral."""


class Path(NamedTuple):
    """What is drawn of a point but for the last number."""

    before: Unfinished
    ellipse: solutions.Ellipse | None
    phi: Scalar
    eta: Scalar


class _Edge(NamedTuple):
    """Where jets are lost, for tables."""

    loss: Scalar
    pt: Scalar
    slope: Scalar
    """By which P_lost falls at `pt`, GeV⁻¹."""
    eta: Scalar

    @classmethod
    def of(cls, shared: Shared, kind: str) -> _Edge:
        acceptance = shared.acceptance
        assert acceptance is not None
        response, at = shared.detector.by_class[kind].responses[0], 2 * acceptance.pt
        width = _WIDER * response.scale(at) / at
        slope = _LOGISTIC / (jnp.maximum(width, _NARROWEST) * acceptance.pt)
        numbers = (acceptance.loss, acceptance.pt, slope, acceptance.eta)
        return cls(*(jnp.asarray(each).astype(np.float32) for each in numbers))

    def height(self, pt: Scalar, central: Scalar) -> Scalar:
        """About P_lost."""
        seen = 1 / (1 + jnp.exp(jnp.clip(-self.slope * (pt - self.pt), -60.0, 60.0)))
        return 1 - (1 - self.loss) * jnp.where(central, seen, np.float32(0.0))


def path(
    shared: Shared, event: Visible, u: jax.Array, before: Unfinished, composition: Composition
) -> tuple[Path, tuple[Scalar, ...]]:
    """The numbers before the last one, and the table that it follows."""
    lost = composition.lost
    assert lost is not None
    edge = _Edge.of(shared, composition.tree.legs[lost.leg].kind)
    first = len(composition.drawn) + len(composition.neutrino_variables)
    others = [add(*(before.momenta[number] for number in group)) for group in lost.others]
    if len(lost.masses) == 2:
        ellipse = solutions.ellipse(*others, *before.s[-2:])
        zero = jnp.zeros(())
        return Path(before, ellipse, zero, zero), _on_ellipse(edge, ellipse)
    phi = 2 * jnp.pi * u[first]
    if lost.masses:
        mass = event.legs.mass[composition.tree.visible.index(lost.leg)]
        k = (before.s[-1] - dot(others[0], others[0]) - mass**2) / 2
        return Path(before, None, phi, jnp.zeros(())), _in_directions(edge, others[0], k, phi)
    eta = _SPREAD * jnp.arctanh(jnp.clip(2 * u[first + 1] - 1, _EDGE - 1, 1 - _EDGE))
    return Path(before, None, phi, eta), _by_size(edge, eta)


def _on_ellipse(edge: _Edge, ellipse: solutions.Ellipse) -> tuple[Scalar, ...]:
    """P_lost at nodes of φ."""
    axes = [
        [part[i].astype(np.float32) for part in (ellipse.centre, ellipse.cosine, ellipse.sine)]
        for i in (1, 2, 3)
    ]
    steep, heights = jnp.sinh(edge.eta), []
    for angle in 2 * np.pi * np.arange(ANGLES) / ANGLES:
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        x, y, z = (a + b * cosine + c * sine for a, b, c in axes)
        pt = jnp.sqrt(x**2 + y**2)
        heights.append(edge.height(pt, jnp.abs(z) < pt * steep))
    return tuple(heights)


def _in_directions(edge: _Edge, others: FourVector, k: Scalar, phi: Scalar) -> tuple[Scalar, ...]:
    """P_lost p_T² dη/dt at nodes of t, with p_T = K/(E cosh η − p_z sinh η − p_φ) of a massless leg."""
    energy, along, z, k = (
        jnp.asarray(each).astype(np.float32)
        for each in (others[0], others[1] * jnp.cos(phi) + others[2] * jnp.sin(phi), others[3], k)
    )
    none, heights = 0 * energy, []
    for t in 2 * np.arange(ANGLES) / ANGLES - 1:
        if abs(t) == 1:
            heights.append(none)
            continue
        eta = _SPREAD * np.arctanh(t)
        slow = energy * np.float32(np.cosh(eta)) - z * np.float32(np.sinh(eta)) - along
        pt = jnp.maximum(k, 0.0) / jnp.maximum(slow, np.float32(1e-3))
        height = edge.height(pt, np.float32(abs(eta)) < edge.eta)
        heights.append(height * (pt / edge.pt) ** 2 * np.float32(1 / (1 - t**2)))
    return tuple(heights)


def _by_size(edge: _Edge, eta: Scalar) -> tuple[Scalar, ...]:
    """P_lost p_T dp_T/dw/(1 + p_T²/c²)² at nodes of w, p_T = least · w/(1 − w)."""
    central, heights = jnp.abs(eta.astype(np.float32)) < edge.eta, []
    for w in np.arange(ANGLES) / ANGLES:
        pt = edge.pt * np.float32(w / (1 - w))
        falling = pt / (1 + (pt / np.float32(_FALLING)) ** 2) ** 2
        heights.append(edge.height(pt, central) * falling / edge.pt * np.float32((1 - w) ** -2))
    return tuple(heights)


def finished(
    shared: Shared,
    event: Visible,
    u: jax.Array,
    before: tuple[Path, tuple[Scalar, ...]],
    composition: Composition,
) -> Proposal:
    """The last number from the table, and the momentum of the lost leg."""
    here, heights = before
    lost = composition.lost
    assert lost is not None and shared.acceptance is not None
    number = len(composition.drawn) + len(composition.neutrino_variables) + len(composition.lost_variables)
    angle, density = draw_angle(heights, u[number - 1])
    if here.ellipse is not None:
        momentum = here.ellipse.at(jnp.cos(angle), jnp.sin(angle))
        measure = jnp.where(here.ellipse.exists, 1 / (8 * here.ellipse.root_gram), 0.0)
        eta = jnp.arcsinh(momentum[3] / jnp.sqrt(momentum[1] ** 2 + momentum[2] ** 2))
        phi = jnp.arctan2(momentum[2], momentum[1])
    elif lost.masses:
        phi, eta, slope = here.phi, *_eta_of(angle)
        momentum, measure = _at_mass(shared, event, here, eta, lost, composition)
        measure = 2 * jnp.pi * slope * measure
    else:
        phi, eta = here.phi, here.eta
        momentum, measure = _of_size(shared, event, angle, here, lost, composition)
        measure = 2 * jnp.pi * 2 * _SPREAD * jnp.cosh(eta / _SPREAD) ** 2 * measure
    whole = here.before.density * measure / (_CUBE * density)
    whole, energy, eta, phi = jnp.broadcast_arrays(*map(jnp.atleast_1d, (whole, momentum[0], eta, phi)))
    factor = jax.vmap(lambda *each: _unseen(shared, event, lost, composition, *each))(energy, eta, phi)
    momenta = here.before.momenta | {lost.leg: momentum}
    legs = by_branch(*(momenta[leg.number] for leg in composition.tree.legs))
    return Proposal(legs, jnp.where(whole > 0, whole * factor, 0.0))


def _eta_of(angle: Scalar) -> tuple[Scalar, Scalar]:
    """η at a place in the table, and its derivative there."""
    t = jnp.clip(angle / jnp.pi - 1, _EDGE - 1, 1 - _EDGE)
    return _SPREAD * jnp.arctanh(t), _SPREAD / (1 - t**2) / jnp.pi


def _at_mass(
    shared: Shared, event: Visible, here: Path, eta: Scalar, lost: Lost, composition: Composition
) -> tuple[FourVector, Scalar]:
    """The momentum in a direction by the mass of the resonance, and |p| (dE/ds)/(2 cosh²η)."""
    chain, cosh = Chain(composition, shared, event), jnp.cosh(eta)
    direction = jnp.cos(here.phi) / cosh, jnp.sin(here.phi) / cosh, jnp.tanh(eta)
    solution = chain.along(lost.leg, direction, lost.others[0], here.before.s[-1], here.before.momenta)
    size = chain.seen.size(chain.place[lost.leg], solution.energy)
    x, y, z = (size * each for each in direction)
    measure = jnp.where(solution.valid, size * solution.slope / (2 * cosh**2), 0.0)
    return (solution.energy, x, y, z), measure


def _of_size(
    shared: Shared, event: Visible, angle: Scalar, here: Path, lost: Lost, composition: Composition
) -> tuple[FourVector, Scalar]:
    """The momentum by p_T, and p_T |p|/(2E) dp_T/dangle."""
    assert shared.acceptance is not None
    rest = jnp.maximum(1 - angle / (2 * jnp.pi), _EDGE)
    pt = shared.acceptance.pt * (1 - rest) / rest
    slope = shared.acceptance.pt / rest**2 / (2 * jnp.pi)
    mass = event.legs.mass[composition.tree.visible.index(lost.leg)]
    size = pt * jnp.cosh(here.eta)
    energy = jnp.sqrt(size**2 + mass**2)
    momentum = energy, pt * jnp.cos(here.phi), pt * jnp.sin(here.phi), pt * jnp.sinh(here.eta)
    return momentum, pt * size / (2 * energy) * slope


def _unseen(
    shared: Shared,
    event: Visible,
    lost: Lost,
    composition: Composition,
    energy: Scalar,
    eta: Scalar,
    phi: Scalar,
) -> Scalar:
    """P_lost, and 0 near a jet or a lepton."""
    acceptance, tree, legs = shared.acceptance, composition.tree, event.legs
    assert acceptance is not None
    place = tree.visible.index(lost.leg)
    least = jnp.sqrt((acceptance.pt * jnp.cosh(eta)) ** 2 + legs.mass[place] ** 2)
    seen = shared.detector.by_class[tree.legs[lost.leg].kind].at(eta).above(least, energy)
    seen = jnp.where(jnp.abs(eta) < acceptance.eta, seen, 0.0)
    apart = jnp.asarray(True)
    for i, number in enumerate(tree.visible):
        if number != lost.leg and tree.legs[number].kind != "photon":
            turn = jnp.abs(jnp.mod(phi - legs.phi[i] + jnp.pi, 2 * jnp.pi) - jnp.pi)
            apart &= (eta - legs.eta[i]) ** 2 + turn**2 > acceptance.delta_r**2
    return jnp.where(apart, 1 - (1 - acceptance.loss) * seen, 0.0)
