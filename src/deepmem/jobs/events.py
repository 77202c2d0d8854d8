"""Where events have their objects: what a person is told of it, and what does not go with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deepmem.columns import Column, Quantity, check_column_names
from deepmem.config import Config
from deepmem.data.objects import Objects
from deepmem.data.root import Source
from deepmem.errors import UsageError
from deepmem.reporter import Reporter

_MOMENTUM = (Quantity.PT, Quantity.ETA)


def unit_of(settings: Config) -> str:
    """The unit of the columns that are read: those made from objects are in GeV."""
    return settings.unit if settings.located is None else "GeV"


def tell_objects(source: Source, reporter: Reporter) -> None:
    """A line for each kind of object: where its fields are from, and what is asked of it.

    And a warning where files have them in another order, as those with tags and those without.
    """
    for kind in _SHOWN | _SHOWN_IF_SAID:
        ways = {_choices(how[kind]) for how in source.taken_from if kind in how}
        if len(ways) > 1:
            reporter.warning(f"{kind} are chosen in other ways in other files: {'; '.join(sorted(ways))}")
    for how in source.taken_from:
        for kind, collections in how.items():
            if isinstance(collections, list):
                found = "; ".join(_words(each) for each in collections)
                reporter.message(f"{kind}: {found}{' (in MeV)' if how['unit'] == 'MeV' else ''}")


def idle(variation: str, replaced: Mapping[str, str]) -> str:
    """What is to be said of a variation that replaces nothing that is read."""
    return (
        f"the variation {variation!r} replaces {', '.join(replaced)}, and no column of these weights is read "
        "from there: its weights are the nominal ones"
    )


def tell_idle(
    varied: Mapping[str, Source], variations: Mapping[str, Mapping[str, str]], reporter: Reporter
) -> None:
    """A warning for each variation that replaces nothing that is read."""
    for name, source in varied.items():
        if not source.is_varied:
            reporter.warning(idle(name, variations[name]))


def refuse_halves(varied: Mapping[str, Source], columns: Sequence[Column]) -> None:
    """**Raises** `UsageError` where a variation replaces pT or η of what a model knows the energy of, or the
    energy alone: the mass, which follows from all, would be another one."""
    known = {(each.object, each.quantity) for each in columns}
    for name, source in varied.items():
        replaced = {branch for file in source.files if file.reading is None for branch in file.replaced}
        for energy in (each for each in columns if each.quantity is Quantity.ENERGY):
            of = [each for each in columns if each.object == energy.object and each.quantity in _MOMENTUM]
            moves = any(each.name in replaced for each in of)
            if of and (energy.object, Quantity.MASS) not in known and moves != (energy.name in replaced):
                momentum = " and ".join(each.name for each in of)
                raise UsageError(
                    f"the variation {name!r} replaces one of {momentum} and {energy.name} alone, so that the "
                    f"mass of {energy.object} would be another one: replace them together"
                )


def objects_for(settings: Config, model: Mapping[str, Any]) -> Objects | None:
    """Where the events have their objects: as the configuration says, else as what a model learned from did.

    **Arguments:** `model`, what it says of itself.
    """
    if settings.model_fields_set & {"event_schema", "objects"} or "objects" not in model:
        return settings.located
    return Objects.from_dict(model["objects"])


def tell_other_objects(source: Source, model: Mapping[str, Any], reporter: Reporter) -> None:
    """A warning for each kind of objects that are chosen otherwise than those that a model learned from.

    The first jet of one order is not that of another, and cuts move all that follow.
    """
    learned = model.get("objects", {}).get("taken_from", [])
    for kind in _SHOWN | _SHOWN_IF_SAID if learned else ():
        before, now = (
            {_choices(how[kind]) for how in read if kind in how} for read in (learned, source.taken_from)
        )
        if now and before and now != before:
            reporter.warning(
                f"the model learned from {kind} {'; '.join(sorted(before))}, and these are "
                f"{'; '.join(sorted(now))}: other objects come first. Say the same in 'objects', or train "
                "on events like these"
            )


def _choices(collections: Sequence[Mapping[str, Any]]) -> str:
    """What decides which objects of a kind come, and in which order."""
    return " or ".join(sorted({_choice(each) for each in collections}))


def _choice(collection: Mapping[str, Any]) -> str:
    """The same of one collection."""
    key = collection.get("sort", "-pt")
    order = f"by {'falling ' * key.startswith('-')}{key.lstrip('-')}"
    return ", ".join([order, *["tagged ones first"] * ("tag" in collection), *_cuts(collection)])


def names_for(settings: Config, columns: Sequence[str], model: Mapping[str, Any]) -> dict[str, str]:
    """What columns of a model are called in the files that a configuration names.

    Those that its own training or its labels had were of exact weights, and it learned from the columns as
    they are.

    **Arguments:** `columns`, the model's; `model`, what it says of itself.

    **Raises** `UsageError` where a branch's name says that it is something else.
    """
    training = model.get("configuration", {}).get("column_names"), model.get("column_names")
    if settings.column_names in training:
        return {}
    found = {name: branch for name, branch in settings.column_names.items() if name in columns}
    check_column_names(found, columns)
    return found


def tell_names(names: Mapping[str, str], reporter: Reporter) -> None:
    """A line on what columns are called in the files."""
    if names:
        reporter.message("columns: " + "; ".join(f"{name} from {branch}" for name, branch in names.items()))


def refuse_objects(settings: Config) -> None:
    """**Raises** `UsageError` where what was computed of objects is to be learned in addition."""
    if settings.located is not None:
        raise UsageError(
            "--learn adds flat columns (lep1_PT, …) to those learned from, which 'schema' or 'objects' makes "
            "from objects: train on the refined weights instead"
        )


def refuse_other_unit(objects: Objects | None, unit: str) -> None:
    """**Raises** `UsageError` where a model of columns in `unit` is to read objects, which are in GeV."""
    if objects is not None and unit != "GeV":
        raise UsageError(f"columns made from objects are in GeV, and the model was trained on {unit}")


def check_variations(settings: Config) -> None:
    """**Raises** `UsageError` where a variation names what the first file of a configuration does not have,
    or replaces half of what a mass follows from."""
    for fields in settings.variations.values() if settings.input_paths else ():
        said = settings.input_paths[:1], settings.input_tree
        Source(*said, (), (), settings.located, fields, may_be_empty=True)
        for columns in _shown(settings).values() if settings.located is not None else ():
            try:
                Source(*said, columns, (), settings.located, may_be_empty=True)
            except UsageError:
                continue  # of a kind that the file does not have
            Source(*said, columns, (), settings.located, fields, may_be_empty=True)


def _shown(settings: Config) -> dict[str, list[str]]:
    """Columns of each kind of objects: those that are usual, and others where they are said."""
    own = settings.located.to_dict()["objects"] if settings.located is not None else {}
    return _SHOWN | {kind: each for kind, each in _SHOWN_IF_SAID.items() if kind in own}


def first_values(settings: Config, number: int = 3) -> dict[str, Any]:
    """What the objects in the first file of a configuration are taken from, with the first events' values.

    Of a kind that the file does not have: the sentence that says why.
    """
    found: dict[str, Any] = {}
    for kind, columns in _shown(settings).items():
        try:
            source = Source(settings.input_paths[:1], settings.input_tree, columns, (), settings.located)
        except UsageError as error:
            found[kind] = str(error)
            continue
        table = source.read(0, min(number, source.num_entries))
        values = {
            name: [float(f"{v:.6g}") for v in column] for name, column in zip(columns, table.T, strict=True)
        }
        found[kind] = {"taken_from": source.taken_from[0][kind], "first": values}
    return found


_SHOWN = {
    "leptons": [f"lep{i}_{name}" for i in (1, 2) for name in ("PT", "Eta", "Phi", "Charge")],
    "jets": [f"j{i}_{name}" for i in (1, 2) for name in ("PT", "Eta", "Phi", "M")],
    "met": ["MET", "MET_Phi"],
}
_SHOWN_IF_SAID = {
    "photons": [f"pho{i}_{name}" for i in (1, 2) for name in ("PT", "Eta", "Phi")],
    "taus": [f"tau{i}_{name}" for i in (1, 2) for name in ("PT", "Eta", "Phi")],
}


def _words(collection: dict[str, Any]) -> str:
    fields = {name: value for name, value in collection.items() if name not in ("prefix", "cuts", "overlap")}
    return ", ".join([*(f"{name} {value}" for name, value in fields.items()), *_cuts(collection)])


def _cuts(collection: Mapping[str, Any]) -> Iterator[str]:
    """What objects of a collection have to pass, in words."""
    if cuts := collection.get("cuts"):
        yield f"cuts on {', '.join(f'{name} {_edges(cut)}' for name, cut in cuts.items())}"
    if overlap := collection.get("overlap"):
        yield f"not within ΔR {', '.join(f'{radius:g} of {kind}' for kind, radius in overlap.items())}"


def _edges(cut: Any) -> str:
    return f"{[*cut]}" if isinstance(cut, list | tuple) else f"{cut}"
