"""When to trust learned weights: what is claimed about errors, sums and the way back to exact weights.

    python benchmarks/trust.py [sums] [refine]

Without arguments everything is measured. A figure that misses its target is printed all the same.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import uproot

import deepmem
from deepmem import exact
from deepmem.evaluation import sums
from deepmem.event import Weight
from deepmem.physics.leading_order import draw_events


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
    say(f"Σ log W of {events:,} synthetic events, {exact} of them exact, {experiments} pseudo-experiments", "", "")
    for spread, noise in ((0.02, 0.0), (0.02, 0.01), (0.2, 0.01), (0.2, 0.1)):
        for stratified in (False, True):
            rng = np.random.default_rng(1)
            truth, learned, size = _learned_and_exact(events, spread, rng)
            stratum = sums.strata(size) if stratified else None
            pulls, saved, error = [], [], []
            for _ in range(experiments):
                rows = sums.choose(events, exact, rng, stratum, size if stratified else None)
                true = np.exp(truth[rows])
                weight = Weight(true * (1 + noise * rng.normal(size=exact)), noise * true, np.zeros(exact, np.int32))
                found = sums.estimate(learned, rows, *sums.log_weight(weight), stratum)
                pulls.append((found.value - truth.sum()) / found.error)
                saved.append(found.saved)
                error.append(found.error)
            how = "strata" if stratified else "simple"
            say(f"learned {spread:.0%}, exact {noise:.0%}, {how}: pulls, mean and width", f"{np.mean(pulls):+.3f}, {np.std(pulls):.3f}", "0, 1 ± 0.1")
            say("  error of the sum; learned weights alone are off by", f"{np.mean(error):.1f}; {learned.sum() - truth.sum():.0f}")
            say("  exact weights alone would need, for the same error, times as many", f"{np.median(saved):.0f}", ">= 20")


# process → events to learn from and to refine, their cuts, the labels' precision, epochs
SAMPLES: dict[str, tuple[int, int, dict[str, Any], float, int]] = {
    "drell_yan": (60_000, 60_000, {"lepton_pt": 20, "lepton_eta": 2.5}, 1e-3, 60),
    "higgs_4l": (60_000, 20_000, {"lepton_pt": 5, "lepton_eta": 2.5, "mass": [105, 140]}, 0.01, 100),
}


def back_to_exact() -> None:
    """`refine` to 1 % on everything: leading-order events, a model of 60,000 of them, and new ones."""
    for process, (learned, new, cuts, precision, epochs) in SAMPLES.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            columns = draw_events(process, learned + new, 7, cuts, recoil=20.0).columns
            parts = {"old": slice(learned), "new": slice(learned, None)}
            for part, rows in parts.items():
                with uproot.recreate(folder / f"{part}.root") as file:
                    file["events"] = {key: values[rows] for key, values in columns.items()}
            exact.compute_files([str(folder / "old.root")], folder / "weights.root", [process], precision=precision)
            deepmem.train(
                {
                    "input_paths": [str(folder / "old.root")],
                    "output_paths": [str(folder / "weights.root")],
                    "prefixes": [list(columns)],
                    "suffixes": [[""]],
                    "weights": [process],
                    "epochs": epochs,
                    "save_lowest_loss_model_at": str(folder / "a.model"),
                }
            )
            found = deepmem.refine(
                [str(folder / "new.root")], folder / "out.root", process, folder / "a.model", tolerance=0.01
            )
        audit, work = found["audit"], found["work"]
        say(f"{process}: {new:,} new events to 1 %, {found['flagged']:,} flagged: exact weights", f"{work['exact_events']:,}")
        say("  times fewer than for everything", f"{work['fewer_events']:.1f}", ">= 20")
        say("  tolerance at which it would be 20 times fewer", f"{found['learned_relative_errors']['q95']:.2%}")
        for key, what in (("bias", "mean"), ("sum_bias", "sum")):
            if audit[key]:
                say(f"  bias of {audit['judged']} audited learned weights, {what}", f"{audit[key]['value']:+.3%} ± {audit[key]['error']:.3%}", "<= 0.2 %")
        if audit["coverage"]:
            within = [audit["coverage"][key]["covered"] for key in ("within_1", "within_1.96")]
            say("  68 and 95 % intervals cover", f"{within[0]:.1%}, {within[1]:.1%}", "68, 95 %")


PARTS = {"sums": sums_over_events, "refine": back_to_exact}


def main() -> None:
    chosen = sys.argv[1:] or list(PARTS)
    unknown = set(chosen) - set(PARTS)
    if unknown:
        sys.exit(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    for name in chosen:
        PARTS[name]()


if __name__ == "__main__":
    main()
