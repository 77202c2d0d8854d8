"""Integrals with known answers, on which every rule is judged: is its error honest where it converged?

Each integrand has the signature of `integrals.integrand`; `event` is a dict of the problem's parameters, drawn per event,
and `truth` gives the integral for them in closed form or by other means than a rule's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
from scipy.integrate import quad
from scipy.special import erf


@dataclass(frozen=True)
class Problem:
    """An integral over the unit cube, with parameters that differ from event to event."""

    integrand: Callable
    dimensions: int
    draw: Callable[[np.random.Generator, int], dict[str, np.ndarray]]
    truth: Callable[[dict[str, np.ndarray]], np.ndarray]
    smooth: bool = False


def _uniform(rng, low, high, *shape):
    return rng.uniform(low, high, shape)


# Genz's families (A. Genz, in Numerical Integration, NATO ASI C 203 (1987) 337)


def _oscillating(shared, event, x):
    return 1.5 + jnp.cos(2 * jnp.pi * event["phase"] + (event["a"] * x).sum())


def _oscillating_truth(event):
    a = event["a"]
    return 1.5 + np.real(
        np.exp(2j * np.pi * event["phase"]) * np.prod((np.exp(1j * a) - 1) / (1j * a), axis=1)
    )


def _lorentzians(shared, event, x):
    return (1 / (event["a"] ** -2 + (x - event["c"]) ** 2)).prod()


def _lorentzians_truth(event):
    a, c = event["a"], event["c"]
    return (a * (np.arctan(a * (1 - c)) + np.arctan(a * c))).prod(axis=1)


def _gaussian(shared, event, x):
    return jnp.exp(-((event["a"] * (x - event["c"])) ** 2).sum())


def _gaussian_truth(event):
    a, c = event["a"], event["c"]
    return (np.sqrt(np.pi) / (2 * a) * (erf(a * (1 - c)) + erf(a * c))).prod(axis=1)


def _corner(shared, event, x):
    return (1 + (event["a"] * x).sum()) ** (-(x.shape[0] + 1.0))


def _corner_truth(event):
    a = event["a"]
    d = a.shape[1]
    total = 0.0
    for mask in range(2**d):
        chosen = np.array([mask >> j & 1 for j in range(d)])
        total = total + (-1.0) ** chosen.sum() / (1 + a @ chosen)
    return total / (np.prod(a, axis=1) * np.prod(np.arange(1, d + 1)))


def _step(shared, event, x):
    return jnp.where((x < event["c"]).all(), jnp.exp(x.sum()), 0.0)


def _step_truth(event):
    return (np.exp(event["c"]) - 1).prod(axis=1)


# A Breit–Wigner 4–5σ off a Gaussian and 300 times narrower, in a range of ±6σ; the other directions smooth.


def _resonance(shared, event, x):
    z = 12 * x[0] - 6
    width = 1 / 300
    line = width / jnp.pi / ((z - event["m"]) ** 2 + width**2)
    return 12 * jnp.exp(-(z**2) / 2) * line * (1 + 0.5 * jnp.sin(jnp.pi * x[1:])).prod()


def _resonance_truth(event):
    width = 1 / 300

    def one(m):
        def line(z):
            return np.exp(-(z**2) / 2) * width / np.pi / ((z - m) ** 2 + width**2)

        edges = [-6, 0, m - 0.3, m - 0.02, m, m + 0.02, m + 0.3, 6]
        return sum(quad(line, *pair, epsrel=1e-11, limit=200)[0] for pair in pairwise(edges))

    return np.array([one(m) for m in event["m"]]) * (1 + 1 / np.pi) ** 2


def _singular(shared, event, x):
    return (event["p"] * x ** (event["p"] - 1)).prod()


def _ones(event):
    return np.ones(len(next(iter(event.values()))))


SMOOTH = {
    f"{name} {d}": Problem(function, d, draw, truth, smooth=True)
    for d in (1, 2, 3)
    for name, function, draw, truth in [
        (
            "oscillating",
            _oscillating,
            lambda rng, n, d=d: {"phase": _uniform(rng, 0, 1, n), "a": _uniform(rng, 1, 9, n, d)},
            _oscillating_truth,
        ),
        (
            "lorentzians",
            _lorentzians,
            lambda rng, n, d=d: {"a": _uniform(rng, 1, 9, n, d), "c": _uniform(rng, 0, 1, n, d)},
            _lorentzians_truth,
        ),
        (
            "gaussian",
            _gaussian,
            lambda rng, n, d=d: {"a": _uniform(rng, 1, 8, n, d), "c": _uniform(rng, 0, 1, n, d)},
            _gaussian_truth,
        ),
        ("corner", _corner, lambda rng, n, d=d: {"a": _uniform(rng, 0.5, 8, n, d)}, _corner_truth),
    ]
}

HARD = {
    "smooth": Problem(
        _oscillating,
        4,
        lambda rng, n: {"phase": _uniform(rng, 0, 1, n), "a": _uniform(rng, 1, 9, n, 4)},
        _oscillating_truth,
    ),
    "peaked off axis": Problem(
        _gaussian,
        4,
        lambda rng, n: {"a": _uniform(rng, 8, 30, n, 4), "c": _uniform(rng, 0.1, 0.9, n, 4)},
        _gaussian_truth,
    ),
    "lorentzians": Problem(
        _lorentzians,
        3,
        lambda rng, n: {"a": _uniform(rng, 10, 100, n, 3), "c": _uniform(rng, 0.1, 0.9, n, 3)},
        _lorentzians_truth,
    ),
    "discontinuous": Problem(_step, 3, lambda rng, n: {"c": _uniform(rng, 0.3, 0.9, n, 3)}, _step_truth),
    "resonance": Problem(
        _resonance, 3, lambda rng, n: {"m": _uniform(rng, 4, 5, n) * rng.choice([-1, 1], n)}, _resonance_truth
    ),
    "singular": Problem(_singular, 2, lambda rng, n: {"p": _uniform(rng, 0.6, 0.9, n)}, _ones),
}
