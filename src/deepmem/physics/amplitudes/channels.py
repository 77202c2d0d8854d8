"""The channels of a reaction in a model: its subprocesses that have diagrams, gathered by equal |M|².

Where no orders are given, a production or a decay has the lowest WEIGHTED at which any subprocess of its term
has a diagram; subprocesses that have none there are left out. Subprocesses are alike where all of their
diagrams are, but for the names of the particles, or after an exchange of the two beams: u ū → e⁻e⁺ and
c c̄ → μ⁻μ⁺, or u ū → t t̄ and d d̄ → t t̄ at the lowest order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np

from deepmem.physics.amplitudes.amplitude import Amplitude, amplitude
from deepmem.physics.amplitudes.plan import (
    Key,
    Level,
    Recipe,
    Recipes,
    diagrams,
    levels,
    plan,
    require_supported,
    weight,
)
from deepmem.physics.errors import InitialStateError, ReactionError
from deepmem.physics.theory.expressions import needed
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.reaction import Bound, Reaction
from deepmem.physics.theory.subprocesses import DEFAULT_FLAVOURS, Branch, Node, Subprocess, expand

_Place = tuple[int, tuple[int, ...]]


class Member(NamedTuple):
    """A subprocess of a channel."""

    subprocess: Subprocess
    turned: bool
    """Whether its beams are exchanged with respect to the channel's amplitude."""


@dataclass(frozen=True)
class Channel:
    """Subprocesses whose |M|² is one function of the momenta."""

    model: Model
    subprocess: Subprocess
    """The one that stands for all."""
    members: tuple[Member, ...]

    @cached_property
    def amplitude(self) -> Amplitude:
        """Of `subprocess`, beams of any direction: generated when it is asked for, or read from disk."""
        return amplitude(self.model, self.subprocess)

    @cached_property
    def _along_z(self) -> Amplitude:
        return amplitude(self.model, self.subprocess, along_z=True)

    def values(self, momenta: np.ndarray, parameters: Mapping[str, float]) -> np.ndarray:
        """|M|² `[points]` at momenta `[points, legs, 4]`, each point by itself.

        Points whose beams lie along z have the spinors of that axis: fewer operations, and fewer digits lost.
        """
        if len(self.subprocess.incoming) != 2:
            return self.amplitude.values(momenta, parameters)
        first, second = momenta[:, 0, 3], momenta[:, 1, 3]
        along = (momenta[:, :2, 1:3] == 0).all(axis=(1, 2)) & (first * second < 0)
        found = np.empty(len(momenta))
        if along.any():
            upwards = momenta[along]
            upwards[first[along] < 0] *= (1, -1, 1, -1)
            found[along] = self._along_z.values(upwards, parameters)
        if not along.all():
            found[~along] = self.amplitude.values(momenta[~along], parameters)
        return found

    @cached_property
    def inner(self) -> frozenset[int]:
        """Positive codes of all particles in its diagrams that are not incoming or outgoing legs."""
        subprocess = self.subprocess
        found = {abs(key.label) for plan in self._plans for _, key in plan}
        return frozenset(found - set(map(abs, (*subprocess.incoming, *subprocess.outgoing))))

    @cached_property
    def parameters(self) -> frozenset[str]:
        """The parameters of the model that |M|² depends on, and those that they follow from."""
        model, subprocess = self.model, self.subprocess
        codes = {*self.inner, *map(abs, (*subprocess.incoming, *subprocess.outgoing))}
        particles = [model.by_code[code] for code in codes]
        used = {
            p.coupling for plan in self._plans for ways in plan.values() for w in ways for p in w.rule.parts
        }
        expressions = [each.expression for each in model.couplings if each.name in used]
        return frozenset(
            needed(model, expressions, {name for p in particles for name in (p.mass, p.width)}) - {"ZERO"}
        )

    @cached_property
    def _plans(self) -> list[Recipes]:
        """Of the production and of each decay."""
        return [
            plan(self.model, level, str(self.subprocess.incoming))
            for _, level in levels(self.model, self.subprocess)
        ]

    @cached_property
    def diagrams(self) -> int:
        """Π of the diagrams of the production and of each decay."""
        return prod(map(diagrams, self._plans))


def channels(
    reaction: Reaction,
    model: Model,
    labels: Mapping[str, str | Sequence[str]] | None = None,
    flavours: int = DEFAULT_FLAVOURS,
) -> tuple[Channel, ...]:
    """The channels of a reaction, in the order of the labels.

    **Arguments:** `labels`, particles' names by label; `flavours`, quarks in "p".

    **Raises** `UnknownNameError` for what is no particle and no label; `ReactionError` where nothing
    conserves charge and colour, or no subprocess has a diagram of the orders; `ModelError` where one of them
    needs a vertex that amplitudes cannot have.
    """
    found: dict[str, tuple[Subprocess, list[Member]]] = {}
    for each in _possible(model, expand(reaction, model, labels, flavours), reaction):
        name = _diagrams(model, each)
        turned = (
            _diagrams(model, replace(each, incoming=each.incoming[::-1])) if len(each.incoming) == 2 else name
        )
        _, members = found.setdefault(min(name, turned), (each, []))
        members.append(Member(each, turned < name))
    return tuple(_channel(model, members) for _, members in found.values())


def _channel(model: Model, members: Sequence[Member]) -> Channel:
    """The first one stands for all."""
    first = members[0]
    return Channel(
        model, first.subprocess, tuple(each._replace(turned=each.turned != first.turned) for each in members)
    )


