"""What a person is told while something runs. The library tells nothing; the command line tells it on
stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Step(Protocol):
    """Called as things are done: how many more, and a note on how it goes."""

    def __call__(self, done: int, note: str = "") -> None: ...


class Reporter:
    """The interface, and the one that is silent."""

    def message(self, text: str) -> None:
        """Something that was found or made."""

    def warning(self, text: str) -> None:
        """Something that is probably not as the user wants it."""

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Step]:
        """A bar, or a line now and then, while `total` things are done."""
        yield lambda done, note="": None
