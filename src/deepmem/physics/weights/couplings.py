"""A weight as a polynomial in couplings, from weights at as many points, which share what they are made of.

    W(c) = Σ_k w_k Π_i c_i^(n_ki),    w = V⁻¹ W(c_j),    cov(w) = V⁻¹ cov(W(c_j)) V⁻ᵀ.

Points of the integral are common, so errors of differences, such as interference, are small.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepmem.event import Couplings, Status, Weight, worst
from deepmem.physics.theory.polynomial import Polynomial
from deepmem.physics.weights.hypothesis import Hypothesis


def of_points(
    alpha: Hypothesis, weights: Sequence[Weight], covariance: np.ndarray | None, precision: float
) -> Weight:
    """The weight with its couplings at their defaults, and its coefficients.

    Its status is the worst of the points' where some can be computed, and no solution where all are 0.

    **Arguments:** `weights` at the polynomial's points; `covariance` `[events, points, points]` of them, None
    where they are known to be independent; `precision`, that was asked for.
    """
    polynomial, monomials = alpha.polynomial, alpha.monomials
    assert polynomial is not None and monomials is not None
    values, errors = (
        np.stack(each, axis=1) for each in zip(*((w.value, w.error) for w in weights), strict=True)
    )
    if covariance is None:
        covariance = errors[:, :, None] ** 2 * np.eye(len(weights))
    couplings = Couplings(monomials, polynomial.coefficients(values), of_coefficients(polynomial, covariance))
    value, error = couplings.at({})
    status = np.stack([weight.status for weight in weights])
    nowhere = (status == Status.NO_SOLUTION).all(axis=0)
    # a point where the weight vanishes says nothing against the others
    status = worst(*np.where(status == Status.NO_SOLUTION, Status.GOOD, status))
    missed = (status == Status.GOOD) & (error > precision * np.abs(value))
    status = np.where(nowhere, Status.NO_SOLUTION, np.where(missed, Status.PRECISION, status))
    first = weights[0]
    return Weight(
        value,
        error,
        status.astype(np.int32),
        reason=np.max([weight.reason for weight in weights if weight.reason is not None], axis=0),
        evaluations=first.evaluations,
        couplings=couplings,
    )


def of_coefficients(polynomial: Polynomial, covariance: np.ndarray) -> np.ndarray:
    """The upper triangle of the coefficients' covariance, row by row."""
    inverse = polynomial.inverse
    whole = np.einsum("ij,ejk,lk->eil", inverse, covariance, inverse)
    rows, columns = np.triu_indices(len(inverse))
    return whole[:, rows, columns]
