"""Discriminants and likelihoods from weight files: right numbers, exact and learned on the same events."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from conftest import strict_json, write_tree

import deepmem
from deepmem import DeepMEMError, UsageError, Weight, Weights
from deepmem.cli import judged
from deepmem.cli import main as cli
from deepmem.data.files import json_text
from deepmem.data.weights import read_weights
from deepmem.evaluation.report import write_evidence
from deepmem.jobs.visible import VisibleCrossSection, visible_cross_section
from deepmem.physics.weights import leading_order
from deepmem.physics.weights.hypothesis import hypothesis


def write(path: Path, values: dict[str, np.ndarray], error: float = 0.0, **about: Any) -> str:
    """A weight file; weights of 0 have status 2, and NaN ones 3."""
    weights = {
        name: Weight(v, error * v, np.where(np.isnan(v), 3, np.where(v == 0, 2, 0)).astype(np.int32))
        for name, v in values.items()
    }
    Weights(weights, about).to_root(path)
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Signal and background events whose exact log ratio is Gaussian, ±1 wide and 2 apart; learned weights
    of the same with noise."""
    rng = np.random.default_rng(1)
    made = {}
    for name, mean in (("signal", 1.0), ("background", -1.0)):
        ratio = rng.normal(mean, 1, 3000)
        ratio[:3] = 0
        exact = {"s": 2e-10 * np.exp(ratio), "b": np.full(3000, 1e-10), "c": np.full(3000, 3e-10)}
        exact["s"][0] = exact["b"][0] = exact["c"][0] = 0.0
        exact["b"][1], exact["s"][2] = np.nan, 0.0
        made[name] = write(tmp_path / f"{name}.root", exact)
        noise = np.exp(0.3 * rng.normal(size=3000))
        made["learned " + name] = write(tmp_path / f"l_{name}.root", exact | {"s": exact["s"] * noise})
    return made


GIVEN: dict[str, Any] = {"sigma_signal": 2.0, "sigma_background": [1.0]}


def test_auc_of_two_gaussians_and_the_difference_to_learned(files: dict[str, str], tmp_path: Path) -> None:
    found = deepmem.discriminate(
        [files["signal"], files["background"]], "s", "b", **GIVEN, output=tmp_path / "post",
        learned=[files["learned signal"], files["learned background"]],
    )  # fmt: skip
    from scipy.stats import norm

    exact, learned = found["auc"]["exact"], found["auc"]["learned"]
    assert abs(exact["value"] - norm.cdf(2 / 2**0.5)) < 4 * exact["error"]
    assert abs(learned["value"] - norm.cdf(2 / (2 * 1.09) ** 0.5)) < 4 * learned["error"]
    difference = found["auc_exact_minus_learned"]
    assert difference["value"] == pytest.approx(exact["value"] - learned["value"])
    assert 0 < difference["error"] < 0.5 * exact["error"]  # the events are the same
    assert (found["events"], found["without_discriminant"], found["both_weights_zero"]) == (6000, 4, 2)
    assert json.loads((tmp_path / "post" / "discriminate.json").read_text()) == found
    assert (tmp_path / "post" / "discriminate.png").read_bytes()[:4] == b"\x89PNG"
    d = read_weights(tmp_path / "post" / "discriminant.root", "D")
    s, b = (read_weights(files["signal"], name).value[3:] for name in "sb")
    np.testing.assert_allclose(d.value[3:3000], s / 2 / (s / 2 + b), rtol=1e-12)
    assert np.isnan(d.value[:2]).all()
    assert d.value[2] == 0
    assert d.status[:4].tolist() == [2, 3, 2, 0]


