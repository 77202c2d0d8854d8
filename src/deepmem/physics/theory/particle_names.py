"""What particles of the Standard Model and of its minimal supersymmetric extension are called, by PDG code.

MadGraph gives them these names in every model, whatever a UFO folder calls them, so that a reaction reads the
same in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deepmem.physics.theory.model import Particle
from deepmem.physics.theory.standard_model import particles

_SUPERSYMMETRIC = {
    **{1000000 + code: f"{name}l" for code, name in enumerate("dusc", start=1)},
    **{2000000 + code: f"{name}r" for code, name in enumerate("dusc", start=1)},
    **{1000005: "b1", 2000005: "b2", 1000006: "t1", 2000006: "t2"},
    **{1000011: "el-", 2000011: "er-", 1000013: "mul-", 2000013: "mur-", 1000015: "ta1-", 2000015: "ta2-"},
    **{1000012: "sve", 1000014: "svm", 1000016: "svt"},
    **{1000021: "go", 1000022: "n1", 1000023: "n2", 1000025: "n3", 1000035: "n4"},
    **{1000024: "x1+", 1000037: "x2+", 35: "h2", 36: "h3", 37: "h+"},
}
_OWN_ANTIPARTICLES = {35, 36, 1000021, 1000022, 1000023, 1000025, 1000035}


def _opposite(name: str) -> str:
    """What the antiparticle is called."""
    if name[-1] in "+-":
        return name[:-1] + ("-" if name.endswith("+") else "+")
    return f"{name}~"


def _table() -> dict[int, str]:
    """Names by PDG code, antiparticles included; the Higgs boson keeps a model's own name."""
    names = {}
    for particle in particles():
        if particle.code != 25:
            names[particle.code] = particle.name
            if not particle.self_conjugate:
                names[-particle.code] = particle.antiname
    for code, name in _SUPERSYMMETRIC.items():
        names[code] = name
        if code not in _OWN_ANTIPARTICLES:
            names[-code] = _opposite(name)
    return names


NAMES: Mapping[int, str] = _table()


def named(found: Sequence[Particle]) -> tuple[Particle, ...]:
    """The particles with the common names, where no other particle of the model has such a name already."""
    others = [particle for particle in found if particle.code not in NAMES]
    taken = {name for particle in others for name in (particle.name, particle.antiname)}

    def renamed(particle: Particle) -> Particle:
        name = NAMES.get(particle.code)
        anti = name if particle.self_conjugate else NAMES.get(-particle.code)
        if name is None or anti is None or {name, anti} & taken:
            return particle
        return replace(particle, name=name, antiname=anti)

    return tuple(map(renamed, found))
