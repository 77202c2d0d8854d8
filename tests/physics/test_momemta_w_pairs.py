"""MoMEMta's integrand of WW at fixed points of the unit cube: |M|², densities, responses and measure.

Its variables are not ours: s₁₃, s₂₄ and both momentum fractions q₁, q₂ (its block F), solved here. The
neutrinos' sum N is known then, total p_T being 0, and the neutrino's p follows from

    p² = 0,  (ℓ⁺ + p)² = s₁₃,  (N − p)² = 0,  (ℓ⁻ + N − p)² = s₂₄,
    d³p/((2π)³ 2E) d³p̄/((2π)³ 2Ē) (2π)⁴ δ⁴ = ds₁₃ ds₂₄ / (4π² 16 |det(p, p̄, ℓ⁺, ℓ⁻)|).
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from test_momemta_top_pairs import QUARKS, breit_wigner_map

from deepmem.physics.amplitude import matrix_element
from deepmem.physics.theory import lhapdf

DATA = json.loads((Path(__file__).parents[1] / "reference" / "momemta_ww.json").read_text())
SETTINGS, POINTS = DATA["config"], DATA["integrand_points"]
METRIC = np.diag([1.0, -1.0, -1.0, -1.0])


def lepton(p, x):
    """Its momentum, whose response is linear in x, and T times the measure."""
    p = np.roll(p, 1)
    low, high = 0.75 * p[0], 1.25 * p[0]
    energy = low + x * (high - low)
    sigma = 0.05 * energy
    response = np.exp(-(((p[0] - energy) / sigma) ** 2) / 2) / (np.sqrt(2 * np.pi) * sigma)
    direction = p[1:] / np.linalg.norm(p[1:])
    measure = energy * np.hypot(*direction[:2]) / (2 * (2 * np.pi) ** 3)
    return energy * np.array([1, *direction]), response * (high - low) * measure


def block_f(plus, minus, s13, s24, q):
    """Both neutrinos and the measure in s₁₃, s₂₄, of up to two solutions."""
    beam = SETTINGS["sqrt_s"] / 2
    n = np.array([beam * (q[0] + q[1]), 0, 0, beam * (q[0] - q[1])]) - plus - minus
    rows = np.stack([plus, minus, n]) @ METRIC
    right = np.array([s13 / 2, rows[1] @ n - s24 / 2, rows[2] @ n / 2])
    start = np.linalg.lstsq(rows, right, rcond=None)[0]
    along = np.linalg.svd(rows)[2][3]
    roots = np.roots([along @ METRIC @ along, 2 * along @ METRIC @ start, start @ METRIC @ start])
    for root in roots[np.isreal(roots)].real:
        p = start + root * along
        other = n - p
        if p[0] > 0 and other[0] > 0:
            yield p, other, 1 / (64 * np.pi**2 * abs(np.linalg.det([p, other, plus, minus])))


def integrand(point, density):
    x = dict(zip(SETTINGS["dimension_order"], point["x"], strict=True))
    particles = DATA["events"][point["event"]]["particles"]
    plus, of_plus = lepton(particles["electron"], x["tf_electron"])
    minus, of_minus = lepton(particles["muon"], x["tf_muon"])
    mass, width = SETTINGS["W_mass"], SETTINGS["W_width"]
    (s13, slope), (s24, slope2) = (breit_wigner_map(x[name], mass, width) for name in ("s13", "s24"))
    q, sqrt_s = np.array([x["q1"], x["q2"]]), SETTINGS["sqrt_s"]
    f1, f2 = (dict(zip(density.partons, np.array(density.xf(at)), strict=True)) for at in q)
    total = 0.0
    for neutrino, antineutrino, jacobian in block_f(plus, minus, s13, s24, q):
        beams = [at * sqrt_s / 2 * np.array([1, 0, 0, sign]) for at, sign in zip(q, (1, -1), strict=True)]
        momenta = np.stack([*beams, plus, neutrino, minus, antineutrino])
        for quark in QUARKS:
            sign = 1 if quark > 0 else -1
            kind = sign * (2 if quark % 2 == 0 else 1)
            squared = matrix_element("ww_2l", (kind, -kind), momenta)
            total += jacobian * f1[quark] * f2[-quark] * squared
    # x f(x) was read, so q₁q₂ is divided out once more
    return total * of_plus * of_minus * slope * slope2 / (2 * (q[0] * q[1] * sqrt_s) ** 2)


def test_integrand():
    """The target was 1e-4 where it is within 1e-8 of the largest; it is 1e-8 everywhere, in 21 decades."""
    with jax.enable_x64(True):
        density = lhapdf.load(SETTINGS["pdf"]).at_scale(jnp.asarray(SETTINGS["pdf_scale"]))
        ours = np.array([integrand(point, density) for point in POINTS])
    theirs = np.array([point["integrand"] for point in POINTS])
    np.testing.assert_array_equal(ours == 0, theirs == 0)
    error = np.abs(ours / np.where(theirs == 0, 1, theirs) - 1)[theirs != 0]
    assert np.median(error) < 3e-9
    assert np.all(error < 2e-8)
