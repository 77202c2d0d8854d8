"""The command: parses, calls the workflow, prints. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from deepmem.errors import DeepMEMError, DeepMEMWarning, Interrupted, UsageError
from deepmem.usage import command

app = typer.Typer(
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="The Matrix Element Method, exact and learned. Without a command: the interface of DeepMEM 0.0.1.",
)

DEFAULT_INPUT = "input_files/input.json"
_LINE_EVERY = 5.0  # seconds between lines where there is no terminal

_debug = False


def _set_debug(value: bool) -> bool:
    global _debug
    _debug = _debug or value
    return value


def _set_threads(value: int | None) -> int | None:
    if value is not None and hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[:value])
    return value


def _show_version(value: bool) -> bool:
    if value:
        from importlib.metadata import version

        typer.echo(f"deepmem {version('deepmem')}")
        raise typer.Exit
    return value


def _device(value: str | None) -> int | None:
    """`--device None` is the original's way to ask for the CPU."""
    if value is None or value.lower() == "none":
        return None
    if not value.isdecimal():
        raise typer.BadParameter(f"{value!r} is not the number of a GPU (0, 1, …) or None for the CPU")
    return int(value)


def _telling_what_is_kept(job: Callable[..., None]) -> Callable[..., None]:
    """A command that says, where it is interrupted, what is kept."""

    @wraps(job)
    def run(**arguments: Any) -> None:
        try:
            job(**arguments)
        except Interrupted as stop:
            _fail(stop, 130)

    return run


Loader = Annotated[
    str | None,
    typer.Option(help="hybridMT (default: all in memory), hybrid (streamed) or inbuilt (disk cache)"),
]
Device = Annotated[str | None, typer.Option(help="Number of the GPU; without it, the CPU.", metavar="N")]
Epochs = Annotated[int | None, typer.Option(help="Number of epochs to train for (default 10).")]
InputFile = Annotated[str, typer.Option(help="Path to the input file.")]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Use this many cores.", callback=_set_threads, is_eager=True, metavar="N"),
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", callback=_set_debug, is_eager=True)
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object, and nothing else.")
]
Seed = Annotated[int | None, typer.Option(help="Same seed, same machine, same result.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted training.")]
Force = Annotated[
    bool,
    typer.Option("--force", help="Combine files though they say they are of other events or hypotheses."),
]
Flagged = Annotated[
    bool, typer.Option("--flagged", help="Use weights outside the training range too (status 4).")
]
Events = Annotated[
    list[str] | None, typer.Argument(help="ROOT files, globs, path:tree, or addresses.", metavar="EVENTS")
]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    loader: Loader = None,
    device: Device = None,
    epochs: Epochs = None,
    inputfile: InputFile = DEFAULT_INPUT,
    mode: Annotated[str, typer.Option(help="'train' or 'test'")] = "train",
    threads: Threads = None,
    debug: Debug = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand is not None:
        for name in ("loader", "device", "epochs", "inputfile", "mode"):
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                command = context.invoked_subcommand
                raise UsageError(f"--{name} belongs behind the command: deepmem {command} --{name} …")
        return
    if mode == "train":
        train(loader=loader, device=device, epochs=epochs, inputfile=inputfile)
    elif mode == "test":
        test(loader=loader, device=device, inputfile=inputfile)
    else:
        raise UsageError(f"--mode={mode}: expected 'train' or 'test'")


