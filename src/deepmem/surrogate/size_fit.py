"""The likeliest size of errors: A, b, c, C of `calibration`, for one weight.

The likelihood is that of a normal distribution, of rows that no member has seen; the error that labels have
themselves is added in squares, so that it isn't taken for the network's. Small terms keep neighbouring knots
and usual values together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize

from deepmem.surrogate.calibration import TINY, Size, growth
from deepmem.surrogate.knots import hats

_FOLDS = 5


@dataclass(frozen=True)
class Validation:
    """Rows `[n]` for one weight, in standardised units."""

    t: np.ndarray
    """The prediction."""
    s: np.ndarray
    """The spread of the members."""
    g: np.ndarray
    """ln of the size of errors, as learned."""
    truth: np.ndarray
    noise: np.ndarray
    """The error of the truth."""
    log_d: np.ndarray


class SizeFit:
    """Of some rows, with these knots."""

    def __init__(self, rows: Validation, knots: np.ndarray):
        error = rows.truth - rows.t
        size = np.median(np.abs(error)) + TINY
        self._knots, self._log_d = knots, rows.log_d
        self._y2, self._n2 = (error / size) ** 2, (rows.noise / size) ** 2
        self._shift = np.log(size)
        # g, learned on errors of single members, and ln d count about their medians
        self._middle = np.array([np.median(rows.g), np.median(rows.log_d)])
        self._hats = hats(rows.t, knots)
        self._first = np.column_stack([self._hats, rows.g - self._middle[0], rows.log_d - self._middle[1]])
        self._log_spread = np.log(rows.s + TINY) - self._shift

    def size(self) -> Size:
        """The likeliest of all rows."""
        number = len(self._knots)
        parameters = self._likeliest(slice(None))
        powers = parameters[number : number + 2]
        bulk = parameters[:number] + self._shift - powers @ self._middle
        return Size(self._knots, bulk, powers[0], powers[1], parameters[number + 2 :])

    def log_sigma_left_out(self, near: float) -> np.ndarray:
        """ln σ with sizes that each fifth of the rows had no part in: their own would flatter. Beyond `near`,
        ln d, they grow at least like d."""
        log_s = np.empty_like(self._log_d)
        fold = np.arange(len(log_s)) % _FOLDS
        for each in range(_FOLDS):
            parameters = self._likeliest(fold != each)
            one, two = self._terms(parameters, fold == each)
            log_s[fold == each] = np.logaddexp(2 * one, 2 * two) / 2 + self._shift
            sparse = parameters[len(self._knots) + 1]
            log_s[fold == each] += growth(np, self._log_d[fold == each], near, sparse)
        return log_s

    def _likeliest(self, rows: Any) -> np.ndarray:
        number = len(self._knots)
        start = np.r_[np.full(number, -0.5), 1.0, 0.0, np.zeros(number)]
        return optimize.minimize(self._cost, start, args=(rows,), jac=True, method="L-BFGS-B").x

    def _terms(self, c: np.ndarray, rows: Any) -> tuple[np.ndarray, np.ndarray]:
        """ln of the square roots of the two terms of σ², in units of the median error."""
        number = len(self._knots)
        return (
            self._first[rows] @ c[: number + 2],
            self._hats[rows] @ c[number + 2 :] + self._log_spread[rows],
        )

    def _cost(self, c: np.ndarray, rows: Any) -> tuple[float, np.ndarray]:
        """What is least at the likeliest parameters, and its gradient."""
        number, y2 = len(self._knots), self._y2[rows]
        one, two = (np.exp(2 * np.clip(term, -15, 15)) for term in self._terms(c, rows))
        variance = one + two + self._n2[rows]
        likelihood = np.mean(np.log(variance) + y2 / variance) / 2
        by_variance = (1 - y2 / variance) / variance / len(variance)
        slope = np.r_[(by_variance * one) @ self._first[rows], (by_variance * two) @ self._hats[rows]]
        for part in (slice(number), slice(number + 2, None)):
            step = np.diff(c[part])
            likelihood += 1e-3 * step @ step
            slope[part] += 2e-3 * (np.r_[0, step] - np.r_[step, 0])
        usual = np.r_[c[:number], 1, 0, np.zeros(number)]
        likelihood += 1e-4 * (c - usual) @ (c - usual)
        return float(likelihood), slope + 2e-4 * (c - usual)
