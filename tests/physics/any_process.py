"""Processes from reactions, events that they make, and weights by plans: for tests of composed maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jax.scipy.stats import norm

from deepmem.event import Status
from deepmem.kinematics import add
from deepmem.physics.detector.detector import ByEta
from deepmem.physics.detector.entries import detector
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.integrals.groups import Groups
from deepmem.physics.integrals.integral import Integral
from deepmem.physics.integrals.integrand import Staged
from deepmem.physics.integrals.lattice import Lattice
from deepmem.physics.phasespace.composition import Composition
from deepmem.physics.phasespace.expert import Proposal, by_branch
from deepmem.physics.phasespace.lines import Power
from deepmem.physics.phasespace.seen import Seen
from deepmem.physics.phasespace.trees import Resonance, decay_tree
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.precision import double_precision
from deepmem.physics.processes.base import DEFAULT_DENSITY, Process
from deepmem.physics.processes.generated import Generated
from deepmem.physics.reactions import Theory, read
from deepmem.physics.theory.parameters import Parameters
from deepmem.physics.weights.composed import composition_of, exchanged
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.integrand import of_escaping
from deepmem.physics.weights.partonic import Partonic, shared_by_events
from deepmem.physics.weights.plan import Plan, plan_for, rank
from deepmem.physics.weights.preparation import prepare
from deepmem.physics.weights.visible import Measured

_RAPIDITIES = 1.6
"""How wide a neutrino's rapidity is drawn around its lepton's."""
CLASSES = {11: "lepton", 13: "lepton", 5: "bjet", 12: "invisible", 14: "invisible"}
TWO_LEPTONS = "(t > w+ b, w+ > mu+ vm), (t~ > w- b~, w- > e- ve~)"
TTBAR = "t t~, (t > w+ b, w+ > mu+ vm), (t~ > w- b~, w- > d u~)"
REACTIONS = {
    "zh": "p p > z h, z > mu+ mu-, h > b b~",
    "wh": "p p > w+ h, w+ > mu+ vm, h > b b~",
    "tt": f"p p > {TTBAR}",
    "gg_tt": f"g g > {TTBAR}",
    "tth": "g g > t t~ h, (t > w+ b, w+ > mu+ vm), (t~ > w- b~, w- > d u~), h > b b~",
    "tth_2l": f"u u~ > t t~ h, {TWO_LEPTONS}, h > b b~",
    "ttg_2l": f"u u~ > t t~ g, {TWO_LEPTONS}",
    "twb_2l": "u u~ > t w- b~, (t > w+ b, w+ > mu+ vm), w- > e- ve~",
    "hjj": "u d > h u d QCD=0, h > e+ e- mu+ mu-",
    "wwj": "u u~ > w+ w- g, w+ > mu+ vm, w- > e- ve~",
}


@cache
def process(reaction: str, scale: float = 125.0) -> Process:
    """The process of a reaction, its legs in the order in which they are written."""
    found = read(reaction)
    channels = []
    for channel in found.channels:
        for turned in (False, True):
            states = tuple(m.subprocess.incoming for m in channel.members if m.turned == turned)
            if states:
                channels.append(states)
    outgoing = found.channels[0].members[0].subprocess.outgoing
    return Process(
        name="any",
        title=reaction,
        reference="",
        outgoing=outgoing,
        classes=tuple(CLASSES.get(abs(code), "jet") for code in outgoing),  # type: ignore[misc]
        columns=(),
        parameters=(),
        channels=tuple(channels),
        matrix_elements=Generated(reaction, tuple(each[0] for each in channels), Theory()),
        scale=scale,
        dimensions=0,
    )


def hypothesis(
    reaction: str, responses: Mapping[str, Any], met: str = "event", scale: float = 125.0, **parameters: float
) -> Hypothesis:
    """A hypothesis without the checks of a user's."""
    chosen = process(reaction, scale)
    seen = detector(dict(responses), tuple(dict.fromkeys(chosen.visible_classes)), True).used_by(met)
    p = Parameters()._replace(**parameters)
    return Hypothesis(chosen, p, (), scale, DEFAULT_DENSITY, 4, None, seen, False, met)


def composition(alpha: Hypothesis) -> Composition:
    found = composition_of(alpha)
    assert isinstance(found, Composition)
    return found


def plan(alpha: Hypothesis, permutations: Sequence[Sequence[int]] | None = None) -> Plan:
    """The plan of a hypothesis, with assignments of legs."""
    found = plan_for(alpha)
    return found if permutations is None else replace(found, permutations=tuple(map(tuple, permutations)))


