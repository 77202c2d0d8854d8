"""What may be large in a reaction's phase space: the propagators of each of its diagrams, as values.

    gg → t t̄ b b̄, (t → W⁺ b, …):   exchanged t; blobs t(W⁺(ℓ⁺ ν) b), t̄*(t̄(…) g(b b̄))

The blobs of a `Topology` are the trees of what a diagram makes between exchanges in t, in their order from
the first parton to the second; without an exchange they are what the whole decays into. Diagrams with equal
propagators are one topology, and one whose propagators are among another's (a vertex of four) is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple, TypeAlias

from deepmem.physics.amplitudes.plan import Recipes, levels, plan
from deepmem.physics.errors import PlanError
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.subprocesses import Branch, Subprocess

LARGEST_NUMBER = 2000
"""Of the topologies of one subprocess."""


class Line(NamedTuple):
    """A propagator."""

    mass: str
    """The name of a parameter of the model; "ZERO": massless."""
    width: str
    spin: int
    """2s + 1."""


@dataclass(frozen=True)
class Node:
    """What a blob is made of, from its root to the outgoing legs."""

    legs: int
    """Bits of the outgoing legs that come of it."""
    line: Line | None = None
    """Its propagator; None: a leg, or there is none."""
    children: tuple[Node, ...] = ()
    """Two, or of a leg none."""
    written: bool = False
    """Whether it is a resonance of the reaction's text."""


@dataclass(frozen=True)
class Topology:
    """The propagators of some diagrams."""

    whole: Line | None
    """Of the s channel, if all goes through one particle."""
    written: bool
    """Whether the text asks for this particle."""
    blobs: tuple[Node, ...]
    exchanged: tuple[Line, ...]
    """In t, between each blob and the next one; none: the whole decays into two blobs."""


_Propagator: TypeAlias = tuple[int, bool, Line]
"""Bits of outgoing legs; whether it is exchanged in t, these legs being on the second parton's side."""
_Bits: TypeAlias = tuple[int, ...]
_Family: TypeAlias = frozenset[_Propagator]


def topologies(model: Model, subprocess: Subprocess) -> tuple[Topology, ...]:
    """All topologies of a subprocess of two partons.

    **Raises** `PlanError` for other than two incoming and two or more outgoing particles, or more topologies
    than `LARGEST_NUMBER`; `ReactionError` where there is no diagram.
    """
    legs = len(subprocess.outgoing)
    if len(subprocess.incoming) != 2 or legs < 2:
        raise PlanError(
            f"phase space is of two incoming and two or more outgoing particles, not of "
            f"{len(subprocess.incoming)} → {legs}: let what is made decay"
        )
    places = dict(_places(subprocess))
    by_level = [
        _of_level(model, plan(model, level, "it"), places[place], not place)
        for place, level in levels(model, subprocess)
    ]
    written = {
        bits: _line(model, branch.particle)
        for place, branch in subprocess.levels()
        if isinstance(branch, Branch)
        for bits in (_bits(places[place]),)
    }
    decayed: _Family = frozenset((bits, False, line) for bits, line in written.items())
    found: set[_Family] = {decayed}
    for families in by_level:
        found = _largest({one | other for one in found for other in families})
    everything = (1 << legs) - 1
    through = {each for group in subprocess.requirements.through for each in group}
    asked = {_line(model, each) for each in through}
    return tuple(
        _topology(family, everything, frozenset(written), asked) for family in sorted(found, key=_order)
    )


def _order(family: _Family) -> list[_Propagator]:
    return sorted(family)


def _places(subprocess: Subprocess) -> Iterator[tuple[_Bits, _Bits]]:
    """For the production and each decay, by its place, the bits of legs of each of its products."""
    number = 0

    def below(
        nodes: Sequence[int | Branch], place: tuple[int, ...]
    ) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        nonlocal number
        products = []
        for position, node in enumerate(nodes):
            if isinstance(node, Branch):
                inner = list(below(node.into, (*place, position)))
                yield from inner
                products.append(_bits(inner[-1][1]))
            else:
                products.append(1 << number)
                number += 1
        yield place, tuple(products)

    yield from below(subprocess.products, ())


