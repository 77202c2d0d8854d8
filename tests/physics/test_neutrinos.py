"""Maps with neutrinos: densities are their own Jacobians, and weights obey what they must."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import uproot

from deepmem.event import Status
from deepmem.jobs import exact, merging
from deepmem.kinematics import dot
from deepmem.physics.errors import ParameterError
from deepmem.physics.integrals.accuracy import Accuracy
from deepmem.physics.integrals.integral import Integral
from deepmem.physics.integrals.integrand import proposals
from deepmem.physics.integrals.lattice import Lattice
from deepmem.physics.integrals.slots import SLOT, slots_per_call
from deepmem.physics.phasespace.experts import higgs_to_w_pairs, top_pairs, w_pairs
from deepmem.physics.phasespace.experts.top_pairs import TOP_PAIR
from deepmem.physics.phasespace.experts.w_pairs import W_PAIR
from deepmem.physics.tables import even_table, table_of
from deepmem.physics.weights import engine, rough, visible
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.integrand import of_escaping
from deepmem.physics.weights.leading_order import draw_events
from deepmem.physics.weights.partonic import Partonic, shared_by_events
from deepmem.physics.weights.plan import plan_for
from deepmem.physics.weights.preparation import prepare

MOMEMTA = json.loads((Path(__file__).parents[1] / "reference" / "momemta.json").read_text())
TWO_PI_3 = (2 * np.pi) ** 3


def columns(*names: str) -> dict[str, np.ndarray]:
    """MoMEMta's events: ℓ⁺ is lep1, and jet 1 is paired with it in assignment 0."""
    found: dict[str, list[float]] = {}
    for name in names:
        event = MOMEMTA["events"][name]
        row = {"lep1_Charge": 1.0, "lep2_Charge": -1.0}
        for prefix, leg in (("lep1", "electron"), ("lep2", "muon"), ("j1", "bjet1"), ("j2", "bjet2")):
            px, py, pz, energy = event["particles"][leg]
            pt, size = np.hypot(px, py), np.sqrt(px**2 + py**2 + pz**2)
            lepton = prefix.startswith("lep")
            row |= {f"{prefix}_Eta": np.arcsinh(pz / pt), f"{prefix}_Phi": np.arctan2(py, px)}
            row[f"{prefix}_PT"] = pt * energy / size if lepton else pt
            if not lepton:
                row[f"{prefix}_M"] = np.sqrt(max(energy**2 - size**2, 0.0))
        row |= {"MET": np.hypot(*event["met"]), "MET_Phi": np.arctan2(event["met"][1], event["met"][0])}
        for key, value in row.items():
            found.setdefault(key, []).append(float(value))
    return {key: np.array(values) for key, values in found.items()}


EVENTS = ("gen0000", "gen0002", "gen0014", "gen0016")


def leptons_alone(events: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: values for key, values in events.items() if not key.startswith("j")}


def computed(process: str, events: dict[str, np.ndarray], **settings):
    call = {
        key: settings.pop(key)
        for key in ("precision", "seed", "calls", "neutrinos", "plan")
        if key in settings
    }
    found = engine.compute(hypothesis(process, **settings), events, **{"precision": 0.02} | call)
    return next(iter(found.values())) if len(found) == 1 else found


def assert_agree(one, other, sigmas: float = 4.0):
    assert np.all(np.abs(one.value - other.value) < sigmas * np.hypot(one.error, other.error))


@pytest.fixture(scope="module")
def tops():
    return computed("ttbar_2l", columns(*EVENTS))


IN_LABORATORY = {"frame": "lab", "neutrinos": True}
"""Asked for together: one program."""


@pytest.fixture(scope="module")
def lab():
    return computed("ttbar_2l", columns(*EVENTS), **IN_LABORATORY)


def prepared(alpha, events):
    particles, good = visible.visible(alpha, events)
    assert good.all()
    shared = shared_by_events(alpha)
    rows = prepare(alpha, plan_for(alpha), shared, particles)
    return shared, rows.choosing(second_first=np.zeros(len(good), dtype=bool))


