"""Sums over events from learned weights, made unbiased by exact weights of a random part of them.

A learned f(x) is wrong by a little that is the same in many events, so that Σ f of a million events is wrong
by a lot. Here it only guides: what it is wrong by is measured on a random subsample. Whatever the learned
values are, the estimate is unbiased, and good ones make its error small. (Difference estimator with strata:
Särndal, Swensson and Wretman, Model Assisted Survey Sampling, sections 3.7 and 6.3.)

What it cannot promise: the error is estimated from the same subsample. Below some 30 exact weights per
stratum, or where single events are off by far more than the rest, it may come out too small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepmem.event import Weight

_LEAST = 10  # exact weights of a stratum, so that its spread can be estimated


@dataclass(frozen=True)
class Sum:
    """An estimated sum over all events, its standard deviation, and what it cost.

    - `plain_exact`: how many exact weights alone, without learned ones, would give the same error.
    """

    value: float
    error: float
    exact: int
    plain_exact: float

    @property
    def saved(self) -> float:
        """How many times fewer exact weights than without the learned ones."""
        return self.plain_exact / self.exact


def log_weight(weight: Weight) -> tuple[np.ndarray, np.ndarray]:
    """log W of each event, free of the bias of a noisy logarithm, and its variance.

    E log(W + noise) = log W − ε²/2 + O(ε⁴) with ε = error/W, so ε²/2 is added; the variance is ε². An unknown
    error counts as 0. Events without a positive weight get NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        positive = np.isfinite(weight.value) & (weight.value > 0)
        relative = np.nan_to_num(np.where(positive, weight.error / weight.value, 0.0))
        variance = np.where(positive, relative**2, np.nan)
        return np.where(positive, np.log(weight.value), np.nan) + variance / 2, variance


def log_ratio(signal: Weight, background: Weight) -> tuple[np.ndarray, np.ndarray]:
    """log W_s/W_b of each event as `log_weight` has it; the two errors are taken as independent."""
    (s, s_variance), (b, b_variance) = log_weight(signal), log_weight(background)
    return s - b, s_variance + b_variance


def strata(spread: np.ndarray, number: int = 5) -> np.ndarray:
    """Number of the stratum of each event: equally populated ones in the error that learned values say they
    have, `spread`, `[events]`."""
    edges = np.quantile(spread, np.linspace(0, 1, number + 1)[1:-1])
    return np.unique(np.searchsorted(edges, spread, side="right"), return_inverse=True)[1]


def choose(
    events: int,
    exact: int,
    rng: np.random.Generator,
    stratum: np.ndarray | None = None,
    spread: np.ndarray | None = None,
) -> np.ndarray:
    """Which events to compute exactly: `exact` of them, at random.

    With strata, each gets a share n_h ∝ N_h σ_h (Neyman), σ_h the root mean square of `spread` in it, or 1.

    **Raises** `ValueError` where there are too few for the strata, or more than there are events.
    """
    groups = np.zeros(events, int) if stratum is None else stratum
    sizes = np.bincount(groups)
    least = np.minimum(sizes, _LEAST)
    if not least.sum() <= exact <= events:
        raise ValueError(f"expected {least.sum()} to {events} exact weights, got {exact}")
    squares = np.ones(events) if spread is None else spread**2
    wish = np.sqrt(sizes * np.bincount(groups, squares))
    left = exact - least.sum()
    share = least + np.floor(left * wish / max(wish.sum(), 1e-300)).astype(int)
    share = np.minimum(share, sizes)
    for group in np.argsort(-wish, kind="stable"):  # what rounding and full strata have left
        share[group] += min(sizes[group] - share[group], exact - share.sum())
    chosen = [
        rng.choice(np.flatnonzero(groups == group), number, replace=False)
        for group, number in enumerate(share)
    ]
    return np.sort(np.concatenate(chosen))


def estimate(
    learned: np.ndarray,
    rows: np.ndarray,
    exact: np.ndarray,
    variance: np.ndarray | float = 0.0,
    stratum: np.ndarray | None = None,
) -> Sum:
    """The sum of f over all events from learned values and exact ones on a random subsample.

    Σ_h [ Σ f_learned + N_h d̄_h ],  d = f_exact − f_learned, with the error
    Σ_h [ N_h² (1 − n_h/N_h) s_h²/n_h + N_h v̄_h ]: the finite sample's, and what the exact values' own
    Monte-Carlo variance v adds to it beyond what s² already holds.

    **Arguments:** `learned` f `[N]`; `rows`, the events that `choose` picked `[n]`; `exact` f of these `[n]`
    and its `variance`; `stratum` as given to `choose`.

    **Raises** `ValueError` where a value is not finite, or a stratum has fewer than two exact values.
    """
    if not (np.isfinite(learned).all() and np.isfinite(exact).all()):
        raise ValueError("all values must be finite: leave events without a positive weight out, and say so")
    groups = np.zeros(len(learned), int) if stratum is None else stratum
    difference, noise = exact - learned[rows], np.broadcast_to(variance, np.shape(exact))
    value, squared = float(learned.sum()), 0.0
    for group in range(int(groups.max()) + 1):
        size, inside = int((groups == group).sum()), groups[rows] == group
        number = int(inside.sum())
        if number < min(2, size):
            raise ValueError(f"stratum {group} has {number} exact values: two at least are needed")
        if number == 0:
            continue
        value += size * float(difference[inside].mean())
        spread = float(difference[inside].var(ddof=1)) if number > 1 else 0.0
        squared += size**2 * (1 - number / size) * spread / number + size * float(noise[inside].mean())
    # the spread of f over all events: of the learned values, which are all there
    total = float(len(learned))
    plain = total**2 * float(learned.var(ddof=1))
    own = total * float(np.mean(noise))
    at_same_error = plain / (max(squared - own, 1e-300) + plain / total)
    return Sum(value, squared**0.5, len(rows), at_same_error)
