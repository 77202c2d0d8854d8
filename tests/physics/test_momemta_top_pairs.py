"""MoMEMta's integrand of tt̄ at fixed points of the unit cube: block, |M|², densities and flux all together.

Its neutrinos are roots of a quartic, in double precision and not polished, and its Jacobian is taken there.
Where they are not precise, ours and the solutions in extended precision still agree.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from test_blocks import crossings

from deepmem.physics.amplitude import matrix_element
from deepmem.physics.phasespace.solutions import top_pair
from deepmem.physics.theory import lhapdf
from deepmem.physics.theory.densities import DensityAtScale
from deepmem.physics.weights.partonic import density_at_scale

DATA = json.loads((Path(__file__).parents[1] / "reference" / "momemta.json").read_text())
xf = jax.jit(DensityAtScale.xf)
QUARKS = (1, 2, 3, 4, -1, -2, -3, -4)


def breit_wigner_map(x, m, width):
    """s of x in (0, 1), 0 < s < ∞, and ds/dx."""
    angle = np.pi / 2 + np.arctan(m / width)
    s = m**2 + m * width * np.tan(x * angle - np.arctan(m / width))
    return s, angle * ((s - m**2) ** 2 + (m * width) ** 2) / (m * width)


def partons(particles, x, w):
    """Momenta `[4, points]` of the particles: responses linear in x, or none; and the measure."""
    result = {}
    for name, p in particles.items():
        size = np.sqrt(np.sum(p[1:] ** 2, axis=0))
        mass, r = (4.7, 0.1) if name.startswith("b") else (0.0, 0.05)
        energy = p[0]
        if f"tf_{name}" in x:
            low, high = np.maximum(mass, p[0] * (1 - 5 * r)), p[0] * (1 + 5 * r)
            energy = low + x[f"tf_{name}"] * (high - low)
            sigma = r * energy
            w = (
                w
                * (high - low)
                * np.exp(-(((p[0] - energy) / sigma) ** 2) / 2)
                / (np.sqrt(2 * np.pi) * sigma)
            )
            w = w * energy / np.sqrt(energy**2 - mass**2)
        q = np.sqrt(energy**2 - mass**2)
        w = w * q**2 * np.hypot(p[1], p[2]) / size / (2 * energy * (2 * np.pi) ** 3)
        result[name] = np.stack([energy, *(p[1:] * q / size)])
    return result, w


def in_double_precision(*problem):
    with jax.enable_x64(True):
        found = jax.jit(top_pair)(*problem)
    return np.array(found.neutrino), np.array(found.antineutrino), np.array(found.jacobian)


def in_extended_precision(*problem):
    """The same solutions from the six equations as they are defined, by Newton steps in `longdouble`.

    Where that is no wider than `double`, it still is another way to the same numbers.
    """
    one, two, jacobian = in_double_precision(*problem)
    at = np.nonzero(jacobian)
    l_plus, b, l_minus, b_bar, missing, masses = (np.array(x, np.longdouble)[:, at[1]] for x in problem)
    k = np.concatenate([one[1:][:, *at], two[1:][:, *at]]).astype(np.longdouble)

    def square(p):
        return p[0] ** 2 - np.sum(p[1:] ** 2, axis=0)

    for _ in range(4):
        energy, energy_bar = (np.sqrt(np.sum(k[i : i + 3] ** 2, axis=0)) for i in (0, 3))
        nu, nu_bar = np.stack([energy, *k[:3]]), np.stack([energy_bar, *k[3:]])
        found, slopes = [], np.zeros((6, *k.shape), np.longdouble)
        for i, (p, fixed) in enumerate(
            ((nu, l_plus), (nu, l_plus + b), (nu_bar, l_minus), (nu_bar, l_minus + b_bar))
        ):
            found.append(square(p + fixed))
            slopes[i, 3 * (i // 2) : 3 * (i // 2) + 3] = 2 * (fixed[0] * p[1:] / p[0] - fixed[1:])
        for i in (0, 1):
            found.append(k[i] + k[3 + i])
            slopes[4 + i, [i, 3 + i]] = 1
        step, determinant = eliminated(slopes, np.concatenate([masses, missing]) - np.stack(found))
        k = k + step
    exact = np.zeros(jacobian.shape)
    exact[at] = 1 / ((2 * np.longdouble(np.pi)) ** 6 * 4 * energy * energy_bar * np.abs(determinant))
    for whole, part in ((one, nu), (two, nu_bar)):
        whole[:, *at] = part
    return one, two, exact


def eliminated(a, b):
    """x and the determinant of a x = b, each `[n, …, points]`, by Gauss: numpy has no wider solver."""
    a, b, determinant, points = a.copy(), b.copy(), np.longdouble(1), np.arange(a.shape[-1])
    for i in range(len(b)):
        pivot = i + np.argmax(np.abs(a[i:, i]), axis=0)
        a[i], a[pivot, :, points] = a[pivot, :, points].T, a[i].T.copy()
        b[i], b[pivot, points] = b[pivot, points], b[i].copy()
        determinant = determinant * a[i, i]
        for j in range(i + 1, len(b)):
            factor = a[j, i] / a[i, i]
            a[j] = a[j] - factor * a[i]
            b[j] = b[j] - factor * b[i]
    for i in reversed(range(len(b))):
        b[i] = (b[i] - np.sum(a[i, i + 1 :] * b[i + 1 :], axis=0)) / a[i, i]
    return b, determinant


def integrand(settings, points, solve=in_double_precision):
    x = dict(zip(settings["dimension_order"], np.array([point["x"] for point in points]).T, strict=True))
    events = [DATA["events"][point["event"]] for point in points]
    particles = {
        name: np.array([np.roll(e["particles"][name], 1) for e in events]).T
        for name in ("electron", "bjet1", "muon", "bjet2")
    }
    if "perm" in x:
        swapped, (one, two) = x["perm"] >= 0.5, (particles["bjet1"], particles["bjet2"])
        particles |= {"bjet1": np.where(swapped, two, one), "bjet2": np.where(swapped, one, two)}
    true, w = partons(particles, x, np.ones(len(points)))
    masses = []
    for name in ("s13", "s134", "s25", "s256"):
        kind = "W" if len(name) == 3 else "top"
        s, slope = breit_wigner_map(x[name], settings[f"{kind}_mass"], settings[f"{kind}_width"])
        masses.append(s)
        w = w * slope
    missing = tuple(np.array([e["met"] for e in events]).T)
    order = ("electron", "bjet1", "muon", "bjet2")
    neutrino, antineutrino, jacobian = solve(*(tuple(true[name]) for name in order), missing, tuple(masses))
    with jax.enable_x64(True):
        density = density_at_scale(lhapdf.load(settings["pdf"]), np.asarray(settings["pdf_scale"]))
    l_plus, b, l_minus, b_bar = (true[name][:, None] for name in order)
    legs = np.stack(np.broadcast_arrays(l_plus, neutrino, b, l_minus, antineutrino, b_bar))
    rows = np.nonzero(jacobian)
    legs = np.moveaxis(legs, (0, 1), (-2, -1))[rows]
    total, sqrt_s = legs.sum(axis=1), settings["sqrt_s"]
    boosted = np.sqrt(total[:, 0] ** 2 - total[:, 1] ** 2 - total[:, 2] ** 2)
    x1, x2 = (boosted + total[:, 3]) / sqrt_s, (boosted - total[:, 3]) / sqrt_s
    # the partons of the p_T = 0 frame, boosted to the laboratory
    gamma = total[:, 0] / boosted
    beams = [
        np.stack(
            [gamma, gamma * total[:, 1] / total[:, 0], gamma * total[:, 2] / total[:, 0], sign + 0 * x1],
            axis=1,
        )
        * (at * sqrt_s / 2)[:, None]
        for at, sign in ((x1, 1), (x2, -1))
    ]
    momenta = np.concatenate([np.stack(beams, axis=1), legs], axis=1)
    inside = (x1 < 1) & (x2 < 1)
    with jax.enable_x64(True):
        f1, f2 = (
            dict(zip(density.partons, np.array(xf(density, np.where(inside, x, 0.5))).T, strict=True))
            for x in (x1, x2)
        )
    value = f1[21] * f2[21] * matrix_element("ttbar_2l", (21, 21), momenta)
    both = sum(f1[quark] * f2[-quark] for quark in QUARKS)
    value = value + both * matrix_element("ttbar_2l", (2, -2), momenta)
    value = np.where(inside, value, 0) * (2 * np.pi) ** 4 / (x1 * x2 * sqrt_s**2) ** 2
    result = np.zeros(jacobian.shape)
    result[rows] = value * jacobian[rows]
    return result.sum(axis=0) * w


@pytest.mark.parametrize("config", ["tt_nnpdf23lo", "tt_nnpdf23lo_noTF", "tt_nnpdf23lo_noPERM"])
def test_integrand(config):
    """Ours to 1e-9 of extended precision everywhere; MoMEMta's to 1e-6 of it, but for 8 of 800 points.

    5 of the 8 are of one event, with four solutions at all of them, for which its quartic has a resolvent
    with a small root, which it takes.
    """
    points = [point for point in DATA["integrand_points"] if point["config"] == config]
    settings, theirs = DATA["configs"][config], np.array([p["integrand"] for p in points])
    ours = integrand(settings, points)
    np.testing.assert_array_equal(ours == 0, theirs == 0)
    exact = integrand(settings, points, in_extended_precision)
    np.testing.assert_allclose(ours, exact, rtol=1e-9)
    error = np.abs(theirs / np.where(theirs == 0, 1, exact) - 1)[theirs != 0]
    assert np.median(error) < 5e-9
    assert np.sum(error > 1e-6) <= 4
    assert np.all(error < 3e-5)


def test_points_without_a_solution_are_0():
    """At random points, of which half have none, the integrand is 0 where numpy's roots find none."""
    g, problems = np.random.default_rng(1), []
    points = [
        {"event": name, "x": g.random(8)}
        for name, event in DATA["events"].items()
        if event["process"] == "tt_dilepton" and name.startswith("gen")
    ]

    def solve(*problem):
        problems.append(problem)
        return in_double_precision(*problem)

    ours = integrand(DATA["configs"]["tt_nnpdf23lo_noPERM"], points, solve)
    *visible, missing, masses = (np.array(x) for x in problems[0])
    number = [
        len(crossings([p[:, i] for p in visible], missing[:, i], masses[:, i])) for i in range(len(points))
    ]
    assert 0.2 < np.mean(ours == 0) < 0.8
    np.testing.assert_array_equal(ours > 0, np.array(number) > 0)
