"""The tree of decays of a reaction: what comes from what, as a value.

    pp → t t̄, (t → W⁺b, W⁺ → ℓ⁺ν), …:   t(W⁺(ℓ⁺ ν) b) t̄(…)

Its leaves are the outgoing legs in their order, and an inner node is a resonance: a particle with a mass, a
width, and what it decays into. It says nothing of |M|², but that it is expected to peak at the mass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TypeAlias

from deepmem.physics.errors import ReactionError
from deepmem.physics.processes.base import Process
from deepmem.physics.reactions import read
from deepmem.physics.theory.model import Model, Particle
from deepmem.physics.theory.subprocesses import Branch, Node, Subprocess

INVISIBLE = "invisible"
"""The class of what no detector sees."""
_CLASSES = {11: "lepton", 13: "lepton", 15: "tau", 5: "bjet", 21: "jet", 22: "photon"} | dict.fromkeys(
    (1, 2, 3, 4), "jet"
)
_NONE = "ZERO"
_CHARGED_LEPTONS, _W, _Z, _TAU = (11, 13, 15), 24, 23, 15


@dataclass(frozen=True)
class Leg:
    """An outgoing particle."""

    number: int
    """Its place among the outgoing legs, from 0."""
    particle: int
    """PDG code."""
    name: str
    """What the language of reactions calls it."""
    kind: str
    """The class that a detector measures it as; `INVISIBLE`, if it escapes."""

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Itself: the leaves of a node."""
        return (self,)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Resonance:
    """A particle that decays."""

    particle: int
    """PDG code."""
    name: str
    """What the language of reactions calls it."""
    mass: str
    """The name of a parameter."""
    width: str
    spin: int
    """2s + 1."""
    children: tuple[Child, ...]
    """What it decays into."""

    @cached_property
    def legs(self) -> tuple[Leg, ...]:
        """The legs that come of it."""
        return tuple(leg for child in self.children for leg in child.legs)

    def __str__(self) -> str:
        return f"{self.name}({' '.join(map(str, self.children))})"


Child: TypeAlias = Resonance | Leg


@dataclass(frozen=True)
class Tree:
    """All that a reaction produces."""

    children: tuple[Child, ...]

    @cached_property
    def legs(self) -> tuple[Leg, ...]:
        """The outgoing legs in their order."""
        legs = (leg for child in self.children for leg in child.legs)
        return tuple(sorted(legs, key=lambda leg: leg.number))

    @cached_property
    def resonances(self) -> tuple[Resonance, ...]:
        """From the leaves to the root: each after those that it decays into."""
        return tuple(_resonances(self.children))

    @property
    def invisible(self) -> tuple[int, ...]:
        """The numbers of the legs that escape."""
        return tuple(leg.number for leg in self.legs if leg.kind == INVISIBLE)

    @property
    def visible(self) -> tuple[int, ...]:
        """The numbers of the legs that are seen."""
        return tuple(leg.number for leg in self.legs if leg.kind != INVISIBLE)

    def above(self, number: int) -> tuple[int, ...]:
        """The resonances that a leg comes from, the nearest one first: places in `resonances`."""
        return tuple(
            place
            for place, each in enumerate(self.resonances)
            if any(leg.number == number for leg in each.legs)
        )

    def __str__(self) -> str:
        return " ".join(map(str, self.children))


def _resonances(children: Sequence[Child]) -> Iterator[Resonance]:
    for child in children:
        if isinstance(child, Resonance):
            yield from _resonances(child.children)
            yield child


