"""Events from Pythia 8: seeds, selection, response, columns; distributions as the example data have them."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
import uproot

from deepmem.errors import DeepMEMError, UsageError
from deepmem.events import pythia, showers
from deepmem.events.pythia import generate
from deepmem.events.recipes import RECIPES
from deepmem.events.showers import Seeds, _with_own_data
from deepmem.physics.processes import all_processes, find_process


@pytest.fixture(scope="module")
def drell_yan():
    return generate("drell_yan", 1000, seed=11)


@pytest.fixture(scope="module")
def higgs():
    return generate("higgs_4l", 400, seed=11)


@pytest.fixture(scope="module")
def tops():
    return generate("ttbar_2l", 400, seed=11)


@pytest.fixture(scope="module")
def ww():
    return generate("ww_2l", 300, seed=11)


@pytest.fixture(scope="module")
def higgs_ww():
    return generate("higgs_ww_2l", 300, seed=11)


def momentum(columns, name):
    """(E, px, py, pz) of one particle."""
    pt, eta, phi = (columns[f"{name}_{q}"].astype(np.float64) for q in ("PT", "Eta", "Phi"))
    x, y, z = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return np.array([np.sqrt(x**2 + y**2 + z**2 + columns.get(f"{name}_M", np.zeros(1)) ** 2), x, y, z])


def distance(columns, one, other):
    """ΔR."""
    turn = np.abs(columns[f"{one}_Phi"] - columns[f"{other}_Phi"])
    return np.hypot(columns[f"{one}_Eta"] - columns[f"{other}_Eta"], np.minimum(turn, 2 * np.pi - turn))


def born_ws(columns):
    return [momentum(columns, f"born_lep{i}") + momentum(columns, f"born_nu{i}") for i in (1, 2)]


def momenta(columns, leptons, prefix="lep"):
    parts = []
    for i in range(1, leptons + 1):
        pt, eta, phi = (columns[f"{prefix}{i}_{q}"].astype(np.float64) for q in ("PT", "Eta", "Phi"))
        parts.append([pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    return np.array(parts)


def mass(p):
    return np.sqrt(np.maximum(p[0] ** 2 - (p[1:] ** 2).sum(axis=0), 0))


def test_pythia_has_the_data_it_came_with(monkeypatch):
    """PYTHIA8DATA of another release, as other programs' set-ups leave it, is not taken for them."""
    import pythia8mc

    monkeypatch.setenv("PYTHIA8DATA", "/nonexistent")
    assert _with_own_data(pythia8mc).readString("Print:quiet = on")
    assert os.environ["PYTHIA8DATA"] == "/nonexistent"


def test_columns_and_types(drell_yan, higgs):
    assert list(drell_yan.columns)[:10] == [
        *(f"lep1_{q}" for q in ("PT", "Eta", "Phi", "Charge")),
        *(f"lep2_{q}" for q in ("PT", "Eta", "Phi", "Charge")),
        "MET",
        "MET_Phi",
    ]
    assert all(column.dtype == np.float32 for column in drell_yan.columns.values())
    assert {len(column) for column in drell_yan.columns.values()} == {1000}
    assert (drell_yan.columns["lep1_PT"] >= drell_yan.columns["lep2_PT"]).all()
    assert (drell_yan.columns["lep1_Charge"] == -drell_yan.columns["lep2_Charge"]).all()
    assert "MET" not in higgs.columns
    for i, code in enumerate((11, -11, 13, -13), start=1):
        assert higgs.columns[f"lep{i}_PDG"].dtype == np.int32
        assert (higgs.columns[f"lep{i}_PDG"] == code).all()
        assert (higgs.columns[f"lep{i}_Charge"] == -np.sign(code)).all()


def test_the_recipes_selections_are_respected(drell_yan, higgs):
    pair = drell_yan.columns
    assert pair["lep1_PT"].min() > 20
    assert pair["lep2_PT"].min() > 10
    assert max(np.abs(pair[f"lep{i}_Eta"]).max() for i in (1, 2)) < 2.5
    assert mass(momenta(pair, 2).sum(axis=0)).min() > 40 - 1e-3
    four = higgs.columns
    assert min(four[f"lep{i}_PT"].min() for i in (1, 2, 3, 4)) > 5
    m4l = mass(momenta(four, 4).sum(axis=0))
    assert m4l.min() > 105 - 1e-3
    assert m4l.max() < 140 + 1e-3


