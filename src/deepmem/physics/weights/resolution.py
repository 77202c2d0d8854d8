"""Which resonance has a map of its own: one that is narrower than the responses, so that points miss it."""

from __future__ import annotations

from typing import Protocol

import jax
import numpy as np

from deepmem.physics.detector.detector import Detector
from deepmem.physics.errors import ParameterError
from deepmem.physics.phasespace.trees import decay_tree, has_composed_map
from deepmem.physics.precision import double_precision
from deepmem.physics.processes.base import Process
from deepmem.physics.theory.parameters import Parameters

# How many standard deviations of its measured mass wide a resonance must be for the rules for smooth
# integrands: at 0.8, weights are off by 2 % within a precision of 1 %.
_WIDE = 1.2
# And at least, where it has no map: at 0.05, errors of four leptons are a third too small, and worse below.
_NARROWEST = 0.1
# The least width of the Z in pp → Z → WW. At 1 GeV weights of soft pairs are up to 5 % low, at 0.1 GeV 30 %.
_NARROWEST_Z = 2.0  # GeV


class Measured(Protocol):
    """What a hypothesis says of resonances: what happens, at which parameters, how well it is seen."""

    @property
    def process(self) -> Process: ...
    @property
    def parameters(self) -> Parameters: ...
    @property
    def detector(self) -> Detector: ...
    @property
    def mass_from_event(self) -> bool: ...


def mapped_resonance(alpha: Measured) -> tuple[str, str] | None:
    """Parameters (mass, width) of the resonance in s whose map is used; that takes responses for all legs."""
    process = alpha.process
    if has_composed_map(process):
        return None
    if alpha.detector.dimensions(process.visible_classes) != len(process.outgoing):
        return None
    if process.resonance is not None:
        return None if alpha.mass_from_event else process.resonance
    wide = process.wide_resonance
    return wide if wide is not None and narrowness(alpha, *wide) < _WIDE else None


def narrowness(alpha: Measured, mass: str, width: str) -> float:
    """The least width of a resonance, in standard deviations of its mass measured from two leptons."""
    m, gamma = (np.ravel(alpha.parameters.get(name)) for name in (mass, width))
    with double_precision(), jax.ensure_compile_time_eval():
        worst = max(float(np.max(np.asarray(r.scale(m / 2)) / (m / 2))) for r in alpha.detector.responses)
    return float(np.min(gamma / m)) * np.sqrt(2) / worst if worst > 0 else np.inf


def refuse_unresolved(alpha: Measured) -> None:
    """**Raises** `ParameterError` where a resonance is too narrow for the points that are to find it."""
    process = alpha.process
    if process.invisible:
        if "WZ" in process.parameters and (narrowest := np.min(alpha.parameters.WZ)) < _NARROWEST_Z:
            raise ParameterError(
                f"WZ = {narrowest:g} GeV is too narrow for {process.name}, {_NARROWEST_Z:g} GeV at least: a "
                "Z that decays to both Ws has no map, and points of the neutrinos' momenta miss a narrow one"
            )
        return
    mapped = {mapped_resonance(alpha)}
    if has_composed_map(process) and (tree := decay_tree(process)) is not None:
        mapped |= {(each.mass, each.width) for each in tree.resonances}
    for mass, width in process.resonances:
        there = {mass, width} <= {*process.parameters} and (mass, width) not in mapped
        dropped = alpha.mass_from_event and mass == "MH"
        if not there or dropped or not alpha.detector.dimensions(process.visible_classes):
            continue
        narrow, narrowest = narrowness(alpha, mass, width), np.min(alpha.parameters.get(width))
        if narrow < _NARROWEST:
            raise ParameterError(
                f"{width} = {narrowest:g} GeV is too narrow for {process.name} with these responses, "
                f"{narrowest * _NARROWEST / narrow:.2g} GeV at least: points that follow responses miss a "
                "resonance that is much narrower than they are; widen it, or measure perfectly (r_lepton=0)"
            )
