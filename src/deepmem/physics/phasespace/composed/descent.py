"""Gauss–Newton steps to the likeliest energies at given masses, and how these go along with a mass.

Masses are on their poles, or where they were measured: see `Pulls.start`, and below where a chain of them is
so tense on its poles that what was measured is the better place to begin. Rows do not depend on each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from deepmem.physics.phasespace.composed.pulls import FARTHEST, TENSION
from deepmem.physics.phasespace.composition import Composition

_STEPS, _LONGEST = 5, 0.4


class Start(NamedTuple):
    """Where rows begin."""

    x: np.ndarray
    """ln E/Ē `[rows, drawn]`."""
    t: np.ndarray
    """ln √s/m `[rows, solves]`."""
    measured: np.ndarray
    """t of the energies as measured."""


class Lowest(NamedTuple):
    """Where the sum of squares of pulls is least."""

    x: np.ndarray
    t: np.ndarray
    of_x: np.ndarray
    """The derivatives of pulls in x `[rows, pulls, drawn]`."""
    of_t: np.ndarray
    """And in t `[rows, pulls, solves]`."""
    of_total: np.ndarray
    """Those of a neutrino's p_T in both `[rows, 2, drawn and solves]`."""


def descended(
    derivatives: Callable[..., tuple[Any, ...]], composition: Composition, start: Start, used: int
) -> Lowest:
    """The least sum of squares of each row.

    **Arguments:** `derivatives` (x, t) ↦ pulls, their derivatives and those of p_T; `used`, how many of the
    rows are no padding.
    """
    x, t, measured = start
    found = _downhill(derivatives, x, t)
    there, tense = _tense(composition, start._replace(x=found[0]), found[1])
    if tense[:used].any():
        t, anew = np.where(tense, measured, t), tense.any(axis=1)
        again = _downhill(derivatives, there, t)
        found = tuple(
            np.where(anew.reshape(-1, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip(again, found, strict=True)
        )
    x, _, j, of_total = found
    count = x.shape[1]
    return Lowest(x, t, j[..., :count], j[..., count:], of_total)


def _downhill(
    derivatives: Callable[..., tuple[Any, ...]], x: np.ndarray, t: np.ndarray
) -> tuple[np.ndarray, ...]:
    """x where the sum of squares is least, with pulls and their derivatives there."""
    count, unit = x.shape[1], np.eye(x.shape[1])
    for _ in range(_STEPS if count else 0):
        z, j, _ = map(np.asarray, derivatives(x, t))
        of_x = j[..., :count]
        normal = np.swapaxes(of_x, 1, 2) @ of_x + unit
        downhill = (np.swapaxes(of_x, 1, 2) @ z[..., None])[..., 0] + x
        move = np.linalg.solve(normal, downhill[..., None])[..., 0]
        x = np.clip(x - np.clip(move, -_LONGEST, _LONGEST), -FARTHEST, FARTHEST)
    return (x, *map(np.asarray, derivatives(x, t)))


def _tense(composition: Composition, there: Start, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x to begin with again, and which masses are to be where they were measured `[rows, solves]`.

    **Arguments:** `there`, where the rows are; `z`, their pulls.
    """
    solves, tense, x = composition.solves, np.zeros(there.t.shape, dtype=bool), there.x.copy()
    pulled = (*composition.drawn, *(each.leg for each in solves))
    for q, each in enumerate(solves):
        chain = {each.leg, *each.others}
        for later in solves[q + 1 :]:
            if chain <= set(later.others):
                chain = {later.leg, *later.others}
        tension = (z[:, [i for i, leg in enumerate(pulled) if leg in chain]] ** 2).sum(axis=1)
        tense[:, q] = (tension > TENSION**2) & (there.t[:, q] != there.measured[:, q])
        free = [i for i, leg in enumerate(composition.drawn) if leg in chain]
        x[:, free] = np.where(tense[:, q, None], 0.0, x[:, free])
    return x, tense


def paths(of_x: np.ndarray, of_t: np.ndarray, t: np.ndarray) -> np.ndarray:
    """How x and t move along the profile of each mass `[rows, x and t, masses]`.

    A mass that is off its pole, where its shape is about even, goes along with another one.
    """
    drawn, masses = of_x.shape[2], of_t.shape[2]
    j, paths = np.concatenate([of_x, of_t], axis=2), np.zeros((len(t), drawn + masses, masses))
    for q in range(masses):
        free = np.concatenate([np.ones((len(t), drawn)), t != 0], axis=1)
        free[:, drawn + q] = 0
        moved = j * free[:, None]
        normal = np.swapaxes(moved, 1, 2) @ moved + np.eye(drawn + masses)
        downhill = np.swapaxes(moved, 1, 2) @ of_t[..., q : q + 1]
        paths[..., q] = -np.linalg.solve(normal, downhill)[..., 0]
        paths[:, drawn + q, q] = 1
    return paths
