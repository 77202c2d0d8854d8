"""A program as a JAX function, in two stages that XLA keeps apart.

    parameters → masses and scalars;    momenta and these → one kernel: wave functions, sums, products.

A kernel compiles well where nothing else is fused into it: a conditional whose predicate XLA does not know is
the one barrier that it respects on CPU. Where a kernel's result had the type of its inputs, a check for
aliases would fail and its loop stay scalar; so it returns complex numbers. Helicities of looped legs are
scanned over: their wave functions are sums over states, with the coefficients of a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from deepmem.kinematics import FourVector
from deepmem.physics.amplitudes.external import InputKey, input_values
from deepmem.physics.amplitudes.program import Program
from deepmem.physics.amplitudes.waves import Arrays
from deepmem.physics.theory.expressions import Values, evaluate
from deepmem.physics.theory.model import Model

Momenta: TypeAlias = Float[Array, "*batch legs 4"] | tuple[FourVector, ...]
"""(E, p_x, p_y, p_z) of all legs: one array, or a tuple of each leg's components."""


class Scalars(NamedTuple):
    """What a kernel needs to know of parameters: a pytree."""

    masses: dict[str, Any]
    """Of the external legs, by name."""
    shared: tuple[Any, ...]
    """Nodes that depend on parameters alone and that others read."""


# Kernels of fewer operations are as fast within what surrounds them, and faster for what is not kept apart.
_APART = 1_500


