"""tt̄ → (ℓ⁺ν b)(ℓ⁻ν̄ b̄): by angle, where missing p_T is given and all energies have responses, or by energies.

Solving four masses for two neutrinos makes integrands singular, J ∝ 1/√distance, where two solutions merge:
a variance without end. So one neutrino is drawn, and an energy is solved for. By angle (`by_angle`):

1. `first_side`: masses, one lepton and its b quark; their neutrino lies on an ellipse, at an angle φ;
2. `nodes`, `cells`, `finer`: how likely φ and the branch are; `angle`: φ is drawn, the other neutrino has the
   rest of the missing p_T, and the mass of its W gives its rapidity;
3. `second_side`: the mass of the other top gives the energy of its b quark, and T says how likely that is.

Which top comes first is chosen per event, see `trials`. Source: L. Sonnenschein, hep-ph/0603011.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from deepmem.kinematics import FourVector, Scalar, add
from deepmem.physics.phasespace import solutions
from deepmem.physics.phasespace.bodies import choice
from deepmem.physics.phasespace.expert import Expert, Proposal, Step, by_branch
from deepmem.physics.phasespace.experts import angles
from deepmem.physics.phasespace.lines import Resonances
from deepmem.physics.phasespace.seen import Seen, missing_pt, w_and_top
from deepmem.physics.phasespace.visible import Shared, Visible

CLASSES = ("lepton", "bjet", "lepton", "bjet")
"""Of the visible legs."""
# The grid of angles has the energy that is solved for at typical values of the others: this share of points
# is drawn without it.
_EVEN_SHARE = 0.05
_BROAD = 0.03
# Missing p_T is drawn this much wider than the recoil and the energies of the other side allow.
_WIDER_RECOIL = 1.1
_EDGE = 1e-12


def _masses(shared: Shared, event: Visible, u: jax.Array) -> tuple[tuple[Scalar, ...], Scalar]:
    """s of both sides' W and top, and ds/du of all. u: their numbers."""
    (w, top), choices = w_and_top(shared.parameters), event.choices
    apart = False if choices.apart is None else choices.apart
    masses = Resonances((w, top, w, top), choices.broad, apart, choices.parts)
    s = masses.draw(u)
    return s, masses.volume / masses.density(s)


def by_energies(shared: Shared, event: Visible, u: jax.Array, _: None, balance: bool = False) -> Proposal:
    """Four masses and all energies; up to four branches. u: s13, s134, s25, s256, energies, missing p_T.

    For missing p_T that balances the partons, and for perfect measurements.
    """
    s, density = _masses(shared, event, u)
    momenta, measure = Seen(shared, event, CLASSES).draw_all(u[4:])
    missing = missing_pt(shared, event, u, momenta if balance else None)
    plus, quark, minus, antiquark = momenta
    pair = solutions.top_pair(plus, quark, minus, antiquark, missing, s)
    legs = by_branch(plus, pair.neutrino, quark, minus, pair.antineutrino, antiquark)
    return Proposal(legs, density * measure * pair.jacobian)


class FirstSide(NamedTuple):
    """After `first_side`."""

    density: Scalar
    lepton: FourVector
    quark: FourVector
    path: solutions.Ellipse
    missing: tuple[Scalar, Scalar]
    s_w: Scalar
    """Of the other side."""
    k: Scalar
    """K = (s_t − s_W − m²)/2 of the other side."""


