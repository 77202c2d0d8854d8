"""Responses whose core is a Gaussian in the pull z = (E_rec − E_gen)/σ(E_gen), σ² = a²E² + b²E + c².

E_gen as a function of z is the root of a quadratic, and T dE_gen = φ(z) dz / (1 + zσ'). The support is an
interval in z: the loss, the probability of an event whose E_gen lies outside its own support, is what φ has
outside. At a resolution of 10 % E_rec is negative beyond ten σ: such events count nowhere.
"""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array

from deepmem.physics.detector.response import (
    SQRT_2PI,
    Point,
    Response,
    Values,
    clipped,
    standard_normal,
    tabulated,
)
from deepmem.physics.precision import require_double


class Resolution(eqx.Module):
    """σ(E) = √(a²E² + b²E + c²) in GeV: constant, stochastic and noise terms added in quadrature."""

    a: Values
    b: Values = 0.0
    c: Values = 0.0

    def sigma(self, energy: Values) -> Array:
        """σ in GeV at an energy in GeV."""
        require_double("a transfer function")
        return jnp.sqrt(self.a**2 * energy**2 + self.b**2 * energy + self.c**2)

    def to_dict(self) -> dict[str, float]:
        """The terms, as a configuration names them."""
        return {"a": float(self.a), "b": float(self.b), "c": float(self.c)}

    def derivative(self, energy: Values) -> Array:
        """dσ/dE."""
        return (self.a**2 * energy + self.b**2 / 2) / self.sigma(energy)

    def energy(self, rec: Values, z: Values) -> Array:
        """The energy E with E_rec − E = z σ(E).

        The root of (1 − z²a²)E² − (2E_rec + z²b²)E + E_rec² − z²c² = 0 on the side of z's sign, in the form
        that survives 1 = z²a². Defined for za > −1.
        """
        square = z**2
        p = 1 - square * self.a**2
        half = rec + square * self.b**2 / 2
        q = rec**2 - square * self.c**2
        root = jnp.sqrt(jnp.maximum(half**2 - p * q, 0.0))
        # z > 0: the smaller root, q/(half + root); z < 0: the larger one, (half + root)/p
        return jnp.where(z > 0, q / (half + root), (half + root) / jnp.where(z > 0, 1.0, p))


class Gaussian(Response):
    """T = exp(−z²/2) / (√(2π) σ(E_gen)), z = (E_rec − E_gen)/σ(E_gen).

    The support is E_rec ± `reach` σ(E_rec). With σ = rE that is MoMEMta's GaussianTransferFunctionOnEnergy,
    and loses Φ(−reach/(1 + reach·r)) + Φ(−reach/(1 − reach·r)) of the events (the second term only where
    reach·r < 1). With a reach of 5: 2.8e-6, 3.2e-5, 4.3e-4, 2.1e-3, 6.2e-3, 1.3e-2, 2.3e-2 for r = 0.02,
    0.05, 0.10, 0.15, 0.20, 0.25, 0.30. σ_vis and the samplers of events lose the same.
    """

    resolution: Resolution
    reach: Values = 5.0
    dimensions: ClassVar[int] = 1

    def density(self, rec: Values, gen: Values) -> Array:
        sigma = self.resolution.sigma(gen)
        return standard_normal((rec - gen) / sigma) / sigma

    def cumulative(self, rec: Values, gen: Values) -> Array:
        """∫ T dE from −∞ to E_rec."""
        return ndtr((rec - gen) / self.resolution.sigma(gen))

    def above(self, rec: Values, gen: Values) -> Array:
        return 1 - self.cumulative(rec, gen)

    def draw(self, gen: Values, u: Values) -> Array:
        return gen + self.resolution.sigma(gen) * ndtri(u)

    def support(self, rec: Values, mass: Values = 0.0) -> tuple[Array, Array]:
        half = self.reach * self.resolution.sigma(rec)
        return clipped(rec - half, rec + half, rec, mass)

    def flatten(self, u: Values, rec: Values, mass: Values = 0.0, stretch: Values = 1.0) -> Point:
        low, high = self.support(rec, mass)
        first = ndtr((rec - low) / self.resolution.sigma(low) / stretch)
        last = ndtr((rec - high) / self.resolution.sigma(high) / stretch)
        z = stretch * ndtri(first + (last - first) * u)
        gen = self.resolution.energy(rec, z)
        excess = jnp.exp(-(z**2) / 2 * (1 - 1 / stretch**2))
        return gen, (first - last) * stretch * excess / (1 + z * self.resolution.derivative(gen))

    def scale(self, energy: Values) -> Array:
        return self.resolution.sigma(energy)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "gaussian", **self.resolution.to_dict(), "reach": float(self.reach)}

    def _level(self, rec: Values, gen: Values) -> Array:
        return ndtr((gen - rec) / self.resolution.sigma(gen))

    def _at_level(self, rec: Values, q: Values) -> Point:
        z = -ndtri(q)
        gen = self.resolution.energy(rec, z)
        return gen, 1 / (1 + z * self.resolution.derivative(gen))


