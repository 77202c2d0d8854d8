"""Weights of dask-awkward's arrays: lazily, partition by partition, and the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from test_memory import COLLECTIONS
from test_objects import EVENTS

import deepmem
from deepmem import UsageError
from deepmem.surrogate.model import Surrogate

dak: Any = pytest.importorskip(
    "dask_awkward",
    reason="dask-awkward needs an older Dask than the farm's tests have; the nightly run installs it",
)
SETTINGS: dict[str, Any] = {"schema": "nanoaod", "objects": {"leptons": {"cuts": {"pt": 10}}}}


@pytest.fixture
def events() -> Any:
    return dak.from_awkward(ak.zip(COLLECTIONS, depth_limit=1), npartitions=2)


def test_exact_weights(events: Any) -> None:
    variations = {"up": {"Muon_pt": "Muon_pt * 1.01"}}
    found = deepmem.compute(events, **SETTINGS, variations=variations)
    assert isinstance(found, dak.Array)
    numbers = found.compute()
    assert set(numbers.fields) == {"drell_yan", "drell_yan__up"}
    half = EVENTS // 2
    parts = [deepmem.compute({n: v[cut] for n, v in COLLECTIONS.items()}, **SETTINGS, variations=variations)
             for cut in (slice(0, half), slice(half, EVENTS))]  # fmt: skip
    for name in numbers.fields:
        for field in ("value", "error", "status"):
            expected = np.concatenate([getattr(part[name], field) for part in parts])
            np.testing.assert_array_equal(numbers[name][field], expected)
    (needed,) = dak.inspect.report_necessary_columns(found).values()
    assert not [name for name in needed or () if name.startswith(("Jet", "MET"))]


def test_learned_weights(events: Any, trained: tuple[dict[str, Any], Path]) -> None:
    model = Surrogate.load(trained[0]["save_lowest_loss_model_at"])
    numbers = model(events, **SETTINGS).compute()
    expected = model(COLLECTIONS, **SETTINGS)["weight_DY"]
    np.testing.assert_array_equal(numbers["weight_DY"]["status"], expected.status)
    np.testing.assert_allclose(numbers["weight_DY"]["value"], expected.value, rtol=1e-6)


def test_what_is_wrong_is_said_before_anything_is_read(events: Any) -> None:
    with pytest.raises(UsageError, match="say where leptons are"):
        deepmem.compute(events, objects={"jets": {"prefix": "Jet_"}})
    with pytest.raises(UsageError, match="value, error and status alone"):
        deepmem.compute(events, "ttbar_2l", schema="nanoaod", neutrinos=True)
