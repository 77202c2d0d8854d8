"""Rules: honest errors on known integrals, and events that don't know of one another."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import HARD, SMOOTH
from scipy.special import ndtr

from deepmem.errors import UsageError
from deepmem.event import Status
from deepmem.physics.integrals import lattice
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.groups import Groups
from deepmem.physics.integrals.importance import BINS, IDENTITY, FirstMaps, better_maps, composed, mapped
from deepmem.physics.integrals.integral import Integral
from deepmem.physics.integrals.integrand import Staged, values
from deepmem.physics.integrals.lattice import Lattice
from deepmem.physics.integrals.points import GENERATING_VECTOR, TRIPLES_VECTOR, fixed_points
from deepmem.physics.integrals.quadrature import Quadrature, product_rule
from deepmem.physics.integrals.single import Single
from deepmem.physics.precision import double_precision

GOOD, PRECISION, ZERO, BAD = Status.GOOD, Status.PRECISION, Status.NO_SOLUTION, Status.BAD_INPUT


def at_least(hits: np.ndarray, nominal: float) -> None:
    """Coverage is nominal at least, within three counting errors."""
    fraction, error = hits.mean(), np.sqrt(nominal * (1 - nominal) / len(hits))
    assert fraction > nominal - 3 * error, f"{fraction:.3f} of {len(hits)} where {nominal} is due"


COUNTS = [200, pytest.param(500, marks=pytest.mark.long)]
"""Of events. Errors that are too small are seen to be from a quarter on, with 500 from a sixth on."""


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", list(HARD))
@pytest.mark.parametrize("precision", [0.03, 0.01])
def test_lattice_is_honest(name, precision, count):
    """Every event has shifts of its own, so each is a seed."""
    problem = HARD[name]
    events = problem.draw(np.random.default_rng(8), count)
    integral = Integral(problem.integrand, None, events, problem.dimensions)
    estimate = Lattice().integrate(integral, Accuracy(precision, 1 << 16, seed=3))
    good = estimate.status == GOOD
    assert good.mean() > 0.9
    pull = np.abs(estimate.value[:, 0] - problem.truth(events))[good] / estimate.error[good, 0]
    at_least(pull < 1, 0.6827)
    at_least(pull < 1.96, 0.95)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", list(SMOOTH))
@pytest.mark.parametrize("precision", [1e-2, 1e-4])
def test_quadrature_is_honest(name, precision, count):
    problem = SMOOTH[name]
    events = problem.draw(np.random.default_rng(9), count)
    integral = Integral(problem.integrand, None, events, problem.dimensions)
    estimate = Quadrature().integrate(integral, Accuracy(precision))
    good = estimate.status == GOOD
    assert good.mean() > 0.2
    true_error = np.abs(estimate.value[:, 0] - problem.truth(events))
    assert np.mean(true_error[good] <= estimate.error[good, 0]) >= 0.95
    assert np.all(estimate.error[good, 0] <= precision * np.abs(estimate.value[good, 0]))


# --- what an integrand may do ---


def _awkward(shared, event, x):
    """Zero everywhere, in parts not finite, or well-behaved, as the event says."""
    kind = event["kind"]
    value = 1 + x.sum() * event["a"]
    value = jnp.where(kind == 1, 0.0, value)
    value = jnp.where((kind == 2) & (x[0] < 0.1), jnp.inf, value)
    value = jnp.where((kind == 3) & (x[0] < 0.001), jnp.nan, value)
    return jnp.where(kind == 4, jnp.nan, value)


KINDS = {"kind": np.array([0, 1, 2, 3, 4, 0]), "a": np.array([1.0, 1, 1, 1, np.nan, 2])}
EXPECTED = [GOOD, ZERO, PRECISION, PRECISION, BAD, GOOD]


@pytest.mark.parametrize("rule", [Lattice(), Quadrature()])
def test_failures_stay_with_their_event(rule):
    accuracy = Accuracy(0.02, 1 << 14)
    estimate = rule.integrate(Integral(_awkward, None, KINDS, 2), accuracy)
    expected = list(EXPECTED)
    if rule == Quadrature():
        expected[3] = GOOD  # no node comes that near to the edge
    np.testing.assert_array_equal(estimate.status, expected)
    assert estimate.value[0, 0] == pytest.approx(2, rel=0.02)
    assert estimate.value[5, 0] == pytest.approx(3, rel=0.02)
    assert (estimate.value[1, 0], estimate.error[1, 0]) == (0, 0)
    assert np.isnan([estimate.value[4, 0], estimate.error[4, 0]]).all()
    first = {"kind": np.array([0]), "a": np.array([1.0])}
    alone = rule.integrate(Integral(_awkward, None, first, 2), accuracy)
    assert alone.value[0, 0] == estimate.value[0, 0]


def test_no_dimension():
    def integrand(shared, event, x):
        return jnp.stack([shared * event, event**2])

    integral = Integral(integrand, 3.0, np.array([2.0, 0.0, np.nan, 5.0]), 0)
    estimate = Single().integrate(integral, Accuracy())
    np.testing.assert_array_equal(estimate.value, [[6, 4], [0, 0], [np.nan, np.nan], [15, 25]])
    np.testing.assert_array_equal(estimate.error, [[0, 0], [0, 0], [np.nan, np.nan], [0, 0]])
    np.testing.assert_array_equal(estimate.status, [GOOD, ZERO, BAD, GOOD])
    assert estimate.value.dtype == np.float64
    np.testing.assert_array_equal(estimate.evaluations, 1)


@pytest.mark.parametrize("rule", [Lattice(), Quadrature()])
def test_one_event_alone_is_the_same(rule):
    """Bit for bit: alone, in another order, in other batches, and beside harder events."""
    problem = HARD["lorentzians"]
    events = problem.draw(np.random.default_rng(2), 150)
    accuracy = Accuracy(0.01, 1 << 15, seed=5)
    everything = rule.integrate(Integral(problem.integrand, None, events, 3), accuracy)
    order = np.random.default_rng(0).permutation(150)
    for rows in (order, [17], [149, 3, 60]):
        some = {name: column[rows] for name, column in events.items()}
        again = rule.integrate(Integral(problem.integrand, None, some, 3, indices=np.asarray(rows)), accuracy)
        for field in ("value", "error", "status", "evaluations"):
            np.testing.assert_array_equal(getattr(again, field), getattr(everything, field)[rows])


SIZES = np.array([1, 3, 2, 12, 1, 5] * 15)
"""Of groups: contributions to each of 90 events."""


def _grouped(events, numbers):
    """The integral of these events, each of as many contributions as `SIZES` says."""
    problem = HARD["lorentzians"]
    event = np.repeat(np.arange(len(numbers)), SIZES[numbers])
    first = np.concatenate([[0], np.cumsum(SIZES)])
    rows = np.concatenate([np.arange(first[n], first[n + 1]) for n in numbers])
    chosen = {name: column[rows] for name, column in events.items()}
    parts = rows - first[np.asarray(numbers)][event]
    return Integral(
        problem.integrand, None, chosen, 3, np.asarray(numbers)[event], parts, groups=Groups(event)
    )


def test_contributions_stop_when_their_sum_is_precise():
    """Of any number: errors of sums are honest, and a small contribution to a large sum costs little."""
    events = HARD["lorentzians"].draw(np.random.default_rng(4), SIZES.sum())
    integral, precision = _grouped(events, np.arange(len(SIZES))), 0.01
    estimate = Lattice().integrate(integral, Accuracy(precision, 1 << 18, seed=2))
    groups = integral.contributions
    value, error = groups.sum(estimate.value)[:, 0], np.sqrt(groups.sum(estimate.error**2))[:, 0]
    assert np.all(error <= precision * value)
    pull = np.abs(value - groups.sum(HARD["lorentzians"].truth(events))) / error
    at_least(pull < 1, 0.6827)
    at_least(pull < 1.96, 0.95)
    alone = Lattice().integrate(Integral(integral.f, None, events, 3), Accuracy(precision, 1 << 18, seed=2))
    trifle = estimate.value[:, 0] < 0.02 * value[groups.event]
    assert trifle.sum() > 10
    assert estimate.evaluations[trifle].sum() < alone.evaluations[trifle].sum()


def test_one_group_alone_is_the_same():
    """Bit for bit, beside groups of other sizes, across windows, and in another order."""
    events = HARD["lorentzians"].draw(np.random.default_rng(4), SIZES.sum())
    accuracy = Accuracy(0.01, 1 << 15, seed=5)
    integral = _grouped(events, np.arange(len(SIZES)))
    everything, groups = Lattice().integrate(integral, accuracy), integral.contributions
    order = np.random.default_rng(0).permutation(len(SIZES))
    for numbers in (order, np.array([17]), np.array([3, 89, 60])):
        again = Lattice().integrate(_grouped(events, numbers), accuracy)
        rows = np.concatenate([np.flatnonzero(groups.event == n) for n in numbers])
        for field in ("value", "error", "status", "evaluations"):
            np.testing.assert_array_equal(getattr(again, field), getattr(everything, field)[rows])


def test_contributions_may_have_different_integrands():
    """Bit for bit what each has alone, whatever the others; and errors that allow for more by event."""
    problems, rng = (HARD["lorentzians"], SMOOTH["gaussian 3"]), np.random.default_rng(6)
    events = problems[0].draw(rng, 80)
    kinds, accuracy = rng.integers(2, size=80), Accuracy(0.01, 1 << 15, seed=5)
    both, allowances = tuple(each.integrand for each in problems), np.where(kinds, 2.0, 1.0)
    integral = Integral(both, None, events, 3, kinds=kinds, allowances=allowances)
    found = Lattice().integrate(integral, accuracy)
    for kind, f in enumerate(both):
        rows = np.flatnonzero(kinds == kind)
        some = {name: column[rows] for name, column in events.items()}
        rule = Lattice(allowance=1.0 + kind)
        alone = rule.integrate(Integral(f, None, some, 3, indices=rows), accuracy)
        for field in ("value", "error", "status", "evaluations"):
            np.testing.assert_array_equal(getattr(found, field)[rows], getattr(alone, field))


def test_a_quadrature_may_have_different_integrands():
    """Each event has its own, bit for bit as alone."""
    problem, kinds = SMOOTH["gaussian 3"], np.arange(40) % 2
    events = problem.draw(np.random.default_rng(6), 40)
    both = problem.integrand, _doubled
    found = Quadrature().integrate(Integral(both, None, events, 3, kinds=kinds), Accuracy(0.01))
    alone = Quadrature().integrate(Integral(problem.integrand, None, events, 3), Accuracy(0.01))
    np.testing.assert_array_equal(found.value[:, 0], alone.value[:, 0] * (1 + kinds))


def _doubled(shared, event, x):
    return 2 * SMOOTH["gaussian 3"].integrand(shared, event, x)


def test_windows_leave_groups_whole():
    groups = Groups(np.repeat(np.arange(len(SIZES)), SIZES))
    for rows in (1, 4, 13, 10_000):
        windows = list(groups.windows(rows))
        assert np.r_[0, [each.stop for each in windows]].tolist() == [
            *(w.start for w in windows),
            SIZES.sum(),
        ]
        assert set(groups.first) >= {each.start for each in windows}
        assert all(w.stop - w.start <= max(rows, 12) for w in windows)
        assert all(groups[w].event[0] == 0 and np.diff(groups[w].event).max(initial=0) <= 1 for w in windows)


def test_seeds_differ_and_repeat():
    problem = HARD["smooth"]
    events = problem.draw(np.random.default_rng(2), 20)
    integral = Integral(problem.integrand, None, events, 4)
    first, again, other = (Lattice().integrate(integral, Accuracy(seed=seed)).value for seed in (1, 1, 7))
    np.testing.assert_array_equal(first, again)
    assert np.all(first != other)
    same = {name: np.repeat(column[:1], 2, axis=0) for name, column in events.items()}
    twins = Lattice().integrate(Integral(problem.integrand, None, same, 4), Accuracy()).value
    assert twins[0] != twins[1]


def test_hard_events_do_not_make_easy_ones_wait():
    problem = HARD["peaked off axis"]
    events = {"a": np.array([[1.0] * 4, [60.0] * 4]), "c": np.full((2, 4), 0.37)}
    easy, hard = Lattice().integrate(Integral(problem.integrand, None, events, 4), Accuracy()).evaluations
    assert easy == 4096
    assert hard > 2 * easy


def test_learning_pays():
    problem = HARD["peaked off axis"]
    events = problem.draw(np.random.default_rng(4), 40)
    integral = Integral(problem.integrand, None, events, 4)
    on_maps, plain = (
        Lattice(adapt=adapt).integrate(integral, Accuracy(calls=1 << 18)).evaluations
        for adapt in (True, False)
    )
    assert on_maps.mean() < 0.4 * plain.mean()


def test_maps_from_points_that_count_for_nothing_pay():
    """An event starts on a map of all coordinates that other points taught; its value is the same."""
    problem = HARD["peaked off axis"]
    events = {"a": np.full((40, 4), 2.5), "c": np.random.default_rng(4).uniform(0.2, 0.8, (40, 4))}
    points = fixed_points(2, 4)
    with double_precision():
        (w,) = values(problem.integrand, None, events, np.tile(points.reshape(1, -1, 4), (40, 1, 1)))
    maps = FirstMaps.from_points(points.reshape(-1, 4), np.asarray(w)[..., 0])
    assert maps.learned.all()
    integral = Integral(problem.integrand, None, events, 4)
    rule, accuracy = Lattice(minimum=512, adapt=False), Accuracy(1e-2, seed=2)
    plain = rule.integrate(integral, accuracy)
    mapped_first = rule.integrate(replace(integral, maps=maps), accuracy)
    for found in (plain, mapped_first):
        pull = (found.value[:, 0] - problem.truth(events)) / found.error[:, 0]
        at_least(np.abs(pull) < 1.96, 0.95)
    assert mapped_first.evaluations.mean() < 0.8 * plain.evaluations.mean()


def test_few_points_teach_no_map():
    """One large value is no reason to keep points from all that was not seen."""
    points = fixed_points(2, 3).reshape(-1, 3)
    w = np.stack([np.ones(512), np.zeros(512), np.where(np.arange(512) == 7, 1e3, 1.0)])
    maps = FirstMaps.from_points(points, w)
    np.testing.assert_array_equal(maps.learned, [True, False, False])
    np.testing.assert_array_equal(maps.knots[1:], FirstMaps.none(2, 3).knots)
    np.testing.assert_allclose(maps.of_all()[0], IDENTITY[None].repeat(3, axis=0), atol=0.02)


def _falling(_, event, x):
    return jnp.exp(-event["slope"] * x.sum())[None]


def test_a_map_that_is_worse_is_dropped(monkeypatch):
    """Whatever gain was expected of it: the one before is back, and no other one is learned."""
    slope = np.array([4.0, 5.0])
    events, maps = {"slope": slope}, FirstMaps.none(2, 2)._replace(learned=np.ones(2, dtype=bool))
    adopted = []

    def expected_to_help(grid, moments, *others):
        adopted.append(len(grid))
        rising = np.linspace(0.2, 1.8, BINS) / BINS
        return composed(grid, np.broadcast_to(rising, moments.shape[:3])), np.full(len(grid), 1e9)

    monkeypatch.setattr(lattice, "better_maps", expected_to_help)
    integral = Integral(_falling, None, events, 2, minimum=2048, maps=maps, remembered=True)
    found = Lattice().integrate(integral, Accuracy(1e-6, 1 << 15))
    assert sum(adopted) == 2
    assert found.course.stage.tolist() == [2, 2]
    np.testing.assert_array_equal(found.course.grid, maps.of_all())
    truth = ((1 - np.exp(-slope)) / slope) ** 2
    assert np.all(np.abs(found.value[:, 0] - truth) < 4 * found.error[:, 0])


def test_each_map_is_smoothed_as_often_as_is_said():
    rng = np.random.default_rng(1)
    grid, moments = np.tile(IDENTITY, (3, 2, 1, 1)), rng.exponential(size=(3, 2, BINS, 1))
    moments /= moments.sum(axis=2, keepdims=True)
    rest = moments, np.full((3, 16, 1), 0.1), np.full(3, 512)
    together = better_maps(grid, *rest, np.array([1, 3, 1]))
    for times, of in ((1, [0, 2]), (3, [1])):
        for each, alone in zip(together, better_maps(grid, *rest, times), strict=True):
            np.testing.assert_array_equal(each[of], alone[of])
    once, thrice = (better_maps(grid, *rest, times)[0][..., 0] for times in (1, 3))
    assert np.all(np.abs(np.diff(thrice, 2)).sum(axis=-1) < np.abs(np.diff(once, 2)).sum(axis=-1))


def test_budget_is_kept():
    problem = HARD["resonance"]
    events = problem.draw(np.random.default_rng(4), 20)
    for calls in (256, 5000, 30_000):
        integral = Integral(problem.integrand, None, events, 3)
        estimate = Lattice().integrate(integral, Accuracy(1e-6, calls))
        assert np.all(estimate.evaluations <= calls)
        assert np.all(estimate.status == PRECISION)
        assert np.all(np.isfinite(estimate.error))


def _scan(theta, event, x):
    """One integral per parameter value, with its derivative: the values share their points."""

    def one(t):
        return jnp.exp(-event["b"] * t * x.sum())

    return jnp.stack([one(theta), jax.grad(one)(theta)])


def test_values_share_points_and_derivatives_agree():
    """d/dθ of the estimate is the estimate of d/dθ, to rounding: the points don't depend on θ."""
    events = {"b": np.linspace(0.5, 2, 10)}
    centre, up, down = (
        Lattice(adapt=False).integrate(Integral(_scan, theta, events, 3, steering=1), Accuracy(1e-3))
        for theta in (1.3, 1.3 + 1e-5, 1.3 - 1e-5)
    )
    np.testing.assert_array_equal(centre.evaluations, up.evaluations)
    difference = (up.value[:, 0] - down.value[:, 0]) / 2e-5
    np.testing.assert_allclose(centre.value[:, 1], difference, rtol=1e-8)
    b = events["b"] * 1.3
    np.testing.assert_allclose(centre.value[:, 0], ((1 - np.exp(-b)) / b) ** 3, rtol=4e-3)


