"""Events and cross-sections that several processes compute: in order, the same bits, and kept."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from killing import Killing, KillingOnce, KillingPiece

from deepmem.errors import DeepMEMError, Interrupted, UsageError
from deepmem.events import pythia
from deepmem.jobs import generation
from deepmem.jobs.contents import Contents, Everywhere
from deepmem.jobs.environment import cores_here
from deepmem.jobs.in_order import InOrder
from deepmem.jobs.kept import Kept
from deepmem.jobs.workers import Workers
from deepmem.physics.weights.leading_order import BATCH, cross_section, draw_events

CUTS = {"lepton_pt": 20}
REACTION = "z=p p > z, z > e+ e-"


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    crew = Workers([[core] for core in cores_here()[:2]])
    yield crew
    crew.close()


def together(workers: Workers, kept: Kept | None = None) -> InOrder:
    return InOrder(lambda: workers, at_once=True, kept=kept)


def squares(results: Iterable[dict[str, np.ndarray]]) -> list[int]:
    return [int(each["square"]) for each in results]


def test_results_come_in_order_though_a_worker_dies(workers: Workers, tmp_path: Path) -> None:
    mapper, work = together(workers), KillingOnce(os.getpid(), str(tmp_path), at=3)
    # of arguments without end some are computed for nothing, and the next map is not confused by them
    assert squares(islice(mapper(work, count()), 20)) == [n**2 for n in range(20)]
    assert (tmp_path / "killed").exists()
    assert squares(mapper(work, range(7, 9))) == [49, 64]


def test_what_a_worker_raises_is_raised(workers: Workers, tmp_path: Path) -> None:
    work = KillingOnce(os.getpid(), str(tmp_path), raises=2)
    with pytest.raises(UsageError, match="2 is refused"):
        squares(together(workers)(work, range(4)))


def test_an_argument_that_kills_every_worker_is_said(workers: Workers) -> None:
    work = KillingPiece(Killing(os.getpid(), at=(1,)))
    pieces = [(np.zeros((1, 1)), np.array([n])) for n in range(2)]
    with pytest.raises(DeepMEMError, match="has ended 3 workers"):
        list(together(workers)(work, pieces))


def test_what_was_computed_is_not_computed_again(workers: Workers, tmp_path: Path) -> None:
    def results(mapper: InOrder, work: Callable[[int], dict[str, np.ndarray]]) -> list[int]:
        return squares(mapper(work, range(4)))

    refusing = KillingOnce(os.getpid(), str(tmp_path), raises=3)
    for mapper in (InOrder(None, kept=_kept(tmp_path)), together(workers, _kept(tmp_path))):
        with pytest.raises(UsageError):
            results(mapper, refusing)
    there = sorted(_kept(tmp_path).names())
    assert there[:3] == [f"0000-{n:08d}" for n in range(3)]
    again = InOrder(None, kept=_kept(tmp_path))
    assert results(again, lambda n: {"square": np.array(100 + n)}) == [0, 1, 4, 103]
    _kept(tmp_path).remove()
    assert list(tmp_path.iterdir()) == []


def _kept(folder: Path) -> Kept:
    return Kept(folder / "out.root", {"of": "this call"})


def test_a_short_call_starts_no_worker(tmp_path: Path) -> None:
    def start() -> Workers:
        raise AssertionError("nobody is needed")

    with InOrder(start) as mapper:
        assert squares(mapper(KillingOnce(os.getpid(), str(tmp_path)), range(3))) == [0, 1, 4]


def backwards(work: Callable[[Any], Any], arguments: Iterable[Any]) -> Iterator[Any]:
    """A mapper that computes several arguments ahead, the last one first, as another process would: with a
    work and arguments that were pickled."""
    arguments = iter(arguments)
    while some := list(islice(arguments, 3)):
        found = {k: pickle.loads(pickle.dumps(work))(each) for k, each in reversed([*enumerate(some)])}
        yield from (found[k] for k in range(len(some)))


@pytest.mark.parametrize("process", ["drell_yan", REACTION])
def test_a_cross_section_and_events_are_the_same_by_whoever(process: str) -> None:
    settings: dict[str, Any] = {} if process == "drell_yan" else {"window": 15}
    one, other = (
        cross_section(process, CUTS, points=4 * BATCH, quiet=True, mapper=mapper, **settings)
        for mapper in (map, backwards)
    )
    assert one == other
    here = draw_events(process, 100, 3, CUTS, **settings)
    there = draw_events(process, 100, 3, CUTS, mapper=backwards, **settings)
    assert here.visible == there.visible
    for name, column in here.columns.items():
        np.testing.assert_array_equal(column, there.columns[name])


def test_a_work_is_refused_where_its_files_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It travels with the digests of the density, the model and the histograms that it was made with."""
    contents = Contents("drell_yan", None, {})
    assert list(Everywhere(backwards, contents)(abs, range(-3, 0))) == [3, 2, 1]
    here = contents.digests()
    monkeypatch.setattr(Contents, "digests", lambda self: here | {"pdf_sha256": "of another grid"})
    sent = pickle.dumps(next(iter(Everywhere(lambda work, arguments: iter([work]), contents)(abs, ()))))
    monkeypatch.undo()
    with pytest.raises(DeepMEMError, match="the density grid is not what it was when the call began"):
        pickle.loads(sent)


