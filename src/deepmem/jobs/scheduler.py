"""Workers of other machines, by a Dask scheduler: a batch system starts them, and they come and go.

A piece of work is a function of what is sent with it, so that a worker needs no file but density grids and
models; what it computes comes back to the driver, which alone writes. Where a worker is lost the scheduler
gives its piece to another one, and where several are, the piece is said to be lost."""

from __future__ import annotations

import logging
import pickle
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from deepmem.errors import DeepMEMError, UsageError
from deepmem.jobs.environment import PACKAGES, claim_core, keep_memory, prepare_jax, versions
from deepmem.jobs.worker import Bench, Computed, key_of
from deepmem.jobs.workers import Answer

_ANSWER = 10.0  # seconds in which a scheduler answers
_GONE = 120.0  # seconds after which one that is gone does not come back
_LOOK = 2.0  # seconds between looks at who is there
_AHEAD = 2  # pieces per thread of a worker, so that none waits for its next one

_bench: Bench | None = None


def on_worker(
    of_driver: Mapping[str, str], key: str, pickled: bytes, arguments: Sequence[Any], one_thread: bool
) -> Computed:
    """What a worker of Dask does with a piece; errors say which worker it was."""
    global _bench
    if _bench is None:
        prepare_jax()
        keep_memory()
        if one_thread:
            claim_core()
        _bench = Bench()
    here = versions(of_driver)
    if differ := [f"{k} {here[k]} and not {v}" for k, v in of_driver.items() if v != here[k]]:
        text = f"the worker on {socket.gethostname()} has {', '.join(differ)}: install the same on both sides"
        return Computed(None, UsageError(text), 0.0, True)
    with _unwatched():
        computed = _bench.compute(key, pickled, arguments)
    if (error := computed.error) is not None:
        named = type(error)(f"on {socket.gethostname()}: {error}")
        for note in getattr(error, "__notes__", ()):
            named.add_note(note)
        return Computed(None, named, computed.seconds, computed.first)
    return computed


@contextmanager
def _unwatched() -> Iterator[None]:
    """Dask's profiler, which looks at this thread 100 times a second, rests: it takes 4 % of the time."""
    from distributed import get_worker

    try:
        worker = get_worker()
        profiler = worker.periodic_callbacks["profile"]
    except (ValueError, KeyError):  # no worker of Dask, or it has none
        yield
        return
    worker.loop.add_callback(profiler.stop)
    try:
        yield
    finally:
        worker.loop.add_callback(profiler.start)


