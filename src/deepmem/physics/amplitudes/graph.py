"""A graph of real scalars in which equal numbers are one node.

Every node is +, −, ×, 1/x of older ones, a constant or an input; it is evaluated in a prime field
(`residues`) while the graph grows. A node whose value is 0 is nothing; one whose value is ± that of an older
node is that node. So vanishing helicities, massless spinors of two components, p·J = 0, parity and reflection
follow without a rule that knows of them.

A reference to a node is a signed integer: 0 is the number zero, −k is minus node k.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Mapping
from fractions import Fraction
from typing import TypeAlias

from deepmem.physics.amplitudes.residues import PRIME, residue

Reference: TypeAlias = int
Node: TypeAlias = tuple
"""("input", key), ("constant", number), ("add" | "sub" | "mul", a, b), ("inv", a), with a, b ≥ 1."""

_HALF = PRIME // 2
# A number that is a fraction with a denominator up to this, within rounding, is meant to be that fraction.
_LARGEST = 5040
_ROUNDING = 4e-16


class TooLargeError(Exception):
    """A graph has more nodes than it may have."""


class Graph:
    """Scalars that grow one from another; see the module. One of more nodes than `largest` is given up."""

    def __init__(self, seed: int = 1, largest: int | None = None) -> None:
        self._largest = largest
        self.nodes: list[Node] = [("zero",)]
        self.values: list[int] = [0]
        self._by_value: dict[int, Reference] = {}
        self._sums: dict[tuple[int, int], Reference] = {}
        self._products: dict[tuple[int, int], Reference] = {}
        self._inverses: dict[int, Reference] = {}
        self._numbers: dict[float, int] = {}
        self._random = random.Random(seed)
        self.one = self.constant(1)

    def _reference(self, node: Node, value: int) -> Reference:
        """The node of this value: an older one, or else the new one."""
        if value == 0:
            return 0
        sign = 1
        key = value
        if value > _HALF:
            key, sign = PRIME - value, -1
        old = self._by_value.get(key)
        if old is not None:
            return sign * old
        if self._largest is not None and len(self.nodes) >= self._largest:
            raise TooLargeError
        self.nodes.append(node)
        self.values.append(value)
        number = len(self.nodes) - 1
        self._by_value[key] = sign * number
        return number

    def constant(self, number: float | Fraction) -> Reference:
        """A number: exact if it is a fraction of small parts; else one that is equal to no other."""
        sign = -1 if number < 0 else 1
        size = abs(float(number))
        exact = abs(number) if isinstance(number, Fraction) else Fraction(size).limit_denominator(_LARGEST)
        if abs(float(exact) - size) <= _ROUNDING * size:
            return sign * self._reference(("constant", float(exact)), residue(exact))
        value = self._numbers.setdefault(size, self._random.randrange(1, _HALF))
        return sign * self._reference(("constant", size), value)

    def input(self, key: Hashable, value: int) -> Reference:
        """A number from outside, with its value in the field: 0, ±1 and known ones are no new nodes."""
        return self._reference(("input", key), value)

    def value(self, a: Reference) -> int:
        """The value in the field."""
        return self.values[a] if a >= 0 else PRIME - self.values[-a]

    def add(self, a: Reference, b: Reference) -> Reference:
        """a + b."""
        if a == 0:
            return b
        if b == 0:
            return a
        if a == -b:
            return 0
        if abs(a) > abs(b):
            a, b = b, a
        if a < 0:
            return -self.add(-a, -b)
        result = self._sums.get((a, b))
        if result is None:
            if a == b:
                result = self.mul(self.constant(2), a)
            elif b > 0:
                result = self._reference(("add", a, b), (self.values[a] + self.values[b]) % PRIME)
            else:
                result = self._reference(("sub", a, -b), (self.values[a] - self.values[-b]) % PRIME)
            self._sums[a, b] = result
        return result

    def mul(self, a: Reference, b: Reference) -> Reference:
        """a × b."""
        if a == 0 or b == 0:
            return 0
        sign = 1
        if a < 0:
            a, sign = -a, -sign
        if b < 0:
            b, sign = -b, -sign
        if a == self.one:
            return sign * b
        if b == self.one:
            return sign * a
        if a > b:
            a, b = b, a
        result = self._products.get((a, b))
        if result is None:
            first, second = self.nodes[a], self.nodes[b]
            if first[0] == "constant" and second[0] == "constant":
                result = self.constant(first[1] * second[1])
            else:
                result = self._reference(("mul", a, b), self.values[a] * self.values[b] % PRIME)
            self._products[a, b] = result
        return sign * result

    def inverse(self, a: Reference) -> Reference:
        """1/a."""
        if a < 0:
            return -self.inverse(-a)
        result = self._inverses.get(a)
        if result is None:
            node = self.nodes[a]
            if node[0] == "constant":
                result = self.constant(1 / node[1])
            else:
                result = self._reference(("inv", a), pow(self.values[a], -1, PRIME))
            self._inverses[a] = result
        return result

    def sum(self, terms: Iterable[Reference]) -> Reference:
        """The sum of all terms."""
        result = 0
        for term in terms:
            result = self.add(result, term)
        return result

    def live(self, outputs: Iterable[Reference]) -> list[int]:
        """The nodes that the outputs need, older ones first."""
        found: set[int] = set()
        stack = [abs(output) for output in outputs if output]
        while stack:
            number = stack.pop()
            if number in found:
                continue
            found.add(number)
            node = self.nodes[number]
            if node[0] in ("add", "sub", "mul", "inv"):
                stack.extend(node[1:])
        return sorted(found)

    def evaluated(self, inputs: Mapping[Hashable, int], live: Iterable[int]) -> list[int]:
        """The values of `live` nodes at other values of the inputs, by the nodes' numbers."""
        found = [0] * len(self.nodes)
        for number in live:
            kind, *arguments = self.nodes[number]
            if kind == "constant":
                found[number] = self.values[number]
            elif kind == "input":
                found[number] = inputs[arguments[0]]
            elif kind == "inv":
                found[number] = pow(found[arguments[0]], -1, PRIME)
            else:
                a, b = found[arguments[0]], found[arguments[1]]
                found[number] = (a * b if kind == "mul" else a + b if kind == "add" else a - b) % PRIME
        return found


