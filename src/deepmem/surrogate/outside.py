"""Which events are unlike those learned from: a feature beyond the training part's range, or too far away.

d(x) is the distance to the nearest of a few training rows, averaged over samples of these (one nearest row of
many is a matter of chance), between what the last hidden layer of the first member says of events: there,
features count as they matter to the weight. (Y. Sun et al., arXiv:2204.06507.) What few rows cannot show is
continued with an exponential tail: a part p of n rows, where p n is small, is above

    u + ⟨x − u⟩ k[(k/(n p))^(1/k) − 1],

u what k rows are above, on the average by ⟨x − u⟩ (A. C. Davison, R. L. Smith, J. R. Stat. Soc. B 52, 393).
A further row of such a tail is above it with probability p for any k: ⟨x − u⟩ has the distribution Γ(k).
"""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from deepmem.surrogate.network import Network, first_hidden

_TINY = 1e-7  # of a squared distance: rounding
_BLOCK = 8_192  # rows in one call of a network
_KEPT, _SAMPLES = 1_024, 8  # training rows to measure distances from, in all, and samples of them
# The part of the validation sample that is called outside, and by each of two limits at most and at least: of
# many features some are beyond their range in 0.2 % of events like those learned from.
_OUTSIDE, BY_EACH, _AT_LEAST = 0.004, 0.0015, 0.0005
# The part that all ranges together may exclude, at most (they are correlated: a quarter of it is usual).
_BY_RANGES = 0.002
# Rows beyond a quantile from which it is read off, and of the tail (least, most, part) it is continued from.
_SEEN, _TAIL = 5, (20, 100, 0.05)


def log_distance(rows: Float[Array, "m r f"], x: Float[Array, "n f"]) -> Float[Array, " n"]:
    """ln d: of the distance to the nearest row of each of m samples, in the root of the mean square."""
    # |r|² − 2 x·r as one product, sample by sample: those of all samples fit no processor's cache
    products = [jnp.concatenate([-2 * sample.T, jnp.sum(sample**2, axis=1)[None]]) for sample in rows]
    return log_distance_by(products, x)


def known_products(rows: Float[np.ndarray, "m r f"]) -> list[Float[np.ndarray, "f+1 r"]]:
    """The products of `log_distance` for rows that do not change, made once: |r|² is summed in double."""
    rows = rows.astype(np.float32)
    squares = (rows**2).sum(axis=2, dtype=np.float64).astype(np.float32)
    return [
        np.concatenate([-2 * sample.T, square[None]]) for sample, square in zip(rows, squares, strict=True)
    ]


def log_distance_by(products: Sequence[Float[Array, "f+1 r"]], x: Float[Array, "n f"]) -> Float[Array, " n"]:
    """`log_distance` by what, times (x, 1), is |r|² − 2 x·r of the rows of each sample."""
    joined = jnp.concatenate([x, jnp.ones_like(x[:, :1])], axis=1)
    nearest = [(joined @ product).min(axis=1) for product in products]
    squared = sum(nearest) / len(nearest) + jnp.sum(x**2, axis=1)
    return jnp.log(jnp.maximum(squared, _TINY)) / 2


@eqx.filter_jit
def away(networks: Network, kept: Float[Array, "m r w"], x: Float[Array, "n f"]) -> Float[Array, " n"]:
    return log_distance(kept, first_hidden(networks, x))


def reference_rows(networks: Network, features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the first member's last layer reads of a few training rows `[samples, rows, width]`."""
    number = min(_KEPT, len(features))
    samples = min(_SAMPLES, number)
    chosen = features[rng.permutation(len(features))[: number - number % samples]]
    with jax.enable_x64(False):
        rows = np.asarray(first_hidden(networks, jax.device_put(chosen)))
    return rows.reshape(samples, -1, rows.shape[-1])


def log_distances(networks: Network, rows: np.ndarray, features: np.ndarray) -> np.ndarray:
    """ln d of standardised features to such rows, block by block: float64 `[n]`."""
    with jax.enable_x64(False):
        blocks = (features[at : at + _BLOCK] for at in range(0, len(features), _BLOCK))
        distances = [away(networks, *jax.device_put((rows, block))) for block in blocks]
    return np.concatenate(distances).astype(np.float64)


def _continued(values: np.ndarray, part: float) -> np.ndarray:
    """What that part of all events is above `[...]`, of rows `[n, ...]`, by an exponential tail."""
    least, most, share = _TAIL
    k = min(int(np.clip(share * len(values), least, most)), len(values) - 1)
    tail = np.partition(values, len(values) - 1 - k, axis=0)[len(values) - 1 - k :]
    return tail[0] + (tail[1:] - tail[0]).mean(axis=0) * k * ((k / (part * len(values))) ** (1 / k) - 1)


def slack(x: np.ndarray) -> np.ndarray:
    """How far each feature's range, of rows `[n, features]`, ends below and above theirs `[2, features]`."""
    part = _BY_RANGES / (2 * x.shape[1])
    return np.stack([np.maximum(_continued(side, part) - side.max(axis=0), 0) for side in (-x, x)])


def above(values: np.ndarray, part: float) -> np.ndarray:
    """What that part of all events is above, of rows `[n]`."""
    shown = part * len(values) >= _SEEN
    return np.asarray(np.quantile(values, 1 - part) if shown else _continued(values, part))


def part_by_each(training: np.ndarray, margin: np.ndarray, validation: np.ndarray) -> float:
    """The part of events that either limit, of the distance and of the error, is to call outside, where
    ranges with such a margin (see `slack`) exclude theirs."""
    low, high = training.min(axis=0) - margin[0], training.max(axis=0) + margin[1]
    beyond = ((validation < low) | (validation > high)).any(axis=1).mean()
    return float(np.clip((_OUTSIDE - beyond) / 2, _AT_LEAST, BY_EACH))
