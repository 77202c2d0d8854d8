"""What the machines of a farm have computed, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepmem.data.identity import joined
from deepmem.data.provenance import differences
from deepmem.data.root import Source
from deepmem.data.trees import expand
from deepmem.data.weights import (
    TREE,
    branch_names,
    counters,
    further_of,
    read_provenance,
    read_weights,
    weight_names,
    write_weights,
)
from deepmem.errors import DeepMEMError, UsageError
from deepmem.jobs.tallies import added_up


@dataclass(frozen=True)
class Merged:
    """A file of weights made of several."""

    events: int
    output: str
    parts: int

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Part:
    """Entries [start, stop) of a run: `about`, their provenance, `identity`, that of these events alone."""

    path: str
    start: int
    stop: int
    about: dict[str, Any]
    identity: dict[str, Any]
    counts: dict[str, Any]
    """Of statuses and reasons."""

    @classmethod
    def of_file(cls, path: str) -> _Part:
        try:
            about = read_provenance(path)
            start, stop = about.pop("entries")
            return cls(path, start, stop, about, about.pop("events"), about.pop("counts", {}))
        except (DeepMEMError, KeyError) as error:
            raise UsageError(f"{path} is not a part made by 'deepmem compute --entries': {error}") from None


def merge(parts: Sequence[str], output: str | Path) -> Merged:
    """Put parts made with `--entries` on a farm together, in the order of their entries.

    **Raises** `UsageError` where a part is missing, comes twice, or belongs to another call.
    """
    pieces = sorted((_Part.of_file(path) for path, _ in expand(parts)), key=lambda piece: piece.start)
    first = pieces[0]
    total = sum(file["entries"] for file in first.about["inputs"])
    _refuse_gaps(pieces, total)
    names = weight_names(first.path)
    further = further_of({name: read_weights(first.path, name) for name in names}, reasons=True)
    own = {branch for name in names for branch in further.branches(name)} | counters(names, further)
    kept = [branch for branch in branch_names(first.path) if branch not in own]
    # in the order of their entries, so that the parts are one run
    source = Source([piece.path for piece in pieces], TREE, (), kept, may_be_empty=True)
    source.refuse_as_output(output)
    about = first.about | {"entries": [0, total], "events": joined([piece.identity for piece in pieces])}
    if all(piece.counts for piece in pieces):
        about |= {"counts": added_up([piece.counts for piece in pieces])}
    with write_weights(output, names, about, source.kept_types, further) as writer:
        for piece in pieces:
            weights = {name: read_weights(piece.path, name) for name in names}
            writer.append(weights, source.read_kept(piece.start, piece.stop))
    return Merged(total, str(output), len(pieces))


def _refuse_gaps(pieces: Sequence[_Part], total: int) -> None:
    """See that parts in order are one run of so many entries, computed in one way."""
    first, expected = pieces[0], 0
    for piece in pieces:
        if piece.about != first.about:
            raise UsageError(
                f"{piece.path} and {first.path} were computed differently "
                f"({'; '.join(differences(first.about, piece.about))})"
            )
        if piece.start != expected:
            what = "is missing" if piece.start > expected else "comes twice"
            low, high = sorted((piece.start, expected))
            raise UsageError(
                f"the part {low}:{high} {what} (next to {piece.path}): {total} entries are expected in all"
            )
        expected = piece.stop
    if expected != total:
        raise UsageError(f"the part {expected}:{total} is missing: {total} entries are expected in all")
