"""|M|² of several subprocesses with legs of the same masses in one graph: what they share is computed once.

    (|M₁|², …, |M_n|²)(p_1, …, p_legs)

q q̄ → W g g and q g → W g q have the currents of a W and a quark in common, u d̄ → W s s̄ and u s → W d s a
gluon of two quarks; an exchange of two jets is a subprocess of its own. Numbers that are equal are one node
of the graph, whoever asks for them first. Where all of them are too much for one program, there are several,
each with as many as it may have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

from jaxtyping import Array

from deepmem.physics.amplitudes.amplitude import kept
from deepmem.physics.amplitudes.choice import BUDGET, LARGEST
from deepmem.physics.amplitudes.external import External, legs_of
from deepmem.physics.amplitudes.graph import Reference, TooLargeError
from deepmem.physics.amplitudes.program import Program, finished
from deepmem.physics.amplitudes.squared import squared
from deepmem.physics.amplitudes.stages import Momenta, functions
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.subprocesses import Subprocess


@dataclass(frozen=True, eq=False)
class Joint:
    """|M|² of some subprocesses, in their order."""

    model: Model
    program: Program

    @cached_property
    def of_legs(self) -> Callable[[Momenta, Mapping[str, Any]], tuple[Array, ...]]:
        """All |M|² inside of `jit`, see `Amplitude.of_legs`."""
        return functions(self.program, self.model, own_masses=True)


@lru_cache(maxsize=256)
def joint(model: Model, subprocesses: tuple[Subprocess, ...], along_z: bool) -> Joint | None:
    """One program of several subprocesses; None where their legs differ in mass, or it would be too large.

    **Arguments:** `along_z`: both beams move along ±z, the first one upwards.

    **Raises** as `amplitude` does.
    """
    every = [legs_of(model, each, along_z)[1] for each in subprocesses]
    if len({tuple(leg.mass for leg in legs) for legs in every}) > 1:
        return None
    content = ("joint", LARGEST, model.digest, subprocesses, along_z)
    program = kept(content, lambda: _program(model, subprocesses, along_z))
    return Joint(model, program) if program.outputs else None


def joints(model: Model, subprocesses: tuple[Subprocess, ...], along_z: bool) -> tuple[Joint, ...] | None:
    """Programs of all subprocesses in their order, each of as many as it may have; None where one alone is
    too large, or legs differ in mass.

    **Raises** as `amplitude` does.
    """
    if len({tuple(leg.mass for leg in legs_of(model, each, along_z)[1]) for each in subprocesses}) > 1:
        return None
    found: list[Joint] = []
    left = subprocesses
    while left:
        content = ("joint, as many as fit", LARGEST, model.digest, left, along_z)
        program = kept(content, partial(_as_many, model, left, along_z))
        if not program.outputs:
            return None
        found.append(Joint(model, program))
        left = left[len(program.outputs) :]
    return tuple(found)


def _program(model: Model, subprocesses: tuple[Subprocess, ...], along_z: bool) -> Program:
    """One without results, if it would be too large."""
    external = _external(model, subprocesses, along_z)
    try:
        outputs = [squared(external.beside(each, along_z)) for each in subprocesses]
    except TooLargeError:
        return finished(external)
    program = finished(external, *outputs)
    return program if program.operations <= BUDGET else finished(external)


def _as_many(model: Model, subprocesses: tuple[Subprocess, ...], along_z: bool) -> Program:
    """Of the first ones, as many as are not too large."""
    external = _external(model, subprocesses, along_z)
    outputs: list[Reference] = []
    for each in subprocesses:
        try:
            output = squared(external.beside(each, along_z))
        except TooLargeError:
            break
        many = len(external.graph.nodes) > BUDGET
        if many and finished(external, *outputs, output).operations > BUDGET:
            break
        outputs.append(output)
    return finished(external, *outputs)


def _external(model: Model, subprocesses: tuple[Subprocess, ...], along_z: bool) -> External:
    """The inputs of the first one, with what stands in the places of legs in the others."""
    placed = [tuple(enumerate(legs_of(model, each, along_z)[1])) for each in subprocesses]
    others = [each for each in dict.fromkeys(leg for legs in placed for leg in legs) if each not in placed[0]]
    return External(model, subprocesses[0], along_z, largest=LARGEST, others=others)
