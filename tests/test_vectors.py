"""Branches of vectors as ROOT stores them: TLorentzVector, ROOT::Math::LorentzVector, TVector2, in one or split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from test_objects import ALL_JETS, JETS, MET, MUONS, expected, read

from deepmem import UsageError
from deepmem.config import Config
from deepmem.data.memory import InMemory
from deepmem.data.root import Source
from deepmem.data.vectors import made_of, vectors

MASS = 0.105


def _polar(objects: list[list[dict[str, float]]]) -> dict[str, ak.Array]:
    return {
        name: ak.values_astype(ak.Array([[each[name] for each in event] for event in objects]), np.float64)
        for name in ("pt", "eta", "phi", "mass")
    }


def _cartesian() -> ak.Array:
    """Muons as uproot reads a branch of TLorentzVector."""
    of = _polar(MUONS)
    x, y, z = of["pt"] * np.cos(of["phi"]), of["pt"] * np.sin(of["phi"]), of["pt"] * np.sinh(of["eta"])
    energy = np.sqrt(x**2 + y**2 + z**2 + MASS**2)
    return ak.zip({"fP": ak.zip({"fX": x, "fY": y, "fZ": z}), "fE": energy})


def _coordinates() -> ak.Array:
    """Jets as `ROOT::Math::LorentzVector<PtEtaPhiM4D>`."""
    of = _polar(ALL_JETS)
    members = {"pt": "fPt", "eta": "fEta", "phi": "fPhi", "mass": "fM"}
    return ak.zip({"fCoordinates": ak.zip({new: of[old] for old, new in members.items()})})


CHARGE = ak.values_astype(ak.Array([[each["charge"] for each in event] for event in MUONS]), np.int32)
TAG = ak.values_astype(ak.Array([[each["tag"] for each in event] for event in ALL_JETS]), np.float64)
PLANE = {"fX": MET[0] * np.cos(MET[1]), "fY": MET[0] * np.sin(MET[1])}
OBJECTS: dict[str, Any] = {
    "leptons": {"prefix": "lep", "charge": "lep_charge", "pdg": 13},
    "jets": {"prefix": "jets.", "tag": "score", "above": 0.5},
    "met": {"prefix": "miss"},
}
COLUMNS = ["lep1_PT", "lep1_Eta", "lep1_Phi", "lep1_Charge", *JETS, "MET", "MET_Phi"]


def _flat(name: str, records: ak.Array) -> dict[str, ak.Array]:
    """The leaves of records, under the names that ROOT gives the branches of a split object."""
    found: dict[str, ak.Array] = {}
    for field in records.fields:
        inner = records[field]
        found |= _flat(f"{name}.{field}", inner) if inner.fields else {f"{name}.{field}": inner}
    return found


def _expected() -> np.ndarray:
    """The columns by hand, of muons alone: electrons have no vectors here."""
    table = expected(COLUMNS, 0.5)
    for i, muons in enumerate(MUONS):
        hardest = max(muons, key=lambda m: m["pt"]) if muons else {}
        table[i, :4] = [hardest.get(name, np.nan) for name in ("pt", "eta", "phi", "charge")]
    return table


@pytest.mark.parametrize("split", [True, False])
def test_vectors_make_the_columns(tmp_path: Path, split: bool) -> None:
    """Of the branches of a split object, and of records in an RNTuple and in memory."""
    records = {"lep": _cartesian(), "jets": _coordinates()}
    beside = {"lep_charge": CHARGE, "score": TAG}
    path = tmp_path / "vectors.root"
    with uproot.recreate(path) as file:
        if split:
            columns = {k: v for name, each in records.items() for k, v in _flat(name, each).items()}
            columns |= {f"miss.{name}": values for name, values in PLANE.items()} | beside
            file.mktree("t", {k: getattr(v, "type", v.dtype) if isinstance(v, np.ndarray) else v.type.content
                              for k, v in columns.items()})  # fmt: skip
            file["t"].extend(columns)
        else:
            file.mkrntuple("t", {**records, "miss": ak.zip(PLANE), **beside})
    np.testing.assert_allclose(read(path, COLUMNS, objects=OBJECTS), _expected(), rtol=1e-9, atol=1e-9)
    names = ["lep.pt[0]", "jets.mass[0]", "miss.phi"]
    flat = Source([str(path)], None, names).read(0, 50)
    first = [[event[0]["pt"] if event else np.nan for event in MUONS[:50]], MET[1][:50]]
    np.testing.assert_allclose(flat[:, [0, 2]], np.transpose(first), rtol=1e-9)
    events = {**records, "miss": ak.zip(PLANE), **beside}
    located = Config.load({"objects": OBJECTS}, need=()).located
    np.testing.assert_allclose(
        InMemory(events).table(COLUMNS, located, {}), _expected(), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize(
    ("kind", "quantities"), [("vector<TLorentzVector>", 8), ("TVector2", 4), ("TVector3", 6), ("TVectorT", 0)]
)
def test_a_branch_of_whole_records(kind: str, quantities: int) -> None:
    found = vectors([("lep.", kind), ("other", "")])
    assert sum(len(each.quantities) for each in found.values()) == quantities
    for each in found.values():
        muons = each.get("pt", {"lep.": _cartesian()}.__getitem__)
        np.testing.assert_allclose(ak.flatten(muons), ak.flatten(_polar(MUONS)["pt"]), rtol=1e-12)


@pytest.mark.parametrize(
    "paths",
    [
        ["Muons/Muons.fCoordinates.fPt", "Muons/Muons.fCoordinates.fEta", "Muons/Muons.fCoordinates.fPhi",
         "Muons/Muons.fCoordinates.fE"],
        ["Muons/fP/fP.fX", "Muons/fP/fP.fY", "Muons/fP/fP.fZ", "Muons/fE"],
        ["Muons./Muons.fP/Muons.fP.fX", "Muons./Muons.fP/Muons.fP.fY", "Muons./Muons.fP/Muons.fP.fZ",
         "Muons./Muons.fE"],
        ["Muons/fCoordinates/fCoordinates.fX", "Muons/fCoordinates/fCoordinates.fY",
         "Muons/fCoordinates/fCoordinates.fZ", "Muons/fCoordinates/fCoordinates.fT"],
    ],
)  # fmt: skip
def test_branches_of_split_vectors_have_one_name(paths: list[str]) -> None:
    found = vectors([("Muons", "vector<TLorentzVector>"), *((path, "") for path in paths)])
    assert [*found] == ["Muons"]
    assert set(found["Muons"].split.values()) == set(paths)
    assert len(found["Muons"].quantities) == 8


def test_every_quantity_follows_from_either_members() -> None:
    polar = {name: ak.flatten(values) for name, values in _polar(ALL_JETS).items()}
    jets = vectors([(f"j.{name}", "") for name in ("fPt", "fEta", "fPhi", "fM")])["j"]
    of = {"j.fPt": polar["pt"], "j.fEta": polar["eta"], "j.fPhi": polar["phi"], "j.fM": -0.1 * polar["mass"]}
    cartesian = {f"j.{name}": jets.get(quantity, of.__getitem__)
                 for name, quantity in (("fX", "px"), ("fY", "py"), ("fZ", "pz"), ("fE", "energy"))}  # fmt: skip
    again = vectors([(name, "") for name in cartesian])["j"]
    for quantity in jets.quantities:
        one, other = jets.get(quantity, of.__getitem__), again.get(quantity, cartesian.__getitem__)
        np.testing.assert_allclose(one, other, rtol=1e-8)
    assert made_of(["px", "energy"]) == ()


def test_what_a_vector_makes_is_said_where_it_is_named_itself(tmp_path: Path) -> None:
    path = tmp_path / "v.root"
    with uproot.recreate(path) as file:
        file.mkrntuple("t", {"lep": _cartesian()})
    with pytest.raises(UsageError, match=r"'lep' is of type .*name what it makes, as lep\.pt"):
        Source([str(path)], None, ["lep"])
