"""Which helicities are in the graph, and which are looped over: the program that is fastest within a budget.

A graph with all helicities shares the most, and its size bounds the time of a compilation (about 1 ms an
operation). With the helicities of some legs looped over it is smaller, and runs once per combination. Where
the graph of all helicities is a little too large, one leg is looped over. Where it is far too large, choices
begin with the smallest graph, the helicities of all undecayed legs looped over; one leg after the other is
taken out, as long as that is cheaper and within the budget.
"""

from __future__ import annotations

from collections.abc import Iterable

from deepmem.physics.amplitudes.external import External, legs_of
from deepmem.physics.amplitudes.graph import TooLargeError
from deepmem.physics.amplitudes.program import Program, finished
from deepmem.physics.amplitudes.squared import squared
from deepmem.physics.amplitudes.waves import Leg
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.subprocesses import Branch, Subprocess

BUDGET = 20_000
"""Operations of one kernel."""
# Nodes, live or not, at which a graph is given up: more than half of them are left out at the end.
_LARGEST = 60_000


def best_program(model: Model, subprocess: Subprocess, along_z: bool = True) -> Program:
    """The program of a subprocess; see the module."""

    def attempt(loop: tuple[int, ...], largest: int | None = _LARGEST) -> Program | None:
        external = External(model, subprocess, along_z, loop, largest=largest)
        try:
            return finished(external, squared(external))
        except TooLargeError:
            return None

    def cheapest(loops: Iterable[tuple[int, ...]]) -> Program | None:
        made = [one for one in map(attempt, loops) if one is not None and one.operations <= BUDGET]
        return min(made, key=lambda one: one.cost, default=None)

    undecayed = _undecayed(model, subprocess, along_z)
    kinds = legs_of(model, subprocess, along_z)
    flat = attempt((), None if not undecayed else _LARGEST)
    if flat is not None:
        if flat.operations <= BUDGET or not undecayed:
            return flat
        one_looped = cheapest((leg,) for leg in _distinct(kinds, undecayed))
        if one_looped is not None:
            return one_looped
    best = attempt(tuple(undecayed), None)
    assert best is not None
    while best.loop:
        loops = [tuple(each for each in best.loop if each != leg) for leg in _distinct(kinds, best.loop)]
        other = cheapest(loops)
        if other is None or other.cost >= best.cost:
            break
        best = other
    return best


def _undecayed(model: Model, subprocess: Subprocess, along_z: bool) -> dict[int, int]:
    """The number of helicities of the legs that are not from a decay and have more than one."""
    _, legs = legs_of(model, subprocess, along_z)
    numbers = list(range(len(subprocess.incoming)))
    at = len(numbers)
    for node in subprocess.products:
        if isinstance(node, Branch):
            at += len(Subprocess((), node.into).outgoing)
        else:
            numbers.append(at)
            at += 1
    return {number: legs[number].helicities for number in numbers if legs[number].helicities > 1}


def _distinct(kinds: tuple[tuple[int, ...], tuple[Leg, ...]], legs: Iterable[int]) -> list[int]:
    """Of legs that are of one kind (particle, in or out), one."""
    labels = kinds[0]
    found: dict[tuple[int, bool], int] = {}
    for leg in legs:
        found.setdefault((labels[leg], kinds[1][leg].incoming), leg)
    return list(found.values())
