"""Sums from learned weights and a few exact ones: unbiased, with an error that holds, at a fraction of the cost."""

import numpy as np
import pytest

from deepmem.evaluation import sums
from deepmem.event import Weight

EVENTS, EXACT, EXPERIMENTS = 4000, 200, 600


def pseudo_experiments(noise: float, stratified: bool) -> tuple[np.ndarray, np.ndarray]:
    """Pulls and savings: learned logs off by a common bias and by an error of each event's own size; exact
    weights with Monte-Carlo noise of relative size `noise`."""
    rng = np.random.default_rng(5)
    truth = rng.normal(-17, 1.5, EVENTS)
    size = 0.01 + 0.1 * rng.exponential(size=EVENTS)
    learned = truth + 0.03 + size * rng.normal(size=EVENTS)
    stratum = sums.strata(size) if stratified else None
    pulls, saved = [], []
    for _ in range(EXPERIMENTS):
        rows = sums.choose(EVENTS, EXACT, rng, stratum, size if stratified else None)
        assert len(np.unique(rows)) == EXACT
        value = np.exp(truth[rows]) * (1 + noise * rng.normal(size=EXACT))
        weight = Weight(value, noise * np.exp(truth[rows]), np.zeros(EXACT, np.int32))
        found = sums.estimate(learned, rows, *sums.log_weight(weight), stratum)
        pulls.append((found.value - truth.sum()) / found.error)
        saved.append(found.saved)
    return np.array(pulls), np.array(saved)


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("stratified", [False, True])
def test_unbiased_with_an_error_that_holds_at_a_fraction_of_the_cost(noise: float, stratified: bool) -> None:
    pulls, saved = pseudo_experiments(noise, stratified)
    assert abs(pulls.mean()) < 0.15  # 3.7 standard errors
    assert pulls.std(ddof=1) == pytest.approx(1, abs=0.1)
    assert np.median(saved) > 8  # limited here by the number of events: 4,000 of which 200 are exact


def test_strata_are_worth_it_and_all_exact_is_exact() -> None:
    simple, stratified = (np.median(pseudo_experiments(0.0, s)[1]) for s in (False, True))
    assert stratified > 1.05 * simple
    values = np.random.default_rng(1).normal(size=50)
    found = sums.estimate(np.zeros(50), np.arange(50), values)
    assert found.value == pytest.approx(values.sum())
    assert found.error == 0


def test_noisy_logarithms_are_corrected() -> None:
    rng = np.random.default_rng(2)
    noise = 0.15
    value = 1 + noise * rng.normal(size=200_000)
    weight = Weight(value, np.full(len(value), noise), np.zeros(len(value), np.int32))
    # to order ε⁴: the error itself is relative to a noisy weight
    assert abs(np.log(value).mean() + noise**2 / 2) < 1.5 * noise**4
    logs, variance = sums.log_weight(weight)
    assert abs(logs.mean()) < 2 * noise**4 + 4 * noise / len(value) ** 0.5
    ratio, both = sums.log_ratio(weight, weight)
    assert np.abs(ratio).max() == 0
    np.testing.assert_allclose(both, 2 * variance)


def test_what_cannot_be_summed_is_refused() -> None:
    rng = np.random.default_rng(0)
    nothing = Weight(np.array([0.0, np.nan]), np.zeros(2), np.array([2, 3], np.int32))
    with pytest.raises(ValueError, match="finite"):
        sums.estimate(np.zeros(5), np.array([0, 1]), sums.log_weight(nothing)[0])
    with pytest.raises(ValueError, match="expected 10 to 20 exact weights, got 3"):
        sums.choose(20, 3, rng)
    with pytest.raises(ValueError, match="two at least"):
        sums.estimate(np.zeros(20), np.array([0]), np.zeros(1))
