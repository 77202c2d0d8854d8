"""A tau beside its neutrino, and taus beside leptons: weights against a rule of many nodes and against those of
leptons, the density of the map, and which objects are whose."""

from __future__ import annotations

from typing import Any

import any_process
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepmem
from deepmem.inputs import Reason
from deepmem.physics.detector.taus import HADRONIC, LEPTONIC, density
from deepmem.physics.integrals.stages import proposed
from deepmem.physics.phasespace.composed.fit import fits
from deepmem.physics.phasespace.composed.steps import steps
from deepmem.physics.precision import double_precision
from deepmem.physics.weights.contributions import contributions
from deepmem.physics.weights.hypothesis import Hypothesis, hypothesis
from deepmem.physics.weights.partonic import Partonic, shared_by_events
from deepmem.physics.weights.plan import plan_for
from deepmem.physics.weights.preparation import prepare
from deepmem.physics.weights.visible import Measured

MASS, RHO = 1.777, 0.775  # GeV
SIGMA = 15.0
NOISE: dict[str, Any] = {"recoil": {"recoil": {"c": SIGMA}}, "event": {"met": {"c": SIGMA}}}
PT, ETA, PHI = 34.0, 0.6, 0.3
MISSING = np.array([-28.0, 9.0])  # GeV
CUBE = (2 * np.pi) ** 3
W = "x=p p > w+, w+ > ta+ vt"
TOP = "x=p p > t t~, (t > w+ b, w+ > ta+ vt), (t~ > w- b~, w- > e- ve~)"


def of_decay(reaction: str, kind: str, met: str, response: dict[str, Any], **settings: float) -> Hypothesis:
    """Of a reaction with one tau, by what that is seen as."""
    alpha = hypothesis(reaction, response=response | NOISE[met], met=met, Q=80.0, **settings)
    (process,) = (each.process for each in alpha.process.variants if kind in each.process.classes)
    return alpha.of_variant(process)


def one_tau(alpha: Hypothesis, own: float) -> Measured:
    """One event; what is missing, or minus the recoil, is `MISSING` without the tau, or with it."""
    energy = np.hypot(PT * np.cosh(ETA), own)
    missing = MISSING[None].copy()
    if alpha.met == "recoil":
        missing += PT * np.array([[np.cos(PHI), np.sin(PHI)]])
    eta, phi, pt, seen, mass = (np.full((1, 1), each) for each in (ETA, PHI, PT, own, MASS))
    return Measured(np.full((1, 1), energy), eta, phi, mass, missing, pt.sum(axis=1), seen)


def normal(pull: np.ndarray) -> np.ndarray:
    """The Gaussian response of two components, GeV⁻²."""
    return np.exp(-(pull**2).sum(axis=-1) / 2) / (2 * np.pi * SIGMA**2)


def by_nodes(alpha: Hypothesis, event: Measured, nodes: tuple[int, int, int] = (40, 16, 40)) -> float:
    """∫ dx/x f |p| sinθ/(2 (2π)³) d²k dy/(2 (2π)³) N Σ f f |M|², with E = E_vis/x, a perfect response."""
    partonic, shared = Partonic.plain(alpha), shared_by_events(alpha)
    assert event.own is not None
    assert event.missing is not None
    own, (kind, _) = float(event.own[0, 0]), alpha.process.classes
    seen, sine = float(event.energy[0, 0]), 1 / np.cosh(ETA)
    (a, of_x), (y, of_y) = (np.polynomial.legendre.leggauss(nodes[i]) for i in (0, 2))
    z, of_z = np.polynomial.hermite_e.hermegauss(nodes[1])
    low = np.log(max((own / MASS) ** 2, 0.02))
    x, rapidity = np.exp(low * (1 - a) / 2), 5 * y
    weights = np.einsum("i,j,k,l->ijkl", -low / 2 * of_x, of_z, of_z, 5 * of_y).ravel() / (2 * np.pi)
    x, kx, ky, rapidity = (each.ravel() for each in np.meshgrid(x, z, z, rapidity, indexing="ij"))
    energy = seen / x
    size = np.sqrt(energy**2 - MASS**2)
    direction = np.array([sine * np.cos(PHI), sine * np.sin(PHI), np.tanh(ETA)])
    tau = size[:, None] * direction
    hidden = tau if alpha.met == "recoil" else tau - np.sqrt(seen**2 - own**2) * direction
    # the Gaussian of missing p_T, or the recoil, is in the weights of z
    kx, ky = (event.missing[0, i] - hidden[:, i] + SIGMA * each for i, each in ((0, kx), (1, ky)))
    k = np.hypot(kx, ky)
    neutrino = np.stack([k * np.cosh(rapidity), kx, ky, k * np.sinh(rapidity)], axis=1)
    with double_precision():
        f = np.asarray(density(kind, x, (own / MASS) ** 2))
        legs = jnp.asarray(np.column_stack([energy, tau])), jnp.asarray(neutrino)
        squared = jax.jit(jax.vmap(lambda one, other: partonic(shared, [tuple(one), tuple(other)])[0][0]))
        values = np.nan_to_num(np.asarray(squared(*legs)))
    return float((weights * f * size * sine / (2 * CUBE) / (2 * CUBE)) @ values)


