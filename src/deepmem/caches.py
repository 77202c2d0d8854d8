"""Where a user's machine keeps what is expensive to make again: `$XDG_CACHE_HOME/deepmem`, or
`~/.cache/deepmem`."""

from __future__ import annotations

import os
from pathlib import Path


def _folder(name: str) -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepmem" / name


def compiled_programs() -> Path:
    """What XLA has compiled, where `JAX_COMPILATION_CACHE_DIR` does not name another folder."""
    return _folder("xla")


def amplitude_programs() -> Path:
    """What was generated for amplitudes."""
    return _folder("amplitudes")
