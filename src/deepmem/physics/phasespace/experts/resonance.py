"""The map for an s-channel resonance narrower than the responses: s itself is an integration variable.

With Q_ij = 1 − cosθ_ij, s = Σ_ij Q_ij E_i E_j is quadratic along any direction in energies. *Gaussian*
responses: quantiles z orthogonal to n ∝ σ_i ∂s/∂E_i, and s, so that E = E_rec + σ (O z + a n), a the root
of the quadratic, with the Jacobian Π σ_i / |∂s/∂a|. *Other* responses, whose tails such quantiles would
miss: all energies but the one that moves s most follow their own, and that one is linear in s: E_k = (s −
Σ_{i,j≠k} Q_ij E_i E_j) / ∂s/∂E_k.

s is drawn from a mixture of the Breit–Wigner and of a table made for each event, see `_off_resonance`. z is
centred on the measured energies: also far from the resonance the integrand at a given s has its middle
within 0.7 of z = 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.detector.response import Response
from deepmem.physics.phasespace.lines import BreitWigner, Scan
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.tables import Table

# Gaussian quantiles are spread by this much, and more where energies have to rise, see `prepared`.
_STRETCH = 1.1
# Nodes of the density from which s is drawn off the resonance; what part of it follows the responses alone,
# and what part is uniform; the least share of points on the resonance and off it.
_NODES = 64
_RESPONSES_ALONE, _UNIFORM = 0.1, 0.02
_LEAST_SHARE = 0.05
# Reconstructed s beyond which nothing is integrated, in standard deviations: four energies at 5 σ each make
# 10.
_WINDOW = 10.0


Partonic: TypeAlias = Callable[[Shared, Sequence[FourVector]], tuple[jax.Array, ...]]


class Resonant(NamedTuple):
    """What an event has where the resonance is mapped, `n` its legs; see the module's first lines."""

    q: Scalar
    """Q `[n, n]`."""
    basis: Scalar
    """σO `[n, n − 1]`."""
    along: Scalar
    """σn, the normal in energies `[n]`."""
    gradient_along: Scalar
    """2 Q σn `[n]`."""
    along_square: Scalar
    """s of the energies σn."""
    widening: Scalar
    """By how much Gaussian quantiles are spread more per GeV² of s above the measured one."""
    sigmas: Scalar
    """Π σ."""
    solved: Scalar
    """The leg that moves s most."""
    s: Scalar
    """As measured, GeV²."""
    s_low: Scalar
    """The window that is integrated over."""
    s_high: Scalar
    share: Any = None
    """The part of points on the resonance."""
    table: Any = None
    """The density of s of the others, a `Table`."""


def resonant_energies(
    classes: tuple[str, ...], shared: Shared, event: Visible, u: jax.Array
) -> tuple[list[jax.Array], Any]:
    """Energies from z orthogonal to ∂s/∂E, and s; Π T times the Jacobian. See the module's first lines.

    In scalars, and with what depends on the event alone done before: a third of the time of matrix products.
    """
    n = len(classes)
    rec, here = event.legs.energy, event.resonant
    s, proposal, valid = _draw_s(u[n - 1], shared, here)
    stretch = _STRETCH + here.widening * jnp.maximum(s - here.s, 0.0)
    z = [stretch * ndtri(u[j]) for j in range(n - 1)]
    base = [rec[i] + sum(here.basis[i, j] * z[j] for j in range(n - 1)) for i in range(n)]
    a2 = here.along_square
    half = sum(here.gradient_along[i] * base[i] for i in range(n)) / 2
    a0 = 2 * sum(here.q[i, j] * base[i] * base[j] for i, j in combinations(range(n), 2))
    discriminant = half**2 - a2 * (a0 - s)
    root = jnp.sqrt(jnp.maximum(discriminant, 1e-300))
    a = (s - a0) / (half + root)
    valid &= discriminant > 0

    energies, density = [], jnp.asarray(1.0)
    for i, response in enumerate(shared.responses(event, classes)):
        energy = base[i] + here.along[i] * a
        low, high = response.support(rec[i])
        valid &= (energy > low) & (energy < high)
        # where it is not valid any energies will do, if they are positive
        energies.append(jnp.where((energy > low) & (energy < high), energy, rec[i]))
        density = density * response.density(rec[i], energies[i])
    normal = jnp.exp(-sum(zj**2 for zj in z) / (2 * stretch**2)) / (np.sqrt(2 * np.pi) * stretch) ** (n - 1)
    jacobian = here.sigmas / (2 * root * proposal * normal)
    return energies, jnp.where(valid, density * jacobian, 0.0)


