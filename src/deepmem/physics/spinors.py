"""The alphabet of amplitudes: spinors, their products, currents and propagators.

A massless particle of definite helicity is a Weyl spinor of two complex numbers; so an amplitude of massless
fermions is a handful of complex products, once for each helicity that does not vanish. Conventions:

- p_{αα̇} = λ_α λ̄_α̇ with λ̄ = λ* for physical (positive-energy) momenta. Incoming legs keep their physical
  momenta; that they come in is a sign in the momentum of a propagator, never a negative energy.
- ⟨ij⟩ = λ_i⁰ λ_j¹ − λ_i¹ λ_j⁰ and [ij] = ⟨ji⟩*, so that ⟨ij⟩[ji] = 2 p_i·p_j = s_ij.
- A left-handed fermion line with outgoing end a and incoming end b is ⟨a|γ^μ|b], a right-handed one
  [a|γ^μ|b⟩ = ⟨b|γ^μ|a]. Fierz: ⟨a|γ^μ|b]⟨c|γ_μ|d] = 2 ⟨ac⟩[db].

Massive fermions, and lines with a massive propagator, need all four components: a `Bispinor` is (ψ_L, ψ_R) in
the chiral representation, γ^μ = ((0, σ^μ), (σ̄^μ, 0)) with σ^μ = (1, σ⃗), σ̄^μ = (1, −σ⃗), and

    p̸ ψ = (p·σ ψ_R, p·σ̄ ψ_L),   p·σ = ((E − p_z, −p_x + i p_y), (−p_x − i p_y, E + p_z)).

Everything is a tuple of scalars rather than a small array: XLA then fuses an amplitude into one loop over a
batch of phase-space points. Source: L. Dixon, hep-ph/9601359, sections 2–3; Peskin and
Schroeder, sections 3.2–3.3 (the chiral representation).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from deepmem.kinematics import FourVector, Scalar, dot

Complex: TypeAlias = Scalar
Weyl: TypeAlias = tuple[Complex, Complex]


def weyl(p: FourVector) -> Weyl:
    """λ of a massless momentum: (√p₊, p_⊥/√p₊) with p₊ = |p⃗| + p_z and p_⊥ = p_x + i p_y.

    The energy is taken as |p⃗|, so that rounding in E does no harm. For p_z < 0 the same spinor up to a
    phase, (p_⊥*/√p₋, √p₋) with p₋ = |p⃗| − p_z, avoids the cancellation in p₊ and is regular along −z.

    **Arguments:** `p`, (E, px, py, pz) in GeV. **Returns** two complex numbers, GeV^½; NaN for p⃗ = 0.
    """
    _, px, py, pz = p
    larger = jnp.sqrt(jnp.sqrt(px**2 + py**2 + pz**2) + jnp.abs(pz))
    x, y, forward = px / larger, py / larger, pz > 0
    zero = jnp.zeros_like(larger)
    return (
        jax.lax.complex(jnp.where(forward, larger, x), jnp.where(forward, zero, -y)),
        jax.lax.complex(jnp.where(forward, x, larger), jnp.where(forward, y, zero)),
    )


def massless(p: FourVector) -> FourVector:
    """p with the energy |p⃗|: rounded momenta of massless particles may have E² < p⃗²."""
    _, px, py, pz = p
    return jnp.sqrt(px**2 + py**2 + pz**2), px, py, pz


def square_modulus(z: Complex) -> Scalar:
    """|z|², differentiable at 0."""
    return z.real**2 + z.imag**2


class Products:
    """The spinor products of massless legs, each computed once.

    **Arguments:** `momenta`, the legs' physical momenta; `incoming`, how many of them, from the first, come
    in.
    """

    def __init__(self, momenta: Sequence[FourVector], incoming: int = 2) -> None:
        spinors = [weyl(p) for p in momenta]
        self._angle: dict[tuple[int, int], Complex] = {}
        self._square: dict[tuple[int, int], Complex] = {}
        self._s: dict[tuple[int, int], Scalar] = {}
        for j, b in enumerate(spinors):
            for i, a in enumerate(spinors[:j]):
                product = a[0] * b[1] - a[1] * b[0]
                conjugate = product.conj()
                self._angle[i, j], self._angle[j, i] = product, -product
                self._square[i, j], self._square[j, i] = -conjugate, conjugate
                self._s[i, j] = self._s[j, i] = square_modulus(product)
        self._sign = [-1 if leg < incoming else 1 for leg in range(len(spinors))]

    def angle(self, i: int, j: int) -> Complex:
        """⟨ij⟩."""
        return self._angle[i, j]

    def square(self, i: int, j: int) -> Complex:
        """[ij]."""
        return self._square[i, j]

    def s(self, i: int, j: int) -> Scalar:
        """2 p_i·p_j = |⟨ij⟩|², which keeps its relative precision for collinear legs."""
        return self._s[i, j]

    def invariant(self, i: int, j: int, k: int) -> Scalar:
        """(Σ ± p)² of three legs in GeV², incoming ones counted with a minus sign."""
        a, b, c = self._sign[i], self._sign[j], self._sign[k]
        return a * b * self._s[i, j] + a * c * self._s[i, k] + b * c * self._s[j, k]

    def sandwich(self, i: int, legs: tuple[int, ...], j: int) -> Complex:
        """[i| Σ ±p̸_k |j⟩ = Σ ± [ik]⟨kj⟩ over `legs`, incoming ones counted with a minus sign."""
        terms = [self._sign[k] * self.square(i, k) * self.angle(k, j) for k in legs]
        return sum(terms[1:], start=terms[0])


def breit_wigner(s: Scalar, mass: Scalar, width: Scalar) -> Complex:
    """The propagator's denominator with a fixed width, 1/(s − m² + i m Γ), in GeV⁻²."""
    real, imaginary = s - mass**2, mass * width
    norm = 1 / (real**2 + imaginary**2)
    return jax.lax.complex(real * norm, -imaginary * norm)


L, R = "L", "R"


class Line(NamedTuple):
    """A massless fermion line between two legs: its left-handed current is ⟨out|γ^μ|into]."""

    out: int
    into: int

    def read(self, helicity: str) -> Line:
        """The line as a left-handed current: a right-handed one is the left-handed one read backwards."""
        return self if helicity == L else Line(self.into, self.out)


class Bispinor(NamedTuple):
    """Four components, left-handed ones first; a column ψ or a row ψ̄ (`adjoint`)."""

    left: Weyl
    right: Weyl


def adjoint(psi: Bispinor) -> Bispinor:
    """The row ψ̄ = ψ† γ⁰ = (ψ_R†, ψ_L†)."""
    return Bispinor((psi.right[0].conj(), psi.right[1].conj()), (psi.left[0].conj(), psi.left[1].conj()))


def sigma(v: FourVector, chi: Weyl) -> Weyl:
    """v·σ χ for a column χ."""
    energy, x, y, z = v
    return (energy - z) * chi[0] - (x - 1j * y) * chi[1], (energy + z) * chi[1] - (x + 1j * y) * chi[0]


def parity(v: FourVector) -> FourVector:
    """(E, −v⃗), so that v·σ̄ is `sigma` of it."""
    return v[0], -v[1], -v[2], -v[3]


def slash(v: FourVector, psi: Bispinor) -> Bispinor:
    """v̸ ψ for a column ψ; v may be complex, a current or a polarisation."""
    return Bispinor(sigma(v, psi.right), sigma(parity(v), psi.left))


def contract(row: Bispinor, column: Bispinor) -> Complex:
    """ψ̄ χ."""
    left = row.left[0] * column.left[0] + row.left[1] * column.left[1]
    return left + row.right[0] * column.right[0] + row.right[1] * column.right[1]


def propagate(p: FourVector, mass: Scalar, width: Scalar, psi: Bispinor) -> Bispinor:
    """(p̸ + m) ψ / (p² − m² + i m Γ) for a column ψ: a fixed width, and p in the sense of the line."""
    denominator = breit_wigner(dot(p, p), mass, width)
    (a, b), (c, d) = slash(p, psi)
    (e, f), (g, h) = psi
    return Bispinor(
        (denominator * (a + mass * e), denominator * (b + mass * f)),
        (denominator * (c + mass * g), denominator * (d + mass * h)),
    )


def current(row: Bispinor, column: Bispinor) -> FourVector:
    """ψ̄ γ^μ χ with an upper index; a part of it, ψ̄ γ^μ P_L χ, is that of χ with χ_R = 0."""
    (a, b), (c, d) = row
    (e, f), (g, h) = column
    # left-handed χ meets σ̄ and the right-handed half of the row
    return (
        c * e + d * f + (a * g + b * h),
        -(c * f + d * e) + (a * h + b * g),
        1j * (c * f - d * e) - 1j * (a * h - b * g),
        -(c * e - d * f) + (a * g - b * h),
    )


SPINS = (0, 1)
"""Up and down along z in the particle's rest frame."""


def spinor_u(p: FourVector, mass: Scalar, spin: int) -> Bispinor:
    """u(p, s) = (√(p·σ) ξ_s, √(p·σ̄) ξ_s), with √(p·σ) = (p·σ + m)/√(2(E + m)): regular also at rest.

    **Arguments:** `p` on the mass shell and `mass` in GeV, `spin` 0 or 1. **Returns** components in GeV^½,
    with Σ_s u ū = p̸ + m.
    """
    norm = 1 / jnp.sqrt(2 * (p[0] + mass))
    xi = (norm, 0 * norm) if spin == 0 else (0 * norm, norm)
    (a, b), (c, d) = sigma(p, xi), sigma(parity(p), xi)
    return Bispinor((a + mass * xi[0], b + mass * xi[1]), (c + mass * xi[0], d + mass * xi[1]))


def spinor_v(p: FourVector, mass: Scalar, spin: int) -> Bispinor:
    """v(p, s) = (√(p·σ) ξ_s, −√(p·σ̄) ξ_s), with Σ_s v v̄ = p̸ − m; arguments as in `spinor_u`."""
    left, right = spinor_u(p, mass, spin)
    return Bispinor(left, (-right[0], -right[1]))


def polarisations(p: FourVector) -> tuple[FourVector, FourVector]:
    """The two linear polarisations of a massless vector: real, purely spatial, transverse to p⃗.

    ε₁ is the x axis made transverse, ε₂ = p̂ × ε₁: regular unless p⃗ is along x, so always for beams.
    """
    _, px, py, pz = p
    size = jnp.sqrt(px**2 + py**2 + pz**2)
    x, y, z = px / size, py / size, pz / size
    a = jnp.sqrt(y**2 + z**2)
    zero = jnp.zeros_like(a)
    return (zero, a, -x * y / a, -x * z / a), (zero, zero, z / a, -y / a)
