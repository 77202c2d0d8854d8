"""How much a refinement may compute: up to a relative error, so many events, or so many seconds."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deepmem.errors import UsageError

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Budget:
    """One of three limits: a relative error, a number of events, or a time in seconds."""

    tolerance: float | None
    events: int | None
    seconds: float | None

    @classmethod
    def of(cls, tolerance: float | None, budget: str | float | None) -> Budget:
        """From what a user says: `tolerance`, or `budget` as `"600s"`, `"10m"`, `"2h"` or a number of events.

        **Raises** `UsageError` where both are given, or neither, or one makes no sense.
        """
        if (tolerance is None) == (budget is None):
            raise UsageError(
                "refine needs either --tolerance (a relative error, such as 0.01) or --budget (600s, or a "
                "number of events), and not both"
            )
        if tolerance is not None:
            if not (np.isfinite(tolerance) and tolerance > 0):
                raise UsageError(f"--tolerance {tolerance}: expected a relative error above 0, such as 0.01")
            return cls(tolerance, None, None)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)|(\d+)", str(budget).strip())
        if not match or float(match[1] or match[3]) <= 0:
            raise UsageError(
                f"--budget {budget}: expected a time above 0, such as 600s, 10m or 2h, or a number of events"
            )
        if match[2]:
            return cls(None, None, float(match[1]) * _SECONDS[match[2]])
        return cls(None, int(match[3]), None)

    def first_of(self, ranking: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Those entries of a ranking, worst first, that are within the limit, as far as it is no time.

        **Arguments:** `ranking`, int; `spread`, the relative error of each event, `[events]`.
        """
        if self.tolerance is not None:
            return ranking[~(spread[ranking] <= self.tolerance)]
        return ranking if self.events is None else ranking[: self.events]

    def to_dict(self) -> dict[str, Any]:
        """The limit that is given, by its name."""
        return {key: value for key, value in asdict(self).items() if value is not None}
