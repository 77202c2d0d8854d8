"""Weights of events with jets: sums over final states and over assignments of jets to legs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from conftest import stored, write_tree

import deepmem
from deepmem import UsageError
from deepmem.data.weights import read_provenance, read_weights
from deepmem.inputs import Reason
from deepmem.jobs import exact, merging
from deepmem.physics.integrals.lattice import Lattice
from deepmem.physics.weights import engine
from deepmem.physics.weights.assignments import assignments, best_tagged, number, orders_of, tag_factors
from deepmem.physics.weights.contributions import contributions
from deepmem.physics.weights.hypothesis import Hypothesis, hypothesis
from deepmem.physics.weights.rough import rough
from deepmem.physics.weights.visible import Measured
from tests.physics import any_process

TT = "p p > t t~, (t > w+ b, w+ > l+ vl), (t~ > w- b~, w- > j j) ; cc"
DEFINITE = "p p > t t~, (t > w+ b, w+ > mu+ vm), (t~ > w- b~, w- > d u~)"
RESPONSE = {"lepton": 0.0, "jet": 0.12, "bjet": 0.12}
PRECISION = 0.02
# p_T, η, φ, mass, tag: of an event of tt̄ the b, the b̄ and two light jets, of another the same but for tags
JETS = (
    (105.0, -1.02, 2.51, 4.7, 1.0),
    (100.1, -0.42, -1.34, 4.7, 1.0),
    (35.7, 0.63, 0.17, 0.0, 0.0),
    (33.7, -1.55, -0.42, 0.0, 0.0),
)
LEPTON = (40.0, 0.21, 0.84)
MISSING = (46.0, -2.9)


def event(
    jets: Sequence[Sequence[float]] = JETS,
    code: int = -13,
    columns: int | None = None,
    mirrored: bool = False,
    tags: bool = True,
) -> dict[str, np.ndarray]:
    """One event; jets beyond those given, up to `columns`, are absent."""
    sign = -1 if mirrored else 1
    found = dict(zip(("lep1_PT", "lep1_Eta", "lep1_Phi"), LEPTON, strict=True))
    found |= {"lep1_Charge": float(-np.sign(code)), "lep1_PDG": float(code), "MET": MISSING[0]}
    found |= {"MET_Phi": sign * MISSING[1], "lep1_Phi": sign * LEPTON[2]}
    absent = [(np.nan,) * 5] * ((columns or len(jets)) - len(jets))
    for i, (pt, eta, phi, mass, tag) in enumerate([*jets, *absent], 1):
        found |= {f"j{i}_PT": pt, f"j{i}_Eta": eta, f"j{i}_Phi": sign * phi, f"j{i}_M": mass}
        found |= {f"j{i}_B": tag} if tags else {}
    return {name: np.array([value]) for name, value in found.items()}


def together(*events: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([each[name] for each in events]) for name in events[0]}


def weight(events: Any, reaction: str = TT, precision: float = PRECISION, **settings: Any) -> deepmem.Weight:
    kinds = settings.pop("kinds", RESPONSE)
    response = {kind: r for kind, r in RESPONSE.items() if kind in kinds}
    alpha = hypothesis(f"x={reaction}", response=response, **settings)
    return engine.compute(alpha, events, precision=precision)["x"]


def agree(one: deepmem.Weight, other: deepmem.Weight, factor: float = 1.0) -> None:
    """Within four errors, which are small."""
    assert one.status[0] == other.status[0] == 0
    error = float(np.hypot(one.error[0], factor * other.error[0]))
    assert error < 0.1 * one.value[0]
    assert one.value[0] == pytest.approx(factor * other.value[0], abs=4 * error)


@cache
def alone() -> dict[tuple[int, ...], tuple[float, float]]:
    """Value and error with one assignment of jets to the legs b d ū b̄, by its plan, of each that differs.

    The light jets of the W are averaged over in |M|².
    """
    definite = hypothesis(f"x={DEFINITE}", response=RESPONSE, tags="ignore")
    # the process that sums are over, so that both are compiled once
    (alpha,) = (each.alpha for each in contributions(definite, event())[0])
    orders = [order for order in permutations(range(4)) if order[1] < order[2]]
    legs = np.array([[LEPTON, *(JETS[i][:3] for i in order)] for order in orders])
    pt, eta, phi = np.moveaxis(legs, 2, 0)
    own = np.array([[0.0, *(JETS[i][3] for i in order)] for order in orders])
    bottom = [kind == "bjet" for kind in alpha.process.visible_classes]
    mass = np.tile(np.where(bottom, alpha.parameters.MB, 0.0), (len(orders), 1))
    missing = np.tile(MISSING[0] * np.array([np.cos(MISSING[1]), np.sin(MISSING[1])]), (len(orders), 1))
    measured = Measured(np.hypot(pt * np.cosh(eta), own), eta, phi, mass, missing)
    plan = any_process.plan(alpha)
    assert isinstance(plan.rule, Lattice)
    plan = replace(plan, rule=replace(plan.rule, calls=1 << 17))
    found = any_process.estimate(alpha, plan, measured, 0.03)
    return {
        order: (value, error)
        for order, value, error in zip(orders, found.value[:, 0], found.error[:, 0], strict=True)
    }


def same_as(whole: deepmem.Weight, factors: Mapping[tuple[int, ...], float]) -> None:
    """The sum over assignments with these factors, within four errors, which are small."""
    value = sum(factor * alone()[order][0] for order, factor in factors.items())
    variance = sum((factor * alone()[order][1]) ** 2 for order, factor in factors.items())
    error = float(np.hypot(np.sqrt(variance), whole.error[0]))
    assert error < 0.05 * value
    assert whole.value[0] == pytest.approx(value, abs=4 * error)


def test_assignments_are_counted():
    every, places = assignments(3, 4)
    assert len(every) == number(3, 4) == 24
    assert (places == np.arange(24)).all()
    classes, places = assignments(4, 4, ((1, 2),))
    assert len(classes) == 12
    assert (classes[:, 1] < classes[:, 2]).all()
    whole, _ = assignments(4, 4)
    assert (whole[places] == classes).all()
    assert orders_of(((0, 2),), 3) == ((0, 1, 2), (2, 1, 0))


def test_hard_tags_put_as_many_as_possible_on_legs_of_b_quarks():
    every, _ = assignments(3, 3)
    for tags, wanted in (([1, 0, 1], 2), ([0, 1, 0], 1), ([0, 0, 0], 0), ([1, 1, 1], 2)):
        kept = every[best_tagged(every, tags, (0, 2))]
        assert len(kept)
        assert {np.asarray(tags)[each[[0, 2]]].sum() for each in kept} == {wanted}


def test_probabilities_of_tags_are_those_of_all_jets():
    """Summed over all tags of all jets, they are 1; unused jets count as light."""
    tagging = np.array([0.7, 0.2, 0.1])  # b, c, light
    tags = np.array(np.meshgrid(*[(0, 1)] * 3)).reshape(3, -1).T
    chances = np.where(tags[..., None] == 1, tagging, 1 - tagging)
    found = tag_factors(chances[:, :2], chances[:, 2, 2], [(0, 1), (2, 0)], [(0, 1), (1, 0)], [(0, 1)])
    np.testing.assert_allclose(found.sum(axis=0), 1.0)
    first = tags.tolist().index([1, 0, 1])
    np.testing.assert_allclose(
        found[first], [[0.7 * 0.8 * 0.1, 0.1 * 0.3 * 0.1], [0.3 * 0.2 * 0.1, 0.9 * 0.7 * 0.1]]
    )


def test_a_weight_is_the_mean_of_its_assignments():
    """12 classes of 24 assignments, each integrated by itself."""
    same_as(weight(event(), DEFINITE, tags="ignore", precision=0.02), dict.fromkeys(alone(), 2 / 24))


def test_hard_tags_leave_two_assignments():
    whole = weight(event(), DEFINITE, precision=0.02)
    same_as(whole, dict.fromkeys([(0, 2, 3, 1), (1, 2, 3, 0)], 2 / 24))


def test_labels_are_sums_of_final_states():
    """Of μ⁺ there are d ū and s c̄, with equal |M|²."""
    agree(weight(event()), weight(event(), DEFINITE), 2.0)


@pytest.mark.long
def test_final_states_with_different_amplitudes_are_summed():
    labels = {"q": "g u u~ d d~"}
    one = event(JETS[:2], tags=False)
    kinds = ("lepton", "jet")
    whole = weight(one, "u d~ > mu+ vm q q", labels=labels, kinds=kinds, precision=0.01)
    value, variance = 0.0, 0.0
    for pair in ("g g", "u u~", "d d~"):
        part = weight(one, f"u d~ > mu+ vm {pair}", kinds=kinds, precision=0.01)
        value, variance = value + part.value[0], variance + part.error[0] ** 2
    assert whole.status[0] == 0
    error = float(np.sqrt(variance + whole.error[0] ** 2))
    assert error < 0.03 * value
    assert whole.value[0] == pytest.approx(value, abs=4 * error)


def test_charge_conjugates_of_mirrored_events_have_equal_weights():
    """CP, for what comes in is symmetric in quarks and antiquarks but for densities, which are those of qq̄."""
    agree(weight(event()), weight(event(code=13, mirrored=True)))


def test_leptons_choose_the_final_state():
    """The weight of e⁺ is that of μ⁺; of a reaction without its charge there is none."""
    one, other = weight(event()), weight(event(code=-11))
    assert (one.value[0], one.error[0]) == (other.value[0], other.error[0])
    assert weight(event(code=13), TT.removesuffix("; cc")).reason[0] == Reason.SIGNS
    assert weight(event(code=-15)).reason[0] == Reason.FLAVOURS
    unknown = event() | {"lep1_PDG": np.array([np.nan])}
    assert weight(unknown).reason[0] == Reason.NOT_FINITE


def test_a_weight_does_not_depend_on_others_nor_on_the_order_of_jets():
    """To the bit, whatever else is computed and however the file orders jets."""
    first, other = event(), event([(*jet[:4], 0.0) for jet in JETS])
    turned = event([JETS[i] for i in (3, 1, 0, 2)])
    alpha = hypothesis(f"x={TT}", response=RESPONSE)
    several = engine.compute(
        alpha, together(other, first, turned), precision=0.05, entries=np.array([7, 3, 3])
    )["x"]
    single = engine.compute(alpha, first, precision=0.05, entries=np.array([3]))["x"]
    assert several.value[1] == several.value[2] == single.value[0]
    assert several.error[1] == several.error[2] == single.error[0]
    assert several.value[0] != several.value[1]


def test_certain_tags_are_hard_tags():
    certain = {"b": 1.0, "c": 0.0, "light": 0.0}
    agree(weight(event(), DEFINITE), weight(event(), DEFINITE, tagging=certain))
    untagged = event([(*jet[:4], 0.0) for jet in JETS])
    assert weight(untagged, DEFINITE, tagging=certain).status[0] == 2
    agree(weight(untagged), weight(untagged, tags="ignore"))


def test_tags_that_say_nothing_are_a_common_factor():
    """P = ½ for each of four jets, whatever its flavour."""
    even = {"b": 0.5, "c": 0.5, "light": 0.5}
    agree(weight(event(), DEFINITE, tagging=even), weight(event(), DEFINITE, tags="ignore"), 0.5**4)


def test_probable_tags_are_a_mean_over_assignments():
    """P(tags | assignment) times each assignment alone, with the flavours d ū of the light jets."""
    tagging = {"b": 0.77, "c": 0.15, "light": 0.01}
    factors = {}
    for order in alone():
        tagged = zip((0.77, 0.01, 0.01, 0.77), (JETS[i][4] for i in order), strict=True)
        factors[order] = 2 / 24 * float(np.prod([each if tag else 1 - each for each, tag in tagged]))
    same_as(weight(event(), DEFINITE, tagging=tagging, precision=0.02), factors)


def test_probabilities_of_tags_may_be_columns_of_the_jets():
    """Each jet has its own; where all have one it is that of the setting."""
    tagging = {"b": 0.77, "c": 0.15, "light": 0.01}
    names = {"b": "EffB", "c": "EffC", "light": "EffL"}
    every = {f"j{n}_{names[k]}": np.array([v]) for n in range(1, 5) for k, v in tagging.items()}
    same = weight(event() | every, DEFINITE, tagging=names, precision=0.05)
    assert same.value[0] == weight(event(), DEFINITE, tagging=tagging, precision=0.05).value[0]
    other = {"j1_EffB": np.array([0.5])}
    mixed = weight(event() | every | other, DEFINITE, tagging=names, precision=0.05)
    # the tagged j1 is a b quark of nearly all of the weight
    assert mixed.value[0] / same.value[0] == pytest.approx(0.5 / 0.77, rel=0.02)
    bad = weight(event() | every | {"j2_EffL": np.array([1.2])}, DEFINITE, tagging=names)
    assert (bad.status[0], bad.reason[0]) == (3, Reason.TAG)
    with pytest.raises(UsageError, match="j1_EffB"):
        weight(event(), DEFINITE, tagging=names)


def test_more_jets_than_legs():
    """The leading ones are used, tagged ones first; or all that one may choose, unused ones beside."""
    fifth = (150.0, 0.1, 2.0, 0.0, 0.0)
    four, five = weight(event()), weight(event([*JETS, (30.0, 0.1, 2.0, 0.0, 0.0)]))
    assert four.value[0] == five.value[0]
    tagged_first = weight(event([fifth, *JETS[:3]]))
    assert weight(event([*JETS, fifth])).value[0] == tagged_first.value[0]
    chosen = weight(event([*JETS, (30.0, 0.1, 2.0, 0.0, 0.0)]), extra_jets="choose")
    # all of the four's assignments are among those of five
    assert chosen.value[0] * number(4, 5) > 0.9 * four.value[0] * number(4, 4)


@pytest.mark.parametrize("met", ["event", "balance", "recoil"])
def test_jets_that_are_not_used_belong_to_the_recoil(met: str):
    """A row knows its own jets and the missing p_T: −K_meas is their sum, whatever else there is."""
    response = RESPONSE | ({"recoil": {"c": 15.0, "b": 0.5}} if met == "recoil" else {})
    further = event([*JETS, (30.0, 0.1, 2.0, 0.0, 0.0)])
    alpha = hypothesis(f"x={DEFINITE}", response=response, met=met)
    (plain, *_), _ = contributions(alpha, event())
    (more, *_), _ = contributions(alpha, further)
    for one, other in zip(plain.measured, more.measured, strict=True):
        np.testing.assert_array_equal(one, other)
    (chosen, *_), _ = contributions(replace(alpha, extra_jets="choose"), further)
    # 2 tagged jets on b legs, and a pair of the 3 others that light jets share
    assert len(chosen.event) == 2 * 3
    measured = chosen.measured
    pt = np.stack([further[f"j{i}_PT"][0] * np.array([np.cos(further[f"j{i}_Phi"][0]),
                   np.sin(further[f"j{i}_Phi"][0])]) for i in range(1, 6)])  # fmt: skip
    used = pt[chosen.jets].sum(axis=1) + LEPTON[0] * np.array([np.cos(LEPTON[2]), np.sin(LEPTON[2])])
    missing = MISSING[0] * np.array([np.cos(MISSING[1]), np.sin(MISSING[1])])
    expected = {"event": missing + 0 * used, "balance": 0 * used, "recoil": missing + used}[met]
    np.testing.assert_allclose(measured.missing, expected, atol=1e-12)
    activity = np.array([further[f"j{i}_PT"][0] for i in range(1, 6)])[chosen.jets].sum(axis=1) + LEPTON[0]
    np.testing.assert_allclose(measured.activity, activity)


def test_fewer_jets_than_legs_have_no_weight_and_a_reason():
    absent = weight(event(JETS[:3], columns=4))
    assert (absent.status[0], absent.reason[0]) == (3, Reason.LACKING_JET)
    strange = weight(event([*JETS[:3], (*JETS[3][:4], 0.4)]))
    assert (strange.status[0], strange.reason[0]) == (3, Reason.TAG)
    partly = weight(event([*JETS[:3], (33.7, np.nan, 1.0, 0.0, 0.0)]))
    assert (partly.status[0], partly.reason[0]) == (3, Reason.NOT_FINITE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tagging": {"b": 0.7}}, "tagging must be the probability"),
        ({"tagging": {"b": 0.7, "c": 0.1, "light": 1.7}}, "tagging of light must be a probability"),
        ({"tagging": {"b": 0.7, "c": 0.1, "light": 0.01}, "tags": "ignore"}, "takes no tagging"),
        ({"tagging": {"b": "B", "c": 0.1, "light": 0.01}}, "tagging of b must be a probability, or the end"),
        ({"tags": "soft"}, "tags must be hard or ignore"),
        ({"extra_jets": "all"}, "extra_jets must be leading or choose"),
    ],
)
def test_settings_of_jets_are_checked(settings: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        hypothesis(f"x={TT}", **settings)


def test_tagging_needs_tags():
    with pytest.raises(UsageError, match="needs the tags of jets"):
        weight(event(tags=False), tagging={"b": 0.7, "c": 0.1, "light": 0.01})


@pytest.mark.parametrize(
    ("reaction", "message"),
    [
        ("p p > mu+ vm q q", "final states that are summed have legs of the same classes"),
        ("p p > l+ vl b b~ ; p p > w+ h, w+ > l+ vl, h > b b~", "come of other decays"),
    ],
)
def test_sums_that_are_no_weight_are_refused(reaction: str, message: str):
    with pytest.raises(UsageError, match=message):
        hypothesis(f"x={reaction}", labels={"q": "d b d~ b~"})


def test_files_have_the_weights_of_python(tmp_path: Path):
    """With tags, jets beyond the legs, and absent ones; what weights depend on is in the provenance."""
    fifth = (30.0, 0.1, 2.0, 0.0, 0.0)
    events = together(event([*JETS, fifth]), event(JETS[:3], columns=5), event(columns=5))
    path = write_tree(tmp_path / "events.root", events)
    tagging = {"b": 0.77, "c": 0.15, "light": 0.01}
    config = {"response": RESPONSE, "tagging": tagging}
    exact.compute_files([str(path)], tmp_path / "w.root", [f"tt={DEFINITE}"], config=config, precision=0.1)
    found = read_weights(tmp_path / "w.root")
    memory = deepmem.compute(events, {"tt": DEFINITE}, precision=0.1, response=RESPONSE, tagging=tagging)[
        "tt"
    ]
    np.testing.assert_array_equal(found.value, memory.value)
    assert found.status.tolist() == [0, 3, 0]
    about = read_provenance(tmp_path / "w.root")
    assert about["hypotheses"][0]["tagging"] == tagging
    assert {"j4_B", "j5_PT"} <= about["events"]["columns"].keys()
    said = json.loads(json.dumps(about["hypotheses"][0]))
    assert Hypothesis.from_dict(said).to_dict() == {k: v for k, v in said.items() if k != "unit"}


def test_what_knows_no_assignments_refuses_them():
    with pytest.raises(UsageError, match="would leave out"):
        rough(hypothesis(f"x={TT}"), event())


def test_two_leptons_of_tops_have_the_menus_weights():
    """By the expert for two neutrinos, whichever flavours its leptons have; jets are taken in any order."""
    tops = "p p > t t~, (t > w+ b, w+ > l+ vl), (t~ > w- b~, w- > l- vl~)"
    menu = stored("ttbar_2l")
    flavours = {"lep1_PDG": -13 * menu["lep1_Charge"], "lep2_PDG": -11 * menu["lep2_Charge"]}
    alpha = hypothesis(f"x={tops}", response={"lepton": 0.05, "bjet": 0.1})
    summed = engine.compute(alpha, menu | flavours, precision=0.02)["x"]
    assert (summed.status == 0).all()
    ratio, error = summed.value / menu["value"], np.hypot(summed.error, menu["error"]) / menu["value"]
    assert (np.abs(ratio - 1) < 4 * error).all()
    assert np.average(ratio, weights=error**-2) == pytest.approx(1, abs=0.06)


def test_two_leptons_of_equal_charge_are_averaged_over():
    """tt̄Z with three electrons: either positive one may be the W's; with other flavours one alone."""
    response = {"lepton": 0.0, "bjet": 0.12, "jet": 0.12}
    alpha = hypothesis("ttz_1l", response=response)
    three = event() | {
        f"lep{i}_{name}": np.array([value])
        for i, lepton in ((2, (47.0, 0.4, -1.0, 1.0, -11.0)), (3, (35.0, -0.2, 2.6, -1.0, 11.0)))
        for name, value in zip(("PT", "Eta", "Phi", "Charge", "PDG"), lepton, strict=True)
    }
    electrons = three | {"lep1_PDG": np.array([-11.0])}
    (rows, _), reason = contributions(alpha, together(three, electrons))
    one, both = (rows.event == 0), (rows.event == 1)
    assert both.sum() == 2 * one.sum()
    assert set(rows.share[both]) == {rows.share[one][0] / 2}
    assert len(set(rows.part[both])) == both.sum()
    assert (reason == Reason.NONE).all()


