"""|M|² as a polynomial in couplings: its degree, its coefficients, and what is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deepmem.physics.errors import ModelError, ParameterError, UnknownNameError
from deepmem.physics.reactions import Theory, coefficients, matrix_element, read
from deepmem.physics.theory.models import load
from deepmem.physics.theory.polynomial import Polynomial, monomials
from tests.physics import toy_ufo
from tests.physics.small_models import collisions, decays
from tests.physics.test_models import small

HVV = Theory(model="hvv")
DECAY = "g g > h > e+ e- mu+ mu-"
REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "madgraph.json").read_text())["processes"]


def momenta() -> np.ndarray:
    return np.array(REFERENCE["gg_h_eemumu_heft"]["momenta"])


def powers(text: str) -> set[int]:
    """Of x in the coupling of a small model."""
    return {n for (n,) in monomials(small(text), ["x"])["g"]}


def test_monomials_of_couplings() -> None:
    found = monomials(load("hvv"), ["ca3", "ca1"])
    assert {name: set(each) for name, each in found.items() if each != {(0, 0)}} == {
        "hww_3": {(1, 0)},
        "hzz_3": {(1, 0)},
        "hww_1": {(0, 1)},
        "hzz_1": {(0, 1)},
    }
    assert monomials(load("hvv"), ["ca3"], ["hzz_3"]) == {"hzz_3": {(1,)}}
    assert monomials(load("hvv"), ["ca3"], ["hww_3"], given=["ca3w"]) == {"hww_3": {(0,)}}
    assert powers("x*(1 + y)**2/3 - complex(0,1)*x") == {1, 2, 3}
    assert powers("y") == {0, 1}
    assert powers("re(x**4)*cmath.exp(2)") == {4}
    assert powers("x if 2 > 1 else x**3") == {1, 3}


@pytest.mark.parametrize(
    ("name", "said"), [("MZ", "mass of 'z'"), ("WH", "width of 'h'"), ("alpha_s", "'qqg'")]
)
def test_what_enters_otherwise_is_refused_by_name(name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as error:
        monomials(load("sm"), [name])
    assert repr(name) in str(error.value)


@pytest.mark.parametrize("text", ["1/x", "cmath.sqrt(y)", "2**x", "1 if x > 1 else 2", "x**0.5", "x**-1"])
def test_what_is_no_polynomial_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="no polynomial in 'x'"):
        monomials(small(text), ["x"])


def test_a_free_coupling_has_no_value() -> None:
    with pytest.raises(ParameterError, match="ca3 is to be free"):
        coefficients(DECAY, None, momenta(), ["ca3"], HVV, ca3=1.0)
    with pytest.raises(ParameterError, match="ca3 is to be free"):
        read(DECAY, HVV).polynomial(["ca3", "ca3"])
    with pytest.raises(UnknownNameError, match="did you mean 'ca3'"):
        read(DECAY, HVV).polynomial(["ca33"])


@pytest.mark.parametrize(
    ("reaction", "names", "labels"),
    [
        (DECAY, ["ca3"], ["1", "ca3", "ca3**2"]),
        # without anything else there is no constant term
        (DECAY + " / a", ["ca1", "ca3", "cL1", "ca2"], 10),
        (DECAY, ["cg2", "cg3"], ["cg2**2", "cg2*cg3", "cg3**2"]),
        (DECAY, ["cg3", "ca3"], 9),
        # production and decay
        ("e+ e- > z h, h > e+ e- mu+ mu-", ["ca3"], ["1", "ca3", "ca3**2", "ca3**3", "ca3**4"]),
        ("e+ e- > z h, h > b b~", ["ca3"], ["1", "ca3", "ca3**2"]),
        ("u d > u d h QED=3 QCD=0, h > e+ e- mu+ mu-", ["ca3"], 5),
        ("u u~ > e+ e-", ["ca3"], ["1"]),
    ],
)
def test_the_degree_follows_from_the_diagrams(
    reaction: str, names: list[str], labels: list[str] | int
) -> None:
    found = read(reaction, HVV).polynomial(names)
    assert (list(found.labels) if isinstance(labels, list) else len(found.labels)) == labels
    # points tell the monomials apart, and rounding is not enlarged
    values = found.monomials(**dict(zip(names, found.points.T, strict=True)))
    np.testing.assert_allclose(found.inverse @ values, np.eye(len(values)), atol=1e-12)
    assert np.abs(found.inverse).sum(axis=1).max() < 40


def test_what_is_set_does_not_follow() -> None:
    """The W's ca3w follows from ca3, unless it is set: then ca3 is not in e ν μ ν at all."""
    found = read("g g > h > e+ ve mu- vm~", HVV)
    assert found.polynomial(["ca3"]).labels == ("1", "ca3", "ca3**2")
    assert found.polynomial(["ca3"], ["ca3w"]).labels == ("1",)


