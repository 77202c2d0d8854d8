"""The likelihood of a parameter, from weights computed for several values of it.

Exact and learned weights are treated alike, on the same events, so that the difference between two curves is
the learning's and nothing else's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.config import Config
from deepmem.data.files import make_folder, write_json
from deepmem.data.provenance import scanned
from deepmem.data.weights import read_provenance
from deepmem.errors import UsageError, nearest
from deepmem.evaluation import plots
from deepmem.evaluation.sums import log_weight
from deepmem.event import Status, Weight, scan_name
from deepmem.jobs.combining import (
    Statuses,
    as_sentences,
    count,
    random_numbers,
    read_named,
    refuse_other_hypotheses,
)
from deepmem.jobs.intervals import Interval, PseudoExperiments, pseudo_experiments
from deepmem.jobs.visible import cross_section_arguments, select
from deepmem.physics.processes import chosen_process
from deepmem.physics.theory.parameters import PARAMETERS
from deepmem.physics.weights.leading_order import BATCH, cross_section
from deepmem.physics.weights.sampling import default_masses
from deepmem.physics.weights.settings import parameters_of

_NOT_NORMALISED = "not normalised to σ_vis: biased where σ_vis depends on the parameter"


def likelihood(
    weights: str | Path,
    parameter: str,
    *,
    process: str | None = None,
    learned: str | Path | None = None,
    flagged: bool = False,
    force: bool = False,
    selection: Mapping[str, Any] | None = None,
    config: str | Path | Mapping[str, Any] | Config | None = None,
    normalise: bool = True,
    points: int = 16 * BATCH,
    samples: int = 0,
    true: float | None = None,
    output: str | Path = "post",
    seed: int = 1,
) -> dict[str, Any]:
    """The likelihood of a parameter, from weights computed for several values of it.

    −2 log L(θ) = −2 Σ_i [log W_i(θ) + ε_i²(θ)/2 − log σ_vis(θ)], ε the relative error of an exact weight,
    whose logarithm its noise biases by −ε²/2 (learned ones are taken as they are). A cubic spline through the
    values (a parabola through three) gives the minimum and the interval where it rises by 1. σ_vis has the
    same random points for all θ, and log σ_vis is smoothed by a parabola.

    **Arguments:**

    - `weights`: a file of `deepmem compute --set PARAMETER=FIRST:LAST:STEP`; `process`, where it has several;
      `learned`: learned weights of the same events under the same names; `flagged`, `force`, as for
      `discriminate`.
    - `selection`, `config`: as for `discriminate`; `normalise=False` leaves σ_vis out, which biases θ unless
      σ_vis does not depend on it; `points` of σ_vis.
    - `samples`: that many disjoint random subsamples are pseudo-experiments, whose bias and pull width are
      given with respect to `true`, or to the exact minimum of all events; `seed`, of their choice.
    - `output`: the folder for `likelihood.json` and `likelihood.png`.

    **Raises** `UsageError` where the file is not a scan of the parameter, or no event has all weights.
    """
    settings, rng = Config.load(config or {}, need=()), random_numbers(seed)
    scan = _Scan.of(str(weights), parameter, process)
    sample = _sample(scan, None if learned is None else str(learned), flagged, force)
    _refuse_other_truth(true, scan)
    cuts = selection if selection is not None else settings.selection
    within = select([scan.path], scan.names[0], cuts, len(sample.usable))
    usable, remarks = sample.usable & within.rows, sample.remarks + within.remarks
    if not usable.any():
        raise UsageError(f"no event within the selection {cuts} has a positive weight for each {parameter}")
    sigma = _Normalisation.of(scan, cuts, settings.response, points) if normalise else None
    remarks += [] if sigma is None else sigma.remarks
    log_sigma = 0.0 if sigma is None else sigma.log
    terms = {source: -2 * (each[usable] - log_sigma) for source, each in sample.logs.items()}
    fits = {source: Interval(scan.values, each.sum(axis=0)) for source, each in terms.items()}
    remarks += [f"{parameter}, {source}: {text}" for source, fit in fits.items() for text in fit.doubts]
    there, used = (sample.statuses(scan.process, rows) for rows in (within.rows, usable))
    best = fits["exact"].best
    result = _Result(
        scan=scan,
        events=int(usable.sum()),
        outside_selection=int((~within.rows).sum()),
        left_out=int((~usable & within.rows).sum()),
        selection=cuts,
        sigma_vis=sigma,
        fits=fits,
        statuses=Statuses(there, used, flagged),
        remarks=remarks,
        experiments=pseudo_experiments(terms, scan.values, samples, true, best, rng) if samples else None,
    )
    return _write(Path(output), result)


@dataclass(frozen=True)
class _Scan:
    """A file with the weights of a process for several values of a parameter, rising."""

    path: str
    process: str
    parameter: str
    values: np.ndarray

    @classmethod
    def of(cls, path: str, parameter: str, process: str | None) -> _Scan:
        """What a file holds. **Raises** `UsageError` where it is no scan of the parameter, or too short."""
        entries = read_provenance(path).get("hypotheses", [])
        scans = [(entry["process"], *scan) for entry in entries if (scan := scanned(entry)) is not None]
        matches = [each for each in scans if each[1] == parameter and process in (None, each[0])]
        if not matches:
            raise UsageError(
                f"{path} is not a scan of {parameter!r}{nearest(parameter, [name for _, name, _ in scans])}"
                + (f" for {process!r}" if process else "")
                + f"; it has scans of {', '.join(f'{n} ({p})' for p, n, _ in scans) or 'nothing'}. Make one "
                "with 'deepmem compute --set NAME=FIRST:LAST:STEP'"
            )
        if len(matches) > 1:
            there = ", ".join(name for name, *_ in matches)
            raise UsageError(f"{path} has scans of {parameter} for {there}: say which one (--process)")
        name, _, values = matches[0]
        if len(values) < 3:
            raise UsageError(f"{path} has {len(values)} value(s) of {parameter}: three at least are needed")
        return cls(path, name, parameter, np.sort(values))

    @property
    def names(self) -> list[str]:
        """What the weights are called."""
        return [scan_name(self.process, self.parameter, value) for value in self.values]


@dataclass(frozen=True)
class _Sample:
    """The weights of a scan by source, `exact` and perhaps `learned`, their `logs` `[events, values]`, and
    which events have all of them, bool `[events]`."""

    weights: dict[str, dict[str, Weight]]
    logs: dict[str, np.ndarray]
    usable: np.ndarray
    remarks: list[str]

    def statuses(self, process: str, rows: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """How many weights of some events, bool `[events]`, have each status, `[statuses]`, by source."""
        return {
            source: {process: count(weight[rows] for weight in each.values())}
            for source, each in self.weights.items()
        }


def _sample(scan: _Scan, learned: str | None, take_flagged: bool, force: bool) -> _Sample:
    """Read the weights of a scan. **Raises** `UsageError` where no event has all of them."""
    weights = {"exact": read_named([scan.path], scan.names)}
    logs = {"exact": _logs(weights["exact"], True, take_flagged)}
    remarks: list[str] = []
    if learned is not None:
        weights["learned"] = read_named([learned], scan.names)
        logs["learned"] = _logs(weights["learned"], False, take_flagged)
        if logs["learned"].shape != logs["exact"].shape:
            raise UsageError(
                f"{scan.path} has {len(logs['exact'])} entries and {learned} {len(logs['learned'])}: "
                "they must be of the same events"
            )
        remarks = refuse_other_hypotheses([scan.path], [[learned]], scan.names, force)
    usable = np.logical_and.reduce([np.isfinite(each).all(axis=1) for each in logs.values()])
    if not usable.any():
        raise UsageError(f"no event has a positive weight for every value of {scan.parameter}")
    return _Sample(weights, logs, usable, remarks)


def _logs(weights: Mapping[str, Weight], noisy: bool, take_flagged: bool) -> np.ndarray:
    """log W, `[events, values]`; NaN where a weight cannot be relied on at all, or is flagged.

    Noise of an integration is corrected for; the error of a learned weight is none: it is what the network
    does not know, the same each time.
    """
    lost = [Status.NO_SOLUTION, Status.BAD_INPUT, Status.BELOW_GRID]
    lost += [] if take_flagged else [Status.OUTSIDE_TRAINING]
    columns = []
    for weight in weights.values():
        corrected, variance = log_weight(weight)
        columns.append(
            np.where(np.isin(weight.status, lost), np.nan, corrected - (0 if noisy else variance / 2))
        )
    return np.stack(columns, axis=1)


@dataclass(frozen=True)
class _Normalisation:
    """log σ_vis (in pb) of each value, `[values]`, smoothed; the relative error of each, and how far
    smoothing moved one at most."""

    log: np.ndarray
    relative_error: float
    largest_change: float
    remarks: list[str]

    @classmethod
    def of(
        cls,
        scan: _Scan,
        cuts: Mapping[str, Any] | None,
        response: Mapping[str, Any] | None,
        points: int,
    ) -> _Normalisation:
        """σ_vis within cuts. **Raises** `UsageError` where the file does not say enough to compute it."""
        found = cross_section_arguments(scan.path, scan.process, response)
        arguments = dict(found.settings)
        if not cuts:  # one range for all values: what is selected does not depend on the hypothesis
            arguments["mass"] = _common_masses(scan, found.process, arguments)
        sigmas = [
            cross_section(
                found.process, cuts, points=points, quiet=True, **arguments | {scan.parameter: value}
            )
            for value in scan.values.tolist()
        ]
        # those of one value stand for all: they differ in digits
        texts = max(sigmas, key=lambda each: (len(each.remarks()), each.uncovered)).remarks()
        raw = np.log([each.visible for each in sigmas])
        x = scan.values - scan.values.mean()
        log = np.polyval(np.polyfit(x, raw, 2), x)
        return cls(
            log,
            sigmas[0].visible_error / sigmas[0].visible,
            float(np.abs(raw - log).max()),
            [f"σ_vis: {text.rstrip('.')}" for text in texts],
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "pb": np.exp(self.log).tolist(),
            "relative_error_of_each": self.relative_error,
            "largest_change_by_smoothing": self.largest_change,
        }


def _common_masses(scan: _Scan, said: str, arguments: Mapping[str, Any]) -> tuple[float, float]:
    """The true masses, in GeV, that the σ of all values of a parameter are of."""
    settings = dict(arguments)
    process = chosen_process(said, settings)
    theory = {key: value for key, value in settings.items() if key in (*PARAMETERS, *process.parameters)}
    ranges = [
        default_masses(process, parameters_of(process, theory | {scan.parameter: float(value)}))
        for value in scan.values
    ]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _refuse_other_truth(true: float | None, scan: _Scan) -> None:
    """**Raises** `UsageError` where the true value is no number within the scan."""
    first, last = float(scan.values[0]), float(scan.values[-1])
    if true is not None and not first <= true <= last:
        raise UsageError(
            f"--true {true:g}: expected the true {scan.parameter}, within the scan of {scan.path} from "
            f"{first:g} to {last:g}"
        )


@dataclass(frozen=True)
class _Result:
    """The likelihood of the parameter of a scan.

    - `events` that enter; how many are `outside_selection`, and how many of the others have not all weights
      (`left_out`); `selection`, cuts
    - `sigma_vis`, None where the likelihood is not normalised
    - `fits` by source, `exact` and perhaps `learned`; `experiments`, where they were asked for
    """

    scan: _Scan
    events: int
    outside_selection: int
    left_out: int
    selection: Mapping[str, Any] | None
    sigma_vis: _Normalisation | None
    fits: dict[str, Interval]
    statuses: Statuses
    remarks: list[str]
    experiments: PseudoExperiments | None

    @property
    def summary(self) -> list[str]:
        """What a person should know, in sentences."""
        sentences = [f"{self.events:,} events; {self.left_out:,} without all weights are left out."]
        if self.outside_selection:
            sentences.append(f"{self.outside_selection:,} outside the selection are left out, too.")
        for source, fit in self.fits.items():
            edge = "" if fit.inside else " The minimum lies at the edge: scan further."
            sentences.append(f"{self.scan.parameter}, {source}: {fit} (68 %).{edge}")
        if self.sigma_vis is None:
            sentences += as_sentences([_NOT_NORMALISED])
        if self.experiments is not None:
            sentences += _in_words(self.experiments)
        return [*sentences, *self.statuses.sentences(), *as_sentences(self.remarks)]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON, without what there is not."""
        found = {
            "title": f"Likelihood of {self.scan.parameter} ({self.scan.process})",
            "parameter": self.scan.parameter,
            "process": self.scan.process,
            "values": self.scan.values.tolist(),
            "events": self.events,
            "outside_selection": self.outside_selection,
            "left_out": self.left_out,
            "selection": self.selection,
            "sigma_vis": None if self.sigma_vis is None else self.sigma_vis.to_dict(),
            "minus_2_delta_log_L": {source: fit.points.tolist() for source, fit in self.fits.items()},
            "interval_68": {source: fit.to_dict() for source, fit in self.fits.items()},
            **self.statuses.to_dict(),
            "remarks": self.remarks,
        }
        if self.sigma_vis is None:
            found["remark"] = _NOT_NORMALISED
        if self.experiments is not None:
            found["pseudo_experiments"] = self.experiments.to_dict()
        return found | {"summary": self.summary}


