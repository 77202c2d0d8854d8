"""What the detector makes of generated momenta, and the columns that a file holds of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.events.recipes import Recipe
from deepmem.physics.detector.detector import Detector
from deepmem.physics.detector.entries import check_classes
from deepmem.physics.detector.entries import detector as detector_of
from deepmem.physics.precision import double_precision
from deepmem.physics.processes.base import Process
from deepmem.physics.weights.event_columns import columns_of, jet_order, lepton_order, polar, polar_mass
from deepmem.selection import CHARGED_LEPTONS, JETS, NEUTRINOS, angles, of_kind

CHUNK = 4096


def detector_for(process: Process, recipe: Recipe, response: Mapping[str, Any] | None) -> Detector:
    """The process's own responses, but for those given; missing pT is measured of every process."""
    noise = {} if recipe.missing_pt is None else {"met": {"c": recipe.missing_pt}}
    classes = sorted(set(process.visible_classes))
    check_classes(response or {}, classes)
    found = detector_of({**process.responses, **noise, **(response or {})}, classes, missing=True)
    return found.used_by("recoil" if found.recoil is not None and process.has_jets else "event")


def measure(
    true: np.ndarray, classes: tuple[str, ...], detector: Detector, b_mass: float, u: np.ndarray
) -> np.ndarray:
    """Measured momenta: energies drawn from the responses, directions and velocities kept.

    NaN where the true energy lies outside of its response's support of the measured one: no weight's
    integral reaches there, so σ_vis has no such events, and no selection keeps them.

    **Arguments:** `true`, `[events, legs, 4]` in GeV; `b_mass`, of the parton that weights take to be
    behind a jet, GeV; `u` `[events, legs]` in (0, 1). Neutrinos stay.
    """
    measured = true.copy()
    for leg, kind in enumerate(classes):
        if kind != "invisible":
            mass = b_mass if kind == "bjet" else 0.0
            energy = _measured_energy(detector, kind, true[:, leg], u[:, leg], mass)
            measured[:, leg] *= (energy / true[:, leg, 0])[:, None]
    return measured


def missing_momentum(
    true: np.ndarray, measured: np.ndarray, codes: tuple[int, ...], detector: Detector, u: np.ndarray
) -> np.ndarray | None:
    """Missing (p_x, p_y) in GeV, `[events, 2]`; None where nothing is missing but what is mismeasured.

    **Arguments:** momenta `[events, legs, 4]` in GeV, `u` `[events, 2]` in (0, 1).
    """
    neutrinos = of_kind(codes, NEUTRINOS)
    if not neutrinos and detector.transverse is None:
        return None
    # where no neutrino escapes, leptons that are measured too high leave pT missing on the other side
    missing = true[:, neutrinos, 1:3].sum(axis=1) if neutrinos else (true - measured)[..., 1:3].sum(axis=1)
    seen = measured[:, of_kind(codes, CHARGED_LEPTONS + JETS)]
    activity = np.hypot(seen[..., 1], seen[..., 2]).sum(axis=1)
    total = true[..., 1:3].sum(axis=1)
    rows = np.stack([*missing.T, *total.T, *seen[..., 1:3].sum(axis=1).T, *u.T, activity])
    return _in_chunks(partial(_draw_missing, detector), rows).T


@jax.jit
def _draw_missing(detector: Detector, rows: jax.Array) -> jax.Array:
    *pairs, activity = rows
    escaped, total, seen, numbers = ((pairs[i], pairs[i + 1]) for i in range(0, 8, 2))
    return jnp.stack(detector.draw_missing(escaped, total, seen, activity, numbers))


def _measured_energy(detector: Detector, kind: str, p: np.ndarray, u: np.ndarray, mass: float) -> np.ndarray:
    """Measured energies or NaN."""
    eta, _ = angles(p)
    draw = partial(_draw_energies, detector, kind, mass)
    return _in_chunks(draw, np.stack([eta, p[:, 0], u]))


def _in_chunks(function: Callable[[jax.Array], jax.Array], rows: np.ndarray) -> np.ndarray:
    """A function of `[numbers, events]`, in pieces of one size, for which it is compiled once."""
    events = rows.shape[1]
    padded = np.full((len(rows), -(-events // CHUNK) * CHUNK), 0.5)
    padded[:, :events] = rows
    with double_precision():
        parts = [
            np.asarray(function(jnp.asarray(padded[:, k : k + CHUNK])))
            for k in range(0, padded.shape[1], CHUNK)
        ]
    return np.concatenate(parts, axis=-1)[..., :events]


@partial(jax.jit, static_argnums=1)
def _draw_energies(detector: Detector, kind: str, mass: float, rows: jax.Array) -> jax.Array:
    def one(at: jax.Array, true: jax.Array, v: jax.Array) -> jax.Array:
        rec, reached = detector.draw(kind, at, true, v, mass)
        return jnp.where(reached, rec, jnp.nan)

    return jax.vmap(one)(*rows)


def file_columns(
    born: np.ndarray,
    true: np.ndarray,
    measured: np.ndarray,
    missing: np.ndarray | None,
    codes: tuple[int, ...],
) -> dict[str, np.ndarray]:
    events = np.arange(len(measured))
    columns = columns_of(measured, codes, missing)
    order = lepton_order(measured, codes)
    legs = {f"lep{index + 1}": order[:, index] for index in range(order.shape[1])}
    legs |= {f"j{index + 1}": leg for index, leg in enumerate(jet_order(measured, codes).T)}
    if of_kind(codes, NEUTRINOS):
        # a W's neutrino follows its lepton in the process's order of legs
        legs |= {f"nu{index + 1}": order[:, index] + 1 for index in range(order.shape[1])}
    for prefix, momenta in (("true", true), ("born", born)):
        for name, leg in legs.items():
            of_leg = polar_mass if name.startswith("j") else polar
            columns |= of_leg(momenta[events, leg], f"{prefix}_{name}")
            if prefix == "born" and name.startswith("j"):
                columns[f"born_{name}_PDG"] = np.asarray(codes, dtype=np.int32)[leg]
    return {
        name: array if array.dtype == np.int32 else array.astype(np.float32)
        for name, array in columns.items()
    }
