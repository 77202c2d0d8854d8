"""From the names of branches to what they hold: the pT of lepton 1, in GeV.

The configuration names branches as prefixes times suffixes; what each column is, is read off its name, so
that a user's own naming (`lep1_PT`, `Muon_pt[0]`, `METPhi`, `top/fCoordinates/fCoordinates.fEta`) needs no
dictionary. A name that says nothing is not guessed at: such a column is used as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from deepmem.errors import UsageError, nearest


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

LARGEST_PHI = 2 * np.pi + 0.1
"""rad; an angle beyond it is no angle in radians."""
# Degrees end here, with a turn to spare; and what files hold where there is no angle.
_LARGEST_DEGREES = 400.0
_SENTINELS = (9.0, 9.9, 10.0, 77.0, 88.0, 99.0, 99.9, 100.0, 111.0, 200.0, 300.0, 333.0)
# Part of a column's finite values from which it is in degrees; values that are too few to tell; different
# ones that are remembered.
_DEGREES, _FEW, _REMEMBERED = 0.1, 3, 10_000
# GeV; half of a column of pT above it is in MeV. Steps of its histogram, per decade; its lowest power of 10.
_MEV, _STEPS, _LOWEST = 2000.0, 100, -6


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


def check_column_names(mapping: Mapping[str, str], known: Iterable[str]) -> None:
    """Refuse `column_names` that cannot be meant.

    **Arguments:** `mapping`, default column → branch; `known`, all default columns that there are.

    **Raises** `UsageError` for a column that is none of them (with the nearest), a branch whose name says
    that it holds something else, and two columns that are read from one branch.
    """
    known = tuple(dict.fromkeys(known))
    for column, branch in mapping.items():
        if column not in known:
            listed = nearest(column, known) or f"; known: {', '.join(known)}"
            raise UsageError(f"'column_names': there is no column {column!r}{listed}")
        wanted, there = recognise(column).quantity, recognise(branch).quantity
        if Quantity.OTHER not in (wanted, there) and wanted is not there:
            raise UsageError(
                f"'column_names': {column!r} is to hold {wanted}, and {branch!r} looks like {there}"
            )
    readers: dict[str, str] = {}
    for column in known:
        branch = mapping.get(column, column)
        if branch in readers and (column in mapping or readers[branch] in mapping):
            raise UsageError(
                f"'column_names': {readers[branch]!r} and {column!r} are both read from {branch!r}: "
                "name a branch for each"
            )
        readers[branch] = column


def no_angle(values: np.ndarray) -> np.ndarray:
    """Which values of φ are neither radians nor degrees, but what is written where nothing was measured."""
    size = np.abs(values)
    return (size > _LARGEST_DEGREES) | ((size > LARGEST_PHI) & np.isin(size, _SENTINELS))


class Ranges:
    """What the columns of a whole file look like: feed it all rows, in GeV, chunk by chunk."""

    def __init__(self, columns: Sequence[str]) -> None:
        quantities = {name: recognise(name).quantity for name in columns}
        self._at = {name: i for i, name in enumerate(columns)}
        self._angles = {name: _Angles() for name, q in quantities.items() if q is Quantity.PHI}
        self._momenta = {name: _Momenta() for name, q in quantities.items() if q is Quantity.PT}

    def add(self, table: np.ndarray) -> None:
        """Look at rows `[events, columns]`."""
        for name, gathered in self._gathered().items():
            values = np.asarray(table[:, self._at[name]], dtype=np.float64)
            gathered.add(values[np.isfinite(values)])

    def problems(self) -> list[str]:
        """A sentence for each column that looks like degrees or MeV, or has a few angles beyond ±2π."""
        found = self._gathered()
        return [text for name in self._at if name in found for text in found[name].problems(name)]

    def _gathered(self) -> dict[str, _Angles | _Momenta]:
        return {**self._angles, **self._momenta}

    def refuse(self) -> None:
        """**Raises** `UsageError` where a column of angles is in degrees."""
        for name, angles in self._angles.items():
            if angles.degrees:
                raise UsageError(angles.problems(name)[0])


class _Angles:
    """Of a column of φ: how many values are beyond ±2π, and whether these are degrees."""

    def __init__(self) -> None:
        self.finite = self.beyond = 0
        self.largest = 0.0
        self.often: Counter[float] = Counter()

    def add(self, values: np.ndarray) -> None:
        far = values[np.abs(values) > LARGEST_PHI]
        self.finite += len(values)
        self.beyond += len(far)
        self.largest = max(self.largest, float(np.abs(far).max(initial=0.0)))
        far = far[~no_angle(far)]
        for value, number in zip(*np.unique(far, return_counts=True), strict=True):
            # new values are not remembered without end: there are many of degrees, and few of anything else
            known = value in self.often or len(self.often) < _REMEMBERED
            self.often[float(value) if known else np.inf] += int(number)

    @property
    def _as_degrees(self) -> int:
        """Values that can be degrees: not one that most of them share, as where nothing was measured."""
        total = sum(self.often.values())
        (value, number), *_ = self.often.most_common(1) or [(np.inf, 0)]
        shared = np.isfinite(value) and number >= _FEW and number > total / 2
        return total - number if shared else total

    @property
    def degrees(self) -> bool:
        number = self._as_degrees
        enough = number >= _FEW or 2 * number >= self.finite
        return number > _DEGREES * self.finite and enough

    def problems(self, name: str) -> list[str]:
        if not self.beyond:
            return []
        start = f"{name} reaches {self.largest:.4g}, and {_percent(self.beyond, self.finite)} of its values "
        if self.degrees:
            return [start + "are beyond ±2π: an angle in degrees? radians are expected"]
        return [start + "are beyond ±2π: radians are expected, and these events are flagged"]


class _Momenta:
    """Of a column of pT: its median, from a histogram of its logarithm."""

    def __init__(self) -> None:
        self.finite = self.large = 0
        self.histogram = np.zeros(20 * _STEPS, dtype=np.int64)

    def add(self, values: np.ndarray) -> None:
        self.finite += len(values)
        self.large += int((values > _MEV).sum())
        logs = np.log10(np.maximum(values, 10.0**_LOWEST))
        at = np.clip(np.floor((logs - _LOWEST) * _STEPS), 0, len(self.histogram) - 1).astype(int)
        self.histogram += np.bincount(at, minlength=len(self.histogram))

    def problems(self, name: str) -> list[str]:
        if 2 * self.large <= self.finite:
            return []
        at = int(np.searchsorted(np.cumsum(self.histogram), self.finite / 2))
        median = 10 ** ((at + 0.5) / _STEPS + _LOWEST)
        return [
            f'{name} has a median of {median:.2g} GeV: in MeV? Then set "unit": "MeV" in the configuration'
        ]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g} %"
