"""How an integrand in stages is computed: some points after the others, and only solutions in the second.

A step of proposals is compiled by itself. A loop takes a few slots at a time, as many times as are wanted:
what lies between steps stays in the cache. Solutions are packed before the second stage, which costs as much
as there are of them. Loops have bodies of one size: values of a slot do not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import gcd
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

# Points and solutions that are computed together, on a CPU: all that lies between steps fits its cache.
_POINTS, _SOLUTIONS = 1 << 11, 1 << 9


def in_one(
    f: Callable[[Any, Any], Any],
    steps: tuple[Callable, ...],
    shared: tuple[Any, Any],
    events: Any,
    x: Float[Array | np.ndarray, "slots points d"],
    used: Array,
) -> tuple[Float[Array, "slots points _"], ...]:
    """Both stages of the slots that are used, 0 in the others.

    **Arguments:** `shared`, what steps and `f` know.
    """

    def solved(always: Array, here: Any, points: Array) -> tuple[Array, ...]:
        parcel, valid = _by_steps(steps, shared[0], always, here, points)
        rows, count = _packed(valid.ravel())
        return completed(f, shared[1], parcel, rows, count, valid.shape)

    return _by_slots(solved, events, x, used)


def proposals(
    steps: tuple[Callable, ...],
    shared: Any,
    events: Any,
    x: Float[Array | np.ndarray, "slots points d"],
    used: Array,
) -> tuple[Any, Array]:
    """The first stage alone."""
    return _by_slots(partial(_by_steps, steps, shared), events, x, used)


@partial(jax.jit, static_argnames=("step",))
def proposed(
    step: Callable, shared: Any, events: Any, x: Float[Array | np.ndarray, "slots points d"], before: Any
) -> Any:
    """One step."""
    return jax.vmap(jax.vmap(partial(step, shared), in_axes=(None, 0, 0)))(events, x, before)


def completed(
    f: Callable[[Any, Any], Any],
    shared: Any,
    parcel: Any,
    rows: Int[Array, "branches"],
    count: Array,
    shape: tuple[int, int, int],
) -> tuple[Float[Array, "slots points _"], ...]:
    """The second stage at the first so many of some branches, added up to their points.

    **Arguments:** `rows`, the branches, counted through all points; `shape`, `[slots, points, branches]`.
    """
    slots, points, branches = shape
    # a quarter of a call's points, where the cache is no measure
    some = gcd(len(rows), _SOLUTIONS if _on_cpu() else -(-slots * points // 4))
    of_branches = jax.jit(partial(_of_branches, f))  # traced once

    def added(i: Array, totals: tuple[Array, ...]) -> tuple[Array, ...]:
        here, always = lax.dynamic_slice_in_dim(rows, i * some, some), i * some < count
        # gathered by itself: XLA would look each number up again wherever the second stage uses it
        gathered = _by_itself(_gathered, always, parcel, here)
        parts = _by_itself(of_branches, always, shared, gathered)
        # what fills up belongs to no point, and is dropped
        at = jnp.where(i * some + jnp.arange(some) < count, here // branches, slots * points)
        return tuple(total.at[at].add(part, mode="drop") for total, part in zip(totals, parts, strict=True))

    one = jax.eval_shape(lambda: of_branches(shared, _gathered(parcel, rows[:some])))
    none = tuple(jnp.zeros((slots * points, *part.shape[1:]), part.dtype) for part in one)
    totals = lax.fori_loop(0, -(-count // some), added, none)
    return tuple(total.reshape(slots, points, -1) for total in totals)


def parts_of(values: Any) -> tuple[Array, ...]:
    """An integrand's values as a tuple of vectors."""
    return tuple(map(jnp.atleast_1d, values if isinstance(values, tuple) else (values,)))


def _by_slots(
    function: Callable[..., Any], events: Any, x: Float[Array | np.ndarray, "slots points d"], used: Array
) -> Any:
    """A function (always, events, x) of some slots, as many times as it takes; 0 in slots not used.

    `always` is true and unknown to XLA.
    """
    some = gcd(x.shape[0], max(1, _POINTS // x.shape[1])) if _on_cpu() else x.shape[0]
    function = jax.jit(function)  # traced once

    def of_some(first: Array) -> Any:
        here, points = jax.tree.map(lambda leaf: lax.dynamic_slice_in_dim(leaf, first, some), (events, x))
        return function(first < used, here, points)

    def filled(i: Array, every: Any) -> Any:
        return jax.tree.map(
            lambda old, new: lax.dynamic_update_slice_in_dim(old, new, i * some, 0), every, of_some(i * some)
        )

    none = jax.tree.map(
        lambda leaf: jnp.zeros((x.shape[0], *leaf.shape[1:]), leaf.dtype), jax.eval_shape(of_some, 0)
    )
    return lax.fori_loop(0, -(-used // some), filled, none)


def _packed(chosen: Bool[Array, "n"]) -> tuple[Int[Array, "n"], Array]:
    """The numbers of those that are chosen, in their order, then zeros; and how many they are."""
    upto = jnp.cumsum(chosen, dtype=np.int32)
    number = jnp.arange(chosen.size, dtype=np.int32)
    place = jnp.where(chosen, upto - 1, chosen.size)
    return jnp.zeros_like(number).at[place].set(number, mode="drop"), upto[-1]


def _by_steps(
    steps: tuple[Callable, ...],
    shared: Any,
    always: Array,
    events: Any,
    x: Float[Array, "slots points d"],
) -> Any:
    """One step after the other."""
    before: Any = None
    for step in steps:
        before = _by_itself(partial(proposed, step), always, shared, events, x, before)
    return before


def _by_itself(function: Callable[..., Any], always: Array, *given: Any) -> Any:
    """What a function returns, compiled by itself: XLA fuses what a point needs once into loops that use it
    many times, but not across a conditional.

    **Arguments:** `always`, what is true and unknown to XLA.
    """
    shape = jax.eval_shape(function, *given)

    def nothing(_: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)

    return lax.cond(always, lambda given: function(*given), nothing, given)


def _gathered(parcel: Any, rows: Int[Array, "branches"]) -> Any:
    """Some of the branches; what they have in common has one instead of all."""
    branches = max(leaf.shape[2] for leaf in jax.tree.leaves(parcel))
    of_point = rows // branches
    return jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[3:])[rows if leaf.shape[2] == branches else of_point],
        parcel,
    )


def _of_branches(f: Callable[[Any, Any], Any], shared: Any, parcel: Any) -> tuple[Array, ...]:
    return jax.vmap(lambda one: parts_of(f(shared, one)))(parcel)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"
