"""How precisely to integrate, at what cost, and with which random numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepmem.errors import UsageError
from deepmem.physics.integrals.slots import SLOT


@dataclass(frozen=True)
class Accuracy:
    """What is asked of a rule.

    - `precision`: relative error of the steering values at which an event stops;
    - `calls`: evaluations per event at most; None, the rule's own number;
    - `seed`: of the random points.

    **Raises** `UsageError` for a precision that is not between 0 and 1, calls that are not positive, or a
    negative seed.
    """

    precision: float = 0.01
    calls: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        number = isinstance(self.precision, int | float | np.number)
        if not (number and np.isfinite(self.precision) and self.precision > 0):
            kind = "" if number else f", a {type(self.precision).__name__}: give a number"
            raise UsageError(
                f"precision must be a positive relative error such as 0.01, got {self.precision!r}{kind}"
            )
        if self.precision >= 1:
            raise UsageError(
                f"precision is a relative error, and one of {self.precision:g} says nothing: 1 % is 0.01"
            )
        if self.calls is not None and self.calls < 1:
            raise UsageError(f"calls must be a positive number of evaluations per event, got {self.calls}")
        if not isinstance(self.seed, int | np.integer) or self.seed < 0:
            raise UsageError(f"seed must be a whole number, 0 or more, got {self.seed!r}")

    def budget(self, of_rule: int) -> int:
        """Evaluations per event at most, those of the rule where none are given.

        **Raises** `UsageError` where they do not suffice for a slot.
        """
        calls = of_rule if self.calls is None else self.calls
        if calls < SLOT:
            raise UsageError(f"the budget must be at least {SLOT} calls per event, not {calls}")
        return calls
