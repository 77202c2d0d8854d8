"""What a response is: T(E_rec | E_gen), the density of a measured energy given the parton's.

Written for one particle and batched from outside; `draw` takes NumPy's random numbers and JAX's alike. Maps
from a uniform number u to E_gen return the weight T(E_rec | E_gen) · dE_gen/du beside it, which is what an
integrand needs. The Jacobian from energy to momentum, |p|² d|p| / 2E = |p| dE / 2, belongs to phase space
and is not here.

`stretch` widens a map to the quantiles of a pull `stretch` times as wide. 1 is best for Monte Carlo. A
Gauss–Legendre rule converges slowly on a flattened Gaussian, whose quantiles are singular at both ends:
with 2, ten nodes per energy reach 1e-4, where with 1 it takes several hundred.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from deepmem.errors import UsageError
from deepmem.physics.precision import require_double
from deepmem.physics.tables import Table

Values: TypeAlias = Any  # a float, or a NumPy or JAX array of any shape
Point: TypeAlias = tuple[Float[Array, ""], Float[Array, ""]]
"""E_gen in GeV, and T · dE_gen/du."""

NODES = 64
"""Of the table that `tabulated` makes."""
SQRT_2PI = float(np.sqrt(2 * np.pi))


class TransferError(UsageError):
    """A response that is configured wrongly: which entry, what was expected, what came."""


# Times a standard deviation: a sigmoid that is within 0.01 of a Gaussian's integral.
_OF_SIGMOID = 1.702


class Response(eqx.Module):
    """One shape of T. Outside of its support nothing is integrated, and no support has an E_rec below 0."""

    dimensions: ClassVar[int]

    @abstractmethod
    def density(self, rec: Values, gen: Values) -> Array:
        """T(E_rec | E_gen) in 1/GeV; both in GeV."""

    @abstractmethod
    def draw(self, gen: Values, u: Values) -> Array:
        """E_rec in GeV from E_gen in GeV and a uniform number in (0, 1)."""

    @abstractmethod
    def support(self, rec: Values, mass: Values = 0.0) -> tuple[Array, Array]:
        """The range of E_gen to integrate over, in GeV, cut below at the mass."""

    @abstractmethod
    def flatten(self, u: Values, rec: Values, mass: Values = 0.0, stretch: Values = 1.0) -> Point:
        """E_gen and T · dE_gen/du under the map that makes T flat in u."""

    @abstractmethod
    def scale(self, energy: Values) -> Array:
        """The width of the response's core at an energy, in GeV."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The entry of a configuration that makes this response: every number it depends on, by content."""

    def above(self, rec: Values, gen: Values) -> Array:
        """∫ T dE from E_rec to ∞, the probability that more is measured than E_rec; both in GeV.

        **Raises** `TransferError` where a shape does not say it: lost jets want it, and nothing else.
        """
        raise TransferError(f"lost jets need {type(self).__name__}.above(rec, gen), ∫ T dE from E_rec to ∞")

    def covers(self, rec: Values) -> Array:
        """Whether the response is known for a measured energy: if not, the event has no weight."""
        return rec > 0

    def reaches(self, rec: Values, gen: Values, mass: Values = 0.0) -> Array:
        """Whether E_gen lies in the support of E_rec, outside of which no weight is integrated."""
        low, high = self.support(rec, mass)
        return (rec > 0) & self.covers(rec) & (gen >= low) & (gen <= high)

    def linear(self, u: Values, rec: Values, mass: Values = 0.0) -> Point:
        """E_gen linear in u over the support, and T · dE_gen/du."""
        low, high = self.support(rec, mass)
        gen = low + (high - low) * u
        return gen, self.density(rec, gen) * (high - low)

    def flatten_below(self, u: Values, rec: Values, limit: Values) -> Point:
        """E_gen < `limit` for an integrand ∝ T/√(limit − E_gen), and T · dE_gen/du.

        With a level q(E) that rises evenly where T is large, √(q(limit) − q) is linear in u, so that the
        singularity is flat too. The further the limit is beyond T's reach, the more evenly q itself is drawn.
        """
        low, high = self.support(rec)
        first, of_limit = self._level(rec, low), self._level(rec, jnp.maximum(limit, low))
        last = jnp.minimum(of_limit, self._level(rec, high))
        beyond = jnp.maximum((limit - rec) / self.scale(rec) - 3.0, 0.0) / 6
        span = last - first
        end = of_limit + beyond * span
        far, near = jnp.sqrt(end - first), jnp.sqrt(jnp.maximum(end - last, 0.0))
        y = far - u * (far - near)
        gen, weight = self._at_level(rec, jnp.clip(end - y**2, first, last))
        return jnp.minimum(gen, limit), jnp.where(span > 0, weight * 2 * y * (far - near), 0.0)

    def part_between(self, rec: Values, low: Values, high: Values) -> Array:
        """About which part of T has E_gen in (low, high), with more in the tails; nothing but a proposal."""
        scale = self.scale(rec)
        levels = [jax.nn.sigmoid(_OF_SIGMOID * (gen - rec) / scale) for gen in (low, high)]
        return levels[1] - levels[0]

    def flatten_between(self, u: Values, rec: Values, low: Values, high: Values) -> Point:
        """E_gen in (low, high), within the support, so that T is about flat, and T · dE_gen/du."""
        first = self._level(rec, low)
        span = self._level(rec, high) - first
        gen, weight = self._at_level(rec, first + span * u)
        return jnp.clip(gen, low, high), weight * span

    def _level(self, rec: Values, gen: Values) -> Array:
        """½ (1 + x/√(1 + x²)) with x = (E_gen − E_rec)/scale: more in the tails than any T has."""
        x = (gen - rec) / self.scale(rec)
        return (1 + x / jnp.sqrt(1 + x**2)) / 2

    def _at_level(self, rec: Values, q: Values) -> Point:
        """E_gen at a level, and T · dE_gen/dq."""
        rest = 4 * q * (1 - q)
        x, scale = (2 * q - 1) / jnp.sqrt(rest), self.scale(rec)
        gen = rec + scale * x
        return gen, self.density(rec, gen) * scale * 2 * rest**-1.5


