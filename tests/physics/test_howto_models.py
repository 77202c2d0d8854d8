"""The page on reactions, couplings and models: its code is run, in a folder with the tests' UFO model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepmem
from tests.physics import toy_ufo

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "models.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page's code defines, its lines at the ends of the files that it names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Without the vertex that has a form factor.
    vertices = re.sub(r"V_12 = .*?\nV_13", "V_13", toy_ufo.VERTICES, flags=re.DOTALL)
    folder = toy_ufo.write(tmp_path / "zprime", vertices=vertices)
    (folder / "restrict_small.dat").write_text(toy_ufo.CARD + "BLOCK ZP\n 5 0.1 # yu\n")
    (lines,) = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
    for line in lines.splitlines():
        file, text = line.split(": ", 1)
        with (folder / file).open("a") as stream:
            stream.write(text + "\n")
    defined: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(code, str(PAGE), "exec", dont_inherit=True), defined)
    return defined


def test_what_the_page_says(names: dict[str, Any]) -> None:
    """At 500 GeV a Z′ of 700 GeV counts, without couplings it does not; S0 → u ū has |M|² = 6 yu² M²."""
    momenta = names["momenta"]
    photon = deepmem.matrix_element("u u~ > e- e+ / z", None, momenta, aEWM1=127.9)
    np.testing.assert_allclose(names["decoupled"], photon, rtol=1e-5)
    assert names["resonant"] > 0
    assert names["square"] > photon
    assert names["width"] == pytest.approx(6 * 0.2**2 * 300.0**2, rel=1e-10)
    small = deepmem.matrix_element("u u~ > e- e+", None, momenta, model="zprime-small")
    assert small != pytest.approx(names["resonant"], rel=1e-3)
