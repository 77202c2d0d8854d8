"""Pythia 8, initialised for a process, and events out of it as chunks of columns."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np

from deepmem.errors import DeepMEMError, UsageError
from deepmem.events.measurement import CHUNK, file_columns, measure, missing_momentum
from deepmem.events.recipes import PARAMETERS, Recipe
from deepmem.events.record import before_decays_radiate, dress, jet_finder, momentum, tagged
from deepmem.physics.detector.detector import Detector
from deepmem.physics.processes.base import Process
from deepmem.physics.theory.parameters import Parameters
from deepmem.physics.weights.sampling import reach
from deepmem.selection import CHARGED_LEPTONS, JETS, Selection, of_kind

_COMMON = (
    "Print:quiet = on",
    "PDF:pSet = 13",
    "PartonLevel:MPI = off",
    "HadronLevel:all = off",
    "Random:setSeed = on",
)
# Pythia's own largest seed, and a step by the golden ratio without a divisor of it: parts of one sample have
# different seeds, and so have those of samples whose seeds are near each other
_SEEDS = 900_000_000
_STEP = 556_230_593
_FAILURES = 100
LEAST_ACCEPTANCE = 1e-4
"""The least part of events that has to pass a selection."""


class Seeds(NamedTuple):
    """Of a part of a sample: Pythia's own, and that of the streams of responses."""

    pythia: int
    response: np.random.SeedSequence

    @classmethod
    def of(cls, seed: int, part: int) -> Seeds:
        """Of the `part`-th. Those of the first follow from the seed alone."""
        response = np.random.SeedSequence(seed, spawn_key=(2, part) if part else ())
        return cls(1 + (seed + part * _STEP) % _SEEDS, response)


def settings_of(
    process: Process,
    recipe: Recipe,
    selection: Selection,
    detector: Detector,
    p: Parameters,
) -> list[str]:
    """Pythia's settings but for its seed, one a line; by PDG code, 23 is the Z and 24 the W."""
    narrow, wide = reach(detector, selection, float(p.sqrt_s))
    leptons = [code for code in process.outgoing if abs(code) in CHARGED_LEPTONS]
    flavours = sorted({abs(code) for code in leptons})
    low, high = selection.mass
    settings = [
        *_COMMON,
        *recipe.settings,
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


def initialised(settings: list[str], process: Process) -> tuple[Any, Any]:
    """Pythia, initialised; hard processes with other leptons than the process's end before they are showered.

    **Returns** it with the hook that does so: Pythia holds no reference, so the caller must.
    """
    pythia8mc = _installed()
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


_MISSING = "generating events needs Pythia 8, which is not installed: pip install 'deepmem[generate]'"


def release() -> str:
    """The version of Pythia that is here.

    **Raises** `UsageError` where none is.
    """
    try:
        return version("pythia8mc")
    except PackageNotFoundError as error:
        raise UsageError(_MISSING) from error


def _installed() -> Any:
    try:
        import pythia8mc
    except ImportError as error:
        raise UsageError(_MISSING) from error
    return pythia8mc


def _with_own_data(pythia8mc: Any) -> Any:
    """Pythia with the data it came with: where PYTHIA8DATA is, they may be those of another release."""
    elsewhere = os.environ.pop("PYTHIA8DATA", None)
    try:
        return pythia8mc.Pythia("", False)
    finally:
        if elsewhere is not None:
            os.environ["PYTHIA8DATA"] = elsewhere


def normalisation_of(settings: list[str], p: Parameters) -> float:
    """What Pythia's σ is to be multiplied with, so that it does not depend on the width of a Higgs boson.

    Where a width is set Pythia keeps branching ratios and scales partial widths, so that its σ grows with it.
    """
    forced = "25:doForceWidth = on"
    if forced not in settings:
        return 1.0
    pythia = _with_own_data(_installed())
    for line in settings:
        if line != forced and not line.startswith("25:mWidth"):
            pythia.readString(line)
    if not pythia.init():
        raise DeepMEMError("Pythia could not be initialised to find the natural width of the Higgs boson")
    return float(pythia.particleData.mWidth(25)) / float(p.WH)


class Source:
    """Events out of an initialised Pythia, as columns.

    **Arguments:** `hook`, see `initialised`; `b_mass`, of the parton behind a jet, GeV; `dressed`, leptons
    with the photons near them; `response`, the seed of the responses' streams.
    """

    def __init__(
        self,
        pythia: Any,
        hook: Any,
        process: Process,
        selection: Selection,
        detector: Detector,
        b_mass: float,
        dressed: bool,
        response: np.random.SeedSequence,
    ) -> None:
        self._pythia, self._hook = pythia, hook
        self._process, self._dressed = process, dressed
        self._selection, self._detector, self._b_mass = selection, detector, b_mass
        self._jets = jet_finder() if "bjet" in process.classes else None
        # streams of their own, row by row: how many are tried at once then changes nothing
        self._energies, self._noise = (np.random.Generator(np.random.PCG64(s)) for s in response.spawn(2))
        self.tried = self.kept = 0

    def columns(self, events: int, least_acceptance: float) -> dict[str, np.ndarray]:
        """Columns of the first `events` events.

        **Raises** `DeepMEMError` where a smaller part than `least_acceptance` passes the selection.
        """
        held: list[dict[str, np.ndarray]] = []
        while self.kept < events:
            wanted = min(CHUNK, max(64, 2 * (events - self.kept)))
            held.append(self._attempt(wanted, events - self.kept))
            self.kept += len(held[-1]["lep1_PT"])
            if self.kept < least_acceptance * self.tried - 10:
                raise DeepMEMError(
                    f"{self._process.name}: only {self.kept} of {self.tried} events passed the selection "
                    f"{self._selection}; widen it"
                )
        return {name: np.concatenate([part[name] for part in held]) for name in held[0]}

    def cross_section(self) -> tuple[float, float]:
        """Pythia's σ before the selection and its error, in pb: it counts in millibarn."""
        info = self._pythia.infoPython()
        return info.sigmaGen() * 1e9, info.sigmaErr() * 1e9

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