def _near_recoil(
    shared: Shared, event: Visible, u: jax.Array, first: FourVector
) -> tuple[tuple[Scalar, Scalar], Scalar]:
    """The neutrinos' p_T before the other side has energies, and d²p_T/d²u. u: …, two numbers.

    A Gaussian about what is left with the measured energies, as wide as their responses and the recoil's are.

    **Arguments:** `first`, what there is of the first side.
    """
    seen, sigma = Seen(shared, event, CLASSES), shared.detector.transverse.sigma(event.activity)  # type: ignore[union-attr]
    x, y = event.missing[0] - first[1], event.missing[1] - first[2]
    xx = yy = sigma**2
    xy = 0.0 * sigma
    for i in (2, 3):
        energy, (nx, ny, _) = event.legs.energy[i], seen.direction(i)
        size, width = seen.size(i, energy), seen.responses[i].scale(energy)
        x, y = x - size * nx, y - size * ny
        xx, xy, yy = xx + (width * nx) ** 2, xy + width**2 * nx * ny, yy + (width * ny) ** 2
    a = jnp.sqrt(xx)
    b, c = xy / a, jnp.sqrt(yy - xy**2 / xx)
    z, w = (_WIDER_RECOIL * ndtri(jnp.clip(v, _EDGE, 1 - _EDGE)) for v in (u[-2], u[-1]))
    slope = 2 * np.pi * _WIDER_RECOIL**2 * a * c * jnp.exp((z**2 + w**2) / (2 * _WIDER_RECOIL**2))
    return (x + a * z, y + b * z + c * w), slope


def first_side(shared: Shared, event: Visible, u: jax.Array, _: None, recoil: bool = False) -> FirstSide:
    """Masses, one lepton and its b quark, and where their neutrino can be: d³ν/2E = ds_W ds_t dφ/(8√G).

    u: masses, the two energies, …; see `solutions.ellipse`. With the recoil missing p_T is drawn.
    """
    s, density = _masses(shared, event, u)
    s_w, s_t, s_w2, s_t2 = s
    seen = Seen(shared, event, CLASSES)
    lepton, of_lepton = seen.draw(0, u[4])
    if event.choices.like is None:
        quark, of_quark = seen.draw(1, u[5])
    else:
        quark, of_quark = seen.draw_like(Seen(shared, event.choices.like, CLASSES), 1, u[5])
    density = density * of_lepton * of_quark
    path = solutions.ellipse(lepton, quark, s_w, s_t)
    density = jnp.where(path.exists, density / (8 * path.root_gram * (2 * np.pi) ** 6), 0.0)
    k = (s_t2 - s_w2 - event.legs.mass[3] ** 2) / 2
    if recoil:
        missing, of_missing = _near_recoil(shared, event, u, add(lepton, quark))
        density = density * of_missing
    else:
        missing = missing_pt(shared, event, u)
    return FirstSide(density, lepton, quark, path, missing, s_w2, k)


class _Grid(NamedTuple):
    """What the numbers of the grid are made of, in its precision."""

    side: FirstSide
    lepton: tuple[Scalar, Scalar, Scalar]
    """Direction of the other lepton; its 1/sinθ, measured energy, and the width of its response."""
    cosecant: Scalar
    energy: Scalar
    scale: Scalar
    quark: tuple[Scalar, Scalar, Scalar]
    """Direction of the other b quark; its mass, measured energy, and the relative width of its response."""
    mass: Scalar
    quark_energy: Scalar
    width: Scalar


class _Typical(NamedTuple):
    """Along the ellipse, with the other lepton's energy at its typical value."""

    total: FourVector
    """Of all legs, but the p_z and the energy of the other neutrino, and the other b quark."""
    pt: tuple[Scalar, Scalar]
    """Of the other neutrino; its size; cosh and |sinh| of its Δη."""
    size: Scalar
    cosh: Scalar
    sinh: Scalar
    energy: Scalar
    """Of the other lepton."""
    likelihood: Scalar
    """The mean of T/|sinh| over that energy."""


