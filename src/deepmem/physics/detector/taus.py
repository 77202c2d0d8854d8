"""How much of a tau's energy is seen, f(x) with x = E_vis/E_τ, of taus that are not polarised.

    τ → ℓνν: f = ⅓ (1 − x)(5 + 5x − 4x²);   τ → hadrons ν: f = 1/(1 − r), r < x < 1, r = m_vis²/m_τ².

What is seen has the direction of the tau. The mean of the first is 0.35. Branching fractions are in neither.
Source: Y. S. Tsai, Phys. Rev. D4 (1971) 2821, for energies well above m_τ; two bodies decay evenly.
"""

from __future__ import annotations

from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from deepmem.physics.errors import ParameterError
from deepmem.physics.theory.parameters import Parameters

HADRONIC: Literal["tau"] = "tau"
LEPTONIC: Literal["taulepton"] = "taulepton"
"""The classes of legs that are taus: seen as hadrons, or as an electron or a muon."""
TAUS = (HADRONIC, LEPTONIC)


def response_class(kind: str) -> str:
    """The class whose response a leg of a class is measured with."""
    return "lepton" if kind == LEPTONIC else kind


PION_MASS, LARGEST_MASS = 0.13957, 1.5  # GeV
HADRONS = ((PION_MASS, 0.17), (0.775, 0.42), (1.26, 0.41))
"""Masses in GeV of the hadrons of generated taus, π, ρ and a₁, and how often: no weight depends on it."""
_STEPS = 60


def tau_mass(p: Parameters) -> float:
    """m_τ in GeV, at which nothing is scanned.

    **Raises** `ParameterError` in a model where taus have no mass: the least x of hadrons follows from it.
    """
    try:
        return float(np.ravel(p.get("MTA"))[0])
    except KeyError:
        raise ParameterError(
            "taus have no mass MTA in this model, and what is seen of their decays depends on it: choose a "
            "model with one, such as sm"
        ) from None


def seen_mass(mass: Any) -> np.ndarray:
    """The mass in GeV of a tau's hadrons from the measured one; none (0) is that of a pion.

    Above 1.5 GeV it is 1.5 GeV: hadrons of a tau are never as heavy as it is.
    """
    size = np.abs(np.asarray(mass, dtype=float))
    return np.clip(np.where(size > 0, size, PION_MASS), PION_MASS, LARGEST_MASS)


def density(kind: str, x: Any, r: Any) -> Any:
    """f(x), 0 outside; `r`, the least x of hadrons. For arrays of JAX."""
    inside = (x > 0) & (x < 1)
    if kind == LEPTONIC:
        return jnp.where(inside, (1 - x) * (5 + 5 * x - 4 * x**2) / 3, 0.0)
    return jnp.where(inside & (x > r), 1 / (1 - r), 0.0)


def drawn(kind: str, u: np.ndarray, r: np.ndarray) -> np.ndarray:
    """x from a uniform number: ⅓ (5x − 3x³ + x⁴) = u, or r + (1 − r) u. For arrays of NumPy."""
    if kind != LEPTONIC:
        return r + (1 - r) * u
    low, high = np.zeros_like(u), np.ones_like(u)
    for _ in range(_STEPS):
        x = (low + high) / 2
        below = (5 * x - 3 * x**3 + x**4) / 3 < u
        low, high = np.where(below, x, low), np.where(below, high, x)
    return (low + high) / 2
