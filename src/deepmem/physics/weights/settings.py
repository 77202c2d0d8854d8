"""What may be set of a hypothesis, by name: checked here for weights and for cross-sections alike."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import jax
import numpy as np

from deepmem.errors import DeepMEMWarning
from deepmem.event import Monomials
from deepmem.physics.detector.detector import Detector
from deepmem.physics.detector.entries import check_classes, detector
from deepmem.physics.errors import ParameterError, unknown_name
from deepmem.physics.phasespace.visible import Acceptance
from deepmem.physics.processes.base import JET_SUFFIXES, TAG_SUFFIX, Process
from deepmem.physics.processes.generated import Generated
from deepmem.physics.reactions import read
from deepmem.physics.theory.parameters import Parameters, electroweak, parameters
from deepmem.physics.theory.polynomial import Polynomial
from deepmem.selection import Selection

FREE = ("[:]", "polynomial")
"""What a coupling is set to that stays free."""

_electroweak = jax.jit(electroweak)  # one program in place of ten
FLAVOURS = ("b", "c", "light")
"""What a tag tells apart."""
Tagging: TypeAlias = tuple[tuple[str, float | str], ...]
"""The probability of a tag by flavour, or the end of the names of columns that have it."""

LARGEST_R = 0.3
"""Relative resolutions `r_<class>` are below this."""


def check_names(process: Process, names: Iterable[str], more: Iterable[str] = ()) -> None:
    """Refuse a name that has no effect on the process; `more` names are known beside its own.

    **Raises** `UnknownNameError` with the nearest known name.
    """
    known = ["sqrt_s", *process.parameters, "Q", "flavours", *(f"r_{kind}" for kind in process.responses)]
    known += more
    for name in names:
        if name not in known:
            raise unknown_name(f"parameter of {process.name}", name, known)


def parameters_of(process: Process, settings: Mapping[str, Any]) -> Parameters:
    """The theory parameters of a process, checked; a reaction's are those of its model.

    **Raises** as `parameters` does.
    """
    generated = process.matrix_elements
    if process.reaction and isinstance(generated, Generated):
        return generated.parameters(settings)
    return parameters(**settings)


def at_settings(process: Process, names: Iterable[str]) -> Process:
    """The process where couplings of a reaction's model that are 0 by default and not set stay so."""
    generated = process.matrix_elements
    if process.reaction and isinstance(generated, Generated):
        names = tuple(names)
        variants = tuple(each._replace(process=at_settings(each.process, names)) for each in process.variants)
        return replace(process, matrix_elements=generated.without_others(names), variants=variants)
    return process


def free_couplings(process: Process, settings: Mapping[str, Any]) -> Polynomial | None:
    """The polynomial that |M|² is in the couplings that are left free; None where none is.

    **Raises** `ParameterError` for a process that is no reaction, and as `Read.polynomial` does.
    """
    free = [name for name, value in settings.items() if isinstance(value, str) and value in FREE]
    if not free:
        return None
    generated = process.matrix_elements
    if not (process.reaction and isinstance(generated, Generated)):
        raise ParameterError(
            f"{free[0]} of {process.name} can't be left free: a polynomial needs a reaction, such as "
            f"'{process.name}=g g > h > e+ e- mu+ mu-' with model=hvv"
        )
    given = [name for name in settings if name in generated.defaults and name not in free]
    return read(generated.reaction, generated.theory).polynomial(free, given)


def monomials_of(process: Process, polynomial: Polynomial) -> Monomials:
    """The terms of a polynomial in couplings of a process, and these at their defaults."""
    usual = process.menu_entry()["parameters"]
    defaults = tuple(float(usual[name] or 0.0) for name in polynomial.names)
    return Monomials(polynomial.names, polynomial.exponents, defaults)


def checked_flavours(flavours: Any) -> int:
    """The number of quark flavours in the proton: 4, or 5 with b quarks."""
    if isinstance(flavours, bool) or flavours not in (4, 5):
        raise ParameterError(f"flavours must be 4 or 5, got {flavours!r}")
    return int(flavours)


