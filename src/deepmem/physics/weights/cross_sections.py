"""σ and σ_vis as values: means over weighted points with their errors, what they are of, and remarks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deepmem.errors import UsageError
from deepmem.event import Couplings
from deepmem.physics.weights.couplings import of_coefficients
from deepmem.physics.weights.settings import monomials_of

if TYPE_CHECKING:
    from deepmem.physics.processes.base import Process
    from deepmem.physics.theory.polynomial import Polynomial

FEW = 100
"""Fewer points than this make an estimate whose error is a rough one."""
LARGEST_UNCOVERED = 2e-3
"""What part of σ_vis may be uncovered before `CrossSection.remarks` says so."""
NEAR = 1.25
"""A pair of leptons is near the least one below so many times its mass."""


@dataclass(frozen=True)
class CrossSection:
    """σ and σ_vis of a process, in pb, each with one standard deviation.

    - `value`: σ within the true masses `mass` (GeV), no cuts.
    - `visible`: σ_vis within the selection, with recoil, boost weight and responses. Without a selection
      it is the average boost weight times σ.
    - `efficiency`: `visible/value`; above 1 where the selection has masses that σ has not.
    - `sampled`: the true masses that σ_vis comes from: all that may be measured in the selection; or a given
      `mass`, widened by what the responses can move into the selection's mass window.
    - `pair_mass`: the least true mass of a pair of equal flavour and opposite charge, in σ;
      `sampled_pair_mass`, in σ_vis, lower where responses can move lighter pairs into the selection.
    - `top_window`: both true tops are within so many widths of MT, in both; infinite without a window.
    - `points`: how many were drawn; `passed`: how many of them made σ_vis.
    - `beyond`: what true masses outside `sampled` would add to σ_vis, as a part of it.
    - `light`: the part of σ_vis with a pair less than a quarter heavier than `sampled_pair_mass`, where the
      selection does not exclude lighter ones; about what an octave below would add is three times that.
    """

    process: str
    value: float
    error: float
    visible: float
    visible_error: float
    mass: tuple[float, float]
    sampled: tuple[float, float]
    pair_mass: float
    top_window: float
    points: int
    passed: int
    sampled_pair_mass: float
    beyond: float
    light: float
    window: float = float("inf")
    """Resonances of the text are within so many widths of their masses, in both."""
    partons: bool = False
    """Whether the cuts are on partons, without recoil and response: both are what passes them then."""
    couplings: Couplings | None = None
    """σ and σ_vis, two rows, as polynomials in couplings that are free."""

    def at(self, **couplings: float) -> CrossSection:
        """Both at other values of the couplings, those that are not named at their defaults.

        **Raises** `UsageError` where none is free, or for a name that is none of them.
        """
        if self.couplings is None:
            raise UsageError("no coupling of this cross-section is free: compute it with NAME=[:]")
        (value, visible), (error, visible_error) = self.couplings.at(couplings)
        return replace(
            self, value=value, error=error, visible=visible, visible_error=visible_error, couplings=None
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON, with what follows."""
        said = {name: value for name, value in vars(self).items() if name != "couplings"}
        said |= {"efficiency": self.efficiency, "uncovered": self.uncovered, "remarks": self.remarks()}
        if (found := self.couplings) is not None:
            said["polynomial"] = found.monomials.to_dict() | {
                name: {"coefficients": row.tolist(), "covariance": triangle.tolist()}
                for name, row, triangle in zip(
                    ("value", "visible"), found.coefficients, found.covariance, strict=True
                )
            }
        return said

    @property
    def efficiency(self) -> float:
        return self.visible / self.value if self.value > 0 else float("nan")

    @property
    def uncovered(self) -> float:
        """How far σ_vis is from all that the selection lets in, as a part of it: a rough estimate."""
        return self.beyond + self.light

    def remarks(self) -> list[str]:
        """What to know before σ_vis is used, a sentence each, with what to do; none where all is well."""
        said = []
        low, high = self.sampled
        if self.passed < FEW:
            said.append(
                f"Only {self.passed} of {self.points:,} points passed the selection: errors are rough."
            )
        if self.beyond > LARGEST_UNCOVERED:
            said.append(
                f"True masses outside {low:g} to {high:g} GeV would add {100 * self.beyond:.2g} % to σ_vis: "
                "leave the range of true masses (mass) to the selection, or cut on the measured mass."
            )
        if self.light > LARGEST_UNCOVERED:
            least = self.sampled_pair_mass
            said.append(
                f"{100 * self.light:.2g} % of σ_vis has a pair of leptons with a true mass from {least:g} to "
                f"{NEAR * least:.3g} GeV, and lighter pairs are left out though the selection lets them in: "
                "cut on the measured pair_mass or mass, or set another least true mass (pair_mass)."
            )
        return said


