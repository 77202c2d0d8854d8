"""Double precision: host-level functions switch it on for their own scope, JAX-level functions require it.

A weight multiplies 1e-30 by 1e+20 and subtracts energies that agree to six digits; in single
precision it would be wrong without looking wrong. JAX computes in single precision unless told otherwise, and
silently: so whatever is meant to be called inside `jit` asks first.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import jax
import numpy as np

from deepmem.errors import UsageError


class PrecisionError(UsageError, TypeError):
    """A JAX-level function was called in single precision."""


def double_precision() -> AbstractContextManager[None]:
    """A context in which JAX computes in double precision, whatever the caller's own setting."""
    return jax.enable_x64(True)


def require_double(name: str) -> None:
    """Raise `PrecisionError` unless JAX computes in double precision here; `name` is who asks."""
    if jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        raise PrecisionError(
            f"{name} needs double precision, and JAX computes in single precision here: call it inside "
            "`with jax.enable_x64(True):`, or set the environment variable JAX_ENABLE_X64=1"
        )
