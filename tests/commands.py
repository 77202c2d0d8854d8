"""The command in this process, by the name that it has always had: `python -m deepmem.cli`."""

from __future__ import annotations

import io
import runpy
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
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