def test_compiles_once():
    traces = []

    def integrand(shared, event, x):
        traces.append(1)
        return shared + event * x[0]

    Lattice().integrate(Integral(integrand, 1.0, np.ones(5), 2), Accuracy())
    count = len(traces)
    Lattice().integrate(Integral(integrand, 2.0, np.ones(700), 2), Accuracy(3e-3, seed=4))
    Lattice().integrate(Integral(integrand, 3.0, np.ones(1), 2), Accuracy())
    assert len(traces) == count


def test_product_rule():
    """Exact for polynomials of degree 2n − 1 in each direction."""
    points, weights = product_rule(3, 4)
    assert weights.sum() == pytest.approx(1)
    assert (weights * points[:, 0] ** 7 * points[:, 2] ** 6).sum() == pytest.approx(1 / 56)


@pytest.mark.parametrize("order", [1, 2, 11, 64, 2048])
def test_rules_of_many_nodes_are_exact(order):
    points, weights = product_rule(1, order)
    assert (np.diff(points[:, 0]) > 0).all()
    for degree in (order, 2 * order - 1):
        assert weights @ points[:, 0] ** degree == pytest.approx(1 / (degree + 1), rel=1e-11)


def test_generating_vector_is_a_good_one():
    """Each 2-d projection of the 1024-point lattice is far more even than random points (P₂)."""
    n = 1024
    x = np.outer(np.arange(n), GENERATING_VECTOR[:12]) / n % 1
    bernoulli = 2 * np.pi**2 * (x * x - x + 1 / 6)
    for first in range(12):
        for second in range(first):
            p2 = np.mean((1 + bernoulli[:, first]) * (1 + bernoulli[:, second])) - 1
            assert p2 < 5e-3, (first, second)


