"""Two lepton pairs in the final state: ways of pairing, and what identical leptons change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from deepmem.kinematics import Scalar
from deepmem.physics.spinors import Complex, L, Line, R, square_modulus

Pairing: TypeAlias = tuple[Line, Line]

# Legs: 0, 1 the partons; then ℓ⁺ ℓ⁻ ℓ'⁺ ℓ'⁻.
DIRECT: Pairing = (Line(out=3, into=2), Line(out=5, into=4))
EXCHANGED: Pairing = (Line(out=3, into=4), Line(out=5, into=2))

HELICITIES = [(y, z) for y in (L, R) for z in (L, R)]
"""Of the lines of ℓ⁻ and of ℓ'⁻."""


def distinct_leptons(amplitudes: Mapping[Any, Complex]) -> Scalar:
    """Σ |M|² over helicities, for e⁺e⁻μ⁺μ⁻."""
    return sum(square_modulus(m) for m in amplitudes.values())


def identical_leptons(direct: Mapping[Any, Complex], exchanged: Mapping[Any, Complex]) -> Scalar:
    """¼ Σ |M − M'|² over helicities, for 4e and 4μ; M' has ℓ⁺ and ℓ'⁺ exchanged.

    Where the lines of ℓ⁻ and ℓ'⁻ have unlike helicities, M and M' belong to different helicities of the four
    legs, and do not interfere. **Arguments:** amplitudes by helicities, those of ℓ⁻ and ℓ'⁻ last.
    """
    total: Scalar = 0
    for helicities, m in direct.items():
        other = exchanged[helicities]
        if helicities[-2] == helicities[-1]:
            total = total + square_modulus(m - other)
        else:
            total = total + square_modulus(m) + square_modulus(other)
    return total / 4
