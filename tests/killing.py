"""A work for workers that ends the process that does it at chosen events: what a fault in compiled code does."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import numpy as np

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
