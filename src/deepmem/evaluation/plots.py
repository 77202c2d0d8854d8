"""Figures. Each function draws one, and writes it whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hist
import matplotlib as mpl

mpl.use("Agg")  # a figure is a file: no display is needed, or waited for

import matplotlib.pyplot as plt
import mplhep
import numpy as np

from deepmem.data.files import whole_file
from deepmem.evaluation.metrics import compare

_TRUTH, _PREDICTED = "#3f90da", "#bd1f01"
_BAND68, _BAND95 = "#ffa90e", "#f6e0b5"


@contextmanager
def _figure(path: str | Path, width: float, height: float) -> Iterator[Any]:
    with mpl.rc_context({"font.size": 12, "axes.grid": False, "figure.dpi": 100, "savefig.dpi": 130}):
        figure = plt.figure(figsize=(width, height), layout="constrained")
        try:
            yield figure
            with whole_file(path) as temporary:
                figure.savefig(temporary, format=Path(path).suffix.lstrip(".").lower())
        finally:
            plt.close(figure)


def weights_against_each_other(
    path: str | Path,
    pairs: dict[str, tuple[np.ndarray, np.ndarray]],
    labels: tuple[str, str] = ("truth", "prediction"),
    unit: str | None = None,
) -> None:
    """Histograms of −log10 w with their ratio, and Δ = log10(w_pred/w_true) with its 68 and 95 % bands.

    **Arguments:** `pairs`, name → true and predicted weights `[events]`; one column of panels each; `unit`,
    of the weights.
    """
    with _figure(path, 9.5 * len(pairs), 9) as figure:
        columns = np.atleast_1d(figure.subfigures(1, len(pairs)))
        for i, (name, (truth, predicted)) in enumerate(pairs.items()):
            good = np.isfinite(truth) & np.isfinite(predicted) & (truth > 0) & (predicted > 0)
            _columns(columns[i], name, truth[good], predicted[good], labels, unit or "")


def _columns(
    figure: Any, name: str, truth: np.ndarray, predicted: np.ndarray, labels: tuple[str, str], unit: str
) -> None:
    top, ratio, delta = figure.subplots(3, 1, height_ratios=[3, 1, 2.2], gridspec_kw={"hspace": 0.06})
    t, p = -np.log10(truth), -np.log10(predicted)
    axis = hist.axis.Regular(60, *_range(t, p), name="x")
    h_truth: Any = hist.Hist(axis).fill(t)
    h_predicted: Any = hist.Hist(axis).fill(p)
    mplhep.histplot(h_truth, ax=top, flow="none", color=_TRUTH, histtype="fill", alpha=0.35, label=labels[0])
    mplhep.histplot(h_truth, ax=top, flow="none", color=_TRUTH, yerr=False)
    mplhep.histplot(
        h_predicted,
        ax=top,
        flow="none",
        color=_PREDICTED,
        histtype="errorbar",
        yerr=False,
        label=labels[1],
        markersize=5,
    )
    figures = compare(truth, predicted)
    top.set_ylabel("events per bin")
    top.set_xlabel("")
    top.set_ylim(0, 1.45 * max(float(h_truth.values().max()), 1))
    top.legend(frameon=False, loc="upper right")
    top.text(
        0.02, 0.95,
        f"{name}\n{len(truth):,} events\n"
        f"|Δ| < {figures['q68']:.2g} for 68 %\n|Δ| < {figures['q95']:.2g} for 95 %",
        transform=top.transAxes, va="top",
    )  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = h_predicted.values() / h_truth.values()
        error = 1 / np.sqrt(h_truth.values())
    filled = h_truth.values() > 0
    ratio.axhline(1, color="0.5", linewidth=1)
    ratio.fill_between(
        axis.centers, 1 - error, 1 + error, where=filled, step="mid", color=_TRUTH, alpha=0.2, linewidth=0
    )
    ratio.plot(axis.centers[filled], quotient[filled], "o", color=_PREDICTED, markersize=4)
    ratio.set_ylim(0.8, 1.2)
    ratio.set_ylabel(f"{labels[1]}\n/ {labels[0]}")
    _bands(delta, axis.edges, t, t - p)
    delta.set_ylabel(r"$\Delta=\log_{10}(w_{\rm pred}/w_{\rm true})$")
    named = re.sub(r"\^(-?\d+)", r"$^{\1}$", unit)
    delta.set_xlabel(rf"$-\log_{{10}}(w$ / {named}$)$" if unit else r"$-\log_{10} w$")
    for panel in (top, ratio):
        panel.tick_params(labelbottom=False)
    for panel in (top, ratio, delta):
        panel.set_xlim(axis.edges[0], axis.edges[-1])


def _range(*values: np.ndarray) -> tuple[float, float]:
    together = np.concatenate(values)
    if not len(together):
        return 0.0, 1.0
    low, high = np.quantile(together, [0.0005, 0.9995])
    margin = 0.03 * (high - low) + 1e-6
    return float(low - margin), float(high + margin)


def _bands(axes: Any, edges: np.ndarray, where: np.ndarray, delta: np.ndarray) -> None:
    """Median, 68 % and 95 % bands of Δ in bins of −log10 w that hold enough events to have them."""
    index = np.digitize(where, edges) - 1
    rows = []
    for i in range(len(edges) - 1):
        inside = delta[index == i]
        if len(inside) >= 20:
            rows.append(
                [(edges[i] + edges[i + 1]) / 2, *np.quantile(inside, [0.025, 0.16, 0.5, 0.84, 0.975])]
            )
    axes.axhline(0, color="0.5", linewidth=1)
    if rows:
        x, low95, low68, middle, high68, high95 = np.array(rows).T
        axes.fill_between(x, low95, high95, color=_BAND95, label="95 %", linewidth=0)
        axes.fill_between(x, low68, high68, color=_BAND68, label="68 %", linewidth=0)
        axes.plot(x, middle, color="black", linewidth=1.5, label="median")
        largest = 1.4 * max(np.abs(low95).max(), np.abs(high95).max(), 1e-6)
        axes.set_ylim(-largest, largest)
        axes.legend(frameon=False, ncols=3, loc="upper right")


def training_curve(path: str | Path, history: Sequence[dict[str, Any]]) -> None:
    """Loss and validation loss against the epoch, both axes of loss logarithmic, with the epoch that was
    kept marked."""
    epochs = [entry["epoch"] for entry in history]
    with _figure(path, 8, 5) as figure:
        axes = figure.subplots()
        axes.plot(epochs, [entry["loss"] for entry in history], color=_TRUTH, label="training")
        validation = [entry["validation_loss"] for entry in history]
        deciding = [entry["loss"] for entry in history]
        if all(value is not None for value in validation):
            axes.plot(epochs, validation, color=_PREDICTED, label="validation")
            deciding = validation
        best = int(np.argmin(deciding))
        axes.plot(epochs[best], deciding[best], "o", color="black", label=f"kept: epoch {epochs[best]}")
        axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_ylabel(r"mean squared error of $-\log_{10} w$ (standardised)")
        axes.legend(frameon=False)
