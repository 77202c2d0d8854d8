"""Neutrinos from what is given of them: invariant masses and missing p_T in place of their momenta.

Each solution comes with the Jacobian J of

    d³p/((2π)³ 2E) d³p̄/((2π)³ 2Ē) δ²(p_T + p̄_T − missing) = Σ_solutions J d(variables),

p the neutrino's momentum and p̄ the antineutrino's. For visible particles of any mass, elementwise.

Source: L. Sonnenschein, hep-ph/0603011; B. Betchart, R. Demina, A. Harel, 1305.1878 (the ellipses); P.
Artoisenet, V. Lemaître, F. Maltoni, O. Mattelaer, 1007.3300 (`w_pair`, its block D).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from deepmem.kinematics import FourVector, Scalar, dot
from deepmem.physics.phasespace.bodies import choice
from deepmem.physics.phasespace.roots import quartic_roots
from deepmem.physics.precision import require_double

_POLISHING = 3
_TOLERANCE = 1e-9
# Of r, relative to m²: how softly a p_T stops to reach a mass.
_SOFT = 0.15
"""What missing p_T may be off by, relative to the momenta, before a solution is none."""
_SQUARE_OF_2_PI_CUBED = (2 * jnp.pi) ** 6


class Solutions(NamedTuple):
    """All solutions, each field with a leading axis of them; what is not valid may be NaN."""

    neutrino: FourVector
    antineutrino: FourVector
    jacobian: Scalar
    """J, 0 where a solution is not valid."""
    valid: Scalar


class Ellipse(NamedTuple):
    """p(φ) = centre + cosine cosφ + sine sinφ: light-like momenta of given products with two others."""

    centre: FourVector
    cosine: FourVector
    sine: FourVector
    root_gram: Scalar
    """√G in GeV²."""
    middle: Scalar
    """√(E_min E_max) in GeV."""
    exists: Scalar

    def at(self, c: Scalar, s: Scalar) -> FourVector:
        x, y, z, w = (m + c * a + s * b for m, a, b in zip(self.centre, self.cosine, self.sine, strict=True))
        return x, y, z, w

    def aberrated(self, c: Scalar, s: Scalar) -> tuple[Scalar, Scalar, Scalar]:
        """(cosφ, sinφ) and dφ/dψ of an angle ψ with dψ ∝ dφ/E(φ), which spreads low energies.

        With E = A + B cosφ: cosφ = (A cosψ − B)/(A − B cosψ), as directions look from a moving frame.

        **Arguments:** (cosψ, sinψ).
        """
        a, b = self.centre[0], self.cosine[0]
        ratio = 1 / (a - b * c)
        slope = self.middle * ratio
        return (a * c - b) * ratio, slope * s, slope


def ellipse(lepton: FourVector, quark: FourVector, s_w: Scalar, s_t: Scalar) -> Ellipse:
    """The neutrino momenta that make masses² s_w with the lepton, and s_t with lepton and quark, in GeV².

    The products a = p·ℓ and b = p·q follow from the masses. A light-like p with these products is a point of

        p(φ) = α ℓ + β q + κ (e₁ cosφ + e₂ sinφ),   α ℓ·ℓ + β ℓ·q = a,  α ℓ·q + β q·q = b,  κ² = α a + β b,

    e₁ and e₂ being unit vectors orthogonal to ℓ and q: e₂ ∝ (0, ℓ⃗×q⃗), e₁ ∝ (|ℓ⃗×q⃗|, (E_ℓ q⃗ − E_q ℓ⃗)×ê₂).
    It exists for κ² ≥ 0. With G = (ℓ·q)² − ℓ²q², d³p/2E = ds_W ds_t dφ/(8√G).

    What it cannot promise: a lepton exactly along its b quark has no ellipse.
    """
    m2, m2q, lq = dot(lepton, lepton), dot(quark, quark), dot(lepton, quark)
    a, b = (s_w - m2) / 2, (s_t - s_w - m2q) / 2 - lq
    gram = lq**2 - m2 * m2q
    alpha, beta = (b * lq - a * m2q) / gram, (a * lq - b * m2) / gram
    kappa2 = alpha * a + beta * b
    exists = (kappa2 >= 0) & (a > 0) & (b > 0) & (gram > 0)
    kappa = jnp.sqrt(jnp.where(exists, kappa2, 1.0))
    root_gram = jnp.sqrt(jnp.where(exists, gram, 1.0))

    e, x, y, z = lepton
    f, u, v, w = quark
    nx, ny, nz = y * w - z * v, z * u - x * w, x * v - y * u
    size = jnp.sqrt(nx**2 + ny**2 + nz**2)
    nx, ny, nz = nx / size, ny / size, nz / size
    dx, dy, dz = e * u - f * x, e * v - f * y, e * w - f * z
    scale = kappa / root_gram
    e1 = (
        size * scale,
        (dy * nz - dz * ny) * scale,
        (dz * nx - dx * nz) * scale,
        (dx * ny - dy * nx) * scale,
    )
    e2 = (0 * size, nx * kappa, ny * kappa, nz * kappa)
    along = [alpha * i + beta * j for i, j in zip(lepton, quark, strict=True)]
    middle = jnp.sqrt(jnp.maximum((along[0] - e1[0]) * (along[0] + e1[0]), 0.0))
    return Ellipse((along[0], along[1], along[2], along[3]), e1, e2, root_gram, middle, exists)


class Reach(NamedTuple):
    """Of a p_T, how likely it makes a mass; r and ds/dΔη as `beside` has them, softened."""

    rest: Scalar
    slope: Scalar
    height: Scalar


def within_reach(p: tuple[Scalar, Scalar], k: tuple[Scalar, Scalar], square: Scalar) -> Reach:
    """As ds/√(s − least) goes, whether a neutrino's k⃗ and its lepton's p⃗ reach m²:

        (1 + r/ρ)/√(ρ (ρ + 4pk)),   r = m² − 2 (pk − p⃗·k⃗),   ρ² = r² + (0.15 m²)².

    A proposal, in the precision that is given.
    """
    pt, size = jnp.sqrt(p[0] ** 2 + p[1] ** 2), jnp.sqrt(k[0] ** 2 + k[1] ** 2)
    r = square - 2 * (pt * size - p[0] * k[0] - p[1] * k[1])
    rest = jnp.sqrt(r**2 + (_SOFT * square) ** 2)
    slope = jnp.sqrt(rest * (rest + 4 * pt * size))
    return Reach(rest, slope, (1 + r / rest) / slope)


def beside(
    lepton: FourVector, of_lepton: Scalar, pt: tuple[Scalar, Scalar], rest: Scalar, sign: Scalar
) -> tuple[FourVector, Scalar]:
    """A neutrino of given p_T by the mass of both, and ds/dΔη in GeV².

    With p = √(p_T² + m²) of the lepton, k = p_T of the neutrino and r = s − m² − 2 (pk − p⃗_T·k⃗) ≥ 0,

        cosh Δη = 1 + r/2pk,   ds/dΔη = √(r (r + 4pk)).

    **Arguments:** `of_lepton`, p in GeV; `rest`, r in GeV²; `sign` of Δη.
    """
    (energy, _, _, z), (kx, ky) = lepton, pt
    size = jnp.sqrt(kx**2 + ky**2)
    slope = jnp.sqrt(rest * (rest + 4 * of_lepton * size))
    cosh, sinh = size + rest / (2 * of_lepton), sign * slope / (2 * of_lepton)
    momentum = (
        (energy * cosh + z * sinh) / of_lepton,
        kx + 0 * sinh,
        ky + 0 * sinh,
        (z * cosh + energy * sinh) / of_lepton,
    )
    return momentum, slope


def _crossing(one: Ellipse, other: Ellipse, missing: tuple[Scalar, Scalar]) -> tuple[Scalar, ...]:
    """(cosφ, sinφ, cosφ̄, sinφ̄) `[4, ...]` where p_T(φ) + p̄_T(φ̄) = missing, and which of them are real.

    With A the matrix of `other` in the transverse plane, A⁻¹ (missing − p̄₀ − p_T(φ)) = (cosφ̄, sinφ̄).
    """
    det = other.cosine[1] * other.sine[2] - other.cosine[2] * other.sine[1]

    def on_circle(x: Scalar, y: Scalar) -> tuple[Scalar, Scalar]:
        return (
            (other.sine[2] * x - other.sine[1] * y) / det,
            (other.cosine[1] * y - other.cosine[2] * x) / det,
        )

    # (cosφ̄, sinφ̄) = d − u cosφ − v sinφ, and its square is 1
    d = on_circle(*(missing[i] - one.centre[i + 1] - other.centre[i + 1] for i in (0, 1)))
    u, v = on_circle(one.cosine[1], one.cosine[2]), on_circle(one.sine[1], one.sine[2])

    def inner(x: tuple[Scalar, Scalar], y: tuple[Scalar, Scalar]) -> Scalar:
        return x[0] * y[0] + x[1] * y[1]

    uu, uv, vv = inner(u, u), inner(u, v), inner(v, v)
    du, dv, rest = inner(d, u), inner(d, v), inner(d, d) - 1

    # φ counted from where |g| is largest of eight places, so that no root is near φ = π, tan(φ/2) = ∞
    half = jnp.sqrt(0.5)
    places: list[tuple[Scalar, Scalar]] = [(1.0, 0.0), (half, half), (0.0, 1.0), (-half, half)]
    places += [(-c, -s) for c, s in places]
    best: Scalar = -1.0
    c0: Scalar = 1.0
    s0: Scalar = 0.0
    for c, s in places:
        g = jnp.abs(uu * c * c + 2 * uv * c * s + vv * s * s - 2 * (du * c + dv * s) + rest)
        better = g > best
        best = jnp.where(better, g, best)
        c0, s0 = jnp.where(better, -c, c0), jnp.where(better, -s, s0)
    aa = uu * c0**2 + 2 * uv * c0 * s0 + vv * s0**2
    bb = uu * s0**2 - 2 * uv * c0 * s0 + vv * c0**2
    ab = (vv - uu) * c0 * s0 + uv * (c0**2 - s0**2)
    da, db = du * c0 + dv * s0, dv * c0 - du * s0
    # times (1 + w²)², with w = tan(φ/2)
    w, real = quartic_roots(
        aa - 2 * da + rest, 4 * (ab - db), 4 * bb - 2 * aa + 2 * rest, -4 * (ab + db), aa + 2 * da + rest
    )
    norm = 1 / (1 + w**2)
    c, s = (1 - w**2) * norm, 2 * w * norm
    c, s = c * c0 - s * s0, s * c0 + c * s0
    c_bar, s_bar = d[0] - u[0] * c - v[0] * s, d[1] - u[1] * c - v[1] * s
    size = jnp.sqrt(c_bar**2 + s_bar**2)
    return c, s, c_bar / size, s_bar / size, real


def _slope(e: Ellipse, c: Scalar, s: Scalar) -> tuple[Scalar, Scalar]:
    """dp_T/dφ."""
    return e.sine[1] * c - e.cosine[1] * s, e.sine[2] * c - e.cosine[2] * s


def _rotation(c: Scalar, s: Scalar, angle: Scalar) -> tuple[Scalar, Scalar]:
    """The unit vector (c, s) turned by a small angle."""
    c, s = c - s * angle, s + c * angle
    size = jnp.sqrt(c**2 + s**2)
    return c / size, s / size


def _choice(condition: Scalar, one: Ellipse, other: Ellipse) -> Ellipse:
    return Ellipse(
        choice(condition, one.centre, other.centre),
        choice(condition, one.cosine, other.cosine),
        choice(condition, one.sine, other.sine),
        jnp.where(condition, one.root_gram, other.root_gram),
        jnp.where(condition, one.middle, other.middle),
        jnp.where(condition, one.exists, other.exists),
    )


def _face(e: Ellipse) -> Scalar:
    """How much of its face the ellipse turns to the transverse plane: |area| over the axes' squares."""
    area = e.cosine[1] * e.sine[2] - e.cosine[2] * e.sine[1]
    return jnp.abs(area) / (e.cosine[1] ** 2 + e.cosine[2] ** 2 + e.sine[1] ** 2 + e.sine[2] ** 2)


