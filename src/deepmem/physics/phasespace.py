"""Phase space of a whole event, sampled where the amplitudes are large: numbers in (0, 1) → momenta and a
measure.

The weight of the method fixes what was measured; here nothing is fixed. A point is (ŝ, Y, angles of the
outgoing legs),

    dx1 dx2 dΦ_n = dŝ dY / s · dΦ_n(ŝ),   x1,2 = √(ŝ/s) e^{±Y},

drawn with the resonances, poles and t-channels that tree-level amplitudes have. Masses follow a `Mixture` of
maps with balance weights (every map's density at the point counts, whichever drew it), so no peak can be
missed by the map that another peak was made for. Massless charged leptons only:

    dΦ_2 = 1/(8π) dΩ/4π,
    dΦ_4 = √λ(ŝ, s_a, s_b)/(8πŝ) dΩ/4π · ds_a/2π ds_b/2π · dΦ_2(s_a) dΦ_2(s_b),   λ = Källén's function.

Written for one point and batched from outside; double precision required. Source: R. Kleiss and R. Pittau,
hep-ph/9405257 (multichannel); F. James, CERN 68-15 (the recursion).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp

from deepmem.errors import UsageError
from deepmem.kinematics import FourVector, Scalar, add, dot
from deepmem.physics.constants import Parameters
from deepmem.physics.processes.base import Process
from deepmem.physics.processes.lepton_pairs import DIRECT, EXCHANGED, Pairing

TwoBody: TypeAlias = tuple[FourVector, FourVector]


class Pole(NamedTuple):
    """s with density ∝ 1/((s − m²)² + m²Γ²): s = m² + mΓ tan y, y uniform."""

    mass: Scalar
    width: Scalar

    def _angle(self, s: Scalar) -> Scalar:
        return jnp.arctan((s - self.mass**2) / (self.mass * self.width))

    def draw(self, u: Scalar, low: Scalar, high: Scalar) -> Scalar:
        first, last = self._angle(low), self._angle(high)
        s = self.mass**2 + self.mass * self.width * jnp.tan(first + u * (last - first))
        return jnp.clip(s, low, high)

    def density(self, s: Scalar, low: Scalar, high: Scalar) -> Scalar:
        strength = self.mass * self.width
        return strength / ((s - self.mass**2) ** 2 + strength**2) / (self._angle(high) - self._angle(low))


class Power(NamedTuple):
    """s with density ∝ (s + s₀)^(−ν)."""

    nu: float
    offset: float = 1.0
    """s₀ in GeV², which lets s reach 0."""

    def _integral(self, s: Scalar) -> Scalar:
        if self.nu == 1:
            return jnp.log(s + self.offset)
        return (s + self.offset) ** (1 - self.nu) / (1 - self.nu)

    def draw(self, u: Scalar, low: Scalar, high: Scalar) -> Scalar:
        first, last = self._integral(low), self._integral(high)
        at = first + u * (last - first)
        s = jnp.exp(at) if self.nu == 1 else ((1 - self.nu) * at) ** (1 / (1 - self.nu))
        return jnp.clip(s - self.offset, low, high)

    def density(self, s: Scalar, low: Scalar, high: Scalar) -> Scalar:
        return (s + self.offset) ** -self.nu / (self._integral(high) - self._integral(low))


@dataclass(frozen=True)
class Mixture:
    """Several maps of s, each taken with its share; all of them make the density."""

    parts: tuple[tuple[float, Pole | Power], ...]

    def draw(self, choice: Scalar, u: Scalar, low: Scalar, high: Scalar) -> Scalar:
        """s in [low, high], GeV²; `choice` and `u` uniform in (0, 1)."""
        s = self.parts[-1][1].draw(u, low, high)
        for k in reversed(range(len(self.parts) - 1)):
            upto = sum(share for share, _ in self.parts[: k + 1])
            s = jnp.where(choice < upto, self.parts[k][1].draw(u, low, high), s)
        return s

    def density(self, s: Scalar, low: Scalar, high: Scalar) -> Scalar:
        """Normalised over [low, high], in GeV⁻²."""
        inside = (s >= low) & (s <= high)
        total = sum(share * part.density(s, low, high) for share, part in self.parts)
        return jnp.where(inside, total, 0.0)


class Region(NamedTuple):
    """What of phase space is sampled: true invariant masses in GeV, before any response."""

    low: Scalar
    """Of all outgoing legs together."""
    high: Scalar
    pair: Scalar = 0.0
    """The least mass of every pair of equal flavour and opposite charge: photons diverge at 0."""


class Point(NamedTuple):
    """One point of phase space."""

    legs: tuple[FourVector, ...]
    """In the frame of the partons' centre of mass: the two partons, then the outgoing legs."""
    s: Scalar
    """ŝ in GeV²."""
    rapidity: Scalar
    """Y of the whole event."""
    measure: Scalar
    """dŝ dY dΦ_n per unit of the cube, GeV^(2n − 2); 0 outside the region."""


