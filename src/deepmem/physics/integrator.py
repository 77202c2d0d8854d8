"""Integrals over the unit cube, for many events at once; knows no physics.

An integrand is a JAX function `f(shared, event, x) → values`, for one event and one point: `shared` is a
pytree that all events have in common (tables, parameters), `event` a pytree of one event's numbers, `x` a
point of (0, 1)^d, and `values` a number, a vector of them or a tuple of either, integrated over the same
points. The first `steering` values decide when to stop; the others are carried along (a derivative, the
part of the integral that lies outside a table). `f` must be a hashable object that lives on, a function of
a module rather than a lambda made anew: the compiled code is kept by its identity. What changes between
calls belongs to `shared`, which never recompiles.

An integrand may come in two stages, as `Staged`: what is cheap, at every point, and what is expensive, at
the points that count. The latter are gathered before, so that a point without a solution costs no more than
finding that out.

Three rules, and what each is for:

- `evaluate`: no dimension, one evaluation.
- `quadrature`: products of Gauss–Legendre rules for smooth integrands in one to three dimensions. The error
  comes from three successive orders; it is an extrapolation, so a peak narrower than the nodes' spacing can
  be missed without notice. Use it where the integrand is known to be smooth.
- `lattice`: randomly shifted, tent-transformed rank-1 lattices, for everything else. The error is
  statistical, from independent shifts, whatever the integrand. Where it pays, an importance map is learned
  per event.

How the work is cut. A *slot* is 256 evaluations for one event: a block of a rule. All compiled code works
on a fixed number of slots, filled with whatever is due: many easy events, or one hard event. So there is one
compilation per integrand, hard events don't make easy ones wait, and the result for an event doesn't depend
on the others: not on their number, their order or their failures. 16k evaluations per call stay inside a
CPU's cache.

How errors are kept honest. (1) The spread of few shifts has a Student distribution: the quoted error is
widened so that ±1.96 of it covers 95 %. (2) Nothing stops before `minimum` evaluations. An integrand whose
peak fills a fraction p of the cube is seen with probability 1 − exp(−p·minimum), and nothing can be said
about what was never seen: narrow resonances must be mapped by whoever knows where they are. (3) The largest
single contribution, times an `allowance`, is part of the error, so a peak seen once doesn't count as
measured. (4) When an importance map is adopted, everything sampled before it is dropped: a mean weighted by
estimated errors is biased low for skewed integrands. (5) A point at which the integrand isn't finite counts
as zero, enlarges the error, and the event is never "good"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial, reduce
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import stdtrit

from deepmem.errors import UsageError
from deepmem.event import Status
from deepmem.physics.precision import double_precision


@dataclass(frozen=True, eq=False)
class Staged:
    """An integrand in two stages, Σ_branches complete(shared, parcel), for valid branches alone.

    - `propose`: steps (shared, event, x, what the step before returned) ↦ what the next one needs; the last
      returns (parcel, valid): a pytree of arrays `[branches, ...]`, the solutions of a point, or `[1, ...]`,
      what they have in common; and which of them count, `[branches]`. Each is compiled by itself, for XLA
      fuses what a point needs once into loops that use it many times.
    - `complete(shared, parcel)` ↦ values, as an integrand's, of one branch.
    """

    propose: tuple[Callable[[Any, Any, Float[Array, "dimensions"], Any], Any], ...]
    complete: Callable[[Any, Any], Float[Array, "..."] | tuple[Float[Array, "..."], ...]]


Integrand: TypeAlias = (
    Staged
    | Callable[[Any, Any, Float[Array, "dimensions"]], Float[Array, "..."] | tuple[Float[Array, "..."], ...]]
)

SLOT = 256
"""Evaluations per slot."""

# R. Cools, F. Y. Kuo, D. Nuyens, SIAM J. Sci. Comput. 28 (2006) 2162: the order-2 vector `exod2_base2_m20` of
# D. Nuyens' Magic Point Shop, first 20 of 250 components.
GENERATING_VECTOR = np.array(
    [
        1,
        182667,
        469891,
        498753,
        110745,
        446247,
        250185,
        118627,
        245333,
        283199,
        408519,
        391023,
        246327,
        126539,
        399185,
        461527,
        300343,
        69681,
        516695,
        436179,
    ],
    dtype=float,
)
"""Of an extensible lattice of up to 2²⁰ points."""

_LATTICE_POINTS = 1 << 20
_BINS = 32
# The expensive stage of an integrand takes as many solutions as a compiled call has points where they fill
# this part of it, else a quarter of that at a time.
_FILLED, _GATHERED = 0.8, 4
# Importance maps per event at most, and the factor in variance from which one is worth its evaluations.
_MAPS = 6
_WORTH_IT = 1.5
# The part of points that stays uniform under any map.
_FLOOR = 0.05


class Estimate(NamedTuple):
    """What came out, event by event.

    - `value`, `error`: float64 `[events, values]`; the error is one standard deviation, absolute.
    - `status`: int32 `[events]`, of `deepmem.event.Status`: GOOD; PRECISION (budget used up, or some points
      not finite); NO_SOLUTION (zero at every point); BAD_INPUT (finite at no point; the value is NaN).
    - `calls`: int64 `[events]`, evaluations spent.
    """

    value: np.ndarray
    error: np.ndarray
    status: np.ndarray
    calls: np.ndarray


def evaluate(f: Integrand, shared: Any, events: Any, *, evaluations: int | None = None) -> Estimate:
    """Evaluate an integrand of no dimension, once per event: the value, with error 0.

    **Arguments:** as for `lattice`.
    """
    count = _count(events)
    with double_precision():
        shared = jax.device_put(shared)
        size = min(_evaluations(evaluations), 1 << (max(count, SLOT) - 1).bit_length())
        parts = [
            np.asarray(_evaluate(f, shared, _rows(events, rows)))[:used]
            for rows, used in _batches(np.arange(count), size)
        ]
    if not parts:
        return _nothing()
    value = np.concatenate(parts)
    bad = ~np.isfinite(value).all(axis=1)
    status = np.where(
        bad, Status.BAD_INPUT, np.where((value == 0).all(axis=1), Status.NO_SOLUTION, Status.GOOD)
    )
    value = np.where(bad[:, None], np.nan, value)
    return Estimate(value, value * 0, status.astype(np.int32), np.ones(count, dtype=np.int64))


def quadrature(
    f: Integrand,
    shared: Any,
    events: Any,
    dimensions: int,
    *,
    precision: float = 1e-4,
    calls: int = 1 << 16,
    steering: int | None = None,
    evaluations: int | None = None,
) -> Estimate:
    """Integrate by products of Gauss–Legendre rules of growing order, for smooth integrands.

    With I₁, I₂, I₃ of three successive orders, the quoted error of I₃ is max(|I₃ − I₂|, |I₂ − I₁|/4): the
    error of the rule before, and no less than what it would be if the next order improved by 4 alone, so that
    a chance agreement isn't taken for convergence. Extrapolating further understates the error of integrands
    with poles near the cube in a fifth of the cases.

    **Arguments:** `dimensions`: 1, 2 or 3; `precision`: relative, at which an event stops; `calls`:
    evaluations per event at most; the rest as for `lattice`.
    """
    if not 1 <= dimensions <= 3:
        raise UsageError(f"quadrature is for 1 to 3 dimensions, not {dimensions}: use lattice")
    _check(precision, calls)
    ladder = _ladder(dimensions)
    count = _count(events)
    if not count:
        return _nothing()
    orders: list[np.ndarray] = []
    tally: _Tally | None = None
    value = error = np.zeros(0)
    active = np.arange(count)
    with double_precision():
        shared = jax.device_put(shared)
        slots = _evaluations(evaluations) // SLOT
        table = jnp.asarray(ladder.points), jnp.asarray(ladder.weights)
        for level, (first, last) in enumerate(ladder.blocks):
            if level and last * SLOT > calls:
                break
            tasks = np.repeat(active, last - first), np.tile(np.arange(first, last), len(active))
            integrals: np.ndarray | None = None
            for rows, used in _batches(np.arange(len(tasks[0])), slots):
                event, block = tasks[0][rows], tasks[1][rows]
                out = _quadrature_slots(f, shared, _rows(events, event), table[0][block], table[1][block])
                sums, largest, bad = (np.asarray(part)[:used] for part in out)
                if tally is None:
                    tally = _Tally(count, sums.shape[2])
                if integrals is None:
                    integrals = np.zeros((count, *sums.shape[1:]))
                np.add.at(integrals, event[:used], sums)
                tally.add(event[:used], largest, bad, ladder.nodes[block[:used]])
            assert tally is not None
            assert integrals is not None
            if level == 0:
                orders = [integrals[:, rule] for rule in range(3)]
                value, error = orders[2].copy(), np.zeros_like(orders[2])
            else:
                orders = [*orders[1:], integrals[:, 0]]
            error[active] = _quoted_error(*(order[active] for order in orders))
            value[active] = orders[2][active]
            active = active[~tally.finished(value, error, active, precision, steering, empty=True)]
            if not len(active):
                break
    assert tally is not None
    return tally.estimate(value, error, precision, steering)


def lattice(
    f: Integrand,
    shared: Any,
    events: Any,
    dimensions: int,
    *,
    precision: float = 0.01,
    calls: int = 1 << 19,
    minimum: int | np.ndarray = 1 << 12,
    seed: int = 0,
    indices: np.ndarray | None = None,
    adapt: bool = True,
    shifts: int = 16,
    allowance: float = 2.0,
    steering: int | None = None,
    together: int = 1,
    evaluations: int | None = None,
) -> Estimate:
    """Integrate by randomly shifted lattice rules, until each event reaches its precision or its budget.

    x_i = tent(frac(φ₂(i) z + Δ)), φ₂ the radical inverse, z the generating vector, Δ one of `shifts` random
    shifts, tent(u) = 1 − |2u − 1| (F. J. Hickernell, in *Monte Carlo and Quasi-Monte Carlo Methods 2000*, p.
    274: it makes the rule converge as if the integrand were periodic). The number of points doubles until the
    error is small enough.

    **Arguments:**

    - `f`: the integrand, see above; `shared`: its first argument; `events`: a pytree of arrays `[events,
      ...]`; `dimensions`: of the cube, up to 20;
    - `precision`: relative error of the steering values at which an event stops;
    - `calls`: evaluations per event at most, dropped ones included; `minimum`: before it may stop, of all
      events or of each;
    - `seed` and `indices` (int `[events]`, the events' numbers in their file; 0, 1, … if not given) fix
      the shifts: an event's points don't depend on what it is computed with;
    - `adapt`: learn an importance map where it is worth it;
    - `shifts`: independent estimates, a power of two from 4 to 64;
    - `allowance`: how many times the largest single contribution the error allows for, beside the spread of
      the shifts. With 1, coverage of discontinuous integrands and of unmapped resonances is a per cent short;
    - `steering`: how many of the values decide when to stop (all if not given);
    - `together`: so many consecutive events are contributions to one number (1 or 2): they stop when their
      sum is precise, share the budget, and one that contributes little to the error stops before;
    - `evaluations`: per compiled call; 2¹⁴ on a CPU and 2²⁰ elsewhere if not given.

    **Raises** `UsageError` for arguments out of range.
    """
    if not 1 <= dimensions <= len(GENERATING_VECTOR):
        raise UsageError(f"lattice is for 1 to {len(GENERATING_VECTOR)} dimensions, not {dimensions}")
    if shifts not in (4, 8, 16, 32, 64):
        raise UsageError(f"the number of shifts is a power of two from 4 to 64, not {shifts}")
    _check(precision, calls)
    count = _count(events)
    if not count:
        return _nothing()
    numbers = np.arange(count) if indices is None else np.asarray(indices)
    if together not in (1, 2) or count % together:
        raise UsageError(f"contributions come alone or in pairs, got {count} events by {together}")
    if numbers.shape != (count,):
        raise UsageError(f"indices must have one entry per event, {count}, and has the shape {numbers.shape}")
    # Windows bound the memory that learning takes; nothing depends on them.
    window = 1 << 12
    parts = [
        _lattice_window(
            f,
            shared,
            jax.tree.map(lambda leaf, a=first: np.asarray(leaf)[a : a + window], events),
            numbers[first : first + window],
            dimensions,
            precision,
            calls,
            np.broadcast_to(minimum, count)[first : first + window],
            seed,
            adapt,
            shifts,
            allowance,
            steering,
            together,
            evaluations,
        )
        for first in range(0, count, window)
    ]
    return Estimate(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _lattice_window(
    f: Integrand,
    shared: Any,
    events: Any,
    numbers: np.ndarray,
    dimensions: int,
    precision: float,
    calls: int,
    minimum: np.ndarray,
    seed: int,
    adapt: bool,
    shifts: int,
    allowance: float,
    steering: int | None,
    together: int,
    evaluations: int | None,
) -> Estimate:
    count = len(numbers)
    block_points = SLOT // shifts
    z = GENERATING_VECTOR[:dimensions]
    # powers of two
    first_blocks = 1 << np.ceil(np.log2(np.maximum(np.minimum(minimum, calls) / SLOT, 1))).astype(np.int64)
    first_blocks = np.where(first_blocks * SLOT > calls, np.maximum(1, first_blocks // 2), first_blocks)

    shift = _random_shifts(seed, numbers, 0, shifts, dimensions)
    grid = np.tile(_IDENTITY, (count, dimensions, 1, 1))
    sums: np.ndarray | None = None
    moments: np.ndarray | None = None
    tally: _Tally | None = None
    value = error = np.zeros(0)
    done_blocks = np.zeros(count, dtype=np.int64)  # of the current map
    stage = np.zeros(count, dtype=np.int64)  # maps adopted so far
    learning = np.full(count, adapt)
    active = open_ = np.arange(count)
    with double_precision():
        shared = jax.device_put(shared)
        slots = _evaluations(evaluations) // SLOT
        while len(active):
            target = np.where(done_blocks[active] == 0, first_blocks[active], 2 * done_blocks[active])
            more = target - done_blocks[active]
            event_of = np.repeat(active, more)
            starts = np.repeat(done_blocks[active] - np.r_[0, np.cumsum(more)[:-1]], more)
            block_of = starts + np.arange(len(event_of))
            offset_of = _radical_inverse(block_of) / block_points
            for rows, used in _batches(np.arange(len(event_of)), slots):
                event = event_of[rows]
                where: tuple[Any, Any, Any] = shift[event], offset_of[rows], z
                learned = stage[event] > 0
                maps = (grid[event], learned) if learned.any() else None
                values, *out = _lattice_slots(f, shared, _rows(events, event), maps, *where)
                batch_sums, largest, bad = (np.asarray(part)[:used] for part in out)
                if sums is None or tally is None or moments is None:
                    outputs = batch_sums.shape[2]
                    tally = _Tally(count, outputs, allowance)
                    sums = np.zeros((count, shifts, outputs))
                    moments = np.zeros((count, dimensions, _BINS, min(outputs, steering or outputs)))
                    value = np.zeros((count, outputs))
                    error = np.zeros((count, outputs))
                event = event[:used]
                np.add.at(sums, event, batch_sums)
                tally.add(event, largest, bad, SLOT)
                if learning[event].any():
                    squares = _second_moments(values[..., :steering], *where)
                    np.add.at(moments, event, np.asarray(squares)[:used])
            assert tally is not None
            assert sums is not None
            assert moments is not None
            done_blocks[active] = target
            per_shift = (target * block_points)[:, None]
            means = sums[active] / per_shift[:, :, None]
            value[active] = means.mean(axis=1)
            spread = means.std(axis=1, ddof=1) / np.sqrt(shifts) * _student(shifts - 1)
            error[active] = np.hypot(spread, tally.unseen(active, per_shift * shifts))

            # Zero so far isn't zero: look four times longer before giving up.
            empty = done_blocks[open_] >= 4 * first_blocks[open_]
            finished = tally.finished(value, error, open_, precision, steering, empty, together)
            active = open_[~finished]

            # a map costs what was sampled before it: not worth it where four times as much would do anyway
            of_group = np.abs(value.reshape(count // together, together, -1).sum(axis=1)).repeat(
                together, axis=0
            )
            distant = (error[active] > 2 * precision * of_group[active])[:, :steering].any(axis=1)
            spent = tally.calls.reshape(-1, together).sum(axis=1).repeat(together)
            sharing = np.bincount(active // together, minlength=count // together).repeat(together)
            left = (calls - spent) // np.maximum(sharing, 1)
            may_learn = learning[active] & distant & (left[active] >= first_blocks[active] * SLOT)
            candidates = active[may_learn]
            new_grid, gain = _refine(
                grid[candidates],
                moments[candidates],
                sums[candidates][..., : moments.shape[-1]],
                done_blocks[candidates] * SLOT,
            )
            adopted = candidates[gain > _WORTH_IT]
            grid[adopted] = new_grid[gain > _WORTH_IT]
            stage[adopted] += 1
            learning[adopted] = stage[adopted] < _MAPS
            shift[adopted] = _random_shifts(seed, numbers[adopted], stage[adopted], shifts, dimensions)
            sums[adopted], moments[adopted], done_blocks[adopted] = 0, 0, 0
            tally.forget(adopted)

            next_blocks = np.maximum(done_blocks[active], first_blocks[active])
            affordable = next_blocks * SLOT <= left[active]
            affordable &= (done_blocks[active] + next_blocks) * block_points <= _LATTICE_POINTS
            # one of several contributions may have to go on when another one has grown smaller
            waiting = open_[finished] if together > 1 else open_[:0]
            active = active[affordable]
            open_ = np.sort(np.r_[active, waiting])
    assert tally is not None
    return tally.estimate(value, error, precision, steering)


class _Tally:
    """What is known about each event beside its sums: evaluations, failures, the largest value."""

    def __init__(self, count: int, outputs: int, allowance: float = 0.0) -> None:
        self._allowance = allowance
        self.calls = np.zeros(count, dtype=np.int64)
        self.current = np.zeros(count, dtype=np.int64)
        self.bad = np.zeros(count, dtype=np.int64)
        self.ever_bad = np.zeros(count, dtype=np.int64)
        self.largest = np.zeros((count, outputs))

    def add(self, event: np.ndarray, largest: np.ndarray, bad: np.ndarray, calls: int | np.ndarray) -> None:
        np.add.at(self.calls, event, calls)
        np.add.at(self.current, event, calls)
        np.add.at(self.bad, event, bad)
        np.add.at(self.ever_bad, event, bad)
        np.maximum.at(self.largest, event, largest)

    def forget(self, event: np.ndarray) -> None:
        """Start anew under another map; what was spent and what failed stays on record."""
        self.current[event] = 0
        self.bad[event] = 0
        self.largest[event] = 0

    def unseen(self, event: np.ndarray, points: np.ndarray) -> np.ndarray:
        """An allowance for what the spread can't show: more values like the largest, and failed points."""
        return self.largest[event] * (self._allowance + self.bad[event])[:, None] / points

    def finished(
        self,
        value: np.ndarray,
        error: np.ndarray,
        event: np.ndarray,
        precision: float,
        steering: int | None,
        empty: np.ndarray | bool,
        together: int = 1,
    ) -> np.ndarray:
        """Which events need no more points: precise, hopeless, or zero as often as `empty` asks for."""
        groups = len(value) // together
        wanted = precision * np.abs(value.reshape(groups, together, -1).sum(axis=1))
        of_group = np.sqrt((error**2).reshape(groups, together, -1).sum(axis=1))
        enough = of_group[event // together] <= wanted[event // together]
        if together > 1:
            # half of what is allowed to all is enough for one of them
            enough |= error[event] <= wanted[event // together] / 2
        precise = enough[:, :steering].all(axis=1)
        zero = (self.largest[event] == 0).all(axis=1)
        return (precise & ~zero) | (zero & empty) | (self.bad[event] == self.current[event])

    def estimate(
        self, value: np.ndarray, error: np.ndarray, precision: float, steering: int | None
    ) -> Estimate:
        precise = (error <= precision * np.abs(value))[:, :steering].all(axis=1)
        status = np.where(precise & (self.ever_bad == 0), Status.GOOD, Status.PRECISION)
        status = np.where((self.largest == 0).all(axis=1), Status.NO_SOLUTION, status)
        lost = self.bad == self.current
        status = np.where(lost, Status.BAD_INPUT, status)
        value, error = (np.where(lost[:, None], np.nan, array) for array in (value, error))
        return Estimate(value, error, status.astype(np.int32), self.calls)


# --- compiled
# ---------------------------------------------------------------------------------------------------


def _evaluate(f: Integrand, shared: Any, events: Any) -> Array:
    parts = values(f, shared, events, jnp.zeros((jax.tree.leaves(events)[0].shape[0], 1, 0)))
    return jnp.concatenate(parts, axis=-1)[:, 0]


def _parts(values: Any) -> tuple[Array, ...]:
    return tuple(map(jnp.atleast_1d, values if isinstance(values, tuple) else (values,)))


def values(
    f: Integrand, shared: Any, events: Any, x: Float[Array | np.ndarray, "slots points d"]
) -> tuple[Float[Array, "slots points _"], ...]:
    """The integrand's values, part by part."""
    if not isinstance(f, Staged):
        return _at_every_point(f, shared, events, x)
    parcel, valid = proposals(f, shared, events, x)
    where = np.flatnonzero(np.asarray(valid))
    most = x.shape[0] * x.shape[1]
    total: tuple[Array, ...] = ()
    first = 0
    while first == 0 or first < len(where):
        # fewer calls where solutions are many, little padding where they are few
        size = most if len(where) - first > _FILLED * most else -(-most // _GATHERED)
        rows = where[first : first + size]
        padded = np.zeros(size, dtype=np.int32)
        padded[: len(rows)] = rows
        found = _completed(f, shared, _gathered(parcel, padded))
        # padding belongs to no point, and is dropped
        points = np.where(np.arange(size) < len(rows), padded // valid.shape[2], most)
        # scattered outside, see `_at_every_point`
        parts = _scattered(found, points, x.shape[:2])
        total = tuple(a + b for a, b in zip(total, parts, strict=True)) if total else parts
        first += size
    return total


@partial(jax.jit, static_argnames=("f",))
def _at_every_point(
    f: Callable[..., Any], shared: Any, events: Any, x: Float[Array, "slots points d"]
) -> tuple[Float[Array, "slots points _"], ...]:
    """Compiled by itself, and parts are joined outside: XLA would fuse an integrand into the joining, and
    compute all of it for each part, four times slower.
    """

    def one(event: Any, point: Array) -> tuple[Array, ...]:
        return _parts(f(shared, event, point))

    return jax.vmap(jax.vmap(one, in_axes=(None, 0)))(events, x)


def proposals(
    f: Staged, shared: Any, events: Any, x: Float[Array | np.ndarray, "slots points d"]
) -> tuple[Any, Array]:
    """The first stage: parcels, with axes `[slots, points, branches or 1]`, and which branches count."""
    known: Any = None
    for step in f.propose:
        known = _proposed(step, shared, events, x, known)
    return known


@partial(jax.jit, static_argnames=("step",))
def _proposed(
    step: Callable, shared: Any, events: Any, x: Float[Array | np.ndarray, "slots points d"], known: Any
) -> Any:
    return jax.vmap(jax.vmap(partial(step, shared), in_axes=(None, 0, 0)))(events, x, known)


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


@partial(jax.jit, static_argnames=("f",))
def _completed(f: Staged, shared: Any, parcel: Any) -> tuple[Array, ...]:
    """The second stage for gathered branches."""
    return jax.vmap(lambda one: _parts(f.complete(shared, one)))(parcel)


@partial(jax.jit, static_argnames=("shape",))
def _scattered(found: tuple[Array, ...], points: Array, shape: tuple[int, int]) -> tuple[Array, ...]:
    """Sums over the branches of each point, `[slots, points, values]`."""
    sums = (jax.ops.segment_sum(part, points, shape[0] * shape[1]) for part in found)
    return tuple(part.reshape(*shape, -1) for part in sums)


def _quadrature_slots(
    f: Integrand,
    shared: Any,
    events: Any,
    x: Float[Array, "slots points d"],
    weights: Float[Array, "slots rules points"],
) -> tuple[Array, Array, Array]:
    """Per slot: the sum under each rule, the largest |value|, the number of points that aren't finite."""
    return _quadrature_sums(values(f, shared, events, x), weights)


@jax.jit
def _quadrature_sums(
    parts: tuple[Float[Array, "slots points _"], ...], weights: Float[Array, "slots rules points"]
) -> tuple[Array, Array, Array]:
    values = jnp.concatenate(parts, axis=-1)
    # padding has no weight: whatever happens there doesn't count
    used = (weights != 0).any(axis=1)
    finite = jnp.isfinite(values).all(axis=-1)
    values = jnp.where((finite & used)[..., None], values, 0.0)
    sums = (weights[..., None] * values[:, None]).sum(axis=2)
    return sums, jnp.abs(values).max(axis=1), (~finite & used).sum(axis=1)


def _lattice_points(
    shift: Float[Array, "slots shifts d"], offset: Float[Array, "slots"], z: Float[Array, "d"]
) -> Float[Array, "slots shifts points d"]:
    points = SLOT // shift.shape[1]
    inverse = jnp.asarray(_radical_inverse(np.arange(points)))
    u = z * (inverse + offset[:, None])[..., None]
    u = u[:, None] + shift[:, :, None]
    u = 1 - jnp.abs(2 * (u - jnp.floor(u)) - 1)
    return jnp.clip(u, _TINY, 1 - _TINY)


def _lattice_slots(
    f: Integrand,
    shared: Any,
    events: Any,
    maps: tuple[Float[Array, "slots d knots 2"], Array] | None,
    shift: Float[Array, "slots shifts d"],
    offset: Float[Array, "slots"],
    z: Float[Array, "d"],
) -> tuple[Array, Array, Array, Array]:
    """Per slot: the values, their sum per shift, the largest |value|, the number of points not finite."""
    x, jacobian = _mapped_points(maps, shift, offset, z)
    return _lattice_sums(values(f, shared, events, x), jacobian, shift)


@jax.jit
def _mapped_points(
    maps: tuple[Float[Array, "slots d knots 2"], Array] | None,
    shift: Float[Array, "slots shifts d"],
    offset: Float[Array, "slots"],
    z: Float[Array, "d"],
) -> tuple[Float[Array, "slots points d"], Float[Array, "slots points"]]:
    """Points and their dx/du, under the maps of slots that have learned one (none has, if there are none)."""
    slots, _, d = shift.shape
    u = _lattice_points(shift, offset, z).reshape(slots, SLOT, d)
    if maps is None:
        return u, jnp.ones(u.shape[:2])
    grid, learned = maps
    per_dimension = jax.vmap(_map, in_axes=(0, 0))
    x, jacobian = jax.vmap(jax.vmap(per_dimension, in_axes=(None, 0)))(grid, u)
    return (
        jnp.where(learned[:, None, None], x, u),
        jnp.where(learned[:, None], jacobian.prod(axis=-1), 1.0),
    )


@jax.jit
def _lattice_sums(
    parts: tuple[Float[Array, "slots points _"], ...],
    jacobian: Float[Array, "slots points"],
    shift: Float[Array, "slots shifts d"],
) -> tuple[Array, Array, Array, Array]:
    slots, shifts, _ = shift.shape
    values = jnp.concatenate(parts, axis=-1) * jacobian[..., None]
    finite = jnp.isfinite(values).all(axis=-1)
    values = jnp.where(finite[..., None], values, 0.0)
    per_shift = values.reshape(slots, shifts, SLOT // shifts, -1).sum(axis=2)
    return values, per_shift, jnp.abs(values).max(axis=1), (~finite).sum(axis=1)


@jax.jit
def _second_moments(
    values: Float[Array, "slots points values"],
    shift: Float[Array, "slots shifts d"],
    offset: Float[Array, "slots"],
    z: Float[Array, "d"],
) -> Float[Array, "slots d bins values"]:
    """Σ value² in bins of each coordinate before the map."""
    slots, _, d = shift.shape
    u = _lattice_points(shift, offset, z).reshape(slots, SLOT, d)
    # A flat scatter: ten times faster on a CPU than products with one-hot arrays. On a GPU its order of
    # summation isn't fixed, so there a learned map is reproducible to rounding only.
    table = jnp.arange(slots)[:, None, None] * d + jnp.arange(d)
    at = table * _BINS + jnp.floor(u * _BINS).astype(jnp.int32)
    squares = jnp.broadcast_to((values**2)[:, :, None], (*u.shape, values.shape[-1]))
    sums = jax.ops.segment_sum(squares.reshape(-1, values.shape[-1]), at.ravel(), slots * d * _BINS)
    return sums.reshape(slots, d, _BINS, -1)


def _map(grid: Float[Array, "knots 2"], u: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The monotone cubic through knots (i/K, y_i) with slopes y'_i: y(u) and dy/du."""
    k = jnp.clip(jnp.floor(u * _BINS), 0, _BINS - 1).astype(jnp.int32)
    return _cubic(grid[k], grid[k + 1], u * _BINS - k)


def _cubic(low: Any, high: Any, t: Any) -> tuple[Any, Any]:
    y0, s0, y1, s1 = low[..., 0], low[..., 1] / _BINS, high[..., 0], high[..., 1] / _BINS
    rise = y1 - y0
    c2 = 3 * rise - 2 * s0 - s1
    c3 = s0 + s1 - 2 * rise
    y = y0 + t * (s0 + t * (c2 + t * c3))
    return y, (s0 + t * (2 * c2 + 3 * t * c3)) * _BINS


# --- on the host
# ------------------------------------------------------------------------------------------------

_TINY = 2.0**-53


def _slopes(knots: np.ndarray) -> np.ndarray:
    """Slopes at equidistant knots that keep a cubic monotone: harmonic means, one-sided at the ends.

    F. N. Fritsch, J. Butland, SIAM J. Sci. Stat. Comput. 5 (1984) 300.
    """
    secant = np.diff(knots, axis=-1) * _BINS
    inner = 2 * secant[..., 1:] * secant[..., :-1] / (secant[..., 1:] + secant[..., :-1])
    return np.concatenate([secant[..., :1], inner, secant[..., -1:]], axis=-1)


def _with_slopes(knots: np.ndarray) -> np.ndarray:
    return np.stack([knots, _slopes(knots)], axis=-1)


_IDENTITY = _with_slopes(np.linspace(0, 1, _BINS + 1))


def _refine(
    grid: np.ndarray, moments: np.ndarray, sums: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A better importance map, and the factor by which it should reduce the variance.

    The best separable density is the root of the second moment's projection (G. P. Lepage, J. Comput. Phys.
    27 (1978) 192). It is smoothed, and a tenth of it stays uniform so that no region is starved on the word
    of a few points; a part of all maps together, too, however often one follows another.

    **Arguments:** `grid` `[events, d, knots, 2]`; `moments` `[events, d, bins, values]`, `sums`
    `[events, shifts, values]` and `points` `[events]` under the present map. **Returns** the new grid and the
    gains `[events]`.
    """
    total = moments.sum(axis=2, keepdims=True)
    projection = np.divide(moments, total, out=np.zeros_like(moments), where=total > 0).mean(axis=-1)
    density = np.sqrt(projection)
    padded = np.pad(density, ((0, 0), (0, 0), (1, 1)), mode="edge")
    density = (padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]) / 4
    norm = density.sum(axis=-1, keepdims=True)
    flat = np.full_like(density, 1 / _BINS)
    density = 0.9 * np.divide(density, norm, out=flat.copy(), where=norm > 0) + 0.1 * flat

    # second moment over mean squared, before, and after if the projections told all
    squares, mean = moments[:, 0].sum(axis=1), sums.sum(axis=1)
    before = points[:, None] * squares / np.where(mean != 0, mean**2, np.inf)
    ratio = (projection / (density * _BINS)).sum(axis=-1) / np.where(
        norm[..., 0] > 0, projection.sum(axis=-1), 1
    )
    after = before * ratio.prod(axis=-1)[:, None]
    gain = (np.maximum(before - 1, 0) / np.maximum(after - 1, 0.01)).mean(axis=-1)
    return _with_floor(_compose(grid, density)), gain


def _with_floor(grid: np.ndarray) -> np.ndarray:
    """A map whose density is at least `_FLOOR` everywhere, and else as given."""
    y = grid[..., 0]
    level = (1 - _FLOOR) * np.linspace(0, 1, _BINS + 1) + _FLOOR * y
    target = np.linspace(0, 1, _BINS + 1)[1:-1]
    k = (level[..., None, 1:] <= target[:, None]).sum(axis=-1)
    low, high = (np.take_along_axis(level, k + i, axis=-1) for i in (0, 1))
    start, end = (np.take_along_axis(y, k + i, axis=-1) for i in (0, 1))
    inner = start + (target - low) / (high - low) * (end - start)
    ends = np.zeros_like(inner[..., :1])
    return _with_slopes(np.concatenate([ends, inner, ends + 1], axis=-1))


def _compose(grid: np.ndarray, density: np.ndarray) -> np.ndarray:
    """The map whose density is that of `grid` times `density` (piecewise constant before the map)."""
    cumulative = np.concatenate([np.zeros_like(density[..., :1]), np.cumsum(density, axis=-1)], axis=-1)
    cumulative /= cumulative[..., -1:]
    target = np.linspace(0, 1, _BINS + 1)[1:-1]
    k = (cumulative[..., None, 1:] <= target[:, None]).sum(axis=-1)
    low = np.take_along_axis(cumulative, k, axis=-1)
    high = np.take_along_axis(cumulative, k + 1, axis=-1)
    t = (target - low) / (high - low)
    inner, _ = _cubic(
        np.take_along_axis(grid, k[..., None], axis=-2),
        np.take_along_axis(grid, k[..., None] + 1, axis=-2),
        t,
    )
    ends = np.zeros_like(inner[..., :1])
    return _with_slopes(np.concatenate([ends, inner, ends + 1], axis=-1))


def _radical_inverse(i: np.ndarray) -> np.ndarray:
    """The bits of an integer below 2²⁰ behind the binary point, in reverse."""
    i = np.asarray(i, dtype=np.int64)
    inverse = np.zeros(i.shape)
    for bit in range(20):
        inverse += (i >> bit & 1) * 2.0 ** -(bit + 1)
    return inverse


def _random_shifts(
    seed: int, numbers: np.ndarray, stage: np.ndarray | int, shifts: int, dimensions: int
) -> np.ndarray:
    """Uniform numbers `[events, shifts, dimensions]`, functions of the seed, an event's number and the stage.

    Counter-based: SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, OOPSLA 2014) of the seed, then of each
    coordinate in turn.
    """
    with np.errstate(over="ignore"):
        state = _mix(np.asarray(seed, dtype=np.int64).astype(np.uint64) + _GOLDEN)
        for part in (
            np.asarray(numbers, dtype=np.int64).astype(np.uint64)[:, None, None],
            np.broadcast_to(np.asarray(stage, dtype=np.uint64), np.shape(numbers))[:, None, None],
            np.arange(shifts, dtype=np.uint64)[:, None],
            np.arange(dimensions, dtype=np.uint64),
        ):
            state = _mix(state ^ _mix(part * _GOLDEN + _GOLDEN))
    return (state >> np.uint64(11)) * 2.0**-53


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@cache
def _student(freedom: int) -> float:
    """The factor by which a standard error from few estimates is widened, so that ±1.96 of it covers 95 %."""
    return float(stdtrit(freedom, 0.975) / stdtrit(np.inf, 0.975))


def product_rule(dimensions: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """The product Gauss–Legendre rule on the unit cube: points `[order^d, d]` and weights `[order^d]`.

    For sums inside JAX-level code, where `jax.grad` goes through Σ w_i f(x_i).
    """
    nodes, weights = np.polynomial.legendre.leggauss(order)
    mesh = np.meshgrid(*[(nodes + 1) / 2] * dimensions, indexing="ij")
    product = reduce(np.multiply.outer, [weights / 2] * dimensions)
    return np.stack(mesh, axis=-1).reshape(-1, dimensions), product.ravel()


class _Ladder(NamedTuple):
    """Product rules cut into slots: the first level has the three coarsest rules, the others one each.

    - `points` `[blocks, 256, d]`, padded with the centre; `weights` `[blocks, 3, 256]`, padded with 0;
    - `nodes` `[blocks]`, how many points aren't padding;
    - `blocks`: first and last + 1 of each level.
    """

    points: np.ndarray
    weights: np.ndarray
    nodes: np.ndarray
    blocks: tuple[tuple[int, int], ...]


_ORDERS = {
    1: ((32, 64, 128), 256, 512, 1024, 2048),
    2: ((7, 9, 11), 16, 22, 32, 45, 64),
    3: ((3, 5, 7), 10, 16, 24),
}
"""Orders per direction and level, chosen so that a level fills its slots."""


@cache
def _ladder(dimensions: int) -> _Ladder:
    points, weights = [], []
    blocks: list[tuple[int, int]] = []
    for level in _ORDERS[dimensions]:
        orders = level if isinstance(level, tuple) else (level,)
        size = sum(order**dimensions for order in orders)
        padded = -(-size // SLOT) * SLOT
        x, w = np.full((padded, dimensions), 0.5), np.zeros((3, padded))
        at = 0
        for rule, order in enumerate(orders):
            nodes, node_weights = product_rule(dimensions, order)
            x[at : at + len(nodes)] = nodes
            w[rule, at : at + len(nodes)] = node_weights
            at += len(nodes)
        first = blocks[-1][1] if blocks else 0
        blocks.append((first, first + padded // SLOT))
        points.append(x.reshape(-1, SLOT, dimensions))
        weights.append(w.reshape(3, -1, SLOT).swapaxes(0, 1))
    table = np.concatenate(weights)
    nodes = (table != 0).any(axis=1).sum(axis=1)
    return _Ladder(np.concatenate(points), table, nodes, tuple(blocks))


def _quoted_error(coarse: np.ndarray, middle: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """See `quadrature`; the last term is rounding."""
    return np.maximum(np.abs(fine - middle), np.abs(middle - coarse) / 4) + 1e-14 * np.abs(fine)


def slots_per_call(evaluations: int | None = None) -> int:
    """How many slots a compiled call works on."""
    return _evaluations(evaluations) // SLOT


def fixed_points(slots: int, dimensions: int) -> Float[np.ndarray, "slots points d"]:
    """Points of the lattice, not shifted at random: for trials that decide how to integrate."""
    index = _radical_inverse(np.arange(slots * SLOT))
    u = (GENERATING_VECTOR[:dimensions] * index[:, None] + 0.5 / (slots * SLOT)) % 1
    return u.reshape(slots, SLOT, dimensions)


def _count(events: Any) -> int:
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(events)}
    if len(lengths) != 1 or lengths == {()}:
        raise UsageError(
            f"the events must be arrays of one length along their first axis, got {sorted(lengths)}"
        )
    return next(iter(lengths))[0]


def _rows(events: Any, rows: np.ndarray) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[rows], events)


def _batches(rows: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Cut into pieces of exactly `size`, the last one filled up with its first entry; how many are real."""
    for first in range(0, len(rows), size):
        piece = rows[first : first + size]
        yield np.r_[piece, np.full(size - len(piece), piece[0])], len(piece)


def _evaluations(given: int | None) -> int:
    """Evaluations per compiled call: what fits a CPU's cache, or what fills a GPU."""
    if given is None:
        return 1 << 14 if jax.default_backend() == "cpu" else 1 << 20
    if given < SLOT:
        raise UsageError(f"a compiled call makes at least {SLOT} evaluations, not {given}")
    return given


def _check(precision: float, calls: int) -> None:
    if not precision > 0:
        raise UsageError(f"the precision must be a positive relative error, not {precision}")
    if calls < SLOT:
        raise UsageError(f"the budget must be at least {SLOT} calls per event, not {calls}")


def _nothing() -> Estimate:
    return Estimate(np.zeros((0, 1)), np.zeros((0, 1)), np.zeros(0, np.int32), np.zeros(0, np.int64))
