"""Integrals over several maps at once: which map gets how many points, each learning where to put them.

    I = Σ_k I_k,   n_k ∝ σ_k,   σ_I² = Σ_k σ_k²/n_k.

Maps whose part of the integral is below `LEAST_SHARE` are left out after a first look, and the others share
what they had. Several integrals (σ and σ_vis) are wanted to the same relative precision. Points are drawn in
chunks, each with random numbers of its own, so that it does not matter who computes one. NumPy only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from deepmem.ordered import Mapper
from deepmem.physics.integrals.adaptive import Adaptive, Cube, drawn
from deepmem.physics.weights.cross_sections import Mean
from deepmem.physics.weights.streams import piece

LEAST_SHARE = 1e-3
"""The part of an integral that a map has to have."""
CHUNK = 4096
"""Points of a chunk at most, and of each map at first."""
_LEARNING = 32768
"""Points of all maps in a round that is learned from, at most; a chunk of them at least."""
_ROUNDS = 4
_LEAST = 512


class Chunk(NamedTuple):
    """Points of one map that are drawn and computed at once: the `turn`-th of a `seed`."""

    seed: int
    turn: int
    part: int
    number: int
    """Of the map."""
    maps: tuple[int, ...]
    """Those among which points are shared."""
    grid: np.ndarray
    """What the map has learned, see `integrals.adaptive`."""
    size: int
    top: float | None = None
    """The weight up to which events are unweighted, where these are wanted."""

    def draw(self) -> tuple[np.random.Generator, Cube]:
        """The points, and the stream from behind them on."""
        rng = piece(self.seed, self.turn)
        return rng, drawn(self.grid, rng.random((len(self.grid), self.size)))


Work = Callable[[Chunk], Mapping[str, np.ndarray]]
"""What computes a chunk: `values` `[integrals, points]` with all jacobians, and what else it is to find."""


@dataclass
class Channel:
    """One map of one part."""

    part: int
    number: int
    adaptive: Adaptive
    means: list[Mean] = field(default_factory=list)

    def spread(self, totals: Sequence[float]) -> float:
        """σ of a point, relative to the integrals."""
        relative = [
            mean.error * np.sqrt(mean.points) / total
            for mean, total in zip(self.means, totals, strict=True)
            if total > 0 and mean.points > 1
        ]
        return float(np.sqrt(np.square(relative).sum()))


class Multichannel:
    """The integrals of some parts, each with its maps.

    **Arguments:** `dimensions` of each map of each part; `integrals`, how many values a point has; `work`,
    which has these values; `seed` of all chunks; `mapper`, who computes.
    """

    def __init__(
        self,
        dimensions: Sequence[Sequence[int]],
        integrals: int,
        work: Work,
        seed: int,
        mapper: Mapper = map,
    ) -> None:
        self._work, self._integrals, self._seed, self._mapper = work, integrals, seed, mapper
        self._turns = 0
        self.channels = [
            Channel(part, number, Adaptive(d))
            for part, maps in enumerate(dimensions)
            for number, d in enumerate(maps)
        ]
        self._maps = {part: tuple(range(len(maps))) for part, maps in enumerate(dimensions)}

    def computed(
        self, numbers: Sequence[int], tops: Sequence[float] | None = None
    ) -> Iterator[tuple[Channel, Chunk, Mapping[str, np.ndarray]]]:
        """So many points of each map, chunk by chunk, and what the work finds of them.

        **Arguments:** `tops` of each map, where events are wanted.
        """
        owners, chunks = [], []
        for k, (channel, number) in enumerate(zip(self.channels, numbers, strict=True)):
            for start in range(0, number, CHUNK):
                size, maps = min(CHUNK, number - start), self._maps[channel.part]
                top = None if tops is None else float(tops[k])
                place = channel.part, channel.number, maps, channel.adaptive.grid
                chunks.append(Chunk(self._seed, self._turns, *place, size, top))
                owners.append(channel)
                self._turns += 1
        found = self._mapper(self._work, iter(chunks))
        yield from zip(owners, chunks, found, strict=True)

    @property
    def totals(self) -> list[float]:
        """The integrals."""
        return [sum(c.means[k].value for c in self.channels) for k in range(self._integrals)]

    @property
    def errors(self) -> list[float]:
        """Their standard deviations."""
        return [
            float(np.sqrt(sum(c.means[k].error ** 2 for c in self.channels))) for k in range(self._integrals)
        ]

    @property
    def points(self) -> int:
        """How many are in the integrals."""
        return sum(c.means[0].points for c in self.channels)

    @property
    def passed(self) -> int:
        """How many of them are in the last integral."""
        return sum(c.means[-1].passed for c in self.channels)

    def prepare(self, points: int | None = None) -> None:
        """Learn the maps, and leave those out that have too little; its points are not counted.

        **Arguments:** `points`, how many are wanted afterwards, where that is known: maps are learned from
        about as many.
        """
        learning = _LEARNING if points is None else min(max(points // _ROUNDS, CHUNK), _LEARNING)
        for size in (CHUNK, CHUNK // 2):
            self.restart()
            self._add([size] * len(self.channels), learn=True)
        self._prune()
        for _ in range(_ROUNDS):
            numbers = self.allocated(learning, CHUNK // 4)
            totals = self.totals
            self.restart()
            self._add(numbers, learn=True, totals=totals)
        self._last = self.allocated(learning)
        self.restart()

    def restart(self) -> None:
        """Forget what the integrals are, and keep what was learned."""
        for channel in self.channels:
            channel.means = [Mean() for _ in range(self._integrals)]

    def _prune(self) -> None:
        totals = self.totals
        shares = [
            max((m.value / t if t > 0 else 0.0) for m, t in zip(c.means, totals, strict=True))
            for c in self.channels
        ]
        kept = []
        for part, maps in self._maps.items():
            own = [(share, c) for share, c in zip(shares, self.channels, strict=True) if c.part == part]
            large = [c for share, c in own if share >= LEAST_SHARE / len(maps)]
            best = max(own, key=lambda each: each[0])[1]
            kept += large or [best]
            self._maps[part] = tuple(c.number for c in large or [best])
        self.channels = kept

    def allocated(self, number: int, least: int = _LEAST) -> list[int]:
        """Of so many points, how many each map gets."""
        totals = self.totals
        spreads = np.array([channel.spread(totals) for channel in self.channels])
        together = spreads.sum()
        parts = spreads / together if together > 0 else np.full(len(spreads), 1 / len(spreads))
        return [max(int(np.ceil(number * part)), least) for part in parts]

    def round(self, number: int) -> None:
        """Add about so many points to the integrals, and learn no more."""
        self._add(self._last if self.points == 0 else self.allocated(number))

    def _add(
        self, numbers: Sequence[int], learn: bool = False, totals: Sequence[float] | None = None
    ) -> None:
        """So many points of each map."""
        for channel, chunk, found in self.computed(numbers):
            values = found["values"]
            for mean, each in zip(channel.means, values, strict=True):
                mean.add(each)
            if learn:
                scale = [t if t > 0 else 1.0 for t in totals or [1.0] * len(values)]
                size = np.sqrt(sum((each / s) ** 2 for each, s in zip(values, scale, strict=True)))
                channel.adaptive.add(chunk.draw()[1], size)
        if learn:
            for channel in self.channels:
                channel.adaptive.learn()
