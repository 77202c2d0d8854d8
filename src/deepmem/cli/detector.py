"""The command that finds what a detector's responses are."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from deepmem.cli import console, options
from deepmem.data.files import json_text
from deepmem.errors import UsageError


def responses(
    events: options.Events = None,
    *,
    truth: Annotated[
        str,
        typer.Option(
            help="What objects were: true_ (true_lep1_PT), TrueE (j1_TrueE), GenPart_ (a collection).",
            metavar="NAME",
        ),
    ],
    output: Annotated[str, typer.Option(help="Folder for the responses and their figures.")] = "responses",
    eta: Annotated[
        str | None, typer.Option(help="Where regions of |η| end: 1.5,2.5", metavar="ETA,…")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="gaussian, double_gaussian or crystal_ball; else the best.")
    ] = None,
    radius: Annotated[float, typer.Option(help="ΔR of a match.", min=0.0)] = 0.3,
    schema: options.EventSchema = None,
    inputfile: options.OptionalInput = None,
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """Fit the detector's responses to simulated events, and print them as configuration."""
    from deepmem.jobs.responses import responses as fit

    try:
        regions = [float(each) for each in (eta or "").split(",") if each.strip()]
    except ValueError:
        raise UsageError(f"--eta {eta}: expected numbers with commas between them, such as 1.5,2.5") from None
    result = fit(
        events or [], truth, output,
        config=inputfile, schema=schema, eta=regions, shape=shape, radius=radius, reporter=console.Console(),
    )  # fmt: skip
    console.show(result, as_json, _print)


def _print(result: dict[str, Any]) -> None:
    for each in result["fits"]:
        typer.echo(
            f"{each['of']}: {each['shape']}, {each['objects']:,} objects, distribution within "
            f"{100 * each['largest_difference']:.2g} %, χ² probability {each['probability']:.2g}",
            err=True,
        )
    for each in result["left_out"]:
        typer.echo(f"not fitted: {each}", err=True)
    typer.echo(f"figures and numbers: {result['file']}", err=True)
    typer.echo(json_text({"response": result["response"]}))
