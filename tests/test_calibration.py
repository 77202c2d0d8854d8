"""What a learned weight knows of its own errors: the loss, the parts, the calibration, samples as a whole."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import COLUMNS, UNCALIBRATED, configuration, write_tree
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy import optimize

import deepmem
from deepmem import Surrogate, UsageError
from deepmem.config import Config
from deepmem.data.loaders import Rows
from deepmem.jobs import training
from deepmem.reporter import Reporter
from deepmem.surrogate import calibration_fit
from deepmem.surrogate.calibration_fit import ErrorFit, Limits, fit_errors
from deepmem.surrogate.features import FeatureMap
from deepmem.surrogate.knots import interpolated
from deepmem.surrogate.members import _deviance
from deepmem.surrogate.network import build_members, first_hidden
from deepmem.surrogate.outside import above, away, log_distance, slack
from deepmem.surrogate.preparation import Preparation, left_out_by
from deepmem.surrogate.sample_test import SampleTest, two_sample_of
from deepmem.surrogate.size_fit import Validation


@pytest.mark.parametrize(("noise", "tolerance"), [(0.01, 2e-3), (0.05, 3e-3), (0.3, 6e-3)])
def test_noise_of_labels_does_not_bias_the_weight(noise: float, tolerance: float) -> None:
    """The deviance is least at the mean of noisy labels; their mean logarithm is low by noise²/2."""
    labels = 1 + noise * np.random.default_rng(0).normal(size=200_000)
    labels = labels[labels > 0]

    def loss(log_w: float) -> float:
        return float(_deviance(jnp.asarray(np.log(labels) - log_w)).mean())

    with jax.enable_x64(True):
        found = np.exp(optimize.minimize_scalar(loss, bounds=(-1, 1), method="bounded").x)
    assert found == pytest.approx(labels.mean(), abs=tolerance)
    if noise == 0.3:
        assert np.exp(np.log(labels).mean()) < 0.96


def test_labels_of_another_status_are_left_out_and_counted() -> None:
    rows = Rows(
        np.arange(4.0)[:, None], np.ones((4, 1)), np.full((4, 1), 0.1), np.array([[0], [1], [2], [0]])
    )
    preparation = Preparation(FeatureMap(("a",)), ("w",), 1.0)
    counts = preparation.fit([rows])
    assert (counts.used, counts.reasons["w: status not 0"]) == (2, 2)


def test_statuses_and_errors_of_a_weight_file_are_found(tmp_path: Path) -> None:
    from deepmem.config import Config
    from deepmem.jobs.labels import paired

    write_tree(tmp_path / "events.root", {"x": np.arange(10.0)})
    columns = {"w": np.ones(10), "w_error": np.full(10, 0.1), "w_status": np.arange(10) % 2}
    write_tree(tmp_path / "weights.root", columns, "deepmem")
    config = configuration(tmp_path, tmp_path, prefixes=[["x"]], suffixes=[[""]], weights=["w"])
    rows = paired(Config.load(config)).read(0, 10)
    assert rows.errors is not None
    assert rows.status is not None
    np.testing.assert_allclose(rows.errors, 0.1)
    np.testing.assert_array_equal(rows.status[:, 0], np.arange(10) % 2)


def test_each_row_has_one_member_that_never_sees_it_wherever_it_stands() -> None:
    rng = np.random.default_rng(1)
    rows = Rows(rng.normal(size=(5000, 3)), np.ones((5000, 1)))
    preparation = Preparation(FeatureMap(("a", "b", "c")), ("w",), 1.0)
    preparation.fit([rows])
    member = left_out_by(preparation(rows).draw[:, 0], 5)
    assert np.abs(np.bincount(member) - 1000).max() < 150
    order = rng.permutation(5000)
    np.testing.assert_array_equal(left_out_by(preparation(rows.take(order)).draw[:, 0], 5), member[order])


def _fitted(rows: Validation, number: int, scale: float, near: float = np.inf) -> ErrorFit:
    return fit_errors(rows, number, Limits(near, 0.0015), scale)


def _log_sigma(
    fitted: ErrorFit,
    t: np.ndarray,
    s: np.ndarray,
    g: np.ndarray,
    log_d: np.ndarray,
    near: float = np.inf,
) -> np.ndarray:
    """What a model makes of what is fitted."""
    size, coverage = fitted.size, fitted.coverage
    log_s = size.log_sigma(np, t, s, g, log_d, near)
    centre = np.interp(t, size.knots, coverage.centre)
    return np.interp(t, size.knots, coverage.factor) + centre + coverage.gamma * (log_s - centre)


def test_errors_cover_what_they_claim_where_their_size_is_known() -> None:
    """Errors whose size varies by 20 with t and with what g, the distance and the spread say; their tails are
    heavier than normal, so that one number cannot cover both levels exactly."""
    rng = np.random.default_rng(2)

    def sample(n: int) -> tuple[np.ndarray, ...]:
        t, g, s = rng.normal(size=n), rng.normal(0, 0.7, n) - 6, np.exp(rng.normal(-6, 0.5, n))
        log_d = rng.normal(-1, 0.4, n)
        size = np.sqrt(np.exp(2 * (g + 1.4 * (log_d + 1) + 0.3 * np.sin(t))) + s**2)
        return t, s, g, log_d, t + size * rng.standard_t(12, n)

    t, s, g, log_d, truth = sample(6000)
    fitted = _fitted(Validation(t, s, g, truth, np.zeros(6000), log_d), 8, 0.5)
    assert fitted.size.power == pytest.approx(1, abs=0.1)
    assert fitted.size.sparse == pytest.approx(1.4, abs=0.15)
    t, s, g, log_d, truth = sample(50_000)
    z = np.abs(truth - t) / np.exp(_log_sigma(fitted, t, s, g, log_d))
    assert np.mean(z < 1) == pytest.approx(0.69, abs=0.025)
    assert np.mean(z < 1.96) == pytest.approx(0.95, abs=0.012)
    for order in (np.argsort(t), np.argsort(log_d)):
        for tenth in np.array_split(order, 10):
            assert np.mean(z[tenth] < 1.96) == pytest.approx(0.95, abs=0.03)


def test_the_gradient_of_the_likelihood_is_that_of_finite_differences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(4)
    t, g, log_d = rng.normal(size=500), rng.normal(-5, 0.5, 500), rng.normal(-1, 0.5, 500)
    s, noise = np.exp(rng.normal(-5, 0.5, 500)), np.full(500, 0.003)
    minimize, checked = optimize.minimize, []

    def check(cost: Any, start: np.ndarray, args: Any, **settings: Any) -> Any:
        c = start + 0.2 * rng.normal(size=len(start))
        steps = 1e-5 * np.eye(len(c))
        expected = [(cost(c + e, *args)[0] - cost(c - e, *args)[0]) / 2e-5 for e in steps]
        np.testing.assert_allclose(cost(c, *args)[1], expected, rtol=1e-5, atol=1e-8)
        checked.append(len(c))
        return minimize(cost, start, args=args, **settings)

    monkeypatch.setattr(optimize, "minimize", check)
    truth = t + 0.01 * rng.normal(size=500)
    _fitted(Validation(t, s, g, truth, noise, log_d), 4, 1.0)
    assert checked == [10] * 6  # all rows, and all but each fifth


def test_known_noise_of_validation_labels_is_not_taken_for_the_networks_error() -> None:
    rng = np.random.default_rng(3)
    t, g, s = rng.normal(size=20_000), np.full(20_000, -5.0), np.full(20_000, 0.005)
    noise, log_d = np.full(20_000, 0.01), np.zeros(20_000)
    # half of the variance counts as the labels': right if they are off by 0.7 of their errors, else too large
    for real in (0.707, 1.0):
        truth = t + np.hypot(0.01, real * noise) * rng.normal(size=20_000)
        fitted = _fitted(Validation(t, s, g, truth, noise, log_d), 8, 1.0)
        claimed = np.exp(_log_sigma(fitted, t, s, g, log_d))
        assert np.median(claimed) == pytest.approx(0.01 * np.sqrt(0.5 + real**2), rel=0.1)


def test_errors_grow_with_the_distance_where_it_did_not_matter_to_those_nearby() -> None:
    """Beyond the distance that 95 % of the validation part stay below, errors are larger in proportion, which
    neither g nor the spread knows: where few rows are, and far out where none is."""
    rng = np.random.default_rng(6)
    near = np.log(9.488) / 2  # the 95 % quantile

    def sample(n: int, farther: float) -> tuple[np.ndarray, ...]:
        t, g, s = rng.normal(size=n), rng.normal(0, 0.3, n) - 5, np.full(n, 1e-4)
        log_d = np.log(rng.chisquare(4, n) * farther) / 2
        return t, s, g, t + np.exp(g + np.maximum(log_d - near, 0)) * rng.normal(size=n), log_d

    t, s, g, truth, log_d = sample(4000, 1)
    fitted = _fitted(Validation(t, s, g, truth, np.zeros(4000), log_d), 8, 0.5, near)
    assert abs(fitted.size.sparse) < 0.2

    def covered(farther: float, near: float = near) -> float:
        t, s, g, truth, log_d = sample(40_000, farther)
        return float(np.mean(np.abs(truth - t) < 1.96 * np.exp(_log_sigma(fitted, t, s, g, log_d, near))))

    assert covered(1) == pytest.approx(0.95, abs=0.01)
    assert covered(10) > 0.93
    assert covered(10, near=np.inf) < 0.8


def test_distances_count_features_as_they_matter_to_the_weight() -> None:
    networks = build_members("default", 2, 1, 16, 2, 3, 0)
    blind = networks.layers[0].weight.at[:, :, 1].set(0)
    networks = eqx.tree_at(lambda n: n.layers[0].weight, networks, blind)
    rows = jnp.asarray(np.random.default_rng(7).normal(size=(200, 2)), jnp.float32)
    kept = first_hidden(networks, rows).reshape(1, 200, -1)

    def distance(shift: tuple[float, float]) -> np.ndarray:
        return np.exp(np.asarray(away(networks, kept, rows + jnp.asarray(shift))))

    np.testing.assert_allclose(distance((0.0, 10.0)), 0, atol=1e-2)
    assert np.median(distance((10.0, 0.0))) > 1
    # as it is defined, of rows in three samples
    samples, x = (
        np.random.default_rng(8).normal(size=(3, 40, 5)),
        np.random.default_rng(9).normal(size=(60, 5)),
    )
    squared = ((x[None, :, None] - samples[:, None]) ** 2).sum(axis=-1).min(axis=2).mean(axis=0)
    found = log_distance(*(jnp.asarray(a, jnp.float32) for a in (samples, x)))
    np.testing.assert_allclose(found, np.log(squared) / 2, atol=1e-5)
    # the mean over samples of rows: one of two copies is no longer there
    apart = jnp.concatenate([kept[:, :100], kept[:, 100:] + 1], axis=0)
    alone, both = (np.exp(away(networks, k, rows[:100])) for k in (kept, apart))
    assert np.median(alone) < 1e-2
    assert (both > 0.1).all()


def test_few_rows_do_not_span_the_range_of_many_features() -> None:
    rng = np.random.default_rng(8)

    def sample(n: int) -> np.ndarray:
        kinds = (rng.normal(size=(n, 20)), rng.exponential(size=(n, 20)), rng.uniform(size=(n, 19)))
        return np.concatenate([*kinds, np.ones((n, 1))], axis=1)

    further = sample(50_000)

    def outside(x: np.ndarray, slack: np.ndarray) -> float:
        low, high = x.min(axis=0) - slack[0], x.max(axis=0) + slack[1]
        return float(((further < low) | (further > high)).any(axis=1).mean())

    for rows in (1_000, 2_400, 8_000):
        x = sample(rows)
        assert outside(x, np.zeros((2, 60))) > 60 / rows
        assert outside(x, slack(x)) < 0.004
        beyond = x.max(axis=0) + slack(x)[1]
        assert (beyond[:20] < 8).all()  # standard deviations
        assert (beyond[20:40] < 30).all()
        assert (beyond[40:59] < 1.5).all()
        assert beyond[59] == 1
    # enough rows speak for themselves
    assert slack(sample(100_000)[:, :40]).max() < 1


def test_a_limit_is_continued_beyond_what_few_rows_show() -> None:
    rng = np.random.default_rng(9)
    logs = rng.normal(size=1_000_000)
    found = [np.mean(logs > above(rng.normal(size=300), 0.0015)) for _ in range(100)]
    assert np.mean(found) == pytest.approx(0.0015, abs=0.001)
    many = rng.normal(size=10_000)
    assert above(many, 0.0015) == np.quantile(many, 0.9985)


def test_samples_that_differ_are_told_from_those_that_do_not() -> None:
    rng = np.random.default_rng(4)
    training = rng.normal(size=(40_000, 8))
    training[:, 7] = np.sign(training[:, 7])
    reference = two_sample_of(training, 0.003)
    names = [f"f{i}" for i in range(8)]

    def probability(shift: float, outside: float = 0.003) -> Any:
        test = SampleTest(reference, names)
        for _ in range(2):  # in chunks
            features = rng.normal(size=(1000, 8))
            features[:, 7] = np.sign(features[:, 7])
            features[:, 3] += shift
            test.add(features, rng.random(1000) < outside)
        return test.result()

    assert sum(probability(0).differs for _ in range(200)) <= 6
    assert all(probability(0.3).where == "f3" and probability(0.3).differs for _ in range(5))
    assert probability(0, outside=0.05).where == "events outside"


def test_a_trained_model_has_errors_and_says_so_in_its_report(trained: tuple[dict[str, Any], Path]) -> None:
    config, folder = trained
    model = Surrogate.load(config["save_lowest_loss_model_at"])
    assert model.members == 5
    result = deepmem.test(config)
    honesty = result["weights"]["weight_DY"]["honesty"]
    assert honesty["judged"] > 150
    assert 0.5 < honesty["coverage"]["within_1.96"]["covered"] <= 1
    assert (folder / "run" / "report.html").exists()


def test_a_model_claims_larger_errors_farther_away_and_flags_what_is_farthest(
    trained: tuple[dict[str, Any], Path], drell_yan: dict[str, np.ndarray]
) -> None:
    model = Surrogate.load(trained[0]["save_lowest_loss_model_at"])
    known = model.calibration
    assert known is not None
    known = known._replace(sparse=np.zeros_like(known.sparse))
    events = {name: drell_yan[name][:2000] for name in COLUMNS}
    weight, same = (
        dataclasses.replace(model, calibration=known._replace(near=np.asarray(near), distance=far))(events)[
            "weight_DY"
        ]
        for near, far in ((known.near, known.distance), (np.inf, np.asarray(np.inf)))
    )
    farther = weight.error > 1.001 * same.error
    assert 0.02 < np.mean(farther) < 0.1
    np.testing.assert_allclose(weight.error[~farther], same.error[~farther], rtol=1e-3)
    assert farther[(weight.status == 4) & (same.status == 0)].all()


def test_a_model_of_another_format_is_refused(trained: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    path = trained[0]["save_lowest_loss_model_at"]
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["deepmem_model"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for number, message in ((2, "train again"), (99, "update deepmem")):
        said = {"deepmem_model": json.dumps(header | {"format": number})}
        save_file(arrays, tmp_path / "other.model", metadata=said)
        with pytest.raises(deepmem.UsageError, match=message):
            Surrogate.load(tmp_path / "other.model")


def test_without_a_validation_part_errors_are_unknown(small: Path, tmp_path: Path) -> None:
    config = configuration(tmp_path, small, epochs=1, **UNCALIBRATED)
    weight = deepmem.train(config)(np.ones((3, len(COLUMNS))))["weight_DY"]
    assert np.isnan(weight.error).all()


def test_streamed_training_leaves_out_what_resident_training_does(small: Path, tmp_path: Path) -> None:
    losses = {}
    for loader in ("hybridMT", "hybrid"):
        config = configuration(tmp_path / loader, small, epochs=4, loader=loader, split=[8, 0.4, 1.6])
        losses[loader] = deepmem.train(config).about["loss"]
    assert losses["hybrid"] == pytest.approx(losses["hybridMT"], rel=0.5)


def test_weights_learned_at_several_values_of_a_parameter_are_given_at_any(
    drell_yan: dict[str, np.ndarray], tmp_path: Path
) -> None:
    events = {name: drell_yan[name][:300] for name in COLUMNS}
    values = [90.2, 90.7, 91.2, 91.7, 92.2]
    exact = deepmem.compute(events, "drell_yan", precision=1e-3, MZ=values)
    write_tree(tmp_path / "events.root", events)
    exact.to_root(tmp_path / "weights.root")
    config = configuration(tmp_path, tmp_path, weights=list(exact), epochs=1, members=2, **UNCALIBRATED)
    model = deepmem.train(config)
    assert model.scan is not None
    assert model.scan[1] == "MZ"
    # the interpolation itself, of exact weights, against exact ones in between
    (between,) = model.at(exact, {"MZ": 91.0}).values()
    others = [91.0, 91.1, 91.3, 91.4, 91.5]  # as many: one program
    truth = deepmem.compute(events, "drell_yan", precision=1e-3, MZ=others)["drell_yan_MZ_91"]
    assert np.quantile(np.abs(between.value / truth.value - 1), 0.95) < 0.01
    # the worst of the statuses that it is made of, not the largest
    for given, expected in (
        ([4, 1, 0, 0, 0], 1),
        ([0, 4, 0, 0, 0], 4),
        ([0, 3, 4, 5, 0], 3),
        ([5, 4, 0, 0, 1], 5),
    ):
        some = {
            name: dataclasses.replace(weight[:1], status=np.array([status], dtype=np.int32))
            for (name, weight), status in zip(exact.items(), given, strict=True)
        }
        assert model.at(some, {"MZ": 91.0})["drell_yan_MZ_91"].status.tolist() == [expected]
    (learned,) = model(events, MZ=91.2).values()
    np.testing.assert_allclose(learned.value, model(events)["drell_yan_MZ_91p2"].value)
    for wrong, message in ({"MZ": 95.0}, "outside what was learned"), ({"WZ": 2.5}, "a scan of MZ"):
        with pytest.raises(deepmem.UsageError, match=message):
            model(events, **wrong)


class _Warned(Reporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def warning(self, text: str) -> None:
        self.said.append(text)


def _lesson(folder: Path, events: dict[str, Any], weights: Any, **changes: Any) -> list[str]:
    """What training says of events and their weights before it learns."""
    write_tree(folder / "events.root", events)
    write_tree(folder / "weights.root", {"weight_DY": weights}, "weights")
    listening = _Warned()
    training._lesson(Config.load(configuration(folder, folder, **changes)), False, listening)
    return listening.said


def test_labels_without_spread_are_refused_and_logarithms_are_said(tmp_path: Path, drell_yan: Any) -> None:
    events = {name: drell_yan[name][:300] for name in COLUMNS}
    weights = drell_yan["weight_DY"][:300]
    assert _lesson(tmp_path, events, weights) == []
    with pytest.raises(
        UsageError, match="weight_DY: all 240 weights of the training part are 1e-08, so there is nothing"
    ):
        _lesson(tmp_path, events, np.full(300, 1e-8))
    (said,) = _lesson(tmp_path, events, -np.log10(weights))
    assert "as −log10 of weights is" in said
    assert "give the weights themselves" in said
    assert _lesson(tmp_path, events, weights * 1e9) == []  # another unit is no logarithm


@pytest.mark.parametrize("logarithm", [np.log10, np.log])
def test_labels_that_are_logarithms_of_weights_get_a_hint(
    logarithm: Any, tmp_path: Path, drell_yan: Any
) -> None:
    """+log10 W, or ln W: nothing of it is above 0."""
    events = {name: drell_yan[name][:300] for name in COLUMNS}
    labels = logarithm(drell_yan["weight_DY"][:300])
    labels[3] = np.nan
    with pytest.raises(UsageError, match=r"weight_DY: all weights .* below 0.*write 10\*\*label of log10 W"):
        _lesson(tmp_path, events, labels)
    with pytest.raises(UsageError, match="no training event has a valid weight 'weight_DY', a finite number"):
        _lesson(tmp_path, events, np.where(np.arange(300) % 2, 0.0, np.nan))


def test_a_test_repeats_what_its_training_doubted(tmp_path: Path, drell_yan: Any) -> None:
    """Copies within a file are seen in the training part only, and make the test look better than it is."""
    columns = {name: np.tile(drell_yan[name][:60], 5) for name in COLUMNS}
    write_tree(tmp_path / "events.root", columns)
    write_tree(tmp_path / "weights.root", {"weight_DY": np.tile(drell_yan["weight_DY"][:60], 5)}, "weights")
    config = configuration(tmp_path, tmp_path, epochs=1, members=1, batch_size=64)
    deepmem.train(config)
    listening = _Warned()
    found = deepmem.test(config, reporter=listening)
    (text,) = (each for each in listening.said if "copies of others" in each)
    assert text.startswith("of the training: 180 of 240 events")
    assert found["model_card"]["doubts"] == [text.removeprefix("of the training: ")]
    assert "copies of others" in Path(found["report"]["report"]).read_text()


def test_events_that_come_twice_are_said_before_training(tmp_path: Path, drell_yan: Any) -> None:
    """Twice one file, a copy of it under another name, and copies within one."""
    events = {name: drell_yan[name][:300] for name in COLUMNS}
    weights = drell_yan["weight_DY"][:300]
    paths = [str(tmp_path / "events.root")] * 2
    twice: dict[str, Any] = {"output_paths": [str(tmp_path / "weights.root")] * 2}
    said = _lesson(tmp_path, events, weights, input_paths=paths, **twice)
    assert "'input_paths' has the same 300 events twice" in said[0]
    assert "parts share events" in said[0]
    copy = write_tree(tmp_path / "copy.root", events | {"run": np.arange(300)})
    assert _lesson(tmp_path, events, weights, input_paths=[paths[0], str(copy)], **twice)[0] == said[
        0
    ].replace(f"{paths[0]}:events) ", f"{copy}:events) ").replace(f"and {paths[0]}", f"and {copy}")
    tiled = {name: np.tile(values[:50], 6) for name, values in events.items()}
    (within,) = _lesson(tmp_path, tiled, np.tile(weights[:50], 6))
    assert "190 of 240 events of the training part are copies of others in it" in within


def test_a_model_is_shown_in_one_line(trained: tuple[dict[str, Any], Path]) -> None:
    shown = repr(Surrogate.load(trained[0]["save_lowest_loss_model_at"]))
    assert shown == "Surrogate(weight_DY of 10 columns; 5 'default' networks, 2 layers of 24)"


def test_calibration_gathers_a_bounded_part_of_the_validation_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: Path
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(calibration_fit, "fit", lambda *arguments: seen.append(len(arguments[3].features)))
    config = configuration(tmp_path, small, members=1, split=[0.4, 0.5, 0.1])
    for most in (10**6, 100):
        monkeypatch.setattr(calibration_fit, "CALIBRATED_ON", most)
        deepmem.train(config, epochs=1)
    assert seen[0] == 1000
    assert 60 < seen[1] < 140


def test_a_line_through_knots_is_numpys():
    """Beyond the ends, at knots, with two in one place, and of what is no number."""
    knots = np.array([-1.0, 0.5, 0.5, 2.0, 7.0], dtype=np.float32)
    values = np.array([3.0, -1.0, 4.0, 4.5, 0.0], dtype=np.float32)
    t = np.concatenate([np.linspace(-3, 9, 241), [-np.inf, np.inf]]).astype(np.float32)
    t = t[t != 0.5]
    found = np.asarray(interpolated(jnp, jnp.asarray(t), knots, values))
    np.testing.assert_allclose(found, np.interp(t, knots, values), atol=1e-6)
    assert np.isnan(np.asarray(interpolated(jnp, jnp.asarray([np.nan]), knots, values))).all()
