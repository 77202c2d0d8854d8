"""A second network g(x) that learns the size of errors, ln σ, from training rows.

It learns from the error that the member which never saw a row makes on it: those that did see it would
flatter.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int

from deepmem.surrogate.network import Network, build
from deepmem.surrogate.preparation import Prepared

WIDTH, DEPTH = 64, 2
# Steps in which g is learned, within limits of the number of epochs: after 900 steps (16,000 rows, 30 epochs)
# it knew little of how errors depend on the mass of four leptons, and 95 % intervals of a tenth covered 88 %.
_STEPS, _BATCH, _RATE = 3_000, 512, 3e-3
_LEAST_EPOCHS, _MOST_EPOCHS = 30, 100
_TINY = 1e-7  # of a standardised target: rounding


@eqx.filter_jit
def build_spread(inputs: int, outputs: int) -> Network:
    return build("default", inputs, outputs, WIDTH, DEPTH, jax.random.key(0))


def learn_size(training: Prepared, error: np.ndarray, seed: int) -> Network:
    """g(x) = ln of the size of errors, by the likelihood of a normal distribution."""
    known = training.importance > 0
    size = np.array([np.median(np.abs(error[rows, i])) for i, rows in enumerate(known.T)]) + _TINY
    x, y = training.features, np.asarray(error / size, np.float32)
    data = jax.device_put((x, y, np.asarray((training.noise / size) ** 2, np.float32), known))
    batch = min(_BATCH, len(x))
    steps = len(x) // batch
    epochs = int(np.clip(-(-_STEPS // steps), _LEAST_EPOCHS, _MOST_EPOCHS))
    with jax.enable_x64(False):
        network, optimiser = build_spread(x.shape[1], y.shape[1]), _optimiser(steps * epochs)
        moments = _moments(optimiser, network)
        rng = np.random.default_rng([seed, 1])
        for _ in range(epochs):
            order = rng.permutation(len(x))[: steps * batch].reshape(steps, batch)
            network, moments = _epoch(network, moments, optimiser, data, jax.device_put(order))
        # the unit of `size` goes into the last layer's bias
        bias: Any = network.last.bias
        return eqx.tree_at(lambda n: n.last.bias, network, bias + np.log(size.astype(np.float32)))


@lru_cache(maxsize=8)
def _optimiser(steps: int) -> optax.GradientTransformation:
    """The same for the same number of steps: compiled code is kept by it."""
    return optax.adam(optax.cosine_decay_schedule(_RATE, steps))


@eqx.filter_jit
def _moments(optimiser: optax.GradientTransformation, network: Network) -> Any:
    return optimiser.init(eqx.filter(network, eqx.is_inexact_array))


@eqx.filter_jit
def _epoch(
    network: Network,
    moments: Any,
    optimiser: optax.GradientTransformation,
    data: tuple[Array, ...],
    order: Int[Array, "steps batch"],
) -> tuple[Network, Any]:
    """One step per row of `order`; `data`: features, errors, squared noise of labels, which are known."""
    x, y, noise2, there = data
    arrays, static = eqx.partition(network, eqx.is_inexact_array)

    def loss(arrays: Any, rows: Array) -> Array:
        g = jnp.clip(jax.vmap(eqx.combine(arrays, static))(x[rows]), -10, 10)
        variance = jnp.exp(2 * g) + noise2[rows]
        return jnp.sum(there[rows] * (jnp.log(variance) + y[rows] ** 2 / variance)) / order.shape[1]

    def step(carry: Any, rows: Array) -> Any:
        updates, moments = optimiser.update(jax.grad(loss)(carry[0], rows), carry[1])
        return (eqx.apply_updates(carry[0], updates), moments), None

    (arrays, moments), _ = jax.lax.scan(step, (arrays, moments), order)
    return eqx.combine(arrays, static), moments
