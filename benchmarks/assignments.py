"""Which jet is which, and what an event costs: by assignment, and by how well it fits its hypothesis.

    python benchmarks/assignments.py [roles] [figure] [--jets FILE] [--write]

Events are those of jets.py, leading-order ones whose truth is known. `roles` says how often the likeliest
assignment is right, with measured energies and with those of the partons; with a file that has `jN_Leg` and
`jN_TrueE` (jets 12 %, leptons 1 %, recoil 15 GeV) of its events, too. `figure` writes assignments.png. There χ²
is the least of all assignments: of energies, the recoil, and all masses within 2 GeV of their poles.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import jets
import numpy as np
import uproot
from scipy.optimize import least_squares
from table import run, say

import deepmem
from deepmem.physics.phasespace.trees import decay_tree
from deepmem.physics.theory.parameters import electroweak
from deepmem.physics.weights.contributions import Contributions, contributions
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.leading_order import draw_events

NAME, LIGHT, MB = "ttbar_1l", (3, 4), 4.7
"""Top pairs with one lepton; the legs of its W's jets, which are not told apart."""
JETS = 4
OF_FILES: dict[str, Any] = {"lepton": 0.01, "bjet": 0.12, "jet": 0.12, "recoil": {"c": 15, "K0": 30}}
MOST = 1 << 18
"""Evaluations of an event of the figure."""
NEAR = 2.0
"""GeV, within which a mass is at its pole."""
# hypothesis, and events of
PAIRS = (("wh_bb", "wh_bb"), ("wh_bb", "single_top_s"), (NAME, NAME), (NAME, "tth_bb_1l"))


def roles() -> None:
    """Of the engine's own events."""
    found = draw_events(NAME, 300, 15, jets.CUTS, response=jets.RESPONSE)
    places = np.array([leg for leg in range(found.true.shape[1]) if leg > 1])
    pt = np.hypot(found.measured[:, places, 1], found.measured[:, places, 2])
    leg = places[np.argsort(-pt, axis=1, kind="stable")]
    energy = np.take_along_axis(found.true[:, :, 0], leg, axis=1)
    _roles("leading-order events", found.columns, leg, energy, jets.RESPONSE)


def of_file(path: Path) -> None:
    """Of a file with truth, the events that have all jets."""
    with uproot.open(f"{path}:events") as tree:
        every = {name: np.asarray(values, dtype=float) for name, values in tree.arrays(library="np").items()}
    few = np.flatnonzero(np.isfinite(every[f"j{JETS}_PT"]))[:300]
    events = {name: values[few] for name, values in every.items()}
    leg, energy = (
        np.stack([events.pop(f"j{n}_{key}") for n in range(1, JETS + 1)], axis=1) for key in ("Leg", "TrueE")
    )
    _roles(path.stem, events, leg.astype(int), energy, OF_FILES)


def _roles(
    what: str, events: dict[str, np.ndarray], leg: np.ndarray, energy: np.ndarray, response: dict[str, Any]
) -> None:
    """**Arguments:** `leg` and true `energy` of each jet `[events, jets]`."""
    true = _with_true_energies(events, leg, energy)
    perfect = response | {kind: {"kind": "delta"} for kind in ("lepton", "bjet", "jet")}
    say(f"{what}, {len(leg)} of {NAME}: the likeliest assignment is right")
    for tags in ("hard", "ignore"):
        settings = {"precision": 0.05, "assignments": True} | ({} if tags == "hard" else {"tags": tags})
        for how, columns, seen in (("measured energies", events, response), ("the partons'", true, perfect)):
            found = deepmem.compute(columns, NAME, response=seen, **settings)[NAME]
            assert found.role is not None
            right = (_alike(found.role) == _alike(leg)).all(axis=1)[found.value > 0]
            say(
                f"  {tags} tags, {how}",
                f"{100 * right.mean():.0f} ± {100 * right.std() / np.sqrt(right.size):.0f} %",
            )


def _alike(legs: np.ndarray) -> np.ndarray:
    """Legs with one number for both light ones."""
    return np.where(np.isin(legs, LIGHT), LIGHT[0], legs)


def _with_true_energies(
    events: dict[str, np.ndarray], leg: np.ndarray, energy: np.ndarray
) -> dict[str, np.ndarray]:
    """The events with the partons' energies, and the same recoil as was measured."""
    found = dict(events)
    missing = events["MET"] * np.exp(1j * events["MET_Phi"])
    for n in range(JETS):
        name = f"j{n + 1}"
        mass = np.where(np.isin(leg[:, n], LIGHT), 0.0, MB)
        pt = np.sqrt(energy[:, n] ** 2 - mass**2) / np.cosh(events[f"{name}_Eta"])
        missing = missing + (events[f"{name}_PT"] - pt) * np.exp(1j * events[f"{name}_Phi"])
        found |= {f"{name}_PT": pt, f"{name}_M": mass}
    return found | {"MET": np.abs(missing), "MET_Phi": np.angle(missing)}


