"""Amplitudes against MadGraph's numbers, and against the symmetries that they must have."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest

from deepmem.errors import DeepMEMWarning
from deepmem.physics.amplitude import LARGEST_BATCH, matrix_element, processes
from deepmem.physics.errors import InitialStateError, MomentaError, ParameterError, UnknownNameError
from deepmem.physics.precision import PrecisionError
from deepmem.physics.processes import all_processes, find_process, register, unregister
from deepmem.physics.processes.four_leptons import amplitudes
from deepmem.physics.processes.lepton_pairs import DIRECT
from deepmem.physics.spinors import Products
from deepmem.physics.theory.parameters import Parameters, electroweak, parameters

REFERENCE_FILE = Path(__file__).parents[1] / "reference" / "matrix_elements.json"
REFERENCE = json.loads(REFERENCE_FILE.read_text())["processes"]

# name in the reference file, process, incoming partons, subset
REFERENCES = [
    ("uux_epem", "drell_yan", (2, -2), None),
    ("ddx_epem", "drell_yan", (1, -1), None),
    ("uux_4l", "zz_4l", (2, -2), None),
    ("ddx_4l", "zz_4l", (1, -1), None),
    ("uux_zz_4l", "zz_4l", (2, -2), "zz"),
    ("gg_h_4l_heft", "higgs_4l", (21, 21), None),
]
SAMPLE = {
    "drell_yan": "uux_epem",
    "zz_4l": "uux_4l",
    "zz_4e": "uux_4l",
    "higgs_4l": "gg_h_4l_heft",
    "higgs_4e": "gg_h_4l_heft",
}
# One of each pair of names with one amplitude, an up and a down quark
CASES = [
    ("drell_yan", (2, -2)),
    ("drell_yan", (-1, 1)),
    ("zz_4l", (2, -2)),
    ("zz_4l", (-1, 1)),
    ("zz_4e", (2, -2)),
    ("zz_4e", (-1, 1)),
    ("higgs_4l", (21, 21)),
    ("higgs_4e", (21, 21)),
]
ONE_OF_EACH = [("drell_yan", (2, -2)), ("zz_4l", (2, -2)), ("higgs_4l", (21, 21))]


@cache
def points(name: str) -> np.ndarray:
    """The reference's phase-space points, random and resonant ones, `[points, legs, 4]`."""
    return np.array(REFERENCE[name]["momenta"])


def as_legs(momenta: np.ndarray):
    """`[..., legs, 4]` to the tuples of scalars that JAX-level functions take."""
    return tuple(tuple(momenta[..., leg, i] for i in range(4)) for leg in range(momenta.shape[-2]))


def rtol(process: str) -> float:
    """Rounding of the momenta moves a resonance of relative width Γ/M by 1e-16 M/Γ."""
    return 1e-10 if process.startswith("higgs") else 1e-11


@pytest.mark.parametrize(("name", "process", "incoming", "subset"), REFERENCES)
@pytest.mark.parametrize(("alpha_s", "column"), [(0.118, "me2"), (0.13, "me2_alphas_0p13")])
def test_agrees_with_madgraph(name, process, incoming, subset, alpha_s, column):
    """Every point of the reference file, to 1e-10, at both values of α_s."""
    ours = matrix_element(process, incoming, points(name), subset=subset, alpha_s=alpha_s)
    np.testing.assert_allclose(ours, REFERENCE[name][column], rtol=1e-10)


@pytest.mark.parametrize(("name", "process", "incoming", "subset"), REFERENCES)
def test_agrees_with_madgraph_from_either_beam(name, process, incoming, subset):
    """With the partons exchanged, codes and momenta alike, |M|² is the same."""
    exchanged = points(name)[:, [1, 0, *range(2, points(name).shape[1])]]
    ours = matrix_element(process, incoming[::-1], exchanged, subset=subset)
    np.testing.assert_allclose(ours, REFERENCE[name]["me2"], rtol=1e-10)


@pytest.mark.parametrize("quark", [(2, 4), (1, 3), (1, 5)])
def test_flavours_of_one_charge_are_alike(quark):
    like, other = quark
    for sign in (1, -1):
        np.testing.assert_array_equal(
            matrix_element("zz_4l", (sign * other, -sign * other), points("uux_4l")),
            matrix_element("zz_4l", (sign * like, -sign * like), points("uux_4l")),
        )