def test_the_response_is_the_transfer_functions_own(drell_yan):
    ratio = np.concatenate(
        [drell_yan.columns[f"lep{i}_PT"] / drell_yan.columns[f"true_lep{i}_PT"] for i in (1, 2)]
    )
    # the cuts on pT bias a response that falls near to them: look well above
    far = np.concatenate([drell_yan.columns[f"true_lep{i}_PT"] > 28 for i in (1, 2)])
    assert ratio[far].std() == pytest.approx(0.02, rel=0.06)
    assert ratio[far].mean() == pytest.approx(1, abs=0.002)
    for i in (1, 2):
        for angle in ("Eta", "Phi"):
            measured, true = (drell_yan.columns[f"{p}lep{i}_{angle}"] for p in ("", "true_"))
            np.testing.assert_allclose(measured, true, atol=2e-6)


def test_leptons_lose_what_they_radiate_unless_dressed(higgs):
    dressed = generate("higgs_4l", 400, seed=11, dressed=True)
    born, bare, clothed = (
        mass(momenta(columns, 4, prefix).sum(axis=0))
        for columns, prefix in (
            (higgs.columns, "born_lep"),
            (higgs.columns, "true_lep"),
            (dressed.columns, "true_lep"),
        )
    )
    # the Higgs is 6 MeV wide, float32 directions and lepton masses allow a little more
    assert np.quantile(np.abs(born - 125), 0.95) < 0.2
    assert np.mean(bare < 124) > 0.1
    assert np.mean(clothed < 124) < 0.6 * np.mean(bare < 124)


def test_columns_of_processes_with_neutrinos(tops, ww, higgs_ww):
    for made, objects in (
        (tops, {"lep1": "", "lep2": "", "j1": "M", "j2": "M", "nu1": "", "nu2": ""}),
        (ww, {"lep1": "", "lep2": "", "nu1": "", "nu2": ""}),
        (higgs_ww, {"lep1": "", "lep2": "", "nu1": "", "nu2": ""}),
    ):
        measured = find_process(made.process).columns
        assert tuple(made.columns)[: len(measured)] == measured
        true = {
            f"{prefix}_{name}_{q}"
            for prefix in ("true", "born")
            for name, mass in objects.items()
            for q in ("PT", "Eta", "Phi", *mass)
        }
        codes = {f"born_{name}_PDG" for name, mass in objects.items() if mass}
        assert set(made.columns) == {*measured, *true, *codes}
        assert all(np.isfinite(column).all() for column in made.columns.values())
        assert (made.columns["lep1_PT"] >= made.columns["lep2_PT"]).all()
        assert (made.columns["lep1_Charge"] == -made.columns["lep2_Charge"]).all()
        # each charge leads in half of the events
        assert np.mean(made.columns["lep1_Charge"] > 0) == pytest.approx(0.5, abs=0.15)


def test_the_selection_of_top_pairs_is_respected(tops):
    columns = tops.columns
    assert columns["lep2_PT"].min() > 20
    assert columns["j2_PT"].min() > 25
    assert (columns["j1_PT"] >= columns["j2_PT"]).all()
    assert max(np.abs(columns[f"{name}_Eta"]).max() for name in ("lep1", "lep2", "j1", "j2")) < 2.5
    pairs = [("j1", "j2"), *((jet, lepton) for jet in ("j1", "j2") for lepton in ("lep1", "lep2"))]
    assert min(distance(columns, *pair).min() for pair in pairs) > 0.4


def test_jets_are_those_of_the_tops_b_quarks(tops):
    columns = tops.columns
    assert columns["born_j1_PDG"].dtype == np.int32
    assert (columns["born_j1_PDG"] == -columns["born_j2_PDG"]).all()
    assert set(np.unique(columns["born_j1_PDG"])) == {-5, 5}
    for jet in ("j1", "j2"):
        away = distance(columns, jet, f"born_{jet}")
        assert np.median(away) < 0.1
        assert np.mean(away > 0.4) < 0.15
        np.testing.assert_allclose(columns[f"born_{jet}_M"], 4.7, atol=0.1)
        assert np.median(columns[f"true_{jet}_PT"] / columns[f"born_{jet}_PT"]) == pytest.approx(1, abs=0.1)
        assert columns[f"true_{jet}_M"].min() > 4


