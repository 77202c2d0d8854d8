"""Fitting what `calibration` applies: to training rows, then to validation rows, which no member has seen.

What networks leave over is not zero on the average at each predicted weight: up to 0.4 of their errors, since
the last steps of a training follow the worst rows. So their mean is shifted first, by a piecewise linear
function of itself that makes the residuals of training rows vanish in the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax
import numpy as np

from deepmem.surrogate.calibration import TINY, Calibration, Size
from deepmem.surrogate.coverage import Coverage, Deviations, coverage
from deepmem.surrogate.knots import hats, quantile_knots
from deepmem.surrogate.members import FAR
from deepmem.surrogate.network import Network, member_predictions
from deepmem.surrogate.outside import above, log_distances, part_by_each, reference_rows, slack
from deepmem.surrogate.preparation import Prepared, left_out_by
from deepmem.surrogate.size_fit import SizeFit, Validation
from deepmem.surrogate.size_network import learn_size

LEARNED_FROM = 200_000
"""Rows from which the size of errors is learned, at most."""
CALIBRATED_ON = 500_000
"""Validation rows on which errors are calibrated, at most: all are in memory then."""
LEAST_ROWS = 100
"""Validation rows below which there is no calibration: fewer say nothing about 95 %."""

# Knots: least, most, and validation rows for one more. The outermost have 2 % of the rows beyond: at the very
# ends, weights far off the others would decide on the first and last tenth.
_KNOTS, _ROWS_A_KNOT, _BEYOND = (3, 12), 250, 0.02
_SHIFT_KNOTS = 25
# Residuals beyond so many of their median size don't count in the shift.
_CLIPPED = 6.0
# The part of validation rows whose errors do not grow with the distance.
_NEAR = 0.95


@dataclass(frozen=True)
class Fit:
    """What gives the weights of a model their errors."""

    spread: Network
    """That learned the size of errors."""
    calibration: Calibration


@dataclass(frozen=True)
class Shift:
    """By how much predictions of one weight are too large on the average, at knots."""

    knots: np.ndarray
    values: np.ndarray

    def corrected(self, t: np.ndarray) -> np.ndarray:
        return t - np.interp(t, self.knots, self.values)


@dataclass(frozen=True)
class Limits:
    """Beyond what events are treated as far away, and as outside."""

    near: float
    """ln d from which errors grow at least like d."""
    part: float
    """Of events whose error, or whose distance, is too large."""


@dataclass(frozen=True)
class ErrorFit:
    """What is fitted for one weight."""

    size: Size
    coverage: Coverage
    largest: np.ndarray
    """ln σ beyond which an event is outside."""


def fit(
    networks: Network,
    members: int,
    training: Prepared,
    validation: Prepared,
    target_std: np.ndarray,
    noisy: bool,
    seed: int,
) -> Fit | None:
    """Learn the size of errors from training rows, and calibrate on validation rows.

    **Arguments:** `networks`, the members; `training`, `validation`, rows in NumPy arrays; `target_std`, of
    log10 w, by which targets are standardised; `noisy`, whether the loss was the deviance.

    **Returns** None where validation rows are too few.
    """
    known = validation.importance > 0
    if (known.sum(axis=0) < LEAST_ROWS).any():
        return None
    scale = np.log(10) * target_std
    each = predictions(networks, training.features)
    shifts = _shifts(each.mean(axis=0), training, scale, noisy)
    honest = _corrected(shifts, _by_those_who_never_saw(each, training, members))
    spread = learn_size(training, training.target - honest, seed)

    each = predictions(networks, validation.features)
    mean, std = _corrected(shifts, each.mean(axis=0)), each.std(axis=0)
    alone = jax.tree.map(lambda leaf: leaf[None] if eqx.is_array(leaf) else leaf, spread)
    learned = predictions(alone, validation.features)[0]
    rows = reference_rows(networks, training.features, np.random.default_rng(seed))
    log_d = log_distances(networks, rows, validation.features)
    x = training.features.astype(np.float64)
    margin = slack(x)
    limits = Limits(np.quantile(log_d, _NEAR), part_by_each(x, margin, validation.features))
    number = int(np.clip(known.sum(axis=0).min() // _ROWS_A_KNOT, *_KNOTS))
    fits = []
    for i, there in enumerate(known.T):
        one = Validation(
            t=mean[there, i],
            s=std[there, i],
            g=learned[there, i],
            truth=validation.target[there, i],
            noise=validation.noise[there, i],
            log_d=log_d[there],
        )
        fits.append(fit_errors(one, number, limits, scale[i]))
    distance = above(log_d, limits.part)
    return Fit(spread, _stacked(shifts, fits, rows, np.asarray(limits.near), distance, margin))


def predictions(networks: Network, features: np.ndarray, block: int = 8_192) -> np.ndarray:
    """What each member says of standardised features: float64 `[members, n, k]`."""
    parts = []
    with jax.enable_x64(False):
        for at in range(0, len(features), block):
            piece = features[at : at + block]
            padded = np.pad(piece, ((0, block - len(piece)), (0, 0)))
            targets = np.asarray(member_predictions(networks, jax.device_put(padded)), dtype=np.float64)
            parts.append(targets[:, : len(piece)])
    return np.concatenate(parts, axis=1)


def _by_those_who_never_saw(each: np.ndarray, training: Prepared, members: int) -> np.ndarray:
    """What that member says of a training row which did not learn from it `[n, k]`."""
    if members == 1:
        return each[0]
    own = left_out_by(training.draw[:, 0], members)
    return np.take_along_axis(each, own[None, :, None].astype(np.int64), axis=0)[0]


def _shifts(mean: np.ndarray, training: Prepared, scale: np.ndarray, noisy: bool) -> list[Shift]:
    return [
        _shift(mean[rows, i], training.target[rows, i], float(scale[i]), noisy)
        for i, rows in enumerate((training.importance > 0).T)
    ]


def _shift(t: np.ndarray, truth: np.ndarray, scale: float, noisy: bool) -> Shift:
    """The mean of t − truth; of the weight's own ratio where labels are noisy."""
    knots = quantile_knots(t, _SHIFT_KNOTS)
    residual = scale * (t - truth)
    residual = np.expm1(np.minimum(residual, FAR)) if noisy else residual
    size = _CLIPPED * np.median(np.abs(residual)) + TINY
    return Shift(knots, np.linalg.lstsq(hats(t, knots), np.clip(residual, -size, size))[0] / scale)


