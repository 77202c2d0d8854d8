"""When to trust learned weights: what is claimed about errors, sums and the way back to exact weights.

    python benchmarks/trust.py [sums] [calibration] [shift] [noise] [members] [roc] [scan] [refine] [active] [tops] [--write]

Without arguments everything is measured, which takes about two hours on two cores. `calibration` and `shift` generate
events with Pythia 8 (extra `generate`); `roc` writes discriminate.png to the folder post_roc, `active` its report to post_active.
`tops` learns from what is in post_tops/events.root and post_tops/weights.root, made by `deepmem generate ttbar_2l` and
`deepmem compute --process ttbar_2l`, where these are there: the last 3,000 events are judged on, the others learned
from, a part of them or all. Otherwise it makes 12,000 events, which takes most of an hour.
Times depend on the machine: read them as ratios. A figure that misses its target is printed all the same.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from table import run, say, say_coverage

import deepmem
from deepmem.evaluation import metrics, sums
from deepmem.evaluation.honesty import Honesty, pulls
from deepmem.event import Weight
from deepmem.jobs import exact
from deepmem.physics.weights.leading_order import draw_events


def _learned_and_exact(
    events: int, spread: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True logs as spread as those of Drell-Yan weights; learned ones with a common bias, and errors whose
    size (known to the model) differs from event to event."""
    truth = rng.normal(-17, 1.5, events)
    size = spread * (0.2 + 0.8 * rng.exponential(size=events))
    return truth, truth + 0.3 * spread + size * rng.normal(size=events), size


def sums_over_events(events: int = 100_000, exact: int = 500, experiments: int = 1000) -> None:
    """Σ log W from learned weights and exact ones on a random subsample, over pseudo-experiments."""
    say(f"Σ log W of {events:,} synthetic events, {exact} of them exact, {experiments} pseudo-experiments:")
    for spread, noise in ((0.02, 0.0), (0.02, 0.01), (0.2, 0.01), (0.2, 0.1)):
        for stratified in (False, True):
            rng = np.random.default_rng(1)
            truth, learned, size = _learned_and_exact(events, spread, rng)
            stratum = sums.strata(size) if stratified else None
            pulls, saved, error = [], [], []
            for _ in range(experiments):
                rows = sums.choose(events, exact, rng, stratum, size if stratified else None)
                true = np.exp(truth[rows])
                weight = Weight(
                    true * (1 + noise * rng.normal(size=exact)), noise * true, np.zeros(exact, np.int32)
                )
                found = sums.estimate(learned, rows, *sums.log_weight(weight), stratum)
                pulls.append((found.value - truth.sum()) / found.error)
                saved.append(found.saved)
                error.append(found.error)
            how = "strata" if stratified else "simple"
            say(
                f"learned to {spread:.0%}, exact to {noise:.0%}, {how}: mean pull",
                f"{np.mean(pulls):+.3f}",
                "0 ± 0.1",
            )
            say("  width of the pulls", f"{np.std(pulls):.3f}", "1 ± 0.1")
            say("  error of the sum", f"{np.mean(error):.1f}")
            say("  learned weights alone are off by", f"{learned.sum() - truth.sum():.0f}")
            say("  times as many exact weights alone for the same error", f"{np.median(saved):.0f}", "≥ 20")


# process → events to learn from and to refine, their cuts, the labels' precision, epochs
SAMPLES: dict[str, tuple[int, int, dict[str, Any], float, int]] = {
    "drell_yan": (60_000, 60_000, {"lepton_pt": 20, "lepton_eta": 2.5}, 1e-3, 60),
    "higgs_4l": (300_000, 20_000, {"lepton_pt": 5, "lepton_eta": 2.5, "mass": [105, 140]}, 0.01, 40),
}