def boosted(momenta: np.ndarray, rapidity: float) -> np.ndarray:
    result, (c, s) = momenta.copy(), (np.cosh(rapidity), np.sinh(rapidity))
    result[..., 0] = c * momenta[..., 0] + s * momenta[..., 3]
    result[..., 3] = s * momenta[..., 0] + c * momenta[..., 3]
    return result


def rotated(momenta: np.ndarray, angle: float, i: int = 1, j: int = 2) -> np.ndarray:
    result, (c, s) = momenta.copy(), (np.cos(angle), np.sin(angle))
    result[..., i] = c * momenta[..., i] - s * momenta[..., j]
    result[..., j] = s * momenta[..., i] + c * momenta[..., j]
    return result


@pytest.mark.parametrize(("process", "incoming"), CASES)
def test_symmetries_of_space_time(process, incoming):
    """Boosts along the beam, and rotations about it and across it, leave |M|² as it is."""
    momenta = points(SAMPLE[process])
    expected = matrix_element(process, incoming, momenta)
    for moved in (
        boosted(momenta, 1.3),
        boosted(momenta, -2.1),
        rotated(momenta, 2.2),
        rotated(momenta, 0.9, 3, 1),
        rotated(momenta, np.pi, 3, 1),
    ):
        # E² − p_z² of a boosted event is rounded, and a Higgs boson's width is 5e-5 of its mass
        tolerance = max(rtol(process), 1e-9 if process.startswith("higgs") else 0.0)
        np.testing.assert_allclose(matrix_element(process, incoming, moved), expected, rtol=tolerance)


@pytest.mark.parametrize(("process", "incoming"), CASES)
def test_cp(process, incoming):
    """All particles turned into antiparticles and momenta reflected: |M|² is the same at tree level.

    Neither half holds alone: weak couplings and the Z width allow terms like ε(p₁, p₂, p₃, p₄).
    """
    momenta = points(SAMPLE[process])
    conjugate = momenta[:, [1, 0, 3, 2, 5, 4][: momenta.shape[1]]] * [1, -1, 1, 1]
    np.testing.assert_allclose(
        matrix_element(process, incoming, conjugate),
        matrix_element(process, incoming, momenta),
        rtol=rtol(process),
    )


@pytest.mark.parametrize(("process", "incoming"), [case for case in CASES if case[0] != "drell_yan"])
def test_exchange_of_lepton_pairs(process, incoming):
    """Massless electrons and muons couple alike; identical leptons may be exchanged one by one."""
    momenta = points(SAMPLE[process])
    expected = matrix_element(process, incoming, momenta)
    orders = [[0, 1, 4, 5, 2, 3]]
    if process.endswith("4e"):
        orders += [[0, 1, 4, 3, 2, 5], [0, 1, 2, 5, 4, 3]]
    for order in orders:
        exchanged = matrix_element(process, incoming, momenta[:, order])
        np.testing.assert_allclose(exchanged, expected, rtol=rtol(process))


@pytest.mark.parametrize(
    ("distinct", "identical", "incoming"), [("zz_4l", "zz_4e", (2, -2)), ("higgs_4l", "higgs_4e", (21, 21))]
)
def test_identical_leptons_without_interference(distinct, identical, incoming):
    """Where one pairing is on resonance and its widths are tiny, 4e is e⁺e⁻μ⁺μ⁻ times 1/4.

    The rest vanishes at least linearly with the width.
    """
    momenta = on_shell_pair()
    excess = [
        abs(
            4
            * matrix_element(identical, incoming, momenta, subset="zz", WZ=width, MZ=91.188)
            / matrix_element(distinct, incoming, momenta, subset="zz", WZ=width, MZ=91.188)
            - 1
        )
        for width in (1e-3, 1e-5)
    ]
    assert np.all(excess[1] < 1e-4)
    assert np.all(excess[1] < 0.1 * excess[0])


