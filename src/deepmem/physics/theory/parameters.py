"""Masses, widths and couplings, and what follows from them at tree level.

The defaults are those of the reference numbers (MadGraph5_aMC@NLO 3.5.7, models `sm` and `heft`). The scheme
is (GF, α_EM, MZ): the W mass is derived, unless it is set, and sin²θ_W = 1 − MW²/MZ² in either case.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import Scalar
from deepmem.physics.errors import ParameterError, unknown_name

GEV_2_TO_PB = 0.3893793721e9
"""1 GeV⁻² in picobarn: (ħc)² (CODATA 2018)."""


class Parameters(NamedTuple):
    """The theory parameters of a hypothesis, in GeV unless said.

    A NamedTuple is a pytree, so a weight can be differentiated in every one of them, and a scan over their
    values compiles once. `Parameters()` holds the defaults; `parameters(MZ=91.0)` checks names and values.
    """

    sqrt_s: Scalar = 13000.0
    """Centre-of-mass energy of the two protons."""
    MZ: Scalar = 91.188
    WZ: Scalar = 2.441404
    WW: Scalar = 2.0476
    MT: Scalar = 173.0
    WT: Scalar = 1.4915
    MB: Scalar = 4.7
    MH: Scalar = 125.0
    WH: Scalar = 0.006382339
    aEWM1: Scalar = 132.507
    """1/α_EM at the Z mass."""
    GF: Scalar = 1.16639e-5
    """Fermi's constant, GeV⁻²."""
    alpha_s: Scalar = 0.118
    """The strong coupling: a constant, whatever the density's own."""
    MW: Scalar | None = None
    """The W mass; None: derived from GF, α_EM and MZ."""
    others: dict[str, Scalar] | None = None
    """Parameters of a model beyond these, by name; those that are not here have the model's defaults."""

    def values(self) -> dict[str, Scalar]:
        """All that are given by name, those of the model: not the energy of the protons."""
        known = {**self._asdict(), **(self.others or {})}
        return {
            name: value
            for name, value in known.items()
            if value is not None and name not in ("sqrt_s", "others")
        }

    def get(self, name: str) -> Scalar:
        """One of them by name, the W mass derived where it is not set. **Raises** KeyError for another."""
        if name == "MW" and self.MW is None:
            return electroweak(self).MW
        return self.sqrt_s if name == "sqrt_s" else self.values()[name]

    def replaced(self, name: str, value: Scalar) -> Parameters:
        """The same with another value of one of them."""
        if name in self._fields:
            return Parameters(**self._asdict() | {name: value})
        return Parameters(**self._asdict() | {"others": {**(self.others or {}), name: value}})


# GeV: less is no collider of protons, and more likely TeV.
_LEAST_SQRT_S = 100.0

PARAMETERS = tuple(name for name in Parameters._fields if name != "others")
"""The names of those that every process can have."""


