"""What a map has of its event before the points: where energies are likely, at given masses.

The pulls of all energies, z = (Ē/E − 1)/r with Ē the median of what the response allows and r its relative
width, are fitted at the resonances' poles by Gauss–Newton steps in ln E of the legs that are drawn:

    x → x − (JᵀJ + 1)⁻¹ (Jᵀz + x),  covariance C = (JᵀJ + 1)⁻¹,  dx/dt = −C Jᵀ ∂z/∂t,  t = ln √s/m.

The sum of squares along x(t) is the profile of a mass, on which others that are off their poles go along:
cells of its table have their part of the Breit–Wigner shape times exp(−0.4 χ²). Where a measured mass is more
than 3.5 standard deviations off the pole, x(t) starts from there. Of a neutrino see `neutrino_fit`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import FourVector, Scalar, add, dot
from deepmem.physics.detector.gaussians import Gaussian
from deepmem.physics.phasespace.composed.chain import Chain
from deepmem.physics.phasespace.composed.masses import CELLS, edges, shape_of
from deepmem.physics.phasespace.composed.neutrino_fit import Likely, Measured, followed, has_likely, likely
from deepmem.physics.phasespace.composed.tau_pairs import TauPair, profile
from deepmem.physics.phasespace.composition import Composition
from deepmem.physics.phasespace.lines import BreitWigner
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.precision import double_precision

_STEPS, _LONGEST, _FARTHEST = 5, 0.4, 1.5
_LARGEST_PULL = 25.0
# Of a measured mass from its pole, in standard deviations; and how far off a start may be, in ln √s.
_TENSION, _LARGEST_ANCHOR, _LARGEST_START = 3.5, 4.0, 1.2
# How sharply cells follow the profile, and the part of them that is even: with a profile, and without one.
_TEMPER, _EVEN, _EVEN_ALONE = 0.8, 0.04, 0.08
# Pieces of a cell of the mass of two taus.
_IN_CELLS = 4
# The range of ln √s/m in which there is a profile.
_REACH = (-4.0, 4.5)
_NO_SOLUTION = 200.0
_QUANTILES = np.array([0.15865525393145707, 0.5, 0.8413447460685429])
# Rows that are fitted in one compiled call.
_BATCH, _FEW = 1 << 9, 1 << 5


class Fit(NamedTuple):
    """Of events, `n` drawn energies and the resonances in the order of the composition's variables."""

    energy: Scalar
    """The likeliest, GeV `[n]`."""
    spread: Scalar
    """The lower triangle of the covariance of ln E `[n, n]`."""
    slope: Scalar
    """dlnE/dt `[n, solves]`."""
    anchor: Scalar
    """t of the fit `[solves]`."""
    shares: Scalar
    """Of cells of each mass that has a table `[masses, scan, CELLS]`."""
    shift: Scalar | None = None
    """Of the quark beside a neutrino, see `neutrino_fit.Likely`."""
    width: Scalar | None = None


class Allowed(NamedTuple):
    """What responses allow, of each visible leg."""

    median: Scalar
    """Ē, GeV."""
    width: Scalar
    """r; 0 of a perfect measurement."""


def tabulated(composition: Composition) -> tuple[int, ...]:
    """The resonances whose masses have a table: not a single one above the (last) neutrino."""
    neutrino = composition.neutrino
    single = neutrino.masses if neutrino is not None and len(neutrino.masses) == 1 else ()
    return tuple(place for place in composition.masses if place not in single)


def fits(composition: Composition, shared: Shared, events: Visible) -> Fit:
    """The fits of events `[events, ...]`, in batches of one size."""
    count, parts = events.size, []
    with double_precision():
        for first in range(0, count, _BATCH):
            rows = np.minimum(np.arange(first, first + _BATCH), count - 1)
            parts.append(_batch(composition, shared, events.rows(rows), min(count - first, _BATCH)))
    return jax.tree.map(lambda *each: np.concatenate(each)[:count], *parts)


