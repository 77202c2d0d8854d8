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
import os
import queue
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeVar

import numpy as np

from deepmem.data.files import explained
from deepmem.data.root import READERS, Source
from deepmem.errors import UsageError

Part = Literal["train", "validation", "test"]
T = TypeVar("T")


class Rows(NamedTuple):
    """Rows in one order: `inputs` `[n, columns]`, `weights`, and where the files have them their absolute
    `errors` and their `status` `[n, weights]`."""

    inputs: np.ndarray
    weights: np.ndarray
    errors: np.ndarray | None = None
    status: np.ndarray | None = None

    def take(self, rows: slice | np.ndarray) -> Rows:
        return Rows._make(None if array is None else array[rows] for array in self)

    @staticmethod
    def concatenate(parts: Sequence[Rows]) -> Rows:
        if len(parts) == 1:
            return parts[0]
        columns = zip(*parts, strict=True)
        joined = [None if each[0] is None else np.concatenate(each) for each in columns]
        return Rows._make(joined)


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

    The branches of `weights` are the weights themselves, then their errors, then their statuses.

    **Raises** `UsageError` where the lists of files, or the entries of a pair of files, differ in number.
    """

    def __init__(
        self,
        inputs: Source,
        weights: Source,
        weight_count: int,
        with_errors: bool = False,
        with_status: bool = False,
    ):
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
        self._with_errors, self._with_status = with_errors, with_status

    @property
    def num_entries(self) -> int:
        return self.inputs.num_entries

    def read(self, start: int, stop: int, pool: ThreadPoolExecutor | None = None) -> Rows:
        return self.labels(start, stop, pool)._replace(inputs=self.inputs.read(start, stop, pool))

    def labels(self, start: int, stop: int, pool: ThreadPoolExecutor | None = None) -> Rows:
        """The same rows with no inputs."""
        labels = self.weights.read(start, stop, pool)
        k = self._count
        return Rows(
            np.empty((stop - start, 0)),
            labels[:, :k],
            labels[:, k : 2 * k] if self._with_errors else None,
            labels[:, -k:] if self._with_status else None,
        )


class Loader:
    """Rows of a part in file order (`scan`) and of the training part in training order (`shuffled`)."""

    #: whether the rows stay in memory, so that what is made of them may be kept between epochs
    resident = False

    def __init__(self, data: Paired, split: Sequence[float], chunk_entries: int):
        self.parts = split_sizes(data.num_entries, split)
        self.chunk_entries = chunk_entries
        self.data = data

    def size(self, part: Part) -> int:
        start, stop = self.parts[part]
        return stop - start

    def scan(self, part: Part) -> Iterator[Rows]:
        """The rows of a part, chunk by chunk, in file order."""
        return ahead(self._chunks(self.data.inputs.boundaries(*self.parts[part], self.chunk_entries)))

    def shuffled(self, rng: np.random.Generator) -> Iterator[Rows]:
        """The rows of the training part, in blocks, in an order of `rng`."""
        raise NotImplementedError

    def _chunks(self, bounds: Sequence[tuple[int, int]]) -> Iterator[Rows]:
        with ThreadPoolExecutor(READERS) as pool:
            for start, stop in bounds:
                yield self.data.read(start, stop, pool)


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
        bounds = self.data.inputs.boundaries(*self.parts["train"], self.chunk_entries)
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
    """Fully random access, from a cache on disk that goes with the loader.

    Rows are read one by one from a file of records: mapping the file into memory instead would count, page
    by page, as memory of this process until it holds all of it.
    """

    BLOCK = 65_536

    def __init__(self, data: Paired, split: Sequence[float], chunk_entries: int):
        super().__init__(data, split, chunk_entries)
        self._cache = tempfile.TemporaryFile(prefix="deepmem-")  # noqa: SIM115 - lives as long as the loader
        with explained(Path(tempfile.gettempdir())):
            for chunk in self.scan("train"):
                present = {k: array for k, array in chunk._asdict().items() if array is not None}
                self._record = np.dtype([(k, array.dtype, array.shape[1:]) for k, array in present.items()])
                records = np.empty(len(chunk.inputs), self._record)
                for key, array in present.items():
                    records[key] = array
                self._cache.write(records.data)
            self._cache.flush()

    def shuffled(self, rng: np.random.Generator) -> Iterator[Rows]:
        return ahead(self._gathered(rng.permutation(self.size("train"))))

    def _gathered(self, order: np.ndarray) -> Iterator[Rows]:
        file, size = self._cache.fileno(), self._record.itemsize
        for at in range(0, len(order), self.BLOCK):
            offsets = (order[at : at + self.BLOCK] * size).tolist()
            records = np.frombuffer(
                b"".join([os.pread(file, size, offset) for offset in offsets]), self._record
            )
            yield Rows(**{name: records[name] for name in self._record.names or ()})


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
