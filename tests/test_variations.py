"""Variations: further weights of the same events, whose ratios to the nominal ones are known precisely."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from conftest import COLUMNS, stored, write_tree
from test_objects import ALL_JETS, MET, nanoaod

import deepmem
from deepmem import UsageError
from deepmem.config import Config
from deepmem.data.root import Source
from deepmem.data.weights import read_provenance, read_weights, weight_names
from deepmem.jobs import exact, merging
from deepmem.physics.weights import engine
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.leading_order import draw_events

LEPTONS = COLUMNS[:8]
UP = {f"lep{i}_PT": f"lep{i}_PT * 1.01" for i in (1, 2)}
EVENTS = 40


@pytest.fixture(scope="module")
def pairs(drell_yan: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: drell_yan[name][:EVENTS].astype(np.float64) for name in LEPTONS}


@pytest.fixture(scope="module")
def varied(pairs: dict[str, np.ndarray]) -> deepmem.Weights:
    """With an event that has a weight in one of both alone, and one that is the same in both."""
    events = {name: values.copy() for name, values in pairs.items()}
    events["lep1_up"] = events["lep1_PT"] * 1.01
    events["lep1_PT"][3] = np.nan
    events["lep1_up"][5] = -1.0
    events["lep1_up"][7] = events["lep1_PT"][7]
    return deepmem.compute(events, variations={"up": {"lep1_PT": "lep1_up"}})


def test_a_variation_is_the_weight_of_events_measured_otherwise(
    varied: deepmem.Weights, pairs: dict[str, np.ndarray]
) -> None:
    nominal, up = varied["drell_yan"], varied["drell_yan__up"]
    alone = deepmem.compute(pairs)["drell_yan"]
    others = np.setdiff1d(np.arange(EVENTS), [3])
    np.testing.assert_array_equal(nominal.value[others], alone.value[others])  # no variation changes it
    moved = pairs | {"lep1_PT": pairs["lep1_PT"] * 1.01}
    moved["lep1_PT"][7] = pairs["lep1_PT"][7]
    wanted = deepmem.compute(moved, precision=1e-5)["drell_yan"]
    others = np.setdiff1d(np.arange(EVENTS), [5])
    assert (np.abs(up.value - wanted.value)[others] < 3 * up.error[others]).all()
    assert nominal.status[3] == 3
    assert up.status[3] == 0
    assert up.status[5] == 3
    assert np.isnan(up.covariance[[3, 5]]).all()
    ratio, error = up.ratio_to(nominal)
    assert ratio[7] == 1
    assert error[7] < 1e-9 * ratio[7]


def test_events_that_a_variation_spoils_leave_the_others_alone(pairs: dict[str, np.ndarray]) -> None:
    """Some of them, or all."""
    few = {name: values[:3] for name, values in pairs.items()}
    for bound, left in ((np.inf, 0), (few["lep1_PT"][1] - 1e-3, 1)):
        kept = {"lep1_PT": f"where(lep1_PT > {bound}, lep1_PT, 0/0)"} if left else {"lep1_PT": "lep1_PT * 0"}
        found = deepmem.compute(few, variations={"cut": kept})
        assert (found["drell_yan"].status == 0).all()
        wanted = np.where(few["lep1_PT"] > bound, 0, 3) if left else np.full(3, 3)
        np.testing.assert_array_equal(found["drell_yan__cut"].status, wanted)


def test_the_error_of_a_ratio_holds() -> None:
    alpha = hypothesis("higgs_4l")
    events = draw_events("higgs_4l", 16, 5, {"lepton_pt": 5, "lepton_eta": 2.5}, recoil=15.0).columns
    near = {name: values * 1.002 if name.endswith("_PT") else values for name, values in events.items()}

    def compute(**settings: Any) -> tuple[deepmem.Weight, np.ndarray, np.ndarray]:
        found = engine.compute(alpha, events, variations={"up": near}, **settings)
        return found["higgs_4l"], *found["higgs_4l__up"].ratio_to(found["higgs_4l"])

    nominal, ratio, error = compute()
    _, true, its_error = compute(precision=2e-3, seed=5)
    assert np.median(error / ratio) < 0.5 * np.median(nominal.error / nominal.value)
    pull = (ratio - true) / np.hypot(error, its_error)
    assert np.abs(pull).max() < 4
    assert 0.5 < pull.std() < 1.5


def test_scans_have_variations_and_free_couplings_have_none(pairs: dict[str, np.ndarray]) -> None:
    few = {name: values[:4] for name, values in pairs.items()}
    found = deepmem.compute(few, MZ=[90.7, 91.2], variations={"up": UP})
    assert [*found] == [
        "drell_yan_MZ_90p7", "drell_yan_MZ_91p2", "drell_yan_MZ_90p7__up", "drell_yan_MZ_91p2__up",
    ]  # fmt: skip
    up = found["drell_yan_MZ_91p2__up"]
    assert (up.ratio_to(found["drell_yan_MZ_91p2"])[1] < 2e-3).all()
    with pytest.raises(UsageError, match="no covariance"):
        found["drell_yan_MZ_91p2"].ratio_to(up)
    quartets = {name: np.zeros(1) for name in hypothesis("higgs_4l").columns}
    reaction = "h4=p p > h > e+ e- mu+ mu-"
    with pytest.raises(UsageError, match="free couplings, and there are variations"):
        deepmem.compute(quartets, reaction, model="hvv", ca3="[:]", variations={"up": {"lep1_PT": "lep2_PT"}})


def test_files_kept_and_merged(pairs: dict[str, np.ndarray], tmp_path: Path) -> None:
    """By the command, with its provenance; in two parts, merged, the same bits."""
    path = write_tree(tmp_path / "events.root", pairs)
    (tmp_path / "input.json").write_text(json.dumps({"variations": {"up": UP}}))
    call = ["compute", path, "--process", "drell_yan", "--inputfile", tmp_path / "input.json"]
    outputs = {None: "w.root", "0:15": "a.root", "15:40": "b.root"}
    for entries, name in outputs.items():
        some = [] if entries is None else ["--entries", entries]
        done = run(*call, "--output", tmp_path / name, *some)
        assert done.status == 0, done.said
    assert weight_names(tmp_path / "w.root") == ["drell_yan", "drell_yan__up"]
    about = read_provenance(tmp_path / "w.root")
    assert about["variations"] == {"up": UP}
    assert about["counts"]["drell_yan__up"]["statuses"] == {"0 good": EVENTS}
    merging.merge([str(tmp_path / "a.root"), str(tmp_path / "b.root")], tmp_path / "merged.root")
    assert read_provenance(tmp_path / "merged.root") == about
    expected = deepmem.compute(pairs, variations={"up": UP})
    for output in ("w.root", "merged.root"):
        for name in ("drell_yan", "drell_yan__up"):
            found = read_weights(tmp_path / output, name)
            np.testing.assert_array_equal(found.value, expected[name].value)
            if name.endswith("up"):
                np.testing.assert_array_equal(found.covariance, expected[name].covariance)
    telling = run(*call, "--output", tmp_path / "o.root", "--keep", "drell_yan__up_cov")
    assert telling.status == 2


def test_a_variation_of_objects_has_its_own_cuts_and_order(tmp_path: Path) -> None:
    path = nanoaod(tmp_path / "nano.root", "btagDeepFlavB", "MET")
    config = Config.load({"schema": "nanoaod", "objects": {"jets": {"cuts": {"pt": 30}}}}, need=())
    factor = "where(Jet_eta > 0, 1.3, 0.7)"

    def read(variation: dict[str, str]) -> np.ndarray:
        source = Source([str(path)], None, ["j1_PT", "j1_Eta", "MET"], (), config.located, variation)
        return source.read(0, source.num_entries)

    table = read({"Jet_pt": f"Jet_pt * {factor}", "MET_pt": "MET_phi"})
    for i, jets in enumerate(ALL_JETS):
        scaled = [(j["tag"] > 0.2783, j["pt"] * (1.3 if j["eta"] > 0 else 0.7), j["eta"]) for j in jets]
        kept = [each for each in scaled if each[1] >= 30]
        wanted = max(kept)[1:] if kept else (np.nan, np.nan)
        np.testing.assert_allclose(table[i], [*wanted, MET[1][i]], rtol=1e-6)
    with pytest.raises(UsageError, match="different lengths"):
        read({"Jet_pt": "Jet_pt * Muon_pt"})


@pytest.mark.parametrize(
    ("variations", "says"),
    [
        ({"up": {"lep1_Pt": "lep1_PT"}}, "no branch .did you mean 'lep1_PT'"),
        ({"up": {"lep1_PT": "lep1_PT * up"}}, "'up', which is no branch"),
        ({"up": {"lep1_PT": "open('x')"}}, "not allowed in an expression"),
        ({"up": {"lep1_PT": "50"}}, "by '50', which names no branch"),
        ({"up__": {"lep1_PT": "lep2_PT"}}, "needs a name such as jesUp"),
        ({"up": {}}, "changes nothing"),
    ],
)
def test_what_is_no_variation_is_refused(
    pairs: dict[str, np.ndarray], tmp_path: Path, variations: dict[str, Any], says: str
) -> None:
    path = write_tree(tmp_path / "events.root", pairs)
    with pytest.raises(UsageError, match=says):
        exact.compute_files(
            [str(path)], tmp_path / "w.root", ["drell_yan"], config={"variations": variations}
        )
    with pytest.raises(UsageError, match=says):
        deepmem.compute(pairs, variations=variations)


def test_learned_weights_have_variations(trained: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    config, _ = trained
    path = config["input_paths"][0]
    deepmem.predict([path], tmp_path / "w.root", config=config | {"variations": {"up": UP}})
    assert weight_names(tmp_path / "w.root") == ["weight_DY", "weight_DY__up"]
    assert read_provenance(tmp_path / "w.root")["variations"] == {"up": UP}
    events = Source([path], None, COLUMNS).read(0, 2000)
    columns = dict(zip(COLUMNS, events.T.astype(float), strict=True))
    columns |= {name: values * 1.01 for name, values in columns.items() if name in UP}
    expected = deepmem.Surrogate.load(config["save_lowest_loss_model_at"])(columns)["weight_DY"]
    found = read_weights(tmp_path / "w.root", "weight_DY__up")
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-5)


def test_learned_weights_follow_column_names(trained: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    """Also where a branch with the default name is there and is another one; those of the training are not read."""
    config, _ = trained
    model = config["save_lowest_loss_model_at"]
    columns = dict(zip(COLUMNS, Source(config["input_paths"], None, COLUMNS).read(0, 100).T, strict=True))
    expected = deepmem.Surrogate.load(model)(columns)["weight_DY"].value
    called = {"lep1_PT": "first_pt", "MET": "met_pt"}
    moved = {name: 1.1 * columns[name] for name in called}
    events = write_tree(
        tmp_path / "events.root", columns | moved | {called[name]: columns[name] for name in called}
    )
    output = tmp_path / "w.root"
    deepmem.predict([str(events)], output, config=config | {"column_names": called})
    np.testing.assert_array_equal(read_weights(output, "weight_DY").value, expected)
    about = read_provenance(output)
    assert about["column_names"] == called
    assert "first_pt" in about["events"]["columns"]
    with pytest.raises(UsageError, match="'lep1_PT' is to hold pT, and 'lep1_Eta' looks like eta"):
        deepmem.predict([str(events)], output, config=config | {"column_names": {"lep1_PT": "lep1_Eta"}})


def test_jets_of_top_pairs_follow_their_nominal_points() -> None:
    """The map by angle draws φ and the first b quark as for the nominal event."""
    alpha = hypothesis("ttbar_2l")
    events = {k: values[:2] for k, values in stored("ttbar_2l").items() if k in alpha.columns}
    jets = ("j1_PT", "j2_PT", "j1_M", "j2_M")
    near = {k: values * 1.01 if k in jets else values for k, values in events.items()}
    ratios = []
    for seed in (1, 2):
        found = engine.compute(alpha, events, precision=0.05, seed=seed, variations={"up": near})
        nominal, up = found["ttbar_2l"], found["ttbar_2l__up"]
        assert (nominal.status == 0).all()
        assert (up.status == 0).all()
        ratios.append(up.ratio_to(nominal))
    (one, error), (other, its_error) = ratios
    assert (error < 0.02 * one).all()
    assert (np.abs(one - other) < 4 * np.hypot(error, its_error)).all()
    alone = engine.compute(alpha, near, precision=0.05, seed=3)["ttbar_2l"]
    assert (np.abs(alone.value - up.value) < 4 * np.hypot(alone.error, up.error)).all()
