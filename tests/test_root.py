"""ROOT files: whatever way events are stored, the same numbers come out, in order; weights go in whole or
not at all."""

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from conftest import COLUMNS, EVENTS, RNTUPLE, write_tree

from deepmem import UsageError, Weight, Weights
from deepmem.data.files import whole_file
from deepmem.data.root import Source
from deepmem.data.trees import TreeFile, expand
from deepmem.data.weights import read_provenance, read_weights, write_weights


def test_ttree_and_rntuple_are_read_alike() -> None:
    tree, ntuple = Source([str(EVENTS)], None, COLUMNS), Source([str(RNTUPLE)], "events", COLUMNS)
    assert tree.num_entries == ntuple.num_entries == 60_000
    np.testing.assert_array_equal(tree.read(123, 4567), ntuple.read(123, 4567))
    assert tree.read(0, 3).dtype == np.float32


def test_a_file_split_in_three_is_one_run_of_entries(
    tmp_path: Path, drell_yan: dict[str, np.ndarray]
) -> None:
    cuts = [0, 700, 701, 2000]
    for i, (a, b) in enumerate(itertools.pairwise(cuts)):
        write_tree(tmp_path / f"part{i}.root", {name: drell_yan[name][a:b] for name in COLUMNS})
    source = Source([str(tmp_path / "part*.root")], None, COLUMNS)
    expected = np.stack([drell_yan[name][:2000] for name in COLUMNS], axis=1)
    np.testing.assert_array_equal(source.read(0, 2000), expected)
    np.testing.assert_array_equal(source.read(650, 1200), expected[650:1200])


@pytest.mark.parametrize("entries", [1, 97, 1000, 5000])
def test_chunks_cover_every_entry_once(tmp_path: Path, entries: int) -> None:
    for i, length in enumerate((700, 1, 1300)):
        write_tree(tmp_path / f"{i}.root", {"x": np.arange(length, dtype=np.float32)})
    bounds = Source([str(tmp_path / "*.root")], None, ["x"]).boundaries(10, 1990, entries)
    assert bounds[0][0] == 10
    assert bounds[-1][1] == 1990
    assert all(end == begin for (_, end), (begin, _) in itertools.pairwise(bounds))
    assert all(0 < end - begin <= entries for begin, end in bounds)


def test_jagged_branches(tmp_path: Path) -> None:
    path = tmp_path / "jagged.root"
    jets = ak.values_astype(ak.Array([[50.0, 30.0], [40.0], [], [25.0, 24.0, 23.0]]), np.float32)
    single = ak.values_astype(ak.Array([[1.0], [2.0], [3.0], [4.0]]), np.float32)
    with uproot.recreate(path) as file:
        file.mktree("events", {"Jet_PT": "var * float32", "one": "var * float32"})
        file["events"].extend({"Jet_PT": jets, "one": single})
    table = Source([str(path)], None, ["one", "Jet_PT[0]", "Jet_PT[1]"]).read(0, 4)
    nan = np.nan
    np.testing.assert_array_equal(table, [[1, 50, 30], [2, 40, nan], [3, nan, nan], [4, 25, 24]])
    with pytest.raises(UsageError, match=r"'Jet_PT' has 3 values in entry 3: say which one, as Jet_PT\[0\]"):
        Source([str(path)], None, ["Jet_PT"]).read(0, 4)


