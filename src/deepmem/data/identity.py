"""Which events a file of weights is of: numbers that tell two samples apart, wherever their files are.

A hash per column, of the values in their order as single-precision numbers,

    h = Σ_i mix(x_i) r^(n−1−i)  mod 2⁶⁴,   h(A then B) = h(A) r^len(B) + h(B),

so that it is gathered chunk by chunk, and parts of a farm join. `mix` is a step of MurmurHash3's finaliser
(A. Appleby). It tells samples apart that differ by accident; it is no protection against malice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.data.files import sha256
from deepmem.data.root import Source
from deepmem.data.trees import TreeFile, expand
from deepmem.data.weights import read_provenance
from deepmem.errors import DeepMEMError, UsageError

_RATIO = 0x9E3779B97F4A7C15  # odd, so that no power of it vanishes
_MODULUS = 1 << 64
_CHUNK = 100_000  # entries read at once
_TOLD_APART = 0.99  # the part of events that must differ from all others of their sample


class EventHashes:
    """Hashes of columns, gathered from tables `[events, columns]` in their order."""

    def __init__(self, columns: Sequence[str]):
        self._columns = tuple(columns)
        self._hashes = [0] * len(self._columns)
        self._entries = 0

    def add(self, table: np.ndarray) -> None:
        """Take up the next rows, values as they are in the file."""
        if not len(table):
            return
        with np.errstate(over="ignore", invalid="ignore"):
            bits = _bits(table)
            powers = _powers(len(table))
            sums = [int(np.dot(_mixed(column), powers)) for column in bits.T]
        step = pow(_RATIO, len(table), _MODULUS)
        self._hashes = [(h * step + more) % _MODULUS for h, more in zip(self._hashes, sums, strict=True)]
        self._entries += len(table)

    def to_dict(self) -> dict[str, Any]:
        """What a file says of its events: `entries`, and of each of `columns` sixteen digits."""
        digits = (f"{h:016x}" for h in self._hashes)
        return {"entries": self._entries, "columns": dict(zip(self._columns, digits, strict=True))}


@lru_cache(maxsize=8)
def _powers(count: int) -> np.ndarray:
    """r^(n−1), …, r, 1."""
    powers = np.full(count, _RATIO, dtype=np.uint64)
    powers[:1] = 1
    return np.multiply.accumulate(powers)[::-1].copy()


def _bits(table: np.ndarray) -> np.ndarray:
    """The bits of values in single precision, where −0 is 0, and NaN is NaN."""
    single = np.asarray(table).astype(np.float32) + np.float32(0.0)
    return np.where(np.isnan(single), np.float32(np.nan), single).view(np.uint32)


def _mixed(bits: np.ndarray) -> np.ndarray:
    state = bits.astype(np.uint64)
    state += np.uint64(1)
    state *= np.uint64(0xFF51AFD7ED558CCD)
    state ^= state >> np.uint64(33)
    return state


def joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The identity of runs of events one after the other, as `EventHashes.to_dict` gives it for each."""
    total, hashes = 0, dict.fromkeys(parts[0]["columns"], 0)
    for part in parts:
        step = pow(_RATIO, part["entries"], _MODULUS)
        hashes = {
            name: (h * step + int(part["columns"][name], 16)) % _MODULUS
            for name, h in hashes.items()
            if name in part["columns"]
        }
        total += part["entries"]
    return {"entries": total, "columns": {name: f"{h:016x}" for name, h in hashes.items()}}


def hashes_of(source: Source, start: int = 0, stop: int | None = None) -> dict[str, Any]:
    """The identity of entries [start, stop) of a run of files."""
    hashes = EventHashes(source.columns)
    for low, high in source.boundaries(start, source.num_entries if stop is None else stop, _CHUNK):
        hashes.add(source.read(low, high))
    return hashes.to_dict()


