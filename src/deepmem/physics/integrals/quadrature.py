"""Products of Gauss–Legendre rules, for smooth integrands in one to three dimensions.

The error comes from three successive orders. It is an extrapolation, so that a peak narrower than the nodes'
spacing can be missed without notice: use it where the integrand is known to be smooth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from deepmem.errors import UsageError
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.course import Course, CourseOfQuadrature, quoted_error
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.integrals.integral import Integral
from deepmem.physics.integrals.slots import SLOT, slots_per_call
from deepmem.physics.integrals.tally import Tally
from deepmem.physics.precision import double_precision

_ORDERS = {
    1: ((32, 64, 128), 256, 512, 1024, 2048),
    2: ((7, 9, 11), 16, 22, 32, 45, 64),
    3: ((3, 5, 7), 10, 16, 24),
}
"""Orders per direction and level, chosen so that a level fills its slots."""


@dataclass(frozen=True)
class Quadrature:
    """Products of Gauss–Legendre rules of growing order.

    With I₁, I₂, I₃ of three successive orders, the quoted error of I₃ is max(|I₃ − I₂|, |I₂ − I₁|/4): the
    error of the rule before, and no less than what it would be if the next order improved by 4 alone, so that
    a chance agreement isn't taken for convergence. Extrapolating further understates the error of integrands
    with poles near the cube in a fifth of the cases.

    - `calls`: evaluations per event at most, if the accuracy does not say.
    """

    calls: int = 1 << 16

    def integrate(self, integral: Integral, accuracy: Accuracy) -> Estimate:
        """Integrate until each event reaches its precision or its budget.

        **Raises** `UsageError` for arguments out of range.
        """
        if not 1 <= integral.dimensions <= 3:
            raise UsageError(f"quadrature is for 1 to 3 dimensions, not {integral.dimensions}: use a lattice")
        if not integral.contributions.single:
            raise UsageError(
                "quadrature takes every event alone: use a lattice for contributions to one number"
            )
        calls, count = accuracy.budget(self.calls), integral.count
        if not count:
            return Estimate.of_nothing()
        ladder = _ladder(integral.dimensions)
        orders: list[np.ndarray] = []
        tally: Tally | None = None
        active, reached = np.arange(count), np.zeros(count, dtype=np.int64)
        followed, last_orders = integral.follows, None
        with double_precision():
            integral = integral.on_device()
            table = jnp.asarray(ladder.points), jnp.asarray(ladder.weights)
            for first, last in ladder.levels:
                if orders and followed is None and last * SLOT > calls:
                    break
                integrals: np.ndarray | None = None
                for event, block, sums, largest, bad in _level_sums(integral, table, active, (first, last)):
                    tally = tally or Tally(integral, sums.shape[2], accuracy.precision)
                    integrals = np.zeros((count, *sums.shape[1:])) if integrals is None else integrals
                    np.add.at(integrals, event, sums)
                    tally.add(event, largest, bad, ladder.nodes[block])
                assert tally is not None
                assert integrals is not None
                orders = (
                    [*orders[1:], integrals[:, 0]] if orders else [integrals[:, rule] for rule in range(3)]
                )
                three = np.stack(orders, axis=1)
                last_orders = three if last_orders is None else last_orders
                last_orders[active] = three[active]
                tally.value[active] = orders[2][active]
                tally.error[active] = quoted_error(*(order[active] for order in orders))
                reached[active] += 1
                finished = tally.finished(active, empty=True)
                if isinstance(followed, CourseOfQuadrature):
                    finished = reached[active] >= followed.levels[active]
                active = active[~finished]
                if not len(active):
                    break
        assert tally is not None
        assert last_orders is not None
        estimate = tally.estimate()
        if not integral.remembered:
            return estimate
        return estimate._replace(course=CourseOfQuadrature(reached, last_orders[..., : integral.steering]))

    def further(self, course: Course, dimensions: int) -> tuple[CourseOfQuadrature, np.ndarray]:
        """The course with another order, and the evaluations up to it; ∞ where there is none."""
        assert isinstance(course, CourseOfQuadrature)
        ends = np.array([last * float(SLOT) for _, last in _ladder(dimensions).levels] + [np.inf])
        return course._replace(levels=course.levels + 1), ends[course.levels]


def product_rule(dimensions: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """The product Gauss–Legendre rule on the unit cube: points `[order^d, d]` and weights `[order^d]`.

    For sums inside JAX-level code, where `jax.grad` goes through Σ w_i f(x_i).
    """
    nodes, weights = _gauss_legendre(order)
    mesh = np.meshgrid(*[(nodes + 1) / 2] * dimensions, indexing="ij")
    product = reduce(np.multiply.outer, [weights / 2] * dimensions)
    return np.stack(mesh, axis=-1).reshape(-1, dimensions), product.ravel()


def _gauss_legendre(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights in (−1, 1): Newton's steps to the zeros of P_n from F. G. Tricomi's approximations.

    NumPy's are eigenvalues of a matrix, which takes seconds for two thousand nodes.
    """
    n = order
    x = -(1 - 1 / (8 * n**2) + 1 / (8 * n**3)) * np.cos(np.pi * (4 * np.arange(1, n + 1) - 1) / (4 * n + 2))
    for _ in range(4):
        before, here = np.ones(n), x
        for k in range(2, n + 1):
            before, here = here, ((2 * k - 1) * x * here - (k - 1) * before) / k
        slope = n * (before - x * here) / (1 - x**2)
        x = x - here / slope
    return x, 2 / ((1 - x**2) * slope**2)


