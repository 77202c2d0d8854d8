"""Weights and cross-sections of what a user says: a reaction in a model, and couplings that stay free."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import stored, write_tree

import deepmem
from deepmem import UsageError
from deepmem.data.weights import read_provenance, read_weights, weight_names
from deepmem.jobs import exact, merging
from deepmem.physics.processes import chosen_process, find_process
from deepmem.physics.weights.hypothesis import Hypothesis, hypothesis
from deepmem.physics.weights.leading_order import CrossSection, cross_section, draw_events
from deepmem.physics.weights.plan import plan_for
from tests.commands import run
from tests.physics import toy_ufo

HIGGS = "h=g g > h > e+ e- mu+ mu-"
CUTS = {"lepton_pt": 5.0, "pair_mass": [4, 1000], "mass": [105, 140]}


@pytest.fixture(scope="module")
def events() -> dict[str, np.ndarray]:
    return draw_events("higgs_4l", 60, 3, CUTS).columns


@pytest.fixture(scope="module")
def free(events: dict[str, np.ndarray]) -> deepmem.Weight:
    """Weights with a₃ left free."""
    return deepmem.compute(events, HIGGS, model="hvv", ca3="[:]")["h"]


def test_a_reaction_of_the_menu_has_the_menus_weights(events):
    """Those that are stored, whose |M|² is written by hand; among as many events as elsewhere here."""
    menu, number = stored("higgs_4l"), len(events["lep1_PT"])
    columns = {name: np.concatenate([menu[name], values])[:number] for name, values in events.items()}
    said = deepmem.compute(columns, HIGGS, model="heft")["h"][: len(menu["value"])]
    np.testing.assert_allclose(said.value, menu["value"], rtol=1e-8)
    np.testing.assert_allclose(said.error, menu["error"], rtol=1e-4)


def test_trees_of_the_menu_are_recognised():
    """Legs, classes, columns, resonance, channels, scale and plan follow from the reaction alone."""
    said = {
        "ttbar_2l": "p p > t t~, (t > w+ b, w+ > e+ ve), (t~ > w- b~, w- > mu- vm~)",
        "ww_2l": "p p > w+ w-, w+ > e+ ve, w- > mu- vm~",
        "higgs_ww_2l": "g g > h > w+ w-, w+ > e+ ve, w- > mu- vm~",
        "higgs_4l": "g g > h > e+ e- mu+ mu-",
        "zz_4l": "p p > e+ e- mu+ mu-",
        "drell_yan": "p p > mu+ mu-",
    }
    for name, reaction in said.items():
        settings = {"model": "heft"} if name.startswith("higgs") else {}
        found, menu = chosen_process(f"x={reaction}", settings), find_process(name)
        for each in (
            "outgoing",
            "classes",
            "columns",
            "topology",
            "resonance",
            "wide_resonance",
            "dimensions",
        ):
            assert getattr(found, each) == getattr(menu, each), (name, each)
        assert found.responses == menu.responses
        assert found.assignments == menu.assignments
        light = {frozenset(s for s in states if 5 not in map(abs, s)) for states in menu.channels}
        assert set(map(frozenset, found.channels)) == light, name
        assert set(found.parameters) >= {each for each in menu.parameters if each not in ("MT", "MB")}


def test_partons_come_from_either_proton():
    """ "u u~ > …" is half of what "p p > …" has of up quarks: both orders of the beams."""
    one = chosen_process("x=u u~ > e+ e-", {})
    assert {state for states in one.channels for state in states} == {(2, -2), (-2, 2)}


def test_a_free_coupling_is_every_value_of_it(events, free):
    """At values that are no points of the polynomial, weights computed there agree, and share their points."""
    for value in (0.3, -2.0):
        there = deepmem.compute(events, HIGGS, model="hvv", ca3=value)["h"]
        at = free.at(ca3=value)
        pulls = (at.value - there.value) / np.hypot(at.error, there.error)
        assert np.abs(pulls).max() < 4
        assert np.median(at.error / at.value) < 0.01
    np.testing.assert_allclose(free.value, free.at().value, rtol=1e-12)
    assert (free.status == 0).all()


def test_errors_of_coefficients_are_honest(events, free):
    """Another seed: pulls of pure terms and of interference alone are about 1 wide."""
    other = deepmem.compute(events, HIGGS, model="hvv", ca3="polynomial", seed=7)["h"].couplings
    own = free.couplings
    assert own is not None
    assert other is not None
    assert own.monomials.labels == ["1", "ca3", "ca3**2"]
    variances = (own.covariance + other.covariance)[:, [0, 3, 5]]
    pulls = (own.coefficients - other.coefficients) / np.sqrt(variances)
    assert np.all((pulls.std(axis=0) > 0.6) & (pulls.std(axis=0) < 1.25))


def test_free_couplings_in_files(events, free, tmp_path: Path, monkeypatch):
    """Branches, provenance, parts and their merging, and what is read back; at the same bits."""
    path = write_tree(tmp_path / "events.root", events)
    said = {"model": "hvv", "ca3": "[:]"}
    exact.compute_files([str(path)], tmp_path / "w.root", [HIGGS], part=25, **said)
    for k, entries in enumerate(((0, 20), (20, 60))):
        exact.compute_files([str(path)], tmp_path / f"p{k}.root", [HIGGS], entries=entries, **said)
    merging.merge([str(tmp_path / f"p{k}.root") for k in range(2)], tmp_path / "merged.root")
    for name in ("w.root", "merged.root"):
        found = read_weights(tmp_path / name)
        assert found.couplings is not None
        assert free.couplings is not None
        np.testing.assert_array_equal(found.couplings.coefficients, free.couplings.coefficients)
        np.testing.assert_array_equal(found.couplings.covariance, free.couplings.covariance)
        np.testing.assert_array_equal(found.at(ca3=1.5).value, free.at(ca3=1.5).value)


@pytest.fixture(scope="module")
def sigma() -> CrossSection:
    return cross_section(HIGGS, CUTS, model="hvv", ca3="[:]", points=60_000, quiet=True)


def test_cross_sections_of_free_couplings(sigma):
    """Σ and σ_vis at another value as computed there; without interference in σ, and σ₁/σ₃ = 6.49."""
    there = cross_section(HIGGS, CUTS, model="hvv", ca3=1.0, points=60_000, quiet=True)
    at = sigma.at(ca3=1.0)
    assert at.value == pytest.approx(there.value, rel=0.02)
    assert at.visible == pytest.approx(there.visible, rel=0.02)
    assert at.error < 0.02 * at.value
    assert sigma.couplings is not None
    (one, interference, three), _ = sigma.couplings.coefficients
    assert one / three == pytest.approx(6.49, rel=0.03)
    assert abs(interference) < 4 * np.sqrt(sigma.couplings.covariance[0, 3])
    json.dumps(sigma.to_dict()["polynomial"], allow_nan=False)


def test_weights_of_a_ufo_model(tmp_path: Path):
    """A Z′ of a folder: its weight in a coupling that is free, against the value that it has by default."""
    folder = toy_ufo.write(tmp_path / "toy")
    events = {
        "lep1_PT": [48.0, 47.0], "lep1_Eta": [0.2, 0.6], "lep1_Phi": [0.1, 1.0], "lep1_Charge": [-1.0, 1.0],
        "lep2_PT": [46.0, 47.5], "lep2_Eta": [-0.4, 0.1], "lep2_Phi": [3.2, -2.1], "lep2_Charge": [1.0, -1.0],
    }  # fmt: skip
    arrays = {name: np.array(values) for name, values in events.items()}
    said = {"model": f"{folder}-full", "Q": 91.0}
    fixed = deepmem.compute(arrays, "z=u u~ > e+ e-", gL=0.4, **said)["z"]
    free = deepmem.compute(arrays, "z=u u~ > e+ e-", gL="[:]", **said)["z"]
    assert (fixed.value > 0).all()
    np.testing.assert_allclose(free.at(gL=0.4).value, fixed.value, rtol=0.02)


def test_provenance_says_reaction_and_model_and_is_read_again():
    alpha = hypothesis(HIGGS, model="hvv", ca2="[:]", ca3=0.5, MH=125.5)
    said = json.loads(json.dumps(alpha.to_dict()))
    assert (said["reaction"], said["model"]) == ("g g > h > e+ e- mu+ mu-", "hvv")
    assert Hypothesis.from_dict(said).to_dict() == alpha.to_dict()
    said["model_sha256"] = "0" * 64
    with pytest.raises(UsageError, match="the model hvv found here is not the one"):
        Hypothesis.from_dict(said)


@pytest.mark.parametrize(
    ("process", "settings", "message"),
    [
        ("x=p p > t t~", {}, "makes t: let it decay"),
        ("x=e+ e- > mu+ mu-", {}, r"has the beams \(-11, 11\)"),
        ("x=b b~ > e+ e-", {}, "incoming b quarks, which are in a proton of five"),
        ("x=p p > e+ e-", {"flavours": 5, "MB": 4.7}, "unknown parameter of x 'MB'"),
        ("higgs_4l", {"model": "hvv"}, "model is of a reaction"),
        ("higgs_4l", {"MH": "[:]"}, "can't be left free"),
        (HIGGS, {"model": "hvv", "MH": "[:]"}, "enters the mass of 'h'"),
        (HIGGS, {"model": "hvv", "ca3": "[:]", "ca2": [0.0, 1.0]}, "one of both at a time"),
        (HIGGS, {"model": "hvv", "ca33": 1.0}, "ca3"),
        (HIGGS, {"model": "nosuch"}, "nosuch"),
    ],
)
def test_what_has_no_weight_is_said(process: str, settings: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        hypothesis(process, **settings)


def test_neutrinos_of_one_resonance_beside_others_have_no_map():
    with pytest.raises(UsageError, match=r"no map is made for the two neutrinos of .*, which both come of z"):
        plan_for(hypothesis("x=p p > z z, z > ve ve~, z > mu+ mu-"))


def test_cross_sections_of_sums_are_those_of_all_final_states():
    """Of final states that events choose: e and μ are twice one of them."""
    settings: dict[str, Any] = {"parton": True, "precision": 0.01, "quiet": True}
    cuts = {"mass": [60.0, 120.0]}
    both, one = (cross_section(f"x=p p > {legs}", cuts, **settings) for legs in ("l+ l-", "mu+ mu-"))
    assert both.value == pytest.approx(2 * one.value, abs=4 * np.hypot(both.error, 2 * one.error))
    with pytest.raises(UsageError, match=r"infinite where the mass of d d~ is small: cut on the partons"):
        cross_section("x=u d~ > mu+ vm d d~", quiet=True)


def test_a_weight_in_a_file_needs_a_name(events, tmp_path: Path):
    path = write_tree(tmp_path / "events.root", events)
    done = run("compute", path, "--process", "g g > h > e+ e- mu+ mu-", "--output", tmp_path / "w.root")
    assert done.status == 2
    assert "NAME=g g > h > e+ e- mu+ mu-" in done.said


def test_a_configuration_names_reactions(events, tmp_path: Path):
    """Of one line, of several that are summed, and with settings of its own; --process chooses among them."""
    write_tree(tmp_path / "in.root", events)
    reaction = HIGGS.partition("=")[2]
    own = {"reaction": reaction, "model": "heft", "MH": 126.0}
    config = {"processes": {"a": {"reaction": [reaction], "model": "heft"}, "b": own}, "input_tree": "events"}
    assert named_in(config, tmp_path, ()) == {"a", "b"}
    found = read_weights(tmp_path / "out.root", "b")
    expected = deepmem.compute(events, HIGGS, model="heft", MH=126.0)["h"]
    np.testing.assert_array_equal(found.value, expected.value)
    same = deepmem.compute(events, {"b": own})["b"]
    np.testing.assert_array_equal(same.value, expected.value)
    assert named_in(config, tmp_path, ("b",)) == {"b"}
    with pytest.raises(UsageError, match="or the key processes"):
        exact.compute_files([str(tmp_path / "in.root")], tmp_path / "none.root", ())
    with pytest.raises(UsageError, match="c: expected a reaction"):
        deepmem.compute(events, {"c": {"MH": 126.0}})


def named_in(config: dict[str, Any], folder: Path, asked: tuple[str, ...]) -> set[str]:
    """The weights that are written."""
    path = folder / "out.root"
    exact.compute_files([str(folder / "in.root")], path, asked, config=config, precision=0.01)
    return set(weight_names(path))


def test_the_page_on_anomalous_couplings_runs():
    """Its Python blocks, one after the other; weights at the value of a free coupling are positive."""
    page = (Path(__file__).parent.parent / "docs" / "anomalous.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        exec(compile(block, "docs/anomalous.md", "exec"), names)
    assert names["found"].at(ca3=0.5) == pytest.approx(names["one"], rel=1e-9)
    assert (names["normalised"] > 0).all()


def test_a_w_and_a_higgs_boson_to_b_quarks():
    """One neutrino and a resonance of jets: the plan follows from the tree, whichever jet is the first."""
    reaction = "wh=p p > w+ h, w+ > mu+ vm, h > b b~"
    alpha = hypothesis(reaction)
    assert alpha.process.columns[-2:] == ("MET", "MET_Phi")
    assert alpha.process.dimensions == plan_for(alpha).dimensions == 4
    lepton = {
        "lep1_PT": 52.0,
        "lep1_Eta": 0.3,
        "lep1_Phi": 1.1,
        "lep1_Charge": 1.0,
        "MET": 61.0,
        "MET_Phi": -0.9,
    }
    jets = [(83.0, 0.2, 2.4, 8.0), (61.0, -0.9, -2.2, 7.0)]
    weights = []
    for order in (jets, jets[::-1]):
        event = lepton | {
            f"j{i}_{name}": value
            for i, jet in enumerate(order, 1)
            for name, value in zip(("PT", "Eta", "Phi", "M"), jet, strict=True)
        }
        weights.append(deepmem.compute({k: np.array([v]) for k, v in event.items()}, reaction)["wh"])
    one, other = weights
    assert (one.status[0], other.status[0]) == (0, 0)
    assert one.value[0] == pytest.approx(
        other.value[0], abs=5 * float(np.hypot(one.error[0], other.error[0]))
    )
    negative = lepton | {"lep1_Charge": -1.0}
    bad = negative | {key: value for key, value in event.items() if key.startswith("j")}
    assert deepmem.compute({k: np.array([v]) for k, v in bad.items()}, reaction)["wh"].status[0] == 3


def test_a_recoil_of_a_configuration_is_used(tmp_path: Path):
    """By the command, with its prior set beside it; `config --check` knows its keys; refused without one."""
    reaction, recoil = "zh=p p > z h, z > mu+ mu-, h > b b~", {"c": 12.0, "b": 0.3}
    event = {
        "lep1_PT": 62.0, "lep1_Eta": 0.3, "lep1_Phi": 1.1, "lep1_Charge": 1.0,
        "lep2_PT": 45.0, "lep2_Eta": 0.9, "lep2_Phi": -0.5, "lep2_Charge": -1.0,
        "j1_PT": 83.0, "j1_Eta": 0.2, "j1_Phi": 2.9, "j1_M": 8.0,
        "j2_PT": 55.0, "j2_Eta": -0.9, "j2_Phi": -2.2, "j2_M": 7.0, "MET": 11.0, "MET_Phi": -0.9,
    }  # fmt: skip
    path = write_tree(tmp_path / "events.root", {name: np.array([value]) for name, value in event.items()})
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"response": {"lepton": 0.02, "bjet": 0.12, "recoil": recoil}}))
    assert run("config", "--check", settings).status == 0
    words = ("compute", path, "--process", reaction, "--output", tmp_path / "w.root")
    done = run(*words, "--inputfile", settings, "--set", "K0=25", "--set", "met=recoil")
    assert done.status == 0, done.said
    (said,) = read_provenance(tmp_path / "w.root")["hypotheses"]
    assert said["responses"]["recoil"] == recoil | {"K0": 25.0}
    assert (said["met"], said["unit"]) == ("recoil", "GeV^-6")
    assert read_weights(tmp_path / "w.root").value[0] > 0
    refused = run(*words[:-1], tmp_path / "v.root", "--set", "met=recoil")
    assert refused.status == 2
    assert "met=recoil needs the response of the recoil" in refused.said
    settings.write_text(json.dumps({"response": {"recoil": {"K1": 3}}}))
    assert "response.recoil.K1: unknown key" in run("config", "--check", settings).said