def test_folders_cycles_and_split_objects(tmp_path: Path) -> None:
    path = tmp_path / "folders.root"
    with uproot.recreate(path) as file:
        file.mktree("event_selection/hftree", {"lep1_PT": np.float32})
        file["event_selection/hftree"].extend({"lep1_PT": np.arange(3, dtype=np.float32)})
    for tree in ("event_selection/hftree;1", "event_selection/hftree", None):
        assert Source([str(path)], tree, ["lep1_PT"]).read(0, 3).tolist() == [[0], [1], [2]]
    assert Source([f"{path}:event_selection/hftree"], None, ["lep1_PT"]).num_entries == 3
    with uproot.update(path) as file:
        file.mktree("event_selection/hftree", {"lep1_PT": np.float32})
        file["event_selection/hftree"].extend({"lep1_PT": np.arange(5, dtype=np.float32)})
    for cycle, entries, kept in (("", 5, ""), (";2", 5, ""), (";1", 3, ";1")):
        source = Source([f"{path}:event_selection/hftree{cycle}"], None, ["lep1_PT"])
        assert source.num_entries == entries
        assert source.provenance()[0]["tree"] == f"event_selection/hftree{kept}"  # by which it is read again
    with pytest.raises(UsageError, match=r"has no cycle '.*hftree;3': it has .*hftree;1, .*hftree;2"):
        Source([f"{path}:event_selection/hftree;3"], None, ["lep1_PT"])


def test_addresses(tmp_path: Path) -> None:
    (tmp_path / "a.root").touch()
    (tmp_path / "b.root").touch()
    assert expand([f"{tmp_path}/*.root"]) == [(f"{tmp_path}/a.root", None), (f"{tmp_path}/b.root", None)]
    assert expand([f"{tmp_path}/a.root:dir/tree;2"]) == [(f"{tmp_path}/a.root", "dir/tree;2")]
    assert expand(["root://host//store/a.root:t"]) == [("root://host//store/a.root", "t")]
    with pytest.raises(UsageError, match="no file matches"):
        expand([f"{tmp_path}/*.txt"])


def _weight(n: int, source: bool = False) -> Weight:
    value = np.linspace(1e-20, 1e-19, n)
    status = np.zeros(n, dtype=np.int32)
    status[0], value[0] = 3, np.nan
    return Weight(value, value / 100, status, np.ones(n, dtype=np.int32) if source else None)


@pytest.mark.parametrize("source", [False, True])
def test_a_weight_file_comes_back_as_it_was(tmp_path: Path, source: bool) -> None:
    weight = _weight(50, source)
    Weights({"a": weight, "b": weight}, {"command": "test"}).to_root(tmp_path / "new" / "w.root")
    with uproot.open(tmp_path / "new" / "w.root") as file:
        assert file.classnames()["deepmem;1"] == "TTree"
        kinds = {branch: file["deepmem"][branch].typename for branch in file["deepmem"].keys()}  # noqa: SIM118
    expected = {"a": "double", "a_error": "double", "a_status": "int32_t"}
    expected |= {"a_source": "int32_t"} if source else {}
    assert kinds == expected | {key.replace("a", "b", 1): kind for key, kind in expected.items()}
    back = read_weights(tmp_path / "new" / "w.root", "b")
    np.testing.assert_array_equal(back.value, weight.value)
    np.testing.assert_array_equal(back.error, weight.error)
    np.testing.assert_array_equal(back.status, weight.status)
    assert (back.source is None) == (not source)
    assert read_provenance(tmp_path / "new" / "w.root") == {"command": "test"}
    with pytest.raises(UsageError, match="several weights"):
        read_weights(tmp_path / "new" / "w.root")


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    def write_half() -> None:
        with write_weights(tmp_path / "w.root", ["a"], {}) as writer:
            writer.append({"a": _weight(3)})
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half"):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    code = (
        "import sys, time; from deepmem.data.files import whole_file\n"
        "with whole_file(sys.argv[1]) as f: f.write_text('half'); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    assert not path.exists()
    with whole_file(path) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(UsageError, match="not a regular file"), whole_file("/dev/null"):
        pass
    assert not Path("/dev/null").is_file()


