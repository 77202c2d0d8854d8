"""Expressions over fields, `pt * (1 + shift)` or `sqrt(px**2 + py**2)`: arithmetic, comparisons and some
functions. What is not on the list is refused; nothing is ever run as Python."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepmem.errors import UsageError

_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow, ast.Mod: operator.mod, ast.USub: operator.neg, ast.UAdd: operator.pos,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
    ast.BitAnd: np.logical_and, ast.BitOr: np.logical_or, ast.Invert: np.logical_not,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs, "sqrt": np.sqrt, "exp": np.exp, "log": np.log, "log10": np.log10, "sign": np.sign,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "arctan": np.arctan, "arctan2": np.arctan2, "arcsinh": np.arcsinh, "hypot": np.hypot,
    "minimum": np.minimum, "maximum": np.maximum, "where": np.where,
}  # fmt: skip


def _arguments(function: str) -> int | None:
    """How many arguments a function has; None where it is not known."""
    return getattr(_FUNCTIONS[function], "nin", 3) if function in _FUNCTIONS else None


def _joins(node: ast.expr) -> bool:
    """Whether it is of & or |, and so no number to compare."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr)


@dataclass(frozen=True)
class Expression:
    """A text, and the fields that are named in it. **Raises** `UsageError` where it has anything else."""

    text: str

    def __post_init__(self) -> None:
        self._value(None)

    @property
    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise UsageError(f"{self.text!r} is neither a field nor an expression over fields") from None

    @property
    def names(self) -> tuple[str, ...]:
        """The fields, each once."""
        found: list[str] = []
        self._value(found.append)
        return tuple(dict.fromkeys(found))

    def __call__(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Its value, of values of all its `names`."""
        return np.asarray(self._value(values.__getitem__), dtype=np.float64)

    def _value(self, of: Callable[[str], Any] | None) -> Any:
        with np.errstate(all="ignore"):
            return self._walk(self._tree, of)

    def _walk(self, node: ast.expr, of: Callable[[str], Any] | None) -> Any:
        """The value of a node; with `of` None or one that gives nothing, only what is in it is looked at."""

        def call(function: Callable[..., Any], *parts: ast.expr) -> Any:
            values = [self._walk(part, of) for part in parts]
            return None if any(value is None for value in values) else function(*values)

        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return np.float64(value)
            case ast.Name() | ast.Attribute():
                return None if of is None else of(self._dotted(node))
            case ast.UnaryOp(op=op, operand=one) if type(op) in _OPERATORS:
                return call(_OPERATORS[type(op)], one)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return call(_OPERATORS[type(op)], left, right)
            case ast.Compare(left=left, comparators=others) if any(map(_joins, (left, *others))):
                raise UsageError(
                    f"{self.text!r}: & and | come before < and >, so put each comparison in parentheses, "
                    "(pt > 20) & good"
                )
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
                return call(_OPERATORS[type(op)], left, right)
            case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if _arguments(name) == len(parts):
                return call(_FUNCTIONS[name], *parts)
        raise UsageError(
            f"{self.text!r} has {ast.unparse(node)!r}, which is not allowed in an expression: known are "
            f"+ - * / ** % < > == & | ~ and {', '.join(_FUNCTIONS)}"
        )

    def _dotted(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=owner, attr=name):
                return f"{self._dotted(owner)}.{name}"
        raise UsageError(f"{self.text!r}: {ast.unparse(node)!r} is no field")
