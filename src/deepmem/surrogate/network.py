"""Architectures: from standardised features `[features]` to standardised −log10(weight) `[weights]`.

Written for one event, batched from outside. Both are found by name in a model file, so a name is never
re-used for another architecture.
"""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray


class ResidualNetwork(eqx.Module):
    """h₀ = σ(A₀x + b₀), h_{k+1} = h_k + σ(A_k h_k + b_k), y = A h + b, with σ = SiLU.

    **Arguments:** `inputs`, `outputs`; `width`, `depth` of the hidden layers; `key`, for the initial values.
    """

    layers: tuple[eqx.nn.Linear, ...]
    last: eqx.nn.Linear

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, *, key: PRNGKeyArray):
        keys = jax.random.split(key, depth + 1)
        sizes = [inputs] + [width] * depth
        # variance 1.5/n keeps the size of what SiLU lets through; a small last layer starts at the mean
        # weight
        self.layers = tuple(_linear(n, width, 1.5, k) for n, k in zip(sizes[:-1], keys[:-1], strict=True))
        self.last = _linear(width, outputs, 0.015, keys[-1])

    def hidden(self, x: Float[Array, " features"]) -> Float[Array, " width"]:
        """What the last layer reads."""
        h = jax.nn.silu(self.layers[0](x))
        for layer in self.layers[1:]:
            h = h + jax.nn.silu(layer(h))
        return h

    def __call__(self, x: Float[Array, " features"]) -> Float[Array, " weights"]:
        return self.last(self.hidden(x))


class ReferenceNetwork(eqx.Module):
    """The original DeepMEM's: four layers of 200 with ReLU, the inputs joined to the last hidden layer."""

    layers: tuple[eqx.nn.Linear, ...]
    last: eqx.nn.Linear

    def __init__(self, inputs: int, outputs: int, *, key: PRNGKeyArray):
        keys = jax.random.split(key, 5)
        sizes = [inputs, 200, 200, 200, 200]
        self.layers = tuple(eqx.nn.Linear(n, 200, key=k) for n, k in zip(sizes[:-1], keys[:-1], strict=True))
        self.last = eqx.nn.Linear(200 + inputs, outputs, key=keys[-1])

    def hidden(self, x: Float[Array, " features"]) -> Float[Array, " width"]:
        """What the last layer reads."""
        h = x
        for layer in self.layers:
            h = jax.nn.relu(layer(h))
        return jnp.concatenate([h, x])

    def __call__(self, x: Float[Array, " features"]) -> Float[Array, " weights"]:
        return self.last(self.hidden(x))


Network = ResidualNetwork | ReferenceNetwork


def build(
    name: str, inputs: int, outputs: int, width: int, depth: int, key: PRNGKeyArray
) -> ResidualNetwork | ReferenceNetwork:
    """The network of that name, `"default"` or `"reference"` (whose width and depth are its own)."""
    builders: dict[str, Callable[[], Network]] = {
        "default": lambda: ResidualNetwork(inputs, outputs, width, depth, key=key),
        "reference": lambda: ReferenceNetwork(inputs, outputs, key=key),
    }
    return builders[name]()


def build_members(
    name: str, inputs: int, outputs: int, width: int, depth: int, members: int, seed: int
) -> Network:
    """So many networks of that name with initial values of their own, each array with an axis of members."""
    keys = jax.random.split(jax.random.key(seed), members)
    return _drawn(name, inputs, outputs, width, depth, keys)


@eqx.filter_jit
def _drawn(
    name: str, inputs: int, outputs: int, width: int, depth: int, keys: Key[Array, " members"]
) -> Network:
    """Compiled: one program in place of thirty."""
    return eqx.filter_vmap(lambda key: build(name, inputs, outputs, width, depth, key))(keys)


@eqx.filter_jit
def member_predictions(networks: Network, features: Float[Array, "n f"]) -> Float[Array, "members n k"]:
    """What each of some stacked networks says of a batch."""
    return eqx.filter_vmap(lambda network: jax.vmap(network)(features))(networks)


@eqx.filter_jit
def predictions_and_first_hidden(
    networks: Network, features: Float[Array, "n f"]
) -> tuple[Float[Array, "members n k"], Float[Array, "n width"]]:
    """`member_predictions` and `first_hidden` at the cost of one."""

    def both(network: Network, x: Float[Array, " f"]) -> tuple[Array, Array]:
        hidden = network.hidden(x)
        return network.last(hidden), hidden

    said, hidden = eqx.filter_vmap(lambda network: jax.vmap(lambda x: both(network, x))(features))(networks)
    return said, hidden[0]


@eqx.filter_jit
def first_hidden(networks: Network, features: Float[Array, "n f"]) -> Float[Array, "n width"]:
    """What the last layer of the first of some stacked networks reads."""
    first = jax.tree.map(lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, networks)
    return jax.vmap(first.hidden)(features)


def _linear(inputs: int, outputs: int, gain: float, key: PRNGKeyArray) -> eqx.nn.Linear:
    # its own initial values are not drawn
    layer = eqx.filter_eval_shape(eqx.nn.Linear, inputs, outputs, key=key)
    weight = jnp.sqrt(gain / inputs) * jax.random.normal(key, (outputs, inputs), dtype=jnp.float32)
    return eqx.tree_at(lambda l: (l.weight, l.bias), layer, (weight, jnp.zeros(outputs, dtype=jnp.float32)))
