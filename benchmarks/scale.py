"""Workers: how much faster two are than one, what they cost to start and to feed, and what kills do to them.

    python benchmarks/scale.py [workers] [dask] [start] [overhead] [faults] [--events N] [--write]

`workers` and `dask` have wall times of whole commands, start and writing among them, beside the same command in one
process on one core: run them on a machine that does nothing else. `faults` kills workers, drivers and schedulers at
random while a sample of `--events` top pairs (2,000) is computed, and compares the bits with those of an undisturbed call.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from table import run, say

from deepmem.event import Weight
from deepmem.jobs.environment import cores_here
from deepmem.jobs.parts import Pace, Parts
from deepmem.jobs.spreading import Computation, Hands
from deepmem.jobs.tasks import Task, hypotheses
from deepmem.jobs.worker import Computed
from deepmem.jobs.workers import Answer, Workers
from deepmem.physics.weights.leading_order import draw_events

DEEPMEM = [sys.executable, "-m", "deepmem.cli"]
ADDRESS = "tcp://127.0.0.1:18787"
# process: events, precision, and the ratio aimed at; one process takes minutes for each
SAMPLES = {
    "ttbar_2l": (2_000, 0.01, 1.9),
    "ww_2l": (4_000, 0.01, 1.9),
    "higgs_4l": (200_000, 0.01, 1.9),
    "drell_yan": (1_000_000, 0.01, 1.7),
}
DRAWN = 10_000  # events at most that are drawn; more are these again
FAULTS = {"events": 2_000}
LEAST_PAUSE = 6.0  # seconds between kills, on average: a worker starts meanwhile
TASKS, SIMULATED = 100_000, 1_000


def sample(process: str, number: int, folder: Path) -> Path:
    """So many leading-order events of a process."""
    path = folder / f"{process}.root"
    columns = draw_events(process, min(number, DRAWN), 3, recoil=20.0).columns
    with uproot.recreate(path) as file:
        file["events"] = {name: np.resize(values, number) for name, values in columns.items()}
    return path


def command(process: str, events: Path, output: Path, *more: object) -> list[str]:
    """That computes a sample."""
    words = ["compute", events, "--process", process, "--output", output, *more]
    return [*DEEPMEM, *map(str, words)]


def seconds(words: Sequence[str]) -> float:
    """Wall time of a command that ends well."""
    begin = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def same(one: Path, other: Path) -> bool:
    """Whether two files hold the same bits."""
    arrays = []
    for path in (one, other):
        with uproot.open(path) as file:
            arrays.append(file["deepmem"].arrays(library="np"))
    return arrays[0].keys() == arrays[1].keys() and all(
        values.tobytes() == arrays[1][name].tobytes() for name, values in arrays[0].items()
    )


def workers(folder: Path) -> None:
    """Two workers beside one process on one core."""
    for process, (number, precision, aim) in SAMPLES.items():
        events = sample(process, number, folder)
        asked = "--precision", precision
        # compiled before
        seconds(command(process, events, folder / "few.root", *asked, "--entries", "0:16", "--workers", 2))
        one = seconds(command(process, events, folder / "1.root", *asked, "--workers", 1, "--threads", 1))
        two = seconds(command(process, events, folder / "2.root", *asked, "--workers", 2))
        say(f"{process}, {number:,} events: one process on one core", f"{one:.0f} s")
        say("  two workers are faster by", f"{one / two:.2f}", f"≥ {aim}")
        say("  the same bits", "yes" if same(folder / "1.root", folder / "2.root") else "NO", "yes")


@contextmanager
def farm(folder: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """A scheduler and two workers, each a process that may be killed; by name, a new one in place of a dead one."""
    there: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in ("scheduler", "worker 0", "worker 1"):
            begin_anew(there, name, folder)
        yield there
    finally:
        for process in there.values():
            process.kill()
            process.wait()


def begin_anew(there: dict[str, subprocess.Popen[bytes]], name: str, folder: Path) -> None:
    """Start a process of a farm."""
    dask = [sys.executable, "-m", "dask"]
    words = [
        *dask,
        "worker",
        ADDRESS,
        "--nthreads",
        "1",
        "--no-nanny",
        "--no-dashboard",
        "--local-directory",
        str(folder),
    ]
    if name == "scheduler":
        words = [
            *dask,
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            ADDRESS.rpartition(":")[2],
            "--no-dashboard",
        ]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    there[name] = subprocess.Popen(words, **quiet)


def dask(folder: Path) -> None:
    """Two workers of a scheduler beside one process on one core."""
    process, (number, precision, _) = "ttbar_2l", SAMPLES["ttbar_2l"]
    events = sample(process, number, folder)
    asked = "--precision", precision
    one = seconds(command(process, events, folder / "1.root", *asked, "--workers", 1, "--threads", 1))
    with farm(folder):
        time.sleep(5)
        two = seconds(command(process, events, folder / "2.root", *asked, "--scheduler", ADDRESS))
    say(f"{process}, {number:,} events: one process on one core", f"{one:.0f} s")
    say("  two workers of Dask are faster by", f"{one / two:.2f}", "≥ 1.8")
    say("  the same bits", "yes" if same(folder / "1.root", folder / "2.root") else "NO", "yes")


def cpu_of(process: int) -> float:
    """Seconds that a process has computed, as Linux counts them."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(folder: Path) -> None:
    """Of a worker whose programs have been compiled before: time until its first weight, and its memory."""
    for process in SAMPLES:
        with uproot.open(sample(process, 256, folder)) as file:
            columns = file["events"].arrays(library="np")
        task = Task(hypotheses(process, {}))
        table = np.stack([columns[name] for name in task.columns], axis=1).astype(np.float64)
        for _ in ("compiles", "is measured"):
            begin = time.perf_counter()
            crew = Workers([cores_here()[:1]], ("deepmem.physics.weights.engine",))
            while not crew.free:
                crew.answers()
            crew.submit(0, task.compute_table, (table[:1], np.arange(1)))
            while not crew.answers():
                pass
            spent, cpu = time.perf_counter() - begin, cpu_of(crew.numbers[0])
            crew.submit(1, task.compute_table, (table, np.arange(len(table))))
            while not crew.answers():
                pass
            status = Path(f"/proc/{crew.numbers[0]}/status").read_text()
            peak = int(next(line for line in status.splitlines() if "VmHWM" in line).split()[1]) / 1024
            crew.close()
        say(f"{process}: start of a worker until its first weight", f"{spent:.1f} s", "≤ 5 s")
        say("  of it CPU", f"{cpu:.1f} s")
        say("  its memory after 256 events", f"{peak:.0f} MB", "≤ 700 MB")