def top_pair(
    antilepton: FourVector,
    quark: FourVector,
    lepton: FourVector,
    antiquark: FourVector,
    missing: tuple[Scalar, Scalar],
    masses: tuple[Scalar, Scalar, Scalar, Scalar],
) -> Solutions:
    """Neutrinos of tt̄ → (ℓ⁺ν b)(ℓ⁻ν̄ b̄) from four masses and the missing p_T; up to four solutions.

    On their two ellipses masses are right by construction, and two equations are left, p_T(φ) + p̄_T(φ̄) =
    missing: with one of the ellipses turned into the unit circle, the other is a quartic in tan(φ/2). Each
    solution is polished by Newton steps in (φ, φ̄), whose determinant is in the Jacobian,

        J = 1/((2π)⁶ 64 √G √Ḡ |∂(p_T + p̄_T)/∂(φ, φ̄)|), in GeV⁻⁸ (s in GeV², δ² in GeV⁻²).

    What it cannot promise: two ellipses that are both seen edge-on (equal rapidities of lepton and b quark,
    twice) have no quartic, and no solution here. Two solutions that are closer than about 1e-7 may be taken
    for none or one.

    **Arguments:** the visible momenta in GeV, of any mass; `missing` (x, y) in GeV; `masses`: s₁₃, s₁₃₄, s₂₅,
    s₂₅₆ of W⁺, t, W⁻, t̄ in GeV².

    **Returns** `Solutions` with a leading axis of four, for scalars or elementwise over a batch.

    **Raises** `PrecisionError` in single precision.
    """
    require_double("a solution for neutrinos")
    s13, s134, s25, s256 = masses
    plus, minus = ellipse(antilepton, quark, s13, s134), ellipse(lepton, antiquark, s25, s256)
    # the ellipse that is less edge-on becomes the circle
    exchange = _face(plus) > _face(minus)
    one, other = _choice(exchange, minus, plus), _choice(exchange, plus, minus)
    c, s, c_bar, s_bar, real = _crossing(one, other, missing)

    for _ in range(_POLISHING):
        p, q = one.at(c, s), other.at(c_bar, s_bar)
        x, y = (p[i + 1] + q[i + 1] - missing[i] for i in (0, 1))
        (ax, ay), (bx, by) = _slope(one, c, s), _slope(other, c_bar, s_bar)
        det = ax * by - ay * bx
        c, s = _rotation(c, s, jnp.clip((bx * y - by * x) / det, -0.5, 0.5))
        c_bar, s_bar = _rotation(c_bar, s_bar, jnp.clip((ay * x - ax * y) / det, -0.5, 0.5))

    p, q = one.at(c, s), other.at(c_bar, s_bar)
    x, y = (p[i + 1] + q[i + 1] - missing[i] for i in (0, 1))
    (ax, ay), (bx, by) = _slope(one, c, s), _slope(other, c_bar, s_bar)
    det = jnp.abs(ax * by - ay * bx)
    close = jnp.abs(x) + jnp.abs(y) <= _TOLERANCE * (p[0] + q[0])
    valid = real & close & one.exists & other.exists & (det > 0)
    volume = _SQUARE_OF_2_PI_CUBED * 64 * one.root_gram * other.root_gram * det
    jacobian = jnp.where(valid, 1 / jnp.where(valid, volume, 1.0), 0.0)
    return Solutions(choice(exchange, q, p), choice(exchange, p, q), jacobian, valid)


