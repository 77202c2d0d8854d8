"""Names of branches: what they hold, and how prefixes and suffixes make them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmem.columns import (
    Column,
    Quantity,
    check_column_names,
    combine,
    described,
    misgivings,
    recognise,
    split_index,
)
from deepmem.errors import UsageError
from deepmem.ranges import Ranges, Unsaid
from deepmem.surrogate.features import FeatureMap


@pytest.mark.parametrize(
    ("name", "object", "quantity"),
    [
        ("lep1_PT", "lep1", Quantity.PT),
        ("lep1_Pt", "lep1", Quantity.PT),
        ("j1PT", "j1", Quantity.PT),
        ("lep2_Eta", "lep2", Quantity.ETA),
        ("j1_M", "j1", Quantity.MASS),
        ("Jet_mass", "Jet", Quantity.MASS),
        ("lep1_Charge", "lep1", Quantity.CHARGE),
        ("lep1_PDG", "lep1", Quantity.PDG),
        ("el_e", "el", Quantity.ENERGY),
        ("MET", "MET", Quantity.PT),
        ("MET_Phi", "MET", Quantity.PHI),
        ("METPhi", "MET", Quantity.PHI),
        ("PuppiMET_pt", "PuppiMET", Quantity.PT),
        ("MissingET.MET", "MissingET", Quantity.PT),
        ("Jet_PT[0]", "Jet[0]", Quantity.PT),
        ("Jet_PT[1]", "Jet[1]", Quantity.PT),
        ("top/fCoordinates/fCoordinates.fPt", "top", Quantity.PT),
        ("top/fCoordinates/fCoordinates.fPhi", "top", Quantity.PHI),
        ("met_met_NOSYS", "met", Quantity.PT),
        ("met_phi_NOSYS", "met", Quantity.PHI),
        ("mu_pt_NOSYS", "mu", Quantity.PT),
        ("mu_pt_JET_Pileup__1up", "mu", Quantity.PT),
        ("MET_T1_pt_jesUp", "MET_T1", Quantity.PT),
        ("pt1", "1", Quantity.PT),
        ("eta1", "1", Quantity.ETA),
        ("phi_2", "2", Quantity.PHI),
        ("Q1", "1", Quantity.CHARGE),
        ("E1", "1", Quantity.ENERGY),
        ("m_1", "1", Quantity.MASS),
        ("pT_h1", "h1", Quantity.PT),
        ("ptl1", "l1", Quantity.PT),
        ("eta_mup", "mup", Quantity.ETA),
        ("lep_pt_1", "lep1", Quantity.PT),
        ("lep_p_T", "lep", Quantity.PT),
        ("dphi", "dphi", Quantity.ANGLE),
        ("lep1DeltaPhi", "lep1DeltaPhi", Quantity.ANGLE),
        ("helphi", "helphi", Quantity.ANGLE),
        ("phi_planes", "phi_planes", Quantity.ANGLE),
        ("d_phi", "d", Quantity.PHI),
        ("costheta", "costheta", Quantity.OTHER),
        ("deta", "deta", Quantity.OTHER),
        ("log_pt", "log_pt", Quantity.OTHER),
        ("HLT_accept", "HLT_accept", Quantity.OTHER),
        ("njet_pt30", "njet_pt30", Quantity.OTHER),
        ("runNumber", "runNumber", Quantity.OTHER),
        ("mjj", "mjj", Quantity.OTHER),
        ("type", "type", Quantity.OTHER),
    ],
)
def test_recognise(name: str, object: str, quantity: Quantity) -> None:
    column = recognise(name)
    assert (column.object, column.quantity) == (object, quantity)


def test_an_azimuth_of_no_object_is_an_angle_between_planes() -> None:
    held = {column.name: column.quantity for column in described(["Phi", "Phi1", "pt2", "phi2", "MET_Phi"])}
    assert [held[name] for name in ("Phi", "Phi1")] == [Quantity.ANGLE] * 2
    assert [held[name] for name in ("phi2", "MET_Phi")] == [Quantity.PHI] * 2


def test_counts_flags_and_spreads_are_no_quantities_but_of_an_object_with_a_momentum() -> None:
    names = ["n_e", "N_m", "njet_m", "lep1_n_e", "is_e", "sf_e", "prob_e", "nGoodJets_e", "err_phi", "sigmaPhi",
             "deltaR_phi", "mean_eta", "rel_pt", "n_charge", "sum_charge", "HT_m"]  # fmt: skip
    columns = described(names)
    assert {each.name for each in columns if each.quantity is not Quantity.OTHER} == set()
    assert misgivings(columns) == []
    objects = [f"{name}_{q}" for name in ("n", "res", "d") for q in ("pt", "eta", "phi", "m", "e")]
    found = [each.quantity for each in described(objects)]
    assert found == [Quantity.PT, Quantity.ETA, Quantity.PHI, Quantity.MASS, Quantity.ENERGY] * 3
    assert described(["d_phi", "d_eta"])[0].quantity is Quantity.ANGLE


@pytest.mark.parametrize(
    ("name", "looks"),
    [("Muon_ptErr", "pT"), ("lepton1_azimuth", "phi"), ("trackEtaAtCalo", "eta"), ("charge_of_it", "charge")],
)
def test_a_name_that_looks_like_a_quantity_is_named(name: str, looks: str) -> None:
    (text,) = misgivings(described([name, "lep1_PT", "costheta", "photon_iso", "theta", "mjj", "dphi"]))
    assert f"{name!r} looks like {looks}" in text
    assert f'"columns": {{"{name}"' in text
    said = {name: Column(name, "lep1", Quantity.OTHER)}
    assert described([name], said)[0] == said[name]


_DEFAULT = [f"lep{i}_{name}" for i in (1, 2) for name in ("PT", "Eta", "Phi", "Charge")] + ["MET", "MET_Phi"]
# How people call the same columns: a name with {i} for each of the two leptons, and missing pT.
_HABITS = {
    "quantities first": ("pt{i} eta{i} phi{i} Q{i}", "met phi_met"),
    "quantities first, with letters": ("ptl{i} etal{i} phil{i} ql{i}", "pt_met phi_met"),
    "letters last": ("l{i}pt l{i}eta l{i}phi l{i}q", "met_pt met_phi"),
    "numbers last": ("Muon_pt_{i} Muon_eta_{i} Muon_phi_{i} Muon_charge_{i}", "PuppiMET_pt PuppiMET_phi"),
    "numbers from 0": ("lep_{i}_pt lep_{i}_eta lep_{i}_phi lep_{i}_charge", "met_et met_phi"),
    "camels": ("muonPt{i} muonEta{i} muonPhi{i} muonCharge{i}", "MissingEt MissingEtPhi"),
    "camels, one letter": ("lepton{i}Pt lepton{i}Eta lepton{i}Phi lepton{i}Q", "ETmiss ETmiss_phi"),
    "dots": ("mu{i}.pt mu{i}.eta mu{i}.phi mu{i}.q", "MissingET.MET MissingET.Phi"),
    "prefixes": ("reco_lep{i}_pt reco_lep{i}_eta reco_lep{i}_phi reco_lep{i}_charge", "reco_met reco_met_phi"),
    "systematics": ("el{i}_pt_NOSYS el{i}_eta el{i}_phi el{i}_charge", "met_met_NOSYS met_phi_NOSYS"),
    "nominal": ("el{i}_pt_nominal el{i}_eta_nominal el{i}_phi_nominal el{i}_charge", "MET_T1_pt MET_T1_phi"),
    "elements": ("lep_pt[{i}] lep_eta[{i}] lep_phi[{i}] lep_charge[{i}]", "met_pt[0] met_phi[0]"),
    "capitals": ("LEP{i}_PT LEP{i}_ETA LEP{i}_PHI LEP{i}_CHARGE", "MET_PT MET_PHI"),
    "split objects": (" ".join(f"l{{i}}/fCoordinates/fCoordinates.f{q}" for q in ("Pt", "Eta", "Phi"))
                      + " l{i}_charge", "MET_MET MET_PHI"),
}  # fmt: skip
# The same, of which something is said rather than understood.
_WARNED = {
    "azimuth": ("l{i}_pt l{i}_eta l{i}_ph l{i}_charge", "l1_ph"),
    "rapidity": ("l{i}_pt l{i}_y l{i}_phi l{i}_charge", "l1_y"),
    "charge": ("lep{i}_pt lep{i}_eta lep{i}_phi lep{i}_ch", "lep1_ch"),
    "sign": ("lep{i}_pt lep{i}_eta lep{i}_phi lep{i}_sign", "lep1_sign"),
    "charge between": ("LepPt{i} LepEta{i} LepPhi{i} LepCh{i}", "LepCh1"),
    "corrected": ("lep{i}_ptcorr lep{i}_eta lep{i}_phi lep{i}_q", "lep1_ptcorr"),
    "unit": ("lep{i}_pt_GeV lep{i}_eta lep{i}_phi lep{i}_q", "lep1_pt_GeV"),
    "which": ("lep_pt_lead{i} lep_eta_lead{i} lep_phi_lead{i} lep_q{i}", "lep_pt_lead1"),
    "in words": ("l{i}_transverseMomentum l{i}_pseudorapidity l{i}_azimuth l{i}_charge", "l1_azimuth"),
    "Cartesian": ("mu{i}_px mu{i}_py mu{i}_pz mu{i}_E", "mu1_px"),
    "Cartesian first": ("px{i} py{i} pz{i} E{i}", "pz1"),
    "Cartesian, camels": ("mu{i}Px mu{i}Py mu{i}Pz mu{i}E", "mu1Py"),
}


def _columns(leptons: str, *others: str, first: int = 1) -> list[str]:
    return [name.format(i=i) for i in (first, first + 1) for name in leptons.split()] + " ".join(
        others
    ).split()


@pytest.mark.parametrize("habit", _HABITS)
def test_a_habit_of_naming_is_as_good_as_the_default_names(habit: str) -> None:
    """What is learned from is the same, number by number."""
    names = _columns(*_HABITS[habit], first=0 if habit in ("numbers from 0", "elements") else 1)
    assert misgivings(described(names)) == []
    values = np.array(
        [[41.0, 0.5, 0.1, 1, 38.0, -0.7, 2.9, -1, 12.0, 1.0], [50, 1.5, -3, -1, 20, 2, 0.2, 1, 5, -2]]
    )
    with jax.enable_x64(True):
        found, default = (np.asarray(FeatureMap(each)(jnp.asarray(values))) for each in (names, _DEFAULT))
    np.testing.assert_array_equal(found, default)


@pytest.mark.parametrize("habit", _WARNED)
def test_a_habit_that_is_not_understood_is_warned_of(habit: str) -> None:
    names, suspect = _columns(_WARNED[habit][0]), _WARNED[habit][1]
    said = misgivings(described(names))
    assert any(text.startswith(f"{suspect!r} looks like ") for text in said), said
    assert all("in the input file" in text for text in said)


def test_columns_beside_objects_are_not_suspected() -> None:
    names = ["lep1_PT", "lep1_Eta", "lep1_Phi", "lep1_Charge", "lep1_iso", "lep1_d0", "ptll", "mll", "npx", "jetpixels",
             "deltaRl1", "costheta1", "njets", "HT", "lep1_chIso", "MET", "MET_Phi", "MET_sig", "lep1_id",
             "pt12", "phi12", "x112", "lep2_PT", "lep2_Eta", "lep2_iso"]  # fmt: skip
    assert misgivings(described(names)) == []


@pytest.mark.parametrize(
    ("unknown", "quantity"),
    [
        ("lep{i}_mom {q}_Eta {q}_Phi", "pT"),
        ("{q}_PT forward_lep{i} {q}_Phi", "eta"),
        ("{q}_PT {q}_Eta lep{i}_helphi", "phi"),
    ],
)
def test_what_an_object_lacks_is_asked_of_its_other_columns(unknown: str, quantity: str) -> None:
    names = [name for i in (1, 2) for name in unknown.format(i=i, q=f"lep{i}").split()]
    said = misgivings(described([*names, "lep1_Charge", "MET", "MET_Phi", "MET_sig"]))
    assert len(said) == 2
    for i, text in enumerate(said, 1):
        (suspect,) = (name for name in names if recognise(name).object == name and str(i) in name)
        assert text.startswith(f"{suspect!r} may be {quantity} of lep{i}")
        assert f'"columns": {{"{suspect}": {{"object": "lep{i}", "quantity": "{quantity.lower()}"}}}}' in text
    other = {name: Column(name, "lep1", Quantity.OTHER) for name in names}
    assert misgivings(described([*names, "lep1_Charge"], other)) == []


def test_a_charge_and_an_azimuth_of_no_name_are_known_by_their_values() -> None:
    turn, sign = np.linspace(-np.pi, np.pi, 60), np.where(np.arange(60) % 2, 1.0, -1.0)
    columns = {
        "a": turn, "b": turn.astype(np.float32), "c": turn + np.pi, "d": sign,
        "cosine": turn / np.pi, "half": np.abs(turn), "z": 2 * turn, "one": np.ones(60), "flag": sign > 0,
        "rapid": 0.9 * turn, "lep1_Phi": turn, "lep1_Charge": sign, "dphi": turn, "none": turn + np.nan,
    }  # fmt: skip
    said = Unsaid(described(columns, {"a": Column("a", "plane", Quantity.OTHER)}))
    everything = Unsaid(described(columns))
    for rows in np.array_split(np.stack([*columns.values()], axis=1), 3):
        said.add(rows)
        everything.add(rows)
    assert [text.split("'")[1] for text in everything.problems()] == [*"abcd"]
    assert [text.split("'")[1] for text in said.problems()] == [*"bcd"]
    assert ['"quantity": "charge"' in text for text in everything.problems()] == [False] * 3 + [True]


def test_the_example_of_the_original_readme() -> None:
    names = combine([["lep1_"], ["lep2_", "j1_"], ["MET"]], [["PT"], ["PT", "Eta"], ["", "_Phi"]])
    assert names == ("lep1_PT", "lep2_PT", "lep2_Eta", "j1_PT", "j1_Eta", "MET", "MET_Phi")


def test_split_objects() -> None:
    assert combine([["top"]], [["fPt", "fEta"]], split_objects=True) == (
        "top/fCoordinates/fCoordinates.fPt",
        "top/fCoordinates/fCoordinates.fEta",
    )


@pytest.mark.parametrize(
    ("prefixes", "suffixes", "says"),
    [
        ([["a"]], [["b"], ["c"]], "1 lists and 'suffixes' 2"),
        ([["a", "a"]], [["b"]], "twice: ab"),
        ([[]], [["b"]], "no column"),
    ],
)
def test_combine_refuses(prefixes: list, suffixes: list, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        combine(prefixes, suffixes)


_words = st.lists(
    st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=4), max_size=4, unique=True
)


@given(st.lists(st.tuples(_words, _words), min_size=1, max_size=4))
def test_combine_is_every_prefix_with_every_suffix_in_order(lists: list[tuple[list[str], list[str]]]) -> None:
    prefixes, suffixes = [p for p, _ in lists], [s for _, s in lists]
    expected = [p + s for ps, ss in lists for p in ps for s in ss]
    if expected and len(set(expected)) == len(expected):
        assert list(combine(prefixes, suffixes)) == expected
    else:
        with pytest.raises(UsageError):
            combine(prefixes, suffixes)


@given(st.text(st.characters(codec="ascii", exclude_characters="[]\n"), min_size=1), st.integers(0, 99))
def test_an_index_comes_off_again(branch: str, index: int) -> None:
    assert split_index(f"{branch}[{index}]") == (branch, index)
    assert split_index(branch) == (branch, None)


_KNOWN = (
    "lep1_PT",
    "lep1_Eta",
    "lep1_Charge",
    "lep2_PT",
    "lep2_Charge",
    "lep1_PDG",
    "j1_M",
    "MET",
    "MET_Phi",
)


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"lep1_pt": "Lepton1_pt"}, "no column 'lep1_pt' .did you mean 'lep1_PT'"),
        ({"lepton": "x"}, "no column 'lepton'"),
        ({"lep1_PT": "lep1_Eta"}, "'lep1_PT' is to hold pT, and 'lep1_Eta' looks like eta"),
        ({"lep1_Charge": "Muon_pdgId[0]"}, "looks like pdg"),
        ({"MET": "met_phi"}, "looks like phi"),
        ({"j1_M": "Jet.E"}, "looks like energy"),
        ({"lep1_PT": "Muon_pt[0]", "lep2_PT": "Muon_pt[0]"}, "both read from 'Muon_pt"),
        ({"lep2_PT": "lep1_PT"}, "both read from 'lep1_PT'"),
    ],
)
def test_column_names_that_cannot_be_meant_are_refused(mapping: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_column_names(mapping, _KNOWN)


@pytest.mark.parametrize(
    "mapping",
    [
        {},
        {"lep1_PT": "lep2_PT", "lep2_PT": "lep1_PT"},
        {"lep1_PT": "Muon_pt[0]", "lep2_PT": "Muon_pt[1]", "lep1_Charge": "q1", "MET": "PuppiMET_pt"},
        {"MET": "MissingET.MET", "lep1_PDG": "type", "lep1_Eta": "lep1_Eta"},
    ],
)
def test_other_column_names_are_not(mapping: dict[str, str]) -> None:
    check_column_names(mapping, _KNOWN)


def _ranges(column: str, *chunks: list[float]) -> Ranges:
    ranges = Ranges([column])
    for chunk in chunks:
        ranges.add(np.array(chunk, dtype=float)[:, None])
    return ranges


_RADIANS = list(np.linspace(-np.pi, np.pi, 40))
_DEGREES = list(np.linspace(-180, 180, 40))


@pytest.mark.parametrize(
    "chunks",
    [
        [_DEGREES],
        [np.mod(_DEGREES, 360)],
        [_RADIANS] * 4 + [_DEGREES],  # anywhere in a file
        [_DEGREES[:10] + [np.nan] * 500],
        [[120.0]],
        [np.round(_DEGREES)],
        [_DEGREES + [-999.0] * 100],
    ],
)
def test_degrees_are_refused(chunks: list) -> None:
    ranges = _ranges("MET_Phi", *chunks)
    with pytest.raises(
        UsageError, match=r"MET_Phi reaches .* % of its values .*degrees\? radians are expected"
    ):
        ranges.refuse()
    assert len(ranges.problems()) == 1


@pytest.mark.parametrize(
    ("chunks", "problems"),
    [
        ([_RADIANS], 0),
        ([np.mod(_RADIANS, 2 * np.pi)], 0),
        ([[]], 0),
        ([[np.nan, np.inf]], 0),
        ([_RADIANS, [-999.0] * 40], 1),
        ([_RADIANS, [-99.0] * 40], 1),
        ([_RADIANS, [-55.5] * 40], 1),  # a sentinel of one's own
        ([_RADIANS * 10, _DEGREES], 1),
        ([[0.1, 0.2, 0.3, 7.0]], 1),
    ],
)
def test_sentinels_and_a_few_bad_angles_are_not_degrees(chunks: list, problems: int) -> None:
    ranges = _ranges("lep1_Phi", *chunks)
    ranges.refuse()
    assert len(ranges.problems()) == problems


def test_what_is_said_of_a_column_is_not_read_off_its_name_again() -> None:
    names = ["lep1_PT", "lep1_Eta", "lep1_Phi", "lep1_q", "Phi"]
    said = {"lep1_q": Column("lep1_q", "event", Quantity.OTHER), "Phi": Column("Phi", "event", Quantity.PHI)}
    held = described(names, said)
    assert held[3:] == tuple(said.values())
    assert described(held) == FeatureMap(held).described == held


def test_charges_and_energies_of_the_name_alone_are_told() -> None:
    table = np.array([[50.0, 0.0, 50.0, 1], [40.0, 1.0, 62.0, -1], [30.0, 0.0, 31.0, 0]])
    for energy, charge, number in ((1.0, 1.0, 0), (0.5, 1.0, 1), (1.0, 0.3, 1), (1e-3, 0.3, 2)):
        ranges = Ranges(["j_PT", "j_Eta", "j_E", "j_q"])
        ranges.add(table * [1, 1, energy, charge])
        texts = ranges.problems()
        assert len(texts) == number
        assert all('"quantity": "other"' in text for text in texts)


def test_mev_is_seen_in_all_of_a_file() -> None:
    assert _ranges("lep1_PT", [40.0, 50.0], [-999.0, 60.0]).problems() == []
    (text,) = _ranges("lep1_PT", [40.0, 40e3], [45e3, 50e3, 60e3]).problems()
    assert "lep1_PT has a median of 4.5e+04 GeV: in MeV?" in text
