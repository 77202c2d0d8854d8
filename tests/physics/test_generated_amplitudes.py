"""Generated amplitudes against MadGraph's numbers, and against the laws that they must obey."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepmem.physics.amplitudes.amplitude import Amplitude, amplitude
from deepmem.physics.amplitudes.choice import best_program
from deepmem.physics.amplitudes.external import External
from deepmem.physics.amplitudes.program import Program, finished
from deepmem.physics.amplitudes.squared import squared
from deepmem.physics.errors import ModelError, MomentaError, ReactionError, UnknownNameError
from deepmem.physics.precision import PrecisionError
from deepmem.physics.theory.model import Coupling, Lorentz, Model, Order, Parameter, Particle, Vertex
from deepmem.physics.theory.models import load
from deepmem.physics.theory.reaction import parse
from deepmem.physics.theory.subprocesses import Subprocess, expand

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "madgraph.json").read_text())
PROCESSES = REFERENCE["processes"]
# Of six gluons and four tops the graphs take a minute: `benchmarks/amplitudes.py` compares them.
LARGE = {"gg_gggg", "gg_ttxttx"}
# Compiled, as XLA takes a second for each.
COMPILED = ["uux_ddx", "gg_ttx_semilep", "gg_hg_heft"]
# Laws hold for each of these: massless and massive fermions, vectors, scalars, decays.
LAWS = ["uux_epvemuvm", "gg_ttx_semilep", "gg_hg_heft", "epem_zhh", "udx_epvegg", "gb_twm_dilep"]


def one_subprocess(reaction: str, model: Model) -> Subprocess:
    (only,) = expand(parse(reaction), model)
    return only


@cache
def generated(name: str, along_z: bool = True) -> Amplitude:
    model = load(PROCESSES[name]["model"])
    return amplitude(model, one_subprocess(PROCESSES[name]["process"], model), along_z, cache=False)


def points(name: str) -> np.ndarray:
    return np.array(PROCESSES[name]["momenta"])


def parameters(name: str) -> dict[str, float]:
    return REFERENCE["parameters"][PROCESSES[name]["model"]]


def boosted_along_z(momenta: np.ndarray, rapidity: float) -> np.ndarray:
    result = momenta.copy()
    result[..., 0] = np.cosh(rapidity) * momenta[..., 0] + np.sinh(rapidity) * momenta[..., 3]
    result[..., 3] = np.sinh(rapidity) * momenta[..., 0] + np.cosh(rapidity) * momenta[..., 3]
    return result


def rotated(momenta: np.ndarray, seed: int) -> np.ndarray:
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    result = momenta.copy()
    result[..., 1:] = momenta[..., 1:] @ (matrix * np.sign(np.linalg.det(matrix))).T
    return result


@pytest.mark.parametrize("name", [name for name in PROCESSES if name not in LARGE])
def test_madgraphs_numbers(name: str) -> None:
    model = load(PROCESSES[name]["model"])
    external = External(model, one_subprocess(PROCESSES[name]["process"], model))
    found = finished(external, squared(external)).evaluate(model, points(name), parameters(name))
    np.testing.assert_allclose(found, PROCESSES[name]["me2"], rtol=PROCESSES[name]["tolerance"])


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_numbers_are_those_of_numpy(name: str) -> None:
    one = generated(name)
    one.compiled()
    found = one.values(points(name), parameters(name))
    np.testing.assert_allclose(found, PROCESSES[name]["me2"], rtol=PROCESSES[name]["tolerance"])
    np.testing.assert_allclose(found, one.reference(points(name), parameters(name)), rtol=1e-11)


@pytest.mark.parametrize("name", LAWS)
def test_beams_of_any_direction(name: str) -> None:
    """Beams along z are one of them; rotations and boosts along the beams change nothing."""
    any_direction = generated(name, along_z=False)
    reference = PROCESSES[name]["me2"]
    for momenta in (points(name), rotated(points(name), 1), rotated(boosted_along_z(points(name), 0.8), 2)):
        np.testing.assert_allclose(any_direction.reference(momenta, parameters(name)), reference, rtol=1e-9)
    moved = boosted_along_z(points(name), -0.5)
    np.testing.assert_allclose(generated(name).reference(moved, parameters(name)), reference, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "loop"), [("gg_ttxg", (1, 4)), ("gg_epembbx", (0, 4, 5)), ("gg_gg", (2, 3))]
)
def test_looped_helicities_give_the_same(name: str, loop: tuple[int, ...]) -> None:
    model = load("sm")
    external = External(model, one_subprocess(PROCESSES[name]["process"], model), True, loop)
    program = finished(external, squared(external))
    assert len(program.combinations) > 1
    assert program.operations < generated_flat(name).operations
    np.testing.assert_allclose(program.evaluate(model, points(name)), PROCESSES[name]["me2"], rtol=1e-11)


@cache
def generated_flat(name: str) -> Program:
    model = load(PROCESSES[name]["model"])
    external = External(model, one_subprocess(PROCESSES[name]["process"], model))
    return finished(external, squared(external))


def test_looped_helicities_compiled() -> None:
    model = load("sm")
    subprocess = one_subprocess("u u~ > t t~", model)
    external = External(model, subprocess, True, (2, 3))
    looped = Amplitude(model, subprocess, True, finished(external, squared(external)))
    flat = Amplitude(model, subprocess, True, best_program(model, subprocess))
    assert looped.program.loop == (2, 3)
    assert flat.program.loop == ()
    momenta = top_pair()
    np.testing.assert_allclose(looped.values(momenta), flat.reference(momenta), rtol=1e-12)


def top_pair() -> np.ndarray:
    """u ū → t t̄ at 500 GeV, boosted."""
    size = np.sqrt(250.0**2 - 173.0**2)
    angles = np.array([[0.4, 1.0], [1.9, -2.0]])
    direction = np.stack(
        [
            np.sin(angles[:, 0]) * np.cos(angles[:, 1]),
            np.sin(angles[:, 0]) * np.sin(angles[:, 1]),
            np.cos(angles[:, 0]),
        ],
        axis=-1,
    )
    momenta = np.full((2, 4, 4), 250.0)
    momenta[:, 0, 1:], momenta[:, 1, 1:] = (0, 0, 250.0), (0, 0, -250.0)
    momenta[:, 2, 1:], momenta[:, 3, 1:] = size * direction, -size * direction
    return boosted_along_z(momenta, 0.3)


def test_top_pairs_against_the_textbook() -> None:
    """Σ|M|² of q q̄ → t t̄: (4/9) g⁴ (2 τ₁² + 2 τ₂² + ρ), τ = 2 p₁·p/s, ρ = 4m²/s (Ellis, Stirling, Webber)."""
    model = load("sm")
    momenta = top_pair()
    metric = np.array([1, -1, -1, -1])

    def dot(a: int, b: int) -> np.ndarray:
        return np.sum(momenta[:, a] * momenta[:, b] * metric, axis=-1)

    s = 2 * dot(0, 1)
    tau1, tau2, rho = 2 * dot(0, 2) / s, 2 * dot(0, 3) / s, 4 * 173.0**2 / s
    expected = 4 / 9 * (4 * np.pi * 0.118) ** 2 * (tau1**2 + tau2**2 + rho / 2)
    found = amplitude(model, one_subprocess("u u~ > t t~", model), True, cache=False)
    np.testing.assert_allclose(found.reference(momenta), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["gg_gg", "gg_ttxg", "gg_hg_heft", "udx_epvegg"])
def test_gluons_couple_to_a_conserved_current(name: str) -> None:
    """A gluon's polarisation replaced by its momentum leaves nothing: found exactly, while the graph grows.

    The top's width is 0: a width in a propagator and none in an external leg violate the identity.
    """
    model = load(PROCESSES[name]["model"])
    stable = tuple(replace(each, width="ZERO") for each in model.particles)
    model = replace(model, particles=stable)
    external = External(model, one_subprocess(PROCESSES[name]["process"], model))
    gluon = max(n for n, label in enumerate(external.labels) if label == 21)
    plus, minus, x, y = external.momenta[gluon]
    unit = external.waves[gluon][0][0]
    longitudinal = type(unit)
    wave = (
        longitudinal(external.graph, plus),
        longitudinal(external.graph, minus),
        longitudinal(external.graph, x, y),
        longitudinal(external.graph, x, -y),
    )
    assert squared(external) != 0
    external.waves[gluon] = [wave]
    assert squared(external) == 0


@pytest.mark.parametrize("name", ["udx_epvegg", "gg_ttx_semilep", "epem_zhh"])
def test_precision_follows_the_momenta(name: str) -> None:
    exact = generated(name).reference(points(name).astype(np.longdouble))
    assert exact.dtype == np.longdouble
    single = generated(name).reference(points(name).astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, exact.astype(float), rtol=2e-2)
    np.testing.assert_allclose(generated(name).reference(points(name)), exact.astype(float), rtol=1e-9)


def test_derivatives_in_parameters_inside_jit_and_vmap() -> None:
    name = "gg_ttx_semilep"
    found = generated(name)
    with jax.enable_x64(True):
        momenta = jnp.asarray(points(name))

        @jax.jit
        def values(mass: jax.Array) -> jax.Array:
            return jax.vmap(lambda point: found.matrix_element(point, {"MT": mass, "WT": 1.5}))(momenta)

        slope = jax.jit(lambda mass: jax.jvp(values, (mass,), (jnp.ones(()),))[1])(jnp.asarray(173.0))
        value = values(jnp.asarray(173.0))
    step = 1e-3
    up, down = (found.reference(points(name), {"MT": 173.0 + d, "WT": 1.5}) for d in (step, -step))
    np.testing.assert_allclose(value, found.reference(points(name), {"MT": 173.0, "WT": 1.5}), rtol=1e-10)
    np.testing.assert_allclose(slope, (up - down) / (2 * step), rtol=1e-5)


def test_programs_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = load("sm")
    subprocess = one_subprocess("u u~ > e+ e-", model)
    first = amplitude(model, subprocess, along_z=True)
    (file,) = (tmp_path / "deepmem" / "amplitudes").iterdir()
    again = Program.from_bytes(file.read_bytes())
    assert again.to_bytes() == first.program.to_bytes()
    momenta = massless_pair()
    assert np.array_equal(again.evaluate(model, momenta), first.reference(momenta))


def massless_pair() -> np.ndarray:
    out = np.array([50.0, 30.0, 0.0, 40.0])
    return np.array([[[50.0, 0, 0, 50.0], [50.0, 0, 0, -50.0], out, out * [1, -1, -1, -1]]])


def test_a_broken_file_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = load("sm")
    subprocess = one_subprocess("d d~ > e+ e-", model)
    first = amplitude(model, subprocess, along_z=True)
    (file,) = (tmp_path / "deepmem" / "amplitudes").iterdir()
    file.write_bytes(b"PK no program")
    # Another program between, so that memory has nothing to offer.
    from deepmem.physics.amplitudes import amplitude as module

    module._amplitude.cache_clear()
    again = amplitude(model, subprocess, along_z=True)
    assert again.program.to_bytes() == first.program.to_bytes() == file.read_bytes()


def majorana(structure: str = "ProjM(2,1)") -> Model:
    """A Majorana fermion x of mass 50 GeV, a scalar s, an electron: ē x s and its conjugate."""
    return Model(
        name="majorana",
        particles=(
            Particle(11, "e-", "e+", 2, 1, "ZERO", "ZERO", -3),
            Particle(1000022, "x", "x", 2, 1, "MX", "ZERO", 0),
            Particle(1000011, "s-", "s+", 1, 1, "MS", "ZERO", -3),
        ),
        parameters=(
            Parameter("MX", value=50.0, block="MASS", indices=(1000022,)),
            Parameter("MS", value=200.0, block="MASS", indices=(1000011,)),
            Parameter("g", value=0.3, block="FRBLOCK", indices=(1,)),
        ),
        couplings=(Coupling("G", "complex(0,1)*g", (("QED", 1),)),),
        lorentz=(
            Lorentz("FFS_1", (2, 2, 1), structure),
            Lorentz("FFS_2", (2, 2, 1), "ProjP(2,1)" if structure == "ProjM(2,1)" else structure),
        ),
        vertices=(
            Vertex("exs", (1000022, 11, -1000011), ("1",), ("FFS_1",), ((0, 0, "G"),)),
            Vertex("exs_bar", (-11, 1000022, 1000011), ("1",), ("FFS_2",), ((0, 0, "G"),)),
        ),
        orders=(Order("QED", 1),),
    )


def test_pairs_of_majorana_fermions_against_the_textbook() -> None:
    """e⁻e⁺ → χχ by t and u channel of a scalar that couples to one chirality, g ē P_L χ s + h.c.:

    Σ|M|²/4 = (g⁴/4) ½ [(t − m²)²/(t − M²)² + (u − m²)²/(u − M²)² − 2 m² s/((t − M²)(u − M²))].
    """
    model = majorana()
    found = amplitude(model, Subprocess((11, -11), (1000022, 1000022)), True, cache=False)
    energy, mass, other, g = 150.0, 50.0, 200.0, 0.3
    size, angle = np.sqrt(energy**2 - mass**2), np.array([0.3, 1.2, 2.5])
    momenta = np.zeros((3, 4, 4))
    momenta[:, :, 0] = energy
    momenta[:, 0, 3], momenta[:, 1, 3] = energy, -energy
    momenta[:, 2, 1], momenta[:, 2, 3] = size * np.sin(angle), size * np.cos(angle)
    momenta[:, 3, 1:] = -momenta[:, 2, 1:]
    s = 4 * energy**2
    t = mass**2 - 2 * energy * (energy - size * np.cos(angle))
    u = 2 * mass**2 - s - t
    a, b = t - other**2, u - other**2
    expected = g**4 / 8 * ((t - mass**2) ** 2 / a**2 + (u - mass**2) ** 2 / b**2 - 2 * mass**2 * s / (a * b))
    np.testing.assert_allclose(found.reference(momenta), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("reaction", "error", "words"),
    [
        ("g g > z z", ReactionError, "no diagram at tree level"),
        ("u u~ > d d~ QCD=0 QED=0", ReactionError, "no diagram of these orders"),
        ("u u~ > d d~ FOO=2", UnknownNameError, "coupling order"),
    ],
)
def test_what_has_no_diagram(reaction: str, error: type[Exception], words: str) -> None:
    model = load("sm")
    with pytest.raises(error, match=words):
        amplitude(model, one_subprocess(reaction, model), cache=False)


def test_what_amplitudes_cannot_do() -> None:
    model = majorana("Gamma(3,2,1)*FormFactor(3)")
    with pytest.raises(ModelError, match="FormFactor"):
        amplitude(model, Subprocess((11, -11), (1000022, 1000022)), cache=False)
    with pytest.raises(UnknownNameError, match="particle"):
        amplitude(model, Subprocess((11, -11), (21, 21)), cache=False)
    found = generated("uux_ddx")
    with pytest.raises(MomentaError, match=r"\[…, 4, 4\]"):
        found.values(np.zeros((7, 5, 4)))
    with pytest.raises(UnknownNameError, match="alpha_s"):
        found.values(points("uux_ddx"), {"alphas": 0.1})
    with jax.enable_x64(False), pytest.raises(PrecisionError):
        found.matrix_element(jnp.zeros((4, 4)), {})


@pytest.mark.parametrize("order", ["QCD=2 QED=0", "QED=2 QCD=0"])
def test_orders_choose_diagrams(order: str) -> None:
    """Of u ū → d d̄: one gluon; or a photon, a Z and a W, without interference with it when asked alone."""
    model = load("sm")
    alone = amplitude(model, one_subprocess(f"u u~ > d d~ {order}", model), True, cache=False)
    both = amplitude(model, one_subprocess("u u~ > d d~ QCD=2 QED=2", model), True, cache=False)
    momenta = points("uux_ddx")
    assert np.all(alone.reference(momenta) > 0)
    assert not np.allclose(alone.reference(momenta), both.reference(momenta), rtol=1e-4)


def test_a_decay_near_its_pole_factorises() -> None:
    """u ū → Z → μμ in a chain is |M|² with the Z's propagator: the same as the diagram of the whole."""
    model = load("sm")
    chain = amplitude(model, one_subprocess("u u~ > z, z > mu+ mu-", model), True, cache=False)
    through = amplitude(model, one_subprocess("u u~ > z > mu+ mu-", model), True, cache=False)
    momenta = massless_pair() * 91.188 / 100
    np.testing.assert_allclose(chain.reference(momenta), through.reference(momenta), rtol=1e-12)


def test_few_points_do_not_wait_for_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large program; more points, or further calls, are compiled."""

    def refused(*_: object) -> None:
        raise RuntimeError("compiled")

    monkeypatch.setattr("deepmem.physics.amplitudes.amplitude._SLOW_TO_COMPILE", 0)
    monkeypatch.setattr(Amplitude, "compiled", refused)
    momenta, expected = points("uux_ddx"), PROCESSES["uux_ddx"]["me2"]
    one = replace(generated("uux_ddx"))  # another one, with nothing compiled
    for _ in range(16):
        np.testing.assert_allclose(one.values(momenta), expected, rtol=1e-11)
    with pytest.raises(RuntimeError, match="compiled"):
        one.values(momenta)
    with pytest.raises(RuntimeError, match="compiled"):
        replace(one).values(np.repeat(momenta[:1], 17, axis=0))


def test_programs_are_kept_where_a_session_keeps_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        replace(generated("uux_epemgg")).compiled(64)
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert list((tmp_path / "deepmem" / "xla").glob("*"))
