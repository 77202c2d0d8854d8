"""Events out of ROOT files, entry by entry.

Files are read in chunks, so that memory does not grow with them, and several files are one run of entries:
entry 0 of the second file follows the last of the first. TTree and RNTuple are read alike.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from deepmem.columns import split_index
from deepmem.data.collections import Collections, evaluated
from deepmem.data.files import refuse_input_as_output, sha256
from deepmem.data.objects import Objects, Reading, replacements
from deepmem.data.schemas import looks_like
from deepmem.errors import DeepMEMError, UsageError, nearest

_STRETCH = 100_000  # entries of a stretch that is read for some of them

_BEFORE_TREE = re.compile(r"\.root[^:/]*:(?=.)")


def expand(addresses: Sequence[str]) -> list[tuple[str, str | None]]:
    """Addresses (globs, `path:tree`, or anything that uproot opens) as pairs of path and tree or None.

    **Raises** `UsageError` where a local file does not exist or a glob matches none.
    """
    found: list[tuple[str, str | None]] = []
    for address in addresses:
        path, tree = _split_tree(address)
        if "://" in path or Path(path).exists():
            found.append((path, tree))
        elif any(character in path for character in "*?["):
            matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
            if not matches:
                raise UsageError(f"no file matches {path}")
            found.extend((entry, tree) for entry in matches)
        else:
            raise UsageError(f"{path} does not exist")
    return found


def _split_tree(address: str) -> tuple[str, str | None]:
    """`path:tree` in two; either may have colons, and the first path that exists is meant."""
    if Path(address).exists():
        return address, None
    splits = [
        (address[: match.end() - 1], address[match.end() :]) for match in _BEFORE_TREE.finditer(address)
    ]
    there = [split for split in splits if Path(split[0]).exists()]
    return next(iter(there or splits), (address, None))


@dataclass
class TreeFile:
    """One tree of one file, open for reading."""

    path: str
    tree: Any
    columns: tuple[str, ...]
    stamp: tuple[int, int, int] | None = None
    """Of a local file when it was opened: what changes when it is written."""
    reading: Reading | None = None
    """What the columns are made from, where they are no branches."""
    instead: Mapping[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    """What a variation reads in place of branches, see `objects.replacements`."""

    @property
    def uuid(self) -> str:
        """The identifier that ROOT gives a file when it makes one."""
        return str(getattr(self.tree.file, "uuid", ""))

    @property
    def address(self) -> str:
        return f"{self.path}:{self.tree.name}"

    @property
    def num_entries(self) -> int:
        return int(self.tree.num_entries)

    @cached_property
    def branches(self) -> frozenset[str]:
        return frozenset(self.tree.keys(recursive=True))

    def has(self, name: str) -> bool:
        """Whether there is a branch for a column."""
        return self.locate(name)[0] in self.branches

    def locate(self, name: str) -> tuple[str, int | None]:
        """The branch of a column, and which element of it: `w[0]` is a branch where one is called that.

        Weights learned from `w[0]` are written under that name.
        """
        return (name, None) if name in self.branches else split_index(name)

    def read(self, start: int, stop: int, pool: ThreadPoolExecutor | None = None) -> np.ndarray:
        """The columns of entries [start, stop) as an array `[entries, columns]`, float32 if all are, else
        float64.

        A value that is not there (an element beyond the end of a jagged branch, an object) is NaN.
        """
        if self.reading is not None:
            branches = self.reading.branches
            found = [self._array(branch, start, stop) for branch in branches]
            arrays = dict(zip(branches, found, strict=True))
            return Collections(self.address, self.reading, arrays, stop - start).table()

        def one(name: str) -> np.ndarray:
            return self.read_one(name, start, stop)

        columns = list(pool.map(one, self.columns) if pool else map(one, self.columns))
        dtype = np.float32 if all(array.dtype == np.float32 for array in columns) else np.float64
        table = np.empty((stop - start, len(columns)), dtype=dtype)
        for i, array in enumerate(columns):
            table[:, i] = array
        return table

    def read_one(self, name: str, start: int, stop: int) -> np.ndarray:
        """One column of entries [start, stop), in its own type."""
        branch, index = self.locate(name)
        return self._flat(self._array(branch, start, stop), name, index, start)

    def _array(self, branch: str, start: int, stop: int) -> ak.Array:
        """A branch, or what a variation has in its place."""
        if branch not in self.instead:
            return self._read(branch, start, stop)
        text, named = self.instead[branch]
        arrays = {name: self._read(path, start, stop) for name, path in named.items()}
        return arrays[""] if "" in arrays else evaluated(self.address, text, arrays)

    def _read(self, branch: str, start: int, stop: int) -> ak.Array:
        try:
            return self.tree[branch].array(entry_start=start, entry_stop=stop, library="ak")
        except Exception as error:  # uproot raises as many kinds as there are ways to damage a file
            raise UsageError(
                f"{self.path}: branch {branch!r} cannot be read between entries {start} and {stop} "
                f"(a truncated or damaged file?): {_first_line(error)}"
            ) from error

    @property
    def is_single(self) -> bool:
        """Whether all columns are in single precision."""
        found = (str(self.tree[self.locate(name)[0]].typename) for name in self.columns)
        return self.reading is None and not self.instead and all(map(_is_single, found))

    def is_integer(self, name: str) -> bool:
        """Whether the branch of a column holds integers, alone or in a list."""
        return re.search(r"[Ff]loat|[Dd]ouble|[Bb]ool", str(self.tree[self.locate(name)[0]].typename)) is None

    def is_list(self, name: str) -> bool:
        """Whether the branch of a column holds a list of values per event."""
        return self.tree[self.locate(name)[0]].array(entry_start=0, entry_stop=0, library="ak").ndim > 1

    def _flat(self, array: ak.Array, name: str, index: int | None, start: int) -> np.ndarray:
        if array.ndim == 1:
            if index is not None:
                raise UsageError(
                    f"{self.address}: {name!r} asks for an element, but the branch has one value per event"
                )
            return ak.to_numpy(array)
        if index is None:
            counts = ak.to_numpy(ak.num(array))
            if len(counts) and counts.max() > 1:
                raise UsageError(
                    f"{self.address}: branch {name!r} has {counts.max()} values in entry "
                    f"{start + int(counts.argmax())}: say which one, as {name}[0]"
                )
            index = 0
        padded = ak.pad_none(array, index + 1, clip=False)[:, index]
        values: Any = ak.to_numpy(padded, allow_missing=True)
        if isinstance(values, np.ma.MaskedArray):
            dtype = values.dtype if values.dtype.kind == "f" else np.float64
            values = np.ma.filled(values.astype(dtype), np.nan)
        return values


def open_tree(
    path: str,
    tree: str | None,
    columns: Sequence[str],
    objects: Objects | None = None,
    variation: Mapping[str, str] | None = None,
) -> TreeFile:
    """Open a tree and see that it has the columns.

    **Arguments:** `path`, a file or any address that uproot opens; `tree`, its name with folders and cycle,
    or None for the file's only tree; `columns`, names of branches, `NAME[i]` for an element; `objects`, where
    the objects are that columns with default names are made from; `variation`, what is read in place of
    branches: branches of the same tree, or expressions over them.

    **Raises** `UsageError` where the file, the tree or a column is not there or not of a kind that can be
    read.
    """
    if "://" not in path and not Path(path).exists():
        raise UsageError(f"{path} does not exist")
    stamp = _stamp(path)
    try:
        # Chunks are read once: caching their arrays would only make memory grow.
        file = uproot.open(path, array_cache=None)
        trees = {
            name.split(";")[0]: None
            for name, kind in file.classnames(recursive=True).items()
            if kind in ("TTree", "TNtuple", "TNtupleD", "TChain", "ROOT::RNTuple")
        }
    except Exception as error:
        raise UsageError(
            f"{path} cannot be opened as a ROOT file (truncated, or of another kind?): {_first_line(error)}"
        ) from error
    if tree is None:
        events = [name for name in trees if objects is not None and name in objects.trees]
        if len(trees) != 1 and len(events) != 1:
            what = f"several trees ({', '.join(trees)}): say which one" if trees else "no tree"
            raise UsageError(f"{path} has {what}{looks_like(trees) if objects is None else ''}")
        tree = next(iter(events or trees))
    elif tree.split(";")[0].strip("/") not in trees:
        listed = f"; it has {', '.join(trees)}" if trees else "; it has none"
        raise UsageError(f"{path} has no tree {tree!r}{nearest(tree, trees)}{listed}")
    try:
        opened = file[tree]
        known = list(opened.keys(recursive=True))  # of an RNTuple, these are read from its end
    except Exception as error:
        raise UsageError(
            f"{path}: the tree {tree!r} cannot be read (a truncated or damaged file?): {_first_line(error)}"
        ) from error
    found = TreeFile(path, opened, tuple(columns), stamp)
    found.instead = replacements(found.address, variation or {}, known)
    for name in [each for _, named in found.instead.values() for each in named.values()]:
        _check_column(found, name, known)
    if objects is None:
        for name in columns:
            _check_column(found, name, known)
        return found
    found.reading = objects.resolve(found.address, known, columns)
    for name in found.reading.branches:
        _check_column(found, name, known)
    return found


def _stamp(path: str) -> tuple[int, int, int] | None:
    if "://" in path:
        return None
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino


_NUMBER = re.compile(
    r"(?:unsigned )?(?:float|double|bool|char|short|int|long|long long|(?:std::)?u?int(?:8|16|32|64)_t|"
    r"(?:Float|Double|Bool|U?(?:Char|Short|Int|Long|Long64))(?:16|32)?_t)"
)


def _check_column(file: TreeFile, name: str, known: list[str]) -> None:
    branch, _ = file.locate(name)
    try:
        found = file.tree[branch]
    except Exception:
        hint = looks_like((), known) or nearest(branch, known) or _some(known)
        raise UsageError(f"{file.address} has no branch {branch!r}{hint}") from None
    kind = str(found.typename)
    kind = re.sub(r"^(?:std::)?optional<(.*)>$", r"\1", kind)
    inner = re.sub(
        r"^(?:std::)?(?:vector|RVec|ROOT::VecOps::RVec|ROOT::RVec|array)<(.*?)(?:,\s*\d+)?>$", r"\1", kind
    )
    inner = re.sub(r"\[[^\]]*\]", "", inner).strip()
    if not _NUMBER.fullmatch(inner):
        raise UsageError(
            f"{file.address}: branch {branch!r} is of type {kind}, expected numbers "
            "(one per event, or a list of them)"
        )


def _is_single(kind: str) -> bool:
    """Whether a branch's type is single precision, alone or in a list."""
    return re.search(r"\b(?:float|Float_t|float32_t)\b", kind) is not None


