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
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import uproot

from deepmem.data.files import check_writable, whole_file
from deepmem.errors import DeepMEMError, UsageError
from deepmem.events.measurement import CHUNK, detector_for, file_columns, measure, missing_momentum
from deepmem.events.recipes import PARAMETERS, Recipe, recipe_of, usual_selection
from deepmem.events.record import before_decays_radiate, dress, jet_finder, momentum, tagged
from deepmem.physics.detector.detector import Detector
from deepmem.physics.errors import unknown_name
from deepmem.physics.precision import double_precision
from deepmem.physics.processes import find_process
from deepmem.physics.processes.base import Process
from deepmem.physics.theory.parameters import Parameters, electroweak
from deepmem.physics.theory.parameters import parameters as checked_parameters
from deepmem.physics.weights.sampling import reach
from deepmem.selection import CHARGED_LEPTONS, JETS, Selection, of_kind

TREE = "events"


_COMMON = (
    "Print:quiet = on",
    "PDF:pSet = 13",
    "PartonLevel:MPI = off",
    "HadronLevel:all = off",
    "Random:setSeed = on",
)


# Pythia's own largest seed
_SEEDS = 900_000_000


_FAILURES = 100


LEAST_ACCEPTANCE = 1e-4
"""The least part of events that has to pass a selection."""


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
    progress: Callable[[int], None] | None = None,
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
    - `progress`: called with the number of events kept so far.
    - `parameters`: those of the recipe, GeV.

    **Raises** `UsageError` for a wrong argument, or where `pythia8mc` is missing; `DeepMEMError` where Pythia
    fails or hardly any event passes the selection.
    """
    entry, recipe = find_process(process), recipe_of(process)
    if events < 1:
        raise UsageError(f"the number of events must be 1 or more, got {events}")
    if seed < 0:
        raise UsageError(f"the seed must be 0 or more, got {seed}")
    for name in parameters:
        if name not in recipe.parameters:
            raise unknown_name("parameter of the generator", name, recipe.parameters)
    theory = checked_parameters(**parameters)
    with double_precision():
        theory = theory._replace(MW=float(electroweak(theory).MW))
    cuts = usual_selection(entry, recipe, theory) if selection is None else Selection.of(selection)
    cuts.refuse_without_effect(entry.outgoing)
    detector = detector_for(entry, recipe, response)
    if output is not None:
        check_writable(output)
    settings = _settings(entry, recipe, cuts, detector, theory, seed)
    pythia, hook = _pythia(settings, entry)
    source = _Source(pythia, hook, entry, cuts, detector, float(theory.MB), dressed, seed)
    source.normalisation = _normalisation(settings, theory)
    source.least_acceptance = least_acceptance

    if output is None:
        chunks = list(source.chunks(events, progress))
        columns = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
        return source.result(None, columns)
    with whole_file(output) as temporary, uproot.recreate(temporary, compression=uproot.ZSTD(5)) as file:
        file["provenance"] = json.dumps(
            {
                "command": "generate",
                "process": process,
                "seed": seed,
                "events": events,
                "selection": repr(cuts),
                "response": detector.to_dict(),
                "dressed": dressed,
                "parameters": {name: getattr(theory, name) for name in recipe.parameters},
                "deepmem": version("deepmem"),
                "pythia8mc": version("pythia8mc"),
            }
        )
        tree = None
        for chunk in source.chunks(events, progress):
            if tree is None:
                tree = file.mktree(TREE, {name: array.dtype for name, array in chunk.items()})
            tree.extend(chunk)
    return source.result(Path(output), {})


def _settings(
    process: Process,
    recipe: Recipe,
    selection: Selection,
    detector: Detector,
    p: Parameters,
    seed: int,
) -> list[str]:
    """Pythia's settings, one a line; by PDG code, 23 is the Z and 24 the W."""
    narrow, wide = reach(detector, selection, float(p.sqrt_s))
    leptons = [code for code in process.outgoing if abs(code) in CHARGED_LEPTONS]
    flavours = sorted({abs(code) for code in leptons})
    low, high = selection.mass
    settings = [
        *_COMMON,
        *recipe.settings,
        f"Random:seed = {1 + seed % _SEEDS}",
        *(f"{PARAMETERS[name]} = {getattr(p, name)}" for name in recipe.parameters),
        # what a response may move into the window; below 20 GeV there is no Z model
        f"PhaseSpace:mHatMin = {max(min(0.8, narrow) * low, 20.0)}",
    ]
    if process.invisible:
        settings += [f"24:on{'Neg' if code > 0 else 'Pos'}IfAny = {abs(code)}" for code in leptons]
    else:
        settings.append(f"23:onIfAny = {' '.join(map(str, flavours))}")
    if recipe.heaviest and np.isfinite(high):
        settings.append(f"PhaseSpace:mHatMax = {min(max(2.0, wide) * high, float(p.sqrt_s))}")
    return settings


