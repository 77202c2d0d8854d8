"""Shapes that a propagator gives to one squared mass s, or to x = m² − t: in NumPy, for maps that need no
compiling.

    s, 1/density = draw(u, low, high),    size(s, low, high) ≈ the density.

`size` is what topologies are told apart by, so it only has to be near the density: a resonance needs its ends
for that, others have typical ones. Squares in GeV². Source:
F. James, CERN 68-15 (inverse functions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

Limit: TypeAlias = np.ndarray | float
_TINY = 1e-14
"""Of an angle."""
_DECADES = 10.0
"""∫ ds/s between typical ends."""
_ROUNDING = 1e-9
REGULAR = 1.0
"""What a pole is moved by where nothing keeps away from it, GeV²."""


class Shape(Protocol):
    """How one number is drawn."""

    def draw(self, u: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The number in [low, high] and 1/density, 0 or less where that is empty."""
        ...

    def size(self, s: np.ndarray, low: Limit = 0.0, high: Limit = np.inf) -> np.ndarray:
        """Roughly the density."""
        ...


@dataclass(frozen=True)
class Resonant:
    """∝ 1/((s − m²)² + m²Γ²)."""

    mass: float
    width: float

    def _angle(self, s: Limit) -> np.ndarray:
        return np.arctan((s - self.mass**2) / (self.mass * self.width))

    def draw(self, u: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        strength = self.mass * self.width
        first, last = self._angle(low), self._angle(high)
        s = np.clip(self.mass**2 + strength * np.tan(first + u * (last - first)), low, high)
        return s, ((s - self.mass**2) ** 2 + strength**2) / strength * (last - first)

    def size(self, s: np.ndarray, low: Limit = 0.0, high: Limit = np.inf) -> np.ndarray:
        strength = self.mass * self.width
        whole = np.maximum(self._angle(high) - self._angle(low), _TINY)
        return strength / whole / ((s - self.mass**2) ** 2 + strength**2)


@dataclass(frozen=True)
class Pole:
    """∝ 1/(s − m²): a particle without a width, at masses above its own."""

    square: float
    """m² in GeV², moved down where s may be as small."""
    met: bool
    """Whether it is at the edge of phase space, and not regular."""

    @classmethod
    def above(cls, square: float, low: float, typical: float) -> Pole:
        """At squared masses above `low`; the typical lowest one tells whether it is met."""
        met = typical <= square * (1 + _ROUNDING)
        return cls(square if low > square + REGULAR else square - REGULAR, met)

    def draw(self, u: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first = low - self.square
        ratio = np.log((high - self.square) / first)
        distance = first * np.exp(u * ratio)
        return np.clip(distance + self.square, low, high), distance * ratio

    def size(self, s: np.ndarray, low: Limit = 0.0, high: Limit = np.inf) -> np.ndarray:
        return 1 / (_DECADES * np.maximum(s - self.square, REGULAR))


@dataclass(frozen=True)
class Falling:
    """∝ (s + s₀)^(−2), as √ŝ falls above a threshold."""

    least: float
    """The typical threshold, GeV²."""
    offset: float = 0.0
    """s₀ in GeV², where there is no threshold."""

    def draw(self, u: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, last = low + self.offset, high + self.offset
        share = 1 - first / last
        s = first / (1 - u * share)
        return np.clip(s - self.offset, low, high), s**2 / first * share

    def size(self, s: np.ndarray, low: Limit = 0.0, high: Limit = np.inf) -> np.ndarray:
        return (self.least + self.offset) / (s + self.offset) ** 2


@dataclass(frozen=True)
class Open:
    """∝ 1/√(s − low): where there is no propagator."""

    scale: float
    """A typical s, GeV²."""

    def draw(self, u: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return low + (high - low) * u**2, 2 * u * (high - low)

    def size(self, s: np.ndarray, low: Limit = 0.0, high: Limit = np.inf) -> np.ndarray:
        return np.full_like(s, 1 / self.scale)


@dataclass(frozen=True)
class Exchanged:
    """∝ 1/(−t + m²)^ν with ν of 1 or 2, of −t."""

    square: float
    """m² in GeV², or what cuts leave of it."""
    twice: bool
    """ν = 2: a vector with a mass is exchanged."""
    massless: bool

    def draw(self, u: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, last = low + self.square, high + self.square
        if self.twice:
            share = 1 - first / last
            x = first / (1 - u * share)
            density = x**2 / first * share
        else:
            ratio = np.log(last / first)
            x = first * np.exp(u * ratio)
            density = x * ratio
        return np.clip(x - self.square, low, high), density

    def size(self, s: np.ndarray, low: Limit = 0.0, high: Limit = np.inf) -> np.ndarray:
        x = np.maximum(s, 0.0) + self.square
        return self.square / x**2 if self.twice else 1 / (_DECADES * x)
