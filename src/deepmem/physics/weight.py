"""The weight of the Matrix Element Method: the formula, and its maps for particles that are seen.

    W(x|α) = ∫ Π_vis [ |p|² sinθ d|p| / (2E (2π)³) · T(E_rec|E) ] · (2π)⁴ (2/s) · Σ f_a f_b |M|² / (2 x₁x₂s)

    E' = √(E² − p_T²),  x₁,₂ = (E' ± p_z)/√s,   with (E, p_T, p_z) of all final-state particles together.

Directions are measured perfectly, T acts on energies. |M|² is evaluated in the frame in which the total p_T
is zero. W is a density in (E_rec, θ, φ) of each visible particle, in GeV^(−n), n the number of them
(MoMEMta's convention).

An integrand here is a function `f(shared, event, u)` for the integrator, written for one event and one point
of the unit cube. Three maps lead from u to energies:

- *flat*: each energy follows its own transfer function;
- *resonant*, for an s-channel resonance narrower than the responses (the Higgs boson's 6 MeV): s itself is an
  integration variable. With Q_ij = 1 − cosθ_ij, s = Σ_ij Q_ij E_i E_j is quadratic along any direction in
  energies, so one integrates Gaussian quantiles z orthogonal to n ∝ σ_i ∂s/∂E_i, and s:
  E = E_rec + σ (O z + a n), a the root of the quadratic, Jacobian Π σ_i / |∂s/∂a|;
- *tailed*, the same for responses that are no Gaussians, whose tails Gaussian quantiles would miss: all
  energies but the one that moves s most follow their own transfer functions, and that one comes from s, which
  is linear in it: E_k = (s − Σ_{i,j≠k} Q_ij E_i E_j) / ∂s/∂E_k.

In both of the latter, s is drawn from a mixture of the Breit-Wigner's map and a table made for each event
from the integrand along n, with the density of the mixture as weight: the peak, the measured mass and all
that lies between get the points that they are worth. z is centred on the measured energies: also far from
the resonance the integrand at a given s has its middle within 0.7 of z = 0 and a width of 0.5 to 1.1.

Where particles escape, `phasespace` has the maps, from u to all momenta; the integrand comes in two stages
then, so that |M|² and densities are evaluated for solutions alone. How each event is best integrated is found
on a few fixed points, see `phasespace.trials`; as `rough` they give a cheap weight by themselves.

What it cannot promise: with `MH = event` the propagator is dropped, and the number is a decay-angle
discriminant, no density. Only the resonances that a process names are mapped.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from deepmem import inputs
from deepmem.columns import Ranges
from deepmem.data.root import scan_name
from deepmem.data.table import as_table
from deepmem.errors import DeepMEMWarning, UsageError
from deepmem.event import Status, Weight, worst
from deepmem.inputs import Reason
from deepmem.kinematics import FourVector, add, boost, from_pt_eta_phi_mass
from deepmem.physics import integrator, pdf
from deepmem.physics.constants import Parameters, parameters
from deepmem.physics.detector.detector import ByEta, Detector
from deepmem.physics.detector.response import Response
from deepmem.physics.errors import ParameterError, unknown_name
from deepmem.physics.phasespace import trials
from deepmem.physics.phasespace.block import Step
from deepmem.physics.precision import double_precision, require_double
from deepmem.physics.processes import find_process
from deepmem.physics.processes.base import (
    DEFAULT_DENSITY,
    DEFAULT_FLAVOURS,
    MISSING_COLUMNS,
    MatrixElements,
    Process,
)
from deepmem.physics.settings import (
    check_names,
    check_widths,
    checked_detector,
    checked_flavours,
    checked_scale,
    warn_of_expansions,
)
from deepmem.physics.tables import even_table

# Gaussian quantiles are spread by this much, and more where energies have to rise, see `_prepared`.
_STRETCH = 1.1
# Gauss-Legendre rules converge badly on quantiles of the response itself, whose derivative is singular at
# both ends; on those of a Gaussian twice as wide 12 x 12 points give 1e-5.
_QUADRATURE_STRETCH = 2.0
# Evaluations before a lattice may stop: the maps leave integrands without hidden peaks, but for the tailed
# one, in which an event far from the resonance has few points that count.
_MINIMUM = 1 << 10
_TAILED_MINIMUM = 1 << 13
_NEUTRINO_MINIMUM = 1 << 13
_GUIDED_MINIMUM = 1 << 11
# With s from its table no point counts for more than about 4 mean values: nothing like twice the largest
# contribution is left unseen. More shifts have shorter Student's tails. Pulls of WW are 0.92 to 0.98 wide so.
_TABULATED: dict[str, Any] = {"allowance": 1.0, "shifts": 32}
# Evaluations per event at most.
_NEUTRINO_CALLS = 1 << 22
# Of a rough weight: between what relative variances are believed, and how far logarithms of ratios go.
_LEAST_VARIANCE, _LARGEST_VARIANCE, _DECADES = 0.05, 1e6, 3.0
# Nodes of the density from which s is drawn off the resonance; what part of it follows the responses alone,
# and what part is uniform; the least share of points on the resonance and off it.
_NODES = 64
_RESPONSES_ALONE, _UNIFORM = 0.1, 0.02
_LEAST_SHARE = 0.05
# Reconstructed s beyond which nothing is integrated, in standard deviations: four energies at 5 σ each make
# 10.
_WINDOW = 10.0
# Events that are prepared in one compiled call: fewer where the integrand is tabulated.
_BATCH = 1 << 10
_RESONANT_BATCH = 1 << 7
# How many standard deviations of its measured mass wide a resonance must be for the rules for smooth
# integrands: at 0.8, weights are off by 2 % within a precision of 1 %.
_WIDE = 1.2
# And at least, where it has no map: at 0.05, errors of four leptons are a third too small, and worse below.
_NARROWEST = 0.1
# GeV; the least width of the Z in pp → Z → WW. At 1 GeV weights of soft pairs are up to 5 % low, at 0.1 GeV
# 30 %.
_NARROWEST_Z = 2.0
# The share of a weight that may come from below the density grid before the weight is called unknown.
_TOLERATED_BELOW_GRID = 1e-3
# And the share that may come from negative densities before it is no good weight.
_TOLERATED_NEGATIVE = 1e-3


@dataclass(frozen=True)
class Hypothesis:
    """What a weight is the weight of: a process, its parameters, density and responses.

    Make one with `hypothesis`. Fields of `parameters` may be arrays of one length: a scan, whose weights
    share points.
    """

    process: Process
    parameters: Parameters
    scan: tuple[tuple[str, tuple[float, ...]], ...]
    scale: float
    density_name: str
    flavours: int
    subset: str | None
    detector: Detector
    mass_from_event: bool
    met: str = "event"
    """Missing pT from the event, or the `balance` of the visible partons."""
    frame: str = "pt0"
    """Where |M|² is evaluated: total pT = 0, or the `lab`oratory, with incoming partons boosted back."""
    b_mass: str = "mb"
    """The mass of the parton behind a b jet: that of the b quark, or of the `jet`."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its weights: the process, with the value where a parameter is scanned."""
        if not self.scan:
            return (self.process.name,)
        (name, values), *_ = self.scan
        return tuple(scan_name(self.process.name, name, value) for value in values)

    @property
    def dimensions(self) -> int:
        """Of the integral: a perfectly measured particle needs none."""
        energies = self.detector.dimensions(self.process.visible_classes)
        block = self.process.block
        return energies + (0 if block is None else block.hidden) + (0 if self.detector.missing is None else 2)

    @property
    def resonant(self) -> bool:
        """Whether s is an integration variable; that takes responses for every particle."""
        full = self.dimensions == len(self.process.outgoing)
        plain = self.process.block is None and not self.mass_from_event
        return self.process.resonance is not None and full and plain

    @property
    def by_angle(self) -> bool:
        """Whether neutrinos come from the map by angle: missing pT is given, and energies are free."""
        block = self.process.block
        wide = self.detector.dimensions(self.process.visible_classes) == len(self.process.visible)
        return block is not None and bool(block.by_angle) and self.met == "event" and wide

    @property
    def smooth(self) -> bool:
        """Whether a product quadrature does: few dimensions, smooth responses, no resonance."""
        return 1 <= self.dimensions <= 2 and self.detector.gaussian and not self.resonant

    @property
    def unit(self) -> str:
        """GeV^(−n), n the measured energies, and the two components of missing pT where neutrinos escape.

        With `MH=event` the propagator's GeV⁻⁴ is taken out.
        """
        power = len(self.process.visible) + 2 * self.process.invisible - 4 * self.mass_from_event
        return f"GeV^{-power}"

    def to_dict(self) -> dict[str, Any]:
        """Everything that the weight depends on, by content and as JSON: provenance, and keys of kept work.

        **Raises** `UsageError` where the density is not found.
        """
        values = {name: value for name, value in self.parameters._asdict().items() if value is not None}
        responses = self.detector.to_dict()
        missing = {"missing": responses.pop("met")} if "met" in responses else {}
        return {
            "process": self.process.name,
            **({} if self.process.code is None else {"code": self.process.code}),
            "subset": self.subset,
            "parameters": {name: np.asarray(value).tolist() for name, value in values.items()},
            "MH_from_event": self.mass_from_event,
            "Q": self.scale,
            "pdf": self.density_name,
            "pdf_sha256": pdf.current(self.density_name).sha256,
            "flavours": self.flavours,
            "responses": responses,
            **{name: getattr(self, name) for name in self.process.choices},
            **missing,
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any], response: Mapping[str, Any] | None = None) -> Hypothesis:
        """The hypothesis that `to_dict` was of; `response`, of a configuration, in place of its own.

        **Raises** `UsageError` where the process is not on the menu, the density is not the one it was, or a
        response is a function of a user's (a file must not decide which code runs).
        """
        process = find_process(entry["process"])
        known = ("sqrt_s", *process.parameters)
        settings = {name: value for name, value in entry["parameters"].items() if name in known}
        settings |= {name: entry[name] for name in ("Q", "flavours", *process.choices) if name in entry}
        if entry["MH_from_event"]:
            settings["MH"] = "event"
        if response is None:
            response = entry["responses"] | ({"met": entry["missing"]} if "missing" in entry else {})
            if any("function" in region for each in response.values() for region in _regions(each)):
                raise UsageError(
                    f"{process.name} has a response that is a function: give the configuration that names it"
                )
        made = hypothesis(
            process.name, subset=entry["subset"], pdf=entry["pdf"], response=response, **settings
        )
        if made.to_dict()["pdf_sha256"] != entry["pdf_sha256"]:
            raise UsageError(f"the density {made.density_name} found here has other values than the one used")
        return made

    def describe(self) -> dict[str, Any]:
        """`to_dict` with the unit of the weight: what a file says of it."""
        return self.to_dict() | {"unit": self.unit}