class Mean:
    """The mean of an integrand over points, and its error.

    The largest single contribution is part of the error, in quadrature: what has not been seen yet may be as
    large. So the error of an estimate from one point that passed is above the estimate itself.
    """

    def __init__(self) -> None:
        self.total = self._squares = self._largest = 0.0
        self.points = self.passed = 0

    @classmethod
    def of(cls, values: np.ndarray) -> Mean:
        """That of values at some points."""
        mean = cls()
        mean.total, mean._squares = float(values.sum()), float((values**2).sum())
        mean._largest = float(values.max())
        mean.points, mean.passed = len(values), int((values > 0).sum())
        return mean

    def add(self, values: np.ndarray) -> None:
        self.merge(Mean.of(values))

    def merge(self, other: Mean) -> None:
        """Further points, with the mean of these."""
        self.total += other.total
        self._squares += other._squares
        self._largest = max(self._largest, other._largest)
        self.points += other.points
        self.passed += other.passed

    @property
    def value(self) -> float:
        return self.total / self.points

    @property
    def error(self) -> float:
        variance = max(self._squares / self.points - self.value**2, 0.0) / (self.points - 1)
        return float(np.hypot(np.sqrt(variance), self._largest / self.points))


class FreeSums(NamedTuple):
    """What σ and σ_vis come to at each point of couplings that are free, over some points of phase space."""

    points: int
    total: np.ndarray
    """`[2, couplings]`."""
    products: np.ndarray
    """`[2, couplings, couplings]`."""
    largest: np.ndarray

    @classmethod
    def of(cls, shares: np.ndarray, *values: np.ndarray) -> FreeSums:
        """**Arguments:** `shares` of each value at the couplings' points `[points, couplings]`."""
        each = [shares * value[:, None] for value in values]
        return cls(
            len(shares),
            np.stack([at.sum(axis=0) for at in each]),
            np.stack([at.T @ at for at in each]),
            np.stack([at.max(axis=0) for at in each]),
        )


class FreeMeans:
    """The means of σ and σ_vis at each point of couplings that are free, with their covariance."""

    def __init__(self, process: Process, polynomial: Polynomial | None) -> None:
        self._process, self._polynomial = process, polynomial
        count = 1 if self._polynomial is None else len(self._polynomial.points)
        self._points = 0
        self._total, self._largest = np.zeros((2, count)), np.zeros((2, count))
        self._products = np.zeros((2, count, count))

    def merge(self, sums: FreeSums) -> None:
        """Further points."""
        self._points += sums.points
        self._total += sums.total
        self._products += sums.products
        self._largest = np.maximum(self._largest, sums.largest)

    def couplings(self) -> Couplings | None:
        """Both as polynomials; None where no coupling is free. Errors are those of `Mean`."""
        if self._polynomial is None:
            return None
        mean, largest = self._total / self._points, self._largest / self._points
        covariance = self._products / self._points - mean[:, :, None] * mean[:, None, :]
        covariance = covariance / (self._points - 1) + largest[:, :, None] * largest[:, None, :]
        return Couplings(
            monomials_of(self._process, self._polynomial),
            self._polynomial.coefficients(mean),
            of_coefficients(self._polynomial, covariance),
        )
