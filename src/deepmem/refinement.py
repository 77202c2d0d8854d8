"""Back to exact: learned weights of files, with those that are not good enough computed exactly.

Which events those are is decided by the errors that the model gives its weights. A random sample of the
others is computed exactly too, and says whether these errors hold.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepmem import exact
from deepmem.columns import Ranges, check_column_names
from deepmem.config import Config
from deepmem.data.files import check_writable, make_folder, whole_file, write_text
from deepmem.data.identity import hashes_of
from deepmem.data.loaders import ahead
from deepmem.data.provenance import described, differences
from deepmem.data.root import Source, write_weights
from deepmem.errors import UsageError, nearest
from deepmem.evaluation import metrics, sums
from deepmem.evaluation.report import calibration
from deepmem.event import Status, Weight, by_status, count_statuses
from deepmem.physics.processes import find_process, known_columns
from deepmem.physics.weights import visible
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.partonic import shared_by_events
from deepmem.reporter import Reporter, Step
from deepmem.surrogate.model import Surrogate, energy_unit
from deepmem.surrogate.preparation import unit_factors

_CHUNK = 100_000  # entries read, predicted and written at once
_FIRST_BATCH = 256  # events of the first two batches within a time; each further one has twice as many
_AUDITED, _AUDITED_SHARE = 200, 0.02  # of the events that stay learned, the lower of the two
_AUDIT_AT, _RANDOM_AT = 10**9, 2 * 10**9  # numbers of their first parts, above those of all batches
_HELD_OUT, _HELD_OUT_SHARE = 200, 0.1  # of the refined events, the lower of the two
# When an audit says that errors do not hold: relative bias, its significance, and coverage of 95 % intervals.
_BIAS, _SIGNIFICANT, _COVERED = 0.002, 3.0, 0.90
# When it says that the weights themselves are wrong: relative bias, its significance, or coverage of 95 %
# intervals.
_WRONG, _SURELY, _HALF_COVERED = 0.02, 5.0, 0.5
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class _Budget:
    """How much may be computed: up to a relative error, so many events, or so many seconds."""

    tolerance: float | None
    events: int | None
    seconds: float | None

    @classmethod
    def of(cls, tolerance: float | None, budget: str | float | None) -> _Budget:
        if (tolerance is None) == (budget is None):
            raise UsageError(
                "refine needs either --tolerance (a relative error, such as 0.01) or --budget (600s, or a "
                "number of events), and not both"
            )
        if tolerance is not None:
            if not (np.isfinite(tolerance) and tolerance > 0):
                raise UsageError(f"--tolerance {tolerance}: expected a relative error above 0, such as 0.01")
            return cls(tolerance, None, None)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)|(\d+)", str(budget).strip())
        if not match or float(match[1] or match[3]) <= 0:
            raise UsageError(
                f"--budget {budget}: expected a time above 0, such as 600s, 10m or 2h, or a number of events"
            )
        if match[2]:
            return cls(None, None, float(match[1]) * _UNITS[match[2]])
        return cls(None, int(match[3]), None)


def refine(
    events: Sequence[str],
    output: str | Path,
    process: str,
    model: str | Path,
    *,
    tolerance: float | None = None,
    budget: str | int | None = None,
    weight: str | None = None,
    audit: int | None = None,
    compare_random: bool = False,
    config: str | Path | Mapping[str, Any] | Config | None = None,
    precision: float | None = None,
    calls: int | None = None,
    seed: int = 0,
    pdf: str | None = None,
    keep: Sequence[str] = (),
    keep_parts: bool = False,
    force: bool = False,
    reporter: Reporter | None = None,
    **parameters: Any,
) -> dict[str, Any]:
    """Write learned weights of events in files, those with too large errors computed exactly; called again,
    continue where an interrupted call stopped.

    Flagged events (status 4) and those whose weight has no error come first, then those with the largest
    relative errors.

    **Arguments:**

    - `events`: files, globs, `path:tree` or addresses (none: the configuration's `input_paths`).
    - `process`, `precision` (0.01, or the tolerance where it is lower), `calls`, `seed`, `pdf`, `config`,
      `keep`, `parameters`: of the exact weights, which are those that `exact.compute_files` gives.
    - `model`: a model file, and `weight`, which of its weights (where it has several).
    - `tolerance`: the relative error up to which a weight may stay learned; or `budget`: `"600s"`, `"10m"`,
      `"2h"`, or a number of events, worst first.
    - `audit`: how many of the events that stay learned are computed as well, beyond the budget, to measure
      bias and coverage (200, or 2 % of them where that is less).
    - `compare_random`: whether as many events, chosen at random, are computed as well: what is learned from
      them says what worst first is worth.
    - `keep_parts`: whether the exact weights stay beside the output, too, for a caller who is not done yet:
      called again, nothing is computed twice. They are `parts` of what is returned.
    - `force`: whether a model of another hypothesis is taken all the same.

    **Returns** what `OUTPUT.refine/refine.json` holds, beside its figures: counts, the audit's figures, the
    work saved, the sum of the logarithms of all weights, and sentences that say so. `failed` says why the
    learned weights are wrong, where the audit shows that; they have status 4 then. `entries.npz` there has
    the numbers of the events computed: `refined` (worst first), a random part of these that is not to be
    learned from (`held_out`), `audited` and `random`.

    **Raises** `UsageError` where a file, the model, a name or a number is wrong, or the output cannot be
    written.
    """
    reporter = reporter or Reporter()
    limit = _Budget.of(tolerance, budget)
    precision = min(0.01, tolerance or 0.01) if precision is None else precision
    if tolerance is not None and precision > tolerance:
        raise UsageError(
            f"--precision {precision:g} is worse than --tolerance {tolerance:g}: what is computed would not "
            "be good enough"
        )
    if audit is not None and audit < 0:
        raise UsageError(f"--audit {audit}: expected a number of events, 0 for none")
    settings = Config.load(config or {}, need=())
    surrogate = Surrogate.load(model)
    name = _which(surrogate, weight, process, model)
    known = _learned_hypothesis(surrogate, name)
    alphas = [_as_learned(known, process, parameters, pdf, settings.response)]
    alpha = alphas[0]
    if len(alpha.names) != 1:
        raise UsageError("a scan has several weights, and a model's weight is one: give one value with --set")
    sample = _Sample(events, settings, surrogate, name, alpha, keep)
    sample.source.refuse_as_output(output, model, config, pdf, *exact.histograms(settings.response))
    shared_by_events(alpha)  # a missing grid is said before the work, not after
    check_writable(output)
    forced = _refuse_another(surrogate, name, alpha, dict(settings.column_names), force)
    if forced is not None:
        reporter.warning(forced)

    learned, computable = sample.predict(reporter)
    spread = _spread(learned)
    if not np.isfinite(learned.error[computable]).any():
        reporter.warning(
            f"{model} gives no errors: every event counts as flagged. Train with a validation part to get "
            "them"
        )
    ranking = _ranking(spread, computable)
    if limit.tolerance is not None:
        ranking = ranking[~(spread[ranking] <= limit.tolerance)]
    elif limit.events is not None:
        ranking = ranking[: limit.events]
    about = surrogate.provenance("refine") | {
        **exact.description(alphas, precision, calls, seed),
        "command": "refine",
        "inputs": sample.source.provenance(),
        "events": hashes_of(sample.source),
        "unit": sample.unit,
        "column_names": dict(settings.column_names),
        "weight": name,
        **({} if forced is None else {"forced": forced}),
        **{key: value for key, value in asdict(limit).items() if value is not None},
        "audit": audit,
    }
    # predictions may round differently elsewhere: parts are of use only for the events they are of
    plan = {"plan": hashlib.sha256(ranking.tobytes()).hexdigest()}
    work = _Work(sample, exact.Parts(Path(output), about | plan), precision, calls, seed)
    final = _Refined(learned)
    worst = ranking
    if limit.seconds is None:
        ranking = np.sort(ranking)  # in the order of their entries they are read once
    with reporter.progress("computing exactly", len(ranking)) as step:
        done = 0
        for batch, found in work.batches(ranking, limit.seconds):
            final.put(batch, found)
            done += len(batch)
            step(len(batch))
    final.source[~computable], final.status[~computable] = 1, Status.BAD_INPUT
    final.value[~computable] = final.error[~computable] = np.nan
    entries = {"refined": worst[:done]}
    refined = np.zeros(len(spread), dtype=bool)
    refined[entries["refined"]] = True
    population = np.flatnonzero(computable & ~refined & np.isfinite(spread))
    if audit is None:
        audit = min(_AUDITED, int(np.ceil(_AUDITED_SHARE * len(population))))
    entries["audited"] = audited = np.sort(_draw(population, audit, [seed, 1]))
    with reporter.progress("auditing", len(audited)) as step:
        truth = work.audit(audited, step)
    final.put(audited, truth)
    judged = _audit(truth, learned[audited])
    failed = _failure(judged)
    if failed is not None:
        final.flag()
    total = _sum_of_logs(final, refined, population, learned, audited, truth)
    held = min(_HELD_OUT, int(_HELD_OUT_SHARE * done))
    entries["held_out"] = np.sort(_draw(entries["refined"], held, [seed, 2]))
    others = np.setdiff1d(np.flatnonzero(computable), np.concatenate([audited, entries["held_out"]]))
    entries["random"] = _draw(others, done - held if compare_random else 0, [seed, 3])
    fresh = np.setdiff1d(entries["random"], entries["refined"])
    with reporter.progress("computing at random", len(fresh)) as step:
        final.put(fresh, work.at_random(fresh, step))

    result: dict[str, Any] = {
        "title": f"Back to exact: {name}",
        "events": len(spread),
        "not_computable": int((~computable).sum()),
        "flagged": int((computable & np.isinf(spread)).sum()),
        "learned_relative_errors": _quantiles(spread[computable]),
        "tolerance": limit.tolerance,
        "budget": {"events": limit.events, "seconds": limit.seconds},
        "precision": precision,
        "exact": {"refined": done, "audited": len(audited)} | ({"random": len(fresh)} if len(fresh) else {}),
        "learned": int((final.source == 0).sum()),
        "flagged_still_learned": int(np.isinf(spread[final.source == 0]).sum()),
        "population": len(population),
        "audit": {**judged, "entries": audited.tolist()},
        "failed": failed,
        "forced": forced,
        "work": _saved(work, int(computable.sum())),
        "sum_of_logs": total,
        "status": {name: by_status(count_statuses(final.status))},
        "data": about["inputs"],
        "output": str(output),
        "folder": f"{output}.refine",
    }
    result["warnings"] = [failed] if failed is not None else _alarms(result["audit"])
    result["warnings"] += [] if forced is None else [f"FORCED: {forced}"]
    result["summary"] = _say(result)
    result["verdict"] = _verdict(result)
    for text in result["warnings"][: 1 if forced is None else -1]:
        reporter.warning(text)
    sample.source.refuse_changes()
    sample.write(output, final, about)
    _attach(result, entries, spread, final, truth, learned[audited], limit.tolerance)
    if not keep_parts:
        work.parts.remove()
        return result
    return result | {"parts": work.parts}


def _which(surrogate: Surrogate, weight: str | None, process: str, model: str | Path) -> str:
    """The one of a model's weights that is meant."""
    if weight is not None:
        if weight not in surrogate.weights:
            raise UsageError(
                f"--weight {weight}: {model} has no such weight{nearest(weight, surrogate.weights)}; "
                f"it has {', '.join(surrogate.weights)}"
            )
        return weight
    if len(surrogate.weights) == 1:
        return surrogate.weights[0]
    if process in surrogate.weights:
        return process
    raise UsageError(
        f"{model} has the weights {', '.join(surrogate.weights)}: say with --weight which one is {process}'s"
    )


def _learned_hypothesis(surrogate: Surrogate, name: str) -> dict[str, Any] | None:
    """What the model says of the hypothesis of one of its weights; None where it says nothing."""
    known = described(surrogate.about)
    if name not in known and len(known) == len(surrogate.weights) == 1:
        return next(iter(known.values()))
    return known.get(name)


def _as_learned(
    known: Mapping[str, Any] | None,
    process: str,
    parameters: Mapping[str, Any],
    pdf: str | None,
    response: Mapping[str, Any] | None,
) -> Hypothesis:
    """The hypothesis to be computed: what is not given is as the model learned it."""
    if known is None or known["process"] != process or not isinstance(known["responses"], dict):
        return exact.hypotheses(process, parameters, pdf=pdf, response=response)[0]
    chosen, theory = find_process(process), known["parameters"]
    usual = {key: theory[key] for key in ("sqrt_s", *chosen.parameters) if key in theory}
    others = ("Q", "flavours", "subset", *chosen.choices)
    usual |= {key: known[key] for key in others if known.get(key) is not None}
    if known["MH_from_event"]:
        usual["MH"] = "event"
    resolutions = {f"r_{kind}" for kind in chosen.responses}
    if response is None and not resolutions & parameters.keys():
        response = known["responses"] | ({"met": known["missing"]} if "missing" in known else {})
    return exact.hypotheses(process, usual | dict(parameters), pdf=pdf or known["pdf"], response=response)[0]


def _refuse_another(
    surrogate: Surrogate, name: str, alpha: Hypothesis, column_names: Mapping[str, str], force: bool
) -> str | None:
    """See that the weight learned is of the hypothesis that is computed, as far as the model says it.

    **Returns** in what the two differ, with `force`; None where they do not. **Raises** `UsageError`.
    """
    entry, process = _learned_hypothesis(surrogate, name), surrogate.about.get("process")
    if entry is not None:
        differ = differences(entry, json.loads(json.dumps(alpha.describe())))
    else:
        differ = [] if process is None else differences({"process": process}, {"process": alpha.process.name})
    learned_names = surrogate.about.get("column_names")
    if learned_names is not None and learned_names != column_names:
        differ.append(f"column_names {learned_names}, not {dict(column_names)}")
    if not differ:
        return None
    text = (
        f"the model's weight {name} was learned for another hypothesis than the one to be computed: "
        f"{'; '.join(differ)}"
    )
    if not force:
        raise UsageError(f"{text} (--force mixes them all the same)")
    return text


def _spread(learned: Weight) -> np.ndarray:
    """The relative error of each weight, as its model has it; infinite where it is flagged or has none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.abs(learned.error / learned.value)
    return np.where((learned.status == Status.GOOD) & np.isfinite(relative), relative, np.inf)


def _quantiles(spread: np.ndarray) -> dict[str, float | None]:
    """Below which relative error so many learned weights are: the price of a tolerance; None: flagged."""
    values = {
        f"q{q}": float(np.quantile(spread, q / 100, method="lower")) for q in (50, 80, 95) if len(spread)
    }
    return {key: value if np.isfinite(value) else None for key, value in values.items()}


def _ranking(spread: np.ndarray, computable: np.ndarray) -> np.ndarray:
    """Entries that can be computed, worst first."""
    rows = np.flatnonzero(computable)
    return rows[np.argsort(-spread[rows], kind="stable")]


def _draw(population: np.ndarray, number: int, seed: list[int]) -> np.ndarray:
    """So many at random, or all there are, in random order."""
    rng = np.random.default_rng(seed)
    return rng.choice(population, min(number, len(population)), replace=False)


class _Sample:
    """The events: read for the model and for the exact weight alike, and their output."""

    def __init__(
        self,
        events: Sequence[str],
        settings: Config,
        surrogate: Surrogate,
        name: str,
        alpha: Hypothesis,
        keep: Sequence[str],
    ):
        self.surrogate, self.name, self.alpha = surrogate, name, alpha
        self.unit = surrogate.unit
        if "unit" in settings.model_fields_set and settings.unit != self.unit:
            raise UsageError(
                f"the model was trained on {self.unit}, and the configuration says {settings.unit}: the "
                "events can be in one unit only"
            )
        check_column_names(settings.column_names, known_columns())
        own = [settings.column_names.get(column, column) for column in alpha.process.columns]
        branches = list(dict.fromkeys([*surrogate.columns, *own]))
        paths = events or settings.input_paths
        if not paths:
            raise UsageError("no events: name at least one ROOT file")
        self.source = Source(paths, settings.input_tree, branches, keep)
        self._of_model = [branches.index(column) for column in surrogate.columns]
        self._of_process = [branches.index(branch) for branch in own]
        self._in_gev = unit_factors(alpha.process.columns, energy_unit(self.unit))
        self._bounds = self.source.boundaries(0, self.source.num_entries, _CHUNK)

    def _particles(self, table: np.ndarray) -> np.ndarray:
        return table[:, self._of_process] * self._in_gev

    def predict(self, reporter: Reporter) -> tuple[Weight, np.ndarray]:
        """The learned weights of all events, and which of them can be computed at all."""
        found, computable = [], []
        ranges = Ranges(self.alpha.process.columns)
        tables = ahead(self.source.read(start, stop) for start, stop in self._bounds)
        with reporter.progress("predicting", self.source.num_entries) as step:
            for table in tables:
                particles = self._particles(table)
                ranges.add(particles)
                found.append(self.surrogate.predict(table[:, self._of_model])[self.name])
                columns = dict(zip(self.alpha.process.columns, particles.T, strict=True))
                computable.append(visible.visible(self.alpha, columns)[1])
                step(len(table))
        ranges.refuse()
        for text in ranges.problems():
            reporter.warning(text)
        value, error, status = (
            np.concatenate([getattr(each, key) for each in found]) for key in ("value", "error", "status")
        )
        return Weight(value, error, status), np.concatenate(computable)

    def particles(self, entries: np.ndarray) -> np.ndarray:
        """What the exact weights of some entries, in ascending order, need: `[entries, columns]`, in GeV."""
        return np.concatenate([self._particles(table) for table, _ in self.source.scattered(entries)])

    def write(self, output: str | Path, final: _Refined, about: dict[str, Any]) -> None:
        kept = self.source.kept_types
        with write_weights(output, [self.name], about, with_source=True, kept=kept) as writer:
            for start, stop in self._bounds:
                weights = {self.name: final.weight[start:stop]}
                writer.append(weights, self.source.read_kept(start, stop))


class _Refined:
    """The weights of all events, some of which have been replaced by exact ones."""

    def __init__(self, learned: Weight):
        self.value, self.error, self.status = (
            array.copy() for array in (learned.value, learned.error, learned.status)
        )
        self.source = np.zeros(len(learned), dtype=np.int32)

    def put(self, entries: np.ndarray, found: Weight) -> None:
        self.value[entries], self.error[entries] = found.value, found.error
        self.status[entries], self.source[entries] = found.status, 1

    def flag(self) -> None:
        """Call what is learned unlike what was learned from: an audit has shown it."""
        self.status[(self.source == 0) & (self.status == Status.GOOD)] = Status.OUTSIDE_TRAINING

    @property
    def weight(self) -> Weight:
        return Weight(self.value, self.error, self.status, self.source)


@dataclass
class _Work:
    """Exact weights of entries anywhere in the sample, batch by batch; finished batches are kept."""

    sample: _Sample
    parts: exact.Parts
    precision: float
    calls: int | None
    seed: int
    refining: float = 0.0  # seconds
    refined: int = 0
    auditing: float = 0.0
    audited: int = 0

    def batches(self, ranking: np.ndarray, seconds: float | None) -> Iterator[tuple[np.ndarray, Weight]]:
        """Events of a ranking in ascending order within a batch, until all are done or time is spent.

        What decides is kept with the parts, so that a call which continues stops at the same event.
        """
        at, size, number = 0, exact.CHUNK if seconds is None else _FIRST_BATCH, 0
        while at < len(ranking):
            entries = np.sort(ranking[at : at + size])
            found, spent = self._part(number, entries)
            self.refining += spent
            self.refined += len(entries)
            yield entries, found
            at, number = at + size, number + 1
            if seconds is None:
                continue
            expected = 0.0  # the first batch compiles: its pace says nothing of the next
            if number > 1:
                size = min(2 * size, exact.CHUNK)
                expected = spent * size / len(entries)
            if self.refining + expected >= seconds:
                return

    def audit(self, entries: np.ndarray, step: Step) -> Weight:
        """The exact weights of a sample, `[entries]`, in ascending order."""
        found, self.auditing = self._all(_AUDIT_AT, entries, step)
        self.audited = len(entries)
        return found

    def at_random(self, entries: np.ndarray, step: Step) -> Weight:
        """The same; it counts as no work, since refining does not need it."""
        return self._all(_RANDOM_AT, entries, step)[0]

    def _all(self, number: int, entries: np.ndarray, step: Step) -> tuple[Weight, float]:
        found, seconds = [Weight(np.empty(0), np.empty(0), np.empty(0, dtype=np.int32))], 0.0
        for at in range(0, len(entries), exact.CHUNK):
            batch = entries[at : at + exact.CHUNK]
            weight, spent = self._part(number + at, batch)
            seconds += spent
            found.append(weight)
            step(len(batch))
        return Weight.concatenate(found), seconds

    def _part(self, number: int, entries: np.ndarray) -> tuple[Weight, float]:
        name = self.sample.alpha.names[0]
        if not self.parts.has(number):
            begin = time.perf_counter()
            found = exact.compute_chunk(
                [self.sample.alpha],
                [False],
                self.sample.alpha.process.columns,
                self.sample.particles(entries),
                self.precision,
                self.calls,
                self.seed,
                entries,
            )
            self.parts.save(number, found, time.perf_counter() - begin)
        return self.parts.load(number, [name])[name], self.parts.seconds(number)


def _audit(truth: Weight, learned: Weight) -> dict[str, Any]:
    """What the exact weights of a random sample say of the learned ones, which stay learned elsewhere."""
    judged = (truth.value > 0) & (learned.value > 0) & np.isfinite(truth.value)
    t, p = truth[judged], learned[judged]
    result: dict[str, Any] = {"events": len(truth), "judged": len(t)}
    if len(t) < 2:
        return result | dict.fromkeys(
            ("bias", "median", "typical_deviation", "sum_bias", "coverage", "pulls", "calibration")
        )
    # the mean of 1/(1 + noise) is above 1 by the noise's variance
    ratio = p.value / t.value - 1 - np.nan_to_num(t.error / t.value) ** 2
    total = float(p.value.sum() / t.value.sum())
    scatter = float((p.value - total * t.value).std(ddof=1) * len(t) ** 0.5 / t.value.sum())
    honesty = metrics.honesty(t, p)
    return result | {
        "bias": {"value": float(ratio.mean()), "error": float(ratio.std(ddof=1) / len(t) ** 0.5)},
        "median": {
            "value": float(np.median(ratio)),
            "deviation": float((np.sum(ratio > 0) - len(t) / 2) / (len(t) ** 0.5 / 2)),
        },
        "typical_deviation": float(np.median(np.abs(ratio))),
        "sum_bias": {"value": total - 1, "error": scatter},
        "largest_deviation": float(np.abs(ratio).max()),
        "coverage": honesty["coverage"],
        "pulls": honesty["pulls"],
        "calibration": calibration(honesty),
    }


def _failure(audit: Mapping[str, Any]) -> str | None:
    """Why learned weights are wrong, where an audit shows it: off by more than 2 % and five standard errors.

    By their mean; where single events are off by far more than the rest, by their median (half of the ratios
    would lie on either side of 1); or, off either way, by 95 % intervals that cover less than half.
    """
    bias = audit["bias"]
    if bias is None:
        return None
    median, typical = audit["median"], audit["typical_deviation"]
    wide = (audit["coverage"] or {}).get("within_1.96", {"covered": 1.0, "deviation": 0.0})
    wrong = (
        abs(bias["value"]) > max(_WRONG, _SURELY * bias["error"]),
        abs(median["value"]) > _WRONG and abs(median["deviation"]) > _SURELY,
        typical > _WRONG and wide["covered"] < _HALF_COVERED and wide["deviation"] < -_SURELY,
    )
    if not any(wrong):
        return None
    return (
        f"THE LEARNED WEIGHTS ARE WRONG: {audit['judged']} that were audited are off by {_signed(bias)} on "
        f"average and by {100 * median['value']:+.3g} % in the median, half of them by more than "
        f"{100 * typical:.3g} %. Those that stay learned have status 4. See that process and parameters are "
        "those that the model was trained for, or train on events like these"
    )


def _alarms(audit: Mapping[str, Any]) -> list[str]:
    """What a user must know before relying on the learned weights."""
    found = []
    bias, coverage = audit["bias"], audit["coverage"]
    if bias and abs(bias["value"]) > max(_BIAS, _SIGNIFICANT * bias["error"]):
        found.append(f"learned weights are off by {_signed(bias)} on average")
    if coverage:
        wide = coverage["within_1.96"]
        # of a few events, some may miss by chance
        if wide["covered"] < _COVERED and wide["deviation"] < -_SIGNIFICANT:
            found.append(f"95 % intervals cover {100 * wide['covered']:.1f} % of the exact weights")
    if not found:
        return []
    return [
        f"THE MODEL'S ERRORS DO NOT HOLD FOR THESE EVENTS: {' and '.join(found)}, as {audit['judged']} "
        "events computed exactly show. See that process and parameters are those it was trained for, or "
        "train on events like these"
    ]


def _verdict(result: Mapping[str, Any]) -> list[dict[str, str]]:
    """On what stays learned, its bias and its errors: made as `evaluation.report.verdict` makes it."""
    left = result["flagged_still_learned"]
    said = result["summary"][0]
    made = {
        "exact and learned": _mixture(result, f"{said} {_still_flagged(left)}" if left else said),
        "bias of what stays learned": _bias(result),
        "errors of what stays learned": result["audit"]["calibration"] or _not_audited(result),
    }
    return [
        {"about": about, "judgement": judgement, "text": text} for about, (judgement, text) in made.items()
    ]


def _mixture(result: Mapping[str, Any], said: str) -> tuple[str, str]:
    if result["forced"] is not None:
        return "bad", f"Two hypotheses are mixed, by --force: {result['forced']}. {said}"
    return ("care" if result["flagged_still_learned"] else "good"), said


def _still_flagged(number: int) -> str:
    return (
        f"{number:,} flagged events are still learned: the budget did not reach them, and the audit says "
        "nothing of them."
    )


def _bias(result: Mapping[str, Any]) -> tuple[str, str]:
    audit = result["audit"]
    bias = audit["bias"]
    if bias is None:
        return _not_audited(result)
    text = (
        f"{audit['judged']:,} learned weights that were audited are off by {_signed(bias)} on average, and "
        f"their sum by {_signed(audit['sum_bias'])}"
    )
    if abs(bias["value"]) > max(_BIAS, _SIGNIFICANT * bias["error"]):
        return "bad", f"{text}: do not rely on them."
    if max(abs(bias["value"]), 2 * bias["error"]) > _BIAS:
        return "care", f"{text}: to know it to {100 * _BIAS:g} %, audit more (--audit)."
    return "good", f"{text}: no more than {100 * _BIAS:g} %."


def _not_audited(result: Mapping[str, Any]) -> tuple[str, str]:
    if result["population"]:
        return "care", "Not measured: too few of the learned weights were audited (--audit)."
    return "good", "Nothing that could be computed stays learned."


def _saved(work: _Work, computable: int) -> dict[str, Any]:
    """How much was computed, and how much all events would have been."""
    done, spent = work.refined + work.audited, work.refining + work.auditing
    # what is left is like the audited events; the refined ones are often harder
    pace = work.auditing / work.audited if work.audited else work.refining / max(work.refined, 1)
    everything = spent + (computable - done) * pace
    return {
        "exact_events": done,
        "fewer_events": computable / done if done else None,
        "seconds": spent,
        "seconds_for_everything": everything if done else None,
        "less_time": everything / spent if spent else None,
    }


def _sum_of_logs(
    final: _Refined,
    refined: np.ndarray,
    population: np.ndarray,
    learned: Weight,
    audited: np.ndarray,
    truth: Weight,
) -> dict[str, Any] | None:
    """Σ log w over the events with a positive weight: the exact ones as they are, those that stay learned
    corrected by the audit.

    None where the audit has too few events for an error, or finds a weight that is not positive.
    """
    logs, variance = sums.log_weight(final.weight[refined])
    positive = np.isfinite(logs)
    value, squared, counted = float(logs[positive].sum()), float(variance[positive].sum()), positive.sum()
    if len(population):
        if len(audited) < min(2, len(population)) or not (truth.value > 0).all():
            return None
        guess = np.log(learned.value[population])
        rows = np.searchsorted(population, audited)
        if not np.isfinite(guess).all():
            return None
        rest = sums.estimate(guess, rows, *sums.log_weight(truth))
        value, squared = value + rest.value, squared + rest.error**2
        counted += len(population)
    return {
        "value": value,
        "error": squared**0.5,
        "events": int(counted),
        "left_out": int(len(refined) - counted),
    }


def _say(result: Mapping[str, Any]) -> list[str]:
    refined, audited, work = result["exact"]["refined"], result["exact"]["audited"], result["work"]
    if result["tolerance"] is not None:
        why = f"their error was above {100 * result['tolerance']:.3g} % or they were flagged"
    else:
        number, seconds = result["budget"]["events"], result["budget"]["seconds"]
        why = f"worst first within {f'{number:,} events' if number else f'{seconds:g} s'}"
    random = result["exact"].get("random", 0)
    more = f" and {random:,} to compare with random choice" * bool(random)
    sentences = [
        f"Of {result['events']:,} events {refined:,} were computed exactly ({why}; {result['flagged']:,} "
        f"flagged in all) and {audited:,} more at random for the audit{more}; {result['learned']:,} stay "
        "learned."
    ]
    errors = result["learned_relative_errors"]
    below = [f"{key[1:]} % below {100 * value:.2g} %" for key, value in errors.items() if value is not None]
    if below:
        sentences.append(f"Errors of the learned weights, as the model has them: {', '.join(below)}.")
    if work["fewer_events"] is not None:
        sentences.append(
            f"That is {work['fewer_events']:.3g} times fewer exact weights than for everything: "
            f"{work['seconds']:.3g} s instead of about {work['seconds_for_everything']:.3g} s."
        )
    audit = result["audit"]
    if audit["bias"] is None:
        sentences.append("The audit has too few events to measure bias and coverage.")
    else:
        text = (
            f"Audit of {audit['judged']:,} learned weights: bias {_signed(audit['bias'])}, of their sum "
            f"{_signed(audit['sum_bias'])}"
        )
        if audit["coverage"]:
            one, two = audit["coverage"]["within_1"], audit["coverage"]["within_1.96"]
            text += (
                f"; 68 % intervals cover {100 * one['covered']:.1f} ± {100 * one['error']:.1f} %, 95 % "
                f"intervals {100 * two['covered']:.1f} ± {100 * two['error']:.1f} %"
            )
        sentences.append(text + ".")
    if result["flagged_still_learned"]:
        sentences.append(_still_flagged(result["flagged_still_learned"]))
    total = result["sum_of_logs"]
    if total is not None:
        out = f" ({total['left_out']:,} events left out)" if total["left_out"] else ""
        sentences.append(
            f"Sum of log w over {total['events']:,} events: {total['value']:.7g} ± {total['error']:.2g}{out}."
        )
    return sentences + [f"{text}." for text in result["warnings"]]


def _signed(figure: Mapping[str, float]) -> str:
    return f"{100 * figure['value']:+.3f} ± {100 * figure['error']:.3f} %"


def _attach(
    result: dict[str, Any],
    entries: Mapping[str, np.ndarray],
    spread: np.ndarray,
    final: _Refined,
    truth: Weight,
    learned: Weight,
    tolerance: float | None,
) -> None:
    """Write the folder that a report takes in."""
    from deepmem.evaluation import plots

    folder = Path(result["folder"])
    make_folder(folder)
    with whole_file(folder / "entries.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **entries)
    with np.errstate(divide="ignore", invalid="ignore"):
        after = np.abs(final.error / final.value)
    plots.refinement(folder / "refine.png", spread, after, tolerance)
    captions = {"refine.png": "Relative errors before and after; flagged events are left out before."}
    z = metrics.pulls(truth, learned)
    judged = (truth.value > 0) & (learned.value > 0) & np.isfinite(truth.value) & np.isfinite(z)
    if judged.any():
        t, p, audited = truth[judged], learned[judged], f"{judged.sum():,} audited events"
        plots.prediction_against_truth(folder / "audit.png", t.value, p.value)
        plots.pulls_against_gaussian(folder / "pulls.png", z[judged])
        plots.error_against_weight(folder / "errors.png", t, p)
        captions |= {
            "audit.png": f"Learned against exact weight of {audited}.",
            "pulls.png": f"Pulls of {audited}; beyond ±5 in the outer bins.",
            "errors.png": f"The error that the learned weights of {audited} say they have, and the real one.",
        }
    result["figures"] = [{"file": name, "caption": caption} for name, caption in captions.items()]
    write_result(result)


def write_result(result: Mapping[str, Any]) -> None:
    """Write `refine.json`."""
    text = json.dumps(result, indent=2, ensure_ascii=False)
    write_text(Path(result["folder"]) / "refine.json", text + "\n")
