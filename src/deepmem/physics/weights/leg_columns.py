"""Measured legs of any class as the columns of an event file, whatever particle each of them is. NumPy only.

Leptons, taus, jets and photons by falling pT: lepN_… and tauN_… with charge and PDG code, tauN_… and jN_…
with their masses, jN_… with the true tag jN_B, phoN_…; and the missing pT.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepmem.physics.processes.base import MISSING_COLUMNS
from deepmem.physics.weights.event_columns import polar, polar_mass
from deepmem.physics.weights.particles import PREFIX

_PREFIX = {**PREFIX, "jet": "j", "bjet": "j"}


def columns_of_legs(
    measured: np.ndarray, codes: np.ndarray, kinds: Sequence[str], missing: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The default columns of measured events.

    **Arguments:** `measured` `[events, legs, 4]` in GeV; `codes` `[events, legs]`, PDG codes; `kinds`, the
    class of each leg; `missing` (p_x, p_y) `[events, 2]` in GeV, or None. **Returns** float64, PDG int32.
    """
    columns: dict[str, np.ndarray] = {}
    events = np.arange(len(measured))
    for prefix in dict.fromkeys(_PREFIX.values()):
        legs = np.array([k for k, kind in enumerate(kinds) if _PREFIX.get(kind) == prefix], dtype=int)
        pt = np.hypot(measured[:, legs, 1], measured[:, legs, 2])
        for index, leg in enumerate(legs[np.argsort(-pt, axis=1, kind="stable")].T):
            name, p, code = f"{prefix}{index + 1}", measured[events, leg], codes[events, leg]
            if prefix == "j":
                columns |= polar_mass(p, name) | {f"{name}_B": np.where(abs(code) == 5, 1.0, 0.0)}
                continue
            columns |= polar_mass(p, name) if prefix == "tau" else polar(p, name)
            if prefix in ("lep", "tau"):
                columns[f"{name}_Charge"] = np.where(code > 0, -1.0, 1.0)
                columns[f"{name}_PDG"] = code.astype(np.int32)
    if missing is not None:
        size, phi = (f(missing[:, 1], missing[:, 0]) for f in (np.hypot, np.arctan2))
        columns |= dict(zip(MISSING_COLUMNS, (size, phi), strict=True))
    return columns
