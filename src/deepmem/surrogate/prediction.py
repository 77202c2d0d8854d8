"""What a trained model says of a block of events, in one compiled function.

    log10 W = g − (μ + σ ȳ(x)),   δW/W = ln 10 · σ exp(ln s(x))

ȳ is the calibrated mean of the members, μ and σ the scaler's, g the guide's log10 W (0 without one), s what
`calibration` says. A model's numbers are arguments, so that models of the same shapes share one compilation.
Blocks are computed side by side, one for each core that this process may use, and in turn on several
devices: none depends on another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from deepmem.columns import LARGEST_PHI
from deepmem.devices import available_cores, devices
from deepmem.surrogate.calibration import Calibration, calibrated, log_sigma, shifted
from deepmem.surrogate.features import FeatureMap
from deepmem.surrogate.network import Network, predictions_and_first_hidden
from deepmem.surrogate.outside import log_distance_by
from deepmem.surrogate.preparation import Scaler

BLOCK = 8_192
"""Events in one call: the hidden layers of a block stay in the cache."""


class Numbers(NamedTuple):
    """All that a prediction depends on, but for what makes features: code is compiled for their shapes."""

    members: Network
    spread: Network | None
    scaler: Scaler
    calibration: Calibration | None
    unit: Any
    """Per column, what turns the files' unit into GeV."""
    angles: Any
    """Which columns are angles φ."""
    distances: Any
    """Of the calibration's rows, see `outside.known_products`; None without."""


@eqx.filter_jit
def evaluated(
    feature_map: FeatureMap,
    numbers: Numbers,
    values: Float[Array, "n columns"],
    guided: Float[Array, "n names"],
) -> tuple[Array, ...]:
    """Of each event: log10 of its weights, their relative errors (NaN without a calibration), whether it is
    like those learned from, whether it is finite, and its standardised features.

    **Arguments:** `values`, in the model's unit; `guided`, what its guide says, without columns where it has
    none. In double precision: call it under `jax.enable_x64(True)`.
    """
    members, spread, scaler, calibration, unit, angles, distances = numbers
    features = feature_map(values * unit)
    finite = feature_map.known(values).all(axis=1) & jnp.isfinite(features).all(axis=1)
    # an event without a guide is unlike those learned from, and there is nothing to multiply
    there = jnp.isfinite(guided).all(axis=1)
    guided = jnp.where(there[:, None], guided, scaler.feature_mean[features.shape[1] :])
    guide = jnp.where(there[:, None], guided[:, :1], jnp.nan) if guided.shape[1] else 0.0
    features = jnp.concatenate([features, guided], axis=1)
    standard = ((features - scaler.feature_mean) / scaler.feature_std).astype(jnp.float32)
    said, hidden = predictions_and_first_hidden(members, standard)
    said = said.astype(jnp.float64)
    mean = said.mean(axis=0)
    mean = mean if calibration is None else shifted(calibration, mean)
    log10 = guide - (scaler.target_mean + scaler.target_std * mean)
    # rounding of single-precision inputs may move a constant feature by its last digits
    slack = 1e-6 + (np.zeros((2, 1)) if calibration is None else calibration.slack)
    below, above = slack * scaler.feature_std
    inside = (features >= scaler.feature_low - below) & (features <= scaler.feature_high + above)
    inside = inside.all(axis=1) & there & ~(jnp.abs(values) >= LARGEST_PHI).any(axis=1, where=angles)
    if calibration is None or spread is None:
        return log10, jnp.full_like(log10, jnp.nan), inside, finite, standard
    learned = jax.vmap(spread)(standard).astype(jnp.float64)
    away = log_distance_by(distances, hidden).astype(jnp.float64)
    size = log_sigma(calibration, mean, said.std(axis=0), learned, away)
    claimed = calibrated(calibration, mean, size)
    inside &= (away <= calibration.distance) & (claimed <= calibration.largest).all(axis=1)
    relative = np.log(10) * scaler.target_std * jnp.exp(claimed)
    return log10, relative, inside, finite, standard


class Block(NamedTuple):
    """What `evaluated` says of rows `at` to `at + len(log10)`."""

    at: int
    log10: np.ndarray
    relative: np.ndarray
    inside: np.ndarray
    finite: np.ndarray
    features: np.ndarray


def in_blocks(
    feature_map: FeatureMap,
    numbers: Numbers,
    table: np.ndarray,
    guide: Callable[[np.ndarray], np.ndarray] | None,
) -> Iterator[Block]:
    """`evaluated` of rows `[n, columns]`, block by block in their order.

    **Arguments:** `guide`, what rows in the model's unit get from a guide; None without one.
    """
    there = devices()
    copies = [jax.device_put(numbers, each) for each in there] if len(there) > 1 else [numbers]

    def block(at: int) -> Block:
        turn = at // BLOCK % len(there)
        rows = table[at : at + BLOCK]
        n = len(rows)
        guided = np.zeros((n, 0)) if guide is None else guide(rows)
        rows, guided = (np.pad(part, ((0, BLOCK - n), (0, 0))) for part in (rows, guided))
        # both are settings of a thread
        with jax.default_device(there[turn]), jax.enable_x64(True):
            values = jax.device_put((np.asarray(rows, dtype=np.float64), guided))
            results = evaluated(feature_map, copies[turn], *values)
            return Block(at, *(np.asarray(each)[:n] for each in results))

    starts = iter(range(0, len(table), BLOCK))
    if guide is not None or len(table) <= BLOCK:
        yield from map(block, starts)
        return
    threads = max(available_cores(), len(there))
    with ThreadPoolExecutor(threads) as pool:
        # a few ahead: what comes back must not pile up
        ahead = deque(pool.submit(block, at) for at in islice(starts, 2 * threads))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(pool.submit(block, at) for at in islice(starts, 1))
