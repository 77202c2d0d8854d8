"""What measured objects really were: in columns beside theirs, or in a collection of true particles.

A collection is matched by ΔR = √(Δη² + Δφ²): the closest pairs first, a particle to one object at most, none
beyond a radius. A jet's particle is a quark or gluon of the hard process, that of a lepton a stable e or μ.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import awkward as ak
import numpy as np

from deepmem.kinematics import wrap_angle

_SPELLINGS = {
    "pt": ("pt", "PT"),
    "eta": ("eta", "Eta"),
    "phi": ("phi", "Phi"),
    "mass": ("mass", "Mass", "M"),
    "pdg": ("pdgId", "PID", "PDG", "pdg_id"),
    "status": ("status", "Status"),
    "flags": ("statusFlags",),
}
_STABLE, _OUTGOING = 1, 23  # of Pythia's record
_HARD = 1 << 7  # of NanoAOD's statusFlags


class Momenta(NamedTuple):
    """Objects `[events, objects]`: pT and mass in one unit, PDG code; NaN where there is none."""

    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    mass: np.ndarray
    pdg: np.ndarray

    @property
    def energy(self) -> np.ndarray:
        """√(pT² cosh²η + m²) `[events, objects]`; a mass that is not known is 0."""
        return np.sqrt((self.pt * np.cosh(self.eta)) ** 2 + np.nan_to_num(self.mass) ** 2)

    @property
    def transverse(self) -> np.ndarray:
        """(p_x, p_y) `[events, 2]` of all that are there together."""
        parts = (self.pt * np.cos(self.phi), self.pt * np.sin(self.phi))
        return np.stack([np.nansum(part, axis=1) for part in parts], axis=1)


def branches_of(prefix: str, names: Collection[str]) -> dict[str, str]:
    """The branches of a collection of particles by what they hold; empty where it lacks momenta or codes."""
    found = {}
    for quantity, spellings in _SPELLINGS.items():
        there = [prefix + each for each in spellings if prefix + each in names]
        if there:
            found[quantity] = there[0]
    return found if {"pt", "eta", "phi", "pdg"} <= found.keys() else {}


def candidates(particles: ak.Array, kind: str) -> ak.Array:
    """The particles that objects of a kind can be: `lepton`, `jet`, `photon`, `tau` or `neutrino`."""
    code = abs(particles.pdg)
    status = particles.status if "status" in particles.fields else ak.ones_like(code)
    if kind == "lepton":
        return particles[((code == 11) | (code == 13)) & (status == _STABLE)]
    if kind == "photon":
        return particles[(code == 22) & (status == _STABLE)]
    if kind == "neutrino":
        return particles[((code == 12) | (code == 14) | (code == 16)) & (status == _STABLE)]
    if kind == "tau":
        return particles[code == 15]
    flagged = "flags" in particles.fields
    hard = (particles.flags & _HARD) != 0 if flagged else status == _OUTGOING
    return particles[((code <= 5) | (code == 21)) & hard]


def momenta(particles: ak.Array) -> Momenta:
    """Particles of events as a table, as wide as the largest event has particles."""
    most = max(int(ak.max(ak.num(particles), initial=0)), 1)

    def table(values: Any) -> np.ndarray:
        padded = ak.fill_none(ak.pad_none(ak.values_astype(values, np.float64), most, clip=True), np.nan)
        return ak.to_numpy(padded)

    mass = particles.mass if "mass" in particles.fields else ak.zeros_like(particles.pt)
    return Momenta(
        table(particles.pt), table(particles.eta), table(particles.phi), table(mass), table(particles.pdg)
    )


def matched(measured: Momenta, true: Momenta, radius: float) -> Momenta:
    """The true particle of each measured object; NaN where there is none within `radius`."""
    difference = np.asarray(wrap_angle(measured.phi[:, :, None] - true.phi[:, None, :]))
    apart = np.hypot(measured.eta[:, :, None] - true.eta[:, None, :], difference)
    apart = np.where(np.isfinite(apart), apart, np.inf)
    choice = np.full(measured.pt.shape, -1)
    events = np.arange(len(apart))
    for _ in range(measured.pt.shape[1]):
        object_, particle = np.divmod(apart.reshape(len(apart), -1).argmin(axis=1), true.pt.shape[1])
        near = apart[events, object_, particle] < radius
        choice[events[near], object_[near]] = particle[near]
        apart[events[near], object_[near], :] = np.inf
        apart[events[near], :, particle[near]] = np.inf
    taken = [np.take_along_axis(each, np.maximum(choice, 0), axis=1) for each in true]
    return Momenta(*(np.where(choice < 0, np.nan, each) for each in taken))
