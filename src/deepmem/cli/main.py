"""The menu of commands, the interface of DeepMEM 0.0.1 without one, and how a call ends."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, NoReturn

import typer

from deepmem.cli import configuration, console, detector, exact, judged, learned, options
from deepmem.cli.usage import command_line
from deepmem.errors import DeepMEMError, DeepMEMWarning, Interrupted, UsageError
from deepmem.jobs.environment import prepare_jax

app = typer.Typer(
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    help="The Matrix Element Method, exact and learned. Without a command: the interface of DeepMEM 0.0.1.",
)
_COMMANDS = (
    learned.train, learned.test, learned.predict, learned.export, exact.compute, learned.refine, exact.merge,
    exact.processes, exact.generate, exact.cross_section, judged.compare, judged.discriminate,
    judged.likelihood, judged.report, detector.responses, configuration.config, learned.demo,
)  # fmt: skip


def _telling_what_is_kept(job: Callable[..., None]) -> Callable[..., None]:
    """A command that says, where it is interrupted, what is kept; the parser would forget the text."""

    @wraps(job)
    def run(**arguments: Any) -> None:
        try:
            job(**arguments)
        except Interrupted as stop:
            _fail(stop, 130)

    return run


for _command in _COMMANDS:
    app.command()(_telling_what_is_kept(_command))


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    loader: options.Loader = None,
    device: options.Device = None,
    epochs: options.Epochs = None,
    inputfile: options.InputFile = options.DEFAULT_INPUT,
    mode: Annotated[str, typer.Option(help="'train' or 'test'")] = "train",
    threads: options.Threads = None,
    debug: options.Debug = False,
    version: options.Version = False,
) -> None:
    if (called := context.invoked_subcommand) is not None:
        for name in ("loader", "device", "epochs", "inputfile", "mode"):
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                raise UsageError(f"--{name} belongs behind the command: deepmem {called} --{name} …")
        return
    if mode == "train":
        learned.train(loader=loader, device=device, epochs=epochs, inputfile=inputfile)
    elif mode == "test":
        learned.test(loader=loader, device=device, inputfile=inputfile)
    else:
        raise UsageError(f"--mode={mode}: expected 'train' or 'test'")


def main() -> NoReturn:
    """The entry point: exit status 0 done, 2 wrong call or input, 1 failed, 130 interrupted."""
    prepare_jax()
    atexit.register(gc.freeze)  # else Python looks for cycles in all that ends with the process anyway
    _show_warnings()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was finished is kept
    try:
        status = command_line(app)(standalone_mode=False)
    except UsageError as error:
        _fail(error, 2)
    except DeepMEMError as error:
        _fail(error, 1)
    except (KeyboardInterrupt, typer.Abort):
        _interrupted()
    except Exception as error:
        # what the parser of the command line raises; its class moves between versions of typer
        if (message := getattr(error, "format_message", None)) is not None:
            _fail(error, 2, f"{message()} ('deepmem --help' and 'deepmem COMMAND --help' say more)")
        _fail(error, 1, f"{type(error).__name__}: {error} (--debug shows where)")
    if status == 130:
        _interrupted()
    sys.exit(status if isinstance(status, int) else 0)


def _show_warnings() -> None:
    """What the library warns of becomes one line, each text once; other warnings stay as they are."""
    others = warnings.showwarning
    texts: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, DeepMEMWarning):
            others(message, category, *where, **more)
        elif str(message) not in texts:
            texts.add(str(message))
            console.warn(str(message))

    warnings.showwarning = show
    warnings.simplefilter("always", DeepMEMWarning)


def _interrupted() -> NoReturn:
    typer.echo("deepmem: interrupted; what was finished is kept", err=True)
    sys.exit(130)


def _fail(error: BaseException, status: int, text: str | None = None) -> NoReturn:
    if options.switches.debug:
        import traceback

        traceback.print_exception(error)
    typer.echo(f"deepmem: {text or error}", err=True)
    sys.exit(status)
