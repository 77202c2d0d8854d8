"""Every response obeys every law: normalisation, its sampler, and its two changes of variables."""

from __future__ import annotations

import hist
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import uproot
from scipy.integrate import quad
from scipy.stats import kstest, norm

from deepmem.errors import DeepMEMWarning
from deepmem.physics.detector.binned import Binned
from deepmem.physics.detector.custom import custom
from deepmem.physics.detector.detector import ByEta, MissingMomentum
from deepmem.physics.detector.entries import detector, response
from deepmem.physics.detector.gaussians import CrystalBall, DoubleGaussian, Gaussian, Resolution
from deepmem.physics.detector.response import Delta, TransferError
from deepmem.physics.precision import PrecisionError, double_precision

R = Resolution


def laplace(rec, gen):
    """A user's own density: a two-sided exponential with a width of 4 %."""
    return jnp.exp(-jnp.abs(rec - gen) / (0.04 * gen)) / (0.08 * gen)


def binned() -> Binned:
    rng = np.random.default_rng(0)
    return Binned.from_counts(
        rng.uniform(0.5, 3, (4, 12)), np.array([0.0, 40, 80, 160, 400]), np.linspace(-18, 12, 13)
    )


RESPONSES = {
    "gaussian": lambda: Gaussian(R(0.02)),
    "wide gaussian": lambda: Gaussian(R(0.10)),
    "resolution": lambda: Gaussian(R(0.01, 0.5, 0.3)),
    "double gaussian": lambda: DoubleGaussian(0.2, R(0.05), R(0.12, 0.3), 0.0, -0.05),
    "crystal ball": lambda: CrystalBall(R(0.02, 0.1), 1.5, 5.0),
    "binned": binned,
    "custom": lambda: custom(laplace, 0.6, 1.4),
}
# what the support leaves out at 75 GeV, stated by each class
LOSS = {
    "gaussian": 3e-6,
    "wide gaussian": 4.4e-4,
    "resolution": 2e-5,
    "double gaussian": 6e-3,
    "crystal ball": 1e-4,
    "binned": 1e-12,
    "custom": 1e-4,
}


def compiled(function):
    """Once for all numbers: `eqx.filter_jit` takes those that are no arrays as a part of the code."""
    return jax.jit(lambda *arguments: function(*arguments))


@pytest.fixture(scope="module", params=list(RESPONSES))
def case(request):
    with jax.enable_x64(True):
        shape = RESPONSES[request.param]()
        yield request.param, shape, compiled(shape.density), compiled(shape.draw)


@pytest.fixture(scope="module")
def maps(case):
    """u, E_rec, mass, stretch ↦ (E_gen, weight), dE_gen/du: of both changes of variables, each compiled once."""
    _, shape, *_ = case
    functions = (lambda u, rec, mass, stretch: shape.linear(u, rec, mass)), shape.flatten
    return tuple(
        jax.jit(jax.vmap(jax.value_and_grad(f, has_aux=True), in_axes=(0, None, None, None)))
        for f in map(_with_energy_first, functions)
    )


def _with_energy_first(function):
    def both(*arguments):
        gen, weight = function(*arguments)
        return gen, (gen, weight)

    return both


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("gen", [35.0, 75.0, 210.0])
def test_normalised(case, gen):
    name, _, density, _ = case
    if name == "binned":
        rec = np.linspace(gen - 20, gen + 15, 350_001)[:-1] + 5e-5
        integral = np.asarray(density(rec, gen)).sum() * 1e-4
    else:
        sigma = 0.2 * gen
        t = np.linspace(-14, 14, 20_001)
        rec = gen + 0.1 * sigma * np.sinh(t)
        integral = np.trapezoid(np.asarray(density(rec, gen)) * 0.1 * sigma * np.cosh(t), t)
    assert integral == pytest.approx(1, abs=2e-4)


def test_sampler_follows_density(case):
    """Kolmogorov–Smirnov of 4,000 draws against the integrated density."""
    _, _, density, draw = case
    gen = 75.0
    rec = np.asarray(draw(gen, np.random.default_rng(4).uniform(size=4000)))
    edges = gen + 0.1 * np.sinh(np.linspace(-9, 9, 200_001))
    steps = np.diff(edges) * np.asarray(density((edges[1:] + edges[:-1]) / 2, gen))
    cumulative = np.r_[0, np.cumsum(steps)]
    assert kstest(rec, lambda x: np.interp(x, edges, cumulative)).pvalue > 1e-3


