"""What tests share: small data, one trained model, and shapes and types of the network's code enforced."""

from __future__ import annotations

import gc
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# One cache of compiled programs for all workers, the commands that tests start, and the next run: JAX keeps a
# program under a hash of its code. JAX reads this when it is imported; workers inherit it.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
# Most of the time goes into compiling programs that run a few times. Under these flags that takes two thirds of it;
# numbers change by rounding alone, and no test measures speed. XLA_FLAGS="" compiles as users do, as every night.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 --xla_cpu_multi_thread_eigen=false",
)
# Each core has a worker: a second thread of OpenBLAS for matrices of 20 rows waits, and takes as long again as a fit.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import numpy as np
import pytest
import uproot
from jaxtyping import install_import_hook

# Before anything of deepmem is imported: the shapes in these modules' signatures become checks.
with install_import_hook(
    ["deepmem.surrogate.network", "deepmem.surrogate.members", "deepmem.surrogate.training"],
    "beartype.beartype",
):
    import deepmem.surrogate.network
    import deepmem.surrogate.training  # noqa: F401

jax.config.update("jax_numpy_dtype_promotion", "standard")
# Tracing makes many objects that live on: to look through them as often as by default takes a tenth of the time.
gc.set_threshold(200_000, 10, 10)

REFERENCE = Path(__file__).parent / "reference"
EVENTS = REFERENCE / "drell_yan" / "events_60k.root"
RNTUPLE = REFERENCE / "drell_yan" / "events_60k_rntuple.root"
WEIGHTS = REFERENCE / "drell_yan" / "weights_60k.root"
COLUMNS = (
    "lep1_PT", "lep1_Eta", "lep1_Phi", "lep1_Charge",
    "lep2_PT", "lep2_Eta", "lep2_Phi", "lep2_Charge", "MET", "MET_Phi",
)  # fmt: skip

# The files that take longest, those of `RUNNING` first, each in this order: a worker that begins with one of them at
# the end leaves the other idle. `make test` keeps the order (--no-loadscope-reorder).
LONGEST = (
    "physics/test_normalisation.py", "physics/test_closure.py", "test_generate.py",
    "physics/test_integrals.py", "physics/test_leading_order.py", "physics/test_weight.py",
    "physics/test_neutrinos.py", "physics/test_stored.py", "test_workflow.py", "test_any_reaction.py",
    "physics/test_assignments.py", "physics/test_sense.py", "test_faults.py", "physics/test_recoil.py",
    "test_variations.py", "test_refine.py", "test_cli.py", "physics/test_taus.py",
    "physics/test_composed_maps.py", "physics/test_any_events.py", "physics/test_detector.py", "test_objects.py",
    "test_combining.py", "physics/test_grown_reactions.py", "test_exact.py", "test_faults_of_inputs.py",
    "physics/test_menu_of_reactions.py", "test_devices.py", "test_readme.py", "physics/test_parton_level.py",
    "physics/test_momemta_top_pairs.py", "physics/test_amplitudes.py", "physics/test_top_pairs.py",
    "test_in_order.py", "test_calibration.py", "test_workers.py", "physics/test_photons.py",
    "physics/test_menu.py", "physics/test_pdf.py", "test_analysis.py", "test_surrogate.py", "test_export.py",
    "test_identity.py", "test_responses.py", "test_scheduler.py", "test_report.py", "test_add_a_process.py",
)  # fmt: skip
# Programs of these run longer than they take to compile.
RUNNING = (
    "physics/test_integrals.py",
    "physics/test_weight.py::test_events_far_from_the_resonance_have_honest_errors",
)


