"""Randomly shifted, tent-transformed rank-1 lattices, for integrands of any kind in up to 20 dimensions.

The error is statistical, from independent shifts, and widened, for the spread of few shifts has a Student
distribution: ±1.96 of it covers 95 %. An integrand whose peak fills a fraction p of the cube is seen with
probability 1 − exp(−p·minimum), and nothing can be said about what was never seen: narrow resonances must be
mapped by whoever knows where they are. When an importance map is adopted, everything sampled before it is
dropped: a mean weighted by estimated errors is biased low for skewed integrands. One large value makes none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from deepmem.errors import UsageError
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.course import Course, CourseOfLattice
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.integrals.importance import (
    BINS,
    IDENTITY,
    SMOOTHINGS_OF_FEW,
    better_maps,
    mapped,
    second_moments,
)
from deepmem.physics.integrals.integral import Integral
from deepmem.physics.integrals.points import (
    GENERATING_VECTOR,
    LATTICE_POINTS,
    TRIPLES_VECTOR,
    lattice_points,
    radical_inverse,
    random_shifts,
)
from deepmem.physics.integrals.slots import SLOT, slots_per_call
from deepmem.physics.integrals.tally import Tally
from deepmem.physics.precision import double_precision

# Events at a time. That bounds the memory that learning takes; nothing depends on it.
_WINDOW = 1 << 12
# Importance maps per event at most, and the factor in variance from which one is worth its evaluations; and
# from which another one is where fixed points taught the first.
_MAPS = 6
_WORTH_IT, _WORTH_ANOTHER = 1.5, 3.0
# And how many points that count a map is learned from at least, in general and where one was learned before
# or where there are few points: a map from a single large value keeps points from all that it has not seen.
_SEVERAL, _MANY, _FEW = 5, 100, 1 << 10
# Zero so far isn't zero: how many times the minimum is looked for before giving up.
_EMPTY = 4


@dataclass(frozen=True)
class Lattice:
    """Randomly shifted lattice rules whose number of points grows until the error is small enough.

    - `shifts`: independent estimates, a power of two from 4 to 64;
    - `allowance`: how many times the largest single contribution the error allows for, beside the spread of
      the shifts. With 1, coverage of discontinuous integrands and of unmapped resonances is a per cent short;
    - `minimum`: evaluations before an event may stop, if the integral does not say;
    - `calls`: evaluations per event at most, if the accuracy does not say;
    - `adapt`: learn an importance map where it is worth it;
    - `triples`: a lattice for integrands that couple three coordinates closely, as an energy and p_T do. The
      usual one is the better one where they come in pairs.

    **Raises** `UsageError` for a number of shifts that is none of these.
    """

    shifts: int = 16
    allowance: float = 2.0
    minimum: int = 1 << 12
    calls: int = 1 << 19
    adapt: bool = True
    triples: bool = False

    def __post_init__(self) -> None:
        if self.shifts not in (4, 8, 16, 32, 64):
            raise UsageError(f"the number of shifts is a power of two from 4 to 64, not {self.shifts}")

    def integrate(self, integral: Integral, accuracy: Accuracy) -> Estimate:
        """Integrate until each event reaches its precision or its budget.

        Evaluations of a map that was dropped count, too. **Raises** `UsageError` for arguments out of range.
        """
        most = len(GENERATING_VECTOR)
        if not 1 <= integral.dimensions <= most:
            raise UsageError(f"a lattice is for 1 to {most} dimensions, not {integral.dimensions}")
        accuracy.budget(self.calls)
        if not integral.count:
            return Estimate.of_nothing()
        parts = [
            _Window(integral.window(here), self, accuracy).estimate()
            for here in integral.contributions.windows(_WINDOW)
        ]
        return Estimate.joined(parts)

    def further(self, course: Course, dimensions: int) -> tuple[CourseOfLattice, np.ndarray]:
        """The course with twice the points, and the evaluations that are new; ∞ where there are none."""
        assert isinstance(course, CourseOfLattice)
        there = 2 * course.blocks * (SLOT // self.shifts) <= LATTICE_POINTS
        cost = np.where(there & (course.blocks > 0), course.blocks * float(SLOT), np.inf)
        return course._replace(blocks=2 * course.blocks), cost


class _Samples(NamedTuple):
    """What the points of each event add up to: those of its present map, but for the tally's record.

    `sums` `[events, shifts, values]`; `moments` `[events, d, bins, steering values]`, of value².
    """

    sums: np.ndarray
    moments: np.ndarray
    tally: Tally


class _Window:
    """Some events on their way to their precision: sample, measure, learn, until none is active."""

    def __init__(self, integral: Integral, rule: Lattice, accuracy: Accuracy) -> None:
        count, dimensions = integral.count, integral.dimensions
        self._integral, self._rule, self._accuracy = integral, rule, accuracy
        self._groups = integral.contributions
        self._calls = accuracy.budget(rule.calls)
        minimum = rule.minimum if integral.minimum is None else integral.minimum
        self._first_blocks = _first_blocks(np.broadcast_to(minimum, count), self._calls)
        self._block_points = SLOT // rule.shifts
        self._z = (TRIPLES_VECTOR if rule.triples else GENERATING_VECTOR)[:dimensions]
        self._grid = np.tile(IDENTITY, (count, dimensions, 1, 1))
        self._narrow = np.zeros(count, dtype=bool)
        if integral.maps is not None:
            self._grid, self._narrow = integral.maps.of_all(), integral.maps.learned
        self._on_map = self._narrow.copy()
        # the map before the present one, and ⟨f²⟩/⟨f⟩² − 1 under it
        self._before, self._excess = self._grid.copy(), np.full(count, np.inf)
        self._blocks = np.zeros(count, dtype=np.int64)  # of the present map
        self._more = self._first_blocks.copy()  # next
        self._stage = np.zeros(count, dtype=np.int64)  # maps adopted so far
        self._shift = self._shifts(np.arange(count))
        self._learning = np.full(count, rule.adapt)
        if integral.follows is not None:
            self._follow(integral.follows, integral.continues)
        # those that get points now, and those that may get some later
        self._active = self._open = np.arange(count)

    def _follow(self, course: Course, before: Course | None) -> None:
        """Have the map and the points of a course, less those that there were before."""
        assert isinstance(course, CourseOfLattice)
        count = self._integral.count
        self._grid, self._stage, self._more = course.grid, course.stage, course.blocks.copy()
        if before is not None:
            assert isinstance(before, CourseOfLattice)
            self._blocks = before.blocks.copy()
            self._more -= self._blocks
        self._on_map |= course.stage > 0
        self._shift, self._learning = self._shifts(np.arange(count)), np.zeros(count, dtype=bool)

    def estimate(self) -> Estimate:
        with double_precision():
            self._integral = self._integral.on_device()
            samples = self._sample(None)
            if self._integral.follows is not None:
                self._measure(samples)
                self._active = self._active[:0]
            else:
                self._proceed(samples)
            while len(self._active):
                self._sample(samples)
                self._proceed(samples)
        estimate = samples.tally.estimate()
        return estimate._replace(course=self._course(samples)) if self._integral.remembered else estimate

    def _course(self, samples: _Samples) -> CourseOfLattice:
        """What was done, and the spread of the steering values over shifts."""
        event, shifts, steering = np.arange(self._integral.count), self._rule.shifts, self._integral.steering
        points = (self._blocks * self._block_points)[:, None]
        means = samples.sums[..., :steering] / points[:, :, None]
        off = (means - means.mean(axis=1, keepdims=True)) * _student(shifts - 1)
        return CourseOfLattice(
            self._grid,
            self._stage,
            self._blocks,
            off / np.sqrt(shifts * (shifts - 1)),
            samples.tally.unseen(event, points * shifts)[:, :steering],
            samples.tally.value[:, :steering],
            samples.sums,
            *samples.tally.seen,
        )

    def _shifts(self, event: np.ndarray) -> np.ndarray:
        """The lattice's random shifts, of these events at their present stage."""
        integral = self._integral
        parts = np.zeros(integral.count, dtype=np.int64) if integral.parts is None else integral.parts
        counter = integral.numbers[event], parts[event], self._stage[event]
        return random_shifts(self._accuracy.seed, counter, self._rule.shifts, integral.dimensions)

    def _sample(self, samples: _Samples | None) -> _Samples:
        """The next points, or the first ones."""
        active = self._active
        done = self._blocks[active]
        target = done + self._more[active]
        event_of = np.repeat(active, target - done)
        block_of = np.concatenate([np.arange(*each) for each in zip(done, target, strict=True)])
        # those on maps together: others need no map
        order = np.argsort(self._on_map[event_of], kind="stable")
        event_of, block_of = event_of[order], block_of[order]
        offset_of = radical_inverse(block_of) / self._block_points
        for rows, used in self._integral.batches(event_of, slots_per_call()):
            event = event_of[rows]
            where = self._shift[event], offset_of[rows], self._z
            on_map = self._on_map[event]
            maps = (self._grid[event], on_map) if on_map.any() else None
            x, jacobian = _mapped_points(maps, *where)
            values, *parts = _lattice_sums(self._integral.values(event, x, used), jacobian, where[0])
            sums, largest, bad = (np.asarray(part)[:used] for part in parts)
            samples = samples or self._none(sums.shape[2])
            event = event[:used]
            np.add.at(samples.sums, event, sums)
            samples.tally.add(event, largest, bad, SLOT)
            if self._learning[event].any():
                squares = second_moments(values[..., : self._integral.steering], *where)
                np.add.at(samples.moments, event, np.asarray(squares)[:used])
        assert samples is not None
        self._blocks[active] = target
        return samples

    def _none(self, outputs: int) -> _Samples:
        count, dimensions = self._integral.count, self._integral.dimensions
        steering = min(outputs, self._integral.steering or outputs)
        samples = _Samples(
            np.zeros((count, self._rule.shifts, outputs)),
            np.zeros((count, dimensions, BINS, steering)),
            Tally(self._integral, outputs, self._accuracy.precision, self._rule.allowance),
        )
        before = self._integral.continues
        if isinstance(before, CourseOfLattice):
            samples.sums[:] = before.sums
            samples.tally.resume(before.largest, before.bad, before.blocks * SLOT)
        return samples

    def _proceed(self, samples: _Samples) -> None:
        """Measure what there is, learn maps, and decide who gets more points."""
        self._measure(samples)
        tally, group = samples.tally, self._groups.event
        empty = self._blocks[self._open] >= _EMPTY * self._first_blocks[self._open]
        finished = tally.finished(self._open, empty)
        # one of several contributions may have to go on when another one has grown smaller
        waiting = self._open[:0] if self._groups.single else self._open[finished]
        active = self._open[~finished]
        sharing = np.bincount(group[active], minlength=len(self._groups.first))
        left = (self._calls - tally.spent()) // np.maximum(sharing[group], 1)
        self._learn(samples, active, left)
        more = np.maximum(self._blocks[active], self._first_blocks[active])
        possible = (self._blocks[active] + more) * self._block_points <= LATTICE_POINTS
        active, more = active[possible], more[possible]
        affordable = self._affordable(active, more * SLOT, tally)
        active, more = active[affordable], more[affordable]
        part = tally.urgent(active, more * SLOT, self._blocks[active] == 0)
        self._active = active[part > 0]
        self._more[active] = np.ceil(part * more).astype(np.int64)
        self._open = np.sort(np.r_[active, waiting])

    def _affordable(self, active: np.ndarray, cost: np.ndarray, tally: Tally) -> np.ndarray:
        """Which can be paid from what their group has left: those with a new map first, then large errors."""
        group = self._groups.event[active]
        order = np.lexsort((-tally.weight_of_error(active), self._blocks[active] > 0, group))
        total = np.cumsum(cost[order])
        begins = np.flatnonzero(np.diff(group[order], prepend=-1))
        before = np.repeat(np.r_[0, total][begins], np.diff(begins, append=len(order)))
        affordable = np.zeros(len(active), dtype=bool)
        affordable[order] = total - before <= (self._calls - tally.spent())[active[order]]
        return affordable

    def _measure(self, samples: _Samples) -> None:
        active, shifts = self._active, self._rule.shifts
        per_shift = (self._blocks[active] * self._block_points)[:, None]
        means = samples.sums[active] / per_shift[:, :, None]
        samples.tally.value[active] = means.mean(axis=1)
        spread = means.std(axis=1, ddof=1) / np.sqrt(shifts) * _student(shifts - 1)
        unseen = samples.tally.unseen(active, per_shift * shifts)
        samples.tally.error[active] = np.hypot(spread, unseen)
        if samples.tally.covariance is not None:
            steering = samples.tally.covariance.shape[-1]
            off = (means - means.mean(axis=1, keepdims=True))[..., :steering]
            scale = _student(shifts - 1) ** 2 / (shifts * (shifts - 1))
            # what was not seen of several values is one point: where one is large, the others are
            of_points = unseen[:, :steering, None] * unseen[:, None, :steering]
            samples.tally.covariance[active] = scale * np.einsum("esi,esj->eij", off, off) + of_points

    def _learn(self, samples: _Samples, active: np.ndarray, left: np.ndarray) -> None:
        """Adopt importance maps.

        A map costs what was sampled before it: not worth it where four times as much would do anyway. Where
        one was learned before, one that did not help ends learning, and one that is worse is dropped.
        """
        wanted = self._learning[active] & samples.tally.distant(active)
        few = self._narrow[active] | (self._blocks[active] * SLOT < _FEW)
        telling = self._telling(samples, active)
        wanted &= telling >= np.where(few, _MANY, _SEVERAL)
        wanted &= left[active] >= self._first_blocks[active] * SLOT
        event = active[wanted]
        excess = self._blocks[event] * SLOT / telling[wanted] - 1
        failed = self._narrow[event] & (excess * _WORTH_IT > self._excess[event])
        worse = event[failed & (excess > self._excess[event])]
        self._learning[event[failed]] = False
        event, excess = event[~failed], excess[~failed]
        grid, gain = better_maps(
            self._grid[event],
            samples.moments[event],
            samples.sums[event][..., : samples.moments.shape[-1]],
            self._blocks[event] * SLOT,
            np.where(self._narrow[event], SMOOTHINGS_OF_FEW, 1),
        )
        worth_it = gain > np.where(self._narrow[event], _WORTH_ANOTHER, _WORTH_IT)
        event = event[worth_it]
        self._before[event], self._excess[event] = self._grid[event], excess[worth_it]
        self._grid[event], self._grid[worse] = grid[worth_it], self._before[worse]
        self._learning[event] = self._stage[event] + 1 < _MAPS
        self._begin_anew(samples, np.sort(np.r_[event, worse]))

    def _begin_anew(self, samples: _Samples, event: np.ndarray) -> None:
        """Drop the samples of events that have another map, and give them other shifts."""
        self._stage[event] += 1
        self._on_map[event] = True
        self._shift[event] = self._shifts(event)
        samples.sums[event], samples.moments[event], self._blocks[event] = 0, 0, 0
        samples.tally.forget(event)

    def _telling(self, samples: _Samples, active: np.ndarray) -> np.ndarray:
        """How many points count, of the value where these are least: (Σ f)²/Σ f²."""
        squares = samples.moments[active][:, 0].sum(axis=1)
        sums = samples.sums[active][..., : squares.shape[-1]].sum(axis=1)
        return np.divide(sums**2, squares, out=np.zeros_like(squares), where=squares > 0).min(axis=-1)


