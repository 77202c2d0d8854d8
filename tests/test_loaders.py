"""Three loaders, one result: every training row once per epoch, in an order of the seed."""

from pathlib import Path

import numpy as np
import pytest
from conftest import COLUMNS, write_tree

from deepmem.data.loaders import LOADERS, Loader, Paired, Rows, ahead
from deepmem.data.root import Source


def _loader(kind: str, small: Path, chunk: int = 150) -> Loader:
    data = Paired(
        Source([str(small / "events.root")], None, COLUMNS),
        Source([str(small / "weights.root")], None, ["weight_DY"]),
        1,
    )
    return LOADERS[kind](data, (7, 2, 1), chunk)


def _all(blocks: list[Rows]) -> np.ndarray:
    rows = Rows.concatenate(blocks)
    return np.concatenate([rows.inputs, rows.weights], axis=1)


@pytest.mark.parametrize("kind", LOADERS)
def test_every_row_with_its_own_weight(kind: str, small: Path) -> None:
    loader, plain = _loader(kind, small), _loader("hybridMT", small)
    parts = {part: _all(list(loader.scan(part))) for part in ("train", "validation", "test")}
    for part, rows in parts.items():
        np.testing.assert_array_equal(rows, _all(list(plain.scan(part))))
    assert [len(rows) for rows in parts.values()] == [1400, 400, 200]
    for epoch in (0, 1):
        shuffled = _all(list(loader.shuffled(np.random.default_rng([5, epoch]))))
        assert not np.array_equal(shuffled, parts["train"])
        order = np.lexsort(shuffled.T)
        np.testing.assert_array_equal(shuffled[order], parts["train"][np.lexsort(parts["train"].T)])


@pytest.mark.parametrize("kind", LOADERS)
def test_the_seed_makes_the_order(kind: str, small: Path) -> None:
    loader = _loader(kind, small)
    first, again, other = (_all(list(loader.shuffled(np.random.default_rng(seed)))) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_streaming_mixes_rows_of_different_chunks(tmp_path: Path) -> None:
    n, chunk = 20_000, 1_000
    write_tree(tmp_path / "events.root", {"x": np.arange(n, dtype=np.float64)})
    write_tree(tmp_path / "weights.root", {"w": np.arange(n, dtype=np.float64)})
    data = Paired(
        Source([str(tmp_path / "events.root")], None, ["x"]),
        Source([str(tmp_path / "weights.root")], None, ["w"]),
        1,
    )
    order = _all(list(LOADERS["hybrid"](data, (1, 0, 0), chunk).shuffled(np.random.default_rng(0))))[:, 0]
    chunks_in_a_batch = [len(np.unique(order[at : at + 512] // chunk)) for at in range(0, n - 512, 512)]
    assert np.median(chunks_in_a_batch) >= 3


def test_reading_ahead_hands_errors_on() -> None:
    def items():
        yield 1
        raise ValueError("in the thread")

    found = []
    with pytest.raises(ValueError, match="in the thread"):
        found.extend(ahead(items()))
    it = ahead(iter(range(10**9)))
    assert next(it) == 0
    it.close()  # type: ignore[attr-defined] - must not hang


@pytest.mark.parametrize("kind", LOADERS)
def test_files_of_different_types_are_one_run_of_one_type(kind: str, tmp_path: Path) -> None:
    """The first file in double precision, the second in single: no loader may read one as the other."""
    values = np.arange(2000) / 3
    for i, dtype in enumerate((np.float64, np.float32)):
        part = values[1000 * i : 1000 * (i + 1)].astype(dtype)
        write_tree(tmp_path / f"events{i}.root", {"x": part})
        write_tree(tmp_path / f"weights{i}.root", {"w": part.astype((np.float32, np.float64)[i])})
    data = Paired(
        Source([str(tmp_path / "events*.root")], None, ["x"]),
        Source([str(tmp_path / "weights*.root")], None, ["w"]),
        1,
    )
    loader = LOADERS[kind](data, (1, 0, 0), 150)
    blocks = list(loader.shuffled(np.random.default_rng(0)))
    assert {block.inputs.dtype for block in blocks} == {np.dtype(np.float64)}
    rows = _all(blocks)
    np.testing.assert_allclose(np.sort(rows[:, 0]), values, rtol=1e-6)
    np.testing.assert_allclose(rows[:, 1], rows[:, 0], rtol=1e-6)
