"""Leading-order events of any reaction: distributions against σ in bins, legs, columns, files, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import uproot
from commands import run
from scipy.stats import chi2, ks_2samp

import deepmem
from deepmem.errors import UsageError
from deepmem.events.partons import generate_partons
from deepmem.physics.processes.base import DEFAULT_DENSITY
from deepmem.physics.theory.lhapdf import current
from deepmem.physics.theory.models import load
from deepmem.physics.weights.any_reaction import Sampler
from deepmem.physics.weights.leading_order import Events, draw_events
from deepmem.selection import Selection, mass

TEXT = "wh=p p > w+ h, w+ > l+ vl, h > b b~ ; cc"
ONE_LEPTON = "wh=p p > w+ h, w+ > mu+ vm, h > b b~"
CUTS = {"lepton_pt": 25, "lepton_eta": 2.5, "jet_pt": 25, "jet_eta": 2.5}


@pytest.fixture(scope="module")
def events() -> Events:
    return draw_events(TEXT, 6000, 3, CUTS)


def test_the_number_of_events_is_that_of_sigma_vis_in_bins(events: Events) -> None:
    """χ² of events in bins of the lepton's pT, each against its own σ_vis."""
    edges = [25.0, 45.0, 80.0, 13000.0]
    parts, errors = [], []
    for low in edges[:-1]:
        found = deepmem.cross_section(TEXT, CUTS | {"lepton_pt": low}, points=24_000, seed=int(low))
        parts.append(found.visible)
        errors.append(found.visible_error)
    above, of_above = np.array(parts), np.array(errors)
    weight = events.weight / events.weight.sum()
    drawn = np.array([weight[events.columns["lep1_PT"] > low].sum() for low in edges[1:-1]])
    expected = above[1:] / above[0]
    error = expected * np.hypot(of_above[1:] / above[1:], of_above[0] / above[0])
    counted = np.sqrt(drawn * (1 - drawn) / len(events))
    pulls = (drawn - expected) / np.hypot(error, counted)
    assert (pulls**2).sum() < chi2.ppf(1 - 1e-4, len(pulls))
    assert events.visible == pytest.approx(above[0], abs=4 * np.hypot(of_above[0], events.visible_error))


def test_events_follow_weighted_points(events: Events) -> None:
    """Kolmogorov–Smirnov between events and points that are reweighted by a draw of their own."""
    rng = np.random.default_rng(9)
    sampler = Sampler(TEXT, CUTS)
    many = sampler.integrals(visible_alone=True)
    size = 20_000
    many.prepare(size)
    values, weights = [], []
    for _, chunk, _ in many.computed([size] * len(many.channels)):
        _, cube = chunk.draw()
        points = sampler.parts[chunk.part].points(chunk.number, cube.u, chunk.maps)
        visible, seen = sampler.visible(chunk.part, points, rng)
        weights.append(visible.sum(axis=0) * cube.jacobian[points.rows] / size)
        pt = np.hypot(seen.measured[..., 1], seen.measured[..., 2])
        missing = np.hypot(*seen.missing.T)
        # legs: l, nu, b, b~; a jet counts by the larger pT
        values.append(np.stack([pt[:, 0], missing, pt[:, 2:].max(axis=1)]))
    weight = np.concatenate(weights)
    # densities are interpolated: they may be below 0 where they are next to nothing
    assert -weight[weight < 0].sum() < 1e-6 * weight.sum()
    weight = np.maximum(weight, 0.0)
    chosen = rng.choice(len(weight), 6000, p=weight / weight.sum())
    for other, name in zip(
        np.concatenate(values, axis=1)[:, chosen], ("lep1_PT", "MET", "j1_PT"), strict=True
    ):
        assert ks_2samp(events.columns[name], other).pvalue > 1e-4


def test_legs_are_those_of_the_subprocesses(events: Events) -> None:
    assert events.codes is not None
    leptons = events.codes[:, 0]
    assert set(np.unique(leptons)) == {-13, -11, 11, 13}
    np.testing.assert_array_equal(abs(events.codes[:, 1]), abs(leptons) + 1)
    np.testing.assert_array_equal(np.sort(events.codes[:, 2:], axis=1), [[-5, 5]] * len(events))
    np.testing.assert_array_equal(events.columns["lep1_Charge"], np.where(leptons > 0, -1, 1))
    # W+ is made of more partons than W-
    assert 0.5 < (leptons < 0).mean() < 0.75
    assert (abs(events.codes[:, 0]) == 11).mean() == pytest.approx(0.5, abs=0.03)
    # either proton is as good
    rapidity = events.true.sum(axis=1)[:, 3]
    assert (rapidity > 0).mean() == pytest.approx(0.5, abs=0.03)


