"""A process that a user says: "NAME=p p > …", or the reaction alone, in place of a name of the menu.

Which of its legs are seen follows from their kind: charged leptons, photons, taus, and quarks and gluons, as
jets, are, neutrinos are not. Final states that differ in their leptons, or in what taus are seen as, are
variants of the process, which events tell apart; those that differ in flavours of light jets are summed in
one |M|². Where b quarks come in, MB is 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from itertools import product
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from deepmem.errors import UsageError
from deepmem.physics.amplitudes.channels import Channel, Member
from deepmem.physics.amplitudes.points import typical_momenta
from deepmem.physics.detector.taus import HADRONIC, LEPTONIC, TAUS
from deepmem.physics.processes.base import (
    JETS,
    MISSING_COLUMNS,
    Flavour,
    InitialState,
    ParticleClass,
    Process,
    Variant,
    jet_columns,
    lepton_columns,
    photon_columns,
    tau_columns,
)
from deepmem.physics.processes.generated import Generated
from deepmem.physics.reactions import Read, Theory, read
from deepmem.physics.theory.subprocesses import Branch, Node, Subprocess

_NAMED = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)\s*(.*>.*)", re.DOTALL)
_KINDS: dict[ParticleClass, tuple[int, ...]] = {
    "lepton": (11, 13),
    "invisible": (12, 14, 16),
    "jet": (1, 2, 3, 4, 21),
    "bjet": (5,),
    "photon": (22,),
    "tau": (15,),
}
_CLASSES: Mapping[int, ParticleClass] = MappingProxyType(
    {code: kind for kind, codes in _KINDS.items() for code in codes}
)
_TAGGED: Mapping[int, Flavour] = MappingProxyType({5: "b", 4: "c"})
_SEEN, _ESCAPING = (
    MappingProxyType({"lepton": 0.02, "bjet": 0.10, "jet": 0.10, "photon": 0.02, "tau": 0.05}),
    MappingProxyType({"lepton": 0.05, "bjet": 0.10, "jet": 0.10, "photon": 0.02, "tau": 0.05}),
)
_B = 5
_NARROW = 1e-3
"""Γ/M of a resonance that is narrower than any response."""
# By topology, the tree that its map is of: what decays, into what, in the order of the legs.
_W_PLUS: Any = (24, (-1, 1))
_W_MINUS: Any = (-24, (1, -1))
_TREES = {
    "top pair": ((6, (_W_PLUS, 5)), (-6, (_W_MINUS, -5))),
    "W pair": (_W_PLUS, _W_MINUS),
}


def is_reaction(text: str) -> bool:
    """Whether what stands for a process is a reaction."""
    return ">" in text


def named(text: str) -> tuple[str, str]:
    """Name and reaction of "NAME=p p > …"; without a name the reaction is its own."""
    match = _NAMED.fullmatch(text)
    return (match[1], match[2].strip()) if match else (text.strip(), text.strip())


def process_of(text: str, theory: Theory) -> Process:
    """The process of a reaction in a model.

    **Raises** as `reactions.read`, and `UsageError` where there is no weight of it: other beams than protons
    or partons, legs of other classes in other final states, a leg that no response is for, or a tree without
    a plan.
    """
    return _process_of(text, theory, read(named(text)[1], theory).model.digest)


@lru_cache(maxsize=64)
def _process_of(text: str, theory: Theory, content: str) -> Process:
    """Of a model by its content."""
    name, reaction = named(text)
    found = read(reaction, theory)
    if not theory.massless_b and _has_incoming_b(found, theory, name):
        return process_of(text, replace(theory, massless_b=True))
    members = [(n, member) for n, channel in enumerate(found.channels) for member in channel.members]
    _refuse_beams({member.subprocess.incoming for _, member in members}, name)
    classes = _classes(found, [member.subprocess for _, member in members], name)
    single = len({member.subprocess.outgoing for _, member in members}) == 1
    by_leptons: dict[tuple[int, ...], list[tuple[int, Member]]] = {}
    for number, member in members:
        by_leptons.setdefault(_leptons(member.subprocess, classes), []).append((number, member))
    parts: dict[tuple[Any, ...], tuple[_Channels, Subprocess, list[tuple[int, ...]]]] = {}
    for leptons, own in by_leptons.items():
        _refuse_other_trees([member.subprocess for _, member in own], name)
        channels = _by_amplitude(found, own, classes, name if single else None)
        part = parts.setdefault(channels.content, (channels, own[0][1].subprocess, []))
        part[2].append(leptons)
    _refuse_alike([(each, leptons) for _, each, leptons in parts.values()], name)
    common = _common(found, classes, [*by_leptons], name, reaction)
    made = [
        _definite(found, common, channels, subprocess, theory) for channels, subprocess, _ in parts.values()
    ]
    if made[0].taus:
        return _by_decays(made, [leptons for _, _, leptons in parts.values()])
    if len(by_leptons) == 1:
        return made[0]
    variants = zip(made, (tuple(leptons) for _, _, leptons in parts.values()), strict=True)
    return replace(made[0], variants=tuple(Variant(*each) for each in variants))


def _by_decays(made: Sequence[Process], leptons: Sequence[Sequence[tuple[int, ...]]]) -> Process:
    """A process with taus as the sum of what each of them may be seen as: hadrons, an electron or a muon.

    **Arguments:** `made`, its final states, each with the codes of its `leptons` that are no taus'.
    """
    taus = [leg for leg, kind in enumerate(made[0].classes) if kind in TAUS]
    variants = []
    for process, every in zip(made, leptons, strict=True):
        for decays in product(TAUS, repeat=len(taus)):
            classes = list(process.classes)
            for leg, kind in zip(taus, decays, strict=True):
                classes[leg] = kind  # type: ignore[call-overload]
            decayed = replace(process, classes=tuple(classes))
            variants.append(Variant(decayed, tuple(_with_taus(decayed, codes) for codes in every)))
    return replace(made[0], variants=tuple(variants))


def _with_taus(process: Process, leptons: tuple[int, ...]) -> tuple[int, ...]:
    """The codes of all legs that are seen as leptons: of some as given, of taus ±15."""
    given = iter(leptons)
    kinds = zip(process.outgoing, process.classes, strict=True)
    of_leptons = ((code, kind) for code, kind in kinds if kind in ("lepton", LEPTONIC))
    return tuple(code if kind == LEPTONIC else next(given) for code, kind in of_leptons)


class _Channels(NamedTuple):
    """The channels of one final state, or of some that differ in flavours of jets."""

    states: tuple[tuple[InitialState, ...], ...]
    flavours: tuple[tuple[Flavour, ...], ...]
    picks: tuple[tuple[int, bool], ...]
    """See `Generated.picks`; none where the states say it all."""

    @property
    def content(self) -> tuple[Any, ...]:
        """What is equal where weights are, but for the names of leptons."""
        return self.picks, self.flavours, tuple(tuple(sorted(states)) for states in self.states)


def _common(
    found: Read, classes: tuple[ParticleClass, ...], leptons: list[tuple[int, ...]], name: str, reaction: str
) -> Process:
    """What all final states of a reaction have in common."""
    counts = {kind: classes.count(kind) for kind in classes}
    escaping, charged = counts.get("invisible", 0), counts.get("lepton", 0)
    signs = {tuple(sorted(code > 0 for code in each)) for each in leptons}
    jets = sum(counts.get(kind, 0) for kind in JETS)
    depends = frozenset().union(*(channel.parameters for channel in found.channels))
    taus = counts.get(HADRONIC, 0)
    responses = _ESCAPING if escaping else _SEEN
    kinds = {*classes, *(("lepton",) if taus else ())}
    return Process(
        name=name,
        title=str(found.reaction),
        reference="arXiv:1405.0301 (the language of reactions)",
        outgoing=(),
        classes=classes,
        columns=(
            *lepton_columns(charged, flavour=charged > 2 or len(signs) < len(leptons)),
            *jet_columns(jets),
            *photon_columns(counts.get("photon", 0)),
            *tau_columns(taus),
            *(MISSING_COLUMNS if escaping or taus else ()),
        ),
        parameters=tuple(each for each in found.parameters() if each in depends),
        channels=(),
        matrix_elements=Generated(reaction, (), Theory()),
        scale=0.0,
        # of three numbers of a neutrino, missing pT gives one in two
        dimensions=len(classes) + (2 if escaping == 2 else 0),
        responses=MappingProxyType({kind: r for kind, r in responses.items() if kind in kinds}),
        reaction=reaction,
    )


def _definite(
    found: Read, common: Process, channels: _Channels, subprocess: Subprocess, theory: Theory
) -> Process:
    """The process of final states whose leptons are known."""
    classes = common.classes
    topology = _topology(subprocess) if classes.count("invisible") > 1 else ""
    resonance, wide = _resonances(found, subprocess, classes)
    if topology == "W pair" and resonance is not None:
        topology = "Higgs boson to W pair"
    states = tuple(states[0] for states in channels.states)
    return replace(
        common,
        outgoing=subprocess.outgoing,
        channels=channels.states,
        flavours=channels.flavours,
        matrix_elements=Generated(
            common.reaction, states, theory, picks=channels.picks, content=found.model.digest
        ),
        scale=found.heaviest([subprocess]),
        resonance=resonance,
        wide_resonance=wide,
        topology=topology,
        assignments=(0, 1) if topology == "top pair" else (0,),
    )


def _leptons(subprocess: Subprocess, classes: Sequence[str]) -> tuple[int, ...]:
    kinds = zip(subprocess.outgoing, classes, strict=True)
    return tuple(code for code, kind in kinds if kind == "lepton")


def _refuse_beams(incoming: set[tuple[int, ...]], name: str) -> None:
    for codes in sorted(incoming):
        if len(codes) != 2 or any(code != 21 and not 1 <= abs(code) <= 5 for code in codes):
            raise UsageError(
                f"{name} has the beams {codes}: a weight is of two protons, or of partons in them"
            )


def _has_incoming_b(found: Read, theory: Theory, name: str) -> bool:
    """**Raises** `UsageError` where these are in no proton, or of a mass that can't be left out."""
    members = (member for channel in found.channels for member in channel.members)
    if not any(_B in map(abs, member.subprocess.incoming) for member in members):
        return False
    if theory.flavours < _B:
        raise UsageError(f"{name} has incoming b quarks, which are in a proton of five: add flavours=5")
    if (mass := found.model.by_code[_B].mass) not in ("MB", "ZERO"):
        raise UsageError(
            f"{name} has incoming b quarks, whose mass {mass} weights do not know: use flavours=4"
        )
    return True


