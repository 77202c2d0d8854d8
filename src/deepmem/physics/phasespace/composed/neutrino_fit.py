"""What is likely of neutrinos below two resonances, W and t: their masses, and the energies of the quarks.

No fit has a minimum there, for the neutrino is somewhere on an ellipse or has none. So the likelihood

    L(s_W, s_t, E_b) = T(E_b) Σ_φ exp(−d²(φ)/2σ²)/√G

is looked at on nodes, with d from missing p_T to the ellipse, and σ that of missing p_T and of what it is
measured with. The mass of the W has what is left of it when that of the top, by its Breit–Wigner shape, and
E_b are summed over; that of the top has cells at each node of the W's. Of E_b the mean and the width follow
s_t: where a top on its pole leaves the neutrino no place, the quark has another energy or the top another
mass. Some nodes of s_t are the event's own: what a W on its pole and missing p_T say, for both solutions of
p_z, and around it. Of two neutrinos each has half of what is missing, within as much.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepmem.kinematics import FourVector, Scalar, add, dot
from deepmem.physics.phasespace import solutions
from deepmem.physics.phasespace.composed.chain import Chain
from deepmem.physics.phasespace.composed.masses import GIVEN, edges, shape_of
from deepmem.physics.phasespace.composition import Composition, Neutrino
from deepmem.physics.phasespace.lines import BreitWigner
from deepmem.physics.phasespace.visible import Shared, Visible

# Nodes of ln √s/m of the W and the top, and of the quark's energy in standard deviations.
_LOWEST, _STEP = -0.75, 0.15
_OF_W = _LOWEST + _STEP * np.arange(GIVEN)
NODES_OF_W = np.array([_LOWEST, _STEP])
"""The first node of ln √s_W/m, and the step."""
_OF_TOP = np.array(
    [-1.2, -0.6, -0.3, -0.15, -0.08, -0.04, 0.0, 0.04, 0.08, 0.15, 0.25, 0.4, 0.6, 0.85, 1.15, 1.5, 2.0]
)
_OF_ENERGY = np.linspace(-3.2, 3.2, 9)
# Of the top around each solution, in its standard deviations, which are at least and at most so large.
_AROUND, _NARROWEST, _WIDEST = np.linspace(-4.0, 4.0, 7), 0.02, 0.3
_ANGLES = 12
# How sharply all follows the likelihood; the part of cells that is even, and that follows the shape alone.
_TEMPER, _EVEN, _ALONE = 0.8, 0.03, 0.05
_LEAST_WIDTH = 0.5
# GeV, the least in which each of two neutrinos has another p_T than half of both.
_OF_ANOTHER = 50.0
# Of ln L, and of E₀/E.
_NEVER, _LEAST_INVERSE = -200.0, 0.15


class Measured(NamedTuple):
    """Of one event, what energies are likely."""

    energy: Scalar
    """Of the quark, GeV."""
    spread: Scalar
    """The standard deviation of its ln E."""
    relative: Scalar
    """Those of all visible legs."""


class Followed(NamedTuple):
    """How the energy of a quark follows the mass of its top, of one event."""

    nodes: Scalar
    """Of ln √s_t/m, rising `[nodes]`."""
    shift: Scalar
    """The mean of the quark's pull at these `[nodes]`, in standard deviations."""
    width: Scalar
    """And its width, in the same."""


class Likely(NamedTuple):
    """Of one event and neutrino."""

    of_w: Scalar
    """The shares of its cells `[scan, CELLS]`."""
    of_top: Scalar
    """And of those of the top at nodes of ln √s_W/m `[GIVEN, scan, CELLS]`."""
    quark: Followed


def looked_at(composition: Composition) -> tuple[Neutrino, ...]:
    """The neutrinos below two resonances, where nothing else escapes."""
    if composition.lost is not None or composition.taus:
        return ()
    both = composition.first, composition.neutrino
    return tuple(each for each in both if each is not None and len(each.masses) == 2)


def quark_of(composition: Composition, neutrino: Neutrino) -> int | None:
    """Which of the drawn energies is that of its quark; None if none is."""
    places = [composition.drawn.index(i) for i in neutrino.others if i in composition.drawn]
    return places[0] if places else None