class Delta(Response):
    """A perfect measurement: E_gen = E_rec, nothing to integrate."""

    dimensions: ClassVar[int] = 0

    def density(self, rec: Values, gen: Values) -> Array:
        raise TransferError("a perfect measurement has no density: it takes one integration away instead")

    def draw(self, gen: Values, u: Values) -> Array:
        return jnp.asarray(gen)

    def above(self, rec: Values, gen: Values) -> Array:
        return jnp.where(jnp.asarray(gen) > rec, 1.0, 0.0)

    def support(self, rec: Values, mass: Values = 0.0) -> tuple[Array, Array]:
        return jnp.asarray(rec), jnp.asarray(rec)

    def reaches(self, rec: Values, gen: Values, mass: Values = 0.0) -> Array:
        # not a comparison: rounding must not lose a point
        return jnp.asarray(True)

    def linear(self, u: Values, rec: Values, mass: Values = 0.0) -> Point:
        return jnp.asarray(rec), jnp.ones_like(rec)

    def flatten(self, u: Values, rec: Values, mass: Values = 0.0, stretch: Values = 1.0) -> Point:
        return self.linear(u, rec, mass)

    def scale(self, energy: Values) -> Array:
        return jnp.zeros_like(energy)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "delta"}


def standard_normal(z: Values) -> Array:
    return jnp.exp(-(z**2) / 2) / SQRT_2PI


def clipped(low: Values, high: Values, rec: Values, mass: Values) -> tuple[Array, Array]:
    """A support: never below the mass, never at zero, and of no width where the mass is beyond it."""
    require_double("a transfer function")
    low = jnp.maximum(jnp.maximum(low, mass), 1e-3 * rec)
    return low, jnp.maximum(high, low)


def tabulated(response: Response, u: Values, rec: Values, mass: Values, stretch: Values) -> Point:
    """The flattening map of a shape without a formula: T tabulated along E_gen, interpolated, inverted.

    Nodes are equidistant in t with E = E_rec + σ sinh t, dense in the core and sparse in tails. The table
    is approximate, the weight isn't: it has T itself over the table's density. A twentieth of the table is
    uniform in t, so that nothing that T has between nodes can weigh much.
    """
    low, high = response.support(rec, mass)
    sigma = response.scale(rec)
    first, last = jnp.arcsinh((low - rec) / sigma), jnp.arcsinh((high - rec) / sigma)
    t = jnp.linspace(first, last, NODES)
    height = response.density(rec, rec + sigma * jnp.sinh(t)) * sigma * jnp.cosh(t)
    height = height ** (1 / stretch**2)
    height = height + 0.05 * height.mean()
    # a support of no width, or without density, maps to its middle with weight 0 rather than to NaN
    height = jnp.where(height.sum() > 0, height, 1.0)
    # of the part of the way from first to last, for these may be one
    table = Table.of(0.0, 1 / (NODES - 1), height)
    part = table.draw(u)
    at = first + (last - first) * part
    gen = rec + sigma * jnp.sinh(at)
    return gen, response.density(rec, gen) * sigma * jnp.cosh(at) * (last - first) / table.density(part)
