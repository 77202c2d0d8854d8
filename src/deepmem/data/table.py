"""Events given in Python, as one table of columns."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import numpy as np

from deepmem.columns import split_index
from deepmem.errors import UsageError, nearest


def as_table(events: Any, columns: tuple[str, ...]) -> np.ndarray:
    """Columns of events as float64 `[events, columns]`.

    **Arguments:** `events`, a dict of arrays, a structured array, an awkward record array, or a plain array
    `[events, columns]` with the columns in order. What is masked, None or null is missing: NaN.

    **Raises** `UsageError` where a column is missing, is not one number per event, or lengths differ.
    """
    names = names_of(events)
    if names is None:
        try:
            table = _numbers(events)
        except (ValueError, TypeError) as error:
            raise UsageError(f"events must be numbers [events, {len(columns)}]: {error}") from None
        if table.ndim != 2 or table.shape[1] != len(columns):
            raise UsageError(
                f"expected events as a dict, a structured array, awkward records or an array of shape "
                f"[events, {len(columns)}], got shape {table.shape}"
            )
        return table
    return np.stack(_equal_lengths({name: _one(events, name, names) for name in columns}), axis=1)


def has_column(events: Any, name: str) -> bool:
    """Whether events given in Python have a column of that name; none has one in a plain array."""
    names = names_of(events)
    return names is not None and name in names


def names_of(events: Any) -> list[str] | None:
    """The fields of events; None of a plain array."""
    if _is_awkward(events):
        return list(events.fields)
    if isinstance(events, np.ndarray):
        return list(events.dtype.names) if events.dtype.names else None
    if not hasattr(events, "keys"):
        return None
    names = list(events.keys())
    if strange := [name for name in names if not isinstance(name, str)]:
        raise UsageError(
            f"columns of events need one text each as their name, got {strange[0]!r}: rename them, or "
            "turn the table over"
        )
    _refuse_other_rows({name: getattr(events[name], "index", None) for name in names})
    return names


def _refuse_other_rows(indices: dict[str, Any]) -> None:
    """**Raises** `UsageError` where columns from pandas have other rows, or the same in another order."""
    labelled = {name: index for name, index in indices.items() if hasattr(index, "equals")}
    for (first, index), (name, other) in pairwise(labelled.items()):
        if not index.equals(other):
            raise UsageError(
                f"the columns {first!r} and {name!r} have different indices, so their rows are of "
                "different events: give one DataFrame, or columns of one index"
            )


def _one(events: Any, name: str, names: list[str]) -> np.ndarray:
    branch, index = split_index(name)
    if name in names:
        values = events[name]
    elif branch in names and index is not None:
        import awkward as ak

        values = ak.pad_none(ak.Array(events[branch]), index + 1, clip=False)[:, index]
    else:
        raise UsageError(
            f"the events have no column {name!r}{nearest(name, names)}; they have {', '.join(names)}"
        )
    try:
        values = np.atleast_1d(_numbers(values))
    except (ValueError, TypeError) as error:
        raise UsageError(f"column {name!r} must hold one number per event: {error}") from None
    if values.ndim != 1:
        raise UsageError(f"column {name!r} must hold one number per event, got shape {values.shape}")
    return values


def _is_awkward(values: Any) -> bool:
    """Whether it is an array of awkward, which takes 0.4 s to import and is not needed for others."""
    awkward = sys.modules.get("awkward")
    return awkward is not None and isinstance(values, awkward.Array)


def _numbers(values: Any) -> np.ndarray:
    """Values as float64; those that are missing, in whatever way their container says it, as NaN."""
    if _is_awkward(values):
        values = sys.modules["awkward"].to_numpy(values)
    elif hasattr(values, "isna") and hasattr(values, "to_numpy"):
        if values.dtype.kind not in "cmM":
            values = values.to_numpy(dtype=np.float64, na_value=np.nan)  # pandas, whose NA is no number
    elif isinstance(values, list | tuple) and any(isinstance(v, np.ma.MaskedArray) for v in values):
        values = np.ma.array(values)
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.filled(values.astype(np.float64), np.nan)
    if (kind := np.asarray(values).dtype.kind) in "cmM":
        raise TypeError("its numbers are complex" if kind == "c" else "its values are times")
    return np.asarray(values, dtype=np.float64)


def _equal_lengths(columns: dict[str, np.ndarray]) -> list[np.ndarray]:
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        listed = ", ".join(f"{name} {len(values)}" for name, values in columns.items())
        raise UsageError(f"the columns differ in length: {listed}")
    return list(columns.values())