def back_to_exact() -> None:
    """`refine` to 1 % on everything: leading-order events, a model of 60,000 or 300,000 of them, and new ones."""
    for process, (learned, new, cuts, precision, epochs) in SAMPLES.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            columns = draw_events(process, learned + new, 7, cuts, recoil=20.0).columns
            parts = {"old": slice(learned), "new": slice(learned, None)}
            for part, rows in parts.items():
                with uproot.recreate(folder / f"{part}.root") as file:
                    file["events"] = {key: values[rows] for key, values in columns.items()}
            exact.compute_files(
                [str(folder / "old.root")], folder / "weights.root", [process], precision=precision
            )
            deepmem.train(
                {
                    "input_paths": [str(folder / "old.root")],
                    "output_paths": [str(folder / "weights.root")],
                    "prefixes": [list(columns)],
                    "suffixes": [[""]],
                    "weights": [process],
                    "epochs": epochs,
                    "save_lowest_loss_model_at": str(folder / "a.model"),
                }
            )
            found = deepmem.refine(
                [str(folder / "new.root")], folder / "out.root", process, folder / "a.model", tolerance=0.01
            )
        audit, work = found["audit"], found["work"]
        say(
            f"{process}: {new:,} new events to 1 %, {found['flagged']:,} flagged: exact weights",
            f"{work['exact_events']:,}",
        )
        say("  times fewer than for everything", f"{work['fewer_events']:.1f}", "≥ 20")
        say(
            "  tolerance at which it would be 20 times fewer",
            f"{found['learned_relative_errors']['q95']:.2%}",
        )
        for key, what in (("bias", "mean"), ("sum_bias", "sum")):
            if audit[key]:
                say(
                    f"  bias of {audit['judged']} audited learned weights, {what}",
                    f"{audit[key]['value']:+.3%} ± {audit[key]['error']:.3%}",
                    "≤ 0.2 %",
                )
        if audit["coverage"]:
            within = [audit["coverage"][key]["covered"] for key in ("within_1", "within_1.96")]
            say_coverage(*within)


DATA = Path(__file__).parent.parent / "tests" / "reference" / "drell_yan"
COLUMNS = (
    "lep1_PT", "lep1_Eta", "lep1_Phi", "lep1_Charge",
    "lep2_PT", "lep2_Eta", "lep2_Phi", "lep2_Charge", "MET", "MET_Phi",
)  # fmt: skip
Columns = dict[str, np.ndarray]


def write(path: Path, columns: Columns, tree: str = "events") -> str:
    with uproot.recreate(path) as file:
        file.mktree(tree, {name: np.asarray(values).dtype for name, values in columns.items()})
        file[tree].extend(columns)
    return str(path)


def reference() -> tuple[Columns, np.ndarray]:
    """The 60,000 Drell-Yan events and their weights."""
    with uproot.open(f"{DATA / 'events_60k.root'}:events") as tree:
        events = {name: tree[name].array(library="np").astype(float) for name in COLUMNS}
    with uproot.open(f"{DATA / 'weights_60k.root'}:weights") as tree:
        return events, tree["weight_DY"].array(library="np")


def learn(
    folder: Path, events: Columns, weights: Columns, epochs: int, **changes: Any
) -> tuple[deepmem.Surrogate, float]:
    """A model with default settings, and how many seconds its training took."""
    folder.mkdir(exist_ok=True)
    names = [name for name in weights if not name.endswith(("_error", "_status"))]
    config = {
        "input_paths": [write(folder / "events.root", events)],
        "output_paths": [write(folder / "weights.root", weights, "deepmem")],
        "prefixes": [list(events)],
        "suffixes": [[""]],
        "weights": names,
        "save_lowest_loss_model_at": str(folder / "w.model"),
    } | changes
    begin = time.perf_counter()
    model = deepmem.train(config, epochs=epochs)
    return model, time.perf_counter() - begin


def generated(process: str, events: int, seed: int, folder: Path) -> Columns:
    from deepmem.events.pythia import generate

    path = folder / f"{process}_{seed}.root"
    generate(process, events, seed, path)
    with uproot.open(f"{path}:events") as tree:
        names = COLUMNS if process == "drell_yan" else deepmem.processes()[process]["columns"]
        return {name: tree[name].array(library="np").astype(float) for name in names}


