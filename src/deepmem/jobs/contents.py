"""Files that σ and leading-order events depend on, the same wherever they are computed: a work that is sent
to another process is refused there where a density, a model or a histogram has another content."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from deepmem.errors import DeepMEMError
from deepmem.events.partons import files_by_content, theory_by_content
from deepmem.ordered import Mapper

A = TypeVar("A")
R = TypeVar("R")

_FILES = {
    "pdf_sha256": "the density grid",
    "model_sha256": "the model or its card",
    "files_sha256": "a histogram of the response",
}


@dataclass(frozen=True)
class Contents:
    """What is read for a process, with a response and settings as of `leading_order.cross_section`."""

    process: str
    response: Mapping[str, Any] | None
    settings: Mapping[str, Any]

    def digests(self) -> dict[str, Any]:
        """Of the files as they are here. **Raises** `UsageError` and its kinds where one is missing."""
        return files_by_content(self.response) | theory_by_content(self.process, self.settings)


@dataclass(frozen=True)
class Everywhere:
    """A `Mapper` in front of another one, whose workers have the contents that this process has."""

    mapper: Mapper
    contents: Contents

    def __call__(self, work: Callable[[A], R], arguments: Iterable[A], /) -> Iterator[R]:
        return self.mapper(_Sent(work, self.contents, self.contents.digests()), arguments)


@dataclass(frozen=True)
class _Sent(Generic[A, R]):
    """A work, and what it depends on."""

    work: Callable[[A], R]
    contents: Contents
    digests: Mapping[str, Any]

    def __call__(self, argument: A) -> R:
        return self.work(argument)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_received, (self.work, self.contents, self.digests))


def _received(work: Callable[[A], R], contents: Contents, digests: Mapping[str, Any]) -> _Sent[A, R]:
    """A work in another process. **Raises** `DeepMEMError` where it would compute something else there."""
    found = contents.digests()
    if differ := [what for key, what in _FILES.items() if found.get(key) != digests.get(key)]:
        raise DeepMEMError(
            f"{' and '.join(differ)} is not what it was when the call began: it was changed, and the call "
            "has to start again, or another one is found here"
        )
    return _Sent(work, contents, digests)