MAPS = {
    "tt by angle": ("ttbar_2l_assignment_0", top_pairs.by_angle(even_share=1e-12, precision=np.float64)),
    "tt by angle, recoil": (
        "ttbar_2l_assignment_0",
        top_pairs.by_angle(even_share=1e-12, precision=np.float64, recoil=True),
    ),
    "tt by energies": ("ttbar_2l_assignment_0", TOP_PAIR.by_energies),
    "tt balanced": ("ttbar_2l_assignment_0", TOP_PAIR.by_balance),
    "WW": ("ww_2l", w_pairs.steps(out_of_reach=1e-12)),
    "WW balanced": ("ww_2l", w_pairs.steps(balance=True, out_of_reach=1e-12)),
    "H → WW off its shell": (
        "higgs_ww_2l",
        (w_pairs.steps(out_of_reach=1e-12)[0], higgs_to_w_pairs.OFF_SHELL.by_energies[-1]),
    ),
    "H → WW off its shell, balanced": (
        "higgs_ww_2l",
        (w_pairs.steps(balance=True, out_of_reach=1e-12)[0], higgs_to_w_pairs.OFF_SHELL.by_balance[-1]),
    ),
}
"""Without the shares that are drawn in another way, for a mixture's density is no Jacobian."""


def proposed(f, shared, event, u):
    """Legs and density at points `[points, d]`, by the code that weights are compiled to: slots of one size."""
    slots = slots_per_call()
    assert len(u) <= slots * SLOT
    points = np.resize(u, (slots, SLOT, u.shape[1]))
    events = jax.tree.map(lambda value: np.stack([value] * slots), event)
    (legs, density, _), _ = proposals(f, shared, events, points)
    return jax.tree.map(lambda part: np.asarray(part).reshape(-1, part.shape[2])[: len(u)], (legs, density))


@pytest.mark.parametrize("case", MAPS)
def test_density_is_the_jacobian(case):
    """density = Π_vis [|p| sinθ/(2(2π)³) T] /(2E_ν(2π)³) /(2E_ν̄(2π)³) |∂(E_vis, ν, ν̄_z)/∂u|, by differences.

    Two coordinates of WW follow an uneven table.
    """
    process, steps = MAPS[case]
    recoil = "recoil" in case
    met = "recoil" if recoil else "balance" if "balanced" in case else "event"
    response = {"response": hypothesis(process).detector.to_dict() | {"recoil": {"c": 15}}} if recoil else {}
    alpha = hypothesis(process, met=met, **response)
    events = columns("gen0000")
    shared, rows = prepared(alpha, events if "tt" in case else leptons_alone(events))
    event = rows.rows(0).choosing(broad=1e-12)
    if "angle" not in case:
        event = event.choosing(second_first=None)
    if "WW" in case:
        event = event.choosing(table=table_of(0.3 + np.random.default_rng(4).random((1, 4, 6)))[0])
    escaping = [i for i, kind in enumerate(alpha.process.classes) if kind == "invisible"]
    seen = [i for i, kind in enumerate(alpha.process.classes) if kind != "invisible"]
    d, h = plan_for(alpha).dimensions, 1e-6
    u = 0.01 + 0.98 * np.random.default_rng(3).random((300, d))
    around = np.concatenate([u[:, None], u[:, None] + h * np.eye(d), u[:, None] - h * np.eye(d)], axis=1)
    with jax.enable_x64(True):
        legs, density = proposed(of_escaping(Partonic.of(alpha), steps), shared, event, around.reshape(-1, d))
    legs = np.array([[np.broadcast_to(x, density.shape) for x in p] for p in legs])
    legs = legs.reshape(len(legs), 4, len(u), 2 * d + 1, -1)
    density = density.reshape(len(u), 2 * d + 1, -1)
    valid = (density > 0).all(axis=1)
    nu, nubar = (legs[i] for i in escaping)
    y = np.stack(
        [*(legs[i][0] for i in seen), nu[1], nu[2], nu[3], nubar[3], *(nubar[1:3] if recoil else ())]
    )
    slopes = np.moveaxis(y[:, :, 1 : d + 1] - y[:, :, d + 1 :], 0, -1)[
        valid.nonzero()[0], :, valid.nonzero()[1]
    ] / (2 * h)
    expected = np.abs(np.linalg.det(slopes))
    at = np.moveaxis(legs[:, :, :, 0], (0, 1), (-2, -1))[valid]
    for i in escaping:
        np.testing.assert_allclose(at[:, i, 0], np.linalg.norm(at[:, i, 1:], axis=1), rtol=1e-8)
        expected = expected / (2 * at[:, i, 0] * TWO_PI_3)
    with jax.enable_x64(True):
        responses = shared.responses(event, alpha.process.visible_classes)
        for k, (i, response) in enumerate(zip(seen, responses, strict=True)):
            t = np.asarray(response.density(event.legs.energy[k], at[:, i, 0]))
            size = np.linalg.norm(at[:, i, 1:], axis=1)
            expected = expected * size * event.legs.sine[k] / (2 * TWO_PI_3) * t
    missing = -at[:, seen, 1:3].sum(axis=1) if "balanced" in case else event.missing
    if recoil:
        # of K_meas, the response is a Gaussian of 15 GeV in both components
        off = (at[:, :, 1:3].sum(axis=1) - event.missing) / 15
        expected = expected * np.exp(-(off**2).sum(axis=1) / 2) / (2 * np.pi * 15**2)
    else:
        off = np.abs(at[:, escaping, 1:3].sum(axis=1) - missing).max(axis=1)
        assert np.all(off < 1e-9 * at[:, :, 0].sum(axis=1))
    ratio = density[:, 0][valid] / expected
    assert len(ratio) > 50
    # differences across a cell's end, or near where solutions merge, are no derivatives
    assert np.mean(np.abs(ratio - 1) < 1e-4) > 0.93
    assert abs(np.median(ratio) - 1) < 1e-6


