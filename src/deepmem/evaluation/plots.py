"""Figures. Each function draws one, and writes it whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import hist
import matplotlib as mpl

mpl.use("Agg")  # a figure is a file: no display is needed, or waited for

import matplotlib.pyplot as plt
import mplhep
import numpy as np

from deepmem.data.files import whole_file
from deepmem.evaluation.history import Epoch, kept
from deepmem.evaluation.honesty import Coverage
from deepmem.evaluation.metrics import Bin, Quantiles, Residuals
from deepmem.event import Weight

_TRUTH, _PREDICTED = "#3f90da", "#bd1f01"
_BAND68, _BAND95 = "#ffa90e", "#f6e0b5"
# Inches of a figure of the report: small, so that its letters can be read where it is as wide as a phone.
_PAGE = (5.2, 4.0)

_HIGHEST = 12.0  # of −2Δ log L that a scan shows: three and a half standard deviations
# Where a figure goes: a path (its suffix decides the format), or an open file for a PNG.
Target = str | Path | BinaryIO


@contextmanager
def _figure(path: Target, width: float, height: float) -> Iterator[Any]:
    with mpl.rc_context({"font.size": 12, "axes.grid": False, "figure.dpi": 100, "savefig.dpi": 130}):
        figure = plt.figure(figsize=(width, height), layout="constrained")
        try:
            yield figure
            if not isinstance(path, str | Path):
                figure.savefig(path, format="png")
                return
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
    residuals = Residuals.of(truth, predicted)
    top.set_ylabel("events per bin")
    top.set_xlabel("")
    top.set_ylim(0, 1.45 * max(float(h_truth.values().max()), 1))
    top.legend(frameon=False, loc="upper right")
    top.text(
        0.02, 0.95,
        f"{name}\n{len(truth):,} events\n"
        f"|Δ| < {residuals.q68:.2g} for 68 %\n|Δ| < {residuals.q95:.2g} for 95 %",
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
    delta.set_ylabel(_DELTA)
    delta.set_xlabel(_minus_log(unit))
    for panel in (top, ratio):
        panel.tick_params(labelbottom=False)
    for panel in (top, ratio, delta):
        panel.set_xlim(axis.edges[0], axis.edges[-1])


_DELTA = r"$\Delta=\log_{10}(w_{\rm pred}/w_{\rm true})$"


def _minus_log(unit: str, which: str = "w") -> str:
    """The name of an axis of −log10 w, with the weight's unit."""
    named = re.sub(r"\^(-?\d+)", r"$^{\1}$", unit)
    return rf"$-\log_{{10}}({which}$ / {named}$)$" if unit else rf"$-\log_{{10}} {which}$"


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


def training_curve(path: Target, history: Sequence[Epoch]) -> None:
    """Loss and validation loss against the epoch, both axes of loss logarithmic, with the epoch that was
    kept marked."""
    epochs, best = [each.epoch for each in history], kept(history)
    with _figure(path, 8, 5) as figure:
        axes = figure.subplots()
        axes.plot(epochs, [each.loss for each in history], color=_TRUTH, label="training")
        validation = [each.validation_loss for each in history if each.validation_loss is not None]
        if len(validation) == len(history):
            axes.plot(epochs, validation, color=_PREDICTED, label="validation")
        axes.plot(best.epoch, best.deciding, "o", color="black", label=f"kept: epoch {best.epoch}")
        axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_ylabel(r"mean squared error of $-\log_{10} w$ (standardised)")
        axes.legend(frameon=False)


def prediction_against_truth(path: Target, truth: np.ndarray, predicted: np.ndarray, unit: str = "") -> None:
    """How many events have which −log10 of the true and of the predicted weight, both positive."""
    t, p = -np.log10(truth), -np.log10(predicted)
    edges = np.linspace(*_range(t, p), 61)
    counts, *_ = np.histogram2d(np.clip(t, edges[0], edges[-1]), np.clip(p, edges[0], edges[-1]), edges)
    with _figure(path, *_PAGE) as figure:
        axes = figure.subplots()
        shown = axes.pcolormesh(
            edges,
            edges,
            np.where(counts.T > 0, counts.T, np.nan),
            norm=mpl.colors.LogNorm(1),
            cmap="viridis_r",
        )
        axes.plot(edges[[0, -1]], edges[[0, -1]], color="0.4", linewidth=0.8)
        figure.colorbar(shown, label="events")
        axes.set_xlabel(_minus_log(unit, r"w_{\rm true}"))
        axes.set_ylabel(_minus_log(unit, r"w_{\rm pred}"))


