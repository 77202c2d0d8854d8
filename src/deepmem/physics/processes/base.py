"""The interface that each process fulfils: everything the weight needs to know about it, in one object.

The engine, the command line and the menu read a `Process` and nothing else, so adding one is adding a file
that defines it.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, partial
from types import CodeType, MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.detector.taus import LEPTONIC, TAUS, response_class
from deepmem.physics.errors import InitialStateError
from deepmem.physics.processes.generated import Generated
from deepmem.physics.theory.parameters import PARAMETERS, Parameters

DEFAULT_DENSITY = "NNPDF23_lo_as_0130_qed"
DEFAULT_FLAVOURS = 4

ParticleClass: TypeAlias = Literal["lepton", "bjet", "jet", "photon", "tau", "taulepton", "invisible"]
Flavour: TypeAlias = Literal["b", "c", "light"]
InitialState: TypeAlias = tuple[int, int]
MatrixElements: TypeAlias = Callable[[Sequence[FourVector], Parameters, str | None], tuple[Scalar, ...]]

QUARK_CHANNELS: tuple[tuple[InitialState, ...], ...] = (
    ((2, -2), (4, -4)),
    ((-2, 2), (-4, 4)),
    ((1, -1), (3, -3), (5, -5)),
    ((-1, 1), (-3, 3), (-5, 5)),
)
"""The initial states of a neutral current, by |M|²: u ū, ū u, d d̄, d̄ d, and what is like them."""

GLUON_CHANNELS: tuple[tuple[InitialState, ...], ...] = (((21, 21),),)


MISSING_COLUMNS = ("MET", "MET_Phi")
"""The default columns of the missing transverse momentum."""

JETS: tuple[ParticleClass, ...] = ("bjet", "jet")
"""The classes of legs that jets are assigned to."""
MOST_JETS = 12
"""Of an event that are read."""
JET_SUFFIXES, TAG_SUFFIX = ("PT", "Eta", "Phi", "M"), "B"
"""Of the columns of a jet, j1_PT, …, and of its tag."""
MOST_PHOTONS = MOST_LEPTONS = 4
"""Of an event that are read; of leptons and of taus each, where there are taus."""


@dataclass(frozen=True, eq=False)
class Process:
    """One hypothesis: an amplitude, what is seen of it, and how its weight is integrated by default.

    Processes are equal where all that is said of them is, and a copy from a pickle is the one on the menu if
    that is equal to it: compiled code is kept by process.
    """

    name: str
    title: str
    """The reaction, for people: "pp → γ*/Z → ℓ⁻ℓ⁺"."""
    reference: str
    """The paper that the amplitude can be checked against."""
    outgoing: tuple[int, ...]
    """PDG codes, in the order of the legs."""
    classes: tuple[ParticleClass, ...]
    """For each outgoing leg, the class of transfer function that it is measured with."""
    columns: tuple[str, ...]
    """The default names of the columns that an event must bring."""
    parameters: tuple[str, ...]
    """Those of `Parameters` that |M|² depends on."""
    channels: tuple[tuple[InitialState, ...], ...]
    """Initial states (PDG code from the beam along +z, from the one along −z), grouped by common |M|²."""
    matrix_elements: MatrixElements
    """(momenta, parameters, subset) ↦ |M|² for each of `channels`, averaged and summed as `matrix_element`.

    Pure JAX, for one phase-space point: `momenta` are the legs' (E, px, py, pz) in GeV, the channel's first
    parton first, then its second, then `outgoing`. Channels share their work, and those not asked for cost
    nothing when jitted.
    """
    scale: str | float
    """The default factorisation scale Q: a parameter's name, or GeV."""
    dimensions: int
    """Of the integral, with responses on."""
    responses: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({"lepton": 0.02}))
    """The default relative energy resolution r of each particle class."""
    subsets: tuple[str, ...] = ()
    """Names of selectable subsets of diagrams."""
    resonance: tuple[str, str] | None = None
    """Parameters (mass, width) of an s-channel resonance that is narrower than the responses."""
    wide_resonance: tuple[str, str] | None = None
    """Parameters (mass, width) of one that is usually wider, and is treated alike where it is made narrow."""
    topology: str = ""
    """Where particles escape: which tree of decays it is, the name of a plan of `weights.plan`."""
    reaction: str = ""
    """Of a process that is not on the menu: what its user said."""
    assignments: tuple[int, ...] = (0,)
    """Which of the two ways to assign b jets to quarks are averaged: 0, jet 1 is the b quark; 1, jet 2 is."""
    variants: tuple[Variant, ...] = ()
    """Of a sum of final states that events tell apart by their leptons, all of them."""
    flavours: tuple[tuple[Flavour, ...], ...] = ()
    """Of a reaction with jets, for each channel: what a tag sees of each leg that a jet is assigned to."""

    @property
    def code(self) -> str | None:
        """What identifies the amplitude of a user's own process: the SHA-256 of the source that it stands in.

        None for DeepMEM's own, which the version identifies.
        """
        return _code(self.matrix_elements)

    @property
    def said(self) -> str:
        """What finds it again: its name on the menu, or "NAME=" and its reaction."""
        return f"{self.name}={self.reaction}" if self.reaction and self.name != self.reaction else self.name

    @property
    def on_axis(self) -> MatrixElements:
        """`matrix_elements` for partons that move along ±z, the first one upwards."""
        found: MatrixElements = getattr(self.matrix_elements, "on_axis", self.matrix_elements)
        return found

    @property
    def generated(self) -> Generated | None:
        """`matrix_elements` where they are made of a reaction."""
        return self.matrix_elements if isinstance(self.matrix_elements, Generated) else None

    def amplitude(self, subset: str | None) -> tuple[Process, str | None]:
        """The process and the subset without what a point's Σ f f |M|² does not depend on.

        Compiled code is kept by these: processes that differ in their names share it.
        """
        bare = Process(
            name="",
            title="",
            reference="",
            outgoing=self.outgoing,
            classes=self.classes,
            columns=(),
            parameters=(),
            channels=self.channels,
            matrix_elements=self.matrix_elements,
            scale=0.0,
            dimensions=0,
            responses=MappingProxyType({}),
            resonance=self.resonance,
        )
        return bare, subset

    @property
    def identity(self) -> dict[str, Any]:
        """What a weight of it depends on beside its name: of a reaction and of a user's own process."""
        if self.reaction and self.generated is not None:
            return self.generated.to_dict()
        return {} if self.code is None else {"code": self.code}

    @property
    def _value(self) -> Any:
        return _comparable(tuple(getattr(self, entry.name) for entry in fields(self)))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Process) and self._value == other._value)

    def __hash__(self) -> int:
        return hash((self.name, self.outgoing, self.matrix_elements))

    def __reduce__(self) -> tuple[Any, ...]:
        said = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return _restored, (said | {"responses": dict(self.responses)},)

    @property
    def legs(self) -> int:
        """The number of legs, the two incoming ones included."""
        return 2 + len(self.outgoing)

    @property
    def invisible(self) -> bool:
        """Whether some of its particles escape."""
        return "invisible" in self.classes

    @property
    def visible(self) -> tuple[int, ...]:
        """Codes of the outgoing legs that are seen."""
        return tuple(c for c, kind in zip(self.outgoing, self.classes, strict=True) if kind != "invisible")

    @property
    def visible_classes(self) -> tuple[str, ...]:
        """Their classes of transfer functions."""
        return tuple(kind for kind in self.classes if kind != "invisible")

    @property
    def jets(self) -> tuple[int, ...]:
        """The places of the legs that jets are assigned to, among those that are seen."""
        return tuple(i for i, kind in enumerate(self.visible_classes) if kind in JETS)

    @property
    def leptons(self) -> tuple[int, ...]:
        """Codes of the outgoing charged leptons."""
        kinds = zip(self.outgoing, self.classes, strict=True)
        return tuple(code for code, kind in kinds if kind == "lepton")

    @property
    def flavour_columns(self) -> tuple[str, ...]:
        """The columns of PDG codes that it depends on where events have them, beside `columns`.

        A reaction has its leptons as they are written; a pair of the menu, whatever its flavour, has one.
        """
        if "lep1_PDG" in self.columns or not (self.reaction or self.is_pair):
            return ()
        return tuple(f"lep{index}_PDG" for index in range(1, len(self.leptons) + 1))

    @property
    def is_pair(self) -> bool:
        """Whether it is of two leptons, of one flavour or of two, as nothing that escapes has a flavour."""
        return len(self.leptons) == 2 and not self.invisible

    @property
    def assigned(self) -> bool:
        """Whether objects of an event are assigned to legs in all ways, see `weights.assignments`."""
        several = bool(self.jets or self.variants) or "photon" in self.classes
        return bool(self.reaction) and several

    @property
    def taus(self) -> int:
        """The number of its legs that are taus, whatever these are seen as."""
        return sum(kind in TAUS for kind in self.classes)

    @property
    def escapes(self) -> bool:
        """Whether missing pT is a part of what happens: some particles escape, or some of a tau's decay."""
        return self.invisible or self.taus > 0

    @property
    def response_classes(self) -> tuple[str, ...]:
        """The classes of particles whose responses its weights may need, each once."""
        leptonic = (LEPTONIC,) if self.taus else ()
        return tuple(dict.fromkeys(map(response_class, (*self.visible_classes, *leptonic))))

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """Settings that are one of a few words, the default first."""
        assigned = {"tags": ("hard", "ignore"), "extra_jets": ("leading", "choose")}
        return (assigned if self.assigned and self.jets else {}) | self._choices_of_missing

    @property
    def _choices_of_missing(self) -> dict[str, tuple[str, ...]]:
        if not self.invisible:
            return {"met": ("event", "recoil")} if self.has_jets else {}
        of_jets = {"b_mass": ("mb", "jet")} if "bjet" in self.classes else {}
        return {"met": ("event", "balance", "recoil"), "frame": ("pt0", "lab"), **of_jets}

    @property
    def has_jets(self) -> bool:
        """Whether something is seen whose energy the recoil is worth knowing for: no lepton, no photon."""
        return bool({*self.classes} - {"lepton", "photon", "invisible"})

    @property
    def knows_recoil(self) -> bool:
        """Whether its weights may use the recoil of the event."""
        return "recoil" in self.choices.get("met", ())

    @property
    def resonances(self) -> list[tuple[str, str]]:
        """The parameters (mass, width) of every particle that it gives a width: M… beside its W…."""
        if self.reaction and self.generated is not None:
            return self.generated.resonances
        names = [name for name in self.parameters if name.startswith("W")]
        return [(mass, width) for width in names if (mass := f"M{width[1:]}") in PARAMETERS]

    @property
    def initial_states(self) -> tuple[InitialState, ...]:
        """All initial states, channel by channel."""
        return tuple(state for states in self.channels for state in states)

    def channel(self, incoming: Sequence[int]) -> int:
        """The position in `channels` of an initial state; raises `InitialStateError` where there is none."""
        try:
            first, second = (int(code) for code in incoming)
        except (TypeError, ValueError):
            raise InitialStateError(f"incoming must be two PDG codes, got {incoming!r}") from None
        for position, states in enumerate(self.channels):
            if (first, second) in states:
                return position
        known = ", ".join(str(state) for state in self.initial_states)
        raise InitialStateError(f"{self.name} has no initial state ({first}, {second}), only {known}")

    def menu_entry(self) -> dict[str, Any]:
        """What `deepmem.processes()` says about it; MW is None where it is derived from GF, aEWM1 and MZ."""
        generated = self.generated
        defaults = Parameters()._asdict() | ({} if generated is None else generated.defaults)
        scale = defaults[self.scale] if isinstance(self.scale, str) else self.scale
        settings: dict[str, Any] = {name: defaults[name] for name in ("sqrt_s", *self.parameters)}
        settings |= {"Q": scale, "pdf": DEFAULT_DENSITY}
        if any(abs(parton) < 6 for state in self.initial_states for parton in state):
            settings["flavours"] = DEFAULT_FLAVOURS
        settings |= {f"r_{particle}": r for particle, r in self.responses.items()}
        settings |= {name: words[0] for name, words in self.choices.items()}
        settings |= {"K0": None} if self.knows_recoil else {}
        return {
            "title": self.title,
            "reaction": None if generated is None else generated.reaction,
            "model": None if generated is None else str(generated.theory.model),
            "outgoing": self.outgoing,
            "columns": self.columns,
            "parameters": settings,
            "dimensions": self.dimensions,
            "subsets": self.subsets,
            "reference": self.reference,
        }


