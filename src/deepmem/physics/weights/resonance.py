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

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from deepmem.physics.detector.response import Response
from deepmem.physics.phasespace.lines import BreitWigner, Scan
from deepmem.physics.processes.base import Process
from deepmem.physics.tables import Table
from deepmem.physics.weights.partonic import Partonic

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


def resonant_energies(
    process: Process, shared: dict[str, Any], event: dict[str, Any], u: jax.Array
) -> tuple[list[jax.Array], Any]:
    """Energies from z orthogonal to ∂s/∂E, and s; Π T times the Jacobian. See the module's first lines.

    In scalars, and with what depends on the event alone done before: a third of the time of matrix products.
    """
    n = len(process.classes)
    rec, along, q = event["energy"], event["along"], event["q"]
    s, proposal, valid = _draw_s(u[n - 1], shared["resonance"], event)
    stretch = _STRETCH + event["widening"] * jnp.maximum(s - event["s"], 0.0)
    z = [stretch * ndtri(u[j]) for j in range(n - 1)]
    base = [rec[i] + sum(event["basis"][i, j] * z[j] for j in range(n - 1)) for i in range(n)]
    a2 = event["along_square"]
    half = sum(event["gradient_along"][i] * base[i] for i in range(n)) / 2
    a0 = 2 * sum(q[i, j] * base[i] * base[j] for i, j in combinations(range(n), 2))
    discriminant = half**2 - a2 * (a0 - s)
    root = jnp.sqrt(jnp.maximum(discriminant, 1e-300))
    a = (s - a0) / (half + root)
    valid &= discriminant > 0

    energies, density = [], jnp.asarray(1.0)
    for i, kind in enumerate(process.classes):
        response = shared["responses"][kind].at(event["eta"][i])
        energy = base[i] + along[i] * a
        low, high = response.support(rec[i])
        valid &= (energy > low) & (energy < high)
        # where it is not valid any energies will do, if they are positive
        energies.append(jnp.where((energy > low) & (energy < high), energy, rec[i]))
        density = density * response.density(rec[i], energies[i])
    normal = jnp.exp(-sum(zj**2 for zj in z) / (2 * stretch**2)) / (np.sqrt(2 * np.pi) * stretch) ** (n - 1)
    jacobian = event["sigmas"] / (2 * root * proposal * normal)
    return energies, jnp.where(valid, density * jacobian, 0.0)


def tailed_energies(
    process: Process, shared: dict[str, Any], event: dict[str, Any], u: jax.Array
) -> tuple[list[jax.Array], Any]:
    """All energies but one from their own responses, that one from s; Π T times the Jacobian."""
    n = len(process.classes)
    rec, q, solved = event["energy"], event["q"], event["solved"]
    s, proposal, valid = _draw_s(u[n - 1], shared["resonance"], event)
    responses = [shared["responses"][kind].at(event["eta"][i]) for i, kind in enumerate(process.classes)]
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


def _draw_s(u: Any, resonance: tuple[Any, Any], event: dict[str, Any]) -> tuple[Any, Any, Any]:
    """s from a mixture of Breit-Wigner maps, one per mass of a scan, and the table of `_off_resonance`.

    **Returns** s, its density, and whether it lies inside the window.
    """
    mass, width = resonance
    low, high, share = (event[key] for key in ("s_low", "s_high", "share"))
    shapes = Scan(BreitWigner(mass, width))
    step = (high - low) / (event["heights"].shape[0] - 1)
    table = Table(low, step, event["heights"], event["below"])
    elsewhere = table.draw(jnp.clip((u - share) / (1 - share), 0.0, 1.0))
    s = jnp.where(u < share, shapes.draw(u / share, low, high), elsewhere)
    density = share * shapes.density(s, low, high) + (1 - share) * table.density(s)
    return s, density, (s > low) & (s < high)


