"""Weights by two plans that have little in common but |M|²: that of the planner, and another one.

    python benchmarks/plans.py [drawn] [order] [--write] [--keep FOLDER] [--minutes N]

`drawn`: all energies are drawn, and a neutrino's p_T and rapidity; nothing is solved. W, Z, top and H are
20 GeV wide in both plans, so that brute force converges. `order`: of two neutrinos the other one comes first.
20 events of each reaction, one assignment: isotropic decays at the poles, leptons 5 %, jets 12 %, the recoil
within 15 GeV.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from table import kept, run, say

from deepmem.physics.integrals.lattice import Lattice
from deepmem.physics.phasespace.visible import NO_CHOICES
from deepmem.physics.weights.composed import parts_of
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.plan import Plan

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "physics"))
import any_process

EVENTS, PRECISION = 20, 0.008
RESPONSE: dict[str, Any] = {"lepton": 0.05, "bjet": 0.12, "jet": 0.12, "recoil": {"c": 15.0}}
WIDTHS = dict.fromkeys(("WW", "WZ", "WT", "WH"), 20.0)
_TOP, _TO_JETS = "(t > w+ b, w+ > mu+ vm)", "(t~ > w- b~, w- > d u~)"
_TO_LEPTONS = "(t~ > w- b~, w- > e- ve~)"
DRAWN = {
    "ZH": "u u~ > z h, z > mu+ mu-, h > b b~",
    "WH": "u d~ > w+ h, w+ > mu+ vm, h > b b~",
    "WZ 3ℓ": "u d~ > e+ ve mu+ mu-",
    "tb̄": f"u d~ > t b~, {_TOP}",
    "tt̄ 1ℓ": f"g g > t t~, {_TOP}, {_TO_JETS}",
    "tt̄ 0ℓ": f"g g > t t~, (t > w+ b, w+ > u d~), {_TO_JETS}",
    "tt̄H 1ℓ": f"g g > t t~ h, {_TOP}, {_TO_JETS}, h > b b~",
    "tt̄Z 1ℓ": f"u u~ > t t~ z, {_TOP}, {_TO_JETS}, z > e+ e-",
    "Hjj 4ℓ": "u d > h u d QCD=0, h > e+ e- mu+ mu-",
}
ORDER: dict[str, tuple[str, dict[str, float]]] = {
    "tt̄H 2ℓ": (f"u u~ > t t~ h, {_TOP}, {_TO_LEPTONS}, h > b b~", {}),
    "tt̄W, equal charges": (f"u d~ > t t~ w+, {_TOP}, {_TO_JETS}, w+ > e+ ve", {}),
    # t̄ → W⁻b̄ is among its diagrams, and neither plan maps its mass
    "tWb̄": (f"u u~ > t w- b~, {_TOP}, w- > e- ve~", WIDTHS),
}


def hypothesis(reaction: str, **parameters: float) -> Hypothesis:
    kinds = {*any_process.process(reaction).classes, "recoil"}
    response = {kind: each for kind, each in RESPONSE.items() if kind in kinds}
    return any_process.hypothesis(reaction, response, "recoil", **parameters)


Plans = tuple[Plan, Plan]


def compared(part: str, name: str, alpha: Hypothesis, plans: Plans, precisions: tuple[float, float]) -> None:
    """Weights of the same events by both plans."""
    found = kept(f"{part}, {name}, {EVENTS} events", lambda: _measured(alpha, plans, precisions))
    if found is None:
        return
    (one, error), (two, other) = np.array(found["weights"])
    there = (one > 0) & (two > 0)
    one, two, error, other = (each[there] for each in (one, two, error, other))
    pull, relative = (one - two) / np.hypot(error, other), np.hypot(error / one, other / two)
    mean, of_mean = np.average(one / two, weights=relative**-2), (relative**-2).sum() ** -0.5
    say(f"{name}: weights over those of the other plan", f"{mean:.4f} ± {of_mean:.4f}")
    say("  the mean's difference from 1, in errors", f"{(mean - 1) / of_mean:+.1f}", "0 ± 3")
    say("  width of the pulls", f"{pull.std():.2f}", "0 to 1.5")
    say("  largest pull", f"{np.abs(pull).max():.1f}", "≤ 4")
    say("  error of one event by the first plan", f"{100 * np.median(error / one):.2f} %", "≤ 1 %")
    say("  error of one event by the other plan", f"{100 * np.median(other / two):.2f} %", "≤ 1 %")
    say("  events compared", f"{len(one)}", f"≥ {EVENTS}")
    print(f"{found['seconds']:.0f} s", flush=True)


def _measured(alpha: Hypothesis, plans: Plans, precisions: tuple[float, float]) -> dict[str, Any]:
    """Weights by each plan and their errors, and the CPU time of both."""
    measured = any_process.truth(alpha, EVENTS, seed=5).recoil
    begin, weights = time.process_time(), []
    for plan, precision in zip(plans, precisions, strict=True):
        found = any_process.estimate(alpha, plan, measured, precision)
        weights.append([found.value[:, 0].tolist(), found.error[:, 0].tolist()])
    return {"weights": weights, "seconds": time.process_time() - begin}


def drawn() -> None:
    """Everything by the planner against nothing solved."""
    for name, reaction in DRAWN.items():
        with jax.enable_x64(True):
            # resonances are mapped as those of their own widths are
            usual, wide = hypothesis(reaction), hypothesis(reaction, **WIDTHS)
            plans = any_process.plan(usual), any_process.all_drawn(usual)
            compared("drawn", name, wide, plans, (PRECISION / 2, PRECISION))


def order() -> None:
    """The other one of two neutrinos first."""
    for name, (reaction, widths) in ORDER.items():
        with jax.enable_x64(True):
            alpha = hypothesis(reaction)
            composition = any_process.composition(alpha)
            turned = replace(composition, first=composition.neutrino, neutrino=composition.first)
            integrand, trial = parts_of(turned)
            one = any_process.plan(alpha)
            two = replace(
                one,
                dimensions=turned.dimensions,
                integrand=integrand,
                rule=replace(one.rule, shifts=Lattice.shifts, allowance=Lattice.allowance),
                trials=(trial,),
                choices=NO_CHOICES,
            )
            compared("order", name, hypothesis(reaction, **widths), (one, two), (PRECISION, PRECISION))


PARTS = {"drawn": drawn, "order": order}

if __name__ == "__main__":
    run(PARTS)
