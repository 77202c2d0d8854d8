"""σ and σ_vis cover what was asked for: any resonance, any selection, and what responses move into it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import uproot

from deepmem.errors import DeepMEMError, DeepMEMWarning, UsageError
from deepmem.physics.detector.binned import Binned
from deepmem.physics.detector.detector import ByEta, Detector
from deepmem.physics.precision import double_precision
from deepmem.physics.processes import find_process
from deepmem.physics.theory.parameters import PARAMETERS, Parameters
from deepmem.physics.weights import engine
from deepmem.physics.weights.adaptation import Grid, Pilot
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.leading_order import (
    BATCH,
    Disc,
    LeadingOrder,
    Mean,
    cross_section,
    default_masses,
    draw_events,
)
from deepmem.physics.weights.resolution import mapped_resonance
from deepmem.selection import mass

LEPTONS = {"lepton_pt": [20, 10, 5], "lepton_eta": 2.5}
PAIRS = {"lepton_pt": [20, 10], "lepton_eta": 2.5}


def laplace(rec, gen):
    """A user's own density, within 0.9 to 1.1 times E_gen."""
    return jnp.exp(-jnp.abs(rec - gen) / (0.04 * gen)) / (0.08 * gen * (1 - jnp.exp(-2.5)))


GAUSSIAN = {"kind": "gaussian", "r": 0.25}
SHAPES = {
    "gaussian": GAUSSIAN,
    "half a gaussian": {"kind": "gaussian", "r": 0.2, "reach": 1.0},
    "with noise": {"kind": "gaussian", "a": 0.05, "b": 1.0, "c": 3.0, "reach": 2.0},
    "double gaussian": {"kind": "double_gaussian", "fraction": 0.2, "core": {"r": 0.1}, "tail": {"r": 0.28}},
    "crystal ball": {"kind": "crystal_ball", "r": 0.1, "alpha": 1.0, "n": 1.5, "loss": 0.05},
    "crystal ball without a": {"kind": "crystal_ball", "b": 0.5, "alpha": 1.0, "n": 2.0, "loss": 0.05},
    "binned": {"kind": "binned"},
    "function": {"kind": "function", "function": f"{__name__}:laplace", "low": 0.9, "high": 1.1},
    "regions": [{"kind": "gaussian", "r": 0.02, "eta_max": 1.5}, GAUSSIAN],
    "regions of other shapes": [
        GAUSSIAN | {"eta_max": 1.5},
        {"kind": "crystal_ball", "r": 0.1, "alpha": 1.0, "n": 1.5, "loss": 0.05},
    ],
    "perfect": 0,
}


def kept(response: ByEta, eta: float, energies: np.ndarray) -> np.ndarray:
    """∫ T dE_rec over the E_rec whose support has E_gen, for each E_gen, by the trapezium rule."""
    here, found = response.at(eta), []
    counted = jax.jit(lambda rec, gen: jnp.where(here.reaches(rec, gen), here.density(rec, gen), 0.0))
    for gen in energies:
        rec = np.linspace(1e-3, 6 * gen + 60, 30_001)
        inside = np.asarray(counted(rec, gen))
        found.append(np.trapezoid(inside, rec))
    return np.array(found)


def agree(one: float, error: float, other: float, other_error: float) -> None:
    assert one == pytest.approx(other, abs=4 * np.hypot(error, other_error))


@pytest.mark.parametrize(
    ("process", "parameters", "expected"),
    [
        ("higgs_4l", {}, (105, 140)),
        ("higgs_4l", {"MH": 150.0}, (126, 168)),
        ("higgs_4l", {"WH": 20.0}, (8, 325)),
        ("drell_yan", {}, (60, 120)),
        ("drell_yan", {"MZ": 182.376}, (120, 240)),
        ("zz_4l", {}, (105, 140)),
        ("ttbar_2l", {}, (0, np.inf)),
    ],
)
def test_the_masses_of_sigma_follow_the_resonance(process, parameters, expected):
    found = default_masses(find_process(process), Parameters(**parameters))
    assert found == pytest.approx(expected)


def precise(often: float, seldom: float) -> list:
    """Two precisions: of every day, and of the long tests."""
    return [often, pytest.param(seldom, marks=pytest.mark.long)]


