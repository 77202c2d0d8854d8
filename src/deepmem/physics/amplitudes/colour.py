"""Colour: a current is a sum over colour states, products of strings of generators T^a over external legs.

A state is (kind, head, tail, closed). What is open is

    "1" nothing;  "R" a row ψ̄_q, `tail` ending at q;  "C" a column ψ_p, `head` beginning at p;
    "P" a matrix M_pq = Σ_a M^a T^a_pq, the string `head` of gluons;  "B" a matrix head ⊗ tail.

Strings are tuples of legs, (row leg, gluons …, column leg); a trace holds gluons only. All follows from

    Σ_a T^a_ij T^a_kl = ½ (δ_il δ_jk − δ_ij δ_kl/N),    f^abc = −2i Tr([T^a, T^b] T^c),    N = 3.

Factors of −i of f are counted apart (`turns`), so that the others are rational.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from typing import NamedTuple, TypeAlias

from deepmem.physics.errors import ModelError

N = 3
"""Of SU(N)."""

String: TypeAlias = tuple[int, ...]


class State(NamedTuple):
    """One colour structure of a current; see the module."""

    kind: str
    head: String
    tail: String
    closed: tuple[String, ...]


Combination: TypeAlias = list[tuple[State, Fraction]]
"""States with their factors."""

SINGLET = State("1", (), (), ())
_HALF = Fraction(1, 2)


def external(colour: int, leg: int) -> State:
    """The state of a leg, by the representation of the particle that leaves: 1, 3, −3 or 8."""
    return {
        1: SINGLET,
        3: State("R", (), (leg,), ()),
        -3: State("C", (leg,), (), ()),
        8: State("P", (leg,), (), ()),
    }[colour]


def _closed(*parts: Iterable[String]) -> tuple[String, ...]:
    return tuple(sorted(string for part in parts for string in part))


def product(a: State, b: State) -> State:
    """M₁M₂, Mψ, ψ̄M, ψ̄ψ: the product over neighbouring open indices; a factor where one has none."""
    rest = (a.closed, b.closed)
    if a.kind == "1":
        return State(b.kind, b.head, b.tail, _closed(*rest))
    if b.kind == "1":
        return State(a.kind, a.head, a.tail, _closed(*rest))
    match a.kind + b.kind:
        case "PP":
            return State("P", a.head + b.head, (), _closed(*rest))
        case "PB":
            return State("B", a.head + b.head, b.tail, _closed(*rest))
        case "BP":
            return State("B", a.head, a.tail + b.head, _closed(*rest))
        case "BB":
            return State("B", a.head, b.tail, _closed(*rest, [a.tail + b.head]))
        case "PC":
            return State("C", a.head + b.head, (), _closed(*rest))
        case "BC":
            return State("C", a.head, (), _closed(*rest, [a.tail + b.head]))
        case "RP":
            return State("R", (), a.tail + b.head, _closed(*rest))
        case "RB":
            return State("R", (), b.tail, _closed(*rest, [a.tail + b.head]))
        case "RC":
            return State("1", (), (), _closed(*rest, [a.tail + b.head]))
    raise ModelError(f"colour indices of kinds {a.kind!r} and {b.kind!r} cannot be joined")


def trace(a: State, b: State) -> tuple[State, Fraction]:
    """Tr(M₁M₂), with its factor: 0 for one generator alone, N for none."""
    rest = (a.closed, b.closed)
    match a.kind + b.kind:
        case "PP":
            string = a.head + b.head
            if not string:
                return State("1", (), (), _closed(*rest)), Fraction(N)
            first = string.index(min(string))
            cycle = string[first:] + string[:first]
            return State("1", (), (), _closed(*rest, [cycle])), Fraction(len(string) > 1)
        case "PB":
            return State("1", (), (), _closed(*rest, [b.tail + a.head + b.head])), Fraction(1)
        case "BP":
            return State("1", (), (), _closed(*rest, [a.tail + b.head + a.head])), Fraction(1)
    return State("1", (), (), _closed(*rest, [a.tail + b.head], [b.tail + a.head])), Fraction(1)


def contracted(a: State, b: State) -> Combination:
    """Both open indices summed: ψ̄ψ, ψψ̄, or A^a B^a = 2 Tr(AB) of two gluons; singlets multiply."""
    if a.kind in "PB" and b.kind in "PB":
        state, factor = trace(a, b)
        return [(state, 2 * factor)]
    return [(product(b, a) if a.kind == "C" else product(a, b), Fraction(1))]


def _generator(column: State, row: State) -> Combination:
    """The matrix of ψ̄ T^a ψ: ½ (ψ ψ̄ − ψ̄ψ/N)."""
    scalar = product(row, column)
    return [
        (State("B", column.head, row.tail, _closed(column.closed, row.closed)), _HALF),
        (State("P", (), (), scalar.closed), -_HALF / N),
    ]


class _Factor(NamedTuple):
    name: str
    indices: tuple[int, ...]


class Structure(NamedTuple):
    """A product of UFO's colour symbols."""

    factors: tuple[_Factor, ...]

    @property
    def turns(self) -> int:
        """Quarter turns, i^turns, that belong to it: −i for each f."""
        return -sum(factor.name == "f" for factor in self.factors) % 4


