"""The minimum of −2 log L with its interval, and what pseudo-experiments say of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from deepmem.errors import UsageError

_NEAR = 4.0  # of −2Δ log L: two standard errors
_ASKEW = 0.3  # relative, how far values may be from the parabola through the three lowest


class Interval:
    """The minimum of −2 log L, and where it rises by 1 on either side (None beyond the scan).

    **Arguments:** `values` of the parameter, rising, and `total`, −2 log L at each.
    """

    def __init__(self, values: np.ndarray, total: np.ndarray):
        self._values = values
        spline = CubicSpline(values, total) if len(values) > 3 else np.poly1d(np.polyfit(values, total, 2))
        fine = np.linspace(values[0], values[-1], 4001)
        heights = spline(fine)
        at = int(np.argmin(heights))
        lowest = float(heights[at])
        self.best, self.inside = float(fine[at]), 0 < at < len(fine) - 1
        above = heights - lowest >= 1
        low, high = np.flatnonzero(above[:at]), np.flatnonzero(above[at:])
        self.low = float(fine[low[-1]]) if len(low) else None
        self.high = float(fine[at + high[0]]) if len(high) else None
        self.points = total - lowest
        self._minima = _runs(heights - lowest < _NEAR)
        self.curve = lambda x: spline(x) - lowest

    @property
    def half(self) -> float | None:
        """Half of its width."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def doubts(self) -> list[str]:
        """Why the minimum and its interval may be those of the curve between the values only, with what to
        do; none where the values tell."""
        if not self.inside:
            return []
        at = int(np.argmin(self.points))
        beside = self.points[[i for i in (at - 1, at + 1) if 0 <= i < len(self.points)]]
        step = float(np.diff(self._values)[max(at - 1, 0) : at + 1].max())
        if beside.min() >= _NEAR:
            finer = "" if self.half is None else f", in steps of about {self.half:.1g},"
            return [
                f"the values next to the lowest one are {beside.min():.3g} above it in −2Δ log L, where 1 is "
                f"one standard error: steps of {step:.3g} are too coarse to tell the minimum or its "
                f"interval. Scan more finely{finer} around {self.best:.5g}"
            ]
        if self._minima > 1:
            return [
                f"−2 log L has {self._minima} minima within {_NEAR:g} of one another: no single interval "
                "describes it. Look at the figure, and scan more finely"
            ]
        return self._unlike_a_parabola(at)

    def _unlike_a_parabola(self, at: int) -> list[str]:
        """The parabola through the lowest of the values and the ones beside it, against the values next to
        these, and against the interval."""
        at = min(max(at, 1), len(self.points) - 2)
        parabola = np.polyfit(self._values[at - 1 : at + 2] - self.best, self.points[at - 1 : at + 2], 2)
        rows = [i for i in (at - 2, at + 2) if 0 <= i < len(self.points)]
        foreseen, found = np.polyval(parabola, self._values[rows] - self.best), self.points[rows]
        fits = parabola[0] > 0 and bool(
            (np.abs(foreseen - found) <= 1 + _ASKEW * np.maximum(foreseen, found)).all()
        )
        if fits and self.half is not None:
            fits = abs(parabola[1] / (2 * parabola[0])) < self.half / 2
        if fits:
            return []
        return [
            "−2 log L is no parabola around its minimum: the values next to it do not agree with the "
            "interval. Scan more finely, and look at the figure"
        ]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        place = {"best": self.best, "low": self.low, "high": self.high, "minimum_inside": self.inside}
        return {**place, "doubts": self.doubts}

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.best:.5g}, interval leaves the scan"
        return f"{self.best:.5g} −{self.best - self.low:.2g} +{self.high - self.best:.2g}"


def _runs(inside: np.ndarray) -> int:
    """How many stretches of a curve are inside."""
    return int(inside[0]) + int((np.diff(inside.astype(int)) > 0).sum())


def pseudo_experiments(
    terms: Mapping[str, np.ndarray],
    values: np.ndarray,
    samples: int,
    true: float | None,
    best: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Bias and pull width of the minima of disjoint random subsamples.

    **Arguments:** `terms` of −2 log L `[events, values]`, by source; `values` of the parameter; `samples`,
    how many, drawn with `rng`; `true`, the value that a user gives, or `best`, the exact minimum of all
    events.

    **Returns** both of each source, and the mean difference of learned and exact minima.

    **Raises** `UsageError` where there are not so many events.
    """
    events = len(next(iter(terms.values())))
    if not 2 <= samples <= events:
        raise UsageError(f"--samples {samples}: expected 2 to {events}, the number of events")
    parts = np.array_split(rng.permutation(events), samples)
    fits = {s: [Interval(values, each[rows].sum(axis=0)) for rows in parts] for s, each in terms.items()}
    usable = np.array([all(fit[i].half is not None for fit in fits.values()) for i in range(samples)])
    reference = best if true is None else true
    result: dict[str, Any] = {
        "samples": samples,
        "kind": "disjoint random subsamples",
        "events_of_each": events // samples,
        "true": reference,
        "true_from": "the exact minimum of all events" if true is None else "given",
        "left_out_because_the_interval_leaves_the_scan": int((~usable).sum()),
    }
    rows = np.flatnonzero(usable)
    if len(rows) < 2:
        return result
    minima = {source: np.array([each[i].best for i in rows]) for source, each in fits.items()}
    for source, each in fits.items():
        pulls = (minima[source] - reference) / np.array([each[i].half for i in rows])
        result[source] = {
            "bias": float(minima[source].mean() - reference),
            "bias_error": float(minima[source].std(ddof=1) / len(rows) ** 0.5),
            "pull_width": float(pulls.std(ddof=1)),
            "pull_width_error": float(pulls.std(ddof=1) / (2 * len(rows) - 2) ** 0.5),
        }
    if len(minima) == 2:
        shift = minima["learned"] - minima["exact"]
        result["learned_minus_exact"] = {
            "value": float(shift.mean()),
            "error": float(shift.std(ddof=1) / len(rows) ** 0.5),
        }
    return result
