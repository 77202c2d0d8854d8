"""Transfer functions T(E_rec | E_gen): what the detector makes of a parton's energy.

One class per shape, all with the same things, written for one particle and batched from outside:

- `density(rec, gen)`: T in 1/GeV, normalised over E_rec for every E_gen;
- `draw(gen, u)`: E_rec made from one uniform number, so that generated events and closure tests have the very
  response that weights assume; from NumPy's random numbers or JAX's alike;
- `support(rec, mass)`: the range of E_gen that is integrated;
- `linear(u, rec, mass)`: E_gen linear in u ∈ [0, 1] over the support, as MoMEMta maps it;
- `flatten(u, rec, mass, stretch)`: E_gen such that T is flat in u; `flatten_below(u, rec, limit)`: the same
  below a limit at which the integrand is singular.

Both maps return `(gen, weight)` with weight = T(E_rec | E_gen) · dE_gen/du, which is what an integrand needs
(and the flattening one knows without computing T). The Jacobian from energy to momentum, |p|² d|p| / 2E = |p|
dE / 2, belongs to phase space and is not here.

Energies measured with a pull z = (E_rec − E_gen)/σ(E_gen), σ² = a²E² + b²E + c², share their algebra: E_gen
as a function of z is the root of a quadratic and T dE_gen = φ(z) dz / (1 + zσ'). The support is an interval
in z, so the stated loss (the probability of an event whose E_gen lies outside its own support) is exactly
what φ has outside.

`stretch` widens the flattening map to the quantiles of a pull `stretch` times as wide. 1 is best for Monte
Carlo. Gauss–Legendre rules converge slowly on a flattened Gaussian, whose quantile function is singular at
both ends; with 2, ten nodes per energy reach 1e-4 where the linear map needs twenty and the flat one several
hundred.

Reconstructed energies can be negative under a wide Gaussian (at 10 % resolution, ten σ): no support has them,
so such events count nowhere. Outside of its support nothing is integrated; `reaches` says whether E_gen is in
it.
"""

from __future__ import annotations

import hashlib
import importlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float

from deepmem.errors import UsageError, nearest
from deepmem.physics.precision import double_precision, require_double

Values: TypeAlias = Any  # a float, or a NumPy or JAX array of any shape
Point: TypeAlias = tuple[Float[Array, ""], Float[Array, ""]]
"""E_gen in GeV, and T · dE_gen/du."""

_SQRT_2PI = float(np.sqrt(2 * np.pi))


class TransferError(UsageError):
    """A response that is configured wrongly: which entry, what was expected, what came."""


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


class Response(eqx.Module):
    """The interface: see the module's first lines."""

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

    def reaches(self, rec: Values, gen: Values, mass: Values = 0.0) -> Array:
        """Whether E_gen lies in the support of E_rec, outside of which no weight is integrated."""
        low, high = self.support(rec, mass)
        return (rec > 0) & (gen >= low) & (gen <= high)

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
        return _normal((rec - gen) / sigma) / sigma

    def draw(self, gen: Values, u: Values) -> Array:
        return gen + self.resolution.sigma(gen) * ndtri(u)

    def support(self, rec: Values, mass: Values = 0.0) -> tuple[Array, Array]:
        half = self.reach * self.resolution.sigma(rec)
        return _range(rec - half, rec + half, rec, mass)

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
            total = total + share * _normal((rec - (1 + bias) * gen) / sigma) / sigma
        return total

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
        return _range(jnp.minimum(*low), jnp.maximum(*high), rec, mass)

    def flatten(self, u: Values, rec: Values, mass: Values = 0.0, stretch: Values = 1.0) -> Point:
        return _tabulated(self, u, rec, mass, stretch)

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

    def draw(self, gen: Values, u: Values) -> Array:
        return gen + self.resolution.sigma(gen) * self._quantile(u)

    def support(self, rec: Values, mass: Values = 0.0) -> tuple[Array, Array]:
        # E_gen is infinite at z = −1/a, and nowhere without a
        furthest = -0.9 / jnp.asarray(self.resolution.a, dtype=float)
        lowest = jnp.maximum(self._quantile(self.loss / 2), furthest)
        low = self.resolution.energy(rec, self._quantile(1 - self.loss / 2))
        return _range(low, self.resolution.energy(rec, lowest), rec, mass)

    def flatten(self, u: Values, rec: Values, mass: Values = 0.0, stretch: Values = 1.0) -> Point:
        return _tabulated(self, u, rec, mass, stretch)

    def scale(self, energy: Values) -> Array:
        return self.resolution.sigma(energy)

    def to_dict(self) -> dict[str, Any]:
        shape = {"alpha": float(self.alpha), "n": float(self.n), "loss": float(self.loss)}
        return {"kind": "crystal_ball", **self.resolution.to_dict(), **shape}

    def _areas(self) -> tuple[Array, Array]:
        """∫ of the tail and of the core over z, the peak's height being 1."""
        tail = self.n / (self.alpha * (self.n - 1)) * jnp.exp(-(self.alpha**2) / 2)
        return tail, _SQRT_2PI * ndtr(jnp.asarray(self.alpha, dtype=float))

    def _quantile(self, u: Values) -> Array:
        tail, core = self._areas()
        area = u * (tail + core)
        ratio = self.n / self.alpha
        in_tail = jnp.minimum(area / tail, 1.0)
        below = ratio - self.alpha - ratio * in_tail ** (-1 / (self.n - 1))
        above = ndtri(
            jnp.clip(ndtr(-jnp.asarray(self.alpha, dtype=float)) + (area - tail) / _SQRT_2PI, 0.0, 1.0)
        )
        return jnp.where(area < tail, below, above)


