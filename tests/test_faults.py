"""No number is silently wrong where work is continued, files are combined, or a model is used.

Each fault was found once, and goes with others of its kind that nobody has met. Commands and names of `deepmem`
alone are used, so that these tests run on the source that had the faults, too (docs/notes/faults.md)."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from commands import run
from conftest import COLUMNS, configuration, write_tree

import deepmem
from deepmem import DeepMEMError, Weight, Weights

EVENTS = 24


@pytest.fixture
def pairs(drell_yan: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: drell_yan[name][: 2 * EVENTS].astype(np.float64) for name in COLUMNS}


@pytest.fixture
def samples(pairs: dict[str, np.ndarray], tmp_path: Path) -> list[str]:
    """Two files of as many events, and none in common."""
    rows = {"one": slice(0, EVENTS), "two": slice(EVENTS, None)}
    return [
        str(write_tree(tmp_path / f"{name}.root", {c: v[at] for c, v in pairs.items()}))
        for name, at in rows.items()
    ]


@pytest.fixture
def compute(tmp_path: Path) -> Callable[..., str]:
    """A file of Drell–Yan weights."""

    def made(events: str, name: str, *options: object) -> str:
        path = tmp_path / name
        done = run("compute", events, "--process", "drell_yan", "--output", path, *options)
        assert done.status == 0, done.said
        return str(path)

    return made


def numbers(path: object, name: str = "drell_yan") -> np.ndarray:
    with uproot.open(path) as file:
        return file["deepmem"][name].array(library="np")


def grid(path: Path, alpha_s: str) -> Path:
    """A density of Pythia's as a file of the user's own."""
    (there,) = (
        file.locate()
        for file in importlib.metadata.files("pythia8mc") or ()
        if file.name == f"NNPDF23_lo_as_{alpha_s}_qed_0000.dat"
    )
    return Path(shutil.copy(str(there), path))


def histogram(path: Path, width: float) -> str:
    """A TH2 of E_rec − E_gen, that wide at all energies."""
    edges = np.linspace(-6, 6, 25)
    counts = np.exp(-(((edges[1:] + edges[:-1]) / 2 / width) ** 2) / 2)
    with uproot.recreate(path) as file:
        file["response"] = (np.stack([counts, counts]), np.array([0.0, 60.0, 2000.0]), edges)
    return f"{path}:response"


def regions(*bounds: float, outer: float = 0.04) -> dict[str, Any]:
    """Leptons are measured to 2 % within each bound of |η|, and to `outer` beyond the last one."""
    inner = [{"kind": "gaussian", "r": 0.02, "eta_max": bound} for bound in bounds]
    return {"lepton": [*inner, {"kind": "gaussian", "r": outer}]}


def config(path: Path, **values: Any) -> Path:
    path.write_text(json.dumps(values))
    return path


# What identifies a weight


@pytest.mark.parametrize("what", ["eta_max", "contents", "edges", "an outer region"])
def test_a_weight_says_which_response_it_is_of(
    what: str, pairs: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Arrays too, which `repr` abbreviates."""

    def binned(name: str, width: float, shift: float = 0.0) -> dict[str, Any]:
        where = histogram(tmp_path / name, width)
        with uproot.open(where.rpartition(":")[0]) as file:
            counts, gen, difference = file["response"].to_numpy()
        with uproot.recreate(tmp_path / name) as file:
            file["response"] = (counts, gen, difference + shift)
        return {"lepton": {"kind": "binned", "file": where}}

    made = {
        "eta_max": lambda: (regions(0.5), regions(1.5)),
        "contents": lambda: (binned("a.root", 1.0), binned("b.root", 2.0)),
        "edges": lambda: (binned("a.root", 1.0), binned("b.root", 1.0, 0.01)),
        "an outer region": lambda: (regions(0.5), regions(0.5, outer=0.05)),
    }[what]()
    none = {name: values[:0] for name, values in pairs.items()}
    texts = []
    for response in made:
        about = deepmem.compute(none, response=response).provenance
        said = about["hypotheses"][0]["responses"]["lepton"]
        texts.append(json.dumps(said, sort_keys=True).replace("a.root", "").replace("b.root", ""))
    assert texts[0] != texts[1]


