"""Back to exact: learned weights of files, with those that are not good enough computed exactly.

Which events those are is decided by the errors that the model gives its weights. A random sample of the
others is computed exactly too, and says whether these errors hold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.config import Config
from deepmem.data.files import check_writable
from deepmem.data.identity import hashes_of
from deepmem.errors import Interrupted, UsageError
from deepmem.jobs.audit import Audit
from deepmem.jobs.budget import Budget
from deepmem.jobs.events import tell_objects, tell_other_objects
from deepmem.jobs.learned import LearnedWeight
from deepmem.jobs.outcome import Entries, Learned, Mixture, Refinement, Saving, SumOfLogs
from deepmem.jobs.parts import Parts
from deepmem.jobs.spreading import Hands
from deepmem.jobs.staff import Staff
from deepmem.jobs.tasks import Task
from deepmem.jobs.work import Sample, Work
from deepmem.physics.detector.entries import histograms
from deepmem.reporter import Reporter

_AUDITED, _AUDITED_SHARE = 200, 0.02  # of the events that stay learned, the lower of the two
_HELD_OUT, _HELD_OUT_SHARE = 200, 0.1  # of the refined events, the lower of the two
# What each random choice adds to the seed.
_AUDIT, _HOLD_OUT, _AT_RANDOM = 1, 2, 3


@dataclass(frozen=True)
class Settings:
    """What may be computed, and how; `deepmem.refine` says what each means.

    - `keep_parts`: the exact weights stay beside the output, too, for a caller who is not done yet: called
      again, nothing is computed twice
    - `staff`: who computes exact weights, by default this process
    - `part`: how many events are kept together as they are done, if not what follows from the process
    - `parameters` of the hypothesis
    """

    tolerance: float | None = None
    budget: str | float | None = None
    weight: str | None = None
    audit: int | None = None
    compare_random: bool = False
    precision: float | None = None
    calls: int | None = None
    seed: int = 0
    pdf: str | None = None
    keep: Sequence[str] = ()
    keep_parts: bool = False
    force: bool = False
    part: int | None = None
    staff: Staff = Staff()  # noqa: RUF009  (it is a value)
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Call:
    """A call that has been checked: what there is to refine, how far, and where it goes."""

    settings: Settings
    limit: Budget
    task: Task
    sample: Sample
    output: str | Path
    column_names: dict[str, str]
    forced: str | None


def refine(
    events: Sequence[str],
    output: str | Path,
    process: str,
    model: str | Path,
    settings: Settings,
    *,
    config: str | Path | Mapping[str, Any] | Config | None = None,
    reporter: Reporter | None = None,
) -> Refinement:
    """Write learned weights of events in files, those with too large errors computed exactly; called again,
    continue where an interrupted call stopped.

    **Arguments:** as for `deepmem.refine`, with its options in `settings`.

    **Raises** `UsageError` where a file, the model, a name or a number is wrong, or the output cannot be
    written; `Interrupted`, which says what is kept, where the user stops it.
    """
    reporter = reporter or Reporter()
    call = _check(events, output, process, model, settings, config, reporter)
    learned = call.sample.predict(reporter)
    if not np.isfinite(learned.weight.error[learned.computable]).any():
        reporter.warning(
            f"{model} gives no errors: every event counts as flagged. Train with a validation part to get "
            "them"
        )
    ranking = call.limit.first_of(learned.ranking, learned.spread)
    about = _provenance(call)
    # predictions may round differently elsewhere: parts are of use only for the events they are of
    plan = {"plan": hashlib.sha256(ranking.tobytes()).hexdigest()}
    largest = settings.part or call.task.batch
    parts = Parts(Path(output), about | plan | {"batch": largest}, call.task.pace(settings.part))
    try:
        with Hands.of(settings.staff, reporter) as hands:
            work = Work(call.sample, call.task, parts, largest, hands)
            refinement = _compute(call, learned, ranking, work, about["inputs"], reporter)
    except KeyboardInterrupt:
        raise Interrupted(_interruption(parts)) from None
    for text in refinement.audit.alarms:
        reporter.warning(text)
    call.sample.source.refuse_changes()
    call.sample.write(output, refinement.weight, about)
    if not settings.keep_parts:
        parts.remove()
    return refinement


def _check(
    events: Sequence[str],
    output: str | Path,
    process: str,
    model: str | Path,
    settings: Settings,
    config: str | Path | Mapping[str, Any] | Config | None,
    reporter: Reporter,
) -> _Call:
    """See what a call means. **Raises** `UsageError` where it cannot be done."""
    limit, tolerance = Budget.of(settings.tolerance, settings.budget), settings.tolerance
    precision = min(0.01, tolerance or 0.01) if settings.precision is None else settings.precision
    if tolerance is not None and precision > tolerance:
        raise UsageError(
            f"--precision {precision:g} is worse than --tolerance {tolerance:g}: what is computed would not "
            "be good enough"
        )
    if settings.audit is not None and settings.audit < 0:
        raise UsageError(f"--audit {settings.audit}: expected a number of events, 0 for none")
    settings.staff.check()
    configuration = Config.load(config or {}, need=())
    learned = LearnedWeight.of(model, process, settings.weight)
    alpha = learned.hypothesis(process, settings.parameters, settings.pdf, configuration.response)
    sample = Sample(events, configuration, learned, alpha, settings.keep)
    read = sample.columns
    task = Task((alpha,), precision, settings.calls, settings.seed, columns_of_events=read)
    sample.source.refuse_as_output(output, model, config, settings.pdf, *histograms(configuration.response))
    tell_objects(sample.source, reporter)
    tell_other_objects(sample.source, learned.surrogate.about, reporter)
    if configuration.variations:
        reporter.warning("'variations' are for compute and predict: refine writes the nominal weights alone")
    task.load_densities()
    check_writable(output)
    column_names = dict(configuration.column_names)
    contradiction = learned.contradiction(alpha, column_names)
    if contradiction is not None:
        if not settings.force:
            raise UsageError(f"{contradiction} (--force mixes them all the same)")
        reporter.warning(contradiction)
    return _Call(settings, limit, task, sample, output, column_names, contradiction)


def _provenance(call: _Call) -> dict[str, Any]:
    """What the output says of itself, and what its weights depend on."""
    return call.sample.learned.surrogate.provenance("refine") | {
        **call.task.describe(),
        "command": "refine",
        "inputs": call.sample.source.provenance(),
        **call.sample.source.about_objects,
        "events": hashes_of(call.sample.source),
        "unit": call.sample.unit,
        "column_names": call.column_names,
        "weight": call.sample.learned.name,
        **({} if call.forced is None else {"forced": call.forced}),
        **call.limit.to_dict(),
        "audit": call.settings.audit,
    }


def _compute(
    call: _Call,
    learned: Learned,
    ranking: np.ndarray,
    work: Work,
    data: list[dict[str, Any]],
    reporter: Reporter,
) -> Refinement:
    """Compute the worst events, an audit of the others, and as many at random where that is asked for."""
    seed = call.settings.seed
    mixture = Mixture(learned)
    worst = _compute_worst(call.limit, ranking, work, mixture, reporter)
    refined = np.zeros(len(learned.spread), dtype=bool)
    refined[worst] = True
    population = np.flatnonzero(learned.computable & ~refined & np.isfinite(learned.spread))
    number = call.settings.audit
    if number is None:
        number = min(_AUDITED, int(np.ceil(_AUDITED_SHARE * len(population))))
    audited = np.sort(_draw(population, number, [seed, _AUDIT]))
    with reporter.progress("auditing", len(audited)) as step:
        exact = work.audit(audited, step)
    mixture.put(audited, exact)
    audit = Audit.of(exact, learned.weight[audited])
    if audit.failure is not None:
        mixture.flag()
    total = SumOfLogs.of(
        mixture.weight[refined],
        learned.weight[population],
        np.searchsorted(population, audited),
        exact,
        len(refined),
    )
    entries = _entries(worst, audited, learned, call.settings)
    fresh = np.setdiff1d(entries.random, worst)
    with reporter.progress("computing at random", len(fresh)) as step:
        mixture.put(fresh, work.at_random(fresh, step))
    return Refinement(
        call.sample.learned.name,
        call.limit,
        call.task.precision,
        learned,
        mixture.weight,
        entries,
        audit,
        exact,
        len(population),
        len(fresh),
        _saving(work, int(learned.computable.sum())),
        total,
        call.forced,
        data,
        str(call.output),
        work.parts if call.settings.keep_parts else None,
    )


def _compute_worst(
    limit: Budget, ranking: np.ndarray, work: Work, mixture: Mixture, reporter: Reporter
) -> np.ndarray:
    """Compute events of a ranking; **returns** those for which the time was enough, worst first."""
    # in the order of their entries they are read once
    order = np.sort(ranking) if limit.seconds is None else ranking
    done = 0
    with reporter.progress("computing exactly", len(order)) as step:
        for batch, exact in work.batches(order, limit.seconds):
            mixture.put(batch, exact)
            done += len(batch)
            step(len(batch))
    return ranking[:done]


def _entries(worst: np.ndarray, audited: np.ndarray, learned: Learned, settings: Settings) -> Entries:
    held_out = min(_HELD_OUT, int(_HELD_OUT_SHARE * len(worst)))
    unlearned = np.sort(_draw(worst, held_out, [settings.seed, _HOLD_OUT]))
    others = np.setdiff1d(np.flatnonzero(learned.computable), np.concatenate([audited, unlearned]))
    number = len(worst) - held_out if settings.compare_random else 0
    return Entries(worst, audited, unlearned, _draw(others, number, [settings.seed, _AT_RANDOM]))


def _draw(population: np.ndarray, number: int, seed: list[int]) -> np.ndarray:
    """So many at random, or all there are, in random order."""
    rng = np.random.default_rng(seed)
    return rng.choice(population, min(number, len(population)), replace=False)


def _saving(work: Work, computable: int) -> Saving:
    done, spent = work.refined_events + work.audited_events, work.refining + work.auditing
    # what is left is like the audited events; the refined ones are often harder
    pace = work.refining / max(work.refined_events, 1)
    if work.audited_events:
        pace = work.auditing / work.audited_events
    everything = spent + (computable - done) * pace
    return Saving(
        done,
        computable / done if done else None,
        spent,
        everything if done else None,
        everything / spent if spent else None,
    )


def _interruption(parts: Parts) -> str:
    """What an interruption leaves, in words."""
    if not (events := parts.events()):
        return "interrupted; no exact weight was finished, nothing is kept"
    return f"interrupted; {events:,} exact weights are kept, the same command continues"
