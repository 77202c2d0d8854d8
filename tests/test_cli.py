"""The command: flags of 0.0.1, exit statuses, and one clear sentence for whatever is wrong."""

import json
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from conftest import COLUMNS, UNCALIBRATED, configuration, strict_json, write_configuration, write_tree

from deepmem import Surrogate
from deepmem.cli import main as cli
from deepmem.cli.options import switches


class Result:
    def __init__(self, status: int, out: str, err: str):
        self.status, self.out, self.err = status, out, err


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Call the command in this process."""

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["deepmem", *map(str, arguments)])
        monkeypatch.setattr(cli, "prepare_jax", lambda: None)
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capfd.readouterr()
        code = stop.value.code
        return Result(code if isinstance(code, int) else 0, captured.out, captured.err)

    return call


def test_version_and_help_import_nothing_heavy() -> None:
    for flag in ("--version", "--help"):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "deepmem.cli", flag],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0
        imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
        assert not imported & {"jax", "uproot", "awkward", "matplotlib", "pydantic", "numpy"}
    assert "deepmem" in done.stdout


def test_the_interface_of_the_original(
    run: Run, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "input_files").mkdir()
    names = {
        "save_lowest_loss_model_at": "post/tempsave_lowest.pth",
        "load_saved_model_from": "post/tempsave_lowest.pth",
    }
    names |= {"save_scaler_at": "post/scaler.joblib", "load_scaler_from": "post/scaler.joblib"}
    config = configuration(
        tmp_path, small, **names, save_testing_histogram_at="post/histogram.png", run_folder=None
    )
    (tmp_path / "input_files" / "input.json").write_text(json.dumps(config))
    trained = run("--epochs=1", "--mode=train", "--device=None")
    assert trained.status == 0, trained.err
    assert "2,000 events" in trained.err
    tested = run("--mode=test", "--loader=hybrid")
    assert tested.status == 0, tested.err
    assert "MAPE" in tested.out
    assert (tmp_path / "post" / "histogram.png").exists()
    assert (tmp_path / "post" / "scaler.joblib").exists()
    as_json = run("test", "--json")
    assert strict_json(as_json.out)["weights"]["weight_DY"]["events"] == 200


def test_config(run: Run, small: Path, tmp_path: Path) -> None:
    schema = strict_json(run("config", "--schema").out)
    assert schema["properties"]["LearningRate"]["default"] == 0.01
    checked = run("config", "--check", write_configuration(tmp_path, small))
    assert strict_json(checked.out)["columns"] == list(COLUMNS)
    assert strict_json(checked.out)["recognised"]["lep2_Charge"] == "charge of lep2"
    assert run("config").status == 2


def test_what_a_column_is_is_said(run: Run, small: Path, tmp_path: Path) -> None:
    """A name that says too little is a warning, and the key `columns` ends it."""
    names = {name: f"{name}Calibrated" for name in COLUMNS}
    with uproot.open(small / "events.root") as file:
        events = file["events"].arrays(library="np")
    write_tree(tmp_path / "events.root", {names[name]: events[name] for name in COLUMNS})
    changes: dict[str, Any] = {
        "input_paths": [str(tmp_path / "events.root")], "epochs": 1, **UNCALIBRATED,
        "prefixes": [[*names.values()]], "suffixes": [[""]],
    }  # fmt: skip
    checked = run("config", "--check", write_configuration(tmp_path, small, **changes))
    assert strict_json(checked.out)["recognised"]["lep1_PTCalibrated"] == "as it is"
    assert "'lep1_PTCalibrated' looks like pT" in checked.err
    trained = run("train", "--inputfile", tmp_path / "input.json")
    assert trained.status == 0, trained.err
    assert "warning: 'lep2_EtaCalibrated' looks like eta" in trained.err.replace("\n", " ")
    quantities = {"PT": "pt", "Eta": "eta", "Phi": "phi", "Charge": "charge", "MET": "pt"}
    said = {
        names[name]: {"object": name.split("_")[0], "quantity": quantities[name.split("_")[-1]]}
        for name in COLUMNS
    }
    config = write_configuration(tmp_path, small, columns=said, **changes)
    trained = run("train", "--inputfile", config)
    assert trained.status == 0, trained.err
    assert "looks like" not in trained.err
    assert "MET_PhiCalibrated (phi of MET)" in trained.err.replace("\n", " ")
    model = Surrogate.load(tmp_path / "lowest.model")
    assert "log total mass" in model.feature_names
    tested = run("test", "--inputfile", config)
    assert tested.status == 0, tested.err
    forgotten = run("test", "--inputfile", write_configuration(tmp_path, small, **changes))
    assert "disagree on what columns hold" in forgotten.err


def test_predict_to_json(run: Run, trained: tuple[dict[str, Any], Path], small: Path, tmp_path: Path) -> None:
    result = run("predict", small / "events.root", "--model", trained[0]["save_lowest_loss_model_at"],
                 "--output", tmp_path / "w.root", "--keep", "MET,lep1_PT", "--json")  # fmt: skip
    assert result.status == 0, result.err
    assert strict_json(result.out)["events"] == 2000
    with uproot.open(f"{tmp_path / 'w.root'}:deepmem") as tree:
        assert set(tree.keys()) == {"weight_DY", "weight_DY_error", "weight_DY_status", "MET", "lep1_PT"}


# What can be wrong with a configuration or its files: how to make it so, and what must be said.
WRONG: dict[str, tuple[Callable[[Path, Path], dict[str, Any]], str]] = {
    "missing file": (lambda d, s: {"input_paths": [f"{d}/no.root"]}, "no.root does not exist"),
    "not a ROOT file": (lambda d, s: {"input_paths": [_text(d / "a.root", "hello there")]}, "cannot be opened as a ROOT file"),
    "file of no bytes": (lambda d, s: {"input_paths": [_text(d / "a.root", "")]}, "cannot be opened as a ROOT file"),
    "truncated": (lambda d, s: {"input_paths": [_truncated(d, s)]}, "trunc"),
    "missing tree": (lambda d, s: {"input_tree": "evnts"}, "has no tree 'evnts' (did you mean 'events'?); it has events"),
    "missing branch": (lambda d, s: {"prefixes": [["lep1_", "lepp2_"], ["MET"]]}, "has no branch 'lepp2_PT' (did you mean 'lep2_PT'?)"),
    "missing weight": (lambda d, s: {"weights": ["weight_dy"]}, "(did you mean 'weight_DY'?)"),
    "wrong type": (lambda d, s: {"input_paths": [_strings(d)], "prefixes": [["s"]], "suffixes": [[""]]}, "expected numbers"),
    "counts differ": (lambda d, s: {"output_paths": [_short(d)]}, "has 2000 entries and"),
    "files not paired": (lambda d, s: {"input_paths": [str(s / "events.root")] * 2}, "names 2 files and 'output_paths' 1"),
    "empty tree": (lambda d, s: {"input_paths": [_empty(d)]}, "there are no entries"),
    "no output_paths": (lambda d, s: {"output_paths": None}, "'output_paths' is missing"),
    "unknown key": (lambda d, s: {"batchsize": 1}, "unknown key 'batchsize' (did you mean 'batch_size'?)"),
    "wrong type of a key": (lambda d, s: {"shuffle": [1]}, "'shuffle': input should be a valid boolean"),
    "negative value": (lambda d, s: {"batch_size": -5}, "'batch_size': input should be greater than 0, got -5"),
    "no training part": (lambda d, s: {"split": [0, 1, 1]}, "no training part"),
    "split too fine": (lambda d, s: {"split": [1, 5000, 0]}, "leaves none to train on"),
    "weights all invalid": (lambda d, s: {"output_paths": [_invalid(d)]}, "no training event has a valid weight 'weight_DY'"),
    "loader misspelt": (lambda d, s: {"loader": "hybird"}, "'loader': input should be 'hybridMT', 'hybrid' or 'inbuilt'"),
    "output not writable": (lambda d, s: {"save_lowest_loss_model_at": f"{_text(d / 'file', 'x')}/m"}, "is a file, not a folder"),
    "model is a folder": (lambda d, s: {"save_lowest_loss_model_at": str(d)}, "not a regular file"),
}  # fmt: skip


def _text(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def _truncated(folder: Path, small: Path) -> str:
    data = (small / "events.root").read_bytes()
    (folder / "short.root").write_bytes(data[: len(data) // 2])
    return str(folder / "short.root")


def _strings(folder: Path) -> str:
    with uproot.recreate(folder / "s.root") as file:
        file.mktree("events", {"s": "string"})
        file["events"].extend({"s": ["a"] * 2000})
    return str(folder / "s.root")


def _short(folder: Path) -> str:
    return str(write_tree(folder / "short.root", {"weight_DY": np.ones(1999)}, "weights"))


def _invalid(folder: Path) -> str:
    return str(
        write_tree(
            folder / "invalid.root", {"weight_DY": np.resize([np.nan, 0, -1, np.inf], 2000)}, "weights"
        )
    )


def _empty(folder: Path) -> str:
    return str(write_tree(folder / "e.root", {name: np.zeros(0, dtype=np.float32) for name in COLUMNS}))


@pytest.mark.parametrize("case", WRONG)
def test_one_clear_sentence_for_a_wrong_training(case: str, run: Run, small: Path, tmp_path: Path) -> None:
    make, says = WRONG[case]
    result = run("train", "--inputfile", write_configuration(tmp_path, small, **make(tmp_path, small)))
    _is_one_clear_sentence(result, says)
    assert not (tmp_path / "lowest.model").exists()


def _is_one_clear_sentence(result: Result, says: str) -> None:
    last = result.err.strip().splitlines()[-1]
    assert says in last
    assert last.startswith("deepmem: ")
    assert "Traceback" not in result.err
    assert result.out == ""
    assert result.status == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"load_saved_model_from": "nowhere/model"}, "nowhere/model does not exist"),
        (
            {"prefixes": [["lep1_", "lep2_"]], "suffixes": [["PT", "Eta", "Phi", "Charge"]]},
            "disagree on columns",
        ),
        ({"unit": "MeV"}, "disagree on unit"),
        ({"split": [9, 1, 0]}, "leaves no test part"),
        ({"load_scaler_from": "nowhere/scaler"}, "nowhere/scaler does not exist"),
        ({"save_testing_histogram_at": "/dev/null/h.png"}, "not a folder"),
    ],
)
def test_one_clear_sentence_for_a_wrong_test(
    changes: dict[str, Any], says: str, run: Run, trained: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    path = tmp_path / "input.json"
    path.write_text(json.dumps(trained[0] | changes))
    _is_one_clear_sentence(run("test", "--inputfile", path), says)


def test_a_scaler_of_another_model(
    run: Run, trained: tuple[dict[str, Any], Path], small: Path, tmp_path: Path
) -> None:
    other = write_configuration(
        tmp_path, small, save_scaler_at=str(tmp_path / "scaler"), split=[5, 0, 2], epochs=1
    )
    assert run("train", "--inputfile", other).status == 0
    path = tmp_path / "test.json"
    path.write_text(json.dumps(trained[0] | {"load_scaler_from": str(tmp_path / "scaler")}))
    _is_one_clear_sentence(run("test", "--inputfile", path), "does not belong to the model")


def _pickled(path: Path, _: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}))


def _torch(path: Path, _: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + bytes(100))


def _cut(path: Path, model: Path) -> None:
    path.write_bytes(model.read_bytes()[:-100])


def _foreign(path: Path, _: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(3)}, path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_pickled, "train again"),
        (_torch, "train again"),
        (_cut, "truncated"),
        (_foreign, "is not a model of DeepMEM but a foreign file"),
        (lambda path, _: path.write_text("hello"), "is not a model of DeepMEM"),
        (lambda path, _: path.write_bytes(b""), "is not a model of DeepMEM"),
        (lambda path, _: path.mkdir(), "cannot be read"),
    ],
)
def test_a_file_that_is_no_model(
    make: Callable[[Path, Path], None],
    says: str,
    run: Run,
    trained: tuple[dict[str, Any], Path],
    small: Path,
    tmp_path: Path,
) -> None:
    make(tmp_path / "m", Path(trained[0]["save_lowest_loss_model_at"]))
    result = run("predict", small / "events.root", "--model", tmp_path / "m", "--output", tmp_path / "o.root")
    _is_one_clear_sentence(result, says)
    assert not (tmp_path / "o.root").exists()


def test_wrong_calls(run: Run, small: Path, tmp_path: Path) -> None:
    config = write_configuration(tmp_path, small)
    _is_one_clear_sentence(run("--mode=trian", "--inputfile", config), "expected 'train' or 'test'")
    _is_one_clear_sentence(run("train", "--device=7", "--inputfile", config), "there is no such GPU")
    _is_one_clear_sentence(
        run("train", "--inputfile", tmp_path / "no.json"), "does not exist: give its path with --inputfile"
    )
    for arguments in (
        ("train", "--device=x"),
        ("--epochs=ten",),
        ("predict",),
        ("nonsense",),
        ("--nonsense",),
    ):
        result = run(*arguments)
        assert result.status == 2
        assert "Traceback" not in result.err


def test_a_folder_that_is_not_there_is_told(run: Run, tmp_path: Path) -> None:
    """Wherever a file is written: of parts that are not there, too, nothing is made."""
    for command in ("merge", "predict", "export", "compute"):
        done = run(command, tmp_path / "none.root", "--output", tmp_path / "slip" / "out.root")
        assert f"the folder {tmp_path / 'slip'} does not exist: it is made with out.root" in done.err
        assert not (tmp_path / "slip").exists()
    assert "the folder" not in run("merge", tmp_path / "none.root", "--output", tmp_path / "out.root").err


def test_degrees_and_mev_are_noticed(
    run: Run, small: Path, tmp_path: Path, drell_yan: dict[str, np.ndarray]
) -> None:
    strange = {name: drell_yan[name][:2000] for name in COLUMNS}
    strange["lep2_Phi"] = np.degrees(strange["lep2_Phi"])
    strange["lep1_PT"] = strange["lep1_PT"] * 1000
    write_tree(tmp_path / "events.root", strange)
    changes = {"input_paths": [str(tmp_path / "events.root")], "epochs": 1, **UNCALIBRATED}
    result = run("train", "--inputfile", write_configuration(tmp_path, small, **changes))
    assert result.status == 0
    warnings = [line for line in result.err.splitlines() if line.startswith("warning: lep")]
    assert len(warnings) == 2
    assert "lep1_PT has a median of" in warnings[0]
    assert "lep2_Phi reaches" in warnings[1]


def test_a_deprecated_key_still_works_and_warns(run: Run, small: Path, tmp_path: Path) -> None:
    config = write_configuration(tmp_path, small, dir_name_processing=True)
    result = run("train", "--inputfile", config)
    assert "warning: 'dir_name_processing' is deprecated" in result.err
    assert "lep1_/fCoordinates/fCoordinates.PT" in result.err


@contextmanager
def _full_disk() -> Iterator[None]:
    """This process may not write files of more than 50 kB: as good as a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk(
    trained: tuple[dict[str, Any], Path], tmp_path: Path, drell_yan: dict[str, np.ndarray], run: Run
) -> None:
    write_tree(tmp_path / "events.root", {name: drell_yan[name][:16_000] for name in COLUMNS})
    model = trained[0]["save_lowest_loss_model_at"]
    call = ("predict", tmp_path / "events.root", "--model", model, "--output")
    assert run(*call, tmp_path / "out.root").status == 0  # compiled programs are written, too
    (tmp_path / "out.root").unlink()
    with _full_disk():
        done = run(*call, tmp_path / "out.root")
    assert "cannot write" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    assert done.status == 1  # nothing is wrong with the call
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.root"]


