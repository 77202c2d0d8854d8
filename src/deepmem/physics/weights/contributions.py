"""What an event's weight is the sum of: a row for each final state and each assignment of objects to legs.

    W = (1/N) Σ_a Σ_f P(tags | a, f) W_{a,f}

Leptons choose the final states f by charge and flavour. Jets are assigned to legs in all ways a that tags
allow. They are taken in the order of falling p_T, whatever the file's, so that no weight depends on it. Where
a jet is lost it is an object beside the jets, without a momentum and a tag, and N is that of the jets alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from deepmem import inputs
from deepmem.data.table import as_table, has_column
from deepmem.inputs import Reason
from deepmem.physics.detector.taus import HADRONIC, TAUS, seen_mass, tau_mass
from deepmem.physics.phasespace.composition import Composition
from deepmem.physics.phasespace.trees import decay_tree, has_composed_map
from deepmem.physics.processes.base import JET_SUFFIXES, JETS, jet_columns
from deepmem.physics.weights.assignments import (
    Group,
    assignments,
    best_tagged,
    multiplicity,
    number,
    orders_of,
    tag_factors,
)
from deepmem.physics.weights.composed import composition_of
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.particles import Particles, leptons_and_taus, orders_of_legs, particles_of
from deepmem.physics.weights.settings import FLAVOURS
from deepmem.physics.weights.visible import Measured, with_missing

_SCALAR = 1
_MORE = 2
"""Jets beyond the legs among which legs are chosen."""
_SUFFIXES = JET_SUFFIXES
_ANY_ENERGY = 50.0
"""GeV, of a leg that is lost, where an energy is to be a number: nothing depends on it."""


class Contributions(NamedTuple):
    """The rows of one final state, those of an event one after the other."""

    alpha: Hypothesis
    """Of this final state."""
    event: np.ndarray
    """The place of each row's event among all."""
    part: np.ndarray
    """What tells the rows of an event apart, whatever other rows there are."""
    measured: Measured
    """`[rows, legs]`."""
    share: np.ndarray
    """What a row's integral is multiplied by `[rows]`, one number for all rows of an event."""
    jets: np.ndarray
    """The jet that each leg has `[rows, jet legs]`, by its place among an event's columns from 0; −1 of the
    lost leg."""
    tags: np.ndarray | None
    """P(tags | assignment, flavours) of each order and channel `[rows, orders · channels]`; None: 1."""
    particles: np.ndarray
    """What each other leg is of the leptons, photons and taus `[rows, legs but jets]`, by its place."""
    lost: int | None = None
    """The number of the outgoing leg that no jet is seen of, in all of its rows."""

    def at(self, rows: np.ndarray) -> Contributions:
        """Some of the rows."""
        return self._replace(
            event=self.event[rows],
            part=self.part[rows],
            measured=self.measured.rows(rows),
            share=self.share[rows],
            jets=self.jets[rows],
            tags=None if self.tags is None else self.tags[rows],
            particles=self.particles[rows],
        )