class DaskWorkers:
    """A `Crew` of the workers of a scheduler.

    **Arguments:** `address`, such as tcp://host:8786, or the path of the file that a scheduler has written;
    `told`, what a person is to know; `packages`, whose versions are to be the same everywhere.

    **Raises** `UsageError` where Dask is not installed, no scheduler answers, or its version is another one.
    """

    def __init__(self, address: str, told: Callable[[str], None], packages: Sequence[str] = PACKAGES) -> None:
        try:
            import distributed
        except ImportError:
            raise UsageError("--scheduler needs Dask: pip install 'deepmem[farm]'") from None
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self._distributed, self._address, self._told = distributed, address, told
        try:
            self._client = self._connected(_ANSWER)
        except (OSError, ValueError, TypeError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UsageError(
                f"no scheduler answers at {address} within {_ANSWER:g} s ({why}): start one with "
                "'dask scheduler'"
            ) from None
        self._futures: dict[int, Any] = {}
        self._done: SimpleQueue[int] = SimpleQueue()
        self._versions = versions(packages)
        self._threads: dict[str, int] = {}
        self._looked, self._seen, self._waiting = -_LOOK, time.monotonic(), False
        self._refuse_other_version(distributed.__version__)

    def _connected(self, seconds: float) -> Any:
        """A client, which tries for so long. **Raises** `ValueError`, before there is one, for no address."""
        where = "scheduler_file" if Path(self._address).is_file() else "address"
        if where == "address":
            self._distributed.comm.resolve_address(self._address)
        with warnings.catch_warnings():
            # of packages that decide no bit; those that do are compared by `on_worker`
            warnings.filterwarnings("ignore", "Mismatched versions")
            return self._distributed.Client(**{where: self._address}, timeout=seconds, set_as_default=False)

    def _refuse_other_version(self, ours: str) -> None:
        versions_there: Any = self._client.get_versions()
        theirs = versions_there["scheduler"]["packages"]["distributed"]
        if theirs != ours:
            self._client.close()
            raise UsageError(
                f"the scheduler at {self._address} has distributed {theirs}, and this call {ours}: install "
                "the same on both sides"
            )

    def _workers(self) -> dict[str, int]:
        """The threads of each worker, as of a moment ago."""
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return self._threads
        try:
            self._threads = dict(self._client.nthreads(callback_timeout=_ANSWER))
            self._seen = time.monotonic()
        except (OSError, TimeoutError, RuntimeError):  # nobody answers now: somebody may soon
            self._threads = {}
            self._connect_again()
        self._looked = time.monotonic()
        if self._looked - self._seen > _GONE:
            raise DeepMEMError(
                f"the scheduler at {self._address} has not answered for {_GONE:g} s: call the same command "
                "when there is one, and compute, refine and generate continue"
            )
        if not self._threads and not self._waiting:
            self._told(f"no worker of {self._address} is there: waiting for one")
        self._waiting = not self._threads
        return self._threads

    def _connect_again(self) -> None:
        """Where the client has given its scheduler up, another one may find that it was started again."""
        if self._client.status != "closed":
            return
        with suppress(OSError, ValueError):
            self._client = self._connected(_LOOK)
        for ticket in self._futures:  # nobody will tell of these
            self._done.put(ticket)

    piece_seconds = 30.0

    @property
    def size(self) -> int:
        return max(sum(self._workers().values()), 1)

    @property
    def free(self) -> int:
        return max(_AHEAD * sum(self._workers().values()) - len(self._futures), 0)

    def submit(self, ticket: int, work: Callable[..., Any], arguments: Sequence[Any]) -> None:
        pickled = pickle.dumps(work)
        alone = max(self._workers().values(), default=1) == 1
        piece = self._versions, key_of(pickled), pickled, tuple(arguments), alone
        try:
            future = self._client.submit(on_worker, *piece, pure=False)
        except Exception as error:
            # of a scheduler that is gone, or of a client that has given it up: Dask names that one anew
            if not isinstance(error, OSError | RuntimeError) and self._client.status != "closed":
                raise
            self._futures[ticket] = None
            self._done.put(ticket)
            return
        self._futures[ticket] = future
        future.add_done_callback(lambda _: self._done.put(ticket))

    def answers(self, seconds: float | None = None) -> list[Answer]:
        wait = _LOOK if seconds is None else min(seconds, _LOOK)
        tickets = set()
        try:
            tickets.add(self._done.get(timeout=wait) if wait else self._done.get_nowait())
            while True:
                tickets.add(self._done.get_nowait())
        except Empty:
            return [self._answer(ticket) for ticket in sorted(tickets & self._futures.keys())]

    def _answer(self, ticket: int) -> Answer:
        """What became of a piece whose future is done."""
        future = self._futures.pop(ticket)
        if future is None:
            return Answer(ticket, None)
        if future.status == "finished":
            try:
                return Answer(ticket, future.result(timeout=_ANSWER))
            except (OSError, TimeoutError):  # its worker is gone, and what it had computed with it
                return Answer(ticket, None)
        if future.status != "error":  # the scheduler is gone, and with it all that it knew
            return Answer(ticket, None)
        error = future.exception()
        if isinstance(error, self._distributed.KilledWorker):
            return Answer(ticket, None, deaths=error.allowed_failures + 1)
        raise DeepMEMError(f"a worker of {self._address} failed: {type(error).__name__}: {error}")

    def close(self) -> None:
        with suppress(Exception):  # whom it could tell may be gone
            self._client.cancel([each for each in self._futures.values() if each is not None])
        with suppress(OSError, TimeoutError, RuntimeError):
            self._client.close(timeout=_LOOK)
