"""From the unit cube to momenta with neutrinos: the variables in which weights of tt̄ and WW are integrated.

A map takes what an event shows and a point u, and gives the momenta of all legs with

    density = Π_vis [|p|² sinθ d|p|/(2E (2π)³) · T] · d³ν/(2E (2π)³) d³ν̄/(2E (2π)³) δ² / d^n u,

for each of its branches; 0 where there is no solution. δ² makes the neutrinos' p_T the missing one. Masses
of W and top follow their Breit-Wigner shapes, s = m² + mΓ tan(u (π/2 + atan(m/Γ)) − atan(m/Γ)), over all of
0 < s < ∞, and a few of them a broad shape; in a scan they follow the mixture of the shapes of all its values.

**tt̄** (`_first_side` to `_second_side`), missing p_T given, all energies with a response. Solving four masses
for two neutrinos makes integrands singular, J ∝ 1/√distance, wherever two solutions merge: a variance without
end. So one neutrino is drawn, and an energy is solved for:

1. masses, and the energies of one lepton and its b quark by their responses; their neutrino lies on an
   ellipse (`blocks.ellipse`), and its angle φ is an integration variable: d³ν/2E = ds_W ds_t dφ/(8√G);
2. the other neutrino has p_T = missing − ν_T; the mass of its W gives its rapidity relative to its lepton,
   cosh Δη = s_W/(2 p_T,ℓ p_T,ν) + cos Δφ, two branches, with d³ν̄/2E δ² = ds_W / (4 p_T,ℓ p_T,ν sinh Δη).
   What is left of a singularity, where both merge, is at the largest energy of the lepton that allows this
   mass, and is drawn accordingly (`Response.flatten_below`);
3. the mass of the other top gives the energy of its b quark, and T says how likely that is: E E_W − |p| n·p_W
   = K = (s_t − s_W − m²)/2, two branches, the lower one hardly ever within reach of T, with ds_t =
   2 √(K² − m² (E_W² − (n·p_W)²)) dE/|p|.

φ and the branch are drawn from how likely step 3 finds that energy, tabulated on a grid of angles for each
point. Which top comes first is chosen per event, see `weight`.

**tt̄ with all energies drawn** (`top_pair_by_energies`), for missing p_T that balances the partons, and for
perfect measurements: the block of four masses, up to four branches.

**WW** (`_w_sides`, `_w_solved`): both energies, the neutrino's p_T and with it the other one's, then both
masses. Of p_T k and its lepton's p, a mass is s = least + 2pk (cosh Δη − 1), least = 2 (pk − p⃗·k⃗), and

    d³ν/2E d³ν̄/2E δ² = d²k/4 Π ds/(ds/dΔη),  ds/dΔη = √(r (r + 4pk)),  r = s − least.

So each mass is drawn above what its p_T allows, with 1/√r, where its two solutions merge, made flat: a point
with no solution, or with one W off its shell where it need not be, is hardly ever drawn. Where both Ws can be
on their shells depends on p_T event by event: it is drawn, with the sign of one Δη, from a table that trials
fill (`_guided`, `trials.filled_table`); both signs of the other one count.

**H → WW** (`_pair_drawn` to `_pair_weighted`): the pair N of neutrinos is drawn first: s of the Higgs boson
and the rapidity difference Δ of N and L = ℓ + ℓ̄ give m_T,N² + 2 m_T,L m_T,N cosh Δ = s − m_L² + N_T² +
2 L_T·N_T, then the direction of ν in the rest frame of N, with the mass of one W or of the other along its
lepton's axis:

    d³ν/2E d³ν̄/2E δ² = ds dΔ dΩ* / [16 (1 + m_T,L/m_T,N cosh Δ)].

Nothing is solved for, nothing is singular. A share of points has both Ws on their shells (`blocks.w_pair`),
for Higgs bosons above 2 MW; each point is weighted with the density of the mixture. The shares of these
channels, and which W comes first, follow from a trial, event by event (`trials.shared_out`).

Source: the weight's definition as in `weight`; L. Sonnenschein, hep-ph/0603011 (the system of masses); P.
Artoisenet, V. Lemaître, F. Maltoni, O. Mattelaer, 1007.3300 (changes of variables, blocks D and F).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import FourVector, Scalar, add, dot
from deepmem.physics import blocks
from deepmem.physics.theory.parameters import Parameters, electroweak

_TWO_PI = 2 * np.pi
_ANGLES = 32
# The grid of angles knows the energy that is solved for at typical values of the others: its widths are
# wider than the response by this much, and this share of points is drawn without it.
_WIDENING = 1.3
_UNGUIDED = 0.05
# Of a neutrino's p_T, in GeV.
_TYPICAL = 40.0
# The share of masses that don't follow their shape where p_T leaves it out of reach.
_OUT_OF_REACH = 0.95
CHANNELS = (0.3, 0.3, 0.075, 0.075, 0.25)
"""Shares of the channels of H → WW, before an event has its own: the Higgs boson with either W first, a wide
range of s with either, and both Ws on their shells."""


class Proposal(NamedTuple):
    """The momenta of all legs of a point, `[branches]` or `[1]`, and its density `[branches]`, see above."""

    legs: tuple[FourVector, ...]
    density: Scalar


Step: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Any], jax.Array, Any], Any]
"""(shared, event, u, what the step before returned) ↦ what the next one needs, the last one a `Proposal`.