def test_labels_in_the_file_several_backgrounds_and_none(files: dict[str, str], tmp_path: Path) -> None:
    two = deepmem.discriminate([files["signal"], files["background"]], "s", "b", **GIVEN, output=tmp_path)
    is_signal = np.r_[np.ones(3000), np.zeros(3000)].astype(np.int32)
    columns: dict[str, np.ndarray] = {"is_signal": is_signal}
    for name in "sb":
        parts = [read_weights(files[sample], name) for sample in ("signal", "background")]
        columns[name] = np.concatenate([part.value for part in parts])
        columns[f"{name}_error"] = np.zeros(6000)
        columns[f"{name}_status"] = np.concatenate([part.status for part in parts])
    one = str(write_tree(tmp_path / "one.root", columns, "deepmem"))
    labelled = deepmem.discriminate([one], "s", "b", **GIVEN, label="is_signal", output=tmp_path)
    assert labelled["auc"] == two["auc"]
    unlabelled = deepmem.discriminate([files["signal"]], "s", "b", **GIVEN, output=tmp_path)
    assert "auc" not in unlabelled
    assert "needs labels" in unlabelled["remark"]
    deepmem.discriminate(
        [files["signal"]], "s", ["b", "c"], kappa=[1, 0.5], sigma_signal=2.0, sigma_background=[1.0, 3.0], output=tmp_path,
    )  # fmt: skip
    d = read_weights(tmp_path / "discriminant.root", "D").value[5]
    s, b, c = (read_weights(files["signal"], name).value[5] for name in "sbc")
    assert d == pytest.approx(s / 2 / (s / 2 + b + 0.5 * c / 3))


def test_what_is_wrong_is_said(files: dict[str, str], tmp_path: Path) -> None:
    def fails(says: str, *paths: str, **changes: Any) -> None:
        settings = {"signal": "s", "background": "b", **GIVEN, "output": tmp_path / "none"} | changes
        with pytest.raises(UsageError, match=says):
            deepmem.discriminate(list(paths), **settings)

    short = write(tmp_path / "short.root", {"s": np.ones(5), "b": np.ones(5)})
    fails("no weight 'bb'.*did you mean 'b'", files["signal"], background="bb")
    fails("must be of the same events", files["signal"], learned=[short])
    fails("does not say how s was computed.*Give σ_vis", files["signal"], sigma_signal=None)
    fails("each background once", files["signal"], background="s")
    two: dict[str, Any] = {"background": ["b", "c"], "sigma_background": [1.0, 1.0]}
    fails("--kappa: expected 2 .*each of b, c .*got 3", files["signal"], **two | {"kappa": [1, 2, 3]})
    fails("--kappa: expected 2 .*got 1", files["signal"], **two | {"kappa": [1]})
    fails("--sigma-background: expected 2 .*each of b, c .*got 1", files["signal"], background=["b", "c"])
    for kappa in (0.0, -1.0, np.nan, np.inf):
        fails(r"κ of b \(--kappa\) must be a number above 0", files["signal"], kappa=[kappa])
    fails("seed .*must be 0 or more, got -1", files["signal"], seed=-1)
    fails("no branch 'lable'", files["signal"], label="lable")
    assert not (tmp_path / "none").exists()


def test_labels_are_0_or_1(files: dict[str, str], tmp_path: Path) -> None:
    """NaN, −1 and 2 are no classes: a NaN is not zero, and would count as signal."""
    rng = np.random.default_rng(5)
    columns = {name: rng.uniform(1, 2, 40) for name in "sb"} | {
        f"{name}_status": np.zeros(40, np.int32) for name in "sb"
    }
    good = np.repeat([1.0, 0.0], 20)
    strange = good.copy()
    strange[[3, 5, 30]] = np.nan, np.nan, -1
    labels = {"good": good, "flag": good.astype(bool), "strange": strange}
    path = str(write_tree(tmp_path / "labels.root", columns | labels, "deepmem"))
    settings: dict[str, Any] = {**GIVEN, "output": tmp_path / "post"}
    with pytest.raises(
        UsageError, match=r"'strange' must be 1 .*: 3 of 40 .*-1, nan.*2 are NaN.*first of them entry 3"
    ):
        deepmem.discriminate([path], "s", "b", label="strange", **settings)
    found = [deepmem.discriminate([path], "s", "b", label=name, **settings) for name in ("good", "flag")]
    assert found[0]["auc"] == found[1]["auc"]


THETA = np.linspace(90, 92, 5)


def scan(path: Path, slope: float = 0.0, noise: float = 0.0, seed: int = 3) -> str:
    """Weights of a Gaussian of width 2 at θ, at events drawn for 91; `slope` shifts what is learned."""
    x = np.random.default_rng(7).normal(91, 2, 4000)
    rng = np.random.default_rng(seed)
    alpha = hypothesis("drell_yan", MZ=list(THETA))
    values = {}
    for name, theta in zip(alpha.names, THETA, strict=True):
        w = np.exp(-((x - theta - slope) ** 2) / 8)
        values[name] = w * (1 + noise * rng.normal(size=len(x)))
    return write(path, values, noise, hypotheses=[alpha.describe()])


