"""Hypotheses and points that make no sense are refused or flagged, and narrow resonances are met or refused."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import stored

from deepmem.errors import DeepMEMWarning
from deepmem.event import Status
from deepmem.inputs import Reason, count_reasons
from deepmem.physics import processes
from deepmem.physics.amplitude import matrix_element
from deepmem.physics.errors import ParameterError
from deepmem.physics.phasespace.visible import Choices, Legs, Visible
from deepmem.physics.precision import double_precision
from deepmem.physics.processes import all_processes, find_process, known_columns
from deepmem.physics.theory import lhapdf
from deepmem.physics.weights import engine, visible
from deepmem.physics.weights.hypothesis import Hypothesis, hypothesis
from deepmem.physics.weights.leading_order import draw_events
from deepmem.physics.weights.partonic import Partonic, negative_densities, shared_by_events
from deepmem.physics.weights.plan import plan_for
from deepmem.physics.weights.resolution import mapped_resonance

NAME = "NNPDF23_lo_as_0130_qed"


@pytest.fixture(scope="module")
def pairs() -> dict[str, np.ndarray]:
    cuts = {"lepton_pt": 10, "lepton_eta": 2.5, "mass": [84, 99]}
    return draw_events("drell_yan", 12, 5, cuts, recoil=15.0).columns


# --- hypotheses
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("process", "settings", "says"),
    [
        ("drell_yan", {"WZ": 0.0}, "WZ = 0: a resonance without a width"),
        ("drell_yan", {"WZ": 0.0, "r_lepton": 0}, "WZ = 0"),
        ("drell_yan", {"WZ": [0.0, 2.4]}, "WZ = 0"),
        ("higgs_4l", {"WH": 0.0}, "WH = 0"),
        ("ttbar_2l", {"WT": 0.0}, "WT = 0"),
        ("ww_2l", {"WW": 0.0}, "WW = 0"),
        ("higgs_ww_2l", {"MH": "event"}, "MH=event has no meaning for higgs_ww_2l"),
        (
            "higgs_4l",
            {"MH": [125.0, 125.0000001]},
            "125.0 and 125.0000001 would both be called higgs_4l_MH_125",
        ),
        ("ttbar_2l", {"MT": [173.0, 173.0001, 174.0]}, "both be called ttbar_2l_MT_173"),
        (
            "zz_4l",
            {"WZ": 0.05},
            "WZ = 0.05 GeV is too narrow for zz_4l with these responses, 0.13 GeV at least",
        ),
        ("zz_4l", {"WZ": [2.4, 0.05]}, "WZ = 0.05 GeV is too narrow"),
        ("higgs_4l", {"WZ": 0.001}, "too narrow for higgs_4l"),
        ("ww_2l", {"WZ": 0.5}, "WZ = 0.5 GeV is too narrow for ww_2l, 2 GeV at least"),
        ("zz_4mu", {"WZ": 0.5, "r_lepton": 0.2}, "1.3 GeV at least"),
    ],
)
def test_hypotheses_that_make_no_sense(process, settings, says):
    with pytest.raises(ParameterError, match=says):
        hypothesis(process, **settings)


@pytest.mark.parametrize(
    ("process", "settings"),
    [
        ("drell_yan", {"WZ": 1e-6}),
        ("zz_4l", {"WZ": 0.001, "r_lepton": 0}),
        ("zz_4l", {"r_lepton": 0.29}),
        ("higgs_4l", {"WH": 1e-8}),
        ("higgs_4l", {"MH": "event", "r_lepton": 0}),
        ("higgs_4l", {"MH": "event", "WH": 1e-6}),
        ("ttbar_2l", {"MT": [172.0, 173.0]}),
        ("ttbar_2l", {"WT": 1e-5, "WW": 1e-5}),
        ("ww_2l", {"WZ": 2.4, "WW": 1e-3}),
        ("higgs_ww_2l", {"WH": 1e-8}),
    ],
)
def test_hypotheses_that_do(process, settings):
    hypothesis(process, **settings)


# --- a resonance narrower than the responses
# ---------------------------------------------------------------------------------------------------------


@partial(jax.jit, static_argnums=0)
def integrand(partonic, shared, event, energies):
    response = shared.detector.by_class["lepton"].responses[0]

    def one(*energies):
        density, legs = 1.0, []
        for i, energy in enumerate(energies):
            sine = 1 / jnp.cosh(event.eta[i])
            density *= response.density(event.energy[i], energy) * energy * sine / (2 * (2 * jnp.pi) ** 3)
            x, y = (sine * turn(event.phi[i]) for turn in (jnp.cos, jnp.sin))
            legs.append((energy, energy * x, energy * y, energy * jnp.tanh(event.eta[i])))
        return density * partonic(shared, legs)[0][0]

    return jax.vmap(jax.vmap(one))(*energies)


def by_hand(alpha: Hypothesis, events: dict[str, np.ndarray]) -> np.ndarray:
    """∫ dE₁ dE₂ with nodes that crowd about s = MZ² at each E₁: s = 2E₁E₂(1 − cosθ) is linear in E₂."""
    measured, _ = visible.visible(alpha, events)
    nodes, weights = np.polynomial.legendre.leggauss(160)
    # between breaks a factor of √10 apart a Lorentzian is known to 1e-8
    fine, of_fine = np.polynomial.legendre.leggauss(8)
    pole, width = alpha.parameters.MZ**2, alpha.parameters.MZ * alpha.parameters.WZ
    steps = width * 10 ** np.arange(-0.5, 9, 0.5)
    breaks = np.r_[-steps[::-1], 0, steps] + pole
    with double_precision():
        # what prepares the map does not belong to the integrand
        shared = shared_by_events(alpha)._replace(resonance=None)
        response = shared.detector.by_class["lepton"].responses[0]
        results = []
        for i in range(measured.size):
            event = measured.rows(i)
            (low, high) = (np.asarray(response.support(event.energy)[k]) for k in (0, 1))
            difference = np.cosh(np.diff(event.eta)) - np.cos(np.diff(event.phi))
            q = (2 * difference / np.cosh(event.eta).prod())[0]
            first = low[0] + (high[0] - low[0]) * (nodes + 1) / 2
            a, b = q * first[:, None] * low[1], q * first[:, None] * high[1]
            edges = np.sort(np.c_[np.clip(breaks, a, b), a + (b - a) * np.linspace(0, 1, 13)], axis=1)
            half = np.diff(edges)[..., None] / 2
            s = (edges[:, :-1, None] + half * (1 + fine)).reshape(len(nodes), -1)
            measure = (half * of_fine).reshape(len(nodes), -1) / (q * first[:, None])
            energies = np.broadcast_to(first[:, None], s.shape), s / (q * first[:, None])
            values = np.asarray(integrand(Partonic(alpha.process, 4, None), shared, event, energies))
            results.append(((values * measure).sum(axis=1) * weights).sum() * (high[0] - low[0]) / 2)
    return np.array(results)


@pytest.mark.parametrize(
    ("r", "width"),
    [
        (0.02, 2.441404),
        pytest.param(0.02, 1.0, marks=pytest.mark.long),
        (0.02, 0.03),
        (0.02, 0.001),
        (0.1, 2.441404),
        (0.29, 0.3),
    ],
)
def test_drell_yan_weights_are_right_whatever_the_width(pairs, r, width):
    alpha = hypothesis("drell_yan", r_lepton=r, WZ=width)
    assert (mapped_resonance(alpha) is None) == ((r, width) == (0.02, 2.441404))
    found = engine.compute(alpha, pairs, precision=4e-3)["drell_yan"]
    expected = by_hand(alpha, pairs)
    assert (found.status == Status.GOOD).all()
    assert (np.abs(found.value - expected) < 4 * np.maximum(found.error, 1e-5 * expected)).all()
    assert (np.abs(found.value / expected - 1) < 0.016).all()


def test_a_narrow_resonance_is_met_by_responses_with_tails_too(pairs):
    entry = {"kind": "double_gaussian", "fraction": 0.1, "core": {"r": 0.02}, "tail": {"r": 0.02}}
    plain, alike = (
        engine.compute(hypothesis("drell_yan", WZ=0.01, **extra), pairs, precision=4e-3)["drell_yan"]
        for extra in ({}, {"response": {"lepton": entry}})
    )
    pulls = (alike.value - plain.value) / np.hypot(alike.error, plain.error)
    assert np.abs(pulls).max() < 4


# --- densities
# ---------------------------------------------------------------------------------------------------------


def heavy(mass: float) -> dict[str, np.ndarray]:
    """A pair of that mass at rest."""
    event = {"lep1_PT": mass / 2, "lep1_Eta": 0.0, "lep1_Phi": 0.0, "lep1_Charge": -1.0}
    event |= {"lep2_PT": mass / 2, "lep2_Eta": 0.0, "lep2_Phi": np.pi, "lep2_Charge": 1.0}
    return {name: np.array([value]) for name, value in event.items()}


def test_negative_densities_are_flagged_and_never_clipped():
    """A grid of NNPDF's next-to-leading order: light pairs do not see where it is negative."""
    alpha = hypothesis("drell_yan", pdf="NNPDF23_nlo_as_0119_qed")
    statuses = []
    for mass in (90.0, 4000.0, 8000.0, 11000.0):
        found = engine.compute(alpha, heavy(mass), entries=np.arange(1))["drell_yan"]
        statuses.append(int(found.status[0]))
        assert found.value[0] != 0
        assert np.isfinite(found.error[0])
        assert found.value[0] > 0 or found.status[0] == Status.PRECISION
        if found.status[0] == Status.PRECISION:
            assert count_reasons(found.reason) == {Reason.NEGATIVE_DENSITY.meaning: 1}
    assert statuses[0] == Status.GOOD
    assert Status.PRECISION in statuses


