"""What comes out of an integration."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """What came out, event by event.

    - `value`, `error`: float64 `[events, values]`; the error is one standard deviation, absolute.
    - `status`: int32 `[events]`, of `deepmem.event.Status`: GOOD; PRECISION (budget used up, or some points
      not finite); NO_SOLUTION (zero at every point); BAD_INPUT (finite at no point; the value is NaN).
    - `evaluations`: int64 `[events]`, how many of the integrand were spent.
    """

    value: np.ndarray
    error: np.ndarray
    status: np.ndarray
    evaluations: np.ndarray

    @staticmethod
    def of_nothing() -> Estimate:
        """That of no events."""
        return Estimate(np.zeros((0, 1)), np.zeros((0, 1)), np.zeros(0, np.int32), np.zeros(0, np.int64))
