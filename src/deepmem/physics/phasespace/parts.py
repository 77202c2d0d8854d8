"""How the map by angle is used for each row: which top comes first, and hard rows in parts.

In an event that does not fit its hypothesis any one of the masses may be off its resonance, each with other
energies and angles of the neutrinos. No map of single coordinates suits all of these at once. So a hard row
is cut into parts, each integrated by itself with points of its own. With x_i < ρ where mass i is off,

    1 = Π_i θ(x_i > ρ) + Σ_k θ(x_k < ρ) Π_{i<k} θ(x_i > ρ):

none is off, or the first that is off is the k-th. A few fixed points decide, and none of them counts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from deepmem.physics.integrals.groups import Groups
from deepmem.physics.integrals.importance import (
    BINS,
    IDENTITY,
    FirstMaps,
    better_maps,
    mapped_rows,
)
from deepmem.physics.integrals.integrand import Integrand
from deepmem.physics.integrals.points import fixed_points
from deepmem.physics.phasespace.trials import at_fixed_points, on_points, spread_of
from deepmem.physics.phasespace.visible import Shared, Visible, where

# The mean square of the integrand over its squared mean from which a row is hard, and what part of a weight
# is a trifle.
_HARD, _TRIFLE = 6.0, 0.05
_OFF = 0.1
"""ρ."""
_LEAST = 1024
"""Evaluations of a row before it may stop."""
_EMPTY = 512
"""And of one that was not seen to contribute."""
_SECOND_LOOK = 0.002
"""Of a weight, from which a row is looked at again with its better side first."""
_ROUND = 2
"""Points of the second look at a part, in slots."""
_WINDOW, _TOGETHER = 1 << 11, 64
"""Rows that are looked at together, whole and in parts, which bounds memory."""
MASSES = 4
"""Of both sides' W and top."""


class Rows(NamedTuple):
    """Rows that together make those that were asked for."""

    visible: Visible
    of: np.ndarray
    """Which of the rows asked for each is a part of, in their order."""
    part: np.ndarray
    """0 of a row that is whole, else the number of the part."""
    minimum: np.ndarray
    """Evaluations before it may stop."""
    maps: FirstMaps | None = None
    """That they begin with: of all coordinates, or in parts of the mass that is off."""


def chosen(
    f: Integrand, shared: Shared, rows: Visible, dimensions: int, groups: Groups, minimum: np.ndarray | int
) -> Rows:
    """The rows with either top first, by the least spread of the integrand on the same few points.

    Rows are hard where its few large points count, if they are not of little weight beside those they are
    added to. **Arguments:** `minimum`, evaluations before a row may stop.
    """
    count = rows.size
    least = np.broadcast_to(minimum, count).astype(int)
    whole = rows.choosing(apart=np.zeros(count, dtype=bool), parts=np.tile(_WHOLE, (count, 1, 1)))
    looks = [
        _better_side(f, shared, whole.rows(np.arange(here.start, here.stop)), dimensions, groups[here])
        for here in groups.windows(_WINDOW)
    ]
    visible, mean, spread, maps = jax.tree.map(lambda *each: np.concatenate(each), *looks)
    hard = np.flatnonzero((spread > _HARD) & (mean >= _TRIFLE * groups.max(mean)[groups.event]))
    full, least = least, _first_points(mean, spread, groups, np.arange(count), least)
    if not len(hard):
        return Rows(visible, np.arange(count), np.zeros(count, dtype=int), least, maps)
    fits = [
        _fitted(f, shared, rows.rows(hard[first : first + _TOGETHER]), dimensions)
        for first in range(0, len(hard), _TOGETHER)
    ]
    cut: _Fitted = jax.tree.map(lambda *each: np.concatenate(each), *fits)
    of, easy = np.repeat(hard, _PARTS), np.setdiff1d(np.arange(count), hard)
    at = np.r_[easy, of]
    order = np.argsort(at, kind="stable")

    def both(one: Any, other: Any) -> Any:
        return jax.tree.map(lambda some, others: np.concatenate([some, others])[order], one, other)

    return Rows(
        both(visible.rows(easy), cut.visible),
        at[order],
        both(np.zeros(len(easy), dtype=int), np.tile(1 + np.arange(_PARTS), len(hard))),
        both(least[easy], _first_points(cut.look.mean, cut.look.spread, groups, of, full[of])),
        both(jax.tree.map(lambda leaf: leaf[easy], maps), cut.maps(dimensions)),
    )