def test_pauli_principle():
    """Two e⁻ of one momentum have unlike helicities, so these alone make 4e, from both pairings.

    This fixes the sign between the pairings: with the other one, like helicities would add up.
    """
    momenta = points("uux_4l").copy()
    momenta[:, 5] = momenta[:, 3]
    theory = Parameters()
    with jax.enable_x64(True):
        up, *_ = amplitudes(Products(as_legs(momenta)), DIRECT, theory, electroweak(theory), None)
        unlike = sum(np.abs(up[x, y, z]) ** 2 for x, y, z in up if y != z)
    np.testing.assert_allclose(matrix_element("zz_4e", (2, -2), momenta), 2 * unlike / 48, rtol=1e-11)


def on_shell_pair() -> np.ndarray:
    """Twenty points with both Z exactly on shell, from `isotropic` decays of a pair at 300 GeV."""
    generator = np.random.default_rng(3)
    energy, mass = 150.0, 91.188
    momenta = np.zeros((20, 6, 4))
    momenta[:, 0] = [energy, 0, 0, energy]
    momenta[:, 1] = [energy, 0, 0, -energy]
    z_axis = directions(generator, 20)
    gamma, speed = energy / mass, np.sqrt(1 - (mass / energy) ** 2)
    for leg, sign in ((2, 1), (4, -1)):
        rest = directions(generator, 20) * mass / 2
        for position, turned in ((leg, rest), (leg + 1, -rest)):
            along = np.sum(turned * z_axis, axis=1) * sign
            shift = (gamma - 1) * along + gamma * speed * mass / 2
            momenta[:, position, 1:] = turned + (sign * shift)[:, None] * z_axis
            momenta[:, position, 0] = np.linalg.norm(momenta[:, position, 1:], axis=1)
    return momenta


