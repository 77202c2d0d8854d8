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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import uproot

from deepmem.data.files import check_writable, whole_file
from deepmem.errors import DeepMEMError, UsageError, nearest
from deepmem.physics.constants import Parameters, electroweak
from deepmem.physics.constants import parameters as checked_parameters
from deepmem.physics.detector.detector import Detector
from deepmem.physics.detector.entries import detector as detector_of
from deepmem.physics.errors import unknown_name
from deepmem.physics.precision import double_precision
from deepmem.physics.processes import find_process
from deepmem.physics.processes.base import Process
from deepmem.physics.weights.event_columns import columns_of, jet_order, lepton_order, polar, polar_mass
from deepmem.physics.weights.sampling import default_masses, reach
from deepmem.selection import CHARGED_LEPTONS, JETS, NEUTRINOS, Selection, angles, delta_r, of_kind

TREE = "events"

PARAMETERS = {
    "sqrt_s": "Beams:eCM",
    "MZ": "23:m0",
    "WZ": "23:mWidth",
    "MW": "24:m0",
    "WW": "24:mWidth",
    "MT": "6:m0",
    "WT": "6:mWidth",
    "MB": "5:m0",
    "MH": "25:m0",
    "WH": "25:mWidth",
}
"""What Pythia is told, where a recipe has it, and what Pythia calls it; its couplings are its own."""

DRESSING = 0.1
"""ΔR within which a dressed lepton gets back its photons."""

JET_RADIUS = 0.4
LEAST_JET_PT = 10.0
"""Of a jet before the response, GeV."""


@dataclass(frozen=True)
class Recipe:
    """How Pythia makes a process, and what is kept of it by default."""

    settings: tuple[str, ...]
    selection: Selection
    parameters: tuple[str, ...]
    """Those of `PARAMETERS` that it depends on."""
    missing_pt: float | None = None
    """Noise of each component of missing pT in GeV; None: none, and no missing pT without neutrinos."""
    heaviest: bool = False
    """Whether √ŝ is bounded above, at twice the selection's mass window: most of the rate lies beyond it."""


_Z = ("sqrt_s", "MZ", "WZ")
_W = ("sqrt_s", "MW", "WW")
_HIGGS = ("MH", "WH")

_FOUR_LEPTONS = Selection(lepton_pt=(5.0,), lepton_eta=2.5, mass=(105.0, 140.0))
_TWO_LEPTONS = Selection(lepton_pt=(20.0, 10.0), lepton_eta=2.5)

_Z_DECAYS = ("23:doForceWidth = on", "23:onMode = off")
_W_DECAYS = ("24:doForceWidth = on", "24:onMode = off")
_TOP_DECAYS = ("6:doForceWidth = on", "6:onMode = off", "6:onIfMatch = 24 5")
_HIGGS_DECAYS = ("HiggsSM:gg2H = on", "25:doForceWidth = on", "25:onMode = off")

_DRELL_YAN = Recipe(
    ("WeakSingleBoson:ffbar2gmZ = on", *_Z_DECAYS),
    replace(_TWO_LEPTONS, mass=(40.0, np.inf)),
    _Z,
    missing_pt=8.0,
)
_ZZ = Recipe(
    ("WeakDoubleBoson:ffbar2gmZgmZ = on", *_Z_DECAYS, "23:mMin = 4"), _FOUR_LEPTONS, _Z, heaviest=True
)
_HIGGS_ZZ = Recipe(
    (*_HIGGS_DECAYS, "25:onIfMatch = 23 23", *_Z_DECAYS, "23:mMin = 4"), _FOUR_LEPTONS, _Z + _HIGGS
)
_TOPS = Recipe(
    ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *_TOP_DECAYS, *_W_DECAYS),
    Selection(lepton_pt=(20.0,), lepton_eta=2.5, jet_pt=(25.0,), jet_eta=2.5, jet_delta_r=0.4),
    (*_W, "MT", "WT", "MB"),
)
_WW = Recipe(("WeakDoubleBoson:ffbar2WW = on", *_W_DECAYS), _TWO_LEPTONS, (*_W, "MZ", "WZ"))
_HIGGS_WW = Recipe(
    (*_HIGGS_DECAYS, "25:onIfMatch = 24 24", *_W_DECAYS, "24:mMin = 1"), _TWO_LEPTONS, _W + _HIGGS
)

