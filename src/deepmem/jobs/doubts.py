"""What makes rows that are to be learned from look other than they are meant: events that come twice, labels
without spread, labels that are logarithms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from deepmem.data.identity import hashes_of, row_hashes
from deepmem.data.loaders import Paired, Rows
from deepmem.data.root import Source
from deepmem.data.trees import TreeFile
from deepmem.errors import UsageError

_REMEMBERED = 1_000_000  # rows that are looked at for others like them
_OFTEN = 0.01  # the part of rows that may come again
_FEW = 20  # labels that say nothing of what they are


class Labels:
    """What the labels and rows of a part look like: feed it all rows, chunk by chunk."""

    def __init__(self, weights: Sequence[str]):
        self._weights = tuple(weights)
        self._low = np.full(len(self._weights), np.inf)
        self._high = np.full(len(self._weights), -np.inf)
        self._lowest, self._highest = self._low.copy(), self._high.copy()  # of all that are finite
        self._positive = np.zeros(len(self._weights), dtype=int)
        self._negative = self._positive.copy()
        self._rows: list[np.ndarray] = []
        self._remembered = 0

    def add(self, rows: Rows) -> None:
        """Take up the next rows."""
        values = rows.weights.astype(np.float64)
        good = np.isfinite(values) & (values > 0)
        self._positive += good.sum(axis=0)
        self._negative += (values < 0).sum(axis=0)
        finite = np.isfinite(values)
        self._lowest = np.minimum(self._lowest, np.where(finite, values, np.inf).min(axis=0, initial=np.inf))
        self._highest = np.maximum(
            self._highest, np.where(finite, values, -np.inf).max(axis=0, initial=-np.inf)
        )
        self._low = np.minimum(self._low, np.where(good, values, np.inf).min(axis=0, initial=np.inf))
        self._high = np.maximum(self._high, np.where(good, values, -np.inf).max(axis=0, initial=-np.inf))
        fresh = np.ascontiguousarray(rows.inputs[: _REMEMBERED - self._remembered])
        if fresh.size:
            self._rows.append(row_hashes(fresh))
            self._remembered += len(fresh)

    def refuse_no_spread(self) -> None:
        """**Raises** `UsageError` where all labels of a weight have one value."""
        for name, low, high, number in zip(self._weights, self._low, self._high, self._positive, strict=True):
            if number > 1 and high <= low * (1 + 1e-12):
                raise UsageError(
                    f"{name}: all {number:,} weights of the training part are {low:.6g}, so there is "
                    "nothing to learn, and no error would mean anything. Is it the branch of the "
                    "weights ('weights', 'output_paths')?"
                )

    def refuse_logarithms(self) -> None:
        """**Raises** `UsageError` where all labels of a weight are below 0, as log10 W or ln W is."""
        for name, low, high in zip(self._weights, self._lowest, self._highest, strict=True):
            if low <= high < 0:  # else none is finite
                raise UsageError(
                    f"{name}: all weights of the training part are below 0, from {low:.4g} to {high:.4g}, "
                    "as logarithms of weights are. Expected are the weights W themselves, above 0, of which "
                    "−log10 W is learned: write 10**label of log10 W, or exp(label) of ln W, into "
                    "'output_paths'"
                )

    def problems(self) -> Iterator[str]:
        """A sentence for each thing that is probably not as it is meant."""
        for name, low, high, number, negative in zip(
            self._weights, self._low, self._high, self._positive, self._negative, strict=True
        ):
            if number >= _FEW and negative <= _OFTEN * number and low >= 1 and high <= 50:
                yield (
                    f"{name}: all weights are between {low:.4g} and {high:.4g}, as −log10 of weights is, and "
                    "−log10 of what is given is learned: give the weights themselves"
                )
        if self._remembered < _FEW:
            return
        again = self._remembered - len(np.unique(np.concatenate(self._rows)))
        if again > _OFTEN * self._remembered:
            yield (
                f"{again:,} of {self._remembered:,} events of the training part are copies of others in "
                "it, so the validation and the test part are likely to have events that were learned from: "
                "their errors look smaller than they are. Leave the copies out"
            )


def repeated_files(data: Paired) -> Iterator[str]:
    """A sentence for each two files of events that are the same, by name or by the columns that are read."""
    files = data.inputs.files
    often = Counter(file.num_entries for file in files)
    hashes = {i: _identity(file, data.inputs) for i, file in enumerate(files) if often[file.num_entries] > 1}
    for i, j in combinations(hashes, 2):
        if files[i].num_entries and hashes[i] == hashes[j]:
            yield (
                f"'input_paths' has the same {files[i].num_entries:,} events twice ({files[i].address} and "
                f"{files[j].address}): the training, validation and test parts share events, so that the "
                "errors and the test look better than they are. Name each file once"
            )


def _identity(file: TreeFile, source: Source) -> object:
    return hashes_of(Source([file.address], None, source.columns, (), source.objects))
