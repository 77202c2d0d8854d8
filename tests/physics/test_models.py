"""The built-in models: laws that couplings obey, and the expressions that they are made of."""

from __future__ import annotations

import cmath
import itertools
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepmem.physics.errors import ModelError, ParameterError, UnknownNameError
from deepmem.physics.theory.expressions import FUNCTIONS, evaluate
from deepmem.physics.theory.model import Coupling, Lorentz, Model, Parameter, Vertex
from deepmem.physics.theory.models import BUILT_IN, load
from deepmem.physics.theory.parameters import PARAMETERS, Parameters, electroweak
from deepmem.physics.theory.settings import checked

METRIC = np.diag([1.0, -1.0, -1.0, -1.0])


def small(expression: str, value: float = 2.0) -> Model:
    """A model of one parameter x and one coupling."""
    vertex = Vertex("V", (25, 25, 25), ("1",), ("SSS",), ((0, 0, "g"),))
    return Model(
        name="small",
        particles=(),
        parameters=(Parameter("x", value=value), Parameter("y", expression="x + 1")),
        couplings=(Coupling("g", expression, (("QED", 1),)),),
        lorentz=(Lorentz("SSS", (1, 1, 1), "1"),),
        vertices=(vertex,),
        orders=(),
    )


def strength(expression: str, value: float = 2.0) -> complex:
    return complex(evaluate(small(expression, value)).couplings["g"])


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_a_model_is_consistent(name: str) -> None:
    """Every vertex conserves charge, has structures of its spins and couplings that there are."""
    model = load(name)
    structures = {each.name: each for each in model.lorentz}
    used = set()
    for vertex in model.vertices:
        charges = [np.sign(code) * model.by_code[code].thrice_charge for code in vertex.particles]
        assert sum(charges) == 0
        for colour, shape, coupling in vertex.couplings:
            assert colour < len(vertex.colour)
            spins = tuple(model.by_code[code].spin for code in vertex.particles)
            assert structures[vertex.lorentz[shape]].spins == spins
            used.add(coupling)
    assert used == {coupling.name for coupling in model.couplings}
    orders = {order.name for order in model.orders}
    assert {order for coupling in model.couplings for order, _ in coupling.orders} <= orders


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_the_lagrangian_is_real(name: str) -> None:
    """A coupling is i times a real number, and i more for each derivative and for γ⁵: real in three gluons."""
    model = load(name)
    given = {"ca3": 1.0, "cg3": 1.0, "kappa_tilde": 1.0, "cL1": 1.0} if name == "hvv" else {}
    values = evaluate(model, given).couplings
    shapes = {each.name: each.structure for each in model.lorentz}
    for vertex in model.vertices:
        for _, shape, coupling in vertex.couplings:
            real = "f(1,2,3)" in vertex.colour or shapes[vertex.lorentz[shape]] == "Gamma5(2,1)"
            own = complex(values[coupling])
            assert (own.imag if real else own.real) == 0, (vertex.name, coupling, own)


def test_relations_of_the_standard_model() -> None:
    """W couplings of e, of the Z by c/s, of quartic vertices by squares; m = y v, and v² = 1/(√2 GF)."""
    model = load("sm")
    values = evaluate(model)
    g = {name: complex(value) / 1j for name, value in values.couplings.items()}
    p = {name: complex(value).real for name, value in values.parameters.items()}
    e, s, c = p["ee"], p["sw"], p["cw"]
    assert g["aww"] == pytest.approx(e)
    assert g["zww"] == pytest.approx(e * c / s)
    assert g["aaww"] == pytest.approx(-(g["aww"] ** 2))
    assert g["azww"] == pytest.approx(-g["aww"] * g["zww"])
    assert g["zzww"] == pytest.approx(-(g["zww"] ** 2))
    assert g["wwww"] == pytest.approx(g["aww"] ** 2 + g["zww"] ** 2)
    assert 2 * g["ud_w"] ** 2 == pytest.approx(g["wwww"])
    for up, down in (("u", "d"), ("ve", "e")):
        # [T⁺, T⁻] = T³: what W emission before and after leaves to the W's own vertices.
        assert g[f"{up}_zL"] - g[f"{down}_zL"] == pytest.approx(g["zww"])
        assert g.get(f"{up}_a", 0) - g[f"{down}_a"] == pytest.approx(g["aww"])
    assert p["v"] ** 2 * np.sqrt(2) * p["GF"] == pytest.approx(1, abs=1e-12)
    assert g["hhzz"] * p["v"] == pytest.approx(g["hzz"])
    assert g["hhhh"] * p["v"] == pytest.approx(g["hhh"])