@dataclass(frozen=True)
class Events:
    """What a weight file says of its events: their hashes, and the files and entries that they came from."""

    path: str
    hashes: Mapping[str, Any] | None
    inputs: tuple[tuple[str, str, int], ...] | None
    """SHA-256, tree and number of entries of each file; None where one has no SHA-256."""
    entries: tuple[int, int] | None
    """The part of the run, None: all of it."""
    places: tuple[str, ...] = ()
    """Where each of the files was."""
    of_objects: bool = False
    """Whether the columns are made from objects, and no branches of the files."""

    @classmethod
    def of_file(cls, path: str | Path) -> Events | None:
        """None for a file (or `path:tree`) that says nothing, for instance of another program."""
        try:
            about = read_provenance(expand([str(path)])[0][0])
        except (DeepMEMError, OSError):
            return None
        inputs = about.get("inputs") or []
        known = bool(inputs) and all(file.get("sha256") for file in inputs)
        entries = about.get("entries")
        return cls(
            str(path),
            about.get("events"),
            tuple((file["sha256"], file["tree"], file["entries"]) for file in inputs) if known else None,
            None if entries is None else (entries[0], entries[1]),
            tuple(file["path"] for file in inputs) if known else (),
            "objects" in about,
        )

    def difference(self, other: Events) -> str | None:
        """In what the events of two files differ; None: they are the same, or nothing tells."""
        if self._same_files(other):
            return None
        if self.hashes is not None and other.hashes is not None:
            found = difference(self.hashes, other.hashes)
            if found is None or found:
                return found
        if self.inputs is None or other.inputs is None:
            return None
        return "they were made from different files, and have no column in common"

    def same(self, other: Events) -> bool:
        """Whether it is known that the events are the same."""
        if self._same_files(other):
            return True
        both = self.hashes is not None and other.hashes is not None
        return both and difference(self.hashes or {}, other.hashes or {}) is None

    def shared(self, other: Events) -> int:
        """How many events are known to be in both, at whichever place; 0 where nothing tells.

        Events of different files are read and compared in the columns that both were made from, where these
        files are there as they were: a file that was written anew has the same events.
        """
        if self.same(other):
            return self._number
        if self._runs is None or other._runs is None:
            return 0
        number = sum(_overlap(one, another) for one in self._runs for another in other._runs)
        return number or self._alike(other)

    def _alike(self, other: Events) -> int:
        """How many events are those of the other, by what their files hold; 0 where too little tells."""
        both = [set((each.hashes or {"columns": ()})["columns"]) for each in (self, other)]
        columns = tuple(sorted(both[0] & both[1]))
        if not columns:
            return 0
        mine, theirs = self._rows(columns), other._rows(columns)
        if mine is None or theirs is None:
            return 0
        return int(np.isin(mine, theirs).sum())

    def _rows(self, columns: tuple[str, ...]) -> np.ndarray | None:
        """A hash of each event; None where a file is not there as it was, or columns tell too little."""
        if self.inputs is None or self.of_objects:
            return None
        for place, (content, *_) in zip(self.places, self.inputs, strict=True):
            if not Path(place).is_file() or sha256(place) != content:
                return None
        return _rows_of(self.places, self.inputs, self.entries, columns)

    @property
    def repeated(self) -> int:
        """How many events are known to come again in these very events, as when a file is named twice."""
        runs = self._runs or []
        return sum(_overlap(one, another) for i, one in enumerate(runs) for another in runs[:i])

    @property
    def _number(self) -> int:
        """How many there are, as far as that is said."""
        if self.hashes is not None:
            return int(self.hashes["entries"])
        return sum(stop - start for _, start, stop in self._runs or ())

    @property
    def _runs(self) -> list[_Run] | None:
        """The entries of each file that these events are; None where that is not said."""
        if self.inputs is None:
            return None
        runs, begin = [], 0
        for content, tree, number in self.inputs:
            low, high = self.entries or (begin, begin + number)
            low, high = max(low - begin, 0), min(high - begin, number)
            if low < high:
                runs.append(((content, tree), low, high))
            begin += number
        return runs

    def made_from(self, file: TreeFile) -> bool:
        """Whether it is known that the weights are of all events of one file."""
        if file.stamp is None or self.inputs is None or self.entries not in (None, (0, file.num_entries)):
            return False
        return self.inputs == ((sha256(file.path), file.tree_name, file.num_entries),)

    def _same_files(self, other: Events) -> bool:
        if self.inputs is None or self.inputs != other.inputs:
            return False
        whole = (0, sum(entries for *_, entries in self.inputs))
        return (self.entries or whole) == (other.entries or whole)


_Run = tuple[tuple[str, str], int, int]
"""A file, by SHA-256 and tree, and its entries [start, stop)."""


def _overlap(one: _Run, other: _Run) -> int:
    return max(0, min(one[2], other[2]) - max(one[1], other[1])) if one[0] == other[0] else 0


@lru_cache(maxsize=8)
def _rows_of(
    places: tuple[str, ...],
    inputs: tuple[tuple[str, str, int], ...],
    entries: tuple[int, int] | None,
    columns: tuple[str, ...],
) -> np.ndarray | None:
    """A hash of each event of files with this content; None where columns do not tell events apart."""
    source = Source(list(places), inputs[0][1], columns)
    start, stop = entries or (0, source.num_entries)
    bounds = source.boundaries(start, stop, _CHUNK)
    hashes = np.concatenate([np.empty(0, np.uint64), *(row_hashes(source.read(*each)) for each in bounds)])
    return hashes if len(np.unique(hashes)) > _TOLD_APART * len(hashes) else None


