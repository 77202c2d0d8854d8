"""The partonic part of a weight: densities and |M|² at a point, summed over initial states.

    (2π)⁴ (2/s) Σ f_a(x₁) f_b(x₂) |M|² / (2 x₁x₂s),   x₁,₂ = (E' ± p_z)/√s,   E' = √(E² − p_T²),

with (E, p_T, p_z) of all final-state particles together. |M|² is evaluated in the frame in which the total
p_T is zero, or in the laboratory with incoming partons boosted back. Legs that it is infinite for along a
beam are at least `parton_pt` hard in the former, see `collinear`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import mul
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.errors import DeepMEMWarning
from deepmem.kinematics import FourVector, Scalar, add, boost
from deepmem.physics.phasespace.visible import Shared
from deepmem.physics.precision import double_precision
from deepmem.physics.processes.base import InitialState, MatrixElements, Process
from deepmem.physics.theory import lhapdf
from deepmem.physics.theory.densities import PartonDensity
from deepmem.physics.theory.parameters import Parameters
from deepmem.physics.weights.collinear import legs_along_beams
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.resolution import mapped_resonance

# Operations of one |M|² from which XLA's newer emitters are slow.
_LARGE = 2_500
density_at_scale = jax.jit(PartonDensity.at_scale)  # one call to compile in place of forty


def states(process: Process, flavours: int) -> tuple[tuple[InitialState, ...], ...]:
    """The initial states of each channel that a proton of so many flavours has."""
    return tuple(
        tuple(state for state in channel if all(parton == 21 or abs(parton) <= flavours for parton in state))
        for channel in process.channels
    )


def density_of(alpha: Hypothesis) -> PartonDensity:
    """The density of the partons that a hypothesis needs, of all final states, as its file is now.

    **Raises** `UsageError` where there is none, or it lacks one of them.
    """
    processes = [each.process for each in alpha.process.variants] or [alpha.process]
    partons = {
        parton
        for process in processes
        for channel in states(process, alpha.flavours)
        for state in channel
        for parton in state
    }
    return lhapdf.current(alpha.density_name).select(*sorted(partons))


def negative_densities(alpha: Hypothesis) -> bool:
    """Whether a density is negative somewhere at the scale of a hypothesis."""
    return density_of(alpha).negative_at(alpha.scale)


def shared_by_events(alpha: Hypothesis) -> Shared:
    """What all events have in common."""
    count = alpha.count
    with double_precision():
        p = jax.tree.map(lambda v: np.broadcast_to(np.asarray(v, dtype=float), (count,)), alpha.parameters)
        if (generated := alpha.process.generated) is not None and not alpha.mass_from_event:
            p = generated.settled(p)
        density = density_of(alpha)
        if (text := density.outside(alpha.scale)) is not None:
            warnings.warn(text, DeepMEMWarning, stacklevel=2)
        at_scale = density_at_scale(density, np.asarray(alpha.scale))
    names = mapped_resonance(alpha)
    resonance = None if names is None else (p.get(names[0]), p.get(names[1]))
    return Shared(p, at_scale, alpha.detector, resonance, alpha.lost, alpha.parton_pt or None)


def over_states(
    squared: Sequence[Scalar],
    channels: Sequence[Sequence[InitialState]],
    first: Mapping[int, Scalar],
    second: Mapping[int, Scalar],
    product: Callable[[Scalar, Scalar], Scalar] = mul,
) -> Scalar:
    """Σ f_a(x₁) f_b(x₂) |M|² over the initial states of all channels.

    **Arguments:** `squared`, |M|² of each channel; `first`, `second`, the densities of both beams by parton;
    `product`, what is made of two of them.
    """
    total: Scalar = 0.0
    for square, channel in zip(squared, channels, strict=True):
        if channel:
            total = total + sum(product(first[a], second[b]) for a, b in channel) * square
    return total


@dataclass(frozen=True)
class Partonic:
    """Σ f f |M|² with its flux, for points of the phase space: see the module's first lines.

    What code is compiled for: of a hypothesis, what is no number.
    """

    process: Process
    flavours: int
    subset: str | None
    mass_from_event: bool = False
    frame: str = "pt0"
    signed: bool = False
    """Whether densities are negative somewhere, so that what comes from there is told apart."""
    along_beams: tuple[int, ...] = ()
    """Legs that have a least p_T, see `collinear`."""

    @classmethod
    def of(cls, alpha: Hypothesis) -> Partonic:
        process, subset = alpha.process.amplitude(alpha.subset)
        return cls(
            process,
            alpha.flavours,
            subset,
            alpha.mass_from_event,
            alpha.frame,
            negative_densities(alpha),
            legs_along_beams(alpha.process) if alpha.parton_pt else (),
        )

    @classmethod
    def plain(cls, alpha: Hypothesis) -> Partonic:
        """With the propagator of a resonance, whatever the hypothesis says of its mass."""
        process, subset = alpha.process.amplitude(alpha.subset)
        return cls(process, alpha.flavours, subset)

    @property
    def large(self) -> bool:
        """Whether |M|² of a state has so many operations that it is compiled in another way."""
        return getattr(self.process.on_axis, "operations", 0) > _LARGE

    def __call__(
        self, shared: Shared, momenta: Sequence[FourVector], factors: Scalar | None = None
    ) -> tuple[jax.Array, ...]:
        """Per set of parameters, and whether an x lies below the grid.

        With `signed`, then the size of what comes from negative densities.

        **Arguments:** `shared`, see `shared_by_events`; `momenta` of the outgoing legs in the laboratory,
        GeV; `factors` of the channels' |M|², 1 if not given.
        """
        sqrt_s = shared.parameters.sqrt_s[0]
        s = sqrt_s**2
        total = add(*momenta)
        energy = jnp.sqrt(total[0] ** 2 - total[1] ** 2 - total[2] ** 2)
        x1, x2 = (energy + total[3]) / sqrt_s, (energy - total[3]) / sqrt_s
        legs = self._legs(momenta, total, x1 * sqrt_s / 2, x2 * sqrt_s / 2)
        density = shared.density
        f1, f2 = density.xf(x1), density.xf(x2)
        first, second = ({parton: f[i] for i, parton in enumerate(density.partons)} for f in (f1, f2))
        channels = states(self.process, self.flavours)

        def one(p: Parameters) -> tuple[jax.Array, ...]:
            factor = jnp.ones_like(x1)
            if self.mass_from_event:
                # m_H := m4l at this point, and |s − m² + i m Γ|² = (m Γ)² taken out: no propagator is left
                mass, width = self.process.resonance or ("MH", "WH")
                m = jnp.sqrt(x1 * x2) * sqrt_s
                p = p.replaced(mass, m)
                factor = (m * p.get(width)) ** 2
            elements = self.process.matrix_elements if self.frame == "lab" else self.process.on_axis
            squared = _traced_once(elements)(legs, p, self.subset)
            if factors is not None:
                squared = tuple(factors[i] * each for i, each in enumerate(squared))
            result = factor * over_states(squared, channels, first, second)
            if not self.signed:
                return (result,)
            return result, factor * over_states(squared, channels, first, second, _negative)

        # x f(x) was read, so x₁x₂ is divided out once more
        flux = (2 * jnp.pi) ** 4 * (2 / s) / (2 * x1 * x2 * s) / (x1 * x2)
        if self.along_beams and shared.parton_pt is not None:
            flux = jnp.where(self._hard(momenta, total, shared.parton_pt), flux, 0.0)
        values, *negative = _for_each(one, shared.parameters)
        return flux * values, density.below(x1) | density.below(x2), *(flux * part for part in negative)

    def _hard(self, momenta: Sequence[FourVector], total: FourVector, least: Scalar) -> jax.Array:
        """Whether the legs along beams have their least p_T where the total p_T is zero."""
        beta = (-total[1] / total[0], -total[2] / total[0], 0.0)
        found = [boost(momenta[leg], beta) for leg in self.along_beams]
        return jnp.all(jnp.stack([p[1] ** 2 + p[2] ** 2 >= least**2 for p in found]), axis=0)

    def _legs(
        self, momenta: Sequence[FourVector], total: FourVector, first: Scalar, second: Scalar
    ) -> list[FourVector]:
        """All legs in the frame of evaluation; `first` and `second` are the energies of the partons."""
        zero = jnp.zeros_like(first)
        partons = [(first, zero, zero, first), (second, zero, zero, -second)]
        if self.frame == "lab":
            back = (total[1] / total[0], total[2] / total[0], 0.0)
            return [*(boost(p, back) for p in partons), *momenta]
        beta = (-total[1] / total[0], -total[2] / total[0], 0.0)
        return [*partons, *(boost(p, beta) for p in momenta)]


def _for_each(one: Callable[[Parameters], Any], p: Parameters) -> Any:
    """What `one` says of each set of parameters; of a single one without `vmap`, which would undo the
    conditional that keeps the kernel of |M|² apart, see `amplitudes.stages`."""
    if len(jax.tree.leaves(p)[0]) > 1:
        return jax.vmap(one)(p)
    return jax.tree.map(lambda each: each[None], one(jax.tree.map(lambda each: each[0], p)))


def _negative(first: Scalar, second: Scalar) -> Scalar:
    """The size of a product of densities one of which is negative, else 0."""
    return jnp.where(jnp.minimum(first, second) < 0, abs(first * second), 0.0)


@cache
def _traced_once(matrix_elements: MatrixElements) -> MatrixElements:
    """|M|² as a function of its own: a table of s and the integrand share one trace, half a second each."""
    return jax.jit(matrix_elements, static_argnums=2)
