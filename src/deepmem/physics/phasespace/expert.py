"""How a process whose particles escape is integrated: what a process says of it, and what its steps return.

The last step of a map gives all momenta at a point u of the unit cube and, for each of its branches,

    density = Π_vis [|p|² sinθ d|p|/(2E (2π)³) · T] · d³ν/(2E (2π)³) d³ν̄/(2E (2π)³) δ² / d^n u,

0 where there is no solution. δ² makes the neutrinos' p_T the missing one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.phasespace.visible import Shared, Visible


class Proposal(NamedTuple):
    """The momenta of all legs of a point, `[branches]` or `[1]`, and its density `[branches]`, see above."""

    legs: tuple[FourVector, ...]
    density: Scalar


Step: TypeAlias = Callable[[Shared, Visible, jax.Array, Any], Any]
"""(shared, event, u, what the step before returned) ↦ what the next one needs, the last one a `Proposal`.

Steps are compiled one by one: XLA would compute again, at each node of a table, what a point needs once.
"""


@dataclass(frozen=True)
class Expert:
    """How a process with two neutrinos is integrated: its variables beside the visible energies, and maps."""

    hidden: int
    """Variables in place of the neutrinos."""
    broad: float
    """The share of each mass that is drawn off its resonance."""
    by_energies: tuple[Step, ...]
    """The map that takes any response."""
    by_balance: tuple[Step, ...]
    """The same with missing p_T that balances the visible partons."""
    by_recoil: tuple[Step, ...] = ()
    """The same with the recoil within its response; without it, weights with `met=recoil` are refused."""
    by_response: tuple[Step, ...] = ()
    """A better one, where missing p_T has a response."""
    by_angle: tuple[Step, ...] = ()
    """A better one, where the missing p_T is given and all energies have responses. It treats its two sides
    differently: visible legs come with either side first, and `second_first` says which."""
    by_angle_and_recoil: tuple[Step, ...] = ()
    """The same with the recoil within its response."""
    shares: tuple[float, ...] = ()
    """Of its channels, before an event has its own."""
    guided: tuple[int, int] | None = None
    """Two coordinates of u that follow the event's `table`."""
    regions: tuple[Expert, ...] = ()
    """Maps of two regions, near a resonance and off it, that together are all there is; see `regions`."""


def by_branch(*legs: FourVector) -> tuple[FourVector, ...]:
    """All components with an axis of branches, of length one for what they have in common."""
    return tuple(tuple(map(jnp.atleast_1d, p)) for p in legs)  # type: ignore[misc]
