"""Accuracy and speed of one network on the Drell-Yan reference sample (60,000 events, 10 columns, 8:1:1).

    python benchmarks/surrogate.py [accuracy] [symmetry] [training] [loading] [naming] [--write]

Without arguments everything is measured, which takes about ten minutes on two cores. `training` compares with the loop of the
original DeepMEM and needs PyTorch (pip install torch) for it. Times depend on the machine: read them as ratios.
"""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from table import run, say

import deepmem
from deepmem.data.loaders import LOADERS, Paired
from deepmem.data.root import Source
from deepmem.errors import DeepMEMWarning

DATA = Path(__file__).parent.parent / "tests" / "reference" / "drell_yan"
COLUMNS = (
    "lep1_PT", "lep1_Eta", "lep1_Phi", "lep1_Charge",
    "lep2_PT", "lep2_Eta", "lep2_Phi", "lep2_Charge", "MET", "MET_Phi",
)  # fmt: skip
EPOCHS = 400


def configuration(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "input_paths": [str(DATA / "events_60k.root")],
        "output_paths": [str(DATA / "weights_60k.root")],
        "prefixes": [["lep1_", "lep2_"], ["MET"]],
        "suffixes": [["PT", "Eta", "Phi", "Charge"], ["", "_Phi"]],
        "weights": ["weight_DY"],
        "members": 1,
        "save_lowest_loss_model_at": str(folder / "drell_yan.model"),
        "save_testing_histogram_at": str(folder / "histogram.png"),
    } | changes


def accuracy(folder: Path) -> None:
    """Default settings but for the number of epochs, and one network instead of five (see trust.py)."""
    begin = time.perf_counter()
    deepmem.train(configuration(folder), epochs=EPOCHS)
    seconds = time.perf_counter() - begin
    figures = deepmem.test(configuration(folder))["weights"]["weight_DY"]
    say(f"training, {EPOCHS} epochs", f"{seconds:.0f} s", "≤ 120 s")
    say("|Δ log10 w| of 68 % of test events", f"{figures['q68']:.5f}", "≤ 0.0015")
    say("|Δ log10 w| of 95 % of test events", f"{figures['q95']:.5f}", "≤ 0.005")
    say("|Δ log10 w| of 99.9 % of test events", f"{figures['q999']:.5f}")
    say("|median of Δ|", f"{abs(figures['median']):.6f}", "≤ 0.0003")
    say("bias of the weight", f"{100 * figures['bias']:+.3f} %")
    for name in ("hybrid", "inbuilt"):
        quantiles = {}
        for loader in ("hybridMT", name):
            values = []
            for seed in (1, 2, 3):
                config = configuration(folder, chunk_entries=5000, seed=seed)
                deepmem.train(config, epochs=30, loader=loader)
                values.append(deepmem.test(config)["weights"]["weight_DY"]["q68"])
            quantiles[loader] = np.mean(values)
        ratio = quantiles[name] / quantiles["hybridMT"]
        say(f"68 % of |Δ|, {name} / hybridMT, 3 seeds, 30 epochs", f"{ratio:.2f}", "0.8 to 1.2")
    deepmem.train(configuration(folder), epochs=30)


def symmetry(folder: Path) -> None:
    """Events turned about the beam, in double and as they would be stored in single precision."""
    model = trained(folder)
    with uproot.open(f"{DATA / 'events_60k.root'}:events") as tree:
        events = {name: tree[name].array(library="np").astype(np.float64) for name in COLUMNS}
    before = np.log10(model(events)["weight_DY"].value)
    for kind, label in ((np.float64, "double"), (np.float32, "single")):
        largest = 0.0
        for angle in np.linspace(-3, 3, 7):
            turned = dict(events)
            for name in ("lep1_Phi", "lep2_Phi", "MET_Phi"):
                wrapped = np.mod(events[name] + angle + np.pi, 2 * np.pi) - np.pi
                turned[name] = wrapped.astype(kind).astype(np.float64)
            after = np.log10(model(turned)["weight_DY"].value)
            largest = max(largest, float(np.abs(after - before).max()))
        say(f"largest change of log10 w when rotated, {label}", f"{largest:.1e}", "≤ 1e-5")


