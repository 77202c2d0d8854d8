"""Four-vectors as (E, px, py, pz) in GeV, and the angles between them.

Every function is written for arrays of any shape, works on NumPy and on JAX arrays alike, and keeps the
precision of its arguments. Momenta are tuples of four arrays rather than one array with an axis of four: XLA
then fuses the arithmetic of a whole batch of events into one loop.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import jax.numpy as jnp

Scalar: TypeAlias = Any  # a float, or a NumPy or JAX array of any shape
FourVector: TypeAlias = tuple[Scalar, Scalar, Scalar, Scalar]


def wrap_angle(phi: Scalar) -> Scalar:
    """An angle in radians brought into [−π, π): φ − 2π ⌊φ/2π + ½⌋."""
    return phi - 2 * jnp.pi * jnp.floor(phi / (2 * jnp.pi) + 0.5)


def from_pt_eta_phi_mass(pt: Scalar, eta: Scalar, phi: Scalar, mass: Scalar = 0.0) -> FourVector:
    """(pT, η, φ, m) to (E, px, py, pz), with E² = p² + m² built so that E ≥ |p| to rounding."""
    pz = pt * jnp.sinh(eta)
    energy = jnp.hypot(pt * jnp.cosh(eta), mass)
    return energy, pt * jnp.cos(phi), pt * jnp.sin(phi), pz


def add(*momenta: FourVector) -> FourVector:
    """The sum of four-vectors."""
    energy, px, py, pz = (sum(parts) for parts in zip(*momenta, strict=True))
    return energy, px, py, pz


def dot(p: FourVector, q: FourVector) -> Scalar:
    """p·q = E E' − p⃗·p⃗' in GeV²."""
    return p[0] * q[0] - p[1] * q[1] - p[2] * q[2] - p[3] * q[3]


def boost(p: FourVector, beta: tuple[Scalar, Scalar, Scalar]) -> FourVector:
    """p seen from a frame in which the old rest frame moves with velocity β (units of c, |β| < 1)."""
    b2 = beta[0] ** 2 + beta[1] ** 2 + beta[2] ** 2
    gamma = 1 / jnp.sqrt(1 - b2)
    # γ²/(γ+1) = (γ−1)/β² without the cancellation at small β
    bp = beta[0] * p[1] + beta[1] * p[2] + beta[2] * p[3]
    k = gamma**2 / (gamma + 1) * bp + gamma * p[0]
    return gamma * (p[0] + bp), p[1] + beta[0] * k, p[2] + beta[1] * k, p[3] + beta[2] * k
