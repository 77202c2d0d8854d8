"""In which powers parameters of a model enter |M|².

Each way in which a current is made multiplies the polynomials of its vertex and of its parts; ways, and the
orders of a current, are summed. So the exponents of an amplitude A follow from its plan, without a number,
and those of |M|² from all products of two of its monomials:

    |M|² = Σ_ab c^(a + b) M_a M_b*,    a, b the exponents in A.

A decay with a coupling in production and decay has degree 4, one with it in either has degree 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from deepmem.physics.amplitudes.channels import Channel
from deepmem.physics.amplitudes.plan import Key, Recipes, Subset, levels, plan
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.polynomial import Exponents, Monomials, monomials, products


def squared_monomials(
    channels: Sequence[Channel], names: Sequence[str], given: Iterable[str] = ()
) -> Monomials:
    """The monomials of Σ|M|² of some channels of one model, in parameters that are named.

    **Arguments:** `given`: parameters that are set, and no longer follow from others.

    **Raises** `UnknownNameError` for no parameter of the model; `ModelError` for one that enters a mass, a
    width, or a coupling of these amplitudes otherwise than in a polynomial.
    """
    found: set[Exponents] = set()
    for channel in channels:
        plans = [plan(channel.model, level, "it") for _, level in levels(channel.model, channel.subprocess)]
        of_amplitude = products(*(_of_plan(channel.model, each, names, given) for each in plans))
        found |= products(of_amplitude, of_amplitude)
    return frozenset(found)


def _of_plan(model: Model, recipes: Recipes, names: Sequence[str], given: Iterable[str]) -> Monomials:
    """The monomials of one level: of all currents of all of its legs."""
    used = {part.coupling for ways in recipes.values() for way in ways for part in way.rule.parts}
    of_coupling = monomials(model, names, used, given)
    one = frozenset({(0,) * len(names)})
    known: dict[tuple[Subset, Key], Monomials] = {}
    for current, ways in recipes.items():
        each = (
            products(
                frozenset().union(*(of_coupling[part.coupling] for part in way.rule.parts)),
                *(known[part] for part in way.parts),
            )
            for way in ways
        )
        known[current] = frozenset(chain.from_iterable(each)) if ways else one
    full = max(subset for subset, _ in recipes)
    return frozenset().union(*(found for (subset, _), found in known.items() if subset == full))
