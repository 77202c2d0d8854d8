"""Whether the errors that a prediction says it has are those that it has: pulls and coverage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import erf

from deepmem.evaluation.metrics import Bin, Residuals, bins_of
from deepmem.event import Status, Weight, by_status, count_statuses


@dataclass(frozen=True)
class Pulls:
    """Pulls z = (w_true − w_pred)/√(error² + truth_error²), a unit Gaussian's where errors hold: their mean,
    width (standard deviation, and half of what the central 68 % span) and the largest |z|."""

    mean: float
    mean_error: float
    width: float
    width_of_the_central_68_percent: float
    largest: float

    @classmethod
    def of(cls, z: np.ndarray) -> Pulls | None:
        """Of z `[events]`; None of fewer than two."""
        if len(z) < 2:
            return None
        width = float(np.std(z, ddof=1))
        low, high = np.quantile(z, [0.15865, 0.84135])
        return cls(
            float(z.mean()), width / len(z) ** 0.5, width, float((high - low) / 2), float(np.abs(z).max())
        )


@dataclass(frozen=True)
class Covered:
    """How often the truth lies within an interval of the predicted error, as fractions: `expected` where
    errors hold; `covered`, with its binomial `error`; `deviation`, in standard errors of what is expected."""

    expected: float
    covered: float
    error: float
    deviation: float

    @classmethod
    def of(cls, inside: np.ndarray, expected: float) -> Covered:
        """Of events whose truth is inside or not, bool `[events]`."""
        covered, number = float(inside.mean()), len(inside)
        return cls(
            expected,
            covered,
            float(np.sqrt(covered * (1 - covered) / number)),
            float((covered - expected) / np.sqrt(expected * (1 - expected) / number)),
        )

    def __str__(self) -> str:
        return f"{100 * self.covered:.1f} ± {100 * self.error:.1f} %"


@dataclass(frozen=True)
class Coverage:
    """What intervals of one error (`in_68`, 68.27 % where errors hold) and of 1.96 errors (`in_95`) cover."""

    in_68: Covered
    in_95: Covered

    @classmethod
    def of(cls, z: np.ndarray) -> Coverage | None:
        """Of pulls `[events]`; None where there are none."""
        if not len(z):
            return None
        return cls(Covered.of(np.abs(z) <= 1.0, 0.6827), Covered.of(np.abs(z) <= 1.96, 0.95))

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Coverage:
        """As `to_dict` has written it."""
        return cls(Covered(**entry["within_1"]), Covered(**entry["within_1.96"]))

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {"within_1": asdict(self.in_68), "within_1.96": asdict(self.in_95)}


@dataclass(frozen=True)
class StatusFigures:
    """The predictions of one status: how many there are, and what `fraction` of all; of those with a positive
    truth `q68`, `q95` and `bias` as of `metrics.Residuals`, and what fraction of the true weights lies
    `in_68` and `in_95` (None where nothing tells)."""

    events: int = 0
    fraction: float = 0.0
    q68: float | None = None
    q95: float | None = None
    bias: float | None = None
    in_68: float | None = None
    in_95: float | None = None

    @classmethod
    def of(cls, truth: Weight, predicted: Weight, status: Status, positive: np.ndarray) -> StatusFigures:
        """Of all predictions those of a status; `positive`, which are to be compared, bool `[events]`."""
        there = predicted.status == status
        events, rows = int(there.sum()), there & positive
        t, p = truth[rows], predicted[rows]
        figures = cls(events, events / len(predicted))
        if not len(t):
            return figures
        residuals, z = Residuals.of(t.value, p.value), pulls(t, p)
        figures = replace(figures, q68=residuals.q68, q95=residuals.q95, bias=residuals.bias)
        if (coverage := Coverage.of(z[np.isfinite(z)])) is None:
            return figures
        return replace(figures, in_68=coverage.in_68.covered, in_95=coverage.in_95.covered)

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> StatusFigures:
        """As `to_dict` has written it."""
        return cls(
            **{key: entry[key] for key in ("events", "fraction", "q68", "q95", "bias")},
            in_68=entry.get("within_1"),
            in_95=entry.get("within_1.96"),
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON, without coverage where there is none."""
        figures = {key: getattr(self, key) for key in ("events", "fraction", "q68", "q95", "bias")}
        covered = {"within_1": self.in_68, "within_1.96": self.in_95}
        return figures | {key: value for key, value in covered.items() if value is not None}


