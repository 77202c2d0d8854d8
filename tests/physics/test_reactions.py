"""|M|² of reactions as a user types them: initial states, labels, what is alike, and what is said of mistakes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepmem
from deepmem.errors import DeepMEMWarning, UsageError
from deepmem.physics.amplitudes.channels import channels
from deepmem.physics.reactions import read
from deepmem.physics.theory.models import load
from deepmem.physics.theory.reaction import parse

PAGE = Path(__file__).parents[2] / "docs" / "amplitudes.md"
PROCESSES = json.loads((Path(__file__).parents[1] / "reference" / "madgraph.json").read_text())["processes"]
Z_AND_JET = PROCESSES["uux_epemg"]
MOMENTA = np.array(Z_AND_JET["momenta"])
TURNED = MOMENTA[:, [1, 0, 2, 3, 4]]


@pytest.fixture(autouse=True, scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder of its own for what is generated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize(
    ("reaction", "incoming", "momenta"),
    [
        ("u u~ > e+ e- g", None, MOMENTA),
        ("u u~ > e+ e- g", (-2, 2), TURNED),
        ("p p > e+ e- j", (4, -4), MOMENTA),
        ("p p > mu+ mu- g", (-2, 2), TURNED),
    ],
)
def test_madgraphs_numbers_by_name(
    reaction: str, incoming: tuple[int, int] | None, momenta: np.ndarray
) -> None:
    """For whichever initial state is like it, in both orders of the beams."""
    found = deepmem.matrix_element(reaction, incoming, momenta)
    np.testing.assert_allclose(found, Z_AND_JET["me2"], rtol=Z_AND_JET["tolerance"])


@pytest.mark.parametrize(("axis", "angle"), [("y", np.pi), ("x", 0.7)])
def test_each_point_has_the_spinors_of_its_own_frame(axis: str, angle: float) -> None:
    """Beams along z, downwards and across, in one call or alone."""
    turn = np.eye(4)
    a, b = {"x": (2, 3), "y": (1, 3)}[axis]
    turn[[a, b], [a, b]] = round(np.cos(angle), 15)
    turn[a, b] = round(np.sin(angle), 15)
    turn[b, a] = -turn[a, b]
    points = np.array([MOMENTA[0], MOMENTA[1] @ turn, MOMENTA[1], MOMENTA[0] @ turn])
    found = deepmem.matrix_element("u u~ > e+ e- g", None, points)
    np.testing.assert_allclose(found, [Z_AND_JET["me2"][k] for k in (0, 1, 1, 0)], rtol=1e-10)
    alone = [deepmem.matrix_element("u u~ > e+ e- g", None, point) for point in points]
    np.testing.assert_array_equal(found, alone)


def test_the_examples_of_the_page() -> None:
    """u ū and c c̄ are alike, and so are e and μ; another mass of the Z is another |M|²."""
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(code, str(PAGE), "exec"), names)
    assert names["sigma"].value > 0
    legs = np.array(names["legs"])
    again = deepmem.matrix_element("c c~ > e+ e-", None, legs)
    np.testing.assert_allclose(again, names["square"], rtol=1e-12)
    np.testing.assert_allclose(deepmem.matrix_element("drell_yan", (2, -2), legs), again, rtol=1e-10)
    assert abs(names["other"] / again - 1) > 1e-5


def test_labels_sum_final_states() -> None:
    """Two flavours of massless leptons are twice one; the axes of the array stay."""
    both = deepmem.matrix_element(
        "u u~ > x+ x- g", (2, -2), MOMENTA[None], labels={"x+": "e+ mu+", "x-": "e- mu-"}
    )
    assert both.shape == (1, len(MOMENTA))
    one = deepmem.matrix_element("u u~ > e+ e- g", None, MOMENTA)
    np.testing.assert_allclose(both[0], 2 * one, rtol=1e-13)


@pytest.mark.parametrize("name", [name for name in PROCESSES if name not in ("gg_gggg", "gg_ttxttx")])
def test_diagrams_are_those_that_madgraph_counts(name: str) -> None:
    entry = PROCESSES[name]
    (channel,) = channels(parse(entry["process"]), load(entry["model"]))
    assert channel.diagrams == entry["diagrams"]


@pytest.mark.parametrize(
    ("reaction", "subprocesses", "different"),
    [
        ("p p > e+ e-", 8, 2),
        ("p p > t t~", 9, 2),
        # 2 lepton flavours, 2 of jets, 9 initial states, and the charge conjugates
        ("p p > t t~, (t > w+ b, w+ > l+ vl), (t~ > w- b~, w- > j j) ; cc", 72, 4),
    ],
)
def test_what_is_alike_is_computed_once(reaction: str, subprocesses: int, different: int) -> None:
    found = read(reaction).channels
    assert sum(len(channel.members) for channel in found) == subprocesses
    assert len(found) == different


def test_what_is_alike_is_equal() -> None:
    """Every subprocess by itself against the amplitude that stands for it."""
    from deepmem.physics.amplitudes.amplitude import amplitude

    for channel in read("p p > e+ e- j").channels:
        wanted = channel.amplitude.reference(MOMENTA)
        for subprocess, turned in channel.members:
            found = amplitude(channel.model, subprocess, cache=False).reference(TURNED if turned else MOMENTA)
            np.testing.assert_allclose(found, wanted, rtol=1e-11)


@pytest.mark.parametrize(
    ("reaction", "incoming", "says"),
    [
        ("p p > e+ e- j", None, "has 24 initial states: give `incoming`"),
        ("p p > e+ e- j", (21, 21), r"no initial state \(21, 21\)"),
        ("u u~ > e+ e- g", (2,), "no initial state"),
        ("g g > z z", None, "no diagram at tree level"),
        ("u u~ > e+ e- g QED=0", None, "no diagram of these orders"),
        ("u u~ > e+ ee g", None, "unknown particle or label 'ee'"),
        ("u u~ > e+ e+ g", None, "charge is not conserved"),
        ("u u~ > e+ e- g g", None, r"needs momenta of shape \[..., 6, 4\]"),
    ],
)
def test_mistakes_are_named(reaction: str, incoming: tuple[int, ...] | None, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        deepmem.matrix_element(reaction, incoming, MOMENTA)


def test_arguments_that_have_no_meaning_are_refused() -> None:
    for call, says in (
        ({"MZZ": 91.0}, "did you mean 'MZ'"),
        ({"subset": "zz"}, "write a reaction"),
        ({"model": "smm"}, "did you mean 'sm'"),
    ):
        with pytest.raises(UsageError, match=says):
            deepmem.matrix_element("u u~ > e+ e- g", None, MOMENTA, **call)
    with pytest.raises(UsageError, match="model is of a reaction"):
        deepmem.matrix_element("drell_yan", (2, -2), MOMENTA[:, :4], model="sm")
    with pytest.raises(UsageError, match="give incoming"):
        deepmem.matrix_element("drell_yan", None, MOMENTA[:, :4])


def test_momenta_that_are_none_are_said() -> None:
    with pytest.warns(DeepMEMWarning, match=r"off the mass shell: at worst leg 4 \(21\)"):
        deepmem.matrix_element("u u~ > e+ e- g", None, MOMENTA * [1.01, 1, 1, 1])
    with pytest.warns(DeepMEMWarning, match="do not conserve momentum"):
        deepmem.matrix_element("u u~ > e+ e- g", None, MOMENTA * np.array([1, 1, 1, 1, 1.5])[:, None])
    energy = 91.188 / 2
    pair = energy * np.array([[1, 0, 0, 1], [1, 0, 0, -1], [1, 0.6, 0, 0.8], [1, -0.6, 0, -0.8]])
    with pytest.warns(DeepMEMWarning, match=r"infinite at 1 of 1 points: .* \(WZ = 0: give it a width\)"):
        deepmem.matrix_element("u u~ > z > e+ e-", None, pair, WZ=0.0)
    masked = np.ma.array(
        MOMENTA, mask=np.broadcast_to((np.arange(len(MOMENTA)) == 1)[:, None, None], MOMENTA.shape)
    )
    found = deepmem.matrix_element("u u~ > e+ e- g", None, masked)
    np.testing.assert_array_equal(np.isnan(found), np.arange(len(MOMENTA)) == 1)
