"""Weighted points of one part of a reaction: from uniform numbers to partons in the laboratory and dσ.

|M|² is computed where cuts and densities leave something, and for one map at a time: its share of the point
stands in the weight, see `phasespace.topology_shares`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import FourVector
from deepmem.physics.phasespace.bodies import kallen
from deepmem.physics.phasespace.topology_maps import Drawn
from deepmem.physics.phasespace.topology_shares import nearest_their_poles, shares
from deepmem.physics.precision import double_precision
from deepmem.physics.theory.densities import DensityAtScale
from deepmem.physics.theory.parameters import GEV_2_TO_PB
from deepmem.physics.weights.parton_level import Contribution, Part, Reaction

_BLOCK = 4096
"""Points for which densities are read by one program."""


class Points(NamedTuple):
    """Points that cuts on partons keep, without those whose weight is 0 whatever |M|² is."""

    rows: np.ndarray
    """Which of the points that were drawn."""
    momenta: np.ndarray
    """Of outgoing legs in the laboratory `[points, legs, 4]`, the total p_T being 0, GeV."""
    sigma: np.ndarray
    """dσ per unit of the cube in pb, of each final state that cuts tell apart `[finals, points]`."""
    densities: tuple[np.ndarray, np.ndarray]
    """x f of either proton `[points, partons]`."""


class PartPoints:
    """One part with the density at its scale."""

    def __init__(self, reaction: Reaction, part: Part, density: DensityAtScale) -> None:
        self.reaction, self.part, self.density = reaction, part, density
        self.number = {parton: k for k, parton in enumerate(density.partons)}

    def points(self, number: int, u: np.ndarray, maps: tuple[int, ...]) -> Points:
        """**Arguments:** `number` of the map that draws; uniform numbers `[dimensions, points]`; `maps` among
        which each point is shared."""
        part = self.part
        drawn = part.maps[number].draw(u)
        inside = drawn.measure > 0
        if part.radiating:
            inside &= nearest_their_poles(part.radiating, drawn, self.reaction.parameters)
        rows = np.flatnonzero(inside)
        drawn = _at(drawn, rows)
        momenta = _laboratory(drawn)
        passed = self._passed(momenta)
        kept = np.flatnonzero(passed.any(axis=0))
        rows, drawn, momenta, passed = rows[kept], _at(drawn, kept), momenta[kept], passed[:, kept]
        share = shares([part.maps[k] for k in maps], maps.index(number), drawn)
        root = np.sqrt(drawn.s) / self.reaction.root
        first, second = (_xf(self.density, root * np.exp(sign * drawn.rapidity)) for sign in (1, -1))
        light = np.stack([self._luminosity(members, first, second) for _, members in part.finals])
        light = light * passed * (drawn.measure * share)
        full = np.flatnonzero((light != 0).any(axis=0))
        square = np.zeros(len(rows))
        square[full] = part.amplitude.values(_all_legs(_at(drawn, full), part.beams), self.reaction.values)
        flux = 2 * np.sqrt(kallen(drawn.s, part.beams[0] ** 2, part.beams[1] ** 2))
        # dx1 dx2 f f = dŝ dY (x1 f)(x2 f)/ŝ
        sigma = GEV_2_TO_PB * light * square / (drawn.s * flux)
        return Points(rows, momenta, np.where(np.isfinite(sigma), sigma, 0.0), (first, second))

    def codes(
        self, points: Points, values: np.ndarray, rows: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """PDG codes of the outgoing legs `[rows, legs]`: each point is one of the contributions.

        **Arguments:** `values` of each final state `[finals, points]`.
        """
        first, second = (densities[rows] for densities in points.densities)
        parts, outgoing = [], []
        for (_, members), value in zip(self.part.finals, values[:, rows], strict=True):
            whole = self._luminosity(members, first, second)
            for each in members:
                share = self._luminosity([each], first, second)
                parts.append(value * np.divide(share, whole, out=np.zeros_like(whole), where=whole > 0))
                outgoing.append(each.outgoing)
        upto = np.cumsum(parts, axis=0)
        chosen = (rng.random(len(rows)) * upto[-1] >= upto).sum(axis=0)
        return np.array(outgoing)[np.minimum(chosen, len(outgoing) - 1)]

    def _luminosity(
        self, members: Sequence[Contribution], first: np.ndarray, second: np.ndarray
    ) -> np.ndarray:
        """Σ f f of some contributions `[points]`."""
        at = [(each.times, *(self.number[parton] for parton in each.partons)) for each in members]
        return sum((times * first[:, a] * second[:, b] for times, a, b in at), np.zeros(len(first)))

    def _passed(self, momenta: np.ndarray) -> np.ndarray:
        """Which points are within cuts on partons, for each final state."""
        cuts = self.reaction.cuts
        if cuts is None:
            return np.full((len(self.part.finals), len(momenta)), True)
        return np.stack([cuts.passes(momenta, codes) for codes, _ in self.part.finals])


def _at(drawn: Drawn, rows: np.ndarray) -> Drawn:
    legs = tuple(tuple(each[rows] for each in leg) for leg in drawn.legs)
    return Drawn(legs, drawn.s[rows], drawn.rapidity[rows], drawn.measure[rows])


def _laboratory(drawn: Drawn) -> np.ndarray:
    """Outgoing legs moved along the beam `[points, legs, 4]`."""
    cosh, sinh = np.cosh(drawn.rapidity), np.sinh(drawn.rapidity)
    legs = [np.stack([e * cosh + z * sinh, x, y, z * cosh + e * sinh], axis=-1) for e, x, y, z in drawn.legs]
    return np.stack(legs, axis=1)


def _all_legs(drawn: Drawn, beams: tuple[float, float]) -> np.ndarray:
    """All legs in the partons' rest frame `[points, 2 + legs, 4]`."""
    zero = np.zeros_like(drawn.s)
    squares = [mass**2 for mass in beams]
    momentum = np.sqrt(np.maximum(kallen(drawn.s, *squares), 0.0) / drawn.s) / 2
    incoming: list[FourVector] = [
        (np.sqrt(square + momentum**2), zero, zero, sign * momentum)
        for square, sign in zip(squares, (1, -1), strict=True)
    ]
    return np.stack([np.stack(leg, axis=-1) for leg in (*incoming, *drawn.legs)], axis=1)


@jax.jit
def _read(density: DensityAtScale, x: jax.Array) -> jax.Array:
    return density.xf(x)


def _xf(density: DensityAtScale, x: np.ndarray) -> np.ndarray:
    """x f of all partons `[points, partons]`."""
    blocks = -(-len(x) // _BLOCK)
    padded = np.full(blocks * _BLOCK, 0.5)
    padded[: len(x)] = x
    with double_precision():
        parts = [np.asarray(_read(density, jnp.asarray(block))) for block in padded.reshape(blocks, _BLOCK)]
    found = np.concatenate(parts) if parts else np.zeros((0, len(density.partons)))
    return found[: len(x)]
