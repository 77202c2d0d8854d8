"""σ and σ_vis cover what was asked for: any resonance, any selection, and what responses move into it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from deepmem.errors import DeepMEMError
from deepmem.physics.adaptation import Grid, Pilot
from deepmem.physics.constants import Parameters
from deepmem.physics.leading_order import BATCH, LeadingOrder, cross_section, default_masses, draw_events
from deepmem.physics.processes import find_process
from deepmem.selection import mass

LEPTONS = {"lepton_pt": [20, 10, 5], "lepton_eta": 2.5}
PAIRS = {"lepton_pt": [20, 10], "lepton_eta": 2.5}


def agree(one: float, error: float, other: float, other_error: float) -> None:
    assert one == pytest.approx(other, abs=4 * np.hypot(error, other_error))


@pytest.mark.parametrize(
    ("process", "parameters", "expected"),
    [
        ("higgs_4l", {}, (105, 140)),
        ("higgs_4l", {"MH": 150.0}, (126, 168)),
        ("higgs_4l", {"WH": 20.0}, (0, 325)),
        ("drell_yan", {}, (60, 120)),
        ("drell_yan", {"MZ": 182.376}, (120, 240)),
        ("zz_4l", {}, (105, 140)),
        ("ttbar_2l", {}, (0, np.inf)),
    ],
)
def test_the_masses_of_sigma_follow_the_resonance(process, parameters, expected):
    found = default_masses(find_process(process), Parameters(**parameters))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("settings", [{"MH": 150.0}, {"MH": 500.0, "subset": "zz"}, {"WH": 20.0}])
def test_sigma_vis_has_the_resonance_wherever_it_is(settings):
    """Against true masses given by hand, around the resonance; and with a mass window around it."""
    peak, width = settings.get("MH", 125.0), settings.get("WH", 0.1)
    window = [peak - max(2 * width, 5), peak + max(2 * width, 5)]
    cuts = {**LEPTONS, "mass": window, "pair_mass": 12}
    found = cross_section("higgs_4l", cuts, precision=1e-2, **settings)
    by_hand = cross_section(
        "higgs_4l", cuts, precision=1e-2, seed=2, mass=(0.7 * window[0], 1.4 * window[1]), **settings
    )
    agree(found.visible, found.visible_error, by_hand.visible, by_hand.visible_error)
    everything = cross_section("higgs_4l", {**LEPTONS, "pair_mass": 12}, precision=1e-2, **settings)
    assert everything.visible > 0.95 * found.visible
    assert everything.sampled[1] == 13000
    assert found.remarks() == everything.remarks() == []


def test_sigma_vis_of_four_leptons_has_the_z_and_pairs_of_zs():
    """qq̄ → 4ℓ: slices of the measured mass add up to all of it, the single Z at 91 GeV included."""
    edges = (0, 80, 100, 180, 13_000)
    base = {**LEPTONS, "pair_mass": 12}
    parts = [
        cross_section("zz_4l", {**base, "mass": list(slice_)}, precision=0.02)
        for slice_ in pairwise(edges)
    ]
    whole = cross_section("zz_4l", base, precision=0.02)
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
    assert found.value > 1200


def test_a_window_of_pairs_has_the_true_pairs_below_it():
    """A cut at 4 GeV: with a response of 20 % many of the pairs above it are truly lighter."""
    cuts = {**LEPTONS, "pair_mass": 4, "mass": [105, 140]}
    response = {"lepton": 0.1}
    found = cross_section("zz_4l", cuts, precision=0.02, response=response)
    lower = cross_section("zz_4l", cuts, precision=0.02, seed=2, response=response, pair_mass=1.0)
    cut = cross_section("zz_4l", cuts, precision=0.02, response=response, pair_mass=4.0)
    assert (found.pair_mass, found.sampled_pair_mass) == (4.0, pytest.approx(2.0))
    agree(found.visible, found.visible_error, lower.visible, lower.visible_error)
    assert cut.visible < found.visible - 3 * found.visible_error
    assert found.light == 0
    assert cut.light > 0.01


def test_what_a_selection_lets_in_and_is_not_sampled_is_said():
    narrow = cross_section("zz_4l", LEPTONS, precision=0.03, mass=(105, 140))
    wide = cross_section("zz_4l", LEPTONS, precision=0.03)
    assert wide.beyond == 0
    assert narrow.beyond == pytest.approx(wide.visible / narrow.visible - 1, rel=0.3)
    (masses, pairs) = narrow.remarks()
    assert "outside 105 to 140 GeV would add" in masses
    assert "true mass from 4 to 5 GeV" in pairs
    # what the selection excludes by itself is no loss
    assert cross_section("drell_yan", {**PAIRS, "mass": [70, 110]}, precision=0.02).remarks() == []
    assert cross_section("drell_yan", PAIRS, precision=0.02).light > 0.1


def test_without_a_selection_sigma_vis_keeps_to_the_masses_of_sigma():
    found = cross_section("higgs_4l", points=BATCH, MH=150.0)
    assert found.sampled == found.mass == pytest.approx((126, 168))
    events = draw_events("higgs_4l", 200, MH=150.0)
    assert abs(np.median(mass(events.true.sum(axis=1))) - 150) < 0.1


def test_an_estimate_from_no_points_is_none():
    cuts = {"lepton_pt": 20_000}
    with pytest.raises(DeepMEMError, match="none of 16384 points passed"):
        cross_section("drell_yan", cuts, points=10_000)


def test_an_estimate_from_few_points_has_an_error_that_says_so(monkeypatch):
    """Only the n-th point passes: the error is above the value for n = 1."""
    usual = LeadingOrder.passes

    def few(self, drawn):
        kept = np.flatnonzero(usual(self, drawn) & (drawn.weight > 0))[:1]
        return np.isin(np.arange(len(drawn.weight)), kept)

    monkeypatch.setattr(LeadingOrder, "passes", few)
    found = cross_section("drell_yan", {"lepton_pt": 20}, points=BATCH)
    assert found.passed == 1
    assert found.visible_error >= found.visible > 0
    assert "Only 1 of 16,384 points passed" in found.remarks()[0]


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
    assert jacobian.max() <= 1 / 0.15


def test_parameters_of_a_provenance_may_be_named_at_their_defaults():
    """A file of weights says all of them; one without effect is refused only where it is changed."""
    one, two = (cross_section("drell_yan", points=BATCH, **named) for named in ({}, Parameters()._asdict()))
    assert one == two