class _Ladder(NamedTuple):
    """Product rules cut into slots: the first level has the three coarsest rules, the others one each.

    - `points` `[blocks, 256, d]`, padded with the centre; `weights` `[blocks, 3, 256]`, padded with 0;
    - `nodes` `[blocks]`, how many points aren't padding;
    - `levels`: first block and last + 1 of each.
    """

    points: np.ndarray
    weights: np.ndarray
    nodes: np.ndarray
    levels: tuple[tuple[int, int], ...]


@cache
def _ladder(dimensions: int) -> _Ladder:
    points, weights = [], []
    levels: list[tuple[int, int]] = []
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
        first = levels[-1][1] if levels else 0
        levels.append((first, first + padded // SLOT))
        points.append(x.reshape(-1, SLOT, dimensions))
        weights.append(w.reshape(3, -1, SLOT).swapaxes(0, 1))
    table = np.concatenate(weights)
    nodes = (table != 0).any(axis=1).sum(axis=1)
    return _Ladder(np.concatenate(points), table, nodes, tuple(levels))


def _level_sums(
    integral: Integral, table: tuple[Array, Array], active: np.ndarray, level: tuple[int, int]
) -> Iterator[tuple[np.ndarray, ...]]:
    """A compiled call at a time, by slot: its event and block, and what `_quadrature_sums` says of it."""
    first, last = level
    event_of, block_of = np.repeat(active, last - first), np.tile(np.arange(first, last), len(active))
    for rows, used in integral.batches(event_of, slots_per_call()):
        event, block = event_of[rows], block_of[rows]
        points, weights = _slots(*table, block)
        sums = _quadrature_sums(integral.values(event, points, used), weights)
        yield event[:used], block[:used], *(np.asarray(part)[:used] for part in sums)


@jax.jit
def _slots(points: Array, weights: Array, block: np.ndarray) -> tuple[Array, Array]:
    """Points and weights of blocks. Compiled: to index arrays outside takes as long as the integrand."""
    return points[block], weights[block]


@jax.jit
def _quadrature_sums(
    parts: tuple[Float[Array, "slots points _"], ...], weights: Float[Array, "slots rules points"]
) -> tuple[Array, Array, Array]:
    """Per slot: the sum under each rule, the largest |value|, the number of points that aren't finite."""
    values = jnp.concatenate(parts, axis=-1)
    # padding has no weight: whatever happens there doesn't count
    used = (weights != 0).any(axis=1)
    finite = jnp.isfinite(values).all(axis=-1)
    values = jnp.where((finite & used)[..., None], values, 0.0)
    sums = (weights[..., None] * values[:, None]).sum(axis=2)
    return sums, jnp.abs(values).max(axis=1), (~finite & used).sum(axis=1)
