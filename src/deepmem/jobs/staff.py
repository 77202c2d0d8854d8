"""Whom a call wants to compute: this process, others of this machine, or the workers of a scheduler.

Nothing heavy is imported here, so that workers may be on their way before what this process needs is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from deepmem.errors import UsageError
from deepmem.jobs.environment import PACKAGES
from deepmem.jobs.scheduler import DaskWorkers
from deepmem.jobs.workers import Crew, Workers, shares
from deepmem.reporter import Reporter

# What takes workers longest to import, by what they compute.
WEIGHTS = ("deepmem.jobs.tasks",)
LEADING_ORDER = ("deepmem.physics.weights.leading_order",)
PREDICTIONS = ("deepmem.surrogate.model",)


@dataclass(frozen=True)
class Staff:
    """Whom a call wants to compute.

    - `workers`: this process alone (1), so many of this machine, or one for each core where the work is
      worth their start (0); each on `threads` cores
    - `scheduler`: or the workers of a Dask scheduler, by its address
    """

    workers: int = 1
    threads: int = 1
    scheduler: str | None = None
    _begun: list[Workers] = field(default_factory=list, compare=False, repr=False)
    """Those that are on their way: of the first crew that is asked for."""

    def check(self) -> None:
        """**Raises** `UsageError` for a number of workers that makes no sense, or two kinds of them."""
        shares(self.workers, self.threads)
        if self.scheduler is not None and self.workers > 1:
            raise UsageError(
                f"--workers {self.workers} and --scheduler {self.scheduler}: leave one out, for a scheduler "
                "has its own workers"
            )

    @property
    def at_once(self) -> bool:
        """Whether somebody is asked for, whatever that costs."""
        return self.workers > 0 or self.scheduler is not None

    def on_their_way(self, modules: Sequence[str]) -> Staff:
        """The same, where workers that are asked for have been started: they import while this process does.

        **Raises** `UsageError` as `check` does.
        """
        self.check()
        if self.workers < 2:
            return self
        return replace(self, _begun=[Workers(shares(self.workers, self.threads), modules)])

    def crew(
        self, modules: Sequence[str], reporter: Reporter, packages: Sequence[str] = PACKAGES
    ) -> Callable[[], Crew] | None:
        """What starts them; None where this process is alone.

        **Arguments:** `modules`, what takes them longest to import; `packages`, whose versions are to be the
        same everywhere.

        **Raises** `UsageError` as `check` does.
        """
        self.check()
        if (address := self.scheduler) is not None:
            return lambda: DaskWorkers(address, reporter.message, packages)
        cores = shares(self.workers, self.threads)
        if len(cores) == 1:
            return None
        return lambda: self._begun.pop() if self._begun else Workers(cores, modules)
