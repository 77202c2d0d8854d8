"""From the columns of an event to what the network sees.

A weight depends on invariants far more simply than on the columns themselves: a resonance sits in a pair
mass, the parton densities in the momentum fractions. So the recognised columns are turned into logarithms,
wrapped angles, pair and total invariants. Three symmetries are built in rather than learned:

- a rotation about the beam: only angles relative to the first object are used;
- the exchange of the two beams, and a reflection of the transverse plane: the event is turned so that its
  total rapidity, and the Δφ between the first two objects, are positive;
- leptons are told apart by charge (and flavour), not by order: charged objects are put in order of these.

The second and third leave the signs that they used among the features, so that no information is lost where
a user's weights lack the symmetry (asymmetric beams; weights that depend on the order of the leptons).

Computed in double precision, since a pair mass of nearly collinear leptons is a small difference; the
network gets single precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from deepmem.columns import Quantity, recognise
from deepmem.kinematics import wrap_angle

Features = dict[str, Any]  # name of a feature → its values [events]


@dataclass(frozen=True)
class _Object:
    """Where the columns of an object stand: pT, φ and, but for missing pT, η; mass, energy and charge if
    there."""

    name: str
    at: dict[Quantity, int]

    def get(self, values: Any, quantity: Quantity) -> Any:
        return values[:, self.at[quantity]]


class FeatureMap:
    """Turns columns `[events, columns]` into features `[events, features]`, float64.

    **Arguments:** `columns`, the branch names in order; `kind`, `"physics"`, or `"plain"` for every column
    as it is but for φ, which is wrapped and taken relative to the first φ column.

    A value outside a feature's domain (pT ≤ 0, NaN) gives a feature that is not finite, in that event alone.
    """

    def __init__(self, columns: Sequence[str], kind: str = "physics"):
        self.columns = tuple(columns)
        self.kind = kind
        self._described = [recognise(name) for name in self.columns]
        self._phis = [i for i, column in enumerate(self._described) if column.quantity is Quantity.PHI]
        self._momenta: list[_Object] = []
        self._missing: list[_Object] = []
        if kind == "physics":
            self._find_objects()
        grouped = {i for found in self._momenta + self._missing for i in found.at.values()}
        self._rest = [i for i in range(len(self.columns)) if i not in grouped]
        self.names = self._trace_names()

    def __call__(self, values: jax.Array) -> jax.Array:
        if jax.dtypes.canonicalize_dtype(float) != jnp.float64:
            raise RuntimeError(
                "features are computed in double precision: call this under jax.enable_x64(True)"
            )
        return jnp.stack([*self._features(values).values()], axis=-1)

    def _trace_names(self) -> tuple[str, ...]:
        """The features' names in order, found by tracing: nothing is computed."""
        names: list[str] = []

        def record(values: jax.Array) -> jax.Array:
            names.extend(self._features(values))
            return values

        jax.eval_shape(record, jax.ShapeDtypeStruct((1, len(self.columns)), jnp.float32))
        return tuple(names)

    def _find_objects(self) -> None:
        found: dict[str, dict[Quantity, int]] = {}
        for i, column in enumerate(self._described):
            if column.quantity is not Quantity.OTHER:
                found.setdefault(column.object, {}).setdefault(column.quantity, i)
        for name, at in found.items():
            if {Quantity.PT, Quantity.ETA, Quantity.PHI} <= at.keys():
                self._momenta.append(_Object(name, at))
            elif {Quantity.PT, Quantity.PHI} <= at.keys():
                self._missing.append(_Object(name, {q: at[q] for q in (Quantity.PT, Quantity.PHI)}))

    def _features(self, values: Any) -> Features:
        features: Features = {}
        if self._momenta:
            features |= self._physics(values)
        # what is left: as it is, angles relative to the first one of all
        for i in self._rest:
            column = values[:, i]
            if i in self._phis:
                if i == self._phis[0]:
                    continue
                column = wrap_angle(column - values[:, self._phis[0]])
            features[self.columns[i]] = column
        if not features:  # a lone φ: relative to itself it says nothing
            features[self.columns[0]] = values[:, 0]
        return features

    def _physics(self, values: Any) -> Features:
        objects = self._momenta
        pt = [o.get(values, Quantity.PT) for o in objects]
        eta = [o.get(values, Quantity.ETA) for o in objects]
        phi = [o.get(values, Quantity.PHI) for o in objects]
        mass = [_mass(o, values, p, e) for o, p, e in zip(objects, pt, eta, strict=True)]
        features: Features = {}

        features |= _order_by_charge(pt, eta, phi, mass, self._identity(values))

        # Angles relative to the first object, and the turn that makes the second one's positive.
        first = phi[0]
        phi = [wrap_angle(angle - first) for angle in phi]
        missing = [
            (o.name, o.get(values, Quantity.PT), wrap_angle(o.get(values, Quantity.PHI) - first))
            for o in self._missing
        ]
        turning = phi[1] if len(phi) > 1 else (missing[0][2] if missing else None)
        if turning is not None:
            turn = jnp.where(turning < 0, -1.0, 1.0)
            phi = [angle * turn for angle in phi]
            missing = [(name, p, angle * turn) for name, p, angle in missing]
            features["sign of first delta phi"] = turn

        energy = [jnp.hypot(p * jnp.cosh(e), m) for p, e, m in zip(pt, eta, mass, strict=True)]
        pz = [p * jnp.sinh(e) for p, e in zip(pt, eta, strict=True)]
        px = [p * jnp.cos(a) for p, a in zip(pt, phi, strict=True)]
        py = [p * jnp.sin(a) for p, a in zip(pt, phi, strict=True)]

        # Pair masses from the angles, m² = m₁² + m₂² + 2 (E₁E₂ − p₁·p₂): no difference of large numbers.
        pair_mass2 = {}
        for i in range(len(objects)):
            for j in range(i):
                gap = 2 * pt[i] * pt[j] * (jnp.cosh(eta[i] - eta[j]) - jnp.cos(phi[i] - phi[j]))
                massive = 2 * (energy[i] * energy[j] - _p(pt[i], eta[i]) * _p(pt[j], eta[j]))
                pair_mass2[j, i] = mass[i] ** 2 + mass[j] ** 2 + gap + massive
        total_mass2 = sum(pair_mass2.values()) - (len(objects) - 2) * sum(m**2 for m in mass)
        if len(objects) == 1:
            total_mass2 = mass[0] ** 2 + (pt[0] if not missing else 0) ** 2
        total_pz, total_energy = sum(pz), sum(energy)
        # ½ ln[(E' + p_z)/(E' − p_z)] with E'² = E² − p_T²: the rapidity that fixes the momentum fractions
        rapidity = jnp.arcsinh(total_pz / jnp.sqrt(total_mass2))
        flip = jnp.where(rapidity < 0, -1.0, 1.0)
        eta = [e * flip for e in eta]
        pz = [p * flip for p in pz]
        rapidity = rapidity * flip
        features["sign of total rapidity"] = flip

        for o, p, e, m in zip(objects, pt, eta, mass, strict=True):
            features[f"log pT {o.name}"] = jnp.log(p)
            features[f"eta {o.name}"] = e
            if o.at.keys() & {Quantity.MASS, Quantity.ENERGY}:
                features[f"log(1 + m) {o.name}"] = jnp.log1p(m)
        for o, angle in list(zip(objects, phi, strict=True))[1:]:
            features[f"cos delta phi {o.name}"] = jnp.cos(angle)
            features[f"sin delta phi {o.name}"] = jnp.sin(angle)
        for name, p, angle in missing:
            features[f"log(1 + pT) {name}"] = jnp.log1p(p)
            features[f"cos delta phi {name}"] = jnp.cos(angle)
            features[f"sin delta phi {name}"] = jnp.sin(angle)
        if len(objects) > 1:
            total_pt2 = sum(px) ** 2 + sum(py) ** 2
            features["log total mass"] = jnp.log(total_mass2) / 2
            features["log(1 + total pT)"] = jnp.log1p(jnp.sqrt(total_pt2))
            features["total rapidity"] = rapidity
            features["log x1"] = jnp.log(total_mass2) / 2 + rapidity
            features["log x2"] = jnp.log(total_mass2) / 2 - rapidity
            features["log total energy"] = jnp.log(total_energy)
        if len(objects) == 2:
            # Collins-Soper: cos θ* = 2 (E₂ p_z1 − E₁ p_z2) / [m √(m² + p_T²)]
            features["cos theta star"] = (
                2
                * (energy[1] * pz[0] - energy[0] * pz[1])
                / jnp.sqrt(total_mass2 * (total_mass2 + total_pt2))
            )
        for (i, j), m2 in pair_mass2.items() if len(objects) > 2 else ():
            features[f"log mass {objects[i].name} {objects[j].name}"] = jnp.log(m2) / 2
            features[f"part of mass {objects[i].name} {objects[j].name}"] = m2 / total_mass2
        for k, o in enumerate(objects) if len(objects) > 2 else ():
            # what the mass owes to this energy, ∂ ln m²/∂ ln E if massless
            own = sum(m2 for pair, m2 in pair_mass2.items() if k in pair)
            features[f"part of mass {o.name}"] = own / total_mass2
        for name, p, angle in missing:
            x, y = p * jnp.cos(angle), p * jnp.sin(angle)
            features[f"log(1 + total pT with {name})"] = jnp.log1p(jnp.hypot(sum(px) + x, sum(py) + y))
            for o, q, a in zip(objects, pt, phi, strict=True):
                transverse = 2 * q * p * (1 - jnp.cos(a - angle))
                features[f"log(1 + mT) {o.name} {name}"] = jnp.log1p(transverse) / 2
        return features

    def _identity(self, values: Any) -> list[Any]:
        """What tells charged objects apart: the charge, or minus the PDG code (the same order, and the
        flavour)."""
        charged = [Quantity.CHARGE in o.at for o in self._momenta]
        with_code = all(Quantity.PDG in o.at for o, has in zip(self._momenta, charged, strict=True) if has)
        return [
            (-o.get(values, Quantity.PDG) if with_code else o.get(values, Quantity.CHARGE)) if has else None
            for o, has in zip(self._momenta, charged, strict=True)
        ]


