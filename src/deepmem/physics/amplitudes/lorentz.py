"""Lorentz structures: a text in UFO's alphabet becomes a list of sums and products over components.

A structure is a sum of products of Gamma, Gamma5, Sigma, Epsilon, Metric, P, ProjM, ProjP, C and Identity.
All but one of its legs are given; its derivative in the open leg is contracted once, sparsely and with
general components, in a small graph of its own. What is left of that is a `Merge`, which is played with the
components at hand. P is the momentum that leaves the vertex,

    ε⁰¹²³ = −1,    σ^μν = (i/2)[γ^μ, γ^ν],    C = iγ²γ⁰.

Source: UFO, arXiv:1108.2040, table 7; the sign of ε is that of MadGraph's ALOHA (arXiv:1108.2041).
"""

from __future__ import annotations

import ast
import itertools
import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import NamedTuple, TypeAlias

from deepmem.physics.amplitudes.graph import Complex, Graph, Reference
from deepmem.physics.amplitudes.residues import PRIME
from deepmem.physics.errors import ModelError

Components: TypeAlias = tuple[Complex, ...]
Index: TypeAlias = tuple[str, int]
"""("L" of a vector or "S" of a spinor, its number in the structure)."""
Sparse: TypeAlias = dict[tuple[int, ...], complex]
Tensor: TypeAlias = tuple[tuple[Index, ...], dict[tuple[int, ...], Complex]]

# Vector components +, −, ⊥, ⊥̄ are 0 to 3. The metric joins each with one other: A_a = factor × A^b.
_PARTNER = (1, 0, 3, 2)
_LOWER = (Fraction(1, 2), Fraction(1, 2), Fraction(-1, 2), Fraction(-1, 2))
_RAISE = (2, 2, -2, -2)

_GAMMA: Sparse = {
    (0, 1, 3): 1,
    (0, 2, 0): 1,
    (1, 0, 2): 1,
    (1, 3, 1): 1,
    (2, 1, 2): -1,
    (2, 3, 0): 1,
    (3, 0, 3): -1,
    (3, 2, 1): 1,
}
"""γ_a, by (a, row, column)."""


def _sigma() -> Sparse:
    """(i/2)[γ_a, γ_b], by (a, b, row, column)."""
    found: Sparse = {}
    for (a, i, j), x in _GAMMA.items():
        for (b, k, l), y in _GAMMA.items():
            if j == k and a != b:
                found[a, b, i, l] = found.get((a, b, i, l), 0) + 0.5j * x * y
            if l == i and a != b:
                found[a, b, k, j] = found.get((a, b, k, j), 0) - 0.5j * x * y
    return {key: value for key, value in found.items() if value}


def _epsilon() -> Sparse:
    """ε_abcd = −(i/4) × the sign of the permutation."""
    found: Sparse = {}
    for order in itertools.permutations(range(4)):
        swaps = sum(order[i] > order[j] for i in range(4) for j in range(i + 1, 4))
        found[order] = -0.25j * (-1) ** swaps
    return found


_TABLES: Mapping[str, Sparse] = {
    "Gamma": _GAMMA,
    "Sigma": _sigma(),
    "Epsilon": _epsilon(),
    "Metric": {(a, _PARTNER[a]): complex(_LOWER[a]) for a in range(4)},
    "ProjM": {(0, 0): 1, (1, 1): 1},
    "ProjP": {(2, 2): 1, (3, 3): 1},
    "Identity": {(i, i): 1 for i in range(4)},
    "Gamma5": {(0, 0): -1, (1, 1): -1, (2, 2): 1, (3, 3): 1},
    "C": {(0, 1): 1, (1, 0): -1, (2, 3): -1, (3, 2): 1},
}
_VECTOR_SLOTS = {"Gamma": 1, "Sigma": 2, "Epsilon": 4, "Metric": 2, "P": 1}
"""How many of the first arguments are indices of vectors."""


class Factor(NamedTuple):
    """One symbol with its arguments."""

    name: str
    arguments: tuple[int, ...]


class Term(NamedTuple):
    """A number × i^quarters × symbols."""

    number: Fraction
    quarters: int
    factors: tuple[Factor, ...]


@cache
def terms(structure: str) -> tuple[Term, ...]:
    """A structure multiplied out.

    **Raises** `ModelError` for what is not in the alphabet.
    """
    try:
        return tuple(_walk(ast.parse(structure.strip(), mode="eval").body, structure))
    except SyntaxError:
        raise ModelError(f"the Lorentz structure {structure!r} is no expression in Python's syntax") from None


def _times(left: Sequence[Term], right: Sequence[Term]) -> list[Term]:
    return [
        Term(a.number * b.number, a.quarters + b.quarters, a.factors + b.factors) for a in left for b in right
    ]


