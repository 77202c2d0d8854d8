"""What the vertices of a model conserve: the electric charge, and whatever other additive numbers there are.

A charge q is one number for each kind of particle, with −q for the antiparticle, such that

    Σ q_i = 0    over the particles of every vertex;

all of them are the null space of the vertices' matrix of counts. In the Standard Model without mixing of
families these are the electric charge and the number of quarks and of leptons of each family. Two states that
differ in one of them are joined by no diagram.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from deepmem.physics.theory.model import Model

Charges: TypeAlias = tuple[Fraction, ...]


class Conserved(NamedTuple):
    """The independent charges of each kind of particle, by positive PDG code."""

    of: dict[int, Charges]
    number: int

    def total(self, codes: Iterable[int]) -> Charges:
        """The sums over some particles."""
        zero: Charges = (Fraction(0),) * self.number
        sums = list(zero)
        for code in codes:
            for k, charge in enumerate(self.of.get(abs(code), zero)):
                sums[k] += charge if code > 0 else -charge
        return tuple(sums)


@lru_cache(maxsize=16)
def conserved(model: Model) -> Conserved:
    """All charges that the vertices of a model conserve."""
    kinds = [abs(particle.code) for particle in model.particles if not particle.self_conjugate]
    column = {code: k for k, code in enumerate(kinds)}
    rows = set()
    for vertex in model.vertices:
        row = [0] * len(kinds)
        for code in vertex.particles:
            if abs(code) in column:
                row[column[abs(code)]] += 1 if code > 0 else -1
        rows.add(tuple(row))
    pivots = _eliminated(rows)
    free = [k for k in range(len(kinds)) if k not in pivots]
    found: dict[int, Charges] = {}
    for k, code in enumerate(kinds):
        if k in pivots:
            found[code] = tuple(-pivots[k][other] for other in free)
        else:
            found[code] = tuple(Fraction(int(k == other)) for other in free)
    return Conserved(found, len(free))


def _eliminated(rows: Iterable[tuple[int, ...]]) -> dict[int, list[Fraction]]:
    """The reduced row echelon form, by the pivots' columns."""
    pivots: dict[int, list[Fraction]] = {}
    for row in sorted(rows):
        left = [Fraction(each) for each in row]
        for k, pivot in pivots.items():
            if left[k]:
                left = [a - left[k] * b for a, b in zip(left, pivot, strict=True)]
        first = next((k for k, each in enumerate(left) if each), None)
        if first is None:
            continue
        left = [each / left[first] for each in left]
        for k, pivot in pivots.items():
            if pivot[first]:
                pivots[k] = [a - pivot[first] * b for a, b in zip(pivot, left, strict=True)]
        pivots[first] = left
    return pivots