class Variant(NamedTuple):
    """One of the final states that a weight is a sum of, up to the names of its leptons."""

    process: Process
    leptons: tuple[tuple[int, ...], ...]
    """Codes of the charged leptons that it may have, in the order of the legs: each a final state."""


@cache
def _code(function: Callable[..., Any]) -> str | None:
    module = inspect.getmodule(function)
    if module is not None and module.__name__.split(".")[0] == __name__.split(".")[0]:
        return None
    try:
        text = inspect.getsource(function if module is None else module)
    except (OSError, TypeError):  # typed into an interpreter
        text = repr(_instructions(getattr(function, "__code__", None)))
    return hashlib.sha256(text.encode()).hexdigest()


def _instructions(code: Any) -> Any:
    """What a function does, and the functions in it, without where it stands in memory."""
    if not isinstance(code, CodeType):
        return code
    return code.co_code, [_instructions(each) for each in code.co_consts], code.co_names


def _restored(said: dict[str, Any]) -> Process:
    """The process on the menu that is just this, else a new one."""
    from deepmem.physics.processes import all_processes

    new = Process(**said | {"responses": MappingProxyType(said["responses"])})
    known = all_processes().get(new.name)
    return known if known is not None and known == new else new


def _comparable(value: Any) -> Any:
    """What is equal where two values say the same: mappings and partial functions are taken apart."""
    if isinstance(value, Mapping):
        return frozenset((key, _comparable(each)) for key, each in value.items())
    if isinstance(value, tuple):
        return tuple(_comparable(each) for each in value)
    if isinstance(value, partial):
        return value.func, value.args, _comparable(value.keywords)
    return value


