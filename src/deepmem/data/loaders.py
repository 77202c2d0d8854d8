"""Three ways in which events and their weights reach the training, one result.

- `hybridMT`: everything in memory, read with several threads. The fastest; for what fits.
- `hybrid`: chunks are streamed in random order, their rows go through a shuffle buffer, and the next chunk
  is read while this one trains. Memory is a few chunks, whatever the size of the files.
- `inbuilt`: every event is equally likely at every place (fully random access), from a cache on disk that is
  made once per run. Memory is a few blocks; the disk holds the columns once more.

Parts are consecutive: training, validation, test, in file order. A loader yields rows as they are in the
files; what is invalid is dropped, and counted, by who uses them.
"""

from __future__ import annotations

import math
import mmap
import queue
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Generic, Literal, NamedTuple, TypeVar

import numpy as np

from deepmem.data.files import explained
from deepmem.data.root import Source
from deepmem.errors import UsageError

Part = Literal["train", "validation", "test"]
T = TypeVar("T")

# Threads that unpack baskets; more than this many never helped, since the disk then waits.
READERS = 4


class Rows(NamedTuple):
    """Rows in one order: `inputs` `[n, columns]`, `weights` and their absolute `errors` `[n, weights]` or
    None."""

    inputs: np.ndarray
    weights: np.ndarray
    errors: np.ndarray | None

    def take(self, rows: slice | np.ndarray) -> Rows:
        errors = None if self.errors is None else self.errors[rows]
        return Rows(self.inputs[rows], self.weights[rows], errors)

    @staticmethod
    def concatenate(parts: Sequence[Rows]) -> Rows:
        if len(parts) == 1:
            return parts[0]
        inputs, weights, errors = zip(*parts, strict=True)
        together = None if errors[0] is None else np.concatenate(errors)
        return Rows(np.concatenate(inputs), np.concatenate(weights), together)


def split_sizes(entries: int, split: Sequence[float]) -> dict[Part, tuple[int, int]]:
    """Where each part begins and ends: floor, floor, remainder, in file order.

    **Raises** `UsageError` where no entry is left to train on.
    """
    total = sum(split)
    # The small term keeps a split such as 0.7, 0.2, 0.1 from losing an event to binary fractions.
    train, validation = (math.floor(entries * part / total + 1e-9) for part in split[:2])
    if train == 0:
        raise UsageError(f"split {list(split)} of {entries} entries leaves none to train on")
    return {
        "train": (0, train),
        "validation": (train, train + validation),
        "test": (train + validation, entries),
    }


class Paired:
    """Events and their weights, read together, entry by entry.

    **Raises** `UsageError` where the lists of files, or the entries of a pair of files, differ in number.
    """

    def __init__(self, inputs: Source, weights: Source, weight_count: int):
        if len(inputs.files) != len(weights.files):
            raise UsageError(
                f"'input_paths' names {len(inputs.files)} files and 'output_paths' {len(weights.files)}: "
                "they are paired one to one"
            )
        for events, labels in zip(inputs.files, weights.files, strict=True):
            if events.num_entries != labels.num_entries:
                raise UsageError(
                    f"{events.address} has {events.num_entries} entries and {labels.address} "
                    f"{labels.num_entries}: each event needs its weight"
                )
        self.inputs, self.weights, self._count = inputs, weights, weight_count

    @property
    def num_entries(self) -> int:
        return self.inputs.num_entries

    def read(self, start: int, stop: int, pool: ThreadPoolExecutor | None = None) -> Rows:
        labels = self.weights.read(start, stop, pool)
        k = self._count
        return Rows(
            self.inputs.read(start, stop, pool), labels[:, :k], labels[:, k:] if labels.shape[1] > k else None
        )


class Loader:
    """Rows of a part in file order (`scan`) and of the training part in training order (`shuffled`)."""

    #: whether the rows stay in memory, so that what is made of them may be kept between epochs
    resident = False

    def __init__(self, data: Paired, split: Sequence[float], chunk_entries: int):
        self.parts = split_sizes(data.num_entries, split)
        self.chunk_entries = chunk_entries
        self._data = data

    def size(self, part: Part) -> int:
        start, stop = self.parts[part]
        return stop - start

    def scan(self, part: Part) -> Iterator[Rows]:
        """The rows of a part, chunk by chunk, in file order."""
        return ahead(self._chunks(self._data.inputs.boundaries(*self.parts[part], self.chunk_entries)))

    def shuffled(self, rng: np.random.Generator) -> Iterator[Rows]:
        """The rows of the training part, in blocks, in an order of `rng`."""
        raise NotImplementedError

    def _chunks(self, bounds: Sequence[tuple[int, int]]) -> Iterator[Rows]:
        with ThreadPoolExecutor(READERS) as pool:
            for start, stop in bounds:
                yield self._data.read(start, stop, pool)