def _runs_long(item: pytest.Item) -> bool:
    file = item.path.relative_to(Path(__file__).parent).as_posix()
    return file in RUNNING or f"{file}::{item.originalname}" in RUNNING  # type: ignore[attr-defined]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; in a file, tests of `RUNNING` first, so that a worker compiles anew once."""
    place = {Path(__file__).parent / name: i for i, name in enumerate(LONGEST)}
    files = {path: i for i, path in enumerate(dict.fromkeys(item.path for item in items))}
    items.sort(key=lambda item: (place.get(item.path, len(LONGEST)), files[item.path], not _runs_long(item)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """LLVM does next to nothing outside of `RUNNING`; what was compiled otherwise is forgotten there.

    Commands that a test starts do as it does: their bits are compared.
    """
    quick = "true" if os.environ["XLA_FLAGS"] and not _runs_long(item) else "false"
    if quick != os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS", "false"):
        jax.clear_caches()
        jax.config.update("jax_disable_most_optimizations", quick == "true")
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = quick


PICTURES: dict[tuple[object, ...], bytes] = {}
"""What figures were drawn: by their size, format, axes and numbers of artists."""


@pytest.fixture(scope="session", autouse=True)
def _each_kind_of_figure_is_drawn_once() -> Iterator[None]:
    """Letters and ticks of a figure take 0.3 s, and no test but those of the report asks for them.

    What a figure shows is computed every time. XLA_FLAGS="" draws them all, as every night.
    """
    from matplotlib.figure import Figure

    draw = Figure.savefig

    def drawn(figure: Any, target: Any, **settings: Any) -> None:
        axes = [
            (
                each.get_xlabel(),
                each.get_ylabel(),
                each.get_xscale(),
                each.get_yscale(),
                len(each.get_children()),
            )
            for each in figure.axes
        ]
        kind = (*figure.get_size_inches(), *sorted(settings.items()), *axes)
        if kind not in PICTURES:
            draw(figure, picture := io.BytesIO(), **settings)
            PICTURES[kind] = picture.getvalue()
        if hasattr(target, "write"):
            target.write(PICTURES[kind])
        else:
            Path(target).write_bytes(PICTURES[kind])

    with pytest.MonkeyPatch.context() as patch:
        if os.environ["XLA_FLAGS"]:
            patch.setattr(Figure, "savefig", drawn)
        yield


def write_tree(path: Path, columns: dict[str, Any], tree: str = "events") -> Path:
    """A ROOT file with one TTree of flat columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path) as file:
        file.mktree(tree, {name: np.asarray(values).dtype for name, values in columns.items()})
        file[tree].extend(columns)
    return path


def strict_json(text: str) -> Any:
    """What a program other than Python reads: RFC 8259 has no NaN and no Infinity."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="session")
def drell_yan() -> dict[str, np.ndarray]:
    """The reference events and their weights, as arrays."""
    with uproot.open(f"{EVENTS}:events") as tree:
        events = tree.arrays(library="np")
    with uproot.open(f"{WEIGHTS}:weights") as tree:
        return {
            **{name: events[name] for name in COLUMNS},
            "weight_DY": tree["weight_DY"].array(library="np"),
        }


def stored(process: str) -> dict[str, np.ndarray]:
    """The columns of a few stored events, with the `value`, `error` and `status` of their weights."""
    with np.load(REFERENCE / "weights.npz") as arrays:
        return {name.split("/")[1]: arrays[name] for name in arrays.files if name.split("/")[0] == process}


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, drell_yan: dict[str, np.ndarray]) -> Path:
    """A folder with 2,000 reference events: events.root and weights.root, trees events and weights."""
    folder = tmp_path_factory.mktemp("small")
    write_tree(folder / "events.root", {name: drell_yan[name][:2000] for name in COLUMNS})
    write_tree(folder / "weights.root", {"weight_DY": drell_yan["weight_DY"][:2000]}, "weights")
    return folder


def configuration(folder: Path, data: Path, **changes: Any) -> dict[str, Any]:
    """A configuration on the files of `data` that writes into `folder`; a change to None takes a key out."""
    values: dict[str, Any] = {
        "input_paths": [str(data / "events.root")],
        "output_paths": [str(data / "weights.root")],
        "prefixes": [["lep1_", "lep2_"], ["MET"]],
        "suffixes": [["PT", "Eta", "Phi", "Charge"], ["", "_Phi"]],
        "weights": ["weight_DY"],
        "width": 24,
        "depth": 2,
        "batch_size": 128,
        "save_lowest_loss_model_at": str(folder / "lowest.model"),
        "save_testing_histogram_at": str(folder / "histogram.png"),
        "run_folder": str(folder / "run"),
    } | changes
    return {key: value for key, value in values.items() if value is not None}


UNCALIBRATED: dict[str, Any] = {"split": [8, 0, 2]}
"""For a training whose errors nobody looks at. The training part is that of the default split: without a
validation part there is no calibration, which takes longer than an epoch of a small network."""


def write_configuration(folder: Path, data: Path, **changes: Any) -> Path:
    path = folder / "input.json"
    path.write_text(json.dumps(configuration(folder, data, **changes)))
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, small: Path) -> tuple[dict[str, Any], Path]:
    """A configuration that has been trained with, and its folder."""
    import deepmem

    folder = tmp_path_factory.mktemp("trained")
    config = configuration(folder, small, epochs=12)
    deepmem.train(config)
    return config, folder