def test_a_part_that_comes_from_negative_densities_is_the_part(tmp_path):
    """With the sign of one quark turned round: u ū counts against d d̄, and both are known apart."""
    alphas = {}
    for label, turned in (("as it is", ()), ("u", (2,)), ("both", (2, -2, 1, -1, 3, -3, 4, -4))):
        path = tmp_path / f"{label}_0000.dat"
        path.write_text(with_sign(lhapdf.find(NAME).read_text(), turned))
        alphas[label] = hypothesis("drell_yan", pdf=str(path), r_lepton=0)
    plain, u, both = (engine.compute(alpha, heavy(300.0))["drell_yan"] for alpha in alphas.values())
    assert plain.status[0] == Status.GOOD
    assert u.value[0] < plain.value[0]
    assert u.status[0] == Status.PRECISION
    # two negative densities are no better for their product
    assert both.value[0] == pytest.approx(plain.value[0], rel=1e-12)
    assert both.status[0] == Status.PRECISION


def with_sign(text: str, codes: tuple[int, ...]) -> str:
    header, *grids, end = text.split("---\n")
    changed = []
    for grid in grids:
        x, q, partons, *rows = grid.rstrip("\n").split("\n")
        places = [i for i, code in enumerate(map(int, partons.split())) if code in codes]
        lines = [row.split() for row in rows]
        for words in lines:
            for i in places:
                words[i] = str(-float(words[i]))
        changed.append("\n".join([x, q, partons, *(" ".join(words) for words in lines)]) + "\n")
    return "---\n".join([header, *changed, end])


