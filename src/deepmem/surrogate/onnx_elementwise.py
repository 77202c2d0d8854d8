"""Operations on one element at a time, as nodes of ONNX.

An entry of `ELEMENTWISE` makes the nodes for one primitive of JAX: from the names of its arguments to that of
its result. Runtimes know some functions in single precision only; these are written with exp and log, in
double: cosh x = (eˣ + e⁻ˣ)/2, asinh x = ±ln(|x| + √(x² + 1)), cos x = sin(x + π/2). Types are those that ONNX
Runtime 1.15 computes with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np


class Nodes(Protocol):
    """A graph that grows."""

    def node(self, operation: str, inputs: Sequence[str], **attributes: Any) -> str: ...

    def constant(self, array: Any) -> str: ...


def end(dtype: np.dtype, sign: int) -> Any:
    """The largest number of a type, or the least."""
    if dtype.kind == "f":
        return sign * np.inf
    return np.iinfo(dtype).max if sign > 0 else np.iinfo(dtype).min


def known(dtype: np.dtype) -> np.dtype:
    """A type that runtimes compute with: unsigned integers, which count places, are data in older ones."""
    return np.dtype(np.int64) if dtype.kind == "u" else dtype


def element(dtype: np.dtype) -> int:
    """ONNX's number of a type."""
    import onnx

    return int(onnx.helper.np_dtype_to_tensor_dtype(known(dtype)))


def _plain(operation: str) -> Callable[..., str]:
    return lambda g, names, dtype, parameters: g.node(operation, names)


def _number(g: Nodes, value: float, dtype: np.dtype) -> str:
    return g.constant(np.array(value, dtype=dtype))


def _power(g: Nodes, names: list[str], dtype: np.dtype, parameters: dict[str, Any]) -> str:
    exponent = parameters["y"]
    result = names[0]
    for _ in range(abs(exponent) - 1):
        result = g.node("Mul", [result, names[0]])
    return g.node("Reciprocal", [result]) if exponent < 0 else result


def _hyperbolic(sign: str) -> Callable[..., str]:
    def made(g: Nodes, names: list[str], dtype: np.dtype, parameters: dict[str, Any]) -> str:
        up, down = g.node("Exp", names), g.node("Exp", [g.node("Neg", names)])
        return g.node("Mul", [g.node(sign, [up, down]), _number(g, 0.5, dtype)])

    return made


def _asinh(g: Nodes, names: list[str], dtype: np.dtype, parameters: dict[str, Any]) -> str:
    one, size = _number(g, 1.0, dtype), g.node("Abs", names)
    root = g.node("Sqrt", [g.node("Add", [g.node("Mul", [size, size]), one])])
    return g.node("Mul", [g.node("Sign", names), g.node("Log", [g.node("Add", [size, root])])])


def _log1p(g: Nodes, names: list[str], dtype: np.dtype, parameters: dict[str, Any]) -> str:
    return g.node("Log", [g.node("Add", [names[0], _number(g, 1.0, dtype)])])


def _cos(g: Nodes, names: list[str], dtype: np.dtype, parameters: dict[str, Any]) -> str:
    return g.node("Sin", [g.node("Add", [names[0], _number(g, np.pi / 2, dtype)])])


def _is_finite(g: Nodes, names: list[str], dtype: np.dtype, parameters: dict[str, Any]) -> str:
    # a difference with itself is NaN for what is infinite, and IsInf knows single precision only
    return g.node("Not", [g.node("IsNaN", [g.node("Sub", [names[0], names[0]])])])


def _select(g: Nodes, names: list[str], dtype: np.dtype, parameters: dict[str, Any]) -> str:
    which, no, yes = names
    if dtype.kind != "b":
        return g.node("Where", [which, yes, no])
    # of truths, for which runtimes have no Where
    return g.node("Or", [g.node("And", [which, yes]), g.node("And", [g.node("Not", [which]), no])])


def _cast(g: Nodes, names: list[str], dtype: np.dtype, parameters: dict[str, Any]) -> str:
    return g.node("Cast", names, to=element(np.dtype(parameters["new_dtype"])))


ELEMENTWISE: dict[str, Callable[..., str]] = {
    "add": _plain("Add"),
    "add_any": _plain("Add"),
    "sub": _plain("Sub"),
    "mul": _plain("Mul"),
    "div": _plain("Div"),
    "max": _plain("Max"),
    "min": _plain("Min"),
    "pow": _plain("Pow"),
    "neg": _plain("Neg"),
    "abs": _plain("Abs"),
    "sign": _plain("Sign"),
    "exp": _plain("Exp"),
    "log": _plain("Log"),
    "sqrt": _plain("Sqrt"),
    "sin": _plain("Sin"),
    "tanh": _plain("Tanh"),
    "floor": _plain("Floor"),
    "logistic": _plain("Sigmoid"),
    "gt": _plain("Greater"),
    "lt": _plain("Less"),
    "lt_to": _plain("Less"),
    "ge": _plain("GreaterOrEqual"),
    "le": _plain("LessOrEqual"),
    "eq": _plain("Equal"),
    "ne": lambda g, names, dtype, parameters: g.node("Not", [g.node("Equal", names)]),
    "and": _plain("And"),
    "or": _plain("Or"),
    "not": _plain("Not"),
    "square": lambda g, names, dtype, parameters: g.node("Mul", [names[0], names[0]]),
    "select_n": _select,
    "integer_pow": _power,
    "cosh": _hyperbolic("Add"),
    "sinh": _hyperbolic("Sub"),
    "asinh": _asinh,
    "log1p": _log1p,
    "cos": _cos,
    "is_finite": _is_finite,
    "convert_element_type": _cast,
}
