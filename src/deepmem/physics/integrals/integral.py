"""What is integrated: an integrand, its arguments, and what of its values counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from deepmem.errors import UsageError
from deepmem.physics.integrals.integrand import Integrand, values


@dataclass(frozen=True, eq=False)
class Integral:
    """An integral over the unit cube for each of many events.

    - `f`: the integrand, see `integrand`; `shared`: its first argument; `events`: a pytree of arrays
      `[events, ...]`; `dimensions`: of the cube;
    - `indices`: int `[events]`, the events' numbers in their file (0, 1, … if not given), which fix random
      points: an event's points don't depend on what it is computed with;
    - `minimum`: evaluations before an event may stop, of all or of each, where a rule's own do not suit;
    - `steering`: how many of the values decide when to stop (all if not given);
    - `together`: so many consecutive events are contributions to one number (1 or 2): they stop when their
      sum is precise, share the budget, and one that contributes little to the error stops before.
    """

    f: Integrand
    shared: Any
    events: Any
    dimensions: int
    indices: np.ndarray | None = None
    minimum: int | np.ndarray | None = None
    steering: int | None = None
    together: int = 1

    def __post_init__(self) -> None:
        count = self.count
        if self.together not in (1, 2) or count % self.together:
            raise UsageError(f"contributions come alone or in pairs, got {count} events by {self.together}")
        if self.numbers.shape != (count,):
            raise UsageError(
                f"indices must have one entry per event, {count}, and has the shape {self.numbers.shape}"
            )

    @property
    def count(self) -> int:
        """How many events there are."""
        lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(self.events)}
        if len(lengths) != 1 or lengths == {()}:
            raise UsageError(
                f"the events must be arrays of one length along their first axis, got {sorted(lengths)}"
            )
        return next(iter(lengths))[0]

    @property
    def numbers(self) -> np.ndarray:
        """The events' numbers in their file."""
        return np.arange(self.count) if self.indices is None else np.asarray(self.indices)

    def window(self, first: int, size: int) -> Integral:
        """The same of some consecutive events."""
        here = slice(first, first + size)
        minimum = None if self.minimum is None else np.broadcast_to(self.minimum, self.count)[here]
        return replace(
            self,
            events=jax.tree.map(lambda leaf: np.asarray(leaf)[here], self.events),
            indices=self.numbers[here],
            minimum=minimum,
        )

    def on_device(self) -> Integral:
        """The same with what events share where it is computed, sent there once."""
        return replace(self, shared=jax.device_put(self.shared))

    def values(
        self, rows: np.ndarray, x: Float[Array | np.ndarray, "slots points d"]
    ) -> tuple[Float[Array, "slots points _"], ...]:
        """The integrand of one event per slot, part by part."""
        events = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], self.events)
        return values(self.f, self.shared, events, x)