def _walk(node: ast.expr, structure: str) -> list[Term]:
    def inner(part: ast.expr) -> list[Term]:
        return _walk(part, structure)

    match node:
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return inner(left) + inner(right)
        case ast.BinOp(op=ast.Sub(), left=left, right=right):
            return inner(left) + _times([Term(Fraction(-1), 0, ())], inner(right))
        case ast.BinOp(op=ast.Mult(), left=left, right=right):
            return _times(inner(left), inner(right))
        case ast.BinOp(op=ast.Div(), left=left, right=ast.Constant(value=int() | float() as number)):
            return _times(inner(left), [Term(1 / Fraction(number), 0, ())])
        case ast.BinOp(op=ast.Pow(), left=left, right=ast.Constant(value=int() as power)) if power > 0:
            found = inner(left)
            for _ in range(power - 1):
                found = _times(found, inner(left))
            return found
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _times([Term(Fraction(-1), 0, ())], inner(operand))
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return inner(operand)
        case ast.Constant(value=int() | float() as number):
            return [Term(Fraction(number).limit_denominator(5040), 0, ())]
        case ast.Constant(value=complex() as number) if number.real == 0:
            return [Term(Fraction(number.imag).limit_denominator(5040), 1, ())]
        case ast.Call(func=ast.Name(id="complex"), args=[real, imaginary]):
            return inner(real) + _times([Term(Fraction(1), 1, ())], inner(imaginary))
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in _TABLES or name == "P":
            return [
                Term(Fraction(1), 0, (Factor(name, tuple(ast.literal_eval(each) for each in arguments)),))
            ]
    raise ModelError(
        f"{ast.unparse(node)!r} in the Lorentz structure {structure!r} is not supported: known are P and "
        f"{', '.join(_TABLES)} (no spin 3/2, no spin 2, no form factors)"
    )


def chain_ends(structure: str, position: int) -> bool:
    """Whether the fermion at `position` (from 1) begins a chain of spinor matrices, as a row ψ̄ does.

    **Raises** `ModelError` where no matrix has that index.
    """
    for term in terms(structure):
        for name, arguments in term.factors:
            spinors = arguments[_VECTOR_SLOTS.get(name, 0) :] if name != "P" else ()
            if position in spinors:
                return spinors[0] == position
    raise ModelError(f"the Lorentz structure {structure!r} has no index of its fermion {position}")


def _product(left: Tensor, right: Tensor) -> Tensor:
    """The product of two sparse tensors, summed over the indices that they share."""
    (first, a), (second, b) = left, right
    shared = [index for index in first if index in second]
    keep_a = [k for k, index in enumerate(first) if index not in shared]
    keep_b = [k for k, index in enumerate(second) if index not in shared]
    at_a, at_b = [first.index(i) for i in shared], [second.index(i) for i in shared]
    by_shared: dict[tuple[int, ...], list[tuple[tuple[int, ...], Complex]]] = {}
    for key, value in b.items():
        by_shared.setdefault(tuple(key[k] for k in at_b), []).append((tuple(key[k] for k in keep_b), value))
    found: dict[tuple[int, ...], Complex] = {}
    for key, value in a.items():
        rest = tuple(key[k] for k in keep_a)
        for other, factor in by_shared.get(tuple(key[k] for k in at_a), ()):
            term = value * factor
            found[rest + other] = found[rest + other] + term if rest + other in found else term
    indices = tuple(first[k] for k in keep_a) + tuple(second[k] for k in keep_b)
    return indices, {key: value for key, value in found.items() if not value.vanishes}


def vector(graph: Graph, momentum: Sequence[Reference]) -> Components:
    """The components of a real vector (p⁺, p⁻, p_x, p_y)."""
    plus, minus, x, y = momentum
    return Complex(graph, plus), Complex(graph, minus), Complex(graph, x, y), Complex(graph, x, -y)


class Merge(NamedTuple):
    """A structure with one open leg, as a list of operations on the components of the others."""

    inputs: tuple[tuple[int, int, int], ...]
    """(leg, component, 0 real | 1 imaginary) of wave functions; (−leg, component, 0) of momenta."""
    steps: tuple[tuple[str, float, float], ...]
    outputs: tuple[tuple[Reference, Reference], ...]

    def used(self, leg: int) -> frozenset[int]:
        """Which components of a leg are needed."""
        return frozenset(component for n, component, _ in self.inputs if n == leg)

    def play(
        self, graph: Graph, legs: Mapping[int, Components], momenta: Mapping[int, Sequence[Reference]]
    ) -> Components:
        """The open leg's components, with vector indices raised."""
        values: list[Reference] = [0]
        for leg, component, part in self.inputs:
            if leg < 0:
                values.append(momenta[-leg][component])
            else:
                number = legs[leg][component]
                values.append(number.im if part else number.re)
        add, mul = graph.add, graph.mul
        for kind, a, b in self.steps:
            if kind == "constant":
                values.append(graph.constant(a))
                continue
            x, y = values[int(a)], values[int(b)]
            values.append(mul(x, y) if kind == "mul" else add(x, y if kind == "add" else -y))
        return tuple(
            Complex(graph, *(values[part] if part >= 0 else -values[-part] for part in output))
            for output in self.outputs
        )


