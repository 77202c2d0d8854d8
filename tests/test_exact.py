"""Exact weights of files: streamed, resumed, merged, and one clear sentence for whatever is wrong."""

import json
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from commands import as_in_a_terminal, assert_said_to_be_kept, run
from conftest import COLUMNS, EVENTS, WEIGHTS, stored, write_tree

import deepmem
from deepmem import UsageError
from deepmem.data.weights import read_provenance, read_weights, weight_names
from deepmem.errors import Interrupted
from deepmem.jobs import exact, merging
from deepmem.jobs.parts import Pace, Parts
from deepmem.jobs.spreading import Computation, Hands
from deepmem.jobs.tasks import Task, hypotheses
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.reporter import Reporter, Step

LEPTONS = COLUMNS[:8]


@pytest.fixture
def events(drell_yan: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: drell_yan[name][:300].astype(np.float64) for name in LEPTONS}


class _Telling(Reporter):
    """Keeps what a person is told; stops the work after some steps, as Ctrl-C would."""

    def __init__(self, steps: int | None = None) -> None:
        self.messages: list[str] = []
        self.warnings: list[str] = []
        self._left = steps

    def message(self, text: str) -> None:
        self.messages.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Step]:
        def step(done: int, note: str = "") -> None:
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    raise KeyboardInterrupt

        if self._left == 0:
            raise KeyboardInterrupt
        yield step


def _same(a: deepmem.Weight, b: deepmem.Weight) -> None:
    np.testing.assert_array_equal(a.value, b.value)
    np.testing.assert_array_equal(a.error, b.error)
    np.testing.assert_array_equal(a.status, b.status)


