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
from functools import cache
from typing import Any, Literal, TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Float

from deepmem.physics.integrals import stages


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
    """Whether the second stage has thousands of operations, see `_compiled`."""
    plain: bool = False
    """Whether steps are loops over points that XLA's newer emitters make no faster, see there."""
    apart: Callable[[Any], tuple[Any, Any]] = _to_both


Integrand: TypeAlias = (
    Staged
    | Callable[[Any, Any, Float[Array, "dimensions"]], Float[Array, "..."] | tuple[Float[Array, "..."], ...]]
)

Way: TypeAlias = Literal["usual", "plain", "large"]
"""In which of XLA's ways code is compiled, see `_compiled`."""

_OPTIONS: dict[Way, dict[str, str | bool] | None] = {
    "usual": None,
    "plain": {"xla_cpu_use_fusion_emitters": False},
    "large": {"xla_cpu_use_fusion_emitters": False, "xla_cpu_prefer_vector_width": "512"},
}


def values(
    f: Integrand,
    shared: Any,
    events: Any,
    x: Float[Array | np.ndarray, "slots points d"],
    used: int | None = None,
) -> tuple[Float[Array, "slots points _"], ...]:
    """The integrand's values, part by part; where only so many slots are `used`, any value in the others."""
    if not isinstance(f, Staged):
        way: Way = "large" if getattr(f, "large", False) else "usual"
        return _compiled(_at_every_point, way, ("f",))(f, shared, events, x)
    used = x.shape[0] if used is None else used
    if not f.large:
        in_one = _compiled(stages.in_one, "plain" if f.plain else "usual", _IN_ONE)
        return in_one(f.complete, f.propose, f.apart(shared), events, x, used)
    parcel, valid = proposals(f, shared, events, x, used)
    where = np.flatnonzero(np.asarray(valid))
    rows = np.zeros(valid.size, dtype=np.int32)
    rows[: len(where)] = where
    _, known = f.apart(shared)
    completed = _compiled(stages.completed, "large", _COMPLETED)
    return completed(f.complete, known, parcel, rows, len(where), valid.shape)


def proposals(
    f: Staged,
    shared: Any,
    events: Any,
    x: Float[Array | np.ndarray, "slots points d"],
    used: int | None = None,
) -> tuple[Any, Array]:
    """The first stage: parcels, with axes `[slots, points, branches or 1]`, and which branches count: none
    of the slots that are not `used`.
    """
    known, _ = f.apart(shared)
    compiled = _compiled(stages.proposals, "plain" if f.plain else "usual", _PROPOSALS)
    return compiled(f.propose, known, events, x, x.shape[0] if used is None else used)


def compilations() -> int:
    """How many pieces of integrands this process keeps compiled code of."""
    functions = {
        _at_every_point: ("f",),
        stages.in_one: _IN_ONE,
        stages.proposals: _PROPOSALS,
        stages.completed: _COMPLETED,
    }
    pieces = [_compiled(each, way, static) for each, static in functions.items() for way in _OPTIONS]
    return sum(piece._cache_size() for piece in pieces)


_IN_ONE, _PROPOSALS, _COMPLETED = ("f", "steps"), ("steps",), ("f", "shape")


@cache
def _compiled(function: Callable[..., Any], way: Way, static: tuple[str, ...]) -> Any:
    """A function, compiled in one of XLA's ways for each of its `static` arguments.

    XLA's newer emitters cut a large kernel into functions that are not inlined: some minutes of compiling,
    and up to a hundred times slower. They take twice the time for many small ones, each of which costs them
    a context of its own; and make loops over nodes that a point has faster. Vectors of 512 bits, where the
    processor has them, make large ones up to twice as fast.
    """
    options = _OPTIONS[way] if jax.default_backend() == "cpu" else None
    return jax.jit(function, static_argnames=static, compiler_options=options)


def _at_every_point(
    f: Callable[..., Any], shared: Any, events: Any, x: Float[Array, "slots points d"]
) -> tuple[Float[Array, "slots points _"], ...]:
    """Compiled by itself, and parts are joined outside: XLA would fuse an integrand into the joining, and
    compute all of it for each part, four times slower.
    """

    def one(event: Any, point: Array) -> tuple[Array, ...]:
        return stages.parts_of(f(shared, event, point))

    return jax.vmap(jax.vmap(one, in_axes=(None, 0)))(events, x)
