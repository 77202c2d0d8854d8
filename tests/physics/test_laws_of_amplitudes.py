"""Laws on a list of reactions: gauge, exchange, CP, poles, decoupling, and derivatives in parameters."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepmem.physics.amplitudes import choice
from deepmem.physics.amplitudes.external import External
from deepmem.physics.amplitudes.graph import Complex
from deepmem.physics.amplitudes.program import finished
from deepmem.physics.amplitudes.squared import squared
from deepmem.physics.theory.expressions import evaluate
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.models import load
from deepmem.physics.theory.reaction import parse
from deepmem.physics.theory.subprocesses import Subprocess, conjugated, expand
from tests.physics import toy_ufo
from tests.physics.grown_reactions import EVEN, ODD, boosted, masses, of, scattered, stable, turned
from tests.physics.small_models import decayed, decays, dot

PROCESSES = json.loads((Path(__file__).parents[1] / "reference" / "madgraph.json").read_text())["processes"]


def read(reaction: str, model: Model) -> Subprocess:
    (only,) = expand(parse(reaction), model)
    return only


def of_reaction(reaction: str, name: str, momenta: np.ndarray, **values: float) -> np.ndarray:
    model = load(name)
    return of(model, read(reaction, model)).reference(momenta, values)


# ---- gauge


def with_momentum(external: External, leg: int) -> None:
    """The polarisations of a massless vector, replaced by its momentum."""
    plus, minus, x, y = external.momenta[leg]
    g = external.graph
    external.waves[leg] = [(Complex(g, plus), Complex(g, minus), Complex(g, x, y), Complex(g, x, -y))]


@pytest.mark.parametrize(
    ("reaction", "name"),
    [
        ("u u~ > e+ e- a", "sm"),
        ("u d~ > w+ a", "sm"),
        ("w+ w- > z a", "sm"),
        ("a a > w+ w-", "sm"),
        ("e+ e- > t t~ a", "sm"),
        ("u g > e+ ve d", "sm"),
        ("g g > t t~ h", "sm"),
        ("g g > h g g", "heft"),
        ("g a > t t~ h", "hvv"),
        ("e+ e- > h a", "hvv"),
        ("w+ a > w+ h", "sm"),
    ],
)
def test_massless_vectors_couple_to_conserved_currents(reaction: str, name: str) -> None:
    """ε → k leaves nothing where all diagrams are there and no width is: exactly, and of each leg."""
    model = stable(name)
    subprocess = read(reaction, model)
    external = External(model, subprocess)
    massless = [k for k, leg in enumerate(external.legs) if leg.spin == 3 and leg.massless]
    assert massless
    for leg in massless:
        external = External(model, subprocess)
        assert leg != massless[0] or squared(external) != 0
        external = External(model, subprocess)
        with_momentum(external, leg)
        assert squared(external) == 0


def violation(reaction: str, momenta: np.ndarray, leg: int, **values: float) -> np.ndarray:
    """|M(ε → k/E)|²/Σ_ε |M|²: 0 where the gauge does not matter."""
    model = load("sm")
    subprocess = read(reaction, model)
    external = External(model, subprocess, along_z=False)
    with_momentum(external, leg)
    wrong = finished(external, squared(external)).evaluate(model, momenta, values)
    return wrong / momenta[:, leg, 0] ** 2 / of(model, subprocess).reference(momenta, values)


@pytest.mark.parametrize(
    ("reaction", "width"), [("g g > t t~", "WT"), ("g b > t w-", "WT"), ("u d~ > w+ a", "WW")]
)
def test_widths_violate_gauge_invariance_as_their_square(reaction: str, width: str) -> None:
    """External particles have none, internal ones do: |M(ε → k)|² ∝ Γ²."""
    model = load("sm")
    subprocess = read(reaction, model)
    codes = (*subprocess.incoming, *subprocess.outgoing)
    leg = next(k for k, code in enumerate(codes) if code in (21, 22))
    momenta = scattered(model, subprocess)
    value = float(np.real(evaluate(model).parameters[width]))
    large, small = (violation(reaction, momenta, leg, **{width: x * value}) for x in (1.0, 0.1))
    print(f"{reaction}: |M(k/E)|²/|M|² up to {large.max():.1e} with the widths of the model")  # noqa: T201
    assert np.all(large > 0)
    assert large.max() < 1e-2
    np.testing.assert_allclose(large / small, 100, rtol=0.02)


def test_chains_violate_gauge_invariance_off_their_poles() -> None:
    """g b → t W⁻ → W⁺ b W⁻ by a chain lacks the diagrams without a top: on its pole they do not matter."""
    reaction, model = "g b > t w-, t > w+ b", load("sm")
    draw = np.random.default_rng(6)
    momenta = np.array(
        [
            [gluon, quark, *decayed(top, masses(model, (24, 5)), draw), boson]
            for gluon, quark, top, boson in scattered(model, read("g b > t w-", model))
        ]
    )
    on, off = (violation(reaction, momenta, 0, MT=mass, WT=1e-3) for mass in (173.0, 190.0))
    print(f"{reaction}: |M(k/E)|²/|M|² up to {on.max():.1e} at m_t, {off.max():.1e} at m_t − 17 GeV")  # noqa: T201
    assert np.all(on > 0)
    assert on.max() < 1e-6
    assert np.all(off > 100 * on)


# ---- frames, exchange and CP


@pytest.mark.parametrize(
    "reaction", ["z a > ta+ ta-", "a z > ta+ ta-", "g b > b z", "t w- > b z", "a w+ > t b~"]
)
def test_beams_with_a_mass(reaction: str) -> None:
    """Beams along z, one of them or both massive, give what beams of any direction give."""
    model = load("sm")
    subprocess = read(reaction, model)
    momenta = boosted(scattered(model, subprocess), 0.7)
    expected = of(model, subprocess).reference(turned(momenta))
    np.testing.assert_allclose(of(model, subprocess, along_z=True).reference(momenta), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("reaction", "order"),
    [
        ("u u > u u", (1, 0, 2, 3)),
        ("u u > u u", (0, 1, 3, 2)),
        ("u u~ > e+ e- e+ e-", (0, 1, 4, 3, 2, 5)),
        ("u u~ > e+ e- e+ e-", (0, 1, 2, 5, 4, 3)),
        ("u u~ > g g g", (0, 1, 4, 2, 3)),
        ("e+ e- > z h h", (0, 1, 2, 4, 3)),
        ("u u~ > z z, z > e+ e-", (0, 1, 4, 5, 2, 3)),
        ("g g > h, (h > w+ w-, w+ > e+ ve, w- > mu- vm~)", (1, 0, 2, 3, 4, 5)),
    ],
)
def test_equal_particles_are_exchanged(reaction: str, order: tuple[int, ...]) -> None:
    """|M|² is the same, and without Pauli's sign of their diagrams it would not be."""
    model = load("heft")
    subprocess = read(reaction, model)
    momenta = scattered(model, subprocess)
    found = of(model, subprocess)
    np.testing.assert_allclose(found.reference(momenta[:, order]), found.reference(momenta), rtol=1e-9)


