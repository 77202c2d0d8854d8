"""Errors are judged rightly, and the page says what its numbers say, whole, safe and without a network."""

import numpy as np
import pytest

from deepmem.evaluation import metrics
from deepmem.event import Weight


def weights(
    events: int = 20_000,
    *,
    error: float = 0.02,
    label_error: float = 0.01,
    quoted: float = 1.0,
    seed: int = 1,
) -> tuple[Weight, Weight]:
    """Noisy labels and noisy predictions of the same true weights, whose errors are `quoted` times the real
    ones; the last 100 events lie outside the training and are far off, two more have bad input."""
    rng = np.random.default_rng(seed)
    true = np.exp(rng.normal(-17, 1.5, events))
    label = true * (1 + label_error * rng.normal(size=events))
    learned = true * (1 + error * rng.normal(size=events))
    learned[-100:] *= 3
    status = np.zeros(events, np.int32)
    status[-100:] = 4
    learned[:2], status[:2] = np.nan, 3
    return (
        Weight(label, label_error * true, np.zeros(events, np.int32)),
        Weight(learned, quoted * error * true, status),
    )


def test_honest_errors_are_found_honest() -> None:
    found = metrics.honesty(*weights())
    assert found["judged"] == 20_000 - 102
    assert found["pulls"]["width"] == pytest.approx(1, abs=0.02)
    for key, expected in (("within_1", 0.6827), ("within_1.96", 0.95)):
        assert found["coverage"][key]["covered"] == pytest.approx(expected, abs=0.01)
        bins = found["bins_of_minus_log10_predicted"]
        assert len(bins) == 10
        assert all(abs(bin[key]["deviation"]) < 3.5 for bin in bins)
    assert max(bin["events"] for bin in bins) - min(bin["events"] for bin in bins) <= 1
    statuses = found["predicted_by_status"]
    assert [statuses[key]["events"] for key in statuses] == [19_898, 2, 100]
    outside = next(value for key, value in statuses.items() if key.startswith("4"))
    assert outside["q68"] > 0.4
    assert outside["within_1.96"] == 0


def test_errors_that_are_too_small_are_found_out() -> None:
    found = metrics.honesty(*weights(quoted=0.5))
    assert found["coverage"]["within_1.96"]["covered"] < 0.85
    assert found["coverage"]["within_1.96"]["deviation"] < -50


def test_the_noise_floor_is_what_the_true_weight_itself_reaches() -> None:
    rng = np.random.default_rng(3)
    true = np.exp(rng.normal(size=50_000))
    size = rng.choice([0.0, 0.001, 0.02], len(true))
    status = np.zeros(len(true), np.int32)
    label = Weight(true * (1 + size * rng.normal(size=len(true))), size * true, status)
    floor = metrics.honesty(label, Weight(true, np.full(len(true), np.nan), status))["noise_floor_q68"]
    assert floor == pytest.approx(metrics.compare(label.value, true)["q68"], rel=0.05)


def test_without_errors_there_is_no_coverage() -> None:
    truth, learned = weights()
    nothing = np.full(len(truth), np.nan)
    found = metrics.honesty(truth, Weight(learned.value, nothing, learned.status))
    assert found["judged"] == 0
    assert found["pulls"] is found["coverage"] is None
    assert found["bins_of_minus_log10_predicted"] == []
    found = metrics.honesty(Weight(truth.value, nothing, truth.status), learned)
    assert found["noise_floor_q68"] is None
    assert not found["truth_has_errors"]
    assert found["coverage"]["within_1"]["covered"] < 0.66  # the labels' own noise is taken for the model's
