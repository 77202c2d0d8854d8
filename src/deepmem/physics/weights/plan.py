"""How a weight is integrated: all that the engine knows of a process and of the detector that saw it.

A plan is made once for a hypothesis, by `plan_for`: which map leads from the unit cube to momenta, which rule
integrates, which legs the detector cannot tell apart, and what a few fixed points decide event by event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import factorial
from typing import Any, TypeAlias

import jax
import numpy as np

from deepmem.errors import UsageError
from deepmem.physics.errors import PlanError
from deepmem.physics.integrals.integrand import Integrand, Staged
from deepmem.physics.integrals.lattice import Lattice
from deepmem.physics.integrals.quadrature import Quadrature
from deepmem.physics.integrals.rules import Rule
from deepmem.physics.integrals.single import Single
from deepmem.physics.phasespace import trials
from deepmem.physics.phasespace.composition import ByExpert, Composition
from deepmem.physics.phasespace.expert import Expert
from deepmem.physics.phasespace.experts import energies, resonance
from deepmem.physics.phasespace.experts.higgs_to_w_pairs import HIGGS_TO_W_PAIR
from deepmem.physics.phasespace.experts.top_pairs import TOP_PAIR
from deepmem.physics.phasespace.experts.w_pairs import W_PAIR
from deepmem.physics.phasespace.parts import sides_of
from deepmem.physics.phasespace.trees import has_composed_map
from deepmem.physics.phasespace.visible import NO_CHOICES, Choices, Shared, Visible, where
from deepmem.physics.precision import double_precision
from deepmem.physics.tables import even_table
from deepmem.physics.weights import composed, integrand
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.partonic import Partonic
from deepmem.physics.weights.resolution import mapped_resonance

# With s from its table no point counts for more than about 4 mean values: nothing like twice the largest
# contribution is left unseen. More shifts have shorter Student's tails. Pulls of WW are 0.92 to 0.98 wide so,
# and 0.94 to 1.12 where missing p_T has a response.
_TABULATED: dict[str, Any] = {"allowance": 1.0, "shifts": 32}
# By angle, rows begin with maps that fixed points teach, or in parts. With once the largest contribution
# pulls of two seeds are 1.02 to 1.05 wide.
_MAPPED = 1.0
# The least relative resolution of b jets at a typical energy, GeV, at which their energies are solved for.
# Below it masses of tops are drawn over more than the responses allow: weights are 6 % low at 0.01, 40 % at
# 0.005.
_NARROWEST_JET, _TYPICAL = 0.03, 60.0
# Events that are prepared in one compiled call: fewer where the integrand is tabulated.
_BATCH, _RESONANT_BATCH = 1 << 10, 1 << 7


EXPERTS: dict[str, Expert] = {
    "top pair": TOP_PAIR,
    "W pair": W_PAIR,
    "Higgs boson to W pair": HIGGS_TO_W_PAIR,
}
"""How what escapes is integrated, by the topology that a process names; one of your own is put in here."""


Permutation: TypeAlias = tuple[int, ...]
"""An order of the visible legs."""


def rank(order: Permutation) -> int:
    """The place of an order among all in lexicographic order: 0 of the one that leaves all where they are."""
    return sum(
        sum(later < first for later in order[i + 1 :]) * factorial(len(order) - 1 - i)
        for i, first in enumerate(order)
    )


Trial: TypeAlias = Callable[[Integrand, Shared, Visible, int], tuple[Visible, np.ndarray | None]]
"""(f, shared, events, dimensions) ↦ the events with choices that fixed points decide, and which are easy."""


@dataclass(frozen=True)
class Plan:
    """How the weights of a hypothesis are integrated."""

    dimensions: int
    integrand: Callable[[Partonic, bool], Integrand]
    """Of a partonic part; and whether the momenta of what escapes come along."""
    rule: Rule
    permutations: tuple[Permutation, ...]
    """Of the visible legs that the detector cannot tell apart, averaged over."""
    choices: Choices = NO_CHOICES
    """What each event has before trials."""
    trials: tuple[Trial, ...] = ()
    two_sided: bool = False
    """Whether visible legs may come with either side first, which a trial decides."""
    batch: int = _BATCH
    selects: bool = False
    """Whether a trial decides which of several rows of an event are integrated, and with how many points."""
    regions: tuple[Plan, ...] = ()
    """Those of an event near a resonance and off it, whose sum is the integral, see `weights.regions`. Each
    has its own integrand, choices and trials, and its rule says with how many points it begins and what its
    error allows for; shifts, dimensions and permutations are this one's."""

    def rows(self, events: Visible) -> Visible:
        """One row for each event and each permutation, one after the other."""
        if len(self.permutations) == 1 and rank(self.permutations[0]) == 0:
            return events
        permuted = [events.permuted(order) for order in self.permutations]
        return jax.tree.map(
            lambda *each: np.stack(each, axis=1).reshape(-1, *np.shape(each[0])[1:]), *permuted
        )

    def alike(self, rows: Visible, of: np.ndarray, events: Visible) -> Visible:
        """The rows of nearly the same events, with the choices of `rows` and their side first.

        **Arguments:** `of`, which of the rows of events each is a part of.
        """
        own = self.rows(events).rows(of)
        if rows.choices.second_first is not None:
            first, second = sides_of(own)
            own = where(np.asarray(rows.choices.second_first), second, first)
        return own._replace(choices=rows.choices._replace(like=rows if self.two_sided else None))

    def integrands(self, partonic: Partonic, neutrinos: bool) -> Integrand | tuple[Integrand, ...]:
        """The integrand, or that of each region."""
        if self.regions:
            return tuple(each.integrand(partonic, neutrinos) for each in self.regions)
        return self.integrand(partonic, neutrinos)

    def tried(
        self, f: Integrand | tuple[Integrand, ...], shared: Shared, events: Visible
    ) -> tuple[Visible, Any]:
        """Rows with what trials decide, but in regions; and how many evaluations each wants at least."""
        rows = self.rows(events)
        if isinstance(f, tuple):
            return rows, 0
        minimum: Any = getattr(self.rule, "minimum", 0)
        for trial in self.trials:
            rows, easy = trial(f, shared, rows, self.dimensions)
            if easy is not None:
                minimum = np.where(easy, minimum // 2, minimum)
        return rows, minimum


def plan_for(alpha: Hypothesis, by_angle: bool | None = None, lost: int | None = None) -> Plan:
    """How the weights of a hypothesis are integrated.

    **Arguments:** `by_angle`, of a process with a map by angle: whether it is used; None, where it is the
    better one; `lost`, the number of the outgoing leg that no jet is seen of.

    **Raises** `PlanError` where there is no map, `UsageError` where there is no expert.
    """
    process, topology = alpha.process, alpha.process.topology
    if lost is not None and not has_composed_map(process):
        raise PlanError(f"{process.name} has a map made by hand, which does not know lost jets")
    if has_composed_map(process):
        composition = composed.composition_of(alpha, lost)
        if isinstance(composition, ByExpert):
            topology = composition.name
        else:
            return _composed(alpha, composition)
    if not process.invisible:
        return _all_seen(alpha)
    if topology not in EXPERTS:
        raise UsageError(
            f"{alpha.process.name} has particles that escape, and no plan for its topology {topology!r}; "
            f"there are plans for {', '.join(map(repr, EXPERTS))}"
        )
    return _some_escape(alpha, EXPERTS[topology], by_angle)


def _all_seen(alpha: Hypothesis) -> Plan:
    """Energies alone are integrated over: along a resonance that is narrow, else each by its response."""
    gaussian, seen = alpha.detector.gaussian, alpha.process.visible_classes
    dimensions = alpha.detector.dimensions(seen)
    batch, rule = _BATCH, Lattice(minimum=1 << 10 if gaussian else 1 << 13)
    map_: integrand.Map = energies.flat_energies
    if mapped_resonance(alpha) is not None:
        batch = _RESONANT_BATCH
        map_ = resonance.resonant_energies if gaussian else resonance.tailed_energies
        rule = replace(rule, **_TABULATED) if gaussian else rule
        chosen: Rule = rule
    elif dimensions == 0:
        chosen = Single()
    elif dimensions <= 2 and gaussian:
        map_, chosen = energies.stretched_energies, Quadrature()
    else:
        chosen = rule
    return Plan(
        dimensions,
        lambda partonic, neutrinos: integrand.of_seen(partonic, map_),
        chosen,
        (tuple(range(len(seen))),),
        batch=batch,
    )


def _some_escape(alpha: Hypothesis, expert: Expert, by_angle: bool | None) -> Plan:
    """The process's own variables: by angle where missing pT is given and all energies have responses."""
    seen, detector = alpha.process.visible_classes, alpha.detector
    smeared = detector.dimensions(seen)
    of_angle = {"event": expert.by_angle, "recoil": expert.by_angle_and_recoil}.get(alpha.met, ())
    if by_angle is None:
        by_angle = bool(of_angle) and smeared == len(seen) and _wide(alpha)
    by_event = expert.by_energies if detector.transverse is None else expert.by_response or expert.by_energies
    steps = {"balance": expert.by_balance, "recoil": expert.by_recoil}.get(alpha.met, by_event)
    if not steps:
        raise UsageError(
            f"the map of {alpha.process.name} does not know the recoil: use met=event or met=balance, or "
            "give its expert the steps by_recoil"
        )
    rule = Lattice(minimum=1 << 13, calls=1 << 22)
    if by_angle:
        rule = replace(rule, minimum=1 << 11, allowance=_MAPPED)
    regions = tuple(_some_escape(alpha, each, by_angle) for each in expert.regions)
    choices = Choices(broad=expert.broad)
    chosen: list[Trial] = []
    if expert.shares:
        choices = choices._replace(shares=expert.shares)
        chosen.append(_shares_of_channels)
    if expert.guided:
        choices = choices._replace(table=even_table(*trials.CELLS))
        chosen.append(partial(_table_of, pair=expert.guided))
        rule = replace(rule, **_TABULATED)
    return Plan(
        smeared + expert.hidden + (0 if detector.transverse is None else 2),
        partial(_escaping, steps=of_angle if by_angle else steps),
        rule,
        _permutations(alpha),
        choices=choices,
        trials=tuple(chosen),
        two_sided=by_angle,
        regions=regions,
    )


def _composed(alpha: Hypothesis, composition: Composition) -> Plan:
    """By the decay tree, with energies and masses fitted to the event."""
    steps, trial = composed.parts_of(composition, apart=bool(alpha.tagging))
    usual = 1 << 10 if composition.neutrino is None else 1 << 11
    minimum = usual if alpha.detector.gaussian and not composition.crossed else 1 << 13
    dimensions = composition.dimensions + composed.draws_orders(alpha.process, composition)
    rule, choices = Lattice(minimum=minimum, calls=1 << 22, triples=True), NO_CHOICES
    chosen: tuple[Trial, ...] = (trial,)
    if composition.first is not None and len(composition.first.masses) == 1:
        place = composition.place_of_first
        choices = Choices(table=even_table(*trials.CELLS))
        chosen += (partial(_table_of, pair=(place, place + 1)),)
        rule = replace(rule, **_TABULATED)
    return Plan(
        dimensions,
        steps,
        rule if dimensions else Single(),
        _permutations(alpha),
        choices=choices,
        trials=chosen,
        selects=True,
    )


def _wide(alpha: Hypothesis) -> bool:
    """Whether energies of b quarks that follow from masses are likely ones: else few points would count."""
    with double_precision():
        widths = [
            np.asarray(response.scale(_TYPICAL)) / _TYPICAL
            for response in alpha.detector.by_class["bjet"].responses
        ]
    return float(np.min(widths)) >= _NARROWEST_JET


def _escaping(partonic: Partonic, neutrinos: bool, steps: Any) -> Staged:
    return integrand.of_escaping(partonic, steps, neutrinos)


def _permutations(alpha: Hypothesis) -> tuple[Permutation, ...]:
    """The ways in which b jets are the process's b quarks."""
    legs = list(range(len(alpha.process.visible)))
    jets = [i for i, kind in enumerate(alpha.process.visible_classes) if kind == "bjet"]
    turned = legs.copy()
    for i, j in zip(jets, reversed(jets), strict=True):
        turned[i] = j
    return tuple(tuple(turned if each else legs) for each in alpha.process.assignments)


def _table_of(
    f: Integrand, shared: Shared, events: Visible, dimensions: int, pair: tuple[int, int]
) -> tuple[Visible, None]:
    return events.choosing(table=trials.filled_table(f, shared, events, dimensions, pair)), None


def _shares_of_channels(
    f: Integrand, shared: Shared, events: Visible, dimensions: int
) -> tuple[Visible, np.ndarray]:
    shares, spread = trials.shared_out(f, shared, events, dimensions)
    return events.choosing(shares=shares), spread < trials.EASY
