"""σ of any reaction at parton level: maps of phase space, MadEvent's numbers, cuts, labels, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from known_cross_sections import ENTRIES, MASSIVE_B, known, vbf_to_four_leptons

import deepmem
from deepmem.errors import UsageError
from deepmem.physics.errors import ParameterError
from deepmem.physics.integrals.adaptive import Adaptive, drawn
from deepmem.physics.phasespace.topologies import topologies
from deepmem.physics.phasespace.topology_maps import Bounds, TopologyMap, maps_of
from deepmem.physics.phasespace.topology_shares import shares
from deepmem.physics.reactions import Theory, read
from deepmem.physics.theory.expressions import complex_parameters

CHEAP = ("ttx_semilep", "wph_munubb", "zh_mumubb", "aa", "st_tch", "tW")
ROOT = 13000.0


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in CHEAP else pytest.mark.long)
        for name in ENTRIES
        if name not in MASSIVE_B
    ],
)
def test_sigma_is_that_of_madevent(name: str) -> None:
    value, error, arguments = known(name)
    found = deepmem.cross_section(precision=5e-3, seed=11, **arguments)
    assert found.error < 5.1e-3 * found.value
    # the interpolation of the density differs by up to 6e-4
    assert found.value == pytest.approx(value, abs=3 * np.hypot(found.error, error) + 6e-4 * value)


@pytest.mark.parametrize(
    ("window", "points", "largest"),
    [
        pytest.param(None, 400_000, 0.015, marks=pytest.mark.long),
        pytest.param(15.0, 400_000, 0.015, marks=pytest.mark.long),
    ],
)
def test_a_narrow_scalar_that_decays_to_heavier_vectors(
    window: float | None, points: int, largest: float
) -> None:
    """σ of `vbf_higgs_4l`, on the resonance by closed form; without a window, far off it, too.

    There |M|² falls slowly: above 2 MZ it is σ(hjj) of Higgs bosons of mass m, times the propagator and
    m Γ(m)/π, 0.34 × 10⁻⁴ pb, a fifth of all.
    """
    on, error, arguments = vbf_to_four_leptons(window or np.inf, read("p p > h j j QCD=0").defaults)
    found = deepmem.cross_section(points=points, seed=3, **arguments | {"window": window})
    assert found.error < largest * found.value
    off = 0.0 if window else 0.34e-4
    assert found.value == pytest.approx(
        on + off, abs=3 * np.hypot(found.error, error) + 6e-4 * on + 0.03 * off
    )


def maps(reaction: str, bounds: Bounds | None = None, **values: float) -> list[TopologyMap]:
    found = read(reaction, Theory())
    channel = found.channels[0]
    numbers = complex_parameters(found.model, values)
    if bounds is None:
        legs = len(channel.subprocess.outgoing)
        masses = [
            0.0 if (name := found.model.by_code[code].mass) == "ZERO" else abs(numbers[name])
            for code in channel.subprocess.outgoing
        ]
        none = np.zeros(legs)
        bounds = Bounds(ROOT, (0.0, 0.0), np.array(masses), none, np.zeros((legs, legs)), math.inf)
    return maps_of(topologies(channel.model, channel.subprocess), bounds, numbers)


@pytest.mark.parametrize("reaction", ["u u~ > a a", "g g > u u~ g", "u u~ > e+ e- mu+ mu-"])
def test_volume_of_massless_phase_space_by_every_map(reaction: str) -> None:
    """∫ dŝ dY dΦ_n f(ŝ) with Φ_n = (2π)^(4−3n) (π/2)^(n−1) ŝ^(n−2)/((n−1)! (n−2)!)."""
    rng = np.random.default_rng(4)
    scale = 500.0**2
    for each in maps(reaction):
        n = len(each.bounds.masses)
        volume = (math.pi / 2) ** (n - 1) / (math.factorial(n - 1) * math.factorial(n - 2))
        volume *= (2 * math.pi) ** (4 - 3 * n)
        log = np.linspace(-30.0, 0.0, 20001)
        s = ROOT**2 * np.exp(log)
        exact = volume * np.trapezoid(-log * s**2 / (s + scale) ** 3, log)
        if each.whole.first:  # a resonance has all of its points near its mass
            continue
        learned, found = Adaptive(each.dimensions), []
        for round_ in range(8):
            cube = drawn(learned.grid, rng.random((each.dimensions, 8192)))
            points = each.draw(cube.u)
            value = points.measure * cube.jacobian * points.s ** (3.0 - n) / (points.s + scale) ** 3
            learned.add(cube, value)
            learned.learn()
            if round_ > 3:
                found.append(value)
        values = np.concatenate(found)
        error = values.std() / np.sqrt(len(values))
        assert error < 0.08 * exact
        assert values.mean() == pytest.approx(exact, abs=4.5 * error)


@pytest.mark.parametrize(
    "reaction",
    [
        "g g > t t~ h, (t > w+ b, w+ > mu+ vm), (t~ > w- b~, w- > d u~), h > b b~",
        "u d~ > mu+ vm b b~",
        "u d > h u d QCD=0",
    ],
)
def test_densities_against_finite_differences(reaction: str) -> None:
    """dŝ dY dΦ_n = 2 (2π)⁴ Π d³p/(2E (2π)³) without the last leg's p_T, which balances."""
    rng = np.random.default_rng(3)
    step = 1e-6
    for each in maps(reaction)[:6]:
        d = each.dimensions
        tried = 0.2 + 0.6 * rng.random((d, 40))
        inside = np.flatnonzero(each.draw(tried).measure > 0)[:2]
        assert len(inside)
        for k in inside:
            u = tried[:, k]
            around = np.repeat(u[:, None], 2 * d + 1, axis=1)
            around[np.arange(d), np.arange(d)] += step
            around[np.arange(d), d + np.arange(d)] -= step
            drawn = each.draw(around)
            assert (drawn.measure > 0).all()
            cosh, sinh = np.cosh(drawn.rapidity), np.sinh(drawn.rapidity)
            legs = [(e * cosh + z * sinh, x, y, z * cosh + e * sinh) for e, x, y, z in drawn.legs]
            free = [p for leg in legs[:-1] for p in leg[1:]] + [legs[-1][3]]
            rows = np.array(free)
            slopes = (rows[:, :d] - rows[:, d : 2 * d]) / (2 * step)
            size = abs(np.linalg.det(slopes)) * 2 * (2 * np.pi) ** 4
            for leg in legs:
                size /= 2 * leg[0][-1] * (2 * np.pi) ** 3
            assert drawn.measure[-1] == pytest.approx(size, rel=2e-4)