class _Jets(NamedTuple):
    """The jets of events that are considered, `[events, jets]`, in their order."""

    values: np.ndarray
    """p_T, η, φ, mass `[events, jets, 4]`."""
    tags: np.ndarray | None
    tagging: np.ndarray
    """The probability of a tag by flavour `[events, jets, flavours]`; 0 where none is given."""
    place: np.ndarray
    """Among the columns."""
    there: np.ndarray
    """How many `[events]`."""

    def absent(self, rows: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Which legs have no jet `[rows, legs]`, of events at `rows` and the jets of the legs."""
        return chosen == self.there[rows][:, None]


class Symmetry(NamedTuple):
    """Legs that assignments need not tell apart, by their places among the legs that jets are assigned to."""

    exchanged: tuple[Group, ...]
    """|M|² is averaged over their orders at each point."""
    even: tuple[Group, ...]
    """|M|² is the same in all of their orders."""


def symmetry_of(alpha: Hypothesis) -> Symmetry:
    """Of a hypothesis of one final state."""
    process = alpha.process
    tree = decay_tree(process)
    if tree is None or not process.jets:
        return Symmetry((), ())
    numbers = [tree.visible[place] for place in process.jets]
    composition = composition_of(alpha) if has_composed_map(process) else None
    exchanged: list[Group] = []
    if isinstance(composition, Composition):
        exchanged = [tuple(map(numbers.index, group)) for group in composition.exchanges]
    even = []
    for each in tree.resonances:
        legs = [leg.number for leg in each.legs]
        alike = len({leg.kind for leg in each.legs}) == 1 and set(legs) <= set(numbers)
        if each.spin == _SCALAR and len(legs) == 2 and alike:
            even.append(tuple(map(numbers.index, legs)))
    return Symmetry(tuple(exchanged), tuple(even))


def lost_legs(alpha: Hypothesis) -> list[int]:
    """The outgoing legs, of a hypothesis of one final state, that rows of lost jets are of.

    Of legs that are exchanged the last one stands for all.
    """
    process, symmetry = alpha.process, symmetry_of(alpha)
    numbers = [i for i, kind in enumerate(process.classes) if kind in JETS]
    stand_in = {leg: group[-1] for groups in symmetry for group in groups for leg in group}
    return [number for leg, number in enumerate(numbers) if stand_in.get(leg, leg) == leg]


def contributions(alpha: Hypothesis, events: Any) -> tuple[list[Contributions], np.ndarray]:
    """The rows of events, by final state and by what is lost; and why an event has none.

    That is an `inputs.Reason` `[events]`.

    **Raises** `UsageError` where a column is missing.
    """
    names = alpha.columns_of(partial(has_column, events))
    table = as_table(events, names)
    process, count = alpha.process, len(table)
    at = inputs.with_unknown_codes(dict(zip(names, table.T, strict=True)), alpha.unsure_codes)
    there, legs = _without_absent(alpha, at), process.taus + len(process.leptons)
    taus = leptons_and_taus(at) if process.taus else np.full(count, legs)
    bad = inputs.implausible(at)
    bad[Reason.LACKING_JET] = there < len(process.jets) - (alpha.lost is not None)
    bad[Reason.NO_TAU], bad[Reason.MORE_TAUS] = taus < legs, taus > legs
    jets = _jets(alpha, at, count)
    if jets.tags is not None:
        bad[Reason.TAG] = np.any(~np.isin(jets.tags, (0.0, 1.0)), axis=1)
        bad[Reason.TAG] |= np.any((jets.tagging < 0) | (jets.tagging > 1), axis=(1, 2))
    variants = process.variants or ((process, (process.leptons,)),)
    others = particles_of(at, count)
    states = [(variant, codes) for variant, every in variants for codes in every]
    orders = [orders_of_legs(variant, codes, others) for variant, codes in states]
    lacking = np.all([~fits for fits, _ in orders], axis=0)
    signs = np.zeros(count, dtype=bool)
    if lacking.any():
        nameless = others._replace(flavour=np.full_like(others.flavour, np.nan)).at(lacking)
        signs[lacking] = np.all([~orders_of_legs(*each, nameless)[0] for each in states], axis=0)
    bad[Reason.SIGNS], bad[Reason.FLAVOURS] = signs, lacking & ~signs
    reason = inputs.first(bad, count)
    found, at_order = [], iter(orders)
    for variant, every in variants:
        own = alpha.of_variant(variant) if process.variants else alpha
        of_variant = [next(at_order) for _ in every]
        good, whole = reason == Reason.NONE, there >= len(process.jets)
        found.append(_rows(own, of_variant, at, (jets, others), good & whole))
        if alpha.lost is not None:
            found += _by_lost_leg(_rows(own, of_variant, at, (jets, others), good & ~whole, lost=True))
    for each in found:
        kinds = each.alpha.process.visible_classes
        known = alpha.detector.covers(kinds, each.measured.eta, each.measured.energy)
        known[:, list(process.jets)] |= each.jets < 0
        covered = known.all(axis=1)
        finite = np.isfinite(each.measured.energy).all(axis=1)
        reason[each.event[~covered]] = Reason.NO_RESPONSE
        reason[each.event[~finite]] = Reason.OVERFLOW
    return [each.at(np.flatnonzero(reason[each.event] == Reason.NONE)) for each in found], reason


def _by_lost_leg(rows: Contributions) -> list[Contributions]:
    """The rows of each leg that is lost."""
    numbers = [i for i, kind in enumerate(rows.alpha.process.classes) if kind in JETS]
    leg = np.argmin(rows.jets, axis=1)
    return [
        rows.at(np.flatnonzero(leg == k))._replace(lost=number)
        for k, number in enumerate(numbers)
        if (leg == k).any()
    ]


def _jet_names(at: Mapping[str, np.ndarray]) -> list[str]:
    return [name.removesuffix("_PT") for name in at if name.startswith("j") and name.endswith("_PT")]


def _without_absent(alpha: Hypothesis, at: dict[str, np.ndarray]) -> np.ndarray:
    """How many jets events have; jets that are absent get values that nothing is wrong with.

    A jet is absent where its p_T, η and φ are NaN; its p_T stays so.
    """
    names = _jet_names(at)
    if not names:
        return np.zeros(len(next(iter(at.values()))), dtype=int)
    there = []
    for name in names:
        absent = np.all([np.isnan(at[f"{name}_{suffix}"]) for suffix in _SUFFIXES[:3]], axis=0)
        there.append(~absent)
        number = int(name.removeprefix("j"))
        for column in (*jet_columns(number, number), *alpha.tag_columns(number)):
            if column in at:
                usual = 1.0 if column.endswith("_PT") else 0.0
                at[column] = np.where(absent, usual, at[column])
        at[f"{name}_there"] = ~absent
    return np.asarray(np.sum(there, axis=0))


def _jets(alpha: Hypothesis, at: dict[str, np.ndarray], count: int) -> _Jets:
    """The jets that are considered, in the order of falling p_T: as many as there are legs, or more.

    These are the leading ones, tagged ones first.
    """
    names, legs = _jet_names(at), len(alpha.process.jets)
    there = np.stack([at.pop(f"{name}_there") for name in names], axis=1) if names else np.zeros((count, 0))
    values = np.stack([np.stack([at[f"{n}_{s}"] for n in names], axis=1) for s in _SUFFIXES], axis=2) \
        if names else np.zeros((count, 0, 4))  # fmt: skip
    tags = np.stack([at[f"{n}_B"] for n in names], axis=1) if names and f"{names[0]}_B" in at else None
    tagging = _tagging(alpha, names, at, count)
    if alpha.lost is not None and len(names) < legs:
        # where events have no column for the jet that is lost
        there = np.pad(there, ((0, 0), (0, 1)))
        values, tagging = (np.pad(each, ((0, 0), (0, 1), (0, 0))) for each in (values, tagging))
        tags = None if tags is None else np.pad(tags, ((0, 0), (0, 1)))
    pt, eta, phi = (values[:, :, i] for i in range(3))
    falling = (phi, eta, -pt, ~there.astype(bool))
    tagged = np.zeros_like(pt) if tags is None else tags
    order = np.lexsort((*falling[:3], -tagged, falling[3]), axis=1)
    most = legs + (_MORE if alpha.extra_jets == "choose" else 0)
    chosen = order[:, :most]
    again = np.lexsort([np.take_along_axis(key, chosen, axis=1) for key in falling], axis=1)
    place = np.take_along_axis(chosen, again, axis=1)
    return _Jets(
        np.take_along_axis(values, place[..., None], axis=1),
        None if tags is None else np.take_along_axis(tags, place, axis=1),
        np.take_along_axis(tagging, place[..., None], axis=1),
        place,
        np.minimum(there.sum(axis=1).astype(int), place.shape[1]),
    )


def _tagging(alpha: Hypothesis, names: Sequence[str], at: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """The probability of a tag by flavour, of all jets `[events, jets, flavours]`."""
    found = np.zeros((count, len(names), len(FLAVOURS)))
    for k, (_, value) in enumerate(alpha.tagging):
        for jet, name in enumerate(names):
            found[:, jet, k] = at[f"{name}_{value}"] if isinstance(value, str) else value
    return found


def _rows(
    alpha: Hypothesis,
    orders: Sequence[tuple[np.ndarray, np.ndarray]],
    at: Mapping[str, np.ndarray],
    objects: tuple[_Jets, Particles],
    good: np.ndarray,
    lost: bool = False,
) -> Contributions:
    """The rows of one final state whose leptons may be several; `lost`, of events with a jet fewer than legs:
    the next jet, which is absent, stands for it."""
    jets = objects[0]
    symmetry = symmetry_of(alpha)
    groups, legs = (*symmetry.exchanged, *symmetry.even), len(alpha.process.jets)
    b_legs = [
        i for i, place in enumerate(alpha.process.jets) if alpha.process.visible_classes[place] == "bjet"
    ]
    hard = jets.tags is not None and not alpha.tagging and alpha.tags != "ignore"
    event, part, particle, leg, share = [], [], [], [], []
    for e in np.flatnonzero(good & np.any([fits for fits, _ in orders], axis=0)):
        considered = int(jets.there[e]) + lost
        ways_in_all = number(legs - lost, int(jets.there[e]))
        every, places = assignments(legs, considered, groups)
        if hard and b_legs:
            assert jets.tags is not None
            kept = best_tagged(every, jets.tags[e, :considered], b_legs)
            every, places = every[kept], places[kept]
        ways = [found[e][(found[e] >= 0).all(axis=1)] for fits, found in orders if fits[e]]
        alike = max(map(len, ways))
        for i, order in enumerate(np.concatenate(ways)):
            event.append(np.full(len(every), e))
            part.append(i * number(legs, considered) + places)
            particle.append(np.tile(order, (len(every), 1)))
            leg.append(every)
            share.append(np.full(len(every), multiplicity(groups) / ways_in_all / alike))
    joined = [
        np.concatenate(each) if each else np.zeros(shape, dtype=kind)
        for each, shape, kind in (
            (event, (0,), int), (part, (0,), int), (particle, (0, len(alpha.process.visible) - legs), int),
            (leg, (0, legs), int), (share, (0,), float),
        )
    ]  # fmt: skip
    rows, parts, particles, chosen, shares = joined
    return Contributions(
        alpha,
        rows,
        parts,
        _measured(alpha, at, objects, rows, (particles, chosen)),
        shares,
        np.where(jets.absent(rows, chosen), -1, np.take_along_axis(jets.place[rows], chosen, axis=1)),
        _tags(alpha, jets, rows, chosen, symmetry),
        particles,
    )


def _tags(
    alpha: Hypothesis, jets: _Jets, rows: np.ndarray, chosen: np.ndarray, symmetry: Symmetry
) -> np.ndarray | None:
    """P(tags | assignment, flavours), `[rows, orders · channels]`."""
    if not alpha.tagging or jets.tags is None:
        return None
    tagged = jets.tags[rows][..., None] == 1
    chances = np.where(tagged, jets.tagging[rows], 1 - jets.tagging[rows])
    there = np.arange(chances.shape[1]) < jets.there[rows][:, None]
    used = np.zeros_like(there)
    np.put_along_axis(used, chosen, True, axis=1)
    light = chances[..., FLAVOURS.index("light")]
    beside = np.where(there & ~used, light, 1.0).prod(axis=1)
    exchanged, even = (orders_of(groups, chosen.shape[1]) for groups in symmetry)
    of_legs = np.take_along_axis(chances, chosen[..., None], axis=1)
    of_legs = np.where(jets.absent(rows, chosen)[..., None], 1.0, of_legs)
    flavours = [[FLAVOURS.index(kind) for kind in kinds] for kinds in alpha.process.flavours]
    factors = tag_factors(of_legs, beside, flavours, exchanged, even)
    # orders are averaged over in a row's integral and its share has their number
    return factors.reshape(len(rows), np.prod(factors.shape[1:], dtype=int)) / (len(exchanged) * len(even))


def _measured(
    alpha: Hypothesis,
    at: Mapping[str, np.ndarray],
    objects: tuple[_Jets, Particles],
    rows: np.ndarray,
    orders: tuple[np.ndarray, np.ndarray],
) -> Measured:
    """What was measured, by leg `[rows, legs]`; `orders`, which particle and which jet each leg is."""
    (jets, others), (particles, chosen) = objects, orders
    process = alpha.process
    values = np.zeros((len(rows), len(process.visible), 4))
    mass = np.zeros(values.shape[:2])
    next_particle, next_jet = iter(range(particles.shape[1])), iter(range(chosen.shape[1]))
    for place, kind in enumerate(process.visible_classes):
        if kind not in JETS:
            values[:, place] = others.values[rows, particles[:, next(next_particle)]]
            if kind in TAUS:
                mass[:, place] = tau_mass(alpha.parameters)
                values[:, place, 3] = seen_mass(values[:, place, 3]) if kind == HADRONIC else 0.0
            continue
        values[:, place] = jets.values[rows, chosen[:, next(next_jet)]]
        values[:, place, 3] = np.abs(values[:, place, 3])  # one below 0 by rounding is that of a massless jet
        if kind == "bjet":
            bottom = float(np.ravel(alpha.parameters.MB)[0])
            mass[:, place] = values[:, place, 3] if alpha.b_mass == "jet" else bottom
            if alpha.b_mass == "jet":
                lost = jets.absent(rows, chosen)[:, process.jets.index(place)]
                mass[lost, place] = bottom
    pt, eta, phi, own = (values[:, :, i] for i in range(4))
    unseen = np.zeros(mass.shape, dtype=bool)
    unseen[:, list(process.jets)] = jets.absent(rows, chosen)
    with np.errstate(over="ignore", invalid="ignore"):
        energy = np.where(unseen, _ANY_ENERGY, np.hypot(pt * np.cosh(eta), own))
    pt = np.where(unseen, 0.0, pt)
    seen = own if process.taus else None
    return with_missing(alpha, at, Measured(energy, eta, phi, mass, own=seen), pt, rows)