def directions(generator: np.random.Generator, number: int) -> np.ndarray:
    vectors = generator.normal(size=(number, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_subset_dominates_on_resonance():
    """With both Z on shell, the Z-pair diagrams are the amplitude but for a few per cent."""
    momenta = on_shell_pair()
    full = matrix_element("zz_4l", (2, -2), momenta)
    pair = matrix_element("zz_4l", (2, -2), momenta, subset="zz")
    np.testing.assert_allclose(pair, full, rtol=0.3)
    assert np.all(pair != full)


def test_drell_yan_at_low_energy_is_qed():
    """Far below the Z, |M|² = 2 e⁴ Q² (t² + u²)/(3 s²)."""
    momenta = points("uux_epem") / points("uux_epem")[:, :1, :1] * 0.01
    expected = electromagnetic(momenta, 2 / 3)
    np.testing.assert_allclose(matrix_element("drell_yan", (2, -2), momenta), expected, rtol=1e-6)


def electromagnetic(momenta: np.ndarray, charge: float) -> np.ndarray:
    metric = np.array([1, -1, -1, -1])
    s, t, u = (2 * np.sum(momenta[:, 0] * momenta[:, leg] * metric, axis=1) for leg in (1, 3, 2))
    return 2 * (4 * np.pi / Parameters().aEWM1) ** 2 * charge**2 * (t**2 + u**2) / (3 * s**2)


# --- batches, derivatives, failures


@pytest.mark.parametrize(("process", "incoming"), ONE_OF_EACH)
def test_one_point_alone_and_in_a_batch(process, incoming):
    momenta = points(SAMPLE[process])[:16]
    together = matrix_element(process, incoming, momenta)
    alone = [matrix_element(process, incoming, point) for point in momenta]
    assert alone[0].shape == ()
    np.testing.assert_array_equal(np.array(alone), together)
    grid = matrix_element(process, incoming, momenta.reshape(2, 8, *momenta.shape[1:]))
    np.testing.assert_array_equal(grid, together.reshape(2, 8))


def test_more_points_than_a_batch():
    momenta = np.resize(points("uux_epem"), (LARGEST_BATCH + 20, 4, 4))
    expected = np.resize(matrix_element("drell_yan", (2, -2), points("uux_epem")), len(momenta))
    np.testing.assert_allclose(matrix_element("drell_yan", (2, -2), momenta), expected, rtol=1e-14)
    assert matrix_element("drell_yan", (2, -2), momenta[:0]).shape == (0,)


@pytest.mark.parametrize(("process", "incoming"), ONE_OF_EACH)
def test_nan_stays_in_its_event(process, incoming):
    momenta = points(SAMPLE[process])[:16].copy()
    expected = matrix_element(process, incoming, momenta)
    momenta[3, 2, 1] = np.nan
    momenta[5, 3] = np.inf
    momenta[7, 2] = 0.0
    ours = matrix_element(process, incoming, momenta)
    assert np.all(np.isnan(ours[[3, 5, 7]]))
    others = np.delete(np.arange(16), [3, 5, 7])
    np.testing.assert_array_equal(ours[others], expected[others])


def test_energies_below_the_momentum_from_rounding():
    """Massless leptons from rounded columns may have E² < p²."""
    momenta = points("uux_4l").copy()
    expected = matrix_element("zz_4l", (2, -2), momenta)
    momenta[:, 2:, 0] *= 1 - 1e-7
    np.testing.assert_array_equal(matrix_element("zz_4l", (2, -2), momenta), expected)


@pytest.mark.parametrize(
    ("process", "names"),
    [
        pytest.param("drell_yan", ("MZ", "WZ", "aEWM1", "GF"), marks=pytest.mark.long),
        ("zz_4l", ("MZ", "WZ")),
        pytest.param("higgs_4l", ("MH", "WH", "alpha_s", "MT"), marks=pytest.mark.long),
    ],
)
def test_derivatives(process, names):
    """Forward derivatives in parameters and in a lepton's momentum against central differences, on resonance.

    Of generated |M|², `test_laws_of_amplitudes` has them, too.
    """
    momenta = points(SAMPLE[process])[11]
    legs, theory = as_legs(momenta), Parameters()
    elements = find_process(process).matrix_elements

    def log_me2(lepton, theory):
        return jax.numpy.log(elements((*legs[:2], lepton, *legs[3:]), theory, None)[0])

    with jax.enable_x64(True):
        value = jax.jit(log_me2)
        in_lepton, in_theory = jax.jit(jax.jacfwd(log_me2, argnums=(0, 1)))(legs[2], theory)
        for name in names:
            x = getattr(theory, name)
            h = 1e-3 * theory.WH if name == "MH" else 1e-5 * x
            up, down = (value(legs[2], theory._replace(**{name: x + step})) for step in (h, -h))
            np.testing.assert_allclose(getattr(in_theory, name), (up - down) / (2 * h), rtol=1e-5)
        for component in (1, 2, 3):
            h = np.zeros(4)
            h[component] = 1e-4
            up, down = (value(tuple(momenta[2] + step), theory) for step in (h, -h))
            np.testing.assert_allclose(in_lepton[component], (up - down) / 2e-4, rtol=1e-5, atol=1e-8)


def test_single_precision_is_refused():
    with jax.enable_x64(False), pytest.raises(PrecisionError, match="enable_x64"):
        find_process("drell_yan").matrix_elements(as_legs(points("uux_epem")[0]), Parameters(), None)


def test_callers_precision_is_left_alone():
    with jax.enable_x64(False):
        result = matrix_element("drell_yan", (2, -2), points("uux_epem"))
        assert result.dtype == np.float64
        assert jax.numpy.ones(1).dtype == np.float32


# --- parameters and the menu


def test_w_mass_is_derived_unless_set():
    with jax.enable_x64(True):
        assert float(electroweak(Parameters()).MW) == pytest.approx(80.4190, abs=1e-4)
        chosen = electroweak(parameters(MW=80.377))
        assert float(chosen.MW) == 80.377
        assert float(chosen.sin2) == pytest.approx(1 - (80.377 / 91.188) ** 2)
    at_other_mass = matrix_element("zz_4l", (2, -2), points("uux_4l"), MW=80.377)
    assert np.all(at_other_mass != matrix_element("zz_4l", (2, -2), points("uux_4l")))


def test_scan_over_a_parameter_compiles_once():
    momenta = as_legs(points("uux_epem")[0])
    scan = jax.jit(lambda theory: find_process("drell_yan").matrix_elements(momenta, theory, None)[0])
    with jax.enable_x64(True):
        values = [float(scan(parameters(MZ=mass))) for mass in (90.0, 91.0, 92.0)]
    assert len(set(values)) == 3
    assert scan._cache_size() == 1


def test_menu():
    menu = processes()
    four_leptons = {"zz_4l", "zz_4e", "zz_4mu", "higgs_4l", "higgs_4e", "higgs_4mu"}
    top_pairs = {"ttbar_2l", "ttbar_2l_assignment_0", "ttbar_2l_assignment_1"}
    assert set(menu) == {"drell_yan", *four_leptons, *top_pairs, "ww_2l", "higgs_ww_2l"}
    assert menu["zz_4l"]["outgoing"] == (-11, 11, -13, 13)
    assert menu["drell_yan"]["columns"][:4] == ("lep1_PT", "lep1_Eta", "lep1_Phi", "lep1_Charge")
    assert menu["drell_yan"]["parameters"]["Q"] == 91.188
    assert menu["drell_yan"]["parameters"]["flavours"] == 4
    assert menu["higgs_4l"]["parameters"]["MH"] == 125.0
    assert "flavours" not in menu["higgs_4l"]["parameters"]


def test_a_process_from_elsewhere(request):
    """A process that is registered is on the menu, and computes; one that is taken off it is not."""
    request.addfinalizer(lambda: unregister("mine"))
    register(replace(find_process("drell_yan"), name="mine"))
    assert processes()["mine"]["dimensions"] == 2
    momenta = points("uux_epem")
    np.testing.assert_array_equal(
        matrix_element("mine", (2, -2), momenta), matrix_element("drell_yan", (2, -2), momenta)
    )


@pytest.mark.parametrize("process", all_processes().values(), ids=lambda process: process.name)
def test_every_process_keeps_the_interface(process):
    assert len(process.classes) == len(process.outgoing)
    assert set(process.parameters) <= set(Parameters._fields)
    assert set(process.classes) - {"invisible"} == set(process.responses)
    assert len(process.initial_states) == len(set(process.initial_states))
    assert isinstance(process.scale, float) or process.scale in Parameters._fields


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"process": "drel_yan"}, UnknownNameError, "did you mean 'drell_yan'"),
        ({"incoming": (21, 21)}, InitialStateError, r"no initial state \(21, 21\), only \(2, -2\)"),
        ({"incoming": (2, -1)}, InitialStateError, "no initial state"),
        ({"incoming": 2}, InitialStateError, "two PDG codes"),
        ({"subset": "zz"}, UnknownNameError, "unknown subset of drell_yan"),
        ({"mz": 91.0}, UnknownNameError, "did you mean 'MZ'"),
        ({"MZ": -1.0}, ParameterError, "MZ must be finite and positive"),
        ({"WZ": float("nan")}, ParameterError, "WZ must be finite"),
        ({"MZ": "heavy"}, ParameterError, "MZ must be a number"),
        ({"MW": 95.0}, ParameterError, "below MZ"),
        ({"GF": 1e-6}, ParameterError, "admit no W mass"),
        ({"momenta": np.ones((3, 6, 4))}, MomentaError, r"\[..., 4, 4\]"),
        ({"momenta": "abc"}, MomentaError, "array of numbers"),
        ({"momenta": np.ones((4, 4)) * 1j}, MomentaError, "complex"),
        ({"momenta": -np.ones((4, 4))}, MomentaError, "positive energy"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call, error, message):
    arguments = {"process": "drell_yan", "incoming": (2, -2), "momenta": points("uux_epem"), **call}
    with pytest.raises(error, match=message) as caught:
        matrix_element(**arguments)
    assert isinstance(caught.value, ValueError)


def test_masked_momenta_give_nothing_and_partons_beyond_the_beam_are_said():
    good = points("uux_epem")[:2]
    masked = np.ma.array(good, mask=np.zeros(good.shape, dtype=bool))
    masked[1, 2, 1] = np.ma.masked
    value = matrix_element("drell_yan", (2, -2), masked)
    assert value[0] == matrix_element("drell_yan", (2, -2), good)[0]
    assert np.isnan(value[1])
    with pytest.warns(DeepMEMWarning, match="in MeV"):
        matrix_element("drell_yan", (2, -2), 1000 * good)
