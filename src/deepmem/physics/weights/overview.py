"""How the weights of a process will be integrated, in words: what `deepmem processes 'p p > …'` prints."""

from __future__ import annotations

from typing import Any

from deepmem.physics.phasespace.composition import Composition
from deepmem.physics.phasespace.trees import has_composed_map
from deepmem.physics.weights.assignments import assignments, best_tagged, number
from deepmem.physics.weights.composed import composition_of
from deepmem.physics.weights.contributions import lost_legs, symmetry_of
from deepmem.physics.weights.hypothesis import Hypothesis, hypothesis
from deepmem.physics.weights.plan import plan_for


def overview(process: str, **settings: Any) -> dict[str, Any]:
    """The plan of a process with jets all seen, and how many assignments of them there are.

    **Arguments:** as of `hypothesis`.

    **Returns** `columns` that an event needs; `final_states` that its leptons choose from; of the first of
    these, `variables` of the integral, `dimensions`, and the `plan`, lines of text; with jets, the number of
    `assignments`: of `all`, of those that are `integrated`, and with hard `tags` on as many jets as b legs;
    with `lost` the same of events where a jet is lost, its `dimensions`, `variables` and `plan` for each leg;
    `parton_pt`, if some legs have a least p_T.

    **Raises** `UsageError` where there is no weight of it.
    """
    alpha = hypothesis(process, **settings)
    variants = alpha.process.variants
    first = alpha.of_variant(variants[0].process) if variants else alpha
    found: dict[str, Any] = {
        "columns": list(alpha.columns),
        "final_states": sum(len(each.leptons) for each in variants) or 1,
        **_plan(first),
    }
    if alpha.process.assigned and alpha.process.jets:
        found["assignments"] = _assignments(first)
    if alpha.parton_pt:
        found["parton_pt"] = alpha.parton_pt
    if alpha.lost is not None:
        found["lost"] = {str(leg): _plan(first, leg) for leg in lost_legs(first)}
    return found


def _plan(alpha: Hypothesis, lost: int | None = None) -> dict[str, Any]:
    plan = plan_for(alpha, lost=lost)
    if has_composed_map(alpha.process):
        composition = composition_of(alpha, lost)
        variables = list(composition.variables) if isinstance(composition, Composition) else []
        said = str(composition.describe())
        if plan.dimensions > len(variables) > 0:
            variables.append("order of jets")
            said += "\nand the order of exchanged jets, one at each point"
        return {"dimensions": plan.dimensions, "variables": variables, "plan": said}
    by = (
        f"by the expert for: {alpha.process.topology}"
        if alpha.process.topology
        else "energies of what is seen"
    )
    return {"dimensions": plan.dimensions, "variables": [], "plan": by}


def _assignments(alpha: Hypothesis) -> dict[str, int]:
    legs = len(alpha.process.jets)
    symmetry = symmetry_of(alpha)
    every, _ = assignments(legs, legs, (*symmetry.exchanged, *symmetry.even))
    kinds = [alpha.process.visible_classes[place] for place in alpha.process.jets]
    b_legs = [i for i, kind in enumerate(kinds) if kind == "bjet"]
    tags = [1] * len(b_legs) + [0] * (legs - len(b_legs))
    return {
        "all": number(legs, legs),
        "integrated": len(every),
        "tags": int(best_tagged(every, tags, b_legs).sum()),
    }