def checked_tagging(tagging: Any) -> Tagging:
    """The probability that a jet is tagged, by flavour, from {"b": 0.77, "c": 0.15, "light": 0.01}.

    In place of a number there may be the end of the names of columns: "EffB", of j1_EffB, j2_EffB, ….

    **Raises** `ParameterError` for other flavours, a number that is no probability, or a name that is none.
    """
    if tagging is None:
        return ()
    if not isinstance(tagging, Mapping) or tagging.keys() != set(FLAVOURS):
        raise ParameterError(
            "tagging must be the probability that a jet of each flavour is tagged, such as "
            f"{{'b': 0.77, 'c': 0.15, 'light': 0.01}}, got {tagging!r}"
        )
    return tuple((flavour, _chance(flavour, tagging[flavour])) for flavour in FLAVOURS)


def _chance(flavour: str, value: Any) -> float | str:
    """The probability of a tag, or the end of the names of its columns."""
    if isinstance(value, str):
        if not value.isidentifier() or value in (*JET_SUFFIXES, TAG_SUFFIX):
            raise ParameterError(
                f"tagging of {flavour} must be a probability, or the end of columns of jets such as 'EffB' "
                f"for j1_EffB, j2_EffB, …, got {value!r}"
            )
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ParameterError(f"tagging of {flavour} must be a probability between 0 and 1, got {value!r}")
    return float(value)


def checked_lost(lost: Any, selection: Any) -> Acceptance | None:
    """Where a jet is seen, from 1 or {"legs": 1, "loss": 0.02} and the selection of the events.

    In place of the selection `lost` may have `jet_pt`, `jet_eta` and `jet_delta_r`, as `lost_entry` does.

    **Raises** `ParameterError` for another number of legs, a loss that is no probability, no cuts on jets, or
    cuts that are of b jets or of pairs of jets alone.
    """
    if lost in (None, 0, False):
        if selection is not None:
            raise ParameterError("a selection says where jets are lost: without lost no weight depends on it")
        return None
    entry = dict(lost) if isinstance(lost, Mapping) else {"legs": lost}
    known = ("legs", "loss", "jet_pt", "jet_eta", "jet_delta_r")
    loss = entry.get("loss", 0.0)
    legs = entry.get("legs", 1)
    number = isinstance(loss, int | float) and not isinstance(loss, bool) and 0 <= loss < 1
    if isinstance(legs, bool) or legs != 1 or not number or not entry.keys() <= set(known):
        raise ParameterError(
            f'lost must be 1, or {{"legs": 1, "loss": 0.02}} with a loss from 0 to below 1, got {lost!r}'
        )
    given = {name: entry[name] for name in known[2:] if name in entry}
    cuts = Selection.of(given) if given else Selection.of(selection)
    if not cuts.jet_pt or cuts.jet_pt[-1] == 0 or not np.isfinite(cuts.jet_eta):
        raise ParameterError(
            "lost needs the cuts that lose jets: give the selection of the events, with jet_pt and jet_eta"
        )
    for name in ("jet_jet_delta_r", "bjet_pt", "bjet_eta", "bjet_delta_r"):
        if getattr(cuts, name) != getattr(Selection, name):
            raise ParameterError(f"lost knows jet_pt, jet_eta and jet_delta_r, and not selection.{name}")
    return Acceptance(float(loss), cuts.jet_pt[-1], cuts.jet_eta, cuts.jet_delta_r)


def lost_entry(acceptance: Acceptance) -> dict[str, float]:
    """The setting `lost` that makes it, without a selection."""
    loss, pt, eta, delta_r = map(float, acceptance)
    return {"legs": 1, "loss": loss, "jet_pt": pt, "jet_eta": eta, "jet_delta_r": delta_r}


def checked_detector(
    process: Process, settings: dict[str, Any], response: Mapping[str, Any] | None
) -> Detector:
    """The detector that sees a process: each class as configured, by `r_<class>`, or by default.

    **Arguments:** `settings`, of which each `r_<class>` and `K0` are taken out; `response`, a configuration's
    key, with `met` for processes with neutrinos and `recoil` for those with jets, too.

    **Raises** `ParameterError` for a class that is given twice, a resolution beyond `LARGEST_R`, or a prior
    of a recoil without a response; `TransferError` where an entry is wrong.
    """
    entries = dict(response or {})
    given = [kind for kind in process.responses if settings.get(f"r_{kind}") is not None]
    check_classes(entries, process.response_classes, given)
    for kind, default in process.responses.items():
        r = settings.pop(f"r_{kind}", None)
        if r is not None and kind in entries:
            raise ParameterError(f"r_{kind} and a response for {kind} are both given: leave one out")
        if r is not None and not (isinstance(r, int | float) and 0 <= r < LARGEST_R):
            raise ParameterError(
                f"r_{kind} must be a relative resolution between 0 and {LARGEST_R:g}, got {r!r}"
            )
        entries.setdefault(kind, default if r is None else r)
    if process.knows_recoil and (median := settings.pop("K0", None)) is not None:
        entries["recoil"] = with_prior(entries.get("recoil"), median)
    return detector(entries, process.response_classes, process.escapes, process.knows_recoil)


