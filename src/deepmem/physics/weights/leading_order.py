"""Leading-order events from the engine's own |M|² and densities: σ, σ_vis, and events for closure tests.

    σ = ∫ dx1 dx2 dΦ_n Σ_ab f_a(x1, Q) f_b(x2, Q) |M_ab|² / 2ŝ

A weight W is defined without δ²(p_T), so its recoil is not modelled: what W integrates to over measured
events x ∈ R is

    ∫_R W dx = ∫ d²K ∫ dσ (E'/E) P(x ∈ R | y),   E = √(E'² + K²),

y being the leading-order event boosted across the beam until its total p_T is K (its p_z stays), and P the
responses' own sampler. With a spectrum ρ(K), normalised over d²K, in place of the flat one,

    σ_vis = ∫ d²K ρ(K) ∫ dσ (E'/E) P(x ∈ R | y)

is what normalises W/σ_vis, for every hypothesis with one and the same ρ. `Disc` is flat, so its events
follow W itself wherever the selection keeps measured |Σp_T| away from the disc's edge; a `Spectrum` makes
events that look like data.

Where neutrinos escape, x has the missing pT: the sum of theirs, after its response if there is one. With a
response of the recoil it is −Σ measured p_T − K_meas: `Detector.draw_missing`. Jets are b quarks whose
energies respond; direction and mass stay. They carry no charge, so an event is one of their two orders: over
jets by falling pT, ∫ W dx is half of what is above, over both orders all of it, W being the average over
assignments.

σ_vis counts an event only where each true energy lies in its response's support of the measured one: no
weight is integrated beyond, so the equation above holds exactly.

What it can't promise: anything beyond leading order (σ is that of the |M|² that weights use). Pairs of
leptons that photons make diverge at low masses; a selection that lets them in has a σ_vis that depends on the
least true mass, and `CrossSection.uncovered` says how much.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from deepmem.errors import DeepMEMError, DeepMEMWarning, UsageError
from deepmem.physics.phasespace.free import is_drawn
from deepmem.physics.processes import chosen_process, menu_line
from deepmem.physics.processes.of_reaction import is_reaction
from deepmem.physics.weights.any_events import events_of
from deepmem.physics.weights.any_reaction import cross_section_of
from deepmem.physics.weights.cross_sections import NEAR, CrossSection, FreeMeans, Mean
from deepmem.physics.weights.event_columns import columns_of
from deepmem.physics.weights.recoil import Disc, Recoil, Spectrum
from deepmem.physics.weights.sampling import BATCH, Drawn, LeadingOrder, default_masses
from deepmem.physics.weights.unweighted import Events, ceiling
from deepmem.selection import Selection

__all__ = [
    "BATCH",
    "CrossSection",
    "Disc",
    "Events",
    "LeadingOrder",
    "Recoil",
    "Spectrum",
    "columns_of",
    "cross_section",
    "default_masses",
    "draw_events",
]

LARGEST_NUMBER_OF_POINTS = 20_000_000


def cross_section(
    process: str,
    selection: Selection | Mapping[str, Any] | None = None,
    precision: float = 2e-3,
    seed: int = 1,
    *,
    points: int | None = None,
    most: int = LARGEST_NUMBER_OF_POINTS,
    tolerance: float | None = None,
    quiet: bool = False,
    **hypothesis: Any,
) -> CrossSection:
    """σ = ∫ dx1 dx2 dΦ Σ f f |M|²/2ŝ, and σ_vis within cuts on measured quantities.

    **Arguments:**

    - `process`: a name of the menu, or a reaction, "NAME=p p > …".
    - `selection`: a `Selection` or a dict of cuts; None or {}: none.
    - `precision`: the relative error to reach on both; `points`: or else how many points to draw (rounded up
      to batches, a pilot of 65,536 or more not counted).
    - `tolerance`: the relative error that is taken all the same where `precision` is not reached with the
      `most` points; None: that is an error.
    - `seed`: the same seed gives the same numbers. `quiet`: nothing is warned of.
    - `mass`: range of true invariant masses of all outgoing legs, GeV. By default σ has those around the
      resonance (`default_masses`), and σ_vis all that may be measured in the selection. `pair_mass`: the
      least true mass of each pair of equal flavour and opposite charge, GeV. By default it is 4 for four
      leptons, 0 for two (4 in σ_vis), and lower in σ_vis where the selection is.
    - `top_window`: both tops have true masses within so many widths of MT (their far tails depend on the
      gauge).
    - `parton`: cuts are on partons, without recoil and response, and both results are σ within them.
    - `window`: |m − M| is below so many widths of every resonance that a reaction's text lets decay.
    - `parton_selection`: further cuts on partons, of σ and σ_vis, where σ is infinite without.
    - `spectrum`: median of the total p_T in GeV, a `Spectrum`, or a `Disc`; by default the one of the prior
      K0 of the recoil's response, or 20 GeV. Its earlier name is `recoil`.
    - `response`: per particle class as in the configuration, e.g. {"lepton": 0.05}; `r_lepton` likewise;
      without an entry `met`, missing pT is measured perfectly. `met`, as for weights: with the recoil
      missing pT is −Σ measured − K_meas.
    - `lost`, as for weights, of a reaction: σ_vis is that of events with one jet lost.
    - `pdf`, `Q`, `flavours`, `subset`, and the theory parameters of the process, e.g. `MZ=91.0`; of a
      reaction also `model`, `param_card`, `labels`, and couplings that are "[:]": `at` has both for all of
      their values then.

    **Warns** (`DeepMEMWarning`) of what `CrossSection.remarks` says.

    **Raises** `UsageError` for a wrong argument, `DeepMEMError` where no event passes, or the precision is
    out of reach.
    """
    number = isinstance(precision, int | float | np.number)
    if points is None and not (number and np.isfinite(precision) and precision > 0):
        kind = "" if number else f", a {type(precision).__name__}"
        raise UsageError(f"precision must be a relative error above 0, got {precision!r}{kind}")
    if points is not None and points < 1:
        raise UsageError(f"the number of points must be 1 or more, got {points}")
    if is_of_any_reaction(process, hypothesis):
        rng = _generator(seed)
        return cross_section_of(
            process, selection, precision, rng, points=points, most=most, tolerance=tolerance, **hypothesis
        )
    model, rng = LeadingOrder(process, selection, **hypothesis), _generator(seed)
    region, sampled = model.both_regions(), model.region(visible=True)
    grid = model.pilot(rng, region, sigma=True)
    sigma, visible, light, excluded = Mean(), Mean(), 0.0, model.pairs_excluded(sampled)
    free = FreeMeans(model.process, model.polynomial)
    for batch in model.batches(rng, region, grid):
        whole = batch.sigma * model.in_sigma(batch)
        sigma.add(whole)
        seen = batch.weight * model.passes(batch)
        visible.add(seen)
        free.add(batch.shares, whole, seen)
        light += 0.0 if excluded else float(seen[batch.pair < NEAR * sampled.pair].sum())
        if _enough(process, model, sigma, visible, _Goal(precision, tolerance, points, most)):
            break
    result = CrossSection(
        process,
        sigma.value,
        sigma.error,
        visible.value,
        visible.error,
        model.mass,
        (float(sampled.low), float(sampled.high)),
        model.pair_mass,
        model.top_window,
        visible.points,
        visible.passed,
        float(sampled.pair),
        _beyond(model, seed),
        light / visible.total,
        couplings=free.couplings(),
    )
    if result.couplings is not None:
        result = replace(result.at(), couplings=result.couplings)
    for text in [] if quiet else result.remarks():
        warnings.warn(text, DeepMEMWarning, stacklevel=2)
    return result


class _Goal(NamedTuple):
    """When enough points were drawn: see `cross_section`."""

    precision: float
    tolerance: float | None
    points: int | None
    most: int


def _enough(
    process: str,
    model: LeadingOrder,
    sigma: Mean,
    visible: Mean,
    goal: _Goal,
) -> bool:
    """Whether enough points were drawn; an error where more would not help."""
    precision, tolerance, points, most = goal
    drawn = visible.points
    asked = drawn >= (most if points is None else points)
    if asked and visible.passed == 0:
        raise DeepMEMError(
            f"{process}: none of {drawn} points passed the selection {model.selection}, so σ_vis is unknown: "
            "draw more points, or widen the selection"
        )
    if asked and sigma.passed == 0:
        raise DeepMEMError(
            f"{process}: none of {drawn} points has a true mass from {model.mass[0]:g} to {model.mass[1]:g} "
            "GeV and densities that are known there: σ is unknown"
        )
    if points is not None:
        return asked
    # an error estimated from a handful of points may be small by chance
    worst = max(each.error / each.value if each.value > 0 else np.inf for each in (sigma, visible))
    if (drawn >= 8 * BATCH and worst <= precision) or (asked and worst <= (tolerance or precision)):
        return True
    if asked:
        raise DeepMEMError(
            f"{process}: after {drawn} points σ is known to {sigma.error / sigma.value:.1e} and σ_vis to "
            f"{visible.error / visible.value:.1e}: ask for less precision than {precision:g}, or a wider "
            "selection"
        )
    return False


def _beyond(model: LeadingOrder, seed: int) -> float:
    """What true masses that are not sampled would add to σ_vis, as a part of it; from a few points."""
    sampled, all_of_them = model.region(visible=True), model.selectable()
    if sampled.low <= all_of_them.low and sampled.high >= all_of_them.high:
        return 0.0
    low, high = min(sampled.low, all_of_them.low), max(sampled.high, all_of_them.high)
    region = all_of_them._replace(low=low, high=high, pair=min(sampled.pair, all_of_them.pair))
    inside = outside = 0.0
    for _, batch in zip(range(4), model.batches(_generator(seed), region), strict=False):
        seen = batch.weight * model.passes(batch)
        within = (batch.mass >= sampled.low) & (batch.mass <= sampled.high) & (batch.pair >= sampled.pair)
        inside += float(seen[within].sum())
        outside += float(seen[~within].sum())
    return outside / inside if inside > 0 else float("inf")


def is_of_any_reaction(process: str, settings: dict[str, Any]) -> bool:
    """Whether points of a process are drawn by its diagrams: where there is no map made for its final state,
    or what is asked for is known by diagrams alone.

    It has to be a process in all else, too: what is refused there, such as a label, any reaction may have.

    **Arguments:** `settings`, of which `parton`, `window`, … are taken out where they ask for nothing.
    """
    asked = [settings.get(name) for name in ("parton", "window", "parton_selection", "lost")]
    if any(each is not None and each is not False for each in asked):
        return True
    for name in ("parton", "window", "parton_selection", "lost"):
        settings.pop(name, None)
    try:
        return not is_drawn(chosen_process(process, dict(settings)))
    except UsageError:
        return is_reaction(process) or menu_line(process) is not None


def _generator(seed: int) -> np.random.Generator:
    if seed < 0:
        raise UsageError(f"the seed must be 0 or more, got {seed}")
    return np.random.default_rng(seed)


_PILOT_BATCHES = 4


def draw_events(
    process: str,
    events: int,
    seed: int = 1,
    selection: Selection | Mapping[str, Any] | None = None,
    *,
    most: int = LARGEST_NUMBER_OF_POINTS,
    **hypothesis: Any,
) -> Events:
    """Unweighted events with density dσ (E'/E) ρ(K) P(x|y) within the selection.

    A point is kept with probability w/w_max; w_max is such that weights above it make 1e-3 of σ_vis, and
    those events keep w/w_max as their weight: averages over events are to be weighted. Two leptons, and
    jets, come by falling pT; four leptons as ℓ⁻ ℓ⁺ ℓ'⁻ ℓ'⁺, electrons before muons. Of a reaction
    without a map of its own all come by falling pT, leptons with their PDG codes and jets with their true
    tags, jN_B.

    **Arguments:** `events`, how many; `most`, points until one has to pass; the rest as for `cross_section`.

    **Raises** as `cross_section` does.
    """
    if events < 1:
        raise UsageError(f"the number of events must be 1 or more, got {events}")
    if is_of_any_reaction(process, hypothesis):
        return events_of(process, events, _generator(seed), selection, most=most, **hypothesis)
    model, rng = LeadingOrder(process, selection, **hypothesis), _generator(seed)
    if model.polynomial is not None:
        raise UsageError(f"events are of one value of {model.polynomial.names[0]}: give it a number")
    stream = _selected(model, rng)

    pilot = np.concatenate([next(stream)[1] for _ in range(_PILOT_BATCHES)])
    top = ceiling(pilot)
    found: list[tuple[np.ndarray, ...]] = []
    visible, kept = Mean(), 0
    visible.add(pilot)
    for batch, weight in stream:
        visible.add(weight)
        top = top or ceiling(weight)
        if top == 0 and visible.points >= most:
            raise DeepMEMError(
                f"{process}: none of {visible.points} points passed the selection {model.selection}"
            )
        keep = np.flatnonzero(rng.random(len(weight)) * top < weight)
        missing = np.zeros((len(keep), 2)) if batch.missing is None else batch.missing[keep]
        over = np.maximum(weight[keep] / (top or 1.0), 1.0)
        found.append((batch.true[keep], batch.measured[keep], over, missing))
        kept += len(keep)
        if kept >= events:
            break
    true, measured, weight, missing = (np.concatenate(parts)[:events] for parts in zip(*found, strict=True))
    columns = columns_of(measured, model.process.outgoing, missing if model.measures_missing else None)
    return Events(process, columns, true, measured, weight, visible.value, visible.error, visible.passed)


def _selected(model: LeadingOrder, rng: np.random.Generator) -> Iterator[tuple[Drawn, np.ndarray]]:
    region = model.region(visible=True)
    for batch in model.batches(rng, region, model.pilot(rng, region, sigma=False)):
        yield batch, batch.weight * model.passes(batch)