@pytest.mark.parametrize("stretch", [1.0, 2.0])
def test_maps_agree(case, maps, stretch):
    """Both maps stay in the support, their weights are T dE_gen/du, and both give ∫ T dE_gen."""
    name, shape, density, _ = case
    rec, mass = 75.0, 4.7
    u = (np.arange(2000) + 0.5) / 2000
    low, high = map(float, compiled(shape.support)(rec, mass))
    assert mass <= low < high
    integrals, weights = [], []
    for function in maps:
        (_, (gen, weight)), slope = function(u, rec, mass, stretch)
        assert np.all((gen >= low * (1 - 1e-12)) & (gen <= high * (1 + 1e-12)))
        assert np.all(np.asarray(slope) > 0)
        np.testing.assert_allclose(weight, density(rec, gen) * slope, rtol=1e-6, atol=1e-9)
        integrals.append(weight.mean())
        weights.append(np.asarray(weight))
    assert integrals[1] == pytest.approx(float(integrals[0]), rel=1e-3)
    steep, flat = (weight.std() / weight.mean() for weight in weights)
    if stretch == 1:
        assert flat < 0.5 * steep
    if stretch == 1 and name in ("gaussian", "wide gaussian", "resolution"):
        assert flat < 0.11


def test_loss_of_the_support(case):
    """The share of draws whose E_gen lies outside the support of their E_rec is what the class says."""
    name, shape, _, draw = case
    u = (np.arange(50_000) + 0.5) / 50_000
    rec = draw(75.0, u)
    low, high = compiled(shape.support)(rec)
    lost = float(jnp.mean((low > 75.0) | (high < 75.0)))
    assert lost <= LOSS[name] + 2e-5


@pytest.mark.parametrize(("r", "loss"), [(0.02, 2.7e-6), (0.05, 3.2e-5), (0.10, 4.3e-4)])
def test_momemta_range(r, loss):
    """E_rec (1 ± 5r), and the losses that the conventions quote."""
    low, high = Gaussian(R(r)).support(80.0)
    np.testing.assert_allclose([low, high], [80 * (1 - 5 * r), 80 * (1 + 5 * r)])
    assert norm.cdf(-5 / (1 + 5 * r)) + norm.sf(5 / (1 - 5 * r)) == pytest.approx(loss, rel=0.03)
    gen, weight = Gaussian(R(r)).linear(0.3, 80.0)
    assert gen == pytest.approx(80 * (1 - 5 * r + 3 * r))
    expected = norm.pdf(80.0, loc=gen, scale=r * gen) * 10 * r * 80
    assert weight == pytest.approx(float(expected), rel=1e-12)


def test_mass_cuts_the_support():
    low, _ = Gaussian(R(0.10)).support(6.0, 4.7)
    assert low == 4.7
    gen, weight = jax.jit(Gaussian(R(0.10)).flatten)(np.linspace(0, 1, 101), 6.0, 4.7)
    assert gen.min() >= 4.7 * (1 - 1e-12)
    assert np.isfinite(weight).all()


def test_mass_beyond_the_support(case, maps):
    """A jet too soft to be a b quark has no support: weight 0, not a negative one and not NaN."""
    _, shape, *_ = case
    mass = 2 * float(shape.support(3.0)[1])
    for function in maps:
        (_, (gen, weight)), _ = function(np.linspace(0.3, 0.7, 2000), 3.0, mass, 1.0)
        np.testing.assert_allclose(gen, mass, rtol=1e-12)
        np.testing.assert_array_equal(weight, 0)


def test_crystal_ball_against_quadrature():
    shape = CrystalBall(R(0.02), 1.2, 4.0)
    density = compiled(shape.density)
    below = quad(lambda rec: float(density(rec, 100.0)), 60, 97, epsabs=1e-10)[0]
    u = (np.arange(20_000) + 0.5) / 20_000
    rec = np.asarray(compiled(shape.draw)(100.0, u))
    assert np.mean((rec > 60) & (rec < 97)) == pytest.approx(below, abs=2e-4)


def test_delta():
    gen, weight = Delta().flatten(0.3, 45.0)
    assert (gen, weight, Delta.dimensions) == (45.0, 1.0, 0)
    assert Delta().draw(45.0, 0.3) == 45.0
    with pytest.raises(TransferError):
        Delta().density(1.0, 1.0)