@pytest.mark.parametrize("places", [(0, 1, 2), (2, 3, 4), (0, 3, 4)])
def test_lattice_for_triples_has_no_short_relations(places):
    """An integrand of h·x, on a plane of the lattice for h = (4, −1, −3): to 1e-3 at all numbers of points."""
    x = np.random.default_rng(5).random((64, 1, 3))

    def spread(vector: np.ndarray, points: int) -> float:
        z = vector[list(places)]
        u = 1 - np.abs(2 * ((np.outer(np.arange(points), z) / points + x) % 1) - 1)
        values = np.exp(-(((u[..., 0] + 0.7 * u[..., 1] - u[..., 2] - 0.3) / 0.25) ** 2)).mean(axis=1)
        return float(values.std() / values.mean())

    assert spread(TRIPLES_VECTOR, 1 << 12) < 2e-3
    if places == (2, 3, 4):
        assert spread(GENERATING_VECTOR, 1 << 12) > 1e-2


def test_maps_are_changes_of_variables():
    """Learned maps are monotone, cover (0, 1), and their Jacobian is their derivative."""
    rng = np.random.default_rng(3)
    density = rng.uniform(0.05, 1, (1, 1, 32)) ** 3
    grid = composed(IDENTITY[None, None], density)
    grid = composed(grid, rng.uniform(0.05, 1, (1, 1, 32)))[0, 0]
    with jax.enable_x64(True):
        u = np.linspace(0, 1, 5001)
        y, jacobian = jax.vmap(lambda v: mapped(jnp.asarray(grid), v))(u)
        slope = jax.vmap(jax.grad(lambda v: mapped(jnp.asarray(grid), v)[0]))(u)
    y, jacobian, slope = map(np.asarray, (y, jacobian, slope))
    assert (y[0], y[-1]) == (0, pytest.approx(1))
    assert np.all(np.diff(y) > 0)
    np.testing.assert_allclose(jacobian, slope, rtol=1e-9)


