"""Exact weights of events in memory and in files.

Entries of files are computed part by part, and each is kept as soon as it is done: called again with the same
arguments, a call continues. The random points of an event come from its entry number in its run of files, so
neither parts, nor farms, nor interruptions change a weight."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.columns import check_column_names
from deepmem.config import Config
from deepmem.data.files import check_writable, owned
from deepmem.data.identity import EventHashes
from deepmem.data.lazy import is_lazy, later
from deepmem.data.loaders import ahead
from deepmem.data.memory import InMemory
from deepmem.data.root import Source, has_branch
from deepmem.data.table import as_table, has_column
from deepmem.data.weights import Further, Weights, all_branches, write_weights
from deepmem.errors import DeepMEMWarning, Interrupted, UsageError
from deepmem.inputs import Reason
from deepmem.jobs.events import idle, tell_idle, tell_objects, unit_of
from deepmem.jobs.parts import Parts
from deepmem.jobs.spreading import Computation, Hands
from deepmem.jobs.staff import Staff
from deepmem.jobs.tallies import Tally, Written
from deepmem.jobs.tasks import (
    Checked,
    Processes,
    Task,
    gev_factors,
    hypotheses,
    reactions_by_name,
)
from deepmem.physics.detector.entries import histograms
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.processes import known_columns
from deepmem.physics.processes.of_reaction import is_reaction, named
from deepmem.ranges import Ranges
from deepmem.reporter import Reporter

_READ_AT_ONCE = 100_000  # entries


def compute(
    events: Any,
    process: Processes = "drell_yan",
    precision: float = 0.01,
    *,
    calls: int | None = None,
    seed: int = 0,
    pdf: str | None = None,
    response: Mapping[str, Any] | None = None,
    neutrinos: bool = False,
    assignments: bool = False,
    schema: str | None = None,
    objects: Mapping[str, Any] | None = None,
    variations: Mapping[str, Mapping[str, str]] | None = None,
    unit: str | None = None,
    **parameters: Any,
) -> Weights:
    """The exact weights of events under one or several hypotheses.

    **Arguments:** `events`, a dict of arrays, a structured array or awkward records with the process's
    columns, in GeV; or collections (NanoEvents, awkward records), with `schema` or `objects`; `process`, one
    name of the menu or several, or reactions: "p p > …", "NAME=p p > …", or {"NAME": "p p > …"} (or a list of
    some that are summed, or {"reaction": "p p > …", "MT": 175} with settings of its own); `precision`,
    relative error at which an event stops; `calls`, evaluations per event at most; `seed`; `pdf`, a set's
    name or the path of a grid; `response`, transfer functions by particle class; `neutrinos`, whether weights
    of processes with neutrinos bring `.neutrinos`, their momenta averaged over the integral; `assignments`,
    whether weights of reactions with jets bring `.share` and `.role`, what assignments contribute and which
    leg each jet is in the likeliest; `schema`, `objects`, `variations`, `unit` as in a configuration, where
    the field `pt` of a record `Muon` is called `Muon_pt` (a variation's weight is `NAME__VARIATION`, see
    `Weight.ratio_to`); `parameters`, as `deepmem.processes()` lists them: `MZ=91.0`, or `MZ=[90.7, 91.2]` for
    a scan that shares points; of a reaction also `model`, and couplings that are "[:]", see `Weight.at`; of
    one with jets `tags="ignore"`, `tagging={"b": 0.77, "c": 0.15, "light": 0.01}` (the probabilities of
    tags), `extra_jets="choose"`, or `lost=1` with the `selection` of the events, where a jet may be lost: its
    weights have `.lost`, 0 or 1. Tags are columns j1_B, j2_B, …, and jets beyond the legs are read, too.

    **Returns** `Weights`: per process (and value of a scan) value, absolute error and status of each event.
    Of events of dask-awkward a lazy array of records, by process: `.value`, `.error`, `.status`; random
    points come from an event's place in its partition.

    **Raises** `UsageError` for an unknown name, a missing column, or a grid that is not found.
    """
    Accuracy(precision, calls, seed)  # what is wrong with these, before events are looked at
    alphas = hypotheses(process, parameters, pdf=pdf, response=response)
    said: dict[str, Any] = {"schema": schema, "objects": objects, "variations": variations, "unit": unit}
    settings = Config.load({key: value for key, value in said.items() if value is not None}, need=())
    task = Task(alphas, precision, calls, seed, neutrinos, assignments, variations=tuple(settings.variations))
    if is_lazy(events):
        again = partial(
            compute, process=process, precision=precision, calls=calls, seed=seed, pdf=pdf, response=response,
            **said, **parameters,
        )  # fmt: skip
        return _later(events, again, task, settings)
    about = task.describe()
    if settings.located is None and not settings.variations and unit is None:
        task = task.reading(partial(has_column, events))
        table, weights = as_table(events, task.columns), task.compute(events)
    else:
        given = InMemory(events)
        task = task.reading(lambda column: given.has(column, settings.located))
        factors = gev_factors(task.columns, unit_of(settings))
        table = given.table(task.columns, settings.located, {})
        varied = {
            name: task.columns_of(given.table(task.columns, settings.located, fields) * factors)
            for name, fields in settings.variations.items()
        }
        for name, fields in settings.variations.items():
            if not given.varies(task.columns, settings.located, fields):
                warnings.warn(idle(name, fields), DeepMEMWarning, stacklevel=2)
        weights = task.compute(task.columns_of(table * factors), variations=varied)
        about |= {key: value for key, value in said.items() if value is not None}
    hashes = EventHashes(task.columns)
    hashes.add(table)
    return Weights(weights, about | {"events": hashes.to_dict()})


def _later(events: Any, again: Callable[[Any], Weights], task: Task, settings: Config) -> Any:
    """The weights of events of dask-awkward. **Raises** `UsageError` for what is more than a number."""
    if task.neutrinos or task.assignments or task.terms:
        raise UsageError(
            "events that are computed later get value, error and status alone: leave out neutrinos, "
            "assignments and couplings that are polynomials, or call deepmem.compute on events.compute()"
        )

    def touch(part: Any) -> None:
        given = InMemory(part)
        columns = task.reading(lambda column: given.has(column, settings.located)).columns
        for fields in ({}, *settings.variations.values()):
            given.touch(columns, settings.located, fields)

    return later(events, again, touch, task.names)


def compute_files(
    events: Sequence[str],
    output: str | Path,
    process: Sequence[str],
    *,
    config: str | Path | Mapping[str, Any] | Config | None = None,
    precision: float = 0.01,
    calls: int | None = None,
    seed: int = 0,
    pdf: str | None = None,
    entries: tuple[int, int] | None = None,
    keep: Sequence[str] = (),
    neutrinos: bool = False,
    assignments: bool = False,
    reasons: bool = False,
    part: int | None = None,
    schema: str | None = None,
    staff: Staff = Staff(),  # noqa: B008  (it is a value)
    reporter: Reporter | None = None,
    **parameters: Any,
) -> Written:
    """Write the exact weights of events in files, entry by entry; continue where an interrupted call stopped.

    **Arguments:** `events`, files, globs, `path:tree` or addresses (none: the configuration's `input_paths`);
    `process`, as for `compute`, or names of the configuration's `processes` (none: all of these);
    `config`, for paths, tree, unit, `column_names` and `response`; `entries`, the part [A, B) of the run of
    entries to compute (a farm: see `merging.merge`); `keep`, branches to copy along; `assignments`,
    whether NAME_share and NAME_role are written, see `event.Weight`; `reasons`, whether
    NAME_reason is written, why a status is what it is; `part`, how many events are kept together as they are
    done (by default some seconds of work; no weight depends on it); `schema`, of the events, instead of the
    configuration's; `staff`, who computes: by default this process; the rest as for `compute`.

    **Raises** `UsageError` where a file, a name or a column is wrong, angles are in degrees, or the output
    cannot be written; `Interrupted`, which says what is kept, where the user stops it.
    """
    reporter = reporter or Reporter()
    settings = Config.load(config or {}, need=(), schema=schema)
    process, apart = _chosen(process, reactions_by_name(settings.processes))
    _refuse_nameless(process)
    staff.check()
    parameters = settings.settings(parameters)
    alphas = hypotheses(process, parameters, pdf=pdf, response=settings.response, apart=apart)
    suffixes = [name for each in alphas for _, name in each.tagging if isinstance(name, str)]
    check_column_names(settings.column_names, known_columns(suffixes))
    files, objects = events or settings.input_paths or _no_events(), settings.located

    def there(column: str) -> bool:
        branch = settings.column_names.get(column, column)
        return has_branch(files, settings.input_tree, branch, objects)

    task = Task(alphas, precision, calls, seed, neutrinos, assignments, variations=tuple(settings.variations))
    task = task.reading(there)
    branches = [settings.column_names.get(column, column) for column in task.columns]
    source = Source(files, settings.input_tree, branches, keep, objects, may_be_empty=True)
    further = task.further(reasons)
    all_branches(task.names, source.kept_types, further)  # what is wrong with --keep, before the work
    tell_objects(source, reporter)
    source.refuse_as_output(output, config, pdf, *histograms(settings.response))
    varied = {
        name: Source(files, settings.input_tree, branches, (), objects, fields, may_be_empty=True)
        for name, fields in settings.variations.items()
    }
    tell_idle(varied, settings.variations, reporter)
    run = _run(source, entries, task, settings, varied)
    task.load_densities()
    check_writable(output)
    description = task.describe()
    doing = _doing("compute", process, parameters)
    with owned(output, doing), Hands.of(staff, reporter) as hands:
        about = description | {
            "inputs": source.provenance(),
            "entries": [run.start, run.stop],
            "events": _identity(run, task.columns, reporter),
            "unit": unit_of(settings),
            "column_names": dict(settings.column_names),
            **source.about_objects,
            **({"neutrinos": True} if neutrinos else {}),
            **({"assignments": True} if assignments else {}),
            **({"variations": settings.variations} if settings.variations else {}),
        }
        parts = Parts(Path(output), about, task.pace(part))
        try:
            _compute_parts(run, parts, task, _computation(task, run, description), hands, reporter)
        except KeyboardInterrupt:
            raise Interrupted(_interruption(run, parts)) from None
        written = _write(task, run, parts, output, about, further)
        source.refuse_changes()
        parts.remove()
        if others := parts.others():
            reporter.message(
                f"{others} other interrupted call(s) with this output have parts in {parts.folder}"
            )
    return written


def _chosen(
    asked: Sequence[str], configured: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], Mapping[str, Mapping[str, Any]]]:
    """The processes that are asked for, or all of the configuration's, and settings of some of them alone.

    **Raises** `UsageError` where there is none.
    """
    by_name = {named(text)[0]: text for text in configured}
    if not asked and not by_name:
        raise UsageError("say what the weights are of: --process NAME, or the key processes")
    return [by_name.get(name.strip(), name) for name in asked or by_name], configured


def _refuse_nameless(processes: Sequence[str]) -> None:
    """**Raises** `UsageError` for a reaction that does not say what its branches are to be called."""
    for text in processes:
        if is_reaction(text) and named(text)[0] == named(text)[1]:
            raise UsageError(f"branches need a name: write 'NAME={text.strip()}'")


@dataclass(frozen=True)
class _Run:
    """Entries [start, stop) of files; `factors` `[columns]` make GeV of what they hold; `varied`, the same
    files as variations read them."""

    source: Source
    start: int
    stop: int
    factors: np.ndarray
    varied: Mapping[str, Source]


def _run(
    source: Source,
    entries: tuple[int, int] | None,
    task: Task,
    settings: Config,
    varied: Mapping[str, Source],
) -> _Run:
    start, stop = entries or (0, source.num_entries)
    empty = start == stop == source.num_entries == 0
    if not (0 <= start < stop <= source.num_entries or empty):
        raise UsageError(
            f"--entries {start}:{stop}: expected a part of the {source.num_entries} entries there are"
        )
    return _Run(source, start, stop, gev_factors(task.columns, unit_of(settings)), varied)


def _no_events() -> Sequence[str]:
    raise UsageError("no events: name at least one ROOT file")


def _doing(command: str, process: Sequence[str], parameters: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{name}={value}" for name, value in parameters.items())
    return f"{command} {', '.join(process)}{' with ' * bool(settings)}{settings}"


def _identity(run: _Run, columns: Sequence[str], reporter: Reporter) -> dict[str, Any]:
    """The identity of the events; what looks wrong in all of them is told, or refused, before the work."""
    hashes, ranges = EventHashes(run.source.columns), Ranges(columns)
    bounds = run.source.boundaries(run.start, run.stop, _READ_AT_ONCE)
    for table in ahead(run.source.tables(bounds)):
        hashes.add(table)
        ranges.add(table * run.factors)
    ranges.refuse()
    for text in ranges.problems():
        reporter.warning(text)
    return hashes.to_dict()


def _computation(task: Task, run: _Run, description: Mapping[str, Any]) -> Computation:
    """The weights of a run's entries. It **raises** `DeepMEMError` where a grid changes meanwhile."""

    def read(begin: int, end: int) -> tuple[Any, ...]:
        table = run.source.read(begin, end) * run.factors
        varied = {name: source.read(begin, end) * run.factors for name, source in run.varied.items()}
        return table, np.arange(begin, end), varied

    return Computation(Checked.of(task, description), read, run.source.refuse_changes)


def _compute_parts(
    run: _Run, parts: Parts, task: Task, computation: Computation, hands: Hands, reporter: Reporter
) -> None:
    """Compute the parts that are not there yet."""
    total = run.stop - run.start
    if done := parts.events():
        reporter.message(f"continuing: {done:,} of {total:,} events are there from an earlier call")
    with reporter.progress(f"computing {', '.join(task.names)}", total) as step:
        for _ in hands.fill(parts, run.start, run.stop, computation, step):
            pass


def _interruption(run: _Run, parts: Parts) -> str:
    """What an interruption leaves, in words."""
    total = f"{run.stop - run.start:,}"
    if not (events := parts.events()):
        return f"interrupted; none of {total} events was finished, nothing is kept"
    return f"interrupted; {events:,} of {total} events are kept, the same command continues"


def _write(
    task: Task, run: _Run, parts: Parts, output: str | Path, about: dict[str, Any], further: Further
) -> Written:
    tally, kept = Tally(task.names), run.source.kept_types
    about = about | {"reasons": {int(reason): reason.meaning for reason in Reason}}
    with write_weights(output, task.names, about, kept, further) as writer:
        for part in parts.within(run.start, run.stop):
            weights = parts.load(part, task.names)
            writer.append(weights, run.source.read_kept(*part))
            tally.add(weights)
        about["counts"] = tally.to_dict()
    return Written(run.stop - run.start, str(output), tally)
