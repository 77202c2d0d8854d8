"""A GPU beside the cores of the same machine: |M|², exact weights, training, prediction.

    python benchmarks/gpu.py [--write] [--scale X]

What a platform does is measured in a process of its own, after a call that compiles. Without a GPU the CPU is measured
alone. `--scale 0.05` makes all samples as much smaller: a trial that takes a minute. A GPU's numbers are for the batches
that it is fastest with, and the page says which.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from surrogate import DATA, configuration
from table import run, say

REFERENCE = Path(__file__).parent.parent / "tests" / "reference"
BATCHES = (1_032, 16_384, 262_144)
REACTIONS = ("uux_epvemuvm", "gg_ttx_semilep", "gg_ttxh_semilep_hbb")
# name of the menu, events, precision
WEIGHTS = (("higgs_4l", 4_000, 0.01), ("ttbar_2l", 400, 0.02))
PREDICTED = 1_000_000


def _rate(call: Callable[[], Any], count: int, least: float = 1.0) -> float:
    """How many of what a call makes `count` of are made in a second, after one that compiles."""
    call()
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < least:
        call()
        done += count
    return done / (time.perf_counter() - begin)


def amplitudes() -> dict[str, Any]:
    """Points a second for each size of batch, in double and single precision, and how far those are apart."""
    import jax
    import jax.numpy as jnp

    from deepmem.physics.amplitudes.amplitude import amplitude
    from deepmem.physics.amplitudes.stages import Stages
    from deepmem.physics.precision import double_precision
    from deepmem.physics.theory.models import load
    from deepmem.physics.theory.reaction import parse
    from deepmem.physics.theory.subprocesses import expand

    entries = json.loads((REFERENCE / "madgraph.json").read_text())
    found: dict[str, Any] = {}
    for name in REACTIONS:
        entry = entries["processes"][name]
        model = load(entry["model"])
        (only,) = expand(parse(entry["process"]), model)
        one = amplitude(model, only, along_z=True)
        stages = Stages(one.program)
        rates, values = {}, {}
        for kind in ("float64", "float32"):
            scalars = stages.scalars(model, entries["parameters"][entry["model"]], np, np.dtype(kind).type)
            for size in BATCHES:
                with double_precision():
                    points = jnp.asarray(
                        np.resize(entry["momenta"], (size, *np.shape(entry["momenta"])[1:])), kind
                    )
                    kernel = jax.jit(stages.kernel)
                    rates[f"{kind} {size}"] = _rate(lambda: kernel(points, scalars).block_until_ready(), size)  # noqa: B023
                    values[kind] = np.asarray(kernel(points, scalars))[:2].real
        off = float(np.abs(values["float32"] / values["float64"] - 1).max())
        found[name] = {"rates": rates, "single": off, "process": entry["process"]}
    return found


def weights(scale: float) -> dict[str, Any]:
    """Weights a second, and the weights themselves, to be compared between platforms."""
    from deepmem.physics.weights import engine
    from deepmem.physics.weights.hypothesis import hypothesis
    from deepmem.physics.weights.leading_order import draw_events

    found: dict[str, Any] = {}
    for name, number, precision in WEIGHTS:
        events = max(16, int(scale * number))
        columns = draw_events(name, events, 5, recoil=20.0).columns
        alpha = hypothesis(name)
        engine.compute(alpha, columns, precision=precision)
        begin = time.perf_counter()
        (weight,) = engine.compute(alpha, columns, precision=precision).values()
        seconds = time.perf_counter() - begin
        found[name] = {
            "rate": events / seconds,
            "value": weight.value.tolist(),
            "error": weight.error.tolist(),
        }
    return found


def networks(scale: float, device: int | None) -> dict[str, Any]:
    """Events a second: training of five networks, and prediction with errors and statuses, in memory."""
    import deepmem
    from deepmem.data.root import Source
    from deepmem.devices import on_device

    with tempfile.TemporaryDirectory() as folder:
        config = configuration(Path(folder), batch_size=4_096, members=5, device=device)
        model = deepmem.train(config, epochs=4)
        history = Path(f"{folder}/drell_yan.model.run/metrics.jsonl").read_text().splitlines()
    rates = [json.loads(line)["events_per_second"] for line in history[1:]]
    table = Source([str(DATA / "events_60k.root")], None, model.columns).read(0, 60_000)
    table = np.resize(table, (max(60_000, int(scale * PREDICTED)), table.shape[1]))
    with on_device(device):
        predicted = _rate(lambda: model.predict(table), len(table))
    return {"training": float(np.median(rates)), "predicted": predicted}


def measure(platform: str, scale: float) -> dict[str, Any]:
    """All of it, on the platform that this process has."""
    import jax

    device = jax.devices()[0]
    found = {
        "kind": device.device_kind,
        "amplitudes": amplitudes(),
        "weights": weights(scale),
        "networks": networks(scale, None if platform == "cpu" else 0),
    }
    memory = device.memory_stats() or {}
    found["peak"] = memory.get("peak_bytes_in_use", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    return found


def _measured(platform: str, scale: float) -> dict[str, Any] | None:
    """In a process of its own; None where JAX has no such platform."""
    command = [sys.executable, __file__, "--platform", platform, "--scale", str(scale)]
    done = subprocess.run(
        command, env=os.environ | {"JAX_PLATFORMS": platform}, stdout=subprocess.PIPE, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if done.returncode == 0 and lines else None


def _there(platform: str) -> bool:
    code = "import jax; jax.devices()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"JAX_PLATFORMS": platform},
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


_scale = 1.0


def compared() -> None:
    """The CPU's numbers, and the GPU's beside them where there is one."""
    cpu = _measured("cpu", _scale)
    gpu = _measured("cuda", _scale) if _there("cuda") else None
    if cpu is None:
        sys.exit("the measurement on the CPU failed: its message stands above")
    platforms = {"CPU": cpu} | ({} if gpu is None else {"GPU": gpu})
    for label, found in platforms.items():
        say(f"{label}: {found['kind']}, memory at most", f"{found['peak'] / 2**20:,.0f} MB")
    for name in REACTIONS:
        say(f"{cpu['amplitudes'][name]['process']}:")
        for kind in ("float64", "float32"):
            best = {}
            for label, found in platforms.items():
                rates = {k: v for k, v in found["amplitudes"][name]["rates"].items() if k.startswith(kind)}
                size, best[label] = max(rates.items(), key=lambda item: item[1])
                batch = f"{int(size.split()[1]):,}"
                say(f"  {label}, {kind}, batches of {batch}", f"{1e-6 * best[label]:.3g} million/s")
            if gpu is not None:
                say(f"  GPU over CPU, {kind}", f"{best['GPU'] / best['CPU']:.1f}")
        say("  single against double precision", f"{cpu['amplitudes'][name]['single']:.1e}", "≤ 1e-2")
    for name, _, precision in WEIGHTS:
        say(f"{name} at {100 * precision:g} %:")
        rates = {label: found["weights"][name]["rate"] for label, found in platforms.items()}
        for label, rate in rates.items():
            say(f"  {label}", f"{rate:,.1f} weights/s")
        if gpu is not None:
            say("  GPU over CPU", f"{rates['GPU'] / rates['CPU']:.1f}")
            a, b = (found["weights"][name] for found in platforms.values())
            distance = np.subtract(a["value"], b["value"]) / np.hypot(a["error"], b["error"])
            say("  largest difference, in errors", f"{np.nanmax(np.abs(distance)):.1f}", "≤ 6")
    for key, what in (("training", "training, five networks"), ("predicted", "prediction with errors")):
        say(f"{what}:")
        for label, found in platforms.items():
            say(f"  {label}", f"{found['networks'][key]:,.0f} events/s")


PARTS = {"compared": compared}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scale", type=float, default=1.0, help="of the samples")
    parser.add_argument("--platform", help=argparse.SUPPRESS)
    global _scale
    asked, _ = parser.parse_known_args()
    _scale = asked.scale
    if asked.platform:
        print(json.dumps(measure(asked.platform, asked.scale)))
        sys.exit()


if __name__ == "__main__":
    run(PARTS, more=_options)
