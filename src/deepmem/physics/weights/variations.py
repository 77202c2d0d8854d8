"""Weights of the same events, measured otherwise: their points and maps are those of the nominal weights.

With covariance c, the relative error of the ratio V/W is √(σ_V²/V² + σ_W²/W² − 2c/(VW)). Where points that
suit an event do not suit it varied (other jets are its leading ones), it is integrated by itself, and c = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np

from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.weights.permuted import Before, Integration
from deepmem.physics.weights.visible import Measured


@dataclass(frozen=True)
class Nominal:
    """The nominal integrals of events, for variations to follow; `estimate` and `before` are of `rows`."""

    measured: Measured
    """Of all events."""
    numbers: np.ndarray
    """Of all events, in their file."""
    rows: np.ndarray
    """The events that can be computed."""
    estimate: Estimate
    before: Before | None

    @classmethod
    def of(
        cls, work: Integration, measured: Measured, rows: np.ndarray, numbers: np.ndarray, remembered: bool
    ) -> Nominal:
        """Integrate the events at `rows`."""
        estimate, before = Estimate.of_nothing(), None
        if len(rows):
            estimate, before = work.integrate(measured.rows(rows), numbers[rows], remembered)
        return cls(measured, numbers, rows, estimate, before)

    def varied(self, work: Integration, measured: Measured, rows: np.ndarray) -> tuple[Estimate, np.ndarray]:
        """The integrals of the same events as a variation has them, at `rows`.

        **Arguments:** `measured`, of all events.

        **Returns** an estimate of these, and the covariance with the nominal weights `[rows, weights]`.
        """
        place = np.full(len(self.numbers), -1)
        place[self.rows] = np.arange(len(self.rows))
        place = place[rows]
        same = (place >= 0) & _equal(self.measured.rows(rows), measured.rows(rows))
        parts: list[tuple[np.ndarray, Estimate, np.ndarray]] = []
        if same.any():
            of_same = _rows(self.estimate, place[same])
            parts.append((np.flatnonzero(same), of_same, of_same.error[:, : work.alpha.count] ** 2))
        at, alone = np.flatnonzero((place >= 0) & ~same), np.flatnonzero(place < 0)
        if len(at):
            assert self.before is not None
            there = rows[at]
            nominal = _rows(self.estimate, place[at])
            pair = work.follow(self.before, place[at], nominal, measured.rows(there), self.numbers[there])
            good = pair.suited()
            pair.extend(good)
            found, covariance = pair.found()
            parts.append((at[good], _rows(found, good), covariance[good]))
            alone = np.sort(np.r_[alone, at[~good]])
        if len(alone):
            estimate, _ = work.integrate(measured.rows(rows[alone]), self.numbers[rows[alone]])
            parts.append((alone, estimate, np.zeros((len(alone), work.alpha.count))))
        if not parts:
            return Estimate.of_nothing(), np.zeros((0, work.alpha.count))
        order = np.argsort(np.concatenate([each for each, *_ in parts]))
        joined = Estimate.joined([estimate._replace(course=None) for _, estimate, _ in parts])
        return _rows(joined, order), np.concatenate([each for *_, each in parts])[order]


def _equal(one: Measured, other: Measured) -> np.ndarray:
    """Which events are the same in all that was measured."""
    found = [
        (first == second).all(axis=tuple(range(1, first.ndim)))
        for first, second in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    ]
    return np.logical_and.reduce(found)


def _rows(estimate: Estimate, index: np.ndarray) -> Estimate:
    """Some of the events, without their course."""
    found: Estimate = jax.tree.map(lambda leaf: leaf[index], estimate._replace(course=None))
    return found
