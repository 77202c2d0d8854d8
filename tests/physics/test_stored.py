"""Weights are those that were stored, to 1e-8 or 3e-6: a change of numbers is meant, or a fault.

Of another JAX than that of `constraints.txt`, those that depend on the compiler are equal within their errors.

`benchmarks/commits.py` compares any two commits on more events and settings, to 1e-10.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest
from conftest import REFERENCE

from deepmem.physics.weights import engine
from deepmem.physics.weights.hypothesis import hypothesis

STORED = np.load(REFERENCE / "weights.npz")
WITH_PINNED_JAX = (
    f"jax=={jax.__version__}" in (REFERENCE.parents[1] / "constraints.txt").read_text("utf-8").split()
)
# The table of angles of tt̄ is in single precision. So its points depend on the compiler by 1e-7, and after a few
# rounds their number does.
SINGLE = {"ttbar_2l": {"precision": 0.05}}


@pytest.mark.parametrize("process", ["drell_yan", "zz_4l", "higgs_4l", "ttbar_2l", "ww_2l", "higgs_ww_2l"])
def test_weights_are_those_stored(process: str) -> None:
    stored = {name.split("/")[1]: STORED[name] for name in STORED.files if name.split("/")[0] == process}
    weight = engine.compute(hypothesis(process), stored, **SINGLE.get(process, {}))[process]
    np.testing.assert_array_equal(weight.status, stored["status"])
    # the points are the same, and differ in their number at most
    assert (np.abs(weight.value - stored["value"]) <= np.hypot(weight.error, stored["error"])).all()
    if process not in SINGLE or WITH_PINNED_JAX:
        np.testing.assert_allclose(weight.value, stored["value"], rtol=3e-6 if process in SINGLE else 1e-8)
        np.testing.assert_allclose(weight.error, stored["error"], rtol=1e-4)
