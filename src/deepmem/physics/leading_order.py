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

Where neutrinos escape, x has the missing pT: the sum of theirs, after its response if there is one. Jets are
b quarks whose energies respond; direction and mass stay. They carry no charge, so an event is one of their
two orders: over jets by falling pT, ∫ W dx is half of what is above, over both orders all of it, W being the
average over assignments.

What it can't promise: anything beyond leading order (σ is that of the |M|² that weights use), and lost
migration from outside the true `Region` where the selection has no mass window: choose the region wider than
the selection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.errors import DeepMEMError, UsageError
from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.constants import GEV_2_TO_PB, Parameters
from deepmem.physics.constants import parameters as checked_parameters
from deepmem.physics.errors import ParameterError, unknown_name
from deepmem.physics.pdf import DensityAtScale, load
from deepmem.physics.phasespace import DIMENSIONS, Region, from_rest_frame, sampler
from deepmem.physics.precision import double_precision
from deepmem.physics.processes import find_process
from deepmem.physics.processes.base import DEFAULT_DENSITY, DEFAULT_FLAVOURS, MISSING_COLUMNS, Process
from deepmem.physics.transfer import ByEta, MissingMomentum, missing_momentum, responses
from deepmem.selection import CHARGED_LEPTONS, JETS, Selection, mass, of_kind

BATCH = 16384
LARGEST_NUMBER_OF_POINTS = 20_000_000


# --- recoil
# -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spectrum:
    """dN/dK² ∝ (K² + K₀²)^−2, so that K₀ is the median of |K|; 0 is no recoil.

    A shape, not a prediction: with K₀ = 15 GeV for Drell–Yan at the Z, 18 GeV for qq̄ → 4ℓ and 37 GeV for
    gg → H it has the quartiles and the 99 % quantile of Pythia 8's events (13 TeV) to 30 %. Hypotheses that
    are to be compared need one and the same K₀, so the default is none of theirs.
    """

    median: float = 20.0

    def draw(self, u: np.ndarray) -> np.ndarray:
        """|K| in GeV from uniform numbers."""
        return self.median * np.sqrt(u / (1 - u))


@dataclass(frozen=True)
class Disc:
    """K uniform in d²K for |K| < `maximum`, in GeV: statement 2 of the closure relations."""

    maximum: float

    @property
    def area(self) -> float:
        """In GeV²: ∫_R W dx = area · σ_vis."""
        return float(np.pi * self.maximum**2)

    def draw(self, u: np.ndarray) -> np.ndarray:
        """|K| in GeV from uniform numbers."""
        return self.maximum * np.sqrt(u)


Recoil: TypeAlias = float | Spectrum | Disc


def _recoil(recoil: Recoil) -> Spectrum | Disc:
    if isinstance(recoil, Spectrum | Disc):
        size = recoil.median if isinstance(recoil, Spectrum) else recoil.maximum
        made = recoil
    else:
        size = float(recoil)
        made = Spectrum(size)
    if not (np.isfinite(size) and size >= 0):
        raise ParameterError(f"recoil must be a momentum in GeV, not negative, got {size}")
    return made


# --- one hypothesis, ready to be sampled
# -------------------------------------------------------------


DEFAULT_REGIONS = {2: Region(60.0, 120.0), 4: Region(105.0, 140.0, 4.0)}
"""True masses in GeV, for each number of outgoing leptons; where neutrinos escape, all masses."""


def _default_region(process: Process) -> Region:
    if process.invisible:
        return Region(0.0, np.inf)
    return DEFAULT_REGIONS.get(len(process.outgoing), DEFAULT_REGIONS[4])


class Drawn(NamedTuple):
    """A batch of weighted points. `weight` is dσ (E'/E) in pb, `sigma` dσ alone; both average to
    integrals."""

    sigma: np.ndarray
    weight: np.ndarray
    true: np.ndarray
    """`[points, legs, 4]`: outgoing momenta in the laboratory, with the recoil."""
    measured: np.ndarray
    """The same after the responses; neutrinos as they are."""
    mass: np.ndarray
    """√ŝ, GeV."""
    missing: np.ndarray | None
    """`[points, 2]`: the measured missing (p_x, p_y); None where nothing escapes."""


