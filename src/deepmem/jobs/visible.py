"""What a likelihood normalises weights with: σ_vis of the hypothesis that a file's weights are of, and which
of the events are within the same cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepmem.data.files import sha256
from deepmem.data.objects import Objects
from deepmem.data.provenance import described
from deepmem.data.root import Source
from deepmem.data.weights import read_provenance
from deepmem.errors import DeepMEMError, UsageError
from deepmem.jobs.tasks import gev_factors
from deepmem.physics.processes import THEORY, said_in
from deepmem.physics.weights.hypothesis import Hypothesis, hypothesis
from deepmem.physics.weights.leading_order import LARGEST_NUMBER_OF_POINTS, cross_section
from deepmem.physics.weights.visible import measured
from deepmem.selection import Selection

_READ_AT_ONCE = 100_000  # entries
_PRECISION, _TOLERANCE = 2e-3, 2e-2  # relative errors of σ_vis: aimed at, and taken with a remark


@dataclass(frozen=True)
class SelectedEvents:
    """Which events are within cuts, bool `[events]`; all of them, and a remark, where that cannot be told."""

    rows: np.ndarray
    remarks: list[str]


def select(files: Sequence[str], name: str, cuts: Mapping[str, Any] | None, events: int) -> SelectedEvents:
    """Which events of weight files are within cuts, read from the files that they came from.

    **Arguments:** `name` of a weight; `events`, how many there are in all.
    """
    if not cuts:
        return SelectedEvents(np.full(events, True), [])
    parts = []
    for path in files:
        try:
            parts.append(_within(path, name, cuts))
        except DeepMEMError as error:
            remark = f"whether the events are within the selection is not known ({error})"
            return SelectedEvents(np.full(events, True), [remark])
    return SelectedEvents(np.concatenate(parts), [])


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
    said, theory = said_in(entry)
    if entry.get("met") == "recoil":  # which measures missing pT, whatever escapes
        theory |= {"met": "recoil", "response": {"recoil": entry["responses"]["recoil"]}}
    alpha = hypothesis(said, **theory)
    names, read = about.get("column_names", {}), about.get("events", {}).get("columns", ())
    codes = [column for column in alpha.process.flavour_columns if names.get(column, column) in read]
    columns = (*alpha.measured_columns, *codes)
    factors = gev_factors(columns, about.get("unit", "GeV"))
    inputs = [file["path"] for file in about["inputs"]]
    objects = Objects.from_dict(about["objects"]) if "objects" in about else None
    branches = [names.get(column, column) for column in columns]
    source = Source(inputs, about["inputs"][0]["tree"], branches, objects=objects)
    start, stop = about.get("entries") or (0, source.num_entries)
    rows = []
    for low, high in source.boundaries(start, stop, _READ_AT_ONCE):
        table = source.read(low, high) * factors
        momenta, missing = measured(alpha, dict(zip(columns, table.T, strict=True)))
        rows.append(Selection.of(cuts).passes(momenta, alpha.process.visible, missing))
    return np.concatenate(rows)


@dataclass(frozen=True)
class VisibleCrossSection:
    """σ_vis and its error in pb, where it is from, and remarks on it."""

    pb: float
    error_pb: float
    origin: str
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON; `remarks` are those of what was computed."""
        values = {"pb": self.pb, "error_pb": self.error_pb, "from": self.origin}
        return values if self.origin == "given" else values | {"remarks": list(self.remarks)}


def visible_cross_section(
    path: str,
    name: str,
    value: float | None,
    selection: Mapping[str, Any] | None,
    response: Mapping[str, Any] | None,
    most: int = LARGEST_NUMBER_OF_POINTS,
) -> VisibleCrossSection:
    """σ_vis of a weight within cuts: `value` in pb where a user gives it, or computed as its file says.

    **Arguments:** `most`, points for it; the rest as for `discriminate`.

    **Raises** `UsageError` where it is not positive, or the file does not say enough.
    """
    if value is not None:
        if not (np.isfinite(value) and value > 0):
            raise UsageError(f"σ_vis of {name} must be in pb and above 0, got {value}")
        return VisibleCrossSection(float(value), 0.0, "given")
    try:
        arguments = cross_section_arguments(path, name, response)
    except DeepMEMError as error:
        raise UsageError(f"{error}. {_give(name)}") from None
    try:
        sigma = cross_section(
            arguments.process,
            selection,
            _PRECISION,
            tolerance=_TOLERANCE,
            quiet=True,
            most=most,
            **arguments.settings,
        )
    except UsageError:
        raise
    except DeepMEMError as error:
        raise DeepMEMError(f"σ_vis of {name} within {selection}: {error}. {_give(name)}") from None
    remarks = tuple(f"σ_vis of {name}: {text}" for text in sigma.remarks())
    relative = sigma.visible_error / sigma.visible
    if relative > _PRECISION:
        missed = f"known to {100 * relative:.2g} % only, after {sigma.points:,} points"
        remarks += (f"σ_vis of {name}: {missed}. {_give(name)} where that matters",)
    origin = f"computed for {arguments.process}"
    return VisibleCrossSection(sigma.visible, sigma.visible_error, origin, remarks)


def _give(name: str) -> str:
    return f"Give σ_vis of {name} in pb yourself (--sigma-signal, --sigma-background)"


@dataclass(frozen=True)
class CrossSectionArguments:
    """What repeats the hypothesis of a weight: keyword arguments of `cross_section`."""

    process: str
    settings: dict[str, Any]


def cross_section_arguments(
    path: str, name: str, response: Mapping[str, Any] | None
) -> CrossSectionArguments:
    """Process and settings of a weight, or of all of a scan, under the process's name.

    **Raises** `UsageError` where the file does not say enough to repeat it, or `response` is another one.
    """
    about = read_provenance(path)
    whole = {entry["process"]: entry for entry in about.get("hypotheses", ())}
    entry = (whole | described(about)).get(name)
    if entry is None:
        raise UsageError(f"{path} does not say how {name} was computed")
    if entry["MH_from_event"]:
        raise UsageError(f"{name} was computed with MH=event, which has no σ")
    if "lost" in entry:
        raise UsageError(f"{name} was computed with lost jets, and its file does not say whose σ_vis it is")
    if response is not None:
        said, theory = said_in(entry)
        theory |= {"met": entry["met"]} if "met" in entry else {}
        configured = hypothesis(said, **theory, pdf=entry["pdf"], response=response).to_dict()
        if any(configured.get(key) != entry.get(key) for key in ("responses", "missing")):
            raise UsageError(
                f"{name} in {path} was computed with a response that is not the one of the configuration"
            )
    alpha = Hypothesis.from_dict(entry, response)
    given = {"sqrt_s": alpha.parameters.sqrt_s, **alpha.parameters.values()}
    theory = {key: given[key] for key in ("sqrt_s", *alpha.process.parameters) if key in given}
    settings = {key: value for key, value in theory.items() if np.ndim(value) == 0}
    settings |= {key: value for key, value in alpha.process.identity.items() if key in THEORY}
    settings |= {"Q": alpha.scale, "flavours": alpha.flavours, "pdf": alpha.density_name}
    if alpha.subset is not None:
        settings["subset"] = alpha.subset
    if alpha.parton_pt:
        settings["parton_pt"] = alpha.parton_pt
    return CrossSectionArguments(alpha.process.said, settings | {"response": alpha.detector.to_dict()})
