"""From the columns of an event to what the network sees.

A weight depends on invariants far more simply than on the columns themselves: a resonance sits in a pair
mass, the parton densities in the momentum fractions. So the recognised columns are turned into logarithms,
wrapped angles, pair and total invariants. Three symmetries are built in rather than learned:

- a rotation about the beam: only angles relative to the first object are used;
- the exchange of the two beams, and a reflection of the transverse plane: the event is turned so that its
  total rapidity, and the Δφ between the first two objects, are positive;
- leptons are told apart by charge (and flavour), not by order: charged objects are put in order of these.

An object that an event may lack (`padded`) is a momentum of 0 among the totals where it is absent, which is
where all its columns are NaN; its own features and those of its pairs are 0 then, and a mask says so. An
absent one comes after all that have a charge.

The second and third symmetry leave the signs that they used among the features, so that no information is
lost where a user's weights lack them (asymmetric beams; weights that depend on the order of the leptons).

Computed in double precision, since a pair mass of nearly collinear leptons is a small difference; the
network gets single precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from deepmem.columns import Column, Quantity, described
from deepmem.errors import UsageError
from deepmem.kinematics import wrap_angle

Features = dict[str, Any]  # name of a feature → its values [events]

# What tells an absent object from those with a charge or code: it is beyond all of them.
_BEHIND = 1e9


@dataclass(frozen=True, eq=False)
class _Object:
    """Where the columns of an object stand: pT, φ and, but for missing pT, η; mass, energy and charge if
    there."""

    name: str
    at: dict[Quantity, int]

    def get(self, values: Any, quantity: Quantity) -> Any:
        return values[:, self.at[quantity]]


@dataclass(frozen=True)
class _Missing:
    """Missing transverse momentum, values `[events]`."""

    name: str
    pt: Any
    phi: Any


@dataclass(frozen=True)
class _Momenta:
    """Of the objects of events: of each object values `[events]`, in GeV and radians."""

    pt: list
    eta: list
    phi: list
    mass: list
    absent: list
    missing: list[_Missing]


@dataclass(frozen=True)
class _Totals:
    """What momenta imply: of each object, of pairs (by their places), and of all."""

    energy: list
    px: list
    py: list
    pz: list
    pair_mass2: dict[tuple[int, int], Any]
    mass2: Any
    rapidity: Any


class FeatureMap:
    """Turns columns `[events, columns]` into features `[events, features]`, float64.

    **Arguments:** `columns`, the branch names in order, or what they hold (`columns.described`); `kind`,
    `"physics"`, or `"plain"` for every column as it is. A φ of no object is taken relative to the first φ;
    the only φ, and an angle that is no azimuth, give their cosine and sine. `padded`: objects that an event
    may lack.

    **Raises** `UsageError` where an object to be padded has no momentum, or is one of the first two, which
    fix angles and signs.

    A value outside a feature's domain (pT ≤ 0, NaN) gives a feature that is not finite, in that event alone.
    Two maps of the same columns and kind are equal, and share compiled code.
    """

    def __init__(self, columns: Sequence[str | Column], kind: str = "physics", padded: Sequence[str] = ()):
        self.described = described(columns)
        self.columns = tuple(column.name for column in self.described)
        self.kind, self.padded = kind, tuple(padded)
        self._phis = self._of(Quantity.PHI)
        self._momenta: list[_Object] = []
        self._missing: list[_Object] = []
        if kind == "physics":
            self._find_objects()
        # without a momentum there is no origin of angles, and all columns are left
        grouped = {i for each in self._momenta + self._missing for i in each.at.values() if self._momenta}
        self._rest = [i for i in range(len(self.columns)) if i not in grouped]
        self._refuse_padding()
        self.names = _names(self)

    @property
    def _identity_of_map(self) -> tuple[Any, ...]:
        return self.described, self.kind, self.padded

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureMap) and self._identity_of_map == other._identity_of_map

    def __hash__(self) -> int:
        return hash(self._identity_of_map)

    def _refuse_padding(self) -> None:
        able = [each.name for each in self._momenta[2:]]
        for name in self.padded:
            if name not in able:
                listed = ", ".join(able) or "none"
                raise UsageError(
                    f"'padded': {name!r} cannot be padded. That takes pT, eta and phi, a place after the "
                    f"first two objects, and physics features; here {listed} can be"
                )

    @property
    def _places_padded(self) -> list[int]:
        """Which objects may be absent when those with a charge are in order: the last of these."""
        padded = [each.name in self.padded for each in self._momenta]
        charged = [k for k, each in enumerate(self._momenta) if Quantity.CHARGE in each.at]
        last = charged[len(charged) - sum(padded[k] for k in charged) :]
        return sorted(last + [k for k, is_padded in enumerate(padded) if is_padded and k not in charged])

    def known(self, values: Any) -> Any:
        """Which columns `[events, columns]` are finite, or of an absent object that is padded."""
        known = jnp.isfinite(values)
        for each, absent in self._absent(values).items():
            for i in each.at.values():
                known = known.at[:, i].set(known[:, i] | absent)
        return known

    def _absent(self, values: Any) -> dict[_Object, Any]:
        """Of each padded object, in which events all its columns are NaN."""
        padded = [each for each in self._momenta if each.name in self.padded]
        return {
            each: jnp.stack([jnp.isnan(values[:, i]) for i in each.at.values()]).all(axis=0)
            for each in padded
        }

    def _of(self, quantity: Quantity) -> list[int]:
        """Where the columns of a quantity stand."""
        return [i for i, column in enumerate(self.described) if column.quantity is quantity]

    def __call__(self, values: jax.Array) -> jax.Array:
        if jax.dtypes.canonicalize_dtype(float) != jnp.float64:
            raise RuntimeError(
                "features are computed in double precision: call this under jax.enable_x64(True)"
            )
        return jnp.stack([*self._features(values).values()], axis=-1)

    def _find_objects(self) -> None:
        places: dict[str, dict[Quantity, int]] = {}
        for i, column in enumerate(self.described):
            if column.quantity not in (Quantity.OTHER, Quantity.ANGLE):
                places.setdefault(column.object, {}).setdefault(column.quantity, i)
        for name, at in places.items():
            if {Quantity.PT, Quantity.ETA, Quantity.PHI} <= at.keys():
                self._momenta.append(_Object(name, at))
            elif {Quantity.PT, Quantity.PHI} <= at.keys():
                self._missing.append(_Object(name, {q: at[q] for q in (Quantity.PT, Quantity.PHI)}))

    def _features(self, values: Any) -> Features:
        if self.kind == "plain":
            return {name: values[:, i] for i, name in enumerate(self.columns)}
        features: Features = self._physics(values) if self._momenta else {}
        periodic = self._of(Quantity.ANGLE) + (self._phis if len(self._phis) == 1 else [])
        for i in self._rest:
            if i in periodic or i == next(iter(self._phis), None):
                continue
            column = values[:, i]
            if i in self._phis:
                column = wrap_angle(column - values[:, self._phis[0]])
            features[self.columns[i]] = column
        for i in periodic:
            features[f"cos {self.columns[i]}"] = jnp.cos(values[:, i])
            features[f"sin {self.columns[i]}"] = jnp.sin(values[:, i])
        return features

    def _physics(self, values: Any) -> Features:
        events, identity = self._momenta_of(values), self._identity(values)
        _pad(events, identity)
        charges = _order_by_charge(events, identity)
        absent = {self._momenta[k].name: events.absent[k] for k in self._places_padded}
        features: Features = {f"has {name}": jnp.where(where, 0.0, 1.0) for name, where in absent.items()}
        features |= charges
        events, sign = _turned(events)
        if sign is not None:
            features["sign of first delta phi"] = sign
        totals = _totals(events)
        events, totals, sign = _facing_forward(events, totals)
        features["sign of total rapidity"] = sign
        features |= _where_there(_of_each_object(self._momenta, events), absent)
        if len(self._momenta) > 1:
            features |= _of_all_objects(totals)
        if len(self._momenta) == 2:
            features["cos theta star"] = _cos_theta_star(totals)
        if len(self._momenta) > 2:
            features |= _where_there(_of_pairs([o.name for o in self._momenta], totals), absent)
        return features | _where_there(_with_missing([o.name for o in self._momenta], events, totals), absent)

    def _momenta_of(self, values: Any) -> _Momenta:
        objects, lacking = self._momenta, self._absent(values)
        nothing = jnp.zeros(values.shape[:1], dtype=bool)
        pt = [o.get(values, Quantity.PT) for o in objects]
        eta = [o.get(values, Quantity.ETA) for o in objects]
        return _Momenta(
            pt,
            eta,
            [o.get(values, Quantity.PHI) for o in objects],
            [_mass(o, values, p, e) for o, p, e in zip(objects, pt, eta, strict=True)],
            [lacking.get(o, nothing) for o in objects],
            [
                _Missing(o.name, o.get(values, Quantity.PT), o.get(values, Quantity.PHI))
                for o in self._missing
            ],
        )

    def _identity(self, values: Any) -> list[Any]:
        """What tells charged objects apart: the charge, or minus the PDG code (the same order, and the
        flavour)."""
        charged = [Quantity.CHARGE in o.at for o in self._momenta]
        with_code = all(Quantity.PDG in o.at for o, has in zip(self._momenta, charged, strict=True) if has)
        return [
            (-o.get(values, Quantity.PDG) if with_code else o.get(values, Quantity.CHARGE)) if has else None
            for o, has in zip(self._momenta, charged, strict=True)
        ]


@lru_cache(maxsize=64)
def _names(features: FeatureMap) -> tuple[str, ...]:
    """The features' names in order, found by tracing: nothing is computed. Equal maps have the same."""
    names: list[str] = []

    def record(values: jax.Array) -> jax.Array:
        names.extend(features._features(values))
        return values

    jax.eval_shape(record, jax.ShapeDtypeStruct((1, len(features.columns)), jnp.float32))
    return tuple(names)


