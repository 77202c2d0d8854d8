"""Events as collections: each format's objects become the columns that exact weights read."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import uproot
from commands import run
from conftest import COLUMNS, REFERENCE, write_tree
from test_readme import commands

from deepmem import UsageError
from deepmem.config import Config
from deepmem.data.expressions import Expression
from deepmem.data.objects import Names, Objects
from deepmem.data.root import Source
from deepmem.data.trees import expand
from deepmem.data.weights import read_provenance, read_weights
from deepmem.inputs import Reason
from deepmem.jobs.visible import select
from deepmem.surrogate.features import FeatureMap
from deepmem.surrogate.model import Surrogate

CASES = REFERENCE / "cases"
LEPTONS = [f"lep{i}_{name}" for i in (1, 2) for name in ("PT", "Eta", "Phi", "Charge", "PDG")]
JETS = [f"j{i}_{name}" for i in (1, 2) for name in ("PT", "Eta", "Phi", "M", "B")]
EVENTS = 200


def _objects(number: int, seed: int, charged: bool) -> list[list[dict[str, float]]]:
    """Of each event some objects, in no order."""
    rng = np.random.default_rng(seed)
    return [
        [
            {
                "pt": float(np.float32(rng.exponential(30) + 5)),
                "eta": float(np.float32(rng.normal(0, 1.3))),
                "phi": float(np.float32(rng.uniform(-3.1, 3.1))),
                "mass": float(np.float32(rng.uniform(3, 12))),
                "charge": int(rng.choice([-1, 1])) if charged else 0,
                "tag": float(np.float32(rng.uniform(0, 1))),
            }
            for _ in range(rng.poisson(number))
        ]
        for _ in range(EVENTS)
    ]


ELECTRONS, MUONS, ALL_JETS = _objects(1, 1, True), _objects(1, 2, True), _objects(4, 3, False)
MET = np.random.default_rng(4).exponential(40, EVENTS), np.random.default_rng(5).uniform(-3, 3, EVENTS)


def _distance(one: dict[str, float], other: dict[str, float]) -> float:
    turn = (one["phi"] - other["phi"] + np.pi) % (2 * np.pi) - np.pi
    return float(np.hypot(one["eta"] - other["eta"], turn))


def expected(
    columns: list[str],
    above: float,
    lepton: dict[str, float] | None = None,
    jet: dict[str, float] | None = None,
    radius: float = 0.0,
) -> np.ndarray:
    """The columns, counted by hand: event by event, object by object."""

    def passing(each: dict[str, float], cuts: dict[str, float] | None) -> bool:
        return all(abs(each[k]) <= v if k == "eta" else each[k] >= v for k, v in (cuts or {}).items())

    table = np.full((EVENTS, len(columns)), np.nan)
    for i in range(EVENTS):
        leptons = [e | {"pdg": -11 * e["charge"]} for e in ELECTRONS[i]]
        leptons += [m | {"pdg": -13 * m["charge"]} for m in MUONS[i]]
        leptons = sorted((e for e in leptons if passing(e, lepton)), key=lambda e: -e["pt"])
        jets = [j for j in ALL_JETS[i] if passing(j, jet) and all(_distance(j, e) >= radius for e in leptons)]
        jets.sort(key=lambda j: (j["tag"] <= above, -j["pt"]))
        names = {"PT": "pt", "Eta": "eta", "Phi": "phi", "M": "mass", "Charge": "charge", "PDG": "pdg"}
        for k, column in enumerate(columns):
            if column.startswith("MET"):
                table[i, k] = MET[column == "MET_Phi"][i]
                continue
            owner, quantity = column.split("_")
            found = (leptons if owner.startswith("lep") else jets)[int(owner[-1]) - 1 : int(owner[-1])]
            for each in found:
                table[i, k] = each["tag"] > above if quantity == "B" else each[names[quantity]]
    return table


def _jagged(objects: list[list[dict[str, float]]], name: str, scale: float = 1.0) -> ak.Array:
    values = ak.Array([[each[name] for each in event] for event in objects])
    return (
        ak.values_astype(values, np.int32)
        if name == "charge"
        else scale * ak.values_astype(values, np.float64)
    )


def _write(path: Path, trees: dict[str, dict[str, Any]], ntuple: bool = False) -> Path:
    with uproot.recreate(path) as file:
        for name, columns in trees.items():
            if ntuple:
                file.mkrntuple(name, columns)
                continue
            kinds = {
                key: value.type.content if isinstance(value, ak.Array) else np.asarray(value).dtype
                for key, value in columns.items()
            }
            file.mktree(name, kinds)
            file[name].extend(columns)
    return path


def collections(
    electrons: str, muons: str, jets: str, names: dict[str, str], scale: float = 1.0
) -> dict[str, ak.Array]:
    """Branches of three collections; `names`, quantity → what a format calls it."""
    scales = {"pt": scale, "mass": scale}
    found = {}
    for prefix, objects, quantities in (
        (electrons, ELECTRONS, ("pt", "eta", "phi", "charge")),
        (muons, MUONS, ("pt", "eta", "phi", "charge")),
        (jets, ALL_JETS, ("pt", "eta", "phi", "mass", "tag")),
    ):
        for name in quantities:
            if name in names:
                found[prefix + names[name]] = _jagged(objects, name, scales.get(name, 1.0))
    return found


_NANO = {"pt": "pt", "eta": "eta", "phi": "phi", "mass": "mass", "charge": "charge"}
_OTHER_TREES = {"Runs": {"run": np.arange(2)}, "LuminosityBlocks": {"luminosityBlock": np.arange(3)}}


def nanoaod(path: Path, tag: str, met: str, ntuple: bool = False, **more: Any) -> Path:
    columns = collections("Electron_", "Muon_", "Jet_", _NANO | {"tag": tag})
    columns |= {f"{met}_pt": MET[0], f"{met}_phi": MET[1], "event": np.arange(EVENTS)} | more
    return _write(path, {"Events": columns, **_OTHER_TREES}, ntuple)


def delphes(path: Path) -> Path:
    names = {"pt": "PT", "eta": "Eta", "phi": "Phi", "mass": "Mass", "charge": "Charge"}
    columns = collections("Electron.", "Muon.", "Jet.", names)
    columns["Jet.BTag"] = ak.values_astype(_jagged(ALL_JETS, "tag") > 0.5, np.uint32)
    columns |= {"MissingET.MET": ak.Array(MET[0][:, None]), "MissingET.Phi": ak.Array(MET[1][:, None])}
    return _write(path, {"Delphes": {key: ak.from_regular(value) for key, value in columns.items()}})


def physlite(path: Path, dot: str = ".", ntuple: bool = False) -> Path:
    names = {"pt": "pt", "eta": "eta", "phi": "phi", "mass": "m", "charge": "charge"}
    columns = collections(
        *(f"Analysis{kind}AuxDyn{dot}" for kind in ("Electrons", "Muons", "Jets")), names, 1000.0
    )
    x, y = 1000 * MET[0] * np.cos(MET[1]), 1000 * MET[0] * np.sin(MET[1])
    for name, sum_ in (("mpx", x), ("mpy", y)):
        terms = ak.from_regular(ak.Array(np.stack([0.3 * sum_, sum_], axis=1)))
        columns[f"MyMETAuxDyn{dot}{name}"] = terms
    tree = "EventData" if ntuple else "CollectionTree"
    return _write(path, {tree: columns, "MetaData": {"version": np.arange(1)}}, ntuple)


def atlas_open_data(path: Path) -> Path:
    """The branches of the 13 TeV ntuples of ATLAS open data (2020) that weights need, in MeV."""
    leptons = [
        sorted(
            [{**each, "type": code} for code, some in ((11, one), (13, other)) for each in some],
            key=lambda each: -each["pt"],
        )
        for one, other in zip(ELECTRONS, MUONS, strict=True)
    ]
    columns: dict[str, Any] = {}
    for prefix, objects in (("lep_", leptons), ("jet_", ALL_JETS)):
        pt, eta, phi = (_jagged(objects, name) for name in ("pt", "eta", "phi"))
        mass = _jagged(objects, "mass") if prefix == "jet_" else 0.0
        energy = np.hypot(pt * np.cosh(eta), mass)
        columns |= {
            prefix + "pt": 1000 * pt,
            prefix + "eta": eta,
            prefix + "phi": phi,
            prefix + "E": 1000 * energy,
        }
    columns["lep_charge"] = _jagged(leptons, "charge")
    columns["lep_type"] = ak.values_astype(_jagged(leptons, "type"), np.uint32)
    columns |= {"jet_MV2c10": _jagged(ALL_JETS, "tag"), "met_et": 1000 * MET[0], "met_phi": MET[1]}
    return _write(path, {"mini": columns})


def read(path: Path, columns: list[str], **config: Any) -> np.ndarray:
    source = Source([str(path)], None, columns, (), Config.load(config, need=()).located)
    parts = [source.read(*bounds) for bounds in source.boundaries(0, source.num_entries, 77)]
    return np.concatenate(parts)


@pytest.mark.parametrize(
    ("tag", "met", "above", "ntuple"),
    [
        ("btagDeepFlavB", "MET", 0.2783, False),  # version 9
        ("btagPNetB", "PuppiMET", 0.245, False),  # version 12
        ("btagUParTAK4B", "PuppiMET", 0.1272, False),  # version 15
        ("btagUParTAK4B", "PuppiMET", 0.1272, True),
    ],
)
def test_nanoaod(tmp_path: Path, tag: str, met: str, above: float, ntuple: bool) -> None:
    others = {f"{name}_{q}": np.full(EVENTS, 7.0) for name in ("PFMET", "RawMET") for q in ("pt", "phi")}
    path = nanoaod(tmp_path / "nano.root", tag, met, ntuple, **others)
    columns = [*LEPTONS, *JETS, "MET", "MET_Phi"]
    table = read(path, columns, schema="nanoaod")
    np.testing.assert_allclose(table, expected(columns, above), rtol=1e-6)
    assert 0.3 < np.isfinite(table).all(axis=1).mean() < 0.9


def test_cuts_overlap_and_a_changed_schema(tmp_path: Path) -> None:
    path = nanoaod(tmp_path / "nano.root", "btagDeepFlavB", "PuppiMET")
    lepton, jet = {"pt": 15.0, "eta": 1.5}, {"pt": 20.0, "eta": 2.0}
    objects = {
        "leptons": {"cuts": lepton},
        "jets": {"above": 0.6, "cuts": jet, "overlap": {"leptons": 0.7}},
        "met": {"pt": "PuppiMET_pt", "phi": "PuppiMET_phi"},
    }
    columns = [*LEPTONS, *JETS, "MET", "MET_Phi"]
    table = read(path, columns, schema="nanoaod", objects=objects)
    np.testing.assert_allclose(table, expected(columns, 0.6, lepton, jet, 0.7), rtol=1e-6)
    only = {"leptons": [{"prefix": "Muon_", "pdg": 13}]}
    muons = read(path, ["lep1_PT", "lep1_PDG"], schema="nanoaod", objects=only)
    leading = [max(event, key=lambda m: m["pt"]) if event else None for event in MUONS]
    np.testing.assert_allclose(muons[:, 0], [m["pt"] if m else np.nan for m in leading], rtol=1e-6)


def test_delphes(tmp_path: Path) -> None:
    columns = [*LEPTONS, *JETS, "MET", "MET_Phi"]
    table = read(delphes(tmp_path / "delphes.root"), columns, schema="delphes")
    np.testing.assert_allclose(table, expected(columns, 0.5), rtol=1e-6)


@pytest.mark.parametrize(("dot", "ntuple"), [(".", False), (":", True)])
def test_physlite(tmp_path: Path, dot: str, ntuple: bool) -> None:
    columns = [*LEPTONS, *(name for name in JETS if not name.endswith("B")), "MET", "MET_Phi"]
    path = physlite(tmp_path / "physlite.root", dot, ntuple)
    sums = {"prefix": f"MyMETAuxDyn{dot}", "px": "mpx[-1]", "py": "mpy[-1]"}
    table = read(path, columns, schema="physlite", objects={"met": sums})
    np.testing.assert_allclose(table, expected(columns, 2.0), rtol=1e-6)  # tags above 2: none
    with pytest.raises(UsageError, match=r'soft terms of missing pT alone .*add "objects": {"met"'):
        read(path, columns, schema="physlite")


def test_objects_by_hand(tmp_path: Path) -> None:
    """Cartesian momenta, energies, codes, a constant, expressions, lists, windows, another order."""
    mass, pt, eta, phi = (_jagged(ALL_JETS, name) for name in ("mass", "pt", "eta", "phi"))
    electrons = {name: _jagged(ELECTRONS, name) for name in ("pt", "eta", "phi", "charge")}
    columns = {
        "jx": pt * np.cos(phi), "jy": pt * np.sin(phi), "jz": pt * np.sinh(eta),
        "jE": np.hypot(pt * np.cosh(eta), mass), "jbits": ak.values_astype(4 * (mass > 6), np.int32),
        "el_pt": electrons["pt"] / 1.01, "el_eta": electrons["eta"], "el_phi": electrons["phi"],
        "el_id": -11 * electrons["charge"],
        "mex": MET[0] * np.cos(MET[1]), "mey": MET[0] * np.sin(MET[1]), "scale": np.full(EVENTS, 1.01),
    }  # fmt: skip
    path = _write(tmp_path / "own.root", {"t": columns})
    objects = {
        "leptons": {"prefix": "el_", "pt": "pt * scale", "pdg": "id", "cuts": {"id": [None, 0]}},
        "jets": {"px": "jx", "py": "jy", "pz": "jz", "energy": "jE", "tag": "jbits", "sort": "eta",
                 "cuts": {"eta": [-1, 2]}},
        "met": {"px": "mex", "py": "mey"},
    }  # fmt: skip
    names = [
        "lep1_PT",
        "lep1_Charge",
        "lep1_PDG",
        "j1_PT",
        "j1_Eta",
        "j1_Phi",
        "j1_M",
        "j1_B",
        "MET",
        "MET_Phi",
    ]
    table = read(path, names, objects=objects)
    for i, row in enumerate(table):
        kept = [e for e in ELECTRONS[i] if e["charge"] > 0]
        first = max(kept, key=lambda e: e["pt"])["pt"] if kept else np.nan
        charge = 1 if kept else np.nan
        jets = [j for j in ALL_JETS[i] if -1 <= j["eta"] <= 2]
        jets.sort(key=lambda j: (j["mass"] <= 6, j["eta"]))
        jet = (
            [jets[0][k] for k in ("pt", "eta", "phi", "mass")] + [jets[0]["mass"] > 6]
            if jets
            else [np.nan] * 5
        )
        wanted = [first, charge, -11 * charge, *jet, MET[0][i], MET[1][i]]
        np.testing.assert_allclose(row, wanted, rtol=1e-5, err_msg=str(i))


def test_flat_leptons_make_a_collection(tmp_path: Path, drell_yan: dict[str, np.ndarray]) -> None:
    flat = {name: drell_yan[name][:100].copy() for name in COLUMNS}
    flat["lep1_PT"][3] = np.nan
    path = write_tree(tmp_path / "flat.root", flat)
    objects = {
        "leptons": [{"prefix": f"lep{i}_", "pdg": 13} for i in (1, 2)],
        "met": {"pt": "MET", "phi": "MET_Phi"},
    }
    table = read(path, ["lep1_PT", "lep2_PT", "lep2_PDG", "lep3_PT", "MET"], objects=objects)
    both = np.stack([flat["lep1_PT"], flat["lep2_PT"]])
    np.testing.assert_array_equal(table[:, 0], np.fmax(*both))
    np.testing.assert_array_equal(table[:, 1], np.where(np.isnan(both[0]), np.nan, np.minimum(*both)))
    assert set(np.abs(table[:, 2])) == {13}
    assert np.isnan(table[:, 3]).all()
    np.testing.assert_array_equal(table[:, 4], flat["MET"])


def test_events_without_any_object(tmp_path: Path) -> None:
    empty = ak.values_astype(ak.Array([[1.0], [], []])[[1, 2, 1]], np.float32)
    columns = {
        f"{owner}_{name}": empty
        for owner in ("Electron", "Muon", "Jet")
        for name in ("pt", "eta", "phi", "mass")
    }
    columns |= {f"{owner}_charge": ak.values_astype(empty, np.int32) for owner in ("Electron", "Muon")}
    path = _write(tmp_path / "empty.root", {"Events": columns | {"Jet_btagDeepFlavB": empty}})
    objects = {"jets": {"overlap": {"leptons": 0.4}}, "leptons": {"cuts": {"pt": 20}}}
    assert np.isnan(read(path, [*LEPTONS, *JETS], schema="nanoaod", objects=objects)).all()


@pytest.mark.parametrize("schema", ["delphes", "physlite"])
def test_a_wrong_schema_names_the_right_one(tmp_path: Path, schema: str) -> None:
    path = nanoaod(tmp_path / "nano.root", "btagDeepFlavB", "MET")
    with pytest.raises(UsageError, match=r"no branch begins with .* looks like NanoAOD: --schema nanoaod"):
        read(Path(f"{path}:Events"), LEPTONS, schema=schema)


def test_a_branch_to_keep_that_is_misspelt_is_no_matter_of_schemas(tmp_path: Path) -> None:
    path = nanoaod(tmp_path / "nano.root", "btagDeepFlavB", "MET")
    located = Config.load({"schema": "nanoaod"}, need=()).located
    with pytest.raises(UsageError, match=r"no branch 'evnt' \(did you mean 'event'\?\)"):
        Source([str(path)], None, LEPTONS, ("evnt",), located)


@pytest.mark.parametrize(
    ("objects", "says"),
    [
        ({"jets": {"prefix": "Jet_"}}, "does not say where leptons are"),
        ({"leptons": {"prefix": "Muon_", "pt": "ptt"}}, "no branch 'Muon_ptt' or 'ptt'.*'Muon_pt'"),
        (
            {"leptons": {"prefix": "Muons_"}},
            "none of Muons_.* no branch begins with 'Muons_'.*has .*Muon_, Jet_",
        ),
        ({"leptons": {"prefix": "Muon_", "pt": "__import__('os')"}}, "not allowed in an expression"),
        ({"leptons": {"prefix": "Muon_", "phi": "Jet_phi"}}, "other numbers of objects"),
        ({"leptons": {"prefix": "Muon_", "phi": "phi + Jet_phi"}}, "different lengths"),
        ({"leptons": {"prefix": "Muon_", "overlap": {"leptons": 0.1}}}, "cannot give way"),
        ({"leptons": {"prefix": "Muon_", "colour": "x"}}, "colour'.*it may have prefix, pt"),
        ({"leptons": {"prefix": "Muon_", "cut": {"pt": 9}}}, r"cut'.*\(did you mean 'cuts'\?\)"),
        ({"lepton": {"prefix": "Muon_"}}, "lepton"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, objects: dict[str, Any], says: str) -> None:
    path = nanoaod(tmp_path / "nano.root", "btagDeepFlavB", "MET")
    with pytest.raises(UsageError, match=says):
        read(Path(f"{path}:Events"), ["lep1_PT", "lep1_Phi", "lep1_Charge"], objects=objects)


@pytest.mark.parametrize(
    "text",
    [
        "x.__class__",
        "(lambda: 1)()",
        "[1]",
        "'a'",
        "f(x)",
        "x if y else z",
        "x[0]()",
        "sqrt(x, y)",
        "sqrt()",
        "x ** 'a'",
        "x +",
    ],
)
def test_expressions_are_no_python(text: str) -> None:
    if text == "x.__class__":  # a branch of that name, and no attribute
        assert Expression(text).names == ("x.__class__",)
        return
    with pytest.raises(UsageError):
        Expression(text)


@pytest.mark.parametrize(
    "text", ["pt > 20 & good", "pt > 20 & eta < 2", "code == 11 | code == 13", "good & pt > 20"]
)
def test_a_comparison_beside_and_or_or_needs_parentheses(text: str) -> None:
    """`pt > 20 & good` is pt > (20 & good) in Python, which would pass all of 1 GeV."""
    with pytest.raises(UsageError, match="put each comparison in parentheses"):
        Expression(text)


def test_expressions() -> None:
    values = {"a": np.array([1.0, 4.0]), "b.c": np.array([2.0, -3.0])}
    expression = Expression("where((a > 2) & ~(b.c > 0), sqrt(a) + 9**9**9 * 0.0 ** a, -b.c) % 5")
    assert expression.names == ("a", "b.c")
    np.testing.assert_allclose(Expression("hypot(a, b.c) / 2")(values), np.hypot([1, 4], [2, -3]) / 2)
    np.testing.assert_array_equal(Expression("where((a > 2) & ~(b.c > 0), sqrt(a), -b.c)")(values), [-2, 2])
    assert np.isnan(expression(values)[1])  # ∞ · 0, and no error


def _expected_drell_yan() -> np.ndarray:
    """Which events have two leptons of opposite charge and one flavour in front."""
    table = expected(LEPTONS, 1.0)
    return np.isfinite(table).all(axis=1) & (table[:, 4] == -table[:, 9])


@pytest.mark.parametrize("schema", ["nanoaod", "delphes", "physlite"])
def test_one_command_gives_weights(tmp_path: Path, schema: str) -> None:
    path = tmp_path / "events.root"
    {"nanoaod": lambda p: nanoaod(p, "btagPNetB", "PuppiMET"), "delphes": delphes, "physlite": physlite}[
        schema
    ](path)
    output = tmp_path / "w.root"
    words = ("compute", path, "--process", "drell_yan", "--precision", "0.1", "--output", output)
    refused = run(*words)
    assert refused.status == 2
    assert f"--schema {schema}" in refused.said
    done = run(*words, "--schema", schema)
    assert done.status == 0, done.said
    assert "leptons: " in done.said
    weights = read_weights(output, "drell_yan")
    np.testing.assert_array_equal(weights.status != 3, _expected_drell_yan())
    about = read_provenance(output)
    assert about["objects"]["schema"] == schema
    assert about["objects"]["taken_from"][0]["leptons"][0]["pt"].endswith(
        ("Electron_pt", "Electron.PT", "AuxDyn.pt")
    )
    flat = write_tree(tmp_path / "flat.root", dict(zip(LEPTONS, expected(LEPTONS, 1.0).T, strict=True)))
    assert run("compute", flat, *words[2:-1], tmp_path / "f.root").status == 0
    np.testing.assert_allclose(weights.value, read_weights(tmp_path / "f.root", "drell_yan").value, rtol=1e-4)
    # what comes later finds the same events again
    within = [
        select([str(tmp_path / name)], "drell_yan", {"lepton_pt": 20}, EVENTS)
        for name in ("w.root", "f.root")
    ]
    assert [each.remarks for each in within] == [[], []]
    np.testing.assert_array_equal(within[0].rows, within[1].rows)
    assert 0 < within[0].rows.sum() < EVENTS


def _pairs(folder: Path, drell_yan: dict[str, np.ndarray]) -> tuple[Path, Path]:
    """The same events, flat with the harder lepton first, and as NanoAOD in any order."""
    flat = {name: drell_yan[name][5000:5150] for name in COLUMNS}
    harder = flat["lep1_PT"] >= flat["lep2_PT"]
    for name in ("PT", "Eta", "Phi", "Charge"):
        one, two = flat[f"lep1_{name}"], flat[f"lep2_{name}"]
        flat |= {f"lep1_{name}": np.where(harder, one, two), f"lep2_{name}": np.where(harder, two, one)}
    nano = {
        f"Muon_{name.replace('PT', 'pt').lower()}": ak.from_regular(
            np.stack([flat[f"lep2_{name}"], flat[f"lep1_{name}"]], axis=1)
        )
        for name in ("PT", "Eta", "Phi", "Charge")
    }
    none = ak.Array([[0.0]] * 149 + [[]])[np.full(150, 149)]
    nano |= {f"Electron_{name}": none for name in ("pt", "eta", "phi", "charge")}
    nano |= {"MET_pt": flat["MET"], "MET_phi": flat["MET_Phi"]}
    return write_tree(folder / "flat.root", flat), _write(
        folder / "nano.root", {"Events": nano, **_OTHER_TREES}
    )


def test_predict_and_refine_read_objects(
    tmp_path: Path, drell_yan: dict[str, np.ndarray], trained: tuple[dict[str, Any], Path]
) -> None:
    flat, nano = _pairs(tmp_path, drell_yan)
    model = trained[0]["save_lowest_loss_model_at"]
    refined = ("--process", "drell_yan", "--budget", "5", "--audit", "0", "--precision", "0.1")
    for command, more in (("predict", ()), ("refine", refined)):
        found = {}
        for path, schema in ((flat, ()), (nano, ("--schema", "nanoaod"))):
            output = tmp_path / f"{command}_{path.name}"
            done = run(command, path, "--model", model, "--output", output, *more, *schema)
            assert done.status == 0, done.said
            found[path] = read_weights(output, "weight_DY")
        np.testing.assert_array_equal(found[nano].status, found[flat].status)
        np.testing.assert_allclose(found[nano].value, found[flat].value, rtol=1e-6)
    assert read_provenance(output)["objects"]["schema"] == "nanoaod"


def test_a_name_that_may_be_two_branches_is_not_chosen() -> None:
    names = Names(["a/pt", "b/pt", "b/eta", "phi"])
    assert (names.find("b/pt"), names.find("eta"), names.find("phi")) == ("b/pt", "b/eta", "phi")
    assert names.find("q") is None
    with pytest.raises(UsageError, match="'pt' may be a/pt or b/pt"):
        names.find("pt")


def test_what_objects_are_identifies_weights(tmp_path: Path) -> None:
    """Other cuts are another call: nothing that was kept is taken for it."""
    path = nanoaod(tmp_path / "nano.root", "btagDeepFlavB", "MET")
    said = []
    for objects in ({}, {"leptons": {"cuts": {"pt": 20}}}, {"jets": {"above": 0.5}}):
        config = Config.load({"schema": "nanoaod", "objects": objects}, need=())
        source = Source([str(path)], None, [*LEPTONS, *JETS], (), config.located)
        said.append(source.about_objects["objects"])
        again = Objects.from_dict(json.loads(json.dumps(said[-1])))
        same = Source([str(path)], None, [*LEPTONS, *JETS], (), again)
        assert same.about_objects["objects"] == said[-1]
        np.testing.assert_array_equal(same.read(0, 50), source.read(0, 50))
    assert said[0] != said[1] != said[2] != said[0]


def test_learning_reads_objects_some_of_which_are_absent(tmp_path: Path) -> None:
    """And predicts another version of the format; a jet or a third lepton that is absent is no bad input."""
    old = nanoaod(tmp_path / "old.root", "btagDeepFlavB", "MET")
    third = [f"lep3_{q}" for q in ("PT", "Eta", "Phi", "Charge", "PDG")]
    jets = [f"j{i}_{q}" for i in (1, 2) for q in ("PT", "Eta", "Phi", "M")]
    columns = [*LEPTONS, *third, *jets, "MET", "MET_Phi"]
    table = expected(columns, 0.2783)
    there = np.isfinite(table[:, : len(LEPTONS)]).all(axis=1)
    weights = np.where(there, np.exp(-np.nan_to_num(table[:, 0]) / 50), np.nan)
    write_tree(tmp_path / "weights.root", {"w": weights}, "weights")
    quantities = ["PT", "Eta", "Phi", "Charge", "PDG"]
    config = {
        "schema": "nanoaod", "input_paths": [str(old)], "output_paths": [str(tmp_path / "weights.root")],
        "prefixes": [["lep1_", "lep2_", "lep3_"], ["j1_", "j2_"], ["MET"]],
        "suffixes": [quantities, ["PT", "Eta", "Phi", "M"], ["", "_Phi"]], "padded": ["lep3", "j1", "j2"],
        "weights": ["w"], "epochs": 2, "width": 8, "depth": 1, "members": 1, "split": [8, 0, 2],
        "save_lowest_loss_model_at": str(tmp_path / "m.model"), "run_folder": str(tmp_path / "run"),
    }  # fmt: skip
    (tmp_path / "input.json").write_text(json.dumps(config))
    done = run("train", "--inputfile", tmp_path / "input.json")
    assert done.status == 0, done.said
    assert "leptons: charge Electron_charge" in done.said
    new = nanoaod(tmp_path / "new.root", "btagUParTAK4B", "PuppiMET")
    objects = {"jets": {"above": 0.2783}}
    (tmp_path / "new.json").write_text(json.dumps(config | {"objects": objects}))
    calls = {
        "old": [old, "--model", tmp_path / "m.model"],
        "new": [new, "--inputfile", tmp_path / "new.json"],
    }
    found = {}
    for name, words in calls.items():
        done = run("predict", *words, "--output", tmp_path / f"w_{name}.root")
        assert done.status == 0, done.said
        found[name] = read_weights(tmp_path / f"w_{name}.root", "w")
    np.testing.assert_array_equal(found["old"].value, found["new"].value)
    np.testing.assert_array_equal(found["old"].status == 3, ~there)
    assert np.isnan(table[there]).any()
    model = Surrogate.load(tmp_path / "m.model")
    with uproot.open(f"{old}:Events") as tree:
        events = {name: tree[name].array() for name in list(tree.keys())}
    learned = model(events, schema="nanoaod")["w"]
    np.testing.assert_array_equal(learned.value, found["old"].value)
    # why there is none: two leptons are needed, and all of one that is absent is NaN
    assert set(learned.reason[~there]) == {Reason.NO_LEPTON}
    no_padding = FeatureMap(columns[:-2]).names
    assert [name for name in FeatureMap(columns[:-2], padded=["j2"]).names if name not in no_padding] == [
        "has j2"
    ]


def test_what_is_absent_adds_nothing() -> None:
    """Totals are those of the objects that are there; all else of an absent one is 0, and only of it."""
    columns = [f"{name}_{q}" for name in ("lep1", "lep2", "j1") for q in ("PT", "Eta", "Phi")]
    rows = np.array([[40, 0.5, 0.1, 30, -0.3, 2.0, 50, 1.0, -2.0]])
    absent = np.where(np.arange(9) < 6, rows, np.nan)
    partly = np.where(np.arange(9) < 7, rows, np.nan)
    padded, two = FeatureMap(columns, padded=["j1"]), FeatureMap(columns[:6])
    with jax.enable_x64(True):
        all_there, some, damaged, pair = (
            dict(zip(of.names, np.asarray(of(jnp.asarray(values)))[0], strict=True))
            for of, values in ((padded, rows), (padded, absent), (padded, partly), (two, rows[:, :6]))
        )
        whole = dict(
            zip(FeatureMap(columns).names, np.asarray(FeatureMap(columns)(jnp.asarray(rows)))[0], strict=True)
        )
    assert {name: v for name, v in all_there.items() if name != "has j1"} == whole
    assert all_there["has j1"] == 1
    for name, value in some.items():
        if "j1" in name.split():
            assert value == 0
        elif name in pair:
            np.testing.assert_allclose(value, pair[name], rtol=1e-12)
    assert np.isnan(damaged["log pT j1"] * damaged["eta j1"])
    for names, padding in ((columns, ["lep2"]), (columns, ["j2"])):
        with pytest.raises(UsageError, match="cannot be padded"):
            FeatureMap(names, padded=padding)
    with pytest.raises(UsageError, match="cannot be padded"):
        FeatureMap(columns, "plain", padded=["j1"])


def test_an_absent_lepton_is_the_last_of_them() -> None:
    """What is there stands in order of its code, whichever columns it came in; those that are absent follow."""
    columns = [f"lep{i}_{q}" for i in (1, 2, 3, 4) for q in ("PT", "Eta", "Phi", "Charge", "PDG")]
    leptons = [[40, 0.5, 0.1, 1, -13], [30, -0.3, 2.0, -1, 11], [20, 1.2, -2.0, -1, 13], [np.nan] * 5]
    padded, usual = FeatureMap(columns, padded=["lep3", "lep4"]), FeatureMap(columns)
    four = np.array([*leptons[:3], [15, 0.1, 1.0, 1, -11]], dtype=float).reshape(1, -1)
    with jax.enable_x64(True):

        def features(of: FeatureMap, *order: int) -> dict[str, float]:
            rows = np.array([leptons[i] for i in order], dtype=float).reshape(1, -1) if order else four
            return dict(zip(of.names, np.asarray(of(jnp.asarray(rows)))[0].tolist(), strict=True))

        whole = features(padded)
        assert {name: value for name, value in whole.items() if not name.startswith("has ")} == features(
            usual
        )
        one, other = features(padded, 0, 1, 2, 3), features(padded, 0, 1, 3, 2)
        three = features(FeatureMap(columns[:15]), 0, 1, 2)
    assert {name for name in one if one[name] != other[name]} == {"exchange 0.2"}
    assert (one["has lep3"], one["has lep4"]) == (1, 0)
    assert np.isfinite([*one.values()]).all()
    for name, value in one.items():
        if "lep4" in name.split() or name == "charge 4":
            assert value == 0, name
        elif name in three and not name.startswith("exchange"):
            np.testing.assert_allclose(value, three[name], rtol=1e-12, err_msg=name)


def test_config_check_says_what_is_taken_from_where(tmp_path: Path) -> None:
    nanoaod(tmp_path / "nano.root", "btagDeepFlavB", "MET")
    config = {"schema": "nanoaod", "input_paths": [str(tmp_path / "nano.root")]}
    (tmp_path / "c.json").write_text(json.dumps(config))
    done = run("config", "--check", tmp_path / "c.json")
    assert done.status == 0, done.said
    found = json.loads(done.out)["taken_from"]
    assert found["jets"]["taken_from"][0]["tag"] == "Jet_btagDeepFlavB"
    first = expected(["lep1_PT"], 1.0)[:3, 0]
    got = [np.nan if value is None else value for value in found["leptons"]["first"]["lep1_PT"]]
    np.testing.assert_allclose(got, first, rtol=1e-4)


def test_an_optional_field_of_an_ntuple(tmp_path: Path) -> None:
    path = shutil.copy(CASES / "optional.root", tmp_path)
    table = Source([path], None, ["lep1_PT", "lep2_PT"]).read(0, 20)
    np.testing.assert_array_equal(np.isnan(table[:, 1]), np.arange(20) % 4 == 1)
    assert np.isfinite(table[:, 0]).all()


def test_a_tree_whose_name_has_a_colon(tmp_path: Path) -> None:
    path = shutil.copy(CASES / "colon.root", tmp_path)
    assert expand([f"{path}:RNT:CollectionTree"]) == [(str(path), "RNT:CollectionTree")]
    assert Source([f"{path}:RNT:CollectionTree"], None, ["lep1_PT"]).num_entries > 0


def test_the_page_on_formats_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its input files and its commands, in the order in which a reader meets them."""
    page = (Path(__file__).parent.parent / "docs" / "howto" / "formats.md").read_text(encoding="utf-8")
    nanoaod(tmp_path / "nano.root", "btagDeepFlavB", "MET", PuppiMET_pt=MET[0], PuppiMET_phi=MET[1])
    delphes(tmp_path / "delphes.root")
    physlite(tmp_path / "physlite.root")
    names = _NANO | {"tag": "score"}
    columns = collections("el_", "mu_", "jet_", names, 1000.0)
    columns |= {
        "el_iso": _jagged(ELECTRONS, "tag"),
        "mu_correction": 0.01 * _jagged(MUONS, "tag"),
        "met_x": 1000 * MET[0] * np.cos(MET[1]),
        "met_y": 1000 * MET[0] * np.sin(MET[1]),
    }
    _write(tmp_path / "own.root", {"t": columns})
    atlas_open_data(tmp_path / "atlas.root")
    for name, text in re.findall(r"`(\w+\.json)`:\n\n```json\n(.*?)```", page, re.DOTALL):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    written = []
    for words in commands(page):
        # σ_vis is not this page's, and takes longest
        sigma = ("--sigma-signal", 1, "--sigma-background", 1) if "discriminate" in words else ()
        done = run(*words, *sigma)
        assert done.status == 0, (words, done.said)
        written += [words[words.index("--output") + 1]] if "compute" in words else []
    assert len(written) == 8
    for path in written:
        status = read_weights(path, "higgs_4l" if path == "four.root" else "drell_yan").status
        assert len(status) == EVENTS
        assert {0, 3} <= set(status)
    nano, atlas = (read_weights(f"{name}_weights.root", "drell_yan") for name in ("nano", "atlas"))
    assert nano.status.tolist() == atlas.status.tolist()
    np.testing.assert_allclose(atlas.value[nano.status == 0], nano.value[nano.status == 0], rtol=1e-4)
    assert (tmp_path / "four" / "discriminate.png").is_file()
    assert len(read_weights(tmp_path / "four" / "discriminant.root", "D").value) == EVENTS