class Binned(Response):
    """A histogram in E_gen (first axis) and E_rec − E_gen (second axis), as MoMEMta has it.

    Every column of E_gen is normalised to 1 over the second axis; beyond the first axis the nearest column
    counts. T is a step function: the support is all of the second axis, nothing is lost.
    """

    gen_edges: Values
    difference_edges: Values
    contents: Values
    dimensions: ClassVar[int] = 1

    @classmethod
    def from_counts(cls, counts: np.ndarray, gen_edges: np.ndarray, difference_edges: np.ndarray) -> Binned:
        """From bin contents `[gen, difference]` (any normalisation) and edges in GeV.

        **Raises** `TransferError` if the shapes don't fit, or a column is empty or negative.
        """
        counts, gen_edges, difference_edges = (
            np.asarray(array, dtype=float) for array in (counts, gen_edges, difference_edges)
        )
        if counts.shape != (len(gen_edges) - 1, len(difference_edges) - 1):
            raise TransferError(
                f"a binned response needs contents of shape [E_gen bins, E_rec − E_gen bins] = "
                f"{len(gen_edges) - 1, len(difference_edges) - 1}, got {counts.shape}"
            )
        for name, edges in (("E_gen", gen_edges), ("E_rec − E_gen", difference_edges)):
            if not (np.isfinite(edges).all() and (np.diff(edges) > 0).all()):
                raise TransferError(
                    f"the edges of a binned response's {name} bins must be finite and increase, got {edges}"
                )
        total = counts.sum(axis=1)
        if not (np.isfinite(counts).all() and (counts >= 0).all() and (total > 0).all()):
            worst = int(np.argmin(np.where(np.isfinite(total), total, -np.inf)))
            raise TransferError(
                "a binned response needs contents ≥ 0 and none of its E_gen columns empty; look at column "
                f"{worst}, {gen_edges[worst]:g} to {gen_edges[worst + 1]:g} GeV"
            )
        return cls(gen_edges, difference_edges, counts / total[:, None] / np.diff(difference_edges))

    @classmethod
    def from_root(cls, where: str) -> Binned:
        """From a TH2 in a ROOT file, `where` being `path:histogram`.

        **Raises** `TransferError` if there is no such file, or no two-dimensional histogram of that name in
        it.
        """
        import uproot

        path, _, name = where.rpartition(":")
        if not path:
            raise TransferError(f"a histogram is given as path.root:name, got {where!r}")
        try:
            with uproot.open(path) as file:
                counts, gen_edges, difference_edges = file[name].to_numpy()
        except FileNotFoundError as error:
            raise TransferError(f"no file {path} with a binned response") from error
        except (KeyError, AttributeError, ValueError) as error:
            raise TransferError(f"{path} has no two-dimensional histogram {name!r}") from error
        return cls.from_counts(counts, gen_edges, difference_edges)

    def density(self, rec: Values, gen: Values) -> Array:
        edges = jnp.asarray(self.difference_edges)
        difference = rec - gen
        j = jnp.clip(jnp.searchsorted(edges, difference, side="right") - 1, 0, len(edges) - 2)
        inside = (difference >= edges[0]) & (difference < edges[-1])
        return jnp.where(inside, jnp.asarray(self.contents)[self._column(gen), j], 0.0)

    def draw(self, gen: Values, u: Values) -> Array:
        gen, u = jnp.broadcast_arrays(jnp.asarray(gen), jnp.asarray(u))
        edges = jnp.asarray(self.difference_edges)
        column = jnp.asarray(self.contents)[self._column(gen)] * jnp.diff(edges)
        cumulative = jnp.cumsum(column, axis=-1)
        j = jnp.minimum((cumulative <= u[..., None]).sum(axis=-1), len(edges) - 2)
        share = jnp.take_along_axis(column, j[..., None], axis=-1)[..., 0]
        past = jnp.take_along_axis(cumulative, j[..., None], axis=-1)[..., 0] - share
        return gen + edges[j] + (edges[j + 1] - edges[j]) * jnp.clip((u - past) / share, 0.0, 1.0)

    def support(self, rec: Values, mass: Values = 0.0) -> tuple[Array, Array]:
        edges = jnp.asarray(self.difference_edges)
        return _range(rec - edges[-1], rec - edges[0], rec, mass)

    def flatten(self, u: Values, rec: Values, mass: Values = 0.0, stretch: Values = 1.0) -> Point:
        # exact: along E_gen, T is constant between these
        low, high = self.support(rec, mass)
        breaks = jnp.concatenate([rec - jnp.asarray(self.difference_edges), jnp.asarray(self.gen_edges)])
        breaks = jnp.sort(jnp.clip(breaks, low, high))
        width = jnp.diff(breaks)
        height = self.density(rec, breaks[:-1] + width / 2)
        share = width * height ** (1 / stretch**2)
        cumulative = jnp.cumsum(share)
        area = jnp.asarray(u) * cumulative[-1]
        k = jnp.minimum((cumulative <= area[..., None]).sum(axis=-1), len(share) - 1)
        # a step without density is never chosen unless there is nothing else, and then its weight is 0
        inside = jnp.clip(
            (area - cumulative[k] + share[k]) / jnp.where(share[k] > 0, share[k], 1.0), 0.0, 1.0
        )
        weight = jnp.where(share[k] > 0, cumulative[-1] * height[k] ** (1 - 1 / stretch**2), 0.0)
        return breaks[k] + width[k] * inside, weight

    def scale(self, energy: Values) -> Array:
        edges = jnp.asarray(self.difference_edges)
        middle, width = (edges[1:] + edges[:-1]) / 2, jnp.diff(edges)
        column = jnp.asarray(self.contents)[self._column(energy)] * width
        mean = (column * middle).sum(axis=-1)
        spread = jnp.sqrt((column * (middle - mean[..., None]) ** 2).sum(axis=-1))
        # a column with one filled bin is as wide as that bin
        within = jnp.sqrt((column * width**2).sum(axis=-1) / 12)
        return jnp.where(spread > 1e-6 * within, spread, within)

    def to_dict(self) -> dict[str, Any]:
        names = {
            "gen_edges": self.gen_edges,
            "difference_edges": self.difference_edges,
            "density": self.contents,
        }
        return {"kind": "binned"} | {name: np.asarray(array).tolist() for name, array in names.items()}

    def _column(self, gen: Values) -> Array:
        edges = jnp.asarray(self.gen_edges)
        return jnp.clip(jnp.searchsorted(edges, gen, side="right") - 1, 0, len(edges) - 2)


