"""Weights that use the recoil: laws that lead to the other two ways, what is refused, and closure."""

from __future__ import annotations

import json
from typing import Any

import any_process
import jax
import numpy as np
import pytest
from higgs_strahlung import draw

from deepmem.errors import UsageError
from deepmem.physics.detector.detector import Recoil
from deepmem.physics.detector.entries import recoil_response
from deepmem.physics.detector.response import TransferError
from deepmem.physics.errors import ParameterError, UnknownNameError
from deepmem.physics.processes import chosen_process
from deepmem.physics.weights import engine
from deepmem.physics.weights.collinear import legs_along_beams, on_partons_with
from deepmem.physics.weights.event_columns import columns_of
from deepmem.physics.weights.gradient import weight_function
from deepmem.physics.weights.hypothesis import Hypothesis, hypothesis
from deepmem.physics.weights.leading_order import Disc, LeadingOrder, Spectrum, draw_events
from deepmem.physics.weights.visible import examined
from deepmem.selection import Selection

ZH, WH = (f"{name}={any_process.REACTIONS[name]}" for name in ("zh", "wh"))
JETS: dict[str, Any] = {"lepton": 0.0, "bjet": 0.12}
RECOIL = {"recoil": {"c": 12.0, "b": 0.3}}
CUTS = {"lepton_pt": 20, "lepton_eta": 2.5}


def events_of(process: str, count: int, seed: int = 1) -> dict[str, np.ndarray]:
    """Columns of events with missing pT, also where nothing escapes."""
    reaction = process.partition("=")[2]
    truth = any_process.truth(any_process.hypothesis(reaction, JETS), count, seed)
    momenta, chosen = truth.momenta.copy(), any_process.process(reaction)
    seen = [i for i, kind in enumerate(chosen.classes) if kind != "invisible"]
    energy, mass = truth.measured.energy, truth.measured.mass
    size = np.linalg.norm(momenta[:, seen, 1:], axis=-1)
    momenta[:, seen, 1:] *= (np.sqrt(energy**2 - mass**2) / size)[..., None]
    momenta[:, seen, 0] = energy
    missing = truth.recoil.missing - momenta[:, seen, 1:3].sum(axis=1)
    return columns_of(momenta, chosen.outgoing, missing)


