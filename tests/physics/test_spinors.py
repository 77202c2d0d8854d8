"""The alphabet of hand-written amplitudes: its identities."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from deepmem.kinematics import dot
from deepmem.physics.spinors import (
    Line,
    Products,
    breit_wigner,
    square_modulus,
    weyl,
)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def massless(number: int = 5) -> np.ndarray:
    """Momenta (E, px, py, pz) `[4, number]`, the last two along the beams."""
    p = np.random.default_rng(1).normal(size=(3, number)) * 50
    p[:, -2:] = [[0, 0], [0, 0], [70, -70]]
    return np.stack([np.sqrt((p**2).sum(axis=0)), *p])


def test_weyl_spinors_are_the_massless_momentum():
    """λ λ† = p·σ with the index raised: λ₀λ₀* = E + p_z, λ₁λ₀* = p_x + i p_y; along both beams, too."""
    energy, px, py, pz = massless()
    a, b = weyl((energy, px, py, pz))
    np.testing.assert_allclose(square_modulus(a), energy + pz, atol=1e-12)
    np.testing.assert_allclose(square_modulus(b), energy - pz, atol=1e-12)
    np.testing.assert_allclose(b * a.conj(), px + 1j * py, atol=1e-12)


def test_products():
    p = massless(6)
    momenta = [tuple(x[i] for x in p) for i in range(6)]
    legs = Products(momenta, incoming=2)
    signed = [np.array(q) * (-1 if i < 2 else 1) for i, q in enumerate(momenta)]
    np.testing.assert_allclose(legs.s(1, 3), 2 * dot(momenta[1], momenta[3]), rtol=1e-12)
    np.testing.assert_allclose(legs.angle(1, 3) * legs.square(3, 1), legs.s(1, 3), rtol=1e-12)
    total = signed[0] + signed[2] + signed[5]
    np.testing.assert_allclose(legs.invariant(0, 2, 5), dot(total, total), rtol=1e-11)
    # Schouten: ⟨12⟩⟨34⟩ + ⟨13⟩⟨42⟩ + ⟨14⟩⟨23⟩ = 0
    a = legs.angle
    assert abs(a(1, 2) * a(3, 4) + a(1, 3) * a(4, 2) + a(1, 4) * a(2, 3)) < 1e-10
    assert Line(3, 2).read("R") == Line(2, 3)


def test_breit_wigner():
    expected = 1 / (8000.0 - 91.0**2 + 1j * 91.0 * 2.5)
    np.testing.assert_allclose(breit_wigner(8000.0, 91.0, 2.5), expected, rtol=1e-15)
