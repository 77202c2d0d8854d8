"""Neutrinos: solutions re-derive what was given, Jacobians agree with derivatives, roots with numpy's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepmem.physics.phasespace.roots import quartic_roots
from deepmem.physics.phasespace.solutions import Direction, top_pair, w_pair
from deepmem.physics.precision import PrecisionError

TOP, W = 173.0, 80.419
TWO_PI_6 = (2 * np.pi) ** 6


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def square(p):
    return p[0] ** 2 - p[1] ** 2 - p[2] ** 2 - p[3] ** 2


def plus(*momenta):
    return tuple(sum(x) for x in zip(*momenta, strict=True))


def random_momenta(generator, number: int, mass: float = 0.0, scale: float = 60.0):
    vectors = generator.normal(scale=scale, size=(3, number))
    return np.sqrt(np.sum(vectors**2, axis=0) + mass**2), *vectors


def top_events(number: int, seed: int = 1, lepton_mass: float = 0.0):
    """Visible momenta, true neutrinos, and the masses and missing p_T that they make."""
    g = np.random.default_rng(seed)
    l_plus, l_minus = (random_momenta(g, number, lepton_mass) for _ in range(2))
    b, b_bar = (random_momenta(g, number, 4.7) for _ in range(2))
    nu, nu_bar = (random_momenta(g, number) for _ in range(2))
    visible = (l_plus, b, l_minus, b_bar)
    return visible, nu, nu_bar, (nu[1] + nu_bar[1], nu[2] + nu_bar[2]), masses_of(visible, nu, nu_bar)


def masses_of(visible, nu, nu_bar):
    l_plus, b, l_minus, b_bar = visible
    pairs = (plus(l_plus, nu), plus(l_plus, nu, b), plus(l_minus, nu_bar), plus(l_minus, nu_bar, b_bar))
    return tuple(square(p) for p in pairs)


_top_pair = jax.jit(top_pair)
AT_ONCE = 2000


def solve(*given):
    """`top_pair`, compiled for `AT_ONCE` events; the last one fills what is left of them."""
    number = given[0][0].shape[-1]
    leaves, tree = jax.tree.flatten(given)
    padded = np.pad(np.stack(leaves), ((0, 0), (0, -number % AT_ONCE)), mode="edge")
    parts = [
        jax.tree.map(np.asarray, _top_pair(*jax.tree.unflatten(tree, [*piece])))
        for piece in np.split(padded, padded.shape[1] // AT_ONCE, axis=1)
    ]
    return jax.tree.map(lambda *each: np.concatenate(each, axis=-1)[..., :number], *parts)


def assert_rederives(visible, missing, masses, found, rtol=1e-9):
    valid = np.asarray(found.valid)
    scale = sum(p[0] for p in visible) + found.neutrino[0] + found.antineutrino[0]
    for got, wanted in zip(masses_of(visible, found.neutrino, found.antineutrino), masses, strict=True):
        error = np.abs(got - wanted) / scale**2
        assert np.all(error[valid] < rtol)
    for i in (0, 1):
        error = np.abs(found.neutrino[i + 1] + found.antineutrino[i + 1] - missing[i]) / scale
        assert np.all(error[valid] < rtol)


@pytest.mark.parametrize("lepton_mass", [0.0, 1.777])
def test_the_true_neutrinos_are_among_the_solutions(lepton_mass):
    visible, nu, nu_bar, missing, masses = top_events(20000, lepton_mass=lepton_mass)
    found = solve(*visible, missing, masses)
    assert found.jacobian.shape == (4, 20000)
    assert_rederives(visible, missing, masses, found)
    distance = sum(
        np.abs(found.neutrino[i] - nu[i]) + np.abs(found.antineutrino[i] - nu_bar[i]) for i in range(4)
    )
    distance = np.where(found.valid, distance / (nu[0] + nu_bar[0]), np.inf).min(axis=0)
    # two solutions that nearly coincide are known to half as many digits
    assert np.mean(distance < 1e-8) > 0.9995
    assert np.all(distance < 1e-4)
    # conics cross an even number of times
    assert np.all(np.asarray(found.valid).sum(axis=0) % 2 == 0)


def test_number_of_solutions_is_numpys():
    """An independent way: elimination to numpy's quartic in p_x, with fresh masses that need no solution."""
    visible, *_, missing, _ = top_events(400, seed=4)
    g = np.random.default_rng(5)
    masses = tuple(g.uniform(low, high, 400) ** 2 for low, high in ((40, 120), (150, 300)) * 2)
    found = solve(*visible, missing, masses)
    assert_rederives(visible, missing, masses, found)
    ours = np.asarray(found.valid).sum(axis=0)
    for event in range(400):
        expected = crossings(
            [[x[event] for x in p] for p in visible], [m[event] for m in missing], [s[event] for s in masses]
        )
        got = np.sort(np.asarray(found.neutrino[1])[np.asarray(found.valid)[:, event], event])
        assert ours[event] == len(expected)
        np.testing.assert_allclose(got, np.sort(expected), rtol=1e-5, atol=1e-4)
    assert {0, 2, 4} == set(ours.tolist())


