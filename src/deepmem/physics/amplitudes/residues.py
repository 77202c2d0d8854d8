"""Numbers of a prime field, in which identities between real numbers are tested exactly.

An expression of +, −, × and 1/x whose inputs are random residues modulo

    p = 2⁶¹ − 1

is zero for one of two reasons: it is zero for all inputs, or by a chance of its degree over p (the lemma of
Schwartz and Zippel). A square root exists for every second residue; points are drawn until all roots that are
wanted exist. p ≡ 3 mod 4, so −1 has no root, and a² + b² = 0 only where a = b = 0, as for real numbers.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TypeAlias

PRIME = (1 << 61) - 1


class NotASquareError(ArithmeticError):
    """A residue without a square root."""


Rational: TypeAlias = int | Fraction


def residue(number: Rational) -> int:
    """A rational number modulo p."""
    if isinstance(number, int):
        return number % PRIME
    return number.numerator * pow(number.denominator, -1, PRIME) % PRIME


class Residue:
    """A residue with the arithmetic of a number."""

    __slots__ = ("value",)

    def __init__(self, number: Rational) -> None:
        self.value = residue(number)

    def __add__(self, other: Residue | Rational) -> Residue:
        return Residue(self.value + _value(other))

    def __mul__(self, other: Residue | Rational) -> Residue:
        return Residue(self.value * _value(other))

    def __neg__(self) -> Residue:
        return Residue(-self.value)

    def __sub__(self, other: Residue | Rational) -> Residue:
        return Residue(self.value - _value(other))

    def __rsub__(self, other: Residue | Rational) -> Residue:
        return Residue(_value(other) - self.value)

    def __truediv__(self, other: Residue | Rational) -> Residue:
        return Residue(self.value * pow(_value(other), -1, PRIME))

    def __rtruediv__(self, other: Residue | Rational) -> Residue:
        return Residue(_value(other) * pow(self.value, -1, PRIME))

    def __pow__(self, power: int) -> Residue:
        return Residue(pow(self.value, power, PRIME))

    __radd__ = __add__
    __rmul__ = __mul__


def _value(number: Residue | Rational) -> int:
    return number.value if isinstance(number, Residue) else residue(number)


def root(number: Residue) -> Residue:
    """A square root. **Raises** `NotASquareError` where there is none."""
    candidate = pow(number.value, (PRIME + 1) // 4, PRIME)
    if candidate * candidate % PRIME != number.value:
        raise NotASquareError
    return Residue(candidate)


def rational(value: int, largest: int = 1 << 20) -> Fraction | None:
    """The fraction of numerator and denominator up to `largest` that a residue is, if there is one.

    Source: P. Wang, SYMSAC 1981 (the extended Euclidean algorithm, stopped half-way).
    """
    before, now = (PRIME, 0), (value % PRIME, 1)
    while now[0] > largest:
        quotient = before[0] // now[0]
        before, now = now, (before[0] - quotient * now[0], before[1] - quotient * now[1])
    if abs(now[1]) > largest or now[1] == 0:
        return None
    return Fraction(now[0], now[1])