def lepton_columns(number: int, flavour: bool = False) -> tuple[str, ...]:
    """The default columns of `number` leptons, with the PDG code where flavours matter."""
    suffixes = ("PT", "Eta", "Phi", "Charge", *(("PDG",) if flavour else ()))
    return tuple(f"lep{index}_{suffix}" for index in range(1, number + 1) for suffix in suffixes)


def jet_columns(number: int, first: int = 1) -> tuple[str, ...]:
    """The default columns of jets up to `number`, each with its own mass."""
    return tuple(f"j{index}_{suffix}" for index in range(first, number + 1) for suffix in JET_SUFFIXES)


def photon_columns(number: int) -> tuple[str, ...]:
    """The default columns of photons up to `number`."""
    return tuple(f"pho{index}_{suffix}" for index in range(1, number + 1) for suffix in ("PT", "Eta", "Phi"))


def tau_columns(number: int) -> tuple[str, ...]:
    """The default columns of taus up to `number`, seen as hadrons; `tauN_M` may be there."""
    suffixes = ("PT", "Eta", "Phi", "Charge")
    return tuple(f"tau{index}_{suffix}" for index in range(1, number + 1) for suffix in suffixes)


def tag_columns(first: int, last: int) -> tuple[str, ...]:
    """The default columns of jets' tags."""
    return tuple(f"j{index}_{TAG_SUFFIX}" for index in range(first, last + 1))
