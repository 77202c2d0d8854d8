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

from deepmem.data.files import check_writable, sha256, whole_file
from deepmem.ordered import Mapper
from deepmem.physics.detector.entries import histograms
from deepmem.physics.processes import find_process, menu_line
from deepmem.physics.processes.base import DEFAULT_DENSITY
from deepmem.physics.processes.generated import Generated
from deepmem.physics.processes.of_reaction import is_reaction
from deepmem.physics.theory import lhapdf, models
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
    contents = files_by_content(response) | theory_by_content(process, settings)
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
                **contents,
                "cross_section_pb": made.visible,
                "error_pb": made.visible_error,
                "deepmem": version("deepmem"),
            }
        )
        tree = file.mktree(TREE, {name: array.dtype for name, array in columns.items()})
        tree.extend(columns)
    return PartonEvents(made.process, len(made), made.visible, made.visible_error, Path(output))


def files_by_content(response: Mapping[str, Any] | None) -> dict[str, Any]:
    """The digests of the files that a response names, where there are any."""
    digests = {each: sha256(each) for each in histograms(response) if Path(each).is_file()}
    return {"files_sha256": digests} if digests else {}


def theory_by_content(process: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """The digests of the density and of the model of leading-order events.

    **Raises** `UsageError` and its kinds for a density, a model or a process that cannot be found.
    """
    line = menu_line(process)
    digests = {"pdf_sha256": lhapdf.current(settings.get("pdf") or DEFAULT_DENSITY).sha256}
    if line is None and not is_reaction(process):
        elements = find_process(process).matrix_elements
        return digests | ({"model_sha256": elements.model.digest} if isinstance(elements, Generated) else {})
    name = settings.get("model", "sm" if line is None else line.model)
    return digests | {"model_sha256": models.load(name, settings.get("param_card")).digest}


def _columns(made: Events) -> dict[str, np.ndarray]:
    columns = dict(made.columns) | {"weight": made.weight}
    for leg in range(made.true.shape[1]):
        columns |= polar_mass(made.true[:, leg], f"true_leg{leg}")
        if made.codes is not None:
            columns[f"leg{leg}_PDG"] = made.codes[:, leg].astype(np.int32)
    return columns