def test_files_and_arrays_give_the_reference_weights(
    events: dict[str, np.ndarray], drell_yan: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = write_tree(tmp_path / "events.root", events)
    written = exact.compute_files(
        [str(path)], tmp_path / "w.root", ["drell_yan"], precision=1e-4, keep=["lep1_PT"], part=100
    )
    assert written.events == 300
    assert written.tally.statuses["drell_yan"].tolist() == [300, 0, 0, 0, 0, 0]
    written = read_weights(tmp_path / "w.root", "drell_yan")
    np.testing.assert_allclose(written.value, drell_yan["weight_DY"][:300], rtol=1e-4)
    _same(written, deepmem.compute(events, precision=1e-4)["drell_yan"])
    about = read_provenance(tmp_path / "w.root")
    assert about["entries"] == [0, 300]
    assert about["hypotheses"][0]["parameters"]["MZ"] == 91.188
    assert about["hypotheses"][0]["unit"] == "GeV^-2"
    with uproot.open(f"{tmp_path / 'w.root'}:deepmem") as tree:
        np.testing.assert_array_equal(tree["lep1_PT"].array(library="np"), events["lep1_PT"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["events.root", "w.root"]


def test_bad_events_are_statuses_and_touch_no_other(events: dict[str, np.ndarray]) -> None:
    bad = {name: values.copy() for name, values in events.items()}
    bad["lep1_PT"][3] = np.nan
    bad["lep1_PT"][5] = -20
    bad["lep2_Charge"][7] = bad["lep1_Charge"][7]
    bad["lep2_Eta"][9] = np.inf
    bad["lep1_PT"][11] = 1e5  # more than the beams have
    before, after = deepmem.compute(events)["drell_yan"], deepmem.compute(bad)["drell_yan"]
    assert after.status[[3, 5, 7, 9]].tolist() == [3, 3, 3, 3]
    assert after.status[11] == 2
    assert after.value[11] == 0
    assert np.isnan(after.value[[3, 5, 7, 9]]).all()
    others = np.setdiff1d(np.arange(300), [3, 5, 7, 9, 11])
    _same(after[others], before[others])


def test_killed_and_called_again_gives_the_same_bits(
    drell_yan: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What kill −9 leaves is what is there when the first part is kept: only what is missing is computed then."""
    path = write_tree(tmp_path / "events.root", {name: drell_yan[name][:700] for name in LEPTONS})
    (whole := tmp_path / "whole").mkdir()
    save, killed = Parts.save, tmp_path / "killed"

    def saved(*arguments: Any) -> None:
        save(*arguments)
        if not killed.exists():
            shutil.copytree(whole, killed)

    monkeypatch.setattr(Parts, "save", saved)
    exact.compute_files([str(path)], whole / "w.root", ["drell_yan"], entries=(0, 600))
    assert {each.name for each in killed.iterdir()} == {".w.root.lock", ".w.root.parts"}
    assert len(list((killed / ".w.root.parts").glob("*.npz"))) == 1
    command = ["compute", path, "--process", "drell_yan", "--entries", "0:600"]
    again = run(*command, "--output", killed / "w.root")
    assert again.status == 0, again.said
    assert "256 of 600 events are there from an earlier call" in again.said
    _same(read_weights(killed / "w.root"), read_weights(whole / "w.root"))


def test_other_arguments_begin_anew(events: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = str(write_tree(tmp_path / "events.root", events))
    for seed in (1, 2):
        with pytest.raises(Interrupted):
            exact.compute_files(
                [path], tmp_path / "w.root", ["drell_yan"], part=100, seed=seed, reporter=_Telling(1)
            )
    telling = _Telling()
    exact.compute_files([path], tmp_path / "w.root", ["drell_yan"], part=100, reporter=telling, MZ=91.0)
    assert not any("continuing" in text for text in telling.messages)
    assert any("2 other interrupted call(s)" in text for text in telling.messages)
    _same(read_weights(tmp_path / "w.root"), deepmem.compute(events, MZ=91.0)["drell_yan"])


def test_an_interruption_says_what_is_kept(events: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Nothing at first, then the parts that are done; and these are not computed again."""
    path, out = str(write_tree(tmp_path / "events.root", events)), tmp_path / "w.root"
    with pytest.raises(KeyboardInterrupt, match="interrupted; none of 300 events was finished"):
        exact.compute_files([path], out, ["drell_yan"], part=100, reporter=_Telling(0))
    with pytest.raises(KeyboardInterrupt, match="interrupted; 200 of 300 events are kept, the same command"):
        exact.compute_files([path], out, ["drell_yan"], part=100, reporter=_Telling(1))
    parts = sorted((tmp_path / ".w.root.parts").glob("*.npz"))
    times = [part.stat().st_mtime_ns for part in parts]

    class Unchanged(_Telling):
        @contextmanager
        def progress(self, what: str, total: int) -> Iterator[Step]:
            yield lambda done, note="": None
            assert [part.stat().st_mtime_ns for part in parts] == times

    unchanged = Unchanged()
    exact.compute_files([path], out, ["drell_yan"], part=70, reporter=unchanged)  # whatever was kept at once
    assert unchanged.messages == ["continuing: 200 of 300 events are there from an earlier call"]
    _same(read_weights(out), deepmem.compute(events)["drell_yan"])


def test_the_command_says_what_is_kept(
    events: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C, while the first part is computed: the last line, and the exit status."""
    many = {name: np.tile(values, 4) for name, values in events.items()}
    path, out = write_tree(tmp_path / "events.root", many), tmp_path / "w.root"
    save = Parts.save

    def interrupted(*arguments: Any) -> None:
        save(*arguments)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Parts, "save", interrupted)
    with as_in_a_terminal():
        done = run("compute", path, "--process", "drell_yan", "--precision", "1e-4", "--output", out)
    assert done.status == 130
    assert_said_to_be_kept(done.said.splitlines()[-1], tmp_path, "1,200")


def test_slow_processes_begin_with_small_parts() -> None:
    """Where there are neutrinos, in any of the hypotheses."""
    sizes = {
        name: Task(hypotheses(name, {})).pace(None).size
        for name in ("drell_yan", "zz_4l", "ww_2l", "ttbar_2l")
    }
    assert sizes == {"drell_yan": 256, "zz_4l": 256, "ww_2l": 2, "ttbar_2l": 2}
    assert Task(hypotheses(["drell_yan", "ww_2l"], {})).pace(None).size == 2


@pytest.mark.parametrize("per_event", [1e-4, 0.01, 0.3, 3.0, 40.0])
def test_parts_are_seconds_of_work(per_event: float) -> None:
    """Whatever an event takes: no part but the first one, which compiles, is more than half a minute."""
    pace, took = Pace(8), []
    for i in range(40):
        seconds = pace.size * per_event * (1.5 if i % 3 else 0.7) + (60 if i == 0 else 0)
        took.append((pace.size, seconds))
        pace.took(pace.size, seconds)
    sizes, seconds = zip(*took[1:], strict=True)
    assert max(seconds) <= max(30, 1.5 * per_event)
    assert np.mean(seconds) > 4 or min(sizes[10:]) == 8192


def test_a_gap_between_parts_is_filled(tmp_path: Path) -> None:
    def compute(begin: int, end: int) -> dict[str, deepmem.Weight]:
        done.append((begin, end))
        numbers = np.arange(float(begin), end)
        return {"w": deepmem.Weight(numbers, numbers, np.zeros(end - begin, dtype=np.int32))}

    done: list[tuple[int, int]] = []
    parts = Parts(tmp_path / "w.root", {}, Pace(4, fixed=True))
    for begin, end in ((0, 3), (9, 12)):
        parts.save((begin, end), compute(begin, end))
    steps: list[int] = []
    computation = Computation(compute, lambda begin, end: (begin, end))
    found = sorted(Hands(None).fill(parts, 0, 14, computation, lambda events, note="": steps.append(events)))
    assert done[2:] == [(3, 7), (7, 9), (12, 14)]
    assert sum(steps) == 14
    np.testing.assert_array_equal(
        np.concatenate([parts.load(part, ["w"])["w"].value for part in found]), np.arange(14)
    )


def test_no_weight_depends_on_the_parts(tmp_path: Path) -> None:
    """Random points follow from an event's number in its files."""
    columns = {
        name: values for name, values in stored("ww_2l").items() if name in hypothesis("ww_2l").columns
    }
    path = str(write_tree(tmp_path / "events.root", columns))
    for part in (3, 4):
        exact.compute_files([path], tmp_path / f"{part}.root", ["ww_2l"], precision=0.1, part=part)
    _same(*(read_weights(tmp_path / f"{part}.root", "ww_2l") for part in (3, 4)))


def test_parts_of_a_farm_merge_into_the_whole(events: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = str(write_tree(tmp_path / "events.root", events))
    names = []
    for a, b in ((150, 300), (0, 37), (37, 150)):
        names.append(str(tmp_path / f"part{a}.root"))
        exact.compute_files([path], names[-1], ["drell_yan"], entries=(a, b))
    merging.merge(names, tmp_path / "merged.root")
    _same(read_weights(tmp_path / "merged.root"), deepmem.compute(events)["drell_yan"])
    with pytest.raises(UsageError, match="the part 37:150 is missing"):
        merging.merge(names[:2], tmp_path / "m.root")
    with pytest.raises(UsageError, match="comes twice"):
        merging.merge([*names, names[1]], tmp_path / "m.root")
    exact.compute_files([path], names[2], ["drell_yan"], entries=(37, 150), MZ=91.0)
    with pytest.raises(UsageError, match="were computed differently"):
        merging.merge(names, tmp_path / "m.root")
    with pytest.raises(UsageError, match="is not a part"):
        merging.merge([path], tmp_path / "m.root")
    assert not (tmp_path / "m.root").exists()


def test_a_scan_shares_points_and_names_its_values(events: dict[str, np.ndarray], tmp_path: Path) -> None:
    few = {name: values[:50] for name, values in events.items()}
    scan = deepmem.compute(few, MZ=[90.0, 91.188, 92.5])
    assert list(scan) == ["drell_yan_MZ_90", "drell_yan_MZ_91p188", "drell_yan_MZ_92p5"]
    # the scale is MZ by default; a scan of MZ keeps the default's, so that only MZ changes
    alone = deepmem.compute(few, MZ=92.5, Q=91.188)["drell_yan"]
    np.testing.assert_allclose(scan["drell_yan_MZ_92p5"].value, alone.value, rtol=1e-4)
    path = str(write_tree(tmp_path / "events.root", few))
    exact.compute_files([path], tmp_path / "w.root", ["drell_yan"], MZ=[90.0, 91.188, 92.5])
    assert weight_names(tmp_path / "w.root") == list(scan)


def test_users_names_and_units(events: dict[str, np.ndarray], tmp_path: Path) -> None:
    renamed = {
        name.replace("lep1_", "mu_minus."): values * (1000 if name.endswith("PT") else 1)
        for name, values in events.items()
    }
    path = write_tree(tmp_path / "events.root", renamed)
    config = {
        "input_paths": [str(path)],
        "unit": "MeV",
        "column_names": {
            name: name.replace("lep1_", "mu_minus.") for name in LEPTONS if name.startswith("lep1")
        },
        "response": {"lepton": {"kind": "gaussian", "r": 0.03}},
    }
    exact.compute_files([], tmp_path / "w.root", ["drell_yan"], config=config)
    expected = deepmem.compute(events, r_lepton=0.03)["drell_yan"].value
    np.testing.assert_allclose(read_weights(tmp_path / "w.root").value, expected, rtol=1e-9)


COMMAND: dict[str, tuple[list[str], str]] = {
    "unknown process": (
        ["--process", "drell_yann"],
        "unknown process 'drell_yann' (did you mean 'drell_yan'?)",
    ),
    "unknown parameter": (["--set", "MZZ=91"], "'MZZ' (did you mean 'MZ'?)"),
    "not a pair": (["--set", "MZ"], "expected NAME=VALUE"),
    "not a number": (["--set", "MZ=abc"], "must be a number, got 'abc'"),
    "beam of no energy": (["--set", "sqrt_s=0"], "sqrt_s must be finite and positive"),
    "beam in TeV": (["--set", "sqrt_s=13.6"], "sqrt_s = 13.6 GeV is below 100 GeV: it is in GeV"),
    "precision in per cent": (["--precision", "1"], "one of 1 says nothing: 1 % is 0.01"),
    "no precision": (["--precision", "0"], "precision must be a positive relative error"),
    "no calls": (["--calls", "0"], "calls must be a positive number"),
    "flavours": (["--set", "flavours=6"], "flavours must be 4 or 5"),
    "resolution": (["--set", "r_lepton=2"], "between 0 and 0.3"),
    "no such grid": (["--pdf", "NNPDF99"], "give a grid file (--pdf PATH)"),
    "part beyond the end": (["--entries", "0:999999"], "expected a part of the 60000 entries"),
    "part of nothing": (["--entries", "5:5"], "expected a part of the 60000 entries"),
    "odd part": (["--entries", "all"], "expected A:B"),
    "columns": (["--process", "zz_4l"], "has no branch 'lep1_PDG' (did you mean 'lep1_PT'?)"),
    "twice": (["--process", "drell_yan", "--process", "drell_yan"], "name each process once"),
    "output": (["--output", "/dev/null"], "not a regular file"),
}


@pytest.mark.parametrize("case", COMMAND)
def test_one_clear_sentence(
    case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepmem.cli import main as cli

    extra, says = COMMAND[case]
    arguments = ["compute", str(EVENTS), *extra]
    for option, value in (("--process", "drell_yan"), ("--output", str(tmp_path / "w.root"))):
        if option not in extra:
            arguments += [option, value]
    monkeypatch.setattr(sys, "argv", ["deepmem", *arguments])
    monkeypatch.setattr(cli, "prepare_jax", lambda: None)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    captured = capfd.readouterr()
    assert stop.value.code == 2
    assert says in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "w.root").exists()


@pytest.mark.parametrize(
    "content", ["hello\n", "PdfType: central\nFormat: lhagrid1\n---\n1e-5 0.1 1.0\n1.0 10.0\n1 2\n0.1 0.2\n"]
)
def test_a_grid_of_another_format_or_truncated(
    content: str, events: dict[str, np.ndarray], tmp_path: Path
) -> None:
    (tmp_path / "grid.dat").write_text(content)
    with pytest.raises(UsageError, match=r"grid\.dat"):
        deepmem.compute(events, pdf=str(tmp_path / "grid.dat"))


def test_the_menu_and_its_json(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from deepmem.cli import main as cli

    menus = []
    for flags in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["deepmem", "processes", *flags])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 0
        menus.append(capfd.readouterr().out)
    assert json.loads(menus[1]).keys() == deepmem.processes().keys()
    for name, entry in deepmem.processes().items():
        assert name in menus[0]
        assert entry["reference"] in menus[0]


def test_momemtas_refused_events_get_a_weight() -> None:
    """4,085 of MoMEMta's events have massless leptons whose rounded E² < p²; some of them here, all in the benchmark."""
    from deepmem.jobs.demo import example

    with uproot.open(f"{example('momemta_weights.root')}:momemta") as tree:
        theirs = tree["weight_DY"].array(library="np")
    refused = np.flatnonzero(np.isnan(theirs))
    assert len(refused) == 4085
    with uproot.open(f"{example('momemta_events.root')}:events") as tree:
        events = {name: tree[name].array(library="np")[refused[:200]] for name in LEPTONS}
    ours = deepmem.compute(events)["drell_yan"]
    assert (ours.status == 0).all()
    with uproot.open(f"{WEIGHTS}:weights") as tree:  # the same events open the larger sample
        np.testing.assert_allclose(
            ours.value, tree["weight_DY"].array(library="np")[refused[:200]], rtol=1e-4
        )


def test_a_merged_file_keeps_what_its_parts_kept(events: dict[str, np.ndarray], tmp_path: Path) -> None:
    numbers = np.arange(300) + 2**60
    path = str(write_tree(tmp_path / "events.root", events | {"event": numbers}))
    for a, b in ((150, 300), (0, 150)):
        exact.compute_files([path], tmp_path / f"part{a}.root", ["drell_yan"], entries=(a, b), keep=["event"])
    merging.merge([str(tmp_path / "part150.root"), str(tmp_path / "part0.root")], tmp_path / "merged.root")
    with uproot.open(f"{tmp_path / 'merged.root'}:deepmem") as tree:
        assert tree["event"].array(library="np").tolist() == numbers.tolist()


def test_mev_and_degrees_are_noticed_before_they_become_zeros(
    events: dict[str, np.ndarray], tmp_path: Path
) -> None:
    strange = events | {"lep1_PT": events["lep1_PT"] * 1000, "lep2_Phi": np.degrees(events["lep2_Phi"])}
    path, reporter = str(write_tree(tmp_path / "events.root", strange)), _Telling()
    with pytest.raises(UsageError, match=r"lep2_Phi reaches .* an angle in degrees\? radians are expected"):
        exact.compute_files([path], tmp_path / "w.root", ["drell_yan"], reporter=reporter)
    right = str(write_tree(tmp_path / "mev.root", strange | {"lep2_Phi": events["lep2_Phi"]}))
    exact.compute_files([right], tmp_path / "w.root", ["drell_yan"], reporter=reporter)
    (text,) = reporter.warnings
    assert "lep1_PT has a median" in text


def test_no_command_writes_over_its_input(
    events: dict[str, np.ndarray],
    trained: tuple[dict[str, Any], Path],
    drell_yan: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    path = write_tree(tmp_path / "events.root", {name: drell_yan[name][:100] for name in COLUMNS})
    part = tmp_path / "part.root"
    exact.compute_files([str(path)], part, ["drell_yan"])
    before = path.read_bytes(), part.read_bytes()
    for call in (
        lambda: exact.compute_files([str(path)], path, ["drell_yan"]),
        lambda: deepmem.predict([str(path)], path, model=trained[0]["save_lowest_loss_model_at"]),
        lambda: merging.merge([str(part)], part),
        lambda: deepmem.train(trained[0] | {"save_lowest_loss_model_at": trained[0]["input_paths"][0]}),
    ):
        with pytest.raises(UsageError, match="is one of the input files"):
            call()
    assert (path.read_bytes(), part.read_bytes()) == before


def test_merging_a_file_that_is_not_root(tmp_path: Path) -> None:
    (tmp_path / "junk.root").write_text("junk")
    with pytest.raises(UsageError, match="cannot be opened as a ROOT file"):
        merging.merge([str(tmp_path / "junk.root")], tmp_path / "m.root")


def test_empty_files_give_empty_outputs(
    events: dict[str, np.ndarray], trained: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    empty = write_tree(tmp_path / "empty.root", {name: values[:0] for name, values in events.items()})
    written = exact.compute_files([str(empty)], tmp_path / "w.root", ["drell_yan"], keep=["lep1_PT"])
    assert written.events == 0
    assert len(read_weights(tmp_path / "w.root", "drell_yan")) == 0
    merging.merge([str(tmp_path / "w.root")], tmp_path / "merged.root")
    assert weight_names(tmp_path / "merged.root") == ["drell_yan"]
    full = write_tree(tmp_path / "full.root", {name: values[:5] for name, values in events.items()})
    exact.compute_files([str(empty), str(full)], tmp_path / "both.root", ["drell_yan"])
    assert len(read_weights(tmp_path / "both.root", "drell_yan")) == 5
    of_model = write_tree(tmp_path / "model.root", {name: np.zeros(0) for name in COLUMNS})
    model = trained[0]["save_lowest_loss_model_at"]
    assert deepmem.predict([str(of_model)], tmp_path / "p.root", model=model)["events"] == 0
    assert len(read_weights(tmp_path / "p.root", "weight_DY")) == 0


def test_what_is_kept_is_checked_before_the_work(events: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "events.root"
    lists = {"one": [[i + 2**40] for i in range(300)], "some": [[i] * (i % 2) for i in range(300)]}
    with uproot.recreate(path) as file:
        file["events"] = {name: values[:300] for name, values in events.items()} | {
            name: ak.values_astype(ak.Array(values), np.int64) for name, values in lists.items()
        }
    few = {"entries": (0, 3), "reporter": _Telling(0)}  # which stops any work
    for keep, says in (("some", "could lose digits"), ("drell_yan_error", "no branch 'drell_yan_error'")):
        with pytest.raises(UsageError, match=says):
            exact.compute_files([str(path)], tmp_path / "w.root", ["drell_yan"], keep=[keep], **few)
    exact.compute_files([str(path)], tmp_path / "w.root", ["drell_yan"], keep=["one"], entries=(0, 3))
    with uproot.open(f"{tmp_path / 'w.root'}:deepmem") as tree:
        kept = tree["one"].array(library="np")
    assert kept.dtype == np.int64
    assert kept.tolist() == [2**40, 2**40 + 1, 2**40 + 2]


def test_reasons_are_counted_and_written(events: dict[str, np.ndarray], tmp_path: Path) -> None:
    few = {name: values[:6].copy() for name, values in events.items()}
    for name in LEPTONS[:4]:
        few[name][1] = np.nan
    few["lep1_Charge"][2] = few["lep2_Charge"][2]
    path = str(write_tree(tmp_path / "events.root", few))
    exact.compute_files([path], tmp_path / "w.root", ["drell_yan"], reasons=True)
    about = read_provenance(tmp_path / "w.root")
    reasons = about["counts"]["drell_yan"]["reasons"]
    assert reasons == {
        "there are fewer leptons than the process has": 1,
        "the charges of the leptons are not those of the process": 1,
    }
    found = read_weights(tmp_path / "w.root", "drell_yan").reason
    assert found is not None
    assert [about["reasons"][str(each)] in reasons for each in found] == [0, 1, 1, 0, 0, 0]
