"""The menu of processes: one file each, beside the interface in `base`.

Every `Process` that a module of this folder defines is on the menu; `register` adds one from elsewhere.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from deepmem.physics.errors import unknown_name
from deepmem.physics.processes.base import Process

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
