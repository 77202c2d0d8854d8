"""What is said of objects, and could change nothing, or something else than is meant, is questioned."""

from __future__ import annotations

import json
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

import deepmem
from deepmem import UsageError
from deepmem.columns import described
from deepmem.config import Config
from deepmem.data.loaders import Paired
from deepmem.data.memory import InMemory
from deepmem.data.objects import Objects
from deepmem.data.root import Source
from deepmem.data.trees import TreeFile
from deepmem.errors import DeepMEMWarning
from deepmem.jobs.doubts import repeated_files
from deepmem.jobs.events import (
    check_variations,
    first_values,
    refuse_halves,
    tell_objects,
    tell_other_objects,
)
from deepmem.reporter import Reporter

JETS = {
    "Jet_pt": [[50.0, 40.0, 30.0]],
    "Jet_eta": [[0.1, 0.2, 0.3]],
    "Jet_phi": [[0.1, 1.2, 2.3]],
    "Jet_btagPNetB": [[0.1, 0.2, 0.9]],
    "Jet_btagDeepFlavB": [[0.8, 0.26, 0.1]],
    "Jet_flag": [[0, 1, 0]],
    "Tau_pt": [[45.0]],
    "PuppiMET_pt": [20.0],
    "PuppiMET_phi": [0.5],
}


def _read(branches: dict[str, Any], columns: list[str], **said: Any) -> np.ndarray:
    located = Config.load(said, need=()).located
    events = {name: ak.Array(values) for name, values in branches.items()}
    return InMemory(events).table(columns, located, {})


def _jets(jets: Any, schema: str = "nanoaod") -> list[float]:
    return _read(JETS, ["j1_PT", "j2_PT", "j3_PT"], schema=schema, objects={"jets": jets})[0].tolist()


def test_another_tagger_does_not_take_the_working_point_of_the_schema() -> None:
    assert _jets({"above": 0.15}) == [40.0, 30.0, 50.0]  # of btagPNetB
    assert _jets({"tag": "btagDeepFlavB", "above": 0.3}) == [50.0, 40.0, 30.0]
    assert _jets({"tag": "flag"}) == [40.0, 50.0, 30.0]
    assert _jets({"tag": "btagDeepFlavB < 0.2"}) == [30.0, 50.0, 40.0]
    with pytest.raises(UsageError, match=r"Jet_btagDeepFlavB, is a score such as 0\.8: say what it is above"):
        _jets({"tag": "btagDeepFlavB"})


@pytest.mark.parametrize(
    ("objects", "says"),
    [
        ({"jets": {"prefix": "Jet_", "above": 0.3}}, "'above' of jets needs a 'tag'"),
        ({"jets": [{"prefix": "Jet_", "tag": "flag"}, {"prefix": "Tau_"}]}, "need a 'tag', or none"),
        ({"jets": {"cuts": {"pt": [50, 20]}}}, r"no pt is in \[50, 20\]"),
        ({"jets": {"cuts": {"eta": -2.4}}}, r"no eta is in \[0, -2.4\]"),
        ({"jets": {"overlap": {"leptons": 0}}}, "greater than 0"),
        ({"met": {"cuts": {"pt": 30}}}, "'cuts' is for collections, and 'met' is one of an event"),
    ],
)
def test_what_would_change_nothing_is_refused(objects: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        _read(JETS, ["j1_PT", "MET"], schema="nanoaod", objects=objects)


def test_a_missing_tag_is_none() -> None:
    branches = JETS | {"Jet_flag": [[None, 1, 0]]}
    table = _read(branches, ["j1_PT", "j2_B"], schema="nanoaod", objects={"jets": {"tag": "flag"}})
    assert table.tolist() == [[40.0, 0.0]]


def test_a_code_without_a_sign_takes_that_of_the_charge() -> None:
    branches = {
        "lep_pt": [[50.0, 40.0]], "lep_eta": [[0.1, 0.2]], "lep_phi": [[0.1, 0.2]],
        "lep_type": [[13, 11]], "lep_charge": [[1, -1]],
    }  # fmt: skip
    columns = ["lep1_Charge", "lep1_PDG", "lep2_Charge", "lep2_PDG"]
    objects = {"leptons": {"prefix": "lep_", "pdg": "type"}}
    assert _read(branches, columns, objects=objects).tolist() == [[1, -13, -1, 11]]
    del branches["lep_charge"]  # then the code is all there is
    assert _read(branches, columns, objects=objects).tolist() == [[-1, 13, -1, 11]]


def _pairs() -> ak.Array:
    muons = {"pt": [[50.0, 40.0], [45.0, 44.0]], "eta": [[0.1, 0.9]] * 2, "phi": [[0.0, 3.0]] * 2}
    muons = {**muons, "charge": [[1, -1]] * 2}
    electrons: dict[str, Any] = {name: [[], []] for name in muons}
    return ak.zip({"Muon": ak.zip(muons), "Electron": ak.zip(electrons)}, depth_limit=1)


def test_events_and_lists_that_are_masked_have_no_objects() -> None:
    events = _pairs()
    whole = deepmem.compute(events, "drell_yan", schema="nanoaod")["drell_yan"]
    lists = ak.zip({"Muon": ak.mask(events.Muon, [False, True]), "Electron": events.Electron}, depth_limit=1)
    for masked in (ak.mask(events, [False, True]), lists):
        found = deepmem.compute(masked, "drell_yan", schema="nanoaod")["drell_yan"]
        assert found.status.tolist() == [3, 0]
        assert found.value[1] == whole.value[1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"Muon": ak.Array([[{"pt": 50.0, "eta": 0.1, "phi": 0.0, "charge": 1}]])},
            "1 entries of 'Muon' and 2 of",
        ),
        ({"Muon": _pairs().Muon[:, np.newaxis]}, "lists of lists"),
        ({"Muon": ak.with_field(_pairs().Muon, [["a", "b"]] * 2, "pt")}, "string: expected numbers"),
    ],
)
def test_fields_of_other_shapes_are_named(change: dict[str, Any], says: str) -> None:
    events = {"Electron": _pairs().Electron, **change}
    with pytest.raises(UsageError, match=says):
        deepmem.compute(events, "drell_yan", schema="nanoaod")