def test_defaults_are_those_of_the_menu() -> None:
    own = electroweak(Parameters())
    found = evaluate(load("sm")).parameters
    assert float(found["MW"]) == pytest.approx(float(own.MW), rel=1e-7)
    model = load("sm")
    defaults = {parameter.name: parameter.value for parameter in model.parameters}
    for name in PARAMETERS:
        if name not in ("sqrt_s", "MW"):
            assert defaults[name] == getattr(Parameters(), name)


def test_what_follows_unless_it_is_set() -> None:
    model = load("sm")
    assert complex(evaluate(model, {"MB": 5.0}).parameters["ymb"]) == 5
    assert complex(evaluate(model, {"MB": 5.0, "ymb": 3.0}).parameters["ymb"]) == 3
    assert float(evaluate(model, {"MW": 80.0}).parameters["MW"]) == 80


def test_heft_has_the_limits_of_heavy_loops() -> None:
    """G_H = −α_s/(3πv) for MT → ∞, and A_H = 47α/(18πv) for MT, MW → ∞ at fixed v."""
    found = evaluate(load("heft"), {"MH": 1e-3}).parameters
    v = complex(found["v"]).real
    assert complex(found["G_H"]).real == pytest.approx(-0.118 / (3 * np.pi * v), rel=1e-9)
    assert complex(found["A_H"]).real == pytest.approx(47 / (18 * np.pi * v * 132.507), rel=1e-9)
    # The top loop at τ = (MH/2MT)²: (3/2τ²)(τ + (τ − 1) arcsin²√τ) times its limit (M. Spira, hep-ph/9504378).
    tau = (125 / (2 * 173)) ** 2
    loop = 1.5 / tau**2 * (tau + (tau - 1) * np.arcsin(np.sqrt(tau)) ** 2)
    ratio = complex(evaluate(load("heft")).parameters["G_H"]).real / complex(found["G_H"]).real
    assert ratio == pytest.approx(loop, abs=1e-5)


def epsilon() -> np.ndarray:
    """ε^0123 = −1."""
    table = np.zeros((4,) * 4)
    for order in itertools.permutations(range(4)):
        table[order] = -np.linalg.det(np.eye(4)[list(order)])
    return table


def contracted(structure: str, e1: np.ndarray, e2: np.ndarray, q1: np.ndarray, q2: np.ndarray) -> complex:
    """A structure of `hvv` of two vectors, with lower polarisations: each product by hand."""

    def dot(a: np.ndarray, b: np.ndarray) -> complex:
        return a @ METRIC @ b

    low = [METRIC @ each for each in (e1, e2, q1, q2)]
    return {
        "Metric(1,2)": dot(e1, e2),
        "P(1,2)*P(2,1) - P(-1,1)*P(-1,2)*Metric(1,2)": dot(e1, q2) * dot(e2, q1) - dot(q1, q2) * dot(e1, e2),
        "Epsilon(1,2,-1,-2)*P(-1,1)*P(-2,2)": np.einsum("abcd,a,b,c,d", epsilon(), *low),
        "P(-1,1)*P(-1,1)*Metric(1,2) + P(-2,2)*P(-2,2)*Metric(1,2)": (dot(q1, q1) + dot(q2, q2))
        * dot(e1, e2),
    }[structure]


def helicity_amplitude(
    helicity: int, masses: tuple[float, float], **values: float
) -> tuple[complex, dict[str, float]]:
    """A_λλ of H → Z*Z* at rest, the first Z along +z, from the model's vertex (i A is the vertex)."""
    model = load("hvv")
    m1, m2 = masses
    found = evaluate(model, values)
    mh = float(found.parameters["MH"])
    momentum = np.sqrt((mh**2 - (m1 + m2) ** 2) * (mh**2 - (m1 - m2) ** 2)) / (2 * mh)
    energies = np.hypot(momentum, m1), np.hypot(momentum, m2)
    q1 = np.array([energies[0], 0, 0, momentum])
    q2 = np.array([energies[1], 0, 0, -momentum])
    if helicity:
        e1 = np.array([0, -helicity, -1j, 0]) / np.sqrt(2)
        e2 = np.array([0, helicity, -1j, 0]) / np.sqrt(2)
    else:
        e1 = np.array([momentum, 0, 0, energies[0]]) / m1
        e2 = np.array([momentum, 0, 0, -energies[1]]) / m2
    (vertex,) = (each for each in model.vertices if each.particles == (23, 23, 25))
    shapes = {each.name: each.structure for each in model.lorentz}
    total = sum(
        complex(found.couplings[name]) * contracted(shapes[vertex.lorentz[at]], e1.conj(), e2.conj(), q1, q2)
        for _, at, name in vertex.couplings
    )
    x = ((mh**2 - m1**2 - m2**2) / (2 * m1 * m2)) ** 2 - 1
    return total / 1j, {"x": x, "v": complex(found.parameters["v"]).real, "mh": mh}


