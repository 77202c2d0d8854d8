"""A graph that is finished: |M|² as a list of sums and products of inputs, evaluated, stored and read again.

    value_i = input | number | value_a + value_b | value_a − value_b | value_a × value_b | 1/value_a

Where helicities of some legs are looped over, the list is the |M|² of one combination of them, and the result
is Σ over combinations of their weight × it. One list may have several results, see `joint`. A program is
stored as an `.npz` file of plain arrays with a header in JSON.
"""

from __future__ import annotations

import io
import itertools
import json
import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from deepmem.physics.amplitudes.external import External, InputKey, Placed, input_values
from deepmem.physics.amplitudes.graph import Reference
from deepmem.physics.amplitudes.strengths import Reduction
from deepmem.physics.amplitudes.waves import Arrays, Leg
from deepmem.physics.theory.expressions import evaluate
from deepmem.physics.theory.model import Model

KINDS = ("input", "constant", "add", "sub", "mul", "inv")

Arithmetic: TypeAlias = tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any], Callable[[Any, Any], Any]]
"""+, − and ×."""
OPERATORS: Arithmetic = (operator.add, operator.sub, operator.mul)


@dataclass(frozen=True, eq=False)
class Program:
    """See the module. Nodes are numbered from 0; arguments are numbers of earlier nodes."""

    legs: tuple[Leg, ...]
    reduction: Reduction
    inputs: tuple[InputKey, ...]
    kinds: np.ndarray
    """`[nodes]`, positions in `KINDS`."""
    first: np.ndarray
    """`[nodes]`: the first argument; for inputs the position in `inputs`, for constants that in `numbers`."""
    second: np.ndarray
    numbers: np.ndarray
    outputs: tuple[tuple[int, int], ...]
    """(node, sign) of each |M|²; −1: it vanishes."""
    loop: tuple[int, ...] = ()
    """Legs whose helicities are looped over."""
    combinations: tuple[tuple[tuple[int, ...], int], ...] = (((), 1),)
    """(helicities of the looped legs, how often this one counts)."""
    others: tuple[Placed, ...] = ()
    """What else stands in the places of legs."""

    @property
    def output(self) -> int:
        """The node of the first |M|²."""
        return self.outputs[0][0]

    @property
    def sign(self) -> int:
        """Of the first |M|²."""
        return self.outputs[0][1]

    @property
    def placed(self) -> tuple[Placed, ...]:
        """The legs and the others, which inputs are numbered by."""
        return (*enumerate(self.legs), *self.others)

    @cached_property
    def counts(self) -> Counter[str]:
        """How many nodes of each kind there are."""
        numbers = np.bincount(self.kinds, minlength=len(KINDS))
        return Counter(dict(zip(KINDS, map(int, numbers), strict=True)))

    @property
    def operations(self) -> int:
        """Sums and products of one pass."""
        return self.counts["add"] + self.counts["sub"] + self.counts["mul"]

    @property
    def cost(self) -> int:
        """Operations of all passes."""
        return self.operations * len(self.combinations)

    def parameter_nodes(self) -> np.ndarray:
        """`[nodes]`: whether a node depends on parameters alone."""
        found = np.zeros(len(self.kinds), bool)
        for i, (kind, a, b) in enumerate(zip(self.kinds, self.first, self.second, strict=True)):
            match KINDS[kind]:
                case "input":
                    found[i] = self.inputs[a][0] in ("parameter", "coupling", "base")
                case "constant":
                    found[i] = True
                case "inv":
                    found[i] = found[a]
                case _:
                    found[i] = found[a] and found[b]
        return found

    def is_looped(self, key: InputKey) -> bool:
        """Whether an input differs between combinations."""
        return key[0] == "wave" and key[1] in self.loop

    def run(
        self,
        values: dict[int, Any],
        nodes: Sequence[int] | range | None = None,
        arithmetic: Arithmetic = OPERATORS,
    ) -> None:
        """Compute nodes from what `values` has by number; those that are there already stay."""
        add, subtract, multiply = arithmetic
        kinds, first, second = self.kinds.tolist(), self.first.tolist(), self.second.tolist()
        for i in range(len(kinds)) if nodes is None else nodes:
            if i in values:
                continue
            a, b = first[i], second[i]
            match KINDS[kinds[i]]:
                case "constant":
                    values[i] = float(self.numbers[a])
                case "add":
                    values[i] = add(values[a], values[b])
                case "sub":
                    values[i] = subtract(values[a], values[b])
                case "mul":
                    values[i] = multiply(values[a], values[b])
                case "inv":
                    values[i] = 1 / values[a]

    def evaluate(self, model: Model, momenta: Any, parameters: Mapping[str, Any] | None = None) -> np.ndarray:
        """The first |M|² `[…]` by NumPy, in the precision of the momenta `[…, legs, 4]`."""
        return self.evaluate_all(model, momenta, parameters)[0]

    def evaluate_all(
        self, model: Model, momenta: Any, parameters: Mapping[str, Any] | None = None
    ) -> list[np.ndarray]:
        """Each |M|² `[…]` in the same way."""
        momenta = np.asarray(momenta)
        values = evaluate(model, parameters, self.reduction.couplings)
        masses = {leg.mass: momenta.dtype.type(np.real(values.parameters[leg.mass])) for leg in self.legs}
        values = values._replace(parameters=values.parameters | masses)
        inputs = input_values(self.placed, self.reduction, momenta, values, Arrays(np))
        totals = [np.zeros(momenta.shape[:-2], momenta.dtype) for _ in self.outputs]
        for helicities, weight in self.combinations:
            known: dict[int, Any] = {}
            for i in np.flatnonzero(self.kinds == 0).tolist():
                value = inputs(self.at_helicities(self.inputs[self.first[i]], helicities))
                known[i] = np.asarray(value, momenta.dtype)
            self.run(known)
            for total, (node, sign) in zip(totals, self.outputs, strict=True):
                total += weight * sign * known[node] if node >= 0 else 0
        return totals

    def at_helicities(self, key: InputKey, helicities: Sequence[int]) -> InputKey:
        """The input of one combination of the looped legs' helicities."""
        if not self.is_looped(key):
            return key
        return (*key[:2], helicities[self.loop.index(key[1])], *key[3:])

    # ---- files

    def to_bytes(self) -> bytes:
        """The contents of an `.npz` file."""
        header = {
            "legs": [list(leg) for leg in self.legs],
            "bases": self.reduction.bases,
            "orders": self.reduction.orders,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "loop": self.loop,
            "combinations": self.combinations,
            "others": [[place, list(leg)] for place, leg in self.others],
        }
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            header=np.frombuffer(json.dumps(header).encode(), np.uint8),
            kinds=self.kinds.astype(np.uint8),
            first=self.first.astype(np.int32),
            second=self.second.astype(np.int32),
            numbers=self.numbers,
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Program:
        """The program that `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes().decode())
            return cls(
                legs=tuple(Leg(*leg) for leg in header["legs"]),
                reduction=Reduction(_tuples(header["bases"]), _tuples(header["orders"])),
                inputs=_tuples(header["inputs"]),
                kinds=arrays["kinds"],
                first=arrays["first"],
                second=arrays["second"],
                numbers=arrays["numbers"],
                outputs=_tuples(header["outputs"]),
                loop=tuple(header["loop"]),
                combinations=_tuples(header["combinations"]),
                others=tuple((place, Leg(*leg)) for place, leg in header["others"]),
            )


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def finished(external: External, *outputs: Reference) -> Program:
    """The program of one or several nodes: what they need of the graph."""
    g = external.graph
    live = g.live(outputs)
    number_of = {node: i for i, node in enumerate(live)}
    inputs: list[InputKey] = []
    numbers: list[float] = []
    table = np.zeros((3, len(live)), np.int64)
    for i, node in enumerate(live):
        kind, *arguments = g.nodes[node]
        table[0, i] = KINDS.index(kind)
        if kind == "input":
            table[1, i] = len(inputs)
            inputs.append(arguments[0])
        elif kind == "constant":
            table[1, i] = len(numbers)
            numbers.append(arguments[0])
        else:
            table[1, i] = number_of[arguments[0]]
            table[2, i] = number_of[arguments[-1]] if kind != "inv" else 0
    couplings = [key[1] for key in inputs if key[0] == "coupling"]
    orders = [key[1] for key in inputs if key[0] == "base"]
    program = Program(
        legs=tuple(leg for _, leg in external.kinds[: len(external.legs)]),
        reduction=external.strengths.reduction.restricted(couplings, orders),
        inputs=tuple(inputs),
        kinds=table[0].astype(np.uint8),
        first=table[1].astype(np.int32),
        second=table[2].astype(np.int32),
        numbers=np.array(numbers),
        outputs=tuple((number_of[abs(each)] if each else -1, 1 if each > 0 else -1) for each in outputs),
        loop=external.loop,
        others=external.kinds[len(external.legs) :],
    )
    return replace(program, combinations=_combinations(external, outputs[0])) if external.loop else program


def _combinations(external: External, output: Reference) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Combinations of the looped legs' helicities, those of equal value as one, those of value 0 left out."""
    if not output:
        return ()
    found: dict[int, list] = {}
    live = external.graph.live([output])
    for helicities in itertools.product(*(range(external.legs[leg].helicities) for leg in external.loop)):
        inputs = dict(external.values) | external.point_values(external.point, 0, helicities)
        value = external.graph.evaluated(inputs, live)[abs(output)]
        if value:
            found.setdefault(value, [helicities, 0])[1] += 1
    return tuple((helicities, count) for helicities, count in found.values())
