"""What a subprocess brings into its graph: momenta, wave functions, masses, widths and couplings.

Every number has a key, by which it is found again when the graph is evaluated:

    ("momentum", leg, k)    ("wave", leg, helicity, component, 0 | 1)    ("spinor", leg, component, 0 | 1)
    ("parameter", name)     ("coupling", name, "re" | "im")              ("base", order)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from typing import Any, TypeAlias

import numpy as np

from deepmem.physics.amplitudes.graph import Complex, Graph, Reference
from deepmem.physics.amplitudes.lorentz import Components
from deepmem.physics.amplitudes.points import Point, field_point, typical_momenta
from deepmem.physics.amplitudes.residues import PRIME, Residue
from deepmem.physics.amplitudes.strengths import Reduction, Symbol, strengths
from deepmem.physics.amplitudes.vertices import unsupported
from deepmem.physics.amplitudes.waves import Arrays, Leg, Part, spinor, states
from deepmem.physics.amplitudes.waves import components as components_of
from deepmem.physics.errors import ModelError, unknown_name
from deepmem.physics.theory.expressions import Values, evaluate
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.subprocesses import Subprocess

InputKey: TypeAlias = tuple
Placed: TypeAlias = tuple[int, Leg]
"""(place, what stands there): legs of subprocesses in one graph have their momenta by place."""
_SIZES = 12
"""Points at which the sizes of currents are compared."""


def legs_of(model: Model, subprocess: Subprocess, along_z: bool) -> tuple[tuple[int, ...], tuple[Leg, ...]]:
    """Labels (codes as of outgoing particles) and kinds of all legs, incoming ones first.

    Circular polarisations of the beams save operations where they meet fermions; among vectors alone, real
    ones do.

    **Raises** `UnknownNameError` for a particle that the model does not have, `ModelError` for a spin or a
    colour that amplitudes cannot do.
    """
    for code in (*subprocess.incoming, *subprocess.outgoing):
        if code not in model.by_code:
            raise unknown_name(f"particle of model {model.name!r}", str(code), map(str, model.by_code))
    labels = (*map(model.conjugate, subprocess.incoming), *subprocess.outgoing)
    fermions = any(model.by_code[label].spin == 2 for label in labels)
    found = []
    for number, label in enumerate(labels):
        particle = model.by_code[label]
        why = unsupported(particle)
        if why:
            raise ModelError(why)
        incoming = number < len(subprocess.incoming)
        beam = (1, -1)[number] if along_z and incoming and len(subprocess.incoming) == 2 else 0
        circular = beam != 0 and particle.spin == 3 and particle.mass == "ZERO" and fermions
        found.append(
            Leg(particle.spin, particle.mass, label > 0, incoming, beam, particle.self_conjugate, circular)
        )
    return labels, tuple(found)


class External:
    """The inputs of one graph, with their values in the prime field; see the module."""

    def __init__(
        self,
        model: Model,
        subprocess: Subprocess,
        along_z: bool = True,
        loop: Sequence[int] = (),
        seed: int = 1,
        largest: int | None = None,
        others: Sequence[Placed] = (),
    ) -> None:
        self.model, self.subprocess = model, subprocess
        self.labels, self.legs = legs_of(model, subprocess, along_z)
        self.loop = tuple(loop)
        """Legs whose helicity is not in the graph: their wave functions are superpositions of all."""
        self.kinds: tuple[Placed, ...] = (*enumerate(self.legs), *others)
        """The legs, and what else stands in their places in other subprocesses of the same graph."""
        self.graph = Graph(largest=largest)
        self.strengths = strengths(model)
        self._keys: dict[InputKey, Reference] = {}
        self._draw = random.Random(seed)
        self.point = field_point(self.legs, seed, others)
        self.values = self.point_values(self.point, seed)
        self._enter()

    def beside(self, subprocess: Subprocess, along_z: bool) -> External:
        """The inputs of another subprocess in the same graph, whose legs are among the kinds of this one."""
        found = copy(self)
        found.subprocess = subprocess
        found.labels, found.legs = legs_of(self.model, subprocess, along_z)
        found._enter()
        return found

    def _enter(self) -> None:
        """Momenta and wave functions of the legs."""
        self.momenta = []
        self.waves: list[list[Components]] = []
        for number, leg in enumerate(self.legs):
            momentum = [self.input(("momentum", number, k)) for k in range(4)]
            self.momenta.append(tuple(-p if leg.incoming else p for p in momentum))
            helicities = 1 if number in self.loop else leg.helicities
            self.waves.append([self._wave(number, h) for h in range(helicities)])

    def _wave(self, number: int, helicity: int) -> Components:
        parts = 1 if self.legs[number].spin == 1 else 4
        kind = self.kinds.index((number, self.legs[number]))
        return tuple(
            Complex(self.graph, *(self.input(("wave", kind, helicity, c, part)) for part in (0, 1)))
            for c in range(parts)
        )

    def point_values(
        self, point: Point, seed: int, combination: Sequence[int] | None = None
    ) -> dict[InputKey, int]:
        """The inputs that belong to legs and masses, at one point; looped legs have the helicities of a
        `combination`, or superpositions of them."""
        draw = random.Random(seed + 1)
        found: dict[InputKey, int] = {}
        for number, (place, leg) in enumerate(self.kinds):
            if number == place:
                for k, component in enumerate(components_of(point.momenta[place])):
                    found["momentum", number, k] = component.value
            waves = point.waves[number]
            if number in self.loop:
                if combination is None:
                    waves = [tuple(_superposed(waves, leg, draw))]
                else:
                    waves = [waves[combination[self.loop.index(number)]]]
            _spread(found, ("wave", number), waves)
            own = point.spinors[number]
            if own is not None:
                _spread(found, ("spinor", number), [own], single=True)
        for name, mass in point.masses.items():
            found["parameter", name] = mass.value
        return found

    def values_at(self, seed: int) -> Mapping[Hashable, int]:
        """All inputs at another point: couplings as they are."""
        others = self.kinds[len(self.legs) :]
        legs = [leg for _, leg in self.kinds[: len(self.legs)]]
        found: dict[Hashable, int] = dict(self.values)
        found.update(self.point_values(field_point(legs, seed, others), seed))
        return found

    def input(self, key: InputKey) -> Reference:
        """An input; one without a value at the point (a coupling, a width) gets one."""
        if key not in self._keys:
            value = self.values.get(key)
            if value is None:
                value = self.values[key] = self._draw.randrange(1, PRIME // 2)
            self._keys[key] = self.graph.input(key, value)
        return self._keys[key]

    def parameter(self, name: str) -> Reference:
        """A mass or a width."""
        return self.input(("parameter", name))

    def symbol(self, symbol: Symbol) -> Reference:
        """A coupling."""
        return self.input(("coupling", *symbol))

    def base(self, order: str) -> Reference:
        """The base of a coupling order."""
        return self.input(("base", order))

    def spinor(self, leg: int) -> tuple[Complex, Complex]:
        """λ of a massless leg."""
        return tuple(  # type: ignore[return-value]
            Complex(self.graph, *(self.input(("spinor", leg, c, part)) for part in (0, 1))) for c in (0, 1)
        )

    def total(self, legs: Sequence[int]) -> tuple[Reference, ...]:
        """(E, p_x, p_y, p_z) of what leaves through some legs."""
        found = [0, 0, 0, 0]
        for leg in legs:
            sign = -1 if self.legs[leg].incoming else 1
            for at, k in enumerate((4, 2, 3, 5)):
                found[at] = self.graph.add(found[at], sign * self.input(("momentum", leg, k)))
        return tuple(found)

    def spin(self, label: int) -> int:
        """2s + 1."""
        return self.model.by_code[label].spin

    def colour(self, label: int) -> int:
        """The representation of what leaves: 1, 3, −3 or 8."""
        colour = self.model.by_code[label].colour
        return -colour if abs(colour) == 3 and label < 0 else colour

    def sizes(self, references: Sequence[Reference]) -> np.ndarray:
        """Nodes `[nodes, points]` at typical momenta and the model's parameters."""
        values = evaluate(self.model)
        masses = [float(np.real(values.parameters[leg.mass])) for leg in self.legs]
        momenta = typical_momenta(masses, _SIZES)
        inputs = input_values(self.kinds, self.strengths.reduction, momenta, values, Arrays(np))
        live = self.graph.live(references)
        known: dict[int, Any] = {}
        for number in live:
            kind, *arguments = self.graph.nodes[number]
            if kind == "input":
                known[number] = inputs(arguments[0])
            elif kind == "constant":
                known[number] = arguments[0]
            elif kind == "inv":
                known[number] = 1 / known[arguments[0]]
            else:
                a, b = (known[argument] for argument in arguments)
                known[number] = a * b if kind == "mul" else a + b if kind == "add" else a - b
        return np.stack(
            [np.broadcast_to(np.abs(known[abs(r)]), (_SIZES,)) if r else np.zeros(_SIZES) for r in references]
        )


