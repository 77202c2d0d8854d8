"""Vertices that no amplitude can have: a reaction that needs one is refused, others go on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepmem.physics.amplitudes.amplitude import amplitude
from deepmem.physics.amplitudes.channels import channels
from deepmem.physics.errors import ModelError
from deepmem.physics.theory.model import Model, Particle
from deepmem.physics.theory.reaction import parse
from deepmem.physics.theory.subprocesses import Requirements, Subprocess, expand
from tests.physics.small_models import CURRENT, DOWN, ELECTRON, MUON, PHOTON, UP, collisions, small


def strange(particle: Particle, *vertices: tuple[tuple[int, ...], str, str], refused: str = "") -> Model:
    """Electrons, muons, quarks and photons, and one particle more with vertices (what leaves, colour, structure)."""
    photon = [((-code, code, 22), [("1", CURRENT, "complex(0,1)*e")]) for code in (11, 13)]
    more = [(codes, [(colour, shape, "complex(0,1)*e")]) for codes, colour, shape in vertices]
    model = small((ELECTRON, MUON, UP, DOWN, PHOTON, particle), {"e": 0.3, "M": 500.0}, [*photon, *more])
    marked = [*model.vertices[:2], *(replace(each, refused=refused) for each in model.vertices[2:])]
    return replace(model, vertices=tuple(marked))


GRAVITON = Particle(39, "y", "y", 5, 1, "M", "ZERO", 0)
GRAVITINO = Particle(40, "psi", "psi", 4, 1, "M", "ZERO", 0)
SEXTET = Particle(41, "six", "six~", 1, 6, "M", "ZERO", 4)
TRIPLET = Particle(42, "s3", "s3~", 1, 3, "M", "ZERO", -1)
SCALAR = Particle(43, "s0", "s0", 1, 1, "M", "ZERO", 0)


@pytest.mark.parametrize(
    ("particle", "one", "other", "reaction", "says"),
    [
        (
            GRAVITON,
            ((-11, 11, 39), "1", "P(2003,1)*Gamma(1003,2,1)"),
            ((-13, 13, 39), "1", "P(2003,1)*Gamma(1003,2,1)"),
            "e- e+ > mu- mu+",
            r"V_3: y has 2s \+ 1 = 5",
        ),
        (
            GRAVITINO,
            ((-11, 40, 22), "1", "Gamma(3,2,1)"),
            ((40, 11, 22), "1", "Gamma(3,2,1)"),
            "e- e+ > a a",
            r"psi has 2s \+ 1 = 4",
        ),
        (
            SEXTET,
            ((-2, -2, 41), "K6(3,1,2)", "C(2,1)"),
            ((2, 2, -41), "K6Bar(3,1,2)", "C(2,1)"),
            "u u > u u",
            "six has 2s .* colour 6",
        ),
        (
            TRIPLET,
            ((2, 1, 42), "Epsilon(1,2,3)", "C(2,1)"),
            ((-2, -1, -42), "EpsilonBar(1,2,3)", "C(2,1)"),
            "u d > u d",
            "no ε of three colours",
        ),
        (
            SCALAR,
            ((-11, 11, 43), "1", "FF1*Identity(2,1)"),
            ((-13, 13, 43), "1", "FF1*Identity(2,1)"),
            "e- e+ > mu- mu+",
            "no form factors",
        ),
    ],
)
def test_what_amplitudes_cannot_have(
    particle: Particle, one: tuple[tuple[int, ...], str, str], other: tuple, reaction: str, says: str
) -> None:
    """A reaction that needs such a vertex is refused in a sentence; another one is what it is without it."""
    model = strange(particle, one, other)
    with pytest.raises(ModelError, match=says):
        amplitude(model, expand(parse(reaction), model)[0], cache=False)
    with pytest.raises(ModelError, match=says):
        channels(parse(reaction), model)
    without = Subprocess((11, -11), (13, -13), Requirements(without=(particle.code,)))
    momenta = collisions(200.0)
    found, expected = (
        amplitude(each, without, cache=False).reference(momenta) for each in (model, strange(particle))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_a_vertex_that_is_marked_is_refused_with_its_reason() -> None:
    """`Vertex.refused`, as of a UFO folder; what else there is stays, an exchange of photons."""
    vertices = [((-code, code, 43), "1", "Identity(2,1)") for code in (11, 13)]
    fine, marked = strange(SCALAR, *vertices), strange(SCALAR, *vertices, refused="it has no propagator")
    reaction = Subprocess((11, -11), (13, -13))
    assert amplitude(fine, reaction, cache=False).program.operations
    with pytest.raises(ModelError, match=r'\(it has no propagator\): leave a particle of it out with "/"'):
        amplitude(marked, reaction, cache=False)
    compton = Subprocess((11, 22), (11, 22))
    found, expected = (
        amplitude(each, compton, cache=False).reference(collisions(200.0)) for each in (marked, fine)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-14)
