"""|M|² for users: NumPy in, NumPy out, in double precision whatever JAX is set to."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from os import PathLike
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from deepmem.errors import DeepMEMWarning, UsageError
from deepmem.physics.errors import InitialStateError, unknown_name
from deepmem.physics.momenta import beyond_beam, checked_momenta, doubts
from deepmem.physics.processes import all_processes, find_process, menu_line
from deepmem.physics.processes.base import Process
from deepmem.physics.reactions import Theory
from deepmem.physics.reactions import matrix_element as of_reaction
from deepmem.physics.theory.parameters import parameters as checked_parameters

# A batch's intermediate results stay in the CPU's cache; sizes are powers of two, so compilations are few.
LARGEST_BATCH, SMALLEST_BATCH = 16384, 16


def processes() -> dict[str, dict[str, Any]]:
    """The menu: name → title, outgoing, columns, parameters with defaults, dimensions, subsets, paper."""
    return {name: process.menu_entry() for name, process in all_processes().items()}


def matrix_element(
    process: str,
    incoming: Sequence[int] | None,
    momenta: ArrayLike,
    subset: str | None = None,
    *,
    model: str | PathLike[str] | None = None,
    param_card: str | PathLike[str] | None = None,
    labels: Mapping[str, str | Sequence[str]] | None = None,
    **parameters: float,
) -> np.ndarray:
    """|M|², averaged over initial, summed over final spins and colours, with identical-particle factors.

    **Arguments:**

    - `process`: a name of the menu, see `processes`; or a reaction in MadGraph's language, such as
      `"g g > t t~, (t > w+ b, w+ > mu+ vm), (t~ > w- b~, w- > d u~)"`.
    - `incoming`: PDG codes of the two incoming partons, e.g. `(2, -2)` or `(21, 21)`; None where a reaction
      has one initial state.
    - `momenta`: `[..., legs, 4]`, (E, px, py, pz) in GeV, the incoming first (physical, positive energy),
      then outgoing in the menu's order, or the reaction's legs as they are written.
    - `subset`: of the diagrams of a process of the menu, e.g. `"zz"`.
    - `model`: of a reaction: `"sm"` (default), `"heft"`, `"hvv"`, or a UFO folder; `param_card`, the path of
      a card with its parameters; `labels`, of several particles, e.g. `{"q": "u d s c"}`.
    - `parameters`: by their names, e.g. `MZ=91.0`: any of `Parameters`, or of the model.

    **Returns** float64 `[...]`, in GeV^(8 − 2 legs); NaN where a momentum is NaN or masked. The |M|² of
    several final states, where labels stand for them, are summed.

    **Warns** (`DeepMEMWarning`) of points off the mass shell, or whose momentum is not conserved, by more
    than 1e-6 of their energy: |M|² is not defined there; and of partons with more energy than a proton has
    at `sqrt_s`.

    **Raises** `UnknownNameError`, `ParameterError`, `InitialStateError`, `MomentaError`, `ReactionError` or
    `ModelError`, all of them ValueErrors.
    """
    if ">" in process:
        if subset is not None:
            raise UsageError(
                f"subset={subset!r} is of a process of the menu: write a reaction of these diagrams"
            )
        read_in = Theory.of(labels, model=model or "sm", param_card=param_card)
        return of_reaction(process, incoming, momenta, read_in, **parameters)
    if subset is None and (line := menu_line(process)) is not None:
        usual = line.theory | ({} if model is None else {"model": model})
        read_in = Theory.of(labels, param_card=param_card, **usual)
        return of_reaction(line.reaction, incoming, momenta, read_in, **parameters)
    entry = find_process(process)
    given = {"model": model, "param_card": param_card, "labels": labels}
    for name in (name for name, value in given.items() if value is not None):
        raise UsageError(f"{name} is of a reaction: {process} is a process of the menu, which has its own")
    if incoming is None:
        raise InitialStateError(f"{process} has several initial states: give incoming, such as (2, -2)")
    channel = entry.channel(incoming)
    if subset is not None and subset not in entry.subsets:
        raise unknown_name(f"subset of {process}", subset, entry.subsets)
    theory = checked_parameters(**parameters)
    points = checked_momenta(momenta, entry.name, 2, entry.outgoing)
    flat = points.reshape(-1, entry.legs, 4)
    codes: list[int | str] = ["first parton", "second parton", *entry.outgoing]
    masses = [float(theory.MB) if abs(c) == 5 else 0.0 for c in (0, 0, *entry.outgoing)]
    for text in beyond_beam(flat, float(theory.sqrt_s)) + doubts(flat, codes, masses):
        warnings.warn(text, DeepMEMWarning, stacklevel=2)
    result = np.empty(len(flat))
    with jax.enable_x64(True):
        function = _compiled(entry, channel, subset)
        for start in range(0, len(flat), LARGEST_BATCH):
            batch = flat[start : start + LARGEST_BATCH]
            size = max(SMALLEST_BATCH, 1 << (len(batch) - 1).bit_length())
            padded = np.concatenate([batch, np.broadcast_to(batch[-1:], (size - len(batch), entry.legs, 4))])
            legs = tuple(
                tuple(np.ascontiguousarray(padded[:, leg, i]) for i in range(4)) for leg in range(entry.legs)
            )
            result[start : start + len(batch)] = np.asarray(function(legs, theory))[: len(batch)]
    return result.reshape(points.shape[:-2])


@lru_cache(maxsize=64)
def _compiled(process: Process, channel: int, subset: str | None) -> Callable:
    def one_point(momenta, theory):
        return process.matrix_elements(momenta, theory, subset)[channel]

    return jax.jit(jax.vmap(one_point, in_axes=(0, None)))
