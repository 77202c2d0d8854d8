"""Weights of events with jets, measured otherwise: at the points of the nominal ones, row by row.

A row is an assignment of jets, told by their columns: its points, and what trials decided of it, are those of
the nominal row. With c_r the covariance of a row, k the share, d and d' what both dropped,

    cov(W, V) = k² (Σ_r c_r + d d').

An event that has other rows (other leading jets, other tags), or is badly integrated so, is integrated by
itself, without a covariance.
"""

from __future__ import annotations

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
from deepmem.physics.weights.ratios import Dropped, Pair
from deepmem.physics.weights.several import Part


class Before(NamedTuple):
    """A nominal integration of the rows of one final state."""

    rows: Contributions
    part: Part
    done: Done
    events: np.ndarray
    """Its events, by their places among all."""
    estimate: Estimate


class Followed(NamedTuple):
    """Events, by their places among all, that were integrated at the points of the nominal ones."""

    events: np.ndarray
    estimate: Estimate
    covariance: np.ndarray
    """With the nominal weights `[events, weights]`."""


def _places(before: Before, rows: Contributions) -> np.ndarray:
    """The place among the nominal rows of each row; −1 where there is none."""

    def keys(of: Contributions) -> list[tuple[int, ...]]:
        return list(map(tuple, np.column_stack([of.event, of.particles, of.jets]).tolist()))

    place = {key: i for i, key in enumerate(keys(before.rows))}
    return np.array([place.get(key, -1) for key in keys(rows)], dtype=int)


def _alike(before: Before, rows: Contributions) -> np.ndarray:
    """Which rows are of events all of whose rows are the nominal ones, with the same share."""
    place = _places(before, rows)
    there = place >= 0
    there[there] &= rows.share[there] == before.rows.share[place[there]]
    size = int(max(rows.event.max(initial=0), before.rows.event.max(initial=0))) + 1
    every, matched, nominal = (
        np.bincount(each, minlength=size) for each in (rows.event, rows.event[there], before.rows.event)
    )
    return ((every == matched) & (every == nominal))[rows.event]


def followed(
    before: Before, rows: Contributions, accuracy: Accuracy, steering: int
) -> tuple[Followed, np.ndarray]:
    """What can be followed of the rows of a final state; and which rows can't be."""
    alike = _alike(before, rows)
    events = np.unique(rows.event[alike])
    if not len(events) or before.done.course is None:
        alike[:], events = False, events[:0]
        return Followed(events, Estimate.of_nothing(), np.zeros((0, steering))), ~alike
    pair = _at_points(before, rows.at(np.flatnonzero(alike)), accuracy, steering)
    good = pair.suited()
    pair.extend(good)
    estimate, covariance = jax.tree.map(lambda leaf: leaf[good], pair.found())
    return Followed(events[good], estimate, covariance), ~np.isin(rows.event, events[good])


def _at_points(before: Before, rows: Contributions, accuracy: Accuracy, steering: int) -> Pair:
    """The sums of events all of whose rows have a nominal one."""
    part, done, place = before.part, before.done, _places(before, rows)
    events, group = np.unique(rows.event, return_inverse=True)
    visible = prepare(rows.alpha, part.plan, part.shared, rows.measured)._replace(tags=rows.tags)
    # of each row the parts that its nominal one was integrated in
    begin, end = (np.searchsorted(done.parts.of, place, side) for side in ("left", "right"))
    of = np.repeat(np.arange(len(place)), end - begin)
    at = np.arange(len(of)) + np.repeat(end - np.cumsum(end - begin), end - begin)
    parts, course = jax.tree.map(lambda leaf: leaf[at], (done.parts, done.course))
    share, groups = rows.share[Groups(group).first], Groups(group)
    whole = Rows(visible, groups, part.rows.numbers[place], part.rows.parts[place], share)
    alike = part.plan.alike(parts.visible, of, visible)
    pieces = of_parts(part.plan, whole, parts._replace(visible=alike, of=of))
    integral = Integral(
        part.f,
        part.shared,
        pieces.visible,
        part.plan.dimensions,
        pieces.numbers,
        pieces.parts,
        steering=steering,
        groups=pieces.groups,
        remembered=True,
        follows=course,
        maps=pieces.maps,
        kinds=pieces.kinds,
        allowances=pieces.allowances,
    )
    at_events = np.searchsorted(before.events, events)
    dropped = None
    if done.dropped is not None:
        visible = visible._replace(choices=done.visible.rows(place).choices)
        varied, trial = _dropped(part, visible, np.flatnonzero(begin == end), group, len(events))
        nominal = done.dropped[at_events]
        dropped = Dropped(nominal, varied if len(varied) else np.zeros_like(nominal), trial)
    weights = jax.tree.map(lambda leaf: leaf[at_events], before.estimate)
    rule = part.plan.rule
    return Pair(rule, accuracy, integral, parts.visible, weights, share, steering, dropped)


def _dropped(
    part: Part, visible: Visible, rows: np.ndarray, group: np.ndarray, events: int
) -> tuple[np.ndarray, np.ndarray]:
    """What a trial says of rows that the nominal integration dropped, of each event; evaluations of all."""
    trial = np.bincount(group[rows], minlength=events) * SLOT
    if not len(rows):
        return np.zeros((0, 0)), trial
    look = trials.first_look(part.integrand, part.shared, visible.rows(rows), part.plan.dimensions)
    found = np.zeros((events, look.mean.shape[1]))
    np.add.at(found, group[rows], look.mean)
    return found, trial
