"""All ways in which jets are legs: who is which, what tags say of it, and what is the same by symmetry.

Of n jets, k are assigned to the k legs in n!/(n − k)! ways. Legs of one mother that only |M|² tells apart
share their points: of all orders of such a group one stands for all, with increasing numbers of jets.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations, product
from math import factorial, perm, prod

import numpy as np

Group = tuple[int, ...]
"""Places of legs that are exchanged."""


@lru_cache(maxsize=1 << 12)
def assignments(legs: int, jets: int, groups: tuple[Group, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Jets by leg `[assignments, legs]`, one of each class by symmetry; and the place of each among all.

    **Arguments:** the numbers of `legs` and of `jets`; `groups` of legs, by their places.
    """
    every = np.array(list(permutations(range(jets), legs)), dtype=int).reshape(number(legs, jets), legs)
    first = np.ones(len(every), dtype=bool)
    for group in groups:
        first &= (np.diff(every[:, list(group)], axis=1) > 0).all(axis=1)
    return every[first], np.flatnonzero(first)


def number(legs: int, jets: int) -> int:
    """N = n!/(n − k)!, of all assignments."""
    return perm(jets, legs)


def multiplicity(groups: Sequence[Group]) -> int:
    """How many assignments one stands for."""
    return prod(factorial(len(group)) for group in groups)


def best_tagged(every: np.ndarray, tags: Sequence[int] | np.ndarray, b_legs: Sequence[int]) -> np.ndarray:
    """Which assignments put as many tagged jets on legs of b quarks as possible, bool `[assignments]`."""
    there = np.asarray(tags, dtype=int)[every[:, list(b_legs)]].sum(axis=1)
    return there == there.max(initial=0)


def orders_of(groups: Sequence[Group], legs: int) -> tuple[tuple[int, ...], ...]:
    """All orders of legs that exchange those of each group, the given one first."""
    found = []
    for choice in product(*(permutations(group) for group in groups)):
        order = list(range(legs))
        for group, chosen in zip(groups, choice, strict=True):
            for place, leg in zip(group, chosen, strict=True):
                order[place] = leg
        found.append(tuple(order))
    return tuple(found)


def tag_factors(
    chances: np.ndarray,
    beside: np.ndarray,
    flavours: Sequence[Sequence[int]],
    exchanged: Sequence[Sequence[int]],
    even: Sequence[Sequence[int]],
) -> np.ndarray:
    """P(tags | assignment, flavours) `[rows, orders, channels]`, summed over orders that |M|² does not see.

    **Arguments:** `chances`, P(tag | flavour) of the jets by leg, 1 of a lost leg `[rows, legs, flavours]`;
    `beside`, the same of all other jets together `[rows]`; `flavours` of each leg, by their places, of each
    channel; `exchanged` and `even`, orders of legs.
    """
    found = np.zeros((len(chances), len(exchanged), len(flavours)))
    for i, order in enumerate(exchanged):
        for other in even:
            # both move different legs
            moved = [order[leg] if order[leg] != leg else other[leg] for leg in range(chances.shape[1])]
            for k, kinds in enumerate(flavours):
                of_legs = [chances[:, jet, kind] for jet, kind in zip(moved, kinds, strict=True)]
                found[:, i, k] += np.prod(of_legs, axis=0) * beside
    return found
