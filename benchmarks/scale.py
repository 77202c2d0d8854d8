"""Workers: how much faster two are than one, what they cost to start and to feed, and what kills do to them.

    python benchmarks/scale.py [PART ...] [--events N] [--part K] [--big FILE] [--write] [--keep FOLDER]

Times of `workers`, `dask`, `predict` and `hybrid` are those of whole commands, start and writing among them: run them on a
machine that does nothing else. `workers` takes some 25 minutes. Beside each ratio stands what two processes reach on this
machine that know nothing of each other, each pinned to a core and with half of the events: where these do not reach what is aimed
at, cores share something (memory, a clock), or the sample is too small for two starts. `--part 10` takes a tenth of all samples, to try. `faults` kills workers, drivers and
schedulers while a sample of `--events` top pairs (2,000) is computed, each as soon as something was done after the last
kill, and compares the bits with those of an undisturbed call. `--big` is a file of 20 million events that
`surrogate.big_file` has made, which takes minutes, or has less of them with `--part`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from surrogate import big_file, configuration, trained
from table import kept, run, say

from deepmem.caches import compiled_programs
from deepmem.event import Weight
from deepmem.jobs.environment import cores_here
from deepmem.jobs.parts import Pace, Parts
from deepmem.jobs.spreading import Computation, Hands
from deepmem.jobs.staff import WEIGHTS
from deepmem.jobs.tasks import Task, hypotheses
from deepmem.jobs.worker import Computed
from deepmem.jobs.workers import Answer, Workers
from deepmem.physics.weights.leading_order import draw_events

DEEPMEM = [sys.executable, "-m", "deepmem.cli"]
ADDRESS = "tcp://127.0.0.1:18787"
# process: events, precision, and the ratio aimed at; one process takes about three minutes for each
SAMPLES = {
    "ttbar_2l": (6_000, 0.01, 1.9),
    "ww_2l": (14_000, 0.01, 1.9),
    "higgs_4l": (270_000, 0.01, 1.9),
    "drell_yan": (2_000_000, 0.01, 1.7),
}
DRAWN = 10_000  # events at most that are drawn; more are these again
IN_A_CLUSTER = 50_000  # events, as files of experiments have them
BIG = 20_000_000
ASKED: dict[str, Any] = {"events": 2_000, "part": 1, "big": None}
KILLS = {"worker": 20, "driver": 5, "scheduler": 3}
LONGEST_PAUSE = 20.0  # seconds until the next kill where nothing is done
TASKS, SIMULATED = 100_000, 1_000


def sample(process: str, number: int, folder: Path) -> Path:
    """So many leading-order events of a process."""
    path = folder / f"{process}_{number}.root"
    columns = draw_events(process, min(number, DRAWN), 3, recoil=20.0).columns
    columns = {name: np.resize(values, number) for name, values in columns.items()}
    with uproot.recreate(path) as file:
        tree = file.mktree("events", {name: values.dtype for name, values in columns.items()})
        for first in range(0, number, IN_A_CLUSTER):
            tree.extend({name: values[first : first + IN_A_CLUSTER] for name, values in columns.items()})
    return path


def command(process: str, events: Path, output: Path, *more: object) -> list[str]:
    """That computes a sample."""
    words = ["compute", events, "--process", process, "--output", output, *more]
    return [*DEEPMEM, *map(str, words)]


def seconds(*commands: Sequence[str], pinned: bool = False) -> tuple[float, float]:
    """Wall time of commands that run at the same time, each `pinned` to a core of its own, until all have ended well; and
    the CPU time of all their processes."""
    cores, before = cores_here(), cpu_of_children()
    begin = time.perf_counter()
    running = []
    for i, words in enumerate(commands):
        of_core = ["taskset", "-c", str(cores[i])] if pinned else []
        running.append(
            subprocess.Popen([*of_core, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
    if sum(process.wait() != 0 for process in running):
        raise SystemExit(f"a command of {commands} failed")
    return time.perf_counter() - begin, cpu_of_children() - before


def cpu_of_children() -> float:
    """CPU seconds of all processes that this one and its children have waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def same(one: Path, other: Path) -> bool:
    """Whether two files hold the same bits."""
    arrays = []
    for path in (one, other):
        with uproot.open(path) as file:
            arrays.append(file["deepmem"].arrays(library="np"))
    return arrays[0].keys() == arrays[1].keys() and all(
        values.tobytes() == arrays[1][name].tobytes() for name, values in arrays[0].items()
    )


