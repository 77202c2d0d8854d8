"""Cuts on what the detector saw: one definition for generated events, σ_vis and likelihoods.

W/σ_vis is a density only if σ_vis counts exactly the events that are kept, so the cuts are written once, as
the key `selection` of a configuration or as a `Selection`, and everybody applies this one. NumPy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np

from deepmem.errors import UsageError, nearest

Window = tuple[float, float]

CHARGED_LEPTONS = (11, 13, 15)


@dataclass(frozen=True)
class Selection:
    """Cuts on measured leptons; without arguments, all events pass.

    - `lepton_pt`: least pT in GeV, of the leading lepton first; the last number holds for all further ones.
    - `lepton_eta`: largest |η|.
    - `delta_r`: least ΔR = √(Δη² + Δφ²) between any two leptons.
    - `mass`: window of the invariant mass of all leptons, GeV.
    - `pair_mass`: window of every pair of equal flavour and opposite charge, GeV.
    - `z1_mass`, `z2_mass`: windows of the pair nearest to the Z mass and of the other pair, GeV (four
      leptons).
    - `total_pt`: window of |Σ p_T| of all leptons, GeV.

    A window is [low, high], low included and high not; a single number is its low end.
    """

    lepton_pt: tuple[float, ...] = ()
    lepton_eta: float = np.inf
    delta_r: float = 0.0
    mass: Window = (0.0, np.inf)
    pair_mass: Window = (0.0, np.inf)
    z1_mass: Window = (0.0, np.inf)
    z2_mass: Window = (0.0, np.inf)
    total_pt: Window = (0.0, np.inf)

    @classmethod
    def from_dict(cls, cuts: Mapping[str, Any], where: str = "selection") -> Selection:
        """From a configuration, e.g. {"lepton_pt": [20, 10], "lepton_eta": 2.5, "mass": [70, 110]}.

        **Raises** `UsageError` with the path of the offending key and the nearest known one, or what was
        expected.
        """
        known = [field.name for field in fields(cls)]
        values: dict[str, Any] = {}
        for key, value in cuts.items():
            if key not in known:
                raise UsageError(
                    f"{where}.{key}: unknown cut{nearest(str(key), known)}; known: {', '.join(known)}"
                )
            path = f"{where}.{key}"
            if key in ("lepton_eta", "delta_r"):
                values[key] = _numbers(value, path, 1)[0]
            elif key == "lepton_pt":
                values[key] = _numbers(value, path)
            else:
                values[key] = _window(value, path)
        return cls(**values)

    @classmethod
    def of(cls, cuts: Selection | Mapping[str, Any] | None) -> Selection:
        """A selection as it is, from a dict, or the one that all events pass."""
        if cuts is None:
            return cls()
        return cuts if isinstance(cuts, Selection) else cls.from_dict(cuts)

    def passes(self, momenta: np.ndarray, codes: Sequence[int]) -> np.ndarray:
        """Which events are kept, bool `[events]`.

        **Arguments:** `momenta` `[events, particles, 4]`, measured (E, px, py, pz) in GeV; `codes`, their
        PDG codes. Particles that are no charged leptons are not looked at. An event with a NaN is not kept.
        """
        seen = [i for i, code in enumerate(codes) if abs(code) in CHARGED_LEPTONS]
        p = np.asarray(momenta, dtype=np.float64)[:, seen]
        kinds = [codes[i] for i in seen]
        pt = np.hypot(p[..., 1], p[..., 2])
        with np.errstate(divide="ignore", invalid="ignore"):
            eta = np.arcsinh(p[..., 3] / pt)
        phi = np.arctan2(p[..., 2], p[..., 1])
        total = p.sum(axis=1)

        kept = np.isfinite(p).all(axis=(1, 2)) & (p[..., 0] > 0).all(axis=1)
        if self.lepton_pt:
            least = [self.lepton_pt[min(i, len(self.lepton_pt) - 1)] for i in range(len(kinds))]
            kept &= (np.sort(pt, axis=1)[:, ::-1] > least).all(axis=1)
        kept &= (np.abs(eta) < self.lepton_eta).all(axis=1)
        for i, j in combinations(range(len(kinds)), 2) if self.delta_r > 0 else ():
            turn = np.abs(phi[:, i] - phi[:, j])
            kept &= np.hypot(eta[:, i] - eta[:, j], np.minimum(turn, 2 * np.pi - turn)) > self.delta_r
        kept &= _inside(mass(total), self.mass)
        kept &= _inside(np.hypot(total[:, 1], total[:, 2]), self.total_pt)
        pairs = opposite_pairs(kinds)
        if pairs:
            masses = np.stack([mass(p[:, i] + p[:, j]) for i, j in pairs])
            kept &= _inside(masses, self.pair_mass).all(axis=0)
            kept &= self._z_pairs(masses, pairs, len(kinds))
        return kept

    def _z_pairs(self, masses: np.ndarray, pairs: list[tuple[int, int]], leptons: int) -> np.ndarray:
        """Z1 is the pair nearest to the Z mass, Z2 the pair of what remains."""
        nearest_z = np.abs(masses - Z_MASS).argmin(axis=0)
        events = np.arange(masses.shape[1])
        kept = _inside(masses[nearest_z, events], self.z1_mass)
        if leptons != 4 or self.z2_mass == (0.0, np.inf):
            return kept
        other = [next((k for k, rest in enumerate(pairs) if not set(rest) & set(pair)), 0) for pair in pairs]
        return kept & _inside(masses[np.array(other)[nearest_z], events], self.z2_mass)


Z_MASS = 91.188
"""Where pairs are told apart by their nearness to the Z, GeV; not a parameter of any hypothesis."""


def opposite_pairs(codes: Sequence[int]) -> list[tuple[int, int]]:
    """The pairs of charged leptons of equal flavour and opposite charge, as positions in `codes`."""
    return [
        (i, j)
        for i, j in combinations(range(len(codes)), 2)
        if codes[i] == -codes[j] and abs(codes[i]) in CHARGED_LEPTONS
    ]


def mass(p: np.ndarray) -> np.ndarray:
    """√(E² − p⃗²) in GeV of (E, px, py, pz) `[..., 4]`, 0 where rounding makes the square negative."""
    return np.sqrt(np.maximum(p[..., 0] ** 2 - (p[..., 1:] ** 2).sum(axis=-1), 0.0))


def _inside(values: np.ndarray, window: Window) -> np.ndarray:
    return (values >= window[0]) & (values < window[1])


def _numbers(value: Any, where: str, count: int | None = None) -> tuple[float, ...]:
    entries = list(value) if isinstance(value, list | tuple) else [value]
    good = entries and all(isinstance(e, int | float) and not isinstance(e, bool) and e >= 0 for e in entries)
    if not good or (count is not None and len(entries) != count):
        expected = "a number" if count == 1 else "a number or a list of numbers"
        raise UsageError(f"{where}: expected {expected}, not negative, got {value!r}")
    return tuple(float(entry) for entry in entries)


def _window(value: Any, where: str) -> Window:
    """[low, high] or low; None is no bound."""
    entries = list(value) if isinstance(value, list | tuple) else [value, None]
    if len(entries) != 2:
        raise UsageError(f"{where}: expected a window [low, high] or its low end, got {value!r}")
    low = _numbers(0.0 if entries[0] is None else entries[0], where, 1)[0]
    high = _numbers(np.inf if entries[1] is None else entries[1], where, 1)[0]
    if low >= high:
        raise UsageError(f"{where}: a window's low end must be below its high one, got {value!r}")
    return low, high
