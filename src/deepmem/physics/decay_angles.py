"""The five variables of H → V₁V₂ → ℓ₁⁺ℓ₁⁻ ℓ₂⁺ℓ₂⁻, from momenta and back.

    Φ = ± arccos(−n₁·n₂),  n_i = p⃗(ℓ_i⁻) × p⃗(ℓ_i⁺) / |…|,  the sign that of p⃗(V₁)·(n₁ × n₂)

in the rest frame of H; θ_i is the angle of ℓ_i⁻ in the rest frame of V_i to the direction in which V_i flies.
So Φ = φ(ℓ₁⁻) − φ(ℓ₂⁻), azimuths round p⃗(V₁), and a mirror turns its sign.

Source: Y. Gao et al., 1001.3396; S. Bolognesi et al., 1208.4018.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from deepmem.physics.errors import MomentaError

Momenta = Float[np.ndarray, "*points legs 4"]


class DecayAngles(NamedTuple):
    """Arrays `[…]`: masses of both pairs in GeV, cosθ of both ℓ⁻, Φ in (−π, π]."""

    first_mass: np.ndarray
    second_mass: np.ndarray
    first_cosine: np.ndarray
    second_cosine: np.ndarray
    phi: np.ndarray

    def momenta(self, mass: float) -> Momenta:
        """ℓ₁⁺ ℓ₁⁻ ℓ₂⁺ ℓ₂⁻ `[…, 4, 4]` of H at rest, (E, px, py, pz) in GeV: V₁ along +z, ℓ₂⁻ in the xz plane.

        **Arguments:** `mass` of H, at least the sum of both masses.
        """
        m1, m2, cos1, cos2, phi = np.broadcast_arrays(*(np.asarray(each, float) for each in self))
        size, pairs = self._momentum(mass), []
        for m, cosine, azimuth, turn in ((m1, cos1, phi, 1), (m2, cos2, np.zeros_like(phi), -1)):
            sine = np.sqrt(1 - cosine**2)
            energy = np.hypot(size, m)
            # of ℓ⁻ in the rest frame of V, boosted along z
            x, y, z = (m / 2 * n for n in (sine * np.cos(azimuth), sine * np.sin(azimuth), turn * cosine))
            e, along = (energy * m / 2 + turn * size * z) / m, (energy * z + turn * size * m / 2) / m
            minus = np.stack([e, x, y, along], axis=-1)
            plus = np.stack([energy - e, -x, -y, turn * size - along], axis=-1)
            pairs += [plus, minus]
        return np.stack(pairs, axis=-2)

    def volume(self, mass: float) -> np.ndarray:
        """dΦ_4/(ds₁ ds₂ dcosθ₁ dcosθ₂ dΦ) `[…]`, s_i = m_i² in GeV², with all directions of H's axes:

            |p⃗|/(4π M) · (2π)⁻² · (8π)⁻² · 2π/(4π)².

        **Arguments:** `mass` of H in GeV.
        """
        return self._momentum(mass) / (4 * np.pi * mass) / (2 * np.pi) / (8 * np.pi) ** 2 / (4 * np.pi) ** 2

    def _momentum(self, mass: float) -> np.ndarray:
        """|p⃗| of both pairs where H rests."""
        m1, m2 = np.asarray(self.first_mass, float), np.asarray(self.second_mass, float)
        return np.sqrt((mass**2 - (m1 + m2) ** 2) * (mass**2 - (m1 - m2) ** 2)) / (2 * mass)


def decay_angles(momenta: ArrayLike) -> DecayAngles:
    """The variables of massless leptons in any frame.

    **Arguments:** `momenta` `[…, 4, 4]` of ℓ₁⁺ ℓ₁⁻ ℓ₂⁺ ℓ₂⁻, (E, px, py, pz) in GeV.

    **Raises** `MomentaError` for another shape.
    """
    legs = np.asarray(momenta, float)
    if legs.shape[-2:] != (4, 4):
        raise MomentaError(f"decay angles need momenta […, 4, 4] of ℓ⁺ ℓ⁻ ℓ⁺ ℓ⁻, got {list(legs.shape)}")
    whole = legs.sum(axis=-2)
    rest = [_in_rest_frame(legs[..., k, :], whole) for k in range(4)]
    pairs = rest[0] + rest[1], rest[2] + rest[3]
    one, other = (np.cross(rest[k + 1][..., 1:], rest[k][..., 1:]) for k in (0, 2))
    axis = pairs[0][..., 1:] / np.linalg.norm(pairs[0][..., 1:], axis=-1, keepdims=True)
    phi = np.arctan2(np.sum(axis * np.cross(one, other), axis=-1), -np.sum(one * other, axis=-1))
    own = [_in_rest_frame(rest[2 * k + 1], pairs[k])[..., 1:] for k in (0, 1)]
    along = [np.sum(axis * each, axis=-1) / np.linalg.norm(each, axis=-1) for each in own]
    first, second = (np.sqrt(2 * _dot(legs[..., k, :], legs[..., k + 1, :])) for k in (0, 2))
    return DecayAngles(first, second, along[0], -along[1], phi)


def _dot(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return p[..., 0] * q[..., 0] - np.sum(p[..., 1:] * q[..., 1:], axis=-1)


def _in_rest_frame(p: np.ndarray, parent: np.ndarray) -> np.ndarray:
    """p as it is seen where `parent` rests."""
    mass = np.sqrt(_dot(parent, parent))
    energy = _dot(p, parent) / mass
    k = (p[..., 0] + energy) / (parent[..., 0] + mass)
    return np.concatenate([energy[..., None], p[..., 1:] - k[..., None] * parent[..., 1:]], axis=-1)
