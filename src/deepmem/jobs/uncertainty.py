"""What a trained model knows of its own errors, from the training and validation parts that it came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deepmem.config import Config
from deepmem.data.loaders import Loader, Rows
from deepmem.event import Status
from deepmem.reporter import Reporter
from deepmem.surrogate import calibration_fit
from deepmem.surrogate.calibration import Calibration
from deepmem.surrogate.model import Surrogate
from deepmem.surrogate.network import Network
from deepmem.surrogate.preparation import Preparation, Prepared
from deepmem.surrogate.sample_test import TwoSample, two_sample_of


@dataclass(frozen=True)
class Uncertainty:
    """What gives learned weights errors and limits, see `surrogate.calibration`; None: there is none."""

    spread: Network | None = None
    calibration: Calibration | None = None
    reference: TwoSample | None = None


def uncertainty_of(
    networks: Network, rows: Loader, preparation: Preparation, used: int, config: Config, reporter: Reporter
) -> Uncertainty:
    """Errors and limits of a trained ensemble; `used`, how many rows it has learned from."""
    if rows.size("validation") < calibration_fit.LEAST_ROWS:
        reporter.warning(
            f"a validation part of {rows.size('validation')} rows says nothing about errors, which will be "
            f"NaN: give 'split' a second number, for {calibration_fit.LEAST_ROWS} rows or more"
        )
        return Uncertainty()
    part = min(1.0, calibration_fit.LEARNED_FROM / used)
    training = _gathered(preparation, rows.scan("train"), part)
    part = min(1.0, calibration_fit.CALIBRATED_ON / rows.size("validation"))
    validation = _gathered(preparation, rows.scan("validation"), part)
    assert preparation.scaler is not None
    fit = calibration_fit.fit(
        networks,
        config.ensemble,
        training,
        validation,
        preparation.scaler.target_std,
        bool((preparation.scaler.label_noise > 0).any()),
        config.seed,
    )
    if fit is None:
        reporter.warning("too few validation rows have a valid weight: errors will be NaN")
        return Uncertainty()
    for name, hidden in zip(config.weights, fit.calibration.hidden, strict=True):
        if hidden:
            reporter.warning(
                f"{name}: the labels' own errors are more than twice the network's and hide them, so the "
                "errors of learned weights are estimates, not calibrated: compute the validation part more "
                "precisely"
            )
    return Uncertainty(fit.spread, fit.calibration, two_sample_of(training.features, 0.0))


def with_rate(model: Surrogate, rows: Loader) -> Surrogate:
    """The same model, which knows what part of the validation sample it calls outside."""
    if model.reference is None:
        return model
    statuses = [next(iter(model.predict(chunk.inputs).values())).status for chunk in rows.scan("validation")]
    status = np.concatenate(statuses)
    finite = status != Status.BAD_INPUT
    outside = float(np.mean(status[finite] == Status.OUTSIDE_TRAINING)) if finite.any() else 0.0
    return dataclasses.replace(model, reference=model.reference._replace(outside=np.asarray(outside)))


def _gathered(preparation: Preparation, rows: Iterator[Rows], part: float) -> Prepared:
    """All prepared rows, or a part that the rows' own draw decides."""
    pieces = []
    for chunk in rows:
        prepared = preparation(chunk)
        # the low bits say which member leaves a row out
        inside = (prepared.draw[:, 0] >> np.uint32(8)) < part * 2**24
        pieces.append(Prepared(*(array[inside] for array in prepared)))
    return Prepared(*(np.concatenate(arrays) for arrays in zip(*pieces, strict=True)))
