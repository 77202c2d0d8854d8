"""Random numbers of the k-th piece of a work, whoever computes it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np

from deepmem.errors import UsageError


def generator(seed: int) -> np.random.Generator:
    """The stream of a seed. **Raises** `UsageError` for a negative one."""
    if seed < 0:
        raise UsageError(f"the seed must be 0 or more, got {seed}")
    return np.random.default_rng(seed)


def piece(seed: int, number: int) -> np.random.Generator:
    """A stream of its own for a piece of whatever length."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))


def positions(rng: np.random.Generator, numbers: int) -> Iterator[np.random.Generator]:
    """The stream of `rng` from where it is on, and 1, 2, … pieces of so many uniform numbers later."""
    state: Any = rng.bit_generator.state
    for k in count():
        bits = np.random.PCG64()
        bits.state = state
        yield np.random.Generator(bits.advance(k * numbers))
