"""Events given in Python whose objects are collections: NanoEvents, awkward records, dicts of jagged arrays.

The field `pt` of a record `Muon` is the branch `Muon_pt`, as in a file of NanoAOD; ROOT's vectors, as uproot
reads them, have `Muon.pt`. Only what is asked for is looked at, so that arrays which are read when they are
used stay so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np

from deepmem.columns import split_index
from deepmem.data.collections import Collections, evaluated
from deepmem.data.lazy import is_lazy
from deepmem.data.names import replacements
from deepmem.data.objects import Objects
from deepmem.data.table import as_table, names_of
from deepmem.data.vectors import computed, made_of, stored_in
from deepmem.errors import UsageError, nearest

# What records with a behaviour of `vector` say of themselves, whatever their fields are.
_OF_BEHAVIOUR = ("pt", "eta", "phi", "mass")


class InMemory:
    """Events, and the branches that they have.

    **Raises** `UsageError` where they have no fields.
    """

    def __init__(self, events: Any):
        self._events, self._names = events, names_of(events) or []
        if not self._names:
            raise UsageError(
                "'schema', 'objects' and 'variations' are for events with fields: NanoEvents, awkward "
                f"records or a dict of arrays; these ({type(events).__name__}) have none"
            )

    @cached_property
    def branches(self) -> dict[str, tuple[str, str | None]]:
        """Branch → field of the events, and field of that one."""
        found: dict[str, tuple[str, str | None]] = {}
        for name in self._names:
            values = self._events[name]
            if is_lazy(values):
                raise UsageError(
                    f"{name!r} is computed later: give one array of records, such as dask_awkward.zip makes"
                )
            fields = values.fields if isinstance(values, ak.Array) else []
            if not fields:
                found[name] = name, None
                continue
            further = [each for each in _OF_BEHAVIOUR if each not in fields and hasattr(type(values), each)]
            found |= {f"{name}_{each}": (name, each) for each in (*fields, *further)}
            if made := made_of(stored_in(values)):
                found |= {f"{name}.{each}": (name, each) for each in made}
        return found

    def __len__(self) -> int:
        return len(self._events[self._names[0]])

    def __getitem__(self, branch: str) -> ak.Array:
        name, field = self.branches[branch]
        values = self._events[name]
        if ak.backend(values) != "typetracer" and len(values) != len(self):
            raise UsageError(
                f"the events have {len(values)} entries of {name!r} and {len(self)} of {self._names[0]!r}: "
                "give the fields of the same events"
            )
        if field is None:
            if isinstance(values, ak.Array):
                return values
            return ak.Array(values.to_numpy() if hasattr(values, "to_numpy") else values)
        if branch == f"{name}.{field}" and (stored := stored_in(values)):
            return computed(field, stored, stored.__getitem__)
        return values[field] if field in values.fields else getattr(values, field)

    def has(self, column: str, objects: Objects | None) -> bool:
        """Whether there is a default column, or what it is made from."""
        try:
            self.needed([column], objects, {})
        except UsageError:
            return False
        return True

    def needed(
        self, columns: Sequence[str], objects: Objects | None, variation: Mapping[str, str]
    ) -> tuple[str, ...]:
        """The branches that `table` looks at. **Raises** `UsageError` where a field is not there."""
        instead = replacements("the events", variation, self.branches)
        branches = self._read_from(columns, objects)
        for name in branches:
            if name not in self.branches:
                raise UsageError(f"the events have no column {name!r}{nearest(name, self.branches)}")
        named = [path for branch in branches if branch in instead for path in instead[branch][1].values()]
        return tuple(dict.fromkeys([*branches, *named]))

    def _read_from(self, columns: Sequence[str], objects: Objects | None) -> Sequence[str]:
        if objects is not None:
            return objects.resolve("the events", self.branches, columns).branches
        return [name if name in self.branches else split_index(name)[0] for name in columns]

    def varies(self, columns: Sequence[str], objects: Objects | None, variation: Mapping[str, str]) -> bool:
        """Whether a variation replaces what some column is read from."""
        instead = replacements("the events", variation, self.branches)
        return not instead.keys().isdisjoint(self._read_from(columns, objects))

    def touch(
        self, columns: Sequence[str], objects: Objects | None, variation: Mapping[str, str] | None = None
    ) -> None:
        """Look at what is needed of events that have a type and no numbers. **Raises** as `needed` does."""
        for branch in self.needed(columns, objects, variation or {}):
            ak.typetracer.touch_data(self[branch])

    def table(
        self, columns: Sequence[str], objects: Objects | None, variation: Mapping[str, str]
    ) -> np.ndarray:
        """The default columns `[events, columns]`, in GeV where they are made from objects.

        **Arguments:** `objects`, where the objects are; None: the columns are fields; `variation`, what is
        taken in place of fields.

        **Raises** `UsageError` where a field is not there.
        """
        instead = replacements("the events", variation, self.branches)

        def one(branch: str) -> ak.Array:
            if branch not in instead:
                return self[branch]
            text, named = instead[branch]
            arrays = {name: self[path] for name, path in named.items()}
            return arrays[""] if "" in arrays else evaluated("the events", text, arrays)

        if objects is None:
            varied = {branch: one(branch) for branch in instead}
            vectors = {branch: self[branch] for branch in self.branches if branch in columns}
            whole = {name: self._events[name] for name in self._names} | vectors | varied
            return as_table(whole, tuple(columns))
        reading = objects.resolve("the events", self.branches, columns)
        arrays = {branch: one(branch) for branch in reading.branches}
        replaced = [branch for branch in reading.branches if branch in instead]
        nominal = {branch: self[branch] for branch in reading.of_kept_masses("the events", replaced)}
        return Collections("the events", reading, arrays, len(self), nominal).table()


def touching(columns: Sequence[str], objects: Objects | None) -> Callable[[Any], None]:
    """What looks at all that columns need, of events that have a type and no numbers."""
    return lambda part: InMemory(part).touch(columns, objects)
