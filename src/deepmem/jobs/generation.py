"""Events of a generator in a file, made by this process or by workers. What an interrupted call has made is
kept beside the file, and the same call continues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepmem.data.files import check_writable, owned, refuse_input_as_output
from deepmem.errors import Interrupted
from deepmem.events.partons import PartonEvents, files_by_content, generate_partons, theory_by_content
from deepmem.events.pythia import Generated, generate
from deepmem.jobs.contents import Contents, Everywhere
from deepmem.jobs.environment import PACKAGES, versions
from deepmem.jobs.in_order import InOrder
from deepmem.jobs.kept import Kept
from deepmem.jobs.staff import LEADING_ORDER, Staff
from deepmem.ordered import Mapper
from deepmem.physics.detector.entries import histograms
from deepmem.reporter import Reporter

_WITH_PYTHIA = (*PACKAGES, "pythia8mc")


def generate_events(
    process: str,
    events: int,
    seed: int,
    output: str | Path,
    *,
    parton: bool = False,
    staff: Staff = Staff(),  # noqa: B008  (it is a value)
    reporter: Reporter | None = None,
    **settings: Any,
) -> Generated | PartonEvents:
    """Write events of a process: those of Pythia, or with `parton` of leading order.

    **Arguments:** `staff`, who computes: no event depends on it; the rest as of `events.pythia.generate` or
    `events.partons.generate_partons`.

    **Returns** what these do. **Raises** as they do; `UsageError` for a number of workers that makes no
    sense; `Interrupted` where the user stops it.
    """
    reporter = reporter or Reporter()
    staff.check()
    check_writable(output)
    refuse_input_as_output(output, histograms(settings.get("response")))
    kept = Kept(Path(output), _about(process, events, seed, parton, settings))
    with (
        owned(output, f"generate {process}"),
        InOrder.of(staff, LEADING_ORDER, kept, reporter, PACKAGES if parton else _WITH_PYTHIA) as workers,
        reporter.progress("generating", events) as step,
    ):
        told = 0

        def progress(done: int) -> None:
            nonlocal told
            step(done - told)
            told = done

        try:
            made: Generated | PartonEvents
            if parton:
                mapper: Mapper = Everywhere(
                    workers, Contents(process, settings.get("response"), dict(settings))
                )
                settings |= {"mapper": mapper, "progress": progress}
                made = generate_partons(process, events, seed, output, **settings)
            else:
                settings |= {"mapper": workers, "progress": progress}
                made = generate(process, events, seed, output, **settings)
        except KeyboardInterrupt:
            there = any(kept.names())
            what = "what was made is kept, the same command continues" if there else "nothing is kept"
            raise Interrupted(f"interrupted; {what}") from None
        kept.remove()
    return made


def _about(process: str, events: int, seed: int, parton: bool, settings: dict[str, Any]) -> dict[str, Any]:
    """All that the events depend on."""
    return {
        "command": "generate",
        "process": process,
        "events": events,
        "seed": seed,
        "parton": parton,
        "settings": {name: repr(value) for name, value in settings.items()},
        "versions": versions(_WITH_PYTHIA),
        **files_by_content(settings.get("response")),
        **(theory_by_content(process, settings) if parton else {}),
    }