`event`: `energy`, `mass`, `eta`, `phi`, `x`, `y`, `z`, `sine` of visible legs in the process's order;
`missing`; `activity`; `broad`; `table` (see `_guided`). Steps are compiled one by one: XLA would compute
again, at each node of a table, what a point needs once.
"""


@dataclass(frozen=True)
class Block:
    """How a process with two neutrinos is integrated: its variables beside the visible energies, and maps."""

    hidden: int
    """Variables in place of the neutrinos."""
    broad: float
    """The share of each mass that is drawn off its resonance."""
    by_energies: tuple[Step, ...]
    """The map that takes any response."""
    by_balance: tuple[Step, ...]
    """The same with missing p_T that balances the visible partons."""
    by_angle: tuple[Step, ...] = ()
    """A better one, where the missing p_T is given and all energies have responses. It treats its two sides
    differently: visible legs come with either side first, and `second_first` says which."""
    shares: tuple[float, ...] = ()
    """Of its channels, before an event has its own."""
    guided: tuple[int, int] | None = None
    """Two coordinates of u that follow the event's `table`."""


# --- visible particles
# -----------------------------------------------------------------------------------------------------------


class _Visible:
    """Visible legs of one event: energies from their responses, momenta, and the measure that comes along."""

    def __init__(self, shared: Mapping[str, Any], event: Mapping[str, Any], kinds: tuple[str, ...]) -> None:
        self.event = event
        self.responses = [shared["responses"][kind].at(event["eta"][i]) for i, kind in enumerate(kinds)]
        self.dimensions = [shared["responses"][kind].dimensions for kind in kinds]

    def direction(self, i: Any) -> tuple[Scalar, Scalar, Scalar]:
        return self.event["x"][i], self.event["y"][i], self.event["z"][i]

    def momentum(self, i: Any, energy: Scalar) -> FourVector:
        size = self.size(i, energy)
        x, y, z = self.direction(i)
        return energy, size * x, size * y, size * z

    def size(self, i: Any, energy: Scalar) -> Scalar:
        """|p| of an energy, 0 below the mass."""
        return jnp.sqrt(jnp.maximum(energy**2 - self.event["mass"][i] ** 2, 0.0))

    def measure(self, i: Any, size: Scalar) -> Scalar:
        """|p|² sinθ d|p|/(2E (2π)³) per dE."""
        return size * self.event["sine"][i] / (2 * _TWO_PI**3)

    def flattened(self, i: Any, u: Scalar) -> tuple[FourVector, Scalar]:
        """A momentum whose energy follows its own response, and T times the measure."""
        energy, weight = self.responses[i].flatten(u, self.event["energy"][i], self.event["mass"][i])
        return self.momentum(i, energy), weight * self.measure(i, self.size(i, energy))

    def drawn(self, u: jax.Array) -> tuple[list[FourVector], Scalar]:
        """All momenta by their own responses, and the measure."""
        momenta, density, used = [], jnp.asarray(1.0), 0
        for i, dimensions in enumerate(self.dimensions):
            momentum, measure = self.flattened(i, u[used] if dimensions else jnp.asarray(0.5))
            used += dimensions
            momenta.append(momentum)
            density = density * measure
        return momenta, density


def _missing(
    shared: Mapping[str, Any],
    event: Mapping[str, Any],
    u: jax.Array,
    balanced: list[FourVector] | None = None,
) -> tuple[Scalar, Scalar]:
    """Missing p_T: balancing partons, or as measured, within its response if it has one."""
    if balanced is not None:
        total = add(*balanced)
        return -total[1], -total[2]
    missing = event["missing"][0], event["missing"][1]
    if shared["met"] is not None:
        # its quantiles are flat: T d²p = d²u
        missing, _ = shared["met"].flatten((u[-2], u[-1]), missing, event["activity"])
    return missing


