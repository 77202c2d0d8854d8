"""Predict: learned weights of any number of events, streamed, by this process or by workers.

This process reads and writes. A chunk of events is one piece of work, and a function of its columns alone, so
that weights have the same bits whoever computes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.config import Config
from deepmem.data.files import check_writable
from deepmem.data.identity import EventHashes
from deepmem.data.loaders import ahead
from deepmem.data.root import Source
from deepmem.data.weights import Further, all_branches, write_weights
from deepmem.devices import DeviceNumber, on_device
from deepmem.errors import UsageError
from deepmem.event import Weight, variation_name
from deepmem.jobs.events import (
    names_for,
    objects_for,
    refuse_halves,
    refuse_other_unit,
    tell_idle,
    tell_names,
    tell_objects,
    tell_other_objects,
)
from deepmem.jobs.in_order import InOrder
from deepmem.jobs.models import model_of
from deepmem.jobs.staff import PREDICTIONS, Staff
from deepmem.jobs.tallies import Tally, Written
from deepmem.jobs.tasks import gev_factors
from deepmem.ordered import Mapper
from deepmem.ranges import Ranges
from deepmem.reporter import Reporter
from deepmem.surrogate.model import Surrogate
from deepmem.surrogate.sample_test import Comparison, SampleTest

_GUIDED = 2_048
"""Entries of a chunk at most where a guide takes milliseconds for each."""
_AHEAD = 2
"""Chunks in memory for each worker: none takes much longer than another."""


def predict(
    events: Sequence[str],
    output: str | Path,
    *,
    model: str | Path | None = None,
    config: str | Path | Mapping[str, Any] | Config | None = None,
    tree: str | None = None,
    keep: Sequence[str] = (),
    chunk_entries: int = 100_000,
    device: DeviceNumber = None,
    at: Mapping[str, float] | None = None,
    schema: str | None = None,
    staff: Staff = Staff(),  # noqa: B008  (it is a value)
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Write a weight file for any number of events, streamed, entry by entry in their order.

    **Arguments:** `events`, files, globs, `path:tree` or addresses (none: the configuration's
    `input_paths`); `model` or `config`; `keep`, branches to copy along; `at`, a value of the parameter in
    which the model's weights are a scan: the weight there is written instead; `schema`, of the events;
    `staff`, who computes: by default this process, on all cores that it may use.

    **Returns** counts by status and the path.

    **Raises** `UsageError` where a file, the model, a column or a number of workers is wrong, or the output
    cannot be written.
    """
    reporter = reporter or Reporter()
    staff.check()
    if (model is None) == (config is None):
        raise UsageError(
            "predict needs either a model (--model) or a configuration (--inputfile), and not both"
        )
    original = config
    located = Config.load(config or {}, need=(), schema=schema)
    if config is not None:
        config = Config.load(config, device=device, schema=schema)
        model = config.model_to_load
        device = config.device
        tree = tree or config.input_tree
        chunk_entries = config.chunk_entries
        events = events or config.input_paths
    if not events:
        raise UsageError("no events: name at least one ROOT file")
    if device is not None and staff != Staff():
        raise UsageError(
            f"--device {device} with --workers or --scheduler: workers compute on the CPU, so leave one out"
        )
    with on_device(device), InOrder.of(staff, PREDICTIONS, reporter=reporter, ahead=_AHEAD) as mapper:
        surrogate = model_of(config) if isinstance(config, Config) else Surrogate.load(str(model))
        objects = objects_for(located, surrogate.about)
        refuse_other_unit(objects, surrogate.unit)
        names = names_for(located, surrogate.columns, surrogate.about)
        tell_names(names, reporter)
        columns = [names.get(column, column) for column in surrogate.columns]
        source = Source(events, tree, columns, keep, objects, may_be_empty=True)
        varied = {
            name: Source(events, tree, columns, (), objects, fields, may_be_empty=True)
            for name, fields in located.variations.items()
        }
        tell_objects(source, reporter)
        tell_other_objects(source, surrogate.about, reporter)
        tell_idle(varied, located.variations, reporter)
        refuse_halves(
            varied, [replace(each, name=names.get(each.name, each.name)) for each in surrogate.described]
        )
        source.refuse_as_output(output, model, original)
        all_branches(surrogate.weights, source.kept_types, Further())
        check_writable(output)
        if surrogate.guide is not None:
            chunk_entries = min(chunk_entries, _GUIDED)
        reader = _Reader(source, varied, chunk_entries)
        prediction = _write(_Learned(surrogate, at), reader, output, mapper, reporter)
    if (sample := prediction.sample) is not None:
        _tell(sample, reporter)
    return prediction.written.to_dict() | {"sample": None if sample is None else sample.to_dict()}


