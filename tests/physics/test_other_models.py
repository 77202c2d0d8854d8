"""Generated amplitudes of a UFO folder and of the model `hvv` against closed forms and symmetries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deepmem.physics.amplitudes.amplitude import amplitude
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.models import load
from deepmem.physics.theory.reaction import parse
from deepmem.physics.theory.subprocesses import Subprocess, expand
from tests.physics import toy_ufo
from tests.physics.small_models import collisions, decays, mandelstam, squares

PROCESSES = json.loads((Path(__file__).parents[1] / "reference" / "madgraph.json").read_text())["processes"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(toy_ufo.write(tmp_path_factory.mktemp("folder") / "toy"))


def of_reaction(reaction: str, model: Model, momenta: np.ndarray, **values: float) -> np.ndarray:
    (subprocess,) = expand(parse(reaction), model)
    return amplitude(model, subprocess, cache=False).reference(momenta, values)


# ---- a UFO folder


def test_a_z_prime_and_a_photon(toy: Model) -> None:
    """u ū → e⁻e⁺: 1/(4·3) Σ over chiralities of 4 |A_ab|² (u² where a = b, else t²),
    A_ab = Q_u Q_e e²/s + g_a g_b/(s − M² + iMΓ).
    """
    momenta = collisions(400.0)
    s, t, u = mandelstam(momenta)
    pole = 1 / (s - 800.0**2 + 800.0j * 12.0)
    photon = -2 / 3 * 4 * np.pi / 127.9 / s
    same = sum(np.abs(photon + g * g * pole) ** 2 for g in (0.2, 0.25))
    other = 2 * np.abs(photon + 0.2 * 0.25 * pole) ** 2
    found = of_reaction("u u~ > e- e+ QED=2 NP=2", toy, momenta, Me=0.0)
    np.testing.assert_allclose(found, 4 * (same * u**2 + other * t**2) / 12, rtol=1e-11)


def test_pairs_of_majorana_fermions_of_a_z_prime(toy: Model) -> None:
    """u ū → Z′ → χχ by ½ g χ̄ γ^μ γ⁵ χ, whose vertex is i g γ^μ γ⁵, as of a UFO folder; ½ is for two of a kind:

    1/12 ½ Σ_a |g g_a/(s − M² + iMΓ)|² 2 s² β² (1 + cos²θ),    β² = 1 − 4 m²/s.
    """
    mass, g = 200.0, 0.2 - 0.25
    momenta = collisions(400.0, (mass, mass))
    s, pole = 800.0**2, 1 / (800.0j * 12.0)
    beta = np.sqrt(1 - 4 * mass**2 / s)
    cosine = momenta[:, 2, 3] / (400.0 * beta)
    strength = sum(abs(g * each * pole) ** 2 for each in (0.2, 0.25))
    expected = strength * 2 * s**2 * beta**2 * (1 + cosine**2) / 24
    found = of_reaction("u u~ > chi chi NP=2 QED=0", toy, momenta)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_scalar_of_no_parity(toy: Model) -> None:
    """S → μμ by μ̄ (g_L P_L + g_R P_R) μ, g_R = ḡ_L, and S → γγ by λ (F F + F F̃), each half of it:

    Σ|M|² = (|g_L|² + |g_R|²) (M² − 2m²) − 4 m² Re g_L ḡ_R,    ½ Σ|M|² = ½ λ² M⁴.
    """
    mass, scalar, mix = 60.0, 300.0, 0.3
    strength = (mix / 10) ** 2
    expected = 2 * strength * (scalar**2 - 2 * mass**2) - 4 * mass**2 * strength * np.cos(2 * mix)
    muons = squares(toy, (99001,), (13, -13), decays(scalar, (mass, mass)), Mmu=mass)
    np.testing.assert_allclose(muons, expected, rtol=1e-9)
    photons = squares(toy, (99001,), (22, 22), decays(scalar, (0.0, 0.0)))
    np.testing.assert_allclose(photons, 2e-4**2 * scalar**4 / 2, rtol=1e-9)


# ---- anomalous couplings of the Higgs boson


@pytest.mark.parametrize(("name", "alike"), [("gg_hg_heft", True), ("gg_hgg_heft", False)])
def test_one_gluon_does_not_tell_the_parity_of_a_higgs_boson(name: str, alike: bool) -> None:
    """h G G is the vertex of `heft`; h G G̃ has the same |M|² in gg → h g, where every helicity amplitude is ±i
    times that of h G G, and another one with two gluons (G. Klämke, D. Zeppenfeld, hep-ph/0703202).
    """
    model, momenta = load("hvv"), np.array(PROCESSES[name]["momenta"])
    reaction = PROCESSES[name]["process"]
    even, odd = (of_reaction(reaction, model, momenta, cg2=a, cg3=1 - a) for a in (1.0, 0.0))
    np.testing.assert_allclose(even, of_reaction(reaction, load("heft"), momenta), rtol=1e-9)
    if alike:
        np.testing.assert_allclose(odd, even, rtol=1e-9)
    else:
        assert np.all(odd > 0)
        assert not np.allclose(odd, even, rtol=1e-3)


@pytest.fixture(scope="module")
def four_leptons() -> Subprocess:
    (only,) = expand(parse("g g > h > e+ e- mu+ mu-"), load("hvv"))
    return only


def test_interference_of_parities_is_odd_under_a_mirror(four_leptons: Subprocess) -> None:
    """gg → h → 4ℓ with ca3: |M|² = A + B ca3 + C ca3², and in a mirror A − B ca3 + C ca3²."""
    found = amplitude(load("hvv"), four_leptons, cache=False)
    momenta = np.array(PROCESSES["gg_h_eemumu_heft"]["momenta"])
    mirrored = momenta * np.array([1, 1, -1, 1])
    minus, none, plus, twice = (found.reference(momenta, {"ca3": value}) for value in (-1.0, 0.0, 1.0, 2.0))
    linear, quadratic = (plus - minus) / 2, (plus + minus) / 2 - none
    np.testing.assert_allclose(twice, none + 2 * linear + 4 * quadratic, rtol=1e-9)
    assert np.all(np.abs(linear) > 1e-3 * none)
    np.testing.assert_allclose(found.reference(mirrored, {"ca3": 1.0}), minus, rtol=1e-9)
    np.testing.assert_allclose(found.reference(mirrored, {"ca3": 0.0}), none, rtol=1e-9)


def test_parities_of_the_production_do_not_interfere(four_leptons: Subprocess) -> None:
    """gg → h with cg2 and cg3: the sum over the gluons' helicities is that of the squares."""
    found = amplitude(load("hvv"), four_leptons, cache=False)
    momenta = np.array(PROCESSES["gg_h_eemumu_heft"]["momenta"])
    even, odd, both = (
        found.reference(momenta, {"cg2": a, "cg3": b}) for a, b in ((1.0, 0.0), (0.0, 0.7), (1.0, 0.7))
    )
    np.testing.assert_allclose(both, even + odd, rtol=1e-9)