@pytest.mark.parametrize("mass", [0, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("steps", [W_PAIR.by_energies, W_PAIR.by_balance], ids=["WW", "WW balanced"])
def test_where_two_solutions_of_w_pairs_merge_the_density_is_bounded(steps, mass):
    """Times the W's shape, along its mass's variable: with J ∝ 1/√distance its largest value would grow with √points."""
    alpha = hypothesis("ww_2l")
    shared, rows = prepared(alpha, leptons_alone(columns("gen0000")))
    event = rows.rows(0)
    lines, coarse, fine = 120, 1000, 8000
    start = np.random.default_rng(5).random((lines, 1, plan_for(alpha).dimensions))

    def density(u):
        known = None
        for step in steps:
            known = step(shared, event, u, known)
        lepton, neutrino = known.legs[2 * mass : 2 * mass + 2]
        s = 2 * dot(lepton, neutrino)
        return (known.density / ((s - 80.419**2) ** 2 + (80.419 * 2.0476) ** 2)).max()

    with jax.enable_x64(True):
        compiled = jax.jit(jax.vmap(density))

        def along(points):
            u = start.repeat(points, axis=1)
            u[:, :, mass] = (np.arange(points) + 0.5) / points
            # compiled for one number of points
            pieces = np.split(u.reshape(-1, u.shape[2]), points // coarse)
            return np.concatenate([np.asarray(compiled(piece)) for piece in pieces]).reshape(lines, points)

        found, finer = along(coarse), along(fine)
    some = (found > 0).mean(axis=1) > 0.1
    assert some.sum() > 10
    largest = found[some].max(axis=1)
    # the largest is that of a share: where it is 3 %, some 50
    assert np.quantile(largest / found[some].mean(axis=1), 0.98) < 10
    # a singularity grows by √8 = 2.8
    growth = finer[some].max(axis=1) / largest
    assert growth.max() < 1.5


@pytest.mark.parametrize("met", ["event", pytest.param("balance", marks=pytest.mark.long)])
def test_a_table_of_w_pairs_changes_no_weight(met):
    """Also of events of tt̄, which hardly fit."""
    events = leptons_alone(columns(*EVENTS))
    guided = computed("ww_2l", events, met=met)
    plain = replace(plan_for(hypothesis("ww_2l", met=met)), trials=())
    even = computed("ww_2l", events, met=met, seed=1, plan=plain)
    assert_agree(guided, even)


@pytest.mark.long
def test_both_maps_and_both_sides_give_one_weight(tops):
    """Energies solved for, or all drawn; either top first."""
    events = columns("gen0000", "gen0016")
    drawn = plan_for(hypothesis("ttbar_2l"), by_angle=False)
    other = computed("ttbar_2l", events, precision=0.03, calls=1 << 17, plan=drawn)
    assert_agree(tops[np.array([0, 3])], other)
    alpha = hypothesis("ttbar_2l_assignment_0")
    shared, rows = prepared(alpha, columns(*EVENTS))
    f = plan_for(alpha).integrand(Partonic.of(alpha), False)
    turned = rows.permuted([2, 3, 0, 1]).choosing(second_first=np.ones(len(EVENTS), dtype=bool))
    one, two = (Lattice().integrate(Integral(f, shared, side, 8), Accuracy(0.02)) for side in (rows, turned))
    assert np.all(np.abs(one.value - two.value)[:, 0] < 4 * np.hypot(one.error, two.error)[:, 0])


@pytest.mark.parametrize(
    ("met", "steps"),
    [
        ("event", W_PAIR.by_energies),
        pytest.param("balance", W_PAIR.by_balance, marks=pytest.mark.long),
    ],
)
def test_higgs_to_w_pair_agrees_with_the_map_of_w_pairs(met, steps):
    """With a Higgs boson 20 GeV wide its own map is not needed."""
    events = leptons_alone(columns("gen0002", "gen0008"))
    alpha = hypothesis("higgs_ww_2l", WH=20.0, met=met)
    shared, rows = prepared(alpha, events)
    f, accuracy = plan_for(alpha).integrand(Partonic.of(alpha), False), Accuracy(0.01, 1 << 18)
    own = Lattice().integrate(Integral(f, shared, rows, 6), accuracy)
    plain = of_escaping(Partonic.of(alpha), steps)
    rows = rows.choosing(broad=np.full(2, 0.3), table=np.tile(even_table(16, 32), (2, 1, 1)))
    other = Lattice().integrate(Integral(plain, shared, rows, 6), accuracy)
    assert np.all(np.abs(own.value - other.value)[:, 0] < 4 * np.hypot(own.error, other.error)[:, 0])


@pytest.mark.long
def test_balanced_weights_of_higgs_to_w_pair_are_honest():
    """Of 40 of its own events: both seeds and precise weights agree, errors are neither too large nor small."""
    events = draw_events("higgs_ww_2l", 40, 21, {"lepton_pt": 10, "lepton_eta": 2.5}, recoil=20.0).columns
    one, other, precise = (
        computed("higgs_ww_2l", events, met="balance", **call)
        for call in ({}, {"seed": 1}, {"seed": 2, "precision": 0.005, "calls": 1 << 19})
    )
    assert np.all(one.status == Status.GOOD)
    assert np.all(other.status == Status.GOOD)
    assert np.median(precise.error / precise.value) < 0.005
    for a, b in ((one, other), (one, precise), (other, precise)):
        pulls = (a.value - b.value) / np.hypot(a.error, b.error)
        assert np.abs(pulls).max() < 4.5
        assert 0.6 < pulls.std() < 1.4


def test_the_average_is_that_of_both_assignments(tops):
    parts = [computed(f"ttbar_2l_assignment_{k}", columns(*EVENTS)) for k in (0, 1)]
    mean = (parts[0].value + parts[1].value) / 2
    assert np.all(
        np.abs(mean - tops.value) < 4 * np.hypot(tops.error, np.hypot(parts[0].error, parts[1].error) / 2)
    )


def test_a_rough_weight_comes_close(tops):
    events = columns(*EVENTS)
    found = rough.rough(hypothesis("ttbar_2l"), events)
    assert np.median(np.abs(np.log10(found.value / tops.value))) < 0.03
    # what is said of the assignments: their shares, which are those of the assignments alone
    shares = 10 ** found.details[:, [0, 3]]
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=2e-3)
    alone = rough.rough(hypothesis("ttbar_2l_assignment_1"), events)
    np.testing.assert_allclose(2 * shares[:, 1], np.maximum(alone.value / found.value, 2e-3), rtol=1e-6)


def test_order_in_the_file_does_not_matter(tops):
    """Leptons bit by bit; jets exchange the assignments, hence their random points."""
    events = columns(*EVENTS)
    exchanged = {
        key.replace("lep1", "x").replace("lep2", "lep1").replace("x", "lep2"): v for key, v in events.items()
    }
    np.testing.assert_array_equal(computed("ttbar_2l", exchanged).value, tops.value)
    jets = {key.replace("j1", "x").replace("j2", "j1").replace("x", "j2"): v for key, v in events.items()}
    assert_agree(computed("ttbar_2l", jets), tops)


def test_rotation_about_the_beam_and_reflection_along_it(tops):
    events = columns(*EVENTS)
    turned = {key: v + 1.3 if key.endswith("Phi") else v for key, v in events.items()}
    assert_agree(computed("ttbar_2l", turned), tops)
    reflected = {key: -v if key.endswith("Eta") else v for key, v in events.items()}
    assert_agree(computed("ttbar_2l", reflected), tops)


def test_an_event_alone_is_one_among_others(tops):
    alone = computed("ttbar_2l", columns(EVENTS[0]))
    assert alone.value[0] == tops.value[0]
    assert alone.error[0] == tops.error[0]


def test_frames_agree_on_weights(tops, lab):
    """On the same points: the gluons' gauge, which frames differ by, is worth 1e-3 of a weight."""
    np.testing.assert_allclose(lab.value, tops.value, rtol=2e-3)


def test_against_momemta(tops):
    """Weights of other events are compared by benchmarks/neutrinos.py."""
    results = {r["event"]: r for r in MOMEMTA["results"] if r["config"] == "tt_nnpdf23lo"}
    theirs = [results[name] for name in EVENTS]
    found = computed("ttbar_2l", columns(*EVENTS), precision=0.01, **IN_LABORATORY)
    pull = (found.value - [r["weight"] for r in theirs]) / np.hypot(found.error, [r["error"] for r in theirs])
    assert np.all(np.abs(pull) < 4)


def test_settings(tops):
    assert plan_for(hypothesis("ttbar_2l", response={"met": {"c": 5.0}})).dimensions == 10
    assert plan_for(hypothesis("ttbar_2l", r_lepton=0)).dimensions == 6
    balanced = hypothesis("ttbar_2l", met="balance")
    assert plan_for(balanced).integrand(Partonic.of(balanced), False) is of_escaping(
        Partonic.of(balanced), TOP_PAIR.by_balance, False
    )
    with pytest.raises(ParameterError, match="met must be event or balance"):
        hypothesis("ttbar_2l", met="measured")
    with pytest.raises(ParameterError, match="changes the phase space"):
        hypothesis("ttbar_2l", MB=[4.7, 4.8])
    with pytest.raises(ParameterError, match="takes no response"):
        hypothesis("ttbar_2l", met="balance", response={"met": {"c": 5.0}})
    # a response of nothing is none
    events = columns("gen0000")
    narrow = computed("ttbar_2l", events, response={"met": {"c": 0.05}}, precision=0.05, calls=1 << 16)
    assert_agree(narrow, tops[np.array([0])])


@pytest.mark.long
def test_narrow_responses_of_leptons_lead_to_perfect_ones():
    """In everyday's tests jets do, by the same code, and perfect leptons are those of Drell–Yan and 4ℓ."""
    events, settings = columns(*EVENTS), {"precision": 0.03, "calls": 1 << 18}
    perfect, narrow = (computed("ttbar_2l", events, r_lepton=r, **settings) for r in (0.0, 0.002))
    assert np.all(perfect.value > 0)
    np.testing.assert_allclose(narrow.value, perfect.value, rtol=0.15)


def test_bad_input_is_a_status_of_its_own_event(tops):
    events = {key: np.repeat(v[:1], 6) for key, v in columns(*EVENTS).items()}
    events["j2_PT"][1] = np.nan
    events["MET"][2] = 1e5
    events["lep1_Charge"][3] = -1
    events["MET"][4] = -1
    events["j1_PT"][5] = 0
    found = computed("ttbar_2l", events)
    bad = Status.BAD_INPUT
    assert found.status.tolist() == [Status.GOOD, bad, Status.NO_SOLUTION, bad, bad, bad]
    assert found.value[0] == tops.value[0]
    assert found.value[2] == 0
    assert np.isnan(found.value[[1, 3, 4, 5]]).all()


def test_a_scan_shares_points_and_agrees_with_single_values():
    events = columns("gen0000", "gen0016")
    scan = computed("ttbar_2l", events, MT=[171.0, 173.0, 175.0])
    assert list(scan) == ["ttbar_2l_MT_171", "ttbar_2l_MT_173", "ttbar_2l_MT_175"]
    for value in (171, 175):
        # a scan has one Q, the default top mass; a single value brings its own
        assert_agree(scan[f"ttbar_2l_MT_{value}"], computed("ttbar_2l", events, MT=float(value), Q=173.0))


def test_differences_within_a_scan_are_known_to_two_per_cent():
    """Where each value is to 1.25 %: what a likelihood is made of."""
    events, alpha = columns("gen0000", "gen0016"), hypothesis("ttbar_2l", MT=[168.0, 173.0, 178.0])
    runs = [list(engine.compute(alpha, events, precision=0.0125, seed=seed).values()) for seed in range(4)]
    logs = np.log([[w.value for w in run] for run in runs])
    difference = (logs - logs[:, 1:2]).std(axis=0, ddof=1)[[0, 2]]
    assert np.sqrt((difference**2).mean()) < 0.02


def test_neutrinos_carry_the_missing_momentum(lab):
    events = columns(*EVENTS)
    total = lab.neutrinos.sum(axis=1)[:, :2]
    missing = events["MET"][:, None] * np.stack(
        [np.cos(events["MET_Phi"]), np.sin(events["MET_Phi"])], axis=1
    )
    np.testing.assert_allclose(total, missing, atol=1e-6 * events["MET"].max())


def test_a_jets_own_mass():
    """It gives the measured energy; `b_mass=jet` gives it to the parton too, which MoMEMta does."""
    events = columns("gen0000") | {"j1_M": np.array([12.0])}
    size = events["j1_PT"] * np.cosh(events["j1_Eta"])
    for b_mass, mass in (("mb", 4.7), ("jet", 12.0)):
        found, _ = visible.visible(hypothesis("ttbar_2l", b_mass=b_mass), events)
        assert found.energy[0, 1] == np.hypot(size, 12.0)[0]
        assert found.mass[0, 1] == mass
    config = "tt_nnpdf23lo_on_repo_and_tutorial_events"
    results = [
        r
        for r in MOMEMTA["results"]
        if r["config"] == config
        and r["event"].startswith("tut")
        and r["status"] == 0
        and r["chi2"] <= 3 * r["chi2_df"]
    ]
    assert len(results) >= 5
    ours = computed(
        "ttbar_2l", columns(*(r["event"] for r in results)), b_mass="jet", calls=1 << 18, **IN_LABORATORY
    )
    theirs, error = (np.array([r[key] for r in results]) for key in ("weight", "error"))
    assert np.all(np.abs(ours.value - theirs) < 4.5 * np.hypot(ours.error, error))


def test_files_bring_the_neutrinos_and_merge(tmp_path):
    events = columns(*EVENTS)
    path = tmp_path / "events.root"
    with uproot.recreate(path) as file:
        file["events"] = events
    call = {"process": ["ttbar_2l"], "precision": 0.1, **IN_LABORATORY}
    parts = []
    for start in (0, 2):
        parts.append(str(tmp_path / f"{start}.root"))
        exact.compute_files([str(path)], parts[-1], entries=(start, start + 2), **call)
    merged = tmp_path / "merged.root"
    merging.merge(parts, merged)
    found = exact.compute(events, "ttbar_2l", precision=0.1, **IN_LABORATORY)["ttbar_2l"]
    with uproot.open(merged) as file:
        tree = file["deepmem"].arrays(library="np")
    np.testing.assert_array_equal(tree["ttbar_2l"], found.value)
    momenta = [tree[f"ttbar_2l_{leg}_p{axis}"] for leg in ("nu", "nubar") for axis in "xyz"]
    np.testing.assert_array_equal(np.stack(momenta, axis=1).reshape(-1, 2, 3), found.neutrinos)


def test_narrow_responses_of_jets_lead_to_perfect_ones():
    """Energies that follow from masses are hardly ever within 1 %: weights were low, with errors that hid it."""
    settings = {"precision": 0.03, "r_lepton": 0.05, "process": "ttbar_2l"}
    perfect, narrow = (computed(events=columns(*EVENTS), r_bjet=r, **settings) for r in (0.0, 0.005))
    good = (narrow.status == Status.GOOD) & (perfect.status == Status.GOOD)
    assert good.mean() > 0.7
    np.testing.assert_allclose(narrow.value[good], perfect.value[good], rtol=0.15)
    assert abs(np.mean(narrow.value[good] / perfect.value[good]) - 1) < 0.06
