"""The model and the guide that a configuration means, and what a reader should know of a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from deepmem.columns import Column
from deepmem.config import Config
from deepmem.errors import UsageError
from deepmem.jobs.events import unit_of
from deepmem.surrogate.guide import Guide
from deepmem.surrogate.model import Surrogate, load_scaler


def guide_of(config: Config) -> Guide | None:
    """The guide, with what else the configuration says of exact weights; None where it has none.

    **Raises** `UsageError` as `Guide` does.
    """
    if config.guide is None:
        return None
    exact = {"response": config.response, "column_names": config.column_names}
    return Guide({key: value for key, value in exact.items() if value} | config.guide, config.columns)


def model_of(config: Config) -> Surrogate:
    """The model that a configuration loads.

    **Raises** `UsageError` where it contradicts what else the configuration says.
    """
    model = Surrogate.load(config.model_to_load)
    for key, in_model, in_config in (
        ("columns", model.columns, config.columns),
        ("weights", model.weights, config.weights),
        ("unit", model.unit, unit_of(config)),
        ("what is padded", model.padded, config.padded),
        ("what columns hold", _held(model.described), _held(config.described)),
    ):
        if in_model != in_config:
            raise UsageError(
                f"{config.model_to_load} and the configuration disagree on {key}: "
                f"the model has {listed(in_model)}, "
                f"the configuration {listed(in_config)}"
                + ": a model reads columns in its own unit, so scale those of these events"
                * (key == "unit")
            )
    guide = guide_of(config)
    if (None if guide is None else json.loads(json.dumps(guide.settings))) != model.guide:
        raise UsageError(
            f"{config.model_to_load} and the configuration disagree on the guide, with its response and "
            "column_names: the model was trained with another one (--model MODEL alone uses the model's own)"
        )
    if config.load_scaler_from and not load_scaler(config.load_scaler_from).same_as(model.scaler):
        raise UsageError(
            f"the scaler {config.load_scaler_from} does not belong to the model {config.model_to_load}: "
            "give the one that was saved with it, or leave 'load_scaler_from' out (the model carries its own)"
        )
    return model


def _held(columns: Sequence[Column]) -> list[str]:
    return [f"{column.name} ({column.meaning})" for column in columns]


def listed(value: str | Sequence[str]) -> str:
    """A name, or names with commas."""
    return value if isinstance(value, str) else ", ".join(value)


def model_card(model: Surrogate) -> dict[str, Any]:
    """What a reader of the report should know of a model, as JSON."""
    return {
        "process": model.about.get("process"),
        "weights": list(model.weights),
        "columns": list(model.columns),
        "unit": model.unit,
        "features": f"{model.kind}: {', '.join(model.feature_names)}",
        "guide": model.guide,
        "network": f"{model.network}, {model.depth} layers of {model.width}",
        "members": model.members,
        "errors": _errors_of(model),
        "epoch": model.about.get("epoch"),
        "loss": model.about.get("loss"),
        "training_rows": model.about.get("training_rows"),
        "doubts": model.about.get("doubts") or [],
        "versions": model.about.get("versions"),
    }


def _errors_of(model: Surrogate) -> str:
    if model.calibration is None:
        return "none"
    if model.calibration.hidden.any():
        return "estimated: the labels' own errors hide the network's"
    return "calibrated on the validation part"
