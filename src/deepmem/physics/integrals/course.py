"""What a rule did for each event, so that another integrand, nearly the same, gets the same points.

The errors of two such integrals are nearly the same, too, and their ratio is known far better than each. With
means I_s and J_s of the same S shifts of a lattice, and u what each error allows for what was not seen,

    cov(I, J) = t² Σ_s (I_s − I)(J_s − J)/(S(S − 1)) + u_I u_J.

NumPy only. Courses are pytrees of arrays `[events, ...]`.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

# Of a value, below which differences between orders are rounding.
_ROUNDING = 1e-14


class CourseOfLattice(NamedTuple):
    """Of `integrals.lattice.Lattice`."""

    grid: np.ndarray
    """The last importance map `[events, d, knots, 2]`."""
    stage: np.ndarray
    """How many maps there were before."""
    blocks: np.ndarray
    """Of points under it."""
    deviations: np.ndarray
    """t (I_s − I)/√(S(S − 1)) of the steering values `[events, shifts, values]`."""
    unseen: np.ndarray
    """u `[events, values]`."""
    value: np.ndarray
    """I of the steering values `[events, values]`."""
    sums: np.ndarray
    """Σ f of all values, under the last map, to go on from `[events, shifts, values]`."""
    largest: np.ndarray
    """The largest |f| of these `[events, values]`."""
    bad: np.ndarray
    """How many points were not finite `[events]`."""

    def covariance(self, other: CourseOfLattice) -> np.ndarray:
        """Of the integrals of two integrands at the same points, value by value `[events, values]`."""
        return (self.deviations * other.deviations).sum(axis=1) + self.unseen * other.unseen


class CourseOfQuadrature(NamedTuple):
    """Of `integrals.quadrature.Quadrature`."""

    levels: np.ndarray
    """How many levels of orders an event went through."""
    orders: np.ndarray
    """The integrals by the last three orders `[events, 3, values]`."""

    @property
    def value(self) -> np.ndarray:
        """`[events, values]`."""
        return self.orders[:, 2]

    def covariance(self, other: CourseOfQuadrature) -> np.ndarray:
        """With it, the error of the ratio is what the three orders of the ratio say of it."""
        one, another = self.orders[:, 2], other.orders[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = other.orders / self.orders
            squares = _relative_error(self.orders) ** 2 + _relative_error(other.orders) ** 2
            found = one * another * (squares - _relative_error(ratio) ** 2) / 2
        return np.where(np.isfinite(found), found, 0.0)


def quoted_error(coarse: np.ndarray, middle: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """See `quadrature.Quadrature`; the last term is rounding."""
    return np.maximum(np.abs(fine - middle), np.abs(middle - coarse) / 4) + _ROUNDING * np.abs(fine)


def _relative_error(orders: np.ndarray) -> np.ndarray:
    """Of three orders `[events, 3, values]`."""
    return quoted_error(*np.moveaxis(orders, 1, 0)) / orders[:, 2]


class CourseOfSingle(NamedTuple):
    """Of `integrals.single.Single`: there is no error."""

    value: np.ndarray
    """`[events, values]`."""

    def covariance(self, other: CourseOfSingle) -> np.ndarray:
        """0."""
        return np.zeros_like(self.value)


Course: TypeAlias = CourseOfLattice | CourseOfQuadrature | CourseOfSingle


def covariance(one: Course, other: Course) -> np.ndarray:
    """Of integrals at the same points, of courses of one kind, value by value `[events, values]`."""
    return one.covariance(other)  # type: ignore[arg-type]