def _guided(table: jax.Array, u: Scalar, v: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """x(u), y(u, v) and dx dy/du dv of an event's `table` of knots `[cells of u + 1, 1 + cells of v + 1]`.

    x goes straight through its first column, and y through the others, knots in v for each knot in u. Between
    them y is bilinear: what it follows may move with x by more than it is wide.
    """
    table, rows, columns = jnp.asarray(table), table.shape[0] - 1, table.shape[1] - 2
    (i, s), (j, t) = _cell_and_rest(u * rows, rows), _cell_and_rest(v * columns, columns)
    low, high = table[i, 0], table[i + 1, 0]
    left = (1 - s) * table[i, j + 1] + s * table[i + 1, j + 1]
    right = (1 - s) * table[i, j + 2] + s * table[i + 1, j + 2]
    return low + s * (high - low), left + t * (right - left), rows * columns * (high - low) * (right - left)


def even_table(rows: int, columns: int) -> np.ndarray:
    """The `table` that changes nothing."""
    x, y = np.linspace(0, 1, rows + 1), np.linspace(0, 1, columns + 1)
    return np.concatenate([x[:, None], np.tile(y, (rows + 1, 1))], axis=1)


def _cell_and_rest(x: Scalar, cells: int) -> tuple[Any, Scalar]:
    """The cell of unit length that x falls into, and how far into it."""
    if cells == 1:  # a constant spares what has one value looking it up
        return np.zeros((), dtype=int), x
    cell = jnp.clip(jnp.floor(x), 0, cells - 1).astype(int)
    return cell, x - cell


# --- masses
# -----------------------------------------------------------------------------------------------------------


def _masses(
    u: jax.Array, shapes: tuple[tuple[jax.Array, jax.Array], ...], broad: Scalar
) -> tuple[tuple[Scalar, ...], Scalar]:
    """s per shape (mass and width, `[scan]`) and ds/du, all from one of the scan's values, mixed evenly.

    A share `broad` of each is m²/(m² + s)² instead: events that fit no resonance get much from far off it,
    where the Breit-Wigner shape has few points.
    """
    count = shapes[0][0].shape[0]
    which, first = _cell_and_rest(u[0] * count, count)
    at = [jnp.clip(first, 1e-15, 1 - 1e-15), *(u[i] for i in range(1, len(shapes)))]
    s = []
    for x, (mass, width) in zip(at, shapes, strict=True):
        near = _breit_wigner(jnp.clip((x - broad) / (1 - broad), 0.0, 1.0), mass[which], width[which])
        s.append(jnp.where(x < broad, _pareto(x / broad, mass[which]), near))
    density = jnp.asarray(1.0)
    for each, (mass, width) in zip(s, shapes, strict=True):
        near = _breit_wigner_density(each, mass, width)
        density = density * ((1 - broad) * near + broad * _pareto_density(each, mass))
    return tuple(s), 1 / density.mean()


def _breit_wigner(u: Scalar, mass: Scalar, width: Scalar, top: Scalar = jnp.inf) -> Scalar:
    """s of u in (0, 1), 0 < s < top."""
    low, high = jnp.arctan(-mass / width), jnp.arctan((top - mass**2) / (mass * width))
    return jnp.clip(mass**2 + mass * width * jnp.tan(low + u * (high - low)), 0.0, top)


def _breit_wigner_density(s: Scalar, mass: Scalar, width: Scalar, top: Scalar = jnp.inf) -> Scalar:
    """1/(ds/du) of `_breit_wigner`."""
    m_gamma = mass * width
    low, high = jnp.arctan(-mass / width), jnp.arctan((top - mass**2) / m_gamma)
    return m_gamma / ((s - mass**2) ** 2 + m_gamma**2) / (high - low)


def _mixed(u: Scalar, mass: jax.Array, width: jax.Array, top: Scalar = jnp.inf) -> Scalar:
    """s of u from an even mixture of Breit-Wigner shapes `[scan]`."""
    which, u = _cell_and_rest(u * mass.shape[0], mass.shape[0])
    return _breit_wigner(jnp.clip(u, 1e-15, 1 - 1e-15), mass[which], width[which], top)


def _mixed_density(s: Scalar, mass: jax.Array, width: jax.Array, top: Scalar = jnp.inf) -> Scalar:
    """1/(ds/du) of `_mixed`."""
    return jnp.where((s > 0) & (s < top), _breit_wigner_density(s, mass, width, top).mean(), 0.0)


def _shapes(p: Parameters) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """(MW, WW), (MT, WT)."""
    return (jnp.broadcast_to(electroweak(p).MW, p.WW.shape), p.WW), (p.MT, p.WT)


# --- top pairs
# -----------------------------------------------------------------------------------------------------------

_TOPS = ("lepton", "bjet", "lepton", "bjet")


def top_pair_by_energies(
    shared: Mapping[str, Any], event: Mapping[str, Any], u: jax.Array, _: None, balance: bool = False
) -> Proposal:
    """tt̄ from four masses and all energies; four branches. u: s13, s134, s25, s256, energies, missing p_T.

    As all maps: a `Step` that needs nothing from before.
    """
    w, t = _shapes(shared["parameters"])
    masses, density = _masses(u, (w, t, w, t), event["broad"])
    momenta, measure = _Visible(shared, event, _TOPS).drawn(u[4:])
    missing = _missing(shared, event, u, momenta if balance else None)
    plus, quark, minus, antiquark = momenta
    found = blocks.top_pair(plus, quark, minus, antiquark, missing, masses)
    legs = _by_branch(plus, found.neutrino, quark, minus, found.antineutrino, antiquark)
    return Proposal(legs, density * measure * found.jacobian)


class _FirstSide(NamedTuple):
    """After the first step of the map by angle."""

    density: Scalar
    lepton: FourVector
    quark: FourVector
    path: blocks.Ellipse
    missing: tuple[Scalar, Scalar]
    s_w: Scalar
    """Of the other side."""
    k: Scalar
    """(s_t − s_W − m²)/2 of the other side."""


def _first_side(shared: Mapping[str, Any], event: Mapping[str, Any], u: jax.Array, _: None) -> _FirstSide:
    """Masses, one lepton and its b quark, and where their neutrino can be. u: masses, the two energies, …"""
    w, t = _shapes(shared["parameters"])
    (s_w, s_t, s_w2, s_t2), density = _masses(u, (w, t, w, t), event["broad"])
    seen = _Visible(shared, event, _TOPS)
    lepton, of_lepton = seen.flattened(0, u[4])
    quark, of_quark = seen.flattened(1, u[5])
    density = density * of_lepton * of_quark
    path = blocks.ellipse(lepton, quark, s_w, s_t)
    density = jnp.where(path.exists, density / (8 * path.root_gram * _TWO_PI**6), 0.0)
    k = (s_t2 - s_w2 - event["mass"][3] ** 2) / 2
    return _FirstSide(density, lepton, quark, path, _missing(shared, event, u), s_w2, k)


class _Table(NamedTuple):
    """Cells of φ for both signs of Δη: pulls at their beginnings, their rise, and how likely a cell is."""

    pull: jax.Array
    step: jax.Array
    mass: jax.Array


def _nodes(
    shared: Mapping[str, Any], event: Mapping[str, Any], u: jax.Array, known: _FirstSide
) -> tuple[_FirstSide, list[tuple[jax.Array, jax.Array]]]:
    """For both signs of Δη along the ellipse: the pull of the b quark's energy, and what else is cheap.

    That is the Jacobians of steps 2 and 3, p_b·p_ν of |M|², and s⁻³ for densities and flux. A proposal and no
    result: single precision does, and is three times faster.
    """
    seen = _Visible(shared, event, _TOPS)
    angles = _TWO_PI * np.arange(_ANGLES + 1) / _ANGLES
    cos, sin = (f(angles).astype(np.float32) for f in (np.cos, np.sin))
    one = _to_single(known)
    (lx, ly, lz), (nx, ny, nz) = _to_single((seen.direction(2), seen.direction(3)))
    rec, rec_b, m, sine = _to_single(
        (event["energy"][2], event["energy"][3], event["mass"][3], event["sine"][2])
    )
    scale = seen.responses[2].scale(event["energy"][2])
    # of the pull E_rec/E − 1
    width = _WIDENING * seen.responses[3].scale(event["energy"][3]) / event["energy"][3]
    scale, width = _to_single((scale, width))
    e1, x1, y1, z1 = (
        a + cos * b + sin * c for a, b, c in zip(one.path.centre, one.path.cosine, one.path.sine, strict=True)
    )
    kx, ky = one.missing[0] - x1, one.missing[1] - y1
    size = jnp.sqrt(kx**2 + ky**2)
    cos_phi = (kx * lx + ky * ly) / (size * sine)
    largest = one.s_w / (2 * size * jnp.maximum(1 - cos_phi, 1e-6) * sine)
    energy = jnp.minimum(rec, 0.97 * largest)
    allowed = _likely((largest - rec) / scale)
    cosh = one.s_w / (2 * energy * sine * size) + cos_phi
    sinh = jnp.sqrt(jnp.maximum(cosh**2 - 1, 1e-4))
    first = add(one.lepton, one.quark)
    te, tz = e1 + energy + first[0], z1 + energy * lz + first[3]
    tx, ty = x1 + energy * lx + kx + first[1], y1 + energy * ly + ky + first[2]
    ln = lx * nx + ly * ny + lz * nz
    nodes = []
    for sign in (1.0, -1.0):
        e = size * (cosh + sign * lz * sinh) / sine
        z = size * (lz * cosh + sign * sinh) / sine
        w, along = energy + e, energy * ln + kx * nx + ky * ny + z * nz
        rest = w**2 - along**2
        square = one.k**2 - m**2 * rest
        root = jnp.sqrt(jnp.maximum(square, 1e-6))
        p = (one.k * along + w * root) / rest
        quark = jnp.sqrt(p**2 + m**2)
        exists = (square > 0) & (one.k > 0)
        pull = jnp.where(exists, jnp.clip((rec_b / quark - 1) / width, -20, 20), 20.0)
        quark = jnp.clip(quark, rec_b / 2, 2 * rec_b)
        s = (
            (te + e + quark) ** 2
            - (tx + quark * nx) ** 2
            - (ty + quark * ny) ** 2
            - (tz + z + quark * nz) ** 2
        )
        s = s * 1e-5
        factor = p**2 / (root * size * jnp.maximum(sinh, 0.3) * s**3)
        factor = factor * jnp.maximum(one.k - energy * quark * (1 - ln), 0.0) * allowed
        nodes.append((pull, jnp.where(exists, factor, 0.0)))
    return known, nodes


def _cells(
    shared: Mapping[str, Any],
    event: Mapping[str, Any],
    u: jax.Array,
    before: tuple[_FirstSide, list[tuple[jax.Array, jax.Array]]],
) -> tuple[_FirstSide, _Table]:
    """The mean over each cell of a bell in the pull, which is taken to be linear in φ there."""
    known, nodes = before
    cells = []
    for pull, factor in nodes:
        level, step = _likely(pull), pull[1:] - pull[:-1]
        # the small numbers make the ratio the bell's height where the pull is constant
        mean = jnp.abs((level[1:] - level[:-1] + 3e-7) / (step + 1e-6))
        cells.append(_Table(pull[:-1], step, mean * (factor[1:] + factor[:-1]) + 1e-30))
    return known, _Table(*(jnp.concatenate(parts) for parts in zip(*cells, strict=True)))


class _Drawn(NamedTuple):
    """What step 3 starts from."""

    density: Scalar
    neutrino: FourVector
    energy: Scalar
    """Of the other lepton."""
    transverse: tuple[Scalar, Scalar]
    """p_T of the other neutrino."""
    sign: Scalar


def _drawn(
    shared: Mapping[str, Any], event: Mapping[str, Any], u: jax.Array, before: tuple[_FirstSide, _Table]
) -> tuple[_FirstSide, _Drawn]:
    """φ from the table, and the other lepton's energy. u: …, φ, that energy, missing p_T."""
    known, table = before
    response = _Visible(shared, event, _TOPS).responses[2]
    phi, sign, density = _chosen(table, u[6])
    neutrino = known.path.at(jnp.cos(phi), jnp.sin(phi))
    kx, ky = known.missing[0] - neutrino[1], known.missing[1] - neutrino[2]
    # |p_T| (1 − cos Δφ) sinθ
    near = jnp.sqrt(kx**2 + ky**2) * event["sine"][2] - kx * event["x"][2] - ky * event["y"][2]
    largest = known.s_w / (2 * jnp.maximum(near, 1e-12))
    energy, weight = response.flatten_below(u[7], event["energy"][2], largest)
    density = known.density * jnp.where(energy < largest, density * weight, 0.0)
    return known, _Drawn(density, neutrino, energy, (kx, ky), sign)


def _second_side(
    shared: Mapping[str, Any], event: Mapping[str, Any], u: jax.Array, before: tuple[_FirstSide, _Drawn]
) -> Proposal:
    """Steps 2 and 3: the other neutrino, and its b quark."""
    known, (density, neutrino, energy, (kx, ky), sign) = before
    seen = _Visible(shared, event, _TOPS)
    (lx, ly, lz), (nx, ny, nz) = seen.direction(2), seen.direction(3)
    sine, size = event["sine"][2], jnp.sqrt(kx**2 + ky**2)
    cosh = (known.s_w / (2 * energy) + kx * lx + ky * ly) / (size * sine)
    valid = cosh > 1
    sinh = jnp.sqrt(jnp.where(valid, (cosh - 1) * (cosh + 1), 1.0))
    density = density * seen.measure(2, energy) / (4 * energy * sine * size * sinh)
    e = size * (cosh + sign * lz * sinh) / sine
    z = size * (lz * cosh + sign * sinh) / sine

    # step 3
    m = event["mass"][3]
    w, along = energy + e, (energy * lx + kx) * nx + (energy * ly + ky) * ny + (energy * lz + z) * nz
    rest = w**2 - along**2
    square = known.k**2 - m**2 * rest
    valid &= (square > 0) & (known.k > 0)
    root = jnp.sqrt(jnp.where(valid, square, 1.0))
    p = (known.k * along + w * root * jnp.array([1.0, -1.0])) / rest
    quark = jnp.sqrt(p**2 + m**2)
    low, high = seen.responses[3].support(event["energy"][3], m)
    valid &= (p > 0) & (known.k + p * along > 0) & (quark > low) & (quark < high)
    # where it is not valid any momenta will do, if they are finite
    quark = jnp.where(valid, quark, event["energy"][3])
    density = density * seen.responses[3].density(event["energy"][3], quark) * seen.measure(3, p)
    # dE = |p| ds/(2 root)
    density = density * p / (2 * root)

    sides = (
        (known.lepton, neutrino, known.quark),
        (seen.momentum(2, energy), (e, kx, ky, z), seen.momentum(3, quark)),
    )
    swap = event["second_first"]
    legs = (
        *(_choice(swap, q, p) for p, q in zip(*sides, strict=True)),
        *(_choice(swap, p, q) for p, q in zip(*sides, strict=True)),
    )
    return Proposal(_by_branch(*legs), jnp.where(valid, density, 0.0))


def _chosen(table: _Table, u: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """φ, the sign of Δη and dφ/du: a cell by its mass, the place within along the bell; a share evenly."""
    cells = 2 * _ANGLES
    unguided = u < _UNGUIDED
    even = jnp.clip(u / _UNGUIDED * cells, 0.0, cells - 1e-9)
    cell, mass, within = _cell(table.mass, jnp.clip((u - _UNGUIDED) / (1 - _UNGUIDED), 0.0, 1.0))
    cell = jnp.where(unguided, jnp.floor(even).astype(cell.dtype), cell)
    start, step = (x[cell].astype(float) for x in (table.pull, table.step))
    mass = jnp.where(unguided, table.mass[cell] / table.mass.sum(), mass).astype(float)
    low, high = _likely(start), _likely(start + step)
    straight = jnp.abs(step) < 1e-3
    step = jnp.where(straight, 1.0, step)
    bent = jnp.clip((_at_likely(low + within * (high - low)) - start) / step, 0.0, 1.0)
    within = jnp.where(unguided, even - jnp.floor(even), jnp.where(straight, within, bent))
    bell = 1 / ((start + within * step) ** 2 + 2.25)
    inside = jnp.where(straight, 1.0, 1.125 * bell * jnp.sqrt(bell) * step / (high - low))
    density = (1 - _UNGUIDED) * mass * inside + _UNGUIDED / cells
    phi = _TWO_PI * (cell % _ANGLES + within) / _ANGLES
    return phi, jnp.where(cell < _ANGLES, 1.0, -1.0), _TWO_PI / (_ANGLES * density)


def _cell(mass: jax.Array, u: Scalar) -> tuple[jax.Array, Scalar, Scalar]:
    """The cell that u falls into, its share of all mass, and how far into it: eight groups, then in one."""
    groups = mass.reshape(8, -1)
    of_group = groups.sum(axis=1)
    upto = jnp.cumsum(of_group)
    at = (u * upto[-1]).astype(mass.dtype)
    group = jnp.clip((upto < at).sum(), 0, 7)
    row = groups[group]
    upto_cell = upto[group] - of_group[group] + jnp.cumsum(row)
    cell = jnp.clip((upto_cell < at).sum(), 0, len(row) - 1)
    within = 1 - (upto_cell[cell] - at) / row[cell]
    return group * len(row) + cell, row[cell] / upto[-1], jnp.clip(within.astype(float), 0.0, 1.0)


def _to_single(values: Any) -> Any:
    return jax.tree.map(lambda x: jnp.asarray(x).astype(jnp.float32), values)


def _likely(x: Scalar) -> Scalar:
    """½ (1 + x/√(x² + 9/4)): a cumulative distribution that is near the normal one, with longer tails."""
    return (1 + x / jnp.sqrt(x**2 + 2.25)) / 2


def _at_likely(q: Scalar) -> Scalar:
    """x of `_likely`(x) = q."""
    q = jnp.clip(q, 1e-12, 1 - 1e-12)
    return 1.5 * (2 * q - 1) / (2 * jnp.sqrt(q * (1 - q)))


# --- W pairs
# -----------------------------------------------------------------------------------------------------------

_LEPTONS = ("lepton", "lepton")


class _WSide(NamedTuple):
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


def _w_sides(
    shared: Mapping[str, Any], event: Mapping[str, Any], u: jax.Array, _: None, balance: bool = False
) -> tuple[Scalar, Scalar, _WSide, _WSide]:
    """The sign of the neutrino's Δη, the density, both Ws. u: s13, s24, φ, p_T, energies, missing p_T."""
    w, _top = _shapes(shared["parameters"])
    x, y, of_table = _guided(event["table"], u[2], u[3])
    leptons, density = _Visible(shared, event, _LEPTONS).drawn(u[4:])
    missing = _missing(shared, event, u, leptons if balance else None)
    t = jnp.abs(2 * y - 1)
    size = _TYPICAL * (1 - t) / t
    density = density * of_table * _TWO_PI * size * 2 * _TYPICAL / t**2 / (4 * _TWO_PI**6)
    px, py = size * jnp.cos(_TWO_PI * x), size * jnp.sin(_TWO_PI * x)
    sides = []
    transverse = (px, py), (missing[0] - px, missing[1] - py)
    for v, lepton, pt in zip((u[0], u[1]), leptons, transverse, strict=True):
        across = jnp.sqrt(lepton[1] ** 2 + lepton[2] ** 2) * jnp.sqrt(pt[0] ** 2 + pt[1] ** 2)
        least = 2 * (across - lepton[1] * pt[0] - lepton[2] * pt[1])
        s, of_mass = _above(v, least, *w, event["broad"])
        sides.append(_WSide(lepton, pt, s, least))
        density = density * of_mass / sides[-1].rapidities()[2]
    return jnp.where(y < 0.5, -1.0, 1.0), density, *sides


def _w_solved(
    shared: Mapping[str, Any],
    event: Mapping[str, Any],
    u: jax.Array,
    known: tuple[Scalar, Scalar, _WSide, _WSide],
) -> Proposal:
    """The neutrinos' momenta; two branches."""
    sign, density, one, other = known
    neutrino, antineutrino = one.neutrino(sign), other.neutrino(jnp.array([1.0, -1.0]))
    legs = _by_branch(one.lepton, neutrino, other.lepton, antineutrino)
    return Proposal(legs, jnp.broadcast_to(density, 2))


def _above(
    u: Scalar, least: Scalar, mass: jax.Array, width: jax.Array, broad: Scalar
) -> tuple[Scalar, Scalar]:
    """s > `least` for an integrand ∝ (mixed Breit-Wigner shapes)/√(s − least), and ds/du.

    A share of points follows the shapes above `least`, the others 1/√ and all scales: y = √(s − least) has
    the density c²/(c² + y²)^{3/2}, c⁴ = (m² − least)² + m²Γ². These are most where the resonance is out of
    reach.
    """
    m_gamma = mass[0] * width[0]
    distance = (mass[0] ** 2 - least) / m_gamma
    share = broad + (_OUT_OF_REACH - broad) * (1 - (distance - 1) / jnp.sqrt((distance - 1) ** 2 + 4)) / 2
    c2 = m_gamma * jnp.sqrt(distance**2 + 1)
    which, v = _cell_and_rest(jnp.clip((u - share) / (1 - share), 1e-15, 1 - 1e-15) * len(mass), len(mass))
    low = jnp.arctan((least[..., None] - mass**2) / (mass * width))
    near = mass[which] ** 2 + mass[which] * width[which] * jnp.tan(low[which] + v * (np.pi / 2 - low[which]))
    x2 = jnp.clip(u / share, 1e-15, 1 - 1e-15) ** 2
    y2 = jnp.where(u < share, c2 * x2 / (1 - x2), jnp.maximum(near - least, 1e-15 * c2))
    s = least + y2
    on = mass * width / ((s[..., None] - mass**2) ** 2 + (mass * width) ** 2) / (np.pi / 2 - low)
    off = c2 / (2 * jnp.sqrt(y2 * (c2 + y2)) * (c2 + y2))
    return s, 1 / ((1 - share) * on.mean() + share * off)


def _towards(u: Scalar, v: Scalar) -> tuple[blocks.Direction, Scalar]:
    """φ = 2πu, and Δη with the density ½ sech² = 2v (1 − v) in v; dφ dΔη/du dv."""
    cosh = 1 / (2 * jnp.sqrt(v * (1 - v)))
    sinh = (2 * v - 1) * cosh
    return blocks.Direction(jnp.cos(_TWO_PI * u), jnp.sin(_TWO_PI * u), cosh, sinh), _TWO_PI * 2 * cosh**2


class _Pair(NamedTuple):
    """What H → WW knows before neutrinos have directions: leptons, missing p_T, and their pair N."""

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
    towards: blocks.Direction
    upper: Scalar
    exists: Scalar


def _pair_drawn(
    shared: Mapping[str, Any], event: Mapping[str, Any], u: jax.Array, _: None, balance: bool = False
) -> _Pair:
    """Energies, and all masses and directions. u: channel and s, Δ, one W's mass, φ, energies, missing p_T.

    Where both Ws are on their shells: s13, s24, Δη and its branch, φ.
    """
    p = shared["parameters"]
    w, _top = _shapes(p)
    seen = _Visible(shared, event, _LEPTONS)
    (plus, minus), measure = seen.drawn(u[4:])
    missing = _missing(shared, event, u, [plus, minus] if balance else None)
    upto = jnp.cumsum(jnp.asarray(event["shares"]))
    channel = jnp.clip((upto <= u[0]).sum(), 0, len(CHANNELS) - 1)
    place = jnp.clip(1 - (upto[channel] - u[0]) / event["shares"][channel], 1e-15, 1 - 1e-15)

    s = jnp.where(channel < 2, _mixed(place, p.MH, p.WH), _pareto(place, p.MH[0]))
    total = add(plus, minus)
    c, mt, largest = _reach(total, missing, s)
    up = jnp.exp(largest * (2 * u[1] - 1))
    cosh, sinh = (up + 1 / up) / 2, (up - 1 / up) / 2
    a = mt * cosh
    ratio = c / (a + jnp.sqrt(a**2 + jnp.maximum(c, 0.0))) / mt
    e, z = ratio * (total[0] * cosh + total[3] * sinh), ratio * (total[3] * cosh + total[0] * sinh)
    n = e, *missing, z
    s_w = _mixed(u[2], *w, 2 * dot(_choice(channel % 2 == 0, plus, minus), n))

    masses = _mixed(place, *w), _mixed(u[1], *w)
    upper = u[2] < 0.5
    towards, _density = _towards(u[3], jnp.where(upper, 2 * u[2], 2 * u[2] - 1))
    return _Pair(measure, plus, minus, missing, channel, n, s_w, masses, towards, upper, largest > 0)


def _reach(total: FourVector, missing: tuple[Scalar, Scalar], s: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """m_T,N² + 2 m_T,L m_T,N cosh Δ at this s; m_T,L; and the largest |Δ|, which leaves N no mass."""
    mass2, mt = blocks.transverse(total)
    missing2 = _square(missing)
    c = s - mass2 + missing2 + 2 * (total[1] * missing[0] + total[2] * missing[1])
    cosh = (c - missing2) / (2 * mt * jnp.sqrt(missing2))
    return c, mt, jnp.where(cosh > 1, jnp.arccosh(jnp.maximum(cosh, 1.0)), 0.0)


def _square(missing: tuple[Scalar, Scalar]) -> Scalar:
    return jnp.maximum(missing[0] ** 2 + missing[1] ** 2, 1e-12)


class _Neutrinos(NamedTuple):
    """Both momenta, whichever channel they come from."""

    measure: Scalar
    plus: FourVector
    minus: FourVector
    missing: tuple[Scalar, Scalar]
    neutrino: FourVector
    antineutrino: FourVector
    exists: Scalar


def _pair_decayed(
    shared: Mapping[str, Any], event: Mapping[str, Any], u: jax.Array, known: _Pair
) -> _Neutrinos:
    """The neutrinos from N and the mass of one W, or from the masses of both Ws."""
    plus, minus, n, towards = known.plus, known.minus, known.n, known.towards
    n2 = blocks.transverse(n)[0]
    first = known.channel % 2 == 0
    lepton = _choice(first, plus, minus)
    # p·N = N²/2 is what makes the other one light-like
    path = blocks.ellipse(lepton, n, known.s_w, 2 * n2 + 2 * dot(lepton, n) + known.s_w)
    one = path.at(towards.cos, towards.sin)
    other = n[0] - one[0], n[1] - one[1], n[2] - one[2], n[3] - one[3]
    around = _choice(first, one, other), _choice(first, other, one)

    found = blocks.w_pair(plus, minus, known.missing, known.masses, towards)
    one, other, valid = jax.tree.map(
        lambda x: jnp.where(known.upper, x[0], x[1]), (found.neutrino, found.antineutrino, found.valid)
    )
    both = known.channel == len(CHANNELS) - 1
    exists = jnp.where(both, valid, path.exists & (n2 > 0) & known.exists)
    return _Neutrinos(*known[:4], _choice(both, one, around[0]), _choice(both, other, around[1]), exists)


def _pair_weighted(
    shared: Mapping[str, Any], event: Mapping[str, Any], u: jax.Array, known: _Neutrinos
) -> Proposal:
    """With the density of the mixture of all channels at these momenta; one branch."""
    p, shares = shared["parameters"], event["shares"]
    w, _top = _shapes(p)
    measure, plus, minus, missing, neutrino, antineutrino, exists = known
    n, total = add(neutrino, antineutrino), add(plus, minus)
    mass2, _ = blocks.transverse(total)
    s13, s24 = 2 * dot(plus, neutrino), 2 * dot(minus, antineutrino)
    s = mass2 + blocks.transverse(n)[0] + 2 * dot(total, n)
    on_higgs, wide = _mixed_density(s, p.MH, p.WH), _pareto_density(s, p.MH[0])
    around: Scalar = 0.0
    for i, (lepton, s_w) in enumerate(((plus, s13), (minus, s24))):
        product = dot(lepton, n)
        of_direction = _mixed_density(s_w, *w, 2 * product) * product / _TWO_PI
        around = around + (shares[i] * on_higgs + shares[2 + i] * wide) * of_direction
    *_, largest = _reach(total, missing, s)
    # 1 + m_T,L/m_T,N cosh Δ
    longitudinal = n[0] ** 2 - n[3] ** 2
    slope = 1 + (total[0] * n[0] - total[3] * n[3]) / longitudinal
    around = around / (2 * largest) * 16 * slope * _TWO_PI**6

    def away(p: FourVector, q: FourVector) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """cosh Δη and |sinh Δη| of two massless momenta, and their p_T."""
        pt, qt = jnp.sqrt(p[1] ** 2 + p[2] ** 2), jnp.sqrt(q[1] ** 2 + q[2] ** 2)
        cosh, sinh = p[0] * q[0] - p[3] * q[3], jnp.abs(p[3] * q[0] - p[0] * q[3])
        return cosh / (pt * qt), sinh / (pt * qt), pt, qt

    cosh, _, pt, _ = away(neutrino, plus)
    _, sinh, pt2, lt2 = away(antineutrino, minus)
    jacobian = blocks.w_pair_jacobian(pt, s13 / pt, lt2, pt2, sinh)
    both = _mixed_density(s13, *w) * _mixed_density(s24, *w) / (2 * _TWO_PI * cosh**2) / (2 * jacobian)
    density = jnp.where(largest > 0, around, 0.0) + shares[4] * both
    valid = exists & jnp.isfinite(density) & (density > 0)
    legs = _by_branch(plus, neutrino, minus, antineutrino)
    return Proposal(legs, jnp.where(valid, measure / jnp.where(valid, density, 1.0), 0.0)[None])


def _pareto(u: Scalar, mass: Scalar) -> Scalar:
    """s of u with density m²/(m² + s)²."""
    return mass**2 * u / jnp.maximum(1 - u, 1e-15)


def _pareto_density(s: Scalar, mass: Scalar) -> Scalar:
    return mass**2 / (mass**2 + s) ** 2


def _choice(condition: Scalar, one: FourVector, other: FourVector) -> FourVector:
    """`one` where the condition is true, else `other`."""
    a, b, c, d = (jnp.where(condition, i, j) for i, j in zip(one, other, strict=True))
    return a, b, c, d


def _by_branch(*legs: FourVector) -> tuple[FourVector, ...]:
    """All components with an axis of branches, of length one for what they have in common."""
    return tuple(tuple(map(jnp.atleast_1d, p)) for p in legs)  # type: ignore[misc]


TOP_PAIR = Block(
    4,
    0.03,
    (top_pair_by_energies,),
    (partial(top_pair_by_energies, balance=True),),
    by_angle=(_first_side, _nodes, _cells, _drawn, _second_side),
)
# φ and p_T. No such table for H → WW: in an event that hardly fits, its points missed what counts, and a
# weight came out low by a factor of twelve.
_OF_W_PAIR = (2, 3)
W_PAIR = Block(
    4,
    0.03,
    (_w_sides, _w_solved),
    (partial(_w_sides, balance=True), _w_solved),
    guided=_OF_W_PAIR,
)
HIGGS_TO_W_PAIR = Block(
    4,
    0.1,
    (_pair_drawn, _pair_decayed, _pair_weighted),
    (partial(_pair_drawn, balance=True), _pair_decayed, _pair_weighted),
    shares=CHANNELS,
)
