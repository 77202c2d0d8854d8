"""Weights of events with jets, measured otherwise: at the points of the nominal ones, row by row.

A row is an assignment of jets, told by their columns, in one final state, with one leg lost or none. Its
points, and what trials decided of it, are those of the nominal row. With c_r the covariance of a row, k the
share, d and d' what both dropped, of rows of all integrands,

    cov(W, V) = k² (Σ_r c_r + d d').

An event that has other rows (other leading jets, other tags), or is badly integrated so, is integrated by
itself, without a covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.integrals.groups import Groups
from deepmem.physics.integrals.integral import Integral
from deepmem.physics.integrals.slots import SLOT
from deepmem.physics.phasespace import trials
from deepmem.physics.phasespace.visible import Visible
from deepmem.physics.weights.contributions import Contributions
from deepmem.physics.weights.integration import Done, Rows, of_parts
from deepmem.physics.weights.preparation import prepare
from deepmem.physics.weights.ratios import Both, Dropped, Pair
from deepmem.physics.weights.several import Part


class Made(NamedTuple):
    """The rows of one integrand, and what their integration left."""

    part: Part
    done: Done


class Before(NamedTuple):
    """A nominal integration of rows: of one final state, of each leg that may be lost, of final states."""

    rows: Sequence[Contributions]
    made: Sequence[Made]
    """Of each of them."""
    events: np.ndarray
    """Its events, by their places among all."""
    estimate: Estimate


class Followed(NamedTuple):
    """Events, by their places among all, that were integrated at the points of the nominal ones."""

    events: np.ndarray
    estimate: Estimate
    covariance: np.ndarray
    """With the nominal weights `[events, weights]`."""


def _nominal(before: Before, rows: Contributions) -> int | None:
    """Which of the nominal ones are of the same final state with the same leg lost."""
    for k, each in enumerate(before.rows):
        if each.lost == rows.lost and each.alpha.process == rows.alpha.process:
            return k
    return None


def _places(nominal: Contributions, rows: Contributions) -> np.ndarray:
    """The place among the nominal rows of each row; −1 where there is none."""

    def keys(of: Contributions) -> list[tuple[int, ...]]:
        return list(map(tuple, np.column_stack([of.event, of.particles, of.jets]).tolist()))

    place = {key: i for i, key in enumerate(keys(nominal))}
    return np.array([place.get(key, -1) for key in keys(rows)], dtype=int)


def _alike(before: Before, varied: Sequence[Contributions]) -> np.ndarray:
    """The events all of whose rows are the nominal ones, with the same share, by their places among all."""
    size = 1 + max(int(each.event.max(initial=0)) for each in (*before.rows, *varied))
    every, matched, nominal = np.zeros((3, size), dtype=int)
    for rows in before.rows:
        nominal += np.bincount(rows.event, minlength=size)
    for rows in varied:
        every += np.bincount(rows.event, minlength=size)
        if (k := _nominal(before, rows)) is not None:
            place = _places(before.rows[k], rows)
            there = place >= 0
            there[there] &= rows.share[there] == before.rows[k].share[place[there]]
            matched += np.bincount(rows.event[there], minlength=size)
    return np.flatnonzero((every > 0) & (every == matched) & (every == nominal))


def followed(
    before: Before, varied: Sequence[Contributions], accuracy: Accuracy, steering: int
) -> Followed | None:
    """What can be followed of the rows of events; None: nothing."""
    events = _alike(before, varied)
    unknown = any(len(done.parts.of) and done.course is None for _, done in before.made)
    if unknown or not len(events):
        return None
    pair = _at_points(before, varied, events, accuracy, steering)
    good = pair.suited()
    pair.extend(good)
    estimate, covariance = jax.tree.map(lambda leaf: leaf[good], pair.found())
    return Followed(events[good], estimate, covariance) if good.any() else None


class _Varied(NamedTuple):
    """Rows of one integrand as a variation has them, each with a nominal one."""

    made: Made
    place: np.ndarray
    """Of the nominal row `[rows]`."""
    event: np.ndarray
    """Of each row, among those of the sum `[rows]`."""
    visible: Visible

    def both(self, accuracy: Accuracy, steering: int) -> Both | None:
        """The integrals of rows that the nominal integration did not drop; None: there are none."""
        (part, done), place = self.made, self.place
        # of each row the parts that its nominal one was integrated in
        begin, end = (np.searchsorted(done.parts.of, place, side) for side in ("left", "right"))
        of = np.repeat(np.arange(len(place)), end - begin)
        if not len(of):
            return None
        at = np.arange(len(of)) + np.repeat(end - np.cumsum(end - begin), end - begin)
        parts, course = jax.tree.map(lambda leaf: leaf[at], (done.parts, done.course))
        numbers, own = part.rows.numbers[place], part.rows.parts[place]
        whole = Rows(self.visible, Groups(self.event), numbers, own, part.rows.share)
        alike = part.plan.alike(parts.visible, of, self.visible)
        pieces = of_parts(part.plan, whole, parts._replace(visible=alike, of=of))
        event = self.event[of]
        integral = Integral(
            part.f,
            part.shared,
            pieces.visible,
            part.plan.dimensions,
            pieces.numbers,
            pieces.parts,
            steering=steering,
            groups=Groups(np.unique(event, return_inverse=True)[1]),
            remembered=True,
            follows=course,
            maps=pieces.maps,
            kinds=pieces.kinds,
            allowances=pieces.allowances,
        )
        return Both(part.plan.rule, accuracy, integral, parts.visible, event)

    def add_dropped(self, to: Dropped) -> None:
        """What a trial says of rows that the nominal integration dropped."""
        part, done = self.made
        rows = np.flatnonzero(~np.isin(self.place, done.parts.of))
        if len(rows):
            visible = self.visible._replace(choices=done.visible.rows(self.place).choices).rows(rows)
            look = trials.first_look(part.integrand, part.shared, visible, part.plan.dimensions)
            np.add.at(to.varied, self.event[rows], look.mean)
            np.add.at(to.trial, self.event[rows], SLOT)


def _at_points(
    before: Before, varied: Sequence[Contributions], events: np.ndarray, accuracy: Accuracy, steering: int
) -> Pair:
    """The sums of these events, all of whose rows have a nominal one."""
    share, found = np.zeros(len(events)), []
    for rows in varied:
        k, rows = _nominal(before, rows), rows.at(np.flatnonzero(np.isin(rows.event, events)))
        if k is not None and len(rows.event):
            made, event = before.made[k], np.searchsorted(events, rows.event)
            share[event] = rows.share
            visible = prepare(rows.alpha, made.part.plan, made.part.shared, rows.measured)
            visible = visible._replace(tags=rows.tags)
            found.append(_Varied(made, _places(before.rows[k], rows), event, visible))
    at = np.searchsorted(before.events, events)
    what = [done.dropped[at] for _, done in before.made if done.dropped is not None]
    dropped = None
    if what:
        nominal = np.sum(what, axis=0)
        dropped = Dropped(nominal, np.zeros_like(nominal), np.zeros(len(events), dtype=np.int64))
        for each in found:
            each.add_dropped(dropped)
    parts = [both for each in found if (both := each.both(accuracy, steering)) is not None]
    weights = jax.tree.map(lambda leaf: leaf[at], before.estimate)
    return Pair(parts, accuracy, weights, share, steering, dropped)