def test_the_scan_finds_the_mean_of_a_gaussian(tmp_path: Path) -> None:
    exact, learned = scan(tmp_path / "w.root"), scan(tmp_path / "l.root", slope=0.05, noise=0.02)
    found = deepmem.likelihood(
        exact, "MZ", learned=learned, normalise=False, samples=80, true=91.0, output=tmp_path / "post"
    )
    x = np.random.default_rng(7).normal(91, 2, 4000)
    fit = found["interval_68"]["exact"]
    assert fit["best"] == pytest.approx(x.mean(), abs=0.002)
    assert fit["high"] - fit["low"] == pytest.approx(2 * 2 / 4000**0.5, abs=0.004)
    made = found["pseudo_experiments"]
    assert made["kind"] == "disjoint random subsamples"
    assert made["exact"]["pull_width"] == pytest.approx(1, abs=4 * made["exact"]["pull_width_error"])
    shift = made["learned_minus_exact"]
    assert shift["value"] == pytest.approx(-0.05, abs=4 * shift["error"] + 0.002)
    assert "biased where" in found["remark"]
    assert json.loads((tmp_path / "post" / "likelihood.json").read_text()) == found
    assert (tmp_path / "post" / "likelihood.png").read_bytes()[:4] == b"\x89PNG"


def test_sigma_comes_from_the_provenance_and_the_command_prints_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = scan(tmp_path / "w.root")
    found = deepmem.likelihood(path, "MZ", points=16384, output=tmp_path / "a")
    sigma = np.array(found["sigma_vis"]["pb"])
    assert 1300 < sigma[2] < 1600
    assert np.abs(np.diff(sigma, 2)).max() < 5  # smooth in the parameter

    def run(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["deepmem", *map(str, arguments)])
        monkeypatch.setattr(cli, "prepare_jax", lambda: None)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0)

    assert (
        run("likelihood", path, "--parameter", "MZ", "--without-sigma", "--output", tmp_path / "b", "--json")
        == 0
    )
    assert json.loads(capsys.readouterr().out)["parameter"] == "MZ"
    assert run("likelihood", path, "--parameter", "MX", "--output", tmp_path / "c") == 2
    assert "it has scans of MZ (drell_yan)" in capsys.readouterr().err
    one = "drell_yan_MZ_91"
    assert run("discriminate", path, "--signal", one, "--background", "drell_yan_MZ_90", "--sigma-signal", 1,
               "--sigma-background", 1, "--output", tmp_path / "d") == 0  # fmt: skip
    assert "needs labels" in capsys.readouterr().out
    with uproot.open(tmp_path / "d" / "discriminant.root") as file:
        assert file["deepmem"].num_entries == 4000


def parabolas(
    path: Path, values: np.ndarray, spikes: dict[float, float] | None = None, status: int = 0
) -> str:
    """The scan of events whose −2 log L of MZ is Gaussian, 91 ± 0.1; `spikes` are added at some values."""
    rng = np.random.default_rng(8)
    x = rng.normal(0, 1, 400)
    alpha = hypothesis("drell_yan", MZ=values.tolist())
    weights = {}
    for name, theta in zip(alpha.names, values, strict=True):
        w = np.exp(-(((x - x.mean()) - (theta - 91) / 2) ** 2) / 2) * np.exp(
            (spikes or {}).get(float(theta), 0.0) / 400
        )
        weights[name] = Weight(w, 0.01 * w, np.full(len(w), status, np.int32))
    Weights(weights, {"hypotheses": [alpha.describe()]}).to_root(path)
    return str(path)


def fit(path: str, folder: Path, **settings: Any) -> dict[str, Any]:
    return deepmem.likelihood(path, "MZ", normalise=False, output=folder / "post", **settings)


def test_a_scan_that_does_not_tell_its_interval_is_doubted(tmp_path: Path) -> None:
    """Too coarse, a spike, or two minima: the curve between the values is the spline's, not the events'."""
    fine = np.round(np.arange(90.6, 91.41, 0.1), 6)
    good = fit(parabolas(tmp_path / "good.root", fine), tmp_path)
    assert good["remarks"] == []
    assert good["interval_68"]["exact"]["doubts"] == []
    cases = {
        "steps of 5 are too coarse.*Scan more finely, in steps of about 0.1": (
            np.array([86.0, 91, 96]),
            None,
        ),
        "too coarse": (fine, {90.8: 60.0}),
        "2 minima within 4": (fine, {91.0: -3.0}),
        "no parabola": (fine, {91.0: 1.0}),
    }
    for i, (says, (values, spikes)) in enumerate(cases.items()):
        found = fit(parabolas(tmp_path / f"{i}.root", values, spikes), tmp_path)
        (remark,) = found["remarks"]
        assert re.search(says, remark), (says, remark)
        assert remark.startswith("MZ, exact: ")
        assert any(says.split(".*")[0] in text for text in found["summary"])
        assert strict_json((tmp_path / "post" / "likelihood.json").read_text())["remarks"] == [remark]