def _spread(
    found: dict[InputKey, int], key: InputKey, waves: Sequence[Sequence[Part]], single: bool = False
) -> None:
    for h, wave in enumerate(waves):
        for c, parts in enumerate(wave):
            for part, number in enumerate(parts):
                found[(*key, *(() if single else (h,)), c, part)] = number.value


def _superposed(waves: Sequence[Sequence[Part]], leg: Leg, draw: random.Random) -> list[Part]:
    """A random superposition of states: with complex coefficients for fermions, real ones for vectors."""
    found = [(Residue(0), Residue(0)) for _ in waves[0]]
    for wave in waves:
        a = Residue(draw.randrange(1, PRIME))
        b = Residue(draw.randrange(1, PRIME) if leg.spin == 2 else 0)
        found = [
            (re + a * x - b * y, im + a * y + b * x) for (re, im), (x, y) in zip(found, wave, strict=True)
        ]
    return found


def _rotation() -> tuple[tuple[float, ...], ...]:
    """Of no axis that momenta lie on: spinors and polarisations are singular along −z and x."""
    axis = np.array([0.3, 0.5, 0.8]) / np.sqrt(0.98)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    matrix = np.eye(3) + np.sin(0.9) * cross + (1 - np.cos(0.9)) * cross @ cross
    return tuple(tuple(map(float, row)) for row in matrix)


