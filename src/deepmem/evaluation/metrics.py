"""Figures of merit of one set of weights against another: how far Δ = log10(w_pred/w_true) is from 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

BINS = 10


@dataclass(frozen=True)
class Estimate:
    """A number found, and its standard error."""

    value: float
    error: float


class _Figures(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


Figures = TypeVar("Figures", bound=_Figures)


@dataclass(frozen=True)
class Bin(Generic[Figures]):
    """The figures of events whose −log10 w lies from `low` to `high`, w in GeV^(-n)."""

    low: float
    high: float
    events: int
    figures: Figures

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {"from": self.low, "to": self.high, "events": self.events, **self.figures.to_dict()}


@dataclass(frozen=True)
class Residuals:
    """How far predicted weights are from true ones.

    - `median`, `rms` (root mean square) of Δ; `q68`, `q95`, `q999`, 68, 95 and 99.9 % quantiles of |Δ|
    - `mape_of_log10_percent`, as the original DeepMEM defined it: 100 % × mean |Δ| / |log10 w_true|
    - `bias` of the weight itself, Σ w_pred / Σ w_true − 1, and `mean_ratio`, the mean of w_pred/w_true − 1
    """

    median: float
    q68: float
    q95: float
    q999: float
    rms: float
    mape_of_log10_percent: float
    bias: float
    mean_ratio: float

    @classmethod
    def of(cls, truth: np.ndarray, predicted: np.ndarray) -> Residuals:
        """Of positive weights of the same events, of which there is one at least."""
        delta = np.log10(predicted / truth)
        size = np.abs(delta)
        with np.errstate(divide="ignore"):
            mape = float(np.mean(size / np.abs(np.log10(truth))))
        q68, q95, q999 = np.quantile(size, [0.68, 0.95, 0.999])
        return cls(
            median=float(np.median(delta)),
            q68=float(q68),
            q95=float(q95),
            q999=float(q999),
            rms=float(np.sqrt(np.mean(delta**2))),
            mape_of_log10_percent=100 * mape,
            bias=float(predicted.sum() / truth.sum() - 1),
            mean_ratio=float(np.mean(predicted / truth) - 1),
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Agreement:
    """How well weights agree with the true ones of the same events.

    - `events`: how many have a positive weight in both; `left_out`: how many have not
    - `residuals` of these events, None where there are none; in `bins` of equal population of the true weight
    """

    events: int
    left_out: int
    residuals: Residuals | None
    bins: list[Bin[Residuals]]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON; figures that there are not are None."""
        nothing = dict.fromkeys(field.name for field in fields(Residuals))
        return {
            "events": self.events,
            "left_out": self.left_out,
            **(nothing if self.residuals is None else self.residuals.to_dict()),
            "bins_of_minus_log10_weight": [bin.to_dict() for bin in self.bins],
        }


def compare(truth: np.ndarray, predicted: np.ndarray) -> Agreement:
    """How well `predicted` reproduces `truth`, overall and in bins of equal population of the true weight.

    **Arguments:** two float64 arrays `[events]`; pairs in which either is not finite and positive are left
    out and counted.
    """
    good = np.isfinite(truth) & np.isfinite(predicted) & (truth > 0) & (predicted > 0)
    t, p = truth[good], predicted[good]
    return Agreement(
        int(good.sum()),
        int((~good).sum()),
        Residuals.of(t, p) if len(t) else None,
        [
            Bin(low, high, int(inside.sum()), Residuals.of(t[inside], p[inside]))
            for low, high, inside in bins_of(-np.log10(t))
        ],
    )


def left_out_by_reason(truth: np.ndarray, predicted: np.ndarray) -> dict[str, int]:
    """How many pairs `compare` leaves out for which reason; one may have several."""
    reasons = {
        f"{which} {what}": rows
        for which, values in (("true weight", truth), ("predicted weight", predicted))
        for what, rows in (
            ("NaN", np.isnan(values)),
            ("infinite", np.isinf(values)),
            ("zero", values == 0),
            ("negative", np.isfinite(values) & (values < 0)),
        )
    }
    return {reason: int(rows.sum()) for reason, rows in reasons.items() if rows.any()}


def bins_of(values: np.ndarray) -> list[tuple[float, float, np.ndarray]]:
    """Bins of equal population, none where there are too few events: from where to where each goes, and which
    events are in it, bool `[events]`."""
    if len(values) < BINS:
        return []
    edges = np.quantile(values, np.linspace(0, 1, BINS + 1))
    index = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, BINS - 1)
    return [(float(edges[i]), float(edges[i + 1]), index == i) for i in range(BINS) if (index == i).any()]


@dataclass(frozen=True)
class Quantiles:
    """The 68 and 95 % quantiles of |Δ|."""

    q68: Estimate
    q95: Estimate


def stratified_quantiles(
    strata: Sequence[np.ndarray], sizes: Sequence[int], resamples: int = 200
) -> Quantiles | None:
    """The 68 and 95 % quantiles of all events, from a random sample of each of several parts of them.

    **Arguments:** `strata`, per part what was found of its sample `[events]`, what is not finite is left out;
    `sizes`, of the parts.

    **Returns** both with bootstrap errors; None where a part has no events.
    """
    strata = [values[np.isfinite(values)] for values in strata]
    if not strata or not all(map(len, strata)):
        return None
    weights = np.concatenate(
        [np.full(len(values), size / len(values)) for values, size in zip(strata, sizes, strict=True)]
    )
    rng = np.random.default_rng(0)
    samples = [strata, *([rng.choice(each, len(each)) for each in strata] for _ in range(resamples))]
    found = np.array([_weighted_quantiles(np.concatenate(each), weights, (0.68, 0.95)) for each in samples])
    errors = found[1:].std(axis=0, ddof=1)
    return Quantiles(
        *(Estimate(float(value), float(error)) for value, error in zip(found[0], errors, strict=True))
    )


def _weighted_quantiles(values: np.ndarray, weights: np.ndarray, at: Sequence[float]) -> np.ndarray:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return values[order][np.searchsorted(reached, np.array(at) * reached[-1])]