def test_a_true_value_outside_the_scan_is_refused(tmp_path: Path) -> None:
    path = parabolas(tmp_path / "w.root", np.linspace(90.6, 91.4, 9))
    for true in (np.nan, np.inf, 95.0):
        with pytest.raises(
            UsageError, match=r"--true .*: expected the true MZ, within the scan .* 90.6 to 91.4"
        ):
            fit(path, tmp_path, samples=5, true=true)
    with pytest.raises(UsageError, match=r"seed .*must be 0 or more, got -1"):
        fit(path, tmp_path, samples=5, seed=-1)


def test_pseudo_experiments_that_say_nothing_are_said(tmp_path: Path) -> None:
    path = parabolas(tmp_path / "w.root", np.linspace(90.6, 91.4, 9))
    said = " ".join(fit(path, tmp_path, samples=200)["summary"])
    assert "200 of 200 disjoint random subsamples of 2 events are left out" in said
    assert "nothing is said of bias and pulls: ask for fewer --samples" in said
    found = fit(path, tmp_path, samples=10)
    lost = found["pseudo_experiments"]["left_out_because_the_interval_leaves_the_scan"]
    assert (f"{lost} of 10 disjoint" in " ".join(found["summary"])) == bool(lost)


def test_statuses_are_counted_of_what_is_used(tmp_path: Path) -> None:
    """A weight that is NaN, zero or negative is not used, whatever its status says; nor is one that is good
    beside it."""
    rng = np.random.default_rng(9)
    weights = {
        name: Weight(rng.uniform(1, 2, 100), np.full(100, 0.1), np.zeros(100, np.int32)) for name in "sb"
    }
    weights["s"].value[:7], weights["b"].value[90:] = np.nan, -1.0
    weights["b"].status[20:25] = 3
    Weights(weights, {}).to_root(tmp_path / "w.root")
    found = deepmem.discriminate([tmp_path / "w.root"], "s", "b", **GIVEN, output=tmp_path / "post")
    assert found["without_discriminant"] == 22
    assert "s, exact: 100 with status 0, 78 of them used." in found["summary"]
    assert "b, exact: 95 with status 0, 78 of them used; 5 with status 3, left out." in found["summary"]
    assert "10 events have a negative exact weight, and so no discriminant" in found["remarks"]
    values = np.linspace(90.6, 91.4, 9)
    path = parabolas(tmp_path / "scan.root", values)
    names = hypothesis("drell_yan", MZ=values.tolist()).names
    learned = {name: read_weights(path, name) for name in names}
    learned[names[2]].value[:30], learned[names[3]].value[30:40] = 0.0, np.nan
    Weights(learned, {}).to_root(tmp_path / "l.root")
    scanned = fit(path, tmp_path, learned=tmp_path / "l.root")
    for source in ("exact", "learned"):
        assert f"drell_yan, {source}: 3,600 with status 0, 3,240 of them used." in scanned["summary"]
    assert scanned["statuses_used"]["learned"]["drell_yan"] == {"0 good": 3240}