def test_regions():
    """Regions of one shape and of different shapes, chosen by |η|; differentiable, and never recompiled."""
    alike = response([{"kind": "gaussian", "r": 0.02, "eta_max": 1.5}, {"kind": "gaussian", "r": 0.05}])
    mixed = response(
        [
            {"kind": "gaussian", "r": 0.02, "eta_max": 1.5},
            {"kind": "crystal_ball", "r": 0.05, "alpha": 1.5, "n": 3},
        ]
    )
    shapes = {"inner": Gaussian(R(0.02)), "alike": Gaussian(R(0.05)), "mixed": CrystalBall(R(0.05), 1.5, 3.0)}
    alone = {name: compiled(shape.flatten) for name, shape in shapes.items()}
    traces = []

    @jax.jit
    def weight(regions, eta, u):
        traces.append(1)
        return jax.vmap(lambda e, v: regions.at(e).flatten(v, 60.0)[1])(eta, u)

    eta, u = np.array([-0.3, 1.49, -2.0, 4.0]), np.array([0.1, 0.6, 0.3, 0.8])
    for name, regions in (("alike", alike), ("mixed", mixed)):
        expected = [alone["inner" if abs(e) < 1.5 else name](v, 60.0)[1] for e, v in zip(eta, u, strict=True)]
        np.testing.assert_allclose(weight(regions, eta, u), expected, rtol=1e-12)
    count = len(traces)
    weight(
        response([{"kind": "gaussian", "r": 0.03, "eta_max": 1.0}, {"kind": "gaussian", "r": 0.04}]), eta, u
    )
    assert len(traces) == count


def test_derivative_in_the_resolution():
    @jax.jit
    def total(r):
        return Gaussian(R(r)).density(52.0, 50.0)

    difference = (total(0.05 + 1e-6) - total(0.05 - 1e-6)) / 2e-6
    assert jax.grad(total)(0.05) == pytest.approx(float(difference), rel=1e-6)


def test_missing_momentum():
    shape = MissingMomentum(b=0.5, c=10.0)
    rng = np.random.default_rng(2)
    u = rng.uniform(size=5000), rng.uniform(size=5000)
    x, y = compiled(shape.draw)((20.0, -5.0), u, 300.0)
    sigma = np.sqrt(100 + 0.25 * 300)
    assert kstest((np.asarray(x) - 20) / sigma, "norm").pvalue > 1e-3
    assert kstest((np.asarray(y) + 5) / sigma, "norm").pvalue > 1e-3
    density = shape.density((21.0, -3.0), (20.0, -5.0), 300.0)
    assert density == pytest.approx(norm.pdf(1, scale=sigma) * norm.pdf(2, scale=sigma))


def test_histogram_from_root(tmp_path):
    counts = np.arange(1.0, 13).reshape(3, 4)
    path = tmp_path / "tf.root"
    with uproot.recreate(path) as file:
        file["response"] = counts, np.array([0.0, 50, 100, 200]), np.linspace(-20, 20, 5)
        file["flat"] = np.ones(3), np.arange(4.0)
    shape = response({"kind": "binned", "file": f"{path}:response"}).at(0.0)
    assert shape.density(65.0, 70.0) == pytest.approx(6 / (5 + 6 + 7 + 8) / 10)
    assert shape.density(65.0, 900.0) == 0
    for where, message in [
        (f"{path}:nothing", "no two-dimensional histogram 'nothing'"),
        (f"{path}:flat", "no two-dimensional histogram 'flat'"),
        (f"{tmp_path}/none.root:response", "no file"),
        ("response", "path.root:name"),
    ]:
        with pytest.raises(TransferError, match=message):
            Binned.from_root(where)
    with pytest.raises(TransferError, match="column 1, 1 to 2 GeV"):
        Binned.from_counts(np.array([[1.0], [0.0]]), np.array([0.0, 1, 2]), np.array([-1.0, 1]))


def test_a_histogram_needs_edges_that_increase():
    for edges in ([0.0, 2, 1], [0.0, 1, np.nan], [0.0, 1, np.inf]):
        with pytest.raises(TransferError, match="must be finite and increase"):
            Binned.from_counts(np.ones((2, 1)), np.array(edges), np.array([-1.0, 1]))
        with pytest.raises(TransferError, match="must be finite and increase"):
            Binned.from_counts(np.ones((1, 2)), np.array([0.0, 1]), np.array(edges))


@pytest.mark.parametrize("terms", [{"b": 0.2}, {"c": 0.5}, {"b": 0.2, "c": 0.5}, {"a": 1e-9, "c": 0.5}])
def test_a_crystal_ball_without_a_constant_term(terms):
    """Its support has all but the stated loss."""
    shape = response({"kind": "crystal_ball", "alpha": 1.5, "n": 6, **terms}).at(0.0)
    low, high = (float(limit) for limit in shape.support(50.0))
    assert 0 < low < 50 < high < np.inf
    rec = np.linspace(1, 80, 200_001)
    reached, density = (compiled(f)(rec, 50.0) for f in (shape.reaches, shape.density))
    inside = np.trapezoid(np.where(reached, density, 0), rec)
    assert inside == pytest.approx(1, abs=2e-4)


