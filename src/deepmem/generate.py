"""Events to compute on: Pythia 8's hard process and showers, a selection, a parametrised detector, flat
columns.

As the example data are made: 13 TeV, NNPDF2.3 LO (Pythia's set 13), initial- and final-state showers with
photons off leptons, primordial kT; no multiple interactions, no hadronisation. The detector changes energies
with the transfer functions' own samplers, and keeps directions; so the response of the events is that of the
weights.

Leptons are *bare* unless `dressed`: what a lepton radiates is lost, as in the example data, and shows as a
tail below the resonance that no leading-order weight has. Dressed leptons get back the photons within ΔR <
0.1.

Pythia's qq̄ → 4ℓ has the doubly resonant diagrams (γ*/Z γ*/Z) alone; the full tree level of `zz_4l` adds the
singly resonant ones, a fifth of the rate between 105 and 140 GeV with pairs above 4 GeV.

Each measured lepton has two true momenta beside it, under the same number: `true_lep1_…`, what the response
acted on, and `born_lep1_…`, before it radiated (both with the recoil off the initial state).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import uproot

from deepmem.data.files import check_writable, whole_file
from deepmem.errors import DeepMEMError, UsageError, nearest
from deepmem.physics.constants import Parameters
from deepmem.physics.constants import parameters as checked_parameters
from deepmem.physics.errors import unknown_name
from deepmem.physics.leading_order import lepton_columns_of, lepton_order, polar
from deepmem.physics.precision import double_precision
from deepmem.physics.processes import find_process
from deepmem.physics.processes.base import Process
from deepmem.physics.transfer import ByEta, MissingMomentum, missing_momentum, responses
from deepmem.selection import Selection

TREE = "events"

PARAMETERS = ("sqrt_s", "MZ", "WZ", "MH", "WH")
"""Those that Pythia is told; its couplings are its own."""

DRESSING = 0.1
"""ΔR within which a dressed lepton gets back its photons."""


@dataclass(frozen=True)
class Recipe:
    """How Pythia makes a process, and what is kept of it by default."""

    settings: tuple[str, ...]
    selection: Selection
    missing_pt: float | None = None
    """Noise of each component of missing pT in GeV; None: no missing pT is written."""
    heaviest: bool = False
    """Whether √ŝ is bounded above, at twice the selection's mass window: most of the rate lies beyond it."""


_FOUR_LEPTONS = Selection(lepton_pt=(5.0,), lepton_eta=2.5, mass=(105.0, 140.0))
_ZZ = Recipe(("WeakDoubleBoson:ffbar2gmZgmZ = on", "23:mMin = 4"), _FOUR_LEPTONS, heaviest=True)
_HIGGS = Recipe(
    (
        "HiggsSM:gg2H = on",
        "25:doForceWidth = on",
        "25:onMode = off",
        "25:onIfMatch = 23 23",
        "23:mMin = 4",
    ),
    _FOUR_LEPTONS,
)

RECIPES: dict[str, Recipe] = {
    "drell_yan": Recipe(
        ("WeakSingleBoson:ffbar2gmZ = on",),
        Selection(lepton_pt=(20.0, 10.0), lepton_eta=2.5, mass=(40.0, np.inf)),
        missing_pt=8.0,
    ),
    **dict.fromkeys(("zz_4l", "zz_4e", "zz_4mu"), _ZZ),
    **dict.fromkeys(("higgs_4l", "higgs_4e", "higgs_4mu"), _HIGGS),
}

