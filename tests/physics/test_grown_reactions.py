"""Laws that hold for every reaction, tried on reactions grown at random, of up to four outgoing particles."""

from __future__ import annotations

from math import factorial, prod

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings

from deepmem.physics.amplitudes.channels import channels
from deepmem.physics.amplitudes.stages import Stages
from deepmem.physics.theory.model import Coupling, Lorentz, Model, Order, Parameter, Particle, Vertex
from deepmem.physics.theory.models import load
from deepmem.physics.theory.reaction import parse
from deepmem.physics.theory.subprocesses import Subprocess, conjugated, expand
from tests.physics.grown_reactions import (
    EVEN,
    ODD,
    boosted,
    continued,
    grown,
    of,
    scattered,
    small_enough,
    stable,
    turned,
)

# JAX does one after the other here; that takes less than to compile them.
MOST_BY_JAX = 2000
DOUBLE, SINGLE = np.finfo(np.float64).eps, np.finfo(np.float32).eps
MODELS = st.sampled_from(["sm", "heft", "hvv"])


def couplings(name: str, sign: int = 1) -> dict[str, float]:
    """Parameters at which all vertices of a model count; `sign`: of those that are odd under CP."""
    return EVEN | {each: sign * value for each, value in ODD.items()} if name == "hvv" else {}


def drawn(data: st.DataObject, name: str, model: Model) -> Subprocess:
    subprocess = small_enough(data.draw(grown(name), label="reaction"), model)
    assume(subprocess is not None)
    assert subprocess is not None
    return subprocess


@settings(deadline=None, max_examples=60)
@given(MODELS, st.data())
def test_names_lead_to_particles_and_back(name: str, data: st.DataObject) -> None:
    """A vertex's particles conserve what a reaction must conserve; its text is printed as it is read."""
    text, model = data.draw(grown(name)), load(name)
    reaction = parse(text)
    assert str(reaction) == text
    (only,) = expand(reaction, model)
    codes = [model.codes[each] for each in text.replace(">", "").split()]
    assert [*only.incoming, *only.outgoing] == codes
    assert conjugated(conjugated(only, model), model) == only


def rounding(data: np.ndarray, exact: np.ndarray, unit: float) -> float:
    """The largest error, in units of rounding."""
    return float(np.max(np.abs(data / exact - 1)) / unit)


@settings(deadline=None, max_examples=10)
@given(MODELS, st.data())
def test_numbers_are_those_of_numpy_jax_and_other_precisions(name: str, data: st.DataObject) -> None:
    """Errors of float64 and of float32 are the same number of units of rounding, up to a factor."""
    model = load(name)
    found = of(model, drawn(data, name, model))
    assume(found.program.operations < MOST_BY_JAX)
    momenta, values = scattered(model, found.subprocess, 8), couplings(name)
    exact = found.reference(momenta.astype(np.longdouble), values)
    double = rounding(found.reference(momenta, values), exact, DOUBLE)
    stages = Stages(found.program)
    with jax.enable_x64(True), jax.disable_jit():
        scalars = stages.scalars(model, values, jnp, jnp.float64)
        by_jax = stages.kernel(jnp.asarray(momenta), scalars)
    assert by_jax.dtype == jnp.float64
    # Sums in another order, or a product and a sum at once.
    assert rounding(np.asarray(by_jax), exact, DOUBLE) <= 30 * double + 100
    assume((double + 10) * SINGLE < 1e-3)
    single = found.reference(momenta.astype(np.float32), values)
    assert single.dtype == np.float32
    assert rounding(single, exact, SINGLE) <= 100 * (double + 10)


@settings(deadline=None, max_examples=15)
@given(MODELS, st.data())
def test_symmetries(name: str, data: st.DataObject) -> None:
    """Rotations, boosts along the beams, CP, and exchanges of equal particles leave |M|² as it is.

    All widths are 0, so that it does not depend on the gauge, and with it on the frame. Couplings that are
    odd under CP change their signs.
    """
    model = stable(name)
    subprocess = drawn(data, name, model)
    found = of(model, subprocess)
    momenta, values = scattered(model, subprocess), couplings(name)
    value = found.reference(momenta, values)
    exact = found.reference(momenta.astype(np.longdouble), values)
    tolerance = 1e-9 + 1e3 * DOUBLE * rounding(value, exact, DOUBLE)

    def equal(other: np.ndarray) -> None:
        np.testing.assert_allclose(other, value, rtol=tolerance)

    equal(found.reference(turned(boosted(momenta, 0.6)), values))
    mirrored = momenta * np.array([1, -1, -1, -1])
    equal(of(model, conjugated(subprocess, model)).reference(mirrored, couplings(name, -1)))
    codes = (*subprocess.incoming, *subprocess.outgoing)
    for i in range(len(codes)):
        for j in range(i + 1, len(codes)):
            if codes[i] == codes[j] and (i < 2) == (j < 2):
                order = list(range(len(codes)))
                order[i], order[j] = j, i
                equal(found.reference(momenta[:, order], values))
    equal(of(model, subprocess, along_z=True).reference(boosted(momenta, -0.4), values))