def _pad(events: _Momenta, identity: list) -> None:
    """Give absent objects a momentum of 0 along the first one, and a place behind all charges."""
    for k, where in enumerate(events.absent):
        for array in (events.pt, events.eta, events.mass):
            array[k] = jnp.where(where, 0.0, array[k])
        events.phi[k] = jnp.where(where, events.phi[0], events.phi[k])
        if identity[k] is not None:
            identity[k] = jnp.where(where, _BEHIND, identity[k])


def _where_there(features: Features, absent: Mapping[str, Any]) -> Features:
    """Features of objects, by whose names theirs end or that are parts of theirs: 0 where one is absent."""
    found = {}
    for name, values in features.items():
        for owner in set(name.split()) & absent.keys():
            values = jnp.where(absent[owner], 0.0, values)
        found[name] = values
    return found


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


def _order_by_charge(events: _Momenta, identity: list) -> Features:
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
            for array in (events.pt, events.eta, events.phi, events.mass, events.absent, identity):
                array[i], array[j] = jnp.where(swap, array[j], array[i]), jnp.where(swap, array[i], array[j])
            features[f"exchange {sweep}.{k}"] = jnp.where(swap, 1.0, -1.0)
    for i in charged:
        features[f"charge {i + 1}"] = jnp.where(events.absent[i], 0.0, identity[i])
    return features


