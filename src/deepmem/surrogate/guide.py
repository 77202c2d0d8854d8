"""A guide: a cheap estimate of the weight that a network need only correct.

Where particles escape, a weight is learned badly from what was measured alone: 100,000 top pairs leave
|Δ log10 W| at 0.16. The integrand on a few fixed points (`physics.rough.rough`) costs a tenth of an exact
weight and knows where solutions are. So networks learn

    t = −log10(W / W_guide),

with log10 W_guide and what tells how good it is among their features. What they add is what the guide gets
wrong in the mean, and an error that holds for each event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepmem.columns import check_column_names
from deepmem.errors import UsageError
from deepmem.physics.processes import known_columns
from deepmem.physics.weights import rough
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.partonic import shared_by_events
from deepmem.physics.weights.rough import details_of_rough

POINTS = 512
_RESERVED = ("process", "points", "pdf", "pdf_sha256", "subset", "response", "column_names")


class Guide:
    """Features of events that come from a cheap weight: first its log10, second that of its relative error.

    **Arguments:** `settings`, JSON: `process`; `points` of each side and assignment; `pdf`, `subset`,
    `response`, `column_names` and parameters as for exact weights; `columns`, what events are given in.

    `settings` of it are the same with all that it depends on by content: the response, the density's hash.

    **Raises** `UsageError` where a setting is wrong, a column is missing, or there is no density grid, or
    not the one that the hash is of.
    """

    def __init__(self, settings: Mapping[str, Any], columns: Sequence[str]):
        if "process" not in settings:
            raise UsageError('\'guide\' names no process, as in {"process": "ttbar_2l"}')
        extra = {key: settings[key] for key in ("pdf", "subset", "response") if key in settings}
        numbers = {key: value for key, value in settings.items() if key not in _RESERVED}
        self._alpha = hypothesis(settings["process"], **extra, **numbers)
        self._points = settings.get("points", POINTS)
        if not isinstance(self._points, int) or self._points < 1 or self._points % 256:
            raise UsageError(f"'points' of 'guide' must be a multiple of 256, got {self._points!r}")
        if len(self._alpha.names) != 1:
            raise UsageError("a guide has one value of each parameter, and no scan")
        called = settings.get("column_names", {})
        check_column_names(called, known_columns())
        self._at = {}
        for name in self._alpha.columns:
            branch = called.get(name, name)
            if branch not in columns:
                raise UsageError(
                    f"the guide {settings['process']!r} reads the column {branch!r}, which is not among "
                    f"those learned from: {', '.join(columns)}"
                )
            self._at[name] = list(columns).index(branch)
        shared_by_events(self._alpha)  # a missing grid is said before the work
        made = self._alpha.to_dict()
        if settings.get("pdf_sha256", made["pdf_sha256"]) != made["pdf_sha256"]:
            raise UsageError(
                f"the guide was made with other values of the density {made['pdf']} than are found here"
            )
        content = {"response": self._alpha.detector.to_dict(), "pdf_sha256": made["pdf_sha256"]}
        plain = {f"r_{kind}" for kind in self._alpha.process.responses}
        self.settings: dict[str, Any] = {k: v for k, v in settings.items() if k not in plain} | content
        self.names = (
            "log guide",
            "log error of guide",
            *(f"guide {name}" for name in details_of_rough(self._alpha)),
        )

    def __call__(self, table: np.ndarray) -> np.ndarray:
        """Features `[events, names]` of rows `[events, columns]` in GeV; NaN where there is no weight."""
        found = rough.rough(self._alpha, {name: table[:, i] for name, i in self._at.items()}, self._points)
        with np.errstate(divide="ignore", invalid="ignore"):
            log10 = np.where(found.value > 0, np.log10(found.value), np.nan)
            error = np.log10(found.error / found.value)
        return np.concatenate([log10[:, None], error[:, None], found.details], axis=1)
