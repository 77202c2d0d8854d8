"""A trained model: scalers and network in one file, and the weights they give.

The file is safetensors: a header of JSON and plain arrays behind it, so that loading one cannot run code.
Its header records all that `predict` needs: columns, units, features, weights, process, range, versions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.interpolate import CubicSpline, interp1d

from deepmem.columns import Column, Quantity, described, no_angle
from deepmem.config import Config
from deepmem.data.files import whole_file
from deepmem.data.identity import EventHashes
from deepmem.data.lazy import is_lazy, later
from deepmem.data.memory import InMemory, touching
from deepmem.data.table import as_table
from deepmem.data.weights import Weights
from deepmem.errors import UsageError
from deepmem.event import Status, Weight, scan_name, worst
from deepmem.inputs import LARGEST_ETA, Reason, absent, first
from deepmem.surrogate.calibration import Calibration
from deepmem.surrogate.features import FeatureMap
from deepmem.surrogate.guide import Guide
from deepmem.surrogate.network import Network, build_members
from deepmem.surrogate.outside import known_products
from deepmem.surrogate.prediction import Numbers, in_blocks
from deepmem.surrogate.preparation import Scaler, unit_factors
from deepmem.surrogate.sample_test import SampleTest, TwoSample
from deepmem.surrogate.size_network import build_spread

FORMAT = 4

_TESTED = 5_000  # rows of a chunk that a sample test looks at


@dataclass(frozen=True)
class Surrogate:
    """Learned weights: `Surrogate.load(path)(events)`.

    - `columns`, the branches it reads, and `unit`, `"GeV"` or `"MeV"`, what momenta in them are given in
    - `weights`, the names of what it gives
    - `kind` (of features), `network`, `width`, `depth`, `members`: what to build
    - `parameters`, the members' networks, stacked; `spread` and `calibration`, what gives a weight its error
      (None: errors are NaN); `reference`, what samples are compared with
    - `about`: process, versions, counts of the training, for people and provenance
    - `guide`: settings of the cheap weight whose correction was learned, see `surrogate.guide`
    - `said`: what some columns hold, where their names do not say it: column → object and quantity
    - `padded`: objects that an event may lack
    """

    columns: tuple[str, ...]
    weights: tuple[str, ...]
    unit: str
    kind: str
    network: str
    width: int
    depth: int
    members: int
    scaler: Scaler
    parameters: Network
    spread: Network | None = None
    calibration: Calibration | None = None
    reference: TwoSample | None = None
    about: dict[str, Any] = field(default_factory=dict)
    guide: dict[str, Any] | None = None
    said: dict[str, tuple[str, str]] = field(default_factory=dict)
    padded: tuple[str, ...] = ()

    def __repr__(self) -> str:
        size = f"{self.members} {self.network!r} networks, {self.depth} layers of {self.width}"
        return f"Surrogate({', '.join(self.weights)} of {len(self.columns)} columns; {size})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the model, and makes anew what follows from it."""
        return (Surrogate, tuple(getattr(self, each.name) for each in fields(self)))

    @cached_property
    def feature_map(self) -> FeatureMap:
        return FeatureMap(self.described, self.kind, self.padded)

    @cached_property
    def described(self) -> tuple[Column, ...]:
        """What the columns hold."""
        said = {name: Column(name, owner, Quantity(q)) for name, (owner, q) in self.said.items()}
        return described(self.columns, said)

    @cached_property
    def _guide(self) -> Guide | None:
        return None if self.guide is None else Guide(self.guide, self.columns)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Of everything that the network sees."""
        return self.feature_map.names + (() if self._guide is None else self._guide.names)

    def __call__(
        self,
        events: Any,
        *,
        schema: str | None = None,
        objects: Mapping[str, Any] | None = None,
        **at: float,
    ) -> Weights:
        """The weights of events, in their order.

        **Arguments:** `events`, a dict of arrays, a structured array, awkward records with the model's
        columns, or an array `[events, columns]`, in the model's unit; or, with `schema` or `objects` as in a
        configuration, collections; `at`, `MZ=91.1`, see `at`.

        **Returns** `Weights`, with calibrated errors; status 3 (and NaN) where an input is missing or not
        finite, 4 where the event is unlike those learned from; of dask-awkward's events lazy records.

        **Raises** `UsageError` where a column is missing, and for collections where the model's unit is MeV.
        """
        given = {"schema": schema, "objects": objects}
        settings = Config.load({key: each for key, each in given.items() if each is not None}, need=())
        if is_lazy(events):
            again = partial(self, schema=schema, objects=objects, **at)
            names = tuple(self.at({}, at)) if at else self.weights
            return later(events, again, touching(self.columns, settings.located), names)
        if settings.located is None:
            table = as_table(events, self.columns)
        elif self.unit == "GeV":
            table = InMemory(events).table(self.columns, settings.located, {})
        else:
            raise UsageError(f"columns made from objects are in GeV, and the model's are in {self.unit}")
        hashes = EventHashes(self.columns)
        hashes.add(table)
        weights = self.predict(table)
        about = self.provenance("predict") | {"events": hashes.to_dict()}
        return Weights(self.at(weights, at) if at else weights, about)

    @property
    def scan(self) -> tuple[str, str, np.ndarray] | None:
        """Process, parameter and its values, rising, where the weights learned are those of a scan."""
        for entry in self.about.get("hypotheses", ()):
            for parameter, values in entry["parameters"].items():
                if isinstance(values, list):
                    names = {scan_name(entry["process"], parameter, value) for value in values}
                    if names == set(self.weights):
                        return entry["process"], parameter, np.sort(values)
        return None

    def at(self, weights: Mapping[str, Weight], at: Mapping[str, float]) -> dict[str, Weight]:
        """The weight at a value of the scanned parameter: a cubic spline of log W through the values learned.

        Its relative error is interpolated, too; what the spline does not know is not in it: choose values
        between which W(θ) is smooth.

        **Arguments:** `weights`, what `predict` gave (empty: only names are asked for); `at`, the parameter
        and its value.

        **Raises** `UsageError` where the model learned no scan, of three values or more, of that parameter,
        or the value lies outside it.
        """
        if self.scan is None or len(at) != 1 or self.scan[1] not in at or len(self.scan[2]) < 3:
            scan = self.scan
            learned = "no scan" if scan is None else f"a scan of {scan[1]} at {scan[2].tolist()}"
            asked = ", ".join(f"{parameter}={value}" for parameter, value in at.items())
            raise UsageError(
                f"a weight at {asked} was asked for, and this model has learned {learned}: train on weights "
                "of a scan ('deepmem compute --set NAME=FIRST:LAST:STEP')"
            )
        process, parameter, values = self.scan
        value = at[parameter]
        if not isinstance(value, int | float | np.number):
            raise UsageError(f"{parameter}={value}: expected one number, such as {parameter}={values[0]:g}")
        if not values[0] <= value <= values[-1]:
            raise UsageError(
                f"{parameter}={value} is outside what was learned, {values[0]:g} to {values[-1]:g}"
            )
        name = scan_name(process, parameter, value)
        if not weights:
            return {name: Weight(np.zeros(0), np.zeros(0), np.zeros(0, np.int32))}
        ordered = [weights[scan_name(process, parameter, v)] for v in values]
        value_of = np.stack([w.value for w in ordered])
        good = (np.isfinite(value_of) & (value_of > 0)).all(axis=0)
        spline = CubicSpline(values, np.log(np.where(good, value_of, 1.0)), axis=0)
        found = np.where(good, np.exp(spline(value)), np.nan)
        relative = np.stack([w.error / w.value for w in ordered])
        between = interp1d(values, relative, axis=0)(value)
        status = worst(*(w.status for w in ordered))
        # where a weight has no logarithm nothing is known, for which there are these
        unknown = np.isin(status, (Status.BAD_INPUT, Status.BELOW_GRID, Status.OUTSIDE_TRAINING))
        status[~good & ~unknown] = Status.BAD_INPUT
        return {name: Weight(found, found * between, status, reason=ordered[0].reason)}

    def predict(self, table: np.ndarray) -> dict[str, Weight]:
        """The weights of rows `[events, columns]` in the model's unit; see `__call__`."""
        return self.predict_and_test(table, None)

    def sample_test(self) -> SampleTest | None:
        """What compares a sample as a whole with the training part; None where a model lacks its figures."""
        return None if self.reference is None else SampleTest(self.reference, self.feature_names)

    def predict_and_test(self, table: np.ndarray, test: SampleTest | None) -> dict[str, Weight]:
        """The weights of rows; up to `_TESTED` of them, evenly spread, are added to `test`."""
        count, k = len(table), len(self.weights)
        log10, relative = np.empty((count, k)), np.full((count, k), np.nan)
        inside, finite = np.empty(count, dtype=bool), np.empty(count, dtype=bool)
        stride = -(-count // _TESTED)
        unit = unit_factors(self.described, energy_unit(self.unit))
        guide = self._guide
        of_rows = None if guide is None else lambda rows: guide(rows * unit)
        with jax.enable_x64(True):
            numbers = self.numbers
        for block in in_blocks(self.feature_map, numbers, table, of_rows):
            at, stop = block.at, block.at + len(block.finite)
            for array, result in zip((log10, relative, inside, finite), block[1:], strict=False):
                array[at:stop] = result
            if test is not None:
                rows = np.arange(-at % stride, stop - at, stride)
                rows = rows[block.finite[rows]]
                test.add(block.features[rows], ~block.inside[rows])
        reason = self._reasons(table, finite)
        bad = reason != Reason.NONE
        status = np.where(bad, Status.BAD_INPUT, np.where(inside, Status.GOOD, Status.OUTSIDE_TRAINING))
        with np.errstate(over="ignore"):
            values = np.where(bad[:, None], np.nan, 10.0**log10)
            errors = values * relative
        return {
            name: Weight(
                np.ascontiguousarray(values[:, i]),
                np.ascontiguousarray(errors[:, i]),
                status.astype(np.int32),
                reason=reason,
            )
            for i, name in enumerate(self.weights)
        }

    def _reasons(self, table: np.ndarray, finite: np.ndarray) -> np.ndarray:
        """Why rows can't be predicted, an `inputs.Reason` each: they lack an object, or have a value that is
        not finite, or an angle that is no measurement.

        An angle in degrees is left to be outside what was learned from, and so is an η that what is along the
        beam as a whole may have.
        """
        quantities = [column.quantity for column in self.described]
        eta = table[:, [quantity is Quantity.ETA for quantity in quantities]]
        phi = table[:, [quantity in (Quantity.PHI, Quantity.ANGLE) for quantity in quantities]]
        used = [(each.object, each.quantity, table[:, i]) for i, each in enumerate(self.described)]
        # one that is padded may be lacking
        bad = {reason: where & ~finite for reason, where in absent(used, len(table)).items()}
        bad[Reason.NOT_FINITE] = ~finite
        bad[Reason.ETA] = (np.abs(eta) > 2 * LARGEST_ETA).any(axis=1)
        bad[Reason.PHI] = no_angle(phi).any(axis=1)
        return first(bad, len(table))

    @cached_property
    def numbers(self) -> Numbers:
        """Under `jax.enable_x64(True)`."""
        angles = np.array([each.quantity in (Quantity.PHI, Quantity.ANGLE) for each in self.described])
        unit = unit_factors(self.described, energy_unit(self.unit))
        calibration, distances = self.calibration, None
        if calibration is not None:
            # the rows themselves are not needed
            distances = known_products(calibration.rows)
            calibration = calibration._replace(rows=np.zeros(0))
        numbers = Numbers(self.parameters, self.spread, self.scaler, calibration, unit, angles, distances)
        arrays, rest = eqx.partition(numbers, lambda leaf: isinstance(leaf, np.ndarray))
        return eqx.combine(jax.device_put(arrays), rest)

    def provenance(self, command: str) -> dict[str, Any]:
        """How the weights of this model were made, for the file that carries them."""
        return {
            "command": command,
            "deepmem": version("deepmem"),
            "columns": list(self.columns),
            "unit": self.unit,
            "features": self.kind,
            "guide": self.guide,
            "network": self.network,
            "model": self.about,
            "model_sha256": self.sha256,
        }

    @cached_property
    def sha256(self) -> str:
        """Of all that the model is made of, wherever it is kept."""
        arrays, header = self._contents
        digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        for name in sorted(arrays):
            digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
            digest.update(np.ascontiguousarray(arrays[name]).tobytes())
        return digest.hexdigest()

    @property
    def _contents(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays = _network_arrays("network", self.parameters) | _arrays("scaler", self.scaler)
        if self.spread is not None and self.calibration is not None:
            arrays |= _network_arrays("spread", self.spread) | _arrays("calibration", self.calibration)
        if self.reference is not None:
            arrays |= _arrays("reference", self.reference)
        own = {key: getattr(self, key) for key in _HEADER}
        more: dict[str, Any] = {"padded": list(self.padded)} if self.padded else {}
        more |= {"said": {name: list(each) for name, each in self.said.items()}} if self.said else {}
        return arrays, {"format": FORMAT, **own, **more, "guide": self.guide, "about": self.about}

    def save(self, path: str | Path) -> None:
        """Write the model file, whole or not at all. **Raises** `UsageError` where that is not possible."""
        arrays, header = self._contents
        text = json.dumps(header | {"sha256": self.sha256})
        with whole_file(path) as temporary:
            save_file(arrays, temporary, metadata={"deepmem_model": text})

    @classmethod
    def load(cls, path: str | Path) -> Surrogate:
        """Read a model file. **Raises** `UsageError` where it is not one, is damaged, or was written by a
        newer version."""
        header, arrays = _read(Path(path), "deepmem_model", "a model")
        try:
            if header["format"] > FORMAT:
                raise UsageError(
                    f"{path} has format {header['format']}, this version reads up to {FORMAT}: update deepmem"
                )
            if header["format"] < FORMAT:
                raise UsageError(
                    f"{path} has format {header['format']}, whose errors are not those of this version: "
                    "train again"
                )
            scaler = Scaler(*_from("scaler", Scaler, arrays))
            about: dict[str, Any] = {
                key: tuple(v) if isinstance(v := header[key], list) else v for key in _HEADER
            }
            inputs, outputs = len(scaler.feature_mean), len(about["weights"])
            shape = eqx.filter_eval_shape(
                build_members, about["network"], inputs, outputs, about["width"], about["depth"],
                about["members"], 0,
            )  # fmt: skip
            more: dict[str, Any] = {"guide": header.get("guide")}
            more["padded"] = tuple(header.get("padded", ()))
            more["said"] = {name: tuple(each) for name, each in header.get("said", {}).items()}
            if more["guide"] is not None and "pdf_sha256" not in more["guide"]:
                raise UsageError(
                    f"{path} was written by a version that did not say all that its guide depends on: train "
                    "again"
                )
            if "calibration.knots" in arrays:
                more["calibration"] = Calibration(*_from("calibration", Calibration, arrays))
                empty = eqx.filter_eval_shape(build_spread, inputs, outputs)
                more["spread"] = _network_from("spread", empty, arrays)
            if "reference.edges" in arrays:
                more["reference"] = TwoSample(*_from("reference", TwoSample, arrays))
            network = _network_from("network", shape, arrays)
            model = cls(scaler=scaler, parameters=network, about=header["about"], **about, **more)
            if len(model.feature_names) != inputs:
                raise KeyError("its features are not those of this version")
            if header.get("sha256") not in (None, model.sha256):
                raise KeyError("its content is not what was written")
        except (KeyError, TypeError) as error:
            raise UsageError(f"{path} is a damaged model file: {error}") from None
        return model


_HEADER = ("columns", "weights", "unit", "kind", "network", "width", "depth", "members")


def energy_unit(unit: str) -> float:
    """What one `"GeV"` or `"MeV"` is in GeV."""
    return {"GeV": 1.0, "MeV": 1e-3}[unit]


def save_scaler(path: str | Path, scaler: Scaler, columns: Sequence[str]) -> None:
    """Write a scaler on its own (the key `save_scaler_at`)."""
    with whole_file(path) as temporary:
        save_file(
            _arrays("scaler", scaler),
            temporary,
            metadata={"deepmem_scaler": json.dumps({"columns": columns})},
        )


def load_scaler(path: str | Path) -> Scaler:
    """Read a scaler file. **Raises** `UsageError` where it is not one."""
    _, arrays = _read(Path(path), "deepmem_scaler", "a scaler")
    try:
        return Scaler(*_from("scaler", Scaler, arrays))
    except KeyError as error:
        raise UsageError(f"{path} is a damaged scaler file: {error} is missing") from None


def _arrays(prefix: str, values: NamedTuple) -> dict[str, np.ndarray]:
    return {f"{prefix}.{key}": np.array(value, order="C") for key, value in values._asdict().items()}


def _from(prefix: str, kind: Any, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [arrays[f"{prefix}.{key}"] for key in kind._fields]


def _network_arrays(prefix: str, network: Network) -> dict[str, np.ndarray]:
    leaves = jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array))
    return {f"{prefix}.{i:03d}": np.asarray(leaf, dtype=np.float32) for i, leaf in enumerate(leaves)}


def _network_from(prefix: str, shape: Any, arrays: dict[str, np.ndarray]) -> Network:
    """The network of that shape, filled with what a file holds."""
    leaves, tree = jax.tree.flatten(shape)
    stored = [arrays[f"{prefix}.{i:03d}"] for i in range(len(leaves))]
    if [leaf.shape for leaf in leaves] != [array.shape for array in stored]:
        raise KeyError("the arrays do not fit the network that the header names")
    return jax.tree.unflatten(tree, [jax.device_put(array) for array in stored])


def _read(path: Path, mark: str, what: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and arrays of one of our files, recognised by content, whatever the file is called."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: train {what} first, or correct its path") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    # Ours begins with eight bytes of length and a JSON header; torch writes zip files, joblib bare or packed
    # pickles.
    ours = start[8:9] == b"{"
    if not ours and (
        start.startswith((b"PK", b"\x78\x9c", b"\x1f\x8b", b"BZh", b"\xfd7z")) or start[:1] == b"\x80"
    ):
        raise UsageError(
            f"{path} looks like {what} of the original DeepMEM (a pickle, and loading one can run code): "
            "it is not opened; train again, which takes minutes"
        )
    try:
        with safe_open(path, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            if mark not in metadata:
                others = {f"deepmem_{kind}": f"a {kind}" for kind in ("model", "scaler", "checkpoint")}
                actual = next((name for key, name in others.items() if key in metadata), "a foreign file")
                raise UsageError(f"{path} is not {what} of DeepMEM but {actual}")
            return json.loads(metadata[mark]), {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path} is not {what} of DeepMEM, or is truncated: {error}") from None