class DoubleGaussian(Response):
    """T = (1 − f) G(E_rec; (1 + β₁)E_gen, σ₁) + f G(E_rec; (1 + β₂)E_gen, σ₂), a core and a tail.

    The support is the union of both components' ranges of `reach` standard deviations.
    """

    fraction: Values
    core: Resolution
    tail: Resolution
    core_bias: Values = 0.0
    tail_bias: Values = 0.0
    reach: Values = 5.0
    dimensions: ClassVar[int] = 1

    def density(self, rec: Values, gen: Values) -> Array:
        total: Any = 0.0
        for share, resolution, bias in self._components():
            sigma = resolution.sigma(gen)
            total = total + share * standard_normal((rec - (1 + bias) * gen) / sigma) / sigma
        return total

    def cumulative(self, rec: Values, gen: Values) -> Array:
        """∫ T dE from −∞ to E_rec."""
        parts = [
            share * ndtr((rec - (1 + bias) * gen) / resolution.sigma(gen))
            for share, resolution, bias in self._components()
        ]
        return parts[0] + parts[1]

    def above(self, rec: Values, gen: Values) -> Array:
        return 1 - self.cumulative(rec, gen)

    def draw(self, gen: Values, u: Values) -> Array:
        # the part of u that chose the component is spent; the rest is uniform again
        in_tail = u < self.fraction
        fresh = jnp.where(in_tail, u / self.fraction, (u - self.fraction) / (1 - self.fraction))
        sigma = jnp.where(in_tail, self.tail.sigma(gen), self.core.sigma(gen))
        return gen * (1 + jnp.where(in_tail, self.tail_bias, self.core_bias)) + sigma * ndtri(fresh)

    def support(self, rec: Values, mass: Values = 0.0) -> tuple[Array, Array]:
        low, high = [], []
        for _, resolution, bias in self._components():
            centre = rec / (1 + bias)
            half = self.reach * resolution.sigma(centre) / (1 + bias)
            low.append(centre - half)
            high.append(centre + half)
        return clipped(jnp.minimum(*low), jnp.maximum(*high), rec, mass)

    def flatten(self, u: Values, rec: Values, mass: Values = 0.0, stretch: Values = 1.0) -> Point:
        return tabulated(self, u, rec, mass, stretch)

    def scale(self, energy: Values) -> Array:
        return self.core.sigma(energy)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": "double_gaussian",
            "fraction": float(self.fraction),
            "core": self.core.to_dict() | {"bias": float(self.core_bias)},
            "tail": self.tail.to_dict() | {"bias": float(self.tail_bias)},
            "reach": float(self.reach),
        }

    def _components(self) -> tuple[tuple[Values, Resolution, Values], ...]:
        return (1 - self.fraction, self.core, self.core_bias), (self.fraction, self.tail, self.tail_bias)


