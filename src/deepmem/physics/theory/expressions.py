"""The expressions of a model, evaluated without running one: Python's syntax, and a list of what is allowed.

UFO writes parameters and couplings as Python, `cmath.sqrt(MZ**2/2. + …)`. Such a text is parsed into a tree,
and the tree is walked: numbers, names of parameters, + − × ÷ **, comparisons, `a if c else b` and the
functions of `FUNCTIONS`; anything else is refused by its name. Everything is complex, in NumPy (of any
precision) or in JAX, where the result can be differentiated in the values.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from deepmem.errors import nearest
from deepmem.physics.errors import ModelError, unknown_name
from deepmem.physics.theory.model import Coupling, Model

Value: TypeAlias = Any
"""A complex scalar or array of NumPy or JAX."""


def _reciprocal(name: str) -> Callable[[ModuleType, Value], Value]:
    return lambda xp, z: 1 / getattr(xp, name)(z)


def _of_reciprocal(name: str) -> Callable[[ModuleType, Value], Value]:
    return lambda xp, z: getattr(xp, name)(1 / z)


def _plain(name: str) -> Callable[[ModuleType, Value], Value]:
    return lambda xp, z: getattr(xp, name)(z)


def _above(xp: ModuleType, z: Value, cut: Value) -> Value:
    """z, and where it lies on a cut of the real axis, its upper side: where Python puts real numbers."""
    return xp.real(z) + 1j * xp.where(cut & (xp.imag(z) == 0), 0.0, xp.imag(z))


def _cut_below_zero(name: str) -> Callable[[ModuleType, Value], Value]:
    return lambda xp, z: getattr(xp, name)(_above(xp, z, xp.real(z) < 0))


def _cut_outside(name: str) -> Callable[[ModuleType, Value], Value]:
    return lambda xp, z: getattr(xp, name)(_above(xp, z, (xp.real(z) < -1) | (xp.real(z) > 1)))


def _step(xp: ModuleType, z: Value) -> Value:
    return xp.where(xp.real(z) > 0, 1.0, 0.0)


def _regular_log(xp: ModuleType, z: Value) -> Value:
    """log z, and 0 at z = 0."""
    return xp.where(z == 0, 0.0, xp.log(xp.where(z == 0, 1.0, z)))


FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    **{name: _cut_below_zero(name) for name in ("sqrt", "log", "log10")},
    **{name: _plain(name) for name in ("exp", "sin", "cos", "tan", "sinh", "cosh", "tanh", "abs")},
    **{name: _cut_outside(f"arc{name[1:]}") for name in ("asin", "acos", "acosh", "atanh")},
    **{name: _plain(f"arc{name[1:]}") for name in ("atan", "asinh")},
    **{new: _reciprocal(old) for new, old in (("sec", "cos"), ("csc", "sin"), ("cot", "tan"))},
    **{
        f"a{new}": _of_reciprocal(f"arc{old}")
        for new, old in (("sec", "cos"), ("csc", "sin"), ("cot", "tan"))
    },
    "complexconjugate": _plain("conj"),
    "re": _plain("real"),
    "im": _plain("imag"),
    "arg": _cut_below_zero("angle"),
    "phase": _cut_below_zero("angle"),
    "theta_function": _step,
    "reglog": _regular_log,
    "complex": lambda xp, a, b=0.0: a + 1j * b,
    "float": lambda xp, a: a,
    "pow": lambda xp, a, b: _above(xp, a, xp.real(a) < 0) ** b,
    "min": lambda xp, a, b: xp.where(xp.real(a) < xp.real(b), a, b),
    "max": lambda xp, a, b: xp.where(xp.real(a) > xp.real(b), a, b),
    "cond": lambda xp, c, a, b: xp.where(c == 0, a, b),
}
"""What an expression may call, also as `cmath.NAME` and `math.NAME`; `cond` as UFO's loops mean it."""

_BINARY = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_COMPARED = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_MODULES = ("cmath", "math")
_ATTRIBUTES = {"real": "re", "imag": "im", "conjugate": "complexconjugate"}


@lru_cache(maxsize=1 << 14)
def tree(expression: str, where: str = "an expression") -> ast.expr:
    """The syntax tree of an expression; `where` is what an error calls it.

    **Raises** `ModelError` where it is no expression of Python.
    """
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except (RecursionError, MemoryError):
        raise ModelError(f"{where} is nested too deeply to be evaluated") from None
    except (SyntaxError, ValueError):
        shown = expression if len(expression) < 80 else f"{expression[:77]}…"
        raise ModelError(f"{where} is {shown!r}, which is no expression in Python's syntax") from None


