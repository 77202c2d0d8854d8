"""The configuration: a JSON file, validated once at the door, frozen from then on.

The keys of the original DeepMEM keep their names and their meaning; new keys are lower-case with underscores
and have defaults. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from deepmem.columns import Column, Quantity, combine, described
from deepmem.data.objects import Definition, Entry, Objects
from deepmem.data.schemas import SCHEMAS
from deepmem.errors import UsageError, nearest

# Keys of the original before 0.0.1, and what to write today.
_RENAMED = {
    "particles": "prefixes (a list of lists, with the quantities in 'suffixes')",
    "4v_coords": "suffixes (a list of lists)",
    "tree": "input_tree (and output_tree)",
    "input_path": "input_paths (a list)",
    "output_path": "output_paths (a list)",
    "weight": "weights (a list)",
    "learning_rate": "LearningRate",
    "lr": "LearningRate",
}

# What training, testing and predicting cannot do without.
LEARNING = ("input_paths", "prefixes", "suffixes", "weights")

_Positive = Annotated[int, Field(gt=0, strict=True)]


class Meaning(BaseModel):
    """What a column holds: a quantity of an object."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    object: str = Field("event", min_length=1, description="what it belongs to, such as lep1")
    quantity: Literal["pt", "eta", "phi", "mass", "energy", "charge", "pdg", "angle", "other"] = Field(
        description="phi: an azimuth; angle: a difference, or one between planes; other: taken as it is"
    )