def say_trust(
    learned: Weight, exact_weight: Weight, targets: tuple[str, str] = ("", ""), flags: str = ""
) -> None:
    """Flags, and what the intervals of unflagged weights cover."""
    good = (learned.status == 0) & (exact_weight.status == 0)
    z = np.abs(pulls(exact_weight, learned))[good]
    flagged = learned.status == 4
    known = np.mean(flagged[exact_weight.status == 0])
    say("  flagged", f"{np.mean(flagged):.2%}", flags)
    say("  flagged of those with a good exact weight", f"{known:.2%}")
    say("  unflagged", f"{good.sum():,}")
    say_coverage(np.mean(z < 1), np.mean(z < 1.96), targets, digits=2)


def calibrated(folder: Path) -> None:
    """The default ensemble on 60,000 Drell-Yan events, judged on 60,000 further ones, of two kinds.

    Not on the reference sample, whose generator was another one: its masses have another spectrum, and errors are
    calibrated for a sample like that learned from.
    """
    _calibrated(folder, "Pythia", *(generated("drell_yan", 60_000, seed, folder) for seed in (78, 77)))
    # the last time with so many validation events that they say more of a tenth than the events judged on
    for kind, split in (
        ("leading order", (48_000, 6_000, 6_000)),
        ("leading order, 300,000 validation events", (48_000, 300_000, 6_000)),
    ):
        learned = sum(split)
        drawn = draw_events("drell_yan", learned + 60_000, 7, SAMPLES["drell_yan"][2], recoil=20.0).columns
        parts = (slice(learned), slice(learned, None))
        samples = ({name: values[part] for name, values in drawn.items()} for part in parts)
        _calibrated(folder, kind, *samples, split=split)


def _calibrated(
    folder: Path,
    kind: str,
    events: Columns,
    further: Columns,
    split: tuple[int, int, int] = (48_000, 6_000, 6_000),
) -> None:
    labels = deepmem.compute(events, "drell_yan", precision=1e-5)["drell_yan"].value
    model, seconds = learn(folder / kind, events, {"weight_DY": labels}, 100, split=split)
    truth = deepmem.compute(further, "drell_yan", precision=1e-5)["drell_yan"]
    learned = model(further)["weight_DY"]
    residuals = metrics.compare(truth.value, learned.value).residuals
    assert residuals is not None
    say(f"Drell-Yan, {kind}, 60,000 further events:")
    say("  time of 100 epochs, calibration included", f"{seconds:.0f} s", "≤ 240 s")
    say("  |Δ| of 68 % of events", f"{residuals.q68:.5f}", "≤ 0.001")
    say_trust(learned, truth, ("68 ± 1 %", "95 ± 0.5 %"), "≤ 0.5 %")
    bins = Honesty.of(truth, learned).bins
    known = split[1] / 10  # what calibration itself can know
    for level, off in (
        ("68 %", [each.figures.in_68.deviation for each in bins]),
        ("95 %", [each.figures.in_95.deviation for each in bins]),
    ):
        both = [d / np.sqrt(1 + each.events / known) for d, each in zip(off, bins, strict=True)]
        say(
            f"  {level}, ten bins of weight: largest deviation, in standard errors",
            f"{max(map(abs, off)):.1f}",
        )
        say(
            f"  {level}, ten bins: with the counting error of the calibration",
            f"{max(map(abs, both)):.1f}",
            "≤ 3",
        )
    table = np.stack([further[name] for name in model.columns], axis=1)
    alarms = []
    for at in range(0, len(table), 2000):
        test = model.sample_test()
        assert test is not None
        model.predict_and_test(table[at : at + 2000], test)
        alarms.append(test.result().differs)
    say(
        "  samples of 2,000 further events that differ from the training part",
        f"{sum(alarms)} of {len(alarms)}",
    )