@dataclass(frozen=True)
class Honesty:
    """Whether predicted errors hold, and how good the labels allow a prediction to be.

    - `judged`: how many events have a truth and a prediction that are positive and of status 0
    - `pulls` and `coverage` of these, and coverage in `bins` of equal population of the predicted weight;
      None where a prediction has no errors
    - `noise_floor_q68`: q with (1/N) Σ erf(q ln 10 w/(√2 truth_error)) = 0.68: against these labels not even
      the true weight has |Δ| below q for more than 68 % of events; None where the truth has no errors
    - `truth_by_status`, how many events; `predicted_by_status`
    """

    judged: int
    truth_has_errors: bool
    pulls: Pulls | None
    coverage: Coverage | None
    bins: list[Bin[Coverage]]
    noise_floor_q68: float | None
    truth_by_status: Mapping[str, int]
    predicted_by_status: Mapping[Status, StatusFigures]

    @classmethod
    def of(cls, truth: Weight, predicted: Weight) -> Honesty:
        """Of two weights of the same events; a truth without errors is taken as exact.

        **Raises** `ValueError` where the two differ in length.
        """
        if len(truth) != len(predicted):
            raise ValueError(f"truth has {len(truth)} events and the prediction {len(predicted)}")
        positive = (truth.value > 0) & (predicted.value > 0) & np.isfinite(truth.value * predicted.value)
        positive &= truth.status == Status.GOOD  # other labels' errors are not those of Gaussian noise
        z = pulls(truth, predicted)
        good = positive & (predicted.status == Status.GOOD)
        judged = good & np.isfinite(z)
        return cls(
            judged=int(judged.sum()),
            truth_has_errors=bool(np.isfinite(truth.error[positive]).any()),
            pulls=Pulls.of(z[judged]),
            coverage=Coverage.of(z[judged]),
            bins=_coverage_in_bins(-np.log10(predicted.value[judged]), z[judged]),
            noise_floor_q68=_noise_floor(truth[good]),
            truth_by_status=by_status(count_statuses(truth.status)),
            predicted_by_status={
                status: StatusFigures.of(truth, predicted, status, positive)
                for status in Status
                if (predicted.status == status).any()
            },
        )

    def of_status(self, status: Status) -> StatusFigures:
        """The predictions of a status, of which there may be none."""
        return self.predicted_by_status.get(status, StatusFigures())

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Honesty:
        """As `to_dict` has written it."""
        pulls, coverage = entry["pulls"], entry["coverage"]
        return cls(
            judged=entry["judged"],
            truth_has_errors=entry["truth_has_errors"],
            pulls=None if pulls is None else Pulls(**pulls),
            coverage=None if coverage is None else Coverage.from_dict(coverage),
            bins=[
                Bin(bin["from"], bin["to"], bin["events"], Coverage.from_dict(bin))
                for bin in entry["bins_of_minus_log10_predicted"]
            ],
            noise_floor_q68=entry["noise_floor_q68"],
            truth_by_status=entry.get("truth_by_status", {}),
            predicted_by_status={
                Status(int(key.partition(" ")[0])): StatusFigures.from_dict(figures)
                for key, figures in entry["predicted_by_status"].items()
            },
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "judged": self.judged,
            "truth_has_errors": self.truth_has_errors,
            "pulls": None if self.pulls is None else asdict(self.pulls),
            "coverage": None if self.coverage is None else self.coverage.to_dict(),
            "bins_of_minus_log10_predicted": [bin.to_dict() for bin in self.bins],
            "noise_floor_q68": self.noise_floor_q68,
            "truth_by_status": self.truth_by_status,
            "predicted_by_status": {
                f"{status.value} {status.meaning}": figures.to_dict()
                for status, figures in self.predicted_by_status.items()
            },
        }


def pulls(truth: Weight, predicted: Weight) -> np.ndarray:
    """z = (w_true − w_pred)/√(error² + truth_error²), `[events]`; NaN where the prediction has no error."""
    # a truth without an error is exact; two errors of 0 leave nothing to divide by
    spread = np.hypot(predicted.error, np.nan_to_num(truth.error))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, (truth.value - predicted.value) / spread, np.nan)


def _coverage_in_bins(minus_log: np.ndarray, z: np.ndarray) -> list[Bin[Coverage]]:
    """Coverage in bins of −log10 of the predicted weight, `[events]`; `z`, pulls."""
    return [
        Bin(low, high, int(inside.sum()), coverage)
        for low, high, inside in bins_of(minus_log)
        if (coverage := Coverage.of(z[inside])) is not None
    ]


def _noise_floor(truth: Weight) -> float | None:
    """The 68 % quantile of |noise of log10 w|, a mixture of normals with each label's own width."""
    known = np.isfinite(truth.error)
    if not known.any():
        return None
    width = truth.error[known] / truth.value[known] / np.log(10)

    def excess(q: float) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.where(width > 0, erf(q / (np.sqrt(2) * width)), 1.0).mean() - 0.68)

    highest = 2 * float(width.max())
    return 0.0 if highest == 0 or excess(0.0) >= 0 else float(brentq(excess, 0.0, highest, rtol=1e-6))