@cache
def merge(structure: str, spins: tuple[int, ...], open_leg: int) -> Merge:
    """The derivative of a structure in the field of its leg `open_leg` (from 1)."""
    graph, draw = Graph(), random.Random(2)

    def fresh(key: tuple[int, int, int]) -> Reference:
        return graph.input(key, draw.randrange(1, PRIME // 2))

    legs: dict[int, Components] = {}
    momenta: dict[int, list[Reference]] = {}
    for n, spin in enumerate(spins, 1):
        momenta[n] = [fresh((-n, k, 0)) for k in range(4)]
        if n != open_leg:
            parts = 1 if spin == 1 else 4
            legs[n] = tuple(Complex(graph, fresh((n, k, 0)), fresh((n, k, 1))) for k in range(parts))
    total: dict[tuple[int, ...], Complex] = {}
    for term in terms(structure):
        for key, value in _contracted(graph, term, spins, legs, momenta).items():
            value = value.turned(term.quarters).times(term.number)
            total[key] = total[key] + value if key in total else value
    none, spin = Complex(graph), spins[open_leg - 1]
    if spin == 1:
        outputs = [total.get((), none)]
    elif spin == 2:
        outputs = [total.get((k,), none) for k in range(4)]
    else:
        outputs = [total.get((_PARTNER[k],), none).times(_RAISE[k]) for k in range(4)]
    return _recorded(graph, outputs)


def _contracted(
    graph: Graph,
    term: Term,
    spins: tuple[int, ...],
    legs: Mapping[int, Components],
    momenta: Mapping[int, Sequence[Reference]],
) -> dict[tuple[int, ...], Complex]:
    """One product of symbols, contracted with the legs; what shares an index first, small results first."""
    tensors = _tensors(graph, term.factors, momenta)

    def cost(pair: tuple[int, int]) -> tuple[int, int]:
        (first, a), (second, b) = tensors[pair[0]], tensors[pair[1]]
        shared = set(first) & set(second)
        return len(set(first) ^ set(second)) - 10 * len(shared), len(a) * len(b)

    for n, components in legs.items():
        indices: tuple[Index, ...] = () if spins[n - 1] == 1 else (("S" if spins[n - 1] == 2 else "L", n),)
        tensors.append((indices, {((k,) if indices else ()): z for k, z in enumerate(components)}))
    while len(tensors) > 1:
        i, j = min(itertools.combinations(range(len(tensors)), 2), key=cost)
        joined = _product(tensors[i], tensors[j])
        tensors[:] = [each for k, each in enumerate(tensors) if k not in (i, j)] + [joined]
    return tensors[0][1] if tensors else {(): Complex(graph, graph.one)}


def _tensors(
    graph: Graph, factors: Sequence[Factor], momenta: Mapping[int, Sequence[Reference]]
) -> list[Tensor]:
    """The symbols as tensors; of a summed vector index the second one is raised."""
    one, seen, found = Complex(graph, graph.one), set(), []
    for name, arguments in factors:
        if name == "P":
            up = vector(graph, momenta[arguments[1]])
            table: dict[tuple[int, ...], Complex] = {(a,): up[_PARTNER[a]].times(_LOWER[a]) for a in range(4)}
            indices: tuple[Index, ...] = (("L", arguments[0]),)
        else:
            table = {
                key: one.turned(0 if value.imag == 0 else 1).times(Fraction(value.real + value.imag))
                for key, value in ((key, complex(value)) for key, value in _TABLES[name].items())
            }
            vectors = _VECTOR_SLOTS.get(name, 0)
            indices = tuple(("L" if slot < vectors else "S", a) for slot, a in enumerate(arguments))
        for slot, (kind, number) in enumerate(indices):
            if kind == "L" and number < 0 and number in seen:
                table = {
                    (*key[:slot], _PARTNER[key[slot]], *key[slot + 1 :]): value.times(_RAISE[key[slot]])
                    for key, value in table.items()
                }
            if kind == "L" and number < 0:
                seen.add(number)
        found.append((indices, table))
    return found


def _recorded(graph: Graph, outputs: Sequence[Complex]) -> Merge:
    """The live part of a graph as a list of steps."""
    live = graph.live(part for output in outputs for part in output.key)
    number_of = {0: 0}
    inputs, steps = [], []
    for node in live:
        if graph.nodes[node][0] == "input":
            inputs.append(graph.nodes[node][1])
            number_of[node] = len(inputs)
    for node in live:
        kind, *arguments = graph.nodes[node]
        if kind == "input":
            continue
        if kind == "constant":
            steps.append((kind, arguments[0], 0.0))
        else:
            steps.append((kind, number_of[arguments[0]], number_of[arguments[1]]))
        number_of[node] = len(inputs) + len(steps)

    def renamed(part: Reference) -> Reference:
        return number_of[part] if part >= 0 else -number_of[-part]

    return Merge(tuple(inputs), tuple(steps), tuple((renamed(z.re), renamed(z.im)) for z in outputs))
