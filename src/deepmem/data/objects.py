"""Events as collections of objects, and the default columns (`lep1_PT`, `j1_Eta`, `MET`) that they make.

A user, or a ready-made schema, says where the collections of each kind are and what their fields are called;
`Objects` finds these in a file, once for each file, and `Reading` says what it found.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, field_validator

from deepmem.columns import split_index
from deepmem.data.expressions import Expression
from deepmem.data.names import USUAL, Names
from deepmem.data.schemas import SCHEMAS, Schema, looks_like
from deepmem.errors import UsageError

Kind = Literal["leptons", "jets", "photons", "taus", "met"]
_Cut = float | tuple[float | None, float | None]


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Entry(BaseModel):
    """One collection: its `prefix` (or several, of which a file has one), fields, and what is asked of it.

    A field is a branch, with or without the prefix, an expression over branches, or a number for all objects.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    prefix: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ("",)
    pt: str | float | None = None
    eta: str | float | None = None
    phi: str | float | None = None
    mass: str | float | None = None
    energy: str | float | None = None
    px: str | float | None = None
    py: str | float | None = None
    pz: str | float | None = None
    charge: str | float | None = None
    pdg: str | float | None = None
    tag: str | float | None = None
    above: float | None = None
    """What the tag is above where a jet is tagged; none: where it is not 0."""
    cuts: dict[str, _Cut] = {}
    """At least (`eta`: at most, of |η|), or [least, most]; of a quantity in GeV, or of a field as it is."""
    overlap: dict[Kind, Annotated[float, Field(gt=0)]] = {}
    """ΔR within which an object of that kind takes this one's place."""
    sort: str = "-pt"
    """What objects of the kind are in order of, falling with a minus; tagged ones come first."""

    @field_validator("cuts")
    @classmethod
    def _can_be_passed(cls, cuts: dict[str, _Cut]) -> dict[str, _Cut]:
        for name, cut in cuts.items():
            low, high = cut if isinstance(cut, tuple) else (0.0, cut) if name == "eta" else (cut, None)
            if low is not None and high is not None and low > high:
                raise ValueError(f"expects a cut that can be passed: no {name} is in [{low:g}, {high:g}]")
        return cuts


def _entries(value: Any) -> Any:
    return (value,) if isinstance(value, Mapping | Entry) else value


Entries = Annotated[tuple[Entry, ...], BeforeValidator(_entries)]
Definition = dict[Kind, Entries]

# What quantities are made of, where no field says them.
_DERIVED = {
    "pt": ("px", "py"),
    "phi": ("px", "py"),
    "eta": ("px", "py", "pz"),
    "mass": ("energy", "pt", "eta"),
    "charge": ("pdg",),
}
_MOMENTUM = ("pt", "eta", "px", "py", "pz")
QUANTITIES = (*USUAL, "tag")
ENERGIES = ("pt", "mass", "energy", "px", "py", "pz")

_COLUMN = re.compile(r"(lep|j|tau|pho)([1-9]\d*)_(PT|Eta|Phi|M|Charge|PDG|B)")
_KIND: dict[str, Kind] = {"lep": "leptons", "j": "jets", "tau": "taus", "pho": "photons"}
_OF_COLUMN = {
    "PT": "pt", "Eta": "eta", "Phi": "phi", "M": "mass", "Charge": "charge", "PDG": "pdg", "B": "tag",
}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """What a default column is of: object `place` (0, 1, …) of a kind, and a quantity."""

    kind: Kind
    place: int
    quantity: str

    @classmethod
    def of(cls, column: str) -> Wanted:
        """**Raises** `UsageError` for a column that objects do not make."""
        if column in ("MET", "MET_Phi"):
            return cls("met", 0, "pt" if column == "MET" else "phi")
        if match := _COLUMN.fullmatch(column):
            return cls(_KIND[match[1]], int(match[2]) - 1, _OF_COLUMN[match[3]])
        raise UsageError(
            f"objects make no column {column!r}: they make lep1_PT, j1_Eta, tau1_Phi, pho1_PT, MET and such "
            "(a model of other columns needs flat events)"
        )


def is_default(column: str) -> bool:
    """Whether it is a column that objects make."""
    return column in ("MET", "MET_Phi") or _COLUMN.fullmatch(column) is not None


@dataclass(frozen=True)
class Found:
    """A field in a file: a number, or an expression over branches (`keys`: name in it → branch)."""

    text: str
    keys: Mapping[str, str]
    number: float | None = None


