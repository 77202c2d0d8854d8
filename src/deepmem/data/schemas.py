"""Where known formats keep their objects: the ready-made definitions of `objects`.

A schema says where collections are and what their fields are called, and cuts nothing. What one version calls
otherwise is a `Version`, known by a branch that only it has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

Definition = Mapping[str, Any]
"""`leptons`, `jets`, …: a collection, or a list of them; see `objects.Entry`."""


@dataclass(frozen=True)
class Version:
    """What a version says otherwise; `branch`, how it is known (empty: any)."""

    branch: str
    objects: Definition


@dataclass(frozen=True)
class Schema:
    """A format: what people call it, its trees, its unit, its objects, and a branch that tells it."""

    title: str
    trees: tuple[str, ...]
    branches: tuple[str, ...]
    objects: Definition
    unit: str = "GeV"
    versions: tuple[Version, ...] = field(default=(Version("", {}),))
    lacks: Mapping[str, str] = field(default_factory=dict)
    """What files of the format do not have, and why."""


def _nano(name: str, **more: Any) -> dict[str, Any]:
    return {"prefix": [f"{name}_", f"{name}."], **more}


def _nano_met(name: str) -> dict[str, Any]:
    return _nano(name, pt="pt", phi="phi")


SCHEMAS = {
    "nanoaod": Schema(
        "NanoAOD",
        ("Events",),
        ("Muon_pt", "Electron_pt", "nMuon"),
        {
            "leptons": [_nano("Electron", pdg=11), _nano("Muon", pdg=13)],
            "jets": _nano("Jet"),
            "photons": _nano("Photon"),
            "taus": _nano("Tau"),
        },
        # Medium working points of 2024, 2022 before EE, and 2018 (ultra-legacy): btv-wiki.docs.cern.ch, pages
        # ScaleFactors/Run3Summer24, Run3Summer22, UL2018. Missing pT is of the kind that the jets are of.
        versions=(
            Version(
                "Jet_btagUParTAK4B",
                {"jets": {"tag": "btagUParTAK4B", "above": 0.1272}, "met": _nano_met("PuppiMET")},
            ),
            Version(
                "Jet_btagPNetB",
                {"jets": {"tag": "btagPNetB", "above": 0.245}, "met": _nano_met("PuppiMET")},
            ),
            Version(
                "Jet_btagDeepFlavB",
                {"jets": {"tag": "btagDeepFlavB", "above": 0.2783}, "met": _nano_met("MET")},
            ),
            Version("MET_pt", {"met": _nano_met("MET")}),
            Version("PuppiMET_pt", {"met": _nano_met("PuppiMET")}),
            Version("PFMET_pt", {"met": _nano_met("PFMET")}),
        ),
    ),
    "delphes": Schema(
        "Delphes",
        ("Delphes",),
        ("Muon.PT", "Electron.PT", "MissingET.MET"),
        {
            "leptons": [{"prefix": "Electron.", "pdg": 11}, {"prefix": "Muon.", "pdg": 13}],
            "jets": {"prefix": "Jet.", "tag": "BTag"},
            "photons": {"prefix": "Photon."},
            "met": {"pt": "MissingET.MET", "phi": "MissingET.Phi"},
        },
    ),
    "physlite": Schema(
        "PHYSLITE",
        ("CollectionTree", "EventData"),
        ("AnalysisMuonsAuxDyn.pt", "AnalysisMuonsAuxDyn:pt", "AnalysisElectronsAuxDyn.pt"),
        {
            "leptons": [
                {"prefix": ["AnalysisElectronsAuxDyn.", "AnalysisElectronsAuxDyn:"], "pdg": 11},
                {"prefix": ["AnalysisMuonsAuxDyn.", "AnalysisMuonsAuxDyn:"], "pdg": 13},
            ],
            "jets": {"prefix": ["AnalysisJetsAuxDyn.", "AnalysisJetsAuxDyn:"]},
            "photons": {"prefix": ["AnalysisPhotonsAuxDyn.", "AnalysisPhotonsAuxDyn:"]},
            "taus": {"prefix": ["AnalysisTauJetsAuxDyn.", "AnalysisTauJetsAuxDyn:"]},
        },
        unit="MeV",
        # Athena's METAssociationTool writes SoftClusCore and PVSoftTrkCore there.
        lacks={
            "met": "PHYSLITE has soft terms of missing pT alone (MET_Core_AnalysisMET), and no sum: "
            "METMaker makes that from calibrated objects"
        },
    ),
}


def looks_like(trees: Collection[str], branches: Collection[str] = (), but: str = "") -> str:
    """A hint of the schema that a file looks like, "" where it looks like none or like `but`."""
    for name, schema in SCHEMAS.items():
        telling = {"Events": "Runs", "CollectionTree": "MetaData", "EventData": "MetaData"}
        by_tree = any(tree in trees and telling.get(tree, tree) in trees for tree in schema.trees)
        if by_tree or any(branch in branches for branch in schema.branches):
            if name == but:
                return ""
            in_file = f'"schema": "{name}"'
            return f" (it looks like {schema.title}: --schema {name} reads it, {in_file} in an input file)"
    return ""
