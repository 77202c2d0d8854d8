"""Responses that are fitted are those that the objects were measured with."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from deepmem.physics.detector.entries import response
from deepmem.physics.detector.fitting import SHAPES, Sample, best, fit, fit_missing
from deepmem.physics.detector.response import TransferError
from deepmem.physics.precision import double_precision

ENTRIES: dict[str, dict[str, Any]] = {
    "gaussian": {"kind": "gaussian", "a": 0.05, "b": 0.8, "c": 3.0},
    "double_gaussian": {
        "kind": "double_gaussian",
        "fraction": 0.2,
        "core": {"a": 0.08, "c": 2.0},
        "tail": {"r": 0.2, "bias": -0.15},
    },
    "crystal_ball": {"kind": "crystal_ball", "r": 0.02, "alpha": 1.2, "n": 3.0},
}
LOWEST = 25.0


def simulated(entry: dict[str, Any], objects: int = 6000) -> Sample:
    """Energies above a threshold that cuts into the response."""
    rng = np.random.default_rng(1)
    gen = 20 + rng.exponential(40, objects)
    with double_precision():
        rec = np.asarray(jax.jit(response(entry).responses[0].draw)(gen, rng.random(objects)))
    seen = rec > LOWEST
    return Sample(rec[seen], gen[seen], np.full(seen.sum(), LOWEST))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shape_that_was_drawn_is_found(shape: str) -> None:
    sample = simulated(ENTRIES[shape])
    found = best(sample)
    assert found.shape == shape
    assert found.probability > 1e-3
    assert found.distance < 1.6 / np.sqrt(found.objects)
    with double_precision():
        energies = np.array([30.0, 60.0, 120.0])
        shapes = response(ENTRIES[shape]).responses[0], found.response
        draws = [jax.jit(each.draw) for each in shapes]
        for level in (0.1, 0.5, 0.9):  # quantiles of the two, in units of the width
            one, other = (np.asarray(draw(energies, np.full(3, level))) for draw in draws)
            if shape != "double_gaussian":  # which draws a component first
                np.testing.assert_allclose(
                    one, other, atol=0.06 * np.asarray(shapes[0].scale(energies)).max()
                )
        rec = energies[:, None] * np.linspace(0.7, 1.2, 21)
        one, other = (jax.jit(each.cumulative)(rec, energies[:, None]) for each in shapes)
        np.testing.assert_allclose(one, other, atol=0.02)


def test_a_threshold_does_not_bias_the_width() -> None:
    """Without it the objects that were lost below would make σ too small, and move the maximum."""
    sample = simulated({"kind": "gaussian", "r": 0.2})
    aware, blind = (
        fit(each, "gaussian") for each in (sample, sample._replace(low=np.zeros_like(sample.low)))
    )
    assert aware.response.to_dict()["a"] == pytest.approx(0.2, abs=0.004)
    assert blind.response.to_dict()["a"] < 0.195
    assert blind.probability < 1e-6


def test_one_wrong_match_does_not_widen_a_response() -> None:
    sample = simulated(ENTRIES["gaussian"])
    rec = sample.rec.copy()
    rec[:3] = 40 * sample.gen[:3]
    spoiled = fit(sample._replace(rec=rec), "gaussian").response.to_dict()
    clean = fit(sample, "gaussian").response.to_dict()
    for term in "abc":
        assert spoiled[term] == pytest.approx(clean[term], rel=0.03)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_cumulative_distribution_is_the_integral_of_the_density(shape: str) -> None:
    drawn = response(ENTRIES[shape]).responses[0]
    with double_precision():
        # the last one is far above
        rec, step, cumulative = np.r_[np.linspace(30, 70, 81), 1e7], 1e-4, jax.jit(drawn.cumulative)
        slope = (np.asarray(cumulative(rec + step, 50.0)) - np.asarray(cumulative(rec - step, 50.0))) / (
            2 * step
        )
        np.testing.assert_allclose(slope, np.asarray(jax.jit(drawn.density)(rec, 50.0)), rtol=1e-6, atol=1e-9)
        assert cumulative(rec, 50.0)[-1] == pytest.approx(1.0, abs=1e-9)


def test_a_response_of_missing_momentum() -> None:
    rng = np.random.default_rng(2)
    activity = rng.uniform(50, 600, 20_000)
    residual = rng.normal(size=(20_000, 2)) * np.sqrt(8.0**2 + 0.6**2 * activity)[:, None]
    found = fit_missing(residual, activity)
    assert found.response.to_dict() == pytest.approx({"b": 0.6, "c": 8.0}, rel=0.05)
    assert found.probability > 1e-3
    constant = fit_missing(rng.normal(size=(20_000, 2)) * 8.0, activity)
    assert constant.response.to_dict() == pytest.approx({"b": 0.0, "c": 8.0}, rel=0.02)


def test_too_few_objects() -> None:
    few = simulated(ENTRIES["gaussian"]).take(slice(50))
    with pytest.raises(TransferError, match="100 objects at least, got 50"):
        fit(few, "gaussian")