class Side:
    """A neutrino, its lepton and the quark of one event.

    **Arguments:** `momenta` of visible legs, as the fit has them.
    """

    def __init__(
        self,
        composition: Composition,
        neutrino: Neutrino,
        shared: Shared,
        event: Visible,
        momenta: dict[int, FourVector],
        measured: Measured,
    ) -> None:
        self.composition, self.shared, self.neutrino = composition, shared, neutrino
        self.chain = Chain(composition, shared, event)
        self._recoil, self._event = composition.missing == "recoil", event
        self._momenta, self._measured = momenta, measured
        quark = quark_of(composition, neutrino)
        self.quark = None if quark is None else composition.drawn[quark]
        """The leg, where its energy is drawn."""
        missing = shared.detector.transverse
        self.variance = jnp.asarray(0.0) if missing is None else missing.sigma(event.activity) ** 2
        """Of the neutrino's p_T where missing p_T says it, and of what moves that, GeV²."""
        if self._recoil:
            # what the legs are measured with moves missing p_T, too
            others = [i for i in momenta if i != self.quark]
            moved = [
                measured.relative[self.chain.place[i]] ** 2 * (momenta[i][1] ** 2 + momenta[i][2] ** 2)
                for i in others
            ]
            self.variance = self.variance + sum(moved) / 2
        self._part = 1.0
        if composition.first is not None:
            _, _, (x, y) = self.at(jnp.asarray(0.0))
            self._part = 0.5
            self.variance = self.variance / 4 + jnp.maximum((x**2 + y**2) / 4, _OF_ANOTHER**2)

    def at(self, z: Scalar) -> tuple[FourVector, FourVector, list[Scalar]]:
        """The lepton, what is beside the W, and the p_T that is missing, at a pull of the quark's energy."""
        there = dict(self._momenta)
        if self.quark is not None:
            inverse = jnp.maximum(1 - self._measured.spread * z, _LEAST_INVERSE)
            there[self.quark] = self.chain.momentum(self.quark, self._measured.energy / inverse)
        aim = [self._event.missing[0], self._event.missing[1]]
        if self._recoil:
            total = add(*there.values())
            aim = [aim[0] - total[1], aim[1] - total[2]]
        aim = [self._part * each for each in aim]
        return there[self.neutrino.lepton], add(*(there[each] for each in self.neutrino.others)), aim

    def around_solutions(self, w: BreitWigner, top: BreitWigner) -> Scalar:
        """Nodes of ln √s_t/m around what missing p_T and a W on its pole say `[2 signs of Δη · 7]`."""
        mass = self._event.legs.mass[self.chain.place[self.neutrino.lepton]]

        def log(kx: Scalar, ky: Scalar, z: Scalar) -> Scalar:
            lepton, others, (x, y) = self.at(z)
            pt = x + kx, y + ky
            of_lepton = jnp.sqrt(lepton[1] ** 2 + lepton[2] ** 2 + mass**2)
            product = of_lepton * jnp.sqrt(pt[0] ** 2 + pt[1] ** 2) - lepton[1] * pt[0] - lepton[2] * pt[1]
            rest = jnp.maximum(w.mass**2 - mass**2 - 2 * product, 0.0)
            neutrino, _ = solutions.beside(lepton, of_lepton, pt, rest, jnp.array([1.0, -1.0]))
            total = add(lepton, neutrino, others)
            return 0.5 * jnp.log(jnp.maximum(dot(total, total), 1e-3)) - jnp.log(top.mass)

        sigma = jnp.sqrt(self.variance)
        # a loop over the middle and what is beside it has one body to compile
        steps = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)]) * jnp.stack([sigma, sigma, 1.0])
        logs = lax.map(lambda step: log(step[0], step[1], step[2]), steps)
        moved = (logs[1:4] - logs[4:]) / 2
        width = jnp.clip(jnp.sqrt((moved**2).sum(axis=0)), _NARROWEST, _WIDEST)
        return (logs[0][:, None] + _AROUND * width[:, None]).ravel()


