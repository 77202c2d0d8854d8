"""The page for collaborators: one HTML file that says what can be relied on, and shows why.

Everything that it prints is also in `report.json` beside it. It is made from what a folder holds: `test.json`
and `test.npz`, as `write_evidence` writes them; `metrics.jsonl`, a line per epoch of the training; and of
jobs `refine.json`, `discriminate.json`, `likelihood.json`, each with a `title`, a `summary` (sentences) and
`figures` (a list of {"file", "caption"}, files beside it), perhaps a `verdict` of its own, `command`, `data`
and `model_card`; whatever else they hold goes to `report.json`.

What is not there is left out; one of the JSON files must be.
"""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.data.files import make_folder, sha256, write_arrays, write_json, write_text
from deepmem.errors import UsageError
from deepmem.evaluation import metrics, plots
from deepmem.evaluation.history import Epoch, kept, read_history
from deepmem.evaluation.honesty import Honesty, pulls
from deepmem.evaluation.page import ATTACHED, page
from deepmem.evaluation.verdict import verdict
from deepmem.event import Status, Weight

_ARRAYS = ("truth", "truth_error", "value", "error", "status")
_PACKAGES = ("deepmem", "jax", "numpy", "scipy", "uproot")


def write_evidence(
    folder: str | Path, pairs: Mapping[str, tuple[Weight, Weight]], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Write `test.json` and `test.npz`, from which the report is made.

    **Arguments:** `folder`, of the run; `pairs`, name → truth and prediction of the same events; `extra`,
    what else `test.json` says (`command`, `data`, `model_card`, `weight_unit`, …; under `weights` → name,
    further figures of a weight).

    **Returns** the content of `test.json`: `extra`, and under `weights` → name, the figures of
    `metrics.compare` with those of `Honesty` as `honesty`.

    **Raises** `UsageError` where the folder cannot be written to.
    """
    folder = Path(folder)
    make_folder(folder)
    result: dict[str, Any] = {**extra, "weights": {}}
    arrays: dict[str, np.ndarray] = {}
    for name, (truth, predicted) in pairs.items():
        result["weights"][name] = {
            **extra.get("weights", {}).get(name, {}),
            **metrics.compare(truth.value, predicted.value).to_dict(),
            "honesty": Honesty.of(truth, predicted).to_dict(),
        }
        values = (truth.value, truth.error, predicted.value, predicted.error, predicted.status)
        arrays |= {f"{name}.{key}": value for key, value in zip(_ARRAYS, values, strict=True)}
        arrays[f"{name}.truth_status"] = truth.status
    write_arrays(folder / "test.npz", arrays)
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
    parts = {name: _read(path, "") for name in ATTACHED if (path := folder / f"{name}.json").exists()}
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
        "verdict": {name: _verdict(figures["honesty"]) for name, figures in test["weights"].items()}
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
    write_text(folder / "report.html", page(numbers, figures))
    return {
        "report": str(folder / "report.html"),
        "numbers": str(folder / "report.json"),
        "verdict": numbers["verdict"],
    }


def _verdict(honesty: Mapping[str, Any]) -> list[dict[str, str]]:
    """What may be relied on, as JSON, of what `test.json` says of a weight's errors."""
    judgements = verdict(Honesty.from_dict(honesty))
    return [judgement.to_dict(about) for about, judgement in judgements.items()]


def _outdated(test: Mapping[str, Any], history: Sequence[Epoch]) -> str | None:
    """Why a test is not of the model that is there now; None where it is, or nothing tells."""
    path, tested = Path(test.get("model", "")), test.get("model_file_sha256")
    if tested is None:
        return None
    if path.is_file() and sha256(path) != tested:
        return f"{path} has changed since"
    loss = test.get("model_card", {}).get("loss")
    if not history or loss is None or np.isclose(lowest := kept(history).deciding, loss, rtol=1e-6):
        return None
    return f"its loss was {loss:.6g}, that of the training in the folder is {lowest:.6g}"


def _read(path: Path, otherwise: str) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"there is no {path}: {otherwise}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None


def _training(history: Sequence[Epoch]) -> dict[str, Any]:
    if not history:
        return {}
    best = kept(history)
    return {
        "epochs": len(history),
        "epoch_kept": best.epoch,
        "lowest_loss": best.deciding,
        "decided_by": "training loss" if best.validation_loss is None else "validation loss",
        "seconds": sum(epoch.seconds for epoch in history),
    }


def _versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # run from a source tree
            versions[name] = "not installed"
    return versions


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


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
    honesty = Honesty.from_dict(figures["honesty"])
    if (found := honesty.pulls) is None:
        return
    z = pulls(truth, predicted)
    judged = both & (t_status == Status.GOOD) & (status == Status.GOOD) & np.isfinite(z)
    yield (
        _drawn(plots.pulls_against_gaussian, z[judged]),
        f"Pulls of {judged.sum():,} unflagged events: mean {found.mean:+.3f} ± {found.mean_error:.3f}, "
        f"width {found.width:.3f}, largest {found.largest:.1f}; beyond ±5 in the outer bins.",
    )
    if honesty.bins:
        yield (
            _drawn(plots.coverage_in_bins, honesty.bins, unit),
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
