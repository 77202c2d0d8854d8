"""σ of any reaction, from its diagrams, against MadEvent's.

    python benchmarks/cross_sections.py [reactions] [pulls] [--write]

`reactions` has all entries of tests/reference/cross_sections.json, and that of VBF times H → 4ℓ, at 0.3 %, with
the CPU seconds that each took; compiling is in them. `pulls` has twenty seeds of four reactions.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from table import run, say

import deepmem
from deepmem.physics.reactions import read

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "physics"))
from known_cross_sections import ENTRIES, MASSIVE_B, known, vbf_to_four_leptons

SEEDS = 20
FEW = ("ttx_semilep", "wph_munubb", "st_tch", "aa")


def reactions() -> None:
    """All entries: σ, the difference in combined errors, and the time."""
    vbf = vbf_to_four_leptons(15.0, read("p p > h j j QCD=0").defaults)
    entries = {name: known(name) for name in ENTRIES} | {"vbf_4l": vbf}
    for name, (value, error, arguments) in entries.items():
        begin = time.process_time()
        found = deepmem.cross_section(precision=4e-3 if name == "munujj" else 3e-3, seed=1, **arguments)
        seconds = time.process_time() - begin
        reaction = arguments["process"].partition("=")[2]
        say(f"{name}: {reaction}", f"{found.value:.5g} ± {found.error:.1g} pb")
        say(
            "  MadEvent, Γ(H → 4ℓ) in closed form" if name == "vbf_4l" else "  MadEvent",
            f"{value:.5g} ± {error:.1g} pb",
        )
        pull = (found.value - value) / np.hypot(found.error, error)
        say("  difference in combined errors", f"{pull:+.1f}", "" if name in MASSIVE_B else "0 ± 3")
        say("  CPU seconds", f"{seconds:.0f}", "≤ 60")


def pulls() -> None:
    """Two seeds differ by what their errors say."""
    for name in FEW:
        arguments = known(name).arguments
        found = [deepmem.cross_section(points=65_536, seed=seed, **arguments) for seed in range(1, SEEDS + 1)]
        values, errors = (np.array([getattr(each, key) for each in found]) for key in ("value", "error"))
        pull = (values - np.average(values, weights=errors**-2)) / errors
        say(f"{name}, {SEEDS} seeds of 65,536 points: error", f"{100 * np.mean(errors / values):.2g} %")
        say("  width of the pulls", f"{pull.std(ddof=1):.2f}", "≤ 1.15")


PARTS = {"reactions": reactions, "pulls": pulls}

if __name__ == "__main__":
    run(PARTS)