_ROTATION = _rotation()


def _turned(p: Sequence[Any]) -> tuple[Any, ...]:
    energy, *spatial = p
    return (energy, *(sum(a * b for a, b in zip(row, spatial, strict=True)) for row in _ROTATION))


def input_values(
    kinds: Sequence[Placed],
    reduction: Reduction,
    momenta: Any,
    values: Values,
    numbers: Arrays,
    own_masses: bool = False,
) -> Callable[[InputKey], Any]:
    """A function from the key of an input to its value, from momenta and a model's `values`.

    Where beams may have any direction, all momenta are rotated first: |M|² is the same in every such frame.

    **Arguments:** `kinds`, of the legs and what else stands in their places. `momenta`: an array
    `[…, legs, 4]`, or each leg's (E, p_x, p_y, p_z). `own_masses`: wave functions of massive legs have the
    mass of their momentum in place of the model's.
    """
    if isinstance(momenta, tuple):
        components = list(momenta)
    else:
        components = [tuple(momenta[..., leg, k] for k in range(4)) for leg in range(momenta.shape[-2])]
    legs = [leg for _, leg in kinds]
    if not any(leg.beam for leg in legs):
        components = [_turned(p) for p in components]
    components = [components[place] for place, _ in kinds]
    waves: dict[int, list[tuple[Part, ...]]] = {}
    spinors: dict[int, tuple[Part, Part]] = {}

    def wave(leg: int) -> list[tuple[Part, ...]]:
        if leg not in waves:
            if own_masses and not legs[leg].massless:
                energy, x, y, z = components[leg]
                mass = numbers.root(abs(energy * energy - (x * x + y * y + z * z)))  # 0 within rounding
            else:
                mass = values.parameters[legs[leg].mass]
            waves[leg] = states(components[leg], legs[leg], mass, numbers)
        return waves[leg]

    def value(key: InputKey) -> Any:
        kind, *rest = key
        if kind == "momentum":
            return components_of(components[rest[0]])[rest[1]]
        if kind == "wave":
            leg, helicity, component, part = rest
            return wave(leg)[helicity][component][part]
        if kind == "spinor":
            leg, component, part = rest
            if leg not in spinors:
                spinors[leg] = spinor(components[leg], legs[leg].beam, numbers)
            return spinors[leg][component][part]
        if kind == "parameter":
            return values.parameters[rest[0]]
        if kind == "coupling":
            return reduction.symbol(values.couplings, (rest[0], rest[1]))
        return reduction.base(values.couplings, rest[0])

    return value