@pytest.mark.parametrize("precision", precise(0.025, 0.01))
@pytest.mark.parametrize(
    "settings",
    [pytest.param({"MH": 150.0}, marks=pytest.mark.long), {"MH": 500.0, "subset": "zz"}, {"WH": 20.0}],
)
def test_sigma_vis_has_the_resonance_wherever_it_is(settings, precision):
    """Against true masses given by hand, around the resonance; and with a mass window around it.

    What is found is a sixth off at the most, which is less than a side of the resonance.
    """
    peak, width = settings.get("MH", 125.0), settings.get("WH", 0.1)
    window = [peak - max(2 * width, 5), peak + max(2 * width, 5)]
    cuts = {**LEPTONS, "mass": window, "pair_mass": 12}
    found = cross_section("higgs_4l", cuts, precision=precision, **settings)
    by_hand = cross_section(
        "higgs_4l", cuts, precision=precision, seed=2, mass=(0.7 * window[0], 1.4 * window[1]), **settings
    )
    agree(found.visible, found.visible_error, by_hand.visible, by_hand.visible_error)
    everything = cross_section("higgs_4l", {**LEPTONS, "pair_mass": 12}, precision=precision, **settings)
    # a selection that has the other one
    least = 0.95 * found.visible - 2 * np.hypot(everything.visible_error, found.visible_error)
    assert everything.visible > least
    assert everything.sampled[1] == 13000
    assert found.remarks() == everything.remarks() == []


@pytest.mark.parametrize("precision", precise(0.04, 0.02))
def test_sigma_vis_of_four_leptons_has_the_z_and_pairs_of_zs(precision):
    """qq̄ → 4ℓ: slices of the measured mass add up to all of it, the single Z at 91 GeV included.

    A fifth of it that is missing, or there twice, is seen.
    """
    edges = (0, 80, 100, 180, 13_000)
    base = {**LEPTONS, "pair_mass": 12}
    parts = [
        cross_section("zz_4l", {**base, "mass": list(slice_)}, precision=precision)
        for slice_ in pairwise(edges)
    ]
    whole = cross_section("zz_4l", base, precision=precision)
    total = sum(part.visible for part in parts)
    agree(total, np.sqrt(sum(part.visible_error**2 for part in parts)), whole.visible, whole.visible_error)
    # per GeV, the Z stands out
    assert parts[1].visible / 20 > 2 * parts[2].visible / 80
    for part in (*parts, whole):
        agree(part.value, part.error, whole.value, whole.error)


def test_sigma_vis_of_leptons_follows_a_light_z():
    found = cross_section("drell_yan", {**PAIRS, "mass": [65, 95]}, precision=5e-3, MZ=80.0)
    by_hand = cross_section("drell_yan", {**PAIRS, "mass": [65, 95]}, precision=5e-3, mass=(30, 300), MZ=80.0)
    agree(found.visible, found.visible_error, by_hand.visible, by_hand.visible_error)


def test_a_window_of_pairs_has_the_true_pairs_below_it():
    """A cut at 4 GeV: with a response of 10 % a few per cent of the pairs above it are truly lighter."""
    cuts = {**LEPTONS, "pair_mass": 4, "mass": [105, 140]}
    response = {"lepton": 0.1}
    found = cross_section("zz_4l", cuts, points=BATCH, response=response)
    assert (found.pair_mass, found.sampled_pair_mass) == (4.0, pytest.approx(2.0))
    assert found.light == 0
    assert cross_section("zz_4l", cuts, points=BATCH, response=response, pair_mass=4.0).light > 0.01
    model = LeadingOrder("zz_4l", cuts, response=response, pair_mass=1.0)
    batches = model.batches(np.random.default_rng(1), model.region(visible=True))
    drawn = [next(batches) for _ in range(8)]
    pairs = np.concatenate([b.pair for b in drawn])
    weight = np.concatenate([b.weight * model.passes(b) for b in drawn])
    assert weight[pairs < 2].sum() == 0
    assert weight[pairs < 4].sum() > 0.005 * weight.sum()


def test_what_a_selection_lets_in_and_is_not_sampled_is_said():
    with pytest.warns(DeepMEMWarning, match="105 to 140 GeV would add"):
        narrow = cross_section("zz_4l", LEPTONS, precision=0.05, mass=(105, 140))
    wide = cross_section("zz_4l", LEPTONS, precision=0.05)
    assert wide.beyond == 0
    assert narrow.beyond == pytest.approx(wide.visible / narrow.visible - 1, rel=0.3)
    (masses, pairs) = narrow.remarks()
    assert "outside 105 to 140 GeV would add" in masses
    assert "true mass from 4 to 5 GeV" in pairs
    # what the selection excludes by itself is no loss
    assert cross_section("drell_yan", {**PAIRS, "mass": [70, 110]}, precision=0.02).remarks() == []
    assert cross_section("drell_yan", PAIRS, precision=0.02).light > 0.1
    # and the range of masses that is the default says no more of itself when it is given
    usual, given = (cross_section("drell_yan", precision=0.05, **at) for at in ({}, {"mass": (60, 120)}))
    assert given.beyond == pytest.approx(usual.beyond, rel=0.2)


