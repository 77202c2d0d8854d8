"""Any reaction at parton level: what comes in, |M|², and where in phase space it may be large.

    dσ = Σ_ab f_a(x1, Q) f_b(x2, Q) |M_ab|² / 2√λ(ŝ, m_a², m_b²) · dx1 dx2 dΦ_n,   x1 x2 s = ŝ.

A `Part` has the subprocesses of one |M|², its first parton along +z. Both protons are alike, so that what has
it along −z is the same σ, and an event turned over. Incoming b quarks have MB = 0 unless it is set, in |M|²
and of every leg; `ymb` then keeps its default.

A window of N widths is |m − M| < NΓ of every resonance of the text; and what decays is the particle that is
nearest to its pole: where t* → t g is on it, and t is not, the top has radiated in its decay, which is no
"t > w+ b". MadEvent's σ has these events left out, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from deepmem.errors import UsageError
from deepmem.physics.amplitudes.amplitude import Amplitude, amplitude
from deepmem.physics.amplitudes.channels import Channel
from deepmem.physics.errors import ParameterError, PlanError
from deepmem.physics.phasespace.topologies import Radiating, radiating, topologies
from deepmem.physics.phasespace.topology_maps import Bounds, TopologyMap, maps_of
from deepmem.physics.phasespace.trees import Tree, tree_of
from deepmem.physics.processes import find_process, menu_line
from deepmem.physics.processes.base import DEFAULT_FLAVOURS
from deepmem.physics.processes.generated import Generated
from deepmem.physics.processes.of_reaction import is_reaction, named
from deepmem.physics.reactions import Read, Theory, read
from deepmem.physics.theory.expressions import complex_parameters
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.parameters import Parameters
from deepmem.physics.theory.restriction import switched_off, without_followers
from deepmem.physics.theory.settings import checked
from deepmem.physics.theory.subprocesses import Subprocess
from deepmem.physics.weights.parton_cuts import least_pairs, least_pt
from deepmem.physics.weights.settings import require_width
from deepmem.selection import Selection, opposite_pairs

_B = 5


class Contribution(NamedTuple):
    """Partons of a part, and what they become."""

    partons: tuple[int, int]
    """PDG codes, the first one along +z."""
    outgoing: tuple[int, ...]
    times: int
    """How many subprocesses this is: with either proton's parton first."""


@dataclass(frozen=True, eq=False)
class Part:
    """Subprocesses of one |M|²."""

    amplitude: Amplitude
    contributions: tuple[Contribution, ...]
    maps: tuple[TopologyMap, ...]
    beams: tuple[float, float]
    """Masses of the partons."""
    radiating: tuple[Radiating, ...]
    """Resonances of the text that may be off their poles where the same particle is on it before."""

    @cached_property
    def finals(self) -> tuple[tuple[tuple[int, ...], tuple[Contribution, ...]], ...]:
        """Contributions that cuts do not tell apart, with the codes that stand for them."""
        alike: dict[Any, list[Contribution]] = {}
        for each in self.contributions:
            pairs = tuple(opposite_pairs(each.outgoing))
            alike.setdefault((_kinds(each.outgoing), pairs), []).append(each)
        return tuple((members[0].outgoing, tuple(members)) for members in alike.values())


def _kinds(codes: Sequence[int]) -> tuple[Any, ...]:
    """What cuts know of legs, but for flavours of leptons."""
    light = (1, 2, 3, 4, 21)
    leptons, neutrinos = (11, 13, 15), (12, 14, 16)
    return tuple(
        "jet"
        if abs(code) in light
        else "lepton"
        if abs(code) in leptons
        else "neutrino"
        if abs(code) in neutrinos
        else abs(code)
        for code in codes
    )


