"""What comes out of an integration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from deepmem.physics.integrals.course import Course


class Estimate(NamedTuple):
    """What came out, event by event.

    - `value`, `error`: float64 `[events, values]`; the error is one standard deviation, absolute.
    - `status`: int32 `[events]`, of `deepmem.event.Status`: GOOD; PRECISION (budget used up, or some points
      not finite); NO_SOLUTION (zero at every point); BAD_INPUT (finite at no point; the value is NaN).
    - `evaluations`: int64 `[events]`, how many of the integrand were spent.
    - `covariance`: float64 `[events, steering, steering]` of the values that steer, where a rule knows it.
    - `course`: what another integral needs to have the same points, where asked for.
    """

    value: np.ndarray
    error: np.ndarray
    status: np.ndarray
    evaluations: np.ndarray
    covariance: np.ndarray | None = None
    course: Course | None = None

    @staticmethod
    def joined(parts: Sequence[Estimate]) -> Estimate:
        """Of several runs of events, one after the other."""
        joined: Estimate = jax.tree.map(lambda *each: np.concatenate(each), *parts)
        return joined

    @staticmethod
    def of_nothing() -> Estimate:
        """That of no events."""
        return Estimate(np.zeros((0, 1)), np.zeros((0, 1)), np.zeros(0, np.int32), np.zeros(0, np.int64))