@pytest.mark.parametrize(
    ("process", "cuts", "says"),
    [
        ("drell_yan", {"lepton_pt": [20, 10, 5]}, "there are 2 of these, and 3 thresholds"),
        ("ttbar_2l", {"jet_pt": [40, 30, 20]}, "there are 2 of these"),
        ("ww_2l", {"pair_mass": 12}, "mass is that of all leptons"),
        ("ww_2l", {"z1_mass": [60, 120]}, "mass is that of all leptons"),
        ("drell_yan", {"z2_mass": [12, 120]}, "no second pair"),
        ("drell_yan", {"met": 20}, "no missing pT"),
        ("zz_4l", {"jet_eta": 2.5}, "no jets"),
    ],
)
def test_a_cut_without_effect_is_refused(process, cuts, says):
    with pytest.raises(UsageError, match=says):
        LeadingOrder(process, cuts)


def test_without_a_selection_sigma_vis_keeps_to_the_masses_of_sigma():
    found = cross_section("higgs_4l", points=BATCH, MH=150.0)
    assert found.sampled == found.mass == pytest.approx((126, 168))
    events = draw_events("higgs_4l", 200, MH=150.0)
    assert abs(np.median(mass(events.true.sum(axis=1))) - 150) < 0.1


def test_an_estimate_from_no_points_is_none():
    cuts = {"lepton_pt": 20_000}
    with pytest.raises(DeepMEMError, match="none of 16384 points passed"):
        cross_section("drell_yan", cuts, points=10_000)


def test_an_estimate_from_few_points_has_an_error_that_says_so():
    """From one point that passed the error is above the value; so few are said."""
    mean = Mean()
    mean.add(np.r_[np.zeros(BATCH - 1), 3.0])
    assert mean.passed == 1
    assert mean.error >= mean.value > 0
    found = cross_section("drell_yan", {"lepton_pt": 20}, points=BATCH)
    assert found.visible_error > found.visible / np.sqrt(found.passed)
    assert "Only 5 of 16,384 points passed" in replace(found, passed=5).remarks()[0]


@pytest.mark.parametrize("skew", [1.0, 30.0])
def test_a_learned_density_leaves_integrals_as_they_are(skew):
    """∫∫ of a peak that one cell has, on a grid that was learned; and its error is less."""
    rng = np.random.default_rng(1)

    def f(first, second):
        return 1 + skew * np.exp(-(((second - 0.3) / 0.02) ** 2)) * (first < 0.2)

    exact = 1 + skew * 0.2 * 0.02 * np.sqrt(np.pi)
    pilot = Pilot(Grid.uniform(np.array([0.0, 0.2, 1.0]), 64), 1)
    errors = []
    for _ in range(3):
        u, v, jacobian = pilot.grid.draw(*rng.random((2, 100_000)))
        values = f(u, v) * jacobian
        error = values.std() / np.sqrt(len(values))
        assert values.mean() == pytest.approx(exact, abs=4 * error)
        errors.append(error)
        pilot.add(u, v, jacobian, values[None])
        pilot.learn()
    if skew > 1:
        assert errors[-1] < 0.4 * errors[0]
    # a density: it integrates to 1, and is nowhere less than its uniform part
    _, _, jacobian = pilot.grid.draw(*rng.random((2, 100_000)))
    assert jacobian.mean() == pytest.approx(1, abs=0.02)
    assert jacobian.max() <= 1 / 0.3


def test_parameters_of_a_provenance_may_be_named_at_their_defaults():
    """A file of weights says all of them; one without effect is refused only where it is changed."""
    every = {name: getattr(Parameters(), name) for name in PARAMETERS}
    one, two = (cross_section("drell_yan", points=BATCH, **named) for named in ({}, every))
    assert one == two


def drawn_of(model: LeadingOrder) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True momenta, σ and which points pass, of some batches."""
    batches = model.batches(np.random.default_rng(4), model.region(visible=True))
    drawn = [next(batches) for _ in range(6)]
    parts = [(b.true, b.sigma, model.passes(b)) for b in drawn]
    true, sigma, seen = (np.concatenate(part) for part in zip(*parts, strict=True))
    return true, sigma, seen


@pytest.fixture(scope="module")
def perfect() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return drawn_of(LeadingOrder("drell_yan", recoil=0, response={"lepton": 0}))


def rapidities(true: np.ndarray) -> np.ndarray:
    """η of massless momenta `[..., 4]`."""
    return np.arctanh(np.clip(true[..., 3] / true[..., 0], -1 + 1e-15, 1 - 1e-15))


def seen_by(detector: Detector, true: np.ndarray) -> np.ndarray:
    """Which events the detector's own draw keeps: all legs."""
    u = np.random.default_rng(6).random(true.shape[:2])
    draw = jax.jit(jax.vmap(jax.vmap(lambda *at: detector.draw("lepton", *at)[1])))
    with double_precision():
        return np.asarray(draw(rapidities(true), true[..., 0], u)).all(axis=1)