def _pythia(settings: list[str], process: Process) -> tuple[Any, Any]:
    """Pythia, initialised; hard processes with other leptons than the process's end before they are showered.

    **Returns** it with the hook that does so: Pythia holds no reference, so the caller must.
    """
    try:
        import pythia8mc
    except ImportError as error:
        raise UsageError(
            "generating events needs Pythia 8, which is not installed: pip install 'deepmem[generate]'"
        ) from error
    pythia = _with_own_data(pythia8mc)
    for line in settings:
        if not pythia.readString(line):
            raise DeepMEMError(f"Pythia {version('pythia8mc')} does not know the setting {line!r}")
    # Z decays are drawn one by one, so half of the pairs come out alike; Pythia's σ takes vetoes into account
    hook: Any = None
    if not process.invisible and len({abs(code) for code in process.outgoing}) > 1:
        wanted = sorted(process.outgoing)

        class OtherLeptons(pythia8mc.UserHooks):
            def canVetoProcessLevel(self) -> bool:  # noqa: N802
                return True

            def doVetoProcessLevel(self, process: Any) -> bool:  # noqa: N802
                return sorted(particle.id() for particle in process if particle.status() == 23) != wanted

        hook = OtherLeptons()
        pythia.setUserHooksPtr(hook)
    if not pythia.init():
        raise DeepMEMError(f"Pythia could not be initialised with {'; '.join(settings)}")
    return pythia, hook


def _with_own_data(pythia8mc: Any) -> Any:
    """Pythia with the data it came with: where PYTHIA8DATA is, they may be those of another release."""
    elsewhere = os.environ.pop("PYTHIA8DATA", None)
    try:
        return pythia8mc.Pythia("", False)
    finally:
        if elsewhere is not None:
            os.environ["PYTHIA8DATA"] = elsewhere


def _normalisation(settings: list[str], p: Parameters) -> float:
    """What Pythia's σ is to be multiplied with, so that it does not depend on the width of a Higgs boson.

    Where a width is set Pythia keeps branching ratios and scales partial widths, so that its σ grows with it.
    """
    forced = "25:doForceWidth = on"
    if forced not in settings:
        return 1.0
    import pythia8mc

    pythia = _with_own_data(pythia8mc)
    for line in settings:
        if line != forced and not line.startswith("25:mWidth"):
            pythia.readString(line)
    if not pythia.init():
        raise DeepMEMError("Pythia could not be initialised to find the natural width of the Higgs boson")
    return float(pythia.particleData.mWidth(25)) / float(p.WH)


