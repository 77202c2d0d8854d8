"""|M|² for users: NumPy in, NumPy out, in double precision whatever JAX is set to."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from deepmem.errors import DeepMEMWarning
from deepmem.physics.errors import MomentaError, unknown_name
from deepmem.physics.processes import all_processes, find_process
from deepmem.physics.processes.base import Process
from deepmem.physics.theory.parameters import Parameters
from deepmem.physics.theory.parameters import parameters as checked_parameters

# A batch's intermediate results stay in the CPU's cache; sizes are powers of two, so compilations are few.
LARGEST_BATCH, SMALLEST_BATCH = 16384, 16
# How far momenta may be off shell, or not conserved, as a part of the energy.
_OFF = 1e-6


def processes() -> dict[str, dict[str, Any]]:
    """The menu: name → title, outgoing, columns, parameters with defaults, dimensions, subsets, paper."""
    return {name: process.menu_entry() for name, process in all_processes().items()}


def matrix_element(
    process: str, incoming: Sequence[int], momenta: ArrayLike, subset: str | None = None, **parameters: float
) -> np.ndarray:
    """|M|², averaged over initial, summed over final spins and colours, with identical-particle factors.

    **Arguments:**

    - `process`: a name of the menu, see `processes`.
    - `incoming`: PDG codes of the two incoming partons, e.g. `(2, -2)` or `(21, 21)`.
    - `momenta`: `[..., legs, 4]`, (E, px, py, pz) in GeV, the two incoming first (physical, positive energy),
      then outgoing in the menu's order. Massless legs are taken to have E = |p⃗|.
    - `subset`: of the diagrams, e.g. `"zz"`.
    - `parameters`: any of `Parameters`, e.g. `MZ=91.0`.

    **Returns** float64 `[...]`, in GeV^(4 − 2n) with n outgoing legs; NaN where a momentum is NaN or masked.

    **Warns** (`DeepMEMWarning`) of points off the mass shell, or whose momentum is not conserved, by more
    than 1e-6 of their energy: |M|² is not defined there; and of partons with more energy than a proton has
    at `sqrt_s`.

    **Raises** `UnknownNameError`, `ParameterError`, `InitialStateError` or `MomentaError`, all of them
    ValueErrors.
    """
    entry = find_process(process)
    channel = entry.channel(incoming)
    if subset is not None and subset not in entry.subsets:
        raise unknown_name(f"subset of {process}", subset, entry.subsets)
    theory = checked_parameters(**parameters)
    points = _check_momenta(momenta, entry)
    flat = points.reshape(-1, entry.legs, 4)
    for text in _off_shell(flat, entry, theory):
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


def _check_momenta(momenta: ArrayLike, process: Process) -> np.ndarray:
    """The momenta as float64, their shape and the sign of the incoming energies checked."""
    try:
        if np.iscomplexobj(momenta):
            raise TypeError("they are complex")
        if isinstance(momenta, np.ma.MaskedArray):
            momenta = np.ma.filled(momenta.astype(np.float64), np.nan)
        points = np.asarray(momenta, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MomentaError(f"momenta must be an array of numbers [..., {process.legs}, 4]: {error}") from None
    if points.ndim < 2 or points.shape[-2:] != (process.legs, 4):
        raise MomentaError(
            f"{process.name} needs momenta of shape [..., {process.legs}, 4] (two partons, then "
            f"{', '.join(map(str, process.outgoing))}; each E, px, py, pz), got {points.shape}"
        )
    if np.any(points[..., :2, 0] < 0):
        raise MomentaError("incoming momenta must be physical, with positive energy: turn their signs round")
    return points


def _off_shell(points: np.ndarray, process: Process, theory: Parameters) -> list[str]:
    """What is to be said of momenta `[points, legs, 4]` that are no momenta of a scattering."""
    codes = ("first parton", "second parton", *process.outgoing)
    masses = np.array([float(theory.MB) if abs(c) == 5 else 0.0 for c in (0, 0, *process.outgoing)])
    with np.errstate(all="ignore"):
        energy = points[..., 0]
        # of a momentum, how far its energy is from √(p² + m²); of all, how much is made or lost
        of_shell = np.hypot(np.linalg.norm(points[..., 1:], axis=-1), masses)
        off = np.abs(energy - of_shell) / np.maximum(np.abs(energy), of_shell)
        lost = points[:, :2].sum(axis=1) - points[:, 2:].sum(axis=1)
        lost = np.abs(lost).max(axis=1) / np.abs(energy[:, :2]).sum(axis=1)
    off, lost = np.nan_to_num(off, posinf=0.0), np.nan_to_num(lost, posinf=0.0)
    texts = []
    largest = float(np.max(np.nan_to_num(energy[:, :2]), initial=0.0))
    if largest > float(theory.sqrt_s) / 2 * (1 + _OFF):
        texts.append(
            f"an incoming parton has {largest:.6g} GeV, more than half of sqrt_s = {theory.sqrt_s:g} GeV: "
            "are the momenta in MeV?"
        )
    if (off > _OFF).any():
        worst, leg = np.unravel_index(off.argmax(), off.shape)
        texts.append(
            f"{(off > _OFF).any(axis=1).sum()} of {len(points)} points are off the mass shell: at worst leg "
            f"{leg} ({codes[leg]}) of point {worst}, of mass {masses[leg]:g} GeV, by {off.max():.2g} of its "
            "energy; |M|² is not defined there"
        )
    if (lost > _OFF).any():
        texts.append(
            f"{(lost > _OFF).sum()} of {len(points)} points do not conserve momentum: at worst point "
            f"{lost.argmax()}, by {lost.max():.2g} of its energy; |M|² is not defined there"
        )
    return texts
