"""Responses from a configuration: every key checked, and named where it is wrong."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from deepmem.errors import nearest
from deepmem.physics.detector.binned import Binned
from deepmem.physics.detector.custom import custom
from deepmem.physics.detector.detector import ByEta, Detector, MissingMomentum, Recoil
from deepmem.physics.detector.gaussians import CrystalBall, DoubleGaussian, Gaussian, Resolution
from deepmem.physics.detector.response import Delta, Response, TransferError

OF_ENERGIES = ("lepton", "bjet", "jet", "photon", "tau")
"""The classes of particles that have a response."""
CLASSES = (*OF_ENERGIES, "met", "recoil")
"""What a response can be of."""

# At this energy in GeV a resolution may be this part of it, at most.
_TYPICAL, _WIDEST = 100.0, 0.5


def _resolution(entry: Mapping[str, Any], where: str) -> Resolution:
    if "r" in entry and "a" in entry:
        raise TransferError(f"{where}: give r or a, they are the same")
    terms = {name: _number(entry, name, where, 0.0) for name in "abc"}
    terms["a"] = _number(entry, "r", where, terms["a"])
    if min(terms.values()) < 0 or max(terms.values()) <= 0:
        raise TransferError(
            f"{where}: a resolution needs terms a (or r), b, c that are ≥ 0, not all 0, got {terms}"
        )
    width = float(np.sqrt((terms["a"] * _TYPICAL) ** 2 + terms["b"] ** 2 * _TYPICAL + terms["c"] ** 2))
    if width > _WIDEST * _TYPICAL:
        raise TransferError(
            f"{where}: σ = {width:.4g} GeV at {_TYPICAL:g} GeV is no resolution: r (or a) is a fraction "
            f"and no percent, b is in √GeV, c in GeV, got {terms}"
        )
    return Resolution(**terms)


def _gaussian(entry: Mapping[str, Any], where: str) -> Response:
    return Gaussian(_resolution(entry, where), _reach(entry, where))


def _reach(entry: Mapping[str, Any], where: str) -> float:
    reach = _number(entry, "reach", where, 5.0)
    if reach <= 0:
        raise TransferError(f"{where}.reach: a support needs a number of σ above 0, got {reach}")
    return reach


def _double_gaussian(entry: Mapping[str, Any], where: str) -> Response:
    parts = {}
    for part in ("core", "tail"):
        if not isinstance(entry.get(part), Mapping):
            raise TransferError(
                f"{where}.{part}: a double Gaussian needs a resolution here, such as {{'r': 0.05}}"
            )
        _known_keys(entry[part], {"r", "a", "b", "c", "bias"}, f"{where}.{part}")
        parts[part] = _resolution(entry[part], f"{where}.{part}")
    fraction = _number(entry, "fraction", where)
    if not 0 < fraction < 1:
        raise TransferError(f"{where}.fraction: the tail's share must be between 0 and 1, got {fraction}")
    bias = {}
    for part in parts:
        bias[f"{part}_bias"] = value = _number(entry[part], "bias", f"{where}.{part}", 0.0)
        if value <= -1:
            raise TransferError(
                f"{where}.{part}.bias: E_rec ≈ (1 + bias) E_gen needs a bias above −1, got {value}"
            )
    return DoubleGaussian(fraction, parts["core"], parts["tail"], **bias, reach=_reach(entry, where))


def _crystal_ball(entry: Mapping[str, Any], where: str) -> Response:
    alpha, n = (_number(entry, name, where) for name in ("alpha", "n"))
    if alpha <= 0 or n <= 1:
        raise TransferError(f"{where}: a Crystal Ball needs alpha > 0 and n > 1, got {alpha} and {n}")
    loss = _number(entry, "loss", where, 1e-4)
    if not 0 < loss < 1:
        raise TransferError(f"{where}.loss: the part of events lost must be between 0 and 1, got {loss}")
    return CrystalBall(_resolution(entry, where), alpha, n, loss)


def _binned(entry: Mapping[str, Any], where: str) -> Response:
    if "file" in entry:
        if len(entry.keys() - {"kind", "eta_max"}) > 1:
            raise TransferError(f"{where}: give a file with a histogram, or edges and density, and not both")
        return Binned.from_root(str(entry["file"]))
    gen, difference = (
        np.asarray(_required(entry, f"{axis}_edges", where), dtype=float) for axis in ("gen", "difference")
    )
    density = np.asarray(_required(entry, "density", where), dtype=float)
    made = Binned.from_counts(density * np.diff(difference), gen, difference)
    widths = np.diff(difference)
    uneven = widths.max() > (1 + 1e-6) * widths.min()
    if uneven and not np.allclose((density * widths).sum(axis=1), 1.0, rtol=1e-3):
        raise TransferError(
            f"{where}.density: with bins of different widths every row must integrate to 1 over E_rec − "
            f"E_gen (1/GeV; counts are to be divided by the widths), got {(density * widths).sum(axis=1)}"
        )
    # not normalised once more, so that it is the same to the last bit as what `to_dict` was of
    same = np.allclose(made.contents, density, rtol=1e-9, atol=0)
    return Binned(gen, difference, density) if same else made


def _function(entry: Mapping[str, Any], where: str) -> Response:
    name = str(_required(entry, "function", where))
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise TransferError(
            f"{where}.function: no function {name!r} (expected module:name): {error}"
        ) from error
    made = custom(function, _number(entry, "low", where), _number(entry, "high", where))
    if entry.get("values") not in (None, made.to_dict()["values"]):
        raise TransferError(f"{where}.function: {name!r} gives other values than when this was written")
    return made


_KINDS: dict[str, tuple[Callable[[Mapping[str, Any], str], Response], set[str]]] = {
    "gaussian": (_gaussian, {"r", "a", "b", "c", "reach"}),
    "double_gaussian": (_double_gaussian, {"fraction", "core", "tail", "reach"}),
    "crystal_ball": (_crystal_ball, {"r", "a", "b", "c", "alpha", "n", "loss"}),
    "binned": (_binned, {"file", "gen_edges", "difference_edges", "density"}),
    "function": (_function, {"function", "low", "high", "values"}),
    "delta": (lambda entry, where: Delta(), set()),
}


def register(kind: str, build: Callable[[Mapping[str, Any], str], Response], keys: set[str]) -> None:
    """Make a shape of one's own known to configurations, in this process.

    **Arguments:** `kind`, its name; `build`, (entry, path for messages) ↦ response; `keys` that its entry
    may have.

    **Raises** `TransferError` where the name is taken.
    """
    if kind in _KINDS:
        raise TransferError(f"a response of kind {kind!r} is there already")
    _KINDS[kind] = (build, keys)


def unregister(kind: str) -> None:
    """Forget a shape of one's own; nothing where there is none of that kind."""
    _KINDS.pop(kind, None)


