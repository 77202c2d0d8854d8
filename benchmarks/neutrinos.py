"""Accuracy and speed of exact weights with neutrinos: tt̄ and WW dileptons.

    python benchmarks/neutrinos.py [momemta] [vegas] [speed] [pythia] [honesty] [ww] [scan] [mass] [closure] [figure] [--pythia FILE] [--write]

Without arguments everything is measured, which takes about an hour on one core. Compiling is left out of
times. Times depend on the machine: read them as ratios. Events come from tests/reference/momemta.json and from the
leading-order model. A number that misses its target is printed all the same. `figure` writes top_mass.png. With a
file of `deepmem generate ttbar_2l`, `mass` prints the bias of m_t on its events, too. `pythia` generates events (extra
`generate`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import reduce
from operator import xor
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import uproot
from table import run, say, say_coverage

from deepmem.event import Status, Weight
from deepmem.physics.integrals.integrand import values as integrand_values
from deepmem.physics.integrals.slots import slots_per_call
from deepmem.physics.phasespace import solutions
from deepmem.physics.phasespace.expert import Proposal, by_branch
from deepmem.physics.phasespace.experts import top_pairs
from deepmem.physics.phasespace.lines import BreitWigner, Resonances
from deepmem.physics.phasespace.seen import Seen, w_and_top
from deepmem.physics.phasespace.visible import Legs
from deepmem.physics.precision import double_precision
from deepmem.physics.weights import engine, visible
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.integrand import of_escaping
from deepmem.physics.weights.leading_order import Disc, cross_section, draw_events
from deepmem.physics.weights.partonic import Partonic, shared_by_events
from deepmem.physics.weights.plan import plan_for
from deepmem.physics.weights.preparation import prepare

TESTS = Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS / "physics"))
from known_densities import LEPTONS, TOPS, integral  # noqa: E402

REFERENCE = TESTS / "reference"
MT = 173.0
MOMEMTA = json.loads((REFERENCE / "momemta.json").read_text())


def of_momemta(names: list[str]) -> dict[str, np.ndarray]:
    """MoMEMta's events as columns: ℓ⁺ is lep1, "bjet1" is jet 1."""
    columns: dict[str, list[float]] = {}

    def put(**values: float) -> None:
        for name, value in values.items():
            columns.setdefault(name, []).append(float(value))

    for name in names:
        event = MOMEMTA["events"][name]
        for prefix, leg, charge in (
            ("lep1", "electron", 1),
            ("lep2", "muon", -1),
            ("j1", "bjet1", 0),
            ("j2", "bjet2", 0),
        ):
            px, py, pz, energy = event["particles"][leg]
            pt, size = np.hypot(px, py), np.sqrt(px**2 + py**2 + pz**2)
            put(**{f"{prefix}_Eta": np.arcsinh(pz / pt), f"{prefix}_Phi": np.arctan2(py, px)})
            if charge:
                put(**{f"{prefix}_PT": pt * energy / size, f"{prefix}_Charge": charge})
            else:
                put(**{f"{prefix}_PT": pt, f"{prefix}_M": np.sqrt(max(energy**2 - size**2, 0.0))})
        put(MET=np.hypot(*event["met"]), MET_Phi=np.arctan2(event["met"][1], event["met"][0]))
    return {name: np.array(values) for name, values in columns.items()}


class Measured:
    """Weights of events, with what they cost: CPU seconds per event from evaluations, compiling left out."""

    def __init__(
        self, process: str, events: dict[str, np.ndarray], settings: dict[str, Any] | None = None, **call: Any
    ):
        alpha = hypothesis(process, **(settings or {}))
        few = {name: values[:4] for name, values in events.items()}
        engine.compute(alpha, few, **call | {"precision": 0.3})
        begin = time.process_time()
        self.weights = engine.compute(alpha, events, **call)
        self.seconds = time.process_time() - begin
        # values of a scan share points
        first, *_ = self.weights.values()
        assert first.evaluations is not None
        self.evaluations = first.evaluations
        self.per_event = self.seconds * self.evaluations / self.evaluations.sum()

    @property
    def one(self) -> Weight:
        (found,) = self.weights.values()
        return found


def pulls(one: Weight, other: Weight) -> np.ndarray:
    return (one.value - other.value) / np.hypot(one.error, other.error)


