"""What travels through DeepMEM: an event's weight, its error and its status.

Units, once and for all: energies, momenta and masses in GeV, angles in radians, a weight in GeV^(-n) with
n the number of measured momentum components that it is a density in. An exact weight and a learned weight
have this one type, so whoever writes, compares or plots them never asks who computed them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np

from deepmem.errors import UsageError


class Status(IntEnum):
    """How far a weight can be relied on; each value says what to try.

    1 is a weight that is given, and less certain than it was asked to be: its integral is not precise, or it
    is negative, or more than a thousandth of it comes from densities that are negative, which no number of
    calls mends. Nothing is clipped.
    """

    GOOD = 0
    PRECISION = 1
    NO_SOLUTION = 2
    BAD_INPUT = 3
    OUTSIDE_TRAINING = 4
    BELOW_GRID = 5

    @property
    def meaning(self) -> str:
        return _MEANING[self]


LARGEST_SHARES = 10
"""How many of the largest contributions of assignments a weight brings, see `Weight.share`."""

_MEANING = {
    Status.GOOD: "good",
    Status.PRECISION: "precision not reached: allow more calls, or the density is negative: use another grid",
    Status.NO_SOLUTION: "no physical solution, so the weight is 0: the event does not fit the hypothesis",
    Status.BAD_INPUT: "bad input: a value is missing or makes no sense; look at the event",
    Status.OUTSIDE_TRAINING: "outside the range the model was trained on: compute this event exactly",
    Status.BELOW_GRID: "below the density grid's lowest x: use a grid that reaches lower",
}


_WORST_FIRST = (
    Status.BAD_INPUT,
    Status.BELOW_GRID,
    Status.NO_SOLUTION,
    Status.PRECISION,
    Status.OUTSIDE_TRAINING,
    Status.GOOD,
)


def worst(*statuses: np.ndarray) -> np.ndarray:
    """The worst of several statuses of each event, int32: 3, then 5, 2, 1, 4, 0; arrays of one shape."""
    rank = np.argsort(_WORST_FIRST)
    return np.array(_WORST_FIRST, dtype=np.int32)[rank[np.stack(statuses)].min(axis=0)]


def count_statuses(status: np.ndarray) -> np.ndarray:
    """How many events have each `Status`, `[statuses]`: to be added up, chunk by chunk."""
    return np.bincount(status, minlength=len(Status))


def by_status(numbers: np.ndarray) -> dict[str, int]:
    """Such numbers by the status' own number and meaning."""
    return {f"{each.value} {each.meaning}": int(numbers[each]) for each in Status if numbers[each]}


@dataclass(frozen=True)
class Monomials:
    """The terms of a polynomial in some couplings, and the values that these have by default."""

    names: tuple[str, ...]
    exponents: tuple[tuple[int, ...], ...]
    """Of each term, one for each coupling."""
    defaults: tuple[float, ...]

    def at(self, couplings: Mapping[str, Any]) -> np.ndarray:
        """Π_i c_i^(n_ki) `[…, terms]` at values `[…]` of couplings, the others at their defaults.

        **Raises** `UsageError` for a name that is none of them.
        """
        for name in couplings.keys() - set(self.names):
            raise UsageError(f"{name} is no coupling of this weight: it is a polynomial in {self.names}")
        usual = dict(zip(self.names, self.defaults, strict=True)) | dict(couplings)
        values = np.stack(np.broadcast_arrays(*(np.asarray(usual[n], float) for n in self.names)), axis=-1)
        return np.prod(values[..., None, :] ** np.array(self.exponents), axis=-1)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "couplings": list(self.names),
            "terms": self.labels,
            "exponents": [list(each) for each in self.exponents],
            "defaults": list(self.defaults),
        }

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Monomials:
        """What `to_dict` was of."""
        return cls(
            tuple(said["couplings"]),
            tuple(map(tuple, said["exponents"])),
            tuple(map(float, said["defaults"])),
        )

    @property
    def labels(self) -> list[str]:
        """The terms as text."""
        return term_labels(self.names, self.exponents)


def term_labels(names: Sequence[str], exponents: Sequence[Sequence[int]]) -> list[str]:
    """The terms of a polynomial as text, such as "1", "ca3" and "ca2*ca3**2"."""
    return [
        "*".join(
            name if power == 1 else f"{name}**{power}"
            for name, power in zip(names, powers, strict=True)
            if power
        )
        or "1"
        for powers in exponents
    ]


