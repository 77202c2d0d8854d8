"""Events as the engine sees them: the legs of the process, in its order, of what columns hold."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from deepmem import inputs
from deepmem.data.table import as_table, has_column
from deepmem.inputs import Reason
from deepmem.kinematics import from_pt_eta_phi_mass
from deepmem.physics.precision import double_precision
from deepmem.physics.processes import refuse_summed
from deepmem.physics.processes.base import MISSING_COLUMNS, Process
from deepmem.physics.weights.hypothesis import Hypothesis


class Measured(NamedTuple):
    """What columns hold of events: of each visible leg `[events, legs]`, in the order of the process."""

    energy: np.ndarray
    """GeV."""
    eta: np.ndarray
    phi: np.ndarray
    mass: np.ndarray
    """Of the parton: 0 for a lepton; a jet's own serves to get its energy from its pT."""
    missing: np.ndarray | None = None
    """Missing (p_x, p_y) in GeV `[events, 2]`, where particles escape; −K_meas where the recoil is used."""
    activity: np.ndarray | None = None
    """The scalar sum of pT in GeV that its response may depend on `[events]`."""
    own: np.ndarray | None = None
    """The mass of what is seen of each leg, where there are taus: that of a tau's hadrons, else 0."""

    @property
    def size(self) -> int:
        """How many events there are."""
        return len(self.energy)

    def rows(self, index: np.ndarray) -> Measured:
        """Some of the events."""
        return jax.tree.map(lambda values: values[index], self)


def visible(alpha: Hypothesis, events: Any) -> tuple[Measured, np.ndarray]:
    """What `examined` says, and which events can be computed."""
    found, reason = examined(alpha, events)
    return found, reason == Reason.NONE


def examined(alpha: Hypothesis, events: Any) -> tuple[Measured, np.ndarray]:
    """What was measured of the visible particles, and why an event has no weight.

    Leptons are told apart by charge, and by flavour where the process says so and events know it, not by
    order; of several that fit a leg, the first in the file is taken. An event that lacks one, or with a value
    that makes no sense, can't be computed: its weight has status 3, and the reason is an `inputs.Reason`,
    int32 `[events]`. The first jet is the b quark's.

    **Raises** `UsageError` where a column is missing, and for several final states or light jets.
    """
    process = alpha.process
    refuse_summed(process)
    names = alpha.columns_of(partial(has_column, events))
    table = as_table(events, names)
    at = inputs.with_unknown_codes(dict(zip(names, table.T, strict=True)), process.flavour_columns)
    bad = inputs.implausible(at)
    legs, lacking = _legs(alpha, at, len(table))
    signs = _other_signs(alpha, at)
    bad[Reason.SIGNS], bad[Reason.FLAVOURS] = lacking & signs, lacking & ~signs
    with np.errstate(over="ignore", invalid="ignore"):
        energy = np.hypot(legs.pt * np.cosh(legs.eta), legs.own_mass)
    bad[Reason.OVERFLOW] = ~np.isfinite(energy).all(axis=1)
    covered = alpha.detector.covers(process.visible_classes, legs.eta, energy)
    bad[Reason.NO_RESPONSE] = ~np.all(covered, axis=1)
    found, reason = Measured(energy, legs.eta, legs.phi, legs.mass), inputs.first(bad, len(table))
    return with_missing(alpha, at, found, legs.pt, np.arange(len(table))), reason


def with_missing(
    alpha: Hypothesis, at: Mapping[str, np.ndarray], found: Measured, pt: np.ndarray, rows: np.ndarray
) -> Measured:
    """The same with missing p_T, where particles escape; with −K_meas in its place where the recoil is used.

    **Arguments:** `at`, columns `[events]`; `pt` of the legs in GeV `[rows, legs]`; `rows`, their events.
    """
    if not alpha.process.escapes and alpha.met != "recoil":
        return found
    balanced = alpha.met == "balance"
    missing = _transverse(*(np.zeros(len(rows)) if balanced else at[name][rows] for name in MISSING_COLUMNS))
    if alpha.met == "recoil":
        missing = missing + _transverse(pt, found.phi).sum(axis=1)
    return found._replace(missing=missing, activity=pt.sum(axis=1))


