"""One tree of one ROOT file, TTree or RNTuple: opened, its columns checked, read entry by entry."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from deepmem.columns import split_index
from deepmem.data.collections import Collections, evaluated
from deepmem.data.names import Names, replacements
from deepmem.data.objects import Objects, Reading, is_default
from deepmem.data.schemas import looks_like
from deepmem.data.vectors import Vectors, vectors
from deepmem.errors import UsageError, nearest

STRETCH = 100_000  # entries of a stretch that is read for some of them

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
    """What a variation reads in place of branches, see `names.replacements`."""
    tree_name: str = ""
    """With its folders, and its cycle where that is not the newest."""
    _last: dict[str, tuple[tuple[int, int] | None, Any]] = field(default_factory=dict)
    """Records of vectors, of the entries that were read last."""

    @property
    def uuid(self) -> str:
        """The identifier that ROOT gives a file when it makes one."""
        return str(getattr(self.tree.file, "uuid", ""))

    @property
    def address(self) -> str:
        return f"{self.path}:{self.tree_name or self.tree.name}"

    @property
    def num_entries(self) -> int:
        return int(self.tree.num_entries)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The branches, and what vectors among them make."""
        return (*self.tree.keys(recursive=True), *self._of_vectors)

    @cached_property
    def branches(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _of_vectors(self) -> dict[str, tuple[Vectors, str]]:
        """What vectors make, and no branch is called: the vectors, and the quantity."""
        kinds = [(path, _class_of(each)) for path, each in self.tree.iteritems(recursive=True)]
        there = {path for path, _ in kinds}
        made = {
            f"{name}.{quantity}": (each, quantity)
            for name, each in vectors(kinds).items()
            for quantity in each.quantities
        }
        return {name: each for name, each in made.items() if name not in there}

    @cached_property
    def _paths(self) -> Names:
        return Names(self.names)

    def _path(self, branch: str) -> str:
        """The full path of a branch, by which variations know it: `Jet/Jet.PT` of `Jet.PT`."""
        return self._paths.find(branch) or branch

    @cached_property
    def _of_kept_masses(self) -> frozenset[str]:
        """The branches of which masses need the values that no variation has."""
        if self.reading is None:
            return frozenset()
        return self.reading.of_kept_masses(self.address, self.replaced)

    def refuse_half_momenta(self) -> None:
        """**Raises** `UsageError` where a variation replaces the energy of objects and not their momentum."""
        _ = self._of_kept_masses

    @property
    def is_varied(self) -> bool:
        """Whether a column is read from a branch that a variation replaces."""
        return bool(self.replaced)

    @property
    def replaced(self) -> tuple[str, ...]:
        """What is read and a variation replaces: columns that are branches, or branches of objects."""
        read = self.reading.branches if self.reading else self.columns
        return tuple(name for name in read if self._path(self.locate(name)[0]) in self.instead)

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
            found = (pool.map if pool else map)(lambda branch: self._array(branch, start, stop), branches)
            arrays = dict(zip(branches, found, strict=True))
            nominal = {branch: self._read(branch, start, stop) for branch in self._of_kept_masses}
            return Collections(self.address, self.reading, arrays, stop - start, nominal).table()

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
        if not self.instead or (path := self._path(branch)) not in self.instead:
            return self._read(branch, start, stop)
        text, named = self.instead[path]
        arrays = {name: self._read(path, start, stop) for name, path in named.items()}
        return arrays[""] if "" in arrays else evaluated(self.address, text, arrays)

    def _read(self, branch: str, start: int, stop: int) -> ak.Array:
        if branch in self._of_vectors:
            found, quantity = self._of_vectors[branch]
            return found.get(quantity, lambda name: self._records(name, start, stop))
        try:
            return self.tree[branch].array(entry_start=start, entry_stop=stop, library="ak")
        except Exception as error:  # uproot raises as many kinds as there are ways to damage a file
            raise UsageError(
                f"{self.path}: branch {branch!r} cannot be read between entries {start} and {stop} "
                f"(a truncated or damaged file?): {_first_line(error)}"
            ) from error

    def _records(self, branch: str, start: int, stop: int) -> ak.Array:
        """A branch that several quantities are made from: it is unpacked once for all of them."""
        if self._last.get(branch, (None,))[0] != (start, stop):
            self._last[branch] = (start, stop), self._read(branch, start, stop)
        return self._last[branch][1]

    def kind(self, name: str) -> str:
        """The type of a column's branch."""
        branch, _ = self.locate(name)
        return "double" if branch in self._of_vectors else str(self.tree[branch].typename)

    @property
    def is_single(self) -> bool:
        """Whether all columns are in single precision."""
        return (
            self.reading is None and not self.instead and all(_is_single(self.kind(n)) for n in self.columns)
        )

    def is_integer(self, name: str) -> bool:
        """Whether the branch of a column holds integers, alone or in a list."""
        return re.search(r"[Ff]loat|[Dd]ouble|[Bb]ool", self.kind(name)) is None

    def is_list(self, name: str) -> bool:
        """Whether the branch of a column holds a list of values per event."""
        return self._read(self.locate(name)[0], 0, 0).ndim > 1

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
            if not np.ma.getmaskarray(values).any():
                return np.ma.getdata(values)  # integers stay what they are where none is missing
            dtype = values.dtype if values.dtype.kind == "f" else np.float64
            values = np.ma.filled(values.astype(dtype), np.nan)
        return values

    def lacks_some(self, name: str) -> bool:
        """Whether a list that a column is an element of is too short in some event."""
        branch, index = self.locate(name)
        for start in range(0, self.num_entries, STRETCH):
            array = self._array(branch, start, min(start + STRETCH, self.num_entries))
            if ak.any(ak.is_none(array)) or ak.any(ak.num(array) <= (index or 0)):
                return True
        return False


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
    stamp = stamp_of(path)
    try:
        # Chunks are read once: caching their arrays would only make memory grow.
        file = uproot.open(path, array_cache=None)
        cycles = [
            name
            for name, kind in file.classnames(recursive=True).items()
            if kind in ("TTree", "TNtuple", "TNtupleD", "TChain", "ROOT::RNTuple")
        ]
    except Exception as error:
        raise UsageError(
            f"{path} cannot be opened as a ROOT file (truncated, or of another kind?): {_first_line(error)}"
        ) from error
    tree = _chosen(path, tree, cycles, objects)
    try:
        found = TreeFile(path, file[tree], tuple(columns), stamp, tree_name=tree)
        known = found.names  # of an RNTuple, these are read from its end
    except Exception as error:
        raise UsageError(
            f"{path}: the tree {tree!r} cannot be read (a truncated or damaged file?): {_first_line(error)}"
        ) from error
    found.instead = replacements(found.address, variation or {}, known)
    for name in [each for _, named in found.instead.values() for each in named.values()]:
        check_column(found, name, known)
    if objects is None:
        for name in columns:
            check_column(found, name, known)
        return found
    found.reading = objects.resolve(found.address, known, columns)
    for name in found.reading.branches:
        check_column(found, name, known)
    found.refuse_half_momenta()
    return found


def _chosen(path: str, tree: str | None, cycles: Sequence[str], objects: Objects | None) -> str:
    """The tree that is meant, with its folders, and its cycle where that is not the newest.

    **Arguments:** `cycles`, the trees of the file with their cycles.

    **Raises** `UsageError` where there is none, or it may be several.
    """
    trees = dict.fromkeys(name.split(";")[0] for name in cycles)
    if tree is None:
        events = [name for name in trees if objects is not None and name in objects.trees]
        if len(trees) != 1 and len(events) != 1:
            one = f"say which one, as {path}:{next(iter(trees), '')}"
            what = f"several trees ({', '.join(trees)}): {one}" if trees else "no tree"
            raise UsageError(f"{path} has {what}{looks_like(trees, but=objects.schema if objects else '')}")
        return next(iter(events or trees))
    name, _, cycle = tree.strip("/").partition(";")
    if name not in trees:
        listed = f"; it has {', '.join(trees)}" if trees else "; it has none"
        raise UsageError(f"{path} has no tree {tree!r}{nearest(tree, trees)}{listed}")
    own = sorted(int(each.split(";")[1]) for each in cycles if each.split(";")[0] == name)
    if cycle and cycle not in map(str, own):
        there = ", ".join(f"{name};{number}" for number in own)
        raise UsageError(f"{path} has no cycle {tree!r}: it has {there}")
    return f"{name};{cycle}" if cycle and int(cycle) != own[-1] else name


def stamp_of(path: str) -> tuple[int, int, int] | None:
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


def check_column(file: TreeFile, name: str, known: Sequence[str]) -> None:
    try:
        kind = file.kind(name)
    except Exception:
        branch, _ = file.locate(name)
        other = looks_like((), known) if file.reading is None else ""
        objects = "; where events are collections, 'objects' in an input file says which" * is_default(branch)
        hint = other or nearest(branch, known) or _some(known) + objects * (file.reading is None)
        raise UsageError(f"{file.address} has no branch {branch!r}{hint}") from None
    kind = re.sub(r"^(?:std::)?optional<(.*)>$", r"\1", kind)
    inner = re.sub(
        r"^(?:std::)?(?:vector|RVec|ROOT::VecOps::RVec|ROOT::RVec|array)<(.*?)(?:,\s*\d+)?>$", r"\1", kind
    )
    inner = re.sub(r"\[[^\]]*\]", "", inner).strip()
    if not _NUMBER.fullmatch(inner):
        branch, _ = file.locate(name)
        made = f": name what it makes, as {branch}.pt" if f"{branch}.pt" in file.branches else ""
        raise UsageError(
            f"{file.address}: branch {branch!r} is of type {kind}, expected numbers "
            f"(one per event, or a list of them){made}"
        )


def _is_single(kind: str) -> bool:
    """Whether a branch's type is single precision, alone or in a list."""
    return re.search(r"\b(?:float|Float_t|float32_t)\b", kind) is not None


def _class_of(branch: Any) -> str:
    """The C++ class that a TTree's branch holds, "" where it is none; fields of an RNTuple are all split."""
    member = getattr(branch, "member", None)
    return "" if member is None else str(member("fClassName", none_if_missing=True) or "")


def _some(names: Sequence[str]) -> str:
    return f"; it has {', '.join(names[:12])}{', …' if len(names) > 12 else ''}"


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(" ,:;") if text else type(error).__name__
