"""What can be wrong with a call for an amplitude."""

from __future__ import annotations

from collections.abc import Iterable

from deepmem.errors import UsageError, nearest


class UnknownNameError(UsageError):
    """A process, parameter or subset that does not exist; the message names the nearest one that does."""


class ParameterError(UsageError):
    """A parameter's value makes no physical sense."""


class MomentaError(UsageError):
    """An array of momenta has the wrong shape or the wrong sign convention."""


class InitialStateError(UsageError):
    """Two partons that do not make the process."""


class ReactionError(UsageError):
    """A reaction that can't be read, or that no model has."""


class ModelError(UsageError):
    """A model that can't be read or evaluated, or that has what the generator does not know."""


class PlanError(UsageError):
    """A reaction, seen by a detector, that no map of phase space is made for."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a `name` that is not among the `known` ones of its `kind`."""
    known = list(known)
    there = f"known: {', '.join(known)}" if known else "there are none"
    return UnknownNameError(f"unknown {kind} {name!r}{nearest(str(name), known)}; {there}")
