"""Responses fitted to matched simulation, by maximum likelihood.

Objects are seen above a threshold of pT only, E_low = pT,min E_rec/pT,rec, so the likelihood is
conditional on it:

    ln L = Σ ln T(E_rec|E_gen)/(1 − F(E_low|E_gen)),    F(E|E_gen) = ∫_{−∞}^{E} T(E'|E_gen) dE'.

Where a shape is true, v = (F(E_rec) − F(E_low))/(1 − F(E_low)) is uniform: that is what the quality of a
fit is judged by. One object in a million may be anything, so that a wrong match does not widen the response.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import optimize, stats

from deepmem.physics.detector.detector import MissingMomentum
from deepmem.physics.detector.gaussians import CrystalBall, DoubleGaussian, Gaussian, Resolution
from deepmem.physics.detector.response import TransferError
from deepmem.physics.precision import double_precision

LEAST_OBJECTS = 100
"""Fewer are not fitted."""
MOST_OBJECTS = 200_000
"""More would change no digit that matters: they are thinned evenly."""
_ANYTHING = 1e-6
_BINS = 20
_NEGLIGIBLE = 0.02  # of σ, anywhere among the objects: a term that is less is left out

Numbers: TypeAlias = Float[np.ndarray, " objects"]
Shaped: TypeAlias = Gaussian | DoubleGaussian | CrystalBall


class Sample(NamedTuple):
    """Matched objects: energies in GeV, and the lowest that would have been seen."""

    rec: Numbers
    gen: Numbers
    low: Numbers

    def take(self, rows: np.ndarray | slice) -> Sample:
        """Some of the objects."""
        return Sample(*(each[rows] for each in self))


@dataclass(frozen=True)
class Fit:
    """A response with its likelihood, and how well it describes the objects."""

    shape: str
    response: Shaped | MissingMomentum
    objects: int
    free: int
    """How many numbers were fitted."""
    log_likelihood: float
    levels: np.ndarray
    """v of each object."""

    @property
    def information(self) -> float:
        """k ln n − 2 ln L, the lower the better (G. Schwarz, Ann. Stat. 6 (1978) 461)."""
        return self.free * float(np.log(self.objects)) - 2 * self.log_likelihood

    @property
    def distance(self) -> float:
        """The largest difference between the distribution of v and the uniform one."""
        return float(stats.kstest(self.levels, "uniform").statistic)

    @property
    def probability(self) -> float:
        """That a true response has a larger χ² of v in twenty bins, of 19 degrees of freedom.

        Numbers fitted without bins take away less than one degree each (H. Chernoff and E. L. Lehmann, Ann.
        Math. Stat. 25 (1954) 579), so this is at least what it should be.
        """
        counts = np.histogram(self.levels, _BINS, (0, 1))[0]
        expected = len(self.levels) / _BINS
        chi2 = float(((counts - expected) ** 2 / expected).sum())
        return float(stats.chi2.sf(chi2, _BINS - 1))


def _resolution(theta: Array) -> Resolution:
    return Resolution(*jnp.exp(theta))


def _gaussian(theta: Array) -> Gaussian:
    return Gaussian(_resolution(theta))


def _double_gaussian(theta: Array) -> DoubleGaussian:
    fraction = jax.nn.sigmoid(theta[0])
    return DoubleGaussian(
        fraction, _resolution(theta[1:4]), _resolution(theta[4:7]), core_bias=theta[7], tail_bias=theta[8]
    )


def _crystal_ball(theta: Array) -> CrystalBall:
    return CrystalBall(_resolution(theta[:3]), alpha=jnp.exp(theta[3]), n=1 + jnp.exp(theta[4]))


class _Shape(NamedTuple):
    make: Callable[[Array], Shaped]
    start: Callable[[np.ndarray], list[float]]
    """From the starting values of a Gaussian."""
    bounds: tuple[tuple[float, float], ...]


_TERMS = ((np.log(1e-5), np.log(0.45)), (np.log(1e-3), np.log(4.0)), (np.log(1e-3), np.log(40.0)))
_BIAS = (-0.5, 0.5)
SHAPES: Mapping[str, _Shape] = {
    "gaussian": _Shape(_gaussian, lambda g: [*g], _TERMS),
    "double_gaussian": _Shape(
        _double_gaussian,
        lambda g: [-2.0, *(g - 0.2), *(g + 0.6), 0.0, -0.02],
        ((-7.0, 0.0), *_TERMS, *_TERMS, _BIAS, _BIAS),
    ),
    "crystal_ball": _Shape(
        _crystal_ball, lambda g: [*g, np.log(1.5), np.log(4.0)], (*_TERMS, (-1.6, 1.6), (-1.5, 4.6))
    ),
}


def fit(sample: Sample, shape: str) -> Fit:
    """The response of one shape that makes the objects most likely.

    **Arguments:** `sample`, `[objects]` of energies in GeV; `shape`, one of `SHAPES`.

    **Raises** `TransferError` for fewer than `LEAST_OBJECTS`, and where no maximum is found.
    """
    objects = len(sample.rec)
    if objects < LEAST_OBJECTS:
        raise TransferError(f"a response is fitted to {LEAST_OBJECTS} objects at least, got {objects}")
    sample = sample.take(slice(None, None, -(-objects // MOST_OBJECTS)))
    kind = SHAPES[shape]
    data = _padded(sample)
    with double_precision():
        theta, likelihood = _maximum(_likelihood(shape), kind.start(_first_guess(sample)), kind.bounds, data)
        response = _without_small_terms(kind.make(jnp.asarray(theta)), sample.gen)
        levels = np.asarray(_levels(response, *data[:3]))[: len(sample.rec)]
    return Fit(shape, response, len(sample.rec), len(theta), likelihood, levels)


def best(sample: Sample, shapes: tuple[str, ...] = tuple(SHAPES)) -> Fit:
    """The fit of several shapes with the lowest `information`."""
    return min((fit(sample, shape) for shape in shapes), key=lambda found: found.information)


def drawn(response: Shaped, gen: Numbers, u: Numbers) -> Numbers:
    """Measured energies in GeV, of true ones and of uniform numbers in (0, 1)."""
    objects = len(gen)
    fill = (0, _length(objects) - objects)
    padded = (np.pad(each, fill, mode="edge") for each in (gen, u))
    with double_precision():
        return np.asarray(_drawn(response, *padded))[:objects]


def fit_missing(residual: Float[np.ndarray, "events 2"], activity: Float[np.ndarray, " events"]) -> Fit:
    """The Gaussian response of a transverse momentum, σ² = c² + b²H per component.

    **Arguments:** `residual`, measured minus true (p_x, p_y) in GeV; `activity`, H in GeV.

    **Raises** as `fit` does.
    """
    if len(residual) < LEAST_OBJECTS:
        raise TransferError(f"a response is fitted to {LEAST_OBJECTS} events at least, got {len(residual)}")
    spread = float(np.median(np.abs(residual))) * 1.48
    start = [
        np.log(max(spread, 1e-2) / np.sqrt(2)),
        np.log(max(spread, 1e-2) / np.sqrt(2 * np.median(activity) + 1)),
    ]
    bounds = ((np.log(1e-2), np.log(200.0)), (np.log(1e-3), np.log(10.0)))
    square = (residual**2).sum(axis=1)
    with double_precision():
        theta, likelihood = _maximum(_of_momentum, start, bounds, (square, activity))
    c, b = np.exp(theta)
    if b**2 * np.quantile(activity, 0.95) < _NEGLIGIBLE * c**2:
        b = 0.0
    pulls = residual / np.sqrt(c**2 + b**2 * activity)[:, None]
    levels = stats.norm.cdf(pulls).ravel()
    return Fit("gaussian", MissingMomentum(b, c), len(residual), 2, likelihood, levels)


Likelihood: TypeAlias = Callable[[Array, tuple[Array, ...]], tuple[Array, Array]]
"""(parameters, data) ↦ ln L and its gradient."""


@jax.jit
@jax.value_and_grad
def _of_momentum(theta: Array, data: tuple[Array, ...]) -> Array:
    square, activity = data
    variance = jnp.exp(2 * theta[0]) + jnp.exp(2 * theta[1]) * activity
    density = jnp.exp(-square / variance / 2) / (2 * jnp.pi * variance)
    return jnp.log(density + _ANYTHING * 1e-6).sum()  # one event in a million is anything within (1 TeV)²


@lru_cache
def _likelihood(shape: str) -> Likelihood:
    @jax.jit
    @jax.value_and_grad
    def total(theta: Array, data: tuple[Array, ...]) -> Array:
        rec, gen, low, counts = data
        response = SHAPES[shape].make(theta)
        seen = jnp.maximum(1 - response.cumulative(low, gen), 1e-9)
        return (counts * jnp.log(response.density(rec, gen) / seen + _ANYTHING / gen)).sum()

    return total


def _maximum(
    likelihood: Likelihood,
    start: list[float],
    bounds: tuple[tuple[float, float], ...],
    data: tuple[np.ndarray, ...],
) -> tuple[np.ndarray, float]:
    """The parameters of the largest likelihood within bounds, and its logarithm."""
    values = tuple(map(jnp.asarray, data))

    def negative(theta: np.ndarray) -> tuple[float, np.ndarray]:
        number, gradient = likelihood(jnp.asarray(theta), values)
        return -float(number), -np.asarray(gradient)

    low, high = np.transpose(bounds)
    inside = np.clip(start, low + 1e-3, high - 1e-3)
    found = optimize.minimize(
        negative, inside, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 500}
    )
    if not np.isfinite(found.fun):
        raise TransferError(f"no response describes the objects: ln L is {-found.fun}; are they matched?")
    return found.x, -float(found.fun)


@jax.jit
def _levels(response: Shaped, rec: Array, gen: Array, low: Array) -> Array:
    first = response.cumulative(low, gen)
    return jnp.clip((response.cumulative(rec, gen) - first) / jnp.maximum(1 - first, 1e-9), 0.0, 1.0)


@jax.jit
def _drawn(response: Shaped, gen: Array, u: Array) -> Array:
    return response.draw(gen, u)


def _first_guess(sample: Sample) -> np.ndarray:
    """ln of the terms of σ, each a part of the spread."""
    ratio = sample.rec / sample.gen - 1
    spread = 1.48 * float(np.median(np.abs(ratio - np.median(ratio)))) + 1e-4
    energy = float(np.median(sample.gen))
    return np.log([0.7 * spread, 0.5 * spread * np.sqrt(energy), 0.3 * spread * energy])


def _length(objects: int) -> int:
    """The next power of two: few lengths, few compilations."""
    return 1 << max(objects - 1, 1).bit_length()


def _padded(sample: Sample) -> tuple[np.ndarray, ...]:
    """Filled up to `_length` with objects that do not count."""
    length = _length(len(sample.rec))
    fill = [np.pad(each, (0, length - len(each)), mode="edge") for each in sample]
    counts = np.zeros(length)
    counts[: len(sample.rec)] = 1.0
    return (*fill, counts)


def _without_small_terms(response: Shaped, gen: np.ndarray) -> Shaped:
    """The same without the terms of σ that are nowhere more than a fiftieth of it."""
    energies = np.quantile(gen, [0.05, 0.95])

    def kept(resolution: Resolution) -> Resolution:
        sigma = np.asarray(resolution.sigma(energies))
        terms = {"a": energies, "b": np.sqrt(energies), "c": np.ones(2)}
        values = {name: float(getattr(resolution, name)) for name in terms}
        small = {name for name, power in terms.items() if (values[name] * power < _NEGLIGIBLE * sigma).all()}
        return Resolution(**{name: 0.0 if name in small else value for name, value in values.items()})

    found = jax.tree.map(
        lambda leaf: kept(leaf) if isinstance(leaf, Resolution) else float(leaf),
        response,
        is_leaf=lambda leaf: isinstance(leaf, Resolution),
    )
    assert isinstance(found, Gaussian | DoubleGaussian | CrystalBall)
    return found