def crossings(visible, missing, masses) -> list[float]:
    """p_x of the neutrino where two conics cross, by numpy's determinants and companion matrix."""

    def conic(lepton, quark, s_w, s_t):
        """(E, p_z) linear in (p_x, p_y, 1), and the conic E² = p_x² + p_y² + p_z²."""
        sum_ = np.array(lepton) + np.array(quark)
        right = [
            [lepton[1], lepton[2], (s_w - square(lepton)) / 2],
            [sum_[1], sum_[2], (s_t - square(sum_)) / 2],
        ]
        e, z = np.linalg.solve([[lepton[0], -lepton[3]], [sum_[0], -sum_[3]]], right)
        return np.outer(e, e) - np.outer(z, z) - np.diag([1.0, 1.0, 0.0]), e

    first, e1 = conic(visible[0], visible[1], *masses[:2])
    second, e2 = conic(visible[2], visible[3], *masses[2:])
    turn = np.array([[-1, 0, missing[0]], [0, -1, missing[1]], [0, 0, 1.0]])
    second, e2 = turn.T @ second @ turn, e2 @ turn

    def in_y(m):
        return [
            np.poly1d([m[1, 1]]),
            np.poly1d([2 * m[0, 1], 2 * m[1, 2]]),
            np.poly1d([m[0, 0], 2 * m[0, 2], m[2, 2]]),
        ]

    (a, b, c), (d, e, f) = (
        in_y(first / np.abs(first[:2, :2]).max()),
        in_y(second / np.abs(second[:2, :2]).max()),
    )
    resultant = (a * f - d * c) ** 2 - (a * e - d * b) * (b * f - e * c)
    result = []
    for x in resultant.roots:
        if abs(x.imag) > 1e-7 * (1 + abs(x)):
            continue
        x = x.real
        y = -(a * f - d * c)(x) / (a * e - d * b)(x)
        if np.dot(e1, [x, y, 1]) > 0 and np.dot(e2, [x, y, 1]) > 0:
            result.append(x)
    return result


def test_jacobian_is_that_of_autodiff_and_finite_differences():
    """J (2π)⁶ 4 E Ē |∂(s, s, s, s, missing)/∂(p, p̄)| = 1."""
    visible, _, _, missing, masses = top_events(200, seed=2)
    found = solve(*visible, missing, masses)

    def given(v, legs):
        p, q = ((jnp.sqrt(v[i] ** 2 + v[i + 1] ** 2 + v[i + 2] ** 2), *v[i : i + 3]) for i in (0, 3))
        return jnp.stack([*masses_of(legs, p, q), p[1] + q[1], p[2] + q[2]])

    auto = jax.jit(jax.jacfwd(given))
    for event in range(200):
        legs = [tuple(x[event] for x in p) for p in visible]
        for k in np.flatnonzero(np.asarray(found.valid)[:, event]):
            p, q = ([np.asarray(x)[k, event] for x in n] for n in (found.neutrino, found.antineutrino))
            v = np.array([*p[1:], *q[1:]])
            jacobian = np.asarray(found.jacobian)[k, event] * TWO_PI_6 * 4 * p[0] * q[0]
            det = abs(np.linalg.det(auto(v, legs)))
            np.testing.assert_allclose(jacobian * det, 1, rtol=1e-7)
            if event < 10:
                steps = 1e-3 * np.eye(6)
                differences = np.array([(given(v + h, legs) - given(v - h, legs)) / 2e-3 for h in steps]).T
                np.testing.assert_allclose(abs(np.linalg.det(differences)), det, rtol=1e-5)


