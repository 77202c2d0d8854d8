"""Photons as objects: weights of two of them against a rule of many nodes, their columns, what is refused."""

from __future__ import annotations

import awkward as ak
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepmem
from deepmem.errors import UsageError
from deepmem.inputs import Reason
from deepmem.physics.precision import double_precision
from deepmem.physics.processes import chosen_process
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.overview import overview
from deepmem.physics.weights.partonic import Partonic, shared_by_events

R, NODES, REACH = 0.04, 48, 5.0
# a width with which the rule of the test converges, and the map is still by the mass
PARAMETERS = {"diphoton": {}, "higgs_diphoton": {"WH": 5.0}}
EVENT = {
    "pho1_PT": 71.0,
    "pho1_Eta": 0.4,
    "pho1_Phi": 0.3,
    "pho2_PT": 58.0,
    "pho2_Eta": -0.7,
    "pho2_Phi": -2.9,
}


def events(**changes: float) -> dict[str, np.ndarray]:
    return {name: np.array([value]) for name, value in (EVENT | changes).items()}


def by_nodes(process: str) -> float:
    """∫ dE₁ dE₂ Π T(E_rec|E) E sinθ/(2(2π)³) Σ f f |M|², Gaussian T, by Gauss and Legendre."""
    alpha = hypothesis(process, **PARAMETERS[process])
    partonic, shared = Partonic.plain(alpha), shared_by_events(alpha)
    x, weights = np.polynomial.legendre.leggauss(NODES)
    energies, measures, directions = [], [], []
    for name in ("pho1", "pho2"):
        pt, eta, phi = (EVENT[f"{name}_{quantity}"] for quantity in ("PT", "Eta", "Phi"))
        rec, sine = pt * np.cosh(eta), 1 / np.cosh(eta)
        energy = rec * (1 + REACH * R * x)
        response = np.exp(-(((rec - energy) / (R * energy)) ** 2) / 2) / (np.sqrt(2 * np.pi) * R * energy)
        energies.append(energy)
        measures.append(weights * rec * REACH * R * response * energy * sine / (2 * (2 * np.pi) ** 3))
        directions.append((sine * np.cos(phi), sine * np.sin(phi), np.tanh(eta)))

    def squared(pair: jax.Array) -> jax.Array:
        legs = [(e, *(e * n for n in d)) for e, d in zip(pair, directions, strict=True)]
        return partonic(shared, legs)[0][0]

    pairs = np.stack(np.meshgrid(*energies, indexing="ij"), axis=-1).reshape(-1, 2)
    with double_precision():
        values = np.asarray(jax.jit(jax.vmap(squared))(jnp.asarray(pairs)))
    return float(values @ np.outer(*measures).ravel())


@pytest.mark.parametrize("process", PARAMETERS)
def test_weights_of_two_photons(process: str):
    """By the composed map, and by energies alone on a grid; in either order of the columns."""
    settings = {"r_photon": R, "precision": 3e-3, **PARAMETERS[process]}
    turned = {name.translate(str.maketrans("12", "21")): values for name, values in events().items()}
    both = {name: np.concatenate([values, turned[name]]) for name, values in events().items()}
    weight = deepmem.compute(both, process, **settings)[process]
    assert (weight.status == 0).all()
    expected = by_nodes(process)
    for value, error in zip(weight.value, weight.error, strict=True):
        assert value == pytest.approx(expected, abs=4 * error)


def test_events_bring_photons():
    """An event with fewer has status 3; photons of a schema are those of columns; others than the first
    are not looked at."""
    several = {name: np.repeat(values, 2) for name, values in events().items()}
    for name in ("pho2_PT", "pho2_Eta", "pho2_Phi"):
        several[name][1] = np.nan
    one = deepmem.compute(several, "diphoton", precision=0.05)["diphoton"]
    assert one.status.tolist() == [0, 3]
    assert one.reason[1] == Reason.NO_PHOTON
    fields = {"PT": "pt", "Eta": "eta", "Phi": "phi"}
    nano = {
        f"Photon_{field}": ak.Array(
            [[20.0 if name == "PT" else 0.1, EVENT[f"pho2_{name}"], EVENT[f"pho1_{name}"]]]
        )
        for name, field in fields.items()
    }
    other = deepmem.compute(nano, "diphoton", precision=0.05, schema="nanoaod")["diphoton"]
    assert other.value[0] == one.value[0]


def test_what_is_said_of_photons():
    assert overview("higgs_diphoton")["variables"] == ["E(a)", "s(h)"]
    assert overview("diphoton")["columns"] == [*EVENT]
    # the recoil says nothing of photons
    assert "met" not in hypothesis("diphoton").process.choices
    with pytest.raises(UsageError, match="photons, which weights are of, and nothing else yet"):
        chosen_process("diphoton", {})
