"""How far a learned weight can be relied on: its error, and whether its event is like those learned from.

*The mean.* What networks leave over is not zero on the average at each predicted weight: up to 0.4 of their
errors, since the last steps of a training follow the worst rows. So the mean is shifted by a piecewise linear
function of itself that makes the residuals of training rows vanish in the mean.

*The error of a weight.* Two things know something about it. The spread s(x) of the members grows where
training rows are few. A second network g(x) learns the size of errors, ln σ, from training rows: from the
error that the member which never saw a row makes on it, since those that did see it would flatter. But all
members together err less than one where rows are many, and alike where they are few; so the distance d(x) to
training rows tells more than either. All three are joined on the validation part, which no member has seen,

    σ²(x) = exp 2[A(t) + b g(x) + c ln d(x)] + exp 2[C(t)] s²(x),

A and C linear between knots in the predicted t = −log10 w, by maximum likelihood; the error that labels
have themselves is added in squares, so that it isn't taken for the network's. d is the distance to the
nearest of a few training rows, averaged over some samples of these: one nearest row of many is too much
a matter of chance to say how dense they are. It is a distance between what the last hidden layer of the first
member says of events: there, features count as they matter to the weight. (Between the features themselves,
those that don't matter hide one that does.) Farther away than 95 % of the validation part errors grow at
least like d, as those of continuing a function do, whatever c is. Then a factor, linear between the knots,
and an exponent γ are fixed so that 68.27 % of the validation part lie within one error of the weight, and
95 % within 1.96, with sizes fitted on other validation rows: γ spreads errors more or less about their mean
at that t (conformal calibration, V. Vovk et al., "Algorithmic Learning in a Random World"; for two levels at
once). It is the weight that is calibrated, not its logarithm.

*What is unlike.* An event is outside (status 4) where a feature is beyond the training part's range, where d
or its error is larger than that of 99.85 % of the validation part (up to 99.95 % where ranges alone exclude
many), or where an angle is beyond ±2π, which degrees are. (Such distances: Y. Sun et al.,
"Out-of-Distribution Detection with Deep Nearest Neighbors", arXiv:2204.06507.) What few rows cannot show is
continued with an exponential tail: the quantile that only a part p of n rows is above, where p n is below 5
or, for the range of a feature, where p is so small that all ranges together exclude less than 0.2 %, is

    u + ⟨x − u⟩ k[(k/(n p))^(1/k) − 1],

u what k rows are above, on the average by ⟨x − u⟩ (peaks over a threshold: A. C. Davison, R. L. Smith, J. R.
Statist. Soc. B 52 (1990) 393). For large k that is ⟨x − u⟩ ln(k/(n p)); a further row of such a tail is above
it with the probability p whatever k, since ⟨x − u⟩ has the distribution Γ(k).

*What it cannot promise.* Coverage is that of a sample like the validation part, in the mean; of other samples
the unflagged events were found covered (benchmarks/trust.py), which no theorem says. A sample as a whole is
compared with the training part by `TwoSample`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from scipy import optimize, stats

from deepmem.surrogate.network import Network, build, first_hidden, member_predictions
from deepmem.surrogate.preparation import Prepared, left_out_by
from deepmem.surrogate.training import FAR

WIDTH, DEPTH = 64, 2
"""Of the network that learns the size of errors."""

# Knots: least, most, and validation rows for one more. The outermost have 2 % of the rows beyond: at the very
# ends, weights far off the others would decide on the first and last tenth.
_KNOTS, _ROWS_A_KNOT, _BEYOND = (3, 12), 250, 0.02
_SHIFT_KNOTS = 25
# Residuals beyond so many of their median size don't count in the shift.
_CLIPPED = 6.0
_FOLDS = 5
# Steps in which g is learned, within limits of the number of epochs: after 900 steps (16,000 rows, 30 epochs)
# it knew little of how errors depend on the mass of four leptons, and 95 % intervals of a tenth covered 88 %.
_STEPS, _BATCH, _RATE = 3_000, 512, 3e-3
_LEAST_EPOCHS, _MOST_EPOCHS = 30, 100
# Rows from which the size of errors is learned, at most; rows kept to measure distances from.
LEARNED_FROM = 200_000
_KEPT, _SAMPLES = 2_048, 16  # rows in all, samples of them
# The part of the validation sample that is called outside, and by each of two limits at most and at least: of
# many features some are beyond their range in 0.2 % of events like those learned from.
_OUTSIDE, _BY_EACH, _AT_LEAST = 0.004, 0.0015, 0.0005
# The part that all ranges together may exclude, at most (they are correlated: a quarter of it is usual).
_BY_RANGES = 0.002
# Rows beyond a quantile from which it is read off, and of the tail (least, most, part) it is continued from.
_SEEN, _TAIL = 5, (20, 100, 0.05)
# The part of it whose errors do not grow with the distance.
_NEAR = 0.95
# Validation rows below which there is no calibration: fewer say nothing about 95 %.
LEAST_ROWS = 100
# How far γ may go, and about how far it is from 1 (of ln γ). The ratio it is found from has a variance of
# 1.2/n for normal errors, more with their tails: 2,000 rows say little, and errors far out vary with it.
_SHARPER, _USUAL, _RATIO_VARIANCE = 1.25, 0.1, 1.8
_BINS = 20
# The part of the labels' variance that is taken off: their errors may be larger than what they are off by
# (DeepMEM's own, at a loose precision), and errors of the network would be too small by the difference.
_CERTAIN = 0.5
# By how much errors are enlarged that noise hides: with labels of 5 %, 95 % intervals covered 86 % without.
_MARGIN = 1.5


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


class TwoSample(NamedTuple):
    """The training part's features in bins: `edges` `[features, bins + 1]`, `counts` `[features, bins]`; and
    the part of the validation sample that is `outside` `[]`."""

    edges: np.ndarray
    counts: np.ndarray
    outside: np.ndarray


def build_spread(inputs: int, outputs: int) -> Network:
    return build("default", inputs, outputs, WIDTH, DEPTH, jax.random.key(0))


def shifted(calibration: Calibration, mean: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """The members' mean, with what is left over on the average taken off."""
    c = calibration
    columns = [jnp.interp(mean[:, i], c.shift_knots[i], c.shift[i]) for i in range(mean.shape[1])]
    return mean - jnp.stack(columns, axis=1)