def parameters(**values: float) -> Parameters:
    """The defaults with some values changed, names and values checked.

    **Raises** `UnknownNameError` for a name that is none of `Parameters`, and `ParameterError` for a value
    that is not finite or not positive (widths may be 0), or that leaves no electroweak mixing angle.
    """
    for name, value in values.items():
        if name not in PARAMETERS:
            raise unknown_name("parameter", name, PARAMETERS)
        if name == "MW" and value is None:
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ParameterError(f"parameter {name} must be a number, got {value!r}") from None
        is_width = name.startswith("W")
        if not np.isfinite(number) or number < 0 or (number == 0 and not is_width):
            wanted = "finite and not negative" if is_width else "finite and positive"
            raise ParameterError(f"parameter {name} must be {wanted}, got {value!r}")
    numbers: dict[str, Any] = {name: v if v is None else float(v) for name, v in values.items()}
    chosen = Parameters(**numbers)
    for width in ("WZ", "WW", "WT", "WH"):
        mass = getattr(chosen, f"M{width[1:]}")
        if mass is not None and getattr(chosen, width) >= mass:
            raise ParameterError(
                f"{width} = {getattr(chosen, width):g} GeV is not below M{width[1:]} = {mass:g} GeV: a "
                "resonance is narrower than its mass; are both in GeV?"
            )
    if chosen.sqrt_s < max(chosen.MZ, _LEAST_SQRT_S):
        least = "100 GeV" if chosen.MZ < _LEAST_SQRT_S else "the mass of the Z"
        raise ParameterError(
            f"sqrt_s = {chosen.sqrt_s:g} GeV is below {least}: it is in GeV, 13 TeV are 13000"
        )
    if chosen.MW is None and 2 * np.sqrt(2) * np.pi > chosen.aEWM1 * chosen.GF * chosen.MZ**2:
        raise ParameterError(
            f"GF = {chosen.GF}, aEWM1 = {chosen.aEWM1} and MZ = {chosen.MZ} admit no W mass: "
            "4πα/(√2 GF MZ²) is above 1. Check their units, or set MW"
        )
    if chosen.MW is not None and chosen.MW >= chosen.MZ:
        raise ParameterError(
            f"MW = {chosen.MW} must be below MZ = {chosen.MZ}: sin²θ_W = 1 − MW²/MZ² would not be positive"
        )
    return chosen


class Electroweak(NamedTuple):
    """What the parameters imply at tree level."""

    e: Scalar
    """Electric charge of the positron, √(4πα)."""
    MW: Scalar
    sin2: Scalar
    """sin²θ_W."""
    vev: Scalar
    """The Higgs field's vacuum expectation value, 2 MW sinθ_W / e, in GeV."""


def electroweak(p: Parameters, xp: ModuleType = jnp) -> Electroweak:
    """Tree-level relations of the scheme, in JAX or in NumPy.

    MW² = MZ²/2 + √(MZ⁴/4 − πα MZ²/(√2 GF)),  sin²θ_W = 1 − MW²/MZ²,  v = 2 MW sinθ_W/e.

    Source: A. Denner, arXiv:0709.1075, section 8, at lowest order.
    """
    alpha = 1 / p.aEWM1
    MW = p.MW
    if MW is None:
        MW = xp.sqrt(p.MZ**2 / 2 + xp.sqrt(p.MZ**4 / 4 - xp.pi * alpha * p.MZ**2 / (xp.sqrt(2.0) * p.GF)))
    sin2 = 1 - (MW / p.MZ) ** 2
    e = xp.sqrt(4 * xp.pi * alpha)
    return Electroweak(e=e, MW=MW, sin2=sin2, vev=2 * MW * xp.sqrt(sin2) / e)


class Chiral(NamedTuple):
    """A fermion's couplings to the photon and, left- and right-handed, to the Z, in units of e."""

    charge: Scalar
    left: Scalar
    right: Scalar

    def z(self, helicity: str) -> Scalar:
        """The Z coupling of one chirality, "L" or "R"."""
        return self.left if helicity == "L" else self.right


def fermion(charge: float, isospin: float, ew: Electroweak) -> Chiral:
    """Q, and g_L = (T₃ − Q sin²θ_W)/(sinθ_W cosθ_W), g_R = −Q sin²θ_W/(sinθ_W cosθ_W)."""
    sin_cos = jnp.sqrt(ew.sin2 * (1 - ew.sin2))
    return Chiral(charge, (isospin - charge * ew.sin2) / sin_cos, -charge * ew.sin2 / sin_cos)


def up_quark(ew: Electroweak) -> Chiral:
    """u, c, t: Q = 2/3, T₃ = 1/2."""
    return fermion(2 / 3, 1 / 2, ew)


def down_quark(ew: Electroweak) -> Chiral:
    """d, s, b: Q = −1/3, T₃ = −1/2."""
    return fermion(-1 / 3, -1 / 2, ew)


def charged_lepton(ew: Electroweak) -> Chiral:
    """e⁻, μ⁻: Q = −1, T₃ = −1/2."""
    return fermion(-1.0, -1 / 2, ew)
