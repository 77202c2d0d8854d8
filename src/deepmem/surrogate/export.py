"""A model as one ONNX graph, for frameworks without Python: columns in, weights with errors and statuses out.

Everything is in the graph: features, the members, calibration, the distance to training events, what makes an
input bad. A guide is an integral and cannot be: its graph has what the guide says as a second input.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.columns import Quantity, no_angle
from deepmem.data.files import whole_file
from deepmem.errors import UsageError
from deepmem.event import Status
from deepmem.inputs import LARGEST_ETA
from deepmem.surrogate.model import Surrogate
from deepmem.surrogate.prediction import Numbers, evaluated

OUTPUTS = ("log10", "weight", "error", "status")
"""log10 W, W and its absolute error `[n, weights]`, float64; status `[n]`, int32."""


def export(model: Surrogate, path: str | Path, single: bool = False) -> dict[str, Any]:
    """Write a model as an ONNX file, whole or not at all.

    **Arguments:** `single`, whether its columns come in single precision; all is computed as from doubles.

    **Returns** what the file has: its inputs and outputs, and a remark where a guide has to be given.

    **Raises** `UsageError` where the package onnx is missing, or the file can't be written.
    """
    made = onnx_model(model, single)
    with whole_file(path) as temporary:
        Path(temporary).write_bytes(made.SerializeToString())
    about: dict[str, Any] = {
        "file": str(path),
        "columns": list(model.columns),
        "weights": list(model.weights),
        "inputs": {each.name: _words(each) for each in made.graph.input},
        "outputs": {each.name: _words(each) for each in made.graph.output},
    }
    if model.guide is not None:
        about["remark"] = (
            "this model corrects a guide, a cheap weight that is an integral and has no place in a graph: "
            f"the input 'guide' must have what it says ({', '.join(_guide_names(model))}), as 'deepmem "
            "predict' computes it"
        )
    return about


def onnx_model(model: Surrogate, single: bool = False) -> Any:
    """The `onnx.ModelProto` of a model, see `export`."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise UsageError("export needs the package onnx: pip install 'deepmem[onnx]'") from None
    if model.padded:
        raise UsageError(
            f"a model of objects that an event may lack ({', '.join(model.padded)}, 'padded') cannot be "
            "exported: predict with deepmem, or train one without them"
        )
    from deepmem.surrogate.onnx_graph import graph

    inputs: dict[str, tuple[int, Any]] = {
        "events": (len(model.columns), np.float32 if single else np.float64)
    }
    if model.guide is not None:
        inputs["guide"] = (len(_guide_names(model)), np.float64)

    with jax.enable_x64(True):
        numbers = model.numbers  # made outside of what is traced

        def weights(events: jax.Array, guide: jax.Array | None = None) -> dict[str, jax.Array]:
            return _weights(model, numbers, events.astype(jnp.float64), guide)

        return graph(weights, inputs, _card(model))


def _weights(
    model: Surrogate, numbers: Numbers, events: jax.Array, guide: jax.Array | None
) -> dict[str, jax.Array]:
    """`Surrogate.predict` in JAX: value, error and status of events `[n, columns]` in the model's unit."""
    guided = jnp.zeros((events.shape[0], 0)) if guide is None else guide
    log10, relative, inside, finite, _ = evaluated(model.feature_map, numbers, events, guided)
    quantities = [column.quantity for column in model.described]
    bad = ~finite
    for i, quantity in enumerate(quantities):
        if quantity is Quantity.ETA:
            bad |= abs(events[:, i]) > 2 * LARGEST_ETA
        if quantity in (Quantity.PHI, Quantity.ANGLE):
            bad |= no_angle(events[:, i])
    status = jnp.where(
        bad, int(Status.BAD_INPUT), jnp.where(inside, int(Status.GOOD), int(Status.OUTSIDE_TRAINING))
    )
    log10 = jnp.where(bad[:, None], jnp.nan, log10)
    value = jnp.exp(np.log(10) * log10)
    return {"log10": log10, "weight": value, "error": value * relative, "status": status.astype(jnp.int32)}


def _guide_names(model: Surrogate) -> tuple[str, ...]:
    return model.feature_names[len(model.feature_map.names) :]


def _card(model: Surrogate) -> dict[str, str]:
    """What the file says of the model, texts by key."""
    statuses = {
        int(each): each.name.lower() for each in (Status.GOOD, Status.BAD_INPUT, Status.OUTSIDE_TRAINING)
    }
    card: dict[str, Any] = {
        "columns": list(model.columns),
        "unit": model.unit,
        "weights": list(model.weights),
        "statuses": statuses,
        "model": model.provenance("export"),
    }
    if model.guide is not None:
        card["guide"] = list(_guide_names(model))
    return {f"deepmem_{key}": json.dumps(value, ensure_ascii=False) for key, value in card.items()}


def _words(value: Any) -> str:
    """The type and shape of an input or output: "float64 [n, 8]"."""
    import onnx

    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return f"{dtype} [{', '.join(each.dim_param or str(each.dim_value) for each in tensor.shape.dim)}]"