@pytest.mark.parametrize("masses", [(91.0, 25.0), (60.0, 31.0)])
def test_helicity_amplitudes_of_anomalous_couplings(masses: tuple[float, float]) -> None:
    """S. Bolognesi et al., 1208.4018: with A = v⁻¹ ε₁*ε₂*(a₁ m_H² g + a₂ q q + a₃ ε_μναβ q₁ q₂),

    A₀₀ = (m_H²/v)(a₁ √(1+x) + a₂ (m₁m₂/m_H²) x),  A_±± = (m_H²/v)(a₁ ± i a₃ (m₁m₂/m_H²) √x),

    a₁ = g₁ m_Z²/m_H² + 2 g₂ s/m_H², a₂ = −2 g₂, a₃ = −2 g₄, s = q₁·q₂, and g_i = 2 c_i here; ε_0123 = 1.
    """
    given = {"ca1": 0.7, "ca2": -0.3, "ca3": 1.3, "cL1": 40.0}
    m1, m2 = masses
    _, kinematics = helicity_amplitude(0, masses, **given)
    x, v, mh = kinematics["x"], kinematics["v"], kinematics["mh"]
    s = (mh**2 - m1**2 - m2**2) / 2
    g1 = 2 * (given["ca1"] - given["cL1"] * (m1**2 + m2**2) / 1000**2)
    a1 = g1 * 91.188**2 / mh**2 + 2 * (2 * given["ca2"]) * s / mh**2
    a2, a3, share = -4 * given["ca2"], -4 * given["ca3"], m1 * m2 / mh**2
    expected = {
        0: a1 * np.sqrt(1 + x) + a2 * share * x,
        1: a1 + 1j * a3 * share * np.sqrt(x),
        -1: a1 - 1j * a3 * share * np.sqrt(x),
    }
    for helicity, value in expected.items():
        found, _ = helicity_amplitude(helicity, masses, **given)
        assert found == pytest.approx(value * mh**2 / v, rel=1e-10)


def test_anomalous_couplings_at_their_defaults_are_the_standard_model() -> None:
    plain, general = evaluate(load("heft")), evaluate(load("hvv"))
    pairs = [("hzz", "hzz_1"), ("hww", "hww_1"), ("h_ymt", "h_top")]
    pairs += [(name, name) for name in ("gg_h", "ggg_h", "gggg_h", "h_ymb", "ggg", "zww")]
    for one, other in pairs:
        assert complex(plain.couplings[one]) == complex(general.couplings[other])
    others = {name for name in general.couplings if name not in plain.couplings} - {name for _, name in pairs}
    assert all(complex(general.couplings[name]) == 0 for name in others)
    set_, follows = ({"ca3": 2.0, "ca3w": 0.5}, {"ca3": 2.0})
    half = evaluate(load("hvv"), set_).couplings["hww_3"]
    assert complex(evaluate(load("hvv"), follows).couplings["hww_3"]) == pytest.approx(4 * complex(half))


@pytest.mark.parametrize("xp", [np, jnp])
def test_expressions(xp: ModuleType) -> None:
    """Syntax and functions, at x = 2, against Python's own arithmetic."""
    texts = {
        "complex(0,1)*x**3/4. - -x": 2j + 2,
        "cmath.sqrt(-x)": 1j * 2**0.5,
        "(-x)**0.5 + cmath.sqrt(x*(-1))": 2j * 2**0.5,
        "cmath.log(-x)": cmath.log(-2),
        "cmath.acos(-x)*cmath.asin(-x)": cmath.acos(-2.0) * cmath.asin(-2.0),
        "complexconjugate(x + 2*complex(0,1))": 2 - 2j,
        "(x + 1j).conjugate() + (x*1j).imag": 4 - 1j,
        "x**-2 + x**0.5": 0.25 + 2**0.5,
        "re(x + 3j)*im(x + 3j)": 6,
        "1 if x > 1 and not y < x else 7": 1,
        "5 if x == 3 or x != 2 else 6": 6,
        "cond(x - 2, 3, 4)": 3,
        "abs(-x)*max(x, y)*min(x, y)": 12,
        "theta_function(x)*reglog(x - 2)": 0,
        "cmath.pi*x + math.exp(1) - cmath.e": 2 * np.pi,
        "x + ZERO": 2,
    }
    for text, value in texts.items():
        found = evaluate(small(text), {"x": 2.0}, xp=xp).couplings["g"]
        assert complex(found) == pytest.approx(value, abs=1e-6 if xp is jnp else 1e-14), text