@pytest.mark.parametrize("names", [("ca3",), ("ca1", "ca2", "ca3", "cL1")])
def test_coefficients_give_all_values(names: tuple[str, ...]) -> None:
    point = {"ca1": 0.3, "ca2": -1.1, "ca3": 2.7, "cL1": 30.0}
    others = {name: value for name, value in point.items() if name not in names}
    found = coefficients(DECAY, None, momenta(), names, HVV, **others)
    expected = matrix_element(DECAY, None, momenta(), HVV, **point)
    np.testing.assert_allclose(found.at(**{name: point[name] for name in names}), expected, rtol=1e-8)
    # a pure term is that of the coupling alone, and what interferes is a coefficient
    if len(names) > 1:
        alone = matrix_element(DECAY, None, momenta(), HVV, ca1=0.0, ca3=1.0)
        pure = found.values[..., found.polynomial.labels.index("ca3**2")]
        np.testing.assert_allclose(pure, alone, rtol=1e-9)


def test_coefficients_of_production_and_decay() -> None:
    """Z* → Z H with H → 4ℓ: of degree four in ca3."""
    reaction, point = "z > h e+ e-, h > e+ e- mu+ mu-", decays(500.0, (0.0,) * 6)
    found = coefficients(reaction, None, point, ["ca3"], HVV, MZ=500.0, MH=125.0)
    expected = matrix_element(reaction, None, point, HVV, MZ=500.0, MH=125.0, ca3=-0.37)
    np.testing.assert_allclose(found.at(ca3=-0.37), expected, rtol=1e-9)
    assert found.polynomial.labels[-1] == "ca3**4"


def test_coefficients_of_a_folder(tmp_path: Path) -> None:
    """u ū → γ, Z′ → e⁻e⁺ with couplings of both chiralities on both sides; `mix` is in a cosine."""
    toy = Theory(model=str(toy_ufo.write(tmp_path / "toy")))
    point = collisions(400.0)
    reaction = "u u~ > e- e+ QED=2 NP=2"
    found = coefficients(reaction, None, point, ["gL", "gR"], toy, Me=0.0)
    assert found.polynomial.labels[0] == "1"
    assert found.polynomial.exponents[-1] == (0, 4)
    expected = matrix_element(reaction, None, point, toy, Me=0.0, gL=-0.7, gR=0.4)
    np.testing.assert_allclose(found.at(gL=-0.7, gR=0.4), expected, rtol=1e-10)
    with pytest.raises(ModelError, match="no polynomial in 'mix'"):
        read("S0 > mu- mu+", toy).polynomial(["mix"])


def test_scales_of_couplings() -> None:
    """A coupling of 1e-6: at points of that size, interference keeps its digits."""
    exact = np.array([2.0, 3e5, 4e11])
    found = Polynomial.of(["c"], [(0,), (1,), (2,)], {"c": 1e-6})
    np.testing.assert_allclose(sorted(found.points[:, 0]), [-1e-6, 0, 1e-6])
    values = found.monomials(c=found.points[:, 0]) @ exact
    np.testing.assert_allclose(found.coefficients(values), exact, rtol=1e-12)
    with pytest.raises(UnknownNameError, match="'d'"):
        Polynomial.of(["c"], [(0,)], {"d": 1.0})
    with pytest.raises(UnknownNameError, match="needs a value for c"):
        found.monomials()
