"""Parton densities: against MoMEMta's numbers, an independent interpolation, and broken files."""

from __future__ import annotations

import bz2
import contextlib
import dataclasses
import gzip
import hashlib
import json
import lzma
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline

from deepmem.errors import UsageError
from deepmem.physics.precision import PrecisionError
from deepmem.physics.theory import densities, lhapdf
from deepmem.physics.theory.densities import PartonDensity

NAME = "NNPDF23_lo_as_0130_qed"
# compiled as a whole: operation by operation it is many small programs
at_scale, xf = jax.jit(PartonDensity.at_scale), jax.jit(PartonDensity.xf)
xf_at_scale = jax.jit(densities.DensityAtScale.xf)
REFERENCE = Path(__file__).parents[1] / "reference" / "momemta.json"


@pytest.fixture(scope="module")
def density() -> PartonDensity:
    return lhapdf.load(NAME)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def independent_xf(path: Path, parton: int, x: float, q: float) -> float:
    """LHAPDF's definition read anew from the file: SciPy's Hermite spline in x on each Q knot, then in Q."""
    parts = path.read_text().split("---\n")
    subgrids = []
    for part in parts[1:]:
        lines = part.strip().splitlines()
        if not lines:
            continue
        knots_x, knots_q = (np.array(line.split(), float) for line in lines[:2])
        codes = [int(code) for code in lines[2].split()]
        table = np.loadtxt(lines[3:]).reshape(len(knots_x), len(knots_q), len(codes))
        subgrids.append((np.log(knots_x), np.log(knots_q**2), table[:, :, codes.index(parton)]))
    log_q2 = np.clip(2 * np.log(q), subgrids[0][1][0], subgrids[-1][1][-1])
    knots_x, knots_q, table = [grid for grid in subgrids if grid[1][0] <= log_q2][-1]

    def spline(knots, values):
        slope = np.diff(values) / np.diff(knots)
        derivative = np.r_[slope[0], (slope[1:] + slope[:-1]) / 2, slope[-1]]
        return CubicHermiteSpline(knots, values, derivative)

    at_knots = np.array([spline(knots_x, column)(np.log(x)) for column in table.T])
    return float(spline(knots_q, at_knots)(log_q2))


def test_known_value(density):
    assert xf(density.select(2), 0.1, 91.2)[0] == pytest.approx(0.589311, abs=5e-7)


def test_momemta_values(density):
    """x·f at MoMEMta's x1, x2: LHAPDF 6.2.3's numbers, printed with eight digits."""
    points = json.loads(REFERENCE.read_text())["matrix_element_points"]["points"]
    at_mt = at_scale(density, 173.0)
    got, expected = [], []
    for point in points:
        for key, value in point["xf_q173"].items():
            parton, where = key.split("@")
            got.append((density.partons.index(int(parton)), point[where]))
            expected.append(value)
    columns, x = np.array(got).T
    full = np.asarray(xf(density, x, 173.0))[np.arange(len(x)), columns.astype(int)]
    fast = np.asarray(xf_at_scale(at_mt, x))[np.arange(len(x)), columns.astype(int)]
    np.testing.assert_allclose(full, expected, rtol=1e-7)
    np.testing.assert_allclose(fast, expected, rtol=1e-7)


