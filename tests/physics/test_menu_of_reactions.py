"""The menu's lines that are reactions: the weight of each is the sum of its definite final states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepmem.event import Weight
from deepmem.physics.processes import REACTIONS, chosen_process
from deepmem.physics.weights import engine
from deepmem.physics.weights.hypothesis import Hypothesis, hypothesis
from deepmem.physics.weights.overview import overview
from tests.commands import run
from tests.physics import any_process

RESPONSE = {"lepton": 0.0, "jet": 0.12, "bjet": 0.12}
TOPS = "(t > w+ b, w+ > e+ ve), (t~ > w- b~, w- > d u~)"
TWO_LEPTONS = "(t > w+ b, w+ > mu+ vm), (t~ > w- b~, w- > e- ve~)"
# One definite final state of each that e⁺ (μ⁺ of one, e⁺e⁻, or μ⁺μ⁻) chooses; how many of equal weight there
# are; Q. Those with electrons have the map of the sum, which has been compiled.
DEFINITE: dict[str, tuple[str, int, float | None]] = {
    "ttbar_1l": (f"p p > t t~, {TOPS}", 2, None),
    "ttbar_0l": ("p p > t t~, (t > w+ b, w+ > u d~), (t~ > w- b~, w- > d u~)", 4, None),
    "tth_bb_1l": (f"p p > t t~ h, {TOPS}, h > b b~", 2, None),
    "ttbb_1l": (f"p p > t t~ b b~, {TOPS}", 2, None),
    "tth_bb_2l": (f"p p > t t~ h, {TWO_LEPTONS}, h > b b~", 1, None),
    "ttbb_2l": (f"p p > t t~ b b~, {TWO_LEPTONS}", 1, None),
    "ttw_2l": (f"p p > t t~ w+, {TOPS.replace('e+ ve', 'mu+ vm')}, w+ > mu+ vm", 2, None),
    "ttz_1l": (f"p p > t t~ z, {TOPS}, z > e+ e-", 2, None),
    "single_top_s": ("p p > t b~, (t > w+ b, w+ > mu+ vm)", 1, None),
    "single_top_t": ("p p > t j, (t > w+ b, w+ > e+ ve)", 1, None),
    "wh_bb": ("p p > w+ h, w+ > e+ ve, h > b b~", 1, None),
    "zh_bb": ("p p > z h, z > e+ e-, h > b b~", 1, None),
    "zbb": ("p p > mu+ mu- b b~", 1, 91.188),
    "wz_3l": ("p p > e+ ve mu+ mu-", 1, 91.188),
    "ww_2l_full": ("p p > e+ ve mu- vm~", 1, 80.419),
}
# An event of each; its reaction with some jets, by labels; which together are all.
OF_JETS: dict[str, tuple[str, str, dict[str, str], tuple[str, ...]]] = {
    "wjj": (
        "u d~ > mu+ vm g g",
        "p p > mu+ vm {}",
        {"q": "u d s c u~ d~ s~ c~"},
        ("g g", "q g", "q q"),
    ),
    "zjj": (
        "u u~ > e+ e- g g",
        "p p > e+ e- {}",
        {"q": "u d s c u~ d~ s~ c~"},
        ("g g", "q g", "q q"),
    ),
    "vbf_higgs_4l": (
        "u d > h u d QCD=0, h > e+ e- mu+ mu-",
        "p p > h {} QCD=0, h > e+ e- mu+ mu-",
        {"q": "u c u~ c~", "r": "d s d~ s~"},
        ("q q", "q r", "r r"),
    ),
}
OTHERS = ("diphoton", "higgs_diphoton", "z_tautau", "higgs_tautau")  # in test_photons.py, test_taus.py
SLOW = {"ttbar_0l", "tth_bb_1l", "ttbb_1l", "tth_bb_2l", "ttbb_2l", "ttz_1l", "ttw_2l", "zbb"}
# one more case of what single_top_t and wh_bb say
SLOW |= {"single_top_s", "zh_bb"}


def event_of(alpha: Hypothesis, seed: int = 3) -> dict[str, np.ndarray]:
    """An event of a definite process as columns; jets of b quarks are tagged."""
    process = alpha.process
    measured = any_process.truth(alpha, 1, seed, noise=3.0).measured
    columns: dict[str, float] = {}
    leptons = jets = 0
    for i, (code, kind) in enumerate(zip(process.visible, process.visible_classes, strict=True)):
        energy, eta, phi, mass = (
            float(array[0, i]) for array in (measured.energy, measured.eta, measured.phi, measured.mass)
        )
        polar = (np.sqrt(energy**2 - mass**2) / np.cosh(eta), eta, phi)
        if kind == "lepton":
            leptons += 1
            name, more = f"lep{leptons}", {"Charge": -np.sign(code), "PDG": code}
        else:
            jets += 1
            name, more = f"j{jets}", {"M": mass, "B": float(kind == "bjet")}
        own = dict(zip(("PT", "Eta", "Phi"), polar, strict=True)) | more
        columns |= {f"{name}_{quantity}": float(value) for quantity, value in own.items()}
    if measured.missing is not None:
        px, py = measured.missing[0]
        columns |= {"MET": float(np.hypot(px, py)), "MET_Phi": float(np.arctan2(py, px))}
    return {name: np.array([value]) for name, value in columns.items()}


def weight(
    alpha: Hypothesis, events: dict[str, np.ndarray], seed: int = 0, neutrinos: bool = False
) -> Weight:
    (found,) = engine.compute(alpha, events, precision=0.03, seed=seed, neutrinos=neutrinos).values()
    return found


def made(process: str, **settings: Any) -> Hypothesis:
    kinds = chosen_process(process, dict(settings), summed=True).visible_classes
    return hypothesis(process, response={k: r for k, r in RESPONSE.items() if k in kinds}, **settings)


def test_every_line_is_checked():
    assert DEFINITE.keys() | {*OF_JETS, "tw_2l", *OTHERS} == REACTIONS.keys()


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.long) if each in SLOW else each for each in DEFINITE]
)
def test_a_weight_is_the_sum_of_its_final_states(name: str):
    reaction, number, scale = DEFINITE[name]
    # jets and what a sum and its term have in common are as in the definite process
    settings: dict[str, Any] = {"flavours": REACTIONS[name].flavours} | (
        {} if scale is None else {"Q": scale}
    )
    definite = made(f"x={reaction}", **settings)
    summed = made(name)
    assert summed.scale == definite.scale
    events = event_of(definite)
    one, other = weight(summed, events), weight(definite, events, seed=1)
    assert (one.status[0], other.status[0]) == (0, 0)
    error = float(np.hypot(one.error[0], number * other.error[0]))
    assert error < 0.1 * one.value[0]
    assert one.value[0] == pytest.approx(number * other.value[0], abs=4 * error)


def test_final_states_of_equal_leptons_are_summed():
    """An event with μ⁺ and e⁻ is of t W⁻ and of t̄ W⁺; so are the mean momenta, that of the neutrino first."""
    reactions = (
        "x=p p > t w-, (t > w+ b, w+ > mu+ vm), w- > e- ve~",
        "x=p p > t~ w+, (t~ > w- b~, w- > e- ve~), w+ > mu+ vm",
    )
    one, other = (made(each, flavours=5) for each in reactions)
    events = event_of(one)
    whole = weight(made("tw_2l"), events, neutrinos=True)
    parts = [weight(each, events, seed, neutrinos=True) for seed, each in enumerate((one, other), start=1)]
    error = float(np.sqrt(sum(each.error[0] ** 2 for each in (whole, *parts))))
    value = sum(each.value[0] for each in parts)
    assert whole.status[0] == 0
    assert min(each.value[0] for each in parts) > 4 * error
    assert whole.value[0] == pytest.approx(value, abs=4 * error)
    assert whole.neutrinos is not None
    mean = sum(each.value[0] * each.neutrinos[0] for each in parts if each.neutrinos is not None) / value
    assert np.abs(whole.neutrinos[0] - mean).max() < 0.1 * np.abs(mean).max()


def test_variations_of_sums_over_final_states_have_the_nominal_points():
    """The ratio is better known than the weights, and that of other points."""
    events = event_of(made("x=p p > t w-, (t > w+ b, w+ > mu+ vm), w- > e- ve~", flavours=5))
    up = {name: values * (1.02 if name in ("j1_PT", "j1_M") else 1.0) for name, values in events.items()}
    one, other = (
        engine.compute(made("tw_2l"), events, precision=0.03, seed=seed, variations={"up": up})
        for seed in (0, 1)
    )
    ratio, error = one["tw_2l__up"].ratio_to(one["tw_2l"])
    assert one["tw_2l__up"].covariance is not None
    assert one["tw_2l__up"].covariance[0] > 0
    assert error[0] <= 0.3 * 0.03 * ratio[0]
    again, its_error = other["tw_2l__up"].ratio_to(other["tw_2l"])
    assert abs(ratio[0] - again[0]) < 4 * np.hypot(error, its_error)[0]


@pytest.mark.long
@pytest.mark.parametrize("name", OF_JETS)
def test_jets_are_quarks_and_gluons(name: str):
    """W(jj) = W(gg) + W(qg) + W(qq), with all quarks q; or of those of two charges."""
    definite, reaction, labels, jets = OF_JETS[name]
    summed = made(name)
    events = event_of(made(f"x={definite}"))
    whole = weight(summed, events)
    parts = [
        weight(made(f"x={reaction.format(each)}", labels=labels, Q=summed.scale), events, seed=1)
        for each in jets
    ]
    value = sum(each.value[0] for each in parts)
    error = float(np.sqrt(whole.error[0] ** 2 + sum(each.error[0] ** 2 for each in parts)))
    assert whole.status[0] == 0
    assert error < 0.1 * value
    assert whole.value[0] == pytest.approx(value, abs=4 * error)


@pytest.mark.parametrize(
    ("process", "dimensions", "assignments", "line"),
    [
        ("ttbar_1l", 6, (24, 12, 2), "s(t) gives E(b), after it"),
        ("tth_bb_1l", 8, (720, 180, 12), "s(h) gives E(b~)"),
        ("ttbb_1l", 9, (720, 180, 12), "exchanged in |M|²: b, b~"),
        ("wh_bb", 4, (2, 1, 1), "s(w+) gives the rapidity of ve, p_T by missing p_T"),
        ("x=u d~ > mu+ vm d d~", 4, (2, 1, 1), "exchanged in |M|²: d, d~"),
    ],
)
def test_plans_are_said(process: str, dimensions: int, assignments: tuple[int, int, int], line: str):
    found = overview(process)
    assert found["dimensions"] == len(found["variables"]) == dimensions
    assert tuple(found["assignments"].values()) == assignments
    assert line in found["plan"].splitlines()


def test_processes_prints_the_plan():
    said = run("processes", "p p > t t~, (t > w+ b, w+ > l+ vl), (t~ > w- b~, w- > j j) ; cc").out
    assert "s(t~) gives E(b~)" in said
    assert "24 of jets to legs, 12 integrated, 2 with hard tags" in said
    assert "ttbar_1l" in run("processes").out
    assert "let it decay" in run("processes", "p p > t t~").out


def test_processes_prints_the_plan_of_the_settings_of_a_weight(tmp_path: Path):
    """Those of `compute`, and the response of an input file."""
    config = tmp_path / "input.json"
    config.write_text('{"response": {"recoil": {"c": 15}}}')
    said = run("processes", "wh_bb", "--inputfile", str(config), "--set", "met=recoil", "--set", "MH=120")
    assert "p_T by the recoil within its response" in said.out
    said = run("processes", "wh_bb", "--set", "met=recoil").out
    assert "no weight     met=recoil needs the response of the recoil" in said
    assert "by missing p_T" in run("processes", "p p > w+ h, w+ > l+ vl, h > b b~", "--set", "MH=120").out
    wrong = run("processes", "wh_bb", "--set", "metric=recoil")
    assert wrong.status
    assert "metric" in wrong.said


def test_the_page_of_plans_says_what_is_integrated():
    """Each line of its table has the dimensions and the variables that the planner finds."""
    page = (Path(__file__).parents[2] / "docs" / "plans.md").read_text("utf-8")
    cells = [
        [each.strip() for each in line.strip("|").split("|")]
        for line in page.splitlines()
        if line[:3] == "| `"
    ]
    lines = {name.strip("`"): rest for name, *rest in cells}
    assert lines.keys() == REACTIONS.keys()
    for name, (dimensions, variables, *_) in lines.items():
        recoil = {} if name in ("wz_3l", "ww_2l_full") else {"recoil": {"c": 15}}
        found = overview(name, response=recoil)
        assert (dimensions, variables) == (str(found["dimensions"]), ", ".join(found["variables"])), name
