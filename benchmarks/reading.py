"""Reading events that are collections: cuts, overlap removal, b tags and order, until there are 16 columns.

    python benchmarks/reading.py [collections] [--write]

The file is written here, in the format of NanoAOD (version 12): 1.9 electrons and muons and 5 jets an event, single
precision, no order. The rate is of CPU time of one core, and beside it of wall time with threads that unpack, as commands read. Memory is what a process peaks at that reads all of the file, above one
that reads its first cluster.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from table import run, say

from deepmem.config import Config
from deepmem.data.loaders import ahead
from deepmem.data.root import Source

EVENTS, CLUSTER = 4_000_000, 100_000
# From here on memory is that of chunks that are read ahead, and of threads.
FEWER = 2_000_000
COLUMNS = (
    *(f"lep{i}_{name}" for i in (1, 2) for name in ("PT", "Eta", "Phi", "Charge")),
    *(f"j{i}_{name}" for i in (1, 2) for name in ("PT", "Eta", "Phi")),
    "MET", "MET_Phi",
)  # fmt: skip
SETTINGS: dict[str, Any] = {
    "schema": "nanoaod",
    "objects": {
        "leptons": {"cuts": {"pt": 15, "eta": 2.4}},
        "jets": {"cuts": {"pt": 25, "eta": 2.4}, "overlap": {"leptons": 0.4}},
    },
}
# Of each collection: objects an event, and the mean of pT − 10 GeV.
COLLECTIONS = {"Electron": (0.9, 12.0), "Muon": (1.0, 15.0), "Jet": (5.0, 25.0)}


def _cluster(seed: int) -> dict[str, Any]:
    """Events of one cluster."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for name, (number, scale) in COLLECTIONS.items():
        counts = rng.poisson(number, CLUSTER)
        total = int(counts.sum())
        flat = {
            "pt": 10 + rng.exponential(scale, total), "eta": rng.normal(0, 1.5, total),
            "phi": rng.uniform(-np.pi, np.pi, total), "mass": rng.uniform(1, 15, total),
        }  # fmt: skip
        flat |= (
            {"btagPNetB": rng.uniform(0, 1, total)}
            if name == "Jet"
            else {"charge": rng.choice((-1, 1), total)}
        )
        for field, values in flat.items():
            kind = np.int32 if field == "charge" else np.float32
            columns[f"{name}_{field}"] = ak.unflatten(ak.Array(values.astype(kind)), counts)
    missing = {"pt": rng.exponential(30, CLUSTER), "phi": rng.uniform(-np.pi, np.pi, CLUSTER)}
    return columns | {f"PuppiMET_{name}": values.astype(np.float32) for name, values in missing.items()}


def write(path: Path, compression: Any) -> None:
    """A file of events, cluster by cluster."""
    with uproot.recreate(path, compression=compression) as file:
        for at in range(EVENTS // CLUSTER):
            columns = _cluster(at)
            if at == 0:
                kinds = {
                    name: values.type.content if isinstance(values, ak.Array) else values.dtype
                    for name, values in columns.items()
                }
                file.mktree("Events", kinds)
            file["Events"].extend(columns)


def read(path: str, events: int) -> dict[str, float]:
    """One pass through the first events of a file: rate, and the most memory that was used."""
    source = Source([path], "Events", COLUMNS, (), Config.load(SETTINGS, need=()).located)
    bounds = source.boundaries(0, events, CLUSTER)
    begin = time.process_time()
    there = sum(int(np.isfinite(source.read(*each)).all(axis=1).sum()) for each in bounds)
    seconds = time.process_time() - begin
    begin = time.perf_counter()
    for _ in ahead(source.tables(bounds)):
        pass
    wall = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rate": events / seconds, "wall": events / wall, "peak_mb": peak, "part": there / events}


def branches_alone(path: str) -> float:
    """CPU seconds in which uproot reads the same branches, and makes nothing of them."""
    source = Source([path], "Events", COLUMNS, (), Config.load(SETTINGS, need=()).located)
    (file,) = source.files
    assert file.reading is not None
    begin = time.process_time()
    for start, stop in source.boundaries(0, EVENTS, CLUSTER):
        for name in file.reading.branches:
            file.tree[name].array(entry_start=start, entry_stop=stop, library="ak")
    return time.process_time() - begin


def collections(folder: Path) -> None:
    """Dileptons with two jets and missing pT, by how the file is compressed."""
    for name, compression in (("ZSTD", uproot.ZSTD(5)), ("LZ4", uproot.LZ4(4)), ("ZLIB", uproot.ZLIB(1))):
        path = folder / f"{name}.root"
        write(path, compression)
        found = {}
        for events in (FEWER, EVENTS):
            command = [sys.executable, __file__, "--pass", str(path), str(events)]
            answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found[events] = json.loads(answer)
        whole, growth = found[EVENTS], found[EVENTS]["peak_mb"] - found[FEWER]["peak_mb"]
        alone = branches_alone(str(path))
        say(
            f"collections to {len(COLUMNS)} columns, {name}: events/s of one core",
            f"{whole['rate']:,.0f}",
        )
        say("  of wall time, threads unpack: events/s", f"{whole['wall']:,.0f}", "≥ 500,000")
        say("  uproot alone, the same branches: events/s", f"{EVENTS / alone:,.0f}")
        say("  CPU after unpacking, per event", f"{1e6 / whole['rate'] - 1e6 * alone / EVENTS:.2f} µs")
        say("  events with all of the columns", f"{100 * whole['part']:.0f} %")
        say(
            f"  peak memory, {EVENTS / 1e6:.0f} million above {FEWER / 1e6:.1f} million events",
            f"{growth:.0f} MB",
            "≤ 50 MB",
        )
        path.unlink()


PARTS = {"collections": collections}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--pass"]:
        print(json.dumps(read(sys.argv[2], int(sys.argv[3]))))
    else:
        run(PARTS)
