"""The menu of processes: one file each, beside the interface in `base`.

Every `Process` that a module of this folder defines is on the menu; `register` adds one from elsewhere.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from deepmem.errors import UsageError
from deepmem.physics.errors import unknown_name
from deepmem.physics.processes.base import Process
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
    """The process of that name; raises `UnknownNameError`, which names the nearest."""
    if name not in _REGISTRY:
        raise unknown_name("process", name, _REGISTRY)
    return _REGISTRY[name]


THEORY = ("model", "param_card", "labels")
"""Settings of a reaction: what it is read in. `flavours` is one of them, too, and of the density."""


def chosen_process(text: str, settings: dict[str, Any]) -> Process:
    """The process on the menu of that name, or that of a reaction, "NAME=p p > …".

    **Arguments:** `settings`, of which those of `THEORY` are taken out.

    **Raises** `UnknownNameError` for a name that is not on the menu; `UsageError` for a model of a process of
    the menu; and as `of_reaction.process_of`.
    """
    given = {name: settings.pop(name) for name in THEORY if name in settings}
    if not is_reaction(text):
        for name in given:
            raise UsageError(f"{name} is of a reaction: {text} is a process of the menu, which has its own")
        return find_process(text)
    flavours = {"flavours": settings["flavours"]} if "flavours" in settings else {}
    return process_of(text, Theory.of(**given, **flavours))


def said_in(entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What finds the process of a provenance's entry again, and the settings that it is read in."""
    said = f"{entry['process']}={entry['reaction']}" if "reaction" in entry else entry["process"]
    return said, {name: entry[name] for name in THEORY if name in entry}


def all_processes() -> dict[str, Process]:
    """Every process on the menu, by name."""
    return dict(_REGISTRY)


def known_columns() -> tuple[str, ...]:
    """The default columns of all processes on the menu, each once: what `column_names` may be of."""
    return tuple(dict.fromkeys(column for process in _REGISTRY.values() for column in process.columns))


for _module in pkgutil.iter_modules(__path__):
    for _value in vars(import_module(f"{__name__}.{_module.name}")).values():
        if isinstance(_value, Process):
            register(_value)