def shifted(folder: Path) -> None:
    """Samples that a model was not trained for: what is flagged, and what the rest's intervals cover."""
    events, weights = reference()
    model, _ = learn(folder / "all", events, {"weight_DY": weights}, 60)
    some = {name: values[54_000:].copy() for name, values in events.items()}
    harder = some | {name: some[name] * 1.3 for name in ("lep1_PT", "lep2_PT")}
    swapped = some | {"lep1_Eta": some["lep1_Phi"], "lep1_Phi": some["lep1_Eta"]}
    degrees = some | {name: np.degrees(some[name]) for name in ("lep1_Phi", "lep2_Phi", "MET_Phi")}
    say("φ in degrees: flagged", f"{np.mean(model(degrees)['weight_DY'].status == 4):.1%}", "≥ 99 %")
    for what, sample in (("pT scaled by 1.3", harder), ("η and φ of one lepton swapped", swapped)):
        _judge(what, model, "weight_DY", sample, "drell_yan", 1e-4)
    mass = np.sqrt(
        2
        * events["lep1_PT"]
        * events["lep2_PT"]
        * (np.cosh(events["lep1_Eta"] - events["lep2_Eta"]) - np.cos(events["lep1_Phi"] - events["lep2_Phi"]))
    )
    below = mass < np.quantile(mass, 0.95)
    model, _ = learn(
        folder / "cut", {n: v[below] for n, v in events.items()}, {"weight_DY": weights[below]}, 60
    )
    _judge(
        "5 % of highest mass cut out of the training",
        model,
        "weight_DY",
        {n: v[54_000:] for n, v in events.items()},
        "drell_yan",
        1e-4,
    )
    higgs, other = generated("higgs_4l", 20_000, 5, folder), generated("zz_4l", 4_000, 6, folder)
    model, _ = learn(folder / "higgs", higgs, _branches(deepmem.compute(higgs, "higgs_4l")), 100)
    _judge("a model of Higgs events applied to ZZ events", model, "higgs_4l", other, "higgs_4l", 0.01)


def _judge(
    what: str, model: deepmem.Surrogate, name: str, sample: Columns, process: str, precision: float
) -> None:
    truth = deepmem.compute(sample, process, precision=precision)[process]
    say(f"{what}:")
    say_trust(model(sample)[name], truth, ("", "≥ 90 %"))
    test = model.sample_test()
    model.predict_and_test(np.stack([sample[column][:2000] for column in model.columns], axis=1), test)
    assert test is not None
    say(
        "  the sample as a whole, 2,000 events",
        "differs" if test.result().differs else "not told apart",
        "differs",
    )


def _branches(weights: deepmem.Weights) -> Columns:
    return {
        branch: values
        for name, w in weights.items()
        for branch, values in ((name, w.value), (f"{name}_error", w.error), (f"{name}_status", w.status))
    }


def noisy(folder: Path) -> None:
    """Labels with noise of 1, 5 and 30 %."""
    events, weights = reference()
    rng = np.random.default_rng(3)
    for noise, target in ((0.01, "0.2 %"), (0.05, "0.5 %"), (0.3, "2 %")):
        labels = weights * (1 + noise * rng.normal(size=len(weights)))
        columns = {"w": labels, "w_error": noise * weights, "w_status": np.zeros(len(weights), np.int32)}
        model, _ = learn(folder, events, columns, 40)
        learned = model({name: values[54_000:] for name, values in events.items()})["w"]
        true = weights[54_000:]
        ratio = (learned.value / true)[learned.status == 0]
        error = ratio.std() / np.sqrt(len(ratio))
        say(
            f"labels with {noise:.0%} noise: bias of w",
            f"{ratio.mean() - 1:+.3%} ± {error:.3%}",
            f"≤ {target}",
        )
        say(
            "  |w/w_true − 1| of 68 % of events",
            f"{np.quantile(np.abs(ratio - 1), 0.68):.3%}",
            f"≤ {100 * noise:g} %",
        )
        inside = np.abs(learned.value - true)[learned.status == 0] / learned.error[learned.status == 0]
        say_coverage(np.mean(inside < 1), np.mean(inside < 1.96))


def side_by_side(folder: Path) -> None:
    """Five members against one."""
    events, weights = reference()
    seconds = {}
    for members in (1, 5):
        learn(folder, events, {"weight_DY": weights}, 22, members=members)
        lines = (folder / "w.model.run" / "metrics.jsonl").read_text().splitlines()
        seconds[members] = float(np.median([json.loads(line)["seconds"] for line in lines[2:]]))
    say("five members against one: time of an epoch", f"{seconds[5] / seconds[1]:.1f}", "≤ 3")
    model = deepmem.Surrogate.load(folder / "w.model")
    many = np.tile(np.stack(list(events.values()), axis=1), (5, 1))
    model.predict(many[:10_000])
    begin = time.perf_counter()
    model.predict(many)
    say(
        "  predict with five, in memory",
        f"{len(many) / (time.perf_counter() - begin):,.0f} events/s",
        "≥ 60,000",
    )


