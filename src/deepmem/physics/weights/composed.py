"""The plan of a process by its tree of decays: what the planner says, with its map and its fit.

Where the detector cannot tell legs of one mother apart, |M|² is averaged over their orders at each point: the
map does not know which is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np

from deepmem.kinematics import FourVector, Scalar
from deepmem.physics.integrals.integrand import Integrand, Staged
from deepmem.physics.phasespace.composed.fit import fits
from deepmem.physics.phasespace.composed.steps import steps
from deepmem.physics.phasespace.composition import ByExpert, Composition, MissingKind
from deepmem.physics.phasespace.planner import Measurement, planned
from deepmem.physics.phasespace.trees import INVISIBLE, decay_tree
from deepmem.physics.phasespace.visible import Shared, Visible
from deepmem.physics.precision import double_precision
from deepmem.physics.processes.base import MatrixElements, Process
from deepmem.physics.processes.generated import Generated
from deepmem.physics.processes.grouped import at_each
from deepmem.physics.theory.parameters import Parameters, electroweak
from deepmem.physics.weights import integrand
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.partonic import Partonic

_TYPICAL = 60.0  # GeV, where responses are looked at
_TOO_MANY = 50_000
"""Operations of all orders together above which a point has one, where they have no common program."""
_REPEATED = 10_000
"""Operations of all orders together from which these share compiled code."""


def composition_of(alpha: Hypothesis, lost: int | None = None) -> Composition | ByExpert:
    """How a hypothesis whose process has a tree is mapped.

    **Arguments:** `lost`, the number of a leg that no jet is seen of.

    **Raises** `PlanError` where it is not.
    """
    tree, detector = decay_tree(alpha.process), alpha.detector
    assert tree is not None
    missing: MissingKind = "exact" if detector.missing is None else "response"
    if alpha.met in ("balance", "recoil"):
        missing = alpha.met  # type: ignore[assignment]
    with double_precision():
        widths = {
            leg.kind: max(
                float(np.max(np.asarray(r.scale(_TYPICAL)))) / _TYPICAL
                for r in detector.of(leg.kind).responses
            )
            for leg in tree.legs
            if leg.kind != INVISIBLE
        }
        relative = {
            each.width: _relative_width(alpha.parameters, each.mass, each.width) for each in tree.resonances
        }
        sigma = np.inf
        if detector.transverse is not None:
            sigma = float(detector.transverse.sigma()) / _TYPICAL
    massless = ("jet", "bjet") if np.min(alpha.parameters.MB) == 0 else ("jet",)
    return planned(tree, Measurement(widths, missing, relative, massless, sigma), lost)


def _relative_width(p: Parameters, mass: str, width: str) -> float:
    """The least Γ/m of a scan."""
    m = electroweak(p, np).MW if mass == "MW" else p.get(mass)
    return float(np.min(np.asarray(p.get(width)) / np.asarray(m)))


@dataclass(frozen=True)
class Exchanged:
    """|M|² averaged over orders of the outgoing legs, in the form that a `Process` has it."""

    elements: MatrixElements
    orders: tuple[tuple[int, ...], ...]
    apart: bool = False
    """Whether each order has channels of its own, in place of the mean: all of the first order come first."""

    @property
    def operations(self) -> int:
        """Of all orders together, where |M|² is generated."""
        if isinstance(self.elements, Generated):
            found = self.elements.joint_operations(self.orders)
            if found is not None:
                return found
        return len(self.orders) * getattr(self.elements, "operations", 0)

    @property
    def on_axis(self) -> Exchanged:
        """The same for partons that move along ±z, the first one upwards."""
        return replace(self, elements=getattr(self.elements, "on_axis", self.elements))

    def __call__(
        self, momenta: Sequence[FourVector], p: Parameters, subset: str | None = None
    ) -> tuple[Scalar, ...]:
        each = self._in_orders(momenta, p, subset)
        if self.apart:
            return tuple(square for squares in each for square in squares)
        return tuple(sum(squares) / len(squares) for squares in zip(*each, strict=True))

    def _in_orders(
        self, momenta: Sequence[FourVector], p: Parameters, subset: str | None
    ) -> Sequence[Sequence[Scalar]]:
        """|M|² `[order][channel]`."""
        if isinstance(self.elements, Generated):
            found = self.elements.jointly(momenta, p, self.orders)
            if found is not None:
                return found
        first, legs = momenta[:2], momenta[2:]
        every = [[*first, *(legs[i] for i in order)] for order in self.orders]
        if len(self.orders) * getattr(self.elements, "all_operations", 0) > _REPEATED:
            # by the same code for all orders: compiling it takes most of the time, and all of the memory
            return at_each(lambda legs: self.elements(legs, p, subset), every)
        return [self.elements(one, p, subset) for one in every]


@cache
def exchanged(process: Process, orders: tuple[tuple[int, ...], ...], apart: bool = False) -> Process:
    """The process whose |M|² is averaged over orders of its legs; `apart`: with channels for each order."""
    if len(orders) == 1:
        return process
    channels = process.channels * len(orders) if apart else process.channels
    elements = Exchanged(process.matrix_elements, orders, apart)
    return replace(process, matrix_elements=elements, channels=channels)


def draws_orders(process: Process, composition: Composition) -> bool:
    """Whether each point has one of the orders of legs, drawn, as all of them take too long."""
    orders = composition.orders()
    elements = process.on_axis
    if len(orders) <= 2 or not isinstance(elements, Generated):
        return False
    return len(orders) * elements.all_operations > _TOO_MANY and elements.joint_operations(orders) is None


def composed(partonic: Partonic, neutrinos: bool, composition: Composition, apart: bool = False) -> Staged:
    """The integrand by a composed map."""
    orders, plain = composition.orders(), _is_plain(composition)
    if draws_orders(partonic.process, composition):
        return integrand.of_escaping(partonic, steps(composition), neutrinos, orders, plain)
    averaged = replace(partonic, process=exchanged(partonic.process, orders, apart))
    return integrand.of_escaping(averaged, steps(composition), neutrinos, plain=plain)


def _is_plain(composition: Composition) -> bool:
    """Whether its steps are loops over points alone: a neutrino, if any, has two masses, no jet is lost."""
    neutrino, others = composition.neutrino, (composition.first, composition.lost, composition.pair)
    return not any(others) and (neutrino is None or len(neutrino.masses) == 2)


def fitted(
    f: Integrand, shared: Shared, events: Visible, dimensions: int, composition: Composition
) -> tuple[Visible, Any]:
    """A trial of a plan: rows with the fit that their map wants."""
    return events.choosing(fit=fits(composition, shared, events)), None


def parts_of(composition: Composition, apart: bool = False) -> tuple[Any, Any]:
    """The integrand and the trial of a plan; `apart`, see `exchanged`."""
    made = partial(composed, composition=composition, apart=apart)
    return made, partial(fitted, composition=composition)