@cache
def structure(text: str) -> Structure:
    """A colour structure, read.

    **Raises** `ModelError` for Epsilon, EpsilonBar, sextets and whatever is unknown.
    """

    def walk(node: ast.expr) -> list[_Factor]:
        match node:
            case ast.BinOp(op=ast.Mult(), left=left, right=right):
                return walk(left) + walk(right)
            case ast.Constant(value=1):
                return []
            case ast.Call(func=ast.Name(id="f" | "d" | "T" | "Identity" as name), args=arguments):
                return [_Factor(name, tuple(ast.literal_eval(each) for each in arguments))]
        raise ModelError(
            f"{ast.unparse(node)!r} in the colour structure {text!r} is not supported: known are 1, "
            "Identity, T, f, d and products of them (no ε of three colours, no sextets)"
        )

    try:
        return Structure(tuple(walk(ast.parse(text.strip(), mode="eval").body)))
    except SyntaxError:
        raise ModelError(f"the colour structure {text!r} is no expression in Python's syntax") from None


def combine(text: str, legs: Mapping[int, State], open_leg: int) -> Combination:
    """The states of a structure's open leg, where those of the others are given (positions from 1)."""
    found = _combine(structure(text), tuple(sorted(legs.items())), open_leg)
    return list(found)


@lru_cache(maxsize=1 << 16)
def _combine(
    what: Structure, legs: tuple[tuple[int, State], ...], open_leg: int
) -> tuple[tuple[State, Fraction], ...]:
    """Factors with one unknown index are taken one after the other, until the open one is known."""
    results: dict[State, Fraction] = {}
    indices = {index for factor in what.factors for index in factor.indices}
    scalar = SINGLET
    known: dict[int, State] = {}
    for number, state in legs:
        if number in indices:
            known[number] = state
        else:
            scalar = product(scalar, state)
    for result, factor in _resolved(list(what.factors), known, scalar, open_leg):
        results[result] = results.get(result, Fraction(0)) + factor
    return tuple((state, factor) for state, factor in results.items() if factor)


def _resolved(factors: list[_Factor], known: dict[int, State], scalar: State, open_leg: int) -> Combination:
    for position, (name, indices) in enumerate(factors):
        unknown = [index for index in indices if index not in known]
        if len(unknown) > 1:
            continue
        rest = factors[:position] + factors[position + 1 :]
        found: Combination = []
        for state, factor in _evaluated(name, indices, known, unknown[0] if unknown else None):
            if unknown:
                more = _resolved(rest, {**known, unknown[0]: state}, scalar, open_leg)
            else:
                more = _resolved(rest, known, product(scalar, state), open_leg)
            found += [(last, factor * other) for last, other in more]
        return found
    if factors:
        raise ModelError("a colour structure whose factors cannot be contracted one after the other")
    return [(product(scalar, known.get(open_leg, SINGLET)), Fraction(1))]