def test_true_momenta_make_ws_and_tops(tops, ww):
    for made in (tops, ww):
        for w in born_ws(made.columns):
            assert np.median(mass(w)) == pytest.approx(80.4, abs=0.6)
            assert np.mean(np.abs(mass(w) - 80.4) < 5) > 0.75
    columns = tops.columns
    b = np.where(columns["born_j1_PDG"] == 5, momentum(columns, "born_j1"), momentum(columns, "born_j2"))
    first, second = born_ws(columns)
    top = mass(np.where(columns["lep1_Charge"] > 0, first, second) + b)
    assert np.median(top) == pytest.approx(173, abs=0.4)
    assert np.mean(np.abs(top - 173) < 5) > 0.75


def test_one_w_of_a_higgs_is_far_off_its_shell(higgs_ww):
    ws = born_ws(higgs_ww.columns)
    # float32 directions allow for more than the Higgs's 6 MeV
    assert np.quantile(np.abs(mass(ws[0] + ws[1]) - 125), 0.95) < 0.2
    assert np.mean(np.minimum(mass(ws[0]), mass(ws[1])) < 50) > 0.9
    assert np.median(np.maximum(mass(ws[0]), mass(ws[1]))) == pytest.approx(80, abs=1)


def test_missing_pt_is_the_neutrinos(tops, ww, higgs_ww):
    for made in (tops, ww, higgs_ww):
        columns = made.columns
        sums = momentum(columns, "true_nu1") + momentum(columns, "true_nu2")
        x, y = (columns["MET"] * turn(columns["MET_Phi"]) for turn in (np.cos, np.sin))
        np.testing.assert_allclose(x, sums[1], atol=1e-3)
        np.testing.assert_allclose(y, sums[2], atol=1e-3)


def test_noise_of_missing_pt(ww):
    """The same events, as the noise has a stream of its own."""
    noisy = generate("ww_2l", 300, seed=11, response={"met": {"c": 10}}).columns
    np.testing.assert_array_equal(noisy["lep1_PT"], ww.columns["lep1_PT"])
    for turn in (np.cos, np.sin):
        noise = noisy["MET"] * turn(noisy["MET_Phi"]) - ww.columns["MET"] * turn(ww.columns["MET_Phi"])
        assert noise.std() == pytest.approx(10, rel=0.2)
        assert noise.mean() == pytest.approx(0, abs=3)


def test_pulls_of_top_pairs(tops):
    """(E − E_true)/(r E_true) of leptons and jets that no cut is near to; jets scale as a whole."""
    columns = tops.columns
    for names, r, far in ((("lep1", "lep2"), 0.05, 28), (("j1", "j2"), 0.10, 55)):
        pulls = []
        for name in names:
            true = momentum(columns, f"true_{name}")
            pull = (momentum(columns, name)[0] / true[0] - 1) / r
            pulls.append(pull[columns[f"true_{name}_PT"] > far])
            for angle in ("Eta", "Phi"):
                np.testing.assert_allclose(
                    columns[f"{name}_{angle}"], columns[f"true_{name}_{angle}"], atol=2e-6
                )
        together = np.concatenate(pulls)
        assert together.std() == pytest.approx(1, abs=0.12)
        assert together.mean() == pytest.approx(0, abs=0.2)
    for jet in ("j1", "j2"):
        np.testing.assert_allclose(
            columns[f"{jet}_M"] / columns[f"true_{jet}_M"],
            columns[f"{jet}_PT"] / columns[f"true_{jet}_PT"],
            rtol=1e-4,
        )


def test_cuts_on_jets_and_missing_pt():
    cuts = {"jet_pt": [80, 50], "met": 60}
    columns = generate("ttbar_2l", 30, seed=11, selection=cuts).columns
    assert columns["j1_PT"].min() > 80
    assert columns["j2_PT"].min() > 50
    assert columns["MET"].min() > 60
    assert columns["lep2_PT"].min() < 20


