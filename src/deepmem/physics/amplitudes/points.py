"""Points at which a graph is evaluated while it grows: momenta on their mass shells that add up, as residues.

Where beams lie along z, the outgoing transverse momenta are chosen to cancel, and

    p₁⁺ = P⁺ (s + m₁² − m₂² + √λ(s, m₁², m₂²))/(2s),    p₁⁻ = m₁²/p₁⁺,    p₂ = P − p₁,

P being the sum of what goes out. A momentum is drawn again until all roots exist that wave functions need.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from deepmem.physics.amplitudes.residues import PRIME, NotASquareError, Residue, root
from deepmem.physics.amplitudes.waves import Field, Leg, Momentum, Part, spinor, states

# Half of all residues have a root; a leg needs up to five of them, and the last ones share their trials.
_TRIALS = 1 << 9
# The legs before may be such that the last ones never have all roots.
_RESTARTS = 64


class Point(NamedTuple):
    """A point of the prime field."""

    momenta: tuple[Momentum, ...]
    masses: dict[str, Residue]
    waves: tuple[list[tuple[Part, ...]], ...]
    """`[leg][helicity][component]`, of the others after those of the legs."""
    spinors: tuple[tuple[Part, Part] | None, ...]
    """λ of those that are massless."""


def _random(draw: random.Random) -> Residue:
    return Residue(draw.randrange(1, PRIME))


def _sum(momenta: Sequence[Momentum]) -> Momentum:
    return tuple(sum((p[k] for p in momenta), Residue(0)) for k in range(4))  # type: ignore[return-value]


def _square(p: Momentum) -> Residue:
    return p[0] ** 2 - p[1] ** 2 - p[2] ** 2 - p[3] ** 2


class _Draw:
    """Momenta of some legs, at which others in their places have wave functions, too."""

    def __init__(self, legs: Sequence[Leg], seed: int, others: Sequence[tuple[int, Leg]]) -> None:
        self.legs = legs
        self.others = [(legs[place], leg) for place, leg in others]
        self.draw = random.Random(seed)
        self.masses = {leg.mass: _random(self.draw) for leg in legs}
        self.masses["ZERO"] = Residue(0)

    def waves(self, leg: Leg, p: Momentum) -> tuple[list[tuple[Part, ...]], tuple[Part, Part] | None]:
        """**Raises** `NotASquareError` where a root does not exist."""
        found = states(p, leg, self.masses[leg.mass], Field())
        return found, spinor(p, leg.beam, Field()) if leg.massless else None

    def on_shell(self, leg: Leg, x: Residue, y: Residue, z: Residue) -> Momentum:
        return root(self.masses[leg.mass] ** 2 + x**2 + y**2 + z**2), x, y, z

    def until(self, attempt: Callable[[], list[Momentum]], legs: Sequence[Leg]) -> list[Momentum]:
        """The momenta of the first attempt all of whose roots exist."""
        for _ in range(_TRIALS):
            try:
                momenta = attempt()
                for leg, p in zip(legs, momenta, strict=True):
                    self.waves(leg, p)
                    for like, other in self.others:
                        if like == leg:
                            self.waves(other, p)
            except (NotASquareError, ValueError):
                continue
            return momenta
        raise NotASquareError

    def all_of(self, momenta: Callable[[], list[Momentum]]) -> list[Momentum]:
        """The momenta of all legs, begun again where the last ones cannot be found."""
        for _ in range(_RESTARTS):
            try:
                return momenta()
            except NotASquareError:
                continue
        raise ArithmeticError("no point of the prime field on which all wave functions exist")

    def free(self, leg: Leg) -> Momentum:
        def attempt() -> list[Momentum]:
            return [self.on_shell(leg, *(_random(self.draw) for _ in range(3)))]

        return self.until(attempt, [leg])[0]

    def along_z(self) -> list[Momentum]:
        """Two beams along ±z."""
        first, second, *outgoing = self.legs
        some = [self.free(leg) for leg in outgoing[:-1]]
        kick = _sum(some)
        m1, m2 = self.masses[first.mass] ** 2, self.masses[second.mass] ** 2

        def attempt() -> list[Momentum]:
            last = self.on_shell(outgoing[-1], -kick[1], -kick[2], _random(self.draw))
            total = _sum([*some, last])
            plus, minus = total[0] + total[3], total[0] - total[3]
            s = plus * minus
            # Of either root: the one that leaves a massless beam its direction.
            size = s - m1 - m2
            if not (first.massless or second.massless):
                size = root(size**2 - 4 * m1 * m2)
            ahead = plus * (s + m1 - m2 + size) / (2 * s)
            back = m1 / ahead
            p1 = (ahead + back) / 2, Residue(0), Residue(0), (ahead - back) / 2
            p2 = total[0] - p1[0], Residue(0), Residue(0), total[3] - p1[3]
            return [p1, p2, last]

        p1, p2, last = self.until(attempt, [first, second, outgoing[-1]])
        return [p1, p2, *some, last]

    def anyhow(self) -> list[Momentum]:
        """Two beams in any direction."""
        first, second, *outgoing = self.legs
        some = [self.free(leg) for leg in outgoing]
        total = _sum(some)
        m1, m2 = self.masses[first.mass] ** 2, self.masses[second.mass] ** 2
        c = (_square(total) + m1 - m2) / 2

        def attempt() -> list[Momentum]:
            u, v = _random(self.draw), _random(self.draw)
            norm = 1 + u**2 + v**2
            n = (2 * u / norm, 2 * v / norm, (1 - u**2 - v**2) / norm)
            along = n[0] * total[1] + n[1] * total[2] + n[2] * total[3]
            if first.massless:
                energy = size = c / (total[0] - along)
            else:
                # E = (c + k a)/K⁰ and E² = k² + m²: a quadratic equation for k.
                a, b = total[0] ** 2 - along**2, c * along
                size = (b + root(b**2 - a * (m1 * total[0] ** 2 - c**2))) / a
                energy = (c + size * along) / total[0]
            p1 = (energy, *(size * each for each in n))
            return [p1, tuple(t - p for t, p in zip(total, p1, strict=True))]

        return [*self.until(attempt, [first, second]), *some]

    def decaying(self) -> list[Momentum]:
        """One incoming particle, whose mass is that of what it decays into."""
        mother, *outgoing = self.legs

        def attempt() -> list[Momentum]:
            some = [self.free(leg) for leg in outgoing]
            total = _sum(some)
            self.masses[mother.mass] = root(_square(total))
            return [total, *some]

        return self.until(attempt, self.legs)


def field_point(legs: Sequence[Leg], seed: int, others: Sequence[tuple[int, Leg]] = ()) -> Point:
    """Random momenta with Σ incoming = Σ outgoing, all on their shells, and wave functions.

    **Arguments:** `legs`: one or two incoming ones first; both along z if `beam` of the first is not 0;
    `others`, what has the momentum of a leg, too: (its number, another leg of the same mass).
    """
    draw = _Draw(legs, seed, others)
    if sum(leg.incoming for leg in legs) == 1:
        momenta = draw.all_of(draw.decaying)
    else:
        momenta = draw.all_of(draw.along_z if legs[0].beam else draw.anyhow)
    placed = (*enumerate(legs), *others)
    waves, spinors = zip(*(draw.waves(leg, momenta[place]) for place, leg in placed), strict=True)
    return Point(tuple(momenta), draw.masses, waves, spinors)


def typical_momenta(masses: Sequence[float], number: int, seed: int = 3) -> np.ndarray:
    """Momenta `[number, legs, 4]` on their shells that add up to nothing in particular: sizes of decays."""
    random_numbers = np.random.default_rng(seed)
    spatial = random_numbers.normal(scale=60.0, size=(number, len(masses), 3))
    energy = np.sqrt(np.sum(spatial**2, axis=-1) + np.asarray(masses) ** 2)
    return np.concatenate([energy[..., None], spatial], axis=-1)
