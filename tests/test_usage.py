"""What `--help` says can be typed."""

from __future__ import annotations

import io
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import commands
import pytest
import typer
from rich.text import Text

from deepmem.cli.console import Console
from deepmem.cli.main import app, main
from deepmem.cli.usage import EXAMPLES, command_line, verbatim

WHOLE = command_line(app)


def test_the_installed_command_is_this_one() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    module, _, name = project["project"]["scripts"]["deepmem"].partition(":")
    assert getattr(import_module(module), name) is main


def test_every_command_has_an_example() -> None:
    assert EXAMPLES.keys() == WHOLE.commands.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_understood(name: str) -> None:
    program, called, *words = shlex.split(EXAMPLES[name])
    assert (program, called) == ("deepmem", name)
    WHOLE.commands[name].make_context(name, words)  # raises where an option is unknown or lacks a value


def test_options_of_every_command_are_in_groups() -> None:
    for name, each in WHOLE.commands.items():
        for option in each.params:
            if option.param_type_name == "option" and option.name != "help":
                assert option.rich_help_panel, (name, option.name)  # type: ignore[attr-defined]


def test_help_is_printed_as_it_is_written() -> None:
    """Rich would print `:B:` of A:B:STEP as an emoji, and take [x] for a style."""
    plain: Any = typer.main.get_command(app)

    def shown(text: str | None) -> str:
        """An older typer takes no markup."""
        return Text.from_markup(text or "").plain if plain.rich_markup_mode == "rich" else text or ""

    pages = [(plain, WHOLE), *((each, WHOLE.commands[name]) for name, each in plain.commands.items())]
    for written, printed in pages:
        assert shown(printed.help) == written.help
        for before, after in zip(written.params, printed.params, strict=True):
            text = getattr(before, "help", None) or ""
            assert shown(getattr(after, "help", None)) == text
    for name, example in EXAMPLES.items():
        assert shown(WHOLE.commands[name].epilog) == f"Example: {example}"
    assert "--set NAME=A:B:STEP" in run("likelihood", "--help").stdout


@pytest.mark.parametrize(
    "text", ["A:B:STEP", "a:smile:.root", ":x::b:", "tree[b] [/b]", "[events] of [x]:a:"]
)
def test_any_text_can_stand_in_help(text: str) -> None:
    assert Text.from_markup(verbatim(text)).plain == text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_names_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "a:smile:[b].root"
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "200")
    console = Console()
    with console.progress(name, 2) as step:
        step(2, f"note {name}")
    console.message(name)
    console.warning(name)
    shown = screen.getvalue()
    assert "😄" not in shown
    assert shown.count(f"note {name}") >= 1
    assert shown.count(name) >= 4
    assert name in run("config", "--check", name).stderr


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deepmem.cli", *words], capture_output=True, text=True, check=False
    )


def test_help() -> None:
    page = run("compute", "--help")
    assert page.returncode == 0
    assert "Physics" in page.stdout
    assert "Example: deepmem compute" in page.stdout


@pytest.mark.parametrize(
    ("shell", "words"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete --command")]
)
def test_completion(monkeypatch: pytest.MonkeyPatch, shell: str, words: str) -> None:
    """Of each shell, whichever one the tests were started from."""
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    shown = run("--show-completion", shell).stdout
    assert words in shown
    assert "deepmem" in shown.lower()


def test_a_shell_completes_names_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As bash asks for them."""
    for name, value in {"COMP_WORDS": "deepmem compute --process tth", "COMP_CWORD": "3"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("_DEEPMEM_COMPLETE", "complete_bash")
    called = "import sys; from deepmem.cli.main import main; sys.argv = ['deepmem']; main()"
    found = subprocess.run([sys.executable, "-c", called], capture_output=True, text=True, check=False)
    assert found.stdout.split() == ["tth_bb_1l", "tth_bb_2l"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["compute"], "--output"),
        (["compute", "--output", "x.root"], "--process"),
        (["compute", "--bogus", "2"], "--bogus"),
        (["nope"], "nope"),
        (["compute", "--precision", "abc", "--process", "drell_yan", "--output", "x.root"], "--precision"),
    ],
)
def test_a_call_that_is_not_understood_gets_one_line(words: list[str], says: str) -> None:
    found = commands.run(*words)
    assert found.status == 2
    assert found.said.startswith("deepmem: ")
    assert found.said.count("\n") == 1
    assert says in found.said
    assert not found.out
