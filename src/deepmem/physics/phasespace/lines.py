"""Lines: the shapes that are drawn from, of one squared mass s for the most part, with `draw` and `density`.

    s = draw(u, low, high),  density(s, low, high) · ds/du = 1,  ∫ density ds = 1 from low to high,

u in (0, 1); of a mixture, u decides which of its shapes is drawn from, and the density is that of all: no
peak is missed by the shape that another peak was made for. Written for one point and batched from outside. s
in GeV². Where a line has a scan, masses and widths are arrays `[scan]`.

Source: F. James, CERN 68-15 (inverse functions); R. Kleiss and R. Pittau, hep-ph/9405257 (mixtures).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deepmem.kinematics import Scalar
from deepmem.physics.tables import cell_of

# How near to an end a number may be: there, s would be infinite.
_EDGE = 1e-15
CORE = 8.0
"""Widths from a resonance up to which masses that are apart are near it."""


class BreitWigner(NamedTuple):
    """∝ 1/((s − m²)² + m²Γ²): s = m² + mΓ tan y, y uniform. `high` may be infinite."""

    mass: Scalar
    """GeV; `[scan]` for one shape per value."""
    width: Scalar

    def _angle(self, s: Scalar) -> Scalar:
        return jnp.arctan((s - self.mass**2) / (self.mass * self.width))

    def draw(self, u: Scalar, low: Scalar, high: Scalar) -> Scalar:
        first, last = self._angle(low), self._angle(high)
        s = self.mass**2 + self.mass * self.width * jnp.tan(first + u * (last - first))
        return jnp.clip(s, low, high)

    def density(self, s: Scalar, low: Scalar, high: Scalar) -> Scalar:
        strength = self.mass * self.width
        return strength / ((s - self.mass**2) ** 2 + strength**2) / (self._angle(high) - self._angle(low))

    def of(self, value: Scalar) -> BreitWigner:
        """The shape of one value of a scan, by its number."""
        return BreitWigner(jnp.asarray(self.mass)[value], jnp.asarray(self.width)[value])

    @property
    def broad(self) -> Power:
        """All masses at the scale of this one: m²/(m² + s)² between 0 and ∞."""
        return Power(2.0, self.mass**2)


class Power(NamedTuple):
    """∝ (s + s₀)^(−ν). With ν = 2, `high` may be infinite."""

    nu: float
    offset: Scalar = 1.0
    """s₀ in GeV², which lets s reach 0."""

    def _integral(self, s: Scalar) -> Scalar:
        if self.nu == 1:
            return jnp.log(s + self.offset)
        return (s + self.offset) ** (1 - self.nu) / (1 - self.nu)

    def _share(self, low: Scalar, high: Scalar) -> Scalar:
        """With ν = 2: of all above `low`, how much lies below `high`."""
        return 1 - (low + self.offset) / (high + self.offset)

    def draw(self, u: Scalar, low: Scalar, high: Scalar) -> Scalar:
        if self.nu == 2:
            share = self._share(low, high)
            s = low + (low + self.offset) * u * share / jnp.maximum(1 - u * share, _EDGE)
            return jnp.clip(s, low, high)
        first, last = self._integral(low), self._integral(high)
        at = first + u * (last - first)
        s = jnp.exp(at) if self.nu == 1 else ((1 - self.nu) * at) ** (1 / (1 - self.nu))
        return jnp.clip(s - self.offset, low, high)

    def density(self, s: Scalar, low: Scalar, high: Scalar) -> Scalar:
        if self.nu == 2:
            return (low + self.offset) / (s + self.offset) ** 2 / self._share(low, high)
        return (s + self.offset) ** -self.nu / (self._integral(high) - self._integral(low))


@dataclass(frozen=True)
class Mixture:
    """Several lines, each taken with its share; all of them make the density."""

    parts: tuple[tuple[float, BreitWigner | Power], ...]

    def draw(self, choice: Scalar, u: Scalar, low: Scalar, high: Scalar) -> Scalar:
        """s in [low, high]; `choice` and `u` uniform in (0, 1)."""
        s = self.parts[-1][1].draw(u, low, high)
        for k in reversed(range(len(self.parts) - 1)):
            upto = sum(share for share, _ in self.parts[: k + 1])
            s = jnp.where(choice < upto, self.parts[k][1].draw(u, low, high), s)
        return s

    def density(self, s: Scalar, low: Scalar, high: Scalar) -> Scalar:
        """Normalised over [low, high], 0 outside."""
        inside = (s >= low) & (s <= high)
        total = sum(share * part.density(s, low, high) for share, part in self.parts)
        return jnp.where(inside, total, 0.0)


class Scan(NamedTuple):
    """The even mixture of one Breit–Wigner shape for each value of a scan."""

    shapes: BreitWigner

    def draw(self, u: Scalar, low: Scalar, high: Scalar) -> Scalar:
        count = len(self.shapes.mass)
        value, u = cell_of(u * count, count)
        return self.shapes.of(value).draw(jnp.clip(u, _EDGE, 1 - _EDGE), low, high)

    def density(self, s: Scalar, low: Scalar, high: Scalar) -> Scalar:
        """0 outside."""
        return jnp.where((s > low) & (s < high), self.shapes.density(s, low, high).mean(), 0.0)


class Tails(NamedTuple):
    """What is off a resonance, |s − m²| > y₀ = w mΓ: with y = |s − m²|, a half of the points each

        below: ∝ 1/y,  y from y₀ to m²;  above: ∝ 1/(y (1 + y/m²)),  y from y₀ to ∞.

    Where a likelihood rises against a Breit–Wigner shape, what it makes of 1/y² is about even in ln y.
    """

    shape: BreitWigner
    widths: Scalar
    """w, in widths; y₀ is below m²."""

    @property
    def gap(self) -> tuple[Scalar, Scalar]:
        """What is not off the resonance."""
        m2, least, _, _ = self._scales()
        return m2 - least, m2 + least

    def _scales(self) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """m², y₀, and the integrals of both sides."""
        m2 = self.shape.mass**2
        least = jnp.minimum(self.widths * self.shape.mass * self.shape.width, 0.9 * m2)
        return m2, least, jnp.log(m2 / least), jnp.log1p(m2 / least)

    def draw(self, u: Scalar) -> Scalar:
        m2, _, below, above = self._scales()
        v = jnp.clip(jnp.where(u < 0.5, 2 * u, 2 * u - 1), _EDGE, 1 - _EDGE)
        # of the upper side y/(y + m²) = exp(−v above)
        rest = jnp.exp(-v * jnp.where(u < 0.5, below, above))
        return jnp.where(u < 0.5, m2 * (1 - rest), m2 + m2 * rest / (1 - rest))

    def density(self, s: Scalar) -> Scalar:
        """0 near the resonance."""
        m2, least, below, above = self._scales()
        y = jnp.abs(s - m2)
        far = jnp.maximum(y, least)
        side = jnp.where(s < m2, 1 / below, 1 / (above * (1 + far / m2)))
        return jnp.where(y < least, 0.0, side / (2 * far))


class Resonances(NamedTuple):
    """Several s in (0, ∞), whose resonances all have one of the scan's values: the mixture over these.

    A share of each s is `broad` instead: events that fit no resonance get much from far off it, where the
    Breit–Wigner shape has few points. Of an event whose masses are `apart` this share has `Tails`, and the
    others keep to the core: which numbers are below the share says which masses are off. `parts` is then the
    range of each number.
    """

    shapes: tuple[BreitWigner, ...]
    share: Scalar
    """Of what is broad."""
    apart: Scalar = False
    parts: Any = None
    """`[s, 2]`: where the range of each number begins, and its width."""

    def draw(self, u: jax.Array) -> tuple[Scalar, ...]:
        """u: one number for each s, the first of which decides about the value, too."""
        count = len(self.shapes[0].mass)
        value, first = cell_of(u[0] * count, count)
        numbers = [jnp.clip(first, _EDGE, 1 - _EDGE), *(u[i] for i in range(1, len(self.shapes)))]
        if self.parts is not None:
            numbers = [self.parts[i, 0] + self.parts[i, 1] * x for i, x in enumerate(numbers)]
        s = []
        for x, shapes in zip(numbers, self.shapes, strict=True):
            shape = shapes.of(value)
            near = shape.draw(jnp.clip((x - self.share) / (1 - self.share), 0.0, 1.0), *self._core(shape))
            part = jnp.clip(x / self.share, 0.0, 1.0)
            broad = jnp.where(self.apart, Tails(shape, CORE).draw(part), shape.broad.draw(part, 0.0, jnp.inf))
            s.append(jnp.where(x < self.share, broad, near))
        return tuple(s)

    @property
    def volume(self) -> Scalar:
        """Of the ranges, of that of all numbers."""
        return jnp.asarray(1.0) if self.parts is None else jnp.prod(self.parts[:, 1])

    def density(self, s: tuple[Scalar, ...]) -> Scalar:
        """Of all s together, whatever their numbers' ranges."""
        density = jnp.asarray(1.0)
        for each, shape in zip(s, self.shapes, strict=True):
            low, high = self._core(shape)
            near = jnp.where((each >= low) & (each <= high), shape.density(each, low, high), 0.0)
            tails, broad = Tails(shape, CORE).density(each), shape.broad.density(each, 0.0, jnp.inf)
            far = jnp.where(self.apart, tails, broad)
            density = density * ((1 - self.share) * near + self.share * far)
        return density.mean()

    def _core(self, shape: BreitWigner) -> tuple[Scalar, Scalar]:
        """What is near a resonance: all of it, where masses are not apart."""
        low, high = Tails(shape, CORE).gap
        return jnp.where(self.apart, low, 0.0), jnp.where(self.apart, high, jnp.inf)