def likely(side: Side) -> Likely:
    """What the nodes say."""
    composition, shared, shapes = side.composition, side.shared, []
    for place in side.neutrino.masses:
        resonance = composition.tree.resonances[place]
        shapes.append(shape_of(shared.parameters, resonance.mass, resonance.width))
    poles = [shape.of(0) for shape in shapes]
    tops = jnp.concatenate([jnp.asarray(_OF_TOP), side.around_solutions(*poles)])
    nodes = [jnp.asarray(_OF_W), jnp.sort(tops)]
    z = jnp.asarray(np.zeros(1) if side.quark is None else _OF_ENERGY)
    s_w, s_t = ((pole.mass * jnp.exp(each)) ** 2 for pole, each in zip(poles, nodes, strict=True))
    heights = _heights(side, (s_w, s_t, z))
    heights = _TEMPER * (heights - heights.max())
    of_shape = [jnp.log(_weights(pole, each)) for pole, each in zip(poles, nodes, strict=True)]
    of_energy = heights - z**2 / 2
    of_w = jax.nn.logsumexp(of_energy + of_shape[1][None, :, None], axis=(1, 2))
    with_w = of_energy + of_shape[0][:, None, None]
    of_top = jax.nn.logsumexp(with_w, axis=(0, 2))
    part = jnp.exp(jax.nn.logsumexp(with_w, axis=0) - of_top[:, None])
    mean = (part * z).sum(axis=1)
    variance = (part * z**2).sum(axis=1) - mean**2
    width = jnp.sqrt(jnp.clip(variance, _LEAST_WIDTH**2, 1.0))
    shares = [jax.vmap(partial(_shares, *each), in_axes=(0, None)) for each in zip(poles, nodes, strict=True)]
    at_w = jax.vmap(partial(shares[1], shapes[1]))(jax.nn.logsumexp(of_energy, axis=2))
    return Likely(shares[0](shapes[0], of_w), at_w, Followed(nodes[1], mean, width))


def _heights(side: Side, nodes: tuple[Scalar, Scalar, Scalar]) -> Scalar:
    """ln Σ_φ exp(−d²/2σ²)/√G `[W, top, energies]`."""

    def at(s_w: Scalar, s_t: Scalar, z: Scalar) -> Scalar:
        lepton, others, aim = side.at(z)
        path = solutions.ellipse(lepton, others, s_w, s_t)
        logs = _log_near(path, aim, side.variance)
        return jnp.where(path.exists, logs - jnp.log(path.root_gram), _NEVER)

    over_energies = jax.vmap(at, in_axes=(None, None, 0))
    over_tops = jax.vmap(over_energies, in_axes=(None, 0, None))
    # one mass of the W at a time, so that all of it stays in a processor's cache
    heights = lax.map(lambda s_w: over_tops(s_w, *nodes[1:]), nodes[0])
    return jnp.maximum(heights, heights.max() + _NEVER)


def _log_near(path: solutions.Ellipse, aim: list[Scalar], variance: Scalar) -> Scalar:
    """ln Σ_φ of a bell about what is aimed at; a node stands for a straight piece (`neutrinos.near`)."""
    scale = 1 / jnp.sqrt(variance)
    angle = 2 * np.pi * np.arange(_ANGLES) / _ANGLES
    c, s = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    away, along = [], []
    for i in (0, 1):
        centre, cosine, sine = (
            (part * scale).astype(np.float32)
            for part in (path.centre[i + 1] - aim[i], path.cosine[i + 1], path.sine[i + 1])
        )
        away.append(centre + c * cosine + s * sine)
        along.append(c * sine - s * cosine)
    slope = along[0] ** 2 + along[1] ** 2
    wider = 1 + np.float32((2 * np.pi / _ANGLES) ** 2 / 12) * slope
    part = (away[0] * along[0] + away[1] * along[1]) ** 2 / jnp.maximum(slope, np.float32(1e-9))
    square = away[0] ** 2 + away[1] ** 2 - part * (1 - 1 / wider) + jnp.log(wider)
    least = square.min()
    return (jnp.log(jnp.exp((least - square) / 2).sum()) - least / 2).astype(float)


def _weights(pole: BreitWigner, nodes: Scalar) -> Scalar:
    """What each node of ln √s/m stands for, of a Breit–Wigner shape."""
    between = (nodes[1:] + nodes[:-1]) / 2
    s = pole.mass**2 * jnp.exp(2 * between)
    theta = jnp.arctan((s - pole.mass**2) / (pole.mass * pole.width))
    ends = jnp.array([np.pi / 2])
    return jnp.diff(jnp.concatenate([-ends, theta, ends]))


def _shares(pole: BreitWigner, nodes: Scalar, shape: BreitWigner, log: Scalar) -> Scalar:
    """Of cells of one mass: the shape times what is left of the likelihood, linear in between nodes."""
    theta = edges(shape)
    middle = (theta[1:] + theta[:-1]) / 2
    s = shape.mass**2 + shape.mass * shape.width * jnp.tan(jnp.minimum(middle, np.pi / 2 - 1e-9))
    there = jnp.interp(0.5 * jnp.log(jnp.maximum(s, 1e-3) / pole.mass**2), nodes, log)
    alone = theta[1:] - theta[:-1]
    share = alone * jnp.exp(there - there.max())
    share = share / share.sum()
    return (1 - _EVEN - _ALONE) * share + _EVEN / len(share) + _ALONE * alone / alone.sum()
