"""Models by name: `sm`, `heft`, `hvv`, or a UFO folder.

A folder's path loads it under its card `restrict_default.dat` where it has one, `PATH-NAME` under
`restrict_NAME.dat`, and `PATH-full` without any, as MadGraph does. A parameter card then sets the defaults.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from deepmem.physics.errors import ModelError, unknown_name
from deepmem.physics.theory.anomalous import anomalous
from deepmem.physics.theory.cards import Card, place, read_card, with_card
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.restriction import restricted
from deepmem.physics.theory.standard_model import heft, standard_model
from deepmem.physics.theory.ufo import read_folder

BUILT_IN: Mapping[str, Callable[[], Model]] = {"sm": standard_model, "heft": heft, "hvv": anomalous}
"""The models that need no folder."""


def load(name: str | os.PathLike[str], card: str | os.PathLike[str] | None = None) -> Model:
    """A model by its name or its folder.

    **Arguments:** `card`: the path of a parameter card, whose numbers become defaults.

    **Raises** `UnknownNameError` for what is neither a model nor a folder; `ModelError` for a folder or card
    that can't be read, and for a card that sets what the restriction has fixed.
    """
    text = os.fspath(name)
    numbers = None if card is None else read_card(card)
    if text in BUILT_IN:
        model = BUILT_IN[text]()
        return model if numbers is None else with_card(model, numbers)
    folder, restriction = _folder(text)
    full, model = _read(folder, restriction, _changed(folder))
    if numbers is None:
        return model
    _check_fixed(full, model, numbers, card)
    return with_card(model, numbers)


def _folder(text: str) -> tuple[str, str | None]:
    """A folder and its restriction card: None for the default one, "" for none."""
    if Path(text).is_dir():
        return text, None
    path, dash, restriction = text.rpartition("-")
    if dash and Path(path).is_dir():
        return path, "" if restriction == "full" else restriction
    if Path(text).name != text or dash:
        raise ModelError(
            f"there is no folder {text}: a model is one of {', '.join(BUILT_IN)}, a UFO folder's path, or "
            "PATH-NAME with the name of its restriction card"
        )
    raise unknown_name("model", text, [*BUILT_IN, "the path of a UFO folder"])


def _changed(folder: str) -> int:
    """When a file of a folder changed last, in ns."""
    return max((each.stat().st_mtime_ns for each in Path(folder).iterdir() if each.is_file()), default=0)


@lru_cache(maxsize=8)
def _read(folder: str, restriction: str | None, changed: int) -> tuple[Model, Model]:
    """The model as it stands in the folder, and under its restriction."""
    full = read_folder(folder)
    if restriction == "":
        return full, full
    path = Path(folder) / f"restrict_{restriction or 'default'}.dat"
    if not path.is_file():
        if restriction is None:
            return full, full
        cards = sorted(each.stem.removeprefix("restrict_") for each in Path(folder).glob("restrict_*.dat"))
        raise unknown_name(f"restriction of {folder}", restriction, [*cards, "full"])
    named = replace(full, name=f"{full.name}-{restriction}") if restriction else full
    return full, restricted(named, read_card(path))


def _check_fixed(full: Model, model: Model, card: Card, path: str | os.PathLike[str] | None) -> None:
    """Refuses a card that gives another number to a parameter that a restriction has made a constant."""
    left = {parameter.name for parameter in model.parameters}
    by_place = {place(parameter): parameter for parameter in model.parameters if parameter.block}
    for parameter in full.parameters:
        if parameter.name in left or parameter.value is None or place(parameter) not in card:
            continue
        value = card[place(parameter)]
        block = parameter.block.upper()
        allowed = {0.0, 1.0} | {abs(card[p]) for p in by_place if p[0] == block and p in card}
        if abs(value) not in allowed:
            raise ModelError(
                f"{path} sets {parameter.name} = {value:g}, which the restriction of the model fixes; load "
                "the model without it (PATH-full) or with another (PATH-NAME)"
            )
