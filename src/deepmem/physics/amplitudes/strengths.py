"""Couplings of a model, brought to few real numbers.

    g = (number + i number) × symbol × Π_o base_o^(power of order o)

The base of the orders QCD and QED is a coupling of power 1, divided by i where it is imaginary: an amplitude
then has it as one factor. What is left is compared at some values of all parameters: a number that is
constant is no symbol, and two that are proportional are one. Parameters that follow from others are varied
on their own, too: whoever sets one of them finds the relations that remain, and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from deepmem.physics.theory.expressions import evaluate
from deepmem.physics.theory.model import Model

Symbol: TypeAlias = tuple[str, str]
"""(name of a coupling, "re" or "im")."""

_GAUGE = ("QCD", "QED")
_TRIALS = 3
# Couplings that may become the base of an order.
_CANDIDATES = 24
_SMALL = 1e-12


class Part(NamedTuple):
    """A real number: `number` × the value of `symbol`; None: × 1."""

    number: float | Fraction
    symbol: Symbol | None


class Reduction(NamedTuple):
    """How couplings become symbols; what an evaluation needs to know."""

    bases: tuple[tuple[str, str, int], ...]
    """(order, coupling, 1 if it is imaginary, else 0)."""
    orders: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    """Coupling orders by coupling."""

    def restricted(self, names: Iterable[str], orders: Iterable[str]) -> Reduction:
        """What these couplings and the bases of these orders need."""
        wanted, needed = set(names), set(orders)
        kept = tuple((name, powers) for name, powers in self.orders if name in wanted)
        needed |= {order for _, powers in kept for order, _ in powers}
        return Reduction(tuple(base for base in self.bases if base[0] in needed), kept)

    @property
    def couplings(self) -> tuple[str, ...]:
        """The names of all couplings that are read."""
        return tuple(dict.fromkeys([name for name, _ in self.orders] + [name for _, name, _ in self.bases]))

    def base(self, couplings: Mapping[str, Any], order: str) -> Any:
        """The base of a coupling order."""
        for known, name, imaginary in self.bases:
            if known == order:
                return couplings[name].imag if imaginary else couplings[name].real
        raise KeyError(order)

    def reduced(self, couplings: Mapping[str, Any], name: str) -> Any:
        """A coupling over its powers of the bases."""
        value, powers = couplings[name], dict(dict(self.orders)[name])
        for order, _, _ in self.bases:
            if powers.get(order):
                value = value / self.base(couplings, order) ** powers[order]
        return value

    def symbol(self, couplings: Mapping[str, Any], symbol: Symbol) -> Any:
        """The value of a symbol."""
        value = self.reduced(couplings, symbol[0])
        return value.real if symbol[1] == "re" else value.imag


class Strengths:
    """The couplings of a model, compared as they are needed; see the module."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._orders = {each.name: each.orders for each in model.couplings}
        self._varied = _varied(model)
        self._trials: dict[str, np.ndarray] = {}
        bases = {order: self._base(order) for order in _GAUGE}
        self.reduction = Reduction(
            tuple((order, name, _phase(self._trials[name]) or 0) for order, name in bases.items() if name),
            tuple(self._orders.items()),
        )
        self._symbols: list[Symbol] = []
        self._values = np.empty((0, _TRIALS))
        self._parts: dict[str, tuple[Part, Part]] = {}

    def _evaluate(self, names: Iterable[str]) -> None:
        wanted = [name for name in dict.fromkeys(names) if name not in self._trials]
        if wanted:
            values = evaluate(self.model, self._varied, wanted).couplings
            self._trials |= {name: np.broadcast_to(values[name], (_TRIALS,)) for name in wanted}

    def _base(self, order: str) -> str | None:
        """Of some couplings of power 1, real or imaginary, the one that leaves most of them constant."""
        alone = [name for name, orders in self._orders.items() if orders == ((order, 1),)][:_CANDIDATES]
        self._evaluate(alone)
        single = [name for name in alone if _phase(self._trials[name]) is not None]

        def constants(base: str) -> int:
            ratios = np.abs([self._trials[name] / self._trials[base] for name in alone])
            return int(np.sum(np.ptp(ratios, axis=1) <= _SMALL * np.max(ratios, axis=1)))

        return max(single, key=constants, default=None)

    def prepare(self, names: Iterable[str]) -> None:
        """Compare some couplings, all at once."""
        new = [name for name in dict.fromkeys(names) if name not in self._parts]
        self._evaluate([*new, *(name for _, name, _ in self.reduction.bases)])
        for name in new:
            value = self.reduction.reduced(self._trials, name)
            self._parts[name] = (
                self._part(value.real, np.abs(value), (name, "re")),
                self._part(value.imag, np.abs(value), (name, "im")),
            )

    def parts(self, name: str) -> tuple[Part, Part]:
        """The real and the imaginary part of a coupling over its bases."""
        self.prepare([name])
        return self._parts[name]

    def _part(self, value: np.ndarray, size: np.ndarray, symbol: Symbol) -> Part:
        if np.all(np.abs(value) <= _SMALL * size):
            return Part(0, None)
        if np.ptp(value) <= _SMALL * np.max(np.abs(value)):
            return Part(_fraction(float(value[0])) or float(value[0]), None)
        ratios = value / self._values
        alike = np.ptp(ratios, axis=1) <= _SMALL * np.abs(ratios[:, 0])
        for number in np.flatnonzero(alike):
            fraction = _fraction(float(ratios[number, 0]))
            if fraction is not None:
                return Part(fraction, self._symbols[number])
        self._symbols.append(symbol)
        self._values = np.vstack([self._values, value])
        return Part(1, symbol)


def _varied(model: Model) -> dict[str, np.ndarray]:
    """All parameters, each a few percent from its default, or, where that is 0, anywhere below 1."""
    draw = np.random.default_rng(11)
    outer = {
        each.name: each.value * draw.uniform(0.97, 1.03, _TRIALS)
        if each.value
        else draw.uniform(0.2, 1.0, _TRIALS)
        for each in model.parameters
        if each.value is not None
    }
    values = evaluate(replace(model, couplings=()), outer).parameters
    factors = {name: draw.uniform(0.97, 1.03, _TRIALS) for name in values}
    return {
        each.name: outer[each.name] if each.name in outer else values[each.name] * factors[each.name]
        for each in model.parameters
        if each.name in values
    }


def _phase(value: np.ndarray) -> int | None:
    """0: real, 1: imaginary, None: neither, or 0."""
    value = np.asarray(value)
    if np.all(value == 0):
        return None
    if np.all(np.abs(value.imag) <= _SMALL * np.abs(value)):
        return 0
    return 1 if np.all(np.abs(value.real) <= _SMALL * np.abs(value)) else None


def _fraction(number: float) -> Fraction | None:
    """A fraction of small parts."""
    found = Fraction(number).limit_denominator(720)
    return found if found and abs(float(found) - number) <= _SMALL * abs(number) else None


_KNOWN: dict[str, Strengths] = {}


def strengths(model: Model) -> Strengths:
    """The couplings of a model, which are compared once."""
    if model.digest not in _KNOWN:
        _KNOWN[model.digest] = Strengths(model)
    return _KNOWN[model.digest]
