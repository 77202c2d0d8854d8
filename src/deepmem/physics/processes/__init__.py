"""The menu of processes: one file each, beside the interface in `base`.

Every `Process` that a module of this folder defines is on the menu; `register` adds one from elsewhere.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

from deepmem.errors import UsageError
from deepmem.physics.errors import unknown_name
from deepmem.physics.processes.base import (
    MOST_JETS,
    MOST_LEPTONS,
    MOST_PHOTONS,
    Process,
    jet_columns,
    photon_columns,
    tag_columns,
    tau_columns,
)
from deepmem.physics.processes.menu import REACTIONS, Line
from deepmem.physics.processes.of_reaction import is_reaction, process_of
from deepmem.physics.reactions import Theory

_REGISTRY: dict[str, Process] = {}


def register(process: Process) -> Process:
    """Put a process on the menu, in place of any other of its name."""
    _REGISTRY[process.name] = process
    return process


def unregister(name: str) -> None:
    """Take a process off the menu; nothing where there is none of that name."""
    _REGISTRY.pop(name, None)


def find_process(name: str) -> Process:
    """The definite process of that name; raises `UnknownNameError`, which names the nearest, and `UsageError`
    for one that is a sum."""
    if name not in _REGISTRY and name in REACTIONS:
        raise UsageError(
            f"{name} is a sum of final states, which weights are of, and nothing else yet: take one of them "
            f"from its reaction, {REACTIONS[name].reaction}"
        )
    if name not in _REGISTRY:
        raise unknown_name("process", name, [*_REGISTRY, *REACTIONS])
    return _REGISTRY[name]


_SUMMED = {"jet": "light jets", "photon": "photons", "tau": "taus"}

THEORY = ("model", "param_card", "labels")
"""Settings of a reaction: what it is read in. `flavours` is one of them, too, and of the density."""


def chosen_process(text: str, settings: dict[str, Any], summed: bool = False) -> Process:
    """The process on the menu of that name, or that of a reaction, "NAME=p p > …".

    **Arguments:** `settings`, of which those of `THEORY` are taken out; `summed`, whether it may have light
    jets, and several final states.

    **Raises** `UnknownNameError` for a name that is not on the menu; `UsageError` for a model of a process of
    the menu, and for one that is `summed` where it may not be; and as `of_reaction.process_of`.
    """
    given = {name: settings.pop(name) for name in THEORY if name in settings}
    line = menu_line(text)
    if line is not None:
        text = f"{text.strip()}={line.reaction}"
        given.setdefault("model", line.model)
        settings.setdefault("flavours", line.flavours)
    if not is_reaction(text):
        for name in given:
            raise UsageError(f"{name} is of a reaction: {text} is a process of the menu, which has its own")
        return find_process(text)
    flavours = {"flavours": settings["flavours"]} if "flavours" in settings else {}
    process = process_of(text, Theory.of(**given, **flavours))
    if not summed:
        refuse_summed(process)
    return process if line is None or line.scale is None else replace(process, scale=line.scale)


def menu_line(name: str) -> Line | None:
    """The line of a process of the menu that is its reaction; None of another one."""
    return None if name.strip() in _REGISTRY else REACTIONS.get(name.strip())


def reaction_of(name: str) -> str | None:
    """The reaction of a process of the menu that is its reaction; None of another one."""
    line = menu_line(name)
    return None if line is None else line.reaction


def refuse_summed(process: Process) -> None:
    """**Raises** `UsageError` for a process with light jets, photons, taus, or several final states."""
    what = next((what for kind, what in _SUMMED.items() if kind in process.classes), "several final states")
    if process.variants or {*_SUMMED} & {*process.classes}:
        raise UsageError(
            f"{process.name} has {what}, which weights are of, and nothing else yet: write particles in "
            "place of labels, and no light quarks, photons or taus"
        )


def refuse_assigned(process: Process, what: str) -> None:
    """**Raises** `UsageError` for a process whose jets are assigned to legs in several ways."""
    if process.assigned:
        raise UsageError(
            f"{what} of {process.name} would leave out final states or assignments of jets: compute weights"
        )


def said_in(entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What finds the process of a provenance's entry again, and the settings that it is read in."""
    name, reaction = entry["process"], entry.get("reaction")
    said = name if reaction in (None, name) else f"{name}={reaction}"
    known = (*THEORY, "flavours") if "reaction" in entry else THEORY
    return said, {name: entry[name] for name in known if name in entry}


def all_processes() -> dict[str, Process]:
    """Every definite process on the menu, by name: `menu.REACTIONS` has the others."""
    return dict(_REGISTRY)


def known_columns(suffixes: Iterable[str] = ()) -> tuple[str, ...]:
    """The default columns of all processes, each once: what `column_names` may be of.

    **Arguments:** `suffixes` of further columns of jets.
    """
    columns = [column for process in _REGISTRY.values() for column in process.columns]
    of_jets = [*jet_columns(MOST_JETS), *tag_columns(1, MOST_JETS)]
    of_jets += [f"j{number}_{suffix}" for suffix in suffixes for number in range(1, MOST_JETS + 1)]
    of_taus = [*tau_columns(MOST_LEPTONS), *(f"tau{number}_M" for number in range(1, MOST_LEPTONS + 1))]
    return tuple(dict.fromkeys([*columns, *of_jets, *photon_columns(MOST_PHOTONS), *of_taus]))


for _module in pkgutil.iter_modules(__path__):
    for _value in vars(import_module(f"{__name__}.{_module.name}")).values():
        if isinstance(_value, Process):
            register(_value)
