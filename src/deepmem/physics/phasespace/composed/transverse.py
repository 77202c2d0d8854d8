"""The p_T of a neutrino that one mass determines, from a table of its event, before any energy is drawn.

With p of its lepton and k = p_T of the neutrino, along the lepton's and across it,

    k_∥ = a (β² − α²)/2,   k_⊥ = a αβ,   d²k = a² (α² + β²) dα dβ,   a = m²/2p,

the least mass is mα: the W is on its shell up to α = 1. What its Breit–Wigner shape leaves there is

    B = ∫ds BW(s)/√(s − m²α²) = Re 1/√d,   d = 1 − α² + iΓ/m,

in units of m. Cells of (α, β) have shares ∝ B (α² + β²)/√(1 + β²) · exp(−0.45 χ²) · prior, where χ² has the
pulls of energies that go along with k, and those of missing p_T or the recoil. So an event whose W is on its
shell at other energies alone, or off it at those that are measured, has a share of points for each.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import Scalar
from deepmem.physics.phasespace.composed.masses import shape_of
from deepmem.physics.phasespace.composition import Composition
from deepmem.physics.phasespace.visible import Shared
from deepmem.physics.tables import within

# Cells of α below the pole, about it and above, and of |β| within reach.
_BELOW, _ABOUT, _ABOVE, _OF_BETA = 18, 8, 20, 18
_NEAR = 0.03
_ROWS, _SIDE = _BELOW + _ABOUT + _ABOVE + 1, _OF_BETA + 2
PLACES = (0.0, 0.5, 1.0)
"""Where tables of an event with masses are made: at the pole of one, where it was measured, and between."""
# How far cells reach, in standard deviations and in directions that are looked at; and what lies beyond.
_REACH, _DIRECTIONS, _BEYOND = 5.0, 24, 3.0
_LEAST_RANGE = 1.6
_TEMPER, _EVEN = 0.9, 0.04
_NEVER = -300.0


class Table(NamedTuple):
    """Of one event where its masses are given."""

    rows: Scalar
    """The share below each edge of α `[rows + 1]`."""
    columns: Scalar
    """In each row, the share below each edge of β: of negative ones, from 0 outwards, then of positive ones
    `[rows, 2 · side + 1]`."""
    alpha: Scalar
    """Edges `[rows + 1]`."""
    beta: Scalar
    """Edges of |β| `[side + 1]`."""
    centre: Scalar
    """k that the energies have, along the lepton's p_T and across, GeV `[2]`."""
    x: Scalar
    """ln E of the drawn legs over that of the fit `[n]`."""
    t: Scalar
    """ln √s/m of the masses `[solves]`."""


class Tables(NamedTuple):
    """Of one event, where one of its masses is at its pole, as it was measured, and between."""

    each: Table
    """`[tables, ...]`."""
    mass: Scalar
    """Which one that is."""
    slope: Scalar
    """dlnE/dk of the drawn energies, GeV⁻¹ `[n, 2]`."""
    scale: Scalar
    """a of the lepton as measured, GeV."""

    def at(self, t: Scalar) -> tuple[Table, tuple[Scalar, Scalar, Scalar]]:
        """The nearest one, of ln √s/m of all masses `[solves]`; and `centre`, `x` and `t` between tables."""
        each = Table(*map(jnp.asarray, self.each))
        if each.t.shape[0] == 1:
            one = Table(*(part[0] for part in each))
            return one, (one.centre, one.x, one.t)
        last = each.t.shape[0] - 1
        here = jnp.clip(last * t[self.mass] / each.t[last, self.mass], 0.0, float(last))
        low = jnp.minimum(here.astype(int), last - 1)
        between = tuple(
            part[low] + (here - low) * (part[low + 1] - part[low]) for part in (each.centre, each.x, each.t)
        )
        nearest = jnp.round(here).astype(int)
        return Table(*(part[nearest] for part in each)), between


class Point(NamedTuple):
    """A neutrino's p_T as drawn."""

    k: tuple[Scalar, Scalar]
    """k_∥ and k_⊥ in units of a."""
    density: Scalar
    """d²k/d²u in these."""
    x: Scalar
    """ln E of the drawn legs that go along, over that of the fit `[n]`."""
    t: Scalar
    """ln √s/m of the masses that these are at `[solves]`."""


def components(alpha: Scalar, beta: Scalar, scale: Scalar) -> tuple[Scalar, Scalar]:
    """k_∥ and k_⊥ in GeV."""
    return scale * (beta**2 - alpha**2) / 2, scale * alpha * beta


def scale_of(composition: Composition, shared: Shared, lepton: tuple[Scalar, ...]) -> Scalar:
    """a = m²/2p_T of the lepton, GeV."""
    assert composition.neutrino is not None
    resonance = composition.tree.resonances[composition.neutrino.masses[0]]
    mass = shape_of(shared.parameters, resonance.mass, resonance.width).mass[0]
    return mass**2 / (2 * jnp.sqrt(lepton[1] ** 2 + lepton[2] ** 2))