def _pair(**changes):
    return Integral(_awkward, None, KINDS, **({"dimensions": 2} | changes))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Lattice().integrate(_pair(dimensions=21), Accuracy()), "1 to 20 dimensions"),
        (lambda: Lattice().integrate(_pair(), Accuracy(calls=10)), "at least 256 calls"),
        (lambda: Lattice(shifts=5), "power of two"),
        (lambda: Accuracy(0), "positive relative error"),
        (lambda: Accuracy(np.nan), "positive relative error"),
        (lambda: _pair(indices=np.arange(3)), "one entry per event"),
        (lambda: _pair(groups=Groups.of_size(3, 1)), "groups must have one entry per event"),
        (lambda: Integral(_awkward, None, {"a": np.ones(2), "b": np.ones(3)}, 2), "one length"),
        (lambda: Quadrature().integrate(_pair(dimensions=4), Accuracy()), "1 to 3 dimensions"),
        (lambda: Quadrature().integrate(_pair(groups=Groups.of_size(2, 3)), Accuracy()), "every event alone"),
        (lambda: Single().integrate(_pair(), Accuracy()), "for no dimension"),
        (lambda: Single().integrate(_pair(dimensions=0, kinds=np.arange(6)), Accuracy()), "of one integrand"),
    ],
)
def test_wrong_calls(call, message):
    with pytest.raises(UsageError, match=message):
        call()


