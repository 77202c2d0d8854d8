"""The page of a report: one HTML file that needs nothing but itself.

Figures are inside, no script, no address is fetched.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from deepmem.evaluation.honesty import Honesty

_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --back: #fff; --soft: #f3f5f7; --line: #d5dae0;
        --faint: #57606a; --good: #1a7f37; --care: #9a6700; --bad: #cf222e; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ec; --back: #14171b; --soft: #1f242a; --line: #3a424b; --faint: #a0a9b3;
          --good: #4ac26b; --care: #e0b13a; --bad: #ff7b72; }
  img { filter: invert(.92) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 68rem; color: var(--text); background: var(--back);
       font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: .5rem 0 0; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
.faint, figcaption { color: var(--faint); font-size: .9rem; }
.verdict { list-style: none; padding: 0; display: grid; gap: .6rem; }
.verdict li { background: var(--soft); border-left: .4rem solid var(--mark); padding: .6rem .8rem; }
.verdict b { color: var(--mark); }
.good { --mark: var(--good); } .care { --mark: var(--care); } .bad { --mark: var(--bad); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; }
figure { margin: 0; max-width: 36rem; break-inside: avoid; }
img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
.wide td:first-child { min-width: 7rem; } .wide td + td { white-space: nowrap; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0;
         border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
table.pairs th { width: 40%; font-weight: normal; color: var(--faint); }
.wide { overflow-x: auto; overflow-wrap: normal; }
code, .hash { font: .85em/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
pre { background: var(--soft); padding: .6rem .8rem; white-space: pre-wrap; }
@media print {
  :root { --text: #000; --back: #fff; --soft: #fff; --line: #999; --faint: #333;
          --good: #1a7f37; --care: #7a5200; --bad: #b00; color-scheme: light; }
  img { filter: none; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .figures { grid-template-columns: 1fr 1fr; }
  .verdict li { border: 1px solid var(--line); border-left: .4rem solid var(--mark); }
  h2, h3 { break-after: avoid; }
  tr, li { break-inside: avoid; }
}
"""
ATTACHED = ("refine", "discriminate", "likelihood")
"""Jobs whose results a page may have, in this order."""
_WORD = {"good": "Reliable", "care": "With care", "bad": "Not reliable"}


def page(numbers: Mapping[str, Any], figures: Mapping[str, list[tuple[bytes, str]]]) -> str:
    names = list(numbers["weights"])
    several = len(numbers["verdict"]) > 1
    about = [numbers[part]["title"] for part in ATTACHED if part in numbers]
    title = f"DeepMEM: {'what to rely on in ' * bool(names)}{', '.join(names or about)}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="faint">{escape(numbers["made"])} · Δ = log10(w_pred/w_true) · '
        "errors are one standard deviation</p>",
        "<h2>Verdict</h2>" if numbers["verdict"] else "",
        *(
            (f"<h3>{escape(name)}</h3>" if several else "") + _verdict_list(sentences)
            for name, sentences in numbers["verdict"].items()
        ),
    ]
    for name in names:
        body += [
            f"<h2>{escape(name)}</h2>",
            _gallery(figures[name]),
            *_weight_tables(numbers["weights"][name]),
        ]
    for name in ATTACHED:
        if name in numbers:
            part = numbers[name]
            body.append(f"<h2>{escape(part.get('title', name))}</h2>")
            body += [f"<p>{escape(sentence)}</p>" for sentence in part.get("summary", ())]
            body.append(_gallery(figures[f"{name}.json"]))
    if numbers["training"]:
        body += ["<h2>Training</h2>", _gallery(figures[""]), _pairs(numbers["training"])]
    if numbers["data"]:
        body += ["<h2>Data card</h2>", *map(_file, numbers["data"])]
    for name in names:
        if dropped := numbers["weights"][name].get("left_out_by_reason"):
            body += [f"<h3>Left out of the comparison ({escape(name)})</h3>", _pairs(dropped)]
    if numbers["model"]:
        body += ["<h2>Model card</h2>", _pairs(numbers["model"])]
    body += ["<h2>Versions</h2>", _pairs(numbers["versions"])]
    commands = "\n".join(map(escape, numbers["commands"]))
    body += ["<h2>To do it again</h2>", f"<pre><code>{commands}</code></pre>"]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, body))
        + "\n</body>\n</html>\n"
    )


