"""What physics asks of weights: discriminants with their ROC curves, and likelihood scans of a parameter.

Exact and learned weights are treated alike, on the same events, so that the difference between two curves is
the learning's and nothing else's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from deepmem.columns import recognise
from deepmem.config import Config
from deepmem.data.files import make_folder, sha256, write_text
from deepmem.data.identity import Events, refuse_other_events
from deepmem.data.provenance import described, differences, scanned
from deepmem.data.root import Source, Weights, read_provenance, read_weights, scan_name, weight_names
from deepmem.errors import DeepMEMError, UsageError, nearest
from deepmem.evaluation import plots
from deepmem.evaluation.sums import log_weight
from deepmem.event import Status, Weight, by_status, count_statuses, worst
from deepmem.physics.constants import Parameters, parameters
from deepmem.physics.processes import find_process
from deepmem.physics.weights.hypothesis import Hypothesis, hypothesis
from deepmem.physics.weights.leading_order import BATCH, cross_section
from deepmem.physics.weights.sampling import default_masses
from deepmem.physics.weights.visible import measured
from deepmem.selection import Selection

_BOOTSTRAP = 400
_SURELY = 5.0  # standard errors
# How events of each status enter; flagged ones are left out unless they are asked for.
_TREATMENT = {
    Status.GOOD: "used",
    Status.PRECISION: "used with their errors",
    Status.NO_SOLUTION: "weight 0",
    Status.BAD_INPUT: "left out",
    Status.OUTSIDE_TRAINING: "left out (--flagged takes them)",
    Status.BELOW_GRID: "left out",
}


def discriminate(
    weights: Sequence[str | Path],
    signal: str,
    background: str | Sequence[str],
    *,
    kappa: Sequence[float] = (),
    sigma_signal: float | None = None,
    sigma_background: Sequence[float] = (),
    selection: Mapping[str, Any] | None = None,
    config: str | Path | Mapping[str, Any] | Config | None = None,
    label: str | None = None,
    learned: Sequence[str | Path] = (),
    flagged: bool = False,
    force: bool = False,
    output: str | Path = "post",
    seed: int = 1,
) -> dict[str, Any]:
    """How well weights tell a signal from one or several backgrounds.

    D = (W_s/σ_s) / (W_s/σ_s + Σ_b κ_b W_b/σ_b), W_s and all W_b being 0 or one of them NaN: NaN, counted.
    Weights that missed their precision (status 1) enter with their errors, which the bootstrap varies.

    **Arguments:**

    - `weights`: weight files with all the names; without `label` the first is of signal events and further
      ones are of background events, and one alone has no ROC.
    - `signal`, `background`: names of weights; `kappa`: κ of each background (1).
    - `sigma_signal`, `sigma_background`: σ_vis in pb; else computed from each file's provenance within
      `selection`, or that of `config`, which also brings the response where it is not a plain Gaussian.
    - `label`: a branch of the files (`--keep`), not zero for signal.
    - `learned`: files with learned weights of the same events, as many for each of `weights`.
    - `flagged`: whether events outside a model's training range (status 4) enter; `force`: whether files
      that say they are of other events, or of other hypotheses, are taken all the same.
    - `output`: the folder for `discriminate.json`, `.png` and `discriminant.root`; `seed`, of the bootstrap.

    **Returns** what `discriminate.json` holds: σ_vis, counts, AUC of each, and the AUC difference
    exact − learned with its paired bootstrap error.

    **Raises** `UsageError` for a wrong name, files of different events or hypotheses, or a σ_vis that cannot
    be computed.
    """
    backgrounds = [background] if isinstance(background, str) else list(background)
    names = [signal, *backgrounds]
    if not backgrounds or len(set(names)) != len(names):
        raise UsageError(f"name the signal and each background once, got {', '.join(names)}")
    factors = _one_each("kappa", kappa or [1.0], backgrounds)
    files = [str(path) for path in weights]
    if not files:
        raise UsageError("no weights: name at least one weight file")
    exact = [_read([path], names) for path in files]
    guessed = [_read(group, names) for group in _groups(files, learned)]
    for path, one, other in zip(files, exact, guessed, strict=False):
        if len(one[signal]) != len(other[signal]):
            raise UsageError(
                f"{path} has {len(one[signal])} entries and the learned weights {len(other[signal])}: "
                "they must be of the same events, file by file"
            )
    remarks = _combined(files, _groups(files, learned), names, label is None, force)
    settings = Config.load(config or {}, need=())
    cuts = selection if selection is not None else settings.selection
    given = [sigma_signal, *_one_each("sigma_background", sigma_background or [None], backgrounds)]
    sigma = {
        name: _sigma(files[0], name, value, cuts, settings.response)
        for name, value in zip(names, given, strict=True)
    }
    remarks += [text.rstrip(".") for each in sigma.values() for text in each.get("remarks", ())]
    scale = {name: sigma[name]["pb"] / k for name, k in zip(names, (1.0, *factors), strict=True)}
    is_signal = _classes(files, label, [len(each[signal]) for each in exact])
    found = {"exact": _discriminant(exact, names, scale)}
    if guessed:
        found["learned"] = _discriminant(guessed, names, scale)
    selected, unchecked = _selected(files, signal, cuts, len(found["exact"]))
    remarks += unchecked
    values = {
        source: weight.value if flagged else np.where(_flagged(parts, names), np.nan, weight.value)
        for (source, weight), parts in zip(found.items(), (exact, guessed), strict=False)
    }
    usable = np.logical_and.reduce([selected, *(np.isfinite(d) for d in values.values())])
    result: dict[str, Any] = {
        "title": f"{signal} against {' + '.join(backgrounds)}",
        "signal": signal,
        "background": backgrounds,
        "kappa": factors,
        "sigma_vis": sigma,
        "selection": cuts,
        "events": len(usable),
        "outside_selection": int((~selected).sum()),
        "without_discriminant": int((~usable & selected).sum()),
        "both_weights_zero": sum(_all_zero(each, names) for each in exact),
        "statuses": {
            source: {name: _counts(part[name] for part in parts) for name in names}
            for source, parts in (("exact", exact), ("learned", guessed))
            if parts
        },
        "remarks": remarks,
    }
    shown = {source: d[usable] for source, d in values.items()}
    noise = {
        source: np.where(weight.status == Status.PRECISION, np.nan_to_num(weight.error), 0.0)[usable]
        for source, weight in found.items()
    }
    curves: dict[str, tuple[np.ndarray, np.ndarray, str]] = {}
    classes = None if is_signal is None else is_signal[usable]
    if classes is None:
        result["remark"] = (
            "a ROC needs labels: give --label BRANCH, or one file of signal and one of background events"
        )
    else:
        if classes.all() or not classes.any():
            raise UsageError("all events with a discriminant are of one class: a ROC needs both")
        result |= {"signal_events": int(classes.sum()), "background_events": int((~classes).sum())}
        result |= _areas(shown, noise, classes, np.random.default_rng(seed))
        for source, d in shown.items():
            auc = result["auc"][source]
            curves[source] = (
                *_roc(d, classes),
                f"{source}: AUC {auc['value']:.4f} ± {auc['error']:.4f}",
            )
    for source, area in result.get("auc", {}).items():
        if area["value"] + _SURELY * area["error"] < 0.5:
            remarks.append(
                f"the {source} weights call background what is called signal: are the files (or labels) of "
                "signal and background in the right order?"
            )
    result["summary"] = [*_say(result), *_say_statuses(result["statuses"], flagged), *_sentences(remarks)]
    folder = Path(output)
    make_folder(folder)
    plots.discriminant(folder / "discriminate.png", shown, classes, curves)
    caption = "Distribution of D" + (", and signal kept against background kept." if curves else ".")
    result["figures"] = [{"file": "discriminate.png", "caption": caption}]
    about = {"command": "discriminate", "weights": files, "sigma_vis": sigma, "kappa": factors}
    branches = {"D" if source == "exact" else "D_learned": weight for source, weight in found.items()}
    Weights(branches, about).to_root(folder / "discriminant.root")
    result["output"] = str(folder)
    write_text(folder / "discriminate.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return result


def _one_each(what: str, values: Sequence[Any], names: Sequence[str]) -> list[Any]:
    if len(values) == 1:
        return list(values) * len(names)
    if len(values) != len(names):
        raise UsageError(f"{what}: expected one value, or one for each of {', '.join(names)}")
    return list(values)


def _groups(files: Sequence[str], learned: Sequence[str | Path]) -> list[list[str]]:
    """The learned files that belong to each file of exact weights."""
    if len(learned) % len(files):
        raise UsageError(
            f"{len(learned)} learned files for {len(files)} of exact weights: as many are needed for each"
        )
    each = len(learned) // len(files)
    paths = [str(path) for path in learned]
    return [paths[i : i + each] for i in range(0, len(paths), each)] if each else []


def _read(paths: Sequence[str], names: Sequence[str]) -> dict[str, Weight]:
    """Weights by name from files of the same events, whichever of them has it."""
    there = {name: path for path in paths for name in weight_names(path)}
    for name in names:
        if name not in there:
            raise UsageError(
                f"{', '.join(paths)}: there is no weight {name!r}{nearest(name, there)}; "
                f"there are {', '.join(there)}"
            )
    return {name: read_weights(there[name], name) for name in names}


def _classes(files: Sequence[str], label: str | None, lengths: Sequence[int]) -> np.ndarray | None:
    if label is not None:
        source = Source(files, None, [label])
        return source.read(0, source.num_entries)[:, 0] != 0
    if len(files) == 1:
        return None
    return np.arange(sum(lengths)) < lengths[0]


def _discriminant(
    parts: Sequence[Mapping[str, Weight]], names: Sequence[str], scale: Mapping[str, float]
) -> Weight:
    """D of each event with its error from independent errors of the weights, and the worst status."""
    value = np.array([np.concatenate([part[name].value for part in parts]) / scale[name] for name in names])
    error = np.array([np.concatenate([part[name].error for part in parts]) / scale[name] for name in names])
    signal, background = value[0], value[1:].sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        d = signal / (signal + background)
        noise = np.hypot(background * error[0], signal * np.sqrt((error[1:] ** 2).sum(axis=0)))
        uncertainty = noise / (signal + background) ** 2
    statuses = [np.concatenate([part[name].status for part in parts]) for name in names]
    return Weight(d, uncertainty, worst(*statuses))


def _flagged(parts: Sequence[Mapping[str, Weight]], names: Sequence[str]) -> np.ndarray:
    """Which events have a weight outside its model's training range."""
    statuses = np.array([np.concatenate([part[name].status for part in parts]) for name in names])
    return (statuses == Status.OUTSIDE_TRAINING).any(axis=0)