def test_an_unexpected_failure_is_one_line_and_debug_shows_where(
    run: Run, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepmem.jobs import training

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(training, "train", broken)
    monkeypatch.setattr(switches, "debug", False)
    plain = run("train", "--inputfile", write_configuration(tmp_path, small))
    assert plain.status == 1
    assert plain.err == "deepmem: ZeroDivisionError: oops (--debug shows where)\n"
    assert "Traceback" in run("train", "--debug").err


def test_interruption(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepmem.jobs import training

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", stopped)
    result = run("train")
    assert result.status == 130
    assert result.err.endswith("deepmem: interrupted; what was finished is kept\n")


def test_generate_and_cross_section(run: Run, tmp_path: Path) -> None:
    cuts = '{"lepton_pt": [20, 10], "lepton_eta": 2.5}'
    made = run(
        "generate",
        "drell_yan",
        "--events",
        200,
        "--seed",
        3,
        "--selection",
        cuts,
        "--output",
        tmp_path / "e.root",
        "--json",
    )
    assert made.status == 0, made.err
    assert strict_json(made.out)["events"] == 200
    computed = run(
        "compute", tmp_path / "e.root", "--process", "drell_yan", "--output", tmp_path / "w.root", "--json"
    )
    assert strict_json(computed.out)["status"]["drell_yan"]["0 good"] == 200
    sigma = run(
        "cross-section", "drell_yan", "--selection", cuts, "--precision", 0.01, "--mass", "60:120", "--json"
    )
    found = strict_json(sigma.out)
    assert abs(found["value"] - 1455.6) < 4 * found["error"] + 0.3
    assert found["visible"] < found["value"]
    done = run("cross-section", "drell_yan", "--precision", 0.05)
    assert "σ_vis" in done.out
    assert "integrating drell_yan, per cent: 100 of 100" in done.err


def test_an_empty_selection_is_no_selection(run: Run, tmp_path: Path) -> None:
    """`--selection '{}'` takes the place of the configuration's cuts, and of a generator's own."""
    (tmp_path / "input.json").write_text(json.dumps({"selection": {"lepton_pt": 30, "mass": [70, 110]}}))
    call = (
        "cross-section",
        "drell_yan",
        "--inputfile",
        tmp_path / "input.json",
        "--precision",
        0.05,
        "--json",
    )
    cut, free = (strict_json(run(*call, *more).out) for more in ((), ("--selection", "{}")))
    assert cut["visible"] < 0.6 * free["visible"]
    assert free["sampled"] == free["mass"] == [60, 120]
    output = tmp_path / "e.root"
    made = run(
        "generate", "drell_yan", "--events", 30, "--selection", "{}", "--output", output,
        "--inputfile", tmp_path / "input.json", "--json",
    )  # fmt: skip
    assert strict_json(made.out)["tried"] == 30


def test_cross_section_says_what_is_not_covered(run: Run) -> None:
    cuts = ("--selection", '{"lepton_pt": [20, 10], "lepton_eta": 2.5}')
    said = run("cross-section", "drell_yan", *cuts, "--mass", "100:140", "--precision", 0.05).out
    assert "True masses outside 100 to 140 GeV would add" in said
    cuts = ("--selection", '{"lepton_pt": 20, "lepton_eta": 2.5, "mass": [70, 110]}')
    assert "would add" not in run("cross-section", "drell_yan", *cuts, "--precision", 0.05).out


def test_generate_top_pairs(run: Run, tmp_path: Path) -> None:
    made = run(
        "generate", "ttbar_2l", "--events", 5, "--set", "MT=170", "--output", tmp_path / "t.root", "--json"
    )
    assert made.status == 0, made.err
    assert strict_json(made.out)["events"] == 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("generate", "drell_yann", "--events", 1, "--output", "x.root"), "did you mean 'drell_yan'"),
        (("generate", "drell_yan", "--events", 0, "--output", "x.root"), "must be 1 or more"),
        (("generate", "drell_yan", "--events", 1, "--output", "x.root", "--selection", '{"lepton_ptt": 3}'), "did you mean 'lepton_pt'"),
        (("generate", "drell_yan", "--events", 1, "--output", "x.root", "--selection", "{"), "not valid JSON"),
        (("cross-section", "drell_yan", "--mass", "60"), "expected LOW:HIGH"),
        (("cross-section", "drell_yan", "--set", "MZ=91", "--set", "MZ=92"), "gives MZ twice"),
        (("cross-section", "drell_yan", "--precision", "0"), "above 0"),
        (("compute", "x.root", "--process", "drell_yan", "--output", "w.root", "--set", "MZ=92:90:1"), "FIRST ≤ LAST"),
        (("merge", "nothing.root", "--output", "w.root"), "does not exist"),
    ],
)  # fmt: skip
def test_one_clear_sentence_for_other_commands(
    arguments: tuple, says: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _is_one_clear_sentence(run(*arguments), says)
    assert list(tmp_path.iterdir()) == []


def test_split_objects_are_read_with_dir_name_processing(run: Run, tmp_path: Path) -> None:
    """The layout of the original's first users: NAME/fCoordinates/fCoordinates.fPt and friends."""
    rng = np.random.default_rng(0)
    columns = {
        f"{name}/fCoordinates/fCoordinates.{q}": rng.uniform(1, 3, 500)
        for name in ("lep1_p4", "lep2_p4") for q in ("fPt", "fEta", "fPhi", "fM")
    }  # fmt: skip
    write_tree(tmp_path / "events.root", columns)
    write_tree(tmp_path / "weights.root", {"weight_DY": rng.lognormal(size=500)}, "weights")
    config = write_configuration(
        tmp_path, tmp_path, dir_name_processing=True, prefixes=[["lep1_p4", "lep2_p4"]], suffixes=[["fPt", "fEta", "fPhi", "fM"]],
        epochs=1, **UNCALIBRATED,
    )  # fmt: skip
    result = run("train", "--inputfile", config)
    assert result.status == 0, result.err
    assert "8 columns" in result.err
    from deepmem import Surrogate

    assert "log total mass" in Surrogate.load(tmp_path / "lowest.model").feature_map.names


def test_options_are_never_dropped(run: Run, small: Path, tmp_path: Path) -> None:
    config = write_configuration(tmp_path, small)
    _is_one_clear_sentence(run("--inputfile", config, "train"), "--inputfile belongs behind the command")
    _is_one_clear_sentence(
        run("--epochs=3", "train", "--inputfile", config), "--epochs belongs behind the command"
    )
    _is_one_clear_sentence(run("train", "--mode=test", "--inputfile", config), "contradict each other")
    _is_one_clear_sentence(run("test", "--mode=train", "--inputfile", config), "contradict each other")
    (tmp_path / "exact.json").write_text(json.dumps({"input_paths": ["events.root"]}))
    assert run("config", "--check", tmp_path / "exact.json").status == 0


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"lep1_pt": "lep1_PT"}, "no column 'lep1_pt' (did you mean 'lep1_PT'?)"),
        ({"lep1_PT": "lep1_Eta"}, "looks like eta"),
        ({"lep1_PT": "pt", "lep2_PT": "pt"}, "both read from 'pt'"),
    ],
)
def test_a_check_of_an_input_file_looks_at_its_column_names(
    run: Run, tmp_path: Path, names: dict[str, str], says: str
) -> None:
    (tmp_path / "input.json").write_text(json.dumps({"column_names": names}))
    result = run("config", "--check", tmp_path / "input.json")
    assert result.status == 2
    assert says in result.err
    (tmp_path / "input.json").write_text(
        json.dumps({"column_names": {"lep1_PT": "mu_pt", "j2_M": "jet_mass"}})
    )
    assert run("config", "--check", tmp_path / "input.json").status == 0


