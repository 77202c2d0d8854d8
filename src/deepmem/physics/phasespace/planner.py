"""The planner: from a tree of decays and what a detector measures of it to the variables that are flat.

1. Perfect legs have no variable. A measured leg has its energy, a neutrino three numbers.
2. The neutrino first. Below one resonance (W) its p_T follows missing p_T, and s_W gives its rapidity. Below
   two (W in t) both masses do: an ellipse, with φ by missing p_T. If missing p_T is exact, s_W gives the
   rapidity and s_t an energy of the top's. If it balances the partons, t is not mapped.
3. From the leaves to the root each resonance takes the energy of one leg of its own: a direct child, the one
   with the widest response. One whose legs show its width, or has no energy left, is not mapped.
4. The other energies are drawn. Equal legs of one mother are exchanged in |M|² alone.
5. Two taus of one mother are last: its mass and missing p_T or the recoil, within a response, give both.
6. A lost leg has three numbers. The two masses above a massless one put it on an ellipse; one mass gives its
   energy at a direction. It comes last, after a neutrino, which leaves it the mass that both come of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Literal, TypeAlias

import numpy as np

from deepmem.physics.detector.taus import TAUS
from deepmem.physics.errors import PlanError
from deepmem.physics.phasespace.trees import INVISIBLE, Leg, Resonance, Tree
from deepmem.physics.processes.base import JETS

MissingKind: TypeAlias = Literal["exact", "response", "recoil", "balance"]
"""Missing p_T as measured; within its response; the recoil within its response; what balances the partons."""

# How many standard deviations of its measured mass wide a resonance is where it need not be mapped.
_SHOWN = 1.5
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


@dataclass(frozen=True)
class Solve:
    """The energy of a leg follows from the mass of a resonance."""

    resonance: int
    """Its place in `Tree.resonances`."""
    leg: int
    others: tuple[int, ...]
    """The other legs of the resonance."""


@dataclass(frozen=True)
class Neutrino:
    """How a neutrino follows from masses and missing p_T."""

    leg: int
    lepton: int
    masses: tuple[int, ...]
    """Resonances above it whose masses make it: W; or W and t, an ellipse."""
    others: tuple[int, ...] = ()
    """With two masses, the legs of the second resonance that do not come of the first."""


@dataclass(frozen=True)
class Pair:
    """Two taus of one resonance, whose mass and missing p_T give both energies."""

    resonance: int
    legs: tuple[int, int]
    smeared: tuple[int, ...]
    """Those whose visible energy is a variable: it is not measured perfectly."""


@dataclass(frozen=True)
class Lost:
    """How a leg that no jet is seen of follows from masses."""

    leg: int
    masses: tuple[int, ...]
    """Resonances above it whose masses make it, the nearest one first: none, one, or two, an ellipse."""
    others: tuple[tuple[int, ...], ...]
    """The other legs of each; of a second one without those of the first."""


@dataclass(frozen=True)
class Composition:
    """Which variables there are, and what follows from each: a value that code is compiled for."""

    tree: Tree
    missing: MissingKind | None
    """None: nothing escapes, and no recoil is measured."""
    drawn: tuple[int, ...]
    """Legs whose energies are variables."""
    solves: tuple[Solve, ...]
    """In their order."""
    neutrino: Neutrino | None = None
    late: tuple[Solve, ...] = ()
    """What is solved after the neutrino."""
    unmapped: tuple[int, ...] = ()
    """Resonances whose masses are no variables."""
    exchanges: tuple[tuple[int, ...], ...] = ()
    """Groups of legs that are exchanged in |M|² alone."""
    pair: Pair | None = None
    """Of taus, after all others."""
    lost: Lost | None = None
    """The leg that is not seen, after all others."""

    @property
    def pair_variables(self) -> tuple[str, ...]:
        """Beside the mass."""
        if self.pair is None:
            return ()
        legs = self.tree.legs
        seen = (f"E_vis({legs[number].name})" for number in self.pair.smeared)
        return (*seen, f"E({legs[self.pair.legs[0]].name})")

    @property
    def lost_variables(self) -> tuple[str, ...]:
        """Beside masses."""
        if self.lost is None:
            return ()
        kinds = {2: ("φ",), 1: ("φ", "η"), 0: ("φ", "η", "pT")}[len(self.lost.masses)]
        return tuple(f"{kind}({self.tree.legs[self.lost.leg].name})" for kind in kinds)

    @property
    def neutrino_variables(self) -> tuple[str, ...]:
        """Beside masses."""
        if self.neutrino is None:
            return ()
        name = self.tree.legs[self.neutrino.leg].name
        if len(self.neutrino.masses) == 2:
            return (f"φ({name})",)
        return (f"px({name})", f"py({name})") if self.missing in ("response", "recoil") else ()

    @property
    def masses(self) -> tuple[int, ...]:
        """Resonances whose masses are variables, in the order of the variables."""
        of_neutrino = () if self.neutrino is None else self.neutrino.masses
        return (
            *(each.resonance for each in self.solves),
            *of_neutrino,
            *(each.resonance for each in self.late),
            *(() if self.pair is None else (self.pair.resonance,)),
            *(() if self.lost is None else self.lost.masses),
        )

    @property
    def variables(self) -> tuple[str, ...]:
        """The coordinates of the unit cube by what they stand for.

        Masses come last: they are flattened best, and the lattice is at its best in the first coordinates.
        """
        legs, resonances = self.tree.legs, self.tree.resonances
        return (
            *(f"E({legs[number].name})" for number in self.drawn),
            *self.neutrino_variables,
            *self.pair_variables,
            *self.lost_variables,
            *(f"s({resonances[place].name})" for place in self.masses),
        )

    def mass_variable(self, resonance: int) -> int:
        """The coordinate of a resonance's mass."""
        return self.dimensions - len(self.masses) + self.masses.index(resonance)

    @property
    def dimensions(self) -> int:
        """Of the unit cube."""
        return len(self.variables)

    def orders(self) -> tuple[tuple[int, ...], ...]:
        """The orders of all legs that |M|² is averaged over at each point, the given one first."""
        count = len(self.tree.legs)
        orders = []
        for choice in product(*(permutations(group) for group in self.exchanges)):
            order = list(range(count))
            for group, chosen in zip(self.exchanges, choice, strict=True):
                for place, leg in zip(group, chosen, strict=True):
                    order[place] = leg
            orders.append(tuple(order))
        return tuple(orders)

    def describe(self) -> str:
        """The plan in words, a line for each part."""
        legs, resonances = self.tree.legs, self.tree.resonances
        lines = [str(self.tree)]

        def solved(each: Solve) -> str:
            return f"s({resonances[each.resonance].name}) gives E({legs[each.leg].name})"

        lines += map(solved, self.solves)
        if self.neutrino is not None:
            lines.append(self._of_neutrino(self.neutrino))
        lines += [f"{solved(each)}, after it" for each in self.late]
        if self.pair is not None:
            lines.append(self._of_pair(self.pair))
        if self.lost is not None:
            lines.append(self._of_lost(self.lost))
        if self.drawn:
            lines.append("drawn: " + ", ".join(f"E({legs[number].name})" for number in self.drawn))
        if self.unmapped:
            lines.append("not mapped: " + ", ".join(resonances[place].name for place in self.unmapped))
        for group in self.exchanges:
            lines.append("exchanged in |M|²: " + ", ".join(legs[number].name for number in group))
        return "\n".join((*lines, f"{self.dimensions} dimensions"))

    def _of_pair(self, pair: Pair) -> str:
        one, other = (self.tree.legs[number].name for number in pair.legs)
        source = "the recoil" if self.missing == "recoil" else "missing p_T"
        mass = self.tree.resonances[pair.resonance].name
        return (
            f"s({mass}) and E({one}) give E({other}), E({one}) by its decay and {source} within its response"
        )

    def _of_lost(self, lost: Lost) -> str:
        name = self.tree.legs[lost.leg].name
        masses = " and ".join(f"s({self.tree.resonances[place].name})" for place in lost.masses)
        if len(lost.masses) == 2:
            return f"{masses} give {name}, which is lost, on an ellipse, φ by where it is lost"
        if lost.masses:
            return f"{masses} gives E({name}), which is lost, at a direction by where it is lost"
        return f"{name} is lost, its momentum by where it is lost"

    def _of_neutrino(self, neutrino: Neutrino) -> str:
        name = self.tree.legs[neutrino.leg].name
        masses = " and ".join(f"s({self.tree.resonances[place].name})" for place in neutrino.masses)
        source = {
            "exact": "missing p_T",
            "response": "missing p_T within its response",
            "recoil": "the recoil within its response",
            "balance": "what balances the partons",
        }[str(self.missing)]
        if len(neutrino.masses) == 2:
            return f"{masses} give {name} on an ellipse, φ by {source}"
        return f"{masses} gives the rapidity of {name}, p_T by {source}"


