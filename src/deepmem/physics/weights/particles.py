"""What an event has beside jets, leptons, photons and taus, and which legs of a final state these are.

Leptons and taus are told apart by charge, leptons by flavour too where a file says it. Of equal ones all
orders count, unless |M|² is symmetric in them. An electron or a muon may come of a tau: any flavour does. So
beside leptons of the reaction it may be that all of an event's fit in several ways, and all of these count.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations, product
from math import factorial, prod
from typing import NamedTuple

import numpy as np

from deepmem.physics.detector.taus import LEPTONIC
from deepmem.physics.phasespace.trees import Leg, decay_tree
from deepmem.physics.processes.base import JETS, Process

PREFIX = {"lepton": "lep", "taulepton": "lep", "tau": "tau", "photon": "pho"}
"""What columns call the particle that is a leg of a class."""


_OF_ABSENT = {"PT": 1.0, "Eta": 0.0, "Phi": 0.0, "Charge": 1.0, "M": 0.0, "PDG": 0.0}
"""What columns of a particle that is absent hold, with which nothing is wrong."""


class Particles(NamedTuple):
    """Of events, in the order of their columns."""

    kinds: tuple[str, ...]
    """The prefix of each one's columns, `[particles]`."""
    values: np.ndarray
    """p_T, η, φ, mass `[events, particles, 4]`, GeV; a mass that is not measured is 0."""
    charge: np.ndarray
    """`[events, particles]`, 0 of a photon."""
    flavour: np.ndarray
    """|PDG code| `[events, particles]`, NaN where it is not known."""
    there: np.ndarray
    """`[events, particles]`."""

    def at(self, rows: np.ndarray) -> Particles:
        """Those of some of the events."""
        return self._replace(**{name: getattr(self, name)[rows] for name in self._fields[1:]})


def particles_of(at: Mapping[str, np.ndarray], count: int) -> Particles:
    """**Arguments:** `at`, columns `[events]` by name; `count`, the number of events."""
    names = [
        f"{prefix}{number}"
        for prefix in dict.fromkeys(PREFIX.values())
        for number in range(1, len(at) + 1)
        if f"{prefix}{number}_PT" in at
    ]
    usual = {"M": 0.0, "Charge": 0.0, "PDG": np.nan}

    def column(suffix: str) -> np.ndarray:
        found = [at.get(f"{name}_{suffix}", np.full(count, usual.get(suffix))) for name in names]
        return np.stack(found, axis=1) if found else np.zeros((count, 0))

    values = np.stack([column(suffix) for suffix in ("PT", "Eta", "Phi", "M")], axis=-1)
    code = np.abs(column("PDG"))
    return Particles(
        tuple(name.rstrip("0123456789") for name in names),
        values,
        column("Charge"),
        np.where(code == 0, np.nan, code),
        np.stack([at.get(f"{name}_there", np.isfinite(at[f"{name}_PT"])) for name in names], axis=1)
        if names
        else np.zeros((count, 0), dtype=bool),
    )


def leptons_and_taus(at: dict[str, np.ndarray]) -> np.ndarray:
    """How many of them each event has; those that are absent get values that nothing is wrong with.

    One is absent where its p_T, η and φ are NaN.
    """
    count = 0
    for name in [each.removesuffix("_PT") for each in at if re.fullmatch(r"(lep|tau)\d+_PT", each)]:
        absent = np.all([np.isnan(at[f"{name}_{suffix}"]) for suffix in ("PT", "Eta", "Phi")], axis=0)
        for suffix, usual in _OF_ABSENT.items():
            if (values := at.get(f"{name}_{suffix}")) is not None:
                at[f"{name}_{suffix}"] = np.where(absent, usual, values)
        at[f"{name}_there"] = ~absent
        count = count + ~absent
    return np.asarray(count)


