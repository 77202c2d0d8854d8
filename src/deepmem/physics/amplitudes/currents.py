"""Off-shell currents over subsets of legs, as components in a graph of scalars.

The current of a subset S is, for every helicity of its legs and every colour state,

    J_S = P_S Σ over vertices and partitions of S    V(J_A, J_B, …),    P_S the propagator,

in unitary gauge, with real masses in numerators and M² − iMΓ in denominators. A decay is a leg whose wave
function is the decay's current. Where helicities of its products differ by a factor only, one is kept with
the weight Σ|J|²/|J_kept|². Factors i leave a sign: V is −i × (UFO's vertex), P is i × (the propagator).

Source: F. Berends, W. Giele, Nucl. Phys. B306 (1988) 759; A. Denner et al., ibid. B387 (1992) 467 (fermions).
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from deepmem.physics.amplitudes import colour as colours
from deepmem.physics.amplitudes.colour import State
from deepmem.physics.amplitudes.external import External
from deepmem.physics.amplitudes.graph import Complex, Graph, Reference
from deepmem.physics.amplitudes.lorentz import Components, chain_ends, merge
from deepmem.physics.amplitudes.plan import Key, Level, Recipe, Subset, plan, require_supported
from deepmem.physics.amplitudes.propagators import propagated
from deepmem.physics.amplitudes.residues import PRIME
from deepmem.physics.amplitudes.strengths import Part as Strength
from deepmem.physics.amplitudes.vertices import Part, Rule, fermion_order
from deepmem.physics.theory.subprocesses import Branch

Helicities: TypeAlias = tuple[tuple[int, int], ...]
"""((leg, state), …), sorted."""
Table: TypeAlias = dict[Helicities, dict[State, Components]]


class Branched(NamedTuple):
    """A leg of a level: an external one, or a decay."""

    label: int
    legs: tuple[int, ...]
    momentum: tuple[Reference, ...]
    table: Table
    weights: dict[Helicities, Reference]


class Sum(NamedTuple):
    """The current of all legs of a level."""

    table: Table
    momentum: tuple[Reference, ...]


def spinor_turned(components: Components, to_column: bool) -> Components:
    """ψ = C ψ̄ᵀ of a row, or ψ̄ of a column."""
    a, b, c, d = components
    return (b, -a, -d, c) if to_column else (-b, a, d, -c)


class Currents:
    """The currents of one subprocess; the numbers come from `External`."""

    def __init__(self, external: External) -> None:
        self.external = external
        self.graph: Graph = external.graph
        self.model = external.model
        self.powers: Counter[str] = Counter()
        """Of the bases of coupling orders, that the whole amplitude has as a factor."""
        self._merges: dict[tuple, Components] = {}
        self._scaled: dict[tuple, Components] = {}

    # ---- legs

    def leg(self, number: int) -> Branched:
        """An external leg."""
        label = self.external.labels[number]
        state = colours.external(self.external.colour(label), number)
        table: Table = {((number, h),): {state: wave} for h, wave in enumerate(self.external.waves[number])}
        return Branched(
            label, (number,), self.external.momenta[number], table, dict.fromkeys(table, self.graph.one)
        )

    def level(self, nodes: Sequence[int | Branch], first: int) -> list[Branched]:
        """The products of a production or of a decay; `first` is the number of the first leg."""
        found = []
        for node in nodes:
            if isinstance(node, Branch):
                inner = self.level(node.into, first)
                found.append(self.decay(node, inner))
            else:
                found.append(self.leg(first))
            first += len(found[-1].legs)
        return found

    def decay(self, branch: Branch, inner: Sequence[Branched]) -> Branched:
        """A decaying particle as a leg."""
        level = Level(
            tuple(one.label for one in inner), (branch.particle,), (True,) * len(inner), branch.requirements
        )
        total = self.total(inner, level, propagate=True)
        legs = tuple(leg for one in inner for leg in one.legs)
        weights = {h: self._weight(h, inner) for h in total.table}
        table, weights = self._one_of_parallel(total.table, weights)
        return Branched(branch.particle, legs, total.momentum, table, weights)

    def _weight(self, helicities: Helicities, inner: Sequence[Branched]) -> Reference:
        weight = self.graph.one
        for one in inner:
            own = tuple(each for each in helicities if each[0] in one.legs)
            weight = self.graph.mul(weight, one.weights[own])
        return weight

    def _one_of_parallel(
        self, table: Table, weights: Mapping[Helicities, Reference]
    ) -> tuple[Table, dict[Helicities, Reference]]:
        """One of the helicities whose currents are parallel, that with the largest current at most points."""
        g = self.graph
        groups: list[list[Helicities]] = []
        for h, states in table.items():
            for group in groups:
                if weights[group[0]] == weights[h] and _parallel(table[group[0]], states):
                    group.append(h)
                    break
            else:
                groups.append([h])
        kept: Table = {}
        kept_weights: dict[Helicities, Reference] = {}
        for group in groups:
            norms = {h: g.sum(z.square() for c in table[h].values() for z in c) for h in group}
            best = group[0]
            if len(group) > 1:
                sizes = self.external.sizes(list(norms.values()))
                best = group[int(np.argmax(np.median(sizes, axis=1)))]
            kept[best] = table[best]
            total = g.mul(g.sum(norms.values()), g.inverse(norms[best])) if len(group) > 1 else g.one
            kept_weights[best] = g.mul(total, weights[best])
        return kept, kept_weights

    # ---- the recursion

    def total(self, legs: Sequence[Branched], level: Level, propagate: bool) -> Sum:
        """The current of all legs with the label that is wanted; without its propagator unless asked."""
        full: Subset = (1 << len(legs)) - 1
        what = level.described(self.model)
        recipes = plan(self.model, level, what)
        require_supported(recipes, what)
        self.external.strengths.prepare(
            part.coupling for ways in recipes.values() for way in ways for part in way.rule.parts
        )
        odd = [self.external.spin(one.label) == 2 for one in legs]
        momenta: dict[Subset, tuple[Reference, ...]] = {}
        found: dict[Subset, dict[Key, Table]] = defaultdict(dict)
        for k, one in enumerate(legs):
            momenta[1 << k] = one.momentum
            found[1 << k][Key(one.label, (0,) * len(self.model.orders), frozenset())] = one.table
        wide = {subset for subset, key in recipes if self.model.by_code[key.label].width != "ZERO"}
        for (subset, key), ways in recipes.items():
            if not ways:
                continue
            for part in {part for way in ways for part, _ in way.parts} | {subset}:
                self._momentum(part, momenta)
            table: Table = {}
            for way in ways:
                self._add(table, way, found, momenta, odd)
            if propagate or subset != full:
                external = tuple(leg for k, one in enumerate(legs) if subset >> k & 1 for leg in one.legs)
                self._propagate(table, key.label, momenta[subset], external, subset in wide)
            found[subset][key] = _without_zeros(table)
        self._momentum(full, momenta)
        return Sum(self._joined(found[full]), momenta[full])

    def _momentum(
        self, subset: Subset, momenta: dict[Subset, tuple[Reference, ...]]
    ) -> tuple[Reference, ...]:
        if subset not in momenta:
            lowest = subset & -subset
            rest = self._momentum(subset ^ lowest, momenta)
            momenta[subset] = tuple(map(self.graph.add, momenta[lowest], rest))
        return momenta[subset]

    def _propagate(
        self,
        table: Table,
        label: int,
        momentum: tuple[Reference, ...],
        legs: tuple[int, ...],
        resonant: bool,
    ) -> None:
        for states in table.values():
            for state, current in states.items():
                if any(not z.vanishes for z in current):
                    states[state] = propagated(self.external, label, momentum, legs, current, resonant)

    def _joined(self, by_key: Mapping[Key, Table]) -> Table:
        """The sum over coupling orders; what all of them have in common goes to `powers`."""
        names = [order.name for order in self.model.orders]
        with_base = {order for order, _, _ in self.external.strengths.reduction.bases}
        bases = [k for k, name in enumerate(names) if name in with_base]
        keys = [key for key, table in by_key.items() if table]
        lowest = {k: min((key.powers[k] for key in keys), default=0) for k in bases}
        for k in bases:
            self.powers[names[k]] += lowest[k]
        joined: Table = {}
        for key in keys:
            factor = self.graph.one
            for k in bases:
                for _ in range(key.powers[k] - lowest[k]):
                    factor = self.graph.mul(factor, self.external.base(names[k]))
            for h, states in by_key[key].items():
                for state, current in states.items():
                    _accumulate(joined.setdefault(h, {}), state, tuple(z.scale(factor) for z in current))
        return _without_zeros(joined)

    def _add(
        self,
        table: Table,
        way: Recipe,
        found: Mapping[Subset, Mapping[Key, Table]],
        momenta: Mapping[Subset, tuple[Reference, ...]],
        odd: Sequence[bool],
    ) -> None:
        """The contribution of one recipe to a current."""
        rule = way.rule
        blocks = {at: subset for at, (subset, _) in zip(rule.positions, way.parts, strict=True)}
        labels = {at: key.label for at, (_, key) in zip(rule.positions, way.parts, strict=True)}
        outgoing = {at: momenta[subset] for at, subset in blocks.items()}
        total = 0
        for subset in blocks.values():
            total |= subset
        outgoing[rule.open_leg] = tuple(-component for component in momenta[total])
        tables = []
        for subset, key in way.parts:
            if key not in found[subset]:
                return
            tables.append(found[subset][key])
        signs = [_sign([blocks[n] for n in _order(part, rule, blocks)], odd) for part in rule.parts]
        for helicities in itertools.product(*tables):
            slot = table.setdefault(tuple(sorted(itertools.chain(*helicities))), {})
            choices = [one[h].items() for one, h in zip(tables, helicities, strict=True)]
            for chosen in itertools.product(*choices):
                states = {at: state for at, (state, _) in zip(rule.positions, chosen, strict=True)}
                waves = {at: wave for at, (_, wave) in zip(rule.positions, chosen, strict=True)}
                for part, sign in zip(rule.parts, signs, strict=True):
                    combination = colours.combine(part.colour, states, rule.open_leg)
                    if not combination:
                        continue
                    current = self._vertex(part, rule, labels, waves, outgoing)
                    if all(z.vanishes for z in current):
                        continue
                    for state, factor in combination:
                        _accumulate(slot, state, tuple(z.times(sign * factor) for z in current))

    # ---- one vertex

    def _vertex(
        self,
        part: Part,
        rule: Rule,
        labels: Mapping[int, int],
        waves: Mapping[int, Components],
        momenta: Mapping[int, tuple[Reference, ...]],
    ) -> Components:
        """One structure with its coupling, amputated, in the orientation that the new label has."""
        key = (
            part,
            rule.open_leg,
            rule.label > 0,
            tuple((at, labels[at] > 0, tuple(z.key for z in wave)) for at, wave in waves.items()),
            tuple(momenta[at] for at in waves),
        )
        if key not in self._merges:
            oriented = {}
            for at, wave in waves.items():
                if part.spins[at - 1] == 2:
                    row = chain_ends(part.lorentz, at)
                    oriented[at] = wave if row == (labels[at] > 0) else spinor_turned(wave, to_column=not row)
                else:
                    oriented[at] = wave
            current = self._strong(part, rule.open_leg, oriented, momenta)
            if part.spins[rule.open_leg - 1] == 2:
                row = not chain_ends(part.lorentz, rule.open_leg)
                if row != (rule.label > 0):
                    current = spinor_turned(current, to_column=row)
            self._merges[key] = current
        return self._merges[key]

    def _strong(
        self,
        part: Part,
        open_leg: int,
        waves: dict[int, Components],
        momenta: Mapping[int, tuple[Reference, ...]],
    ) -> Components:
        """Structure × coupling; a real coupling is multiplied where there are fewest numbers."""
        player = merge(part.lorentz, part.spins, open_leg)
        re, im = self.external.strengths.parts(part.coupling)
        # V = −i g, and −i for each f
        turns = colours.structure(part.colour).turns - 1
        if re.number and im.number:
            both = Complex(self.graph, self._strength(re), self._strength(im)).turned(turns)
            return tuple(z * both for z in player.play(self.graph, waves, momenta))
        strength = re if re.number else im
        turns += 0 if re.number else 1
        factor = self._strength(strength)
        if turns % 4 >= 2:
            factor, turns = -factor, turns - 2
        sizes = {
            at: sum(bool(wave[c].re) + bool(wave[c].im) for c in player.used(at))
            for at, wave in waves.items()
        }
        sizes[open_leg] = 2 if part.spins[open_leg - 1] == 1 else 8
        where = min(sizes, key=lambda at: (sizes[at], at == open_leg))
        if abs(factor) == self.graph.one:
            where = open_leg
        if where != open_leg:
            waves = {**waves, where: tuple(z.scale(factor) for z in waves[where])}
        current = player.play(self.graph, waves, momenta)
        if where == open_leg:
            current = tuple(z.scale(factor) for z in current)
        return tuple(z.turned(turns) for z in current)

    def _strength(self, part: Strength) -> Reference:
        number = self.graph.constant(part.number)
        return number if part.symbol is None else self.graph.mul(number, self.external.symbol(part.symbol))


def _order(part: Part, rule: Rule, blocks: Mapping[int, Subset]) -> list[int]:
    """The positions of a rule's currents: fermions along their chains, then bosons."""
    fermions = fermion_order(part.lorentz, part.spins, rule.open_leg)
    return [*fermions, *(at for at in blocks if at not in fermions)]


