"""Weights that several processes compute: the same bits, whatever happens to the processes."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from commands import as_in_a_terminal, assert_said_to_be_kept, run
from conftest import COLUMNS, EVENTS, write_tree
from killing import Killing

import deepmem
from deepmem.errors import UsageError
from deepmem.event import Weight
from deepmem.inputs import Reason
from deepmem.jobs.environment import collecting_nothing, cores_here
from deepmem.jobs.parts import Pace, Parts
from deepmem.jobs.spreading import Computation, Hands
from deepmem.jobs.staff import WEIGHTS, Staff
from deepmem.jobs.tasks import Task, hypotheses
from deepmem.jobs.worker import Bench, key_of
from deepmem.jobs.workers import Workers, shares
from deepmem.reporter import Reporter

several_cores = pytest.mark.skipif(len(cores_here()) < 2, reason="two workers need two cores")
COLUMN = np.arange(40.0)[:, None]


def squares(at: tuple[int, ...] = ()) -> Computation:
    """Weights without physics, by workers that start at once."""

    def read(begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        return COLUMN[begin:end], np.arange(begin, end)

    return Computation(Killing(os.getpid(), at), read)


@pytest.fixture
def workers() -> Iterator[Workers]:
    crew = Workers([[core] for core in cores_here()[:2]])
    yield crew
    crew.close()


def filled(folder: Path, crew: Workers, computation: Computation, part: int) -> tuple[Weight, int]:
    """All weights in the order of their entries, and how many events a person has been told of."""
    parts, told = Parts(folder / "out.root", {}, Pace(part, fixed=True)), []
    hands = Hands(lambda: crew, at_once=True)
    for _ in hands.fill(parts, 0, len(COLUMN), computation, lambda done, note="": told.append(done)):
        pass
    there = parts.within(0, len(COLUMN))
    return Weight.concatenate([parts.load(part, ["square"])["square"] for part in there]), sum(told)


def test_an_event_that_kills_has_a_status_and_the_others_have_weights(
    workers: Workers, tmp_path: Path
) -> None:
    """Its task is halved until it is alone; three workers are enough to be sure."""
    weight, told = filled(tmp_path, workers, squares(at=(5,)), part=4)
    others = np.arange(len(COLUMN)) != 5
    np.testing.assert_array_equal(weight.value[others], COLUMN[others, 0] ** 2)
    assert np.isnan(weight.value[5])
    assert weight.status.tolist() == [3 if i == 5 else 0 for i in range(len(COLUMN))]
    assert weight.reason is not None
    assert weight.reason[5] == Reason.WORKER_DIED
    assert "worker died" in Reason.WORKER_DIED.meaning
    assert told == len(COLUMN)


def test_a_worker_that_is_killed_is_replaced(workers: Workers, tmp_path: Path) -> None:
    """All of them, before they are ready, and while they have a task."""
    first, again = workers.numbers, [True]
    os.kill(first[0], signal.SIGKILL)
    computation = squares()

    def read(begin: int, end: int) -> tuple[Any, ...]:
        if begin == 12 and again[0]:
            again[0] = False
            for number in workers.numbers:
                os.kill(number, signal.SIGKILL)
        return computation.read(begin, end)

    weight, _ = filled(tmp_path, workers, Computation(computation.work, read), part=2)
    np.testing.assert_array_equal(weight.value, COLUMN[:, 0] ** 2)
    assert not set(first) & set(workers.numbers)


def test_what_a_worker_raises_is_raised(workers: Workers, tmp_path: Path) -> None:
    wrong = Computation(squares().work, lambda begin, end: (None, None))
    with pytest.raises(Exception, match="a worker failed: TypeError") as caught:
        filled(tmp_path, workers, wrong, part=4)
    assert any("killing.py" in note for note in caught.value.__notes__)


def test_workers_end_with_their_driver(tmp_path: Path) -> None:
    """Though it is killed while they work, and cannot tell them."""
    text = (
        "import time; from deepmem.jobs.environment import cores_here; from deepmem.jobs.workers import Workers; crew = Workers([cores_here()[:1]]);"
        "crew.answers(); crew.submit(0, time.sleep, (600,)); print(*crew.numbers, flush=True); time.sleep(600)"
    )
    driver = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    number = int(driver.stdout.readline())
    driver.kill()
    driver.communicate()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{number}/stat").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{number}/stat").exists()


@pytest.fixture(scope="module")
def one_process() -> Iterator[Workers]:
    """A crew of one process, whose start takes longer than what these tests have it compute."""
    crew = Workers([cores_here()[:1]])
    yield crew
    crew.close()


@pytest.fixture
def two_workers(one_process: Workers, monkeypatch: pytest.MonkeyPatch) -> int:
    """A number of workers to ask for, in whose place one process comes: it is enough to see other bits."""
    monkeypatch.setattr("deepmem.jobs.staff.Workers", lambda cores, modules: one_process)
    monkeypatch.setattr(one_process, "close", lambda: None)
    return 2


def columns_of(path: Path) -> dict[str, bytes]:
    with uproot.open(path) as file:
        return {name: each.tobytes() for name, each in file["deepmem"].arrays(library="np").items()}


@several_cores
def test_any_number_of_workers_gives_the_same_bits(
    two_workers: int, drell_yan: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Bad events and kept branches among them."""
    events = {name: drell_yan[name][:300].astype(np.float64) for name in COLUMNS}
    events["lep1_PT"][7] = np.nan
    path = write_tree(tmp_path / "events.root", events)
    call = ["compute", path, "--process", "drell_yan", "--keep", "MET", "--reasons"]
    found = []
    for workers in (1, two_workers):
        done = run(*call, "--workers", workers, "--output", tmp_path / f"{workers}.root")
        assert done.status == 0, done.said
        found.append(columns_of(tmp_path / f"{workers}.root"))
    assert found[0] == found[1]


