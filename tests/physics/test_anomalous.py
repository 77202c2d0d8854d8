"""H → e⁺e⁻μ⁺μ⁻ with anomalous couplings: generated |M|² against published formulae, its signs and its integrals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from deepmem.physics.decay_angles import DecayAngles, decay_angles
from deepmem.physics.errors import MomentaError
from deepmem.physics.integrals.quadrature import product_rule
from deepmem.physics.reactions import Coefficients, Theory, coefficients, matrix_element
from deepmem.physics.theory.expressions import evaluate
from deepmem.physics.theory.models import load

MH = 125.0
HVV = Theory(model="hvv")
DECAY = "h > e+ e- mu+ mu-"
MIXED = {"ca1": 0.7, "ca2": -0.3, "ca3": 1.3, "cL1": 40.0}


def drawn(number: int = 64) -> DecayAngles:
    """Anywhere in phase space, with either pair near the Z or none."""
    draw = np.random.default_rng(3)
    first = draw.uniform(5, 110, number)
    second = draw.uniform(0.02, 0.98, number) * (MH - first)
    return DecayAngles(first, second, *draw.uniform(-1, 1, (2, number)), draw.uniform(-np.pi, np.pi, number))


def decays(angles: DecayAngles) -> np.ndarray:
    """`[…, 5, 4]`: H at rest, then its leptons."""
    legs = angles.momenta(MH)
    rest = np.broadcast_to([MH, 0.0, 0.0, 0.0], (*legs.shape[:-2], 1, 4))
    return np.concatenate([rest, legs], axis=-2)


# ---- the variables


def test_angles_are_those_of_their_momenta() -> None:
    angles = drawn()
    legs = angles.momenta(MH)
    np.testing.assert_allclose(legs.sum(axis=1), np.tile([MH, 0, 0, 0], (64, 1)), atol=1e-11)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    turned = np.concatenate([legs[..., :1], legs[..., 1:] @ turn.T], axis=-1)
    boosted = turned.copy()
    boosted[..., 0], boosted[..., 3] = (
        1.25 * turned[..., 0] + 0.75 * turned[..., 3],
        1.25 * turned[..., 3] + 0.75 * turned[..., 0],
    )
    for momenta in (legs, turned, boosted):
        np.testing.assert_allclose(decay_angles(momenta), angles, atol=1e-9)
    mirrored = decay_angles(boosted * np.array([1, 1, 1, -1]))
    np.testing.assert_allclose(mirrored.phi, -angles.phi, atol=1e-9)
    np.testing.assert_allclose(mirrored[:4], angles[:4], atol=1e-9)
    with pytest.raises(MomentaError, match=r"\[64, 3, 4\]"):
        decay_angles(legs[:, :3])


def test_the_sense_of_phi() -> None:
    """With the first pair along +z, Φ = φ(ℓ₁⁻) − φ(ℓ₂⁻)."""
    legs = drawn().momenta(MH)
    azimuth = np.arctan2(legs[..., 2], legs[..., 1])
    difference = azimuth[:, 1] - azimuth[:, 3]
    np.testing.assert_allclose(np.exp(1j * decay_angles(legs).phi), np.exp(1j * difference), atol=1e-9)


def test_the_volume_of_phase_space() -> None:
    """Of four massless particles: (2π)⁻⁸ (π/2)³ M⁴/(3! 2!)."""
    points, weights = product_rule(2, 40)
    first = MH * points[:, 0]
    rest = MH - first
    second = rest * (1 - (1 - points[:, 1]) ** 2)
    measure = weights * MH * 2 * first * rest * 2 * (1 - points[:, 1]) * 2 * second
    zero = np.zeros_like(first)
    volume = DecayAngles(first, second, zero, zero, zero).volume(MH)
    total = np.sum(measure * volume) * 2 * 2 * 2 * np.pi
    assert total == pytest.approx((np.pi / 2) ** 3 * MH**4 / (2 * np.pi) ** 8 / 12, rel=1e-9)


# ---- |M|²


def masses(nodes: int, least: float = 4.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """m₁ > m₂ > least, and ds₁ ds₂: below M/2 even in m₁, above on a Breit–Wigner shape; m₂ even, but at M − m₁."""
    points, weights = product_rule(2, nodes)
    mass, width = 91.188, 2.441404
    low, high = (np.arctan((m**2 - mass**2) / (mass * width)) for m in (MH / 2, MH - least))
    s1 = mass**2 + mass * width * np.tan(low + points[:, 0] * (high - low))
    above = (high - low) * ((s1 - mass**2) ** 2 + (mass * width) ** 2) / (mass * width)
    light = least + points[:, 0] * (MH / 2 - least)
    first = np.concatenate([light, np.sqrt(s1)])
    of_first = np.concatenate([2 * light * (MH / 2 - least), above])
    most, u = np.minimum(first, MH - first), np.tile(points[:, 1], 2)
    second = most - (most - least) * (1 - u) ** 2
    return first, second, np.tile(weights, 2) * of_first * 2 * second * 2 * (most - least) * (1 - u)


def grid(nodes: int = 28) -> tuple[DecayAngles, np.ndarray]:
    """Points of m_ℓℓ > 4 GeV and dΦ_4 of each: a product rule that is exact in the angles of a spin-0 decay.

    Its half m₁ < m₂ is left out, and has the same integrals.
    """
    first, second, of_masses = masses(nodes)
    cosines, of_cosines = product_rule(2, 3)
    turns = 2 * np.pi * np.arange(5) / 5
    shape = (len(first), len(cosines), len(turns))
    found = DecayAngles(
        *(np.broadcast_to(each[:, None, None], shape) for each in (first, second)),
        *(np.broadcast_to(2 * each[:, None] - 1, shape) for each in cosines.T),
        np.broadcast_to(turns, shape),
    )
    measure = of_masses[:, None, None] * 4 * of_cosines[:, None] * 2 * np.pi / 5
    return found, 2 * measure * found.volume(MH)


@pytest.fixture(scope="module")
def integrals() -> tuple[Coefficients, np.ndarray]:
    """|M|² in ca1, ca2, ca3 and cL1 on the grid, and dΦ_4."""
    angles, measure = grid()
    names = ["ca1", "ca2", "ca3", "cL1"]
    return coefficients(f"{DECAY} / a", None, decays(angles), names, HVV), measure


def published(angles: DecayAngles, ca1: float, ca2: float, ca3: float, cL1: float) -> np.ndarray:
    """Σ|M|² = ¼ (g_L² + g_R²)² m₁² m₂² F/|…|² of Z propagators, F as in 1001.3396 and 1208.4018:

    F = 4|A₀₀|² sin²θ₁ sin²θ₂ + Σ_± |A_±±|² (1 ± 2R cosθ₁ + cos²θ₁)(1 ± 2R cosθ₂ + cos²θ₂)
      + Σ_± 4|A_±±| A₀₀ (R ± cosθ₁) sinθ₁ (R ± cosθ₂) sinθ₂ cos(Φ ± φ_±±)
      + 2|A_++||A_−−| sin²θ₁ sin²θ₂ cos(2Φ + φ_++ − φ_−−),
    A₀₀ = −(m_H²/v)(a₁ √(1+x) + a₂ (m₁m₂/m_H²) x),  A_±± = (m_H²/v)(a₁ ± i a₃ (m₁m₂/m_H²) √x),

    R = (g_L² − g_R²)/(g_L² + g_R²), a₁ = g₁ m_Z²/m_H² + 2 g₂ q₁·q₂/m_H², a₂ = −2 g₂, a₃ = −2 g₄, ε_0123 = 1.
    Here g₁ = 2 (ca1 − cL1 (q₁² + q₂²)/TeV²), g₂ = 2 ca2, g₄ = 2 ca3.
    """
    p = {name: complex(value).real for name, value in evaluate(load("hvv")).parameters.items()}
    m1, m2, cos1, cos2, phi = angles
    share, x = m1 * m2 / MH**2, ((MH**2 - m1**2 - m2**2) / (2 * m1 * m2)) ** 2 - 1
    g1 = 2 * (ca1 - cL1 * (m1**2 + m2**2) / 1000**2)
    a1 = (g1 * p["MZ"] ** 2 + 2 * ca2 * (MH**2 - m1**2 - m2**2)) / MH**2
    a2, a3 = -4 * ca2, -4 * ca3
    longitudinal = -(a1 * np.sqrt(1 + x) + a2 * share * x)
    plus, phase = np.abs(a1 + 1j * a3 * share * np.sqrt(x)), np.angle(a1 + 1j * a3 * share * np.sqrt(x))
    left, right = (p["ee"] / (p["sw"] * p["cw"]) * (each + p["sw2"]) for each in (-0.5, 0.0))
    both = left**2 + right**2
    r, sines = (left**2 - right**2) / both, np.sqrt((1 - cos1**2) * (1 - cos2**2))
    found = 4 * longitudinal**2 * sines**2 + 2 * plus**2 * sines**2 * np.cos(2 * (phi + phase))
    for sign in (1, -1):
        found += plus**2 * (1 + sign * 2 * r * cos1 + cos1**2) * (1 + sign * 2 * r * cos2 + cos2**2)
        mixed = 4 * longitudinal * plus * (r + sign * cos1) * (r + sign * cos2) * sines
        # φ_−− = −φ_++
        found += mixed * np.cos(phi + phase)
    poles = [np.abs(m**2 - p["MZ"] ** 2 + 1j * p["MZ"] * p["WZ"]) ** 2 for m in (m1, m2)]
    return both**2 * m1**2 * m2**2 * found * (MH**2 / p["v"]) ** 2 / 4 / poles[0] / poles[1]


@pytest.mark.parametrize(
    "given",
    [
        {"ca1": 1.0, "ca2": 0.0, "ca3": 0.0, "cL1": 0.0},
        {"ca1": 0.0, "ca2": 1.0, "ca3": 0.0, "cL1": 0.0},
        {"ca1": 0.0, "ca2": 0.0, "ca3": 1.0, "cL1": 0.0},
        {"ca1": 0.0, "ca2": 0.0, "ca3": 0.0, "cL1": 100.0},
        MIXED,
        MIXED | {"ca3": -1.3},
    ],
)
def test_the_published_distribution(given: dict[str, float]) -> None:
    """All helicity amplitudes, their relative phases, the sign of ε and the sense of Φ."""
    angles = drawn()
    found = matrix_element(f"{DECAY} / a", None, decays(angles), HVV, **given)
    np.testing.assert_allclose(found, published(angles, **given), rtol=1e-10)


def by_helicities(angles: DecayAngles, given: dict[str, float]) -> np.ndarray:
    """With photons, too: Σ|M|² = ¼ m₁² m₂² Σ_r |Σ_λ B_λ e^{iλΦ} D_λ|², where of leptons' chirality r = ±1 (right, left)

    B_λ = Σ_VW g_V(r₁) g_W(r₂) A_λ^VW/(propagators),  D_0 = 2 sinθ₁ sinθ₂,  D_± = (r₁ ± cosθ₁)(r₂ ± cosθ₂).
    """
    p = {name: complex(value).real for name, value in evaluate(load("hvv")).parameters.items()}
    m1, m2, cos1, cos2, phi = angles
    share, x = m1 * m2 / MH**2, ((MH**2 - m1**2 - m2**2) / (2 * m1 * m2)) ** 2 - 1
    c = {name: given.get(name, 0.0) for name in _HVV}

    def helicities(contact: np.ndarray, g2: float, g4: float) -> dict[int, np.ndarray]:
        """`contact`: g₁ m_V²."""
        a1 = (contact + g2 * (MH**2 - m1**2 - m2**2)) / MH**2
        return {
            0: -(a1 * np.sqrt(1 + x) - 2 * g2 * share * x),
            1: a1 - 2j * g4 * share * np.sqrt(x),
            -1: a1 + 2j * g4 * share * np.sqrt(x),
        }

    square = p["MZ"] ** 2
    slopes = {"z": c["cL1"] * (m1**2 + m2**2), "az": c["cL1za"] * m1**2, "za": c["cL1za"] * m2**2}
    of_pair = {
        "zz": helicities(2 * square * (c["ca1"] - slopes["z"] / 1000**2), 2 * c["ca2"], 2 * c["ca3"]),
        "aa": helicities(0 * m1, 2 * c["ca2aa"], 2 * c["ca3aa"]),
        **{
            pair: helicities(-2 * square * slopes[pair] / 1000**2, 2 * c["ca2za"], 2 * c["ca3za"])
            for pair in ("za", "az")
        },
    }
    pole = {"z": lambda m: 1 / (m**2 - square + 1j * p["MZ"] * p["WZ"]), "a": lambda m: 1 / m**2}
    left, right = (p["ee"] / (p["sw"] * p["cw"]) * (each + p["sw2"]) for each in (-0.5, 0.0))
    couples = {"z": {1: right, -1: left}, "a": {1: -p["ee"], -1: -p["ee"]}}
    total = np.zeros(np.shape(phi))
    for r1, r2 in itertools.product((1, -1), repeat=2):
        amplitude = np.zeros(np.shape(phi), complex)
        for (v, w), each in of_pair.items():
            strength = couples[v][r1] * couples[w][r2] * pole[v](m1) * pole[w](m2)
            amplitude += strength * each[0] * 2 * np.sqrt((1 - cos1**2) * (1 - cos2**2))
            for sign in (1, -1):
                turned = (r1 + sign * cos1) * (r2 + sign * cos2) * np.exp(sign * 1j * phi)
                amplitude += strength * each[sign] * turned
        total += np.abs(amplitude) ** 2
    return m1**2 * m2**2 * total * (MH**2 / p["v"]) ** 2 / 4


_HVV = ("ca1", "ca2", "ca3", "cL1", "ca2za", "ca3za", "cL1za", "ca2aa", "ca3aa")


@pytest.mark.parametrize("names", [_HVV, *((name,) for name in _HVV[1:])], ids=" ".join)
def test_photons_too(names: tuple[str, ...]) -> None:
    """Each coupling beside ca1, and all of them; with photons a term's sign is that of the charge, ee Q."""
    angles = drawn()
    values = dict(zip(_HVV, (0.9, -0.4, 0.7, 30.0, 0.2, -0.3, -25.0, 0.1, 0.15), strict=True))
    given = {name: values[name] for name in names} | {"ca1": 0.9}
    found = matrix_element(DECAY, None, decays(angles), HVV, **given)
    np.testing.assert_allclose(found, by_helicities(angles, given), rtol=1e-10)