def _typical(grid: _Grid, cos: Any, sin: Any) -> _Typical:
    """At places (cosφ, sinφ) of the ellipse.

    With L the largest energy of the lepton that the mass of its W allows, σ its response's width and
    t = (L − E_rec)/σ, the energies that count are about L − σ (t + √(t² + 0.91))/2, and

        ∫ T/sinh dE = √(E/(σ (1 − cosΔφ) (cosh + 1))) G(t),   G(t) = ∫_{z<t} φ(z)/√(t − z) dz.
    """
    (lx, ly, lz), side = grid.lepton, grid.side
    cos, sin, slope = side.path.aberrated(cos, sin)
    e1, x1, y1, z1 = (
        a + cos * b + sin * c
        for a, b, c in zip(side.path.centre, side.path.cosine, side.path.sine, strict=True)
    )
    kx, ky = side.missing[0] - x1, side.missing[1] - y1
    size = jnp.sqrt(kx**2 + ky**2)
    inverse = grid.cosecant / size
    apart = jnp.maximum(1 - (kx * lx + ky * ly) * inverse, 1e-6)
    t = (side.s_w / 2 * inverse / apart - grid.energy) / grid.scale
    # (t + √(t² + 0.91))/2 = max(t, 0) + fall
    fall = 0.455 / (jnp.abs(t) + jnp.sqrt(t**2 + 0.91))
    usual = grid.energy + grid.scale * (jnp.minimum(t, 0.0) - fall)
    usual = jnp.maximum(usual, 1e-3 * grid.energy)
    excess = apart * grid.scale * (jnp.maximum(t, 0.0) + fall) / usual
    cosh, sinh = 1 + excess, jnp.sqrt(excess * (excess + 2))
    first = add(side.lepton, side.quark)
    total = (
        e1 + usual + first[0],
        x1 + usual * lx + kx + first[1],
        y1 + usual * ly + ky + first[2],
        z1 + usual * lz + first[3],
    )
    mean = angles.near_limit(t, grid.scale / grid.energy * apart * (cosh + 1))
    return _Typical(total, (kx, ky), size, cosh, sinh, usual, mean * slope)


def _pull(grid: _Grid, along: _Typical, sign: Any) -> tuple[Scalar, Scalar]:
    """Of the b quark's energy; and what else is cheap to know.

    That is T and the Jacobians of `angle` and `second_side`, p_b·p_ν of |M|², and s⁻³ for densities and flux.
    """
    (lx, ly, lz), (nx, ny, nz), k, m = grid.lepton, grid.quark, grid.side.k, grid.mass
    (te, tx, ty, tz), (kx, ky), size, cosh, sinh, energy, likelihood = along
    ln = lx * nx + ly * ny + lz * nz
    over_sine = size * grid.cosecant
    e = over_sine * (cosh + sign * lz * sinh)
    z = over_sine * (lz * cosh + sign * sinh)
    w, ahead = energy + e, energy * ln + kx * nx + ky * ny + z * nz
    rest = w**2 - ahead**2
    square = k**2 - m**2 * rest
    root = jnp.sqrt(jnp.maximum(square, 1e-6))
    p = (k * ahead + w * root) / rest
    quark = jnp.sqrt(p**2 + m**2)
    exists = (square > 0) & (k > 0)
    pull = jnp.where(exists, jnp.clip((grid.quark_energy / quark - 1) / grid.width, -20, 20), 20.0)
    quark = jnp.clip(quark, grid.quark_energy / 2, 2 * grid.quark_energy)
    s = (te + e + quark) ** 2 - (tx + quark * nx) ** 2 - (ty + quark * ny) ** 2 - (tz + z + quark * nz) ** 2
    s = s * 1e-5
    factor = p**2 / (quark * root * size * s**3) * likelihood
    factor = factor * jnp.maximum(k - energy * quark * (1 - ln), 0.0)
    return pull, jnp.where(exists, factor, 0.0)


def _grid(shared: Shared, event: Visible, side: FirstSide, precision: Any) -> _Grid:
    seen, legs = Seen(shared, event, CLASSES), event.legs
    grid = _Grid(
        side,
        seen.direction(2),
        1 / legs.sine[2],
        legs.energy[2],
        seen.responses[2].scale(legs.energy[2]),
        seen.direction(3),
        legs.mass[3],
        legs.energy[3],
        seen.responses[3].scale(legs.energy[3]) / legs.energy[3],
    )
    return jax.tree.map(lambda x: jnp.asarray(x).astype(precision), grid)


class Nodes(NamedTuple):
    """After `nodes`."""

    side: FirstSide
    like: FirstSide | None
    """That of the event that another one follows: φ and the branch of a point stay as they are there."""
    branches: list[tuple[jax.Array, jax.Array]]
    """The pull of the b quark's energy, and what else is cheap, see `_pull`, for both signs of Δη."""