class Delta(Response):
    """A perfect measurement: E_gen = E_rec, nothing to integrate."""

    dimensions: ClassVar[int] = 0

    def density(self, rec: Values, gen: Values) -> Array:
        raise TransferError("a perfect measurement has no density: it takes one integration away instead")

    def draw(self, gen: Values, u: Values) -> Array:
        return jnp.asarray(gen)

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


class Custom(Response):
    """A user's own density, any JAX function `function(rec, gen)` → 1/GeV (a function, or a callable pytree).

    `low` and `high` bound E_rec/E_gen; outside of them the density counts as zero. Make it with `custom`,
    which checks the normalisation.
    """

    function: Callable[[Any, Any], Any]
    low: Values
    high: Values
    dimensions: ClassVar[int] = 1

    def density(self, rec: Values, gen: Values) -> Array:
        ratio = rec / gen
        return jnp.where((ratio >= self.low) & (ratio <= self.high), self.function(rec, gen), 0.0)

    def draw(self, gen: Values, u: Values) -> Array:
        gen, u = jnp.broadcast_arrays(jnp.asarray(gen), jnp.asarray(u))
        ratio = jnp.linspace(jnp.asarray(self.low, dtype=float), self.high, 4 * _NODES)
        height = self.function(ratio * gen[..., None], gen[..., None])
        t, _ = _inverse(ratio, height, u)
        return t * gen

    def support(self, rec: Values, mass: Values = 0.0) -> tuple[Array, Array]:
        return _range(rec / self.high, rec / jnp.asarray(self.low), rec, mass)

    def flatten(self, u: Values, rec: Values, mass: Values = 0.0, stretch: Values = 1.0) -> Point:
        return _tabulated(self, u, rec, mass, stretch)

    def scale(self, energy: Values) -> Array:
        return energy * (self.high - jnp.asarray(self.low)) / 10

    def to_dict(self) -> dict[str, Any]:
        """Also the SHA-256 of its `values`, eight digits each: a function has no other content to compare."""
        plain = (
            self.function.func if isinstance(self.function, jax.tree_util.Partial) else type(self.function)
        )
        return {
            "kind": "function",
            "function": f"{plain.__module__}:{plain.__qualname__}",
            "low": float(self.low),
            "high": float(self.high),
            "values": _hash_of_values(self.function, float(self.low), float(self.high)),
        }