def test_helicity_amplitudes_out_of_generated_squares() -> None:
    """|A₀₀|², |A_++|² + |A_−−|² and A_++ A_−−* as moments of |M|² over the angles, against their formulae.

    Over the sphere Legendre's P₂(cosθ₁) and P₂(cosθ₂) tell A₀₀ from the others, and e^{2iΦ} picks A_++ A_−−*.
    """
    cosines, weights = product_rule(2, 4)
    cos1, cos2 = (2 * cosines - 1).T
    turns = 2 * np.pi * np.arange(6) / 6
    shape = (len(cos1), len(turns))
    angles = DecayAngles(
        np.full(shape, 88.0),
        np.full(shape, 27.0),
        *(np.broadcast_to(each[:, None], shape) for each in (cos1, cos2)),
        np.broadcast_to(turns, shape),
    )
    x = ((MH**2 - 88.0**2 - 27.0**2) / (2 * 88.0 * 27.0)) ** 2 - 1
    found = matrix_element(f"{DECAY} / a", None, decays(angles), HVV, **MIXED)

    def moment(shape: np.ndarray) -> complex:
        return complex(np.sum(weights[:, None] * found * shape) / 6)

    def second(cosine: np.ndarray) -> np.ndarray:
        return (3 * cosine**2 - 1)[:, None] / 2

    # sin²θ averages to 2/3, with P₂ to −2/15; 1 + cos²θ to 4/3, with P₂ to 2/15
    whole, first, both = moment(np.ones(shape)), moment(second(cos1)), moment(second(cos1) * second(cos2))
    matrix = np.array([[16 / 9, 16 / 9], [-16 / 45, 8 / 45], [16 / 225, 4 / 225]])
    (longitudinal, transverse), residual, *_ = np.linalg.lstsq(
        matrix, np.array([whole.real, first.real, both.real]), rcond=None
    )
    assert residual.sum() < 1e-18 * whole.real**2
    crossed = moment(np.broadcast_to(np.exp(-2j * turns), shape)) / (4 / 9)
    g1 = 2 * (MIXED["ca1"] - MIXED["cL1"] * (88.0**2 + 27.0**2) / 1000**2)
    mz, q1q2, share = 91.188, (MH**2 - 88.0**2 - 27.0**2) / 2, 88.0 * 27.0 / MH**2
    a1 = g1 * mz**2 / MH**2 + 4 * MIXED["ca2"] * q1q2 / MH**2
    plus = a1 - 4j * MIXED["ca3"] * share * np.sqrt(x)
    zero = a1 * np.sqrt(1 + x) - 4 * MIXED["ca2"] * share * x
    assert transverse / longitudinal == pytest.approx(2 * abs(plus) ** 2 / zero**2, rel=1e-10)
    assert crossed / longitudinal == pytest.approx(plus * plus / zero**2, rel=1e-10)


