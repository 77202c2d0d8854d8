"""Composed maps: their densities are those of their momenta, and weights are those of brute force."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import any_process
import jax
import numpy as np
import pytest

from deepmem.physics.detector.response import Response
from deepmem.physics.integrals.stages import proposed
from deepmem.physics.phasespace.composed.fit import fits, tabulated
from deepmem.physics.phasespace.composed.masses import shape_of
from deepmem.physics.phasespace.composed.neutrino_fit import looked_at
from deepmem.physics.phasespace.composed.neutrinos import _BROAD, _OUT_OF_REACH
from deepmem.physics.phasespace.composed.steps import steps
from deepmem.physics.phasespace.expert import Proposal
from deepmem.physics.phasespace.lines import Above
from deepmem.physics.weights.composed import parts_of
from deepmem.physics.weights.partonic import shared_by_events
from deepmem.physics.weights.preparation import prepare

JETS = {"lepton": 0.0, "bjet": 0.12, "jet": 0.12}
_NOISE = {"met": {"c": 15.0}, "recoil": {"c": 15.0}}
MEASURED = JETS | {"lepton": 0.05} | _NOISE
SMEARED = JETS | _NOISE
_TAIL = {"core": {"a": 0.14}, "tail": {"a": 0.25, "bias": -0.1}}
TAILED = {"lepton": 0.05, "bjet": {"kind": "double_gaussian", "fraction": 0.2, "reach": 4.0} | _TAIL}
POINTS = 64
# reaction, responses, met
MAPS: dict[str, tuple[str, dict[str, Any], str]] = {
    "ZH": ("zh", JETS, "event"),
    "ZH, recoil": ("zh", MEASURED, "recoil"),
    "WH, exact": ("wh", JETS, "event"),
    "WH, response": ("wh", MEASURED, "event"),
    "WH, recoil": ("wh", SMEARED, "recoil"),
    "WH, balance": ("wh", JETS, "balance"),
    "tt̄, exact": ("gg_tt", JETS, "event"),
    "tt̄, response": ("gg_tt", SMEARED, "event"),
    "tt̄, recoil": ("gg_tt", MEASURED, "recoil"),
    "tt̄, balance": ("gg_tt", JETS, "balance"),
    "tt̄g 2ℓ, exact": ("ttg_2l", JETS, "event"),
    "tt̄g 2ℓ, response": ("ttg_2l", SMEARED, "event"),
    "tt̄g 2ℓ, recoil": ("ttg_2l", MEASURED, "recoil"),
    "tt̄g 2ℓ, balance": ("ttg_2l", JETS, "balance"),
    "tWb 2ℓ, exact": ("twb_2l", JETS, "event"),
    "tWb 2ℓ, recoil": ("twb_2l", SMEARED, "recoil"),
    "tWb 2ℓ, balance": ("twb_2l", JETS, "balance"),
    "WWj, exact": ("wwj", JETS, "event"),
    "WWj, recoil": ("wwj", MEASURED, "recoil"),
}


SOME = [
    name
    if name in ("WH, response", "tt̄, exact", "tt̄, recoil", "tt̄g 2ℓ, exact", "tWb 2ℓ, recoil")
    else pytest.param(name, marks=pytest.mark.long)
    for name in MAPS
]


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def responses(entries: dict[str, Any], reaction: str) -> dict[str, Any]:
    kinds = {*any_process.process(any_process.REACTIONS[reaction]).classes, "met", "recoil"}
    return {kind: entry for kind, entry in entries.items() if kind in kinds}


@cache
def prepared(name: str) -> tuple[Any, Any, Any, Any]:
    """The hypothesis, its composition, what events share, and two events with their fit."""
    reaction, entries, met = MAPS[name]
    alpha = any_process.hypothesis(any_process.REACTIONS[reaction], responses(entries, reaction), met)
    found, truth = any_process.composition(alpha), any_process.truth(alpha, 2)
    shared = shared_by_events(alpha)
    events = prepare(
        alpha, any_process.plan(alpha), shared, truth.recoil if met == "recoil" else truth.measured
    )
    return alpha, found, shared, events.choosing(fit=fits(found, shared, events))


def points_of(found: Any, shared: Any, event: Any, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of points u `[points, d]`: momenta `[legs, 4, points, branches]` and densities `[points, branches]`."""
    one = jax.tree.map(lambda leaf: leaf[None], event)
    parcel = None
    for step in steps(found):
        parcel = proposed(step, shared, one, u[None], parcel)
    assert isinstance(parcel, Proposal)
    density = np.asarray(parcel.density)[0]
    legs = [[np.broadcast_to(np.asarray(x)[0], density.shape) for x in leg] for leg in parcel.legs]
    return np.asarray(legs), density