@pytest.mark.parametrize(
    "name", ["gg_ttx_semilep", "gb_twm_dilep", "udx_wph_munubb", "gg_h_eemumu_heft", "gg_epembbx"]
)
def test_cp(name: str) -> None:
    """Charge conjugates at mirrored momenta, with decays: hvv's odd couplings change their signs."""
    model, entry = load("hvv"), PROCESSES[name]
    subprocess, momenta = read(entry["process"], model), np.array(entry["momenta"])
    mirrored = momenta * np.array([1, -1, -1, -1])
    odd = {each: -value for each, value in ODD.items()}
    found = of(model, subprocess).reference(momenta, EVEN | ODD)
    other = of(model, conjugated(subprocess, model)).reference(mirrored, EVEN | odd)
    np.testing.assert_allclose(other, found, rtol=1e-8)


# ---- poles


def averaged(reaction: str, name: str, mother: np.ndarray, rest: list[np.ndarray], **values: float) -> float:
    """⟨|M|²⟩ over the directions of two massless products of `mother`, after the legs `rest`: the six
    directions of an octahedron are enough for spins up to 1."""
    mass = np.sqrt(dot(mother, mother))
    points = []
    for direction in (*np.eye(3), *-np.eye(3)):
        along = direction @ mother[1:]
        spatial = mass * direction + mother[1:] * (1 + along / (mother[0] + mass))
        one = np.array([mother[0] + along, *spatial]) / 2
        points.append([*rest, one, mother - one])
    return float(np.mean(of_reaction(reaction, name, np.array(points), **values)))


