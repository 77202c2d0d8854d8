"""A map of all of phase space for each topology, and which of them a point belongs to.

    ∫ dŝ dY dΦ_n f = Σ_k ∫ d^{3n−2}u J_k(u) a_k f,    a_k = g_k/Σ_j g_j,

g_k being the product of the topology's shapes: f a_k peaks where the map k has its points, and no other one
has to be evaluated there than by its propagators. From blobs to ŝ masses are drawn in the order in which they
can be near their poles: a resonance before what it decays into, unless that is heavier; anything else after.
Without resonances between them blobs are ordered by exchanges in t, each an angle about what was exchanged
before.

NumPy: a reaction has dozens of topologies, each of which would be a program to compile. Source: E. Byckling,
K. Kajantie, Nucl. Phys. B9 (1969) 568 (t); F. Maltoni, T. Stelzer, hep-ph/0208156 (a_k).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import NamedTuple, TypeAlias

import numpy as np

from deepmem.kinematics import FourVector
from deepmem.physics.phasespace.bodies import from_rest_frame, kallen
from deepmem.physics.phasespace.shapes import REGULAR, Exchanged, Falling, Open, Pole, Resonant, Shape
from deepmem.physics.phasespace.topologies import Line, Node, Topology

_TYPICAL = 100.0
"""A mass where nothing else says one, GeV."""
_SCALAR = 1
"""2s + 1."""
_NARROW = 1e-9
"""Of an angle to the axis, below which its azimuth is set."""


class Bounds(NamedTuple):
    """What is known of all points before any is drawn, GeV."""

    root: float
    """√s of the protons."""
    beams: tuple[float, float]
    """Masses of the two partons."""
    masses: np.ndarray
    """Of the outgoing legs `[legs]`."""
    pt: np.ndarray
    """The least p_T of each `[legs]`."""
    pairs: np.ndarray
    """The least 2 p_i·p_j `[legs, legs]`, GeV²; above the diagonal."""
    window: float
    """The widths that a resonance of the text may be off its mass; infinite without a window."""

    def legs_of(self, bits: int) -> list[int]:
        """The numbers of some legs."""
        return [k for k in range(len(self.masses)) if bits >> k & 1]

    def least(self, bits: int) -> float:
        """The least invariant mass of some legs."""
        legs = self.legs_of(bits)
        square = float((self.masses[legs] ** 2).sum())
        least = sum(
            max(self.pairs[i, j], 2 * self.masses[i] * self.masses[j]) for i in legs for j in legs if i < j
        )
        return float(np.sqrt(square + least))


@dataclass(frozen=True)
class Body:
    """A node of a topology with numbers."""

    legs: int
    shape: Shape | None
    """None: a leg."""
    children: tuple[Body, ...]
    least: float
    most: float
    """Of its mass, GeV."""
    nominal: float
    """Where its mass is usually."""
    first: bool
    """Whether its mass is drawn before those of its children."""


class Drawn(NamedTuple):
    """Points of one map."""

    legs: tuple[FourVector, ...]
    """Outgoing, in the rest frame of the partons, the first of which moves along +z."""
    s: np.ndarray
    """ŝ, GeV²."""
    rapidity: np.ndarray
    """Y of all together."""
    measure: np.ndarray
    """dŝ dY dΦ_n per unit of the cube, GeV^(2n − 2); 0 outside of phase space."""


Parameters: TypeAlias = Mapping[str, complex]


@dataclass(frozen=True)
class TopologyMap:
    """The map of one topology."""

    bounds: Bounds
    whole: Body
    """All outgoing legs; its children are the blobs, from the first parton to the second."""
    exchanged: tuple[Exchanged, ...]

    @property
    def dimensions(self) -> int:
        """Numbers in (0, 1) of a point."""
        return 3 * len(self.bounds.masses) - 2

    @property
    def divergent(self) -> int | None:
        """Bits of legs at whose least mass, or p_T, a propagator without a width is infinite; or None."""
        for body in (self.whole, *inner(self.whole.children)):
            shape = body.shape
            if isinstance(shape, Falling) and shape.offset > 0:
                return body.legs
            if isinstance(shape, Pole) and shape.met:
                return body.legs
        for k, line in enumerate(self.exchanged):
            if line.massless:
                for side in (self.whole.children[: k + 1], self.whole.children[k + 1 :]):
                    bits = sum(blob.legs for blob in side)
                    light = self.bounds.least(bits) == 0 and sum(blob.nominal for blob in side) == 0
                    if light and not self.bounds.pt[self.bounds.legs_of(bits)].any():
                        return bits
        return None

    def draw(self, u: np.ndarray) -> Drawn:
        """Points from uniform numbers `[dimensions, points]`."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return self._drawn(u)

    def _drawn(self, u: np.ndarray) -> Drawn:
        """The same; what is no number has no measure."""
        numbers = iter(u)
        draws = _Draws(numbers, np.ones(u.shape[1]))
        total = draws.mass(self.whole, np.full(u.shape[1], self.bounds.root))
        s = total**2
        limit = np.maximum(np.log(self.bounds.root**2 / s) / 2, 0.0)
        rapidity = limit * (2 * next(numbers) - 1)
        found: dict[int, FourVector] = {}
        zero = np.zeros_like(s)
        rest = (total, zero, zero, zero)
        if self.exchanged:
            self._ladder(draws, total, found)
        else:
            draws.two_body(self.whole, rest, total, _Z, found)
        legs = tuple(found[1 << k] for k in range(len(self.bounds.masses)))
        # ds/2π of every mass but that of the whole
        between = len(legs) - 2
        measure = draws.jacobian * 2 * limit / (2 * np.pi) ** between
        return Drawn(legs, s, rapidity, np.where(np.isfinite(measure), measure, 0.0))

    def _ladder(self, draws: _Draws, total: np.ndarray, found: dict[int, FourVector]) -> None:
        """The blobs one after the other, by what is exchanged between them."""
        first, second = (m**2 for m in self.bounds.beams)
        zero = np.zeros_like(total)
        momentum = np.sqrt(np.maximum(kallen(total**2, first, second), 0.0)) / (2 * total)
        q: FourVector = (np.sqrt(first + momentum**2), zero, zero, momentum)
        t: np.ndarray = np.full_like(total, first)
        rest: FourVector = (total, zero, zero, zero)
        mass = total
        blobs = self.whole.children
        for k, line in enumerate(self.exchanged):
            blob = blobs[k]
            own = draws.masses[blob.legs]
            left = blobs[k + 1 :]
            if len(left) == 1:
                other = draws.masses[left[0].legs]
            else:
                bits = sum(each.legs for each in left)
                low = np.maximum(sum(draws.masses[each.legs] for each in left), self.bounds.least(bits))
                other = draws.between(Open(1.0), low, mass - own)
            axis = _axis(q, rest, mass)
            cosine, t = draws.exchange(line, mass, t, second, own, other)
            one, remainder = _apart(rest, mass, axis, cosine, next(draws.numbers), own, other)
            draws.below(blob, one, found)
            q = tuple(a - b for a, b in zip(q, one, strict=True))
            rest, mass = remainder, other
        draws.below(blobs[-1], rest, found)


