"""Missing p_T within its response where, with the leptons that were drawn, it leaves all legs a mass of √s.

With L the sum of the leptons and a massless N at its rapidity, s is least: (m_T,L + |m|)² − (L⃗ + m⃗)². So m is
within an ellipse with a focus at 0,

    m_T,L |m| ≤ A + L⃗·m⃗,   A = (s − m_L²)/2.

Along e, from the nearest point of the ellipse to what was measured, m follows its response within what the
ellipse spans, then across e within its chord: T d²m/d²u is what is within both. A measured m may be many
standard deviations outside, and no point is.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.phasespace import solutions

# GeV²: the least m_L², and the least A.
_LEAST = 1e-9
# Steps to the nearest point. Any direction is exact; the nearer this one, the more evenly points count.
_STEPS = 3


class Below(NamedTuple):
    """Of one point with its leptons."""

    centre: tuple[Scalar, Scalar]
    """Missing p_T as measured, GeV."""
    sigma: Scalar
    """Of each component, GeV."""
    total: tuple[Scalar, Scalar]
    """L⃗."""
    mass2: Scalar
    """m_L²."""
    a: Scalar
    along: tuple[Scalar, Scalar]
    """e."""

    @classmethod
    def of(cls, leptons: FourVector, centre: tuple[Scalar, Scalar], sigma: Scalar, s: Scalar) -> Below:
        """**Arguments:** `leptons`, their sum; `s` in GeV²."""
        mass2, mt = solutions.transverse(leptons)
        total, mass2 = (leptons[1], leptons[2]), jnp.maximum(mass2, _LEAST)
        here = cls(centre, sigma, total, mass2, jnp.maximum((s - mass2) / 2, _LEAST), centre)
        near = centre
        for _ in range(_STEPS):
            size = jnp.sqrt(jnp.maximum(near[0] ** 2 + near[1] ** 2, _LEAST))
            # where the least s grows fastest
            x, y = mt * near[0] / size - total[0], mt * near[1] / size - total[1]
            length = jnp.sqrt(jnp.maximum(x**2 + y**2, _LEAST))
            here = here._replace(along=(x / length, y / length))
            low, high = here._chord(centre, here.along)
            step = jnp.clip(0.0, low, high)
            near = centre[0] + step * here.along[0], centre[1] + step * here.along[1]
        return here

    def draw(self, u: Scalar, v: Scalar) -> tuple[Scalar, Scalar]:
        """m in GeV."""
        first = self.sigma * _quantile(u, *self._first())
        x, y = self._moved(first)
        second = self.sigma * _quantile(v, *self._second((x, y)))
        return x - second * self.along[1], y + second * self.along[0]

    def part(self, missing: tuple[Scalar, Scalar]) -> Scalar:
        """T d²m/d²u at m."""
        x, y = missing[0] - self.centre[0], missing[1] - self.centre[1]
        at = self._moved(x * self.along[0] + y * self.along[1])
        return _between(*self._first()) * _between(*self._second(at))

    def _moved(self, along: Scalar) -> tuple[Scalar, Scalar]:
        return self.centre[0] + along * self.along[0], self.centre[1] + along * self.along[1]

    def _first(self) -> tuple[Scalar, Scalar]:
        """What the ellipse spans along e, in σ from what was measured."""
        leptons = self.total[0] * self.along[0] + self.total[1] * self.along[1]
        here = self.centre[0] * self.along[0] + self.centre[1] * self.along[1]
        root = jnp.sqrt(self.mass2 + leptons**2)
        return (-self.a / (root + leptons) - here) / self.sigma, (
            self.a / (root - leptons) - here
        ) / self.sigma

    def _second(self, at: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = self._chord(at, (-self.along[1], self.along[0]))
        return low / self.sigma, high / self.sigma

    def _chord(self, at: tuple[Scalar, Scalar], e: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        """Where a line through a point is within the ellipse; where it never is, the same place twice."""
        leptons = self.total[0] * e[0] + self.total[1] * e[1]
        mt2 = self.mass2 + self.total[0] ** 2 + self.total[1] ** 2
        rest = self.a + self.total[0] * at[0] + self.total[1] * at[1]
        square = mt2 - leptons**2
        half = mt2 * (at[0] * e[0] + at[1] * e[1]) - rest * leptons
        constant = mt2 * (at[0] ** 2 + at[1] ** 2) - rest**2
        root = jnp.sqrt(jnp.maximum(half**2 - square * constant, 0.0))
        return (-half - root) / square, (-half + root) / square


def _between(low: Scalar, high: Scalar) -> Scalar:
    """The probability of a standard normal number."""
    low, high = _mirrored(low, high)
    return ndtr(high) - ndtr(low)


def _quantile(u: Scalar, low: Scalar, high: Scalar) -> Scalar:
    """Of a standard normal number between both; where that has no probability, the one nearer to 0."""
    left, right = _mirrored(low, high)
    first, last = ndtr(left), ndtr(right)
    found = jnp.clip(ndtri(first + u * (last - first)), left, right)
    return jnp.where(low + high > 0, -found, found)


def _mirrored(low: Scalar, high: Scalar) -> tuple[Scalar, Scalar]:
    """With most of it below 0, where probabilities are known to all digits."""
    above = low + high > 0
    return jnp.where(above, -high, low), jnp.where(above, -low, high)
