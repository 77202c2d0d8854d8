"""Parton densities from LHAPDF grid files, interpolated as LHAPDF interpolates them.

A grid file holds x·f on knots in x and Q, in one or more subgrids that meet at the quark thresholds.
LHAPDF's "logcubic" interpolation (Buckley et al., arXiv:1412.7420) is a cubic Hermite in log x and in log Q²
whose derivative at a knot is the mean of the slopes on either side of it, one-sided at the edges of each
subgrid. All of it is linear in the knot values, so the order of the two directions doesn't matter; that
allows two shapes:

- `PartonDensity`: any x and Q. Per knot it keeps the value, both derivatives and the mixed one, so that a
  point touches the four corners of one cell.
- `DensityAtScale`: one Q for all points, which is what most processes use. The Q direction is done once, and
  a point reads the four coefficients of one cubic in log x, for all its flavours from one place in memory.

Both are pytrees: pass them through `jit` as arguments, and another grid of the same shape doesn't recompile.

What it can't promise: α_s; error sets as a whole (load members one by one); interpolators other than
logcubic; values below the lowest x knot, where the density is that of the lowest knot, and `below` says so.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from deepmem.errors import UsageError, nearest
from deepmem.physics.precision import require_double


class PdfNotFoundError(UsageError, FileNotFoundError):
    """No grid of that name in any of the places that were looked at."""


class PdfFormatError(UsageError):
    """A file that is not a complete LHAPDF grid of a kind that can be interpolated."""


# Leaves are NumPy arrays as read (float64 whatever JAX's setting), JAX arrays inside `jit`.
Values: TypeAlias = np.ndarray | Array

# A cell of the index has at most this many knots of x; grids in use need one or two.
_MAXIMUM_STEPS = 8
_MAXIMUM_CELLS = 1 << 14


class DensityAtScale(eqx.Module):
    """x·f(x) at one scale for a choice of partons: piecewise cubic in log x."""

    log_x: Float[Values, "knots"]
    coefficients: Float[Values, "intervals 4 partons"]
    floor: Float[Values, ""]
    index_start: Float[Values, "cells"]
    index_scale: Float[Values, ""]
    partons: tuple[int, ...] = eqx.field(static=True)
    index_steps: int = eqx.field(static=True)

    def xf(self, x: Float[Array, ""]) -> Float[Array, "partons"]:
        """x·f of every parton in `self.partons`, in that order.

        Σ_k c_k t^k with t = log x − log x_i and x_i the knot below; 0 for x ≥ 1, the lowest knot's value
        below the grid (see `below`), the highest knot's if the grid ends before x = 1.

        **Arguments:** `x`: momentum fraction, any shape `[...]`. **Returns** `[..., partons]`.
        """
        require_double("DensityAtScale.xf")
        log_x, t, index = _locate_x(self, x)
        c = self.coefficients[index]
        t = t[..., None]
        value = c[..., 0, :] + t * (c[..., 1, :] + t * (c[..., 2, :] + t * c[..., 3, :]))
        return jnp.where((log_x >= 0.0)[..., None], 0.0, jnp.maximum(value, self.floor))

    def below(self, x: Float[Array, ""]) -> Bool[Array, ""]:
        """Whether `x` lies below the grid's lowest knot, where the density is not known."""
        return jnp.log(x) < self.log_x[0] - _EDGE


