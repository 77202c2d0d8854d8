"""The whole workflow on events that come with the package, or are generated."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from deepmem.data.files import make_folder, write_json
from deepmem.events.pythia import generate
from deepmem.jobs.exact import compute_files
from deepmem.jobs.prediction import predict
from deepmem.jobs.tallies import Written
from deepmem.jobs.testing import test
from deepmem.jobs.training import train
from deepmem.physics.processes import find_process
from deepmem.physics.theory.lhapdf import PdfNotFoundError
from deepmem.reporter import Reporter


@dataclass(frozen=True)
class Demo:
    """What each step gave: `test` and `prediction` as `deepmem.test` and `deepmem.predict` return them;
    `exact` is None where there was no density grid."""

    exact: Written | None
    test: dict[str, Any]
    prediction: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The test's figures, `computed` and `predicted`."""
        exact = None if self.exact is None else self.exact.to_dict()
        return self.test | {"computed": exact, "predicted": self.prediction}


def example(name: str) -> str:
    """The path of a file of the built-in example data."""
    return str(files("deepmem") / "examples" / "drell_yan" / name)


def demo(
    output: str | Path,
    *,
    process: str = "drell_yan",
    events: int = 2000,
    epochs: int | None = None,
    reporter: Reporter | None = None,
) -> Demo:
    """The whole workflow: compute exact weights of events, train on them, test, predict all events.

    Drell-Yan events are built in. Without a density grid (the extra `generate` brings one) the weights that
    MoMEMta gave for them are learned instead. Events of another process are generated with Pythia first.

    **Arguments:** `output`, a folder for everything that is made; `process`, of the menu; `events`, how many
    to generate where they are not built in; `epochs`, 100 for the built-in ones, 200 for others.

    **Raises** `UsageError` for an unknown process, or where a density grid or Pythia is missing for it.
    """
    reporter = reporter or Reporter()
    folder = Path(output)
    make_folder(folder)
    config = _configuration(process, events, folder, reporter) | {
        "epochs": epochs or (100 if process == "drell_yan" else 200),
        "save_lowest_loss_model_at": str(folder / f"{process}.model"),
        "save_testing_histogram_at": str(folder / "histogram.png"),
        "run_folder": str(folder / "run"),
    }
    for key in ("save_scaler_at", "load_saved_model_from", "load_scaler_from"):
        config.pop(key, None)
    exact: Written | None = None
    try:
        path = folder / "exact.root"
        precision = 1e-3 if process == "drell_yan" else 0.01
        exact = compute_files(config["input_paths"], path, [process], precision=precision, reporter=reporter)
        config |= {"output_paths": [str(path)], "output_tree": "deepmem", "weights": [process]}
    except PdfNotFoundError as error:
        if process != "drell_yan":
            raise
        reporter.warning(
            f"{error}\nWithout a grid, the weights that MoMEMta gave are learned instead of exact ones."
        )
        config["output_paths"] = [example("momemta_weights.root")]
    write_json(folder / "input.json", config)
    train(config, reporter=reporter)
    figures = test(config, reporter=reporter)
    return Demo(exact, figures, predict((), folder / "weights.root", config=config, reporter=reporter))


def _configuration(process: str, events: int, folder: Path, reporter: Reporter) -> dict[str, Any]:
    """The configuration for the events of a demo, which are there when this returns."""
    if process == "drell_yan":
        config = json.loads(Path(example("input.json")).read_text(encoding="utf-8"))
        return config | {"input_paths": [example("momemta_events.root")]}
    entry = find_process(process)
    path = folder / "events.root"
    with reporter.progress(f"generating {process}", events) as step:
        done = 0

        def progress(count: int) -> None:
            nonlocal done
            step(count - done)
            done = count

        generate(process, events, output=path, progress=progress)
    return {
        "input_paths": [str(path)],
        "input_tree": "events",
        "prefixes": [list(entry.columns)],
        "suffixes": [[""]],
        "process": process,
        "weight_unit": f"GeV^-{len(entry.visible)}",
        **({"guide": {"process": process}} if entry.invisible else {}),
    }
