"""WW → ℓ⁺ν ℓ⁻ν̄: both energies, the neutrino's p_T and with it the other one's, then both masses.

Of p_T k and its lepton's p, a mass is s = least + 2pk (cosh Δη − 1), least = 2 (pk − p⃗·k⃗), and

    d³ν/2E d³ν̄/2E δ² = d²k/4 Π ds/(ds/dΔη),  ds/dΔη = √(r (r + 4pk)),  r = s − least.

So each mass is drawn above what its p_T allows, with 1/√r, where its two solutions merge, made flat: a point
with no solution, or with one W off its shell where it need not be, is hardly ever drawn. Where both Ws can be
on their shells depends on p_T event by event: it is drawn, with the sign of one Δη, from a table that trials
fill (`trials.filled_table`); both signs of the other one count. Missing p_T with a response follows that in
cells, by what it leaves the other W (`missing_cells`).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.phasespace.expert import Expert, Proposal, Step, by_branch
from deepmem.physics.phasespace.experts import missing_cells
from deepmem.physics.phasespace.lines import Above, Power
from deepmem.physics.phasespace.seen import Seen, missing_centre, missing_pt, missing_sigma, w_and_top
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.tables import draw_pair

CLASSES = ("lepton", "lepton")
"""Of the visible legs."""
_TYPICAL_PT = 40.0  # GeV, of a neutrino
# The share of masses that don't follow their shape where p_T leaves it out of reach.
_OUT_OF_REACH = 0.95
_BROAD = 0.03
# φ and p_T. No such table for H → WW: in an event that hardly fits, its points missed what counts, and a
# weight came out low by a factor of twelve.
_TABLE = (2, 3)


class Side(NamedTuple):
    """A W: its lepton, its neutrino's p_T, its mass, and the least that this p_T allows it."""

    lepton: FourVector
    pt: tuple[Scalar, Scalar]
    s: Scalar
    least: Scalar

    def rapidities(self) -> tuple[Scalar, Scalar, Scalar]:
        """p_T cosh Δη of the neutrino, p_T |sinh Δη|, and ds/dΔη."""
        lepton_pt = jnp.sqrt(self.lepton[1] ** 2 + self.lepton[2] ** 2)
        rest, size = self.s - self.least, jnp.sqrt(self.pt[0] ** 2 + self.pt[1] ** 2)
        slope = jnp.sqrt(rest * (rest + 4 * lepton_pt * size))
        return size + rest / (2 * lepton_pt), slope / (2 * lepton_pt), slope

    def neutrino(self, sign: Scalar) -> FourVector:
        """For a sign of Δη."""
        energy, x, y, z = self.lepton
        pt = jnp.sqrt(x**2 + y**2)
        cosh, sinh, _ = self.rapidities()
        return (energy * cosh + sign * z * sinh) / pt, *self.pt, (z * cosh + sign * energy * sinh) / pt


class Pair(NamedTuple):
    """Both Ws, before the other neutrino has its sign of Δη."""

    sign: Scalar
    """Of the neutrino's Δη."""
    density: Scalar
    one: Side
    other: Side


class Start(NamedTuple):
    """The leptons, and the neutrino's p_T."""

    leptons: tuple[FourVector, FourVector]
    density: Scalar
    pt: tuple[Scalar, Scalar]
    sign: Scalar
    """Of the neutrino's Δη."""
    missing: tuple[Scalar, Scalar]
    """As measured, or what balances."""
    shares: Scalar | None
    """Of cells of its response, see `missing_cells`."""


def start(
    shared: Shared, event: Visible, u: jax.Array, _: None, balance: bool = False, response: bool = False
) -> Start:
    """u: s13, s24, φ, p_T, energies, missing p_T. **Arguments:** `response`, whether this has cells."""
    w, _top = w_and_top(shared.parameters)
    x, y, of_table = draw_pair(event.choices.table, u[2], u[3])
    leptons, density = Seen(shared, event, CLASSES).draw_all(u[4:])
    line, t = Power(2.0, _TYPICAL_PT), jnp.abs(2 * y - 1)
    size = line.draw(1 - t, 0.0, jnp.inf)
    density = density * of_table * 2 * np.pi * size * 2 / line.density(size, 0.0, jnp.inf)
    density = density / (4 * (2 * np.pi) ** 6)
    one, other = leptons
    pt = size * jnp.cos(2 * np.pi * x), size * jnp.sin(2 * np.pi * x)
    sign = jnp.where(y < 0.5, -1.0, 1.0)
    if not response:
        missing = missing_pt(shared, event, u, leptons if balance else None)
        return Start((one, other), density, pt, sign, missing, None)
    sigma = missing_sigma(shared, event, balance)
    assert sigma is not None
    centre = missing_centre(shared, event, leptons if balance else None)
    shares = missing_cells.shares(centre, sigma, pt, other, w.mass[0] ** 2)
    return Start((one, other), density, pt, sign, centre, shares)


def sides(
    shared: Shared,
    event: Visible,
    u: jax.Array,
    before: Start,
    balance: bool = False,
    out_of_reach: float = _OUT_OF_REACH,
) -> Pair:
    """p_T and masses of both Ws."""
    w, _top = w_and_top(shared.parameters)
    (px, py), density, missing = before.pt, before.density, before.missing
    if before.shares is not None:
        sigma = missing_sigma(shared, event, balance)
        assert sigma is not None
        missing, measure = missing_cells.drawn(missing, sigma, before.shares, u[-2], u[-1])
        density = density * measure
    masses = Above(w, event.choices.broad, out_of_reach)
    both = []
    transverse = (px, py), (missing[0] - px, missing[1] - py)
    for v, lepton, pt in zip((u[0], u[1]), before.leptons, transverse, strict=True):
        across = jnp.sqrt(lepton[1] ** 2 + lepton[2] ** 2) * jnp.sqrt(pt[0] ** 2 + pt[1] ** 2)
        least = 2 * (across - lepton[1] * pt[0] - lepton[2] * pt[1])
        rest = masses.draw(v, least)
        both.append(Side(lepton, pt, least + rest, least))
        density = density * (1 / masses.density(rest, least)) / both[-1].rapidities()[2]
    return Pair(before.sign, density, *both)


def _at_once(
    shared: Shared, event: Visible, u: jax.Array, _: None, balance: bool, out_of_reach: float
) -> Pair:
    """Both steps, where missing p_T has no cells."""
    return sides(shared, event, u, start(shared, event, u, None, balance), balance, out_of_reach)


def momenta(shared: Shared, event: Visible, u: jax.Array, pair: Pair) -> Proposal:
    """The neutrinos' momenta; two branches."""
    neutrino, antineutrino = pair.one.neutrino(pair.sign), pair.other.neutrino(jnp.array([1.0, -1.0]))
    legs = by_branch(pair.one.lepton, neutrino, pair.other.lepton, antineutrino)
    return Proposal(legs, jnp.broadcast_to(pair.density, 2))


def steps(
    balance: bool = False, response: bool = False, out_of_reach: float = _OUT_OF_REACH
) -> tuple[Step, ...]:
    """The map. **Arguments:** `response`, see `start`; `out_of_reach`, see `lines.Above`."""
    if not response:
        return partial(_at_once, balance=balance, out_of_reach=out_of_reach), momenta
    first = partial(start, balance=balance, response=True)
    return first, partial(sides, balance=balance, out_of_reach=out_of_reach), momenta


W_PAIR = Expert(
    4,
    _BROAD,
    steps(),
    steps(balance=True),
    by_response=steps(response=True),
    by_recoil=steps(balance=True, response=True),
    guided=_TABLE,
)