_Z = None
"""The axis of a whole at rest: that of the beams."""
_Axis: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray] | None


@dataclass
class _Draws:
    """What has been drawn of some points."""

    numbers: Iterator[np.ndarray]
    jacobian: np.ndarray
    """Π 1/densities, and volumes of two-body phase space."""
    masses: dict[int, np.ndarray] = field(default_factory=dict)

    def between(self, shape: Shape, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """A mass between two others by the shape of its square; where that is empty the jacobian is 0."""
        possible = high > low
        top = np.where(possible, high, 2 * low + 1.0)
        s, over = shape.draw(next(self.numbers), low**2, top**2)
        self.jacobian = np.where(possible, self.jacobian * over, 0.0)
        return np.sqrt(s)

    def mass(self, body: Body, available: np.ndarray) -> np.ndarray:
        """The mass of a body and of all that it decays into, at most so large."""
        low = np.full_like(available, body.least)
        if body.shape is None:
            self.jacobian = np.where(available >= low, self.jacobian, 0.0)
            mass = low
        elif body.first:
            mass = self.between(body.shape, low, np.minimum(available, body.most))
            self._children(body, mass)
        else:
            together = self._children(body, np.maximum(available, low))
            mass = self.between(body.shape, np.maximum(low, together), np.minimum(available, body.most))
        self.masses[body.legs] = mass
        return mass

    def _children(self, body: Body, available: np.ndarray) -> np.ndarray:
        """The sum of the masses of what a body decays into."""
        least = sum(child.least for child in body.children)
        left = available
        for child in body.children:
            least -= child.least
            left = left - self.mass(child, left - least)
        return available - left

    def exchange(
        self,
        line: Exchanged,
        mass: np.ndarray,
        t: np.ndarray,
        second: float,
        own: np.ndarray,
        other: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """cosθ between what was exchanged before and a blob, and the next t; dΦ_2 is in the jacobian."""
        s = mass**2
        coming = np.sqrt(np.maximum(kallen(s, t, second), 0.0))
        going = np.sqrt(np.maximum(kallen(s, own**2, other**2), 0.0))
        # −t at cosθ = 1, whose two terms are nearly the same; 4 q p = range
        ends = (s + t - second) * (s + own**2 - other**2) / (2 * s) - t - own**2
        span = coming * going / s
        low = np.maximum(ends - span / 2, 0.0)
        x, over = line.draw(next(self.numbers), low, low + np.maximum(span, 1e-300))
        cosine = np.clip(1 - 2 * (x - low) / np.maximum(span, 1e-300), -1.0, 1.0)
        # √λ/8πs · dcosθ/2 = dx/(8π √λ(s, t, m²))
        self.jacobian = np.where(coming > 0, self.jacobian * over / (8 * np.pi * coming), 0.0)
        return cosine, -x

    def two_body(
        self, body: Body, momentum: FourVector, mass: np.ndarray, axis: _Axis, found: dict[int, FourVector]
    ) -> None:
        """A body's decay, even over the sphere, and all that follows."""
        one, other = body.children
        own, rest = self.masses[one.legs], self.masses[other.legs]
        root = np.sqrt(np.maximum(kallen(mass**2, own**2, rest**2), 0.0))
        self.jacobian = self.jacobian * root / (8 * np.pi * mass**2)
        cosine = 2 * next(self.numbers) - 1
        pair = _apart(momentum, mass, axis, cosine, next(self.numbers), own, rest)
        for child, each in zip(body.children, pair, strict=True):
            self.below(child, each, found)

    def below(self, body: Body, momentum: FourVector, found: dict[int, FourVector]) -> None:
        """The legs of a body that moves; decays are about its direction."""
        if not body.children:
            found[body.legs] = momentum
            return
        size = np.sqrt(momentum[1] ** 2 + momentum[2] ** 2 + momentum[3] ** 2)
        safe = np.maximum(size, 1e-300)
        x, y, z = (
            np.where(size > 0, p / safe, e) for p, e in zip(momentum[1:], (0.0, 0.0, 1.0), strict=True)
        )
        self.two_body(body, momentum, self.masses[body.legs], (x, y, z), found)


def _axis(q: FourVector, rest: FourVector, mass: np.ndarray) -> _Axis:
    """The direction of q in the frame where `rest` is."""
    _, x, y, z = from_rest_frame(q, (rest[0], -rest[1], -rest[2], -rest[3]), mass)
    size = np.maximum(np.sqrt(x**2 + y**2 + z**2), 1e-300)
    return x / size, y / size, z / size


def _apart(
    parent: FourVector,
    mass: np.ndarray,
    axis: _Axis,
    cosine: np.ndarray,
    turn: np.ndarray,
    own: np.ndarray,
    other: np.ndarray,
) -> tuple[FourVector, FourVector]:
    """Two bodies of these masses back to back in the parent's rest frame, at an angle to an axis there."""
    size = np.sqrt(np.maximum(kallen(mass**2, own**2, other**2), 0.0)) / (2 * mass)
    sine = np.sqrt(np.maximum(1 - cosine**2, 0.0))
    a, b, c = sine * np.cos(2 * np.pi * turn), sine * np.sin(2 * np.pi * turn), cosine
    if axis is not None:
        x, y, z = axis
        across = np.hypot(x, y)
        aside = across > _NARROW
        safe = np.where(aside, across, 1.0)
        cos, sin = np.where(aside, x / safe, 1.0), np.where(aside, y / safe, 0.0)
        a, b, c = (
            a * cos * z - b * sin + c * x,
            a * sin * z + b * cos + c * y,
            c * z - a * across,
        )
    forth = (np.sqrt(own**2 + size**2), size * a, size * b, size * c)
    back = (np.sqrt(other**2 + size**2), -size * a, -size * b, -size * c)
    if axis is None:
        return forth, back
    return from_rest_frame(forth, parent, mass), from_rest_frame(back, parent, mass)


# --- the maps of topologies
# -----------------------------------------------------------------------------------------------------------


def maps_of(topologies: Sequence[Topology], bounds: Bounds, values: Parameters) -> list[TopologyMap]:
    """The maps of some topologies: several where a resonance, or what it decays into, is off its pole."""
    return [each for topology in topologies for each in _maps(topology, bounds, values)]


def _maps(topology: Topology, bounds: Bounds, values: Parameters) -> list[TopologyMap]:
    number = number_of(values)
    blobs = [_bodies(node, bounds, number) for node in topology.blobs]
    found = []
    for chosen in product(*blobs):
        bits = sum(blob.legs for blob in chosen)
        transverse = float(np.sqrt(bounds.masses**2 + bounds.pt**2).sum())
        least = max(sum(blob.least for blob in chosen), bounds.least(bits), transverse)
        nominal = max(sum(blob.nominal for blob in chosen), least)
        lines = tuple(_exchanged(line, bounds, number) for line in topology.exchanged)
        for whole in _resonances(
            topology.whole, topology.written, _Part(bits, chosen, least, nominal), bounds, number
        ):
            found.append(TopologyMap(bounds, whole, lines))
    return found


class _Part(NamedTuple):
    """What a propagator is made into a `Body` with."""

    legs: int
    children: tuple[Body, ...]
    least: float
    nominal: float


_Number: TypeAlias = Callable[[str], float]


def number_of(values: Parameters) -> _Number:
    """The values of a model's masses and widths by name, real and positive; "ZERO" is 0."""
    return lambda name: 0.0 if name == "ZERO" else abs(complex(values[name]).real)


def _bodies(node: Node, bounds: Bounds, number: _Number) -> list[Body]:
    if not node.children:
        mass = float(bounds.masses[bounds.legs_of(node.legs)[0]])
        return [Body(node.legs, None, (), mass, mass, mass, True)]
    found = []
    for children in product(*(_bodies(child, bounds, number) for child in node.children)):
        least = max(sum(child.least for child in children), bounds.least(node.legs))
        nominal = max(sum(child.nominal for child in children), least)
        part = _Part(node.legs, children, least, nominal)
        found += _resonances(node.line, node.written, part, bounds, number)
    return found


def _resonances(line: Line | None, written: bool, part: _Part, bounds: Bounds, number: _Number) -> list[Body]:
    """The bodies of one propagator: on its pole, and where its children are heavier, off it, too.

    On it, resonant children that are heavier are drawn in either order.
    """
    legs, children, least, nominal = part
    whole = legs == (1 << len(bounds.masses)) - 1
    mass, width = (0.0, 0.0) if line is None else (number(line.mass), number(line.width))
    if width == 0 or mass == 0:
        shape: Shape
        if whole:
            shape = Falling(nominal**2, 0.0 if nominal > 0 else _TYPICAL**2)
        elif line is None:
            shape = Open(max(nominal, _TYPICAL) ** 2)
        else:
            shape = Pole.above(mass**2, least**2, nominal**2)
        return [Body(legs, shape, children, least, np.inf, nominal, False)]
    most = np.inf
    if written and np.isfinite(bounds.window):
        least, most = max(least, mass - bounds.window * width), mass + bounds.window * width
    on = Body(legs, Resonant(mass, width), children, least, most, max(mass, least), True)
    if not mass < nominal:
        return [on]
    # a child near its pole leaves the other one less: either may be the one that is drawn first
    each_first = all(isinstance(child.shape, Resonant) for child in children)
    found = [on, replace(on, children=children[::-1])] if each_first else [on]
    if nominal <= most:
        # vectors of a scalar far above its pole are longitudinal: |M|² does not fall as its propagator does
        scalar = line is not None and line.spin == _SCALAR
        off = Pole(-REGULAR, False) if scalar else Resonant(mass, width)
        found.append(Body(legs, off, children, least, most, nominal, False))
    return found


def _exchanged(line: Line, bounds: Bounds, number: _Number) -> Exchanged:
    mass = number(line.mass)
    if mass > 0:
        return Exchanged(mass**2, line.spin == 3, False)
    cuts = bounds.pt[(bounds.pt > 0) & (bounds.masses == 0)]
    return Exchanged(float(cuts.min()) ** 2 / 2 if len(cuts) else 1.0, False, True)


def inner(bodies: Sequence[Body]) -> list[Body]:
    """Those of bodies, and of what they decay into, that are no legs."""
    found = []
    for body in bodies:
        if body.children:
            found += [body, *inner(body.children)]
    return found
