"""Unweighted leading-order events of any reaction: each map with a ceiling of its own.

A map k with the ceiling c_k gets points ∝ c_k, and keeps one of weight w with probability w/c_k; what is
above a ceiling keeps w/c_k as its weight, see `leading_order.draw_events`. An event is one of its
subprocesses ∝ their densities and, both protons being alike, is turned over with probability ½.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from deepmem.errors import DeepMEMError, UsageError
from deepmem.physics.detector.taus import LEPTONIC
from deepmem.physics.weights.any_reaction import Sampler
from deepmem.physics.weights.leg_columns import columns_of_legs
from deepmem.physics.weights.multichannel import Channel, Multichannel
from deepmem.physics.weights.unweighted import Events, ceiling
from deepmem.selection import Selection

_PILOT, _ROUND = 4096, 65536
"""Points of each map from which its ceiling is taken; and of a round of events."""


class _Kept(NamedTuple):
    """Events that were kept."""

    true: np.ndarray
    measured: np.ndarray
    missing: np.ndarray
    codes: np.ndarray
    weight: np.ndarray

    def at(self, rows: np.ndarray) -> _Kept:
        return _Kept(*(each[rows] for each in self))


def events_of(
    text: str,
    events: int,
    rng: np.random.Generator,
    selection: Selection | Mapping[str, Any] | None,
    most: int,
    **settings: Any,
) -> Events:
    """Events of a reaction within a selection: see `leading_order.draw_events`."""
    sampler = Sampler(text, selection, rng, **settings)
    if sampler.view is not None and sampler.view.lost is not None:
        raise UsageError("events are drawn with all jets: leave lost out")
    many = sampler.integrals(visible_alone=True)
    many.prepare()
    ceilings = _ceilings(many, rng)
    if not ceilings.sum() > 0:
        raise DeepMEMError(f"{sampler.reaction.name}: no point passed the selection {sampler.cuts}: widen it")
    found: list[_Kept] = []
    kept = 0
    while kept < events:
        numbers = rng.multinomial(_ROUND, ceilings / ceilings.sum())
        for channel, number, top in zip(many.channels, numbers, ceilings, strict=True):
            if number:
                found.append(_drawn(sampler, many, channel, int(number), float(top)))
                kept += len(found[-1].weight)
        if many.points >= most and kept < events:
            raise DeepMEMError(
                f"{sampler.reaction.name}: {kept} events after {many.points} points: ask for fewer, or widen "
                f"the selection {sampler.cuts}"
            )
    whole = _Kept(*(np.concatenate(each) for each in zip(*found, strict=True)))
    whole = whole.at(rng.permutation(len(whole.weight))[:events])
    assert sampler.view is not None
    kinds, seen_codes = sampler.view.kinds, whole.codes.copy()
    for leg in (leg for leg, kind in enumerate(kinds) if kind == LEPTONIC):
        seen_codes[:, leg] = np.sign(whole.codes[:, leg]) * rng.choice((11, 13), len(whole.weight))
    missing = whole.missing if sampler.view.measures_missing else None
    columns = columns_of_legs(whole.measured, seen_codes, kinds, missing)
    return Events(
        sampler.reaction.name,
        columns,
        whole.true,
        whole.measured,
        whole.weight,
        many.totals[0],
        many.errors[0],
        many.passed,
        whole.codes,
    )


def _ceilings(many: Multichannel, rng: np.random.Generator) -> np.ndarray:
    """Of each map; its points count for σ_vis."""
    found = []
    for channel in many.channels:
        cube = channel.adaptive.draw(rng.random((channel.adaptive.dimensions, _PILOT)))
        (values,) = many.values(channel, cube)
        channel.means[0].add(values)
        found.append(ceiling(values))
    return np.array(found)


def _drawn(sampler: Sampler, many: Multichannel, channel: Channel, number: int, top: float) -> _Kept:
    """What is kept of so many points of one map."""
    rng = sampler.rng
    cube = channel.adaptive.draw(rng.random((channel.adaptive.dimensions, number)))
    points = sampler.points(channel, cube.u, many.maps_of(channel.part))
    values, seen = sampler.visible(channel.part, points)
    values = values * cube.jacobian[points.rows]
    weight = values.sum(axis=0)
    every = np.zeros(number)
    every[points.rows] = weight
    channel.means[0].add(every)
    rows = np.flatnonzero(rng.random(len(weight)) * top < weight)
    codes = sampler.parts[channel.part].codes(points, values, rows, rng)
    missing = np.zeros((len(rows), 2)) if seen.missing is None else seen.missing[rows]
    turned = np.where(rng.random(len(rows)) < 0.5, 1.0, -1.0)
    # by π about the y axis
    signs = np.stack([np.ones_like(turned), turned, np.ones_like(turned), turned], axis=-1)[:, None]
    missing = missing * np.stack([turned, np.ones_like(turned)], axis=-1)
    over = np.maximum(weight[rows] / top, 1.0)
    return _Kept(seen.true[rows] * signs, seen.measured[rows] * signs, missing, codes, over)