def tailed_energies(
    classes: tuple[str, ...], shared: Shared, event: Visible, u: jax.Array
) -> tuple[list[jax.Array], Any]:
    """All energies but one from their own responses, that one from s; Π T times the Jacobian."""
    n = len(classes)
    rec, q, solved = event.legs.energy, event.resonant.q, event.resonant.solved
    s, proposal, valid = _draw_s(u[n - 1], shared, event.resonant)
    responses = shared.responses(event, classes)
    energies, weights = [], []
    for i, response in enumerate(responses):
        at = jnp.where(i < solved, u[min(i, n - 2)], u[max(i - 1, 0)])
        energy, weight = response.flatten(at, rec[i])
        energies.append(jnp.where(solved == i, 0.0, energy))
        weights.append(weight)
    rest = 2 * sum(q[i, j] * energies[i] * energies[j] for i, j in combinations(range(n), 2))
    slope = 2 * sum(q[solved, j] * energies[j] for j in range(n))
    last = (s - rest) / slope

    density = 1 / (slope * proposal)
    for i, response in enumerate(responses):
        low, high = response.support(rec[i])
        inside = (last > low) & (last < high)
        valid &= (solved != i) | inside
        energies[i] = jnp.where(solved == i, jnp.where(inside, last, rec[i]), energies[i])
        density = density * jnp.where(solved == i, response.density(rec[i], energies[i]), weights[i])
    return energies, jnp.where(valid, density, 0.0)


def _draw_s(u: Any, shared: Shared, here: Resonant) -> tuple[Any, Any, Any]:
    """s from a mixture of Breit-Wigner maps, one per mass of a scan, and the table of `_off_resonance`.

    **Returns** s, its density, and whether it lies inside the window.
    """
    assert shared.resonance is not None
    low, high, share = here.s_low, here.s_high, here.share
    shapes = Scan(BreitWigner(*shared.resonance))
    elsewhere = here.table.draw(jnp.clip((u - share) / (1 - share), 0.0, 1.0))
    s = jnp.where(u < share, shapes.draw(u / share, low, high), elsewhere)
    density = share * shapes.density(s, low, high) + (1 - share) * here.table.density(s)
    return s, density, (s > low) & (s < high)


def prepared(partonic: Partonic, classes: tuple[str, ...], shared: Shared, event: Visible) -> Resonant:
    """What an event has where the resonance is mapped.

    **Arguments:** `partonic`, Σ f f |M|² at a point: (shared, momenta in GeV) ↦ values `[scan]`, …
    """
    legs, n = event.legs, len(classes)
    energy, eta, phi, sine = legs.energy, legs.eta, legs.phi, legs.sine
    responses = shared.responses(event, classes)
    sigma = jnp.stack([response.scale(energy[i]) for i, response in enumerate(responses)])
    # 1 − cosθ_ij without the cancellation between nearly collinear leptons
    difference = 2 * (jnp.sinh((eta[:, None] - eta) / 2) ** 2 + jnp.sin((phi[:, None] - phi) / 2) ** 2)
    q = difference * sine[:, None] * sine
    gradient = 2 * (q * energy).sum(axis=1)
    norm_along = jnp.sqrt(((sigma * gradient) ** 2).sum())
    normal = sigma * gradient / norm_along
    # Householder: the first n−1 columns of 1 − 2vvᵀ/v² span what is orthogonal to the normal; all are ≥ 0
    v = normal + jnp.eye(n)[-1]
    basis = (jnp.eye(n) - 2 * v[:, None] * v / (v * v).sum())[:, :-1]
    along = sigma * normal
    gradient_along = 2 * (q * along).sum(axis=1)
    s = (energy * gradient).sum() / 2
    here = Resonant(
        q=q,
        basis=sigma[:, None] * basis,
        along=along,
        gradient_along=gradient_along,
        along_square=(along * gradient_along).sum() / 2,
        # Where an energy has to rise by zσ, −log T = ½z²/(1 + rz)² for σ = rE is flatter than ½z², by
        # (1 − 2rz)/(1 + rz)⁴, and its Gaussian 1 + 3rz times as wide. Found was less than 1 + 2rz.
        widening=_STRETCH * 2 * jnp.max(normal * sigma / energy) / norm_along,
        sigmas=jnp.prod(sigma),
        solved=jnp.argmax(normal),
        s=s,
        s_low=jnp.maximum(s - _WINDOW * norm_along, 1e-6 * s),
        s_high=s + _WINDOW * norm_along,
    )
    directions = jnp.concatenate([along[None], jnp.diag(sigma)])
    share, table = _off_resonance(partonic, responses, shared, event._replace(resonant=here), directions)
    return here._replace(share=share, table=table)


