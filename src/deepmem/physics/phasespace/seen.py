"""What every map has of an event: its visible legs, its missing p_T, and the shapes of the masses.

A visible leg has the direction that was measured, and an energy that follows its response. So its measure is

    |p|² sinθ d|p|/(2E (2π)³) = |p| sinθ dE/(2 (2π)³),

times T, which comes with the energy.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import FourVector, Scalar, add
from deepmem.physics.detector.detector import MissingMomentum
from deepmem.physics.phasespace.lines import BreitWigner
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.theory.parameters import Parameters, electroweak


class Seen:
    """Visible legs of one event: energies from their responses, momenta, and the measure that comes along."""

    def __init__(self, shared: Shared, event: Visible, classes: tuple[str, ...]) -> None:
        self.event = event
        self.responses = shared.responses(event, classes)
        self.dimensions = [response.dimensions for response in self.responses]

    def direction(self, i: Any) -> tuple[Scalar, Scalar, Scalar]:
        return self.event.legs.x[i], self.event.legs.y[i], self.event.legs.z[i]

    def momentum(self, i: Any, energy: Scalar) -> FourVector:
        size = self.size(i, energy)
        x, y, z = self.direction(i)
        return energy, size * x, size * y, size * z

    def size(self, i: Any, energy: Scalar) -> Scalar:
        """|p| of an energy, 0 below the mass."""
        return jnp.sqrt(jnp.maximum(energy**2 - self.event.legs.mass[i] ** 2, 0.0))

    def measure(self, i: Any, size: Scalar) -> Scalar:
        """|p|² sinθ d|p|/(2E (2π)³) per dE."""
        return size * self.event.legs.sine[i] / (2 * (2 * np.pi) ** 3)

    def draw(self, i: Any, u: Scalar, stretch: Scalar = 1.0) -> tuple[FourVector, Scalar]:
        """A momentum whose energy follows its own response, or spreads more, and T times the measure."""
        legs = self.event.legs
        energy, weight = self.responses[i].flatten(u, legs.energy[i], legs.mass[i], stretch)
        return self.momentum(i, energy), weight * self.measure(i, self.size(i, energy))

    def draw_like(self, other: Seen, i: Any, u: Scalar) -> tuple[FourVector, Scalar]:
        """The same with the energy that another event has: T follows the measured energy of this one."""
        rec, theirs = self.event.legs.energy[i], other.event.legs.energy[i]
        energy, weight = other.responses[i].flatten(u, theirs, other.event.legs.mass[i])
        density = other.responses[i].density(theirs, energy)
        density = jnp.where(density > 0, density, 1.0)
        weight = weight * self.responses[i].density(rec, energy) / density
        return self.momentum(i, energy), weight * self.measure(i, self.size(i, energy))

    def draw_all(self, u: jax.Array, stretch: Scalar = 1.0) -> tuple[list[FourVector], Scalar]:
        """All momenta by their own responses, and the measure. A perfect measurement takes no number."""
        momenta, density, first = [], jnp.asarray(1.0), 0
        for i, dimensions in enumerate(self.dimensions):
            momentum, measure = self.draw(i, u[first] if dimensions else jnp.asarray(0.5), stretch)
            first += dimensions
            momenta.append(momentum)
            density = density * measure
        return momenta, density


def missing_centre(
    shared: Shared, event: Visible, balance: list[FourVector] | None = None
) -> tuple[Scalar, Scalar]:
    """Missing p_T as measured; or what, with these partons, makes the p_T of all legs: 0, or where the recoil
    is used, as measured.
    """
    measured = event.missing[0], event.missing[1]
    if balance is None:
        return measured
    total = add(*balance)
    if shared.detector.recoil is None:
        return -total[1], -total[2]
    return measured[0] - total[1], measured[1] - total[2]


def _missing_response(shared: Shared, balance: bool) -> MissingMomentum | None:
    """That of missing p_T, or of the recoil; None where what balances is known."""
    return None if balance and shared.detector.recoil is None else shared.detector.transverse


def missing_sigma(shared: Shared, event: Visible, balance: bool = False) -> Scalar | None:
    """σ of each of its components in GeV; None where it has no response."""
    response = _missing_response(shared, balance)
    return None if response is None else response.sigma(event.activity)


def missing_pt(
    shared: Shared,
    event: Visible,
    u: jax.Array,
    balance: list[FourVector] | None = None,
) -> tuple[Scalar, Scalar]:
    """`missing_centre`, within its response if it has one, which takes the last two numbers of u."""
    centre = missing_centre(shared, event, balance)
    response = _missing_response(shared, balance is not None)
    if response is None:
        return centre
    # its quantiles are flat: T d²p = d²u
    return response.flatten((u[-2], u[-1]), centre, event.activity)[0]


def w_and_top(p: Parameters) -> tuple[BreitWigner, BreitWigner]:
    """The shapes of both masses, `[scan]`."""
    return BreitWigner(jnp.broadcast_to(electroweak(p).MW, p.WW.shape), p.WW), BreitWigner(p.MT, p.WT)