class Reaction:
    """A reaction with its parameters, ready to be integrated over all that cuts on partons leave.

    **Arguments:** `text`, "NAME=p p > …" or a name of the menu; `cuts` on partons, or None; `window` in
    widths of every resonance of the text; `settings`: `model`, `param_card`, `labels`, `flavours`, `Q`,
    `sqrt_s` and the model's parameters.

    **Raises** `UsageError` and its kinds for what is no reaction, has other beams than two partons, or no
    finite σ within the cuts.
    """

    def __init__(
        self,
        text: str,
        cuts: Selection | None = None,
        window: float | None = None,
        **settings: Any,
    ) -> None:
        self.name, found, scale = _read(text, settings)
        self.text, self.window = str(found.reaction), _checked_window(window)
        self.root = _positive("sqrt_s", settings.pop("sqrt_s", Parameters().sqrt_s))
        asked = settings.pop("Q", None)
        members = [member.subprocess for each in found.channels for member in each.members]
        self.members = members
        for member in members:
            _check_beams(self.name, member)
        model, self.values = _numbers(found, members, settings)
        self.model = model
        self.parameters = complex_parameters(model, self.values)
        for code in sorted(frozenset[int]().union(*(member.resonances for member in members))):
            if (width := model.by_code[code].width) != "ZERO":
                require_width(width, abs(self.parameters[width]))
        self.scale = _positive("Q", self._scale(found, scale) if asked is None else self._number(asked))
        self.cuts = cuts
        self.parts = tuple(self._part(found, channel) for channel in found.channels)

    @cached_property
    def tree(self) -> Tree:
        """Its tree of decays. **Raises** `ReactionError` for a leg that nothing measures."""
        return tree_of(self.members[0], self.model)

    def _scale(self, found: Read, scale: str | float | None) -> float:
        """The mass of the heaviest particle that is written, else that of the Z, at its value."""
        if scale is not None:
            return self._number(scale)
        return self._number(found.heaviest(self.members))

    def _number(self, value: Any) -> float:
        if isinstance(value, str) and value in self.parameters:
            return abs(self.parameters[value])
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ParameterError(f"Q must be a mass's name or a number of GeV, got {value!r}") from None

    def mass(self, code: int) -> float:
        """Of a particle, GeV."""
        name = self.model.by_code[code].mass
        return 0.0 if name == "ZERO" else abs(self.parameters[name].real)

    def _part(self, found: Read, channel: Channel) -> Part:
        subprocess = channel.subprocess
        written = {member.incoming for member in self.members}
        counts: Counter[tuple[tuple[int, int], tuple[int, ...]]] = Counter()
        for member, turned in channel.members:
            first, second = member.incoming
            partons = (second, first) if turned else (first, second)
            both = first != second and (second, first) not in written
            counts[partons, member.outgoing] += 2 if both else 1
        contributions = tuple(Contribution(*key, times) for key, times in counts.items())
        beams = self.mass(subprocess.incoming[0]), self.mass(subprocess.incoming[1])
        one = amplitude(self.model, subprocess, along_z=True)
        bare = Part(one, contributions, (), beams, ())
        bounds = self._bounds(beams, [codes for codes, _ in bare.finals])
        shapes = topologies(self.model, subprocess)
        maps = maps_of(shapes, bounds, self.parameters)
        for each in maps:
            if (leg := each.divergent) is not None:
                raise PlanError(
                    f"the cross-section of {self.name} is infinite where {self._named(leg, subprocess)}: cut "
                    "on the partons (parton=True, or parton_selection beside cuts on what is measured) by "
                    "jet_pt, photon_pt, lepton_pt, jet_jet_delta_r or pair_mass"
                )
        windowed = np.isfinite(self.window)
        return replace(bare, maps=tuple(maps), radiating=radiating(shapes) if windowed else ())

    def _named(self, bits: int, subprocess: Subprocess) -> str:
        names = {code: name for name, code in self.model.codes.items()}
        legs = [names[code] for k, code in enumerate(subprocess.outgoing) if bits >> k & 1]
        if len(legs) == 1:
            return f"{legs[0]} is soft or collinear"
        return f"the mass of {' '.join(legs)} is small"

    def _bounds(self, beams: tuple[float, float], finals: Sequence[tuple[int, ...]]) -> Bounds:
        """What all final states of a part have in common."""
        masses = np.array([self.mass(code) for code in finals[0]])
        pt = np.min([least_pt(codes, self.cuts) for codes in finals], axis=0)
        pairs = np.min([least_pairs(codes, masses, pt, self.cuts) for codes in finals], axis=0)
        return Bounds(self.root, beams, masses, pt, pairs, self.window)


def _read(text: str, settings: dict[str, Any]) -> tuple[str, Read, str | float | None]:
    """Name, reaction, and the scale of a process of the menu; settings of the theory are taken out."""
    flavours = settings.pop("flavours", None)
    given = {key: settings.pop(key) for key in ("model", "param_card", "labels") if key in settings}
    line = menu_line(text)
    if line is not None or is_reaction(text):
        name, reaction = named(text) if line is None else (text.strip(), line.reaction)
        if line is not None:
            given.setdefault("model", line.model)
            flavours = line.flavours if flavours is None else flavours
        theory = Theory.of(**given, flavours=DEFAULT_FLAVOURS if flavours is None else flavours)
        return name, read(reaction, theory), None if line is None else line.scale
    process = find_process(text)
    elements = process.matrix_elements
    if given or not isinstance(elements, Generated):
        why = "it is of a model of its own" if given else "its |M|² is not made from a reaction"
        raise UsageError(f"{text} is a process of the menu, and {why}: write the reaction, 'NAME=p p > …'")
    theory = elements.theory if flavours is None else replace(elements.theory, flavours=flavours)
    return process.name, read(elements.reaction, theory), process.scale


def _check_beams(name: str, member: Subprocess) -> None:
    if len(member.incoming) != 2 or any(code != 21 and not 1 <= abs(code) <= _B for code in member.incoming):
        raise UsageError(
            f"{name} has the beams {member.incoming}: a cross-section is of two protons, or of partons in "
            "them"
        )


def _numbers(
    found: Read, members: Sequence[Subprocess], settings: Mapping[str, Any]
) -> tuple[Model, dict[str, float]]:
    """The model without the masses that are 0, and values of its parameters."""
    model = found.model
    free = [name for name, value in settings.items() if isinstance(value, str)]
    if free:
        raise ParameterError(
            f"{free[0]} = {settings[free[0]]!r}: a cross-section at parton level is of one value of each "
            "parameter"
        )
    values = checked(model, settings)
    names = {parameter.name for parameter in model.parameters}
    massive = "MB" in names and model.by_code[_B].mass == "MB"
    if massive and "MB" not in values and any(_B in map(abs, member.incoming) for member in members):
        values["MB"] = 0.0
        model = without_followers(model, "MB")
    masses = {particle.mass for particle in model.particles} - {"ZERO"}
    off = tuple(sorted(name for name in masses if values.get(name) == 0))
    if off:
        model = switched_off(model, off)
        values = {name: value for name, value in values.items() if name not in off}
    return model, values


def _checked_window(widths: Any) -> float:
    if widths is None:
        return float("inf")
    if isinstance(widths, bool) or not isinstance(widths, int | float) or not widths > 0:
        raise ParameterError(f"window must be a number of widths above 0, got {widths!r}")
    return float(widths)


def _positive(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not (np.isfinite(number) and number > 0):
        raise ParameterError(f"{name} must be in GeV, finite and positive, got {value!r}")
    return number
