"""Leading-order events of any reaction as a file: recoil, response and cuts, no showers.

The tree `events` has the columns that weights read, `weight` (1 but for a few, see `draw_events`), and of
every leg k of the reaction, in its order, the true momentum with the recoil, `true_legK_PT _Eta _Phi _M`, and
`legK_PDG`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import uproot

from deepmem.data.files import check_writable, whole_file
from deepmem.ordered import Mapper
from deepmem.physics.weights.event_columns import polar_mass
from deepmem.physics.weights.leading_order import Events, draw_events
from deepmem.selection import Selection

TREE = "events"


@dataclass(frozen=True)
class PartonEvents:
    """What `generate_partons` made.

    - `events`: how many were kept; `cross_section`, `error`: σ_vis in pb.
    - `columns`: the arrays, empty where they went to the file `output`.
    """

    process: str
    events: int
    cross_section: float
    error: float
    output: Path | None
    columns: dict[str, np.ndarray] = field(default_factory=dict, repr=False)


def generate_partons(
    process: str,
    events: int,
    seed: int = 1,
    output: str | Path | None = None,
    *,
    selection: Selection | Mapping[str, Any] | None = None,
    response: Mapping[str, Any] | None = None,
    mapper: Mapper = map,
    progress: Callable[[int], None] = lambda kept: None,
    **settings: Any,
) -> PartonEvents:
    """Make leading-order events of a process of the menu or a reaction, and write them if `output` is given.

    **Arguments:** `selection`, cuts on what is measured, and `parton_selection`, on partons; `mapper`,
    who computes; `progress`, called with the number of events so far; the rest as of
    `leading_order.draw_events`.

    **Raises** as `draw_events` does.
    """
    if output is not None:
        check_writable(output)
    made = draw_events(
        process, events, seed, selection, response=response, mapper=mapper, progress=progress, **settings
    )
    columns = _columns(made)
    if output is None:
        return PartonEvents(made.process, len(made), made.visible, made.visible_error, None, columns)
    with whole_file(output) as temporary, uproot.recreate(temporary, compression=uproot.ZSTD(5)) as file:
        file["provenance"] = json.dumps(
            {
                "command": "generate",
                "parton": True,
                "process": process,
                "seed": seed,
                "events": events,
                "selection": repr(Selection.of(selection)),
                "response": dict(response or {}),
                "settings": {name: repr(value) for name, value in settings.items()},
                "cross_section_pb": made.visible,
                "error_pb": made.visible_error,
                "deepmem": version("deepmem"),
            }
        )
        tree = file.mktree(TREE, {name: array.dtype for name, array in columns.items()})
        tree.extend(columns)
    return PartonEvents(made.process, len(made), made.visible, made.visible_error, Path(output))


def _columns(made: Events) -> dict[str, np.ndarray]:
    columns = dict(made.columns) | {"weight": made.weight}
    for leg in range(made.true.shape[1]):
        columns |= polar_mass(made.true[:, leg], f"true_leg{leg}")
        if made.codes is not None:
            columns[f"leg{leg}_PDG"] = made.codes[:, leg].astype(np.int32)
    return columns
