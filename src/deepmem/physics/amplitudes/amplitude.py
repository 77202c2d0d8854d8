"""|M|² of a subprocess in a model, for use from NumPy and inside of JAX.

    one = amplitude(model, subprocess)
    one.values(momenta, {"MT": 172.5})            one.matrix_element(momenta, parameters) inside of `jit`

A program that was generated is kept on disk, by the digest of the model, the subprocess and the version of
the generator, under `$XDG_CACHE_HOME/deepmem/amplitudes`. Whatever is wrong with such a file, it is made
again.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from deepmem.caches import amplitude_programs, compiled_programs
from deepmem.physics.amplitudes.choice import BUDGET, LARGE_BUDGET, best_program
from deepmem.physics.amplitudes.program import Program
from deepmem.physics.amplitudes.stages import Momenta, Scalars, Stages, function
from deepmem.physics.errors import MomentaError
from deepmem.physics.precision import double_precision, require_double
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.subprocesses import Subprocess

VERSION = 3
"""Of the generator: another number makes all programs again."""

# A batch whose numbers stay in the cache; not a power of two, of which many arrays share lines of it.
_BATCH = 1032
# Compiling more operations than this takes seconds; NumPy takes a tenth of one, for some points as for one.
_SLOW_TO_COMPILE, _FEW = 8_000, 16
# XLA's newer emitters cut a large kernel into functions that are not inlined: up to a hundred times slower.
# Vectors of 512 bits, where the processor has them, make large kernels up to twice as fast.
_OPTIONS: dict[str, str | bool] = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_prefer_vector_width": "512",
}


@dataclass(frozen=True, eq=False)
class Amplitude:
    """|M|² of one subprocess: averaged over initial, summed over final spins and colours, with 1/n!."""

    model: Model
    subprocess: Subprocess
    along_z: bool
    """Whether both beams are taken to move along ±z, the first one upwards."""
    program: Program

    @cached_property
    def _function(self) -> Callable[[Momenta, Mapping[str, Any]], Array]:
        return function(self.program, self.model)

    @cached_property
    def of_legs(self) -> Callable[[Momenta, Mapping[str, Any]], Array]:
        """|M|² inside of `jit` from each leg's (E, p_x, p_y, p_z) and parameters, nothing checked.

        Massive legs have the masses of their momenta, those of massless ones are not read.
        """
        return function(self.program, self.model, own_masses=True)

    @cached_property
    def _stages(self) -> Stages:
        return Stages(self.program)

    @cached_property
    def _compiled(self) -> dict[int, Any]:
        return {}

    @cached_property
    def _few_calls(self) -> list[int]:
        return []

    def matrix_element(
        self, momenta: Float[Array, "*batch legs 4"], parameters: Mapping[str, Any] | None = None
    ) -> Float[Array, "*batch"]:
        """|M|² inside of `jit`, `vmap` and `jvp`.

        **Arguments:** `momenta`: (E, px, py, pz) in GeV, incoming legs first, then the leaves of the decay
        tree in order. `parameters`: scalars by the names of the model's parameters, the others at their
        defaults; differentiable in forward mode.

        **Returns** `[…]`, in GeV^(8 − 2 legs).

        **Raises** `PrecisionError` in single precision; `MomentaError` for another number of legs;
        `UnknownNameError` for another name.
        """
        require_double("Amplitude.matrix_element")
        self._check(momenta.shape)
        return self._function(momenta, {} if parameters is None else parameters)

    def values(self, momenta: ArrayLike, parameters: Mapping[str, float] | None = None) -> np.ndarray:
        """|M|² `[…]` of many points, compiled once.

        **Arguments:** as of `matrix_element`, in NumPy. **Raises** `MomentaError`, `UnknownNameError`.
        """
        points = np.asarray(momenta, float)
        self._check(points.shape)
        if self.program.output < 0:
            return np.zeros(points.shape[:-2])
        if self._is_better_by_numpy(points[..., 0, 0].size):
            return self.reference(points, parameters)
        known = {} if parameters is None else parameters
        scalars = _scalars(self, tuple((name, float(value)) for name, value in known.items()))
        flat = points.reshape(-1, *points.shape[-2:])
        found = np.empty(len(flat))
        with double_precision():
            kernel = self.compiled()
            scalars = jax.device_put(scalars)
            for start in range(0, len(flat), _BATCH):
                part = flat[start : start + _BATCH]
                # A batch that is not full repeats its last point.
                rows = np.minimum(np.arange(_BATCH), len(part) - 1)
                batch = part if len(part) == _BATCH else part[rows]
                found[start : start + len(part)] = np.asarray(kernel(batch, scalars))[: len(part)]
        return found.reshape(points.shape[:-2])

    def compiled(self, batch: int = _BATCH) -> Callable[..., Array]:
        """The kernel for a batch of points: momenta `[batch, legs, 4]` and scalars → `[batch]`."""
        if batch not in self._compiled:
            with double_precision():
                scalars = self._stages.scalars(self.model, None, np, np.float64)
                points = jnp.zeros((batch, len(self.program.legs), 4))
                options = _OPTIONS if jax.default_backend() == "cpu" else None
                lowered = jax.jit(self._stages.kernel).lower(points, scalars)
                with _kept_on_disk():
                    self._compiled[batch] = lowered.compile(compiler_options=options)
        return self._compiled[batch]

    def _is_better_by_numpy(self, points: int) -> bool:
        """Whether a call has few points, and few such calls came before: compiling would take longer."""
        if self._compiled or points > _FEW or self.program.operations < _SLOW_TO_COMPILE:
            return False
        self._few_calls.append(points)
        return len(self._few_calls) <= _FEW

    def reference(self, momenta: ArrayLike, parameters: Mapping[str, Any] | None = None) -> np.ndarray:
        """|M|² `[…]` by NumPy alone, in the precision of the momenta (`numpy.longdouble`, too)."""
        self._check(np.shape(momenta))
        return self.program.evaluate(self.model, momenta, parameters)

    def _check(self, shape: tuple[int, ...]) -> None:
        legs = len(self.program.legs)
        if shape[-2:] != (legs, 4):
            raise MomentaError(
                f"momenta of {legs} legs are an array […, {legs}, 4] of (E, px, py, pz), incoming first; "
                f"got the shape {list(shape)}"
            )


@lru_cache(maxsize=256)
def _scalars(amplitude: Amplitude, parameters: tuple[tuple[str, float], ...]) -> Scalars:
    """What a kernel needs to know of parameters: most calls have those of the call before."""
    return amplitude._stages.scalars(amplitude.model, dict(parameters), np, np.float64)


@contextmanager
def _kept_on_disk() -> Iterator[None]:
    """What is compiled inside is kept on disk, in a session whose JAX keeps nothing, too."""
    settings = {
        "jax_compilation_cache_dir": str(compiled_programs()),
        "jax_persistent_cache_min_compile_time_secs": 0.2,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    if before["jax_compilation_cache_dir"] is not None:
        yield
        return
    # JAX looks at its settings once, and again after a reset
    compilation_cache.reset_cache()
    for name, value in settings.items():
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def amplitude(model: Model, subprocess: Subprocess, along_z: bool = False, cache: bool = True) -> Amplitude:
    """The amplitude of a subprocess.

    **Arguments:** `along_z`: both beams move along ±z, the first one upwards: fewer operations. `cache`:
    read and write programs on disk.

    **Raises** `ReactionError` where there is no diagram; `UnknownNameError` for a particle that is not in the
    model; `ModelError` for a spin, a colour or a structure that amplitudes cannot do.
    """
    return _amplitude(model, replace(subprocess, term=0), along_z, cache)


@lru_cache(maxsize=256)
def _amplitude(model: Model, subprocess: Subprocess, along_z: bool, cache: bool) -> Amplitude:
    def make() -> Program:
        return best_program(model, subprocess, along_z)

    program = kept((model.digest, subprocess, along_z), make) if cache else make()
    return Amplitude(model, subprocess, along_z, program)


def kept(content: tuple[Any, ...], make: Callable[[], Program]) -> Program:
    """The program of some content, read from disk, or made and written there."""
    path = amplitude_programs() / f"{_name(content)}.npz"
    program = _read(path)
    if program is None:
        program = make()
        _write(path, program)
    return program


def _name(content: tuple[Any, ...]) -> str:
    text = repr((VERSION, BUDGET, LARGE_BUDGET, *content))
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> Program | None:
    try:
        return Program.from_bytes(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, program: Program) -> None:
    """A whole file or none; a disk that is full or read-only is no reason to fail."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(program.to_bytes())
        Path(file.name).replace(path)
    except OSError:
        return