def _refuse_alike(parts: list[tuple[Subprocess, list[tuple[int, ...]]]], name: str) -> None:
    """**Raises** `UsageError` where one event may be of two final states with other decays.

    Those with equal decays are summed: t W⁻ and t̄ W⁺ make the same leptons.
    """
    for i, (one, its_leptons) in enumerate(parts):
        for other, their_leptons in parts[i + 1 :]:
            kinds = [{tuple(sorted(each)) for each in leptons} for leptons in (its_leptons, their_leptons)]
            alike = kinds[0] & kinds[1]
            shapes = {_shape(each.products, each.requirements.through) for each in (one, other)}
            if alike and (len(shapes) > 1 or _topology(one) or _topology(other)):
                raise UsageError(
                    f"{name} has final states with equal leptons {min(alike)} and other decays, and no "
                    "weight is the sum of these: write reactions of their own, and add their weights"
                )


def _refuse_other_trees(subprocesses: Sequence[Subprocess], name: str) -> None:
    """**Raises** `UsageError` where final states of one event have other decays: a map is of one tree."""
    trees = {_shape(each.products, each.requirements.through): each for each in subprocesses}
    if len(trees) > 1:
        one, other = (each.outgoing for each in list(trees.values())[:2])
        raise UsageError(
            f"{name} sums final states of equal leptons, such as {one} and {other}, that come of other "
            "decays, and a map is of one tree of decays: write reactions of their own, and add their weights"
        )