class Complex:
    """A complex number of a graph: the references of its real and its imaginary part."""

    __slots__ = ("graph", "im", "re")

    def __init__(self, graph: Graph, re: Reference = 0, im: Reference = 0) -> None:
        self.graph, self.re, self.im = graph, re, im

    def __add__(self, other: Complex) -> Complex:
        return Complex(self.graph, self.graph.add(self.re, other.re), self.graph.add(self.im, other.im))

    def __neg__(self) -> Complex:
        return Complex(self.graph, -self.re, -self.im)

    def __sub__(self, other: Complex) -> Complex:
        return self + (-other)

    def __mul__(self, other: Complex) -> Complex:
        g = self.graph
        return Complex(
            g,
            g.add(g.mul(self.re, other.re), -g.mul(self.im, other.im)),
            g.add(g.mul(self.re, other.im), g.mul(self.im, other.re)),
        )

    def scale(self, real: Reference) -> Complex:
        """The product with a real number."""
        return Complex(self.graph, self.graph.mul(self.re, real), self.graph.mul(self.im, real))

    def times(self, number: float | Fraction) -> Complex:
        """The product with a constant."""
        if number == 1:
            return self
        return -self if number == -1 else self.scale(self.graph.constant(number))

    def turned(self, quarters: int) -> Complex:
        """The product with i to the power `quarters`."""
        turns = quarters % 4
        if turns == 0:
            return self
        if turns == 1:
            return Complex(self.graph, -self.im, self.re)
        return -self.turned(turns - 2)

    def square(self) -> Reference:
        """|z|²."""
        g = self.graph
        return g.add(g.mul(self.re, self.re), g.mul(self.im, self.im))

    @property
    def vanishes(self) -> bool:
        """Whether it is 0."""
        return self.re == 0 and self.im == 0

    @property
    def key(self) -> tuple[Reference, Reference]:
        """What tells it from another number of the same graph."""
        return self.re, self.im