def with_prior(entry: Any, median: Any) -> Mapping[str, Any]:
    """A recoil's entry of a response with the prior that was set beside it."""
    if entry is None:
        raise ParameterError(f"K0 is a prior of the recoil, which has no response here: {RECOIL_EXAMPLE}")
    said = dict(entry) if isinstance(entry, Mapping) else {"c": entry}
    if said.get("K0", median) != median:
        raise ParameterError(
            f"K0 is set to {median!r}, and to {said['K0']!r} in the response of the recoil: leave one out"
        )
    return said | {"K0": median}


RECOIL_EXAMPLE = 'configure one, such as "response": {"recoil": {"c": 15, "b": 0.5}} (σ² = c² + b² H)'


def checked_words(process: Process, settings: dict[str, Any], seen: Detector) -> dict[str, str]:
    """The settings that are one of a few words, of which `settings` are taken out; by default the first one.

    Where a response of the recoil is configured and there are jets, `met` is `recoil` by default.

    **Raises** `ParameterError` for another word, and for missing p_T without the response that it takes, or
    with one that it does not.
    """
    usual = {name: allowed[0] for name, allowed in process.choices.items()}
    if seen.recoil is not None and process.has_jets:
        usual["met"] = "recoil"
    words = {name: settings.pop(name, word) for name, word in usual.items()}
    for name, word in words.items():
        if word not in (allowed := process.choices[name]):
            raise ParameterError(f"{name} must be {' or '.join(allowed)}, got {word!r}")
    met = words.get("met")
    if met == "recoil" and seen.recoil is None:
        raise ParameterError(f"met=recoil needs the response of the recoil: {RECOIL_EXAMPLE}")
    if met == "balance" and seen.missing is not None:
        raise ParameterError("met=balance takes no response of missing pT: leave one of the two out")
    return words


def checked_scale(process: Process, parameters: Parameters, Q: Any = None) -> float:
    """The factorisation scale in GeV; None: the process's own, at these parameters."""
    scale = process.scale if Q is None else Q
    if Q is None and isinstance(scale, str):
        scale = parameters.get(scale)
    try:
        value = float(scale)
    except (TypeError, ValueError):
        value = float("nan")
    if not (np.isfinite(value) and value > 0):
        raise ParameterError(f"the scale Q must be in GeV, finite and positive, got {scale!r}")
    return value


def check_widths(process: Process, parameters: Parameters) -> None:
    """Refuse a width of 0 among the process's parameters, which may be arrays.

    **Raises** `ParameterError`.
    """
    for _, width in process.resonances:
        require_width(width, np.min(parameters.get(width)))


def require_width(name: str, width: float) -> None:
    """Refuse a resonance without a width. **Raises** `ParameterError`."""
    if width == 0:
        raise ParameterError(
            f"{name} = 0: a resonance without a width has no cross-section, and no point of an integral "
            "meets it; give it a width, which may be small"
        )


def warn_of_expansions(process: Process, parameters: Parameters) -> None:
    """Say where the effective couplings of a Higgs boson leave what they were expanded for.

    They are series in MH²/4MW² (photons) and MH²/4MT² (gluons), of the W's and the top's loops.
    """
    if "MH" not in process.parameters:
        return
    mass, lightest = float(np.max(parameters.MH)), 2 * float(np.min(_electroweak(parameters).MW))
    if mass > lightest:
        warnings.warn(
            f"MH = {mass:g} GeV: the effective couplings of the Higgs boson to gluons and photons are series "
            f"for masses well below 2 MW = {lightest:.4g} GeV and 2 MT; they, and σ, mean nothing there",
            DeepMEMWarning,
            stacklevel=3,
        )