def delta_with_bands(path: Target, truth: np.ndarray, predicted: np.ndarray, unit: str = "") -> None:
    """Δ = log10(w_pred/w_true) against −log10 w_true: median, 68 and 95 % bands."""
    t, p = -np.log10(truth), -np.log10(predicted)
    with _figure(path, *_PAGE) as figure:
        axes = figure.subplots()
        edges = np.linspace(*_range(t), 31)
        _bands(axes, edges, t, t - p)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel(_minus_log(unit, r"w_{\rm true}"))
        axes.set_ylabel(_DELTA)


def pulls_against_gaussian(path: Target, z: np.ndarray) -> None:
    """Pulls with the unit Gaussian that they follow where errors hold; those beyond ±5 in the outer bins."""
    axis = hist.axis.Regular(50, -5, 5, name="z")
    counts: Any = hist.Hist(axis).fill(np.clip(z, -4.999, 4.999))
    density = len(z) * axis.widths[0] * np.exp(-(axis.centers**2) / 2) / np.sqrt(2 * np.pi)
    with _figure(path, *_PAGE) as figure:
        axes = figure.subplots()
        mplhep.histplot(
            counts, ax=axes, flow="none", histtype="fill", color=_TRUTH, alpha=0.5, yerr=False, label="pulls"
        )
        axes.plot(axis.centers, density, color=_PREDICTED, label="unit Gaussian")
        axes.set_yscale("log")
        axes.set_ylim(0.5, 4 * max(float(counts.values().max()), density.max()))
        axes.set_xlim(-5, 5)
        axes.set_xlabel(r"$(w_{\rm true}-w_{\rm pred})\,/\,$error")
        axes.set_ylabel("events per bin")
        axes.legend(frameon=False, loc="upper right")


def coverage_in_bins(path: Target, bins: Sequence[Bin[Coverage]], unit: str = "") -> None:
    """How many truths lie within one and within 1.96 errors, in bins of predicted weight."""
    middles = np.array([(bin.low + bin.high) / 2 for bin in bins])
    halves = np.array([(bin.high - bin.low) / 2 for bin in bins])
    events = np.array([bin.events for bin in bins])
    intervals = (
        ("95", [bin.figures.in_95 for bin in bins], _PREDICTED),
        ("68", [bin.figures.in_68 for bin in bins], _TRUTH),
    )
    with _figure(path, *_PAGE) as figure:
        panels = figure.subplots(2, 1, sharex=True)
        for axes, (name, interval, color) in zip(panels, intervals, strict=True):
            expected = 100 * interval[0].expected
            found = 100 * np.array([each.covered for each in interval])
            # of the expectation: what was found has none where it is 0 or 100 %
            error = np.sqrt(expected * (100 - expected) / events)
            axes.axhline(expected, color="0.5", linewidth=1)
            axes.errorbar(middles, found, error, halves, fmt="o", markersize=4, color=color)
            reach = 1.3 * max(float(np.max(np.abs(found - expected) + error)), 0.5)
            axes.set_ylim(expected - reach, min(expected + reach, 100.5))
            axes.set_ylabel(f"in {name} % (%)")
        panels[1].set_xlabel(_minus_log(unit, r"w_{\rm pred}"))


