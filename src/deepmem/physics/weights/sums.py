"""Weights of events that are sums over final states and assignments: the rows of each, integrated.

The rows of an event with a lost jet have a map for each leg that may be the lost one, and so have those of
each of several final states with equal leptons, such as t W⁻ and t̄ W⁺.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from deepmem.data.table import has_column
from deepmem.event import LARGEST_SHARES
from deepmem.inputs import Reason
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.integrals.groups import Groups
from deepmem.physics.processes.base import JETS
from deepmem.physics.weights import several
from deepmem.physics.weights.contributions import Contributions, contributions, lost_legs
from deepmem.physics.weights.followed import Before, Followed, Made, followed
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.integration import Rows
from deepmem.physics.weights.integration import integrated as rows_integrated
from deepmem.physics.weights.partonic import Partonic, negative_densities, shared_by_events
from deepmem.physics.weights.plan import Plan, plan_for
from deepmem.physics.weights.preparation import prepare
from deepmem.physics.weights.several import Part

_NUMBERS = 1 << 32
"""Above those that tell rows of one final state apart."""


class OfJets(NamedTuple):
    """What assignments contribute to each event, see `Weight.share`, and the likeliest one, `Weight.role`;
    how many jets are lost, see `Weight.lost`."""

    share: np.ndarray
    role: np.ndarray
    lost: np.ndarray


class Work(NamedTuple):
    """How sums are integrated, see `engine.compute`."""

    accuracy: Accuracy
    numbers: np.ndarray | None = None
    """Of events in their file; 0, 1, … if not given."""
    neutrinos: bool = False
    plan: Plan | None = None
    """Of a process of one final state."""
    remembered: bool = False
    """Whether variations are to follow."""
    signed: bool = False
    """Whether densities are negative somewhere."""

    def of(self, alpha: Hypothesis, events: int) -> Work:
        """For so many events of a hypothesis."""
        numbers = np.arange(events) if self.numbers is None else np.asarray(self.numbers)
        return self._replace(numbers=numbers, signed=negative_densities(alpha))


class Sums(NamedTuple):
    """What came out of events."""

    estimate: Estimate
    """Of those that can be computed, in their order."""
    reason: np.ndarray
    """Why others can't be `[events]`."""
    of_jets: OfJets
    before: list[Before]
    """For variations to follow, where asked for."""
    covariance: np.ndarray
    """With the nominal weights of those that can be computed `[events, weights]`, 0 where it is not known."""


def integrated(
    alpha: Hypothesis,
    events: Any,
    work: Work,
    nominal: Sums | None = None,
) -> Sums:
    """The sums of events.

    **Arguments:** as of `engine.compute`; `nominal`, of the same events, of which these are a variation.
    """
    found, reason = contributions(alpha, events)
    if nominal is not None and len(reason) == len(nominal.reason):
        found = _of_equal_jets(found, reason, nominal.of_jets.lost)
    count = len(reason)
    work = work.of(alpha, count)
    columns = alpha.columns_of(partial(has_column, events))
    jets = sum(re.fullmatch(r"j\d+_PT", column) is not None for column in columns)
    of_jets = OfJets(
        np.full((count, LARGEST_SHARES), np.nan),
        np.full((count, jets), -1, dtype=np.int32),
        np.zeros(count, dtype=np.int32),
    )
    results: list[Followed] = []
    before: list[Before] = []
    for rows in _together(found):
        events_of = _events_of(rows)
        of_jets.lost[events_of] = rows[0].lost is not None
        if nominal is not None:
            results += _varied(rows, nominal, work)
            continue
        estimate, values, made = _of_rows(rows, work)
        results.append(_alone(events_of, estimate, alpha.count))
        _tell(rows, values, of_jets)
        before += [Before(rows, made, events_of, estimate)] if work.remembered else []
    if not results:
        return Sums(Estimate.of_nothing(), reason, of_jets, before, np.zeros((0, alpha.count)))
    # each event is in one of the results
    order = np.argsort(np.concatenate([each.events for each in results]), kind="stable")
    joined = jax.tree.map(lambda array: array[order], Estimate.joined([each.estimate for each in results]))
    covariance = np.concatenate([each.covariance for each in results])[order]
    return Sums(joined, reason, of_jets, before, covariance)


def _events_of(rows: Sequence[Contributions]) -> np.ndarray:
    """Those that have some of the rows."""
    return np.unique(np.concatenate([each.event for each in rows]))


def _alone(events: np.ndarray, estimate: Estimate, weights: int) -> Followed:
    """Events that follow no others."""
    return Followed(events, estimate, np.zeros((len(events), weights)))


def _of_equal_jets(
    found: Sequence[Contributions], reason: np.ndarray, nominal: np.ndarray
) -> list[Contributions]:
    """Without the events, varied, in which another number of jets is lost than in the nominal ones."""
    lost = np.zeros_like(nominal)
    for each in found:
        lost[each.event] = each.lost is not None
    reason[(reason == Reason.NONE) & (lost != nominal)] = Reason.LOST
    return [each.at(np.flatnonzero(reason[each.event] == Reason.NONE)) for each in found]


