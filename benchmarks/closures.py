"""Statement 5 of docs/physics.md, ⟨W_B/W_A⟩ = σ_vis,B/σ_vis,A for events of A, in pieces that are kept.

A is a process, B the same one with another mass, width or scale. Each closure has one batch of events first; then
those have more whose error is above what is aimed at, in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from table import kept, say

from deepmem.event import Weight
from deepmem.physics.weights.cross_sections import CrossSection
from deepmem.physics.weights.unweighted import Events

BATCHES = 20
"""At most, of one closure."""
USUAL, ROUGH = 0.02, 0.05
"""Errors that are aimed at, relative to σ_vis,B/σ_vis,A; `ROUGH` of processes whose weights and σ take long."""


class Closure(NamedTuple):
    """What is compared."""

    name: str
    other: Mapping[str, float]
    """What is another number in B."""
    batch: int
    """Events at a time."""
    events: Callable[[int, int], Events]
    """(number, seed) ↦ events of A."""
    weights: Callable[..., Weight]
    """(columns, **parameters) ↦ weights."""
    sigma: Callable[..., CrossSection]
    """(**parameters) ↦ σ_vis."""
    aim: float = USUAL

    @property
    def title(self) -> str:
        return f"{self.name}, B has {', '.join(f'{key} {each:g}' for key, each in self.other.items())}"


class Found(NamedTuple):
    """Of one closure so far."""

    expected: float
    of_expected: float
    """Its error."""
    ratios: tuple[tuple[float, float], ...] = ()
    """W_B/W_A of each event that has a W_A, and the event's own weight: 1 but for few."""
    events: int = 0

    @property
    def mean(self) -> tuple[float, float]:
        """⟨W_B/W_A⟩ and its error."""
        ratio, weight = np.array(self.ratios).T
        mean = np.average(ratio, weights=weight)
        return float(mean), float(np.sqrt((weight**2 * (ratio - mean) ** 2).sum()) / weight.sum())

    @property
    def error(self) -> float:
        """Of both sides together, relative to σ_vis,B/σ_vis,A."""
        return float(np.hypot(self.mean[1], self.of_expected) / self.expected)


def close(closures: Sequence[Closure]) -> None:
    """Each with one batch, and with more where its error is too large."""
    found: dict[str, Found] = {}
    for batch in range(BATCHES):
        for each in closures:
            before = found.get(each.name)
            if batch and (before is None or before.error <= each.aim):
                continue
            after = _with_batch(each, before, batch)
            if after is not None:
                found[each.name] = after
    for each in closures:
        if each.name in found:
            _say(each, found[each.name])


def _with_batch(closure: Closure, before: Found | None, batch: int) -> Found | None:
    """With σ_vis of both, if it was not there, and one more batch of events; None: no time is left."""
    if before is None:
        sides = kept(f"{closure.title}, σ", lambda: [_sigma(closure, each) for each in ({}, closure.other)])
        if sides is None:
            return None
        (a, of_a), (b, of_b) = sides
        before = Found(b / a, b / a * float(np.hypot(of_a / a, of_b / b)))
    ratios = kept(f"{closure.title}, {closure.batch} events, {batch}", lambda: _ratios(closure, 5 + batch))
    if ratios is None:
        return None
    return before._replace(
        ratios=(*before.ratios, *((ratio, weight) for ratio, weight in ratios if ratio is not None)),
        events=before.events + len(ratios),
    )


def _sigma(closure: Closure, parameters: Mapping[str, float]) -> tuple[float, float]:
    found = closure.sigma(**parameters)
    return float(found.visible), float(found.visible_error)


def _ratios(closure: Closure, seed: int) -> list[tuple[float | None, float]]:
    """W_B/W_A of each event of a batch and the event's weight; None: the event has no W_A."""
    events = closure.events(closure.batch, seed)
    a, b = (closure.weights(events.columns, **each).value for each in ({}, closure.other))
    each = zip(a, b, events.weight, strict=True)
    return [(float(two / one) if one > 0 else None, float(weight)) for one, two, weight in each]


def _say(closure: Closure, found: Found) -> None:
    value, error = found.mean
    pull = (value - found.expected) / np.hypot(error, found.of_expected)
    say(f"{closure.title}: ⟨W_B/W_A⟩", f"{value:.3f} ± {error:.3f}")
    say("  σ_vis,B/σ_vis,A", f"{found.expected:.3f} ± {found.of_expected:.3f}")
    say("  difference in errors", f"{pull:+.1f}", "0 ± 3")
    say("  error of both together", f"{100 * found.error:.1f} %", f"≤ {100 * closure.aim:g} %")
    say("  events with a weight", f"{len(found.ratios)}", f"≥ {found.events}")
