"""The epochs of a training, as `metrics.jsonl` has them: a line of JSON for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Epoch:
    """Mean squared error of the standardised target on the training part, as it went, and on the validation
    part (None where there is none); events learned from per second, and how long it took, in s."""

    epoch: int
    loss: float
    validation_loss: float | None
    events_per_second: float = 0.0
    seconds: float = 0.0

    @property
    def deciding(self) -> float:
        """The loss that decides which model is kept: validation, or training where there is no validation
        part."""
        return self.loss if self.validation_loss is None else self.validation_loss

    @property
    def line(self) -> str:
        """The same as a line of JSON."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of_line(cls, line: str) -> Epoch:
        """As `line` has it. **Raises** `JSONDecodeError` where it is cut off."""
        entry = json.loads(line)
        return cls(**{field.name: entry[field.name] for field in fields(cls) if field.name in entry})


def kept(history: Sequence[Epoch]) -> Epoch:
    """The epoch whose model is kept, the first with the lowest loss."""
    return min(history, key=lambda epoch: epoch.deciding)


def read_history(path: Path) -> list[Epoch]:
    """The epochs of a `metrics.jsonl`; none where there is no such file."""
    epochs: list[Epoch] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            epochs.append(Epoch.of_line(line))
        except json.JSONDecodeError:  # the line that was being written when the run was killed
            break
    return epochs