def _comparable() -> list[dict[str, Any]]:
    """MoMEMta's results that are what it says they are."""
    return [
        r
        for r in MOMEMTA["results"]
        if r["config"] == "tt_nnpdf23lo"
        and r["event"].startswith("gen")
        and r["status"] == 0
        and r["chi2"] <= 3 * r["chi2_df"]
    ]


def momemta() -> None:
    """Weights against MoMEMta's, event by event, and both against ours of 0.1 %."""
    results = _comparable()
    events = of_momemta([r["event"] for r in results])
    theirs = np.array([r["weight"] for r in results])
    their_error = np.array([r["error"] for r in results])
    for frame in ("lab", "pt0"):
        ours = Measured("ttbar_2l", events, {"frame": frame}).one
        pull = (ours.value - theirs) / np.hypot(ours.error, their_error)
        say(f"tt, {len(results)} of MoMEMta's events, frame={frame}:")
        say("  mean pull", f"{pull.mean():+.2f}", "0 ± 0.2")
        say("  width of the pulls", f"{pull.std():.2f}", "1 ± 0.15")
        say("  largest |pull|", f"{np.abs(pull).max():.1f}", "≤ 5")
    say("the same events, frame=pt0, against weights of 0.1 %:")
    measured = Measured("ttbar_2l", events)
    better = Measured("ttbar_2l", events, precision=1e-3, calls=1 << 22).one
    precise = better.error < 2e-3 * better.value
    say("  events known to 0.2 %", f"{precise.sum()}")

    def true_error(value: np.ndarray) -> float:
        return float(np.median(np.abs(value / better.value - 1)[precise]) / 0.6745)

    own, other = true_error(measured.one.value), true_error(theirs)
    say("  true error of our weights (median, as a standard deviation)", f"{own:.2%}")
    say("  true error of MoMEMta's weights", f"{other:.2%}")
    bias = (measured.one.value / better.value - 1)[precise]
    say(
        "  our weights of 1 % over those of 0.1 %: mean",
        f"{bias.mean():+.2%} ± {bias.std() / np.sqrt(len(bias)):.2%}",
    )
    low = (theirs / better.value - 1)[precise]
    say(
        "  MoMEMta's weights over ours of 0.1 %: mean",
        f"{low.mean():+.2%} ± {low.std() / np.sqrt(len(low)):.2%}",
    )
    seconds = np.array([r["cpu_s"] for r in results])
    say("  CPU per event at 1 %, median: ours", f"{1e3 * np.median(measured.per_event):.0f} ms")
    say("  CPU per event at 1 %, mean: ours", f"{1e3 * np.mean(measured.per_event):.0f} ms")
    say("  CPU per event at 1 %, median: MoMEMta's", f"{1e3 * np.median(seconds):.0f} ms")
    ratio = np.median(seconds) / np.median(measured.per_event)
    say("  times faster than MoMEMta", f"{ratio:.0f}")
    same = (own / other) ** 2  # time goes with the inverse square of the error
    say(
        "  CPU per event at MoMEMta's true error",
        f"{1e3 * np.median(measured.per_event) * same:.0f} ms",
        "≤ 37 ms",
    )
    say("  times faster at MoMEMta's true error", f"{ratio / same:.0f}", "≥ 100")
    say("  events missing 1 %", f"{np.mean(measured.one.status != Status.GOOD):.1%}", "≤ 1 %")


# MoMEMta's estimator, Vegas of Cuba 4.2.1: evaluations per iteration and at most, bits of Sobol's points, cells
_EACH, _MOST, _BITS, _CELLS, _DIMENSIONS = 25_000, 500_000, 19, 128, 9
# of dimensions 2 to 9: a polynomial and the first numbers (P. Bratley, B. L. Fox, ACM TOMS 14 (1988) 88)
_SOBOL: tuple[tuple[int, ...], ...] = ((3, 1), (7, 1, 1), (11, 1, 3, 7), (13, 1, 1, 5), (19, 1, 3, 1, 1))
_SOBOL += ((25, 1, 1, 3, 7), (37, 1, 3, 3, 9, 9), (59, 1, 3, 7, 13, 3))


