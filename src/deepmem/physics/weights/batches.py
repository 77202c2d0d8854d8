"""What one batch of leading-order points comes to, as values that another process may send back: the sums of
σ and σ_vis, or the events that are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deepmem.physics.phasespace.free import Region
from deepmem.physics.weights.adaptation import Grid
from deepmem.physics.weights.cross_sections import NEAR, FreeSums, Mean
from deepmem.physics.weights.sampling import LeadingOrder


class SumsOfBatch(NamedTuple):
    """A batch's parts of the integrals."""

    sigma: Mean
    visible: Mean
    light: float
    """The part of σ_vis near the least mass of a pair, where the selection lets lighter ones in."""
    free: FreeSums | None
    """At each point of couplings that are free."""


@dataclass(frozen=True)
class Integrated:
    """The sums of the batch that a stream begins with.

    **Arguments:** `sampled`, the region of σ_vis, which `region` has in it; `excluded`, whether the selection
    leaves lighter pairs out.
    """

    model: LeadingOrder
    region: Region
    sampled: Region
    grid: Grid
    excluded: bool

    def __call__(self, rng: np.random.Generator) -> SumsOfBatch:
        batch = self.model.batch(rng, self.region, self.grid)
        whole = batch.sigma * self.model.in_sigma(batch)
        seen = batch.weight * self.model.passes(batch)
        light = 0.0 if self.excluded else float(seen[batch.pair < NEAR * self.sampled.pair].sum())
        free = None if self.model.polynomial is None else FreeSums.of(batch.shares, whole, seen)
        return SumsOfBatch(Mean.of(whole), Mean.of(seen), light, free)


@dataclass(frozen=True)
class Accepted:
    """The unweighted events of the batch that a stream begins with, kept with w/`top`; arrays by name.

    - `weight`, dσ (E'/E) of all points within the selection, in pb, 0 outside
    - of events that are kept `true`, `measured` `[events, legs, 4]`, `missing` `[events, 2]`, and `over`,
      their weight, which is 1 but for those above the top
    """

    model: LeadingOrder
    region: Region
    grid: Grid
    top: float

    def __call__(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        batch = self.model.batch(rng, self.region, self.grid)
        weight = batch.weight * self.model.passes(batch)
        keep = np.flatnonzero(rng.random(len(weight)) * self.top < weight)
        missing = np.zeros((len(keep), 2)) if batch.missing is None else batch.missing[keep]
        return {
            "weight": weight,
            "true": batch.true[keep],
            "measured": batch.measured[keep],
            "missing": missing,
            "over": np.maximum(weight[keep] / self.top, 1.0),
        }