def _corrected(shifts: list[Shift], t: np.ndarray) -> np.ndarray:
    return np.stack([shift.corrected(column) for shift, column in zip(shifts, t.T, strict=True)], axis=1)


def fit_errors(rows: Validation, number: int, limits: Limits, scale: float) -> ErrorFit:
    """A, b, c, C by likelihood; γ and the factor by coverage. `number`, of knots; `scale` turns targets into
    ln w."""
    sizes = SizeFit(rows, quantile_knots(rows.t, number, _BEYOND))
    size = sizes.size()
    deviations = Deviations.of(rows.truth - rows.t, rows.noise, scale)
    covered = coverage(rows.t, sizes.log_sigma_left_out(limits.near), size.knots, deviations, scale)
    return ErrorFit(size, covered, above(covered.log_sigma, limits.part))


def _stacked(
    shifts: list[Shift],
    fits: list[ErrorFit],
    rows: np.ndarray,
    near: np.ndarray,
    distance: np.ndarray,
    margin: np.ndarray,
) -> Calibration:
    """Of all weights."""
    sizes, covered = [each.size for each in fits], [each.coverage for each in fits]
    return Calibration(
        shift_knots=np.stack([each.knots for each in shifts]),
        shift=np.stack([each.values for each in shifts]),
        knots=np.stack([each.knots for each in sizes]),
        bulk=np.stack([each.bulk for each in sizes]),
        power=np.stack([each.power for each in sizes]),
        sparse=np.stack([each.sparse for each in sizes]),
        spread=np.stack([each.spread for each in sizes]),
        centre=np.stack([each.centre for each in covered]),
        gamma=np.stack([each.gamma for each in covered]),
        factor=np.stack([each.factor for each in covered]),
        hidden=np.stack([each.hidden for each in covered]),
        largest=np.stack([each.largest for each in fits]),
        rows=rows,
        near=near,
        distance=distance,
        slack=margin,
    )