def of_initial_state(
    found: Sequence[Channel], incoming: Sequence[int] | None
) -> list[tuple[Channel, list[Member]]]:
    """The channels with this initial state, in either order of the beams, and their members that have it.

    **Raises** `InitialStateError` where there is none, and for None where there are several.
    """
    states = {member.subprocess.incoming for channel in found for member in channel.members}
    if incoming is None:
        if len(states) > 1:
            raise InitialStateError(
                f"the reaction has {len(states)} initial states: give `incoming`, one of {_list(states)}"
            )
        wanted = next(iter(states))
    else:
        try:
            wanted = tuple(int(code) for code in incoming)
        except (TypeError, ValueError):
            raise InitialStateError(f"incoming must be PDG codes, got {incoming!r}") from None
    as_written = wanted in states
    if not as_written and wanted[::-1] not in states:
        raise InitialStateError(f"the reaction has no initial state {wanted}: it has {_list(states)}")
    chosen = []
    for channel in found:
        members = [
            member if as_written else member._replace(turned=not member.turned)
            for member in channel.members
            if member.subprocess.incoming == (wanted if as_written else wanted[::-1])
        ]
        if members:
            chosen.append((channel, members))
    return chosen


def _list(states: set[tuple[int, ...]]) -> str:
    shown = sorted(states, key=lambda codes: [(abs(code), code < 0) for code in codes])
    return ", ".join(map(str, shown[:8])) + (", …" if len(shown) > 8 else "")


def _diagrams(model: Model, subprocess: Subprocess) -> str:
    """All diagrams in words, without the names of what comes in and goes out: equal for equal |M|²."""
    return repr([(place, _of_level(model, level)) for place, level in levels(model, subprocess)])


@cache
def _of_level(model: Model, level: Level) -> str:
    strength = {each.name: (each.expression, each.orders) for each in model.couplings}
    numbers: dict[int, int] = {}
    for label in (*level.labels, *level.wanted):
        numbers.setdefault(abs(label), len(numbers))
    what = level.described(model)
    recipes = plan(model, level, what)
    require_supported(recipes, what)
    inner = {abs(key.label) for _, key in recipes} - numbers.keys()
    kinds = {code: _kind(model, code) for code in (*numbers, *inner)}
    alike = {code: sum(kinds[each] == kinds[code] for each in inner if each < code) for code in inner}

    def name(label: int) -> tuple[object, ...]:
        """Of an outer particle its number; of an inner one its kind, and how many alike have lower codes."""
        code = abs(label)
        return (numbers[code], label > 0) if code in numbers else (kinds[code], alike[code], label > 0)

    def current(subset: int, key: Key) -> tuple[object, ...]:
        return (subset, *name(key.label), key.powers, sorted(key.passed))

    def way(recipe: Recipe) -> str:
        rule = recipe.rule
        parts = zip(rule.positions, (current(*part) for part in recipe.parts), strict=True)
        shapes = [(part.colour, part.lorentz, part.spins, strength[part.coupling]) for part in rule.parts]
        return repr((rule.open_leg, sorted(parts, key=repr), sorted(shapes, key=repr)))

    made = [(current(*here), sorted(map(way, ways))) for here, ways in recipes.items() if ways]
    outside = [kinds[code] for code in numbers]
    return repr(([name(label) for label in level.labels], outside, sorted(made, key=repr)))


def _kind(model: Model, code: int) -> tuple[object, ...]:
    """What of a particle its propagator and its wave functions depend on."""
    particle = model.by_code[code]
    return particle.spin, particle.colour, particle.mass, particle.width, particle.self_conjugate


def _possible(model: Model, subprocesses: Sequence[Subprocess], reaction: Reaction) -> Iterator[Subprocess]:
    """Those that have diagrams of the orders, with the lowest WEIGHTED written out."""
    weights: dict[tuple[Any, ...], int | None] = {}

    def weight_of(level: Level) -> int | None:
        key = tuple(level)
        if key not in weights:
            try:
                weights[key] = weight(model, level)
            except ReactionError:
                weights[key] = None
        return weights[key]

    by_subprocess = [{place: weight_of(level) for place, level in levels(model, s)} for s in subprocesses]
    there = [all(each is not None for each in one.values()) for one in by_subprocess]
    if not any(there):
        # the sentence of what is missing
        for _, level in levels(model, subprocesses[0]):
            plan(model, level, f"'{reaction}'")
    least: dict[_Place, int] = defaultdict(lambda: 1 << 30)
    for each, one, exists in zip(subprocesses, by_subprocess, there, strict=True):
        for place, value in one.items():
            if exists and value is not None:
                least[each.term, place] = min(least[each.term, place], value)
    for each, one, exists in zip(subprocesses, by_subprocess, there, strict=True):
        free = {place for place, level in levels(model, each) if not level.requirements.orders}
        if exists and all(one[place] == least[each.term, place] for place in free):
            yield _bounded(each, {place: least[each.term, place] for place in free})


def _bounded(subprocess: Subprocess, most: Mapping[tuple[int, ...], int]) -> Subprocess:
    """The subprocess with the largest WEIGHTED of some places written out."""

    def node(one: Node, place: tuple[int, ...]) -> Node:
        if not isinstance(one, Branch):
            return one
        into = tuple(node(each, (*place, k)) for k, each in enumerate(one.into))
        return replace(one, into=into, requirements=needs(one, place))

    def needs(one: Subprocess | Branch, place: tuple[int, ...]) -> Any:
        if place not in most:
            return one.requirements
        return one.requirements._replace(orders=(Bound("WEIGHTED", "<=", most[place]),))

    products = tuple(node(each, (k,)) for k, each in enumerate(subprocess.products))
    return replace(subprocess, products=products, requirements=needs(subprocess, ()))