def test_no_solution_and_nan_stay_where_they_are():
    visible, _, _, missing, masses = top_events(64, seed=3)
    expected = solve(*visible, missing, masses)
    light = tuple(s.copy() for s in masses)
    light[1][5] = light[0][5] / 2  # a top lighter than its W
    far = (missing[0].copy(), missing[1].copy())
    far[0][7], far[1][9] = 1e5, np.nan
    found = solve(*visible, far, light)
    assert not np.asarray(found.valid)[:, [5, 7, 9]].any()
    assert np.all(np.asarray(found.jacobian)[:, [5, 7, 9]] == 0)
    others = np.delete(np.arange(64), [5, 7, 9])
    np.testing.assert_array_equal(
        np.asarray(found.jacobian)[:, others], np.asarray(expected.jacobian)[:, others]
    )


@pytest.mark.parametrize("offset", [0.0, 1e-12, 1e-8, 1e-4])
def test_lepton_and_quark_of_one_polar_angle(offset):
    """One ellipse edge-on in the transverse plane: the usual elimination of E and p_z divides by 0 there."""
    visible, nu, nu_bar, missing, _ = top_events(2000, seed=6)
    l_plus, b, *rest = visible
    polar = l_plus[3] / l_plus[0] * (1 + offset)
    pt = np.hypot(b[1], b[2])
    # p_z/E of both alike, which is what makes the elimination singular
    bz = polar * np.sqrt((pt**2 + 4.7**2) / (1 - polar**2))
    b = (np.sqrt(pt**2 + bz**2 + 4.7**2), b[1], b[2], bz)
    visible = (l_plus, b, *rest)
    masses = masses_of(visible, nu, nu_bar)
    found = solve(*visible, missing, masses)
    assert_rederives(visible, missing, masses, found)
    distance = np.where(found.valid, np.abs(found.neutrino[3] - nu[3]) / nu[0], np.inf).min(axis=0)
    assert np.mean(distance < 1e-6) > 0.995


def test_one_event_alone_and_in_a_batch():
    visible, _, _, missing, masses = top_events(16, seed=8)
    together = solve(*visible, missing, masses)
    alone = jax.jit(jax.vmap(top_pair))(*visible, missing, masses)
    np.testing.assert_allclose(alone.jacobian.T, together.jacobian, rtol=1e-7)


@pytest.mark.parametrize(
    "roots",
    [
        [1.0, 2.0, 3.0, 4.0],
        [-2.0, -1e-3, 1e-3, 2.0],
        [1.0, 1.0 + 1e-4, -3.0, 0.5],
        [0.0, 0.0, 1.0, -2.0],
        [1 + 1j, 1 - 1j, 2.0, -3.0],
        [1j, -1j, 2j, -2j],
        [1j, -1j, 1.0, -1.0],
        [1 + 2j, 1 - 2j, 3 + 1j, 3 - 1j],
        [2 + 1e-4j, 2 - 1e-4j, 0.1, 0.2],
    ],
)
def test_quartic(roots):
    """Against numpy's companion matrix; nearly double roots to half of the digits."""
    coefficients = np.real(np.poly(roots))[::-1] * 3.7
    ours, real = (np.asarray(x) for x in quartic_roots(*coefficients))
    expected = np.sort([x.real for x in np.roots(coefficients[::-1]) if abs(x.imag) < 1e-6])
    np.testing.assert_allclose(np.sort(ours[real]), expected, rtol=1e-6, atol=1e-7)