_GEN = (10.0, 30.0, 100.0, 300.0, 1000.0)
"""Energies at which a user's own density is looked at, GeV."""


def _values(function: Callable[[Any, Any], Any], gen: float, rec: np.ndarray) -> np.ndarray:
    with double_precision():
        return np.asarray(function(rec, gen))


def _hash_of_values(function: Callable[[Any, Any], Any], low: float, high: float) -> str:
    ratio = np.linspace(low, high, 201)
    values = np.stack([_values(function, gen, gen * ratio) * np.ones_like(ratio) for gen in _GEN])
    return hashlib.sha256(" ".join(f"{value:.7e}" for value in values.ravel()).encode()).hexdigest()


def custom(function: Callable[[Any, Any], Any], low: float, high: float) -> Custom:
    """A response from a user's density, checked: ∫ function(rec, gen) drec = 1 to 1e-3 at five energies.

    **Arguments:** `function`: a JAX function of E_rec and E_gen (GeV) → 1/GeV; `low`, `high`: bounds of
    E_rec/E_gen, 0 < low < high. **Raises** `TransferError` if the bounds make no sense or the integral isn't
    1.
    """
    if not 0 < low < high < np.inf:
        raise TransferError(
            f"a response's bounds of E_rec/E_gen must be 0 < low < high, got {low} and {high}"
        )
    nodes, weights = np.polynomial.legendre.leggauss(400)
    for gen in _GEN:
        rec = gen * (low + (high - low) * (nodes + 1) / 2)
        integral = float(np.sum(_values(function, gen, rec) * weights) * gen * (high - low) / 2)
        if not abs(integral - 1) < 1e-3:
            raise TransferError(
                f"a response must integrate to 1 over E_rec: between {low} and {high} times E_gen = {gen:g} "
                f"GeV this one integrates to {integral:.6g}"
            )
    # a plain function becomes a pytree without leaves, so that the response passes through jit
    plain = not isinstance(function, eqx.Module | jax.tree_util.Partial)
    return Custom(jax.tree_util.Partial(function) if plain else function, low, high)


