"""What a number depends on is part of what identifies it: laws of keys, of events' hashes, of claims."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import uproot
from conftest import write_tree

from deepmem.data.files import owned
from deepmem.data.identity import EventHashes, difference, joined, other_order
from deepmem.data.trees import open_tree
from deepmem.data.weights import read_provenance, read_weights
from deepmem.errors import DeepMEMError, UsageError
from deepmem.jobs import exact, merging
from deepmem.physics.detector.custom import Custom, custom
from deepmem.physics.detector.detector import ByEta
from deepmem.physics.detector.entries import detector, response
from deepmem.physics.detector.response import Response
from deepmem.physics.processes import find_process
from deepmem.physics.theory import lhapdf
from deepmem.physics.theory.parameters import PARAMETERS
from deepmem.physics.weights.hypothesis import Hypothesis, hypothesis
from deepmem.reporter import Reporter, Step
from deepmem.surrogate.guide import Guide

LEPTONS = [f"lep{i}_{key}" for i in (1, 2) for key in ("PT", "Eta", "Phi", "Charge")]


def box(rec: Any, gen: Any) -> Any:
    """A response that is constant between 0.8 and 1.2 of the energy."""
    return 2.5 / gen * jnp.ones_like(rec)


ENTRIES: dict[str, Any] = {
    "gaussian": {"kind": "gaussian", "a": 0.02, "b": 0.1, "c": 0.3, "reach": 4.0},
    "double_gaussian": {
        "kind": "double_gaussian",
        "fraction": 0.1,
        "core": {"a": 0.02, "b": 0.1, "c": 0.2, "bias": 0.01},
        "tail": {"a": 0.06, "b": 0.2, "c": 0.4, "bias": -0.02},
        "reach": 4.0,
    },
    "crystal_ball": {
        "kind": "crystal_ball",
        "a": 0.02,
        "b": 0.1,
        "c": 0.3,
        "alpha": 1.5,
        "n": 3.0,
        "loss": 1e-3,
    },
    "binned": {
        "kind": "binned",
        "gen_edges": [0.0, 50.0, 500.0],
        "difference_edges": [-5.0, 0.0, 10.0],
        "density": [[0.1, 0.05], [0.08, 0.06]],
    },
    "delta": {"kind": "delta"},
    "function": {"kind": "function", "function": f"{__name__}:box", "low": 0.8, "high": 1.2},
    "regions": [
        {"kind": "gaussian", "r": 0.02, "eta_max": 1.2},
        {"kind": "crystal_ball", "r": 0.03, "alpha": 1.0, "n": 2.5, "eta_max": 2.1},
        {"kind": "gaussian", "r": 0.04},
    ],
    "limited": {"kind": "gaussian", "r": 0.02, "eta_max": 2.5},
}


def changes(entry: Any, path: str = "") -> list[tuple[str, Any]]:
    """The same entry with one number in it changed, for each of its numbers."""
    found: list[tuple[str, Any]] = []
    items = list(entry.items()) if isinstance(entry, dict) else list(enumerate(entry))
    for key, value in items:
        for where, other in (
            changes(value, f"{path}.{key}") if isinstance(value, dict | list) else [(f"{path}.{key}", value)]
        ):
            changed = json.loads(json.dumps(entry))
            if isinstance(value, dict | list):
                changed[key] = other
            elif isinstance(value, float):
                changed[key] = value * 1.001 + 1e-6
            else:
                continue
            found.append((where, changed))
    return found


@pytest.mark.parametrize("kind", ENTRIES)
def test_a_response_is_what_its_dict_says(kind: str) -> None:
    """Made again from its dict it is the same to the last bit, after a trip through JSON as well."""
    made = response(ENTRIES[kind])
    again = response(json.loads(json.dumps(made.to_dict())))
    assert again.to_dict() == made.to_dict()
    for one, other in zip(jax.tree.leaves(made), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ENTRIES)
def test_every_number_of_a_response_changes_its_dict(kind: str) -> None:
    made = response(ENTRIES[kind]).to_dict()
    for where, changed in changes(made):
        if not where.endswith("values"):
            assert build(changed).to_dict() != made, where


def build(entry: Any) -> ByEta:
    """The response, where a histogram's column may need its norm again."""
    if isinstance(entry, dict) and entry["kind"] == "function":
        entry = {key: value for key, value in entry.items() if key != "values"}
        return ByEta(np.empty(0), (Custom(jax.tree_util.Partial(box), entry["low"], entry["high"]),))
    return response(entry)


