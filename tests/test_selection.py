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
    ],
)
def test_a_wrong_cut_is_named(cuts, said):
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        Selection.from_dict(cuts)
