"""UFO folders: what is read from one, its cards, and what is wrong with a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepmem.physics.errors import ModelError, UnknownNameError
from deepmem.physics.theory.cards import read_card
from deepmem.physics.theory.expressions import evaluate
from deepmem.physics.theory.model import Model
from deepmem.physics.theory.models import load
from deepmem.physics.theory.reaction import parse
from deepmem.physics.theory.subprocesses import expand
from deepmem.physics.theory.ufo import NEEDED, read_folder
from tests.physics import toy_ufo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy_ufo.write(tmp_path / "toy")


def vertex(model: Model, *names: str) -> tuple[str, ...]:
    """The couplings of a vertex by what leaves it."""
    codes = tuple(model.codes[name] for name in names)
    (found,) = (each for each in model.vertices if each.particles == codes)
    return tuple(name for *_, name in found.couplings)


def test_a_folder_is_a_model(folder: Path) -> None:
    model = read_folder(folder)
    assert model.name == "toy"
    assert model.codes["e+"] == -11
    # MadGraph's name, whatever the folder's own ("m-").
    assert model.codes["mu+"] == -13
    assert model.by_code[99002].self_conjugate
    assert model.by_code[2].thrice_charge == 2
    assert model.by_code[22].mass == "ZERO"
    assert vertex(model, "e+", "e-", "Zp") == ("GC_4", "GC_5")
    assert {order.name: (order.hierarchy, order.expansion) for order in model.orders} == {
        "QCD": (1, 99),
        "QED": (2, 99),
        "NP": (1, 2),
    }
    names = [parameter.name for parameter in model.parameters]
    assert names.index("half") < names.index("Mchi")
    assert "ZERO" not in names
    given = next(parameter for parameter in model.parameters if parameter.name == "gR")
    assert (given.value, given.block, given.indices) == (0.25, "ZP", (2,))


def test_its_numbers_follow_from_its_expressions(folder: Path) -> None:
    values = evaluate(read_folder(folder), {"MZp": 1000.0})
    assert float(values.parameters["Mchi"]) == 250
    assert complex(values.couplings["GC_1"]) == pytest.approx(-1j * (4 * 3.141592653589793 / 127.9) ** 0.5)
    assert not next(each for each in read_folder(folder).parameters if each.name == "ph").real
    # The coupling of ProjP and that of ProjM make a real Lagrangian.
    assert complex(values.couplings["GC_6"]) == -complex(values.couplings["GC_7"]).conjugate()


def test_common_names_do_not_hide_a_models_own(tmp_path: Path) -> None:
    """A scalar that a folder calls "mu+" keeps its name, and the muon its own."""
    particles = toy_ufo.PARTICLES.replace("name = 'S0', antiname = 'S0'", "name = 'mu+', antiname = 'mu+'")
    model = read_folder(toy_ufo.write(tmp_path / "toy", particles=particles))
    assert (model.codes["mu+"], model.codes["m+"]) == (99001, -13)


def test_ghosts_and_goldstone_bosons_are_left_out(folder: Path) -> None:
    model = read_folder(folder)
    assert not {"ghA", "ghA~", "G0"} & set(model.codes)
    assert not any(each.name in ("V_13", "V_14") for each in model.vertices)


def test_what_is_not_supported_is_marked_where_it_is(folder: Path) -> None:
    refused = {each.name: each.refused for each in read_folder(folder).vertices if each.refused}
    assert set(refused) == {"V_10", "V_11", "V_12"}
    assert "'y' has spin 2" in refused["V_10"]
    assert "'six' has colour representation 6" in refused["V_11"]
    assert "structure 'FFS3' has FF1" in refused["V_12"]


def test_nothing_of_a_folder_is_run(folder: Path) -> None:
    """Code beside the objects is passed over: neither the folder's files nor its helpers are executed."""
    mark = folder / "ran"
    code = f"open({str(mark)!r}, 'w').write('x')\nimport os\nos.system('touch {mark}')\n"
    toy_ufo.write(folder, vertices=toy_ufo.VERTICES + code, object_library=code)
    assert len(read_folder(folder).vertices) == 12
    assert not mark.exists()


