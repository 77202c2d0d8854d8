"""Which map a point belongs to: a_k = g_k/Σ_j g_j, from the invariants of its legs alone.

g is the product of the shapes that a map draws its masses and exchanges from, each within the ends that it
has at the point; what is left of the density, two-body volumes and angles, is about the same in all maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepmem.kinematics import FourVector
from deepmem.physics.phasespace.bodies import kallen
from deepmem.physics.phasespace.shapes import Exchanged, Limit, Shape
from deepmem.physics.phasespace.topologies import Radiating
from deepmem.physics.phasespace.topology_maps import Body, Drawn, Parameters, TopologyMap, number_of


def shares(maps: Sequence[TopologyMap], number: int, drawn: Drawn) -> np.ndarray:
    """a_k = g_k/Σ_j g_j of the map k = `number` at points that any of them may have drawn."""
    known = _Invariants(drawn)
    sizes = [_size(each, known) for each in maps]
    total = sum(sizes)
    return np.where(total > 0, sizes[number] / np.where(total > 0, total, 1.0), 0.0)


def nearest_their_poles(pairs: Sequence[Radiating], drawn: Drawn, values: Parameters) -> np.ndarray:
    """Where each resonance of the text is nearer to its pole than the same particle before it radiated."""
    known, number = _Invariants(drawn), number_of(values)
    near = np.full(len(drawn.s), True)
    for before, after, line in pairs:
        mass = number(line.mass)
        near &= abs(known.mass(after) - mass) < abs(known.mass(before) - mass)
    return near


class _Invariants:
    """Squared masses of some legs, and the shapes' sizes there, each once."""

    def __init__(self, drawn: Drawn) -> None:
        self.drawn = drawn
        self.zero = np.zeros_like(drawn.s)
        self._sums: dict[int, FourVector] = {}
        self._sizes: dict[tuple[int, Shape], np.ndarray] = {}
        self._of_bodies: dict[Body, np.ndarray] = {}

    def total(self, bits: int) -> FourVector:
        if bits not in self._sums:
            lowest = bits & -bits
            leg = self.drawn.legs[lowest.bit_length() - 1]
            self._sums[bits] = (
                leg
                if bits == lowest
                else tuple(a + b for a, b in zip(self.total(bits ^ lowest), leg, strict=True))
            )
        return self._sums[bits]

    def square(self, bits: int) -> np.ndarray:
        e, x, y, z = self.total(bits)
        return e**2 - x**2 - y**2 - z**2

    def mass(self, bits: int) -> np.ndarray:
        return np.sqrt(np.maximum(self.square(bits), 0.0))

    def size(self, body: Body) -> np.ndarray:
        """The product of the shapes of a body that anything may be above of, and of what it decays into."""
        if body not in self._of_bodies:
            self._of_bodies[body] = self._limited(body, None)
        return self._of_bodies[body]

    def _limited(self, body: Body, available: np.ndarray | None) -> np.ndarray:
        """The same below an available mass, as `_Draws.mass` draws it."""
        if body.shape is None:
            return np.ones_like(self.zero)
        size, left = np.ones_like(self.zero), self.mass(body.legs) if body.first else available
        high: Limit = np.inf if available is None else available**2
        together = self.zero
        least = sum(child.least for child in body.children)
        for child in body.children:
            least -= child.least
            mass = self.mass(child.legs)
            # what has none of this but its own is computed once
            size = size * (self.size(child) if left is None else self._limited(child, left - least))
            left = None if left is None else left - mass
            together = together + mass
        low = body.least**2 if body.first else together**2
        return size * body.shape.size(self.square(body.legs), low, np.minimum(high, body.most**2))

    def exchanged(self, bits: int, shape: Exchanged, beams: tuple[float, float]) -> np.ndarray:
        """The size of −t of what is between the first parton and these legs, made dimensionless."""
        if (-bits, shape) not in self._sizes:
            first, second = (m**2 for m in beams)
            root = np.sqrt(self.drawn.s)
            momentum = np.sqrt(np.maximum(kallen(self.drawn.s, first, second), 0.0)) / (2 * root)
            e, _, _, z = self.total(bits)
            t = first + self.square(bits) - 2 * (np.sqrt(first + momentum**2) * e - momentum * z)
            self._sizes[-bits, shape] = shape.size(-t)
        return self._sizes[-bits, shape]


def _size(each: TopologyMap, known: _Invariants) -> np.ndarray:
    """g of a map: the product of its shapes, for an angle that of the sphere."""
    size = known.size(each.whole)
    left, before = each.whole.legs, 0
    s = known.drawn.s
    for k, line in enumerate(each.exchanged):
        mass = s if k == 0 else known.square(left) / s
        left &= ~each.whole.children[k].legs
        before |= each.whole.children[k].legs
        size = size * known.exchanged(before, line, each.bounds.beams) * mass
    return size
