"""Back to exact: which events are computed, that they are what `compute` gives, and what the audit says."""

import dataclasses
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from conftest import COLUMNS, write_tree

import deepmem
from deepmem import Surrogate, UsageError
from deepmem.data.weights import read_provenance, read_weights
from deepmem.evaluation.report import report
from deepmem.jobs import refinement, staff
from deepmem.jobs.audit import Audit
from deepmem.jobs.environment import cores_here
from deepmem.jobs.staff import Staff
from deepmem.jobs.worker import Bench, key_of
from deepmem.jobs.workers import Answer
from deepmem.physics.weights import engine
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.reporter import Reporter, Step

EVENTS = 300


@pytest.fixture
def events(drell_yan: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Events that were not learned from; the first is a pair that cannot be, the second lacks its MET."""
    chosen = {name: drell_yan[name][5000 : 5000 + EVENTS].copy() for name in COLUMNS}
    chosen["lep1_Charge"][0] = chosen["lep2_Charge"][0]
    chosen["MET"][1] = np.nan
    return chosen


@pytest.fixture
def path(events: dict[str, np.ndarray], tmp_path: Path) -> str:
    return str(write_tree(tmp_path / "events.root", events))


@pytest.fixture
def model(trained: tuple[dict[str, Any], Path]) -> str:
    return str(trained[0]["save_lowest_loss_model_at"])


def _before(model: str, events: dict[str, np.ndarray]) -> tuple[deepmem.Weight, np.ndarray]:
    """What the model alone says, and its relative errors, infinite where flagged."""
    learned = Surrogate.load(model)(events)["weight_DY"]
    spread = np.where(learned.status == 0, learned.error / learned.value, np.inf)
    return learned, spread


def test_entries_anywhere_have_the_weights_of_the_whole_run(events: dict[str, np.ndarray]) -> None:
    tailed = {"lepton": {"kind": "crystal_ball", "r": 0.02, "alpha": 1.5, "n": 3}}  # random points
    alpha = hypothesis("drell_yan", response=tailed)
    pairs = {name: values[10:22] for name, values in events.items()}
    everything = engine.compute(alpha, pairs, precision=0.1)["drell_yan"]
    some = np.array([2, 3, 7, 11])
    found = engine.compute(alpha, {k: v[some] for k, v in pairs.items()}, precision=0.1, entries=some)
    np.testing.assert_array_equal(found["drell_yan"].value, everything.value[some])
    np.testing.assert_array_equal(found["drell_yan"].error, everything.error[some])
    others = engine.compute(alpha, {k: v[some] for k, v in pairs.items()}, precision=0.1)
    assert (others["drell_yan"].value != everything.value[some]).any()


class _OneAfterTheOther:
    """A crew that computes in this process what comes pickled; those of processes are test_workers' matter."""

    piece_seconds = 8.0

    def __init__(self, cores: list[list[int]], modules: Sequence[str]) -> None:
        self.size, self.computed, self._bench = len(cores), 0, Bench()
        self._waiting: list[Answer] = []

    @property
    def free(self) -> int:
        return self.size - len(self._waiting)

    def submit(self, ticket: int, work: Callable[..., Any], arguments: Sequence[Any]) -> None:
        pickled = pickle.dumps(work)
        computed = self._bench.compute(key_of(pickled), pickled, pickle.loads(pickle.dumps(arguments)))
        self.computed += 1
        self._waiting.append(Answer(ticket, computed))

    def answers(self, seconds: float | None = None) -> list[Answer]:
        last, self._waiting = self._waiting[::-1], []
        return last

    def close(self) -> None:
        assert self.computed > 0


def test_a_tolerance_picks_what_is_above_it(
    events: dict[str, np.ndarray], path: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever computes."""
    monkeypatch.setattr(staff, "Workers", _OneAfterTheOther)
    learned, spread = _before(model, events)
    tolerance = float(np.median(spread))
    out = tmp_path / "w.root"
    true = deepmem.compute(events, precision=1e-3)["drell_yan"]
    result = deepmem.refine(
        [path], out, "drell_yan", model, tolerance=tolerance, audit=40, precision=1e-3, keep=["MET"],
        staff=Staff(workers=len(cores_here()[:2])),
    )  # fmt: skip
    written = read_weights(out, "weight_DY")
    assert written.source is not None
    above = ~(spread <= tolerance)
    above[0] = False
    assert (written.source[above] == 1).all()
    assert written.source.sum() == above.sum() + 40 + 1
    assert result["exact"] == {"refined": above.sum(), "audited": 40}
    computed = written.source == 1
    np.testing.assert_array_equal(written.value[computed], true.value[computed])
    np.testing.assert_array_equal(written.error[computed], true.error[computed])
    np.testing.assert_array_equal(written.status[computed], true.status[computed])
    np.testing.assert_array_equal(written.value[~computed], learned.value[~computed])
    assert written.status[:2].tolist() == [3, 0]  # the exact weight needs no MET
    assert result["not_computable"] == 1
    assert result["learned_relative_errors"]["q50"] == np.quantile(spread[1:], 0.5, method="lower")
    about = read_provenance(out)
    assert about["command"] == "refine"
    assert about["tolerance"] == tolerance
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_the_audit_measures_what_is_there(
    events: dict[str, np.ndarray], path: str, model: str, tmp_path: Path
) -> None:
    learned, spread = _before(model, events)
    out = tmp_path / "w.root"
    result = deepmem.refine([path], out, "drell_yan", model, tolerance=1000.0, precision=1e-3, audit=EVENTS)
    audited = np.isfinite(spread)
    audited[0] = False
    true = deepmem.compute(events, precision=1e-3)["drell_yan"]
    ratio = learned.value[audited] / true.value[audited] - 1
    audit = result["audit"]
    assert audit["judged"] == audited.sum()
    assert audit["bias"]["value"] == pytest.approx(ratio.mean(), abs=1e-5)
    assert audit["bias"]["error"] == pytest.approx(ratio.std(ddof=1) / audited.sum() ** 0.5, rel=1e-3)
    total = learned.value[audited].sum() / true.value[audited].sum() - 1
    assert audit["sum_bias"]["value"] == pytest.approx(total)
    z = (true.value - learned.value)[audited] / np.hypot(learned.error, true.error)[audited]
    assert audit["coverage"]["within_1"]["covered"] == np.mean(np.abs(z) <= 1)
    # all of them exact: nothing is estimated
    total = np.log(true.value[1:]).sum()
    assert result["sum_of_logs"]["events"] == EVENTS - 1
    assert abs(result["sum_of_logs"]["value"] - total) < 1e-3
    assert (Path(result["folder"]) / "refine.json").exists()
    # the page says so, and is made again for the file as for its folder
    page = Path(result["report"]["report"])
    (sentences,) = result["report"]["verdict"].values()
    assert [s["about"].split(" of ")[0] for s in sentences] == ["exact and learned", "bias", "errors"]
    assert f"{100 * audit['bias']['value']:+.3f} ±" in sentences[1]["text"]
    assert f"95 % intervals {100 * audit['coverage']['within_1.96']['covered']:.1f} ±" in sentences[2]["text"]
    html = page.read_text()
    assert all(sentence["text"] in html for sentence in sentences)
    assert html.count("<img") == 4
    assert (
        f"deepmem refine {path} --process drell_yan --model {model} --output {out} --tolerance 1000.0" in html
    )
    assert report(out) == report(result["folder"]) == result["report"]


def test_what_is_not_given_is_as_the_model_learned_it(path: str, model: str, tmp_path: Path) -> None:
    """Also of a point of a scan, whose Q is that of the scan."""
    entry = json.loads(json.dumps(hypothesis("drell_yan", MZ=[91.0, 92.0], Q=90.0, r_lepton=0.03).describe()))
    loaded = Surrogate.load(model)
    told = dataclasses.replace(loaded, weights=("drell_yan_MZ_92",), about={"hypotheses": [entry]})
    told.save(tmp_path / "told.model")
    arguments: dict[str, Any] = {"budget": 5, "audit": 0}
    deepmem.refine([path], tmp_path / "w.root", "drell_yan", tmp_path / "told.model", **arguments)
    (made,) = read_provenance(tmp_path / "w.root")["hypotheses"]
    assert (made["parameters"]["MZ"], made["Q"]) == (92.0, 90.0)
    assert made["responses"]["lepton"]["a"] == 0.03
    with pytest.raises(UsageError, match=r"MZ 92.0, not 91.0"):
        deepmem.refine(
            [path], tmp_path / "x.root", "drell_yan", tmp_path / "told.model", MZ=91.0, **arguments
        )


class _Listening(Reporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def warning(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize("known", ["process", "hypothesis"])
def test_another_hypothesis_is_refused(known: str, path: str, model: str, tmp_path: Path) -> None:
    """By what the model itself says of its labels, in whichever folder; forced, the audit finds it."""
    entry = json.loads(json.dumps(hypothesis("drell_yan").describe()))
    about = {"process": {"process": "zz_4l"}, "hypothesis": {"hypotheses": [entry]}}[known]
    told = tmp_path / "told.model"
    dataclasses.replace(Surrogate.load(model), about=about).save(told)
    says = {
        "process": "process zz_4l, not drell_yan",
        "hypothesis": "MZ 91.188, not 95.0",
    }
    arguments: dict[str, Any] = {"tolerance": 10.0, "audit": 100, "MZ": 95.0}
    with pytest.raises(UsageError, match=says[known]):
        deepmem.refine([path], tmp_path / "w.root", "drell_yan", told, **arguments)
    assert not (tmp_path / "w.root").exists()
    listening = _Listening()
    result = deepmem.refine(
        [path], tmp_path / "w.root", "drell_yan", told, force=True, reporter=listening, **arguments
    )
    assert says[known] in listening.said[0]
    assert says[known] in result["forced"]
    assert result["forced"] in result["warnings"][-1]
    assert result["forced"] in read_provenance(tmp_path / "w.root")["forced"]
    assert "mixed, by --force" in result["verdict"][0]["text"]


def test_a_failed_audit_flags_what_stays_learned(path: str, model: str, tmp_path: Path) -> None:
    """In words, in the statuses, and in the exit status of the command."""
    out = tmp_path / "w.root"
    arguments: dict[str, Any] = {"tolerance": 10.0, "audit": 100, "MZ": 130.0}
    result = deepmem.refine([path], out, "drell_yan", model, **arguments)
    assert "ARE WRONG" in result["failed"]
    assert result["warnings"] == [result["failed"]]
    written = read_weights(out, "weight_DY")
    assert written.source is not None
    learned = written.source == 0
    assert learned.any()
    assert (written.status[learned] == 4).all()
    words = ["refine", path, "--process", "drell_yan", "--model", model, "--output", str(out), "--json"]
    words += ["--tolerance", "10", "--audit", "100", "--set", "MZ=130"]
    done = run(*words)
    assert done.status == 1
    assert json.loads(done.out)["failed"] == result["failed"]
    # the warning, and why the command fails
    assert done.said.removeprefix(done.out).count("ARE WRONG") == 2


def test_single_events_that_are_far_off_hide_no_failure() -> None:
    """A bias of a thousand with an error of a thousand: the median says it."""
    rng = np.random.default_rng(5)
    truth, ratio = np.ones(200), np.exp(rng.normal(0.5, 0.3, 200))
    ratio[0] = 1e6

    def weight(value: np.ndarray) -> deepmem.Weight:
        return deepmem.Weight(value, 0.3 * value, np.zeros(200, np.int32))

    audit = Audit.of(weight(truth), weight(ratio))
    assert audit.figures is not None
    assert abs(audit.figures.bias.value) < 2 * audit.figures.bias.error
    assert audit.failure is not None
    honest = Audit.of(weight(truth), weight(np.exp(rng.normal(0.0, 0.3, 200))))
    assert honest.failure is None


def test_a_budget_takes_the_worst(
    events: dict[str, np.ndarray], path: str, model: str, tmp_path: Path
) -> None:
    _, spread = _before(model, events)
    result = deepmem.refine([path], tmp_path / "w.root", "drell_yan", model, budget=50, audit=0)
    written = read_weights(tmp_path / "w.root", "weight_DY")
    assert written.source is not None
    rows = np.arange(1, EVENTS)
    worst = rows[np.argsort(-spread[1:], kind="stable")[:50]]
    np.testing.assert_array_equal(np.flatnonzero(written.source), np.sort([0, *worst]))
    assert result["audit"]["bias"] is None
    (sentences,) = result["report"]["verdict"].values()
    assert [sentence["judgement"] for sentence in sentences] == ["good", "care", "care"]
    assert "Not measured" in sentences[1]["text"]
    assert result["work"]["fewer_events"] == (EVENTS - 1) / 50


def test_a_time_is_spent_in_whole_batches(path: str, model: str, tmp_path: Path) -> None:
    result = deepmem.refine([path], tmp_path / "w.root", "drell_yan", model, budget="0.001s", audit=5)
    assert result["exact"] == {"refined": 256, "audited": 5}


class _Killed(Reporter):
    """Stops a stage of the work after some steps, or at its beginning."""

    def __init__(self, stage: str, after: int = 0):
        self._stage, self._left = stage, after

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Step]:
        def step(done: int, note: str = "") -> None:
            if what == self._stage:
                self._left -= 1
                if self._left == 0:
                    raise KeyboardInterrupt

        if what == self._stage and self._left == 0:
            raise KeyboardInterrupt
        yield step


class _Unchanged(Reporter):
    """Sees at the beginning of a stage that parts are as they were."""

    def __init__(self, stage: str, parts: list[Path]):
        self._stage, self._parts = stage, {part: part.stat().st_mtime_ns for part in parts}
        self.seen = False

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Step]:
        if what == self._stage:
            self.seen = True
            assert {part: part.stat().st_mtime_ns for part in self._parts} == self._parts
        yield lambda done, note="": None


def _parts(output: Path) -> list[Path]:
    return sorted(output.with_name(f".{output.name}.parts").glob("*.npz"))


def test_interrupted_and_called_again_gives_the_same(path: str, model: str, tmp_path: Path) -> None:
    settings = refinement.Settings(budget=200, audit=20, part=50)
    whole, out = tmp_path / "whole.root", tmp_path / "w.root"
    refinement.refine([path], whole, "drell_yan", model, settings)
    nothing, some = _Killed("computing exactly"), _Killed("computing exactly", 2)
    with pytest.raises(KeyboardInterrupt, match="no exact weight was finished"):
        refinement.refine([path], out, "drell_yan", model, settings, reporter=nothing)
    with pytest.raises(KeyboardInterrupt, match="100 exact weights are kept, the same command continues"):
        refinement.refine([path], out, "drell_yan", model, settings, reporter=some)
    assert not out.exists()
    parts = _parts(out)
    assert len(parts) == 2
    unchanged = _Unchanged("auditing", parts)
    refinement.refine([path], out, "drell_yan", model, settings, reporter=unchanged)
    assert unchanged.seen
    one, other = (read_weights(file, "weight_DY") for file in (whole, out))
    for key in ("value", "error", "status", "source"):
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key))
    assert not (tmp_path / ".w.root.parts").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tolerance": None}, "either --tolerance"),
        ({"budget": 5}, "not both"),
        ({"tolerance": -0.1}, "above 0"),
        ({"tolerance": None, "budget": "soon"}, "600s"),
        ({"tolerance": None, "budget": "0"}, "above 0"),
        ({"precision": 0.2}, "worse than --tolerance"),
        ({"audit": -1}, "--audit -1"),
        ({"weight": "weight_DZ"}, "weight_DY"),
        ({"process": "drel_yan"}, "drell_yan"),
        ({"process": "zz_4l"}, "lep1_PDG"),
        ({"MZ": [90.0, 91.0]}, "one value"),
        ({"model": "no.model"}, "does not exist"),
        ({"config": {"unit": "MeV"}}, "one unit"),
        ({"events": []}, "no events"),
        ({"device": 99}, "no such GPU"),
        ({"compare_random": True}, "belongs to --learn"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(
    path: str, model: str, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    call: dict[str, Any] = {"events": [path], "process": "drell_yan", "model": model, "tolerance": 0.1}
    with pytest.raises(UsageError, match=message):
        deepmem.refine(output=tmp_path / "w.root", **(call | changes))
    with pytest.raises(UsageError, match="one of the input files"):
        deepmem.refine([path], path, "drell_yan", model, tolerance=0.1)


def test_an_interrupted_training_computes_nothing_again(
    path: str, model: str, trained: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    out = tmp_path / "w.root"
    call: dict[str, Any] = {
        "events": [path], "output": out, "process": "drell_yan", "model": model,
        "config": trained[0] | {"epochs": 1, "members": 2, "split": [0.8, 0, 0.2]}, "budget": 100, "audit": 20,
        "learn": True, "output_model": tmp_path / "new.model",
    }  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        deepmem.refine(**call, reporter=_Killed("training"))
    parts = _parts(out)
    assert len(parts) == 2  # the worst, and the audited
    unchanged = _Unchanged("training", parts)
    assert deepmem.refine(**call, reporter=unchanged)["learn"]["events"] == 90
    assert unchanged.seen
    assert not (tmp_path / ".w.root.parts").exists()


def test_what_was_computed_is_learned(
    path: str, model: str, trained: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    # without a validation part there is no calibration, which takes longer than four such trainings
    training = trained[0] | {"epochs": 1, "members": 2, "split": [0.8, 0, 0.2]}
    new = tmp_path / "new.model"
    call: dict[str, Any] = {"events": [path], "output": tmp_path / "w.root", "process": "drell_yan"}
    result = deepmem.refine(
        **call,
        model=model,
        config=training,
        budget=100,
        audit=20,
        learn=True,
        compare_random=True,
        output_model=new,
    )
    learned = result["learn"]
    assert learned["events"] == 90
    assert learned["refined_held_out"]["after"]["events"] == 10
    assert learned["audited"]["before"]["events"] == 20
    assert learned["audited"]["before"]["q68"] != learned["audited"]["after"]["q68"]
    # what is judged was learned from by neither choice, and both have spent the same
    with np.load(Path(result["folder"]) / "entries.npz") as arrays:
        entries = {key: set(arrays[key].tolist()) for key in arrays}
    assert not (entries["held_out"] | entries["audited"]) & entries["random"]
    assert entries["held_out"] < entries["refined"]
    assert len(entries["random"]) == 90
    points = [(point["choice"], point["exact"]) for point in learned["curve"]]
    assert points == [(choice, n) for choice in ("worst first", "random") for n in (0, 45, 90)]
    assert learned["curve"][0]["all"] == learned["curve"][3]["all"]
    assert learned["curve"][2]["audited"]["q68"] != learned["curve"][5]["audited"]["q68"]
    source = read_weights(tmp_path / "w.root", "weight_DY").source
    assert source is not None
    assert set(np.flatnonzero(source)) == set().union(*entries.values()) | {0}
    page = Path(result["report"]["report"]).read_text()
    assert "What 90 exact weights are worth" in page
    assert page.count("<img") == 5
    rows = Surrogate.load(new).about["training_rows"]
    assert rows["rows"] == 1600 + 90
    with pytest.raises(UsageError, match="one of the input files"):
        deepmem.refine(**call, model=model, config=training, budget=100, learn=True, output_model=model)
    with pytest.raises(UsageError, match="--inputfile"):
        deepmem.refine(**call, model=model, budget=100, learn=True)
    other = training | {"prefixes": [["lep1_", "lep2_"]], "suffixes": [["PT", "Eta", "Phi", "Charge"]]}
    with pytest.raises(UsageError, match="same columns"):
        deepmem.refine(**call, model=model, config=other, budget=100, learn=True)
