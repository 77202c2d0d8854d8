"""Branches of vectors, alone or in lists, and what they make: `lep.pt` of the `TLorentzVector` `lep`.

ROOT stores (px, py, pz, E), or (pT, η, φ) with m or E, in one branch or in one for each member. The other
quantities follow:

    p_T² = p_x² + p_y²,  p_z = p_T sinh η,  E² = p² + m²,  and m < 0 where rounding made E² < p².
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

_MEMBERS = {
    "fX": "px", "fY": "py", "fZ": "pz", "fT": "energy", "fE": "energy",
    "fPt": "pt", "fEta": "eta", "fPhi": "phi", "fM": "mass",
}  # fmt: skip
_QUANTITIES = ("pt", "eta", "phi", "mass", "energy", "px", "py", "pz")
# `lep/fP/fP.fX`, `lep.fE`, `Muons/Muons.fCoordinates.fPt`
_SPLIT = re.compile(rf"(.+?)[./](?:(?:fP|fCoordinates)[./])*({'|'.join(_MEMBERS)})")
_WHOLE = re.compile(r"(?:.*\W)?(T?LorentzVector|TVector[23])\b.*")
# What members there are at least; those of a LorentzVector may be others that say as much.
_OF_CLASS = {"TVector2": ("px", "py"), "TVector3": ("px", "py", "pz")}
_OF_CLASS |= dict.fromkeys(("TLorentzVector", "LorentzVector"), ("px", "py", "pz", "energy"))
_INNER = ("fP", "fCoordinates")


@dataclass(frozen=True)
class Vectors:
    """Where a file has vectors: a branch for each quantity that is stored (`split`), or one of records
    (`whole`); `quantities`, what they make, of `pt eta phi mass energy px py pz`."""

    quantities: tuple[str, ...]
    split: Mapping[str, str]
    whole: str = ""

    def get(self, quantity: str, read: Callable[[str], ak.Array]) -> ak.Array:
        """A quantity `[events]` or `[events, objects]`; `read` gives a branch."""
        if not self.whole:
            return computed(quantity, self.split, lambda name: read(self.split[name]))
        members = stored_in(read(self.whole))
        return computed(quantity, members, members.__getitem__)


def made_of(stored: Collection[str]) -> tuple[str, ...]:
    """The quantities that follow from those that are stored; none where these are no vector."""
    plane = {"px", "py"} <= set(stored) or {"pt", "phi"} <= set(stored)
    along = plane and bool({"pz", "eta"} & set(stored))
    whole = along and bool({"energy", "mass"} & set(stored))
    there = {"pt": plane, "phi": plane, "px": plane, "py": plane, "eta": along, "pz": along}
    return tuple(name for name in _QUANTITIES if there.get(name, whole))


def computed(quantity: str, stored: Collection[str], of: Callable[[str], Any]) -> Any:
    """A quantity, from those that are stored: `of` gives one."""

    def get(name: str) -> Any:
        return computed(name, stored, of)

    if quantity in stored:
        return of(quantity)
    with np.errstate(divide="ignore", invalid="ignore"):
        match quantity:
            case "px":
                return get("pt") * np.cos(get("phi"))
            case "py":
                return get("pt") * np.sin(get("phi"))
            case "pz":
                return get("pt") * np.sinh(get("eta"))
            case "pt":
                return np.hypot(get("px"), get("py"))
            case "phi":
                return np.arctan2(get("py"), get("px"))
            case "eta":
                return np.arcsinh(get("pz") / get("pt"))
            case "energy":
                return np.sqrt(
                    get("px") ** 2 + get("py") ** 2 + get("pz") ** 2 + get("mass") * abs(get("mass"))
                )
            case "mass":
                square = get("energy") ** 2 - get("px") ** 2 - get("py") ** 2 - get("pz") ** 2
                return np.sign(square) * np.sqrt(abs(square))
    raise KeyError(quantity)


def stored_in(records: ak.Array) -> dict[str, ak.Array]:
    """The quantities that records of vectors store; of other records, none."""
    found: dict[str, ak.Array] = {}
    for name in records.fields:
        last = re.split(r"[./]", name)[-1]
        if last in _INNER:
            found |= stored_in(records[name])
        elif last in _MEMBERS:
            found[_MEMBERS[last]] = records[name]
    return found


def vectors(branches: Iterable[tuple[str, str]]) -> dict[str, Vectors]:
    """The vectors among branches, by their names; of each branch its path, and ROOT's name of its class."""
    split: dict[str, dict[str, str]] = {}
    whole: dict[str, Vectors] = {}
    for path, kind in branches:
        if match := _SPLIT.fullmatch(path):
            split.setdefault(_owner(match[1]), {})[_MEMBERS[match[2]]] = path
        elif match := _WHOLE.fullmatch(kind):
            whole[path.rstrip(".")] = Vectors(made_of(_OF_CLASS[match[1]]), {}, path)
    members = {name: (made_of(each), each) for name, each in split.items()}
    return whole | {name: Vectors(makes, each) for name, (makes, each) in members.items() if makes}


def _owner(path: str) -> str:
    """`Muons` of `Muons/Muons` and of `Muons./Muons.fP/Muons`: ROOT repeats what a branch is in."""
    first, _, rest = path.partition("/")
    first = first.rstrip(".")
    repeats = rest == first or rest.startswith((f"{first}.", f"{first}/")) or rest in _INNER
    return first if not rest or repeats else path
