"""The reactions of `reference/cross_sections.json` as `deepmem.cross_section` takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

ENTRIES: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "reference" / "cross_sections.json").read_text("utf-8")
)["processes"]

# what "cuts" of the entries says in words
_CUTS: dict[str, dict[str, float]] = {
    "ttxbbx_semilep": {"bjet_pt": 20, "bjet_eta": 3, "bjet_delta_r": 0.4},
    "mumubb": {
        "bjet_pt": 20,
        "bjet_eta": 2.5,
        "bjet_delta_r": 0.4,
        "pair_mass": 50,
        "lepton_pt": 10,
        "lepton_eta": 2.5,
    },
    "munujj": {"jet_pt": 25, "jet_eta": 2.5, "jet_jet_delta_r": 0.4, "lepton_pt": 20, "lepton_eta": 2.5},
    "wz_3l": {"lepton_pt": 10, "lepton_eta": 2.5, "pair_mass": 4},
    "aa": {"photon_pt": 20, "photon_eta": 2.5},
    "vbf": {"jet_pt": 20, "jet_eta": 5},
}
MASSIVE_B = ("st_tch_mb47", "tW_mb47")
"""With incoming b quarks of 4.7 GeV, for which programs differ in their kinematics."""


class Known(NamedTuple):
    """One entry."""

    value: float
    error: float
    arguments: dict[str, Any]
    """Of `cross_section`, the reaction among them."""


def known(name: str) -> Known:
    entry = ENTRIES[name]
    labels = {label: entry["multiparticles"][label] for label in ("p", "j")}
    arguments = {
        "process": f"{name}={entry['process']}",
        "selection": _CUTS.get(name, {}),
        "parton": True,
        "labels": labels,
        "Q": entry["mu_F_GeV"],
        "alpha_s": entry["alpha_s"],
        "pdf": "NNPDF23_lo_as_0130_qed",
    }
    if not entry["bw_restriction"].startswith("none"):
        arguments["window"] = entry["bwcutoff"]
    if entry["MB_GeV"] > 0 and "b" in labels["p"].split():
        arguments["MB"] = entry["MB_GeV"]
    return Known(entry["sigma_pb"], entry["error_pb"], arguments)