@pytest.mark.parametrize(
    ("kind", "met"), [(HADRONIC, "recoil"), pytest.param(LEPTONIC, "event", marks=pytest.mark.long)]
)
def test_weights_are_those_of_many_nodes(kind: str, met: str):
    """By the map, and on a grid of x, p_T and the rapidity of the neutrino, with a W of 20 GeV."""
    alpha = of_decay(W, kind, met, {"tau": 0.0, "lepton": 0.0}, WW=20.0)
    event = one_tau(alpha, RHO if kind == HADRONIC else 0.0)
    found = any_process.estimate(alpha, plan_for(alpha), event, precision=5e-3)
    expected = by_nodes(alpha, event)
    assert found.status[0] == 0
    assert found.value[0, 0] == pytest.approx(expected, rel=2e-3, abs=3 * found.error[0, 0])


def test_with_all_seen_it_is_the_weight_of_a_lepton():
    """r → 1, f → δ(x − 1): W_τ = W_ℓ/x up to m_τ²/s, at the energy of the mean x."""
    r = 0.96
    alpha = of_decay(W, HADRONIC, "recoil", {"tau": 0.0, "lepton": 0.0})
    event = one_tau(alpha, float(np.sqrt(r)) * MASS)
    (value,), (error,) = any_process.estimate(alpha, plan_for(alpha), event, precision=5e-3)[:2]
    x = (1 + r) / 2
    pt = event.energy[0, 0] / x / np.cosh(ETA)
    assert event.missing is not None
    missing = event.missing[0] - pt * np.array([np.cos(PHI), np.sin(PHI)])
    columns = {"lep1_PT": pt, "lep1_Eta": ETA, "lep1_Phi": PHI, "lep1_Charge": 1.0, "MET": np.hypot(*missing)}
    columns |= {"MET_Phi": np.arctan2(missing[1], missing[0])}
    events = {name: np.array([each]) for name, each in columns.items()}
    settings = {"response": {"lepton": 0.0} | NOISE["recoil"], "met": "recoil", "Q": 80.0, "precision": 5e-3}
    found = deepmem.compute(events, "l=p p > w+, w+ > mu+ vm", **settings)["l"]
    assert value[0] * x == pytest.approx(
        found.value[0], rel=4e-3, abs=3 * float(np.hypot(error[0] * x, found.error[0]))
    )


def one_top_pair(alpha: Hypothesis) -> Measured:
    """One event, its legs τ⁺ b e⁻ b̄ as written."""
    kinds = [kind for kind in alpha.process.classes if kind != "invisible"]
    values = {"tau": (40.0, 0.3, 0.2, RHO, MASS), "lepton": (52.0, -0.4, 2.9, 0.0, 0.0)}
    jets = iter([(88.0, 0.7, 1.5, 9.0, 4.7), (71.0, -0.6, -2.0, 8.0, 4.7)])
    legs = np.array([next(jets) if kind == "bjet" else values[kind] for kind in kinds])
    pt, eta, phi, own, mass = legs.T[:, None]
    missing = np.array([[10.0, -6.0]]) if alpha.met == "recoil" else np.array([[35.0, -31.0]])
    return Measured(np.hypot(pt * np.cosh(eta), own), eta, phi, mass, missing, pt.sum(axis=1), own)


