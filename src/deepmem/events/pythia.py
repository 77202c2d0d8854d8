"""Events to compute on: Pythia 8's hard process and showers, a selection, a parametrised detector, flat
columns.

As the example data are made: 13 TeV, NNPDF2.3 LO (Pythia's set 13), initial- and final-state showers with
photons off leptons, primordial kT; no multiple interactions, no hadronisation. The detector changes energies
with the transfer functions' own samplers, and keeps directions; so the response of the events is that of the
weights.

Leptons are *bare* unless `dressed`: what a lepton radiates is lost, as in the example data, and shows as a
tail below the resonance that no leading-order weight has. Dressed leptons get back the photons within ΔR <
0.1.

*Jets* are clustered from the showers' partons (anti-kT, R = 0.4, Pythia's own) without the leptons of the
hard process, the photons of dressed ones and neutrinos. One with a b quark in it is b-tagged; the two hardest
of these, before the response, are the event's, and an event with fewer is not kept. The response scales a
jet's whole four-momentum.

*Missing pT* of processes with neutrinos is the sum of their p_T, exactly, as weights take it, unless noise is
asked for; of other processes it is what the response of the leptons leaves, plus noise.

What Pythia's hard processes lack: qq̄ → 4ℓ has the doubly resonant diagrams (γ*/Z γ*/Z) alone; the full tree
level of `zz_4l` adds the singly resonant ones, a fifth of the rate between 105 and 140 GeV with pairs above
4 GeV. tt̄ has tops on their Breit–Wigner, the W polarised in each decay, and no correlation between the
spins of the two tops. Leptons have the flavours of the menu: e⁺ μ⁻ where there are two Ws, so σ is that of
one pair of flavours.

Each measured particle has two true momenta beside it, under the same number: `true_lep1_…`, `true_j1_…`,
what the response acted on, and `born_lep1_…`, `born_j1_…`, the lepton or b quark before any decay product
radiated (both with the recoil off the initial state). `born_j1_PDG` tells b from b̄: the two quarks are
assigned to the two jets by their ΔR. Neutrinos, `true_nu1_…` and `born_nu1_…`, have the number of the lepton
that comes from the same W.

A sample is made in parts, each by a Pythia of its own with random numbers of its own, so that it does not
matter which process makes one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uproot

from deepmem.data.files import check_writable, whole_file
from deepmem.errors import UsageError
from deepmem.events.measurement import detector_for
from deepmem.events.recipes import Recipe, recipe_of, usual_selection
from deepmem.events.showers import (
    LEAST_ACCEPTANCE,
    Seeds,
    Source,
    initialised,
    normalisation_of,
    release,
    settings_of,
)
from deepmem.ordered import Mapper
from deepmem.physics.detector.detector import Detector
from deepmem.physics.errors import unknown_name
from deepmem.physics.precision import double_precision
from deepmem.physics.processes import find_process
from deepmem.physics.processes.base import Process
from deepmem.physics.theory.parameters import Parameters, electroweak
from deepmem.physics.theory.parameters import parameters as checked_parameters
from deepmem.selection import Selection

TREE = "events"

_PART = 2_000
"""Events of a part: some five to fifteen seconds of work, of which Pythia's start takes half of one."""
_ROWS_PER_BASKET = 10_000


@dataclass(frozen=True)
class Generated:
    """What `generate` made.

    - `events`: how many were kept, of `tried`.
    - `cross_section`, `error`: Pythia's σ times the fraction that was kept, in pb, with its statistical
      error.
    - `columns`: the arrays, empty where they went to the file `output`.
    """

    process: str
    events: int
    tried: int
    cross_section: float
    error: float
    output: Path | None
    columns: dict[str, np.ndarray] = field(default_factory=dict, repr=False)


def generate(
    process: str,
    events: int,
    seed: int = 1,
    output: str | Path | None = None,
    *,
    selection: Selection | Mapping[str, Any] | None = None,
    response: Mapping[str, Any] | None = None,
    dressed: bool = False,
    least_acceptance: float = LEAST_ACCEPTANCE,
    mapper: Mapper = map,
    progress: Callable[[int], None] = lambda kept: None,
    **parameters: float,
) -> Generated:
    """Make events with Pythia 8, and write them as the TTree `events` if `output` is given.

    The same seed gives the same arrays, bit for bit, and fewer events are the first ones of more.

    **Arguments:**

    - `process`: one of `RECIPES`; `events`: how many to keep; `seed`: 0 or more.
    - `output`: a ROOT file, float32 as the example data; or None for arrays (float32, PDG int32).
    - `selection`: cuts on what is measured, a `Selection` or a dict; {}: none; None: the recipe's own, with
      the mass window of four leptons around the Higgs boson's mass.
    - `response`: per particle class as in the configuration, e.g. {"lepton": 0.05}, and {"met": {"c": 8}}
      for the noise of missing pT; by default the process's own.
    - `dressed`: leptons with the photons within ΔR < 0.1.
    - `least_acceptance`: the least part of events that has to pass the selection.
    - `mapper`: who makes the parts; `progress`: called with the number of events kept so far.
    - `parameters`: those of the recipe, GeV.

    **Raises** `UsageError` for a wrong argument, or where `pythia8mc` is missing; `DeepMEMError` where Pythia
    fails or hardly any event passes the selection.
    """
    if events < 1:
        raise UsageError(f"the number of events must be 1 or more, got {events}")
    if seed < 0:
        raise UsageError(f"the seed must be 0 or more, got {seed}")
    pythia = release()
    sample = _Sample(process, seed, selection, response, dressed, least_acceptance, parameters)
    made = sample.made
    if output is not None:
        check_writable(output)
    tally = _Tally()
    parts = tally.counted(mapper(sample, _cut(events)), progress)
    if output is None:
        chunks = list(parts)
        columns = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
        return tally.result(process, None, columns)
    with whole_file(output) as temporary, uproot.recreate(temporary, compression=uproot.ZSTD(5)) as file:
        file["provenance"] = json.dumps(
            {
                "command": "generate",
                "process": process,
                "seed": seed,
                "events": events,
                "selection": repr(made.cuts),
                "response": made.detector.to_dict(),
                "dressed": dressed,
                "parameters": {name: getattr(made.theory, name) for name in made.recipe.parameters},
                "deepmem": version("deepmem"),
                "pythia8mc": pythia,
            }
        )
        tree = None
        for chunk in _in_baskets(parts):
            if tree is None:
                tree = file.mktree(TREE, {name: array.dtype for name, array in chunk.items()})
            tree.extend(chunk)
    return tally.result(process, Path(output), {})