def error_against_weight(path: Target, truth: Weight, predicted: Weight, unit: str = "") -> None:
    """The relative error that a prediction says it has, and the one it has, against −log10 of its weight."""
    x = -np.log10(predicted.value)
    said = predicted.error / predicted.value
    real = np.abs(truth.value / predicted.value - 1)
    bins = int(np.clip(len(x) // 10, 1, 20))
    edges = np.quantile(x, np.linspace(0, 1, bins + 1))
    index = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, bins - 1)
    inside = [index == i for i in range(bins) if (index == i).any()]
    with _figure(path, *_PAGE) as figure:
        axes = figure.subplots()
        middles = [float(np.median(x[rows])) for rows in inside]
        low, middle, high = np.array([np.quantile(said[rows], [0.16, 0.5, 0.84]) for rows in inside]).T
        axes.fill_between(middles, low, high, color=_BAND68, linewidth=0, label="said: 68 % of events")
        axes.plot(middles, middle, color="black", label="said: median")
        reached = [float(np.quantile(real[rows], 0.6827)) for rows in inside]
        axes.plot(middles, reached, "o", color=_PREDICTED, markersize=4, label="real: 68 % are below")
        if max(high.max(), *reached) > 10 * max(min(low.min(), *reached), 1e-12):
            axes.set_yscale("log")
        else:
            axes.set_ylim(0, 1.5 * max(high.max(), *reached))
        axes.set_xlabel(_minus_log(unit, r"w_{\rm pred}"))
        axes.set_ylabel("relative error")
        axes.legend(frameon=False, fontsize=10, loc="upper left")


def discriminant(
    path: Target,
    values: dict[str, np.ndarray],
    is_signal: np.ndarray | None,
    curves: dict[str, tuple[np.ndarray, np.ndarray, str]],
) -> None:
    """The distribution of D, by class where classes are known, and then the ROC curves on one axis.

    **Arguments:** `values`, D `[events]` of exact and perhaps of learned weights; `is_signal`, `[events]`, or
    None; `curves`, name → background kept, signal kept, and what the legend says.
    """
    fewest = min(len(d) for d in values.values())
    edges = np.linspace(0, 1, 1 + int(np.clip(fewest / 10, 10, 40)))
    with _figure(path, _PAGE[0] * (2 if curves else 1), _PAGE[1]) as figure:
        panels = np.atleast_1d(figure.subplots(1, 2 if curves else 1))
        classes: list[tuple[str, np.ndarray | slice, str]] = [("all", slice(None), _TRUTH)]
        if is_signal is not None:
            classes = [("signal", is_signal, _PREDICTED), ("background", ~is_signal, _TRUTH)]
        for (source, d), style in zip(values.items(), ("-", "--"), strict=False):
            for name, rows, color in classes:
                counts, _ = np.histogram(d[rows], edges)
                panels[0].stairs(counts, edges, color=color, linestyle=style, label=f"{name}, {source}")
        panels[0].set_xlabel("D")
        panels[0].set_ylabel("events per bin")
        panels[0].set_ylim(0, 1.3 * panels[0].get_ylim()[1])
        panels[0].legend(frameon=False, fontsize=10, ncols=2, loc="upper center")
        for (kept_background, kept_signal, label), style in zip(curves.values(), ("-", "--"), strict=False):
            panels[1].plot(kept_background, kept_signal, style, label=label)
        if curves:
            panels[1].plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
            panels[1].set_xlabel("background kept")
            panels[1].set_ylabel("signal kept")
            panels[1].legend(frameon=False, fontsize=10, loc="lower right")


def likelihood_scan(
    path: Target, parameter: str, values: np.ndarray, curves: dict[str, tuple[Any, np.ndarray, str]]
) -> None:
    """−2Δ log L against a parameter, with the height of 68 %.

    **Arguments:** `values` of the parameter; `curves`, name → a function through its points, the points, and
    what the legend says.
    """
    fine = np.linspace(values[0], values[-1], 2000)
    near = np.array([curve(fine) for curve, *_ in curves.values()]).min(axis=0) < _HIGHEST
    margin = 0.1 * np.ptp(fine[near]) + fine[1] - fine[0]
    with _figure(path, *_PAGE) as figure:
        axes = figure.subplots()
        styles = (("-", "o", _TRUTH), ("--", "s", _PREDICTED))
        for (curve, points, label), (line, marker, color) in zip(curves.values(), styles, strict=False):
            axes.plot(fine, curve(fine), line, color=color, label=label)
            axes.plot(values, points, marker, color=color, markersize=4)
        axes.axhline(1, color="0.6", linewidth=0.8)
        top = min(_HIGHEST, max(float(np.max(points)) for _, points, _ in curves.values()))
        axes.set_ylim(-0.05 * top, 1.05 * top)
        axes.set_xlim(fine[near][0] - margin, fine[near][-1] + margin)
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(6))
        axes.set_xlabel(parameter)
        axes.set_ylabel(r"$-2\,\Delta\log L$")
        figure.legend(frameon=False, fontsize=10, loc="outside upper center")


