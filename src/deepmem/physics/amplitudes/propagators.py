"""Propagators, in unitary gauge and with fixed widths: i × the propagator × a current.

    scalar −1/D,    fermion −(p̸ + m)/D,    vector (g_μν − p_μ p_ν/M²)/D,    D = p² − M² + iMΓ.

p² of two massless legs is |⟨λ₁λ₂⟩|² up to its sign, without cancellation. Next to a resonance, p² is that of
the sum of the momenta as they are given, E² − **p**², as in other programs: it decides there.
"""

from __future__ import annotations

from typing import TypeAlias

from deepmem.physics.amplitudes.external import External
from deepmem.physics.amplitudes.graph import Complex, Graph, Reference
from deepmem.physics.amplitudes.lorentz import Components, vector

Momentum: TypeAlias = tuple[Reference, ...]
"""(p⁺, p⁻, p_x, p_y)."""


def dot(a: Components, b: Components) -> Complex:
    """a·b = ½ (a⁺b⁻ + a⁻b⁺ − a^⊥ b^⊥̄ − a^⊥̄ b^⊥)."""
    return (a[0] * b[1] + a[1] * b[0] - a[2] * b[3] - a[3] * b[2]).times(0.5)


def _times_row(row: Components, p: Components) -> Components:
    """ψ̄ p̸."""
    left, right = row[:2], row[2:]
    return (
        right[0] * p[0] + right[1] * p[2],
        right[0] * p[3] + right[1] * p[1],
        left[0] * p[1] - left[1] * p[2],
        left[1] * p[0] - left[0] * p[3],
    )


def _times_column(p: Components, column: Components) -> Components:
    """p̸ ψ."""
    left, right = column[:2], column[2:]
    return (
        p[1] * right[0] - p[3] * right[1],
        p[0] * right[1] - p[2] * right[0],
        p[0] * left[0] + p[3] * left[1],
        p[1] * left[1] + p[2] * left[0],
    )


def _resonant_square(external: External, legs: tuple[int, ...]) -> Reference:
    """p² as E² − p_x² − p_y² − p_z² of the sum of what is given: what a resonance sees."""
    g = external.graph
    energy, *spatial = external.total(legs)
    square = g.mul(energy, energy)
    for component in spatial:
        square = g.add(square, -g.mul(component, component))
    return square


def _square(external: External, momentum: Momentum, legs: tuple[int, ...]) -> Reference:
    """p² without cancellation where two massless legs are parallel."""
    g: Graph = external.graph
    if len(legs) == 2 and all(external.legs[leg].massless for leg in legs):
        first, second = (external.spinor(leg) for leg in legs)
        size = (first[0] * second[1] - first[1] * second[0]).square()
        same = external.legs[legs[0]].incoming == external.legs[legs[1]].incoming
        return size if same else -size
    plus, minus, x, y = momentum
    return g.add(g.mul(plus, minus), -g.add(g.mul(x, x), g.mul(y, y)))


def _inverse_denominator(
    external: External, label: int, momentum: Momentum, legs: tuple[int, ...], resonant: bool
) -> Complex:
    g = external.graph
    particle = external.model.by_code[label]
    square = _resonant_square(external, legs) if resonant else _square(external, momentum, legs)
    if particle.mass == "ZERO":
        return Complex(g, g.inverse(square))
    mass = external.parameter(particle.mass)
    real = g.add(square, -g.mul(mass, mass))
    if particle.width == "ZERO":
        return Complex(g, g.inverse(real))
    imaginary = g.mul(mass, external.parameter(particle.width))
    norm = g.inverse(g.add(g.mul(real, real), g.mul(imaginary, imaginary)))
    return Complex(g, g.mul(real, norm), -g.mul(imaginary, norm))


def propagated(
    external: External,
    label: int,
    momentum: Momentum,
    legs: tuple[int, ...],
    current: Components,
    resonant: bool,
) -> Components:
    """The current of an off-shell particle `label` with what leaves it: `momentum`, the external `legs`.

    `resonant`: whether these legs have a current of finite width, be it another one.
    """
    g = external.graph
    particle = external.model.by_code[label]
    inverse = _inverse_denominator(external, label, momentum, legs, resonant)
    if particle.spin == 1:
        return (-(current[0] * inverse),)
    massive = particle.mass != "ZERO"
    if particle.spin == 3:
        if massive:
            mass = external.parameter(particle.mass)
            p = vector(g, momentum)
            along = dot(current, p).scale(g.inverse(g.mul(mass, mass)))
            current = tuple(j - q * along for j, q in zip(current, p, strict=True))
        return tuple(j * inverse for j in current)
    if label > 0:
        turned = _times_row(current, vector(g, momentum))
    else:
        turned = _times_column(vector(g, tuple(-component for component in momentum)), current)
    if massive:
        mass = external.parameter(particle.mass)
        turned = tuple(x + j.scale(mass) for x, j in zip(turned, current, strict=True))
    return tuple(-(x * inverse) for x in turned)
