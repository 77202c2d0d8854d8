"""The planner: a table of reactions and what becomes of them, as text."""

from __future__ import annotations

import pickle
from functools import cache

import pytest

from deepmem.physics.errors import PlanError, ReactionError
from deepmem.physics.phasespace.composition import ByExpert, Composition
from deepmem.physics.phasespace.planner import Measurement, planned
from deepmem.physics.phasespace.trees import Resonance, Tree, tree_of
from deepmem.physics.theory.models import load
from deepmem.physics.theory.reaction import parse
from deepmem.physics.theory.subprocesses import Subprocess, expand

TOP, TOPJ = "(t > w+ b, w+ > mu+ vm)", "(t~ > w- b~, w- > d u~)"
TWO_LEPTONS = "(t > w+ b, w+ > e+ ve), (t~ > w- b~, w- > mu- vm~)"
PERFECT_LEPTONS = {"lepton": 0.0, "bjet": 0.12, "jet": 0.12}
MEASURED = {"lepton": 0.01, "bjet": 0.12, "jet": 0.12, "photon": 0.01}
WIDTHS = {"WZ": 0.027, "WW": 0.025, "WT": 0.0086, "WH": 5e-5}

PLANS = {
    "tt̄ 1ℓ": (
        f"g g > t t~, {TOP}, {TOPJ}",
        "recoil",
        PERFECT_LEPTONS,
        """\
t(w+(mu+ vm) b) t~(w-(d u~) b~)
s(w-) gives E(u~)
s(t~) gives E(b~)
s(w+) and s(t) give vm on an ellipse, φ by the recoil within its response
drawn: E(b), E(d)
exchanged in |M|²: d, u~
7 dimensions""",
    ),
    "tt̄ 1ℓ, exact missing p_T": (
        f"g g > t t~, {TOP}, {TOPJ}",
        "exact",
        PERFECT_LEPTONS,
        """\
t(w+(mu+ vm) b) t~(w-(d u~) b~)
s(w-) gives E(u~)
s(t~) gives E(b~)
s(w+) gives the rapidity of vm, p_T by missing p_T
s(t) gives E(b), after it
drawn: E(d)
exchanged in |M|²: d, u~
5 dimensions""",
    ),
    "tt̄ 1ℓ, balance": (
        f"g g > t t~, {TOP}, {TOPJ}",
        "balance",
        PERFECT_LEPTONS,
        """\
t(w+(mu+ vm) b) t~(w-(d u~) b~)
s(w-) gives E(u~)
s(t~) gives E(b~)
s(w+) gives the rapidity of vm, p_T by what balances the partons
drawn: E(b), E(d)
not mapped: t
exchanged in |M|²: d, u~
5 dimensions""",
    ),
    "tt̄ 0ℓ": (
        f"g g > t t~, (t > w+ b, w+ > u d~), {TOPJ}",
        "recoil",
        PERFECT_LEPTONS,
        """\
t(w+(u d~) b) t~(w-(d u~) b~)
s(w+) gives E(d~)
s(t) gives E(b)
s(w-) gives E(u~)
s(t~) gives E(b~)
drawn: E(u), E(d)
exchanged in |M|²: u, d~
exchanged in |M|²: d, u~
6 dimensions""",
    ),
    "tt̄H 1ℓ": (
        f"g g > t t~ h, {TOP}, {TOPJ}, h > b b~",
        "recoil",
        MEASURED,
        """\
t(w+(mu+ vm) b) t~(w-(d u~) b~) h(b b~)
s(w-) gives E(u~)
s(t~) gives E(b~)
s(h) gives E(b~)
s(w+) and s(t) give vm on an ellipse, φ by the recoil within its response
drawn: E(mu+), E(b), E(d), E(b)
exchanged in |M|²: d, u~
10 dimensions""",
    ),
    "tt̄bb̄ 1ℓ": (
        f"g g > t t~ b b~, {TOP}, {TOPJ}",
        "recoil",
        PERFECT_LEPTONS,
        """\
t(w+(mu+ vm) b) t~(w-(d u~) b~) b b~
s(w-) gives E(u~)
s(t~) gives E(b~)
s(w+) and s(t) give vm on an ellipse, φ by the recoil within its response
drawn: E(b), E(d), E(b), E(b~)
exchanged in |M|²: d, u~
exchanged in |M|²: b, b~
9 dimensions""",
    ),
    "tt̄Z": (
        f"g g > t t~ z, {TOP}, {TOPJ}, z > e+ e-",
        "recoil",
        MEASURED,
        """\
t(w+(mu+ vm) b) t~(w-(d u~) b~) z(e+ e-)
s(w-) gives E(u~)
s(t~) gives E(b~)
s(w+) and s(t) give vm on an ellipse, φ by the recoil within its response
drawn: E(mu+), E(b), E(d), E(e+), E(e-)
not mapped: z
exchanged in |M|²: d, u~
10 dimensions""",
    ),
    "WH": (
        "u d~ > w+ h, w+ > mu+ vm, h > b b~",
        "response",
        PERFECT_LEPTONS,
        """\
w+(mu+ vm) h(b b~)
s(h) gives E(b~)
s(w+) gives the rapidity of vm, p_T by missing p_T within its response, from a table before energies
drawn: E(b)
5 dimensions""",
    ),
    "ZH": (
        "u u~ > z h, z > mu+ mu-, h > b b~",
        "exact",
        PERFECT_LEPTONS,
        """\
z(mu+ mu-) h(b b~)
s(h) gives E(b~)
drawn: E(b)
not mapped: z
2 dimensions""",
    ),
    "Zbb̄": (
        "u u~ > mu+ mu- b b~",
        "exact",
        MEASURED,
        """\
mu+ mu- b b~
drawn: E(mu+), E(mu-), E(b), E(b~)
exchanged in |M|²: b, b~
4 dimensions""",
    ),
    "Wjj": (
        "u d~ > mu+ vm g g",
        "recoil",
        PERFECT_LEPTONS,
        """\
w+(mu+ vm) g g
s(w+) gives the rapidity of vm, p_T by the recoil within its response, from a table before energies
drawn: E(g), E(g)
exchanged in |M|²: g, g
5 dimensions""",
    ),
    "single top, t channel": (
        f"u b > t d, {TOP}",
        "recoil",
        PERFECT_LEPTONS,
        """\
t(w+(mu+ vm) b) d
s(w+) and s(t) give vm on an ellipse, φ by the recoil within its response
drawn: E(b), E(d)
5 dimensions""",
    ),
    "single top, s channel": (
        f"u d~ > t b~, {TOP}",
        "exact",
        PERFECT_LEPTONS,
        """\
t(w+(mu+ vm) b) b~
s(w+) gives the rapidity of vm, p_T by missing p_T
s(t) gives E(b), after it
drawn: E(b~)
3 dimensions""",
    ),
    "VBF H → 4ℓ": (
        "u u > h u u QCD=0, h > e+ e- mu+ mu-",
        "exact",
        MEASURED,
        """\
h(e+ e- mu+ mu-) u u
s(h) gives E(mu-)
drawn: E(e+), E(e-), E(mu+), E(u), E(u)
exchanged in |M|²: u, u
6 dimensions""",
    ),
    "H → ZZ → 4ℓ": (
        "g g > h > z z, z > e+ e-, z > mu+ mu-",
        "exact",
        MEASURED,
        """\
h(z(e+ e-) z(mu+ mu-))
s(h) gives E(mu-)
drawn: E(e+), E(e-), E(mu+)
not mapped: z, z
4 dimensions""",
    ),
    "H → WW → ℓνjj": (
        "g g > h > w+ w-, w+ > mu+ vm, w- > d u~",
        "recoil",
        PERFECT_LEPTONS,
        """\
h(w+(mu+ vm) w-(d u~))
s(w-) gives E(u~)
s(w+) and s(h) give vm on an ellipse, φ by the recoil within its response
drawn: E(d)
exchanged in |M|²: d, u~
5 dimensions""",
    ),
    "tt̄H 2ℓ": (
        f"g g > t t~ h, {TWO_LEPTONS}, h > b b~",
        "recoil",
        PERFECT_LEPTONS,
        """\
t(w+(e+ ve) b) t~(w-(mu- vm~) b~) h(b b~)
s(h) gives E(b~)
s(w+) and s(t) give ve on an ellipse, φ by what it leaves vm~
s(w-) and s(t~) give vm~ on an ellipse, φ by the recoil within its response
drawn: E(b), E(b~), E(b)
10 dimensions""",
    ),
    "tt̄bb̄ 2ℓ, exact missing p_T": (
        f"g g > t t~ b b~, {TWO_LEPTONS}",
        "exact",
        PERFECT_LEPTONS,
        """\
t(w+(e+ ve) b) t~(w-(mu- vm~) b~) b b~
s(w+) and s(t) give ve on an ellipse, φ by what it leaves vm~
s(w-) gives the rapidity of vm~, p_T by missing p_T
s(t~) gives E(b~), after it
drawn: E(b), E(b), E(b~)
exchanged in |M|²: b, b~
8 dimensions""",
    ),
    "tt̄Z 2ℓ, balance": (
        f"g g > t t~ z, {TWO_LEPTONS}, z > d d~",
        "balance",
        PERFECT_LEPTONS,
        """\
t(w+(e+ ve) b) t~(w-(mu- vm~) b~) z(d d~)
s(z) gives E(d~)
s(w+), s(t), s(w-) and s(t~) give ve and vm~ with what balances the partons
drawn: E(b), E(b~), E(d)
exchanged in |M|²: d, d~
8 dimensions""",
    ),
    "tW 2ℓ": (
        "g b > t w-, (t > w+ b, w+ > e+ ve), w- > mu- vm~",
        "recoil",
        MEASURED,
        """\
t(w+(e+ ve) b) w-(mu- vm~)
s(w+) and s(t) give ve on an ellipse, φ by what it leaves vm~
s(w-) gives the rapidity of vm~, p_T by the recoil within its response
drawn: E(e+), E(b), E(mu-)
9 dimensions""",
    ),
    "W before t": (
        "g b > w- t, w- > mu- vm~, (t > w+ b, w+ > e+ ve)",
        "exact",
        PERFECT_LEPTONS,
        """\
w-(mu- vm~) t(w+(e+ ve) b)
s(w+) and s(t) give ve on an ellipse, φ by what it leaves vm~
s(w-) gives the rapidity of vm~, p_T by missing p_T
drawn: E(b)
5 dimensions""",
    ),
    "tt̄W, equal charges": (
        f"u d~ > t t~ w+, {TOP}, {TOPJ}, w+ > e+ ve",
        "recoil",
        PERFECT_LEPTONS,
        """\
t(w+(mu+ vm) b) t~(w-(d u~) b~) w+(e+ ve)
s(w-) gives E(u~)
s(t~) gives E(b~)
s(w+) and s(t) give vm on an ellipse, φ by what it leaves ve
s(w+) gives the rapidity of ve, p_T by the recoil within its response
drawn: E(b), E(d)
exchanged in |M|²: d, u~
10 dimensions""",
    ),
    "WWj": (
        "u u~ > w+ w- g, w+ > e+ ve, w- > mu- vm~",
        "exact",
        PERFECT_LEPTONS,
        """\
w+(e+ ve) w-(mu- vm~) g
s(w+) gives the angle of ve to its lepton, E and β about it drawn
s(w-) gives the rapidity of vm~, p_T by missing p_T
drawn: E(g)
5 dimensions""",
    ),
    "tt̄ 2ℓ": (
        f"g g > t t~, {TWO_LEPTONS}",
        "exact",
        PERFECT_LEPTONS,
        "t(w+(e+ ve) b) t~(w-(mu- vm~) b~)\nby the expert for: top pair",
    ),
    "WW": (
        "u u~ > w+ w-, w+ > e+ ve, w- > mu- vm~",
        "exact",
        PERFECT_LEPTONS,
        "w+(e+ ve) w-(mu- vm~)\nby the expert for: W pair",
    ),
    "WW, all diagrams": (
        "u u~ > e+ ve mu- vm~",
        "exact",
        PERFECT_LEPTONS,
        "w+(e+ ve) w-(mu- vm~)\nby the expert for: W pair",
    ),
    "H → WW": (
        "g g > h > w+ w-, w+ > e+ ve, w- > mu- vm~",
        "exact",
        PERFECT_LEPTONS,
        "h(w+(e+ ve) w-(mu- vm~))\nby the expert for: Higgs boson to W pair",
    ),
}


