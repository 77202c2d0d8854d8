"""Hard rows of the map by angle in parts: they make the whole, and no weight changes by them."""

import numpy as np
import pytest
from test_neutrinos import EVENTS, assert_agree, columns, computed

from deepmem.physics.integrals.groups import Groups
from deepmem.physics.integrals.tally import Tally
from deepmem.physics.phasespace import parts


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_every_point_is_in_one_part(order):
    ranges = parts.ranges(np.array([order]))
    begin, width = ranges[..., 0], ranges[..., 1]
    assert width.prod(axis=1).sum() == pytest.approx(1, abs=1e-12)
    x = np.random.default_rng(1).random((2000, parts.MASSES))
    # half of the points off in each mass
    x = np.where(np.random.default_rng(2).random(x.shape) < 0.5, 0.1 * x, x)
    inside = ((x[:, None] > begin) & (x[:, None] < begin + width)).all(axis=2)
    np.testing.assert_array_equal(inside.sum(axis=1), 1)
    assert inside.any(axis=0).all()


def test_in_parts_weights_are_what_they_are_whole(monkeypatch):
    events = columns(*EVENTS)
    monkeypatch.setattr(parts, "_HARD", np.inf)
    whole = computed("ttbar_2l", events)
    monkeypatch.setattr(parts, "_HARD", 0.0)
    cut = computed("ttbar_2l", events, seed=1)
    assert_agree(whole, cut)
    assert (cut.status == 0).all()
    assert (cut.evaluations != whole.evaluations).all()
    alone = computed("ttbar_2l", columns(EVENTS[0]), seed=1)
    assert alone.value[0] == cut.value[0]
    assert alone.error[0] == cut.error[0]


def test_points_go_where_they_take_the_most_off_an_error():
    """Of three contributions to one sum, by their errors and what points cost; one of another sum."""

    class Of:
        count, contributions, steering = 4, Groups(np.array([0, 0, 0, 1])), 1
        correlated, beside, part, allowances, believed = False, None, None, None, 0

    tally = Tally(Of(), 1, 0.01)
    tally.value[:, 0] = 1.0
    tally.error[:, 0] = 0.1, 0.001, 0.09, 0.2
    cost, new = np.array([1000, 1000, 1000, 1000]), np.zeros(4, dtype=bool)
    np.testing.assert_array_equal(tally.urgent(np.arange(4), cost, new), [1, 0, 1, 1])
    # 1 % of a sum of 3 is within reach by the first one alone
    tally.error[:, 0] = 0.04, 0.001, 0.005, 0.2
    np.testing.assert_allclose(tally.urgent(np.arange(4), cost, new), [0.93, 0, 0, 1], rtol=1e-2)
    # and by a part of its points: 0.033² becomes 0.03² with 1.2 times as many, and a tenth is for safety
    tally.error[:, 0] = 0.033, 0.0001, 0.0001, 0.0105
    np.testing.assert_allclose(tally.urgent(np.arange(4), cost, new), [0.31, 0, 0, 0.25], rtol=1e-2)
    # what has a new map is not known
    new[1] = True
    assert tally.urgent(np.arange(4), cost, new)[1] == 1