def nodes(
    shared: Shared,
    event: Visible,
    u: jax.Array,
    side: FirstSide,
    precision: Any = np.float32,
    recoil: bool = False,
) -> Nodes:
    """What is known along the ellipse.

    A proposal and no result: single precision does, and is three times faster.
    """
    followed = event.choices.like
    like = None if followed is None else first_side(shared, followed, u, None, recoil)
    grid = _grid(shared, followed or event, like or side, precision)
    numbers = 2 * np.pi * np.arange(angles.ANGLES + 1) / angles.ANGLES
    along = _typical(grid, *(f(numbers).astype(precision) for f in (np.cos, np.sin)))
    return Nodes(side, like, [_pull(grid, along, sign) for sign in (1.0, -1.0)])


class Cells(NamedTuple):
    """After `cells`."""

    side: FirstSide
    like: FirstSide | None
    masses: jax.Array
    """How likely φ and the branch are, see `angles`."""


def cells(shared: Shared, event: Visible, u: jax.Array, before: Nodes) -> Cells:
    """How likely φ and the branch are."""
    return Cells(before.side, before.like, angles.masses(before.branches))


class Finer(NamedTuple):
    """After `finer`."""

    side: FirstSide
    cell: angles.Cell
    """That φ is in."""
    pull: jax.Array
    """At the ends of its parts; and what else is cheap."""
    factor: jax.Array


def finer(
    shared: Shared, event: Visible, u: jax.Array, before: Cells, even_share: float = _EVEN_SHARE
) -> Finer:
    """A cell of φ, and what is known within. u: …, φ, …"""
    side, like, masses = before
    grid = _grid(shared, event.choices.like or event, like or side, masses.dtype)
    cell = angles.cell(masses, u[6], even_share)
    along = _typical(grid, *angles.places(cell, masses.dtype))
    return Finer(side, cell, *_pull(grid, along, cell.sign.astype(masses.dtype)))


class Other(NamedTuple):
    """What `second_side` starts from."""

    density: Scalar
    neutrino: FourVector
    """Of the first side."""
    energy: Scalar
    """Of the other lepton."""
    pt: tuple[Scalar, Scalar]
    """Of the other neutrino."""
    sign: Scalar


def angle(
    shared: Shared,
    event: Visible,
    u: jax.Array,
    before: Finer,
    even_share: float = _EVEN_SHARE,
) -> tuple[FirstSide, Other]:
    """φ from the grid, and the other lepton's energy. u: …, φ, that energy, missing p_T.

    The other neutrino has p_T = missing − ν_T. The mass of its W gives its rapidity relative to its lepton,

        cosh Δη = s_W/(2 p_T,ℓ p_T,ν) + cos Δφ,   d³ν̄/2E δ² = ds_W / (4 p_T,ℓ p_T,ν sinh Δη),

    two branches. Where both merge, which is at the largest energy of the lepton that allows this mass, 1/sinh
    is singular: the energy is drawn accordingly (`Response.flatten_below`).
    """
    side, cell = before.side, before.cell
    response, sign = Seen(shared, event, CLASSES).responses[2], cell.sign
    phi, density = angles.draw(cell, before.pull, before.factor, even_share)
    cos, sin, slope = side.path.aberrated(jnp.cos(phi), jnp.sin(phi))
    density = density * slope
    neutrino = side.path.at(cos, sin)
    kx, ky = side.missing[0] - neutrino[1], side.missing[1] - neutrino[2]
    # |p_T| (1 − cos Δφ) sinθ
    near = jnp.sqrt(kx**2 + ky**2) * event.legs.sine[2] - kx * event.legs.x[2] - ky * event.legs.y[2]
    largest = side.s_w / (2 * jnp.maximum(near, 1e-12))
    energy, weight = response.flatten_below(u[7], event.legs.energy[2], largest)
    density = side.density * jnp.where(energy < largest, density * weight, 0.0)
    return side, Other(density, neutrino, energy, (kx, ky), sign)