def test_legs_are_on_shell_and_conserve_momentum() -> None:
    for each in maps("g g > t t~ b b~, (t > w+ b, w+ > mu+ vm), (t~ > w- b~, w- > d u~)")[:12]:
        drawn = each.draw(np.random.default_rng(5).random((each.dimensions, 500)))
        inside = drawn.measure > 0
        legs = np.array([[p[inside] for p in leg] for leg in drawn.legs])
        total = legs.sum(axis=0)
        energy = np.sqrt(drawn.s[inside])
        np.testing.assert_allclose(total[0], energy, rtol=1e-9)
        assert (abs(total[1:]) < 1e-8 * energy).all()
        squares = legs[:, 0] ** 2 - (legs[:, 1:] ** 2).sum(axis=1)
        close = abs(squares - each.bounds.masses[:, None] ** 2) < 1e-9 * legs[:, 0] ** 2 + 1e-9
        assert close.all()


def test_shares_of_maps_add_up() -> None:
    every = maps("u u~ > e+ e- mu+ mu-")
    drawn = every[1].draw(np.random.default_rng(6).random((every[1].dimensions, 300)))
    inside = drawn.measure > 0
    with np.errstate(invalid="ignore"):
        total = sum(shares(every, k, drawn) for k in range(len(every)))
    np.testing.assert_allclose(np.asarray(total)[inside], 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("process", "settings"),
    [pytest.param("ttbar_2l", {}, marks=pytest.mark.long), ("higgs_ww_2l", {})],
)
def test_the_menu_has_the_sigma_of_its_own_maps(process: str, settings: dict[str, Any]) -> None:
    """A mistake of 3 % is seen."""
    one = deepmem.cross_section(process, precision=6e-3, seed=2, parton=True, **settings)
    other = deepmem.cross_section(process, precision=6e-3, seed=3, recoil=0, **settings)
    assert one.value == pytest.approx(other.value, abs=3 * np.hypot(one.error, other.error))


def test_a_reaction_of_the_menu_by_its_text_has_the_menus_sigma() -> None:
    text = "p p > t t~, (t > w+ b, w+ > e+ ve), (t~ > w- b~, w- > mu- vm~)"
    one, other = (
        deepmem.cross_section(each, points=8_000, seed=4, parton=True, Q=173.0) for each in (text, "ttbar_2l")
    )
    assert one.value == pytest.approx(other.value, rel=1e-9)