RECIPES: dict[str, Recipe] = {
    "drell_yan": _DRELL_YAN,
    **dict.fromkeys(("zz_4l", "zz_4e", "zz_4mu"), _ZZ),
    **dict.fromkeys(("higgs_4l", "higgs_4e", "higgs_4mu"), _HIGGS_ZZ),
    "ttbar_2l": _TOPS,
    "ww_2l": _WW,
    "higgs_ww_2l": _HIGGS_WW,
}

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
    - `selection`: cuts on what is measured, a `Selection` or a dict; {}: none; None: the recipe's own, with
      the mass window of four leptons around the Higgs boson's mass.
    - `response`: per particle class as in the configuration, e.g. {"lepton": 0.05}, and {"met": {"c": 8}}
      for the noise of missing pT; by default the process's own.
    - `dressed`: leptons with the photons within ΔR < 0.1.
    - `progress`: called with the number of events kept so far.
    - `parameters`: those of the recipe, GeV.

    **Raises** `UsageError` for a wrong argument, or where `pythia8mc` is missing; `DeepMEMError` where Pythia
    fails or hardly any event passes the selection.
    """
    entry, recipe = find_process(process), _recipe(process)
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
    cuts = _usual_selection(entry, recipe, theory) if selection is None else Selection.of(selection)
    detector = _detector(entry, recipe, response)
    if output is not None:
        check_writable(output)
    pythia, hook = _pythia(_settings(entry, recipe, cuts, detector, theory, seed), entry)
    source = _Source(pythia, hook, entry, cuts, detector, float(theory.MB), dressed, seed)

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


def _recipe(process: str) -> Recipe:
    if process not in RECIPES:
        raise UsageError(
            f"{process} cannot be generated{nearest(process, RECIPES)}; there are recipes for "
            f"{', '.join(RECIPES)}"
        )
    return RECIPES[process]


def _usual_selection(process: Process, recipe: Recipe, p: Parameters) -> Selection:
    """The recipe's cuts; the mass window of four leptons is that of σ, so it follows the Higgs boson's."""
    if len(process.outgoing) == 4 and not process.invisible:
        return replace(recipe.selection, mass=default_masses(process, p))
    return recipe.selection


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
    pythia = pythia8mc.Pythia("", False)
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


# --- the detector
# -------------------------------------------------------------------------------


def _detector(process: Process, recipe: Recipe, response: Mapping[str, Any] | None) -> Detector:
    """The process's own responses, but for those given; missing pT is measured of every process."""
    noise = {} if recipe.missing_pt is None else {"met": {"c": recipe.missing_pt}}
    classes = sorted(set(process.visible_classes))
    return detector_of({**process.responses, **noise, **(response or {})}, classes, missing=True)


def _measured(
    true: np.ndarray, classes: tuple[str, ...], detector: Detector, b_mass: float, u: np.ndarray
) -> np.ndarray:
    """Measured momenta: energies drawn from the responses, directions and velocities kept.

    NaN where the true energy lies outside of its response's support of the measured one: no weight's
    integral reaches there, so σ_vis has no such events, and no selection keeps them.

    **Arguments:** `true`, `[events, legs, 4]` in GeV; `b_mass`, of the parton that weights take to be
    behind a jet, GeV; `u` `[events, legs]` in (0, 1). Neutrinos stay.
    """
    measured = true.copy()
    for leg, kind in enumerate(classes):
        if kind != "invisible":
            mass = b_mass if kind == "bjet" else 0.0
            energy = _measured_energy(detector, kind, true[:, leg], u[:, leg], mass)
            measured[:, leg] *= (energy / true[:, leg, 0])[:, None]
    return measured