@dataclass(frozen=True)
class Located:
    """A collection in a file: each quantity's field; those that are not there follow from others."""

    entry: Entry
    prefix: str
    fields: Mapping[str, Found]
    cuts: Mapping[str, Found]
    """Fields that are no quantities, and are cut on."""
    derives_mass: bool = False
    """Whether a mass is asked for, and follows from energy and momentum."""

    def branches(self, *quantities: str) -> frozenset[str]:
        """What quantities are read from, without elements."""
        found = (self.fields[name] for name in quantities if name in self.fields)
        return frozenset(without_element(key)[0] for each in found for key in each.keys.values())

    def keeps_mass(self, replaced: Collection[str]) -> bool:
        """Whether a mass follows from an energy and a momentum of which a variation replaces only the latter.

        The mass is the nominal one then: another pT of a jet is another energy.
        """
        momentum, energy = self.branches(*_MOMENTUM), self.branches("energy")
        return self.derives_mass and not momentum.isdisjoint(replaced) and energy.isdisjoint(replaced)

    def describe(self) -> dict[str, Any]:
        own = self.entry.model_dump(exclude_defaults=True, include={"above", "cuts", "overlap", "sort"})
        taken = {
            name: each.text if each.number is None else each.number for name, each in self.fields.items()
        }
        return {"prefix": self.prefix, **taken, **own}


class Objects:
    """Where events have their objects, as a user says it.

    **Arguments:** `schema`, `"flat"` or one of `schemas.SCHEMAS`; `objects`, what is added to it: an entry
    without a `prefix` changes what it says in each of the schema's collections of the kind, entries with one
    take their place; `unit`, of the files.
    """

    def __init__(self, schema: str, objects: Mapping[Kind, Sequence[Entry]], unit: str):
        self.schema, self.unit = schema, unit
        self._own = objects

    @classmethod
    def of(cls, schema: str, objects: Mapping[Kind, Sequence[Entry]], unit: str) -> Objects | None:
        """None where events have flat columns."""
        return None if schema == "flat" and not objects else cls(schema, objects, unit)

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Objects:
        """What `to_dict` gave."""
        return cls(said["schema"], TypeAdapter(Definition).validate_python(said["objects"]), said["unit"])

    def to_dict(self) -> dict[str, Any]:
        """What was said, as JSON."""
        own = {
            kind: [each.model_dump(mode="json", exclude_unset=True) for each in entries]
            for kind, entries in self._own.items()
        }
        return {"schema": self.schema, "objects": own, "unit": self.unit}

    @property
    def trees(self) -> tuple[str, ...]:
        """The trees that may hold the events."""
        return SCHEMAS[self.schema].trees if self.schema in SCHEMAS else ()

    def definition(self, branches: Iterable[str]) -> dict[Kind, tuple[Entry, ...]]:
        """What to look for in a file with these branches."""
        found: dict[Kind, tuple[Entry, ...]] = {}
        if self.schema in SCHEMAS:
            found = _ready_made(SCHEMAS[self.schema], Names(branches))
        for kind, entries in self._own.items():
            changes = all("prefix" not in entry.model_fields_set for entry in entries)
            if changes and len(entries) == 1 and found.get(kind) and not _replaces(kind, entries[0]):
                update = {name: getattr(entries[0], name) for name in entries[0].model_fields_set}
                if "tag" in update:
                    update.setdefault("above", None)  # the schema's is of another tagger
                found[kind] = tuple(entry.model_copy(update=update) for entry in found[kind])
            else:
                found[kind] = tuple(entries)
        return found

    def resolve(self, where: str, branches: Iterable[str], columns: Sequence[str]) -> Reading:
        """What default columns are read from in a file.

        **Raises** `UsageError` for a column that no object makes, and an object or field that is not there.
        """
        names = Names(branches)
        definition = self.definition(names.all)
        wanted = {column: Wanted.of(column) for column in columns}
        kinds: dict[Kind, set[str]] = {}
        for each in wanted.values():
            kinds.setdefault(each.kind, set()).add(each.quantity)
        for kind in list(kinds):
            _add_overlaps(kind, definition, kinds, ())
        found: dict[Kind, tuple[Located, ...]] = {}
        for kind, quantities in kinds.items():
            if not definition.get(kind):
                raise UsageError(f"{where}: {self._nothing(kind, names)}")
            _refuse_what_means_nothing(kind, definition[kind])
            located = (
                _located(where, kind, entry, names, quantities, self.schema) for entry in definition[kind]
            )
            found[kind] = tuple(located)
        return Reading(wanted, found, self.unit)

    def _nothing(self, kind: Kind, names: Names) -> str:
        said = "'objects' does" if self.schema == "flat" else f"the schema {self.schema!r} does"
        what = "missing pT is" if kind == "met" else f"{kind} are"
        example = '{"pt": "MET_pt", "phi": "MET_phi"}' if kind == "met" else '{"prefix": "…"}'
        schema = SCHEMAS.get(self.schema)
        why = schema.lacks.get(kind) if schema else None
        lacks = f"{why}. It is needed" if why else f"{said} not say where {what}, which the process needs"
        return f'{lacks}: add "objects": {{"{kind}": {example}}} to the input file{names.some}'


