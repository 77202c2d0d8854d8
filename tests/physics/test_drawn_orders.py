"""One order of jets at each point in place of the mean of all: the mean over the coordinate that draws it."""

from __future__ import annotations

import numpy as np
import pytest

from deepmem.physics.integrals.integrand import values
from deepmem.physics.phasespace.composed.steps import steps
from deepmem.physics.phasespace.planner import Composition
from deepmem.physics.precision import double_precision
from deepmem.physics.weights import integrand
from deepmem.physics.weights.composed import composed, composition_of, draws_orders
from deepmem.physics.weights.contributions import contributions
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.leading_order import draw_events
from deepmem.physics.weights.partonic import Partonic, shared_by_events
from deepmem.physics.weights.plan import plan_for
from deepmem.physics.weights.preparation import prepare

W_JETS = "p p > w+ h, w+ > j j, h > b b~"


@pytest.mark.parametrize(
    "tagging",
    [
        pytest.param({}, marks=pytest.mark.long),
        {"tagging": {"b": 0.77, "c": 0.15, "light": 0.01}},
    ],
)
def test_the_mean_over_drawn_orders_is_that_of_all(tagging: dict) -> None:
    response = {"bjet": 0.10, "jet": 0.10}
    alpha = hypothesis(W_JETS, response=response, **tagging)
    events = draw_events(W_JETS, 3, 1, {"jet_pt": 25, "jet_eta": 2.5}, response=response).columns
    composition = composition_of(alpha)
    assert isinstance(composition, Composition)
    orders = composition.orders()
    assert len(orders) == 2
    assert not draws_orders(alpha.process, composition)  # they take no time here
    ((rows,), _) = contributions(alpha, events)
    plan, shared, partonic = plan_for(alpha), shared_by_events(alpha), Partonic.of(alpha)
    prepared = prepare(alpha, plan, shared, rows.measured)._replace(tags=rows.tags)
    every = composed(partonic, False, composition, apart=bool(tagging))
    drawn = integrand.of_escaping(partonic, steps(composition), False, orders)
    with double_precision():
        visible, _ = plan.tried(every, shared, prepared)
        x = np.random.default_rng(2).random((visible.size, 32, plan.dimensions))
        expected = np.asarray(values(every, shared, visible, x)[0])
        found = []
        for k in range(len(orders)):
            last = np.full((*x.shape[:2], 1), (k + 0.5) / len(orders))
            found.append(np.asarray(values(drawn, shared, visible, np.concatenate([x, last], axis=-1))[0]))
    assert np.mean(expected > 0) > 0.3
    np.testing.assert_allclose(np.mean(found, axis=0), expected, rtol=1e-9)
    assert np.any(abs(found[0] - found[1]) > 1e-3 * expected)
