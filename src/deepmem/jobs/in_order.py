"""Results in the order of their arguments, by this process or by workers: a `Mapper`.

Workers take a few arguments ahead, and what they send back waits until it is its turn. A worker that dies is
replaced, and what it was computing comes again. Results that are dicts of arrays are kept where the call has
a place for them, and loaded from there when it is called again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Generic, TypeVar

from deepmem.errors import DeepMEMError
from deepmem.jobs.environment import PACKAGES
from deepmem.jobs.kept import Kept
from deepmem.jobs.spreading import MOST_DEATHS, on_cpu
from deepmem.jobs.staff import Staff
from deepmem.jobs.workers import Answer, Crew
from deepmem.reporter import Reporter

A = TypeVar("A")
R = TypeVar("R")

# Seconds that this process has computed before workers, which take some five to start, are worth it: by then
# it is likely that as much is to come.
_WORTH = 10.0
# Results that wait for their turn or are on their way, for each worker.
_AHEAD = 4


class InOrder:
    """A `Mapper` that several processes are behind, where it is worth it.

    **Arguments:** `start`, which makes the crew, or None; `at_once`, whether it is wanted whatever it costs;
    `kept`, where results are kept; `ahead`, how many results, for each worker, wait for their turn or are on
    their way.
    """

    def __init__(
        self,
        start: Callable[[], Crew] | None,
        at_once: bool = False,
        kept: Kept | None = None,
        ahead: int = _AHEAD,
    ) -> None:
        self._start, self._kept, self._ahead = start, kept, ahead
        self._crew = start() if start is not None and at_once else None
        self._joined = at_once and self._crew is not None
        self._alone, self._maps, self._tickets = 0.0, count(), count()

    @classmethod
    def of(
        cls,
        staff: Staff,
        modules: Sequence[str],
        kept: Kept | None = None,
        reporter: Reporter | None = None,
        packages: Sequence[str] = PACKAGES,
        ahead: int = _AHEAD,
    ) -> InOrder:
        """Those of a call. **Raises** `UsageError` as `Staff.crew` and what it starts do."""
        return cls(staff.crew(modules, reporter or Reporter(), packages), staff.at_once, kept, ahead)

    def __enter__(self) -> InOrder:
        return self

    def __exit__(self, *_: object) -> None:
        if self._crew is not None:
            self._crew.close()

    def __call__(self, work: Callable[[A], R], arguments: Iterable[A]) -> Iterator[R]:
        left = enumerate(arguments)
        results = _Results(work, left, self._kept, next(self._maps), self._tickets, self._ahead)
        while (crew := self._helpful()) is None:
            if (piece := results.next()) is None:
                return
            begin = time.perf_counter()
            result = results.here(piece)
            self._alone += time.perf_counter() - begin
            yield result
        yield from results.together(crew)

    def _helpful(self) -> Crew | None:
        """The crew, if it is to compute now: this process goes on until one of them is there."""
        if self._crew is None and self._start is not None and self._alone > _WORTH and on_cpu():
            self._crew = self._start()
        if self._crew is not None and not self._joined:
            self._crew.answers(0.0)
            self._joined = self._crew.free > 0
        return self._crew if self._joined else None


@dataclass(frozen=True)
class _Piece(Generic[A]):
    """The `number`-th argument, and how many workers it has ended."""

    number: int
    argument: A
    deaths: int = 0


@dataclass
class _Results(Generic[A, R]):
    """Those of the `turn`-th map of a call: what is left, begun by ticket, and done out of turn."""

    work: Callable[[A], R]
    left: Iterator[tuple[int, A]]
    kept: Kept | None
    turn: int
    tickets: Iterator[int]
    ahead: int
    again: deque[_Piece[A]] = field(default_factory=deque)
    begun: dict[int, _Piece[A]] = field(default_factory=dict)
    done: dict[int, R] = field(default_factory=dict)
    at: int = 0
    """Whose turn it is."""
    over: bool = False
    """Whether there are no more arguments."""

    def __post_init__(self) -> None:
        self._there = frozenset(() if self.kept is None else self.kept.names())

    def _name(self, number: int) -> str:
        return f"{self.turn:04d}-{number:08d}"

    def _keep(self, number: int, result: R) -> R:
        if self.kept is not None and isinstance(result, dict):
            self.kept.save(self._name(number), result)
        return result

    def _found(self, number: int) -> Any:
        """What is kept from an earlier call, or None."""
        if self.kept is None or self._name(number) not in self._there:
            return None
        return self.kept.load(self._name(number))

    def next(self) -> _Piece[A] | None:
        """The next argument that nobody has begun."""
        for number, argument in self.left:
            return _Piece(number, argument)
        self.over = True
        return None

    def here(self, piece: _Piece[A]) -> R:
        """Computed by this process, in turn."""
        self.at = piece.number + 1
        found = self._found(piece.number)
        return self._keep(piece.number, self.work(piece.argument)) if found is None else found

    def together(self, crew: Crew) -> Iterator[R]:
        """All that are left, computed by a crew."""
        while True:
            self._hand_out(crew)
            if self.at in self.done:
                yield self.done.pop(self.at)
                self.at += 1
            elif self.over and not self.begun and not self.again:
                return
            else:
                self._take(crew.answers())

    def _hand_out(self, crew: Crew) -> None:
        """Hand out what the crew takes: what comes again first, for others may wait for its turn."""
        while crew.free and (self.again or len(self.begun) + len(self.done) < self.ahead * crew.size):
            piece = self.again.popleft() if self.again else self.next()
            if piece is None:
                return
            if (found := self._found(piece.number)) is not None:
                self.done[piece.number] = found
                continue
            ticket = next(self.tickets)
            self.begun[ticket] = piece
            crew.submit(ticket, self.work, (piece.argument,))

    def _take(self, answers: Iterable[Answer]) -> None:
        """Keep what has come. Answers to an earlier map, which had enough, are nobody's."""
        for answer in answers:
            if (piece := self.begun.pop(answer.ticket, None)) is None:
                continue
            if answer.computed is None:
                again = replace(piece, deaths=piece.deaths + answer.deaths)
                if again.deaths >= MOST_DEATHS:
                    raise DeepMEMError(
                        f"a piece of the work has ended {again.deaths} workers, which may lack memory: "
                        "--workers 1 computes without them"
                    )
                self.again.append(again)
            elif answer.computed.error is not None:
                raise answer.computed.error
            else:
                self.done[piece.number] = self._keep(piece.number, answer.computed.result)
