"""How the members of an ensemble learn side by side.

On a CPU each member is a thread of its own: a core that multiplies small matrices for one network is faster
than several that share them. On a GPU one call does all members. Of several devices each has members of its
own; where there are fewer members than devices, each has a part of the rows of every batch, and gradients
are summed over them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree

from deepmem.devices import available_cores, devices
from deepmem.surrogate.network import Network
from deepmem.surrogate.preparation import Prepared

FAR = 1.5
"""ln(w_label / w_predicted) from which the deviance is linear."""


class State(NamedTuple):
    """What a step changes; in `Training` with a leading axis of members."""

    network: PyTree
    optimiser: PyTree


def loss_sums(
    network: Network,
    features: Float[Array, "n f"],
    target: Float[Array, "n k"],
    importance: Float[Array, "n k"],
    scale: Float[Array, " k"] | None = None,
) -> tuple[Array, Array]:
    """Σ importance (prediction − target)², and Σ importance; with a `scale`, which turns differences into
    natural logarithms of weights, the deviance in place of the square."""
    return sums_of(jax.vmap(network)(features) - target, importance, scale)


def sums_of(residual: Array, importance: Array, scale: Array | None) -> tuple[Array, Array]:
    """`loss_sums` of differences."""
    loss = residual**2 if scale is None else 2 * _deviance(residual * scale) / scale**2
    return jnp.sum(importance * loss), jnp.sum(importance)


def _deviance(u: Array) -> Array:
    """e^u − u − 1, continued linearly where a label is more than 4.5 times too high."""
    near = jnp.minimum(u, FAR)
    return jnp.expm1(near) - near + np.expm1(FAR) * (u - near)


def _mean_loss(network: Network, *batch: Array | None) -> tuple[Array, tuple[Array, Array]]:
    squares, importance = loss_sums(network, *batch)  # type: ignore[arg-type]
    return squares / jnp.maximum(importance, jnp.finfo(jnp.float32).tiny), (squares, importance)


@eqx.filter_jit
def run_steps(
    state: State,
    optimiser: optax.GradientTransformation,
    data: Prepared,
    order: Int[ArrayLike, "steps batch"],
    present: Bool[ArrayLike, "steps batch"],
    rates: Float[ArrayLike, " steps"],
    scale: Float[Array, " k"] | None = None,
) -> tuple[State, Float[Array, " 2"]]:
    """One optimiser step of one member per row of `order`, multiplied by its rate; returns the new state and
    the sums of the loss over all of them."""
    arrays, static = eqx.partition(state.network, eqx.is_inexact_array)

    def step(carry: tuple, batch: tuple) -> tuple[tuple, Array]:
        arrays, moments = carry
        rows, there, rate = batch
        importance = data.importance[rows] * there[:, None]
        gradient, sums = jax.grad(
            lambda a: _mean_loss(
                eqx.combine(a, static), data.features[rows], data.target[rows], importance, scale
            ),
            has_aux=True,
        )(arrays)
        updates, moments = optimiser.update(gradient, moments, arrays)
        updates = jax.tree.map(lambda update: rate * update, updates)
        return (eqx.apply_updates(arrays, updates), moments), jnp.stack(sums)

    (arrays, moments), sums = jax.lax.scan(step, (arrays, state.optimiser), (order, present, rates))
    return State(eqx.combine(arrays, static), moments), sums.sum(axis=0)


_together = eqx.filter_jit(
    eqx.filter_vmap(run_steps, in_axes=(eqx.if_array(0), None, None, 0, 0, None, None))
)


class Steps(NamedTuple):
    """Rows to learn from, the order in which each member takes them, and the rate of each step."""

    data: Prepared
    order: Int[np.ndarray, "members steps batch"]
    present: Bool[np.ndarray, "members steps batch"]
    rates: Float[np.ndarray, " steps"]
    scale: Float[Array, " k"] | None = None


def run_members(
    state: State, optimiser: optax.GradientTransformation, steps: Steps, compiled: bool = False
) -> tuple[State, Float[np.ndarray, "members 2"]]:
    """`run_steps` for each member, whose states are stacked; see the module.

    Before it is `compiled` members take turns, for each thread would compile it for itself.
    """
    there, members = devices(), len(steps.order)
    if len(there) > members:
        return _by_rows(state, optimiser, steps, there)
    if there[0].platform != "cpu" and len(there) == 1:
        state, sums = _together(state, optimiser, *steps)
        return state, np.asarray(sums)
    return _by_members(state, optimiser, steps, there, compiled)


def _by_members(
    state: State,
    optimiser: optax.GradientTransformation,
    steps: Steps,
    there: tuple[Any, ...],
    compiled: bool,
) -> tuple[State, np.ndarray]:
    """Member k in a thread of its own, on device k modulo their number."""
    arrays, static = eqx.partition(state, eqx.is_array)
    spread = len(there) > 1
    data, scale = steps.data, steps.scale
    copies = [jax.device_put((data, scale), each) for each in there] if spread else [(data, scale)]

    def one(member: int) -> tuple[Any, np.ndarray]:
        device = there[member % len(there)]
        data, scale = copies[member % len(there)]
        # the settings of JAX belong to a thread
        with jax.default_device(device), jax.enable_x64(False):
            own = _of_member(arrays, member)
            own = eqx.combine(jax.device_put(own, device) if spread else own, static)
            batches = steps.order[member], steps.present[member]
            own, sums = run_steps(own, optimiser, data, *batches, steps.rates, scale)
            own = eqx.filter(own, eqx.is_array)
            return jax.device_put(own, there[0]) if spread else own, np.asarray(sums)

    threads = max(available_cores(), len(there)) if compiled else 1
    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(one, range(len(steps.order))))
    return eqx.combine(_stacked([each for each, _ in done]), static), np.stack([sums for _, sums in done])


def _by_rows(
    state: State, optimiser: optax.GradientTransformation, steps: Steps, there: tuple[Any, ...]
) -> tuple[State, np.ndarray]:
    """All members on all devices, which share the rows of a batch."""
    batch = steps.order.shape[2]
    sharing = max(n for n in range(1, len(there) + 1) if batch % n == 0)
    mesh = Mesh(np.array(there[:sharing]), ("rows",))
    everywhere = NamedSharding(mesh, PartitionSpec())
    by_rows = NamedSharding(mesh, PartitionSpec(None, None, "rows"))
    arrays, static = eqx.partition(state, eqx.is_array)
    whole = eqx.combine(jax.device_put(arrays, everywhere), static)
    data, rates, scale = jax.device_put((steps.data, steps.rates, steps.scale), everywhere)
    order, present = jax.device_put((steps.order, steps.present), by_rows)
    state, sums = _together(whole, optimiser, data, order, present, rates, scale)
    arrays, static = eqx.partition(state, eqx.is_array)
    return eqx.combine(jax.device_put(arrays, there[0]), static), np.asarray(sums)


@jax.jit
def _of_member(arrays: PyTree, member: Int[ArrayLike, ""]) -> PyTree:
    """That of a member. Compiled, as `_stacked` is: one program in place of one for each shape."""
    return jax.tree.map(lambda array: array[member], arrays)


@jax.jit
def _stacked(members: list[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
