"""`deepmem responses`: from simulated events in files to the key `response` of a configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from commands import run

from deepmem.errors import UsageError
from deepmem.jobs.responses import responses
from deepmem.physics.detector.entries import response
from deepmem.physics.precision import double_precision

EVENTS = 1500
WIDTH = {"lep": 0.03, "j": 0.12}


@pytest.fixture(scope="module")
def objects() -> dict[str, np.ndarray]:
    """Two jets, the first of a b quark, a lepton and a neutrino; true and measured."""
    rng = np.random.default_rng(5)
    found: dict[str, np.ndarray] = {}
    for name in ("lep1", "j1", "j2"):
        pt = 30 + rng.exponential(40, EVENTS)
        found[f"{name}_Eta"], found[f"{name}_Phi"] = (
            rng.uniform(-2.4, 2.4, EVENTS),
            rng.uniform(-3.1, 3.1, EVENTS),
        )
        found[f"true_{name}_PT"] = pt
        found[f"{name}_PT"] = pt * (1 + WIDTH[name.rstrip("12")] * rng.normal(size=EVENTS))
        for quantity in ("Eta", "Phi"):
            found[f"true_{name}_{quantity}"] = found[f"{name}_{quantity}"]
    found["j1_B"], found["j2_B"] = np.ones(EVENTS), np.zeros(EVENTS)
    found["true_nu1_PT"], found["true_nu1_Phi"] = (
        20 + rng.exponential(30, EVENTS),
        rng.uniform(-3.1, 3.1, EVENTS),
    )
    x, y = (
        found["true_nu1_PT"] * f(found["true_nu1_Phi"]) + rng.normal(0, 12, EVENTS) for f in (np.cos, np.sin)
    )
    found["MET"], found["MET_Phi"] = np.hypot(x, y), np.arctan2(y, x)
    return found


def widths(found: dict[str, Any]) -> dict[str, float]:
    """The relative width of each class at 80 GeV."""
    classes = [kind for kind in found["response"] if kind not in ("met", "recoil")]
    return {kind: relative_widths(found, kind)[0] for kind in classes}


def relative_widths(found: dict[str, Any], kind: str) -> list[float]:
    """Of each region of |η|."""
    with double_precision():
        return [float(each.scale(80.0)) / 80 for each in response(found["response"][kind]).responses]


def written(path: Path, tree: dict[str, Any]) -> Path:
    with uproot.recreate(path) as file:
        file.mktree(
            "events",
            {
                name: values.dtype if isinstance(values, np.ndarray) else values.type
                for name, values in tree.items()
            },
        )
        file["events"].extend(tree)
    return path


def test_true_objects_in_columns(tmp_path: Path, objects: dict[str, np.ndarray]) -> None:
    path = written(tmp_path / "e.root", objects)
    found = responses([str(path)], "true_", tmp_path / "out", shape="gaussian")
    assert widths(found) == pytest.approx({"lepton": 0.03, "bjet": 0.12, "jet": 0.12}, rel=0.08)
    assert found["response"]["met"]["c"] == pytest.approx(12, rel=0.08)
    # what the jets are off by is part of the recoil here, for missing pT does not know of it
    assert found["response"]["recoil"]["c"] ** 2 + found["response"]["recoil"]["b"] ** 2 * 200 > 13**2
    assert json.loads((tmp_path / "out" / "responses.json").read_text())["response"] == found["response"]
    assert all(Path(each["figure"]).stat().st_size > 1000 for each in found["fits"] if each["figure"])


def test_regions_and_energies_in_columns(tmp_path: Path, objects: dict[str, np.ndarray]) -> None:
    """Jets beyond |η| = 1.2 are measured worse; leptons have no truth of that name."""
    tree = {name: each for name, each in objects.items() if not name.startswith("true_")}
    for name in ("j1", "j2"):
        gen = objects[f"true_{name}_PT"] * np.cosh(objects[f"{name}_Eta"])
        pull = objects[f"{name}_PT"] / objects[f"true_{name}_PT"] - 1
        wide = np.where(np.abs(objects[f"{name}_Eta"]) > 1.2, 2.0, 1.0)
        tree |= {f"{name}_PT": objects[f"true_{name}_PT"] * (1 + wide * pull), f"{name}_TrueE": gen}
    tree |= {name: each[:EVENTS] for name, each in tree.items()}
    path = written(tmp_path / "e.root", tree)
    found = responses([str(path)], "TrueE", tmp_path / "out", eta=[1.2, 2.4], shape="gaussian")
    assert [each["eta_max"] for each in found["response"]["jet"]] == [1.2, 2.4]
    assert relative_widths(found, "jet") == pytest.approx([0.12, 0.24], rel=0.12)
    assert set(found["response"]) == {"bjet", "jet"}


def nano(path: Path, objects: dict[str, np.ndarray]) -> Path:
    """The same events as NanoAOD: the true particles in another order, among others that are none of these."""
    order = np.random.default_rng(3).permutation(3)

    def listed(names: list[str], quantity: str, prefix: str = "") -> ak.Array:
        return ak.Array(
            np.stack([objects[f"{prefix}{name}_{quantity}"] for name in names], axis=1)
            .astype(np.float32)
            .tolist()
        )

    tree: dict[str, Any] = {"MET_pt": objects["MET"], "MET_phi": objects["MET_Phi"]}
    for branch, quantity in (("pt", "PT"), ("eta", "Eta"), ("phi", "Phi")):
        tree[f"Jet_{branch}"] = listed(["j1", "j2"], quantity)
        tree[f"Muon_{branch}"] = listed(["lep1"], quantity)
        true = np.stack([objects[f"true_{name}_{quantity}"] for name in ("lep1", "j1", "j2")], axis=1)[
            :, order
        ]
        # a copy of the jets' quarks with half their pT that is not of the hard process, and a neutrino
        copy = objects[f"true_j1_{quantity}"] * (0.5 if quantity == "PT" else 1.0)
        neutrino = (
            objects["true_nu1_PT"]
            if quantity == "PT"
            else objects["true_nu1_Phi"]
            if quantity == "Phi"
            else 0 * copy
        )
        tree[f"GenPart_{branch}"] = ak.Array(
            np.column_stack([true, copy, neutrino]).astype(np.float32).tolist()
        )
    codes, flags, status = (
        np.array([-13, 5, 2])[order],
        np.array([128, 128, 128])[order],
        np.array([1, 23, 23])[order],
    )
    for branch, values in (
        ("pdgId", [*codes, 5, 14]),
        ("statusFlags", [*flags, 0, 0]),
        ("status", [*status, 71, 1]),
    ):
        tree[f"GenPart_{branch}"] = ak.Array(np.tile(np.array(values, dtype=np.int32), (EVENTS, 1)).tolist())
        tree[f"GenPart_{branch}"] = ak.values_astype(tree[f"GenPart_{branch}"], np.int32)
    tree["Muon_charge"] = ak.values_astype(ak.Array(np.ones((EVENTS, 1), dtype=np.int32).tolist()), np.int32)
    tree["Jet_mass"] = ak.Array(np.zeros((EVENTS, 2), dtype=np.float32).tolist())
    tree["Jet_btagDeepFlavB"] = ak.Array(
        np.tile(np.array([0.9, 0.1], dtype=np.float32), (EVENTS, 1)).tolist()
    )
    for name in ("Electron_pt", "Electron_eta", "Electron_phi"):
        tree[name] = ak.unflatten(np.array([], dtype=np.float32), np.zeros(EVENTS, dtype=int))
    tree["Electron_charge"] = ak.unflatten(np.array([], dtype=np.int32), np.zeros(EVENTS, dtype=int))
    with uproot.recreate(path) as file:
        file["Events"] = tree
    return path


def test_true_particles_of_nanoaod(tmp_path: Path, objects: dict[str, np.ndarray]) -> None:
    path = nano(tmp_path / "n.root", objects)
    found = responses([str(path)], "GenPart_", tmp_path / "out", schema="nanoaod", shape="gaussian")
    assert widths(found) == pytest.approx({"lepton": 0.03, "bjet": 0.12, "jet": 0.12}, rel=0.08)
    assert found["response"]["met"]["c"] == pytest.approx(12, rel=0.08)


def test_the_command_prints_a_configuration(tmp_path: Path, objects: dict[str, np.ndarray]) -> None:
    path = written(tmp_path / "e.root", objects)
    call = [
        "responses",
        str(path),
        "--truth",
        "true_",
        "--shape",
        "gaussian",
        "--output",
        str(tmp_path / "out"),
    ]
    result = run(*call)
    assert result.status == 0, result.said
    printed = json.loads(result.out)
    assert list(printed) == ["response"]
    assert printed["response"].keys() == {"lepton", "bjet", "jet", "met", "recoil"}
    assert "lepton: gaussian, 1,500 objects, distribution within" in result.said


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"truth": "gen_"}, r"has no truth 'gen_' of an object: give the prefix of columns \(true_"),
        ({"shape": "gausian"}, "no response 'gausian' \\(did you mean 'gaussian'"),
        ({"eta": [2.5, 1.5]}, r"regions of \|η\| end above 0 and in rising order, got \[2.5, 1.5\]"),
    ],
)
def test_wrong_questions(
    tmp_path: Path, objects: dict[str, np.ndarray], asked: dict[str, Any], says: str
) -> None:
    path = written(tmp_path / "e.root", objects)
    with pytest.raises(UsageError, match=says):
        responses([str(path)], **{"truth": "true_", "output": tmp_path / "out"} | asked)


def test_too_few_and_perfectly_measured_objects(tmp_path: Path, objects: dict[str, np.ndarray]) -> None:
    few = {name: each[:60] for name, each in objects.items()}
    with pytest.raises(UsageError, match="nothing could be fitted: lepton: 60 objects, 100 are needed"):
        responses([str(written(tmp_path / "few.root", few))], "true_", tmp_path / "out")
    exact = objects | {"lep1_PT": objects["true_lep1_PT"]}
    found = responses(
        [str(written(tmp_path / "exact.root", exact))], "true_", tmp_path / "o", shape="gaussian"
    )
    assert "lepton" not in found["response"]
    assert "lepton: measured perfectly, give 0" in found["left_out"]