@several_cores
def test_predictions_of_workers_have_the_same_bits(
    two_workers: int, trained: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    """In their order, and what is said of the sample as a whole, too."""
    said, found = [], []
    for workers in (1, two_workers):
        out = tmp_path / f"{workers}.root"
        model = trained[0]["save_lowest_loss_model_at"]
        staff = Staff(workers)
        made = deepmem.predict(
            [str(EVENTS)], out, model=model, keep=["lep1_Charge"], chunk_entries=7_777, staff=staff
        )
        said.append(made | {"output": ""})
        found.append(columns_of(out))
    assert said[0] == said[1]
    assert found[0] == found[1]


def test_a_few_events_start_no_worker(
    drell_yan: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default, where their start would take longer than the work."""

    def refused(*_: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr("deepmem.jobs.staff.Workers", refused)
    path = write_tree(tmp_path / "events.root", {name: drell_yan[name][:300] for name in COLUMNS})
    done = run("compute", path, "--process", "drell_yan", "--output", tmp_path / "w.root")
    assert done.status == 0, done.said


def test_long_work_calls_a_crew_and_says_how_long(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process begins; where what it measures says that workers are worth their start, they go on."""
    monkeypatch.setattr("deepmem.jobs.spreading._WORTH", 1e-9)
    monkeypatch.setattr("deepmem.jobs.spreading._ESTIMATE_AFTER", 0.0)
    told: list[str] = []

    class Telling(Reporter):
        def message(self, text: str) -> None:
            told.append(text)

    parts = Parts(tmp_path / "out.root", {}, Pace(1, fixed=True))
    hands = Hands(lambda: workers, reporter=Telling())
    sizes = [hands.size for _ in hands.fill(parts, 0, len(COLUMN), squares(), lambda done, note="": None)]
    assert sizes[0] == 1
    assert parts.events() == len(COLUMN)
    assert len(told) == 1
    assert "more: " in told[0]


@pytest.mark.parametrize(
    "process",
    ["ttbar_2l", "ttbar_1l", "tth=p p > t t~ h, (t > w+ b, w+ > l+ vl), (t~ > w- b~, w- > j j), h > b b~"],
)
def test_a_task_is_a_small_value(process: str) -> None:
    """And a worker unpickles it once."""
    task = Task(hypotheses(process, {}))
    pickled = pickle.dumps(task.compute_table)
    assert len(pickled) < 10_000
    assert pickle.loads(pickled).__self__.describe() == task.describe()
    assert pickle.dumps(task.compute_table) == pickled


def test_a_work_is_kept_by_its_content() -> None:
    bench, pickled = Bench(), pickle.dumps(squares().work)
    arguments = COLUMN[:2], np.arange(2)
    first = bench.compute(key_of(pickled), pickled, arguments)
    again = bench.compute(key_of(pickled), None, arguments)
    assert (first.first, again.first) == (True, False)
    np.testing.assert_array_equal(first.result["square"].value, again.result["square"].value)


@pytest.mark.parametrize("number", [-1, 10_000])
def test_a_number_of_workers_that_makes_no_sense(number: int, tmp_path: Path) -> None:
    done = run(
        "compute", "no.root", "--process", "drell_yan", "--workers", number, "--output", tmp_path / "w.root"
    )
    assert done.status == 2
    assert f"--workers {number}: expected 1 to {len(cores_here())}" in done.said


@pytest.mark.parametrize("number", [-1, 10_000])
@pytest.mark.parametrize(
    "call",
    [
        ["cross-section", "drell_yan"],
        ["generate", "drell_yan", "--events", "9", "--output"],
        ["predict", "no.root", "--model", "no.model", "--output"],
    ],
)
def test_numbers_of_workers_are_checked_before_the_work(call: list[str], number: int, tmp_path: Path) -> None:
    output = [str(tmp_path / "e.root")] if call[-1] == "--output" else []
    done = run(*call, *output, "--workers", number)
    assert done.status == 2
    assert f"--workers {number}: expected 1 to {len(cores_here())}" in done.said
    assert not list(tmp_path.iterdir())


def test_workers_are_no_gpus(tmp_path: Path) -> None:
    done = run(
        "predict", "no.root", "--model", "no.model", "--output", "w.root", "--workers", 0, "--device", 0
    )
    assert done.status == 2
    assert "--device 0 with --workers or --scheduler: workers compute on the CPU" in done.said


def test_threads_are_those_of_a_worker() -> None:
    cores = cores_here()
    assert shares(1, len(cores)) == [cores]
    assert shares(0) == [[core] for core in cores]
    with pytest.raises(UsageError, match="of 2 cores"):
        shares(len(cores), 2)


@several_cores
def test_the_command_and_its_workers_say_what_is_kept(
    one_process: Workers, drell_yan: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What batch systems send, in the middle of so many events that it comes before the end on a busy machine.

    The last test with `one_process`, for the call ends it while it computes."""
    monkeypatch.setattr("deepmem.jobs.staff.Workers", lambda cores, modules: one_process)
    many = {name: np.tile(drell_yan[name][:300].astype(np.float64), 300) for name in COLUMNS[:8]}
    path, out = write_tree(tmp_path / "events.root", many), tmp_path / "w.root"
    ended = threading.Event()

    def end_it() -> None:
        while not list((tmp_path / ".w.root.parts").glob("*.npz")) and not ended.wait(0.01):
            pass
        if not ended.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    scheduler = threading.Thread(target=end_it)
    with as_in_a_terminal():
        scheduler.start()
        try:
            call = ["compute", path, "--process", "drell_yan", "--precision", "1e-4"]
            done = run(*call, "--workers", 2, "--output", out)
        finally:
            ended.set()
            scheduler.join()
    assert done.status == 130
    assert_said_to_be_kept(done.said.splitlines()[-1], tmp_path, "90,000")
    with pytest.raises(ProcessLookupError):
        os.kill(one_process.numbers[0], 0)


@several_cores
def test_workers_that_are_asked_for_are_on_their_way() -> None:
    """They are the first crew of a call, and the next one has others."""
    start = Staff(workers=2).on_their_way(()).crew((), Reporter())
    assert start is not None
    first, second = start(), start()
    assert isinstance(first, Workers)
    assert isinstance(second, Workers)
    assert len({*first.numbers, *second.numbers}) == 4
    first.close()
    second.close()
    assert Staff(workers=1).on_their_way(()).crew((), Reporter()) is None


def test_a_worker_imports_nothing_that_reads_files() -> None:
    """These take as long as half of all that it needs."""
    without = {"uproot", "awkward", "pydantic", "typer", "scipy", "distributed"}
    code = f"import sys, {', '.join(WEIGHTS)}; print(*{without}.intersection(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_cycles_are_collected_again_after_a_failure() -> None:
    with suppress(KeyError), collecting_nothing():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_cycles_are_not_collected_while_a_command_compiles_and_are_afterwards(tmp_path: Path) -> None:
    """The first piece of a call traces what it compiles."""
    collected = []

    def work(table: np.ndarray) -> dict[str, Weight]:
        collected.append(gc.isenabled())
        return {"square": Weight(table[:, 0], table[:, 0], np.zeros(len(table), dtype=np.int32))}

    parts = Parts(tmp_path / "out.root", {}, Pace(20, fixed=True))
    computation = Computation(work, lambda begin, end: (COLUMN[begin:end],))
    assert len(list(Hands(None).fill(parts, 0, len(COLUMN), computation, lambda done, note="": None))) == 2
    assert collected == [False, True]
    assert gc.isenabled()
