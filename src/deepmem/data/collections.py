"""From the fields of collections to columns of events: cuts, overlaps, order, and the first few of each kind.

Objects are flat arrays with the number of their event. Where the first k of an event are wanted, its objects
are put among its k largest one after the other, in all events at once: no sorting of millions of short lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import awkward as ak
import numpy as np

from deepmem.data.expressions import Expression
from deepmem.data.objects import ENERGIES, Found, Kind, Located, Reading, without_element
from deepmem.errors import UsageError

_CODE = "PDG code without a sign"


@dataclass(frozen=True)
class _Objects:
    """Objects of one kind: `event` `[objects]`, and values `[objects]` by quantity, in GeV."""

    event: np.ndarray
    values: Mapping[str, np.ndarray]

    def __getitem__(self, keep: np.ndarray) -> _Objects:
        at = np.flatnonzero(keep)
        return _Objects(self.event.take(at), {name: each.take(at) for name, each in self.values.items()})

    @cached_property
    def order(self) -> np.ndarray:
        """Their places, event by event."""
        return np.argsort(self.event, kind="stable")

    def in_place(self, events: int) -> Iterator[np.ndarray]:
        """The first object of each event, the second, and so on: `[events]`, −1 where there is none."""
        counts = np.bincount(self.event, minlength=events)
        starts = np.cumsum(counts) - counts
        for place in range(int(counts.max(initial=0))):
            found = np.full(events, -1)
            there = np.flatnonzero(counts > place)
            found[there] = self.order[starts[there] + place]
            yield found

    def leading(self, among: np.ndarray, keys: np.ndarray, number: int, events: int) -> np.ndarray:
        """Those with the largest keys, in order, `[number, events]`, −1 where there is none.

        Of equal ones, the first comes first.

        **Arguments:** `among`, places of objects, event by event; `keys`, of all objects.
        """
        keys = keys[among]
        counts = np.bincount(self.event[among], minlength=events)
        starts = np.cumsum(counts) - counts
        found = np.full((number, events), -1)
        largest = np.full((number, events), -np.inf, dtype=keys.dtype)
        for place in range(int(counts.max(initial=0))):
            at = np.flatnonzero(counts > place)
            new = starts[at] + place
            enters = keys[new] > largest[-1, at]
            at, new = at[enters], new[enters]
            key, wins = keys[new], np.zeros(len(at), dtype=bool)
            for row, known in zip(found, largest, strict=True):
                old, old_key = row[at], known[at]
                wins |= key > old_key  # and all that come after move down
                row[at], new = np.where(wins, new, old), np.where(wins, old, new)
                known[at], key = np.where(wins, key, old_key), np.where(wins, old_key, key)
        return np.append(among, -1)[found]


class Collections:
    """The columns of some events of a file.

    **Arguments:** `where`, the file, for errors; `reading`, what is read from where; `arrays`, the branches
    of `reading.branches`, of `events` events; `nominal`, those of `reading.of_kept_masses` as no variation
    has them.
    """

    def __init__(
        self,
        where: str,
        reading: Reading,
        arrays: Mapping[str, ak.Array],
        events: int,
        nominal: Mapping[str, ak.Array] = MappingProxyType({}),
    ):
        self._where, self._reading, self._arrays, self._events = where, reading, arrays, events
        self._nominal = nominal
        self._chosen: dict[Kind, _Objects] = {}
        self._wanted: dict[Kind, set[str]] = {kind: {"eta", "phi"} for kind in reading.kinds}
        for each in reading.columns.values():
            self._wanted[each.kind].add(each.quantity)

    def table(self) -> np.ndarray:
        """The columns, float64 `[events, columns]`, in GeV; what is not there is NaN.

        **Raises** `UsageError` where fields of a collection have different lengths.
        """
        columns = self._reading.columns.values()
        table = np.empty((len(columns), self._events))
        firsts: dict[Kind, np.ndarray] = {}
        for i, wanted in enumerate(columns):
            if wanted.kind == "met":
                table[i] = self._missing(wanted.quantity)
                continue
            if wanted.kind not in firsts:
                number = 1 + max(each.place for each in columns if each.kind == wanted.kind)
                firsts[wanted.kind] = self._first(wanted.kind, number)
            # what is at −1, where there is no object, is NaN
            values = np.append(self._passing(wanted.kind).values[wanted.quantity], np.nan)
            table[i] = values[firsts[wanted.kind][wanted.place]]
        return table.T

    def _first(self, kind: Kind, number: int) -> np.ndarray:
        """The first `number` objects of each event in their order, `[number, events]`; −1: there is none."""
        found = self._passing(kind)
        entry = self._reading.kinds[kind][0].entry
        key = found.values[entry.sort.lstrip("-")] * (1 if entry.sort.startswith("-") else -1)
        # what has no key comes last
        keys = np.where(np.isfinite(key), key, np.finfo(key.dtype).min)
        if "tag" not in found.values:
            return found.leading(found.order, keys, number, self._events)
        tagged = found.values["tag"][found.order] > 0
        groups = [found.leading(found.order[each], keys, number, self._events) for each in (tagged, ~tagged)]
        return _one_after_the_other(*groups)

    def _passing(self, kind: Kind) -> _Objects:
        """All objects of a kind that pass their cuts and overlap with none."""
        if kind not in self._chosen:
            self._chosen[kind] = _joined([self._of(kind, each) for each in self._reading.kinds[kind]])
        return self._chosen[kind]

    def _of(self, kind: Kind, located: Located) -> _Objects:
        """The objects of one collection that pass its cuts, and overlap with none of the kinds it says."""
        counts, fields = self._fields(located, self._arrays)
        if located.keeps_mass(self._nominal):
            _, nominal = self._fields(located, {**self._arrays, **self._nominal})
            fields["mass"] = _Quantities(nominal, None)["mass"]
        event = np.repeat(np.arange(self._events), counts)
        quantities = _Quantities(fields, located.entry.above)
        wanted = self._wanted[kind] | {located.entry.sort.lstrip("-"), "tag"}
        names = [name for name in sorted(wanted) if quantities.has(name)]
        if located.entry.tag is not None and located.entry.above is None:
            self._refuse_scores(kind, located, fields["tag"])
        keep = np.ones(len(event), dtype=bool)
        for name, cut in located.entry.cuts.items():
            keep &= _passes(quantities[name], name, cut)
        for other, radius in located.entry.overlap.items():
            directions = _Objects(event, {name: quantities[name] for name in ("eta", "phi")})[keep]
            keep[keep] = ~self._near(directions, self._passing(other), radius)
        return _Objects(event, {name: quantities[name] for name in names})[keep]

    def _refuse_scores(self, kind: Kind, located: Located, tags: np.ndarray) -> None:
        """**Raises** `UsageError` where tags are no yes and no: any score is not 0."""
        scores = tags[np.isfinite(tags) & (tags != np.trunc(tags))]
        if len(scores):
            raise UsageError(
                f"{self._where}: the tag of {kind}, {located.fields['tag'].text}, is a score such as "
                f'{scores[0]:.3g}: say what it is above, "objects": {{"{kind}": {{"above": …}}}}'
            )

    def _near(self, objects: _Objects, others: _Objects, radius: float) -> np.ndarray:
        """Which objects have another one within ΔR."""
        near = np.zeros(len(objects.event), dtype=bool)
        both = np.arange(len(near))
        for column in others.in_place(self._events):
            # an event that has no second one has no third
            both = both[column[objects.event[both]] >= 0]
            at = column[objects.event[both]]
            eta = objects.values["eta"][both] - others.values["eta"][at]
            phi = np.abs(objects.values["phi"][both] - others.values["phi"][at])
            phi = np.minimum(phi, np.abs(2 * np.pi - phi))
            near[both] |= eta * eta + phi * phi < radius * radius
        return near

    def _missing(self, quantity: str) -> np.ndarray:
        """Missing pT or its φ, `[events]`."""
        (located,) = self._reading.kinds["met"]
        fields = {name: self._one(name, found) for name, found in located.fields.items()}
        return _Quantities(fields, None)[quantity]

    def _one(self, quantity: str, found: Found) -> np.ndarray:
        counts, values = self._value(quantity, found, self._arrays)
        if counts is None:
            return np.broadcast_to(values, (self._events,))
        if counts.max(initial=0) > 1:
            raise UsageError(
                f"{self._where}: {found.text} has {counts.max()} values in an event: say which one, as "
                f"{found.text}[0] (the last: [-1])"
            )
        single = np.full(self._events, np.nan)
        single[counts == 1] = values
        return single

    def _fields(
        self, located: Located, arrays: Mapping[str, ak.Array]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """How many objects each event has, and their fields."""
        found = {
            name: self._value(name, each, arrays)
            for name, each in (*located.fields.items(), *located.cuts.items())
        }
        lengths = {name: counts for name, (counts, _) in found.items() if counts is not None}
        counts = next(iter(lengths.values()), np.ones(self._events, dtype=np.int64))
        for name, other in lengths.items():
            if not np.array_equal(counts, other):
                first = next(iter(lengths))
                raise UsageError(
                    f"{self._where}: {located.prefix} has other numbers of objects in {name} than in {first}"
                )
        total = int(counts.sum())
        fields = {}
        for name, (own, values) in found.items():
            per_event = own is None and values.ndim == 1
            name = _CODE if name == "pdg" and located.fields[name].number is not None else name
            fields[name] = np.repeat(values, counts) if per_event else np.broadcast_to(values, (total,))
        return counts, fields

    def _value(
        self, quantity: str, found: Found, arrays: Mapping[str, ak.Array]
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """A field: the counts of its lists and their content; or None and a value per event, or a number."""
        if found.number is not None:
            return None, np.asarray(found.number)
        scale = 1e-3 if self._reading.unit == "MeV" and quantity in ENERGIES else 1.0
        parts = {name: _flat(arrays, key) for name, key in found.keys.items()}
        counts = next((own for own, _ in parts.values() if own is not None), None)
        values = {}
        for name, (own, content) in parts.items():
            if counts is not None and own is None:
                content = np.repeat(content, counts)
            elif own is not None and counts is not None and not np.array_equal(own, counts):
                raise UsageError(f"{self._where}: the fields of {found.text!r} have different lengths")
            values[name] = content
        if "" in values:
            return counts, values[""] if scale == 1 else values[""].astype(np.float64) * scale
        return counts, scale * Expression(found.text)({k: v.astype(np.float64) for k, v in values.items()})


class _Quantities:
    """Quantities of objects, from the fields that there are."""

    def __init__(self, fields: Mapping[str, np.ndarray], above: float | None):
        self._fields, self._above = fields, above
        self._known: dict[str, np.ndarray] = {}

    def has(self, name: str) -> bool:
        try:
            self[name]
        except KeyError:
            return False
        return True

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._known:
            with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
                self._known[name] = self._get(name)
        return self._known[name]

    def _get(self, name: str) -> np.ndarray:
        of = self._fields
        if name not in of and name != "tag":
            of = {key: values.astype(np.float64) for key, values in of.items()}
        if name == "tag":
            least = (of["tag"] != 0) & ~np.isnan(of["tag"])
            return (least if self._above is None else of["tag"] > self._above).astype(float)
        if name == "pdg" and _CODE in of:
            return -np.sign(self["charge"]) * np.abs(of[_CODE])
        if name == "pdg" and "charge" in of:
            return np.where(of["charge"] == 0, of["pdg"], -np.sign(of["charge"]) * np.abs(of["pdg"]))
        if name in of:
            return of[name]
        match name:
            case "pt":
                return np.hypot(of["px"], of["py"])
            case "phi":
                return np.arctan2(of["py"], of["px"])
            case "eta":
                return np.arcsinh(of["pz"] / np.hypot(of["px"], of["py"]))
            case "mass":
                pt, eta = (self[key].astype(np.float64) for key in ("pt", "eta"))
                square = of["energy"] ** 2 - (pt * np.cosh(eta)) ** 2
                return np.sign(square) * np.sqrt(np.abs(square))
            case "charge":
                return -np.sign(of["pdg"])
        raise KeyError(name)


def _one_after_the_other(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Places `[number, events]`, −1 for none: the first ones, and then the others."""
    count = (before >= 0).sum(axis=0)
    place = np.arange(len(before))[:, None]
    follow = np.take_along_axis(after, np.maximum(place - count, 0), axis=0)
    return np.where(place < count, before, follow)


