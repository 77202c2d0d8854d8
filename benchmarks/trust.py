"""When to trust learned weights: what is claimed about errors, sums and the way back to exact weights.

    python benchmarks/trust.py [sums]

Without arguments everything is measured. A figure that misses its target is printed all the same.
"""

from __future__ import annotations

import sys

import numpy as np

from deepmem.evaluation import sums
from deepmem.event import Weight


def say(what: str, value: str, target: str = "") -> None:
    print(f"{what:<78} {value:>24}   {target}", flush=True)


def _learned_and_exact(
    events: int, spread: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True logs as spread as those of Drell-Yan weights; learned ones with a common bias, and errors whose
    size (known to the model) differs from event to event."""
    truth = rng.normal(-17, 1.5, events)
    size = spread * (0.2 + 0.8 * rng.exponential(size=events))
    return truth, truth + 0.3 * spread + size * rng.normal(size=events), size


def sums_over_events(events: int = 100_000, exact: int = 500, experiments: int = 1000) -> None:
    """Σ log W from learned weights and exact ones on a random subsample, over pseudo-experiments."""
    say(
        f"Σ log W of {events:,} synthetic events, {exact} of them exact, {experiments} pseudo-experiments",
        "",
        "",
    )
    for spread, noise in ((0.02, 0.0), (0.02, 0.01), (0.2, 0.01), (0.2, 0.1)):
        for stratified in (False, True):
            rng = np.random.default_rng(1)
            truth, learned, size = _learned_and_exact(events, spread, rng)
            stratum = sums.strata(size) if stratified else None
            pulls, saved, error = [], [], []
            for _ in range(experiments):
                rows = sums.choose(events, exact, rng, stratum, size if stratified else None)
                true = np.exp(truth[rows])
                weight = Weight(
                    true * (1 + noise * rng.normal(size=exact)), noise * true, np.zeros(exact, np.int32)
                )
                found = sums.estimate(learned, rows, *sums.log_weight(weight), stratum)
                pulls.append((found.value - truth.sum()) / found.error)
                saved.append(found.saved)
                error.append(found.error)
            how = "strata" if stratified else "simple"
            say(
                f"learned {spread:.0%}, exact {noise:.0%}, {how}: pulls, mean and width",
                f"{np.mean(pulls):+.3f}, {np.std(pulls):.3f}",
                "0, 1 ± 0.1",
            )
            say(
                "  error of the sum; learned weights alone are off by",
                f"{np.mean(error):.1f}; {learned.sum() - truth.sum():.0f}",
            )
            say(
                "  exact weights alone would need, for the same error, times as many",
                f"{np.median(saved):.0f}",
                ">= 20",
            )


PARTS = {"sums": sums_over_events}


def main() -> None:
    chosen = sys.argv[1:] or list(PARTS)
    unknown = set(chosen) - set(PARTS)
    if unknown:
        sys.exit(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    for name in chosen:
        PARTS[name]()


if __name__ == "__main__":
    main()