def _verdict_list(sentences: list[dict[str, str]]) -> str:
    items = [
        f'<li class="{each["judgement"]}"><b>{escape(each["about"].capitalize())}: '
        f"{_WORD[each['judgement']].lower()}.</b> {escape(each['text'])}</li>"
        for each in sentences
    ]
    return f'<ul class="verdict">{"".join(items)}</ul>'


def _gallery(pictures: list[tuple[bytes, str]]) -> str:
    if not pictures:
        return ""
    items = [
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for png, caption in pictures
    ]
    return f'<div class="figures">{"".join(items)}</div>'


def _weight_tables(figures: Mapping[str, Any]) -> Iterator[str]:
    honesty = Honesty.from_dict(figures["honesty"])
    floor = honesty.noise_floor_q68
    rows = {
        "events compared": figures["events"],
        "left out (no positive weight in both)": figures["left_out"],
        "|Δ| of 68 % of events below": figures["q68"],
        "|Δ| of 95 % of events below": figures["q95"],
        "|Δ| of 99.9 % of events below": figures["q999"],
        "median of Δ": figures["median"],
        "bias of the weight (sum)": figures["bias"],
        "your labels allow no better than |Δ| for 68 %": "the labels have no errors"
        if floor is None
        else floor,
    }
    yield "<h3>Accuracy, flagged events included</h3>"
    yield _pairs(rows)
    yield "<h3>By status of the prediction</h3>"
    header = ("status", "events", "share", "|Δ| of 68 %", "|Δ| of 95 %", "in 68 %", "in 95 %")
    yield _table(
        header,
        [
            (
                f"{status.value} {status.meaning}".partition(":")[0],
                _text(found.events),
                f"{100 * found.fraction:.2f} %",
                _text(found.q68),
                _text(found.q95),
                _share(found.in_68),
                _share(found.in_95),
            )
            for status, found in honesty.predicted_by_status.items()
        ],
    )
    if by_status := honesty.truth_by_status:
        yield "<h3>By status of the label: errors are judged on status 0 alone</h3>"
        yield _pairs({key.partition(":")[0]: number for key, number in by_status.items()})
    if honesty.bins:
        yield "<h3>Coverage in ten bins of predicted weight, deviation in standard errors</h3>"
        yield _table(
            ("−log10 w", "events", "in 68 %", "σ", "in 95 %", "σ"),
            [
                (
                    f"{bin.low:.2f} to {bin.high:.2f}",
                    _text(bin.events),
                    *(
                        text
                        for interval in (bin.figures.in_68, bin.figures.in_95)
                        for text in (_share(interval.covered), f"{interval.deviation:+.1f}")
                    ),
                )
                for bin in honesty.bins
            ],
        )


def _share(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f} %"


def _file(entry: Mapping[str, Any]) -> str:
    digest = entry.get("sha256")
    text = f"SHA-256 {digest}" if digest else "no hash: read from an address"
    return (
        f"<p>{escape(str(entry['path']))}, tree {escape(str(entry['tree']))}, "
        f"{entry['entries']:,} entries<br>"
        f'<span class="hash faint">{escape(text)}</span></p>'
    )


def _pairs(values: Mapping[str, Any]) -> str:
    rows = [
        f"<tr><th>{escape(key.replace('_', ' '))}</th><td>{escape(_text(value))}</td></tr>"
        for key, value in _flat(values)
    ]
    return f'<table class="pairs">{"".join(rows)}</table>'


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}: ")
        else:
            yield f"{above}{key}", value


def _text(value: Any) -> str:
    """A value as a person reads it: thousands apart, four digits of what is not a whole number."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(lines)}</table></div>'
