"""Which helicities are in the graph, and which are looped over: the program that is fastest within a budget.

A graph with all helicities shares the most, and its size bounds the time of a compilation (½ to 1 ms an
operation). It depends on the root, too, the leg that closes the current of all others. With the helicities of
some legs looped over it is smaller, and runs once per combination. Where the graph of all helicities is a
little too large, one leg is looped over. Where it is far too large, choices begin with the smallest graph,
the helicities of all undecayed legs looped over; one leg after the other is taken out, as long as that is
cheaper and within the budget. A larger budget is for reactions that gain by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from deepmem.physics.amplitudes.external import External, legs_of
from deepmem.physics.amplitudes.graph import TooLargeError
from deepmem.physics.amplitudes.program import Program, finished
from deepmem.physics.amplitudes.squared import squared
from deepmem.physics.amplitudes.waves import Leg
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.subprocesses import Branch, Subprocess

BUDGET = 22_000
"""Operations of one kernel."""
LARGE_BUDGET = 44_000
"""Of one that takes a minute to compile, and is worth it."""
LARGEST = 60_000
"""Nodes, live or not, at which a graph is given up: more than half of them are left out at the end."""
_WORTH = 1.5


def best_program(model: Model, subprocess: Subprocess, along_z: bool = True) -> Program:
    """The program of a subprocess; see the module."""
    undecayed = _undecayed(model, subprocess, along_z)
    kinds = legs_of(model, subprocess, along_z)

    @cache
    def attempt(loop: tuple[int, ...], root: int = 0, largest: int | None = LARGEST) -> Program | None:
        external = External(model, subprocess, along_z, loop, largest=largest)
        try:
            return finished(external, squared(external, root))
        except TooLargeError:
            return None

    def cheapest(loops: Iterable[tuple[int, ...]], budget: int = BUDGET) -> Program | None:
        """Of programs within the budget, with either root."""
        choices = [(loop, root) for loop in loops for root in _roots(kinds[0], undecayed, loop)]
        made = [one for one in (attempt(*choice) for choice in choices) if one is not None]
        return min((one for one in made if one.operations <= budget), key=lambda one: one.cost, default=None)

    def descended(best: Program, budget: int) -> Program:
        """With fewer looped legs, as long as that is cheaper."""
        while best.loop:
            loops = [tuple(each for each in best.loop if each != leg) for leg in _distinct(kinds, best.loop)]
            other = cheapest(loops, budget)
            if other is None or other.cost >= best.cost:
                break
            best = other
        return best

    if not undecayed:
        best = attempt((), largest=None)
        assert best is not None
        return best
    flat = attempt((), 0)
    if flat is not None and flat.operations <= BUDGET // 2:
        return flat
    small = cheapest([()])
    if small is None and flat is not None:
        small = cheapest((leg,) for leg in _distinct(kinds, undecayed))
    if small is not None:
        return small
    best = attempt(tuple(undecayed), largest=None)
    assert best is not None
    best = descended(best, BUDGET)
    large = descended(best, LARGE_BUDGET)
    return large if large.cost * _WORTH <= best.cost else best


def _undecayed(model: Model, subprocess: Subprocess, along_z: bool) -> dict[int, int]:
    """The legs that are not from a decay and have several helicities, with their places in the production."""
    _, legs = legs_of(model, subprocess, along_z)
    places = {number: number for number in range(len(subprocess.incoming))}
    at = len(places)
    for place, node in enumerate(subprocess.products, len(places)):
        if isinstance(node, Branch):
            at += len(Subprocess((), node.into).outgoing)
        else:
            places[at] = place
            at += 1
    return {number: place for number, place in places.items() if legs[number].helicities > 1}


def _roots(labels: tuple[int, ...], undecayed: dict[int, int], loop: tuple[int, ...]) -> list[int]:
    """The first leg, and the last one that is not looped over, if it is another kind of particle.

    The helicities of a root cost next to nothing: only the last product has them.
    """
    free = [number for number in undecayed if number not in loop and labels[number] != labels[0]]
    return [0, undecayed[free[-1]]] if free else [0]


def _distinct(kinds: tuple[tuple[int, ...], tuple[Leg, ...]], legs: Iterable[int]) -> list[int]:
    """Of legs that are of one kind (particle, in or out), one."""
    labels = kinds[0]
    found: dict[tuple[int, bool], int] = {}
    for leg in legs:
        found.setdefault((labels[leg], kinds[1][leg].incoming), leg)
    return list(found.values())
