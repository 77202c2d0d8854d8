"""Figures of merit of one set of weights against another, on the weight itself and on its errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import erf

from deepmem.event import Status, Weight, by_status, count_statuses

BINS = 10


@dataclass(frozen=True)
class Estimate:
    """A number found, and its standard error."""

    value: float
    error: float


def compare(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """How well `predicted` reproduces `truth`, overall and in bins of equal population of the true weight.

    With Δ = log10(w_pred/w_true): median of Δ; 68, 95 and 99.9 % quantiles of |Δ|; the bias of the weight
    itself, Σ w_pred / Σ w_true − 1 (and the mean of w_pred/w_true − 1); root mean square of Δ; and the MAPE
    as the original DeepMEM defined it, 100 % × mean |Δ| / |log10 w_true|.

    **Arguments:** two float64 arrays `[events]`; pairs in which either is not finite and positive are left
    out and counted.
    """
    good = np.isfinite(truth) & np.isfinite(predicted) & (truth > 0) & (predicted > 0)
    t, p = truth[good], predicted[good]
    result: dict[str, Any] = {"events": int(good.sum()), "left_out": int((~good).sum()), **_figures(t, p)}
    edges = np.quantile(-np.log10(t), np.linspace(0, 1, BINS + 1)) if len(t) >= BINS else []
    result["bins_of_minus_log10_weight"] = [
        {"from": low, "to": high, "events": int(inside.sum()), **_figures(t[inside], p[inside])}
        for low, high, inside in _bins(-np.log10(t), edges)
    ]
    return result


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


def _bins(values: np.ndarray, edges: Any) -> list[tuple[float, float, np.ndarray]]:
    if len(edges) == 0:
        return []
    index = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return [
        (float(edges[i]), float(edges[i + 1]), index == i)
        for i in range(len(edges) - 1)
        if (index == i).any()
    ]


def _figures(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float | None]:
    if not len(truth):
        return dict.fromkeys(
            ("median", "q68", "q95", "q999", "rms", "mape_of_log10_percent", "bias", "mean_ratio")
        )
    delta = np.log10(predicted / truth)
    size = np.abs(delta)
    with np.errstate(divide="ignore"):
        mape = float(np.mean(size / np.abs(np.log10(truth))))
    q68, q95, q999 = np.quantile(size, [0.68, 0.95, 0.999])
    return {
        "median": float(np.median(delta)),
        "q68": float(q68),
        "q95": float(q95),
        "q999": float(q999),
        "rms": float(np.sqrt(np.mean(delta**2))),
        "mape_of_log10_percent": 100 * mape,
        "bias": float(predicted.sum() / truth.sum() - 1),
        "mean_ratio": float(np.mean(predicted / truth) - 1),
    }


def stratified_quantiles(
    strata: Sequence[np.ndarray], sizes: Sequence[int], resamples: int = 200
) -> dict[str, dict[str, float]] | None:
    """The 68 and 95 % quantiles of all events, from a random sample of each of several parts of them.

    **Arguments:** `strata`, per part what was found of its sample `[events]`, what is not finite is left out;
    `sizes`, of the parts.

    **Returns** `q68` and `q95`, each a `value` with its bootstrap `error`; None where a part has none.
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
    return {
        key: {"value": float(value), "error": float(error)}
        for key, value, error in zip(("q68", "q95"), found[0], found[1:].std(axis=0, ddof=1), strict=True)
    }


def _weighted_quantiles(values: np.ndarray, weights: np.ndarray, at: Sequence[float]) -> np.ndarray:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return values[order][np.searchsorted(reached, np.array(at) * reached[-1])]


# How often the truth should lie within so many standard deviations, by the figure's key.
INTERVALS = {"within_1": (1.0, 0.6827), "within_1.96": (1.96, 0.95)}


