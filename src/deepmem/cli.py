"""The command: parses, calls the workflow, prints. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from deepmem.errors import DeepMEMError, UsageError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
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
    threads: Threads = None,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """Learn weights from events; keep the model of the lowest validation loss."""
    from deepmem import workflow

    reporter = _console()
    model = workflow.train(
        inputfile,
        loader=loader,
        epochs=epochs,
        device=_device(device),
        seed=seed,
        resume=resume,
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
    threads: Threads = None,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """Compare the model with the true weights of the test part."""
    from deepmem import workflow

    result = workflow.test(inputfile, loader=loader, device=_device(device), reporter=_console())
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
    device: Device = None,
    threads: Threads = None,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """Write the weights of any number of events into a ROOT file, entry by entry."""
    from deepmem import workflow

    if model is None and inputfile is None:
        inputfile = DEFAULT_INPUT
    result = workflow.predict(
        events or (),
        output,
        model=model,
        config=inputfile,
        keep=[name for name in (keep or "").split(",") if name],
        device=_device(device),
        reporter=_console(),
    )
    _print_json(result) if as_json else _print_predicted(result)


@app.command()
def compare(
    truth: Annotated[str, typer.Argument(help="Weights taken as true.", metavar="TRUTH.root[:tree]")],
    predicted: Annotated[str, typer.Argument(help="Weights to judge.", metavar="PREDICTED.root[:tree]")],
    truth_name: Annotated[str | None, typer.Option("--truth", help="Branch of the true weight.")] = None,
    predicted_name: Annotated[str | None, typer.Option("--predicted", help="Branch of the other.")] = None,
    output: Annotated[str, typer.Option(help="Folder for the figure and the numbers.")] = "post",
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """Figures for any two sets of weights of the same events."""
    from deepmem import workflow

    result = workflow.compare(truth, predicted, output, truth_name=truth_name, predicted_name=predicted_name)
    if as_json:
        _print_json(result)
    else:
        _print_figures(result)
        typer.echo(f"figure: {result['figure']}")


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
    settings = Config.load(check)
    _print_json(settings.model_dump() | {"columns": settings.columns})


@app.command()
def demo(
    output: Annotated[str, typer.Option(help="Folder for everything that is made.")] = "demo",
    threads: Threads = None,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """The whole workflow on built-in data; ends by saying where to look."""
    from deepmem import workflow

    result = workflow.demo(output, reporter=_console())
    if as_json:
        _print_json(result)
        return
    _print_test(result)
    _print_predicted(result["predicted"])
    typer.echo(
        f"\nLook at {result['figure']}: true and learned weights of events that the network never saw."
    )
    typer.echo(f"Everything else is in {output}/; input.json there is a configuration to start from.")


def _console() -> Any:
    """A reporter for a person: a bar on a terminal, a line every few seconds elsewhere, all of it on
    stderr."""
    from deepmem.workflow import Reporter

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
    typer.echo(f"\nfigure: {result['figure']}\nnumbers: {result['file']}")


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


def _prepare_jax() -> None:
    """Settings of the command's own process; a user's Python session is left as it is."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepmem" / "xla"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


def main() -> None:
    """The entry point: exit status 0 done, 2 wrong call or input, 1 failed, 130 interrupted."""
    _prepare_jax()
    try:
        app()
    except UsageError as error:
        _fail(error, 2)
    except DeepMEMError as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        typer.echo("interrupted; what was finished is kept", err=True)
        sys.exit(130)
    except Exception as error:
        _fail(error, 1, f"{type(error).__name__}: {error} (--debug shows where)")


def _fail(error: Exception, status: int, text: str | None = None) -> None:
    if _debug:
        import traceback

        traceback.print_exception(error)
    typer.echo(f"deepmem: {text or error}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
