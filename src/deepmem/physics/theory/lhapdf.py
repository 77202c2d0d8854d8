"""Finding and reading LHAPDF 6 grid files, each one member of a set of parton densities.

What it can't promise: α_s; error sets as a whole (load members one by one); interpolators other than
logcubic; values below the lowest x knot, where the density is that of the lowest knot, and its `below` says
so.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import importlib.metadata
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from deepmem.errors import UsageError, nearest
from deepmem.physics.theory.densities import PartonDensity, Subgrid, interpolation

# Knots of x in a cell of a density's index, at most; grids in use need one or two.
_MAXIMUM_STEPS = 8


class PdfNotFoundError(UsageError, FileNotFoundError):
    """No grid of that name in any of the places that were looked at."""


# What makes text of a compressed file.
_UNPACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}


class PdfFormatError(UsageError):
    """A file that is not a complete LHAPDF grid of a kind that can be interpolated."""


def load(name: str | os.PathLike[str], member: int = 0) -> PartonDensity:
    """Read one member of a set of parton densities, by name or from a file.

    **Arguments:** `name`: a set's name, looked for in `LHAPDF_DATA_PATH`, in an installed LHAPDF and in the
    data folder of an installed `pythia8mc`; `SET/3` is a member of it; or the path of a `.dat` file or of a
    set's folder. Files may be compressed (`.gz`, `.bz2`, `.xz`). `member`: of the set, 0 is the central one.

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
    if given.is_file():
        return given
    if given.name.isdigit() and len(given.parts) > 1 and not given.exists():
        given, member = given.parent, int(given.name)
    set_name = given.name
    if given.is_dir():
        if (path := _grid_in(given, set_name, member)) is not None:
            return path
        wanted = f"{set_name}_{member:04d}.dat"
        raise PdfNotFoundError(f"the folder {given} has no {wanted}: is it the folder of an LHAPDF set?")
    if given.suffix == ".dat" or len(given.parts) > 1:
        raise PdfNotFoundError(f"there is no density grid at {given}: give the path of an LHAPDF .dat file")
    folders = search_path()
    for folder in folders:
        for candidate in (folder / set_name, folder):
            if (path := _grid_in(candidate, set_name, member)) is not None:
                return path
    names = sorted({path.name[:-9] for folder in folders for path in folder.glob("*_0000.dat")})
    places = "".join(f"\n  {folder}" for folder in folders) or " nowhere (no LHAPDF, no pythia8mc)"
    raise PdfNotFoundError(
        f"no parton density {set_name!r}, member {member}{nearest(set_name, names)}. Looked in:{places}\n"
        "Install the extra that brings grids (pip install 'deepmem[generate]'), set LHAPDF_DATA_PATH, or "
        "give a grid file (--pdf PATH)"
    )


def _grid_in(folder: Path, set_name: str, member: int) -> Path | None:
    """The grid of a member in a folder, as it is or compressed."""
    paths = (folder / f"{set_name}_{member:04d}.dat{suffix}" for suffix in ("", *_UNPACKED))
    return next((path for path in paths if path.is_file()), None)


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
        data = [_UNPACKED.get(file.suffix, bytes)(file.read_bytes()) for file in files]
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        why = getattr(error, "strerror", None) or error
        raise PdfFormatError(f"{path} cannot be read: {why}") from None
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

    subgrids = [_subgrid(path, block) for block in blocks]
    for other in subgrids[1:]:
        if not np.array_equal(subgrids[0].x, other.x) or subgrids[0].partons != other.partons:
            raise PdfFormatError(f"{path}: its subgrids differ in x knots or partons, which is not supported")
    name = path.name.removesuffix(".dat").removesuffix("_0000")
    density = interpolation(subgrids, floor, name, hashlib.sha256(b"".join(data)).hexdigest())
    if density.index_steps > _MAXIMUM_STEPS:
        raise PdfFormatError(
            f"{path}: its x knots are too close to one another ({np.diff(density.log_x).min():.1e} in log x)"
        )
    return density


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


def _subgrid(path: Path, block: str) -> Subgrid:
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
    return Subgrid(x, q, partons, values.reshape(len(x), len(q), len(partons)).swapaxes(0, 1))


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
    stem = path.name.partition(".dat")[0]
    return sorted(path.parent.glob(f"{stem[:-5]}.info")) if len(stem) > 5 else []


def _info(data: Sequence[bytes]) -> dict[str, str]:
    """The `key: value` lines of the set's `.info` file, or none."""
    if not data:
        return {}
    lines = data[0].decode("utf-8", errors="replace").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line and not line.startswith((" ", "-", "#")))
    return {key.strip(): value.strip().strip("'\"") for key, value in pairs}
