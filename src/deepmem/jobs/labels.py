"""Events and the weights to be learned from them, as a configuration names them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from deepmem.config import Config
from deepmem.data.identity import other_order, refuse_other_labels
from deepmem.data.loaders import Paired
from deepmem.data.provenance import described, differences
from deepmem.data.root import Source
from deepmem.data.weights import refuse_other_than_weight
from deepmem.errors import UsageError
from deepmem.jobs.provenance import provenance
from deepmem.reporter import Reporter
from deepmem.surrogate.preparation import unusable_weights


def paired(config: Config, force: bool = False, reporter: Reporter | None = None) -> Paired:
    """The events and weights that a configuration names, entry by entry.

    **Raises** `UsageError` where weights say that they are of other events than those they are paired with,
    or are of several hypotheses under one name, but for `force`.
    """
    reporter = reporter or Reporter()
    if not config.output_paths:
        raise UsageError("'output_paths' is missing: the files with the weights of the events")
    there = _weight_branches(config)
    refuse_other_than_weight(config.weights, there)
    wrong = [name for name in config.weight_errors or () if name.endswith(("_status", "_source"))]
    if wrong or set(config.weight_errors or ()) & set(config.weights):
        raise UsageError(f"'weight_errors' must name errors, got {', '.join(config.weight_errors or ())}")
    status = tuple(f"{name}_status" for name in config.weights)
    status = status if there.issuperset(status) else ()
    errors = config.weight_errors or ()
    own = tuple(f"{name}_error" for name in config.weights)
    if config.weight_errors is None and status and there.issuperset(own):
        errors = own
    data = Paired(
        Source(config.input_paths, config.input_tree, config.columns, (), config.located),
        Source(config.output_paths, config.output_tree, config.weights + errors + status),
        len(config.weights),
        bool(errors),
        bool(status),
    )
    for text in _contradictions(data, config, force):
        if not force:
            raise UsageError(f"{text} (--force learns all the same)")
        reporter.warning(text)
    return data


def label_hypotheses(data: Paired) -> list[dict[str, Any]]:
    """What the labels are the weights of, where the first of their files that says anything says it."""
    return next(filter(None, (provenance(file.path).get("hypotheses") for file in data.weights.files)), [])


def label_column_names(data: Paired) -> dict[str, str] | None:
    """The `column_names` that the labels were computed with, where their first file says it."""
    return provenance(data.weights.files[0].path).get("column_names")


def describe_unusable(data: Paired, config: Config) -> str:
    """How many weights of the files, all parts of them, cannot be learned from, and why."""
    reasons: Counter[str] = Counter()
    for start, stop in data.weights.boundaries(0, data.num_entries, config.chunk_entries):
        reasons.update(unusable_weights(data.labels(start, stop), config.weights)[1])
    left = ", ".join(f"{number:,} {reason}" for reason, number in sorted(reasons.items()) if number)
    return f"left out by their weights: {left}" if left else "none is left out by its weight"


def _contradictions(data: Paired, config: Config, force: bool) -> Iterator[str]:
    """What files of weights say that does not fit their events, one another, or the configuration."""
    first: dict[str, tuple[str, dict[str, Any]]] = {}
    for events, file in zip(data.inputs.files, data.weights.files, strict=True):
        yield from refuse_other_labels(events, file.path, force)
        about = provenance(file.path)
        if not about.get("events"):
            yield from other_order(events, file)
        for name, entry in described({"hypotheses": about.get("hypotheses", [])}).items():
            path, other = first.setdefault(name, (file.path, entry))
            if name not in config.weights:
                continue
            if differ := differences(other, entry):
                yield (
                    f"{name} is not the weight of one hypothesis: {path} and {file.path} differ in "
                    f"{'; '.join(differ)}"
                )
            if config.process not in (None, entry["process"]):
                yield f"'process' is {config.process!r}, and {file.path} has weights of {entry['process']!r}"
        names = about.get("column_names")
        if names is not None and config.column_names and dict(config.column_names) != names:
            yield f"{file.path} was computed with other 'column_names' than the configuration has: {names}"


def _weight_branches(config: Config) -> frozenset[str]:
    """The branches that every file of weights has."""
    files = Source(config.output_paths, config.output_tree, config.weights).files
    return frozenset.intersection(*(file.branches for file in files))
