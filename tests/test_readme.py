"""What the README says is true: its code runs, its links lead somewhere, and it stays short."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import COLUMNS, write_tree

from deepmem.cli import main as cli
from deepmem.cli import values

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
# What is run as it stands; the others are parsed. `generate` needs the extra of that name.
RUN = ("processes", "compute", "train", "test", "predict", "compare", "refine")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """The `$ deepmem …` lines of a page, as words."""
    lines = [line for block in blocks(text, "console") for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line[2:], comments=True)[1:] for line in lines if line.startswith("$ deepmem")]


def parsed(words: list[str]) -> dict[str, Any]:
    """The options and arguments of a call; nothing is run."""
    top: Any = typer.main.get_command(cli.app)
    if words[0].startswith("-"):
        return top.make_context("deepmem", list(words)).params
    return top.commands[words[0]].make_context(words[0], words[1:]).params


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, drell_yan) -> Path:
    """Where a reader of the README is: some events, and a my.json for a small network."""
    folder = tmp_path_factory.mktemp("readme")
    write_tree(folder / "events.root", {name: drell_yan[name][:600] for name in COLUMNS})
    config = {
        "input_paths": ["events.root"],
        "output_paths": ["exact.root"],
        "prefixes": [["lep1_", "lep2_"], ["MET"]],
        "suffixes": [["PT", "Eta", "Phi", "Charge"], ["", "_Phi"]],
        "weights": ["drell_yan"],
        "split": [4, 1, 1],
        "members": 2,
        "width": 16,
        "depth": 2,
        "save_lowest_loss_model_at": "my.model",
    }
    (folder / "my.json").write_text(json.dumps(config))
    return folder


def test_at_most_600_words() -> None:
    assert len(README.split()) <= 600


def test_the_lines_run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """The command lines in their order, then the lines of Python."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(cli, "prepare_jax", lambda: None)
    there = [words for words in commands(README) if words[0] in RUN]
    assert [words[0] for words in there] == list(RUN)
    for words in there:
        monkeypatch.setattr(sys, "argv", ["deepmem", *words])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code in (0, None), (words, capsys.readouterr().err)
    (block,) = blocks(README, "python")
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    assert len(names["learned"]["drell_yan"]) == len(names["exact"]) == 600
    assert (names["exact"].status == 0).mean() > 0.99


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_is_one(page: Path) -> None:
    """Options and arguments of each `$ deepmem` line are what the command takes; `A:B` and JSON, too."""
    for words in commands(page.read_text(encoding="utf-8")):
        options = parsed(words)
        values.entries(options.get("entries"))
        values.cuts(options.get("selection"))
        values.settings(options.get("settings"))


@pytest.mark.parametrize(
    "wrong",
    ["compute a.root --proces drell_yan --output b", "comput a.root", "predict a.root --model m --output"],
)
def test_a_wrong_line_is_found(wrong: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such option|comput|requires an argument"):
        parsed(shlex.split(wrong))


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*ROOT.glob("*.md")], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Those of the pages outside docs/, which `make docs` does not see."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in _anchors(file), target
