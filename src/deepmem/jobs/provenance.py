"""What files of weights say of themselves, where other programs' files say nothing."""

from __future__ import annotations

from typing import Any

from deepmem.data.provenance import described
from deepmem.data.weights import read_provenance
from deepmem.errors import DeepMEMError


def provenance(path: str) -> dict[str, Any]:
    """The provenance of a file; nothing where it is of another program."""
    try:
        return read_provenance(path)
    except DeepMEMError:
        return {}


def hypotheses_of(path: str) -> dict[str, dict[str, Any]]:
    """The described hypothesis of each weight in a file."""
    return described(provenance(path))