_COMMON = (
    "Print:quiet = on",
    "PDF:pSet = 13",
    "PartonLevel:MPI = off",
    "HadronLevel:all = off",
    "Random:setSeed = on",
    "23:doForceWidth = on",
    "23:onMode = off",
)
# Pythia's own largest seed
_SEEDS = 900_000_000
_FAILURES = 100
_CHUNK = 4096
_LEAST_ACCEPTANCE = 1e-4
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
    progress: Callable[[int], None] | None = None,
    **parameters: float,
) -> Generated:
    """Make events with Pythia 8, and write them as the TTree `events` if `output` is given.

    The same seed gives the same arrays, bit for bit, and fewer events are the first ones of more.

    **Arguments:**
    - `process`: one of `RECIPES`; `events`: how many to keep; `seed`: 0 or more.
    - `output`: a ROOT file, float32 as the example data; or None for arrays (float32, PDG int32).
    - `selection`: cuts on measured leptons, a `Selection` or a dict; None: the recipe's own.
    - `response`: per particle class as in the configuration, e.g. {"lepton": 0.05}, and {"met": {"c": 8}}
      for the noise of missing pT; by default the process's own.
    - `dressed`: leptons with the photons within ΔR < 0.1.
    - `progress`: called with the number of events kept so far.
    - `parameters`: `sqrt_s`, `MZ`, `WZ`, `MH`, `WH`, GeV.

    **Raises** `UsageError` for a wrong argument, or where `pythia8mc` is missing; `DeepMEMError` where Pythia
    fails or hardly any event passes the selection.
    """
    entry, recipe = find_process(process), _recipe(process)
    if events < 1:
        raise UsageError(f"the number of events must be 1 or more, got {events}")
    if seed < 0:
        raise UsageError(f"the seed must be 0 or more, got {seed}")
    for name in parameters:
        if name not in PARAMETERS:
            raise unknown_name("parameter of the generator", name, PARAMETERS)
    theory = checked_parameters(**parameters)
    cuts = recipe.selection if selection is None else Selection.of(selection)
    detector = Detector.of(entry, recipe, response)
    if output is not None:
        check_writable(output)
    pythia, hook = _pythia(_settings(entry, recipe, cuts, theory, seed), entry.outgoing)
    source = _Source(pythia, hook, entry, cuts, detector, dressed, seed)

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
                "response": repr(detector),
                "dressed": dressed,
                "parameters": {name: getattr(theory, name) for name in PARAMETERS},
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


def _recipe(process: str) -> Recipe:
    if process not in RECIPES:
        raise UsageError(
            f"{process} cannot be generated{nearest(process, RECIPES)}; there are recipes for "
            f"{', '.join(RECIPES)}"
        )
    return RECIPES[process]


def _settings(process: Process, recipe: Recipe, selection: Selection, p: Parameters, seed: int) -> list[str]:
    """Pythia's settings, one a line; what Pythia calls by PDG code: 23 is the Z, 25 the Higgs."""
    flavours = sorted({abs(code) for code in process.outgoing})
    low, high = selection.mass
    settings = [
        *_COMMON,
        *recipe.settings,
        f"Random:seed = {1 + seed % _SEEDS}",
        f"Beams:eCM = {p.sqrt_s}",
        f"23:m0 = {p.MZ}",
        f"23:mWidth = {p.WZ}",
        f"25:m0 = {p.MH}",
        f"25:mWidth = {p.WH}",
        f"23:onIfAny = {' '.join(map(str, flavours))}",
        # a response may raise a mass into the window, but not by a fifth; below 20 GeV there is no Z model
        f"PhaseSpace:mHatMin = {max(0.8 * low, 20.0)}",
    ]
    if recipe.heaviest and np.isfinite(high):
        settings.append(f"PhaseSpace:mHatMax = {2 * high}")
    return settings


def _pythia(settings: list[str], outgoing: tuple[int, ...]) -> tuple[Any, Any]:
    """Pythia, initialised; hard processes with other leptons than `outgoing` end before they are showered.

    **Returns** it with the hook that does so: Pythia holds no reference, so the caller must.
    """
    try:
        import pythia8mc
    except ImportError as error:
        raise UsageError(
            "generating events needs Pythia 8, which is not installed: pip install 'deepmem[generate]'"
        ) from error
    pythia = pythia8mc.Pythia("", False)
    for line in settings:
        if not pythia.readString(line):
            raise DeepMEMError(f"Pythia {version('pythia8mc')} does not know the setting {line!r}")
    # Z decays are drawn one by one, so half of the pairs come out alike; Pythia's σ takes vetoes into account
    hook: Any = None
    if len({abs(code) for code in outgoing}) > 1:
        wanted = sorted(outgoing)

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