DIMENSIONS = {2: 5, 4: 16}
"""Numbers in (0, 1) for each number of outgoing legs."""


def sampler(process: Process) -> Callable[[Scalar, Parameters, Region], Point]:
    """The map of phase space for a process: (u `[dimensions]`, parameters, region) ↦ `Point`.

    **Raises** `UsageError` for a final state that there is no map for (other than two or four charged
    leptons).
    """
    number = len(process.outgoing)
    charged = all(abs(code) in (11, 13, 15) for code in process.outgoing)
    if number not in DIMENSIONS or not charged:
        raise UsageError(
            f"{process.name}: leading-order events can be drawn for two or four charged leptons, "
            f"not for the final state {process.outgoing}"
        )
    build = _two_leptons if number == 2 else _four_leptons

    def point(u: Scalar, p: Parameters, region: Region) -> Point:
        whole = _whole_mass(process, p)
        low, high = region.low**2, region.high**2
        s = whole.draw(u[0], u[1], low, high)
        limit = jnp.log(p.sqrt_s**2 / s) / 2
        outgoing, measure = build(u[3:], s, process, p, region.pair)
        half = jnp.sqrt(s) / 2
        zero = jnp.zeros_like(half)
        partons = (half, zero, zero, half), (half, zero, zero, -half)
        measure = measure * 2 * limit / whole.density(s, low, high)
        return Point((*partons, *outgoing), s, limit * (2 * u[2] - 1), measure)

    return point


def _from_gluons(process: Process) -> bool:
    return (21, 21) in process.initial_states


def _whole_mass(process: Process, p: Parameters) -> Mixture:
    """The map of ŝ: the resonance if there is one, and luminosity times 1/ŝ, which fall together like
    ŝ^−2."""
    if process.resonance is not None:
        mass, width = (getattr(p, name) for name in process.resonance)
        return Mixture(((0.85, Pole(mass, width)), (0.15, Power(1.5))))
    if len(process.outgoing) == 2:
        return Mixture(((0.6, Pole(p.MZ, p.WZ)), (0.4, Power(2.0))))
    # four leptons: singly resonant diagrams peak at the Z
    return Mixture(((0.2, Pole(p.MZ, p.WZ)), (0.8, Power(2.0))))


