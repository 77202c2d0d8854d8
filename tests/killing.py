"""A work for workers that ends the process that does it at chosen events: what a fault in compiled code does."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepmem.errors import UsageError
from deepmem.event import Weight


@dataclass(frozen=True)
class Killing:
    """Weights that are the squares of what a column holds; `at`, entries that no process but the driver
    survives."""

    driver: int
    at: tuple[int, ...] = ()

    def __call__(self, table: np.ndarray, entries: np.ndarray) -> dict[str, Weight]:
        if os.getpid() != self.driver and np.isin(self.at, entries).any():
            os.kill(os.getpid(), signal.SIGKILL)
        value = table[:, 0] ** 2
        status = np.where(np.isnan(value), 3, 0).astype(np.int32)
        none = np.zeros(len(value), dtype=np.int32)
        return {"square": Weight(value, 0 * value, status, reason=none)}


@dataclass(frozen=True)
class KillingPiece:
    """The same of one argument, a table with its entries; a worker imports nothing but this module for it."""

    work: Killing

    def __call__(self, piece: tuple[np.ndarray, np.ndarray]) -> dict[str, Weight]:
        return self.work(*piece)


@dataclass(frozen=True)
class KillingOnce:
    """Arrays that are squares; the process that computes `at` for the first time does not survive it.

    **Arguments:** `folder`, where it is noted that it has happened; `raises`, an argument that is refused.
    """

    driver: int
    folder: str
    at: int | None = None
    raises: int | None = None

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        if number == self.raises:
            raise UsageError(f"{number} is refused")
        if number == self.at and os.getpid() != self.driver:
            note = Path(self.folder) / "killed"
            if not note.exists():
                note.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return {"square": np.array(number**2)}
