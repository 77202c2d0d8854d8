"""Lost jets: maps of a leg that is not seen, sums over the legs that it may be, σ_vis of such events."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import any_process
import jax
import numpy as np
import pytest
from conftest import write_tree
from scipy.stats import norm

from deepmem.data.weights import read_provenance, read_weights
from deepmem.errors import UsageError
from deepmem.jobs import exact
from deepmem.jobs.combining import read_named
from deepmem.physics.detector.entries import detector
from deepmem.physics.errors import ParameterError, PlanError
from deepmem.physics.phasespace.composed.fit import fits
from deepmem.physics.phasespace.composition import Composition
from deepmem.physics.phasespace.visible import Acceptance
from deepmem.physics.precision import double_precision
from deepmem.physics.weights import engine
from deepmem.physics.weights.any_reaction import Sampler
from deepmem.physics.weights.composed import composition_of
from deepmem.physics.weights.contributions import contributions
from deepmem.physics.weights.hypothesis import Hypothesis, hypothesis
from deepmem.physics.weights.partonic import shared_by_events
from deepmem.physics.weights.plan import plan_for
from deepmem.physics.weights.preparation import prepare
from tests.physics.test_composed_maps import derivatives, mixture_over_shape, points_of, size_of

R = 0.12
CUTS = {"jet_pt": [40, 25], "jet_eta": 2.5, "jet_delta_r": 0.4}
ACCEPTANCE = Acceptance(0.05, 25.0, 2.5, 0.4)
RESPONSES = {"lepton": 0.0, "bjet": R, "jet": R, "recoil": {"c": 15.0}, "met": {"c": 15.0}}
SINGLE_TOP = "u d~ > t b~, (t > w+ b, w+ > mu+ vm)"
ZH = "u u~ > z h, z > mu+ mu-, h > b b~"
# reaction, met, the leg that is lost, what its map says
MAPS = {
    "b of H": (any_process.REACTIONS["zh"], "event", 3, "s(h) gives E(b~), which is lost, at a direction"),
    "jet of W in t": (any_process.REACTIONS["gg_tt"], "recoil", 4, "s(w-) and s(t~) give u~, which is lost"),
    "b beside ν": (any_process.REACTIONS["gg_tt"], "recoil", 2, "s(t) gives E(b), which is lost"),
    "b of nothing": (SINGLE_TOP, "recoil", 3, "b~ is lost, its momentum by where it is lost"),
}
# one lepton and two jets of a single top, and the momentum that is missing
EVENT = {
    "lep1_PT": 40.0, "lep1_Eta": 0.21, "lep1_Phi": 0.84, "lep1_Charge": 1.0, "lep1_PDG": -13.0,
    "j1_PT": 85.0, "j1_Eta": -0.6, "j1_Phi": 2.51, "j1_M": 4.7, "MET": 46.0, "MET_Phi": -2.0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@cache
def prepared(name: str) -> tuple[Hypothesis, Composition, Any, Any]:
    """The hypothesis, its composition, what events share, and two events with their fit."""
    reaction, met, leg, _ = MAPS[name]
    kinds = [kind for kind in RESPONSES if kind != "jet" or "d u~" in reaction]
    alpha = any_process.hypothesis(reaction, {kind: RESPONSES[kind] for kind in kinds}, met)
    alpha = replace(alpha, lost=ACCEPTANCE)
    found, truth, shared = composition_of(alpha, leg), any_process.truth(alpha, 2), shared_by_events(alpha)
    assert isinstance(found, Composition)
    measured = truth.recoil if met == "recoil" else truth.measured
    events = prepare(alpha, plan_for(alpha, lost=leg), shared, measured)
    return alpha, found, shared, events.choosing(fit=fits(found, shared, events))


def lost_part(momentum: np.ndarray, mass: float, others: list[np.ndarray]) -> np.ndarray:
    """P_lost by the formula, for a Gaussian of σ = rE."""
    pt, size = np.hypot(momentum[1], momentum[2]), size_of(momentum)
    eta, phi = np.arcsinh(momentum[3] / pt), np.arctan2(momentum[2], momentum[1])
    least = np.hypot(ACCEPTANCE.pt * size / pt, mass)
    seen = norm.sf((least - momentum[0]) / (R * momentum[0])) * (np.abs(eta) < ACCEPTANCE.eta)
    apart = np.ones_like(pt, dtype=bool)
    for other in others:
        turn = np.abs(phi - np.arctan2(other[2], other[1]))
        there = np.arcsinh(other[3] / np.hypot(other[1], other[2]))
        apart &= np.hypot(eta - there, np.minimum(turn, 2 * np.pi - turn)) > ACCEPTANCE.delta_r
    return (1 - (1 - ACCEPTANCE.loss) * seen) * apart


@pytest.mark.parametrize(
    "name",
    [
        each if each in ("jet of W in t", "b of nothing") else pytest.param(each, marks=pytest.mark.long)
        for each in MAPS
    ],
)
def test_density_is_that_of_the_momenta(name):
    """Also where a leg is lost: P_lost d³p/(2E (2π)³) beside what is seen, by finite differences."""
    _, found, shared, events = prepared(name)
    assert MAPS[name][3] in found.describe()
    event, tree, lost = jax.tree.map(lambda leaf: leaf[0], events), found.tree, MAPS[name][2]
    u = np.random.default_rng(3).uniform(0.02, 0.98, (64, found.dimensions))
    values, density = points_of(found, shared, event, u)
    slopes = derivatives(found, shared, event, u)
    seen = [i for i in tree.visible if i != lost]
    smeared = [i for i in seen if tree.legs[i].kind != "lepton"]
    columns = []
    for slope in slopes:
        parts = [(values[i, 1:] * slope[i, 1:]).sum(axis=0) / size_of(values[i]) for i in smeared]
        for i in (*tree.invisible, lost):
            parts += list(slope[i, 1:])
        columns.append(np.stack(parts, axis=-1))
    expected = np.abs(np.linalg.det(np.stack(columns, axis=-1)))
    if found.neutrino is not None and len(found.neutrino.masses) == 1:
        place = found.mass_variable(found.neutrino.masses[0])
        expected = expected * mixture_over_shape(found, shared, values, slopes[place])
    for i in seen:
        place = tree.visible.index(i)
        energy, size, rec = values[i, 0], size_of(values[i]), event.legs.energy[place]
        expected = expected * size * event.legs.sine[place] / (2 * (2 * np.pi) ** 3)
        if i in smeared:
            inside = np.abs(energy / rec - 1) < 5 * R
            expected = expected * size / energy * norm.pdf(rec, energy, R * energy) * inside
    for i in (*tree.invisible, lost):
        expected = expected / (2 * values[i, 0] * (2 * np.pi) ** 3)
    mass = float(event.legs.mass[tree.visible.index(lost)])
    expected = expected * lost_part(values[lost], mass, [values[i] for i in seen])
    if tree.invisible:
        source = values[[*seen, *tree.invisible], 1:3].sum(axis=0)
        aim = np.asarray(event.missing)[:, None, None]
        expected = expected * norm.pdf(source, aim, 15.0).prod(axis=0)
    there = density > 0
    assert there.mean() > 0.3
    ratio = density[there] / expected[there]
    assert np.median(np.abs(ratio - 1)) < 1e-5
    assert np.quantile(np.abs(ratio - 1), 0.8) < 1e-3


@pytest.mark.parametrize(
    "entry",
    [
        0.12,
        {"kind": "double_gaussian", "fraction": 0.2, "core": {"a": 0.14}, "tail": {"a": 0.25, "bias": -0.1}},
        {"kind": "crystal_ball", "a": 0.1, "alpha": 1.5, "n": 4.0},
        {"kind": "function", "function": "any_process:broad", "low": 0.4, "high": 1.6},
        {
            "kind": "binned",
            "gen_edges": [0, 50, 200],
            "difference_edges": [-30, -20, 0, 20, 30],
            "density": [[0.001, 0.02, 0.028, 0.003], [0.002, 0.03, 0.0185, 0.001]],
        },
    ],
)
def test_what_is_measured_above_an_energy(entry):
    """The response's integral from there on."""
    response = detector({"jet": entry}, ("jet",), False).by_class["jet"].at(0.0)
    density, above = (jax.jit(lambda *at, f=f: f(*at)) for f in (response.density, response.above))
    with double_precision():
        for gen, rec in ((30.0, 25.0), (30.0, 34.0), (60.0, 45.0), (20.0, 90.0)):
            upto = np.linspace(rec, max(rec, 6 * gen), 200_001)
            middle = (upto[1:] + upto[:-1]) / 2
            expected = float((np.asarray(density(middle, gen)) * np.diff(upto)).sum())
            assert float(above(rec, gen)) == pytest.approx(expected, abs=2e-4)