class LeadingOrder:
    """A process with its parameters, density, responses and recoil: draws weighted points.

    **Arguments:** see `cross_section`.
    """

    def __init__(
        self,
        process: str,
        selection: Selection | Mapping[str, Any] | None = None,
        mass: Sequence[float] | None = None,
        pair_mass: float | None = None,
        top_window: float | None = None,
        recoil: Recoil = Spectrum(),
        response: Mapping[str, Any] | None = None,
        pdf: str | PathLike[str] = DEFAULT_DENSITY,
        Q: float | None = None,
        flavours: int = DEFAULT_FLAVOURS,
        subset: str | None = None,
        **parameters: float,
    ) -> None:
        self.process = find_process(process)
        if subset is not None and subset not in self.process.subsets:
            raise unknown_name(f"subset of {process}", subset, self.process.subsets)
        self.selection = Selection.of(selection)
        self.recoil = _recoil(recoil)
        classes = self.process.responses
        given = {name: parameters.pop(f"r_{name}") for name in classes if f"r_{name}" in parameters}
        by_class = {**classes, **given, **(response or {})}
        noise = by_class.pop("met", None) if self.process.invisible else None
        self.missing = None if noise is None else missing_momentum(noise)
        self.responses = responses(by_class, sorted(set(self.process.visible_classes)))
        self.parameters = _parameters(self.process, parameters)
        self.states = _states(self.process, flavours)
        self.density = _density(pdf, self.states, self._scale(Q))
        default = _default_region(self.process)
        low, high = (default.low, default.high) if mass is None else mass
        self.pair_mass = float(default.pair if pair_mass is None else pair_mass)
        self.mass = self._checked_mass(low, high)
        self.top_window = self._checked_window(top_window)
        self._draw = _compiled(self.process, self.states, subset)

    def _scale(self, Q: float | None) -> float:
        scale = self.process.scale if Q is None else Q
        value = float(getattr(self.parameters, scale) if isinstance(scale, str) else scale)
        if not (np.isfinite(value) and value > 0):
            raise ParameterError(f"the scale Q must be in GeV, finite and positive, got {value}")
        return value

    def _checked_mass(self, low: float, high: float) -> tuple[float, float]:
        if self.process.invisible:
            low, high = float(low), min(float(high), float(self.parameters.sqrt_s))
            if not 0 <= low < high:
                raise UsageError(
                    "the range of true masses, neutrinos included, must be 0 ≤ low < high ≤ sqrt_s; "
                    f"got {low:g} to {high:g} GeV"
                )
            return low, high
        least = len(self.process.outgoing) // 2 * self.pair_mass
        low, high = max(float(low), least), min(float(high), float(self.parameters.sqrt_s))
        if not 0 < low < high:
            raise UsageError(
                "the range of true masses must be 0 < low < high ≤ sqrt_s, and above the pairs' least masses "
                f"together ({least:g} GeV); got {low:g} to {high:g} GeV"
            )
        return low, high

    def _checked_window(self, widths: float | None) -> float:
        if widths is None:
            return float("inf")
        if "bjet" not in self.process.classes:
            raise UsageError(f"top_window is for processes with tops: {self.process.name} has none")
        if not widths > 0:
            raise UsageError(f"top_window must be a number of top widths above 0, got {widths}")
        return float(widths)

    def region(self, visible: bool) -> Region:
        """The true masses to sample: those of σ, and for σ_vis also those that may be measured in the
        selection, where all legs are seen."""
        low, high = self.mass
        if visible and not self.process.invisible:
            first, last = self.selection.mass
            narrow, wide = self._reach()
            low = min(low, first * narrow) if first > 0 else low
            high = max(high, min(last * wide, float(self.parameters.sqrt_s))) if last < np.inf else high
            low = max(low, len(self.process.outgoing) // 2 * self.pair_mass, 1e-3)
        return Region(low, high, self.pair_mass, self.top_window)

    def passes(self, drawn: Drawn) -> np.ndarray:
        """Which points are in the selection; none with a jet whose energy came out below its mass."""
        seen = [i for i, kind in enumerate(self.process.classes) if kind != "invisible"]
        possible = np.hypot(drawn.measured[:, seen, 1], drawn.measured[:, seen, 2]).min(axis=1) > 0
        return possible & self.selection.passes(drawn.measured, self.process.outgoing, drawn.missing)

    def _reach(self) -> tuple[float, float]:
        """Bounds of E_gen/E_rec that the responses allow, at 30 GeV."""
        energy = 30.0
        with double_precision():
            bounds = [each.support(energy) for part in self.responses.values() for each in part.responses]
        low, high = (np.array([float(bound[i]) for bound in bounds]) / energy for i in (0, 1))
        return float(low.min()), float(high.max())

    def batches(self, rng: np.random.Generator, region: Region) -> Iterator[Drawn]:
        """Weighted points without end, `BATCH` at a time; points below the density's grid have no weight."""
        legs = len(self.process.outgoing)
        while True:
            u = rng.random((DIMENSIONS[legs], BATCH))
            size = self.recoil.draw(rng.random(BATCH))
            angle = 2 * np.pi * rng.random(BATCH)
            # ndtri(0) is −∞, and random() may return 0
            more = 0 if self.missing is None else 2
            noise = np.maximum(rng.random((legs + more, BATCH)), 2.0**-54)
            with double_precision():
                kick = size * np.cos(angle), size * np.sin(angle)
                out = self._draw(
                    u, kick, noise, self.parameters, region, self.density, self.responses, self.missing
                )
                sigma, share, true, measured, s, missing = jax.tree.map(np.asarray, out)
            yield Drawn(
                sigma,
                sigma * share,
                np.stack([np.stack(leg, axis=-1) for leg in true], axis=1),
                np.stack([np.stack(leg, axis=-1) for leg in measured], axis=1),
                np.sqrt(s),
                np.stack(missing, axis=-1) if self.process.invisible else None,
            )


def _parameters(process: Process, values: Mapping[str, Any]) -> Parameters:
    extra = ("Q", "pdf", "flavours", "subset", *(f"r_{name}" for name in process.responses))
    for name in values:
        if name not in Parameters._fields:
            raise unknown_name("parameter", name, (*Parameters._fields, *extra))
    return checked_parameters(**values)


def _states(process: Process, flavours: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    if isinstance(flavours, bool) or flavours not in (1, 2, 3, 4, 5):
        raise ParameterError(f"flavours must be 1 to 5, got {flavours!r}")
    return tuple(
        tuple(state for state in states if all(abs(parton) <= flavours or parton == 21 for parton in state))
        for states in process.channels
    )


def _density(
    pdf: str | PathLike[str], states: Sequence[Sequence[tuple[int, int]]], Q: float
) -> DensityAtScale:
    partons = sorted({parton for group in states for state in group for parton in state})
    density = load(pdf).select(*partons)
    with double_precision():
        return density.at_scale(jnp.asarray(Q))


@lru_cache(maxsize=32)
def _compiled(
    process: Process, states: tuple[tuple[tuple[int, int], ...], ...], subset: str | None
) -> Callable:
    to_point = sampler(process)

    def one(
        u: Scalar,
        kick: tuple[Scalar, Scalar],
        noise: Scalar,
        p: Parameters,
        region: Region,
        density: DensityAtScale,
        by_class: Mapping[str, ByEta],
        met: MissingMomentum | None,
    ) -> tuple[Scalar, Scalar, tuple[FourVector, ...], tuple[FourVector, ...], Scalar, tuple[Scalar, Scalar]]:
        point = to_point(u, p, region)
        root = jnp.sqrt(point.s / p.sqrt_s**2)
        at = dict(zip(density.partons, range(len(density.partons)), strict=True))
        first = density.xf(root * jnp.exp(point.rapidity))
        second = density.xf(root * jnp.exp(-point.rapidity))
        squares = process.matrix_elements(point.legs, p, subset)
        total: Scalar = 0.0
        for square, group in zip(squares, states, strict=True):
            total = total + square * sum(first[at[a]] * second[at[b]] for a, b in group)
        # dx1 dx2 f f = (dŝ dY / s) (x1f)(x2f) s/ŝ; then the flux 1/2ŝ
        sigma = GEV_2_TO_PB * total * point.measure / (2 * point.s**2)
        sigma = jnp.where(point.measure > 0, sigma, 0.0)

        masses = {"lepton": 0.0, "bjet": p.MB}
        true, share = _recoiling(point.legs[2:], jnp.sqrt(point.s), point.rapidity, kick)
        legs = tuple(zip(true, process.classes, strict=True))
        measured = tuple(
            leg if name == "invisible" else _respond(leg, by_class[name], noise[i], masses[name])
            for i, (leg, name) in enumerate(legs)
        )
        seen = [leg for leg, name in zip(measured, process.classes, strict=True) if name != "invisible"]
        escaped = [leg for leg, name in legs if name == "invisible"]
        missing = sum(leg[1] for leg in escaped), sum(leg[2] for leg in escaped)
        if met is not None:
            activity = sum(jnp.hypot(leg[1], leg[2]) for leg in seen)
            missing = met.draw(missing, (noise[-2], noise[-1]), activity)
        return sigma, share, true, measured, point.s, missing

    return jax.jit(jax.vmap(one, in_axes=(1, 0, 1, None, None, None, None, None)))


def _recoiling(
    legs: Sequence[FourVector], mass: Scalar, rapidity: Scalar, kick: tuple[Scalar, Scalar]
) -> tuple[tuple[FourVector, ...], Scalar]:
    """Legs from their common rest frame to the laboratory, with total p_T = K; and E'/E.

    First along the beam to E' = m cosh Y, then across it with γ = E/E', γβ = K/E', which leaves p_z.
    """
    zero = jnp.zeros_like(mass)
    along = mass * jnp.cosh(rapidity), zero, zero, mass * jnp.sinh(rapidity)
    energy = along[0]
    boosted = jnp.sqrt(energy**2 + kick[0] ** 2 + kick[1] ** 2)
    across = boosted, kick[0], kick[1], zero
    moved = tuple(from_rest_frame(from_rest_frame(leg, along, mass), across, energy) for leg in legs)
    return moved, energy / boosted


def _respond(leg: FourVector, response: ByEta, u: Scalar, mass: Scalar) -> FourVector:
    """The measured momentum: another energy, the same direction and mass."""
    _, px, py, pz = leg
    length = jnp.sqrt(px**2 + py**2 + pz**2)
    eta = jnp.arcsinh(pz / jnp.hypot(px, py))
    energy = response.at(eta).draw(jnp.hypot(length, mass), u)
    stretch = jnp.sqrt(jnp.maximum(energy**2 - mass**2, 0.0)) / length
    return energy, px * stretch, py * stretch, pz * stretch


# --- what users ask for
# ------------------------------------------------------------------------------


@dataclass(frozen=True)
class CrossSection:
    """σ and σ_vis of a process, in pb, each with one standard deviation.

    - `value`: σ within the true masses `mass` (GeV), no cuts.
    - `visible`: σ_vis within the selection, with recoil, boost weight and responses. Without a selection
      it is the average boost weight times σ.
    - `efficiency`: `visible/value`.
    - `sampled`: the true masses that σ_vis comes from: `mass`, widened by what the responses can move into
      the selection's mass window.
    - `pair_mass`: the least true mass of a pair of equal flavour and opposite charge, in both.
    - `top_window`: both true tops are within so many widths of MT, in both; infinite without a window.
    - `points`: how many were drawn.
    """

    process: str
    value: float
    error: float
    visible: float
    visible_error: float
    mass: tuple[float, float]
    sampled: tuple[float, float]
    pair_mass: float
    top_window: float
    points: int

    @property
    def efficiency(self) -> float:
        return self.visible / self.value if self.value > 0 else float("nan")


def cross_section(
    process: str,
    selection: Selection | Mapping[str, Any] | None = None,
    precision: float = 2e-3,
    seed: int = 1,
    *,
    points: int | None = None,
    **hypothesis: Any,
) -> CrossSection:
    """σ = ∫ dx1 dx2 dΦ Σ f f |M|²/2ŝ, and σ_vis within cuts on measured quantities.

    **Arguments:**
    - `process`: a name of the menu.
    - `selection`: a `Selection` or a dict of cuts; None: none.
    - `precision`: the relative error to reach on both; `points`: or else how many points to draw.
    - `seed`: the same seed gives the same numbers.
    - `mass`: range of true invariant masses of all outgoing legs, GeV (by default 60 to 120 for two leptons,
      105 to 140 for four, and all there are where neutrinos escape); `pair_mass`: the least true mass of
      each pair of equal flavour and opposite charge (by default 4 GeV for four leptons); `top_window`: both
      tops have true masses within so many widths of MT (their far tails depend on the gauge).
    - `recoil`: median of the total p_T in GeV, a `Spectrum`, or a `Disc`.
    - `response`: per particle class as in the configuration, e.g. {"lepton": 0.05}; `r_lepton` likewise;
      without an entry `met`, missing pT is measured perfectly.
    - `pdf`, `Q`, `flavours`, `subset`, and the theory parameters, e.g. `MZ=91.0`.

    **Raises** `UsageError` for a wrong argument, `DeepMEMError` where no event passes, or the precision is
    out of reach.
    """
    if points is None and not (np.isfinite(precision) and precision > 0):
        raise UsageError(f"precision must be a relative error above 0, got {precision}")
    model = LeadingOrder(process, selection, **hypothesis)
    region = model.region(visible=True)
    sums, drawn = np.zeros(4), 0
    for batch in model.batches(np.random.default_rng(seed), region):
        inside = batch.sigma * ((batch.mass >= model.mass[0]) & (batch.mass <= model.mass[1]))
        seen = batch.weight * model.passes(batch)
        sums += inside.sum(), (inside**2).sum(), seen.sum(), (seen**2).sum()
        drawn += len(inside)
        value, error = _mean(sums[0], sums[1], drawn)
        visible, visible_error = _mean(sums[2], sums[3], drawn)
        if points is not None:
            if drawn >= points:
                break
        # an error estimated from a handful of points may be small by chance
        elif drawn >= 8 * BATCH and error <= precision * value and visible_error <= precision * visible:
            break
        elif drawn >= LARGEST_NUMBER_OF_POINTS:
            if visible == 0:
                raise DeepMEMError(
                    f"{process}: none of {drawn} events passed the selection {model.selection}"
                )
            raise DeepMEMError(
                f"{process}: after {drawn} points σ is known to {error / value:.1e} and σ_vis to "
                f"{visible_error / visible:.1e}: ask for less precision than {precision:g}, or a wider "
                "selection"
            )
    sampled = float(region.low), float(region.high)
    return CrossSection(
        process,
        value,
        error,
        visible,
        visible_error,
        model.mass,
        sampled,
        model.pair_mass,
        model.top_window,
        drawn,
    )


def _mean(total: float, squares: float, number: int) -> tuple[float, float]:
    mean = total / number
    return float(mean), float(np.sqrt(max(squares / number - mean**2, 0.0) / (number - 1)))


@dataclass(frozen=True)
class Events:
    """Leading-order events that passed a selection.

    - `columns`: measured quantities, under the default names of branches.
    - `true`: `[events, legs, 4]`, momenta before the response in the process's order of legs, GeV.
    - `measured`: the same after it; neutrinos as they are.
    - `weight`: 1, but for the rare event whose probability was above the largest foreseen one.
    - `visible`, `visible_error`: σ_vis in pb, from the points that were drawn.
    """

    process: str
    columns: dict[str, np.ndarray]
    true: np.ndarray
    measured: np.ndarray
    weight: np.ndarray
    visible: float
    visible_error: float

    def __len__(self) -> int:
        return len(self.weight)


_PILOT_BATCHES = 4
_OVERWEIGHT = 1e-3


def draw_events(
    process: str,
    events: int,
    seed: int = 1,
    selection: Selection | Mapping[str, Any] | None = None,
    **hypothesis: Any,
) -> Events:
    """Unweighted events with density dσ (E'/E) ρ(K) P(x|y) within the selection.

    A point is kept with probability w/w_max; w_max is such that weights above it make 1e-3 of σ_vis, and
    those events keep w/w_max as their weight: averages over events are to be weighted. Leptons and jets are
    in the order of `columns_of`.

    **Arguments:** `events`, how many; the rest as for `cross_section`.

    **Raises** as `cross_section` does.
    """
    if events < 1:
        raise UsageError(f"the number of events must be 1 or more, got {events}")
    model = LeadingOrder(process, selection, **hypothesis)
    rng = np.random.default_rng(seed)
    stream = _selected(model, rng)

    pilot = np.concatenate([next(stream)[1] for _ in range(_PILOT_BATCHES)])
    ceiling = _ceiling(pilot)
    found: list[tuple[np.ndarray, ...]] = []
    sums, drawn, kept = np.array([pilot.sum(), (pilot**2).sum()]), len(pilot), 0
    for batch, weight in stream:
        sums += weight.sum(), (weight**2).sum()
        drawn += len(weight)
        ceiling = ceiling or _ceiling(weight)
        if ceiling == 0 and drawn >= LARGEST_NUMBER_OF_POINTS:
            raise DeepMEMError(f"{process}: none of {drawn} events passed the selection {model.selection}")
        keep = np.flatnonzero(rng.random(len(weight)) * ceiling < weight)
        missing = np.zeros((len(keep), 2)) if batch.missing is None else batch.missing[keep]
        over = np.maximum(weight[keep] / (ceiling or 1.0), 1.0)
        found.append((batch.true[keep], batch.measured[keep], over, missing))
        kept += len(keep)
        if kept >= events:
            break
    true, measured, weight, missing = (np.concatenate(parts)[:events] for parts in zip(*found, strict=True))
    visible, error = _mean(sums[0], sums[1], drawn)
    columns = columns_of(measured, model.process.outgoing, missing if model.process.invisible else None)
    return Events(process, columns, true, measured, weight, visible, error)


def _selected(model: LeadingOrder, rng: np.random.Generator) -> Iterator[tuple[Drawn, np.ndarray]]:
    for batch in model.batches(rng, model.region(visible=True)):
        yield batch, batch.weight * model.passes(batch)


def _ceiling(weights: np.ndarray) -> float:
    """The w_max above which weights exceed it by 1e-3 of the total; 0 where all are 0."""
    falling = np.sort(weights)[::-1]
    excess = np.cumsum(falling) - falling * np.arange(1, len(falling) + 1)
    below = np.searchsorted(excess, _OVERWEIGHT * falling.sum(), side="right")
    return float(falling[max(below - 1, 0)])


def lepton_order(measured: np.ndarray, codes: Sequence[int]) -> np.ndarray:
    """Which leg is lep1, lep2, … of each event, `[events, leptons]`.

    Two leptons by falling pT. Four as the example data have them, ℓ⁻ ℓ⁺ ℓ'⁻ ℓ'⁺ with electrons before muons,
    so that a column always is of one kind; where two are alike, by falling pT.
    """
    legs = [i for i, code in enumerate(codes) if abs(code) in CHARGED_LEPTONS]
    pt = np.hypot(measured[:, legs, 1], measured[:, legs, 2])
    if len(legs) != 4:
        return np.array(legs)[np.argsort(-pt, axis=1, kind="stable")]
    order = np.empty((len(measured), 4), dtype=int)
    kinds = [codes[i] for i in legs]
    slots = [code for pair in (kinds[:2], kinds[2:]) for code in sorted(pair, reverse=True)]
    for code in set(kinds):
        alike = np.flatnonzero(np.array(kinds) == code)
        falling = alike[np.argsort(-pt[:, alike], axis=1, kind="stable")]
        for rank, slot in enumerate(k for k, wanted in enumerate(slots) if wanted == code):
            order[:, slot] = falling[:, rank]
    return np.array(legs)[order]


def jet_order(measured: np.ndarray, codes: Sequence[int]) -> np.ndarray:
    """Which leg is j1, j2, … of each event, `[events, jets]`: by falling pT."""
    legs = np.array(of_kind(codes, JETS), dtype=int)
    pt = np.hypot(measured[:, legs, 1], measured[:, legs, 2])
    return legs[np.argsort(-pt, axis=1, kind="stable")]


def columns_of(
    measured: np.ndarray, codes: Sequence[int], missing: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The default columns of measured events: leptons, jets by falling pT, each with its mass, missing pT.

    **Arguments:** as for `lepton_columns_of`; `missing` (p_x, p_y) `[events, 2]` in GeV, or None.
    """
    columns = lepton_columns_of(measured, codes)
    for index, leg in enumerate(jet_order(measured, codes).T):
        columns |= polar_mass(measured[np.arange(len(measured)), leg], f"j{index + 1}")
    if missing is not None:
        size, phi = (f(missing[:, 1], missing[:, 0]) for f in (np.hypot, np.arctan2))
        columns |= dict(zip(MISSING_COLUMNS, (size, phi), strict=True))
    return columns


def lepton_columns_of(measured: np.ndarray, codes: Sequence[int]) -> dict[str, np.ndarray]:
    """The default columns of measured leptons: PT, Eta, Phi, Charge, and with four leptons PDG.

    **Arguments:** `measured` `[events, legs, 4]` in GeV, `codes` of the legs. **Returns** float64, PDG int32.
    """
    order = lepton_order(measured, codes)
    columns: dict[str, np.ndarray] = {}
    for index in range(order.shape[1]):
        name, leg = f"lep{index + 1}", order[:, index]
        code = np.asarray(codes, dtype=np.int32)[leg]
        columns |= polar(measured[np.arange(len(measured)), leg], name)
        columns[f"{name}_Charge"] = np.where(code > 0, -1.0, 1.0)
        if order.shape[1] == 4:
            columns[f"{name}_PDG"] = code
    return columns


def polar(p: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """NAME_PT, NAME_Eta, NAME_Phi of momenta `[events, 4]`."""
    pt = np.hypot(p[:, 1], p[:, 2])
    return {
        f"{name}_PT": pt,
        f"{name}_Eta": np.arcsinh(p[:, 3] / pt),
        f"{name}_Phi": np.arctan2(p[:, 2], p[:, 1]),
    }


def polar_mass(p: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """The same, and NAME_M."""
    return polar(p, name) | {f"{name}_M": mass(p)}
