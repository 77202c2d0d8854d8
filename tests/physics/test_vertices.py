"""Vertices of small models against closed forms: contact terms, dipoles, colour, and decays into two."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from deepmem.physics.theory.expressions import evaluate
from deepmem.physics.theory.model import Model, Particle
from deepmem.physics.theory.models import load
from tests.physics.small_models import (
    CURRENT,
    DOWN,
    ELECTRON,
    GLUON,
    MUON,
    PHOTON,
    UP,
    collisions,
    decays,
    dot,
    mandelstam,
    small,
    squares,
)

LEFT_LEFT = "Gamma(-1,2,-2)*ProjM(-2,1)*Gamma(-1,4,-3)*ProjM(-3,3)"
EXCHANGED = "Gamma(-1,4,-2)*ProjM(-2,1)*Gamma(-1,2,-3)*ProjM(-3,3)"


# ---- four fermions


def electrons(*terms: tuple[str, str, str], contact: tuple[int, ...] = (-11, 11, -13, 13)) -> Model:
    """Electrons and muons with a photon of charge e and a vertex `contact` of four of them."""
    photon = [((-code, code, 22), [("1", CURRENT, "complex(0,-1)*e")]) for code in (11, 13)]
    return small(
        (ELECTRON, MUON, PHOTON),
        {"e": 0.3, "c": 2e-6, "f": 1e-6},
        [*photon, (contact, terms)],
    )


@pytest.mark.parametrize(
    ("codes", "structure"),
    [
        ((-11, 11, -13, 13), LEFT_LEFT),
        ((11, -11, -13, 13), "Gamma(-1,1,-2)*ProjM(-2,2)*Gamma(-1,4,-3)*ProjM(-3,3)"),
        ((-13, 13, 11, -11), "Gamma(-1,3,-2)*ProjM(-2,4)*Gamma(-1,2,-3)*ProjM(-3,1)"),
    ],
)
def test_a_contact_term_interferes_with_a_photon(codes: tuple[int, ...], structure: str) -> None:
    """e⁻e⁺ → μ⁻μ⁺ with c (ē γ P_L e)(μ̄ γ P_L μ): E. Eichten, K. Lane, M. Peskin, PRL 50 (1983) 811.

    ¼ Σ|M|² = u² ((e²/s + c)² + (e²/s)²) + 2 t² (e²/s)².
    """
    momenta = collisions(200.0)
    s, t, u = mandelstam(momenta)
    photon = 0.3**2 / s
    expected = u**2 * ((photon + 2e-6) ** 2 + photon**2) + 2 * t**2 * photon**2
    model = electrons(("1", structure, "complex(0,1)*c"), contact=codes)
    found = squares(model, (11, -11), (13, -13), momenta)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_equal_fermions_of_a_contact_term_are_exchanged() -> None:
    """e⁻e⁻ → e⁻e⁻ with c (ē γ P_L e)², ibid.: both ways to join two electrons add up, as do t and u,

    ¼ ½ Σ|M|² = ½ [s² ((A + 4c)² + A²) + 2 e⁴ (u²/t² + t²/u²)],    A = e²/t + e²/u.
    """
    momenta = collisions(200.0)
    s, t, u = mandelstam(momenta)
    both = 0.3**2 * (1 / t + 1 / u)
    expected = (s**2 * ((both + 8e-6) ** 2 + both**2) + 2 * 0.3**4 * (u**2 / t**2 + t**2 / u**2)) / 2
    model = electrons(
        ("1", LEFT_LEFT, "complex(0,2)*c"), ("1", EXCHANGED, "complex(0,-2)*c"), contact=(-11, 11, -11, 11)
    )
    np.testing.assert_allclose(squares(model, (11, 11), (11, 11), momenta), expected, rtol=1e-12)


def test_a_scalar_and_a_tensor_contact_term() -> None:
    """c (ē P_L e)(μ̄ P_L μ) + f (ē σ^μν P_L e)(μ̄ σ_μν P_L μ) + h.c., without photons.

    P_L ⊗ P_L exchanged is ½ P_L ⊗ P_L + ⅛ σP_L ⊗ σP_L (M. Fierz, Z. Phys. 104 (1937) 553), and with spinors
    ⟨21⟩⟨34⟩ of size s the exchanged ⟨24⟩⟨31⟩ is −t/s of it. So ¼ Σ|M|² = ½ (c s + 4 f (u − t))².
    """
    scalar, tensor = "Proj{0}(2,1)*Proj{0}(4,3)", "Sigma(-1,-2,2,-3)*Proj{0}(-3,1)*Sigma(-1,-2,4,3)"
    terms = [
        ("1", text.format(side), f"complex(0,1)*{name}")
        for side in "MP"
        for text, name in ((scalar, "c"), (tensor, "f"))
    ]
    momenta = collisions(200.0)
    s, t, u = mandelstam(momenta)
    found = squares(electrons(*terms), (11, -11), (13, -13), momenta, e=0.0)
    np.testing.assert_allclose(found, (2e-6 * s + 4e-6 * (u - t)) ** 2 / 2, rtol=1e-12)


FERMI = 1.16637e-5
MUON_DECAY = (11, -12, 14)


def fermi(*terms: tuple[str, str, str]) -> Model:
    """μ → e ν̄ ν with masses of 10 and 3 GeV; the vertex (ν̄_μ … μ)(ē … ν_e)."""
    particles = (
        Particle(11, "e-", "e+", 2, 1, "Me", "ZERO", -3),
        Particle(13, "mu-", "mu+", 2, 1, "Mmu", "ZERO", -3),
        Particle(12, "ve", "ve~", 2, 1, "ZERO", "ZERO", 0),
        Particle(14, "vm", "vm~", 2, 1, "ZERO", "ZERO", 0),
    )
    values = {"Me": 3.0, "Mmu": 10.0, "GF": FERMI}
    return small(particles, values, [((-13, 14, -12, 11), terms)])


@pytest.mark.parametrize("exchanged", [False, True])
def test_decay_of_the_muon(exchanged: bool) -> None:
    """μ(p) → e(k) ν̄_e(p′) ν_μ(k′) in Fermi's theory: ½ Σ|M|² = 64 G_F² (p·p′)(k·k′), for any mass of the electron.

    As (ν̄_μ γ P_L μ)(ē γ P_L ν_e) or, exchanged, as (ē γ P_L μ)(ν̄_μ γ P_L ν_e): L. Okun, Leptons and Quarks.
    """
    strength = "complex(0,-4)*GF/cmath.sqrt(2)"
    term = ("1", EXCHANGED, f"-({strength})") if exchanged else ("1", LEFT_LEFT, strength)
    momenta = decays(10.0, (3.0, 0.0, 0.0))
    mother, electron, antineutrino, neutrino = np.moveaxis(momenta, 1, 0)
    expected = 64 * FERMI**2 * dot(mother, antineutrino) * dot(electron, neutrino)
    found = squares(fermi(term), (13,), MUON_DECAY, momenta)
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_both_orders_of_a_contact_term_add_up() -> None:
    """V − A is its own exchange with the opposite sign: twice the amplitude with both."""
    one, minus = "complex(0,1)*GF", "complex(0,-1)*GF"
    momenta = decays(10.0, (3.0, 0.0, 0.0))
    both = fermi(("1", LEFT_LEFT, one), ("1", EXCHANGED, minus))
    single = squares(fermi(("1", LEFT_LEFT, one)), (13,), MUON_DECAY, momenta)
    np.testing.assert_allclose(squares(both, (13,), MUON_DECAY, momenta), 4 * single, rtol=1e-11)


def test_a_contact_term_is_the_limit_of_a_heavy_boson() -> None:
    """e⁻e⁺ → e⁻e⁺ by a Z′ of mass M with a left-handed coupling g is that with −g²/(2M²) (ē γ P_L e)²."""
    boson = Particle(32, "zp", "zp", 3, 1, "MZp", "ZERO", 0)
    photon = ((-11, 11, 22), [("1", CURRENT, "complex(0,-1)*e")])
    left = ((-11, 11, 32), [("1", "Gamma(3,2,-1)*ProjM(-1,1)", "complex(0,1)*g")])
    values = {"e": 0.3, "g": 500.0, "MZp": 1e6}
    heavy = small((ELECTRON, PHOTON, boson), values, [photon, left])
    contact = electrons(
        ("1", LEFT_LEFT, "complex(0,2)*c"), ("1", EXCHANGED, "complex(0,-2)*c"), contact=(-11, 11, -11, 11)
    )
    momenta = collisions(200.0)
    beams, out = (11, -11), (11, -11)
    found = squares(contact, beams, out, momenta, c=-(500.0**2) / 2e12)
    np.testing.assert_allclose(found, squares(heavy, beams, out, momenta), rtol=1e-6)
    assert np.all(np.abs(found / squares(contact, beams, out, momenta, c=0.0) - 1) > 1e-3)


# ---- dipoles


@pytest.mark.parametrize(
    ("dirac", "magnetic", "electric"), [(0.3, 2e-3, 0), (0, 1e-3, 0), (0.2, -3e-3, 4e-3)]
)
def test_dipole_moments(dirac: float, magnetic: float, electric: float) -> None:
    """V(q) → f f̄ by F₁ γ^μ + i a σ^μν q_ν + d σ^μν γ⁵ q_ν, q what enters: with Sachs' form factors
    (R. Sachs, Phys. Rev. 126 (1962) 2256) G_M = F₁ + 2ma, G_E = F₁ + s a/(2m),

    ⅓ Σ|M|² = ⅓ [4 s (G_M² + (2m²/s) G_E²) + 2 d² s (s − 4m²)].

    The electric term is of ū σ^μν γ⁵ q_ν v = ∓i (p₁ − p₂)^μ ū γ⁵ v, and odd under CP: it does not interfere.
    """
    mass, heavy = 60.0, 200.0
    particles = (
        Particle(13, "mu-", "mu+", 2, 1, "m", "ZERO", -3),
        Particle(32, "v", "v", 3, 1, "MV", "ZERO", 0),
    )
    terms = [
        ("1", CURRENT, "complex(0,1)*F"),
        # i × i a × (−P), as P leaves.
        ("1", "Sigma(3,-1,2,1)*P(-1,3)", "a"),
        ("1", "Sigma(3,-1,2,-2)*Gamma5(-2,1)*P(-1,3)", "complex(0,-1)*d"),
    ]
    model = small(particles, {"m": mass, "MV": heavy, "F": 1.0, "a": 1.0, "d": 1.0}, [((-13, 13, 32), terms)])
    momenta = decays(heavy, (mass, mass))
    s = heavy**2
    sachs_m, sachs_e = dirac + 2 * mass * magnetic, dirac + s * magnetic / (2 * mass)
    total = 4 * (s * sachs_m**2 + 2 * mass**2 * sachs_e**2) + 2 * electric**2 * s * (s - 4 * mass**2)
    found = squares(model, (32,), (13, -13), momenta, F=dirac, a=magnetic, d=electric)
    np.testing.assert_allclose(found, total / 3, rtol=1e-10)


# ---- colour


def octets(*terms: tuple[str, str, str], values: dict[str, float] | None = None) -> Model:
    """Four scalar octets of codes 9001 to 9004 with one vertex of all, or of the first three."""
    count = 4 if any("4" in colour for colour, _, _ in terms) else 3
    particles = [Particle(9000 + k, f"o{k}", f"o{k}", 1, 8, f"M{k}", "ZERO", 0) for k in range(1, 5)]
    masses = {"M1": 300.0, "M2": 50.0, "M3": 80.0, "M4": 20.0}
    codes = tuple(particle.code for particle in particles[:count])
    return small(particles, masses | (values or {"a": 3.0, "b": 7.0}), [(codes, terms)])


@pytest.mark.parametrize(
    ("colour", "expected"), [("d(1,2,3)", Fraction(40, 3)), ("f(1,2,3)", 24), ("d(3,1,2)", Fraction(40, 3))]
)
def test_three_octets(colour: str, expected: Fraction) -> None:
    """o₁ → o₂ o₃: Σ d^abc d^abc = (N² − 4)(N² − 1)/N, Σ f^abc f^abc = N (N² − 1), over 8 colours."""
    momenta = decays(300.0, (50.0, 80.0), 1)
    found = squares(octets((colour, "1", "complex(0,1)*a")), (9001,), (9002, 9003), momenta)
    np.testing.assert_allclose(found, 3.0**2 * float(expected) / 8, rtol=1e-12)
    both = octets(("d(1,2,3)", "1", "complex(0,1)*a"), ("f(1,2,3)", "1", "complex(0,1)*b"))
    mixed = squares(both, (9001,), (9002, 9003), momenta)
    np.testing.assert_allclose(mixed, 3.0**2 * 5 / 3 + 7.0**2 * 3, rtol=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "norms", "product"),
    [
        ("f(1,2,-1)*f(-1,3,4)", "f(1,3,-1)*f(-1,2,4)", (72, 72), 36),
        ("d(1,2,-1)*d(-1,3,4)", "d(1,3,-1)*d(-1,2,4)", (Fraction(200, 9),) * 2, Fraction(-20, 3)),
        ("d(1,2,-1)*d(-1,3,4)", "f(1,2,-1)*f(-1,3,4)", (Fraction(200, 9), 72), 0),
        ("f(1,2,-1)*d(-1,3,4)", "Identity(1,2)*Identity(3,4)", (40, 64), 0),
        ("Identity(1,3)*Identity(2,4)", "Identity(1,2)*Identity(3,4)", (64, 64), 8),
        ("d(3,4,-2)*d(-2,2,1)", "Identity(1,4)*Identity(2,3)", (Fraction(200, 9), 64), Fraction(40, 3)),
    ],
)
def test_four_octets(first: str, second: str, norms: tuple[Fraction, Fraction], product: Fraction) -> None:
    """Products of f, d and δ with Jacobi's identity and that of SU(3) for d:

    f_abe f_cde + f_bce f_ade + f_cae f_bde = 0,    Σ of the same of d d = ⅓ Σ of the three δ δ

    (A. Macfarlane, A. Sudbery, P. Weisz, Comm. Math. Phys. 11 (1968) 77).
    """
    model = octets((first, "1", "complex(0,1)*a"), (second, "1", "complex(0,1)*b"))
    momenta = collisions(400.0, (80.0, 20.0))
    found = squares(model, (9001, 9002), (9003, 9004), momenta)
    expected = 3.0**2 * norms[0] + 7.0**2 * norms[1] + 2 * 3.0 * 7.0 * float(product)
    np.testing.assert_allclose(found, float(expected) / 64, rtol=1e-12)


def test_a_contact_term_of_octets_is_the_exchange_of_another() -> None:
    """o₂ o₂ → o₃ o₃ by o₁ and by c d_abe d_cde: ½ (c − a²/(s − M²))² (5/3)² 8/64."""
    exchange = [((9001, 9000 + k, 9000 + k), [("d(1,2,3)", "1", "complex(0,1)*a")]) for k in (2, 3)]
    contact = ((9002, 9002, 9003, 9003), [("d(1,2,-1)*d(-1,3,4)", "1", "complex(0,1)*c")])
    particles = octets(("d(1,2,3)", "1", "a")).particles
    masses = {"M1": 300.0, "M2": 0.0, "M3": 80.0, "M4": 20.0}
    model = small(particles, masses | {"a": 90.0, "c": 0.4}, [*exchange, contact])
    found = squares(model, (9002, 9002), (9003, 9003), collisions(400.0, (80.0, 80.0)))
    np.testing.assert_allclose(found, (0.4 - 90.0**2 / (800.0**2 - 300.0**2)) ** 2 * 25 / 9 / 16, rtol=1e-12)


def quarks(*terms: tuple[str, str, str]) -> Model:
    """u and d with gluons of coupling g and a contact term (ū … u)(d̄ … d)."""
    gluons = [((-code, code, 21), [("T(3,2,1)", CURRENT, "complex(0,1)*g")]) for code in (1, 2)]
    return small((DOWN, UP, GLUON), {"g": 1.2, "c": 3e-5}, [*gluons, ((-2, 2, -1, 1), terms)])


def test_a_contact_term_of_quarks_interferes_with_a_gluon() -> None:
    """u ū → d d̄ with c (ū γ P_L T^a u)(d̄ γ P_L T^a d): as for leptons, with e² → g² and the colours ¼ 8/9.

    The same with colours written as T^a_ij T^a_kl = ½ (δ_il δ_jk − δ_ij δ_kl/3).
    """
    momenta = collisions(200.0)
    s, t, u = mandelstam(momenta)
    gluon = 1.2**2 / s
    expected = 2 / 9 * (u**2 * ((gluon + 3e-5) ** 2 + gluon**2) + 2 * t**2 * gluon**2)
    octet = quarks(("T(-1,2,1)*T(-1,4,3)", LEFT_LEFT, "complex(0,1)*c"))
    np.testing.assert_allclose(squares(octet, (2, -2), (1, -1), momenta), expected, rtol=1e-12)
    deltas = quarks(
        ("Identity(2,3)*Identity(4,1)", LEFT_LEFT, "complex(0,1)*c/2"),
        ("Identity(1,2)*Identity(3,4)", LEFT_LEFT, "complex(0,-1)*c/6"),
    )
    np.testing.assert_allclose(squares(deltas, (2, -2), (1, -1), momenta), expected, rtol=1e-12)


# ---- decays of one particle into two


def width(reaction: tuple[int, tuple[int, int]], masses: tuple[str, str, str], **values: float) -> float:
    """Γ = |M|² |p|/(8π M²) in the Standard Model, in GeV."""
    model = load("sm")
    given = evaluate(model, values).parameters | {"ZERO": 0.0}
    mother, *products = (float(np.real(given[name])) for name in masses)
    momenta = decays(mother, products)
    square = squares(model, (reaction[0],), reaction[1], momenta, **values)
    assert np.ptp(square) < 1e-9 * square[0]
    energy = (mother**2 + products[0] ** 2 - products[1] ** 2) / (2 * mother)
    size = np.sqrt(energy**2 - products[0] ** 2)
    return float(square[0] * size / (8 * np.pi * mother**2))


def test_widths_against_the_textbook() -> None:
    """At lowest order: PDG (Phys. Rev. D 110 (2024) 030001), and A. Djouadi, hep-ph/0503172.

    Z → e e     G_F M³/(6√2π) (g_V² + g_A²),          W → e ν     G_F M³/(6√2π),
    H → b b̄     3 G_F M m_b² β³/(4√2π),               H → Z Z     G_F M³/(16√2π) √(1 − 4x) (1 − 4x + 12x²),
    t → W b     G_F m³/(8√2π) (1 − x)² (1 + 2x),      x the ratio of M_Z² or M_W² to the square of the mass.
    """
    given = evaluate(load("sm")).parameters
    fermi, w, z, sw2 = (float(np.real(given[name])) for name in ("GF", "MW", "MZ", "sw2"))
    unit = fermi / (np.sqrt(2) * np.pi)
    axial, vector = -0.5, -0.5 + 2 * sw2
    assert width((23, (11, -11)), ("MZ", "ZERO", "ZERO")) == pytest.approx(
        unit * z**3 / 6 * (vector**2 + axial**2), rel=1e-10
    )
    assert width((-24, (11, -12)), ("MW", "ZERO", "ZERO")) == pytest.approx(unit * w**3 / 6, rel=1e-10)
    assert width((25, (5, -5)), ("MH", "MB", "MB"), MB=20.0, ymb=4.0, MH=125.0) == pytest.approx(
        3 * unit * 125.0 * 4.0**2 * (1 - 4 * 20.0**2 / 125.0**2) ** 1.5 / 4, rel=1e-10
    )
    x = (z / 300.0) ** 2
    assert width((25, (23, 23)), ("MH", "MZ", "MZ"), MH=300.0) == pytest.approx(
        unit * 300.0**3 / 16 * np.sqrt(1 - 4 * x) * (1 - 4 * x + 12 * x**2), rel=1e-10
    )
    x = (w / 173.0) ** 2
    assert width((6, (24, 5)), ("MT", "MW", "MB"), MT=173.0, MB=0.0) == pytest.approx(
        unit * 173.0**3 / 8 * (1 - x) ** 2 * (1 + 2 * x), rel=1e-10
    )
