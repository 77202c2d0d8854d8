"""What may be relied on, in sentences with numbers: accuracy, calibration, coverage of the training range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepmem.event import Status


def verdict(figures: Mapping[str, Any]) -> list[dict[str, str]]:
    """Three sentences with numbers, on accuracy, calibration and coverage of the training range.

    **Arguments:** `figures` of one weight, as `write_evidence` gives them.

    **Returns** three dicts: `about`, `judgement` ("good", "care" or "bad") and `text`.
    """
    honesty = figures["honesty"]
    judgements = (
        ("accuracy", _accuracy(honesty)),
        ("calibration", calibration(honesty)),
        ("coverage of the training range", _training_range(honesty)),
    )
    return [{"about": about, "judgement": judgement, "text": text} for about, (judgement, text) in judgements]


def _of_status(honesty: Mapping[str, Any], status: Status) -> dict[str, Any]:
    statuses = honesty["predicted_by_status"]
    return next(
        (value for key, value in statuses.items() if key.startswith(str(status.value))), {"events": 0}
    )


def _accuracy(honesty: Mapping[str, Any]) -> tuple[str, str]:
    good = _of_status(honesty, Status.GOOD)
    if good.get("q95") is None:
        return (
            "bad",
            "No unflagged test event has a positive weight in both: nothing can be said of accuracy.",
        )
    worst = _factor(good["q95"]) - 1
    bias = "no number" if good["bias"] is None else f"{100 * good['bias']:+.2g} %"
    text = (
        f"Of {good['events']:,} unflagged test events 68 % are within {_relative(good['q68'])} of the true "
        f"weight and 95 % within {_relative(good['q95'])}; the sum of the weights is off by "
        f"{bias}"
    )
    floor = honesty["noise_floor_q68"]
    if floor and good["q68"] < 1.3 * floor:
        text += f" (the labels' own noise allows no better than {_relative(floor)} for 68 %)"
    if worst <= 0.01:
        return "good", f"{text}: single weights can be relied on to a per cent."
    if worst <= 0.1:
        return "care", f"{text}: good for discriminants; where a per cent matters, refine."
    return "bad", f"{text}: do not rely on single weights, compute them exactly (refine)."


def _factor(delta: float) -> float:
    """10^Δ, at most 1e300: what errors on a wrong scale make of it is no number."""
    return 10 ** min(delta, 300.0)


def _relative(delta: float) -> str:
    """A |Δ| of log10 w as a relative difference of the weight."""
    return _percent(_factor(delta) - 1)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.995 else f"a factor {1 + fraction:.2g}"


def calibration(honesty: Mapping[str, Any]) -> tuple[str, str]:
    """Whether errors can be relied on: a judgement ("good", "care" or "bad") of what `metrics.honesty` found,
    and a sentence that says so."""
    coverage = honesty["coverage"]
    if coverage is None:
        return (
            "bad",
            "The model gives no errors of its own: how far off a single weight is, is not known; only the "
            "figures of the whole sample are.",
        )
    one, two = coverage["within_1"], coverage["within_1.96"]
    numbers = f"68 % intervals cover {_covered(one)} and 95 % intervals {_covered(two)}"
    # a shortfall counts where it is larger than is tolerated and than chance explains
    short = [_beyond(one, 0.01), _beyond(two, 0.005)]
    if min(short) < 0:
        return "bad", f"Do not rely on the errors: {numbers} of the {honesty['judged']:,} true weights."
    if max(short) > 0:
        return "care", f"The errors are larger than they need be: {numbers} of the true weights."
    worst = max(
        (
            (bin, key)
            for bin in honesty["bins_of_minus_log10_predicted"]
            for key in ("within_1", "within_1.96")
        ),
        key=lambda pair: abs(pair[0][pair[1]]["deviation"]),
        default=None,
    )
    # as it is where errors hold: of what was found it is 0 where a few events are all covered
    if worst is None or (two["expected"] * (1 - two["expected"]) / honesty["judged"]) ** 0.5 > 0.01:
        return "care", (
            f"The errors hold as far as {honesty['judged']:,} events can tell: {numbers}; test on more."
        )
    bin, key = worst
    if abs(bin[key]["deviation"]) > 3:
        name = "68" if key == "within_1" else "95"
        return "care", (
            f"The errors hold overall ({numbers}), but not everywhere: for −log10 w from {bin['from']:.2f} "
            f"to {bin['to']:.2f}, {name} % intervals cover {_covered(bin[key])}."
        )
    return "good", f"The errors can be relied on: {numbers}, and in ten bins of weight all within 3 σ."


def _covered(interval: Mapping[str, float]) -> str:
    return f"{100 * interval['covered']:.1f} ± {100 * interval['error']:.1f} %"


def _beyond(interval: Mapping[str, float], tolerated: float) -> int:
    off = interval["covered"] - interval["expected"]
    if abs(off) <= tolerated or abs(interval["deviation"]) <= 3:
        return 0
    return 1 if off > 0 else -1


def _training_range(honesty: Mapping[str, Any]) -> tuple[str, str]:
    total = sum(value["events"] for value in honesty["predicted_by_status"].values())
    outside = _of_status(honesty, Status.OUTSIDE_TRAINING)
    refused = sum(_of_status(honesty, s)["events"] for s in (Status.BAD_INPUT, Status.BELOW_GRID))
    flagged = f"{outside['events']:,} of {total:,} test events"
    more = f" {refused:,} have no prediction because of bad input." if refused else ""
    share = outside["events"] / total if total else 0.0
    # three counting errors: the limits that flag an event are themselves quantiles of a few events
    if share <= 0.005 + 3 * (0.005 / max(total, 1)) ** 0.5:
        return ("care" if refused > 0.01 * total else "good"), (
            f"The training covers the test sample: {flagged} ({100 * share:.2g} %) lie outside what was "
            f"trained on and are flagged (status 4).{more}"
        )
    off = f" They are off by {_relative(outside['q68'])} at 68 %." if outside.get("q68") else ""
    return ("care" if share < 0.1 else "bad"), (
        f"The training does not cover the test sample: {flagged} ({100 * share:.2g} %) lie outside what was "
        f"trained on (status 4); compute these exactly (refine).{off}{more}"
    )
