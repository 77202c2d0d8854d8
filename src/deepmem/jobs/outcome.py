"""What a refinement comes to, step by step: the learned weights, which of them were computed, what that
saved, the whole, and what was learned from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.data.files import write_arrays
from deepmem.evaluation import sums
from deepmem.evaluation.metrics import Agreement, Quantiles
from deepmem.event import Status, Weight
from deepmem.jobs.audit import Audit
from deepmem.jobs.budget import Budget
from deepmem.jobs.parts import Parts

WORST_FIRST, RANDOM = "worst first", "random"  # two ways to choose what is computed


@dataclass(frozen=True)
class Learned:
    """The learned weights of all events, and which can be computed, bool `[events]`."""

    weight: Weight
    computable: np.ndarray

    @cached_property
    def spread(self) -> np.ndarray:
        """Relative errors, as the model has them, `[events]`; infinite where flagged or without an error."""
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.abs(self.weight.error / self.weight.value)
        return np.where((self.weight.status == Status.GOOD) & np.isfinite(relative), relative, np.inf)

    @property
    def ranking(self) -> np.ndarray:
        """Entries that can be computed, worst first."""
        rows = np.flatnonzero(self.computable)
        return rows[np.argsort(-self.spread[rows], kind="stable")]


class Mixture:
    """The weights of all events, some of which are replaced by exact ones; source 0 learned, 1 exact."""

    def __init__(self, learned: Learned):
        weight = learned.weight
        self.value, self.error, self.status = (
            array.copy() for array in (weight.value, weight.error, weight.status)
        )
        self.source = np.zeros(len(weight), dtype=np.int32)
        bad = ~learned.computable
        self.source[bad], self.status[bad] = 1, Status.BAD_INPUT
        self.value[bad] = self.error[bad] = np.nan

    def put(self, entries: np.ndarray, exact: Weight) -> None:
        """Take exact weights `[entries]` in."""
        self.value[entries], self.error[entries] = exact.value, exact.error
        self.status[entries], self.source[entries] = exact.status, 1

    def flag(self) -> None:
        """Call what is learned unlike what was learned from: an audit has shown it."""
        self.status[(self.source == 0) & (self.status == Status.GOOD)] = Status.OUTSIDE_TRAINING

    @property
    def weight(self) -> Weight:
        """As one weight per event."""
        return Weight(self.value, self.error, self.status, self.source)


@dataclass(frozen=True)
class Entries:
    """Numbers of the events computed: `refined`, worst first, of which `held_out` are not to be learned from;
    `audited`; `random`, to be compared with worst first."""

    refined: np.ndarray
    audited: np.ndarray
    held_out: np.ndarray
    random: np.ndarray

    def save(self, path: Path) -> None:
        """Write them as arrays of one file."""
        arrays = {key: getattr(self, key) for key in ("refined", "audited", "held_out", "random")}
        write_arrays(path, arrays)


@dataclass(frozen=True)
class Saving:
    """How much was computed, and how much all events would have been; None where nothing tells."""

    exact_events: int
    fewer_events: float | None
    seconds: float
    seconds_for_everything: float | None
    less_time: float | None


@dataclass(frozen=True)
class SumOfLogs:
    """Σ log w over the events with a positive weight, and how many these are."""

    value: float
    error: float
    events: int
    left_out: int

    @classmethod
    def of(
        cls, exact: Weight, learned: Weight, rows: np.ndarray, audited: Weight, events: int
    ) -> SumOfLogs | None:
        """Exact weights as they are, those that stay learned corrected by the audit.

        **Arguments:** `exact`, of the refined events; `learned`, of those that the audit is a sample of;
        `rows`, which of these were audited; `audited`, their exact weights; `events`, how many in all.

        **Returns** None where the audit has too few events for an error, or a weight that is not positive.
        """
        logs, variance = sums.log_weight(exact)
        positive = np.isfinite(logs)
        value, squared = float(logs[positive].sum()), float(variance[positive].sum())
        if len(learned):
            if len(rows) < min(2, len(learned)) or not (audited.value > 0).all():
                return None
            guess = np.log(learned.value)
            if not np.isfinite(guess).all():
                return None
            rest = sums.estimate(guess, rows, *sums.log_weight(audited))
            value, squared = value + rest.value, squared + rest.error**2
        counted = int(positive.sum()) + len(learned)
        return cls(value, squared**0.5, counted, events - counted)


@dataclass(frozen=True)
class Refinement:
    """A refined file.

    - `name` of the weight; `precision` of the exact weights; `forced`, in what two hypotheses differ
    - `learned`, before; `weight`, after, `[events]`
    - `exact`, the exact weights of the audited events; `population`, how many events these are a sample of
    - `fresh`, how many events were computed for the comparison with random choice alone
    - `data`, provenance of the events; `parts`, the exact weights, where they are kept
    """

    name: str
    limit: Budget
    precision: float
    learned: Learned
    weight: Weight
    entries: Entries
    audit: Audit
    exact: Weight
    population: int
    fresh: int
    saving: Saving
    sum_of_logs: SumOfLogs | None
    forced: str | None
    data: list[dict[str, Any]]
    output: str
    parts: Parts | None

    @property
    def folder(self) -> Path:
        """Where its page, figures and numbers are."""
        return Path(f"{self.output}.refine")

    @property
    def flagged(self) -> int:
        """How many events that can be computed were flagged, or had no error."""
        return int((self.learned.computable & np.isinf(self.learned.spread)).sum())

    @property
    def stays_learned(self) -> np.ndarray:
        """Which events have a learned weight, bool `[events]`."""
        assert self.weight.source is not None
        return np.equal(self.weight.source, 0)

    @property
    def flagged_still_learned(self) -> int:
        """How many of the flagged events the budget did not reach."""
        return int(np.isinf(self.learned.spread[self.stays_learned]).sum())

    @property
    def warnings(self) -> list[str]:
        """What a user must know before relying on the file."""
        return self.audit.alarms + ([] if self.forced is None else [f"FORCED: {self.forced}"])


@dataclass(frozen=True)
class Change:
    """How well a model's weights agree with exact ones before and after learning."""

    before: Agreement
    after: Agreement

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {"before": self.before.to_dict(), "after": self.after.to_dict()}


@dataclass(frozen=True)
class Point:
    """|Δ| of a model that has learned from so many `exact` weights, chosen as `choice` says: quantiles of
    each part of the events and of `all`, None where none can be judged."""

    choice: str
    exact: int
    quantiles: dict[str, Quantiles | None]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        quantiles = {part: None if each is None else asdict(each) for part, each in self.quantiles.items()}
        return {"choice": self.choice, "exact": self.exact, **quantiles}


@dataclass(frozen=True)
class Learning:
    """A training that has added the exact weights of `events`, which are in a `file`, to those of a model.

    - `model`: the path of the new one
    - `curve`: what exact weights are worth, a point per model
    - `changes` by part of the events, on exact weights that no model has learned from
    """

    model: str
    events: int
    file: str
    curve: list[Point]
    changes: dict[str, Change]

    def of_part(self, part: str) -> dict[str, dict[int, Quantiles]]:
        """The quantiles of a part of the events, by choice and number of exact weights learned from."""
        found: dict[str, dict[int, Quantiles]] = {}
        for point in self.curve:
            if (quantiles := point.quantiles[part]) is not None:
                found.setdefault(point.choice, {})[point.exact] = quantiles
        return found

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "model": self.model,
            "events": self.events,
            "file": self.file,
            "curve": [point.to_dict() for point in self.curve],
            **{part: change.to_dict() for part, change in self.changes.items()},
        }