def test_every_leaf_of_every_shape_is_in_its_dict() -> None:
    """A shape that gets a further number must say it: walks all subclasses, and all their leaves."""
    shapes = {type(one) for entry in ENTRIES.values() for one in response(entry).responses}
    concrete = {cls for cls in Response.__subclasses__() if not cls.__name__.startswith("_")}
    assert shapes == concrete
    for entry in ENTRIES.values():
        made = response(entry)
        leaves, tree = jax.tree.flatten(made)
        for i, leaf in enumerate(leaves):
            if np.size(leaf) == 0:  # one region has no bounds
                continue
            changed = np.where(np.isinf(leaf), 9.0, np.asarray(leaf) * 1.001 + 1e-6)  # no limit is ∞
            other = tree.unflatten([*leaves[:i], changed, *leaves[i + 1 :]])
            assert other.to_dict() != made.to_dict(), (type(made.responses[0]), i)


def test_every_leaf_of_a_detector_is_in_its_dict() -> None:
    """Of classes with several shapes and regions, and of missing pT; and its dict makes it again."""
    entries = {"lepton": ENTRIES["gaussian"], "bjet": ENTRIES["double_gaussian"], "met": {"b": 0.5, "c": 9.0}}
    seen = detector(entries, ["lepton", "bjet"], missing=True)
    assert detector(json.loads(json.dumps(seen.to_dict())), ["lepton", "bjet"], missing=True).to_dict() == (
        seen.to_dict()
    )
    assert set(seen.to_dict()) == set(entries)
    leaves, tree = jax.tree.flatten(seen)
    for i, leaf in enumerate(leaves):
        if np.size(leaf):
            changed = np.where(np.isinf(leaf), 9.0, np.asarray(leaf) * 1.001 + 1e-6)
            assert tree.unflatten([*leaves[:i], changed, *leaves[i + 1 :]]).to_dict() != seen.to_dict(), i


def test_a_function_is_identified_by_what_it_gives() -> None:
    made = custom(box, 0.8, 1.2)
    other = custom(lambda rec, gen: box(rec, gen) * (1 + 1e-5), 0.8, 1.2)
    assert made.to_dict()["values"] != other.to_dict()["values"]
    entry = made.to_dict() | {"values": other.to_dict()["values"]}
    with pytest.raises(UsageError, match="gives other values than when this was written"):
        response(entry)


ANOMALOUS = "h=g g > h > e+ e- mu+ mu-"
JETS = "w=p p > w+ h, w+ > l+ vl, h > b b~"
HYPOTHESES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "process": ({"process": "ww_2l"}, {"process": "higgs_ww_2l", "Q": "MW", "MH": 125.0}),
    "parameters": ({}, {"MZ": 91.0}),
    "scan": ({"MZ": [91.0, 91.5], "Q": 91.0}, {"MZ": [91.0, 91.6], "Q": 91.0}),
    "scale": ({}, {"Q": 90.0}),
    "flavours": ({}, {"flavours": 5}),
    "subset": ({"process": "zz_4l"}, {"process": "zz_4l", "subset": "zz"}),
    "detector": ({}, {"r_lepton": 0.021}),
    "mass_from_event": ({"process": "higgs_4l"}, {"process": "higgs_4l", "MH": "event"}),
    "met": ({"process": "ww_2l"}, {"process": "ww_2l", "met": "balance"}),
    "frame": ({"process": "ttbar_2l"}, {"process": "ttbar_2l", "frame": "lab"}),
    "b_mass": ({"process": "ttbar_2l"}, {"process": "ttbar_2l", "b_mass": "jet"}),
    "tags": ({"process": JETS}, {"process": JETS, "tags": "ignore"}),
    "extra_jets": ({"process": JETS}, {"process": JETS, "extra_jets": "choose"}),
    "tagging": ({"process": JETS}, {"process": JETS, "tagging": {"b": 0.7, "c": 0.1, "light": 0.01}}),
    "lost": (
        {"process": JETS, "lost": 1, "selection": {"jet_pt": 30, "jet_eta": 2.5}},
        {"process": JETS, "lost": {"jet_pt": 25, "jet_eta": 2.5, "loss": 0.01}},
    ),
    "parton_pt": ({"process": "diphoton"}, {"process": "diphoton", "parton_pt": 5}),
    "polynomial": (
        {"process": ANOMALOUS, "model": "hvv"},
        {"process": ANOMALOUS, "model": "hvv", "ca3": "[:]"},
    ),
}


