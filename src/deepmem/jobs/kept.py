"""Files of a call that may be interrupted, in a folder beside its output, `.NAME.parts`.

They have a mark, made from all that their content depends on, so that no other call takes them for its own.
The output itself appears whole, at the end, and they go then."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np

from deepmem.data.files import make_folder, write_arrays, write_text


class Kept:
    """What is kept of one call.

    **Arguments:** `output`, the file that the call writes; `about`, what the content depends on, as JSON.
    """

    def __init__(self, output: Path, about: Mapping[str, Any]) -> None:
        self._text = json.dumps(about, sort_keys=True)
        self.folder = output.with_name(f".{output.name}.parts")
        self._mark = hashlib.sha256(self._text.encode()).hexdigest()[:32]
        self._begun = False

    def begin(self) -> None:
        """Make the folder, and say in it what the mark means."""
        if not self._begun:
            make_folder(self.folder)
            write_text(self.folder / f"{self._mark}.json", self._text)
            self._begun = True

    def _path(self, name: str) -> Path:
        return self.folder / f"{self._mark}.{name}.npz"

    def names(self) -> Iterator[str]:
        """Those of whole files, without order."""
        for path in self.folder.glob(f"{self._mark}.*.npz"):
            if is_zipfile(path):  # not where the machine lost its power
                yield path.name.split(".")[1]

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep arrays under a name without dots."""
        self.begin()
        # not synced: to wait for the disk takes longest, and what is lost is computed again
        write_arrays(self._path(name), arrays, synced=False)

    def load(self, name: str) -> dict[str, np.ndarray]:
        """The arrays that were saved so."""
        with np.load(self._path(name), allow_pickle=False) as arrays:
            return dict(arrays)

    def others(self) -> int:
        """How many other calls with the same output have left something."""
        return sum(path.stem != self._mark for path in self.folder.glob("*.json"))

    def remove(self) -> None:
        """Remove all of this; what other calls have left stays."""
        for path in self.folder.glob(f"{self._mark}.*"):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()
