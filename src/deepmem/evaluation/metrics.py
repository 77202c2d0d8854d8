"""Figures of merit of one set of weights against another, on the weight itself."""

from __future__ import annotations

from typing import Any

import numpy as np

BINS = 10


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
