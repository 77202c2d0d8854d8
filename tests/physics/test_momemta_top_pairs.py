"""MoMEMta's integrand of tt̄ at fixed points of the unit cube: block, |M|², densities and flux all together."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepmem.physics import pdf
from deepmem.physics.amplitude import matrix_element
from deepmem.physics.blocks import top_pair

DATA = json.loads((Path(__file__).parents[1] / "reference" / "momemta.json").read_text())
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


def integrand(settings, points):
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
    with jax.enable_x64(True):
        order = ("electron", "bjet1", "muon", "bjet2")
        found = jax.jit(top_pair)(*(tuple(true[name]) for name in order), missing, tuple(masses))
        density = pdf.load(settings["pdf"]).at_scale(jnp.asarray(settings["pdf_scale"]))
    l_plus, b, l_minus, b_bar = (true[name][:, None] for name in order)
    legs = np.stack(
        np.broadcast_arrays(l_plus, np.array(found.neutrino), b, l_minus, np.array(found.antineutrino), b_bar)
    )
    rows = np.nonzero(np.asarray(found.valid))
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
            dict(zip(density.partons, np.array(density.xf(np.where(inside, x, 0.5))).T, strict=True))
            for x in (x1, x2)
        )
    value = f1[21] * f2[21] * matrix_element("ttbar_2l", (21, 21), momenta)
    both = sum(f1[quark] * f2[-quark] for quark in QUARKS)
    value = value + both * matrix_element("ttbar_2l", (2, -2), momenta)
    value = np.where(inside, value, 0) * (2 * np.pi) ** 4 / (x1 * x2 * sqrt_s**2) ** 2
    result = np.zeros(found.valid.shape)
    result[rows] = value * np.asarray(found.jacobian)[rows]
    return result.sum(axis=0) * w


@pytest.mark.parametrize("config", ["tt_nnpdf23lo", "tt_nnpdf23lo_noTF", "tt_nnpdf23lo_noPERM"])
def test_integrand(config):
    """1e-6, but for 8 of 800 points, which agree to 3e-5: most of one event, and why is not known."""
    points = [point for point in DATA["integrand_points"] if point["config"] == config]
    ours, theirs = integrand(DATA["configs"][config], points), np.array([p["integrand"] for p in points])
    np.testing.assert_array_equal(ours == 0, theirs == 0)
    error = np.abs(ours / np.where(theirs == 0, 1, theirs) - 1)[theirs != 0]
    assert np.median(error) < 5e-9
    assert np.sum(error > 1e-6) <= 4
    assert np.all(error < 3e-5)