def _sobol() -> np.ndarray:
    """As many points as Vegas may take `[points, 9]`."""
    directions = [[1] * (_BITS + 1)]
    for polynomial, *numbers in _SOBOL:
        degree = len(numbers)
        for i in range(_BITS + 1 - degree):
            terms = [numbers[i + k] << (degree - k) for k in range(degree) if polynomial >> k & 1]
            numbers.append(reduce(xor, terms, numbers[i]))
        directions.append(numbers)
    gray = np.arange(1, _MOST + 1) ^ (np.arange(1, _MOST + 1) >> 1)
    points = np.zeros((_MOST, _DIMENSIONS), dtype=np.int64)
    for bit, column in enumerate(np.array(directions).T << (_BITS - np.arange(_BITS + 1))[:, None]):
        points ^= (gray >> bit & 1)[:, None] * column
    return points * 2.0 ** -(_BITS + 1)


def _as_momemta(shared: Any, event: Any, u: Any, _: None) -> Proposal:
    """MoMEMta's variables: the assignment, four masses, energies linear in u; then its block D."""
    order = jnp.where(u[0] < 0.5, jnp.array([0, 1, 2, 3]), jnp.array([0, 3, 2, 1]))
    turned = event._replace(legs=Legs(*(values[order] for values in event.legs)))
    # its rounded mass of the W is in the map alone
    w, (_, top) = BreitWigner(jnp.array([80.419002]), jnp.array([2.0476])), w_and_top(shared.parameters)
    masses = Resonances((w, top, w, top), event.choices.broad)
    s = masses.draw(u[1:5])
    density = 1 / masses.density(s)
    seen, p = Seen(shared, turned, top_pairs.CLASSES), []
    for i in range(4):
        energy, of_energy = seen.responses[i].linear(u[5 + i], turned.legs.energy[i], turned.legs.mass[i])
        p.append(seen.momentum(i, energy))
        density = density * of_energy * seen.measure(i, seen.size(i, energy))
    pair = solutions.top_pair(*p, (event.missing[0], event.missing[1]), s)
    legs = by_branch(p[0], pair.neutrino, p[1], p[2], pair.antineutrino, p[3])
    return Proposal(legs, density * pair.jacobian)


def _vegas(
    f: Callable[[np.ndarray], np.ndarray], points: Callable[[int], np.ndarray], least: int = 1
) -> np.ndarray:
    """Iterations until 1 % is reached, and `least`: estimates and their inverse variances `[iterations, 2]`."""
    edges, dimension = np.tile(np.linspace(0, 1, _CELLS + 1), (_DIMENSIONS, 1)), np.arange(_DIMENSIONS)
    found: list[tuple[float, float]] = []
    while len(found) < _MOST // _EACH:
        u = points(len(found) * _EACH) * _CELLS
        cell = u.astype(int)
        low, width = edges[dimension, cell], edges[dimension, cell + 1] - edges[dimension, cell]
        values = f(low + (u - cell) * width) * (width * _CELLS).prod(axis=1) / _EACH
        found.append((values.sum(), (_EACH - 1) / ((values**2).sum() * _EACH - values.sum() ** 2)))
        value, error = _weighted(np.array(found))
        if error <= 0.01 * value and len(found) >= least:
            break
        for d in range(_DIMENSIONS):
            # cells of equal importance, ((r − 1)/log r)^1.5 of smoothed squares r; their edges are smoothed, too
            squares = np.pad(np.bincount(cell[:, d], values**2, _CELLS), 1)
            r = np.convolve(squares, np.ones(3), "valid") / np.r_[2, np.full(_CELLS - 2, 3), 2]
            r = np.maximum(r / r.sum(), 1e-300)
            importance = np.where(r > 1e-300, ((r - 1) / np.log(r)) ** 1.5, 0)
            upto, wanted = importance.cumsum(), importance.mean() * np.arange(1, _CELLS)
            k = np.searchsorted(upto, wanted)
            part = 2 * (upto[k] - wanted) / (importance[k] + importance[np.maximum(k - 1, 0)])
            inner = edges[d, k + 1] - np.diff(edges[d])[k] * part
            edges[d] = np.r_[0, np.maximum.accumulate(np.maximum(inner, 0)), 1]
    return np.array(found)


def _weighted(iterations: np.ndarray, stop: bool = False) -> tuple[float, float]:
    """Vegas' mean, weighted with estimated errors; and where it stops."""
    total = iterations[:, 1].cumsum()
    value, error = (iterations[:, 0] * iterations[:, 1]).cumsum() / total, total**-0.5
    enough = np.append(np.flatnonzero(error <= 0.01 * value), -1)
    at = enough[0] if stop else -1
    return value[at], error[at]


