"""|M|² of a process that a reaction says, in the form that a `Process` has it: made by `physics.amplitudes`.

A reaction's channels are the initial states with equal |M|². Programs are generated when they are first
needed, or read from disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.amplitudes.amplitude import Amplitude, amplitude
from deepmem.physics.amplitudes.channels import Channel, of_initial_state
from deepmem.physics.amplitudes.joint import Joint, joint
from deepmem.physics.errors import ReactionError
from deepmem.physics.precision import require_double
from deepmem.physics.processes.grouped import Group, grouped
from deepmem.physics.reactions import Theory, read
from deepmem.physics.theory.expressions import evaluate
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.parameters import PARAMETERS, Parameters, parameters
from deepmem.physics.theory.restriction import switched_off
from deepmem.physics.theory.settings import checked
from deepmem.physics.theory.subprocesses import Subprocess

_TAU = 15
Orders: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Generated:
    """The `Process.matrix_elements` of a reaction: (momenta, parameters, subset) ↦ |M|² for each channel.

    Some of the diagrams are another reaction, so there are no subsets. The massive legs have the masses of
    their momenta.
    """

    reaction: str
    states: tuple[tuple[int, int], ...]
    """One initial state of each channel."""
    theory: Theory
    off: tuple[str, ...] = ()
    """Parameters of the model that are 0 and stay so: what vanishes with them is not generated."""
    along_z: bool = False
    """Whether both partons move along ±z, the first one upwards: fewer operations."""
    picks: tuple[tuple[int, bool], ...] = ()
    """Of a sum of final states, for each channel in place of its state: the place of its |M|² among the
    reaction's channels, and whether it has the partons exchanged. What comes twice is evaluated once."""
    content: str = ""
    """The digest of a model that a user gives: where its folder or card is replaced, |M|² is another one."""

    @property
    def on_axis(self) -> Generated:
        """The same for partons that move along ±z."""
        return replace(self, along_z=True)

    def without_others(self, settings: Iterable[str]) -> Generated:
        """The same without the couplings beyond `Parameters` that are 0 by default and not set."""
        unused = (name for name, value in self.defaults.items() if value == 0 and name not in PARAMETERS)
        return replace(self, off=tuple(sorted(set(unused) - set(settings))))

    def __call__(
        self, momenta: Sequence[FourVector], p: Parameters, subset: str | None = None
    ) -> tuple[Scalar, ...]:
        require_double("a matrix element")
        if (found := self.jointly(momenta, p)) is not None:
            return found[0]
        given = self._given(p)
        if (groups := self._groups) is not None:
            exchanged = _turned(momenta, self.along_z)
            squares = {key: each for one in groups[0] for key, each in one(momenta, exchanged, given).items()}
            return tuple(squares[key] for key in groups[1])

        def squared(each: Amplitude, turned: bool) -> Scalar:
            return each.of_legs(_turned(momenta, self.along_z) if turned else tuple(momenta), given)

        if not self.picks:
            made = _amplitudes(*self._read, self.states, self.off, self.along_z)
            return tuple(squared(*each) for each in made)
        different = {pick: squared(*each) for pick, each in self._picked().items()}
        return tuple(different[pick] for pick in self.picks)

    def jointly(
        self, momenta: Sequence[FourVector], p: Parameters, orders: Orders = ()
    ) -> list[tuple[Scalar, ...]] | None:
        """The same for some orders of the outgoing legs `[order][channel]`, with what all of them share.

        None: nothing is shared, or it is too much for one program. Of `orders` each says which momenta the
        legs have, as those that `composed.Exchanged` has; () is the one order as given.
        """
        require_double("a matrix element")
        one = self._joint(orders)
        if one is None:
            return None
        squares = one[0].of_legs(tuple(momenta), self._given(p))
        return [tuple(squares[k] for k in places) for places in one[1]]

    def joint_operations(self, orders: Orders = ()) -> int | None:
        """Of the program of `jointly`; None where there is none."""
        one = self._joint(orders)
        return None if one is None else one[0].program.operations

    def _joint(self, orders: Orders) -> tuple[Joint, list[list[int]]] | None:
        return _jointly(*self._read, self.picks or self.states, orders, self.off, self.along_z)

    @property
    def _groups(self) -> tuple[tuple[Group, ...], list[tuple[Subprocess, bool]]] | None:
        return _in_groups(*self._read, self.picks or self.states, self.off, self.along_z)

    @property
    def _read(self) -> tuple[str, Theory, str]:
        """What channels follow from."""
        return self.reaction, self.theory, self.content

    def _given(self, p: Parameters) -> dict[str, Any]:
        """The values that the model has parameters for."""
        known = {each.name for each in self.model.parameters if each.name not in self.off}
        return {name: value for name, value in p.values().items() if name in known}

    def settled(self, p: Parameters) -> Parameters:
        """The parameters with all of the model's that follow from them, which compiled code need not derive.

        **Arguments:** `p`, numbers or arrays of one shape. What is then replaced in them changes nothing that
        followed from it.
        """
        model, given = switched_off(self.model, self.off), self._given(p)
        found = evaluate(model, given).parameters
        follows = [each.name for each in model.parameters if each.expression is not None]
        shape = np.shape(p.sqrt_s)
        others = {name: np.broadcast_to(found[name], shape) for name in follows if name not in given}
        return p._replace(others={**(p.others or {}), **others} or None)

    def _picked(self) -> dict[tuple[int, bool], tuple[Amplitude, bool]]:
        """The amplitude of each pick, and whether it has the partons exchanged."""
        numbers = tuple(sorted({number for number, _ in self.picks}))
        made = _channels(*self._read, numbers, self.off, self.along_z)
        return {(number, turned): (made[number], turned) for number, turned in sorted(set(self.picks))}

    @property
    def model(self) -> Model:
        return read(self.reaction, self.theory).model

    @property
    def defaults(self) -> dict[str, float | None]:
        """Of the model's parameters that can be set; None where one follows from others."""
        found = read(self.reaction, self.theory).parameters()
        return {name: value if isinstance(value, float) else None for name, value in found.items()}

    def parameters(self, settings: Mapping[str, Any]) -> Parameters:
        """Values by name, checked, the model's own defaults for the others.

        **Raises** `UnknownNameError` or `ParameterError` as `parameters` and `settings.checked` do.
        """
        usual = {
            name: value for name, value in self.defaults.items() if name in PARAMETERS and value is not None
        }
        own = {name: value for name, value in settings.items() if name in PARAMETERS}
        others = {name: value for name, value in settings.items() if name not in PARAMETERS}
        known = {name: value for name, value in own.items() if name != "sqrt_s" and value is not None}
        numbers = checked(self.model, known | others)
        chosen = parameters(**usual | own)
        if self.theory.massless_b:
            chosen = chosen._replace(MB=0.0)
        # masses and widths of resonances are read by name, by whoever maps one
        read_by_name = {name for pair in self.resonances for name in pair} | {*self._masses_of_taus}
        read_by_name -= set(PARAMETERS)
        at_defaults = read(self.reaction, self.theory).defaults
        beyond = {name: at_defaults[name] for name in sorted(read_by_name)}
        return chosen._replace(others=beyond | {name: numbers[name] for name in others} or None)

    @property
    def _masses_of_taus(self) -> tuple[str, ...]:
        """The names of the masses of outgoing taus."""
        found = read(self.reaction, self.theory)
        legs = {code for channel in found.channels for code in channel.subprocess.outgoing}
        masses = {found.model.by_code[code].mass for code in legs if abs(code) == _TAU}
        return tuple(sorted(masses - {"ZERO"}))

    @property
    def operations(self) -> int:
        """Of its largest program."""
        if (found := self.joint_operations()) is not None:
            return found
        if (groups := self._groups) is not None:
            return max(each.operations for each in groups[0])
        if self.picks:
            return max(each.program.operations for each, _ in self._picked().values())
        made = _amplitudes(*self._read, self.states, self.off, self.along_z)
        return max(each.program.operations for each, _ in made)

    @property
    def all_operations(self) -> int:
        """Of all that is evaluated at a point, where it is not one program."""
        if (groups := self._groups) is not None:
            return sum(len(each.turned) * each.operations for each in groups[0])
        if self.picks:
            return sum(each.program.operations for each, _ in self._picked().values())
        made = _amplitudes(*self._read, self.states, self.off, self.along_z)
        return sum(each.program.operations for each, _ in made)

    @property
    def resonances(self) -> list[tuple[str, str]]:
        """The parameters (mass, width) of the unstable particles in its diagrams, by PDG code."""
        found = read(self.reaction, self.theory)
        codes = sorted(frozenset().union(*(channel.inner for channel in found.channels)))
        particles = [found.model.by_code[code] for code in codes]
        return [(each.mass, each.width) for each in particles if "ZERO" not in (each.mass, each.width)]

    def to_dict(self) -> dict[str, Any]:
        """What identifies |M|²: the reaction, what it is read in, and the model by content."""
        theory = self.theory
        return {
            "reaction": self.reaction,
            "model": str(theory.model),
            **({} if theory.param_card is None else {"param_card": str(theory.param_card)}),
            **({"labels": {name: list(each) for name, each in theory.labels}} if theory.labels else {}),
            "model_sha256": self.model.digest,
        }


