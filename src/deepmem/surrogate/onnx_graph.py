"""From a function in JAX to a graph in ONNX: one node for each primitive of its jaxpr.

The first axis of the function's arguments is of any length. What depends on no argument is computed here and
becomes a constant.

A value that is the same along an axis is kept thin, of length 1 there: operations element by element stretch
it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.extend import core

from deepmem.errors import DeepMEMError
from deepmem.surrogate.onnx_elementwise import ELEMENTWISE, element, end, known

OPSET = 17
"""Of ONNX 1.12 (2022): what the experiments' frameworks have runtimes for."""
_UNROLLED = 64  # turns of a loop, at most


@dataclass(frozen=True)
class _Value:
    """A constant, or the name of a tensor; the shape that it has in JAX."""

    shape: tuple[Any, ...]
    dtype: np.dtype
    name: str | None = None
    constant: np.ndarray | None = None
    thin: bool = False
    """Whether some axes have length 1 where the shape has more."""

    @property
    def whole(self) -> np.ndarray:
        """A constant in its shape."""
        assert self.constant is not None
        return np.broadcast_to(self.constant, self.shape)


def graph(
    function: Callable[..., dict[str, jax.Array]],
    inputs: dict[str, tuple[int, Any]],
    meta: dict[str, str],
) -> Any:
    """The ONNX model of a function of arrays `[n, width]`, n of any length.

    **Arguments:** `function`, keyword arguments ↦ arrays by name; `inputs`, name → width and type; `meta`,
    texts that the model carries.

    **Returns** an `onnx.ModelProto`.

    **Raises** `DeepMEMError` for an operation that has no translation.
    """
    import onnx

    (n,) = export.symbolic_shape("n")
    arguments = {name: jax.ShapeDtypeStruct((n, width), dtype) for name, (width, dtype) in inputs.items()}
    names: list[str] = []

    def flat(*arrays: jax.Array) -> list[jax.Array]:
        by_name = dict(zip(arguments, arrays, strict=True))
        found = function(**by_name)
        names[:] = found
        return list(found.values())

    traced: Any = jax.make_jaxpr(flat)(*arguments.values())
    made = _Graph(sized=next(iter(inputs)))
    given = [_Value(a.shape, np.dtype(a.dtype), name=name) for name, a in arguments.items()]
    results = made.evaluate(traced.jaxpr, traced.consts, given)
    for name, result in zip(names, results, strict=True):
        made.nodes.append(onnx.helper.make_node("Identity", [made.full(result)], [name]))
    to_info = onnx.helper.make_tensor_value_info
    whole = onnx.helper.make_graph(
        made.nodes,
        "deepmem",
        [to_info(name, element(a.dtype), ["n", *a.shape[1:]]) for name, a in arguments.items()],
        [
            to_info(name, element(r.dtype), ["n", *r.shape[1:]])
            for name, r in zip(names, results, strict=True)
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in made.constants.items()],
    )
    model = onnx.helper.make_model(
        whole, opset_imports=[onnx.helper.make_opsetid("", OPSET)], producer_name="deepmem", ir_version=8
    )
    onnx.helper.set_model_props(model, meta)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """The nodes and constants made so far."""

    def __init__(self, sized: str):
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self._sized = sized  # an input whose first axis has the length n
        self._made: dict[Any, str] = {}

    def evaluate(self, jaxpr: Any, consts: Sequence[Any], given: Sequence[_Value]) -> list[_Value]:
        """The results of a jaxpr for such arguments."""
        known: dict[Any, _Value] = {}

        def read(variable: Any) -> _Value:
            return _constant(variable.val) if isinstance(variable, core.Literal) else known[variable]

        for variables, values in ((jaxpr.constvars, [_constant(c) for c in consts]), (jaxpr.invars, given)):
            known.update(zip(variables, values, strict=True))
        for equation in jaxpr.eqns:
            results = self._equation(equation, [read(variable) for variable in equation.invars])
            known.update(zip(equation.outvars, results, strict=True))
        return [read(variable) for variable in jaxpr.outvars]

    def _equation(self, equation: Any, values: list[_Value]) -> list[_Value]:
        name, parameters = equation.primitive.name, equation.params
        inner = next(
            (parameters[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in parameters), None
        )
        if name == "scan":
            return self._unrolled(parameters, values)
        if inner is not None:
            closed = hasattr(inner, "consts")
            return self.evaluate(inner.jaxpr if closed else inner, inner.consts if closed else (), values)
        shapes = [variable.aval for variable in equation.outvars]
        if all(v.constant is not None for v in values) and all(_is_static(s.shape) for s in shapes):
            with jax.ensure_compile_time_eval():
                arrays = [jnp.asarray(v.whole) for v in values]
                found = equation.primitive.bind(*arrays, **parameters)
            return [_constant(each) for each in (found if equation.primitive.multiple_results else [found])]
        if name in _SAME:
            return [values[0]]
        if name in ELEMENTWISE:
            return [self._elementwise(ELEMENTWISE[name], values, parameters, shapes[0])]
        translate = getattr(self, f"_{name}", None)
        if translate is None:
            raise DeepMEMError(f"the model can't be exported: ONNX has no translation of {name!r} here")
        return [translate(values, parameters, shapes[0])]

    def _unrolled(self, parameters: dict[str, Any], values: list[_Value]) -> list[_Value]:
        """A loop of fixed length without arrays that it reads or writes in turn."""
        length, consts, carry = parameters["length"], parameters["num_consts"], parameters["num_carry"]
        body = parameters["jaxpr"]
        if length > _UNROLLED or len(values) > consts + carry or len(body.jaxpr.outvars) > carry:
            raise DeepMEMError("the model can't be exported: a loop over an array has no translation here")
        fixed, state = values[:consts], values[consts:]
        for _ in range(length):
            state = self.evaluate(body.jaxpr, body.consts, [*fixed, *state])
        return state

    def node(self, operation: str, inputs: Sequence[str], **attributes: Any) -> str:
        """The name of a node's result; a node like one that is there is that one."""
        import onnx

        key = operation, *inputs, str(sorted(attributes.items()))
        if key not in self._made:
            self._made[key] = name = f"{operation}_{len(self._made)}"
            self.nodes.append(onnx.helper.make_node(operation, list(inputs), [name], **attributes))
        return self._made[key]

    def constant(self, array: Any) -> str:
        """The name of a constant."""
        values = np.array(array, order="C")
        values = values.astype(known(values.dtype))
        key = values.shape, str(values.dtype), values.tobytes()
        if key not in self._made:
            self._made[key] = name = f"constant_{len(self._made)}"
            self.constants[name] = values
        return self._made[key]

    def named(self, value: _Value) -> str:
        """The tensor of a value, thin where it is."""
        if value.name is not None:
            return value.name
        assert value.constant is not None
        return self.constant(value.constant)

    def full(self, value: _Value) -> str:
        """The tensor of a value, of its shape."""
        name = self.named(value)
        return self.node("Expand", [name, self._sizes(value.shape)]) if value.thin else name

    def _sizes(self, shape: tuple[Any, ...]) -> str:
        """A shape as a tensor: n is read from the input."""
        if _is_static(shape):
            return self.constant(np.array(shape, dtype=np.int64))
        n = self.node("Gather", [self.node("Shape", [self._sized]), self.constant(np.array([0]))])
        parts = [self.constant(np.array([size])) if _is_static((size,)) else n for size in shape]
        return self.node("Concat", parts, axis=0) if len(parts) > 1 else parts[0]

    def _elementwise(
        self, make: Callable[..., str], values: list[_Value], parameters: dict[str, Any], out: Any
    ) -> _Value:
        thin = all(v.thin or (v.shape == () and out.shape != ()) for v in values)
        name = make(self, [self.named(v) for v in values], values[-1].dtype, parameters)
        return _Value(out.shape, np.dtype(out.dtype), name, thin=thin)

    # Shapes

    def _broadcast_in_dim(self, values: list[_Value], parameters: dict[str, Any], out: Any) -> _Value:
        (value, *_), places = values, parameters["broadcast_dimensions"]
        missing = [axis for axis in range(len(out.shape)) if axis not in places]
        if value.constant is not None:
            array = np.expand_dims(value.constant, missing) if missing else value.constant
            return _Value(out.shape, value.dtype, constant=array, thin=array.shape != out.shape)
        name = self.named(value)
        if missing:
            name = self.node("Unsqueeze", [name, self.constant(np.array(missing))])
        grown = any(str(value.shape[i]) != str(out.shape[axis]) for i, axis in enumerate(places))
        wide = any(str(out.shape[axis]) != "1" for axis in missing)
        return _Value(out.shape, value.dtype, name, thin=value.thin or grown or wide)

    def _reshape(self, values: list[_Value], parameters: dict[str, Any], out: Any) -> _Value:
        return _Value(
            out.shape, values[0].dtype, self.node("Reshape", [self.full(values[0]), self._sizes(out.shape)])
        )

    def _squeeze(self, values: list[_Value], parameters: dict[str, Any], out: Any) -> _Value:
        axes = self.constant(np.array(parameters["dimensions"]))
        return _Value(
            out.shape,
            values[0].dtype,
            self.node("Squeeze", [self.named(values[0]), axes]),
            thin=values[0].thin,
        )

    def _transpose(self, values: list[_Value], parameters: dict[str, Any], out: Any) -> _Value:
        name = self.node("Transpose", [self.named(values[0])], perm=list(parameters["permutation"]))
        return _Value(out.shape, values[0].dtype, name, thin=values[0].thin)

    def _concatenate(self, values: list[_Value], parameters: dict[str, Any], out: Any) -> _Value:
        axis = parameters["dimension"]
        parts = [self.full(v) for v in values if str(v.shape[axis]) != "0"]
        return _Value(out.shape, np.dtype(out.dtype), self.node("Concat", parts, axis=axis))

    def _stack(self, values: list[_Value], parameters: dict[str, Any], out: Any) -> _Value:
        axes = self.constant(np.array([parameters["axis"]]))
        parts = [self.node("Unsqueeze", [self.full(v), axes]) for v in values]
        return _Value(out.shape, np.dtype(out.dtype), self.node("Concat", parts, axis=parameters["axis"]))

    def _slice(self, values: list[_Value], parameters: dict[str, Any], out: Any) -> _Value:
        (value,) = values
        steps = parameters["strides"] or [1] * len(value.shape)
        limits = zip(
            parameters["start_indices"], parameters["limit_indices"], value.shape, steps, strict=True
        )
        cut = [
            (axis, a, b, s)
            for axis, (a, b, size, s) in enumerate(limits)
            if (str(a), str(b)) != ("0", str(size))
        ]
        if not cut:
            return value
        axes, first, last, step = (
            self.constant(np.array(each, dtype=np.int64)) for each in zip(*cut, strict=True)
        )
        return _Value(out.shape, value.dtype, self.node("Slice", [self.full(value), first, last, axes, step]))

    def _gather(self, values: list[_Value], parameters: dict[str, Any], out: Any) -> _Value:
        """Whole slices along one axis, which the indices count."""
        array, indices = values
        numbers = parameters["dimension_numbers"]
        axes = numbers.start_index_map
        sizes = parameters["slice_sizes"]
        whole = all(
            str(a) == str(b) for i, (a, b) in enumerate(zip(sizes, array.shape, strict=True)) if i not in axes
        )
        of_one = len(axes) == 1 and sizes[axes[0]] == 1 and numbers.collapsed_slice_dims in (axes, ())
        if not (of_one and whole and str(indices.shape[-1]) == "1"):
            raise DeepMEMError("the model can't be exported: this way of indexing has no translation here")
        name = self.node(
            "Gather", [self.full(array), self._within(indices, array.shape[axes[0]])], axis=axes[0]
        )
        if not numbers.collapsed_slice_dims:
            name = self.node("Reshape", [name, self._sizes(out.shape)])
        return _Value(out.shape, array.dtype, name)

    def _within(self, indices: _Value, size: int) -> str:
        """Indices without their last axis; as JAX does, one beyond the end takes the last element."""
        if indices.constant is not None:
            chosen = indices.whole[..., 0]
            return self.constant(np.clip(chosen, 0, size - 1).astype(np.int64))
        last = self.constant(np.array([len(indices.shape) - 1]))
        whole = self.node(
            "Cast", [self.node("Squeeze", [self.full(indices), last])], to=element(np.dtype(np.int64))
        )
        return self.node(
            "Max", [self.node("Min", [whole, self.constant(np.array(size - 1))]), self.constant(np.array(0))]
        )

    def _reduced(self, operation: str, value: _Value, axes: Sequence[int], out: Any, empty: Any) -> _Value:
        """Over an axis without elements it is `empty`: what runtimes say there differs."""
        if any(str(value.shape[axis]) == "0" for axis in axes):
            array = np.full((1,) * len(out.shape), empty, dtype=value.dtype)
            return _Value(out.shape, value.dtype, constant=array, thin=True)
        if operation == "ReduceSum":
            name = self.node(operation, [self.full(value), self.constant(np.array(axes))], keepdims=0)
        else:
            name = self.node(operation, [self.full(value)], axes=list(axes), keepdims=0)
        return _Value(out.shape, value.dtype, name)

    def _reduce_sum(self, values: list[_Value], parameters: dict[str, Any], out: Any) -> _Value:
        return self._reduced("ReduceSum", values[0], parameters["axes"], out, 0)

    def _reduce_min(self, values: list[_Value], parameters: dict[str, Any], out: Any) -> _Value:
        return self._reduced("ReduceMin", values[0], parameters["axes"], out, end(values[0].dtype, 1))

    def _reduce_max(self, values: list[_Value], parameters: dict[str, Any], out: Any) -> _Value:
        return self._reduced("ReduceMax", values[0], parameters["axes"], out, end(values[0].dtype, -1))

    def _reduce_and(self, values: list[_Value], parameters: dict[str, Any], out: Any) -> _Value:
        return self._reduced_truth("ReduceMin", values[0], parameters, out, 1)

    def _reduce_or(self, values: list[_Value], parameters: dict[str, Any], out: Any) -> _Value:
        return self._reduced_truth("ReduceMax", values[0], parameters, out, 0)

    def _reduced_truth(
        self, operation: str, value: _Value, parameters: dict[str, Any], out: Any, empty: int
    ) -> _Value:
        number = self.node("Cast", [self.full(value)], to=element(np.dtype(np.int32)))
        as_number = _Value(value.shape, np.dtype(np.int32), number)
        reduced = self._reduced(operation, as_number, parameters["axes"], out, empty)
        truth = self.node("Cast", [self.named(reduced)], to=element(np.dtype(bool)))
        return _Value(out.shape, np.dtype(bool), truth, thin=reduced.thin)

    def _dot_general(self, values: list[_Value], parameters: dict[str, Any], out: Any) -> _Value:
        """Σ over one axis of each; axes that both keep come first."""
        (of_left, of_right), (left_kept, right_kept) = parameters["dimension_numbers"]
        if len(of_left) != 1:
            raise DeepMEMError(
                "the model can't be exported: a product over several axes has no translation here"
            )
        left, right = values
        rows = [axis for axis in range(len(left.shape)) if axis not in (*of_left, *left_kept)]
        columns = [axis for axis in range(len(right.shape)) if axis not in (*of_right, *right_kept)]
        kept = tuple(left.shape[axis] for axis in left_kept)
        first = self._matrix(left, (*left_kept, *rows, *of_left), kept, rows, last=True)
        second = self._matrix(right, (*right_kept, *of_right, *columns), kept, columns, last=False)
        product = self.node("MatMul", [first, second])
        if (len(rows), len(columns)) != (1, 1):
            product = self.node("Reshape", [product, self._sizes(out.shape)])
        return _Value(out.shape, np.dtype(out.dtype), product)

    def _matrix(
        self, value: _Value, order: tuple[int, ...], kept: tuple[Any, ...], free: list[int], last: bool
    ) -> str:
        """A tensor whose last two axes are a matrix's, the summed one last or first."""
        if value.constant is not None and not value.thin:
            turned = value.constant.transpose(order)
            summed = turned.shape[-1] if last else turned.shape[len(kept)]
            shape = (*turned.shape[: len(kept)], *((-1, summed) if last else (summed, -1)))
            return self.constant(turned.reshape(shape))
        name = self.full(value)
        if order != tuple(range(len(order))):
            name = self.node("Transpose", [name], perm=list(order))
        if len(free) == 1:
            return name
        summed = value.shape[order[-1] if last else order[len(kept)]]
        ends = (-1, summed) if last else (summed, -1)
        return self.node("Reshape", [name, self._sizes((*kept, *ends))])


def _is_static(shape: Sequence[Any]) -> bool:
    return all(isinstance(size, int | np.integer) for size in shape)


def _constant(value: Any) -> _Value:
    array = np.asarray(value)
    return _Value(array.shape, array.dtype, constant=array)


_SAME = ("stop_gradient", "copy", "copy_p", "optimization_barrier")
