"""Weights that the workers of a Dask scheduler compute. Here they are threads of this process; separate processes
that are killed are in benchmarks/scale.py faults."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest
import uproot
from commands import run
from killing import Killing

from deepmem.errors import DeepMEMError, UsageError
from deepmem.event import Weight
from deepmem.jobs import scheduler
from deepmem.jobs.parts import Pace, Parts
from deepmem.jobs.scheduler import DaskWorkers
from deepmem.jobs.spreading import Computation, Hands

COLUMN = np.arange(40.0)[:, None]


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as made:
        yield made


@pytest.fixture(autouse=True)
def unpinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers share this process, and are not to take its core."""
    monkeypatch.setattr(scheduler, "claim_core", lambda: None)


def filled(folder: Path, address: str, computation: Computation) -> Weight:
    parts = Parts(folder / "out.root", {}, Pace(4, fixed=True))
    with Hands(lambda: DaskWorkers(address, lambda text: None), at_once=True) as hands:
        for _ in hands.fill(parts, 0, len(COLUMN), computation, lambda done, note="": None):
            pass
    there = parts.within(0, len(COLUMN))
    return Weight.concatenate([parts.load(part, ["square"])["square"] for part in there])


def squares() -> Computation:
    return Computation(Killing(os.getpid()), lambda begin, end: (COLUMN[begin:end], np.arange(begin, end)))


def test_its_workers_give_all_weights_in_order(cluster: object, tmp_path: Path) -> None:
    weight = filled(tmp_path, cluster.scheduler_address, squares())  # type: ignore[attr-defined]
    np.testing.assert_array_equal(weight.value, COLUMN[:, 0] ** 2)


def profiled(wait: float) -> bool:
    """Whether Dask's profiler looks at this worker, a moment after now."""
    time.sleep(wait)
    return distributed.get_worker().periodic_callbacks["profile"].is_running()


def test_the_profiler_rests_while_a_worker_computes(cluster: object) -> None:
    address = cluster.scheduler_address  # type: ignore[attr-defined]
    crew = DaskWorkers(address, lambda text: None)
    crew.submit(0, profiled, (0.2,))
    while not (answers := crew.answers(1.0)):
        pass
    (answer,) = answers
    assert answer.computed is not None
    assert answer.computed.result is False
    with distributed.Client(address, set_as_default=False) as client:
        assert client.submit(profiled, 0.2, pure=False).result() is True
    crew.close()


def test_an_error_says_on_which_worker_it_was(cluster: object, tmp_path: Path) -> None:
    wrong = Computation(squares().work, lambda begin, end: (None, None))
    with pytest.raises(DeepMEMError, match=f"on {socket.gethostname()}: a worker failed: TypeError"):
        filled(tmp_path, cluster.scheduler_address, wrong)  # type: ignore[attr-defined]


def test_other_versions_on_a_worker_are_named(
    cluster: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = DaskWorkers(cluster.scheduler_address, lambda text: None)  # type: ignore[attr-defined]
    here = scheduler.versions()
    monkeypatch.setattr(scheduler, "versions", lambda packages: here | {"jax": "0.1"})
    parts = Parts(tmp_path / "out.root", {}, Pace(4, fixed=True))
    with (
        Hands(lambda: crew, at_once=True) as hands,
        pytest.raises(UsageError, match=rf"has jax 0\.1 and not {here['jax']}: install the same"),
    ):
        list(hands.fill(parts, 0, len(COLUMN), squares(), lambda done, note="": None))


def test_a_scheduler_that_is_gone_leaves_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "_GONE", 1.0)
    monkeypatch.setattr(scheduler, "_LOOK", 0.2)
    monkeypatch.setattr(scheduler, "_ANSWER", 1.0)
    computation, parts = squares(), Parts(tmp_path / "out.root", {}, Pace(4, fixed=True))
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster:
        crew = DaskWorkers(cluster.scheduler_address, lambda text: None)
        with Hands(lambda: crew, at_once=True) as hands:
            done = hands.fill(parts, 0, len(COLUMN), computation, lambda done, note="": None)
            next(done)
            cluster.close()
            with pytest.raises(DeepMEMError, match="has not answered for 1 s: call the same command"):
                list(done)
    assert parts.events() >= 4


