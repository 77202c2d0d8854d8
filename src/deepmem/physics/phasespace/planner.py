"""The planner: from a tree of decays and what a detector measures of it to the variables that are flat.

1. Perfect legs have no variable. A measured leg has its energy, a neutrino three numbers.
2. The neutrino first. Below one resonance (W) its p_T follows missing p_T, and s_W gives its rapidity. p_T
   has a table that comes before energies, but where its response is sharp: then it comes after them. Below
   two (W in t) both masses do: an ellipse, with φ by missing p_T. If missing p_T is exact, s_W gives the
   rapidity and s_t an energy of the top's. If it balances the partons, t is not mapped. Of two, one
   of W and t is first, on its ellipse, φ by what it leaves the other. Where missing p_T is exact and both
   have two masses, the last one follows s_W and an energy s_t, or both are where their ellipses cross. Of
   two of a W alone, the first has its energy and azimuth about its lepton drawn.
3. From the leaves to the root each resonance takes the energy of one leg of its own: a direct child, the one
   with the widest response. One whose legs show its width, or has no energy left, is not mapped.
4. The other energies are drawn. Equal legs of one mother are exchanged in |M|² alone.
5. Two taus of one mother are last: its mass and missing p_T or the recoil, within a response, give both. One
   beside its neutrino has its visible energy by the response and the part x by its decay, before neutrinos.
6. A lost leg has three numbers. The two masses above a massless one put it on an ellipse; one mass gives its
   energy at a direction. It comes last, after a neutrino, which leaves it the mass that both come of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepmem.physics.detector.taus import TAUS
from deepmem.physics.errors import PlanError
from deepmem.physics.phasespace.composition import (
    ByExpert,
    Composition,
    Lost,
    MissingKind,
    Neutrino,
    Pair,
    Solve,
    Tau,
)
from deepmem.physics.phasespace.trees import INVISIBLE, Leg, Resonance, Tree
from deepmem.physics.processes.base import JETS

# How many standard deviations of its measured mass wide a resonance is where it need not be mapped.
_SHOWN = 1.5
# The least σ of missing p_T, over a typical energy, at which it is drawn before energies: beside cells of its
# table; and over the relative width of the lepton's response and, with the recoil, of the widest of all.
_OF_CELLS, _OF_LEPTON, _OF_ALL = 0.12, 3.0, 0.8
_SCALAR = 1


@dataclass(frozen=True)
class Measurement:
    """What the planner wants to know of a detector and of parameters."""

    widths: Mapping[str, float]
    """Of each class of legs, the relative width of its response at a typical energy; 0: perfect."""
    missing: MissingKind = "exact"
    relative_widths: Mapping[str, float] | None = None
    """Γ/m by the name of Γ; where one is not given, the resonance is taken for narrow."""
    massless: tuple[str, ...] = ("jet",)
    """Classes of legs without a mass."""
    sigma: float = np.inf
    """The least σ of the response of missing p_T, or of the recoil, over a typical energy."""


def planned(tree: Tree, measurement: Measurement, lost: int | None = None) -> Composition | ByExpert:
    """How a tree is mapped, see the module's first lines.

    **Arguments:** `lost`, the number of a leg that no jet is seen of.

    **Raises** `PlanError` for three neutrinos, two of one resonance that no expert is for, one that no lepton
    comes with, taus but for two of one mother and one beside its neutrino, and a leg that can't be lost.
    """
    escaping = tree.invisible
    if len(escaping) > 2:
        raise PlanError(
            f"{tree} has {len(escaping)} neutrinos; there are maps for two at most: let something decay to "
            "what is seen"
        )
    pair = _pair(tree, measurement)
    if len(escaping) == 2:
        if lost is not None:
            raise PlanError(f"{tree} has two neutrinos, and there is no map for a lost jet beside these")
        if (name := _expert(tree)) is not None:
            return ByExpert(tree, name)
    if lost is not None and any(leg.kind in TAUS for leg in tree.legs):
        raise PlanError(f"{tree} has taus, and there is no map for a lost jet beside these")
    unseen = None if lost is None else _lost(tree, lost, measurement)
    taken = () if unseen is None else unseen.masses
    widths = [
        0.0 if leg.kind == INVISIBLE or leg.number == lost else measurement.widths[leg.kind]
        for leg in tree.legs
    ]
    first, neutrino = _neutrinos(tree, measurement.missing, taken)
    singles = () if pair is not None else _single_taus(tree, (first, neutrino), measurement)
    taus = (*(() if pair is None else pair.legs), *(each.leg for each in singles))
    shown = [_is_shown(each, widths, measurement) for each in tree.resonances]
    solves: list[Solve] = []
    for place, each in enumerate(tree.resonances):
        numbers = [leg.number for leg in each.legs]
        if set(numbers) & {*escaping, *taus, lost} or shown[place]:
            continue
        _solve(solves, place, each, widths, kept=())
    late: list[Solve] = []
    if neutrino is not None and measurement.missing == "exact":
        before = tuple(each.leg for each in solves)
        for place in tree.above(neutrino.leg)[1:2]:
            if place not in taken:
                _solve(late, place, tree.resonances[place], widths, kept=before)
        if late or first is None:
            neutrino = replace(neutrino, masses=neutrino.masses[:1], others=())
    solved = {each.leg for each in (*solves, *late)}
    made = Composition(
        tree,
        missing=measurement.missing if escaping or taus or measurement.missing == "recoil" else None,
        drawn=tuple(i for i, width in enumerate(widths) if width > 0 and i not in {*solved, *taus}),
        solves=tuple(solves),
        neutrino=neutrino,
        late=tuple(late),
        exchanges=tuple(_exchanges(tree)),
        pair=pair,
        taus=singles,
        lost=unseen,
        first=first,
        transverse=not singles and lost is None and first is None and _is_first(tree, neutrino, measurement),
    )
    unmapped = tuple(place for place in range(len(tree.resonances)) if place not in made.masses)
    return replace(made, unmapped=unmapped)


def _is_first(tree: Tree, neutrino: Neutrino | None, measurement: Measurement) -> bool:
    """Whether a neutrino's p_T is drawn before the energies: its response is not sharp.

    A table's cells don't follow what is sharper than they are, or than what energies do to it: p_T in units
    of the lepton's moves with this one, and with the recoil what is aimed at with all.
    """
    if neutrino is None or len(neutrino.masses) != 1 or measurement.missing not in ("response", "recoil"):
        return False
    widths = [measurement.widths[leg.kind] for leg in tree.legs if leg.kind != INVISIBLE]
    least = max(_OF_CELLS, _OF_LEPTON * measurement.widths[tree.legs[neutrino.lepton].kind])
    if measurement.missing == "recoil":
        least = max(least, _OF_ALL * max(widths))
    return measurement.sigma >= least


def _lost(tree: Tree, number: int, measurement: Measurement) -> Lost:
    """What a lost leg follows from. **Raises** `PlanError` where it can't be lost, or has no map."""
    leg, above = tree.legs[number], tree.above(number)
    massless = leg.kind in measurement.massless
    if massless and not above:
        raise PlanError(
            f"{leg.name} in {tree} has no mass and comes of no resonance: the integral over a lost one is "
            "infinite where it is soft"
        )
    if measurement.missing == "balance":
        raise PlanError("met=balance has no map for a lost jet: use met=event, or met=recoil")
    masses = above[: 2 if massless else 1]
    if len(above) > len(masses):
        names = ", ".join(tree.resonances[place].name for place in above)
        raise PlanError(f"there is no map for a lost {leg.name} that comes of {names}: there are too many")
    known, others = {number}, []
    for place in masses:
        own = tuple(each.number for each in tree.resonances[place].legs if each.number not in known)
        known |= set(own)
        others.append(own)
    return Lost(number, masses, tuple(others))


