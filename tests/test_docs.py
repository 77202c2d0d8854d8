"""The reference has every public name, with its docstring; notebooks are kept without outputs."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize(
    ("origin", "address"),
    [
        ("https://example.org/us/deepmem.git", "https://example.org/us/deepmem"),
        ("https://me:secret@example.org/us/deepmem", "https://example.org/us/deepmem"),
        ("git@example.org:us/deepmem.git", "https://example.org/us/deepmem"),
        ("/somewhere/deepmem", None),
        (None, None),
    ],
)
def test_the_package_says_where_it_is_from(
    tmp_path: Path, monkeypatch, origin: str | None, address: str | None
):
    """`project.urls` are of the clone that is built, or of the repository whose workflow builds it."""
    spec = importlib.util.spec_from_file_location("hatch_build", DOCS.parent / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    if origin is not None:
        subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", origin], check=True)
    metadata: dict[str, Any] = {}
    build.Links(str(tmp_path), {}).update(metadata)
    assert metadata["urls"].get("Repository") == address
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://example.org")
    monkeypatch.setenv("GITHUB_REPOSITORY", "them/deepmem")
    build.Links(str(tmp_path), {}).update(metadata)
    assert metadata["urls"]["Issues"] == "https://example.org/them/deepmem/issues"


def test_the_sdist_has_what_it_says() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    for name in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]:
        assert (DOCS.parent / name).exists(), name
