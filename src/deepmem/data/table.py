"""Events given in Python, as one table of columns."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np

from deepmem.columns import split_index
from deepmem.errors import UsageError, nearest


def as_table(events: Any, columns: tuple[str, ...]) -> np.ndarray:
    """Columns of events as float64 `[events, columns]`.

    **Arguments:** `events`, a dict of arrays, a structured array, an awkward record array, or a plain array
    `[events, columns]` with the columns in order.

    **Raises** `UsageError` where a column is missing, is not one number per event, or lengths differ.
    """
    names = _names(events)
    if names is None:
        table = np.asarray(events, dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != len(columns):
            raise UsageError(
                f"expected events as a dict, a structured array, awkward records or an array of shape "
                f"[events, {len(columns)}], got shape {table.shape}"
            )
        return table
    return np.stack(_equal_lengths({name: _one(events, name, names) for name in columns}), axis=1)


def _names(events: Any) -> list[str] | None:
    if isinstance(events, ak.Array):
        return list(events.fields)
    if isinstance(events, np.ndarray):
        return list(events.dtype.names) if events.dtype.names else None
    return list(events.keys()) if hasattr(events, "keys") else None


def _one(events: Any, name: str, names: list[str]) -> np.ndarray:
    branch, index = split_index(name)
    if name in names:
        values = events[name]
    elif branch in names and index is not None:
        values = ak.pad_none(ak.Array(events[branch]), index + 1, clip=False)[:, index]
    else:
        raise UsageError(
            f"the events have no column {name!r}{nearest(name, names)}; they have {', '.join(names)}"
        )
    try:
        if isinstance(values, ak.Array):
            values = np.ma.filled(ak.to_numpy(values).astype(np.float64), np.nan)
        values = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (ValueError, TypeError) as error:
        raise UsageError(f"column {name!r} must hold one number per event: {error}") from None
    if values.ndim != 1:
        raise UsageError(f"column {name!r} must hold one number per event, got shape {values.shape}")
    return values


def _equal_lengths(columns: dict[str, np.ndarray]) -> list[np.ndarray]:
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        listed = ", ".join(f"{name} {len(values)}" for name, values in columns.items())
        raise UsageError(f"the columns differ in length: {listed}")
    return list(columns.values())