@pytest.mark.parametrize(("rule", "dimensions"), [(Lattice(), 2), (Quadrature(), 2), (Single(), 0)])
def test_no_events(rule, dimensions):
    nothing = {"a": np.zeros(0), "kind": np.zeros(0)}
    estimate = rule.integrate(Integral(_awkward, None, nothing, dimensions), Accuracy())
    assert len(estimate.value) == len(estimate.status) == 0


@pytest.mark.parametrize("value", [Lattice(32, 1.0, 1 << 10), Quadrature(), Single(), Accuracy(0.1, seed=2)])
def test_rules_and_accuracy_are_values(value):
    assert {value: 1}[replace(value)] == 1


@pytest.mark.parametrize("name", ["lorentzians", "discontinuous"])
def test_a_lattice_that_is_followed_knows_ratios(name):
    """The same integrand has the same values; of one that is nearly the same, the ratio's error holds."""
    problem = HARD[name]
    events = problem.draw(np.random.default_rng(8), 200)
    near = events | {"c": events["c"] * 1.002}
    accuracy = Accuracy(0.01, 1 << 18, seed=3)
    first = Lattice().integrate(
        Integral(problem.integrand, None, events, problem.dimensions, remembered=True), accuracy
    )
    follow = {"dimensions": problem.dimensions, "remembered": True, "follows": first.course}
    again = Lattice().integrate(Integral(problem.integrand, None, events, **follow), accuracy)
    np.testing.assert_allclose(again.value, first.value, rtol=1e-12)
    np.testing.assert_allclose(again.error, first.error, rtol=1e-6)
    varied = Lattice().integrate(Integral(problem.integrand, None, near, **follow), accuracy)
    error, ratio = _ratio(first, varied)
    pull = (ratio / (problem.truth(near) / problem.truth(events)) - 1) / error
    assert np.median(error) < 0.6 * np.median(first.error / first.value)
    at_least(np.abs(pull) < 1, 0.6827)
    at_least(np.abs(pull) < 1.96, 0.95)


