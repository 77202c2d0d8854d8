"""What cuts on partons say of phase space before a point is drawn: least p_T of legs, least masses of pairs.

2 p_i·p_j ≥ 2 p_T,i p_T,j (cosh Δη − cos Δφ) ≥ 2 p_T,i p_T,j (1 − cos ΔR).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from deepmem.selection import (
    B_JETS,
    CHARGED_LEPTONS,
    JETS,
    PHOTONS,
    Selection,
    of_kind,
    opposite_pairs,
)


def least_pt(codes: Sequence[int], cuts: Selection | None) -> np.ndarray:
    """The least p_T of each leg `[legs]`, GeV."""
    least = np.zeros(len(codes))
    if cuts is None:
        return least
    for kinds, thresholds in (
        (CHARGED_LEPTONS, cuts.lepton_pt),
        (JETS, cuts.jet_pt),
        (B_JETS, cuts.bjet_pt),
        (PHOTONS, cuts.photon_pt),
    ):
        legs = of_kind(codes, kinds)
        if thresholds and legs:
            # thresholds fall, and any leg may be the last one
            lowest = thresholds[min(len(legs), len(thresholds)) - 1]
            least[legs] = np.maximum(least[legs], lowest)
    return least


def least_pairs(
    codes: Sequence[int], masses: np.ndarray, pt: np.ndarray, cuts: Selection | None
) -> np.ndarray:
    """The least 2 p_i·p_j of each pair `[legs, legs]` with i < j, GeV²."""
    found = np.zeros((len(codes), len(codes)))
    if cuts is None:
        return found
    leptons, jets, b_jets = (of_kind(codes, kinds) for kinds in (CHARGED_LEPTONS, JETS, B_JETS))
    photons = set(of_kind(codes, PHOTONS))
    for i, j in combinations(range(len(codes)), 2):
        apart = 0.0
        if i in leptons and j in leptons:
            apart = cuts.delta_r
        if i in jets and j in jets:
            apart = max(cuts.jet_delta_r, cuts.jet_jet_delta_r)
            if i in b_jets and j in b_jets:
                apart = max(apart, cuts.bjet_delta_r)
        elif (i in jets and j in leptons) or (i in leptons and j in jets):
            apart = cuts.jet_delta_r
        if {i, j} & photons and {i, j} <= {*leptons, *jets, *photons}:
            apart = cuts.photon_delta_r
        found[i, j] = 2 * pt[i] * pt[j] * (1 - np.cos(min(apart, np.pi)))
    heavy = [(pair, cuts.pair_mass[0]) for pair in opposite_pairs(codes)]
    if len(leptons) == 2:
        heavy.append(((leptons[0], leptons[1]), cuts.mass[0]))
    for (i, j), mass in heavy:
        found[i, j] = max(found[i, j], mass**2 - masses[i] ** 2 - masses[j] ** 2)
    return found
