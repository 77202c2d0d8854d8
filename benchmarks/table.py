"""What the benchmarks print, and how it gets into docs/benchmarks.md.

A script calls `say` once for each number, and `run` with its parts. With `--write`, the section of each part that was
run, between `<!-- script part -->` and `<!-- end -->`, is replaced by a table of what it said, with the command, the
commit and the kind of machine, and by a sentence for each number that misses what was aimed at. `### ` headings and
what the numbers mean stand outside the markers and are written by people.

What takes long is measured in pieces (`kept`). With `--keep FOLDER` they are put there, and a later call goes on from
them; `--minutes N` begins none after N minutes of CPU time, and says what there is.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
END = "<!-- end -->"


class Row(NamedTuple):
    what: str
    value: str
    target: str


_rows: list[Row] = []


@dataclass
class Keeping:
    """Where pieces are, and of which commits those were that a part has used."""

    folder: Path | None = None
    until: float = np.inf
    """CPU seconds of this process after which no piece is begun."""
    commits: list[str] = field(default_factory=list)


_keeping = Keeping()


def kept(key: str, measure: Callable[[], Any]) -> Any:
    """A piece of a part, in values of JSON: of an earlier call where it is kept, else measured; None: no time is left.

    **Arguments:** `key`, all that decides what is measured, but the commit.
    """
    path = None if _keeping.folder is None else _keeping.folder / f"{key}.json"
    if path is not None and path.exists():
        found = json.loads(path.read_text("utf-8"))
    elif time.process_time() > _keeping.until:
        return None
    else:
        found = {"commit": commit(), "value": measure()}
        if path is not None:
            partial = path.with_suffix(".part")
            partial.write_text(json.dumps(found), "utf-8")
            partial.replace(path)
    _keeping.commits.append(found["commit"])
    return found["value"]


def say(what: str, value: str = "", target: str = "") -> None:
    """One number, printed and kept for the page.

    `what` that begins with two spaces belongs to the row above that does not; `target` is what was aimed at, such as
    "≤ 5 ms", "≥ 68 %", "1 ± 0.1" or "0.8 to 1.2": a value that misses it is said to. Without a value: a heading.
    """
    _rows.append(Row(what, value, target))
    missed = "   MISSED" if misses(value, target) else ""
    print(f"{what:<78} {value:>22}   {target}{missed}".rstrip(), flush=True)


def say_coverage(one: float, two: float, targets: tuple[str, str] = ("", ""), digits: int = 1) -> None:
    """Which part of events intervals of one error, and of 1.96, contain."""
    for level, part, target in ((68, one, targets[0]), (95, two, targets[1])):
        say(f"  intervals of {level} % cover", f"{100 * part:.{digits}f} %", target)


_NUMBER = r"[-+−]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?"


def _numbers(text: str) -> list[float]:
    return [float(each.replace(",", "").replace("−", "-")) for each in re.findall(_NUMBER, text)]


def misses(value: str, target: str) -> bool:
    """Whether the first number of a value is not what was aimed at; a bound in words is nobody's to judge."""
    found, aimed = _numbers(value), _numbers(target)
    if not found or not aimed:
        return False
    if target.startswith("≤"):
        return abs(found[0]) > aimed[0]
    if target.startswith("≥"):
        return found[0] < aimed[0]
    if re.fullmatch(rf"{_NUMBER} ± {_NUMBER}.*", target):
        return abs(found[0] - aimed[0]) > aimed[1]
    if re.fullmatch(rf"{_NUMBER} to {_NUMBER}.*", target):
        return not aimed[0] <= found[0] <= aimed[1]
    return False


def machine() -> str:
    """The model of the processor, and how many of its cores this process may use."""
    model = ""
    if Path("/proc/cpuinfo").exists():
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        model = found.group(1).strip() if found else ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{model or 'a processor without a name'}, {cores} core{'s' * (cores > 1)}"


def commit() -> str:
    here = Path(__file__).parent
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def render(command: str, rows: list[Row], commits: Sequence[str], machine: str) -> str:
    """A section: how it was made, the table, and what is missed."""
    made = f"Commit{'s' * (len(commits) > 1)} {', '.join(commits)}; {machine}."
    lines = ["```console", f"$ {command}", "```", "", made, ""]
    lines += ["| what | measured | aimed at |", "| --- | --- | --- |"]
    group, missed = "", []
    for what, value, target in rows:
        name = what.strip().rstrip(":").replace("|", "\\|")
        below = what.startswith(" ")
        group = group if below else name
        shown = f"… {name}" if below else name if value else f"**{name}**"
        lines.append(f"| {shown} | {value} | {target} |")
        if misses(value, target):
            full = f"{group}, {name}" if below else name
            missed.append(f"**Missed:** {full}: it is {value}, and {target} was aimed at.")
    if missed:
        lines += ["", *"\n\n".join(missed).split("\n")]
    return "\n".join(lines)


def replace(page: str, script: str, part: str, section: str) -> str:
    """The page with this section in place of the one between its markers."""
    begin = f"<!-- {script} {part} -->"
    pattern = re.compile(rf"{re.escape(begin)}\n.*?{re.escape(END)}", re.DOTALL)
    if len(pattern.findall(page)) != 1:
        sys.exit(f"docs/benchmarks.md needs one pair of lines {begin} and {END}: that is where {part} goes")
    return pattern.sub(lambda _: f"{begin}\n{section}\n{END}", page)


def run(
    parts: Mapping[str, Callable[..., None]],
    leave_out: tuple[str, ...] = (),
    one_folder: bool = False,
    more: Callable[[argparse.ArgumentParser], object] = lambda _: None,
    finish: Callable[[argparse.Namespace, str], None] = lambda asked, part: None,
) -> None:
    """The command line of a script: its parts, `--write`, and what `more` adds, which `finish` sees after a part.

    A part that takes a `folder` gets an empty one, or with `one_folder` the same as the others.
    """
    script = Path(sys.argv[0]).name
    parser = argparse.ArgumentParser(
        usage=f"python benchmarks/{script} [--write] [--keep FOLDER] [--minutes N] [PART ...]"
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--write", action="store_true", help="put what is measured into docs/benchmarks.md")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="put pieces there, and go on from those there"
    )
    parser.add_argument(
        "--minutes", type=float, default=np.inf, help="of CPU time, after which no piece is begun"
    )
    more(parser)
    asked = parser.parse_args()
    if asked.keep is not None:
        _keeping.folder = asked.keep / script
        _keeping.folder.mkdir(parents=True, exist_ok=True)
    _keeping.until = 60 * asked.minutes
    unknown = [name for name in asked.parts if name not in parts]
    if unknown:
        parser.error(f"unknown part {', '.join(unknown)}; there are {', '.join(parts)}")
    with tempfile.TemporaryDirectory() as together:
        for name in asked.parts or [name for name in parts if name not in leave_out]:
            begin = len(_rows)
            _keeping.commits.clear()
            if "folder" in inspect.signature(parts[name]).parameters:
                folder = Path(together) if one_folder else Path(together) / name
                folder.mkdir(exist_ok=True)
                parts[name](folder)
            else:
                parts[name]()
            finish(asked, name)
            if asked.write and len(_rows) > begin:
                commits = list(dict.fromkeys(_keeping.commits)) or [commit()]
                section = render(f"python benchmarks/{script} {name}", _rows[begin:], commits, machine())
                PAGE.write_text(replace(PAGE.read_text("utf-8"), script, name, section), "utf-8")
