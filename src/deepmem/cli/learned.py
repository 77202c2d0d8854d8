"""Commands about learned weights: train, test, predict, refine, and the demonstration of them all."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from deepmem.cli import console, options, values
from deepmem.errors import DeepMEMError, UsageError


def train(
    loader: options.Loader = None,
    device: options.Device = None,
    epochs: options.Epochs = None,
    inputfile: options.InputFile = options.DEFAULT_INPUT,
    mode: options.HiddenMode = "train",
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted training.")] = False,
    seed: Annotated[int | None, typer.Option(help="Same seed, same machine, same result.")] = None,
    force: options.Force = False,
    threads: options.Threads = None,
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """Learn weights from events; keep the model of the lowest validation loss."""
    _check_mode("train", mode)
    from deepmem.jobs import training

    model = training.train(
        inputfile,
        loader=loader,
        epochs=epochs,
        device=values.device(device),
        seed=seed,
        resume=resume,
        force=force,
        reporter=console.Console(),
    )
    if as_json:
        console.print_json(model.about)


def test(
    loader: options.Loader = None,
    device: options.Device = None,
    epochs: Annotated[int | None, typer.Option(hidden=True)] = None,
    inputfile: options.InputFile = options.DEFAULT_INPUT,
    mode: options.HiddenMode = "test",
    force: options.Force = False,
    threads: options.Threads = None,
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """Compare the model with the true weights of the test part."""
    _check_mode("test", mode)
    from deepmem.jobs import testing

    result = testing.test(
        inputfile,
        loader=loader,
        device=values.device(device),
        force=force,
        reporter=console.Console(),
    )
    console.show(result, as_json, console.print_test)


def predict(
    events: options.Events = None,
    *,
    output: options.WeightFile,
    inputfile: Annotated[
        str | None, typer.Option(help="Path to the input file that names the model.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model file; enough on its own.")] = None,
    keep: options.Keep = None,
    schema: options.EventSchema = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A value of the parameter whose scan was learned: MZ=91.1", metavar="NAME=VALUE"
        ),
    ] = None,
    device: options.Device = None,
    workers: options.Workers = 1,
    scheduler: options.Scheduler = None,
    threads: options.Threads = None,
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """Write the weights of any number of events into a ROOT file, entry by entry."""
    from deepmem.jobs.staff import PREDICTIONS

    staff = options.staff(workers, threads, scheduler, PREDICTIONS)
    from deepmem.jobs import prediction

    if model is None and inputfile is None:
        inputfile = options.DEFAULT_INPUT
    result = prediction.predict(
        events or (),
        output,
        model=model,
        config=inputfile,
        keep=values.names(keep),
        schema=schema,
        at=values.settings(settings) or None,
        device=values.device(device),
        staff=staff,
        reporter=console.Console(),
    )
    console.show(result, as_json, console.print_weights)


def export(
    model: Annotated[str, typer.Argument(help="The model file.", metavar="MODEL")],
    output: Annotated[
        str, typer.Option(help="The ONNX file to write.", metavar="OUT.onnx", callback=options.told)
    ],
    single: Annotated[bool, typer.Option("--single", help="Columns come in single precision.")] = False,
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """Write a model as one ONNX graph: columns in, weights with errors and statuses out."""
    from deepmem.surrogate.export import export as write
    from deepmem.surrogate.model import Surrogate

    console.show(write(Surrogate.load(model), output, single), as_json, _print_export)


def _print_export(result: dict[str, Any]) -> None:
    for what in ("inputs", "outputs"):
        for name, shape in result[what].items():
            typer.echo(f"{what[:-1]}: {name}, {shape}")
    typer.echo(f"columns of events: {', '.join(result['columns'])}")
    typer.echo(f"weights: {', '.join(result['weights'])}")
    if "remark" in result:
        console.warn(result["remark"])
    typer.echo(f"graph: {result['file']}")


def refine(
    events: options.Events = None,
    *,
    process: Annotated[
        str,
        typer.Option(
            help="The process of the menu to compute.", metavar="NAME", autocompletion=options.of_the_menu
        ),
    ],
    model: Annotated[str, typer.Option(help="The model file.", metavar="M")],
    output: options.WeightFile,
    tolerance: Annotated[
        float | None, typer.Option(help="Relative error up to which a weight may stay learned.", metavar="T")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Worst first: 600s, 10m, 2h, or a number of events.", metavar="B")
    ] = None,
    weight: Annotated[str | None, typer.Option(help="Which weight of a model with several.")] = None,
    audit: Annotated[
        int | None, typer.Option(help="Learned events to check exactly (default 200, 2 % at most).")
    ] = None,
    inputfile: options.OptionalInput = None,
    schema: options.EventSchema = None,
    precision: Annotated[
        float | None, typer.Option(help="Of exact weights (default 0.01, or the tolerance if lower).")
    ] = None,
    calls: options.Calls = None,
    settings: options.Settings = None,
    pdf: options.Pdf = None,
    keep: options.Keep = None,
    learn: Annotated[
        bool, typer.Option("--learn", help="Train again with what was computed, as --inputfile says.")
    ] = False,
    compare_random: Annotated[
        bool,
        typer.Option(
            "--compare-random",
            help="With --learn: learn from half of it and from random events too (3 more trainings).",
        ),
    ] = False,
    output_model: Annotated[
        str | None,
        typer.Option(help="The new model (default M.learned.model).", metavar="N", callback=options.told),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the integration points and the audit.")] = 0,
    force: options.Force = False,
    device: options.Device = None,
    workers: options.Workers = 0,
    scheduler: options.Scheduler = None,
    threads: options.Threads = None,
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """Learned weights, the ones with too large errors computed exactly, the others audited."""
    from deepmem.jobs.staff import WEIGHTS

    staff = options.staff(workers, threads, scheduler, WEIGHTS)
    from deepmem.jobs import learning

    result = learning.refine(
        events or (), output, process, model,
        tolerance=tolerance, budget=budget, weight=weight, audit=audit,
        config=inputfile, precision=precision, calls=calls, seed=seed, pdf=pdf, keep=values.names(keep),
        learn=learn, compare_random=compare_random, output_model=output_model, force=force,
        device=values.device(device), schema=schema, reporter=console.Console(),
        staff=staff, **values.settings(settings),
    )  # fmt: skip
    console.show(result, as_json, _print_refined)
    if result["failed"] is not None:
        raise DeepMEMError(result["failed"])


def demo(
    output: Annotated[str, typer.Option(help="Folder for everything that is made.")] = "demo",
    process: Annotated[
        str, typer.Option(help="Another process than the built-in one: its events are generated.")
    ] = "drell_yan",
    events: Annotated[int, typer.Option(help="How many events to generate.", metavar="N")] = 2000,
    threads: options.Threads = None,
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """The whole workflow on built-in data; ends by saying where to look."""
    from deepmem.jobs.demo import demo as run

    result = run(output, process=process, events=events, reporter=console.Console()).to_dict()
    if as_json:
        console.print_json(result)
        return
    console.print_test(result)
    console.print_weights(result["predicted"])
    typer.echo(
        f"\nLook at {result['figure']}: exact and learned weights of events that the network never saw."
    )
    typer.echo(f"Everything else is in {output}/; input.json there is a configuration to start from.")


def _check_mode(command: str, mode: str) -> None:
    if mode != command:
        raise UsageError(f"deepmem {command} --mode={mode}: the two contradict each other")


def _print_refined(result: dict[str, Any]) -> None:
    console.print_weights(result)
    page = result["report"]["report"]
    typer.echo("\n".join([*result["summary"], f"report for collaborators: {page}"]))