def _bits(products: Sequence[int]) -> int:
    return sum(products)


def _line(model: Model, label: int) -> Line:
    particle = model.by_code[label]
    return Line(particle.mass, particle.width, particle.spin)


def _of_level(model: Model, recipes: Recipes, products: Sequence[int], production: bool) -> set[_Family]:
    """The families of propagators of a production, or of a decay, in bits of outgoing legs."""
    full = max(subset for subset, _ in recipes)
    bits = (0, *products) if production else tuple(products)
    families: dict[object, set[_Family]] = {}
    whole: set[_Family] = set()
    for current, ways in recipes.items():
        subset, key = current
        if not ways:
            families[current] = {frozenset()}
            continue
        made = {
            frozenset[_Propagator]().union(*parts)
            for way in ways
            for parts in product(*(families[part] for part in way.parts))
        }
        if subset == full:
            whole |= made
            continue
        legs = sum(each for k, each in enumerate(bits) if subset >> k & 1)
        own: _Propagator = (legs, production and bool(subset & 1), _line(model, key.label))
        families[current] = _largest({family | {own} for family in made})
    return _largest(whole)


def _largest(families: set[_Family]) -> set[_Family]:
    """Those that are no part of another one."""
    if len(families) > LARGEST_NUMBER:
        raise PlanError(
            f"the reaction has more than {LARGEST_NUMBER} topologies of diagrams, and no map is made of so "
            "many: leave particles out with '/', or bound a coupling order"
        )
    by_size = sorted(families, key=len, reverse=True)
    kept: list[_Family] = []
    for family in by_size:
        if not any(family < other for other in kept):
            kept.append(family)
    return set(kept)


def _topology(family: _Family, everything: int, written: frozenset[int], asked: set[Line]) -> Topology:
    lines = {legs: line for legs, exchanged, line in family if not exchanged}
    across = sorted(((legs, line) for legs, exchanged, line in family if exchanged), key=_size, reverse=True)
    whole = lines.pop(everything, None)
    if not across:
        node = _nested(everything, lines, written)
        return Topology(whole, everything in written or whole in asked, node.children, ())
    # from the first parton: what is not yet on the second one's side
    ends = [everything, *(legs for legs, _ in across), 0]
    blobs = tuple(_nested(one & ~other, lines, written) for one, other in pairwise(ends))
    return Topology(whole, False, blobs, tuple(line for _, line in across))


def _size(exchanged: tuple[int, Line]) -> int:
    return exchanged[0].bit_count()


def _nested(legs: int, lines: Mapping[int, Line], written: frozenset[int]) -> Node:
    """The tree of some legs; where more than two meet in a vertex, the first ones are put together."""
    if legs.bit_count() == 1:
        return Node(legs)
    inside = [each for each in lines if each & ~legs == 0 and each != legs]
    largest = [each for each in inside if not any(each & ~other == 0 and each != other for other in inside)]
    single = [1 << k for k in range(legs.bit_length()) if legs >> k & 1]
    rest = [each for each in single if not any(each & ~other == 0 for other in largest)]
    children = [_nested(each, lines, written) for each in sorted((*largest, *rest))]
    while len(children) > 2:
        first, second, *others = children
        children = [Node(first.legs | second.legs, None, (first, second)), *others]
    return Node(legs, lines.get(legs), tuple(children), legs in written)


class Radiating(NamedTuple):
    """A resonance of the text, and the same particle before it radiated something."""

    before: int
    """Bits of outgoing legs."""
    after: int
    line: Line


def radiating(topologies: Sequence[Topology]) -> tuple[Radiating, ...]:
    """All such pairs in the diagrams of some topologies."""
    found: dict[Radiating, None] = {}

    def look(node: Node) -> None:
        for inner in _within(node):
            if inner.written and not node.written and node.line == inner.line and node.line is not None:
                found[Radiating(node.legs, inner.legs, node.line)] = None
        for child in node.children:
            look(child)

    for topology in topologies:
        for blob in topology.blobs:
            look(blob)
    return tuple(found)


def _within(node: Node) -> Iterator[Node]:
    for child in node.children:
        yield child
        yield from _within(child)