def _direction(u: Scalar, v: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    cosine, angle = 2 * u - 1, 2 * jnp.pi * v
    sine = jnp.sqrt(jnp.maximum(1 - cosine**2, 0.0))
    return sine * jnp.cos(angle), sine * jnp.sin(angle), cosine


def decay(parent: FourVector, mass: Scalar, direction: tuple[Scalar, Scalar, Scalar]) -> TwoBody:
    """Two massless legs back to back in the parent's rest frame, the first along `direction` there."""
    half = mass / 2
    forth = (half, *(half * n for n in direction))
    back = (half, *(-half * n for n in direction))
    return from_rest_frame(forth, parent, mass), from_rest_frame(back, parent, mass)


def from_rest_frame(q: FourVector, parent: FourVector, mass: Scalar) -> FourVector:
    """q, known in the rest frame of `parent`, where the parent has its momentum P:

        E = (E_P e + P⃗·q⃗)/m,   p⃗ = q⃗ + P⃗ [P⃗·q⃗/(m (E_P + m)) + e/m].

    This form has γ as E_P/m, not from 1 − β², so it holds at any boost. **Arguments:** `mass` = √P², GeV.
    """
    along = parent[1] * q[1] + parent[2] * q[2] + parent[3] * q[3]
    k = along / (mass * (parent[0] + mass)) + q[0] / mass
    return (
        (parent[0] * q[0] + along) / mass,
        q[1] + parent[1] * k,
        q[2] + parent[2] * k,
        q[3] + parent[3] * k,
    )


def _two_leptons(
    u: Scalar, s: Scalar, process: Process, p: Parameters, pair: Scalar
) -> tuple[tuple[FourVector, ...], Scalar]:
    mass = jnp.sqrt(s)
    zero = jnp.zeros_like(mass)
    legs = decay((mass, zero, zero, zero), mass, _direction(u[0], u[1]))
    return legs, jnp.where(mass >= pair, 1 / (8 * jnp.pi), 0.0)


# --- four leptons: two pairs, of masses √s_a and √s_b, back to back
# -------------------------------------------


def _pair_mass(process: Process, p: Parameters) -> Mixture:
    """A pair comes from a Z or a photon; the flat part is the Z far below its mass."""
    if _from_gluons(process):
        return Mixture(((0.5, Pole(p.MZ, p.WZ)), (0.15, Power(1.0)), (0.35, Power(0.0))))
    return Mixture(((0.45, Pole(p.MZ, p.WZ)), (0.4, Power(1.0)), (0.15, Power(0.0))))


def _four_leptons(
    u: Scalar, s: Scalar, process: Process, p: Parameters, pair: Scalar
) -> tuple[tuple[FourVector, ...], Scalar]:
    """ℓ⁺ ℓ⁻ ℓ'⁺ ℓ'⁻, through pairs as the amplitude has them: in one way, or in two for identical leptons."""
    masses, least, mass = _pair_mass(process, p), pair**2, jnp.sqrt(s)
    identical = process.outgoing[0] == process.outgoing[2]

    first = masses.draw(u[0], u[1], least, (mass - pair) ** 2)
    second = masses.draw(u[2], u[3], least, jnp.maximum(mass - jnp.sqrt(first), pair) ** 2)
    swap = u[4] < 0.5
    s_a, s_b = jnp.where(swap, second, first), jnp.where(swap, first, second)

    momentum = jnp.sqrt(jnp.maximum(kallen(s, s_a, s_b), 0.0) / s) / 2
    peak = _peak(s, s_a, s_b)
    cosine = jnp.where(u[5] < _T_CHANNEL, peak.draw(u[6]), 2 * u[6] - 1)
    if _from_gluons(process):
        cosine = 2 * u[6] - 1
    sine, angle = jnp.sqrt(jnp.maximum(1 - cosine**2, 0.0)), 2 * jnp.pi * u[7]
    x, y, z = momentum * sine * jnp.cos(angle), momentum * sine * jnp.sin(angle), momentum * cosine
    a = jnp.sqrt(s_a + momentum**2), x, y, z
    b = jnp.sqrt(s_b + momentum**2), -x, -y, -z
    plus, minus = decay(a, jnp.sqrt(s_a), _direction(u[8], u[9]))
    other_plus, other_minus = decay(b, jnp.sqrt(s_b), _direction(u[10], u[11]))

    if not identical:
        legs = plus, minus, other_plus, other_minus
        density = _pairing_density(legs, DIRECT, s, masses, pair, process)
    else:
        exchange = u[12] < 0.5
        legs = (
            _where(exchange, other_plus, plus),
            minus,
            _where(exchange, plus, other_plus),
            other_minus,
        )
        density = 0.5 * sum(
            _pairing_density(legs, pairing, s, masses, pair, process) for pairing in (DIRECT, EXCHANGED)
        )
    inside = jnp.isfinite(density) & (density > 0)
    for i, j in _opposite(process.outgoing):
        inside &= 2 * dot(legs[i], legs[j]) >= least
    return legs, jnp.where(inside, 1 / jnp.where(inside, density, 1.0), 0.0)


def _opposite(codes: Sequence[int]) -> list[tuple[int, int]]:
    return [(i, j) for j in range(len(codes)) for i in range(j) if codes[i] == -codes[j]]


def _where(condition: Scalar, p: FourVector, q: FourVector) -> FourVector:
    e, x, y, z = (jnp.where(condition, a, b) for a, b in zip(p, q, strict=True))
    return e, x, y, z


def _pairing_density(
    legs: Sequence[FourVector],
    pairing: Pairing,
    s: Scalar,
    masses: Mixture,
    pair: Scalar,
    process: Process,
) -> Scalar:
    """Points per dΦ_4 of the map that has this pairing, at a point that any map may have drawn."""
    # lines count the partons as legs 0 and 1
    a, b = (add(legs[line.out - 2], legs[line.into - 2]) for line in pairing)
    s_a, s_b = (jnp.maximum(dot(q, q), 0.0) for q in (a, b))
    mass, least = jnp.sqrt(s), pair**2

    def ordered(one: Scalar, two: Scalar) -> Scalar:
        rest = jnp.maximum(mass - jnp.sqrt(one), pair) ** 2
        return masses.density(one, least, (mass - pair) ** 2) * masses.density(two, least, rest)

    root = jnp.sqrt(jnp.maximum(kallen(s, s_a, s_b), 0.0))
    density = (ordered(s_a, s_b) + ordered(s_b, s_a)) / 2
    if not _from_gluons(process):
        # relative to a uniform cosine, whose density is 1/2
        cosine = jnp.clip(2 * a[3] * mass / root, -1.0, 1.0)
        density = density * (1 - _T_CHANNEL + _T_CHANNEL * 2 * _peak(s, s_a, s_b).density(cosine))
    return density * (2 * jnp.pi) ** 2 * (8 * jnp.pi) ** 3 * s / root


def kallen(x: Scalar, y: Scalar, z: Scalar) -> Scalar:
    """λ = x² + y² + z² − 2xy − 2xz − 2yz."""
    return (x - y - z) ** 2 - 4 * y * z


_T_CHANNEL = 0.5


class _Peak(NamedTuple):
    """cosθ with density ∝ 1/(b² − cos²θ), as a quark exchanged in t or u makes it; b > 1."""

    excess: Scalar
    """b − 1."""

    def _log(self) -> Scalar:
        return jnp.log1p(2 / self.excess)

    def draw(self, u: Scalar) -> Scalar:
        # half of the numbers for the peak forward, half for the one backward
        backward = u < 0.5
        v = jnp.where(backward, 2 * u, 2 * u - 1)
        cosine = 1 + self.excess - self.excess * jnp.exp(v * self._log())
        return jnp.clip(jnp.where(backward, -cosine, cosine), -1.0, 1.0)

    def density(self, cosine: Scalar) -> Scalar:
        b = 1 + self.excess
        return b / (self.excess * (2 + self.excess) + 1 - cosine**2) / self._log()


def _peak(s: Scalar, s_a: Scalar, s_b: Scalar) -> _Peak:
    """−t = (ŝ − s_a − s_b)/2 · (1 − cosθ/b), so b = (ŝ − s_a − s_b)/√λ.

    The pole at −t = s_a s_b/(…) lies so near to the edge for light pairs that a floor keeps the map tame.
    """
    size = s - s_a - s_b
    root = jnp.sqrt(jnp.maximum(kallen(s, s_a, s_b), 1e-12 * s**2))
    return _Peak(jnp.clip(4 * s_a * s_b / (root * (size + root)), 1e-4, 1e3))
