"""gg → H → ℓ⁺ℓ⁻ ℓ'⁺ℓ'⁻ through ZZ* and γ*γ*: gluons and photons couple to H by effective vertices.

    L = −¼ H (G_H G^a_μν G^aμν + A_H F_μν F^μν)

of MadGraph's `heft` model, in the variant with the masses in the loops: with τ = MH²/MT² and ω = MH²/MW²,

    |G_H| = α_s/(3π v) [1 + 7τ/120 + τ²/168 + 13τ³/16800]
    A_H = 47 α/(18π v) [1 + 33ω/470 + 57ω²/6580 + … − 14τ/705 − 2τ²/987].

(In the other variant, of infinitely heavy loops, the brackets are 1.) They are taken at MH, off the resonance
too. Gluons of equal helicity give G_H ŝ/2, others nothing; colour gives Σ δ^ab δ^ab = 8; so

    |M|² = 1/256 · 8 · 2 (G_H ŝ/2)² / |ŝ − MH² + i MH ΓH|² · Σ_{YY'} |M(H → 4ℓ; Y, Y')|².

With the leptons' currents J_A = ⟨a|γ|b], J_B = ⟨c|γ|d] (left-handed; read backwards, right-handed) and
momenta k,

    M(H → 4ℓ; Y, Y') = (2 MZ²/v) e² g_Y g_Y' J_A·J_B / (D_Z(s_A) D_Z(s_B))
                       + A_H e² [k_A·k_B J_A·J_B − J_A·k_B J_B·k_A] / (s_A s_B).

The photons are 1e-4 to 1e-3 of |M|² on the resonance, and up to a factor of 2 off it, where little is left;
the subset `zz` leaves them out. For 4e and 4μ, the amplitude with ℓ⁺ and ℓ'⁺ exchanged is subtracted, and
|M|² has the factor 1/4.

Source: J. Alwall et al., arXiv:0706.2334 (the model); A. Djouadi, hep-ph/0503172, sections 2.2 and
2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import jax.numpy as jnp

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.precision import require_double
from deepmem.physics.processes.lepton_pairs import (
    DIRECT,
    EXCHANGED,
    HELICITIES,
    Pairing,
    distinct_leptons,
    identical_leptons,
)
from deepmem.physics.spinors import Complex, Products, breit_wigner, square_modulus
from deepmem.physics.theory.parameters import Electroweak, Parameters, charged_lepton, electroweak

Amplitudes: TypeAlias = dict[tuple[str, str], Complex]


def gluon_vertex(p: Parameters, ew: Electroweak) -> Scalar:
    """|G_H| in GeV⁻¹: the heavy top's loop, expanded in τ."""
    t = (p.MH / p.MT) ** 2
    return p.alpha_s / (3 * jnp.pi * ew.vev) * (1 + 7 / 120 * t + t**2 / 168 + 13 / 16800 * t**3)


def photon_vertex(p: Parameters, ew: Electroweak) -> Scalar:
    """A_H in GeV⁻¹: the loops of the W, expanded in ω, and of the top, in τ."""
    t, w = (p.MH / p.MT) ** 2, (p.MH / ew.MW) ** 2
    w_loop = w * (
        33 / 470
        + w * (57 / 6580 + w * (87 / 65800 + w * (41 / 180950 + w * (5 / 119756 + w * (213 / 26346320)))))
    )
    return 47 * ew.e**2 / (72 * jnp.pi**2 * ew.vev) * (1 + w_loop - 14 / 705 * t - 2 / 987 * t**2)


def production(s: Scalar, p: Parameters, ew: Electroweak) -> Scalar:
    """Averaged |gg → H*|² with the Higgs propagator: 1/16 (G_H ŝ/2)² / |ŝ − MH² + i MH ΓH|²."""
    return (gluon_vertex(p, ew) * s / 2) ** 2 / 16 * square_modulus(breit_wigner(s, p.MH, p.WH))


def decay(legs: Products, leptons: Pairing, p: Parameters, ew: Electroweak, subset: str | None) -> Amplitudes:
    """M(H → 4ℓ; Y, Y') with one way of pairing the leptons."""
    lepton = charged_lepton(ew)
    first, second = leptons
    s_a, s_b = legs.s(*first), legs.s(*second)
    z_pair = 2 * p.MZ**2 / ew.vev * ew.e**2 * breit_wigner(s_a, p.MZ, p.WZ) * breit_wigner(s_b, p.MZ, p.WZ)
    photon_pair = photon_vertex(p, ew) * (ew.e * lepton.charge) ** 2 / (s_a * s_b)
    ka_kb = sum(legs.s(i, j) for i in first for j in second) / 2

    result = {}
    for y, z in HELICITIES:
        (a, b), (c, d) = first.read(y), second.read(z)
        ja_jb = 2 * legs.angle(a, c) * legs.square(d, b)
        amplitude = lepton.z(y) * lepton.z(z) * (z_pair * ja_jb)
        if subset != "zz":
            ja_kb, jb_ka = legs.sandwich(b, (c, d), a), legs.sandwich(d, (a, b), c)
            amplitude = amplitude + photon_pair * (ka_kb * ja_jb - ja_kb * jb_ka)
        result[y, z] = amplitude
    return result


def two_flavours(
    momenta: Sequence[FourVector], p: Parameters, subset: str | None = None
) -> tuple[Scalar, ...]:
    """|M|² for gg → H → e⁺e⁻μ⁺μ⁻, see `Process.matrix_elements`."""
    require_double("a matrix element")
    legs, ew = Products(momenta), electroweak(p)
    amplitudes = decay(legs, DIRECT, p, ew, subset)
    return (production(legs.s(0, 1), p, ew) * distinct_leptons(amplitudes),)


def one_flavour(
    momenta: Sequence[FourVector], p: Parameters, subset: str | None = None
) -> tuple[Scalar, ...]:
    """|M|² for gg → H → 4e or 4μ, see `Process.matrix_elements`."""
    require_double("a matrix element")
    legs, ew = Products(momenta), electroweak(p)
    direct, exchanged = (decay(legs, leptons, p, ew, subset) for leptons in (DIRECT, EXCHANGED))
    return (production(legs.s(0, 1), p, ew) * identical_leptons(direct, exchanged),)