def make(settings: dict[str, Any]) -> Hypothesis:
    settings = {"process": "drell_yan"} | settings
    if settings.get("Q") == "MW":
        settings.pop("Q")
    return hypothesis(**settings)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Hypothesis)])
def test_every_field_of_a_hypothesis_changes_its_dict(field: str, tmp_path: Path) -> None:
    if field == "density_name":
        one, other = make({}), make({"pdf": str(other_grid(tmp_path))})
    else:
        one, other = (make(settings) for settings in HYPOTHESES[field])
    assert json.dumps(one.to_dict(), sort_keys=True) != json.dumps(other.to_dict(), sort_keys=True)
    again = Hypothesis.from_dict(json.loads(json.dumps(other.describe())))
    assert again.to_dict() == other.to_dict()


def test_every_parameter_changes_the_dict() -> None:
    plain = make({"process": "ttbar_2l"})
    for name in PARAMETERS:
        value = getattr(plain.parameters, name)
        other = dataclasses.replace(
            plain, parameters=plain.parameters._replace(**{name: (value or 80.0) * 1.001})
        )
        assert other.to_dict() != plain.to_dict(), name
    said = [make({"process": ANOMALOUS, "model": "hvv", "ca3": value}).to_dict() for value in (0.1, 0.2)]
    assert said[0] != said[1]


def test_the_code_of_an_own_process_is_part_of_it() -> None:
    """A user's amplitude that was changed is another one; DeepMEM's own go with its version."""
    plain = find_process("drell_yan")
    assert "code" not in hypothesis("drell_yan").to_dict()
    described = []
    for factor in (1.0, 2.0):
        names: dict[str, Any] = {"plain": plain}
        exec(f"def squared(*x): return [{factor} * m for m in plain.matrix_elements(*x)]", names)
        mine = dataclasses.replace(plain, name="mine", matrix_elements=names["squared"])
        described.append(dataclasses.replace(hypothesis("drell_yan"), process=mine).to_dict()["code"])
    assert described[0] != described[1]


def other_grid(folder: Path, factor: float = 1.001) -> Path:
    """The default density in a file of the user's own, values multiplied."""
    text = lhapdf.find("NNPDF23_lo_as_0130_qed").read_text()
    head, *blocks = text.split("---\n")
    scaled = []
    for block in blocks:
        lines = block.split("\n", 3)
        if len(lines) == 4:
            numbers = np.array(lines[3].split(), dtype=float) * factor
            lines[3] = "\n".join(f"{number:.10e}" for number in numbers) + "\n"
        scaled.append("\n".join(lines))
    path = folder / "mine.dat"
    path.write_text("---\n".join([head, *scaled]))
    return path


def test_units_count_what_was_measured() -> None:
    """Energies, and two components of missing pT: the conventions' −2, −4, −4 and −6."""
    powers = {"drell_yan": 2, "zz_4l": 4, "higgs_4l": 4, "ww_2l": 4, "higgs_ww_2l": 4, "ttbar_2l": 6}
    for name, power in powers.items():
        assert hypothesis(name).describe()["unit"] == f"GeV^-{power}"
    assert hypothesis("higgs_4l", MH="event").describe()["unit"] == "GeV^0"  # the propagator is taken out


# Events


def hashed(table: np.ndarray, *cuts: int) -> dict[str, Any]:
    hashes = EventHashes("abc")
    for part in np.split(table, cuts):
        hashes.add(part)
    return hashes.to_dict()


def test_hashes_of_events_do_not_depend_on_chunks_types_or_files() -> None:
    table = np.random.default_rng(1).normal(size=(1000, 3))
    whole = hashed(table)
    assert hashed(table, 1, 7, 7, 500) == whole
    assert hashed(table.astype(np.float32)) == whole
    parts = [hashed(part) for part in np.split(table, [300, 301])]
    assert joined(parts) == whole
    minus, plus = table.copy(), table.copy()
    minus[3, 1], plus[3, 1] = -0.0, 0.0
    assert hashed(minus) == hashed(plus)


