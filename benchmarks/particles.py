"""Weights of photons and taus: cost and closure on leading-order events.

    python benchmarks/particles.py [cost] [closure] [--write]

Events are `draw_events`' own: photons 2 %, taus' hadrons 10 %, leptons 2 %, recoil within 15 GeV, with the
prior K0 = 30 GeV. Of taus h are hadrons and l an electron or a muon, for τ⁺ and τ⁻.
`closure` is statement 5 of docs/physics.md, ⟨W_B/W_A⟩ = σ_vis,B/σ_vis,A for events of A.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from closures import Closure, close
from table import run, say

import deepmem
from deepmem.event import Status, Weight
from deepmem.physics.weights.leading_order import cross_section, draw_events


class Sample(NamedTuple):
    """Events of a process, and what is another number in the hypothesis B."""

    process: str
    cuts: dict[str, Any]
    other: dict[str, float]
    drawn: dict[str, Any]
    """Further settings of events."""
    response: dict[str, Any]


_PHOTONS = {"photon": 0.02}
_TAUS = {"tau": 0.10, "lepton": 0.02, "recoil": {"c": 15.0, "K0": 30.0}}
_OF_TAUS = {"lepton_pt": [25, 20], "lepton_eta": 2.5, "mass": 40}
_OF_PHOTONS = {"photon_pt": [40, 30], "photon_eta": 2.5}
SAMPLES: dict[str, Sample] = {
    "diphoton": Sample("diphoton", _OF_PHOTONS, {"Q": 200.0}, {"parton_selection": {"photon_pt": 15}}, _PHOTONS),
    "higgs_diphoton": Sample("higgs_diphoton", _OF_PHOTONS, {"MH": 126.0}, {}, _PHOTONS),
} | {
    f"{process} {taus}": Sample(process, _OF_TAUS, other, {"taus": taus, **more}, _TAUS)
    for process, other, more in (
        ("higgs_tautau", {"MH": 128.0}, {}),
        ("z_tautau", {"MZ": 92.188}, {"parton_selection": {"pair_mass": 20}}),
    )
    for taus in ("hh", "lh", "ll")
}  # fmt: skip
CLOSED, TIMED = 500, 200


def events_of(sample: Sample, number: int, seed: int = 5) -> dict[str, np.ndarray]:
    return draw_events(
        sample.process, number, seed, sample.cuts, response=sample.response, **sample.drawn
    ).columns


def weights_of(sample: Sample, events: dict[str, np.ndarray], **settings: Any) -> Weight:
    return deepmem.compute(events, sample.process, response=sample.response, **settings)[sample.process]


def cost() -> None:
    """Of a process on its own events, at 1 %."""
    for name, sample in SAMPLES.items():
        events = events_of(sample, TIMED)
        weights_of(sample, {key: each[:8] for key, each in events.items()})
        begin = time.process_time()
        found = weights_of(sample, events)
        say(f"{name}: mean CPU per event at 1 %", f"{1e3 * (time.process_time() - begin) / TIMED:.1f} ms")
        assert found.evaluations is not None
        say("  evaluations, mean", f"{found.evaluations.mean():,.0f}")
        say("  precision missed", f"{100 * np.mean(found.status == Status.PRECISION):.1f} %", "≤ 1 %")


def closure() -> None:
    """⟨W_B/W_A⟩ beside σ_vis,B/σ_vis,A."""
    close([_closed(name, sample) for name, sample in SAMPLES.items()])


def _closed(name: str, sample: Sample) -> Closure:
    drawn = {"response": sample.response, **sample.drawn}
    return Closure(
        name,
        sample.other,
        CLOSED,
        partial(draw_events, sample.process, selection=sample.cuts, **drawn),
        partial(weights_of, sample, precision=0.03),
        partial(cross_section, sample.process, sample.cuts, precision=4e-3, **drawn),
    )


PARTS = {"cost": cost, "closure": closure}

if __name__ == "__main__":
    run(PARTS)
