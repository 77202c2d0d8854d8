"""From the names of branches to what they hold: the pT of lepton 1, in GeV.

The configuration names branches as prefixes times suffixes; what each column is, is read off its name, so
that a user's own naming (`lep1_PT`, `Muon_pt[0]`, `METPhi`, `top/fCoordinates/fCoordinates.fEta`) needs no
dictionary. A name that says nothing is not guessed at: such a column is used as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from deepmem.errors import UsageError


class Quantity(StrEnum):
    """What a column holds of its object."""

    PT = "pT"
    ETA = "eta"
    PHI = "phi"
    MASS = "mass"
    ENERGY = "energy"
    CHARGE = "charge"
    PDG = "pdg"
    OTHER = "other"

    @property
    def has_energy_unit(self) -> bool:
        return self in (Quantity.PT, Quantity.MASS, Quantity.ENERGY)


@dataclass(frozen=True)
class Column:
    """One branch: its `name`, the `object` it describes (`lep1`, `MET`), and the `quantity`."""

    name: str
    object: str
    quantity: Quantity


# Long names may follow the object's name directly (`j1PT`, `METPhi`); one-letter names need a separator.
_SPELLING = {
    "pt": Quantity.PT,
    "eta": Quantity.ETA,
    "phi": Quantity.PHI,
    "mass": Quantity.MASS,
    "energy": Quantity.ENERGY,
    "charge": Quantity.CHARGE,
    "pdgid": Quantity.PDG,
    "pdg": Quantity.PDG,
    "pid": Quantity.PDG,
}
_SHORT = {"m": Quantity.MASS, "e": Quantity.ENERGY, "q": Quantity.CHARGE}
_LONG = re.compile(rf"(.*?)[_.]?({'|'.join(_SPELLING)})", re.IGNORECASE)
_SEPARATED = re.compile(rf"(.*?)[_.]({'|'.join(_SHORT)})", re.IGNORECASE)
_MISSING = re.compile(r"(?:.*_)?(?:(?:puppi|raw|pf)?met|missinget|ptmiss)", re.IGNORECASE)
_INDEX = re.compile(r"(.*)\[(\d+)\]")
_SPLIT_OBJECT = re.compile(r"(.*)/fCoordinates/fCoordinates\.f(\w+)")
_MET_ITSELF = re.compile(r"(.*?)[_.]?(?:met|et)", re.IGNORECASE)


def split_index(name: str) -> tuple[str, int | None]:
    """`Jet_PT[0]` as the branch `Jet_PT` and the element 0; a plain name has no element."""
    match = _INDEX.fullmatch(name)
    return (match[1], int(match[2])) if match else (name, None)


def recognise(name: str) -> Column:
    """What the column `name` holds, read off its name."""
    branch, index = split_index(name)
    element = "" if index is None else f"[{index}]"
    if match := _SPLIT_OBJECT.fullmatch(branch):
        branch = f"{match[1]}_{match[2]}"
    if _MISSING.fullmatch(branch):
        return Column(name, branch + element, Quantity.PT)
    if match := _LONG.fullmatch(branch):
        return Column(name, (match[1] or "event") + element, _SPELLING[match[2].lower()])
    if match := _SEPARATED.fullmatch(branch):
        return Column(name, match[1] + element, _SHORT[match[2].lower()])
    if (match := _MET_ITSELF.fullmatch(branch)) and _MISSING.fullmatch(match[1]):
        return Column(name, match[1] + element, Quantity.PT)
    return Column(name, branch + element, Quantity.OTHER)


def combine(
    prefixes: Sequence[Sequence[str]], suffixes: Sequence[Sequence[str]], split_objects: bool = False
) -> tuple[str, ...]:
    """All prefix + suffix combinations of lists at the same index, in that order.

    With `split_objects` (the key `dir_name_processing`) a name is prefix + `/fCoordinates/fCoordinates.` +
    suffix.

    **Raises** `UsageError` where the two lists differ in length or a column comes twice.
    """
    if len(prefixes) != len(suffixes):
        raise UsageError(
            f"'prefixes' has {len(prefixes)} lists and 'suffixes' {len(suffixes)}: "
            "they are combined list by list, so give as many of one as of the other"
        )
    infix = "/fCoordinates/fCoordinates." if split_objects else ""
    names = tuple(
        prefix + infix + suffix
        for before, after in zip(prefixes, suffixes, strict=True)
        for prefix in before
        for suffix in after
    )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"'prefixes' and 'suffixes' name these columns twice: {', '.join(twice)}")
    if not names:
        raise UsageError("'prefixes' and 'suffixes' name no column at all: give at least one of each")
    return names


def check_units(table: np.ndarray, columns: Sequence[str]) -> list[str]:
    """Warnings for columns that look like degrees or MeV, of rows already in GeV."""
    warnings = []
    for i, name in enumerate(columns):
        quantity = recognise(name).quantity
        values = table[:, i]
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        if quantity is Quantity.PHI and np.abs(values).max() > 2 * np.pi + 0.1:
            warnings.append(
                f"{name} reaches {np.abs(values).max():.4g}: an angle in degrees? Radians are expected"
            )
        if quantity is Quantity.PT and np.median(values) > 2000:
            warnings.append(
                f"{name} has a median of {np.median(values):.4g} GeV: in MeV? "
                'Then set "unit": "MeV" in the configuration'
            )
    return warnings
