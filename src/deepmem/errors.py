"""What DeepMEM raises: every message says what was expected, what came, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DeepMEMError(Exception):
    """Something failed while running; the command ends with status 1."""


class UsageError(DeepMEMError, ValueError):
    """The call, the configuration or an input file is wrong; the command ends with status 2."""


class Interrupted(KeyboardInterrupt):
    """The user stopped what ran; says what is kept. The command ends with status 130."""


class DeepMEMWarning(UserWarning):
    """A number is right, but perhaps not what was meant; commands print it as a warning."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: " (did you mean 'X'?)", or "" where nothing is near."""
    known = list(known)
    folded = {entry.casefold(): entry for entry in known}
    matches = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f" (did you mean {folded[matches[0]]!r}?)" if matches else ""