def test_a_reaction_in_it(folder: Path) -> None:
    model = load(folder)
    (only,) = expand(parse("e+ e- > chi chi"), model)
    assert only.identical == 2
    assert next(each.outgoing for each in expand(parse("u u~ > l+ l-"), model)) == (-11, 11)
    with pytest.raises(UnknownNameError, match="did you mean 'NP'"):
        expand(parse("e+ e- > u u~ NPP=2"), model)


def test_a_restriction(folder: Path) -> None:
    (folder / "restrict_default.dat").write_text(toy_ufo.CARD)
    model = load(folder)
    left = {parameter.name: parameter.value for parameter in model.parameters if parameter.value is not None}
    # gR = 1, mix = 0 and Mmu = Me are no parameters any more; what is left out of the card stays.
    assert {"gR", "mix", "Mmu"}.isdisjoint(left)
    assert (left["gL"], left["lam"], left["MS"], left["Me"], left["WZp"]) == (1.0, 0.0, 300.0, 5.11e-4, 20.0)
    assert model.by_code[13].mass == "Me"
    # Couplings that vanish for good take their vertices along.
    assert not any(each.particles[-1] == 99001 and abs(each.particles[0]) == 13 for each in model.vertices)
    with pytest.raises(UnknownNameError):
        evaluate(model, {"mix": 0.1})


def test_what_vanishes_by_value_stays(folder: Path) -> None:
    """lam = 1e-105 in the card is a parameter that is 0, not a constant."""
    (folder / "restrict_light.dat").write_text(toy_ufo.CARD)
    model = load(f"{folder}-light")
    assert model.name == "toy-light"
    assert vertex(model, "a", "a", "S0") == ("GC_8",)
    assert complex(evaluate(model).couplings["GC_8"]) == 0
    assert complex(evaluate(model, {"lam": 0.5}).couplings["GC_8"]) == 0.5j


def test_what_cancels_is_left_out(folder: Path) -> None:
    """gL − gR is 0 to rounding where both are one parameter."""
    couplings = toy_ufo.COUPLINGS.replace("(gL - gR)", "(gL**2 - gR*gL)/cmath.sqrt(2)")
    toy_ufo.write(folder, couplings=couplings)
    (folder / "restrict_default.dat").write_text("BLOCK ZP\n 1 0.3\n 2 0.3\n")
    names = {each.name for each in load(folder).vertices}
    assert "V_8" not in names
    assert "V_4" in names


def test_massless_in_the_restriction(folder: Path) -> None:
    card = toy_ufo.CARD.replace("5.110000D-04", "0.0").replace("20.", "0.")
    (folder / "restrict_default.dat").write_text(card + "DECAY 32 0.0\n")
    model = load(folder)
    assert model.by_code[11].mass == model.by_code[13].mass == "ZERO"
    assert model.by_code[32].width == "ZERO"
    full = load(f"{folder}-full")
    assert full.by_code[11].mass == "Me"
    assert full.digest != model.digest


def test_a_changed_file_is_read_again(folder: Path) -> None:
    first = load(folder)
    toy_ufo.write(folder, couplings=toy_ufo.COUPLINGS.replace("2*ee", "4*ee"))
    assert load(folder).digest != first.digest