@cache
def single_top(**settings: Any) -> Hypothesis:
    chosen = {"bjet": R, "lepton": 0.0, "recoil": {"c": 15.0}}
    return hypothesis(f"x={SINGLE_TOP}", response=chosen, lost=1, selection=CUTS, **settings)


def events(**columns: float) -> dict[str, np.ndarray]:
    return {name: np.array([value]) for name, value in (EVENT | columns).items()}


def test_all_legs_may_be_the_lost_one():
    """W is the sum over them, each as its own plan has it; the jet is what is left."""
    alpha = single_top()
    whole = engine.compute(alpha, events(), precision=0.03, assignments=True)["x"]
    parts, _ = contributions(alpha, events())
    assert [each.lost for each in parts if len(each.event)] == [2, 3]
    found = [
        any_process.estimate(each.alpha, plan_for(alpha, lost=each.lost), each.measured, 0.02)
        for each in parts
        if len(each.event)
    ]
    value, error = sum(each.value[0, 0] for each in found), np.hypot(*(each.error[0, 0] for each in found))
    assert whole.status[0] == 0
    assert whole.lost is not None
    assert whole.role is not None
    assert whole.share is not None
    assert whole.lost[0] == 1
    assert abs(whole.value[0] - value) < 4 * np.hypot(error, whole.error[0])
    assert error < 0.05 * value
    shares = [each.value[0, 0] / value for each in found]
    assert whole.share[0, 0] == pytest.approx(max(shares), abs=0.1)
    assert whole.role[0, 0] == [3, 2][int(np.argmax(shares))]


