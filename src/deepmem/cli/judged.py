"""Commands that judge weights: compare two sets, tell signal from background, fit a parameter, report."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from deepmem.cli import console, options, values


def compare(
    truth: Annotated[str, typer.Argument(help="Weights taken as true.", metavar="TRUTH.root[:tree]")],
    predicted: Annotated[str, typer.Argument(help="Weights to judge.", metavar="PREDICTED.root[:tree]")],
    truth_name: Annotated[str | None, typer.Option("--truth", help="Branch of the true weight.")] = None,
    predicted_name: Annotated[str | None, typer.Option("--predicted", help="Branch of the other.")] = None,
    output: Annotated[str, typer.Option(help="Folder for the figure and the numbers.")] = "post",
    flagged: options.Flagged = False,
    force: options.Force = False,
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """Figures for any two sets of weights of the same events."""
    from deepmem.jobs import comparison

    result = comparison.compare(
        truth, predicted, output,
        truth_name=truth_name, predicted_name=predicted_name, flagged=flagged, force=force,
    )  # fmt: skip
    console.show(result, as_json, _print_comparison)


def _print_comparison(result: dict[str, Any]) -> None:
    console.print_figures(result)
    for what, counts in result["statuses"].items():
        for meaning, number in counts.items():
            typer.echo(f"  {what}: {number:,} with status {meaning}")
    for reason, number in result["left_out_by_reason"].items():
        typer.echo(f"  left out: {number:,} with {reason}")
    if left := result["flagged_left_out"]:
        typer.echo(f"  left out: {left:,} with status 4 in either (--flagged takes them)")
    if result["left_out"]:
        typer.echo(f"  left out in all: {result['left_out']:,}; sum and quantiles are of the others alone")
    for remark in result["remarks"]:
        typer.echo(f"  {remark}")
    typer.echo(f"figure: {result['figure']}")


def discriminate(
    weights: Annotated[
        list[str],
        typer.Argument(help="Weight files; signal events first, without --label.", metavar="W.root"),
    ],
    *,
    signal: Annotated[str, typer.Option(help="Name of the signal's weight.")],
    background: Annotated[list[str], typer.Option(help="Name of a background's weight (may be repeated).")],
    kappa: Annotated[
        list[float] | None, typer.Option(help="Factor of each background (1), one for each.")
    ] = None,
    sigma_signal: Annotated[float | None, typer.Option(help="σ_vis in pb; else computed.")] = None,
    sigma_background: Annotated[
        list[float] | None, typer.Option(help="σ_vis of each background in pb, one for each; else computed.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Branch that is 1 for signal, 0 for background.", metavar="BRANCH")
    ] = None,
    learned: Annotated[
        list[str] | None,
        typer.Option(help="Learned weights of the same events (may be repeated).", metavar="L.root"),
    ] = None,
    flagged: options.Flagged = False,
    force: options.Force = False,
    inputfile: options.OptionalInput = None,
    selection: options.Selection = None,
    output: options.Post = "post",
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 1,
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """How well weights tell a signal from backgrounds: discriminant and ROC curves."""
    from deepmem.jobs import discriminants

    result = discriminants.discriminate(
        weights,
        signal,
        background,
        kappa=kappa or (),
        sigma_signal=sigma_signal,
        sigma_background=sigma_background or (),
        selection=values.cuts(selection),
        config=inputfile,
        label=label,
        learned=learned or (),
        flagged=flagged,
        force=force,
        output=output,
        seed=seed,
    )
    console.show(result, as_json, console.print_summary)


def likelihood(
    weights: Annotated[str, typer.Argument(help="A file of compute --set NAME=A:B:STEP.", metavar="W.root")],
    *,
    parameter: Annotated[str, typer.Option(help="The parameter scanned.", metavar="NAME")],
    process: Annotated[str | None, typer.Option(help="Where the file has scans of several.")] = None,
    learned: Annotated[str | None, typer.Option(help="Learned weights of the same events.")] = None,
    flagged: options.Flagged = False,
    force: options.Force = False,
    inputfile: options.OptionalInput = None,
    selection: options.Selection = None,
    without_sigma: Annotated[
        bool, typer.Option("--without-sigma", help="Leave σ_vis out (biased where it varies).")
    ] = False,
    samples: Annotated[int, typer.Option(help="Pseudo-experiments: disjoint subsamples.")] = 0,
    true: Annotated[float | None, typer.Option(help="The true value, for bias and pulls.")] = None,
    output: options.Post = "post",
    seed: Annotated[int, typer.Option(help="Of the subsamples.")] = 1,
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """The likelihood of a parameter from a scan of weights: minimum, interval, bias and pulls."""
    from deepmem.jobs.likelihood import likelihood as scan

    result = scan(
        weights,
        parameter,
        process=process,
        learned=learned,
        flagged=flagged,
        force=force,
        selection=values.cuts(selection),
        config=inputfile,
        normalise=not without_sigma,
        samples=samples,
        true=true,
        output=output,
        seed=seed,
    )
    console.show(result, as_json, console.print_summary)


def report(
    folder: Annotated[
        str,
        typer.Argument(
            help="The run folder, after 'test'; or what refine, discriminate or likelihood wrote.",
            metavar="RUN_FOLDER",
        ),
    ],
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """One page that says what can be relied on: report.html in the folder, its numbers in report.json."""
    from deepmem.evaluation.report import report as write

    console.show(write(folder), as_json, _print_report)


def _print_report(result: dict[str, Any]) -> None:
    for name, sentences in result["verdict"].items():
        for sentence in sentences:
            typer.echo(f"{name}, {sentence['about']}: {sentence['text']}")
    typer.echo(f"\nreport:  {result['report']}\nnumbers: {result['numbers']}")