def roc(folder: Path) -> None:
    """`higgs_4l` against `zz_4l`, leading-order events of both, exact and learned on the same events."""
    cuts = {"lepton_pt": 5, "lepton_eta": 2.5, "mass": [105, 140]}
    new, paths = 5_000, []
    both: dict[str, list[Columns]] = {"old": [], "new": []}
    for i, process in enumerate(("higgs_4l", "zz_4l")):
        columns = draw_events(process, 45_000, 17 + i, cuts, recoil=20.0).columns
        both["old"].append({n: v[new:] for n, v in columns.items()})
        both["new"].append({n: v[:new] for n, v in columns.items()})
    order = np.random.default_rng(0).permutation(2 * (45_000 - new))
    old = {n: np.concatenate([c[n] for c in both["old"]])[order] for n in both["old"][0]}
    hypotheses = ("higgs_4l", "zz_4l")
    model, _ = learn(folder, old, _branches(deepmem.compute(old, hypotheses)), 100)
    for i, sample in enumerate(both["new"]):
        for kind, weights in (("exact", deepmem.compute(sample, hypotheses)), ("learned", model(sample))):
            weights.to_root(folder / f"{kind}{i}.root")
            paths.append(str(folder / f"{kind}{i}.root"))
    found = deepmem.discriminate(
        paths[0::2],
        "higgs_4l",
        ["zz_4l"],
        learned=paths[1::2],
        output="post_roc",
        sigma_signal=1.0,
        sigma_background=[1.0],
    )
    for kind, auc in found["auc"].items():
        say(f"higgs_4l against zz_4l, 105-140 GeV, AUC: {kind}", f"{auc['value']:.5f} ± {auc['error']:.5f}")
    apart = found["auc_exact_minus_learned"]
    say("  exact - learned, the same events", f"{apart['value']:+.5f} ± {apart['error']:.5f}", "≤ 0.002")


def scan(folder: Path) -> None:
    """M_Z from leading-order Drell-Yan events, exact and learned weights at five values, as a user would."""
    cuts = {"lepton_pt": 20, "lepton_eta": 2.5}
    columns = draw_events("drell_yan", 80_000, 23, cuts).columns
    masses = [90.7, 90.95, 91.2, 91.45, 91.7]
    old, new = ({n: v[part] for n, v in columns.items()} for part in (slice(60_000), slice(60_000, None)))
    model, _ = learn(folder, old, _branches(deepmem.compute(old, "drell_yan", precision=1e-4, MZ=masses)), 60)
    exact_weights = deepmem.compute(new, "drell_yan", precision=1e-4, MZ=masses)
    exact_weights.to_root(folder / "exact.root")
    model(new).to_root(folder / "learned.root")
    found = deepmem.likelihood(
        folder / "exact.root", "MZ", learned=folder / "learned.root", selection=cuts, samples=40, true=91.1876,
        output="post_scan",
    )  # fmt: skip
    for kind, interval in found["interval_68"].items():
        low, best, high = (interval[key] for key in ("low", "best", "high"))
        say(f"M_Z of {found['events']:,} events drawn at 91.1876 GeV, {kind}", f"{best:.4f} GeV")
        say("  down to", f"{best - low:.4f} GeV lower")
        say("  up to", f"{high - best:.4f} GeV higher")
    samples = found["pseudo_experiments"]
    for kind in ("exact", "learned"):
        each = samples[kind]
        say(f"  40 samples, {kind}: bias", f"{each['bias']:+.4f} ± {each['bias_error']:.4f}")
        say("  pull width", f"{each['pull_width']:.2f} ± {each['pull_width_error']:.2f}")
    apart = samples["learned_minus_exact"]
    say("  learned - exact", f"{apart['value']:+.5f} ± {apart['error']:.5f}")


