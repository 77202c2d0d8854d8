"""Many results of one work in the order of their arguments, by whoever computes them.

A result follows from its argument alone, random numbers included, so that nobody sees who computed it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

A = TypeVar("A")
R = TypeVar("R")


class Mapper(Protocol):
    """What Python's own `map` does in this process. Others have several, and take arguments ahead.

    `work` and arguments pickle; results that are dicts of arrays may be kept for another call.
    """

    def __call__(self, work: Callable[[A], R], arguments: Iterable[A], /) -> Iterator[R]: ...


def telling(mapper: Mapper, tell: Callable[[], None]) -> Mapper:
    """The same mapper, and `tell` is called as soon as a result has been used."""

    def mapped(work: Callable[[A], R], arguments: Iterable[A]) -> Iterator[R]:
        for result in mapper(work, arguments):
            yield result
            tell()

    return mapped
