"""The alphabet: identities, and amplitudes of massive quarks spelt with it against MadGraph's numbers."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from deepmem.kinematics import add, dot
from deepmem.physics.spinors import (
    SPINS,
    Bispinor,
    Line,
    Products,
    adjoint,
    breit_wigner,
    contract,
    current,
    polarisations,
    propagate,
    slash,
    spinor_u,
    spinor_v,
    square_modulus,
    weyl,
)
from deepmem.physics.theory.parameters import Parameters

REFERENCE_FILE = Path(__file__).parents[1] / "reference" / "matrix_elements.json"
REFERENCE = json.loads(REFERENCE_FILE.read_text())["processes"]
METRIC = np.diag([1.0, -1, -1, -1])


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def massive(mass: float, number: int = 5):
    """Random momenta on the mass shell, the first at rest."""
    vectors = np.random.default_rng(1).normal(scale=100, size=(number, 3))
    vectors[0] = 0 if mass else [0, 0, -50.0]
    energy = np.sqrt(np.sum(vectors**2, axis=1) + mass**2)
    return energy, *vectors.T


def gamma() -> np.ndarray:
    """The Dirac matrices, built from `slash` alone: `[μ, 4, 4]` with an upper index."""
    columns = []
    for index in range(4):
        unit = np.eye(4)[index]
        psi = Bispinor((unit[0], unit[1]), (unit[2], unit[3]))
        columns.append([np.array([x for half in slash(tuple(v), psi) for x in half]) for v in METRIC])
    return np.transpose(np.array(columns), (1, 2, 0))


def vector(psi: Bispinor) -> np.ndarray:
    return np.stack([np.asarray(x) for half in psi for x in half], axis=-1)


def test_dirac_matrices_anticommute():
    g = gamma()
    for m in range(4):
        for n in range(4):
            np.testing.assert_allclose(g[m] @ g[n] + g[n] @ g[m], 2 * METRIC[m, n] * np.eye(4), atol=1e-15)


@pytest.mark.parametrize("mass", [0.0, 4.7, 173.0])
def test_spin_sums(mass):
    """Σ u ū = p̸ + m, Σ v v̄ = p̸ − m, and the Dirac equation with them."""
    p = massive(mass)
    p_slash = np.einsum("mij,mk,kp->pij", gamma(), METRIC, np.array(p))
    for spinor, sign in ((spinor_u, 1), (spinor_v, -1)):
        total = 0
        for spin in SPINS:
            psi = spinor(p, mass, spin)
            total = total + np.einsum("pi,pj->pij", vector(psi), vector(adjoint(psi)))
            np.testing.assert_allclose(vector(slash(p, psi)), sign * mass * vector(psi), atol=1e-10)
        np.testing.assert_allclose(total, p_slash + sign * mass * np.eye(4), atol=1e-10)


def test_current_is_the_sandwiched_gamma():
    p, q = massive(173.0), massive(4.7)[::-1][:1] + massive(173.0)[1:]
    row, column = adjoint(spinor_u(p, 173.0, 0)), spinor_v(q, 173.0, 1)
    expected = np.einsum("pi,mij,pj->mp", vector(row), gamma(), vector(column))
    np.testing.assert_allclose(np.array(current(row, column)), expected, rtol=1e-12, atol=1e-10)
    lowered = np.array([1, -1, -1, -1])[:, None] * expected
    with_slash = contract(row, slash(p, column))
    np.testing.assert_allclose(with_slash, np.sum(lowered * np.array(p), axis=0), rtol=1e-12)


def test_polarisation_sum():
    """Σ ε^i ε^j = δ^ij − p^i p^j/p⃗²."""
    p = massive(0.0)
    n = np.array(p[1:]) / p[0]
    total = sum(np.einsum("ip,jp->pij", np.array(e[1:]), np.array(e[1:])) for e in polarisations(p))
    np.testing.assert_allclose(total, np.eye(3) - np.einsum("ip,jp->pij", n, n), atol=1e-15)


def test_weyl_spinors_are_the_massless_momentum():
    """λ λ† = p·σ with the index raised: λ₀λ₀* = E + p_z, λ₁λ₀* = p_x + i p_y; along both beams, too."""
    energy, px, py, pz = massive(0.0)
    a, b = weyl((energy, px, py, pz))
    np.testing.assert_allclose(square_modulus(a), energy + pz, atol=1e-12)
    np.testing.assert_allclose(square_modulus(b), energy - pz, atol=1e-12)
    np.testing.assert_allclose(b * a.conj(), px + 1j * py, atol=1e-12)


def test_products():
    p = massive(0.0, 6)
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


def legs_of(name: str):
    momenta = np.array(REFERENCE[name]["momenta"])
    return [tuple(momenta[:, leg].T) for leg in range(momenta.shape[1])]


@pytest.mark.parametrize(("alpha_s", "column"), [(0.118, "me2"), (0.13, "me2_alphas_0p13")])
def test_quarks_to_top_pair(alpha_s, column):
    """q q̄ → t t̄, one gluon: Σ̄ |g_s² J·J'/s|² with colour 2 over 9, spins over 4."""
    q, q_bar, t, t_bar = legs_of("uux_ttx")
    mass = Parameters().MT
    s = dot(add(q, q_bar), add(q, q_bar))
    total = 0
    for a in SPINS:
        for b in SPINS:
            light = current(adjoint(spinor_v(q_bar, 0.0, a)), spinor_u(q, 0.0, b))
            for c in SPINS:
                for d in SPINS:
                    heavy = current(adjoint(spinor_u(t, mass, c)), spinor_v(t_bar, mass, d))
                    total = total + square_modulus(4 * np.pi * alpha_s * dot(light, heavy) / s)
    np.testing.assert_allclose(total * 2 / 9 / 4, REFERENCE["uux_ttx"][column], rtol=1e-10)