def names(node: ast.AST) -> set[str]:
    """The names of parameters in a tree: functions and modules are none."""
    called = {id(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}
    return {
        part.id
        for part in ast.walk(node)
        if isinstance(part, ast.Name) and id(part) not in called and part.id not in _MODULES
    }


class Walk(NamedTuple):
    """One evaluation of a tree."""

    known: Mapping[str, Value]
    xp: ModuleType
    dtype: np.dtype
    where: str

    def refused(self, what: str) -> ModelError:
        return ModelError(f"{self.where} has {what}, which is not allowed in an expression of a model")

    def of(self, expression: str) -> Value:
        """What an expression is worth."""
        try:
            return self.value(tree(expression, self.where))
        except RecursionError:
            raise ModelError(f"{self.where} is nested too deeply to be evaluated") from None
        except OverflowError:
            raise self.refused("a number that is too large") from None

    def value(self, node: ast.expr) -> Value:
        """What a node is worth."""
        match node:
            case ast.Constant(value=bool() | int() | float() | complex() as number):
                return self.xp.asarray(number, dtype=self.dtype)
            case ast.Call(
                func=ast.Name(id="complex"),
                args=[ast.Constant(value=int() | float() as a), ast.Constant(value=int() | float() as b)],
            ):
                return self.xp.asarray(complex(a, b), dtype=self.dtype)
            case ast.Name(id=name):
                if name not in self.known:
                    raise ModelError(
                        f"{self.where} needs {name!r}{nearest(name, self.known)}, which is no parameter "
                        "that comes before it"
                    )
                return self.known[name]
            case ast.BinOp(op=ast.Pow(), left=base, right=exponent):
                return self._power(self.value(base), exponent)
            case ast.BinOp(op=kind, left=left, right=right) if type(kind) in _BINARY:
                return _BINARY[type(kind)](self.value(left), self.value(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.value(operand)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.value(operand)
            case ast.IfExp(test=test, body=body, orelse=other):
                return self.xp.where(self._truth(test), self.value(body), self.value(other))
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in _MODULES:
                return self._constant(name)
            case ast.Attribute(value=inner, attr=name) if name in ("real", "imag"):
                return self._called(_ATTRIBUTES[name], [inner])
            case ast.Call(func=function, args=arguments, keywords=[]):
                return self._called(*self._function(function, arguments))
        raise self.refused(f"{ast.unparse(node)!r}")

    def _constant(self, name: str) -> Value:
        one = self.xp.asarray(1.0, dtype=self.dtype)
        if name == "pi":
            return 4 * self.xp.arctan(one)
        if name == "e":
            return self.xp.exp(one)
        raise self.refused(f"'cmath.{name}'")

    def _function(self, function: ast.expr, arguments: list[ast.expr]) -> tuple[str, list[ast.expr]]:
        match function:
            case ast.Name(id=name):
                return name, arguments
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in _MODULES:
                return name, arguments
            case ast.Attribute(value=inner, attr="conjugate") if not arguments:
                return "complexconjugate", [inner]
        raise self.refused(f"a call of {ast.unparse(function)!r}")

    def _called(self, name: str, arguments: list[ast.expr]) -> Value:
        if name not in FUNCTIONS:
            raise self.refused(f"the function {name!r}{nearest(name, FUNCTIONS)}")
        try:
            result = FUNCTIONS[name](self.xp, *map(self.value, arguments))
        except TypeError:
            raise self.refused(f"{name!r} of {len(arguments)} arguments") from None
        return result.astype(self.dtype)

    def _power(self, base: Value, exponent: ast.expr) -> Value:
        """A whole exponent multiplies, so that what is real stays so to the last digit."""
        number = _number(exponent)
        if number is None or number != int(number) or abs(number) > 64:
            return _above(self.xp, base, self.xp.real(base) < 0) ** self.value(exponent)
        power = abs(int(number))
        result = self.xp.ones_like(base)
        while power:
            if power & 1:
                result = result * base
            base, power = base * base, power >> 1
        return 1 / result if number < 0 else result

    def _truth(self, node: ast.expr) -> Value:
        """A condition: comparisons (of real parts, as complex numbers have no order), `and`, `or`, `not`."""
        match node:
            case ast.Compare(left=left, ops=[kind], comparators=[right]) if type(kind) in _COMPARED:
                a, b = self.value(left), self.value(right)
                if isinstance(kind, ast.Eq | ast.NotEq):
                    return _COMPARED[type(kind)](a, b)
                return _COMPARED[type(kind)](self.xp.real(a), self.xp.real(b))
            case ast.BoolOp(op=kind, values=parts):
                combine = self.xp.logical_and if isinstance(kind, ast.And) else self.xp.logical_or
                result = self._truth(parts[0])
                for part in parts[1:]:
                    result = combine(result, self._truth(part))
                return result
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.xp.logical_not(self._truth(operand))
        return self.value(node) != 0


def _number(node: ast.expr) -> float | None:
    """A real number that stands in the text, or None."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
    return None


class Values(NamedTuple):
    """The numbers of a model at some values of its parameters."""

    parameters: dict[str, Value]
    """Complex, but masses and widths, which are real."""
    couplings: dict[str, Value]
    """Complex."""


def evaluate(
    model: Model,
    values: Mapping[str, Value] | None = None,
    couplings: Iterable[str] | None = None,
    xp: ModuleType = np,
) -> Values:
    """All parameters of a model and its couplings, or those of them that are named.

    **Arguments:** `values`: numbers or arrays `[...]` by parameter; external parameters that are left out
    have their defaults, and an internal one that is given is not computed. `couplings`: their names; only
    what they, the masses and the widths need is evaluated. `xp`: `numpy` or `jax.numpy`.

    **Raises** `UnknownNameError` for a parameter that the model does not have; `ModelError` for one without
    a value, and for an expression that names what is not there or that is not allowed.
    """
    given = {} if values is None else dict(values)
    by_name = {parameter.name: parameter for parameter in model.parameters}
    for name in given:
        if name not in by_name:
            raise unknown_name(f"parameter of model {model.name!r}", name, by_name)
    kinds = [xp.asarray(value).dtype for value in given.values()] or [xp.asarray(1.0).dtype]
    dtype = np.result_type(*kinds, np.complex64)
    chosen = {c.name: c for c in model.couplings}
    if couplings is not None:
        chosen = {name: chosen[name] for name in couplings}
    real = {name for particle in model.particles for name in (particle.mass, particle.width)}
    wanted = None if couplings is None else needed(model, [c.expression for c in chosen.values()], real)

    with np.errstate(all="ignore"):
        known, strengths = _evaluated(model, given, Choice(chosen, wanted), xp, dtype)
    shown = {name: xp.real(value) if name in real else value for name, value in known.items()}
    return Values(shown, strengths)


def complex_parameters(model: Model, values: Mapping[str, float]) -> dict[str, complex]:
    """All parameters as their expressions have them, masses and widths with their imaginary parts, too."""
    with np.errstate(all="ignore"):
        known, _ = _evaluated(model, values, Choice({}, None), np, np.dtype(complex))
    return {name: complex(value) for name, value in known.items()}


class Choice(NamedTuple):
    """What is evaluated: couplings by name, and the parameters that they need (None: all)."""

    couplings: Mapping[str, Coupling]
    needed: set[str] | None


def _evaluated(
    model: Model, given: Mapping[str, Value], choice: Choice, xp: ModuleType, dtype: np.dtype
) -> tuple[dict[str, Value], dict[str, Value]]:
    """Parameters and couplings, all of them complex."""
    known: dict[str, Value] = {"ZERO": xp.asarray(0, dtype=dtype)}
    for parameter in model.parameters:
        name = parameter.name
        where = f"parameter {name!r} of model {model.name!r}"
        if choice.needed is not None and name not in choice.needed:
            continue
        if name in given:
            known[name] = xp.asarray(given[name]).astype(dtype)
        elif parameter.expression is not None:
            known[name] = Walk(known, xp, dtype, where).of(parameter.expression)
        elif parameter.value is not None:
            known[name] = xp.asarray(parameter.value, dtype=dtype)
        else:
            raise ModelError(f"{where} has no value: set it, or give a parameter card that has it")
    strengths = {}
    for name, coupling in choice.couplings.items():
        where = f"coupling {name!r} of model {model.name!r}"
        strengths[name] = Walk(known, xp, dtype, where).of(coupling.expression)
    return known, strengths


@lru_cache(maxsize=1 << 14)
def _names_in(expression: str) -> frozenset[str]:
    return frozenset(names(tree(expression)))


def needed(model: Model, expressions: Iterable[str], more: Iterable[str]) -> set[str]:
    """The parameters that expressions stand on, directly or through others."""
    of = {p.name: p.expression for p in model.parameters}
    found = set(more)
    stack = [name for expression in expressions for name in _names_in(expression)] + list(found)
    while stack:
        name = stack.pop()
        found.add(name)
        expression = of.get(name)
        inner = _names_in(expression) if expression else frozenset()
        stack += [each for each in inner if each not in found]
    return found
