"""Unweighted events as values, and the weight up to which they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_OVERWEIGHT = 1e-3


@dataclass(frozen=True)
class Events:
    """Leading-order events that passed a selection.

    - `columns`: measured quantities, under the default names of branches.
    - `true`: `[events, legs, 4]`, momenta before the response in the process's order of legs, GeV.
    - `measured`: the same after it; neutrinos as they are.
    - `weight`: 1, but for the rare event whose probability was above the largest foreseen one.
    - `visible`, `visible_error`: σ_vis in pb, from the points that were drawn, of which `passed` made it.
    """

    process: str
    columns: dict[str, np.ndarray]
    true: np.ndarray
    measured: np.ndarray
    weight: np.ndarray
    visible: float
    visible_error: float
    passed: int
    codes: np.ndarray | None = None
    """`[events, legs]`: PDG codes, where they differ between events."""

    def __len__(self) -> int:
        return len(self.weight)


def ceiling(weights: np.ndarray) -> float:
    """The w_max above which weights exceed it by 1e-3 of the total; 0 where all are 0."""
    falling = np.sort(weights)[::-1]
    excess = np.cumsum(falling) - falling * np.arange(1, len(falling) + 1)
    below = np.searchsorted(excess, _OVERWEIGHT * falling.sum(), side="right")
    return float(falling[max(below - 1, 0)])
