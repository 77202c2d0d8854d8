"""pp → γ*/Z → ℓ⁻ℓ⁺: one s-channel diagram for each boson.

With massless fermions, photon and Z couple to the same chiral currents, so both are one propagator for each
pair of chiralities (X of the quark, Y of the lepton),

    P_XY(s) = e² [Q_q Q_ℓ / s + g_qX g_ℓY / (s − MZ² + i MZ ΓZ)],

and the helicity amplitudes are 2 P_LL ⟨q̄ ℓ⁻⟩[ℓ⁺ q] and its relatives:

    |M|² = 1/3 [(|P_LL|² + |P_RR|²) u² + (|P_LR|² + |P_RL|²) t²],  t = −2 q·ℓ⁻,  u = −2 q·ℓ⁺.

Source: Ellis, Stirling, Webber, "QCD and Collider Physics", section 9.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.precision import require_double
from deepmem.physics.processes.base import QUARK_CHANNELS, Process, lepton_columns
from deepmem.physics.processes.neutral_current import neutral_current
from deepmem.physics.spinors import L, Products, R, square_modulus
from deepmem.physics.theory.parameters import (
    Chiral,
    Parameters,
    charged_lepton,
    down_quark,
    electroweak,
    up_quark,
)

ANTILEPTON, LEPTON = 2, 3


def matrix_elements(
    momenta: Sequence[FourVector], p: Parameters, subset: str | None = None
) -> tuple[Scalar, ...]:
    """|M|² for u ū, ū u, d d̄, d̄ d → ℓ⁺ ℓ⁻, see `Process.matrix_elements`."""
    require_double("a matrix element")
    legs = Products(momenta)
    ew = electroweak(p)
    lepton = charged_lepton(ew)
    boson = neutral_current(legs.s(0, 1), p, ew)
    t2, u2 = legs.s(0, LEPTON) ** 2, legs.s(0, ANTILEPTON) ** 2

    results = []
    for quark in (up_quark(ew), down_quark(ew)):

        def p2(x: str, y: str, quark: Chiral = quark) -> Scalar:
            """|P_XY(s)|²."""
            return square_modulus(boson.between(quark, x, lepton, y))

        same, opposite = p2(L, L) + p2(R, R), p2(L, R) + p2(R, L)
        results += [(same * u2 + opposite * t2) / 3, (same * t2 + opposite * u2) / 3]
    return tuple(results)


DRELL_YAN = Process(
    name="drell_yan",
    title="pp → γ*/Z → ℓ⁻ℓ⁺",
    reference="Drell and Yan, Phys. Rev. Lett. 25 (1970) 316",
    outgoing=(-13, 13),
    classes=("lepton", "lepton"),
    columns=lepton_columns(2),
    parameters=("MZ", "WZ", "aEWM1", "GF", "MW"),
    channels=QUARK_CHANNELS,
    matrix_elements=matrix_elements,
    scale="MZ",
    dimensions=2,
    wide_resonance=("MZ", "WZ"),
)
