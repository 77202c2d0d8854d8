"""Reactions drawn at random that have a diagram, momenta for them, and |M|² where energies are negative.

A reaction grows from a vertex: a leg becomes the other legs of a vertex that its particle enters, until there
are as many legs as wanted. Two of them come in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import hypothesis.strategies as st
import numpy as np

from deepmem.physics.amplitudes.amplitude import Amplitude, amplitude
from deepmem.physics.amplitudes.channels import channels
from deepmem.physics.amplitudes.external import input_values
from deepmem.physics.errors import ReactionError
from deepmem.physics.theory.expressions import evaluate
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.models import load
from deepmem.physics.theory.reaction import parse
from deepmem.physics.theory.subprocesses import Subprocess
from tests.physics.small_models import decayed

MOST_DIAGRAMS = 12
"""Of those that take a tenth of a second."""


@cache
def stable(name: str) -> Model:
    """A model in which all widths are 0: its complete sets of diagrams are gauge invariant."""
    model = load(name)
    return replace(model, particles=tuple(replace(each, width="ZERO") for each in model.particles))


@cache
def entries(model: Model) -> dict[int, list[tuple[int, ...]]]:
    """By the label of what leaves: what can leave instead of it."""
    found: dict[int, list[tuple[int, ...]]] = {}
    for vertex in model.vertices:
        for at, label in enumerate(vertex.particles):
            others = vertex.particles[:at] + vertex.particles[at + 1 :]
            found.setdefault(model.conjugate(label), []).append(others)
    return found


EVEN = {
    "ca2": 0.4,
    "ca2w": 0.0,
    "cL1": 0.7,
    "cL1w": 0.0,
    "ca2za": 0.3,
    "cL1za": -0.5,
    "ca2aa": -0.2,
    "kappa": 0.9,
}
"""Couplings of `hvv` that are none of the Standard Model. Those of the W are not among them: they ask for
vertices with a photon, which `hvv` does not have."""
ODD = {"ca3": 0.5, "ca3w": 0.0, "ca3za": -0.6, "ca3aa": 0.3, "cg3": 0.8, "kappa_tilde": 0.4}
"""Those that are odd under CP."""


@st.composite
def grown(draw: st.DrawFn, name: str = "sm", most: int = 4) -> str:
    """A reaction with two incoming and 2 to `most` outgoing particles, in the names of a model."""
    model = load(name)
    number = 2 + draw(st.integers(2, most))
    legs = list(draw(st.sampled_from([each.particles for each in model.vertices])))
    while len(legs) < number:
        at = draw(st.integers(0, len(legs) - 1))
        ways = [way for way in entries(model)[legs[at]] if len(legs) - 1 + len(way) <= number]
        legs[at : at + 1] = draw(st.sampled_from(ways))
    legs = draw(st.permutations(legs))
    names = {code: each for each, code in model.codes.items()}
    incoming = " ".join(names[model.conjugate(label)] for label in legs[:2])
    return f"{incoming} > {' '.join(names[label] for label in legs[2:])}"


def small_enough(reaction: str, model: Model) -> Subprocess | None:
    """The subprocess of a reaction, if it has few diagrams, and some: a model bounds powers of couplings."""
    try:
        (channel,) = channels(parse(reaction), model)
    except ReactionError:
        return None
    return channel.subprocess if channel.diagrams <= MOST_DIAGRAMS else None


@cache
def of(model: Model, subprocess: Subprocess, along_z: bool = False) -> Amplitude:
    """Its amplitude, made anew."""
    return amplitude(model, subprocess, along_z, cache=False)


def masses(model: Model, codes: Sequence[int]) -> list[float]:
    values: dict[str, Any] = {"ZERO": 0.0} | evaluate(model).parameters
    return [float(np.real(values[model.by_code[code].mass])) for code in codes]


def scattered(
    model: Model, subprocess: Subprocess, number: int = 4, seed: int = 5, beam: tuple[float, ...] = (0, 0, 1)
) -> np.ndarray:
    """`[number, legs, 4]`: head-on collisions at some 100 GeV above all thresholds, beams along ± `beam`."""
    draw = np.random.default_rng(seed)
    (first, second), out = masses(model, subprocess.incoming), masses(model, subprocess.outgoing)
    found = []
    for _ in range(number):
        energy = max(first + second, sum(out)) * draw.uniform(1.2, 2) + draw.uniform(60, 200)
        ahead = (energy**2 + first**2 - second**2) / (2 * energy)
        size = np.sqrt(ahead**2 - first**2)
        along = size * np.asarray(beam)
        total = np.array([energy, 0, 0, 0])
        beams = [np.array([ahead, *along]), np.array([energy - ahead, *-along])]
        found.append([*beams, *decayed(total, out, draw)])
    return np.array(found)


def boosted(momenta: np.ndarray, rapidity: float) -> np.ndarray:
    """Along z."""
    result = momenta.copy()
    result[..., 0] = np.cosh(rapidity) * momenta[..., 0] + np.sinh(rapidity) * momenta[..., 3]
    result[..., 3] = np.sinh(rapidity) * momenta[..., 0] + np.cosh(rapidity) * momenta[..., 3]
    return result


def turned(momenta: np.ndarray) -> np.ndarray:
    """By an angle about an axis of no meaning."""
    axis, angle = np.array([0.6, 0.48, -0.64]), 1.1
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    matrix = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    result = momenta.copy()
    result[..., 1:] = momenta[..., 1:] @ matrix.T
    return result


class Continued:
    """Roots of negative numbers, too: wave functions of −p are those of p, continued."""

    def root(self, x: Any) -> Any:
        return np.sqrt(np.asarray(x, complex))

    def root_plus(self, p: Sequence[Any], mass: Any = 0) -> Any:
        return self.root(p[0] + p[3])


def continued(found: Amplitude, momenta: np.ndarray, **parameters: float) -> np.ndarray:
    """|M|² as the same function of momenta whose energies may be negative."""
    program = found.program
    values = evaluate(found.model, parameters, program.reduction.couplings)
    inputs = input_values(program.placed, program.reduction, momenta, values, Continued())
    result: Any = 0
    for helicities, weight in program.combinations:
        known: dict[int, Any] = {}
        for node in np.flatnonzero(program.kinds == 0).tolist():
            known[node] = inputs(program.at_helicities(program.inputs[program.first[node]], helicities))
        program.run(known)
        result = result + weight * program.sign * np.asarray(known[program.output], complex)
    np.testing.assert_allclose(result.imag, 0, atol=1e-7 * np.abs(result.real).max())
    return result.real
