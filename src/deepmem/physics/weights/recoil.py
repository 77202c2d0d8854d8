"""The total p_T that leading-order events are given: a spectrum, or a disc for closure tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from deepmem.physics.errors import ParameterError


@dataclass(frozen=True)
class Spectrum:
    """dN/dK² ∝ (K² + K₀²)^−2, so that K₀ is the median of |K|; 0 is no recoil.

    A shape, not a prediction: with K₀ = 15 GeV for Drell–Yan at the Z, 18 GeV for qq̄ → 4ℓ and 37 GeV for
    gg → H it has the quartiles and the 99 % quantile of Pythia 8's events (13 TeV) to 30 %. Hypotheses that
    are to be compared need one and the same K₀, so the default is none of theirs.
    """

    median: float = 20.0

    def draw(self, u: np.ndarray) -> np.ndarray:
        """|K| in GeV from uniform numbers."""
        return self.median * np.sqrt(u / (1 - u))


@dataclass(frozen=True)
class Disc:
    """K uniform in d²K for |K| < `maximum`, in GeV: statement 2 of the closure relations."""

    maximum: float

    @property
    def area(self) -> float:
        """In GeV²: ∫_R W dx = area · σ_vis."""
        return float(np.pi * self.maximum**2)

    def draw(self, u: np.ndarray) -> np.ndarray:
        """|K| in GeV from uniform numbers."""
        return self.maximum * np.sqrt(u)


Recoil: TypeAlias = float | Spectrum | Disc
USUAL_RECOIL = Spectrum()


def checked_recoil(recoil: Recoil) -> Spectrum | Disc:
    if isinstance(recoil, Spectrum | Disc):
        size = recoil.median if isinstance(recoil, Spectrum) else recoil.maximum
        made = recoil
    else:
        try:
            size = float(recoil)
        except (TypeError, ValueError):
            raise ParameterError(f"recoil must be a momentum in GeV, got {recoil!r}") from None
        made = Spectrum(size)
    if not (np.isfinite(size) and size >= 0):
        raise ParameterError(f"recoil must be a momentum in GeV, not negative, got {size}")
    return made
