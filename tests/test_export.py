"""Models as ONNX graphs: what a runtime says is what `predict` says."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from typer.testing import CliRunner

from deepmem import Surrogate
from deepmem.cli.main import app
from deepmem.errors import DeepMEMError
from deepmem.physics.processes import find_process
from deepmem.surrogate.export import OUTPUTS, export, onnx_model
from deepmem.surrogate.features import FeatureMap
from deepmem.surrogate.network import build_members, member_predictions
from deepmem.surrogate.onnx_graph import graph


@pytest.fixture(scope="module")
def model(trained: tuple[dict[str, Any], Path]) -> Surrogate:
    return Surrogate.load(trained[0]["save_lowest_loss_model_at"])


def session(made: Any) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        made if isinstance(made, bytes) else made.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )


def events_of(model: Surrogate, drell_yan: dict[str, np.ndarray]) -> np.ndarray:
    """Good events, and every kind of bad and far one."""
    table = np.stack([drell_yan[name] for name in model.columns], axis=1).astype(np.float64)
    place = model.columns.index
    table[::50, place("lep1_PT")] = np.nan
    table[1::50, place("lep2_PT")] = np.inf
    table[2::50, place("lep1_PT")] *= 12
    table[3::50, place("lep2_Eta")] = 21.0
    table[4::50, place("lep1_Phi")] = 999.0
    table[5::50, place("lep1_Phi")] = -99.0
    table[6::50, place("lep2_PT")] = -1.0
    table[7::50, place("lep1_Eta")] = 15.0
    table[8::50, place("lep1_Phi")] = 180.0
    return table


def test_a_runtime_says_what_predict_says(
    model: Surrogate, drell_yan: dict[str, np.ndarray], tmp_path: Path
) -> None:
    table = events_of(model, drell_yan)[:9000]
    about = export(model, tmp_path / "m.onnx")
    run = session((tmp_path / "m.onnx").read_bytes())
    found = dict(zip(OUTPUTS, run.run(None, {"events": table}), strict=True))
    for i, (name, weight) in enumerate(model.predict(table).items()):
        assert about["weights"][i] == name
        np.testing.assert_array_equal(found["status"], weight.status)
        assert set(weight.status) == {0, 3, 4}
        good = np.isfinite(weight.value)
        np.testing.assert_array_equal(np.isfinite(found["weight"][:, i]), good)
        off = found["log10"][good, i] - np.log10(weight.value[good])
        assert np.abs(off).max() < 1e-5
        np.testing.assert_allclose(found["weight"][good, i], weight.value[good], rtol=3e-5)
        np.testing.assert_allclose(found["error"][good, i], weight.error[good], rtol=1e-2)
    one = run.run(None, {"events": table[10:11]})
    np.testing.assert_allclose(one[0], found["log10"][10:11], rtol=1e-6)


def test_single_precision_and_the_card(
    model: Surrogate, drell_yan: dict[str, np.ndarray], tmp_path: Path
) -> None:
    export(model, tmp_path / "m.onnx", single=True)
    table = events_of(model, drell_yan)[9::50].astype(np.float32)
    run = session((tmp_path / "m.onnx").read_bytes())
    (log10,) = run.run(["log10"], {"events": table})
    (weight,) = model.predict(table.astype(np.float64)).values()
    np.testing.assert_allclose(log10[:, 0], np.log10(weight.value), atol=1e-5)
    card = run.get_modelmeta().custom_metadata_map
    assert json.loads(card["deepmem_columns"]) == list(model.columns)
    assert json.loads(card["deepmem_model"])["model_sha256"] == model.sha256
    assert json.loads(card["deepmem_statuses"]) == {"0": "good", "3": "bad_input", "4": "outside_training"}


@pytest.mark.parametrize("process", ["drell_yan", "higgs_4l", "ttbar_2l", "ww_2l"])
def test_features_of_every_final_state(process: str) -> None:
    """Random events, neither likely nor kind: features are those of JAX."""
    columns = find_process(process).columns
    rng = np.random.default_rng(4)
    scale = {"PT": 80.0, "M": 8.0, "MET": 50.0}
    table = np.empty((200, len(columns)))
    for i, name in enumerate(columns):
        suffix = name.split("_")[-1]
        if suffix in scale:
            table[:, i] = rng.exponential(scale[suffix], 200) + 5
        elif suffix in ("Charge", "PDG"):
            table[:, i] = rng.choice([-1, 1], 200) * (rng.choice([11, 13], 200) if suffix == "PDG" else 1)
        else:
            table[:, i] = rng.uniform(-3, 3, 200)
    features = FeatureMap(columns)
    with jax.enable_x64(True):
        made = graph(
            lambda events: {"features": features(events)}, {"events": (len(columns), np.float64)}, {}
        )
        expected = np.asarray(jax.jit(features)(table))
    (found,) = session(made).run(None, {"events": table})
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_the_original_network() -> None:
    members = build_members("reference", 7, 2, 200, 4, 2, 1)
    x = np.random.default_rng(1).normal(size=(30, 7)).astype(np.float32)
    made = graph(lambda x: {"y": member_predictions(members, x).sum(axis=0)}, {"x": (7, np.float32)}, {})
    (found,) = session(made).run(None, {"x": x})
    np.testing.assert_allclose(
        found, np.asarray(member_predictions(members, x)).sum(axis=0), rtol=2e-5, atol=2e-6
    )


def test_what_has_no_translation_is_named() -> None:
    with pytest.raises(DeepMEMError, match="ONNX has no translation of 'cumsum' here"):
        graph(lambda x: {"y": jnp.cumsum(x, axis=1)}, {"x": (7, np.float32)}, {})


def test_older_runtimes_know_its_operations(model: Surrogate) -> None:
    """They compute with no unsigned integers, and each says something else of an axis without elements."""
    model_of = onnx.shape_inference.infer_shapes(onnx_model(model), strict_mode=True, data_prop=True)
    tensors = [*model_of.graph.value_info, *model_of.graph.input, *model_of.graph.output]
    types = {tensor.name: tensor.type.tensor_type for tensor in tensors}
    unsigned = {onnx.TensorProto.UINT8, onnx.TensorProto.UINT32, onnx.TensorProto.UINT64}
    assert not unsigned & {each.elem_type for each in types.values()}
    reduced = [node.input[0] for node in model_of.graph.node if node.op_type.startswith("Reduce")]
    sizes = [
        axis.dim_value for name in reduced for axis in types[name].shape.dim if axis.HasField("dim_value")
    ]
    assert sizes
    assert 0 not in sizes


@pytest.mark.parametrize(
    ("reduce", "empty"), [(jnp.all, True), (jnp.any, False), (jnp.sum, 0.0), (jnp.max, -np.inf)]
)
def test_nothing_is_reduced_as_jax_does(reduce: Any, empty: Any) -> None:
    def reduced(x: jax.Array) -> dict[str, jax.Array]:
        none = x[:, :0]
        several = none > 0 if isinstance(empty, bool) else none
        found = jnp.max(several, axis=1, initial=-np.inf) if reduce is jnp.max else reduce(several, axis=1)
        return {"y": jnp.where(x[:, 0] < 9, found, found).astype(jnp.float32)}

    made = graph(reduced, {"x": (3, np.float32)}, {})
    (found,) = session(made).run(None, {"x": np.zeros((5, 3), np.float32)})
    np.testing.assert_array_equal(found, np.full(5, empty, np.float32))


def test_the_command(model: Surrogate, tmp_path: Path) -> None:
    model.save(tmp_path / "my.model")
    result = CliRunner().invoke(
        app, ["export", str(tmp_path / "my.model"), "--output", str(tmp_path / "my.onnx")]
    )
    assert result.exit_code == 0, result.output
    assert f"input: events, float64 [n, {len(model.columns)}]" in result.stdout
    assert re.search(r"output: status, int32 \[n\]", result.stdout)
    onnx.checker.check_model(str(tmp_path / "my.onnx"), full_check=True)


def test_without_a_calibration_errors_are_not_known(
    model: Surrogate, drell_yan: dict[str, np.ndarray], tmp_path: Path
) -> None:
    bare = dataclasses.replace(model, spread=None, calibration=None)
    export(bare, tmp_path / "m.onnx")
    table = events_of(model, drell_yan)[9::50]
    log10, _, error, status = session((tmp_path / "m.onnx").read_bytes()).run(None, {"events": table})
    assert np.isfinite(log10).all()
    assert np.isnan(error).all()
    (weight,) = bare.predict(table).values()
    np.testing.assert_array_equal(status, weight.status)


def test_objects_that_may_be_absent_have_no_graph(model: Surrogate) -> None:
    with pytest.raises(DeepMEMError, match="cannot be exported"):
        onnx_model(dataclasses.replace(model, padded=("j1",)))