def second_side(
    shared: Shared, event: Visible, u: jax.Array, before: tuple[FirstSide, Other], recoil: bool = False
) -> Proposal:
    """The other neutrino, and its b quark from the mass of its top: with n its direction,

        E E_W − |p| n·p_W = K,   ds_t = 2 √(K² − m² (E_W² − (n·p_W)²)) dE/|p|,

    two branches, the lower one hardly ever within reach of T.
    """
    side, (density, neutrino, energy, (kx, ky), sign) = before
    seen = Seen(shared, event, CLASSES)
    (lx, ly, lz), (nx, ny, nz) = seen.direction(2), seen.direction(3)
    sine, size = event.legs.sine[2], jnp.sqrt(kx**2 + ky**2)
    cosh = (side.s_w / (2 * energy) + kx * lx + ky * ly) / (size * sine)
    valid = cosh > 1
    sinh = jnp.sqrt(jnp.where(valid, (cosh - 1) * (cosh + 1), 1.0))
    density = density * seen.measure(2, energy) / (4 * energy * sine * size * sinh)
    e = size * (cosh + sign * lz * sinh) / sine
    z = size * (lz * cosh + sign * sinh) / sine

    m = event.legs.mass[3]
    w, along = energy + e, (energy * lx + kx) * nx + (energy * ly + ky) * ny + (energy * lz + z) * nz
    rest = w**2 - along**2
    square = side.k**2 - m**2 * rest
    valid &= (square > 0) & (side.k > 0)
    root = jnp.sqrt(jnp.where(valid, square, 1.0))
    p = (side.k * along + w * root * jnp.array([1.0, -1.0])) / rest
    quark = jnp.sqrt(p**2 + m**2)
    low, high = seen.responses[3].support(event.legs.energy[3], m)
    valid &= (p > 0) & (side.k + p * along > 0) & (quark > low) & (quark < high)
    # where it is not valid any momenta will do, if they are finite
    quark = jnp.where(valid, quark, event.legs.energy[3])
    density = density * seen.responses[3].density(event.legs.energy[3], quark) * seen.measure(3, p)
    # dE = |p| ds/(2 root)
    density = density * p / (2 * root)
    if recoil:
        others = add(side.lepton, side.quark, seen.momentum(2, energy), seen.momentum(3, quark))
        total = side.missing[0] + others[1], side.missing[1] + others[2]
        response = shared.detector.transverse
        assert response is not None
        density = density * response.density((event.missing[0], event.missing[1]), total, event.activity)

    sides = (
        (side.lepton, neutrino, side.quark),
        (seen.momentum(2, energy), (e, kx, ky, z), seen.momentum(3, quark)),
    )
    swap = event.choices.second_first
    legs = (
        *(choice(swap, q, p) for p, q in zip(*sides, strict=True)),
        *(choice(swap, p, q) for p, q in zip(*sides, strict=True)),
    )
    return Proposal(by_branch(*legs), jnp.where(valid, density, 0.0))


def by_angle(
    even_share: float = _EVEN_SHARE, precision: Any = np.float32, recoil: bool = False
) -> tuple[Step, ...]:
    """The map by angle. **Arguments:** the share of points with even angles; the precision of the grid;
    whether missing p_T follows from the recoil."""
    first, of_nodes, last = first_side, partial(nodes, precision=precision), second_side
    if recoil:
        first, last = partial(first_side, recoil=True), partial(second_side, recoil=True)
        of_nodes = partial(nodes, precision=precision, recoil=True)
    drawn = partial(finer, even_share=even_share), partial(angle, even_share=even_share)
    return first, of_nodes, cells, *drawn, last


_BALANCED = (partial(by_energies, balance=True),)
TOP_PAIR = Expert(
    4,
    _BROAD,
    (by_energies,),
    _BALANCED,
    by_recoil=_BALANCED,
    by_angle=by_angle(),
    by_angle_and_recoil=by_angle(recoil=True),
)
