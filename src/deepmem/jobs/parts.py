"""Finished work of a job that may be interrupted, in a folder beside its output.

Each part is a file, under a name made from all that its weights depend on, so that no other call takes it
for its own. The output itself appears whole, at the end, and the parts go then."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.data.files import make_folder, whole_file, write_text
from deepmem.event import Couplings, Monomials, Weight


class Parts:
    """The finished parts of one call.

    **Arguments:** `output`, the file that the call writes; `about`, what its weights depend on; `size`, how
    many events a part has: parts of another size are another call's.
    """

    def __init__(self, output: Path, about: Mapping[str, Any], size: int):
        text = json.dumps({**about, "events_of_a_part": size}, sort_keys=True)
        self.folder = output.with_name(f".{output.name}.parts")
        self.size = size
        self._mark = hashlib.sha256(text.encode()).hexdigest()[:32]
        make_folder(self.folder)
        write_text(self.folder / f"{self._mark}.json", text)

    def _path(self, number: int) -> Path:
        return self.folder / f"{self._mark}.{number:012d}.npz"

    def has(self, number: int) -> bool:
        """Whether a part is finished; `number`, of its first entry, or whatever else the call counts."""
        return self._path(number).exists()

    def save(self, number: int, weights: Mapping[str, Weight], seconds: float = 0.0) -> None:
        """Keep the weights of a part, and what they took."""
        arrays = {
            f"{i}.{field.name}": getattr(weight, field.name)
            for i, weight in enumerate(weights.values())
            for field in fields(Weight)
            if field.name != "couplings" and getattr(weight, field.name) is not None
        }
        for i, weight in enumerate(weights.values()):
            if (found := weight.couplings) is not None:
                arrays |= {
                    f"{i}.monomials": np.array(json.dumps(found.monomials.to_dict())),
                    f"{i}.coefficients": found.coefficients,
                    f"{i}.covariance": found.covariance,
                }
        with whole_file(self._path(number)) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, seconds=np.array(seconds), **arrays)

    def seconds(self, number: int) -> float:
        """How long a part has taken to compute."""
        with np.load(self._path(number), allow_pickle=False) as arrays:
            return float(arrays["seconds"])

    def load(self, number: int, names: Sequence[str]) -> dict[str, Weight]:
        """The weights of a part, under the names that they were saved with."""
        with np.load(self._path(number), allow_pickle=False) as arrays:
            return {
                name: Weight(
                    **{
                        field.name: arrays.get(f"{i}.{field.name}")
                        for field in fields(Weight)
                        if field.name != "couplings"
                    },
                    couplings=_couplings(arrays, i),
                )
                for i, name in enumerate(names)
            }

    def events(self) -> int:
        """How many events all finished parts of the call have."""
        total = 0
        for path in self.folder.glob(f"{self._mark}.*.npz"):
            with np.load(path, allow_pickle=False) as arrays:
                total += len(arrays["0.value"])
        return total

    def others(self) -> int:
        """How many other calls with the same output have left parts."""
        return sum(path.stem != self._mark for path in self.folder.glob("*.json"))

    def remove(self) -> None:
        """Remove these parts; those of other calls stay."""
        for path in self.folder.glob(f"{self._mark}.*"):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()


def _couplings(arrays: Mapping[str, np.ndarray], i: int) -> Couplings | None:
    if f"{i}.monomials" not in arrays:
        return None
    monomials = Monomials.from_dict(json.loads(str(arrays[f"{i}.monomials"])))
    return Couplings(monomials, arrays[f"{i}.coefficients"], arrays[f"{i}.covariance"])