@dataclass(frozen=True)
class Couplings:
    """Weights as polynomials in couplings: W = Σ_k coefficients_k Π_i c_i^(n_ki).

    - `coefficients`: float64 `[events, terms]`, in the unit of the weight;
    - `covariance`: float64 `[events, terms (terms + 1)/2]`, of the coefficients: the upper triangle, row by
      row. NaN where the weight is.
    """

    monomials: Monomials
    coefficients: np.ndarray
    covariance: np.ndarray

    def __getitem__(self, rows: slice | np.ndarray) -> Couplings:
        return Couplings(self.monomials, self.coefficients[rows], self.covariance[rows])

    def at(self, couplings: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """Value and error `[events]` at one point. **Raises** `UsageError` for an unknown name."""
        terms = self.monomials.at(couplings)
        first, second = np.triu_indices(len(terms))
        products = np.where(first == second, 1.0, 2.0) * terms[first] * terms[second]
        # rounding can leave a variance of nothing below 0
        return self.coefficients @ terms, np.sqrt(np.maximum(self.covariance @ products, 0.0))

    @staticmethod
    def concatenate(parts: Sequence[Couplings]) -> Couplings:
        """Of several runs of events, one after the other."""
        return Couplings(
            parts[0].monomials,
            np.concatenate([part.coefficients for part in parts]),
            np.concatenate([part.covariance for part in parts]),
        )


@dataclass(frozen=True)
class Weight:
    """The weights of a run of events under one hypothesis.

    - `value`: float64 `[events]`, GeV^(-n); NaN where the status is 3 or 5, 0 where it is 2.
    - `error`: float64 `[events]`, one standard deviation, absolute; NaN where there is none.
    - `status`: int32 `[events]`, see `Status`.
    - `source`: int32 `[events]`, 0 learned, 1 exact; None where all come from one place.
    - `neutrinos`: float64 `[events, 2, 3]`, where asked for: (px, py, pz) of ν and ν̄ in GeV, averaged over
      the integral, ∫ p dW/W; NaN where the weight is 0 or unknown.
    - `reason`: int32 `[events]`, what is wrong with an event, see `inputs.Reason`, 0 where nothing is; None
      where nobody looked. Files do not hold it.
    - `evaluations`: int64 `[events]`, how often the integrand was evaluated for an event, over all
      assignments of jets, and 0 where it can't be computed; None where not known. Files do not hold it.
    - `couplings`: the weight as a polynomial in couplings, where asked for: see `Couplings` and `at`.
    - `share`: float64 `[events, 10]`, where asked for: what the assignments of jets contribute to the weight
      (the first of a scan), the ten largest in order, NaN where there are fewer; those that only |M|² tells
      apart are one.
    - `role`: int32 `[events, jets]`, beside it: the outgoing leg, from 0, that each of the jets that are read
      is in the likeliest assignment, −1 where it is none.
    - `lost`: int32 `[events]`, where asked for: how many jets are lost, 0 or 1. The unit of a weight has as
      many energies fewer, and no weights of different numbers can be compared.
    - `covariance`: float64 `[events]`, of the weight of a variation, with the nominal one; None of others.
    """

    value: np.ndarray
    error: np.ndarray
    status: np.ndarray
    source: np.ndarray | None = None
    neutrinos: np.ndarray | None = None
    reason: np.ndarray | None = None
    evaluations: np.ndarray | None = None
    couplings: Couplings | None = None
    share: np.ndarray | None = None
    role: np.ndarray | None = None
    lost: np.ndarray | None = None
    covariance: np.ndarray | None = None

    def __post_init__(self) -> None:
        shapes = {np.shape(array) for array in (self.value, self.error, self.status)}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise ValueError(f"value, error and status must be of one length, got shapes {sorted(shapes)}")

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, rows: slice | np.ndarray) -> Weight:
        values = (getattr(self, field.name) for field in fields(Weight))
        return Weight(*(None if each is None else each[rows] for each in values))  # type: ignore[arg-type]

    def at(self, **couplings: float) -> Weight:
        """The weight at other values of its couplings, those that are not named at their defaults.

        **Raises** `UsageError` where it is no polynomial in couplings, or for a name that is none of them.
        """
        if self.couplings is None:
            raise UsageError(
                "this weight is no polynomial in couplings: compute it with NAME=[:], such as --set 'ca3=[:]'"
            )
        value, error = self.couplings.at(couplings)
        return Weight(value, error, self.status, reason=self.reason)

    def ratio_to(self, nominal: Weight) -> tuple[np.ndarray, np.ndarray]:
        """The ratio of a variation's weight to the nominal one, and its error `[events]`; NaN where unknown.

        **Raises** `UsageError` where this is no variation's weight.
        """
        if self.covariance is None:
            raise UsageError("this weight has no covariance with another one: it is of no variation")
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = self.value / nominal.value
            square = (self.error / self.value) ** 2 + (nominal.error / nominal.value) ** 2
            square -= 2 * self.covariance / (self.value * nominal.value)
            # rounding can leave a variance of nothing below 0
            return ratio, np.abs(ratio) * np.sqrt(np.maximum(square, 0.0))

    @staticmethod
    def concatenate(parts: Sequence[Weight]) -> Weight:
        """The same kind of weight of several runs of events, one after the other."""
        joined: dict[str, Any] = {}
        for name in (field.name for field in fields(Weight)):
            arrays = [getattr(part, name) for part in parts]
            # what files do not hold, and some do not have, is that of none
            optional = name in ("reason", "evaluations", "share", "role", "lost")
            lacks = arrays[0] is None or (optional and any(array is None for array in arrays))
            join = Couplings.concatenate if name == "couplings" else np.concatenate
            joined[name] = None if lacks else join(arrays)
        return Weight(**joined)


def variation_name(weight: str, variation: str) -> str:
    """What a weight is called of events that a variation measures otherwise: `drell_yan__jesUp`."""
    return f"{weight}__{variation}"


def scan_name(process: str, parameter: str, value: float) -> str:
    """What the weight at one value of a scanned parameter is called: `drell_yan_MZ_91p2`."""
    return f"{process}_{parameter}_{value:g}".replace(".", "p").replace("-", "m")
