"""Where networks run: on a CPU's cores, on one GPU, or on all GPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TypeAlias

import jax

from deepmem.errors import UsageError

DeviceNumber: TypeAlias = int | Literal["all"] | None
"""Of a GPU; None: the CPU."""

_chosen: ContextVar[tuple[Any, ...] | None] = ContextVar("_chosen", default=None)


@contextmanager
def on_device(number: DeviceNumber) -> Iterator[None]:
    """Run what is inside on the GPU of that number, on all GPUs for "all", or on the CPU for None.

    What JAX takes for several CPUs (`--xla_force_host_platform_device_count`) is used as several.

    **Raises** `UsageError` that lists what there is.
    """
    found = _devices(number)
    token = _chosen.set(found)
    try:
        with jax.default_device(found[0]):
            yield
    finally:
        _chosen.reset(token)


def devices() -> tuple[Any, ...]:
    """Those of `on_device`; outside of it JAX's own."""
    default = jax.config.jax_default_device  # type: ignore[attr-defined]
    return _chosen.get() or (default if default is not None else jax.devices()[0],)


def available_cores() -> int:
    """Those that this process may run on, where the system says so; else all of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _devices(number: DeviceNumber) -> tuple[Any, ...]:
    if number is None:
        return tuple(jax.devices("cpu"))
    try:
        gpus = jax.devices("gpu")
    except RuntimeError:
        gpus = []
    if number == "all" and gpus:
        return tuple(gpus)
    if number == "all" or number >= len(gpus):
        there = ", ".join(f"{i}: {gpu.device_kind}" for i, gpu in enumerate(gpus))
        raise UsageError(
            f"--device={number}: there is no such GPU; "
            + (
                f"there are {there}"
                if there
                else "JAX sees none here (install deepmem[cuda], or leave --device away for the CPU)"
            )
        )
    return (gpus[number],)