def test_parameter_cards(folder: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.dat"
    card.write_text(
        "BLOCK ZP # couplings\n 1 0.5\nBlock MODSEL\n 1 word\nDECAY 32 3.0\n  1.0 2 11 -11\nDECAY 7 1.0\n"
    )
    assert read_card(card) == {("ZP", (1,)): 0.5, ("DECAY", (32,)): 3.0, ("DECAY", (7,)): 1.0}
    values = {each.name: each.value for each in load(folder, card).parameters}
    assert (values["gL"], values["WZp"], values["gR"]) == (0.5, 3.0, 0.25)
    card.write_text("BLOCK YUKAWA\n 5 4.2\nBLOCK MASS\n 24 80.0\n")
    found = evaluate(load("heft", card)).parameters
    assert complex(found["ymb"]) == 4.2
    assert float(found["MW"]) == pytest.approx(80.419, abs=1e-3)


def test_a_card_can_not_change_what_a_restriction_fixes(folder: Path, tmp_path: Path) -> None:
    (folder / "restrict_default.dat").write_text(toy_ufo.CARD)
    card = tmp_path / "card.dat"
    card.write_text("BLOCK ZP\n 3 0.25\n")
    with pytest.raises(ModelError, match=r"sets mix = 0\.25, which the restriction"):
        load(folder, card)
    card.write_text("BLOCK ZP\n 3 0.0\n 1 0.3\n")
    assert complex(evaluate(load(folder, card)).couplings["GC_4"]) == 0.3j


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("particles", "spin = 3", "spin = 'x'", "'a' has 'spin' = 'x'; expected is a number"),
        ("particles", "Param.MZp", "Param.MZq", "did you mean 'MZp'"),
        ("particles", "charge = 2/3", "charge = 0.1", "multiples of 1/3"),
        ("particles", "pdg_code = 22, ", "", "has no 'pdg_code'"),
        ("particles", "pdg_code = 22, ", "pdg_code = -2, ", "PDG code 2 of another particle"),
        ("parameters", "half*MZp", "half*MZpp", "needs 'MZpp' (did you mean 'MZp'?)"),
        ("parameters", "'1/4.'", "'Mchi'", "follows from itself"),
        ("parameters", "value = 800.", "value = 'x'", "expected is a number"),
        ("parameters", "'half*MZp'", "'half*'", "no expression"),
        ("couplings", "order = {'QED':1}", "order = 'QED'", "expected is a dict"),
        ("vertices", "P.e__plus__", "P.e__pluss__", "did you mean 'e__plus__'"),
        ("vertices", "C.GC_3", "C.GC_33", "which is none of the model"),
        ("vertices", "L.FFV4", "L.FFV44", "none of the model's lorentz"),
        ("vertices", "V_1 = ", "print 'x'; V_1 = ", "no Python that can be parsed"),
    ],
)
def test_what_is_wrong_with_a_folder(tmp_path: Path, file: str, old: str, new: str, said: str) -> None:
    text = toy_ufo.FILES[f"{file}.py"]
    assert old in text
    folder = toy_ufo.write(tmp_path / "toy", **{file: text.replace(old, new, 1)})
    with pytest.raises(ModelError) as error:
        load(folder)
    assert said in str(error.value)


def test_expressions_outside_the_whitelist(tmp_path: Path) -> None:
    text = toy_ufo.COUPLINGS.replace("'complex(0,1)*gL'", "'__import__(\"os\")'")
    model = load(toy_ufo.write(tmp_path / "toy", couplings=text))
    with pytest.raises(ModelError, match="coupling 'GC_4' of model 'toy' has the function '__import__'"):
        evaluate(model)
    assert "GC_1" in evaluate(model, couplings=["GC_1"]).couplings


@pytest.mark.parametrize("name", NEEDED)
def test_a_file_is_missing(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"no UFO folder: it has no {name}"):
        load(folder)


def test_an_old_folder_has_no_orders(folder: Path) -> None:
    (folder / "coupling_orders.py").unlink()
    assert {order.name: order.hierarchy for order in load(folder).orders} == {"QCD": 1, "QED": 2, "NP": 2}


def test_folders_and_cards_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="known: full"):
        load(f"{folder}-none")
    with pytest.raises(ModelError, match="there is no folder"):
        load(tmp_path / "nothing")
    with pytest.raises(ModelError, match="can't read the parameter card"):
        load("sm", tmp_path / "card.dat")
    card = tmp_path / "card.dat"
    card.write_text("no card\n")
    with pytest.raises(ModelError, match="no parameter card"):
        load("sm", card)
    card.write_text("DECAY 6 auto\n")
    with pytest.raises(ModelError, match="width of particle 6 is 'auto'"):
        load("sm", card)
