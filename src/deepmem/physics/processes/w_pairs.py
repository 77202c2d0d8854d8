"""Two Ws, decaying to ℓ⁺ν ℓ'⁻ν̄' of unlike flavours: from quarks, and from a Higgs boson.

Doubly resonant diagrams of qq̄ → W⁺W⁻: a photon or a Z in the s-channel, and an exchanged quark of the
other charge. With the currents J₊ = ⟨ν|γ|ℓ⁺], J₋ = ⟨ℓ⁻|γ|ν̄] of the decays, k± their momenta, and J_X that
of the quarks,

    S_X = (J₊·J₋)(k₊ − k₋)·J_X + 2 (k₋·J₊)(J₋·J_X) − 2 (k₊·J₋)(J₊·J_X),
    T = ⟨q̄|J̸₋ q̸ J̸₊|q] / q²,  q = p_q − k₊, for an up quark; J₊ and J₋ exchanged for a down quark,

    M_X = g²/2 / (D_W(s₊) D_W(s₋)) [P_X S_X + δ_XL g²/2 T],
    P_X = e² [Q_q/ŝ + g_qX cotθ_W / (ŝ − MZ² + i MZ ΓZ)],

where the growth with energy cancels between S_L and T, as it must: P_L → ±g²/(2ŝ) for up and down quarks.
|M|² = 1/12 Σ_X |M_X|².

gg → H → W⁺W⁻, with the gluons' effective vertex as in `higgs_4l`:

    M(H → ℓ⁺νℓ⁻ν̄) = (2 MW²/v) g²/2 J₊·J₋ / (D_W(s₊) D_W(s₋)).

Source: R. Brown and K. Mikaelian, Phys. Rev. D19 (1979) 922; L. Dixon, Z. Kunszt, A. Signer,
hep-ph/9803250, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import jax.numpy as jnp

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.precision import require_double
from deepmem.physics.processes.base import (
    GLUON_CHANNELS,
    MISSING_COLUMNS,
    QUARK_CHANNELS,
    Process,
    lepton_columns,
)
from deepmem.physics.processes.higgs_4l import production
from deepmem.physics.spinors import Complex, L, Line, Products, R, breit_wigner, square_modulus
from deepmem.physics.theory.parameters import Electroweak, Parameters, down_quark, electroweak, up_quark

# Legs: 0, 1 the partons; then ℓ⁺ ν ℓ⁻ ν̄.
W_PLUS, W_MINUS = Line(out=3, into=2), Line(out=4, into=5)


def decays(legs: Products, p: Parameters, ew: Electroweak) -> Complex:
    """g²/2 / (D_W(s₊) D_W(s₋)), in GeV⁻⁴."""
    propagators = [breit_wigner(legs.s(*line), ew.MW, p.WW) for line in (W_PLUS, W_MINUS)]
    return ew.e**2 / (2 * ew.sin2) * propagators[0] * propagators[1]


def product(legs: Products, one: Line, other: Line) -> Complex:
    """⟨a|γ^μ|b]⟨c|γ_μ|d] = 2⟨ac⟩[db]."""
    return 2 * legs.angle(one.out, other.out) * legs.square(other.into, one.into)


def through_boson(legs: Products, quarks: Line) -> Complex:
    """S: the vertex of three bosons on the currents of the quarks and of both decays."""

    def along(pair: Line, line: Line) -> Complex:
        """k·J for the momentum k of an outgoing pair: −[b|k̸|a⟩ with ends a, b of the line."""
        return legs.sandwich(line.into, pair, line.out)

    plus_minus = product(legs, W_PLUS, W_MINUS) * (along(W_PLUS, quarks) - along(W_MINUS, quarks))
    return (
        plus_minus
        + 2 * along(W_MINUS, W_PLUS) * product(legs, W_MINUS, quarks)
        - 2 * along(W_PLUS, W_MINUS) * product(legs, W_PLUS, quarks)
    )


def through_quark(legs: Products, quarks: Line, first: Line, second: Line) -> Complex:
    """T of a quark that emits the W `first`, and then `second`: 4⟨ac⟩ [d|q̸|e⟩ [fb] / q²."""
    (a, b), (c, d), (e, f) = quarks, second, first
    numerator = legs.angle(a, c) * -legs.sandwich(d, (b, f), e) * legs.square(f, b)
    return numerator * (4 / legs.invariant(b, e, f))


def from_quarks(
    momenta: Sequence[FourVector], p: Parameters, subset: str | None = None
) -> tuple[Scalar, ...]:
    """|M|² for u ū, ū u, d d̄, d̄ d → W⁺W⁻ → ℓ⁺ ν ℓ⁻ ν̄, see `Process.matrix_elements`."""
    require_double("a matrix element")
    legs, ew = Products(momenta), electroweak(p)
    first_beam, second_beam = Line(out=1, into=0), Line(out=0, into=1)
    s_channel = {line: through_boson(legs, line) for line in (first_beam, second_beam)}
    s, e2 = legs.s(0, 1), ew.e**2
    z = e2 * jnp.sqrt((1 - ew.sin2) / ew.sin2) * breit_wigner(s, p.MZ, p.WZ)
    g2_half = e2 / (2 * ew.sin2)
    common = square_modulus(decays(legs, p, ew)) / 12

    results = []
    for quark, order in ((up_quark(ew), (W_PLUS, W_MINUS)), (down_quark(ew), (W_MINUS, W_PLUS))):
        for line in (first_beam, second_beam):
            left = (quark.charge * e2 / s + quark.z(L) * z) * s_channel[line]
            left = left + g2_half * through_quark(legs, line, *order)
            right = (quark.charge * e2 / s + quark.z(R) * z) * s_channel[line.read(R)]
            results.append(common * (square_modulus(left) + square_modulus(right)))
    return tuple(results)


def from_higgs(momenta: Sequence[FourVector], p: Parameters, subset: str | None = None) -> tuple[Scalar, ...]:
    """|M|² for gg → H → W⁺W⁻ → ℓ⁺ ν ℓ⁻ ν̄, see `Process.matrix_elements`."""
    require_double("a matrix element")
    legs, ew = Products(momenta), electroweak(p)
    decay = 2 * ew.MW**2 / ew.vev * decays(legs, p, ew) * product(legs, W_PLUS, W_MINUS)
    return (production(legs.s(0, 1), p, ew) * square_modulus(decay),)


WW_2L = Process(
    name="ww_2l",
    title="pp → W⁺W⁻ → ℓ⁺ν ℓ'⁻ν̄'",
    reference="Brown and Mikaelian, Phys. Rev. D19 (1979) 922",
    outgoing=(-11, 12, 13, -14),
    classes=("lepton", "invisible", "lepton", "invisible"),
    columns=(*lepton_columns(2), *MISSING_COLUMNS),
    parameters=("MZ", "WZ", "WW", "aEWM1", "GF", "MW"),
    channels=QUARK_CHANNELS,
    matrix_elements=from_quarks,
    scale=80.419,  # MW as derived
    dimensions=6,
    responses=MappingProxyType({"lepton": 0.05}),
    topology="W pair",
)

HIGGS_WW_2L = Process(
    name="higgs_ww_2l",
    title="gg → H → WW* → ℓ⁺ν ℓ'⁻ν̄'",
    reference="Djouadi, Phys. Rept. 457 (2008) 1, hep-ph/0503172",
    outgoing=(-11, 12, 13, -14),
    classes=("lepton", "invisible", "lepton", "invisible"),
    columns=(*lepton_columns(2), *MISSING_COLUMNS),
    parameters=("MZ", "WW", "MT", "MH", "WH", "aEWM1", "GF", "alpha_s", "MW"),
    channels=GLUON_CHANNELS,
    matrix_elements=from_higgs,
    scale="MH",
    dimensions=6,
    responses=MappingProxyType({"lepton": 0.05}),
    resonance=("MH", "WH"),
    topology="Higgs boson to W pair",
)
