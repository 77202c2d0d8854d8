"""|M|² of any reaction, by what a user types: "g g > t t~ h, (t > w+ b, w+ > l+ vl), …".

The channels of a reaction are found once in a process, and the programs of their amplitudes are kept on disk,
see `amplitudes.amplitude`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from deepmem.errors import DeepMEMWarning
from deepmem.physics.amplitudes.channels import Channel, channels, of_initial_state
from deepmem.physics.amplitudes.powers import squared_monomials
from deepmem.physics.errors import ParameterError, unknown_name
from deepmem.physics.momenta import checked_momenta, doubts
from deepmem.physics.theory.expressions import complex_parameters
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.models import load
from deepmem.physics.theory.polynomial import Polynomial
from deepmem.physics.theory.reaction import Reaction, parse
from deepmem.physics.theory.restriction import switched_off, without_followers
from deepmem.physics.theory.settings import checked
from deepmem.physics.theory.subprocesses import DEFAULT_FLAVOURS, Subprocess

_B = 5
_LIGHT = 1.0
"""GeV: no particle written below it sets a scale, where b quarks have no mass."""
Labels = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Theory:
    """What a reaction is read in: a model, a user's labels, and the quarks of a proton."""

    model: str | PathLike[str] = "sm"
    param_card: str | PathLike[str] | None = None
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    flavours: int = DEFAULT_FLAVOURS
    massless_b: bool = False
    """Whether MB is 0, in |M|² and of every leg; a Yukawa mass that follows it keeps its default."""

    @classmethod
    def of(cls, labels: Labels | None = None, **settings: Any) -> Theory:
        """With labels as a user gives them: {"q": "u d s c"} or {"q": ["u", "d"]}."""
        items = (labels or {}).items()
        named = ((name, tuple(v.split() if isinstance(v, str) else map(str, v))) for name, v in items)
        return cls(labels=tuple(sorted(named)), **settings)

    @classmethod
    def named(cls, settings: Mapping[str, Any]) -> Theory:
        """From settings by name. **Raises** `UnknownNameError` for one that is none of these."""
        names = ("model", "param_card", "flavours")
        for name in settings.keys() - set(names):
            raise unknown_name("setting of a reaction", name, names)
        return cls(**settings)


@dataclass(frozen=True)
class Read:
    """A reaction in a model, with its channels."""

    reaction: Reaction
    model: Model
    channels: tuple[Channel, ...]

    @cached_property
    def defaults(self) -> dict[str, float]:
        """All parameters of the model at its defaults, real parts."""
        return {name: value.real for name, value in complex_parameters(self.model, {}).items()}

    def heaviest(self, subprocesses: Iterable[Subprocess]) -> str:
        """The name of the mass that is the default scale Q: of the heaviest particle written, else MZ."""
        written: set[int] = set()
        for each in subprocesses:
            written |= each.resonances.union(map(abs, each.outgoing))

        def size(name: str) -> float:
            return abs(self.defaults.get(name, 0.0))

        found = max((self.model.by_code[code].mass for code in sorted(written)), key=size, default="MZ")
        return "MZ" if size(found) < (size("MB") or _LIGHT) else found

    @property
    def legs(self) -> tuple[str, ...]:
        """The outgoing legs as they are written, each decay in place."""
        return self.reaction.terms[0].legs

    def parameters(self) -> dict[str, float | str]:
        """What can be set, with its default; of what follows from others unless it is set, from what."""
        masses = {each.mass for each in self.model.particles}
        return {
            each.name: str(each.expression) if each.value is None else each.value
            for each in self.model.parameters
            if each.value is not None or each.name in masses or str(each.expression).isidentifier()
        }

    def describe(self) -> dict[str, Any]:
        """What `deepmem processes` prints of it, as JSON."""
        members = [member.subprocess for channel in self.channels for member in channel.members]
        return {
            "reaction": str(self.reaction),
            "model": self.model.name,
            "legs": list(self.legs),
            "subprocesses": len(members),
            "channels": [
                {
                    "incoming": list(channel.members[0].subprocess.incoming),
                    "outgoing": list(channel.members[0].subprocess.outgoing),
                    "subprocesses": len(channel.members),
                    "diagrams": channel.diagrams,
                    "orders": " ".join(map(str, channel.subprocess.requirements.orders)),
                }
                for channel in self.channels
            ],
            "parameters": self.parameters(),
        }

    def polynomial(
        self, names: Sequence[str], given: Iterable[str] = (), scales: Mapping[str, float] | None = None
    ) -> Polynomial:
        """Σ|M|² of all channels as a polynomial in some couplings: its monomials, and points to know it from.

        **Arguments:** `names` of the couplings; `given`: other parameters that are set, and no longer follow
        from these; `scales`: of couplings whose values of interest are far from 1, such values.

        **Raises** `UnknownNameError` for no parameter of the model; `ParameterError` for one that is in both
        `names` and `given`, or twice; `ModelError` for one that enters a mass, a width, or a coupling that is
        no polynomial in it.
        """
        given = tuple(given)
        for k, name in enumerate(names):
            if name in given or name in names[:k]:
                raise ParameterError(f"{name} is to be free: give it once, and no value for it")
        return Polynomial.of(names, squared_monomials(self.channels, names, given), scales)


