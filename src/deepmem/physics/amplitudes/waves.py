"""Wave functions of external particles, over any kind of numbers: arrays, or residues of a prime field.

Vectors have the components (A⁺, A⁻, A^⊥, A^⊥̄) = (A⁰ + A³, A⁰ − A³, A¹ + iA², A¹ − iA²); spinors those of the
chiral basis, left-handed ones first. With λ = (√p⁺, p^⊥/√p⁺), a massless spinor is λ or (−λ̄₁, λ̄₀), and a
massive one

    u₊ = (m/√p⁺, 0, λ₀, λ₁),    u₋ = (−λ̄₁, λ̄₀, 0, m/√p⁺),    v the same with − its right-handed half.

Polarisation vectors are real, but for circular ones of beams. Of a massless particle two are transverse and
spatial; those of a massive one are its axes at rest, ε_k = (p_k/m, e_k + p p_k/(m (E + m))), at rest, too.
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

    def root_plus(self, p: Momentum, mass: Number = 0) -> Number:
        """√(E + p_z) of a momentum of this mass."""


class Field:
    """Residues of a prime field."""

    def root(self, x: Residue) -> Residue:
        """A square root. **Raises** `NotASquareError`."""
        return root(x)

    def root_plus(self, p: Momentum, mass: Residue | int = 0) -> Residue:
        return root(p[0] + p[3])


class Arrays(NamedTuple):
    """Arrays of floating-point numbers, of NumPy or of JAX."""

    xp: ModuleType

    def root(self, x: Number) -> Number:
        return self.xp.sqrt(x)

    def root_plus(self, p: Momentum, mass: Number = 0) -> Number:
        """Without cancellation where p_z is negative."""
        energy, x, y, z = p
        large = energy + abs(z)
        return self.xp.sqrt(self.xp.where(z > 0, large, (x * x + y * y + mass * mass) / large))


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
    circular: bool = False
    """Whether polarisations of a massless vector of a beam are (1, ±i)/2: one component, and of size ½."""

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
    inverse = 1 / size
    return (size, zero), (p[1] * inverse, p[2] * inverse)


def states(p: Momentum, leg: Leg, mass: Number, numbers: Numbers) -> list[tuple[Part, ...]]:
    """The wave functions `[helicity][component]` of one leg; `mass` is not read where it is massless."""
    if leg.spin == 1:
        return [((0 * p[1] + 1, 0 * p[1]),)]
    if leg.circular:
        none, one = (0 * p[1], 0 * p[1]), (0 * p[1] + 1, 0 * p[1])
        return [(none, none, one, none), (none, none, none, one)]
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
    """States of definite light-front helicity: those of a massless fermion, and m/√p⁺."""
    _, x, y, _ = p
    zero = 0 * x
    size = numbers.root_plus(p, mass)
    inverse = 1 / size
    none, small, large = (zero, zero), (mass * inverse, zero), (size, zero)
    turned = x * inverse, y * inverse
    left = (small, none), ((-turned[0], turned[1]), large)
    right = (large, turned), (none, small)
    particle = leg.row != leg.incoming
    found: list[tuple[Part, ...]] = []
    for upper, lower in zip(left, right, strict=True):
        below = lower if particle else tuple((-re, -im) for re, im in lower)
        found.append(tuple((re, -im) for re, im in (*below, *upper)) if leg.row else (*upper, *below))
    return found


def _polarisations(p: Momentum, mass: Number | None, numbers: Numbers) -> list[tuple[Part, ...]]:
    energy, x, y, z = p
    zero = 0 * x
    if mass is not None:
        inverse = 1 / mass
        rest = inverse / (energy + mass)
        found = []
        for k, each in enumerate((x, y, z)):
            spatial = [rest * each * other for other in (x, y, z)]
            spatial[k] = spatial[k] + 1
            found.append((each * inverse, *spatial))
    else:
        inverse = 1 / energy
        a, b, c = x * inverse, y * inverse, z * inverse
        across = numbers.root(b * b + c * c)
        b_across, c_across = b / across, c / across
        found = [(zero, across, -(a * b_across), -(a * c_across)), (zero, zero, c_across, -b_across)]
    return [((t + w, zero), (t - w, zero), (u, v), (u, -v)) for t, u, v, w in found]