def estimate(
    alpha: Hypothesis, chosen: Plan, measured: Measured, precision: float = 0.01, seed: int = 0
) -> Estimate:
    """What `engine.compute` does with a plan: the mean over its permutations."""
    shared = shared_by_events(alpha)
    events = prepare(alpha, chosen, shared, measured)
    f = chosen.integrand(Partonic.of(alpha), False)
    rows, minimum = chosen.tried(f, shared, events)
    together = len(chosen.permutations)
    groups = Groups.of_size(together, measured.size)
    parts = np.tile([rank(order) for order in chosen.permutations], measured.size)
    integral = Integral(f, shared, rows, chosen.dimensions, groups.event, parts, minimum, 1, groups=groups)
    found = chosen.rule.integrate(integral, Accuracy(precision, seed=seed))
    if together == 1:
        return found
    value, error = groups.sum(found.value) / together, np.sqrt(groups.sum(found.error**2)) / together
    good = (error <= precision * np.abs(value))[:, 0]
    status = np.where(good, Status.GOOD, Status.PRECISION).astype(np.int32)
    return Estimate(value, error, status, groups.sum(found.evaluations))


class Truth(NamedTuple):
    """Events of a tree, made here: isotropic decays of masses at their poles, and what a detector sees."""

    measured: Measured
    recoil: Measured
    """The same, with −K_meas in place of missing p_T."""
    momenta: np.ndarray
    """Of all legs `[events, legs, 4]`, GeV."""


def _two_body(rng: np.random.Generator, parent: np.ndarray, mass: float, first: float, second: float) -> Any:
    """Momenta of an isotropic decay of `parent` `[4]` of a mass into two."""
    size = np.sqrt((mass**2 - (first + second) ** 2) * (mass**2 - (first - second) ** 2)) / (2 * mass)
    axis = rng.standard_normal(3)
    axis *= size / np.linalg.norm(axis)
    both = []
    for m, sign in ((first, 1), (second, -1)):
        energy = np.hypot(m, size)
        along = parent[1:] @ axis * sign
        spatial = sign * axis + parent[1:] * (along / (mass * (parent[0] + mass)) + energy / mass)
        both.append(np.array([(parent[0] * energy + along) / mass, *spatial]))
    return both


@jax.jit
def _measured(response: ByEta, energy: np.ndarray, u: np.ndarray) -> jax.Array:
    return response.at(0.0).draw(energy, u)


def truth(alpha: Hypothesis, events: int, seed: int = 1, noise: float = 15.0) -> Truth:
    """Each child of the tree has a p_T of about its mass; what decays is at its pole."""
    rng, tree = np.random.default_rng(seed), decay_tree(alpha.process)
    assert tree is not None
    p = alpha.parameters

    def mass_of(child: Any) -> float:
        if isinstance(child, Resonance):
            return 80.419 if child.mass == "MW" else float(p.get(child.mass))
        return float(p.MB) if child.kind == "bjet" else 0.0

    def decay(child: Any, momentum: np.ndarray, out: np.ndarray) -> None:
        if not isinstance(child, Resonance):
            out[child.number] = momentum
            return
        split(child.children, mass_of(child), momentum, out)

    def split(children: Sequence[Any], mass: float, momentum: np.ndarray, out: np.ndarray) -> None:
        """Into the first one and the others; more than one of these have their part of the mass."""
        first, *others = children
        alone = len(others) == 1
        rest = mass_of(others[0]) if alone else mass * len(others) / len(children)
        p, q = _two_body(rng, momentum, mass, mass_of(first), rest)
        decay(first, p, out)
        if alone:
            decay(others[0], q, out)
        else:
            split(others, rest, q, out)

    momenta = np.zeros((events, len(tree.legs), 4))
    for row in momenta:
        sides = rng.normal(0, 60, (len(tree.children), 3))
        sides -= sides.mean(axis=0)
        for child, side in zip(tree.children, sides + rng.normal(0, 8, 3), strict=True):
            decay(child, np.array([np.sqrt(mass_of(child) ** 2 + side @ side), *side]), row)
    visible = list(tree.visible)
    kinds = [tree.legs[i].kind for i in visible]
    true, mass = momenta[:, visible], np.array([mass_of(tree.legs[i]) for i in visible])
    size = np.linalg.norm(true[..., 1:], axis=-1)
    eta, phi = np.arctanh(true[..., 3] / size), np.arctan2(true[..., 2], true[..., 1])
    u = rng.random(eta.shape)
    with double_precision():
        energy = np.stack(
            [
                np.asarray(_measured(alpha.detector.by_class[kind], true[:, i, 0], u[:, i]))
                for i, kind in enumerate(kinds)
            ],
            axis=1,
        )
    energy = np.maximum(energy, mass + 1)
    pt = np.sqrt(energy**2 - mass**2) / np.cosh(eta)
    total = momenta[:, :, 1:3].sum(axis=1) + rng.normal(0, noise, (events, 2))
    missing = momenta[:, list(tree.invisible), 1:3].sum(axis=1) + rng.normal(0, noise, (events, 2))
    measured = Measured(energy, eta, phi, np.broadcast_to(mass, eta.shape), missing, pt.sum(axis=1))
    return Truth(measured, measured._replace(missing=total), momenta)


