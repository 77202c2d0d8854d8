"""The responses of a detector, fitted to simulated events in which it is known what objects really were.

This is the first step of every Matrix Element analysis: what is found is a configuration's key `response`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from deepmem.config import Config
from deepmem.data.files import make_folder, write_json
from deepmem.data.matching import Momenta, branches_of, candidates, matched, momenta
from deepmem.data.root import Source
from deepmem.errors import UsageError, nearest
from deepmem.jobs.events import tell_objects, unit_of
from deepmem.physics.detector.detector import MissingMomentum
from deepmem.physics.detector.fitting import LEAST_OBJECTS, SHAPES, Fit, Sample, best, drawn, fit_missing
from deepmem.reporter import Reporter

RADIUS = 0.3
"""ΔR within which a true particle is that of an object."""
_KINDS = {"lep": "lepton", "j": "jet", "pho": "photon", "tau": "tau"}
_MOST_OBJECTS = {"lep": 4, "j": 8, "pho": 4, "tau": 2}
_MOST_EVENTS = 500_000
_QUANTITIES = ("PT", "Eta", "Phi", "M", "PDG")
_PERFECT = 1e-6  # of an energy: what is measured better has no response to fit


@dataclass(frozen=True)
class Pairs:
    """Measured objects of one kind and their true energies `[events, objects]`, NaN without a match."""

    kind: str
    measured: Momenta
    tag: np.ndarray | None
    energy: np.ndarray
    true: Momenta | None
    """None where only the energies are known."""


def responses(
    events: Sequence[str],
    truth: str,
    output: str | Path,
    *,
    config: str | Path | Mapping[str, Any] | Config | None = None,
    schema: str | None = None,
    eta: Sequence[float] = (),
    shape: str | None = None,
    radius: float = RADIUS,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Fit a response to each class of objects, by region of |η|, and to missing pT and the recoil.

    **Arguments:** `events`, simulated, files as for `compute`; `truth`: a prefix of columns (`true_`, for
    `true_lep1_PT`), a suffix (`TrueE`, for the energy `j1_TrueE`), or a collection's prefix (`GenPart_`);
    `output`, a folder for `responses.json` and a figure each; `eta`, where regions of |η| end, increasing;
    `shape`, one for all instead of the best by Schwarz's criterion; `radius`, of the match.

    **Returns** what `responses.json` holds: `response`, the key of a configuration; `fits`, what each was
    fitted to and how well; `left_out`, what was not fitted and why.

    **Raises** `UsageError` for an unknown shape, a truth that the files don't have, and where no class has
    enough objects.
    """
    reporter = reporter or Reporter()
    if shape is not None and shape not in SHAPES:
        raise UsageError(f"no response {shape!r}{nearest(shape, SHAPES)}; known: {', '.join(SHAPES)}")
    edges = [float(each) for each in eta]
    if any(b <= a for a, b in zip([0.0, *edges], edges, strict=False)):
        raise UsageError(f"regions of |η| end above 0 and in rising order, got {edges}")
    settings = Config.load(config or {}, need=(), schema=schema)
    sample = _Simulation(list(events) or list(settings.input_paths), truth, settings, radius, reporter)
    folder = Path(output)
    make_folder(folder)
    found: dict[str, Any] = {"response": {}, "fits": [], "left_out": []}
    for kind, rows, pairs in _classes(sample.pairs):
        regions = _fit_class(kind, rows, pairs, edges, shape, folder, found)
        if regions:
            found["response"][kind] = regions[0] if len(regions) == 1 and not edges else regions
    for name, residual, activity in _momenta(sample):
        _fit_momentum(name, residual, activity, folder, found)
    if not found["response"]:
        raise UsageError(f"nothing could be fitted: {'; '.join(found['left_out']) or 'there are no objects'}")
    write_json(folder / "responses.json", found)
    return found | {"file": str(folder / "responses.json")}