def _pair(tree: Tree, measurement: Measurement) -> Pair | None:
    """The two taus of one mother of a tree, if it has these.

    **Raises** `PlanError` where there are others or neutrinos beside them, or missing p_T has no response.
    """
    taus = [leg for leg in tree.legs if leg.kind in TAUS]
    if not taus:
        return None
    places = [
        place
        for place, each in enumerate(tree.resonances)
        if len(each.children) == 2 and all(child in taus for child in each.children)
    ]
    if places and len(taus) > 2:
        raise PlanError(f"{tree} has two taus of one mother and others, and there is no map for both")
    if places and tree.invisible:
        raise PlanError(f"{tree} has two taus of one mother and neutrinos, and there is no map for both")
    if measurement.missing not in ("response", "recoil"):
        raise PlanError(
            "what is not seen of taus is missing p_T, which needs a response: configure that of the recoil, "
            '"response": {"recoil": {"c": 15}}, or "met" and met=event'
        )
    if not places:
        return None
    one, other = (leg.number for leg in taus)
    smeared = tuple(leg.number for leg in taus if measurement.widths[leg.kind] > 0)
    return Pair(places[0], (one, other), smeared)


def _single_taus(
    tree: Tree, neutrinos: Sequence[Neutrino | None], measurement: Measurement
) -> tuple[Tau, ...]:
    """Taus beside their neutrinos. **Raises** `PlanError` for one that is not."""
    beside = {each.lepton for each in neutrinos if each is not None}
    taus = [leg for leg in tree.legs if leg.kind in TAUS]
    if alone := [leg.name for leg in taus if leg.number not in beside]:
        raise PlanError(
            f"{alone[0]} in {tree} has no map: there are maps for two taus of one mother, as in "
            "'h > ta+ ta-', and for one beside its neutrino, as in 'w+ > ta+ vt'"
        )
    return tuple(Tau(leg.number, measurement.widths[leg.kind] > 0) for leg in taus)