def _evaluated(
    name: str, indices: Sequence[int], known: Mapping[int, State], unknown: int | None
) -> Combination:
    """One symbol with all indices given but `unknown`."""
    given = [known[index] for index in indices if index != unknown]
    if name == "Identity":
        return [(given[0], Fraction(1))] if unknown is not None else contracted(*given)
    if name == "T":
        if unknown is None:
            matrix, row, column = given
            return [(product(product(row, matrix), column), Fraction(1))]
        if unknown == indices[0]:
            row, column = given
            return _generator(column, row)
        matrix, other = given
        joined = product(matrix, other) if other.kind == "C" else product(other, matrix)
        return [(joined, Fraction(1))]
    sign = -1 if name == "f" else 1
    if unknown is None:
        first, second, third = given
        return [
            (state, 2 * weight * factor)
            for matrix, weight in _bracket(first, second, sign)
            for state, factor in [trace(matrix, third)]
            if factor
        ]
    # A cyclic order with the open index last: f and d do not change under it.
    at = list(indices).index(unknown)
    first, second = (known[indices[(at + shift) % 3]] for shift in (1, 2))
    found = _bracket(first, second, sign)
    if name == "d":
        state, factor = trace(first, second)
        found.append((State("P", (), (), state.closed), -2 * factor / N))
    return found


def _bracket(a: State, b: State, sign: int) -> Combination:
    """AB ± BA of two matrices; what is proportional to the unit matrix commutes."""
    if sign < 0 and any(one.kind == "P" and not one.head for one in (a, b)):
        return []
    return [(product(a, b), Fraction(1)), (product(b, a), Fraction(sign))]


def squared(first: Sequence[String], second: Sequence[String], gluons: frozenset[int]) -> Fraction:
    """Σ over the colours of all legs of one closed state times the conjugate of another."""
    mirrored = [tuple(reversed(string)) for string in second]

    def is_trace(string: String) -> bool:
        return all(leg in gluons for leg in string)

    traces = [string for string in (*first, *mirrored) if is_trace(string)]
    lines = {string[0]: string for string in first if not is_trace(string)}
    back = {string[0]: string for string in mirrored if not is_trace(string)}
    while lines:
        chain: String = ()
        start = next(iter(lines))
        while start in lines:
            string = lines.pop(start)
            other = back[string[-1]]
            chain += string[1:-1] + other[1:-1]
            start = other[-1]
        traces.append(chain)
    return _canonical(traces)


def _canonical(traces: Iterable[String]) -> Fraction:
    """Gluons are renamed in the order in which they come, so that equal sums are found again."""
    names: dict[int, int] = {}
    renamed = [tuple(names.setdefault(leg, len(names)) for leg in one) for one in sorted(traces, key=len)]
    return _traces(tuple(renamed))


@cache
def _traces(traces: tuple[String, ...]) -> Fraction:
    """Π Tr(T^a T^b …) with every gluon summed over, by the completeness relation."""
    factor, rest = Fraction(1), []
    for string in traces:
        if len(string) == 1:
            return Fraction(0)
        if string:
            rest.append(string)
        else:
            factor *= N
    if not rest:
        return factor
    first, *others = rest
    gluon, inner = first[0], first[1:]
    if gluon in inner:
        at = inner.index(gluon)
        x, y = inner[:at], inner[at + 1 :]
        return factor * _HALF * (_canonical([x, y, *others]) - _canonical([x + y, *others]) / N)
    for number, other in enumerate(others):
        if gluon in other:
            at = other.index(gluon)
            y = other[at + 1 :] + other[:at]
            left = others[:number] + others[number + 1 :]
            return factor * _HALF * (_canonical([inner + y, *left]) - _canonical([inner, y, *left]) / N)
    raise ModelError("a gluon whose colour is not summed over")