def test_shares_and_roles_of_assignments():
    """Each assignment's share is that of it alone; roles are legs of the reaction, in the input's order."""
    alpha = hypothesis(f"x={DEFINITE}", response=RESPONSE, tags="ignore")
    turned = [3, 1, 0, 2]
    events = together(event(), event([JETS[i] for i in turned]), event(JETS[:3], columns=4))
    found = engine.compute(alpha, events, precision=0.02, assignments=True)["x"]
    assert found.share is not None
    assert found.role is not None
    total = sum(value for value, _ in alone().values())
    expected = np.sort([value / total for value, _ in alone().values()])[::-1]
    np.testing.assert_allclose(found.share[0, :3], expected[:3], rtol=0.15)
    assert found.share[0].sum() == pytest.approx(1.0, abs=0.01)
    assert (np.diff(found.share[0]) <= 0).all()
    likeliest = max(alone(), key=lambda order: alone()[order][0])
    # the legs are μ⁺ ν b d ū b̄; d and ū are told apart by the jets' order in p_T
    roles = dict(zip(likeliest, (2, 3, 4, 5), strict=True))
    assert found.role[0].tolist() == [roles[i] for i in range(4)]
    assert found.role[1].tolist() == [roles[i] for i in turned]
    assert (found.role[2] == -1).all()
    assert np.isnan(found.share[2]).all()
    with pytest.raises(UsageError, match="has no assignments"):
        engine.compute(hypothesis("drell_yan"), {}, assignments=True)


def test_files_hold_shares_and_roles(tmp_path: Path):
    """As lists, of parts of a farm that are merged, too: what they say is what Python gives."""
    path, names = tmp_path / "events.root", [tmp_path / f"{name}.root" for name in ("one", "two", "whole")]
    events = together(event(), event([JETS[i] for i in (3, 1, 0, 2)]), event(JETS[:3], columns=4))
    write_tree(path, events)
    asked: dict[str, Any] = {
        "process": [f"x={DEFINITE}"],
        "config": {"response": RESPONSE},
        "precision": 0.05,
    }
    for output, entries in zip(names, ((0, 2), (2, 3)), strict=False):
        exact.compute_files([str(path)], output, **asked, entries=entries, assignments=True, tags="ignore")
    merging.merge([str(output) for output in names[:2]], names[2])
    whole = read_weights(names[2], "x")
    alpha = hypothesis(f"x={DEFINITE}", response=RESPONSE, tags="ignore")
    expected = engine.compute(alpha, events, precision=0.05, assignments=True)["x"]
    for name in ("value", "share", "role"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(expected, name))
    with uproot.open(names[2]) as file:
        assert file["deepmem/x_share"].array().tolist()[2] == []
