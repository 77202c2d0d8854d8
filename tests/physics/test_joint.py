"""|M|² of several subprocesses in one program: each is what it is by itself, and work is shared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepmem.kinematics import FourVector
from deepmem.physics.amplitudes import joint as joint_module
from deepmem.physics.amplitudes.amplitude import Amplitude, amplitude
from deepmem.physics.amplitudes.joint import joint
from deepmem.physics.amplitudes.program import Program
from deepmem.physics.precision import double_precision
from deepmem.physics.processes import generated as generated_module
from deepmem.physics.processes.generated import Generated
from deepmem.physics.processes.grouped import grouped
from deepmem.physics.processes.of_reaction import process_of
from deepmem.physics.reactions import Theory, read
from deepmem.physics.theory.models import load
from deepmem.physics.theory.parameters import parameters
from deepmem.physics.theory.subprocesses import Subprocess
from deepmem.physics.weights.composed import Exchanged

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "madgraph.json").read_text())
CODES = {"u": 2, "u~": -2, "d": 1, "d~": -1, "g": 21, "e+": -11, "e-": 11}
TOP_TO_JETS = "p p > t t~, (t > w+ b, w+ > e+ ve), (t~ > w- b~, w- > j j)"
REACTIONS = {
    "w_and_jets": ("u d~ > e+ ve j j", (0, 1, 3, 2)),
    "z_and_jet": ("p p > z j", (0, 1)),
    "higgs_and_jets": ("p p > h j j QCD=0", (0, 2, 1)),
    "top_pair": (TOP_TO_JETS, (0, 1, 2, 4, 3, 5)),
}


def points(masses: list[float], number: int = 3) -> np.ndarray:
    """Momenta of beams along z and of outgoing legs of these masses `[number, legs, 4]`."""
    spatial = np.random.default_rng(1).normal(scale=80.0, size=(number, len(masses), 3))
    spatial[:, -1, :2] = -spatial[:, :-1, :2].sum(axis=1)
    energy = np.sqrt(np.sum(spatial**2, axis=-1) + np.square(masses))
    out = np.concatenate([energy[..., None], spatial], axis=-1)
    plus, minus = (out[..., 0] + sign * out[..., 3] for sign in (1, -1))
    beams = np.zeros((number, 2, 4))
    for beam, (sign, part) in enumerate(((1, plus), (-1, minus))):
        beams[:, beam, 0] = part.sum(axis=1) / 2
        beams[:, beam, 3] = sign * beams[:, beam, 0]
    return np.concatenate([beams, out], axis=1)


def masses_of(program: Program) -> list[float]:
    known = {"ZERO": 0.0, "MB": 4.7, "MZ": 91.188, "MH": 125.0}
    return [known[leg.mass] for leg in program.legs[2:]]


def subprocesses_of(reaction: str, order: tuple[int, ...]) -> list[Subprocess]:
    """Of all channels, as they are and with exchanged legs."""
    found = [channel.subprocess for channel in read(reaction, Theory()).channels]
    return list(dict.fromkeys([*found, *(each.in_order(order) for each in found)]))


@pytest.mark.parametrize("name", REACTIONS)
def test_each_is_what_it_is_alone(name: str) -> None:
    model, subprocesses = load("sm"), subprocesses_of(*REACTIONS[name])
    found = joint(model, tuple(subprocesses), True)
    assert found is not None
    momenta = points(masses_of(found.program))
    alone = [amplitude(model, each, along_z=True) for each in subprocesses]
    for value, one in zip(found.program.evaluate_all(model, momenta), alone, strict=True):
        np.testing.assert_allclose(value, one.reference(momenta), rtol=1e-9)
    assert found.program.operations < 0.8 * sum(one.program.operations for one in alone)


def test_partons_in_other_places() -> None:
    """g u is u g at the momenta of a rotation by π about y, in the same program."""
    model = load("sm")
    (one,) = (
        each.subprocess
        for each in read("p p > z j", Theory()).channels
        if each.subprocess.incoming in ((21, 2), (2, 21))
    )
    other = Subprocess(one.incoming[::-1], one.products, one.requirements)
    found = joint(model, (one, other), True)
    assert found is not None
    momenta = points(masses_of(found.program))
    turned = momenta[:, [1, 0, 2, 3]] * (1, -1, 1, -1)
    first, second = found.program.evaluate_all(model, momenta)
    np.testing.assert_allclose(second, found.program.evaluate(model, turned), rtol=1e-11)
    assert np.all(abs(second / first - 1) > 1e-3)


def test_what_is_too_large_or_of_other_masses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = load("sm")
    z, photon = (read(f"p p > {name} j", Theory()).channels[0].subprocess for name in ("z", "a"))
    assert joint(model, (z, photon), True) is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(joint_module, "BUDGET", 10)
    subprocesses = tuple(subprocesses_of("p p > z j", (0, 1)))
    joint.cache_clear()
    assert joint(model, subprocesses, True) is None
    (file,) = (tmp_path / "deepmem" / "amplitudes").iterdir()
    assert Program.from_bytes(file.read_bytes()).outputs == ()
    joint.cache_clear()


@pytest.mark.parametrize("name", ["uux_epemgg", "gg_epemuux", "ud_epemud"])
def test_many_subprocesses_are_in_several_programs(name: str) -> None:
    """Those of Z and two jets; MadGraph's numbers of three of them, the partons as they are and exchanged."""
    reference = REFERENCE["processes"][name]
    codes = [CODES[each] for each in reference["process"].split() if each != ">"]
    momenta = np.array(reference["momenta"])
    members = [
        (replace(channel.subprocess, term=0), turned)
        for channel in read("p p > e+ e- j j", Theory()).channels
        for turned in (False, True)
    ]
    groups = grouped(load("sm"), members, True)
    assert groups is not None
    assert [each.operations <= joint_module.BUDGET for each in groups] == [True] * 2
    found = 0
    for subprocess, turned in members:
        order = order_of([*subprocess.incoming, *subprocess.outgoing], codes)
        if order is None or (order[0] == 1) == turned:
            continue
        (group,) = (each for each in groups if subprocess in each.subprocesses)
        assert turned in group.turned
        place = group.subprocesses.index(subprocess)
        at = momenta[:, order]
        if order[0] == 1:
            at = at * (1, -1, 1, -1)
        values = group.joint.program.evaluate_all(load("sm"), at)
        np.testing.assert_allclose(values[place], reference["me2"], rtol=1e-9)
        found += 1
    assert found == 1