def test_compare_says_which_weights_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Zero and negative ones have no logarithm: the sum without them is not that of all."""
    truth = np.random.default_rng(2).uniform(1, 2, 100)
    other = truth.copy()
    other[:10], other[10:13], other[13], truth[99] = 0.0, -other[10:13], np.nan, np.inf
    files = []
    for name, value in (("t", truth), ("p", other)):
        weight = Weight(value, np.full(100, 0.1), np.where(np.arange(100) == 50, 3, 0).astype(np.int32))
        Weights({"w": weight}, {}).to_root(tmp_path / f"{name}.root")
        files.append(str(tmp_path / f"{name}.root"))
    found = deepmem.compare(*files, tmp_path / "post")
    assert (found["events"], found["left_out"]) == (84, 16)
    assert found["left_out_by_reason"] == {
        "true weight NaN": 1,
        "true weight infinite": 1,
        "predicted weight NaN": 2,
        "predicted weight zero": 10,
        "predicted weight negative": 3,
    }
    judged._print_comparison(found)
    said = capsys.readouterr().out
    assert "left out: 10 with predicted weight zero" in said
    assert "left out in all: 16; sum and quantiles are of the others alone" in said


def test_statuses_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    status = np.zeros(50, np.int32)
    status[7:9] = 7
    weight = Weight(np.ones(50), np.ones(50), status)
    Weights({"w": weight, "w_two": weight}, {}).to_root(tmp_path / "w.root")
    path = str(tmp_path / "w.root")
    says = r"w.root.*: the branch w_status has 2 of 50 entries that are no status \(0 to 5\), such as 7 at entry 7"
    with pytest.raises(UsageError, match=says):
        deepmem.compare(path, path, tmp_path / "post", truth_name="w")
    with pytest.raises(UsageError, match=says):
        deepmem.discriminate([path], "w", "w_two", **GIVEN, output=tmp_path / "post")


def test_weights_of_other_programs_need_no_status(files: dict[str, str], tmp_path: Path) -> None:
    columns = {name: read_weights(files["signal"], name).value for name in "sb"}
    path = str(write_tree(tmp_path / "l.root", columns, "deepmem"))
    settings: dict[str, Any] = {**GIVEN, "output": tmp_path / "post"}
    found = deepmem.discriminate([files["signal"]], "s", "b", learned=[path], **settings)
    assert found["statuses_used"]["learned"]["s"] == {"0 good": 2998}
    with pytest.raises(UsageError, match="there is no weight 'c'; there are s, b"):
        deepmem.discriminate([path], "s", "c", **settings)


def test_files_of_json_are_strict(tmp_path: Path) -> None:
    """A weight of 1 has a logarithm of 0, so that a relative error of it is infinite: null in JSON."""
    value = np.random.default_rng(2).uniform(1, 2, 100)
    value[3] = 1.0
    one, other = (Weight(v, 0.1 * v, np.zeros(100, np.int32)) for v in (value, 1.1 * value))
    for name, weight in (("a", one), ("b", other)):
        Weights({"w": weight}, {}).to_root(tmp_path / f"{name}.root")
    deepmem.compare(str(tmp_path / "a.root"), str(tmp_path / "b.root"), tmp_path)
    write_evidence(tmp_path, {"w": (one, other)}, {})
    deepmem.report(tmp_path)
    for name in ("compare", "test", "report"):
        content = strict_json((tmp_path / f"{name}.json").read_text())
        figures = content if name == "compare" else content["weights"]["w"]
        assert figures["mape_of_log10_percent"] is None
    assert strict_json(json_text({"a": [np.float64("nan"), (1.0, -np.inf)]})) == {"a": [None, [1.0, None]]}


def test_a_sigma_that_nearly_reaches_its_precision_is_used_and_said(tmp_path: Path) -> None:
    """There is no option for less precision: the error is said, or the option that gives σ_vis."""
    rng = np.random.default_rng(6)
    names = ["higgs_4l", "zz_4l"]
    about = {"hypotheses": [hypothesis(name).describe() for name in names]}
    weights = {
        name: Weight(rng.uniform(1, 2, 50), np.full(50, 0.1), np.zeros(50, np.int32)) for name in names
    }
    Weights(weights, about).to_root(tmp_path / "w.root")

    def found(cuts: dict[str, Any]) -> VisibleCrossSection:
        return visible_cross_section(
            str(tmp_path / "w.root"), "higgs_4l", None, cuts, None, most=2 * leading_order.BATCH
        )

    near = found({"lepton_pt": 7, "mass": [115, 135]})
    assert 2e-3 < near.error_pb / near.pb < 2e-2
    assert any(re.search(r"known to [\d.]+ % only, after 32,768 points", text) for text in near.remarks)
    with pytest.raises(
        DeepMEMError, match=r"σ_vis of higgs_4l within .*\(--sigma-signal, --sigma-background\)"
    ):
        found({"lepton_pt": 55, "mass": [115, 135]})


def test_a_precision_that_is_a_text_is_called_one() -> None:
    text: Any = "0.01"
    says = "precision must be .* got '0.01', a str"
    with pytest.raises(UsageError, match=says):
        deepmem.compute({}, "drell_yan", precision=text)
    with pytest.raises(UsageError, match=says):
        leading_order.cross_section("drell_yan", precision=text)
