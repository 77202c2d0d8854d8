"""Events in Python as collections: awkward records, records with a behaviour, NanoEvents in a coffea processor."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from test_objects import ALL_JETS, ELECTRONS, EVENTS, JETS, LEPTONS, MET, MUONS, expected

import deepmem
from deepmem import UsageError
from deepmem.config import Config
from deepmem.data.memory import InMemory

COLUMNS = [*LEPTONS, *JETS, "MET", "MET_Phi"]
SCHEMA = Config.load({"schema": "nanoaod"}, need=()).located


def _records(objects: list[list[dict[str, float]]], **names: str) -> ak.Array:
    kinds = {"charge": np.int32}
    return ak.zip(
        {
            new: ak.values_astype(ak.Array([[each[old] for each in event] for event in objects]), kind)
            for old, new in names.items()
            for kind in [kinds.get(old, np.float64)]
        }
    )


_KINEMATICS = {name: name for name in ("pt", "eta", "phi", "mass")}
COLLECTIONS = {
    "Electron": _records(ELECTRONS, **_KINEMATICS, charge="charge"),
    "Muon": _records(MUONS, **_KINEMATICS, charge="charge"),
    "Jet": _records(ALL_JETS, **_KINEMATICS, tag="btagDeepFlavB"),
    "MET": ak.zip({"pt": MET[0], "phi": MET[1]}),
}


class _Momentum(ak.Array):
    """A record as `vector` makes it: its fields are (ρ, φ, η, τ), and it says pt, eta, phi, mass."""

    pt = property(lambda self: self["rho"])
    mass = property(lambda self: self["tau"])


@pytest.fixture
def behaviour() -> Iterator[None]:
    ak.behavior["*", "DeepMEMTestMomentum"] = _Momentum
    yield
    del ak.behavior["*", "DeepMEMTestMomentum"]


def _with_behaviour(name: str) -> ak.Array:
    fields = {"pt": "rho", "mass": "tau"}
    values = COLLECTIONS[name]
    return ak.zip(
        {fields.get(each, each): values[each] for each in values.fields}, with_name="DeepMEMTestMomentum"
    )


@pytest.mark.parametrize("kind", ["dict", "records", "behaviour"])
def test_collections_make_the_columns(kind: str, behaviour: None) -> None:
    events: Any = COLLECTIONS
    if kind == "records":
        events = ak.zip(events, depth_limit=1)
    elif kind == "behaviour":
        events = {name: _with_behaviour(name) if name != "MET" else events[name] for name in events}
    table = InMemory(events).table(COLUMNS, SCHEMA, {})
    np.testing.assert_allclose(table, expected(COLUMNS, 0.2783), rtol=1e-6)


def test_only_what_is_asked_for_is_looked_at() -> None:
    class Telling(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            looked.add(name)
            return super().__getitem__(name)

    looked: set[str] = set()
    events = InMemory(Telling(COLLECTIONS))
    assert "Jet_btagDeepFlavB" in events.branches
    looked.clear()
    events.table(["lep1_PT", "lep1_Charge"], SCHEMA, {})
    assert looked == {"Electron", "Muon"}


def test_weights_of_collections_and_of_their_variations() -> None:
    found = deepmem.compute(
        ak.zip(COLLECTIONS, depth_limit=1),
        schema="nanoaod",
        objects={"leptons": {"cuts": {"pt": 10}}},
        variations={"up": {"Muon_pt": "Muon_pt * 1.01"}},
    )
    columns = [f"lep{i}_{each}" for i in (1, 2) for each in ("PT", "Eta", "Phi", "Charge", "PDG")]
    table = expected(columns, 0.0, {"pt": 10.0})
    flat = deepmem.compute(dict(zip(columns, table.T, strict=True)))["drell_yan"]
    np.testing.assert_allclose(found["drell_yan"].value, flat.value, rtol=1e-9)
    assert [*found] == ["drell_yan", "drell_yan__up"]
    good = found["drell_yan"].status == 0
    assert 5 < good.sum() < EVENTS / 2
    assert found.provenance["schema"] == "nanoaod"


@pytest.mark.parametrize(
    ("events", "settings", "says"),
    [
        (np.zeros((3, 8)), {"schema": "nanoaod"}, "have none"),
        ({"Muon": COLLECTIONS["Muon"]}, {"schema": "nanoaod"}, "leptons .Electron_. have no"),
        (COLLECTIONS, {}, "no column 'lep1_PT'"),
        (COLLECTIONS, {"schema": "nano"}, "schema"),
    ],
)
def test_what_is_not_there_is_named(events: Any, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        deepmem.compute(events, **settings)


def test_parts_that_are_computed_later_are_to_be_one_array() -> None:
    lazy = type("Array", (), {"__module__": "dask_awkward.lib.core"})()
    with pytest.raises(UsageError, match=r"'Muon' is computed later: give one array of records"):
        deepmem.compute({"Muon": lazy}, schema="nanoaod")


def test_only_needed_fields_are_touched_before_there_are_numbers() -> None:
    """So that dask-awkward reads no others; what is not there is said then, too."""
    records = ak.to_layout(ak.zip({**COLLECTIONS, "extra": np.arange(EVENTS)}, depth_limit=1))
    if not hasattr(records, "form_with_key_path"):
        pytest.skip("this awkward names no keys of a form")
    layout, report = ak.typetracer.typetracer_with_report(records.form_with_key_path())
    InMemory(ak.Array(layout)).touch(["lep1_PT", "lep1_Charge"], SCHEMA, {"Muon_pt": "Muon_pt + Muon_mass"})
    paths = [ast.literal_eval(key) for key in report.data_touched]
    touched = {(path[0], path[-1]) for path in paths if len(path) > 1}
    owners = {"Electron": ("pt", "charge"), "Muon": ("pt", "charge", "mass")}
    assert touched == {(name, field) for name in owners for field in owners[name]}
    with pytest.raises(UsageError, match="taus"):
        InMemory(ak.Array(layout)).touch(["tau1_PT"], SCHEMA)


def test_weights_in_a_coffea_processor(tmp_path: Path) -> None:
    """NanoEvents, read when they are used, chunk by chunk: the weights of the file."""
    pytest.importorskip(
        "coffea", reason="coffea brings sixty packages that nothing else needs; the nightly run installs it"
    )
    from coffea import nanoevents, processor

    path = tmp_path / "nano.root"
    with uproot.recreate(path) as file:
        met = {f"MET_{name}": np.asarray(COLLECTIONS["MET"][name]) for name in ("pt", "phi")}
        met |= {name: np.arange(EVENTS) for name in ("run", "luminosityBlock", "event")}
        file["Events"] = {name: COLLECTIONS[name] for name in ("Electron", "Muon", "Jet")} | met

    class Weights(processor.ProcessorABC):
        def process(self, events: Any) -> Any:
            weight = deepmem.compute(events, schema="nanoaod", objects={"leptons": {"cuts": {"pt": 10}}})
            return {"weights": list(weight["drell_yan"].value)}

        def postprocess(self, accumulator: Any) -> Any:
            return accumulator

    run = processor.Runner(
        processor.IterativeExecutor(status=False), schema=nanoevents.NanoAODSchema, chunksize=EVENTS
    )
    out = run({"data": {"treename": "Events", "files": [str(path)]}}, processor_instance=Weights())
    expected_weights = deepmem.compute(
        COLLECTIONS, schema="nanoaod", objects={"leptons": {"cuts": {"pt": 10}}}
    )
    np.testing.assert_allclose(out["weights"], expected_weights["drell_yan"].value, rtol=1e-6)