def test_without_anomalous_couplings_it_is_the_standard_model() -> None:
    momenta = decays(drawn())
    plain = matrix_element(DECAY, None, momenta)
    np.testing.assert_allclose(matrix_element(DECAY, None, momenta, HVV), plain, rtol=1e-12)
    none = matrix_element(DECAY, None, momenta, HVV, ca1=0.0)
    assert np.all(np.abs(none) < 1e-30 * plain)
    w = "h > e+ ve mu- vm~"
    np.testing.assert_allclose(
        matrix_element(w, None, momenta, HVV), matrix_element(w, None, momenta), rtol=1e-12
    )


def test_a_top_pair() -> None:
    """H → t t̄ of 500 GeV by κ + i κ̃ γ⁵: Σ|M|² = 6 (m/v)² (κ² (M² − 4m²) + κ̃² M²)."""
    mass, top = 500.0, 173.0
    size = np.sqrt(mass**2 / 4 - top**2)
    momenta = [[mass, 0, 0, 0], [mass / 2, 0, 0, size], [mass / 2, 0, 0, -size]]
    v = complex(evaluate(load("hvv")).parameters["v"]).real
    found = matrix_element("h > t t~", None, momenta, HVV, MH=mass, kappa=0.6, kappa_tilde=-0.7)
    expected = 6 * (top / v) ** 2 * (0.6**2 * (mass**2 - 4 * top**2) + 0.7**2 * mass**2)
    assert found == pytest.approx(expected, rel=1e-10)