def _turned(momenta: Sequence[FourVector], along_z: bool) -> tuple[FourVector, ...]:
    """The two partons exchanged; along z all turned by π about y, so that the first one moves upwards."""
    legs = (momenta[1], momenta[0], *momenta[2:])
    return tuple((e, -x, y, -z) for e, x, y, z in legs) if along_z else legs


@lru_cache(maxsize=256)
def _amplitudes(
    reaction: str,
    theory: Theory,
    content: str,
    states: tuple[tuple[int, int], ...],
    off: tuple[str, ...],
    along_z: bool,
) -> tuple[tuple[Amplitude, bool], ...]:
    """The amplitude of each channel, and whether it has the partons exchanged."""
    return tuple(
        (_amplitude(channel, off, along_z), turned) for channel, turned in _members(reaction, theory, states)
    )


def _members(
    reaction: str, theory: Theory, chosen: Sequence[tuple[int, int]] | Sequence[tuple[int, bool]]
) -> Iterator[tuple[Channel, bool]]:
    """The channel of each initial state or pick, and whether it has the partons exchanged."""
    channels = read(reaction, theory).channels
    for one, other in chosen:
        if isinstance(other, bool):
            yield channels[one], other
        else:
            ((channel, members),) = of_initial_state(channels, (one, other))
            (member,) = members
            yield channel, member.turned