class HybridMT(Loader):
    """Everything in memory."""

    resident = True

    def __init__(self, data: Paired, split: Sequence[float], chunk_entries: int):
        super().__init__(data, split, chunk_entries)
        with ThreadPoolExecutor(READERS) as pool:
            self._rows = data.read(0, data.num_entries, pool)

    def scan(self, part: Part) -> Iterator[Rows]:
        start, stop = self.parts[part]
        for at in range(start, stop, self.chunk_entries):
            yield self._rows.take(slice(at, min(at + self.chunk_entries, stop)))

    def shuffled(self, rng: np.random.Generator) -> Iterator[Rows]:
        start, stop = self.parts["train"]
        yield self._rows.take(start + rng.permutation(stop - start))


class Hybrid(Loader):
    """Streamed: chunks in random order, rows through a shuffle buffer of as many rows as a chunk has."""

    def shuffled(self, rng: np.random.Generator) -> Iterator[Rows]:
        bounds = self._data.inputs.boundaries(*self.parts["train"], self.chunk_entries)
        order = [bounds[i] for i in rng.permutation(len(bounds))]
        held: Rows | None = None
        for chunk in ahead(self._chunks(order)):
            mixed = chunk if held is None else Rows.concatenate([held, chunk])
            size = len(mixed.inputs)
            shuffle = rng.permutation(size)
            # Half goes, half stays and meets the next chunk: a row can travel through several chunks.
            leaving = size if len(bounds) == 1 else size // 2
            yield mixed.take(shuffle[:leaving])
            held = mixed.take(shuffle[leaving:])
        if held is not None and len(held.inputs):
            yield held


class Inbuilt(Loader):
    """Fully random access, from a cache on disk that goes with the loader."""

    # A row lies on a page of 4 kB of its own, so a block costs a hundred times its size while it is gathered.
    BLOCK = 16_384

    def __init__(self, data: Paired, split: Sequence[float], chunk_entries: int):
        super().__init__(data, split, chunk_entries)
        self._folder = tempfile.TemporaryDirectory(prefix="deepmem-")
        self._cache = self._fill(Path(self._folder.name))

    def _fill(self, folder: Path) -> Rows:
        """Write each array of the training part to a file, chunk by chunk, and map the files."""
        with ExitStack() as stack, explained(folder):
            files: list[BinaryIO] = []
            for chunk in super().scan("train"):
                present = [array for array in chunk if array is not None]
                files = files or [
                    stack.enter_context((folder / str(i)).open("wb")) for i in range(len(present))
                ]
                for file, array in zip(files, present, strict=True):
                    file.write(np.ascontiguousarray(array).data)
        mapped = [
            np.memmap(folder / str(i), dtype=array.dtype, mode="r").reshape(-1, array.shape[1])
            for i, array in enumerate(present)
        ]
        return Rows(mapped[0], mapped[1], mapped[2] if len(mapped) > 2 else None)

    def shuffled(self, rng: np.random.Generator) -> Iterator[Rows]:
        return ahead(self._gathered(rng.permutation(self.size("train"))))

    def _gathered(self, order: np.ndarray) -> Iterator[Rows]:
        for at in range(0, len(order), self.BLOCK):
            rows = self._cache.take(order[at : at + self.BLOCK])
            for array in self._cache:
                _let_go(array)
            yield rows


def _let_go(array: np.ndarray | None) -> None:
    """Give the pages of a mapped file back: the system's cache may keep them, this process need not."""
    if hasattr(mmap, "MADV_DONTNEED") and isinstance(array, np.memmap):
        array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


class _Ahead(Generic[T]):
    """What `ahead` returns an iterator of.

    An exception in the thread is raised where the items are used; when that stops early, the thread ends too.
    """

    _END = object()

    def __init__(self, items: Iterator[T]):
        self._queue: queue.Queue[object] = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(items,), daemon=True)
        self._thread.start()

    def _run(self, items: Iterator[T]) -> None:
        try:
            for item in items:
                if not self._put(item):
                    return
            self._put(self._END)
        except BaseException as error:  # handed over, not swallowed
            self._put(error)

    def _put(self, item: object) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def __iter__(self) -> Iterator[T]:
        try:
            while (item := self._queue.get()) is not self._END:
                if isinstance(item, BaseException):
                    raise item
                yield item  # type: ignore[misc]
        finally:
            self._stop.set()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, the next one worked out in a thread while the current one is used."""
    return iter(_Ahead(items))


LOADERS: dict[str, type[Loader]] = {"hybridMT": HybridMT, "hybrid": Hybrid, "inbuilt": Inbuilt}