def test_an_event_is_the_same_among_others_and_however_the_jet_is_absent():
    alpha = single_top()
    absent = dict.fromkeys(("j2_PT", "j2_Eta", "j2_Phi", "j2_M"), np.nan)
    other = {"j2_PT": 40.0, "j2_Eta": 0.4, "j2_Phi": -1.1, "j2_M": 4.7}
    many = [events(**each) for each in (other, absent, absent | {"lep1_PT": 55.0})]
    together = {name: np.concatenate([each[name] for each in many]) for name in many[0]}
    swapped = {f"j{3 - int(k[1])}{k[2:]}" if k[0] == "j" else k: v for k, v in many[1].items()}
    numbers = np.array([5])
    one = engine.compute(alpha, events(), precision=0.03, entries=numbers)["x"]
    for found in (
        engine.compute(alpha, together, precision=0.03, entries=np.array([4, 5, 6]))["x"][1:2],
        engine.compute(alpha, swapped, precision=0.03, entries=numbers)["x"],
    ):
        assert found.value[0] == one.value[0]
        assert found.error[0] == one.error[0]
    lost = engine.compute(alpha, together, precision=0.1)["x"].lost
    assert lost is not None
    assert lost.tolist() == [0, 1, 1]


def test_files_say_which_events_have_lost_a_jet(tmp_path: Path):
    """The selection of a configuration is where jets are lost; analyses refuse both kinds in one file."""
    absent = dict.fromkeys(("j2_PT", "j2_Eta", "j2_Phi", "j2_M"), np.nan)
    other = {"j2_PT": 40.0, "j2_Eta": 0.4, "j2_Phi": -1.1, "j2_M": 4.7}
    many = [events(**each) for each in (other, absent)]
    table = {name: np.concatenate([each[name] for each in many]) for name in many[0]}
    write_tree(tmp_path / "in.root", table)
    response = {"bjet": R, "lepton": 0.0, "recoil": {"c": 15.0}}
    config = {"lost": 1, "selection": CUTS, "response": response, "processes": {"x": SINGLE_TOP}}
    path = tmp_path / "w.root"
    exact.compute_files([str(tmp_path / "in.root")], path, (), config=config, precision=0.1)
    found = read_weights(path, "x")
    assert found.lost is not None
    assert found.lost.tolist() == [0, 1]
    expected = engine.compute(single_top(), table, precision=0.1)["x"]
    np.testing.assert_array_equal(found.value, expected.value)
    (entry,) = read_provenance(path)["hypotheses"]
    assert entry["lost"]["jet_pt"] == 25.0
    with pytest.raises(UsageError, match="events with a lost jet beside others"):
        read_named([str(path)], ["x"])


