"""What a process of DeepMEM's own is like: its cores, JAX's settings, the versions that decide bits."""

from __future__ import annotations

import ctypes
import gc
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

from deepmem.caches import compiled_programs

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PACKAGES = ("deepmem", "jax", "jaxlib", "numpy")
"""Those whose versions decide the bits of weights."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_claims: list[IO[str]] = []


def prepare_jax() -> None:
    """Settings of a process that is DeepMEM's own; a user's Python session is left as it is."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compiled_programs()))
    # all but single operations, whose files would be many
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.04")


def cores_here() -> list[int]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(cores: Sequence[int]) -> None:
    """Let this process use these cores alone, where the system knows how."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def claim_core() -> int | None:
    """Pin this process to a core that no other one on this machine has claimed so; its number, None without.

    The claim is a lock on a file of the user's, and ends with the process.
    """
    if fcntl is None or not hasattr(os, "sched_setaffinity"):
        return None
    for core in cores_here():
        with suppress(OSError):
            path = Path(tempfile.gettempdir()) / f"deepmem-{os.getuid()}-core-{core}.lock"
            file = path.open("w", encoding="utf-8")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                continue
            _claims.append(file)
            pin([core])
            return core
    return None


def keep_memory() -> None:
    """Let the allocator of the C library keep what is freed, for the next array.

    Dask's nannies ask it to give everything back at once (`MALLOC_TRIM_THRESHOLD_`), and weights take twice
    the time then.
    """
    with suppress(OSError, AttributeError, TypeError):  # another library than glibc
        library = ctypes.CDLL(None)
        library.mallopt(_TRIM_THRESHOLD, 128 << 20)
        library.mallopt(_MMAP_THRESHOLD, 32 << 20)


@contextmanager
def collecting_nothing() -> Iterator[None]:
    """Python's collector of cycles rests: importing and tracing make many objects that stay, through which it
    would look again and again."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """The versions of packages here."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found
