"""Anomalous couplings in gg → H → e⁺e⁻μ⁺μ⁻: cross-sections, how well parities are told apart, fits of ã₃.

    python benchmarks/anomalous.py [ratios] [discriminant] [fits] [weights] [--write]

Leading-order events of the Standard Model with m_ℓℓ > 4 GeV and their true momenta. |M|² of each is known for all values of the
couplings from its coefficients; other couplings are reached by its ratio, as a weight or as the probability to keep an event.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import jax
import numpy as np
from table import run, say

from deepmem import Weight, compute
from deepmem.physics.reactions import Coefficients, Theory, coefficients
from deepmem.physics.weights.leading_order import draw_events

EVENTS = 400_000
SAMPLES, SIZE = 200, 100
GROUPS = 16
REACTION, HVV = "g g > h > e+ e- mu+ mu-", Theory(model="hvv")


@cache
def momenta() -> np.ndarray:
    """`[events, 6, 4]`: gluons along z, then e⁺ e⁻ μ⁺ μ⁻."""
    legs = draw_events("higgs_4l", EVENTS, seed=1, recoil=0.0).true
    energy, along = legs[..., 0].sum(axis=1), legs[..., 3].sum(axis=1)
    gluons = np.zeros((len(legs), 2, 4))
    gluons[..., 0] = np.stack([energy + along, energy - along], axis=1) / 2
    gluons[..., 3] = gluons[..., 0] * [1, -1]
    return np.concatenate([gluons, legs], axis=1)


@cache
def squares(*names: str) -> Coefficients:
    return coefficients(REACTION, (21, 21), momenta(), names, HVV)


def over_standard_model(found: Coefficients, monomial: str) -> np.ndarray:
    """The coefficient of a monomial over that of 1, of each event."""
    labels = found.polynomial.labels
    return found.values[:, labels.index(monomial)] / found.values[:, labels.index("1")]


def mean(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))


def ratios() -> None:
    """σ of one coupling alone over another: means of ratios of |M|²."""
    begin = time.perf_counter()
    found = squares("ca2", "ca3", "cL1")
    seconds = time.perf_counter() - begin
    # of JHUGen: ghz2, ghz4 and ghz1_prime2 with the cross-section of ghz1 = 1
    for name, what, target, published in (
        ("ca3", "σ1/σ3", "6.49 ± 0.065", 2.55502**2),
        ("ca2", "σ1/σ2", "2.74 ± 0.027", 1.663195**2),
        ("cL1", "σ1/σL1", "", (12110.20 / 100) ** 2),
    ):
        value, error = mean(over_standard_model(found, f"{name}**2"))
        say(f"{what}, unit couplings", f"{1 / value:.4g} ± {error / value**2:.1g}", target)
        say("  of JHUGen's constants", f"{published:.4g}")
    value, error = mean(over_standard_model(found, "ca3"))
    say("Interference of ca1 and ca3 over σ1", f"{value:+.4f} ± {error:.4f}", "0 ± 0.01")
    say(f"10 coefficients of {EVENTS:,} events, with the events", f"{seconds:.1f} s")


def area(higher: np.ndarray, lower: np.ndarray, discriminant: np.ndarray) -> float:
    """The probability that an event with the weights `higher` has a larger discriminant than one with `lower`."""
    order = np.argsort(discriminant)
    lower, higher = lower[order], higher[order]
    below = np.cumsum(lower) - lower / 2
    return float(np.sum(higher * below) / (higher.sum() * lower.sum()))


def discriminant() -> None:
    """D_0− = P₀₊/(P₀₊ + c P₀₋), c = σ1/σ3, which no other function of the event can beat."""
    ratio = over_standard_model(squares("ca3"), "ca3**2")
    c = 1 / ratio.mean()
    best = 1 / (1 + c * ratio)
    areas = [
        area(np.ones(len(part)), weight, part)
        for part, weight in zip(np.array_split(best, GROUPS), np.array_split(ratio, GROUPS), strict=True)
    ]
    whole = area(np.ones(len(best)), ratio, best)
    say("Area under the curve, 0⁺ against 0⁻", f"{whole:.4f}", "0.737 ± 0.005")
    say("  its error", f"{np.std(areas) / np.sqrt(GROUPS):.4f}")


def fits() -> None:
    """ã₃ = ca3/√c: −2 ln L = −2 Σ log(|M|²(ã₃)/(1 + ã₃²)), and where it is less than 1 above its least value."""
    found = squares("ca3")
    crossed, odd = over_standard_model(found, "ca3"), over_standard_model(found, "ca3**2")
    scale = 1 / np.sqrt(odd.mean())
    grid = np.linspace(-8, 8, 3201)
    draw = np.random.default_rng(5)

    def over(value: np.ndarray | float, part: np.ndarray) -> np.ndarray:
        """|M|²/σ of some events at one value of ã₃ or more, over that of the Standard Model."""
        c3 = scale * np.asarray(value)
        return (1 + np.multiply.outer(crossed[part], c3) + np.multiply.outer(odd[part], c3**2)) / (
            1 + np.asarray(value) ** 2
        )

    everything = np.arange(EVENTS)
    for truth in (0.0, 1.0):
        density = over(truth, everything)
        kept = np.flatnonzero(draw.random(EVENTS) * density.max() < density)[: SAMPLES * SIZE]
        inside, widths, best = [], [], []
        for sample in draw.permutation(kept).reshape(SAMPLES, SIZE):
            curve = -2 * np.log(over(grid, sample)).sum(axis=0)
            at_truth = -2 * np.log(over(truth, sample)).sum()
            least = min(curve.min(), at_truth)
            inside.append(at_truth - least < 1)
            widths.append(np.mean(curve - least < 1) * (grid[-1] - grid[0]) / 2)
            best.append(grid[np.argmin(curve)])
        say(f"ã₃ = {truth:g}, {SAMPLES} samples of {SIZE} events:")
        say("  intervals of 68 % cover", f"{100 * np.mean(inside):.1f} %", "68 ± 9 %")
        say("  half of their length, median", f"{np.median(widths):.3f}")
        say("  median of the fits", f"{np.median(best):.3f}")


def weights() -> None:
    """Weights at 1 % whose ca3 is free, beside those at one value and at eleven, in turn: means of 400 events."""
    process = f"sig={REACTION}"
    events = draw_events("higgs_4l", 400, seed=3, selection={"pair_mass": [4, 1000]}).columns
    cases: dict[str, Any] = {
        "one value": 0.5,
        "free": "[:]",
        "eleven values": np.linspace(-1, 1, 11).tolist(),
    }
    spent: dict[str, float] = {}
    found: dict[str, Weight] = {}
    for repetition in range(6):
        for name, ca3 in cases.items():
            begin = time.process_time()
            made = compute(events, process, model="hvv", ca3=ca3)
            if repetition:  # the first one compiles
                spent[name] = min(spent.get(name, np.inf), time.process_time() - begin)
            found[name] = next(iter(made.values()))
    say(
        "weights with ca3 free over those at one value: CPU",
        f"{spent['free'] / spent['one value']:.2f}",
        "≤ 1.5",
    )
    say("  a scan of eleven values over one", f"{spent['eleven values'] / spent['one value']:.2f}")
    there, at = found["one value"], found["free"].at(ca3=0.5)
    pulls = (at.value - there.value) / np.hypot(at.error, there.error)
    say("  largest difference from one value, in errors", f"{np.abs(pulls).max():.2f}")
    say(
        "  error of the interference term alone, over its size, median", f"{_interference(found['free']):.2%}"
    )


def _interference(weight: Weight) -> float:
    assert weight.couplings is not None
    variance = weight.couplings.covariance[:, 3]  # of the second of three terms
    return float(np.median(np.sqrt(variance) / np.abs(weight.couplings.coefficients[:, 1])))


PARTS = {part.__name__: part for part in (ratios, discriminant, fits, weights)}


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    run(PARTS)
