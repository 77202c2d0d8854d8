"""A trained model: scalers and network in one file, and the weights they give.

The file is safetensors: a header of JSON and plain arrays behind it, so that loading one cannot run code.
Its header records all that `predict` needs to know: columns, units, features, names of the weights, process,
training range,
versions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from deepmem.data.files import whole_file
from deepmem.data.root import Weights
from deepmem.data.table import as_table
from deepmem.errors import UsageError
from deepmem.event import Status, Weight
from deepmem.surrogate.features import FeatureMap
from deepmem.surrogate.network import Network, build
from deepmem.surrogate.preparation import Scaler, unit_factors

FORMAT = 1

_BLOCK = 8_192  # events in one call of the network: the hidden layers of a block stay in the cache


@dataclass(frozen=True)
class Surrogate:
    """Learned weights: `Surrogate.load(path)(events)`.

    - `columns`, the branches it reads, and `unit`, `"GeV"` or `"MeV"`, what momenta in them are given in
    - `weights`, the names of what it gives
    - `features`, `network`, `width`, `depth`: what to build
    - `about`: process, versions, counts of the training, for people and provenance
    """

    columns: tuple[str, ...]
    weights: tuple[str, ...]
    unit: str
    kind: str
    network: str
    width: int
    depth: int
    scaler: Scaler
    parameters: Network
    about: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def feature_map(self) -> FeatureMap:
        return FeatureMap(self.columns, self.kind)

    def __call__(self, events: Any) -> Weights:
        """The weights of events, in their order.

        **Arguments:** `events`, a dict of arrays, a structured array, an awkward record array with the
        model's columns, or an array `[events, columns]`, in the model's unit.

        **Returns** `Weights`; status 3 (and NaN) where an input is missing or not finite, 4 outside the
        training range.

        **Raises** `UsageError` where a column is missing.
        """
        return Weights(self.predict(as_table(events, self.columns)), self.provenance("predict"))

    def predict(self, table: np.ndarray) -> dict[str, Weight]:
        """The weights of rows `[events, columns]` in the model's unit; see `__call__`."""
        count = len(table)
        log10 = np.empty((count, len(self.weights)))
        inside = np.empty(count, dtype=bool)
        finite = np.empty(count, dtype=bool)
        for at in range(0, count, _BLOCK):
            block = table[at : at + _BLOCK]
            n = len(block)
            padded = np.pad(block, ((0, _BLOCK - n), (0, 0))) if n < _BLOCK else block
            with jax.enable_x64(True):
                results = self._evaluate(self.parameters, jnp.asarray(padded, dtype=jnp.float64))
            for array, result in zip((log10, inside, finite), results, strict=True):
                array[at : at + n] = np.asarray(result)[:n]
        status = np.where(finite, np.where(inside, Status.GOOD, Status.OUTSIDE_TRAINING), Status.BAD_INPUT)
        with np.errstate(over="ignore"):
            values = np.where(finite[:, None], 10.0**log10, np.nan)
        nothing = np.full(count, np.nan)
        return {
            name: Weight(np.ascontiguousarray(values[:, i]), nothing, status.astype(np.int32))
            for i, name in enumerate(self.weights)
        }

    @cached_property
    def _evaluate(self) -> Callable[[Network, jax.Array], tuple[jax.Array, jax.Array, jax.Array]]:
        scaler, unit = self.scaler, unit_factors(self.columns, energy_unit(self.unit))

        @eqx.filter_jit
        def evaluate(network: Network, values: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            features = self.feature_map(values * unit)
            standard = ((features - scaler.feature_mean) / scaler.feature_std).astype(jnp.float32)
            target = jax.vmap(network)(standard).astype(jnp.float64)
            log10 = -(scaler.target_mean + scaler.target_std * target)
            finite = jnp.isfinite(values).all(axis=1) & jnp.isfinite(features).all(axis=1)
            # rounding of single-precision inputs may move a constant feature by its last digits
            slack = 1e-6 * scaler.feature_std
            inside = (features >= scaler.feature_low - slack) & (features <= scaler.feature_high + slack)
            return log10, inside.all(axis=1), finite

        return evaluate

    def provenance(self, command: str) -> dict[str, Any]:
        """How the weights of this model were made, for the file that carries them."""
        return {
            "command": command,
            "deepmem": version("deepmem"),
            "columns": list(self.columns),
            "unit": self.unit,
            "features": self.kind,
            "network": self.network,
            "model": self.about,
        }

    def save(self, path: str | Path) -> None:
        """Write the model file, whole or not at all. **Raises** `UsageError` where that is not possible."""
        leaves = jax.tree.leaves(eqx.filter(self.parameters, eqx.is_inexact_array))
        arrays = {f"network.{i:03d}": np.asarray(leaf, dtype=np.float32) for i, leaf in enumerate(leaves)}
        arrays |= _scaler_arrays(self.scaler)
        header = {
            "format": FORMAT,
            **{key: getattr(self, key) for key in _HEADER},
            "about": self.about,
        }
        with whole_file(path) as temporary:
            save_file(arrays, temporary, metadata={"deepmem_model": json.dumps(header)})

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
            scaler = _scaler_from(arrays)
            about: dict[str, Any] = {
                key: tuple(v) if isinstance(v := header[key], list) else v for key in _HEADER
            }
            inputs, outputs = len(scaler.feature_mean), len(about["weights"])
            shape = eqx.filter_eval_shape(
                build, about["network"], inputs, outputs, about["width"], about["depth"], jax.random.key(0)
            )
            leaves, tree = jax.tree.flatten(shape)
            stored = [arrays[f"network.{i:03d}"] for i in range(len(leaves))]
            if [leaf.shape for leaf in leaves] != [array.shape for array in stored]:
                raise KeyError("the arrays do not fit the network that the header names")
            network = jax.tree.unflatten(tree, [jnp.asarray(array) for array in stored])
            model = cls(scaler=scaler, parameters=network, about=header["about"], **about)
            if len(model.feature_map.names) != inputs:
                raise KeyError("its features are not those of this version")
        except (KeyError, TypeError) as error:
            raise UsageError(f"{path} is a damaged model file: {error}") from None
        return model


_HEADER = ("columns", "weights", "unit", "kind", "network", "width", "depth")


def energy_unit(unit: str) -> float:
    """What one `"GeV"` or `"MeV"` is in GeV."""
    return {"GeV": 1.0, "MeV": 1e-3}[unit]


def save_scaler(path: str | Path, scaler: Scaler, columns: Sequence[str]) -> None:
    """Write a scaler on its own (the key `save_scaler_at`)."""
    with whole_file(path) as temporary:
        save_file(
            _scaler_arrays(scaler), temporary, metadata={"deepmem_scaler": json.dumps({"columns": columns})}
        )


def load_scaler(path: str | Path) -> Scaler:
    """Read a scaler file. **Raises** `UsageError` where it is not one."""
    _, arrays = _read(Path(path), "deepmem_scaler", "a scaler")
    try:
        return _scaler_from(arrays)
    except KeyError as error:
        raise UsageError(f"{path} is a damaged scaler file: {error} is missing") from None


def _scaler_arrays(scaler: Scaler) -> dict[str, np.ndarray]:
    return {f"scaler.{key}": np.ascontiguousarray(value) for key, value in scaler._asdict().items()}


def _scaler_from(arrays: dict[str, np.ndarray]) -> Scaler:
    return Scaler(*(arrays[f"scaler.{key}"] for key in Scaler._fields))


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
                others = {
                    "deepmem_model": "a model",
                    "deepmem_scaler": "a scaler",
                    "deepmem_checkpoint": "a checkpoint",
                }
                actual = next((name for key, name in others.items() if key in metadata), "a foreign file")
                raise UsageError(f"{path} is not {what} of DeepMEM but {actual}")
            return json.loads(metadata[mark]), {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path} is not {what} of DeepMEM, or is truncated: {error}") from None
