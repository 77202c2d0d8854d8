"""A model of particle physics as data: particles, parameters, couplings and vertices.

The Standard Model, its effective extensions and a UFO folder all become a `Model`, in UFO's conventions
(arXiv:1108.2040, 2304.09883): a vertex is Σ_kl C_k L_l g_kl over colour structures C, Lorentz structures L
and couplings g. It lists the particles that leave it, and P is the momentum of what leaves it: so do files
from FeynRules, "d~ u w-" with Gamma(3,2,-1)*ProjM(-1,1) and V_ud being ū γ P_L d W⁺. Structures are strings
in UFO's alphabet; values are expressions in the parameters' names. Two models with equal contents are equal,
and `Model.digest` identifies one in files and caches.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from types import MappingProxyType


@dataclass(frozen=True)
class Particle:
    """A kind of particle; its antiparticle is another one, with the opposite `code`."""

    code: int
    """PDG code."""
    name: str
    """What the language of reactions calls it: "e-", "w+", "t~"."""
    antiname: str
    spin: int
    """2s + 1: 1 scalar, 2 fermion, 3 vector."""
    colour: int
    """Representation: 1, 3, −3 or 8."""
    mass: str
    """A parameter's name; "ZERO": massless."""
    width: str
    """A parameter's name; "ZERO": stable."""
    thrice_charge: int
    """3 × the electric charge, in units of e."""

    @property
    def self_conjugate(self) -> bool:
        """Whether it is its own antiparticle."""
        return self.name == self.antiname


@dataclass(frozen=True)
class Parameter:
    """A number of the model: given (`value`) or following from others (`expression`), unless it is set."""

    name: str
    value: float | None = None
    """The default of an external parameter."""
    expression: str | None = None
    """An internal one, in the names of earlier parameters, in UFO's Python (`cmath.sqrt(MZ**2)`)."""
    block: str = ""
    """Where a parameter card keeps an external one."""
    indices: tuple[int, ...] = ()
    real: bool = True
    """Whether an internal one is a real number wherever the model makes sense."""


@dataclass(frozen=True)
class Coupling:
    """The strength of one structure of a vertex."""

    name: str
    expression: str
    orders: tuple[tuple[str, int], ...]
    """("QCD", 1), ("QED", 2): the powers of coupling orders that it counts as."""


@dataclass(frozen=True)
class Lorentz:
    """A Lorentz structure: Gamma, Gamma5, Sigma, Epsilon, Metric, P, ProjM, ProjP, C and Identity."""

    name: str
    spins: tuple[int, ...]
    structure: str


@dataclass(frozen=True)
class Vertex:
    """Particles that leave a point, and Σ_kl colour_k lorentz_l coupling_kl."""

    name: str
    particles: tuple[int, ...]
    """PDG codes; a negative one is the antiparticle. Four fermions stand in pairs, as in UFO: the sign of a
    term is that of (first, second)(third, fourth), whatever its structure joins."""
    colour: tuple[str, ...]
    """Structures in UFO's alphabet: "1", "Identity(1,2)", "T(3,2,1)", "f(1,2,3)", "d(1,2,3)", products."""
    lorentz: tuple[str, ...]
    """Names of `Model.lorentz`."""
    couplings: tuple[tuple[int, int, str], ...]
    """(position in `colour`, position in `lorentz`, name of the coupling)."""
    refused: str = ""
    """Why no amplitude can have this vertex; "": it can. A reaction that needs it is refused with this."""


@dataclass(frozen=True)
class Order:
    """A coupling order: how much one power weighs, and how many an amplitude may have."""

    name: str
    hierarchy: int
    expansion: int = 99


@dataclass(frozen=True, eq=False)
class Model:
    """A model as data; see the module. Two are equal if their digests are."""

    name: str
    particles: tuple[Particle, ...]
    parameters: tuple[Parameter, ...]
    """External ones and internal ones, each after those that it is made of."""
    couplings: tuple[Coupling, ...]
    lorentz: tuple[Lorentz, ...]
    vertices: tuple[Vertex, ...]
    orders: tuple[Order, ...]

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Model) and self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all that the model says, in hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @cached_property
    def by_code(self) -> Mapping[int, Particle]:
        """Particles by PDG code; an antiparticle's code finds the particle that it belongs to."""
        return MappingProxyType(
            {sign * particle.code: particle for particle in self.particles for sign in (1, -1)}
        )

    @cached_property
    def codes(self) -> Mapping[str, int]:
        """PDG codes by name, antiparticles included."""
        both = {particle.name: particle.code for particle in self.particles}
        anti = {p.antiname: -p.code for p in self.particles if not p.self_conjugate}
        return MappingProxyType(both | anti)

    def conjugate(self, code: int) -> int:
        """The antiparticle's code."""
        return code if self.by_code[code].self_conjugate else -code