class ByEta(eqx.Module):
    """Responses by region of |η|: region i ends where region i + 1 begins, and the last one at `limit`.

    `bounds` are the upper ends in |η| of all regions but the last, increasing. Beyond `limit` no response is
    known: a particle there has no weight, and σ_vis does not count it.
    """

    bounds: Values
    responses: tuple[Response, ...]
    limit: Values = np.inf

    @property
    def dimensions(self) -> int:
        """Integrations per particle."""
        return self.responses[0].dimensions

    def to_dict(self) -> dict[str, Any] | list[dict[str, Any]]:
        """The entry of a configuration that makes these responses, for `response`."""
        entries = [each.to_dict() for each in self.responses]
        for entry, end in zip(entries, [*np.asarray(self.bounds), self.limit], strict=True):
            entry |= {} if np.isinf(end) else {"eta_max": float(end)}
        return entries[0] if len(entries) == 1 else entries

    def at(self, eta: Values) -> Response:
        """The response of the region that `eta` lies in (a number; batch from outside)."""
        if len(self.responses) == 1:
            return self.responses[0]
        index = jnp.searchsorted(jnp.asarray(self.bounds), jnp.abs(eta), side="right")
        flat = [jax.tree.flatten(response) for response in self.responses]
        alike = len({(str(tree), str([np.shape(leaf) for leaf in leaves])) for leaves, tree in flat}) == 1
        if alike:
            return jax.tree.map(lambda *leaves: jnp.stack(leaves)[index], *self.responses)
        return _Chosen(index, self.responses)


class _Chosen(Response):
    """One of several responses of different shapes: all are computed, one is taken."""

    index: Array
    responses: tuple[Response, ...]
    dimensions: ClassVar[int] = 1

    def density(self, rec: Values, gen: Values) -> Array:
        return self._take([response.density(rec, gen) for response in self.responses])

    def draw(self, gen: Values, u: Values) -> Array:
        return self._take([response.draw(gen, u) for response in self.responses])

    def support(self, rec: Values, mass: Values = 0.0) -> tuple[Array, Array]:
        low, high = zip(*(response.support(rec, mass) for response in self.responses), strict=True)
        return self._take(low), self._take(high)

    def flatten(self, u: Values, rec: Values, mass: Values = 0.0, stretch: Values = 1.0) -> Point:
        gen, weight = zip(*(r.flatten(u, rec, mass, stretch) for r in self.responses), strict=True)
        return self._take(gen), self._take(weight)

    def flatten_below(self, u: Values, rec: Values, limit: Values) -> Point:
        gen, weight = zip(*(r.flatten_below(u, rec, limit) for r in self.responses), strict=True)
        return self._take(gen), self._take(weight)

    def scale(self, energy: Values) -> Array:
        return self._take([response.scale(energy) for response in self.responses])

    def to_dict(self) -> dict[str, Any]:
        raise TransferError("one of several responses is described by all of them, see ByEta")

    def _take(self, values: Sequence[Values]) -> Array:
        return jnp.stack(jnp.broadcast_arrays(*values))[self.index]


class MissingMomentum(eqx.Module):
    """The response of missing pT: a Gaussian in each component, σ² = c² + b² H.

    H is what the event's calorimeter activity is measured by (a scalar sum of pT in GeV); b in √GeV, c in
    GeV.
    """

    b: Values = 0.0
    c: Values = 0.0

    def to_dict(self) -> dict[str, float]:
        """The entry of a configuration that makes this response."""
        return {"b": float(self.b), "c": float(self.c)}

    def sigma(self, activity: Values = 0.0) -> Array:
        """σ of one component in GeV."""
        return jnp.sqrt(self.c**2 + self.b**2 * activity)

    def density(
        self, rec: tuple[Values, Values], gen: tuple[Values, Values], activity: Values = 0.0
    ) -> Array:
        """T in GeV⁻², for (p_x, p_y) in GeV."""
        sigma = self.sigma(activity)
        return _normal((rec[0] - gen[0]) / sigma) * _normal((rec[1] - gen[1]) / sigma) / sigma**2

    def draw(
        self, gen: tuple[Values, Values], u: tuple[Values, Values], activity: Values = 0.0
    ) -> tuple[Array, Array]:
        """Reconstructed (p_x, p_y) from the true ones and two uniform numbers."""
        sigma = self.sigma(activity)
        return gen[0] + sigma * ndtri(u[0]), gen[1] + sigma * ndtri(u[1])

    def flatten(
        self, u: tuple[Values, Values], rec: tuple[Values, Values], activity: Values = 0.0
    ) -> tuple[tuple[Array, Array], Array]:
        """True (p_x, p_y) by Gaussian quantiles, and T d²p/d²u, which is 1; nothing is cut."""
        sigma = self.sigma(activity)
        return (rec[0] + sigma * ndtri(u[0]), rec[1] + sigma * ndtri(u[1])), jnp.ones_like(sigma)