def test_tags_are_of_the_jets_that_are_there():
    """A lost leg has no factor: with probabilities 0 and 1 for b quarks a tagged jet says nothing."""
    tagged = events(j1_B=1.0)
    found = {
        name: engine.compute(single_top(**settings), tagged, precision=0.03)["x"].value[0]
        for name, settings in {
            "hard": {},
            "ignored": {"tags": "ignore"},
        }.items()
    }
    assert found["hard"] == found["ignored"]
    tagging = hypothesis(
        f"x={SINGLE_TOP}",
        response={"bjet": R, "lepton": 0.0, "recoil": {"c": 15.0}},
        lost=1,
        selection=CUTS,
        tagging={"b": 0.5, "c": 0.1, "light": 0.01},
    )
    half = engine.compute(tagging, tagged, precision=0.03)["x"].value[0]
    assert half == pytest.approx(found["hard"] / 2, rel=1e-9)


@pytest.mark.long
def test_the_weight_with_all_jets_integrates_to_that_with_a_lost_one():
    """Over E_rec, θ, φ of a second jet outside of the selection; each of two legs may be the lost one."""
    jets = {"bjet": R, "lepton": 0.0}
    cuts = CUTS | {"jet_pt": 25}
    leptons = {"lep1": (60.0, 0.3, 0.5, 1.0, -13.0), "lep2": (50.0, -0.4, 2.6, -1.0, 13.0)}
    one = {
        f"{name}_{column}": value
        for name, values in leptons.items()
        for column, value in zip(("PT", "Eta", "Phi", "Charge", "PDG"), values, strict=True)
    } | {"j1_PT": 90.0, "j1_Eta": 0.6, "j1_Phi": -2.0, "j1_M": 4.7}
    alpha = hypothesis(f"x={ZH}", response=jets, lost=1, selection=cuts)
    lost = engine.compute(alpha, {k: np.array([v]) for k, v in one.items()}, precision=0.005)["x"]
    count = 20_000
    u = np.random.default_rng(1).random((3, count))
    eta, phi = 2.5 * np.arctanh(2 * u[0] - 1), 2 * np.pi * u[1] - np.pi
    central = np.abs(eta) < 2.5
    pt = np.where(central, 25 * np.sqrt(u[2]), 40 * np.sqrt(u[2] / (1 - u[2])))
    of_pt = np.where(central, 25**2 / (2 * pt), 40**2 / (2 * pt * (1 - u[2]) ** 2))
    energy = np.hypot(pt * np.cosh(eta), 4.7)
    # dE dθ dφ, with dθ = dη/cosh η
    measure = 2 * np.pi * 5 * np.cosh(eta / 2.5) ** 2 * of_pt * pt * np.cosh(eta) / energy
    for there, around in ((0.3, 0.5), (-0.4, 2.6), (0.6, -2.0)):
        turn = np.abs((phi - around + np.pi) % (2 * np.pi) - np.pi)
        measure = np.where(np.hypot(eta - there, turn) > 0.4, measure, 0.0)
    many = {name: np.full(count, value) for name, value in one.items()}
    # E_rec is all that counts; a mass above the momentum would be no jet's
    many |= {"j2_PT": energy / np.cosh(eta), "j2_Eta": eta, "j2_Phi": phi, "j2_M": np.zeros(count)}
    all_jets = engine.compute(hypothesis(f"x={ZH}", response=jets), many, precision=0.1, calls=1 << 14)["x"]
    assert (all_jets.status[np.abs(eta) < 9] != 3).mean() > 0.999
    values = 2 * np.nan_to_num(all_jets.value) * measure
    error = np.hypot(values.std() / np.sqrt(count), lost.error[0])
    assert error < 0.04 * lost.value[0]
    assert abs(values.mean() - lost.value[0]) < 3 * error


