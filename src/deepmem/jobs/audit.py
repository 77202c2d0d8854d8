"""An audit: what exact weights of a random sample say of learned ones, which stay learned elsewhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from deepmem.evaluation.honesty import Coverage, Honesty, Pulls
from deepmem.evaluation.metrics import Estimate
from deepmem.evaluation.verdict import Judgement, calibration
from deepmem.event import Weight

# When errors do not hold: relative bias, its significance, and coverage of 95 % intervals.
BIAS, SIGNIFICANT, _COVERED = 0.002, 3.0, 0.90
# When the weights themselves are wrong: relative bias, its significance, or coverage of 95 % intervals.
_WRONG, _SURELY, _HALF_COVERED = 0.02, 5.0, 0.5
# What an audit of too few events has no figures for.
_FIGURES = ("bias", "median", "typical_deviation", "sum_bias", "coverage", "pulls", "calibration")


@dataclass(frozen=True)
class Deviation(Estimate):
    """A relative deviation and its standard error."""

    def __str__(self) -> str:
        return f"{100 * self.value:+.3f} ± {100 * self.error:.3f} %"

    @property
    def significant(self) -> bool:
        """Whether it is a bias that users must know of."""
        return abs(self.value) > max(BIAS, SIGNIFICANT * self.error)


@dataclass(frozen=True)
class Median:
    """The median of relative deviations; `deviation`, by how many standard errors of a fair coin they lie on
    one side of 0."""

    value: float
    deviation: float


@dataclass(frozen=True)
class Figures:
    """How far learned weights are from exact ones.

    - `bias`, `median`, `largest_deviation` of learned/exact − 1; `typical_deviation`, the median of its size
    - `sum_bias`, that of the sum of the weights
    - `coverage`, `pulls` of the errors; None where there are none, or too few; `calibration`, whether errors
      can be relied on
    """

    bias: Deviation
    median: Median
    typical_deviation: float
    sum_bias: Deviation
    largest_deviation: float
    coverage: Coverage | None
    pulls: Pulls | None
    calibration: Judgement

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return asdict(self) | {"coverage": None if self.coverage is None else self.coverage.to_dict()}


@dataclass(frozen=True)
class Audit:
    """An audit of so many events, of which `pairs` have both weights; `figures`, where these are enough."""

    events: int
    pairs: int
    figures: Figures | None

    @classmethod
    def of(cls, exact: Weight, learned: Weight) -> Audit:
        """Judge learned weights by exact ones of the same events."""
        rows = positive_in_both(exact, learned)
        t, p = exact[rows], learned[rows]
        if len(t) < 2:
            return cls(len(exact), len(t), None)
        # the mean of 1/(1 + noise) is above 1 by the noise's variance
        ratio = p.value / t.value - 1 - np.nan_to_num(t.error / t.value) ** 2
        total = float(p.value.sum() / t.value.sum())
        scatter = float((p.value - total * t.value).std(ddof=1) * len(t) ** 0.5 / t.value.sum())
        honesty = Honesty.of(t, p)
        figures = Figures(
            Deviation(float(ratio.mean()), float(ratio.std(ddof=1) / len(t) ** 0.5)),
            Median(float(np.median(ratio)), float((np.sum(ratio > 0) - len(t) / 2) / (len(t) ** 0.5 / 2))),
            float(np.median(np.abs(ratio))),
            Deviation(total - 1, scatter),
            float(np.abs(ratio).max()),
            honesty.coverage,
            honesty.pulls,
            calibration(honesty),
        )
        return cls(len(exact), len(t), figures)

    @cached_property
    def failure(self) -> str | None:
        """Why learned weights are wrong, where that is shown: off by more than 2 % and five standard errors.

        By their mean; where single events are off by far more than the rest, by their median (half of the
        ratios would lie on either side of 1); or, off either way, by 95 % intervals that cover less than
        half.
        """
        if self.figures is None:
            return None
        bias, median, typical = self.figures.bias, self.figures.median, self.figures.typical_deviation
        coverage = self.figures.coverage
        wrong = (
            abs(bias.value) > max(_WRONG, _SURELY * bias.error),
            abs(median.value) > _WRONG and abs(median.deviation) > _SURELY,
            typical > _WRONG and coverage is not None and _short(coverage, _HALF_COVERED, _SURELY),
        )
        if not any(wrong):
            return None
        return (
            f"THE LEARNED WEIGHTS ARE WRONG: {self.pairs} that were audited are off by {bias} on "
            f"average and by {100 * median.value:+.3g} % in the median, half of them by more than "
            f"{100 * typical:.3g} %. Those that stay learned have status 4. See that process and parameters "
            "are those that the model was trained for, or train on events like these"
        )

    @property
    def alarms(self) -> list[str]:
        """What a user must know before relying on the learned weights."""
        if self.failure is not None:
            return [self.failure]
        if self.figures is None:
            return []
        findings = []
        if self.figures.bias.significant:
            findings.append(f"learned weights are off by {self.figures.bias} on average")
        coverage = self.figures.coverage
        if coverage is not None and _short(coverage, _COVERED, SIGNIFICANT):
            covered = 100 * coverage.in_95.covered
            findings.append(f"95 % intervals cover {covered:.1f} % of the exact weights")
        if not findings:
            return []
        return [
            f"THE MODEL'S ERRORS DO NOT HOLD FOR THESE EVENTS: {' and '.join(findings)}, as {self.pairs} "
            "events computed exactly show. See that process and parameters are those it was trained for, or "
            "train on events like these"
        ]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON; figures that there are not are None."""
        figures = dict.fromkeys(_FIGURES) if self.figures is None else self.figures.to_dict()
        return {"events": self.events, "judged": self.pairs, **figures}


def _short(coverage: Coverage, least: float, significance: float) -> bool:
    """Whether 95 % intervals cover less than that, by more than chance explains: of a few events, some may
    miss."""
    wide = coverage.in_95
    return wide.covered < least and wide.deviation < -significance


def positive_in_both(exact: Weight, learned: Weight) -> np.ndarray:
    """Which events can be judged by their ratio, bool `[events]`."""
    return (exact.value > 0) & (learned.value > 0) & np.isfinite(exact.value)
