"""The examples of docs/extending.md are run, and obey the laws that the built-in things obey."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepmem.errors import UsageError
from deepmem.event import Status
from deepmem.physics import processes
from deepmem.physics.detector import entries
from deepmem.physics.precision import double_precision
from deepmem.physics.weights import engine, plan
from deepmem.physics.weights.hypothesis import Hypothesis, hypothesis
from deepmem.physics.weights.leading_order import Disc, cross_section, draw_events
from deepmem.physics.weights.partonic import Partonic, shared_by_events

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page's code defines, registered for this test only."""
    monkeypatch.setitem(plan.EXPERTS, "W", None)
    defined: dict[str, Any] = {"__name__": "extending"}
    for code in EXAMPLES:
        exec(compile(code, str(PAGE), "exec", dont_inherit=True), defined)
    yield defined
    entries.unregister("exponential")
    processes.unregister("w_e")


def test_examples_are_short() -> None:
    assert EXAMPLES
    assert all(code.count("\n") < 100 for code in EXAMPLES)


def test_the_response_is_normalised_and_drawn_as_it_says(names: dict[str, Any]) -> None:
    shape = names["Exponential"](0.03)
    with double_precision():
        rec = jnp.linspace(10.0, 90.0, 200_001)
        assert float(jnp.trapezoid(shape.density(rec, 50.0), rec)) == pytest.approx(1, abs=1e-5)
        u = jnp.asarray(0.2)
        slope = jax.grad(lambda v: shape.draw(50.0, v))(u)
        assert float(slope * shape.density(shape.draw(50.0, u), 50.0)) == pytest.approx(1, abs=1e-9)


@pytest.mark.long
def test_the_response_makes_weights_and_a_cross_section_that_belong_together(names: dict[str, Any]) -> None:
    """⟨W_B/W_A⟩ over events of A is N_B/N_A: statement 5 of the physics page."""
    cuts = {"lepton_pt": 20, "lepton_eta": 2.5, "mass": [70, 110], "total_pt": [0, 20]}
    own, other = (
        {"recoil": Disc(30.0), "response": {"lepton": {"kind": "exponential", "width": width}}}
        for width in (0.012, 0.015)
    )
    events = draw_events("drell_yan", 1_500, 3, cuts, **own)
    alphas = [hypothesis("drell_yan", response=each["response"]) for each in (own, other)]
    one, two = (engine.compute(alpha, events.columns)["drell_yan"] for alpha in alphas)
    good = (one.status == Status.GOOD) & (two.status == Status.GOOD)
    assert good.mean() > 0.99
    ratio = (two.value / one.value)[good]
    visible = [cross_section("drell_yan", cuts, precision=3e-3, **each) for each in (own, other)]
    expected = visible[1].visible / visible[0].visible
    error = np.hypot(ratio.std() / np.sqrt(len(ratio)), 4e-3 * expected)
    assert ratio.mean() == pytest.approx(expected, abs=4 * error)


def test_the_response_identifies_its_weights(names: dict[str, Any]) -> None:
    alpha = hypothesis("drell_yan", response={"lepton": {"kind": "exponential", "width": 0.012}})
    assert Hypothesis.from_dict(alpha.to_dict()).to_dict() == alpha.to_dict()
    with pytest.raises(UsageError, match="there already"):
        entries.register("gaussian", lambda entry, where: names["Exponential"](0.1), set())


@pytest.mark.parametrize(("low", "high"), [(0.0, 900.0), (100.0, np.inf)])
def test_the_line_is_drawn_as_its_density_says(names: dict[str, Any], low: float, high: float) -> None:
    line = names["Decreasing"](400.0)
    with double_precision():
        draw = jax.vmap(jax.value_and_grad(lambda u: line.draw(u, low, high)))
        s, slope = draw(jnp.linspace(0.01, 0.99, 50))
        np.testing.assert_allclose(slope * line.density(s, low, high), 1, rtol=1e-9)
        assert float(line.draw(0.0, low, high)) == pytest.approx(low)


def test_the_topology_gives_the_integral_over_all_neutrinos(names: dict[str, Any]) -> None:
    """Of a perfectly measured lepton W is one integral, which is done over the neutrino's rapidity here."""
    rng = np.random.default_rng(1)
    n = 6
    events = {
        "lep1_PT": rng.uniform(25, 45, n),
        "lep1_Eta": rng.uniform(-2, 2, n),
        "lep1_Phi": rng.uniform(-3, 3, n),
    }
    events |= {"lep1_Charge": np.ones(n), "MET": rng.uniform(25, 45, n), "MET_Phi": rng.uniform(-3, 3, n)}
    alpha = hypothesis("w_e", r_lepton=0)
    weight = engine.compute(alpha, events, precision=2e-3)["w_e"]
    assert (weight.status == Status.GOOD).all()
    pt, eta, phi, met, at = (events[f] for f in ("lep1_PT", "lep1_Eta", "lep1_Phi", "MET", "MET_Phi"))
    rapidity = eta[:, None] + np.linspace(-5, 5, 40_001)
    with double_precision():
        lepton = [pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
        lepton = [part[:, None] * np.ones_like(rapidity) for part in lepton]
        met, at = met[:, None] * np.ones_like(rapidity), at[:, None]
        neutrino = [met * np.cosh(rapidity), met * np.cos(at), met * np.sin(at), met * np.sinh(rapidity)]
        shared = shared_by_events(alpha)
        partonic = Partonic.of(alpha)
        of_points = jax.jit(jax.vmap(jax.vmap(lambda *p: partonic(shared, (p[:4], p[4:])))))
        values, _ = of_points(*lepton, *neutrino)
    values = np.nan_to_num(np.asarray(values)[..., 0])
    measure = (pt * np.cosh(eta)) / np.cosh(eta) / (2 * (2 * np.pi) ** 3) / (2 * (2 * np.pi) ** 3)
    expected = np.trapezoid(values, rapidity, axis=1) * measure
    np.testing.assert_allclose(weight.value, expected, rtol=1e-2)