# --- shared mathematics
# -----------------------------------------------------------------------------------------

_NODES = 64


def _normal(z: Values) -> Array:
    return jnp.exp(-(z**2) / 2) / _SQRT_2PI


def _range(low: Values, high: Values, rec: Values, mass: Values) -> tuple[Array, Array]:
    """A support: never below the mass, never at zero, and of no width where the mass is beyond it."""
    require_double("a transfer function")
    low = jnp.maximum(jnp.maximum(low, mass), 1e-3 * rec)
    return low, jnp.maximum(high, low)


def _tabulated(response: Response, u: Values, rec: Values, mass: Values, stretch: Values) -> Point:
    """The flattening map of a shape without a formula: T tabulated along E_gen, interpolated, inverted.

    Nodes are equidistant in t with E = E_rec + σ sinh t, dense in the core and sparse in tails. The table
    is approximate, the weight isn't: it has T itself over the table's density. A twentieth of the table is
    uniform in t, so that nothing that T has between nodes can weigh much.
    """
    low, high = response.support(rec, mass)
    sigma = response.scale(rec)
    t = jnp.linspace(jnp.arcsinh((low - rec) / sigma), jnp.arcsinh((high - rec) / sigma), _NODES)
    height = response.density(rec, rec + sigma * jnp.sinh(t)) * sigma * jnp.cosh(t)
    height = height ** (1 / stretch**2)
    height = height + 0.05 * height.mean()
    # a support of no width, or without density, maps to its middle with weight 0 rather than to NaN
    height = jnp.where(height.sum() > 0, height, 1.0)
    at, density = _inverse(t, height, u)
    gen = rec + sigma * jnp.sinh(at)
    return gen, response.density(rec, gen) * sigma * jnp.cosh(at) / density


def _inverse(t: Array, height: Array, u: Values) -> tuple[Array, Array]:
    """The point below which a fraction u of a piecewise linear density lies, and the density there.

    **Arguments:** `t` `[nodes]`, equidistant; `height` `[..., nodes]`, not normalised; `u` `[...]`.
    """
    step = t[1] - t[0]
    cumulative = jnp.cumsum((height[..., 1:] + height[..., :-1]) / 2, axis=-1)
    total = cumulative[..., -1]
    area = jnp.asarray(u) * total
    k = jnp.minimum((cumulative <= area[..., None]).sum(axis=-1), height.shape[-1] - 2)

    def pick(array: Array, at: Array) -> Array:
        return jnp.take_along_axis(jnp.broadcast_to(array, (*at.shape, array.shape[-1])), at[..., None], -1)[
            ..., 0
        ]

    h0, h1 = pick(height, k), pick(height, k + 1)
    rest = area - jnp.where(k > 0, pick(cumulative, jnp.maximum(k - 1, 0)), 0.0)
    # rest = h0 s + (h1 − h0) s²/2, in the form that survives h0 = h1
    root = jnp.sqrt(jnp.maximum(h0**2 + 2 * (h1 - h0) * rest, 0.0))
    s = jnp.clip(2 * rest / jnp.maximum(h0 + root, 1e-300), 0.0, 1.0)
    return t[k] + step * s, (h0 + (h1 - h0) * s) / (total * step)


# --- from a configuration
# ---------------------------------------------------------------------------------------


