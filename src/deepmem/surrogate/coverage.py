"""What makes 68.27 % of rows lie within one error of the weight, and 95 % within 1.96.

An exponent γ spreads errors more or less about their mean at that t, and a factor, linear between the knots,
multiplies them, fixed with sizes that are fitted on other rows (conformal calibration, V. Vovk et al.,
"Algorithmic Learning in a Random World"; for two levels at once). It is the weight that is calibrated, not
its logarithm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from deepmem.surrogate.calibration import TINY
from deepmem.surrogate.knots import hats

# How far γ may go, and about how far it is from 1 (of ln γ). The ratio it is found from has a variance of
# 1.2/n for normal errors, more with their tails: 2,000 rows say little, and errors far out vary with it.
_SHARPER, _USUAL, _RATIO_VARIANCE = 1.25, 0.1, 1.8
# The part of the labels' variance that is taken off: their errors may be larger than what they are off by
# (DeepMEM's own, at a loose precision), and errors of the network would be too small by the difference.
_CERTAIN = 0.5
# By how much errors are enlarged that noise hides: with labels of 5 %, 95 % intervals covered 86 % without.
_MARGIN = 1.5


@dataclass(frozen=True)
class Coverage:
    """γ and the factor of one weight."""

    centre: np.ndarray
    """ln σ by knots, about which γ spreads."""
    gamma: float
    factor: np.ndarray
    """ln of it, by knots."""
    hidden: bool
    """Whether the labels' noise hides the network's errors."""
    log_sigma: np.ndarray
    """ln σ of the rows `[n]`, calibrated."""


@dataclass(frozen=True)
class Deviations:
    """Of the weight itself, in squares `[n]`: w_true/w_predicted − 1, and what of it is the labels' noise."""

    total: np.ndarray
    noise: np.ndarray

    @classmethod
    def of(cls, error: np.ndarray, noise: np.ndarray, scale: float) -> Deviations:
        """Of truth − prediction and the truth's noise; `scale` turns both into ln w."""
        return cls(np.expm1(-scale * error) ** 2, _CERTAIN * (scale * noise) ** 2)

    def levels(self, claim: np.ndarray, rows: Any = slice(None)) -> tuple[float, float]:
        """What relative errors that are claimed must be multiplied with for either interval to cover."""
        total, noise = self.total[rows], self.noise[rows]
        narrow = np.sqrt(np.maximum(total - noise, 0)) / claim[rows]
        wide = np.sqrt(np.maximum(total / 1.96**2 - noise, 0)) / claim[rows]
        return float(np.quantile(narrow, 0.6827)), float(np.quantile(wide, 0.95))


def coverage(
    t: np.ndarray, log_sigma: np.ndarray, knots: np.ndarray, deviations: Deviations, scale: float
) -> Coverage:
    """**Arguments:** `t`, predictions; `log_sigma`, of sizes fitted on other rows; `scale`, see
    `Deviations.of`."""
    basis = hats(t, knots)
    at_knots = np.linalg.lstsq(basis, log_sigma)[0]
    centre = basis @ at_knots
    gamma = _gamma(centre, log_sigma, deviations, scale)
    base = centre + gamma * (log_sigma - centre)
    # where noise hides the network's errors, they are what the likelihood says, and a margin
    hidden = bool(np.median(deviations.noise) > 4 * _CERTAIN * np.median(scale**2 * np.exp(2 * log_sigma)))
    factor = np.zeros(len(knots))
    if hidden:
        factor += np.log(_MARGIN)
    else:
        low, high = np.r_[-np.inf, knots[:-1]], np.r_[knots[1:], np.inf]
        for _ in range(3):  # neighbouring windows overlap
            claim = scale * np.exp(base + basis @ factor)
            for i, rows in enumerate((t >= low[:, None]) & (t <= high[:, None])):
                levels = deviations.levels(claim, rows) if rows.any() else (1.0, 1.0)
                factor[i] += np.mean(np.log(np.maximum(levels, 0.1)))
    return Coverage(at_knots, gamma, factor, hidden, base + basis @ factor)


def _gamma(centre: np.ndarray, log_sigma: np.ndarray, deviations: Deviations, scale: float) -> float:
    """Where the two levels agree best, or as well as so many rows can tell."""
    gammas = np.exp(np.linspace(-1, 1, 41) * np.log(_SHARPER))
    pairs = np.array(
        [deviations.levels(scale * np.exp(centre + gamma * (log_sigma - centre))) for gamma in gammas]
    )
    mismatch = np.log((pairs[:, 1] + TINY) / (pairs[:, 0] + TINY))
    unlikely = len(centre) * mismatch**2 / _RATIO_VARIANCE + (np.log(gammas) / _USUAL) ** 2
    return gammas[int(np.argmin(unlikely))]
