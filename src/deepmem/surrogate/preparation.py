"""Which rows can be learned from, and what of them: the target, its scale, the importance of each label.

The target is t = −log10(w), standardised. A weight that is NaN, infinite, zero or negative has no logarithm:
it is counted by kind and left out of the fit, as is a row whose inputs give a feature that is not finite.

Where the labels have known errors, a label's importance in the loss is m²/(m² + σ²), with σ = δw/(w ln 10)
the error of its logarithm and m the geometric mean of all σ: noisier labels count less, and equally noisy
ones all the same. An error of up to 4 m counts as m: the error that comes with a label fluctuates
with the label, and weighting labels by their own fluctuations would bias the fit. m is no less than 0.001,
the errors that networks have: labels better than that are all equally good. A label whose own status is not
0 (1: its precision was not reached) has no Gaussian error, and is left out.

With a guide (`surrogate.guide`) it is t = −log10(w/w_guide), and an event without one is left out as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from deepmem.columns import Column, described
from deepmem.data.loaders import Rows
from deepmem.errors import UsageError
from deepmem.event import Status
from deepmem.surrogate.features import FeatureMap
from deepmem.surrogate.guide import Guide

# A label cannot be called more precise than this (in log10 w): keeps one error of 0 from being infinitely
# important.
_SMALLEST_NOISE = 1e-6
# An error of the guide (of log10 w) from which rows count less: few events that it is far off for would
# decide what is learned of all.
_GUIDE_ERROR = 0.01
# The least m, and how many times m still counts as m.
_LEAST_TYPICAL, _ALIKE = 1e-3, 4.0


class Scaler(NamedTuple):
    """What the training part looks like: mean, standard deviation and range of each feature and of each
    target."""

    feature_mean: np.ndarray
    feature_std: np.ndarray
    feature_low: np.ndarray
    feature_high: np.ndarray
    target_mean: np.ndarray
    target_std: np.ndarray
    label_noise: np.ndarray  # m, geometric mean of σ, one per weight; 0 where labels have no errors

    def same_as(self, other: Scaler) -> bool:
        return all(np.shape(a) == np.shape(b) and np.allclose(a, b) for a, b in zip(self, other, strict=True))


class Prepared(NamedTuple):
    """Rows fit to learn from, float32: standardised `features`, `target`, and the `importance` of each
    target; `noise`, the error of each target in its own unit (0: unknown); `draw`, a random number that
    belongs to the row wherever it stands (uint32 `[n, 1]`)."""

    features: Any  # NumPy arrays, or JAX arrays where the rows stay on the device
    target: Any
    importance: Any
    noise: Any
    draw: Any


def left_out_by(draw: np.ndarray, members: int) -> np.ndarray:
    """The member of an ensemble that never sees a row, by the row's draw."""
    return draw % np.uint32(members)


def _draw(features: np.ndarray) -> np.ndarray:
    """A hash of each row's bytes `[n, 1]`: the same whichever loader brings it (the finaliser of MurmurHash3,
    A. Appleby, applied to one column after the other)."""
    state = np.full(len(features), 0x9E3779B9, dtype=np.uint32)
    with np.errstate(over="ignore"):
        for column in np.ascontiguousarray(features, dtype=np.float32).view(np.uint32).T:
            state = (state ^ column) * np.uint32(0x85EBCA6B)
            state = (state ^ (state >> np.uint32(13))) * np.uint32(0xC2B2AE35)
            state ^= state >> np.uint32(16)
    return state[:, None]


class Counts:
    """How many rows came, and how many were left out for which reason."""

    def __init__(self) -> None:
        self.rows = 0
        self.used = 0
        self.reasons: Counter[str] = Counter()

    def as_dict(self) -> dict[str, int]:
        return {"rows": self.rows, "used": self.used, **dict(sorted(self.reasons.items()))}

    def __str__(self) -> str:
        left = ", ".join(f"{number:,} {reason}" for reason, number in sorted(self.reasons.items()) if number)
        return f"{self.used:,} of {self.rows:,} rows used" + (f"; left out: {left}" if left else "")