def _p(pt: Any, eta: Any) -> Any:
    return pt * jnp.cosh(eta)


def _mass(o: _Object, values: Any, pt: Any, eta: Any) -> Any:
    """The mass column, or √(E² − p²) where there is an energy, or 0; rounding may make E² < p², which is m =
    0."""
    if Quantity.MASS in o.at:
        # A negative mass is how some files write a space-like rounding residue.
        return jnp.maximum(o.get(values, Quantity.MASS), 0.0)
    if Quantity.ENERGY in o.at:
        return jnp.sqrt(jnp.maximum(o.get(values, Quantity.ENERGY) ** 2 - _p(pt, eta) ** 2, 0.0))
    return jnp.zeros_like(pt)


def _order_by_charge(pt: list, eta: list, phi: list, mass: list, identity: list) -> Features:
    """Put charged objects in order of charge, negative first, in place; return what tells the order they
    came in.

    A network of fixed size sorts them (Batcher's odd-even transposition), so that equal charges keep their
    order.
    """
    charged = [i for i, q in enumerate(identity) if q is not None]
    features: Features = {}
    for sweep in range(len(charged)):
        for k in range(sweep % 2, len(charged) - 1, 2):
            i, j = charged[k], charged[k + 1]
            swap = identity[i] > identity[j]
            for array in (pt, eta, phi, mass, identity):
                array[i], array[j] = jnp.where(swap, array[j], array[i]), jnp.where(swap, array[i], array[j])
            features[f"exchange {sweep}.{k}"] = jnp.where(swap, 1.0, -1.0)
    for i in charged:
        features[f"charge {i + 1}"] = identity[i]
    return features
