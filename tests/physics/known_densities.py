"""Measured events of a density that is known, and weights integrated over them: ∫ W dx = ⟨W/density⟩.

That is how statements 3 and 4 of the physics page are tested, here and, with smaller errors, by
`benchmarks/neutrinos.py`. For ⟨W/density⟩ to converge the events resemble leading-order ones: a kernel around
each of many. What both sides share is |M|², parton densities and responses; maps and integrals of weights are
in one of them alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import FourVector, Scalar, dot, from_pt_eta_phi_mass
from deepmem.physics.phasespace.bodies import from_rest_frame, kallen
from deepmem.physics.precision import double_precision
from deepmem.physics.theory.parameters import GEV_2_TO_PB, Parameters
from deepmem.physics.weights import engine
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.leading_order import Disc, Events, columns_of, draw_events
from deepmem.selection import Selection, mass

LEPTONS: dict[str, Any] = {"lepton_pt": 10, "lepton_eta": 2.5}
TOPS: dict[str, Any] = {"lepton_pt": 20, "lepton_eta": 2.5, "jet_pt": 25, "jet_eta": 2.5}
MB = Parameters().MB


class Found(NamedTuple):
    """∫ W dx in pb, and what it is to be, each with one standard deviation."""

    value: float
    error: float
    expected: float
    expected_error: float


def integral(process: str, met: str, points: int, seed: int, kernels: int = 20_000, **call: Any) -> Found:
    """Statement 3 (`balance`) or 4 (`event`), in the region R of `Kernels` within cuts.

    With the event's missing pT, that is uniform within a disc around what balances the visible particles, and
    the result is over the disc's area. **Arguments:** `points`, of which those in R have their weights
    computed; `kernels`, how many leading-order events; `call`, for `engine.compute`.
    """
    kind = Tops if process == "ttbar_2l" else Leptons
    cuts, recoil, balance = kind.cuts, Disc(kind.recoil), met == "balance"
    if not balance:
        cuts = cuts | {"recoil_pt": [0, kind.measured_recoil]}
    events = draw_events(process, kernels, seed, cuts, recoil=0.0 if balance else recoil)
    rng = np.random.default_rng(seed)
    known = kind(events, rng)
    momenta = known.draw(rng, points)
    density = known.density(momenta)
    missing = -momenta[:, :, 1:3].sum(axis=1)
    if not balance:
        size, angle = kind.measured_recoil * np.sqrt(rng.random(points)), 2 * np.pi * rng.random(points)
        missing += (size * np.stack([np.cos(angle), np.sin(angle)])).T
    inside = Selection.of(cuts).passes(momenta, known.codes, missing) & known.contains(momenta, density)
    columns = columns_of(momenta[inside], known.codes, missing[inside])
    (found,) = engine.compute(hypothesis(process, met=met), columns, **call).values()
    ratio = np.zeros(points)
    ratio[inside] = GEV_2_TO_PB * found.value / density[inside]
    expected = events.visible * known.share
    if not balance:
        expected *= recoil.area / Disc(kind.measured_recoil).area
    error = np.hypot(events.visible_error / events.visible, known.share_error / known.share)
    return Found(ratio.mean(), ratio.std() / np.sqrt(points), expected, expected * error)


class Kernels:
    """A density that is the mean over kernels, one or more for each of many leading-order events.

    It is in (E, θ, φ) of each visible particle, and may be far too small where kernels are few. There a single
    point would count for a lot, so what a tenth of leading-order events, others than those, have the least
    density in (ln pT, η, φ) for is left out of the region that is integrated over.
    """

    codes: tuple[int, ...]
    """Of the visible particles."""
    legs: list[int]
    """Where the process has them."""
    cuts: dict[str, Any]
    measured_recoil: float
    """The largest |Σp_T| of all that is measured, where missing pT is the event's, in GeV."""
    recoil: float
    """The largest true one, larger by what responses do: of tt̄ measured below 20 GeV a tenth has more than 30."""

    def __init__(self, events: Events, rng: np.random.Generator):
        judges = len(events) // 10
        self.kernels = self._made(events.true[judges:], rng)
        momenta, weights = events.measured[:judges, self.legs], events.weight[:judges]
        height = _even(momenta, self.density(momenta))
        self.floor = np.quantile(height, 0.1)
        above = height >= self.floor
        self.share = np.average(above, weights=weights)
        self.share_error = np.sqrt((weights**2 * (above - self.share) ** 2).sum()) / weights.sum()

    def _made(self, true: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        raise NotImplementedError

    @staticmethod
    def _kernel(kernel: tuple[Scalar, ...], legs: list[FourVector]) -> Scalar:
        raise NotImplementedError

    def density(self, momenta: np.ndarray) -> np.ndarray:
        """At measured momenta `[points, legs, 4]`."""
        with double_precision():
            return np.asarray(_mean(self._kernel, self.kernels, momenta))

    def contains(self, momenta: np.ndarray, density: np.ndarray) -> np.ndarray:
        return _even(momenta, density) >= self.floor


@partial(jax.jit, static_argnums=0)
def _mean(kernel: Callable[..., Scalar], kernels: tuple[jax.Array, ...], momenta: jax.Array) -> jax.Array:
    def one(p: jax.Array) -> jax.Array:
        legs = [tuple(leg) for leg in p]
        return jax.vmap(lambda *k: kernel(k, legs))(*kernels).mean()

    return jax.lax.map(one, momenta)


def _even(momenta: np.ndarray, density: np.ndarray) -> np.ndarray:
    """The density in (ln pT, η, φ): dE dθ = |p|/E dpT dη."""
    p = np.sqrt((momenta[..., 1:] ** 2).sum(axis=-1))
    return density * (np.hypot(momenta[..., 1], momenta[..., 2]) * p / momenta[..., 0]).prod(axis=1)


def _bell(x: Scalar, width: Scalar) -> Scalar:
    """Student's t with 3 degrees of freedom: its long tails keep W/density from being large."""
    return 2 / (np.pi * np.sqrt(3) * width) / (1 + (x / width) ** 2 / 3) ** 2


class Leptons(Kernels):
    """ℓ⁺ and ℓ⁻: in ln pT and η of both, and in the angle between them, a wrapped Cauchy distribution."""

    codes, legs, cuts = (-11, 13), [0, 2], LEPTONS
    measured_recoil, recoil = 20.0, 40.0
    widths = np.array([0.25, 0.4, 0.25, 0.4])
    turn = 0.4

    def _made(self, true: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        (*one, phi), (*two, other) = (_polar(np.moveaxis(true[:, leg], -1, 0)) for leg in self.legs)
        return *one, *two, other - phi

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        chosen = rng.integers(len(self.kernels[0]), size=count)
        *lines, between = (part[chosen] for part in self.kernels)
        pt, eta, pt2, eta2 = (
            x + width * rng.standard_t(3, count) for x, width in zip(lines, self.widths, strict=True)
        )
        phi = rng.uniform(-np.pi, np.pi, count)
        phi2 = phi + between + self.turn * rng.standard_cauchy(count)
        legs = (np.exp(pt), eta, phi), (np.exp(pt2), eta2, phi2)
        return np.stack([np.stack(from_pt_eta_phi_mass(*leg), axis=-1) for leg in legs], axis=1)

    @classmethod
    def _kernel(cls, kernel: tuple[Scalar, ...], legs: list[FourVector]) -> Scalar:
        (*one, phi), (*two, other) = map(_polar, legs)
        *lines, between = kernel
        density = np.sinh(cls.turn) / (np.cosh(cls.turn) - jnp.cos(other - phi - between)) / (2 * np.pi) ** 2
        for x, line, width in zip((*one, *two), lines, cls.widths, strict=True):
            density = density * _bell(x - line, width)
        # dE dθ = dpT dη
        return density / jnp.exp(one[0] + two[0])


def _polar(p: FourVector) -> tuple[Scalar, Scalar, Scalar]:
    """ln pT, η, φ."""
    pt = jnp.hypot(p[1], p[2])
    return jnp.log(pt), jnp.arcsinh(p[3] / pt), jnp.arctan2(p[2], p[1])


class Tops(Kernels):
    """Tops and what they decay to: in the top's rest frame the b quark has any direction and a momentum that is
    nearly right, and so has the lepton in the rest frame of the W. Either jet is the b quark's.

    Tops are those of leading-order events, each several times: turned, stretched, and boosted along the beam.
    """

    codes, legs, cuts = (-11, 5, 13, -5), [0, 2, 3, 5], TOPS
    measured_recoil, recoil = 30.0, 90.0
    width = 0.2
    copies, stretch, rapidity = 4, 0.4, 0.6

    def _made(self, true: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Of both sides: the top's momentum, its mass, and that of the W."""
        true = np.tile(true, (self.copies, 1, 1))
        count = len(true)
        turn, stretch, boost = (
            rng.uniform(0, 2 * np.pi, count),
            np.exp(self.stretch * rng.standard_normal(count)),
            self.rapidity * rng.standard_normal(count),
        )
        cos, sin, cosh, sinh = np.cos(turn), np.sin(turn), np.cosh(boost), np.sinh(boost)
        sides: list[np.ndarray] = []
        for first in (0, 3):
            w = mass(true[:, first : first + 2].sum(axis=1))
            top = true[:, first : first + 3].sum(axis=1)
            m = mass(top)
            x, y, z = stretch * top[:, 1:].T
            e = np.sqrt(m**2 + x**2 + y**2 + z**2)
            sides += [cosh * e + sinh * z, cos * x - sin * y, sin * x + cos * y, cosh * z + sinh * e, m, w]
        return tuple(sides)

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        chosen = rng.integers(len(self.kernels[0]), size=count)
        legs: list[FourVector] = []
        for side in (self.kernels[:6], self.kernels[6:]):
            *top, m, w = (part[chosen] for part in side)
            right = np.sqrt(kallen(m**2, w**2, MB**2)) / (2 * m)
            towards, size = _directions(rng, count), right * np.exp(self.width * rng.standard_t(3, count))
            quark = from_rest_frame((np.hypot(size, MB), *(size * towards)), tuple(top), m)
            of_w = from_rest_frame((np.hypot(right, w), *(-right * towards)), tuple(top), m)
            energy = w / 2 * np.exp(self.width * rng.standard_t(3, count))
            legs += [from_rest_frame((energy, *(energy * _directions(rng, count))), of_w, w), quark]
        return np.stack([np.stack(leg, axis=-1) for leg in legs], axis=1)

    @classmethod
    def _kernel(cls, kernel: tuple[Scalar, ...], legs: list[FourVector]) -> Scalar:
        plus, quark, minus, antiquark = legs
        one, other = kernel[:6], kernel[6:]
        straight = cls._side(one, plus, quark) * cls._side(other, minus, antiquark)
        crossed = cls._side(one, plus, antiquark) * cls._side(other, minus, quark)
        return (straight + crossed) / 2

    @classmethod
    def _side(cls, side: tuple[Scalar, ...], lepton: FourVector, quark: FourVector) -> Scalar:
        """Both densities follow from products of momenta; d³p = |p|² sinθ dp dθ dφ = E pT dE dθ dφ."""
        *top, m, w = side
        right = jnp.sqrt(kallen(m**2, w**2, MB**2)) / (2 * m)
        e, e_quark = dot(lepton, tuple(top)) / m, dot(quark, tuple(top)) / m
        size = jnp.sqrt(e_quark**2 - MB**2)
        along = (e * e_quark - dot(lepton, quark)) / size
        # in the rest frame of the W, which has the momentum `right` against the b quark
        e = (jnp.hypot(right, w) * e + right * along) / w
        of_quark = _bell(jnp.log(size / right), cls.width) * e_quark / (4 * np.pi * size**3)
        of_lepton = _bell(jnp.log(2 * e / w), cls.width) / (4 * np.pi * e**2)
        return of_quark * of_lepton * jnp.hypot(quark[1], quark[2]) * jnp.hypot(lepton[1], lepton[2])


def _directions(rng: np.random.Generator, count: int) -> np.ndarray:
    """Unit vectors `[3, count]`."""
    vectors = rng.standard_normal((3, count))
    return vectors / np.sqrt((vectors**2).sum(axis=0))
