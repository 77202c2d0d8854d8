"""Where JAX runs what a job computes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import jax

from deepmem.errors import UsageError


def on_device(number: int | None) -> AbstractContextManager[Any]:
    """Run what is inside on the GPU of that number, or on the CPU for None.

    **Raises** `UsageError` that lists what there is.
    """
    if number is None:
        return jax.default_device(jax.devices("cpu")[0])
    try:
        gpus = jax.devices("gpu")
    except RuntimeError:
        gpus = []
    if number >= len(gpus):
        there = ", ".join(f"{i}: {gpu.device_kind}" for i, gpu in enumerate(gpus))
        raise UsageError(
            f"--device={number}: there is no such GPU; "
            + (
                f"there are {there}"
                if there
                else "JAX sees none here (install deepmem[cuda], or leave --device away for the CPU)"
            )
        )
    return jax.default_device(gpus[number])