def _in_words(experiments: PseudoExperiments) -> list[str]:
    """What pseudo-experiments came to, and how many of them say nothing."""
    lost, samples = experiments.lost, experiments.samples
    sentences = [
        f"{samples - lost} {experiments.kind}, {source}: bias {found.bias.value:+.2g} ± "
        f"{found.bias.error:.1g}, pull width {found.pull_width.value:.2f} ± {found.pull_width.error:.2f}."
        for source, found in experiments.minima.items()
    ]
    if lost:
        none = "" if sentences else ", so nothing is said of bias and pulls"
        sentences.append(
            f"{lost} of {samples} {experiments.kind} of {experiments.events_of_each:,} events are left out, "
            f"for their intervals leave the scan{none}: ask for fewer --samples, or scan further."
        )
    return sentences


def _write(folder: Path, result: _Result) -> dict[str, Any]:
    """Write figure and numbers; **returns** what `likelihood.json` holds."""
    make_folder(folder)
    scan = result.scan
    curves = {source: (fit.curve, fit.points, f"{source}: {fit}") for source, fit in result.fits.items()}
    plots.likelihood_scan(folder / "likelihood.png", scan.parameter, scan.values, curves)
    contents = result.to_dict() | {
        "figures": [{"file": "likelihood.png", "caption": f"−2Δ log L of {result.events:,} events."}],
        "output": str(folder),
    }
    write_json(folder / "likelihood.json", contents)
    return contents
