"""H → WW → ℓ⁺ν ℓ⁻ν̄: the pair N of neutrinos first, from s of the Higgs boson and the rapidity Δ of N relative
to L = ℓ + ℓ̄, then ν's direction in N's rest frame, with the mass of one W along its lepton's axis:

    m_T,N² + 2 m_T,L m_T,N cosh Δ = s − m_L² + N_T² + 2 L_T·N_T,
    d³ν/2E d³ν̄/2E δ² = ds dΔ dΩ* / [16 (1 + m_T,L/m_T,N cosh Δ)].

Nothing is solved for, nothing is singular. Above 2 MW, both Ws may be on their shells (`solutions.w_pair`):
that is one of the `CHANNELS`, whose shares follow from trials, event by event. Missing p_T with a response is
drawn where it leaves all legs their mass (`missing_below`). Each point is weighted with the density of the
mixture. Where the Higgs boson is `OFF_SHELL`, the map of WW suits better.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import FourVector, Scalar, add, dot
from deepmem.physics.phasespace import solutions
from deepmem.physics.phasespace.bodies import choice
from deepmem.physics.phasespace.expert import Expert, Proposal, Step, by_branch
from deepmem.physics.phasespace.experts import w_pairs
from deepmem.physics.phasespace.experts.missing_below import Below
from deepmem.physics.phasespace.lines import BreitWigner, Power, Scan
from deepmem.physics.phasespace.seen import Seen, missing_centre, missing_pt, missing_sigma, w_and_top
from deepmem.physics.phasespace.visible import Shared, Visible

CLASSES = ("lepton", "lepton")
"""Of the visible legs."""
CHANNELS = (0.3, 0.3, 0.075, 0.075, 0.25)
"""Shares of the channels, before an event has its own: the Higgs boson with either W first, a wide range of s
with either, and both Ws on their shells."""
_ON_SHELL = len(CHANNELS) - 1
_BROAD = 0.1
_EDGE = 1e-15
_LEAST_MISSING = 1e-12  # GeV²
# How far above the largest mass of the Higgs boson it is off its shell: GeV, or widths where that is more.
_OFF, _WIDTHS_OFF = 20.0, 5.0
# How much wider than their responses energies are drawn where those measured keep s above the resonance.
_STRETCH = 2.0
# GeV², above all s.
_ANY = 1e9


def _lines(shared: Shared) -> tuple[Scan, Scan, Power]:
    """Of a W's mass, of the Higgs boson's, and a wide range of the latter."""
    p = shared.parameters
    return Scan(w_and_top(p)[0]), Scan(BreitWigner(p.MH, p.WH)), BreitWigner(p.MH[0], p.WH[0]).broad


def off_shell_from(shared: Shared) -> Scalar:
    """s in GeV² above which the Higgs boson is off its shell, for all values of a scan."""
    p = shared.parameters
    return jnp.max((p.MH + jnp.maximum(_OFF, _WIDTHS_OFF * p.WH)) ** 2)


def direction(u: Scalar, v: Scalar) -> solutions.Direction:
    """φ = 2πu, and Δη with the density ½ sech² = 2v (1 − v) in v."""
    cosh = 1 / (2 * jnp.sqrt(v * (1 - v)))
    sinh = (2 * v - 1) * cosh
    return solutions.Direction(jnp.cos(2 * np.pi * u), jnp.sin(2 * np.pi * u), cosh, sinh)


class Pair(NamedTuple):
    """What is there before neutrinos have directions: leptons, missing p_T, and their pair N."""

    measure: Scalar
    plus: FourVector
    minus: FourVector
    missing: tuple[Scalar, Scalar]
    channel: Scalar
    n: FourVector
    s_w: Scalar
    """Of the W that comes first."""
    masses: tuple[Scalar, Scalar]
    """Where both Ws are on their shells."""
    towards: solutions.Direction
    upper: Scalar
    """Whether Δη of the antineutrino is positive then."""
    exists: Scalar


def pair(
    shared: Shared, event: Visible, u: jax.Array, _: None, balance: bool = False, near: bool = False
) -> Pair:
    """Energies, and all masses and directions. u: channel and s, Δ, one W's mass, φ, energies, missing p_T.

    Where both Ws are on their shells: s13, s24, Δη and its branch, φ. **Arguments:** `near`, whether s stays
    below `off_shell_from`.
    """
    w, higgs, wide = _lines(shared)
    high = off_shell_from(shared) if near else jnp.inf
    stretch = _stretch(shared, event, balance) if near else 1.0
    (plus, minus), measure = Seen(shared, event, CLASSES).draw_all(u[4:], stretch)
    total = add(plus, minus)
    upto = jnp.cumsum(jnp.asarray(event.choices.shares))
    channel = jnp.clip((upto <= u[0]).sum(), 0, len(CHANNELS) - 1)
    place = jnp.clip(1 - (upto[channel] - u[0]) / event.choices.shares[channel], _EDGE, 1 - _EDGE)

    s = jnp.where(channel < 2, higgs.draw(place, 0.0, high), wide.draw(place, 0.0, high))
    below = _below(shared, event, total, balance, jnp.where(channel < _ON_SHELL, s, high))
    if below is None:
        missing = missing_pt(shared, event, u, [plus, minus] if balance else None)
    else:
        missing = below.draw(u[-2], u[-1])
    c, mt, largest = _reach(total, missing, s)
    up = jnp.exp(largest * (2 * u[1] - 1))
    cosh, sinh = (up + 1 / up) / 2, (up - 1 / up) / 2
    a = mt * cosh
    ratio = c / (a + jnp.sqrt(a**2 + jnp.maximum(c, 0.0))) / mt
    e, z = ratio * (total[0] * cosh + total[3] * sinh), ratio * (total[3] * cosh + total[0] * sinh)
    n = e, *missing, z
    s_w = w.draw(u[2], 0.0, 2 * dot(choice(channel % 2 == 0, plus, minus), n))

    masses = w.draw(place, 0.0, jnp.inf), w.draw(u[1], 0.0, jnp.inf)
    upper = u[2] < 0.5
    towards = direction(u[3], jnp.where(upper, 2 * u[2], 2 * u[2] - 1))
    return Pair(measure, plus, minus, missing, channel, n, s_w, masses, towards, upper, largest > 0)


def _stretch(shared: Shared, event: Visible, balance: bool) -> Scalar:
    """How much energies are spread: those that let s reach the resonance may be some deviations off."""
    seen = Seen(shared, event, CLASSES)
    total = add(*(seen.momentum(i, event.legs.energy[i]) for i in range(len(CLASSES))))
    x, y = (-total[1], -total[2]) if balance else (event.missing[0], event.missing[1])
    _, mt = solutions.transverse(total)
    least = (mt + jnp.hypot(x, y)) ** 2 - (total[1] + x) ** 2 - (total[2] + y) ** 2
    return jnp.where(least > jnp.min(shared.parameters.MH) ** 2, _STRETCH, 1.0)


def _below(shared: Shared, event: Visible, total: FourVector, balance: bool, s: Scalar) -> Below | None:
    """Missing p_T that leaves all legs a mass of √s; None where it has no response."""
    sigma = missing_sigma(shared, event, balance)
    if sigma is None:
        return None
    centre = missing_centre(shared, event, [total] if balance else None)
    return Below.of(total, centre, sigma, jnp.minimum(s, _ANY))


def _reach(total: FourVector, missing: tuple[Scalar, Scalar], s: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """m_T,N² + 2 m_T,L m_T,N cosh Δ at this s; m_T,L; and the largest |Δ|, which leaves N no mass."""
    mass2, mt = solutions.transverse(total)
    missing2 = jnp.maximum(missing[0] ** 2 + missing[1] ** 2, _LEAST_MISSING)
    c = s - mass2 + missing2 + 2 * (total[1] * missing[0] + total[2] * missing[1])
    cosh = (c - missing2) / (2 * mt * jnp.sqrt(missing2))
    return c, mt, jnp.where(cosh > 1, jnp.arccosh(jnp.maximum(cosh, 1.0)), 0.0)


class Neutrinos(NamedTuple):
    """Both momenta, whichever channel they come from."""

    measure: Scalar
    plus: FourVector
    minus: FourVector
    missing: tuple[Scalar, Scalar]
    neutrino: FourVector
    antineutrino: FourVector
    exists: Scalar


def neutrinos(shared: Shared, event: Visible, u: jax.Array, before: Pair) -> Neutrinos:
    """The neutrinos from N and the mass of one W, or from the masses of both Ws."""
    plus, minus, n, towards = before.plus, before.minus, before.n, before.towards
    n2 = solutions.transverse(n)[0]
    first = before.channel % 2 == 0
    lepton = choice(first, plus, minus)
    # p·N = N²/2 is what makes the other one light-like
    path = solutions.ellipse(lepton, n, before.s_w, 2 * n2 + 2 * dot(lepton, n) + before.s_w)
    one = path.at(towards.cos, towards.sin)
    other = n[0] - one[0], n[1] - one[1], n[2] - one[2], n[3] - one[3]
    around = choice(first, one, other), choice(first, other, one)

    on_shell = solutions.w_pair(plus, minus, before.missing, before.masses, towards)
    one, other, valid = jax.tree.map(
        lambda x: jnp.where(before.upper, x[0], x[1]),
        (on_shell.neutrino, on_shell.antineutrino, on_shell.valid),
    )
    both = before.channel == _ON_SHELL
    exists = jnp.where(both, valid, path.exists & (n2 > 0) & before.exists)
    return Neutrinos(*before[:4], choice(both, one, around[0]), choice(both, other, around[1]), exists)


def mixture(
    shared: Shared, event: Visible, u: jax.Array, before: Neutrinos, balance: bool = False, near: bool = False
) -> Proposal:
    """With the density of the mixture of all channels at these momenta; one branch."""
    shares, (w, higgs, wide) = event.choices.shares, _lines(shared)
    high = off_shell_from(shared) if near else jnp.inf
    measure, plus, minus, missing, neutrino, antineutrino, exists = before
    n, total = add(neutrino, antineutrino), add(plus, minus)
    mass2, _ = solutions.transverse(total)
    s13, s24 = 2 * dot(plus, neutrino), 2 * dot(minus, antineutrino)
    s = mass2 + solutions.transverse(n)[0] + 2 * dot(total, n)
    of_higgs, of_wide = higgs.density(s, 0.0, high), wide.density(s, 0.0, high)
    around: Scalar = 0.0
    for i, (lepton, s_w) in enumerate(((plus, s13), (minus, s24))):
        product = dot(lepton, n)
        of_direction = w.density(s_w, 0.0, 2 * product) * product / (2 * np.pi)
        around = around + (shares[i] * of_higgs + shares[2 + i] * of_wide) * of_direction
    *_, largest = _reach(total, missing, s)
    # 1 + m_T,L/m_T,N cosh Δ
    slope = 1 + (total[0] * n[0] - total[3] * n[3]) / (n[0] ** 2 - n[3] ** 2)
    around = around / (2 * largest) * 16 * slope * (2 * np.pi) ** 6

    cosh, _, pt, _ = _apart(neutrino, plus)
    _, sinh, pt2, lt2 = _apart(antineutrino, minus)
    jacobian = solutions.w_pair_jacobian(pt, s13 / pt, lt2, pt2, sinh)
    on_shells = w.density(s13, 0.0, jnp.inf) * w.density(s24, 0.0, jnp.inf)
    both = on_shells / (2 * (2 * np.pi) * cosh**2) / (2 * jacobian)
    around, both = jnp.where(largest > 0, around, 0.0), shares[_ON_SHELL] * both
    for_s, for_any = (_below(shared, event, total, balance, upto) for upto in (s, high))
    if for_s is not None and for_any is not None:
        around, both = _over(around, for_s.part(missing)), _over(both, for_any.part(missing))
    density = around + both
    valid = exists & jnp.isfinite(density) & (density > 0) & (s < high)
    legs = by_branch(plus, neutrino, minus, antineutrino)
    return Proposal(legs, jnp.where(valid, measure / jnp.where(valid, density, 1.0), 0.0)[None])


def _over(density: Scalar, part: Scalar) -> Scalar:
    """Per part of a response; 0 where no point is."""
    return jnp.where(part > 0, density / jnp.where(part > 0, part, 1.0), 0.0)


def _apart(p: FourVector, q: FourVector) -> tuple[Scalar, Scalar, Scalar, Scalar]:
    """cosh Δη and |sinh Δη| of two massless momenta, and their p_T."""
    pt, qt = jnp.sqrt(p[1] ** 2 + p[2] ** 2), jnp.sqrt(q[1] ** 2 + q[2] ** 2)
    cosh, sinh = p[0] * q[0] - p[3] * q[3], jnp.abs(p[3] * q[0] - p[0] * q[3])
    return cosh / (pt * qt), sinh / (pt * qt), pt, qt


def beyond(shared: Shared, event: Visible, u: jax.Array, before: w_pairs.Pair) -> Proposal:
    """By the map of WW, s above `off_shell_from`; two branches."""
    legs, density = w_pairs.momenta(shared, event, u, before)
    total = add(*legs)
    s = total[0] ** 2 - total[1] ** 2 - total[2] ** 2 - total[3] ** 2
    return Proposal(legs, jnp.where(s >= off_shell_from(shared), density, 0.0))


def _steps(balance: bool, near: bool) -> tuple[Step, ...]:
    return partial(pair, balance=balance, near=near), neutrinos, partial(mixture, balance=balance, near=near)


def _beyond(balance: bool = False, response: bool = False) -> tuple[Step, ...]:
    *first, _ = w_pairs.steps(balance, response)
    return *first, beyond


NEAR = Expert(
    4, _BROAD, _steps(False, True), _steps(True, True), by_recoil=_steps(True, True), shares=CHANNELS
)
"""The map below `off_shell_from`."""
OFF_SHELL = replace(
    w_pairs.W_PAIR,
    by_energies=_beyond(),
    by_response=_beyond(response=True),
    by_balance=_beyond(True),
    by_recoil=_beyond(True, True),
)
"""And above."""
HIGGS_TO_W_PAIR = Expert(
    4,
    _BROAD,
    _steps(False, False),
    _steps(True, False),
    by_recoil=_steps(True, False),
    shares=CHANNELS,
    regions=(NEAR, OFF_SHELL),
)
