"""Files that do not belong together are refused, whatever their lengths; how statuses enter is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import COLUMNS, UNCALIBRATED, configuration, write_tree

import deepmem
from deepmem import UsageError
from deepmem.data.weights import read_provenance, read_weights, write_weights
from deepmem.event import Status, Weight
from deepmem.jobs import exact
from deepmem.physics.weights.hypothesis import hypothesis
from deepmem.physics.weights.leading_order import BATCH, Disc, draw_events
from deepmem.reporter import Reporter

GIVEN = {"sigma_signal": 1.0, "sigma_background": [1.0]}


@pytest.fixture
def samples(drell_yan: dict[str, np.ndarray], tmp_path: Path) -> tuple[str, str]:
    """Two samples of one length."""
    paths = [
        write_tree(tmp_path / f"{name}.root", {c: drell_yan[c][rows] for c in COLUMNS})
        for name, rows in (("one", slice(0, 60)), ("two", slice(60, 120)))
    ]
    return str(paths[0]), str(paths[1])


@pytest.fixture
def weights(samples: tuple[str, str], tmp_path: Path) -> Callable[..., str]:
    """A file of weights of a sample, 0 or 1, under two names: made once for each call."""

    def made(sample: int, name: str, **settings: Any) -> str:
        path = tmp_path / name
        exact.compute_files([samples[sample]], path, ["drell_yan"], precision=0.05, **settings)
        return str(path)

    return made


def two_names(path: str, output: Path, **changed: Any) -> str:
    """The same file with a second weight, `other`: what two processes would give."""
    about = read_provenance(path)
    (entry,) = about["hypotheses"]
    second = entry | {"process": "other"} | {k: v for k, v in changed.items() if k != "sqrt_s"}
    if "sqrt_s" in changed:
        second |= {"parameters": entry["parameters"] | {"sqrt_s": changed["sqrt_s"]}}
    weight = read_weights(path, "drell_yan")
    with write_weights(output, ["drell_yan", "other"], about | {"hypotheses": [entry, second]}) as writer:
        noise = np.random.default_rng(1).uniform(0.5, 2, len(weight))
        writer.append(
            {"drell_yan": weight, "other": Weight(weight.value * noise, weight.error, weight.status)}
        )
    return str(output)


def test_learned_weights_of_other_events_are_refused(weights: Callable[..., str], tmp_path: Path) -> None:
    files = [two_names(weights(i, f"w{i}.root"), tmp_path / f"w{i}.two.root") for i in (0, 1)]
    learned = [two_names(weights(i, f"l{i}.root", seed=1), tmp_path / f"l{i}.two.root") for i in (0, 1)]
    settings: dict[str, Any] = {
        "signal": "drell_yan",
        "background": "other",
        **GIVEN,
        "output": tmp_path / "post",
    }
    found = deepmem.discriminate(files, learned=learned, **settings)
    assert found["remarks"] == []
    with pytest.raises(UsageError, match=r"not of the same events: .*lep1_PT.*have other values"):
        deepmem.discriminate(files, learned=learned[::-1], **settings)
    forced = deepmem.discriminate(files, learned=learned[::-1], force=True, **settings)
    assert "not of the same events" in forced["remarks"][0]
    with pytest.raises(UsageError, match="are of the same events: no signal and background"):
        deepmem.discriminate([files[0], learned[0]], **settings)


def test_events_that_come_twice_are_refused(
    weights: Callable[..., str], samples: tuple[str, str], tmp_path: Path
) -> None:
    """In any two files, whole or parts of a farm, copies too: as signal and background, or twice as one."""

    def two(sample: int, name: str, **settings: Any) -> str:
        return two_names(weights(sample, name, **settings), tmp_path / f"two.{name}")

    signal, background, part = two(0, "s.root"), two(1, "b.root"), two(0, "part.root", entries=(10, 30))
    copy, beside = two(1, "copy.root", seed=1), two(1, "beside.root", entries=(0, 20))
    both = tmp_path / "both.root"
    exact.compute_files([samples[1], samples[0]], both, ["drell_yan"], precision=0.05, entries=(50, 70))
    run = two_names(str(both), tmp_path / "two.both.root")
    exact.compute_files([samples[1]] * 2, tmp_path / "twice.root", ["drell_yan"], precision=0.05)
    twice = two_names(str(tmp_path / "twice.root"), tmp_path / "two.twice.root")
    settings: dict[str, Any] = {"signal": "drell_yan", "background": "other", **GIVEN, "output": tmp_path}
    cases = {
        r"two.s.root and .*two.part.root have 20 events in common: no signal": [signal, background, part],
        r"two.b.root and .*two.copy.root are of the same events: these count twice": [
            signal,
            background,
            copy,
        ],
        r"two.s.root and .*two.both.root have 10 events in common: no signal": [signal, run],
        r"two.b.root and .*two.both.root have 10 events in common: these count": [part, background, run],
        r"two.twice.root has 60 of its events twice": [signal, twice],
    }
    for says, files in cases.items():
        with pytest.raises(UsageError, match=says):
            deepmem.discriminate(files, **settings)
    forced = deepmem.discriminate([signal, background, copy], force=True, **settings)
    assert any("count twice" in text for text in forced["remarks"])
    assert deepmem.discriminate([part, beside], **settings)["remarks"] == []


@pytest.mark.parametrize("entries", [None, (10, 30)])
def test_events_of_a_file_that_was_written_anew_are_the_same(
    entries: tuple[int, int] | None,
    weights: Callable[..., str],
    drell_yan: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    """A copy with a further branch, in another order, and a part of it: their bytes say nothing."""
    order = np.random.default_rng(1).permutation(60)
    columns = {c: drell_yan[c][:60][order] for c in COLUMNS} | {"run": np.arange(60)}
    copy = write_tree(tmp_path / "copy.root", columns, "another")
    exact.compute_files([str(copy)], tmp_path / "c.root", ["drell_yan"], precision=0.05, entries=entries)
    files = [
        two_names(path, tmp_path / f"two.{i}.root")
        for i, path in enumerate((weights(0, "w.root"), str(tmp_path / "c.root"), weights(1, "b.root")))
    ]
    settings: dict[str, Any] = {"signal": "drell_yan", "background": "other", **GIVEN, "output": tmp_path}
    number = 60 if entries is None else 20
    with pytest.raises(UsageError, match=rf"have {number} events in common: no signal and background"):
        deepmem.discriminate(files[:2], **settings)
    assert deepmem.discriminate(files[::2], **settings)["remarks"] == []
    copy.unlink()  # nothing tells any more
    assert deepmem.discriminate(files[:2], **settings)["remarks"] == []


def test_weights_of_different_units_are_not_added(weights: Callable[..., str], tmp_path: Path) -> None:
    path = weights(0, "w.root")
    settings: dict[str, Any] = {
        "signal": "drell_yan",
        "background": "other",
        **GIVEN,
        "output": tmp_path / "post",
    }
    path = two_names(path, tmp_path / "u.root", unit="GeV^-4")
    with pytest.raises(
        UsageError, match=r"drell_yan GeV\^-2, other GeV\^-4.*depends on the unit.*--kappa.*GeV"
    ):
        deepmem.discriminate([path], **settings)
    found = deepmem.discriminate([path], kappa=[1e-6], **settings)
    assert found["kappa"] == [1e-6]
    remark = next(each for each in found["remarks"] if "nearly all D" in each)
    told = re.fullmatch(r"nearly all D are above 0.95: κ of other \(--kappa\) (\S+) brings .* to 0.5", remark)
    assert told is not None
    balanced = deepmem.discriminate([path], kappa=[float(told[1])], **settings)
    assert balanced["remarks"] == []
    d = read_weights(tmp_path / "post" / "discriminant.root", "D").value
    assert np.nanmedian(d) == pytest.approx(0.5, abs=0.02)
    forced = deepmem.discriminate([path], force=True, **settings)
    assert "κ = 1 was taken" in forced["remarks"][0]


def test_protons_of_another_energy_are_refused_and_another_density_is_said(
    weights: Callable[..., str], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "signal": "drell_yan",
        "background": "other",
        **GIVEN,
        "output": tmp_path / "post",
    }
    path = weights(0, "w0.root")
    with pytest.raises(UsageError, match="√s is 13000 GeV for drell_yan and 7000 for other"):
        deepmem.discriminate([two_names(path, tmp_path / "7.root", sqrt_s=7000.0)], **settings)
    found = deepmem.discriminate(
        [two_names(path, tmp_path / "p.root", pdf="another", pdf_sha256="0")], **settings
    )
    assert found["summary"][-1] == "drell_yan and other were computed with different pdf, pdf_sha256."
    # one name, two hypotheses: of the signal's events and of the background's
    files = [two_names(weights(i, f"s{i}.root", MZ=91.0 + i), tmp_path / f"s{i}.two.root") for i in (0, 1)]
    with pytest.raises(UsageError, match=r"drell_yan differs between .*: MZ 91.0, not 92.0"):
        deepmem.discriminate(files, **settings)


def test_compare_refuses_other_events(weights: Callable[..., str], tmp_path: Path) -> None:
    one, other = weights(0, "one.w.root"), weights(1, "two.w.root")
    again = weights(0, "again.w.root", seed=3)
    deepmem.compare(one, again, tmp_path / "post")
    with pytest.raises(UsageError, match="not of the same events"):
        deepmem.compare(one, other, tmp_path / "post")
    assert deepmem.compare(one, other, tmp_path / "post", force=True)["events"] == 60


def test_copies_of_events_are_the_same_events(
    weights: Callable[..., str], samples: tuple[str, str], drell_yan: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """In another file, with further branches and in single precision; a part of a farm is its own."""
    columns = {c: drell_yan[c][:60].astype(np.float32) for c in COLUMNS} | {"run": np.arange(60)}
    copy = write_tree(tmp_path / "copy.root", columns, "another")
    exact.compute_files([str(copy)], tmp_path / "c.root", ["drell_yan"], precision=0.05)
    deepmem.compare(weights(0, "w.root"), str(tmp_path / "c.root"), tmp_path / "post")
    parts = [weights(0, f"part{start}.root", entries=(start, start + 30)) for start in (0, 30)]
    with pytest.raises(UsageError, match="not of the same events"):
        deepmem.compare(*parts, tmp_path / "post")


def test_labels_in_the_wrong_order_are_refused(
    weights: Callable[..., str], samples: tuple[str, str], tmp_path: Path
) -> None:
    labels = [weights(i, f"w{i}.root") for i in (0, 1)]
    config = configuration(
        tmp_path,
        tmp_path,
        input_paths=list(samples),
        output_paths=labels[::-1],
        weights=["drell_yan"],
        epochs=1,
    )
    with pytest.raises(UsageError, match=r"w1.root are not those of the events in .*one.root.*order"):
        deepmem.train(config)
    mixed = [labels[0], weights(1, "w1b.root", MZ=80.0)]
    with pytest.raises(UsageError, match=r"not the weight of one hypothesis: .*MZ 91.188, not 80.0"):
        deepmem.train(config | {"output_paths": mixed})


def test_how_statuses_enter_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    status = np.zeros(400, np.int32)
    status[:5], status[5:9], status[9:11], status[11:12] = 1, 4, 2, 3
    value = rng.uniform(1, 2, 400)
    value[9:11], value[11] = 0, np.nan
    entry = hypothesis("drell_yan").describe()

    def file(name: str, error: float) -> str:
        about = {"hypotheses": [entry | {"process": "s"}, entry | {"process": "b"}]}
        with write_weights(tmp_path / name, ["s", "b"], about) as writer:
            other = Weight(rng.uniform(1, 2, 400), np.full(400, 0.01), np.zeros(400, np.int32))
            writer.append({"s": Weight(value, np.full(400, error), status), "b": other})
        return str(tmp_path / name)

    files = [file("s.root", 0.01), file("b.root", 0.01)]
    found = deepmem.discriminate(files, "s", "b", **GIVEN, output=tmp_path / "post")
    assert found["statuses"]["exact"]["s"][f"1 {Status.PRECISION.meaning}"] == 10
    (text,) = [text for text in found["summary"] if text.startswith("s, exact")]
    assert "10 with status 1, used with their errors" in text
    assert "8 with status 4, left out (--flagged takes them)" in text
    assert found["without_discriminant"] == 10
    asked = deepmem.discriminate(files, "s", "b", **GIVEN, flagged=True, output=tmp_path / "post")
    assert asked["without_discriminant"] == 2
    assert any("8 with status 4, used" in text for text in asked["summary"])


def test_what_missed_its_precision_widens_the_error_of_the_area(tmp_path: Path) -> None:
    def area(error: float, status: int) -> float:
        rng = np.random.default_rng(4)
        files = []
        for name, shift in (("s.root", 0.3), ("b.root", -0.3)):
            path = tmp_path / name
            values = [np.exp(sign * rng.normal(shift, 1, 300)) for sign in (1, -1)]
            with write_weights(path, ["s", "b"], {}) as writer:
                each = [Weight(v, error * v, np.full(300, status, np.int32)) for v in values]
                writer.append(dict(zip("sb", each, strict=True)))
            files.append(str(path))
        return deepmem.discriminate(files, "s", "b", **GIVEN, output=tmp_path / "post")["auc"]["exact"][
            "error"
        ]

    good, loose = area(1.0, Status.GOOD), area(1.0, Status.PRECISION)
    assert loose > 1.2 * good
    assert area(1e-6, Status.PRECISION) == pytest.approx(good, rel=1e-3)


def test_a_page_of_an_earlier_model_is_not_shown(small: Path, tmp_path: Path) -> None:
    """Train, test, train again: the old verdict is not that of the new model."""
    config = configuration(tmp_path, small, epochs=1, **UNCALIBRATED)
    deepmem.train(config)
    deepmem.test(config)
    deepmem.report(tmp_path / "run")
    deepmem.train(config | {"seed": 1})
    with pytest.raises(UsageError, match=r"of an earlier model.*run 'deepmem test' again"):
        deepmem.report(tmp_path / "run")
    (tmp_path / "lowest.model").unlink()
    with pytest.raises(UsageError, match=r"of an earlier model.*loss"):
        deepmem.report(tmp_path / "run")


def test_bad_weights_of_the_whole_file_are_counted(small: Path, tmp_path: Path, drell_yan: Any) -> None:
    values = drell_yan["weight_DY"][:2000].copy()
    values[[3, 1900, 1950]] = np.nan, 0.0, -1.0
    write_tree(tmp_path / "labels.root", {"weight_DY": values}, "weights")
    said: list[str] = []

    class Listening(Reporter):
        def message(self, text: str) -> None:
            said.append(text)

    paths = [str(tmp_path / "labels.root")]
    deepmem.train(
        configuration(tmp_path, small, output_paths=paths, epochs=1, **UNCALIBRATED), reporter=Listening()
    )
    assert "training part: 1,599 of 1,600 rows used; left out: 1 weight_DY: NaN" in said
    expected = "1 weight_DY: NaN, 1 weight_DY: negative, 1 weight_DY: zero"
    assert f"all 2,000 entries: left out by their weights: {expected}" in said


def test_events_outside_the_selection_are_left_out(tmp_path: Path) -> None:
    """σ_vis is of the selection, so is the likelihood: a narrower one gives the same mass, not another one."""
    wide: dict[str, Any] = {"lepton_pt": [25, 20], "lepton_eta": 2.4, "mass": [70, 110], "total_pt": [0, 40]}
    events = draw_events("drell_yan", 700, 21, wide, recoil=Disc(60.0), MZ=92.0).columns
    path = write_tree(tmp_path / "events.root", events)
    scan = tmp_path / "scan.root"
    exact.compute_files([str(path)], scan, ["drell_yan"], precision=0.01, MZ=[91.2, 91.6, 92.0, 92.4, 92.8])
    narrow = wide | {"mass": [85, 95]}
    fits = [
        deepmem.likelihood(scan, "MZ", selection=cuts, points=2 * BATCH, output=tmp_path / "post")
        for cuts in (wide, narrow)
    ]
    assert fits[0]["outside_selection"] == 0
    assert 25 < fits[1]["outside_selection"] < 400
    assert "outside the selection" in " ".join(fits[1]["summary"])
    for fit in fits:
        interval = fit["interval_68"]["exact"]
        half = (interval["high"] - interval["low"]) / 2
        assert interval["best"] == pytest.approx(92.0, abs=4 * half)
        assert half < 0.15
    path.unlink()
    unknown = deepmem.likelihood(scan, "MZ", selection=narrow, points=BATCH, output=tmp_path / "post")
    assert "whether the events are within the selection is not known" in unknown["remarks"][0]


def test_signal_and_background_in_the_wrong_order_are_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    files = []
    for name, shift in (("s.root", 1.0), ("b.root", -1.0)):
        values = [np.exp(sign * rng.normal(shift, 1, 300)) for sign in (1, -1)]
        with write_weights(tmp_path / name, ["s", "b"], {}) as writer:
            each = [Weight(v, 0.01 * v, np.zeros(300, np.int32)) for v in values]
            writer.append(dict(zip("sb", each, strict=True)))
        files.append(str(tmp_path / name))
    right, wrong = (
        deepmem.discriminate(f, "s", "b", **GIVEN, output=tmp_path / "post") for f in (files, files[::-1])
    )
    assert not any("right order" in text for text in right["remarks"])
    assert any("right order" in text for text in wrong["remarks"])


def test_compare_says_other_hypotheses_and_refuses_what_is_no_weight(
    weights: Callable[..., str], tmp_path: Path
) -> None:
    one, other = weights(0, "one.w.root"), weights(0, "two.w.root", MZ=90.0)
    found = deepmem.compare(one, other, tmp_path / "post")
    assert found["remarks"] == [
        "the two weights are of different hypotheses: MZ 91.188, not 90.0; Q 91.188, not 90.0"
    ]
    with pytest.raises(UsageError, match="'drell_yan_error' is the error of the weight 'drell_yan'"):
        deepmem.compare(
            one, other, tmp_path / "post", truth_name="drell_yan_error", predicted_name="drell_yan"
        )


def test_configurations_that_contradict_their_files_are_refused(
    weights: Callable[..., str], samples: tuple[str, str], tmp_path: Path
) -> None:
    base = configuration(
        tmp_path,
        tmp_path,
        input_paths=[samples[0]],
        output_paths=[weights(0, "w.root")],
        weights=["drell_yan"],
        epochs=1,
    )
    cases = {
        r"'process' is 'higgs_4l', and .*w.root has weights of 'drell_yan'": {"process": "higgs_4l"},
        "'drell_yan_status' is the status of the weight": {"weights": ["drell_yan_status"]},
        "'weight_errors' must name errors": {"weight_errors": ["drell_yan_status"]},
        "other 'column_names'": {"column_names": {"lep1_PT": "lep2_PT", "lep2_PT": "lep1_PT"}},
    }
    for says, change in cases.items():
        with pytest.raises(UsageError, match=says):
            deepmem.train(base | change)


def test_no_command_writes_over_what_it_reads(
    trained: tuple[dict[str, Any], Path], samples: tuple[str, str], tmp_path: Path
) -> None:
    model = tmp_path / "m.model"
    model.write_bytes(Path(trained[0]["save_lowest_loss_model_at"]).read_bytes())
    config = tmp_path / "c.json"
    config.write_text('{"unit": "GeV"}')
    events = [samples[0]]
    before = model.read_bytes(), config.read_text()
    with pytest.raises(UsageError, match="is one of the input files"):
        deepmem.predict(events, model, model=model)
    with pytest.raises(UsageError, match="is one of the input files"):
        deepmem.refine(events, model, "drell_yan", model, budget=5)
    with pytest.raises(UsageError, match="is one of the input files"):
        deepmem.refine(events, config, "drell_yan", model, budget=5, config=config)
    with pytest.raises(UsageError, match="is one of the input files"):
        exact.compute_files(events, config, ["drell_yan"], config=config)
    assert (model.read_bytes(), config.read_text()) == before


def test_a_model_file_whose_content_was_changed_is_damaged(
    trained: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    data = bytearray(Path(trained[0]["save_lowest_loss_model_at"]).read_bytes())
    data[len(data) // 2] ^= 1  # among the networks' numbers
    (tmp_path / "m.model").write_bytes(data)
    with pytest.raises(UsageError, match="damaged model file"):
        deepmem.Surrogate.load(tmp_path / "m.model")


def test_two_models_in_one_run_folder_are_told_apart(small: Path, tmp_path: Path) -> None:
    config = configuration(tmp_path, small, epochs=1, **UNCALIBRATED)
    deepmem.train(config)
    deepmem.test(config)
    deepmem.train(config | {"save_lowest_loss_model_at": str(tmp_path / "other.model"), "seed": 1})
    with pytest.raises(UsageError, match=r"of an earlier model.*loss"):
        deepmem.report(tmp_path / "run")
