"""Momenta as users give them, checked; and what to say where they are none of a scattering."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from deepmem.physics.errors import MomentaError

# How far momenta may be off shell, or not conserved, as a part of the energy.
_OFF = 1e-6


def checked_momenta(momenta: ArrayLike, name: str, incoming: int, outgoing: Sequence[int]) -> np.ndarray:
    """The momenta as float64 `[..., legs, 4]`, NaN where they are masked.

    **Arguments:** `name`, of the process; `incoming`, how many legs come in; `outgoing`, PDG codes.

    **Raises** `MomentaError` for another shape, for complex numbers and for incoming energies below 0.
    """
    legs, first = incoming + len(outgoing), "two partons" if incoming == 2 else f"{incoming} incoming"
    try:
        if np.iscomplexobj(momenta):
            raise TypeError("they are complex")
        if isinstance(momenta, np.ma.MaskedArray):
            momenta = np.ma.filled(momenta.astype(np.float64), np.nan)
        points = np.asarray(momenta, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MomentaError(f"momenta must be an array of numbers [..., {legs}, 4]: {error}") from None
    if points.ndim < 2 or points.shape[-2:] != (legs, 4):
        raise MomentaError(
            f"{name} needs momenta of shape [..., {legs}, 4] ({first}, then "
            f"{', '.join(map(str, outgoing))}; each E, px, py, pz), got {points.shape}"
        )
    if np.any(points[..., :incoming, 0] < 0):
        raise MomentaError("incoming momenta must be physical, with positive energy: turn their signs round")
    return points


def doubts(
    points: np.ndarray, codes: Sequence[int | str], masses: Sequence[float], incoming: int = 2
) -> list[str]:
    """What is to be said of momenta `[points, legs, 4]` that are off shell or not conserved, a sentence each.

    **Arguments:** `codes`, what each leg is called; `masses` in GeV.
    """
    shells = np.asarray(masses, dtype=np.float64)
    with np.errstate(all="ignore"):
        energy = points[..., 0]
        # of a momentum, how far its energy is from √(p² + m²); of all, how much is made or lost
        of_shell = np.hypot(np.linalg.norm(points[..., 1:], axis=-1), shells)
        off = np.abs(energy - of_shell) / np.maximum(np.abs(energy), of_shell)
        lost = points[:, :incoming].sum(axis=1) - points[:, incoming:].sum(axis=1)
        lost = np.abs(lost).max(axis=1) / np.abs(energy[:, :incoming]).sum(axis=1)
    off, lost = np.nan_to_num(off, posinf=0.0), np.nan_to_num(lost, posinf=0.0)
    texts = []
    if (off > _OFF).any():
        worst, leg = np.unravel_index(off.argmax(), off.shape)
        texts.append(
            f"{(off > _OFF).any(axis=1).sum()} of {len(points)} points are off the mass shell: at worst leg "
            f"{leg} ({codes[leg]}) of point {worst}, of mass {shells[leg]:g} GeV, by {off.max():.2g} of its "
            "energy; |M|² is not defined there"
        )
    if (lost > _OFF).any():
        texts.append(
            f"{(lost > _OFF).sum()} of {len(points)} points do not conserve momentum: at worst point "
            f"{lost.argmax()}, by {lost.max():.2g} of its energy; |M|² is not defined there"
        )
    return texts


def beyond_beam(points: np.ndarray, sqrt_s: float) -> list[str]:
    """Whether a parton has more energy than a proton at √s (GeV), in a sentence."""
    largest = float(np.max(np.nan_to_num(points[:, :2, 0]), initial=0.0))
    if largest <= sqrt_s / 2 * (1 + _OFF):
        return []
    return [
        f"an incoming parton has {largest:.6g} GeV, more than half of sqrt_s = {sqrt_s:g} GeV: are the "
        "momenta in MeV?"
    ]
