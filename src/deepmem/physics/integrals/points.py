"""The points of a lattice rule: the lattice, its random shifts, and the tent.

    x_i = tent(frac(φ₂(i) z + Δ)),  tent(u) = 1 − |2u − 1|

φ₂ is the radical inverse, z the generating vector, Δ a shift. The tent makes the rule converge as if the
integrand were periodic (F. J. Hickernell, in *Monte Carlo and Quasi-Monte Carlo Methods 2000*, p. 274).
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from deepmem.physics.integrals.slots import SLOT

# R. Cools, F. Y. Kuo, D. Nuyens, SIAM J. Sci. Comput. 28 (2006) 2162: the order-2 vector `exod2_base2_m20` of
# D. Nuyens' Magic Point Shop, first 20 of 250 components.
GENERATING_VECTOR = np.array(
    [
        *(1, 182667, 469891, 498753, 110745, 446247, 250185, 118627, 245333, 283199),
        *(408519, 391023, 246327, 126539, 399185, 461527, 300343, 69681, 516695, 436179),
    ],
    dtype=float,
)
"""Of an extensible lattice of up to 2²⁰ points. Pairs of coordinates are spread well; 4 z₃ − z₄ − 3 z₅ = 2²⁰,
and z₁, z₂, z₃ have short relations, too, at the numbers of points that count."""

# By components, each the best of 900 or 300 odd numbers by the largest ratio to the least there is, over 2⁷
# to 2¹⁴ points and over projections to 2, 3 and 4 coordinates, of Σ 1/Π h⁴ over their dual lattices (as
# R. Cools, F. Y. Kuo, D. Nuyens for pairs and h²). See docs/notes/integrals.md.
TRIPLES_VECTOR = np.array(
    [
        *(1, 407089, 514667, 28349, 38189, 325235, 499865, 402805, 72121, 197197),
        *(44669, 449799, 360997, 238065, 311121, 397239, 443269, 22241, 55177, 51987),
    ],
    dtype=float,
)
"""The same for integrands that couple three coordinates."""

LATTICE_POINTS = 1 << 20

_TINY = 2.0**-53
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def lattice_points(
    shift: Float[Array, "slots shifts d"], offset: Float[Array, "slots"], z: Float[Array, "d"]
) -> Float[Array, "slots shifts points d"]:
    """The points of a slot, a block of the lattice under each of its shifts."""
    points = SLOT // shift.shape[1]
    inverse = jnp.asarray(radical_inverse(np.arange(points)))
    u = z * (inverse + offset[:, None])[..., None]
    u = u[:, None] + shift[:, :, None]
    u = 1 - jnp.abs(2 * (u - jnp.floor(u)) - 1)
    return jnp.clip(u, _TINY, 1 - _TINY)


def fixed_points(slots: int, dimensions: int) -> Float[np.ndarray, "slots points d"]:
    """Points of the lattice, not shifted at random: for trials that decide how to integrate."""
    index = radical_inverse(np.arange(slots * SLOT))
    u = (GENERATING_VECTOR[:dimensions] * index[:, None] + 0.5 / (slots * SLOT)) % 1
    return u.reshape(slots, SLOT, dimensions)


def radical_inverse(i: np.ndarray) -> np.ndarray:
    """The bits of an integer below 2²⁰ behind the binary point, in reverse."""
    i = np.asarray(i, dtype=np.int64)
    inverse = np.zeros(i.shape)
    for bit in range(20):
        inverse += (i >> bit & 1) * 2.0 ** -(bit + 1)
    return inverse


def random_shifts(seed: int, counter: Sequence[np.ndarray], shifts: int, dimensions: int) -> np.ndarray:
    """Uniform numbers `[events, shifts, dimensions]`, functions of the seed and of integers `[events]`.

    Counter-based: SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, OOPSLA 2014) of the seed, then of each
    coordinate in turn.
    """
    with np.errstate(over="ignore"):
        state = _mix(np.asarray(seed, dtype=np.int64).astype(np.uint64) + _GOLDEN)
        for part in (
            *(np.asarray(part, dtype=np.int64).astype(np.uint64)[:, None, None] for part in counter),
            np.arange(shifts, dtype=np.uint64)[:, None],
            np.arange(dimensions, dtype=np.uint64),
        ):
            state = _mix(state ^ _mix(part * _GOLDEN + _GOLDEN))
    return (state >> np.uint64(11)) * 2.0**-53


def _mix(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
