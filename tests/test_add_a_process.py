"""The worked example of docs/add-a-process.md is run, and is right."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from deepmem.event import Status
from deepmem.physics import processes
from deepmem.physics.amplitude import matrix_element
from deepmem.physics.weights import engine
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.leading_order import Disc, draw_events

PAGE = Path(__file__).parent.parent / "docs" / "add-a-process.md"


@pytest.fixture
def photon():
    """The page's process, on the menu for this test only."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(compile(block, str(PAGE), "exec"), names)
    yield names["PHOTON"]
    processes.unregister("photon_2l")


def test_the_example_is_drell_yan_without_the_z(photon):
    """Against `drell_yan` far below the Z, whose |M|² other programs confirmed."""
    assert processes.find_process("photon_2l") is photon
    cosine = np.linspace(-0.9, 0.9, 7)
    mass = 1e-3
    sine, zero, one = np.sqrt(1 - cosine**2), np.zeros(7), np.ones(7)
    legs = [(one, zero, zero, one), (one, zero, zero, -one)]
    legs += [(one, k * sine, zero, k * cosine) for k in (1, -1)]
    momenta = mass / 2 * np.stack([np.stack(leg, axis=-1) for leg in legs], axis=1)
    for incoming in ((2, -2), (-1, 1)):
        found, expected = (matrix_element(name, incoming, momenta) for name in ("photon_2l", "drell_yan"))
        np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_the_example_has_weights_and_events(photon):
    """⟨W_γ/W_DY⟩ over Drell–Yan events is the ratio of cross-sections: statement 5 of the physics page."""
    cuts = {"lepton_pt": 20, "lepton_eta": 2.5, "mass": [70, 110], "total_pt": [0, 20]}
    events = draw_events("drell_yan", 2_000, 3, cuts, recoil=Disc(30.0))
    photons = draw_events("photon_2l", 2_000, 4, cuts, recoil=Disc(30.0))
    weights = {}
    for name in ("photon_2l", "drell_yan"):
        weights[name] = engine.compute(hypothesis(name), events.columns, precision=1e-3)[name]
        assert (weights[name].status == Status.GOOD).all()
    ratio = weights["photon_2l"].value / weights["drell_yan"].value
    error = ratio.std() / np.sqrt(len(ratio))
    expected = photons.visible / events.visible
    combined = np.hypot(error, expected * photons.visible_error / photons.visible)
    assert combined < 0.1 * expected
    assert ratio.mean() == pytest.approx(expected, abs=3.5 * combined)
