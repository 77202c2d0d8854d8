"""Cuts: each of them on events made by hand, and what a wrong one is answered with."""

from __future__ import annotations

import numpy as np
import pytest

from deepmem.errors import UsageError
from deepmem.selection import Selection


def lepton(pt: float, eta: float, phi: float) -> list[float]:
    return [pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]


PAIR = np.array([[lepton(45, 0.5, 0.1), lepton(30, -1.0, 3.0)]])
"""m² = 2·45·30 (cosh 1.5 − cos 2.9), so 94.58 GeV."""


@pytest.mark.parametrize(
    ("cuts", "kept"),
    [
        ({}, True),
        ({"lepton_pt": [40, 25]}, True),
        ({"lepton_pt": [40, 31]}, False),
        ({"lepton_pt": 29}, True),
        ({"lepton_pt": 31}, False),
        ({"lepton_eta": 0.9}, False),
        ({"mass": [94, 95]}, True),
        ({"mass": [None, 94]}, False),
        ({"mass": 95}, False),
        ({"pair_mass": [94, None]}, True),
        ({"z1_mass": [40, 90]}, False),
        ({"total_pt": [0, 20]}, True),
        ({"total_pt": [0, 10]}, False),
        ({"delta_r": 3.2}, True),
        ({"delta_r": 3.3}, False),
    ],
)
def test_each_cut(cuts, kept):
    assert Selection.from_dict(cuts).passes(PAIR, (-13, 13)).tolist() == [kept]


def test_z_pairs_are_told_apart_by_their_nearness_to_the_z():
    # e⁺e⁻ at the Z, μ⁺μ⁻ at about 20 GeV
    event = np.array(
        [[lepton(45.5, 0, 0), lepton(45.5, 0, np.pi), lepton(10, 0, 1.0), lepton(10, 0, 1.0 + np.pi)]]
    )
    codes = (-11, 11, -13, 13)
    assert Selection.from_dict({"z1_mass": [85, 95], "z2_mass": [15, 25]}).passes(event, codes).all()
    assert not Selection.from_dict({"z2_mass": [25, 120]}).passes(event, codes).any()
    # four alike: the other pairing has two pairs as well, and all of them count for pair_mass
    assert Selection.from_dict({"pair_mass": 22}).passes(event[:, [0, 1]], (-11, 11)).all()
    assert not Selection.from_dict({"pair_mass": 22}).passes(event, codes).any()


TOPS = np.concatenate(
    [
        PAIR[0, :1],
        [lepton(40, 0.0, 1.0)],
        [lepton(80, 2.0, -1.0)],
        PAIR[0, 1:],
        [lepton(40, 0.3, 2.0)],
        [lepton(35, -1.0, 2.6)],
    ]
)[None]
"""ℓ⁺ ν b ℓ⁻ ν̄ b̄; the neutrinos' pT, 2·40 cos ½, is 70.2 GeV, the second jet is 0.4 from the lepton."""


@pytest.mark.parametrize(
    ("cuts", "kept"),
    [
        ({"jet_pt": [79, 34]}, True),
        ({"jet_pt": 36}, False),
        ({"jet_eta": 2.1}, True),
        ({"jet_eta": 1.9}, False),
        ({"jet_delta_r": 0.39}, True),
        ({"jet_delta_r": 0.41}, False),
        ({"delta_r": 0.41, "lepton_eta": 1.5}, True),
        ({"met": [70, 71]}, True),
        ({"met": 71}, False),
    ],
)
def test_cuts_on_jets_and_missing_pt(cuts, kept):
    codes = (-11, 12, 5, 13, -14, -5)
    assert Selection.from_dict(cuts).passes(TOPS, codes).tolist() == [kept]
    if "met" in cuts:
        measured = np.array([[30.0, 40.0]])
        assert not Selection.from_dict(cuts).passes(TOPS, codes, measured).any()


def test_an_event_without_its_jets_is_not_kept():
    event = TOPS.copy()
    event[0, 5] = np.nan
    assert not Selection().passes(event, (-11, 12, 5, 13, -14, -5)).any()


@pytest.mark.parametrize("cut", ["jet_pt", "jet_eta", "jet_delta_r", "met"])
def test_a_cut_on_what_is_not_there_is_refused(cut):
    with pytest.raises(UsageError, match=f"selection.{cut}: there"):
        Selection.from_dict({cut: 1}).passes(PAIR, (-13, 13))


def test_events_with_nan_or_without_energy_are_not_kept():
    events = np.repeat(PAIR, 3, axis=0)
    events[0, 0, 1] = np.nan
    events[1, 1] *= -1
    assert Selection().passes(events, (-13, 13)).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("cuts", "said"),
    [
        ({"lepton_pts": 20}, "did you mean 'lepton_pt'"),
        ({"mass": [110, 70]}, "selection.mass: a window's low end must be below its high one"),
        ({"mass": [1, 2, 3]}, "selection.mass: expected a window"),
        ({"lepton_eta": "2.5"}, "selection.lepton_eta: expected a number"),
        ({"lepton_pt": -1}, "not negative"),
        ({"lepton_pt": []}, "selection.lepton_pt"),
        ({"lepton_pt": [10, 20]}, "so they fall"),
        ([20, 10], "a dict of cuts"),
    ],
)
def test_a_wrong_cut_is_named(cuts, said):
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        Selection.of(cuts)


B_AND_LIGHT = (5, -5, 21, 22)


@pytest.mark.parametrize(
    ("cuts", "kept"),
    [
        ({"bjet_pt": 30}, True),
        ({"bjet_pt": 41}, False),
        ({"bjet_pt": [50, 30]}, True),
        ({"bjet_eta": 0.5}, True),
        ({"bjet_delta_r": 3.1}, True),
        ({"bjet_delta_r": 3.2}, False),
        ({"jet_pt": 30}, False),
        ({"jet_jet_delta_r": 1.0}, True),
        ({"jet_jet_delta_r": 1.6}, False),
        ({"photon_pt": 19}, True),
        ({"photon_pt": 21}, False),
        ({"photon_eta": 0.5}, True),
        ({"photon_delta_r": 1.5}, True),
        ({"photon_delta_r": 1.6}, False),
    ],
)
def test_cuts_on_b_jets_and_photons(cuts, kept):
    """b quarks of 60 and 40 GeV back to back, a gluon of 20 and a photon of 20 GeV between them."""
    momenta = np.array([[[60, 60, 0, 0], [40, -40, 0, 0], [20, 0, 20, 0], [20, 0, -20, 0]]], dtype=float)
    assert Selection.of(cuts).passes(momenta, B_AND_LIGHT).tolist() == [kept]


@pytest.mark.parametrize("cut", ["bjet_pt", "bjet_eta", "bjet_delta_r", "photon_pt", "photon_eta"])
def test_cuts_on_what_is_not_there(cut):
    with pytest.raises(UsageError, match=cut):
        Selection.of({cut: 1.0}).refuse_without_effect((21, 11))
