"""What a map has of its event before the points: where energies are likely, at given masses.

The pulls of all energies, z = (Ē/E − 1)/r with Ē the median of what the response allows and r its relative
width, are fitted at the resonances' poles by Gauss–Newton steps in ln E of the legs that are drawn:

    x → x − (JᵀJ + 1)⁻¹ (Jᵀz + x),  covariance C = (JᵀJ + 1)⁻¹,  dx/dt = −C Jᵀ ∂z/∂t,  t = ln √s/m.

The sum of squares along x(t) is the profile of a mass, on which others that are off their poles go along:
cells of its table have their part of the Breit–Wigner shape times exp(−0.4 χ²). Where a measured mass is more
than 3.5 standard deviations off the pole, or the χ² of a chain of masses above 3.5² on their poles, x(t)
starts from what is measured. A mass that another one is a part of has cells at nodes of that one, and that
one what is left when the former is summed over. Of a neutrino see `neutrino_fit` and `transverse`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import Scalar
from deepmem.physics.phasespace.composed import profiles, transverse
from deepmem.physics.phasespace.composed.chain import Chain
from deepmem.physics.phasespace.composed.descent import Start, descended, paths
from deepmem.physics.phasespace.composed.masses import CELLS, GIVEN, shape_of
from deepmem.physics.phasespace.composed.neutrino_fit import (
    NODES_OF_W,
    Followed,
    Likely,
    Measured,
    Side,
    likely,
    looked_at,
    quark_of,
)
from deepmem.physics.phasespace.composed.pulls import (
    REACH,
    Allowed,
    Pulls,
    allowed_energies,
)
from deepmem.physics.phasespace.composed.single_taus import TauTables, tau_tables
from deepmem.physics.phasespace.composed.transverse_fit import OfMissing
from deepmem.physics.phasespace.composition import Composition
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.precision import double_precision

# Of a measured mass, how far nodes reach in standard deviations.
_AROUND = 3.5
# Rows that are fitted in one compiled call.
_BATCH, _FEW = 1 << 9, 1 << 3
_Found = TypeVar("_Found")


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
    given: Scalar | None = None
    """Of a mass above another one, see `nested`, at nodes of that `[nested, GIVEN, scan, CELLS]`."""
    nodes: Scalar | None = None
    """The first node of ln √s/m, and the step `[nested, 2]`."""
    quarks: tuple[Followed, ...] = ()
    """Of those beside the neutrinos that are `looked_at`."""
    tables: transverse.Tables | None = None
    """Of the p_T of a neutrino below one resonance, see `transverse`; `spread` and `slope` are then those at
    a given p_T."""
    taus: TauTables | None = None
    """Of taus beside neutrinos."""


def tabulated(composition: Composition) -> tuple[int, ...]:
    """The resonances whose masses have a table: not a single one above the (last) neutrino."""
    neutrino = composition.neutrino
    single = neutrino.masses if neutrino is not None and len(neutrino.masses) == 1 else ()
    return tuple(place for place in composition.masses if place not in single)


def linked(composition: Composition) -> tuple[tuple[int, int], ...]:
    """Pairs among `solves`, of a mass and of one that it is a part of: W and t."""
    solves = composition.solves
    return tuple(
        (q, r)
        for r, outer in enumerate(solves)
        for q, inner in enumerate(solves[:r])
        if {inner.leg, *inner.others} <= set(outer.others)
    )


def nested(composition: Composition) -> tuple[tuple[int, int], ...]:
    """Pairs among `tabulated`, of a mass and of one that follows it: W and t, also of neutrinos."""
    places = tabulated(composition)
    of_neutrinos = [map(places.index, each.masses) for each in looked_at(composition)]
    # those that are solved come first
    return (*linked(composition), *((w, top) for w, top in of_neutrinos))


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
    x, t, measured, allowed = jax.tree.map(np.asarray, _compiled(_starts)(composition, shared, events))
    derivatives = partial(_compiled(_derivatives), composition, shared, events, allowed)
    x, t, of_x, of_t, of_total = descended(derivatives, composition, Start(x, t, measured), used)
    count = x.shape[1]
    normal = np.swapaxes(of_x, 1, 2) @ of_x + np.eye(count)
    covariance = np.linalg.inv(normal)
    slope = -covariance @ np.swapaxes(of_x, 1, 2) @ of_t
    path = paths(of_x, of_t, t)
    of_masses = partial(_compiled(_all_shares), composition, shared)
    if composition.pair is None:
        shares = np.array(of_masses(events, allowed, x, path, t))
    else:
        shares = _few_at_a_time(of_masses, (events, allowed, x, path, t), used)
    given = nodes = None
    if pairs := linked(composition):
        of_pairs = _compiled(_all_linked)(composition, shared, events, allowed, x, slope, t)
        of_inner, given, nodes = map(np.array, of_pairs)
        shares[:, [q for q, _ in pairs]] = of_inner
    tables = None
    if composition.transverse:
        of_p = of_total[..., :count]
        of_k = np.eye(2) + of_p @ covariance @ np.swapaxes(of_p, 1, 2)
        covariance = np.linalg.inv(normal + np.swapaxes(of_p, 1, 2) @ of_p)
        of_all = np.swapaxes(of_x, 1, 2) @ of_t + np.swapaxes(of_p, 1, 2) @ of_total[..., count:]
        slope, of_missing = -covariance @ of_all, -covariance @ np.swapaxes(of_p, 1, 2)
        found_at = (events, allowed, (x, t, path, shares), of_missing, np.linalg.cholesky(of_k))
        tables, shares = _few_at_a_time(partial(_compiled(_all_tables), composition, shared), found_at, used)
    spread = np.linalg.cholesky((covariance + np.swapaxes(covariance, 1, 2)) / 2)
    drawn = [composition.tree.visible.index(number) for number in composition.drawn]
    found = Fit(allowed.median[:, drawn] * np.exp(x), spread, slope, t, shares, given, nodes, tables=tables)
    if composition.taus:
        of_taus = _compiled(_all_taus)(composition, shared, events)
        found = found._replace(taus=jax.tree.map(np.asarray, of_taus))
    if not looked_at(composition):
        return found
    rows = (events, allowed, x, spread, t)
    return _with_neutrinos(
        found, _few_at_a_time(partial(_compiled(_all_likely), composition, shared), rows, used), composition
    )


def _with_neutrinos(found: Fit, of_neutrinos: Sequence[Likely], composition: Composition) -> Fit:
    """The fit with what is likely of neutrinos below two resonances."""
    pairs = nested(composition)[-len(of_neutrinos) :]
    for (w, _), each in zip(pairs, of_neutrinos, strict=True):
        found.shares[:, w] = each.of_w
    given = np.stack([each.of_top for each in of_neutrinos], axis=1)
    nodes = np.broadcast_to(NODES_OF_W, (len(given), len(of_neutrinos), 2))
    if found.given is not None and found.nodes is not None:
        given, nodes = (np.concatenate(each, axis=1) for each in ((found.given, given), (found.nodes, nodes)))
    return found._replace(given=given, nodes=nodes, quarks=tuple(each.quark for each in of_neutrinos))


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function (composition, …), compiled for each of these.

    XLA's newer emitters would take twice the time to compile it: it has many small kernels, and each costs
    them a context of its own. It is as fast without them.
    """
    options = {"xla_cpu_use_fusion_emitters": False} if jax.default_backend() == "cpu" else None
    return jax.jit(function, static_argnums=0, compiler_options=options)


