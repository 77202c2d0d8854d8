"""Which exact weights are asked for: a `Task` says it, computes them for any events, and describes itself for
provenance and for the keys of what is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from deepmem.columns import Column, described
from deepmem.errors import DeepMEMError, UsageError
from deepmem.event import Weight, variation_name
from deepmem.jobs.parts import Pace
from deepmem.physics.processes import THEORY, chosen_process, is_reaction, reaction_of
from deepmem.physics.weights import engine
from deepmem.physics.weights.hypothesis import OF_JETS, Hypothesis, hypothesis
from deepmem.physics.weights.partonic import shared_by_events

if TYPE_CHECKING:
    from deepmem.data.weights import Further

# Events that are decided on at once, some seconds of work up to a minute; and those of a first part.
_BATCH, _FIRST = 4096, 256
_BATCH_WITH_NEUTRINOS, _FIRST_WITH_NEUTRINOS = 256, 2


Reactions: TypeAlias = str | Sequence[str] | Mapping[str, Any]
"""A reaction, some that are summed, or {"reaction": …} with settings of its own."""
Processes: TypeAlias = str | Sequence[str] | Mapping[str, Reactions]
"""Names of the menu or reactions, "NAME=p p > …"; or reactions by name."""


def reactions_by_name(named: Mapping[str, Reactions]) -> dict[str, Mapping[str, Any]]:
    """Settings by "NAME=p p > …".

    **Raises** `UsageError` for what is no reaction.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for name, said in named.items():
        entry = dict(said) if isinstance(said, Mapping) else {"reaction": said}
        reaction = entry.pop("reaction", None)
        text = reaction if isinstance(reaction, str) else " ; ".join(map(str, reaction or ()))
        if not is_reaction(text):
            raise UsageError(
                f'processes.{name}: expected a reaction "p p > …", a list of some, or '
                f'{{"reaction": "p p > …"}} with settings, got {said!r}'
            )
        found[f"{name}={text}"] = entry
    return found


def hypotheses(
    process: Processes,
    settings: Mapping[str, Any],
    *,
    pdf: str | None = None,
    response: Mapping[str, Any] | None = None,
    apart: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Hypothesis, ...]:
    """One hypothesis per process; a setting goes to the processes that know it.

    **Arguments:** `apart`, settings of some processes alone, by what `process` calls them.

    **Raises** `UsageError` for a setting that none of them knows, and as `hypothesis` does.
    """
    apart = dict(apart or {})
    if isinstance(process, Mapping):
        apart |= reactions_by_name(process)
        process = list(reactions_by_name(process))
    names = [process] if isinstance(process, str) else list(process)
    chosen = {
        name: chosen_process(name, _theory(name, {**settings, **apart.get(name, {})}), summed=True)
        for name in names
    }
    called = [process.name for process in chosen.values()]
    if not names or len(set(called)) != len(names):
        raise UsageError(f"name each process once, and one at least; got {', '.join(names) or 'none'}")
    parameters = {
        name: {
            *process.menu_entry()["parameters"],
            "subset",
            *(THEORY if process.reaction else ()),
            *(OF_JETS if process.assigned and process.jets else ()),
        }
        - {"pdf"}
        for name, process in chosen.items()
    }
    alphas = []
    for i, name in enumerate(names):
        others = [each for each in names if each != name]
        # what nobody knows is left to the first, whose error names the nearest
        own = {
            key: value
            for key, value in settings.items()
            if key in parameters[name] or (i == 0 and not any(key in parameters[each] for each in others))
        } | dict(apart.get(name, {}))
        density = {} if pdf is None else {"pdf": pdf}
        alphas.append(hypothesis(name, response=response, **density, **own))
    return tuple(alphas)