def test_kept_integers_are_exact_or_refused(tmp_path: Path) -> None:
    numbers = np.array([2**40 + 7, 2**60 + 1])
    write_tree(
        tmp_path / "a.root",
        {"x": np.zeros(2), "event": np.array([1, 2], dtype=np.int32), "u": np.zeros(2, "u8")},
    )
    write_tree(tmp_path / "b.root", {"x": np.zeros(2), "event": numbers, "u": np.zeros(2, "i8")})
    source = Source([str(tmp_path / "a.root"), str(tmp_path / "b.root")], None, ["x"], ["event"])
    assert source.read_kept(0, 4)["event"].tolist() == [1, 2, *numbers.tolist()]
    assert source.read_kept(0, 1)["event"].dtype == source.kept_types["event"] == np.int64
    with pytest.raises(UsageError, match="could lose digits"):
        _ = Source([str(tmp_path / "a.root"), str(tmp_path / "b.root")], None, ["x"], ["u"]).kept_types
    with uproot.recreate(tmp_path / "j.root") as file:
        file.mktree("events", {"n": "var * int64"})
        file["events"].extend({"n": ak.Array([[2**60 + 1], [5]])})
        file.mktree("lacking", {"n": "var * int64"})
        file["lacking"].extend({"n": ak.Array([[2**60 + 1], []])})
    listed = Source([f"{tmp_path / 'j.root'}:events"], None, [], ["n[0]"])
    assert listed.read_kept(0, 2)["n[0]"].tolist() == [2**60 + 1, 5]
    assert listed.kept_types["n[0]"] == np.int64
    with pytest.raises(UsageError, match="could lose digits"):
        _ = Source([f"{tmp_path / 'j.root'}:lacking"], None, [], ["n[0]"]).kept_types


def test_a_weight_called_like_an_element_is_read_back(tmp_path: Path) -> None:
    """What was learned from the branch element `w[0]` is written under that name, and is a branch then."""
    path = tmp_path / "weights.root"
    weight = Weight(np.array([1.0, 2.0]), np.array([0.1, 0.2]), np.zeros(2, dtype=np.int32))
    Weights({"w[0]": weight, "w[1]": weight}, {}).to_root(path)
    for read in (read_weights(path, "w[0]"), read_weights(path, "w[1]")):
        np.testing.assert_array_equal(read.value, weight.value)
        np.testing.assert_array_equal(read.error, weight.error)
    with pytest.raises(UsageError, match="no branch 'w'"):
        read_weights(path, "w[2]")


@pytest.mark.parametrize("kind", ["TTree", "RNTuple"])
def test_a_file_cut_anywhere_is_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    columns = {"a": np.arange(300.0), "b": np.arange(300.0)}
    path = tmp_path / "whole.root"
    if kind == "TTree":
        write_tree(path, columns)
    else:
        with uproot.recreate(path) as file:
            file.mkrntuple("events", columns)
    whole = path.read_bytes()

    def read(path: Path) -> None:
        source = Source([str(path)], None, ["a", "b"])
        source.read(0, source.num_entries)

    read(path)
    for part in np.linspace(0.02, 0.95, 20):
        cut = tmp_path / "cut.root"
        cut.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(UsageError, match=r"^[^\n]*$"):
            read(cut)


def test_short_reads_that_follow_one_another_unpack_a_cluster_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tree(tmp_path / "one.root", {"a": np.arange(1000.0), "b": np.arange(1000.0) ** 2})
    source, asked = Source([str(path)], None, ["a", "b"]), []
    read = TreeFile.read

    def counted(self: TreeFile, start: int, stop: int, pool: Any = None) -> np.ndarray:
        asked.append((start, stop))
        return read(self, start, stop, pool)

    monkeypatch.setattr(TreeFile, "read", counted)
    parts = [source.read(at, at + 50) for at in range(0, 1000, 50)]
    np.testing.assert_array_equal(
        np.concatenate(parts), np.stack([np.arange(1000.0), np.arange(1000.0) ** 2], 1)
    )
    assert asked == [(0, 50), (0, 1000)]
    parts[1][:] = 0.0  # what is given belongs to who asked
    np.testing.assert_array_equal(source.read(10, 12)[:, 0], [10, 11])
    np.testing.assert_array_equal(source.read(12, 14)[:, 0], [12, 13])