def _starts(
    composition: Composition, shared: Shared, events: Visible
) -> tuple[Scalar, Scalar, Scalar, Allowed]:
    """x and t where fits begin, t as measured, and what responses allow."""

    def one(event: Visible) -> tuple[Scalar, Scalar, Scalar, Allowed]:
        allowed = allowed_energies(Chain(composition, shared, event))
        return *Pulls(composition, shared, event, allowed).start(), allowed

    return jax.vmap(one)(events)


def _derivatives(
    composition: Composition, shared: Shared, events: Visible, allowed: Allowed, x: Scalar, t: Scalar
) -> tuple[Scalar, Scalar, Scalar]:
    """All pulls `[events, pulls]`; the derivatives in (x, t) of these, and of those of a neutrino's p_T."""

    def one(event: Visible, allowed: Allowed, x: Scalar, t: Scalar) -> tuple[Scalar, Scalar, Scalar]:
        pulls, count = Pulls(composition, shared, event, allowed), len(x)

        def at(both: Scalar) -> tuple[tuple[Scalar, Scalar], Scalar]:
            z, _ = pulls(both[:count], both[count:])
            return (z, pulls.of_missing(both[:count], both[count:])), z

        (j, of_total), z = jax.jacfwd(at, has_aux=True)(jnp.concatenate([x, t]))
        return z, j, of_total

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