def balanced(events: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same events with the missing pT with which K_meas is 0."""
    names = [name for name in ("lep1", "lep2", "j1", "j2") if f"{name}_PT" in events]
    x, y = (-sum(events[f"{n}_PT"] * f(events[f"{n}_Phi"]) for n in names) for f in (np.cos, np.sin))
    return events | {"MET": np.hypot(x, y), "MET_Phi": np.arctan2(y, x)}


def weights(process: str, events: dict[str, np.ndarray], seed: int = 0, **settings: Any) -> Any:
    precision, calls = settings.pop("precision", 0.01), settings.pop("calls", None)
    alpha = hypothesis(process, **settings)
    (found,) = engine.compute(alpha, events, precision=precision, calls=calls, seed=seed).values()
    return found


def agree(one: Any, other: Any, largest: float = 0.02) -> None:
    assert (one.value > 0).all()
    error = np.hypot(one.error, other.error)
    assert np.median(error / one.value) < largest
    assert np.abs((one.value - other.value) / error).max() < 4


@pytest.mark.parametrize(
    ("process", "response"),
    [
        (WH, JETS),
        pytest.param("ww_2l", {"lepton": 0.05}, marks=pytest.mark.long),
        pytest.param("higgs_ww_2l", {"lepton": 0.05}, marks=pytest.mark.long),
        pytest.param("ttbar_2l", {"lepton": 0.0, "bjet": 0.12}, marks=pytest.mark.long),
    ],
)
def test_a_sharp_recoil_of_zero_is_balance(process, response):
    """σ → 0 and K_meas = 0: N(0; K, σ) → δ²(K)."""
    events = events_of(process, 6) if process == WH else draw_events(process, 4, 3, CUTS).columns
    sharp, exact = (
        weights(process, balanced(events), **settings)
        for settings in ({"response": response | {"recoil": 0.02}}, {"response": response, "met": "balance"})
        if settings.setdefault("met", "recoil")
    )
    agree(sharp, exact)


@pytest.mark.parametrize(
    ("process", "perfect"),
    [
        (WH, {"lepton": 0.0, "bjet": 0.0}),
        pytest.param("ww_2l", {"lepton": 0.0}, marks=pytest.mark.long),
        pytest.param("ttbar_2l", {"lepton": 0.0, "bjet": 0.0}, marks=pytest.mark.long),
    ],
)
def test_with_perfect_visible_particles_it_is_the_response_of_missing_pt(process, perfect):
    """K_meas − K is then minus what missing pT is off by; H is the same, too."""
    events = events_of(process, 4) if process == WH else draw_events(process, 4, 3, CUTS).columns
    recoil = weights(process, events, response=perfect | RECOIL, met="recoil")
    agree(recoil, weights(process, events, response=perfect | {"met": RECOIL["recoil"]}))


def test_perfectly_measured_events_have_one_factor():
    """Without a variable left the weight is N(K_meas; K, σ) prior(K) times the one without recoil."""
    events, perfect = events_of(ZH, 5), {"lepton": 0.0, "bjet": 0.0}
    found = weights(ZH, events, response={**perfect, **RECOIL}, K0=25.0)
    names = ("lep1", "lep2", "j1", "j2")
    pt, phi = (np.stack([events[f"{name}_{each}"] for name in names]) for each in ("PT", "Phi"))
    sigma2 = 144 + 0.09 * pt.sum(axis=0)
    total = np.stack([(pt * np.cos(phi)).sum(axis=0), (pt * np.sin(phi)).sum(axis=0)])
    # −K_meas is the total with missing pT
    factor = np.exp(-(events["MET"] ** 2) / (2 * sigma2)) / (2 * np.pi * sigma2)
    factor = factor / (1 + (total**2).sum(axis=0) / 25.0**2) ** 2
    without = weights(ZH, events, response=perfect)
    np.testing.assert_allclose(found.value, without.value * factor, rtol=1e-9)


def test_a_recoil_constrains_jets_where_nothing_escapes():
    """A measured recoil as wide as anything leaves a weight as it is, up to its height; a sharp one does not."""
    events = events_of(ZH, 6)
    without = weights(ZH, events, response=JETS)
    wide = weights(ZH, events, response=JETS | {"recoil": 1e5})
    np.testing.assert_allclose(wide.value * 2 * np.pi * 1e10, without.value, rtol=0.02)
    sharp = weights(ZH, events, response=JETS | {"recoil": 8.0})
    assert np.ptp(np.log(sharp.value / without.value)) > 0.5


@pytest.mark.parametrize("process", [ZH, WH])
def test_a_wide_prior_is_flat(process):
    events = events_of(process, 4)
    flat, wide, narrow = (
        weights(process, events, response=JETS | RECOIL, **each) for each in ({}, {"K0": 1e5}, {"K0": 10.0})
    )
    np.testing.assert_allclose(wide.value, flat.value, rtol=1e-5)
    assert (narrow.value < 0.95 * flat.value).all()


@pytest.mark.parametrize("process", [pytest.param(ZH), pytest.param(WH, marks=pytest.mark.long)])
def test_errors_are_honest(process):
    """Two seeds: pulls about 1 wide."""
    events = events_of(process, 60, seed=3)
    one, two = (weights(process, events, seed, response=JETS | RECOIL, K0=20.0) for seed in (0, 1))
    good = (one.status == 0) & (two.status == 0)
    assert good.mean() > 0.9
    pulls = ((one.value - two.value) / np.hypot(one.error, two.error))[good]
    assert 0.6 < np.sqrt((pulls**2).mean()) < 1.2
    assert np.abs(pulls).max() < 5


# --- what a hypothesis says of it


def test_reactions_with_jets_use_it_where_its_response_is_configured():
    both = JETS | RECOIL | {"met": 9.0}
    found = hypothesis(WH, response=both)
    assert (found.met, found.detector.missing) == ("recoil", None)
    assert found.unit == "GeV^-5"
    chosen = hypothesis(WH, response=both, met="event")
    assert (chosen.met, chosen.detector.recoil) == ("event", None)
    assert hypothesis("ww_2l", response=RECOIL).met == "event"
    assert hypothesis("ttbar_2l", response=RECOIL).met == "recoil"
    assert hypothesis(ZH, response=JETS).met == "event"
    seen = hypothesis(ZH, response=JETS | RECOIL)
    assert seen.columns[-2:] == ("MET", "MET_Phi")
    assert (seen.unit, hypothesis(ZH, response=JETS).unit) == ("GeV^-6", "GeV^-4")


@pytest.mark.parametrize("process", [ZH, WH])
def test_what_identifies_a_weight_makes_it_again(process):
    alpha = hypothesis(process, response=JETS | RECOIL, K0=30.0)
    said = json.loads(json.dumps(alpha.to_dict()))
    assert said["responses"]["recoil"] == RECOIL["recoil"] | {"K0": 30.0}
    assert said["met"] == "recoil"
    assert Hypothesis.from_dict(said).to_dict() == alpha.to_dict()
    assert (
        hypothesis(process, response=JETS | {"recoil": {"c": 12.0, "b": 0.3, "K0": 31.0}}).to_dict() != said
    )


def test_an_event_needs_missing_pt():
    """Also where nothing escapes: −K_meas is what missing pT leaves of the measured ones."""
    events, alpha = events_of(ZH, 3), hypothesis(ZH, response=JETS | RECOIL)
    found, _ = examined(alpha, events)
    names = ("lep1", "lep2", "j1", "j2")
    x = sum(events[f"{n}_PT"] * np.cos(events[f"{n}_Phi"]) for n in names)
    assert found.missing is not None
    np.testing.assert_allclose(found.missing[:, 0], x + events["MET"] * np.cos(events["MET_Phi"]))
    events["MET"] = np.array([np.nan, *events["MET"][1:]])
    assert weights(ZH, events, response=JETS | RECOIL).status.tolist() == [3, 0, 0]
    del events["MET"]
    with pytest.raises(UsageError, match="MET"):
        engine.compute(alpha, events)


@pytest.mark.parametrize(
    ("process", "settings", "error", "said"),
    [
        (WH, {"met": "recoil"}, ParameterError, "needs the response of the recoil"),
        (
            WH,
            {"met": "recoil", "response": {"met": 10.0}},
            ParameterError,
            "needs the response of the recoil",
        ),
        (WH, {"K0": 20.0}, ParameterError, "has no response"),
        (WH, {"K0": 20.0, "response": {"recoil": {"c": 9, "K0": 30}}}, ParameterError, "leave one out"),
        (WH, {"K0": -1.0, "response": {"recoil": 9}}, TransferError, "recoil.K0"),
        (WH, {"K0": "wide", "response": {"recoil": 9}}, TransferError, "recoil.K0"),
        (WH, {"response": {"recoil": {"c": 9, "K": 30}}}, TransferError, "recoil.K: unknown key"),
        (WH, {"response": {"recoil": 0}}, TransferError, "response.recoil: needs b"),
        (ZH, {"met": "balance"}, ParameterError, "met must be event or recoil"),
        ("drell_yan", {"met": "recoil"}, UnknownNameError, "met"),
        ("drell_yan", {"response": {"bjet": 0.1}}, TransferError, "response.bjet: there is no bjet in this"),
        (ZH, {"response": {"jet": 0.1, "lepton": 0.0}}, TransferError, "and bjet has no response"),
        (ZH, {"response": {"jets": 0.1}}, TransferError, "did you mean 'jet'"),
    ],
)
def test_what_makes_no_sense_is_refused(process, settings, error, said):
    with pytest.raises(error, match=said):
        hypothesis(process, **settings)


def test_derivatives_are_refused():
    with pytest.raises(UsageError, match="has jets"):
        weight_function(hypothesis(ZH, response=JETS | RECOIL), np.zeros((1, 1)), np.ones(1))


def test_response_of_the_recoil():
    made = recoil_response({"c": 10, "b": 0.5, "K0": 20})
    assert recoil_response(made.to_dict()).to_dict() == made.to_dict()
    assert "K0" not in Recoil(c=3.0).to_dict()
    with jax.enable_x64(True):
        assert made.prior((0.0, 20.0)) == pytest.approx(0.25)
        assert made.sigma(40.0) == pytest.approx(np.sqrt(110))


# --- events and closure


def test_events_have_the_missing_pt_of_their_recoil():
    """Measured |Σ pT| with missing pT is K within its noise, whatever the jets are measured as."""
    cuts, wide = {"jet_pt": 20}, {"bjet": 0.25, "recoil": {"c": 0.5}}
    drawn = draw_events("ttbar_2l", 400, 2, cuts, response=wide, spectrum=0.0)
    at = drawn.columns
    names = ("lep1", "lep2", "j1", "j2")
    for f in (np.cos, np.sin):
        total = sum(at[f"{n}_PT"] * f(at[f"{n}_Phi"]) for n in names) + at["MET"] * f(at["MET_Phi"])
        assert total.std() == pytest.approx(0.5, rel=0.2)


def test_events_follow_the_prior():
    response = {"recoil": {"c": 5.0, "K0": 33.0}}
    assert LeadingOrder("ttbar_2l", response=response).spectrum == Spectrum(33.0)
    assert LeadingOrder("ttbar_2l", response={"recoil": 5.0}, K0=33.0).spectrum == Spectrum(33.0)
    assert LeadingOrder("ttbar_2l", response=response, met="event").spectrum == Spectrum(20.0)
    for settings in ({"spectrum": 20.0}, {"spectrum": Disc(50.0)}, {"recoil": 20.0}):
        with pytest.raises(ParameterError, match="leave spectrum or K0 out"):
            LeadingOrder("ttbar_2l", response=response, **settings)
    with pytest.raises(ParameterError, match="leave recoil out"):
        LeadingOrder("ttbar_2l", spectrum=20.0, recoil=20.0)
    with pytest.raises(ParameterError, match="needs the response"):
        LeadingOrder("ttbar_2l", met="recoil")
    with pytest.raises(UnknownNameError, match="met"):
        LeadingOrder("drell_yan", met="event")


@pytest.mark.parametrize(
    ("process", "median"),
    [
        (ZH, None),
        pytest.param(ZH, 20.0, marks=pytest.mark.long),
        pytest.param(WH, 20.0, marks=pytest.mark.long),
    ],
)
def test_statement_5_of_reactions(process, median):
    """⟨W_B/W_A⟩ over events of A is N_B/N_A, B with a Higgs boson 3 GeV heavier; with the prior in both."""
    settings: dict[str, Any] = {"response": JETS | RECOIL, "K0": median, "Q": 125.0}
    one, other = (
        draw(hypothesis(process, MH=mass, **settings), 60_000, 1, radius=120.0, kept=50.0)
        for mass in (125.0, 128.0)
    )
    # both have the same numbers, so it is the spread of the ratio that counts
    ratios = np.array([other.weight[k::16].sum() / one.weight[k::16].sum() for k in range(16)])
    expected, spread = other.weight.sum() / one.weight.sum(), ratios.std(ddof=1) / 4
    scan = hypothesis(process, MH=[125.0, 128.0], **settings)
    events = one.events(scan, 200, 3)
    first, second = engine.compute(scan, events, precision=0.05, calls=1 << 17).values()
    ratio = second.value / first.value
    error = np.hypot(ratio.std() / np.sqrt(len(ratio)), spread)
    assert error < 0.025
    assert abs(ratio.mean() - expected) < 3 * error
    assert abs(expected - 1) > 0.02


def test_one_detector_serves_many_processes():
    """What is of particles that a process does not have is left out of it."""
    response = {
        "lepton": 0.01,
        "bjet": 0.1,
        "jet": 0.12,
        "photon": 0.02,
        "met": {"c": 9},
        "recoil": {"c": 12},
    }
    for process, known in (("drell_yan", {"lepton"}), ("ttbar_2l", {"lepton", "bjet", "recoil"})):
        assert hypothesis(process, response=response).detector.to_dict().keys() == known


WJ = "u d~ > w+ g, w+ > mu+ vm"
ALONG_A_BEAM = {
    "lep1_PT": 48.0, "lep1_Eta": 0.8, "lep1_Phi": 0.9, "lep1_Charge": 1.0,
    "j1_PT": 40.0, "j1_Eta": 1.5, "j1_Phi": 0.0, "j1_M": 0.0, "MET": 48.0, "MET_Phi": -0.9,
}  # fmt: skip


def test_a_jet_that_may_be_the_recoil_has_a_least_pt():
    """∫ d²K / p_T²: each halving of the least p_T adds as much again, so that without one W is infinite."""
    event = {name: np.array([value]) for name, value in ALONG_A_BEAM.items()}
    response = {"lepton": 0.0, "jet": 0.1, "recoil": {"c": 15, "K0": 30}}
    half, one, two, ten, usual = (
        weights(WJ, event, response=response, **least)
        for least in (*({"parton_pt": pt} for pt in (0.5, 1, 2, 10)), {})
    )
    assert (half.status == 0).all()
    added = (half.value - one.value) / (one.value - two.value)
    np.testing.assert_allclose(added, 1, atol=0.15)
    assert ten.value < 0.05 * one.value
    assert usual.value == ten.value


def test_legs_with_a_least_pt():
    """Not those of resonances, nor where what is exchanged has a mass; and massless b quarks."""
    legs = {
        name: legs_along_beams(chosen_process(name, {}, summed=True))
        for name in (
            "wjj",
            "zjj",
            "diphoton",
            "higgs_diphoton",
            "single_top_t",
            "ttbar_1l",
            "zbb",
            "ttbar_2l",
        )
    }
    assert legs == {"wjj": (2, 3), "zjj": (2, 3), "diphoton": (0, 1)} | dict.fromkeys(list(legs)[3:], ())
    gluon = "p p > t t~ g, (t > w+ b, w+ > mu+ vm), (t~ > w- b~, w- > d u~)"
    assert legs_along_beams(chosen_process(gluon, {}, summed=True)) == (6,)
    with pytest.raises(UsageError, match="a selection of partons can't tell which"):
        on_partons_with(Selection(), chosen_process(gluon, {}, summed=True), 10.0)
    cuts = on_partons_with(Selection(jet_pt=(30.0, 5.0)), chosen_process("wjj", {}, summed=True), 10.0)
    assert cuts.jet_pt == (30.0, 10.0)


def test_what_a_least_pt_depends_on():
    response = {"jet": 0.1, "recoil": {"c": 15, "K0": 30}}
    assert hypothesis(WJ, response=response).parton_pt == 10
    assert hypothesis(WJ).parton_pt == 0
    for said in ({}, {"parton_pt": 0}, {"parton_pt": 4}):
        alpha = hypothesis(WJ, response=response, **said)
        assert Hypothesis.from_dict(json.loads(json.dumps(alpha.to_dict()))).to_dict() == alpha.to_dict()
    assert len({hypothesis(WJ, response=response, parton_pt=pt).to_dict()["parton_pt"] for pt in (0, 4)}) == 2


@pytest.mark.parametrize(
    ("process", "given", "said"),
    [
        (WJ, -1, "must be in GeV"),
        (WJ, "ten", "must be in GeV"),
        (WH, 10, "has no effect on"),
    ],
)
def test_a_least_pt_that_makes_no_sense(process, given, said):
    with pytest.raises(ParameterError, match=said):
        hypothesis(process, parton_pt=given)