def _counts(weights: Iterable[Weight]) -> dict[str, int]:
    return by_status(np.sum([count_statuses(weight.status) for weight in weights], axis=0))


def _say_statuses(statuses: Mapping[str, Mapping[str, Mapping[str, int]]], flagged: bool) -> Iterator[str]:
    """A sentence for each set of weights: how many have which status, and how they enter."""
    for source, of_names in statuses.items():
        for name, counts in of_names.items():
            parts = []
            for text, number in counts.items():
                status = Status(int(text[0]))
                asked = flagged and status == Status.OUTSIDE_TRAINING
                parts.append(f"{number:,} with status {text[0]}, {'used' if asked else _TREATMENT[status]}")
            yield f"{name}, {source}: {'; '.join(parts)}."


def _sentences(remarks: Sequence[str]) -> list[str]:
    return [f"{text[0].upper()}{text[1:]}." for text in remarks]


def _combined(
    files: Sequence[str], groups: Sequence[Sequence[str]], names: Sequence[str], classes: bool, force: bool
) -> list[str]:
    """See that files may be combined: learned and exact weights of the same events, one hypothesis for each
    name, one energy of the protons for all.

    **Returns** remarks on what a reader should know. **Raises** `UsageError` where numbers would be wrong.
    """
    remarks = []
    for path, group in zip(files, groups, strict=False):
        remarks += refuse_other_events([path, *group], force)
    if classes and len(files) > 1:
        first, second = (Events.of_file(path) for path in files[:2])
        if first is not None and second is not None and first.same(second):
            _refuse(f"{files[0]} and {files[1]} are of the same events: no signal and background", force)
    known: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in (*files, *(path for group in groups for path in group)):
        for name, entry in _described(path).items():
            if name not in names:
                continue
            origin, other = known.setdefault(name, (path, entry))
            if differ := differences(other, entry):
                remarks += _refuse(f"{name} differs between {origin} and {path}: {'; '.join(differ)}", force)
    return remarks + _between({name: entry for name, (_, entry) in known.items()}, force)


