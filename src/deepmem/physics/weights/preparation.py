"""What does not depend on the point, of many events: prepared in batches of one size."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import Scalar
from deepmem.physics.phasespace.experts import resonance
from deepmem.physics.phasespace.visible import Choices, Legs, Shared, Visible
from deepmem.physics.precision import double_precision
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.partonic import Partonic
from deepmem.physics.weights.plan import Plan
from deepmem.physics.weights.visible import Measured


def prepared(
    partonic: Partonic, shared: Shared, energy: Scalar, eta: Scalar, phi: Scalar, mass: Scalar
) -> Visible:
    """One event of what was measured of its legs `[legs]` in GeV, with directions and any resonance."""
    sine = 1 / jnp.cosh(eta)
    legs = Legs(energy, mass, eta, phi, sine, sine * jnp.cos(phi), sine * jnp.sin(phi), jnp.tanh(eta))
    event = Visible(legs)
    if shared.resonance is None:
        return event
    return event._replace(
        resonant=resonance.prepared(partonic, partonic.process.visible_classes, shared, event)
    )


@partial(jax.jit, static_argnums=0)
def _prepared(partonic: Partonic, shared: Shared, *columns: Scalar) -> Visible:
    return jax.vmap(partial(prepared, partonic, shared))(*columns)


def prepare(alpha: Hypothesis, plan: Plan, shared: Shared, measured: Measured) -> Visible:
    """Everything of an event that the integrand wants: compiled once, and the same bits for any number.

    **Arguments:** `measured`, see `visible.examined`; `shared`, see `partonic.shared_by_events`.
    """
    count = measured.size
    padded = -(-count // plan.batch) * plan.batch
    columns = []
    for values in (measured.energy, measured.eta, measured.phi, measured.mass):
        column = np.ones((padded, len(alpha.process.visible)))
        column[:count] = values
        columns.append(column)
    partonic = Partonic.plain(alpha)
    with double_precision():
        parts = [
            jax.tree.map(
                np.asarray, _prepared(partonic, shared, *(column[k : k + plan.batch] for column in columns))
            )
            for k in range(0, padded, plan.batch)
        ]
    events: Visible = jax.tree.map(lambda *each: np.concatenate(each)[:count], *parts)
    chosen = [
        None if value is None else np.tile(value, (count, *[1] * np.ndim(value))) for value in plan.choices
    ]
    # what no preparation changes
    return events._replace(
        missing=measured.missing, activity=measured.activity, own=measured.own, choices=Choices(*chosen)
    )
