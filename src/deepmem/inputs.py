"""What an event must bring to have a weight: one check, for Python and the command line alike.

An event that fails it has status 3, and a `Reason` that can be counted: no number is made of a sentinel, of
degrees, or of a charge of 0. What a whole column looks like, degrees or MeV, is found by `ranges.Ranges`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from enum import IntEnum

import numpy as np

from deepmem.columns import LARGEST_PHI, Quantity, recognise

LARGEST_ETA = 10.0
"""No detector measures from here on, and what is written where nothing was measured often lies beyond."""

# A jet's mass that is negative by rounding of E² − p²: as a part of its energy, at most.
_ROUNDING = 2e-3


class Reason(IntEnum):
    """Why an event has no weight, or one that is not good: the first that applies."""

    NONE = 0
    NO_LEPTON = 16
    NO_JET = 17
    NO_MISSING_PT = 18
    NO_PHOTON = 20
    NO_TAU = 21
    MORE_TAUS = 22
    NOT_FINITE = 1
    PT = 2
    ETA = 3
    PHI = 4
    MISSING_PT = 5
    JET_MASS = 6
    CHARGE = 7
    CONTRADICTION = 8
    SIGNS = 19
    FLAVOURS = 33
    OVERFLOW = 10
    NO_POINT = 11
    NEGATIVE_DENSITY = 12
    NO_RESPONSE = 13
    LACKING_JET = 14
    TAG = 15
    LOST = 32
    WORKER_DIED = 31

    @property
    def meaning(self) -> str:
        return _MEANING[self]


_MEANING = {
    Reason.NONE: "nothing is wrong with the event",
    Reason.NO_LEPTON: "there are fewer leptons than the process has",
    Reason.NO_JET: "there are fewer jets than the process has",
    Reason.NO_MISSING_PT: "there is no missing pT",
    Reason.NO_PHOTON: "there are fewer photons than the process has",
    Reason.NO_TAU: "there are fewer leptons and taus than the process has of both",
    Reason.MORE_TAUS: "there are more leptons and taus than the process has of both",
    Reason.NOT_FINITE: "a value is missing, NaN or infinite",
    Reason.PT: "a pT is not positive",
    Reason.ETA: f"an |η| is {LARGEST_ETA:g} or more",
    Reason.PHI: "an angle φ is beyond ±2π: no measurement, or degrees",
    Reason.MISSING_PT: "the missing pT is negative",
    Reason.JET_MASS: "the mass of a jet is negative, or larger than its momentum",
    Reason.CHARGE: "a charge is neither +1 nor −1",
    Reason.CONTRADICTION: "a charge contradicts the PDG code",
    Reason.SIGNS: "the charges of the leptons are not those of the process",
    Reason.FLAVOURS: "the flavours of the leptons are not those of the process",
    Reason.OVERFLOW: "an energy is beyond what a number can hold",
    Reason.NO_POINT: "the integrand is finite nowhere, as for leptons of one direction",
    Reason.NEGATIVE_DENSITY: "the parton density is negative there",
    Reason.LACKING_JET: "there are fewer jets than the process has legs of them",
    Reason.TAG: "a jet's tag is neither 0 nor 1, or a probability of it is none",
    Reason.LOST: "another number of jets is lost than in the nominal event, so that units differ",
    Reason.WORKER_DIED: "worker died: the event ended three processes that computed it",
    Reason.NO_RESPONSE: "a particle is beyond the |η| or the energies for which its response is known",
}


def with_unknown_codes(columns: Mapping[str, np.ndarray], unsure: Collection[str]) -> dict[str, np.ndarray]:
    """The same, where what is no number in some of the columns is 0: no PDG code is that."""
    return {
        name: np.where(np.isfinite(values), values, 0.0) if name in unsure else values
        for name, values in columns.items()
    }


# What is lacking where all that columns hold of an object, but for its code, is NaN.
_ABSENT = (
    (re.compile(r"lep\d+"), Reason.NO_LEPTON),
    (re.compile(r"j\d+"), Reason.NO_JET),
    (re.compile(r"MET"), Reason.NO_MISSING_PT),
    (re.compile(r"pho\d+"), Reason.NO_PHOTON),
)


def first(reasons: Mapping[Reason, np.ndarray], count: int) -> np.ndarray:
    """The first reason of each of `count` events, int32, of which events each one applies to."""
    found = np.zeros(count, dtype=np.int32)
    for reason in Reason:
        if reason in reasons:
            found[(found == Reason.NONE) & reasons[reason]] = reason
    return found


def absent(used: Sequence[tuple[str, Quantity, np.ndarray]], count: int) -> dict[Reason, np.ndarray]:
    """Which of `count` events lack an object, all that was measured of it being NaN, by reason.

    **Arguments:** `used`, of each column the object, the quantity and its values `[events]`.
    """
    found: dict[Reason, np.ndarray] = {}
    for owner in {owner for owner, *_ in used}:
        reason = next((reason for pattern, reason in _ABSENT if pattern.fullmatch(owner)), None)
        if reason is not None:
            measured = [v for held_by, what, v in used if held_by == owner and what is not Quantity.PDG]
            there = found.setdefault(reason, np.zeros(count, dtype=bool))
            there |= np.all(np.isnan(measured), axis=0)
    return found


def implausible(columns: Mapping[str, np.ndarray]) -> dict[Reason, np.ndarray]:
    """Which events have a value that makes no sense, by reason; what a column holds is read off its name.

    **Arguments:** `columns`, name → values `[events]` in GeV and radians.
    """
    held = {name: recognise(name) for name in columns}
    used = [(column.object, column.quantity, columns[name]) for name, column in held.items()]
    of = {(owner, quantity): values for owner, quantity, values in used}
    count = len(next(iter(columns.values()), ()))
    bad: dict[Reason, np.ndarray] = {}
    bad |= {reason: np.zeros(count, dtype=bool) for reason in Reason if reason is not Reason.NONE}
    for values in columns.values():
        bad[Reason.NOT_FINITE] |= ~np.isfinite(values)
    bad |= absent(used, count)
    for owner, quantity, values in used:
        match quantity:
            case Quantity.PT if (owner, Quantity.ETA) in of:
                bad[Reason.PT] |= values <= 0
            case Quantity.PT:
                bad[Reason.MISSING_PT] |= values < 0
            case Quantity.ETA:
                bad[Reason.ETA] |= np.abs(values) >= LARGEST_ETA
            case Quantity.PHI:
                bad[Reason.PHI] |= np.abs(values) > LARGEST_PHI
            case Quantity.MASS:
                bad[Reason.JET_MASS] |= _impossible_mass(values, of, owner)
            case Quantity.CHARGE:
                bad[Reason.CHARGE] |= np.abs(values) != 1
                if (code := of.get((owner, Quantity.PDG))) is not None:
                    charged = np.isin(np.abs(code), (11, 13, 15))
                    bad[Reason.CONTRADICTION] |= charged & (np.sign(values) != -np.sign(code))
    return bad


def _impossible_mass(
    mass: np.ndarray, of: Mapping[tuple[str, Quantity], np.ndarray], owner: str
) -> np.ndarray:
    """A mass below 0 by more than rounding (what was a jet without one stays one), or in MeV.

    A jet whose mass is its momentum is as wide as a hemisphere.
    """
    pt, eta = (of.get((owner, quantity)) for quantity in (Quantity.PT, Quantity.ETA))
    if pt is None or eta is None:
        return mass < 0
    with np.errstate(over="ignore", invalid="ignore"):
        momentum = np.abs(pt) * np.cosh(eta)
        return (-mass > _ROUNDING * momentum) | (mass > momentum)


def count_reasons(reasons: np.ndarray | None) -> dict[str, int]:
    """How many events have which reason, by its meaning, the most frequent first."""
    if reasons is None:
        return {}
    numbers = np.bincount(reasons, minlength=max(Reason) + 1)
    found = [reason for reason in Reason if reason and numbers[reason]]
    return {r.meaning: int(numbers[r]) for r in sorted(found, key=lambda r: -numbers[r])}