def test_parts_of_pythias_events_are_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pythia.generate("drell_yan", 40, seed=5)
    monkeypatch.setattr(pythia, "_PART", 16)
    one, other = pythia.generate("drell_yan", 40, 5), pythia.generate("drell_yan", 40, 5, mapper=backwards)
    assert (one.cross_section, one.error) == (other.cross_section, other.error)
    assert one.cross_section == pytest.approx(whole.cross_section, rel=0.5)
    for name, column in one.columns.items():
        np.testing.assert_array_equal(column, other.columns[name])
    pt = one.columns["lep1_PT"]
    np.testing.assert_array_equal(pt[:16], whole.columns["lep1_PT"][:16])
    assert not np.isin(pt[16:], whole.columns["lep1_PT"]).any()
    assert len(np.unique(pt)) == 40


def test_an_interrupted_sample_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pythia, "_PART", 16)
    sample, made = pythia._Sample.__call__, list[tuple[int, int]]()
    stop: int | None = 2

    def stopped(self: Any, piece: tuple[int, int]) -> Any:
        if piece in made or piece[0] == stop:
            raise KeyboardInterrupt
        made.append(piece)
        return sample(self, piece)

    output = tmp_path / "e.root"
    monkeypatch.setattr(pythia._Sample, "__call__", stopped)
    with pytest.raises(Interrupted, match="the same command continues"):
        generation.generate_events("drell_yan", 40, 5, output)
    assert not output.exists()
    stop = None
    done = generation.generate_events("drell_yan", 40, 5, output)
    assert made == [(0, 16), (1, 16), (2, 8)]
    monkeypatch.undo()
    with uproot.open(output) as file:
        assert file["events"].num_entries == done.events == 40
    assert [path.name for path in tmp_path.iterdir()] == ["e.root"]


def test_a_sample_begins_again_where_a_file_that_it_read_is_another(tmp_path: Path) -> None:
    """A histogram and a card of parameters are known by content, not by name."""
    histogram, card, output = tmp_path / "tf.root", tmp_path / "card.dat", tmp_path / "e.root"
    response = {"lepton": {"file": f"{histogram}:h"}}
    settings = {"response": response, "param_card": str(card)}

    def parts() -> Kept:
        return Kept(output, generation._about(REACTION, 40, 5, True, settings))

    histogram.write_bytes(b"one")
    card.write_text("BLOCK MASS\n 23 91.0\n")
    for change in (lambda: histogram.write_bytes(b"two"), lambda: card.write_text("BLOCK MASS\n 23 91.1\n")):
        parts().save("0000", {"made": np.zeros(1)})
        assert list(parts().names()) == ["0000"]
        change()
        assert list(parts().names()) == []
    with pytest.raises(UsageError, match="one of the input files"):
        generation.generate_events(REACTION, 40, 5, histogram, response=response)
    assert histogram.read_bytes() == b"two"
