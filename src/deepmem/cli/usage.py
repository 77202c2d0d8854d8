"""What `--help` adds to the commands: options in groups, and an example each."""

from __future__ import annotations

import re

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

_GROUPS = {
    "Files": (
        "inputfile", "output", "output_model", "model", "weight", "keep", "reasons", "assignments",
        "entries", "learned", "label", "truth_name", "predicted_name", "truth", "schema", "check", "single",
    ),
    "Physics": (
        "process", "settings", "pdf", "selection", "mass", "top_window", "dressed", "signal", "background",
        "kappa", "neutrinos", "sigma_signal", "sigma_background", "parameter", "without_sigma", "true",
        "eta", "shape", "radius", "parton", "parton_selection",
    ),
    "Precision": ("events", "precision", "calls", "seed", "tolerance", "budget", "audit", "samples"),
    "Learning": ("loader", "epochs", "mode", "resume", "learn", "compare_random"),
    "Running": (
        "device", "workers", "scheduler", "threads", "force", "flagged", "as_json", "debug", "version",
    ),
}  # fmt: skip

EXAMPLES = {
    "train": "deepmem train --inputfile my.json --epochs 200",
    "test": "deepmem test --inputfile my.json",
    "predict": "deepmem predict 'more/*.root' --model my.model --output weights.root",
    "export": "deepmem export my.model --output my.onnx",
    "compute": "deepmem compute tops.root --process ttbar_2l --set MT=172.5 --output exact.root",
    "refine": "deepmem refine e.root --process higgs_4l --model h.model --tolerance 0.01 --output w.root",
    "merge": "deepmem merge part1.root part2.root --output exact.root",
    "processes": "deepmem processes 'p p > t t~ h'",
    "generate": "deepmem generate ttbar_2l --events 10000 --output tops.root",
    "cross-section": "deepmem cross-section higgs_4l --selection '{\"lepton_pt\": [20, 10, 5]}'",
    "compare": "deepmem compare exact.root weights.root --truth drell_yan",
    "discriminate": "deepmem discriminate h.root zz.root --signal higgs_4l --background zz_4l",
    "likelihood": "deepmem likelihood scan.root --parameter MZ --samples 50",
    "report": "deepmem report my.model.run",
    "responses": "deepmem responses simulated.root --truth true_ --eta 1.5,2.5 --output responses",
    "config": "deepmem config --check my.json",
    "demo": "deepmem demo --output demo",
}


def command_line(app: typer.Typer) -> TyperGroup:
    """The command line of an app, with its options in groups and an example for each command."""
    whole = typer.main.get_command(app)
    assert isinstance(whole, TyperGroup)
    printable = verbatim if whole.rich_markup_mode == "rich" else str
    group_of = {option: group for group, options in _GROUPS.items() for option in options}
    for name, each in {"": whole, **whole.commands}.items():
        each.help = printable(each.help or "")
        if name in EXAMPLES:
            each.epilog = printable(f"Example: {EXAMPLES[name]}")
        for parameter in each.params:
            if isinstance(parameter, TyperOption | TyperArgument) and parameter.help:
                parameter.help = printable(parameter.help)
            if isinstance(parameter, TyperOption):
                parameter.rich_help_panel = group_of.get(parameter.name or "")
    return whole


def verbatim(text: str) -> str:
    """Markup that rich prints as `text`: `[b]` is no style, and `:B:` of A:B:STEP no emoji."""
    return re.sub(r":(?=\S*:)", ":[b][/b]", re.sub(r"\[(?=[a-z#/@])", r"\\[", text))