def _cut(events: int) -> Iterator[tuple[int, int]]:
    """The number of each part, and its events."""
    for part in range(-(-events // _PART)):
        yield part, min(_PART, events - part * _PART)


def _in_baskets(parts: Iterable[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """The same rows in chunks that are worth writing."""
    held: list[dict[str, np.ndarray]] = []
    for part in chain(parts, [None]):
        if part is not None:
            held.append(part)
        if held and (part is None or sum(len(each["lep1_PT"]) for each in held) >= _ROWS_PER_BASKET):
            yield {name: np.concatenate([each[name] for each in held]) for name in held[0]}
            held = []


class _Made(NamedTuple):
    """What follows from the arguments of a sample."""

    process: Process
    recipe: Recipe
    theory: Parameters
    cuts: Selection
    detector: Detector
    settings: list[str]
    normalisation: float
    """See `showers.normalisation_of`."""


@dataclass(frozen=True)
class _Sample:
    """A sample as a work for any process: its parts, see `generate`."""

    process: str
    seed: int
    selection: Selection | Mapping[str, Any] | None
    response: Mapping[str, Any] | None
    dressed: bool
    least_acceptance: float
    parameters: Mapping[str, float]

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Sample, tuple(getattr(self, each.name) for each in fields(self)))

    @cached_property
    def made(self) -> _Made:
        """**Raises** `UsageError` for a wrong argument, or where Pythia is missing."""
        entry, recipe = find_process(self.process), recipe_of(self.process)
        for name in self.parameters:
            if name not in recipe.parameters:
                raise unknown_name("parameter of the generator", name, recipe.parameters)
        theory = checked_parameters(**self.parameters)
        with double_precision():
            theory = theory._replace(MW=float(electroweak(theory).MW))
        cuts = self.selection
        cuts = usual_selection(entry, recipe, theory) if cuts is None else Selection.of(cuts)
        cuts.refuse_without_effect(entry.outgoing)
        detector = detector_for(entry, recipe, self.response)
        settings = settings_of(entry, recipe, cuts, detector, theory)
        normalisation = normalisation_of(settings, theory)
        return _Made(entry, recipe, theory, cuts, detector, settings, normalisation)

    def __call__(self, piece: tuple[int, int]) -> dict[str, np.ndarray]:
        """The columns of a part with so many events, and `of_part`: how many were tried, σ and its error."""
        (part, events), made = piece, self.made
        seeds = Seeds.of(self.seed, part)
        pythia, hook = initialised([*made.settings, f"Random:seed = {seeds.pythia}"], made.process)
        b_mass = float(made.theory.MB)
        source = Source(
            pythia, hook, made.process, made.cuts, made.detector, b_mass, self.dressed, seeds.response
        )
        columns = source.columns(events, self.least_acceptance)
        sigma = np.array(source.cross_section()) * made.normalisation
        return columns | {"of_part": np.array([source.tried, *sigma])}


class _Tally:
    """What is known of the parts that have come."""

    def __init__(self) -> None:
        self.kept, self._parts = 0, np.zeros((0, 3))

    def counted(
        self, parts: Iterable[dict[str, np.ndarray]], progress: Callable[[int], None]
    ) -> Iterator[dict[str, np.ndarray]]:
        """Their columns."""
        for part in parts:
            self._parts = np.vstack([self._parts, part.pop("of_part")])
            self.kept += len(part["lep1_PT"])
            progress(self.kept)
            yield part

    def result(self, process: str, output: Path | None, columns: dict[str, np.ndarray]) -> Generated:
        """σ is the mean of the parts', each as good as the number of events that it comes from."""
        tried, sigma, error = self._parts.T
        total = tried.sum()
        mean = (tried * sigma).sum() / total
        share = self.kept / total
        spread = np.hypot(
            np.sqrt(((tried * error) ** 2).sum()) / total / mean, np.sqrt((1 - share) / self.kept)
        )
        return Generated(
            process=find_process(process).name,
            events=self.kept,
            tried=int(total),
            cross_section=float(mean * share),
            error=float(mean * share * spread),
            output=output,
            columns=columns,
        )
