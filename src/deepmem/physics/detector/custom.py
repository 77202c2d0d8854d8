"""A response that is a user's own function of E_rec and E_gen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from deepmem.physics.detector.response import (
    NODES,
    Point,
    Response,
    TransferError,
    Values,
    clipped,
    tabulated,
)
from deepmem.physics.precision import double_precision
from deepmem.physics.tables import Table


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

    def above(self, rec: Values, gen: Values) -> Array:
        rec, gen = jnp.broadcast_arrays(jnp.asarray(rec), jnp.asarray(gen))
        low, high = jnp.maximum(rec, self.low * gen), self.high * gen
        nodes, weights = np.polynomial.legendre.leggauss(2 * NODES)
        at = low[..., None] + jnp.maximum(high - low, 0.0)[..., None] * (1 + nodes) / 2
        height = self.function(at, gen[..., None])
        return jnp.minimum((height * weights).sum(axis=-1) * jnp.maximum(high - low, 0.0) / 2, 1.0)

    def draw(self, gen: Values, u: Values) -> Array:
        gen, u = jnp.broadcast_arrays(jnp.asarray(gen), jnp.asarray(u))
        ratio = jnp.linspace(jnp.asarray(self.low, dtype=float), self.high, 4 * NODES)
        height = self.function(ratio * gen[..., None], gen[..., None])
        return Table.of(ratio[0], ratio[1] - ratio[0], height).draw(u) * gen

    def support(self, rec: Values, mass: Values = 0.0) -> tuple[Array, Array]:
        return clipped(rec / self.high, rec / jnp.asarray(self.low), rec, mass)

    def flatten(self, u: Values, rec: Values, mass: Values = 0.0, stretch: Values = 1.0) -> Point:
        return tabulated(self, u, rec, mass, stretch)

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


_GEN = np.geomspace(10.0, 1000.0, 65)
"""Energies at which a user's own density is looked at, GeV."""


def _values(function: Callable[[Any, Any], Any], ratio: np.ndarray) -> np.ndarray:
    """The density at E_rec = `ratio` E_gen, `[energies, ratios]`, as it is where it is compiled."""
    with double_precision():
        try:
            at = jax.jit(jax.vmap(lambda gen: function(gen * ratio, gen) * jnp.ones_like(ratio)))
            return np.asarray(at(_GEN))
        except (jax.errors.JAXTypeError, TypeError, AttributeError) as error:
            raise TransferError(
                "a response's function must be written with jax.numpy, for arrays E_rec and one E_gen "
                f"(jnp.exp, jnp.where in place of np.exp, if): {str(error).splitlines()[0]}"
            ) from error


def _hash_of_values(function: Callable[[Any, Any], Any], low: float, high: float) -> str:
    values = _values(function, np.linspace(low, high, 201))
    return hashlib.sha256(" ".join(f"{value:.7e}" for value in values.ravel()).encode()).hexdigest()


def custom(function: Callable[[Any, Any], Any], low: float, high: float) -> Custom:
    """A response from a user's density, checked: not negative, ∫ function(rec, gen) drec = 1 to 1e-3.

    It is checked at 65 energies from 10 to 1,000 GeV.

    **Arguments:** `function`: a JAX function of E_rec and E_gen (GeV) → 1/GeV; `low`, `high`: bounds of
    E_rec/E_gen, 0 < low < high.

    **Raises** `TransferError` if the bounds make no sense, the function can't be compiled, is negative, or
    does not integrate to 1.
    """
    if not 0 < low < high < np.inf:
        raise TransferError(
            f"a response's bounds of E_rec/E_gen must be 0 < low < high, got {low} and {high}"
        )
    nodes, weights = np.polynomial.legendre.leggauss(400)
    ratio = low + (high - low) * (nodes + 1) / 2
    values = _values(function, ratio)
    if (values < 0).any():
        row, column = np.unravel_index(values.argmin(), values.shape)
        raise TransferError(
            f"a response must not be negative: at E_gen = {_GEN[row]:.4g} GeV and E_rec = "
            f"{ratio[column] * _GEN[row]:.4g} GeV this one is {values[row, column]:.3g}"
        )
    integrals = (values * weights).sum(axis=1) * _GEN * (high - low) / 2
    off = ~(np.abs(integrals - 1) < 1e-3)
    if off.any():
        first = int(np.argmax(off))
        raise TransferError(
            f"a response must integrate to 1 over E_rec: between {low} and {high} times E_gen = "
            f"{_GEN[first]:.4g} GeV this one integrates to {integrals[first]:.6g}"
        )
    # a plain function becomes a pytree without leaves, so that the response passes through jit
    plain = not isinstance(function, eqx.Module | jax.tree_util.Partial)
    return Custom(jax.tree_util.Partial(function) if plain else function, low, high)
