"""Workers of this machine: processes of their own, each pinned to its cores, that compute what they are sent.

A process that dies, whatever killed it, is replaced; what it was computing is said to be lost. They are in no
group with their driver, so that Ctrl-C does not reach them, and end as soon as it does."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from deepmem.errors import DeepMEMError, UsageError
from deepmem.jobs.environment import cores_here
from deepmem.jobs.worker import Computed, key_of

_STILLBORN = 5  # processes that die before they are ready, one after the other, until it is no accident


@dataclass(frozen=True)
class Answer:
    """To a ticket: what was computed; None where it is lost, to so many `deaths` of workers by it."""

    ticket: int
    computed: Computed | None
    deaths: int = 0


class Crew(Protocol):
    """Whoever computes works on arguments: processes of this machine, or of others."""

    piece_seconds: float
    """How much work is to be sent at once."""

    @property
    def size(self) -> int:
        """How many workers there are, at least 1."""

    @property
    def free(self) -> int:
        """How many more tickets are taken now."""

    def submit(self, ticket: int, work: Callable[..., Any], arguments: Sequence[Any]) -> None:
        """Have `work(*arguments)` computed; `work` is a value that pickles."""

    def answers(self, seconds: float | None = None) -> list[Answer]:
        """What has come; if nothing has, wait until something may be done, or so long."""

    def close(self) -> None:
        """End it all, whatever is being computed."""


def shares(workers: int, threads: int = 1) -> list[list[int]]:
    """The cores of each worker; one worker for each core where `workers` is 0.

    **Raises** `UsageError` for a number below 0, or more than there are cores for.
    """
    cores = cores_here()
    most = len(cores) // threads
    if not 0 <= workers <= max(most, 1):
        each = f" of {threads} cores" if threads > 1 else ""
        raise UsageError(
            f"--workers {workers}: expected 1 to {max(most, 1)}{each}, for this process may use {len(cores)} "
            "core(s), or 0 for all of them"
        )
    return [cores[i * threads : (i + 1) * threads] for i in range(workers or max(most, 1))]


@dataclass
class _Process:
    process: subprocess.Popen[bytes]
    connection: Connection
    lifeline: Connection
    cores: list[int]
    works: set[str]
    """The works that it has."""
    ready: bool = False
    ticket: int | None = None

    @classmethod
    def start(cls, cores: list[int], modules: Sequence[str]) -> _Process:
        """A process that is on its way."""
        ours, theirs = Pipe()
        theirs_of_life, life = Pipe(duplex=False)
        words = [str(theirs.fileno()), str(theirs_of_life.fileno()), ",".join(map(str, cores)), *modules]
        process = subprocess.Popen(
            [sys.executable, "-c", "from deepmem.jobs.worker import main; main()", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), theirs_of_life.fileno()),
            start_new_session=True,
            env=_environment(),
        )
        theirs.close()
        theirs_of_life.close()
        return cls(process, ours, life, cores, set())

    def end(self) -> int:
        """End it, whatever it computes: it holds nothing that is wanted; **returns** its exit status."""
        self.process.kill()
        status = self.process.wait()
        self.connection.close()
        self.lifeline.close()
        return status


def _environment() -> dict[str, str]:
    """What a worker's JAX is to be like: this one, on the CPU, with the same compiled programs."""
    found = dict(os.environ, JAX_PLATFORMS="cpu")
    found["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    if (jax := sys.modules.get("jax")) is not None:
        if (folder := jax.config.jax_compilation_cache_dir) is not None:
            found["JAX_COMPILATION_CACHE_DIR"] = folder
        found["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(jax.config.read("jax_disable_most_optimizations")))
    return found


class Workers:
    """A `Crew` on this machine, of one process for each of `cores`, each with these.

    **Arguments:** `modules` that they import before they are asked.

    **Raises** `UsageError` where the system has no such processes; `DeepMEMError` where they die as they
    start.
    """

    def __init__(self, cores: Sequence[list[int]], modules: Sequence[str] = ()) -> None:
        if os.name != "posix":
            raise UsageError("--workers needs Linux or macOS: leave it out, or say --workers 1")
        self._stillborn, self._modules = 0, modules
        self._processes = [_Process.start(each, modules) for each in cores]

    piece_seconds = 8.0

    @property
    def size(self) -> int:
        return len(self._processes)

    @property
    def free(self) -> int:
        return sum(each.ready and each.ticket is None for each in self._processes)

    @property
    def numbers(self) -> list[int]:
        """Of the processes, as the system counts them."""
        return [each.process.pid for each in self._processes]

    def submit(self, ticket: int, work: Callable[..., Any], arguments: Sequence[Any]) -> None:
        worker = next(each for each in self._processes if each.ready and each.ticket is None)
        pickled = pickle.dumps(work)
        key = key_of(pickled)
        worker.ticket = ticket
        with suppress(OSError):  # it has died: the next answer says so
            worker.connection.send((key, None if key in worker.works else pickled, arguments))
        worker.works.add(key)

    def answers(self, seconds: float | None = None) -> list[Answer]:
        connections = {each.connection: i for i, each in enumerate(self._processes)}
        found = []
        for connection in wait(list(connections), seconds):
            number = connections[connection]  # type: ignore[index]
            worker = self._processes[number]
            try:
                computed = worker.connection.recv()
            except (EOFError, OSError, pickle.UnpicklingError):
                found += self._replaced(number)
                continue
            if not worker.ready:
                worker.ready, self._stillborn = True, 0
            elif worker.ticket is not None:
                found.append(Answer(worker.ticket, computed))
                worker.ticket = None
        return found

    def _replaced(self, number: int) -> list[Answer]:
        """Put another process in the place of one that died; what it was computing is lost."""
        dead = self._processes[number]
        status = dead.end()
        self._stillborn += not dead.ready
        if self._stillborn >= _STILLBORN:
            raise DeepMEMError(
                f"workers die as they start (exit status {status}, what they say is above): --workers 1 "
                "computes without them"
            )
        self._processes[number] = _Process.start(dead.cores, self._modules)
        return [] if dead.ticket is None else [Answer(dead.ticket, None, deaths=1)]

    def close(self) -> None:
        for worker in self._processes:
            worker.end()
