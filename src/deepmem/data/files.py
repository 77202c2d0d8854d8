"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepmem.errors import UsageError

# Conditions of the file system that a user can mend, as opposed to faults of the program.
_MENDABLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.EISDIR: "it is a folder",
    errno.EEXIST: "a part of its path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long",
}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the file system refuses for `path` into one sentence (`UsageError`)."""
    try:
        yield
    except OSError as error:
        reason = _MENDABLE.get(error.errno or 0)
        if reason is None:
            raise
        raise UsageError(f"cannot write {path}: {reason}") from error


def make_folder(folder: Path) -> None:
    """Make a folder and its parents. **Raises** `UsageError` where that is not possible."""
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, which is renamed to it when all went well and removed when not.

    Missing parent folders are made. A process killed meanwhile leaves only the temporary file,
    `.NAME.PID.part`.

    **Raises** `UsageError` where the place cannot be written to.
    """
    path = Path(path)
    _refuse_other_than_file(path)
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with explained(path):
            # begun with the user's own permissions: some writers make their files private
            temporary.touch()
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """See, before hours of work, that a file can be written there. **Raises** `UsageError` where not."""
    path = Path(path)
    _refuse_other_than_file(path)
    make_folder(path.parent)
    probe = path.with_name(f".{path.name}.{os.getpid()}.probe")
    with explained(path):
        try:
            probe.write_bytes(b"\0")
        finally:
            probe.unlink(missing_ok=True)


def _refuse_other_than_file(path: Path) -> None:
    # Renaming over a device or a pipe would replace it.
    if path.exists() and not path.is_file():
        raise UsageError(f"cannot write {path}: it exists and is not a regular file")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