@dataclass(frozen=True)
class _Prediction:
    """A file of learned weights; `sample`, how its events compare with those learned from, where known."""

    written: Written
    sample: Comparison | None


@dataclass(frozen=True)
class _Chunk:
    """Learned weights of some events by name; `test`, what they say of the sample, where models ask."""

    weights: dict[str, Weight]
    test: SampleTest | None


@dataclass(frozen=True)
class _Learned:
    """The learned weights of a chunk, as a work for any process; `at` as for `predict`."""

    surrogate: Surrogate
    at: Mapping[str, float] | None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the weights of events as they are."""
        return self.surrogate.weights if self.at is None else tuple(self.surrogate.at({}, self.at))

    def __call__(self, tables: tuple[np.ndarray, Mapping[str, np.ndarray]]) -> _Chunk:
        """Of a table `[events, columns]`, and tables of the same events as variations have them."""
        table, varied = tables
        test = self.surrogate.sample_test()
        weights = self._at(self.surrogate.predict_and_test(table, test))
        for variation, other in varied.items():
            found = self._at(self.surrogate.predict(other))
            weights |= {variation_name(name, variation): weight for name, weight in found.items()}
        return _Chunk(weights, test)

    def _at(self, weights: dict[str, Weight]) -> dict[str, Weight]:
        return weights if self.at is None else self.surrogate.at(weights, self.at)


@dataclass(frozen=True)
class _Reader:
    """Events chunk by chunk: the model's columns, those as variations have them, and the branches to keep."""

    source: Source
    varied: Mapping[str, Source]
    chunk_entries: int

    def __iter__(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]]:
        bounds = self.source.boundaries(0, self.source.num_entries, self.chunk_entries)
        others = [source.tables(bounds) for source in self.varied.values()]
        for each, table, *varied in zip(bounds, self.source.tables(bounds), *others, strict=True):
            yield table, dict(zip(self.varied, varied, strict=True)), self.source.read_kept(*each)


def _write(
    learned: _Learned, reader: _Reader, output: str | Path, mapper: Mapper, reporter: Reporter
) -> _Prediction:
    """Read, predict and write chunk by chunk."""
    source, surrogate = reader.source, learned.surrogate
    provenance = surrogate.provenance("predict")
    provenance |= {"inputs": source.provenance(), **source.about_objects}
    if source.columns != surrogate.columns:
        renamed = zip(surrogate.columns, source.columns, strict=True)
        provenance["column_names"] = {column: branch for column, branch in renamed if column != branch}
    if reader.varied:
        provenance["variations"] = {
            name: {branch: text for branch, (text, _) in each.files[0].instead.items()}
            for name, each in reader.varied.items()
        }
    hashes, ranges = EventHashes(source.columns), Ranges(surrogate.described)
    factors = gev_factors(surrogate.described, surrogate.unit)
    names = learned.names
    names += tuple(variation_name(name, variation) for variation in reader.varied for name in names)
    tally, test = Tally(names), surrogate.sample_test()
    copied: deque[dict[str, np.ndarray]] = deque()

    def tables() -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """What is computed of, looked at as it passes."""
        for table, varied, kept in ahead(iter(reader)):
            ranges.add(table * factors)
            hashes.add(table)
            copied.append(kept)
            yield table, varied

    with (
        write_weights(output, names, provenance, kept=source.kept_types) as writer,
        reporter.progress("predicting", source.num_entries) as step,
    ):
        for chunk in mapper(learned, tables()):
            writer.append(chunk.weights, copied.popleft())
            tally.add(chunk.weights)
            if test is not None and chunk.test is not None:
                test.join(chunk.test)
            step(len(chunk.weights[names[0]].value))
        for text in ranges.problems():
            reporter.warning(text)
        source.refuse_changes()
        provenance["events"] = hashes.to_dict()
    written = Written(source.num_entries, str(output), tally)
    return _Prediction(written, None if test is None else test.result())


def _tell(sample: Comparison, reporter: Reporter) -> None:
    """One line on whether these events are like those learned from."""
    what = f"{sample.events:,} of these events against the training part: "
    if sample.differs:
        reporter.warning(
            f"{what}they differ, most in {sample.where!r} (probability {sample.probability:.1g}). Errors "
            "were calibrated for events like the training part's: check some with 'deepmem refine'"
        )
    elif sample.events:
        reporter.message(f"{what}no difference seen (probability {sample.probability:.2g})")