def test_a_variation_that_replaces_nothing_that_is_read_is_told() -> None:
    events = ak.with_field(_pairs(), ak.Array([{"pt": 20.0, "phi": 0.5}] * 2), "MET")

    def compute(variation: dict[str, str]) -> deepmem.Weights:
        return deepmem.compute(events, "drell_yan", schema="nanoaod", variations={"up": variation})

    with pytest.warns(DeepMEMWarning, match="'up' replaces MET_pt, and no column"):
        compute({"MET_pt": "MET_pt * 2"})
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeepMEMWarning)
        compute({"MET_pt": "MET_pt * 2", "Muon_pt": "Muon_pt * 1.01"})


def test_a_variation_knows_branches_by_their_short_names(tmp_path: Path) -> None:
    """`Jet.PT` is `Jet/Jet.PT` where ROOT has split it."""
    with uproot.recreate(tmp_path / "events.root") as file:
        file["tree"] = {"pt": np.array([1.0, 2.0])}
    opened = uproot.open(tmp_path / "events.root")["tree"]

    class Split:
        """A tree that calls its branch by its path, and finds it by its name, as uproot does."""

        num_entries, name, file = opened.num_entries, opened.name, opened.file

        def keys(self, recursive: bool) -> list[str]:
            return ["Jet/Jet.PT"]

        def iteritems(self, recursive: bool) -> list[tuple[str, Any]]:
            return [("Jet/Jet.PT", opened["pt"])]

        def __getitem__(self, name: str) -> Any:
            assert name in ("Jet.PT", "Jet/Jet.PT")
            return opened["pt"]

    text = "Jet.PT * 2", {"Jet.PT": "Jet/Jet.PT"}
    for name in ("Jet.PT", "Jet/Jet.PT"):
        varied = TreeFile("events.root", Split(), (name,), instead={"Jet/Jet.PT": text})
        assert varied.is_varied
        assert varied.read(0, 2)[:, 0].tolist() == [2.0, 4.0]


def test_several_trees_of_another_format_are_told_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "nano.root"
    with uproot.recreate(path) as file:
        file["Events"] = {"event": np.arange(2)}
        file["Runs"] = {"run": np.arange(1)}
    located = Config.load({"schema": "physlite"}, need=()).located
    with pytest.raises(UsageError, match=r"several trees.*looks like NanoAOD: --schema nanoaod"):
        Source([str(path)], None, ["lep1_PT"], (), located)


def test_photons_and_taus_that_are_said_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "photons.root"
    with uproot.recreate(path) as file:
        photons = {
            "pt": ak.Array([[20.0, 30.0]]),
            "eta": ak.Array([[0.1, 0.2]]),
            "phi": ak.Array([[1.0, 2.0]]),
        }
        file["tree"] = {"Photon": ak.zip(photons)}
    objects = {"photons": {"prefix": "Photon"}, "taus": {"prefix": "Tau_"}}
    shown = first_values(Config.load({"input_paths": [str(path)], "objects": objects}, need=()))
    assert shown["photons"]["first"]["pho1_PT"] == [30.0]
    assert "no branch begins with 'Tau_'" in shown["taus"]


class _Warned(Reporter):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def warning(self, text: str) -> None:
        self.texts.append(text)