@cache
def tree(reaction: str) -> Tree:
    model = load("heft" if reaction.startswith("g g > h") else "sm")
    return tree_of(expand(parse(reaction), model, flavours=5)[0], model)


def plan(name: str) -> Composition | ByExpert:
    reaction, missing, widths, _ = PLANS[name]
    return planned(tree(reaction), Measurement(widths, missing, WIDTHS))


@pytest.mark.parametrize("name", PLANS)
def test_plans(name):
    found = plan(name)
    assert found.describe() == PLANS[name][-1]
    assert pickle.loads(pickle.dumps(found)) == found
    assert hash(found) == hash(plan(name))


@pytest.mark.parametrize("name", [name for name, entry in PLANS.items() if "expert" not in entry[-1]])
def test_every_unknown_has_one_variable(name):
    """Energies with a response, three of each neutrino, less what missing p_T fixes; masses replace some."""
    found = plan(name)
    assert isinstance(found, Composition)
    _, missing, widths, _ = PLANS[name]
    legs = found.tree.legs
    energies = sum(leg.kind != "invisible" and widths[leg.kind] > 0 for leg in legs)
    escaping = len(found.tree.invisible)
    fixed = 2 if escaping and missing in ("exact", "balance") else 0
    assert found.dimensions == energies + 3 * escaping - fixed
    solved = [each.leg for each in (*found.solves, *found.late)]
    assert len({*found.drawn, *solved}) == len(found.drawn) + len(solved) == energies
    assert len(set(found.masses)) == len(found.masses)
    assert set(found.masses) | set(found.unmapped) == set(range(len(found.tree.resonances)))