def row_hashes(table: np.ndarray) -> np.ndarray:
    """64 bits of each row of `[events, columns]`, of the values as single-precision numbers."""
    state = np.full(len(table), _RATIO, dtype=np.uint64)
    with np.errstate(over="ignore", invalid="ignore"):
        for bits in _bits(table).T:
            state ^= bits.astype(np.uint64)
            state *= np.uint64(0xFF51AFD7ED558CCD)
            state ^= state >> np.uint64(32)
    return state


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """In what two identities differ; None where they are the same, "" where they have no column in common."""
    if one["entries"] != other["entries"]:
        return f"{one['entries']:,} events are not {other['entries']:,}"
    common = [name for name in one["columns"] if name in other["columns"]]
    if not common:
        return ""
    differ = [name for name in common if one["columns"][name] != other["columns"][name]]
    return f"{', '.join(differ[:3])} {'have' if len(differ) > 1 else 'has'} other values" if differ else None


def refuse_other_events(paths: Sequence[str], force: bool = False) -> list[str]:
    """See that weight files are of the same events, in the same order, as far as they say it.

    **Returns** remarks on what nothing tells. **Raises** `UsageError` where two differ, but for `force`.
    """
    known = [found for path in paths if (found := Events.of_file(path)) is not None]
    remarks = []
    if len(known) < len(paths) and len(paths) > 1:
        silent = [path for path in paths if path not in {each.path for each in known}]
        remarks.append(f"nothing says which events {', '.join(silent)} is of: taken for the same, by number")
    for each in known[1:]:
        if differs := known[0].difference(each):
            text = f"{known[0].path} and {each.path} are not of the same events: {differs}"
            if not force:
                raise UsageError(f"{text} (--force takes them for the same)")
            remarks.append(text)
    return remarks


def refuse_other_labels(events: TreeFile, weights: str, force: bool = False) -> list[str]:
    """See that a file of weights is of the events in a file of events, as far as it says so.

    **Returns** and **raises** as `refuse_other_events`.
    """
    labels = Events.of_file(weights)
    if labels is None or labels.made_from(events):
        return []
    differs: str | None = None
    columns = [name for name in (labels.hashes or {"columns": ()})["columns"] if events.has(name)]
    if labels.hashes is not None and columns:
        differs = difference(labels.hashes, hashes_of(Source([events.address], None, columns)))
    elif labels.inputs is not None:
        differs = "they were computed from another file"
    if not differs:
        return []
    text = f"the weights in {weights} are not those of the events in {events.path}: {differs}"
    if not force:
        raise UsageError(f"{text}; check the order of 'input_paths' and 'output_paths' (--force: take them)")
    return [text]


def other_order(events: TreeFile, weights: TreeFile) -> Iterator[str]:
    """A sentence where branches that both files have say that their entries are not of the same events.

    Numbers of events, runs and such have to be equal; another branch may be measured otherwise, and says so
    only where it has the same values in another order.
    """
    if events.address == weights.address:
        return
    shared = [
        name
        for name in sorted(events.branches & weights.branches)
        if (name in events.columns or _NUMBER.fullmatch(name)) and _is_plain(name, events, weights)
    ]
    numbers = {name for name in shared if events.is_integer(name)}
    there = [name for name in shared if name in numbers or name in events.columns]
    differ, sums = dict.fromkeys(there, False), dict.fromkeys(there, np.uint64(0))
    for start in range(0, events.num_entries if there else 0, _CHUNK):
        stop = min(start + _CHUNK, events.num_entries)
        for name in there:
            mine, its = (each.read_one(name, start, stop) for each in (events, weights))
            differ[name] |= not np.array_equal(mine, its, equal_nan=True)
            with np.errstate(over="ignore"):
                sums[name] += _mixed(_bits(mine)).sum() - _mixed(_bits(its)).sum()
    wrong = [name for name in there if differ[name] and (name in numbers or sums[name] == 0)]
    if wrong:
        yield (
            f"{events.address} and {weights.address} both have {wrong[0]!r}, and its values differ entry by "
            "entry: weights are paired with events by their place, so put both in the same order"
        )


_NUMBER = re.compile(
    r"(?i)(?:.*_)?(?:event|evt|entry|run|lumi|luminosity_?block)_?(?:id|number|nr?|no|index)?"
)


def _is_plain(name: str, *files: TreeFile) -> bool:
    """Whether a branch has a number of every event."""
    try:
        return all(each.read_one(name, 0, 0).dtype.kind in "iuf" and not each.is_list(name) for each in files)
    except Exception:  # of any type that is no number
        return False
