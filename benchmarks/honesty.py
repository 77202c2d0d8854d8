"""Two seeds of every entry of the menu with jets, neutrinos, photons or taus: on its own events, and on others.

    python benchmarks/honesty.py [seeds] [--write] [--keep FOLDER] [--minutes N]

Events are `draw_events`' own: leptons and photons 2 %, jets 12 %, taus' hadrons 10 %, the recoil or missing p_T within
15 GeV. Other events are those of another process with the same final state. Where there is none they are the
entry's own, and the energy of each object is another one: times e^(0.3 n), n a standard normal number, and the
recoil is kept. So masses are many widths off. A pull is (w1 − w2)/√(σ1² + σ2²); an interval covers where the
difference of both is within it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jets import CLOSED, CUTS
from particles import SAMPLES
from table import kept, run, say, say_coverage

import deepmem
from deepmem.event import Status
from deepmem.physics.weights.leading_order import draw_events

_JETS: dict[str, Any] = {"lepton": 0.02, "bjet": 0.12, "jet": 0.12, "recoil": {"c": 15.0, "K0": 30.0}}
_NO_JETS: dict[str, Any] = {"lepton": 0.02, "met": {"c": 15.0}}
_LEPTONS = {key: each for key, each in CUTS.items() if key.startswith("lepton")}
_SPREAD, _SEEDS = 0.3, (1, 2)
CHANGED = "its own with other energies"
SOURCES = {name: (name, each.cuts, each.drawn, _JETS) for name, each in CLOSED.items()} | {
    name: (each.process, each.cuts, each.drawn, each.response) for name, each in SAMPLES.items()
}
"""Events: the process, cuts, further settings, the response."""
for each in ("wz_3l", "ww_2l_full"):
    SOURCES[each] = (each, CLOSED[each].cuts, CLOSED[each].drawn, _NO_JETS)
for each in ("ww_2l", "higgs_ww_2l"):
    SOURCES[each] = (each, _LEPTONS, {}, _NO_JETS)


class Case(NamedTuple):
    """A hypothesis, and on which events."""

    source: str
    """Its own events."""
    other: str = CHANGED
    """The others."""
    events: int = 200
    precision: float = 0.01
    settings: Mapping[str, Any] = MappingProxyType({})


_UNTAGGED = {"tags": "ignore"}
_TAGGING = {"tagging": {"b": 0.77, "c": 0.15, "light": 0.01}}


CASES: dict[str, Case] = {
    "zh_bb": Case("zh_bb", "zbb", settings=_UNTAGGED),
    "zbb": Case("zbb", "zh_bb", settings=_UNTAGGED),
    "wh_bb": Case("wh_bb", "wjj", settings=_UNTAGGED),
    "single_top_s": Case("single_top_s", "wh_bb"),
    "diphoton": Case("diphoton", "higgs_diphoton"),
    "higgs_diphoton": Case("higgs_diphoton", "diphoton"),
    "wz_3l": Case("wz_3l"),
    "higgs_ww_2l": Case("higgs_ww_2l", "ww_2l"),
    "ww_2l": Case("ww_2l", "higgs_ww_2l"),
    "ww_2l_full": Case("ww_2l_full"),
    "single_top_t": Case("single_top_t", "wjj", settings=_UNTAGGED),
    "wjj": Case("wjj", "wh_bb", settings=_UNTAGGED),
    "zjj": Case("zjj", "zh_bb", settings=_UNTAGGED),
    "z_tautau": Case("z_tautau lh", "higgs_tautau lh"),
    "higgs_tautau": Case("higgs_tautau lh", "z_tautau lh"),
    "higgs_tautau hh": Case("higgs_tautau hh", "z_tautau hh"),
    "higgs_tautau ll": Case("higgs_tautau ll", "z_tautau ll"),
    "ttbar_1l": Case("ttbar_1l", "tth_bb_1l", precision=0.02),
    "ttbar_1l, tagging": Case("ttbar_1l", "tth_bb_1l", precision=0.02, settings=_TAGGING),
    "ttbar_1l, tags ignored": Case("ttbar_1l", "tth_bb_1l", precision=0.02, settings=_UNTAGGED),
    "tw_2l": Case("tw_2l", precision=0.02),
    "ttbar_0l": Case("ttbar_0l", precision=0.02),
    "tth_bb_1l": Case("tth_bb_1l", "ttbb_1l", precision=0.02),
    "ttbb_1l": Case("ttbb_1l", "tth_bb_1l", precision=0.02),
    "vbf_higgs_4l": Case("vbf_higgs_4l", precision=0.02),
    "ttz_1l": Case("ttz_1l", precision=0.02),
    "tth_bb_2l": Case("tth_bb_2l", "ttbb_2l", precision=0.02),
    "ttbb_2l": Case("ttbb_2l", "tth_bb_2l", precision=0.02),
    "ttw_2l": Case("ttw_2l", precision=0.02),
}


@cache
def drawn(source: str, number: int) -> dict[str, np.ndarray]:
    process, cuts, more, response = SOURCES[source]
    return draw_events(process, number, 7, cuts, response=response, **more).columns


def changed(events: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The events with other energies of all objects, and missing p_T that leaves the recoil as it is."""
    found, rng = dict(events), np.random.default_rng(11)
    missing = events["MET"] * np.exp(1j * events["MET_Phi"]) if "MET" in events else 0.0
    for name in [each.removesuffix("_PT") for each in events if each.endswith("_PT")]:
        pt, factor = events[f"{name}_PT"], np.exp(_SPREAD * rng.standard_normal(len(events[f"{name}_PT"])))
        found[f"{name}_PT"] = pt * factor
        if f"{name}_M" in events:
            found[f"{name}_M"] = events[f"{name}_M"] * factor
        missing = missing + pt * (1 - factor) * np.exp(1j * events[f"{name}_Phi"])
    if "MET" in events:
        found |= {"MET": np.abs(missing), "MET_Phi": np.angle(missing)}
    return found