def test_the_sign_of_cp_violation() -> None:
    """D_CP = P_int/(2√(P₀₊ P₀₋)) changes its sign with ca3, and in a mirror; it lies between −1 and 1."""
    momenta = decays(drawn())
    mirrored = momenta * np.array([1, 1, -1, 1])
    even, crossed, odd = coefficients(DECAY, None, momenta, ["ca3"], HVV).values.T
    seen = coefficients(DECAY, None, mirrored, ["ca3"], HVV).values.T
    np.testing.assert_allclose(seen[1], -crossed, atol=1e-12 * even.max(), rtol=1e-8)
    np.testing.assert_allclose(seen[[0, 2]], [even, odd], rtol=1e-9)
    asymmetry = crossed / (2 * np.sqrt(even * odd))
    assert np.all(np.abs(asymmetry) <= 1 + 1e-9)
    assert np.abs(asymmetry).max() > 0.4
    plus, minus = (matrix_element(DECAY, None, momenta, HVV, ca3=each) for each in (1.0, -1.0))
    np.testing.assert_allclose(plus - minus, 2 * crossed, atol=1e-9 * even.max())


# ---- integrals


def test_ratios_of_cross_sections(integrals: tuple[Coefficients, np.ndarray]) -> None:
    """σ₁/σ₃ = 6.49 and σ₁/σ₂ = 2.74 for unit couplings; JHUGen has 6.53, 2.77 and 1/121.1² for cL1."""
    found, measure = integrals
    totals = np.einsum("abck,abc->k", found.values, measure)
    sigma = dict(zip(found.polynomial.labels, totals, strict=True))
    assert sigma["ca1**2"] / sigma["ca3**2"] == pytest.approx(6.49, rel=0.01)
    assert sigma["ca1**2"] / sigma["ca2**2"] == pytest.approx(2.74, rel=0.01)
    assert np.sqrt(sigma["ca1**2"] / sigma["cL1**2"]) == pytest.approx(121.1, rel=0.02)
    for name in ("ca1*ca3", "ca2*ca3", "ca3*cL1"):
        assert abs(sigma[name]) < 1e-10 * sigma["ca1**2"], name


def test_cp_violation_turns_phi(integrals: tuple[Coefficients, np.ndarray]) -> None:
    """With ca1 and ca3 of one sign more decays have sin 2Φ > 0."""
    found, measure = integrals
    angles, _ = grid()
    crossed = found.values[..., found.polynomial.labels.index("ca1*ca3")]
    even = found.values[..., found.polynomial.labels.index("ca1**2")]
    moment = np.sum(crossed * measure * np.sin(2 * angles.phi)) / np.sum(even * measure)
    assert moment > 0.01