def log_sigma(
    calibration: Calibration,
    mean: Float[Array, "n k"],
    members_std: Float[Array, "n k"],
    learned: Float[Array, "n k"],
    log_d: Float[Array, " n"],
) -> Float[Array, "n k"]:
    """ln σ of the standardised target, before the factor and γ: see above."""
    c = calibration
    columns = [
        _joined(
            jnp, c.knots[i], c.bulk[i], c.power[i], c.sparse[i], c.spread[i],
            mean[:, i], members_std[:, i], learned[:, i], log_d,
        ) + _growth(jnp, log_d, c.near, c.sparse[i])
        for i in range(mean.shape[1])
    ]  # fmt: skip
    return jnp.stack(columns, axis=1)


def _joined(
    np_: Any, knots: Any, bulk: Any, power: Any, sparse: Any, spread: Any, t: Any, s: Any, g: Any, log_d: Any
) -> Any:
    first = 2 * (np_.interp(t, knots, bulk) + power * g + sparse * log_d)
    second = 2 * (np_.interp(t, knots, spread) + np_.log(s + _TINY))
    return np_.logaddexp(first, second) / 2


def _growth(np_: Any, log_d: Any, near: Any, sparse: Any) -> Any:
    """ln of what is missing far away for errors to grow like d."""
    return np_.maximum(1 - sparse, 0) * np_.maximum(log_d - near, 0)


_TINY = 1e-7  # of a standardised target: rounding


def calibrated(
    calibration: Calibration, mean: Float[Array, "n k"], log_s: Float[Array, "n k"]
) -> Float[Array, "n k"]:
    """ln σ with γ and the factor applied."""
    c = calibration
    columns = []
    for i in range(mean.shape[1]):
        centre = jnp.interp(mean[:, i], c.knots[i], c.centre[i])
        factor = jnp.interp(mean[:, i], c.knots[i], c.factor[i])
        columns.append(factor + centre + c.gamma[i] * (log_s[:, i] - centre))
    return jnp.stack(columns, axis=1)


