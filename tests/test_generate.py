"""Events from Pythia 8: seeds, selection, response, columns; distributions as the example data have them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import uproot

from deepmem.errors import DeepMEMError, UsageError
from deepmem.generate import RECIPES, generate


@pytest.fixture(scope="module")
def drell_yan():
    return generate("drell_yan", 1000, seed=11)


@pytest.fixture(scope="module")
def higgs():
    return generate("higgs_4l", 400, seed=11)


def momenta(columns, leptons, prefix="lep"):
    parts = []
    for i in range(1, leptons + 1):
        pt, eta, phi = (columns[f"{prefix}{i}_{q}"].astype(np.float64) for q in ("PT", "Eta", "Phi"))
        parts.append([pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    return np.array(parts)


def mass(p):
    return np.sqrt(np.maximum(p[0] ** 2 - (p[1:] ** 2).sum(axis=0), 0))


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


def test_seeds(drell_yan):
    again, other = generate("drell_yan", 100, seed=11), generate("drell_yan", 100, seed=12)
    for name, column in again.columns.items():
        np.testing.assert_array_equal(column, drell_yan.columns[name][:100])
    assert (other.columns["lep1_PT"] != again.columns["lep1_PT"]).any()


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"process": "drell_yann"}, "did you mean 'drell_yan'"),
        ({"events": 0}, "number of events"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"MT": 173.0}, "unknown parameter of the generator 'MT'"),
        ({"selection": {"lepton_ptt": 20}}, "did you mean 'lepton_pt'"),
        ({"response": {"leptons": 0.1}}, "did you mean 'lepton'"),
    ],
)
def test_wrong_arguments_are_named(arguments, said):
    with pytest.raises(UsageError, match=said):
        generate(**({"process": "drell_yan", "events": 1} | arguments))


def test_without_pythia(monkeypatch):
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    with pytest.raises(UsageError, match=r"pip install 'deepmem\[generate\]'"):
        generate("drell_yan", 1)


def test_a_selection_that_hardly_anything_passes(monkeypatch):
    monkeypatch.setattr("deepmem.generate._LEAST_ACCEPTANCE", 0.2)
    with pytest.raises(DeepMEMError, match="only 0 of"):
        generate("drell_yan", 50, selection={"lepton_pt": 3000})


def test_every_recipe_is_on_the_menu():
    from deepmem.physics.processes import all_processes

    assert set(RECIPES) <= set(all_processes())
