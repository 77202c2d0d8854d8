"""The subprocesses of a reaction in a model: labels written out, every final state once.

A label stands for several particles ("p", "j", "l+"). A reaction becomes all choices of them that conserve
what the model's vertices do. Equal particles are not told apart, so "w- > j j" is d ū and s c̄, once each,
its legs in the order of the labels. With n equal undecayed legs, or n equal chains of decays,

    σ ∝ (1/n!) |M|²,

for production and for each decay apart; legs of a decay are never equal to others (MadGraph's rule).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, product
from math import factorial, prod
from typing import Any, NamedTuple, TypeAlias

from deepmem.physics.errors import ReactionError, unknown_name
from deepmem.physics.theory.conservation import conserved
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.reaction import Bound, Conditions, Decay, Product, Production, Reaction

DEFAULT_FLAVOURS = 4
"""Of quarks in "p", unless said otherwise."""

_CHARGED = (("l+", (-11, -13)), ("l-", (11, 13)), ("vl", (12, 14, 16)), ("vl~", (-12, -14, -16)))


class Requirements(NamedTuple):
    """`Conditions` in PDG codes."""

    through: tuple[tuple[int, ...], ...] = ()
    """Of each group one particle, on the s channel."""
    without: tuple[int, ...] = ()
    """Positive codes: neither the particle nor its antiparticle."""
    orders: tuple[Bound, ...] = ()


NO_REQUIREMENTS = Requirements()


@dataclass(frozen=True)
class Branch:
    """A particle that decays."""

    particle: int
    into: tuple[int | Branch, ...]
    requirements: Requirements = NO_REQUIREMENTS


Node: TypeAlias = int | Branch


@dataclass(frozen=True)
class Subprocess:
    """A reaction of particles of known kinds."""

    incoming: tuple[int, ...]
    products: tuple[Node, ...]
    requirements: Requirements = NO_REQUIREMENTS
    term: int = 0
    """Which term of the reaction it is of: the lowest order is that of a whole term."""

    @property
    def outgoing(self) -> tuple[int, ...]:
        """PDG codes of the outgoing legs: the leaves, each decay in place."""
        return tuple(_leaves(self.products))

    def in_order(self, order: Sequence[int]) -> Subprocess:
        """Its k-th outgoing leg at the place `order[k]`, which must be one of a leg of the same mother."""
        codes = dict(zip(order, self.outgoing, strict=True))
        return replace(self, products=_relabelled(self.products, iter(codes[k] for k in sorted(codes))))

    @property
    def identical(self) -> int:
        """Π n!, by which σ is divided."""
        return _identical(self.products)

    def levels(self) -> Iterator[tuple[tuple[int, ...], Subprocess | Branch]]:
        """The production and each decay with its place, the positions that lead to it: () the production."""
        yield (), self
        yield from _levels((), self.products)

    @property
    def resonances(self) -> frozenset[int]:
        """Positive codes of the particles that are written to decay, or for all to go through."""
        decayed = {abs(level.particle) for _, level in self.levels() if isinstance(level, Branch)}
        return frozenset(decayed.union(abs(code) for group in self.requirements.through for code in group))


def _leaves(nodes: Sequence[Node]) -> Iterator[int]:
    for node in nodes:
        if isinstance(node, Branch):
            yield from _leaves(node.into)
        else:
            yield node


def _relabelled(nodes: Sequence[Node], leaves: Iterator[int]) -> tuple[Node, ...]:
    return tuple(
        replace(node, into=_relabelled(node.into, leaves)) if isinstance(node, Branch) else next(leaves)
        for node in nodes
    )


def _levels(place: tuple[int, ...], nodes: Sequence[Node]) -> Iterator[tuple[tuple[int, ...], Branch]]:
    for position, node in enumerate(nodes):
        if isinstance(node, Branch):
            yield (*place, position), node
            yield from _levels((*place, position), node.into)


def code(node: Node) -> int:
    """The PDG code of a product."""
    return node.particle if isinstance(node, Branch) else node


def _key(node: Node) -> tuple[Any, ...]:
    """Equal for nodes that differ at most in the order of what they decay into."""
    if isinstance(node, Branch):
        return (node.particle, 1, tuple(sorted(map(_key, node.into))), node.requirements)
    return (node, 0)


def _identical(nodes: Sequence[Node]) -> int:
    factors = [factorial(number) for number in Counter(map(_key, nodes)).values()]
    return prod(factors) * prod(_identical(node.into) for node in nodes if isinstance(node, Branch))


@dataclass(frozen=True)
class Vocabulary:
    """What names mean: a user's labels first, then a model's particles, then the common labels."""

    model: Model
    labels: Mapping[str, str | Sequence[str]]
    flavours: int = DEFAULT_FLAVOURS

    def common(self) -> dict[str, tuple[int, ...]]:
        """p, j, l+, l-, vl and vl~, of those particles that the model has."""
        quarks = {
            count: [s * q for q in range(1, count + 1) for s in (1, -1)] for count in (4, self.flavours)
        }
        every = {"p": (21, *quarks[self.flavours]), "j": (21, *quarks[4]), **dict(_CHARGED)}
        known = self.model.by_code
        kept = {label: tuple(each for each in codes if each in known) for label, codes in every.items()}
        return {label: codes for label, codes in kept.items() if codes}

    def codes(self, name: str, inside: tuple[str, ...] = ()) -> tuple[int, ...]:
        """The particles of a name: one, or those of a label.

        **Raises** `UnknownNameError`; `ReactionError` for a label that is made of itself.
        """
        if name in self.labels:
            if name in inside:
                raise ReactionError(f"label {name!r} is made of itself ({' → '.join((*inside, name))})")
            parts = self.labels[name]
            parts = parts.split() if isinstance(parts, str) else parts
            if not parts:
                raise ReactionError(f"label {name!r} stands for no particle: list its particles")
            found = [each for part in parts for each in self.codes(str(part), (*inside, name))]
            return tuple(dict.fromkeys(found))
        single = self._particle(name)
        if single is not None:
            return (single,)
        common = self.common()
        if name in common:
            return common[name]
        raise unknown_name("particle or label", name, [*self.model.codes, *common, *self.labels])

    def _particle(self, name: str) -> int | None:
        """By its name, whatever the case where that is clear, or by its PDG code."""
        codes = self.model.codes
        if name in codes:
            return codes[name]
        try:
            number = int(name)
        except ValueError:
            alike = {code for each, code in codes.items() if each.casefold() == name.casefold()}
            return alike.pop() if len(alike) == 1 else None
        return number if number in codes.values() else None


def expand(
    reaction: Reaction,
    model: Model,
    labels: Mapping[str, str | Sequence[str]] | None = None,
    flavours: int = DEFAULT_FLAVOURS,
) -> tuple[Subprocess, ...]:
    """All subprocesses that conserve what the model's vertices do, in the order of the labels.

    A subprocess may still have no diagram, for want of a chain of vertices or of powers of couplings.

    **Arguments:** `labels`: particles' names by label; `flavours`: quarks in "p".

    **Raises** `UnknownNameError` for what is no particle and no label; `ReactionError` where nothing
    conserves charge, colour and angular momentum, and where terms differ in their number of legs.
    """
    words = Vocabulary(model, {} if labels is None else labels, flavours)
    found: dict[tuple[Any, ...], Subprocess] = {}
    numbers = {len(term.legs): term for term in reaction.terms}
    if len(numbers) > 1:
        one, other = list(numbers.values())[:2]
        raise ReactionError(
            f"terms that are summed have equally many legs: '{one}' has {len(one.legs)}, "
            f"'{other}' has {len(other.legs)}"
        )
    for number, term in enumerate(reaction.terms):
        for each in _subprocesses(words, term, number):
            found.setdefault(_identity(each), each)
    if reaction.conjugate:
        for each in list(found.values()):
            other_one = conjugated(each, model)
            found.setdefault(_identity(other_one), other_one)
    return tuple(found.values())


def _identity(each: Subprocess) -> tuple[Any, ...]:
    return each.incoming, tuple(sorted(map(_key, each.products))), each.requirements


def conjugated(each: Subprocess, model: Model) -> Subprocess:
    """The charge conjugate, legs in the same order."""

    def node(one: Node) -> Node:
        if isinstance(one, Branch):
            return Branch(model.conjugate(one.particle), tuple(map(node, one.into)), needs(one.requirements))
        return model.conjugate(one)

    def needs(one: Requirements) -> Requirements:
        return one._replace(through=tuple(tuple(map(model.conjugate, group)) for group in one.through))

    incoming = tuple(map(model.conjugate, each.incoming))
    return Subprocess(incoming, tuple(map(node, each.products)), needs(each.requirements), each.term)


def _subprocesses(words: Vocabulary, term: Production, number: int) -> Iterator[Subprocess]:
    requirements = _requirements(words, term.conditions)
    starts = list(product(*(words.codes(name) for name in term.incoming)))
    ends = list(_finals(words, term.products))
    whole = "'" + str(term) + "'"
    for incoming, products in _conserving(words.model, starts, ends, whole):
        yield Subprocess(incoming, products, requirements, number)


def _conserving(
    model: Model, starts: Sequence[tuple[int, ...]], ends: Sequence[tuple[Node, ...]], text: str
) -> list[tuple[tuple[int, ...], tuple[Node, ...]]]:
    """The pairs of what comes in and what goes out that the vertices' conserved numbers allow."""
    numbers = conserved(model)

    def key(codes: Sequence[int]) -> tuple[Any, ...]:
        return _charge(model, codes), numbers.total(codes)

    alike: dict[tuple[Any, ...], list[tuple[Node, ...]]] = {}
    for products in ends:
        alike.setdefault(key([*map(code, products)]), []).append(products)
    found = []
    reasons = []
    for incoming in starts:
        for products in alike.get(key(incoming), ()):
            why = _unbalanced(model, incoming, tuple(map(code, products)))
            if why is None:
                found.append((incoming, products))
            else:
                reasons.append(why)
    if found:
        return found
    charges = {_charge(model, incoming) for incoming in starts}, {charge for charge, _ in alike}
    if not charges[0] & charges[1]:
        here, there = (_thirds(max(side)) for side in charges)
        detail = f": {here} comes in and {there} goes out" if len(starts) == len(ends) == 1 else ""
        reasons = [f"charge is not conserved{detail}"]
    lead = f"no vertices of model {model.name!r} lead there, as they conserve more than charge (flavour?)"
    raise ReactionError(f"{[*reasons, lead][0]}, in {text}")


