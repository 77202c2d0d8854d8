"""Legs that |M|² is infinite for where they move along a beam, and how near they may come.

In the frame in which the total p_T is zero a light parton that a massless one was exchanged for has
|M|² ∝ 1/p_T². Where the recoil K is integrated over, K may be all of a jet's p_T, and

    ∫ d²K / |p_T(K)|²

has no end: the parton would be the proton's own, and the jet its recoil. So under `met=recoil` these legs are
at least `parton_pt` hard there.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from deepmem.errors import UsageError
from deepmem.physics.errors import ParameterError
from deepmem.physics.phasespace.topologies import Topology, topologies
from deepmem.physics.processes.base import Process
from deepmem.physics.reactions import Theory, read
from deepmem.physics.theory.model import Model
from deepmem.selection import JETS, PHOTONS, Selection, of_kind

LEAST_PT = 10.0
"""GeV, where `parton_pt` is not set and the recoil is integrated over."""
_B = 5


def legs_along_beams(process: Process) -> tuple[int, ...]:
    """The positions of legs, from 0, along which some subprocess is infinite; none of a process by hand.

    **Raises** `PlanError` for a subprocess with too many topologies.
    """
    made = process.generated
    if not process.reaction or made is None:
        return ()
    return _legs(made.reaction, made.theory, made.content)


@lru_cache(maxsize=64)
def _legs(reaction: str, theory: Theory, content: str) -> tuple[int, ...]:
    """Of a model by its content."""
    found = read(reaction, theory)
    light = {each.code for each in found.model.particles if each.mass == "ZERO"}
    light |= {_B} if theory.massless_b else set()
    legs: set[int] = set()
    for channel in found.channels:
        outgoing = channel.subprocess.outgoing
        for topology in topologies(found.model, channel.subprocess):
            legs |= {leg for leg in _exchanged_for(found.model, topology) if abs(outgoing[leg]) in light}
    return tuple(sorted(legs))


def _exchanged_for(model: Model, topology: Topology) -> set[int]:
    """The legs that a parton of a beam becomes by an exchange of something massless."""
    if not topology.exchanged:
        return set()
    ends = ((topology.exchanged[0], topology.blobs[0]), (topology.exchanged[-1], topology.blobs[-1]))
    return {blob.legs.bit_length() - 1 for line, blob in ends if line.mass == "ZERO" and not blob.children}


def checked_parton_pt(process: Process, given: Any, met: str | None) -> float:
    """The least p_T in GeV of `legs_along_beams`; 0 where there are none, or there is no recoil.

    **Raises** `ParameterError` for what is no p_T, or has no effect.
    """
    if given is None:
        return LEAST_PT if met == "recoil" and legs_along_beams(process) else 0.0
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or not (np.isfinite(given) and given >= 0):
        raise ParameterError(f"parton_pt must be in GeV, finite and not negative, got {given!r}")
    if not legs_along_beams(process):
        raise ParameterError(
            f"parton_pt has no effect on {process.name}: |M|² is finite where its partons move along a beam"
        )
    return float(given)


def on_partons_with(cuts: Selection, process: Process, parton_pt: float) -> Selection:
    """Cuts on partons with the least p_T of `legs_along_beams`: of σ_vis and events beside such weights.

    **Raises** `UsageError` where other legs are jets or photons, too, which a selection can't tell apart.
    """
    legs = legs_along_beams(process)
    jets, photons = of_kind(process.outgoing, JETS), of_kind(process.outgoing, PHOTONS)
    for found in (jets, photons):
        if {*found} & {*legs} and not {*found} <= {*legs}:
            raise UsageError(
                f"parton_pt is of some jets of {process.name} alone, and a selection of partons can't tell "
                "which: leave it out, and give parton_selection"
            )

    def least(given: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(max(each, parton_pt) for each in given or (0.0,))

    if {*jets} & {*legs}:
        cuts = replace(cuts, jet_pt=least(cuts.jet_pt))
    if {*photons} & {*legs}:
        cuts = replace(cuts, photon_pt=least(cuts.photon_pt))
    return cuts