@pytest.mark.parametrize(
    ("before", "after", "whole", "name", "mass", "width"),
    [
        ("g g > h", "h > a a", "g g > h > a a", "heft", "MH", "WH"),
        ("u u~ > z", "z > e+ e-", "u u~ > e+ e-", "sm", "MZ", "WZ"),
        ("u d~ > w+", "w+ > e+ ve", "u d~ > e+ ve", "sm", "MW", "WW"),
        ("t > b w+", "w+ > e+ ve", "t > b e+ ve", "sm", "MW", "WW"),
        ("u u~ > g z", "z > e+ e-", "u u~ > g e+ e-", "sm", "MZ", "WZ"),
        ("b~ t > g w+", "w+ > e+ ve", "b~ t > g e+ ve", "sm", "MW", "WW"),
    ],
)
def test_poles_factorise(before: str, after: str, whole: str, name: str, mass: str, width: str) -> None:
    """At q² = M², averaged over the decay's angles, |M(… R, R → f)|² = |M(… R)|² |M(R → f)|²/(M Γ)²,

    with the averages over R's spins that |M(R → f)|² has. Diagrams without R are 1/Γ smaller.
    """
    model, gamma = load(name), 1e-5
    first, last = read(before, model), read(after, model)
    pole = float(np.real(evaluate(model).parameters[mass]))
    values = {width: gamma}
    legs = on_shell(model, first)
    mother = legs[-1]
    production = of(model, first).reference(legs[None], values)[0]
    decay = averaged(after, name, mother, [mother], **values)
    found = averaged(whole, name, mother, list(legs[:-1]), **values)
    assert last.incoming == (first.outgoing[-1],)
    np.testing.assert_allclose(found * (pole * gamma) ** 2, production * decay, rtol=1e-5)


def on_shell(model: Model, subprocess: Subprocess) -> np.ndarray:
    """`[legs, 4]`: one point; of three legs there is one, but for its direction."""
    codes = (*subprocess.incoming, *subprocess.outgoing)
    if len(codes) > 3:
        return scattered(model, subprocess, 1)[0]
    mass = masses(model, codes)
    if len(subprocess.incoming) == 1:
        return decays(mass[0], mass[1:], 1)[0]
    half = mass[2] / 2
    return np.array([[half, 0, 0, half], [half, 0, 0, -half], [mass[2], 0, 0, 0]])


# ---- decoupling


@pytest.mark.parametrize(
    ("reaction", "orders", "off", "on"),
    [
        (
            "g g > t t~ h",
            " QCD=3 QED=1 HIG=1",
            {"kappa_tilde": 0.0, "cg2": 0.0},
            {"kappa_tilde": 0.5, "cg2": 1.0},
        ),
        ("u d > h u d", " QCD=0 HIG=0", {}, {"ca3": 0.4, "cL1": 1.0}),
        ("e+ e- > mu+ mu- h", "", {}, {"ca2za": 0.2}),
        ("u d~ > w+ h, w+ > mu+ vm, h > b b~", "", {}, {"ca2": 0.2}),
    ],
)
def test_without_their_couplings_new_vertices_are_gone(
    reaction: str, orders: str, off: dict[str, float], on: dict[str, float]
) -> None:
    """`hvv` is then the Standard Model, for those reactions and orders, too, in which they count."""
    model = load("sm")
    subprocess = read(reaction, model)
    momenta = scattered(model, subprocess)
    plain = of(model, subprocess).reference(momenta)
    np.testing.assert_allclose(of_reaction(reaction + orders, "hvv", momenta, **off), plain, rtol=1e-10)
    other = of_reaction(reaction + orders, "hvv", momenta, **on)
    assert np.all(np.abs(other / plain - 1) > 1e-6)


@pytest.mark.parametrize("heavy", [1e4, 1e5])
def test_a_heavy_particle_decouples(tmp_path: Path, heavy: float) -> None:
    """A Z′ of mass M leaves of e⁻e⁺ → u ū what a photon makes, up to s/M²."""
    model = load(toy_ufo.write(tmp_path / "toy"))
    subprocess = read("e- e+ > u u~ QED=2 NP=2", model)
    momenta = scattered(model, subprocess)
    photon = of(model, read("e- e+ > u u~ QED=2 NP=0", model)).reference(momenta)
    both = of(model, subprocess).reference(momenta, {"MZp": heavy})
    s = dot(momenta[:, 0] + momenta[:, 1], momenta[:, 0] + momenta[:, 1])
    size = np.abs(both / photon - 1) * heavy**2 / s
    assert np.all((size > 1e-2) & (size < 10))


