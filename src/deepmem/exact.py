"""Exact weights of events in memory and in files: chunk by chunk, taken up again after a kill, merged from a
farm.

Each chunk of a file is kept, as soon as it is done, in a folder beside the output; the output itself appears
whole, at the end. Called again with the same arguments, what is there is used; the chunks of a call are under
a name made from all that its weights depend on, so that no other call takes them for its own. The random
points of an event come from its entry number in its run of files, so neither chunks, nor farms, nor
interruptions change a weight."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.columns import Ranges, check_column_names, recognise
from deepmem.config import Config
from deepmem.data.files import check_writable, make_folder, owned, whole_file, write_text
from deepmem.data.identity import EventHashes, joined
from deepmem.data.provenance import differences
from deepmem.data.root import (
    TREE,
    Source,
    Weights,
    branch_names,
    expand,
    read_provenance,
    read_weights,
    weight_names,
    write_weights,
)
from deepmem.data.table import as_table
from deepmem.errors import DeepMEMError, UsageError
from deepmem.event import Weight, by_status, count_statuses
from deepmem.inputs import count_reasons
from deepmem.physics.processes import find_process, known_columns
from deepmem.physics.weights import engine
from deepmem.physics.weights.hypothesis import Hypothesis, hypothesis
from deepmem.physics.weights.partonic import shared_by_events
from deepmem.reporter import Reporter

# Entries per part: some seconds of work, so that little is lost to a kill and files stay few.
CHUNK = 4096
_LOOKED_AT = 100_000  # entries read at once before the work


def hypotheses(
    process: str | Sequence[str],
    settings: Mapping[str, Any],
    *,
    pdf: str | None = None,
    response: Mapping[str, Any] | None = None,
) -> list[Hypothesis]:
    """One hypothesis per process; a setting goes to the processes that know it.

    **Raises** `UsageError` for a setting that none of them knows, and as `hypothesis` does.
    """
    names = [process] if isinstance(process, str) else list(process)
    if not names or len(set(names)) != len(names):
        raise UsageError(f"name each process once, and one at least; got {', '.join(names) or 'none'}")
    known = {name: {*find_process(name).menu_entry()["parameters"], "subset"} - {"pdf"} for name in names}
    made = []
    for i, name in enumerate(names):
        # what nobody knows is left to the first, whose error names the nearest
        mine = {
            k: v for k, v in settings.items() if k in known[name] or (i == 0 and not _any_knows(k, known))
        }
        extra = {} if pdf is None else {"pdf": pdf}
        made.append(hypothesis(name, response=response, **extra, **mine))
    return made


def _any_knows(setting: str, known: Mapping[str, set[str]]) -> bool:
    return any(setting in names for names in known.values())


def compute(
    events: Any,
    process: str | Sequence[str] = "drell_yan",
    precision: float = 0.01,
    *,
    calls: int | None = None,
    seed: int = 0,
    pdf: str | None = None,
    response: Mapping[str, Any] | None = None,
    neutrinos: bool = False,
    **parameters: Any,
) -> Weights:
    """The exact weights of events under one or several hypotheses.

    **Arguments:** `events`, a dict of arrays, a structured array or awkward records with the process's
    columns, in GeV; `process`, one name of the menu or several; `precision`, relative error at which an event
    stops; `calls`, evaluations per event at most; `seed`; `pdf`, a set's name or the path of a grid;
    `response`, transfer functions by particle class; `neutrinos`, whether weights of processes with neutrinos
    bring `.neutrinos`, their momenta averaged over the integral; `parameters`, as `deepmem.processes()` lists
    them: `MZ=91.0`, or `MZ=[90.7, 91.2]` for a scan that shares points.

    **Returns** `Weights`: per process (and value of a scan) value, absolute error and status of each event.

    **Raises** `UsageError` for an unknown name, a missing column, or a grid that is not found.
    """
    alphas = hypotheses(process, parameters, pdf=pdf, response=response)
    weights: dict[str, Weight] = {}
    for alpha in alphas:
        asked = _wants_neutrinos(alpha, neutrinos, alphas)
        weights |= engine.compute(alpha, events, precision=precision, calls=calls, seed=seed, neutrinos=asked)
    hashes = EventHashes(columns_of(alphas))
    hashes.add(as_table(events, columns_of(alphas)))
    return Weights(weights, description(alphas, precision, calls, seed) | {"events": hashes.to_dict()})


def columns_of(alphas: Sequence[Hypothesis]) -> tuple[str, ...]:
    """The default columns that some hypotheses want, each once."""
    return tuple(dict.fromkeys(column for alpha in alphas for column in alpha.process.columns))


def _wants_neutrinos(alpha: Hypothesis, asked: bool, alphas: Sequence[Hypothesis]) -> bool:
    """Whether to ask this one for its neutrinos: the error for asking is left to where none has any."""
    return asked and (alpha.process.invisible or not any(each.process.invisible for each in alphas))


def description(
    alphas: Sequence[Hypothesis], precision: float, calls: int | None, seed: int
) -> dict[str, Any]:
    """How exact weights were made, for the file that carries them."""
    return {
        "command": "compute",
        "deepmem": version("deepmem"),
        "hypotheses": [alpha.describe() for alpha in alphas],
        "precision": precision,
        "calls": calls,
        "seed": seed,
    }


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
    reporter: Reporter | None = None,
    **parameters: Any,
) -> dict[str, Any]:
    """Write the exact weights of events in files, entry by entry; continue where an interrupted call stopped.

    **Arguments:** `events`, files, globs, `path:tree` or addresses (none: the configuration's `input_paths`);
    `config`, for paths, tree, unit, `column_names` and `response`; `entries`, the part [A, B) of the run of
    entries to compute (a farm: see `merge`); `keep`, branches to copy along; the rest as for `compute`.

    **Returns** counts by status and by reason, and the path.

    **Raises** `UsageError` where a file, a name or a column is wrong, angles are in degrees, or the output
    cannot be written.
    """
    reporter = reporter or Reporter()
    settings = Config.load(config or {}, need=())
    alphas = hypotheses(process, parameters, pdf=pdf, response=settings.response)
    columns = columns_of(alphas)
    check_column_names(settings.column_names, known_columns())
    branches = [settings.column_names.get(column, column) for column in columns]
    source = Source(events or settings.input_paths or _no_events(), settings.input_tree, branches, keep)
    source.refuse_as_output(output, config, pdf, *histograms(settings.response))
    start, stop = entries or (0, source.num_entries)
    if not 0 <= start < stop <= source.num_entries:
        raise UsageError(
            f"--entries {start}:{stop}: expected a part of the {source.num_entries} entries there are"
        )
    for alpha in alphas:
        shared_by_events(alpha)  # a missing grid is said before the work, not after
    check_writable(output)
    asked = [_wants_neutrinos(alpha, neutrinos, alphas) for alpha in alphas]
    made = description(alphas, precision, calls, seed)
    unit = np.array(
        [1e-3 if settings.unit == "MeV" and recognise(c).quantity.has_energy_unit else 1.0 for c in columns]
    )
    names = [name for alpha in alphas for name in alpha.names]
    bounds = [(at, min(at + CHUNK, stop)) for at in range(start, stop, CHUNK)]
    counts: dict[str, Any] = dict.fromkeys(names, 0)
    reasons: dict[str, Counter[str]] = {name: Counter() for name in names}
    with owned(output, _doing("compute", process, parameters)):
        about = made | {
            "inputs": source.provenance(),
            "entries": [start, stop],
            "events": _looked_at(source, start, stop, columns, unit, reporter),
            "unit": settings.unit,
            "column_names": dict(settings.column_names),
            **({"neutrinos": True} if neutrinos else {}),
        }
        parts = Parts(Path(output), about)
        done = sum(parts.has(begin) for begin, _ in bounds)
        if done:
            reporter.message(f"continuing: {done} of {len(bounds)} parts are there from an earlier call")
        with reporter.progress(f"computing {', '.join(names)}", stop - start) as step:
            for begin, end in bounds:
                if not parts.has(begin):
                    table = source.read(begin, end) * unit
                    numbers = np.arange(begin, end)
                    found = compute_chunk(alphas, asked, columns, table, precision, calls, seed, numbers)
                    source.refuse_changes()
                    if description(alphas, precision, calls, seed) != made:
                        raise DeepMEMError("a density grid was changed while it was used: start again")
                    parts.save(begin, found)
                step(end - begin)
        escaping = [name for alpha, each in zip(alphas, asked, strict=True) if each for name in alpha.names]
        with write_weights(output, names, about, kept=source.kept_types, with_neutrinos=escaping) as writer:
            for begin, end in bounds:
                weights = parts.load(begin, names)
                writer.append(weights, source.read_kept(begin, end))
                for name, weight in weights.items():
                    counts[name] = counts[name] + count_statuses(weight.status)
                    reasons[name].update(count_reasons(weight.reason))
        source.refuse_changes()
        parts.remove()
        if others := parts.others():
            reporter.message(
                f"{others} other interrupted call(s) with this output have parts in {parts.folder}"
            )
    return {
        "events": stop - start,
        "output": str(output),
        "status": {name: by_status(each) for name, each in counts.items()},
        "reasons": {name: dict(each.most_common()) for name, each in reasons.items()},
    }


def histograms(response: Mapping[str, Any] | None) -> list[str]:
    """The files of histograms that a response names."""
    kinds = (response or {}).values()
    entries = [each for kind in kinds for each in (kind if isinstance(kind, list) else [kind])]
    return [str(e["file"]).rpartition(":")[0] for e in entries if isinstance(e, Mapping) and "file" in e]


def _doing(command: str, process: Sequence[str], parameters: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{name}={value}" for name, value in parameters.items())
    return f"{command} {', '.join(process)}{' with ' * bool(settings)}{settings}"


def _looked_at(
    source: Source, start: int, stop: int, columns: Sequence[str], unit: np.ndarray, reporter: Reporter
) -> dict[str, Any]:
    """The identity of the events; what looks wrong in all of them is said, or refused, before the work."""
    hashes, ranges = EventHashes(source.columns), Ranges(columns)
    for low, high in source.boundaries(start, stop, _LOOKED_AT):
        table = source.read(low, high)
        hashes.add(table)
        ranges.add(table * unit)
    ranges.refuse()
    for text in ranges.problems():
        reporter.warning(text)
    return hashes.to_dict()


def _no_events() -> Sequence[str]:
    raise UsageError("no events: name at least one ROOT file")


def compute_chunk(
    alphas: Sequence[Hypothesis],
    neutrinos: Sequence[bool],
    columns: Sequence[str],
    table: np.ndarray,
    precision: float,
    calls: int | None,
    seed: int,
    entries: np.ndarray,
) -> dict[str, Weight]:
    """The exact weights of rows `[events, columns]`, in GeV, with these entry numbers in their run."""
    events = dict(zip(columns, table.T.astype(np.float64), strict=True))
    weights: dict[str, Weight] = {}
    for alpha, asked in zip(alphas, neutrinos, strict=True):
        weights |= engine.compute(
            alpha,
            events,
            precision=precision,
            calls=calls,
            seed=seed,
            entries=entries,
            neutrinos=asked,
        )
    return weights


class Parts:
    """The chunks of one call that are done, in a folder beside the output, under names made from `about`."""

    def __init__(self, output: Path, about: Mapping[str, Any]):
        text = json.dumps(about, sort_keys=True)
        self.folder = output.with_name(f".{output.name}.parts")
        self._mark = hashlib.sha256(text.encode()).hexdigest()[:32]
        make_folder(self.folder)
        write_text(self.folder / f"{self._mark}.json", text)

    def _path(self, begin: int) -> Path:
        return self.folder / f"{self._mark}.{begin:012d}.npz"

    def has(self, begin: int) -> bool:
        return self._path(begin).exists()

    def save(self, begin: int, weights: Mapping[str, Weight], seconds: float = 0.0) -> None:
        """Keep the weights of a part, and what they took."""
        arrays = {
            f"{i}.{field.name}": getattr(weight, field.name)
            for i, weight in enumerate(weights.values())
            for field in fields(Weight)
            if getattr(weight, field.name) is not None
        }
        with whole_file(self._path(begin)) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, seconds=np.array(seconds), **arrays)

    def seconds(self, begin: int) -> float:
        with np.load(self._path(begin), allow_pickle=False) as arrays:
            return float(arrays["seconds"])

    def load(self, begin: int, names: Sequence[str]) -> dict[str, Weight]:
        with np.load(self._path(begin), allow_pickle=False) as arrays:
            return {
                name: Weight(**{field.name: arrays.get(f"{i}.{field.name}") for field in fields(Weight)})
                for i, name in enumerate(names)
            }

    def others(self) -> int:
        """How many other calls with the same output have left parts."""
        return sum(path.stem != self._mark for path in self.folder.glob("*.json"))

    def remove(self) -> None:
        """Remove these parts; those of other calls stay."""
        for path in self.folder.glob(f"{self._mark}.*"):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()


def merge(parts: Sequence[str], output: str | Path) -> dict[str, Any]:
    """Put parts made with `--entries` on a farm together, in the order of their entries.

    **Raises** `UsageError` where a part is missing, comes twice, or belongs to another call.
    """
    found = []
    hashes: dict[int, dict[str, Any]] = {}
    for path, _ in expand(parts):
        try:
            about = read_provenance(path)
            start, stop = about.pop("entries")
            hashes[start] = about.pop("events")
            found.append((start, stop, path, about))
        except (DeepMEMError, KeyError) as error:
            raise UsageError(f"{path} is not a part made by 'deepmem compute --entries': {error}") from None
    found.sort(key=lambda part: part[0])
    about = found[0][3]
    total = sum(file["entries"] for file in about["inputs"])
    expected = 0
    for start, stop, path, other in found:
        if other != about:
            raise UsageError(
                f"{path} and {found[0][2]} were computed differently ({'; '.join(differences(about, other))})"
            )
        if start != expected:
            what = "is missing" if start > expected else "comes twice"
            low, high = sorted((start, expected))
            raise UsageError(
                f"the part {low}:{high} {what} (next to {path}): {total} entries are expected in all"
            )
        expected = stop
    if expected != total:
        raise UsageError(f"the part {expected}:{total} is missing: {total} entries are expected in all")
    names = weight_names(found[0][2])
    ours = {f"{name}{suffix}" for name in names for suffix in ("", "_error", "_status", "_source")}
    kept = [branch for branch in branch_names(found[0][2]) if branch not in ours]
    # in the order of their entries, so that the parts are one run
    source = Source([path for _, _, path, _ in found], TREE, (), kept)
    source.refuse_as_output(output)
    about |= {"entries": [0, total], "events": joined([hashes[start] for start, *_ in found])}
    with write_weights(output, names, about, kept=source.kept_types) as writer:
        for start, stop, path, _ in found:
            weights = {name: read_weights(path, name) for name in names}
            writer.append(weights, source.read_kept(start, stop))
    return {"events": total, "output": str(output), "parts": len(found)}
