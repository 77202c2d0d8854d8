"""The rule for integrals of no dimension: one evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from deepmem.errors import UsageError
from deepmem.event import Status
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.course import CourseOfSingle
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.integrals.integral import Integral
from deepmem.physics.integrals.slots import SLOT, batches, evaluations_per_call
from deepmem.physics.precision import double_precision


@dataclass(frozen=True)
class Single:
    """One evaluation per event: the value, with error 0."""

    def integrate(self, integral: Integral, accuracy: Accuracy) -> Estimate:
        """Evaluate; there is nothing that `accuracy` could change.

        **Raises** `UsageError` for an integral of one dimension or more, or of several integrands.
        """
        if integral.dimensions != 0:
            raise UsageError(
                f"one evaluation is for no dimension, not {integral.dimensions}: use another rule"
            )
        if integral.kinds is not None:
            raise UsageError("one evaluation is for events of one integrand, not of several: use a lattice")
        count = integral.count
        if not count:
            return Estimate.of_nothing()
        with double_precision():
            integral = integral.on_device()
            size = min(evaluations_per_call(), 1 << (max(count, SLOT) - 1).bit_length())
            parts = []
            for rows, used in batches(np.arange(count), size):
                values = integral.values(rows, jnp.zeros((size, 1, 0)), used)
                parts.append(np.asarray(jnp.concatenate(values, axis=-1)[:, 0])[:used])
        value = np.concatenate(parts)
        bad = ~np.isfinite(value).all(axis=1)
        status = np.where(
            bad, Status.BAD_INPUT, np.where((value == 0).all(axis=1), Status.NO_SOLUTION, Status.GOOD)
        )
        value = np.where(bad[:, None], np.nan, value)
        estimate = Estimate(value, value * 0, status.astype(np.int32), np.ones(count, dtype=np.int64))
        if not integral.remembered:
            return estimate
        return estimate._replace(course=CourseOfSingle(value[:, : integral.steering]))