def _charge(model: Model, codes: Iterable[int]) -> int:
    return sum((1 if each > 0 else -1) * model.by_code[each].thrice_charge for each in codes)


def _thirds(charge: int) -> str:
    return f"{charge // 3:+d}" if charge % 3 == 0 else f"{charge:+d}/3"


def _unbalanced(model: Model, incoming: Sequence[int], outgoing: Sequence[int]) -> str | None:
    """Why particles can't meet at all: an odd number of fermions, or colours that make no singlet.

    N₃ triplets, N₃̄ antitriplets and N₈ octets contain a singlet if N₃ − N₃̄ is a multiple of 3, unless one
    octet is alone.
    """
    leaving = [*(-each for each in incoming), *outgoing]
    kinds = [model.by_code[each] for each in leaving]
    if sum(kind.spin % 2 == 0 for kind in kinds) % 2:
        return "angular momentum is not conserved: there is an odd number of fermions"
    colours = [
        kind.colour * (1 if each > 0 or abs(kind.colour) in (1, 8) else -1)
        for each, kind in zip(leaving, kinds, strict=True)
    ]
    triplets = sum(1 if c == 3 else -1 for c in colours if abs(c) == 3)
    alone = colours.count(8) == 1 and all(abs(c) in (1, 8) for c in colours)
    if triplets % 3 or alone:
        return "colour is not conserved: these particles make no singlet"
    return None


