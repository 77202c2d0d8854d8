"""In which powers a parameter of a model enters its couplings.

A coupling that is a polynomial in a parameter c makes |M|² one, Σ_k w_k c^k, known for all c from its
coefficients w_k. The degree follows from the syntax of the coupling's expression: it adds in products, is the
largest one in sums, and is infinite where c is in a denominator or in a function.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from math import inf

from deepmem.physics.errors import ModelError, unknown_name
from deepmem.physics.theory.expressions import tree
from deepmem.physics.theory.model import Model

# Functions of real parameters that leave a polynomial one.
_LINEAR = ("complexconjugate", "complex", "re", "im", "float")


def degrees(model: Model, name: str, couplings: Iterable[str] | None = None) -> dict[str, int]:
    """The degrees in a parameter of the couplings, or of those that are named; degree 0 is left out.

    **Raises** `UnknownNameError` for no parameter of the model; `ModelError` where the parameter enters a
    mass, a width, or one of the couplings otherwise than in a polynomial.
    """
    if name not in {parameter.name for parameter in model.parameters}:
        raise unknown_name(f"parameter of model {model.name!r}", name, [p.name for p in model.parameters])
    known: dict[str, float] = {"ZERO": 0}
    for parameter in model.parameters:
        if parameter.name == name:
            known[name] = 1
        else:
            text = parameter.expression
            known[parameter.name] = 0 if text is None else _degree(tree(text), known)
    for particle in model.particles:
        for what, quantity in (("mass", particle.mass), ("width", particle.width)):
            if known[quantity]:
                raise ModelError(
                    f"{name!r} enters the {what} of {particle.name!r}, so |M|² is no polynomial in it: scan "
                    "it over values instead"
                )
    wanted = None if couplings is None else set(couplings)
    found = {}
    for coupling in model.couplings:
        if wanted is not None and coupling.name not in wanted:
            continue
        degree = _degree(tree(coupling.expression), known)
        if degree == inf:
            raise ModelError(
                f"coupling {coupling.name!r} is {coupling.expression!r}, which is no polynomial in {name!r}: "
                "scan it over values instead"
            )
        if degree:
            found[coupling.name] = int(degree)
    return found


def _degree(node: ast.expr, known: Mapping[str, float]) -> float:
    match node:
        case ast.Name(id=name):
            return known.get(name, 0)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
            return max(_degree(left, known), _degree(right, known))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _degree(left, known) + _degree(right, known)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return inf if _degree(right, known) else _degree(left, known)
        case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
            power = _degree(base, known)
            if power == 0 and _degree(exponent, known) == 0:
                return 0
            match exponent:
                case ast.Constant(value=int(number)) if number > 0:
                    return power * number
            return inf
        case ast.UnaryOp(operand=operand):
            return _degree(operand, known)
        case ast.IfExp(test=test, body=body, orelse=other):
            return inf if _inside(test, known) else max(_degree(body, known), _degree(other, known))
        case ast.Call(func=ast.Name(id=function), args=arguments) if function in _LINEAR:
            return max(_degree(each, known) for each in arguments)
    return inf if _inside(node, known) else 0


def _inside(node: ast.AST, known: Mapping[str, float]) -> bool:
    """Whether the parameter is anywhere in a tree."""
    return any(isinstance(part, ast.Name) and known.get(part.id, 0) for part in ast.walk(node))
