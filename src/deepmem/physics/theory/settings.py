"""Values for a model's parameters, checked: what a user sets before anything is computed from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deepmem.physics.errors import ParameterError, unknown_name
from deepmem.physics.theory.expressions import complex_parameters
from deepmem.physics.theory.model import Model, Particle

# A number that is real has no larger imaginary part than this, relative to it.
_ROUNDING = 1e-9


def checked(model: Model, values: Mapping[str, Any]) -> dict[str, float]:
    """The values as floats, if the model makes sense with them.

    **Raises** `UnknownNameError` for a name that is no parameter of the model; `ParameterError` for what is
    no finite number, and where a parameter that follows from others is not real but should be, or a width is
    negative or not below its mass.
    """
    names = [parameter.name for parameter in model.parameters]
    numbers = {}
    for name, value in values.items():
        if name not in names:
            raise unknown_name(f"parameter of model {model.name!r}", name, names)
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError):
            raise ParameterError(f"parameter {name} must be a number, got {value!r}") from None
        if not np.isfinite(numbers[name]):
            raise ParameterError(f"parameter {name} must be finite, got {value!r}")
    found = complex_parameters(model, numbers)
    for parameter in model.parameters:
        value = found[parameter.name]
        if parameter.real and not (np.isfinite(value) and abs(value.imag) <= _ROUNDING * abs(value)):
            raise ParameterError(
                f"parameter {parameter.name} of model {model.name!r} follows as {value:.6g}, and should be a "
                "real number: check the values and units of the others"
            )
    for particle in model.particles:
        _check(particle, found)
    return numbers


def _check(particle: Particle, found: Mapping[str, complex]) -> None:
    mass, width = abs(found[particle.mass].real), found[particle.width].real
    if width < 0:
        raise ParameterError(
            f"the width {particle.width} of {particle.name!r} is {width:g} GeV: it is below 0"
        )
    if particle.mass != "ZERO" and 0 < mass <= width:
        raise ParameterError(
            f"{particle.width} = {width:g} GeV is not below {particle.mass} = {mass:g} GeV: a resonance is "
            "narrower than its mass; are both in GeV?"
        )