class Config(BaseModel):
    """What a user decides; read it with `Config.load`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Where the events and their weights are
    input_paths: tuple[str, ...] = Field((), description="ROOT files (or globs) with the events")
    output_paths: tuple[str, ...] = Field(
        (), description="ROOT files with the weights, one for each of input_paths, entry by entry"
    )
    input_tree: str | None = Field(None, description="tree of the events; by default the file's only tree")
    output_tree: str | None = Field(None, description="tree of the weights; by default the file's only tree")
    prefixes: tuple[tuple[str, ...], ...] = Field((), description="lists of prefixes of branch names")
    suffixes: tuple[tuple[str, ...], ...] = Field(
        (), description="lists of suffixes, combined with the list of prefixes at the same index"
    )
    dir_name_processing: bool = Field(
        False, description="deprecated: read split objects, prefix/fCoordinates/fCoordinates.suffix"
    )
    said: dict[str, Meaning] = Field(
        {},
        alias="columns",
        description="what columns hold, where their names do not say it: "
        '{"first": {"object": "lep1", "quantity": "pt"}}',
    )
    weights: tuple[str, ...] = Field((), description="branches of the weights to learn; one model for all")
    weight_errors: tuple[str, ...] | None = Field(
        None,
        description="branches of the absolute errors of 'weights', known noise in the loss; by default "
        "NAME_error where the files have NAME_error and NAME_status",
    )
    unit: Literal["GeV", "MeV"] = Field(
        "GeV", description="unit of momenta, energies and masses in the files"
    )
    process: str | None = Field(None, description="the hypothesis the weights belong to, kept with the model")
    weight_unit: str | None = Field(
        None, description="unit of the weights, for figures: GeV^-2 for Drell-Yan"
    )

    # Exact weights
    processes: dict[str, str | list[str] | dict[str, Any]] = Field(
        {},
        description='what weights are of, where --process does not say: {"tth": "p p > …"}, a list of '
        'reactions that are summed, or {"tth": {"reaction": "p p > …", "MT": 175}} with settings of its own',
    )
    event_schema: Literal["flat", "nanoaod", "delphes", "physlite"] = Field(
        "flat",
        alias="schema",
        description="where events have their objects; --schema overrides. physlite means MeV unless 'unit' "
        "says otherwise",
    )
    objects: Definition = Field(
        {},
        description='the same by hand, or what changes: {"jets": {"prefix": "Jet_", "tag": "btagDeepFlavB", '
        '"above": 0.3, "cuts": {"pt": 25, "eta": 2.4}, "overlap": {"leptons": 0.4}}}',
    )
    variations: dict[str, dict[str, str]] = Field(
        {},
        description="further weights NAME__VARIATION of the same events, with other branches or expressions "
        'in place of some: {"jesUp": {"Jet_pt": "Jet_pt_jesUp", "MET_pt": "MET_T1_pt_jesUp"}}',
    )
    column_names: dict[str, str] = Field(
        {},
        description="what a default column, or one of a model's for predict, is called in the files: "
        '{"lep1_PT": "Lepton1_pt"}',
    )
    response: dict[str, Any] | None = Field(
        None, description='transfer functions by particle class: {"lepton": {"kind": "gaussian", "r": 0.02}}'
    )
    selection: dict[str, Any] | None = Field(
        None,
        description="cuts on measured leptons, jets and missing pT, for generate and cross-section: "
        '{"lepton_pt": [20, 10], "jet_pt": 30, "met": 20}',
    )

    tags: Literal["hard", "ignore"] | None = Field(
        None, description="of reactions with jets: ignore the tags jN_B; by default they are hard"
    )
    tagging: dict[str, float | str] | None = Field(
        None,
        description="of reactions with jets: the probability of a tag by flavour, "
        '{"b": 0.77, "c": 0.15, "light": 0.01}, or the end of columns of the jets, "EffB" for j1_EffB, …',
    )
    extra_jets: Literal["leading", "choose"] | None = Field(
        None,
        description="of more jets than a reaction has legs, the leading ones, or all that one may choose",
    )

    lost: int | dict[str, float] | None = Field(
        None,
        description='of reactions with jets: 1, or {"legs": 1, "loss": 0.02}: weights of events with a jet '
        "fewer than legs, which the selection's jet_pt, jet_eta and jet_delta_r lost",
    )

    # How the events reach the training
    loader: Literal["hybridMT", "hybrid", "inbuilt"] = Field(
        "hybridMT",
        description="hybridMT: all in memory; hybrid: streamed; inbuilt: random access to a disk cache",
    )
    batch_size: _Positive = Field(512, description="events per training step")
    chunk_entries: _Positive = Field(100_000, description="entries read at once; loader hybrid, predict")
    shuffle: bool = Field(True, description="whether the training part is shuffled, anew each epoch")
    split: tuple[float, float, float] = Field(
        (8, 1, 1), description="training, validation and test part, in file order"
    )

    # The network and its training
    features: Literal["physics", "plain"] = Field(
        "physics", description="physics: invariants of the recognised columns; plain: the columns as they are"
    )
    padded: tuple[str, ...] = Field(
        (), description="objects that an event may lack, such as lep3 or j3: learned with a mask"
    )
    guide: dict[str, Any] | None = Field(
        None,
        description="learn the ratio to a cheap weight, for processes with neutrinos: "
        '{"process": "ttbar_2l", "points": 512, "MT": 173}',
    )
    network: Literal["default", "reference"] = Field(
        "default", description="reference: the original's 4 x 200 with ReLU, trained with Adam"
    )
    width: _Positive = Field(64, description="neurons in a layer of the default network")
    depth: _Positive = Field(4, description="hidden layers of the default network")
    members: _Positive | None = Field(
        None, description="networks of the ensemble; default 5, and 1 for the reference network"
    )
    LearningRate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        0.01, description="initial learning rate"
    )
    epochs: _Positive = Field(10, description="passes over the training part; --epochs overrides")
    patience: _Positive | None = Field(
        None,
        description="stop after so many epochs without a lower validation loss; default a third, at least 10",
    )
    seed: Annotated[int, Field(ge=0, strict=True)] = Field(
        0, description="same seed, same machine, same result"
    )
    device: Annotated[int, Field(ge=0, strict=True)] | Literal["all"] | None = Field(
        None, description='number of the GPU, or "all"; none is the CPU; --device overrides'
    )
    tensorboard: bool = Field(False, description="write TensorBoard logs too (extra 'tensorboard')")

    # What is written where
    save_lowest_loss_model_at: str = Field(
        "models/lowest_loss.model", description="the model of the lowest validation loss"
    )
    save_scaler_at: str | None = Field(None, description="the scaler, fitted on the training part")
    load_saved_model_from: str | None = Field(
        None, description="the model to test or predict with; default save_lowest_loss_model_at"
    )
    load_scaler_from: str | None = Field(
        None, description="must be the scaler that was saved with the model; the model carries its own"
    )
    save_testing_histogram_at: str = Field(
        "post/histogram.png", description="the figure of 'test': png, pdf or svg"
    )
    run_folder: str | None = Field(
        None, description="metrics, checkpoint, test results; default <save_lowest_loss_model_at>.run"
    )

    @property
    def of_jets(self) -> dict[str, Any]:
        """The settings of reactions with jets that are given."""
        given = {name: getattr(self, name) for name in ("tags", "tagging", "extra_jets", "lost")}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def columns_of_tags(self) -> tuple[str, ...]:
        """The ends of names of columns that have the probabilities of tags."""
        return tuple(each for each in (self.tagging or {}).values() if isinstance(each, str))

    def settings(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Those with a call's `parameters`, and the selection where a jet may be lost by its cuts."""
        given = self.of_jets | dict(parameters)
        lost = given.get("lost")
        by_cuts = lost is not None and not (isinstance(lost, Mapping) and "jet_pt" in lost)
        cuts = {"selection": self.selection} if by_cuts and self.selection is not None else {}
        return cuts | given

    @field_validator("split")
    @classmethod
    def _split_has_a_training_part(cls, split: tuple[float, float, float]) -> tuple[float, float, float]:
        if any(not 0 <= part < float("inf") for part in split):
            raise ValueError("expects three non-negative numbers")
        if split[0] == 0:
            raise ValueError("has no training part: the first of its three numbers must be above 0")
        return split

    @field_validator("variations")
    @classmethod
    def _names_of_variations(cls, variations: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for name, fields in variations.items():
            if not re.fullmatch(r"[A-Za-z]\w*", name) or "__" in name:
                raise ValueError(f"a variation needs a name such as jesUp, without '__', not {name!r}")
            if not fields:
                raise ValueError(f"{name} changes nothing: give it fields, such as Jet_pt")
        return variations

    @field_validator("save_testing_histogram_at")
    @classmethod
    def _figure_format(cls, path: str) -> str:
        if Path(path).suffix.lower() not in (".png", ".pdf", ".svg"):
            raise ValueError("expects a file name that ends in .png, .pdf or .svg")
        return path

    @model_validator(mode="after")
    def _lists_match(self) -> Config:
        if self.prefixes or self.suffixes:
            combine(self.prefixes, self.suffixes)
            for name in self.said:
                if name not in self.columns:
                    raise ValueError(
                        f"'columns': 'prefixes' and 'suffixes' make no column {name!r}"
                        f"{nearest(name, self.columns) or ', but ' + ', '.join(self.columns)}"
                    )
        if self.weight_errors is not None and len(self.weight_errors) != len(self.weights):
            raise ValueError(
                f"'weight_errors' names {len(self.weight_errors)} branches, 'weights' {len(self.weights)}: "
                "give one error for each weight, in the same order"
            )
        if self.column_names and (self.objects or self.event_schema != "flat"):
            raise ValueError(
                "'column_names' are of flat events: with 'schema' or 'objects', say fields there"
            )
        if len(set(self.weights)) != len(self.weights):
            raise ValueError("'weights' names a branch twice")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The branch names, all prefixes times suffixes in order."""
        return combine(self.prefixes, self.suffixes, self.dir_name_processing)

    @property
    def located(self) -> Objects | None:
        """Where events have their objects; None where they are flat columns."""
        schema = SCHEMAS.get(self.event_schema)
        unit = schema.unit if schema and "unit" not in self.model_fields_set else self.unit
        return Objects.of(self.event_schema, self.objects, unit)

    @property
    def described(self) -> tuple[Column, ...]:
        """What the columns hold: as `columns` says, else read off their names."""
        said = {name: Column(name, owner, Quantity(q)) for name, (owner, q) in self.said_columns.items()}
        return described(self.columns, said)

    @property
    def said_columns(self) -> dict[str, tuple[str, str]]:
        """The key `columns`: column → object and `Quantity`."""
        return {
            name: (each.object, Quantity[each.quantity.upper()].value) for name, each in self.said.items()
        }

    @property
    def ensemble(self) -> int:
        """How many networks make a model."""
        return self.members or (1 if self.network == "reference" else 5)

    @property
    def model_to_load(self) -> str:
        return self.load_saved_model_from or self.save_lowest_loss_model_at

    @property
    def folder(self) -> Path:
        """Where a run keeps its metrics, checkpoint and results."""
        return Path(self.run_folder or f"{self.save_lowest_loss_model_at}.run")

    @classmethod
    def load(
        cls,
        source: str | Path | Mapping[str, Any] | Config,
        *,
        need: tuple[str, ...] = LEARNING,
        **overrides: Any,
    ) -> Config:
        """Read and validate a configuration.

        **Arguments:** `source`, the path of a JSON file, a dict, or a `Config`; `need`, keys that must be
        there; `overrides`, keys to replace (those that are None are left alone).

        **Raises** `UsageError` with the file and the path of the offending key.
        """
        if isinstance(source, Config):
            where, values = "configuration", source.model_dump(exclude_unset=True, by_alias=True)
        elif isinstance(source, Mapping):
            where, values = "configuration", dict(source)
        else:
            where, values = str(source), _read_json(Path(source))
        values |= {key: value for key, value in overrides.items() if value is not None}
        known = {field.alias or name for name, field in cls.model_fields.items()}
        for key in values:
            if key not in known:
                raise UsageError(f"{where}: unknown key {key!r}{_hint(key, known)}")
        for key in need:
            if not values.get(key):
                raise UsageError(f"{where}: the key {key!r} is {'empty' if key in values else 'missing'}")
        try:
            return cls(**values)
        except ValidationError as error:
            raise UsageError(f"{where}: {_describe(error)}") from None


def _hint(key: str, known: Iterable[str]) -> str:
    if key in _RENAMED:
        return f": it is now called {_RENAMED[key]}"
    return nearest(key, known) or "; 'deepmem config --schema' lists all"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"input file {path} does not exist: give its path with --inputfile") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"input file {path} cannot be read: {error}") from None
    try:
        values = json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path} is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected a JSON object of keys and values, got a {type(values).__name__}")
    return values


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        raise UsageError(f"the key {next(k for k in keys if keys.count(k) > 1)!r} stands there twice")
    return values


def _describe(error: ValidationError) -> str:
    """pydantic's findings as sentences that begin with the key."""
    sentences = []
    for item in error.errors():
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"]).lstrip(
            "."
        )
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "missing":
            sentences.append(f"the key {key!r} is missing")
        elif item["type"] == "extra_forbidden":
            known = (Entry if item["loc"][0] == "objects" else Meaning).model_fields
            hint = nearest(str(item["loc"][-1]), known) or f": it may have {', '.join(known)}"
            sentences.append(f"{key!r}: there is no such key{hint}")
        elif not key:
            sentences.append(message)
        else:
            message = message[:1].lower() + message[1:]
            sentences.append(f"{key!r}: {message}, got {item['input']!r}")
    return "; ".join(sentences)
