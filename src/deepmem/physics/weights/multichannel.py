"""Integrals over several maps at once: which map gets how many points, each learning where to put them.

    I = Σ_k I_k,   n_k ∝ σ_k,   σ_I² = Σ_k σ_k²/n_k.

Maps whose part of the integral is below `LEAST_SHARE` are left out after a first look, and the others share
what they had. Several integrals (σ and σ_vis) are wanted to the same relative precision. NumPy only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from deepmem.physics.integrals.adaptive import Adaptive, Cube
from deepmem.physics.weights.cross_sections import Mean

LEAST_SHARE = 1e-3
"""The part of an integral that a map has to have."""
_FIRST, _LEARNING = 4096, 32768
"""Points of each map at first, and of all maps in a round that is learned from."""
_ROUNDS = 4
_LEAST = 512

Integrand = Callable[[int, int, np.ndarray, tuple[int, ...]], np.ndarray]
"""(part, map, points `[d, points]`, maps among which they are shared) ↦ values `[integrals, points]`."""


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

    **Arguments:** `dimensions` of each map of each part; `integrals`, how many values a point has.
    """

    def __init__(
        self,
        dimensions: Sequence[Sequence[int]],
        integrand: Integrand,
        integrals: int,
        rng: np.random.Generator,
    ) -> None:
        self._integrand, self._integrals, self._rng = integrand, integrals, rng
        self.channels = [
            Channel(part, number, Adaptive(d))
            for part, maps in enumerate(dimensions)
            for number, d in enumerate(maps)
        ]
        self._maps = {part: tuple(range(len(maps))) for part, maps in enumerate(dimensions)}

    def maps_of(self, part: int) -> tuple[int, ...]:
        """The maps of a part that are in use."""
        return self._maps[part]

    def values(self, channel: Channel, cube: Cube) -> np.ndarray:
        """Values `[integrals, points]` with all jacobians."""
        found = self._integrand(channel.part, channel.number, cube.u, self._maps[channel.part])
        return found * cube.jacobian

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

    def prepare(self) -> None:
        """Learn the maps, and leave those out that have too little; its points are not counted."""
        self.restart()
        for channel in self.channels:
            self._add(channel, _FIRST, learn=True)
            channel.adaptive.learn()
        self.restart()
        for channel in self.channels:
            self._add(channel, _FIRST // 2, learn=True)
            channel.adaptive.learn()
        self._prune()
        for _ in range(_ROUNDS):
            numbers = self.allocated(_LEARNING, _FIRST // 4)
            totals = self.totals
            self.restart()
            for channel, number in zip(self.channels, numbers, strict=True):
                self._add(channel, number, learn=True, totals=totals)
                channel.adaptive.learn()
        self._last = self.allocated(_LEARNING)
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
        numbers = self._last if self.points == 0 else self.allocated(number)
        for channel, each in zip(self.channels, numbers, strict=True):
            self._add(channel, each)

    def _add(
        self, channel: Channel, number: int, learn: bool = False, totals: Sequence[float] | None = None
    ) -> None:
        for start in range(0, number, _FIRST):
            size = channel.adaptive.dimensions, min(_FIRST, number - start)
            cube = channel.adaptive.draw(self._rng.random(size))
            values = self.values(channel, cube)
            for mean, each in zip(channel.means, values, strict=True):
                mean.add(each)
            if learn:
                scale = [t if t > 0 else 1.0 for t in totals or [1.0] * len(values)]
                channel.adaptive.add(
                    cube, np.sqrt(sum((each / s) ** 2 for each, s in zip(values, scale, strict=True)))
                )
