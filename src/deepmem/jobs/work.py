"""The events of a refinement, and exact weights of any of them, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.columns import check_column_names
from deepmem.config import Config
from deepmem.data.loaders import ahead
from deepmem.data.root import Source, has_branch
from deepmem.data.weights import Further, write_weights
from deepmem.errors import UsageError
from deepmem.event import Weight
from deepmem.jobs.events import names_for, objects_for, refuse_other_unit
from deepmem.jobs.learned import LearnedWeight
from deepmem.jobs.outcome import Learned
from deepmem.jobs.parts import Parts
from deepmem.jobs.spreading import Computation, Hands
from deepmem.jobs.tasks import Checked, Task, gev_factors
from deepmem.physics.processes import known_columns, refuse_assigned
from deepmem.physics.weights import visible
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.ranges import Ranges
from deepmem.reporter import Reporter, Step

_CHUNK = 100_000  # entries read, predicted and written at once
_FIRST_BATCH = 256  # events of the first two batches within a time; each further one has twice as many
_AUDIT_AT, _RANDOM_AT = 10**9, 2 * 10**9  # numbers of their first parts, above those of all batches


class Sample:
    """Events, read for a model and for the exact weight alike, and their output.

    **Raises** `UsageError` where a file, a column or a unit does not fit.
    """

    def __init__(
        self,
        events: Sequence[str],
        settings: Config,
        learned: LearnedWeight,
        alpha: Hypothesis,
        keep: Sequence[str],
    ):
        refuse_assigned(alpha.process, "refining")
        self.learned, self.alpha = learned, alpha
        self.unit = learned.surrogate.unit
        objects = objects_for(settings, learned.surrogate.about)
        refuse_other_unit(objects, self.unit)
        if objects is None and "unit" in settings.model_fields_set and settings.unit != self.unit:
            raise UsageError(
                f"the model was trained on {self.unit}, and the configuration says {settings.unit}: the "
                "events can be in one unit only"
            )
        check_column_names(settings.column_names, known_columns(settings.columns_of_tags))
        paths = events or settings.input_paths
        if not paths:
            raise UsageError("no events: name at least one ROOT file")

        def there(column: str) -> bool:
            branch = settings.column_names.get(column, column)
            return has_branch(paths, settings.input_tree, branch, objects)

        self.columns = alpha.columns_of(there)
        own = [settings.column_names.get(column, column) for column in self.columns]
        names = names_for(settings, learned.surrogate.columns, learned.surrogate.about)
        learned_from = [names.get(column, column) for column in learned.surrogate.columns]
        branches = list(dict.fromkeys([*learned_from, *own]))
        self.source = Source(paths, settings.input_tree, branches, keep, objects)
        self._of_model = [branches.index(column) for column in learned_from]
        self._of_process = [branches.index(branch) for branch in own]
        self._factors = gev_factors(self.columns, self.unit)
        self._bounds = self.source.boundaries(0, self.source.num_entries, _CHUNK)

    def _particles(self, table: np.ndarray) -> np.ndarray:
        return table[:, self._of_process] * self._factors

    def predict(self, reporter: Reporter) -> Learned:
        """The learned weights of all events, and which of them can be computed at all.

        **Raises** `UsageError` where angles are in degrees.
        """
        weights, computable = [], []
        ranges = Ranges(self.columns)
        tables = ahead(self.source.tables(self._bounds))
        with reporter.progress("predicting", self.source.num_entries) as step:
            for table in tables:
                particles = self._particles(table)
                ranges.add(particles)
                weights.append(self.learned.surrogate.predict(table[:, self._of_model])[self.learned.name])
                columns = dict(zip(self.columns, particles.T, strict=True))
                computable.append(visible.visible(self.alpha, columns)[1])
                step(len(table))
        ranges.refuse()
        for text in ranges.problems():
            reporter.warning(text)
        value, error, status = (
            np.concatenate([getattr(each, key) for each in weights]) for key in ("value", "error", "status")
        )
        return Learned(Weight(value, error, status), np.concatenate(computable))

    def particles(self, entries: np.ndarray) -> np.ndarray:
        """What the exact weights of some entries, in ascending order, need: `[entries, columns]`, in GeV."""
        return np.concatenate([self._particles(table) for table, _ in self.source.scattered(entries)])

    def write(self, output: str | Path, weight: Weight, about: dict[str, Any]) -> None:
        """Write the weight of all events. **Raises** `UsageError` where that is not possible."""
        kept = self.source.kept_types
        with write_weights(output, [self.learned.name], about, kept, Further(source=True)) as writer:
            for start, stop in self._bounds:
                writer.append({self.learned.name: weight[start:stop]}, self.source.read_kept(start, stop))


@dataclass
class Work:
    """Exact weights of entries anywhere in a sample; finished batches are kept.

    - `largest`: how many events a batch has at most
    - `hands`: who computes
    - `refining`, `auditing`: seconds that exact weights took
    - `refined_events`, `audited_events`: how many were computed
    """

    sample: Sample
    task: Task
    parts: Parts
    largest: int
    hands: Hands
    refining: float = 0.0
    refined_events: int = 0
    auditing: float = 0.0
    audited_events: int = 0

    def batches(self, ranking: np.ndarray, seconds: float | None) -> Iterator[tuple[np.ndarray, Weight]]:
        """Events of a ranking in ascending order within a batch, until all are done or time is spent.

        What decides is kept with the parts, so that a call which continues stops at the same event.
        """
        largest = self.largest
        at, size, number = 0, largest if seconds is None else min(_FIRST_BATCH, largest), 0
        while at < len(ranking):
            entries = np.sort(ranking[at : at + size])
            weight, spent = self._batch(at, entries, len(ranking) - at - len(entries))
            self.refining += spent
            self.refined_events += len(entries)
            yield entries, weight
            at, number = at + size, number + 1
            if seconds is None:
                continue
            expected = 0.0  # the first batch compiles: its pace says nothing of the next
            if number > 1:
                size = min(2 * size, largest)
                expected = spent * size / len(entries)
            if self.refining + expected >= seconds:
                return

    def audit(self, entries: np.ndarray, step: Step) -> Weight:
        """The exact weights of a sample, `[entries]`, in ascending order."""
        weight, self.auditing = self._all(_AUDIT_AT, entries, step)
        self.audited_events = len(entries)
        return weight

    def at_random(self, entries: np.ndarray, step: Step) -> Weight:
        """The same; it counts as no work, since refining does not need it."""
        return self._all(_RANDOM_AT, entries, step)[0]

    def _all(self, number: int, entries: np.ndarray, step: Step) -> tuple[Weight, float]:
        weights, seconds = [Weight(np.empty(0), np.empty(0), np.empty(0, dtype=np.int32))], 0.0
        for at in range(0, len(entries), self.largest):
            batch = entries[at : at + self.largest]
            weight, spent = self._batch(number + at, batch)
            seconds += spent
            weights.append(weight)
            step(len(batch))
        return Weight.concatenate(weights), seconds

    def _batch(self, number: int, entries: np.ndarray, later: int = 0) -> tuple[Weight, float]:
        """The weights of some entries, kept from `number` on, and the seconds they took; `later`, how many
        are to come."""
        (name,) = self.task.names

        def read(begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
            some = entries[begin - number : end - number]
            return self.sample.particles(some), some

        run = (
            self.parts,
            number,
            number + len(entries),
            Computation(Checked.of(self.task, self.task.describe()), read),
        )
        done = sorted(self.hands.fill(*run, lambda events, note="": None, later))
        weights = [self.parts.load(part, [name])[name] for part in done]
        return Weight.concatenate(weights), sum(self.parts.seconds(part) for part in done)