def test_a_histogram_with_one_bin_in_each_column_has_a_width():
    one = Binned.from_counts(np.ones((1, 1)), np.array([0.0, 100]), np.array([-3.0, 3]))
    three = Binned.from_counts(
        np.array([[0.0, 7, 0]]), np.array([0.0, 100]), np.array([-9.1, -3.1, 2.9, 8.9])
    )
    for shape in (one, three):
        assert shape.scale(50.0) == pytest.approx(6 / np.sqrt(12))


def test_configuration():
    assert isinstance(response(0.02), ByEta)
    assert isinstance(response(0).at(0.0), Delta)
    assert response({"kind": "gaussian", "a": 0.01, "b": 0.1}).at(1.0).scale(100.0) == pytest.approx(2**0.5)
    double = response(
        {"kind": "double_gaussian", "fraction": 0.1, "core": {"r": 0.05}, "tail": {"r": 0.2, "bias": -0.1}}
    )
    assert isinstance(double.at(0.0), DoubleGaussian)
    own = response({"kind": "function", "function": f"{__name__}:laplace", "low": 0.6, "high": 1.4})
    assert own.at(0.0).density(50.0, 50.0) == pytest.approx(0.25)
    seen = detector({"lepton": 0.02, "bjet": 0.1, "met": {"c": 20.0}}, ["lepton", "bjet"], missing=True)
    assert set(seen.by_class) == {"lepton", "bjet"}
    assert seen.missing is not None
    assert seen.missing.sigma() == 20.0
    again = detector(seen.to_dict(), ["lepton", "bjet"], missing=True)
    assert again.to_dict() == seen.to_dict()
    assert detector({"lepton": 0.02, "met": 20.0}, ["lepton"], missing=False).missing is None
    with pytest.raises(TransferError, match=r"response\.mett: unknown key .did you mean 'met'"):
        detector({"lepton": 0.02, "mett": 20.0}, ["lepton"], missing=True)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kind": "gausian", "r": 0.1}, r"lepton.kind: no response 'gausian' \(did you mean 'gaussian'\?\)"),
        ({"kind": "gaussian", "R": 0.1}, r"lepton.R: unknown key \(did you mean 'r'\?\)"),
        ({"r": 0.1}, "'kind' is missing"),
        ({"kind": "gaussian", "r": -0.1}, "≥ 0"),
        ({"kind": "gaussian", "r": "wide"}, "lepton.r: expected a finite number"),
        ({"kind": "crystal_ball", "r": 0.1, "alpha": 1, "n": 1}, "n > 1"),
        ({"kind": "double_gaussian", "fraction": 0.1, "core": {"r": 0.05}}, "lepton.tail"),
        ({"kind": "function", "function": "nowhere:f", "low": 0.5, "high": 2}, "no function 'nowhere:f'"),
        ("gaussian", "expected a number"),
        *((r, "expected a finite number") for r in (float("nan"), float("inf"))),
        ({"kind": "gaussian", "b": float("nan")}, r"lepton.b: expected a finite number"),
        ({"kind": "gaussian", "r": 0.1, "reach": 0}, "lepton.reach"),
        ({"kind": "gaussian", "r": 0.1, "reach": float("inf")}, "lepton.reach: expected a finite"),
        ({"kind": "gaussian", "r": 0.1, "eta_max": float("nan")}, "lepton.eta_max"),
        ({"kind": "crystal_ball", "r": 0.1, "alpha": float("nan"), "n": 3}, "lepton.alpha"),
        ({"kind": "crystal_ball", "r": 0.1, "alpha": 1, "n": float("inf")}, "lepton.n: expected a finite"),
        ({"kind": "crystal_ball", "r": 0.1, "alpha": 1, "n": 3, "loss": 0}, "lepton.loss"),
        (
            {"kind": "double_gaussian", "fraction": 0.1, "core": {"r": 0.1}, "tail": {"r": 0.1, "bias": -1}},
            "lepton.tail.bias",
        ),
        ({"kind": "function", "function": f"{__name__}:laplace", "low": 0.5, "high": float("inf")}, "high"),
        ([], "one at least"),
        ([{"kind": "delta", "eta_max": 1}, {"kind": "gaussian", "r": 0.1}], "can't be mixed"),
        (
            [{"kind": "gaussian", "r": 0.1, "eta_max": 2}, {"kind": "gaussian", "r": 0.1, "eta_max": 1}],
            "must increase",
        ),
    ],
)
def test_configuration_errors(entry, message):
    with pytest.raises(TransferError, match=message):
        response(entry, "lepton")


