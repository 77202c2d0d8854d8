"""What a refinement says of itself: `refine.json` with sentences and a verdict, and the figures beside it, as
`evaluation.report` takes them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deepmem.data.files import make_folder, write_json
from deepmem.evaluation.honesty import pulls
from deepmem.evaluation.metrics import Estimate
from deepmem.evaluation.verdict import Judgement
from deepmem.event import by_status, count_statuses
from deepmem.jobs.audit import BIAS, positive_in_both
from deepmem.jobs.outcome import RANDOM, Learning, Refinement


@dataclass(frozen=True)
class Account:
    """A refinement, the `command` that asked for it, the card of its model, and what was learned from it."""

    refinement: Refinement
    command: str
    model_card: Mapping[str, Any]
    learning: Learning | None = None

    def write(self) -> dict[str, Any]:
        """Draw figures, write which events were computed, and `refine.json`; **returns** its content."""
        refinement, learning = self.refinement, self.learning
        make_folder(refinement.folder)
        refinement.entries.save(refinement.folder / "entries.npz")
        contents = _contents(refinement) | {"figures": _draw(refinement)}
        if learning is not None:
            contents |= {
                "learn": learning.to_dict(),
                "summary": contents["summary"] + _what_was_learned(learning),
                "figures": contents["figures"] + _draw_learning(learning, refinement),
            }
        contents |= {"command": self.command, "model_card": self.model_card}
        write_json(refinement.folder / "refine.json", contents)
        return contents


def _contents(refinement: Refinement) -> dict[str, Any]:
    entries, total = refinement.entries, refinement.sum_of_logs
    computed = {"refined": len(entries.refined), "audited": len(entries.audited)}
    return {
        "title": f"Back to exact: {refinement.name}",
        "events": len(refinement.weight),
        "not_computable": int((~refinement.learned.computable).sum()),
        "flagged": refinement.flagged,
        "learned_relative_errors": _quantiles(refinement.learned.spread[refinement.learned.computable]),
        "tolerance": refinement.limit.tolerance,
        "budget": {"events": refinement.limit.events, "seconds": refinement.limit.seconds},
        "precision": refinement.precision,
        "exact": computed | ({"random": refinement.fresh} if refinement.fresh else {}),
        "learned": int(refinement.stays_learned.sum()),
        "flagged_still_learned": refinement.flagged_still_learned,
        "population": refinement.population,
        "audit": {**refinement.audit.to_dict(), "entries": entries.audited.tolist()},
        "failed": refinement.audit.failure,
        "forced": refinement.forced,
        "work": asdict(refinement.saving),
        "sum_of_logs": None if total is None else asdict(total),
        "status": {refinement.name: by_status(count_statuses(refinement.weight.status))},
        "data": refinement.data,
        "output": refinement.output,
        "folder": str(refinement.folder),
        "warnings": refinement.warnings,
        "summary": _summary(refinement),
        "verdict": _verdict(refinement),
    }


def _draw(refinement: Refinement) -> list[dict[str, str]]:
    """Draw the figures; **returns** files and captions."""
    from deepmem.evaluation import plots

    folder = refinement.folder
    with np.errstate(divide="ignore", invalid="ignore"):
        after = np.abs(refinement.weight.error / refinement.weight.value)
    plots.refinement(folder / "refine.png", refinement.learned.spread, after, refinement.limit.tolerance)
    captions = {"refine.png": "Relative errors before and after; flagged events are left out before."}
    exact, learned = refinement.exact, refinement.learned.weight[refinement.entries.audited]
    z = pulls(exact, learned)
    rows = positive_in_both(exact, learned) & np.isfinite(z)
    if rows.any():
        t, p, audited = exact[rows], learned[rows], f"{rows.sum():,} audited events"
        plots.prediction_against_truth(folder / "audit.png", t.value, p.value)
        plots.pulls_against_gaussian(folder / "pulls.png", z[rows])
        plots.error_against_weight(folder / "errors.png", t, p)
        captions |= {
            "audit.png": f"Learned against exact weight of {audited}.",
            "pulls.png": f"Pulls of {audited}; beyond ±5 in the outer bins.",
            "errors.png": f"The error that the learned weights of {audited} say they have, and the real one.",
        }
    return [{"file": name, "caption": caption} for name, caption in captions.items()]


def _quantiles(spread: np.ndarray) -> dict[str, float | None]:
    """Below which relative error so many learned weights are: the price of a tolerance; None: flagged."""
    values = {
        f"q{q}": float(np.quantile(spread, q / 100, method="lower")) for q in (50, 80, 95) if len(spread)
    }
    return {key: value if np.isfinite(value) else None for key, value in values.items()}


def _summary(refinement: Refinement) -> list[str]:
    sentences = [_what_was_computed(refinement)]
    errors = _quantiles(refinement.learned.spread[refinement.learned.computable])
    below = [f"{key[1:]} % below {100 * value:.2g} %" for key, value in errors.items() if value is not None]
    if below:
        sentences.append(f"Errors of the learned weights, as the model has them: {', '.join(below)}.")
    saving = refinement.saving
    if saving.fewer_events is not None:
        sentences.append(
            f"That is {saving.fewer_events:.3g} times fewer exact weights than for everything: "
            f"{saving.seconds:.3g} s instead of about {saving.seconds_for_everything:.3g} s."
        )
    sentences.append(_what_the_audit_found(refinement))
    if refinement.flagged_still_learned:
        sentences.append(_still_flagged(refinement.flagged_still_learned))
    if (total := refinement.sum_of_logs) is not None:
        out = f" ({total.left_out:,} events left out)" if total.left_out else ""
        sentences.append(
            f"Sum of log w over {total.events:,} events: {total.value:.7g} ± {total.error:.2g}{out}."
        )
    return sentences + [f"{text}." for text in refinement.warnings]


def _what_was_computed(refinement: Refinement) -> str:
    limit, entries = refinement.limit, refinement.entries
    if limit.tolerance is not None:
        why = f"their error was above {100 * limit.tolerance:.3g} % or they were flagged"
    else:
        why = f"worst first within {f'{limit.events:,} events' if limit.events else f'{limit.seconds:g} s'}"
    random = f" and {refinement.fresh:,} to compare with random choice" * bool(refinement.fresh)
    return (
        f"Of {len(refinement.weight):,} events {len(entries.refined):,} were computed exactly ({why}; "
        f"{refinement.flagged:,} flagged in all) and {len(entries.audited):,} more at random for the audit"
        f"{random}; {refinement.stays_learned.sum():,} stay learned."
    )


def _what_the_audit_found(refinement: Refinement) -> str:
    audit = refinement.audit
    if audit.figures is None:
        return "The audit has too few events to measure bias and coverage."
    text = (
        f"Audit of {audit.pairs:,} learned weights: bias {audit.figures.bias}, of their sum "
        f"{audit.figures.sum_bias}"
    )
    if (coverage := audit.figures.coverage) is not None:
        text += f"; 68 % intervals cover {coverage.in_68}, 95 % intervals {coverage.in_95}"
    return f"{text}."


def _verdict(refinement: Refinement) -> list[dict[str, str]]:
    """What may be relied on of what stays learned, its bias and its errors, as JSON."""
    figures = refinement.audit.figures
    judgements = {
        "exact and learned": _mixture(refinement),
        "bias of what stays learned": _bias(refinement),
        "errors of what stays learned": _not_audited(refinement) if figures is None else figures.calibration,
    }
    return [judgement.to_dict(about) for about, judgement in judgements.items()]


def _mixture(refinement: Refinement) -> Judgement:
    left, text = refinement.flagged_still_learned, _what_was_computed(refinement)
    if left:
        text = f"{text} {_still_flagged(left)}"
    if refinement.forced is not None:
        return Judgement("bad", f"Two hypotheses are mixed, by --force: {refinement.forced}. {text}")
    return Judgement("care" if left else "good", text)


def _still_flagged(number: int) -> str:
    return (
        f"{number:,} flagged events are still learned: the budget did not reach them, and the audit says "
        "nothing of them."
    )


def _bias(refinement: Refinement) -> Judgement:
    audit = refinement.audit
    if audit.figures is None:
        return _not_audited(refinement)
    bias = audit.figures.bias
    text = (
        f"{audit.pairs:,} learned weights that were audited are off by {bias} on average, and "
        f"their sum by {audit.figures.sum_bias}"
    )
    if bias.significant:
        return Judgement("bad", f"{text}: do not rely on them.")
    if max(abs(bias.value), 2 * bias.error) > BIAS:
        return Judgement("care", f"{text}: to know it to {100 * BIAS:g} %, audit more (--audit).")
    return Judgement("good", f"{text}: no more than {100 * BIAS:g} %.")


def _not_audited(refinement: Refinement) -> Judgement:
    if refinement.population:
        return Judgement("care", "Not measured: too few of the learned weights were audited (--audit).")
    return Judgement("good", "Nothing that could be computed stays learned.")


def _what_was_learned(learning: Learning) -> list[str]:
    sentences = [f"{learning.events:,} exact weights were added to the training of {learning.model}."]
    for part, what in (("audited", "audited"), ("refined_held_out", "refined and held out")):
        if (change := learning.changes.get(part)) is None:
            continue
        before, after = change.before.residuals, change.after.residuals
        if before is not None and after is not None:
            sentences.append(
                f"|Δ| of 68 % of {change.after.events:,} {what} events: {before.q68:.2g} before, "
                f"{after.q68:.2g} after."
            )
    ends = {point.choice: point for point in learning.curve}
    for part, what in (("all", "all events"), ("refined_held_out", "the worst")):
        worth = [
            f"{choice}, |Δ| < {_with_error(found.q68)} for 68 % and {_with_error(found.q95)} for 95 %"
            for choice, point in ends.items()
            if (found := point.quantiles[part]) is not None
        ]
        if len(worth) == 2:
            spent = ends[RANDOM].exact
            sentences.append(f"What {spent:,} exact weights are worth for {what}: {'; '.join(worth)}.")
    return sentences


def _draw_learning(learning: Learning, refinement: Refinement) -> list[dict[str, str]]:
    """Draw what exact weights are worth; **returns** files and captions."""
    from deepmem.evaluation import plots

    titles = {"all": "all events", "refined_held_out": "the worst: refined, held out"}
    curves = {title: by_choice for part, title in titles.items() if (by_choice := learning.of_part(part))}
    if not curves:
        return []
    plots.learning(refinement.folder / "learning.png", curves)
    caption = (
        "|Δ| of 68 % (full) and 95 % (dashed) of events, judged on exact weights that no model learned from, "
        "against the exact weights added to the training; at 0 the model as it was. Each point is one "
        "training: another seed moves it, too."
    )
    if left := refinement.flagged_still_learned:
        caption += f" {left:,} flagged events that the budget did not reach are not judged."
    return [{"file": "learning.png", "caption": caption}]


def _with_error(figure: Estimate) -> str:
    return f"{figure.value:.2g} ± {figure.error:.1g}"
