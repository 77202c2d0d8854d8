"""b quarks in the proton: MB is 0 in |M|², kinematics and legs, and a Yukawa mass is not."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepmem.errors import UsageError
from deepmem.physics.errors import ParameterError
from deepmem.physics.theory.densities import PartonDensity
from deepmem.physics.theory.lhapdf import load
from deepmem.physics.weights import engine
from deepmem.physics.weights.contributions import contributions
from deepmem.physics.weights.hypothesis import Hypothesis, hypothesis
from deepmem.physics.weights.parton_level import Reaction
from deepmem.physics.weights.partonic import Partonic, shared_by_events
from tests.physics import any_process

SINGLE_TOP = "x=p p > t j, (t > w+ b, w+ > mu+ vm)"


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def momenta(alpha: Hypothesis) -> np.ndarray:
    """Of outgoing legs `[points, legs, 4]`, total p_T 0."""
    found = any_process.truth(alpha, 6, noise=0.0).momenta
    total = found.sum(axis=1)
    beta = -total[:, 1:3] / total[:, :1]
    gamma = 1 / np.sqrt(1 - (beta**2).sum(axis=1))
    boosted = found.copy()
    along = (found[..., 1:3] * beta[:, None]).sum(axis=-1)
    factor = (gamma**2 / (1 + gamma))[:, None] * along + gamma[:, None] * found[..., 0]
    boosted[..., 1:3] += factor[..., None] * beta[:, None]
    boosted[..., 0] = gamma[:, None] * (found[..., 0] + along)
    return boosted


def of_weights(alpha: Hypothesis, legs: np.ndarray) -> np.ndarray:
    """Σ f f |M|² with the factors of a weight, of each point."""
    partonic, shared = Partonic.of(alpha), shared_by_events(alpha)
    points = [tuple(map(jnp.asarray, leg.T)) for leg in legs.swapaxes(0, 1)]
    values = jax.jit(jax.vmap(lambda each: partonic(shared, each)[0]))(points)
    return np.asarray(values)[:, 0]


def of_sigma(reaction: Reaction, legs: np.ndarray, density: PartonDensity) -> np.ndarray:
    """The same from the parts of a cross-section."""
    total, found = legs.sum(axis=1), np.zeros(len(legs))
    s = reaction.root**2
    first, second = ((total[:, 0] + sign * total[:, 3]) / reaction.root for sign in (1, -1))
    at_scale = jax.jit(lambda scale: density.at_scale(scale))(jnp.asarray(reaction.scale))
    read = jax.jit(jax.vmap(at_scale.xf))
    xf = [np.asarray(read(jnp.asarray(x))) for x in (first, second)]
    place = {parton: k for k, parton in enumerate(at_scale.partons)}
    zero = np.zeros(len(legs))
    beams = [
        np.stack([x * reaction.root / 2, zero, zero, sign * x * reaction.root / 2], axis=-1)
        for x, sign in ((first, 1), (second, -1))
    ]
    for part in reaction.parts:
        square = part.amplitude.values(np.stack([*beams, *legs.swapaxes(0, 1)], axis=1), reaction.values)
        light = sum(
            each.times * xf[0][:, place[each.partons[0]]] * xf[1][:, place[each.partons[1]]]
            for each in part.contributions
        )
        found += light * square
    return found * (2 * np.pi) ** 4 * (2 / s) / (2 * (first * second) ** 2 * s)


def test_densities_and_amplitudes_are_those_of_cross_sections():
    """Both protons are alike, so the sum of a point and the one turned over."""
    alpha = hypothesis(SINGLE_TOP, flavours=5)
    assert float(alpha.parameters.MB) == 0.0
    assert alpha.flavours == 5
    legs = momenta(alpha)
    turned = legs * np.array([1.0, -1.0, 1.0, -1.0])
    reaction = Reaction(SINGLE_TOP, flavours=5)
    partons = {parton for part in reaction.parts for each in part.contributions for parton in each.partons}
    density = load("NNPDF23_lo_as_0130_qed").select(*sorted(partons))
    assert {5, 2} <= partons
    ours = of_weights(alpha, legs) + of_weights(alpha, turned)
    theirs = of_sigma(reaction, legs, density) + of_sigma(reaction, turned, density)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_b_quarks_of_the_proton_make_lepton_pairs_as_on_the_menu():
    pair = {
        "lep1_PT": 45.0, "lep1_Eta": 0.3, "lep1_Phi": 0.2, "lep1_Charge": -1.0,
        "lep2_PT": 41.0, "lep2_Eta": -0.5, "lep2_Phi": -2.9, "lep2_Charge": 1.0,
    }  # fmt: skip
    events = {name: np.array([value]) for name, value in pair.items()}
    found: dict[str, Any] = {
        name: engine.compute(hypothesis(name, flavours=5), events, precision=1e-4)
        for name in ("x=p p > mu+ mu-", "drell_yan")
    }
    four = engine.compute(hypothesis("drell_yan"), events, precision=1e-4)["drell_yan"]
    one, other = found["x=p p > mu+ mu-"]["x"], found["drell_yan"]["drell_yan"]
    assert one.value[0] == pytest.approx(other.value[0], rel=1e-3)
    assert other.value[0] > 1.02 * four.value[0]


def test_a_b_jet_has_no_mass_and_a_yukawa_coupling_keeps_its():
    alpha = hypothesis("x=p p > t j, (t > w+ b, w+ > mu+ vm)", flavours=5)
    event = {
        "lep1_PT": 40.0, "lep1_Eta": 0.2, "lep1_Phi": 0.8, "lep1_Charge": 1.0, "MET": 46.0, "MET_Phi": -2.0,
        "j1_PT": 85.0, "j1_Eta": -0.6, "j1_Phi": 2.5, "j1_M": 8.0,
        "j2_PT": 60.0, "j2_Eta": 2.1, "j2_Phi": -0.9, "j2_M": 6.0,
    }  # fmt: skip
    (rows,), reason = contributions(alpha, {name: np.array([value]) for name, value in event.items()})
    assert reason.tolist() == [0]
    assert not rows.measured.mass.any()
    higgs = hypothesis("x=p p > h, h > b b~", flavours=5)
    assert higgs.process.generated is not None
    assert higgs.process.generated.defaults["ymb"] == pytest.approx(4.7)
    assert "MB" not in higgs.process.parameters
    again = Hypothesis.from_dict(alpha.describe())
    assert again.to_dict() == alpha.to_dict()
    assert float(again.parameters.MB) == 0.0


def test_what_has_no_meaning_is_refused():
    with pytest.raises(UsageError, match="in a proton of five: add flavours=5"):
        hypothesis("x=b u > t d, (t > w+ b, w+ > mu+ vm)")
    with pytest.raises(UsageError, match="unknown parameter of x 'MB'"):
        hypothesis(SINGLE_TOP, flavours=5, MB=4.7)
    with pytest.raises(ParameterError, match="leave b_mass=jet out"):
        hypothesis(SINGLE_TOP, flavours=5, b_mass="jet")