def response(entry: Any, where: str = "response") -> ByEta:
    """The response of one class of particles, from its entry in a configuration.

    **Arguments:** `entry`: a number r (a Gaussian with σ = rE; 0 for a perfect measurement), a dict with a
    `kind` and that kind's parameters, or a list of such dicts with an `eta_max` each, increasing (where the
    last one lacks it, it extends to any |η|). `where`: the path of the entry, for messages.

    **Raises** `TransferError` with the path of the offending key, the nearest known name, or what was
    expected.
    """
    if isinstance(entry, int | float) and not isinstance(entry, bool):
        entry = {"kind": "gaussian", "r": entry} if entry else {"kind": "delta"}
    regions = entry if isinstance(entry, list) else [entry]
    if not regions:
        raise TransferError(f"{where}: a list of regions needs one at least")
    responses, bounds = [], []
    for i, region in enumerate(regions):
        path = f"{where}[{i}]" if isinstance(entry, list) else where
        if not isinstance(region, Mapping):
            raise TransferError(
                f"{path}: expected a number, or a dict such as {{'kind': 'gaussian', 'r': 0.02}}"
            )
        kind = str(_required(region, "kind", path))
        if kind not in _KINDS:
            raise TransferError(
                f"{path}.kind: no response {kind!r}{nearest(kind, _KINDS)}; known: {', '.join(_KINDS)}"
            )
        build, keys = _KINDS[kind]
        _known_keys(region, keys | {"kind", "eta_max"}, path)
        try:
            responses.append(build(region, path))
        except (TypeError, ValueError) as error:
            if isinstance(error, TransferError):
                raise
            raise TransferError(f"{path}: {error}") from error
        bounds.append(float(region.get("eta_max", np.inf)))
        if not bounds[-1] > 0:
            raise TransferError(f"{path}.eta_max: a region of |η| ends above 0, got {bounds[-1]}")
    if any(second <= first for first, second in pairwise(bounds)):
        raise TransferError(f"{where}: the regions' eta_max must increase, got {bounds}")
    if len({each.dimensions for each in responses}) > 1:
        raise TransferError(
            f"{where}: a perfect measurement can't be mixed with others in regions of one class"
        )
    return ByEta(np.array(bounds[:-1]), tuple(responses), bounds[-1])


