"""Commands about exact weights: the menu, events, cross-sections, and the weights themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepmem.cli import console, options, values
from deepmem.errors import UsageError

if TYPE_CHECKING:
    from deepmem.physics.weights.leading_order import CrossSection


def compute(
    events: options.Events = None,
    *,
    process: Annotated[
        list[str] | None,
        typer.Option(
            help="Of the menu, a reaction 'NAME=p p > …', or of the input file (again; default: all there).",
            metavar="NAME",
            autocompletion=options.of_the_menu,
        ),
    ] = None,
    output: options.WeightFile,
    inputfile: options.OptionalInput = None,
    schema: options.EventSchema = None,
    precision: Annotated[float, typer.Option(help="Relative error at which an event stops.")] = 0.01,
    calls: options.Calls = None,
    settings: options.Settings = None,
    pdf: options.Pdf = None,
    entries: Annotated[
        str | None, typer.Option(help="The part to compute, for a farm.", metavar="A:B")
    ] = None,
    keep: options.Keep = None,
    neutrinos: Annotated[
        bool,
        typer.Option("--neutrinos", help="Write the neutrinos' momenta too, averaged over the integral."),
    ] = False,
    assignments: Annotated[
        bool,
        typer.Option(
            "--assignments", help="Write what assignments of jets contribute, and which jet is which."
        ),
    ] = False,
    reasons: Annotated[
        bool, typer.Option("--reasons", help="Write NAME_reason too: why a status is what it is.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the integration points.")] = 0,
    workers: options.Workers = 0,
    scheduler: options.Scheduler = None,
    threads: options.Threads = None,
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """Write the exact weights of events into a ROOT file; called again, continues where it stopped."""
    from deepmem.jobs.environment import collecting_nothing
    from deepmem.jobs.staff import WEIGHTS

    staff = options.staff(workers, threads, scheduler, WEIGHTS)
    with collecting_nothing():
        from deepmem.jobs import exact

    result = exact.compute_files(
        events or (),
        output,
        process or (),
        config=inputfile,
        precision=precision,
        calls=calls,
        seed=seed,
        pdf=pdf,
        entries=values.entries(entries),
        keep=values.names(keep),
        schema=schema,
        neutrinos=neutrinos,
        assignments=assignments,
        reasons=reasons,
        staff=staff,
        reporter=console.Console(),
        **values.settings(settings),
    ).to_dict()
    console.show(result, as_json, console.print_weights)


def merge(
    parts: Annotated[
        list[str], typer.Argument(help="Files made with compute --entries.", metavar="PART.root ...")
    ],
    *,
    output: options.WeightFile,
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """Put the parts of a farm together, in the order of their entries."""
    from deepmem.jobs import merging

    result = merging.merge(parts, output).to_dict()
    if as_json:
        console.print_json(result)
    else:
        typer.echo(f"{result['parts']} parts, {result['events']:,} events → {output}")


def processes(
    process: Annotated[
        str | None,
        typer.Argument(
            help="One of the menu, or a reaction such as 'p p > t t~ h'.",
            metavar="[NAME|REACTION]",
            autocompletion=options.of_the_menu,
        ),
    ] = None,
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Of a reaction, as of 'compute': model, met, lost, MT.", metavar="NAME=VALUE"
        ),
    ] = None,
    inputfile: options.OptionalInput = None,
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """The menu, or one reaction: final state, what it needs, parameters; subprocesses and diagrams."""
    from deepmem.physics.processes import REACTIONS, reaction_of

    if process is not None and (">" in process or reaction_of(process)):
        found = _reaction(process, values.settings(settings), inputfile)
        console.show(found, as_json, _print_reaction)
        return
    if settings or inputfile:
        raise UsageError(
            f"--set and --inputfile are of reactions, whose plans follow from them; {process or 'menu'} has "
            "one without them"
        )
    from deepmem.physics.amplitude import processes as menu
    from deepmem.physics.processes import find_process

    entries = menu()
    if process is not None:
        entries = {process: entries[find_process(process).name]}
    console.show(entries, as_json, _print_menu)
    if process is None and not as_json:
        for name, line in REACTIONS.items():
            typer.echo(f"{name}   {line.title}\n    reaction    {line.reaction}")
        typer.echo("\n'deepmem processes NAME' says how one of these is integrated")


def _reaction(process: str, given: dict[str, Any], inputfile: str | None) -> dict[str, Any]:
    """What is known of a reaction, and how its weights are integrated, or why there are none."""
    from deepmem.config import Config
    from deepmem.physics.errors import UnknownNameError
    from deepmem.physics.processes import THEORY, menu_line
    from deepmem.physics.processes.of_reaction import named
    from deepmem.physics.reactions import Theory, read
    from deepmem.physics.weights.overview import overview

    config = Config.load(inputfile or {}, need=())
    settings, response = config.settings(given), config.response
    line = menu_line(process)
    reaction, usual = (named(process)[1], {}) if line is None else (line.reaction, line.theory)
    theory = {name: settings[name] for name in (*THEORY, "flavours") if name in settings}
    found = read(reaction, Theory.of(**usual | theory)).describe()
    try:
        return found | {"weight": overview(process, response=response, **settings)}
    except UnknownNameError:
        raise
    except UsageError as error:
        return found | {"no_weight": str(error)}


def _print_reaction(found: dict[str, Any]) -> None:
    typer.echo(f"{found['reaction']}   in {found['model']}")
    typer.echo(f"    legs          {' '.join(found['legs'])}")
    typer.echo(f"    subprocesses  {found['subprocesses']}, of {len(found['channels'])} different |M|²")
    for channel in found["channels"]:
        beams, out = (" ".join(map(str, channel[key])) for key in ("incoming", "outgoing"))
        alike = f", and {channel['subprocesses'] - 1} more" if channel["subprocesses"] > 1 else ""
        typer.echo(f"      {beams} > {out}{alike}: {channel['diagrams']} diagrams, {channel['orders']}")
    known = ", ".join(f"{name}={_default(value)}" for name, value in found["parameters"].items())
    typer.echo(f"    parameters    {known}")
    if "no_weight" in found:
        typer.echo(f"    no weight     {found['no_weight']}")
        return
    weight = found["weight"]
    typer.echo(f"    columns       {' '.join(weight['columns'])}")
    for title, line in zip(("plan", *[""] * 99), weight["plan"].splitlines(), strict=False):
        typer.echo(f"    {title:<14}{line}")
    if weight["variables"]:
        typer.echo(f"    variables     {', '.join(weight['variables'])}")
    for plan in weight.get("lost", {}).values():
        lines = [line for line in plan["plan"].splitlines()[1:] if "exchanged" not in line]
        typer.echo(f"    with a lost jet: {'; '.join(lines)}")
    if "parton_pt" in weight:
        typer.echo(f"    parton_pt     {weight['parton_pt']:g} GeV for light jets and photons along a beam")
    if "assignments" in weight:
        jets = weight["assignments"]
        typer.echo(
            f"    assignments   {jets['all']} of jets to legs, {jets['integrated']} integrated, "
            f"{jets['tags']} with hard tags"
        )


def _print_menu(menu: dict[str, Any]) -> None:
    from deepmem.physics.processes import find_process

    for name, entry in menu.items():
        settings = ", ".join(f"{k}={'derived' if v is None else v}" for k, v in entry["parameters"].items())
        typer.echo(f"{name}   {entry['title']}")
        if entry["reaction"] is not None:
            model = "" if entry["model"] == "sm" else f"   in {entry['model']}"
            typer.echo(f"    reaction    {entry['reaction']}{model}")
        typer.echo(f"    outgoing    {' '.join(map(str, entry['outgoing']))}")
        typer.echo(f"    columns     {' '.join(entry['columns'])}")
        typer.echo(f"    parameters  {settings}")
        if entry["subsets"]:
            typer.echo(f"    subsets     {', '.join(entry['subsets'])} (--set subset=NAME)")
        without = "" if find_process(name).invisible else ", or 0 with --set r_lepton=0"
        typer.echo(f"    dimensions  {entry['dimensions']}{without}")
        typer.echo(f"    reference   {entry['reference']}\n")


def _default(value: float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else value if value.isidentifier() else "derived"


def generate(
    process: options.AnyProcess,
    *,
    events: Annotated[int, typer.Option(help="How many events to keep.", metavar="N")],
    output: Annotated[
        str, typer.Option(help="The file to write.", metavar="OUT.root", callback=options.told)
    ],
    seed: Annotated[int, typer.Option(help="Same seed, same events.")] = 1,
    inputfile: options.OptionalInput = None,
    selection: options.Selection = None,
    dressed: Annotated[
        bool, typer.Option("--dressed", help="Add photons within ΔR < 0.1 to leptons.")
    ] = False,
    parton: Annotated[
        bool, typer.Option("--parton", help="Leading order with recoil, of any reaction, without Pythia.")
    ] = False,
    parton_selection: options.PartonSelection = None,
    settings: options.Settings = None,
    workers: options.Workers = 0,
    scheduler: options.Scheduler = None,
    threads: options.Threads = None,
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """Make events with Pythia 8 (extra 'generate') and the response of the transfer functions."""
    from deepmem.jobs.staff import LEADING_ORDER

    staff = options.staff(workers, threads, scheduler, LEADING_ORDER)
    from deepmem.config import Config
    from deepmem.events.partons import PartonEvents
    from deepmem.jobs.generation import generate_events

    config = Config.load(inputfile or {}, need=())
    more = values.settings(settings)
    if parton:
        if dressed:
            raise UsageError("--dressed adds photons of showers, and leading-order events have none")
        if parton_selection is not None:
            more["parton_selection"] = values.cuts(parton_selection)
    elif parton_selection is not None:
        raise UsageError("--parton-selection is of leading-order events: add --parton")
    else:
        more["dressed"] = dressed
    made = generate_events(
        process,
        events,
        seed,
        output,
        parton=parton,
        staff=staff,
        reporter=console.Console(),
        selection=config.selection if selection is None else values.cuts(selection),
        response=config.response,
        **more,
    )
    result = {
        "events": made.events,
        "cross_section_pb": made.cross_section,
        "error_pb": made.error,
        "output": output,
    }
    if isinstance(made, PartonEvents):
        console.show(result, as_json, _print_partons)
    else:
        console.show(result | {"tried": made.tried}, as_json, _print_sample)


def _print_partons(result: dict[str, Any]) -> None:
    typer.echo(f"{result['events']:,} events → {result['output']} (tree 'events')")
    typer.echo(f"σ_vis  {result['cross_section_pb']:.6g} ± {result['error_pb']:.2g} pb")


def _print_sample(result: dict[str, Any]) -> None:
    typer.echo(
        f"{result['events']:,} events (of {result['tried']:,} tried) → {result['output']} (tree 'events')"
    )
    typer.echo(
        "Pythia's cross-section of what was kept: "
        f"{result['cross_section_pb']:.5g} ± {result['error_pb']:.2g} pb"
    )


def cross_section(
    process: options.AnyProcess,
    inputfile: options.OptionalInput = None,
    selection: options.Selection = None,
    precision: Annotated[float, typer.Option(help="Relative error to reach.")] = 2e-3,
    mass: Annotated[
        str | None, typer.Option(help="True masses to integrate over, GeV.", metavar="LOW:HIGH")
    ] = None,
    top_window: Annotated[
        float | None, typer.Option(help="Both tops within so many widths of MT.", metavar="N")
    ] = None,
    parton: Annotated[
        bool, typer.Option("--parton", help="Cut on partons, without recoil and response.")
    ] = False,
    parton_selection: options.PartonSelection = None,
    settings: options.Settings = None,
    pdf: options.Pdf = None,
    seed: Annotated[int, typer.Option(help="Of the points.")] = 1,
    workers: options.Workers = 0,
    scheduler: options.Scheduler = None,
    threads: options.Threads = None,
    debug: options.Debug = False,
    as_json: options.AsJson = False,
) -> None:
    """σ, and σ_vis within cuts on measured quantities, in pb with their errors."""
    from deepmem.jobs.staff import LEADING_ORDER

    staff = options.staff(workers, threads, scheduler, LEADING_ORDER)
    from deepmem.config import Config
    from deepmem.jobs.contents import Contents, Everywhere
    from deepmem.jobs.in_order import InOrder
    from deepmem.physics.weights.leading_order import cross_section as integrate

    config = Config.load(inputfile or {}, need=())
    choices = {
        "pdf": pdf,
        "response": config.response,
        "mass": None if mass is None else values.window(mass),
        "top_window": top_window,
        "parton_selection": None if parton_selection is None else values.cuts(parton_selection),
    }
    extra = values.settings(settings) | {name: each for name, each in choices.items() if each is not None}
    cuts = config.selection if selection is None else values.cuts(selection)
    with (
        InOrder.of(staff, LEADING_ORDER, reporter=console.Console()) as crew,
        console.in_per_cent(f"integrating {process}") as progress,
    ):
        mapper = Everywhere(crew, Contents(process, config.response, dict(extra)))
        extra |= {"mapper": mapper, "progress": progress}
        sigma = integrate(process, cuts, precision, seed, quiet=True, parton=parton, **extra)
    if as_json:
        console.print_json(sigma.to_dict())
    else:
        _print_cross_section(sigma, top_window)


def _print_cross_section(sigma: CrossSection, top_window: float | None) -> None:
    if sigma.partons:
        within = "" if sigma.window == float("inf") else f", resonances within {sigma.window:g} widths"
        typer.echo(f"σ      {sigma.value:.6g} ± {sigma.error:.2g} pb   (cuts on partons{within})")
        return
    typer.echo(
        f"σ      {sigma.value:.6g} ± {sigma.error:.2g} pb   "
        f"(true masses {sigma.mass[0]:g} to {sigma.mass[1]:g} GeV"
        f"{'' if top_window is None else f', tops within {top_window:g} widths'})"
    )
    typer.echo(
        f"σ_vis  {sigma.visible:.6g} ± {sigma.visible_error:.2g} pb   (with recoil, response and cuts; "
        f"true masses {sigma.sampled[0]:.4g} to {sigma.sampled[1]:.6g} GeV)"
    )
    for remark in sigma.remarks():
        typer.echo(remark)
