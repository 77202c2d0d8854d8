"""Leading-order events: known cross-sections, closure, narrow width, recoil and response, seeds."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from deepmem.errors import DeepMEMError, UsageError
from deepmem.physics.precision import double_precision
from deepmem.physics.processes import find_process
from deepmem.physics.theory.expressions import complex_parameters
from deepmem.physics.theory.models import load
from deepmem.physics.theory.parameters import GEV_2_TO_PB, Parameters, charged_lepton, electroweak
from deepmem.physics.weights import engine
from deepmem.physics.weights.event_columns import lepton_columns_of
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.leading_order import (
    Disc,
    LeadingOrder,
    Spectrum,
    cross_section,
    draw_events,
)
from deepmem.selection import Selection, mass

CLOSURE = {"lepton_pt": 20, "lepton_eta": 2.5, "mass": [70, 110], "total_pt": [0, 20]}
"""The region of statement 2 in the physics conventions."""


def quadrature_drell_yan() -> float:
    """σ for 60–120 GeV in pb: Gauss–Legendre in the Breit–Wigner angle and cosθ, trapezium in Y."""
    model = LeadingOrder("drell_yan")
    p, density = model.parameters, model.density
    at = {parton: i for i, parton in enumerate(density.partons)}
    nodes, weights = np.polynomial.legendre.leggauss(40)
    cosine, share = np.polynomial.legendre.leggauss(4)
    width = p.MZ * p.WZ
    first, last = (np.arctan((m**2 - p.MZ**2) / width) for m in (60.0, 120.0))
    s = p.MZ**2 + width * np.tan(first + (last - first) * (nodes + 1) / 2)
    ds = weights * (last - first) / 2 * ((s - p.MZ**2) ** 2 + width**2) / width
    steps = 1500
    limit = np.log(p.sqrt_s**2 / s)[:, None] / 2
    y = limit * (2 * (np.arange(steps) + 0.5) / steps - 1)
    root = np.sqrt(s)[:, None] / p.sqrt_s
    read = jax.jit(lambda x: density.xf(x))
    f, g = (np.asarray(read(root * np.exp(sign * y))) for sign in (1, -1))
    half, turn = np.broadcast_arrays(np.sqrt(s)[:, None] / 2, cosine)
    sine, zero = np.sqrt(1 - turn**2), np.zeros_like(half)
    legs = (
        (half, zero, zero, half),
        (half, zero, zero, -half),
        (half, half * sine, zero, half * turn),
        (half, -half * sine, zero, -half * turn),
    )
    squares = jax.jit(lambda momenta: model.process.matrix_elements(momenta, p, None))(legs)
    total = 0.0
    for square, states in zip(squares, model.states, strict=True):
        luminosity = sum((f[..., at[a]] * g[..., at[b]]).mean(axis=1) for a, b in states) * 2 * limit[:, 0]
        total += (ds * luminosity * (np.asarray(square) * share).sum(axis=1) / 2 / (2 * s**2)).sum()
    return total / (8 * np.pi) * GEV_2_TO_PB


def test_drell_yan_is_1455_pb():
    """1455.6 ± 2.0 pb in the physics conventions; and a quadrature that shares |M|² and densities alone."""
    found = cross_section("drell_yan", precision=1.5e-3, seed=3, recoil=0)
    assert found.error < 2.2
    assert found.value == pytest.approx(1455.6, abs=4 * found.error)
    with double_precision():
        assert found.value == pytest.approx(quadrature_drell_yan(), abs=4 * found.error)
    # but for what lies outside of the responses' supports, 2.7e-6 of each lepton
    assert found.visible == pytest.approx(found.value, rel=1e-4)


def test_closure_statement_2_for_drell_yan():
    """∫_R W dx = (7.197 ± 0.029)e5 and ∫d²K σ = (7.231 ± 0.033)e5 pb GeV² in the physics conventions."""
    disc = Disc(30.0)
    found = cross_section("drell_yan", CLOSURE, precision=4e-3, recoil=disc)
    value, error = found.visible * disc.area, found.visible_error * disc.area
    assert error < 0.004 * value
    assert value == pytest.approx(7.197e5, abs=3 * np.hypot(error, 0.029e5))
    assert value == pytest.approx(7.231e5, abs=3 * np.hypot(error, 0.033e5))


def test_recoil_costs_the_boost_weight():
    """At total p_T = K, σ⟨E'/E⟩ with E = √(E'² + K²); and the legs' total p_T is K."""
    model = LeadingOrder("drell_yan", recoil=Disc(60.0), response={"lepton": 0})
    batch = next(model.batches(np.random.default_rng(1), model.region(visible=False)))
    total = batch.true.sum(axis=1)
    k2 = total[:, 1] ** 2 + total[:, 2] ** 2
    assert np.sqrt(k2).max() < 60
    # uniform in d²K
    assert (k2 / 3600).mean() == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(mass(total), batch.mass, rtol=1e-9)
    np.testing.assert_allclose(batch.weight / batch.sigma, np.sqrt(1 - k2 / total[:, 0] ** 2), rtol=1e-9)
    np.testing.assert_allclose(batch.measured, batch.true, rtol=1e-12)