# ---- derivatives


@pytest.mark.parametrize(
    ("name", "model", "parameters"),
    [
        ("uux_tata", "sm", ("MZ", "WZ")),
        ("gg_hg_heft", "heft", ("MT", "alpha_s")),
        ("epem_zhh", "sm", ("MH",)),
        ("gg_h_eemumu_heft", "hvv", ("ca3",)),
        ("gb_twm_dilep", "sm", ("MT", "WT", "aEWM1")),
    ],
)
def test_derivatives_in_parameters(name: str, model: str, parameters: tuple[str, ...]) -> None:
    """Forward mode against differences of values, relative to |M|²/parameter."""
    found = of(load(model), read(PROCESSES[name]["process"], load(model)))
    momenta = np.array(PROCESSES[name]["momenta"])
    defaults = evaluate(found.model).parameters
    given = {each: 1.01 * float(np.real(defaults[each])) + 0.1 * (defaults[each] == 0) for each in parameters}
    for each, value in given.items():
        with jax.enable_x64(True), jax.disable_jit():
            here, slope = jax.jvp(
                lambda x, each=each: found.matrix_element(jnp.asarray(momenta), {**given, each: x}),
                (jnp.asarray(value),),
                (jnp.ones(()),),
            )
            here, slope = np.asarray(here), np.asarray(slope)
        step = 1e-6 * value
        exact = momenta.astype(np.longdouble)
        up, down = (found.reference(exact, {**given, each: value + d}) for d in (step, -step))
        np.testing.assert_allclose(here, found.reference(momenta, given), rtol=1e-9)
        expected = ((up - down) / (2 * step)).astype(float)
        np.testing.assert_allclose(slope * value / here, expected * value / here, rtol=1e-5, atol=1e-7)


def test_derivatives_in_momenta() -> None:
    """Along a boost and along a rotation about the beams |M|² does not change; along others as differences say."""
    entry = PROCESSES["udx_epveg"]
    found = of(load("sm"), read(entry["process"], load("sm")), along_z=True)
    momenta = np.array(entry["momenta"])
    boost, rotation = np.zeros((2, 4, 4))
    boost[0, 3] = boost[3, 0] = 1
    rotation[1, 2], rotation[2, 1] = 1, -1
    scale = np.eye(4)

    def slope(direction: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True), jax.disable_jit():
            points = jnp.asarray(momenta)
            here, change = jax.jvp(found.matrix_element, (points,), (points @ direction,))
            return np.asarray(change) / np.asarray(here)

    np.testing.assert_allclose(slope(boost), 0, atol=1e-9)
    np.testing.assert_allclose(slope(rotation), 0, atol=1e-9)
    up, down = (found.reference(momenta.astype(np.longdouble) * (1 + d)) for d in (1e-5, -1e-5))
    expected = ((up - down) / 2e-5 / found.reference(momenta)).astype(float)
    assert np.all(np.abs(expected) > 0.1)
    np.testing.assert_allclose(slope(scale), expected, rtol=1e-5)


# ---- size


def test_a_larger_graph_is_for_what_gains_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the budget only where that saves a third of the operations; |M|² is the same."""
    entry, model = PROCESSES["gg_ttxg"], load("sm")
    subprocess = read(entry["process"], model)
    found = {}
    monkeypatch.setattr(choice, "BUDGET", 2_500)
    monkeypatch.setattr(choice, "LARGEST", 9_000)
    for large in (2_500, 6_000):
        monkeypatch.setattr(choice, "LARGE_BUDGET", large)
        found[large] = choice.best_program(model, subprocess)
        square = found[large].evaluate(model, np.array(entry["momenta"]))
        np.testing.assert_allclose(square, entry["me2"], rtol=entry["tolerance"])
    assert found[2_500].operations <= 2_500 < found[6_000].operations <= 6_000
    assert found[6_000].cost * 1.5 <= found[2_500].cost


@pytest.mark.long
@pytest.mark.parametrize("name", ["gg_gggg", "gg_ttxttx"])
def test_large_reactions(name: str) -> None:
    entry, model = PROCESSES[name], load("sm")
    program = choice.best_program(model, read(entry["process"], model))
    assert program.operations <= choice.LARGE_BUDGET
    square = program.evaluate(model, np.array(entry["momenta"]))
    np.testing.assert_allclose(square, entry["me2"], rtol=entry["tolerance"])
