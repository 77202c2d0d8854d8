"""Test: a model against the true weights of the test part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.config import Config
from deepmem.data.files import sha256
from deepmem.data.loaders import Loader, Rows
from deepmem.devices import DeviceNumber, on_device
from deepmem.errors import UsageError
from deepmem.evaluation import metrics
from deepmem.evaluation.report import report, write_evidence
from deepmem.event import Status, Weight
from deepmem.jobs.labels import paired
from deepmem.jobs.models import model_card, model_of
from deepmem.reporter import Reporter
from deepmem.surrogate.model import Surrogate


def test(
    config: str | Path | Mapping[str, Any] | Config,
    *,
    loader: str | None = None,
    device: DeviceNumber = None,
    force: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Compare a model with the true weights of the test part.

    **Arguments:** as for `train`.

    **Returns** per weight the figures of `evaluation.metrics.Agreement` and of `evaluation.honesty.Honesty`,
    the loss, and what was left out; also in `test.json` in the run folder, with the figure at
    `save_testing_histogram_at` and the page `report.html` for collaborators.

    **Raises** `UsageError` where files are wrong, the model does not fit the configuration, or there is no
    test part.
    """
    from deepmem.evaluation.plots import weights_against_each_other

    reporter = reporter or Reporter()
    source = config if isinstance(config, str | Path) else "the configuration"
    config = Config.load(config, loader=loader, device=device)
    with on_device(config.device):
        model = model_of(config)
        for text in model.about.get("doubts") or ():
            reporter.warning(f"of the training: {text}")
        # whichever loader trains, a part is read in file order, chunk by chunk
        rows = Loader(paired(config, force, reporter), config.split, config.chunk_entries)
        pairs = _predict(model, rows, config, reporter)
    figures = {name: _figures(name, pair, model) for name, pair in pairs.items()}
    weights_against_each_other(
        config.save_testing_histogram_at,
        {name: (pair.truth.value, pair.learned.value) for name, pair in pairs.items()},
        ("truth", "DeepMEM"),
        config.weight_unit,
    )
    result = write_evidence(
        config.folder,
        {name: (pair.truth, pair.learned) for name, pair in pairs.items()},
        {
            "model": config.model_to_load,
            "model_file_sha256": sha256(config.model_to_load),
            "figure": config.save_testing_histogram_at,
            "file": str(config.folder / "test.json"),
            "weight_unit": config.weight_unit,
            "command": [f"deepmem {command} --inputfile {source}" for command in ("train", "test")],
            "data": rows.data.inputs.provenance() + rows.data.weights.provenance(),
            "model_card": model_card(model),
            "weights": figures,
        },
    )
    return result | {"report": report(config.folder)}


@dataclass(frozen=True)
class _Pair:
    """The true and the learned weight of the same events."""

    truth: Weight
    learned: Weight


def _predict(model: Surrogate, rows: Loader, config: Config, reporter: Reporter) -> dict[str, _Pair]:
    """Both weights of the test part, by name. **Raises** `UsageError` where there is no such part."""
    total = rows.size("test")
    if total == 0:
        raise UsageError(f"split {list(config.split)} leaves no test part to test on")
    chunks, predictions = [], []
    with reporter.progress("testing", total) as step:
        for chunk in rows.scan("test"):
            chunks.append(chunk)
            predictions.append(model.predict(chunk.inputs))
            step(len(chunk.inputs))
    labels = Rows.concatenate(chunks)
    return {
        name: _Pair(_label(labels, i), Weight.concatenate([weights[name] for weights in predictions]))
        for i, name in enumerate(config.weights)
    }


def _label(rows: Rows, i: int) -> Weight:
    """The i-th label of rows as a weight; without an error of its own it counts as exact."""
    value = rows.weights[:, i].astype(np.float64)
    error = np.full_like(value, np.nan) if rows.errors is None else rows.errors[:, i].astype(np.float64)
    own = np.where(np.isfinite(value), Status.GOOD, Status.BAD_INPUT)
    status = own if rows.status is None else rows.status[:, i]
    return Weight(value, error, status.astype(np.int32))


def _figures(name: str, pair: _Pair, model: Surrogate) -> dict[str, Any]:
    """The loss, and what was left out, as JSON. **Raises** `UsageError` where nothing can be compared."""
    residuals = metrics.compare(pair.truth.value, pair.learned.value).residuals
    if residuals is None:
        raise UsageError(f"no event of the test part has a valid weight {name!r}")
    # the mean square of Δ in units of the training part's spread
    loss = (residuals.rms / float(model.scaler.target_std[model.weights.index(name)])) ** 2
    return {
        "loss": loss,
        "left_out_by_reason": metrics.left_out_by_reason(pair.truth.value, pair.learned.value),
    }
