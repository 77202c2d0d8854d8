"""What an integrand is, and its values at many points.

An integrand is a JAX function `f(shared, event, x) → values`, for one event and one point: `shared` is a
pytree that all events have in common (tables, parameters), `event` a pytree of one event's numbers, `x` a
point of (0, 1)^d, and `values` a number, a vector of them or a tuple of either, integrated over the same
points. `f` must be a hashable object that lives on, a function of a module rather than a lambda made anew:
compiled code is kept by its identity. What changes between calls belongs to `shared`, which never recompiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def _to_both(shared: Any) -> tuple[Any, Any]:
    return shared, shared


@dataclass(frozen=True, eq=False)
class Staged:
    """An integrand in two stages, Σ_branches complete(shared, parcel), for valid branches alone.

    What is cheap is computed at every point, what is expensive at the points that count, which are gathered
    before: a point without a solution costs no more than finding that out.

    - `propose`: steps (shared, event, x, what the step before returned) ↦ what the next one needs; the last
      returns (parcel, valid): a pytree of arrays `[branches, ...]`, the solutions of a point, or `[1, ...]`,
      what they have in common; and which of them count, `[branches]`. Each is compiled by itself, for XLA
      fuses what a point needs once into loops that use it many times.
    - `complete(shared, parcel)` ↦ values, as an integrand's, of one branch.
    - `apart(shared)` ↦ what of it the steps need, and what `complete` does.

    Steps and `complete` are compiled each for itself: integrands that have one in common share its code.
    """

    propose: tuple[Callable[[Any, Any, Float[Array, "dimensions"], Any], Any], ...]
    complete: Callable[[Any, Any], Float[Array, "..."] | tuple[Float[Array, "..."], ...]]
    large: bool = False
    """Whether the second stage has thousands of operations, see `_for_size`."""
    apart: Callable[[Any], tuple[Any, Any]] = _to_both


Integrand: TypeAlias = (
    Staged
    | Callable[[Any, Any, Float[Array, "dimensions"]], Float[Array, "..."] | tuple[Float[Array, "..."], ...]]
)

# Solutions are gathered for a quarter of a compiled call's points at a time, so that the expensive stage is
# compiled once; where they fill this part of a call, its quarters are added up together.
_FILLED, _GATHERED = 0.8, 4
_LARGE: dict[str, str | bool] = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_prefer_vector_width": "512",
}


def values(
    f: Integrand, shared: Any, events: Any, x: Float[Array | np.ndarray, "slots points d"]
) -> tuple[Float[Array, "slots points _"], ...]:
    """The integrand's values, part by part."""
    if not isinstance(f, Staged):
        return _for_size(_at_every_point, getattr(f, "large", False))(f, shared, events, x)
    parcel, valid = proposals(f, shared, events, x)
    where = np.flatnonzero(np.asarray(valid))
    _, known = f.apart(shared)
    most = x.shape[0] * x.shape[1]
    quarter = -(-most // _GATHERED)
    total: tuple[Array, ...] = ()
    first = 0
    while first == 0 or first < len(where):
        size = most if len(where) - first > _FILLED * most else quarter
        rows = where[first : first + size]
        padded = np.zeros(size, dtype=np.int32)
        padded[: len(rows)] = rows
        completed = _for_size(_completed, f.large)
        pieces = [
            completed(f.complete, known, _gathered(parcel, padded[k : k + quarter]))
            for k in range(0, size, quarter)
        ]
        # padding belongs to no point, and is dropped
        points = np.where(np.arange(size) < len(rows), padded // valid.shape[2], most)
        # scattered outside, see `_at_every_point`
        parts = _scattered(pieces, points, x.shape[:2])
        total = tuple(a + b for a, b in zip(total, parts, strict=True)) if total else parts
        first += size
    return total


def proposals(
    f: Staged, shared: Any, events: Any, x: Float[Array | np.ndarray, "slots points d"]
) -> tuple[Any, Array]:
    """The first stage: parcels, with axes `[slots, points, branches or 1]`, and which branches count."""
    before: Any = None
    known, _ = f.apart(shared)
    for step in f.propose:
        before = _proposed(step, known, events, x, before)
    return before


def compilations() -> int:
    """How many pieces of integrands this process keeps compiled code of."""
    sizes = [_for_size(piece, large) for piece in (_at_every_point, _completed) for large in (False, True)]
    pieces: list[Any] = [_proposed, *sizes]
    return sum(piece._cache_size() for piece in pieces)


def _parts(values: Any) -> tuple[Array, ...]:
    return tuple(map(jnp.atleast_1d, values if isinstance(values, tuple) else (values,)))


@cache
def _for_size(function: Callable[..., Any], large: bool) -> Any:
    """A function (f, …), compiled for each f.

    XLA's newer emitters cut a large kernel into functions that are not inlined: some minutes of compiling,
    and up to a hundred times slower. Small ones are faster with them. Vectors of 512 bits, where the
    processor has them, make large ones up to twice as fast.
    """
    options = _LARGE if large and jax.default_backend() == "cpu" else None
    return jax.jit(function, static_argnames=("f",), compiler_options=options)


def _at_every_point(
    f: Callable[..., Any], shared: Any, events: Any, x: Float[Array, "slots points d"]
) -> tuple[Float[Array, "slots points _"], ...]:
    """Compiled by itself, and parts are joined outside: XLA would fuse an integrand into the joining, and
    compute all of it for each part, four times slower.
    """

    def one(event: Any, point: Array) -> tuple[Array, ...]:
        return _parts(f(shared, event, point))

    return jax.vmap(jax.vmap(one, in_axes=(None, 0)))(events, x)


@partial(jax.jit, static_argnames=("step",))
def _proposed(
    step: Callable, shared: Any, events: Any, x: Float[Array | np.ndarray, "slots points d"], before: Any
) -> Any:
    return jax.vmap(jax.vmap(partial(step, shared), in_axes=(None, 0, 0)))(events, x, before)


@jax.jit
def _gathered(parcel: Any, rows: Array) -> Any:
    """Some of the branches, counted through all points; what they have in common has one instead of all.

    Compiled by itself: XLA would look each number up again wherever the second stage uses it, twice the time.
    """
    branches = max(leaf.shape[2] for leaf in jax.tree.leaves(parcel))
    of_point = rows // branches
    return jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[3:])[rows if leaf.shape[2] == branches else of_point],
        parcel,
    )


def _completed(f: Callable[[Any, Any], Any], shared: Any, parcel: Any) -> tuple[Array, ...]:
    """The second stage for gathered branches."""
    return jax.vmap(lambda one: _parts(f(shared, one)))(parcel)


@partial(jax.jit, static_argnames=("shape",))
def _scattered(pieces: list[tuple[Array, ...]], points: Array, shape: tuple[int, int]) -> tuple[Array, ...]:
    """Sums over the branches of each point, `[slots, points, values]`."""
    branches = (jnp.concatenate(parts) for parts in zip(*pieces, strict=True))
    sums = (jax.ops.segment_sum(part, points, shape[0] * shape[1]) for part in branches)
    return tuple(part.reshape(*shape, -1) for part in sums)
