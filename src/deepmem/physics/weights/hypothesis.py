"""What a weight is the weight of: a process, its parameters, density and detector, all of it checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deepmem.errors import UsageError
from deepmem.event import Monomials, scan_name
from deepmem.physics.detector.detector import Detector
from deepmem.physics.errors import ParameterError, unknown_name
from deepmem.physics.phasespace.visible import Acceptance
from deepmem.physics.processes import chosen_process, said_in
from deepmem.physics.processes.base import (
    DEFAULT_DENSITY,
    DEFAULT_FLAVOURS,
    MISSING_COLUMNS,
    MOST_JETS,
    MOST_LEPTONS,
    Process,
    jet_columns,
    tag_columns,
    tau_columns,
)
from deepmem.physics.theory import lhapdf
from deepmem.physics.theory.parameters import Parameters
from deepmem.physics.theory.polynomial import Polynomial
from deepmem.physics.weights.collinear import checked_parton_pt
from deepmem.physics.weights.resolution import refuse_unresolved
from deepmem.physics.weights.settings import (
    FREE,
    Tagging,
    at_settings,
    check_names,
    check_widths,
    checked_detector,
    checked_flavours,
    checked_lost,
    checked_scale,
    checked_tagging,
    checked_words,
    free_couplings,
    lost_entry,
    monomials_of,
    parameters_of,
    warn_of_expansions,
)

OF_JETS = ("tagging", "lost", "selection")
"""Settings of a reaction with jets that are no words; the last one says where a jet is lost."""


@dataclass(frozen=True)
class Hypothesis:
    """What a weight is the weight of: a process, its parameters, density and detector.

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
    """Missing pT from the `event`, or the `balance` of the visible partons; or the event's `recoil`."""
    frame: str = "pt0"
    """Where |M|² is evaluated: total pT = 0, or the `lab`oratory, with incoming partons boosted back."""
    b_mass: str = "mb"
    """The mass of the parton behind a b jet: that of the b quark, or of the `jet`."""
    tags: str = "hard"
    """Whether the tags of jets are `hard`, or to `ignore`: of a reaction with jets."""
    extra_jets: str = "leading"
    """Of more jets than legs, the `leading` ones alone, or all that one may `choose`."""
    tagging: Tagging = ()
    """The probability of a tag by the flavour of a jet, or where it stands; none: a tag is hard."""
    lost: Acceptance | None = None
    """Where jets are seen, where one that is not may be integrated over: of a reaction with jets."""
    parton_pt: float = 0.0
    """The least p_T of legs that |M|² is infinite for along a beam, see `collinear`; GeV."""
    polynomial: Polynomial | None = None
    """In the couplings that are free; `parameters` then has the points that its coefficients follow from."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its weights: the process, with the value where a parameter is scanned."""
        if not self.scan:
            return (self.process.name,)
        (name, values), *_ = self.scan
        return tuple(scan_name(self.process.name, name, value) for value in values)

    @property
    def count(self) -> int:
        """How many values of its parameters there are, which share points."""
        return len(self.names) if self.polynomial is None else len(self.polynomial.exponents)

    @property
    def monomials(self) -> Monomials | None:
        """The terms of the weight in its free couplings, and these at the model's values."""
        if self.polynomial is None:
            return None
        return monomials_of(self.process, self.polynomial)

    @property
    def columns(self) -> tuple[str, ...]:
        """The default names of the columns that its weights depend on: not missing pT where it balances."""
        unused = MISSING_COLUMNS if self.met == "balance" else ()
        return tuple(name for name in self.measured_columns if name not in unused)

    @property
    def measured_columns(self) -> tuple[str, ...]:
        """The default names of the columns of all that is measured, for cuts: those of the process, and of
        missing pT where the recoil is used."""
        more = MISSING_COLUMNS if self.met == "recoil" else ()
        return tuple(dict.fromkeys((*self.process.columns, *more)))

    def columns_of(self, there: Callable[[str], bool]) -> tuple[str, ...]:
        """`columns`, and those that its weights depend on where events have them: codes, tags, more jets.

        **Arguments:** `there`, whether events have a column.

        **Raises** `UsageError` for `tagging` of events without tags.
        """
        legs, codes = len(self.process.jets), self.process.flavour_columns
        codes = codes if all(map(there, codes)) else ()
        if not self.process.assigned:
            return (*self.columns, *codes)
        of_taus = (*(self._columns_of_taus(there) if self.process.taus else ()), *codes)
        if not legs:
            return tuple(dict.fromkeys((*self._columns_but_taus, *of_taus)))
        tagged = self.tags != "ignore" and there(*tag_columns(1, 1))
        if self.tagging and not tagged:
            raise UsageError(f"tagging of {self.process.name} needs the tags of jets, columns j1_B, j2_B, …")
        lacks_last = self.lost is not None and not there(f"j{legs}_PT")
        last = jet_columns(legs, legs) if lacks_last else ()
        every = dict.fromkeys((*self._columns_but_taus, *of_taus))
        columns = [column for column in every if column not in last]
        for number in range(1, MOST_JETS + 1):
            if number > legs - lacks_last and not there(f"j{number}_PT"):
                break
            columns += jet_columns(number, number) if number > legs else ()
            columns += self.tag_columns(number) if tagged else ()
        return tuple(columns)

    def tag_columns(self, number: int) -> tuple[str, ...]:
        """The columns of the tag of one jet, from 1, and of its probabilities."""
        named = (each for _, each in self.tagging if isinstance(each, str))
        return *tag_columns(number, number), *(f"j{number}_{suffix}" for suffix in dict.fromkeys(named))

    @property
    def unsure_codes(self) -> tuple[str, ...]:
        """The columns of PDG codes that need not be known, of each event."""
        found = self.process.flavour_columns
        if found and self.process.taus:
            return tuple(f"lep{number}_PDG" for number in range(1, MOST_LEPTONS + 1))
        return found

    @property
    def _columns_but_taus(self) -> tuple[str, ...]:
        unsure = tau_columns(self.process.taus)
        return tuple(name for name in self.columns if name not in unsure)

    def _columns_of_taus(self, there: Callable[[str], bool]) -> tuple[str, ...]:
        """Those of all leptons and taus that events have, any of which a tau may be seen as.

        **Raises** `UsageError` where they have none.
        """
        columns: list[str] = []
        of_leptons = ("PDG",) if self.process.leptons else ()
        for prefix, more in (("lep", of_leptons), ("tau", ("M",))):
            for number in range(1, MOST_LEPTONS + 1):
                if not there(f"{prefix}{number}_PT"):
                    break
                columns += [f"{prefix}{number}_{suffix}" for suffix in ("PT", "Eta", "Phi", "Charge")]
                columns += [
                    f"{prefix}{number}_{suffix}" for suffix in more if there(f"{prefix}{number}_{suffix}")
                ]
        if not columns:
            raise UsageError(
                f"{self.process.name} needs taus, columns tau1_PT, tau1_Eta, tau1_Phi, tau1_Charge, or what "
                "they decay to, lep1_PT, …; the events have neither"
            )
        return tuple(columns)

    def of_variant(self, process: Process) -> Hypothesis:
        """The same of one of its process's variants."""
        return replace(self, process=process)

    @property
    def unit(self) -> str:
        """GeV^(−n), n the measured energies, and the two components of missing pT where neutrinos escape or
        the recoil is used.

        With `MH=event` the propagator's GeV⁻⁴ is taken out. Where a jet is lost it is one less.
        """
        return self._unit(lost=0)

    def _unit(self, lost: int) -> str:
        transverse = self.process.escapes or self.met == "recoil"
        power = len(self.process.visible) + 2 * transverse - 4 * self.mass_from_event
        return f"GeV^{lost - power}"

    def to_dict(self) -> dict[str, Any]:
        """Everything that the weight depends on, by content and as JSON: provenance, and keys of kept work.

        **Raises** `UsageError` where the density is not found.
        """
        values = {"sqrt_s": self.parameters.sqrt_s, **self.parameters.values()}
        responses = self.detector.to_dict()
        missing = {"missing": responses.pop("met")} if "met" in responses else {}
        # 0 is said where it is not the default
        usual = checked_parton_pt(self.process, None, self.met)
        partons = {"parton_pt": self.parton_pt} if self.parton_pt or usual else {}
        polynomial = {}
        if (monomials := self.monomials) is not None:
            values |= dict(zip(monomials.names, monomials.defaults, strict=True))
            polynomial = {"polynomial": monomials.to_dict()}
        return {
            "process": self.process.name,
            **self.process.identity,
            "subset": self.subset,
            "parameters": {name: np.asarray(value).tolist() for name, value in values.items()},
            **polynomial,
            "MH_from_event": self.mass_from_event,
            "Q": self.scale,
            "pdf": self.density_name,
            "pdf_sha256": lhapdf.current(self.density_name).sha256,
            "flavours": self.flavours,
            "responses": responses,
            **{name: getattr(self, name) for name in self.process.choices},
            **({"tagging": dict(self.tagging)} if self.tagging else {}),
            **({} if self.lost is None else {"lost": lost_entry(self.lost)}),
            **partons,
            **missing,
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any], response: Mapping[str, Any] | None = None) -> Hypothesis:
        """The hypothesis that `to_dict` was of; `response`, of a configuration, in place of its own.

        **Raises** `UsageError` where the process is not on the menu, the density is not the one it was, or a
        response is a function of a user's (a file must not decide which code runs).
        """
        said, theory = said_in(entry)
        process = chosen_process(said, dict(theory), summed=True)
        known = ("sqrt_s", *process.parameters)
        settings = theory | {name: value for name, value in entry["parameters"].items() if name in known}
        settings |= {
            name: entry[name]
            for name in ("Q", "flavours", "tagging", "lost", "parton_pt", *process.choices)
            if name in entry
        }
        settings |= dict.fromkeys(entry.get("polynomial", {}).get("couplings", ()), FREE[0])
        if entry["MH_from_event"]:
            settings["MH"] = "event"
        if response is None:
            response = entry["responses"] | ({"met": entry["missing"]} if "missing" in entry else {})
            if any("function" in region for each in response.values() for region in _regions(each)):
                raise UsageError(
                    f"{process.name} has a response that is a function: give the configuration that names it"
                )
        made = hypothesis(said, subset=entry["subset"], pdf=entry["pdf"], response=response, **settings)
        if entry.get("model_sha256") != made.to_dict().get("model_sha256"):
            raise UsageError(f"the model {entry['model']} found here is not the one that was used")
        if made.to_dict()["pdf_sha256"] != entry["pdf_sha256"]:
            raise UsageError(f"the density {made.density_name} found here has other values than the one used")
        return made

    def describe(self) -> dict[str, Any]:
        """`to_dict` with the unit of the weight: what a file says of it."""
        of_lost = {} if self.lost is None else {"unit_with_a_lost_jet": self._unit(lost=1)}
        return self.to_dict() | {"unit": self.unit, **of_lost}


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

    **Arguments:** `process`, a name of the menu, or a reaction "NAME=p p > …"; `pdf`,
    the name of a set or the path of a grid; `response`,
    transfer functions by particle class as in a configuration (default: Gaussian with `r_lepton`);
    `settings`: theory parameters, `Q` (GeV), `flavours` (4 or 5), `r_lepton`, `met`, `K0` (GeV, of the
    recoil's response); of a reaction also `model`, `param_card`, `labels`, and with jets `tags`, `tagging`,
    `extra_jets`, `lost` with the `selection` of the events, and `parton_pt` (GeV, see `collinear`). One
    theory parameter may be a sequence of values, a scan: all its weights have one Q, the default one if it
    is not given. `MH="event"` takes the Higgs boson's mass from the event and drops its propagator. A
    coupling of a reaction's model that is "polynomial" (or "[:]") stays free: the weight is known for all of
    its values.

    **Raises** `UsageError` for an unknown name (with the nearest known one) or a value that makes no sense.
    """
    chosen = chosen_process(process, settings, summed=True)
    chosen = at_settings(chosen, settings)
    if subset is not None and subset not in chosen.subsets:
        raise unknown_name("subset", subset, chosen.subsets)
    of_jets = OF_JETS if chosen.assigned and chosen.jets else ()
    of_recoil = ("K0",) if chosen.knows_recoil else ()
    of_partons = ("parton_pt",) if chosen.reaction else ()
    check_names(chosen, settings, (*chosen.choices, *of_jets, *of_recoil, *of_partons))
    tagging = checked_tagging(settings.pop("tagging", None))
    lost = checked_lost(settings.pop("lost", None), settings.pop("selection", None))
    flavours = checked_flavours(settings.pop("flavours", DEFAULT_FLAVOURS))
    detector = checked_detector(chosen, settings, response)
    words = checked_words(chosen, settings, detector)
    if tagging and words["tags"] == "ignore":
        raise ParameterError("tags=ignore takes no tagging: leave one of the two out")
    if lost is not None and words["extra_jets"] != "leading":
        raise ParameterError(
            "lost is of events with a jet fewer than legs, extra_jets of more: leave one out"
        )
    parton_pt = checked_parton_pt(chosen, settings.pop("parton_pt", None), words.get("met"))
    detector = detector.used_by(words.get("met", "event"))
    scale = settings.pop("Q", None)
    mass_from_event = settings.get("MH") == "event"
    if mass_from_event:
        settings.pop("MH")
    polynomial = free_couplings(chosen, settings)
    free = () if polynomial is None else polynomial.names
    values, scans = _scanned(chosen, {name: v for name, v in settings.items() if name not in free})
    if free and scans:
        raise ParameterError(f"{free[0]} is free and {next(iter(scans))} is scanned: one of both at a time")
    if polynomial is not None:
        for name, points in zip(free, polynomial.points.T, strict=True):
            values = values.replaced(name, points)
    scanned_scale = scale is None and chosen.scale in scans
    alpha = Hypothesis(
        chosen,
        values,
        tuple(scans.items()),
        checked_scale(chosen, Parameters() if scanned_scale else values, scale),
        str(pdf),
        flavours,
        subset,
        detector,
        mass_from_event,
        **words,
        tagging=tagging,
        lost=lost,
        parton_pt=parton_pt,
        polynomial=polynomial,
    )
    _refuse_nonsense(alpha)
    return alpha


def _scanned(
    process: Process, settings: Mapping[str, Any]
) -> tuple[Parameters, dict[str, tuple[float, ...]]]:
    """The theory parameters, the one that is scanned an array; and the values of that one by its name."""
    scans = {name: _numbers(name, v) for name, v in settings.items() if np.ndim(v) == 1}
    fixed = {"sqrt_s", *(("MB",) if process.invisible else ()), *(("MTA",) if process.taus else ())}
    for name in scans.keys() & fixed:
        raise ParameterError(f"{name} changes the phase space and can't be scanned: compute value by value")
    if len(scans) > 1:
        raise ParameterError(f"one parameter can be scanned at a time, got {', '.join(scans)}")
    checked = parameters_of(process, {name: v for name, v in settings.items() if name not in scans})
    for name, values in scans.items():
        if not values or len(set(values)) != len(values):
            raise ParameterError(
                f"the values of {name} to scan must be different and at least one, got {values}"
            )
        for value in values:
            parameters_of(process, {**settings, name: value})  # each one checked by itself
        checked = checked.replaced(name, np.array(values))
    return checked, scans


def _numbers(name: str, values: Sequence[Any]) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise ParameterError(f"the values of {name} to scan must be numbers, got {list(values)}") from None


def _refuse_nonsense(alpha: Hypothesis) -> None:
    """**Raises** `ParameterError` for values that are allowed by themselves and give no or wrong weights."""
    process = alpha.process
    if alpha.mass_from_event and (process.invisible or (process.resonance or ("",))[0] != "MH"):
        raise ParameterError(
            f"MH=event has no meaning for {process.name}: m_H is measured where all of a Higgs boson's decay "
            "is seen, as by higgs_4l; give MH a number"
        )
    if alpha.b_mass == "jet" and np.max(alpha.parameters.MB) == 0:
        raise ParameterError(f"{process.name} has incoming b quarks, so that MB is 0: leave b_mass=jet out")
    check_widths(process, alpha.parameters)
    warn_of_expansions(process, alpha.parameters)
    refuse_unresolved(alpha)
    for (name, values), *_ in [alpha.scan] if alpha.scan else []:
        called: dict[str, float] = {}
        for label, value in zip(alpha.names, values, strict=True):
            if label in called:
                raise ParameterError(
                    f"the weights at {name} = {called[label]!r} and {value!r} would both be called {label}: "
                    "scan values that differ in six digits"
                )
            called[label] = value