class Simulated:
    """A crew of many that answer at once, and compute nothing."""

    piece_seconds, size = 30.0, SIMULATED

    def __init__(self) -> None:
        self.free = self.size
        self._asked: list[int] = []
        none = np.zeros(1), np.zeros(1), np.zeros(1, dtype=np.int32)
        self._computed = Computed({"none": Weight(*none)}, None, 30.0, False)

    def submit(self, ticket: int, work: object, arguments: Sequence[Any]) -> None:
        self._asked.append(ticket)
        self.free -= 1

    def answers(self, wait: float | None = None) -> list[Answer]:
        ticket = self._asked.pop(0)
        self.free += 1
        return [Answer(ticket, self._computed)]

    def close(self) -> None:
        pass


def overhead(folder: Path) -> None:
    """What the driver needs for a task, its events read and its weights kept; nothing is computed."""
    parts = Parts(folder / "out.root", {}, Pace(1, fixed=True))
    table = np.zeros((1, 20))
    computation = Computation(lambda *_: {}, lambda begin, end: (table[: end - begin], np.arange(begin, end)))
    begin, wall = time.process_time(), time.perf_counter()
    with Hands(Simulated, at_once=True) as hands:
        done = sum(1 for _ in hands.fill(parts, 0, TASKS, computation, lambda events, note="": None))
    wall = time.perf_counter() - wall
    say(
        f"{done:,} tasks to {SIMULATED:,} workers: the driver's time for one",
        f"{1e3 * wall / done:.2f} ms",
        "≤ 2 ms",
    )
    say("  of it CPU", f"{1e3 * (time.process_time() - begin) / done:.2f} ms")


def faults(folder: Path) -> None:
    """20 kills of workers, 5 of the driver, 3 of the scheduler, in one call."""
    events = sample("ttbar_2l", FAULTS["events"], folder)
    call = command("ttbar_2l", events, folder / "whole.root", "--precision", 0.05, "--workers", 1)
    whole = seconds(call)
    rng = random.Random(1)
    with farm(folder) as there:
        words = command("ttbar_2l", events, folder / "dask.root", "--precision", 0.05, "--scheduler", ADDRESS)
        kills = ["worker"] * 20 + ["driver"] * 5 + ["scheduler"] * 3
        rng.shuffle(kills)
        status, done = disturbed(words, kills, max(whole / 20, LEAST_PAUSE), there, folder, rng)
    say(f"ttbar_2l, {FAULTS['events']:,} events by Dask: kills before it ended", str(done), "28 ± 0")
    say("  the last driver's exit status", str(status), "0 ± 0")
    bits = status == 0 and same(folder / "whole.root", folder / "dask.root")
    say("  the same bits as undisturbed", "yes" if bits else "NO", "yes")


def disturbed(
    words: list[str],
    kills: list[str],
    pause: float,
    there: dict[str, subprocess.Popen[bytes]],
    folder: Path,
    rng: random.Random,
) -> tuple[int, int]:
    """Kill what is named, one after the other, and start it again; **returns** how the driver ends, and how many
    kills came before that."""
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    driver, done = subprocess.Popen(words, **quiet), 0
    for kill in kills:
        time.sleep(pause * rng.uniform(0.5, 1.5))
        if driver.poll() == 0:
            break
        if kill == "driver" or driver.poll() is not None:
            driver.kill()
            driver.wait()
            driver = subprocess.Popen(words, **quiet)
        else:
            name = "scheduler" if kill == "scheduler" else f"worker {rng.randrange(2)}"
            os.kill(there[name].pid, signal.SIGKILL)
            there[name].wait()
            begin_anew(there, name, folder)
        for name, process in list(there.items()):  # a worker may end with its scheduler
            if process.poll() is not None:
                begin_anew(there, name, folder)
        done += 1
    while (status := driver.wait()) != 0 and status != 2:
        driver = subprocess.Popen(words, **quiet)
    return status, done


PARTS = {"workers": workers, "dask": dask, "start": start, "overhead": overhead, "faults": faults}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, metavar="N", help="top pairs of `faults` (2,000)")
    FAULTS["events"] = parser.parse_known_args()[0].events or FAULTS["events"]


if __name__ == "__main__":
    run(PARTS, one_folder=True, more=options)