class _Simulation:
    """The events: measured objects with their truth, by kind, and missing pT, in GeV."""

    def __init__(self, paths: list[str], said: str, settings: Config, radius: float, reporter: Reporter):
        if not paths:
            raise UsageError("give simulated events: ROOT files, or input_paths in the input file")
        self._paths, self._said, self._settings, self._radius = paths, said, settings, radius
        first = Source(paths, settings.input_tree, ()).files[0]
        self._names, self._address = first.branches, first.address
        self._particles = self._collection(branches_of(said, first.branches))
        self.factor = 1e-3 if unit_of(settings) == "MeV" else 1.0
        self._told = reporter
        self.pairs = [pairs for short in _KINDS if (pairs := self._pairs(short)) is not None]
        if not self.pairs:
            some = ", ".join(sorted(self._names)[:12])
            raise UsageError(
                f"{self._address} has no truth {said!r} of an object: give the prefix of columns (true_, for "
                "true_lep1_PT), a suffix (TrueE, for the energy j1_TrueE), or the prefix of a collection "
                f"(GenPart_); there are {some}, …"
            )

    @property
    def missing(self) -> np.ndarray | None:
        """The measured missing (p_x, p_y); None where there is none."""
        found = self._columns(("MET", "MET_Phi"))
        return None if found is None else _polar(found * [self.factor, 1.0])

    @property
    def neutrinos(self) -> np.ndarray | None:
        """The true (p_x, p_y) of all neutrinos; None where that is not known."""
        if self._particles is not None:
            return momenta(candidates(self._particles, "neutrino")).transverse * self.factor
        total = None
        for i in range(1, 4):
            names = [f"{self._said}nu{i}_{quantity}" for quantity in ("PT", "Phi")]
            if set(names) <= self._names:
                one = _polar(self._read(names) * [self.factor, 1.0])
                total = one if total is None else total + one
        return total

    def _pairs(self, short: str) -> Pairs | None:
        """The objects of one kind; None where the file has no truth of them."""
        count = self._count(short)
        if not count:
            return None
        measured = self._momenta([f"{short}{i}" for i in range(1, count + 1)])
        tags = self._columns([f"{short}{i}_B" for i in range(1, count + 1)]) if short == "j" else None
        if self._particles is not None:
            there = momenta(candidates(self._particles, _KINDS[short]))
            scaled = there._replace(pt=there.pt * self.factor, mass=there.mass * self.factor)
            true = matched(measured, scaled, self._radius)
            return Pairs(_KINDS[short], measured, tags, true.energy, true)
        names = [f"{self._said}{short}{i}" for i in range(1, count + 1)]
        if all(f"{name}_PT" in self._names for name in names):
            true = self._true(names)
            far = matched(measured, true, self._radius)  # a column may be of another object
            return Pairs(_KINDS[short], measured, tags, far.energy, far)
        energies = [f"{short}{i}_{self._said}" for i in range(1, count + 1)]
        if set(energies) <= self._names:
            return Pairs(_KINDS[short], measured, tags, self._read(energies) * self.factor, None)
        return None

    def _count(self, short: str) -> int:
        """How many objects of a kind the columns have."""
        if self._settings.located is not None:
            return _MOST_OBJECTS[short] if self._columns([f"{short}1_PT"]) is not None else 0
        there = (f"{short}{i}_PT" for i in range(1, _MOST_OBJECTS[short] + 1))
        return sum(self._settings.column_names.get(name, name) in self._names for name in there)

    def _momenta(self, objects: list[str]) -> Momenta:
        """Measured objects; a mass or a code that no column has is NaN."""
        found: list[np.ndarray] = []
        for quantity in _QUANTITIES:
            table = self._columns([f"{name}_{quantity}" for name in objects])
            if table is None and quantity in ("PT", "Eta", "Phi"):
                raise UsageError(f"{self._address} has no column for the {quantity} of {', '.join(objects)}")
            found.append(np.full_like(found[0], np.nan) if table is None else table)
        return Momenta(found[0] * self.factor, found[1], found[2], found[3] * self.factor, found[4])

    def _true(self, names: list[str]) -> Momenta:
        """True objects in columns of their own."""
        found: list[np.ndarray] = []
        for quantity in _QUANTITIES:
            columns = [f"{name}_{quantity}" for name in names]
            known = set(columns) <= self._names
            found.append(self._read(columns) if known else np.full_like(found[0], np.nan))
        return Momenta(found[0] * self.factor, found[1], found[2], found[3] * self.factor, found[4])

    def _columns(self, columns: Sequence[str]) -> np.ndarray | None:
        """Default columns `[events, columns]`; None where the file lacks one."""
        located = self._settings.located
        branches = [self._settings.column_names.get(column, column) for column in columns]
        if located is None:
            return self._read(branches) if set(branches) <= self._names else None
        try:
            source = Source(self._paths, self._settings.input_tree, branches, (), located)
        except UsageError:
            return None
        tell_objects(source, self._told)
        return np.asarray(source.read(0, min(source.num_entries, _MOST_EVENTS)), dtype=float)

    def _read(self, branches: Sequence[str]) -> np.ndarray:
        source = Source(self._paths, self._settings.input_tree, branches)
        return np.asarray(source.read(0, min(source.num_entries, _MOST_EVENTS)), dtype=float)

    def _collection(self, branches: Mapping[str, str]) -> ak.Array | None:
        if not branches:
            return None
        parts, left = [], _MOST_EVENTS
        for file in Source(self._paths, self._settings.input_tree, ()).files:
            if left > 0:
                arrays = file.tree.arrays(list(branches.values()), entry_stop=left, library="ak")
                parts.append(ak.zip({name: arrays[branch] for name, branch in branches.items()}))
                left -= len(arrays)
        whole = ak.concatenate(parts)
        if whole.ndim < 2:
            return None
        return whole


def _polar(table: np.ndarray) -> np.ndarray:
    size, phi = table.T
    return np.stack([size * np.cos(phi), size * np.sin(phi)], axis=1)


