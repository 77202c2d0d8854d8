"""A composed map as a value: which variables there are, and what follows from each.

The planner makes it of a tree; the steps in `composed` are compiled for it. Its variables are the coordinates
of the unit cube: energies, what is drawn of neutrinos, taus and a lost leg, then masses.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from typing import Literal, TypeAlias

from deepmem.physics.phasespace.trees import Tree

MissingKind: TypeAlias = Literal["exact", "response", "recoil", "balance"]
"""Missing p_T as measured; within its response; the recoil within its response; what balances the partons."""


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
class Tau:
    """A tau beside its neutrino: a lepton whose energy is drawn before all that follows from it."""

    leg: int
    smeared: bool
    """Whether its visible energy is a variable: it is not measured perfectly."""


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
    taus: tuple[Tau, ...] = ()
    """Each beside a neutrino, after the energies and before neutrinos."""
    lost: Lost | None = None
    """The leg that is not seen, after all others."""
    first: Neutrino | None = None
    """Of two neutrinos the one that comes before `neutrino`, to which it leaves what is missing of p_T."""
    transverse: bool = False
    """Whether the p_T of `neutrino` comes from a table of the event, before any energy is drawn."""

    @property
    def tau_variables(self) -> tuple[str, ...]:
        """Of taus beside neutrinos: the visible energies, then the parts of the energies that are visible."""
        names = {each: self.tree.legs[each.leg].name for each in self.taus}
        seen = (f"E_vis({name})" for each, name in names.items() if each.smeared)
        return (*seen, *(f"x({name})" for name in names.values()))

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
    def crossed(self) -> bool:
        """Whether two neutrinos follow from four masses and p_T: they are where two ellipses cross."""
        return (
            self.first is not None
            and self.neutrino is not None
            and len(self.first.masses) == len(self.neutrino.masses) == 2
            and self.missing in ("exact", "balance")
        )

    @property
    def first_variables(self) -> tuple[str, ...]:
        """Beside masses, of the first one of two neutrinos."""
        if self.first is None or self.crossed:
            return ()
        name = self.tree.legs[self.first.leg].name
        return (f"φ({name})",) if len(self.first.masses) == 2 else (f"β({name})", f"E({name})")

    @property
    def place_of_first(self) -> int:
        """The first coordinate of the first one of two neutrinos."""
        return len(self.drawn) + len(self.tau_variables)

    @property
    def place_of_neutrino(self) -> int:
        """The first coordinate of the neutrino, or of the last one of two."""
        return self.place_of_first + len(self.first_variables)

    @property
    def neutrino_variables(self) -> tuple[str, ...]:
        """Beside masses, of the neutrino, or of the last one of two."""
        if self.neutrino is None or self.crossed:
            return ()
        name = self.tree.legs[self.neutrino.leg].name
        if len(self.neutrino.masses) == 2:
            return (f"φ({name})",)
        return (f"px({name})", f"py({name})") if self.missing in ("response", "recoil") else ()

    @property
    def masses(self) -> tuple[int, ...]:
        """Resonances whose masses are variables, in the order of the variables."""
        neutrinos = (each for each in (self.first, self.neutrino) if each is not None)
        return (
            *(each.resonance for each in self.solves),
            *(place for each in neutrinos for place in each.masses),
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
            *self.tau_variables,
            *self.first_variables,
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
        if self.first is not None:
            lines.append(self._of_first(self.first))
        if self.neutrino is not None and not self.crossed:
            lines.append(self._of_neutrino(self.neutrino))
        lines += [f"{solved(each)}, after it" for each in self.late]
        names = [self.tree.legs[each.leg].name for each in self.taus]
        lines += [f"x({name}) by its decay gives E({name}), before its neutrino" for name in names]
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

    def _of_first(self, first: Neutrino) -> str:
        name = self.tree.legs[first.leg].name
        masses = [f"s({self.tree.resonances[place].name})" for place in first.masses]
        if len(first.masses) == 1:
            return f"{masses[0]} gives the angle of {name} to its lepton, E and β about it drawn"
        assert self.neutrino is not None
        other = self.tree.legs[self.neutrino.leg].name
        if self.crossed:
            masses += [f"s({self.tree.resonances[place].name})" for place in self.neutrino.masses]
            source = "missing p_T" if self.missing == "exact" else "what balances the partons"
            return f"{', '.join(masses[:-1])} and {masses[-1]} give {name} and {other} with {source}"
        return f"{' and '.join(masses)} give {name} on an ellipse, φ by what it leaves {other}"

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
        table = ", from a table before energies" if self.transverse else ""
        return f"{masses} gives the rapidity of {name}, p_T by {source}{table}"


@dataclass(frozen=True)
class ByExpert:
    """A tree whose map is made by hand."""

    tree: Tree
    name: str
    """The topology that an expert is known by."""

    def describe(self) -> str:
        """The plan in words."""
        return f"{self.tree}\nby the expert for: {self.name}"