LOST = {
    2: """\
s(w-) gives E(u~)
s(t~) gives E(b~)
s(w+) gives the rapidity of vm, p_T by the recoil within its response
s(t) gives E(b), which is lost, at a direction by where it is lost
drawn: E(d)""",
    4: """\
s(w+) and s(t) give vm on an ellipse, φ by the recoil within its response
s(w-) and s(t~) give u~, which is lost, on an ellipse, φ by where it is lost
drawn: E(b), E(d), E(b~)""",
    5: """\
s(w-) gives E(u~)
s(w+) and s(t) give vm on an ellipse, φ by the recoil within its response
s(t~) gives E(b~), which is lost, at a direction by where it is lost
drawn: E(b), E(d)""",
}


@pytest.mark.parametrize("leg", LOST)
def test_plans_with_a_lost_leg(leg: int):
    """Three numbers for it, of which masses replace some: of tt̄ 1ℓ with all jets there are 7."""
    reaction, missing, widths, whole = PLANS["tt̄ 1ℓ"]
    found = planned(tree(reaction), Measurement(widths, missing, WIDTHS), leg)
    assert isinstance(found, Composition)
    first, *_, last = whole.splitlines()
    assert found.describe() == f"{first}\n{LOST[leg]}\nexchanged in |M|²: d, u~\n9 dimensions"
    assert last == "7 dimensions"
    assert hash(found) == hash(pickle.loads(pickle.dumps(found)))
    assert set(found.masses) | set(found.unmapped) == set(range(len(found.tree.resonances)))


