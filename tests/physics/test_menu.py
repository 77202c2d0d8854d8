"""The menu's lines of data: their channels are those of their reactions, and the hand-written |M|² is generated,
too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deepmem.physics.amplitude import matrix_element
from deepmem.physics.processes import all_processes
from deepmem.physics.processes.base import InitialState, Process
from deepmem.physics.processes.generated import Generated
from deepmem.physics.reactions import read

REFERENCE_FILE = Path(__file__).parents[1] / "reference" / "matrix_elements.json"
POINTS = json.loads(REFERENCE_FILE.read_text())["processes"]
GENERATED = [p for p in all_processes().values() if isinstance(p.matrix_elements, Generated)]


@pytest.mark.parametrize("process", GENERATED, ids=lambda process: process.name)
def test_channels_are_those_of_the_reaction(process: Process):
    """Every initial state of the lighter four flavours, gathered by equal |M|²; b quarks go with d and s."""
    generated = process.matrix_elements
    assert isinstance(generated, Generated)
    found = read(generated.reaction, generated.theory)
    together: dict[InitialState, set[tuple[int, bool]]] = {}
    for number, channel in enumerate(found.channels):
        for member in channel.members:
            first, second = member.subprocess.incoming
            together.setdefault((first, second), set()).add((number, member.turned))
    assert {state for state in process.initial_states if 5 not in map(abs, state)} == set(together)
    for states in process.channels:
        numbers = {number for state in states for number, _ in together.get(state, ())}
        assert len(numbers) == 1, states
    (outgoing,) = {member.subprocess.outgoing for channel in found.channels for member in channel.members}
    assert outgoing == process.outgoing


@pytest.mark.parametrize(
    ("name", "reaction", "subset", "incoming"),
    [
        *(("zz_4l", "p p > e+ e- mu+ mu-", None, state) for state in ((2, -2), (-2, 2), (1, -1), (-1, 1))),
        ("zz_4l", "p p > z z, z > e+ e-, z > mu+ mu-", "zz", (2, -2)),
        ("zz_4l", "p p > z z, z > e+ e-, z > mu+ mu-", "zz", (-1, 1)),
        ("zz_4e", "p p > e+ e- e+ e-", None, (-2, 2)),
        ("zz_4e", "p p > e+ e- e+ e-", None, (1, -1)),
    ],
)
def test_two_bosons_by_hand_and_generated(
    name: str, reaction: str, subset: str | None, incoming: InitialState
):
    """To rounding; `incoming` in either order, for the reaction takes the momenta as they come."""
    momenta = np.array(POINTS["uux_4l"]["momenta"])
    by_hand = matrix_element(name, incoming, momenta, subset, MZ=90.0, WZ=3.0)
    generated = matrix_element(reaction, incoming, momenta, MZ=90.0, WZ=3.0)
    np.testing.assert_allclose(generated, by_hand, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "reaction", "subset"),
    [
        ("higgs_4l", "g g > h > e+ e- mu+ mu-", None),
        ("higgs_4l", "g g > h > e+ e- mu+ mu- / a", "zz"),
        ("higgs_4e", "g g > h > e+ e- e+ e-", None),
        ("higgs_4mu", "g g > h > mu+ mu- mu+ mu- / a", "zz"),
    ],
)
def test_a_higgs_boson_by_hand_and_generated(name: str, reaction: str, subset: str | None):
    momenta = np.array(POINTS["gg_h_4l_heft"]["momenta"])
    values = {"MH": 120.0, "WH": 0.5, "MZ": 90.0, "WZ": 3.0, "MT": 170.0, "alpha_s": 0.11}
    by_hand = matrix_element(name, (21, 21), momenta, subset, **values)
    generated = matrix_element(reaction, (21, 21), momenta, model="heft", **values)
    np.testing.assert_allclose(generated, by_hand, rtol=1e-9)