def test_neutrinos_of_a_process_are_read_from_their_own_place_beside_negative_densities():
    """Their p_T add up to what is missing, which they do from no other place."""
    events = {name: values[:2] for name, values in stored("ww_2l").items()}
    alpha = hypothesis("ww_2l", pdf="NNPDF23_nlo_as_0119_qed")
    assert negative_densities(alpha)
    found = engine.compute(alpha, events, precision=0.05, calls=1 << 15, neutrinos=True)["ww_2l"]
    size, phi = events["MET"], events["MET_Phi"]
    missing = size[:, None] * np.stack([np.cos(phi), np.sin(phi)], axis=1)
    np.testing.assert_allclose(found.neutrinos.sum(axis=1)[:, :2], missing, atol=1e-6 * size.max())
    assert (found.neutrinos != 0).all()


def test_a_scale_outside_the_grid_is_said(pairs):
    with pytest.warns(DeepMEMWarning, match="Q = 0.5 GeV is outside the grid of NNPDF23.*frozen at 1 GeV"):
        engine.compute(hypothesis("drell_yan", Q=0.5), pairs, entries=np.arange(12))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine.compute(hypothesis("drell_yan"), pairs)


def test_a_grid_that_is_replaced_gives_other_weights(tmp_path, pairs):
    path = tmp_path / "set_0000.dat"
    path.write_bytes(lhapdf.find(NAME).read_bytes())
    alpha = hypothesis("drell_yan", pdf=str(path), r_lepton=0)
    before = engine.compute(alpha, pairs)["drell_yan"].value
    path.write_bytes(lhapdf.find("NNPDF23_lo_as_0119_qed").read_bytes() + b"\n")
    after = engine.compute(alpha, pairs)["drell_yan"].value
    other = hypothesis("drell_yan", pdf="NNPDF23_lo_as_0119_qed", r_lepton=0)
    assert (before != after).all()
    np.testing.assert_array_equal(after, engine.compute(other, pairs)["drell_yan"].value)


# --- momenta
# ---------------------------------------------------------------------------------------------------------


def two_to_two(count: int = 5) -> np.ndarray:
    cosine = np.linspace(-0.8, 0.8, count)
    sine, zero, one = np.sqrt(1 - cosine**2), np.zeros(count), np.ones(count)
    legs = [(one, zero, zero, one), (one, zero, zero, -one)]
    legs += [(one, k * sine, zero, k * cosine) for k in (1, -1)]
    return 45 * np.stack([np.stack(leg, axis=-1) for leg in legs], axis=1)


def said(momenta: np.ndarray, process: str = "drell_yan", incoming=(2, -2), **parameters) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        matrix_element(process, incoming, momenta, **parameters)
    return [str(each.message) for each in caught if issubclass(each.category, DeepMEMWarning)]