@pytest.mark.parametrize("row", [0, 499, 999])
def test_hashes_of_events_change_with_any_value_and_with_the_order(row: int) -> None:
    table = np.random.default_rng(1).normal(size=(1000, 3))
    changed, turned = table.copy(), table.copy()
    changed[row, 2] *= 1 + 1e-6
    assert difference(hashed(table), hashed(changed)) == "c has other values"
    turned[[row, 10]] = turned[[10, row]]
    assert difference(hashed(table), hashed(turned)) == "a, b, c have other values"
    missing = table.copy()
    missing[row, 0] = np.nan
    assert difference(hashed(table), hashed(missing)) == "a has other values"
    assert "are not" in str(difference(hashed(table), hashed(table[:-1])))


# Claims


def test_one_output_has_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "w.root"
    with owned(path, "compute drell_yan"):
        says = rf"process {os.getpid()} on .*since .*compute drell_yan.*wait"
        with pytest.raises(UsageError, match=says), owned(path, "another"):
            pass
        with owned(tmp_path / "other.root", "another"):
            pass
    with owned(path, "later"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_killed_process_claims_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w.root"
    code = (
        "import os, sys; from deepmem.data.files import owned; context = owned(sys.argv[1], 'x'); "
        "context.__enter__(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert (tmp_path / ".w.root.lock").exists()
    with owned(path, "after it"):
        pass
    assert not list(tmp_path.iterdir())


# Resumed calls and farms


@pytest.fixture
def events(drell_yan: dict[str, np.ndarray], tmp_path: Path) -> str:
    return str(write_tree(tmp_path / "events.root", {name: drell_yan[name][:40] for name in LEPTONS}))


class Stopping(Reporter):
    """Stops the work after its second part, as Ctrl-C would."""

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Step]:
        parts: list[int] = []

        def step(done: int, note: str = "") -> None:
            parts.append(done)
            if len(parts) == 2:
                raise KeyboardInterrupt

        yield step


def histogram(path: Path, width: float) -> str:
    edges = np.linspace(-6, 6, 25)
    counts = np.exp(-(((edges[1:] + edges[:-1]) / 2 / width) ** 2) / 2)
    with uproot.recreate(path) as file:
        file["response"] = (np.stack([counts, counts]), np.array([0.0, 60.0, 2000.0]), edges)
    return f"{path}:response"


def region(eta_max: float) -> dict[str, Any]:
    inner = {"kind": "gaussian", "r": 0.02, "eta_max": eta_max}
    return {"response": {"lepton": [inner, {"kind": "gaussian", "r": 0.04}]}}


@pytest.mark.parametrize(
    "changed", [{"MZ": 80.0}, {"precision": 0.02}], ids=lambda changed: next(iter(changed))
)
def test_a_call_continued_with_something_else_starts_again(
    changed: dict[str, float], events: str, tmp_path: Path
) -> None:
    """Nothing of the first call is in the second one's file; called again, the first continues.

    Responses and files that were replaced are in `test_faults.py`."""
    first: dict[str, Any] = {"precision": 0.01, "part": 10}
    second = first | changed
    out = tmp_path / "w.root"
    with pytest.raises(KeyboardInterrupt):
        exact.compute_files([events], out, ["drell_yan"], reporter=Stopping(), **first)
    exact.compute_files([events], out, ["drell_yan"], **second)
    exact.compute_files([events], tmp_path / "alone.root", ["drell_yan"], **second)
    one, other = (read_weights(path, "drell_yan").value for path in (out, tmp_path / "alone.root"))
    np.testing.assert_array_equal(one, other)
    assert len(list((tmp_path / ".w.root.parts").glob("*.npz"))) == 2  # what was computed is not lost


def test_a_call_while_another_one_works_on_the_output_stops(events: str, tmp_path: Path) -> None:
    out = tmp_path / "w.root"
    with owned(out, "compute drell_yan with MZ=80"), pytest.raises(UsageError, match=r"MZ=80.*wait"):
        exact.compute_files([events], out, ["drell_yan"])
    assert not out.exists()
    exact.compute_files([events], out, ["drell_yan"])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_parts_of_different_hypotheses_are_not_merged(events: str, tmp_path: Path) -> None:
    def part(name: str, entries: tuple[int, int], **settings: Any) -> str:
        settings |= {"precision": 0.05, "entries": entries}
        exact.compute_files([events], tmp_path / name, ["drell_yan"], **settings)
        return str(tmp_path / name)

    first, same = part("0.root", (0, 20), config=region(0.5)), part("1.root", (20, 40), config=region(0.5))
    other = part("2.root", (20, 40), config=region(1.5))
    with pytest.raises(UsageError, match=r"eta_max 0.5, not 1.5"):
        merging.merge([first, other], tmp_path / "w.root")
    merging.merge([first, same], tmp_path / "w.root")
    whole = part("whole.root", (0, 40), config=region(0.5))
    about = [read_provenance(path)["events"] for path in (tmp_path / "w.root", whole)]
    assert about[0] == about[1]


def test_a_density_changed_under_the_work_stops_it(events: str, tmp_path: Path) -> None:
    grid = other_grid(tmp_path)

    class Replacing(Reporter):
        @contextmanager
        def progress(self, what: str, total: int) -> Iterator[Step]:
            def step(done: int, note: str = "") -> None:
                other_grid(tmp_path, 2.0)

            yield step

    with pytest.raises(DeepMEMError, match="density grid or a model is not what it was"):
        exact.compute_files(
            [events], tmp_path / "w.root", ["drell_yan"], pdf=str(grid), part=10, reporter=Replacing()
        )
    assert not (tmp_path / "w.root").exists()
    assert len(list((tmp_path / ".w.root.parts").glob("*.npz"))) == 1  # of the grid as it was


def test_a_guide_keeps_what_it_depends_on(tmp_path: Path, drell_yan: dict[str, np.ndarray]) -> None:
    """A TH2 that is replaced afterwards changes nothing, and a density with other values is refused."""
    table = np.stack([drell_yan[name][:20] for name in LEPTONS], axis=1).astype(np.float64)
    where, grid = histogram(tmp_path / "th2.root", 1.0), other_grid(tmp_path)
    settings = {"process": "drell_yan", "points": 256, "pdf": str(grid)}
    guide = Guide(settings | {"response": {"lepton": {"kind": "binned", "file": where}}}, LEPTONS)
    before = guide(table)
    kept = json.loads(json.dumps(guide.settings))
    histogram(tmp_path / "th2.root", 2.0)
    np.testing.assert_array_equal(Guide(kept, LEPTONS)(table), before)
    other_grid(tmp_path, 1.1)
    with pytest.raises(UsageError, match="other values of the density"):
        Guide(kept, LEPTONS)


@pytest.mark.parametrize("place", ["folder", "under a file", "long", "nul", "proc"])
def test_an_output_in_a_place_that_cannot_be_gets_a_sentence(place: str, events: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "file").write_text("")
    paths = {
        "folder": str(tmp_path / "here"),
        "under a file": str(tmp_path / "file" / "w.root"),
        "long": str(tmp_path / ("w" * 300)),
        "nul": str(tmp_path / "a\0b" / "w.root"),
        "proc": "/proc/none/w.root",
    }
    with pytest.raises(UsageError, match="cannot write"):
        exact.compute_files([events], paths[place], ["drell_yan"])


def test_weights_of_another_program_in_another_order_are_known_by_what_both_files_have(
    tmp_path: Path,
) -> None:
    pt, number = np.linspace(20, 90, 40), np.arange(40)
    shuffled = np.random.default_rng(1).permutation(40)
    events = {"pt": pt, "event": number, "w": pt}
    cases: list[tuple[dict[str, np.ndarray], str]] = [
        ({"event": number, "w": -pt}, ""),
        ({"event": number[shuffled]}, "both have 'event'"),
        ({"event": number + 1}, "both have 'event'"),
        ({"pt": pt[shuffled]}, "both have 'pt'"),
        ({"pt": pt * 1.01, "njet": number[shuffled]}, ""),  # measured otherwise, and of no number of events
    ]
    first = open_tree(str(write_tree(tmp_path / "events.root", events)), None, ["pt"])
    for i, (branches, says) in enumerate(cases):
        weights = open_tree(
            str(write_tree(tmp_path / f"{i}.root", branches | {"weight": pt})), None, ["weight"]
        )
        found = list(other_order(first, weights))
        assert (says in found[0]) if says else found == []
