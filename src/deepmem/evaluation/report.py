"""The page for collaborators: one HTML file that says what can be relied on, and shows why.

It needs nothing but itself: figures are inside, no script, no address is fetched. Everything that it prints
is also in `report.json` beside it. It is made from what a folder holds:

- `test.json` and `test.npz`, as `write_evidence` writes them;
- `metrics.jsonl`, one line per epoch of the training;
- `refine.json`, `discriminate.json`, `likelihood.json`, each with a `title`, a `summary` (sentences) and
  `figures` (a list of {"file", "caption"}, files beside it), perhaps a `verdict` of its own, `command`,
  `data` and `model_card`; whatever else they hold goes to `report.json`.

What is not there is left out; one of the JSON files must be.
"""

from __future__ import annotations

import base64
import io
import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.data.files import make_folder, sha256, whole_file, write_json, write_text
from deepmem.errors import UsageError
from deepmem.evaluation import metrics, plots
from deepmem.event import Status, Weight

_ARRAYS = ("truth", "truth_error", "value", "error", "status")
_PACKAGES = ("deepmem", "jax", "numpy", "scipy", "uproot")
_ATTACHED = ("refine", "discriminate", "likelihood")


def write_evidence(
    folder: str | Path, pairs: Mapping[str, tuple[Weight, Weight]], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Write `test.json` and `test.npz`, from which the report is made.

    **Arguments:** `folder`, of the run; `pairs`, name → truth and prediction of the same events; `extra`,
    what else `test.json` says (`command`, `data`, `model_card`, `weight_unit`, …; under `weights` → name,
    further figures of a weight).

    **Returns** the content of `test.json`: `extra`, and under `weights` → name, the figures of
    `metrics.compare` with those of `metrics.honesty` as `honesty`.

    **Raises** `UsageError` where the folder cannot be written to.
    """
    folder = Path(folder)
    make_folder(folder)
    result: dict[str, Any] = {**extra, "weights": {}}
    arrays: dict[str, np.ndarray] = {}
    for name, (truth, predicted) in pairs.items():
        result["weights"][name] = {
            **extra.get("weights", {}).get(name, {}),
            **metrics.compare(truth.value, predicted.value),
            "honesty": metrics.honesty(truth, predicted),
        }
        values = (truth.value, truth.error, predicted.value, predicted.error, predicted.status)
        arrays |= {f"{name}.{key}": value for key, value in zip(_ARRAYS, values, strict=True)}
        arrays[f"{name}.truth_status"] = truth.status
    with whole_file(folder / "test.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    write_json(folder / "test.json", result)
    return result


def report(folder: str | Path) -> dict[str, Any]:
    """Write `report.html` and `report.json` into a folder of results.

    **Arguments:** `folder`, of a run, or what `refine`, `discriminate` or `likelihood` wrote; a file that
    `refine` wrote stands for the folder beside it.

    **Returns** the paths of both, and the verdict: per weight three sentences with a judgement each.

    **Raises** `UsageError` where the folder holds no results, or they cannot be read.
    """
    folder = Path(folder)
    if folder.is_file():
        folder = Path(f"{folder}.refine")
    parts = {name: _read(path, "") for name in _ATTACHED if (path := folder / f"{name}.json").exists()}
    test: dict[str, Any] = {"weights": {}}
    if not parts or (folder / "test.json").exists():
        test = _read(folder / "test.json", "run 'deepmem test' first, or name what 'deepmem refine' wrote")
    sources = [test, *parts.values()]
    history = read_history(folder / "metrics.jsonl")
    if outdated := _outdated(test, history):
        raise UsageError(
            f"the test in {folder} is of an earlier model ({outdated}): run 'deepmem test' again"
        )
    numbers: dict[str, Any] = {
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "verdict": {name: verdict(figures) for name, figures in test["weights"].items()}
        | {part["title"]: part["verdict"] for part in parts.values() if "verdict" in part},
        "weights": test["weights"],
        "data": [file for each in sources for file in each.get("data", ())],
        "model": next((each["model_card"] for each in sources if "model_card" in each), {}),
        "training": _training(history),
        "versions": _versions(),
        "commands": [
            *(command for each in sources for command in _listed(each.get("command", []))),
            shlex.join(["deepmem", "report", str(folder)]),
        ],
        **parts,
    }
    figures = {
        name: list(_figures(folder, name, numbers, test.get("weight_unit") or "")) for name in test["weights"]
    }
    if history:
        figures[""] = [
            (_drawn(plots.training_curve, history), "Loss against the epoch; the epoch marked was kept.")
        ]
    for name, part in parts.items():
        figures[f"{name}.json"] = list(_attached(folder, part))
    write_json(folder / "report.json", numbers)
    write_text(folder / "report.html", _page(numbers, figures))
    return {
        "report": str(folder / "report.html"),
        "numbers": str(folder / "report.json"),
        "verdict": numbers["verdict"],
    }


def _outdated(test: Mapping[str, Any], history: list[dict[str, Any]]) -> str | None:
    """Why a test is not of the model that is there now; None where it is, or nothing tells."""
    path, tested = Path(test.get("model", "")), test.get("model_file_sha256")
    if tested is None:
        return None
    if path.is_file() and sha256(path) != tested:
        return f"{path} has changed since"
    kept, loss = _training(history).get("lowest_loss"), test.get("model_card", {}).get("loss")
    if kept is None or loss is None or np.isclose(kept, loss, rtol=1e-6):
        return None
    return f"its loss was {loss:.6g}, that of the training in the folder is {kept:.6g}"


def _read(path: Path, otherwise: str) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"there is no {path}: {otherwise}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None


def read_history(path: Path) -> list[dict[str, Any]]:
    """The epochs of a `metrics.jsonl`; none where there is no such file."""
    entries: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:  # the line that was being written when the run was killed
            break
    return entries


def _training(history: list[dict[str, Any]]) -> dict[str, Any]:
    if not history:
        return {}
    deciding = [
        entry["loss"] if entry["validation_loss"] is None else entry["validation_loss"] for entry in history
    ]
    best = int(np.argmin(deciding))
    return {
        "epochs": len(history),
        "epoch_kept": history[best]["epoch"],
        "lowest_loss": deciding[best],
        "decided_by": "training loss" if history[best]["validation_loss"] is None else "validation loss",
        "seconds": sum(entry.get("seconds", 0.0) for entry in history),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a source tree
            found[name] = "not installed"
    return found


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


# The verdict


def verdict(figures: Mapping[str, Any]) -> list[dict[str, str]]:
    """Three sentences with numbers, on accuracy, calibration and coverage of the training range.

    **Arguments:** `figures` of one weight, as `write_evidence` gives them.

    **Returns** three dicts: `about`, `judgement` ("good", "care" or "bad") and `text`.
    """
    honesty = figures["honesty"]
    made = (
        ("accuracy", _accuracy(honesty)),
        ("calibration", calibration(honesty)),
        ("coverage of the training range", _training_range(honesty)),
    )
    return [{"about": about, "judgement": judgement, "text": text} for about, (judgement, text) in made]


def _of_status(honesty: Mapping[str, Any], status: Status) -> dict[str, Any]:
    found = honesty["predicted_by_status"]
    return next((value for key, value in found.items() if key.startswith(str(status.value))), {"events": 0})


def _accuracy(honesty: Mapping[str, Any]) -> tuple[str, str]:
    good = _of_status(honesty, Status.GOOD)
    if good.get("q95") is None:
        return (
            "bad",
            "No unflagged test event has a positive weight in both: nothing can be said of accuracy.",
        )
    worst = _factor(good["q95"]) - 1
    bias = "no number" if good["bias"] is None else f"{100 * good['bias']:+.2g} %"
    text = (
        f"Of {good['events']:,} unflagged test events 68 % are within {_relative(good['q68'])} of the true "
        f"weight and 95 % within {_relative(good['q95'])}; the sum of the weights is off by "
        f"{bias}"
    )
    floor = honesty["noise_floor_q68"]
    if floor and good["q68"] < 1.3 * floor:
        text += f" (the labels' own noise allows no better than {_relative(floor)} for 68 %)"
    if worst <= 0.01:
        return "good", f"{text}: single weights can be relied on to a per cent."
    if worst <= 0.1:
        return "care", f"{text}: good for discriminants; where a per cent matters, refine."
    return "bad", f"{text}: do not rely on single weights, compute them exactly (refine)."


def _factor(delta: float) -> float:
    """10^Δ, at most 1e300: what errors on a wrong scale make of it is no number."""
    return 10 ** min(delta, 300.0)


def _relative(delta: float) -> str:
    """A |Δ| of log10 w as a relative difference of the weight."""
    return _percent(_factor(delta) - 1)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.995 else f"a factor {1 + fraction:.2g}"


def calibration(honesty: Mapping[str, Any]) -> tuple[str, str]:
    """Whether errors can be relied on: a judgement ("good", "care" or "bad") of what `metrics.honesty` found,
    and a sentence that says so."""
    coverage = honesty["coverage"]
    if coverage is None:
        return (
            "bad",
            "The model gives no errors of its own: how far off a single weight is, is not known; only the "
            "figures of the whole sample are.",
        )
    one, two = coverage["within_1"], coverage["within_1.96"]
    numbers = f"68 % intervals cover {_covered(one)} and 95 % intervals {_covered(two)}"
    # a shortfall counts where it is larger than is tolerated and than chance explains
    short = [_beyond(one, 0.01), _beyond(two, 0.005)]
    if min(short) < 0:
        return "bad", f"Do not rely on the errors: {numbers} of the {honesty['judged']:,} true weights."
    if max(short) > 0:
        return "care", f"The errors are larger than they need be: {numbers} of the true weights."
    worst = max(
        (
            (bin, key)
            for bin in honesty["bins_of_minus_log10_predicted"]
            for key in ("within_1", "within_1.96")
        ),
        key=lambda pair: abs(pair[0][pair[1]]["deviation"]),
        default=None,
    )
    # as it is where errors hold: of what was found it is 0 where a few events are all covered
    if worst is None or (two["expected"] * (1 - two["expected"]) / honesty["judged"]) ** 0.5 > 0.01:
        return "care", (
            f"The errors hold as far as {honesty['judged']:,} events can tell: {numbers}; test on more."
        )
    bin, key = worst
    if abs(bin[key]["deviation"]) > 3:
        name = "68" if key == "within_1" else "95"
        return "care", (
            f"The errors hold overall ({numbers}), but not everywhere: for −log10 w from {bin['from']:.2f} "
            f"to {bin['to']:.2f}, {name} % intervals cover {_covered(bin[key])}."
        )
    return "good", f"The errors can be relied on: {numbers}, and in ten bins of weight all within 3 σ."


def _covered(interval: Mapping[str, float]) -> str:
    return f"{100 * interval['covered']:.1f} ± {100 * interval['error']:.1f} %"


def _beyond(interval: Mapping[str, float], tolerated: float) -> int:
    off = interval["covered"] - interval["expected"]
    if abs(off) <= tolerated or abs(interval["deviation"]) <= 3:
        return 0
    return 1 if off > 0 else -1


def _training_range(honesty: Mapping[str, Any]) -> tuple[str, str]:
    total = sum(value["events"] for value in honesty["predicted_by_status"].values())
    outside = _of_status(honesty, Status.OUTSIDE_TRAINING)
    refused = sum(_of_status(honesty, s)["events"] for s in (Status.BAD_INPUT, Status.BELOW_GRID))
    said = f"{outside['events']:,} of {total:,} test events"
    more = f" {refused:,} have no prediction because of bad input." if refused else ""
    share = outside["events"] / total if total else 0.0
    # three counting errors: the limits that flag an event are themselves quantiles of a few events
    if share <= 0.005 + 3 * (0.005 / max(total, 1)) ** 0.5:
        return ("care" if refused > 0.01 * total else "good"), (
            f"The training covers the test sample: {said} ({100 * share:.2g} %) lie outside what was trained "
            f"on and are flagged (status 4).{more}"
        )
    off = f" They are off by {_relative(outside['q68'])} at 68 %." if outside.get("q68") else ""
    return ("care" if share < 0.1 else "bad"), (
        f"The training does not cover the test sample: {said} ({100 * share:.2g} %) lie outside what was "
        f"trained on (status 4); compute these exactly (refine).{off}{more}"
    )


# The figures: name of a section → PNGs with captions


def _drawn(draw: Callable[..., None], *arguments: Any) -> bytes:
    file = io.BytesIO()
    draw(file, *arguments)
    return file.getvalue()


def _figures(folder: Path, name: str, numbers: dict[str, Any], unit: str) -> Iterator[tuple[bytes, str]]:
    path = folder / "test.npz"
    if not path.exists():
        return
    with np.load(path, allow_pickle=False) as arrays:
        t, t_error, value, error, status = (arrays[f"{name}.{key}"] for key in _ARRAYS)
        t_status = arrays.get(f"{name}.truth_status", np.where(np.isfinite(t), 0, 3).astype(np.int32))
    truth, predicted = Weight(t, t_error, t_status), Weight(value, error, status)
    both = np.isfinite(t) & np.isfinite(value) & (t > 0) & (value > 0)
    if not both.any():
        return
    figures = numbers["weights"][name]
    yield (
        _drawn(plots.prediction_against_truth, t[both], value[both], unit),
        f"Predicted against true weight of {both.sum():,} test events, flagged ones included.",
    )
    yield (
        _drawn(plots.delta_with_bands, t[both], value[both], unit),
        f"Δ with its median and bands: |Δ| < {figures['q68']:.2g} for 68 % and {figures['q95']:.2g} for 95 % "
        "of events.",
    )
    honesty = figures["honesty"]
    if honesty["pulls"] is None:
        return
    z = metrics.pulls(truth, predicted)
    judged = both & (t_status == Status.GOOD) & (status == Status.GOOD) & np.isfinite(z)
    found = honesty["pulls"]
    yield (
        _drawn(plots.pulls_against_gaussian, z[judged]),
        f"Pulls of {judged.sum():,} unflagged events: mean {found['mean']:+.3f} ± {found['mean_error']:.3f}, "
        f"width {found['width']:.3f}, largest {found['largest']:.1f}; beyond ±5 in the outer bins.",
    )
    if honesty["bins_of_minus_log10_predicted"]:
        yield (
            _drawn(plots.coverage_in_bins, honesty["bins_of_minus_log10_predicted"], unit),
            "Coverage of 95 % (above) and 68 % intervals (below) in ten bins of equal population.",
        )
        yield (
            _drawn(plots.error_against_weight, truth[judged], predicted[judged], unit),
            "The error that a prediction says it has, and the real one (noise of the labels included).",
        )


def _attached(folder: Path, part: Mapping[str, Any]) -> Iterator[tuple[bytes, str]]:
    for figure in part.get("figures", ()):
        path = folder / figure["file"]
        if path.suffix == ".png" and path.exists():
            yield path.read_bytes(), figure.get("caption", "")


# The page

_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --back: #fff; --soft: #f3f5f7; --line: #d5dae0;
        --faint: #57606a; --good: #1a7f37; --care: #9a6700; --bad: #cf222e; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ec; --back: #14171b; --soft: #1f242a; --line: #3a424b; --faint: #a0a9b3;
          --good: #4ac26b; --care: #e0b13a; --bad: #ff7b72; }
  img { filter: invert(.92) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 68rem; color: var(--text); background: var(--back);
       font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: .5rem 0 0; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
.faint, figcaption { color: var(--faint); font-size: .9rem; }
.verdict { list-style: none; padding: 0; display: grid; gap: .6rem; }
.verdict li { background: var(--soft); border-left: .4rem solid var(--mark); padding: .6rem .8rem; }
.verdict b { color: var(--mark); }
.good { --mark: var(--good); } .care { --mark: var(--care); } .bad { --mark: var(--bad); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; }
figure { margin: 0; max-width: 36rem; break-inside: avoid; }
img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
.wide td:first-child { min-width: 7rem; } .wide td + td { white-space: nowrap; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0;
         border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
table.pairs th { width: 40%; font-weight: normal; color: var(--faint); }
.wide { overflow-x: auto; overflow-wrap: normal; }
code, .hash { font: .85em/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
pre { background: var(--soft); padding: .6rem .8rem; white-space: pre-wrap; }
@media print {
  :root { --text: #000; --back: #fff; --soft: #fff; --line: #999; --faint: #333;
          --good: #1a7f37; --care: #7a5200; --bad: #b00; color-scheme: light; }
  img { filter: none; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .figures { grid-template-columns: 1fr 1fr; }
  .verdict li { border: 1px solid var(--line); border-left: .4rem solid var(--mark); }
  h2, h3 { break-after: avoid; }
  tr, li { break-inside: avoid; }
}
"""
_WORD = {"good": "Reliable", "care": "With care", "bad": "Not reliable"}


def _page(numbers: Mapping[str, Any], figures: Mapping[str, list[tuple[bytes, str]]]) -> str:
    names = list(numbers["weights"])
    several = len(numbers["verdict"]) > 1
    about = [numbers[part]["title"] for part in _ATTACHED if part in numbers]
    title = f"DeepMEM: {'what to rely on in ' * bool(names)}{', '.join(names or about)}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="faint">{escape(numbers["made"])} · Δ = log10(w_pred/w_true) · '
        "errors are one standard deviation</p>",
        "<h2>Verdict</h2>" if numbers["verdict"] else "",
        *(
            (f"<h3>{escape(name)}</h3>" if several else "") + _verdict_list(sentences)
            for name, sentences in numbers["verdict"].items()
        ),
    ]
    for name in names:
        body += [
            f"<h2>{escape(name)}</h2>",
            _gallery(figures[name]),
            *_weight_tables(numbers["weights"][name]),
        ]
    for name in _ATTACHED:
        if name in numbers:
            part = numbers[name]
            body.append(f"<h2>{escape(part.get('title', name))}</h2>")
            body += [f"<p>{escape(sentence)}</p>" for sentence in part.get("summary", ())]
            body.append(_gallery(figures[f"{name}.json"]))
    if numbers["training"]:
        body += ["<h2>Training</h2>", _gallery(figures[""]), _pairs(numbers["training"])]
    if numbers["data"]:
        body += ["<h2>Data card</h2>", *map(_file, numbers["data"])]
    for name in names:
        if dropped := numbers["weights"][name].get("left_out_by_reason"):
            body += [f"<h3>Left out of the comparison ({escape(name)})</h3>", _pairs(dropped)]
    if numbers["model"]:
        body += ["<h2>Model card</h2>", _pairs(numbers["model"])]
    body += ["<h2>Versions</h2>", _pairs(numbers["versions"])]
    commands = "\n".join(map(escape, numbers["commands"]))
    body += ["<h2>To do it again</h2>", f"<pre><code>{commands}</code></pre>"]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, body))
        + "\n</body>\n</html>\n"
    )


