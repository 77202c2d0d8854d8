"""Weighted leading-order events of one hypothesis, and the true masses that they are drawn from.

σ has a range of true masses of its own, around the resonance of the hypothesis. σ_vis has all true masses
that may be measured in the selection: a response reaches as far as its support, and an event counts only
where each true energy lies in the support of the measured one, because no weight's integral reaches further.
So both sides of ∫_R W dx = σ_vis lose the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

import jax
import numpy as np

from deepmem.errors import UsageError
from deepmem.physics.detector.detector import Detector
from deepmem.physics.errors import unknown_name
from deepmem.physics.phasespace.free import DIMENSIONS, Region, strata
from deepmem.physics.precision import double_precision
from deepmem.physics.processes import chosen_process
from deepmem.physics.processes.base import DEFAULT_DENSITY, DEFAULT_FLAVOURS, Process
from deepmem.physics.theory.densities import DensityAtScale
from deepmem.physics.theory.lhapdf import current
from deepmem.physics.theory.parameters import PARAMETERS, Parameters
from deepmem.physics.weights.adaptation import Grid, Pilot
from deepmem.physics.weights.partonic import density_at_scale, states
from deepmem.physics.weights.points import compiled
from deepmem.physics.weights.recoil import Recoil, checked_spectrum
from deepmem.physics.weights.settings import (
    at_settings,
    check_names,
    check_widths,
    checked_detector,
    checked_flavours,
    checked_scale,
    checked_words,
    free_couplings,
    parameters_of,
    warn_of_expansions,
)
from deepmem.selection import Selection, opposite_pairs

BATCH = 16384
LEAST_PAIR = 4.0
"""The least true mass of a pair of leptons that photons make, by default, GeV."""
_WIDTHS = 10.0
_FEWEST, _MOST_PILOTS = 100, 16


def default_masses(process: Process, p: Parameters) -> tuple[float, float]:
    """The true masses in GeV that σ is of: all of them where neutrinos escape; else around the resonance.

    That is 105 to 140 GeV of a Higgs boson of 125, 60 to 120 GeV of a Z of 91.188, in proportion to their
    masses, and 10 widths on both sides at least, but never so low that a pair is lighter than `LEAST_PAIR`.
    Four leptons without a resonance: 105 to 140 GeV.
    """
    if process.invisible:
        return 0.0, np.inf
    usual = Parameters()
    if len(process.outgoing) == 2:
        low, high, names, at = 60.0, 120.0, process.resonance or next(iter(process.resonances), None), "MZ"
    else:
        low, high, names, at = 105.0, 140.0, process.resonance, "MH"
    if names is None:
        return low, high
    mass, width = (float(p.get(name)) for name in names)
    share = mass / float(usual.get(at))
    least = min(low * share, LEAST_PAIR * len(process.outgoing) / 2)
    return max(min(low * share, mass - _WIDTHS * width), least), max(high * share, mass + _WIDTHS * width)


class Drawn(NamedTuple):
    """A batch of weighted points. `weight` is dσ (E'/E) in pb, `sigma` dσ alone; both average to
    integrals. Where couplings are free, they are means over the points of their polynomial."""

    sigma: np.ndarray
    shares: np.ndarray
    """`[points, couplings]`: dσ at each point of the couplings over `sigma`; 1 where none is free."""
    weight: np.ndarray
    true: np.ndarray
    """`[points, legs, 4]`: outgoing momenta in the laboratory, with the recoil."""
    measured: np.ndarray
    """The same after the responses; neutrinos as they are."""
    mass: np.ndarray
    """√ŝ, GeV."""
    pair: np.ndarray
    """The least true mass of a pair of equal flavour and opposite charge, GeV; infinite without any."""
    reached: np.ndarray
    """Whether each true energy lies in its response's support of the measured one."""
    missing: np.ndarray | None
    """`[points, 2]`: the measured missing (p_x, p_y); None where nothing escapes and no recoil is used."""
    cube: tuple[np.ndarray, np.ndarray, np.ndarray]
    """The two numbers that chose √ŝ, and 1/density of both."""


class LeadingOrder:
    """A process with its parameters, density, responses and recoil: draws weighted points.

    **Arguments:** see `cross_section`; `settings`: `pdf`, `Q`, `flavours`, `subset`, `met`, `K0`, and theory
    parameters; `recoil`, an earlier name of `spectrum`.
    """

    def __init__(
        self,
        process: str,
        selection: Selection | Mapping[str, Any] | None = None,
        mass: Sequence[float] | None = None,
        pair_mass: float | None = None,
        top_window: float | None = None,
        spectrum: Recoil | None = None,
        recoil: Recoil | None = None,
        response: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        region = mass, pair_mass, top_window
        self._said = (process, selection, *region, spectrum, recoil, response), dict(settings)
        self.process = at_settings(chosen_process(process, settings), settings)
        subset, pdf = settings.pop("subset", None), settings.pop("pdf", DEFAULT_DENSITY)
        scale, flavours = settings.pop("Q", None), settings.pop("flavours", DEFAULT_FLAVOURS)
        if subset is not None and subset not in self.process.subsets:
            raise unknown_name(f"subset of {process}", subset, self.process.subsets)
        self.selection = Selection.of(selection)
        self.selection.refuse_without_effect(self.process.outgoing)
        self.polynomial = free_couplings(self.process, settings)
        free = () if self.polynomial is None else self.polynomial.names
        self._couplings = np.zeros((1, 0)) if self.polynomial is None else self.polynomial.points
        detector = checked_detector(self.process, settings, response)
        given = self.process.choices.keys() & {"met"} & settings.keys()
        words = checked_words(self.process, {name: settings.pop(name) for name in given}, detector)
        self.detector = detector.used_by(words.get("met", "event"))
        self.spectrum = checked_spectrum(spectrum, recoil, self.detector.recoil)
        self.parameters = self._checked({name: v for name, v in settings.items() if name not in free})
        self.states = states(self.process, checked_flavours(flavours))
        self.density = _density(pdf, self.states, checked_scale(self.process, self.parameters, scale))
        self._given = mass is not None, pair_mass is not None
        usual = LEAST_PAIR if len(self.process.outgoing) == 4 and not self.process.invisible else 0.0
        self.pair_mass = _checked_pair(usual if pair_mass is None else pair_mass)
        self.mass = self._checked_mass(
            default_masses(self.process, self.parameters) if mass is None else mass
        )
        self.top_window = self._checked_window(top_window)
        self._draw = compiled(self.process, self.states, subset, free)

    def __reduce__(self) -> tuple[Any, ...]:
        """It is sent to other processes as what was said of it."""
        return (_of_what_was_said, self._said)

    def _checked(self, values: Mapping[str, Any]) -> Parameters:
        """The theory parameters. One without effect may be named at its default, as a provenance does."""
        usual = dict.fromkeys(PARAMETERS) | Parameters()._asdict() | dict.fromkeys(self.process.parameters)
        named = [name for name, value in values.items() if name not in usual or value != usual[name]]
        check_names(self.process, named, _ARGUMENTS)
        found = parameters_of(self.process, {k: v for k, v in values.items() if k in usual})
        check_widths(self.process, found)
        warn_of_expansions(self.process, found)
        return found

    def _checked_mass(self, mass: Sequence[float]) -> tuple[float, float]:
        try:
            low, high = (float(limit) for limit in mass)
        except (TypeError, ValueError):
            raise UsageError(f"mass must be two true masses in GeV, LOW and HIGH, got {mass!r}") from None
        high = min(high, float(self.parameters.sqrt_s))
        if self.process.invisible:
            if not 0 <= low < high:
                raise UsageError(
                    "the range of true masses, neutrinos included, must be 0 ≤ low < high ≤ sqrt_s; "
                    f"got {low:g} to {high:g} GeV"
                )
            return low, high
        least = len(self.process.outgoing) // 2 * self.pair_mass
        low = max(low, least)
        if not 0 < low < high:
            raise UsageError(
                "the range of true masses must be 0 < low < high ≤ sqrt_s, and above the pairs' least masses "
                f"together ({least:g} GeV); got {low:g} to {high:g} GeV"
            )
        return low, high

    def _checked_window(self, widths: Any) -> float:
        if widths is None:
            return float("inf")
        if "bjet" not in self.process.classes:
            raise UsageError(f"top_window is for processes with tops: {self.process.name} has none")
        if not (isinstance(widths, int | float) and widths > 0):
            raise UsageError(f"top_window must be a number of top widths above 0, got {widths}")
        return float(widths)

    def region(self, visible: bool) -> Region:
        """The true masses to sample: those of σ; or all that may be measured in the selection, for σ_vis.

        Without a selection both are the same. A range of masses that was given is widened by what responses
        move into the selection's mass window, and else kept.
        """
        if not visible or self.process.invisible or not self.selects:
            return Region(*self.mass, self.pair_mass, self.top_window)
        if not self._given[0]:
            return self.selectable()
        narrow, wide = self.reach()
        (low, high), (first, last), least = self.mass, self.selection.mass, self._least_pair(narrow)
        if first > 0:
            low = min(low, first * narrow)
        if last < np.inf:
            high = max(high, min(last * wide, float(self.parameters.sqrt_s)))
        return Region(max(low, self._pairs * least, 1e-3), high, least, self.top_window)

    def selectable(self) -> Region:
        """All true masses that may be measured in the selection."""
        root = float(self.parameters.sqrt_s)
        if self.process.invisible:
            return Region(0.0, root, self.pair_mass, self.top_window)
        narrow, wide = self.reach()
        least = self._least_pair(narrow)
        low = max(self._pairs * least, self._imposed_mass() * narrow, 1e-3)
        high = min(self.selection.mass[1] * wide, root)
        if low >= high:
            raise UsageError(
                f"no true mass can be measured in the selection's mass window, {self.selection.mass[0]:g} to "
                f"{self.selection.mass[1]:g} GeV: pairs have {least:g} GeV at least, and "
                f"all together have {root:g} at most"
            )
        return Region(low, high, least, self.top_window)

    def both_regions(self) -> Region:
        """The least region that has those of σ and of σ_vis."""
        one, other = self.region(visible=True), self.region(visible=False)
        low, high, pair = min(one.low, other.low), max(one.high, other.high), min(one.pair, other.pair)
        return Region(low, high, pair, self.top_window)

    @property
    def measures_missing(self) -> bool:
        """Whether events have a missing pT."""
        return bool(self.process.invisible) or self.detector.recoil is not None

    @property
    def selects(self) -> bool:
        """Whether there is a cut at all."""
        return self.selection != Selection()

    @property
    def _pairs(self) -> int:
        return len(self.process.outgoing) // 2

    def _least_pair(self, narrow: float) -> float:
        """The least true mass of a pair, for σ_vis: lower than that of σ where the selection's is lower."""
        if self._given[1]:
            return self.pair_mass
        usual = min(LEAST_PAIR, self.mass[0] / self._pairs) if self._given[0] else LEAST_PAIR
        imposed = self._imposed_pair()
        return min(usual, imposed * narrow) if imposed > 0 else usual

    def _imposed_pair(self) -> float:
        """The least measured mass of a pair that the selection allows, GeV."""
        cuts, pairs = self.selection, opposite_pairs(self.process.outgoing)
        if self._pairs == 1:
            return max(cuts.pair_mass[0], cuts.z1_mass[0], cuts.mass[0])
        # of four unlike leptons, the two pairs are Z1 and Z2
        both = min(cuts.z1_mass[0], cuts.z2_mass[0]) if len(pairs) == 2 else 0.0
        return max(cuts.pair_mass[0], both)

    def _imposed_mass(self) -> float:
        """The least measured mass of all leptons that the selection allows, GeV: not below that of its
        pairs."""
        cuts = self.selection
        if self._pairs == 1:
            return self._imposed_pair()
        both = max(cuts.z1_mass[0], cuts.pair_mass[0]) + max(cuts.z2_mass[0], cuts.pair_mass[0])
        return max(cuts.mass[0], both)

    def pairs_excluded(self, region: Region) -> bool:
        """Whether the selection leaves out what has a pair below the region's least true mass."""
        imposed = self._imposed_pair()
        if not opposite_pairs(self.process.outgoing) or region.pair == 0:
            return True
        return imposed > 0 and float(region.pair) <= imposed * self.reach()[0] * (1 + 1e-9)

    def passes(self, drawn: Drawn) -> np.ndarray:
        """Which points are in the selection; none with a jet whose energy came out below its mass, and none
        with a true energy that no weight's integral would reach."""
        seen = [i for i, kind in enumerate(self.process.classes) if kind != "invisible"]
        possible = np.hypot(drawn.measured[:, seen, 1], drawn.measured[:, seen, 2]).min(axis=1) > 0
        kept = self.selection.passes(drawn.measured, self.process.outgoing, drawn.missing)
        return drawn.reached & possible & kept

    def in_sigma(self, drawn: Drawn) -> np.ndarray:
        """Which points are in the range of true masses of σ."""
        whole = (drawn.mass >= self.mass[0]) & (drawn.mass <= self.mass[1])
        return whole & (drawn.pair >= self.pair_mass * (1 - 1e-9))

    def reach(self) -> tuple[float, float]:
        """Bounds of E_gen/E_rec that the responses allow, at any energy that the selection does."""
        return reach(self.detector, self.selection, float(self.parameters.sqrt_s))

    def pilot(self, rng: np.random.Generator, region: Region, sigma: bool) -> Grid:
        """Where the integrands of σ_vis and, if asked for, of σ are large; its points are not counted."""
        pilot = Pilot(Grid.uniform(*strata(self.process, self.parameters)), 1 + sigma)
        passed = 0
        for done, drawn in enumerate(self.batches(rng, region), 1):
            seen = drawn.weight * self.passes(drawn)
            values = [seen, drawn.sigma * self.in_sigma(drawn)] if sigma else [seen]
            pilot.add(*drawn.cube, np.stack(values))
            passed += int((seen > 0).sum())
            if (done >= 2 and passed >= _FEWEST) or done == _MOST_PILOTS:
                break
        pilot.learn()
        for _, drawn in zip(range(2), self.batches(rng, region, pilot.grid), strict=False):
            seen = drawn.weight * self.passes(drawn)
            values = [seen, drawn.sigma * self.in_sigma(drawn)] if sigma else [seen]
            pilot.add(*drawn.cube, np.stack(values))
        pilot.learn()
        return pilot.grid

    def batches(self, rng: np.random.Generator, region: Region, grid: Grid | None = None) -> Iterator[Drawn]:
        """Weighted points without end, `BATCH` at a time; points below the density's grid have no weight.

        **Arguments:** `grid`, where √ŝ is to be; by default as the resonances of the process suggest.
        """
        while True:
            yield self.batch(rng, region, grid)

    @property
    def _noise(self) -> int:
        """Uniform numbers of a point's responses."""
        return len(self.process.outgoing) + (0 if self.detector.transverse is None else 2)

    @property
    def numbers(self) -> int:
        """Uniform numbers that a batch takes from its stream."""
        return BATCH * (DIMENSIONS[len(self.process.outgoing)] + 2 + self._noise)

    def batch(self, rng: np.random.Generator, region: Region, grid: Grid | None = None) -> Drawn:
        """The next `BATCH` points."""
        u = rng.random((DIMENSIONS[len(self.process.outgoing)], BATCH))
        jacobian = np.ones(BATCH)
        if grid is not None:
            u[0], u[1], jacobian = grid.draw(u[0], u[1])
        size = self.spectrum.draw(rng.random(BATCH))
        angle = 2 * np.pi * rng.random(BATCH)
        # ndtri(0) is −∞, and random() may return 0
        noise = np.maximum(rng.random((self._noise, BATCH)), 2.0**-54)
        with double_precision():
            kick = size * np.cos(angle), size * np.sin(angle)
            out = self._draw(
                u, kick, noise, self.parameters, region, self.density, self.detector, self._couplings
            )
            found = jax.tree.map(np.asarray, out)
        sigma = found.sigma * jacobian
        return Drawn(
            sigma,
            found.shares,
            sigma * found.boost,
            np.stack([np.stack(leg, axis=-1) for leg in found.true], axis=1),
            np.stack([np.stack(leg, axis=-1) for leg in found.measured], axis=1),
            np.sqrt(found.s),
            np.sqrt(found.pair),
            found.reached,
            np.stack(found.missing, axis=-1) if self.measures_missing else None,
            (u[0], u[1], jacobian),
        )


def _of_what_was_said(arguments: Sequence[Any], settings: Mapping[str, Any]) -> LeadingOrder:
    return LeadingOrder(*arguments, **settings)


def reach(detector: Detector, selection: Selection, sqrt_s: float) -> tuple[float, float]:
    """Bounds of E_gen/E_rec, and so of true over measured masses, that a detector allows within a
    selection."""
    least = min((cut for cut in selection.lepton_pt if cut > 0), default=0.5)
    return detector.reach(np.geomspace(least, sqrt_s / 2, 64))


_ARGUMENTS = ("pdf", "subset", "mass", "pair_mass", "top_window", "spectrum", "recoil", "response")


def _checked_pair(mass: Any) -> float:
    if not (isinstance(mass, int | float) and 0 <= mass < np.inf):
        raise UsageError(f"pair_mass must be a true mass in GeV, not negative, got {mass!r}")
    return float(mass)


def _density(
    pdf: str | PathLike[str], states: Sequence[Sequence[tuple[int, int]]], Q: float
) -> DensityAtScale:
    partons = sorted({parton for group in states for state in group for parton in state})
    density = current(pdf).select(*partons)
    with double_precision():
        return density_at_scale(density, np.asarray(Q))
