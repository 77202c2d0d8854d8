"""Contributions to one number: consecutive rows of an integral, any number of them for each event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Groups:
    """Which event each row contributes to: int `[rows]`, from 0, not decreasing, none left out."""

    event: np.ndarray

    @staticmethod
    def alone(count: int) -> Groups:
        """Every row an event of its own."""
        return Groups(np.arange(count))

    @staticmethod
    def of_size(size: int, events: int) -> Groups:
        """As many rows for each of the events."""
        return Groups(np.repeat(np.arange(events), size))

    @cached_property
    def first(self) -> np.ndarray:
        """The first row of each event."""
        return np.flatnonzero(np.diff(self.event, prepend=-1))

    @cached_property
    def size(self) -> np.ndarray:
        """The number of rows of each event."""
        return np.diff(self.first, append=len(self.event))

    @property
    def single(self) -> bool:
        """Whether every row is an event of its own."""
        return len(self.first) == len(self.event)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Of the rows `[rows, ...]` of each event `[events, ...]`."""
        return values if self.single else np.add.reduceat(values, self.first)

    def max(self, values: np.ndarray) -> np.ndarray:
        """The largest of each event's rows."""
        return values if self.single else np.maximum.reduceat(values, self.first)

    def windows(self, rows: int) -> Iterator[slice]:
        """Slices of about so many rows that leave events whole."""
        begin = 0
        while begin < len(self.event):
            # the last event that ends within, or one that is longer
            after = np.searchsorted(self.first, begin + rows, side="right") - 1
            end = len(self.event) if begin + rows >= len(self.event) else int(self.first[after])
            if end <= begin:
                end = int(np.append(self.first, len(self.event))[after + 1])
            yield slice(begin, end)
            begin = end

    def __getitem__(self, rows: slice) -> Groups:
        """Those of a window."""
        here = self.event[rows]
        return Groups(here - here[0]) if len(here) else Groups(here)