def _theory(process: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a reaction is read in."""
    known = (*THEORY, "flavours") if is_reaction(process) or reaction_of(process) else ()
    return {name: settings[name] for name in known if name in settings}


@dataclass(frozen=True)
class Task:
    """The exact weights of events under some hypotheses.

    - `precision`: relative error at which an event stops; `calls`: evaluations per event at most; `seed`: of
      the random points
    - `neutrinos`: whether weights of processes with neutrinos bring these particles' mean momenta
    - `variations`: names of the variations of the events, each of which gives a further weight
    """

    hypotheses: tuple[Hypothesis, ...]
    precision: float = 0.01
    calls: int | None = None
    seed: int = 0
    neutrinos: bool = False
    assignments: bool = False
    """Whether weights of reactions with jets bring the shares of assignments."""
    columns_of_events: tuple[str, ...] | None = None
    """What is read of events, see `reading`."""
    variations: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The default columns that some hypotheses want, each once."""
        if self.columns_of_events is not None:
            return self.columns_of_events
        return tuple(dict.fromkeys(column for each in self.hypotheses for column in each.columns))

    def reading(self, there: Callable[[str], bool]) -> Task:
        """The same for events with more columns than they need: tags of jets, and jets beyond the legs.

        **Arguments:** `there`, whether events have a default column.

        **Raises** `UsageError` for `tagging` of events without tags.
        """
        known = cache(there)
        columns = dict.fromkeys(column for each in self.hypotheses for column in each.columns_of(known))
        return replace(self, columns_of_events=tuple(columns))

    @property
    def names(self) -> list[str]:
        """The names of the weights."""
        return [name for each in self.hypotheses for name in self._all_names(each)]

    @property
    def names_of_variations(self) -> list[str]:
        """The names of the further weights."""
        return [name for each in self.hypotheses for name in self._all_names(each) if name not in each.names]

    def _all_names(self, alpha: Hypothesis) -> list[str]:
        """Of a hypothesis: its weights, and those of variations."""
        varied = [variation_name(name, each) for each in self.variations for name in alpha.names]
        return [*alpha.names, *varied]

    @property
    def names_with_neutrinos(self) -> list[str]:
        """The weights that bring momenta of neutrinos."""
        wanted = [each for each in self.hypotheses if self._wants_neutrinos(each)]
        return [name for each in wanted for name in self._all_names(each)]

    @property
    def terms(self) -> dict[str, int]:
        """The weights that are polynomials in couplings, and how many terms they have."""
        return {each.names[0]: each.count for each in self.hypotheses if each.polynomial is not None}

    def further(self, reasons: bool) -> Further:
        """What a file of these weights has beside values, errors and statuses."""
        from deepmem.data.weights import Further  # workers have no files, and do without

        return Further(
            neutrinos=self.names_with_neutrinos,
            terms=self.terms,
            covariance=self.names_of_variations,
            reasons=self.names if reasons else (),
            assignments=[
                name for each in self.hypotheses if self._wants_assignments(each) for name in each.names
            ],
            lost=[name for each in self.hypotheses if each.lost is not None for name in each.names],
        )

    @property
    def batch(self) -> int:
        """How many events a refinement decides on at once: it follows from the slowest process."""
        return _BATCH_WITH_NEUTRINOS if self._slow else _BATCH

    def pace(self, part: int | None) -> Pace:
        """How many events are kept together as they are done: `part`, or what some seconds of work are."""
        first = _FIRST_WITH_NEUTRINOS if self._slow else _FIRST
        return Pace(part or first, fixed=part is not None)

    @property
    def _slow(self) -> bool:
        return any(each.process.invisible for each in self.hypotheses)

    def compute(
        self,
        events: Any,
        entries: np.ndarray | None = None,
        variations: Mapping[str, Any] | None = None,
    ) -> dict[str, Weight]:
        """The weights by name.

        **Arguments:** `events`, columns in GeV, as for `deepmem.compute`; `entries`, int `[events]`, their
        numbers in their run of files (0, 1, … if not given), which fix their random points; `variations`,
        the same events as these have them.

        **Raises** `UsageError` as `engine.compute` does.
        """
        weights: dict[str, Weight] = {}
        for alpha in self.hypotheses:
            weights |= engine.compute(
                alpha,
                events,
                precision=self.precision,
                calls=self.calls,
                seed=self.seed,
                entries=entries,
                neutrinos=self._wants_neutrinos(alpha),
                assignments=self._wants_assignments(alpha),
                variations=variations,
            )
        return weights

    def compute_table(
        self, table: np.ndarray, entries: np.ndarray, variations: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Weight]:
        """The weights of rows `[events, columns]` of `columns`, in GeV, with these entry numbers."""
        varied = {name: self.columns_of(each) for name, each in (variations or {}).items()}
        return self.compute(self.columns_of(table), entries, varied)

    def columns_of(self, table: np.ndarray) -> dict[str, np.ndarray]:
        """Rows `[events, columns]` by column."""
        return dict(zip(self.columns, table.T.astype(np.float64), strict=True))

    def load_densities(self) -> None:
        """Read the grids now, not after hours of other work. **Raises** `UsageError` where one is missing."""
        for alpha in self.hypotheses:
            shared_by_events(alpha)

    def describe(self) -> dict[str, Any]:
        """How the weights are made, for the file that carries them."""
        return {
            "command": "compute",
            "deepmem": version("deepmem"),
            "hypotheses": [alpha.describe() for alpha in self.hypotheses],
            "precision": self.precision,
            "calls": self.calls,
            "seed": self.seed,
        }

    def _wants_assignments(self, alpha: Hypothesis) -> bool:
        """Whether its weights bring what assignments contribute; where no process has any, all are asked."""

        def has(each: Hypothesis) -> bool:
            return bool(each.process.assigned and each.process.jets) and each.polynomial is None

        return self.assignments and (has(alpha) or not any(map(has, self.hypotheses)))

    def _wants_neutrinos(self, alpha: Hypothesis) -> bool:
        """Whether to ask for them: where no process has any, the error for asking is left to the engine."""
        some = any(each.process.invisible for each in self.hypotheses)
        return self.neutrinos and (bool(alpha.process.invisible) or not some)


@dataclass(frozen=True)
class Checked:
    """A task in any process: where its weights depend on something that is another one there, such as a
    density grid that was replaced, there are none.

    - `description`: the digest of what the task says of itself
    """

    task: Task
    description: str

    @classmethod
    def of(cls, task: Task, description: Mapping[str, Any]) -> Checked:
        """The task as it described itself."""
        return cls(task, _digest(description))

    def __call__(
        self, table: np.ndarray, entries: np.ndarray, variations: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Weight]:
        """`Task.compute_table`. **Raises** `DeepMEMError` where the task would be described otherwise."""
        weights = self.task.compute_table(table, entries, variations)
        if _digest(self.task.describe()) != self.description:
            raise DeepMEMError(
                "a density grid or a model is not what it was when the call began: it was changed, and the "
                "call has to start again, or another one is found here"
            )
        return weights


def _digest(description: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def gev_factors(columns: Sequence[str | Column], unit: str) -> np.ndarray:
    """What turns columns into GeV, `[columns]`, from files in `unit`, `"GeV"` or `"MeV"`; 1 for angles."""
    factor = {"GeV": 1.0, "MeV": 1e-3}[unit]
    return np.array([factor if column.quantity.has_energy_unit else 1.0 for column in described(columns)])
