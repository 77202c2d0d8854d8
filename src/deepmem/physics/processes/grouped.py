"""|M|² of subprocesses that are too much for one program: some programs, each evaluated where it is wanted.

    {|M|²(p), |M|²(p̃)},    p̃ with the two partons exchanged

An exchange of the partons is a subprocess of its own within one program (`amplitudes.joint`), where it shares
work. Here it is the same program at other momenta: code is compiled once, and that takes most of the time of
a first weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.amplitudes.joint import Joint, joints
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.subprocesses import Subprocess

_GLUON = 21


@dataclass(frozen=True, eq=False)
class Group:
    """One program, the subprocesses that are its results, and at which momenta it is evaluated."""

    joint: Joint
    subprocesses: tuple[Subprocess, ...]
    turned: tuple[bool, ...]
    """Of False, at the momenta as they are, and True, with exchanged partons, one or both."""

    def __call__(
        self, momenta: Sequence[FourVector], exchanged: Sequence[FourVector], given: Mapping[str, Any]
    ) -> dict[tuple[Subprocess, bool], Scalar]:
        """|M|² by subprocess, and whether its partons are exchanged."""
        views = [tuple(exchanged if turned else momenta) for turned in self.turned]
        every = at_each(lambda legs: self.joint.of_legs(legs, given), views)
        return {
            (subprocess, turned): square
            for turned, squares in zip(self.turned, every, strict=True)
            for subprocess, square in zip(self.subprocesses, squares, strict=True)
        }

    @property
    def operations(self) -> int:
        """Of the program."""
        return self.joint.program.operations


def at_each(
    function: Callable[[tuple[FourVector, ...]], tuple[Scalar, ...]], momenta: Sequence[Sequence[FourVector]]
) -> list[tuple[Scalar, ...]]:
    """What a function makes of several momenta of the legs, one after the other, by the same code."""
    if len(momenta) == 1:
        return [function(tuple(momenta[0]))]
    together = jax.tree.map(lambda *each: jnp.stack(each), *map(tuple, momenta))
    # a loop and no `vmap`, whose axis would take the place of the points' own in the vectors of a processor
    found = lax.map(function, together)
    return [tuple(each[k] for each in found) for k in range(len(momenta))]


def grouped(
    model: Model, members: Sequence[tuple[Subprocess, bool]], along_z: bool
) -> tuple[Group, ...] | None:
    """The programs of some subprocesses, each with whether its partons are exchanged.

    None where nothing is shared, one alone is too large for a program, or legs differ in mass. **Raises** as
    `amplitude` does.
    """
    wanted: dict[Subprocess, set[bool]] = {}
    for subprocess, turned in members:
        wanted.setdefault(subprocess, set()).add(turned)
    found: list[Group] = []
    for views in sorted({tuple(sorted(each)) for each in wanted.values()}):
        together = [each for each, needed in wanted.items() if tuple(sorted(needed)) == views]
        left = tuple(sorted(together, key=_alike))
        made = joints(model, left, along_z)
        if made is None:
            return None
        for one in made:
            number = len(one.program.outputs)
            found.append(Group(one, left[:number], views))
            left = left[number:]
    return tuple(found) if len(found) < len(wanted) else None


def _alike(subprocess: Subprocess) -> tuple[int, list[int]]:
    """Neighbours in the order of this share much: gluons first, then the quarks there are."""
    codes = sorted(map(abs, (*subprocess.incoming, *subprocess.outgoing)))
    return -codes.count(_GLUON), codes