def test_momenta_that_are_none_are_said():
    good = two_to_two()
    assert said(good) == said(good * (1 + 1e-8)) == []
    off = good.copy()
    off[3, 2, 0] *= 1.001
    shell, conserved = said(off)
    assert shell.startswith(
        "1 of 5 points are off the mass shell: at worst leg 2 (-13) of point 3, of mass 0 GeV"
    )
    assert "by 0.001" in shell
    assert conserved.startswith("1 of 5 points do not conserve momentum: at worst point 3")
    lost = good.copy()
    lost[:, 2:] *= 1.01
    (text,) = said(lost)
    assert text.startswith("5 of 5 points do not conserve momentum")
    incoming = good.copy()
    incoming[1, 0, 1] = 2.0
    assert "leg 0 (first parton) of point 1" in said(incoming)[0]
    broken = good.copy()
    broken[2, 2, 1] = np.nan
    assert said(broken) == []
    assert said(good[0]) == []


def test_bottom_quarks_have_their_mass():
    process = find_process("ttbar_2l")
    b = [2 + i for i, code in enumerate(process.outgoing) if abs(code) == 5]
    momenta = np.zeros((1, 8, 4))
    rng = np.random.default_rng(1)
    momenta[0, 2:, 1:] = rng.normal(0, 40, (6, 3))
    momenta[0, 7, 1:] -= momenta[0, 2:, 1:].sum(axis=0)
    masses = np.zeros(8)
    masses[b] = 4.7
    momenta[0, 2:, 0] = np.hypot(np.linalg.norm(momenta[0, 2:, 1:], axis=1), masses[2:])
    half = momenta[0, 2:, 0].sum() / 2
    momenta[0, :2] = [[half, 0, 0, half], [half, 0, 0, -half]]
    assert said(momenta, "ttbar_2l", (21, 21)) == []
    (text,) = said(momenta, "ttbar_2l", (21, 21), MB=10.0)
    assert "of mass 10 GeV" in text


# --- one place for what is per leg, and one function per process
# ---------------------------------------------------------------------------------------------------------


def test_fields_of_the_event_stay_and_those_of_legs_move():
    rng, order = np.random.default_rng(1), [0, 3, 2, 1]
    legs = Legs(*(rng.uniform(size=(3, 4)) for _ in Legs._fields))
    events = Visible(legs, rng.uniform(size=(3, 2)), rng.uniform(size=3), Choices(rng.uniform(size=3)))
    found = events.permuted(order)
    for name in Legs._fields:
        np.testing.assert_array_equal(getattr(found.legs, name), getattr(legs, name)[:, order])
    assert found[1:] == events[1:]


@pytest.mark.parametrize("name", all_processes())
def test_a_pickled_process_is_the_one_on_the_menu(name):
    process = find_process(name)
    assert pickle.loads(pickle.dumps(process)) is process
    one, other = hypothesis(name), pickle.loads(pickle.dumps(hypothesis(name)))
    assert plan_for(one).integrand(Partonic.of(one), False) is plan_for(other).integrand(
        Partonic.of(other), False
    )


def test_maps_of_a_process_share_the_code_of_its_matrix_elements():
    """Whatever is known of missing p_T: one function, of equal structure."""
    settings = ({}, {"met": "balance"}, {"response": {"met": {"c": 5.0}}})
    alphas = [hypothesis("ww_2l", **each) for each in settings]
    integrands = [plan_for(alpha).integrand(Partonic.of(alpha), False) for alpha in alphas]
    assert len(set(integrands)) == 3
    assert len({each.complete for each in integrands}) == 1
    known = [each.apart(shared_by_events(a))[1] for each, a in zip(integrands, alphas, strict=True)]
    assert len({jax.tree.structure(each) for each in known}) == 1


def test_a_process_of_the_same_name_is_another_one(request):
    process = find_process("ttbar_2l")
    request.addfinalizer(lambda: processes.register(process))
    narrow = replace(process, responses={"lepton": 0.01, "bjet": 0.1})
    assert narrow != process
    copy = pickle.loads(pickle.dumps(narrow))
    assert copy is not narrow
    assert copy == narrow
    assert hash(copy) == hash(narrow)
    processes.register(narrow)
    assert pickle.loads(pickle.dumps(narrow)) is narrow
    assert replace(process) == process
    assert {replace(process): 1}[process] == 1


def test_columns_of_the_menu():
    known = known_columns()
    assert len(known) == len(set(known))
    assert {"lep1_PT", "lep4_PDG", "j2_M", "MET", "MET_Phi"} <= set(known)


@pytest.mark.parametrize("name", ["higgs_4l", "higgs_ww_2l"])
def test_a_higgs_boson_too_heavy_for_its_effective_couplings_is_said(name: str) -> None:
    with pytest.warns(DeepMEMWarning, match=r"MH = 500 GeV: the effective couplings .* 2 MW = 160.8"):
        hypothesis(name, MH=500.0, WH=60.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hypothesis(name, MH=150.0)
        hypothesis("zz_4l")