W_ALONE = "u d~ > w+ h, w+ > mu+ vm, h > b b~"


@pytest.mark.parametrize(
    ("missing", "widths", "sigma", "first"),
    [
        ("recoil", PERFECT_LEPTONS, 0.25, True),
        ("recoil", PERFECT_LEPTONS, 0.01, False),
        ("recoil", MEASURED | {"bjet": 0.4}, 0.25, False),
        ("response", MEASURED | {"bjet": 0.4}, 0.25, True),
        ("response", MEASURED | {"lepton": 0.12}, 0.25, False),
        ("response", PERFECT_LEPTONS, 0.01, False),
        ("exact", PERFECT_LEPTONS, 0.25, False),
    ],
)
def test_a_neutrinos_pt_comes_first_unless_its_response_is_sharp(missing, widths, sigma, first):
    """Beside a table's cells, and the energies that what is likely of p_T moves with: the lepton's, or all."""
    found = planned(tree(W_ALONE), Measurement(widths, missing, WIDTHS, sigma=sigma))
    assert isinstance(found, Composition)
    assert found.transverse is first
    assert ("from a table before energies" in found.describe()) is first


def test_orders_of_exchanged_legs():
    found = plan("tt̄bb̄ 1ℓ")
    assert isinstance(found, Composition)
    orders = found.orders()
    assert orders[0] == tuple(range(8))
    assert sorted(orders[1:]) == sorted(
        [(0, 1, 2, 4, 3, 5, 6, 7), (0, 1, 2, 3, 4, 5, 7, 6), (0, 1, 2, 4, 3, 5, 7, 6)]
    )