def _between(known: Mapping[str, Mapping[str, Any]], force: bool) -> list[str]:
    """What the hypotheses of several weights do not have in common, though the events are the same."""
    remarks = []
    (name, one), *others = list(known.items()) or [("", {})]
    for other, entry in others:
        if one["parameters"]["sqrt_s"] != entry["parameters"]["sqrt_s"]:
            energies = [each["parameters"]["sqrt_s"] for each in (one, entry)]
            remarks += _refuse(f"√s is {energies[0]:g} GeV for {name} and {energies[1]:g} for {other}", force)
        differ = [
            key for key in ("pdf", "pdf_sha256", "missing", "met") if one.get(key, 0) != entry.get(key, 0)
        ]
        common = one["responses"].keys() & entry["responses"].keys()
        differ += [kind for kind in sorted(common) if one["responses"][kind] != entry["responses"][kind]]
        if differ:
            remarks.append(f"{name} and {other} were computed with different {', '.join(differ)}")
    return remarks


def _refuse(text: str, force: bool) -> list[str]:
    if not force:
        raise UsageError(f"{text} (--force takes them all the same)")
    return [text]


def _described(path: str) -> dict[str, dict[str, Any]]:
    try:
        return described(read_provenance(path))
    except DeepMEMError:  # a file of another program
        return {}