def test_functions_are_inverses_of_one_another() -> None:
    for name in ("sin", "cos", "tan", "sec", "csc", "cot", "sinh", "cosh", "tanh"):
        assert (
            strength(f"a{name}({name}(x))", 0.4) == pytest.approx(0.4, abs=1e-12)
            if f"a{name}" in FUNCTIONS
            else 1
        )


def test_extended_precision_is_kept() -> None:
    value = np.longdouble(91.188) + np.longdouble(1e-17)
    found = evaluate(load("sm"), {"MZ": value}).couplings["zzww"]
    assert found.dtype == np.clongdouble
    assert found.real == 0


def test_arrays_and_derivatives() -> None:
    model = load("sm")
    scanned = evaluate(model, {"MZ": np.array([90.0, 91.0])}, couplings=["u_zL"])
    assert scanned.couplings["u_zL"].shape == (2,)
    assert "qqg" not in scanned.couplings
    with jax.enable_x64(True):

        def z_coupling(mass: jax.Array) -> jax.Array:
            return evaluate(model, {"MZ": mass}, ["u_zL"], xp=jnp).couplings["u_zL"].imag

        slope = jax.jvp(z_coupling, (jnp.float64(91.0),), (jnp.float64(1.0),))[1]
        difference = (z_coupling(jnp.float64(91.001)) - z_coupling(jnp.float64(90.999))) / 0.002
    assert float(slope) == pytest.approx(float(difference), rel=1e-6)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("__import__('os').system('true')", "not allowed"),
        ("x.__class__", "not allowed"),
        ("(lambda: x)()", "not allowed"),
        ("[x for x in (1, 2)]", "not allowed"),
        ("open(x)", "'open'"),
        ("cmath.sqrtt(x)", "did you mean 'sqrt'"),
        ("sin(x, x)", "2 arguments"),
        ("cmath.tau", "cmath.tau"),
        ("x + z", "'z'"),
        ("x +", "no expression"),
        ("'x'", "not allowed"),
        ("1" + "0" * 400 + "*x", "too large"),
        ("+".join(["x"] * 5000), "too deep"),
    ],
)
def test_what_an_expression_may_not_be(expression: str, said: str) -> None:
    with pytest.raises(ModelError, match="coupling 'g'") as error:
        evaluate(small(expression))
    assert said in str(error.value)


def test_unknown_parameters_and_models() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ymt'"):
        evaluate(load("sm"), {"ytm": 1.0})
    with pytest.raises(UnknownNameError, match="did you mean 'heft'"):
        load("hefd")
    empty = Model("m", (), (Parameter("x"),), (), (), (), ())
    with pytest.raises(ModelError, match="'x' of model 'm' has no value"):
        evaluate(empty)


def test_values_that_make_sense_are_passed_on() -> None:
    assert checked(load("sm"), {"MZ": "91.2", "WT": np.float32(0)}) == {"MZ": 91.2, "WT": 0.0}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"MZ": "heavy"}, "MZ must be a number, got 'heavy'"),
        ({"MZ": float("nan")}, "MZ must be finite"),
        ({"GF": 5e-6}, "parameter MW of model 'sm' follows as"),
        ({"aEWM1": 0.0}, "parameter MW of model 'sm' follows as"),
        ({"MW": 92.0}, "parameter sw of model 'sm' follows as"),
        ({"WZ": -1.0}, "below 0"),
        ({"WT": 1491.5}, "WT = 1491.5 GeV is not below MT = 173 GeV"),
    ],
)
def test_values_that_make_no_sense(values: dict[str, object], said: str) -> None:
    with pytest.raises(ParameterError) as error:
        checked(load("sm"), values)
    assert said in str(error.value)


def test_digests_tell_models_apart() -> None:
    assert len({load(name).digest for name in BUILT_IN}) == len(BUILT_IN)
    assert load("sm").digest == load("sm").digest
