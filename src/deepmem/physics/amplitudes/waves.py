"""Wave functions of external particles, over any kind of numbers: arrays, or residues of a prime field.

Vectors have the components (A⁺, A⁻, A^⊥, A^⊥̄) = (A⁰ + A³, A⁰ − A³, A¹ + iA², A¹ − iA²); spinors those of the
chiral basis, left-handed ones first. With λ = (√p⁺, p^⊥/√p⁺), a massless spinor is λ or (−λ̄₁, λ̄₀). A massive
one of spin s along z is

    u = (√(p·σ) χ_s, √(p·σ̄) χ_s),    √(p·σ) = (p·σ + m)/√(2(E + m)),    v the same with −√(p·σ̄).

Polarisation vectors are real: two that are transverse and spatial, one longitudinal.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple, Protocol, TypeAlias

from deepmem.physics.amplitudes.residues import Residue, root

Number: TypeAlias = Any
"""An array of NumPy or JAX, or a `Residue`."""
Part: TypeAlias = tuple[Number, Number]
"""The real and the imaginary part."""
Momentum: TypeAlias = tuple[Number, Number, Number, Number]
"""(E, p_x, p_y, p_z)."""


class Numbers(Protocol):
    """What wave functions need beyond + − × ÷."""

    def root(self, x: Number) -> Number:
        """√x."""

    def root_plus(self, p: Momentum) -> Number:
        """√(E + p_z) of a massless momentum."""


class Field:
    """Residues of a prime field."""

    def root(self, x: Residue) -> Residue:
        """A square root. **Raises** `NotASquareError`."""
        return root(x)

    def root_plus(self, p: Momentum) -> Residue:
        return root(p[0] + p[3])


class Arrays(NamedTuple):
    """Arrays of floating-point numbers, of NumPy or of JAX."""

    xp: ModuleType

    def root(self, x: Number) -> Number:
        return self.xp.sqrt(x)

    def root_plus(self, p: Momentum) -> Number:
        """Without cancellation where p_z is negative."""
        _, x, y, z = p
        transverse = x * x + y * y
        large = self.xp.sqrt(transverse + z * z) + abs(z)
        return self.xp.sqrt(self.xp.where(z > 0, large, transverse / large))


class Leg(NamedTuple):
    """What a wave function depends on beside the momentum."""

    spin: int
    """2s + 1."""
    mass: str
    """A parameter's name; "ZERO": massless."""
    row: bool
    """Whether it is a row ψ̄ (an outgoing particle, an incoming antiparticle) or a column ψ."""
    incoming: bool
    beam: int
    """1 or −1: along ±z; 0: any direction."""
    self_conjugate: bool = False

    @property
    def massless(self) -> bool:
        return self.mass == "ZERO"

    @property
    def helicities(self) -> int:
        """How many states there are."""
        return {1: 1, 2: 2, 3: 2 if self.massless else 3}[self.spin]


def components(p: Momentum) -> tuple[Number, ...]:
    """(p⁺, p⁻, p_x, p_y, E, p_z)."""
    return p[0] + p[3], p[0] - p[3], p[1], p[2], p[0], p[3]


def spinor(p: Momentum, beam: int, numbers: Numbers) -> tuple[Part, Part]:
    """λ with λ λ† = p·σ̄ of a massless momentum."""
    zero = 0 * p[1]
    if beam:
        size = (numbers.root(2 * p[0]), zero)
        return (size, (zero, zero)) if beam > 0 else ((zero, zero), size)
    size = numbers.root_plus(p)
    return (size, zero), (p[1] / size, p[2] / size)


def states(p: Momentum, leg: Leg, mass: Number, numbers: Numbers) -> list[tuple[Part, ...]]:
    """The wave functions `[helicity][component]` of one leg; `mass` is not read where it is massless."""
    if leg.spin == 1:
        return [((0 * p[1] + 1, 0 * p[1]),)]
    if leg.spin == 3:
        return _polarisations(p, None if leg.massless else mass, numbers)
    if leg.massless:
        return _massless(p, leg, numbers)
    return _massive(p, leg, mass, numbers)


def _massless(p: Momentum, leg: Leg, numbers: Numbers) -> list[tuple[Part, ...]]:
    first, second = spinor(p, leg.beam, numbers)
    none = (0 * p[1], 0 * p[1])

    def bar(part: Part, sign: int = 1) -> Part:
        return sign * part[0], -sign * part[1]

    if leg.row:
        return [(none, none, (-second[0], -second[1]), first), (bar(first), bar(second), none, none)]
    return [(bar(second, -1), bar(first), none, none), (none, none, first, second)]


def _massive(p: Momentum, leg: Leg, mass: Number, numbers: Numbers) -> list[tuple[Part, ...]]:
    energy, x, y, z = p
    zero = 0 * x
    n = 1 / numbers.root(2 * (energy + mass))
    up, down = (energy + z + mass) * n, (energy - z + mass) * n
    right = ((up, zero), (x * n, y * n)), ((x * n, -(y * n)), (down, zero))
    left = ((down, zero), (-(x * n), -(y * n))), ((-(x * n), y * n), (up, zero))
    particle = leg.row != leg.incoming
    found: list[tuple[Part, ...]] = []
    for upper, lower in zip(left, right, strict=True):
        below = lower if particle else tuple((-re, -im) for re, im in lower)
        found.append(
            tuple((re, -im) for re, im in (*below, *upper)) if leg.row else (*upper, *below)
        )
    return found


def _polarisations(p: Momentum, mass: Number | None, numbers: Numbers) -> list[tuple[Part, ...]]:
    energy, x, y, z = p
    zero = 0 * x
    size = energy if mass is None else numbers.root(x * x + y * y + z * z)
    a, b, c = x / size, y / size, z / size
    across = numbers.root(b * b + c * c)
    found = [(zero, across, -(a * b) / across, -(a * c) / across), (zero, zero, c / across, -b / across)]
    if mass is not None:
        found.append((size / mass, energy * a / mass, energy * b / mass, energy * c / mass))
    return [((t + w, zero), (t - w, zero), (u, v), (u, -v)) for t, u, v, w in found]