def _all_zero(part: Mapping[str, Weight], names: Sequence[str]) -> int:
    return int(np.logical_and.reduce([part[name].value == 0 for name in names]).sum())


def _areas(
    values: Mapping[str, np.ndarray],
    noise: Mapping[str, np.ndarray],
    is_signal: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """AUC of each, and of their difference, with errors from a bootstrap that draws the same events for
    both, and varies D by its `noise`, `[events]`."""
    places = {source: _places(d) for source, d in values.items()}
    noisy = {source for source, each in noise.items() if each.any()}
    of_noise = rng.spawn(1)[0]  # the same events are drawn with noise and without
    one = np.ones(len(is_signal))
    samples = []
    s, b = np.flatnonzero(is_signal), np.flatnonzero(~is_signal)
    for _ in range(_BOOTSTRAP):
        times = np.bincount(np.r_[rng.choice(s, len(s)), rng.choice(b, len(b))], minlength=len(is_signal))
        varied = {
            source: _places(values[source] + noise[source] * of_noise.standard_normal(len(is_signal)))
            for source in noisy
        }
        samples.append([_area(at, is_signal, times) for at in (places | varied).values()])
    errors = np.std(samples, axis=0, ddof=1)
    area = {source: _area(at, is_signal, one) for source, at in places.items()}
    result: dict[str, Any] = {
        "auc": {k: {"value": v, "error": float(e)} for (k, v), e in zip(area.items(), errors, strict=True)}
    }
    if len(area) == 2:
        difference = np.diff(samples, axis=1)
        result["auc_exact_minus_learned"] = {
            "value": area["exact"] - area["learned"],
            "error": float(difference.std(ddof=1)),
        }
    return result


def _places(d: np.ndarray) -> np.ndarray:
    """The rank of each event's D among the different ones."""
    return np.unique(d, return_inverse=True)[1]


def _area(place: np.ndarray, is_signal: np.ndarray, times: np.ndarray) -> float:
    """P(D_s > D_b) + P(D_s = D_b)/2; `place`, the rank of each event's D among the different ones."""
    size = int(place.max()) + 1
    signal = np.bincount(place, times * is_signal, size)
    background = np.bincount(place, times * ~is_signal, size)
    below = np.cumsum(background) - background / 2
    return float((signal * below).sum() / (signal.sum() * background.sum()))


def _roc(d: np.ndarray, is_signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Background and signal kept for each cut, from tight to loose; equal D are cut together."""
    values, place = np.unique(-d, return_inverse=True)
    kept = [np.cumsum(np.bincount(place, rows, len(values))) / rows.sum() for rows in (~is_signal, is_signal)]
    return np.r_[0.0, kept[0]], np.r_[0.0, kept[1]]


def _say(result: Mapping[str, Any]) -> list[str]:
    sentences = [
        f"{result['events']:,} events, {result['without_discriminant']:,} of them without a discriminant "
        f"({result['both_weights_zero']:,} because all weights are 0)."
    ]
    if result["outside_selection"]:
        sentences.append(f"{result['outside_selection']:,} events outside the selection are left out.")
    if "auc" not in result:
        return [*sentences, result["remark"][0].upper() + result["remark"][1:] + "."]
    found = ", ".join(f"{k} {v['value']:.4f} ± {v['error']:.4f}" for k, v in result["auc"].items())
    sentences.append(f"AUC: {found}.")
    if difference := result.get("auc_exact_minus_learned"):
        sentences.append(
            f"AUC exact − learned on the same events: {difference['value']:+.5f} ± {difference['error']:.5f}."
        )
    return sentences


# the selection


def _selected(
    files: Sequence[str], name: str, cuts: Mapping[str, Any] | None, events: int
) -> tuple[np.ndarray, list[str]]:
    """Which events of weight files are within the cuts that σ_vis is of, read from the files they came from.

    **Returns** all of them where that cannot be told, and a remark that says so.
    """
    if not cuts:
        return np.full(events, True), []
    parts = []
    for path in files:
        try:
            parts.append(_within(path, name, cuts))
        except DeepMEMError as error:
            return np.full(events, True), [
                f"whether the events are within the selection is not known ({error})"
            ]
    return np.concatenate(parts), []


def _within(path: str, name: str, cuts: Mapping[str, Any]) -> np.ndarray:
    """The same of one file. **Raises** `DeepMEMError` where its events are not to be had."""
    about = read_provenance(path)
    whole = {entry["process"]: entry for entry in about.get("hypotheses", ())}
    entry = (described(about) | whole).get(name)
    if entry is None or "inputs" not in about:
        raise UsageError(f"{path} does not say which events it is of")
    for file in about["inputs"]:
        if (
            not file.get("sha256")
            or not Path(file["path"]).is_file()
            or sha256(file["path"]) != file["sha256"]
        ):
            raise UsageError(f"{file['path']} is not there as it was")
    alpha = hypothesis(entry["process"])
    columns, names = alpha.process.columns, about.get("column_names", {})
    unit = 1e-3 if about.get("unit") == "MeV" else 1.0
    factors = [unit if recognise(column).quantity.has_energy_unit else 1.0 for column in columns]
    inputs = [file["path"] for file in about["inputs"]]
    source = Source(inputs, about["inputs"][0]["tree"], [names.get(column, column) for column in columns])
    start, stop = about.get("entries") or (0, source.num_entries)
    kept = []
    for low, high in source.boundaries(start, stop, 100_000):
        table = source.read(low, high) * factors
        momenta, missing = measured(alpha, dict(zip(columns, table.T, strict=True)))
        kept.append(Selection.of(cuts).passes(momenta, alpha.process.visible, missing))
    return np.concatenate(kept)


# σ_vis


def _sigma(
    path: str,
    name: str,
    given: float | None,
    selection: Mapping[str, Any] | None,
    response: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """σ_vis of a weight, in pb: as given, or computed from what its file says about it."""
    if given is not None:
        if not (np.isfinite(given) and given > 0):
            raise UsageError(f"σ_vis of {name} must be in pb and above 0, got {given}")
        return {"pb": float(given), "error_pb": 0.0, "from": "given"}
    try:
        process, settings = _said(path, name, response)
    except DeepMEMError as error:
        raise UsageError(f"{error}. Give σ_vis of {name} in pb yourself") from None
    found = cross_section(process, selection, **settings)
    said = {"remarks": [f"σ_vis of {name}: {text}" for text in found.remarks()]}
    return {"pb": found.visible, "error_pb": found.visible_error, "from": f"computed for {process}"} | said


def _said(path: str, name: str, response: Mapping[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """Process and settings of a weight (of all of a scan, under the process's name), for `cross_section`.

    **Raises** `UsageError` where the file does not say enough to repeat it, or `response` is another one.
    """
    about = read_provenance(path)
    whole = {entry["process"]: entry for entry in about.get("hypotheses", ())}
    entry = (whole | described(about)).get(name)
    if entry is None:
        raise UsageError(f"{path} does not say how {name} was computed")
    if entry["MH_from_event"]:
        raise UsageError(f"{name} was computed with MH=event, which has no σ")
    if response is not None:
        given = hypothesis(entry["process"], pdf=entry["pdf"], response=response).to_dict()
        if any(given.get(key) != entry.get(key) for key in ("responses", "missing")):
            raise UsageError(
                f"{name} in {path} was computed with a response that is not the one of the configuration"
            )
    alpha = Hypothesis.from_dict(entry, response)
    theory = {key: getattr(alpha.parameters, key) for key in ("sqrt_s", *alpha.process.parameters)}
    settings = {key: value for key, value in theory.items() if value is not None and np.ndim(value) == 0}
    settings |= {"Q": alpha.scale, "flavours": alpha.flavours, "pdf": alpha.density_name}
    if alpha.subset is not None:
        settings["subset"] = alpha.subset
    return alpha.process.name, settings | {"response": alpha.detector.to_dict()}


# Likelihood


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
    path = str(weights)
    settings = Config.load(config or {}, need=())
    name, values = _scanned(path, parameter, process)
    if len(values) < 3:
        raise UsageError(f"{path} has {len(values)} value(s) of {parameter}: three at least are needed")
    values = np.sort(values)
    names = _names(name, parameter, values)
    weights_of = {"exact": _read([path], names)}
    logs = {"exact": _logs(weights_of["exact"], True, flagged)}
    remarks: list[str] = []
    if learned is not None:
        weights_of["learned"] = _read([str(learned)], names)
        logs["learned"] = _logs(weights_of["learned"], False, flagged)
        if logs["learned"].shape != logs["exact"].shape:
            raise UsageError(
                f"{path} has {len(logs['exact'])} entries and {learned} {len(logs['learned'])}: "
                "they must be of the same events"
            )
        remarks = _combined([path], [[str(learned)]], names, False, force)
    usable = np.logical_and.reduce([np.isfinite(each).all(axis=1) for each in logs.values()])
    if not usable.any():
        raise UsageError(f"no event has a positive weight for every value of {parameter}")
    cuts = selection if selection is not None else settings.selection
    selected, unchecked = _selected([path], names[0], cuts, len(usable))
    usable, remarks = usable & selected, remarks + unchecked
    if not usable.any():
        raise UsageError(f"no event within the selection {cuts} has a positive weight for each {parameter}")
    log_sigma, sigma = np.zeros(len(values)), None
    if normalise:
        _, arguments = _said(path, name, settings.response)
        if not cuts:  # one range for all values: what is selected does not depend on the hypothesis
            arguments["mass"] = _common_masses(name, arguments, parameter, values)
        found = [
            cross_section(name, cuts, seed=1, points=points, **arguments, **{parameter: float(v)})
            for v in values
        ]
        said = dict.fromkeys(text for each in found for text in each.remarks())
        remarks += [f"σ_vis: {text.rstrip('.')}" for text in said]
        raw = np.log([each.visible for each in found])
        x = values - values.mean()
        log_sigma = np.polyval(np.polyfit(x, raw, 2), x)
        sigma = {
            "pb": np.exp(log_sigma).tolist(),
            "relative_error_of_each": found[0].visible_error / found[0].visible,
            "largest_change_by_smoothing": float(np.abs(raw - log_sigma).max()),
        }
    terms = {source: -2 * (each[usable] - log_sigma) for source, each in logs.items()}
    fits = {source: _Fit(values, each.sum(axis=0)) for source, each in terms.items()}
    result: dict[str, Any] = {
        "title": f"Likelihood of {parameter} ({name})",
        "parameter": parameter,
        "process": name,
        "values": values.tolist(),
        "events": int(usable.sum()),
        "outside_selection": int((~selected).sum()),
        "left_out": int((~usable & selected).sum()),
        "selection": cuts,
        "sigma_vis": sigma,
        "minus_2_delta_log_L": {source: fit.points.tolist() for source, fit in fits.items()},
        "interval_68": {source: fit.as_dict() for source, fit in fits.items()},
        "statuses": {source: {name: _counts(each.values())} for source, each in weights_of.items()},
        "remarks": remarks,
    }
    if not normalise:
        result["remark"] = "not normalised to σ_vis: biased where σ_vis depends on the parameter"
    if samples:
        result["pseudo_experiments"] = _pseudo_experiments(
            terms, values, samples, fits["exact"].best if true is None else true, true is not None, seed
        )
    result["summary"] = [
        *_say_likelihood(result), *_say_statuses(result["statuses"], flagged), *_sentences(remarks)
    ]  # fmt: skip
    folder = Path(output)
    make_folder(folder)
    curves = {
        source: (fit.curve, fit.points, f"{source}: {_interval(fit.as_dict())}")
        for source, fit in fits.items()
    }
    plots.likelihood_scan(folder / "likelihood.png", parameter, values, curves)
    result["figures"] = [{"file": "likelihood.png", "caption": f"−2Δ log L of {result['events']:,} events."}]
    result["output"] = str(folder)
    write_text(folder / "likelihood.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return result


def _common_masses(
    process: str, arguments: Mapping[str, Any], parameter: str, values: np.ndarray
) -> tuple[float, float]:
    """The true masses that the σ of all values of a parameter are of."""
    known = {key: value for key, value in arguments.items() if key in Parameters._fields}
    ranges = [
        default_masses(find_process(process), parameters(**known | {parameter: float(value)}))
        for value in values
    ]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _scanned(path: str, parameter: str, process: str | None) -> tuple[str, np.ndarray]:
    """The process whose scan of the parameter a file holds, and the values."""
    entries = read_provenance(path).get("hypotheses", [])
    scans = [(entry["process"], *scan) for entry in entries if (scan := scanned(entry)) is not None]
    found = [each for each in scans if each[1] == parameter and process in (None, each[0])]
    if not found:
        raise UsageError(
            f"{path} is not a scan of {parameter!r}{nearest(parameter, [name for _, name, _ in scans])}"
            + (f" for {process!r}" if process else "")
            + f"; it has scans of {', '.join(f'{n} ({p})' for p, n, _ in scans) or 'nothing'}. Make one with "
            "'deepmem compute --set NAME=FIRST:LAST:STEP'"
        )
    if len(found) > 1:
        there = ", ".join(name for name, *_ in found)
        raise UsageError(f"{path} has scans of {parameter} for {there}: say which one (--process)")
    return found[0][0], np.array(found[0][2])


def _names(process: str, parameter: str, values: np.ndarray) -> list[str]:
    """What the weights of a scan are called in a file."""
    return [scan_name(process, parameter, v) for v in values]


def _logs(weights: Mapping[str, Weight], noisy: bool, flagged: bool) -> np.ndarray:
    """log W, `[events, values]`; NaN where a weight cannot be relied on at all, or is flagged.

    Noise of an integration is corrected for; the error of a learned weight is none: it is what the network
    does not know, the same each time.
    """
    lost = [Status.NO_SOLUTION, Status.BAD_INPUT, Status.BELOW_GRID]
    lost += [] if flagged else [Status.OUTSIDE_TRAINING]
    columns = []
    for weight in weights.values():
        corrected, variance = log_weight(weight)
        columns.append(
            np.where(np.isin(weight.status, lost), np.nan, corrected - (0 if noisy else variance / 2))
        )
    return np.stack(columns, axis=1)


class _Fit:
    """The minimum of −2 log L, and where it rises by 1 on either side (None beyond the scan)."""

    def __init__(self, values: np.ndarray, total: np.ndarray):
        spline = CubicSpline(values, total) if len(values) > 3 else np.poly1d(np.polyfit(values, total, 2))
        fine = np.linspace(values[0], values[-1], 4001)
        heights = spline(fine)
        at = int(np.argmin(heights))
        lowest = float(heights[at])
        self.best, self.inside = float(fine[at]), 0 < at < len(fine) - 1
        above = heights - lowest >= 1
        low, high = np.flatnonzero(above[:at]), np.flatnonzero(above[at:])
        self.low = float(fine[low[-1]]) if len(low) else None
        self.high = float(fine[at + high[0]]) if len(high) else None
        self.points = total - lowest
        self.curve = lambda x: spline(x) - lowest

    @property
    def half(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def as_dict(self) -> dict[str, Any]:
        return {"best": self.best, "low": self.low, "high": self.high, "minimum_inside": self.inside}


def _pseudo_experiments(
    terms: Mapping[str, np.ndarray], values: np.ndarray, samples: int, true: float, given: bool, seed: int
) -> dict[str, Any]:
    events = len(next(iter(terms.values())))
    if not 2 <= samples <= events:
        raise UsageError(f"--samples {samples}: expected 2 to {events}, the number of events")
    parts = np.array_split(np.random.default_rng(seed).permutation(events), samples)
    fits = {s: [_Fit(values, each[rows].sum(axis=0)) for rows in parts] for s, each in terms.items()}
    usable = np.array([all(fit[i].half is not None for fit in fits.values()) for i in range(samples)])
    result: dict[str, Any] = {
        "samples": samples,
        "kind": "disjoint random subsamples",
        "events_of_each": events // samples,
        "true": true,
        "true_from": "given" if given else "the exact minimum of all events",
        "left_out_because_the_interval_leaves_the_scan": int((~usable).sum()),
    }
    kept = np.flatnonzero(usable)
    if len(kept) < 2:
        return result
    best = {source: np.array([each[i].best for i in kept]) for source, each in fits.items()}
    for source, each in fits.items():
        pulls = (best[source] - true) / np.array([each[i].half for i in kept])
        result[source] = {
            "bias": float(best[source].mean() - true),
            "bias_error": float(best[source].std(ddof=1) / len(kept) ** 0.5),
            "pull_width": float(pulls.std(ddof=1)),
            "pull_width_error": float(pulls.std(ddof=1) / (2 * len(kept) - 2) ** 0.5),
        }
    if len(best) == 2:
        shift = best["learned"] - best["exact"]
        result["learned_minus_exact"] = {
            "value": float(shift.mean()),
            "error": float(shift.std(ddof=1) / len(kept) ** 0.5),
        }
    return result


def _interval(fit: Mapping[str, Any]) -> str:
    if fit["low"] is None or fit["high"] is None:
        return f"{fit['best']:.5g}, interval leaves the scan"
    return f"{fit['best']:.5g} −{fit['best'] - fit['low']:.2g} +{fit['high'] - fit['best']:.2g}"


def _say_likelihood(result: Mapping[str, Any]) -> list[str]:
    sentences = [f"{result['events']:,} events; {result['left_out']:,} without all weights are left out."]
    if result["outside_selection"]:
        sentences.append(f"{result['outside_selection']:,} outside the selection are left out, too.")
    for source, fit in result["interval_68"].items():
        edge = "" if fit["minimum_inside"] else " The minimum lies at the edge: scan further."
        sentences.append(f"{result['parameter']}, {source}: {_interval(fit)} (68 %).{edge}")
    if "remark" in result:
        sentences.append(result["remark"][0].upper() + result["remark"][1:] + ".")
    made = result.get("pseudo_experiments", {})
    for source in ("exact", "learned"):
        if source in made:
            f = made[source]
            sentences.append(
                f"{made['samples']} {made['kind']}, {source}: bias {f['bias']:+.2g} ± {f['bias_error']:.1g}, "
                f"pull width {f['pull_width']:.2f} ± {f['pull_width_error']:.2f}."
            )
    return sentences
