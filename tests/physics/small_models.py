"""Small models, written down as values, and momenta for them.

A vertex lists what leaves it, so that "e+ e- …" with Gamma(…,2,1) is ē γ e, and its coupling is i × the term
of the Lagrangian.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepmem.physics.amplitudes.amplitude import amplitude
from deepmem.physics.theory.model import Coupling, Lorentz, Model, Order, Parameter, Particle, Vertex
from deepmem.physics.theory.subprocesses import Subprocess

ELECTRON = Particle(11, "e-", "e+", 2, 1, "ZERO", "ZERO", -3)
MUON = Particle(13, "mu-", "mu+", 2, 1, "ZERO", "ZERO", -3)
PHOTON = Particle(22, "a", "a", 3, 1, "ZERO", "ZERO", 0)
UP = Particle(2, "u", "u~", 2, 3, "ZERO", "ZERO", 2)
DOWN = Particle(1, "d", "d~", 2, 3, "ZERO", "ZERO", -1)
GLUON = Particle(21, "g", "g", 3, 8, "ZERO", "ZERO", 0)
CURRENT = "Gamma(3,2,1)"


def small(
    particles: Sequence[Particle],
    values: dict[str, float],
    vertices: Sequence[tuple[tuple[int, ...], Sequence[tuple[str, str, str]]]],
) -> Model:
    """A model with the parameters `values`; a vertex is its particles and (colour, Lorentz structure, coupling)
    of each term, couplings being expressions."""
    by_code = {particle.code: particle for particle in particles}
    couplings, lorentz, found = [], [], []
    for number, (codes, terms) in enumerate(vertices):
        spins = tuple(by_code[abs(code)].spin for code in codes)
        names = [f"{number}_{k}" for k in range(len(terms))]
        couplings += [
            Coupling(f"G_{each}", term[2], (("NP", 1),)) for each, term in zip(names, terms, strict=True)
        ]
        lorentz += [Lorentz(f"L_{each}", spins, term[1]) for each, term in zip(names, terms, strict=True)]
        found.append(
            Vertex(
                f"V_{number}",
                codes,
                tuple(term[0] for term in terms),
                tuple(f"L_{each}" for each in names),
                tuple((k, k, f"G_{each}") for k, each in enumerate(names)),
            )
        )
    parameters = tuple(Parameter(name, value=value) for name, value in values.items())
    return Model(
        "small",
        tuple(particles),
        parameters,
        tuple(couplings),
        tuple(lorentz),
        tuple(found),
        (Order("NP", 1),),
    )


def squares(
    model: Model, incoming: Sequence[int], outgoing: Sequence[int], momenta: np.ndarray, **values: float
) -> np.ndarray:
    """|M|², as generated."""
    found = amplitude(model, Subprocess(tuple(incoming), tuple(outgoing)), cache=False)
    return found.reference(momenta, values)


def dot(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return p[..., 0] * q[..., 0] - np.sum(p[..., 1:] * q[..., 1:], axis=-1)


def decayed(total: np.ndarray, masses: Sequence[float], draw: np.random.Generator) -> list[np.ndarray]:
    """Momenta of these masses that add up to `total`: decays in two, one after the other."""
    if len(masses) == 1:
        return [total]
    mass, least = np.sqrt(dot(total, total)), sum(masses[1:])
    rest = least + (mass - masses[0] - least) * (draw.uniform(0.1, 0.9) if len(masses) > 2 else 0)
    energy = (mass**2 + masses[0] ** 2 - rest**2) / (2 * mass)
    direction = draw.normal(size=3)
    size = np.sqrt(energy**2 - masses[0] ** 2)
    spatial = size * direction / np.linalg.norm(direction)
    # The boost to the frame in which `total` is what it is.
    along = spatial @ total[1:]
    moved = spatial + total[1:] * (energy + along / (total[0] + mass)) / mass
    one = np.array([(energy * total[0] + along) / mass, *moved])
    return [one, *decayed(total - one, masses[1:], draw)]


def decays(mass: float, masses: Sequence[float], number: int = 4) -> np.ndarray:
    """`[number, legs, 4]`: a moving particle and what it decays into."""
    draw = np.random.default_rng(7)
    found = []
    for _ in range(number):
        spatial = draw.normal(scale=mass, size=3)
        total = np.array([np.sqrt(mass**2 + spatial @ spatial), *spatial])
        found.append([total, *decayed(total, masses, draw)])
    return np.array(found)


def collisions(energy: float, masses: Sequence[float] = (0.0, 0.0)) -> np.ndarray:
    """`[4, legs, 4]`: two massless beams along z, and what they become."""
    draw = np.random.default_rng(8)
    beams = [np.array([energy, 0, 0, energy]), np.array([energy, 0, 0, -energy])]
    return np.array([[*beams, *decayed(beams[0] + beams[1], masses, draw)] for _ in range(4)])


def mandelstam(momenta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """s, t = (p₁ − p₃)², u = (p₁ − p₄)² of massless legs."""
    s = 2 * dot(momenta[:, 0], momenta[:, 1])
    t, u = (-2 * dot(momenta[:, 0], momenta[:, k]) for k in (2, 3))
    return s, t, u
