"""qq̄ → ℓ⁺ℓ⁻ ℓ'⁺ℓ'⁻ at tree level: γ* and Z, doubly and singly resonant, 24 diagrams.

Three fermion lines: the quarks Q = (q̄, q) and the lepton pairs A = (ℓ⁻, ℓ⁺), B = (ℓ'⁻, ℓ'⁺). In every
diagram, one line emits two bosons, and each boson ends on one of the two other lines:

    Q emits the bosons of A and B      q ──┬────┬── q̄      doubly resonant:  2 orders × 4 pairs of bosons
                                           A    B
    A emits the bosons of Q and B      ℓ⁻ ─┬────┬── ℓ⁺     singly resonant:  2 orders × 4 pairs of bosons
                                           Q    B
    B emits the bosons of Q and A                          singly resonant:  2 orders × 4 pairs of bosons

With massless fermions the photon and the Z see the same chiral currents. So for given helicities the four
pairs of bosons differ by their propagators and couplings only,

    P_XY^{fg}(s) = e² [Q_f Q_g / s + g_fX g_gY / (s − MZ² + i MZ ΓZ)],

and what remains are three functions of spinor products, T(Q; A, B), T(A; Q, B), T(B; Q, A) (`emission`):

    M(X, Y, Y') = P^{qℓ}_XY(s_A) P^{qℓ}_XY'(s_B) T(Q; A, B) + P^{qℓ}_XY(ŝ) P^{ℓℓ}_YY'(s_B) T(A; Q, B)
                  + P^{qℓ}_XY'(ŝ) P^{ℓℓ}_YY'(s_A) T(B; Q, A).

Parity turns all helicities round by complex conjugation of T, and charge conjugation exchanges the beams; so
four sets of T give all eight helicities, of up and down quarks, from either beam.

For 4e and 4μ, the amplitude with ℓ⁺ and ℓ'⁺ exchanged is subtracted, and |M|² has the factor 1/4.

Source: L. Dixon, Z. Kunszt, A. Signer, hep-ph/9803250, section 2 (with the singly resonant diagrams added).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

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
from deepmem.physics.processes.neutral_current import neutral_current
from deepmem.physics.spinors import Complex, L, Line, Products, R
from deepmem.physics.theory.parameters import (
    Electroweak,
    Parameters,
    charged_lepton,
    down_quark,
    electroweak,
    up_quark,
)

QUARKS = Line(out=1, into=0)

FLIPPED = {L: R, R: L}

SPINS_AND_COLOURS = 1 / 12
"""1/4 for the quarks' spins, 3/9 for their colours."""


def emission(legs: Products, line: Line, first: Line, second: Line) -> Complex:
    """T(line; first, second): a fermion line emits two bosons, in both orders.

    With ends a, b of the line, and currents ⟨c|γ|d], ⟨e|γ|f] that the bosons end on,

        ⟨a|γ^μ q̸ γ^ν|b] / q² ⟨c|γ_μ|d] ⟨e|γ_ν|f] = 4 ⟨ac⟩ [d|q̸|e⟩ [fb] / q²,   q = −(p_b + p_e + p_f)

    (momenta outgoing, so incoming ones change sign).
    """
    a, b = line
    total: Complex = 0
    for (c, d), (e, f) in ((first, second), (second, first)):
        numerator = legs.angle(a, c) * -legs.sandwich(d, (b, f), e) * legs.square(f, b)
        total = total + numerator * (4 / legs.invariant(b, e, f))
    return total


class Kinematics(NamedTuple):
    """T of the three emitting lines, for one set of helicities."""

    quarks: Complex
    first: Complex
    second: Complex


def kinematics(legs: Products, leptons: Pairing) -> dict[tuple[str, str], Kinematics]:
    """T for a left-handed quark from the first beam, and each pair (Y, Y') of lepton helicities.

    Where a line that is read backwards emits both bosons, its inner momentum runs backwards too: a minus
    sign.
    """
    result = {}
    for y, z in HELICITIES:
        a, b = leptons[0].read(y), leptons[1].read(z)
        result[y, z] = Kinematics(
            quarks=emission(legs, QUARKS, a, b),
            first=emission(legs, a, QUARKS, b) * (1 if y == L else -1),
            second=emission(legs, b, QUARKS, a) * (1 if z == L else -1),
        )
    return result


Amplitudes: TypeAlias = dict[tuple[str, str, str], Complex]


def amplitudes(
    legs: Products, leptons: Pairing, p: Parameters, ew: Electroweak, subset: str | None
) -> list[Amplitudes]:
    """M(X, Y, Y') for u ū, ū u, d d̄, d̄ d, with one way of pairing the leptons."""
    full = subset != "zz"
    lepton = charged_lepton(ew)
    at_hat = neutral_current(legs.s(0, 1), p, ew)
    at_a, at_b = (neutral_current(legs.s(*line), p, ew, photon=full) for line in leptons)
    t = kinematics(legs, leptons)
    t_conj = {(FLIPPED[y], FLIPPED[z]): Kinematics(*(part.conj() for part in t[y, z])) for y, z in HELICITIES}

    channels: list[Amplitudes] = []
    for quark in (up_quark(ew), down_quark(ew)):
        quark_first: Amplitudes = {}
        antiquark_first: Amplitudes = {}
        for x in (L, R):
            # parity: all helicities turned round; charge conjugation: the quarks' turned round, and a
            # minus sign for an odd number of currents on their line
            of_quark, of_antiquark = (t, t_conj) if x == L else (t_conj, t)
            for y, z in HELICITIES:
                double = at_a.between(quark, x, lepton, y) * at_b.between(quark, x, lepton, z)
                quark_first[x, y, z] = double * of_quark[y, z].quarks
                antiquark_first[x, y, z] = double * of_antiquark[y, z].quarks
                if full:
                    first = at_hat.between(quark, x, lepton, y) * at_b.between(lepton, y, lepton, z)
                    second = at_hat.between(quark, x, lepton, z) * at_a.between(lepton, y, lepton, z)
                    quark_first[x, y, z] += first * of_quark[y, z].first + second * of_quark[y, z].second
                    antiquark_first[x, y, z] -= (
                        first * of_antiquark[y, z].first + second * of_antiquark[y, z].second
                    )
        channels += [quark_first, antiquark_first]
    return channels


def two_flavours(
    momenta: Sequence[FourVector], p: Parameters, subset: str | None = None
) -> tuple[Scalar, ...]:
    """|M|² for qq̄ → e⁺e⁻μ⁺μ⁻, see `Process.matrix_elements`."""
    require_double("a matrix element")
    channels = amplitudes(Products(momenta), DIRECT, p, electroweak(p), subset)
    return tuple(SPINS_AND_COLOURS * distinct_leptons(channel) for channel in channels)


def one_flavour(
    momenta: Sequence[FourVector], p: Parameters, subset: str | None = None
) -> tuple[Scalar, ...]:
    """|M|² for qq̄ → 4e or 4μ, see `Process.matrix_elements`."""
    require_double("a matrix element")
    legs, ew = Products(momenta), electroweak(p)
    direct, exchanged = (amplitudes(legs, leptons, p, ew, subset) for leptons in (DIRECT, EXCHANGED))
    return tuple(SPINS_AND_COLOURS * identical_leptons(*pair) for pair in zip(direct, exchanged, strict=True))
