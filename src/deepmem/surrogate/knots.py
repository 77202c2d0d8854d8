"""Piecewise linear functions of a prediction."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_LEAST = 1e-30


def interpolated(np_: Any, t: Any, knots: Any, values: Any) -> Any:
    """What `np.interp` says, by NumPy's own or, in JAX, without a search: a graph has few nodes so.

    f(t) = f₀ + Σ_k Δf_k · min(max((t − t_k)/Δt_k, 0), 1)
    """
    return np.interp(t, knots, values) if np_ is np else _summed(t, knots, values)


def _summed(
    t: Float[Array, " n"], knots: Float[Array, " knots"], values: Float[Array, " knots"]
) -> Float[Array, " n"]:
    # two knots may be one in single precision: a step
    width = jnp.maximum(jnp.diff(knots), _LEAST)
    part = jnp.clip((t[:, None] - knots[:-1]) / width, 0.0, 1.0)
    return values[0] + jnp.dot(part, jnp.diff(values), precision="highest")


def hats(t: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Piecewise linear functions that are 1 at one knot and 0 at the others `[n, knots]`."""
    return np.stack([np.interp(t, knots, unit) for unit in np.eye(len(knots))], axis=1)


def quantile_knots(t: np.ndarray, number: int, beyond: float = 0.0) -> np.ndarray:
    """Quantiles, with that part beyond either end, and no two alike where many t are."""
    return np.quantile(t, np.linspace(beyond, 1 - beyond, number)) + 1e-9 * np.arange(number)
