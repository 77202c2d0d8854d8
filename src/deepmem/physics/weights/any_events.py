"""Unweighted leading-order events of any reaction: each map with a ceiling of its own.

A map k with the ceiling c_k gets points ∝ c_k, and keeps one of weight w with probability w/c_k; what is
above a ceiling keeps w/c_k as its weight, see `leading_order.draw_events`. An event is one of its
subprocesses ∝ their densities and, both protons being alike, is turned over with probability ½.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepmem.errors import DeepMEMError, UsageError
from deepmem.ordered import Mapper
from deepmem.physics.detector.taus import LEPTONIC
from deepmem.physics.weights.any_reaction import Integrand, Sampler
from deepmem.physics.weights.leg_columns import columns_of_legs
from deepmem.physics.weights.multichannel import CHUNK, Chunk, Multichannel
from deepmem.physics.weights.streams import generator
from deepmem.physics.weights.unweighted import Events, ceiling
from deepmem.selection import Selection

_PILOT, _ROUND = CHUNK, 65536
"""Points of each map from which its ceiling is taken, one chunk; and of a round of events, at most."""
_FEWEST, _LEARNING = 2048, 32
"""Points of a round of events, at least; and for each event those from which maps are learned."""


@dataclass(frozen=True)
class _Events:
    """σ_vis of a chunk's points, and the events among them where a top is given: `true`, `measured`,
    `missing`, `codes`, and `weight`, which is 1 but for those above the top."""

    sampler: Sampler

    def __call__(self, chunk: Chunk) -> dict[str, np.ndarray]:
        if chunk.top is None:
            return Integrand(self.sampler, one=True)(chunk)
        (rng, cube), part = chunk.draw(), self.sampler.parts[chunk.part]
        points = part.points(chunk.number, cube.u, chunk.maps)
        values, seen = self.sampler.visible(chunk.part, points, rng)
        values = values * cube.jacobian[points.rows]
        weight = values.sum(axis=0)
        every = np.zeros((1, chunk.size))
        every[0, points.rows] = weight
        rows = np.flatnonzero(rng.random(len(weight)) * chunk.top < weight)
        missing = np.zeros((len(rows), 2)) if seen.missing is None else seen.missing[rows]
        turned = np.where(rng.random(len(rows)) < 0.5, 1.0, -1.0)
        # by π about the y axis
        signs = np.stack([np.ones_like(turned), turned, np.ones_like(turned), turned], axis=-1)[:, None]
        return {
            "values": every,
            "true": seen.true[rows] * signs,
            "measured": seen.measured[rows] * signs,
            "missing": missing * np.stack([turned, np.ones_like(turned)], axis=-1),
            "codes": part.codes(points, values, rows, rng),
            "weight": np.maximum(weight[rows] / chunk.top, 1.0),
        }


def events_of(
    text: str,
    events: int,
    seed: int,
    selection: Selection | Mapping[str, Any] | None,
    most: int,
    mapper: Mapper,
    progress: Callable[[int], None],
    **settings: Any,
) -> Events:
    """Events of a reaction within a selection: see `leading_order.draw_events`."""
    sampler, rng = Sampler(text, selection, **settings), generator(seed)
    if sampler.view is not None and sampler.view.lost is not None:
        raise UsageError("events are drawn with all jets: leave lost out")
    many = sampler.integrals(seed, mapper, visible_alone=True, work=_Events(sampler))
    many.prepare(_LEARNING * events)
    ceilings = _ceilings(many)
    if not ceilings.sum() > 0:
        raise DeepMEMError(f"{sampler.reaction.name}: no point passed the selection {sampler.cuts}: widen it")
    found: list[Mapping[str, np.ndarray]] = []
    kept = 0
    while kept < events:
        # as many as the rest needs: a point is kept with the probability σ_vis/Σ c_k
        wanted = 1.1 * (events - kept) * ceilings.sum() / many.totals[0]
        size = int(np.clip(wanted, _FEWEST, _ROUND))
        numbers = rng.multinomial(size, ceilings / ceilings.sum()).tolist()
        for channel, _, chunk in many.computed(numbers, ceilings.tolist()):
            channel.means[0].add(chunk["values"][0])
            found.append(chunk)
            kept += len(chunk["weight"])
            progress(min(kept, events))
        if many.points >= most and kept < events:
            raise DeepMEMError(
                f"{sampler.reaction.name}: {kept} events after {many.points} points: ask for fewer, or widen "
                f"the selection {sampler.cuts}"
            )
    order = rng.permutation(kept)[:events]
    true, measured, missing, codes, weight = (
        np.concatenate([each[name] for each in found])[order]
        for name in ("true", "measured", "missing", "codes", "weight")
    )
    assert sampler.view is not None
    kinds, seen_codes = sampler.view.kinds, codes.copy()
    for leg in (leg for leg, kind in enumerate(kinds) if kind == LEPTONIC):
        seen_codes[:, leg] = np.sign(codes[:, leg]) * rng.choice((11, 13), len(weight))
    columns = columns_of_legs(measured, seen_codes, kinds, missing if sampler.view.measures_missing else None)
    return Events(
        sampler.reaction.name,
        columns,
        true,
        measured,
        weight,
        many.totals[0],
        many.errors[0],
        many.passed,
        codes,
    )


def _ceilings(many: Multichannel) -> np.ndarray:
    """Of each map; its points count for σ_vis."""
    found = []
    for channel, _, chunk in many.computed([_PILOT] * len(many.channels)):
        (values,) = chunk["values"]
        channel.means[0].add(values)
        found.append(ceiling(values))
    return np.array(found)