def _all_linked(
    composition: Composition,
    shared: Shared,
    events: Visible,
    allowed: Allowed,
    x: Scalar,
    slope: Scalar,
    t: Scalar,
) -> tuple[Scalar, Scalar, Scalar]:
    """Of pairs of masses that are `linked`, the shares of the inner one, and of the outer one given that.

    With the first node and the step.
    """

    def one(event: Visible, allowed: Allowed, *fit: Scalar) -> tuple[Scalar, Scalar, Scalar]:
        pulls, found = Pulls(composition, shared, event, allowed), []
        for pair in linked(composition):
            off, sigma = pulls.measured_mass(pair[0])
            low, high = (jnp.clip(off + side * _AROUND * sigma, *REACH) for side in (-1, 1))
            low, high = jnp.minimum(low, -sigma), jnp.maximum(high, sigma)
            nodes = jnp.linspace(low, high, GIVEN)
            shapes = (pulls.shapes[q] for q in pair)
            shares = jax.vmap(partial(profiles.together, pulls, fit, (*pair, nodes)))(*shapes)
            found.append((*shares, jnp.stack([low, nodes[1] - low])))
        of_inner, of_outer, steps = (jnp.stack(each) for each in zip(*found, strict=True))
        return of_inner, jnp.swapaxes(of_outer, 1, 2), steps

    return jax.vmap(one)(events, allowed, x, slope, t)


def _few_at_a_time(function: Callable[..., _Found], rows: tuple[Any, ...], used: int) -> _Found:
    """What a function says of few rows at a time, for it has many nodes."""
    firsts = [first if first < used else 0 for first in range(0, _BATCH, _FEW)]
    done = {}
    for first in dict.fromkeys(firsts):
        few = jax.tree.map(itemgetter(slice(first, first + _FEW)), rows)
        done[first] = function(*few)
    return jax.tree.map(lambda *each: np.concatenate(each), *(done[first] for first in firsts))


def _all_likely(
    composition: Composition,
    shared: Shared,
    events: Visible,
    allowed: Allowed,
    x: Scalar,
    spread: Scalar,
    t: Scalar,
) -> tuple[Likely, ...]:
    """What is likely of neutrinos below two resonances."""

    def one(event: Visible, allowed: Allowed, x: Scalar, spread: Scalar, t: Scalar) -> tuple[Likely, ...]:
        momenta, _ = Pulls(composition, shared, event, allowed).momenta(x, t)
        found = []
        for neutrino in looked_at(composition):
            quark, energy, width = quark_of(composition, neutrino), jnp.asarray(0.0), jnp.asarray(0.0)
            if quark is not None:
                energy = momenta[composition.drawn[quark]][0]
                width = spread[quark, quark]
            measured = Measured(energy, width, allowed.width)
            found.append(likely(Side(composition, neutrino, shared, event, momenta, measured)))
        return tuple(found)

    return jax.vmap(one)(events, allowed, x, spread, t)


def _all_taus(composition: Composition, shared: Shared, events: Visible) -> TauTables:
    """The tables of taus beside neutrinos `[events, ...]`."""
    return jax.vmap(partial(tau_tables, composition, shared))(events)


def _all_tables(
    composition: Composition,
    shared: Shared,
    events: Visible,
    allowed: Allowed,
    fit: tuple[Scalar, Scalar, Scalar, Scalar],
    of_missing: Scalar,
    spread: Scalar,
) -> tuple[transverse.Tables, Scalar]:
    """Where the p_T of neutrinos below one resonance is likely, and what shares of masses become by it.

    **Arguments:** `fit`, x, t, their paths and the shares of masses; `of_missing`, dx per standard deviation
    of missing p_T; `spread`, of p_T in these, `[2, 2]`.
    """

    def one(event: Visible, allowed: Allowed, fit: tuple[Scalar, ...], *rest: Scalar) -> Any:
        return OfMissing(Pulls(composition, shared, event, allowed), *rest).tables(*fit)

    return jax.vmap(one)(events, allowed, fit, of_missing, spread)


def _shares(pulls: Pulls, x: Scalar, path: Scalar, t: Scalar) -> Scalar:
    """Of cells, of all masses that have a table."""
    shares = []
    for q, shapes in enumerate(pulls.shapes):
        shares.append(jax.vmap(partial(profiles.along, pulls, x, path, t, q))(shapes))
    pair = pulls.composition.pair
    for place in tabulated(pulls.composition)[len(pulls.shapes) :]:
        resonance = pulls.composition.tree.resonances[place]
        shapes = shape_of(pulls.shared.parameters, resonance.mass, resonance.width)
        of_pair = pair is not None and pair.resonance == place
        shares.append(jax.vmap(partial(profiles.of_taus, pulls, x, t) if of_pair else profiles.alone)(shapes))
    scan = len(pulls.shared.parameters.sqrt_s)
    return jnp.stack(shares) if shares else jnp.zeros((0, scan, CELLS))
