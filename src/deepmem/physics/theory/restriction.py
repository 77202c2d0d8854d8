"""A restriction of a model: parameters that are 0, 1 or equal to one another once and for all.

A card `restrict_NAME.dat` of a UFO folder gives values. A parameter that is 0 or 1 there is that number from
then on and no parameter any more; parameters of one block that are equal (or opposite) are one. Couplings
that vanish then, whatever the other parameters, are left out with the vertices that have no other; masses and
widths that are 0 are "ZERO". The card writes 9.999999e-1 and 1e-105 for a 1 and a 0 that stay parameters
(MadGraph's rules, 1106.0522, but for what vanishes only at the card's values: that stays).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from deepmem.physics.errors import ModelError
from deepmem.physics.theory.cards import Card, place
from deepmem.physics.theory.expressions import evaluate
from deepmem.physics.theory.model import Model, Parameter, Particle, Vertex

# What stands for 1 and for 0 in a card where they are values.
_JUST_ONE, _JUST_ZERO = 9.999999e-1, 1e-105


def restricted(model: Model, card: Card) -> Model:
    """The model under a restriction card, whose numbers are the defaults.

    **Raises** `ModelError` where a mass or a width is made opposite to another one.
    """
    return _pruned(_without(*_substituted(model, card)))


@lru_cache(maxsize=64)
def switched_off(model: Model, names: tuple[str, ...]) -> Model:
    """The model without some of its external parameters, which are 0, and what vanishes with them."""
    left = tuple(parameter for parameter in model.parameters if parameter.name not in names)
    return _pruned(_without(replace(model, parameters=left), dict.fromkeys(names, "0")))


def without_followers(model: Model, name: str) -> Model:
    """The model where what follows from a parameter alone, as a Yukawa mass does, stays at its default."""
    defaults = evaluate(model).parameters
    return replace(
        model,
        parameters=tuple(
            replace(each, value=float(np.real(defaults[each.name])), expression=None)
            if each.value is None and str(each.expression) == name
            else each
            for each in model.parameters
        ),
    )


def _pruned(model: Model) -> Model:
    """The model without the couplings that vanish and the vertices that have no other."""
    gone = _vanishing(model)
    massless = {name for name, value in evaluate(model).parameters.items() if name != "ZERO" and value == 0}

    def light(particle: Particle) -> Particle:
        mass = "ZERO" if particle.mass in massless else particle.mass
        width = "ZERO" if particle.width in massless or mass == "ZERO" else particle.width
        return replace(particle, mass=mass, width=width)

    vertices = [kept for vertex in model.vertices if (kept := _kept(vertex, gone)) is not None]
    used = {name for vertex in vertices for *_, name in vertex.couplings}
    return replace(
        model,
        particles=tuple(map(light, model.particles)),
        couplings=tuple(coupling for coupling in model.couplings if coupling.name in used),
        vertices=tuple(vertices),
    )


def _vanishing(model: Model) -> set[str]:
    """The couplings that are nothing but rounding at two points near the defaults, in two precisions."""
    random = np.random.default_rng(1)
    near = {
        parameter.name: (parameter.value or 1.0) * random.uniform(0.8, 1.2, size=2)
        for parameter in model.parameters
        if parameter.value is not None
    }
    double = evaluate(model, near).couplings
    precise = evaluate(model, {name: value.astype(np.longdouble) for name, value in near.items()}).couplings
    return {name for name, value in precise.items() if np.all(abs(value) <= abs(value - double[name]))}


def _kept(vertex: Vertex, gone: set[str]) -> Vertex | None:
    """A vertex without the couplings that vanish; None if these are all."""
    left = tuple(entry for entry in vertex.couplings if entry[2] not in gone)
    return replace(vertex, couplings=left) if left else None


def _substituted(model: Model, card: Card) -> tuple[Model, dict[str, str]]:
    """The model with the card's numbers, and what external parameters are to be replaced by."""
    substitutes: dict[str, str] = {}
    parameters: list[Parameter] = []
    seen: dict[tuple[str, float], tuple[str, float]] = {}
    for parameter in model.parameters:
        if parameter.value is None:
            parameters.append(parameter)
            continue
        value = card.get(place(parameter), parameter.value)
        if place(parameter) in card and value in (0, 1):
            substitutes[parameter.name] = str(int(value))
            continue
        value = {_JUST_ONE: 1.0, _JUST_ZERO: 0.0}.get(value, value)
        twin = seen.get((parameter.block.upper(), abs(value))) if value not in (0, 1) else None
        if twin is not None:
            name, first = twin
            substitutes[parameter.name] = name if first == value else f"(-{name})"
            continue
        seen[parameter.block.upper(), abs(value)] = (parameter.name, value)
        parameters.append(replace(parameter, value=value))
    return replace(model, parameters=tuple(parameters)), substitutes


def _without(model: Model, substitutes: Mapping[str, str]) -> Model:
    """The model with parameters replaced in all expressions."""
    if not substitutes:
        return model
    pattern = re.compile(r"(?<![\w.])(" + "|".join(map(re.escape, substitutes)) + r")(?![\w(])")

    def written(expression: str) -> str:
        return pattern.sub(lambda match: substitutes[match.group(1)], expression)

    def parameter(one: Parameter) -> Parameter:
        return one if one.expression is None else replace(one, expression=written(one.expression))

    def name(one: str) -> str:
        other = substitutes.get(one, one)
        if other in ("0", "ZERO"):
            return "ZERO"
        if not other.isidentifier():
            raise ModelError(f"the restriction makes the mass or width {one!r} {other}, which is none")
        return other

    return replace(
        model,
        particles=tuple(replace(p, mass=name(p.mass), width=name(p.width)) for p in model.particles),
        parameters=tuple(map(parameter, model.parameters)),
        couplings=tuple(replace(c, expression=written(c.expression)) for c in model.couplings),
    )
