"""A worker: a process that computes what its driver sends, until the driver is no more.

`main` is called with the numbers of two open pipes, to be asked by and to end with the driver, of the cores
that it may use, and with names of modules to import before it is asked. It is pinned before JAX is imported,
which takes a thread for each core that it finds. What it computes with is a value that comes pickled, and is
kept under its key: compiled once, however many tasks follow."""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from deepmem.errors import DeepMEMError, DeepMEMWarning
from deepmem.jobs.environment import collecting_nothing, pin


@dataclass(frozen=True)
class Computed:
    """What a worker answers: the result, or what was raised; the seconds it took, and whether it was the
    first with its work, which compiles."""

    result: Any
    error: BaseException | None
    seconds: float
    first: bool


class Bench:
    """Works by key, each unpickled once."""

    def __init__(self) -> None:
        self._works: dict[str, Callable[..., Any]] = {}

    def compute(self, key: str, pickled: bytes | None, arguments: Sequence[Any]) -> Computed:
        """Do a work on `arguments`; `pickled`, the work, where it may be new here."""
        first, begin = key not in self._works, time.perf_counter()
        try:
            with collecting_nothing() if first else nullcontext():
                if first:
                    assert pickled is not None
                    self._works[key] = pickle.loads(pickled)
                result, error = self._works[key](*arguments), None
        except Exception as failure:
            result, error = None, portable(failure)
        return Computed(result, error, time.perf_counter() - begin, first)


def key_of(pickled: bytes) -> str:
    """The name of a work by its content."""
    return hashlib.sha256(pickled).hexdigest()[:32]


def portable(failure: Exception) -> BaseException:
    """An exception that can be sent, with where it was raised as a note."""
    found: BaseException = failure
    if not isinstance(failure, DeepMEMError):
        found = DeepMEMError(f"a worker failed: {type(failure).__name__}: {failure}")
    found.add_note("in a worker:\n" + "".join(traceback.format_exception(failure)))
    return found


def _end_with(lifeline: int) -> None:
    """End this process when the driver's end of a pipe is closed, whatever it computes then."""
    os.read(lifeline, 1)
    os._exit(1)


def serve(connection: Connection, lifeline: int, cores: Sequence[int], modules: Sequence[str]) -> None:
    """Answer every message `(key, pickled, arguments)` with a `Computed`, as long as any come."""
    pin(cores)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    warnings.simplefilter("ignore", DeepMEMWarning)  # the driver has told them
    with collecting_nothing():
        for name in modules:
            import_module(name)
        gc.freeze()
    bench = Bench()
    connection.send(None)
    while True:
        connection.send(bench.compute(*connection.recv()))


def main() -> None:
    """Serve as the command line says."""
    connection, lifeline, cores, *modules = sys.argv[1:]
    numbers = [int(core) for core in cores.split(",")]
    try:
        serve(Connection(int(connection)), int(lifeline), numbers, modules)
    except (EOFError, OSError):  # the driver is no more
        sys.exit(1)