def test_visible_cross_section_counts_events_with_one_lost_jet():
    """Σ_ℓ (1 − (1 − loss) [ℓ is seen]) [all others are]: with a loss, events with all jets have a part."""
    jets = {"bjet": R, "lepton": 0.02}
    seen = {}
    for loss in (0.0, 0.1):
        sampler = Sampler(f"x={ZH}", CUTS, response=jets, lost={"loss": loss})
        u = np.random.default_rng(3).random((sampler.parts[0].part.maps[0].dimensions, 4000))
        points = sampler.parts[0].points(0, u, (0,))
        assert sampler.view is not None
        looked = sampler.view.see(points.momenta, np.random.default_rng(4))
        codes = sampler.parts[0].part.finals[0][0]
        seen[loss] = sampler.view.passed(looked, [codes])[0]
        pt = np.hypot(looked.measured[:, 2:, 1], looked.measured[:, 2:, 2])
        eta = np.arcsinh(looked.true[:, 2:, 3] / np.hypot(looked.true[:, 2:, 1], looked.true[:, 2:, 2]))
        inside = (pt > 25) & (np.abs(eta) < 2.5)
    lost = seen[0.0]
    assert set(np.unique(lost)) == {0.0, 1.0}
    assert (inside.sum(axis=1)[lost > 0] == 1).all()
    # the leading jet that is left is above the first threshold
    assert (np.where(inside, pt, 0).max(axis=1)[lost > 0] > 40).all()
    further = seen[0.1] - lost
    both = inside.all(axis=1)
    assert set(np.round(np.unique(further[both]), 6)) == {0.0, 0.1, 0.2}
    assert not further[~both].any()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"lost": 1}, "give the selection of the events, with jet_pt and jet_eta"),
        ({"lost": 1, "selection": {"jet_pt": 25}}, "with jet_pt and jet_eta"),
        ({"lost": 1, "selection": {"jet_pt": [30, 0], "jet_eta": 2.5}}, "with jet_pt and jet_eta"),
        ({"lost": 2, "selection": CUTS}, "lost must be 1"),
        ({"lost": {"legs": 1, "loss": 1.0}, "selection": CUTS}, "a loss from 0 to below 1"),
        ({"lost": {"probability": 0.1}, "selection": CUTS}, "lost must be 1"),
        ({"lost": 1, "selection": CUTS | {"bjet_pt": 30}}, "not selection.bjet_pt"),
        ({"lost": 1, "selection": CUTS, "extra_jets": "choose"}, "leave one out"),
        ({"selection": CUTS}, "without lost no weight depends on it"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, says):
    with pytest.raises(ParameterError, match=says):
        hypothesis(f"x={SINGLE_TOP}", **settings)


@pytest.mark.parametrize(
    ("reaction", "settings", "says"),
    [
        ("x=u d~ > w+ g, w+ > mu+ vm", {}, "infinite where it is soft"),
        (f"x={SINGLE_TOP}", {"met": "balance"}, "met=balance has no map for a lost jet"),
        ("x=g g > t t~, (t > w+ b, w+ > e+ ve), (t~ > w- b~, w- > mu- vm~)", {}, "does not know lost jets"),
    ],
)
def test_legs_that_can_not_be_lost_are_refused(reaction, settings, says):
    alpha = hypothesis(reaction, lost=1, selection=CUTS, **settings)
    with pytest.raises(PlanError, match=says):
        engine.compute(alpha, events())


def test_where_jets_are_lost_identifies_a_weight():
    alpha = single_top()
    entry = alpha.describe()
    assert entry["lost"] == {"legs": 1, "loss": 0.0, "jet_pt": 25.0, "jet_eta": 2.5, "jet_delta_r": 0.4}
    assert entry["unit"] == "GeV^-5"
    assert entry["unit_with_a_lost_jet"] == "GeV^-4"
    again = Hypothesis.from_dict(entry)
    assert again.to_dict() == alpha.to_dict()
    assert single_top(sqrt_s=13000.0) == alpha
    with pytest.raises(UsageError, match="unknown parameter"):
        hypothesis("drell_yan", lost=1, selection=CUTS)
