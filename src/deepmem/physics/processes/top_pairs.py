"""pp → tt̄ → (b ℓ⁺ν)(b̄ ℓ⁻ν̄): gluons and quarks, off-shell tops and Ws with all their spin correlations.

The Ws couple to left-handed fermions alone, and the leptons are massless; so, by Fierz, each decay chain is
one number times one Weyl spinor, that of its charged lepton,

    ū_b γ_μ P_L ⟨ν|γ^μ|ℓ⁺] = 2⟨bν⟩ [ℓ⁺|,    γ_μ P_L v_b̄ ⟨ℓ⁻|γ^μ|ν̄] = 2 |ℓ⁻⟩ [ν̄b̄],

and the sum over the spins of the b quarks, massive ones too, is Σ|⟨bν⟩|² = 2 b·ν. What is left is one
fermion line, without any sum over its helicities. With the ends r̄ = [ℓ⁺|(t̸ + m) and c = (m − t̸̄)|ℓ⁻⟩,

    A(1, 2) = r̄ ε̸₁ (t̸ − k̸₁ + m) ε̸₂ c / (t₁ − m² + imΓ) + r̄ V̸ c / ŝ,
    V = (ε₁·ε₂)(k₁ − k₂) + 2(k₂·ε₁) ε₂ − 2(k₁·ε₂) ε₁,

and A(2, 1) with the gluons exchanged (V turns its sign) are the colour-ordered amplitudes of gg;

    |M|² = F g_s⁴/256 Σ_ε [16/3 (|A(1, 2)|² + |A(2, 1)|²) − 4/3 Re A(1, 2) A(2, 1)*]    gg
    |M|² = F g_s⁴/36 · 2 Σ_± |r̄ J̸_± c / ŝ|²                                           qq̄, its current J_±
    F = g⁸/16 · 16 (2 b·ν)(2 b̄·ν̄) / |D_t D_t̄ D_W⁺ D_W⁻|².

Only resonant diagrams, with off-shell tops: gg depends on the gauge, hence on the frame. Polarisations are
purely spatial, transverse to their gluon, in the frame of the momenta that are passed; widths are fixed, in
the t-channel too. Neither matters to qq̄.

Source: M. Mangano and S. Parke, Phys. Rept. 200 (1991) 301, sections 3 and 7 (colour orders, Fierz); R.
Kleiss and W. Stirling, Z. Phys. C40 (1988) 419 (top pairs with their decays).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

import jax.numpy as jnp

from deepmem.kinematics import FourVector, Scalar, add, dot
from deepmem.physics.precision import require_double
from deepmem.physics.processes.base import (
    GLUON_CHANNELS,
    MISSING_COLUMNS,
    QUARK_CHANNELS,
    Process,
    jet_columns,
    lepton_columns,
)
from deepmem.physics.spinors import (
    Bispinor,
    Complex,
    Weyl,
    adjoint,
    breit_wigner,
    contract,
    current,
    massless,
    polarisations,
    sigma,
    slash,
    square_modulus,
    weyl,
)
from deepmem.physics.theory.parameters import Parameters, electroweak


def right_handed(chi: Weyl) -> Bispinor:
    """The bispinor (0, χ)."""
    zero = jnp.zeros_like(chi[0])
    return Bispinor((zero, zero), chi)


def top_end(t: FourVector, antilepton: FourVector, mass: Scalar) -> Bispinor:
    """r̄ = [ℓ⁺|(t̸ + m), a row."""
    chi = weyl(antilepton)
    left, right = mass * chi[0], mass * chi[1]
    # the adjoint of (t̸ + m)|ℓ⁺⟩, as γ⁰ t̸† γ⁰ = t̸
    return adjoint(Bispinor(sigma(t, chi), (left, right)))


def antitop_end(t_bar: FourVector, lepton: FourVector, mass: Scalar) -> Bispinor:
    """c = (m − t̸̄)|ℓ⁻⟩, a column."""
    chi = weyl(lepton)
    left = sigma(t_bar, chi)
    return Bispinor((-left[0], -left[1]), (mass * chi[0], mass * chi[1]))


def negative(p: FourVector) -> FourVector:
    """−p."""
    return -p[0], -p[1], -p[2], -p[3]


def heavy_numerator(p: FourVector, mass: Scalar, psi: Bispinor) -> Bispinor:
    """(p̸ + m) ψ."""
    (a, b), (c, d) = slash(p, psi)
    (e, f), (g, h) = psi
    return Bispinor((a + mass * e, b + mass * f), (c + mass * g, d + mass * h))


def gluons(
    k1: FourVector, k2: FourVector, t: FourVector, row: Bispinor, column: Bispinor, p: Parameters
) -> Scalar:
    """Σ_ε [16/3 (|A(1, 2)|² + |A(2, 1)|²) − 4/3 Re A(1, 2) A(2, 1)*]."""
    s = dot(add(k1, k2), add(k1, k2))
    first, second = polarisations(k1), polarisations(k2)
    line = current(row, column)
    difference = dot(line, k1) - dot(line, k2)

    def exchange(k: FourVector, near: Sequence[FourVector], far: Sequence[FourVector]) -> list[list[Complex]]:
        """r̄ ε̸ (t̸ − k̸ + m) ε̸' c / (…), of the gluon k next to the top, for all ε and ε'."""
        inner = add(t, negative(k))
        propagator = breit_wigner(dot(inner, inner), p.MT, p.WT)
        columns = [heavy_numerator(inner, p.MT, slash(e, column)) for e in far]
        return [[propagator * contract(row, slash(e, c)) for c in columns] for e in near]

    one, two = exchange(k1, first, second), exchange(k2, second, first)
    total: Scalar = 0
    for i, e1 in enumerate(first):
        for j, e2 in enumerate(second):
            three = dot(e1, e2) * difference + 2 * (dot(k2, e1) * dot(line, e2) - dot(k1, e2) * dot(line, e1))
            a, b = one[i][j] + three / s, two[j][i] - three / s
            total = total + 16 / 3 * (square_modulus(a) + square_modulus(b))
            total = total - 4 / 3 * (a.real * b.real + a.imag * b.imag)
    return total


def quarks(k1: FourVector, k2: FourVector, row: Bispinor, column: Bispinor) -> Scalar:
    """2 Σ_± |r̄ J̸_± c / ŝ|²; J₋ is J₊'s complex conjugate, so that either beam may bring the quark."""
    light = current(adjoint(right_handed(weyl(k2))), right_handed(weyl(k1)))
    line = current(row, column)
    s = dot(add(k1, k2), add(k1, k2))
    total = square_modulus(dot(line, light))
    conjugate = light[0].conj(), light[1].conj(), light[2].conj(), light[3].conj()
    total = total + square_modulus(dot(line, conjugate))
    return 2 * total / s**2


def matrix_elements(
    momenta: Sequence[FourVector], p: Parameters, subset: str | None = None
) -> tuple[Scalar, ...]:
    """|M|² for gg and for qq̄ → ℓ⁺ ν b ℓ⁻ ν̄ b̄, see `Process.matrix_elements`.

    The b quarks have the masses of their momenta; all other legs are taken to have E = |p⃗|.
    """
    require_double("a matrix element")
    k1, k2, antilepton, neutrino, lepton, antineutrino = (massless(momenta[i]) for i in (0, 1, 2, 3, 5, 6))
    b, b_bar = momenta[4], momenta[7]
    ew = electroweak(p)
    t, t_bar = add(antilepton, neutrino, b), add(lepton, antineutrino, b_bar)

    row, column = top_end(t, antilepton, p.MT), antitop_end(t_bar, lepton, p.MT)
    factor = (ew.e**2 / ew.sin2) ** 4 * (4 * jnp.pi * p.alpha_s) ** 2
    factor = factor * 4 * dot(b, neutrino) * dot(b_bar, antineutrino)
    for q, mass, width in (
        (t, p.MT, p.WT),
        (t_bar, p.MT, p.WT),
        (add(antilepton, neutrino), ew.MW, p.WW),
        (add(lepton, antineutrino), ew.MW, p.WW),
    ):
        factor = factor / ((dot(q, q) - mass**2) ** 2 + (mass * width) ** 2)
    return factor / 256 * gluons(k1, k2, t, row, column, p), factor / 36 * quarks(k1, k2, row, column)


TTBAR_2L = Process(
    name="ttbar_2l",
    title="pp → tt̄ → (b ℓ⁺ν)(b̄ ℓ⁻ν̄)",
    reference="Kleiss and Stirling, Z. Phys. C40 (1988) 419",
    outgoing=(-11, 12, 5, 13, -14, -5),
    classes=("lepton", "invisible", "bjet", "lepton", "invisible", "bjet"),
    columns=(*lepton_columns(2), *jet_columns(2), *MISSING_COLUMNS),
    parameters=("MZ", "WW", "MT", "WT", "MB", "aEWM1", "GF", "alpha_s", "MW"),
    channels=(*GLUON_CHANNELS, tuple(state for states in QUARK_CHANNELS for state in states)),
    matrix_elements=matrix_elements,
    scale="MT",
    dimensions=8,
    responses=MappingProxyType({"lepton": 0.05, "bjet": 0.10}),
    topology="top pair",
    assignments=(0, 1),
)

TTBAR_2L_ASSIGNMENT_0 = replace(
    TTBAR_2L, name="ttbar_2l_assignment_0", title=f"{TTBAR_2L.title}, jet 1 from t", assignments=(0,)
)
TTBAR_2L_ASSIGNMENT_1 = replace(
    TTBAR_2L, name="ttbar_2l_assignment_1", title=f"{TTBAR_2L.title}, jet 2 from t", assignments=(1,)
)