def detector(
    configuration: Mapping[str, Any], classes: Sequence[str], missing: bool, recoil: bool | None = None
) -> Detector:
    """The detector of a configuration's key `response`: the inverse of `Detector.to_dict`.

    **Arguments:** `configuration`, the response of each of `classes`, see `response`; where `missing`
    momentum is measured it may have one, too, under `met`, see `missing_momentum`; and where the `recoil` may
    be (by default where missing momentum is) that, under `recoil`, see `recoil_response`. One configuration
    serves many processes: what is of other classes than these is left out.

    **Raises** `TransferError` for an unknown class, and where an entry is wrong.
    """
    _known_keys(configuration, {*CLASSES, *classes}, "response")
    noise = configuration.get("met") if missing else None
    of_recoil = configuration.get("recoil") if (missing if recoil is None else recoil) else None
    by_class = {
        name: response(entry, f"response.{name}") for name, entry in configuration.items() if name in classes
    }
    return Detector(
        by_class,
        None if noise is None else missing_momentum(noise),
        None if of_recoil is None else recoil_response(of_recoil),
    )


def check_classes(given: Mapping[str, Any], classes: Iterable[str], resolved: Iterable[str] = ()) -> None:
    """See that a configuration's responses are not of other particles than those that lack one.

    One configuration may serve many processes. But one with `jet` alone, for a process of b jets, is a
    mistake that defaults would hide.

    **Arguments:** `given`, the key `response`; `classes` of the process; `resolved`, those that are given
    otherwise.

    **Raises** `TransferError`.
    """
    lacking = [kind for kind in dict.fromkeys(classes) if kind not in given and kind not in resolved]
    others = [kind for kind in given if kind in OF_ENERGIES and kind not in classes]
    if lacking and others:
        raise TransferError(
            f"response.{others[0]}: there is no {others[0]} in this process, and {', '.join(lacking)} has no "
            f"response: give {lacking[0]} one, or leave {others[0]} out"
        )


def missing_momentum(entry: Any, where: str = "response.met") -> MissingMomentum:
    """The response of missing pT from {"b": …, "c": …}: σ² = c² + b² H; a number is c."""
    return MissingMomentum(*_transverse_noise(entry, where, {"b", "c"}))


def recoil_response(entry: Any, where: str = "response.recoil") -> Recoil:
    """The response of the recoil: as `missing_momentum`, and {"K0": …} for its prior, in GeV."""
    b, c = _transverse_noise(entry, where, {"b", "c", "K0"})
    if not isinstance(entry, Mapping) or "K0" not in entry:
        return Recoil(b, c)
    median = _number(entry, "K0", where)
    if median <= 0:
        raise TransferError(
            f"{where}.K0: the prior (1 + K²/K0²)⁻² needs K0 > 0 in GeV, got {median}; a flat one has none"
        )
    return Recoil(b, c, median)


def _transverse_noise(entry: Any, where: str, known: set[str]) -> tuple[float, float]:
    """b and c of σ² = c² + b² H."""
    if isinstance(entry, int | float) and not isinstance(entry, bool):
        entry = {"c": entry}
    if not isinstance(entry, Mapping):
        raise TransferError(f"{where}: expected a number of GeV, or {{'b': …, 'c': …}}, got {entry!r}")
    _known_keys(entry, known, where)
    b, c = (_number(entry, name, where, 0.0) for name in "bc")
    if b < 0 or c <= 0:
        raise TransferError(f"{where}: needs b ≥ 0 (√GeV) and c > 0 (GeV), got {b} and {c}")
    return b, c


def _number(entry: Mapping[str, Any], key: str, where: str, default: float | None = None) -> float:
    """A finite number of an entry; without a default it must be there."""
    value = _required(entry, key, where) if default is None else entry.get(key, default)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise TransferError(f"{where}.{key}: expected a finite number, got {value!r}")
    return number


def _required(entry: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in entry:
        raise TransferError(f"{where}: {key!r} is missing")
    return entry[key]


def _known_keys(entry: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in entry:
        if key not in known:
            raise TransferError(
                f"{where}.{key}: unknown key{nearest(str(key), known)}; known: {', '.join(sorted(known))}"
            )


def histograms(response: Mapping[str, Any] | None) -> list[str]:
    """The files of histograms that a response names."""
    kinds = (response or {}).values()
    entries = [each for kind in kinds for each in (kind if isinstance(kind, list) else [kind])]
    return [str(e["file"]).rpartition(":")[0] for e in entries if isinstance(e, Mapping) and "file" in e]
