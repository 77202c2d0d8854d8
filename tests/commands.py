"""The command in this process, by the name that it has always had: `python -m deepmem.cli`."""

from __future__ import annotations

import io
import runpy
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch


@dataclass(frozen=True)
class Done:
    """What a command left: its exit status, what it printed, and all that it said."""

    status: int
    out: str
    said: str


def run(*arguments: object) -> Done:
    """Call `deepmem` with these words."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        patch.object(sys, "argv", ["deepmem", *map(str, arguments)]),
        warnings.catch_warnings(),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            runpy.run_module("deepmem.cli", run_name="__main__")
        except SystemExit as stop:
            status = int(stop.code or 0)
    return Done(status, out.getvalue(), out.getvalue() + err.getvalue())


@contextmanager
def as_in_a_terminal() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C; handlers are as before at the end."""
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)


def assert_said_to_be_kept(told: str, folder: Path, events: str) -> None:
    """The last line of an interrupted call is of the parts that are there."""
    bounds = [path.name.split(".")[1].split("-") for path in (folder / ".w.root.parts").glob("*.npz")]
    kept = sum(int(end) - int(begin) for begin, end in bounds)
    assert kept > 0
    assert told == f"deepmem: interrupted; {kept:,} of {events} events are kept, the same command continues"