def alone(
    process: str, number: int, precision: float, folder: Path
) -> tuple[Path, tuple[object, ...], float, float]:
    """A sample, the precision as it is asked for, and the wall and CPU time of one process on one core."""
    events = sample(process, number, folder)
    asked = "--precision", precision, "--workers", 1
    few = command(process, events, folder / "few.root", *asked, "--entries", "0:16")
    seconds(few, pinned=True)  # compiled before
    one, cpu = seconds(command(process, events, folder / "1.root", *asked), pinned=True)
    return events, asked[:2], one, cpu


def workers(folder: Path) -> None:
    """Two workers beside one process on one core."""
    for process, (most, precision, aim) in SAMPLES.items():
        number = most // ASKED["part"]
        what = f"{process}, {number:,} events"
        found = kept(f"workers, {what}", partial(_with_workers, process, number, precision, folder))
        if found is None:
            continue
        one = found["one"]
        say(f"{what}: one process on one core", f"{one:.0f} s")
        say("  two workers are faster by", f"{one / found['two']:.2f}", f"≥ {aim}")
        say("  all their CPU time over that of the one", f"{found['CPU of two'] / found['CPU of one']:.2f}")
        say("  two processes apart, each with half of the events, by", f"{one / found['apart']:.2f}")
        say("  the same bits", "yes" if found["same bits"] else "NO", "yes")


def _with_workers(process: str, number: int, precision: float, folder: Path) -> dict[str, Any]:
    """Seconds of one process, of two workers, and of two processes that know nothing of each other."""
    events, asked, one, cpu = alone(process, number, precision, folder)
    two, cpu_of_two = seconds(command(process, events, folder / "2.root", *asked, "--workers", 2))
    halves = [
        command(process, events, folder / f"half{i}.root", *asked, "--workers", 1, "--entries", cut)
        for i, cut in enumerate((f"0:{number // 2}", f"{number // 2}:{number}"))
    ]
    apart, _ = seconds(*halves, pinned=True)
    return {
        "one": one,
        "CPU of one": cpu,
        "two": two,
        "CPU of two": cpu_of_two,
        "apart": apart,
        "same bits": same(folder / "1.root", folder / "2.root"),
    }


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
    process, (most, precision, _) = "ttbar_2l", SAMPLES["ttbar_2l"]
    number = most // ASKED["part"]
    events, asked, one, _ = alone(process, number, precision, folder)
    with farm(folder):
        time.sleep(5)
        two, _ = seconds(command(process, events, folder / "2.root", *asked, "--scheduler", ADDRESS))
    say(f"{process}, {number:,} events: one process on one core", f"{one:.0f} s")
    say("  two workers of Dask are faster by", f"{one / two:.2f}", "≥ 1.8")
    say("  the same bits", "yes" if same(folder / "1.root", folder / "2.root") else "NO", "yes")


def cpu_of(process: int) -> float:
    """Seconds that a process has computed, as Linux counts them."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_of(process: int) -> float:
    """The largest memory that a process has had, MB, as Linux counts it. (`getrusage` counts its parent's, too.)"""
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line for line in status.splitlines() if "VmHWM" in line).split()[1]) / 1024


