"""What weights integrate to: the five statements of the physics page, with the real `compute`.

Events come from leading order's own sampler, which shares |M|², densities and responses with the weights, and
nothing of their maps, constants and integrals. The benchmark does the same with smaller errors.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from known_densities import integral

from deepmem.physics.phasespace.free import DIMENSIONS, Region, sampler
from deepmem.physics.precision import double_precision
from deepmem.physics.processes import find_process
from deepmem.physics.theory.parameters import GEV_2_TO_PB, Parameters
from deepmem.physics.weights import engine
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.leading_order import Disc, cross_section, default_masses, draw_events

PAIRS = {"lepton_pt": 20, "lepton_eta": 2.5, "mass": [70, 110], "total_pt": [0, 20]}
QUARTETS = {"lepton_pt": 5, "lepton_eta": 2.5, "pair_mass": 8, "mass": [122, 128], "total_pt": [0, 20]}
DISC = Disc(30.0)


def computed(
    name: str, columns: dict[str, np.ndarray], precision: float = 0.02, **settings: Any
) -> np.ndarray:
    (found,) = engine.compute(hypothesis(name, **settings), columns, precision=precision).values()
    assert np.isfinite(found.value).all()
    return found.value


def mean(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    average = np.average(values, weights=weights)
    return average, np.sqrt((weights**2 * (values - average) ** 2).sum()) / weights.sum()


def agree(found: float, error: float, expected: float, expected_error: float, largest: float) -> None:
    assert max(error / found, expected_error / expected) < largest
    assert found == pytest.approx(expected, abs=3 * np.hypot(error, expected_error))


@pytest.mark.parametrize("name", ["drell_yan", pytest.param("zz_4l", marks=pytest.mark.long), "higgs_4l"])
def test_statement_1_a_perfect_measurement_integrates_to_the_cross_section(name):
    """∫ W δ²(Σp_T) dx = ∫ dŝ dY dΦ/s · (s/2) (2π)⁻⁴ W / Π [E sinθ/(2(2π)³)] = σ."""
    process, points = find_process(name), 1 << 15
    legs = len(process.outgoing)
    region = Region(*default_masses(process, Parameters()), 4.0)
    u = np.random.default_rng(1).random((DIMENSIONS[legs], points))
    with double_precision():
        to_point = sampler(process)
        drawn = jax.jit(jax.vmap(lambda v: to_point(v, Parameters(), region), in_axes=1))(u)
        momenta = [[np.asarray(part) for part in leg] for leg in drawn.legs[2:]]
        measure, rapidity = np.asarray(drawn.measure), np.asarray(drawn.rapidity)
    columns, density = {}, np.full(points, (2 * np.pi) ** 4)
    for i, ((_, x, y, z), code) in enumerate(zip(momenta, process.outgoing, strict=True), 1):
        pt = np.hypot(x, y)
        kind = {"PT": pt, "Eta": np.arcsinh(z / pt) + rapidity, "Phi": np.arctan2(y, x)}
        kind |= {"Charge": np.full(points, -np.sign(code)), "PDG": np.full(points, code)}
        columns |= {f"lep{i}_{key}": values for key, values in kind.items()}
        density *= pt / (2 * (2 * np.pi) ** 3)
    (found,) = engine.compute(hypothesis(name, r_lepton=0), columns).values()
    # below the density's lowest x, weights are unknown: 1e-4 of σ at the most
    values = GEV_2_TO_PB * np.nan_to_num(found.value) * measure / (2 * density)
    reference = cross_section(name, precision=4e-3, recoil=0)
    agree(*mean(values, np.ones(points)), reference.value, reference.error, 0.01)
    if name == "drell_yan":
        # of another program, in the physics conventions
        agree(*mean(values, np.ones(points)), 1455.6, 2.0, 0.01)


@pytest.mark.parametrize(
    ("name", "drawn", "cuts", "count", "largest"),
    [
        ("drell_yan", "drell_yan", PAIRS, 2_500, 0.04),
        ("higgs_4l", "zz_4l", QUARTETS, 800, 0.11),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in (
                ("drell_yan", "drell_yan", PAIRS, 20_000, 0.02),
                ("zz_4l", "zz_4l", QUARTETS, 3_000, 0.02),
                ("higgs_4l", "zz_4l", QUARTETS, 3_000, 0.08),
            )
        ),
    ],
)
def test_statement_2_with_responses(name, drawn, cuts, count, largest):
    """∫_R W dx = ∫ d²K σ_vis: events that are measured perfectly have density W₀ (statement 1), so it is
    area · σ_vis₀ ⟨W/W₀⟩ over them, whichever process they are of.

    Mistakes of 12 % in Drell–Yan and of a third in H → 4ℓ are seen every day; half of that in the long tests.
    Events differ so much that weights to `largest` are as good as any.
    """
    perfect = draw_events(drawn, count, 7, cuts, recoil=DISC, response={"lepton": 0})
    ratio = computed(name, perfect.columns, largest) / computed(drawn, perfect.columns, r_lepton=0)
    average, error = mean(ratio, perfect.weight)
    found = perfect.visible * average
    error = found * np.hypot(error / average, perfect.visible_error / perfect.visible)
    expected = cross_section(name, cuts, precision=largest / 5, recoil=DISC)
    agree(found, error, expected.visible, expected.visible_error, largest)
    if name == "drell_yan":
        # of another program: 7.231e5 ± 0.033e5 pb GeV²
        agree(found * DISC.area, error * DISC.area, 7.231e5, 0.033e5, largest)


@pytest.mark.parametrize(
    ("name", "largest", "met", "points", "kernels"),
    [
        ("ww_2l", 0.12, "event", 120, 1_000),
        pytest.param("ww_2l", 0.08, "event", 350, 2_500, marks=pytest.mark.long),
        pytest.param("ww_2l", 0.08, "balance", 350, 2_500, marks=pytest.mark.long),
        pytest.param("ttbar_2l", 0.15, "event", 350, 2_500, marks=pytest.mark.long),
        pytest.param("ttbar_2l", 0.15, "balance", 350, 2_500, marks=pytest.mark.long),
    ],
)
def test_statements_3_and_4_with_neutrinos(name, largest, met, points, kernels):
    """∫ W dx = σ_vis where missing pT balances the partons; with the event's, σ_vis times the disc of K.

    Points differ so much that weights of 20 % are as good as any (with smaller errors: the benchmark).
    """
    agree(*integral(name, met, points, 1, kernels=kernels, precision=0.2, calls=1 << 13), largest)


@pytest.mark.parametrize(
    ("one", "other", "changes", "cuts", "count", "largest"),
    [
        ("drell_yan", "drell_yan", {"MZ": 91.7, "WZ": 2.8}, PAIRS, 1_000, 0.02),
        pytest.param(
            *("drell_yan", "drell_yan", {"MZ": 91.7, "WZ": 2.8}, PAIRS, 4_000, 0.02), marks=pytest.mark.long
        ),
        pytest.param("zz_4l", "higgs_4l", {}, QUARTETS, 1_500, 0.08, marks=pytest.mark.long),
    ],
)
def test_statement_5_ratios_of_weights(one, other, changes, cuts, count, largest):
    """⟨W_B/W_A⟩ over events of A is N_B/N_A (W_zz/W_higgs, which is unbounded, would need too many events)."""
    events = draw_events(one, count, 3, cuts, recoil=DISC)
    ratio = computed(other, events.columns, **changes) / computed(one, events.columns)
    a, b = (
        cross_section(name, cuts, precision=6e-3, recoil=DISC, **c)
        for name, c in ((one, {}), (other, changes))
    )
    expected = b.visible / a.visible
    spread = expected * np.hypot(a.visible_error / a.visible, b.visible_error / b.visible)
    agree(*mean(ratio, events.weight), expected, spread, largest)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "parameter", "values"), [("ww_2l", "WW", (2.0476, 2.6)), ("higgs_ww_2l", "MW", (80.419, 79.0))]
)
def test_statement_5_with_neutrinos(name, parameter, values):
    """The same, of a scan: both weights from the same points.

    That makes the ratio of an event so precise that 130 of them are enough.
    """
    cuts = {"lepton_pt": 10, "lepton_eta": 2.5, "recoil_pt": [0, 15]}
    events = draw_events(name, 130, 3, cuts, recoil=DISC)
    alpha = hypothesis(name, **{parameter: values})
    one, other = engine.compute(alpha, events.columns, precision=0.05, calls=1 << 15).values()
    # the cross sections share points as well: it is the spread of their ratio that counts
    visible = np.array(
        [
            [
                cross_section(
                    name, cuts, points=1 << 15, recoil=DISC, seed=seed, **{parameter: value}
                ).visible
                for value in values
            ]
            for seed in range(8)
        ]
    )
    ratios = visible[:, 1] / visible[:, 0]
    expected, spread = ratios.mean(), ratios.std(ddof=1) / np.sqrt(len(ratios))
    assert expected < 0.95
    agree(*mean(other.value / one.value, events.weight), expected, spread, 0.01)
