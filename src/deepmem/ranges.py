"""What the columns of a whole file look like: degrees, MeV, and what those may be whose names say nothing.

A value by itself says little: a φ of 2.0 may be 2 degrees. All values of a column say more, and are looked at
chunk by chunk, in bounded memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deepmem.columns import LARGEST_PHI, Column, Quantity, described, how_to_say, no_angle, unsaid
from deepmem.errors import UsageError

# Part of a column's finite values from which it is in degrees; values that are too few to tell; different
# ones that are remembered.
_DEGREES, _FEW, _REMEMBERED = 0.1, 3, 10_000
# GeV; half of a column of pT above it is in MeV. Steps of its histogram, per decade; its lowest power of 10.
_MEV, _STEPS, _LOWEST = 2000.0, 100, -6
# Of its momentum: an energy below it is none.
_BELOW = 0.9
# rad; an azimuth comes so near to the ends of its turn, and not farther beyond them than rounding.
_NEAR, _ROUNDING = 0.04, 1e-3


class Ranges:
    """What the columns of a whole file look like: feed it all rows, in GeV, chunk by chunk."""

    def __init__(self, columns: Sequence[str | Column]) -> None:
        quantities = {column.name: column.quantity for column in described(columns)}
        self._at = {name: i for i, name in enumerate(quantities)}
        self._angles = {
            name: _Angles() for name, q in quantities.items() if q in (Quantity.PHI, Quantity.ANGLE)
        }
        self._momenta = {name: _Momenta() for name, q in quantities.items() if q is Quantity.PT}
        self._charges = {name: _Charges() for name, q in quantities.items() if q is Quantity.CHARGE}
        self._energies = list(_energies(described(columns)))

    def add(self, table: np.ndarray) -> None:
        """Look at rows `[events, columns]`."""
        for name, gathered in self._gathered().items():
            values = np.asarray(table[:, self._at[name]], dtype=np.float64)
            gathered.add(values[np.isfinite(values)])
        for each in self._energies:
            each.add(*(np.asarray(table[:, self._at[name]], dtype=np.float64) for name in each.names))

    def problems(self) -> list[str]:
        """A sentence for each column that looks like degrees or MeV, has a few angles beyond ±2π, or is no
        charge or energy as its name says."""
        found = self._gathered()
        texts = [text for name in self._at if name in found for text in found[name].problems(name)]
        return texts + [text for each in self._energies for text in each.problems()]

    def _gathered(self) -> dict[str, _Angles | _Momenta | _Charges]:
        return {**self._angles, **self._momenta, **self._charges}

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


class _Charges:
    """Of a column of charges: how many are no whole numbers, as of a score."""

    def __init__(self) -> None:
        self.finite = self.broken = 0

    def add(self, values: np.ndarray) -> None:
        self.finite += len(values)
        self.broken += int((values != np.trunc(values)).sum())

    def problems(self, name: str) -> list[str]:
        return (
            [_taken_for(name, Quantity.CHARGE, "no whole numbers")] if 2 * self.broken > self.finite else []
        )


def _energies(columns: Sequence[Column]) -> Iterator[_Energies]:
    """The energies of objects whose momentum is there, too."""
    at = {(each.object, each.quantity): each.name for each in columns}
    for (owner, quantity), name in at.items():
        momentum = [at.get((owner, each)) for each in (Quantity.PT, Quantity.ETA)]
        if quantity is Quantity.ENERGY and None not in momentum:
            yield _Energies((name, *filter(None, momentum)))


class _Energies:
    """Of a column of energies, and pT and η of the same objects: how many are far below their momentum."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names, self.finite, self.below = names, 0, 0

    def add(self, energy: np.ndarray, pt: np.ndarray, eta: np.ndarray) -> None:
        with np.errstate(all="ignore"):
            ratio = energy / (pt * np.cosh(eta))
        ratio = ratio[np.isfinite(ratio)]
        self.finite += len(ratio)
        self.below += int((ratio < _BELOW).sum())

    def problems(self) -> list[str]:
        many = 2 * self.below > self.finite
        return [_taken_for(self.names[0], Quantity.ENERGY, f"below the momentum of {self.names[1]}")] * many


def _taken_for(name: str, quantity: Quantity, what: str) -> str:
    kind = f"{'an' if quantity is Quantity.ENERGY else 'a'} {quantity}"
    return (
        f"{name} is taken for {kind}, and most of its values are {what}: if it is something else, "
        f'"columns": {{"{name}": {{"quantity": "other"}}}} in the input file says so'
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g} %"


class Unsaid:
    """Columns that nothing says the meaning of, and values do: charges are ±1, azimuths fill a turn.

    Feed it all rows, chunk by chunk.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        names = {column.name for column in unsaid(columns)}
        self._at = {each.name: i for i, each in enumerate(columns) if each.name in names}
        self._found = {name: _Extent() for name in self._at}

    def add(self, table: np.ndarray) -> None:
        """Look at rows `[events, columns]`."""
        for name, at in self._at.items():
            values = np.asarray(table[:, at], dtype=np.float64)
            self._found[name].add(values[np.isfinite(values)])

    def problems(self) -> list[str]:
        """A sentence for each column whose values look like charges or azimuths."""
        found = {name: extent.quantity for name, extent in self._found.items()}
        shown = {
            Quantity.CHARGE: "only +1 and -1, as a charge has",
            Quantity.PHI: "a full turn in radians, as an azimuth has",
        }
        return [
            f"{name!r} has {shown[quantity]}, and nothing says what it holds: it is taken as it is. Say it, "
            f"{how_to_say(name, 'lep1', quantity)}"
            for name, quantity in found.items()
            if quantity is not None
        ]


@dataclass
class _Extent:
    """Of a column: its least and largest value, and whether all are ±1."""

    low: float = np.inf
    high: float = -np.inf
    signs: bool = True

    def add(self, values: np.ndarray) -> None:
        self.low = min(self.low, float(values.min(initial=np.inf)))
        self.high = max(self.high, float(values.max(initial=-np.inf)))
        self.signs = self.signs and bool((np.abs(values) == 1).all())

    @property
    def quantity(self) -> Quantity | None:
        """What it looks like; None where it may be anything."""
        if self.signs and self.low < self.high:
            return Quantity.CHARGE
        for begin, end in ((-np.pi, np.pi), (0.0, 2 * np.pi)):
            starts = begin - _ROUNDING < self.low < begin + _NEAR
            if starts and end - _NEAR < self.high < end + _ROUNDING:
                return Quantity.PHI
        return None
