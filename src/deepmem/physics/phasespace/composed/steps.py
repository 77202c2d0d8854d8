"""The map of a composition: its steps, each compiled by itself."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from deepmem.physics.phasespace.composed import lost, neutrinos, taus, two_neutrinos
from deepmem.physics.phasespace.composed.energies import energies, masses, of_missing
from deepmem.physics.phasespace.composition import Composition
from deepmem.physics.phasespace.expert import Step


@cache
def steps(composition: Composition) -> tuple[Step, ...]:
    """From the unit cube to a `Proposal`; equal compositions have the same steps, so that code is kept."""
    last: list[Any] = [neutrinos.none]
    if composition.neutrino is not None:
        two = len(composition.neutrino.masses) == 2
        last = [neutrinos.two_masses, neutrinos.on_ellipse] if two else [neutrinos.one_mass]
    if composition.crossed:
        last = [two_neutrinos.crossed]
    elif composition.first is not None:
        two = len(composition.first.masses) == 2
        last = [*([two_neutrinos.path, two_neutrinos.on_path] if two else [two_neutrinos.drawn]), *last]
    if composition.pair is not None:
        last = [taus.tabulated_pair, taus.solved_pair]
    if composition.lost is not None:
        last += [lost.path, lost.finished]
    first: list[Any] = [masses, *([of_missing] if composition.transverse else []), energies]
    return tuple(partial(step, composition=composition) for step in (*first, *last))
