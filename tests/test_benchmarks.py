"""The table that the benchmarks share, and that docs/benchmarks.md has a place for each of their parts."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import table  # noqa: E402

PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
FIGURES = {"figure"}  # these print nothing


def parts(script: Path) -> list[str]:
    """The names in a script's PARTS."""
    for node in ast.parse(script.read_text(encoding="utf-8")).body:
        target = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
        if isinstance(target, ast.Name) and target.id == "PARTS":
            value = node.value
            if isinstance(value, ast.Dict):
                return [key.value for key in value.keys]
            return [each.id for each in value.generators[0].iter.elts]
    return []


WITHOUT_TABLES = ("table.py", "commits.py", "closures.py")
SCRIPTS = [path for path in sorted((ROOT / "benchmarks").glob("*.py")) if path.name not in WITHOUT_TABLES]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_each_part_has_its_section(script: Path) -> None:
    assert parts(script)
    for part in set(parts(script)) - FIGURES:
        assert PAGE.count(f"<!-- {script.name} {part} -->") == 1, part
        assert f"python benchmarks/{script.name} {part}" in PAGE


def test_one_fact_a_cell() -> None:
    rows = [line.split(" | ") for line in PAGE.replace("\\|", "").splitlines() if line.startswith("| ")]
    for row in rows:
        assert len(row) == 3
        assert ";" not in row[1], row
        assert ", " not in row[1], row


@pytest.mark.parametrize(
    ("value", "target", "missed"),
    [
        ("12 ms", "≤ 10 ms", True),
        ("9.5 ms", "≤ 10 ms", False),
        ("139,073 events/s", "≥ 200,000", True),
        ("1.9e-04", "≤ 3e-4", False),
        ("−0.3 %", "≤ 0.2 %", True),
        ("+0.54", "0 ± 0.2", True),
        ("1.02", "0.8 to 1.2", False),
        ("4085", "all", False),
        ("1.3", "", False),
    ],
)
def test_what_is_missed(value: str, target: str, missed: bool) -> None:
    assert table.misses(value, target) is missed


def test_a_section_is_replaced_and_says_what_is_missed() -> None:
    rows = [table.Row("a group:", "", ""), table.Row("  time", "12 ms", "≤ 10 ms")]
    section = table.render("python benchmarks/x.py a", rows, ["abc1234"], "a machine")
    page = "# T\n<!-- x.py a -->\nold\n<!-- end -->\n<!-- x.py b -->\nkept\n<!-- end -->\n"
    new = table.replace(page, "x.py", "a", section)
    assert "old" not in new
    assert "kept" in new
    assert "Commit abc1234; a machine." in new
    assert "**Missed:** a group, time: it is 12 ms, and ≤ 10 ms was aimed at." in new
    with pytest.raises(SystemExit):
        table.replace(page, "x.py", "c", section)


def test_pieces_are_kept_and_none_is_begun_after_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = table.Keeping(tmp_path)
    monkeypatch.setattr(table, "_keeping", keeping)
    monkeypatch.setattr(table, "commit", lambda: "abc1234")
    assert table.kept("a", lambda: [1.5]) == [1.5]
    monkeypatch.setattr(table, "commit", lambda: "def5678")
    assert table.kept("a", lambda: [2.5]) == [1.5]
    assert table.kept("b", lambda: [2.5]) == [2.5]
    assert keeping.commits == ["abc1234", "abc1234", "def5678"]
    keeping.until = 0.0
    assert table.kept("c", lambda: [3.5]) is None
    assert table.kept("b", lambda: [4.5]) == [2.5]
    section = table.render("x", [table.Row("a", "1", "")], ["abc1234", "def5678"], "a machine")
    assert "Commits abc1234, def5678; a machine." in section