def log_distance(rows: Float[Array, "m r f"], x: Float[Array, "n f"]) -> Float[Array, " n"]:
    """ln d: of the distance to the nearest row of each of m samples, in the root of the mean square."""
    # |r|² − 2 x·r as one product, sample by sample: those of all samples fit no processor's cache
    joined = jnp.concatenate([x, jnp.ones_like(x[:, :1])], axis=1)
    nearest = [
        (joined @ jnp.concatenate([-2 * sample.T, jnp.sum(sample**2, axis=1)[None]])).min(axis=1)
        for sample in rows
    ]
    squared = sum(nearest) / len(nearest) + jnp.sum(x**2, axis=1)
    return jnp.log(jnp.maximum(squared, _TINY)) / 2


def predictions(networks: Network, features: np.ndarray, block: int = 8_192) -> np.ndarray:
    """What each member says of standardised features: float64 `[members, n, k]`."""
    parts = []
    with jax.enable_x64(False):
        for at in range(0, len(features), block):
            piece = features[at : at + block]
            padded = np.pad(piece, ((0, block - len(piece)), (0, 0)))
            said = np.asarray(member_predictions(networks, jnp.asarray(padded)), dtype=np.float64)
            parts.append(said[:, : len(piece)])
    return np.concatenate(parts, axis=1)


