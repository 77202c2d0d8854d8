"""The alphabet of amplitudes: spinors, their products, currents and propagators.

A massless particle of definite helicity is a Weyl spinor of two complex numbers; so an amplitude of massless
fermions is a handful of complex products, once for each helicity that does not vanish. Conventions:

- p_{αα̇} = λ_α λ̄_α̇ with λ̄ = λ* for physical (positive-energy) momenta. Incoming legs keep their physical
  momenta; that they come in is a sign in the momentum of a propagator, never a negative energy.
- ⟨ij⟩ = λ_i⁰ λ_j¹ − λ_i¹ λ_j⁰ and [ij] = ⟨ji⟩*, so that ⟨ij⟩[ji] = 2 p_i·p_j = s_ij.
- A left-handed fermion line with outgoing end a and incoming end b is ⟨a|γ^μ|b], a right-handed one
  [a|γ^μ|b⟩ = ⟨b|γ^μ|a]. Fierz: ⟨a|γ^μ|b]⟨c|γ_μ|d] = 2 ⟨ac⟩[db].

Everything is a tuple of scalars rather than a small array: XLA then fuses an amplitude into one loop over a
batch of phase-space points. Source: L. Dixon, hep-ph/9601359, sections 2–3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from deepmem.kinematics import FourVector, Scalar

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