class _Source:
    """Events out of an initialised Pythia, as chunks of columns."""

    def __init__(
        self,
        pythia: Any,
        hook: Any,
        process: Process,
        selection: Selection,
        detector: Detector,
        b_mass: float,
        dressed: bool,
        seed: int,
    ) -> None:
        self._pythia, self._hook = pythia, hook
        self._process, self._dressed = process, dressed
        self._selection, self._detector, self._b_mass = selection, detector, b_mass
        self._jets = jet_finder() if "bjet" in process.classes else None
        # streams of their own, row by row: chunk sizes then change nothing
        self._energies, self._noise = (
            np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(2)
        )
        self.tried = self.kept = 0
        self.normalisation, self.least_acceptance = 1.0, LEAST_ACCEPTANCE

    def chunks(self, events: int, progress: Callable[[int], None] | None) -> Iterator[dict[str, np.ndarray]]:
        """Columns of exactly `events` events, in chunks of bounded size."""
        held: list[dict[str, np.ndarray]] = []
        rows = 0
        while self.kept < events:
            wanted = min(CHUNK, max(64, 2 * (events - self.kept)))
            columns = self._attempt(wanted, events - self.kept)
            rows += len(columns["lep1_PT"])
            self.kept += len(columns["lep1_PT"])
            held.append(columns)
            if progress is not None:
                progress(self.kept)
            if self.kept < self.least_acceptance * self.tried - 10:
                raise DeepMEMError(
                    f"{self._process.name}: only {self.kept} of {self.tried} events passed the selection "
                    f"{self._selection}; widen it"
                )
            if rows >= _ROWS_PER_BASKET or self.kept == events:
                yield {name: np.concatenate([part[name] for part in held]) for name in held[0]}
                held, rows = [], 0

    def result(self, output: Path | None, columns: dict[str, np.ndarray]) -> Generated:
        """σ from Pythia, which counts in millibarn."""
        info = self._pythia.infoPython()
        share = self.kept / self.tried
        sigma = info.sigmaGen() * 1e9 * self.normalisation
        spread = np.hypot(info.sigmaErr() / info.sigmaGen(), np.sqrt((1 - share) / self.kept))
        return Generated(
            process=self._process.name,
            events=self.kept,
            tried=self.tried,
            cross_section=float(sigma * share),
            error=float(sigma * share * spread),
            output=output,
            columns=columns,
        )

    def _attempt(self, number: int, most: int) -> dict[str, np.ndarray]:
        """Columns of those of the next `number` events that pass, at most `most` of them."""
        codes, legs = self._process.outgoing, len(self._process.outgoing)
        rows = [self._next() for _ in range(number)]
        born, true = (np.stack(parts) for parts in zip(*rows, strict=True))
        u = np.maximum(self._energies.random((number, legs)), 2.0**-54)
        measured = measure(true, self._process.classes, self._detector, self._b_mass, u)
        noise = np.maximum(self._noise.random((number, 2)), 2.0**-54)
        missing = missing_momentum(true, measured, codes, self._detector, noise)
        passed = np.flatnonzero(self._selection.passes(measured, codes, missing))
        if len(passed) > most:
            passed = passed[:most]
            # events behind the last one that is kept do not count as tried
            number = int(passed[-1]) + 1
        self.tried += number
        return file_columns(
            born[passed], true[passed], measured[passed], None if missing is None else missing[passed], codes
        )

    def _next(self) -> tuple[np.ndarray, np.ndarray]:
        """The next event: momenta before and after decay products radiate, in the process's order of legs.

        True b quarks are jets, NaN where fewer than two are tagged.
        """
        for _ in range(_FAILURES):
            if self._pythia.next():
                break
        else:
            raise DeepMEMError(f"Pythia failed at {_FAILURES} events in a row")
        event, codes = self._pythia.event, self._process.outgoing
        free = dict(enumerate(codes))
        places = [0] * len(free)
        # decay products stand near the end of the record
        for index in reversed(range(event.size())):
            if not free:
                break
            particle = event[index]
            if particle.statusAbs() == 23 and particle.id() in free.values():
                leg = next(leg for leg, code in free.items() if code == particle.id())
                places[leg] = index
                del free[leg]
        finals = [event[place].iBotCopyId() for place in places]
        born = np.array([momentum(event[place]) for place in places])
        true = np.array([momentum(event[final]) for final in finals])
        if self._process.invisible:
            born = before_decays_radiate(self._pythia.process, event, codes)
        leptons, quarks = of_kind(codes, CHARGED_LEPTONS), of_kind(codes, JETS)
        if self._dressed:
            true[leptons] = dress(event, true[leptons])
        if self._jets is not None:
            for leg in leptons:
                event[finals[leg]].statusNeg()
            true[quarks] = tagged(self._jets, event, born[quarks])
        return born, true