class Above(NamedTuple):
    """s above a threshold, for integrands ∝ (Breit–Wigner shapes of a scan)/√(s − least): r = s − least.

    Most r follow the shapes above the threshold, the others 1/√ and all scales: y = √r has the density
    c²/(c² + y²)^{3/2}, c⁴ = (m² − least)² + m²Γ². These are most where the resonance is out of reach.
    """

    shapes: BreitWigner
    share: Scalar
    """Of what follows 1/√, where the resonance is far above the threshold."""
    out_of_reach: float
    """And where it is far below."""

    def _scale(self, least: Scalar) -> tuple[Scalar, Scalar]:
        """The share of what follows 1/√ at this threshold, and c²."""
        mass = self.shapes.mass[0]
        strength = mass * self.shapes.width[0]
        distance = (mass**2 - least) / strength
        beyond = (1 - (distance - 1) / jnp.sqrt((distance - 1) ** 2 + 4)) / 2
        share = self.share + (self.out_of_reach - self.share) * beyond
        return share, strength * jnp.sqrt(distance**2 + 1)

    def draw(self, u: Scalar, least: Scalar) -> Scalar:
        """r, which s = least + r would know to fewer digits."""
        share, c2 = self._scale(least)
        near = Scan(self.shapes).draw((u - share) / (1 - share), least, jnp.inf)
        x2 = jnp.clip(u / share, _EDGE, 1 - _EDGE) ** 2
        return jnp.where(u < share, c2 * x2 / (1 - x2), jnp.maximum(near - least, 1e-15 * c2))

    def density(self, rest: Scalar, least: Scalar) -> Scalar:
        """Of r > 0."""
        share, c2 = self._scale(least)
        near = self.shapes.density(least + rest, least, jnp.inf).mean()
        root = c2 / (2 * jnp.sqrt(rest * (c2 + rest)) * (c2 + rest))
        return (1 - share) * near + share * root


class Peaks(NamedTuple):
    """cosθ ∝ 1/(b² − cos²θ), as a quark exchanged in t or u makes it; b > 1."""

    excess: Scalar
    """b − 1."""

    def _log(self) -> Scalar:
        return jnp.log1p(2 / self.excess)

    def draw(self, u: Scalar) -> Scalar:
        # half of the numbers for the peak forward, half for the one backward
        backward = u < 0.5
        v = jnp.where(backward, 2 * u, 2 * u - 1)
        cosine = 1 + self.excess - self.excess * jnp.exp(v * self._log())
        return jnp.clip(jnp.where(backward, -cosine, cosine), -1.0, 1.0)

    def density(self, cosine: Scalar) -> Scalar:
        b = 1 + self.excess
        return b / (self.excess * (2 + self.excess) + 1 - cosine**2) / self._log()
