"""The reference has every public name, with its docstring; notebooks are kept without outputs."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

import deepmem
from deepmem.evaluation import sums

DOCS = Path(__file__).parent.parent / "docs"
REFERENCE = re.findall(r"^::: (\S+)", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_reference_has_every_public_name_once() -> None:
    assert len(set(REFERENCE)) == len(REFERENCE)
    assert {*(f"deepmem.{name}" for name in deepmem.__all__), sums.__name__} <= set(REFERENCE)


@pytest.mark.parametrize("name", deepmem.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    found = getattr(deepmem, name)
    assert found.__doc__
    assert found.__doc__.strip()
    if callable(found) and not isinstance(found, type) and found.__code__.co_argcount:
        assert "**Argument" in found.__doc__ or "`" in found.__doc__


@pytest.mark.parametrize("path", sorted(DOCS.glob("notebooks/*.ipynb")), ids=lambda path: path.name)
def test_notebooks_have_no_outputs(path: Path) -> None:
    """`make docs` executes them; what is kept is what a person wrote."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    for cell in code:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        compile("".join(cell["source"]), str(path), "exec")


def test_the_sdist_has_what_it_says() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    for name in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]:
        assert (DOCS.parent / name).exists(), name