@pytest.mark.parametrize("name", [NAME, "NNPDF31_lo_as_0118"])
def test_independent_interpolation(name, density):
    density = density if name == NAME else lhapdf.load(name)
    rng = np.random.default_rng(1)
    x = np.r_[np.exp(rng.uniform(np.log(2e-9), 0, 12)), 1e-9, 0.1, 0.999999]
    q = np.r_[np.exp(rng.uniform(np.log(2.0), np.log(9e3), 12)), 4.92, 1e5, 1.65]
    got = np.asarray(xf(density, x, q))
    scale_by_scale = np.asarray(jax.jit(jax.vmap(lambda xi, qi: density.at_scale(qi).xf(xi)))(x, q))
    for parton in (-3, 2, 21):
        expected = [independent_xf(lhapdf.find(name), parton, *point) for point in zip(x, q, strict=True)]
        column = density.partons.index(parton)
        np.testing.assert_allclose(got[:, column], expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(scale_by_scale[:, column], expected, rtol=1e-10, atol=1e-12)


def test_outside(density):
    at = at_scale(density, 91.188)
    assert np.all(np.asarray(xf_at_scale(at, np.array([1.0, 1.5]))) == 0)
    assert np.all(np.asarray(xf(density, np.array([1.0, 1.5]), 91.188)) == 0)
    np.testing.assert_array_equal(xf(density, 0.1, 1e6), xf(density, 0.1, 1e4))
    np.testing.assert_array_equal(xf(density, 0.1, 0.1), xf(density, 0.1, 1.0))
    np.testing.assert_array_equal(density.below(np.array([0.9e-9, 1e-9, 0.1])), [True, False, False])
    np.testing.assert_array_equal(at.below(np.array([0.9e-9, 1e-9, 0.1])), [True, False, False])
    np.testing.assert_allclose(xf_at_scale(at, 1e-12), xf_at_scale(at, 1e-9))
    assert np.all(np.isnan(np.asarray(xf_at_scale(at, np.array([np.nan, 0.1])))[0]))


@pytest.mark.parametrize("name", [NAME, "NNPDF31_lo_as_0118"])
def test_index_table(name):
    """The right interval on, just below and just above each knot, and everywhere between."""
    grid = lhapdf.load(name)
    knots = np.exp(grid.log_x)
    x = np.concatenate(
        [*(knots * (1 + shift) for shift in (0, 1e-15, -1e-15, 1e-6, -1e-6)), np.geomspace(1e-9, 1, 10_000)]
    )
    log_x = jnp.log(jnp.asarray(x))
    _, distance, index = jax.jit(densities._locate_x)(grid, x)
    expected = np.clip(np.searchsorted(grid.log_x, log_x, side="right") - 1, 0, len(knots) - 2)
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(grid.log_x[index] + distance, np.clip(log_x, grid.log_x[0], grid.log_x[-1]))


def test_derivatives(density):
    up = density.select(2)

    def value(x, q):
        return up.xf(x, q)[0]

    def fast(x, q):
        return up.at_scale(q).xf(x)[0]

    for function in (jax.jit(value), jax.jit(fast)):
        for argument in (0, 1):
            point, h = (0.0123, 91.188), (1e-6, 1e-3)[argument]
            up_, down = list(point), list(point)
            up_[argument] += h
            down[argument] -= h
            difference = (function(*up_) - function(*down)) / (2 * h)
            assert jax.jit(jax.grad(function, argument))(*point) == pytest.approx(float(difference), rel=1e-5)


def test_batched_and_not_recompiled(density):
    at = at_scale(density.select(2, -2), 91.188)
    traces = []

    @jax.jit
    def batch(table, x):
        traces.append(1)
        return jax.vmap(table.xf)(x)

    x = np.geomspace(1e-4, 0.9, 50)
    np.testing.assert_allclose(batch(at, x), np.stack([xf_at_scale(at, xi) for xi in x]), rtol=1e-13)
    batch(at_scale(density.select(2, -2), 80.0), x)
    assert len(traces) == 1


def test_partons(density):
    both = density.select(0, -4)
    assert both.partons == (21, -4)
    with pytest.raises(UsageError, match=r"no parton 23 .*it has -6"):
        density.select(2, 23)


def test_single_precision_is_refused(density):
    with jax.enable_x64(False), pytest.raises(PrecisionError, match="enable_x64"):
        density.xf(0.1, 91.2)


def test_not_found(tmp_path, monkeypatch):
    monkeypatch.setenv("LHAPDF_DATA_PATH", str(tmp_path))
    with pytest.raises(lhapdf.PdfNotFoundError) as raised:
        lhapdf.load("NNPDF23_lo_as_0131_qed")
    message = str(raised.value)
    assert str(tmp_path) in message
    assert "deepmem[generate]" in message
    assert "--pdf PATH" in message
    assert "did you mean 'NNPDF23_lo_as_0130_qed'" in message
    with pytest.raises(lhapdf.PdfNotFoundError, match="no density grid at"):
        lhapdf.load(tmp_path / "nothing.dat")


def test_folders_and_info(tmp_path, monkeypatch, density):
    folder = tmp_path / "MySet"
    folder.mkdir()
    (folder / "MySet_0000.dat").write_bytes(lhapdf.find(NAME).read_bytes())
    monkeypatch.setenv("LHAPDF_DATA_PATH", str(tmp_path))
    np.testing.assert_array_equal(lhapdf.load("MySet").corners, density.corners)
    np.testing.assert_array_equal(lhapdf.load(folder).corners, density.corners)
    np.testing.assert_array_equal(lhapdf.load(folder / "MySet_0000.dat").corners, density.corners)
    (folder / "MySet.info").write_text("SetDesc: a test\nForcePositive: 1\nInterpolator: logcubic\n")
    positive = lhapdf.load("MySet")
    assert positive.floor == 0
    dips = dataclasses.replace(density, corners=density.corners - 1)
    assert np.asarray(xf(dips, 0.9, 2.0)).min() < 0
    dips = dataclasses.replace(dips, floor=positive.floor)
    assert np.asarray(xf(dips, 0.9, 2.0)).min() == 0
    assert np.asarray(xf_at_scale(at_scale(dips, 2.0), 0.9)).min() == 0
    (folder / "MySet.info").write_text("Interpolator: linear\n")
    with pytest.raises(lhapdf.PdfFormatError, match="'linear'"):
        lhapdf.load("MySet")


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_members_and_compressed_grids(tmp_path, monkeypatch, density, suffix, pack):
    folder = tmp_path / "MySet"
    folder.mkdir()
    packed = pack(lhapdf.find(NAME).read_bytes())
    (folder / f"MySet_0012.dat{suffix}").write_bytes(packed)
    monkeypatch.setenv("LHAPDF_DATA_PATH", str(tmp_path))
    assert lhapdf.find("MySet/12") == lhapdf.find("MySet", 12) == lhapdf.find(folder / "12")
    np.testing.assert_array_equal(lhapdf.load("MySet/12").corners, density.corners)
    with pytest.raises(lhapdf.PdfNotFoundError, match="member 7"):
        lhapdf.load("MySet/7")
    (folder / f"MySet_0012.dat{suffix}").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(lhapdf.PdfFormatError, match="cannot be read"):
        lhapdf.load("MySet/12")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "truncated"),
        (lambda text: "\n".join([*text.splitlines()[:-200], "---"]), "truncated"),
        (lambda text: text.replace("lhagrid1", "lhagrid9"), "Format: lhagrid1"),
        (lambda text: "not a grid", "no line '---'"),
        (lambda text: text.replace("1.000000e-09", "x", 1), "three lines of knots"),
        (lambda text: text.replace("1.000000e-09", "-1.0", 1), "not positive"),
    ],
)
def test_broken_files(tmp_path, change, message):
    path = tmp_path / "broken_0000.dat"
    path.write_text(change(lhapdf.find(NAME).read_text()))
    with pytest.raises(lhapdf.PdfFormatError, match=message):
        lhapdf.load(path)