class Direction(NamedTuple):
    """Of φ, and of the rapidity relative to a lepton's."""

    cos: Scalar
    sin: Scalar
    cosh: Scalar
    sinh: Scalar

    @classmethod
    def of(cls, phi: Scalar, rapidity: Scalar) -> Direction:
        return cls(jnp.cos(phi), jnp.sin(phi), jnp.cosh(rapidity), jnp.sinh(rapidity))


def w_pair(
    antilepton: FourVector,
    lepton: FourVector,
    missing: tuple[Scalar, Scalar],
    masses: tuple[Scalar, Scalar],
    towards: Direction,
) -> Solutions:
    """Neutrinos of W⁺W⁻ → ℓ⁺ν ℓ⁻ν̄ from both masses, the neutrino's φ and Δy = y_ν − y_ℓ; two solutions.

    With m_T, p_T and y of the leptons (m of ℓ⁺ and ℓ⁻ need not vanish),

        p_T,ν = (s₁₃ − m²) / (2 [m_T cosh Δy − p_T cos Δφ]),   p̄_T = missing − p_T,ν,
        cosh Δȳ = [(s₂₄ − m̄²)/(2 p̄_T,ν) + p̄_T cos Δφ̄] / m̄_T,
        J = 1/(4 (2π)⁶) · p_T,ν/(2 [m_T cosh Δy − p_T cos Δφ]) · 1/(2 m̄_T p̄_T,ν |sinh Δȳ|),  in GeV⁻⁴.

    **Arguments:** momenta and `missing` in GeV; `masses`: s₁₃ and s₂₄ of W⁺ and W⁻ in GeV².

    **Returns** `Solutions` with a leading axis of two, Δȳ > 0 first.

    **Raises** `PrecisionError` in single precision.
    """
    require_double("a solution for neutrinos")
    s13, s24 = masses
    (_, px, py, _), (_, qx, qy, _) = antilepton, lepton
    (m2, mt), (n2, nt) = transverse(antilepton), transverse(lepton)
    slope = 2 * (mt * towards.cosh - (px * towards.cos + py * towards.sin))
    k = (s13 - m2) / slope
    first = _massless(k * towards.cos, k * towards.sin, k / mt, antilepton, (towards.cosh, towards.sinh))

    kx, ky = missing[0] - first[1], missing[1] - first[2]
    size = jnp.sqrt(kx**2 + ky**2)
    cosh = ((s24 - n2) / 2 + qx * kx + qy * ky) / (nt * size)
    valid = (cosh > 1) & (k > 0) & (s24 > n2)
    sinh = jnp.sqrt(jnp.where(valid, (cosh - 1) * (cosh + 1), 1.0))
    jacobian = jnp.where(valid, w_pair_jacobian(k, slope, nt, size, sinh), 0.0)
    second = _massless(kx, ky, size / nt, lepton, (cosh, jnp.stack([sinh, -sinh])))
    twice = tuple(jnp.broadcast_to(x, second[0].shape) for x in first)
    return Solutions(
        twice,  # type: ignore[arg-type]
        second,
        jnp.broadcast_to(jacobian, second[0].shape),
        jnp.broadcast_to(valid, second[0].shape),
    )