def events_of(name: str, own: bool) -> dict[str, np.ndarray]:
    """A case's own events, or the others."""
    case = CASES[name]
    if own or case.other == CHANGED:
        found = drawn(case.source, case.events)
        return found if own else changed(found)
    return drawn(case.other, case.events)


def weights_of(name: str, events: dict[str, np.ndarray], seed: int, precision: float) -> deepmem.Weight:
    case = CASES[name]
    process, _, _, response = SOURCES[case.source]
    asked = {"response": response, "precision": precision, "seed": seed, **case.settings}
    return deepmem.compute(events, process, **asked)[process]


def _measured(name: str, own: bool) -> dict[str, Any]:
    """Both seeds of a case, and milliseconds of CPU of an event."""
    events, precision = events_of(name, own), CASES[name].precision
    number = len(next(iter(events.values())))
    weights_of(name, {key: each[:6] for key, each in events.items()}, 99, precision)
    begin = time.process_time()
    found = [weights_of(name, events, seed, precision) for seed in _SEEDS]
    spent = 1e3 * (time.process_time() - begin) / (len(_SEEDS) * number)
    keys = ("value", "error", "status", "evaluations")
    return {"ms": spent} | {key: [getattr(each, key).tolist() for each in found] for key in keys}


def seeds(names: tuple[str, ...] = tuple(CASES)) -> None:
    """Pulls of two seeds, and costs."""
    for name in names:
        case, means = CASES[name], []
        for own in (True, False):
            source = case.source if own else case.other
            key = f"{name} on {source}, {case.events} events, {100 * case.precision:g} %"
            found = kept(key, partial(_measured, name, own))
            if found is None:
                continue
            means.append(_say(key.replace(" events", ""), found))
        if len(means) == 2:
            say("  other events over own ones: evaluations", f"{means[1] / means[0]:.1f}", "≤ 3")


def _say(what: str, found: dict[str, Any]) -> float:
    """What both seeds say; the mean number of evaluations."""
    value, error = np.array(found["value"]), np.array(found["error"])
    status, evaluations = np.array(found["status"]), np.array(found["evaluations"])
    there = (value > 0).all(axis=0)
    pull = (value[0] - value[1])[there] / np.hypot(*error)[there]
    say(f"{what}: width of the pulls", f"{np.sqrt((pull**2).mean()):.2f}", "≤ 1.15")
    say("  largest pull", f"{np.abs(pull).max():.1f}", "≤ 6")
    one, two = (float(np.mean(np.abs(pull) < limit)) for limit in (1, 1.96))
    say_coverage(one, two, ("≥ 60 %", "≥ 91 %"), digits=0)
    say("  weights of 0 in one seed alone", f"{((value > 0).any(axis=0) & ~there).sum()}", "≤ 0")
    say("  events without a weight", f"{(~(value > 0).any(axis=0)).sum()}")
    say("  mean CPU per event", f"{found['ms']:.1f} ms")
    say("  evaluations, mean", f"{evaluations.mean():,.0f}")
    say("  precision missed", f"{100 * np.mean(status == Status.PRECISION):.1f} %", "≤ 1 %")
    return float(evaluations.mean())


PARTS = {"seeds": seeds}

if __name__ == "__main__":
    run(PARTS)
