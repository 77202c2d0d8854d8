"""The total p_T that leading-order events are given: a spectrum, or a disc for closure tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from deepmem.physics.detector import detector
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
USUAL_SPECTRUM = Spectrum()


def checked_spectrum(
    spectrum: Recoil | None, earlier: Recoil | None, response: detector.Recoil | None
) -> Spectrum | Disc:
    """The spectrum of total p_T: as given, or that of the prior of the recoil's response, or the usual one.

    **Arguments:** `earlier`, what the argument was called before, `recoil`; `response` of the recoil.

    **Raises** `ParameterError` for one that makes no sense, two of them, or one that is not the prior's.
    """
    if spectrum is not None and earlier is not None:
        raise ParameterError("spectrum and recoil are one argument under two names: leave recoil out")
    given = earlier if spectrum is None else spectrum
    made = USUAL_SPECTRUM if given is None else _of(given)
    if response is None or np.isinf(response.K0):
        return made
    prior = Spectrum(float(response.K0))
    if given is not None and made != prior:
        raise ParameterError(
            f"weights have the prior K0 = {prior.median:g} GeV of the recoil, and σ_vis and events the same "
            f"spectrum, not {made}: leave spectrum or K0 out"
        )
    return prior


def _of(given: Recoil) -> Spectrum | Disc:
    if isinstance(given, Spectrum | Disc):
        size = given.median if isinstance(given, Spectrum) else given.maximum
        made = given
    else:
        try:
            size = float(given)
        except (TypeError, ValueError):
            raise ParameterError(f"the recoil must be a momentum in GeV, got {given!r}") from None
        made = Spectrum(size)
    if not (np.isfinite(size) and size >= 0):
        raise ParameterError(f"the recoil must be a momentum in GeV, not negative, got {size}")
    return made