def _first_points(
    mean: np.ndarray, spread: np.ndarray, groups: Groups, of: np.ndarray, minimum: np.ndarray
) -> np.ndarray:
    """Evaluations of rows before they may stop, by what fixed points say of their share of the error.

    **Arguments:** `of`, the row of `groups` that each is a part of.
    """
    size = mean * np.sqrt(np.where(np.isfinite(spread), spread, 1.0))
    largest = np.zeros(len(groups.first))
    np.maximum.at(largest, groups.event[of], size)
    largest = largest[groups.event[of]]
    part = np.divide(size, largest, out=np.ones_like(size), where=largest > 0)
    return np.where(size > 0, np.maximum(minimum * part, _LEAST), _EMPTY).astype(int)


class _Look(NamedTuple):
    """What fixed points say of parts: the mean, the spread under a map of one coordinate, and the map."""

    mean: np.ndarray
    spread: np.ndarray
    grid: np.ndarray
    """`[parts, knots, 2]`."""


class _Fitted(NamedTuple):
    """All parts of rows, one after the other."""

    visible: Visible
    look: _Look
    number: np.ndarray
    """Of the mass that is off, −1 of none."""

    def maps(self, dimensions: int) -> FirstMaps:
        """That the parts begin with."""
        found, off = FirstMaps.none(len(self.number), dimensions), np.flatnonzero(self.number >= 0)
        found.knots[off, self.number[off]] = self.look.grid[off, :, 0]
        return found._replace(learned=np.ones(len(self.number), dtype=bool))


