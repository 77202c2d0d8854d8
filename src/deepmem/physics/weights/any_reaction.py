"""σ, σ_vis and events of any reaction, from its diagrams: no process is known by name.

With `parton` cuts are on partons, without recoil and response, and σ is what passes them. Else σ is all of
it, and σ_vis what passes cuts on measured quantities; where σ is infinite, `parton_selection` has cuts on
partons for both, or `parton_pt`, as weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from deepmem.errors import DeepMEMError, UsageError
from deepmem.ordered import Mapper, telling
from deepmem.physics.precision import double_precision
from deepmem.physics.processes import chosen_process
from deepmem.physics.processes.base import DEFAULT_DENSITY
from deepmem.physics.theory.densities import DensityAtScale
from deepmem.physics.theory.lhapdf import current
from deepmem.physics.weights.collinear import checked_parton_pt, on_partons_with
from deepmem.physics.weights.cross_sections import CrossSection
from deepmem.physics.weights.multichannel import Chunk, Multichannel, Work
from deepmem.physics.weights.parton_level import Reaction
from deepmem.physics.weights.parton_points import PartPoints, Points
from deepmem.physics.weights.parton_response import Seen, View
from deepmem.physics.weights.partonic import density_at_scale
from deepmem.physics.weights.recoil import Recoil
from deepmem.physics.weights.settings import checked_lost, with_prior
from deepmem.selection import Selection

_OF_THE_MENU = ("mass", "pair_mass", "top_window", "subset")
_FEWEST = 65536
"""Points in the integrals, at least: errors are estimated from the points themselves."""


class Sampler:
    """A reaction as it is integrated: maps, densities, cuts and what is seen.

    **Arguments:** as of `leading_order.cross_section`.
    """

    def __init__(
        self,
        text: str,
        selection: Selection | Mapping[str, Any] | None,
        *,
        parton: bool = False,
        parton_selection: Selection | Mapping[str, Any] | None = None,
        spectrum: Recoil | None = None,
        recoil: Recoil | None = None,
        met: str | None = None,
        K0: float | None = None,
        taus: str | None = None,
        response: Mapping[str, Any] | None = None,
        lost: Any = None,
        parton_pt: float | None = None,
        **settings: Any,
    ) -> None:
        seen_by: dict[str, Any] = {"spectrum": spectrum, "recoil": recoil, "met": met, "K0": K0, "taus": taus}
        seen_by |= {"response": response, "lost": lost, "parton": parton, "parton_pt": parton_pt}
        self._said = text, selection, seen_by | {"parton_selection": parton_selection} | settings
        for name in _OF_THE_MENU:
            if settings.pop(name, None) is not None:
                raise UsageError(
                    f"{name} is for processes of the menu and of their shapes: {text} is integrated over all "
                    "masses, or within window, the widths of its resonances, and the selection"
                )
        self.cuts = Selection.of(selection)
        if parton and lost:
            raise UsageError("lost is of jets that are measured: leave parton out")
        if parton and parton_selection is not None:
            raise UsageError("parton has the selection on partons: parton_selection is for cuts beside it")
        on_partons = self.cuts if parton else Selection.of(parton_selection)
        if parton_pt is not None:
            process = chosen_process(text, dict(settings), summed=True)
            least = checked_parton_pt(process, parton_pt, None)
            on_partons = on_partons_with(on_partons, process, least)
        resolution = {name[2:]: settings.pop(name) for name in tuple(settings) if name.startswith("r_")}
        if both := resolution.keys() & (response or {}).keys():
            raise UsageError(f"r_{min(both)} and a response for {min(both)} are both given: leave one out")
        pdf = settings.pop("pdf", DEFAULT_DENSITY)
        self.reaction = Reaction(text, None if on_partons == Selection() else on_partons, **settings)
        if on_partons != Selection():
            for part in self.reaction.parts:
                for codes, _ in part.finals:
                    on_partons.refuse_without_effect(codes)
        entries = {**(response or {}), **resolution}
        if K0 is not None:
            entries["recoil"] = with_prior(entries.get("recoil"), K0)
        spectra = spectrum, recoil
        seen_in = checked_lost(lost, self.cuts) if lost else None
        self.view = None if parton else View(self.reaction, self.cuts, spectra, entries, met, taus, seen_in)
        density = _density(pdf, self.reaction)
        self.parts = [PartPoints(self.reaction, part, density) for part in self.reaction.parts]

    def __reduce__(self) -> tuple[Any, ...]:
        """It is sent to other processes as what was said of it."""
        return (_of_what_was_said, self._said)

    def integrals(
        self, seed: int = 1, mapper: Mapper = map, visible_alone: bool = False, work: Work | None = None
    ) -> Multichannel:
        """σ and σ_vis; or one of both where the other is not asked for.

        **Arguments:** `work`, which has these values and more of a chunk.
        """
        one = self.view is None or visible_alone
        dimensions = [[each.dimensions for each in part.part.maps] for part in self.parts]
        return Multichannel(dimensions, 1 if one else 2, work or Integrand(self, one), seed, mapper)

    def visible(self, part: int, points: Points, rng: np.random.Generator) -> tuple[np.ndarray, Seen]:
        """dσ (E'/E) of what passes `[finals, points]`, and what is seen."""
        if self.view is None:
            raise UsageError("nothing is seen of partons")
        seen = self.view.see(points.momenta, rng)
        finals = [codes for codes, _ in self.parts[part].part.finals]
        return points.sigma * seen.boost * self.view.passed(seen, finals), seen


def _of_what_was_said(text: str, selection: Any, settings: Mapping[str, Any]) -> Sampler:
    return Sampler(text, selection, **settings)


@dataclass(frozen=True)
class Integrand:
    """σ and σ_vis of a chunk's points, or `one` of both: σ_vis, where anything is seen."""

    sampler: Sampler
    one: bool

    def __call__(self, chunk: Chunk) -> dict[str, np.ndarray]:
        (rng, cube), sampler = chunk.draw(), self.sampler
        points = sampler.parts[chunk.part].points(chunk.number, cube.u, chunk.maps)
        values = np.zeros((1 if self.one else 2, chunk.size))
        if not self.one or sampler.view is None:
            values[0, points.rows] = points.sigma.sum(axis=0)
        if sampler.view is not None:
            values[-1, points.rows] = sampler.visible(chunk.part, points, rng)[0].sum(axis=0)
        return {"values": values * cube.jacobian}


class Goal(NamedTuple):
    """When enough points were drawn: see `leading_order.cross_section`."""

    precision: float
    tolerance: float | None
    points: int | None
    most: int

    def seeming(self, drawn: int, worst: float, least: int) -> int:
        """How many points it seems to take: the relative error `worst` of what was drawn falls as 1/√points.

        **Arguments:** `least`, before errors are believed.
        """
        if self.points is not None:
            return self.points
        seeming = drawn * (worst / self.precision) ** 2 if np.isfinite(worst) else np.inf
        return int(min(max(seeming, least), self.most))


Progress: TypeAlias = Callable[[int, int], None]
"""Told how many points were drawn, and how many it seems to take."""


def _density(pdf: Any, reaction: Reaction) -> DensityAtScale:
    partons = {parton for part in reaction.parts for each in part.contributions for parton in each.partons}
    density = current(pdf).select(*sorted(partons))
    with double_precision():
        return density_at_scale(density, np.asarray(reaction.scale))


def cross_section_of(
    text: str,
    selection: Selection | Mapping[str, Any] | None,
    goal: Goal,
    seed: int,
    mapper: Mapper,
    progress: Progress,
    **settings: Any,
) -> CrossSection:
    """σ and σ_vis of a reaction, in pb: see `leading_order.cross_section`."""
    precision, tolerance, points, most = goal
    sampler, learned = Sampler(text, selection, **settings), False

    def tell() -> None:
        drawn = many.points if learned else 0
        known = learned and all(channel.means[0].points for channel in many.channels)
        worst = _worst(many) if known else float("inf")
        progress(drawn, goal.seeming(drawn, worst, _FEWEST))

    reaction, many = sampler.reaction, sampler.integrals(seed, telling(mapper, tell))
    many.prepare(points)
    learned = True
    many.round(_FEWEST if points is None else points)
    while points is not None and many.points < points:
        many.round(points - many.points)
    while points is None and many.points < most and (worst := _worst(many)) > precision:
        share = min(1.1 * (worst / precision) ** 2 - 1, 3.0)
        many.round(int(many.points * share) + _FEWEST // 4)
    if many.passed == 0:
        raise DeepMEMError(
            f"{reaction.name}: none of {many.points} points passed the selection {sampler.cuts}, so σ_vis is "
            "unknown: draw more points, or widen the selection"
        )
    if points is None and (worst := _worst(many)) > (tolerance or precision):
        raise DeepMEMError(
            f"{reaction.name}: after {many.points} points σ and σ_vis are known to {worst:.1e}: ask for less "
            f"precision than {precision:g}, or a wider selection"
        )
    totals, errors, masses = many.totals, many.errors, (0.0, reaction.root)
    return CrossSection(
        reaction.name,
        totals[0],
        errors[0],
        totals[-1],
        errors[-1],
        mass=masses,
        sampled=masses,
        pair_mass=0.0,
        top_window=float("inf"),
        points=many.points,
        passed=many.passed,
        sampled_pair_mass=0.0,
        beyond=0.0,
        light=0.0,
        window=reaction.window,
        partons=sampler.view is None,
    )


def _worst(many: Multichannel) -> float:
    """The largest relative error."""
    both = zip(many.errors, many.totals, strict=True)
    return max(error / total if total > 0 else float("inf") for error, total in both)
