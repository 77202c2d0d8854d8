"""Exact weights of a run of entries, by this process or by many: cut into pieces, kept as they come.

Which worker has which piece changes no weight, for points follow from the number of an entry. A piece whose
worker dies comes again as two halves, until it is one event; one that ends three workers has status 3."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import count
from math import ceil
from typing import Any

import jax
import numpy as np

from deepmem.event import Weight
from deepmem.inputs import Reason
from deepmem.jobs.environment import collecting_nothing
from deepmem.jobs.parts import Interval, Pace, Parts
from deepmem.jobs.staff import WEIGHTS, Staff
from deepmem.jobs.workers import Answer, Crew
from deepmem.reporter import Reporter, Step

# Seconds of work from which on workers are worth their start, which takes some five, if not asked for.
_WORTH = 20.0
# Workers that one event may end; and into how many pieces for each worker what is left is cut at least.
MOST_DEATHS, _PIECES = 3, 2
# Seconds of work of a piece at least.
_LEAST = 1.0
# Seconds after which a person is told how long it will take, if it is so long.
_ESTIMATE_AFTER = 60.0


@dataclass(frozen=True)
class Computation:
    """Exact weights of entries of a sample: what a process needs to compute them, and what to see after.

    - `work`: the weights by name of a table of events, such as `Task.compute_table`; a value that pickles
    - `read`: of entries [begin, end), the arguments of `work`: a table, the entries, tables of variations
    - `check`: **raises** where what weights depend on has changed meanwhile
    """

    work: Callable[..., dict[str, Weight]]
    read: Callable[[int, int], tuple[Any, ...]]
    check: Callable[[], None] = lambda: None

    def here(self, begin: int, end: int) -> dict[str, Weight]:
        """The weights, computed by this process."""
        weights = self.work(*self.read(begin, end))
        self.check()
        return weights

    def of_killer(self, at: int) -> dict[str, Weight]:
        """Of an event that no worker survives: no weight, and the reason."""
        table, entries, *varied = self.read(at, at + 1)
        nothing = [{name: np.full_like(each, np.nan) for name, each in tables.items()} for tables in varied]
        weights = self.work(np.full_like(table, np.nan), entries, *nothing)
        died = np.full(1, Reason.WORKER_DIED, dtype=np.int32)
        return {name: replace(weight, reason=died) for name, weight in weights.items()}


@dataclass
class _Pieces:
    """What is left of a run: intervals that nobody has begun, and pieces that come again, with deaths."""

    gaps: deque[Interval] = field(default_factory=deque)
    again: deque[tuple[Interval, int]] = field(default_factory=deque)

    @classmethod
    def around(cls, there: Sequence[Interval], start: int, stop: int) -> _Pieces:
        """What of [start, stop) is not there yet."""
        pieces, at = cls(), start
        for begin, end in [*there, (stop, stop)]:
            if at < begin:
                pieces.gaps.append((at, begin))
            at = max(at, end)
        return pieces

    @property
    def events(self) -> int:
        """How many there are."""
        repeated = sum(end - begin for (begin, end), _ in self.again)
        return repeated + sum(end - begin for begin, end in self.gaps)

    def next(self, size: int) -> tuple[Interval, int]:
        """One of them, of so many events at most, and the deaths that it has caused."""
        if self.again:
            return self.again.popleft()
        begin, end = self.gaps.popleft()
        if end - begin > size:
            self.gaps.appendleft((begin + size, end))
        return (begin, min(begin + size, end)), 0

    def repeat(self, piece: Interval, deaths: int, halved: bool) -> None:
        """A piece that is lost comes again, in halves if it can, and if it is to blame."""
        begin, end = piece
        middle = (begin + end) // 2
        if halved and begin < middle:
            self.again.extend([((begin, middle), 0), ((middle, end), 0)])
        else:
            self.again.append((piece, deaths))


class Hands:
    """Who computes: this process, and a crew where there is one.

    **Arguments:** `start`, which makes the crew, or None; `at_once`, whether it is wanted whatever it costs,
    or only where the work is worth it.
    """

    def __init__(
        self, start: Callable[[], Crew] | None, at_once: bool = False, reporter: Reporter | None = None
    ) -> None:
        self._start, self._reporter = start, reporter or Reporter()
        self._crew = start() if start is not None and at_once else None
        self._joined = self._crew is not None
        self._tickets = count()
        self._begin, self._told = time.monotonic(), False

    @classmethod
    def of(cls, staff: Staff, reporter: Reporter | None = None) -> Hands:
        """Those of a call. **Raises** `UsageError` as `Staff.check` does, or where a scheduler is none."""
        return cls(staff.crew(WEIGHTS, reporter or Reporter()), staff.at_once, reporter)

    def __enter__(self) -> Hands:
        return self

    def __exit__(self, *_: object) -> None:
        if self._crew is not None:
            self._crew.close()

    @property
    def size(self) -> int:
        """How many processes compute at a time."""
        return self._crew.size if self._crew is not None and self._joined else 1

    def fill(
        self,
        parts: Parts,
        start: int,
        stop: int,
        computation: Computation,
        step: Step,
        later: int = 0,
    ) -> Iterator[Interval]:
        """All parts of [start, stop) as soon as they are there; what is missing is computed.

        **Arguments:** `step`, told of each part; `later`, events of the same kind that will come in other
        calls.

        **Raises** what a worker raises.
        """
        if self._crew is not None:
            parts.pace.seconds = self._crew.piece_seconds
        there = parts.within(start, stop)
        for begin, end in there:
            step(end - begin)
            yield begin, end
        run = _Run(parts, computation, _Pieces.around(there, start, stop))
        while run.pieces.events or run.begun:
            crew = self._helpful(parts.pace, run.pieces.events + later)
            done = [run.alone()] if crew is None else self._together(crew, run)
            for piece in done:
                step(piece[1] - piece[0])
                self._estimate(parts.pace, run.pieces.events + later)
                yield piece

    def _helpful(self, pace: Pace, left: int) -> Crew | None:
        """The crew, if it is to compute now: this process goes on until one of them is there."""
        long = pace.rate is not None and pace.rate * left > _WORTH
        if self._crew is None and self._start is not None and long and on_cpu():
            self._crew = self._start()
        if self._crew is not None and not self._joined:
            self._crew.answers(0.0)
            self._joined = self._crew.free > 0
        return self._crew if self._joined else None

    def _together(self, crew: Crew, run: _Run) -> list[Interval]:
        """Hand out what the crew takes, and keep what comes."""
        while crew.free and run.pieces.events:
            piece, deaths = run.pieces.next(self._size(crew, run.parts.pace, run.pieces.events))
            ticket = next(self._tickets)
            run.begun[ticket] = piece, deaths
            crew.submit(ticket, run.computation.work, run.computation.read(*piece))
        try:
            return run.kept(crew.answers(), crew.size)
        except KeyboardInterrupt:
            run.kept(crew.answers(0.0), crew.size)
            raise

    def _size(self, crew: Crew, pace: Pace, left: int) -> int:
        """Events of the next piece: at the end less, so that no worker waits long for the others."""
        share = ceil(left / (_PIECES * crew.size))
        least = 1 if pace.rate is None else ceil(_LEAST / max(pace.rate, 1e-9))
        return min(pace.size, max(share, least))

    def _estimate(self, pace: Pace, left: int) -> None:
        """Say once how long it will take, where it is long."""
        if self._told or pace.rate is None or time.monotonic() - self._begin < _ESTIMATE_AFTER:
            return
        self._told, seconds = True, pace.rate * left / self.size
        if seconds > _ESTIMATE_AFTER:
            each = f" in each of {self.size} processes" if self.size > 1 else ""
            self._reporter.message(
                f"about {in_words(seconds)} more: {left:,} events, {1e3 * pace.rate:.3g} ms an event{each}"
            )


@dataclass
class _Run:
    """Pieces of a computation: what is left, and by ticket what a crew has begun, with its deaths."""

    parts: Parts
    computation: Computation
    pieces: _Pieces
    begun: dict[int, tuple[Interval, int]] = field(default_factory=dict)

    def alone(self) -> Interval:
        """Compute and keep the next piece here."""
        piece, _ = self.pieces.next(self.parts.pace.size)
        begin = time.perf_counter()
        with nullcontext() if self.parts.pace.begun else collecting_nothing():  # the first one traces
            weights = self.computation.here(*piece)
        self._keep(piece, weights, time.perf_counter() - begin)
        return piece

    def kept(self, answers: Sequence[Answer], workers: int) -> list[Interval]:
        """Keep what has come, each with its share of the time of all workers; the pieces that it is of."""
        done = []
        for answer in answers:
            piece, deaths = self.begun.pop(answer.ticket)
            deaths += answer.deaths
            if answer.computed is not None:
                if answer.computed.error is not None:
                    raise answer.computed.error
                self.computation.check()
                self._keep(
                    piece, answer.computed.result, answer.computed.seconds, answer.computed.first, workers
                )
                done.append(piece)
            elif piece[1] - piece[0] == 1 and deaths >= MOST_DEATHS:
                self._keep(piece, self.computation.of_killer(piece[0]), 0.0, True)
                done.append(piece)
            else:
                self.pieces.repeat(piece, deaths, halved=answer.deaths > 0)
        return done

    def _keep(
        self,
        piece: Interval,
        weights: Mapping[str, Weight],
        seconds: float,
        first: bool | None = None,
        workers: int = 1,
    ) -> None:
        self.parts.save(piece, weights, seconds / workers)
        self.parts.pace.took(piece[1] - piece[0], seconds, first)


def on_cpu() -> bool:
    """Whether JAX computes on the CPU here, as workers do: a GPU is one, whatever the number of cores."""
    return jax.default_backend() == "cpu"


def in_words(seconds: float) -> str:
    """A time that a person waits: 50 s, 12 min, 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