def test_binary_file(tmp_path):
    path = tmp_path / "events.root"
    path.write_bytes(b"root\xff\xfe\x00")
    with pytest.raises(lhapdf.PdfFormatError, match="isn't a text file"):
        lhapdf.load(path)


def test_the_scale_outside_the_grid_is_said(density):
    low, high = density.scales
    assert (low, high) == (pytest.approx(1.0), pytest.approx(1e4))
    assert density.outside(91.2) is density.outside(low) is density.outside(high) is None
    assert "Q = 0.5 GeV is outside the grid" in density.outside(0.5)
    assert "frozen at 10000 GeV" in density.outside(2e4)


def test_negative_densities_are_found(density):
    assert not density.negative_at(91.2)
    other = lhapdf.load("NNPDF31_lo_as_0118")
    assert other.negative_at(91.2)
    assert not dataclasses.replace(other, floor=np.asarray(0.0)).negative_at(91.2)


def _changed(folder: Path, change) -> Path:
    path = folder / "MySet_0000.dat"
    path.write_text(change(lhapdf.find(NAME).read_text()))
    return path


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "NaN"])
def test_a_grid_that_is_not_finite_is_refused(tmp_path, word):
    def change(text):
        header, first, *rest = text.split("---")
        *lines, last = first.rstrip().splitlines()
        return "---".join([header, "\n".join([*lines, " ".join([word, *last.split()[1:]])]) + "\n", *rest])

    with pytest.raises(lhapdf.PdfFormatError, match=r"1 of .* values of a subgrid are not finite"):
        lhapdf.load(_changed(tmp_path, change))


def test_numbers_as_fortran_writes_them(tmp_path, density):
    def change(text):
        header, *rest = text.split("---")
        return "---".join([header, *(part.replace("e", "D") for part in rest)])

    found = lhapdf.load(_changed(tmp_path, change))
    np.testing.assert_array_equal(found.corners, density.corners)
    with pytest.raises(lhapdf.PdfFormatError, match=r"'0.0e[+]000.0e[+]00' in a subgrid is no number"):
        lhapdf.load(_changed(tmp_path, lambda t: t[: t.rindex("\n", 0, -40)] + " 0.0e+000.0e+00\n---\n"))


def test_a_grid_that_is_replaced_is_read_again(tmp_path, density, monkeypatch):
    path = _changed(tmp_path, lambda text: text)
    first = lhapdf.current(path)
    assert lhapdf.current(path) is first
    assert first.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(lhapdf.find("NNPDF23_lo_as_0119_qed").read_bytes())
    os.utime(path, ns=(1, 1))
    second = lhapdf.current(path)
    assert second.sha256 != first.sha256
    assert not np.array_equal(second.corners, first.corners)
    info = tmp_path / "MySet.info"
    info.write_text("ForcePositive: 1\n")
    third = lhapdf.current(path)
    assert third.floor == 0
    assert third.sha256 == hashlib.sha256(path.read_bytes() + info.read_bytes()).hexdigest()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    before = lhapdf.current("MySet_0000.dat")
    shutil.copy2(lhapdf.find(NAME), tmp_path / "there" / "MySet_0000.dat")
    monkeypatch.chdir(tmp_path / "there")
    assert not np.array_equal(lhapdf.current("MySet_0000.dat").corners, before.corners)


@pytest.mark.parametrize("path", sorted(lhapdf.find(NAME).parent.iterdir()), ids=lambda path: path.name)
def test_every_file_of_pythia_is_read_or_refused_in_a_sentence(path):
    with contextlib.suppress(lhapdf.PdfFormatError):
        assert np.isfinite(lhapdf.load(path).corners).all()