def test_a_quadrature_that_is_followed_knows_ratios():
    problem = SMOOTH["lorentzians 2"]
    events = problem.draw(np.random.default_rng(9), 200)
    near = events | {"c": events["c"] * 1.01}
    accuracy = Accuracy(1e-3)
    first = Quadrature().integrate(Integral(problem.integrand, None, events, 2, remembered=True), accuracy)
    follow = Integral(problem.integrand, None, near, 2, remembered=True, follows=first.course)
    varied = Quadrature().integrate(follow, accuracy)
    np.testing.assert_array_equal(varied.course.levels, first.course.levels)
    error, ratio = _ratio(first, varied)
    true_error = np.abs(ratio / (problem.truth(near) / problem.truth(events)) - 1)
    assert np.mean(true_error <= error + 1e-12) >= 0.95
    assert np.median(error) < 0.5 * np.median(first.error / first.value)


@pytest.mark.parametrize("rule", [Lattice(), Quadrature()])
def test_a_course_that_is_continued_is_the_one_with_more_points(rule):
    """The same bits as with all of its points at once; a lattice pays for the new ones alone."""
    problem = SMOOTH["lorentzians 2"]
    events = problem.draw(np.random.default_rng(9), 20)
    whole = Integral(problem.integrand, None, events, 2, remembered=True)
    first = rule.integrate(whole, Accuracy(0.05, seed=2))
    longer, cost = rule.further(first.course, 2)
    assert (cost > 0).all()
    more = rule.integrate(replace(whole, follows=longer), Accuracy(0.05, seed=2))
    some = np.arange(3, 15)
    at_some = lambda course: jax.tree.map(lambda leaf: leaf[some], course)  # noqa: E731
    again = rule.integrate(whole.alone(some, at_some(longer), at_some(first.course)), Accuracy(0.05, seed=2))
    np.testing.assert_array_equal(again.value, more.value[some])
    np.testing.assert_array_equal(again.error, more.error[some])
    assert np.median(more.error) < 0.7 * np.median(first.error)
    assert (again.evaluations == np.minimum(cost, more.evaluations)[some]).all()