def w_pair_jacobian(pt: Scalar, slope: Scalar, mt: Scalar, other_pt: Scalar, sinh: Scalar) -> Scalar:
    """J of `w_pair` from p_T,ν, `slope` 2 [m_T cosh Δy − p_T cos Δφ], m̄_T, p̄_T,ν and |sinh Δȳ|."""
    return pt / slope / (2 * mt * other_pt * sinh) / (4 * _SQUARE_OF_2_PI_CUBED)


def transverse(p: FourVector) -> tuple[Scalar, Scalar]:
    """m² and m_T of a momentum; massless legs may have E² < p⃗², so m² ≥ 0 is seen to."""
    m2 = jnp.maximum(dot(p, p), 0.0)
    return m2, jnp.sqrt(p[1] ** 2 + p[2] ** 2 + m2)


def _massless(
    px: Scalar, py: Scalar, ratio: Scalar, reference: FourVector, away: tuple[Scalar, Scalar]
) -> FourVector:
    """The massless momentum of p_T = `ratio` m_T of another one, (cosh Δy, sinh Δy) `away` from it."""
    (energy, _, _, z), (cosh, sinh) = reference, away
    e, pz = ratio * (energy * cosh + z * sinh), ratio * (z * cosh + energy * sinh)
    return e, px + 0 * e, py + 0 * e, pz
