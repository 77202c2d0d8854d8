"""The minimum of −2 log L with its interval, and what pseudo-experiments say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.interpolate import CubicSpline

from deepmem.errors import UsageError
from deepmem.evaluation.metrics import Estimate

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


@dataclass(frozen=True)
class Minima:
    """What the minima of pseudo-experiments are: their mean less the true value, and the width of their
    pulls, (minimum − true value)/(half of the interval)."""

    bias: Estimate
    pull_width: Estimate

    @classmethod
    def of(cls, fits: Sequence[Interval], true: float) -> Minima:
        """Of fits whose intervals lie within the scan."""
        best = _best(fits)
        mean = _mean(best)
        width = float(((best - true) / np.array([fit.half for fit in fits])).std(ddof=1))
        width_error = float(width / (2 * len(fits) - 2) ** 0.5)
        return cls(Estimate(mean.value - true, mean.error), Estimate(width, width_error))

    def to_dict(self) -> dict[str, float]:
        """The same as JSON."""
        return {
            "bias": self.bias.value,
            "bias_error": self.bias.error,
            "pull_width": self.pull_width.value,
            "pull_width_error": self.pull_width.error,
        }


@dataclass(frozen=True)
class PseudoExperiments:
    """What fits of disjoint random subsamples say of the minimum of −2 log L.

    - `samples`: how many there are, of `events_of_each`; `lost`, how many of these are left out because
      their intervals leave the scan
    - `true`: the value that minima are compared with, and whether a user gave it (`given`)
    - `minima`, by source, and `learned_minus_exact`, the mean difference; none where too few are left
    """

    samples: int
    events_of_each: int
    lost: int
    true: float
    given: bool
    minima: dict[str, Minima]
    learned_minus_exact: Estimate | None

    kind: ClassVar[str] = "disjoint random subsamples"

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON, without what there is not."""
        numbers = {
            "samples": self.samples,
            "kind": self.kind,
            "events_of_each": self.events_of_each,
            "true": self.true,
            "true_from": "given" if self.given else "the exact minimum of all events",
            "left_out_because_the_interval_leaves_the_scan": self.lost,
            **{source: each.to_dict() for source, each in self.minima.items()},
        }
        shift = self.learned_minus_exact
        return numbers if shift is None else numbers | {"learned_minus_exact": asdict(shift)}


def pseudo_experiments(
    terms: Mapping[str, np.ndarray],
    values: np.ndarray,
    samples: int,
    true: float | None,
    best: float,
    rng: np.random.Generator,
) -> PseudoExperiments:
    """Bias and pull width of the minima of disjoint random subsamples.

    **Arguments:** `terms` of −2 log L `[events, values]`, by source; `values` of the parameter; `samples`,
    how many, drawn with `rng`; `true`, the value that a user gives, or `best`, the exact minimum of all
    events.

    **Raises** `UsageError` where there are not so many events.
    """
    events = len(next(iter(terms.values())))
    if not 2 <= samples <= events:
        raise UsageError(f"--samples {samples}: expected 2 to {events}, the number of events")
    parts = np.array_split(rng.permutation(events), samples)
    fits = {s: [Interval(values, each[rows].sum(axis=0)) for rows in parts] for s, each in terms.items()}
    usable = [i for i in range(samples) if all(fit[i].half is not None for fit in fits.values())]
    reference = best if true is None else true
    minima, shift = {}, None
    if len(usable) > 1:
        inside = {source: [each[i] for i in usable] for source, each in fits.items()}
        minima = {source: Minima.of(each, reference) for source, each in inside.items()}
        if len(inside) == 2:
            shift = _mean(_best(inside["learned"]) - _best(inside["exact"]))
    lost = samples - len(usable)
    return PseudoExperiments(
        samples, events // samples, lost, reference, true is not None, minima, shift
    )  # fmt: skip


def _best(fits: Sequence[Interval]) -> np.ndarray:
    """The minima, `[fits]`."""
    return np.array([fit.best for fit in fits])


def _mean(values: np.ndarray) -> Estimate:
    """The mean of independent values, and its error."""
    return Estimate(float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5))