def _resolution(entry: Mapping[str, Any], where: str) -> Resolution:
    if "r" in entry and "a" in entry:
        raise TransferError(f"{where}: give r or a, they are the same")
    terms = {name: _number(entry, name, where, 0.0) for name in "abc"}
    terms["a"] = _number(entry, "r", where, terms["a"])
    if min(terms.values()) < 0 or max(terms.values()) <= 0:
        raise TransferError(
            f"{where}: a resolution needs terms a (or r), b, c that are ≥ 0, not all 0, got {terms}"
        )
    return Resolution(**terms)


def _gaussian(entry: Mapping[str, Any], where: str) -> Response:
    return Gaussian(_resolution(entry, where), _reach(entry, where))


def _reach(entry: Mapping[str, Any], where: str) -> float:
    reach = _number(entry, "reach", where, 5.0)
    if reach <= 0:
        raise TransferError(f"{where}.reach: a support needs a number of σ above 0, got {reach}")
    return reach


def _double_gaussian(entry: Mapping[str, Any], where: str) -> Response:
    parts = {}
    for part in ("core", "tail"):
        if not isinstance(entry.get(part), Mapping):
            raise TransferError(
                f"{where}.{part}: a double Gaussian needs a resolution here, such as {{'r': 0.05}}"
            )
        _known_keys(entry[part], {"r", "a", "b", "c", "bias"}, f"{where}.{part}")
        parts[part] = _resolution(entry[part], f"{where}.{part}")
    fraction = _number(entry, "fraction", where)
    if not 0 < fraction < 1:
        raise TransferError(f"{where}.fraction: the tail's share must be between 0 and 1, got {fraction}")
    bias = {}
    for part in parts:
        bias[f"{part}_bias"] = value = _number(entry[part], "bias", f"{where}.{part}", 0.0)
        if value <= -1:
            raise TransferError(
                f"{where}.{part}.bias: E_rec ≈ (1 + bias) E_gen needs a bias above −1, got {value}"
            )
    return DoubleGaussian(fraction, parts["core"], parts["tail"], **bias, reach=_reach(entry, where))


def _crystal_ball(entry: Mapping[str, Any], where: str) -> Response:
    alpha, n = (_number(entry, name, where) for name in ("alpha", "n"))
    if alpha <= 0 or n <= 1:
        raise TransferError(f"{where}: a Crystal Ball needs alpha > 0 and n > 1, got {alpha} and {n}")
    loss = _number(entry, "loss", where, 1e-4)
    if not 0 < loss < 1:
        raise TransferError(f"{where}.loss: the part of events lost must be between 0 and 1, got {loss}")
    return CrystalBall(_resolution(entry, where), alpha, n, loss)


def _binned(entry: Mapping[str, Any], where: str) -> Response:
    if "file" in entry:
        if len(entry.keys() - {"kind", "eta_max"}) > 1:
            raise TransferError(f"{where}: give a file with a histogram, or edges and density, and not both")
        return Binned.from_root(str(entry["file"]))
    gen, difference = (
        np.asarray(_required(entry, f"{axis}_edges", where), dtype=float) for axis in ("gen", "difference")
    )
    density = np.asarray(_required(entry, "density", where), dtype=float)
    made = Binned.from_counts(density * np.diff(difference), gen, difference)
    # not normalised once more, so that it is the same to the last bit as what `to_dict` was of
    same = np.allclose(made.contents, density, rtol=1e-9, atol=0)
    return Binned(gen, difference, density) if same else made


def _function(entry: Mapping[str, Any], where: str) -> Response:
    name = str(_required(entry, "function", where))
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise TransferError(
            f"{where}.function: no function {name!r} (expected module:name): {error}"
        ) from error
    made = custom(function, _number(entry, "low", where), _number(entry, "high", where))
    if entry.get("values") not in (None, made.to_dict()["values"]):
        raise TransferError(f"{where}.function: {name!r} gives other values than when this was written")
    return made


_KINDS: dict[str, tuple[Callable[[Mapping[str, Any], str], Response], set[str]]] = {
    "gaussian": (_gaussian, {"r", "a", "b", "c", "reach"}),
    "double_gaussian": (_double_gaussian, {"fraction", "core", "tail", "reach"}),
    "crystal_ball": (_crystal_ball, {"r", "a", "b", "c", "alpha", "n", "loss"}),
    "binned": (_binned, {"file", "gen_edges", "difference_edges", "density"}),
    "function": (_function, {"function", "low", "high", "values"}),
    "delta": (lambda entry, where: Delta(), set()),
}