def all_drawn(alpha: Hypothesis) -> Plan:
    """A plan that maps no mass: energies by their responses, a neutrino by missing p_T's and a wide rapidity."""
    drawn = partial(_all_drawn, composition=composition(alpha))
    return replace(plan(alpha), integrand=drawn, trials=(), rule=Lattice(minimum=1 << 13, calls=1 << 20))


def _all_drawn(partonic: Partonic, neutrinos: bool, composition: Composition) -> Staged:
    averaged = replace(partonic, process=exchanged(partonic.process, composition.orders()))
    return of_escaping(averaged, (partial(_drawn, composition=composition),), neutrinos)


def _drawn(shared: Shared, event: Visible, u: jax.Array, _: None, composition: Composition) -> Proposal:
    tree = composition.tree
    seen = Seen(shared, event, tuple(tree.legs[i].kind for i in tree.visible))
    momenta, density = seen.draw_all(u)
    legs = dict(zip(tree.visible, momenta, strict=True))
    missing, total = shared.detector.transverse, add(*momenta)
    if composition.neutrino is None:
        if composition.missing == "recoil":
            density = density * missing.density(tuple(event.missing), (total[1], total[2]), event.activity)
    else:
        kx, ky = event.missing[0], event.missing[1]
        if composition.missing == "recoil":
            kx, ky = kx - total[1], ky - total[2]
        if composition.first is not None:
            free = u[-4:-1] if missing is None else u[-6:-3]
            legs[composition.first.leg], measure = _anywhere(legs[composition.first.lepton], free)
            density = density * measure
            kx, ky = kx - legs[composition.first.leg][1], ky - legs[composition.first.leg][2]
        if missing is not None:
            sigma = missing.sigma(event.activity)
            kx, ky = kx + sigma * ndtri(u[-3]), ky + sigma * ndtri(u[-2])
        lepton = legs[composition.neutrino.lepton]
        legs[composition.neutrino.leg], measure = _of_pt(lepton, (kx, ky), u[-1])
        density = density * measure
    return Proposal(by_branch(*(legs[i] for i in range(len(tree.legs)))), jnp.atleast_1d(density))


def _of_pt(lepton: Any, pt: tuple[Any, Any], u: jax.Array) -> tuple[Any, Any]:
    """A neutrino of a p_T and a wide rapidity about its lepton's, and (d³ν/2E)/((2π)³ d²p_T du)."""
    z, size = ndtri(u), jnp.hypot(*pt)
    eta = jnp.arcsinh(lepton[3] / jnp.hypot(lepton[1], lepton[2])) + _RAPIDITIES * z
    measure = _RAPIDITIES / jnp.exp(norm.logpdf(z)) / (2 * (2 * jnp.pi) ** 3)
    return (size * jnp.cosh(eta), *pt, size * jnp.sinh(eta)), measure


def _anywhere(lepton: Any, u: jax.Array) -> tuple[Any, Any]:
    """A neutrino of any p_T, and (d³ν/2E)/((2π)³ d³u)."""
    line, phi = Power(2.0, 40.0), 2 * jnp.pi * u[0]
    size = line.draw(u[1], 0.0, jnp.inf)
    momentum, measure = _of_pt(lepton, (size * jnp.cos(phi), size * jnp.sin(phi)), u[2])
    return momentum, measure * 2 * jnp.pi * size / line.density(size, 0.0, jnp.inf)


def broad(rec: jax.Array, gen: jax.Array) -> jax.Array:
    """A response of a user's own: a parabola between 0.4 and 1.6 of E_gen, 1/GeV."""
    return 0.75 / (0.6 * gen) * (1 - ((rec / gen - 1) / 0.6) ** 2)