def refinement(path: Target, before: np.ndarray, after: np.ndarray, tolerance: float | None) -> None:
    """Relative errors of all weights before and after some were computed exactly.

    **Arguments:** `before`, `after`, `[events]`, what is not finite and positive is left out; `tolerance`,
    marked where there is one.
    """
    shown = {
        name: np.log10(values[np.isfinite(values) & (values > 0)])
        for name, values in (("before", before), ("after", after))
    }
    edges = np.linspace(*_range(*shown.values()), 51)
    with _figure(path, *_PAGE) as figure:
        axes = figure.subplots()
        for (name, values), color in zip(shown.items(), (_TRUTH, _PREDICTED), strict=True):
            counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
            axes.stairs(counts, edges, color=color, label=name)
        if tolerance is not None:
            axes.axvline(np.log10(tolerance), color="0.4", linestyle="--", label="tolerance")
        axes.set_yscale("symlog", linthresh=1)
        axes.set_xlabel(r"$\log_{10}$ of the relative error")
        axes.set_ylabel("events per bin")
        axes.legend(frameon=False, fontsize=10)


def learning(path: Target, curves: Mapping[str, Mapping[str, Mapping[int, Quantiles]]]) -> None:
    """|Δ| of 68 and 95 % of events against the exact weights that were learned from.

    **Arguments:** `curves` by the title of a panel and the choice of these weights, "worst first" or
    "random": quantiles of |Δ| by how many weights there were.
    """
    with _figure(path, _PAGE[0], 0.5 + 2.9 * len(curves)) as figure:
        panels = np.atleast_1d(figure.subplots(len(curves), 1, sharex=True))
        for axes, (title, by_choice) in zip(panels, curves.items(), strict=True):
            for choice, color, marker in (("worst first", _PREDICTED, "o"), ("random", _TRUTH, "s")):
                points = by_choice.get(choice, {})
                lines = (
                    ("-", choice, [each.q68 for each in points.values()]),
                    ("--", None, [each.q95 for each in points.values()]),
                )
                for line, label, quantile in lines if points else ():
                    axes.errorbar(
                        list(points),
                        [each.value for each in quantile],
                        [each.error for each in quantile],
                        fmt=f"{marker}{line}",
                        color=color,
                        markersize=5,
                        capsize=2,
                        label=label,
                    )
            axes.set_yscale("log")
            axes.set_ylabel("|Δ|")
            axes.set_title(title, fontsize=12)
        panels[0].legend(frameon=False, fontsize=10)
        panels[-1].set_xlabel("exact weights added to the training")


def response(
    path: Target,
    title: str,
    rec: np.ndarray,
    gen: np.ndarray,
    fitted: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """E_rec/E_gen of objects, and the half width of its 68 % against E_gen, with those of a fitted response.

    **Arguments:** `rec`, `gen`, `[objects]` in GeV; `fitted`, the same as the response draws it, with counts.
    """
    drawn, true, counts = fitted
    low, high = np.quantile(rec / gen, [0.002, 0.998])
    edges = np.linspace(low, high, 61)
    bins = np.unique(np.quantile(gen, np.linspace(0, 1, 11)))
    with _figure(path, 9, 4) as figure:
        shape, width = figure.subplots(1, 2)
        measured = np.histogram(rec / gen, edges)[0]
        shape.errorbar((edges[1:] + edges[:-1]) / 2, measured, np.sqrt(measured), fmt="k.", label="objects")
        expected = np.histogram(drawn / true, edges, weights=counts)[0]
        shape.stairs(expected, edges, color=_PREDICTED, label="fitted")
        shape.set_yscale("log")
        shape.set_ylim(bottom=0.5)
        shape.set_xlabel(r"$E_{\rm rec}/E_{\rm gen}$")
        shape.set_ylabel("objects per bin")
        shape.legend(frameon=False, title=title)
        for x, y, style, label in ((gen, rec / gen, "o", "objects"), (true, drawn / true, "s-", "fitted")):
            inside = [y[(x >= first) & (x < last)] for first, last in pairwise(bins)]
            points = [np.median(x[(x >= first) & (x < last)]) for first, last in pairwise(bins)]
            halves = [np.diff(np.quantile(each, [0.16, 0.84]))[0] / 2 for each in inside]
            color = "black" if label == "objects" else _PREDICTED
            width.plot(points, halves, style, color=color, markersize=4, label=label)
        width.set_xlabel(r"$E_{\rm gen}$ / GeV")
        width.set_ylabel(r"half width of 68 % of $E_{\rm rec}/E_{\rm gen}$")
        width.set_xscale("log")
        for of_ticks in (width.xaxis.set_major_formatter, width.xaxis.set_minor_formatter):
            of_ticks(mpl.ticker.LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.4)))
        width.set_ylim(bottom=0)