def test_the_spectrum_has_its_median():
    k = Spectrum(18.0).draw(np.random.default_rng(2).random(40_000))
    assert np.median(k) == pytest.approx(18, rel=0.03)


def test_responses_have_the_resolution_asked_for():
    model = LeadingOrder("drell_yan", r_lepton=0.05)
    batch = next(model.batches(np.random.default_rng(1), model.region(visible=False)))
    ratio = batch.measured[..., 0] / batch.true[..., 0]
    assert ratio.std() == pytest.approx(0.05, rel=0.02)
    assert ratio.mean() == pytest.approx(1, abs=0.001)
    direction = [p[..., 1:] / p[..., :1] for p in (batch.measured, batch.true)]
    np.testing.assert_allclose(*direction, atol=1e-12)


def partial_width(p: Parameters) -> float:
    """Γ(H → Z*Z* → e⁺e⁻μ⁺μ⁻) in GeV, photons left out: Djouadi, hep-ph/0503172, equation 2.30.

    Γ = 1/π² ∫∫ dq₁² dq₂² Π [MZ Γ_ee / ((q² − MZ²)² + MZ²ΓZ²)] GF MH³/(8√2π) √λ (λ + 12 q₁²q₂²/MH⁴)
    """
    ew = electroweak(p)
    lepton = charged_lepton(ew)
    to_leptons = float(ew.e**2 * (lepton.left**2 + lepton.right**2) * p.MZ / (24 * np.pi))
    nodes, weights = np.polynomial.legendre.leggauss(200)
    width = p.MZ * p.WZ

    def mapped(high):
        first = np.arctan(-(p.MZ**2) / width)
        last = np.arctan((high - p.MZ**2) / width)
        s = p.MZ**2 + width * np.tan(first + (last - first) * (nodes + 1) / 2)
        return s, weights * (last - first) / 2 / width * p.MZ * to_leptons

    total = 0.0
    for one, share in zip(*mapped(p.MH**2), strict=True):
        two, shares = mapped((p.MH - np.sqrt(one)) ** 2)
        x, y = one / p.MH**2, two / p.MH**2
        kallen = (1 - x - y) ** 2 - 4 * x * y
        total += share * (shares * np.sqrt(kallen) * (kallen + 12 * x * y)).sum()
    fermi = 1 / (np.sqrt(2) * float(ew.vev) ** 2)
    return total / np.pi**2 * fermi * p.MH**3 / (8 * np.sqrt(2) * np.pi)


