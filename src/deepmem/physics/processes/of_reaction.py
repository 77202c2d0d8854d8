"""A process that a user says: "NAME=p p > …", or the reaction alone, in place of a name of the menu.

Which of its legs are seen follows from their kind: charged leptons and b quarks are, neutrinos are not. How
its weight is integrated follows from its tree of decays: one of the menu's, or all energies where everything
is seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from deepmem.errors import UsageError
from deepmem.physics.amplitudes.channels import Channel
from deepmem.physics.amplitudes.points import typical_momenta
from deepmem.physics.processes.base import (
    MISSING_COLUMNS,
    InitialState,
    ParticleClass,
    Process,
    jet_columns,
    lepton_columns,
)
from deepmem.physics.processes.generated import Generated
from deepmem.physics.reactions import Read, Theory, read
from deepmem.physics.theory.model import Particle
from deepmem.physics.theory.subprocesses import Branch, Node, Subprocess

_NAMED = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)\s*(.*>.*)", re.DOTALL)
_CLASSES: Mapping[int, ParticleClass] = MappingProxyType(
    {11: "lepton", 13: "lepton", 5: "bjet", 12: "invisible", 14: "invisible", 16: "invisible"}
)
_SEEN, _ESCAPING = (
    MappingProxyType({"lepton": 0.02, "bjet": 0.10}),
    MappingProxyType({"lepton": 0.05, "bjet": 0.10}),
)
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


@lru_cache(maxsize=64)
def process_of(text: str, theory: Theory) -> Process:
    """The process of a reaction in a model.

    **Raises** as `reactions.read`, and `UsageError` where there is no weight of it: other beams than protons
    or partons, several final states, a leg that no response is for, or a tree without a plan.
    """
    name, reaction = named(text)
    found = read(reaction, theory)
    subprocess = _only_final_state(found, name)
    classes = tuple(_class_of(found, code) for code in subprocess.outgoing)
    topology = _topology(subprocess, name) if classes.count("invisible") > 1 else ""
    channels = _by_amplitude(found, name)
    depends = frozenset().union(*(channel.parameters for channel in found.channels))
    counts = {kind: classes.count(kind) for kind in classes}
    escaping = counts.get("invisible", 0)
    resonance, wide = _resonances(found, subprocess, classes)
    if topology == "W pair" and resonance is not None:
        topology = "Higgs boson to W pair"
    responses = _ESCAPING if escaping else _SEEN
    return Process(
        name=name,
        title=str(found.reaction),
        reference="arXiv:1405.0301 (the language of reactions)",
        outgoing=subprocess.outgoing,
        classes=classes,
        columns=(
            *lepton_columns(counts.get("lepton", 0), flavour=counts.get("lepton", 0) > 2),
            *jet_columns(counts.get("bjet", 0)),
            *(MISSING_COLUMNS if escaping else ()),
        ),
        parameters=tuple(each for each in found.parameters() if each in depends),
        channels=tuple(channels),
        matrix_elements=Generated(reaction, tuple(states[0] for states in channels), theory),
        scale=_heaviest(found, subprocess),
        # of three numbers of a neutrino, missing pT gives one in two
        dimensions=len(classes) + (2 if escaping == 2 else 0),
        responses=MappingProxyType({kind: r for kind, r in responses.items() if kind in classes}),
        resonance=resonance,
        wide_resonance=wide,
        topology=topology,
        reaction=reaction,
        assignments=(0, 1) if topology == "top pair" else (0,),
    )


def _only_final_state(found: Read, name: str) -> Subprocess:
    members = [member.subprocess for channel in found.channels for member in channel.members]
    states = {member.outgoing for member in members}
    if len(states) > 1:
        raise UsageError(
            f"{name} has {len(states)} final states, and a weight is of one: write particles in place of "
            "labels, such as e+ for l+"
        )
    for codes in {member.incoming for member in members}:
        if len(codes) != 2 or any(code != 21 and not 1 <= abs(code) <= 5 for code in codes):
            raise UsageError(
                f"{name} has the beams {codes}: a weight is of two protons, or of partons in them"
            )
        if 5 in map(abs, codes):
            raise UsageError(
                f"{name} has incoming b quarks, whose mass weights do not know: use flavours=4, or the "
                "partons u, d, s, c and g by name"
            )
    return members[0]


def _class_of(found: Read, code: int) -> ParticleClass:
    if abs(code) not in _CLASSES:
        particle = found.model.by_code[code]
        raise UsageError(
            f"weights are of charged leptons, neutrinos and b quarks, and {found.reaction} makes "
            f"{particle.name if code > 0 else particle.antiname}: let it decay, or ask for |M|² alone"
        )
    return _CLASSES[abs(code)]


def _by_amplitude(found: Read, name: str) -> list[tuple[InitialState, ...]]:
    """Initial states, gathered by equal |M|² of equal momenta."""
    together: dict[tuple[int, bool], list[InitialState]] = {}
    written = {member.subprocess.incoming for channel in found.channels for member in channel.members}
    for number, channel in enumerate(found.channels):
        for member in channel.members:
            first, second = member.subprocess.incoming
            together.setdefault((number, member.turned), []).append((first, second))
            if (second, first) not in written:  # either proton has either parton
                together.setdefault((number, not member.turned), []).append((second, first))
    for number, channel in enumerate(found.channels):
        if {(number, False), (number, True)} <= together.keys() and _symmetric(found, channel):
            together[number, False] += together.pop((number, True))
    states = [state for each in together.values() for state in each]
    if len(set(states)) != len(states):
        raise UsageError(
            f"{name} has one initial state in several terms: write them as reactions of their own"
        )
    return [tuple(each) for each in together.values()]


def _symmetric(found: Read, channel: Channel) -> bool:
    """Whether |M|² is the same with the partons exchanged, at two typical points and so everywhere."""
    codes = (*channel.subprocess.incoming, *channel.subprocess.outgoing)
    masses = [_default(found, found.model.by_code[code].mass) for code in codes]
    points = typical_momenta(masses, 2)
    exchanged = points[:, [1, 0, *range(2, len(codes))]]
    one, other = (channel.amplitude.reference(each) for each in (points, exchanged))
    return bool(np.allclose(one, other, rtol=1e-9, atol=0.0))


def _topology(subprocess: Subprocess, name: str) -> str:
    """The tree whose map has two neutrinos. **Raises** `UsageError` where there is none."""
    for topology, tree in _TREES.items():
        if _fits(subprocess.products, tree):
            return topology
    raise UsageError(
        f"{name} has several particles that escape, and no plan for its tree of decays: there are plans for "
        "'t t~, (t > w+ b, w+ > e+ ve), (t~ > w- b~, w- > mu- vm~)' and 'w+ w-, w+ > e+ ve, w- > mu- vm~', "
        "legs in this order, also after '> h >'"
    )


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


def _heaviest(found: Read, subprocess: Subprocess) -> str | float:
    """The scale Q: the mass of the heaviest particle that is written, else that of the Z."""
    written = {abs(code) for code in subprocess.outgoing}
    written |= {abs(level.particle) for _, level in subprocess.levels() if isinstance(level, Branch)}
    written |= {abs(code) for group in subprocess.requirements.through for code in group}
    particles = [found.model.by_code[code] for code in written]
    heaviest: Particle | None = max(particles, key=lambda each: _default(found, each.mass), default=None)
    if heaviest is None or _default(found, heaviest.mass) < _default(found, "MB"):
        return "MZ"
    return heaviest.mass


def _default(found: Read, parameter: str) -> float:
    return abs(found.defaults.get(parameter, 0.0))
