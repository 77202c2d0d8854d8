"""Errors are judged rightly, and the page says what its numbers say, whole, safe and without a network."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PICTURES

from deepmem import UsageError
from deepmem.cli import main as cli
from deepmem.evaluation import metrics
from deepmem.evaluation.honesty import Honesty
from deepmem.evaluation.report import report, write_evidence
from deepmem.evaluation.verdict import calibration
from deepmem.event import Status, Weight


@pytest.fixture(autouse=True)
def _figures_are_drawn() -> None:
    """Whatever was drawn of their kind before."""
    PICTURES.clear()


def weights(
    events: int = 20_000,
    *,
    error: float = 0.02,
    label_error: float = 0.01,
    quoted: float = 1.0,
    seed: int = 1,
) -> tuple[Weight, Weight]:
    """Noisy labels and noisy predictions of the same true weights, whose errors are `quoted` times the real
    ones; the last 100 events lie outside the training and are far off, two more have bad input."""
    rng = np.random.default_rng(seed)
    true = np.exp(rng.normal(-17, 1.5, events))
    label = true * (1 + label_error * rng.normal(size=events))
    learned = true * (1 + error * rng.normal(size=events))
    learned[-100:] *= 3
    status = np.zeros(events, np.int32)
    status[-100:] = 4
    learned[:2], status[:2] = np.nan, 3
    return (
        Weight(label, label_error * true, np.zeros(events, np.int32)),
        Weight(learned, quoted * error * true, status),
    )


def test_honest_errors_are_found_honest() -> None:
    found = Honesty.of(*weights())
    assert found.judged == 20_000 - 102
    assert found.pulls is not None
    assert found.pulls.width == pytest.approx(1, abs=0.02)
    assert found.coverage is not None
    assert found.coverage.in_68.covered == pytest.approx(0.6827, abs=0.01)
    assert found.coverage.in_95.covered == pytest.approx(0.95, abs=0.01)
    assert len(found.bins) == 10
    for bin in found.bins:
        assert abs(bin.figures.in_68.deviation) < 3.5
        assert abs(bin.figures.in_95.deviation) < 3.5
    assert max(bin.events for bin in found.bins) - min(bin.events for bin in found.bins) <= 1
    assert [figures.events for figures in found.predicted_by_status.values()] == [19_898, 2, 100]
    outside = found.of_status(Status.OUTSIDE_TRAINING)
    assert outside.q68 is not None
    assert outside.q68 > 0.4
    assert outside.in_95 == 0


@pytest.mark.parametrize("events", [20_000, 110])  # of few there are no bins
@pytest.mark.parametrize("error", [1.0, np.nan])
def test_what_was_found_of_errors_is_the_same_after_reading_its_file(
    events: int, error: float, tmp_path: Path
) -> None:
    pair = weights(events, quoted=error)
    write_evidence(tmp_path, {"DY": pair}, {})
    read = json.loads((tmp_path / "test.json").read_text())["weights"]["DY"]["honesty"]
    assert Honesty.from_dict(read) == Honesty.of(*pair)


def test_errors_that_are_too_small_are_found_out() -> None:
    coverage = Honesty.of(*weights(quoted=0.5)).coverage
    assert coverage is not None
    assert coverage.in_95.covered < 0.85
    assert coverage.in_95.deviation < -50


def test_the_noise_floor_is_what_the_true_weight_itself_reaches() -> None:
    rng = np.random.default_rng(3)
    true = np.exp(rng.normal(size=50_000))
    size = rng.choice([0.0, 0.001, 0.02], len(true))
    status = np.zeros(len(true), np.int32)
    label = Weight(true * (1 + size * rng.normal(size=len(true))), size * true, status)
    floor = Honesty.of(label, Weight(true, np.full(len(true), np.nan), status)).noise_floor_q68
    assert floor == pytest.approx(metrics.Residuals.of(label.value, true).q68, rel=0.05)


def test_without_errors_there_is_no_coverage() -> None:
    truth, learned = weights()
    nothing = np.full(len(truth), np.nan)
    found = Honesty.of(truth, Weight(learned.value, nothing, learned.status))
    assert found.judged == 0
    assert found.pulls is found.coverage is None
    assert found.bins == []
    found = Honesty.of(Weight(truth.value, nothing, truth.status), learned)
    assert found.noise_floor_q68 is None
    assert not found.truth_has_errors
    assert found.coverage is not None
    assert found.coverage.in_68.covered < 0.66  # the labels' own noise is taken for the model's


def test_quantiles_of_a_stratified_sample_are_those_of_all() -> None:
    rng = np.random.default_rng(1)
    easy, hard = np.abs(rng.normal(size=90_000)), 10 * np.abs(rng.normal(size=10_000))
    found = metrics.stratified_quantiles([easy[:2000], np.append(hard[:2000], np.nan)], [90_000, 10_000])
    assert found is not None
    for quantile, q in ((found.q68, 0.68), (found.q95, 0.95)):
        true = np.quantile(np.concatenate([easy, hard]), q)
        assert abs(quantile.value - true) < 3 * quantile.error < 0.2 * true
    assert metrics.stratified_quantiles([easy, np.array([np.nan])], [1, 1]) is None


# Written without an end tag.
VOID = {"meta", "img", "br"}
PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89"
    b"\0\0\0\rIDATx\x9cc\xf8\xff\xff?\0\x05\xfe\x02\xfe\xa75\x81\x84\0\0\0\0IEND\xaeB`\x82"
)


class Page(HTMLParser):
    """Tags, text and addresses of a page; fails where a tag is not closed in its turn."""

    def __init__(self, path: Path):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "action", "data")]
        assert not any(key.startswith("on") for key, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


def run_folder(folder: Path, pairs: dict[str, tuple[Weight, Weight]], **more: Any) -> Path:
    extra = {
        "command": "deepmem test --inputfile my.json",
        "weight_unit": "GeV^-2",
        "data": [
            {"path": 'a<script>&"b.root', "tree": "events", "entries": 60000, "sha256": "ab" * 32},
            {"path": "root://x/y.root", "tree": "events", "entries": 7, "sha256": None},
        ],
        "model_card": {
            "columns": ["lep1_PT", "MET"],
            "network": {"width": 64},
            "members": 5,
            "loss": 1.25e-4,
        },
        "weights": {"DY": {"left_out_by_reason": {"true weight NaN": 3}}},
    }
    write_evidence(folder, pairs, extra | more)
    lines = [{"epoch": i, "loss": 1 / i, "validation_loss": 2 / i, "seconds": 0.5} for i in (1, 2, 3)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_page_is_whole_safe_and_says_what_its_numbers_say(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", {"DY": weights(quoted=0.6)})
    part = {"title": "Back to exact", "summary": ["12 events & more."], "spent": 12,
            "figures": [{"file": "refine.png", "caption": "What it took."}]}  # fmt: skip
    (folder / "refine.json").write_text(json.dumps(part))
    (folder / "refine.png").write_bytes(PNG)
    result = report(folder)
    page = Page(folder / "report.html")
    numbers = json.loads((folder / "report.json").read_text())
    assert "script" not in page.tags
    assert {"html", "head", "title", "body", "h1"} <= set(page.tags)
    assert len(page.addresses) == page.tags.count("img") == 7  # five of the weight, training, refine
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    style = (folder / "report.html").read_text()
    for promise in ('name="viewport"', "@media print", "prefers-color-scheme: dark", "max-width: 100%"):
        assert promise in style
    assert "url(" not in style
    # the verdict comes first, and its numbers are those of report.json
    sentences = numbers["verdict"]["DY"]
    assert [s["about"] for s in sentences] == ["accuracy", "calibration", "coverage of the training range"]
    assert all(s["text"] in page.text for s in sentences)
    assert page.text.index(sentences[2]["text"]) < page.text.index("Accuracy, flagged")
    covered = numbers["weights"]["DY"]["honesty"]["coverage"]["within_1.96"]["covered"]
    assert sentences[1]["judgement"] == "bad"
    assert sentences[1]["text"].startswith("Do not rely on the errors")
    assert f"95 % intervals {100 * covered:.1f} ±" in sentences[1]["text"]
    figures = numbers["weights"]["DY"]
    for shown in (
        f"{figures['q68']:.4g}", f"{figures['bias']:.4g}", f"{figures['honesty']['noise_floor_q68']:.4g}",
        "a<script>&\"b.root", "ab" * 32, "60,000", "true weight NaN", "members", "12 events & more.",
        "What it took.", "deepmem test --inputfile my.json", "deepmem report",
    ):  # fmt: skip
        assert shown in page.text
    assert numbers["refine"]["spent"] == 12
    assert numbers["training"]["epoch_kept"] == 3
    assert numbers["weights"] == json.loads((folder / "test.json").read_text())["weights"]
    assert result["verdict"] == numbers["verdict"]


def test_a_folder_without_a_test_has_a_page_of_what_it_holds(tmp_path: Path) -> None:
    sentence = {"about": "bias", "judgement": "bad", "text": "Off by 3 %."}
    part = {"title": "Back to exact: DY", "summary": ["12 events."], "verdict": [sentence],
            "command": "deepmem refine a.root", "model_card": {"members": 5},
            "data": [{"path": "a.root", "tree": "events", "entries": 7, "sha256": None}]}  # fmt: skip
    folder = tmp_path / "w.root.refine"
    folder.mkdir()
    (tmp_path / "w.root").touch()
    (folder / "refine.json").write_text(json.dumps(part))
    result = report(tmp_path / "w.root")
    assert result["verdict"] == {"Back to exact: DY": [sentence]}
    page = Page(folder / "report.html")
    assert page.text.index("Off by 3 %.") < page.text.index("12 events.")
    for shown in ("DeepMEM: Back to exact: DY", "Bias: not reliable.", "members", "deepmem refine a.root"):
        assert shown in page.text
    (folder / "refine.json").rename(folder / "likelihood.json")
    (folder / "likelihood.json").write_text(json.dumps({"title": "Likelihood of MZ", "summary": []}))
    report(folder)
    assert "Verdict" not in Page(folder / "report.html").text


def test_a_few_events_that_are_all_covered_say_little_of_errors() -> None:
    judgement, text = calibration(Honesty.of(*weights(120, quoted=5.0)))
    assert judgement == "care"
    assert "as far as 18 events can tell" in text


@pytest.mark.parametrize(
    ("changes", "about", "judgement", "says"),
    [
        ({"error": 0.0005, "label_error": 0.001}, 0, "good", "labels' own noise allows"),
        ({"error": 0.5}, 0, "bad", "do not rely on single weights"),
        ({}, 1, "good", "can be relied on"),
        ({"quoted": 2.0}, 1, "care", "larger than they need be"),
        ({"events": 300}, 1, "care", "as far as 198 events can tell"),
        ({"events": 180}, 1, "care", "as far as 78 events can tell"),
        ({}, 2, "good", "covers the test sample"),
        ({"events": 5000}, 2, "care", "does not cover the test sample"),
    ],
)
def test_the_verdict_judges_honestly(
    changes: dict, about: int, judgement: str, says: str, tmp_path: Path
) -> None:
    write_evidence(tmp_path, {"DY": weights(**changes)}, {})
    (tmp_path / "test.npz").unlink()  # what figures show
    sentence = report(tmp_path)["verdict"]["DY"][about]
    assert sentence["judgement"] == judgement, sentence
    assert says in sentence["text"]


def test_two_weights_without_errors_and_without_the_rest(tmp_path: Path) -> None:
    truth, learned = weights(2000)
    nothing = np.full(2000, np.nan)
    pair = Weight(truth.value, nothing, truth.status), Weight(learned.value, nothing, learned.status)
    write_evidence(tmp_path, {"a": pair, "b": pair}, {})
    verdict = report(tmp_path)["verdict"]
    page = Page(tmp_path / "report.html")
    assert set(verdict) == {"a", "b"}
    assert "gives no errors of its own" in page.text
    assert "Training" not in page.text.split("Verdict")[1].split("Versions")[0].replace("training", "")
    (tmp_path / "test.npz").unlink()
    report(tmp_path)
    assert "img" not in Page(tmp_path / "report.html").tags


def test_without_a_test_there_is_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="run 'deepmem test' first"):
        report(tmp_path)
    monkeypatch.setattr("sys.argv", ["deepmem", "report", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    write_evidence(tmp_path, {"DY": weights(2000)}, {})
    monkeypatch.setattr("sys.argv", ["deepmem", "report", str(tmp_path), "--json"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    assert json.loads(capsys.readouterr().out)["verdict"]["DY"]


def test_errors_of_labels_on_a_wrong_scale_give_a_page(tmp_path: Path) -> None:
    """Errors 1e300 times the weights: their noise floor is no power of ten that a number can hold."""
    truth, predicted = weights(quoted=0.6)
    wrong = Weight(truth.value, truth.value * 1e300, truth.status)
    result = report(run_folder(tmp_path / "run", {"DY": (wrong, predicted)}))
    assert result["verdict"]["DY"]