def _turned(events: _Momenta) -> tuple[_Momenta, Any]:
    """Angles relative to the first object, and reflected so that the second one's is positive; the sign that
    it had, None where there is no second one."""
    origin = events.phi[0]
    phi = [wrap_angle(angle - origin) for angle in events.phi]
    missing = [replace(each, phi=wrap_angle(each.phi - origin)) for each in events.missing]
    second = phi[1] if len(phi) > 1 else (missing[0].phi if missing else None)
    if second is None:
        return replace(events, phi=phi, missing=missing), None
    sign = jnp.where(second < 0, -1.0, 1.0)
    phi = [angle * sign for angle in phi]
    missing = [replace(each, phi=each.phi * sign) for each in missing]
    return replace(events, phi=phi, missing=missing), sign


def _totals(events: _Momenta) -> _Totals:
    pt, eta, phi, mass = events.pt, events.eta, events.phi, events.mass
    energy = [jnp.hypot(p * jnp.cosh(e), m) for p, e, m in zip(pt, eta, mass, strict=True)]
    pz = [p * jnp.sinh(e) for p, e in zip(pt, eta, strict=True)]
    # Pair masses from the angles, m² = m₁² + m₂² + 2 (E₁E₂ − p₁·p₂): no difference of large numbers.
    pair_mass2 = {}
    for i in range(len(pt)):
        for j in range(i):
            gap = 2 * pt[i] * pt[j] * (jnp.cosh(eta[i] - eta[j]) - jnp.cos(phi[i] - phi[j]))
            massive = 2 * (energy[i] * energy[j] - _p(pt[i], eta[i]) * _p(pt[j], eta[j]))
            pair_mass2[j, i] = mass[i] ** 2 + mass[j] ** 2 + gap + massive
    mass2 = sum(pair_mass2.values()) - (len(pt) - 2) * sum(m**2 for m in mass)
    if len(pt) == 1:
        mass2 = mass[0] ** 2 + (pt[0] if not events.missing else 0) ** 2
    return _Totals(
        energy=energy,
        px=[p * jnp.cos(a) for p, a in zip(pt, phi, strict=True)],
        py=[p * jnp.sin(a) for p, a in zip(pt, phi, strict=True)],
        pz=pz,
        pair_mass2=pair_mass2,
        mass2=mass2,
        # ½ ln[(E' + p_z)/(E' − p_z)] with E'² = E² − p_T²: the rapidity that fixes the momentum fractions
        rapidity=jnp.arcsinh(sum(pz) / jnp.sqrt(mass2)),
    )