def test_dressed_leptons_leave_their_photons_to_no_jet():
    bare, dressed = (
        generate("ttbar_2l", 60, seed=11, selection={}, dressed=d).columns for d in (False, True)
    )
    # the same events, but for jets at the threshold: told by their missing pT
    _, one, other = np.intersect1d(bare["MET"], dressed["MET"], return_indices=True)
    assert len(one) > 40
    leptons, jets = (
        [
            sum(momentum(columns, f"true_{name}")[0][rows].sum() for name in names)
            for columns, rows in ((bare, one), (dressed, other))
        ]
        for names in (("lep1", "lep2"), ("j1", "j2"))
    )
    assert leptons[1] > leptons[0]
    assert jets[1] <= jets[0]


def test_seeds(drell_yan):
    again, other = generate("drell_yan", 100, seed=11), generate("drell_yan", 100, seed=12)
    for name, column in again.columns.items():
        np.testing.assert_array_equal(column, drell_yan.columns[name][:100])
    assert (other.columns["lep1_PT"] != again.columns["lep1_PT"]).any()


def test_parts_of_samples_have_different_seeds():
    seeds = [Seeds.of(seed, part).pythia for seed in (1, 2, 899_999_999) for part in range(5000)]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 1
    assert max(seeds) <= 900_000_000
    assert [Seeds.of(seed, 0).pythia for seed in (0, 7)] == [1, 8]


def test_seeds_of_top_pairs(tops):
    again = generate("ttbar_2l", 50, seed=11)
    for name, column in again.columns.items():
        np.testing.assert_array_equal(column, tops.columns[name][:50])


def test_a_file_has_the_same_arrays(tmp_path, drell_yan):
    seen: list[int] = []
    path = tmp_path / "deep" / "events.root"
    made = generate("drell_yan", 60, seed=11, output=path, progress=seen.append)
    assert (made.events, made.output, made.columns, seen[-1]) == (60, path, {}, 60)
    with uproot.open(path) as file:
        assert file.classnames() == {"provenance;1": "TObjString", "events;1": "TTree"}
        arrays = file["events"].arrays(library="np")
    assert list(arrays) == list(drell_yan.columns)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, drell_yan.columns[name][:60])
    assert list(path.parent.iterdir()) == [path]


def test_distributions_of_the_example_data(drell_yan, higgs):
    """Quartiles of 60,000 and 6,000 example events (Pythia 8.317), within 5 standard errors.

    Of the total p_T, of the mass, and of the missing pT; of the leading lepton's pT.
    """
    pair, four = drell_yan.columns, higgs.columns
    both, all_four = momenta(pair, 2).sum(axis=0), momenta(four, 4).sum(axis=0)
    expected = [
        (np.hypot(both[1], both[2]), (7.09, 14.92, 29.51)),
        (mass(both), (87.32, 90.34, 92.33)),
        (pair["MET"], (6.09, 9.45, 13.36)),
        (pair["lep1_PT"], (37.69, 44.97, 51.56)),
        (np.hypot(all_four[1], all_four[2]), (18.07, 37.07, 72.90)),
        (mass(all_four), (122.58, 124.21, 125.46)),
    ]
    for values, quartiles in expected:
        below = [(values < quartile).mean() for quartile in quartiles]
        allowed = 5 * np.sqrt(0.25 / len(values))
        np.testing.assert_allclose(below, [0.25, 0.5, 0.75], atol=allowed)


def test_cross_section_and_parameters():
    heavy = generate("higgs_4mu", 40, seed=1, MH=130.0, response={"lepton": 0.0})
    assert np.median(mass(momenta(heavy.columns, 4, "born_lep").sum(axis=0))) == pytest.approx(130, abs=0.2)
    assert 0 < heavy.error < heavy.cross_section < 0.01
    assert heavy.events <= heavy.tried
    np.testing.assert_array_equal(heavy.columns["lep1_PT"], heavy.columns["true_lep1_PT"])


