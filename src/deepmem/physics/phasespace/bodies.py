"""Bodies that decay into two: momenta in the parent's rest frame and out of it, and the volume of their phase
space,

    dΦ_2 = √λ(s, s_a, s_b)/(8πs) dΩ/4π,   λ = Källén's function.

Written for one point and batched from outside. Source: PDG, Kinematics.
"""

from __future__ import annotations

from typing import TypeAlias

import jax.numpy as jnp

from deepmem.kinematics import FourVector, Scalar

TwoBody: TypeAlias = tuple[FourVector, FourVector]


def kallen(x: Scalar, y: Scalar, z: Scalar) -> Scalar:
    """λ = x² + y² + z² − 2xy − 2xz − 2yz."""
    return (x - y - z) ** 2 - 4 * y * z


def volume(s: Scalar, s_a: Scalar, s_b: Scalar) -> Scalar:
    """∫dΦ_2."""
    return jnp.sqrt(jnp.maximum(kallen(s, s_a, s_b), 0.0)) / (8 * jnp.pi * s)


def direction(u: Scalar, v: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """A unit vector, even over the sphere."""
    return towards(2 * u - 1, v)


def towards(cosine: Scalar, v: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """A unit vector of this cosθ, and φ = 2πv."""
    angle = 2 * jnp.pi * v
    sine = jnp.sqrt(jnp.maximum(1 - cosine**2, 0.0))
    return sine * jnp.cos(angle), sine * jnp.sin(angle), cosine


def decay(
    parent: FourVector,
    mass: Scalar,
    axis: tuple[Scalar, Scalar, Scalar],
    s_a: Scalar = 0.0,
    s_b: Scalar = 0.0,
) -> TwoBody:
    """Two legs back to back in the parent's rest frame, the first along `axis` there.

    **Arguments:** `mass` of the parent, GeV; `s_a`, `s_b`, squared masses of the legs, GeV².
    """
    size = jnp.sqrt(jnp.maximum(kallen(mass**2, s_a, s_b), 0.0)) / (2 * mass)
    forth = ((mass + (s_a - s_b) / mass) / 2, *(size * n for n in axis))
    back = ((mass + (s_b - s_a) / mass) / 2, *(-size * n for n in axis))
    return from_rest_frame(forth, parent, mass), from_rest_frame(back, parent, mass)


def from_rest_frame(q: FourVector, parent: FourVector, mass: Scalar) -> FourVector:
    """q, given in the rest frame of `parent`, where the parent has its momentum P:

        E = (E_P e + P⃗·q⃗)/m,   p⃗ = q⃗ + P⃗ [P⃗·q⃗/(m (E_P + m)) + e/m].

    This form has γ as E_P/m, not from 1 − β², so it holds at any boost. **Arguments:** `mass` = √P², GeV.
    """
    along = parent[1] * q[1] + parent[2] * q[2] + parent[3] * q[3]
    k = along / (mass * (parent[0] + mass)) + q[0] / mass
    return (
        (parent[0] * q[0] + along) / mass,
        q[1] + parent[1] * k,
        q[2] + parent[2] * k,
        q[3] + parent[3] * k,
    )


def choice(condition: Scalar, one: FourVector, other: FourVector) -> FourVector:
    """`one` where the condition is true, else `other`."""
    e, x, y, z = (jnp.where(condition, a, b) for a, b in zip(one, other, strict=True))
    return e, x, y, z