def test_tree_of_a_chain():
    found = tree(PLANS["tt̄ 1ℓ"][0])
    assert [each.name for each in found.resonances] == ["w+", "t", "w-", "t~"]
    top = found.children[0]
    assert isinstance(top, Resonance)
    assert (top.mass, top.width, [leg.number for leg in top.legs]) == ("MT", "WT", [0, 1, 2])
    assert [found.resonances[place].name for place in found.above(1)] == ["w+", "t"]
    assert found.above(5) == (3,)
    assert (found.invisible, found.visible) == ((1,), (0, 2, 3, 4, 5))


@pytest.mark.parametrize(
    ("legs", "met", "says"),
    [
        ((-11, 12, -13, 14, 16, -16), "exact", "has 4 neutrinos"),
        ((-11, 12, 16), "exact", "comes of no resonance"),
        ((-11, 14, 2, -1), "exact", "comes of no resonance"),
        ((-15, 16, 2, -1), "exact", "needs a response"),
        ((-15, 13, 2, -1), "recoil", "ta\\+ in .* has no map"),
        ((-15, 15, 14, -14), "recoil", "two taus of one mother and neutrinos"),
    ],
)
def test_what_has_no_plan(legs, met, says):
    found = tree_of(Subprocess((21, 21), legs), load("sm"))
    with pytest.raises(PlanError, match=says):
        planned(found, Measurement(MEASURED | {"tau": 0.1}, met, WIDTHS))


def test_four_taus_have_no_plan():
    found = tree("p p > z h, z > ta+ ta-, h > ta+ ta-")
    with pytest.raises(PlanError, match="two taus of one mother and others"):
        planned(found, Measurement(MEASURED | {"tau": 0.1}, "recoil", WIDTHS))


def test_a_tau_beside_its_neutrino_comes_before_it():
    """Its visible energy, if that has a response, and the part x; it is no energy that a mass gives."""
    found = tree("g g > t t~, (t > w+ b, w+ > ta+ vt), (t~ > w- b~, w- > d u~)")
    measured = Measurement(MEASURED | {"tau": 0.1}, "recoil", WIDTHS)
    plan = planned(found, measured)
    assert plan.variables == (
        "E(b)", "E(d)", "E_vis(ta+)", "x(ta+)", "φ(vt)", "s(w-)", "s(t~)", "s(w+)", "s(t)",
    )  # fmt: skip
    assert plan.place_of_neutrino == 4
    perfect = planned(found, Measurement(MEASURED | {"tau": 0.0}, "recoil", WIDTHS))
    assert "E_vis(ta+)" not in perfect.variables
    with pytest.raises(PlanError, match="lost jet beside these"):
        planned(found, measured, lost=2)


def test_two_neutrinos_of_one_resonance_beside_other_legs_have_no_map():
    found = tree("g g > h g, (h > w+ w-, w+ > e+ ve, w- > mu- vm~)")
    with pytest.raises(PlanError, match="both come of h"):
        planned(found, Measurement(PERFECT_LEPTONS, "recoil", WIDTHS))


def test_a_leg_that_nothing_measures():
    model = load("sm")
    with pytest.raises(ReactionError, match="let it decay"):
        tree_of(expand(parse("g g > t t~"), model)[0], model)