def _regions(entry: Any) -> Sequence[Mapping[str, Any]]:
    """The regions of |η| of a response as `ByEta.to_dict` writes it."""
    if isinstance(entry, str):
        raise UsageError("the responses were written by an earlier version, which did not say all of them")
    return entry if isinstance(entry, list) else [entry]


def hypothesis(
    process: str,
    *,
    subset: str | None = None,
    pdf: str = DEFAULT_DENSITY,
    response: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Hypothesis:
    """A process with its parameters, names and values checked.

    **Arguments:** `process`, a name of the menu; `pdf`, the name of a set or the path of a grid; `response`,
    transfer functions by particle class as in a configuration (default: Gaussian with `r_lepton`);
    `settings`: theory parameters, `Q` (GeV), `flavours` (4 or 5), `r_lepton`. One theory parameter may be a
    sequence of values, a scan: all its weights have one Q, the default one if it is not given. `MH="event"`
    takes the Higgs boson's mass from the event and drops its propagator.

    **Raises** `UsageError` for an unknown name (with the nearest known one) or a value that makes no sense.
    """
    chosen = find_process(process)
    if subset is not None and subset not in chosen.subsets:
        raise unknown_name("subset", subset, chosen.subsets)
    check_names(chosen, settings, chosen.choices)
    flavours = checked_flavours(settings.pop("flavours", DEFAULT_FLAVOURS))
    words = {name: settings.pop(name, allowed[0]) for name, allowed in chosen.choices.items()}
    for name, word in words.items():
        if word not in chosen.choices[name]:
            raise ParameterError(f"{name} must be {' or '.join(chosen.choices[name])}, got {word!r}")
    detector = checked_detector(chosen, settings, response)
    if detector.missing is not None and words["met"] == "balance":
        raise ParameterError("met=balance takes no response of missing pT: leave one of the two out")
    scale = settings.pop("Q", None)
    mass_from_event = settings.get("MH") == "event"
    if mass_from_event:
        settings.pop("MH")
    scans = {name: _scan(name, v) for name, v in settings.items() if np.ndim(v) == 1}
    for name in scans.keys() & {"sqrt_s", "MB"} if chosen.invisible else scans.keys() & {"sqrt_s"}:
        raise ParameterError(f"{name} changes the phase space and can't be scanned: compute value by value")
    if len(scans) > 1:
        raise ParameterError(f"one parameter can be scanned at a time, got {', '.join(scans)}")
    plain = parameters(**{name: v for name, v in settings.items() if name not in scans})
    for name, values in scans.items():
        if not values or len(set(values)) != len(values):
            raise ParameterError(
                f"the values of {name} to scan must be different and at least one, got {values}"
            )
        for value in values:
            parameters(**{**settings, name: value})  # each one checked by itself
        plain = plain._replace(**{name: np.array(values)})
    scanned_scale = scale is None and chosen.scale in scans
    scale = checked_scale(chosen, Parameters() if scanned_scale else plain, scale)
    alpha = Hypothesis(
        chosen,
        plain,
        tuple(scans.items()),
        scale,
        str(pdf),
        flavours,
        subset,
        detector,
        mass_from_event,
        **words,
    )
    refuse_nonsense(alpha)
    return alpha


def _scan(name: str, values: Sequence[Any]) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise ParameterError(f"the values of {name} to scan must be numbers, got {list(values)}") from None


_at_scale = jax.jit(pdf.PartonDensity.at_scale)  # one call to compile in place of forty


def density_of(alpha: Hypothesis) -> pdf.PartonDensity:
    """The density of the partons that a hypothesis needs, as its file is now.

    **Raises** `UsageError` where there is none, or it lacks one of them.
    """
    partons = sorted({parton for state in _states(alpha) for parton in state})
    return pdf.current(alpha.density_name).select(*partons)


def negative_densities(alpha: Hypothesis) -> bool:
    """Whether a density is negative somewhere at the scale of a hypothesis."""
    return density_of(alpha).negative_at(alpha.scale)


def shared_by_events(alpha: Hypothesis) -> dict[str, Any]:
    """What all events have in common: parameters `[scan]`, the density at its scale, responses, resonance."""
    count = len(alpha.names)
    with double_precision():
        p = jax.tree.map(lambda v: jnp.broadcast_to(jnp.asarray(v, dtype=float), (count,)), alpha.parameters)
        chosen = density_of(alpha)
        if (text := chosen.outside(alpha.scale)) is not None:
            warnings.warn(text, DeepMEMWarning, stacklevel=2)
        density = _at_scale(chosen, np.asarray(alpha.scale))
        shared = {"parameters": p, "density": density, "responses": alpha.detector.by_class}
        if (names := mapped_resonance(alpha)) is not None:
            mass, width = names
            shared["resonance"] = (getattr(p, mass), getattr(p, width))
        if alpha.process.block is not None:
            shared["met"] = alpha.detector.missing
    return shared


def _states(alpha: Hypothesis) -> list[tuple[int, int]]:
    allowed = alpha.flavours
    return [
        s
        for s in alpha.process.initial_states
        if all(abs(parton) in (21, *range(1, allowed + 1)) for parton in s)
    ]


class _Settings(NamedTuple):
    """What code is compiled for: of a hypothesis, what is no number."""

    process: Process
    flavours: int
    subset: str | None

    @classmethod
    def of(cls, alpha: Hypothesis) -> _Settings:
        return cls(alpha.process, alpha.flavours, alpha.subset)


def mapped_resonance(alpha: Hypothesis) -> tuple[str, str] | None:
    """Mass and width of the resonance in s whose map is used: one that is narrower than the responses."""
    process = alpha.process
    if alpha.resonant:
        return process.resonance
    if process.wide_resonance is None or alpha.dimensions != len(process.outgoing):
        return None
    return process.wide_resonance if _narrowness(alpha, *process.wide_resonance) < _WIDE else None


def _narrowness(alpha: Hypothesis, mass: str, width: str) -> float:
    """The least width of a resonance, in standard deviations of its mass measured from two leptons."""
    m, gamma = (np.ravel(getattr(alpha.parameters, name)) for name in (mass, width))
    with double_precision(), jax.ensure_compile_time_eval():
        worst_known = max(
            float(np.max(np.asarray(r.scale(m / 2)) / (m / 2))) for r in alpha.detector.responses
        )
    return float(np.min(gamma / m)) * np.sqrt(2) / worst_known if worst_known > 0 else np.inf


def _refuse_unresolved(alpha: Hypothesis) -> None:
    """**Raises** `ParameterError` where a resonance is too narrow for the points that are to find it."""
    process = alpha.process
    if process.invisible:
        if "WZ" in process.parameters and (narrowest := np.min(alpha.parameters.WZ)) < _NARROWEST_Z:
            raise ParameterError(
                f"WZ = {narrowest:g} GeV is too narrow for {process.name}, {_NARROWEST_Z:g} GeV at least: a "
                "Z that decays to both Ws has no map, and points of the neutrinos' momenta miss a narrow one"
            )
        return
    mapped = mapped_resonance(alpha)
    for mass, width in (("MZ", "WZ"), ("MT", "WT"), ("MH", "WH")):
        there = {mass, width} <= {*process.parameters} and (mass, width) != mapped
        dropped = alpha.mass_from_event and mass == "MH"
        if not there or dropped or not alpha.dimensions:
            continue
        narrow, narrowest = _narrowness(alpha, mass, width), np.min(getattr(alpha.parameters, width))
        if narrow < _NARROWEST:
            raise ParameterError(
                f"{width} = {narrowest:g} GeV is too narrow for {process.name} with these responses, "
                f"{narrowest * _NARROWEST / narrow:.2g} GeV at least: points that follow responses miss a "
                "resonance that is much narrower than they are; widen it, or measure perfectly (r_lepton=0)"
            )


def refuse_nonsense(alpha: Hypothesis) -> None:
    """**Raises** `ParameterError` for values that are allowed by themselves and give no or wrong weights."""
    process = alpha.process
    if alpha.mass_from_event and (process.invisible or (process.resonance or ("",))[0] != "MH"):
        raise ParameterError(
            f"MH=event has no meaning for {process.name}: m_H is measured where all of a Higgs boson's decay "
            "is seen, as by higgs_4l; give MH a number"
        )
    check_widths(process, alpha.parameters)
    warn_of_expansions(process, alpha.parameters)
    _refuse_unresolved(alpha)
    for (name, values), *_ in [alpha.scan] if alpha.scan else []:
        called: dict[str, float] = {}
        for label, value in zip(alpha.names, values, strict=True):
            if label in called:
                raise ParameterError(
                    f"the weights at {name} = {called[label]!r} and {value!r} would both be called {label}: "
                    "scan values that differ in six digits"
                )
            called[label] = value


def integrand(alpha: Hypothesis, neutrinos: bool = False) -> integrator.Integrand:
    """f(shared, event, u) ↦ weights' integrands `[scan]`, then the parts of them below the grid `[scan]`.

    Where densities are negative somewhere, then the parts that come from there `[scan]`. `shared` comes from
    `shared_by_events`, `event` from `prepared`.
    """
    signed = negative_densities(alpha)
    if alpha.process.block is not None:
        block = alpha.process.block
        if alpha.by_angle:
            to_momenta = block.by_angle
        else:
            to_momenta = block.by_balance if alpha.met == "balance" else block.by_energies
        return _with_neutrinos(
            alpha.process, alpha.flavours, alpha.subset, alpha.frame, to_momenta, neutrinos, signed
        )
    if mapped_resonance(alpha) is not None:
        point: _Map = _resonant_energies if alpha.detector.gaussian else _tailed_energies
    else:
        point = _stretched_energies if alpha.smooth else _flat_energies
    return _integrand(alpha.process, alpha.flavours, alpha.subset, alpha.mass_from_event, point, signed)


_Map: TypeAlias = Callable[
    [Process, dict[str, Any], dict[str, Any], jax.Array], tuple[Sequence[jax.Array], Any]
]
"""(process, shared, event, u) ↦ energies of the legs, and Π T times the Jacobian."""


@cache
def _integrand(
    process: Process,
    flavours: int,
    subset: str | None,
    mass_from_event: bool,
    point: _Map,
    signed: bool = False,
) -> integrator.Integrand:
    def f(shared: dict[str, Any], event: dict[str, Any], u: jax.Array) -> tuple[jax.Array, ...]:
        require_double("the integrand of a weight")
        energies, density = point(process, shared, event, u)
        momenta = []
        for i, energy in enumerate(energies):
            sine, x, y, z = (event[key][i] for key in ("sine", "x", "y", "z"))
            momenta.append((energy, energy * x, energy * y, energy * z))
            # |p|² sinθ d|p|/(2E(2π)³) of a massless particle is E sinθ dE/(2(2π)³)
            density = density * energy * sine / (2 * (2 * jnp.pi) ** 3)
        values, below, *negative = _partonic(
            process, flavours, subset, mass_from_event, shared, momenta, signed=signed
        )
        values, *negative = (jnp.where(density > 0, part * density, 0.0) for part in (values, *negative))
        return values, jnp.where(below, values, 0.0), *negative

    return f


@cache
def _with_neutrinos(
    process: Process,
    flavours: int,
    subset: str | None,
    frame: str,
    to_momenta: tuple[Step, ...],
    neutrinos: bool = False,
    signed: bool = False,
) -> integrator.Staged:
    """The same where particles escape: |M|² and densities only at points that have a solution.

    With `neutrinos`, a last part: the values times (px, py, pz) of each escaping leg, `[legs · 3 · scan]`.
    """
    *steps, last = to_momenta
    escaping = [i for i, kind in enumerate(process.classes) if kind == "invisible"]

    def proposed(
        shared: dict[str, Any], event: dict[str, Any], u: jax.Array, known: Any
    ) -> tuple[Any, jax.Array]:
        require_double("the integrand of a weight")
        legs, density = last(shared, event, u, known)
        total = add(*legs)
        # not where a fraction of momentum, as in `_partonic`, were above 1
        energy = jnp.sqrt(total[0] ** 2 - total[1] ** 2 - total[2] ** 2)
        possible = energy + jnp.abs(total[3]) < shared["parameters"].sqrt_s[0]
        return (legs, density), (density > 0) & possible

    def complete(shared: dict[str, Any], parcel: tuple[Sequence[FourVector], Any]) -> tuple[jax.Array, ...]:
        legs, density = parcel
        values, below, *negative = _partonic(process, flavours, subset, False, shared, legs, frame, signed)
        values, *negative = (part * density for part in (values, *negative))
        parts: tuple[jax.Array, ...] = (values, jnp.where(below, values, 0.0), *negative)
        if neutrinos:
            parts += (jnp.concatenate([values * legs[i][axis] for i in escaping for axis in (1, 2, 3)]),)
        return parts

    return integrator.Staged((*steps, proposed), complete)


def _partonic(
    process: Process,
    flavours: int,
    subset: str | None,
    mass_from_event: bool,
    shared: dict[str, Any],
    momenta: Sequence[FourVector],
    frame: str = "pt0",
    signed: bool = False,
) -> tuple[jax.Array, ...]:
    """(2π)⁴ (2/s) Σ f f |M|²/(2 x₁x₂s), per set of parameters, and whether an x lies below the grid.

    With `signed`, also the size of what comes from negative densities.
    """
    sqrt_s = shared["parameters"].sqrt_s[0]
    s = sqrt_s**2
    total = add(*momenta)
    energy = jnp.sqrt(total[0] ** 2 - total[1] ** 2 - total[2] ** 2)
    x1, x2 = (energy + total[3]) / sqrt_s, (energy - total[3]) / sqrt_s
    beta = (-total[1] / total[0], -total[2] / total[0], 0.0)
    first, second = x1 * sqrt_s / 2, x2 * sqrt_s / 2
    zero = jnp.zeros_like(first)
    legs = [(first, zero, zero, first), (second, zero, zero, -second)]
    if frame == "lab":
        back = (total[1] / total[0], total[2] / total[0], 0.0)
        legs = [*(boost(p, back) for p in legs), *momenta]
    else:
        legs += [boost(p, beta) for p in momenta]

    density: pdf.DensityAtScale = shared["density"]
    f1, f2 = density.xf(x1), density.xf(x2)
    place = {parton: i for i, parton in enumerate(density.partons)}

    def one(p: Parameters) -> tuple[jax.Array, ...]:
        factor = jnp.ones_like(first)
        if mass_from_event:
            # m_H := m4l at this point, and |s − m² + i m Γ|² = (m Γ)² taken out: no propagator is left
            mass, width = process.resonance or ("MH", "WH")
            m = jnp.sqrt(x1 * x2) * sqrt_s
            p = p._replace(**{mass: m})
            factor = (m * getattr(p, width)) ** 2
        squared = _traced_once(process.matrix_elements)(legs, p, subset)
        result = negative = zero
        for states, m2 in zip(process.channels, squared, strict=True):
            partons = [(a, b) for a, b in states if all(abs(q) == 21 or abs(q) <= flavours for q in (a, b))]
            if partons:
                pairs = [(f1[place[a]], f2[place[b]]) for a, b in partons]
                result = result + sum(f * g for f, g in pairs) * m2
                if signed:
                    negative += sum(jnp.where(jnp.minimum(f, g) < 0, abs(f * g), 0.0) for f, g in pairs) * m2
        return (factor * result, factor * negative) if signed else (factor * result,)

    # x f(x) was read, so x₁x₂ is divided out once more
    flux = (2 * jnp.pi) ** 4 * (2 / s) / (2 * x1 * x2 * s) / (x1 * x2)
    values, *negative = jax.vmap(one)(shared["parameters"])
    return flux * values, density.below(x1) | density.below(x2), *(flux * part for part in negative)


@cache
def _traced_once(matrix_elements: MatrixElements) -> MatrixElements:
    """|M|² as a function of its own: a table of s and the integrand share one trace, half a second each."""
    return jax.jit(matrix_elements, static_argnums=2)


def _flat_energies(
    process: Process, shared: dict[str, Any], event: dict[str, Any], u: jax.Array, stretch: float = 1.0
) -> tuple[list[jax.Array], Any]:
    """Energies that follow their own transfer functions, and Π T dE/du."""
    energies, density, used = [], jnp.asarray(1.0), 0
    for i, kind in enumerate(process.classes):
        by_eta: ByEta = shared["responses"][kind]
        response = by_eta.at(event["eta"][i])
        # a perfect measurement takes no random number
        at = u[used] if by_eta.dimensions else jnp.asarray(0.5)
        used += by_eta.dimensions
        energy, weight = response.flatten(at, event["energy"][i], stretch=stretch)
        energies.append(energy)
        density = density * weight
    return energies, density


_stretched_energies = partial(_flat_energies, stretch=_QUADRATURE_STRETCH)


def _resonant_energies(
    process: Process, shared: dict[str, Any], event: dict[str, Any], u: jax.Array
) -> tuple[list[jax.Array], Any]:
    """Energies from z orthogonal to ∂s/∂E, and s; Π T times the Jacobian. See the module's first lines.

    In scalars, and with what depends on the event alone done before: a third of the time of matrix products.
    """
    n = len(process.classes)
    rec, along, q = event["energy"], event["along"], event["q"]
    s, proposal, valid = _draw_s(u[n - 1], shared["resonance"], event)
    stretch = _STRETCH + event["widening"] * jnp.maximum(s - event["s"], 0.0)
    z = [stretch * ndtri(u[j]) for j in range(n - 1)]
    base = [rec[i] + sum(event["basis"][i, j] * z[j] for j in range(n - 1)) for i in range(n)]
    a2 = event["along_square"]
    half = sum(event["gradient_along"][i] * base[i] for i in range(n)) / 2
    a0 = 2 * sum(q[i, j] * base[i] * base[j] for i, j in combinations(range(n), 2))
    discriminant = half**2 - a2 * (a0 - s)
    root = jnp.sqrt(jnp.maximum(discriminant, 1e-300))
    a = (s - a0) / (half + root)
    valid &= discriminant > 0

    energies, density = [], jnp.asarray(1.0)
    for i, kind in enumerate(process.classes):
        response = shared["responses"][kind].at(event["eta"][i])
        energy = base[i] + along[i] * a
        low, high = response.support(rec[i])
        valid &= (energy > low) & (energy < high)
        # where it is not valid any energies will do, if they are positive
        energies.append(jnp.where((energy > low) & (energy < high), energy, rec[i]))
        density = density * response.density(rec[i], energies[i])
    normal = jnp.exp(-sum(zj**2 for zj in z) / (2 * stretch**2)) / (np.sqrt(2 * np.pi) * stretch) ** (n - 1)
    jacobian = event["sigmas"] / (2 * root * proposal * normal)
    return energies, jnp.where(valid, density * jacobian, 0.0)


def _tailed_energies(
    process: Process, shared: dict[str, Any], event: dict[str, Any], u: jax.Array
) -> tuple[list[jax.Array], Any]:
    """All energies but one from their own responses, that one from s; Π T times the Jacobian."""
    n = len(process.classes)
    rec, q, solved = event["energy"], event["q"], event["solved"]
    s, proposal, valid = _draw_s(u[n - 1], shared["resonance"], event)
    responses = [shared["responses"][kind].at(event["eta"][i]) for i, kind in enumerate(process.classes)]
    energies, weights = [], []
    for i, response in enumerate(responses):
        at = jnp.where(i < solved, u[min(i, n - 2)], u[max(i - 1, 0)])
        energy, weight = response.flatten(at, rec[i])
        energies.append(jnp.where(solved == i, 0.0, energy))
        weights.append(weight)
    rest = 2 * sum(q[i, j] * energies[i] * energies[j] for i, j in combinations(range(n), 2))
    slope = 2 * sum(q[solved, j] * energies[j] for j in range(n))
    last = (s - rest) / slope

    density = 1 / (slope * proposal)
    for i, response in enumerate(responses):
        low, high = response.support(rec[i])
        inside = (last > low) & (last < high)
        valid &= (solved != i) | inside
        energies[i] = jnp.where(solved == i, jnp.where(inside, last, rec[i]), energies[i])
        density = density * jnp.where(solved == i, response.density(rec[i], energies[i]), weights[i])
    return energies, jnp.where(valid, density, 0.0)


def _draw_s(u: Any, resonance: tuple[Any, Any], event: dict[str, Any]) -> tuple[Any, Any, Any]:
    """s from a mixture of Breit-Wigner maps, one per mass of a scan, and the table of `_off_resonance`.

    **Returns** s, its density, and whether it lies inside the window.
    """
    mass, width = resonance
    low, high, share = (event[key] for key in ("s_low", "s_high", "share"))
    count = mass.shape[0]
    pole, m_gamma = mass**2, mass * width
    first, last = jnp.arctan((low - pole) / m_gamma), jnp.arctan((high - pole) / m_gamma)
    scaled = u / share * count
    which = jnp.clip(jnp.floor(scaled), 0, count - 1).astype(int)
    within = jnp.clip(scaled - which, 1e-12, 1 - 1e-12)
    angle = first[which] + within * (last[which] - first[which])
    from_resonance = pole[which] + m_gamma[which] * jnp.tan(angle)

    # the table is a density that is linear between nodes: of a cell, rest = h₀t + (h₁ − h₀)t²/2 lies below t
    heights, below = event["heights"], event["below"]
    cells = heights.shape[0] - 1
    step = (high - low) / cells
    area = jnp.clip((u - share) / (1 - share), 0.0, 1.0)
    k = jnp.clip((below <= area).sum() - 1, 0, cells - 1)
    h0, h1 = heights[k], heights[k + 1]
    rest = (area - below[k]) / step
    t = 2 * rest / (h0 + jnp.sqrt(jnp.maximum(h0**2 + 2 * (h1 - h0) * rest, 0.0)))
    s = jnp.where(u < share, from_resonance, low + step * (k + jnp.clip(t, 0.0, 1.0)))
    at = jnp.clip((s - low) / step, 0.0, cells)
    k = jnp.clip(jnp.floor(at), 0, cells - 1).astype(int)
    off_resonance = heights[k] + (at - k) * (heights[k + 1] - heights[k])
    breit_wigner = m_gamma / ((s - pole) ** 2 + m_gamma**2) / (last - first)
    density = share * breit_wigner.mean() + (1 - share) * off_resonance
    return s, density, (s > low) & (s < high)


def visible(alpha: Hypothesis, events: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What `examined` says, and which events can be computed."""
    legs, reason = examined(alpha, events)
    return legs, reason == Reason.NONE


def examined(alpha: Hypothesis, events: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`energy`, `eta`, `phi`, `mass` of visible particles `[events, legs]`, and why an event has no weight.

    Legs are in the order of the process. Leptons are told apart by charge, and by flavour where the process
    says so, not by order; of several that fit a leg, the first in the file is taken. An event that lacks one,
    or with a value that makes no sense, can't be computed: its weight has status 3, and the reason is an
    `inputs.Reason`, int32 `[events]`. `mass` is that of the parton, 0 for a lepton; a jet's own serves to get
    its energy from its pT. Where particles escape, `missing` (x, y) is there too, and `activity`, the scalar
    sum of pT that its response may depend on, and `broad`, the share of masses that are drawn off their
    resonances, and an even `table`. The first jet is the b quark's.

    **Raises** `UsageError` where a column is missing.
    """
    process = alpha.process
    table = as_table(events, process.columns)
    at = {name: table[:, i] for i, name in enumerate(process.columns)}
    balanced = alpha.met == "balance"
    bad = inputs.implausible(at, ignored=MISSING_COLUMNS if balanced else ())
    legs, bad[Reason.LACKING] = _legs(alpha, at, len(table))
    with np.errstate(over="ignore", invalid="ignore"):
        legs["energy"] = np.hypot(legs["pt"] * np.cosh(legs["eta"]), legs.pop("own mass"))
    bad[Reason.OVERFLOW] = ~np.isfinite(legs["energy"]).all(axis=1)
    covered = alpha.detector.covers(process.visible_classes, legs["eta"], legs["energy"])
    bad[Reason.NO_RESPONSE] = ~np.all(covered, axis=1)
    pt = legs.pop("pt")
    count, block = len(table), process.block
    if block is None:
        legs.pop("mass")
    else:
        size, phi = (np.zeros(count) if balanced else at[name] for name in MISSING_COLUMNS)
        legs["missing"] = np.stack([size * np.cos(phi), size * np.sin(phi)], axis=1)
        legs["activity"] = pt.sum(axis=1)
        legs["broad"] = np.full(count, block.broad)
        if block.shares:
            legs["shares"] = np.tile(block.shares, (count, 1))
        if block.guided:
            legs["table"] = np.tile(even_table(*trials.CELLS), (count, 1, 1))
    return legs, inputs.first(bad, count)


def measured(alpha: Hypothesis, events: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """What was measured of the visible legs, in the process's order, for cuts: (E, px, py, pz) in GeV.

    **Arguments:** `events` as for `compute`. **Returns** `[events, legs, 4]`, NaN where an event can't be
    computed, and the missing (p_x, p_y) `[events, 2]`; None where nothing escapes.
    """
    table = as_table(events, alpha.process.columns)
    at = {name: table[:, i] for i, name in enumerate(alpha.process.columns)}
    legs, _ = _legs(alpha, at, len(table))
    with double_precision(), np.errstate(over="ignore", invalid="ignore"):
        parts = from_pt_eta_phi_mass(*(legs[key] for key in ("pt", "eta", "phi", "own mass")))
    momenta = np.stack([np.asarray(part) for part in parts], axis=-1)
    momenta[examined(alpha, events)[1] != Reason.NONE] = np.nan
    if not alpha.process.invisible:
        return momenta, None
    size, phi = (at[name] for name in MISSING_COLUMNS)
    return momenta, np.stack([size * np.cos(phi), size * np.sin(phi)], axis=-1)


def _legs(
    alpha: Hypothesis, at: Mapping[str, np.ndarray], count: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns by leg, `[events, legs]`, and which events lack a lepton of the charge or flavour of one."""
    process = alpha.process
    names = [f"lep{i}" for i in range(1, process.classes.count("lepton") + 1)]
    charge = np.stack([at[f"{name}_Charge"] for name in names], axis=1)
    code = np.stack([at[f"{name}_PDG"] for name in names], axis=1) if "lep1_PDG" in at else None
    taken, rows, jets = np.zeros((count, len(names)), dtype=bool), np.arange(count), 0
    lacking = np.zeros(count, dtype=bool)
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("pt", "eta", "phi", "own mass", "mass")}
    for pdg_code, kind in zip(process.visible, process.visible_classes, strict=True):
        if kind == "lepton":
            fits = np.sign(charge) == -np.sign(pdg_code)
            if code is not None:
                fits &= np.abs(code) == abs(pdg_code)
            free = fits & ~taken
            lacking |= ~free.any(axis=1)
            chosen, candidates = free.argmax(axis=1), names
            taken[rows, chosen] = True
            own = mass = np.zeros(count)
        else:
            jets += 1
            candidates, chosen = [f"j{jets}"], np.zeros(count, dtype=int)
            own = np.abs(at[f"j{jets}_M"])  # one below 0 by rounding is that of a massless jet
            mass = own if alpha.b_mass == "jet" else np.full(count, float(np.ravel(alpha.parameters.MB)[0]))
        for key, suffix in (("pt", "PT"), ("eta", "Eta"), ("phi", "Phi")):
            columns = np.stack([at[f"{name}_{suffix}"] for name in candidates], axis=1)
            found[key].append(columns[rows, chosen])
        found["own mass"].append(own)
        found["mass"].append(mass)
    return {key: np.stack(values, axis=1) for key, values in found.items()}, lacking


def prepared(alpha: Hypothesis, energy: jax.Array, eta: jax.Array, phi: jax.Array) -> dict[str, jax.Array]:
    """What the integrand wants to know of one event: everything that does not depend on the point.

    **Arguments:** `energy` (reconstructed, GeV), `eta`, `phi` of the visible legs `[legs]`, in the order of
    the process (see `visible`). Pure JAX, in double precision.
    """
    require_double("the preparation of an event")
    return _prepared(_Settings.of(alpha), shared_by_events(alpha), energy, eta, phi)


def _prepared(
    alpha: _Settings, shared: dict[str, Any], energy: jax.Array, eta: jax.Array, phi: jax.Array
) -> dict[str, jax.Array]:
    sine = 1 / jnp.cosh(eta)
    event = {"energy": energy, "eta": eta, "phi": phi, "sine": sine}
    event |= {"x": sine * jnp.cos(phi), "y": sine * jnp.sin(phi), "z": jnp.tanh(eta)}
    if "resonance" not in shared:
        return event
    n = len(alpha.process.classes)
    responses = [shared["responses"][kind].at(eta[i]) for i, kind in enumerate(alpha.process.classes)]
    sigma = jnp.stack([response.scale(energy[i]) for i, response in enumerate(responses)])
    # 1 − cosθ_ij without the cancellation between nearly collinear leptons
    difference = 2 * (jnp.sinh((eta[:, None] - eta) / 2) ** 2 + jnp.sin((phi[:, None] - phi) / 2) ** 2)
    q = difference * sine[:, None] * sine
    gradient = 2 * (q * energy).sum(axis=1)
    norm_along = jnp.sqrt(((sigma * gradient) ** 2).sum())
    normal = sigma * gradient / norm_along
    # Householder: the first n−1 columns of 1 − 2vvᵀ/v² span what is orthogonal to the normal; all are ≥ 0
    v = normal + jnp.eye(n)[-1]
    basis = (jnp.eye(n) - 2 * v[:, None] * v / (v * v).sum())[:, :-1]
    along = sigma * normal
    gradient_along = 2 * (q * along).sum(axis=1)
    s = (energy * gradient).sum() / 2
    event |= {
        "q": q,
        "basis": sigma[:, None] * basis,
        "along": along,
        "gradient_along": gradient_along,
        "along_square": (along * gradient_along).sum() / 2,
        # Where an energy has to rise by zσ, −log T = ½z²/(1 + rz)² for σ = rE is flatter than ½z², by
        # (1 − 2rz)/(1 + rz)⁴, and its Gaussian 1 + 3rz times as wide. Found was less than 1 + 2rz.
        "widening": _STRETCH * 2 * jnp.max(normal * sigma / energy) / norm_along,
        "sigmas": jnp.prod(sigma),
        "solved": jnp.argmax(normal),
        "s": s,
        "s_low": jnp.maximum(s - _WINDOW * norm_along, 1e-6 * s),
        "s_high": s + _WINDOW * norm_along,
    }
    return event | _off_resonance(alpha, shared, event, responses, gradient, sigma)


def _off_resonance(
    alpha: _Settings,
    shared: dict[str, Any],
    event: dict[str, jax.Array],
    responses: Sequence[Response],
    gradient: jax.Array,
    sigma: jax.Array,
) -> dict[str, jax.Array]:
    """The density of s off the resonance: L(s) BW(s) less what points on the resonance account for.

    L(s) BW(s) is the integrand where the normal through the measured energies meets s (with the Π T of one
    energy that moves alone where that is larger: tails). An event measured several σ from the resonance has
    most of its weight neither on it nor at the measured s, but in between, where BW ∝ 1/(s − m²)² has risen
    and L not fallen yet, or where a pair of leptons reaches the mass of the Z. Points on the resonance follow
    BW, and account for L(m²) BW; what is left, (L − L(m²)) BW, is tabulated.

    **Returns** `heights`, the density at equidistant nodes from `s_low` to `s_high`; `below`, its integral
    up to each node; `share`, the part of points that belongs on the resonance.
    """
    energy, s, low, high = (event[key] for key in ("energy", "s", "s_low", "s_high"))
    directions = jnp.concatenate([event["along"][None], jnp.diag(sigma)])
    half = directions @ gradient / 2
    square = ((directions @ event["q"]) * directions).sum(axis=1)

    mass, width = shared["resonance"]
    pole, m_gamma = (mass**2)[:, None], (mass * width)[:, None]

    def along_normal(at: jax.Array) -> jax.Array:
        root = jnp.sqrt(jnp.maximum(half**2 + square * (at - s), 0.0))
        there = jnp.maximum(energy + ((at - s) / (half + root))[:, None] * directions, 1e-3 * energy)
        ratios = [
            response.density(energy[i], there[:, i]) / response.density(energy[i], energy[i])
            for i, response in enumerate(responses)
        ]
        e = there[0]
        x, y, z = (event[axis] for axis in ("x", "y", "z"))
        legs = [(e[i], e[i] * x[i], e[i] * y[i], e[i] * z[i]) for i in range(len(responses))]
        values, *_ = _partonic(alpha.process, alpha.flavours, alpha.subset, False, shared, legs)
        values = values * jnp.prod(e / energy) * jnp.prod(jnp.stack(ratios), axis=0).max()
        return jnp.nan_to_num(values * ((at - pole[:, 0]) ** 2 + m_gamma[:, 0] ** 2), nan=0.0, posinf=0.0)

    nodes = jnp.linspace(low, high, _NODES)
    step = nodes[1] - nodes[0]
    profile = jax.vmap(along_normal, out_axes=1)(jnp.concatenate([nodes, mass**2]))
    # what the table resolves by itself, a wide resonance, needs no points of its own
    on_pole = jnp.diag(profile[:, _NODES:])[:, None] / (1 + (m_gamma / step) ** 2)
    profile = profile[:, :_NODES]
    # the table is no finer than its step
    smooth = m_gamma / ((nodes - pole) ** 2 + jnp.maximum(m_gamma, step) ** 2)
    left = jnp.maximum(profile - on_pole, 0.0) * smooth
    breit_wigner = jnp.arctan((high - pole) / m_gamma) - jnp.arctan((low - pole) / m_gamma)
    resonant = (on_pole * breit_wigner)[:, 0]
    total = resonant + step * left.sum(axis=1)
    share = jnp.clip(_over(resonant, total).mean(), _LEAST_SHARE, 1 - _LEAST_SHARE)
    heights = _over(left, total[:, None]).mean(axis=0)
    alone = _over(profile, profile.sum(axis=1)[:, None]).mean(axis=0)
    heights = heights + (_RESPONSES_ALONE * alone + _UNIFORM / _NODES) / step
    pieces = (heights[1:] + heights[:-1]) / 2 * step
    below = jnp.concatenate([jnp.zeros(1), jnp.cumsum(pieces)])
    return {"share": share, "heights": heights / below[-1], "below": below / below[-1]}


def _over(a: jax.Array, b: jax.Array) -> jax.Array:
    """a/b, and 0 where b is 0."""
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1.0), 0.0)


_prepare_batch = jax.jit(jax.vmap(_prepared, in_axes=(None, None, 0, 0, 0)), static_argnums=0)


def _prepare(
    alpha: Hypothesis, shared: dict[str, Any], particles: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """`prepared` for many events, in batches of one size: compiled once, and the same bits for any number."""
    count = len(particles["energy"])
    batch = _RESONANT_BATCH if mapped_resonance(alpha) is not None else _BATCH
    padded = -(-count // batch) * batch
    columns = []
    for name in ("energy", "eta", "phi"):
        column = np.ones((padded, len(alpha.process.visible)))
        column[:count] = particles[name]
        columns.append(column)
    with double_precision():
        parts = [
            _prepare_batch(_Settings.of(alpha), shared, *(c[k : k + batch] for c in columns))
            for k in range(0, padded, batch)
        ]
        made = {name: np.concatenate([np.asarray(part[name]) for part in parts])[:count] for name in parts[0]}
    # what no preparation changes
    return made | {name: values for name, values in particles.items() if name not in made}


def _assigned(alpha: Hypothesis, events: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One row for each event and each of the process's assignments of b jets, one after the other."""
    jets = [i for i, kind in enumerate(alpha.process.visible_classes) if kind == "bjet"]
    rows = []
    for assignment in alpha.process.assignments:
        order = np.arange(len(alpha.process.visible))
        if assignment:
            order[jets] = jets[::-1]
        rows.append(trials.permuted(events, order))
    return {
        key: np.stack([row[key] for row in rows], axis=1).reshape(-1, *events[key].shape[1:])
        for key in events
    }


def compute(
    alpha: Hypothesis,
    events: Any,
    *,
    precision: float = 0.01,
    calls: int | None = None,
    seed: int = 0,
    entries: np.ndarray | None = None,
    neutrinos: bool = False,
) -> dict[str, Weight]:
    """The weights of events under a hypothesis: one per value of a scan.

    **Arguments:** `events` as for `as_table`, in GeV; `precision`, relative error at which an event stops;
    `calls`, integrand evaluations per event at most; `seed`; `entries`, the events' numbers in their file (0,
    1, …), which fix their random points, so that an event gets the same weight alone and among others (what
    all of a file looks like, degrees or MeV, is then for the caller to find, see `columns.Ranges`);
    `neutrinos`, whether the weights bring the mean momenta of what escapes.

    **Returns** name → `Weight`; a failure is a status of its own event, never an exception.

    **Raises** `UsageError` for missing columns, angles in degrees, a grid that is not found, or a precision
    that is not positive.
    """
    if not (isinstance(precision, int | float | np.number) and np.isfinite(precision) and precision > 0):
        raise UsageError(f"precision must be a positive relative error such as 0.01, got {precision}")
    if calls is not None and calls < 1:
        raise UsageError(f"calls must be a positive number of evaluations per event, got {calls}")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise UsageError(f"seed must be a whole number, 0 or more, got {seed!r}")
    if neutrinos and not alpha.process.invisible:
        raise UsageError(f"{alpha.process.name} has no neutrinos, whose momenta are asked for")
    if entries is None:
        _all_looked_at(alpha, events)
    particles, reason = examined(alpha, events)
    count, names, signed = len(reason), alpha.names, negative_densities(alpha)
    rows = np.flatnonzero(reason == Reason.NONE)
    if len(rows):
        shared = shared_by_events(alpha)
        chosen = _prepare(alpha, shared, {key: values[rows] for key, values in particles.items()})
        numbers = rows if entries is None else np.asarray(entries)[rows]
        estimate = _estimate(alpha, shared, chosen, precision, calls, seed, numbers, neutrinos)
    weights = {}
    for k, name in enumerate(names):
        value, error = np.full(count, np.nan), np.full(count, np.nan)
        status, why = np.full(count, Status.BAD_INPUT, dtype=np.int32), reason.copy()
        if len(rows):
            value[rows], error[rows], status[rows], why[rows] = _judged(
                estimate, k, len(names), precision, signed
            )
        momenta = np.full((count, 2, 3), np.nan) if neutrinos else None
        if momenta is not None and len(rows):
            sums = estimate.value[:, (2 + signed) * len(names) + k :: len(names)].reshape(-1, 2, 3)
            weight = estimate.value[:, k]
            known = (weight > 0) & np.isfinite(value[rows])
            momenta[rows[known]] = sums[known] / weight[known, None, None]
        weights[name] = Weight(value, error, status, neutrinos=momenta, reason=why)
    return weights


def _all_looked_at(alpha: Hypothesis, events: Any) -> None:
    """Refuse angles in degrees, and warn of other columns that look strange."""
    columns = alpha.process.columns
    ranges = Ranges(columns)
    ranges.add(as_table(events, columns))
    ranges.refuse()
    for text in ranges.problems():
        warnings.warn(text, DeepMEMWarning, stacklevel=3)


def _estimate(
    alpha: Hypothesis,
    shared: dict[str, Any],
    events: dict[str, np.ndarray],
    precision: float,
    calls: int | None,
    seed: int,
    indices: np.ndarray,
    neutrinos: bool,
) -> integrator.Estimate:
    f, dimensions = integrand(alpha, neutrinos), alpha.dimensions
    steering = len(alpha.names)
    if isinstance(f, integrator.Staged):
        together, block = len(alpha.process.assignments), alpha.process.block
        events, minimum = _ready(alpha, f, shared, events)
        if alpha.by_angle:
            events = trials.best_side(f, shared, events, dimensions, together)
        # an assignment's points are the same alone and beside the other one's
        numbers = (2 * indices[:, None] + np.array(alpha.process.assignments)).ravel()
        estimate = integrator.lattice(
            f,
            shared,
            events,
            dimensions,
            precision=precision,
            calls=calls or _NEUTRINO_CALLS,
            minimum=minimum,
            **(_TABULATED if block is not None and block.guided else {}),
            seed=seed,
            indices=numbers,
            steering=steering,
            together=together,
        )
        return _averaged(estimate, together, precision, steering)
    if dimensions == 0:
        return integrator.evaluate(f, shared, events)
    mapped = mapped_resonance(alpha) is not None
    if alpha.smooth and not mapped:
        return integrator.quadrature(
            f, shared, events, dimensions, precision=precision, calls=calls or 1 << 16, steering=steering
        )
    tabulated = mapped and alpha.detector.gaussian
    return integrator.lattice(
        f,
        shared,
        events,
        dimensions,
        precision=precision,
        calls=calls or 1 << 19,
        minimum=_MINIMUM if alpha.detector.gaussian else _TAILED_MINIMUM,
        seed=seed,
        indices=indices,
        steering=steering,
        **(_TABULATED if tabulated else {}),
    )


def _ready(
    alpha: Hypothesis, f: integrator.Integrand, shared: dict[str, Any], events: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], Any]:
    """Rows of events with neutrinos, an assignment each, with their tables and shares of channels; and how
    many evaluations they want at least."""
    block = alpha.process.block
    minimum: Any = _GUIDED_MINIMUM if alpha.by_angle else _NEUTRINO_MINIMUM
    if block is None:
        return events, minimum
    if alpha.process.assignments != (0,):
        events = _assigned(alpha, events)
    if block.guided:
        events = events | {"table": trials.filled_table(f, shared, events, alpha.dimensions, block.guided)}
    if block.shares:
        shares, spread = trials.shared_out(f, shared, events, alpha.dimensions)
        events = events | {"shares": shares}
        minimum = np.where(spread < trials.EASY, minimum // 2, minimum)
    return events, minimum


def _averaged(
    estimate: integrator.Estimate, together: int, precision: float, steering: int
) -> integrator.Estimate:
    """The mean over assignments.

    Its status is not the worst of theirs: a part that is not precise by itself, or that has no solution, may
    be of no weight in the mean. It is precise as a whole, and unknown if any part is.
    """
    if together == 1:
        return estimate
    value, error, status, calls = (part.reshape(-1, together, *part.shape[1:]) for part in estimate)
    mean = value.mean(axis=1)
    combined = np.sqrt((error**2).sum(axis=1)) / together
    precise = (combined <= precision * np.abs(mean))[:, :steering].all(axis=1)
    of_mean = np.where(precise, Status.GOOD, Status.PRECISION)
    of_mean = np.where((status == Status.NO_SOLUTION).all(axis=1), Status.NO_SOLUTION, of_mean)
    unknown = np.where((status == Status.BAD_INPUT).any(axis=1), Status.BAD_INPUT, Status.GOOD)
    return integrator.Estimate(mean, combined, worst(of_mean, unknown), calls.sum(axis=1))


def _judged(
    estimate: integrator.Estimate, k: int, count: int, precision: float, signed: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Value, error, status, reason of the k-th weight of a scan: each its own, though they share points."""
    value, error = estimate.value[:, k].copy(), estimate.error[:, k].copy()
    size, status = np.abs(value), estimate.status.copy()
    missed = (status == Status.GOOD) & (error > precision * size)
    status[missed] = Status.PRECISION
    if count > 1:
        # one that is precise beside others that are not; where all are, it was for points that weren't finite
        precise = estimate.error[:, :count] <= precision * np.abs(estimate.value[:, :count])
        reached = (status == Status.PRECISION) & precise[:, k] & ~precise.all(axis=1) & (value != 0)
        status[reached] = Status.GOOD
        status[(value == 0) & (status != Status.BAD_INPUT)] = Status.NO_SOLUTION
    below = np.abs(estimate.value[:, count + k]) > _TOLERATED_BELOW_GRID * size
    negative = value < 0
    if signed:
        negative |= estimate.value[:, 2 * count + k] > _TOLERATED_NEGATIVE * size
    status = worst(
        status,
        np.where(below, Status.BELOW_GRID, Status.GOOD),
        np.where(negative, Status.PRECISION, Status.GOOD),
    )
    reason = np.where(status == Status.BAD_INPUT, Reason.NO_POINT, Reason.NONE)
    reason[negative & (status == Status.PRECISION)] = Reason.NEGATIVE_DENSITY
    unknown = (status == Status.BELOW_GRID) | (status == Status.BAD_INPUT)
    value[unknown] = error[unknown] = np.nan
    return value, error, status, reason.astype(np.int32)


class Rough(NamedTuple):
    """Cheap estimates of weights, see `rough`: `value` `[events]`, 0 where no point counted and NaN where an
    event can't be computed; `error` `[events]`, absolute, as far as so few points tell; `details` `[events,
    names]`, what else tells how good they are."""

    value: np.ndarray
    error: np.ndarray
    details: np.ndarray


def details_of_rough(alpha: Hypothesis) -> tuple[str, ...]:
    """The names of what `rough` says beside the value."""
    kinds = ("share", "variance", "sides") if alpha.by_angle else ("share", "variance")
    return tuple(f"{kind} {assignment}" for assignment in alpha.process.assignments for kind in kinds)


def rough(alpha: Hypothesis, events: Any, points: int = 512) -> Rough:
    """A cheap estimate of the weights of events: the integrand's mean on a few fixed points.

        W ≈ Σ_a Σ_s k_as ⟨f_as⟩ / n_a,  k_as ∝ 1/V_as², Σ_s k_as = 1

    a the assignments of b jets, s which top comes first in the map by angle (else there is one side), V the
    relative variance on the points. Squares, for a few points see too little of a variance. Its error is no
    error that could be relied on: all this is what a network is told, which learns the ratio of exact weights
    to it.

    **Arguments:** `events` as for `compute`; `points` of each side and assignment, a multiple of 256.

    **Returns** values, and as details for each assignment: log10 of its share of the weight, of V, and of the
    ratio of both sides; NaN beside a value that is 0 or NaN.

    **Raises** `UsageError` as `compute` does, for a scan, or for a number of points that is no multiple.
    """
    if points < integrator.SLOT or points % integrator.SLOT:
        raise UsageError(f"points must be a multiple of {integrator.SLOT}, got {points}")
    if len(alpha.names) != 1:
        raise UsageError(f"a rough weight is that of one value of a parameter, not of {len(alpha.names)}")
    particles, good = visible(alpha, events)
    names = details_of_rough(alpha)
    value, error = np.full(len(good), np.nan), np.full(len(good), np.nan)
    details = np.full((len(good), len(names)), np.nan)
    rows = np.flatnonzero(good)
    if not len(rows):
        return Rough(value, error, details)
    shared, f, dimensions = shared_by_events(alpha), integrand(alpha), alpha.dimensions
    chosen = _prepare(alpha, shared, {key: values[rows] for key, values in particles.items()})
    chosen, _ = _ready(alpha, f, shared, chosen)
    sides = trials.sides_of(chosen) if alpha.by_angle else [chosen]
    found = [trials.trial(f, shared, side, dimensions, points // integrator.SLOT) for side in sides]
    # [sides, events, assignments]
    by_assignment = (len(sides), len(rows), len(alpha.process.assignments))
    mean, spread = (np.stack(part).reshape(by_assignment) for part in zip(*found, strict=True))
    variance = np.clip(spread - 1, _LEAST_VARIANCE, _LARGEST_VARIANCE)
    share = variance**-2 / (variance**-2).sum(axis=0)
    parts = (share * mean).sum(axis=0)
    value[rows] = total = parts.mean(axis=1)
    squares = ((share * mean) ** 2 * variance).sum(axis=(0, 2)) / points
    error[rows] = np.sqrt(squares) / parts.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        kinds = [
            np.maximum(np.log10(parts / parts.sum(axis=1, keepdims=True)), -_DECADES),
            np.log10(variance.min(axis=0)),
        ]
        if alpha.by_angle:
            kinds.append(np.clip(np.nan_to_num(np.log10(mean[1] / mean[0])), -_DECADES, _DECADES))
    said = np.stack(kinds, axis=2).reshape(len(rows), -1)
    details[rows] = np.where(total[:, None] > 0, said, np.nan)
    return Rough(value, error, details)


def weight_function(alpha: Hypothesis, points: np.ndarray, weights: np.ndarray) -> Callable[..., jax.Array]:
    """A JAX function (parameters, event) ↦ weight over fixed points of the unit cube, to be differentiated.

    W ≈ Σ_k w_k f(u_k). `parameters`: a `Parameters` of numbers; `event`: `energy`, `eta`, `phi` `[legs]`, in
    the process's order (see `visible`). Needs double precision: use it inside `jax.enable_x64(True)`.

    **Arguments:** `points` `[points, dimensions]`, `weights` `[points]`, for instance of
    `integrator.product_rule`.

    **Raises** `UsageError` for a process with neutrinos: where solutions appear, points have no derivative.
    """
    if alpha.process.invisible:
        raise UsageError(
            f"{alpha.process.name} has neutrinos: derivatives of its weights are not available, scan instead"
        )
    f, shared, settings = integrand(alpha), shared_by_events(alpha), _Settings.of(alpha)
    assert not isinstance(f, integrator.Staged)

    def w(p: Parameters, event: dict[str, Any]) -> jax.Array:
        require_double("a weight function")
        here = shared | {"parameters": jax.tree.map(lambda v: jnp.asarray(v, dtype=float)[None], p)}
        known = _prepared(settings, shared, *(jnp.asarray(event[key]) for key in ("energy", "eta", "phi")))
        values = jax.vmap(lambda u: f(here, known, u)[0][0])(jnp.asarray(points))
        return jnp.asarray(weights) @ values

    return w
