"""|M|² of top and W pairs with their decays, against MadGraph's numbers and the symmetries they must have."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from deepmem.physics.amplitude import matrix_element
from deepmem.physics.theory.parameters import Parameters

REFERENCE_FILE = Path(__file__).parents[1] / "reference" / "matrix_elements.json"
REFERENCE = json.loads(REFERENCE_FILE.read_text())["processes"]
MOMEMTA = json.loads((REFERENCE_FILE.parent / "momemta.json").read_text())["matrix_element_points"]

# name in the reference file, process, incoming partons
REFERENCES = [
    ("gg_ttx_dilepton", "ttbar_2l", (21, 21)),
    ("uux_ttx_dilepton", "ttbar_2l", (2, -2)),
    ("uux_ww_dilepton", "ww_2l", (2, -2)),
    ("ddx_ww_dilepton", "ww_2l", (1, -1)),
    ("gg_h_wwdl_heft", "higgs_ww_2l", (21, 21)),
]


@cache
def points(name: str) -> np.ndarray:
    return np.array(REFERENCE[name]["momenta"])


@pytest.mark.parametrize(("name", "process", "incoming"), REFERENCES)
@pytest.mark.parametrize(("alpha_s", "column"), [(0.118, "me2"), (0.13, "me2_alphas_0p13")])
def test_agrees_with_madgraph(name, process, incoming, alpha_s, column):
    """Every point of the reference file, to 1e-10, at both values of α_s, from either beam."""
    momenta = points(name)
    exchanged = momenta[:, [1, 0, *range(2, momenta.shape[1])]]
    for codes, at in ((incoming, momenta), (incoming[::-1], exchanged)):
        ours = matrix_element(process, codes, at, alpha_s=alpha_s)
        np.testing.assert_allclose(ours, REFERENCE[name][column], rtol=1e-10)


@pytest.mark.parametrize(("name", "process", "incoming"), REFERENCES)
def test_cp(name, process, incoming):
    """All particles turned into antiparticles, momenta reflected: |M|² is the same at tree level."""
    momenta = points(name)
    order = [1, 0, 5, 6, 7, 2, 3, 4] if momenta.shape[1] == 8 else [1, 0, 4, 5, 2, 3]
    conjugate = momenta[:, order] * [1, -1, -1, -1]
    np.testing.assert_allclose(
        matrix_element(process, incoming, conjugate), matrix_element(process, incoming, momenta), rtol=1e-10
    )


@pytest.mark.parametrize(("name", "process", "incoming"), REFERENCES)
def test_boosts_along_and_rotations_about_the_beam(name, process, incoming):
    """Spatial transverse polarisations stay so; the tilted beam of a rotation across it, too."""
    momenta = points(name)
    expected = matrix_element(process, incoming, momenta)
    boosted = momenta.copy()
    boosted[..., 0] = np.cosh(0.7) * momenta[..., 0] + np.sinh(0.7) * momenta[..., 3]
    boosted[..., 3] = np.sinh(0.7) * momenta[..., 0] + np.cosh(0.7) * momenta[..., 3]
    turned = [boosted]
    for i, j in ((1, 2), (3, 2)):
        rotated = momenta.copy()
        rotated[..., i] = np.cos(0.9) * momenta[..., i] - np.sin(0.9) * momenta[..., j]
        rotated[..., j] = np.sin(0.9) * momenta[..., i] + np.cos(0.9) * momenta[..., j]
        turned.append(rotated)
    for moved in turned:
        np.testing.assert_allclose(matrix_element(process, incoming, moved), expected, rtol=1e-10)


@pytest.mark.parametrize(("name", "process", "incoming"), REFERENCES)
def test_a_full_batch_is_its_points(name, process, incoming):
    few = points(name)
    many = matrix_element(process, incoming, np.resize(few, (16384, *few.shape[1:])))
    np.testing.assert_allclose(
        many, np.resize(matrix_element(process, incoming, few), 16384), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize(("name", "process", "incoming"), REFERENCES)
def test_nan_stays_in_its_event(name, process, incoming):
    momenta = points(name).copy()
    expected = matrix_element(process, incoming, momenta)
    momenta[3, 3, 1] = np.nan
    ours = matrix_element(process, incoming, momenta)
    assert np.isnan(ours[3])
    np.testing.assert_array_equal(np.delete(ours, 3), np.delete(expected, 3))


@pytest.mark.parametrize(
    ("incoming", "column"), [((21, 21), "me2_gg"), ((2, -2), "me2_q_qbar"), ((-1, 1), "me2_qbar_q")]
)
def test_agrees_with_momemta_at_true_momenta(incoming, column):
    """MoMEMta's |M|² at generated events, given to 12 digits; its momenta, to 9."""
    events = MOMEMTA["points"]
    ours = matrix_element("ttbar_2l", incoming, np.array([legs_of(event) for event in events]))
    np.testing.assert_allclose(ours, [event[column] for event in events], rtol=1e-8)


def legs_of(event) -> list[list[float]]:
    """Incoming legs from x1 and x2, then MoMEMta's ℓ⁺ b ν ℓ⁻ b̄ ν̄ in our order."""
    beam = Parameters().sqrt_s / 2
    first, second = event["x1"] * beam, event["x2"] * beam
    out = [[p[3], *p[:3]] for p in np.array(event["momenta"])[[0, 2, 1, 3, 5, 4]]]
    return [[first, 0, 0, first], [second, 0, 0, -second], *out]