class PartonDensity(eqx.Module):
    """x·f(x, Q) of one member of a set: bicubic in log x and log Q².

    - `log_x`, `log_q2`: the knots; a threshold between two subgrids is there twice in `log_q2`.
    - `corners`: per knot the value, ∂/∂log x, ∂/∂log Q² and the mixed derivative.
    - `floor`: LHAPDF's `ForcePositive`, the least value that x·f may take (−∞ if the set allows any).
    """

    log_x: Float[Values, "knots"]
    log_q2: Float[Values, "scales"]
    corners: Float[Values, "scales knots 4 partons"]
    floor: Float[Values, ""]
    index_start: Float[Values, "cells"]
    index_scale: Float[Values, ""]
    partons: tuple[int, ...] = eqx.field(static=True)
    index_steps: int = eqx.field(static=True)
    name: str = eqx.field(static=True)
    sha256: str = eqx.field(static=True)
    """Of the bytes of the `.dat` file, followed by those of the `.info` file where there is one."""

    @property
    def scales(self) -> tuple[float, float]:
        """The range of Q in GeV that the grid covers; the density is frozen at its edges."""
        low, high = np.exp(np.asarray(self.log_q2)[[0, -1]] / 2)
        return float(low), float(high)

    def outside(self, Q: float) -> str | None:
        """What is to be said where the grid does not reach the scale `Q` (GeV)."""
        low, high = self.scales
        if low * (1 - _EDGE_Q) <= Q <= high * (1 + _EDGE_Q):
            return None
        edge = low if low > Q else high
        return (
            f"Q = {Q:g} GeV is outside the grid of {self.name}, {low:g} to {high:g} GeV: "
            f"the density is frozen at {edge:g} GeV"
        )

    def negative_at(self, Q: float) -> bool:
        """Whether the density of a parton is negative on a knot next to the scale `Q` (GeV)."""
        log_q2 = np.asarray(self.log_q2)
        j = int(np.clip(np.searchsorted(log_q2, 2 * np.log(Q), side="right") - 1, 0, len(log_q2) - 2))
        values = np.asarray(self.corners)[j : j + 2, :, 0]
        return bool(np.maximum(values, self.floor).min() < 0)

    def select(self, *partons: int) -> PartonDensity:
        """The same density for these PDG codes alone, in this order (0 is read as 21, the gluon).

        **Raises** `UsageError` for a parton that the grid doesn't have.
        """
        wanted = tuple(21 if parton == 0 else int(parton) for parton in partons)
        missing = [parton for parton in wanted if parton not in self.partons]
        if missing:
            raise UsageError(
                f"the density {self.name} has no parton {', '.join(map(str, missing))} (PDG codes); "
                f"it has {', '.join(map(str, self.partons))}"
            )
        columns = np.array([self.partons.index(parton) for parton in wanted])
        return dataclasses.replace(self, corners=self.corners[..., columns], partons=wanted)

    def xf(self, x: Float[Array, ""], Q: Float[Array, ""]) -> Float[Array, "partons"]:
        """x·f of every parton in `self.partons`, in that order.

        Outside the grid: frozen at the edge in Q, 0 for x ≥ 1, frozen at the lowest x (see `below`).

        **Arguments:** `x`: momentum fraction; `Q`: scale in GeV; shapes that broadcast to `[...]`.
        **Returns** `[..., partons]`.
        """
        require_double("PartonDensity.xf")
        x, Q = jnp.broadcast_arrays(x, Q)
        log_x, t, i = _locate_x(self, x)
        knots, corners = jnp.asarray(self.log_x), jnp.asarray(self.corners)
        width_x = knots[i + 1] - knots[i]
        j, s, width_q = self._locate_q(Q)
        in_q = _hermite(s / width_q, width_q)
        in_x = _hermite(t / width_x, width_x)
        total = jnp.zeros(())
        for up in (0, 1):
            for right in (0, 1):
                corner = corners[j + up, i + right]
                for derivative in range(4):
                    weight = in_x[right][derivative % 2] * in_q[up][derivative // 2]
                    total = total + weight[..., None] * corner[..., derivative, :]
        return jnp.where((log_x >= 0.0)[..., None], 0.0, jnp.maximum(total, self.floor))

    def below(self, x: Float[Array, ""]) -> Bool[Array, ""]:
        """Whether `x` lies below the grid's lowest knot, where the density is not known."""
        return jnp.log(x) < self.log_x[0] - _EDGE

    def at_scale(self, Q: Float[Array, ""]) -> DensityAtScale:
        """The density at the one scale `Q` (GeV): the Q direction done once, for all x.

        Differentiable in Q, and cheap enough to be called inside `jit` for every batch.
        """
        require_double("PartonDensity.at_scale")
        corners = jnp.asarray(self.corners)
        j, s, width_q = self._locate_q(jnp.asarray(Q))
        low, high = _hermite(s / width_q, width_q)
        knots = (
            low[0] * corners[j, :, 0:2]
            + low[1] * corners[j, :, 2:4]
            + high[0] * corners[j + 1, :, 0:2]
            + high[1] * corners[j + 1, :, 2:4]
        )
        value, slope = knots[:, 0], knots[:, 1]
        width = jnp.diff(jnp.asarray(self.log_x))[:, None]
        secant = (value[1:] - value[:-1]) / width
        coefficients = jnp.stack(
            [
                value[:-1],
                slope[:-1],
                (3 * secant - 2 * slope[:-1] - slope[1:]) / width,
                (slope[:-1] + slope[1:] - 2 * secant) / width**2,
            ],
            axis=1,
        )
        return DensityAtScale(
            jnp.asarray(self.log_x),
            coefficients,
            jnp.asarray(self.floor),
            jnp.asarray(self.index_start),
            jnp.asarray(self.index_scale),
            self.partons,
            self.index_steps,
        )

    def _locate_q(self, Q: Float[Array, ""]) -> tuple[Array, Array, Array]:
        """The knot below `Q`, the distance from it in log Q², and the interval's width."""
        knots = jnp.asarray(self.log_q2)
        log_q2 = jnp.clip(2 * jnp.log(Q), knots[0], knots[-1])
        # "right": a threshold belongs to the subgrid above it, as in LHAPDF
        j = jnp.clip(jnp.searchsorted(knots, log_q2, side="right") - 1, 0, len(knots) - 2)
        return j, log_q2 - knots[j], knots[j + 1] - knots[j]


# Rounding of log(x) at the lowest knot is not "below the grid".
_EDGE = 1e-12
# That of log Q² at an edge is not outside.
_EDGE_Q = 1e-9


def _locate_x(
    grid: DensityAtScale | PartonDensity, x: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""], Array]:
    """log x, its distance from the knot below (0 at most at the edges), and that knot's index.

    A table with one entry per cell of equal width in log x starts the search at the cell's first knot; the
    few comparisons that remain are unrolled. That is several times faster in XLA than a binary search.
    """
    knots = jnp.asarray(grid.log_x)
    log_x = jnp.log(x)
    clipped = jnp.clip(log_x, knots[0], knots[-1])
    # NaN must not become an index
    cell = jnp.nan_to_num((clipped - knots[0]) * grid.index_scale).astype(jnp.int32)
    index = jnp.asarray(grid.index_start)[cell]
    for _ in range(grid.index_steps):
        index = index + (clipped >= knots[index + 1])
    index = jnp.minimum(index, len(knots) - 2)
    return log_x, clipped - knots[index], index


