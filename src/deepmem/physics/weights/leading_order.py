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
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from deepmem.errors import DeepMEMError, DeepMEMWarning, UsageError
from deepmem.ordered import Mapper
from deepmem.physics.phasespace.free import Region, is_drawn
from deepmem.physics.processes import chosen_process, menu_line
from deepmem.physics.processes.of_reaction import is_reaction
from deepmem.physics.weights.adaptation import Grid
from deepmem.physics.weights.any_events import events_of
from deepmem.physics.weights.any_reaction import Goal, Progress, cross_section_of
from deepmem.physics.weights.batches import Accepted, Integrated
from deepmem.physics.weights.cross_sections import CrossSection, FreeMeans, Mean
from deepmem.physics.weights.event_columns import columns_of
from deepmem.physics.weights.recoil import Disc, Recoil, Spectrum
from deepmem.physics.weights.sampling import BATCH, LeadingOrder, default_masses
from deepmem.physics.weights.streams import generator, positions
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
_FEWEST = 8 * BATCH
"""Points in the integrals, at least: an error estimated from a handful may be small by chance."""


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
    mapper: Mapper = map,
    progress: Progress = lambda drawn, seeming: None,
    **hypothesis: Any,
) -> CrossSection:
    """σ = ∫ dx1 dx2 dΦ Σ f f |M|²/2ŝ, and σ_vis within cuts on measured quantities.

    **Arguments:**

    - `process`: a name of the menu, or a reaction, "NAME=p p > …".
    - `selection`: a `Selection` or a dict of cuts; None or {}: none.
    - `precision`: the relative error to reach on both; `points`: or else how many points to draw (rounded up
      to batches, and those that maps are learned from not counted).
    - `tolerance`: the relative error that is taken all the same where `precision` is not reached with the
      `most` points; None: that is an error.
    - `seed`: the same seed gives the same numbers. `quiet`: nothing is warned of. `mapper`: who computes.
    - `progress`: called with how many points were drawn, and how many it seems to take.
    - `mass`: range of true invariant masses of all outgoing legs, GeV. By default σ has those around the
      resonance (`default_masses`), and σ_vis all that may be measured in the selection. `pair_mass`: the
      least true mass of each pair of equal flavour and opposite charge, GeV. By default it is 4 for four
      leptons, 0 for two (4 in σ_vis), and lower in σ_vis where the selection is.
    - `top_window`: both tops have true masses within so many widths of MT (their far tails depend on the
      gauge).
    - `parton`: cuts are on partons, without recoil and response, and both results are σ within them.
    - `window`: |m − M| is below so many widths of every resonance that a reaction's text lets decay.
    - `parton_selection`: further cuts on partons, of σ and σ_vis, where σ is infinite without; or
      `parton_pt`, as for weights.
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
    goal, rng = Goal(precision, tolerance, points, most), generator(seed)
    if is_of_any_reaction(process, hypothesis):
        return cross_section_of(process, selection, goal, seed, mapper, progress, **hypothesis)
    model = LeadingOrder(process, selection, **hypothesis)
    region, sampled = model.both_regions(), model.region(visible=True)
    grid = model.pilot(rng, region, sigma=True)
    sigma, visible, light = Mean(), Mean(), 0.0
    free = FreeMeans(model.process, model.polynomial)
    work = Integrated(model, region, sampled, grid, model.pairs_excluded(sampled))
    for batch in mapper(work, positions(rng, model.numbers)):
        sigma.merge(batch.sigma)
        visible.merge(batch.visible)
        light += batch.light
        if batch.free is not None:
            free.merge(batch.free)
        progress(visible.points, goal.seeming(visible.points, _worst(sigma, visible), _FEWEST))
        if _enough(process, model, sigma, visible, goal):
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


def _enough(
    process: str,
    model: LeadingOrder,
    sigma: Mean,
    visible: Mean,
    goal: Goal,
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
    worst = _worst(sigma, visible)
    if (drawn >= _FEWEST and worst <= precision) or (asked and worst <= (tolerance or precision)):
        return True
    if asked:
        raise DeepMEMError(
            f"{process}: after {drawn} points σ is known to {sigma.error / sigma.value:.1e} and σ_vis to "
            f"{visible.error / visible.value:.1e}: ask for less precision than {precision:g}, or a wider "
            "selection"
        )
    return False


def _worst(*means: Mean) -> float:
    """The largest relative error."""
    return max(each.error / each.value if each.value > 0 else float("inf") for each in means)


def _beyond(model: LeadingOrder, seed: int) -> float:
    """What true masses that are not sampled would add to σ_vis, as a part of it; from a few points."""
    sampled, all_of_them = model.region(visible=True), model.selectable()
    if sampled.low <= all_of_them.low and sampled.high >= all_of_them.high:
        return 0.0
    low, high = min(sampled.low, all_of_them.low), max(sampled.high, all_of_them.high)
    region = all_of_them._replace(low=low, high=high, pair=min(sampled.pair, all_of_them.pair))
    inside = outside = 0.0
    for _, batch in zip(range(4), model.batches(generator(seed), region), strict=False):
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


_PILOT_BATCHES = 4


def draw_events(
    process: str,
    events: int,
    seed: int = 1,
    selection: Selection | Mapping[str, Any] | None = None,
    *,
    most: int = LARGEST_NUMBER_OF_POINTS,
    mapper: Mapper = map,
    progress: Callable[[int], None] = lambda kept: None,
    **hypothesis: Any,
) -> Events:
    """Unweighted events with density dσ (E'/E) ρ(K) P(x|y) within the selection.

    A point is kept with probability w/w_max; w_max is such that weights above it make 1e-3 of σ_vis, and
    those events keep w/w_max as their weight: averages over events are to be weighted. Two leptons, and
    jets, come by falling pT; four leptons as ℓ⁻ ℓ⁺ ℓ'⁻ ℓ'⁺, electrons before muons. Of a reaction
    without a map of its own all come by falling pT, leptons with their PDG codes and jets with their true
    tags, jN_B.

    **Arguments:** `events`, how many; `most`, points until one has to pass; `progress`, called with the
    number of events so far; the rest as for `cross_section`.

    **Raises** as `cross_section` does.
    """
    if events < 1:
        raise UsageError(f"the number of events must be 1 or more, got {events}")
    if is_of_any_reaction(process, hypothesis):
        return events_of(process, events, seed, selection, most, mapper, progress, **hypothesis)
    model, rng = LeadingOrder(process, selection, **hypothesis), generator(seed)
    if model.polynomial is not None:
        raise UsageError(f"events are of one value of {model.polynomial.names[0]}: give it a number")
    region = model.region(visible=True)
    grid = model.pilot(rng, region, sigma=False)
    pilot = np.concatenate([_selected(model, rng, region, grid) for _ in range(_PILOT_BATCHES)])
    visible, top, numbers, without = Mean.of(pilot), ceiling(pilot), model.numbers + BATCH, 0
    for stream in positions(rng, numbers) if top == 0 else ():
        weight = _selected(model, stream, region, grid)
        if (top := ceiling(weight)) > 0:
            break
        visible.add(weight)
        without += 1
        if visible.points >= most:
            raise DeepMEMError(
                f"{process}: none of {visible.points} points passed the selection {model.selection}"
            )
    found: list[dict[str, np.ndarray]] = []
    kept = 0
    streams = islice(positions(rng, numbers), without, None)
    for batch in mapper(Accepted(model, region, grid, top), streams):
        visible.add(batch["weight"])
        found.append({name: each for name, each in batch.items() if name != "weight"})
        kept += len(batch["over"])
        progress(min(kept, events))
        if kept >= events:
            break
    true, measured, weight, missing = (
        np.concatenate([each[name] for each in found])[:events]
        for name in ("true", "measured", "over", "missing")
    )
    columns = columns_of(measured, model.process.outgoing, missing if model.measures_missing else None)
    return Events(process, columns, true, measured, weight, visible.value, visible.error, visible.passed)


def _selected(model: LeadingOrder, rng: np.random.Generator, region: Region, grid: Grid) -> np.ndarray:
    """dσ (E'/E) of a batch's points within the selection, 0 outside."""
    batch = model.batch(rng, region, grid)
    return batch.weight * model.passes(batch)
