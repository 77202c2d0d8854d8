"""What a person or a program is shown: results on stdout, progress and warnings on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from deepmem.data.files import json_text
from deepmem.reporter import Reporter, Step

_LINE_EVERY = 5.0  # seconds between lines where there is no terminal
_AT_ONCE = 1.0  # seconds after the first step in which what was done before is told


class Console(Reporter):
    """A bar on a terminal, a line every few seconds elsewhere, all of it on stderr."""

    def message(self, text: str) -> None:
        typer.echo(text, err=True)

    def warning(self, text: str) -> None:
        warn(text)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Step]:
        if sys.stderr.isatty():
            with _bar(what, total) as step:
                yield step
        else:
            yield _Lines(what, total)


def warn(text: str) -> None:
    """A line on stderr, yellow on a terminal."""
    typer.secho(f"warning: {text}", err=True, fg="yellow" if sys.stderr.isatty() else None)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Step]:
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[note]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=Terminal(stderr=True)) as bar:
        task = bar.add_task(what, total=total, note="")
        yield lambda done, note="": bar.update(task, advance=done, note=note)


class _Lines:
    """A line every few seconds, and one at the end."""

    def __init__(self, what: str, total: int):
        self.what, self.total, self.done = what, total, 0
        self.last = time.monotonic()
        self.first: float | None = None
        self.since, self.before = 0.0, 0

    def __call__(self, done: int, note: str = "") -> None:
        self.done += done
        now = time.monotonic()
        self.first = now if self.first is None else self.first
        # what compiles, and what a resumed run had done before, say nothing about speed
        if now - self.first < _AT_ONCE:
            self.since, self.before = now, self.done
        if now - self.last >= _LINE_EVERY or self.done >= self.total:
            self.last = now
            words = f"{self.what}: {self.done:,} of {self.total:,}{', ' + note if note else ''}"
            typer.echo(words + self._remaining(now), err=True)

    def _remaining(self, now: float) -> str:
        fresh, missing = self.done - self.before, self.total - self.done
        if fresh <= 0 or missing <= 0:
            return ""
        return f", {(now - self.since) / fresh * missing:.0f} s left"


@contextmanager
def in_per_cent(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar or lines of how many points are there, of those that it seems to take: these change, but no step
    is back, and the last one is the end."""
    told = points = 0

    def progress(drawn: int, seeming: int) -> None:
        nonlocal told, points
        done, points = max(told, min(100 * drawn // max(seeming, 1), 99)), drawn
        step(done - told, f"{points:,} points")
        told = done

    with Console().progress(f"{what}, per cent", 100) as step:
        yield progress
        step(100 - told, f"{points:,} points")


def show(result: dict[str, Any], as_json: bool, in_words: Callable[[dict[str, Any]], None]) -> None:
    """The result of a command, as JSON or in words."""
    print_json(result) if as_json else in_words(result)


def print_json(result: Any) -> None:
    """The same JSON that jobs write into files."""
    typer.echo(json_text(result))


def print_test(result: dict[str, Any]) -> None:
    """A model beside the true weights of its test part."""
    for name, figures in result["weights"].items():
        typer.echo(f"\n{name}, test part")
        typer.echo(f"  loss                              {figures['loss']:.4g}")
        print_figures(figures)
        for reason, number in figures["left_out_by_reason"].items():
            typer.echo(f"  left out: {reason:<23} {number:,}")
        for sentence in result["report"]["verdict"][name]:
            typer.echo(f"  {sentence['text']}")
    typer.echo(f"\nfigure: {result['figure']}\nnumbers: {result['file']}")
    typer.echo(f"report for collaborators: {result['report']['report']}")


def print_figures(figures: dict[str, Any]) -> None:
    """How far weights are from the true ones."""
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


def print_weights(result: dict[str, Any]) -> None:
    """A weight file: how many events, with which status, and why."""
    typer.echo(f"{result['events']:,} events → {result['output']} (tree 'deepmem')")
    for name, counts in result["status"].items():
        for meaning, number in counts.items():
            typer.echo(f"  {name}: {number:,} with status {meaning}")
        for reason, number in result.get("reasons", {}).get(name, {}).items():
            typer.echo(f"    {number:,}: {reason}")


def print_summary(result: dict[str, Any]) -> None:
    """An analysis: its title, what it found, where more is."""
    typer.echo("\n".join([result["title"], *result["summary"], f"figure and numbers: {result['output']}/"]))