def tree_of(subprocess: Subprocess, model: Model, classes: Sequence[str] | None = None) -> Tree:
    """The tree of a subprocess.

    A particle that all of it goes through ("> h >") is a resonance of the whole. A charged lepton beside its
    neutrino, with no resonance of their own, has a W above it: their mass peaks there whatever is written. So
    have two taus a Z.

    **Arguments:** `classes` of the legs, by default what each particle is commonly measured as.

    **Raises** `ReactionError` for a leg that nothing measures.
    """
    numbers = iter(range(len(subprocess.outgoing)))

    def child(node: Node) -> Child:
        if isinstance(node, Branch):
            return _resonance(model, node.particle, tuple(map(child, node.into)))
        number = next(numbers)
        kind = _class_of(model.by_code[node], node) if classes is None else classes[number]
        return Leg(number, node, _name(model, node), kind)

    children = tuple(map(child, subprocess.products))
    through = [group[0] for group in subprocess.requirements.through if len(group) == 1]
    if through and _decays(model.by_code[through[0]]):
        children = (_resonance(model, through[0], children),)
    return Tree(_with_z(_with_w(children, model), model))


def _resonance(model: Model, particle: int, children: tuple[Child, ...]) -> Resonance:
    kind = model.by_code[particle]
    children = _with_w(children, model, particle)
    return Resonance(particle, _name(model, particle), kind.mass, kind.width, kind.spin, children)


def _with_w(children: tuple[Child, ...], model: Model, mother: int = 0) -> tuple[Child, ...]:
    """The same with a W above a charged lepton and its neutrino that come of anything but a W."""
    if abs(mother) == _W or _W not in model.by_code:
        return children
    for lepton in children:
        for neutrino in children:
            if _are_w(lepton, neutrino):
                charge = -_W if lepton.particle > 0 else _W
                pair = tuple(child for child in children if child in (lepton, neutrino))
                w = _resonance(model, charge, pair)
                rest = tuple(child for child in children if child not in pair)
                first = children.index(pair[0])
                return _with_w((*rest[:first], w, *rest[first:]), model, mother)
    return children


def _with_z(children: tuple[Child, ...], model: Model) -> tuple[Child, ...]:
    """The same with a Z above a tau and its antiparticle: responses of taus do not show its mass."""
    taus = [each for each in children if isinstance(each, Leg) and abs(each.particle) == _TAU]
    if sorted(each.particle for each in taus) != [-_TAU, _TAU] or _Z not in model.by_code:
        return children
    z = _resonance(model, _Z, tuple(taus))
    first = children.index(taus[0])
    before, after = (
        [each for each in part if each not in taus] for part in (children[:first], children[first:])
    )
    return (*before, z, *after)


def _are_w(lepton: Child, neutrino: Child) -> bool:
    """Whether two legs are a charged lepton and a neutrino of its own that a W can decay to."""
    if isinstance(lepton, Resonance) or isinstance(neutrino, Resonance):
        return False
    charged, neutral = lepton.particle, neutrino.particle
    return abs(charged) in _CHARGED_LEPTONS and abs(neutral) == abs(charged) + 1 and charged * neutral < 0


def _decays(particle: Particle) -> bool:
    return _NONE not in (particle.mass, particle.width)


def _name(model: Model, code: int) -> str:
    particle = model.by_code[code]
    return particle.name if code == particle.code else particle.antiname


def _class_of(particle: Particle, code: int) -> str:
    if abs(code) in _CLASSES:
        return _CLASSES[abs(code)]
    if particle.colour == 1 and particle.thrice_charge == 0 and particle.width == _NONE:
        return INVISIBLE
    raise ReactionError(
        f"{particle.name} is neither measured nor lost as it is: let it decay, as in '…, {particle.name} > …'"
    )


@cache
def decay_tree(process: Process) -> Tree | None:
    """The tree of a process whose |M|² is generated; None of another one."""
    if process.generated is None:
        return None
    elements = process.generated
    found = read(elements.reaction, elements.theory)
    number = elements.picks[0][0] if elements.picks else 0
    return tree_of(found.channels[number].members[0].subprocess, found.model, process.classes)


def has_composed_map(process: Process) -> bool:
    """Whether a map is composed from its tree: of one that no expert is for, and has more than leptons."""
    beyond = {*process.classes} != {"lepton"}
    return not process.topology and beyond and decay_tree(process) is not None