@dataclass(frozen=True)
class ByExpert:
    """A tree whose map is made by hand."""

    tree: Tree
    name: str
    """The topology that an expert is known by."""

    def describe(self) -> str:
        """The plan in words."""
        return f"{self.tree}\nby the expert for: {self.name}"


def planned(tree: Tree, measurement: Measurement, lost: int | None = None) -> Composition | ByExpert:
    """How a tree is mapped, see the module's first lines.

    **Arguments:** `lost`, the number of a leg that no jet is seen of.

    **Raises** `PlanError` for three neutrinos, two that no expert is for, one that no lepton comes with, taus
    but for two of one mother, and a leg that can't be lost.
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
        return ByExpert(tree, _expert(tree))
    if lost is not None and pair is not None:
        raise PlanError(f"{tree} has taus, and there is no map for a lost jet beside these")
    unseen = None if lost is None else _lost(tree, lost, measurement)
    taken = () if unseen is None else unseen.masses
    widths = [
        0.0 if leg.kind == INVISIBLE or leg.number == lost else measurement.widths[leg.kind]
        for leg in tree.legs
    ]
    neutrino = _neutrino(tree, escaping[0], measurement.missing, taken) if escaping else None
    taus = () if pair is None else pair.legs
    shown = [_is_shown(each, widths, measurement) for each in tree.resonances]
    solves: list[Solve] = []
    for place, each in enumerate(tree.resonances):
        numbers = [leg.number for leg in each.legs]
        if set(numbers) & {*escaping, *taus, lost} or shown[place]:
            continue
        _solve(solves, place, each, widths, kept=())
    late: list[Solve] = []
    if neutrino is not None and len(neutrino.masses) == 1 and measurement.missing == "exact":
        before = tuple(each.leg for each in solves)
        for place in tree.above(escaping[0])[1:2]:
            if place not in taken:
                _solve(late, place, tree.resonances[place], widths, kept=before)
    solved = {each.leg for each in (*solves, *late)}
    of_neutrino = () if neutrino is None else neutrino.masses
    mapped = {
        *of_neutrino,
        *taken,
        *(() if pair is None else (pair.resonance,)),
        *(each.resonance for each in (*solves, *late)),
    }
    return Composition(
        tree,
        missing=measurement.missing if escaping or taus or measurement.missing == "recoil" else None,
        drawn=tuple(i for i, width in enumerate(widths) if width > 0 and i not in {*solved, *taus}),
        solves=tuple(solves),
        neutrino=neutrino,
        late=tuple(late),
        unmapped=tuple(place for place in range(len(tree.resonances)) if place not in mapped),
        exchanges=tuple(_exchanges(tree)),
        pair=pair,
        lost=unseen,
    )


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
    """The two taus of a tree. **Raises** `PlanError` where there are others, or neutrinos beside them."""
    taus = [leg for leg in tree.legs if leg.kind in TAUS]
    if not taus:
        return None
    places = [place for place, each in enumerate(tree.resonances) if list(each.children) == taus]
    if len(taus) != 2 or not places:
        raise PlanError(
            f"{tree} has taus, and there is a map for two of one mother alone, as in 'p p > ta+ ta-' and "
            "'h > ta+ ta-'"
        )
    if tree.invisible:
        raise PlanError(f"{tree} has taus and other neutrinos, and there is no map for both")
    if measurement.missing not in ("response", "recoil"):
        raise PlanError(
            "what is not seen of taus is missing p_T, which needs a response: configure that of the recoil, "
            '"response": {"recoil": {"c": 15}}, or "met" and met=event'
        )
    one, other = (leg.number for leg in taus)
    smeared = tuple(leg.number for leg in taus if measurement.widths[leg.kind] > 0)
    return Pair(places[0], (one, other), smeared)


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


def _neutrino(tree: Tree, leg: int, missing: MissingKind, taken: Sequence[int] = ()) -> Neutrino:
    """By the resonances above it, but for a second one that is `taken` by a lost leg."""
    above = tree.above(leg)
    mother = tree.resonances[above[0]] if above else None
    beside = () if mother is None else tuple(each.number for each in mother.legs if each.number != leg)
    if len(beside) != 1:
        raise PlanError(
            f"{tree.legs[leg].name} in {tree} comes of no resonance with one other leg, whose mass would "
            "give its momentum: write the decay that it comes from"
        )
    if len(above) == 1 or missing not in ("response", "recoil") or above[1] in taken:
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


def _expert(tree: Tree) -> str:
    """The topology of a tree with two neutrinos."""
    one, *more = tree.children
    pair = one.children if not more and isinstance(one, Resonance) else ()
    if len(pair) == 2 and all(map(_is_leptonic, pair)):
        return "Higgs boson to W pair"
    if len(tree.children) == 2 and all(map(_is_leptonic, tree.children)):
        return "W pair"
    if len(tree.children) == 2 and all(map(_is_leptonic_top, tree.children)):
        return "top pair"
    raise PlanError(f"no map is made for the two neutrinos of {tree}: there are those of tt̄, WW and H → WW")


def _is_leptonic(child: Resonance | Leg) -> bool:
    """Whether it is a resonance of a lepton and a neutrino."""
    return isinstance(child, Resonance) and sorted(
        leg.kind for leg in child.children if isinstance(leg, Leg)
    ) == [INVISIBLE, "lepton"]


def _is_leptonic_top(child: Resonance | Leg) -> bool:
    """Whether it is a resonance of such a one and one leg."""
    if not isinstance(child, Resonance) or len(child.children) != 2:
        return False
    legs = [each for each in child.children if isinstance(each, Leg)]
    return len(legs) == 1 and any(_is_leptonic(each) for each in child.children if each is not legs[0])