def _varied(rows: list[Contributions], nominal: Sums, work: Work) -> list[Followed]:
    """The sums of a variation's events, as far as possible at the points of the nominal ones."""
    results, weights = [], rows[0].alpha.count
    for before in nominal.before:
        found = followed(before, rows, work.accuracy, weights)
        if found is not None:
            results.append(found)
            others = [each.at(np.flatnonzero(~np.isin(each.event, found.events))) for each in rows]
            rows = [each for each in others if len(each.event)]
    if rows:
        estimate, *_ = _of_rows(rows, work)
        results.append(_alone(_events_of(rows), estimate, weights))
    return results


def _together(found: Sequence[Contributions]) -> list[list[Contributions]]:
    """Those whose events are the same: of lost legs of a final state, of final states of equal leptons.

    Without those that have no rows.
    """
    if not found:
        return []
    count = 1 + max((int(each.event.max()) for each in found if len(each.event)), default=-1)
    states: dict[int, int] = {}
    for each in found:
        states.setdefault(id(each.alpha), len(states))
    of_event = np.zeros((count, len(states)), dtype=bool)
    for each in found:
        of_event[each.event, states[id(each.alpha)]] = True
    gathered = []
    for pattern in np.unique(of_event, axis=0):
        events = np.flatnonzero((of_event == pattern).all(axis=1))
        for lost in (False, True):
            own = [each for each in found if (each.lost is not None) == lost]
            own = [each.at(np.flatnonzero(np.isin(each.event, events))) for each in own]
            own = [each for each in own if len(each.event)]
            several_states = pattern.sum() > 1
            told_apart = [_numbered(each, states[id(each.alpha)]) for each in own]
            gathered.append(told_apart if several_states else own)
    return [each for each in gathered if each]


def _numbered(rows: Contributions, k: int) -> Contributions:
    """The rows, told apart from those of other final states of their events."""
    return rows._replace(part=rows.part + k * _NUMBERS)


def _tell(parts: Sequence[Contributions], values: np.ndarray, of_jets: OfJets) -> None:
    """Fill in what the rows of a final state contribute, and the likeliest assignment."""
    kinds = enumerate(parts[0].alpha.process.classes)
    legs = np.array([leg for leg, kind in kinds if kind in JETS], dtype=np.int32)
    event_of, jets = (np.concatenate(each) for each in zip(*((p.event, p.jets) for p in parts), strict=True))
    order = np.lexsort((-values, event_of))
    groups = Groups(np.unique(event_of[order], return_inverse=True)[1])
    total = groups.sum(values[order])
    for i, (begin, size) in enumerate(zip(groups.first, groups.size, strict=True)):
        here = order[begin : begin + size]
        if total[i] > 0:
            largest = here[:LARGEST_SHARES]
            event, of_leg = event_of[here[0]], jets[here[0]]
            of_jets.share[event, : len(largest)] = values[largest] / total[i]
            of_jets.role[event, of_leg[of_leg >= 0]] = legs[of_leg >= 0]


def _of_rows(parts: Sequence[Contributions], work: Work) -> tuple[Estimate, np.ndarray, list[Made]]:
    """The sums over rows, the first value of each row, and for others to follow, where asked for, how they
    were made."""
    several_plans = parts[0].lost is not None or len(parts) > 1
    return _of_several(parts, work) if several_plans else _of_final_state(parts[0], work)


def _of_final_state(rows: Contributions, work: Work) -> tuple[Estimate, np.ndarray, list[Made]]:
    """The same of a final state all of whose legs are seen."""
    alpha = rows.alpha
    part = _part(rows, np.unique(rows.event), work, work.plan or plan_for(alpha))
    correlated = alpha.polynomial is not None
    asked = (work.accuracy, alpha.count, correlated, work.remembered)
    estimate, done = rows_integrated(part.plan, part.f, part.shared, part.rows, *asked)
    return estimate, done.value, [Made(part, done)]


def _of_several(parts: Sequence[Contributions], work: Work) -> tuple[Estimate, np.ndarray, list[Made]]:
    """The same of all legs that may be lost, or of several final states."""
    alpha = parts[0].alpha
    events = _events_of(parts)
    share = np.zeros(len(events))
    for each in parts:
        share[np.searchsorted(events, each.event)] = each.share
    made = [_part(each, events, work, plan_for(each.alpha, lost=each.lost)) for each in parts]
    most = len({id(each.alpha) for each in parts}) * (1 if parts[0].lost is None else len(lost_legs(alpha)))
    asked = (work.accuracy, alpha.count, alpha.polynomial is not None, most, work.remembered)
    estimate, values, done = several.integrated(made, share, *asked)
    return estimate, np.concatenate(values), list(map(Made, made, done))


def _part(rows: Contributions, events: np.ndarray, work: Work, plan: Plan) -> Part:
    """Rows, prepared, with their integrand; `events` of the sum."""
    assert work.numbers is not None
    alpha, shared = rows.alpha, shared_by_events(rows.alpha)
    # rows are assignments already
    plan = replace(plan, permutations=(tuple(range(len(alpha.process.visible))),))
    visible = prepare(alpha, plan, shared, rows.measured)
    visible = visible._replace(tags=rows.tags)
    f = plan.integrands(replace(Partonic.of(alpha), signed=work.signed), work.neutrinos)
    visible, minimum = plan.tried(f, shared, visible)
    groups = Groups(np.unique(rows.event, return_inverse=True)[1])
    numbers = work.numbers[rows.event]
    prepared = Rows(visible, groups, numbers, rows.part, rows.share[groups.first], minimum)
    return Part(plan, f, shared, prepared, np.searchsorted(events, rows.event))
