"""Phase space of a whole event with nothing measured, sampled where the amplitudes are large: σ and events.

A point is (ŝ, Y, angles of the outgoing legs), drawn with the resonances, poles and t-channels of tree-level
amplitudes; charged leptons and neutrinos are massless:

    dx1 dx2 dΦ_n = dŝ dY / s · dΦ_n(ŝ),   x1,2 = √(ŝ/s) e^{±Y},
    dΦ_4 = dΦ_2(ŝ; s_a, s_b) ds_a/2π ds_b/2π · dΦ_2(s_a; 0, 0) dΦ_2(s_b; 0, 0),
    dΦ_6 = dΦ_2(ŝ; s_t, s_t̄) Π_t [ds_t/2π ds_W/2π · dΦ_2(s_t; s_W, m_b²) dΦ_2(s_W; 0, 0)].

Written for one point and batched from outside; double precision required. Source: F. James, CERN 68-15.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np

from deepmem.errors import UsageError
from deepmem.kinematics import FourVector, Scalar, add, dot
from deepmem.physics.phasespace.bodies import choice, decay, direction, kallen, towards, volume
from deepmem.physics.phasespace.lines import BreitWigner, Mixture, Peaks, Power
from deepmem.physics.processes.base import Process
from deepmem.physics.processes.lepton_pairs import DIRECT, EXCHANGED, Pairing
from deepmem.physics.theory.parameters import Parameters, electroweak
from deepmem.selection import CHARGED_LEPTONS, NEUTRINOS

# The share of cosines that follow the peaks of an exchange in t.
_T_CHANNEL = 0.5


class Region(NamedTuple):
    """What of phase space is sampled: true invariant masses in GeV, before any response."""

    low: Scalar
    """Of all outgoing legs together."""
    high: Scalar
    pair: Scalar = 0.0
    """The least mass of every pair of equal flavour and opposite charge: photons diverge at 0."""
    window: Scalar = jnp.inf
    """Tops are within this many widths of MT."""


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


DIMENSIONS = {2: 5, 4: 16, 6: 18}
"""Numbers in (0, 1) for each number of outgoing legs."""


def sampler(process: Process) -> Callable[[Scalar, Parameters, Region], Point]:
    """The map of phase space for a process: (u `[dimensions]`, parameters, region) ↦ `Point`.

    **Raises** `UsageError` for a final state that there is no map for.
    """
    build = _map_of(process)

    def point(u: Scalar, p: Parameters, region: Region) -> Point:
        s, outgoing, measure = build(u, process, p, region)
        limit = jnp.log(p.sqrt_s**2 / s) / 2
        half = jnp.sqrt(s) / 2
        zero = jnp.zeros_like(half)
        partons = (half, zero, zero, half), (half, zero, zero, -half)
        return Point((*partons, *outgoing), s, limit * (2 * u[2] - 1), measure * 2 * limit)

    return point


_Legs: TypeAlias = tuple[FourVector, ...]
_Map: TypeAlias = Callable[[Scalar, Process, Parameters, Region], tuple[Scalar, _Legs, Scalar]]
"""(u, process, parameters, region) ↦ ŝ, outgoing legs, dŝ dΦ_n per unit of the cube; u[2] is left for Y."""


def is_drawn(process: Process) -> bool:
    """Whether there is a map for the final state of a process."""
    return _maps(process).keys() >= {_kinds(process)}


def _kinds(process: Process) -> tuple[object, ...]:
    return tuple(
        "lepton" if abs(code) in CHARGED_LEPTONS else "neutrino" if abs(code) in NEUTRINOS else code
        for code in process.outgoing
    )


def _maps(process: Process) -> dict[tuple[object, ...], _Map]:
    return {
        ("lepton",) * 2: _whole_first(_two_leptons),
        ("lepton",) * 4: _whole_first(_four_leptons),
        ("lepton", "neutrino") * 2: _w_pair if process.resonance is None else _whole_first(_resonant_w_pair),
        ("lepton", "neutrino", 5, "lepton", "neutrino", -5): _top_pair,
    }


def _map_of(process: Process) -> _Map:
    kinds, maps = _kinds(process), _maps(process)
    if kinds not in maps:
        raise UsageError(
            f"{process.name}: leading-order events can be drawn for two or four charged leptons, for two W "
            f"bosons or two tops that decay to leptons, not for the final state {process.outgoing}"
        )
    return maps[kinds]


def _whole_first(
    build: Callable[[Scalar, Scalar, Process, Parameters, Scalar], tuple[_Legs, Scalar]],
) -> _Map:
    """ŝ is drawn first, then all else, by `build`."""

    def both(u: Scalar, process: Process, p: Parameters, region: Region) -> tuple[Scalar, _Legs, Scalar]:
        whole = _whole_mass(process, p)
        low, high = region.low**2, region.high**2
        s = whole.draw(u[0], u[1], low, high)
        outgoing, measure = build(u[3:], s, process, p, region.pair)
        return s, outgoing, measure / whole.density(s, low, high)

    return both


def _from_gluons(process: Process) -> bool:
    return (21, 21) in process.initial_states


def strata(process: Process, p: Parameters) -> tuple[np.ndarray, int]:
    """Which numbers of a point choose ŝ: rows of u[0] `[rows + 1]`, and how many equal cells of u[1] in each.

    Rows are the maps of ŝ where it is drawn first; else u[0] alone decides.
    """
    if process.invisible and process.resonance is None:
        return np.linspace(0.0, 1.0, 65), 1
    shares = np.array([share for share, _ in _whole_mass(process, p).parts])
    return np.append(0.0, np.cumsum(shares) / shares.sum()), 128


def _whole_mass(process: Process, p: Parameters) -> Mixture:
    """The map of ŝ: every resonance that there can be, and what is even in log ŝ."""
    if process.resonance is not None:
        mass, width = (p.get(name) for name in process.resonance)
        if process.invisible:
            # W bosons that both are on their shells, above 2 MW, are a tenth of all
            return Mixture(((0.7, BreitWigner(mass, width)), (0.3, Power(2.0, 4 * electroweak(p).MW ** 2))))
        return Mixture(((0.85, BreitWigner(mass, width)), (0.15, Power(1.0))))
    # of four leptons, singly resonant diagrams peak at the Z
    share = 0.6 if len(process.outgoing) == 2 else 0.2
    names = process.resonances
    poles = [(share / len(names), BreitWigner(p.get(m), p.get(w))) for m, w in names]
    return Mixture((*poles, (1.0 - share if poles else 1.0, Power(1.0))))


def _two_leptons(u: Scalar, s: Scalar, process: Process, p: Parameters, pair: Scalar) -> tuple[_Legs, Scalar]:
    mass = jnp.sqrt(s)
    zero = jnp.zeros_like(mass)
    legs = decay((mass, zero, zero, zero), mass, direction(u[0], u[1]))
    return legs, jnp.where(mass >= pair, 1 / (8 * jnp.pi), 0.0)


# --- four leptons: two pairs, of masses √s_a and √s_b, back to back
# -----------------------------------------------------------------------------------------------------------


def _pair_mass(process: Process, p: Parameters) -> Mixture:
    """A pair comes from a Z or a photon; the flat part is the Z far below its mass."""
    if _from_gluons(process):
        return Mixture(((0.5, BreitWigner(p.MZ, p.WZ)), (0.15, Power(1.0)), (0.35, Power(0.0))))
    return Mixture(((0.45, BreitWigner(p.MZ, p.WZ)), (0.4, Power(1.0)), (0.15, Power(0.0))))


def _four_leptons(
    u: Scalar, s: Scalar, process: Process, p: Parameters, pair: Scalar
) -> tuple[_Legs, Scalar]:
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
    x, y, z = (momentum * n for n in towards(cosine, u[7]))
    a = jnp.sqrt(s_a + momentum**2), x, y, z
    b = jnp.sqrt(s_b + momentum**2), -x, -y, -z
    plus, minus = decay(a, jnp.sqrt(s_a), direction(u[8], u[9]))
    other_plus, other_minus = decay(b, jnp.sqrt(s_b), direction(u[10], u[11]))

    if not identical:
        legs = plus, minus, other_plus, other_minus
        density = _pairing_density(legs, DIRECT, s, masses, pair, process)
    else:
        exchange = u[12] < 0.5
        legs = (
            choice(exchange, other_plus, plus),
            minus,
            choice(exchange, plus, other_plus),
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


# --- two W bosons, two tops
# -----------------------------------------------------------------------------------------------------------


def _pair_of(
    u: Scalar, s: Scalar, s_a: Scalar, s_b: Scalar, peak: Peaks | None
) -> tuple[FourVector, FourVector, Scalar]:
    """Two bodies back to back and their dΦ_2; half of the cosines follow `peak`. u: choice, cosine, φ."""
    mass = jnp.sqrt(s)
    cosine, density = 2 * u[1] - 1, jnp.ones_like(s)
    if peak is not None:
        cosine = jnp.where(u[0] < _T_CHANNEL, peak.draw(u[1]), cosine)
        density = 1 - _T_CHANNEL + _T_CHANNEL * 2 * peak.density(cosine)
    zero = jnp.zeros_like(mass)
    a, b = decay((mass, zero, zero, zero), mass, towards(cosine, u[2]), s_a, s_b)
    return a, b, volume(s, s_a, s_b) / density


def _w_decays(
    u: Scalar, plus: FourVector, minus: FourVector, s_a: Scalar, s_b: Scalar
) -> tuple[_Legs, float]:
    """ℓ⁺ ν ℓ⁻ ν̄ of two Ws, and their dΦ_2. u: two angles each."""
    legs = (
        *decay(plus, jnp.sqrt(s_a), direction(u[0], u[1])),
        *decay(minus, jnp.sqrt(s_b), direction(u[2], u[3])),
    )
    return legs, 1 / (8 * jnp.pi) ** 2


def _threshold(u: Scalar, nu: float, region: Region, least: Scalar) -> tuple[Scalar, Scalar]:
    """ŝ above the threshold √ŝ = `least`, and 1/density; 0 where the region is below it."""
    low, high = jnp.maximum(region.low, least) ** 2, region.high**2
    fall = Power(nu)
    possible = low < high
    low = jnp.where(possible, low, high / 4)
    s = fall.draw(u, low, high)
    return s, jnp.where(possible, 1 / fall.density(s, low, high), 0.0)


def _resonances(
    u: Scalar, mass: Scalar, width: Scalar, low: Scalar, high: Scalar, total: Scalar
) -> tuple[Scalar, Scalar, Scalar]:
    """Two masses squared on a Breit–Wigner between low² and high², √s_a + √s_b < total; and 1/density."""
    pole = BreitWigner(mass, width)
    tops = [jnp.minimum(high, total - low)]
    s_a = pole.draw(u[0], low**2, tops[0] ** 2)
    tops.append(jnp.minimum(high, jnp.maximum(total - jnp.sqrt(s_a), low)))
    s_b = pole.draw(u[1], low**2, tops[1] ** 2)
    density = pole.density(s_a, low**2, tops[0] ** 2) * pole.density(s_b, low**2, tops[1] ** 2)
    possible = jnp.isfinite(density) & (density > 0)
    return s_a, s_b, jnp.where(possible, 1 / jnp.where(possible, density, 1.0), 0.0)


def _w_pair(u: Scalar, process: Process, p: Parameters, region: Region) -> tuple[Scalar, _Legs, Scalar]:
    """ℓ⁺ ν ℓ⁻ ν̄ from quarks: masses, then ŝ; a quark exchanged in t."""
    s_a, s_b, measure = _resonances(u[3:], electroweak(p).MW, p.WW, 0.0, jnp.inf, region.high)
    s, of_s = _threshold(u[0], 2.0, region, jnp.sqrt(s_a) + jnp.sqrt(s_b))
    plus, minus, of_pair = _pair_of(u[5:], s, s_a, s_b, _peak(s, s_a, s_b))
    legs, of_decays = _w_decays(u[8:], plus, minus, s_a, s_b)
    return s, legs, measure / (2 * jnp.pi) ** 2 * of_s * of_pair * of_decays


def _resonant_w_pair(
    u: Scalar, s: Scalar, process: Process, p: Parameters, pair: Scalar
) -> tuple[_Legs, Scalar]:
    """ℓ⁺ ν ℓ⁻ ν̄ from a resonance: a W on its shell or any mass below, in either order, and another one."""
    masses, whole = Mixture(((0.7, BreitWigner(electroweak(p).MW, p.WW)), (0.3, Power(0.0)))), jnp.sqrt(s)
    first = masses.draw(u[0], u[1], 0.0, s)
    second = masses.draw(u[2], u[3], 0.0, (whole - jnp.sqrt(first)) ** 2)
    swap = u[4] < 0.5
    s_a, s_b = jnp.where(swap, second, first), jnp.where(swap, first, second)

    def ordered(one: Scalar, two: Scalar) -> Scalar:
        return masses.density(one, 0.0, s) * masses.density(two, 0.0, (whole - jnp.sqrt(one)) ** 2)

    density = (ordered(s_a, s_b) + ordered(s_b, s_a)) / 2
    possible = jnp.isfinite(density) & (density > 0)
    plus, minus, of_pair = _pair_of(u[5:], s, s_a, s_b, None)
    legs, of_decays = _w_decays(u[8:], plus, minus, s_a, s_b)
    measure = of_pair * of_decays / (2 * jnp.pi) ** 2
    return legs, jnp.where(possible, measure / jnp.where(possible, density, 1.0), 0.0)


def _top_pair(u: Scalar, process: Process, p: Parameters, region: Region) -> tuple[Scalar, _Legs, Scalar]:
    """ℓ⁺ ν b ℓ⁻ ν̄ b̄: masses of tops, then of Ws, then ŝ; a top exchanged in t."""
    low = jnp.maximum(p.MT - region.window * p.WT, p.MB)
    s_a, s_b, measure = _resonances(u[3:], p.MT, p.WT, low, p.MT + region.window * p.WT, region.high)
    s, of_s = _threshold(u[0], 2.5, region, jnp.sqrt(s_a) + jnp.sqrt(s_b))
    # t − m² ∝ E_t − |p| cosθ
    mass = jnp.sqrt(s)
    energy, size = (mass + (s_a - s_b) / mass) / 2, jnp.sqrt(jnp.maximum(kallen(s, s_a, s_b), 0.0) / s) / 2
    peak = Peaks(jnp.clip(energy / jnp.maximum(size, 1e-3 * energy) - 1, 1e-4, 1e3))
    top, antitop, of_pair = _pair_of(u[5:], s, s_a, s_b, peak)
    measure = measure / (2 * jnp.pi) ** 4 * of_s * of_pair

    w = BreitWigner(electroweak(p).MW, p.WW)
    bosons, quarks, masses = [], [], []
    for i, (parent, s_t) in enumerate(((top, s_a), (antitop, s_b))):
        v, highest = u[8 + 3 * i :], jnp.maximum(jnp.sqrt(s_t) - p.MB, 0.0) ** 2
        s_w = w.draw(v[0], 0.0, highest)
        density = w.density(s_w, 0.0, highest)
        possible = jnp.isfinite(density) & (density > 0)
        boson, quark = decay(parent, jnp.sqrt(s_t), direction(v[1], v[2]), s_w, p.MB**2)
        measure = measure * volume(s_t, s_w, p.MB**2)
        measure = jnp.where(possible, measure / jnp.where(possible, density, 1.0), 0.0)
        bosons.append(boson)
        quarks.append(quark)
        masses.append(s_w)
    (antilepton, neutrino, lepton, antineutrino), of_decays = _w_decays(u[14:], *bosons, *masses)
    legs = antilepton, neutrino, quarks[0], lepton, antineutrino, quarks[1]
    return s, legs, measure * of_decays


def _peak(s: Scalar, s_a: Scalar, s_b: Scalar) -> Peaks:
    """−t = (ŝ − s_a − s_b)/2 · (1 − cosθ/b), so b = (ŝ − s_a − s_b)/√λ.

    The pole at −t = s_a s_b/(…) lies so near to the edge for light pairs that a floor keeps the map tame.
    """
    size = s - s_a - s_b
    root = jnp.sqrt(jnp.maximum(kallen(s, s_a, s_b), 1e-12 * s**2))
    return Peaks(jnp.clip(4 * s_a * s_b / (root * (size + root)), 1e-4, 1e3))
