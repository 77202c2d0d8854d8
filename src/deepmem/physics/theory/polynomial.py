"""In which powers parameters of a model enter its couplings, and polynomials known from their values.

A coupling that is a polynomial in parameters c makes |M|² one, known for all c from its coefficients w:

    |M|²(c) = Σ_k w_k Π_i c_i^(n_ki),    w = V⁻¹ (|M|²(c_1), |M|²(c_2), …),    V_jk = Π_i (c_j)_i^(n_ki).

The exponents of a coupling follow from the syntax of its expression: they add in products, and are joined in
sums; there are none where a parameter is in a denominator or in a function.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from deepmem.event import term_labels
from deepmem.physics.errors import ModelError, UnknownNameError, unknown_name
from deepmem.physics.theory.expressions import tree
from deepmem.physics.theory.model import Model

Exponents: TypeAlias = tuple[int, ...]
"""Of a monomial, one for each parameter."""
Monomials: TypeAlias = frozenset[Exponents]

# Functions of real parameters that leave a polynomial one.
_LINEAR = ("complexconjugate", "complex", "re", "im", "float")


def products(*factors: Iterable[Exponents]) -> Monomials:
    """The monomials of a product of polynomials."""
    return frozenset(tuple(map(sum, zip(*each, strict=True))) for each in itertools.product(*factors))


def monomials(
    model: Model, names: Sequence[str], couplings: Iterable[str] | None = None, given: Iterable[str] = ()
) -> dict[str, Monomials]:
    """The monomials of all couplings, or of those that are named, in some parameters.

    **Arguments:** `given`: parameters that are set, and no longer follow from others.

    **Raises** `UnknownNameError` for no parameter of the model; `ModelError` where one of them enters a mass,
    a width, or one of the couplings otherwise than in a polynomial.
    """
    known = _of_parameters(model, names, given)
    one = frozenset({(0,) * len(names)})
    for particle in model.particles:
        for what, quantity in (("mass", particle.mass), ("width", particle.width)):
            if known[quantity] != one:
                raise ModelError(
                    f"{_entering(known[quantity], names)} enters the {what} of {particle.name!r}, so |M|² is "
                    "no polynomial in it: scan it over values instead"
                )
    wanted = None if couplings is None else set(couplings)
    found = {}
    for coupling in model.couplings:
        if wanted is None or coupling.name in wanted:
            own = _monomials(tree(coupling.expression), known, one)
            if own is None:
                raise ModelError(
                    f"coupling {coupling.name!r} is {coupling.expression!r}, which is no polynomial in "
                    f"{_alternatives(names)}: scan it over values instead"
                )
            found[coupling.name] = own
    return found


_Known: TypeAlias = dict[str, Monomials | None]
"""By parameter; None: not a polynomial."""


def _of_parameters(model: Model, names: Sequence[str], given: Iterable[str]) -> _Known:
    there = [parameter.name for parameter in model.parameters]
    for name in names:
        if name not in there:
            raise unknown_name(f"parameter of model {model.name!r}", name, there)
    one, fixed = frozenset({(0,) * len(names)}), set(given)
    known: _Known = {"ZERO": one}
    for parameter in model.parameters:
        name, text = parameter.name, parameter.expression
        if name in names:
            known[name] = frozenset({tuple(int(name == other) for other in names)})
        else:
            known[name] = one if text is None or name in fixed else _monomials(tree(text), known, one)
    return known


def _entering(found: Monomials | None, names: Sequence[str]) -> str:
    if found is None:
        return _alternatives(names)
    return next(repr(name) for k, name in enumerate(names) if any(each[k] for each in found))


def _alternatives(names: Sequence[str]) -> str:
    return " or ".join(map(repr, names))


def _monomials(node: ast.expr, known: _Known, one: Monomials) -> Monomials | None:
    """The monomials of an expression; `one`: those of a constant."""

    def of(part: ast.expr) -> Monomials | None:
        return _monomials(part, known, one)

    def joined(*parts: ast.expr) -> Monomials | None:
        found = [of(part) for part in parts]
        return None if None in found else frozenset().union(*(each for each in found if each))

    if not _inside(node, known, one):
        return one
    match node:
        case ast.Name(id=name):
            return known[name]
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
            return joined(left, right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            first, second = of(left), of(right)
            return None if first is None or second is None else products(first, second)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return of(left) if of(right) == one else None
        case ast.BinOp(left=base, op=ast.Pow(), right=ast.Constant(value=int(number))) if number > 0:
            found = of(base)
            return None if found is None else products(*[found] * number)
        case ast.UnaryOp(operand=operand):
            return of(operand)
        case ast.IfExp(test=test, body=body, orelse=other) if not _inside(test, known, one):
            return joined(body, other)
        case ast.Call(func=ast.Name(id=function), args=arguments) if function in _LINEAR:
            return joined(*arguments)
    return None


def _inside(node: ast.AST, known: _Known, one: Monomials) -> bool:
    """Whether a parameter is anywhere in a tree."""
    return any(isinstance(part, ast.Name) and known.get(part.id, one) != one for part in ast.walk(node))


@dataclass(frozen=True, eq=False)
class Polynomial:
    """A polynomial of some parameters, whose coefficients follow from its values at as many points.

    coefficients = inverse @ (values at `points`)
    """

    names: tuple[str, ...]
    exponents: tuple[Exponents, ...]
    """Of each monomial."""
    points: Float[np.ndarray, "monomials names"]
    """Values of the parameters."""
    inverse: Float[np.ndarray, "monomials monomials"]

    @classmethod
    def of(
        cls, names: Sequence[str], found: Iterable[Exponents], scales: Mapping[str, float] | None = None
    ) -> Polynomial:
        """With points that tell these monomials apart: no more parameters than in a monomial differ from 0.

        **Arguments:** `scales`: of parameters whose values of interest are far from 1, such values.

        **Raises** `UnknownNameError` for a scale of none of the names.
        """
        scales = dict(scales or {})
        for name in scales.keys() - set(names):
            raise unknown_name("parameter of a polynomial", name, names)
        exponents = tuple(sorted(set(found), key=lambda each: (sum(each), [-n for n in each])))
        grid = _grid(exponents)
        powers = _products(grid, exponents)
        from scipy.linalg import qr  # few have free couplings

        # rows that are far from the span of those before
        _, order = qr(powers.T, mode="r", pivoting=True)
        chosen = np.sort(order[: len(exponents)])
        of_scale = np.array([scales.get(name, 1.0) for name in names])
        units = _products(of_scale, exponents)
        inverse = np.linalg.inv(powers[chosen]) / units[:, None]
        return cls(tuple(names), exponents, grid[chosen] * of_scale, inverse)

    @property
    def labels(self) -> tuple[str, ...]:
        """The monomials as text, such as "1", "ca3" and "ca2*ca3**2"."""
        return tuple(term_labels(self.names, self.exponents))

    def settings(self) -> list[dict[str, float]]:
        """The points as values by name."""
        return [dict(zip(self.names, map(float, point), strict=True)) for point in self.points]

    def coefficients(self, values: ArrayLike) -> np.ndarray:
        """Coefficients `[…, monomials]` from values at the points `[…, monomials]`."""
        return np.asarray(values) @ self.inverse.T

    def monomials(self, **parameters: Any) -> np.ndarray:
        """The monomials `[…, monomials]` at values `[…]` of all parameters; a value is coefficients · these.

        **Raises** `UnknownNameError` for another name, or one that is missing.
        """
        for name in parameters.keys() ^ set(self.names):
            if name in self.names:
                raise UnknownNameError(f"the polynomial needs a value for {name}, too")
            raise unknown_name("parameter of the polynomial", name, self.names)
        at = np.stack(np.broadcast_arrays(*(np.asarray(parameters[n], float) for n in self.names)), axis=-1)
        return _products(at, self.exponents)


def _products(at: np.ndarray, exponents: Sequence[Exponents]) -> np.ndarray:
    """Monomials `[…, monomials]` at values `[…, names]`."""
    found = np.ones((*at.shape[:-1], len(exponents)))
    for k, powers in enumerate(np.transpose(exponents)):
        found *= at[..., k, None] ** powers
    return found


def _grid(exponents: Sequence[Exponents]) -> np.ndarray:
    """Candidates for points `[points, names]`: Chebyshev's nodes, in as many parameters as a monomial has."""
    most = np.max(exponents, axis=0)
    nodes = [np.cos(np.pi * np.arange(n + n % 2 + 1) / max(n + n % 2, 1)) for n in most]
    nodes = [np.where(np.abs(each) < 0.1, 0.0, each) for each in nodes]
    together = max(sum(n > 0 for n in each) for each in exponents)
    found = [np.zeros(len(most))]
    for size in range(1, together + 1):
        for chosen in itertools.combinations(np.flatnonzero(most), size):
            for values in itertools.product(*(nodes[k][nodes[k] != 0] for k in chosen)):
                found.append(np.zeros(len(most)))
                found[-1][list(chosen)] = values
    return np.array(found)