def _refuse_what_means_nothing(kind: Kind, entries: Sequence[Entry]) -> None:
    """**Raises** `UsageError` for what is said of objects, and would change nothing or be of some alone."""
    if kind == "met":
        if len(entries) > 1:
            raise UsageError("'objects': there is one 'met'")
        if idle := entries[0].model_fields_set & {"cuts", "overlap", "sort", "tag", "above"}:
            raise UsageError(f"'objects': {min(idle)!r} is for collections, and 'met' is one of an event")
    if len({entry.sort for entry in entries}) > 1:
        raise UsageError(f"'objects': all collections of {kind} need the same 'sort'")
    if len({entry.tag is None for entry in entries}) > 1:
        raise UsageError(
            f"'objects': all collections of {kind} need a 'tag', or none: 0 where none is tagged"
        )
    if any(entry.tag is None and entry.above is not None for entry in entries):
        raise UsageError(f"'objects': 'above' of {kind} needs a 'tag', the field that is above it")


def _replaces(kind: Kind, entry: Entry) -> bool:
    """Whether a change says anew where the missing pT is: half of it is never left from the schema."""
    return kind == "met" and bool(entry.model_fields_set & {"pt", "phi", "px", "py"})


def _ready_made(schema: Schema, names: Names) -> dict[Kind, tuple[Entry, ...]]:
    # in an RNTuple, Jet_pt may be the field pt of a collection Jet
    version = next(
        (
            each
            for each in schema.versions
            if not each.branch or names.find(each.branch) or names.find(each.branch.replace("_", ".", 1))
        ),
        None,
    )
    found: dict[Any, Any] = {
        kind: [dict(each) for each in _entries(value)] for kind, value in schema.objects.items()
    }
    for kind, change in (version.objects if version else {}).items():
        found[kind] = [each | change for each in found.get(kind, [{}])]
    return {kind: tuple(Entry(**each) for each in entries) for kind, entries in found.items()}


def _add_overlaps(
    kind: Kind,
    definition: Mapping[Kind, Sequence[Entry]],
    kinds: dict[Kind, set[str]],
    above: tuple[Kind, ...],
) -> None:
    """What an object's neighbours need, too. **Raises** `UsageError` where kinds wait for one another."""
    for other in {other for entry in definition.get(kind, ()) for other in entry.overlap}:
        if other == "met" or other in (*above, kind):
            raise UsageError(
                f"'objects': {kind} cannot give way to {other}, which are no objects before them"
            )
        kinds.setdefault(other, set()).update(("eta", "phi"))
        kinds.setdefault(kind, set()).update(("eta", "phi"))
        _add_overlaps(other, definition, kinds, (*above, kind))


def _lack(kind: Kind, prefix: str, quantity: str, names: Names, schema: str) -> str:
    """What a collection has not, and what to say."""
    tried = ", ".join(prefix + name for name in USUAL.get(quantity, ()))
    text = f"{kind} ({prefix or 'no prefix'}) have no {quantity}{f': there is none of {tried}' * bool(tried)}"
    if not prefix or names.prefix(prefix):
        return f'{text}. Say where it is: "objects": {{"{kind}": {{"{quantity}": "…"}}}}{names.some}'
    text += f", for no branch begins with {prefix!r}"
    if schema != "flat" and (other := looks_like((), names.short, but=schema)):
        return text + other
    return f'{text}. Say what does: "objects": {{"{kind}": {{"prefix": "…"}}}}{names.collections}'