def test_higgs_in_the_narrow_width_limit():
    """σ(gg → H → 4ℓ) = π/MH⁴ |M(gg → H)|² ∫dY xg(x₁) xg(x₂) · Γ(H → 4ℓ)/ΓH, at MH within a fixed window."""
    window = (124.0, 126.0)
    found = cross_section(
        "higgs_4l", precision=4e-3, mass=window, pair_mass=0, subset="zz", recoil=0, response={"lepton": 0}
    )
    model = LeadingOrder("higgs_4l")
    p = model.parameters
    with double_precision():
        limit = np.log(p.sqrt_s / p.MH)
        y = limit * (2 * (np.arange(2000) + 0.5) / 2000 - 1)
        read = jax.jit(lambda x: model.density.xf(x))
        f, g = (np.asarray(read(p.MH / p.sqrt_s * np.exp(s * y)))[:, 0] for s in (1, -1))
        luminosity = (f * g).sum() * 2 * limit / 2000
        production = (abs(complex_parameters(load("heft"), p.values())["G_H"]) * p.MH**2 / 2) ** 2 / 16
        branching = partial_width(p) / p.WH
    inside = 2 / np.pi * np.arctan((window[1] - p.MH) / (p.WH / 2))
    expected = GEV_2_TO_PB * np.pi * production / p.MH**4 * luminosity * branching * inside
    assert found.value == pytest.approx(expected, abs=4 * found.error)
    assert found.error < 0.004 * expected


@pytest.mark.parametrize("process", ["drell_yan", "zz_4l"])
def test_drawn_events_are_selected(process):
    cuts = {"lepton_pt": 7, "lepton_eta": 2.5}
    cuts["mass"] = [70, 110] if process == "drell_yan" else [105, 140]
    events = draw_events(process, 150, 7, cuts)
    codes = LeadingOrder(process).process.outgoing
    assert Selection.of(cuts).passes(events.measured, codes).all()
    assert len(events) == 150
    assert (events.weight >= 1).all()
    assert events.weight.max() < 3
    assert 0 < events.visible_error < 0.05 * events.visible


def test_the_same_seed_gives_the_same_events():
    events, again, other = (draw_events("drell_yan", 50, seed) for seed in (7, 7, 8))
    for name, column in events.columns.items():
        np.testing.assert_array_equal(column, again.columns[name])
    assert (events.columns["lep1_PT"] != other.columns["lep1_PT"]).all()
    one, two = (cross_section("drell_yan", points=30_000, seed=5) for _ in range(2))
    assert one == two


def test_drawn_events_follow_the_weighted_ones():
    """Mean of the mass: unweighted against weighted points."""
    events = draw_events("drell_yan", 20_000, 2, {"mass": [80, 100]}, recoil=0)
    model = LeadingOrder("drell_yan", {"mass": [80, 100]}, recoil=0)
    batches = model.batches(np.random.default_rng(9), model.region(visible=True))
    drawn = [next(batches) for _ in range(8)]
    weight = np.concatenate([b.weight * model.selection.passes(b.measured, (-13, 13)) for b in drawn])
    measured = np.concatenate([mass(b.measured.sum(axis=1)) for b in drawn])
    expected = np.average(measured, weights=weight)
    found = np.average(mass(events.measured.sum(axis=1)), weights=events.weight)
    assert found == pytest.approx(expected, abs=0.08)


