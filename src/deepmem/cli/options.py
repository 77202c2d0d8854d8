"""Options that several commands have, each defined once; an option of one command stands in its signature."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deepmem.jobs.staff import Staff

DEFAULT_INPUT = "input_files/input.json"


@dataclass
class Switches:
    """What an option switches on for the whole process; `cores`, those that it could use before."""

    debug: bool = False
    cores: tuple[int, ...] = ()


switches = Switches()


def _switch_debug(value: bool) -> bool:
    switches.debug = switches.debug or value
    return value


def _limit_cores(value: int | None) -> int | None:
    if value is not None and hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        switches.cores = tuple(allowed)
        os.sched_setaffinity(0, allowed[:value])
    return value


def staff(workers: int, threads: int | None, scheduler: str | None, modules: Sequence[str]) -> Staff:
    """Who computes: `--threads` are the cores of each worker, where several are asked for, and else those of
    all together. These import `modules` as soon as they are asked for, while this process does."""
    from deepmem.jobs.staff import Staff

    if workers < 2 or threads is None:
        return Staff(workers, scheduler=scheduler).on_their_way(modules)
    if switches.cores:
        os.sched_setaffinity(0, switches.cores)
    return Staff(workers, threads, scheduler).on_their_way(modules)


def _show_version(value: bool) -> bool:
    if value:
        from importlib.metadata import version

        typer.echo(f"deepmem {version('deepmem')}")
        raise typer.Exit
    return value


# Files
Events = Annotated[
    list[str] | None, typer.Argument(help="ROOT files, globs, path:tree, or addresses.", metavar="EVENTS")
]
InputFile = Annotated[str, typer.Option(help="Path to the input file.")]
OptionalInput = Annotated[
    str | None, typer.Option(help="Input file: paths, unit, column_names, response, selection.")
]


def told(path: str | None) -> str | None:
    """The file to write, of which is told where its folder has to be made: it may be a slip of the pen."""
    folder = Path(path or ".").absolute().parent
    if not os.path.exists(folder):  # noqa: PTH110 - which, unlike Path's, never fails
        typer.echo(f"the folder {folder} does not exist: it is made with {Path(str(path)).name}", err=True)
    return path


WeightFile = Annotated[str, typer.Option(help="The weight file to write.", metavar="OUT.root", callback=told)]
Keep = Annotated[str | None, typer.Option(help="Branches to copy along: run,event")]
EventSchema = Annotated[
    str | None,
    typer.Option("--schema", help="Of the events: flat, nanoaod, delphes, physlite.", metavar="SCHEMA"),
]
Post = Annotated[str, typer.Option(help="Folder for figure and numbers.")]

# Physics
MenuName = Annotated[str, typer.Argument(help="A process of the menu.", metavar="PROCESS")]


def of_the_menu(incomplete: str) -> list[str]:
    """Names of processes that begin so, for a shell that completes them."""
    from deepmem.physics.processes import REACTIONS, all_processes

    return [name for name in (*all_processes(), *REACTIONS) if name.startswith(incomplete)]


AnyProcess = Annotated[
    str,
    typer.Argument(
        help="A process of the menu, or a reaction 'NAME=p p > …'.",
        metavar="PROCESS",
        autocompletion=of_the_menu,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A parameter: MZ=91.0, a scan MZ=90:92:0.5, a coupling left free ca3=[:] (may be repeated).",
        metavar="NAME=VALUE",
    ),
]
Pdf = Annotated[str | None, typer.Option(help="Parton density: an LHAPDF set's name or a grid file.")]
Selection = Annotated[
    str | None, typer.Option("--selection", help="Cuts on measured particles, as JSON.", metavar="JSON")
]
PartonSelection = Annotated[
    str | None,
    typer.Option(
        "--parton-selection", help="Cuts on partons beside it, where σ is infinite without.", metavar="JSON"
    ),
]

# Precision
Calls = Annotated[int | None, typer.Option(help="Evaluations per event at most.")]

# Learning
Loader = Annotated[
    str | None,
    typer.Option(help="hybridMT (default: all in memory), hybrid (streamed) or inbuilt (disk cache)"),
]
Epochs = Annotated[int | None, typer.Option(help="Number of epochs to train for (default 10).")]
HiddenMode = Annotated[str, typer.Option("--mode", hidden=True)]

# Running
Device = Annotated[
    str | None, typer.Option(help="Number of the GPU, or all; without it, the CPU.", metavar="N")
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Use this many cores.", callback=_limit_cores, is_eager=True, metavar="N"),
]
Workers = Annotated[
    int,
    typer.Option(
        help="Processes that compute, one on a core; 0: one for each core, if it is worth it.", metavar="N"
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(help="A Dask scheduler whose workers compute: tcp://HOST:8786.", metavar="ADDRESS"),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Combine files though they say they are of other events or hypotheses."),
]
Flagged = Annotated[
    bool, typer.Option("--flagged", help="Use weights outside the training range too (status 4).")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object, and nothing else.")
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show the traceback of an error.", callback=_switch_debug, is_eager=True),
]
Version = Annotated[
    bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
]
