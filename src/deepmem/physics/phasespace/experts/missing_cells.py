"""Missing p_T in cells of its response, by what it leaves the other one of two neutrinos.

With z = (m⃗ − measured)/σ its response is T d²m = dΦ(z_x) dΦ(z_y). A cell has what the response gives it times
how likely k⃗ = m⃗ − k⃗₁ makes the other W's mass with its lepton's p (`solutions.within_reach`); a part of
all points follows the response alone. Within a cell quantiles are even, so nothing is left out.
"""

from __future__ import annotations

from math import erf, sqrt

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.phasespace import solutions
from deepmem.physics.tables import within

_EDGES = np.array([-np.inf, -2.4, -1.6, -0.8, 0.0, 0.8, 1.6, 2.4, np.inf])
_MIDDLES = np.array([-2.8, -2.0, -1.2, -0.4, 0.4, 1.2, 2.0, 2.8])
_BELOW = np.array([(1 + erf(z / sqrt(2))) / 2 for z in _EDGES])
_PARTS = np.diff(_BELOW)
# What follows the response alone.
_ALONE = 0.1


def shares(
    centre: tuple[Scalar, Scalar],
    sigma: Scalar,
    one: tuple[Scalar, Scalar],
    lepton: FourVector,
    square: Scalar,
) -> Scalar:
    """Of cells `[8, 8]`, in single precision: a proposal, and no result.

    **Arguments:** `centre`, missing p_T as measured, and `sigma` of each component, GeV; `one`, k⃗₁; the
    other's `lepton`; `square`, m_W².
    """
    x, y = (
        (centre[i] - one[i]).astype(np.float32) + sigma.astype(np.float32) * _MIDDLES.astype(np.float32)
        for i in (0, 1)
    )
    kx, ky = x[:, None], y[None, :]
    px, py, square = (jnp.asarray(each).astype(np.float32) for each in (lepton[1], lepton[2], square))
    likely = solutions.within_reach((px, py), (kx, ky), square).height
    alone = np.outer(_PARTS, _PARTS).astype(np.float32)
    share = likely * alone
    return (1 - np.float32(_ALONE)) * share / share.sum() + np.float32(_ALONE) * alone


def drawn(
    centre: tuple[Scalar, Scalar], sigma: Scalar, share: Scalar, u: Scalar, v: Scalar
) -> tuple[tuple[Scalar, Scalar], Scalar]:
    """m⃗ in GeV from two numbers, and T d²m/d²u."""
    rows = _upto(share.astype(float).sum(axis=1))
    i, along, row = within(rows, u)
    j, across, column = within(_upto(share[i].astype(float)), v)
    z = (_quantile(i, along), _quantile(j, across))
    parts = jnp.asarray(_PARTS)
    moved = centre[0] + sigma * z[0], centre[1] + sigma * z[1]
    return moved, parts[i] * parts[j] / (row * column)


def _upto(share: Scalar) -> Scalar:
    """The part below each edge."""
    upto = jnp.concatenate([jnp.zeros(1), jnp.cumsum(share)])
    return upto / upto[-1]


def _quantile(cell: Scalar, part: Scalar) -> Scalar:
    return ndtri(jnp.asarray(_BELOW)[cell] + part * jnp.asarray(_PARTS)[cell])