class Stages:
    """Which node of a program belongs to which stage; both stages as functions.

    **Arguments:** `own_masses`: wave functions of massive legs have the mass of their momentum in place of
    the model's. `within`: the kernel is part of a larger function, so that a small one is not kept apart.
    """

    def __init__(self, program: Program, own_masses: bool = False, within: bool = False) -> None:
        self.program = program
        self._own_masses = own_masses
        self._apart = not within or bool(program.loop) or program.operations > _APART
        numbers = np.arange(len(program.kinds))
        of_parameters = program.parameter_nodes()
        is_input, is_number = program.kinds == 0, program.kinds == 1
        kernel = numbers[~of_parameters & ~is_input]
        binary = kernel[program.kinds[kernel] != 5]
        outputs = [node for node, _ in program.outputs if node >= 0]
        read = np.unique(np.concatenate([program.first[kernel], program.second[binary], outputs])).astype(int)
        self._scalars = numbers[of_parameters].tolist()
        self._shared = read[of_parameters[read] & ~is_number[read]].tolist()
        self._inputs = numbers[is_input & ~of_parameters].tolist()
        self._numbers = numbers[is_number].tolist()
        self._kernel = kernel.tolist()

    def scalars(
        self, model: Model, parameters: Mapping[str, Any] | None, xp: ModuleType, dtype: Any
    ) -> Scalars:
        """The first stage, in NumPy or in JAX."""
        program = self.program
        values = evaluate(model, parameters, program.reduction.couplings, xp)
        inputs = input_values(
            program.placed, program.reduction, np.zeros((len(program.legs), 4)), values, Arrays(xp)
        )
        known: dict[int, Any] = {
            i: inputs(program.inputs[program.first[i]]) for i in self._scalars if program.kinds[i] == 0
        }
        program.run(known, self._scalars)
        return Scalars(
            {leg.mass: xp.asarray(xp.real(values.parameters[leg.mass]), dtype) for leg in program.legs},
            tuple(xp.asarray(known[i], dtype) for i in self._shared),
        )

    def kernel(self, momenta: Momenta, scalars: Scalars) -> Float[Array, "*batch"]:
        """The second stage: the first |M|²."""
        return self.every(momenta, scalars)[0]

    def every(self, momenta: Momenta, scalars: Scalars) -> tuple[Float[Array, "*batch"], ...]:
        """The second stage."""
        first = _first_energy(momenta)
        batch, dtype = first.shape, first.dtype
        # Unknown to XLA, as the parameters are.
        always = jnp.isfinite((*scalars.masses.values(), *scalars.shared)[-1])

        def term(coefficients: Sequence[Any]) -> tuple[Array, ...]:
            if not self._apart:
                return self._pass(momenta, scalars, coefficients)
            found = lax.cond(
                always,
                lambda given: self._pass(*given),
                lambda given: (jnp.full(batch, jnp.nan, dtype) + 0j,) * len(self.program.outputs),
                (momenta, scalars, coefficients),
            )
            return tuple(each.real.astype(dtype) for each in found)

        if not self.program.loop:
            return term(())

        def add(totals: tuple[Array, ...], now: tuple[Array, list[Array]]) -> tuple[tuple[Array, ...], None]:
            weight, coefficients = now
            terms = term(coefficients)
            return tuple(t + weight * each for t, each in zip(totals, terms, strict=True)), None

        weights = jnp.asarray([weight for _, weight in self.program.combinations], dtype)
        none = (jnp.zeros(batch, dtype),) * len(self.program.outputs)
        return lax.scan(add, none, (weights, self._coefficients(dtype)))[0]

    def _coefficients(self, dtype: Any) -> list[Array]:
        """`[looped leg][combination, state]`: 1 for the state of the combination, else 0."""
        chosen = np.array([helicities for helicities, _ in self.program.combinations])
        return [
            jnp.asarray(np.eye(self.program.legs[leg].helicities)[chosen[:, k]], dtype)
            for k, leg in enumerate(self.program.loop)
        ]

    def _pass(self, momenta: Momenta, scalars: Scalars, coefficients: Sequence[Array]) -> tuple[Array, ...]:
        """One combination of the looped legs' helicities, as complex numbers if it is kept apart."""
        program = self.program
        inputs = input_values(
            program.placed,
            program.reduction,
            momenta,
            Values(scalars.masses, {}),
            Arrays(jnp),
            self._own_masses,
        )

        def value(key: InputKey) -> Array:
            if not program.is_looped(key):
                return inputs(key)
            own = coefficients[program.loop.index(key[1])]
            return sum(
                own[h] * inputs((*key[:2], h, *key[3:])) for h in range(program.legs[key[1]].helicities)
            )

        first = _first_energy(momenta)
        batch, dtype = first.shape, first.dtype
        known: dict[int, Any] = {i: float(program.numbers[program.first[i]]) for i in self._numbers}
        known.update({i: value(program.inputs[program.first[i]]) for i in self._inputs})
        known.update(zip(self._shared, scalars.shared, strict=True))
        # Of one shape, as these functions want them; they are traced three times as fast as operators.
        known = {i: jnp.broadcast_to(jnp.asarray(number, dtype), batch) for i, number in known.items()}
        program.run(known, self._kernel, (lax.add, lax.sub, lax.mul))
        none = jnp.zeros(batch, dtype)
        results = tuple(sign * known[node] if node >= 0 else none for node, sign in program.outputs)
        return tuple(lax.complex(each, none) for each in results) if self._apart else results


def _first_energy(momenta: Momenta) -> Array:
    return momenta[0][0] if isinstance(momenta, tuple) else momenta[..., 0, 0]


def function(
    program: Program, model: Model, own_masses: bool = False
) -> Callable[[Momenta, Mapping[str, Any]], Array]:
    """|M|²(momenta, parameters) `[…]` for use inside `jit`, `vmap` and forward mode: the first one."""
    every = functions(program, model, own_masses)
    return lambda momenta, parameters: every(momenta, parameters)[0]


def functions(
    program: Program, model: Model, own_masses: bool = False
) -> Callable[[Momenta, Mapping[str, Any]], tuple[Array, ...]]:
    """All |M|² of a program, in the same way."""
    stages = Stages(program, own_masses, within=True)

    def matrix_elements(momenta: Momenta, parameters: Mapping[str, Any]) -> tuple[Array, ...]:
        first = _first_energy(momenta)
        if all(node < 0 for node, _ in program.outputs):
            return (jnp.zeros_like(first),) * len(program.outputs)
        return stages.every(momenta, stages.scalars(model, parameters, jnp, first.dtype))

    return matrix_elements