# --- the detector
# -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Detector:
    """Responses of the visible particles, by class, and of missing pT."""

    by_class: dict[str, ByEta]
    missing: MissingMomentum | None

    @classmethod
    def of(cls, process: Process, recipe: Recipe, response: Mapping[str, Any] | None) -> Detector:
        """The process's own responses, but for those given."""
        given = dict(response or {})
        noise = given.pop("met", None if recipe.missing_pt is None else {"c": recipe.missing_pt})
        classes = sorted({name for name in process.classes if name != "invisible"})
        by_class = responses({**process.responses, **given}, classes)
        return cls(by_class, None if noise is None else missing_momentum(noise))

    def measure(self, true: np.ndarray, classes: tuple[str, ...], u: np.ndarray) -> np.ndarray:
        """Measured momenta: energies drawn from the responses, directions kept, massless.

        **Arguments:** `true`, `[events, legs, 4]` in GeV, `u` `[events, legs]` in (0, 1).
        """
        measured = np.empty_like(true)
        for leg, name in enumerate(classes):
            p = true[:, leg]
            energy = _draw(self.by_class[name], p, u[:, leg])
            length = np.sqrt((p[:, 1:] ** 2).sum(axis=1))
            measured[:, leg, 0] = energy
            measured[:, leg, 1:] = p[:, 1:] * (energy / length)[:, None]
        return measured