@pytest.mark.parametrize("met", ["recoil", pytest.param("event", marks=pytest.mark.long)])
def test_density_is_that_of_the_momenta(met: str):
    """Of tt̄ with a tau and a lepton, both neutrinos on ellipses, by finite differences of 11 coordinates."""
    response = {"tau": 0.12, "lepton": 0.03, "bjet": 0.1}
    alpha = of_decay(TOP, HADRONIC, met, response)
    found, shared = any_process.composition(alpha), shared_by_events(alpha)
    events = prepare(alpha, plan_for(alpha), shared, one_top_pair(alpha))
    events = events.choosing(fit=fits(found, shared, events))
    (tau,), legs = found.taus, found.tree.legs
    place = found.tree.visible.index(tau.leg)
    at = len(found.drawn)
    with jax.enable_x64(True):
        event = jax.tree.map(lambda leaf: leaf[0], events)
        of_tau = alpha.detector.of(HADRONIC).at(0.0)
        energy, own = event.legs.energy[place], event.own[place]
        of_visible = jax.jit(jax.vmap(lambda u: of_tau.flatten(u, energy, own)[0]))

        def points(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            parcel = None
            for step in steps(found):
                parcel = proposed(step, shared, events, u[None], parcel)
            momenta = np.array([[np.asarray(x)[0, :, 0] for x in leg] for leg in parcel.legs])
            free = [momenta[leg.number, 0] for leg in legs if leg.kind != "invisible"]
            free += [momenta[number, i] for number in found.tree.invisible for i in (1, 2, 3)]
            return momenta, np.array([*free, of_visible(u[:, at])]), np.asarray(parcel.density)[0, :, 0]

        u, h = np.random.default_rng(3).uniform(0.1, 0.9, (256, 11)), 1e-6
        momenta, there, densities = points(u)
        slopes = [(points(u + h * unit)[1] - points(u - h * unit)[1]) / (2 * h) for unit in np.eye(11)]
        expected = np.abs(np.linalg.det(np.array(slopes).transpose(2, 0, 1)))
        missing = momenta[list(found.tree.invisible), 1:3].sum(axis=0)
        for i, number in enumerate(found.tree.visible):
            rec, kind = float(event.legs.energy[i]), legs[number].kind
            true = momenta[number, 0]
            size = np.linalg.norm(momenta[number, 1:], axis=0)
            respond = jax.jit(alpha.detector.of(kind).at(0.0).density)
            expected = expected * size * float(event.legs.sine[i]) / (2 * CUBE)
            if met == "recoil":
                missing = missing + momenta[number, 1:3]
            if number != tau.leg:
                expected = expected * np.asarray(respond(rec, true))
                continue
            visible = there[-1]
            r = (RHO / MASS) ** 2
            expected = expected * np.asarray(respond(rec, visible)) / true
            expected = expected * np.asarray(jax.jit(density, static_argnums=0)(kind, visible / true, r))
            if met == "event":
                part = np.sqrt(visible**2 - RHO**2) / size
                missing = missing + momenta[number, 1:3] * (1 - part)
        for number in found.tree.invisible:
            expected = expected / (2 * momenta[number, 0] * CUBE)
        expected = expected * normal((missing.T - event.missing) / SIGMA)
    kept = densities > 0
    assert kept.sum() > 30
    assert densities[kept] == pytest.approx(expected[kept], rel=2e-4)


def objects(**kinds: tuple[float, float]) -> dict[str, float]:
    """Columns of particles by name, each with its charge and, of a lepton, its code."""
    found: dict[str, float] = {}
    for k, (name, (charge, code)) in enumerate(kinds.items()):
        values = {"PT": 60.0 - 7 * k, "Eta": 0.3 * k - 0.4, "Phi": 2.1 * k - 2.5, "Charge": charge}
        values |= {"PDG": code} if name.startswith("lep") else {"M": RHO}
        found |= {f"{name}_{quantity}": value for quantity, value in values.items()}
    return found


def test_all_ways_in_which_leptons_are_a_boson_s_or_a_tau_s_count():
    """An e⁺ e⁻ e⁺ τ_h⁻ has two, e⁺ e⁻ μ⁺ τ_h⁻ has one; e⁺ e⁻ μ⁺ μ⁻ is of two final states."""
    lepton = {"e-": (-1.0, 11.0), "e+": (1.0, -11.0), "m+": (1.0, -13.0), "m-": (-1.0, 13.0)}
    hadrons = {"+": (1.0, 0.0), "-": (-1.0, 0.0)}
    kinds = [
        objects(lep1=lepton["e+"], lep2=lepton["e-"], lep3=lepton["e+"], tau1=hadrons["-"]),
        objects(lep1=lepton["e+"], lep2=lepton["e-"], lep3=lepton["m+"], tau1=hadrons["-"]),
        objects(lep1=lepton["e+"], lep2=lepton["e-"], lep3=lepton["m+"], lep4=lepton["m-"]),
        objects(lep1=lepton["m+"], lep2=lepton["m-"], tau1=hadrons["-"], tau2=hadrons["+"]),
        objects(lep1=lepton["m+"], lep2=lepton["e-"], tau1=hadrons["-"], tau2=hadrons["+"]),
        objects(lep1=lepton["m+"], lep2=lepton["m-"], tau1=hadrons["-"]),
        objects(lep1=lepton["m+"], lep2=lepton["m-"], lep3=lepton["e+"], tau1=hadrons["-"], tau2=hadrons["+"]),
    ]  # fmt: skip
    names = sorted({name for each in kinds for name in each})
    events = {name: np.array([each.get(name, np.nan) for each in kinds]) for name in names}
    events |= {"MET": np.full(len(kinds), 24.0), "MET_Phi": np.full(len(kinds), -1.0)}
    alpha = hypothesis("zh=p p > z h, z > l+ l-, h > ta+ ta-", response=NOISE["recoil"])
    found, reason = contributions(alpha, events)
    rows = [sum((each.event == e).sum() for each in found) for e in range(len(kinds))]
    shares = [sum(each.share[each.event == e].sum() for each in found) for e in range(len(kinds))]
    assert rows == [2, 1, 2, 1, 0, 0, 0]
    assert shares[:4] == pytest.approx([1.0, 1.0, 2.0, 1.0])
    assert reason.tolist() == [0, 0, 0, 0, Reason.FLAVOURS, Reason.NO_TAU, Reason.MORE_TAUS]
    # of the first event each of the equal positrons is once the tau's
    (two,) = (each for each in found if (each.event == 0).any())
    of_taus = [k for k, kind in enumerate(two.alpha.process.classes) if kind == LEPTONIC]
    assert sorted(two.particles[two.event == 0][:, of_taus].ravel().tolist()) == [0, 2]