@app.command()
def train(
    loader: Loader = None,
    device: Device = None,
    epochs: Epochs = None,
    inputfile: InputFile = DEFAULT_INPUT,
    mode: Annotated[str, typer.Option(hidden=True)] = "train",
    resume: Resume = False,
    seed: Seed = None,
    force: Force = False,
    threads: Threads = None,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """Learn weights from events; keep the model of the lowest validation loss."""
    _same_mode("train", mode)
    from deepmem.jobs import training

    reporter = _console()
    model = training.train(
        inputfile,
        loader=loader,
        epochs=epochs,
        device=_device(device),
        seed=seed,
        resume=resume,
        force=force,
        reporter=reporter,
    )
    if as_json:
        _print_json(model.about)


@app.command()
def test(
    loader: Loader = None,
    device: Device = None,
    epochs: Annotated[int | None, typer.Option(hidden=True)] = None,
    inputfile: InputFile = DEFAULT_INPUT,
    mode: Annotated[str, typer.Option(hidden=True)] = "test",
    force: Force = False,
    threads: Threads = None,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """Compare the model with the true weights of the test part."""
    _same_mode("test", mode)
    from deepmem.jobs import testing

    result = testing.test(inputfile, loader=loader, device=_device(device), force=force, reporter=_console())
    _print_json(result) if as_json else _print_test(result)


@app.command()
def predict(
    events: Events = None,
    output: Annotated[str, typer.Option(help="The weight file to write.", metavar="OUT.root")] = ...,  # type: ignore[assignment]
    inputfile: Annotated[
        str | None, typer.Option(help="Path to the input file that names the model.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model file; enough on its own.")] = None,
    keep: Annotated[str | None, typer.Option(help="Branches to copy along: run,event")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A value of the parameter whose scan was learned: MZ=91.1", metavar="NAME=VALUE"
        ),
    ] = None,
    device: Device = None,
    threads: Threads = None,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """Write the weights of any number of events into a ROOT file, entry by entry."""
    from deepmem.jobs import prediction

    if model is None and inputfile is None:
        inputfile = DEFAULT_INPUT
    result = prediction.predict(
        events or (),
        output,
        model=model,
        config=inputfile,
        keep=_names(keep),
        at=_settings(settings) or None,
        device=_device(device),
        reporter=_console(),
    )
    _print_json(result) if as_json else _print_predicted(result)


Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="A parameter: MZ=91.0, or a scan MZ=90:92:0.5 (may be repeated).", metavar="NAME=VALUE"
    ),
]
Pdf = Annotated[str | None, typer.Option(help="Parton density: an LHAPDF set's name or a grid file.")]
Selected = Annotated[
    str | None, typer.Option("--selection", help="Cuts on measured particles, as JSON.", metavar="JSON")
]
OptionalInput = Annotated[
    str | None, typer.Option(help="Input file: paths, unit, column_names, response, selection.")
]


