"""Training and prediction on two devices and on one; run by test_devices.py: MODEL EVENTS.

In a process of its own, for JAX decides when it starts how many devices a CPU is. Outside of `on_device` there is one.
One member shares the rows of its batches between both devices; of three, two are on the first.
"""

from __future__ import annotations

import sys

import equinox as eqx
import jax
import numpy as np

import deepmem
from deepmem.data.root import Source
from deepmem.devices import devices, on_device
from deepmem.surrogate import prediction
from deepmem.surrogate.members import State, Steps, run_members
from deepmem.surrogate.network import build_members
from deepmem.surrogate.preparation import Prepared
from deepmem.surrogate.training import make_optimiser

rng = np.random.default_rng(1)
features, others = rng.normal(size=(256, 5)), rng.normal(size=(4, 256, 1))
data = Prepared(*(each.astype(np.float32) for each in (features, others[0], np.abs(others[1]), *others[2:])))
optimiser = make_optimiser("default")
for members in (1, 3):
    networks = build_members("default", 5, 1, 8, 1, members, 0)
    moments = eqx.filter_vmap(lambda n: optimiser.init(eqx.filter(n, eqx.is_inexact_array)))(networks)
    order = np.stack([rng.permutation(256).reshape(4, 64) for _ in range(members)]).astype(np.int32)
    steps = Steps(data, order, rng.random(order.shape) < 0.9, np.full(4, 0.01, np.float32))
    one, sums = run_members(State(networks, moments), optimiser, steps)
    with on_device(None):
        assert len(devices()) == 2
        two, again = run_members(State(networks, moments), optimiser, steps, compiled=members == 3)
    np.testing.assert_allclose(again, sums, rtol=1e-4)
    for a, b in zip(*(jax.tree.leaves(eqx.filter(each, eqx.is_array)) for each in (one, two)), strict=True):
        assert b.devices() == a.devices()
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5)

model = deepmem.Surrogate.load(sys.argv[1])
table = Source([sys.argv[2]], None, model.columns).read(0, 2000)
# four blocks, on either device in turn
prediction.BLOCK = 512
(one,) = model.predict(table).values()
with on_device(None):
    (two,) = model.predict(table).values()
for name in ("value", "error", "status"):
    np.testing.assert_array_equal(getattr(two, name), getattr(one, name))