def test_a_client_that_has_given_its_scheduler_up_loses_nothing(cluster: object) -> None:
    """Pieces come back undone, and to end is no error."""
    crew = DaskWorkers(cluster.scheduler_address, lambda text: None)  # type: ignore[attr-defined]
    crew.submit(0, time.sleep, (0.0,))
    crew._client.close()
    crew.submit(1, time.sleep, (0.0,))
    assert crew.answers(1.0)[-1].computed is None
    crew.submit(2, time.sleep, (0.0,))
    crew.close()


@pytest.fixture
def there(trained: tuple[dict[str, Any], Path], small: Path) -> dict[str, Any]:
    """What the words EVENTS and MODEL of a call stand for."""
    return {"EVENTS": small / "events.root", "MODEL": trained[0]["save_lowest_loss_model_at"]}


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere"])
@pytest.mark.parametrize(
    "call",
    [
        ["compute", "EVENTS", "--process", "drell_yan", "--output", "w.root"],
        ["cross-section", "drell_yan"],
        ["generate", "drell_yan", "--events", "9", "--output", "w.root"],
        ["predict", "EVENTS", "--model", "MODEL", "--output", "w.root"],
    ],
    ids=lambda call: call[0],
)
def test_no_scheduler_is_one_sentence(
    address: str,
    call: list[str],
    there: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler, "_ANSWER", 0.2)
    monkeypatch.chdir(tmp_path)
    done = run(*(there.get(word, word) for word in call), "--scheduler", address)
    assert done.status == 2
    assert f"no scheduler answers at {address} within 0.2 s" in done.said
    assert len(done.said.splitlines()) == 1
    assert "Traceback" not in done.said
    assert not (tmp_path / "w.root").exists()


@pytest.mark.parametrize(
    "call",
    [
        ["cross-section", "drell_yan", "--precision", "0.05", "--json"],
        ["generate", "drell_yan", "--events", "100", "--parton", "--output", "w.root", "--json"],
        ["predict", "EVENTS", "--model", "MODEL", "--output", "w.root", "--json"],
    ],
    ids=lambda call: call[0],
)
def test_its_workers_do_what_one_process_does(
    cluster: object,
    call: list[str],
    there: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same bits; and a worker that has another version of what matters says so."""
    monkeypatch.chdir(tmp_path)
    words, found = [there.get(word, word) for word in call], []
    for more in ([], ["--scheduler", cluster.scheduler_address]):  # type: ignore[attr-defined]
        done = run(*words, *more)
        assert done.status == 0, done.said
        trees = {name: file_of(name) for name in ("w.root",) if (tmp_path / name).exists()}
        found.append((json.loads(done.out), trees))
    assert found[0] == found[1]


def file_of(path: str) -> dict[str, bytes]:
    """The columns of the tree of a file."""
    with uproot.open(path) as file:
        (tree,) = file.keys(cycle=False, filter_classname="TTree")
        return {name: each.tobytes() for name, each in file[tree].arrays(library="np").items()}


def test_workers_of_this_machine_or_of_a_scheduler(small: Path, tmp_path: Path) -> None:
    call = ["compute", small / "events.root", "--process", "drell_yan", "--output", tmp_path / "w.root"]
    done = run(*call, "--workers", len(os.sched_getaffinity(0)), "--scheduler", "tcp://127.0.0.1:9")
    assert done.status == 2
    assert "leave one out" in done.said or len(os.sched_getaffinity(0)) == 1


FARM = Path(__file__).parent.parent / "docs" / "howto" / "farm.md"


@pytest.mark.parametrize(
    ("module", "cluster_class"),
    [
        ("dask_jobqueue", "HTCondorCluster"),
        ("dask_jobqueue", "SLURMCluster"),
        ("dask_lxplus", "CernCluster"),
    ],
)
def test_a_block_for_a_batch_system_makes_a_job(module: str, cluster_class: str) -> None:
    package = module.replace("_", "-")
    pytest.importorskip(
        module, reason=f"{package} is for batch systems and no extra brings it; the nightly run installs it"
    )
    blocks = re.findall(r"```python\n(.*?)```", FARM.read_text(encoding="utf-8"), re.DOTALL)
    block = next(each for each in blocks if f"import {cluster_class}" in each)
    begin, adapts, _ = block.partition("cluster.adapt(")
    assert adapts
    there: dict[str, Any] = {}
    exec(begin.replace('"port": 8786', '"port": 0, "dashboard_address": ":0"'), there)
    try:
        script = there["cluster"].job_script()
    finally:
        there["cluster"].close()
    assert "distributed.cli.dask_worker" in script
    assert "--nthreads 1 " in script