def _ratio(first, varied):
    """The relative error of a ratio, by the covariance, and the ratio."""
    (i, di), (j, dj) = ((each.value[:, 0], each.error[:, 0]) for each in (first, varied))
    square = (di / i) ** 2 + (dj / j) ** 2 - 2 * first.course.covariance(varied.course)[:, 0] / (i * j)
    return np.sqrt(np.maximum(square, 0)), j / i


def _even_or_peaked(shared, event, x):
    """1, or a peak of a 512th of the volume whose integral is 0.2, beside little in a 128th."""
    narrow, wide = (((x > 0.4) & (x < 0.4 + volume ** (1 / 3))).all() for volume in (1 / 512, 1 / 128))
    return jnp.where(event["peaked"], 0.2 * 512 * narrow + 1e-3 * wide, 1.0)


def test_a_contribution_of_which_little_is_known_goes_on():
    """Its first 256 points often miss a sixth of the sum, and say next to nothing of what they find."""
    events = {"peaked": np.tile([False, True], 60)}
    integral = Integral(
        _even_or_peaked, None, events, 3, minimum=np.full(120, 256), groups=Groups.of_size(2, 60)
    )
    rule, accuracy = Lattice(adapt=False), Accuracy(1e-2, seed=3)

    def shares_missing(believed: int) -> float:
        found = rule.integrate(replace(integral, believed=believed), accuracy)
        return (found.value[1::2, 0] < 0.1).mean()

    assert shares_missing(0) > 0.2
    assert shares_missing(4096) < 0.05