# --- Ws


def w_events(number: int, seed: int = 1, mass: float = 0.0):
    g = np.random.default_rng(seed)
    l_plus, l_minus = (random_momenta(g, number, mass) for _ in range(2))
    nu, nu_bar = (random_momenta(g, number) for _ in range(2))
    rapidity = np.arctanh(nu[3] / nu[0]) - np.arctanh(l_plus[3] / l_plus[0])
    masses = square(plus(l_plus, nu)), square(plus(l_minus, nu_bar))
    return l_plus, l_minus, nu, nu_bar, masses, np.arctan2(nu[2], nu[1]), rapidity


_w_pair = jax.jit(w_pair)


@pytest.mark.parametrize("mass", [0.0, 1.777])
def test_w_pair_finds_the_true_neutrinos(mass):
    l_plus, l_minus, nu, nu_bar, masses, phi, rapidity = w_events(5000, mass=mass)
    missing = nu[1] + nu_bar[1], nu[2] + nu_bar[2]
    found = _w_pair(l_plus, l_minus, missing, masses, Direction.of(phi, rapidity))
    for i in range(4):
        np.testing.assert_allclose(np.asarray(found.neutrino[i])[0], nu[i], rtol=1e-7, atol=1e-6)
    distance = np.abs(found.antineutrino[3] - nu_bar[3]) / nu_bar[0]
    assert np.mean(np.where(found.valid, distance, np.inf).min(axis=0) < 1e-7) > 0.999
    valid = np.asarray(found.valid)
    s24 = square(plus(l_minus, found.antineutrino)) / (l_minus[0] + found.antineutrino[0]) ** 2
    wanted = masses[1] / (l_minus[0] + found.antineutrino[0]) ** 2
    assert np.all(np.abs(s24 - wanted)[valid] < 1e-9)


@jax.jit
@jax.jacfwd
def _slopes(v, first, second):
    """Of what is given, in the neutrinos' momenta."""
    p, q = ((jnp.sqrt(v[i] ** 2 + v[i + 1] ** 2 + v[i + 2] ** 2), *v[i : i + 3]) for i in (0, 3))
    s = square(plus(first, p)), square(plus(second, q))
    return jnp.stack([*s, jnp.arctan2(p[2], p[1]), jnp.arctanh(p[3] / p[0]), p[1] + q[1], p[2] + q[2]])


@pytest.mark.parametrize("mass", [0.0, 1.777])
def test_w_pair_jacobian(mass):
    """J (2π)⁶ 4 E Ē |∂(s₁₃, s₂₄, φ, Δy, missing)/∂(p, p̄)| = 1."""
    l_plus, l_minus, nu, nu_bar, masses, phi, rapidity = w_events(100, seed=2, mass=mass)
    missing = nu[1] + nu_bar[1], nu[2] + nu_bar[2]
    found = _w_pair(l_plus, l_minus, missing, masses, Direction.of(phi, rapidity))
    for event in range(100):
        for k in np.flatnonzero(np.asarray(found.valid)[:, event]):
            p, q = ([np.asarray(x)[k, event] for x in n] for n in (found.neutrino, found.antineutrino))
            legs = (tuple(x[event] for x in leg) for leg in (l_plus, l_minus))
            det = abs(np.linalg.det(_slopes(np.array([*p[1:], *q[1:]]), *legs)))
            jacobian = np.asarray(found.jacobian)[k, event] * TWO_PI_6 * 4 * p[0] * q[0]
            np.testing.assert_allclose(jacobian * det, 1, rtol=1e-7)


def test_single_precision_is_refused():
    with jax.enable_x64(False), pytest.raises(PrecisionError, match="a solution"):
        w_pair((1.0,) * 4, (1.0,) * 4, (0.0, 0.0), (1.0, 1.0), Direction.of(0.0, 0.0))
