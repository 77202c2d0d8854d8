"""The minimum of −2 log L with its interval, and what pseudo-experiments say of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from deepmem.errors import UsageError


class Interval:
    """The minimum of −2 log L, and where it rises by 1 on either side (None beyond the scan).

    **Arguments:** `values` of the parameter, rising, and `total`, −2 log L at each.
    """

    def __init__(self, values: np.ndarray, total: np.ndarray):
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
        self.curve = lambda x: spline(x) - lowest

    @property
    def half(self) -> float | None:
        """Half of its width."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {"best": self.best, "low": self.low, "high": self.high, "minimum_inside": self.inside}

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.best:.5g}, interval leaves the scan"
        return f"{self.best:.5g} −{self.best - self.low:.2g} +{self.high - self.best:.2g}"


def pseudo_experiments(
    terms: Mapping[str, np.ndarray],
    values: np.ndarray,
    samples: int,
    true: float | None,
    best: float,
    seed: int,
) -> dict[str, Any]:
    """Bias and pull width of the minima of disjoint random subsamples.

    **Arguments:** `terms` of −2 log L `[events, values]`, by source; `values` of the parameter; `samples`,
    how many; `true`, the value that a user gives, or `best`, the exact minimum of all events.

    **Returns** both of each source, and the mean difference of learned and exact minima.

    **Raises** `UsageError` where there are not so many events.
    """
    events = len(next(iter(terms.values())))
    if not 2 <= samples <= events:
        raise UsageError(f"--samples {samples}: expected 2 to {events}, the number of events")
    parts = np.array_split(np.random.default_rng(seed).permutation(events), samples)
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
