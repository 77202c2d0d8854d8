"""The files of a UFO folder as lists of objects: the syntax tree is read, nothing is run.

A file is a list of lines NAME = Kind(key = value, …). Texts, numbers, sums and products of them, lists, dicts
and names of other objects are understood, and NAME = other.anti(). What else a file does is passed over, and
a value that is something else counts as absent.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from deepmem.physics.errors import ModelError


class Name(str):
    """The name of an object that a file refers to."""


@dataclass(frozen=True)
class Object:
    """A line NAME = Kind(key = value, …); `kind` is "anti" for an antiparticle, "of" the particle."""

    variable: str
    kind: str
    values: Mapping[str, Any]
    place: str
    """The file and the line."""

    def _wrong(self, key: str, wanted: str) -> NoReturn:
        what = (
            f"has {key!r} = {self.values[key]!r}"
            if key in self.values
            else f"has no {key!r} that can be read"
        )
        raise ModelError(f"{self.place}: {self.kind} {self.variable!r} {what}; expected is {wanted}")

    def text(self, key: str) -> str:
        """A text, or the name of another object."""
        value = self.values.get(key)
        return value if isinstance(value, str) else self._wrong(key, "a text")

    def number(self, key: str, default: float | None = None) -> float:
        """A real number."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._wrong(key, "a number")
        return value

    def whole(self, key: str, default: int | None = None) -> int:
        """An integer."""
        value = self.number(key, default)
        return int(value) if value == int(value) else self._wrong(key, "an integer")

    def expression(self, key: str) -> str:
        """A text or a number, as a text."""
        value = self.values.get(key)
        return str(value) if isinstance(value, str | int | float) else self._wrong(key, "an expression")

    def names(self, key: str) -> Sequence[str]:
        """A list of texts or of names."""
        value = self.values.get(key)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            self._wrong(key, "a list of names")
        return value

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of integers."""
        value = self.values.get(key)
        if not isinstance(value, list) or not all(isinstance(each, int) for each in value):
            self._wrong(key, "a list of integers")
        return tuple(value)

    def table(self, key: str) -> Mapping[Any, Any]:
        """A dict."""
        value = self.values.get(key)
        return value if isinstance(value, dict) else self._wrong(key, "a dict")

    def flagged(self, *keys: str) -> bool:
        """Whether one of the keys, in any case, is true."""
        return any(bool(value) for key, value in self.values.items() if key.casefold() in keys)


def objects_of(path: Path) -> Iterator[Object]:
    """The objects that a file makes, in order; an antiparticle is an `Object` of kind "anti"."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        module = ast.parse(text.replace("\t", "        "))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ModelError(f"{path}{line} is no Python that can be parsed; convert it to Python 3") from None
    except OSError as error:
        raise ModelError(f"can't read {path}: {error.strerror or error}") from None
    for statement in module.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=variable)], value=ast.Call(func=function) as call):
                place = f"{path}, line {statement.lineno}"
                match function:
                    case ast.Attribute(value=ast.Name(id=of), attr="anti"):
                        yield Object(variable, "anti", {"of": of}, place)
                    case ast.Name(id=kind) | ast.Attribute(attr=kind):
                        values = {word.arg: _literal(word.value) for word in call.keywords if word.arg}
                        known = {key: value for key, value in values.items() if value is not _UNKNOWN}
                        yield Object(variable, kind, known, place)


_UNKNOWN = object()


def _literal(node: ast.expr) -> Any:
    """A text, a number, a list, a dict, a name, or sums and quotients of numbers; else `_UNKNOWN`."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return Name(name)
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            inner = [_literal(part) for part in parts]
            return _UNKNOWN if any(part is _UNKNOWN for part in inner) else inner
        case ast.Dict(keys=keys, values=values):
            pairs = [(_literal(k), _literal(v)) for k, v in zip(keys, values, strict=True) if k is not None]
            if any(part is _UNKNOWN for pair in pairs for part in pair):
                return _UNKNOWN
            return {tuple(key) if isinstance(key, list) else key: value for key, value in pairs}
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = _literal(operand)
            return -value if isinstance(value, int | float) else _UNKNOWN
        case ast.BinOp(left=left, op=operation, right=right):
            return _folded(_literal(left), operation, _literal(right))
    return _UNKNOWN


def _folded(a: Any, operation: ast.operator, b: Any) -> Any:
    if isinstance(a, str) and isinstance(b, str) and isinstance(operation, ast.Add):
        return a + b
    if not (isinstance(a, int | float) and isinstance(b, int | float)):
        return _UNKNOWN
    match operation:
        case ast.Add():
            return a + b
        case ast.Sub():
            return a - b
        case ast.Mult():
            return a * b
        case ast.Div() if b:
            return a / b
        case ast.Pow() if abs(b) < 100 and (a or b > 0):
            return float(a) ** b
    return _UNKNOWN
