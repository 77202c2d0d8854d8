"""Exact weights of events in memory and in files: chunk by chunk, taken up again after a kill, merged from a
farm.

Each chunk of a file is kept, as soon as it is done, in a folder beside the output; the output itself appears
whole, at the end. Called again with the same arguments, what is there is used. The random points of an event
come from its entry number in its run of files, so neither chunks, nor farms, nor interruptions change a
weight."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.columns import check_units, recognise
from deepmem.config import Config
from deepmem.data.files import check_writable, make_folder, whole_file
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
from deepmem.errors import DeepMEMError, UsageError
from deepmem.event import Status, Weight
from deepmem.physics import weight as engine
from deepmem.physics.processes import find_process
from deepmem.reporter import Reporter

# Entries per part: some seconds of work, so that little is lost to a kill and files stay few.
CHUNK = 4096


def hypotheses(
    process: str | Sequence[str],
    settings: Mapping[str, Any],
    *,
    pdf: str | None = None,
    response: Mapping[str, Any] | None = None,
) -> list[engine.Hypothesis]:
    """One hypothesis per process; a setting goes to the processes that know it.

    **Raises** `UsageError` for a setting that none of them knows, and as `engine.hypothesis` does.
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
        made.append(engine.hypothesis(name, response=response, **extra, **mine))
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
    return Weights(weights, description(alphas, precision, calls, seed))


def _wants_neutrinos(alpha: engine.Hypothesis, asked: bool, alphas: Sequence[engine.Hypothesis]) -> bool:
    """Whether to ask this one for its neutrinos: the error for asking is left to where none has any."""
    return asked and (alpha.process.invisible or not any(each.process.invisible for each in alphas))


