"""Names of branches: what they hold, and how prefixes and suffixes make them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmem.columns import Quantity, combine, recognise, split_index
from deepmem.errors import UsageError


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
        ("runNumber", "runNumber", Quantity.OTHER),
        ("mjj", "mjj", Quantity.OTHER),
        ("type", "type", Quantity.OTHER),
    ],
)
def test_recognise(name: str, object: str, quantity: Quantity) -> None:
    column = recognise(name)
    assert (column.object, column.quantity) == (object, quantity)


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