# Shapes whose leading-order points, with |M|², are compiled every day; of the others, the detector's draw.
WHOLE = ("gaussian", "binned", "regions")


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        *((name, False) for name in SHAPES),
        *(pytest.param(name, True, marks=[] if name in WHOLE else [pytest.mark.long]) for name in SHAPES),
    ],
)
def test_sigma_vis_loses_what_supports_leave_out(name, whole, perfect, tmp_path):
    """Without cuts σ_vis/σ is the mean of Π ∫T dE_rec over the E_rec whose support has E_gen.

    That is what weights integrate to: their integrals end where supports do. `whole`, as `LeadingOrder` draws
    and counts points; else what the detector draws for given true momenta.
    """
    entry = SHAPES[name]
    if name == "binned":
        # a column that reaches further down than any E_rec is high
        with uproot.recreate(tmp_path / "tf.root") as file:
            file["t"] = np.array([[1.0, 3, 1], [1, 2, 2]]), np.array([0.0, 40, 400]), np.linspace(-30, 30, 4)
        entry = {"kind": "binned", "file": f"{tmp_path}/tf.root:t"}
    model = LeadingOrder("drell_yan", recoil=0, response={"lepton": entry})
    if whole:
        true, sigma, seen = drawn_of(model)
    else:
        # a function is tabulated for each event: as no E_rec is left out, a few find any that is
        true, sigma = (each[: BATCH if name == "function" else None] for each in perfect[:2])
        seen = seen_by(model.detector, true)
    if name in ("function", "perfect"):
        assert seen.all()
    if name == "perfect":
        return
    # beside jumps, interpolation and the trapezium rule are good to a few times 1e-4
    jumps = name in ("binned", "function")
    energies, share = np.geomspace(10, 7000, 400 if name == "binned" else 50), np.ones(len(true))
    with double_precision():
        regions = (0.0, 2.0) if isinstance(entry, list) else (0.0,)
        by_region = [kept(model.detector.by_class["lepton"], eta, energies) for eta in regions]
    for leg in range(2):
        e = true[:, leg, 0]
        central = np.abs(rapidities(true[:, leg])) < 1.5
        shares = [np.interp(np.log(e), np.log(energies), values) for values in by_region]
        share *= np.where(central, shares[0], shares[-1])
    difference = sigma * (seen - share)
    allowed = 4 * difference.std() / np.sqrt(len(sigma)) + (5e-4 if jumps else 1e-5) * sigma.mean()
    assert abs(difference.mean()) < allowed
    if name != "function":
        assert np.average(share, weights=sigma) < 0.995


@pytest.mark.long
def test_weights_integrate_to_sigma_vis_where_much_is_lost():
    """⟨W_B/W_A⟩ over events of A is σ_B/σ_A (statement 5), r = 0.25 against r = 0.2, to a fraction of the loss."""
    cuts = {"lepton_pt": 20, "lepton_eta": 2.5, "mass": [70, 110], "total_pt": [0, 20]}
    recoil = Disc(60.0)
    events = draw_events("drell_yan", 2_500, 3, cuts, recoil=recoil, r_lepton=0.25)
    computed = [
        engine.compute(hypothesis("drell_yan", r_lepton=r), events.columns, precision=0.01)["drell_yan"]
        for r in (0.25, 0.15)
    ]
    ratio = computed[1].value / computed[0].value
    a, b = (cross_section("drell_yan", cuts, precision=3e-3, recoil=recoil, r_lepton=r) for r in (0.25, 0.15))
    expected = b.visible / a.visible
    spread = expected * np.hypot(a.visible_error / a.visible, b.visible_error / b.visible)
    average = np.average(ratio, weights=events.weight)
    agree(average, ratio.std() / np.sqrt(len(ratio)), expected, spread)


def test_a_histogram_with_one_bin_makes_weights():
    """One filled bin between empty ones is the same function as two halves of it."""
    found = []
    events = draw_events("drell_yan", 8, 3, PAIRS, recoil=0, response={"lepton": 0.01})
    # as many bins, so that they share compiled code
    for edges in ([-9.0, -6, -3, 3, 9], [-9.0, -3, 0, 3, 9]):
        inside = np.abs(np.array(edges[1:]) + edges[:-1]) < 6
        filled = np.where(inside, np.diff(edges), 0.0)[None]
        shape = Binned.from_counts(filled, np.array([0.0, 1000]), np.array(edges))
        # a Z so narrow that the map is that of its resonance
        alpha = hypothesis("drell_yan", WZ=0.03, response={"lepton": shape.to_dict()})
        assert mapped_resonance(alpha) is not None
        found.append(engine.compute(alpha, events.columns, precision=0.02)["drell_yan"])
    one, two = found
    assert (one.value > 0).all()
    np.testing.assert_allclose(one.value, two.value, rtol=0.12)