def _off_resonance(
    partonic: Partonic,
    responses: Sequence[Response],
    shared: Shared,
    event: Visible,
    directions: jax.Array,
) -> tuple[jax.Array, Table]:
    """The density of s off the resonance: L(s) BW(s) less what points on the resonance account for.

    L(s) BW(s) is the integrand where the normal through the measured energies meets s (with the Π T of one
    energy that moves alone where that is larger: tails). An event measured several σ from the resonance has
    most of its weight neither on it nor at the measured s, but in between, where BW ∝ 1/(s − m²)² has risen
    and L not fallen yet, or where a pair of leptons reaches the mass of the Z. Points on the resonance follow
    BW, and account for L(m²) BW; what is left, (L − L(m²)) BW, is tabulated.

    **Arguments:** `directions` in energies, the normal first.

    **Returns** the part of points that belongs on the resonance; and a table from `s_low` to `s_high`.
    """
    assert shared.resonance is not None
    legs, here = event.legs, event.resonant
    energy, s, low, high = legs.energy, here.s, here.s_low, here.s_high
    half = directions @ (2 * (here.q * energy).sum(axis=1)) / 2
    square = ((directions @ here.q) * directions).sum(axis=1)

    mass, width = shared.resonance
    pole, m_gamma = (mass**2)[:, None], (mass * width)[:, None]

    def along_normal(at: jax.Array) -> jax.Array:
        root = jnp.sqrt(jnp.maximum(half**2 + square * (at - s), 0.0))
        there = jnp.maximum(energy + ((at - s) / (half + root))[:, None] * directions, 1e-3 * energy)
        ratios = [
            response.density(energy[i], there[:, i]) / response.density(energy[i], energy[i])
            for i, response in enumerate(responses)
        ]
        e = there[0]
        momenta = [
            (e[i], e[i] * legs.x[i], e[i] * legs.y[i], e[i] * legs.z[i]) for i in range(len(responses))
        ]
        values, *_ = partonic(shared, momenta)
        values = values * jnp.prod(e / energy) * jnp.prod(jnp.stack(ratios), axis=0).max()
        return jnp.nan_to_num(values * ((at - pole[:, 0]) ** 2 + m_gamma[:, 0] ** 2), nan=0.0, posinf=0.0)

    nodes = jnp.linspace(low, high, _NODES)
    step = (high - low) / (_NODES - 1)
    profile = jax.vmap(along_normal, out_axes=1)(jnp.concatenate([nodes, mass**2]))
    # what the table resolves by itself, a wide resonance, needs no points of its own
    on_pole = jnp.diag(profile[:, _NODES:])[:, None] / (1 + (m_gamma / step) ** 2)
    profile = profile[:, :_NODES]
    # the table is no finer than its step
    smooth = m_gamma / ((nodes - pole) ** 2 + jnp.maximum(m_gamma, step) ** 2)
    left = jnp.maximum(profile - on_pole, 0.0) * smooth
    breit_wigner = jnp.arctan((high - pole) / m_gamma) - jnp.arctan((low - pole) / m_gamma)
    resonant = (on_pole * breit_wigner)[:, 0]
    total = resonant + step * left.sum(axis=1)
    share = jnp.clip(_over(resonant, total).mean(), _LEAST_SHARE, 1 - _LEAST_SHARE)
    heights = _over(left, total[:, None]).mean(axis=0)
    alone = _over(profile, profile.sum(axis=1)[:, None]).mean(axis=0)
    heights = heights + (_RESPONSES_ALONE * alone + _UNIFORM / _NODES) / step
    return share, Table.of(low, step, heights)


def _over(a: jax.Array, b: jax.Array) -> jax.Array:
    """a/b, and 0 where b is 0."""
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1.0), 0.0)