def test_masses_of_top_and_w_reach_pythia(tops):
    # LO; 6.7 pb with α_s = 0.118, one pair of flavours
    assert 4 < tops.cross_section * tops.tried / tops.events < 8
    light = generate("ttbar_2l", 60, seed=1, MT=160.0, MW=70.0, WT=0.1, WW=0.1, MB=4.0).columns
    first, second = born_ws(light)
    np.testing.assert_allclose(np.median([mass(first), mass(second)]), 70, atol=0.2)
    all_of_it = first + second + momentum(light, "born_j1") + momentum(light, "born_j2")
    assert mass(all_of_it).min() > 319
    np.testing.assert_allclose(light["born_j1_M"], 4.0, atol=0.1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"process": "drell_yann"}, "did you mean 'drell_yan'"),
        ({"events": 0}, "number of events"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"MT": 173.0}, "unknown parameter of the generator 'MT'"),
        ({"process": "ttbar_2l", "MH": 125.0}, "unknown parameter of the generator 'MH'"),
        ({"selection": {"jet_pt": 30}}, "selection.jet_pt: there are no jets"),
        (
            {"process": "ww_2l", "response": {"bjet": 0.1}},
            "response.bjet: there is no bjet in this process, and lepton has no",
        ),
        ({"selection": {"lepton_ptt": 20}}, "did you mean 'lepton_pt'"),
        ({"response": {"leptons": 0.1}}, "did you mean 'lepton'"),
    ],
)
def test_wrong_arguments_are_named(arguments, said):
    with pytest.raises(UsageError, match=said):
        generate(**({"process": "drell_yan", "events": 1} | arguments))


def test_events_have_true_energies_that_weights_reach():
    """With a response of 25 % the support, 5σ of E_rec, leaves out 1.3 % of what is drawn for each lepton."""
    made = generate("drell_yan", 1500, seed=3, response={"lepton": 0.25}, selection={})
    for i in (1, 2):
        ratio = made.columns[f"true_lep{i}_PT"] / made.columns[f"lep{i}_PT"]
        assert 1e-3 < ratio.min() < ratio.max() < 2.25 + 1e-5
    # no cut but this one
    assert made.events / made.tried == pytest.approx((1 - 0.0131) ** 2, abs=0.01)
    assert made.columns["lep2_PT"].min() < 10


def test_cuts_of_its_own_follow_the_higgs_mass():
    made = generate("higgs_4l", 30, seed=2, MH=160.0)
    assert np.median(mass(momenta(made.columns, 4).sum(axis=0))) == pytest.approx(160, abs=3)


def test_without_pythia(monkeypatch):
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    with pytest.raises(UsageError, match=r"pip install 'deepmem\[generate\]'"):
        generate("drell_yan", 1)


def test_where_pythia_was_never_installed_a_file_is_not_begun(monkeypatch, tmp_path):
    def unknown(package: str) -> str:
        raise PackageNotFoundError(package)

    for module in (pythia, showers):
        monkeypatch.setattr(module, "version", unknown)
    with pytest.raises(UsageError, match=r"pip install 'deepmem\[generate\]'"):
        generate("drell_yan", 1, output=tmp_path / "events.root")
    assert not list(tmp_path.iterdir())


def test_a_selection_that_hardly_anything_passes():
    with pytest.raises(DeepMEMError, match="only 0 of"):
        generate("drell_yan", 50, selection={"lepton_pt": 3000}, least_acceptance=0.2)


def test_every_recipe_is_on_the_menu():
    assert set(RECIPES) <= set(all_processes())


VALUES = {
    "sqrt_s": 8000.0,
    "MZ": 93.0,
    "MW": 79.0,
    "WW": 3.0,
    "MT": 176.0,
    "WT": 3.0,
    "MB": 4.0,
    "MH": 130.0,
    "WH": 1.0,
}


@pytest.mark.parametrize("process", ["drell_yan", "zz_4l", "higgs_4l", "ttbar_2l", "ww_2l", "higgs_ww_2l"])
def test_every_parameter_of_a_recipe_changes_the_events(process, monkeypatch):
    """One that Pythia does not use must not be taken: γ*/Z has a width of its own."""
    monkeypatch.setattr(pythia, "normalisation_of", lambda *_: 1.0)  # of σ alone, by another Pythia
    plain = generate(process, 8, selection={}).columns
    for name in RECIPES[process].parameters:
        other = generate(process, 8, selection={}, **{name: VALUES[name]}).columns
        assert not np.array_equal(other["born_lep1_PT"], plain["born_lep1_PT"]), name
    with pytest.raises(UsageError, match="unknown parameter of the generator 'WZ'"):
        generate(process, 8, WZ=2.0)


def test_the_cross_section_of_a_higgs_boson_does_not_grow_with_its_width():
    narrow, wide = (generate("higgs_4l", 100, selection={}, WH=width) for width in (0.004, 0.4))
    assert wide.cross_section == pytest.approx(narrow.cross_section, rel=0.3)