def _sign(blocks: Sequence[Subset], odd: Sequence[bool]) -> int:
    """The sign of the permutation that brings the fermions of these blocks, one after the other, in order."""
    legs = [k for block in blocks for k in range(len(odd)) if odd[k] and block >> k & 1]
    swaps = sum(legs[i] > legs[j] for i in range(len(legs)) for j in range(i + 1, len(legs)))
    return -1 if swaps % 2 else 1


def _accumulate(slot: dict[State, Components], state: State, current: Components) -> None:
    old = slot.get(state)
    slot[state] = current if old is None else tuple(a + b for a, b in zip(old, current, strict=True))


def _without_zeros(table: Table) -> Table:
    """Currents that do not vanish."""
    found = {
        h: {state: current for state, current in states.items() if any(not z.vanishes for z in current)}
        for h, states in table.items()
    }
    return {h: states for h, states in found.items() if states}


def _parallel(first: Mapping[State, Components], second: Mapping[State, Components]) -> bool:
    """Whether all components of two currents, of all colour states, are in one proportion."""
    if set(first) != set(second):
        return False
    pairs = []
    for state, current in first.items():
        for a, b in zip(current, second[state], strict=True):
            pairs.append((_number(a), _number(b)))
    pivot = next((pair for pair in pairs if pair[0] != (0, 0)), None)
    if pivot is None:
        return False
    return all(_times(a, pivot[1]) == _times(b, pivot[0]) for a, b in pairs)


def _number(z: Complex) -> tuple[int, int]:
    return z.graph.value(z.re) % PRIME, z.graph.value(z.im) % PRIME


def _times(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return (a[0] * b[0] - a[1] * b[1]) % PRIME, (a[0] * b[1] + a[1] * b[0]) % PRIME