def _facing_forward(events: _Momenta, totals: _Totals) -> tuple[_Momenta, _Totals, Any]:
    """With the beams exchanged so that the total rapidity is positive; the sign that it had."""
    sign = jnp.where(totals.rapidity < 0, -1.0, 1.0)
    events = replace(events, eta=[e * sign for e in events.eta])
    totals = replace(totals, pz=[p * sign for p in totals.pz], rapidity=totals.rapidity * sign)
    return events, totals, sign


def _of_each_object(objects: list[_Object], events: _Momenta) -> Features:
    features: Features = {}
    for o, p, e, m in zip(objects, events.pt, events.eta, events.mass, strict=True):
        features[f"log pT {o.name}"] = jnp.log(p)
        features[f"eta {o.name}"] = e
        if o.at.keys() & {Quantity.MASS, Quantity.ENERGY}:
            features[f"log(1 + m) {o.name}"] = jnp.log1p(m)
    for o, angle in list(zip(objects, events.phi, strict=True))[1:]:
        features[f"cos delta phi {o.name}"] = jnp.cos(angle)
        features[f"sin delta phi {o.name}"] = jnp.sin(angle)
    for each in events.missing:
        features[f"log(1 + pT) {each.name}"] = jnp.log1p(each.pt)
        features[f"cos delta phi {each.name}"] = jnp.cos(each.phi)
        features[f"sin delta phi {each.name}"] = jnp.sin(each.phi)
    return features


def _of_all_objects(totals: _Totals) -> Features:
    return {
        "log total mass": jnp.log(totals.mass2) / 2,
        "log(1 + total pT)": jnp.log1p(jnp.sqrt(_total_pt2(totals))),
        "total rapidity": totals.rapidity,
        "log x1": jnp.log(totals.mass2) / 2 + totals.rapidity,
        "log x2": jnp.log(totals.mass2) / 2 - totals.rapidity,
        "log total energy": jnp.log(sum(totals.energy)),
    }


def _total_pt2(totals: _Totals) -> Any:
    return sum(totals.px) ** 2 + sum(totals.py) ** 2


def _cos_theta_star(totals: _Totals) -> Any:
    """Of two objects, Collins and Soper's: cos θ* = 2 (E₂ p_z1 − E₁ p_z2) / [m √(m² + p_T²)]."""
    energy, pz, mass2 = totals.energy, totals.pz, totals.mass2
    return 2 * (energy[1] * pz[0] - energy[0] * pz[1]) / jnp.sqrt(mass2 * (mass2 + _total_pt2(totals)))


def _of_pairs(names: list[str], totals: _Totals) -> Features:
    features: Features = {}
    for (i, j), m2 in totals.pair_mass2.items():
        features[f"log mass {names[i]} {names[j]}"] = jnp.log(m2) / 2
        features[f"part of mass {names[i]} {names[j]}"] = m2 / totals.mass2
    for k, name in enumerate(names):
        # what the mass owes to this energy, ∂ ln m²/∂ ln E if massless
        own = sum(m2 for pair, m2 in totals.pair_mass2.items() if k in pair)
        features[f"part of mass {name}"] = own / totals.mass2
    return features


def _with_missing(names: list[str], events: _Momenta, totals: _Totals) -> Features:
    features: Features = {}
    for each in events.missing:
        x, y = each.pt * jnp.cos(each.phi), each.pt * jnp.sin(each.phi)
        total_pt = jnp.hypot(sum(totals.px) + x, sum(totals.py) + y)
        features[f"log(1 + total pT with {each.name})"] = jnp.log1p(total_pt)
        for name, p, angle in zip(names, events.pt, events.phi, strict=True):
            transverse = 2 * p * each.pt * (1 - jnp.cos(angle - each.phi))
            features[f"log(1 + mT) {name} {each.name}"] = jnp.log1p(transverse) / 2
    return features
