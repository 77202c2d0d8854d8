"""Whether a sample as a whole is like the training part: the bins of each feature, and events outside.

Coverage is that of a sample like the validation part, in the mean; of other samples the unflagged events were
measured to be covered (benchmarks/trust.py), which no theorem says. So a sample that differs is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from deepmem.surrogate.outside import BY_EACH

_BINS = 20


class TwoSample(NamedTuple):
    """The training part's features in bins: `edges` `[features, bins + 1]`, `counts` `[features, bins]`; and
    the part of the validation sample that is `outside` `[]`."""

    edges: np.ndarray
    counts: np.ndarray
    outside: np.ndarray


def two_sample_of(features: np.ndarray, outside: float) -> TwoSample:
    """Bins of equal population of each feature of training rows (as many edges as it has distinct ones)."""
    levels = np.linspace(0, 1, _BINS + 1)[1:-1]
    edges = np.stack([np.r_[-np.inf, np.quantile(f, levels), np.inf] for f in features.T])
    counts = np.stack([_count(f, e) for f, e in zip(features.T, edges, strict=True)])
    return TwoSample(edges, counts, np.asarray(outside))


def _count(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    bins = np.searchsorted(edges[1:-1], values, side="right")
    return np.bincount(bins, minlength=_BINS)


class Comparison(NamedTuple):
    """Of a sample with the training part: the probability of so large a difference by chance, in any of the
    tests; the feature that differs most (or "events outside"); how many events were looked at."""

    probability: float
    where: str
    events: int

    @property
    def differs(self) -> bool:
        """At a false-alarm rate of 1 %."""
        return self.probability < 0.01

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {"differs": self.differs, **self._asdict()}


class SampleTest:
    """Gathers features chunk by chunk, and compares them with the training part's: χ² in the bins of each
    feature, and the number of events outside; the smallest probability times the number of tests.

    (χ² of two samples: W. H. Press et al., "Numerical Recipes", section 14.3; Bonferroni's correction.)
    """

    def __init__(self, reference: TwoSample, names: Sequence[str]):
        self._reference, self._names = reference, tuple(names)
        self._counts = np.zeros(reference.counts.shape)
        self._outside = self._events = 0

    def add(self, features: np.ndarray, outside: np.ndarray) -> None:
        for row, values, edges in zip(self._counts, features.T, self._reference.edges, strict=True):
            row += _count(values, edges)
        self._outside += int(outside.sum())
        self._events += len(features)

    def join(self, other: SampleTest) -> None:
        """Count what another one with the same reference has gathered, too."""
        self._counts += other._counts
        self._outside += other._outside
        self._events += other._events

    def result(self) -> Comparison:
        if not self._events:
            return Comparison(1.0, "", 0)
        chances = {
            name: _chi2_probability(ours, theirs)
            for name, ours, theirs in zip(self._names, self._counts, self._reference.counts, strict=True)
        }
        rate = max(float(self._reference.outside), 2 * BY_EACH)
        chances["events outside"] = float(stats.binom.sf(self._outside - 1, self._events, rate))
        where = min(chances, key=lambda name: chances[name])
        return Comparison(min(1.0, chances[where] * len(chances)), where, self._events)


def _chi2_probability(ours: np.ndarray, theirs: np.ndarray) -> float:
    together = ours + theirs
    used = together > 0
    if used.sum() < 2:
        return 1.0
    ratio = np.sqrt(theirs.sum() / ours.sum())
    chi2 = np.sum((ratio * ours - theirs / ratio)[used] ** 2 / together[used])
    return float(stats.chi2.sf(chi2, used.sum() - 1))
