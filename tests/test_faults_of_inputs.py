"""No number is silently wrong where an input makes no sense, or a cross-section misses what was asked for.

As in test_faults, commands and names of `deepmem` alone are used."""

from __future__ import annotations

import json
import pickle
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from conftest import write_tree

import deepmem
from deepmem import DeepMEMError, UsageError

PAIR = {
    "lep1_PT": 40.0, "lep1_Eta": 0.5, "lep1_Phi": 0.1, "lep1_Charge": -1.0,
    "lep2_PT": 42.0, "lep2_Eta": -0.3, "lep2_Phi": 3.0, "lep2_Charge": 1.0,
}  # fmt: skip
TOPS = PAIR | {
    "lep1_PDG": 11, "lep2_PDG": -13,
    "j1_PT": 60.0, "j1_Eta": 0.3, "j1_Phi": 1.5, "j1_M": 7.0,
    "j2_PT": 55.0, "j2_Eta": -0.9, "j2_Phi": -1.2, "j2_M": 6.0, "MET": 30.0, "MET_Phi": 2.0,
}  # fmt: skip
FOUR = {
    f"lep{i}_{n}": v for i in range(1, 5) for n, v in (("PT", 20.0 + i), ("Eta", 0.2 * i), ("Phi", i - 2.0))
}
FOUR |= {f"lep{i}_Charge": (-1.0) ** i for i in range(1, 5)}
FOUR |= {"lep1_PDG": 11, "lep2_PDG": -11, "lep3_PDG": 13, "lep4_PDG": -13}
PAIRS = {"lepton_pt": [20, 10], "lepton_eta": 2.5}


def of(event: dict[str, Any], **change: Any) -> dict[str, np.ndarray]:
    return {name: np.array([value]) for name, value in (event | change).items()}


# Cross-sections


def sigma(process: str, *options: object, selection: Any = None) -> dict[str, Any]:
    words = [] if selection is None else ["--selection", json.dumps(selection)]
    return _said("cross-section", process, *words, *options, "--precision", 0.1, "--json")


@lru_cache
def _said(*words: object) -> dict[str, Any]:
    done = run(*words)
    assert done.status == 0, done.said
    found: dict[str, Any] = json.loads(done.out)
    return found


@pytest.mark.parametrize(
    ("process", "settings", "around"),
    [
        ("drell_yan", ["MZ=150"], "60:300"),
        ("drell_yan", ["MZ=80", "Q=91"], "40:160"),
    ],
)
def test_a_cross_section_within_cuts_has_the_masses_that_they_let_in(
    process: str, settings: list[str], around: str
) -> None:
    """Without a window of the mass: at least what true masses about the resonance give."""
    words = [word for text in settings for word in ("--set", text)]
    whole = sigma(process, *words, selection=PAIRS)
    part = sigma(process, *words, "--mass", around, selection=PAIRS)
    assert whole["visible"] > part["visible"] - 4 * np.hypot(whole["visible_error"], part["visible_error"])


@pytest.mark.parametrize(
    ("process", "setting", "expected"),
    [("higgs_4l", "MH=150", 1e-2), ("drell_yan", "MZ=150", 0.9)],
)
def test_a_cross_section_is_of_the_resonance_at_its_mass(process: str, setting: str, expected: float) -> None:
    """Not of masses about another one: within a factor of the default, not ten thousand times less."""
    usual, moved = sigma(process), sigma(process, "--set", setting)
    assert moved["value"] > expected * 0.1 * usual["value"]
    peak = float(setting.partition("=")[2])
    assert moved["mass"][0] < peak < moved["mass"][1]


def test_no_cuts_on_the_command_line_are_no_cuts(tmp_path: Path) -> None:
    configured = tmp_path / "c.json"
    configured.write_text(json.dumps({"selection": {"lepton_pt": 30}}))
    found = sigma("drell_yan", "--inputfile", configured, selection={})
    assert found["visible"] == pytest.approx(sigma("drell_yan")["visible"], rel=1e-12)