def _shape(nodes: Sequence[Node], through: Any = ()) -> tuple[Any, ...]:
    """What decays, and into how much; equal for equal trees but for the names of the legs."""
    inner = ((abs(node.particle), _shape(node.into)) if isinstance(node, Branch) else None for node in nodes)
    return (*inner, tuple(tuple(map(abs, group)) for group in through))


def _classes(found: Read, subprocesses: Sequence[Subprocess], name: str) -> tuple[ParticleClass, ...]:
    """The classes of the legs, the same in all final states."""
    kinds = dict.fromkeys(each.outgoing for each in subprocesses)
    classes = {tuple(_class_of(found, code) for code in outgoing) for outgoing in kinds}
    if len(classes) > 1:
        one, other = sorted(classes)[:2]
        raise UsageError(
            f"{name} has legs of the classes {' '.join(one)}, and of {' '.join(other)}: final states that "
            "are summed have legs of the same classes in the same order; write reactions of their own"
        )
    return classes.pop()


def _class_of(found: Read, code: int) -> ParticleClass:
    if abs(code) not in _CLASSES:
        particle = found.model.by_code[code]
        raise UsageError(
            f"weights are of charged leptons, neutrinos, photons, taus and jets, and {found.reaction} makes "
            f"{particle.name if code > 0 else particle.antiname}: let it decay, or ask for |M|² alone"
        )
    return _CLASSES[abs(code)]


def _flavours(subprocess: Subprocess, classes: Sequence[str]) -> tuple[Flavour, ...]:
    """What a tag sees of the legs that jets are assigned to."""
    kinds = zip(subprocess.outgoing, classes, strict=True)
    return tuple(_TAGGED.get(abs(code), "light") for code, kind in kinds if kind in JETS)


