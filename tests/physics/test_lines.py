"""Lines: what is drawn has the density that is claimed, between the limits that are claimed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepmem.kinematics import Scalar
from deepmem.physics.phasespace.composed.masses import CELLS, MassTable, MassTables
from deepmem.physics.phasespace.experts import angles
from deepmem.physics.phasespace.lines import (
    CORE,
    Above,
    BreitWigner,
    Mixture,
    Peaks,
    Power,
    Resonances,
    Scan,
)
from deepmem.physics.tables import Table, composition, draw_pair, even_table, table_of

INF = np.inf
Z, W, HIGGS = BreitWigner(91.188, 2.44), BreitWigner(80.419, 2.0476), BreitWigner(125.0, 0.0064)
TOPS = BreitWigner(np.array([171.0, 173.0, 176.0]), np.array([1.4, 1.5, 1.6]))
HEIGHTS = np.array([0.0, 2.0, 2.0, 0.5, 3.0, 0.0, 0.0, 1.0])
GRID = angles.ANGLES


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


class Line(NamedTuple):
    """A line between limits. `rising`: whether one shape makes all of it, so that draw rises with u."""

    draw: Callable[[Scalar], Scalar]
    density: Callable[[Scalar], Scalar]
    low: float
    high: float
    rising: bool = True


def between(line, low: float, high: float, rising: bool = True) -> Line:
    return Line(lambda u: line.draw(u, low, high), lambda s: line.density(s, low, high), low, high, rising)


def _mixture() -> Line:
    line = Mixture(((0.5, Z), (0.3, Power(1.0)), (0.2, Power(0.0))))
    low, high = 16.0, 110.0**2

    def draw(u):
        # one number for both: which part, and where in it
        edges = jnp.array([0.0, 0.5, 0.8, 1.0])
        part = jnp.clip((edges <= u).sum() - 1, 0, 2)
        return line.draw(u, (u - edges[part]) / (edges[part + 1] - edges[part]), low, high)

    return Line(draw, lambda s: line.density(s, low, high), low, high, rising=False)


def _resonance(share: float, shapes: BreitWigner, apart: bool = False) -> Line:
    line = Resonances((shapes,), share, apart)
    return Line(lambda u: line.draw(u[None])[0], lambda s: line.density((s,)), 0.0, INF, rising=False)


def _above(share: float, out_of_reach: float, least: float, shapes: BreitWigner) -> Line:
    line = Above(shapes, share, out_of_reach)
    rising = share == 0 == out_of_reach and len(shapes.mass) == 1
    return Line(lambda u: line.draw(u, least), lambda r: line.density(r, least), 0.0, INF, rising)


def _masses(shapes: BreitWigner) -> Line:
    shares = np.random.default_rng(2).uniform(0.2, 1.0, (len(shapes.mass), CELLS))
    line = MassTables((MassTable(shapes, shares / shares.sum(axis=1, keepdims=True)),))
    return Line(
        lambda u: line.draw(u[None])[0][0], lambda s: line.density((s,)), 0.0, INF, len(shapes.mass) == 1
    )


def _table() -> Line:
    table = Table.of(-1.0, 0.5, HEIGHTS)
    return Line(table.draw, table.density, -1.0, -1.0 + 0.5 * (len(HEIGHTS) - 1))


ONE_W = BreitWigner(np.array([80.419]), np.array([2.0476]))
LINES = {
    "Breit-Wigner": between(Z, 0.0, INF),
    "Breit-Wigner, narrow": between(HIGGS, 100.0**2, 140.0**2),
    "Breit-Wigner, above": between(Z, 120.0**2, INF),
    "Breit-Wigner, below": between(Z, 50.0, 70.0**2),
    "power 0": between(Power(0.0), 50.0, 140.0**2),
    "power 1": between(Power(1.0), 0.0, 140.0**2),
    "power 2": between(Power(2.0, 4 * 80.4**2), 50.0, 140.0**2),
    "power 2, to infinity": between(Power(2.0, 40.0), 0.0, INF),
    "power 2.5": between(Power(2.5), 346.0**2, 13000.0**2),
    "broad": between(W.broad, 0.0, INF),
    "mixture": _mixture(),
    "scan of one": between(Scan(ONE_W), 0.0, INF),
    "scan": between(Scan(TOPS), 0.0, INF, rising=False),
    "scan, below": between(Scan(TOPS), 0.0, 174.0**2, rising=False),
    "resonance of one": _resonance(0.03, ONE_W),
    "resonance": _resonance(0.3, TOPS),
    "resonance apart": _resonance(0.1, ONE_W, apart=True),
    "resonance apart, scan": _resonance(0.1, TOPS, apart=True),
    "above": _above(0.03, 0.95, 40.0**2, ONE_W),
    "above, far": _above(0.03, 0.95, 150.0**2, ONE_W),
    "above, scan": _above(0.1, 0.95, 172.0**2, TOPS),
    "masses": _masses(ONE_W),
    "masses, scan": _masses(TOPS),
    "peaks": Line(Peaks(0.02).draw, Peaks(0.02).density, -1.0, 1.0, rising=False),
    "table": _table(),
}


EVEN = (np.arange(40_000) + 0.5) / 40_000
ENDS = np.concatenate([np.linspace(0, 1, 1001), [1e-300, 1e-17, 1 - 2.0**-53]])


def with_density(line: Line) -> Callable[[Scalar], tuple[Scalar, Scalar]]:
    """What a number draws, and the density there."""

    def both(u):
        s = line.draw(u)
        return s, line.density(s)

    return both


@cache
def drawn(name: str) -> tuple[np.ndarray, np.ndarray]:
    """What `EVEN` and then `ENDS` draw, and the densities there."""
    s, density = jax.jit(jax.vmap(with_density(LINES[name])))(np.concatenate([EVEN, ENDS]))
    return np.asarray(s), np.asarray(density)


@pytest.mark.parametrize("name", [name for name, line in LINES.items() if line.rising])
def test_draw_has_the_density(name):
    """ds/du · density = 1, and draw rises."""
    line, u = LINES[name], np.linspace(0.001, 0.999, 997)
    (s, density), slope = jax.jit(jax.vmap(jax.value_and_grad(with_density(line), has_aux=True)))(u)
    assert (np.diff(s) > 0).all()
    np.testing.assert_allclose(slope * density, 1, rtol=1e-6)


@pytest.mark.parametrize("name", LINES)
def test_as_much_is_drawn_below_a_point_as_the_density_says(name):
    """And its integral is 1; of mixtures, too. Trapezoids between the points that even numbers draw."""
    count = len(EVEN)
    s, density = (each[:count] for each in drawn(name))
    order = np.argsort(s)
    s, density = s[order], density[order]
    below = np.append(0.0, np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(s)))
    np.testing.assert_allclose(below, np.arange(count) / count, atol=3e-3)


@pytest.mark.parametrize("name", LINES)
def test_what_is_drawn_lies_between_the_limits(name):
    line = LINES[name]
    s = drawn(name)[0][len(EVEN) :]
    assert (s >= line.low).all()
    assert (s <= line.high).all()
    assert not np.isnan(s).any()
    if line.rising:
        assert s[0] == pytest.approx(line.low, abs=1e-9 * (1 + abs(line.low)))
        if np.isfinite(line.high):
            assert s[1000] == pytest.approx(line.high, rel=1e-9)


def test_the_resonances_of_one_event_are_those_of_one_value():
    line = Resonances((TOPS, TOPS), 0.0)
    u = np.random.default_rng(1).random((3000, 2))
    s, density = jax.jit(jax.vmap(lambda x: (line.draw(x), line.density(line.draw(x)))))(u)
    one, other = (np.sqrt(np.asarray(x)) for x in s)
    # near a value's mass both are, so more often together than if each had its own
    near = [np.abs(m[:, None] - TOPS.mass).argmin(axis=1) for m in (one, other)]
    assert (near[0] == near[1]).mean() > 0.4
    apart = np.prod(
        [[BreitWigner(m, w).density(x, 0.0, INF) for m, w in zip(*TOPS, strict=True)] for x in s], axis=0
    )
    np.testing.assert_allclose(density, apart.mean(axis=0), rtol=1e-12)


def test_masses_that_are_apart_are_near_or_off_as_their_numbers_say():
    line, u = Resonances((ONE_W,), 0.1, True), (np.arange(1000) + 0.5) / 1000
    s = np.asarray(jax.jit(jax.vmap(lambda x: line.draw(x[None])[0]))(u))
    off = np.abs(s - ONE_W.mass**2) > CORE * ONE_W.mass * ONE_W.width
    np.testing.assert_array_equal(off, u < 0.1)
    assert (s[off] < ONE_W.mass**2).mean() == pytest.approx(0.5, abs=0.02)


def test_tables_in_a_batch_draw_as_much_below_a_point_as_their_densities_say():
    """Against NumPy's integral of the same piecewise linear densities."""
    rng = np.random.default_rng(2)
    heights, u, t = 0.1 + rng.random((50, 12)), rng.random(50), np.linspace(2.0, 5.0, 12)
    table = Table.of(t[0], t[1] - t[0], heights)
    at, density = map(
        np.asarray, jax.jit(lambda table, u: (table.draw(u), table.density(table.draw(u))))(table, u)
    )
    for i in range(50):
        total = np.trapezoid(heights[i], t)
        inside = np.r_[t[t < at[i]], at[i]]
        assert np.trapezoid(np.interp(inside, t, heights[i]), inside) / total == pytest.approx(
            u[i], rel=1e-12
        )
        assert density[i] == pytest.approx(np.interp(at[i], t, heights[i]) / total, rel=1e-12)