def unusable_weights(rows: Rows, names: Sequence[str]) -> tuple[np.ndarray, Counter[str]]:
    """Which weights can be learned from, `[rows, weights]`, and how many cannot for which reason."""
    weights = rows.weights.astype(np.float64)
    reasons: Counter[str] = Counter()
    good = np.isfinite(weights) & (weights > 0)
    kinds = {
        "NaN": np.isnan(weights),
        "infinite": np.isinf(weights),
        "zero": weights == 0,
        "negative": np.isfinite(weights) & (weights < 0),
    }
    if rows.errors is not None:
        good_errors = np.isfinite(rows.errors) & (rows.errors >= 0)
        kinds["error invalid"] = good & ~good_errors
        good &= good_errors
    if rows.status is not None:
        kinds["status not 0"] = good & (rows.status != Status.GOOD)
        good &= rows.status == Status.GOOD
    for kind, found in kinds.items():
        reasons.update({f"{name}: {kind}": int(found[:, i].sum()) for i, name in enumerate(names)})
    return good, reasons


class Preparation:
    """Makes `Prepared` rows of `Rows`; fit its scaler on the training part first.

    **Arguments:** `features`, the feature map; `weights`, names of the weights; `energy_unit`, what one unit
    of the files' momenta is in GeV; `scaler`, if there is one already; `guide`, of which each row is asked
    once, however often it comes.
    """

    def __init__(
        self,
        features: FeatureMap,
        weights: tuple[str, ...],
        energy_unit: float,
        scaler: Scaler | None = None,
        guide: Guide | None = None,
    ):
        self.features = features
        self.weights = weights
        self.scaler = scaler
        self.names = features.names + (() if guide is None else guide.names)
        self._guide = guide
        self._guided: dict[bytes, np.ndarray] = {}
        self._unit = unit_factors(features.described, energy_unit)

    def fit(self, training: Iterable[Rows]) -> Counts:
        """Fit the scaler on the training part and count what cannot be learned from.

        **Raises** `UsageError` where nothing is left to learn from.
        """
        counts = Counts()
        inputs, targets, noises = _Moments(), _Moments(), _Moments()
        for rows in training:
            features, target, noise = self._learnable(rows, counts)
            inputs.add(features)
            targets.add(target)
            noises.add(np.log(np.maximum(noise, _SMALLEST_NOISE)))
        for name, number in zip(self.weights, targets.number, strict=True):
            if number == 0:
                raise UsageError(
                    f"no training event has a valid weight {name!r}, a finite number above 0, and valid "
                    f"inputs ({counts})"
                )
        self.scaler = Scaler(
            inputs.mean, inputs.std, inputs.low, inputs.high, targets.mean, targets.std,
            np.where(np.isnan(noises.mean), 0.0, np.maximum(np.exp(noises.mean), _LEAST_TYPICAL)),
        )  # fmt: skip
        return counts

    def __call__(self, rows: Rows, counts: Counts | None = None) -> Prepared:
        """Features and targets of the rows that can be learned from, in their order."""
        scaler = self.scaler
        if scaler is None:
            raise RuntimeError("fit the scaler first")
        features, target, noise = self._learnable(rows, counts or Counts())
        m = scaler.label_noise
        alike = noise < _ALIKE * m
        with np.errstate(invalid="ignore"):
            importance = np.where(m > 0, m**2 / (m**2 + np.where(alike, m, noise) ** 2), 1.0)
            standard = (target - scaler.target_mean) / scaler.target_std
        if self._guide is not None:
            off = 10 ** features[:, len(self.features.names) + 1, None] / np.log(10)
            importance = importance * _GUIDE_ERROR**2 / (_GUIDE_ERROR**2 + off**2)
        known = np.isfinite(standard)
        standard_features = ((features - scaler.feature_mean) / scaler.feature_std).astype(np.float32)
        return Prepared(
            standard_features,
            np.where(known, standard, 0).astype(np.float32),
            np.where(known, importance, 0).astype(np.float32),
            np.where(known & np.isfinite(noise), noise / scaler.target_std, 0).astype(np.float32),
            _draw(standard_features),
        )

    def _learnable(self, rows: Rows, counts: Counts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features, −log10 w (NaN: no valid weight) and error of log10 w (NaN: none) of the usable rows."""
        features = self.raw_features(rows.inputs)
        weights = rows.weights.astype(np.float64)
        own = len(self.features.names)
        good_inputs = np.isfinite(features[:, :own]).all(axis=1)
        unguided = good_inputs & ~np.isfinite(features[:, own:]).all(axis=1)
        good, reasons = unusable_weights(rows, self.weights)
        counts.reasons.update(reasons)
        noise = np.full_like(weights, np.nan)
        if rows.errors is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                noise = np.where(good, rows.errors.astype(np.float64) / (weights * np.log(10)), np.nan)
        counts.reasons["inputs NaN, infinite or unphysical"] += int((~good_inputs).sum())
        if self._guide is not None:
            counts.reasons["guide is zero"] += int(unguided.sum())
        usable = good_inputs & ~unguided & good.any(axis=1)
        counts.rows += len(weights)
        counts.used += int(usable.sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            target = np.where(good, -np.log10(np.where(good, weights, 1.0)), np.nan)
        if self._guide is not None:
            target = target + features[:, own, None]
        return features[usable], target[usable], noise[usable]

    def raw_features(self, inputs: np.ndarray) -> np.ndarray:
        """Features in double precision, before the scaler, of inputs in the files' unit.

        Computed a block of one size at a time, so that one compiled function serves any number of rows.
        """
        out = np.empty((len(inputs), len(self.features.names)))
        with jax.enable_x64(True):
            for at in range(0, len(inputs), _BLOCK):
                block = inputs[at : at + _BLOCK] * self._unit
                padded = np.pad(block, ((0, _BLOCK - len(block)), (0, 0)), constant_values=np.nan)
                out[at : at + _BLOCK] = np.asarray(_computed(self.features, jax.device_put(padded)))[
                    : len(block)
                ]
        return out if self._guide is None else np.concatenate([out, self.guided(inputs)], axis=1)

    def guided(self, inputs: np.ndarray) -> np.ndarray:
        """The guide's features of inputs in the files' unit."""
        guide = self._guide
        assert guide is not None
        keys = [row.tobytes() for row in np.ascontiguousarray(inputs)]
        new = {key: i for i, key in enumerate(keys) if key not in self._guided}
        if new:
            found = guide(np.asarray(inputs, dtype=np.float64)[list(new.values())] * self._unit)
            self._guided |= dict(zip(new, found, strict=True))
        return np.array([self._guided[key] for key in keys]).reshape(len(keys), len(guide.names))


_BLOCK = 16_384


@partial(jax.jit, static_argnums=0)
def _computed(features: FeatureMap, values: Float[Array, "n columns"]) -> Float[Array, "n features"]:
    return features(values)


def unit_factors(columns: Sequence[str | Column], energy_unit: float) -> np.ndarray:
    """Per column, what turns the files' unit into GeV (1 for angles and charges)."""
    return np.array(
        [energy_unit if column.quantity.has_energy_unit else 1.0 for column in described(columns)]
    )


class _Moments:
    """Number, mean, standard deviation and range of each column, gathered chunk by chunk, NaN left out.

    Chan, Golub, LeVeque, Am. Stat. 37 (1983) 242: merging means and sums of squared deviations of two
    samples.
    """

    def __init__(self) -> None:
        self.number = np.zeros(1)
        self._mean = np.zeros(1)
        self._m2 = np.zeros(1)
        self.low = np.full(1, np.inf)
        self.high = np.full(1, -np.inf)

    def add(self, values: np.ndarray) -> None:
        known = np.isfinite(values)
        n = known.sum(axis=0)
        total = self.number + n
        some = np.maximum(n, 1)
        mean = np.where(known, values, 0).sum(axis=0) / some
        m2 = (np.where(known, values - mean, 0) ** 2).sum(axis=0)
        shift = mean - self._mean
        self._mean = self._mean + shift * n / np.maximum(total, 1)
        self._m2 = self._m2 + m2 + shift**2 * self.number * n / np.maximum(total, 1)
        self.number = total
        self.low = np.minimum(self.low, np.where(known, values, np.inf).min(axis=0, initial=np.inf))
        self.high = np.maximum(self.high, np.where(known, values, -np.inf).max(axis=0, initial=-np.inf))

    @property
    def mean(self) -> np.ndarray:
        return np.where(self.number > 0, self._mean, np.nan)

    @property
    def std(self) -> np.ndarray:
        """The standard deviation; 1 for a constant column (rounding apart), which then stays constant."""
        std = np.sqrt(self._m2 / np.maximum(self.number, 1))
        return np.where(std > 1e-12 * np.maximum(np.abs(self._mean), 1e-300), std, 1.0)
