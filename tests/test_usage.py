"""What `--help` says can be typed."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from deepmem.cli.main import app
from deepmem.cli.usage import EXAMPLES, command_line

WHOLE = command_line(app)


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


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deepmem.cli", *words], capture_output=True, text=True, check=False
    )


def test_help_and_completion() -> None:
    page = run("compute", "--help")
    assert page.returncode == 0
    assert "Physics" in page.stdout
    assert "Example: deepmem compute" in page.stdout
    for shell in ("bash", "zsh", "fish"):
        assert "deepmem" in run("--show-completion", shell).stdout.lower()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["compute"], "--process"),
        (["compute", "--bogus", "2"], "--bogus"),
        (["nope"], "nope"),
        (["compute", "--precision", "abc", "--process", "drell_yan", "--output", "x.root"], "--precision"),
    ],
)
def test_a_call_that_is_not_understood_gets_one_line(words: list[str], says: str) -> None:
    found = run(*words)
    assert found.returncode == 2
    assert found.stderr.startswith("deepmem: ")
    assert found.stderr.count("\n") == 1
    assert says in found.stderr
    assert not found.stdout
