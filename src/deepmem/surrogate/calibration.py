"""The error of a learned weight, from three things that know something about it:

    σ²(x) = exp 2[A(t) + b g(x) + c ln d(x)] + exp 2[C(t)] s²(x),

A and C linear between knots in the predicted t = −log10 w. The spread s of the members grows where training
rows are few; g (`size_network`) has learned the size of errors of one member; but all together err less than
one where rows are many, which the distance d (`outside`) tells. Beyond the distance that 95 % of the
validation part stay below, errors grow at least like d, as those of continuing a function do. Then come a
factor, linear between the knots, and an exponent γ (`coverage`). How all is fitted: `calibration_fit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from deepmem.surrogate.knots import interpolated

TINY = 1e-7
"""Of a standardised target: rounding."""


class Calibration(NamedTuple):
    """Arrays, one entry per weight `[k]` or `[k, knots]` unless said; targets in standardised units."""

    shift_knots: np.ndarray
    shift: np.ndarray
    knots: np.ndarray
    bulk: np.ndarray  # A
    power: np.ndarray  # b
    sparse: np.ndarray  # c
    spread: np.ndarray  # C
    centre: np.ndarray  # ln σ by knots, about which γ spreads
    gamma: np.ndarray
    factor: np.ndarray  # ln of it, by knots
    hidden: np.ndarray  # whether the labels' noise hides the network's errors
    largest: np.ndarray  # ln σ beyond which an event is outside
    rows: np.ndarray  # [samples, rows, width], what the first member's last layer reads of training rows
    near: np.ndarray  # [], ln d from which errors grow at least like d
    distance: np.ndarray  # [], ln d beyond which an event is outside
    slack: np.ndarray  # [2, features], how far below and above the training part's range is not yet outside


@dataclass(frozen=True)
class Size:
    """σ(x) of one weight before coverage: the formula above, in NumPy or JAX."""

    knots: Any
    bulk: Any  # A
    power: Any  # b
    sparse: Any  # c
    spread: Any  # C

    def log_sigma(self, np_: Any, t: Any, s: Any, g: Any, log_d: Any, near: Any) -> Any:
        """ln σ; `near`, ln d from which it grows at least like d."""
        first = 2 * (interpolated(np_, t, self.knots, self.bulk) + self.power * g + self.sparse * log_d)
        second = 2 * (interpolated(np_, t, self.knots, self.spread) + np_.log(s + TINY))
        return np_.logaddexp(first, second) / 2 + growth(np_, log_d, near, self.sparse)


def growth(np_: Any, log_d: Any, near: Any, sparse: Any) -> Any:
    """ln of what is missing far away for errors to grow like d."""
    return np_.maximum(1 - sparse, 0) * np_.maximum(log_d - near, 0)


def shifted(calibration: Calibration, mean: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """The members' mean, with what is left over on the average taken off."""
    c = calibration
    columns = [interpolated(jnp, mean[:, i], c.shift_knots[i], c.shift[i]) for i in range(mean.shape[1])]
    return mean - jnp.stack(columns, axis=1)


def log_sigma(
    calibration: Calibration,
    mean: Float[Array, "n k"],
    members_std: Float[Array, "n k"],
    learned: Float[Array, "n k"],
    log_d: Float[Array, " n"],
) -> Float[Array, "n k"]:
    """ln σ of the standardised target, before the factor and γ."""
    c = calibration
    sizes = (Size(c.knots[i], c.bulk[i], c.power[i], c.sparse[i], c.spread[i]) for i in range(mean.shape[1]))
    columns = [
        size.log_sigma(jnp, mean[:, i], members_std[:, i], learned[:, i], log_d, c.near)
        for i, size in enumerate(sizes)
    ]
    return jnp.stack(columns, axis=1)


def calibrated(
    calibration: Calibration, mean: Float[Array, "n k"], log_s: Float[Array, "n k"]
) -> Float[Array, "n k"]:
    """ln σ with γ and the factor applied."""
    c = calibration
    columns = []
    for i in range(mean.shape[1]):
        centre = interpolated(jnp, mean[:, i], c.knots[i], c.centre[i])
        factor = interpolated(jnp, mean[:, i], c.knots[i], c.factor[i])
        columns.append(factor + centre + c.gamma[i] * (log_s[:, i] - centre))
    return jnp.stack(columns, axis=1)