def _batch(composition: Composition, shared: Shared, events: Visible, used: int) -> Fit:
    """Linear algebra is NumPy's: for matrices of a few rows it needs no compilation.

    **Arguments:** `used`, how many of the rows are no padding.
    """
    x, t, allowed = jax.tree.map(np.asarray, _compiled(_starts)(composition, shared, events))
    count, unit = x.shape[1], np.eye(x.shape[1])
    for step in range(_STEPS + 1):
        z, j = map(np.asarray, _compiled(_derivatives)(composition, shared, events, allowed, x, t))
        of_x, of_t = j[..., :count], j[..., count:]
        normal = np.swapaxes(of_x, 1, 2) @ of_x + unit
        if step < _STEPS and count:
            downhill = (np.swapaxes(of_x, 1, 2) @ z[..., None])[..., 0] + x
            move = np.linalg.solve(normal, downhill[..., None])[..., 0]
            x = np.clip(x - np.clip(move, -_LONGEST, _LONGEST), -_FARTHEST, _FARTHEST)
    covariance = np.linalg.inv(normal)
    slope = -covariance @ np.swapaxes(of_x, 1, 2) @ of_t
    path = _paths(of_x, of_t, t)
    spread = np.linalg.cholesky((covariance + np.swapaxes(covariance, 1, 2)) / 2)
    drawn = [composition.tree.visible.index(number) for number in composition.drawn]
    shares = _compiled(_all_shares)(composition, shared, events, allowed, x, path, t)
    found = Fit(allowed.median[:, drawn] * np.exp(x), spread, slope, t, np.array(shares))
    if not has_likely(composition):
        return found
    assert composition.neutrino is not None
    of_neutrino = _of_neutrinos(composition, shared, (events, allowed, x, spread, t), used)
    places = [tabulated(composition).index(place) for place in composition.neutrino.masses]
    for place, share in zip(places, of_neutrino.shares, strict=True):
        found.shares[:, place] = share
    return found._replace(shift=of_neutrino.shift, width=of_neutrino.width)


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function (composition, …), compiled for each of these.

    XLA's newer emitters would take twice the time to compile it: it has many small kernels, and each costs
    them a context of its own. It is as fast without them.
    """
    options = {"xla_cpu_use_fusion_emitters": False} if jax.default_backend() == "cpu" else None
    return jax.jit(function, static_argnums=0, compiler_options=options)


def _paths(of_x: np.ndarray, of_t: np.ndarray, t: np.ndarray) -> np.ndarray:
    """How x and t move along the profile of each mass `[rows, x and t, masses]`.

    A mass that is off its pole, where its shape is about even, goes along with another one.
    """
    drawn, masses = of_x.shape[2], of_t.shape[2]
    j, paths = np.concatenate([of_x, of_t], axis=2), np.zeros((len(t), drawn + masses, masses))
    for q in range(masses):
        free = np.concatenate([np.ones((len(t), drawn)), t != 0], axis=1)
        free[:, drawn + q] = 0
        moved = j * free[:, None]
        normal = np.swapaxes(moved, 1, 2) @ moved + np.eye(drawn + masses)
        downhill = np.swapaxes(moved, 1, 2) @ of_t[..., q : q + 1]
        paths[..., q] = -np.linalg.solve(normal, downhill)[..., 0]
        paths[:, drawn + q, q] = 1
    return paths


def _starts(composition: Composition, shared: Shared, events: Visible) -> tuple[Scalar, Scalar, Allowed]:
    """x and t where fits begin, and what responses allow."""

    def one(event: Visible) -> tuple[Scalar, Scalar, Allowed]:
        allowed = _allowed(Chain(composition, shared, event))
        return *Pulls(composition, shared, event, allowed).start(), allowed

    return jax.vmap(one)(events)


def _derivatives(
    composition: Composition, shared: Shared, events: Visible, allowed: Allowed, x: Scalar, t: Scalar
) -> tuple[Scalar, Scalar]:
    """All pulls `[events, pulls]`, and their derivatives in (x, t)."""

    def one(event: Visible, allowed: Allowed, x: Scalar, t: Scalar) -> tuple[Scalar, Scalar]:
        pulls, count = Pulls(composition, shared, event, allowed), len(x)

        def at(both: Scalar) -> tuple[Scalar, Scalar]:
            z, _ = pulls(both[:count], both[count:])
            return z, z

        j, z = jax.jacfwd(at, has_aux=True)(jnp.concatenate([x, t]))
        return z, j

    return jax.vmap(one)(events, allowed, x, t)


def _all_shares(
    composition: Composition,
    shared: Shared,
    events: Visible,
    allowed: Allowed,
    x: Scalar,
    path: Scalar,
    t: Scalar,
) -> Scalar:
    """Of cells, `[events, masses, scan, CELLS]`."""

    def one(event: Visible, allowed: Allowed, x: Scalar, path: Scalar, t: Scalar) -> Scalar:
        return _shares(Pulls(composition, shared, event, allowed), x, path, t)

    return jax.vmap(one)(events, allowed, x, path, t)


def _of_neutrinos(composition: Composition, shared: Shared, rows: tuple[Any, ...], used: int) -> Likely:
    """What is likely of neutrinos below two resonances, few rows at a time, for there are many nodes."""
    firsts = [first if first < used else 0 for first in range(0, _BATCH, _FEW)]
    done = {}
    for first in dict.fromkeys(firsts):
        few = jax.tree.map(itemgetter(slice(first, first + _FEW)), rows)
        done[first] = _compiled(_all_likely)(composition, shared, *few)
    return jax.tree.map(lambda *each: np.concatenate(each), *(done[first] for first in firsts))


def _all_likely(
    composition: Composition,
    shared: Shared,
    events: Visible,
    allowed: Allowed,
    x: Scalar,
    spread: Scalar,
    t: Scalar,
) -> Likely:
    """What is likely of neutrinos below two resonances."""
    quark = followed(composition)

    def one(event: Visible, allowed: Allowed, x: Scalar, spread: Scalar, t: Scalar) -> Likely:
        momenta, _ = Pulls(composition, shared, event, allowed).momenta(x, t)
        energy = width = jnp.asarray(0.0)
        if quark is not None:
            energy, width = momenta[composition.drawn[quark]][0], spread[quark, quark]
        return likely(composition, shared, event, momenta, Measured(energy, width, allowed.width))

    return jax.vmap(one)(events, allowed, x, spread, t)


def _allowed(chain: Chain) -> Allowed:
    medians, widths = [], []
    for i, response in enumerate(chain.seen.responses):
        rec, mass = chain.event.legs.energy[i], chain.event.legs.mass[i]
        low = middle = high = rec
        if isinstance(response, Gaussian):
            low, high = response.resolution.energy(rec, 1.0), response.resolution.energy(rec, -1.0)
        elif response.dimensions:
            low, middle, high = (response.flatten(u, rec, mass)[0] for u in _QUANTILES)
        medians.append(middle)
        widths.append(middle * (1 / low - 1 / high) / 2)
    return Allowed(jnp.stack(medians), jnp.stack(widths))


class Pulls:
    """The pulls of one event as a function of x = ln E/Ē of the drawn legs, and t."""

    def __init__(self, composition: Composition, shared: Shared, event: Visible, allowed: Allowed) -> None:
        self.chain = Chain(composition, shared, event)
        self.composition, self.shared, self.allowed = composition, shared, allowed
        resonances = [composition.tree.resonances[each.resonance] for each in composition.solves]
        self.shapes = [shape_of(shared.parameters, each.mass, each.width) for each in resonances]
        self.poles = [shape.mass[0] for shape in self.shapes]

    def _of(self, number: int, energy: Scalar) -> Scalar:
        place = self.chain.place[number]
        return (self.allowed.median[place] / energy - 1) / self.allowed.width[place]

    def __call__(self, x: Scalar, t: Scalar) -> tuple[Scalar, Scalar]:
        """All pulls, and whether all energies exist."""
        composition = self.composition
        momenta, valid = self.momenta(x, t)
        numbers = (*composition.drawn, *(each.leg for each in composition.solves))
        pulls = [self._of(number, momenta[number][0]) for number in numbers]
        if composition.missing == "recoil" and composition.neutrino is None and composition.pair is None:
            event, total = self.chain.event, add(*momenta.values())
            sigma = self.shared.detector.transverse.sigma(event.activity)  # type: ignore[union-attr]
            pulls += [(total[i + 1] - event.missing[i]) / sigma for i in (0, 1)]
        if not pulls:
            return jnp.zeros(0), jnp.asarray(True)
        exists = jnp.all(jnp.stack(valid)) if valid else jnp.asarray(True)
        return jnp.clip(jnp.stack(pulls), -_LARGEST_PULL, _LARGEST_PULL), exists

    def momenta(self, x: Scalar, t: Scalar) -> tuple[dict[int, FourVector], list[Scalar]]:
        """Of all legs that are known by x and t, and which energies exist."""
        drawn = [
            self.allowed.median[self.chain.place[number]] * jnp.exp(x[i])
            for i, number in enumerate(self.composition.drawn)
        ]
        momenta = self.chain.known(drawn)
        s = [(pole * jnp.exp(t[q])) ** 2 for q, pole in enumerate(self.poles)]
        return momenta, [solution.valid for solution in self.chain.solutions(s, momenta)]

    def transverse(self, x: Scalar, t: Scalar) -> tuple[Scalar, Scalar]:
        """The p_T of all legs that are no taus, GeV."""
        momenta, _ = self.momenta(x, t)
        if not momenta:
            return jnp.asarray(0.0), jnp.asarray(0.0)
        total = add(*momenta.values())
        return total[1], total[2]

    def _measured_mass(self, q: int) -> tuple[Scalar, Scalar]:
        """ln √s/m of the measured energies of a resonance, and its standard deviation."""
        each = self.composition.solves[q]
        numbers = (*each.others, each.leg)
        momenta = [
            self.chain.momentum(number, self.allowed.median[self.chain.place[number]]) for number in numbers
        ]
        total = add(*momenta)
        s = jnp.maximum(dot(total, total), 1e-3)
        # ∂ ln √s/∂ ln E of massless legs is P·p/s
        variance = [
            (self.allowed.width[self.chain.place[number]] * dot(total, p) / s) ** 2
            for number, p in zip(numbers, momenta, strict=True)
        ]
        return 0.5 * jnp.log(s) - jnp.log(self.poles[q]), jnp.sqrt(sum(variance))

    def start(self) -> tuple[Scalar, Scalar]:
        """x and t where the fit begins."""
        composition = self.composition
        x, t = jnp.zeros(len(composition.drawn)), jnp.zeros(len(self.poles))
        solved = {each.leg for each in composition.solves}
        for q, each in enumerate(composition.solves):
            off, sigma = self._measured_mass(q)
            far = jnp.abs(off) > _TENSION * sigma
            t = t.at[q].set(jnp.where(far, jnp.clip(off, -_LARGEST_ANCHOR, _LARGEST_ANCHOR), 0.0))
            if solved & set(each.others):
                continue
            for number in set(each.others) & set(composition.drawn):
                place = composition.drawn.index(number)
                x = x.at[place].set(jnp.clip(t[q] - off, -_LARGEST_START, _LARGEST_START))
        return x, t


def _shares(pulls: Pulls, x: Scalar, path: Scalar, t: Scalar) -> Scalar:
    """Of cells, of all masses that have a table."""
    shares = []
    for q, shapes in enumerate(pulls.shapes):
        shares.append(jax.vmap(partial(_profiled, pulls, x, path, t, q))(shapes))
    pair = pulls.composition.pair
    for place in tabulated(pulls.composition)[len(pulls.shapes) :]:
        resonance = pulls.composition.tree.resonances[place]
        shapes = shape_of(pulls.shared.parameters, resonance.mass, resonance.width)
        of_pair = pair is not None and pair.resonance == place
        shares.append(jax.vmap(partial(_of_taus, pulls, x, t) if of_pair else _alone)(shapes))
    scan = len(pulls.shared.parameters.sqrt_s)
    return jnp.stack(shares) if shares else jnp.zeros((0, scan, CELLS))


def _profiled(pulls: Pulls, x: Scalar, path: Scalar, t: Scalar, q: int, shape: BreitWigner) -> Scalar:
    """The shares of one mass from its profile: Simpson's rule over edges and middles."""
    theta = edges(shape)
    middle = (theta[1:] + theta[:-1]) / 2
    nodes = jnp.stack([theta[:-1], middle], axis=1).ravel()
    nodes = jnp.concatenate([nodes, theta[-1:]])
    s = shape.mass**2 + shape.mass * shape.width * jnp.tan(jnp.minimum(nodes, np.pi / 2 - 1e-9))
    at = jnp.clip(0.5 * jnp.log(jnp.maximum(s, 1e-3)) - jnp.log(pulls.poles[q]), *_REACH)

    def chi2(there: Scalar) -> Scalar:
        move = jnp.clip(there - t[q], -_FARTHEST, _FARTHEST)
        along = path[:, q] * move
        z, exists = pulls(x + along[: len(x)], (t + along[len(x) :]).at[q].set(there))
        return (z**2).sum() + jnp.where(exists, 0.0, _NO_SOLUTION)

    profile = jax.vmap(chi2)(at)
    height = jnp.exp(-_TEMPER * (profile - profile.min()) / 2)
    share = (height[:-2:2] + 4 * height[1::2] + height[2::2]) / 6 * (theta[1:] - theta[:-1])
    return (1 - _EVEN) * share / share.sum() + _EVEN / CELLS


