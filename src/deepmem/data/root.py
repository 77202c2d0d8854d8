"""Events out of ROOT files, entry by entry.

Files are read in chunks, so that memory does not grow with them, and several files are one run of entries:
entry 0 of the second file follows the last of the first. TTree and RNTuple are read alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.data.files import refuse_input_as_output, sha256
from deepmem.data.objects import Objects
from deepmem.data.trees import STRETCH, check_column, expand, open_tree, stamp_of
from deepmem.errors import DeepMEMError, UsageError

# Threads that unpack baskets; more than this many never helped, since the disk then waits.
READERS = 4


def has_branch(addresses: Sequence[str], tree: str | None, name: str, objects: Objects | None = None) -> bool:
    """Whether the first of several files has a branch, or what makes a column of objects.

    False where the file cannot be opened at all: whoever reads it says why.
    """
    try:
        path, own = expand(addresses)[0]
        open_tree(path, own or tree, [name], objects)
    except UsageError:
        return False
    return True


class Source:
    """Columns of several files as one run of entries.

    **Raises** `UsageError` as `expand` and `open_tree` do, and where the files have no entries at all, unless
    these `may_be_empty`.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        tree: str | None,
        columns: Sequence[str],
        keep: Sequence[str] = (),
        objects: Objects | None = None,
        variation: Mapping[str, str] | None = None,
        may_be_empty: bool = False,
    ):
        self.columns = tuple(columns)
        self._keep = tuple(keep)
        self.objects = objects
        self.files = [
            open_tree(path, own or tree, columns, objects, variation) for path, own in expand(addresses)
        ]
        for file in self.files:
            for name in self._keep:
                check_column(file, name, file.names)
        self._ends = np.cumsum([file.num_entries for file in self.files])
        self._last = -1
        self._stretch: tuple[int, int, np.ndarray] | None = None
        if self.num_entries == 0 and not may_be_empty:
            raise UsageError(f"{', '.join(file.address for file in self.files)}: there are no entries")

    @property
    def num_entries(self) -> int:
        return int(self._ends[-1])

    def read(self, start: int, stop: int, pool: ThreadPoolExecutor | None = None) -> np.ndarray:
        """Entries [start, stop) of the whole run, `[entries, columns]`.

        Short reads that follow one another come from a stretch that is read once: else each would unpack the
        same cluster again.
        """
        follows, self._last = start == self._last, stop
        low, high = self._stretch_around(start) if follows else (start, stop)
        if stop > high or 2 * (stop - start) > high - low:
            return self._read(start, stop, pool)
        if self._stretch is None or self._stretch[:2] != (low, high):
            self._stretch = low, high, self._read(low, high, pool)
        return self._stretch[2][start - low : stop - low].copy()

    def tables(self, bounds: Iterable[tuple[int, int]]) -> Iterator[np.ndarray]:
        """Chunks [start, stop) of the run, `[entries, columns]`, whose branches several threads unpack."""
        with ThreadPoolExecutor(READERS) as pool:
            for start, stop in bounds:
                yield self.read(start, stop, pool)

    def _stretch_around(self, entry: int) -> tuple[int, int]:
        starts = self._stretches
        at = int(np.searchsorted(starts, entry, side="right"))
        return int(starts[at - 1]), int(starts[at]) if at < len(starts) else self.num_entries

    @cached_property
    def _stretches(self) -> np.ndarray:
        """Where the stretches begin."""
        return np.array([start for start, _ in self.boundaries(0, self.num_entries, STRETCH)] or [0])

    def _read(self, start: int, stop: int, pool: ThreadPoolExecutor | None = None) -> np.ndarray:
        parts = []
        begin = 0
        for file, end in zip(self.files, self._ends, strict=True):
            low, high = max(start, begin), min(stop, int(end))
            if low < high:
                parts.append(file.read(low - begin, high - begin, pool).astype(self.dtype, copy=False))
            begin = int(end)
        if not parts:
            return np.empty((0, len(self.columns)), dtype=self.dtype)
        return np.concatenate(parts) if len(parts) != 1 else parts[0]

    def scattered(self, entries: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Entries anywhere in the run, in ascending order: their columns and numbers, chunk by chunk."""
        for start, stop in self.boundaries(0, self.num_entries, STRETCH):
            first, last = np.searchsorted(entries, (start, stop))
            if first < last:
                inside = entries[first:last]
                table = self.read(int(inside[0]), int(inside[-1]) + 1)
                yield table[inside - inside[0]], inside

    @cached_property
    def dtype(self) -> np.dtype:
        """One type for the whole run, whatever file or chunk rows come from: float32 if all columns are."""
        return np.dtype(np.float32 if all(file.is_single for file in self.files) else np.float64)

    @property
    def is_varied(self) -> bool:
        """Whether the variation replaces what some column is read from."""
        return any(file.is_varied for file in self.files)

    @property
    def taken_from(self) -> list[dict[str, Any]]:
        """What objects and fields are taken from, each way once; nothing of columns that are branches."""
        found: list[dict[str, Any]] = []
        for file in self.files:
            if file.reading is not None and (how := file.reading.describe()) not in found:
                found.append(how)
        return found

    @property
    def about_objects(self) -> dict[str, Any]:
        """What a file made from these columns says of the objects; nothing where columns are branches."""
        if self.objects is None:
            return {}
        return {"objects": self.objects.to_dict() | {"taken_from": self.taken_from}}

    def refuse_as_output(self, output: str | Path, *others: Any) -> None:
        """See that writing `output` destroys no input, nor one of `others` that are paths.

        **Raises** `UsageError` where it is one of them.
        """
        refuse_input_as_output(output, [*(file.path for file in self.files), *others])

    def read_kept(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """The branches to keep of entries [start, stop), in their own types."""
        parts: dict[str, list[np.ndarray]] = {name: [] for name in self._keep}
        begin = 0
        for file, end in zip(self.files, self._ends, strict=True):
            low, high = max(start, begin), min(stop, int(end))
            for name in self._keep if low < high else ():
                values = file.read_one(name, low - begin, high - begin)
                parts[name].append(values.astype(self.kept_types[name], copy=False))
            begin = int(end)
        none = {name: np.empty(0, dtype=self.kept_types[name]) for name in self._keep}
        return {name: np.concatenate([none[name], *arrays]) for name, arrays in parts.items()}

    @cached_property
    def kept_types(self) -> dict[str, np.dtype]:
        """The types of the branches to keep: one that holds the values of every file exactly.

        **Raises** `UsageError` where there is none, and for an integer in a list that lacks it in some event.
        """
        types = {}
        for name in self._keep:
            found = [file.read_one(name, 0, 0).dtype for file in self.files]
            types[name] = np.result_type(*found)
            integers = any(file.is_integer(name) for file in self.files)
            lists = [file for file in self.files if integers and file.is_list(name)]
            if integers and (types[name].kind == "f" or any(file.lacks_some(name) for file in lists)):
                raise UsageError(
                    f"--keep {name}: integers that some events lack, or that differ in type between files "
                    f"({', '.join(sorted({str(dtype) for dtype in found}))}), could lose digits: "
                    "keep another branch"
                )
        return types

    def boundaries(self, start: int, stop: int, entries: int) -> list[tuple[int, int]]:
        """Cut [start, stop) into chunks of about `entries`, at the files' own cluster edges where these are
        finer.

        A chunk that ends inside a cluster makes the cluster be read and unpacked twice.
        """
        edges = self._edges
        cuts = [start]
        while cuts[-1] < stop:
            target = cuts[-1] + entries
            at = int(np.searchsorted(edges, target, side="right")) - 1
            aligned = int(edges[at]) if at >= 0 else 0
            cuts.append(min(aligned if aligned > cuts[-1] else target, stop))
        return list(pairwise(cuts))

    @cached_property
    def _edges(self) -> np.ndarray:
        edges: list[np.ndarray] = []
        begin = 0
        for file, end in zip(self.files, self._ends, strict=True):
            try:
                offsets = file.tree.common_entry_offsets()
            except Exception:  # an optimisation only: a tree that does not tell is cut anywhere
                offsets = [0, file.num_entries]
            edges.append(begin + np.asarray(offsets, dtype=np.int64))
            begin = int(end)
        return np.unique(np.concatenate(edges))

    def provenance(self) -> list[dict[str, Any]]:
        """Path, tree, entries and SHA-256 of each file; of one that is not local, ROOT's own identifier."""
        return [
            {
                "path": file.path,
                "tree": file.tree_name,
                "entries": file.num_entries,
                **(
                    {"sha256": None, "uuid": file.uuid}
                    if file.stamp is None
                    else {"sha256": sha256(file.path)}
                ),
            }
            for file in self.files
        ]

    def refuse_changes(self) -> None:
        """**Raises** `DeepMEMError` where a file is no longer the one that was opened."""
        for file in self.files:
            if file.stamp != stamp_of(file.path):
                raise DeepMEMError(f"{file.path} was changed while it was read: start again")
