"""Cuts on what the detector saw: one definition for generated events, σ_vis and likelihoods.

W/σ_vis is a density only if σ_vis counts exactly the events that are kept, so the cuts are written once, as
the key `selection` of a configuration or as a `Selection`, and everybody applies this one. NumPy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from deepmem.errors import UsageError, nearest

Window = tuple[float, float]

CHARGED_LEPTONS = (11, 13, 15)
NEUTRINOS = (12, 14, 16)
JETS = (1, 2, 3, 4, 5, 21)
B_JETS = (5,)
PHOTONS = (22,)


@dataclass(frozen=True)
class Selection:
    """Cuts on measured leptons, jets and missing pT; without arguments, all events pass.

    - `lepton_pt`: least pT in GeV, of the leading lepton first; the last number holds for all further ones.
    - `lepton_eta`: largest |η|.
    - `delta_r`: least ΔR = √(Δη² + Δφ²) between any two leptons.
    - `mass`: window of the invariant mass of all leptons, GeV.
    - `pair_mass`: window of every pair of equal flavour and opposite charge, GeV.
    - `z1_mass`, `z2_mass`: windows of the pair nearest to the Z mass and of the other pair, GeV (four
      leptons).
    - `total_pt`: window of |Σ p_T| of all leptons, GeV.
    - `jet_pt`, `jet_eta`: the same of jets as of leptons.
    - `jet_delta_r`: least ΔR between a jet and any other jet or lepton; `jet_jet_delta_r`: of jets alone.
    - `bjet_pt`, `bjet_eta`, `bjet_delta_r`: the same of b jets alone, ΔR between two of them.
    - `photon_pt`, `photon_eta`: the same of photons as of leptons; `photon_delta_r`: least ΔR between a
      photon and any other photon, jet or lepton.
    - `met`: window of the missing pT, GeV.
    - `recoil_pt`: window of |Σ p_T| of all that was measured, jets and missing pT included, GeV.

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
    jet_pt: tuple[float, ...] = ()
    jet_eta: float = np.inf
    jet_delta_r: float = 0.0
    jet_jet_delta_r: float = 0.0
    bjet_pt: tuple[float, ...] = ()
    bjet_eta: float = np.inf
    bjet_delta_r: float = 0.0
    photon_pt: tuple[float, ...] = ()
    photon_eta: float = np.inf
    photon_delta_r: float = 0.0
    met: Window = (0.0, np.inf)
    recoil_pt: Window = (0.0, np.inf)

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
            if key.endswith(("_eta", "delta_r")):
                values[key] = _numbers(value, path, 1)[0]
            elif key in _THRESHOLDS:
                values[key] = _numbers(value, path)
                if any(second > first for first, second in pairwise(values[key])):
                    raise UsageError(
                        f"{path}: the least pT of the leading one comes first, so they fall; got {value!r}"
                    )
            else:
                values[key] = _window(value, path)
        return cls(**values)

    @classmethod
    def of(cls, cuts: Selection | Mapping[str, Any] | None) -> Selection:
        """A selection as it is, from a dict, or the one that all events pass."""
        if cuts is None:
            return cls()
        if isinstance(cuts, Selection):
            return cuts
        if not isinstance(cuts, Mapping):
            raise UsageError(f'a selection is a dict of cuts such as {{"lepton_pt": [20, 10]}}, got {cuts!r}')
        return cls.from_dict(cuts)

    def passes(
        self, momenta: np.ndarray, codes: Sequence[int], missing: np.ndarray | None = None
    ) -> np.ndarray:
        """Which events are kept, bool `[events]`.

        **Arguments:** `momenta` `[events, particles, 4]`, measured (E, px, py, pz) in GeV; `codes`, their
        PDG codes; `missing` `[events, 2]`, the missing (p_x, p_y), by default the sum of the neutrinos. An
        event with a NaN is not kept.

        **Raises** `UsageError` for a cut on jets or missing pT where there are none.
        """
        momenta = np.asarray(momenta, dtype=np.float64)
        seen, jets = of_kind(codes, CHARGED_LEPTONS), of_kind(codes, JETS)
        p = momenta[:, seen]
        kinds = [codes[i] for i in seen]
        total = p.sum(axis=1)

        photons = of_kind(codes, PHOTONS)
        visible = momenta[:, seen + jets + photons]
        kept = np.isfinite(visible).all(axis=(1, 2)) & (visible[..., 0] > 0).all(axis=1)
        kept &= _hard_and_central(p, self.lepton_pt, self.lepton_eta)
        if self.delta_r > 0:
            kept &= _apart(p, len(seen), self.delta_r)
        kept &= _inside(mass(total), self.mass)
        kept &= _inside(np.hypot(total[:, 1], total[:, 2]), self.total_pt)
        pairs = opposite_pairs(kinds)
        if pairs:
            masses = np.stack([mass(p[:, i] + p[:, j]) for i, j in pairs])
            kept &= _inside(masses, self.pair_mass).all(axis=0)
            kept &= self._z_pairs(masses, pairs, len(kinds))
        kept &= _hard_and_central(momenta[:, photons], self.photon_pt, self.photon_eta)
        if self.photon_delta_r > 0:
            kept &= _apart(momenta[:, photons + seen + jets], len(photons), self.photon_delta_r)
        return kept & self._jets(momenta, codes) & self._missing(momenta, codes, missing)

    def refuse_without_effect(self, codes: Sequence[int]) -> None:
        """**Raises** `UsageError` for a cut that a final state of these PDG codes can't be subject to."""
        leptons, jets, b_jets, photons = (
            len(of_kind(codes, kinds)) for kinds in (CHARGED_LEPTONS, JETS, B_JETS, PHOTONS)
        )
        pairs = opposite_pairs([codes[i] for i in of_kind(codes, CHARGED_LEPTONS)])
        no_pair = "no two leptons have one flavour and opposite charges; mass is that of all leptons"
        for names, there, why in (
            (("pair_mass", "z1_mass"), pairs, no_pair),
            (("z2_mass",), leptons == 4, "there is no second pair of leptons"),
            (_OF_JETS, jets, "there are no jets in this final state"),
            (_OF_B_JETS, b_jets, "there are no b jets in this final state"),
            (_OF_PHOTONS, photons, "there are no photons in this final state"),
            (("met",), of_kind(codes, NEUTRINOS), "there is no missing pT in this final state"),
        ):
            for name in names:
                if not there and getattr(self, name) != getattr(Selection, name):
                    raise UsageError(f"selection.{name}: {why}")
        for name, number in zip(_THRESHOLDS, (leptons, jets, b_jets, photons), strict=True):
            if len(thresholds := getattr(self, name)) > number:
                raise UsageError(
                    f"selection.{name}: there are {number} of these, and {len(thresholds)} thresholds"
                )

    def _jets(self, momenta: np.ndarray, codes: Sequence[int]) -> np.ndarray:
        leptons, jets, b_jets = (of_kind(codes, kinds) for kinds in (CHARGED_LEPTONS, JETS, B_JETS))
        asked = [name for name in _OF_JETS if getattr(self, name) != getattr(Selection, name)]
        if not jets and asked:
            raise UsageError(f"selection.{asked[0]}: there are no jets in this final state")
        kept = _hard_and_central(momenta[:, jets], self.jet_pt, self.jet_eta)
        kept &= _hard_and_central(momenta[:, b_jets], self.bjet_pt, self.bjet_eta)
        for legs, first, least in (
            (jets + leptons, len(jets), self.jet_delta_r),
            (jets, len(jets), self.jet_jet_delta_r),
            (b_jets, len(b_jets), self.bjet_delta_r),
        ):
            if least > 0:
                kept &= _apart(momenta[:, legs], first, least)
        return kept

    def _missing(self, momenta: np.ndarray, codes: Sequence[int], missing: np.ndarray | None) -> np.ndarray:
        if self.met == Selection.met and self.recoil_pt == Selection.recoil_pt:
            return np.full(len(momenta), True)
        if missing is None:
            neutrinos = of_kind(codes, NEUTRINOS)
            if not neutrinos and self.met != Selection.met:
                raise UsageError("selection.met: there is no missing pT in this final state")
            missing = momenta[:, neutrinos, 1:3].sum(axis=1)
        seen = of_kind(codes, CHARGED_LEPTONS + JETS + PHOTONS)
        total = momenta[:, seen, 1:3].sum(axis=1) + missing
        kept = _inside(np.hypot(missing[:, 0], missing[:, 1]), self.met)
        return kept & _inside(np.hypot(total[:, 0], total[:, 1]), self.recoil_pt)

    def _z_pairs(self, masses: np.ndarray, pairs: list[tuple[int, int]], leptons: int) -> np.ndarray:
        """Z1 is the pair nearest to the Z mass, Z2 the pair of what remains."""
        nearest_z = np.abs(masses - Z_MASS).argmin(axis=0)
        events = np.arange(masses.shape[1])
        kept = _inside(masses[nearest_z, events], self.z1_mass)
        if leptons != 4 or self.z2_mass == (0.0, np.inf):
            return kept
        other = [next((k for k, rest in enumerate(pairs) if not set(rest) & set(pair)), 0) for pair in pairs]
        return kept & _inside(masses[np.array(other)[nearest_z], events], self.z2_mass)


