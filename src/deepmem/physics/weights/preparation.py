"""What does not depend on the point, of many events: prepared in batches of one size."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from deepmem.physics.precision import double_precision
from deepmem.physics.weights import resonance
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.partonic import Partonic
from deepmem.physics.weights.plan import Plan

_prepared = jax.jit(jax.vmap(resonance.prepared, in_axes=(None, None, 0, 0, 0)), static_argnums=0)


def prepare(
    alpha: Hypothesis, plan: Plan, shared: dict[str, Any], particles: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Everything of an event that the integrand wants: compiled once, and the same bits for any number.

    **Arguments:** `particles`, see `visible.examined`; `shared`, see `partonic.shared_by_events`.
    """
    count = len(particles["energy"])
    padded = -(-count // plan.batch) * plan.batch
    columns = []
    for name in ("energy", "eta", "phi"):
        column = np.ones((padded, len(alpha.process.visible)))
        column[:count] = particles[name]
        columns.append(column)
    partonic = Partonic(alpha.process, alpha.flavours, alpha.subset)
    with double_precision():
        parts = [
            _prepared(partonic, shared, *(column[k : k + plan.batch] for column in columns))
            for k in range(0, padded, plan.batch)
        ]
        events = {
            name: np.concatenate([np.asarray(part[name]) for part in parts])[:count] for name in parts[0]
        }
    fields = {name: np.tile(value, (count, *[1] * np.ndim(value))) for name, value in plan.fields.items()}
    # what no preparation changes
    return fields | {name: values for name, values in particles.items() if name not in events} | events