def read(reaction: str, theory: Theory | None = None) -> Read:
    """A reaction in a model.

    **Raises** `ReactionError` for what is no reaction, or has no diagram; `UnknownNameError` for a name that
    is no particle, label or model; `ModelError` for a model that cannot be read.
    """
    theory = theory or Theory()
    return _read(reaction, theory, load(theory.model, theory.param_card))


@lru_cache(maxsize=64)
def _read(text: str, theory: Theory, model: Model) -> Read:
    reaction = parse(text)
    if theory.massless_b and model.by_code[_B].mass == "MB":
        model = switched_off(without_followers(model, "MB"), ("MB",))
    return Read(reaction, model, channels(reaction, model, dict(theory.labels), theory.flavours))


def matrix_element(
    reaction: str,
    incoming: Sequence[int] | None,
    momenta: ArrayLike,
    theory: Theory | None = None,
    **parameters: float,
) -> np.ndarray:
    """|M|² of a reaction for one initial state, summed over its subprocesses.

    **Arguments:** `incoming`: PDG codes, in either order; None where there is one initial state. `momenta`
    `[..., legs, 4]`, (E, px, py, pz) in GeV, incoming first in the order of `incoming`, then the legs as they
    are written. `parameters` by the model's names.

    **Returns** float64 `[...]`, averaged over initial, summed over final spins and colours, with 1/n! of
    identical particles, in GeV^(8 − 2 legs); NaN where a momentum is NaN or masked.

    **Warns** (`DeepMEMWarning`) of points that are off shell, do not conserve momentum, or where a particle
    without a width is on its shell.

    **Raises** as `read`, and `InitialStateError`, `MomentaError`, `ParameterError`.
    """
    found = read(reaction, theory)
    chosen = of_initial_state(found.channels, incoming)
    first = chosen[0][1][0].subprocess
    number, outgoing = len(first.incoming), first.outgoing
    points = checked_momenta(momenta, f"'{found.reaction}'", number, outgoing)
    values = checked(found.model, parameters)
    flat = points.reshape(-1, *points.shape[-2:])
    codes = (*(first.incoming if incoming is None else map(int, incoming)), *outgoing)
    numbers = complex_parameters(found.model, values)
    masses = [abs(numbers[found.model.by_code[code].mass].real) for code in codes]
    for text in doubts(flat, codes, masses, number):
        warnings.warn(text, DeepMEMWarning, stacklevel=3)
    total = np.zeros(len(flat))
    for channel, members in chosen:
        for turned in (False, True):
            times = sum(member.turned is turned for member in members)
            if times:
                here = flat[:, [1, 0, *range(2, flat.shape[1])]] if turned else flat
                total += times * channel.values(here, values)
    known = ~np.isnan(flat).any(axis=(1, 2))
    total[~known] = np.nan
    if at_poles := int((known & ~np.isfinite(total)).sum()):
        warnings.warn(_of_poles(found, values, at_poles, len(flat)), DeepMEMWarning, stacklevel=3)
    return total.reshape(points.shape[:-2])


def _of_poles(found: Read, values: Mapping[str, float], count: int, points: int) -> str:
    """What is said of points where a propagator is infinite."""
    numbers = complex_parameters(found.model, dict(values))
    inner = frozenset[int]().union(*(channel.inner for channel in found.channels))
    widths = {found.model.by_code[code].width for code in inner} - {"ZERO"}
    zero = ", ".join(sorted(f"{name} = 0" for name in widths if numbers[name] == 0))
    return (
        f"|M|² of '{found.reaction}' is infinite at {count} of {points} points: a particle without width is "
        f"on its shell there{f' ({zero}: give it a width)' if zero else ''}"
    )


class Coefficients(NamedTuple):
    """|M|² for all values of some couplings."""

    polynomial: Polynomial
    values: Float[np.ndarray, "*points monomials"]

    def at(self, **couplings: ArrayLike) -> np.ndarray:
        """|M|² `[…]` at values of all of the couplings. **Raises** `UnknownNameError` for other names."""
        return self.values @ self.polynomial.monomials(**couplings)


def coefficients(
    reaction: str,
    incoming: Sequence[int] | None,
    momenta: ArrayLike,
    names: Sequence[str],
    theory: Theory | None = None,
    **parameters: float,
) -> Coefficients:
    """|M|² of a reaction as a polynomial in couplings, from as many values as it has monomials.

    **Arguments:** `names` of the couplings; `parameters` that have other values than the model's; the rest as
    of `matrix_element`, which this warns and raises as, too, and as `Read.polynomial`.
    """
    found = read(reaction, theory).polynomial(names, parameters)
    values = [
        matrix_element(reaction, incoming, momenta, theory, **parameters, **point)
        for point in found.settings()
    ]
    return Coefficients(found, found.coefficients(np.stack(values, axis=-1)))