def _missing(
    true: np.ndarray, measured: np.ndarray, codes: tuple[int, ...], detector: Detector, u: np.ndarray
) -> np.ndarray | None:
    """Missing (p_x, p_y) in GeV, `[events, 2]`; None where nothing is missing but what is mismeasured.

    **Arguments:** momenta `[events, legs, 4]` in GeV, `u` `[events, 2]` in (0, 1).
    """
    neutrinos = of_kind(codes, NEUTRINOS)
    if neutrinos:
        missing = true[:, neutrinos, 1:3].sum(axis=1)
    elif detector.missing is not None:
        # leptons that are measured too high leave pT missing on the other side
        missing = (true - measured)[..., 1:3].sum(axis=1)
    if detector.missing is None:
        return missing if neutrinos else None
    seen = measured[:, of_kind(codes, CHARGED_LEPTONS + JETS)]
    activity = np.hypot(seen[..., 1], seen[..., 2]).sum(axis=1)
    with double_precision():
        drawn = detector.missing.draw((missing[:, 0], missing[:, 1]), (u[:, 0], u[:, 1]), activity)
        return np.stack([np.asarray(component) for component in drawn], axis=1)


def _measured_energy(detector: Detector, kind: str, p: np.ndarray, u: np.ndarray, mass: float) -> np.ndarray:
    """Measured energies or NaN, in batches of one size so that the response is compiled once."""
    eta, _ = angles(p)
    rows = len(p)
    padded = np.ones((3, -(-rows // _CHUNK) * _CHUNK))
    padded[:, :rows] = eta, p[:, 0], u
    padded[2, rows:] = 0.5
    with double_precision():
        parts = [
            np.asarray(_draw_energies(detector, kind, *map(jnp.asarray, padded[:, k : k + _CHUNK]), mass))
            for k in range(0, padded.shape[1], _CHUNK)
        ]
    return np.concatenate(parts)[:rows]


@partial(jax.jit, static_argnums=1)
def _draw_energies(
    detector: Detector, kind: str, eta: jax.Array, energy: jax.Array, u: jax.Array, mass: float
) -> jax.Array:
    def one(at: jax.Array, true: jax.Array, v: jax.Array) -> jax.Array:
        rec, reached = detector.draw(kind, at, true, v, mass)
        return jnp.where(reached, rec, jnp.nan)

    return jax.vmap(one)(eta, energy, u)


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
        b_mass: float,
        dressed: bool,
        seed: int,
    ) -> None:
        self._pythia, self._hook = pythia, hook
        self._process, self._dressed = process, dressed
        self._selection, self._detector, self._b_mass = selection, detector, b_mass
        self._jets = _jet_finder() if "bjet" in process.classes else None
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
        rows = [self._next() for _ in range(number)]
        born, true = (np.stack(parts) for parts in zip(*rows, strict=True))
        u = np.maximum(self._energies.random((number, legs)), 2.0**-54)
        measured = _measured(true, self._process.classes, self._detector, self._b_mass, u)
        noise = np.maximum(self._noise.random((number, 2)), 2.0**-54)
        missing = _missing(true, measured, codes, self._detector, noise)
        passed = np.flatnonzero(self._selection.passes(measured, codes, missing))
        if len(passed) > most:
            passed = passed[:most]
            # events behind the last one that is kept do not count as tried
            number = int(passed[-1]) + 1
        self.tried += number
        return _columns(
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
        born = np.array([_momentum(event[place]) for place in places])
        true = np.array([_momentum(event[final]) for final in finals])
        if self._process.invisible:
            born = _before_decays_radiate(self._pythia.process, event, codes)
        leptons, quarks = of_kind(codes, CHARGED_LEPTONS), of_kind(codes, JETS)
        if self._dressed:
            true[leptons] = _dress(event, true[leptons])
        if self._jets is not None:
            for leg in leptons:
                event[finals[leg]].statusNeg()
            true[quarks] = _tagged(self._jets, event, born[quarks])
        return born, true


def _columns(
    born: np.ndarray,
    true: np.ndarray,
    measured: np.ndarray,
    missing: np.ndarray | None,
    codes: tuple[int, ...],
) -> dict[str, np.ndarray]:
    events = np.arange(len(measured))
    columns = columns_of(measured, codes, missing)
    order = lepton_order(measured, codes)
    legs = {f"lep{index + 1}": order[:, index] for index in range(order.shape[1])}
    legs |= {f"j{index + 1}": leg for index, leg in enumerate(jet_order(measured, codes).T)}
    if of_kind(codes, NEUTRINOS):
        # a W's neutrino follows its lepton in the process's order of legs
        legs |= {f"nu{index + 1}": order[:, index] + 1 for index in range(order.shape[1])}
    for prefix, momenta in (("true", true), ("born", born)):
        for name, leg in legs.items():
            of_leg = polar_mass if name.startswith("j") else polar
            columns |= of_leg(momenta[events, leg], f"{prefix}_{name}")
            if prefix == "born" and name.startswith("j"):
                columns[f"born_{name}_PDG"] = np.asarray(codes, dtype=np.int32)[leg]
    return {
        name: array if array.dtype == np.int32 else array.astype(np.float32)
        for name, array in columns.items()
    }


def _momentum(particle: Any) -> tuple[float, float, float, float]:
    """(E, px, py, pz); a lepton's is its energy along its direction, E² = p⃗² exactly, as weights assume."""
    energy = particle.e()
    stretch = energy / particle.pAbs() if particle.idAbs() in CHARGED_LEPTONS + NEUTRINOS else 1.0
    return energy, particle.px() * stretch, particle.py() * stretch, particle.pz() * stretch


def _before_decays_radiate(process: Any, event: Any, codes: tuple[int, ...]) -> np.ndarray:
    """Momenta `[legs, 4]` of the hard process, moved along with the tops, Ws or Higgs that it produced.

    A lepton from a W has recoiled against what the b quark of the same top radiated, so that momenta from
    the record of the whole event make no top.
    """
    found = {}
    for index in range(process.size()):
        particle = process[index]
        if particle.status() != 23:
            continue
        top = index
        while process[process[top].mother1()].statusAbs() != 21:
            top = process[top].mother1()
        # the first entries of both records are the same
        particle.bstback(process[top].p())
        particle.bst(event[event[top].iBotCopyId()].p())
        found[particle.id()] = _momentum(particle)
    return np.array([found[code] for code in codes])


def _dress(event: Any, leptons: np.ndarray) -> np.ndarray:
    """Add to each lepton the photons that are nearer to it than ΔR = 0.1, and to no other lepton nearer.

    They are final no longer, so that no jet has them too.
    """
    found = [
        p
        for p in (event[index] for index in range(event.size()))
        if p.id() == 22 and p.isFinal() and p.pT() > 0
    ]
    photons = np.array([(p.e(), p.px(), p.py(), p.pz()) for p in found]).reshape(-1, 4)
    distance = delta_r(leptons[:, None], photons[None])
    dressed = leptons.copy()
    for photon in range(len(photons)):
        lepton = int(distance[:, photon].argmin())
        if distance[lepton, photon] < DRESSING:
            dressed[lepton] += photons[photon]
            found[photon].statusNeg()
    length = np.sqrt((dressed[:, 1:] ** 2).sum(axis=1))
    dressed[:, 1:] *= (dressed[:, 0] / length)[:, None]
    return dressed


# --- jets
# ---------------------------------------------------------------------------------------


def _jet_finder() -> Any:
    """Anti-kT jets of all final particles but neutrinos, by Pythia's own loop: FastJet prints a banner."""
    from pythia8mc import SlowJet

    anti_kt, not_neutrinos, own_masses, fastjet = -1, 2, 2, False
    return SlowJet(anti_kt, JET_RADIUS, LEAST_JET_PT, 25.0, not_neutrinos, own_masses, None, fastjet)


def _tagged(finder: Any, event: Any, quarks: np.ndarray) -> np.ndarray:
    """The two hardest jets with a b quark, each in the place of the quark that it belongs to, or NaN.

    Of the two assignments, that of the smaller ΔR² + ΔR².
    """
    finder.analyze(event)
    jets: list[tuple[float, float, float, float]] = []
    # jets come by falling pT
    for index in range(finder.sizeJet()):
        if any(event[int(part)].idAbs() == 5 for part in finder.constituents(index)):
            p = finder.p(index)
            jets.append((p.e(), p.px(), p.py(), p.pz()))
        if len(jets) == 2:
            pair = np.array(jets)
            swapped = pair[::-1]
            closer = (delta_r(pair, quarks) ** 2).sum() <= (delta_r(swapped, quarks) ** 2).sum()
            return pair if closer else swapped
    return np.full((2, 4), np.nan)
