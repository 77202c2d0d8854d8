"""Variations of events with jets: at the nominal points, so that ratios are known better than weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepmem.event import Weight
from deepmem.inputs import Reason
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.estimate import Estimate
from deepmem.physics.integrals.groups import Groups
from deepmem.physics.integrals.integral import Integral
from deepmem.physics.integrals.lattice import Lattice
from deepmem.physics.weights import engine
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.integration import averaged
from deepmem.physics.weights.ratios import Both, Pair

REACTION = "x=u d~ > t b~, (t > w+ b, w+ > mu+ vm)"
RESPONSE = {"bjet": 0.12, "lepton": 0.0, "recoil": {"c": 15.0}}
CUTS = {"jet_pt": 25, "jet_eta": 2.5}
EVENTS = {
    "lep1_PT": [40.0, 62.0, 35.0], "lep1_Eta": [0.2, -0.6, 1.1], "lep1_Phi": [0.8, -2.0, 0.1],
    "lep1_Charge": [1.0, 1.0, 1.0], "lep1_PDG": [-13.0, -13.0, -13.0],
    "j1_PT": [85.0, 120.0, 70.0], "j1_Eta": [-0.6, 0.4, 0.9], "j1_Phi": [2.5, 0.9, 2.2], "j1_M": [4.7, 9.0, 7.0],
    "j2_PT": [83.0, 64.0, 48.0], "j2_Eta": [0.3, -1.2, 0.0], "j2_Phi": [-1.6, 2.9, -1.9], "j2_M": [4.7, 6.0, 5.0],
    "MET": [46.0, 33.0, 60.0], "MET_Phi": [-2.0, -1.1, -0.4],
}  # fmt: skip


def events(**columns: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(values, dtype=float) for name, values in (EVENTS | columns).items()}


def scaled(first: float, second: float) -> dict[str, np.ndarray]:
    """Energies of both jets by factors: in the first event one that raises j2 above j1."""
    factors = {"j1": first, "j2": second}
    found = events()
    return {name: values * factors.get(name.partition("_")[0], 1.0) if name.endswith(("_PT", "_M")) else values
            for name, values in found.items()}  # fmt: skip


def computed(variations: dict[str, Any], seed: int = 0, **settings: Any) -> dict[str, Weight]:
    alpha = hypothesis(REACTION, response=RESPONSE, **settings)
    return engine.compute(alpha, events(), precision=0.03, seed=seed, variations=variations)


def test_ratios_are_better_known_than_weights():
    """Also where jets change their order; and the ratio is that of weights with other points."""
    varied = {"same": events(), "up": scaled(1.0, 1.04)}
    found, other = computed(varied), computed(varied, seed=7)
    nominal = found["x"]
    ratio, error = found["x__same"].ratio_to(nominal)
    np.testing.assert_allclose(ratio, 1.0, rtol=1e-9)
    assert (error < 1e-6).all()
    ratio, error = found["x__up"].ratio_to(nominal)
    assert (found["x__up"].covariance > 0).all()
    alone = np.hypot(nominal.error / nominal.value, found["x__up"].error / found["x__up"].value)
    assert (error < 0.6 * alone * ratio).all()
    again, its_error = other["x__up"].ratio_to(other["x"])
    assert (np.abs(ratio - again) < 4 * np.hypot(error, its_error)).all()
    # weights by themselves have other points
    whole = engine.compute(
        hypothesis(REACTION, response=RESPONSE), varied["up"], precision=0.03, seed=3
    )["x"]  # fmt: skip
    assert (
        np.abs(found["x__up"].value - whole.value) < 4 * np.hypot(found["x__up"].error, whole.error)
    ).all()


def test_a_ratio_goes_on_until_it_is_precise():
    """To 0.3 of the precision of weights, whatever the points of the nominal ones were worth: these stay."""
    found = computed({"up": scaled(1.02, 1.02), "same": events()})
    alone = engine.compute(hypothesis(REACTION, response=RESPONSE), events(), precision=0.03)["x"]
    nominal, up = found["x"], found["x__up"]
    np.testing.assert_array_equal(nominal.value, alone.value)
    np.testing.assert_array_equal(nominal.evaluations, alone.evaluations)
    assert (found["x__same"].evaluations <= nominal.evaluations).all()
    ratio, error = up.ratio_to(nominal)
    assert (up.status == 0).all()
    assert (error <= 0.3 * 0.03 * ratio).all()
    more = up.evaluations > nominal.evaluations
    assert more.any()
    # what is told of a ratio is the ratio times the nominal weight, with the error of both
    relative = np.hypot(error / ratio, nominal.error / nominal.value)
    np.testing.assert_allclose((up.error / up.value)[more], relative[more], rtol=1e-9)
    other = computed({"up": scaled(1.02, 1.02)}, seed=9)
    again, its_error = other["x__up"].ratio_to(other["x"])
    assert (np.abs(ratio - again) < 4 * np.hypot(error, its_error)).all()


def test_an_event_with_other_rows_has_no_covariance():
    """A tag makes other assignments."""
    tags = {"j1_B": np.ones(3), "j2_B": np.ones(3)}
    alpha = hypothesis("x=u d~ > w+ z, w+ > mu+ vm, z > b b~", response=RESPONSE)
    light = engine.compute(alpha, events() | tags, precision=0.1, variations={"up": events() | tags})
    assert (light["x__up"].covariance > 0).all()
    third = {f"j3_{name}": np.full(3, value) for name, value in
             (("PT", 200.0), ("Eta", 1.9), ("Phi", 1.4), ("M", 5.0), ("B", 1.0))}  # fmt: skip
    absent = {name: np.full(3, np.nan) for name in third}
    more = engine.compute(
        alpha, events() | tags | absent, precision=0.1, variations={"up": events() | tags | third}
    )
    assert (more["x__up"].covariance == 0).all()


def test_an_event_with_a_lost_jet_has_the_nominal_points():
    """Each leg may be the lost one, in an integral of its own; the last event has all jets."""
    gone = {name: np.where(np.arange(3) < 2, np.nan, EVENTS[name]) for name in EVENTS if name[:2] == "j2"}
    up = {
        name: values * (1.03 if name in ("j1_PT", "j1_M") else 1.0) for name, values in events(**gone).items()
    }
    alpha = hypothesis(REACTION, response=RESPONSE, lost=1, selection=CUTS)
    nominal, same, varied = engine.compute(
        alpha, events(**gone), precision=0.03, variations={"same": events(**gone), "up": up}
    ).values()
    by_itself = engine.compute(alpha, events(**gone), precision=0.03)["x"]
    np.testing.assert_array_equal(nominal.value, by_itself.value)
    np.testing.assert_array_equal(nominal.error, by_itself.error)
    np.testing.assert_array_equal(nominal.evaluations, by_itself.evaluations)
    assert nominal.lost is not None
    assert nominal.lost.tolist() == [1, 1, 0]
    ratio, error = same.ratio_to(nominal)
    np.testing.assert_allclose(ratio, 1.0, rtol=1e-9)
    assert (error < 1e-6).all()
    ratio, error = varied.ratio_to(nominal)
    assert varied.covariance is not None
    assert (varied.covariance > 0).all()
    assert (error <= 0.3 * 0.03 * ratio).all()
    # other points say the same of the ratio, and of the weight
    other = engine.compute(alpha, events(**gone), precision=0.03, seed=7, variations={"up": up})
    again, its_error = other["x__up"].ratio_to(other["x"])
    assert (np.abs(ratio - again) < 4 * np.hypot(error, its_error)).all()
    whole = engine.compute(alpha, up, precision=0.03, seed=3)["x"]
    assert (np.abs(varied.value - whole.value) < 4 * np.hypot(varied.error, whole.error)).all()


def test_a_jet_that_is_lost_in_a_variation_alone_has_no_weight():
    """Its unit is another one."""
    gone = {name: np.where(np.arange(3) == 1, np.nan, EVENTS[name]) for name in EVENTS if name[:2] == "j2"}
    found = computed({"down": events(**gone)}, lost=1, selection=CUTS)["x__down"]
    assert found.status.tolist()[1] == 3
    assert found.reason.tolist() == [Reason.NONE, Reason.LOST, Reason.NONE]
    assert np.isnan(found.value[1])
    assert np.isfinite(found.value[[0, 2]]).all()


def _bell(shared: Any, event: Any, x: jax.Array) -> jax.Array:
    return jnp.exp(-((x - event["centre"]) ** 2).sum() / 0.02)


def _extended(*events_of_parts: list[int]) -> Estimate:
    """The varied sums over bells, a row of each event that an integrand has, whose budget is soon used up."""
    rule, accuracy = Lattice(minimum=256, calls=4096, adapt=False), Accuracy(1e-5)
    parts, nominal = [], []
    for k, numbers in enumerate(events_of_parts):
        event = np.array(numbers)
        bells = {"centre": np.stack([0.3 + 0.1 * event, np.full(len(event), 0.4 + 0.1 * k)], axis=1)}
        integral = Integral(_bell, None, bells, 2, event, np.full(len(event), k), remembered=True)
        nominal.append(rule.integrate(integral, Accuracy(0.2)))
        varied = replace(integral, events={"centre": bells["centre"] + 0.02}, follows=nominal[-1].course)
        parts.append(Both(rule, accuracy, varied, bells, event))  # type: ignore[arg-type]
    event = np.concatenate([each.event for each in parts])
    groups = Groups(np.sort(event))
    rows = jax.tree.map(lambda leaf: leaf[np.argsort(event, kind="stable")],
                        Estimate.joined([each._replace(course=None) for each in nominal]))  # fmt: skip
    share = np.ones(len(groups.first))
    pair = Pair(parts, accuracy, averaged(rows, groups, share, accuracy, 1), share, 1)
    pair.extend(np.ones(len(share), dtype=bool))
    return pair.found()[0]


def test_a_ratio_does_not_depend_on_rows_of_other_events():
    """The evaluations that an event may have are those of the integrands that it has rows of."""
    alone, beside = _extended([0]), _extended([0, 1], [1])
    assert alone.evaluations[0] > 1024
    for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(beside), strict=True):
        np.testing.assert_array_equal(one[0], other[0])


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=pytest.mark.long) for seed in (11, 12, 13)])
def test_errors_of_ratios_are_honest(seed: int):
    varied = {"up": scaled(1.03, 1.03)}
    one, other = computed(varied, seed), computed(varied, seed + 100)
    pairs = [each["x__up"].ratio_to(each["x"]) for each in (one, other)]
    pulls = (pairs[0][0] - pairs[1][0]) / np.hypot(pairs[0][1], pairs[1][1])
    assert np.abs(pulls).max() < 4.5
