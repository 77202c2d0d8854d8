"""One weighted leading-order point: drawn from all of phase space, recoiling, measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp

from deepmem.kinematics import FourVector, Scalar, dot
from deepmem.physics.detector.detector import Detector
from deepmem.physics.phasespace.bodies import from_rest_frame
from deepmem.physics.phasespace.free import Region, sampler
from deepmem.physics.processes.base import InitialState, Process
from deepmem.physics.theory.densities import DensityAtScale
from deepmem.physics.theory.parameters import GEV_2_TO_PB, Parameters
from deepmem.physics.weights.partonic import over_states
from deepmem.selection import opposite_pairs


class Points(NamedTuple):
    """What is computed for each point: see `Drawn`."""

    sigma: Scalar
    shares: Scalar
    boost: Scalar
    """E'/E."""
    true: tuple[FourVector, ...]
    measured: tuple[FourVector, ...]
    s: Scalar
    pair: Scalar
    """Squared, GeV²."""
    reached: Scalar
    missing: tuple[Scalar, Scalar]


@lru_cache(maxsize=32)
def compiled(
    process: Process,
    states: tuple[tuple[InitialState, ...], ...],
    subset: str | None,
    free: tuple[str, ...] = (),
) -> Callable:
    to_point, pairs = sampler(process), opposite_pairs(process.outgoing)

    def one(
        u: Scalar,
        kick: tuple[Scalar, Scalar],
        noise: Scalar,
        p: Parameters,
        region: Region,
        density: DensityAtScale,
        detector: Detector,
        values: Scalar,
    ) -> Points:
        point = to_point(u, p, region)
        root = jnp.sqrt(point.s / p.sqrt_s**2)
        beams = [density.xf(root * jnp.exp(sign * point.rapidity)) for sign in (1, -1)]
        first, second = ({parton: f[i] for i, parton in enumerate(density.partons)} for f in beams)

        def summed(couplings: Scalar) -> Scalar:
            """Σ f f |M|² at one point of the free couplings."""
            here = p
            for name, value in zip(free, couplings, strict=True):
                here = here.replaced(name, value)
            return over_states(process.on_axis(point.legs, here, subset), states, first, second)

        each = jax.vmap(summed)(values)
        total = each.mean()
        shares = jnp.where(total > 0, each / jnp.where(total > 0, total, 1.0), 0.0)
        # dx1 dx2 f f = (dŝ dY / s) (x1f)(x2f) s/ŝ; then the flux 1/2ŝ
        sigma = GEV_2_TO_PB * total * point.measure / (2 * point.s**2)
        sigma = jnp.where(point.measure > 0, sigma, 0.0)

        masses = {"lepton": 0.0, "bjet": p.MB}
        true, share = _recoiling(point.legs[2:], jnp.sqrt(point.s), point.rapidity, kick)
        legs = tuple(zip(true, process.classes, strict=True))
        measured, reached = [], jnp.asarray(True)
        for i, (leg, name) in enumerate(legs):
            if name != "invisible":
                leg, inside = _measured(leg, detector, name, noise[i], masses[name])
                reached &= inside
            measured.append(leg)
        seen = [leg for leg, name in zip(measured, process.classes, strict=True) if name != "invisible"]
        escaped = [leg for leg, name in legs if name == "invisible"]
        activity = sum(jnp.hypot(leg[1], leg[2]) for leg in seen)
        missing = detector.draw_missing(
            _transverse(escaped), kick, _transverse(seen), activity, (noise[-2], noise[-1])
        )
        out = point.legs[2:]
        pair = jnp.asarray([2 * dot(out[i], out[j]) for i, j in pairs] + [jnp.inf]).min()
        return Points(sigma, shares, share, true, tuple(measured), point.s, pair, reached, missing)

    return jax.jit(jax.vmap(one, in_axes=(1, 0, 1, None, None, None, None, None)))


def _transverse(legs: Sequence[FourVector]) -> tuple[Scalar, Scalar]:
    """The sum of their p_T."""
    return sum(leg[1] for leg in legs), sum(leg[2] for leg in legs)


def _recoiling(
    legs: Sequence[FourVector], mass: Scalar, rapidity: Scalar, kick: tuple[Scalar, Scalar]
) -> tuple[tuple[FourVector, ...], Scalar]:
    """Legs from their common rest frame to the laboratory, with total p_T = K; and E'/E.

    First along the beam to E' = m cosh Y, then across it with γ = E/E', γβ = K/E', which leaves p_z.
    """
    zero = jnp.zeros_like(mass)
    along = mass * jnp.cosh(rapidity), zero, zero, mass * jnp.sinh(rapidity)
    energy = along[0]
    boosted = jnp.sqrt(energy**2 + kick[0] ** 2 + kick[1] ** 2)
    across = boosted, kick[0], kick[1], zero
    moved = tuple(from_rest_frame(from_rest_frame(leg, along, mass), across, energy) for leg in legs)
    return moved, energy / boosted


def _measured(
    leg: FourVector, detector: Detector, kind: str, u: Scalar, mass: Scalar
) -> tuple[FourVector, Scalar]:
    """The measured momentum, another energy with the same direction and mass; and whether the true energy is
    in the support of that one."""
    _, px, py, pz = leg
    length = jnp.sqrt(px**2 + py**2 + pz**2)
    eta = jnp.arcsinh(pz / jnp.hypot(px, py))
    seen, reached = detector.draw(kind, eta, jnp.hypot(length, mass), u, mass)
    stretch = jnp.sqrt(jnp.maximum(seen**2 - mass**2, 0.0)) / length
    return (seen, px * stretch, py * stretch, pz * stretch), reached
