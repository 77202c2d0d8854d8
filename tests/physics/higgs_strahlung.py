"""Events of pp → V(→ ℓℓ) H(→ b b̄) that a weight with recoil is the density of: for statement 5.

    dN ∝ Σ f f |M|² (2π)⁴ (2/s)/(2 x₁x₂s) Π d³p/(2E (2π)³),   |K| < the disc's radius,

with the prior of the recoil's response, and measured as its detector does. Points have a weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jax.scipy.stats import norm

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.detector.detector import Detector
from deepmem.physics.phasespace.bodies import decay, direction, volume
from deepmem.physics.phasespace.lines import BreitWigner
from deepmem.physics.phasespace.visible import Shared
from deepmem.physics.theory.parameters import electroweak
from deepmem.physics.weights.event_columns import columns_of
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.partonic import Partonic, shared_by_events

_PT, _RAPIDITY, _APART = 70.0, 1.3, 1.1
"""Of the proposal: the median p_T of V; how wide the mean rapidity of V and H is, and half their difference."""
VARIABLES = 18


@dataclass(frozen=True)
class Points:
    """What was drawn `[points]`."""

    weight: np.ndarray
    """0 where a selection or a response's support leaves it out."""
    measured: np.ndarray
    """`[points, legs, 4]`, GeV; what escapes as it is."""
    missing: np.ndarray
    """`[points, 2]`."""

    def events(self, alpha: Hypothesis, count: int, seed: int) -> dict[str, np.ndarray]:
        """Columns of events without weights, drawn among the points."""
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(self.weight), count, p=self.weight / self.weight.sum())
        return columns_of(self.measured[chosen], alpha.process.outgoing, self.missing[chosen])


def draw(alpha: Hypothesis, points: int, seed: int, radius: float, kept: float) -> Points:
    """Points with |K| < `radius`; those with a measured |K| below `kept`, and jets and leptons in the detector."""
    u = np.random.default_rng(seed).random((points, VARIABLES))
    with jax.enable_x64(True):
        shared, partonic = shared_by_events(alpha), Partonic.of(alpha)
        one = jax.jit(jax.vmap(partial(_point, partonic, alpha.process.outgoing), in_axes=(None, 0, None)))
        weight, measured, missing = map(np.asarray, one(shared, u, radius))
    seen = [i for i, kind in enumerate(alpha.process.classes) if kind != "invisible"]
    pt = np.hypot(measured[:, seen, 1], measured[:, seen, 2])
    eta = np.abs(np.arcsinh(measured[:, seen, 3] / np.maximum(pt, 1e-9)))
    recoil = np.hypot(*(measured[:, seen, 1:3].sum(axis=1) + missing).T)
    inside = (pt > 20).all(axis=1) & (eta < 2.7).all(axis=1) & (recoil < kept)
    return Points(np.where(inside, weight, 0.0), measured, missing)