def _finals(words: Vocabulary, products: Sequence[Product]) -> Iterator[tuple[Node, ...]]:
    """The choices of particles for products, each multiset once."""
    places: dict[Product, list[int]] = {}
    for position, each in enumerate(products):
        places.setdefault(each, []).append(position)
    options = [
        list(combinations_with_replacement(_alternatives(words, each), len(positions)))
        for each, positions in places.items()
    ]
    seen = set()
    for chosen in product(*options):
        line: list[Node] = [0] * len(products)
        for positions, nodes in zip(places.values(), chosen, strict=True):
            for position, node in zip(positions, nodes, strict=True):
                line[position] = node
        key = tuple(sorted(map(_key, line)))
        if key not in seen:
            seen.add(key)
            yield tuple(line)


def _alternatives(words: Vocabulary, each: Product) -> list[Node]:
    if not isinstance(each, Decay):
        return list(words.codes(each))
    mothers = [(mother,) for mother in words.codes(each.particle)]
    into = list(_finals(words, each.into))
    requirements = _requirements(words, each.conditions)
    pairs = _conserving(words.model, mothers, into, f"the decay '{each}'")
    return [Branch(mother, nodes, requirements) for (mother,), nodes in pairs]


def _requirements(words: Vocabulary, conditions: Conditions) -> Requirements:
    known = {order.name.casefold(): order.name for order in words.model.orders} | {"weighted": "WEIGHTED"}
    for bound in conditions.orders:
        if bound.order.casefold() not in known:
            raise unknown_name(f"coupling order of model {words.model.name!r}", bound.order, known.values())
    return Requirements(
        through=tuple(words.codes(name) for name in conditions.through),
        without=tuple(sorted({abs(each) for name in conditions.without for each in words.codes(name)})),
        orders=tuple(bound._replace(order=known[bound.order.casefold()]) for bound in conditions.orders),
    )