def chi2(name: str, events: dict[str, np.ndarray], count: int) -> np.ndarray:
    """The least χ² of events under a hypothesis, over all assignments."""
    least = np.full(count, np.inf)
    for rows in contributions(hypothesis(name, response=jets.RESPONSE), events)[0]:
        for row, event in enumerate(rows.event):
            least[event] = min(least[event], _chi2(rows, row))
    return least


def _chi2(rows: Contributions, row: int) -> float:
    """Of one assignment: energies of jets and the neutrino's momentum are fitted, from two rapidities."""
    alpha, seen = rows.alpha, rows.measured.rows(np.array([row]))
    tree = decay_tree(alpha.process)
    assert seen.missing is not None
    assert seen.activity is not None
    assert tree is not None
    rec, mass = seen.energy[0], seen.mass[0]
    kinds, (aim,) = alpha.process.visible_classes, seen.missing
    fitted = np.array([i for i, kind in enumerate(kinds) if kind in ("jet", "bjet")])
    along = np.stack([np.cos(seen.phi[0]), np.sin(seen.phi[0]), np.sinh(seen.eta[0])], axis=1)
    along /= np.cosh(seen.eta[0])[:, None]
    sigma = np.sqrt(jets.RESPONSE["recoil"]["c"] ** 2 + jets.RESPONSE["recoil"]["b"] ** 2 * seen.activity[0])
    p = alpha.parameters
    poles = [float(electroweak(p).MW if each.mass == "MW" else p.get(each.mass)) for each in tree.resonances]

    def residuals(x: np.ndarray) -> np.ndarray:
        energy = rec.copy()
        energy[fitted] = np.maximum(rec[fitted] * np.exp(x[: len(fitted)]), 1.01 * mass[fitted])
        size = np.sqrt(energy**2 - mass**2)
        momenta = dict(zip(tree.visible, np.column_stack([energy, along * size[:, None]]), strict=True))
        momenta |= {leg: np.r_[np.linalg.norm(x[-3:]), x[-3:]] for leg in tree.invisible}
        total = sum(momenta.values())
        masses = []
        for each in tree.resonances:
            e, *vector = sum(momenta[leg.number] for leg in each.legs)
            masses.append(np.sqrt(max(e**2 - np.dot(vector, vector), 0.0)))
        pulls = (rec[fitted] / energy[fitted] - 1) / jets.RESPONSE["jet"]
        return np.r_[pulls, (np.array(masses) - poles) / NEAR, (total[1:3] - aim) / sigma]

    visible = (along * np.sqrt(rec**2 - mass**2)[:, None]).sum(axis=0)
    pt = aim - visible[:2]
    lepton = np.sinh(seen.eta[0][kinds.index("lepton")])
    starts = [np.r_[np.zeros(len(fitted)), pt, np.hypot(*pt) * (lepton + side)] for side in (-1.0, 1.0)]
    return min(2 * least_squares(residuals, start, max_nfev=60).cost for start in starts)


def figure() -> None:
    """What an event costs by its χ², and how many assignments make its weight."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for (name, source), colour in zip(PAIRS, ("C0", "C1", "C2", "C3"), strict=True):
        number = 100 if name == source else 40
        events = jets.events_of(source, number)
        asked = {"precision": 0.02, "calls": MOST, "assignments": True}
        found = jets.weights_of(name, events, **asked)
        assert found.evaluations is not None
        assert found.share is not None
        fit, label = chi2(name, events, number), f"{name} on {source}"
        left.plot(np.maximum(fit, 0.1), found.evaluations, ".", color=colour, markersize=3, label=label)
        edges = np.quantile(fit, np.linspace(0, 1, 6))
        groups = [(fit >= low) & (fit <= high) for low, high in pairwise(edges)]
        left.plot(
            *np.array([(np.median(fit[g]), found.evaluations[g].mean()) for g in groups]).T, color=colour
        )
        if name == NAME:
            ways = {"hard tags": (found, "-")}
            if name == source:
                ways["tags ignored"] = jets.weights_of(name, events, tags="ignore", **asked), "--"
            for how, (each, style) in ways.items():
                assert each.share is not None
                share = np.nan_to_num(each.share).cumsum(axis=1).mean(axis=0)
                right.plot(1 + np.arange(10), share, style, color=colour, marker=".", label=f"{label}, {how}")
    left.set(xscale="log", yscale="log", xlabel="χ² of the event", ylabel="evaluations at 2 %")
    right.set(xlabel="assignments, the largest first", ylabel="mean share of the weight", ylim=(None, 1.01))
    left.legend(frameon=False, fontsize=7, loc="upper left")
    right.legend(frameon=False, fontsize=7, loc="lower right")
    plt.savefig("assignments.png", dpi=80)


def _option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jets", type=Path, metavar="FILE", help="with truth, for `roles`")


def _on_file(asked: argparse.Namespace, part: str) -> None:
    if asked.jets is not None and part == "roles":
        of_file(asked.jets)


PARTS = {"roles": roles, "figure": figure}

if __name__ == "__main__":
    run(PARTS, leave_out=("figure",), more=_option, finish=_on_file)
