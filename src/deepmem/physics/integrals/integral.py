"""What is integrated: an integrand, its arguments, and what of its values counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from deepmem.errors import UsageError
from deepmem.physics.integrals.course import Course
from deepmem.physics.integrals.groups import Groups
from deepmem.physics.integrals.importance import FirstMaps
from deepmem.physics.integrals.integrand import Integrand, values
from deepmem.physics.integrals.slots import batches


@dataclass(frozen=True, eq=False)
class Integral:
    """An integral over the unit cube for each of many events.

    - `f`: the integrand, see `integrand`, or several, of which each event has one, `kinds` `[events]`;
      `shared`: its first argument; `events`: a pytree of arrays `[events, ...]`; `dimensions`: of the cube;
    - `indices`: int `[events]`, the events' numbers in their file (0, 1, … if not given), and `parts`, those
      of contributions to one event (all 0 if not given), which fix random points: an event's points don't
      depend on what it is computed with;
    - `minimum`: evaluations before an event may stop, of all or of each, where a rule's own do not suit;
    - `steering`: how many of the values decide when to stop (all if not given);
    - `correlated`: whether the covariance of the values that steer is wanted, where the rule knows it;
    - `groups`: which of them are contributions to one number (none if not given): they stop when their sum
      is precise, share the budget, and one that contributes little to the error stops before;
    - `beside`: what else the numbers are sums of, `[events, values]`, and `part`, which part of the error
      that is allowed they may have, `[events]`: of a sum over integrals of several integrands;
    - `remembered`: whether the estimate brings its course; `follows`: the course of another integral, of
      nearly the same integrand, whose points are wanted: precision and budget are then what they were there;
    - `continues`: with `follows`, the course of this integral so far, whose points count: a rule that can
      goes on from there, and the estimate has the evaluations that are new;
    - `believed`: evaluations of a contribution from which its value is believed though its error is as large;
    - `allowances`: how many times the largest single contribution each event's error allows for, `[events]`,
      where a rule's own does not suit;
    - `maps`: those that a lattice begins with, where one was learned before. Others are then learned from
      many points alone, and where they gain much: what is narrow is known already.

    **Raises** `UsageError` where arrays have other lengths.
    """

    f: Integrand | tuple[Integrand, ...]
    shared: Any
    events: Any
    dimensions: int
    indices: np.ndarray | None = None
    parts: np.ndarray | None = None
    minimum: int | np.ndarray | None = None
    steering: int | None = None
    correlated: bool = False
    groups: Groups | None = None
    beside: np.ndarray | None = None
    part: np.ndarray | None = None
    believed: int = 0
    remembered: bool = False
    follows: Course | None = None
    continues: Course | None = None
    maps: FirstMaps | None = None
    kinds: np.ndarray | None = None
    allowances: np.ndarray | None = None

    def __post_init__(self) -> None:
        lengths = {"indices": self.numbers, "parts": self.parts, "groups": self.contributions.event}
        lengths |= {"part": self.part, "kinds": self.kinds, "allowances": self.allowances}
        for name, each in lengths.items():
            if each is not None and np.shape(each) != (self.count,):
                raise UsageError(
                    f"{name} must have one entry per event, {self.count}, and has the shape {np.shape(each)}"
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

    @property
    def contributions(self) -> Groups:
        """Which events are contributions to one number."""
        return Groups.alone(self.count) if self.groups is None else self.groups

    def window(self, here: slice) -> Integral:
        """The same of some consecutive events."""
        minimum = None if self.minimum is None else np.broadcast_to(self.minimum, self.count)[here]
        return replace(
            self,
            events=jax.tree.map(lambda leaf: np.asarray(leaf)[here], self.events),
            indices=self.numbers[here],
            parts=None if self.parts is None else self.parts[here],
            groups=None if self.groups is None else self.groups[here],
            minimum=minimum,
            beside=None if self.beside is None else self.beside[here],
            part=None if self.part is None else self.part[here],
            follows=jax.tree.map(lambda leaf: leaf[here], self.follows),
            continues=jax.tree.map(lambda leaf: leaf[here], self.continues),
            maps=jax.tree.map(lambda leaf: leaf[here], self.maps),
            kinds=None if self.kinds is None else self.kinds[here],
            allowances=None if self.allowances is None else self.allowances[here],
        )

    def alone(self, rows: np.ndarray, follows: Course, continues: Course) -> Integral:
        """The same of some events `[rows]`, none a contribution to another, with the courses of these."""
        assert self.minimum is None
        assert self.beside is None
        assert self.part is None
        return replace(
            self,
            events=jax.tree.map(lambda leaf: np.asarray(leaf)[rows], self.events),
            indices=self.numbers[rows],
            parts=None if self.parts is None else self.parts[rows],
            groups=None,
            follows=follows,
            continues=continues,
            maps=jax.tree.map(lambda leaf: leaf[rows], self.maps),
            kinds=None if self.kinds is None else self.kinds[rows],
            allowances=None if self.allowances is None else self.allowances[rows],
        )

    def on_device(self) -> Integral:
        """The same with what events share where it is computed, sent there once."""
        return replace(self, shared=jax.device_put(self.shared))

    def values(
        self, rows: np.ndarray, x: Float[Array | np.ndarray, "slots points d"], used: int
    ) -> tuple[Float[Array, "slots points _"], ...]:
        """The integrand of one event per slot, part by part; of events that have the same one.

        **Arguments:** `used`, how many of the slots count.
        """
        events = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], self.events)
        if isinstance(self.f, tuple):
            assert self.kinds is not None
            return values(self.f[self.kinds[rows[0]]], self.shared, events, x, used)
        return values(self.f, self.shared, events, x, used)

    def batches(self, events: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
        """Slots of these events in pieces of `size`, each of one integrand, see `slots.batches`."""
        if self.kinds is None:
            yield from batches(np.arange(len(events)), size)
            return
        for kind in np.unique(self.kinds[events]):
            yield from batches(np.flatnonzero(self.kinds[events] == kind), size)