def worst_first_or_random(folder: Path) -> None:
    """What exact weights of new events are worth to a model of few: those of the worst, and of random ones."""
    events, _ = reference()
    old = {name: values[:4000] for name, values in events.items()}
    new = write(folder / "new.root", {name: values[10_000:30_000] for name, values in events.items()})
    labels = deepmem.compute(old, "drell_yan", precision=1e-3)["drell_yan"].value
    model, _ = learn(folder / "old", old, {"drell_yan": labels}, 200, run_folder=str(folder / "run"))
    found = deepmem.refine(
        [new],
        folder / "refined.root",
        "drell_yan",
        folder / "old" / "w.model",
        config=model.about["configuration"],
        budget=1000,
        audit=400,
        precision=1e-3,
        learn=True,
        compare_random=True,
    )
    for point in found["learn"]["curve"]:
        say(f"Drell-Yan, 4,000 events learned, {point['exact']:,} exact weights added, {point['choice']}:")
        for part, events_of in (("all", "all events"), ("refined_held_out", "the 1,000 worst")):
            for key, level in (("q68", "68 %"), ("q95", "95 %")):
                figure = point[part][key]
                say(f"  |Δ| of {level} of {events_of}", f"{figure['value']:.2g} ± {figure['error']:.1g}")
    shutil.copytree(folder / "refined.root.refine", "post_active", dirs_exist_ok=True)


JUDGED = 3_000


def tops(folder: Path) -> None:
    """Top pairs, with a guide and without, from more and more events."""
    events, weights = Path("post_tops/events.root"), Path("post_tops/weights.root")
    if not (events.exists() and weights.exists()):
        from deepmem.events.pythia import generate

        events, weights = folder / "events.root", folder / "weights.root"
        generate("ttbar_2l", 12_000, 41, events)
        exact.compute_files([str(events)], weights, ["ttbar_2l"], calls=1 << 20)
    names = deepmem.processes()["ttbar_2l"]["columns"]
    with uproot.open(f"{events}:events") as tree:
        columns = {name: tree[name].array(library="np").astype(float) for name in names}
    with uproot.open(f"{weights}:deepmem") as tree:
        labels = {key: values.array(library="np") for key, values in tree.items()}
    last = slice(-JUDGED, None)
    truth = Weight(*(labels[f"ttbar_2l{suffix}"][last] for suffix in ("", "_error", "_status")))
    judged = {name: values[last] for name, values in columns.items()}
    there = len(labels["ttbar_2l"]) - JUDGED
    for guide in (None, {"process": "ttbar_2l"}):
        for count in sorted({min(n, there) for n in (3_000, 10_000, 30_000, there)}):
            first = {name: values[:count] for name, values in columns.items()}
            model, seconds = learn(
                folder / f"{guide is None}{count}",
                first,
                {name: values[:count] for name, values in labels.items()},
                60,
                guide=guide,
            )
            begin = time.process_time()
            learned = model(judged)["ttbar_2l"]
            spent = (time.process_time() - begin) / JUDGED
            good = (truth.status == 0) & (learned.status == 0)
            delta = np.abs(np.log10(learned.value / truth.value))[good]
            say(f"tt, {count:,} events learned, {'with' if guide else 'without'} a guide:")
            say("  |Δ| of 68 % of events", f"{np.quantile(delta, 0.68):.4f}", "≤ 0.02")
            say("  |Δ| of 95 % of events", f"{np.quantile(delta, 0.95):.4f}")
            say("  training", f"{seconds:.0f} s")
            say("  CPU per predicted event", f"{1e3 * spent:.2f} ms")
            say_trust(learned, truth)


PARTS: dict[str, Callable[..., None]] = {
    "sums": sums_over_events,
    "calibration": calibrated,
    "shift": shifted,
    "noise": noisy,
    "members": side_by_side,
    "roc": roc,
    "scan": scan,
    "refine": back_to_exact,
    "active": worst_first_or_random,
    "tops": tops,
}


if __name__ == "__main__":
    run(PARTS)
