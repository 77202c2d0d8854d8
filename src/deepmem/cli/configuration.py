"""The command about the input file: its keys, and whether one is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepmem.cli import console, options
from deepmem.errors import UsageError

if TYPE_CHECKING:
    from deepmem.config import Config


def config(
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of the input file.")
    ] = False,
    check: Annotated[
        str | None, typer.Option(help="Check an input file and print what it means.", metavar="F")
    ] = None,
    debug: options.Debug = False,
) -> None:
    """List the keys of the input file, or check one."""
    from deepmem.columns import misgivings
    from deepmem.config import Config

    if schema == (check is not None):
        raise UsageError("deepmem config needs either --schema or --check F")
    if check is None:
        console.print_json(Config.model_json_schema())
        return
    settings = Config.load(check, need=())
    _check_physics(settings)
    columns = settings.described if settings.prefixes else ()  # an input file for exact weights has none
    for text in misgivings(columns):
        console.Console().warning(text)
    recognised = {each.name: each.meaning for each in columns}
    found: dict[str, Any] = {"columns": [*recognised], **({"recognised": recognised} if recognised else {})}
    if settings.located is not None:
        found["objects"] = settings.located.to_dict()["objects"]
    if settings.variations:
        from deepmem.jobs.events import check_variations

        check_variations(settings)
    if settings.located is not None and settings.input_paths:
        from deepmem.jobs.events import first_values

        found["taken_from"] = first_values(settings)
    console.print_json(settings.model_dump(exclude={"said"}, by_alias=True) | found)


def _check_physics(settings: Config) -> None:
    """**Raises** `UsageError` where no command could use column names, cuts or responses."""
    from deepmem.selection import Selection

    if settings.column_names:
        from deepmem.columns import check_column_names
        from deepmem.physics.processes import known_columns

        check_column_names(settings.column_names, known_columns(settings.columns_of_tags))
    Selection.of(settings.selection)
    if settings.response:
        from deepmem.physics.detector.entries import OF_ENERGIES, detector

        detector(settings.response, OF_ENERGIES, missing=True)
