"""Compare: figures for any two sets of weights of the same events."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.data.files import make_folder, write_json
from deepmem.data.identity import refuse_other_events
from deepmem.data.provenance import differences
from deepmem.data.trees import expand
from deepmem.data.weights import read_weights
from deepmem.errors import UsageError
from deepmem.evaluation import metrics
from deepmem.event import Status, Weight, by_status, count_statuses
from deepmem.jobs.provenance import hypotheses_of


def compare(
    truth: str,
    predicted: str,
    output: str | Path,
    *,
    truth_name: str | None = None,
    predicted_name: str | None = None,
    flagged: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Figures for any two sets of weights, entry by entry.

    **Arguments:** `truth`, `predicted`, ROOT files (`path:tree`) with a weight each; `output`, a folder for
    `compare.png` and `compare.json`; `flagged`, whether events outside a model's training range (status 4)
    enter; `force`, whether files that say they are of other events are taken all the same.

    **Returns** what `compare.json` holds: figures of `evaluation.metrics.Agreement`, of the events
    with a positive weight in both, and in `left_out_by_reason` how many others there are.

    **Raises** `UsageError` where a file is wrong, or the two are not of the same events.
    """
    from deepmem.evaluation.plots import weights_against_each_other

    t, p = read_weights(truth, truth_name), read_weights(predicted, predicted_name or truth_name)
    if len(t) != len(p):
        raise UsageError(
            f"{truth} has {len(t)} entries and {predicted} {len(p)}: they must be of the same events"
        )
    remarks = refuse_other_events([truth, predicted], force)
    remarks += _other_hypotheses((truth, truth_name), (predicted, predicted_name or truth_name))
    statuses = {
        what: by_status(count_statuses(each.status)) for what, each in (("truth", t), ("predicted", p))
    }
    t, p = _without_weight(t), _without_weight(p)
    reasons = metrics.left_out_by_reason(t.value, p.value)
    outside = np.zeros(len(t), dtype=bool)
    if not flagged:
        outside = (t.status == Status.OUTSIDE_TRAINING) | (p.status == Status.OUTSIDE_TRAINING)
        t, p = (dataclasses.replace(each, value=np.where(outside, np.nan, each.value)) for each in (t, p))
    agreement = metrics.compare(t.value, p.value)
    if not agreement.events:
        raise UsageError(
            f"{truth} and {predicted} have no event with a valid weight in both: of {len(t):,} are left out "
            f"{_listed(reasons | {'status 4 in either': int(outside.sum())})}"
        )
    name = truth_name or predicted_name or "weight"
    folder = Path(output)
    make_folder(folder)
    weights_against_each_other(folder / "compare.png", {name: (t.value, p.value)})
    result = agreement.to_dict() | {
        "statuses": statuses,
        "flagged_left_out": int(outside.sum()),
        "remarks": remarks,
        "left_out_by_reason": reasons,
        "figure": str(folder / "compare.png"),
    }
    write_json(folder / "compare.json", result)
    return result


def _without_weight(weight: Weight) -> Weight:
    """The same with NaN where a status says that there is no weight."""
    lost = np.isin(weight.status, (Status.BAD_INPUT, Status.BELOW_GRID))
    return dataclasses.replace(weight, value=np.where(lost, np.nan, weight.value))


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {reason}" for reason, number in numbers.items() if number)


def _other_hypotheses(one: tuple[str, str | None], other: tuple[str, str | None]) -> list[str]:
    """In what the hypotheses of two weights, each an address and perhaps a name, differ, if files say it."""
    entries = []
    for address, name in (one, other):
        hypotheses = hypotheses_of(expand([address])[0][0])
        only = next(iter(hypotheses.values())) if len(hypotheses) == 1 and name is None else {}
        entries.append(hypotheses.get(name or "", only))
    if not all(entries) or not (differ := differences(*entries)):
        return []
    return [f"the two weights are of different hypotheses: {'; '.join(differ)}"]
