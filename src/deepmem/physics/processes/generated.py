"""|M|² of a process that a reaction says, in the form that a `Process` has it: made by `physics.amplitudes`.

A reaction's channels are the initial states with equal |M|². Programs are generated when they are first
needed, or read from disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.amplitudes.amplitude import Amplitude, amplitude
from deepmem.physics.amplitudes.channels import of_initial_state
from deepmem.physics.precision import require_double
from deepmem.physics.reactions import Theory, read
from deepmem.physics.theory.parameters import Parameters


@dataclass(frozen=True)
class Generated:
    """The `Process.matrix_elements` of a reaction: (momenta, parameters, subset) ↦ |M|² for each channel.

    The massive legs have the masses of their momenta.
    """

    reaction: str
    states: tuple[tuple[int, int], ...]
    """One initial state of each channel."""
    theory: Theory
    subsets: tuple[tuple[str, str], ...] = ()
    """(name, reaction) of some of the diagrams."""
    along_z: bool = False
    """Whether both partons move along ±z, the first one upwards: fewer operations."""

    @property
    def on_axis(self) -> Generated:
        """The same for partons that move along ±z."""
        return replace(self, along_z=True)

    def __call__(
        self, momenta: Sequence[FourVector], p: Parameters, subset: str | None = None
    ) -> tuple[Scalar, ...]:
        require_double("a matrix element")
        text = self.reaction if subset is None else dict(self.subsets)[subset]
        given = p.values()
        return tuple(
            each.of_legs(_turned(momenta, self.along_z) if turned else tuple(momenta), given)
            for each, turned in _amplitudes(text, self.theory, self.states, self.along_z)
        )

    def to_dict(self) -> dict[str, Any]:
        """What identifies |M|²: the reaction and its model, by content."""
        return {"reaction": self.reaction, "model": read(self.reaction, self.theory).model.digest}


def _turned(momenta: Sequence[FourVector], along_z: bool) -> tuple[FourVector, ...]:
    """The two partons exchanged; along z all turned by π about y, so that the first one moves upwards."""
    legs = (momenta[1], momenta[0], *momenta[2:])
    return tuple((e, -x, y, -z) for e, x, y, z in legs) if along_z else legs


@lru_cache(maxsize=256)
def _amplitudes(
    reaction: str, theory: Theory, states: tuple[tuple[int, int], ...], along_z: bool
) -> tuple[tuple[Amplitude, bool], ...]:
    """The amplitude of each channel, and whether it has the partons exchanged."""
    found = []
    for state in states:
        ((channel, members),) = of_initial_state(read(reaction, theory).channels, state)
        (member,) = members
        found.append((amplitude(channel.model, channel.subprocess, along_z), member.turned))
    return tuple(found)
