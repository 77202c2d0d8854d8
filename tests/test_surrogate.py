"""Learned weights: the symmetries that are built in, the scaler, the file, and the training's arithmetic."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from conftest import COLUMNS, UNCALIBRATED, configuration, write_tree

import deepmem
from deepmem import Surrogate, UsageError
from deepmem.columns import Column, described, recognise
from deepmem.data.loaders import Rows
from deepmem.inputs import Reason
from deepmem.surrogate.features import FeatureMap
from deepmem.surrogate.guide import Guide
from deepmem.surrogate.network import build
from deepmem.surrogate.preparation import Counts, Preparation, Scaler
from deepmem.surrogate.training import Recipe, rates


@cache
def _compiled(columns: tuple[str, ...] | tuple[Column, ...], kind: str) -> tuple[tuple[str, ...], Any]:
    """The names of features, and the function that gives them: one program, not one for each operation."""
    features = FeatureMap(columns, kind)
    return features.names, jax.jit(features)


def _features(
    columns: tuple[str, ...] | tuple[Column, ...], table: np.ndarray, kind: str = "physics"
) -> dict[str, np.ndarray]:
    names, features = _compiled(columns, kind)
    with jax.enable_x64(True):
        values = np.asarray(features(np.asarray(table, dtype=np.float64)))
    return dict(zip(names, values.T, strict=True))


@pytest.fixture(scope="module")
def table(drell_yan: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([drell_yan[name][:500] for name in COLUMNS], axis=1).astype(np.float64)


def test_invariants_are_those_of_four_vectors(table: np.ndarray) -> None:
    features = _features(COLUMNS, table)
    p = {}
    for lepton in (0, 4):
        pt, eta, phi = table[:, lepton], table[:, lepton + 1], table[:, lepton + 2]
        p[lepton] = np.stack([pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    total = p[0] + p[4]
    mass2 = total[0] ** 2 - (total[1:] ** 2).sum(axis=0)
    np.testing.assert_allclose(features["log total mass"], np.log(mass2) / 2, rtol=1e-9)
    np.testing.assert_allclose(
        features["log(1 + total pT)"], np.log1p(np.hypot(total[1], total[2])), rtol=1e-9
    )
    energy = np.sqrt(mass2 + total[3] ** 2)
    np.testing.assert_allclose(features["log x1"], np.log(energy + abs(total[3])), rtol=1e-9)
    np.testing.assert_allclose(features["log x2"], np.log(energy - abs(total[3])), rtol=1e-7, atol=1e-9)


def _rotated(table: np.ndarray, angle: float) -> np.ndarray:
    turned = table.copy()
    for i in (2, 6, 9):
        turned[:, i] = np.mod(table[:, i] + angle + np.pi, 2 * np.pi) - np.pi
    return turned


@pytest.mark.parametrize("angle", [0.1, 2.5, -3.0, np.pi])
def test_rotations_about_the_beam_change_nothing(table: np.ndarray, angle: float) -> None:
    before, after = _features(COLUMNS, table), _features(COLUMNS, _rotated(table, angle))
    for name in before:
        np.testing.assert_allclose(after[name], before[name], atol=1e-8, err_msg=name)


def test_exchanged_leptons_and_beams_change_only_the_sign_that_says_so(table: np.ndarray) -> None:
    before = _features(COLUMNS, table)
    exchanged = _features(COLUMNS, table[:, [4, 5, 6, 7, 0, 1, 2, 3, 8, 9]])
    mirrored = table.copy()
    mirrored[:, [1, 5]] *= -1
    turned = _features(COLUMNS, mirrored)
    for name in before:
        if name.startswith("exchange"):
            np.testing.assert_array_equal(exchanged[name], -before[name])
        else:
            np.testing.assert_allclose(exchanged[name], before[name], atol=1e-9, err_msg=name)
        if name == "sign of total rapidity":
            np.testing.assert_array_equal(turned[name], -before[name])
        else:
            np.testing.assert_allclose(turned[name], before[name], atol=1e-9, err_msg=name)


def test_four_leptons_are_put_in_order_of_charge_and_flavour() -> None:
    quantities = ("PT", "Eta", "Phi", "Charge", "PDG")
    columns = tuple(f"lep{i}_{q}" for i in (1, 2, 3, 4) for q in quantities)
    rng = np.random.default_rng(0)
    leptons = np.stack(
        [
            rng.uniform(10, 50, 4),
            rng.normal(size=4),
            rng.uniform(-3, 3, 4),
            [-1, 1, -1, 1],
            [11, -11, 13, -13],
        ],
        axis=1,
    )
    expected = _features(columns, leptons.reshape(1, -1))
    for _ in range(10):
        shuffled = _features(columns, leptons[rng.permutation(4)].reshape(1, -1))
        for name in expected:
            if not name.startswith(("exchange", "sign of first")):
                np.testing.assert_allclose(shuffled[name], expected[name], atol=1e-9, err_msg=name)


def test_plain_features_are_the_columns(table: np.ndarray) -> None:
    features = _features(COLUMNS, table, "plain")
    assert list(features) == list(COLUMNS)
    for i, name in enumerate(COLUMNS):
        np.testing.assert_array_equal(features[name], table[:, i])


@pytest.mark.parametrize("columns", [("mll", "dphi"), ("ZZMass", "helphi"), ("x", "phi_planes"), ("ht", "MET_Phi"),
                                     ("met", "phi_met"), ("lep1_PT", "lep1_Phi", "MET", "MET_Phi")])  # fmt: skip
def test_no_angle_is_dropped(columns: tuple[str, ...]) -> None:
    """Two events that differ in the last column alone differ in a feature, but not by a turn of it."""
    table = np.tile(np.linspace(0.5, 1.5, len(columns)), (3, 1))
    table[1, -1] += 1.0
    table[2, -1] += 2 * np.pi
    values = np.stack([*_features(columns, table).values()], axis=1)
    assert np.abs(values[1] - values[0]).max() > 0.1
    np.testing.assert_allclose(values[2], values[0], atol=1e-12)
    plain = _features(columns, table, "plain")
    np.testing.assert_array_equal(np.stack([*plain.values()], axis=1), table)


def test_angles_that_are_no_azimuths_are_not_rotated(table: np.ndarray) -> None:
    columns = (*COLUMNS, "dphi", "Phi", "Phi1")
    angles = np.random.default_rng(3).uniform(-3, 3, (len(table), 3))
    before = _features(columns, np.hstack([table, angles]))
    after = _features(columns, np.hstack([_rotated(table, 0.7), angles]))
    for i, name in enumerate(columns[-3:]):
        np.testing.assert_allclose(before[f"cos {name}"], np.cos(angles[:, i]), atol=1e-12)
    for name in before:
        np.testing.assert_allclose(after[name], before[name], atol=1e-8, err_msg=name)


def test_names_with_the_quantity_first_give_the_same_features(table: np.ndarray) -> None:
    leptons = (f"{q}{i}" for i in "12" for q in ("pt", "eta", "phi", "Q"))
    named = (*leptons, "met_met_NOSYS", "met_phi_NOSYS")
    expected, found = _features(COLUMNS, table), _features(named, table)
    np.testing.assert_array_equal([*found.values()], [*expected.values()])


def test_what_columns_are_said_to_hold_decides(table: np.ndarray) -> None:
    names = tuple(f"x{i}" for i in range(len(COLUMNS)))
    said = {x: replace(recognise(name), name=x) for x, name in zip(names, COLUMNS, strict=True)}
    found, expected = (_features(columns, table) for columns in (described(names, said), COLUMNS))
    np.testing.assert_array_equal([*found.values()], [*expected.values()])


@pytest.mark.parametrize(
    "columns",
    [("x",), ("a_Phi",), ("lep1_PT", "lep1_Eta", "lep1_Phi"), ("MET", "MET_Phi"), ("j1_PT", "j1_Eta",
    "j1_Phi", "j1_E", "y"),
     ("lep1_PT", "lep1_Eta", "lep1_Phi", "MET", "MET_Phi"), ("lep1_PT", "lep2_Eta")],
)  # fmt: skip
def test_any_set_of_columns_gives_finite_features(columns: tuple[str, ...]) -> None:
    values = np.random.default_rng(1).uniform(0.5, 2, (7, len(columns)))
    features = _features(columns, values)
    assert features
    assert all(np.isfinite(column).all() for column in features.values())


def test_a_bad_event_touches_no_other(table: np.ndarray) -> None:
    bad = table.copy()
    bad[3, 0], bad[5, 4], bad[7, 9] = np.nan, -20.0, np.inf
    before, after = _features(COLUMNS, table), _features(COLUMNS, bad)
    others = np.setdiff1d(np.arange(len(table)), [3, 5, 7])
    finite = np.ones(len(table), dtype=bool)
    for name in before:
        np.testing.assert_array_equal(after[name][others], before[name][others])
        finite &= np.isfinite(after[name])
    assert not finite[[3, 5, 7]].any()


def test_the_scaler_is_that_of_the_whole_training_part_whatever_the_chunks() -> None:
    rng = np.random.default_rng(2)
    inputs, weights = rng.normal(3, 2, (1000, 2)), rng.lognormal(size=(1000, 1))
    inputs[10, 0], weights[20, 0], weights[30, 0], weights[40, 0], weights[50, 0] = (
        np.nan,
        np.nan,
        0,
        -1,
        np.inf,
    )
    rows = Rows(inputs, weights, None)
    scalers: list[Scaler] = []
    for chunk in (1000, 77):
        preparation = Preparation(FeatureMap(("a", "b")), ("w",), 1.0)
        counts = preparation.fit([rows.take(slice(at, at + chunk)) for at in range(0, 1000, chunk)])
        assert counts.as_dict() == {
            "rows": 1000, "used": 995, "w: NaN": 1, "w: infinite": 1, "w: negative": 1, "w: zero": 1,
            "inputs NaN, infinite or unphysical": 1,
        }  # fmt: skip
        assert preparation.scaler is not None
        scalers.append(preparation.scaler)
    good = np.isfinite(inputs).all(axis=1) & np.isfinite(weights[:, 0]) & (weights[:, 0] > 0)
    target = -np.log10(weights[good, 0])
    for scaler in scalers:
        np.testing.assert_allclose(scaler.feature_mean, inputs[good].mean(axis=0))
        np.testing.assert_allclose(scaler.feature_std, inputs[good].std(axis=0))
        np.testing.assert_allclose(scaler.feature_low, inputs[good].min(axis=0))
        np.testing.assert_allclose(
            [scaler.target_mean[0], scaler.target_std[0]], [target.mean(), target.std()]
        )


def test_noisier_labels_count_less_and_equally_noisy_ones_all_the_same() -> None:
    inputs = np.random.default_rng(3).normal(size=(6, 1))
    weights = np.ones((6, 1))
    for errors, ratio in (
        (np.full((6, 1), 0.1), 1.0),
        (np.array([[0.3], [0.3], [0.3], [0.01], [0.01], [0.01]]), 15.5),
    ):
        preparation = Preparation(FeatureMap(("a",)), ("w",), 1.0)
        preparation.fit([Rows(inputs, weights, errors)])
        importance = preparation(Rows(inputs, weights, errors)).importance[:, 0]
        # m²/(m² + σ²) with m the geometric mean √(0.3·0.01): 0.0322; what is better than m counts as m: 0.5
        assert importance[5] / importance[0] == pytest.approx(ratio, rel=1e-3)


def test_rows_with_one_of_two_weights_are_used_for_that_one() -> None:
    rows = Rows(np.ones((3, 1)), np.array([[1.0, np.nan], [1.0, 2.0], [np.nan, -1.0]]), None)
    preparation = Preparation(FeatureMap(("a",)), ("v", "w"), 1.0)
    assert preparation.fit([rows]).used == 2
    np.testing.assert_array_equal(preparation(rows, Counts()).importance, [[1, 0], [1, 1]])


@pytest.mark.parametrize("total", [5, 100, 9000])
def test_rates_rise_and_fall_as_a_cosine(total: int) -> None:
    """In pieces as at once; the original's network has one rate."""
    recipe = Recipe("default", 0.02, 64, 1, 1, True, 0)
    found = rates(recipe, total, np.arange(total + 1))
    warmup = min(500, total // 10)
    assert found[warmup] == np.float32(0.02)
    np.testing.assert_allclose(np.diff(found[: warmup + 1]), 0.02 / max(warmup, 1), rtol=1e-4)
    middle = (total + warmup) / 2
    assert np.interp(middle, np.arange(total + 1), found) == pytest.approx(0.02 * 1.001 / 2, rel=1e-2)
    assert found[-1] == pytest.approx(2e-5)
    assert rates(recipe, total, np.array([total + 7]))[0] == found[-1]
    pieces = [rates(recipe, total, part) for part in np.array_split(np.arange(total + 1), 3)]
    np.testing.assert_array_equal(np.concatenate(pieces), found)
    assert set(rates(recipe._replace(network="reference"), total, np.arange(total))) == {np.float32(0.02)}


@pytest.mark.parametrize("name", ["default", "reference"])
def test_one_event_alone_is_as_in_a_batch(name: str) -> None:
    x = np.random.default_rng(1).normal(size=(5, 7)).astype(np.float32)

    @jax.jit
    def both(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        network = build(name, 7, 2, 16, 3, jax.random.key(0))
        return jax.vmap(network)(x)[2], network(x[2])

    np.testing.assert_allclose(*both(x), rtol=1e-5, atol=1e-6)


def test_the_reference_network_is_the_originals() -> None:
    network = build("reference", 10, 1, 1, 1, jax.random.key(0))
    sizes = [layer.weight.shape for layer in (*network.layers, network.last)]
    assert sizes == [(200, 10), (200, 200), (200, 200), (200, 200), (1, 210)]


def test_permuted_rows_give_permuted_predictions(
    trained: tuple[dict[str, Any], Path], table: np.ndarray
) -> None:
    model = Surrogate.load(trained[0]["save_lowest_loss_model_at"])
    order = np.random.default_rng(0).permutation(len(table))
    plain, permuted = model(table)["weight_DY"], model(table[order])["weight_DY"]
    np.testing.assert_array_equal(permuted.value, plain.value[order])
    np.testing.assert_array_equal(model(table[:1])["weight_DY"].value, plain.value[:1])


def test_predictions_do_not_change_when_the_event_is_rotated(
    trained: tuple[dict[str, Any], Path], table: np.ndarray
) -> None:
    model = Surrogate.load(trained[0]["save_lowest_loss_model_at"])
    before = np.log10(model(table)["weight_DY"].value)
    for angle in (1.0, -2.9):
        assert np.abs(np.log10(model(_rotated(table, angle))["weight_DY"].value) - before).max() < 1e-5


def test_saved_and_loaded_is_the_same_model(
    trained: tuple[dict[str, Any], Path], table: np.ndarray, tmp_path: Path
) -> None:
    model = Surrogate.load(trained[0]["save_lowest_loss_model_at"])
    model.save(tmp_path / "copy.anything")
    copy = Surrogate.load(tmp_path / "copy.anything")
    np.testing.assert_array_equal(copy(table)["weight_DY"].value, model(table)["weight_DY"].value)
    assert copy.about == model.about
    assert (copy.columns, copy.weights, copy.unit) == (COLUMNS, ("weight_DY",), "GeV")


def test_events_in_every_form(trained: tuple[dict[str, Any], Path], table: np.ndarray) -> None:
    import awkward as ak

    model = Surrogate.load(trained[0]["save_lowest_loss_model_at"])
    columns = dict(zip(COLUMNS, table.T, strict=True))
    structured = np.empty(len(table), dtype=[(name, "f8") for name in COLUMNS])
    for name in COLUMNS:
        structured[name] = columns[name]
    expected = model(table)["weight_DY"].value
    for events in (columns, structured, ak.Array(columns)):
        np.testing.assert_array_equal(model(events)["weight_DY"].value, expected)
    with pytest.raises(UsageError, match=r"no column 'lep1_PT' .did you mean 'lep1_pt'"):
        model({name.replace("lep1_PT", "lep1_pt"): values for name, values in columns.items()})
    with pytest.raises(UsageError, match="differ in length"):
        model(columns | {"MET": columns["MET"][:3]})


def test_statuses_of_a_prediction(trained: tuple[dict[str, Any], Path], table: np.ndarray) -> None:
    model = Surrogate.load(trained[0]["save_lowest_loss_model_at"])
    strange = table[:4].copy()
    strange[1, 0] = np.nan
    strange[2, 0] = 5e4
    weight = model(strange)["weight_DY"]
    assert weight.status.tolist() == [0, 3, 4, 0]
    assert np.isnan(weight.value).tolist() == [False, True, False, False]
    assert np.isnan(weight.error).tolist() == [False, True, False, False]
    turned = table[:50].copy()
    turned[:, [2, 6, 9]] *= 180 / np.pi
    assert (model(turned)["weight_DY"].status == 4).mean() > 0.99  # degrees
    for column, value, reason in ((2, -999.0, Reason.PHI), (9, -99.0, Reason.PHI), (1, -99.0, Reason.ETA)):
        nothing = table[:3].copy()
        nothing[1, column] = value
        weight = model(nothing)["weight_DY"]
        assert weight.status.tolist() == [0, 3, 0]
        assert weight.reason is not None
        assert weight.reason.tolist() == [0, reason, 0]
        assert np.isnan(weight.value[1])


def test_noise_free_function_is_learned_with_two_weights_and_errors(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 4000))
    v, w = np.exp(-(x**2)), np.exp(x * y)
    write_tree(tmp_path / "events.root", {"x": x, "y": y})
    write_tree(tmp_path / "weights.root", {"v": v, "w": w, "dv": v / 100, "dw": w / 10})
    config = configuration(
        tmp_path, tmp_path, prefixes=[["x", "y"]], suffixes=[[""]], weights=["v", "w"], weight_errors=["dv",
        "dw"], epochs=20, members=2, **UNCALIBRATED,
    )  # fmt: skip
    weights = deepmem.train(config)({"x": x[-400:], "y": y[-400:]})
    for name, truth in (("v", v), ("w", w)):
        delta = np.log10(weights[name].value / truth[-400:])
        assert np.quantile(np.abs(delta), 0.68) < 0.03
    result = deepmem.test(config)
    assert set(result["weights"]) == {"v", "w"}


def test_header_carries_what_a_reader_needs(trained: tuple[dict[str, Any], Path]) -> None:
    path = Path(trained[0]["save_lowest_loss_model_at"])
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["deepmem_model"])
    assert header["columns"] == list(COLUMNS)
    assert header["about"]["training_rows"]["used"] == 1600


@pytest.mark.parametrize("names", [{"lep1_pt": "lep1_PT"}, {"lep1_PT": "lep1_Eta"}, {"lep2_PT": "lep1_PT"}])
def test_a_guide_refuses_column_names_that_cannot_be_meant(names: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="'column_names'"):
        Guide({"process": "drell_yan", "column_names": names}, COLUMNS)