def test_one_large_value_makes_no_map():
    """A map from it would keep points from all else, whatever that is worth."""

    def spiked(shared, event, x):
        return 1 + 3000 * jnp.exp(-((x - event) ** 2).sum() / 2e-4)

    centres = np.random.default_rng(2).uniform(0.1, 0.9, (400, 3))
    integral = Integral(spiked, None, centres, 3, minimum=256, remembered=True)
    few, many = (Lattice().integrate(integral, Accuracy(0.1, calls, seed=3)) for calls in (1 << 9, 1 << 16))
    assert (few.error[:, 0] > 0.3 * few.value[:, 0]).sum() > 3  # a spike was seen
    assert (few.course.stage == 0).all()
    assert (many.course.stage > 0).any()  # more points may teach one


_PEAKS = ((0.85, "wide", 0.15), (0.15, "narrow", 0.09))


def _two_peaks(shared, event, x):
    """Two bells in four coordinates, the second one with 0.15 of the integral."""
    heights = [part / (width * np.sqrt(2 * np.pi)) ** 4 for part, _, width in _PEAKS]
    squares = [((x - event[name]) ** 2).sum() / (2 * width**2) for _, name, width in _PEAKS]
    return sum(height * jnp.exp(-square) for height, square in zip(heights, squares, strict=True))[None]


def test_a_map_keeps_points_for_a_peak_that_few_have_seen():
    """A map that leaves it out in each of its coordinates makes the sum low, and its error as small."""
    rng = np.random.default_rng(3)
    events = {"wide": rng.uniform(0.3, 0.4, (150, 4)), "narrow": rng.uniform(0.7, 0.8, (150, 4))}
    truth = sum(
        part * (ndtr((1 - events[name]) / width) - ndtr(-events[name] / width)).prod(axis=1)
        for part, name, width in _PEAKS
    )
    integral = Integral(_two_peaks, None, events, 4)
    found = Lattice(minimum=1024).integrate(integral, Accuracy(0.02, 1 << 17, seed=1))
    pull = ((found.value[:, 0] - truth) / found.error[:, 0])[found.status == 0]
    assert len(pull) > 140
    assert (np.abs(pull) > 3).sum() < 5
    assert abs(pull.mean()) < 0.4


def _root(shared, event, x, _):
    return shared * x[0] - event


def _branches(shared, event, x, rest):
    root = jnp.sqrt(jnp.abs(rest))
    return ((jnp.stack([root, -root]), x[1:]), jnp.broadcast_to(rest > 0, 2) & (jnp.arange(2) < 1 + x[1]))


def _of_branch(shared, parcel):
    root, x = parcel
    return jnp.exp(root) * x + shared


@pytest.mark.parametrize("large", [False, True])
def test_stages_are_the_sum_over_solutions_whatever_the_other_slots(large):
    """And slots that are not used cost nothing, and are 0."""
    f, shared = Staged((_root, _branches), _of_branch, large), 2.0
    rng = np.random.default_rng(6)
    events, x = rng.random(24), rng.random((24, 256, 2))
    with double_precision():
        (found,) = values(f, shared, events, x)
        (few,) = values(f, shared, events, x, 3)
        (turned,) = values(f, shared, events[::-1].copy(), x[::-1].copy())
    rest = shared * x[..., 0] - events[:, None]
    root = np.sqrt(np.abs(rest))
    expected = np.where(rest > 0, np.exp(root) * x[..., 1] + shared, 0.0)
    expected += np.where((rest > 0) & (x[..., 1] > 0), np.exp(-root) * x[..., 1] + shared, 0.0)
    np.testing.assert_allclose(found[..., 0], expected, rtol=1e-12)
    np.testing.assert_array_equal(few[:3], found[:3])
    assert not np.asarray(few)[8:].any()
    np.testing.assert_array_equal(turned[::-1], found)


@pytest.mark.parametrize("large", [False, True])
def test_stages_are_traced_once(large):
    """A second pass through Python costs a user's first weight a second."""
    seen = []

    def step(shared, event, x, _):
        seen.append("step")
        return _branches(shared, event, x, _root(shared, event, x, None))

    def of_branch(shared, parcel):
        seen.append("branch")
        return _of_branch(shared, parcel)

    rng = np.random.default_rng(6)
    with double_precision():
        values(Staged((step,), of_branch, large), 2.0, rng.random(24), rng.random((24, 256, 2)))
    assert sorted(seen) == ["branch", "step"]