def test_events_are_selected_and_resonant(events: Events) -> None:
    for sign in (1, -1):
        rows = np.sign(events.codes[:, 0]) == sign
        codes = (sign * 11, -sign * 12, 5, -5)
        assert Selection.of(CUTS).passes(events.measured[rows], codes).all()
    assert np.median(mass(events.true[:, 2] + events.true[:, 3])) == pytest.approx(125.0, abs=0.05)
    assert np.median(mass(events.true[:, 0] + events.true[:, 1])) == pytest.approx(80.4, abs=0.3)
    ratio = events.measured[:, 2, 0] / events.true[:, 2, 0]
    assert ratio.std() == pytest.approx(0.10, abs=0.02)
    total = events.true.sum(axis=1)
    assert np.median(np.hypot(total[:, 1], total[:, 2])) == pytest.approx(20.0, abs=1.5)
    assert ((events.weight >= 1) & (events.weight < 20)).all()


def test_the_same_seed_gives_the_same_events() -> None:
    one, again, other = (draw_events(ONE_LEPTON, 50, seed, CUTS) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.measured, again.measured)
    assert not np.isin(one.measured, other.measured).any()


def test_columns_of_every_class_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "events.root"
    text = "u d~ > w+ g a, w+ > mu+ vm"
    cuts = {"lepton_pt": 20, "jet_pt": 30, "photon_pt": 25, "jet_eta": 2.5, "photon_eta": 2.5}
    beside = {"jet_pt": 15, "photon_pt": 15, "photon_delta_r": 0.3}
    made = generate_partons(text, 60, 2, path, selection=cuts, parton_selection=beside)
    assert made.events == 60
    with uproot.open(path) as file:
        columns = file["events"].arrays(library="np")
    for name in (
        "lep1_PT",
        "lep1_PDG",
        "j1_M",
        "j1_B",
        "pho1_Eta",
        "MET",
        "weight",
        "true_leg1_PT",
        "leg2_PDG",
    ):
        assert len(columns[name]) == 60
    assert (columns["j1_PT"] > 30).all()
    assert (columns["pho1_PT"] > 25).all()
    assert (columns["j1_B"] == 0).all()


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        ("p p > w+ j, w+ > mu+ vm", {}, "parton_selection"),
        ("p p > t t~", {}, "let it decay"),
        ("p p > ta+ ta- b b~", {"parton_selection": {"pair_mass": 20}, "taus": "he"}, "hadrons"),
        (TEXT, {"response": {"photon": 0.1}}, "photon"),
    ],
)
def test_what_has_no_events_is_said(text: str, settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        draw_events(text, 10, 1, **settings)


def test_the_commands_say_sigma_and_write_events(tmp_path: Path) -> None:
    path = tmp_path / "wh.root"
    done = run(
        "cross-section", ONE_LEPTON, "--parton", "--set", "window=1000", "--precision", "0.02", "--json"
    )
    assert done.status == 0
    assert json.loads(done.out)["value"] == pytest.approx(0.0616, rel=0.06)
    asked = ["generate", ONE_LEPTON, "--parton", "--events", "20", "--output", str(path), "--selection", "{}"]
    assert run(*asked).status == 0
    with uproot.open(path) as file:
        assert file["events"].num_entries == 20
        said = json.loads(file["provenance"])
    assert said["parton"] is True
    assert said["model_sha256"] == load("sm").digest
    assert said["pdf_sha256"] == current(DEFAULT_DENSITY).sha256


def test_missing_momentum_is_what_the_recoil_leaves() -> None:
    """(K_meas − K)/σ is normal, K_meas = −(Σ measured + missing), without neutrinos, too."""
    response = {"lepton": 0.02, "bjet": 0.1, "recoil": {"c": 12.0, "b": 0.3}}
    drawn = draw_events("x=p p > z h, z > mu+ mu-, h > b b~", 300, 3, {"lepton_pt": 15}, response=response)
    size, phi = drawn.columns["MET"], drawn.columns["MET_Phi"]
    missing = np.stack([size * np.cos(phi), size * np.sin(phi)], axis=1)
    found = -(drawn.measured[..., 1:3].sum(axis=1) + missing)
    activity = np.hypot(drawn.measured[..., 1], drawn.measured[..., 2]).sum(axis=1)
    pull = (found + drawn.true[..., 1:3].sum(axis=1)) / np.sqrt(12.0**2 + 0.3**2 * activity)[:, None]
    assert abs(pull.mean()) < 4 / np.sqrt(pull.size)
    assert abs(pull.std() - 1) < 4 / np.sqrt(2 * pull.size)
