"""Whether two commits give the same weights: to 1e-10, with the same numbers of evaluations.

    python benchmarks/commits.py BEFORE [AFTER] [--events 100] [--only TEXT]

Both commits compute the same leading-order events, each in a process of its own, with the Python that runs
this. Without AFTER, the working tree is compared. It ends with exit status 1 where a weight moved by more than
1e-10 of itself, or more than 1 event in 1,000 stopped at another number of evaluations.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
LARGEST, MOST_MOVED = 1e-10, 1e-3
TAILS = {"kind": "double_gaussian", "fraction": 0.2, "core": {"r": 0.02}, "tail": {"r": 0.06}}
REGIONS = [
    {"kind": "gaussian", "r": 0.02, "eta_max": 1.0},
    {"kind": "crystal_ball", "r": 0.03, "alpha": 1.5, "n": 4},
]
CASES: dict[str, tuple[str, float, dict[str, Any]]] = {
    "drell_yan": ("drell_yan", 1.0, {}),
    "drell_yan, measured perfectly": ("drell_yan", 1.0, {"r_lepton": 0}),
    "drell_yan, a narrow Z": ("drell_yan", 1.0, {"WZ": 0.5}),
    "drell_yan, a scan": ("drell_yan", 1.0, {"MZ": [90.0, 91.188, 92.0]}),
    "drell_yan, regions of eta": ("drell_yan", 1.0, {"response": {"lepton": REGIONS}}),
    "zz_4l": ("zz_4l", 1.0, {}),
    "zz_4l, tails": ("zz_4l", 0.2, {"response": {"lepton": TAILS}}),
    "zz_4l, the subset zz": ("zz_4l", 0.5, {"subset": "zz"}),
    "higgs_4l": ("higgs_4l", 1.0, {}),
    "higgs_4l, tails": ("higgs_4l", 0.2, {"response": {"lepton": TAILS}}),
    "higgs_4l, a scan": ("higgs_4l", 1.0, {"MH": [124.0, 125.0, 126.0]}),
    "higgs_4l, MH=event": ("higgs_4l", 1.0, {"MH": "event"}),
    "ttbar_2l": ("ttbar_2l", 0.3, {}),
    "ttbar_2l, balance": ("ttbar_2l", 0.2, {"met": "balance"}),
    "ttbar_2l, missing pT with its response": ("ttbar_2l", 0.2, {"response": {"met": {"c": 15.0, "b": 0.5}}}),
    "ttbar_2l, measured perfectly": ("ttbar_2l", 0.2, {"r_lepton": 0, "r_bjet": 0}),
    "ttbar_2l, in the laboratory": ("ttbar_2l", 0.1, {"frame": "lab", "b_mass": "jet"}),
    "ww_2l": ("ww_2l", 0.5, {}),
    "ww_2l, balance": ("ww_2l", 0.3, {"met": "balance"}),
    "higgs_ww_2l": ("higgs_ww_2l", 0.5, {}),
}
"""Label → process, share of the events, settings."""


def draw(path: Path, events: int) -> None:
    """Leading-order events of every process, by case."""
    from deepmem.physics.weights.leading_order import draw_events

    columns = {}
    for label, (process, share, _) in CASES.items():
        number = max(2, round(events * share))
        columns |= {
            f"{label}/{name}": values for name, values in draw_events(process, number, seed=1).columns.items()
        }
    np.savez(path, **columns)


def compute(events: Path, output: Path, only: str) -> None:
    """Weights, errors, statuses and evaluations of these events with the deepmem that Python finds."""
    import deepmem

    results = {}
    with np.load(events) as columns:
        for label, (process, _, settings) in CASES.items():
            if only not in label:
                continue
            here = {
                name.split("/")[1]: columns[name] for name in columns.files if name.split("/")[0] == label
            }
            for name, weight in deepmem.compute(here, process=process, **settings).items():
                fields = {"value": weight.value, "error": weight.error, "status": weight.status}
                evaluations = getattr(weight, "evaluations", None)
                fields |= {} if evaluations is None else {"evaluations": evaluations}
                results |= {f"{label}/{name}/{field}": values for field, values in fields.items()}
    np.savez(output, **results)


def child(source: Path, *arguments: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(source / "src")}
    subprocess.run([sys.executable, __file__, *arguments], check=True, env=environment)


def compare(before: Any, after: Any) -> bool:
    """Print one line per weight; whether all of them agree."""
    good = True
    weights = sorted({name.rsplit("/", 1)[0] for name in before.files})
    print(f"{'weight':55} events  largest difference  other evaluations  other status")
    for weight in weights:
        first, second = (side[f"{weight}/value"] for side in (before, after))
        with np.errstate(invalid="ignore", divide="ignore"):
            difference = np.where(first == second, 0.0, np.abs(second / first - 1))
        difference[np.isnan(first) & np.isnan(second)] = 0.0
        counts = [side.get(f"{weight}/evaluations") for side in (before, after)]
        moved = None if any(each is None for each in counts) else int((counts[0] != counts[1]).sum())
        statuses = int((before[f"{weight}/status"] != after[f"{weight}/status"]).sum())
        print(
            f"{weight:55} {len(first):6} {difference.max():19.1e} {'' if moved is None else moved:>18} {statuses:13}"
        )
        good &= bool(difference.max() <= LARGEST) and (moved or 0) <= MOST_MOVED * len(first) and not statuses
    return good


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before")
    parser.add_argument("after", nargs="?")
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        child(ROOT, "--draw", str(here / "events.npz"), str(given.events))
        for side, commit in (("before", given.before), ("after", given.after)):
            tree = here / side if commit else ROOT
            if commit:
                subprocess.run(
                    ["git", "worktree", "add", "--quiet", "--detach", str(tree), commit], check=True, cwd=ROOT
                )
            try:
                child(tree, "--weights", str(here / "events.npz"), str(here / f"{side}.npz"), given.only)
            finally:
                if commit:
                    subprocess.run(["git", "worktree", "remove", "--force", str(tree)], check=True, cwd=ROOT)
        with np.load(here / "before.npz") as before, np.load(here / "after.npz") as after:
            return 0 if compare(before, after) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--draw"]:
        draw(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["--weights"]:
        compute(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
    else:
        sys.exit(main())