@pytest.mark.parametrize("setting", ["pdf=NNPDF23_lo_as_0130_qed", "precision=0.5", "seed=3", "neutrinos=1"])
def test_an_option_is_no_parameter(run: Run, small: Path, tmp_path: Path, setting: str) -> None:
    words = ("--process", "drell_yan", "--set", setting, "--output", tmp_path / "w.root")
    result = run("compute", small / "events.root", *words)
    assert result.status == 2
    assert f"see the option --{setting.split('=')[0]}" in result.err


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("response", {"lepton": {"kind": "zzz"}}, "no response 'zzz'"),
        ("response", {"leptons": 0.02}, "did you mean 'lepton'"),
        ("response", {"met": {"c": -1}}, "response.met"),
        ("selection", {"lepton_ptt": 20}, "did you mean 'lepton_pt'"),
    ],
)
def test_a_check_of_a_configuration_looks_at_its_physics(
    run: Run, tmp_path: Path, key: str, value: Any, says: str
) -> None:
    (tmp_path / "c.json").write_text(json.dumps({key: value}))
    result = run("config", "--check", tmp_path / "c.json")
    assert result.status == 2
    assert says in result.err


# Commands that are quick, one after the other: on 50 events, a model, and the weights that the first ones write.
JSON = {
    "compute": "compute events.root --process drell_yan --output whole.root",
    "part": "compute events.root --process drell_yan --entries 0:20 --output part1.root",
    "other part": "compute events.root --process drell_yan --entries 20:50 --output part2.root",
    "merge": "merge part1.root part2.root --output merged.root",
    "compare": "compare whole.root merged.root",
    "predict": "predict events.root --model lowest.model --output predicted.root",
    "processes": "processes",
    "cross-section": "cross-section drell_yan --precision 0.1",
    "schema": "config --schema",
    "check": "config --check input.json",
}


def test_every_json_is_strict(
    run: Run,
    trained: tuple[dict[str, Any], Path],
    drell_yan: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree(tmp_path / "events.root", {name: drell_yan[name][:50] for name in COLUMNS})
    (tmp_path / "lowest.model").symlink_to(trained[0]["save_lowest_loss_model_at"])
    (tmp_path / "input.json").write_text('{"selection": {"mass": [70, 1e999]}}')
    found = {}
    for name, line in JSON.items():
        words = line.split()
        result = run(*words, *([] if words[0] == "config" else ["--json"]))
        assert result.status == 0, (name, result.err)
        found[name] = strict_json(result.out)
    assert found["cross-section"]["top_window"] is None
    assert found["check"]["selection"]["mass"] == [70, None]