def _by_amplitude(
    found: Read, members: Sequence[tuple[int, Member]], classes: Sequence[str], single: str | None
) -> _Channels:
    """Initial states, gathered by equal |M|² of equal momenta, and by flavours of jets.

    **Arguments:** `single`: of a reaction of one final state, its name.
    """
    together: dict[tuple[int, bool, tuple[Flavour, ...]], list[InitialState]] = {}
    written = {member.subprocess.incoming for _, member in members}
    for number, member in members:
        first, second = member.subprocess.incoming
        flavours = _flavours(member.subprocess, classes)
        together.setdefault((number, member.turned, flavours), []).append((first, second))
        if (second, first) not in written:  # either proton has either parton
            together.setdefault((number, not member.turned, flavours), []).append((second, first))
    for number, turned, flavours in list(together):
        both = (number, False, flavours), (number, True, flavours)
        if not turned and both[1] in together and _symmetric(found, found.channels[number]):
            together[both[0]] += together.pop(both[1])
    states = [state for each in together.values() for state in each]
    if single is not None and len(set(states)) != len(states):
        raise UsageError(
            f"{single} has one initial state in several terms: write them as reactions of their own"
        )
    return _Channels(
        tuple(map(tuple, together.values())),
        tuple(flavours for _, _, flavours in together),
        tuple((number, turned) for number, turned, _ in together) if single is None else (),
    )


@cache
def _symmetric(found: Read, channel: Channel) -> bool:
    """Whether |M|² is the same with the partons exchanged, at two typical points and so everywhere."""
    codes = (*channel.subprocess.incoming, *channel.subprocess.outgoing)
    masses = [_default(found, found.model.by_code[code].mass) for code in codes]
    points = typical_momenta(masses, 2)
    exchanged = points[:, [1, 0, *range(2, len(codes))]]
    one, other = (channel.amplitude.reference(each) for each in (points, exchanged))
    return bool(np.allclose(one, other, rtol=1e-9, atol=0.0))


def _topology(subprocess: Subprocess) -> str:
    """The tree with two neutrinos whose map is made by hand; none of another one."""
    for topology, tree in _TREES.items():
        if _fits(subprocess.products, tree) or _fits_as_leptons(subprocess.products, tree):
            return topology
    return ""


def _fits(nodes: Sequence[Node], tree: Sequence[Any]) -> bool:
    if len(nodes) != len(tree):
        return False
    for node, wanted in zip(nodes, tree, strict=True):
        if isinstance(wanted, int):
            if isinstance(node, Branch) or not _is_kind(node, wanted):
                return False
        elif not (isinstance(node, Branch) and node.particle == wanted[0] and _fits(node.into, wanted[1])):
            return False
    return True


def _fits_as_leptons(nodes: Sequence[Node], tree: Sequence[Any]) -> bool:
    """Whether legs that come of nothing written are what the bosons of a tree decay to."""
    wanted = [leaf for _, into in tree for leaf in into]
    return all(isinstance(leaf, int) and abs(leaf) == 1 for leaf in wanted) and _fits(nodes, wanted)


def _is_kind(code: int, wanted: int) -> bool:
    """Of ±1: a lepton or a neutrino with this sign of its code, as a W makes them; else the very code."""
    if abs(wanted) != 1:
        return code == wanted
    charged = abs(code) in (11, 13)
    return (charged or abs(code) in (12, 14, 16)) and (code > 0) == (wanted > 0)


def _resonances(
    found: Read, subprocess: Subprocess, classes: Sequence[str]
) -> tuple[tuple[str, str] | None, tuple[str, str] | None]:
    """(mass, width) of a narrow resonance of the whole event, and of a wide one of two seen legs."""
    required = [each[0] for each in subprocess.requirements.through if len(each) == 1]
    if len(subprocess.products) == 1 and isinstance(subprocess.products[0], Branch):
        required.append(subprocess.products[0].particle)
    inner = frozenset().union(*(channel.inner for channel in found.channels))
    if not required and len(classes) == 2:
        required = [code for code in inner if found.model.by_code[code].width != "ZERO"]
    if len(required) != 1:
        return None, None
    particle = found.model.by_code[required[0]]
    pair = particle.mass, particle.width
    mass, width = (_default(found, each) for each in pair)
    if "ZERO" in pair or mass == 0:
        return None, None
    return (pair, None) if width < _NARROW * mass else (None, pair if len(classes) == 2 else None)


def _default(found: Read, parameter: str) -> float:
    return abs(found.defaults.get(parameter, 0.0))
