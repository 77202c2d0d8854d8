"""One weight of a model, and the hypothesis that it was learned for, as far as the model says it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from deepmem.data.provenance import described, differences
from deepmem.errors import UsageError, nearest
from deepmem.jobs.tasks import hypotheses
from deepmem.physics.processes import chosen_process, said_in
from deepmem.physics.processes.of_reaction import named
from deepmem.physics.weights.hypothesis import Hypothesis
from deepmem.surrogate.model import Surrogate


@dataclass(frozen=True)
class LearnedWeight:
    """The weight `name` of a model."""

    surrogate: Surrogate
    name: str

    @classmethod
    def of(cls, model: str | Path, process: str, name: str | None) -> LearnedWeight:
        """The weight that is meant: by its name, the model's only one, or the one named like the process.

        **Raises** `UsageError` where there is none, or several could be meant.
        """
        surrogate = Surrogate.load(model)
        if name is not None:
            if name not in surrogate.weights:
                raise UsageError(
                    f"--weight {name}: {model} has no such weight{nearest(name, surrogate.weights)}; "
                    f"it has {', '.join(surrogate.weights)}"
                )
            return cls(surrogate, name)
        if len(surrogate.weights) == 1:
            return cls(surrogate, surrogate.weights[0])
        if process in surrogate.weights:
            return cls(surrogate, process)
        raise UsageError(
            f"{model} has the weights {', '.join(surrogate.weights)}: say with --weight which one is "
            f"{process}'s"
        )

    @cached_property
    def description(self) -> dict[str, Any] | None:
        """What the model says of the hypothesis; None where it says nothing."""
        entries = described(self.surrogate.about)
        if self.name not in entries and len(entries) == len(self.surrogate.weights) == 1:
            return next(iter(entries.values()))
        return entries.get(self.name)

    def hypothesis(
        self,
        process: str,
        parameters: Mapping[str, Any],
        pdf: str | None,
        response: Mapping[str, Any] | None,
    ) -> Hypothesis:
        """The hypothesis to be computed: what is not given is as the model learned it.

        **Raises** `UsageError` as `hypotheses` does, and for a scan.
        """
        entry = self.description
        if (
            entry is not None
            and entry["process"] == named(process)[0]
            and isinstance(entry["responses"], dict)
        ):
            said, read_in = said_in(entry)
            menu, theory = chosen_process(said, dict(read_in)), entry["parameters"]
            parameters = read_in | dict(parameters)
            usual = {key: theory[key] for key in ("sqrt_s", *menu.parameters) if key in theory}
            others = ("Q", "flavours", "subset", *menu.choices)
            usual |= {key: entry[key] for key in others if entry.get(key) is not None}
            if entry["MH_from_event"]:
                usual["MH"] = "event"
            resolutions = {f"r_{kind}" for kind in menu.responses}
            if response is None and not resolutions & parameters.keys():
                response = entry["responses"] | ({"met": entry["missing"]} if "missing" in entry else {})
            parameters, pdf = usual | dict(parameters), pdf or entry["pdf"]
        (alpha,) = hypotheses(process, parameters, pdf=pdf, response=response)
        if alpha.count != 1:
            raise UsageError(
                "a scan has several weights, and a model's weight is one: give one value with --set"
            )
        return alpha

    def contradiction(self, alpha: Hypothesis, column_names: Mapping[str, str]) -> str | None:
        """In what the hypothesis learned and the one to be computed differ; None where nothing tells."""
        entry, process = self.description, self.surrogate.about.get("process")
        if entry is not None:
            differ = differences(entry, json.loads(json.dumps(alpha.describe())))
        elif process is not None:
            differ = differences({"process": process}, {"process": alpha.process.name})
        else:
            differ = []
        learned_names = self.surrogate.about.get("column_names")
        if learned_names is not None and learned_names != column_names:
            differ.append(f"column_names {learned_names}, not {dict(column_names)}")
        if not differ:
            return None
        return (
            f"the model's weight {self.name} was learned for another hypothesis than the one to be computed: "
            f"{'; '.join(differ)}"
        )