def orders_of_legs(
    process: Process, codes: Sequence[int], particles: Particles
) -> tuple[np.ndarray, np.ndarray]:
    """Which events have the leptons of a final state; and which particle each leg is, in all orders.

    **Arguments:** `codes` of the legs that are leptons, ±15 of one that comes of a tau. **Returns** bool
    `[events]`, and places among the particles `[events, orders, legs]`, legs without jets; −1 in what is
    beyond the orders of an event, for of leptons beside those of taus all count that its flavours allow.
    """
    legs = _legs(process, codes)
    count = len(particles.values)
    if not legs:
        return np.ones(count, dtype=bool), np.zeros((count, 1, 0), dtype=int)
    every, alike = _orders(process, legs, particles.kinds), _alike(process, legs)
    if not len(every):
        return np.zeros(count, dtype=bool), np.zeros((count, alike, len(legs)), dtype=int)
    fits = np.stack([_fits(kind, code, particles) for kind, code in legs], axis=1)
    possible = np.stack([fits[:, range(len(legs)), order].all(axis=1) for order in every], axis=1)
    # the first ones that fit: as many for all events that have one
    wanted = np.full(count, alike)
    if {"lepton", LEPTONIC} <= {kind for kind, _ in legs}:
        wanted = possible.sum(axis=1)
    first = np.argsort(~possible, axis=1, kind="stable")[:, : int(wanted.max(initial=1))]
    beyond = np.arange(first.shape[1]) >= wanted[:, None]
    return np.asarray(possible.any(axis=1)), np.where(beyond[..., None], -1, every[first])


def _legs(process: Process, codes: Sequence[int]) -> list[tuple[str, int]]:
    """Class and PDG code of the legs that are no jets."""
    lepton = iter(codes)
    return [
        (kind, next(lepton) if PREFIX[kind] == "lep" else code)
        for code, kind in zip(process.visible, process.visible_classes, strict=True)
        if kind not in JETS
    ]


def _fits(kind: str, code: int, particles: Particles) -> np.ndarray:
    """Which particles may be a leg `[events, particles]`."""
    alike = particles.there & np.array([each == PREFIX[kind] for each in particles.kinds])
    if kind == "photon":
        return alike
    alike = alike & (np.sign(particles.charge) == -np.sign(code))
    if kind == "lepton":
        alike &= np.isnan(particles.flavour) | (particles.flavour == abs(code))
    return alike


def _orders(process: Process, legs: Sequence[tuple[str, int]], kinds: Sequence[str]) -> np.ndarray:
    """Places among the particles by leg `[orders, legs]`, of the kinds of the legs.

    Photons of one mother, in which |M|² is symmetric, keep the order of their columns.
    """
    by_prefix: dict[str, list[int]] = {}
    for leg, (kind, _) in enumerate(legs):
        by_prefix.setdefault(PREFIX[kind], []).append(leg)
    choices = []
    for prefix, places in by_prefix.items():
        own = [i for i, each in enumerate(kinds) if each == prefix]
        ways = list(permutations(own, len(places)))
        if prefix == "pho" and _of_one_mother(process, "photon"):
            ways = [way for way in ways if list(way) == sorted(way)]
        choices.append(ways)
    found = []
    for choice in product(*choices):
        order = [0] * len(legs)
        for places, way in zip(by_prefix.values(), choice, strict=True):
            for place, particle in zip(places, way, strict=True):
                order[place] = particle
        found.append(order)
    return np.array(found, dtype=int).reshape(len(found), len(legs))


def _alike(process: Process, legs: Sequence[tuple[str, int]]) -> int:
    """How many orders an event has: those of equal legs in which |M|² is not symmetric."""
    tree = decay_tree(process)
    charged = 1
    if tree is not None and tree.resonances:
        charged = _orders_of_equal([leg for leg in legs if leg[0] != "photon"])
    photons = (
        1
        if _of_one_mother(process, "photon")
        else _orders_of_equal([leg for leg in legs if leg[0] == "photon"])
    )
    return charged * photons


def _orders_of_equal(legs: Sequence[tuple[str, int]]) -> int:
    return prod(factorial(number) for number in Counter(legs).values())


def _of_one_mother(process: Process, kind: str) -> bool:
    """Whether all legs of a class come directly of one node of the tree, so that |M|² is symmetric."""
    tree = decay_tree(process)
    if tree is None:
        return True
    nodes = [tree.children, *(each.children for each in tree.resonances)]
    of_kind = [any(isinstance(child, Leg) and child.kind == kind for child in children) for children in nodes]
    return sum(of_kind) <= 1