def description(
    alphas: Sequence[engine.Hypothesis], precision: float, calls: int | None, seed: int
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

    **Returns** counts by status, and the path.

    **Raises** `UsageError` where a file, a name or a column is wrong, or the output cannot be written.
    """
    reporter = reporter or Reporter()
    settings = Config.load(config or {}, need=())
    alphas = hypotheses(process, parameters, pdf=pdf, response=settings.response)
    columns = tuple(dict.fromkeys(column for alpha in alphas for column in alpha.process.columns))
    branches = [settings.column_names.get(column, column) for column in columns]
    source = Source(events or settings.input_paths or _no_events(), settings.input_tree, branches, keep)
    source.refuse_as_output(output)
    start, stop = entries or (0, source.num_entries)
    if not 0 <= start < stop <= source.num_entries:
        raise UsageError(
            f"--entries {start}:{stop}: expected a part of the {source.num_entries} entries there are"
        )
    for alpha in alphas:
        engine.shared_by_events(alpha)  # a missing grid is said before the work, not after
    check_writable(output)
    asked = [_wants_neutrinos(alpha, neutrinos, alphas) for alpha in alphas]
    about = description(alphas, precision, calls, seed) | {
        "inputs": source.provenance(),
        "entries": [start, stop],
        "unit": settings.unit,
        "column_names": dict(settings.column_names),
        **({"neutrinos": True} if neutrinos else {}),
    }
    unit = np.array(
        [1e-3 if settings.unit == "MeV" and recognise(c).quantity.has_energy_unit else 1.0 for c in columns]
    )
    parts = Parts(Path(output), about)
    names = [name for alpha in alphas for name in alpha.names]
    bounds = [(at, min(at + CHUNK, stop)) for at in range(start, stop, CHUNK)]
    done = sum(parts.has(begin) for begin, _ in bounds)
    if done:
        reporter.message(f"continuing: {done} of {len(bounds)} parts are there from an earlier call")
    for text in check_units(source.read(start, min(start + CHUNK, stop)) * unit, columns):
        reporter.warning(text)
    with reporter.progress(f"computing {', '.join(names)}", stop - start) as step:
        for begin, end in bounds:
            if not parts.has(begin):
                table = source.read(begin, end) * unit
                numbers = np.arange(begin, end)
                parts.save(
                    begin, compute_chunk(alphas, asked, columns, table, precision, calls, seed, numbers)
                )
            step(end - begin)
    counts = {name: np.zeros(len(Status), dtype=int) for name in names}
    with_neutrinos = [name for alpha, each in zip(alphas, asked, strict=True) if each for name in alpha.names]
    with write_weights(output, names, about, kept=source.kept_types, with_neutrinos=with_neutrinos) as writer:
        for begin, end in bounds:
            weights = parts.load(begin, names)
            writer.append(weights, source.read_kept(begin, end))
            for name, weight in weights.items():
                counts[name] += np.bincount(weight.status, minlength=len(Status))
    parts.remove()
    return {
        "events": stop - start,
        "output": str(output),
        "status": {n: by_status(c) for n, c in counts.items()},
    }


def _no_events() -> Sequence[str]:
    raise UsageError("no events: name at least one ROOT file")


def compute_chunk(
    alphas: Sequence[engine.Hypothesis],
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


def by_status(numbers: np.ndarray) -> dict[str, int]:
    """How many events have which status, by its number and meaning."""
    return {f"{status.value} {status.meaning}": int(numbers[status]) for status in Status if numbers[status]}


class Parts:
    """The chunks that are done, in a folder beside the output, as long as they belong to the same call."""

    def __init__(self, output: Path, about: Mapping[str, Any]):
        self._folder = _parts_folder(output)
        mark = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        label = self._folder / "call"
        if not label.exists() or label.read_text() != mark:
            shutil.rmtree(self._folder, ignore_errors=True)
            make_folder(self._folder)
            with whole_file(label) as temporary:
                temporary.write_text(mark)

    def _path(self, begin: int) -> Path:
        return self._folder / f"{begin:012d}.npz"

    def has(self, begin: int) -> bool:
        return self._path(begin).exists()

    def save(self, begin: int, weights: Mapping[str, Weight], seconds: float = 0.0) -> None:
        """Keep the weights of a part, and what they took."""
        arrays = {
            f"{i}.{key}": getattr(weight, key)
            for i, weight in enumerate(weights.values())
            for key in ("value", "error", "status", "neutrinos")
            if getattr(weight, key) is not None
        }
        with whole_file(self._path(begin)) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, seconds=np.array(seconds), **arrays)

    def seconds(self, begin: int) -> float:
        with np.load(self._path(begin), allow_pickle=False) as arrays:
            return float(arrays["seconds"])

    def load(self, begin: int, names: Sequence[str]) -> dict[str, Weight]:
        with np.load(self._path(begin), allow_pickle=False) as arrays:
            return {
                name: Weight(
                    arrays[f"{i}.value"],
                    arrays[f"{i}.error"],
                    arrays[f"{i}.status"],
                    neutrinos=arrays.get(f"{i}.neutrinos"),
                )
                for i, name in enumerate(names)
            }

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def remove_parts(output: str | Path) -> None:
    """Remove what `Parts` kept for an output, whatever the call."""
    shutil.rmtree(_parts_folder(Path(output)), ignore_errors=True)


def _parts_folder(output: Path) -> Path:
    return output.with_name(f".{output.name}.parts")


def merge(parts: Sequence[str], output: str | Path) -> dict[str, Any]:
    """Put parts made with `--entries` on a farm together, in the order of their entries.

    **Raises** `UsageError` where a part is missing, comes twice, or belongs to another call.
    """
    found = []
    for path, _ in expand(parts):
        try:
            about = read_provenance(path)
            found.append((*about.pop("entries"), path, about))
        except (DeepMEMError, KeyError) as error:
            raise UsageError(f"{path} is not a part made by 'deepmem compute --entries': {error}") from None
    found.sort(key=lambda part: part[0])
    about = found[0][3]
    total = sum(file["entries"] for file in about["inputs"])
    expected = 0
    for start, stop, path, other in found:
        if other != about:
            differs = ", ".join(key for key in about if other.get(key) != about[key])
            raise UsageError(f"{path} and {found[0][2]} were computed differently ({differs})")
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
    with write_weights(output, names, about | {"entries": [0, total]}, kept=source.kept_types) as writer:
        for start, stop, path, _ in found:
            weights = {name: read_weights(path, name) for name in names}
            writer.append(weights, source.read_kept(start, stop))
    return {"events": total, "output": str(output), "parts": len(found)}