def test_labels_and_charge_conjugates_are_sums() -> None:
    """W⁺ → e⁺ and μ⁺ are twice W⁺ → μ⁺; both charges are the sum of both."""
    cuts = {"lepton_pt": 20}

    def sigma(text: str) -> deepmem.cross_section:
        return deepmem.cross_section(text, cuts, points=16_000, seed=5, parton=True, Q=80.0)

    muon, both = sigma("p p > w+ h, w+ > mu+ vm"), sigma("p p > w+ h, w+ > l+ vl")
    assert both.value == pytest.approx(2 * muon.value, abs=4 * both.error)
    minus, conjugated = sigma("p p > w- h, w- > mu- vm~"), sigma("p p > w+ h, w+ > mu+ vm ; cc")
    error = np.hypot(conjugated.error, np.hypot(muon.error, minus.error))
    assert conjugated.value == pytest.approx(muon.value + minus.value, abs=4 * error)


def test_partons_come_from_either_proton() -> None:
    one, other = (
        deepmem.cross_section(text, points=12_000, seed=6, parton=True, labels={"q": "u d~"})
        for text in ("u d~ > w+ h, w+ > mu+ vm", "q q > w+ h, w+ > mu+ vm")
    )
    assert one.value == pytest.approx(other.value, abs=4 * np.hypot(one.error, other.error))


def test_two_seeds_and_alpha_s() -> None:
    values = [deepmem.cross_section("g g > t t~", points=8_000, seed=seed, parton=True) for seed in range(5)]
    mean = np.mean([each.value for each in values])
    pull = np.array([(each.value - mean) / each.error for each in values])
    assert 0.2 < pull.std(ddof=1) < 1.9
    more = deepmem.cross_section("g g > t t~", points=8_000, seed=0, parton=True, alpha_s=0.236)
    assert more.value == pytest.approx(4 * values[0].value, rel=1e-3)


def test_sigma_vis_of_a_reaction_without_a_map_of_its_own() -> None:
    """Without recoil and with perfect measurement cuts on what is measured are cuts on partons."""
    text, cuts = "p p > w+ h, w+ > mu+ vm, h > b b~", {"lepton_pt": 25, "jet_pt": 25, "jet_eta": 2.5}
    on_partons = deepmem.cross_section(text, cuts, points=24_000, seed=7, parton=True)
    perfect = {"lepton": 0, "bjet": 0}
    seen = deepmem.cross_section(text, cuts, points=24_000, seed=8, recoil=0, response=perfect)
    assert seen.visible == pytest.approx(
        on_partons.value, abs=4 * np.hypot(seen.visible_error, on_partons.error)
    )
    everything = deepmem.cross_section(text, points=24_000, seed=9, parton=True)
    assert seen.value == pytest.approx(everything.value, abs=4 * np.hypot(seen.error, everything.error))


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        ("p p > a a", {}, "is infinite where"),
        ("p p > w+ j, w+ > mu+ vm", {"selection": {"lepton_pt": 20}}, "cut on the partons"),
        ("p p > a a", {"selection": {"photon_pt": 20, "bjet_pt": 10}}, "no b jets"),
        ("p p > h", {"model": "heft"}, "two or more outgoing"),
        ("e+ e- > t t~", {}, "two protons"),
        ("p p > t t~", {"window": -1}, "window must be"),
        ("p p > t t~", {"mass": (300, 500)}, "mass is for processes of the menu"),
        ("p p > t t~", {"Q": "heavy"}, "Q must be"),
        ("p p > t t~", {"colour": 3}, "colour"),
        ("p p > t t~", {"MT": "[:]"}, "one value"),
        ("drell_yan", {"model": "sm"}, "model of its own"),
    ],
)
def test_what_has_no_sigma_is_said(text: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        deepmem.cross_section(text, parton=True, **settings)


@pytest.mark.parametrize(("process", "width"), [("p p > z > mu+ mu-", "WZ"), ("p p > z h, h > b b~", "WH")])
def test_resonances_without_a_width_are_refused(process: str, width: str) -> None:
    with pytest.raises(
        ParameterError, match=f"{width} = 0: a resonance without a width has no cross-section"
    ):
        deepmem.cross_section(process, parton=True, **{width: 0.0})