def _draw(response: ByEta, p: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Measured energies, in batches of one size so that the response is compiled once."""
    eta, _ = _angles(p)
    rows = len(p)
    padded = np.ones((3, -(-rows // _CHUNK) * _CHUNK))
    padded[:, :rows] = eta, p[:, 0], u
    padded[2, rows:] = 0.5
    with double_precision():
        drawn = [
            np.asarray(_respond(response, *(jnp.asarray(row) for row in padded[:, start : start + _CHUNK])))
            for start in range(0, padded.shape[1], _CHUNK)
        ]
    return np.concatenate(drawn)[:rows]


@jax.jit
def _respond(response: ByEta, eta: jax.Array, energy: jax.Array, u: jax.Array) -> jax.Array:
    return jax.vmap(lambda at, gen, v: response.at(at).draw(gen, v))(eta, energy, u)


# --- events
# -------------------------------------------------------------------------------------


class _Source:
    """Events out of an initialised Pythia, as chunks of columns."""

    def __init__(
        self,
        pythia: Any,
        hook: Any,
        process: Process,
        selection: Selection,
        detector: Detector,
        dressed: bool,
        seed: int,
    ) -> None:
        self._pythia, self._hook = pythia, hook
        self._process, self._dressed = process, dressed
        self._selection, self._detector = selection, detector
        # streams of their own, row by row: chunk sizes then change nothing
        self._energies, self._noise = (
            np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(2)
        )
        self.tried = self.kept = 0

    def chunks(self, events: int, progress: Callable[[int], None] | None) -> Iterator[dict[str, np.ndarray]]:
        """Columns of exactly `events` events, in chunks of bounded size."""
        held: list[dict[str, np.ndarray]] = []
        rows = 0
        while self.kept < events:
            wanted = min(_CHUNK, max(64, 2 * (events - self.kept)))
            columns = self._attempt(wanted, events - self.kept)
            rows += len(columns["lep1_PT"])
            self.kept += len(columns["lep1_PT"])
            held.append(columns)
            if progress is not None:
                progress(self.kept)
            if self.kept < _LEAST_ACCEPTANCE * self.tried - 10:
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
        sigma = info.sigmaGen() * 1e9
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
        rows = [self._leptons() for _ in range(number)]
        born, true = (np.stack(parts) for parts in zip(*rows, strict=True))
        u = np.maximum(self._energies.random((number, legs)), 2.0**-54)
        measured = self._detector.measure(true, self._process.classes, u)
        noise = np.maximum(self._noise.random((number, 2)), 2.0**-54)
        passed = np.flatnonzero(self._selection.passes(measured, codes))
        if len(passed) > most:
            passed = passed[:most]
            # events behind the last one that is kept do not count as tried
            number = int(passed[-1]) + 1
        self.tried += number
        return self._columns(born[passed], true[passed], measured[passed], noise[passed])

    def _columns(
        self, born: np.ndarray, true: np.ndarray, measured: np.ndarray, noise: np.ndarray
    ) -> dict[str, np.ndarray]:
        codes, events = self._process.outgoing, np.arange(len(measured))
        columns = lepton_columns_of(measured, codes)
        missing = self._detector.missing
        if missing is not None:
            # leptons that are measured too high leave pT missing on the other side
            lost = (true - measured)[..., 1:3].sum(axis=1)
            activity = np.hypot(measured[..., 1], measured[..., 2]).sum(axis=1)
            with double_precision():
                drawn = missing.draw((lost[:, 0], lost[:, 1]), (noise[:, 0], noise[:, 1]), activity)
                x, y = (np.asarray(component) for component in drawn)
            columns |= {"MET": np.hypot(x, y), "MET_Phi": np.arctan2(y, x)}
        order = lepton_order(measured, codes)
        for prefix, momenta in (("true", true), ("born", born)):
            for index in range(order.shape[1]):
                columns |= polar(momenta[events, order[:, index]], f"{prefix}_lep{index + 1}")
        return {
            name: array if array.dtype == np.int32 else array.astype(np.float32)
            for name, array in columns.items()
        }

    def _leptons(self) -> tuple[np.ndarray, np.ndarray]:
        """The next event: leptons before and after they radiate, in the process's order of legs."""
        for _ in range(_FAILURES):
            if self._pythia.next():
                break
        else:
            raise DeepMEMError(f"Pythia failed at {_FAILURES} events in a row")
        event = self._pythia.event
        free = dict(enumerate(self._process.outgoing))
        places = [0] * len(free)
        # decay products stand near the end of the record
        for index in reversed(range(event.size())):
            if not free:
                break
            particle = event[index]
            if particle.statusAbs() == 23 and particle.idAbs() in (11, 13):
                leg = next(leg for leg, code in free.items() if code == particle.id())
                places[leg] = index
                del free[leg]
        born = np.array([_massless(event[place]) for place in places])
        true = np.array([_massless(event[event[place].iBotCopyId()]) for place in places])
        return born, _dress(event, true) if self._dressed else true


def _massless(particle: Any) -> tuple[float, float, float, float]:
    """A lepton's energy along its direction: E² = p⃗² exactly, as weights assume."""
    energy = particle.e()
    stretch = energy / particle.pAbs()
    return energy, particle.px() * stretch, particle.py() * stretch, particle.pz() * stretch


def _dress(event: Any, leptons: np.ndarray) -> np.ndarray:
    """Add to each lepton the photons that are nearer to it than ΔR = 0.1, and to no other lepton nearer."""
    photons = np.array(
        [
            (p.e(), p.px(), p.py(), p.pz())
            for p in (event[index] for index in range(event.size()))
            if p.id() == 22 and p.isFinal() and p.pT() > 0
        ]
    ).reshape(-1, 4)
    (eta, phi), (photon_eta, photon_phi) = _angles(leptons), _angles(photons)
    turn = np.abs(phi[:, None] - photon_phi)
    distance = np.hypot(eta[:, None] - photon_eta, np.minimum(turn, 2 * np.pi - turn))
    dressed = leptons.copy()
    for photon in range(len(photons)):
        lepton = int(distance[:, photon].argmin())
        if distance[lepton, photon] < DRESSING:
            dressed[lepton] += photons[photon]
    length = np.sqrt((dressed[:, 1:] ** 2).sum(axis=1))
    dressed[:, 1:] *= (dressed[:, 0] / length)[:, None]
    return dressed


def _angles(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """η and φ of (E, px, py, pz) `[..., 4]`."""
    return np.arcsinh(p[..., 3] / np.hypot(p[..., 1], p[..., 2])), np.arctan2(p[..., 2], p[..., 1])