def _other_signs(alpha: Hypothesis, at: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which events have leptons of other charges than the process, whatever their flavours."""
    codes = [
        code
        for code, kind in zip(alpha.process.visible, alpha.process.visible_classes, strict=True)
        if kind == "lepton"
    ]
    signs = np.sort(np.sign([at[f"lep{i + 1}_Charge"] for i in range(len(codes))]), axis=0)
    return (signs != np.sort(-np.sign(codes))[:, None]).any(axis=0)


def measured(alpha: Hypothesis, events: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """What was measured of the visible legs, in the process's order, for cuts: (E, px, py, pz) in GeV.

    **Arguments:** `events` as for `compute`. **Returns** `[events, legs, 4]`, NaN where an event can't be
    computed, and the missing (p_x, p_y) `[events, 2]`; None where nothing escapes and no recoil is used.
    """
    refuse_summed(alpha.process)
    names = tuple(dict.fromkeys((*alpha.measured_columns, *alpha.columns_of(partial(has_column, events)))))
    table = as_table(events, names)
    at = inputs.with_unknown_codes(dict(zip(names, table.T, strict=True)), alpha.process.flavour_columns)
    legs, _ = _legs(alpha, at, len(table))
    with double_precision(), np.errstate(over="ignore", invalid="ignore"):
        parts = from_pt_eta_phi_mass(legs.pt, legs.eta, legs.phi, legs.own_mass)
    momenta = np.stack([np.asarray(part) for part in parts], axis=-1)
    momenta[examined(alpha, events)[1] != Reason.NONE] = np.nan
    if not set(MISSING_COLUMNS) <= at.keys():
        return momenta, None
    return momenta, _transverse(*(at[name] for name in MISSING_COLUMNS))


def _transverse(size: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """(p_x, p_y) `[..., 2]`."""
    return np.stack([size * np.cos(phi), size * np.sin(phi)], axis=-1)


class _Legs(NamedTuple):
    """Columns by leg `[events, legs]`; `own_mass`, of a jet as measured, `mass`, that of the parton."""

    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    own_mass: np.ndarray
    mass: np.ndarray


def _legs(alpha: Hypothesis, at: Mapping[str, np.ndarray], count: int) -> tuple[_Legs, np.ndarray]:
    """Columns by leg, `[events, legs]`, and which events lack a lepton of the charge or flavour of one."""
    process = alpha.process
    names = [f"lep{i}" for i in range(1, len(process.leptons) + 1)]
    charge = np.stack([at[f"{name}_Charge"] for name in names], axis=1)
    code = np.abs([at.get(f"{name}_PDG", np.zeros(count)) for name in names]).T
    taken, rows, jets = np.zeros((count, len(names)), dtype=bool), np.arange(count), 0
    lacking = _other_pair(process, code)
    as_written = bool(process.reaction) or "lep1_PDG" in process.columns
    found: list[_Legs] = []
    for pdg_code, kind in zip(process.visible, process.visible_classes, strict=True):
        if kind == "lepton":
            fits = np.sign(charge) == -np.sign(pdg_code)
            if as_written:
                fits &= (code == 0) | (code == abs(pdg_code))
            free = fits & ~taken
            lacking |= ~free.any(axis=1)
            chosen, candidates = free.argmax(axis=1), names
            taken[rows, chosen] = True
            own = mass = np.zeros(count)
        else:
            jets += 1
            candidates, chosen = [f"j{jets}"], np.zeros(count, dtype=int)
            own = np.abs(at[f"j{jets}_M"])  # one below 0 by rounding is that of a massless jet
            mass = own if alpha.b_mass == "jet" else np.full(count, float(np.ravel(alpha.parameters.MB)[0]))
        pt, eta, phi = (
            np.stack([at[f"{name}_{suffix}"] for name in candidates], axis=1)[rows, chosen]
            for suffix in ("PT", "Eta", "Phi")
        )
        found.append(_Legs(pt, eta, phi, own, mass))
    return _Legs(*(np.stack(values, axis=1) for values in zip(*found, strict=True))), lacking


def _other_pair(process: Process, code: np.ndarray) -> np.ndarray:
    """Which events have leptons of two flavours where a process of the menu has a pair of one, or of one
    where it has two.

    **Arguments:** `code`, |PDG code| `[events, leptons]`, 0 where it is not known.
    """
    if process.reaction or not process.is_pair:
        return np.zeros(len(code), dtype=bool)
    first, second = map(abs, process.leptons)
    return (code != 0).all(axis=1) & ((code[:, 0] == code[:, 1]) != (first == second))