def _fitted(f: Integrand, shared: Shared, rows: Visible, dimensions: int) -> _Fitted:
    """All parts with the better side first, and a map of the mass that is off.

    The first look is at one mass off and all others near. The mass of which it says most is asked for first:
    parts that come later have little then.
    """
    count = rows.size
    off = np.tile(np.arange(_PARTS) - 1, count)
    single = _of_ranges(rows, np.tile(_ONE_OFF, (count, 1, 1)))
    sides, even = sides_of(single), np.tile(IDENTITY, (single.size, 1, 1))
    numbers = off, np.where(off < 0, off, (off + MASSES // 2) % MASSES)
    looks = [_look(f, shared, *each, even, dimensions, 1) for each in zip(sides, numbers, strict=True)]
    second = looks[1].spread < looks[0].spread
    grid = np.where(second[:, None, None], looks[1].grid, looks[0].grid)
    of_mass = np.maximum(looks[0].mean, looks[1].mean).reshape(count, _PARTS)[:, 1:]
    first, other = sides_of(_of_ranges(rows, ranges(np.argsort(-of_mass, axis=1, kind="stable"))))
    visible, number = where(second, other, first), np.where(second, *numbers[::-1])
    return _Fitted(visible, _look(f, shared, visible, number, grid, dimensions, _ROUND), number)


def ranges(order: np.ndarray) -> np.ndarray:
    """The ranges of all masses' numbers in all parts of rows `[rows · parts, masses, 2]`.

    **Arguments:** `order`, in which masses are asked whether they are off `[rows, masses]`.
    """
    found = np.tile(_ONE_OFF[0], (len(order), _PARTS, 1, 1))
    place = np.argsort(order, axis=1)
    for mass in range(MASSES):
        found[:, 1 + mass][place > place[:, mass : mass + 1]] = _ANY
        found[:, 1 + mass, mass] = _IS_OFF
    return found.reshape(-1, MASSES, 2)


def _look(
    f: Integrand,
    shared: Shared,
    parts: Visible,
    number: np.ndarray,
    grid: np.ndarray,
    dimensions: int,
    slots: int,
) -> _Look:
    """**Arguments:** `number`, of the coordinate to be mapped, −1 for none; `grid`, its map now."""
    points = fixed_points(slots, dimensions).reshape(-1, dimensions)
    rows, place = np.arange(parts.size), np.arange(len(points))
    u = points[:, number].T
    x = np.tile(points, (parts.size, 1, 1))
    x[rows[:, None], place, number[:, None]], slope = mapped_rows(grid, u)
    w = on_points(f, shared, parts, x) * slope
    mean, spread = w.mean(axis=1), spread_of(w)
    cell = rows[:, None] * BINS + np.minimum((u * BINS).astype(int), BINS - 1)
    scale = np.where(mean > 0, mean, 1.0)[:, None]
    moments = np.bincount(cell.ravel(), ((w / scale) ** 2).ravel(), parts.size * BINS)
    sums = (w / scale).sum(axis=1)[:, None, None]
    better, gain = better_maps(
        grid[:, None], moments.reshape(-1, 1, BINS, 1), sums, np.full(parts.size, len(points))
    )
    kept = (number < 0) | (mean == 0)
    after = np.where(kept, spread, 1 + (spread - 1) / np.maximum(gain, 1.0))
    return _Look(mean, after, np.where(kept[:, None, None], grid, better[:, 0]))


def _better_side(
    f: Integrand, shared: Shared, rows: Visible, dimensions: int, groups: Groups
) -> tuple[Visible, np.ndarray, np.ndarray, FirstMaps]:
    """Rows with the better side first; the mean and the spread, and maps of it.

    A slot of points decides which side it is. All but the smallest rows of an event then have another one.
    """
    sides, points = sides_of(rows), fixed_points(2, dimensions)
    first, second = (at_fixed_points(f, shared, side, points[:1]) for side in sides)
    turned = spread_of(second) < spread_of(first)
    visible, w = where(turned, sides[1], sides[0]), np.where(turned[:, None], second, first)
    mean, spread = np.maximum(first.mean(axis=1), second.mean(axis=1)), spread_of(w)
    large = np.flatnonzero(mean >= _SECOND_LOOK * groups.max(mean)[groups.event])
    more = at_fixed_points(f, shared, visible.rows(large), points[1:])
    w = np.concatenate([w[large], more], axis=1)
    mean[large], spread[large] = w.mean(axis=1), spread_of(w)
    maps = FirstMaps.none(rows.size, dimensions)
    found = FirstMaps.from_points(points.reshape(-1, dimensions), w)
    maps.learned[large], maps.knots[large] = found
    return visible, mean, spread, maps


def sides_of(rows: Visible) -> tuple[Visible, Visible]:
    """The rows with either top first, for the map by angle."""
    legs = rows.legs.energy.shape[1]
    other = rows.permuted(np.roll(np.arange(legs), legs // 2))
    if rows.choices.parts is not None:
        other = other.choosing(parts=np.roll(rows.choices.parts, MASSES // 2, axis=1))
    first, second = (
        each.choosing(second_first=np.full(rows.size, side)) for side, each in ((False, rows), (True, other))
    )
    return first, second


def _of_ranges(rows: Visible, ranges: np.ndarray) -> Visible:
    """As many parts of each row, one after the other, of these ranges `[parts, masses, 2]`."""
    again = rows.rows(np.repeat(np.arange(rows.size), len(ranges) // rows.size))
    return again.choosing(
        broad=np.full(len(ranges), _OFF), apart=np.ones(len(ranges), dtype=bool), parts=ranges
    )


_NEAR, _IS_OFF, _ANY = (_OFF, 1 - _OFF), (0.0, _OFF), (0.0, 1.0)
_ONE_OFF = np.array(
    [[_NEAR] * MASSES, *([_IS_OFF if i == k else _NEAR for i in range(MASSES)] for k in range(MASSES))]
)
"""The ranges where no mass is off, or one of them `[parts, masses, 2]`."""
_PARTS = MASSES + 1
_WHOLE = np.tile([0.0, 1.0], (1, MASSES, 1))