def honesty(truth: Weight, predicted: Weight) -> dict[str, Any]:
    """Whether predicted errors hold, and how good the labels allow a prediction to be.

    Pulls z = (w_true − w_pred)/√(error² + truth_error²), their mean, width and largest; how often |z| ≤ 1 and
    |z| ≤ 1.96 (68.27 and 95 % where errors hold), overall and in ten equally populated bins of predicted
    weight, each with its deviation in binomial standard errors; and the noise floor q of the labels,
    (1/N) Σ erf(q ln 10 w/(√2 truth_error)) = 0.68: against these labels not even the true
    weight has |Δ| below q for more than 68 % of events.

    **Arguments:** two `Weight`s of the same events. Judged are events whose truth and prediction are positive
    and of status 0; all are counted by status. A truth without errors is taken as exact (noise floor None); a
    prediction without errors has no pulls and no coverage (None).

    **Returns** a dict that can be written as JSON.

    **Raises** `ValueError` where the two differ in length.
    """
    if len(truth) != len(predicted):
        raise ValueError(f"truth has {len(truth)} events and the prediction {len(predicted)}")
    positive = (truth.value > 0) & (predicted.value > 0) & np.isfinite(truth.value * predicted.value)
    positive &= truth.status == Status.GOOD  # other labels' errors are not those of Gaussian noise
    z = pulls(truth, predicted)
    judged = positive & (predicted.status == Status.GOOD) & np.isfinite(z)
    minus_log = -np.log10(predicted.value[judged])
    edges = np.quantile(minus_log, np.linspace(0, 1, BINS + 1)) if judged.sum() >= BINS else []
    return {
        "judged": int(judged.sum()),
        "truth_has_errors": bool(np.isfinite(truth.error[positive]).any()),
        "pulls": _pull_figures(z[judged]),
        "coverage": _coverage(z[judged]),
        "bins_of_minus_log10_predicted": [
            {"from": low, "to": high, "events": int(inside.sum()), **(_coverage(z[judged][inside]) or {})}
            for low, high, inside in _bins(minus_log, edges)
        ],
        "noise_floor_q68": _noise_floor(truth[positive & (predicted.status == Status.GOOD)]),
        "truth_by_status": by_status(count_statuses(truth.status)),
        "predicted_by_status": {
            key: {
                "events": number,
                "fraction": number / len(predicted),
                **_figures_of_status(truth, predicted, z, positive & (predicted.status == int(key[0]))),
            }
            for key, number in by_status(count_statuses(predicted.status)).items()
        },
    }


def pulls(truth: Weight, predicted: Weight) -> np.ndarray:
    """z = (w_true − w_pred)/√(error² + truth_error²), `[events]`; NaN where the prediction has no error."""
    # a truth without an error is exact; two errors of 0 leave nothing to divide by
    spread = np.hypot(predicted.error, np.nan_to_num(truth.error))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, (truth.value - predicted.value) / spread, np.nan)


def _pull_figures(z: np.ndarray) -> dict[str, float] | None:
    if len(z) < 2:
        return None
    width = float(np.std(z, ddof=1))
    low, high = np.quantile(z, [0.15865, 0.84135])
    return {
        "mean": float(z.mean()),
        "mean_error": width / len(z) ** 0.5,
        "width": width,
        "width_of_the_central_68_percent": float((high - low) / 2),
        "largest": float(np.abs(z).max()),
    }


def _coverage(z: np.ndarray) -> dict[str, dict[str, float]] | None:
    if not len(z):
        return None
    found = {}
    for key, (reach, expected) in INTERVALS.items():
        covered = float((np.abs(z) <= reach).mean())
        found[key] = {
            "expected": expected,
            "covered": covered,
            "error": float(np.sqrt(covered * (1 - covered) / len(z))),
            "deviation": float((covered - expected) / np.sqrt(expected * (1 - expected) / len(z))),
        }
    return found


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


def _figures_of_status(
    truth: Weight, predicted: Weight, z: np.ndarray, rows: np.ndarray
) -> dict[str, float | None]:
    """Accuracy and coverage of the events of one status, as far as they have a positive truth."""
    figures = _figures(truth.value[rows], predicted.value[rows])
    covered = _coverage(z[rows & np.isfinite(z)]) or {}
    return {key: figures[key] for key in ("q68", "q95", "bias")} | {
        key: value["covered"] for key, value in covered.items()
    }