@pytest.mark.parametrize("what", ["eta_max", "histogram", "grid", "events", "column"])
def test_what_an_interrupted_call_left_is_not_taken_for_another(
    what: str, samples: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another response or column name, or a file of the same name that was replaced."""
    events, out = samples[0], tmp_path / "w.root"
    first: list[object] = []
    second: list[object] = []
    if what == "eta_max":
        first, second = (
            ["--inputfile", config(tmp_path / f"{eta}.json", response=regions(eta))] for eta in (0.5, 1.5)
        )
    elif what == "histogram":
        entry = {"kind": "binned", "file": histogram(tmp_path / "th2.root", 1.0)}
        first = second = ["--inputfile", config(tmp_path / "c.json", response={"lepton": entry})]
    elif what == "grid":
        first = second = ["--pdf", grid(tmp_path / "mine_0000.dat", "0130")]
    elif what == "column":
        names = {"lep1_PT": "lep2_PT", "lep2_PT": "lep1_PT"}
        second = ["--inputfile", config(tmp_path / "c.json", column_names=names)]
    call = ["compute", events, "--process", "drell_yan", "--precision", 0.05, "--output"]

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(uproot, "recreate", interrupt)
        assert run(*call, out, *first).status == 130
    if what == "histogram":
        histogram(tmp_path / "th2.root", 2.0)
    elif what == "grid":
        grid(tmp_path / "mine_0000.dat", "0119")
    elif what == "events":
        shutil.copy(samples[1], events)
    assert run(*call, out, *second).status == 0
    if what == "grid":  # a process that was asked for the name before might have kept its numbers
        second = ["--pdf", grid(tmp_path / "unseen_0000.dat", "0119")]
    assert run(*call, tmp_path / "alone.root", *second).status == 0
    np.testing.assert_array_equal(numbers(out), numbers(tmp_path / "alone.root"))


@pytest.mark.parametrize("what", ["eta_max", "histogram", "grid"])
def test_parts_of_other_hypotheses_make_no_whole(
    what: str, samples: list[str], compute: Callable[..., str], tmp_path: Path
) -> None:
    """Neither merged, nor as weights of the same events."""
    parts = []
    for i, half in enumerate(((0, EVENTS // 2), (EVENTS // 2, EVENTS))):
        options: list[object] = ["--pdf", grid(tmp_path / "mine_0000.dat", ("0130", "0119")[i])]
        if what != "grid":
            entry = {"kind": "binned", "file": histogram(tmp_path / "th2.root", 1.0 + i)}
            response = regions(0.5 + i) if what == "eta_max" else {"lepton": entry}
            options = ["--inputfile", config(tmp_path / "c.json", response=response)]
        entries = ["--entries", f"{half[0]}:{half[1]}", "--precision", 0.05]
        parts.append(compute(samples[0], f"{i}.root", *entries, *options))
    done = run("merge", *parts, "--output", tmp_path / "w.root")
    assert done.status == 2
    assert not (tmp_path / "w.root").exists()


@pytest.mark.parametrize("command", ["likelihood", "discriminate"])
def test_another_response_than_that_of_the_weights_gives_no_cross_section(
    command: str, tmp_path: Path
) -> None:
    path, other = tmp_path / "w.root", config(tmp_path / "other.json", response=regions(1.5))
    masses = [91.0, 91.5, 92.0]
    names = [f"drell_yan_MZ_{mass:g}".replace(".", "p") for mass in masses]
    weight = Weight(np.ones(EVENTS), np.full(EVENTS, 0.01), np.zeros(EVENTS, np.int32))
    entry = _scan(masses, response=regions(0.5))
    Weights(dict.fromkeys(names, weight), {"hypotheses": [entry]}).to_root(path)
    asked: list[object] = ["--parameter", "MZ"]
    if command == "discriminate":
        asked = ["--signal", names[0], "--background", names[2]]
    done = run(command, path, *asked, "--inputfile", other, "--output", tmp_path / "post")
    assert done.status == 2
    assert "was computed with a response that is not the one of the configuration" in done.said


def test_two_calls_do_not_work_on_one_output(
    samples: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second comes while the first writes, and is the same call or another: it stops, the first does not."""
    out = tmp_path / "w.root"
    call = ["compute", samples[0], "--process", "drell_yan", "--precision", 0.05, "--output", out]
    write, others = uproot.recreate, []

    def recreate(*arguments: Any, **options: Any) -> Any:
        if not others:
            others.append(None)
            others[:] = [run(*call, *more) for more in (["--set", "MZ=80"], [])]
        return write(*arguments, **options)

    monkeypatch.setattr(uproot, "recreate", recreate)
    first = run(*call)
    assert first.status == 0, first.said
    for other in others:
        assert other.status == 2
        assert "wait" in other.said
    assert run(*call[:-1], tmp_path / "alone.root").status == 0
    np.testing.assert_array_equal(numbers(out), numbers(tmp_path / "alone.root"))


# Which events


SCAN = ("--set", "MZ=91:92:1", "--precision", 0.05)
NAMES = ("--signal", "drell_yan_MZ_91", "--background", "drell_yan_MZ_92")
GIVEN = ("--sigma-signal", 1, "--sigma-background", 1)


@pytest.mark.parametrize("what", ["files exchanged", "one file twice", "rows in another order"])
def test_learned_weights_are_of_the_events_of_the_exact_ones(
    what: str,
    samples: list[str],
    compute: Callable[..., str],
    pairs: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    exact = [compute(path, f"w{i}.root", *SCAN) for i, path in enumerate(samples)]
    learned = [compute(path, f"l{i}.root", *SCAN, "--seed", 1) for i, path in enumerate(samples)]
    if what == "rows in another order":
        turned = write_tree(tmp_path / "turned.root", {c: v[:EVENTS][::-1] for c, v in pairs.items()})
        learned[0] = compute(str(turned), "turned.w.root", *SCAN)
    call: list[object] = ["discriminate", *exact, *NAMES, *GIVEN, "--output", tmp_path / "post"]
    given = {"files exchanged": learned[::-1], "one file twice": learned[:1] * 2}.get(what, learned)
    done = run(*call, *(word for path in given for word in ("--learned", path)))
    assert done.status == 2
    assert "not of the same events" in done.said


def test_a_background_at_another_energy_is_refused(
    samples: list[str], compute: Callable[..., str], tmp_path: Path
) -> None:
    signal = compute(samples[0], "s.root", *SCAN)
    low = compute(samples[1], "b.root", *SCAN, "--set", "sqrt_s=7000")
    done = run("discriminate", signal, low, *NAMES, *GIVEN, "--output", tmp_path / "post")
    assert done.status == 2
    assert "sqrt_s 13000" in done.said
    done = run("likelihood", signal, "--learned", low, "--parameter", "MZ", "--output", tmp_path / "post")
    assert done.status == 2


@pytest.mark.parametrize("command", ["train", "test"])
def test_weights_are_paired_with_their_own_events(
    command: str, samples: list[str], compute: Callable[..., str], tmp_path: Path
) -> None:
    """`output_paths` in the order of `input_paths`; of a model that is trained, and of one that is tested."""
    weights = [compute(path, f"w{i}.root", "--precision", 0.05) for i, path in enumerate(samples)]
    values = {"input_paths": samples, "output_paths": weights, "weights": ["drell_yan"]}
    values |= {"epochs": 1, "members": 1, "batch_size": 8}
    right = config(tmp_path / "right.json", **configuration(tmp_path, tmp_path, **values))
    wrong = configuration(tmp_path, tmp_path, **values | {"output_paths": weights[::-1]})
    if command == "test":
        assert run("train", "--inputfile", right).status == 0
    done = run(command, "--inputfile", config(tmp_path / "wrong.json", **wrong))
    assert done.status == 2
    assert "order" in done.said


@pytest.mark.parametrize("what", ["another sample", "rows in another order", "one column changed"])
def test_weights_of_other_events_are_not_compared(
    what: str,
    pairs: dict[str, np.ndarray],
    samples: list[str],
    compute: Callable[..., str],
    tmp_path: Path,
) -> None:
    columns = {c: v[:EVENTS].copy() for c, v in pairs.items()}
    if what == "another sample":
        columns = {c: v[EVENTS:] for c, v in pairs.items()}
    elif what == "rows in another order":
        columns = {c: np.roll(v, 1) for c, v in columns.items()}
    else:
        columns["lep2_Eta"][3] += 0.1
    other = str(write_tree(tmp_path / "other.root", columns))
    weights = [compute(path, f"w{i}.root", "--precision", 0.05) for i, path in enumerate((samples[0], other))]
    done = run("compare", *weights, "--output", tmp_path / "post")
    assert done.status == 2
    assert "not of the same events" in done.said


# A model, and what it learned


@pytest.fixture(scope="module")
def learner(
    tmp_path_factory: pytest.TempPathFactory, drell_yan: dict[str, np.ndarray]
) -> Callable[..., Path]:
    """A model whose labels say that they are the weights of another process, or at another mass of the Z."""
    folder = tmp_path_factory.mktemp("learner")
    columns = {name: drell_yan[name][:300] for name in COLUMNS}
    write_tree(folder / "events.root", columns)
    about = deepmem.compute(columns, r_lepton=0).provenance
    (entry,) = about["hypotheses"]

    def made(what: str) -> Path:
        changed = {
            "process": entry | {"process": "zz_4l"},
            "mass": entry | {"parameters": entry["parameters"] | {"MZ": 80.0}},
            "density": entry | {"pdf": "NNPDF31_lo_as_0118"},
        }[what]
        label = Weight(drell_yan["weight_DY"][:300], np.full(300, 1e-12), np.zeros(300, np.int32))
        Weights({"weight_DY": label}, {"hypotheses": [changed]}).to_root(folder / "weights.root")
        values = configuration(folder / what, folder, epochs=1, members=1, batch_size=64)
        deepmem.train(values)
        return Path(values["save_lowest_loss_model_at"])

    return made


@pytest.mark.parametrize("what", ["process", "mass", "density"])
def test_what_a_model_did_not_learn_is_not_mixed_with_what_it_did(
    what: str, learner: Callable[..., Path], samples: list[str], tmp_path: Path
) -> None:
    """In another folder too, where nothing but the model says what it learned."""
    model = shutil.copy(learner(what), tmp_path / "alone.model")
    call: list[object] = ["refine", samples[0], "--process", "drell_yan", "--model", model, "--budget", 5]
    if what == "mass":
        call += ["--set", "MZ=91.188"]
    elif what == "density":
        call += ["--pdf", "NNPDF23_lo_as_0130_qed"]
    done = run(*call, "--output", tmp_path / "w.root")
    assert done.status == 2
    assert not (tmp_path / "w.root").exists()


@pytest.mark.parametrize("wrong", [("--set", "MZ=130"), ("--set", "sqrt_s=2000")])
def test_an_audit_that_finds_wrong_weights_is_a_failure(
    wrong: tuple[str, str], trained: tuple[dict[str, Any], Path], small: Path, tmp_path: Path
) -> None:
    model = trained[0]["save_lowest_loss_model_at"]
    call = ["refine", small / "events.root", "--process", "drell_yan", "--model", model, "--tolerance", 10]
    done = run(*call, "--audit", 40, "--precision", 0.05, *wrong, "--output", tmp_path / "w.root")
    assert done.status == 1
    assert "ARE WRONG" in done.said


def test_a_guide_is_the_one_that_was_learned_with(drell_yan: dict[str, np.ndarray], tmp_path: Path) -> None:
    """A TH2 that is replaced changes no prediction, a density that is replaced refuses the model."""
    where = histogram(tmp_path / "th2.root", 1.0)
    guide = {"process": "drell_yan", "points": 256, "pdf": str(grid(tmp_path / "mine_0000.dat", "0130"))}
    guide |= {"response": {"lepton": {"kind": "binned", "file": where}}}
    few = {name: values[:160] for name, values in drell_yan.items()}
    write_tree(tmp_path / "events.root", {name: few[name] for name in COLUMNS})
    write_tree(tmp_path / "weights.root", {"weight_DY": few["weight_DY"]}, "weights")
    values = configuration(tmp_path, tmp_path, epochs=1, members=1, batch_size=64, guide=guide)
    deepmem.train(values)
    events = {name: drell_yan[name][:20] for name in COLUMNS}
    model = values["save_lowest_loss_model_at"]
    before = deepmem.Surrogate.load(model)(events)["weight_DY"].value
    histogram(tmp_path / "th2.root", 2.0)
    np.testing.assert_array_equal(deepmem.Surrogate.load(model)(events)["weight_DY"].value, before)
    grid(tmp_path / "mine_0000.dat", "0119")
    with pytest.raises(DeepMEMError, match="density"):
        deepmem.Surrogate.load(model)(events)


# Statuses


@pytest.mark.parametrize("status", [1, 4])
def test_statuses_are_said_by_whatever_uses_weights(status: int, tmp_path: Path) -> None:
    """All weights with status 1: an area and a mass that nobody should take for those of good weights."""
    rng = np.random.default_rng(1)
    masses = [90.0, 91.0, 92.0]
    names = [f"drell_yan_MZ_{mass:g}" for mass in masses]
    paths = []
    for label, shift in (("s", 0.3), ("b", -0.3)):
        score = rng.normal(shift, 1, 200)
        each = np.full(200, status, np.int32)
        each[:20] = 0
        weights = {
            name: Weight(v := np.exp(score * (i - 1) - (mass - 91) ** 2), 0.1 * v, each)
            for i, (name, mass) in enumerate(zip(names, masses, strict=True))
        }
        about = {"hypotheses": [_scan(masses, r_lepton=0)]}
        Weights(weights, about).to_root(tmp_path / f"{label}.root")
        paths.append(tmp_path / f"{label}.root")
    asked: list[object] = ["--signal", names[2], "--background", names[0], *GIVEN]
    post = ["--output", tmp_path / "post"]
    commands: list[list[object]] = [
        ["discriminate", *paths, *asked, *post],
        ["likelihood", paths[0], "--parameter", "MZ", "--without-sigma", *post],
        ["compare", *paths, "--truth", names[0], "--predicted", names[2], *post],
    ]
    for call in commands:
        done = run(*call)
        assert done.status == 0, done.said
        assert f"with status {status}" in done.said, call[0]


def _scan(masses: list[float], **settings: Any) -> dict[str, Any]:
    """The entry of a scan in the provenance of weights, whatever their events."""
    columns = {name: np.zeros(0) for name in COLUMNS}
    (entry,) = deepmem.compute(columns, MZ=masses, Q=91.0, **settings).provenance["hypotheses"]
    return dict(entry)
