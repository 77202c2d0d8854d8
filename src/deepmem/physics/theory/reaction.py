"""What happens, as the field writes it: a reaction read from text, and printed again.

    reaction    p p > t t~, (t > w+ b, w+ > l+ vl), (t~ > w- b~, w- > j j) ; cc
    = terms joined by ";", and "cc" where the charge conjugates are meant, too;
    term        names > names, and after commas the decays of what was made, in parentheses where they nest
    conditions  "> h >" an s-channel particle, "/ h" none of these; "QCD=2", "QED<=4" at most, "QCD==2" just.

The grammar is MadGraph's (arXiv:1405.0301). Names are not looked up here: `subprocesses` does, in a model.
`parse(str(reaction)) == reaction` for every reaction.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from typing import NamedTuple, NoReturn, TypeAlias

from deepmem.physics.errors import ReactionError

_TOKEN = re.compile(
    r"(?P<order>[A-Za-z]\w*\s*(?:\^2)?\s*(?:<=|>=|==|=|<)\s*[^\s>,;()]+)|(?P<name>[^\s>,;()/$\[\]{}@|=<]+)|(?P<mark>\S)"
)
_ORDER = re.compile(r"([A-Za-z]\w*)\s*(<=|==|=)\s*(\d{1,3})")
_REFUSED = {
    "$$": "'$$' (no s-channel particle) is not supported; '/ h' leaves a particle out of all diagrams",
    "$": "'$' (no resonance on its shell) is not supported; '/ h' leaves a particle out of all diagrams",
    "[": "'[…]' asks for loops; only tree level is supported, write the reaction without it",
    "@": "'@' (the number of a process) is not supported; leave it out",
    "{": "'{…}' asks for one polarisation; only sums over all of them are supported",
    "|": "'|' between s-channel particles is not supported; join two reactions by ';'",
}
# Of parentheses: deeper than any chain of decays.
_DEEPEST = 32


class Bound(NamedTuple):
    """A condition on the powers of a coupling that an amplitude has."""

    order: str
    relation: str
    """"<=": at most; "==": just."""
    value: int

    def __str__(self) -> str:
        return f"{self.order}{self.relation}{self.value}"


class Conditions(NamedTuple):
    """Which diagrams of a production or of a decay count."""

    through: tuple[str, ...] = ()
    """Particles of the s channel, all of which a diagram has."""
    without: tuple[str, ...] = ()
    """Particles that no diagram has."""
    orders: tuple[Bound, ...] = ()
    """None: the lowest that there is."""


NO_CONDITIONS = Conditions()


@dataclass(frozen=True)
class Decay:
    """A particle among the products, and what it becomes; the names are as written."""

    particle: str
    into: tuple[str | Decay, ...]
    conditions: Conditions = NO_CONDITIONS

    def __post_init__(self) -> None:
        _all_or_none(self.into)

    def __str__(self) -> str:
        text = _printed((self.particle,), self.into, self.conditions)
        return f"({text})" if any(isinstance(one, Decay) for one in self.into) else text


@dataclass(frozen=True)
class Production:
    """One term of a reaction: what comes in, and the tree of what goes out."""

    incoming: tuple[str, ...]
    products: tuple[str | Decay, ...]
    conditions: Conditions = NO_CONDITIONS

    def __post_init__(self) -> None:
        _all_or_none(self.products)

    def __str__(self) -> str:
        return _printed(self.incoming, self.products, self.conditions)

    @property
    def legs(self) -> tuple[str, ...]:
        """The names of the leaves, each decay in place: the outgoing legs, in order."""
        return tuple(_leaves(self.products))


@dataclass(frozen=True)
class Reaction:
    """A sum of productions, and of their charge conjugates if `conjugate`."""

    terms: tuple[Production, ...]
    conjugate: bool = False

    def __str__(self) -> str:
        return " ; ".join([*map(str, self.terms), *(["cc"] if self.conjugate else [])])


Product: TypeAlias = str | Decay


def name_of(product: Product) -> str:
    """What a product is called."""
    return product.particle if isinstance(product, Decay) else product


def _leaves(products: Sequence[Product]) -> Iterator[str]:
    for each in products:
        if isinstance(each, Decay):
            yield from _leaves(each.into)
        else:
            yield each


def _all_or_none(products: Sequence[Product]) -> None:
    """A text can't say which of two equal particles decays."""
    decayed = {each.particle for each in products if isinstance(each, Decay)}
    for each in products:
        if isinstance(each, str) and each in decayed:
            raise ReactionError(
                f"of the products {each!r} one decays and one does not: all of them do, or none"
            )


def _printed(incoming: Sequence[str], products: Sequence[Product], conditions: Conditions) -> str:
    """ "t > w+ b QCD<=0, w+ > l+ vl", from its parts."""
    parts = [*incoming, ">"]
    if conditions.through:
        parts += [*conditions.through, ">"]
    parts += map(name_of, products)
    if conditions.without:
        parts += ["/", *conditions.without]
    parts += map(str, conditions.orders)
    return ", ".join([" ".join(parts), *(str(each) for each in products if isinstance(each, Decay))])


def parse(text: str | Sequence[str]) -> Reaction:
    """The reaction that a text means; several texts are joined as by ";".

    **Raises** `ReactionError` where the text is none, asks for what is not supported, or has a decay of what
    is not there.
    """
    if not isinstance(text, str):
        text = " ; ".join(text)
    return _Reader(text).reaction()


class _Written(NamedTuple):
    """A term, or a decay of one of `incoming`, before decays are put to what they belong to."""

    incoming: tuple[str, ...]
    products: tuple[str, ...]
    conditions: Conditions
    decays: tuple[_Written, ...]
    text: str