def response(entry: Any, where: str = "response") -> ByEta:
    """The response of one class of particles, from its entry in a configuration.

    **Arguments:** `entry`: a number r (a Gaussian with σ = rE; 0 for a perfect measurement), a dict with a
    `kind` and that kind's parameters, or a list of such dicts with an `eta_max` each, increasing (where the
    last one lacks it, it extends to any |η|). `where`: the path of the entry, for messages.

    **Raises** `TransferError` with the path of the offending key, the nearest known name, or what was
    expected.
    """
    if isinstance(entry, int | float) and not isinstance(entry, bool):
        entry = {"kind": "gaussian", "r": entry} if entry else {"kind": "delta"}
    regions = entry if isinstance(entry, list) else [entry]
    if not regions:
        raise TransferError(f"{where}: a list of regions needs one at least")
    responses, bounds = [], []
    for i, region in enumerate(regions):
        path = f"{where}[{i}]" if isinstance(entry, list) else where
        if not isinstance(region, Mapping):
            raise TransferError(
                f"{path}: expected a number, or a dict such as {{'kind': 'gaussian', 'r': 0.02}}"
            )
        kind = str(_required(region, "kind", path))
        if kind not in _KINDS:
            raise TransferError(
                f"{path}.kind: no response {kind!r}{nearest(kind, _KINDS)}; known: {', '.join(_KINDS)}"
            )
        build, keys = _KINDS[kind]
        _known_keys(region, keys | {"kind", "eta_max"}, path)
        try:
            responses.append(build(region, path))
        except (TypeError, ValueError) as error:
            if isinstance(error, TransferError):
                raise
            raise TransferError(f"{path}: {error}") from error
        bounds.append(float(region.get("eta_max", np.inf)))
        if not bounds[-1] > 0:
            raise TransferError(f"{path}.eta_max: a region of |η| ends above 0, got {bounds[-1]}")
    if any(second <= first for first, second in pairwise(bounds)):
        raise TransferError(f"{where}: the regions' eta_max must increase, got {bounds}")
    if len({each.dimensions for each in responses}) > 1:
        raise TransferError(
            f"{where}: a perfect measurement can't be mixed with others in regions of one class"
        )
    return ByEta(np.array(bounds[:-1]), tuple(responses), bounds[-1])


def responses(configuration: Mapping[str, Any], classes: Sequence[str]) -> dict[str, ByEta]:
    """The responses of several classes of particles: see `response`. An unknown class is an error."""
    _known_keys(configuration, set(classes), "response")
    return {name: response(entry, f"response.{name}") for name, entry in configuration.items()}


def missing_momentum(entry: Mapping[str, Any], where: str = "response.met") -> MissingMomentum:
    """The response of missing pT from {"b": …, "c": …}: σ² = c² + b² H; a number is c."""
    if isinstance(entry, int | float) and not isinstance(entry, bool):
        entry = {"c": entry}
    if not isinstance(entry, Mapping):
        raise TransferError(f"{where}: expected a number of GeV, or {{'b': …, 'c': …}}, got {entry!r}")
    _known_keys(entry, {"b", "c"}, where)
    b, c = (_number(entry, name, where, 0.0) for name in "bc")
    if b < 0 or c <= 0:
        raise TransferError(f"{where}: needs b ≥ 0 (√GeV) and c > 0 (GeV), got {b} and {c}")
    return MissingMomentum(b, c)


def _number(entry: Mapping[str, Any], key: str, where: str, default: float | None = None) -> float:
    """A finite number of an entry; without a default it must be there."""
    value = _required(entry, key, where) if default is None else entry.get(key, default)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise TransferError(f"{where}.{key}: expected a finite number, got {value!r}")
    return number


def _required(entry: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in entry:
        raise TransferError(f"{where}: {key!r} is missing")
    return entry[key]


def _known_keys(entry: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in entry:
        if key not in known:
            raise TransferError(
                f"{where}.{key}: unknown key{nearest(str(key), known)}; known: {', '.join(sorted(known))}"
            )
