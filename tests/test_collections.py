"""The first objects of events, and which objects are near to others, against loops over events."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmem.config import Config
from deepmem.data.collections import Collections

_VALUES = st.sampled_from([-2.0, -0.5, 0.0, 0.5, 2.0, float("nan")])
_EVENTS = st.lists(st.lists(st.tuples(_VALUES, st.booleans(), st.floats(-3, 3)), max_size=6), max_size=5)
_OBJECTS: dict[str, Any] = {
    "leptons": {"prefix": "l_", "sort": "eta"},
    "jets": {"prefix": "j_", "tag": "tag", "sort": "-key", "overlap": {"leptons": 0.7}},
}
_COLUMNS = [*(f"j{i}_{name}" for i in (1, 2, 3) for name in ("PT", "B")), "lep1_PT", "lep2_PT"]


def _branches(events: list[list[tuple[float, bool, float]]]) -> dict[str, ak.Array]:
    counts = np.array([len(event) for event in events], dtype=int)
    flat = np.array([each for event in events for each in event], dtype=float).reshape(-1, 3)
    columns = {
        "j_key": flat[:, 0], "j_tag": flat[:, 1], "j_eta": flat[:, 2], "j_phi": flat[:, 2],
        "l_eta": flat[:, 0], "l_phi": -flat[:, 2],
    }  # fmt: skip
    columns |= {f"{kind}_pt": 1.0 + np.arange(len(flat)) for kind in "jl"}
    return {name: ak.unflatten(ak.Array(values), counts) for name, values in columns.items()}


def _by_hand(events: list[list[tuple[float, bool, float]]]) -> np.ndarray:
    table = np.full((len(events), len(_COLUMNS)), np.nan)
    number = 1
    for row, event in zip(table, events, strict=True):
        numbered = [(number + i, *each) for i, each in enumerate(event)]
        number += len(event)
        leptons = sorted(numbered, key=lambda each: np.inf if np.isnan(each[1]) else each[1])

        def near(jet: tuple[Any, ...], leptons: list[Any] = leptons) -> bool:
            turns = [(jet[3] + each[3] + np.pi) % (2 * np.pi) - np.pi for each in leptons]
            return any(np.hypot(jet[3] - each[1], t) < 0.7 for each, t in zip(leptons, turns, strict=True))

        jets = [each for each in numbered if not near(each)]
        jets.sort(key=lambda each: (not each[2], np.inf if np.isnan(each[1]) else -each[1]))
        for i, jet in enumerate(jets[:3]):
            row[2 * i : 2 * i + 2] = jet[0], jet[2]
        row[6 : 6 + len(leptons[:2])] = [each[0] for each in leptons[:2]]
    return table


@settings(max_examples=60, deadline=None)
@given(_EVENTS)
def test_the_first_objects_of_events(events: list[list[tuple[float, bool, float]]]) -> None:
    """Tagged ones first, of equal keys the first, those without a key last, and none that is near a lepton."""
    branches = _branches(events)
    located = Config.load({"objects": _OBJECTS}, need=()).located
    assert located is not None
    reading = located.resolve("here", branches, _COLUMNS)
    table = Collections("here", reading, branches, len(events)).table()
    np.testing.assert_array_equal(table, _by_hand(events))
