"""Piecewise linear functions of a prediction."""

from __future__ import annotations

import numpy as np


def hats(t: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Piecewise linear functions that are 1 at one knot and 0 at the others `[n, knots]`."""
    return np.stack([np.interp(t, knots, unit) for unit in np.eye(len(knots))], axis=1)


def quantile_knots(t: np.ndarray, number: int, beyond: float = 0.0) -> np.ndarray:
    """Quantiles, with that part beyond either end, and no two alike where many t are."""
    return np.quantile(t, np.linspace(beyond, 1 - beyond, number)) + 1e-9 * np.arange(number)
