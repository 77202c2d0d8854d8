"""Which helicities are in the graph, and which are looped over: the program that is fastest within a budget.

A graph with all helicities shares the most, and its size bounds the time of a compilation (about 1.5 ms an
operation). With the helicities of some legs looped over it is smaller, and runs once per combination. Choices
begin with all helicities of undecayed legs looped over, which is the smallest graph; then one leg after the
other is taken out of the loop, as long as that makes the whole cheaper and the graph stays within the budget.
"""

from __future__ import annotations

from math import prod

from deepmem.physics.amplitudes.external import External, legs_of
from deepmem.physics.amplitudes.program import Program, finished
from deepmem.physics.amplitudes.squared import squared
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.subprocesses import Branch, Subprocess

BUDGET = 12_500
"""Operations of one kernel."""
# A graph of all helicities is made where it can't have more operations than this.
_LARGEST = 400_000


def best_program(model: Model, subprocess: Subprocess, along_z: bool = True) -> Program:
    """The program of a subprocess; see the module."""

    def attempt(loop: tuple[int, ...]) -> Program:
        external = External(model, subprocess, along_z, loop)
        return finished(external, squared(external))

    undecayed = _undecayed(model, subprocess, along_z)
    best = attempt(tuple(undecayed))
    if best.operations * prod(undecayed.values()) <= _LARGEST:
        flat = attempt(())
        if flat.operations <= BUDGET:
            return flat
    while best.loop:
        tried = [
            attempt(tuple(each for each in best.loop if each != leg))
            for leg in _distinct(model, best, subprocess)
        ]
        tried = [each for each in tried if each.operations <= BUDGET and each.cost < best.cost]
        if not tried:
            break
        best = min(tried, key=lambda each: each.cost)
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


def _distinct(model: Model, program: Program, subprocess: Subprocess) -> list[int]:
    """Of looped legs that are of one kind (particle, in or out), one."""
    labels, legs = legs_of(model, subprocess, False)
    found: dict[tuple[int, bool], int] = {}
    for leg in program.loop:
        found.setdefault((labels[leg], legs[leg].incoming), leg)
    return list(found.values())
