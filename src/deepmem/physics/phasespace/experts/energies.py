"""The map for particles that are seen, each energy following its own response."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from deepmem.physics.phasespace.visible import Shared, Visible

# Gauss-Legendre rules converge badly on quantiles of the response itself, whose derivative is singular at
# both ends; on those of a Gaussian twice as wide 12 x 12 points give 1e-5.
_QUADRATURE_STRETCH = 2.0


def flat_energies(
    classes: tuple[str, ...], shared: Shared, event: Visible, u: jax.Array, stretch: float = 1.0
) -> tuple[list[jax.Array], Any]:
    """Energies that follow their own transfer functions, and Π T dE/du."""
    energies, density, used = [], jnp.asarray(1.0), 0
    for i, response in enumerate(shared.responses(event, classes)):
        # a perfect measurement takes no random number
        at = u[used] if response.dimensions else jnp.asarray(0.5)
        used += response.dimensions
        energy, weight = response.flatten(at, event.legs.energy[i], stretch=stretch)
        energies.append(energy)
        density = density * weight
    return energies, density


stretched_energies = partial(flat_energies, stretch=_QUADRATURE_STRETCH)