@pytest.mark.parametrize(
    ("process", "setting"),
    [
        ("drell_yan", "flavours=1"),
        ("drell_yan", "flavours=3"),
        ("zz_4l", "flavours=2"),
        ("drell_yan", "MH=150"),
        ("drell_yan", "MT=170"),
        ("zz_4l", "WH=1"),
        ("ttbar_2l", "WZ=1"),
    ],
)
def test_what_has_no_effect_on_a_cross_section_is_refused(process: str, setting: str) -> None:
    done = run("cross-section", process, "--set", setting, "--precision", 0.5)
    assert done.status == 2
    assert setting.partition("=")[0] in done.said


# Columns


@pytest.mark.parametrize(
    ("process", "event", "change"),
    [
        ("ttbar_2l", TOPS, {"j1_M": -999.0}),
        ("ttbar_2l", TOPS, {"j2_M": -3.0}),
        ("ttbar_2l", TOPS, {"j2_M": 999.0}),
        ("drell_yan", PAIR, {"lep2_Phi": -999.0}),
        ("drell_yan", PAIR, {"lep1_Phi": 99.0}),
        ("drell_yan", PAIR, {"lep1_Eta": -999.0}),
        ("drell_yan", PAIR, {"lep1_Charge": -3.0}),
        ("drell_yan", PAIR, {"lep1_Charge": -0.5, "lep2_Charge": 0.5}),
        ("zz_4l", FOUR, {"lep1_Charge": 1.0, "lep2_Charge": -1.0}),
        ("zz_4l", FOUR, {"lep3_PDG": -13}),
    ],
)
def test_an_event_that_cannot_be_has_no_weight(
    process: str, event: dict[str, Any], change: dict[str, Any]
) -> None:
    """In Python, where no file was looked at before. (A jet of 999 GeV and 55 GeV of pT is none.)"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights = deepmem.compute(of(event, **change), process, precision=0.5, calls=1024)
    assert weights[process].status.tolist() == [3]
    assert np.isnan(weights[process].value).all()


@pytest.mark.parametrize("column", ["lep1_Phi", "lep2_Phi"])
@pytest.mark.parametrize("where", ["a file", "Python"])
def test_degrees_are_refused_anywhere(column: str, where: str, tmp_path: Path) -> None:
    """Behind the first 5,000 events of a file, which are in radians; and in arrays."""
    few = 5000 if where == "a file" else 0
    columns = {name: np.full(few + 200, value) for name, value in PAIR.items()}
    columns[column][few // 5 :] = np.random.default_rng(1).uniform(-180, 180, few - few // 5 + 200)
    if where == "Python":
        with pytest.raises(UsageError, match="degrees"):
            deepmem.compute(columns, r_lepton=0)
        return
    columns[column][:few] = 0.3
    columns = {name: np.tile(values[few:], 10) if name else values for name, values in columns.items()}
    columns = {name: np.concatenate([np.full(few, PAIR[name]), values]) for name, values in columns.items()}
    path = write_tree(tmp_path / "events.root", columns)
    out = tmp_path / "w.root"
    done = run("compute", path, "--process", "drell_yan", "--set", "r_lepton=0", "--output", out)
    assert done.status == 2
    assert "degrees" in done.said


@pytest.mark.parametrize(
    "names",
    [
        {"lep1_pt": "lep1_PT"},
        {"lepton1": "lep1_PT"},
        {"lep1_PT": "lep1_Eta"},
        {"lep1_Phi": "lep2_Eta"},
        {"lep1_Charge": "lep1_PT"},
    ],
)
def test_column_names_are_of_columns_and_of_their_kind(names: dict[str, str], tmp_path: Path) -> None:
    path = write_tree(tmp_path / "events.root", of(PAIR))
    configured = tmp_path / "c.json"
    configured.write_text(json.dumps({"column_names": names}))
    words = ["--inputfile", configured, "--set", "r_lepton=0", "--output", tmp_path / "w.root"]
    done = run("compute", path, "--process", "drell_yan", *words)
    assert done.status == 2
    assert "column_names" in done.said


@pytest.mark.parametrize("column", ["lep1_PT", "lep2_Phi", "lep2_Charge"])
def test_what_is_masked_is_not_there(column: str) -> None:
    events: dict[str, Any] = {name: np.array([value, value]) for name, value in PAIR.items()}
    events[column] = np.ma.array(events[column], mask=[False, True])
    assert deepmem.compute(events, r_lepton=0)["drell_yan"].status.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("charges", "says"),
    [
        ([True, False], "a charge is neither +1 nor −1"),
        ([1, 1], "the charges of the leptons are not those of the process"),
        ([-1, np.nan], "a value is missing, NaN or infinite"),
    ],
)
def test_what_is_wrong_with_charges_is_said(charges: list[Any], says: str, tmp_path: Path) -> None:
    """Also where a file has them as bool: true is no charge."""
    columns = {name: np.repeat(value, 2) for name, value in PAIR.items()}
    columns |= {f"lep{i + 1}_Charge": np.array([charge] * 2) for i, charge in enumerate(charges)}
    path = write_tree(tmp_path / "events.root", columns)
    done = run("compute", path, "--process", "drell_yan", "--output", tmp_path / "w.root")
    assert done.status == 0
    assert f"2: {says}" in done.said


# Hypotheses


@pytest.mark.parametrize(
    ("process", "settings"),
    [
        ("drell_yan", {"WZ": 0.0}),
        ("higgs_4l", {"WH": 0.0}),
        ("ttbar_2l", {"WT": [1.4, 0.0]}),
        ("higgs_ww_2l", {"MH": "event"}),
        ("drell_yan", {"MZ": [91.0, 91.0000001]}),
        ("zz_4l", {"WZ": 0.03}),
        ("higgs_4l", {"WZ": 0.001}),
        ("ww_2l", {"WZ": 0.03}),
    ],
)
def test_a_hypothesis_without_a_right_weight_is_refused(process: str, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        deepmem.compute(of(TOPS | FOUR), process, precision=0.5, calls=1024, **settings)


@pytest.mark.parametrize("scale", [0.5, 1e7])
def test_a_scale_outside_the_density_is_said(scale: float, tmp_path: Path) -> None:
    """Below its grid, and above."""
    path = write_tree(tmp_path / "events.root", of(PAIR))
    words = ["--set", f"Q={scale}", "--set", "r_lepton=0", "--output", tmp_path / "w.root"]
    done = run("compute", path, "--process", "drell_yan", *words)
    assert done.status == 0
    assert "outside the grid" in done.said


@pytest.mark.parametrize("mass", [8000.0, 11000.0, 12000.0])
def test_a_weight_of_negative_densities_is_flagged(mass: float) -> None:
    """A grid of next-to-leading order is negative at large x: the weight is as it is, and not good."""
    event = PAIR | {"lep1_PT": mass / 2, "lep2_PT": mass / 2, "lep1_Eta": 0.0, "lep2_Eta": 0.0}
    event |= {"lep1_Phi": 0.0, "lep2_Phi": np.pi}
    weight = deepmem.compute(of(event), r_lepton=0, pdf="NNPDF23_nlo_as_0119_qed")["drell_yan"]
    assert weight.value[0] != 0
    assert weight.status.tolist() == [1]


# Matrix elements


def points(count: int = 4) -> np.ndarray:
    """q q̄ → ℓ⁻ℓ⁺ at rest, massless legs."""
    cosine = np.linspace(-0.8, 0.8, count)
    sine, zero, one = np.sqrt(1 - cosine**2), np.zeros(count), np.ones(count)
    legs = [(one, zero, zero, one), (one, zero, zero, -one)]
    legs += [(one, k * sine, zero, k * cosine) for k in (1, -1)]
    return 45 * np.stack([np.stack(leg, axis=-1) for leg in legs], axis=1)


@pytest.mark.parametrize("what", ["as they should be", "off shell", "not conserved", "a parton off the beam"])
def test_momenta_that_are_none_are_said(what: str) -> None:
    momenta = points()
    if what == "off shell":
        momenta[1, 2:, 0] *= 1 + 1e-4
        momenta[1, :2, 0] *= 1 + 1e-4
        momenta[1, :2, 3] *= 1 + 1e-4
    elif what == "not conserved":
        momenta[:, 2:] *= 1 + 1e-4
    elif what == "a parton off the beam":
        momenta[2, :2, 1] = 1.0, -1.0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        deepmem.matrix_element("drell_yan", (2, -2), momenta)
    assert bool(caught) == (what != "as they should be")


# What is said, and what stops


@pytest.mark.parametrize(
    ("process", "power"), [("drell_yan", 2), ("zz_4l", 4), ("ww_2l", 4), ("higgs_ww_2l", 4), ("ttbar_2l", 6)]
)
def test_units_count_what_is_measured(process: str, power: int) -> None:
    """Not what escapes: status 3 comes without an integral, and says the unit as well."""
    event = of(TOPS | FOUR, lep1_PT=-1.0)
    said = deepmem.compute(event, process).provenance["hypotheses"][0]
    assert said["unit"] == f"GeV^-{power}"


def test_cross_sections_lose_what_the_support_of_a_response_loses(tmp_path: Path) -> None:
    """A weight is 0 where a response is cut: with the same points σ_vis is less by more than two per cent."""
    entry = {"kind": "gaussian", "r": 0.2, "reach": 2.0}
    configured = tmp_path / "c.json"
    configured.write_text(json.dumps({"response": {"lepton": entry}}))
    cut = sigma("drell_yan", "--inputfile", configured)
    assert cut["visible"] / cut["value"] < 0.98 * sigma("drell_yan")["visible"] / sigma("drell_yan")["value"]


@pytest.mark.parametrize("text", ["CT14qed_proton", "1.0e+000.0e+00", "1.0 x 1.0"])
def test_a_density_that_cannot_be_read_says_what_it_holds(text: str, tmp_path: Path) -> None:
    """Numbers that were written without a space between them, as in Pythia's file of CT14qed."""
    density, says = text, r"0\.00000000e\+000\.00000000e\+00' in a subgrid is no number"
    if text != "CT14qed_proton":
        density = str(tmp_path / "mine_0000.dat")
        Path(density).write_text(f"PdfType: central\nFormat: lhagrid1\n---\n0.1 1\n1 10\n21 1\n{text}\n---\n")
        says = "no number"
    with pytest.raises(DeepMEMError, match=says):
        deepmem.compute(of(PAIR), r_lepton=0, pdf=density)


@pytest.mark.parametrize("place", ["w" * 300, "a\0b/w.root", "/proc/none/w.root", "events.root/w.root", "."])
@pytest.mark.parametrize("command", ["compute", "merge"])
def test_an_output_that_cannot_be_written_gets_a_sentence(command: str, place: str, tmp_path: Path) -> None:
    events = write_tree(tmp_path / "events.root", of(PAIR))
    out = tmp_path / place
    words = [events, "--process", "drell_yan", "--set", "r_lepton=0"]
    if command == "merge":
        run("compute", *words, "--output", tmp_path / "part.root")
        words = [tmp_path / "part.root"]
    done = run(command, *words, "--output", out)
    assert done.status in (1, 2)
    assert "Error" not in done.said, done.said


@pytest.mark.parametrize("process", ["drell_yan", "ttbar_2l"])
def test_a_process_that_went_through_pickle_is_itself(process: str) -> None:
    """Caches are keyed on it: another one would be compiled anew, without end."""
    from deepmem.physics.processes import find_process

    one = find_process(process)
    other = pickle.loads(pickle.dumps(one))
    assert one == other
    assert hash(one) == hash(other)