def start(folder: Path) -> None:
    """Of a worker whose programs have been compiled before: time until its first weight, and its memory."""
    os.environ.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # Python keeps its bytecode, as it does of what is installed
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compiled_programs()))  # as the command does
    for process in SAMPLES:
        with uproot.open(sample(process, 256, folder)) as file:
            columns = file["events"].arrays(library="np")
        task = Task(hypotheses(process, {}))
        table = np.stack([columns[name] for name in task.columns], axis=1).astype(np.float64)
        for _ in ("compiles", "is measured"):
            begin = time.perf_counter()
            crew = Workers([cores_here()[:1]], WEIGHTS)
            while not crew.free:
                crew.answers()
            crew.submit(0, task.compute_table, (table[:1], np.arange(1)))
            while not crew.answers():
                pass
            spent, cpu = time.perf_counter() - begin, cpu_of(crew.numbers[0])
            crew.submit(1, task.compute_table, (table, np.arange(len(table))))
            while not crew.answers():
                pass
            peak = peak_of(crew.numbers[0])
            crew.close()
        say(f"{process}: start of a worker until its first weight", f"{spent:.1f} s", "≤ 5 s")
        say("  of it CPU", f"{cpu:.1f} s")
        say("  its memory after 256 events", f"{peak:.0f} MB", "≤ 700 MB")