def along(lepton: tuple[Scalar, ...], k: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
    """The components of k along the lepton's p_T and across, from (k_x, k_y)."""
    x, y = lepton[1], lepton[2]
    size = jnp.sqrt(x**2 + y**2)
    return (k[0] * x + k[1] * y) / size, (k[1] * x - k[0] * y) / size


def across(lepton: tuple[Scalar, ...], k: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
    """(k_x, k_y), from the components along the lepton's p_T and across it."""
    x, y = lepton[1], lepton[2]
    size = jnp.sqrt(x**2 + y**2)
    return (k[0] * x - k[1] * y) / size, (k[0] * y + k[1] * x) / size


def edges(centre: Scalar, spread: Scalar, scale: Scalar) -> tuple[Scalar, Scalar]:
    """Of α and |β|, where k is likely.

    **Arguments:** `centre` `[2]` and `spread` `[2, 2]`, the lower triangle of the covariance, along the
    lepton's p_T and across, GeV.
    """
    angle = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    circle = jnp.asarray(_REACH * np.stack([np.cos(angle), np.sin(angle)]))
    k = centre[:, None] + spread @ circle
    size = jnp.sqrt((k**2).sum(axis=0))
    of_alpha, of_beta = (jnp.sqrt(jnp.maximum(each, 0.0) / scale) for each in (size - k[0], size + k[0]))
    most = jnp.maximum(of_alpha.max(), _LEAST_RANGE)
    steps = jnp.linspace(0.0, 1.0, _ABOVE + 1)
    alpha = jnp.concatenate(
        [
            jnp.sin(jnp.linspace(0.0, float(np.arcsin(1 - _NEAR)), _BELOW + 1))[:-1],
            jnp.linspace(1 - _NEAR, 1 + _NEAR, _ABOUT + 1)[:-1],
            1 + _NEAR * ((most - 1) / _NEAR) ** steps,
            most[None] * _BEYOND,
        ]
    )
    least, last = of_beta.min(), of_beta.max()
    turns = (k[1].max() > 0) & (k[1].min() < 0) & (k[0].min() < 0)
    least = jnp.where(turns, 0.0, least) + 1e-3 * last
    inside = least + (last - least) * jnp.linspace(0.0, 1.0, _OF_BETA + 1)
    beta = jnp.concatenate([jnp.zeros(1), inside, last[None] * _BEYOND])
    return alpha, beta


def nodes(alpha: Scalar, beta: Scalar) -> tuple[Scalar, Scalar]:
    """α and β in the middle of cells `[rows, 2 · side]`: negative β from 0 outwards, then positive ones."""
    of_beta = (beta[1:] + beta[:-1]) / 2
    both = jnp.concatenate([-of_beta, of_beta])
    return jnp.broadcast_arrays((alpha[1:] + alpha[:-1])[:, None] / 2, both[None])  # type: ignore[return-value]


def log_factor(alpha: Scalar, beta: Scalar, relative_width: Scalar) -> Scalar:
    """ln of B (α² + β²)/√(1 + β²)."""
    d = 1 - alpha**2
    size = jnp.sqrt(d**2 + relative_width**2)
    of_shape = jnp.sqrt((size + d) / 2) / size
    return jnp.log(of_shape * (alpha**2 + beta**2) / jnp.sqrt(1 + beta**2))


def shares(chi2: Scalar, others: Scalar, alpha: Scalar, beta: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """What lies below edges, as `Table` has it, and the logarithm of the sum over cells.

    **Arguments:** χ² and the logarithm of all else in the middle of cells; the edges.
    """
    width = jnp.tile(jnp.diff(beta), 2)[None] * jnp.diff(alpha)[:, None]
    log = others - _TEMPER * (chi2 - chi2.min()) / 2
    log = jnp.maximum(log - log.max(), _NEVER)
    share = jnp.exp(log) * width
    total = jax.nn.logsumexp(jnp.log(width) + others - chi2 / 2)
    share = (1 - _EVEN) * share / share.sum() + _EVEN / share.size
    of_row = share.sum(axis=1)
    rows = jnp.concatenate([jnp.zeros(1), jnp.cumsum(of_row)])
    columns = jnp.concatenate([jnp.zeros((_ROWS, 1)), jnp.cumsum(share / of_row[:, None], axis=1)], axis=1)
    return (rows / rows[-1]).astype(np.float32), (columns / columns[:, -1:]).astype(np.float32), total


def drawn(tables: Tables, t: Scalar, u: Scalar, v: Scalar) -> Point:
    """p_T from two numbers, at masses `t`: from the nearest table, moved to where it is likely there."""
    table, (centre, x, of_masses) = tables.at(t)
    i, of_alpha, row = within(table.rows, u)
    alpha = table.alpha[i] + of_alpha * (table.alpha[i + 1] - table.alpha[i])
    j, of_beta, column = within(table.columns[i], v)
    side, sign = j % _SIDE, jnp.where(j < _SIDE, -1.0, 1.0)
    width = table.beta[side + 1] - table.beta[side]
    beta = sign * (table.beta[side] + of_beta * width)
    density = (table.alpha[i + 1] - table.alpha[i]) * width / (row * column) * (alpha**2 + beta**2)
    away = jnp.stack(components(alpha, beta, tables.scale)) - table.centre
    k = (centre + away) / tables.scale
    return Point((k[0], k[1]), density, x + tables.slope @ away, of_masses)
