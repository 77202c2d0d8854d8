"""What a detector sees of partons: recoil, responses, and cuts on what was measured.

    σ_vis = ∫ d²K ρ(K) ∫ dσ (E'/E) P(x ∈ R | y),

as `leading_order` says, for any final state whose legs have classes of the detector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import FourVector
from deepmem.physics.detector.detector import Detector
from deepmem.physics.detector.entries import check_classes
from deepmem.physics.detector.entries import detector as detector_of
from deepmem.physics.detector.taus import TAUS, response_class
from deepmem.physics.errors import ParameterError
from deepmem.physics.phasespace.bodies import from_rest_frame
from deepmem.physics.phasespace.trees import INVISIBLE
from deepmem.physics.phasespace.visible import Acceptance
from deepmem.physics.precision import double_precision
from deepmem.physics.weights.parton_level import Reaction
from deepmem.physics.weights.parton_taus import decayed, seen_of_tau
from deepmem.physics.weights.recoil import Recoil, checked_spectrum
from deepmem.physics.weights.settings import RECOIL_EXAMPLE
from deepmem.selection import CHARGED_LEPTONS, JETS, Selection, angles, delta_r, of_kind

_TAU = 15
_MET = ("event", "balance", "recoil")
_BLOCK = 4096
"""Points whose energies are drawn by one program."""
_USUAL = {"lepton": 0.02, "bjet": 0.10, "jet": 0.10, "photon": 0.02, "tau": 0.05}
_BESIDE_NEUTRINOS = {"lepton": 0.05}


class Seen(NamedTuple):
    """Points after recoil and response."""

    true: np.ndarray
    """`[points, legs, 4]`: outgoing momenta in the laboratory, with the recoil, GeV."""
    visible: np.ndarray
    """The same of what is seen of taus, and of all others."""
    measured: np.ndarray
    """The same after the responses; neutrinos as they are; of taus what is seen."""
    missing: np.ndarray | None
    """`[points, 2]`: the measured missing (p_x, p_y); None where nothing escapes and no recoil is used."""
    boost: np.ndarray
    """E'/E."""
    reached: np.ndarray
    """`[points, legs]`: whether a true energy lies in its response's support of the measured one."""
    noise: np.ndarray
    """`[2, points]`: the uniform numbers of the missing p_T's response."""