def fit(
    networks: Network,
    members: int,
    training: Prepared,
    validation: Prepared,
    target_std: np.ndarray,
    noisy: bool,
    seed: int,
) -> tuple[Network, Calibration] | None:
    """Learn the size of errors from training rows, and calibrate on validation rows.

    **Arguments:** `networks`, the members; `training`, `validation`, rows in NumPy arrays; `target_std`, of
    log10 w, by which targets are standardised; `noisy`, whether the loss was the deviance.

    **Returns** None where validation rows are too few.
    """
    outputs = training.target.shape[1]
    if any((validation.importance[:, i] > 0).sum() < LEAST_ROWS for i in range(outputs)):
        return None
    said = predictions(networks, training.features)
    if members > 1:
        own = left_out_by(training.draw[:, 0], members)
        honest = np.take_along_axis(said, own[None, :, None].astype(np.int64), axis=0)[0]
    else:
        honest = said[0]
    scale = np.log(10) * target_std
    together = said.mean(axis=0)
    shifts = [
        _fit_shift(together[rows, i], training.target[rows, i], float(scale[i]), noisy)
        for i, rows in enumerate((training.importance > 0).T)
    ]
    honest = np.stack([h - np.interp(h, *shift) for h, shift in zip(honest.T, shifts, strict=True)], axis=1)
    spread = _learn_size(training, training.target - honest, seed)
    said = predictions(networks, validation.features)
    mean, std = said.mean(axis=0), said.std(axis=0)
    mean = np.stack([m - np.interp(m, *shift) for m, shift in zip(mean.T, shifts, strict=True)], axis=1)
    alone = jax.tree.map(lambda leaf: leaf[None] if eqx.is_array(leaf) else leaf, spread)
    learned = predictions(alone, validation.features)[0]
    rng = np.random.default_rng(seed)
    number = min(_KEPT, len(training.features))
    samples = min(_SAMPLES, number)
    kept = training.features[rng.permutation(len(training.features))[: number - number % samples]]
    with jax.enable_x64(False):
        kept = np.asarray(first_hidden(networks, jnp.asarray(kept)))
        kept = kept.reshape(samples, -1, kept.shape[-1])
        pieces = (validation.features[at : at + 8_192] for at in range(0, len(validation.features), 8_192))
        away = np.concatenate([_away(networks, jnp.asarray(kept), jnp.asarray(piece)) for piece in pieces])
    away = away.astype(np.float64)
    near = np.quantile(away, _NEAR)
    x = training.features.astype(np.float64)
    slack = _slack(x)
    low, high = x.min(axis=0) - slack[0], x.max(axis=0) + slack[1]
    beyond = ((validation.features < low) | (validation.features > high)).any(axis=1).mean()
    outside = float(np.clip((_OUTSIDE - beyond) / 2, _AT_LEAST, _BY_EACH))
    fitted, known = [], validation.importance > 0
    number = int(np.clip(known.sum(axis=0).min() // _ROWS_A_KNOT, *_KNOTS))
    for i, rows in enumerate(known.T):
        columns = [array[rows, i] for array in (mean, std, learned, validation.target, validation.noise)]
        columns.append(away[rows])
        one = _fit_one(*columns, number=number, near=near, outside=outside, scale=scale[i])
        fitted.append((*shifts[i], *one))
    fitted_arrays = [np.stack(values) for values in zip(*fitted, strict=True)]
    return spread, Calibration._make([*fitted_arrays, kept, near, _above(away, outside), slack])


@eqx.filter_jit
def _away(networks: Network, kept: Float[Array, "m r w"], x: Float[Array, "n f"]) -> Float[Array, " n"]:
    return log_distance(kept, first_hidden(networks, x))


def _continued(values: np.ndarray, part: float) -> np.ndarray:
    """What that part of all events is above `[...]`, of rows `[n, ...]`, by an exponential tail."""
    least, most, share = _TAIL
    k = min(int(np.clip(share * len(values), least, most)), len(values) - 1)
    tail = np.partition(values, len(values) - 1 - k, axis=0)[len(values) - 1 - k :]
    return tail[0] + (tail[1:] - tail[0]).mean(axis=0) * k * ((k / (part * len(values))) ** (1 / k) - 1)


def _slack(x: np.ndarray) -> np.ndarray:
    """How far each feature's range, of rows `[n, features]`, ends below and above theirs `[2, features]`."""
    part = _BY_RANGES / (2 * x.shape[1])
    return np.stack([np.maximum(_continued(side, part) - side.max(axis=0), 0) for side in (-x, x)])


def _above(values: np.ndarray, part: float) -> np.ndarray:
    """What that part of all events is above, of rows `[n]`."""
    seen = part * len(values) >= _SEEN
    return np.asarray(np.quantile(values, 1 - part) if seen else _continued(values, part))


def _hats(t: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Piecewise linear functions that are 1 at one knot and 0 at the others `[n, knots]`."""
    return np.stack([np.interp(t, knots, unit) for unit in np.eye(len(knots))], axis=1)


def _knots(t: np.ndarray, number: int, beyond: float = 0.0) -> np.ndarray:
    """Quantiles, with that part beyond either end, and no two alike where many t are."""
    return np.quantile(t, np.linspace(beyond, 1 - beyond, number)) + 1e-9 * np.arange(number)


def _fit_shift(t: np.ndarray, truth: np.ndarray, scale: float, noisy: bool) -> tuple[np.ndarray, np.ndarray]:
    """Knots, and at them the mean of t − truth; of the weight's own ratio where labels are noisy."""
    knots = _knots(t, _SHIFT_KNOTS)
    left = scale * (t - truth)
    left = np.expm1(np.minimum(left, FAR)) if noisy else left
    size = _CLIPPED * np.median(np.abs(left)) + _TINY
    return knots, np.linalg.lstsq(_hats(t, knots), np.clip(left, -size, size))[0] / scale


def _learn_size(training: Prepared, error: np.ndarray, seed: int) -> Network:
    """g(x) = ln of the size of errors, by the likelihood of a normal distribution."""
    known = training.importance > 0
    size = np.array([np.median(np.abs(error[rows, i])) for i, rows in enumerate(known.T)]) + _TINY
    x, y = jnp.asarray(training.features), jnp.asarray(error / size, jnp.float32)
    noise2 = jnp.asarray((training.noise / size) ** 2, jnp.float32)
    there = jnp.asarray(known)
    batch = min(_BATCH, len(x))
    steps = len(x) // batch
    epochs = int(np.clip(-(-_STEPS // steps), _LEAST_EPOCHS, _MOST_EPOCHS))
    with jax.enable_x64(False):
        optimiser = optax.adam(optax.cosine_decay_schedule(_RATE, steps * epochs))
        arrays, static = eqx.partition(build_spread(x.shape[1], y.shape[1]), eqx.is_inexact_array)

        def loss(arrays: Any, rows: Array) -> Array:
            g = jnp.clip(jax.vmap(eqx.combine(arrays, static))(x[rows]), -10, 10)
            variance = jnp.exp(2 * g) + noise2[rows]
            return jnp.sum(there[rows] * (jnp.log(variance) + y[rows] ** 2 / variance)) / batch

        @jax.jit
        def epoch(arrays: Any, moments: Any, order: Array) -> Any:
            def step(carry: Any, rows: Array) -> Any:
                updates, moments = optimiser.update(jax.grad(loss)(carry[0], rows), carry[1])
                return (eqx.apply_updates(carry[0], updates), moments), None

            return jax.lax.scan(step, (arrays, moments), order)[0]

        moments = optimiser.init(arrays)
        rng = np.random.default_rng([seed, 1])
        for _ in range(epochs):
            order = rng.permutation(len(x))[: steps * batch].reshape(steps, batch)
            arrays, moments = epoch(arrays, moments, jnp.asarray(order))
        network = eqx.combine(arrays, static)
        # the unit of `size` goes into the last layer's bias
        return eqx.tree_at(
            lambda n: n.last.bias, network, network.last.bias + jnp.log(jnp.asarray(size, jnp.float32))
        )


def _fit_one(
    t: np.ndarray,
    s: np.ndarray,
    g: np.ndarray,
    truth: np.ndarray,
    noise: np.ndarray,
    log_d: np.ndarray,
    *,
    number: int,
    near: float,
    outside: float = _BY_EACH,
    scale: float,
) -> tuple[np.ndarray, ...]:
    """A, b, c, C by likelihood; γ and the factor by coverage. `number`, of knots; `near`, ln d from which
    errors grow at least like d; `outside`, the part whose errors are too large; `scale` turns targets into
    ln w."""
    knots = _knots(t, number, _BEYOND)
    error = truth - t
    size = np.median(np.abs(error)) + _TINY
    y2, n2 = (error / size) ** 2, (noise / size) ** 2
    shift = np.log(size)
    # g, learned on errors of single members, and ln d count about their medians
    middle = np.array([np.median(g), np.median(log_d)])
    hats = _hats(t, knots)
    first, log_spread = np.column_stack([hats, g - middle[0], log_d - middle[1]]), np.log(s + _TINY) - shift

    def terms(c: np.ndarray, rows: Any) -> tuple[np.ndarray, np.ndarray]:
        """ln of the square roots of the two terms of σ², in units of `size`."""
        return first[rows] @ c[: number + 2], hats[rows] @ c[number + 2 :] + log_spread[rows]

    def cost(c: np.ndarray, rows: Any) -> tuple[float, np.ndarray]:
        """What is least at the likeliest parameters, and its gradient."""
        one, two = (np.exp(2 * np.clip(term, -15, 15)) for term in terms(c, rows))
        variance = one + two + n2[rows]
        likelihood = np.mean(np.log(variance) + y2[rows] / variance) / 2
        by_variance = (1 - y2[rows] / variance) / variance / len(variance)
        slope = np.r_[(by_variance * one) @ first[rows], (by_variance * two) @ hats[rows]]
        for part in (slice(number), slice(number + 2, None)):
            step = np.diff(c[part])
            likelihood += 1e-3 * step @ step
            slope[part] += 2e-3 * (np.r_[0, step] - np.r_[step, 0])
        usual = np.r_[c[:number], 1, 0, np.zeros(number)]
        likelihood += 1e-4 * (c - usual) @ (c - usual)
        return float(likelihood), slope + 2e-4 * (c - usual)

    def likeliest(rows: Any) -> np.ndarray:
        start = np.r_[np.full(number, -0.5), 1.0, 0.0, np.zeros(number)]
        return optimize.minimize(cost, start, args=(rows,), jac=True, method="L-BFGS-B").x

    found = likeliest(slice(None))
    power, sparse = powers = found[number : number + 2]
    bulk, spread = found[:number] + shift - powers @ middle, found[number + 2 :]
    # coverage is set with sizes that each fifth of the rows had no part in: their own would flatter
    log_s = np.empty_like(t)
    fold = np.arange(len(t)) % _FOLDS
    for each in range(_FOLDS):
        found = likeliest(fold != each)
        one, two = terms(found, fold == each)
        log_s[fold == each] = np.logaddexp(2 * one, 2 * two) / 2 + shift
        log_s[fold == each] += _growth(np, log_d[fold == each], near, found[number + 1])
    # of the weight itself: w_true/w_predicted − 1, its noise, and the relative error that is claimed
    delta2 = np.expm1(-scale * error) ** 2
    noise2 = _CERTAIN * (scale * noise) ** 2
    at_knots = np.linalg.lstsq(hats, log_s)[0]
    centre = hats @ at_knots

    def levels(claimed: np.ndarray, rows: Any = slice(None)) -> tuple[float, float]:
        """What errors must be multiplied with for either interval to cover."""
        left = np.sqrt(np.maximum(delta2[rows] - noise2[rows], 0)) / claimed[rows]
        wide = np.sqrt(np.maximum(delta2[rows] / 1.96**2 - noise2[rows], 0)) / claimed[rows]
        return float(np.quantile(left, 0.6827)), float(np.quantile(wide, 0.95))

    gammas = np.exp(np.linspace(-1, 1, 41) * np.log(_SHARPER))
    pairs = np.array([levels(scale * np.exp(centre + gamma * (log_s - centre))) for gamma in gammas])
    # the two levels agree best there, or as well as so many rows can tell
    mismatch = np.log((pairs[:, 1] + _TINY) / (pairs[:, 0] + _TINY))
    unlikely = len(t) * mismatch**2 / _RATIO_VARIANCE + (np.log(gammas) / _USUAL) ** 2
    gamma = gammas[int(np.argmin(unlikely))]
    spread_out = centre + gamma * (log_s - centre)
    factor = np.zeros(number)
    # where noise hides the network's errors, they are what the likelihood says, and a margin
    hidden = np.median(noise2) > 4 * _CERTAIN * np.median(scale**2 * np.exp(2 * log_s))
    if hidden:
        factor += np.log(_MARGIN)
    else:
        low, high = np.r_[-np.inf, knots[:-1]], np.r_[knots[1:], np.inf]
        for _ in range(3):  # neighbouring windows overlap
            claimed = scale * np.exp(spread_out + hats @ factor)
            for i, rows in enumerate((t >= low[:, None]) & (t <= high[:, None])):
                factor[i] += np.mean(np.log(np.maximum(levels(claimed, rows), 0.1))) if rows.any() else 0.0
    largest = _above(spread_out + hats @ factor, outside)
    return (
        knots,
        bulk,
        np.asarray(power),
        np.asarray(sparse),
        spread,
        at_knots,
        np.asarray(gamma),
        factor,
        np.asarray(hidden),
        largest,
    )


def two_sample_of(features: np.ndarray, outside: float) -> TwoSample:
    """Bins of equal population of each feature of training rows (as many edges as it has distinct ones)."""
    levels = np.linspace(0, 1, _BINS + 1)[1:-1]
    edges = np.stack([np.r_[-np.inf, np.quantile(f, levels), np.inf] for f in features.T])
    counts = np.stack([_count(f, e) for f, e in zip(features.T, edges, strict=True)])
    return TwoSample(edges, counts, np.asarray(outside))


def _count(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    bins = np.searchsorted(edges[1:-1], values, side="right")
    return np.bincount(bins, minlength=_BINS)


class Comparison(NamedTuple):
    """Of a sample with the training part: the probability of so large a difference by chance, in any of the
    tests; the feature that differs most (or "events outside"); how many events were looked at."""

    probability: float
    where: str
    events: int

    @property
    def differs(self) -> bool:
        """At a false-alarm rate of 1 %."""
        return self.probability < 0.01


class SampleTest:
    """Gathers features chunk by chunk, and compares them with the training part's: χ² in the bins of each
    feature, and the number of events outside; the smallest probability times the number of tests.

    (χ² of two samples: W. H. Press et al., "Numerical Recipes", section 14.3; Bonferroni's correction.)
    """

    def __init__(self, reference: TwoSample, names: Sequence[str]):
        self._reference, self._names = reference, tuple(names)
        self._counts = np.zeros(reference.counts.shape)
        self._outside = self._events = 0

    def add(self, features: np.ndarray, outside: np.ndarray) -> None:
        for row, values, edges in zip(self._counts, features.T, self._reference.edges, strict=True):
            row += _count(values, edges)
        self._outside += int(outside.sum())
        self._events += len(features)

    def result(self) -> Comparison:
        if not self._events:
            return Comparison(1.0, "", 0)
        found = {
            name: _chi2_probability(ours, theirs)
            for name, ours, theirs in zip(self._names, self._counts, self._reference.counts, strict=True)
        }
        rate = max(float(self._reference.outside), 2 * _BY_EACH)
        found["events outside"] = float(stats.binom.sf(self._outside - 1, self._events, rate))
        where = min(found, key=lambda name: found[name])
        return Comparison(min(1.0, found[where] * len(found)), where, self._events)


def _chi2_probability(ours: np.ndarray, theirs: np.ndarray) -> float:
    together = ours + theirs
    used = together > 0
    if used.sum() < 2:
        return 1.0
    ratio = np.sqrt(theirs.sum() / ours.sum())
    chi2 = np.sum((ratio * ours - theirs / ratio)[used] ** 2 / together[used])
    return float(stats.chi2.sf(chi2, used.sum() - 1))