def _first_blocks(minimum: np.ndarray, calls: int) -> np.ndarray:
    """Blocks of an event before it may stop, a power of two within its budget."""
    blocks = 1 << np.ceil(np.log2(np.maximum(np.minimum(minimum, calls) / SLOT, 1))).astype(np.int64)
    return np.where(blocks * SLOT > calls, np.maximum(1, blocks // 2), blocks)


@cache
def _student(freedom: int) -> float:
    """The factor by which a standard error from few estimates is widened, so that ±1.96 of it covers 95 %."""
    from scipy.special import stdtrit  # imported where it is needed: it takes a tenth of a second

    return float(stdtrit(freedom, 0.975) / stdtrit(np.inf, 0.975))


@jax.jit
def _mapped_points(
    maps: tuple[Float[Array, "slots d knots 2"], Array] | None,
    shift: Float[Array, "slots shifts d"],
    offset: Float[Array, "slots"],
    z: Float[Array, "d"],
) -> tuple[Float[Array, "slots points d"], Float[Array, "slots points"]]:
    """Points and their dx/du, under the maps of slots that have learned one (none has, if there are none)."""
    slots, _, d = shift.shape
    u = lattice_points(shift, offset, z).reshape(slots, SLOT, d)
    if maps is None:
        return u, jnp.ones(u.shape[:2])
    grid, on_map = maps
    per_dimension = jax.vmap(mapped, in_axes=(0, 0))
    x, jacobian = jax.vmap(jax.vmap(per_dimension, in_axes=(None, 0)))(grid, u)
    return (
        jnp.where(on_map[:, None, None], x, u),
        jnp.where(on_map[:, None], jacobian.prod(axis=-1), 1.0),
    )


@jax.jit
def _lattice_sums(
    parts: tuple[Float[Array, "slots points _"], ...],
    jacobian: Float[Array, "slots points"],
    shift: Float[Array, "slots shifts d"],
) -> tuple[Array, Array, Array, Array]:
    """Per slot: the values, their sum per shift, the largest |value|, the number of points not finite."""
    slots, shifts, _ = shift.shape
    values = jnp.concatenate(parts, axis=-1) * jacobian[..., None]
    finite = jnp.isfinite(values).all(axis=-1)
    values = jnp.where(finite[..., None], values, 0.0)
    per_shift = values.reshape(slots, shifts, SLOT // shifts, -1).sum(axis=2)
    return values, per_shift, jnp.abs(values).max(axis=1), (~finite).sum(axis=1)