class _Reader:
    """A text and how far it was read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        for mark, why in _REFUSED.items():
            if mark in text:
                raise ReactionError(f"{why}: {text.strip()!r}")
        self.tokens = [(match.lastgroup, match.group(), match.start()) for match in _TOKEN.finditer(text)]

    def wrong(self, why: str) -> NoReturn:
        raise ReactionError(f"{why}: {' '.join(self.text.split())!r}")

    def next_is(self, mark: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at][:2] == ("mark", mark)

    def took(self, mark: str) -> bool:
        """Whether the next token is that mark, which is then behind."""
        found = self.next_is(mark)
        self.at += found
        return found

    def reaction(self) -> Reaction:
        terms: list[Production] = []
        while True:
            if self.names_next() and self.tokens[self.at][1].casefold() == "cc" and self.alone():
                if not terms:
                    self.wrong("'cc' adds charge conjugates, and there is no reaction before it")
                self.at += 1
                if self.at < len(self.tokens):
                    self.wrong("'; cc' adds the charge conjugates of all that is before it: write it last")
                return Reaction(tuple(terms), conjugate=True)
            written = self.chain()
            terms += [Production(written.incoming, p, written.conditions) for p in _grown(written)]
            if not self.took(";"):
                break
        if self.at < len(self.tokens):
            self.wrong(f"{self.tokens[self.at][1]!r} was not expected after '{terms[-1]}'")
        return Reaction(tuple(terms))

    def names_next(self) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at][0] == "name"

    def alone(self) -> bool:
        """Whether the next token stands between semicolons."""
        after = self.tokens[self.at + 1 : self.at + 2]
        return not after or after[0][:2] == ("mark", ";")

    def names(self) -> tuple[str, ...]:
        found = []
        while self.names_next():
            found.append(self.tokens[self.at][1])
            self.at += 1
        return tuple(found)

    def chain(self) -> _Written:
        """A core and the decays after it; inside of parentheses these belong to it, too."""
        start = self.tokens[self.at][2] if self.at < len(self.tokens) else len(self.text)
        incoming, products, conditions = self.core(most=2 if self.depth == 0 else 1)
        decays = []
        while self.took(","):
            decays.append(self.decay())
        end = self.tokens[self.at][2] if self.at < len(self.tokens) else len(self.text)
        text = " ".join(self.text[start:end].split())
        return _Written(incoming, products, conditions, tuple(decays), text)

    def decay(self) -> _Written:
        if not self.took("("):
            incoming, products, conditions = self.core(most=1)
            return _Written(incoming, products, conditions, (), " ".join([*incoming, ">", *products]))
        self.depth += 1
        if self.depth > _DEEPEST:
            self.wrong(f"decays nest deeper than {_DEEPEST} levels")
        inner = self.chain()
        self.depth -= 1
        if not self.took(")"):
            self.wrong(f"the parenthesis around '{inner.text}' is not closed")
        return inner

    def core(self, most: int) -> tuple[tuple[str, ...], tuple[str, ...], Conditions]:
        """Names > names, and its conditions."""
        groups = [self.names()]
        while self.took(">"):
            groups.append(self.names())
        if len(groups) not in (2, 3) or not all(groups):
            self.wrong(
                "a reaction or a decay is 'names > names' or 'names > s-channel names > names', not this"
            )
        if len(groups[0]) > most:
            what = "one particle decays" if most == 1 else "one particle or two come in"
            self.wrong(f"{what}, not {len(groups[0])} ({' '.join(groups[0])})")
        without: list[str] = []
        orders: list[Bound] = []
        while True:
            if self.took("/"):
                names = self.names()
                if not names:
                    self.wrong("'/' is followed by the particles that no diagram may have")
                without += names
            elif self.at < len(self.tokens) and self.tokens[self.at][0] == "order":
                orders.append(self.bound())
            else:
                break
        through = groups[1] if len(groups) == 3 else ()
        return groups[0], groups[-1], Conditions(through, tuple(without), tuple(orders))

    def bound(self) -> Bound:
        text = self.tokens[self.at][1]
        found = _ORDER.fullmatch(text)
        if found is None:
            self.wrong(f"{text!r} is no order: 'QCD=2' or 'QCD<=2' (at most) and 'QCD==2' (just) are known")
        self.at += 1
        order, relation, value = found.groups()
        return Bound(order, "==" if relation == "==" else "<=", int(value))


def _grown(written: _Written) -> list[tuple[Product, ...]]:
    """The products with their decays in place: several where a particle may decay in one way or another.

    As many decays as there are equal particles: each its own, in order. One decay: all of them. Otherwise
    every choice counts, whichever of the equal particles takes which.
    """
    ways: dict[str, list[list[Decay]]] = {}
    for inner in written.decays:
        mother = inner.incoming[0]
        if mother not in written.products:
            raise ReactionError(
                f"{mother!r} decays in {inner.text!r}, but {' '.join(written.incoming)} makes "
                f"{' '.join(written.products)}: a decay of a decay stands in its parentheses, as "
                "'(t > w+ b, w+ > l+ vl)'"
            )
        ways.setdefault(mother, []).append([Decay(mother, into, inner.conditions) for into in _grown(inner)])
    choices: list[list[tuple[Decay, ...]]] = []
    for mother, decays in ways.items():
        number = written.products.count(mother)
        if len(decays) == number:
            choices.append(list(product(*decays)))
        else:
            choices.append(list(combinations_with_replacement([d for each in decays for d in each], number)))
    grown = []
    for chosen in product(*choices):
        left = {mother: list(decays) for mother, decays in zip(ways, chosen, strict=True)}
        grown.append(tuple(left[name].pop(0) if name in left else name for name in written.products))
    return grown