def _classes(found: Sequence[Pairs]) -> Iterator[tuple[str, np.ndarray, Pairs]]:
    """Which objects are of each class of responses: a jet of a b quark is a `bjet`."""
    for pairs in found:
        good = np.isfinite(pairs.energy) & np.isfinite(pairs.measured.pt) & (pairs.measured.pt > 0)
        if pairs.kind != "jet":
            yield pairs.kind, good, pairs
            continue
        of_b = np.ones_like(good)
        if pairs.true is not None and np.isfinite(pairs.true.pdg).any():
            of_b = np.abs(pairs.true.pdg) == 5
        elif pairs.tag is not None:
            of_b = pairs.tag > 0.5
        for name, rows in (("bjet", good & of_b), ("jet", good & ~of_b)):
            if rows.any():
                yield name, rows, pairs


def _fit_class(
    kind: str,
    rows: np.ndarray,
    pairs: Pairs,
    edges: Sequence[float],
    shape: str | None,
    folder: Path,
    found: dict[str, Any],
) -> list[dict[str, Any]]:
    """The entries of one class, a region of |η| each; none where a region has too few objects."""
    from deepmem.evaluation.plots import response

    eta, pt = np.abs(pairs.measured.eta[rows]), pairs.measured.pt[rows]
    rec, gen = pairs.measured.energy[rows], pairs.energy[rows]
    whole = Sample(rec, gen, pt.min() * rec / pt)
    entries = []
    for low, high in zip([0.0, *edges], [*edges, np.inf], strict=True):
        inside = (eta >= low) & (eta < high)
        where = kind if not edges else f"{kind}, |η| {low:g} to {high:g}" if np.isfinite(high) else kind
        if np.isinf(high) and edges and inside.sum() < LEAST_OBJECTS:
            break  # the last region ends where the last number says
        if inside.sum() < LEAST_OBJECTS:
            found["left_out"].append(f"{where}: {int(inside.sum())} objects, {LEAST_OBJECTS} are needed")
            return []
        sample = whole.take(inside)
        if np.median(np.abs(sample.rec / sample.gen - 1)) < _PERFECT:
            found["left_out"].append(f"{where}: measured perfectly, give 0")
            return []
        fitted = best(sample, (shape,) if shape else tuple(SHAPES))
        name = f"{kind}_{low:g}" if edges else kind
        response(folder / f"{name}.png", where, sample.rec, sample.gen, _as_fitted(fitted, sample))
        entries.append(_rounded(fitted.response.to_dict()) | ({} if np.isinf(high) else {"eta_max": high}))
        found["fits"].append(_described(where, fitted, folder / f"{name}.png"))
    return entries


def _as_fitted(fitted: Fit, sample: Sample, draws: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measured energies as the fitted response would have made them, their true ones, and their counts."""
    gen, low = np.repeat(sample.gen, draws), np.repeat(sample.low, draws)
    assert not isinstance(fitted.response, MissingMomentum)
    rec = drawn(fitted.response, gen, np.random.default_rng(1).uniform(1e-12, 1, len(gen)))
    seen = rec > low
    kept = seen.reshape(-1, draws).sum(axis=1)
    counts = np.repeat(1 / np.maximum(kept, 1), draws)
    return rec[seen], gen[seen], counts[seen]


def _momenta(sample: _Simulation) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """What missing pT and the recoil are off by, and H; nothing where the true neutrinos are not known."""
    missing, neutrinos = sample.missing, sample.neutrinos
    if missing is None or neutrinos is None:
        return
    seen = [pairs for pairs in sample.pairs if pairs.true is not None]
    good = np.isfinite(missing).all(axis=1) & np.isfinite(neutrinos).all(axis=1)
    activity = np.sum([np.nansum(pairs.measured.pt, axis=1) for pairs in seen], axis=0)
    yield "met", (missing - neutrinos)[good], activity[good]
    total = missing - neutrinos
    for pairs in seen:
        assert pairs.true is not None
        there = np.isfinite(pairs.measured.pt)
        good &= (np.isfinite(pairs.true.pt) == there).all(axis=1)
        total = total + pairs.measured.transverse - pairs.true.transverse
    # K_meas − K, where K is what the legs lack together
    yield "recoil", -total[good], activity[good]


def _fit_momentum(
    name: str, residual: np.ndarray, activity: np.ndarray, folder: Path, found: dict[str, Any]
) -> None:
    if len(residual) < LEAST_OBJECTS:
        found["left_out"].append(f"{name}: {len(residual)} events, {LEAST_OBJECTS} are needed")
        return
    if np.median(np.abs(residual)) < 0.01:
        found["left_out"].append(f"{name}: measured perfectly")
        return
    fitted = fit_missing(residual, activity)
    found["response"][name] = _rounded(fitted.response.to_dict())
    found["fits"].append(_described(name, fitted, None))


def _rounded(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The same with four digits of each number."""
    return {
        key: _rounded(each)
        if isinstance(each, Mapping)
        else float(f"{each:.4g}")
        if isinstance(each, float)
        else each
        for key, each in entry.items()
    }


def _described(where: str, fitted: Fit, figure: Path | None) -> dict[str, Any]:
    return {
        "of": where,
        "shape": fitted.shape,
        "objects": fitted.objects,
        "response": _rounded(fitted.response.to_dict()),
        "largest_difference": fitted.distance,
        "probability": fitted.probability,
        "figure": None if figure is None else str(figure),
    }
