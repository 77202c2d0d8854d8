"""ROC curves of a discriminant D, and the areas under them with errors from a bootstrap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deepmem.evaluation.metrics import Estimate

_BOOTSTRAP = 400  # resamples


@dataclass(frozen=True)
class Areas:
    """The areas under the ROC curves (AUC) of sets of weights on the same events.

    - `signal_events`, `background_events`: how many events there are of either class
    - `auc`, by source, `exact` and perhaps `learned`
    - `exact_minus_learned`, the difference of the two; None where there is one source
    """

    signal_events: int
    background_events: int
    auc: dict[str, Estimate]
    exact_minus_learned: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON; without a difference where there is none."""
        numbers = {
            "signal_events": self.signal_events,
            "background_events": self.background_events,
            "auc": {source: asdict(area) for source, area in self.auc.items()},
        }
        difference = self.exact_minus_learned
        return numbers if difference is None else numbers | {"auc_exact_minus_learned": asdict(difference)}


def areas(
    values: Mapping[str, np.ndarray],
    noise: Mapping[str, np.ndarray],
    is_signal: np.ndarray,
    rng: np.random.Generator,
) -> Areas:
    """The area under the curve of each set of weights, and the difference of exact and learned, with errors.

    **Arguments:** `values`, D `[events]` by source; `noise`, by which a bootstrap varies it; `is_signal`,
    bool `[events]`. The bootstrap draws the same events for all sources.
    """
    places = {source: _places(d) for source, d in values.items()}
    noisy = [source for source, each in noise.items() if each.any()]
    of_noise = rng.spawn(1)[0]  # the same events are drawn with noise and without
    one = np.ones(len(is_signal))
    samples = []
    s, b = np.flatnonzero(is_signal), np.flatnonzero(~is_signal)
    for _ in range(_BOOTSTRAP):
        times = np.bincount(np.r_[rng.choice(s, len(s)), rng.choice(b, len(b))], minlength=len(is_signal))
        varied = {
            source: _places(values[source] + noise[source] * of_noise.standard_normal(len(is_signal)))
            for source in noisy
        }
        samples.append([_area(at, is_signal, times) for at in (places | varied).values()])
    errors = np.std(samples, axis=0, ddof=1)
    area = {source: _area(at, is_signal, one) for source, at in places.items()}
    auc = {source: Estimate(a, float(e)) for (source, a), e in zip(area.items(), errors, strict=True)}
    difference = None
    if len(area) == 2:
        spread = float(np.diff(samples, axis=1).std(ddof=1))
        difference = Estimate(area["exact"] - area["learned"], spread)
    return Areas(len(s), len(b), auc, difference)


def roc(d: np.ndarray, is_signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Background and signal kept for each cut, from tight to loose; equal D are cut together."""
    values, place = np.unique(-d, return_inverse=True)
    kept = [np.cumsum(np.bincount(place, rows, len(values))) / rows.sum() for rows in (~is_signal, is_signal)]
    return np.r_[0.0, kept[0]], np.r_[0.0, kept[1]]


def _places(d: np.ndarray) -> np.ndarray:
    """The rank of each event's D among the different ones."""
    return np.unique(d, return_inverse=True)[1]


def _area(place: np.ndarray, is_signal: np.ndarray, times: np.ndarray) -> float:
    """P(D_s > D_b) + P(D_s = D_b)/2; `place`, the rank of each event's D among the different ones; `times`,
    how often each event counts."""
    size = int(place.max()) + 1
    signal = np.bincount(place, times * is_signal, size)
    background = np.bincount(place, times * ~is_signal, size)
    below = np.cumsum(background) - background / 2
    return float((signal * below).sum() / (signal.sum() * background.sum()))
