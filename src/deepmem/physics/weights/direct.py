"""The map for particles that are seen, each energy following its own response."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from deepmem.physics.detector.detector import ByEta
from deepmem.physics.processes.base import Process

# Gauss-Legendre rules converge badly on quantiles of the response itself, whose derivative is singular at
# both ends; on those of a Gaussian twice as wide 12 x 12 points give 1e-5.
_QUADRATURE_STRETCH = 2.0


def flat_energies(
    process: Process, shared: dict[str, Any], event: dict[str, Any], u: jax.Array, stretch: float = 1.0
) -> tuple[list[jax.Array], Any]:
    """Energies that follow their own transfer functions, and Π T dE/du."""
    energies, density, used = [], jnp.asarray(1.0), 0
    for i, kind in enumerate(process.classes):
        by_eta: ByEta = shared["responses"][kind]
        response = by_eta.at(event["eta"][i])
        # a perfect measurement takes no random number
        at = u[used] if by_eta.dimensions else jnp.asarray(0.5)
        used += by_eta.dimensions
        energy, weight = response.flatten(at, event["energy"][i], stretch=stretch)
        energies.append(energy)
        density = density * weight
    return energies, density


stretched_energies = partial(flat_energies, stretch=_QUADRATURE_STRETCH)
