"""H → WW near the Higgs boson's mass and off it: both regions make the whole, and no weight changes by them."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import stored
from test_neutrinos import EVENTS, assert_agree, columns, computed, leptons_alone, prepared, proposed

from deepmem.kinematics import add
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.phasespace.experts import missing_cells
from deepmem.physics.phasespace.experts.higgs_to_w_pairs import off_shell_from
from deepmem.physics.phasespace.experts.missing_below import Below
from deepmem.physics.precision import double_precision
from deepmem.physics.tables import even_table
from deepmem.physics.weights import engine, sums
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.partonic import Partonic
from deepmem.physics.weights.plan import plan_for


@pytest.fixture(scope="module")
def events() -> dict[str, np.ndarray]:
    """Of tt̄, in which the Higgs boson is off its shell, and of its own."""
    own = stored("higgs_ww_2l")
    tops = leptons_alone(columns(*EVENTS))
    return {name: np.concatenate([tops[name], own[name]]) for name in tops}


def test_every_point_is_in_its_region(events):
    alpha = hypothesis("higgs_ww_2l")
    plan = plan_for(alpha)
    shared, rows = prepared(alpha, events)
    event = rows.rows(len(EVENTS)).choosing(broad=0.03, table=even_table(16, 32), second_first=None)
    u = np.random.default_rng(3).random((2000, plan.dimensions))
    with double_precision():
        edge = float(off_shell_from(shared))
        for region, above in zip(plan.regions, (False, True), strict=True):
            f = region.integrand(Partonic.of(alpha), False)
            legs, density = proposed(f, shared, event, u)
            energy, x, y, z = (np.broadcast_to(part, density.shape) for part in add(*legs))
            s = (energy**2 - x**2 - y**2 - z**2)[density > 0]
            assert len(s) > 500
            assert ((s >= edge * (1 - 1e-9)) == above).all()
            if not above:
                assert np.any(np.abs(np.sqrt(s) - 125) < 0.05)


@pytest.mark.parametrize("met", ["event", pytest.param("balance", marks=pytest.mark.long)])
def test_in_regions_weights_are_what_they_are_whole(events, met):
    """With fewer points; an event alone has its weight bit for bit."""
    found = computed("higgs_ww_2l", events, met=met)
    whole = replace(plan_for(hypothesis("higgs_ww_2l", met=met)), regions=())
    assert_agree(found, computed("higgs_ww_2l", events, met=met, seed=1, precision=0.04, plan=whole))
    assert (found.status == 0).all()
    for event in (2, 5):
        one = {name: values[[event]] for name, values in events.items()}
        alpha = hypothesis("higgs_ww_2l", met=met)
        (alone,) = engine.compute(alpha, one, precision=0.02, entries=np.array([event])).values()
        assert alone.value[0] == found.value[event]
        assert alone.error[0] == found.error[event]


@pytest.mark.long
def test_momenta_and_scans_are_those_of_both_regions(events):
    few = {name: values[[0, 4]] for name, values in events.items()}
    found = computed("higgs_ww_2l", few, neutrinos=True)
    total = found.neutrinos.sum(axis=1)[:, :2]
    missing = few["MET"][:, None] * np.stack([np.cos(few["MET_Phi"]), np.sin(few["MET_Phi"])], axis=1)
    np.testing.assert_allclose(total, missing, atol=1e-6 * few["MET"].max())
    scan = computed("higgs_ww_2l", few, MH=[120.0, 125.0])
    assert_agree(scan["higgs_ww_2l_MH_125"], found)


def test_a_variation_follows_both_regions(events):
    """Its ratio to the nominal weight is known better than either."""
    near = {name: values * 1.01 if name == "lep1_PT" else values for name, values in events.items()}
    alpha = hypothesis("higgs_ww_2l")
    found = engine.compute(alpha, events, precision=0.05, seed=1, variations={"up": near})
    nominal, up = found["higgs_ww_2l"], found["higgs_ww_2l__up"]
    ratio, error = up.ratio_to(nominal)
    assert (error < 0.025 * ratio).all()
    alone = engine.compute(alpha, near, precision=0.02, seed=3)["higgs_ww_2l"]
    assert_agree(up, alone)


def test_a_sum_over_final_states_has_both_regions(events):
    """That of a single one is its weight bit for bit, also at the points of another."""
    near = {name: values * 1.01 if name == "lep1_PT" else values for name, values in events.items()}
    alpha, work = hypothesis("higgs_ww_2l"), sums.Work(Accuracy(0.05, seed=1), remembered=True)
    nominal = sums.integrated(alpha, events, work)
    varied = sums.integrated(alpha, near, work, nominal)
    found = engine.compute(alpha, events, precision=0.05, seed=1, variations={"up": near})
    for name, each in (("higgs_ww_2l", nominal), ("higgs_ww_2l__up", varied)):
        np.testing.assert_array_equal(each.estimate.value[:, 0], found[name].value)
        np.testing.assert_array_equal(each.estimate.error[:, 0], found[name].error)
    np.testing.assert_array_equal(varied.covariance[:, 0], found["higgs_ww_2l__up"].covariance)


def test_a_resonance_that_measured_energies_miss_is_found():
    """They keep s above m_H², by 7 GeV: those that do not are 3 standard deviations off, and make a sixth of the weight."""
    event = {"lep1_PT": 56.961, "lep1_Eta": -0.211, "lep1_Phi": 0.142, "lep1_Charge": -1.0}
    event |= {"lep2_PT": 15.461, "lep2_Eta": -0.712, "lep2_Phi": 0.71, "lep2_Charge": 1.0}
    event |= {"MET": 58.985, "MET_Phi": -2.824}
    columns_of = {name: np.full(1, value) for name, value in event.items()}
    one, other = (computed("higgs_ww_2l", columns_of, seed=seed) for seed in (0, 1))
    assert one.status[0] == other.status[0] == 0
    assert one.evaluations[0] < 1 << 17
    assert_agree(one, other)


def test_a_resonance_that_measured_missing_pt_misses_is_found():
    """It keeps s above m_H² by 3.4 standard deviations. Two fifths of the weight are there: half of all seeds, and
    3.69e-19 ± 0.2 % on 30 million even points, had been without."""
    event = {"lep1_PT": 50.9925, "lep1_Eta": -1.5919, "lep1_Phi": -1.7098, "lep1_Charge": -1.0}
    event |= {"lep2_PT": 21.4086, "lep2_Eta": -2.2465, "lep2_Phi": -0.2251, "lep2_Charge": 1.0}
    event |= {"MET": 90.3177, "MET_Phi": 1.6416}
    columns_of = {name: np.full(1, value) for name, value in event.items()}
    for seed in (0, 1):
        asked = {"response": {"lepton": 0.02, "met": {"c": 15.0}}, "seed": seed}
        found = computed("higgs_ww_2l", columns_of, **asked)
        assert found.status[0] == 0
        assert found.value[0] == pytest.approx(3.69e-19, abs=4 * found.error[0])


@pytest.mark.parametrize("measured", [(10.0, -5.0), (60.0, 40.0), (-70.0, 15.0)])
def test_missing_pt_below_a_mass_is_that_of_its_response(measured):
    """By quantiles within the ellipse, or all that the response allows without what leaves more mass."""
    leptons, sigma, s = (90.0, 40.0, -12.0, 70.0), 15.0, 125.0**2
    mass2 = leptons[0] ** 2 - leptons[1] ** 2 - leptons[2] ** 2 - leptons[3] ** 2
    with double_precision():
        below = Below.of(leptons, measured, sigma, s)
        u = np.random.default_rng(4).random((2, 40_000))
        x, y = map(np.asarray, below.draw(*u))
        part = np.asarray(below.part((x, y)))
    far = np.random.default_rng(5).normal(size=(2, 4_000_000)) * sigma + np.array(measured)[:, None]

    def least(x, y):
        mt = np.sqrt(mass2 + leptons[1] ** 2 + leptons[2] ** 2)
        return (mt + np.hypot(x, y)) ** 2 - (leptons[1] + x) ** 2 - (leptons[2] + y) ** 2

    assert (least(x, y) < s * (1 + 1e-9)).all()
    inside = least(*far) < s
    for f in (lambda x, y: 1.0 + 0 * x, lambda x, y: x / 50, lambda x, y: (y / 50) ** 2):
        one, other = part * f(x, y), inside * f(*far)
        error = np.hypot(one.std() / np.sqrt(one.size), other.std() / np.sqrt(other.size))
        assert abs(one.mean() - other.mean()) < 4 * error
    assert part.mean() ** 2 > 0.3 * (part**2).mean()


def test_missing_pt_in_cells_is_that_of_its_response():
    """Points are where the other W is on its shell, and their measure makes up for that."""
    measured, sigma, lepton = (60.0, 40.0), jnp.asarray(15.0), (90.0, 40.0, -12.0, 70.0)
    with double_precision():
        centre = tuple(map(jnp.asarray, measured))
        shares = missing_cells.shares(centre, sigma, (jnp.asarray(90.0), jnp.asarray(0.0)), lepton, 80.4**2)
        u = np.random.default_rng(4).random((2, 40_000))
        of_points = jax.vmap(partial(missing_cells.drawn, centre, sigma, shares))
        (x, y), measure = jax.tree.map(np.asarray, of_points(*u))
    z = np.stack([x - measured[0], y - measured[1]]) / 15
    for f, expected in ((1.0, 1.0), (z[0], 0.0), (z[1] ** 2, 1.0), (z[0] * z[1], 0.0), (z[0] ** 4, 3.0)):
        values = measure * f
        assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(values.size)
    assert measure.std() > 0.3