def _of_taus(pulls: Pulls, x: Scalar, t: Scalar, shape: BreitWigner) -> Scalar:
    """The shares of the mass of two taus, by how likely their energies are in cells, ends included: the least
    mass that can be is inside of one, and |M|² of a photon is largest there."""
    theta = edges(shape)
    inside = jnp.arange(_IN_CELLS + 1) / _IN_CELLS
    nodes = theta[:-1, None] + (theta[1:] - theta[:-1])[:, None] * inside
    s = shape.mass**2 + shape.mass * shape.width * jnp.tan(jnp.minimum(nodes, np.pi / 2 - 1e-9))
    pair = TauPair(pulls.composition, pulls.shared, pulls.chain.event)
    others = pulls.transverse(x, t)
    heights = jax.vmap(lambda each: profile(pair, each, others))(jnp.maximum(s, 1e-3).ravel())
    heights = heights.reshape(s.shape)
    share = (heights[:, 1:] + heights[:, :-1]).sum(axis=1) * (theta[1:] - theta[:-1])
    total = share.sum()
    share = jnp.where(total > 0, share / jnp.where(total > 0, total, 1.0), 1 / CELLS)
    return (1 - _EVEN_ALONE) * share + _EVEN_ALONE / CELLS


def _alone(shape: BreitWigner) -> Scalar:
    """The shares of a mass by its own shape."""
    theta = edges(shape)
    share = theta[1:] - theta[:-1]
    return (1 - _EVEN_ALONE) * share / share.sum() + _EVEN_ALONE / CELLS
