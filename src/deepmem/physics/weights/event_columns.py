"""Measured momenta as the columns of an event file, under the default names of branches. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepmem.physics.processes.base import MISSING_COLUMNS
from deepmem.selection import CHARGED_LEPTONS, JETS, mass, of_kind


def lepton_order(measured: np.ndarray, codes: Sequence[int]) -> np.ndarray:
    """Which leg is lep1, lep2, … of each event, `[events, leptons]`.

    Two leptons by falling pT. Four as the example data have them, ℓ⁻ ℓ⁺ ℓ'⁻ ℓ'⁺ with electrons before muons,
    so that a column always is of one kind; where two are alike, by falling pT.
    """
    legs = [i for i, code in enumerate(codes) if abs(code) in CHARGED_LEPTONS]
    pt = np.hypot(measured[:, legs, 1], measured[:, legs, 2])
    if len(legs) != 4:
        return np.array(legs)[np.argsort(-pt, axis=1, kind="stable")]
    order = np.empty((len(measured), 4), dtype=int)
    kinds = [codes[i] for i in legs]
    slots = [code for pair in (kinds[:2], kinds[2:]) for code in sorted(pair, reverse=True)]
    for code in set(kinds):
        alike = np.flatnonzero(np.array(kinds) == code)
        falling = alike[np.argsort(-pt[:, alike], axis=1, kind="stable")]
        for rank, slot in enumerate(k for k, wanted in enumerate(slots) if wanted == code):
            order[:, slot] = falling[:, rank]
    return np.array(legs)[order]


def jet_order(measured: np.ndarray, codes: Sequence[int]) -> np.ndarray:
    """Which leg is j1, j2, … of each event, `[events, jets]`: by falling pT."""
    legs = np.array(of_kind(codes, JETS), dtype=int)
    pt = np.hypot(measured[:, legs, 1], measured[:, legs, 2])
    return legs[np.argsort(-pt, axis=1, kind="stable")]


def columns_of(
    measured: np.ndarray, codes: Sequence[int], missing: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The default columns of measured events: leptons, jets by falling pT, each with its mass, missing pT.

    **Arguments:** as for `lepton_columns_of`; `missing` (p_x, p_y) `[events, 2]` in GeV, or None.
    """
    columns = lepton_columns_of(measured, codes)
    for index, leg in enumerate(jet_order(measured, codes).T):
        columns |= polar_mass(measured[np.arange(len(measured)), leg], f"j{index + 1}")
    if missing is not None:
        size, phi = (f(missing[:, 1], missing[:, 0]) for f in (np.hypot, np.arctan2))
        columns |= dict(zip(MISSING_COLUMNS, (size, phi), strict=True))
    return columns


def lepton_columns_of(measured: np.ndarray, codes: Sequence[int]) -> dict[str, np.ndarray]:
    """The default columns of measured leptons: PT, Eta, Phi, Charge, and with four leptons PDG.

    **Arguments:** `measured` `[events, legs, 4]` in GeV, `codes` of the legs. **Returns** float64, PDG int32.
    """
    order = lepton_order(measured, codes)
    columns: dict[str, np.ndarray] = {}
    for index in range(order.shape[1]):
        name, leg = f"lep{index + 1}", order[:, index]
        code = np.asarray(codes, dtype=np.int32)[leg]
        columns |= polar(measured[np.arange(len(measured)), leg], name)
        columns[f"{name}_Charge"] = np.where(code > 0, -1.0, 1.0)
        if order.shape[1] == 4:
            columns[f"{name}_PDG"] = code
    return columns


def polar(p: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """NAME_PT, NAME_Eta, NAME_Phi of momenta `[events, 4]`."""
    pt = np.hypot(p[:, 1], p[:, 2])
    return {
        f"{name}_PT": pt,
        f"{name}_Eta": np.arcsinh(p[:, 3] / pt),
        f"{name}_Phi": np.arctan2(p[:, 2], p[:, 1]),
    }


def polar_mass(p: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """The same, and NAME_M."""
    return polar(p, name) | {f"{name}_M": mass(p)}