def test_a_table_of_the_square_has_the_slope_that_it_says():
    table = table_of(0.3 + np.random.default_rng(4).random((1, 4, 6)))[0]

    def place(p):
        x, y, slope = draw_pair(table, p[0], p[1])
        return jnp.stack([x, y]), slope

    points = np.random.default_rng(5).random((200, 2))
    jacobian, slope = jax.jit(jax.vmap(jax.jacfwd(place, has_aux=True)))(points)
    np.testing.assert_allclose(np.linalg.det(jacobian), slope, rtol=1e-9)
    corners, _ = jax.jit(jax.vmap(place))(np.array([[0.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_allclose(corners, [[0, 0], [1, 1]], atol=1e-15)


def test_an_even_table_changes_nothing():
    table, even = table_of(0.3 + np.random.default_rng(4).random((2, 4, 4))), even_table(4, 4)
    x, y, slope = draw_pair(even, 0.3, 0.7)
    np.testing.assert_allclose([x, y, slope], [0.3, 0.7, 1.0], rtol=1e-14)
    both = np.stack([even, even])
    np.testing.assert_allclose(composition(table, both), table, rtol=1e-12)
    np.testing.assert_allclose(composition(both, table), table, rtol=1e-12)


@pytest.mark.parametrize("bend", [0.0, 3.0])
def test_an_angle_has_the_density_that_it_says(bend):
    """In double precision, of one of both branches: dφ/du, and the sum of all is a turn, twice."""
    turn = 2 * np.pi * np.arange(GRID + 1) / GRID
    nodes = [(bend * np.sin(turn) + k, 1.2 + np.cos(turn + k)) for k in (0, 1)]
    masses = jax.jit(angles.masses)(nodes)
    u = (np.arange(20_000) + 0.5) / 20_000

    def angle(x, uniform):
        cell = angles.cell(masses, x, uniform)
        within = 2 * np.pi * (cell.number + np.arange(angles.FINER + 1) / angles.FINER) / GRID
        branch = jnp.where(cell.sign > 0, 0, 1)
        pull, factor = bend * jnp.sin(within) + branch, 1.2 + jnp.cos(within + branch)
        phi, weight = angles.draw(cell, pull, factor, uniform)
        return phi, (weight, cell.sign)

    drawn = jax.jit(jax.vmap(jax.value_and_grad(angle, has_aux=True), in_axes=(0, None)))
    (_, (even, _)), slope = drawn(u, 1e-12)
    np.testing.assert_allclose(slope, even, rtol=1e-6)
    (_, (guided, sign)), _ = drawn(u, 0.05)
    assert guided.mean() == pytest.approx(4 * np.pi, rel=1e-3)
    assert {-1.0, 1.0} == set(np.asarray(sign).tolist())