_THRESHOLDS = ("lepton_pt", "jet_pt", "bjet_pt", "photon_pt")
_OF_JETS = ("jet_pt", "jet_eta", "jet_delta_r", "jet_jet_delta_r")
_OF_B_JETS = ("bjet_pt", "bjet_eta", "bjet_delta_r")
_OF_PHOTONS = ("photon_pt", "photon_eta", "photon_delta_r")
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


def of_kind(codes: Sequence[int], kinds: Sequence[int]) -> list[int]:
    """The positions in `codes` of particles and antiparticles of some kinds."""
    return [i for i, code in enumerate(codes) if abs(code) in kinds]


def angles(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """η and φ of (E, px, py, pz) `[..., 4]`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        eta = np.arcsinh(p[..., 3] / np.hypot(p[..., 1], p[..., 2]))
    return eta, np.arctan2(p[..., 2], p[..., 1])


def delta_r(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """ΔR = √(Δη² + Δφ²) between (E, px, py, pz) `[..., 4]`."""
    (eta, phi), (other_eta, other_phi) = angles(p), angles(q)
    turn = np.abs(phi - other_phi)
    return np.hypot(eta - other_eta, np.minimum(turn, 2 * np.pi - turn))


def _hard_and_central(p: np.ndarray, pt: tuple[float, ...], eta: float) -> np.ndarray:
    """Whether the particles of each event, by falling pT, are above `pt`, and within |η| < `eta`."""
    kept = (np.abs(angles(p)[0]) < eta).all(axis=1)
    if pt:
        least = [pt[min(i, len(pt) - 1)] for i in range(p.shape[1])]
        kept &= (np.sort(np.hypot(p[..., 1], p[..., 2]), axis=1)[:, ::-1] > least).all(axis=1)
    return kept


def _apart(p: np.ndarray, first: int, least: float) -> np.ndarray:
    """Whether each of the first particles is further than ΔR = `least` from all others."""
    kept = np.full(len(p), True)
    for i, j in combinations(range(p.shape[1]), 2):
        if i < first:
            kept &= delta_r(p[:, i], p[:, j]) > least
    return kept


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