def _some(names: list[str]) -> str:
    return f"; it has {', '.join(names[:12])}{', …' if len(names) > 12 else ''}"


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(" ,:;") if text else type(error).__name__


class Source:
    """Columns of several files as one run of entries.

    **Raises** `UsageError` as `expand` and `open_tree` do, and where the files have no entries at all.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        tree: str | None,
        columns: Sequence[str],
        keep: Sequence[str] = (),
        objects: Objects | None = None,
        variation: Mapping[str, str] | None = None,
    ):
        self.columns = tuple(columns)
        self._keep = tuple(keep)
        self._objects = objects
        self.files = [
            open_tree(path, own or tree, columns, objects, variation) for path, own in expand(addresses)
        ]
        for file in self.files:
            known = list(file.tree.keys(recursive=True))
            for name in self._keep:
                _check_column(file, name, known)
        self._ends = np.cumsum([file.num_entries for file in self.files])
        if self.num_entries == 0:
            raise UsageError(f"{', '.join(file.address for file in self.files)}: there are no entries")

    @property
    def num_entries(self) -> int:
        return int(self._ends[-1])

    def read(self, start: int, stop: int, pool: ThreadPoolExecutor | None = None) -> np.ndarray:
        """Entries [start, stop) of the whole run, `[entries, columns]`."""
        parts = []
        begin = 0
        for file, end in zip(self.files, self._ends, strict=True):
            low, high = max(start, begin), min(stop, int(end))
            if low < high:
                parts.append(file.read(low - begin, high - begin, pool).astype(self.dtype, copy=False))
            begin = int(end)
        return np.concatenate(parts) if len(parts) != 1 else parts[0]

    def scattered(self, entries: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Entries anywhere in the run, in ascending order: their columns and numbers, chunk by chunk."""
        for start, stop in self.boundaries(0, self.num_entries, _STRETCH):
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
        if self._objects is None:
            return {}
        return {"objects": self._objects.to_dict() | {"taken_from": self.taken_from}}

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
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}

    @cached_property
    def kept_types(self) -> dict[str, np.dtype]:
        """The types of the branches to keep: one that holds the values of every file exactly.

        **Raises** `UsageError` where there is none, and for an integer in a list, which may be absent (NaN).
        """
        types = {}
        for name in self._keep:
            found = [file.read_one(name, 0, 0).dtype for file in self.files]
            types[name] = np.result_type(*found)
            listed = any(file.is_list(name) for file in self.files)
            integers = any(file.is_integer(name) for file in self.files)
            if integers and (types[name].kind == "f" or listed):
                raise UsageError(
                    f"--keep {name}: integers that are in lists, or differ in type between the files "
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
                "tree": file.tree.name,
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
            if file.stamp != _stamp(file.path):
                raise DeepMEMError(f"{file.path} was changed while it was read: start again")