def _point(
    partonic: Partonic, codes: tuple[int, ...], shared: Shared, u: jax.Array, radius: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The weight of a point, its measured legs `[legs, 4]`, and the missing (p_x, p_y)."""
    p, detector = jax.tree.map(lambda value: value[0], shared.parameters), shared.detector
    kinds = partonic.process.classes
    boson = BreitWigner(electroweak(p).MW, p.WW) if "invisible" in kinds else BreitWigner(p.MZ, p.WZ)
    masses = boson, BreitWigner(p.MH, p.WH)
    s = [shape.draw(v, 0.0, 400.0**2) for shape, v in zip(masses, u, strict=False)]
    measure = jnp.asarray(1.0)
    for shape, each in zip(masses, s, strict=True):
        measure = measure / shape.density(each, 0.0, 400.0**2) / (2 * np.pi)
    size = _PT * jnp.sqrt(u[2] / (1 - u[2]))
    # d²p_T of a spectrum (p_T² + m²)⁻²
    turn, measure = 2 * np.pi * u[3], measure * np.pi * (size**2 + _PT**2) ** 2 / _PT**2
    # and d²K of one that is the prior's, or almost even in the disc
    median = 10 * radius if detector.recoil is None else jnp.minimum(detector.recoil.K0, 10 * radius)
    share = radius**2 / (radius**2 + median**2)
    angle, k = 2 * np.pi * u[4], median * jnp.sqrt(u[5] * share / (1 - u[5] * share))
    measure = measure * np.pi * (k**2 + median**2) ** 2 / median**2 * share
    x, y = ndtri(u[6]), ndtri(u[7])
    # dy_V dy_H = 2 d(mean) d(half the difference)
    measure = measure * 2 * _RAPIDITY * _APART / jnp.exp(norm.logpdf(x) + norm.logpdf(y))
    middle, apart = _RAPIDITY * x, _APART * y
    kick = k * jnp.cos(angle), k * jnp.sin(angle)
    px, py = size * jnp.cos(turn), size * jnp.sin(turn)
    parents = []
    for (qx, qy), at, each in zip(
        ((px, py), (kick[0] - px, kick[1] - py)), (middle + apart, middle - apart), s, strict=True
    ):
        across = jnp.sqrt(each + qx**2 + qy**2)
        parents.append((across * jnp.cosh(at), qx, qy, across * jnp.sinh(at)))
        measure = measure / (2 * (2 * np.pi) ** 3)
    quark = p.MB**2
    legs = (
        *decay(parents[0], jnp.sqrt(s[0]), direction(u[8], u[9])),
        *decay(parents[1], jnp.sqrt(s[1]), direction(u[10], u[11]), quark, quark),
    )
    measure = measure * volume(s[0], 0.0, 0.0) * volume(s[1], quark, quark)
    values, *_ = partonic(shared, legs)
    possible = (s[1] > 4 * quark) & (values[0] > 0) & jnp.isfinite(values[0])
    weight = jnp.where(possible, values[0] * measure, 0.0)
    measured = []
    for i, (leg, kind) in enumerate(zip(legs, kinds, strict=True)):
        if kind != "invisible":
            leg, reached = _measured(leg, kind, detector, u[12 + i], p.MB if kind == "bjet" else 0.0)
            weight = jnp.where(reached, weight, 0.0)
        measured.append(leg)
    of = {
        lost: [leg for leg, kind in zip(measured, kinds, strict=True) if (kind == "invisible") == lost]
        for lost in (True, False)
    }
    activity = sum(jnp.hypot(leg[1], leg[2]) for leg in of[False])
    missing = detector.draw_missing(_pt(of[True]), kick, _pt(of[False]), activity, (u[16], u[17]))
    if detector.recoil is not None:
        weight = weight * detector.recoil.prior(kick)
    return weight, jnp.stack([jnp.stack(leg) for leg in measured]), jnp.stack(missing)


def _pt(legs: list[FourVector]) -> tuple[Scalar, Scalar]:
    """Of all together."""
    zero = jnp.asarray(0.0)
    return sum((leg[1] for leg in legs), zero), sum((leg[2] for leg in legs), zero)


def _measured(
    leg: FourVector, kind: str, detector: Detector, u: Scalar, mass: Scalar
) -> tuple[FourVector, Scalar]:
    """Another energy in the same direction, and whether a weight's integral reaches the true one."""
    length = jnp.sqrt(leg[1] ** 2 + leg[2] ** 2 + leg[3] ** 2)
    eta = jnp.arcsinh(leg[3] / jnp.hypot(leg[1], leg[2]))
    energy, inside = detector.draw(kind, eta, leg[0], u, mass)
    stretch = jnp.sqrt(jnp.maximum(energy**2 - mass**2, 0.0)) / length
    return (energy, stretch * leg[1], stretch * leg[2], stretch * leg[3]), inside & (energy > mass)
