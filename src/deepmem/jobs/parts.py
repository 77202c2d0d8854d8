"""Finished work of a job that may be interrupted, in a folder beside its output.

Each part is a file. It has as many events as some seconds of work are, which a call finds out as it goes: no
weight depends on what it is computed with."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from deepmem.event import Couplings, Monomials, Weight
from deepmem.jobs.kept import Kept

# Seconds of work that a part is, and the events of the largest for each of these.
_SECONDS, _MOST = 8.0, 1024


@dataclass
class Pace:
    """How many events the next part has: `size` at first, then what so many `seconds` of work are.

    The first part of a process compiles, so its time says little: after a long one comes one event. No part
    is more than four times the one before. Where it is `fixed`, all have one size.
    """

    size: int
    fixed: bool = False
    seconds: float = _SECONDS
    _parts: int = 0
    _events: int = 0
    _seconds: float = 0.0

    @property
    def rate(self) -> float | None:
        """Seconds that an event takes one process, compiling left out; None before that is known."""
        return self._seconds / self._events if self._events else None

    @property
    def begun(self) -> bool:
        """Whether a part is done."""
        return self._parts > 0

    def took(self, events: int, seconds: float, first: bool | None = None) -> None:
        """A part is done; `first`, whether it was that of its process: if not said, as all are of one."""
        compiled = not self.begun if first is None else first
        self._parts += 1
        if not compiled:
            self._events += events
            self._seconds += seconds
        if self.fixed:
            return
        wanted = self.seconds * events / max(seconds, 1e-3)
        if not compiled:
            self.size = int(min(max(wanted, 1), 4 * events, _MOST * self.seconds))
        elif not self._events and (wanted < 1 or seconds > 2 * self.seconds):
            self.size = 1


Interval: TypeAlias = tuple[int, int]


class Parts:
    """The finished parts of one call, each of the events [begin, end) of whatever the call counts.

    **Arguments:** `output`, the file that the call writes; `about`, what its weights depend on; `pace`, how
    many events the next part has.
    """

    def __init__(self, output: Path, about: Mapping[str, Any], pace: Pace):
        self._kept = Kept(output, about)
        self._kept.begin()
        self.folder, self.pace = self._kept.folder, pace

    def within(self, start: int, stop: int) -> list[Interval]:
        """The finished parts that lie in [start, stop), in order."""
        found = [tuple(map(int, name.split("-"))) for name in self._kept.names()]
        return sorted((begin, end) for begin, end in found if start <= begin < end <= stop)

    def save(self, part: Interval, weights: Mapping[str, Weight], seconds: float = 0.0) -> None:
        """Keep the weights of a part, and what they took."""
        arrays = {
            f"{i}.{field.name}": getattr(weight, field.name)
            for i, weight in enumerate(weights.values())
            for field in fields(Weight)
            if field.name != "couplings" and getattr(weight, field.name) is not None
        }
        for i, weight in enumerate(weights.values()):
            if (found := weight.couplings) is not None:
                arrays |= {
                    f"{i}.monomials": np.array(json.dumps(found.monomials.to_dict())),
                    f"{i}.coefficients": found.coefficients,
                    f"{i}.covariance": found.covariance,
                }
        self._kept.save(_name(part), {"seconds": np.array(seconds)} | arrays)

    def seconds(self, part: Interval) -> float:
        """How long a part has taken to compute."""
        return float(self._kept.load(_name(part))["seconds"])

    def load(self, part: Interval, names: Sequence[str]) -> dict[str, Weight]:
        """The weights of a part, under the names that they were saved with."""
        arrays = self._kept.load(_name(part))
        array: Callable[[str], Any] = arrays.get
        return {
            name: Weight(
                **{
                    field.name: array(f"{i}.{field.name}")
                    for field in fields(Weight)
                    if field.name != "couplings"
                },
                couplings=_couplings(arrays, i),
            )
            for i, name in enumerate(names)
        }

    def events(self) -> int:
        """How many events all finished parts of the call have."""
        return sum(end - begin for begin, end in self.within(0, sys.maxsize))

    def others(self) -> int:
        """How many other calls with the same output have left parts."""
        return self._kept.others()

    def remove(self) -> None:
        """Remove these parts; those of other calls stay."""
        self._kept.remove()


def _name(part: Interval) -> str:
    return f"{part[0]:012d}-{part[1]:012d}"


def _couplings(arrays: Mapping[str, np.ndarray], i: int) -> Couplings | None:
    if f"{i}.monomials" not in arrays:
        return None
    monomials = Monomials.from_dict(json.loads(str(arrays[f"{i}.monomials"])))
    return Couplings(monomials, arrays[f"{i}.coefficients"], arrays[f"{i}.covariance"])
