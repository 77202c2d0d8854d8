"""The vertices of a model, by what comes together: labels of currents → rules for the current that they make.

A label is the PDG code of what leaves. Of n particles of a vertex n − 1 are given, as currents whose legs
leave; the last one is open: the vertex lists what leaves it, so the label of the new current is the conjugate
of the one that is listed there. Equal particles are exchanged by the structures of a vertex, hence one order
of them suffices. Couplings of different orders in one vertex are rules of their own.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import NamedTuple, TypeAlias

from deepmem.physics.amplitudes.lorentz import chain_ends
from deepmem.physics.theory.model import Model, Particle, Vertex

Powers: TypeAlias = tuple[int, ...]
"""Of the model's coupling orders, in their order."""


class Part(NamedTuple):
    """One structure of a rule."""

    colour: str
    lorentz: str
    spins: tuple[int, ...]
    coupling: str


class Rule(NamedTuple):
    """What is made of some currents."""

    label: int
    open_leg: int
    """The position (from 1) in the vertex of what is made."""
    positions: tuple[int, ...]
    """Of the currents, sorted by label."""
    powers: Powers
    parts: tuple[Part, ...]
    refused: str
    """Why no amplitude can have the vertex; "": it can."""


class Vertices(NamedTuple):
    """Rules by the sorted labels of currents, and the sizes of groups of currents for which there are any."""

    rules: dict[tuple[int, ...], list[Rule]]
    sizes: tuple[int, ...]


_KNOWN: dict[str, Vertices] = {}


def vertices(model: Model) -> Vertices:
    """The rules of a model, collected once."""
    if model.digest not in _KNOWN:
        _KNOWN[model.digest] = _collected(model)
    return _KNOWN[model.digest]


def _collected(model: Model) -> Vertices:
    orders = [order.name for order in model.orders]
    powers_of = {
        each.name: tuple(dict(each.orders).get(order, 0) for order in orders) for each in model.couplings
    }
    shapes = {each.name: each for each in model.lorentz}
    rules: dict[tuple[int, ...], list[Rule]] = defaultdict(list)
    for vertex in model.vertices:
        refused = vertex.refused or _unsupported(model, vertex)
        groups: dict[Powers, list[Part]] = defaultdict(list)
        for colour, lorentz, coupling in vertex.couplings:
            shape = shapes[vertex.lorentz[lorentz]]
            part = Part(vertex.colour[colour], shape.structure, shape.spins, coupling)
            groups[powers_of[coupling]].append(part)
        for position, code in enumerate(vertex.particles, 1):
            if code in vertex.particles[: position - 1]:
                continue
            others = sorted((other, at) for at, other in enumerate(vertex.particles, 1) if at != position)
            labels = tuple(label for label, _ in others)
            positions = tuple(at for _, at in others)
            for powers, parts in groups.items():
                rule = Rule(model.conjugate(code), position, positions, powers, tuple(parts), refused)
                rules[labels].append(rule)
    return Vertices(dict(rules), tuple(sorted({len(labels) for labels in rules})))


def unsupported(particle: Particle) -> str:
    """Why amplitudes cannot have a particle; "": they can."""
    if particle.spin in (1, 2, 3) and particle.colour in (1, 3, -3, 8):
        return ""
    return (
        f"{particle.name} has 2s + 1 = {particle.spin} and colour {particle.colour}: amplitudes can do spins "
        "0, 1/2 and 1, and colour 1, 3 and 8"
    )


def _unsupported(model: Model, vertex: Vertex) -> str:
    reasons = (unsupported(model.by_code[code]) for code in vertex.particles)
    return next((f"vertex {vertex.name}: {why}" for why in reasons if why), "")


@cache
def fermion_order(lorentz: str, spins: tuple[int, ...], open_leg: int) -> tuple[int, ...]:
    """The fermions of a structure but the open one, along its chains: row, column, and the open one's last.

    Fermions are paired as UFO pairs them, the first with the second, the third with the fourth.
    """
    fermions = [n for n, spin in enumerate(spins, 1) if spin == 2]
    pairs = [fermions[k : k + 2] for k in range(0, len(fermions), 2)]
    pairs.sort(key=lambda pair: open_leg in pair)
    found = []
    for pair in pairs:
        rows_first = sorted(pair, key=lambda n: not chain_ends(lorentz, n))
        found += [n for n in rows_first if n != open_leg]
    return tuple(found)