class CrystalBall(Response):
    """A Gaussian in z = (E_rec − E_gen)/σ(E_gen) with a power law below z = −α.

    T ∝ exp(−z²/2) for z > −α and (n/α)ⁿ exp(−α²/2) (n/α − α − z)⁻ⁿ below (J. E. Gaiser, SLAC-R-255, appendix
    F), normalised over all z, n > 1. The support leaves `loss`/2 on each side; where with σ = aE the tail
    would ask for more than E_gen = 10 E_rec it is cut there, and loses what lies beyond.
    """

    resolution: Resolution
    alpha: Values
    n: Values
    loss: Values = 1e-4
    dimensions: ClassVar[int] = 1

    def density(self, rec: Values, gen: Values) -> Array:
        sigma = self.resolution.sigma(gen)
        z = (rec - gen) / sigma
        tail, core = self._areas()
        ratio = self.n / self.alpha
        distance = jnp.maximum(ratio - self.alpha - z, ratio)
        power = jnp.exp(-(self.alpha**2) / 2) * (ratio / distance) ** self.n
        return jnp.where(z > -self.alpha, jnp.exp(-(z**2) / 2), power) / (sigma * (tail + core))

    def cumulative(self, rec: Values, gen: Values) -> Array:
        """∫ T dE from −∞ to E_rec."""
        z = (rec - gen) / self.resolution.sigma(gen)
        tail, core = self._areas()
        ratio = self.n / self.alpha
        distance = jnp.maximum(ratio - self.alpha - z, ratio) / ratio
        below = tail * distance ** (1 - self.n)
        above = SQRT_2PI * (ndtr(z) - ndtr(-jnp.asarray(self.alpha, dtype=float)))
        return (below + jnp.maximum(above, 0.0)) / (tail + core)

    def above(self, rec: Values, gen: Values) -> Array:
        return 1 - self.cumulative(rec, gen)

    def draw(self, gen: Values, u: Values) -> Array:
        return gen + self.resolution.sigma(gen) * self._quantile(u)

    def support(self, rec: Values, mass: Values = 0.0) -> tuple[Array, Array]:
        # E_gen is infinite at z = −1/a, and nowhere without a
        furthest = -0.9 / jnp.asarray(self.resolution.a, dtype=float)
        lowest = jnp.maximum(self._quantile(self.loss / 2), furthest)
        low = self.resolution.energy(rec, self._quantile(1 - self.loss / 2))
        return clipped(low, self.resolution.energy(rec, lowest), rec, mass)

    def flatten(self, u: Values, rec: Values, mass: Values = 0.0, stretch: Values = 1.0) -> Point:
        return tabulated(self, u, rec, mass, stretch)

    def scale(self, energy: Values) -> Array:
        return self.resolution.sigma(energy)

    def to_dict(self) -> dict[str, Any]:
        shape = {"alpha": float(self.alpha), "n": float(self.n), "loss": float(self.loss)}
        return {"kind": "crystal_ball", **self.resolution.to_dict(), **shape}

    def _areas(self) -> tuple[Array, Array]:
        """∫ of the tail and of the core over z, the peak's height being 1."""
        tail = self.n / (self.alpha * (self.n - 1)) * jnp.exp(-(self.alpha**2) / 2)
        return tail, SQRT_2PI * ndtr(jnp.asarray(self.alpha, dtype=float))

    def _quantile(self, u: Values) -> Array:
        tail, core = self._areas()
        area = u * (tail + core)
        ratio = self.n / self.alpha
        in_tail = jnp.minimum(area / tail, 1.0)
        below = ratio - self.alpha - ratio * in_tail ** (-1 / (self.n - 1))
        above = ndtri(
            jnp.clip(ndtr(-jnp.asarray(self.alpha, dtype=float)) + (area - tail) / SQRT_2PI, 0.0, 1.0)
        )
        return jnp.where(area < tail, below, above)