def test_a_model_is_told_of_objects_in_another_order_than_it_learned_from(tmp_path: Path) -> None:
    path = tmp_path / "jets.root"
    with uproot.recreate(path) as file:
        file["Events"] = {name: ak.Array(JETS[name]) for name in JETS if name.startswith("Jet_")}

    def located(**jets: Any) -> Objects | None:
        return Config.load({"schema": "nanoaod", "objects": {"jets": jets} if jets else {}}, need=()).located

    def source(**jets: Any) -> Source:
        return Source([str(path)], None, ["j1_PT"], (), located(**jets))

    def warned(**jets: Any) -> list[str]:
        reporter, model = _Warned(), source(cuts={"pt": [20, None]}).about_objects
        tell_other_objects(source(**jets), json.loads(json.dumps(model)), reporter)
        return reporter.texts

    assert warned(cuts={"pt": [20, None]}, above=0.5) == []
    for other in (
        {},
        {"prefix": "Jet_", "cuts": {"pt": [20, None]}},
        {"cuts": {"pt": [20, None]}, "sort": "eta"},
    ):
        (text,) = warned(**other)
        assert text.startswith("the model learned from jets by falling pt, tagged ones first, cuts on pt [20")
    assert tell_other_objects(source(), {}, _Warned()) is None
    with uproot.recreate(tmp_path / "untagged.root") as file:
        file["Events"] = {name: ak.Array(JETS[name]) for name in JETS if name in ("Jet_pt", "MET_pt")}
    several, reporter = Source([str(tmp_path / "*.root")], None, ["j1_PT"], (), located()), _Warned()
    tell_objects(several, reporter)
    assert reporter.texts == [
        "jets are chosen in other ways in other files: by falling pt; by falling pt, tagged ones first"
    ]
    twice = Source([str(path)] * 2, None, ["j1_PT"], (), located())
    (text,) = repeated_files(Paired(twice, Source([str(path)] * 2, None, ["Jet_pt[0]"]), 1))
    assert "the same 1 events twice" in text


def test_a_variation_of_pt_keeps_the_mass_that_follows_from_an_energy(tmp_path: Path) -> None:
    branches = {"jet_pt": [[50.0], [30.0]], "jet_eta": [[0.0], [1.0]], "jet_phi": [[0.1], [0.2]]}
    energy = [[np.hypot(50, 8)], [np.hypot(30 * np.cosh(1), 4)]]
    events = {name: ak.Array(values) for name, values in (branches | {"jet_E": energy}).items()}
    with uproot.recreate(tmp_path / "jets.root") as file:
        file.mktree("tree", {name: values.type.content for name, values in events.items()})
        file["tree"].extend(events)
    located = Config.load({"objects": {"jets": {"prefix": "jet_", "energy": "E"}}}, need=()).located
    columns = ["j1_PT", "j1_M"]

    def both(variation: dict[str, str]) -> list[np.ndarray]:
        file = Source([str(tmp_path / "jets.root")], None, columns, (), located, variation)
        return [InMemory(events).table(columns, located, variation), file.read(0, 2)]

    for scale, energies, mass in ((0.95, {}, [8, 4]), (1.1, {"jet_E": "jet_E * 1.1"}, [8.8, 4.4])):
        for found in both({"jet_pt": f"jet_pt * {scale}"} | energies):
            np.testing.assert_allclose(found.T, [[50 * scale, 30 * scale], mass], rtol=1e-6)
    with pytest.raises(UsageError, match="replaces jet_E, the energy of jets, and not their pT"):
        both({"jet_E": "jet_E * 1.1"})
    said = {
        "input_paths": [str(tmp_path / "jets.root")],
        "objects": {"jets": {"prefix": "jet_", "energy": "E"}},
    }
    for branch, replaced, says in (
        ("jet_pt", "jet_pt * 2", ""),
        ("jet_ptt", "jet_pt", "did you mean 'jet_pt'"),
        ("jet_pt", "jet_pt_up * 2", "no branch"),
        ("jet_E", "jet_E * 2", "and not their pT"),
    ):
        config = Config.load(said | {"variations": {"up": {branch: replaced}}}, need=())
        with pytest.raises(UsageError, match=says) if says else nullcontext():
            check_variations(config)
    names = ["jet_pt", "jet_eta", "jet_phi", "jet_E"]
    for variation, refused in (
        ({"jet_pt": "jet_pt * 2"}, True),
        ({n: f"{n} * 2" for n in names[::3]}, False),
    ):
        varied = {"up": Source([str(tmp_path / "jets.root")], None, names, (), None, variation)}
        with (
            pytest.raises(UsageError, match="'up' replaces one of jet_pt and jet_eta and jet_E")
            if refused
            else (nullcontext())
        ):
            refuse_halves(varied, described(names))