def _located(
    where: str, kind: Kind, entry: Entry, names: Names, quantities: set[str], schema: str
) -> Located:
    """A collection's fields in a file. **Raises** `UsageError` where one is not there."""
    fields: dict[str, Found] = {}
    prefix = next((each for said in entry.prefix if (each := names.prefix(said))), entry.prefix[0])

    def locate(quantity: str) -> dict[str, Found] | None:
        """The fields that make a quantity: what was said, before what is usual; None: there are none."""
        said = getattr(entry, quantity)
        if said is not None:
            return {quantity: _found(where, kind, quantity, said, prefix, names)}
        parts = _DERIVED.get(quantity, ())
        if parts == ("pdg",) and isinstance(entry.pdg, float):
            parts = ()  # a code for all, without a sign
        if not parts or quantity == "charge" or any(getattr(entry, part) is None for part in parts):
            for name in USUAL.get(quantity, ()):
                if names.find(prefix + name):
                    return {quantity: _found(where, kind, quantity, name, prefix, names)}
        found = [locate(part) for part in parts]
        if not found or None in found:
            return None
        return {name: each for one in found if one for name, each in one.items()}

    needed = _needed(kind, entry, quantities)
    for quantity in needed:
        found = locate(quantity)
        if found is None:
            raise UsageError(f"{where}: {_lack(kind, prefix, quantity, names, schema)}")
        fields |= found
    others = {
        name: _found(where, kind, name, name, prefix, names)
        for name in (*entry.cuts, entry.sort.lstrip("-"))
        if name not in QUANTITIES
    }
    return Located(entry, prefix, fields, others, "mass" in needed and "mass" not in fields)


def _needed(kind: Kind, entry: Entry, quantities: Iterable[str]) -> list[str]:
    """The quantities that columns, cuts and the order of a collection need, each once."""
    needed = dict.fromkeys(sorted(quantities))
    if kind != "met":
        asked = [q for q in (*entry.cuts, entry.sort.lstrip("-")) if q in QUANTITIES]
        needed |= dict.fromkeys([*asked, *(["tag"] if entry.tag is not None else [])])
    if "pdg" in needed:
        needed["charge"] = None  # a code may be one without a sign
    return list(needed)


def _found(where: str, kind: Kind, quantity: str, said: str | float, prefix: str, names: Names) -> Found:
    """A field that was said. **Raises** `UsageError` where it names what is not in the file."""
    if not isinstance(said, str):
        return Found(str(said), {}, float(said))

    def branch(name: str) -> str | None:
        for full in (prefix + name, name):
            stem, element = split_index(full) if not full.endswith("[-1]") else (full[:-4], -1)
            if path := names.find(stem):
                return path if element is None else f"{path}[{element}]"
        return None

    if path := branch(said):
        return Found(path, {"": path})
    expression = Expression(said)
    keys = {name: branch(name) for name in expression.names}
    for name, path in keys.items():
        if path is None:
            raise UsageError(
                f"{where}: {quantity} of {kind} is to be {said!r}, and there is no branch "
                f"{prefix + name!r}{f' or {name!r}' * bool(prefix)}{names.near(prefix + name)}"
            )
    return Found(said, {name: str(path) for name, path in keys.items()})


@dataclass(frozen=True)
class Reading:
    """What default columns are read from in one file: `columns`, in order, what each is of; `kinds`, where
    these are."""

    columns: Mapping[str, Wanted]
    kinds: Mapping[Kind, tuple[Located, ...]]
    unit: str

    @cached_property
    def branches(self) -> tuple[str, ...]:
        """The branches that are read, without elements, each once."""
        found = [
            without_element(key)[0]
            for sources in self.kinds.values()
            for source in sources
            for each in (*source.fields.values(), *source.cuts.values())
            for key in each.keys.values()
        ]
        return tuple(dict.fromkeys(found))

    def of_kept_masses(self, where: str, replaced: Collection[str]) -> frozenset[str]:
        """Those of the branches that a variation replaces of which masses need the nominal values, too.

        **Raises** `UsageError` where it replaces the energy of objects alone, which would change their mass.
        """
        found: set[str] = set()
        for kind, sources in self.kinds.items():
            for each in sources:
                alone = each.branches("energy") & set(replaced)
                momentum = each.branches(*_MOMENTUM)
                if each.derives_mass and alone and momentum.isdisjoint(replaced):
                    raise UsageError(
                        f"{where}: a variation replaces {min(alone)}, the energy of {kind}, and not their "
                        "pT, which would change their mass: replace pT alone, which keeps it, or both"
                    )
                if each.keeps_mass(replaced):
                    found |= momentum & set(replaced)
        return frozenset(found)

    def describe(self) -> dict[str, Any]:
        """What each object and field is taken from."""
        how: dict[str, Any] = {"unit": self.unit}
        for kind, located in self.kinds.items():
            how[kind] = [each.describe() for each in located]
        return how


def without_element(key: str) -> tuple[str, int | None]:
    """A branch, and the element that is taken of it, −1 for the last."""
    return (key[:-4], -1) if key.endswith("[-1]") else split_index(key)