def prepared(
    partonic: Partonic, shared: dict[str, Any], energy: jax.Array, eta: jax.Array, phi: jax.Array
) -> dict[str, jax.Array]:
    sine = 1 / jnp.cosh(eta)
    event = {"energy": energy, "eta": eta, "phi": phi, "sine": sine}
    event |= {"x": sine * jnp.cos(phi), "y": sine * jnp.sin(phi), "z": jnp.tanh(eta)}
    if "resonance" not in shared:
        return event
    n = len(partonic.process.classes)
    responses = [shared["responses"][kind].at(eta[i]) for i, kind in enumerate(partonic.process.classes)]
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
    event |= {
        "q": q,
        "basis": sigma[:, None] * basis,
        "along": along,
        "gradient_along": gradient_along,
        "along_square": (along * gradient_along).sum() / 2,
        # Where an energy has to rise by zσ, −log T = ½z²/(1 + rz)² for σ = rE is flatter than ½z², by
        # (1 − 2rz)/(1 + rz)⁴, and its Gaussian 1 + 3rz times as wide. Found was less than 1 + 2rz.
        "widening": _STRETCH * 2 * jnp.max(normal * sigma / energy) / norm_along,
        "sigmas": jnp.prod(sigma),
        "solved": jnp.argmax(normal),
        "s": s,
        "s_low": jnp.maximum(s - _WINDOW * norm_along, 1e-6 * s),
        "s_high": s + _WINDOW * norm_along,
    }
    return event | _off_resonance(partonic, shared, event, responses, gradient, sigma)


def _off_resonance(
    partonic: Partonic,
    shared: dict[str, Any],
    event: dict[str, jax.Array],
    responses: Sequence[Response],
    gradient: jax.Array,
    sigma: jax.Array,
) -> dict[str, jax.Array]:
    """The density of s off the resonance: L(s) BW(s) less what points on the resonance account for.

    L(s) BW(s) is the integrand where the normal through the measured energies meets s (with the Π T of one
    energy that moves alone where that is larger: tails). An event measured several σ from the resonance has
    most of its weight neither on it nor at the measured s, but in between, where BW ∝ 1/(s − m²)² has risen
    and L not fallen yet, or where a pair of leptons reaches the mass of the Z. Points on the resonance follow
    BW, and account for L(m²) BW; what is left, (L − L(m²)) BW, is tabulated.

    **Returns** `heights`, the density at equidistant nodes from `s_low` to `s_high`; `below`, its integral
    up to each node; `share`, the part of points that belongs on the resonance.
    """
    energy, s, low, high = (event[key] for key in ("energy", "s", "s_low", "s_high"))
    directions = jnp.concatenate([event["along"][None], jnp.diag(sigma)])
    half = directions @ gradient / 2
    square = ((directions @ event["q"]) * directions).sum(axis=1)

    mass, width = shared["resonance"]
    pole, m_gamma = (mass**2)[:, None], (mass * width)[:, None]

    def along_normal(at: jax.Array) -> jax.Array:
        root = jnp.sqrt(jnp.maximum(half**2 + square * (at - s), 0.0))
        there = jnp.maximum(energy + ((at - s) / (half + root))[:, None] * directions, 1e-3 * energy)
        ratios = [
            response.density(energy[i], there[:, i]) / response.density(energy[i], energy[i])
            for i, response in enumerate(responses)
        ]
        e = there[0]
        x, y, z = (event[axis] for axis in ("x", "y", "z"))
        legs = [(e[i], e[i] * x[i], e[i] * y[i], e[i] * z[i]) for i in range(len(responses))]
        values, *_ = partonic(shared, legs)
        values = values * jnp.prod(e / energy) * jnp.prod(jnp.stack(ratios), axis=0).max()
        return jnp.nan_to_num(values * ((at - pole[:, 0]) ** 2 + m_gamma[:, 0] ** 2), nan=0.0, posinf=0.0)

    nodes = jnp.linspace(low, high, _NODES)
    step = nodes[1] - nodes[0]
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
    table = Table.of(low, step, heights)
    return {"share": share, "heights": table.heights, "below": table.below}


def _over(a: jax.Array, b: jax.Array) -> jax.Array:
    """a/b, and 0 where b is 0."""
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1.0), 0.0)