def _solve(
    solves: list[Solve], place: int, resonance: Resonance, widths: Sequence[float], kept: tuple[int, ...]
) -> None:
    """Adds what a resonance gives, if it has an energy left."""
    taken = {each.leg for each in solves} | set(kept)
    free = [leg for leg in resonance.legs if widths[leg.number] > 0 and leg.number not in taken]
    direct = [leg for leg in free if leg in resonance.children] or free
    if not direct:
        return
    chosen = max(reversed(direct), key=lambda leg: widths[leg.number])
    others = tuple(leg.number for leg in resonance.legs if leg is not chosen)
    solves.append(Solve(place, chosen.number, others))


def _is_shown(resonance: Resonance, widths: Sequence[float], measurement: Measurement) -> bool:
    """Whether its legs are measured so well that they show its width."""
    worst = max(widths[leg.number] for leg in resonance.legs)
    relative = (measurement.relative_widths or {}).get(resonance.width, 0.0)
    return worst == 0 or relative > _SHOWN * worst / np.sqrt(2)


def _neutrinos(
    tree: Tree, missing: MissingKind, taken: Sequence[int]
) -> tuple[Neutrino | None, Neutrino | None]:
    """Of two the first one and the last one; a single one is the last.

    The last one is that of one mass, if there is one: what is left of p_T and this mass determine it.

    **Raises** `PlanError` for two of one resonance.
    """
    found = [_neutrino(tree, leg, missing, taken) for leg in tree.invisible]
    if len(found) < 2:
        return None, found[0] if found else None
    one, other = (tree.above(each.leg) for each in found)
    if common := [tree.resonances[place].name for place in one if place in other]:
        raise PlanError(
            f"no map is made for the two neutrinos of {tree}, which both come of {common[0]}: there is that "
            "of H → WW without other legs"
        )
    first, last = sorted(found, key=lambda each: -len(each.masses))
    return first, last


def _neutrino(tree: Tree, leg: int, missing: MissingKind, taken: Sequence[int]) -> Neutrino:
    """By the resonances above it, but for a second one that is `taken` by a lost leg.

    A single one takes the second one where missing p_T has a response alone.
    """
    above = tree.above(leg)
    mother = tree.resonances[above[0]] if above else None
    beside = () if mother is None else tuple(each.number for each in mother.legs if each.number != leg)
    if len(beside) != 1:
        raise PlanError(
            f"{tree.legs[leg].name} in {tree} comes of no resonance with one other leg, whose mass would "
            "give its momentum: write the decay that it comes from"
        )
    free = len(tree.invisible) == 2 or missing in ("response", "recoil")
    if len(above) == 1 or not free or above[1] in taken:
        return Neutrino(leg, beside[0], above[:1])
    others = (each.number for each in tree.resonances[above[1]].legs)
    return Neutrino(
        leg, beside[0], above[:2], tuple(number for number in others if number not in (leg, *beside))
    )


def _exchanges(tree: Tree) -> list[tuple[int, ...]]:
    """Legs of one mother that a detector cannot tell apart; not of a scalar, which decays evenly."""
    mothers = [tree.children, *(r.children for r in tree.resonances if r.spin != _SCALAR or len(r.legs) > 2)]
    groups = []
    for children in mothers:
        kinds: dict[str, list[int]] = {}
        for child in children:
            if isinstance(child, Leg) and child.kind in JETS:
                kinds.setdefault(child.kind, []).append(child.number)
        groups += [tuple(numbers) for numbers in kinds.values() if len(numbers) > 1]
    return sorted(groups)


def _expert(tree: Tree) -> str | None:
    """The topology of a tree with two neutrinos that is mapped by hand; its legs have the expert's order."""
    one, *more = tree.children
    pair = one.children if not more and isinstance(one, Resonance) else ()
    if len(pair) == 2 and all(map(_is_leptonic, pair)):
        return "Higgs boson to W pair"
    if len(tree.children) == 2 and all(map(_is_leptonic, tree.children)):
        return "W pair"
    if len(tree.children) == 2 and all(map(_is_leptonic_top, tree.children)):
        return "top pair"
    return None


def _is_leptonic(child: Resonance | Leg) -> bool:
    """Whether it is a resonance of a lepton and a neutrino, in this order."""
    if not isinstance(child, Resonance):
        return False
    return [leg.kind for leg in child.children if isinstance(leg, Leg)] == ["lepton", INVISIBLE]


def _is_leptonic_top(child: Resonance | Leg) -> bool:
    """Whether it is a resonance of such a one and a b quark, in this order."""
    if not isinstance(child, Resonance) or len(child.children) != 2:
        return False
    w, quark = child.children
    return _is_leptonic(w) and isinstance(quark, Leg) and quark.kind == "bjet"
