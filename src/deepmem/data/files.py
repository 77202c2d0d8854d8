"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepmem.errors import DeepMEMError, UsageError

if TYPE_CHECKING:
    import numpy as np

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Conditions of the file system that a user can mend, as opposed to faults of the program: what is wrong with
# the place that was asked for,
_WRONG_PLACE = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.EISDIR: "it is a folder",
    errno.EEXIST: "a part of its path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its links lead in a circle",
    errno.EINVAL: "such a name is not possible there",
    errno.ENXIO: "there is nothing that could be written to",
    errno.ENODEV: "there is nothing that could be written to",
    errno.ENOTSUP: "the file system cannot do that",
    errno.EBUSY: "it is in use",
}
# and what happens to a right one while a call runs.
_HAPPENS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed",
    errno.EIO: "the disk fails",
    errno.ESTALE: "the network's file system has lost it",
}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the file system refuses for `path` into one sentence: a `UsageError` where it is the place
    that is wrong, a `DeepMEMError` where the disk is full or fails."""
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        if (reason := _HAPPENS.get(number)) is not None:
            raise DeepMEMError(f"cannot write {path}: {reason}") from error
        if (reason := _WRONG_PLACE.get(number)) is not None:
            raise UsageError(f"cannot write {path}: {reason}") from error
        raise


def make_folder(folder: Path) -> None:
    """Make a folder and its parents. **Raises** `UsageError` where that is not possible."""
    try:
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except (FileNotFoundError, ValueError) as error:  # /proc, or a name with a NUL
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"cannot write {str(folder)!r}: no folder can be made there") from None


@contextmanager
def whole_file(path: str | Path, synced: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`, which is renamed to it when all went well and removed when not.

    `synced`, whether it is on the disk then, so that it outlives a loss of power.

    Missing parent folders are made. A process killed meanwhile leaves only the temporary file,
    `.NAME.PID-RANDOM.part`.

    **Raises** `UsageError` where the place cannot be written to, `DeepMEMError` where the disk is full or
    fails.
    """
    path = Path(path)
    _refuse_other_than_file(path)
    make_folder(path.parent)
    # the same number may be that of a process on another machine
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with explained(path):
            # begun with the user's own permissions: some writers make their files private
            temporary.touch()
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)
            if synced:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_input_as_output(output: str | Path, inputs: Iterable[Any]) -> None:
    """See that writing `output` destroys nothing that is read; of `inputs`, what is no local path counts not.

    **Raises** `UsageError` where it is one of them.
    """
    with explained(Path(output)):
        there = Path(output).exists()
    for each in inputs if there else ():
        if isinstance(each, str | Path) and "://" not in str(each):
            path = Path(each)
            if path.exists() and path.samefile(output):
                raise UsageError(f"the output {output} is one of the input files: choose another name")


def check_writable(path: str | Path) -> None:
    """See, before hours of work, that a file can be written there. **Raises** `UsageError` where not."""
    path = Path(path)
    _refuse_other_than_file(path)
    make_folder(path.parent)
    probe = path.with_name(f".{path.name}.{os.getpid()}.probe")
    with explained(path):
        try:
            probe.write_bytes(b"\0")
        except FileNotFoundError:  # a folder such as /proc/self, in which nothing can be made
            raise UsageError(f"cannot write {path}: no file can be made there") from None
        finally:
            probe.unlink(missing_ok=True)


def _refuse_other_than_file(path: Path) -> None:
    # Renaming over a device or a pipe would replace it.
    with explained(path):
        other = path.exists() and not path.is_file()
    if other:
        raise UsageError(f"cannot write {path}: it exists and is not a regular file")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def json_text(value: Any) -> str:
    """JSON as RFC 8259 has it, which knows no infinity: a number that is not finite is null."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], synced: bool = True) -> None:
    """Arrays of numbers in one .npz file; `synced` as for `whole_file`."""
    import numpy as np  # the command begins without it

    assert not any(np.asarray(each).dtype.hasobject for each in arrays.values())  # they would be pickled
    named: dict[str, Any] = dict(arrays)
    with whole_file(path, synced) as temporary, temporary.open("wb") as file:
        np.savez(file, **named)


def write_json(path: str | Path, value: Any) -> None:
    """Write a file of JSON whole, as `json_text` has it."""
    write_text(path, json_text(value) + "\n")


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def owned(path: str | Path, doing: str) -> Iterator[None]:
    """Nobody else works on `path` meanwhile: one process at a time, on whichever machine sees its folder.

    The claim is a lock on `.NAME.lock` beside it, which says who has it; a process that dies loses it.

    **Raises** `UsageError` that says who is doing what since when.
    """
    path = Path(path)
    make_folder(path.parent)
    lock = path.with_name(f".{path.name}.lock")
    with explained(path):
        file = _claimed(lock, path)
    try:
        claim = {"process": os.getpid(), "host": socket.gethostname(), "doing": doing}
        claim["since"] = datetime.now(UTC).isoformat(timespec="seconds")
        file.seek(0)
        file.truncate()
        file.write(json.dumps(claim))
        file.flush()
        yield
    finally:
        lock.unlink(missing_ok=True)
        file.close()


def _claimed(lock: Path, path: Path) -> Any:
    """The lock's file, locked and open."""
    while True:
        file = lock.open("a+", encoding="utf-8")
        try:
            free = _try_lock(file)
        except OSError:  # a file system without locks: what the file says must do
            free = _gone(_claim(file))
        if not free:
            process, host, since, doing = (
                _claim(file).get(key, "?") for key in ("process", "host", "since", "doing")
            )
            file.close()
            raise UsageError(
                f"{path} is being written by process {process} on {host}, since {since} ({doing}): wait "
                f"until it has finished, or choose another name (if that process is no more, remove {lock})"
            )
        # whoever had it may have removed the file between our opening and locking it
        if lock.exists() and os.fstat(file.fileno()).st_ino == lock.stat().st_ino:
            return file
        file.close()


def _try_lock(file: Any) -> bool:
    if fcntl is None:
        raise OSError(errno.ENOLCK, "no locks on this system")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _claim(file: Any) -> dict[str, Any]:
    file.seek(0)
    try:
        return json.loads(file.read() or "{}")
    except json.JSONDecodeError:  # it is being written
        return {}


def _gone(claim: dict[str, Any]) -> bool:
    """Whether a claim is nobody's: there is none, or its process on this machine is no more."""
    if not claim:
        return True
    if claim.get("host") != socket.gethostname():
        return False
    try:
        os.kill(claim["process"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return claim["process"] == os.getpid()
