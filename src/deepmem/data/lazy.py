"""Weights of dask-awkward's arrays: worked out partition by partition, when they are asked for.

dask-awkward asks with arrays that have a type and no numbers which fields are needed, so that no others are
read. It is an optional extra, and nothing of it is loaded before it was by whoever made the events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np

from deepmem.event import Weight

_SHOWN = ("value", "error", "status")


def is_lazy(events: Any) -> bool:
    """Whether events are computed later."""
    return type(events).__module__.startswith("dask_awkward")


def as_records(weights: Mapping[str, Weight]) -> ak.Array:
    """Records of events: by the weight's name its `value`, `error` and `status`."""
    named = {
        name: ak.zip({part: getattr(weight, part) for part in _SHOWN}) for name, weight in weights.items()
    }
    return ak.zip(named, depth_limit=1)


def later(
    events: Any,
    weigh: Callable[[ak.Array], Mapping[str, Weight]],
    touch: Callable[[ak.Array], None],
    names: Sequence[str],
) -> Any:
    """The weights of events that are computed later, a dask-awkward array of `as_records`.

    **Arguments:** `weigh`, the weights of a partition; `touch`, which looks at each field of one that it
    needs; `names`, of the weights.

    **Raises** what `touch` does where a field is not there.
    """
    from dask_awkward import map_partitions

    none = Weight(np.empty(0), np.empty(0), np.empty(0, dtype=np.int32))
    layout = ak.to_layout(as_records(dict.fromkeys(names, none)))
    meta = ak.Array(layout.to_typetracer(forget_length=True))
    touch(ak.typetracer.typetracer_from_form(events.form))

    def of_partition(part: ak.Array) -> ak.Array:
        if ak.backend(part) != "typetracer":
            return as_records(weigh(part))
        touch(part)
        return meta

    return map_partitions(of_partition, events, label="deepmem", meta=meta)
