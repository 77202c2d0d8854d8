"""The reactions of `reference/cross_sections.json` as `deepmem.cross_section` takes them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

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


def vbf_to_four_leptons(window: float, values: Mapping[str, float]) -> Known:
    """H → e⁺e⁻μ⁺μ⁻ of the entry `vbf`, N = `window` widths about MH, by H → Z*Z* in closed form.

    σ(hjj) Γ(H → eeμμ)/WH (2/π) arctan 2N;   A. Djouadi, Phys. Rept. 457 (2008) 1, (2.27) to (2.29), with
    Γ(Z → ℓℓ) in place of Γ_Z in numerators, and 2 for which Z is which.
    """
    GF, MZ, WZ, MH = (values[name] for name in ("GF", "MZ", "WZ", "MH"))
    sine = 1 - values["MW"] ** 2 / MZ**2
    of_z = GF * MZ**3 / (6 * math.sqrt(2) * math.pi) * ((2 * sine - 0.5) ** 2 + 0.25)
    nodes, weights = np.polynomial.legendre.leggauss(100)

    def lighter(first: float, last: float) -> float:
        """∫ over the mass of the lighter Z, the other one by its Breit–Wigner angle."""
        total = 0.0
        for q, weight in zip((last - first) / 2 * nodes + (last + first) / 2, weights, strict=True):
            low, high = (math.atan((m**2 - MZ**2) / (MZ * WZ)) for m in (q, MH - q))
            other = MZ**2 + MZ * WZ * np.tan((high - low) / 2 * nodes + (high + low) / 2)
            x, y = q**2 / MH**2, other / MH**2
            triangle = np.maximum((1 - x - y) ** 2 - 4 * x * y, 0.0)
            inner = np.sum(weights * np.sqrt(triangle) * (triangle + 12 * x * y)) * (high - low) / 2
            total += weight * 2 * q * float(inner) / (MZ * WZ) / ((q**2 - MZ**2) ** 2 + (MZ * WZ) ** 2)
        return total * (last - first) / 2

    ends = (0.0, MH - MZ - 4 * WZ, MH - MZ + 4 * WZ, MH / 2)
    total = 2 * sum(itertools.starmap(lighter, itertools.pairwise(ends)))
    of_higgs = 2 / math.pi**2 * (MZ * of_z) ** 2 * GF * MH**3 / (16 * math.sqrt(2) * math.pi) * total
    share = of_higgs / values["WH"] * 2 / math.pi * math.atan(2 * window)
    value, error, arguments = known("vbf")
    reaction = "vbf_4l=p p > h j j QCD=0, h > e+ e- mu+ mu-"
    return Known(share * value, share * error, arguments | {"process": reaction, "window": window})