def trained(folder: Path) -> deepmem.Surrogate:
    path = folder / "drell_yan.model"
    return deepmem.Surrogate.load(path) if path.exists() else deepmem.train(configuration(folder), epochs=30)


def training(folder: Path) -> None:
    """Events per second of an epoch, batch 512, beside the original's loop (4 × 200, ReLU, Adam, batch 64)."""
    deepmem.train(configuration(folder), epochs=12)
    history = (folder / "drell_yan.model.run" / "metrics.jsonl").read_text().splitlines()
    ours = float(np.median([json.loads(line)["events_per_second"] for line in history[2:]]))
    say("training, default network, batch 512", f"{ours:,.0f} events/s")
    try:
        import torch
    except ImportError:
        print("  (the original's loop needs PyTorch: pip install torch)")
        return
    original = originals_loop(torch)
    say("training, loop of DeepMEM 0.0.1, batch 64", f"{original:,.0f} events/s")
    say("  times faster than the loop of 0.0.1", f"{ours / original:.1f}", "≥ 10")


def originals_loop(torch: Any) -> float:
    """The loop of 0.0.1, written again from what it does: its network, loss, optimiser, batch and data set."""
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = [10, 200, 200, 200, 200]
            self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
            self.last = nn.Linear(210, 1)

        def forward(self, x: Any) -> Any:
            h = x
            for layer in self.layers:
                h = torch.relu(layer(h))
            return self.last(torch.cat([h, x], dim=1))

    with uproot.open(f"{DATA / 'events_60k.root'}:events") as tree:
        x = np.stack([tree[name].array(library="np") for name in COLUMNS], axis=1)[:48_000]
    with uproot.open(f"{DATA / 'weights_60k.root'}:weights") as tree:
        y = -np.log10(tree["weight_DY"].array(library="np")[:48_000, None])
    x = ((x - x.min(0)) / (x.max(0) - x.min(0))).astype(np.float64)

    class Batches(torch.utils.data.Dataset):
        """The original's hybridMT: an item is a batch, in double precision, shuffled once."""

        def __len__(self) -> int:
            return len(x) // 64

        def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
            return x[64 * i : 64 * (i + 1)], y[64 * i : 64 * (i + 1), 0]

    net = Net()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    loader = torch.utils.data.DataLoader(Batches(), batch_size=1, shuffle=False, num_workers=0)
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        for inputs, target in loader:
            predicted = net(inputs.squeeze().float()).squeeze()
            loss = nn.functional.mse_loss(target.squeeze().float(), predicted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        times.append(time.perf_counter() - begin)
    return len(x) / float(np.median(times))


def big_file(folder: Path, events: int) -> Path:
    """A file of so many events: the reference sample with its last digits drawn anew, so that nothing compresses unduly."""
    path = folder / f"big_{events}.root"
    if path.exists():
        return path
    with uproot.open(f"{DATA / 'events_60k.root'}:events") as tree:
        sample = {name: tree[name].array(library="np") for name in COLUMNS}
    rng = np.random.default_rng(0)
    with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
        file.mktree("events", dict.fromkeys((*COLUMNS, "weight_DY"), "f4"))
        for at in range(0, events, 240_000):
            n = min(240_000, events - at)
            rows = rng.integers(0, 60_000, n)
            chunk = {
                name: (values[rows] * (1 if "Charge" in name else 1 + 1e-4 * rng.random(n))).astype(
                    np.float32
                )
                for name, values in sample.items()
            }
            file["events"].extend(chunk | {"weight_DY": rng.lognormal(-16, 1, n).astype(np.float32)})
    return path


def loading(folder: Path) -> None:
    """One shuffled pass through 20 million events with the streaming loader, in a process of its own."""
    for loader in ("hybrid", "inbuilt"):
        peaks, rate = {}, 0.0
        for events in (100_000, 20_000_000):
            command = [sys.executable, __file__, "--pass", loader, str(big_file(folder, events))]
            answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            peaks[events], rate = answer["peak_mb"], answer["rate"]
        say(
            f"loading alone, 10 columns, {loader}",
            f"{rate / 1e6:.2f} million/s",
            "≥ 1" if loader == "hybrid" else "",
        )
        say(
            f"peak memory, 20 million above 0.1 million events, {loader}",
            f"{peaks[20_000_000] - peaks[100_000]:.0f} MB",
            "≤ 500 MB",
        )


def one_pass(loader: str, path: str) -> None:
    data = Paired(Source([path], None, COLUMNS), Source([path], None, ["weight_DY"]), 1)
    rows = LOADERS[loader](data, (1, 0, 0), 100_000)
    begin, seen = time.perf_counter(), 0
    for block in rows.shuffled(np.random.default_rng(0)):
        seen += len(block.inputs)
    rate = seen / (time.perf_counter() - begin)
    print(json.dumps({"rate": rate, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


# How the ten columns are called: those of a lepton, and missing pT. The last ones say too little.
NAMES = {
    "default names": ("lep{i}_PT lep{i}_Eta lep{i}_Phi lep{i}_Charge", "MET MET_Phi"),
    "pt1 eta1 phi1 Q1": ("pt{i} eta{i} phi{i} Q{i}", "met metphi"),
    "mu1_pt_NOSYS": ("mu{i}_pt_NOSYS mu{i}_eta mu{i}_phi mu{i}_charge", "met_met_NOSYS met_phi_NOSYS"),
    "no charge": ("lep{i}_PT lep{i}_Eta lep{i}_Phi lep{i}_plus", "MET MET_Phi"),
    "no missing pT": ("lep{i}_PT lep{i}_Eta lep{i}_Phi lep{i}_Charge", "lost where"),
    "no pT": ("lep{i}_mom lep{i}_Eta lep{i}_Phi lep{i}_Charge", "MET MET_Phi"),
    "no eta": ("lep{i}_PT lep{i}_forward lep{i}_Phi lep{i}_Charge", "MET MET_Phi"),
    "no phi": ("lep{i}_PT lep{i}_Eta lep{i}_round lep{i}_Charge", "MET MET_Phi"),
    "phi is dphi": ("lep{i}_PT lep{i}_Eta lep{i}_dphi lep{i}_Charge", "MET MET_Phi"),
    "no name at all": ("v{i}a v{i}b v{i}c v{i}d", "w1 w2"),
}


def naming(folder: Path) -> None:
    """The same 12,000 events under other names: what is learned, and how many columns a warning names."""
    with (
        uproot.open(f"{DATA / 'events_60k.root'}:events") as tree,
        uproot.open(f"{DATA / 'weights_60k.root'}:weights") as weights,
    ):
        values = [tree[name].array(library="np", entry_stop=12_000) for name in COLUMNS]
        labels = weights["weight_DY"].array(library="np", entry_stop=12_000)
    with uproot.recreate(folder / "labels.root") as file:
        file["weights"] = {"weight_DY": labels}
    usual = 0.0
    for habit, (leptons, missing) in NAMES.items():
        names = [name.format(i=i) for i in (1, 2) for name in leptons.split()] + missing.split()
        with uproot.recreate(folder / "named.root") as file:
            file["events"] = dict(zip(names, values, strict=True))
        paths = {"input_paths": [str(folder / "named.root")], "output_paths": [str(folder / "labels.root")]}
        config = configuration(folder, **paths, prefixes=[names], suffixes=[[""]])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", DeepMEMWarning)
            deepmem.train(config, epochs=30)
        found = deepmem.test(config)["weights"]["weight_DY"]["q68"]
        usual = usual or found
        say(f"{habit}: 68 % of |Δ log10 w|, times that of default names", f"{found / usual:.2f}")
        named = sum(f"'{name}'" in str(each.message) for each in said for name in names)
        say("  columns that a warning names", f"{named}")


PARTS = {
    "accuracy": accuracy,
    "symmetry": symmetry,
    "training": training,
    "loading": loading,
    "naming": naming,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--pass"]:
        one_pass(sys.argv[2], sys.argv[3])
    else:
        run(PARTS, one_folder=True)
