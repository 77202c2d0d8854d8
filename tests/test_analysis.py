"""Discriminants and likelihoods from weight files: right numbers, exact and learned on the same events."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from conftest import write_tree

import deepmem
from deepmem import UsageError, Weight, Weights
from deepmem.cli import main as cli
from deepmem.data.weights import read_weights
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
    fails("one for each of b, c", files["signal"], background=["b", "c"], kappa=[1, 2, 3])
    fails("no branch 'lable'", files["signal"], label="lable")
    assert not (tmp_path / "none").exists()


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