@settings(deadline=None, max_examples=12)
@given(MODELS, st.data())
def test_crossing(name: str, data: st.DataObject) -> None:
    """Σ|M|² of a b → c d … is that of a c̄ → b̄ d …, −1 for each crossed fermion, with p_b → −p_b, p_c → −p_c."""
    model = load(name)
    subprocess = drawn(data, name, model)
    inside, outside = data.draw(st.integers(0, 1)), data.draw(st.integers(2, len(subprocess.outgoing) + 1))
    codes = [*subprocess.incoming, *subprocess.outgoing]
    codes[inside], codes[outside] = model.conjugate(codes[outside]), model.conjugate(codes[inside])
    other = Subprocess(tuple(codes[:2]), tuple(codes[2:]), subprocess.requirements)
    momenta = scattered(model, other)
    crossed = momenta.copy()
    crossed[:, inside], crossed[:, outside] = -momenta[:, outside], -momenta[:, inside]
    sign = prod(-1 if model.by_code[code].spin == 2 else 1 for code in (codes[inside], codes[outside]))
    values = couplings(name)
    direct = of(model, other).reference(momenta, values) * states(model, other)
    again = sign * continued(of(model, subprocess), crossed, **values) * states(model, subprocess)
    np.testing.assert_allclose(again, direct, rtol=1e-6)


def states(model: Model, subprocess: Subprocess) -> int:
    """Over how many spins and colours |M|² is averaged, and n! of equal particles."""
    kinds = [model.by_code[code] for code in subprocess.incoming]
    spins = [each.spin - (each.spin == 3 and each.mass == "ZERO") for each in kinds]
    return prod(n * abs(each.colour) for n, each in zip(spins, kinds, strict=True)) * subprocess.identical


# ---- how many diagrams there are


def scalars(degrees: tuple[int, ...]) -> Model:
    """One scalar with a vertex of each degree, which is one power of an order of its own."""
    names = {degree: f"N{degree}" for degree in degrees}
    return Model(
        "scalars",
        (Particle(9001, "s", "s", 1, 1, "M", "ZERO", 0),),
        (Parameter("M", value=10.0), Parameter("g", value=2.0)),
        tuple(Coupling(f"G{d}", "complex(0,1)*g", ((name, 1),)) for d, name in names.items()),
        tuple(Lorentz(f"L{d}", (1,) * d, "1") for d in degrees),
        tuple(Vertex(f"V{d}", (9001,) * d, ("1",), (f"L{d}",), ((0, 0, f"G{d}"),)) for d in degrees),
        tuple(Order(name, 1) for name in names.values()),
    )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(3, 5), min_size=1, max_size=4))
def test_numbers_of_trees(degrees: list[int]) -> None:
    """Trees with n numbered leaves and k_d vertices of degree d, V in all, 2 (V − 1) + n = Σ d k_d, number

    (n + V − 2)!/Π_d ((d − 1)!^k_d k_d!)    (R. Stanley, Enumerative Combinatorics 2, theorem 5.3.10).
    """
    model = scalars((3, 4, 5))
    legs = sum(degrees) - 2 * (len(degrees) - 1)
    assume(4 <= legs <= 7)
    wanted = " ".join(f"N{d}=={degrees.count(d)}" for d in (3, 4, 5))
    (channel,) = channels(parse(f"s s > {'s ' * (legs - 2)} {wanted}"), model)
    below = prod(factorial(d - 1) ** degrees.count(d) * factorial(degrees.count(d)) for d in (3, 4, 5))
    assert channel.diagrams * below == factorial(legs + len(degrees) - 2)


def number(reaction: str, name: str = "sm") -> int:
    (channel,) = channels(parse(reaction), load(name))
    return channel.diagrams


@pytest.mark.parametrize("photons", [1, 2, 3, 4, 5])
def test_numbers_of_diagrams_with_photons(photons: int) -> None:
    """e⁻e⁺ → n γ: n! orders on one line, and on two lines with a photon between n! (n + 3)!/(3! n!)."""
    several = "a " * photons
    if photons > 1:
        assert number(f"e+ e- > {several}") == factorial(photons)
    if photons < 4:
        wanted = factorial(photons + 3) // 6
        assert number(f"e+ e- > mu+ mu- {several} / z h") == wanted


def gluon_trees(legs: int) -> int:
    """Trees of cubic and quartic vertices: those of `test_numbers_of_trees`, summed."""
    total = 0
    for quartic in range(legs // 2):
        cubic = legs - 2 - 2 * quartic
        below = 2**cubic * factorial(cubic) * 6**quartic * factorial(quartic)
        total += factorial(legs + cubic + quartic - 2) // below
    return total


@pytest.mark.parametrize(("legs", "expected"), [(4, 4), (5, 25), (6, 220), (7, 2485), (8, 34300)])
def test_numbers_of_diagrams_with_gluons(legs: int, expected: int) -> None:
    """Trees of cubic and quartic vertices (M. Mangano, S. Parke, Phys. Rept. 200 (1991) 301, table 1)."""
    assert number(f"g g > {'g ' * (legs - 2)}") == gluon_trees(legs) == expected