def order_of(codes: list[int], given: list[int]) -> list[int] | None:
    """Where each of some legs is among given ones, the two incoming ones first; None: others are meant."""
    order = []
    for first, last in ((0, 2), (2, len(codes))):
        left = list(range(first, last))
        for code in codes[first:last]:
            place = next((k for k in left if given[k] == code), None)
            if place is None:
                return None
            left.remove(place)
            order.append(place)
    return order


def test_groups_are_what_one_program_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """|M|² of Z and a jet by several programs in place of one."""
    momenta = points([0.0, 0.0, 0.0])
    with double_precision():
        legs: list[FourVector] = [
            tuple(jnp.asarray(momenta)[:, leg, k] for k in range(4)) for leg in range(5)
        ]  # type: ignore[misc]
        elements = process_of("p p > mu+ mu- j", Theory()).on_axis
        assert isinstance(elements, Generated)
        p = elements.parameters({})
        whole = elements.joint_operations()
        assert whole is not None
        expected = np.stack(elements(legs, p))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setattr(joint_module, "BUDGET", whole // 2)
        for cached in (joint, generated_module._jointly, generated_module._in_groups):
            cached.cache_clear()
        assert elements.joint_operations() is None
        assert elements._groups is not None
        assert len(elements._groups[0]) > 1
        assert {each.turned for each in elements._groups[0]} == {(False, True)}
        np.testing.assert_allclose(np.stack(elements(legs, p)), expected, rtol=1e-9)
        monkeypatch.undo()
    for cached in (joint, generated_module._jointly, generated_module._in_groups):
        cached.cache_clear()


def test_a_program_with_several_results_is_read_as_it_was_written() -> None:
    found = joint(load("sm"), tuple(subprocesses_of("p p > z j", (0, 1))), True)
    assert found is not None
    again = Program.from_bytes(found.program.to_bytes())
    assert (again.outputs, again.others) == (found.program.outputs, found.program.others)
    momenta = points(masses_of(again))
    for one, other in zip(
        *(each.evaluate_all(found.model, momenta) for each in (again, found.program)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_exchanged_legs_jointly() -> None:
    """The mean over the orders of jets is that of |M|² at exchanged momenta."""
    reaction, order = "p p > w- , w- > j j", (1, 0)
    elements = Generated(reaction, (), Theory(), along_z=True, picks=((0, False), (0, True)))
    assert elements.joint_operations() is not None
    with double_precision():
        p = parameters()
        channel = read(reaction, Theory()).channels[0].subprocess
        both = (channel, Subprocess(channel.incoming[::-1], channel.products, channel.requirements))
        alone = [amplitude(elements.model, each, along_z=True) for each in both]
        momenta = points(masses_of(alone[0].program))
        columns = jnp.asarray(momenta)
        legs: list[FourVector] = [tuple(columns[:, leg, k] for k in range(4)) for leg in range(4)]  # type: ignore[misc]
        found = Exchanged(elements, ((0, 1), order))(legs, p)
        apart = Exchanged(elements, ((0, 1), order), apart=True)(legs, p)
    places = [0, 1, *(2 + leg for leg in order)]
    expected = [_squares(alone, each, p.values()) for each in (momenta, momenta[:, places])]
    np.testing.assert_allclose(apart, np.concatenate(expected), rtol=1e-9)
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-9)


def _squares(alone: list[Amplitude], momenta: np.ndarray, values: dict[str, float]) -> np.ndarray:
    known = {each.name for each in alone[0].model.parameters}
    given = {name: value for name, value in values.items() if name in known}
    return np.stack([one.reference(momenta, given) for one in alone])


def test_a_card_that_is_replaced_in_one_session_changes_the_squared_amplitude(tmp_path: Path) -> None:
    """|M|² of g g → H → b b̄ grows with the square of the Yukawa coupling, which is a number of the card alone."""
    card, found = tmp_path / "card.dat", []
    theory = Theory(model="heft", param_card=str(card))
    momenta = points([4.7, 4.7])
    legs: list[FourVector] = [tuple(jnp.asarray(momenta)[:, leg, k] for k in range(4)) for leg in range(4)]  # type: ignore[misc]
    for yukawa in (4.7, 9.4):
        card.write_text(f"BLOCK YUKAWA\n 5 {yukawa}\n")
        elements = process_of("g g > h > b b~", theory).matrix_elements
        assert isinstance(elements, Generated)
        with double_precision():
            found.append(np.asarray(elements(legs, elements.parameters({}))))
    np.testing.assert_allclose(found[1], 4 * found[0], rtol=1e-9)


@pytest.mark.parametrize("settings", [{}, {"MT": [170.0, 176.0], "MW": 80.3}, {"GF": [1.1e-5, 1.2e-5]}])
def test_what_follows_from_parameters_is_derived_beforehand(settings: dict[str, Any]) -> None:
    elements = process_of(TOP_TO_JETS, Theory()).on_axis
    assert isinstance(elements, Generated)
    given = jax.tree.map(
        lambda value: np.broadcast_to(np.asarray(value, dtype=float), 2),
        parameters(**{name: np.max(value) for name, value in settings.items()})._replace(
            **{name: np.array(value) for name, value in settings.items() if isinstance(value, list)}
        ),
    )
    settled = elements.settled(given)
    assert settled.others is not None
    assert {"ee", "v", "ymt"} <= settled.others.keys()
    assert ("MW" in settled.others) == ("MW" not in settings)
    legs = points([0.0, 0.0, 4.7, 4.7, 0.0, 0.0], 1)[0]
    with double_precision():
        momenta = [tuple(jnp.asarray(leg)) for leg in legs]
        one, other = (jax.vmap(lambda p: jnp.stack(elements(momenta, p)))(each) for each in (given, settled))
    np.testing.assert_allclose(one, other, rtol=1e-12)