def vegas(seeds: int = 2) -> None:
    """Why MoMEMta's weights are low: its estimator, emulated on its integrand, against ours of 0.1 %."""
    results = _comparable()
    count, names = len(results), [r["event"] for r in results]
    theirs, their_error = (np.array([r[key] for r in results]) for key in ("weight", "error"))
    alpha = hypothesis("ttbar_2l", frame="lab")
    shared = shared_by_events(alpha)
    known = prepare(alpha, plan_for(alpha), shared, visible.visible(alpha, of_momemta(names))[0])
    staged = of_escaping(Partonic.of(alpha), (_as_momemta,))
    slots = slots_per_call()

    def of(i: int, broad: float = 0.0) -> Callable[[np.ndarray], np.ndarray]:
        rows = known.rows([i] * slots).choosing(broad=np.full(slots, broad))

        def f(x: np.ndarray) -> np.ndarray:
            padded = np.resize(x, (-(-len(x) // (256 * slots)), slots, 256, _DIMENSIONS))
            with double_precision():
                parts = [integrand_values(staged, shared, rows, each)[0] for each in padded]
            return np.concatenate(parts).ravel()[: len(x)]

        return f

    ours = Measured("ttbar_2l", of_momemta(names), {"frame": "lab"}, precision=1e-3, calls=1 << 22).one
    pull = (theirs - ours.value) / np.hypot(their_error, ours.error)
    worst = int(np.abs(pull).argmax())
    others = np.arange(count) != worst
    sobol, rng = _sobol(), np.random.default_rng(0)
    same = [_vegas(of(i), lambda k: sobol[k : k + _EACH]) for i in range(count)]
    emulated, error = np.array([_weighted(each) for each in same]).T
    off = np.abs(emulated / theirs - 1)
    three = np.array([r["n_eval"] == 3 * _EACH for r in results])
    say("MoMEMta's Vegas, emulated on its integrand, against MoMEMta:")
    say(f"  median difference of {count} events", f"{np.median(off):.1e}")
    say(f"  median difference of {three.sum()} events with 3 iterations", f"{np.median(off[three]):.1e}")

    def compared(what: str, value: np.ndarray, error: np.ndarray | None = None) -> None:
        ratio = (value / ours.value - 1)[..., others]
        say(f"  {what}", f"{ratio.mean():+.2%} ± {ratio.std() / np.sqrt(ratio.size):.2%}")
        if error is not None:
            d = ((value - ours.value) / np.hypot(error, ours.error))[..., others]
            say(f"  {what}: mean pull", f"{d.mean():+.2f}")
            say(f"  {what}: width of pulls", f"{d.std():.2f}")

    say(f"weights over ours of 0.1 %, minus 1, without {names[worst]}:")
    compared("MoMEMta", theirs, their_error)
    compared("emulated, its points", emulated, error)
    draws = [
        [_vegas(of(i), lambda _: rng.random((_EACH, _DIMENSIONS)), 8) for i in range(count)]
        for _ in range(seeds)
    ]
    stopped = np.array([[_weighted(each, stop=True) for each in run] for run in draws])
    compared(f"emulated, independent points, {seeds} times", stopped[..., 0], stopped[..., 1])
    plain = np.array([[each[2:, 0].mean() for each in run] for run in draws])
    compared("plain mean of their iterations from the third to at least the eighth", plain)
    say("plain mean of 18 iterations, a fifth of the masses drawn off their resonances, over ours of 0.1 %:")
    for i in np.abs(pull).argsort()[:-6:-1]:
        f = of(i, broad=0.2)
        each = _vegas(f, lambda _: rng.random((_EACH, _DIMENSIONS)), _MOST // _EACH)[2:, 0] / ours.value[i]
        found = f"{each.mean():.3f} ± {each.std() / np.sqrt(len(each)):.3f}"
        say(f"  {names[i]}", found)
        say(f"  {names[i]}, MoMEMta's weight", f"{theirs[i] / ours.value[i]:.3f}")


def speed() -> None:
    _speed("leading-order", draw_events("ttbar_2l", 400, 5, TOPS, recoil=20.0).columns, "≤ 37 ms")


def pythia(folder: Path) -> None:
    """The same of events with showers, whose jets and recoil are not the engine's own (extra `generate`)."""
    from deepmem.events.pythia import generate

    generate("ttbar_2l", 400, 41, folder / "events.root")
    with uproot.open(f"{folder / 'events.root'}:events") as tree:
        _speed("Pythia", tree.arrays(library="np"))


def _speed(kind: str, events: dict[str, np.ndarray], target: str = "") -> None:
    found = Measured("ttbar_2l", events)
    say(f"tt, {len(found.one)} {kind} events at 1 %:")
    say("  CPU per event, median", f"{1e3 * np.median(found.per_event):.0f} ms", target)
    say("  CPU per event, mean", f"{1e3 * np.mean(found.per_event):.0f} ms")
    say("  evaluations, median", f"{np.median(found.evaluations):.0f}")
    say("  CPU per evaluation", f"{1e6 * found.seconds / found.evaluations.sum():.2f} us")
    say("  events missing 1 %", f"{np.mean(found.one.status != Status.GOOD):.1%}", "≤ 1 %")


def _honesty(process: str, events: dict[str, np.ndarray]) -> None:
    one, other = (Measured(process, events, seed=seed).one for seed in (0, 1))
    d = pulls(one, other)
    d = d[np.isfinite(d)]
    say(f"{process}, {len(d)} events, two seeds against each other:")
    say("  width of the pulls", f"{d.std():.2f}", "1 ± 0.15")
    say("  largest |pull|", f"{np.abs(d).max():.1f}", "≤ 6")
    # no less than the level, by more than what so many events leave open
    least = [100 * (p - np.sqrt(p * (1 - p) / len(d))) for p in (0.683, 0.95)]
    say_coverage(
        np.mean(np.abs(d) < 1), np.mean(np.abs(d) < 1.96), (f"≥ {least[0]:.1f} %", f"≥ {least[1]:.1f} %")
    )


def honesty() -> None:
    _honesty("ttbar_2l", draw_events("ttbar_2l", 400, 6, TOPS, recoil=20.0).columns)
    _honesty("ww_2l", draw_events("ww_2l", 400, 6, LEPTONS, recoil=20.0).columns)
    _honesty("higgs_ww_2l", draw_events("higgs_ww_2l", 400, 6, LEPTONS, recoil=20.0).columns)


def ww() -> None:
    for process in ("ww_2l", "higgs_ww_2l"):
        found = Measured(process, draw_events(process, 400, 7, LEPTONS, recoil=20.0).columns)
        say(f"{process}, 400 events at 1 %:")
        say("  CPU per event, median", f"{1e3 * np.median(found.per_event):.1f} ms", "≤ 10 ms")
        say("  CPU per event, mean", f"{1e3 * np.mean(found.per_event):.1f} ms")
        say("  events missing 1 %", f"{np.mean(found.one.status != Status.GOOD):.1%}")


def scan() -> None:
    """11 values of m_t over ±5 GeV: what they cost, and how well differences of log W are known."""
    events = draw_events("ttbar_2l", 100, 8, TOPS, recoil=20.0).columns
    single = Measured("ttbar_2l", events)
    masses = tuple(168.0 + np.arange(11))
    runs = [Measured("ttbar_2l", events, {"MT": masses}, precision=0.02, seed=seed) for seed in range(4)]
    logs = np.stack([[np.log(w.value) for w in run.weights.values()] for run in runs])
    difference = logs - logs[:, 5:6]
    spread = difference.std(axis=0, ddof=1)[[0, 1, 2, 3, 4, 6, 7, 8, 9, 10]]
    say(
        "11 values of m_t: time over that of one value",
        f"{np.mean([r.seconds for r in runs]) / single.seconds:.1f}",
        "≤ 6",
    )
    say("  error of log W(m_t)/W(173) per event, median", f"{np.median(spread):.3f}", "≤ 0.02")
    say("  error of log W(m_t)/W(173) of 90 % of events", f"{np.quantile(spread, 0.9):.3f}", "≤ 0.02")


def mass() -> None:
    """Samples of the engine's own events: the pull of the fitted m_t."""
    samples, size = 20, 50
    events = draw_events("ttbar_2l", samples * size, 9, TOPS, recoil=20.0).columns
    masses, log = _scanned(events, TOPS, 20.0)
    fits = [_fitted(masses, part) for part in np.split(log, samples, axis=1)]
    pull = [(fit.mass - MT) / fit.error for fit in fits]
    say(
        f"m_t from {samples} samples of {size} events of the engine's own: mean pull",
        f"{np.mean(pull):+.2f} ± {np.std(pull) / np.sqrt(samples):.2f}",
        "0 ± 0.5",
    )
    say("  width of the pulls", f"{np.std(pull):.2f}")


class _Fit(NamedTuple):
    mass: float
    error: float
    """From the curvature: right if the events are the model's."""
    spread: float
    """From how the slopes of events scatter: right whatever they are."""


def _scanned(
    events: dict[str, np.ndarray], cuts: dict[str, Any], recoil: float, middle: float = MT
) -> tuple[np.ndarray, np.ndarray]:
    """11 values of m_t, and log W(x|m_t)/σ_vis(m_t) `[values, events]` of events that have all weights."""
    masses = middle + np.arange(-5, 6)
    visible = [
        cross_section("ttbar_2l", cuts, points=1 << 18, MT=m, recoil=recoil, seed=4).visible for m in masses
    ]
    smooth = np.polyval(np.polyfit(masses - MT, np.log(visible), 2), masses - MT)
    found = Measured("ttbar_2l", events, {"MT": tuple(masses)}, precision=0.03).weights.values()
    log = np.log([np.where(w.value > 0, w.value, np.nan) for w in found])
    return masses, log - smooth[:, None]


def _fitted(masses: np.ndarray, log: np.ndarray) -> _Fit:
    """The parabola through the points within 2 GeV of the highest."""
    log = log[:, np.isfinite(log).all(axis=0)]
    top = int(np.clip(log.sum(axis=1).argmax(), 2, len(masses) - 3))
    near = slice(top - 2, top + 3)
    a, b, _ = np.polyfit(masses[near] - MT, log[near], 2)
    best, curvature = -b.sum() / (2 * a.sum()), -2 * a.sum()
    scatter = np.sqrt(((2 * a * best + b) ** 2).sum())
    return _Fit(MT + best, 1 / np.sqrt(curvature), scatter / curvature)


SEEN = {"lep1": (20, 0.05), "lep2": (20, 0.05), "j1": (25, 0.1), "j2": (25, 0.1)}
"""Least pT and response."""


def bias(path: Path, count: int = 600) -> None:
    """m_t fitted to events of `deepmem generate ttbar_2l`, and to their partons before they radiate."""
    with uproot.open(f"{path}:events") as tree:
        measured = tree.arrays(library="np", entry_stop=count)
    recoil = float(np.median(np.hypot(*_total(measured, "true_", *SEEN, "nu1", "nu2"))))
    for what, events, middle in (
        ("measured", measured, MT - 5),
        ("before radiation", _before_radiation(measured), MT),
    ):
        fit = _fitted(*_scanned(events, TOPS | {"jet_delta_r": 0.4}, recoil, middle))
        say(
            f"m_t of {len(events['MET'])} Pythia events, {what}: bias",
            f"{fit.mass - MT:+.2f} ± {fit.spread:.2f} GeV",
        )
        say("  error by the curvature", f"{fit.error:.2f} GeV")


def _before_radiation(measured: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Leptons and b quarks as they were born, with the response of the weights, above the selection's pT."""
    rng = np.random.default_rng(1)
    columns = {name.removeprefix("born_"): v for name, v in measured.items() if name.startswith("born_")}
    columns |= {name: measured[name] for name in ("lep1_Charge", "lep2_Charge")}
    x, y = _total(columns, "", "nu1", "nu2")
    columns |= {"MET": np.hypot(x, y), "MET_Phi": np.arctan2(y, x)}
    kept = np.ones(len(x), dtype=bool)
    for name, (least, response) in SEEN.items():
        columns[f"{name}_PT"] = columns[f"{name}_PT"] * (1 + response * rng.standard_normal(len(x)))
        kept &= columns[f"{name}_PT"] > least
    return {name: values[kept] for name, values in columns.items()}


def _total(columns: dict[str, np.ndarray], prefix: str, *names: str) -> list[np.ndarray]:
    """Σ p_x and Σ p_y."""
    pt, phi = (np.array([columns[f"{prefix}{name}_{key}"] for name in names]) for key in ("PT", "Phi"))
    return [(pt * f(phi)).sum(axis=0) for f in (np.cos, np.sin)]


def _closes(what: str, found: tuple[float, float], expected: tuple[float, float]) -> None:
    value, error = found[0] / expected[0], found[1] / expected[0]
    combined = np.hypot(found[1], expected[1])
    say(f"{what}: found over expected", f"{value:.3f} ± {error:.3f}", f"1 ± {3 * combined / expected[0]:.3f}")
    say("  difference in combined errors", f"{(found[0] - expected[0]) / combined:+.1f}", "≤ 3")


def closure() -> None:
    """Statements 3 and 4, and 5."""
    for process, points in (("ww_2l", 3000), ("higgs_ww_2l", 3000), ("ttbar_2l", 6000)):
        for met, number in (("event", 4), ("balance", 3)):
            found = integral(process, met, points, 12, precision=0.05, calls=1 << 16)
            what = f"closure {number}, {process}, met={met}"
            _closes(what, (found.value, found.error), (found.expected, found.expected_error))
    for process, name, values, cuts, largest, count in (
        ("ww_2l", "WW", (2.0476, 2.6), LEPTONS, 30.0, 2000),
        ("higgs_ww_2l", "WW", (2.0476, 2.6), LEPTONS, 30.0, 2000),
        ("ttbar_2l", "MT", (173.0, 175.0), TOPS, 80.0, 300),
    ):
        near = cuts | {"recoil_pt": [0, 15]}
        events = draw_events(process, count, 13, near, recoil=Disc(largest))
        # a scan shares points, and with them most of the errors
        scanned: dict[str, Any] = {name: values}
        alpha = hypothesis(process, **scanned)
        one, other = engine.compute(alpha, events.columns, precision=0.03, calls=1 << 19).values()
        ratio = other.value / one.value
        mean = np.average(ratio, weights=events.weight)
        error = np.sqrt((events.weight**2 * (ratio - mean) ** 2).sum()) / events.weight.sum()
        settings: list[dict[str, Any]] = [{name: value} for value in values]
        a, b = (cross_section(process, near, 5e-3, recoil=Disc(largest), **each) for each in settings)
        expected = b.visible / a.visible
        spread = expected * np.hypot(a.visible_error / a.visible, b.visible_error / b.visible)
        _closes(f"closure 5, {process}, {name} {values[1]:g}", (mean, error), (expected, spread))


def figure() -> None:
    """The weight of one event as a function of m_t, and its two assignments."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    event = of_momemta(["gen0002"])
    masses = np.arange(160.0, 187.0)
    _, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for process, label in (
        ("ttbar_2l", "average of both"),
        ("ttbar_2l_assignment_0", "jet 1 is the b quark's"),
        ("ttbar_2l_assignment_1", "jet 2 is the b quark's"),
    ):
        found = Measured(
            process, event, {"MT": tuple(masses)}, precision=0.01, calls=1 << 21
        ).weights.values()
        value, error = (np.array([getattr(w, key)[0] for w in found]) for key in ("value", "error"))
        axes.errorbar(masses, 1e20 * value, 1e20 * error, marker=".", linewidth=1, label=label)
    axes.set(xlabel="$m_t$ [GeV]", ylabel="W [10$^{-20}$ GeV$^{-6}$]", ylim=(0, None))
    axes.axvline(173, color="0.7", linewidth=1, zorder=0)
    axes.legend(frameon=False, title="generated at 173 GeV")
    plt.savefig("top_mass.png", dpi=110)


PARTS: dict[str, Callable[..., None]] = {
    "momemta": momemta,
    "vegas": vegas,
    "speed": speed,
    "pythia": pythia,
    "honesty": honesty,
    "ww": ww,
    "scan": scan,
    "mass": mass,
    "closure": closure,
    "figure": figure,
}


def _option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pythia", type=Path, metavar="FILE", help="of `deepmem generate ttbar_2l`, for `mass`"
    )


def _on_pythia(asked: argparse.Namespace, part: str) -> None:
    if asked.pythia is not None and part == "mass":
        bias(asked.pythia)


if __name__ == "__main__":
    run(PARTS, leave_out=("figure",), more=_option, finish=_on_pythia)
