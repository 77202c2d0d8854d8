"""What may be relied on, in sentences with numbers: accuracy, calibration, coverage of the training range."""

from __future__ import annotations

from typing import Literal, NamedTuple

from deepmem.evaluation.honesty import Covered, Honesty
from deepmem.event import Status


class Judgement(NamedTuple):
    """How far something may be relied on, and a sentence with numbers that says why."""

    rating: Literal["good", "care", "bad"]
    text: str

    def to_dict(self, about: str) -> dict[str, str]:
        """The same as JSON, with what it is about."""
        return {"about": about, "judgement": self.rating, "text": self.text}


def verdict(honesty: Honesty) -> dict[str, Judgement]:
    """What may be relied on of one weight, by what it is about: accuracy, calibration and coverage of the
    training range."""
    return {
        "accuracy": _accuracy(honesty),
        "calibration": calibration(honesty),
        "coverage of the training range": _training_range(honesty),
    }


def _accuracy(honesty: Honesty) -> Judgement:
    good = honesty.of_status(Status.GOOD)
    if good.q68 is None or good.q95 is None:
        return Judgement(
            "bad",
            "No unflagged test event has a positive weight in both: nothing can be said of accuracy.",
        )
    worst = _factor(good.q95) - 1
    bias = "no number" if good.bias is None else f"{100 * good.bias:+.2g} %"
    text = (
        f"Of {good.events:,} unflagged test events 68 % are within {_relative(good.q68)} of the true "
        f"weight and 95 % within {_relative(good.q95)}; the sum of the weights is off by "
        f"{bias}"
    )
    floor = honesty.noise_floor_q68
    if floor and good.q68 < 1.3 * floor:
        text += f" (the labels' own noise allows no better than {_relative(floor)} for 68 %)"
    if worst <= 0.01:
        return Judgement("good", f"{text}: single weights can be relied on to a per cent.")
    if worst <= 0.1:
        return Judgement("care", f"{text}: good for discriminants; where a per cent matters, refine.")
    return Judgement("bad", f"{text}: do not rely on single weights, compute them exactly (refine).")


def _factor(delta: float) -> float:
    """10^Δ, at most 1e300: what errors on a wrong scale make of it is no number."""
    return 10 ** min(delta, 300.0)


def _relative(delta: float) -> str:
    """A |Δ| of log10 w as a relative difference of the weight."""
    return _percent(_factor(delta) - 1)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.995 else f"a factor {1 + fraction:.2g}"


def calibration(honesty: Honesty) -> Judgement:
    """Whether errors can be relied on."""
    coverage = honesty.coverage
    if coverage is None:
        return Judgement(
            "bad",
            "The model gives no errors of its own: how far off a single weight is, is not known; only the "
            "figures of the whole sample are.",
        )
    one, two = coverage.in_68, coverage.in_95
    numbers = f"68 % intervals cover {one} and 95 % intervals {two}"
    # a shortfall counts where it is larger than is tolerated and than chance explains
    short = [_beyond(one, 0.01), _beyond(two, 0.005)]
    if min(short) < 0:
        return Judgement(
            "bad", f"Do not rely on the errors: {numbers} of the {honesty.judged:,} true weights."
        )
    if max(short) > 0:
        return Judgement("care", f"The errors are larger than they need be: {numbers} of the true weights.")
    worst = max(
        (
            (bin, name, found)
            for bin in honesty.bins
            for name, found in (("68", bin.figures.in_68), ("95", bin.figures.in_95))
        ),
        key=lambda each: abs(each[2].deviation),
        default=None,
    )
    # as it is where errors hold: of what was found it is 0 where a few events are all covered
    if worst is None or (two.expected * (1 - two.expected) / honesty.judged) ** 0.5 > 0.01:
        return Judgement(
            "care",
            f"The errors hold as far as {honesty.judged:,} events can tell: {numbers}; test on more.",
        )
    bin, name, found = worst
    if abs(found.deviation) > 3:
        return Judgement(
            "care",
            f"The errors hold overall ({numbers}), but not everywhere: for −log10 w from {bin.low:.2f} "
            f"to {bin.high:.2f}, {name} % intervals cover {found}.",
        )
    return Judgement(
        "good", f"The errors can be relied on: {numbers}, and in ten bins of weight all within 3 σ."
    )


def _beyond(interval: Covered, tolerated: float) -> int:
    """−1 where an interval covers too little, 1 where it covers too much, 0 where chance explains it."""
    off = interval.covered - interval.expected
    if abs(off) <= tolerated or abs(interval.deviation) <= 3:
        return 0
    return 1 if off > 0 else -1


def _training_range(honesty: Honesty) -> Judgement:
    total = sum(figures.events for figures in honesty.predicted_by_status.values())
    outside = honesty.of_status(Status.OUTSIDE_TRAINING)
    refused = sum(honesty.of_status(status).events for status in (Status.BAD_INPUT, Status.BELOW_GRID))
    flagged = f"{outside.events:,} of {total:,} test events"
    more = f" {refused:,} have no prediction because of bad input." if refused else ""
    share = outside.events / total if total else 0.0
    # three counting errors: the limits that flag an event are themselves quantiles of a few events
    if share <= 0.005 + 3 * (0.005 / max(total, 1)) ** 0.5:
        return Judgement(
            "care" if refused > 0.01 * total else "good",
            f"The training covers the test sample: {flagged} ({100 * share:.2g} %) lie outside what was "
            f"trained on and are flagged (status 4).{more}",
        )
    off = f" They are off by {_relative(outside.q68)} at 68 %." if outside.q68 else ""
    return Judgement(
        "care" if share < 0.1 else "bad",
        f"The training does not cover the test sample: {flagged} ({100 * share:.2g} %) lie outside what was "
        f"trained on (status 4); compute these exactly (refine).{off}{more}",
    )
