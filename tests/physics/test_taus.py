"""Taus: what is seen of them, the density of their map, weights against rules of many nodes, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import any_process
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepmem
from deepmem.inputs import Reason
from deepmem.physics.detector.taus import HADRONIC, LEPTONIC, density, drawn, seen_mass
from deepmem.physics.errors import ParameterError, PlanError
from deepmem.physics.integrals.stages import proposed
from deepmem.physics.phasespace.composed.fit import fits
from deepmem.physics.phasespace.composed.steps import steps
from deepmem.physics.phasespace.composed.tau_pairs import TauPair
from deepmem.physics.precision import double_precision
from deepmem.physics.theory.parameters import Parameters
from deepmem.physics.weights.hypothesis import Hypothesis, hypothesis
from deepmem.physics.weights.leading_order import draw_events
from deepmem.physics.weights.partonic import Partonic, shared_by_events
from deepmem.physics.weights.plan import plan_for
from deepmem.physics.weights.preparation import prepare
from deepmem.physics.weights.visible import Measured

MASS, RHO = 1.777, 0.775  # GeV
SIGMA = 15.0
NOISE = {"recoil": {"recoil": {"c": SIGMA}}, "event": {"met": {"c": SIGMA}}}
PERFECT, SMEARED = {"tau": 0.0, "lepton": 0.0}, {"tau": 0.12, "lepton": 0.03}
LEGS = ((62.0, 0.4, 0.3), (31.0, -0.6, -2.6))  # p_T, η, φ
MISSING = np.array([14.0, -20.0])


def integral_of_f(kind: str, r: float, upto: float) -> float:
    x, weights = np.polynomial.legendre.leggauss(8)
    low = 0.0 if kind == LEPTONIC else r
    half = (upto - low) / 2
    with double_precision():
        return float(half * weights @ np.asarray(density(kind, low + half * (1 + x), r)))


@pytest.mark.parametrize(("kind", "mean"), [(LEPTONIC, 0.35), (HADRONIC, (1 + RHO**2 / MASS**2) / 2)])
def test_f_is_normalised_and_drawn(kind: str, mean: float):
    r = RHO**2 / MASS**2
    assert integral_of_f(kind, r, 1.0) == pytest.approx(1.0, abs=1e-12)
    u = np.linspace(0.0005, 0.9995, 1000)
    x = drawn(kind, u, np.full(1000, r))
    assert x.mean() == pytest.approx(mean, abs=1e-4)
    assert integral_of_f(kind, r, x[700]) == pytest.approx(u[700], abs=1e-12)
    assert np.asarray(density(kind, np.array([1.01, -0.1]), r)).tolist() == [0.0, 0.0]


def test_masses_of_hadrons():
    assert seen_mass([0.0, RHO, -1e-4, 1.6]).tolist() == [0.13957, RHO, 0.13957, 1.5]


def of_decays(letters: str, response: dict[str, Any], met: str, **settings: float) -> Hypothesis:
    """One of the final states of pp → ττ, by what τ⁺ and τ⁻ are seen as."""
    alpha = hypothesis("x=p p > ta+ ta-", response=response | NOISE[met], met=met, Q=91.188, **settings)
    classes = tuple({"h": HADRONIC, "l": LEPTONIC}[letter] for letter in letters)
    (process,) = (each.process for each in alpha.process.variants if each.process.classes == classes)
    return alpha.of_variant(process)


def measured(alpha: Hypothesis, own: tuple[float, float]) -> Measured:
    """One event; what is missing, or minus the recoil, is `MISSING` without the legs, or with them."""
    pt, eta, phi = np.array(LEGS).T[:, None]
    energy = np.hypot(pt * np.cosh(eta), np.array([own]))
    missing = MISSING[None].copy()
    if alpha.met == "recoil":
        missing += np.stack([pt * np.cos(phi), pt * np.sin(phi)], axis=-1).sum(axis=1)
    return Measured(energy, eta, phi, np.full((1, 2), MASS), missing, pt.sum(axis=1), np.array([own]))


def masses_of(alpha: Hypothesis) -> tuple[float, float]:
    one, other = (RHO if kind == HADRONIC else 0.0 for kind in alpha.process.classes)
    return one, other


def normal(pull: np.ndarray) -> np.ndarray:
    """The Gaussian response of two components, GeV⁻²."""
    return np.exp(-(pull**2).sum(axis=-1) / 2) / (2 * np.pi * SIGMA**2)


def by_nodes(alpha: Hypothesis, event: Measured, nodes: int = 64) -> float:
    """∫ dx₁ dx₂ Π f(x) E sinθ |p|/(2E (2π)³) N(missing) Σ f f |M|²/x, with E = E_vis/x, perfect responses."""
    partonic, shared = Partonic.plain(alpha), shared_by_events(alpha)
    node, weights = np.polynomial.legendre.leggauss(nodes)
    assert event.own is not None
    parts = []
    for leg, kind in enumerate(alpha.process.classes):
        seen, own, eta, phi = (float(a[0, leg]) for a in (event.energy, event.own, event.eta, event.phi))
        r = (own / MASS) ** 2
        # ln x, for small x count least
        low = np.log(max(r, 0.02)) / 2
        x = np.exp(low * (1 + node))
        energy, sine = seen / x, 1 / np.cosh(eta)
        size = np.sqrt(energy**2 - MASS**2)
        with double_precision():
            f = np.asarray(density(kind, x, r))
        # dE f/E = f dx/x, and dx = −low x dnode
        measure = -low * weights * f * size * sine / (2 * (2 * np.pi) ** 3)
        direction = np.array([sine * np.cos(phi), sine * np.sin(phi), np.tanh(eta)])
        hidden = (size - np.sqrt(seen**2 - own**2))[:, None] * direction[:2]
        parts.append((energy, size[:, None] * direction, measure, hidden))
    (e1, p1, m1, h1), (e2, p2, m2, h2) = parts
    i, j = (each.ravel() for each in np.meshgrid(np.arange(nodes), np.arange(nodes), indexing="ij"))
    there = p1[i, :2] + p2[j, :2] if alpha.met == "recoil" else h1[i] + h2[j]
    assert event.missing is not None

    def squared(one: jax.Array, other: jax.Array) -> jax.Array:
        return partonic(shared, [tuple(one), tuple(other)])[0][0]

    with double_precision():
        legs = [jnp.asarray(np.column_stack([e, p])) for e, p in ((e1[i], p1[i]), (e2[j], p2[j]))]
        values = np.asarray(jax.jit(jax.vmap(squared))(*legs))
    return float((m1[i] * m2[j] * normal((there - event.missing[0]) / SIGMA)) @ values)


@pytest.mark.parametrize(
    ("letters", "met"),
    [
        ("hh", "recoil"),
        pytest.param("hl", "event", marks=pytest.mark.long),
        pytest.param("ll", "recoil", marks=pytest.mark.long),
    ],
)
def test_weights_are_those_of_many_nodes(letters: str, met: str):
    """By the map, and over both fractions on a grid, with a Z of 20 GeV."""
    alpha = of_decays(letters, PERFECT, met, WZ=20.0)
    event = measured(alpha, masses_of(alpha))
    found = any_process.estimate(alpha, plan_for(alpha), event, precision=4e-3)
    assert found.status[0] == 0
    assert found.value[0, 0] == pytest.approx(by_nodes(alpha, event), rel=0, abs=4 * found.error[0, 0])


def test_with_all_seen_it_is_the_weight_of_leptons():
    """r → 1, f → δ(x − 1): W_τ = W_ℓ N(K) up to m_τ²/s, at energies of the mean x and off the Z."""
    r = 0.96
    own = float(np.sqrt(r)) * MASS
    alpha = of_decays("hh", PERFECT, "recoil", WZ=20.0)
    event = measured(alpha, (own, own))
    (value,), (error,) = any_process.estimate(alpha, plan_for(alpha), event, precision=5e-3)[:2]
    x = (1 + r) / 2
    columns: dict[str, np.ndarray] = {}
    transverse = np.zeros(2)
    for number, (_, eta, phi) in enumerate(LEGS, 1):
        pt = event.energy[0, number - 1] / x / np.cosh(eta)
        columns |= {f"lep{number}_PT": pt, f"lep{number}_Eta": eta, f"lep{number}_Phi": phi}
        columns[f"lep{number}_Charge"] = 3.0 - 2 * number
        transverse += pt * np.array([np.cos(phi), np.sin(phi)])
    columns = {name: np.array([each]) for name, each in columns.items()}
    of_leptons = deepmem.compute(columns, "l=p p > mu+ mu-", r_lepton=0, WZ=20.0, Q=91.188)["l"].value[0]
    assert event.missing is not None
    expected = of_leptons / x**2 * normal((transverse - event.missing[0]) / SIGMA)
    assert value[0] == pytest.approx(expected, rel=3e-3, abs=4 * error[0])


@cache
def mapped(met: str) -> tuple[Any, ...]:
    alpha = of_decays("hl", SMEARED, met)
    found, shared = any_process.composition(alpha), shared_by_events(alpha)
    events = prepare(alpha, plan_for(alpha), shared, measured(alpha, masses_of(alpha)))
    events = events.choosing(fit=fits(found, shared, events))
    return alpha, found, shared, events


@pytest.mark.parametrize("met", [pytest.param("recoil", marks=pytest.mark.long), "event"])
def test_density_is_that_of_the_momenta(met: str):
    """Π [R dE_vis f dE/E |p| sinθ/(2 (2π)³)] N(missing)/d⁴u, by finite differences."""
    with jax.enable_x64(True):
        alpha, found, shared, events = mapped(met)
        event = jax.tree.map(lambda leaf: leaf[0], events)
        pair = TauPair(found, shared, event)
        of_visible_energies = jax.jit(
            jax.vmap(lambda v, one, other: [pair.seen(i, e, v[i])[0] for i, e in enumerate((one, other))])
        )

        def points(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            parcel = None
            for step in steps(found):
                parcel = proposed(step, shared, events, u[None], parcel)
            momenta = np.array([[np.asarray(x)[0, :, 0] for x in leg] for leg in parcel.legs])
            visible = np.array(of_visible_energies(u, *momenta[:, 0]))
            return momenta, visible, np.asarray(parcel.density)[0, :, 0]

        u, h = np.random.default_rng(3).uniform(0.05, 0.95, (64, 4)), 1e-6
        momenta, visible, densities = points(u)
        ends = [(points(u + h * unit), points(u - h * unit)) for unit in np.eye(4)]
        energies, of_visible = ([(after[k] - before[k]) / (2 * h) for after, before in ends] for k in (0, 1))
        (a, b), (c, d) = ([energies[k][leg, 0] for k in (2, 3)] for leg in (0, 1))
        expected = np.abs(a * d - b * c)
        for leg, kind in enumerate(alpha.process.classes):
            rec, own = float(event.legs.energy[leg]), float(event.own[leg])
            response = alpha.detector.of(kind).at(0.0)
            x = visible[leg] / momenta[leg, 0]
            size = np.linalg.norm(momenta[leg, 1:], axis=0)
            expected = (
                expected * np.asarray(jax.jit(response.density)(rec, visible[leg])) * of_visible[leg][leg]
            )
            expected = expected * np.asarray(jax.jit(density, static_argnums=0)(kind, x, (own / MASS) ** 2))
            expected = expected / momenta[leg, 0]
            expected = expected * size * float(event.legs.sine[leg]) / (2 * (2 * np.pi) ** 3)
        there = momenta[:, 1:3].sum(axis=0)
        if met == "event":
            for leg in (0, 1):
                size = np.linalg.norm(momenta[leg, 1:], axis=0)
                there = there - momenta[leg, 1:3] * np.sqrt(visible[leg] ** 2 - event.own[leg] ** 2) / size
        expected = expected * normal((there.T - event.missing) / SIGMA)
    kept = densities > 0
    assert kept.sum() > 40
    assert densities[kept] == pytest.approx(expected[kept], rel=1e-4)


def test_a_mass_that_what_is_seen_must_be_off_for_has_points():
    """Hadrons of 1.2 GeV whose tau, as measured, is too hard for a Z on its pole: there they have less energy.

    Of another event one of two seeds had a seventeenth of its weight; 82 of 4,096 points counted here.
    """
    with jax.enable_x64(True):
        _, found, shared, events = mapped("event")
        hard = events._replace(own=np.array([[1.2, 0.0]]))
        hard = hard.choosing(fit=fits(found, shared, hard))
        u = np.random.default_rng(6).uniform(0, 1, (64 * 64, found.dimensions))
        parcel = None
        for step in steps(found):
            parcel = proposed(step, shared, hard, u[None], parcel)
        density = np.asarray(parcel.density)[0, :, 0]
        p = sum(np.array([np.asarray(x)[0, :, 0] for x in leg]) for leg in parcel.legs)
    assert np.isfinite(density).all()
    z = Parameters()
    square = p[0] ** 2 - (p[1:] ** 2).sum(axis=0) - float(z.MZ) ** 2
    w = density / (square**2 + (float(z.MZ) * float(z.WZ)) ** 2)
    assert w.sum() ** 2 / (w**2).sum() > 1000


def columns(event: int, *particles: tuple[str, float]) -> dict[str, float]:
    """Of particles by name and charge."""
    found: dict[str, float] = {}
    for k, (name, charge) in enumerate(particles):
        values = dict(zip(("PT", "Eta", "Phi"), LEGS[k % 2], strict=True)) | {"Charge": charge}
        found |= {f"{name}_{quantity}": value for quantity, value in values.items()}
    return found


def test_events_decide_what_taus_are_seen_as():
    """An event has the weight of its own leptons and taus, whatever columns others need."""
    kinds = [
        columns(0, ("tau1", 1.0), ("tau2", -1.0)),
        columns(1, ("lep1", 1.0), ("tau1", -1.0)),
        columns(2, ("tau1", 1.0)),
        columns(3, ("lep1", 1.0), ("tau1", -1.0), ("tau2", 1.0)),
        columns(4, ("lep1", 1.0), ("tau1", 1.0)),
    ]
    names = sorted({name for each in kinds for name in each})
    events = {name: np.array([each.get(name, np.nan) for each in kinds]) for name in names}
    events |= {"MET": np.full(5, 24.0), "MET_Phi": np.full(5, -1.0)}
    settings: dict[str, Any] = {"response": SMEARED | NOISE["recoil"], "precision": 0.03}
    found = deepmem.compute(events, "z_tautau", **settings)["z_tautau"]
    assert found.status.tolist() == [0, 0, 3, 3, 3]
    assert found.reason[2:].tolist() == [Reason.NO_TAU, Reason.MORE_TAUS, Reason.SIGNS]
    # its place in the file is the same
    alone = {name: np.array([np.nan, value]) for name, value in kinds[1].items()}
    alone |= {name: events[name][:2] for name in ("MET", "MET_Phi")}
    assert deepmem.compute(alone, "z_tautau", **settings)["z_tautau"].value[1] == found.value[1]


@pytest.mark.parametrize(
    ("process", "settings", "kind", "says"),
    [
        ("z_tautau", {}, PlanError, "needs a response"),
        ("x=p p > w+, w+ > ta+ vt", {}, PlanError, "needs a response"),
        ("x=p p > z z, z > ta+ ta-, z > ve ve~", {"response": NOISE["recoil"]}, PlanError, "and neutrinos"),
        ("z_tautau", {"response": NOISE["recoil"], "MTA": [1.7, 1.8]}, ParameterError, "phase space"),
    ],
)
def test_what_has_no_weight_is_said(process: str, settings: Any, kind: Callable[..., Any], says: str):
    with pytest.raises(kind, match=says):  # type: ignore[call-overload]
        plan_for(hypothesis(process, **settings))


def test_generated_taus():
    """What is seen of them has f(x), the rest is missing p_T; letters say what they are seen as."""
    response = {"tau": 0.0, "lepton": 0.0, "met": {"c": 1e-6}}
    made = draw_events(
        "higgs_tautau", 3000, 2, None, response=response, taus="lh", met="event", spectrum=20.0
    )
    x = made.measured[..., 0] / made.true[..., 0]
    for leg, kind in ((0, LEPTONIC), (1, HADRONIC)):
        r = (
            0.0
            if kind == LEPTONIC
            else ((made.measured[:, leg, 0] ** 2 - (made.measured[:, leg, 1:] ** 2).sum(axis=1)) / MASS**2)
        )
        mean = 0.35 if kind == LEPTONIC else float(np.mean((1 + r) / 2))
        assert x[:, leg].mean() == pytest.approx(mean, abs=4 * x[:, leg].std() / np.sqrt(3000))
    hidden = (made.true - made.measured)[..., 1:3].sum(axis=1)
    missing = made.columns["MET"] * np.exp(1j * made.columns["MET_Phi"])
    assert missing == pytest.approx(hidden[:, 0] + 1j * hidden[:, 1], abs=1e-3)
    assert {"lep1_PDG", "tau1_M", "MET"} <= made.columns.keys()
    assert (made.columns["lep1_Charge"] == 1).all()
    with pytest.raises(ParameterError, match="each of the 2 taus"):
        draw_events("higgs_tautau", 10, 2, None, taus="lhh")
