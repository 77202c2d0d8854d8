"""What a map knows: of an event, `Visible`, and of all events, `Shared`. Both are pytrees.

Events are arrays with a leading axis; where code is compiled for one event, the axis is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from deepmem.kinematics import Scalar
from deepmem.physics.detector.detector import Detector
from deepmem.physics.detector.response import Response
from deepmem.physics.theory.densities import DensityAtScale
from deepmem.physics.theory.parameters import Parameters


class Legs(NamedTuple):
    """The visible legs, in the process's order: each `[events, legs]`."""

    energy: Scalar
    """As measured, GeV."""
    mass: Scalar
    """Of the parton, GeV."""
    eta: Scalar
    phi: Scalar
    sine: Scalar
    """sinθ."""
    x: Scalar
    """The direction, a unit vector (x, y, z)."""
    y: Scalar
    z: Scalar


class Choices(NamedTuple):
    """What a plan sets for each event and its trials decide; None where its map asks for none."""

    broad: Any = None
    """The share of each mass that is drawn off its resonance."""
    apart: Any = None
    """Whether what is drawn off a resonance is not near it, and all else is, see `lines.Resonances`."""
    parts: Any = None
    """The range of each mass's number `[events, masses, 2]`, see there."""
    shares: Any = None
    """Of the map's channels `[events, channels]`."""
    table: Any = None
    """Of two coordinates of the point, see `tables.draw_pair`."""
    second_first: Any = None
    """Whether the legs come with their second side first."""
    fit: Any = None
    """Where energies and masses of a composed map are likely, a `composed.fit.Fit`."""
    like: Any = None
    """Events `Visible` that these follow: what is drawn from a grid is drawn from that of theirs."""


NO_CHOICES = Choices()


class Visible(NamedTuple):
    """What was seen of events, and how each of them is integrated."""

    legs: Legs
    missing: Any = None
    """Missing (p_x, p_y) in GeV `[events, 2]`; None where nothing escapes. Where the recoil K is measured,
    −K, the p_T of all legs: what is missing and the measured p_T of the visible ones."""
    activity: Any = None
    """The scalar sum of p_T in GeV that the response of missing p_T depends on `[events]`."""
    choices: Choices = NO_CHOICES
    tags: Any = None
    """P(tags | assignment, flavours) of each order of the legs and each channel of |M|² `[events, orders ·
    channels]`; None where all are 1."""
    own: Any = None
    """The mass in GeV of what is seen of each leg `[events, legs]`; None where there are no taus."""
    resonant: Any = None
    """What `experts.resonance` prepares, where a narrow resonance is mapped."""

    @property
    def size(self) -> int:
        """How many events these are."""
        return len(self.legs.energy)

    def permuted(self, order: Sequence[int] | np.ndarray) -> Visible:
        """The events with their legs in another order: all else is of the event as a whole."""
        own = None if self.own is None else self.own[:, list(order)]
        return self._replace(legs=Legs(*(values[:, list(order)] for values in self.legs)), own=own)

    def rows(self, index: Any) -> Visible:
        """Some of the events."""
        return jax.tree.map(lambda values: values[index], self)

    def choosing(self, **choices: Any) -> Visible:
        """The events with other choices."""
        return self._replace(choices=self.choices._replace(**choices))


def where(condition: np.ndarray, some: Visible, others: Visible) -> Visible:
    """Event by event one or the other; `condition` `[events]`."""

    def chosen(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.where(condition.reshape(-1, *[1] * (np.ndim(one) - 1)), one, other)

    return jax.tree.map(chosen, some, others)


class Acceptance(NamedTuple):
    """Where a jet is seen: p_T above `pt` as measured, in GeV, and |η| below `eta`, but for a part `loss`."""

    loss: Any
    pt: Any
    eta: Any
    delta_r: Any
    """From any other jet or lepton: nearer to one than this is no part of what is integrated over."""


class Shared(NamedTuple):
    """What all events of a hypothesis have in common."""

    parameters: Parameters
    """`[scan]`."""
    density: DensityAtScale
    detector: Detector
    resonance: tuple[Scalar, Scalar] | None = None
    """Mass and width, `[scan]` in GeV, of the one that is mapped."""
    acceptance: Acceptance | None = None
    """Of jets, where a lost one is integrated over."""
    parton_pt: Scalar | None = None
    """The least p_T of legs that |M|² is infinite for along a beam, GeV."""

    def responses(self, event: Visible, classes: Sequence[str]) -> list[Response]:
        """The responses of one event's legs, each of its region of η."""
        return [self.detector.of(kind).at(event.legs.eta[i]) for i, kind in enumerate(classes)]
