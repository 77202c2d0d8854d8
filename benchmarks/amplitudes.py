"""Generated amplitudes against MadGraph's Fortran: numbers, size, time to the first one, speed.

    python benchmarks/amplitudes.py [entries] [ufo] [first] [memory] [--write]

`entries`: every reaction of tests/reference/madgraph.json and uū → 4ℓ, compiled in this process, one core. `ufo`:
reactions of two models that come with MadGraph, EWdim6 and MSSM_SLHA2, whose folders are in the one that DEEPMEM_UFO
names. `first`: seconds from a
process string to the first number in a new interpreter, with nothing in a cache and again. `memory`: peak while the
largest graphs are made. Speeds are of batches of 1,032 points, beams along z, parameters as arguments; MadGraph's times
are those in the file.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
from table import run, say

from deepmem.physics.amplitudes.amplitude import Amplitude, amplitude
from deepmem.physics.amplitudes.stages import Stages
from deepmem.physics.precision import double_precision
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.models import load
from deepmem.physics.theory.reaction import parse
from deepmem.physics.theory.subprocesses import expand

FOLDER = Path(__file__).parents[1] / "tests" / "reference"
REFERENCE = json.loads((FOLDER / "madgraph.json").read_text())
PROCESSES = REFERENCE["processes"]
# 53,000 calls a second, as in `exact.py amplitude`.
PROCESSES["uux_4l"] = json.loads((FOLDER / "matrix_elements.json").read_text())["processes"]["uux_4l"] | {
    "us_per_call": 18.87,
    "tolerance": 1e-11,
}
BATCH = 1032
FASTER = {
    **dict.fromkeys(("gg_ttx_semilep", "gg_ttxh_semilep_hbb", "gg_ttxh_dilep_hbb", "gg_epvebmuvmbx"), 100),
    **dict.fromkeys(("uux_4l", "uux_epemgg", "gg_ggg", "gg_ttxbbx_semilep"), 100),
    **{"gg_ttxbbx": 25, "gg_gggg": 30, "gg_ttxttx": 30},
}
UFO = json.loads((FOLDER / "madgraph_ufo.json").read_text())
COLD = {
    "gg_ttx_semilep": 5,
    "gg_ttxh_semilep_hbb": 8,
    "uux_epemgg": 20,
    "gg_ttxbbx": 20,
    "gg_ttxbbx_semilep": 20,
}
WARM = 3


def made(name: str) -> Amplitude:
    model = load(PROCESSES[name]["model"])
    (only,) = expand(parse(PROCESSES[name]["process"]), model)
    return amplitude(model, only, along_z=True, cache=False)


def seconds_per_point(
    one: Amplitude, momenta: np.ndarray, parameters: dict[str, float], budget: float = 0.5
) -> float:
    """The best of the repetitions within a budget of seconds."""
    scalars = Stages(one.program).scalars(one.model, parameters, np, np.float64)
    best, begin = np.inf, time.perf_counter()
    with double_precision():
        batch = jnp.asarray(momenta[np.arange(BATCH) % len(momenta)])
        kernel, scalars = one.compiled(BATCH), jax.device_put(scalars)
        while time.perf_counter() - begin < budget:
            start = time.perf_counter()
            kernel(batch, scalars).block_until_ready()
            best = min(best, time.perf_counter() - start)
    return best / BATCH


def entries() -> None:
    """All reactions, or those that DEEPMEM_ENTRIES names."""
    chosen = os.environ.get("DEEPMEM_ENTRIES", "").split() or list(PROCESSES)
    for name in chosen:
        entry = PROCESSES[name]
        report(entry, load(entry["model"]), REFERENCE["parameters"][entry["model"]], FASTER.get(name))


def ufo() -> None:
    """The reactions of two public UFO models."""
    if "DEEPMEM_UFO" not in os.environ:
        sys.exit("set DEEPMEM_UFO to the folder in which EWdim6 and MSSM_SLHA2 are; they come with MadGraph")
    for entry in UFO["processes"].values():
        model = load(Path(os.environ["DEEPMEM_UFO"]) / entry["model"])
        report(entry, model, UFO["parameters"][entry["card"]])


def report(entry: dict, model: Model, parameters: dict[str, float], faster: float | None = None) -> None:
    """Difference, size, times and speed of one reaction."""
    start = time.perf_counter()
    (only,) = expand(parse(entry["process"]), model)
    one = amplitude(model, only, along_z=True, cache=False)
    generated = time.perf_counter()
    with double_precision():
        one.compiled(BATCH)
    compiled = time.perf_counter()
    found = one.values(entry["momenta"], parameters)
    off = np.max(np.abs(found / entry["me2"] - 1))
    speed = seconds_per_point(one, np.array(entry["momenta"]), parameters)
    card = f" ({entry['card']})" if entry.get("card", entry["model"]) != entry["model"] else ""
    what = f"{entry['process']}, {entry['model']}{card}: difference"
    say(what, f"{off:.0e}", f"≤ {entry['tolerance']:.0e}")
    say("  operations", f"{one.program.operations:,}")
    say("  times that they are done", f"{len(one.program.combinations)}")
    say("  generated in", f"{generated - start:.1f} s")
    say("  compiled in", f"{compiled - generated:.1f} s")
    say("  million points a second", f"{1e-6 / speed:.3g}")
    ratio = entry["us_per_call"] * 1e-6 / speed
    say("  times MadGraph", f"{ratio:.0f}", "" if faster is None else f"≥ {faster}")


_FIRST = """
import json, sys
import deepmem
entry = json.loads(sys.stdin.read())
print(deepmem.matrix_element(entry["process"], None, entry["momenta"]))
"""


def first() -> None:
    """A new interpreter: nothing cached, then with what the call before has left, in a user's own session."""
    without = {key: value for key, value in os.environ.items() if not key.startswith("JAX_")}
    for name, most in COLD.items():
        with tempfile.TemporaryDirectory() as folder:
            seconds = []
            for _ in range(2):
                start = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-c", _FIRST],
                    input=json.dumps(PROCESSES[name]),
                    text=True,
                    env=without | {"XDG_CACHE_HOME": folder},
                    check=True,
                    capture_output=True,
                )
                seconds.append(time.perf_counter() - start)
        say(f"{PROCESSES[name]['process']}: first number, cold", f"{seconds[0]:.1f} s", f"≤ {most} s")
        say("  again", f"{seconds[1]:.1f} s", f"≤ {WARM} s")


def memory() -> None:
    """Peak resident memory after making each of the largest."""
    for name in ("gg_ttxbbx_semilep", "gg_ttxbbx", "gg_ttxttx", "gg_gggg"):
        made(name)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        say(f"{PROCESSES[name]['process']}: peak memory", f"{peak:.0f} MB", "≤ 1000 MB")


PARTS = {part.__name__: part for part in (entries, ufo, first, memory)}


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    run(PARTS, leave_out=("ufo",))
