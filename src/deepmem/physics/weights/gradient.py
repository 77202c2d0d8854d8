"""Derivatives of a weight in the parameters, over fixed points."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.errors import UsageError
from deepmem.physics.integrals.integrand import Staged
from deepmem.physics.precision import require_double
from deepmem.physics.theory.parameters import Parameters
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.physics.weights.partonic import Partonic, shared_by_events
from deepmem.physics.weights.plan import plan_for
from deepmem.physics.weights.preparation import prepared
from deepmem.physics.weights.visible import Measured


def weight_function(alpha: Hypothesis, points: np.ndarray, weights: np.ndarray) -> Callable[..., jax.Array]:
    """A JAX function (parameters, event) ↦ weight over fixed points of the unit cube, to be differentiated.

    W ≈ Σ_k w_k f(u_k). `parameters`: a `Parameters` of numbers; `event`: a `Measured` of one event, see
    `visible`. Needs double precision: use it inside `jax.enable_x64(True)`.

    **Arguments:** `points` `[points, dimensions]`, `weights` `[points]`, for instance of
    `integrals.quadrature.product_rule`.

    **Raises** `UsageError` for a process with neutrinos or jets: where solutions appear, points have no
    derivative.
    """
    if alpha.process.invisible:
        raise UsageError(
            f"{alpha.process.name} has neutrinos: derivatives of its weights are not available, scan instead"
        )
    shared, partonic = shared_by_events(alpha), Partonic.plain(alpha)
    f = plan_for(alpha).integrand(Partonic.of(alpha), False)
    if isinstance(f, Staged) or alpha.met == "recoil":
        raise UsageError(
            f"{alpha.process.name} has jets: derivatives of its weights are not available, scan instead"
        )

    def w(p: Parameters, event: Measured) -> jax.Array:
        require_double("a weight function")
        here = shared._replace(parameters=jax.tree.map(lambda v: jnp.asarray(v, dtype=float)[None], p))
        known = prepared(partonic, shared, event.energy, event.eta, event.phi, event.mass)
        values = jax.vmap(lambda u: f(here, known, u)[0][0])(jnp.asarray(points))
        return jnp.asarray(weights) @ values

    return w