@app.command()
@_telling_what_is_kept
def compute(
    events: Events = None,
    process: Annotated[
        list[str], typer.Option(help="A process of the menu (may be repeated).", metavar="NAME")
    ] = ...,  # type: ignore[assignment]
    output: Annotated[str, typer.Option(help="The weight file to write.", metavar="OUT.root")] = ...,  # type: ignore[assignment]
    inputfile: OptionalInput = None,
    precision: Annotated[float, typer.Option(help="Relative error at which an event stops.")] = 0.01,
    calls: Annotated[int | None, typer.Option(help="Evaluations per event at most.")] = None,
    settings: Settings = None,
    pdf: Pdf = None,
    entries: Annotated[
        str | None, typer.Option(help="The part to compute, for a farm.", metavar="A:B")
    ] = None,
    keep: Annotated[str | None, typer.Option(help="Branches to copy along: run,event")] = None,
    neutrinos: Annotated[
        bool,
        typer.Option("--neutrinos", help="Write the neutrinos' momenta too, averaged over the integral."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the integration points.")] = 0,
    threads: Threads = None,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """Write the exact weights of events into a ROOT file; called again, continues where it stopped."""
    from deepmem.jobs import exact

    result = exact.compute_files(
        events or (),
        output,
        process,
        config=inputfile,
        precision=precision,
        calls=calls,
        seed=seed,
        pdf=pdf,
        entries=_range(entries),
        keep=_names(keep),
        neutrinos=neutrinos,
        reporter=_console(),
        **_settings(settings),
    ).to_dict()
    _print_json(result) if as_json else _print_predicted(result)


@app.command()
@_telling_what_is_kept
def refine(
    events: Events = None,
    process: Annotated[str, typer.Option(help="The process of the menu to compute.", metavar="NAME")] = ...,  # type: ignore[assignment]
    model: Annotated[str, typer.Option(help="The model file.", metavar="M")] = ...,  # type: ignore[assignment]
    output: Annotated[str, typer.Option(help="The weight file to write.", metavar="OUT.root")] = ...,  # type: ignore[assignment]
    tolerance: Annotated[
        float | None, typer.Option(help="Relative error up to which a weight may stay learned.", metavar="T")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Worst first: 600s, 10m, 2h, or a number of events.", metavar="B")
    ] = None,
    weight: Annotated[str | None, typer.Option(help="Which weight of a model with several.")] = None,
    audit: Annotated[
        int | None, typer.Option(help="Learned events to check exactly (default 200, 2 % at most).")
    ] = None,
    inputfile: OptionalInput = None,
    precision: Annotated[
        float | None, typer.Option(help="Of exact weights (default 0.01, or the tolerance if lower).")
    ] = None,
    calls: Annotated[int | None, typer.Option(help="Evaluations per event at most.")] = None,
    settings: Settings = None,
    pdf: Pdf = None,
    keep: Annotated[str | None, typer.Option(help="Branches to copy along: run,event")] = None,
    learn: Annotated[
        bool, typer.Option("--learn", help="Train again with what was computed, as --inputfile says.")
    ] = False,
    compare_random: Annotated[
        bool,
        typer.Option(
            "--compare-random",
            help="With --learn: learn from half of it and from random events too (3 more trainings).",
        ),
    ] = False,
    output_model: Annotated[
        str | None, typer.Option(help="The new model (default M.learned.model).", metavar="N")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the integration points and the audit.")] = 0,
    force: Force = False,
    device: Device = None,
    threads: Threads = None,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """Learned weights, the ones with too large errors computed exactly, the others audited."""
    from deepmem.jobs import learning

    result = learning.refine(
        events or (),
        output,
        process,
        model,
        tolerance=tolerance,
        budget=budget,
        weight=weight,
        audit=audit,
        config=inputfile,
        precision=precision,
        calls=calls,
        seed=seed,
        pdf=pdf,
        keep=_names(keep),
        learn=learn,
        compare_random=compare_random,
        output_model=output_model,
        force=force,
        device=_device(device),
        reporter=_console(),
        **_settings(settings),
    )
    if as_json:
        _print_json(result)
    else:
        _print_predicted(result)
        page = result["report"]["report"]
        typer.echo("\n".join([*result["summary"], f"report for collaborators: {page}"]))
    if result["failed"] is not None:
        raise DeepMEMError(result["failed"])


@app.command()
def merge(
    parts: Annotated[
        list[str], typer.Argument(help="Files made with compute --entries.", metavar="PART.root ...")
    ],
    output: Annotated[str, typer.Option(help="The weight file to write.", metavar="OUT.root")] = ...,  # type: ignore[assignment]
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """Put the parts of a farm together, in the order of their entries."""
    from deepmem.jobs import farm

    result = farm.merge(parts, output).to_dict()
    if as_json:
        _print_json(result)
    else:
        typer.echo(f"{result['parts']} parts, {result['events']:,} events → {output}")


@app.command()
def processes(debug: Debug = False, as_json: AsJson = False) -> None:
    """The menu: final state, columns needed, parameters, dimensions, paper."""
    from deepmem.physics.amplitude import processes as menu
    from deepmem.physics.processes import find_process

    entries = menu()
    if as_json:
        _print_json(entries)
        return
    for name, entry in entries.items():
        settings = ", ".join(f"{k}={'derived' if v is None else v}" for k, v in entry["parameters"].items())
        typer.echo(f"{name}   {entry['title']}")
        typer.echo(f"    outgoing    {' '.join(map(str, entry['outgoing']))}")
        typer.echo(f"    columns     {' '.join(entry['columns'])}")
        typer.echo(f"    parameters  {settings}")
        if entry["subsets"]:
            typer.echo(f"    subsets     {', '.join(entry['subsets'])} (--set subset=NAME)")
        without = "" if find_process(name).invisible else ", or 0 with --set r_lepton=0"
        typer.echo(f"    dimensions  {entry['dimensions']}{without}")
        typer.echo(f"    reference   {entry['reference']}\n")


@app.command()
def generate(
    process: Annotated[str, typer.Argument(help="A process of the menu.", metavar="PROCESS")],
    events: Annotated[int, typer.Option(help="How many events to keep.", metavar="N")] = ...,  # type: ignore[assignment]
    output: Annotated[str, typer.Option(help="The file to write.", metavar="OUT.root")] = ...,  # type: ignore[assignment]
    seed: Annotated[int, typer.Option(help="Same seed, same events.")] = 1,
    inputfile: OptionalInput = None,
    selection: Selected = None,
    dressed: Annotated[
        bool, typer.Option("--dressed", help="Add photons within ΔR < 0.1 to leptons.")
    ] = False,
    settings: Settings = None,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """Make events with Pythia 8 (extra 'generate') and the response of the transfer functions."""
    from deepmem.config import Config
    from deepmem.generate import generate as make

    config = Config.load(inputfile or {}, need=())
    console = _console()
    done = 0
    with console.progress("generating", events) as step:

        def progress(kept: int) -> None:
            nonlocal done
            step(kept - done)
            done = kept

        made = make(
            process,
            events,
            seed,
            output,
            selection=config.selection if selection is None else _cuts(selection),
            response=config.response,
            dressed=dressed,
            progress=progress,
            **_settings(settings),
        )
    result = {
        "events": made.events,
        "tried": made.tried,
        "cross_section_pb": made.cross_section,
        "error_pb": made.error,
        "output": output,
    }
    if as_json:
        _print_json(result)
    else:
        typer.echo(f"{made.events:,} events (of {made.tried:,} tried) → {output} (tree 'events')")
        typer.echo(f"Pythia's cross-section of what was kept: {made.cross_section:.5g} ± {made.error:.2g} pb")


@app.command(name="cross-section")
def cross_section(
    process: Annotated[str, typer.Argument(help="A process of the menu.", metavar="PROCESS")],
    inputfile: OptionalInput = None,
    selection: Selected = None,
    precision: Annotated[float, typer.Option(help="Relative error to reach.")] = 2e-3,
    mass: Annotated[
        str | None, typer.Option(help="True masses to integrate over, GeV.", metavar="LOW:HIGH")
    ] = None,
    top_window: Annotated[
        float | None, typer.Option(help="Both tops within so many widths of MT.", metavar="N")
    ] = None,
    settings: Settings = None,
    pdf: Pdf = None,
    seed: Annotated[int, typer.Option(help="Of the points.")] = 1,
    threads: Threads = None,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """σ, and σ_vis within cuts on measured quantities, in pb with their errors."""
    from dataclasses import asdict

    from deepmem.config import Config
    from deepmem.physics.leading_order import cross_section as integrate

    config = Config.load(inputfile or {}, need=())
    extra: dict[str, Any] = _settings(settings)
    if pdf is not None:
        extra["pdf"] = pdf
    if config.response is not None:
        extra["response"] = config.response
    if mass is not None:
        extra["mass"] = _window(mass)
    if top_window is not None:
        extra["top_window"] = top_window
    cuts = config.selection if selection is None else _cuts(selection)
    found = integrate(process, cuts, precision, seed, **extra)
    if as_json:
        derived = {"efficiency": found.efficiency, "uncovered": found.uncovered, "remarks": found.remarks()}
        _print_json(asdict(found) | derived)
        return
    typer.echo(
        f"σ      {found.value:.6g} ± {found.error:.2g} pb   "
        f"(true masses {found.mass[0]:g} to {found.mass[1]:g} GeV"
        f"{'' if top_window is None else f', tops within {top_window:g} widths'})"
    )
    typer.echo(
        f"σ_vis  {found.visible:.6g} ± {found.visible_error:.2g} pb   (with recoil, response and cuts; "
        f"true masses {found.sampled[0]:.4g} to {found.sampled[1]:.6g} GeV)"
    )
    for remark in found.remarks():
        typer.echo(remark)


@app.command()
def compare(
    truth: Annotated[str, typer.Argument(help="Weights taken as true.", metavar="TRUTH.root[:tree]")],
    predicted: Annotated[str, typer.Argument(help="Weights to judge.", metavar="PREDICTED.root[:tree]")],
    truth_name: Annotated[str | None, typer.Option("--truth", help="Branch of the true weight.")] = None,
    predicted_name: Annotated[str | None, typer.Option("--predicted", help="Branch of the other.")] = None,
    output: Annotated[str, typer.Option(help="Folder for the figure and the numbers.")] = "post",
    flagged: Flagged = False,
    force: Force = False,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """Figures for any two sets of weights of the same events."""
    from deepmem.jobs import comparison

    result = comparison.compare(
        truth, predicted, output,
        truth_name=truth_name, predicted_name=predicted_name, flagged=flagged, force=force,
    )  # fmt: skip
    if as_json:
        _print_json(result)
    else:
        _print_figures(result)
        for what, counts in result["statuses"].items():
            for meaning, number in counts.items():
                typer.echo(f"  {what}: {number:,} with status {meaning}")
        if left := result["flagged_left_out"]:
            typer.echo(f"  left out: {left:,} with status 4 in either (--flagged takes them)")
        for remark in result["remarks"]:
            typer.echo(f"  {remark}")
        typer.echo(f"figure: {result['figure']}")


Learned = Annotated[
    list[str] | None,
    typer.Option(help="Learned weights of the same events (may be repeated).", metavar="L.root"),
]
Post = Annotated[str, typer.Option(help="Folder for figure and numbers.")]


@app.command()
def discriminate(
    weights: Annotated[
        list[str],
        typer.Argument(help="Weight files; signal events first, without --label.", metavar="W.root"),
    ],
    signal: Annotated[str, typer.Option(help="Name of the signal's weight.")] = ...,  # type: ignore[assignment]
    background: Annotated[
        list[str], typer.Option(help="Name of a background's weight (may be repeated).")
    ] = ...,  # type: ignore[assignment]
    kappa: Annotated[list[float] | None, typer.Option(help="Factor of each background (1).")] = None,
    sigma_signal: Annotated[float | None, typer.Option(help="σ_vis in pb; else computed.")] = None,
    sigma_background: Annotated[
        list[float] | None, typer.Option(help="σ_vis of each background in pb; else computed.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Branch that is not zero for signal.", metavar="BRANCH")
    ] = None,
    learned: Learned = None,
    flagged: Flagged = False,
    force: Force = False,
    inputfile: OptionalInput = None,
    selection: Selected = None,
    output: Post = "post",
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 1,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """How well weights tell a signal from backgrounds: discriminant and ROC curves."""
    from deepmem.jobs import discriminants

    result = discriminants.discriminate(
        weights,
        signal,
        background,
        kappa=kappa or (),
        sigma_signal=sigma_signal,
        sigma_background=sigma_background or (),
        selection=_cuts(selection),
        config=inputfile,
        label=label,
        learned=learned or (),
        flagged=flagged,
        force=force,
        output=output,
        seed=seed,
    )
    _print_json(result) if as_json else _print_summary(result)


@app.command()
def likelihood(
    weights: Annotated[str, typer.Argument(help="A file of compute --set NAME=A:B:STEP.", metavar="W.root")],
    parameter: Annotated[str, typer.Option(help="The parameter scanned.", metavar="NAME")] = ...,  # type: ignore[assignment]
    process: Annotated[str | None, typer.Option(help="Where the file has scans of several.")] = None,
    learned: Annotated[str | None, typer.Option(help="Learned weights of the same events.")] = None,
    flagged: Flagged = False,
    force: Force = False,
    inputfile: OptionalInput = None,
    selection: Selected = None,
    without_sigma: Annotated[
        bool, typer.Option("--without-sigma", help="Leave σ_vis out (biased where it varies).")
    ] = False,
    samples: Annotated[int, typer.Option(help="Pseudo-experiments: disjoint subsamples.")] = 0,
    true: Annotated[float | None, typer.Option(help="The true value, for bias and pulls.")] = None,
    output: Post = "post",
    seed: Annotated[int, typer.Option(help="Of the subsamples.")] = 1,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """The likelihood of a parameter from a scan of weights: minimum, interval, bias and pulls."""
    from deepmem.jobs.likelihood import likelihood as scan

    result = scan(
        weights,
        parameter,
        process=process,
        learned=learned,
        flagged=flagged,
        force=force,
        selection=_cuts(selection),
        config=inputfile,
        normalise=not without_sigma,
        samples=samples,
        true=true,
        output=output,
        seed=seed,
    )
    _print_json(result) if as_json else _print_summary(result)


def _print_summary(result: dict[str, Any]) -> None:
    typer.echo("\n".join([result["title"], *result["summary"], f"figure and numbers: {result['output']}/"]))


@app.command()
def report(
    folder: Annotated[
        str,
        typer.Argument(
            help="The run folder, after 'test'; or what refine, discriminate or likelihood wrote.",
            metavar="RUN_FOLDER",
        ),
    ],
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """One page that says what can be relied on: report.html in the folder, its numbers in report.json."""
    from deepmem.evaluation.report import report as write

    result = write(folder)
    if as_json:
        _print_json(result)
        return
    for name, sentences in result["verdict"].items():
        for sentence in sentences:
            typer.echo(f"{name}, {sentence['about']}: {sentence['text']}")
    typer.echo(f"\nreport:  {result['report']}\nnumbers: {result['numbers']}")


@app.command()
def config(
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of the input file.")
    ] = False,
    check: Annotated[
        str | None, typer.Option(help="Check an input file and print what it means.", metavar="F")
    ] = None,
    debug: Debug = False,
) -> None:
    """List the keys of the input file, or check one."""
    from deepmem.config import Config

    if schema == (check is not None):
        raise UsageError("deepmem config needs either --schema or --check F")
    if check is None:
        _print_json(Config.model_json_schema())
        return
    settings = Config.load(check, need=())
    if settings.column_names:
        from deepmem.columns import check_column_names
        from deepmem.physics.processes import known_columns

        check_column_names(settings.column_names, known_columns())
    _check_physics(settings.response, settings.selection)
    columns = settings.columns if settings.prefixes else ()  # an input file for exact weights has none
    _print_json(settings.model_dump() | {"columns": columns})


@app.command()
def demo(
    output: Annotated[str, typer.Option(help="Folder for everything that is made.")] = "demo",
    process: Annotated[
        str, typer.Option(help="Another process than the built-in one: its events are generated.")
    ] = "drell_yan",
    events: Annotated[int, typer.Option(help="How many events to generate.", metavar="N")] = 2000,
    threads: Threads = None,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """The whole workflow on built-in data; ends by saying where to look."""
    from deepmem.jobs.demo import demo as run

    result = run(output, process=process, events=events, reporter=_console()).to_dict()
    if as_json:
        _print_json(result)
        return
    _print_test(result)
    _print_predicted(result["predicted"])
    typer.echo(
        f"\nLook at {result['figure']}: exact and learned weights of events that the network never saw."
    )
    typer.echo(f"Everything else is in {output}/; input.json there is a configuration to start from.")


def _check_physics(response: dict[str, Any] | None, selection: dict[str, Any] | None) -> None:
    """**Raises** `UsageError` where no command could use a configuration's responses or cuts."""
    from deepmem.selection import Selection

    Selection.of(selection)
    for name, entry in (response or {}).items():
        from deepmem.physics.detector.entries import detector, missing_momentum
        from deepmem.physics.processes import all_processes

        classes = sorted({kind for process in all_processes().values() for kind in process.visible_classes})
        if name == "met":
            missing_momentum(entry)
        else:
            detector({name: entry}, classes, missing=False)


def _console() -> Any:
    """A reporter for a person: a bar on a terminal, a line every few seconds elsewhere, all of it on
    stderr."""
    from deepmem.reporter import Reporter

    class Console(Reporter):
        def message(self, text: str) -> None:
            typer.echo(text, err=True)

        def warning(self, text: str) -> None:
            typer.secho(f"warning: {text}", err=True, fg="yellow" if sys.stderr.isatty() else None)

        @contextmanager
        def progress(self, what: str, total: int) -> Iterator[Any]:
            if sys.stderr.isatty():
                with _bar(what, total) as step:
                    yield step
            else:
                yield _lines(what, total)

    return Console()


@contextmanager
def _bar(what: str, total: int) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total, note="")
        yield lambda done, note="": bar.update(task, advance=done, note=note)


def _lines(what: str, total: int) -> Any:
    begin = last = time.monotonic()
    done = 0
    first: int | None = None

    def step(more: int, note: str = "") -> None:
        nonlocal last, done, first
        done += more
        if first is None:  # what a resumed run had done before says nothing about speed
            first = done if not note else 0
        now = time.monotonic()
        if now - last >= _LINE_EVERY or done >= total:
            last = now
            fresh = done - first
            left = (now - begin) / fresh * (total - done) if fresh > 0 else float("nan")
            remaining = f", {left:.0f} s left" if done < total and left == left else ""
            typer.echo(f"{what}: {done:,} of {total:,}{', ' + note if note else ''}{remaining}", err=True)

    return step


def _print_json(result: Any) -> None:
    typer.echo(json.dumps(result, indent=2, ensure_ascii=False))


def _print_test(result: dict[str, Any]) -> None:
    for name, figures in result["weights"].items():
        typer.echo(f"\n{name}, test part")
        typer.echo(f"  loss                              {figures['loss']:.4g}")
        _print_figures(figures)
        for reason, number in figures["left_out_by_reason"].items():
            typer.echo(f"  left out: {reason:<23} {number:,}")
        for sentence in result["report"]["verdict"][name]:
            typer.echo(f"  {sentence['text']}")
    typer.echo(f"\nfigure: {result['figure']}\nnumbers: {result['file']}")
    typer.echo(f"report for collaborators: {result['report']['report']}")


def _print_figures(figures: dict[str, Any]) -> None:
    rows = [
        ("events compared", f"{figures['events']:,}"),
        ("MAPE of -log10 w (as 0.0.1)", f"{figures['mape_of_log10_percent']:.4f} %"),
        ("median of Δ = log10(pred/true)", f"{figures['median']:+.5f}"),
        ("|Δ| of 68 % of events below", f"{figures['q68']:.5f}"),
        ("|Δ| of 95 % of events below", f"{figures['q95']:.5f}"),
        ("|Δ| of 99.9 % of events below", f"{figures['q999']:.5f}"),
        ("bias of the weight (sum)", f"{100 * figures['bias']:+.3f} %"),
    ]
    for label, value in rows:
        typer.echo(f"  {label:<33} {value}")


def _print_predicted(result: dict[str, Any]) -> None:
    typer.echo(f"{result['events']:,} events → {result['output']} (tree 'deepmem')")
    for name, counts in result["status"].items():
        for meaning, number in counts.items():
            typer.echo(f"  {name}: {number:,} with status {meaning}")
        for reason, number in result.get("reasons", {}).get(name, {}).items():
            typer.echo(f"    {number:,}: {reason}")


def _same_mode(command: str, mode: str) -> None:
    if mode != command:
        raise UsageError(f"deepmem {command} --mode={mode}: the two contradict each other")


def _names(text: str | None) -> list[str]:
    return [name for name in (text or "").split(",") if name]


def _range(text: str | None) -> tuple[int, int] | None:
    """`A:B` as two entry numbers."""
    if text is None:
        return None
    parts = text.split(":")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise UsageError(
            f"--entries {text}: expected A:B, the first entry and the one after the last, such as 0:10000"
        )
    return int(parts[0]), int(parts[1])


def _window(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        raise UsageError(f"--mass {text}: expected LOW:HIGH in GeV, such as 60:120") from None
    return low, high


def _cuts(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        cuts = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"--selection is not valid JSON ({error}), such as '{{\"lepton_pt\": [20, 10]}}'"
        ) from None
    if not isinstance(cuts, dict):
        raise UsageError(f"--selection: expected a JSON object of cuts, got {text}")
    return cuts


# Names of options that a user may take for a parameter.
_OPTIONS = ("pdf", "precision", "calls", "seed", "neutrinos", "entries", "keep", "selection", "mass")


def _settings(texts: list[str] | None) -> dict[str, Any]:
    """`NAME=VALUE` pairs: numbers as numbers, `A:B:STEP` as the values of a scan (B included), other words as
    they are."""
    settings: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"--set {text}: expected NAME=VALUE, such as MZ=91.0 or MZ=90:92:0.5")
        if name in settings:
            raise UsageError(f"--set gives {name} twice")
        if name in _OPTIONS:
            raise UsageError(f"--set {text}: {name} is no parameter of a process; see the option --{name}")
        settings[name] = _scan(text, value) if ":" in value else _number(value)
    return settings


def _number(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _scan(text: str, value: str) -> list[float]:
    try:
        low, high, step = map(float, value.split(":"))
    except ValueError:
        raise UsageError(f"--set {text}: a scan is FIRST:LAST:STEP, such as MZ=90:92:0.5") from None
    if not (step > 0 and high >= low and (high - low) / step < 1000):
        raise UsageError(f"--set {text}: expected FIRST ≤ LAST and a STEP above 0 (at most 1000 values)")
    return [low + i * step for i in range(int((high - low) / step + 1e-9) + 1)]


def _prepare_jax() -> None:
    """Settings of the command's own process; a user's Python session is left as it is."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepmem" / "xla"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


def _say_warnings() -> None:
    """What the library warns of becomes one line, each text once; other warnings stay as they are."""
    shown = warnings.showwarning
    said: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, DeepMEMWarning):
            shown(message, category, *where, **more)
        elif str(message) not in said:
            said.add(str(message))
            typer.secho(f"warning: {message}", err=True, fg="yellow" if sys.stderr.isatty() else None)

    warnings.showwarning = show
    warnings.simplefilter("always", DeepMEMWarning)


def main() -> None:
    """The entry point: exit status 0 done, 2 wrong call or input, 1 failed, 130 interrupted."""
    _prepare_jax()
    _say_warnings()
    try:
        status = command(app)(standalone_mode=False)
    except UsageError as error:
        _fail(error, 2)
    except DeepMEMError as error:
        _fail(error, 1)
    except (KeyboardInterrupt, typer.Abort):
        _interrupted()
    except Exception as error:
        # what the parser of the command line raises; its class moves between versions of typer
        if (said := getattr(error, "format_message", None)) is not None:
            _fail(error, 2, f"{said()} ('deepmem --help' and 'deepmem COMMAND --help' say more)")
        _fail(error, 1, f"{type(error).__name__}: {error} (--debug shows where)")
    if status == 130:
        _interrupted()
    sys.exit(status if isinstance(status, int) else 0)


def _interrupted() -> None:
    typer.echo("deepmem: interrupted; what was finished is kept", err=True)
    sys.exit(130)


def _fail(error: BaseException, status: int, text: str | None = None) -> None:
    if _debug:
        import traceback

        traceback.print_exception(error)
    typer.echo(f"deepmem: {text or error}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