def _joined(parts: list[_Objects]) -> _Objects:
    names = set.intersection(*(set(part.values) for part in parts))
    return _Objects(
        np.concatenate([part.event for part in parts]),
        {name: np.concatenate([part.values[name] for part in parts]) for name in sorted(names)},
    )


def _passes(values: np.ndarray, name: str, cut: Any) -> np.ndarray:
    if not isinstance(cut, tuple):
        return np.abs(values) <= cut if name == "eta" else values >= cut
    low, high = (edge if edge is not None else sign * np.inf for edge, sign in zip(cut, (-1, 1), strict=True))
    return (values >= low) & (values <= high)


def _flat(arrays: Mapping[str, Any], key: str) -> tuple[np.ndarray | None, np.ndarray]:
    """A branch: counts and content of its lists, or None and a value per event; what is missing is NaN.

    Single precision stays: it is what cuts in other programs compare, too. **Raises** `UsageError` where it
    holds no numbers.
    """
    branch, element = without_element(key)
    array = arrays[branch]
    if array.ndim == 1:
        return None, _numbers(array, branch)
    if array.ndim != 2:
        raise UsageError(f"{branch or 'a field'} has lists of lists: expected numbers, or a list per event")
    array = ak.from_regular(array)
    counts = ak.to_numpy(ak.fill_none(ak.num(array), 0))  # an event that is masked has an empty list
    content = _numbers(ak.flatten(array), branch)
    if element is None:
        return counts, content
    ends = np.cumsum(counts)
    at = ends - 1 if element == -1 else ends - counts + element
    there = counts > (0 if element == -1 else element)
    single = np.full(len(counts), np.nan, dtype=content.dtype)
    single[there] = content[at[there]]
    return None, single


def evaluated(where: str, text: str, arrays: Mapping[str, ak.Array]) -> ak.Array:
    """An expression over fields, list by list where some are lists of one length.

    **Raises** `UsageError` where the lists of an event have different lengths.
    """
    flat = {name: _flat({"": array}, "") for name, array in arrays.items()}
    counts = next((own for own, _ in flat.values() if own is not None), None)
    values = {}
    for name, (own, content) in flat.items():
        if own is not None and counts is not None and not np.array_equal(own, counts):
            raise UsageError(f"{where}: the fields of {text!r} have different lengths")
        values[name] = content if own is not None or counts is None else np.repeat(content, counts)
    found = Expression(text)({name: each.astype(np.float64) for name, each in values.items()})
    return ak.Array(found) if counts is None else ak.unflatten(ak.Array(found), counts)


def _numbers(array: ak.Array, branch: str) -> np.ndarray:
    values: Any = ak.to_numpy(array, allow_missing=True)
    if values.dtype.kind not in "fiub":
        raise UsageError(f"{branch or 'a field'} holds {ak.type(array)}: expected numbers")
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    values = np.asarray(values)
    return values if values.dtype == np.float32 else values.astype(np.float64)
