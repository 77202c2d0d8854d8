"""Which currents an amplitude needs: a pass with labels and coupling orders alone, before any number.

A current belongs to a subset of the legs of a level (a production, or a decay). It is made of two or more
currents whose subsets are disjoint; the last one, of all legs, must have a wanted label. Of those that fulfil
the requirements, only what leads to them is kept.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple, TypeAlias

from deepmem.physics.amplitudes.colour import structure as colour_structure
from deepmem.physics.amplitudes.lorentz import terms
from deepmem.physics.amplitudes.vertices import Part, Powers, Rule, vertices
from deepmem.physics.errors import ModelError, ReactionError
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.reaction import Bound
from deepmem.physics.theory.subprocesses import Requirements, Subprocess, code

Subset: TypeAlias = int
"""Bits of legs."""

_UNLIMITED = 99


class Key(NamedTuple):
    """What tells apart the currents of one subset."""

    label: int
    powers: Powers
    passed: frozenset[int]
    """Which groups of `Requirements.through` it passed."""


class Recipe(NamedTuple):
    """One way in which a current is made."""

    rule: Rule
    parts: tuple[tuple[Subset, Key], ...]
    """In the order of `rule.positions`."""


Recipes: TypeAlias = dict[tuple[Subset, Key], list[Recipe]]
"""Of the currents that are needed, smaller subsets first; legs themselves have none."""


def _partitions(subset: Subset, size: int) -> Iterator[tuple[Subset, ...]]:
    """The ways to part a subset into `size` subsets; the first holds the lowest leg."""
    if size == 1:
        yield (subset,)
        return
    lowest = subset & -subset
    rest = subset ^ lowest
    other = rest
    while other:
        for more in _partitions(other, size - 1):
            yield (subset ^ other, *more)
        other = (other - 1) & rest


class Level(NamedTuple):
    """A production or a decay, as seen by the plan."""

    labels: tuple[int, ...]
    wanted: tuple[int, ...]
    s_channel: tuple[bool, ...]
    """Which legs a particle of the s channel may be made of: those that go out."""
    requirements: Requirements

    def described(self, model: Model) -> str:
        """What leaves → what all of it is made by."""
        names = {code: name for name, code in model.codes.items()}
        return f"{' '.join(names[label] for label in self.labels)} → {names[self.wanted[0]]}"


class _Bounds:
    """What coupling orders may be."""

    def __init__(self, model: Model, bounds: Sequence[Bound]) -> None:
        self.hierarchies = tuple(order.hierarchy for order in model.orders)
        self.names = [order.name for order in model.orders]
        for bound in bounds:
            if bound.order not in (*self.names, "WEIGHTED"):
                raise ReactionError(
                    f"{bound} names no coupling order of model {model.name!r}: it has {', '.join(self.names)}"
                )
        by_name = {bound.order: bound for bound in bounds}
        self.largest = tuple(
            min(order.expansion, by_name[order.name].value if order.name in by_name else _UNLIMITED)
            for order in model.orders
        )
        self.exact = [
            (self.names.index(b.order), b.value)
            for b in bounds
            if b.relation == "==" and b.order in self.names
        ]
        weight = by_name.get("WEIGHTED")
        self.weight = weight.value if weight else None
        self.free = not bounds

    def weighted(self, powers: Powers) -> int:
        return sum(h * n for h, n in zip(self.hierarchies, powers, strict=True))

    def allowed(self, powers: Powers) -> bool:
        if any(n > most for n, most in zip(powers, self.largest, strict=True)):
            return False
        return self.weight is None or self.weighted(powers) <= self.weight

    def chosen(self, top: Sequence[Key], least: int) -> list[Key]:
        """Of the complete amplitudes those that count; where no order is given, those of the lowest weight.

        `least`: a weight that is always allowed.
        """
        left = [key for key in top if all(key.powers[at] == value for at, value in self.exact)]
        if self.free and left:
            most = max(least, min(self.weighted(key.powers) for key in left))
            left = [key for key in left if self.weighted(key.powers) <= most]
        return left


def plan(model: Model, level: Level, what: str) -> Recipes:
    """The recipes of all currents that lead to a wanted one.

    **Raises** `ReactionError` where there is none, with `what` as the name of the level.
    """
    bounds = _Bounds(model, level.requirements.orders)
    have = _all(model, level, bounds)
    full = (1 << len(level.labels)) - 1
    needed_groups = frozenset(range(len(level.requirements.through)))
    top = [key for subset, key in have if subset == full and key.passed == needed_groups]
    chosen = bounds.chosen(top, _expected_weight(model, (*level.labels, model.conjugate(level.wanted[0]))))
    if not chosen:
        why = "no diagram of these orders" if not bounds.free else "no diagram at tree level"
        raise ReactionError(f"{what} has {why} in model {model.name!r}")
    needed: set[tuple[Subset, Key]] = set()
    stack = [(full, key) for key in chosen]
    while stack:
        current = stack.pop()
        if current not in needed:
            needed.add(current)
            stack += [part for recipe in have[current] for part in recipe.parts]
    return {current: recipes for current, recipes in have.items() if current in needed}


def require_supported(recipes: Recipes, what: str) -> None:
    """**Raises** `ModelError` where one of the vertices that are needed is none that amplitudes can have."""
    for rule in dict.fromkeys(way.rule for ways in recipes.values() for way in ways):
        why = rule.refused or next(filter(None, map(_unreadable, rule.parts)), "")
        if why:
            raise ModelError(
                f'{what} needs what amplitudes cannot do ({why}): leave a particle of it out with "/", or '
                "bound a coupling order"
            )


def _unreadable(part: Part) -> str:
    """What is wrong with the structures of a rule; "": nothing."""
    try:
        terms(part.lorentz)
        colour_structure(part.colour)
    except ModelError as error:
        return str(error)
    return ""


def levels(model: Model, subprocess: Subprocess) -> Iterator[tuple[tuple[int, ...], Level]]:
    """The production and each decay with its place, see `Subprocess.levels`."""
    for place, part in subprocess.levels():
        products = part.products if isinstance(part, Subprocess) else part.into
        labels = tuple(map(code, products))
        if isinstance(part, Subprocess):
            first, *others = map(model.conjugate, part.incoming)
            into, wanted = (*others, *labels), (model.conjugate(first),)
            outgoing = (False,) * len(others) + (True,) * len(labels)
        else:
            into, wanted, outgoing = labels, (part.particle,), (True,) * len(labels)
        yield place, Level(into, wanted, outgoing, part.requirements)


def weight(model: Model, level: Level) -> int:
    """The least WEIGHTED that lets all diagrams in that count. **Raises** `ReactionError` without any."""
    recipes = plan(model, level, "it")
    full = (1 << len(level.labels)) - 1
    bounds = _Bounds(model, level.requirements.orders)
    return max(bounds.weighted(key.powers) for subset, key in recipes if subset == full)


def diagrams(recipes: Recipes) -> int:
    """How many diagrams these are."""
    number: dict[tuple[Subset, Key], int] = {}
    for current, ways in recipes.items():
        number[current] = sum(prod(number[part] for part in each.parts) for each in ways) if ways else 1
    full = max(subset for subset, _ in recipes)
    return sum(count for (subset, _), count in number.items() if subset == full)


def _expected_weight(model: Model, labels: Sequence[int]) -> int:
    """The least weight that MadGraph looks for: a particle counts as its strongest coupling order does.

    A diagram of n legs has at most n − 2 vertices; it sums the n − 2 weakest legs.
    """
    strongest: dict[int, int] = {}
    hierarchies = {order.name: order.hierarchy for order in model.orders}
    orders = {each.name: [order for order, _ in each.orders] for each in model.couplings}
    for vertex in model.vertices:
        for _, _, coupling in vertex.couplings:
            weakest = max((hierarchies[order] for order in orders[coupling]), default=0)
            for label in vertex.particles:
                for each in {label, model.conjugate(label)}:
                    strongest[each] = min(strongest.get(each, weakest), weakest)
    return sum(sorted(strongest.get(label, 0) for label in labels)[2:])


def _all(model: Model, level: Level, bounds: _Bounds) -> Recipes:
    rules, sizes = vertices(model)
    through, without = level.requirements.through, set(level.requirements.without)
    full = (1 << len(level.labels)) - 1
    outgoing = sum(1 << k for k, s in enumerate(level.s_channel) if s)
    by_subset: dict[Subset, dict[Key, list[Recipe]]] = defaultdict(dict)
    none = (0,) * len(model.orders)
    for k, label in enumerate(level.labels):
        by_subset[1 << k][Key(label, none, frozenset())] = []
    for subset in sorted(range(1, full + 1), key=int.bit_count):
        for size in sizes:
            if subset.bit_count() < size:
                continue
            for blocks in _partitions(subset, size):
                for keys in itertools.product(*(list(by_subset[block]) for block in blocks)):
                    parts = sorted(zip(blocks, keys, strict=True), key=lambda part: part[1].label)
                    for rule in rules.get(tuple(key.label for _, key in parts), ()):
                        if subset == full and rule.label not in level.wanted:
                            continue
                        if subset != full and abs(rule.label) in without:
                            continue
                        powers = tuple(map(sum, zip(rule.powers, *(key.powers for key in keys), strict=True)))
                        if not bounds.allowed(powers):
                            continue
                        passed = frozenset().union(*(key.passed for key in keys))
                        if subset & ~outgoing == 0:
                            passed |= {n for n, group in enumerate(through) if rule.label in group}
                        key = Key(rule.label, powers, passed)
                        by_subset[subset].setdefault(key, []).append(Recipe(rule, tuple(parts)))
    return {(subset, key): recipes for subset, keys in by_subset.items() for key, recipes in keys.items()}
