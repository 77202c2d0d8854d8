"""Parameter cards in the format SLHA: blocks of numbers with integers before them.

    BLOCK MASS
        6  173.0   # MT
    DECAY  6  1.4915

is {("MASS", (6,)): 173.0, ("DECAY", (6,)): 1.4915}. Source: P. Skands et al., hep-ph/0311123.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from deepmem.physics.errors import ModelError
from deepmem.physics.theory.model import Model, Parameter

Card: TypeAlias = Mapping[tuple[str, tuple[int, ...]], float]
"""Numbers by block, in capitals, and indices."""


def read_card(path: str | os.PathLike[str]) -> Card:
    """The numbers of a card; branching fractions and lines of words are left out.

    **Raises** `ModelError` where there is no such file, or no number in it, or a width is "auto".
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ModelError(f"can't read the parameter card {path}: {error.strerror or error}") from None
    numbers = dict(_entries(text, path))
    if not numbers:
        raise ModelError(f"{path} is no parameter card: it has no line 'BLOCK NAME' with numbers after it")
    return numbers


def _entries(text: str, path: str | os.PathLike[str]) -> Iterator[tuple[tuple[str, tuple[int, ...]], float]]:
    block: str | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        first = words[0].upper()
        if first == "BLOCK":
            block = words[1].upper() if len(words) > 1 else None
            continue
        if first == "DECAY":
            words, block = ["DECAY", *words[1:]], None
            if len(words) > 2 and words[2].casefold() == "auto":
                raise ModelError(
                    f"{path}, line {number}: the width of particle {words[1]} is 'auto'; widths are not "
                    "computed, write a number"
                )
        elif block is None:
            continue
        else:
            words = [block, *words]
        entry = _entry(words)
        if entry is not None:
            yield entry


def _entry(words: list[str]) -> tuple[tuple[str, tuple[int, ...]], float] | None:
    """A block's name, integers and a number; None for what is something else."""
    try:
        return (words[0], tuple(map(int, words[1:-1]))), float(words[-1].upper().replace("D", "E"))
    except (ValueError, IndexError):
        return None


def place(parameter: Parameter) -> tuple[str, tuple[int, ...]]:
    """Where a card keeps a parameter."""
    return parameter.block.upper(), parameter.indices


def with_card(model: Model, card: Card) -> Model:
    """The model with a card's numbers as defaults; what the card leaves out keeps its own."""

    def changed(parameter: Parameter) -> Parameter:
        if not parameter.block or place(parameter) not in card:
            return parameter
        return replace(parameter, value=card[place(parameter)], expression=None)

    return replace(model, parameters=tuple(map(changed, model.parameters)))
