"""Predict: learned weights of any number of events, streamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from deepmem.event import variation_name
from deepmem.jobs.events import objects_for, refuse_other_unit, tell_objects
from deepmem.jobs.models import model_of
from deepmem.jobs.tallies import Tally, Written
from deepmem.jobs.tasks import gev_factors
from deepmem.ranges import Ranges
from deepmem.reporter import Reporter
from deepmem.surrogate.model import Surrogate
from deepmem.surrogate.sample_test import Comparison


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
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Write a weight file for any number of events, streamed, entry by entry in their order.

    **Arguments:** `events`, files, globs, `path:tree` or addresses (none: the configuration's
    `input_paths`); `model` or `config`; `keep`, branches to copy along; `at`, a value of the parameter in
    which the model's weights are a scan: the weight there is written instead; `schema`, of the events.

    **Returns** counts by status and the path.

    **Raises** `UsageError` where a file, the model or a column is wrong, or the output cannot be written.
    """
    reporter = reporter or Reporter()
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
    with on_device(device):
        surrogate = model_of(config) if isinstance(config, Config) else Surrogate.load(str(model))
        objects = objects_for(located, surrogate.about)
        refuse_other_unit(objects, surrogate.unit)
        source = Source(events, tree, surrogate.columns, keep, objects, may_be_empty=True)
        varied = {
            name: Source(events, tree, surrogate.columns, (), objects, fields, may_be_empty=True)
            for name, fields in located.variations.items()
        }
        tell_objects(source, reporter)
        source.refuse_as_output(output, model, original)
        all_branches(surrogate.weights, source.kept_types, Further())
        check_writable(output)
        reader = _Reader(source, varied, chunk_entries)
        prediction = _write(surrogate, reader, output, at, reporter)
    if (sample := prediction.sample) is not None:
        _tell(sample, reporter)
    return prediction.written.to_dict() | {"sample": None if sample is None else sample.to_dict()}


@dataclass(frozen=True)
class _Prediction:
    """A file of learned weights; `sample`, how its events compare with those learned from, where known."""

    written: Written
    sample: Comparison | None


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
    surrogate: Surrogate,
    reader: _Reader,
    output: str | Path,
    at: Mapping[str, float] | None,
    reporter: Reporter,
) -> _Prediction:
    """Read, predict and write chunk by chunk."""
    source, provenance = reader.source, surrogate.provenance("predict")
    provenance |= {"inputs": source.provenance(), **source.about_objects}
    if reader.varied:
        provenance["variations"] = {
            name: {branch: text for branch, (text, _) in each.files[0].instead.items()}
            for name, each in reader.varied.items()
        }
    hashes, ranges = EventHashes(surrogate.columns), Ranges(surrogate.described)
    factors = gev_factors(surrogate.described, surrogate.unit)
    names = surrogate.weights if at is None else tuple(surrogate.at({}, at))
    names += tuple(variation_name(name, variation) for variation in reader.varied for name in names)
    tally, test = Tally(names), surrogate.sample_test()
    with (
        write_weights(output, names, provenance, kept=source.kept_types) as writer,
        reporter.progress("predicting", source.num_entries) as step,
    ):
        for table, varied, kept in ahead(iter(reader)):
            ranges.add(table * factors)
            hashes.add(table)
            weights = surrogate.predict_and_test(table, test)
            weights = weights if at is None else surrogate.at(weights, at)
            for variation, other in varied.items():
                found = surrogate.predict(other)
                found = found if at is None else surrogate.at(found, at)
                weights |= {variation_name(name, variation): weight for name, weight in found.items()}
            writer.append(weights, kept)
            tally.add(weights)
            step(len(table))
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
