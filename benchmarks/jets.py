"""Weights of events with jets: cost and closure on leading-order events of any reaction.

    python benchmarks/jets.py [cost] [closure] [--write] [--keep FOLDER] [--minutes N]

Events are `draw_events`' own: jets 10 %, leptons perfect, recoil within σ² = 12² + 0.3² H GeV², with the prior
K0 = 30 GeV. `cost` has CPU times of weights without compiling, means over all events; `closure` is statement 5 of docs/physics.md, ⟨W_B/W_A⟩ = σ_vis,B/σ_vis,A for events of A.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from closures import ROUGH, USUAL, Closure, close
from table import run, say

import deepmem
from deepmem.event import Status, Weight
from deepmem.physics.weights.leading_order import cross_section, draw_events

RESPONSE: dict[str, Any] = {
    "lepton": {"kind": "delta"}, "bjet": 0.10, "jet": 0.10, "recoil": {"c": 12, "b": 0.3, "K0": 30},
}  # fmt: skip
CUTS = {"lepton_pt": 20, "lepton_eta": 2.5, "jet_pt": 25, "jet_eta": 2.5, "jet_delta_r": 0.4}
# hypothesis, events of, their number, precision, settings, ms aimed at
COSTS: tuple[tuple[str, str, int, float, dict[str, Any], float | None], ...] = (
    ("ttbar_1l", "ttbar_1l", 200, 0.02, {}, 20),
    ("ttbar_1l", "ttbar_1l", 200, 0.02, {"tags": "ignore"}, 40),
    ("ttbar_1l", "ttbar_1l", 200, 0.02, {"tagging": {"b": 0.77, "c": 0.15, "light": 0.01}}, 40),
    ("tth_bb_1l", "tth_bb_1l", 40, 0.02, {}, 80),
    ("tth_bb_2l", "tth_bb_2l", 40, 0.02, {}, None),
    ("tw_2l", "tw_2l", 100, 0.02, {}, None),
    ("wh_bb", "wh_bb", 200, 0.01, {"tags": "ignore"}, 8),
    ("zh_bb", "zh_bb", 200, 0.01, {"tags": "ignore"}, 3),
    ("zbb", "zh_bb", 200, 0.01, {"tags": "ignore"}, 5),
)


class Closed(NamedTuple):
    """Events of A for a closure."""

    other: dict[str, float]
    """What is another number in B."""
    batch: int
    """Events at a time."""
    cuts: dict[str, Any] = CUTS
    drawn: Mapping[str, Any] = MappingProxyType({})
    """Further settings of events and σ_vis."""
    response: Mapping[str, Any] = MappingProxyType(RESPONSE)


_LEPTONS = {key: each for key, each in CUTS.items() if key.startswith("lepton")}
_PAIR = {"pair_mass": 50}
_NO_LEPTONS = {key: each for key, each in CUTS.items() if key not in _LEPTONS}
_DRAWN = {"parton_selection": {"pair_mass": 40}}  # leptons are perfect
_PARTONS = {"jet_pt": 10, "jet_jet_delta_r": 0.3}  # far below what jets of 25 GeV come of
CLOSED = {
    "zh_bb": Closed({"MH": 128.0}, 400),
    "wh_bb": Closed({"MH": 128.0}, 400),
    "zbb": Closed({"MZ": 92.188}, 200, CUTS | _PAIR, _DRAWN),
    "wjj": Closed({"MW": 81.419}, 200, CUTS, {"parton_selection": _PARTONS}),
    "zjj": Closed({"MZ": 92.188}, 200, CUTS | _PAIR, {"parton_selection": _PARTONS | {"pair_mass": 40}}),
    "ttbar_1l": Closed({"MT": 175.0}, 400),
    "ttbar_0l": Closed({"MT": 175.0}, 150, _NO_LEPTONS),
    "tw_2l": Closed({"MT": 176.0}, 200),
    "single_top_s": Closed({"MT": 176.0}, 200),
    "single_top_t": Closed({"MT": 176.0}, 200),
    "tth_bb_1l": Closed({"MH": 128.0}, 150),
    "tth_bb_2l": Closed({"MH": 128.0}, 150),
    "ttz_1l": Closed({"MT": 176.0}, 80, CUTS | _PAIR, _DRAWN),
    "ttw_2l": Closed({"MT": 176.0}, 80),
    "ttbb_1l": Closed({"MT": 176.0}, 60),
    "ttbb_2l": Closed({"MT": 176.0}, 60),
    # leptons that are perfect leave the pole of A no weight in B
    "vbf_higgs_4l": Closed({"MH": 125.5}, 200, response=RESPONSE | {"lepton": 0.02}),
    "wz_3l": Closed({"MZ": 92.188}, 200, _LEPTONS | _PAIR, _DRAWN),
    "ww_2l_full": Closed({"MW": 81.419}, 200, _LEPTONS),
}
_ROUGH = ("ttz_1l", "ttw_2l", "ttbb_1l", "ttbb_2l")
_ROUGH_POINTS = 1 << 19


def events_of(name: str, number: int, seed: int = 5) -> dict[str, np.ndarray]:
    return draw_events(name, number, seed, CUTS, response=RESPONSE).columns


def weights_of(
    name: str, events: dict[str, np.ndarray], response: Mapping[str, Any] = RESPONSE, **settings: Any
) -> Weight:
    return deepmem.compute(events, name, response=dict(response), **settings)[name]


def cost() -> None:
    """Of a hypothesis on its own and on other events."""
    for name, source, number, precision, settings, aim in COSTS:
        events = events_of(source, number)
        asked = {"precision": precision, **settings}
        weights_of(name, {key: each[:8] for key, each in events.items()}, **asked)
        begin = time.process_time()
        found = weights_of(name, events, **asked)
        spent = 1e3 * (time.process_time() - begin) / number
        how = ", ".join(f"{key} {'given' if key == 'tagging' else each}" for key, each in settings.items())
        say(f"{name} on {source}, {100 * precision:g} %{f', {how}' if how else ''}: mean CPU per event",
            f"{spent:.1f} ms", "" if aim is None else f"≤ {aim:g} ms")  # fmt: skip
        assert found.evaluations is not None
        middle, mean = np.median(found.evaluations), found.evaluations.mean()
        say("  evaluations, median", f"{middle:,.0f}")
        say("  evaluations, mean", f"{mean:,.0f}")
        say("  precision missed", f"{100 * np.mean(found.status == Status.PRECISION):.1f} %", "≤ 1 %")


def closure() -> None:
    """⟨W_B/W_A⟩ beside σ_vis,B/σ_vis,A."""
    close([_closed(name, each) for name, each in CLOSED.items()])


def _closed(name: str, closed: Closed) -> Closure:
    rough, settings = name in _ROUGH, {"response": dict(closed.response), **closed.drawn}
    how: dict[str, Any] = {"points": _ROUGH_POINTS} if rough else {"precision": 4e-3}
    return Closure(
        name,
        closed.other,
        closed.batch,
        partial(draw_events, name, selection=closed.cuts, **settings),
        partial(weights_of, name, response=closed.response, precision=0.05),
        partial(cross_section, name, closed.cuts, **settings, **how),
        ROUGH if rough else USUAL,
    )


PARTS = {"cost": cost, "closure": closure}

if __name__ == "__main__":
    run(PARTS)