def _verdict_list(sentences: list[dict[str, str]]) -> str:
    items = [
        f'<li class="{each["judgement"]}"><b>{escape(each["about"].capitalize())}: '
        f"{_WORD[each['judgement']].lower()}.</b> {escape(each['text'])}</li>"
        for each in sentences
    ]
    return f'<ul class="verdict">{"".join(items)}</ul>'


def _gallery(pictures: list[tuple[bytes, str]]) -> str:
    if not pictures:
        return ""
    items = [
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for png, caption in pictures
    ]
    return f'<div class="figures">{"".join(items)}</div>'


def _weight_tables(figures: Mapping[str, Any]) -> Iterator[str]:
    honesty = figures["honesty"]
    floor = honesty["noise_floor_q68"]
    rows = {
        "events compared": figures["events"],
        "left out (no positive weight in both)": figures["left_out"],
        "|Δ| of 68 % of events below": figures["q68"],
        "|Δ| of 95 % of events below": figures["q95"],
        "|Δ| of 99.9 % of events below": figures["q999"],
        "median of Δ": figures["median"],
        "bias of the weight (sum)": figures["bias"],
        "your labels allow no better than |Δ| for 68 %": "the labels have no errors"
        if floor is None
        else floor,
    }
    yield "<h3>Accuracy, flagged events included</h3>"
    yield _pairs(rows)
    yield "<h3>By status of the prediction</h3>"
    header = ("status", "events", "share", "|Δ| of 68 %", "|Δ| of 95 %", "in 68 %", "in 95 %")
    yield _table(
        header,
        [
            (
                key.partition(":")[0],
                _text(value["events"]),
                f"{100 * value['fraction']:.2f} %",
                _text(value["q68"]),
                _text(value["q95"]),
                _share(value.get("within_1")),
                _share(value.get("within_1.96")),
            )
            for key, value in honesty["predicted_by_status"].items()
        ],
    )
    if by_status := honesty.get("truth_by_status"):
        yield "<h3>By status of the label: errors are judged on status 0 alone</h3>"
        yield _pairs({key.partition(":")[0]: number for key, number in by_status.items()})
    if bins := honesty["bins_of_minus_log10_predicted"]:
        yield "<h3>Coverage in ten bins of predicted weight, deviation in standard errors</h3>"
        yield _table(
            ("−log10 w", "events", "in 68 %", "σ", "in 95 %", "σ"),
            [
                (
                    f"{bin['from']:.2f} to {bin['to']:.2f}",
                    _text(bin["events"]),
                    *(
                        text
                        for key in ("within_1", "within_1.96")
                        for text in (_share(bin[key]["covered"]), f"{bin[key]['deviation']:+.1f}")
                    ),
                )
                for bin in bins
            ],
        )


def _share(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f} %"


def _file(entry: Mapping[str, Any]) -> str:
    digest = entry.get("sha256")
    said = f"SHA-256 {digest}" if digest else "no hash: read from an address"
    return (
        f"<p>{escape(str(entry['path']))}, tree {escape(str(entry['tree']))}, "
        f"{entry['entries']:,} entries<br>"
        f'<span class="hash faint">{escape(said)}</span></p>'
    )


def _pairs(values: Mapping[str, Any]) -> str:
    rows = [
        f"<tr><th>{escape(key.replace('_', ' '))}</th><td>{escape(_text(value))}</td></tr>"
        for key, value in _flat(values)
    ]
    return f'<table class="pairs">{"".join(rows)}</table>'


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}: ")
        else:
            yield f"{above}{key}", value


def _text(value: Any) -> str:
    """A value as a person reads it: thousands apart, four digits of what is not a whole number."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(lines)}</table></div>'