class View:
    """How a reaction is seen.

    **Arguments:** `spectra`, what was given as `spectrum` and under its earlier name; `response`, the key of
    a configuration; `met`, as for weights (None: its default); `taus`, see `parton_taus.checked_decays`;
    `lost`, where one jet is lost.

    **Raises** `ReactionError` for a leg that nothing measures; `TransferError` where an entry is wrong;
    `ParameterError` for a recoil that is used and has no response, and for decays that are none.
    """

    def __init__(
        self,
        reaction: Reaction,
        selection: Selection,
        spectra: tuple[Recoil | None, Recoil | None],
        response: Mapping[str, Any] | None,
        met: str | None = None,
        taus: str | None = None,
        lost: Acceptance | None = None,
    ) -> None:
        self.lost = lost
        self.kinds = decayed(reaction.name, [leg.kind for leg in reaction.tree.legs], taus)
        self._taus = [leg for leg, kind in enumerate(self.kinds) if kind in TAUS]
        self.escapes = INVISIBLE in self.kinds or bool(self._taus)
        usual = _USUAL | (_BESIDE_NEUTRINOS if INVISIBLE in self.kinds else {})
        classes = tuple(dict.fromkeys(response_class(kind) for kind in self.kinds if kind != INVISIBLE))
        check_classes(response or {}, classes)
        entries = {kind: usual[kind] for kind in classes} | dict(response or {})
        has_jets = bool({*self.kinds} - {"lepton", "photon", INVISIBLE})
        detector = detector_of(entries, classes, self.escapes, self.escapes or has_jets)
        if met is None:
            met = "recoil" if detector.recoil is not None and has_jets else "event"
        if met not in _MET:
            raise ParameterError(f"met must be {' or '.join(_MET)}, got {met!r}")
        if met == "recoil" and detector.recoil is None:
            raise ParameterError(f"met=recoil needs the response of the recoil: {RECOIL_EXAMPLE}")
        self.detector = detector.used_by(met)
        self.selection = selection
        self._spectrum = checked_spectrum(*spectra, self.detector.recoil)
        for part in reaction.parts:
            for codes, _ in part.finals:
                selection.refuse_without_effect(codes)
        if self._taus and reaction.mass(_TAU) == 0:
            raise ParameterError(f"{reaction.name} has taus without a mass MTA, on which their decays depend")
        self._masses = [reaction.mass(leg.particle) for leg in reaction.tree.legs]

    def see(self, momenta: np.ndarray, rng: np.random.Generator) -> Seen:
        """**Arguments:** `momenta` `[points, legs, 4]` of outgoing legs, the total p_T being 0, GeV."""
        count, legs = momenta.shape[:2]
        size, angle = self._spectrum.draw(rng.random((count,))), 2 * np.pi * rng.random((count,))
        true, boost = recoiling(momenta, (size * np.cos(angle), size * np.sin(angle)))
        visible, masses = true.copy(), [np.full(count, mass) for mass in self._masses]
        for leg in self._taus:
            visible[:, leg], masses[leg] = seen_of_tau(self.kinds[leg], true[:, leg], self._masses[leg], rng)
        measured, reached = visible.copy(), np.full((count, legs), True)
        # ndtri(0) is −∞, and random() may return 0
        noise = np.maximum(rng.random((legs + 2, count)), 2.0**-54)
        for leg, kind in enumerate(self.kinds):
            if kind != INVISIBLE:
                measured[:, leg], reached[:, leg] = self._measured(
                    kind, visible[:, leg], noise[leg], masses[leg]
                )
        seen = Seen(true, visible, measured, None, boost, reached, noise[-2:])
        return seen._replace(missing=self._missing(seen))

    @property
    def measures_missing(self) -> bool:
        """Whether missing p_T says something: something escapes, or the recoil is used."""
        return self.escapes or self.detector.recoil is not None

    def _missing(self, points: Seen, lost: int | None = None) -> np.ndarray | None:
        """The measured missing (p_x, p_y) `[points, 2]`; None where nothing escapes and no recoil is used.

        The p_T of a `lost` leg is the recoil's.
        """
        if not self.measures_missing:
            return None
        true, measured = points.true, points.measured
        hidden = [leg for leg, kind in enumerate(self.kinds) if kind == INVISIBLE]
        seen = [leg for leg, kind in enumerate(self.kinds) if kind != INVISIBLE and leg != lost]
        activity = np.hypot(measured[:, seen, 1], measured[:, seen, 2]).sum(axis=1)
        hidden_of_taus = true[:, self._taus] - points.visible[:, self._taus]
        of_neutrinos = np.concatenate([true[:, hidden], hidden_of_taus], axis=1)
        escaped, total, of_seen = (
            each[..., 1:3].sum(axis=1).T for each in (of_neutrinos, true[:, hidden + seen], measured[:, seen])
        )
        rows = np.stack([*escaped, *total, *of_seen, *points.noise, activity])
        return _in_blocks(partial(_drawn_missing, self.detector), rows).T

    def passed(self, seen: Seen, finals: Sequence[tuple[int, ...]]) -> np.ndarray:
        """How much of points is in the selection, for each final state `[finals, points]`.

        That is 0 or 1; where a jet is lost Σ_ℓ (1 − (1 − loss) [ℓ would be seen]) [all others pass].
        """
        if self.lost is not None:
            return np.stack([self._without_one(seen, codes, self.lost) for codes in finals])
        possible = seen.reached.all(axis=1)
        return np.stack(
            [possible & self.selection.passes(seen.measured, codes, seen.missing) for codes in finals]
        )

    def _without_one(self, seen: Seen, codes: Sequence[int], lost: Acceptance) -> np.ndarray:
        """Σ over the jets, one of which is lost and apart from all other jets and leptons `[points]`."""
        found = np.zeros(len(seen.true))
        others = of_kind(codes, JETS + CHARGED_LEPTONS)
        for leg in of_kind(codes, JETS):
            eta, _ = angles(seen.true[:, leg])
            pt = np.hypot(seen.measured[:, leg, 1], seen.measured[:, leg, 2])
            hidden = 1 - (1 - lost.loss) * ((pt > lost.pt) & (np.abs(eta) < lost.eta))
            rest = [other for other in range(len(codes)) if other != leg]
            kept = seen.reached[:, rest].all(axis=1)
            for other in others:
                if other != leg:
                    kept &= delta_r(seen.true[:, leg], seen.true[:, other]) > lost.delta_r
            missing = self._missing(seen, lost=leg)
            kept &= self.selection.passes(seen.measured[:, rest], [codes[other] for other in rest], missing)
            found += hidden * kept
        return found

    def _measured(
        self, kind: str, p: np.ndarray, u: np.ndarray, mass: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The measured momentum, another energy with the same direction and mass; and whether the true one is
        in its support."""
        length = np.sqrt((p[:, 1:] ** 2).sum(axis=1))
        with np.errstate(divide="ignore"):
            eta = np.arcsinh(p[:, 3] / np.hypot(p[:, 1], p[:, 2]))
        rows = np.stack([eta, np.hypot(length, mass), u, np.broadcast_to(mass, u.shape)])
        energy, reached = _in_blocks(partial(_drawn, self.detector, kind), rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            stretch = np.sqrt(np.maximum(energy**2 - mass**2, 0.0)) / length
        return np.column_stack([energy, p[:, 1:] * stretch[:, None]]), (reached > 0) & (stretch > 0)


def _in_blocks(function: Callable[[np.ndarray], jax.Array], rows: np.ndarray) -> np.ndarray:
    """A function of `[numbers, points]`, in blocks of one size, for which it is compiled once."""
    count = rows.shape[1]
    padded = np.full((len(rows), max(1, -(-count // _BLOCK)) * _BLOCK), 0.5)
    padded[:, :count] = rows
    with double_precision():
        blocks = np.split(padded, padded.shape[1] // _BLOCK, axis=1)
        parts = [np.asarray(function(block)) for block in blocks]
    return np.concatenate(parts, axis=1)[:, :count]


@partial(jax.jit, static_argnums=1)
def _drawn(detector: Detector, kind: str, rows: jax.Array) -> jax.Array:
    energy, reached = jax.vmap(partial(detector.draw, kind))(*rows)
    return jnp.stack([energy, reached])


@jax.jit
def _drawn_missing(detector: Detector, rows: jax.Array) -> jax.Array:
    *pairs, activity = rows
    escaped, total, seen, noise = ((pairs[i], pairs[i + 1]) for i in range(0, 8, 2))
    return jnp.stack(detector.draw_missing(escaped, total, seen, activity, noise))


def recoiling(momenta: np.ndarray, kick: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Legs boosted across the beam until their total p_T is K, with p_z as it was; and E'/E.

    γ = E/E', γβ = K/E'. **Arguments:** `momenta` `[points, legs, 4]` with a total p_T of 0.
    """
    total = momenta.sum(axis=1)
    energy = total[:, 0]
    boosted = np.sqrt(energy**2 + kick[0] ** 2 + kick[1] ** 2)
    across: FourVector = (boosted, kick[0], kick[1], np.zeros_like(energy))
    moved = [
        np.stack(from_rest_frame(tuple(momenta[:, leg].T), across, energy), axis=-1)
        for leg in range(momenta.shape[1])
    ]
    return np.stack(moved, axis=1), energy / boosted
