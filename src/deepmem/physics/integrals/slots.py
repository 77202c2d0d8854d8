"""How the work is cut: a *slot* is 256 evaluations for one event, a block of a rule.

All compiled code works on a fixed number of slots, filled with whatever is due: many easy events, or one hard
event. So there is one compilation per integrand, hard events don't make easy ones wait, and the result for an
event doesn't depend on the others: not on their number, their order or their failures.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np

SLOT = 256
"""Evaluations per slot."""

# Evaluations per compiled call: what fits a CPU's cache, and what fills a GPU.
_ON_CPU, _ON_GPU = 1 << 14, 1 << 20


def evaluations_per_call() -> int:
    """How many evaluations a compiled call makes."""
    return _ON_CPU if jax.default_backend() == "cpu" else _ON_GPU


def slots_per_call() -> int:
    """How many slots a compiled call works on."""
    return evaluations_per_call() // SLOT


def batches(rows: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Cut into pieces of exactly `size`, the last one filled up with its first entry; how many are real."""
    for first in range(0, len(rows), size):
        piece = rows[first : first + size]
        yield np.r_[piece, np.full(size - len(piece), piece[0])], len(piece)