def test_columns_name_leptons_as_the_example_data_do():
    momenta = np.array([[[p, p, 0, 0] for p in (5.0, 20.0, 9.0, 30.0)]])
    pair = lepton_columns_of(momenta[:, :2], (-13, 13))
    assert (pair["lep1_PT"], pair["lep1_Charge"]) == (20, -1)
    assert "lep1_PDG" not in pair
    four = lepton_columns_of(momenta, (-11, 11, -13, 13))
    assert [four[f"lep{i}_PDG"][0] for i in (1, 2, 3, 4)] == [11, -11, 13, -13]
    assert [four[f"lep{i}_PT"][0] for i in (1, 2, 3, 4)] == [20, 5, 30, 9]
    alike = lepton_columns_of(momenta, (-11, 11, -11, 11))
    assert [alike[f"lep{i}_PDG"][0] for i in (1, 2, 3, 4)] == [11, -11, 11, -11]
    assert [alike[f"lep{i}_PT"][0] for i in (1, 2, 3, 4)] == [30, 9, 20, 5]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"precision": 0}, "precision must be"),
        ({"MZZ": 91}, "did you mean 'MZ'"),
        ({"r_leptons": 0.1}, "did you mean 'r_lepton'"),
        ({"mass": (120, 60)}, "range of true masses"),
        ({"recoil": -1}, "recoil must be"),
        *(({"flavours": number}, "flavours must be 4 or 5") for number in (1, 3, 7, True)),
        ({"Q": 0}, "scale Q"),
        ({"Q": "ten"}, "scale Q"),
        ({"MT": 170}, "unknown parameter of drell_yan 'MT'"),
        ({"MH": 150}, "unknown parameter of drell_yan 'MH'"),
        ({"r_bjet": 0.1}, "unknown parameter of drell_yan 'r_bjet'"),
        ({"recoill": 3}, "did you mean 'recoil'"),
        ({"WZ": 0}, "WZ = 0: a resonance without a width"),
        *(({"r_lepton": r}, "r_lepton must be a relative resolution") for r in (-0.1, 0.3, 5, "wide")),
        ({"r_lepton": 0.1, "response": {"lepton": 0.1}}, "both given"),
        ({"mass": "all"}, "mass must be two true masses"),
        ({"pair_mass": -1}, "pair_mass must be"),
        ({"recoil": "much"}, "recoil must be"),
        ({"points": 0}, "number of points"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"selection": {"mass": [1, 2]}, "pair_mass": 4}, "no true mass can be measured"),
        ({"subset": "zz"}, "unknown subset of drell_yan"),
        ({"pdf": "no_such_set"}, "no_such_set"),
        ({"selection": {"lepton_ptt": 5}}, "did you mean 'lepton_pt'"),
    ],
)
def test_wrong_arguments_are_named(call, said):
    with pytest.raises(UsageError, match=said):
        cross_section("drell_yan", **call)


def test_a_selection_that_nothing_passes():
    cuts = {"lepton_pt": 20_000}
    with pytest.raises(DeepMEMError, match="none of"):
        cross_section("drell_yan", cuts, most=50_000)
    with pytest.raises(DeepMEMError, match="none of"):
        draw_events("drell_yan", 10, selection=cuts, most=50_000)


@pytest.mark.parametrize(("window", "expected", "error"), [(None, 6.695, 0.003), (15, 6.408, 0.003)])
def test_cross_section_of_top_pairs(window, expected, error):
    """The reference's σ of one pair of lepton flavours over all masses, and with both tops within 15 widths."""
    extra = {} if window is None else {"top_window": window}
    found = cross_section("ttbar_2l", precision=4e-3, seed=3, **extra)
    assert abs(found.value - expected) < 4 * np.hypot(found.error, error)


@pytest.mark.parametrize("process", [pytest.param("ttbar_2l", marks=pytest.mark.long), "ww_2l"])
def test_events_with_neutrinos(process):
    """Columns that weights take; missing pT is the neutrinos'; Ws near their mass, one of them at least."""
    entry = find_process(process)
    cuts = {"lepton_pt": 10, "lepton_eta": 2.5} | ({"jet_pt": 25} if process == "ttbar_2l" else {})
    events = draw_events(process, 60, 4, cuts, recoil=20.0)
    assert set(entry.columns) <= set(events.columns)
    escaping = [i for i, kind in enumerate(entry.classes) if kind == "invisible"]
    missing = events.true[:, escaping, 1:3].sum(axis=1)
    np.testing.assert_allclose(np.hypot(*missing.T), events.columns["MET"], rtol=1e-9)
    leptons = [i for i, kind in enumerate(entry.classes) if kind == "lepton"]
    pairs = events.true[:, leptons] + events.true[:, escaping]
    mass = np.sqrt(pairs[..., 0] ** 2 - (pairs[..., 1:] ** 2).sum(axis=-1))
    assert abs(np.median(mass.max(axis=1)) - 80.4) < 2
    found = engine.compute(hypothesis(process), {k: v[:4] for k, v in events.columns.items()}, precision=0.1)
    assert np.all(found[process].value > 0)