def _hermite(u: Float[Array, ""], width: Float[Array, ""]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Cubic Hermite weights at u ∈ [0, 1]: (value, derivative) at the lower knot, and at the upper one."""
    u2, u3 = u * u, u * u * u
    low = (2 * u3 - 3 * u2 + 1, (u3 - 2 * u2 + u) * width)
    high = (3 * u2 - 2 * u3, (u3 - u2) * width)
    return low, high


def _index_table(log_x: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Cells of equal width in log x: the interval each begins in, cells per unit, most knots in one."""
    span = log_x[-1] - log_x[0]
    cells = int(min(_MAXIMUM_CELLS, np.ceil(span / np.diff(log_x).min()) + 1))
    # One cell more than needed, for the upper edge; margins larger than any rounding of the cell's number.
    scale = cells / span
    starts = log_x[0] + (np.arange(cells + 1) - 1e-9) / scale
    ends = log_x[0] + (np.arange(cells + 1) + 1 + 1e-9) / scale
    last = len(log_x) - 2
    first = np.clip(np.searchsorted(log_x, starts, side="right") - 1, 0, last)
    final = np.clip(np.searchsorted(log_x, ends, side="right") - 1, 0, last)
    return first.astype(np.int32), float(scale), int((final - first).max())


def _knot_slopes(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Derivatives at the knots along the first axis: the mean of both slopes, one-sided at the edges."""
    slopes = np.diff(values, axis=0) / np.diff(knots).reshape(-1, *[1] * (values.ndim - 1))
    return np.concatenate([slopes[:1], (slopes[1:] + slopes[:-1]) / 2, slopes[-1:]])


def load(name: str | os.PathLike[str], member: int = 0) -> PartonDensity:
    """Read one member of a set of parton densities, by name or from a file.

    **Arguments:** `name`: a set's name, looked for in `LHAPDF_DATA_PATH`, in an installed LHAPDF and in the
    data folder of an installed `pythia8mc`; or the path of a `.dat` file or of a set's folder. `member`: the
    member of the set, 0 is the central one.

    **Raises** `PdfNotFoundError` with the places that were looked at; `PdfFormatError` for a file that is
    truncated or of another format.
    """
    return read(find(name, member))


def current(name: str | os.PathLike[str]) -> PartonDensity:
    """The central member as its files are now: read again if they have changed since, see `load`."""
    path = find(name).resolve()
    return _read_once(path, tuple(_mark(file) for file in (path, *_info_file(path))))


@lru_cache(maxsize=8)
def _read_once(path: Path, marks: tuple[tuple[int, int], ...]) -> PartonDensity:
    return read(path)


def _mark(path: Path) -> tuple[int, int]:
    """What changes where a file is replaced: when it was written, and its size."""
    state = path.stat()
    return state.st_mtime_ns, state.st_size


def find(name: str | os.PathLike[str], member: int = 0) -> Path:
    """The grid file of a member of a set: see `load`."""
    given = Path(name)
    set_name = given.name
    if given.is_file():
        return given
    if given.is_dir():
        path = given / f"{set_name}_{member:04d}.dat"
        if path.is_file():
            return path
        raise PdfNotFoundError(f"the folder {given} has no {path.name}: is it the folder of an LHAPDF set?")
    if given.suffix == ".dat" or len(given.parts) > 1:
        raise PdfNotFoundError(f"there is no density grid at {given}: give the path of an LHAPDF .dat file")
    folders = search_path()
    for folder in folders:
        for candidate in (folder / set_name, folder):
            path = candidate / f"{set_name}_{member:04d}.dat"
            if path.is_file():
                return path
    known = sorted({path.name[:-9] for folder in folders for path in folder.glob("*_0000.dat")})
    looked = "".join(f"\n  {folder}" for folder in folders) or " nowhere (no LHAPDF, no pythia8mc)"
    raise PdfNotFoundError(
        f"no parton density {set_name!r}, member {member}{nearest(set_name, known)}. Looked in:{looked}\n"
        "Install the extra that brings grids (pip install 'deepmem[generate]'), set LHAPDF_DATA_PATH, or "
        "give a grid file (--pdf PATH)"
    )


def search_path() -> list[Path]:
    """The folders that exist and may hold grids, in the order in which they are looked at."""
    folders = [Path(entry) for entry in os.environ.get("LHAPDF_DATA_PATH", "").split(os.pathsep) if entry]
    folders += [Path(prefix) / "share" / "LHAPDF" for prefix in (sys.prefix, "/usr/local", "/usr")]
    folders += _pythia_folders()
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


@cache
def _pythia_folders() -> list[Path]:
    """The grid folders of an installed pythia8mc, from its list of files: an import would take a second."""
    try:
        files = importlib.metadata.files("pythia8mc") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    grids = (Path(str(file.locate())) for file in files if file.name.endswith("_0000.dat"))
    return list(dict.fromkeys(grid.resolve().parent for grid in grids))


def read(path: Path) -> PartonDensity:
    """Read an LHAPDF `.dat` file, and the set's `.info` beside it if there is one: see `load`."""
    files = [path, *_info_file(path)]
    try:
        data = [file.read_bytes() for file in files]
    except OSError as error:
        raise PdfFormatError(f"{path} cannot be read: {error.strerror}") from None
    header, *blocks = _blocks(path, data[0])
    if "lhagrid1" not in header.lower():
        raise PdfFormatError(f"{path} is not an LHAPDF 6 grid: its header doesn't say 'Format: lhagrid1'")
    if not blocks:
        raise PdfFormatError(f"{path} has no grid after its header: is the file truncated?")
    info = _info(data[1:])
    interpolator = info.get("Interpolator", "logcubic")
    if interpolator != "logcubic":
        raise PdfFormatError(f"{path} asks for {interpolator!r} interpolation; only 'logcubic' is known")
    force = info.get("ForcePositive", "0")
    floor = {"0": -np.inf, "1": 0.0, "2": 1e-10}.get(force)
    if floor is None:
        raise PdfFormatError(f"{path.parent}: ForcePositive is {force!r}; 0, 1 and 2 are known")

    grids = [_subgrid(path, block) for block in blocks]
    x, _, partons, _ = grids[0]
    for other_x, _, other_partons, _ in grids[1:]:
        if not np.array_equal(x, other_x) or partons != other_partons:
            raise PdfFormatError(f"{path}: its subgrids differ in x knots or partons, which is not supported")
    log_x = np.log(x)
    log_q2, corners = [], []
    for _, q, _, values in grids:
        along_q = np.log(q**2)
        slopes_x = np.moveaxis(_knot_slopes(np.moveaxis(values, 1, 0), log_x), 0, 1)
        per_knot = np.stack([values, slopes_x], axis=2)
        log_q2.append(along_q)
        corners.append(np.concatenate([per_knot, _knot_slopes(per_knot, along_q)], axis=2))
    start, scale, steps = _index_table(log_x)
    if steps > _MAXIMUM_STEPS:
        raise PdfFormatError(
            f"{path}: its x knots are too close to one another ({np.diff(log_x).min():.1e} in log x)"
        )
    name = path.name.removesuffix(".dat").removesuffix("_0000")
    return PartonDensity(
        log_x=log_x,
        log_q2=np.concatenate(log_q2),
        corners=np.concatenate(corners),
        floor=np.asarray(floor),
        index_start=start,
        index_scale=np.asarray(scale),
        partons=partons,
        index_steps=steps,
        name=name,
        sha256=hashlib.sha256(b"".join(data)).hexdigest(),
    )


def _blocks(path: Path, data: bytes) -> list[str]:
    """The parts of a `.dat` file between its `---` lines: the header, then the subgrids."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise PdfFormatError(f"{path} is not an LHAPDF 6 grid: it isn't a text file") from None
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if "---" not in lines:
        raise PdfFormatError(f"{path} is not an LHAPDF 6 grid: it has no line '---' that ends a header")
    if lines[-1] != "---":
        raise PdfFormatError(f"{path} is truncated: it doesn't end with the line '---'")
    return "\n".join(lines[:-1]).split("\n---\n")


def _subgrid(path: Path, block: str) -> tuple[np.ndarray, np.ndarray, tuple[int, ...], np.ndarray]:
    """One subgrid: knots in x, knots in Q (GeV), PDG codes, and x·f as `[Q, x, partons]`."""
    try:
        first, second, third, body = block.split("\n", 3)
        partons = tuple(21 if code == 0 else code for code in map(int, third.split()))
    except ValueError:
        raise PdfFormatError(
            f"{path}: a subgrid is not three lines of knots and PDG codes and then numbers"
        ) from None
    x, q, values = (_numbers(path, text) for text in (first, second, body))
    expected = len(x) * len(q) * len(partons)
    if len(values) != expected:
        raise PdfFormatError(
            f"{path} is truncated: a subgrid should have {expected} values and has {len(values)}"
        )
    if (
        len(x) < 2
        or len(q) < 2
        or not (np.all(np.diff(x) > 0) and np.all(np.diff(q) > 0) and x[0] > 0 < q[0])
    ):
        raise PdfFormatError(f"{path}: the knots of a subgrid are not positive, increasing, and two at least")
    if len(set(partons)) != len(partons):
        raise PdfFormatError(f"{path}: a subgrid names a parton twice: {', '.join(map(str, partons))}")
    return x, q, partons, values.reshape(len(x), len(q), len(partons)).swapaxes(0, 1)


def _numbers(path: Path, text: str) -> np.ndarray:
    """The numbers of some lines, also with the exponents of Fortran, all of them finite."""
    words = text.replace("D", "E").replace("d", "e").split()
    try:
        values = np.array(words, dtype=float)
    except ValueError:
        strange = next(word for word in words if not _is_number(word))
        raise PdfFormatError(
            f"{path}: {strange!r} in a subgrid is no number; expected are three lines of knots and PDG "
            "codes, and then numbers with spaces between them"
        ) from None
    lost = np.flatnonzero(~np.isfinite(values))
    if len(lost):
        raise PdfFormatError(
            f"{path}: {len(lost)} of {len(values)} values of a subgrid are not finite ({words[lost[0]]!r}): "
            "the file is damaged, get another copy"
        )
    return values


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _info_file(path: Path) -> list[Path]:
    """The `.info` file of the set of a grid, or none (Pythia's wheel doesn't ship them)."""
    return sorted(path.parent.glob(f"{path.stem[:-5]}.info")) if len(path.stem) > 5 else []


def _info(data: Sequence[bytes]) -> dict[str, str]:
    """The `key: value` lines of the set's `.info` file, or none."""
    if not data:
        return {}
    lines = data[0].decode("utf-8", errors="replace").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line and not line.startswith((" ", "-", "#")))
    return {key.strip(): value.strip().strip("'\"") for key, value in pairs}