class Simulated:
    """A crew of many that answer at once, and compute nothing."""

    piece_seconds, size = 30.0, SIMULATED

    def __init__(self) -> None:
        self.free = self.size
        self._asked: deque[tuple[int, int]] = deque()

    def submit(self, ticket: int, work: object, arguments: Sequence[Any]) -> None:
        self._asked.append((ticket, len(arguments[0])))
        self.free -= 1

    def answers(self, wait: float | None = None) -> list[Answer]:
        ticket, events = self._asked.popleft()
        self.free += 1
        none = np.zeros(events), np.zeros(events), np.zeros(events, dtype=np.int32)
        return [Answer(ticket, Computed({"none": Weight(*none)}, None, 30.0, False))]

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
    """Kills of workers, of the driver and of the scheduler, in one call."""
    number = ASKED["events"] // ASKED["part"]
    events = sample("ttbar_2l", number, folder)
    call = command("ttbar_2l", events, folder / "whole.root", "--precision", 0.05, "--workers", 1)
    seconds(call)
    rng = random.Random(1)
    with farm(folder) as there:
        words = command("ttbar_2l", events, folder / "dask.root", "--precision", 0.05, "--scheduler", ADDRESS)
        kills = [who for who, number in KILLS.items() for _ in range(max(1, number // ASKED["part"]))]
        rng.shuffle(kills)
        status, done = disturbed(words, kills, there, folder, rng)
    say(f"ttbar_2l, {number:,} events by Dask: kills before it ended", str(done), f"{len(kills)} ± 0")
    say("  the last driver's exit status", str(status), "0 ± 0")
    bits = status == 0 and same(folder / "whole.root", folder / "dask.root")
    say("  the same bits as undisturbed", "yes" if bits else "NO", "yes")


def disturbed(
    words: list[str],
    kills: list[str],
    there: dict[str, subprocess.Popen[bytes]],
    folder: Path,
    rng: random.Random,
) -> tuple[int, int]:
    """Kill what is named, one after the other, and start it again, each after something was kept since; **returns** how
    the driver ends, and how many kills came before that."""
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    driver, done, kept = subprocess.Popen(words, **quiet), 0, 0
    for kill in kills:
        deadline = time.monotonic() + LONGEST_PAUSE
        while driver.poll() is None and parts_of(folder) <= kept and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 1))
        kept = parts_of(folder)
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


def parts_of(folder: Path) -> int:
    """How many pieces of the disturbed call are kept."""
    return sum(1 for _ in folder.glob(".dask.root.parts/*.npz"))


def big(folder: Path, number: int) -> Path:
    """So many Drell-Yan events, or the file that was named."""
    return Path(ASKED["big"]) if ASKED["big"] else big_file(folder, number)


def measured(code: str, *arguments: object) -> dict[str, float]:
    """What a process of its own that runs `code` says: `wall` of what it measures; and `peak`, its memory in MB."""
    before = "import json, os, sys, time\nbegin = time.perf_counter()\nsaid = {}\n"
    after = (
        "\nwall = time.perf_counter() - begin\nfrom scale import peak_of\n"
        "print(json.dumps({'wall': wall, 'peak': peak_of(os.getpid())} | said))"
    )
    words = [sys.executable, "-c", before + code + after, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def memory(folder: Path) -> None:
    """Of a driver: it reads, hashes, keeps and writes; its workers are simulated."""
    number = BIG // 2 // ASKED["part"]
    file, peaks = big(folder, number), {}
    for events in (10_000, number):
        code = (
            "import scale\n"
            "from deepmem.jobs import exact\n"
            "from deepmem.jobs.spreading import Hands\n"
            "Hands.of = classmethod(lambda cls, *_: cls(scale.Simulated, at_once=True))\n"
            "exact.compute_files([sys.argv[1]], sys.argv[2], ['drell_yan'], entries=(0, int(sys.argv[3])), part=100_000)"
        )
        found = measured(code, file, folder / "driver.root", events)
        peaks[events] = found["peak"]
        say(f"driver of {events:,} events: memory", f"{found['peak']:.0f} MB")
        say("  time", f"{found['wall']:.0f} s")
    say(
        f"driver: memory with {number:,} over that with 10,000",
        f"{peaks[number] / peaks[10_000]:.2f}",
        "≤ 1.2",
    )


def predict(folder: Path) -> None:
    """ROOT in to ROOT out, the whole process."""
    trained(folder)
    peaks = {}
    for number in (BIG // 20 // ASKED["part"], BIG // ASKED["part"]):
        file = big(folder, number) if number == BIG else big_file(folder, number)
        for workers in (1, 2):
            code = (
                "from deepmem.jobs.prediction import predict\n"
                "from deepmem.jobs.staff import Staff\n"
                "predict([sys.argv[1]], sys.argv[2], model=sys.argv[3], staff=Staff(int(sys.argv[4])))"
            )
            found = measured(code, file, folder / "p.root", folder / "drell_yan.model", workers)
            peaks[number, workers] = found["peak"]
            how = "one process" if workers == 1 else f"--workers {workers}"
            aim = "≥ 300,000" if number == BIG else ""  # of less, the start takes longer
            say(f"predict, {number:,} events, {how}", f"{number / found['wall']:,.0f} events/s", aim)
            say("  memory of the process that reads and writes", f"{found['peak']:.0f} MB")
    (few, one), (many, _) = min(peaks), max(peaks)
    ratio = peaks[many, one] / peaks[few, one]
    say(f"predict: memory with {many:,} over that with {few:,}", f"{ratio:.2f}", "≤ 1.1")


def hybrid(folder: Path) -> None:
    """An epoch of one member with the streaming loader."""
    number = BIG // ASKED["part"]
    file = str(big(folder, number))
    asked = configuration(folder, input_paths=[file], output_paths=[file], batch_size=4096, seed=1)
    code = (
        "import deepmem\n"
        "deepmem.train(json.loads(sys.argv[1]), epochs=1, loader='hybrid')\n"
        "lines = open(sys.argv[2]).read().splitlines()\n"
        "said['rate'] = json.loads(lines[-1])['events_per_second']"
    )
    found = measured(code, json.dumps(asked), folder / "drell_yan.model.run" / "metrics.jsonl")
    say(f"train, hybrid, {number:,} rows, batch 4,096", f"{found['rate']:,.0f} events/s", "≥ 300,000")
    say("  memory", f"{found['peak']:.0f} MB", "≤ 1,500 MB")
    say("  the whole call, errors fitted", f"{found['wall']:.0f} s")


PARTS = {
    "workers": workers,
    "dask": dask,
    "start": start,
    "overhead": overhead,
    "memory": memory,
    "faults": faults,
    "predict": predict,
    "hybrid": hybrid,
}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, metavar="N", help="top pairs of `faults` (2,000)")
    parser.add_argument("--part", type=int, metavar="K", help="samples have one K-th of their events")
    parser.add_argument("--big", metavar="FILE", help="20 million Drell-Yan events that are there")
    ASKED.update(
        {key: each for key, each in vars(parser.parse_known_args()[0]).items() if key in ASKED and each}
    )


if __name__ == "__main__":
    run(PARTS, one_folder=True, more=options)