@lru_cache(maxsize=256)
def _jointly(
    reaction: str,
    theory: Theory,
    content: str,
    chosen: tuple[tuple[int, int], ...] | tuple[tuple[int, bool], ...],
    orders: Orders,
    off: tuple[str, ...],
    along_z: bool,
) -> tuple[Joint, list[list[int]]] | None:
    """One program of all channels and orders, and where in it they are `[order][channel]`."""
    members = list(_members(reaction, theory, chosen))
    every = [[_subprocess(*each, order) for each in members] for order in orders or ((),)]
    distinct = {each: k for k, each in enumerate(dict.fromkeys(each for one in every for each in one))}
    if len(distinct) == 1:
        return None
    try:
        found = joint(switched_off(members[0][0].model, off), tuple(distinct), along_z)
    except ReactionError:  # one that vanishes with what is switched off
        return None
    return None if found is None else (found, [[distinct[each] for each in one] for one in every])


@lru_cache(maxsize=256)
def _in_groups(
    reaction: str,
    theory: Theory,
    content: str,
    chosen: tuple[tuple[int, int], ...] | tuple[tuple[int, bool], ...],
    off: tuple[str, ...],
    along_z: bool,
) -> tuple[tuple[Group, ...], list[tuple[Subprocess, bool]]] | None:
    """Programs of all channels, and which of their results is which channel."""
    members = list(_members(reaction, theory, chosen))
    wanted = [(_subprocess(channel, False, ()), turned) for channel, turned in members]
    try:
        found = grouped(switched_off(members[0][0].model, off), wanted, along_z)
    except ReactionError:  # one that vanishes with what is switched off
        return None
    return None if found is None else (found, wanted)


def _subprocess(channel: Channel, turned: bool, order: Sequence[int]) -> Subprocess:
    found = replace(channel.subprocess, term=0)
    if turned:
        found = replace(found, incoming=found.incoming[::-1])
    return found.in_order(order) if order else found


@lru_cache(maxsize=256)
def _channels(
    reaction: str,
    theory: Theory,
    content: str,
    numbers: tuple[int, ...],
    off: tuple[str, ...],
    along_z: bool,
) -> dict[int, Amplitude]:
    """The amplitudes of some of a reaction's channels, by their places."""
    channels = read(reaction, theory).channels
    return {number: _amplitude(channels[number], off, along_z) for number in numbers}


def _amplitude(channel: Channel, off: tuple[str, ...], along_z: bool) -> Amplitude:
    """Of a channel without some parameters; with them, where nothing is left without."""
    try:
        return amplitude(switched_off(channel.model, off), channel.subprocess, along_z)
    except ReactionError:
        return amplitude(channel.model, channel.subprocess, along_z)