def test_custom_is_checked():
    with pytest.raises(TransferError, match="this one integrates to"):
        custom(lambda rec, gen: 2 * laplace(rec, gen), 0.6, 1.4)
    with pytest.raises(TransferError, match="0 < low < high"):
        custom(laplace, 1.4, 0.6)


def test_single_precision_is_refused():
    with jax.enable_x64(False), pytest.raises(PrecisionError, match="enable_x64"):
        Gaussian(R(0.02)).flatten(0.3, 45.0)


GEN, DIFFERENCE = [0.0, 50.0, 100.0], [-10.0, -5.0, 0.0, 5.0, 10.0]
COLUMN = [0.0, 0.1, 0.1, 0.0]


def of_energy(rec, gen):
    """Twice too large between 60 and 80 GeV."""
    return laplace(rec, gen) * jnp.where((gen > 60) & (gen < 80), 2.0, 1.0)


def negative(rec, gen):
    """Normalised, and negative on one side."""
    x = (rec - gen) / (0.04 * gen)
    return laplace(rec, gen) * (1 + x)


def numpys(rec, gen):
    return np.exp(-np.abs(rec - gen) / (0.04 * gen)) / (0.08 * gen)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"gen_edges": GEN, "difference_edges": [0.9, 0.95, 1, 1.05, 1.1]}, "is it a ratio"),
        ({"gen_edges": [-20, 0, 20], "difference_edges": [-50, 0, 50, 60, 70]}, "axes in the other order"),
        (
            {"gen_edges": GEN, "difference_edges": [-10, -1, 0, 1, 10], "density": [[1, 9, 9, 1]] * 2},
            "widths",
        ),
        ({"gen_edges": GEN, "density": [COLUMN, [0.1, -0.1, 0.1, 0.1]]}, "column 1, 50 to 100 GeV"),
        ({"function": of_energy}, r"E_gen = [67]\d"),
        ({"function": negative}, "must not be negative"),
        ({"function": numpys}, "jax.numpy"),
        ({"r": 2}, "fraction and no percent"),
        ({"c": 200}, "c in GeV"),
    ],
)
def test_a_response_that_is_none_is_refused(entry, says):
    """Ratios for differences, exchanged axes, counts for densities, percents, MeV: none of them passes for GeV."""
    if "gen_edges" in entry:
        entry = {"kind": "binned", "difference_edges": DIFFERENCE, "density": [COLUMN] * 2} | entry
    elif "function" in entry:
        name = f"{__name__}:{entry['function'].__name__}"
        entry = {"kind": "function", "function": name, "low": 0.6, "high": 1.4}
    else:
        entry = {"kind": "gaussian"} | entry
    with pytest.raises(TransferError, match=says):
        response(entry)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"density": [[0.05] * 4] * 2}, "100 % of its peak"),
        ({"difference_edges": [-0.1, -0.05, 0, 0.05, 0.1]}, "relative"),
    ],
)
def test_a_histogram_that_looks_odd_is_warned_of(entry, says):
    plain = {"kind": "binned", "gen_edges": GEN, "difference_edges": DIFFERENCE, "density": [COLUMN] * 2}
    with pytest.warns(DeepMEMWarning, match=says):
        response(plain | entry)


def test_a_histogram_that_lost_much_is_refused(tmp_path):
    counts = np.zeros((4, 6))  # with flow
    counts[1:-1] = [5, 10, 20, 20, 10, 0]
    histogram = hist.Hist(hist.axis.Regular(2, 0, 100), hist.axis.Regular(4, -10, 10))
    histogram.view(flow=True)[...] = counts
    with uproot.recreate(tmp_path / "tf.root") as file:
        file["t"] = histogram
    with pytest.raises(TransferError, match=r"7\.7 % of its contents"):
        Binned.from_root(f"{tmp_path}/tf.root:t")


def test_energies_beyond_a_histogram_have_no_response():
    entry = {"kind": "binned", "gen_edges": GEN, "difference_edges": DIFFERENCE, "density": [COLUMN] * 2}
    seen = detector(
        {"lepton": [entry | {"eta_max": 1.0}, {"kind": "gaussian", "r": 0.02}]}, ["lepton"], missing=False
    )
    eta, energy = np.array([[0.5], [0.5], [2.0]]), np.array([[99.0], [101.0], [101.0]])
    assert seen.covers(["lepton"], eta, energy)[:, 0].tolist() == [True, False, True]
    with double_precision():
        _, reached = jax.jit(lambda *at: seen.draw("lepton", *at))(0.5, 99.0, 0.9)  # E_rec is above 100 GeV
    assert not reached
