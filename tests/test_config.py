"""The configuration: every key of the original, and what is said about a wrong one."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmem import Config, UsageError
from deepmem.data.loaders import split_sizes

MINIMAL: dict[str, Any] = {
    "input_paths": ["events.root"],
    "output_paths": ["weights.root"],
    "prefixes": [["lep1_"]],
    "suffixes": [["PT"]],
    "weights": ["w"],
}

# The example of the original, key by key as its README lists them.
ORIGINAL: dict[str, Any] = {
    "input_paths": ["a.root", "b.root"],
    "output_paths": ["wa.root", "wb.root"],
    "input_tree": "event_selection/hftree;1",
    "output_tree": "momemta;1",
    "prefixes": [["lep1_", "lep2_"], ["j1", "j2"], ["MET"]],
    "suffixes": [["Pt", "Eta", "Phi"], ["PT", "Eta", "Phi"], ["", "Phi"]],
    "dir_name_processing": False,
    "weights": ["weight_DY"],
    "batch_size": 64,
    "chunk_entries": 20000,
    "shuffle": True,
    "split": [8, 1, 1],
    "LearningRate": 0.001,
    "save_lowest_loss_model_at": "post/tempsave_lowest.pth",
    "save_scaler_at": "post/scaler.joblib",
    "load_saved_model_from": "post/tempsave_lowest.pth",
    "load_scaler_from": "post/scaler.joblib",
    "save_testing_histogram_at": "post/histogram.png",
}


def test_every_key_of_the_original_means_what_it_said() -> None:
    config = Config.load(ORIGINAL)
    for key, value in ORIGINAL.items():
        assert json.loads(json.dumps(getattr(config, key))) == value
    assert config.columns == (
        "lep1_Pt", "lep1_Eta", "lep1_Phi", "lep2_Pt", "lep2_Eta", "lep2_Phi",
        "j1PT", "j1Eta", "j1Phi", "j2PT", "j2Eta", "j2Phi", "MET", "METPhi",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"columns": {"lep1_pt": {"quantity": "pt"}}},
            "'columns': .* no column 'lep1_pt' .did you mean 'lep1_PT'",
        ),
        ({"columns": {"MET": {"quantity": "pT2"}}}, r"'columns\.MET\.quantity': input should be 'pt', 'eta'"),
        ({"said": {}}, "unknown key 'said'"),
        ({"batchsize": 3}, "unknown key 'batchsize' .did you mean 'batch_size'"),
        ({"learningrate": 0.1}, "did you mean 'LearningRate'"),
        ({"particles": []}, "it is now called prefixes"),
        ({"zzz": 1}, "unknown key 'zzz'; 'deepmem config --schema' lists all"),
        ({"batch_size": 0}, "'batch_size': input should be greater than 0, got 0"),
        ({"batch_size": "64"}, "'batch_size': input should be a valid integer, got '64'"),
        ({"LearningRate": -1}, "'LearningRate': input should be greater than 0, got -1"),
        ({"split": [0, 1, 1]}, "no training part"),
        ({"split": [8, 1]}, "split"),
        ({"split": [8, -1, 1]}, "non-negative"),
        ({"unit": "keV"}, "'unit': input should be 'GeV' or 'MeV'"),
        ({"loader": "hybridmt"}, "'loader': input should be 'hybridMT', 'hybrid' or 'inbuilt'"),
        ({"input_paths": []}, "the key 'input_paths' is empty"),
        ({"input_paths": "events.root"}, "'input_paths'"),
        ({"weights": ["w", "w"]}, "twice"),
        ({"weight_errors": ["a", "b"]}, "names 2 branches"),
        ({"save_testing_histogram_at": "a.gif"}, "png, .pdf or .svg"),
        ({"suffixes": [["PT"], ["Eta"]]}, "combined list by list"),
    ],
)
def test_a_wrong_key_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Config.load(MINIMAL | changes)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UsageError, match="the key 'weights' is missing"):
        Config.load({key: value for key, value in MINIMAL.items() if key != "weights"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected a JSON object"),
        ('{"split": 1, "split": 2}', "'split' stands there twice"),
    ],
)
def test_a_file_that_is_not_a_configuration(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "input.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        Config.load(path)


def test_it_is_frozen_and_overrides_win() -> None:
    config = Config.load(MINIMAL, epochs=7, loader=None)
    assert (config.epochs, config.loader) == (7, "hybridMT")
    with pytest.raises(ValueError, match="frozen"):
        config.epochs = 8  # type: ignore[misc]


@given(st.integers(1, 10**7), st.tuples(*[st.integers(0, 50)] * 3))
def test_split_sizes_are_floor_floor_remainder(entries: int, split: tuple[int, int, int]) -> None:
    total = sum(split)
    if total == 0 or entries * split[0] // total == 0:
        if total:
            with pytest.raises(UsageError, match="none to train on"):
                split_sizes(entries, split)
        return
    parts = split_sizes(entries, split)
    train, validation = entries * split[0] // total, entries * split[1] // total
    assert parts == {
        "train": (0, train),
        "validation": (train, train + validation),
        "test": (train + validation, entries),
    }


def test_a_split_in_fractions_loses_nothing_to_rounding() -> None:
    assert split_sizes(100, (0.7, 0.2, 0.1)) == {"train": (0, 70), "validation": (70, 90), "test": (90, 100)}