def test_gluons_to_top_pair():
    """g g → t t̄: t, u and s channel with massive propagators, two colour orders.

    The t-channel top has its width in the reference, like every channel there.
    """
    g1, g2, t, t_bar = legs_of("gg_ttx")
    p = Parameters()
    g_s2 = 4 * np.pi * p.alpha_s
    minus = [tuple(-x for x in k) for k in (g1, g2)]
    s = dot(add(g1, g2), add(g1, g2))
    total = 0
    for e1 in polarisations(g1):
        for e2 in polarisations(g2):
            # three-gluon vertex on two physical gluons, upper index
            e12 = dot(e1, e2)
            three = [
                (e12 * (a - b) + 2 * dot(g2, e1) * y - 2 * dot(g1, e2) * x) / s
                for a, b, x, y in zip(g1, g2, e1, e2, strict=True)
            ]
            for c in SPINS:
                row = adjoint(spinor_u(t, p.MT, c))
                for d in SPINS:
                    column = spinor_v(t_bar, p.MT, d)
                    t_top = propagate(add(t, minus[0]), p.MT, p.WT, slash(e2, column))
                    u_top = propagate(add(t, minus[1]), p.MT, p.WT, slash(e1, column))
                    first, second = contract(row, slash(e1, t_top)), contract(row, slash(e2, u_top))
                    gluon = contract(row, slash(tuple(three), column))
                    one, two = first + gluon, second - gluon
                    total = total + (16 / 3) * (square_modulus(one) + square_modulus(two))
                    total = total - (2 / 3) * 2 * (one * two.conj()).real
    np.testing.assert_allclose(total * g_s2**2 / 256, REFERENCE["gg_ttx"]["me2"], rtol=1e-10)


def test_breit_wigner():
    expected = 1 / (8000.0 - 91.0**2 + 1j * 91.0 * 2.5)
    np.testing.assert_allclose(breit_wigner(8000.0, 91.0, 2.5), expected, rtol=1e-15)