def mixture_over_shape(found: Any, shared: Any, values: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """1/density of the single mass of a neutrino, over ds/du of the shape that a point was drawn from.

    **Arguments:** `values`, momenta; `slopes`, their derivatives in the mass's number.
    """
    neutrino = found.neutrino
    w = found.tree.resonances[neutrino.masses[0]]
    line = Above(shape_of(shared.parameters, w.mass, w.width), _BROAD, _OUT_OF_REACH)
    metric = np.array([1, -1, -1, -1])[:, None, None]
    lepton, escaped = values[neutrino.lepton], values[neutrino.leg]
    transverse = np.hypot(*lepton[1:3]) * np.hypot(*escaped[1:3]) - (lepton[1:3] * escaped[1:3]).sum(axis=0)
    s, slope = (2 * (metric * lepton * p).sum(axis=0) for p in (escaped, slopes[neutrino.leg]))
    density = jax.jit(jax.vmap(jax.vmap(line.density)))(s - 2 * transverse, 2 * transverse)
    return 1 / np.asarray(density) / np.abs(slope)


@jax.jit
def of_response(response: Response, rec: Any, mass: Any, energy: np.ndarray) -> tuple[Any, ...]:
    """The support of a measured energy, and the density of that at true ones."""
    return *response.support(rec, mass), response.density(rec, energy)


@jax.jit
def of_missing(transverse: Any, aim: Any, source: Any, activity: Any) -> jax.Array:
    return transverse.density(aim, source, activity)


def size_of(momentum: np.ndarray) -> np.ndarray:
    """|p|."""
    return np.sqrt((momentum[1:] ** 2).sum(axis=0))


def derivatives(found: Any, shared: Any, event: Any, u: np.ndarray, h: float = 1e-6) -> list[np.ndarray]:
    """Of momenta in each number, by finite differences."""
    ends = [
        (points_of(found, shared, event, u + h * unit)[0], points_of(found, shared, event, u - h * unit)[0])
        for unit in np.eye(found.dimensions)
    ]
    return [(after - before) / (2 * h) for after, before in ends]


@pytest.mark.parametrize("name", SOME)
def test_density_is_that_of_the_momenta(name):
    """Π_vis [|p|² sinθ d|p|/(2E (2π)³) T] d³ν/(2E (2π)³) T(missing)/dⁿu, by finite differences."""
    alpha, found, shared, events = prepared(name)
    event, tree, d = jax.tree.map(lambda leaf: leaf[0], events), found.tree, found.dimensions
    u = np.random.default_rng(3).uniform(0.02, 0.98, (POINTS, d))
    values, density = points_of(found, shared, event, u)
    slopes = derivatives(found, shared, event, u)
    smeared = [i for i in tree.visible if alpha.detector.dimensions([tree.legs[i].kind])]
    columns = []
    for slope in slopes:
        parts = [(values[i, 1:] * slope[i, 1:]).sum(axis=0) / size_of(values[i]) for i in smeared]
        *free, last = tree.invisible or (None,)
        parts += [part for i in free for part in slope[i, 1:]]
        if last is not None:
            parts += list(slope[last, 3:] if found.missing in ("exact", "balance") else slope[last, 1:])
        columns.append(np.stack(parts, axis=-1))
    expected = np.abs(np.linalg.det(np.stack(columns, axis=-1)))
    if found.neutrino is not None and len(found.neutrino.masses) == 1:
        place = found.mass_variable(found.neutrino.masses[0])
        expected = expected * mixture_over_shape(found, shared, values, slopes[place])
    for place, i in enumerate(tree.visible):
        energy, size = values[i, 0], size_of(values[i])
        sine = event.legs.sine[place]
        response = alpha.detector.by_class[tree.legs[i].kind].at(0.0)
        rec = event.legs.energy[place]
        if i in smeared:
            low, high, seen = of_response(response, rec, event.legs.mass[place], energy)
            inside = (energy > low) & (energy < high)
            expected = expected * size**2 * sine / (2 * energy) * np.where(inside, seen, 0)
        else:
            np.testing.assert_allclose(energy, rec)
            expected = expected * size * sine / 2
        expected = expected / (2 * np.pi) ** 3
    total = values[:, 1:3].sum(axis=0)  # of all legs, [2, points, branches]
    aim = np.asarray(event.missing)
    of_neutrinos = values[list(tree.invisible), 1:3].sum(axis=0)
    for i in tree.invisible:
        expected = expected / (2 * values[i, 0] * (2 * np.pi) ** 3)
        escaped = values[i][:, density > 0]
        np.testing.assert_allclose(escaped[0] ** 2, (escaped[1:] ** 2).sum(axis=0), rtol=1e-6)
    if found.missing == "exact":
        np.testing.assert_allclose((of_neutrinos - aim[:, None, None])[:, density > 0], 0, atol=1e-6)
    if found.missing == "balance":
        np.testing.assert_allclose(total[:, density > 0], 0, atol=1e-6)
    if found.missing in ("response", "recoil"):
        source = total if found.missing == "recoil" else of_neutrinos
        noise = of_missing(alpha.detector.transverse, tuple(aim), tuple(source), event.activity)
        expected = expected * np.asarray(noise)
    there = density > 0
    # not all ellipses cross
    assert there.mean() > (0.02 if found.crossed else 0.4)
    ratio = density[there] / expected[there]
    # tables have kinks, which a difference may straddle
    assert np.median(np.abs(ratio - 1)) < 1e-6
    assert np.quantile(np.abs(ratio - 1), 0.9) < 1e-3


@pytest.mark.parametrize("name", SOME)
def test_masses_are_those_drawn(name):
    """A resonance with a table has a mass near its pole more often than not."""
    _, found, shared, events = prepared(name)
    event = jax.tree.map(lambda leaf: leaf[1], events)
    u = np.random.default_rng(4).uniform(0, 1, (POINTS, found.dimensions))
    values, density = points_of(found, shared, event, u)
    for place in tabulated(found):
        each = found.tree.resonances[place]
        total = values[[leg.number for leg in each.legs]].sum(axis=0)
        mass = np.sqrt(np.maximum(total[0] ** 2 - (total[1:] ** 2).sum(axis=0), 0))[density > 0]
        shape = shape_of(shared.parameters, each.mass, each.width)
        near = np.abs(mass - np.asarray(shape.mass)) < 5 * np.asarray(shape.width)
        assert near.mean() > 0.5


def test_a_top_that_its_lepton_and_quark_rule_out_is_drawn_off_its_pole():
    """Both have a mass of 400 GeV: that of the top follows, and points have a solution."""
    _, found, shared, events = prepared("tt̄, recoil")
    neutrino, legs = found.neutrino, events.legs
    lepton, quark = (found.tree.visible.index(i) for i in (neutrino.lepton, neutrino.others[0]))
    cosine = sum(part[:, lepton] * part[:, quark] for part in (legs.x, legs.y, legs.z))
    energy = np.asarray(legs.energy).copy()
    energy[:, quark] = 400**2 / (2 * energy[:, lepton] * (1 - cosine))
    more = (energy - legs.energy)[:, quark]
    missing = events.missing + np.stack([more * legs.x[:, quark], more * legs.y[:, quark]], axis=1)
    hard = events._replace(legs=legs._replace(energy=energy), missing=missing)
    fit = fits(found, shared, hard)
    np.testing.assert_allclose(fit.shares.sum(axis=-1), 1, rtol=1e-9)
    u = np.random.default_rng(6).uniform(0, 1, (POINTS, found.dimensions))
    for row in range(2):
        there = []
        for each in (fit, events.choices.fit):
            event = jax.tree.map(lambda leaf, i=row: leaf[i], hard.choosing(fit=each))
            there.append((points_of(found, shared, event, u)[1] > 0).mean())
        assert there[0] > 0.5 > there[1]


def counting(found: Any, shared: Any, hard: Any) -> np.ndarray:
    """Of each row how many of 2,048 points count, (Σw)²/Σw², by all but |M|²."""
    hard = hard.choosing(fit=fits(found, shared, hard))
    u = np.random.default_rng(6).uniform(0, 1, (2048, found.dimensions))
    counts = []
    for row in range(hard.size):
        momenta, density = points_of(found, shared, jax.tree.map(lambda leaf, i=row: leaf[i], hard), u)
        for each in found.tree.resonances:
            s = np.square(momenta[[leg.number for leg in each.legs]].sum(axis=0))
            s = s[0] - s[1:].sum(axis=0)
            shape = shape_of(shared.parameters, each.mass, each.width)
            mass, width = np.asarray(shape.mass), np.asarray(shape.width)
            density = density / ((s - mass**2) ** 2 + (mass * width) ** 2)
        w = density.sum(axis=1)
        counts.append(w.sum() ** 2 / (w**2).sum())
    return np.array(counts)


def scaled(events: Any, legs: list[int], factor: float) -> Any:
    """Events with other energies of some legs, and missing p_T that leaves the recoil as it is."""
    energy = np.asarray(events.legs.energy).copy()
    energy[:, legs] *= factor
    more = np.asarray(energy - events.legs.energy)
    missing = [(more * part).sum(axis=1) for part in (events.legs.x, events.legs.y)]
    legs_there = events.legs._replace(energy=energy)
    return events._replace(legs=legs_there, missing=events.missing + np.stack(missing, axis=1))


@pytest.mark.parametrize(("name", "least"), [("tt̄, recoil", 80), ("tWb 2ℓ, recoil", 8)])
def test_a_top_far_off_its_pole_has_points_where_its_w_and_missing_pt_say(name, least):
    """Lepton and quark have much more energy than a top gives them: many points count."""
    _, found, shared, events = prepared(name)
    (neutrino,) = looked_at(found)
    moved = [found.tree.visible.index(i) for i in (neutrino.lepton, neutrino.others[0])]
    counts = [counting(found, shared, scaled(events, moved, factor)) for factor in (3.0, 6.0)]
    assert np.exp(np.log(counts).mean()) > least


def test_a_tense_chain_of_masses_has_points_where_it_was_measured():
    """W → jj is measured 3 standard deviations below its pole; there the b quark leaves its top no place.

    Of a tt̄H event, whose tt̄ weight one of four seeds had a third of: 14 of 200,000 points counted.
    """
    _, found, shared, events = prepared("tt̄, recoil")
    energy = np.array([180.453, 224.108, 261.018, 365.909, 186.602])
    eta = np.array([1.44410, 2.19044, 1.36432, 1.86086, 0.96986])
    phi = np.array([0.65300, -0.76955, -3.08448, 3.02784, -2.20857])
    sine = 1 / np.cosh(eta)
    directions = {"x": sine * np.cos(phi), "y": sine * np.sin(phi), "z": np.tanh(eta)}
    measured = {"energy": energy, "eta": eta, "phi": phi, "sine": sine, **directions}
    legs = events.legs._replace(**{name: np.stack([each, each]) for name, each in measured.items()})
    hard = events._replace(legs=legs, missing=np.tile([51.129, -93.165], (2, 1)))
    assert counting(found, shared, hard).min() > 40


WIDE = {"WW": 9.0, "WT": 18.0, "WH": 14.0}
# reaction, responses, met, events
AGAINST_BRUTE_FORCE: dict[str, tuple[str, dict[str, Any], str, int]] = {
    "ZH": ("zh", JETS, "recoil", 6),
    "WH, exact": ("wh", JETS, "event", 6),
    "WH, recoil": ("wh", SMEARED, "recoil", 6),
    "WH, tails": ("wh", TAILED, "event", 6),
    "tt̄, exact": ("gg_tt", JETS, "event", 3),
    "tt̄, response": ("gg_tt", SMEARED, "event", 3),
    "tt̄, recoil": ("gg_tt", SMEARED, "recoil", 3),
    "tWb 2ℓ, exact": ("twb_2l", JETS, "event", 3),
    "tWb 2ℓ, recoil": ("twb_2l", SMEARED, "recoil", 3),
    "tt̄g 2ℓ, exact": ("ttg_2l", JETS, "event", 3),
    "WWj, recoil": ("wwj", SMEARED, "recoil", 3),
    "Hjj 4ℓ, recoil": ("hjj", SMEARED | {"lepton": 0.12}, "recoil", 3),
}


@pytest.mark.parametrize(
    "name",
    [name if name == "ZH" else pytest.param(name, marks=pytest.mark.long) for name in AGAINST_BRUTE_FORCE],
)
def test_weights_are_those_of_all_energies_drawn(name):
    """Wide resonances, just narrow enough to be mapped: two maps that have nothing in common but |M|²."""
    reaction, entries, met, count = AGAINST_BRUTE_FORCE[name]
    entries = responses(entries | (_NOISE if met == "recoil" else {}), reaction)
    alpha = any_process.hypothesis(any_process.REACTIONS[reaction], entries, met, **WIDE)
    truth = any_process.truth(alpha, count, seed=5)
    measured = truth.recoil if met == "recoil" else truth.measured
    composed = any_process.estimate(alpha, any_process.plan(alpha), measured, 0.003)
    drawn = any_process.estimate(alpha, any_process.all_drawn(alpha), measured, 0.005)
    value, brute = composed.value[:, 0], drawn.value[:, 0]
    assert (value > 0).all()
    error = np.hypot(composed.error[:, 0] / value, drawn.error[:, 0] / brute)
    # brute force has hardly any points of two neutrinos that count
    assert np.median(error) < (0.04 if "2ℓ" in name or "WWj" in name else 0.01)
    pulls = (value / brute - 1) / error
    assert np.abs(pulls).max() < 4
    assert abs(np.average(value / brute - 1, weights=error**-2)) < 4 * (error**-2).sum() ** -0.5


@pytest.mark.long
@pytest.mark.parametrize("met", ["event", "recoil"])
def test_two_neutrinos_have_the_same_weight_by_another_map(met: str):
    """The other one of tt̄H is first; where missing p_T is exact, both are where their ellipses cross."""
    entries = JETS if met == "event" else SMEARED
    alpha = any_process.hypothesis(any_process.REACTIONS["tth_2l"], responses(entries, "tth_2l"), met)
    found, truth = any_process.composition(alpha), any_process.truth(alpha, 6, seed=7)
    if met == "event":
        balanced = replace(alpha, met="balance")
        other = replace(any_process.composition(balanced), missing="exact")
        assert other.crossed
    else:
        other = replace(found, first=found.neutrino, neutrino=found.first)
    measured = truth.recoil if met == "recoil" else truth.measured
    integrand, trial = parts_of(other)
    one = any_process.plan(alpha)
    two = replace(one, dimensions=other.dimensions, integrand=integrand, trials=(trial,))
    results = [any_process.estimate(alpha, each, measured, 0.01) for each in (one, two)]
    value, again = (each.value[:, 0] for each in results)
    error = np.hypot(*(each.error[:, 0] for each in results))
    assert (value > 0).all()
    assert np.median(error / value) < 0.03
    assert np.abs((value - again) / error).max() < 4


@pytest.mark.parametrize(
    ("met", "sigma"), [("recoil", 6.0), pytest.param("event", 10.0, marks=pytest.mark.long)]
)
def test_a_neutrinos_pt_may_come_before_energies_or_after(met: str, sigma: float):
    """From a table of the event, or about what energies leave: two orders, one weight."""
    entries = MEASURED | {"met": {"c": sigma}, "recoil": {"c": sigma}}
    alpha = any_process.hypothesis(any_process.REACTIONS["wh"], responses(entries, "wh"), met)
    truth = any_process.truth(alpha, 12, seed=3, noise=sigma)
    measured, plan = truth.recoil if met == "recoil" else truth.measured, any_process.plan(alpha)
    results = []
    for first in (False, True):
        integrand, trial = parts_of(replace(any_process.composition(alpha), transverse=first))
        either = replace(plan, integrand=integrand, trials=(trial,))
        results.append(any_process.estimate(alpha, either, measured, 0.01))
    value, again = (each.value[:, 0] for each in results)
    error = np.hypot(*(each.error[:, 0] for each in results))
    assert (value > 0).all()
    assert np.median(error / value) < 0.02
    assert np.abs((value - again) / error).max() < 4


@pytest.mark.long
def test_light_jets_may_come_in_either_order():
    """Both are averaged over at each point, whichever one is solved for."""
    alpha = any_process.hypothesis(any_process.REACTIONS["gg_tt"], SMEARED, "recoil")
    measured = any_process.truth(alpha, 4).recoil
    turned = [0, 1, 3, 2, 4]
    other = measured._replace(
        **{name: getattr(measured, name)[:, turned] for name in ("energy", "eta", "phi", "mass")}
    )
    one, two = (
        any_process.estimate(alpha, any_process.plan(alpha), each, 0.01) for each in (measured, other)
    )
    pulls = (two.value - one.value)[:, 0] / np.hypot(one.error, two.error)[:, 0]
    assert np.abs(pulls).max() < 4
