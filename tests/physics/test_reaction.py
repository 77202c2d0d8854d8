"""The language of reactions: what a text means, that it is printed as it is read, and what is refused."""

from __future__ import annotations

import pickle
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from deepmem.physics.errors import ReactionError, UnknownNameError
from deepmem.physics.theory.conservation import conserved
from deepmem.physics.theory.models import load
from deepmem.physics.theory.reaction import Bound, Conditions, Decay, Production, Reaction, parse
from deepmem.physics.theory.subprocesses import Branch, Subprocess, expand

TTBAR = "p p > t t~, (t > w+ b, w+ > l+ vl), (t~ > w- b~, w- > j j) ; cc"
NAMES = ["g", "u", "u~", "t", "w+", "h", "l+", "vl~", "j", "p", "-13", "21"]


def legs(text: str, **settings: Any) -> list[tuple[int, ...]]:
    """Incoming and outgoing codes of the subprocesses of a text."""
    return [each.incoming + each.outgoing for each in expand(parse(text), load("sm"), **settings)]


# made once, for Hypothesis looks through each that it has not seen
FEW, SOME, ONE_OR_TWO = (
    st.lists(st.sampled_from(NAMES), min_size=least, max_size=most)
    for least, most in ((0, 2), (1, 4), (1, 2))
)
BOUND = st.builds(Bound, st.sampled_from(["QCD", "QED"]), st.sampled_from(["<=", "=="]), st.integers(0, 99))
CONDITIONS = st.builds(Conditions, FEW.map(tuple), FEW.map(tuple), st.lists(BOUND, max_size=2).map(tuple))


@st.composite
def products(draw: st.DrawFn, further: st.SearchStrategy | None) -> tuple[str | Decay, ...]:
    """Names, each of which may decay to `further` ones; a name that is there twice does so both times, or not."""
    names = draw(SOME)
    decaying = {name for name in dict.fromkeys(names) if further is not None and draw(st.booleans())}
    return tuple(
        Decay(name, draw(further), draw(CONDITIONS)) if further is not None and name in decaying else name
        for name in names
    )


PRODUCTS = products(products(products(None)))
TERM = st.builds(Production, ONE_OR_TWO.map(tuple), PRODUCTS, CONDITIONS)
REACTIONS = st.builds(Reaction, st.lists(TERM, min_size=1, max_size=3).map(tuple), st.booleans())


@settings(deadline=None, max_examples=150)
@given(REACTIONS)
def test_what_is_printed_is_read_again(reaction: Reaction) -> None:
    assert parse(str(reaction)) == reaction


@settings(deadline=None, max_examples=300)
@given(st.text("tgw+-~,;()>/=<2 QCD@$[]|", max_size=40))
def test_any_text_is_read_or_refused_in_a_sentence(text: str) -> None:
    try:
        reaction = parse(text)
    except ReactionError:
        return
    assert parse(str(reaction)) == reaction


def test_a_reaction_is_a_value() -> None:
    reaction = parse(TTBAR)
    assert reaction == parse(" " + TTBAR.replace(" ", "  "))
    assert hash(reaction) == hash(parse(str(reaction)))
    assert pickle.loads(pickle.dumps(reaction)) == reaction
    assert reaction.conjugate
    top = reaction.terms[0].products[0]
    assert top == Decay("t", (Decay("w+", ("l+", "vl")), "b"))
    assert reaction.terms[0].legs == ("l+", "vl", "b", "j", "j", "b~")


def test_conditions_are_read_where_they_stand() -> None:
    term = parse("u d~ > w+ > mu+ vm b b~ / h z QCD=2 QED<=4").terms[0]
    assert term.conditions == Conditions(("w+",), ("h", "z"), (Bound("QCD", "<=", 2), Bound("QED", "<=", 4)))
    chain = parse("p p > t t~ QCD==2, t > w+ b QED=1").terms[0]
    assert chain.conditions.orders == (Bound("QCD", "==", 2),)
    decay = chain.products[0]
    assert isinstance(decay, Decay)
    assert decay.conditions.orders == (Bound("QED", "<=", 1),)


@pytest.mark.parametrize(
    ("text", "codes", "denominator"),
    [
        (
            "g g > t t~ h, (t > w+ b, w+ > mu+ vm), (t~ > w- b~, w- > d u~), h > b b~",
            (21, 21, -13, 14, 5, 1, -2, -5, 5, -5),
            256,
        ),
        ("g b > t w-, (t > w+ b, w+ > mu+ vm), (w- > e- ve~)", (21, 5, -13, 14, 5, 11, -12), 96),
        ("u d~ > w+ h, w+ > mu+ vm, h > b b~", (2, -1, -13, 14, 5, -5), 36),
        ("u d > e+ e- u d QED=4 QCD=2", (2, 1, -11, 11, 2, 1), 36),
        ("u u~ > e+ e- g g", (2, -2, -11, 11, 21, 21), 72),
        ("u u > u u", (2, 2, 2, 2), 72),
        ("g g > t t~ t t~", (21, 21, 6, -6, 6, -6), 1024),
        ("e+ e- > z h h", (-11, 11, 23, 25, 25), 8),
        ("g g > h > e+ e- mu+ mu-", (21, 21, -11, 11, -13, 13), 256),
    ],
)
def test_legs_and_factors_are_those_of_madgraph(text: str, codes: tuple[int, ...], denominator: int) -> None:
    """The denominator is the number of spin and colour states of what comes in, times Π n!."""
    model = load("heft")
    (only,) = expand(parse(text), model)
    assert only.incoming + only.outgoing == codes
    first, second = (2 * abs(model.by_code[code].colour) for code in only.incoming)
    assert first * second * only.identical == denominator


def test_a_final_state_counts_once() -> None:
    """w- > j j is d ū and s c̄; two decays of the Z into l+ l- are ee, eμ and μμ."""
    assert legs("w- > j j") == [(-24, 1, -2), (-24, 3, -4)]
    pairs = legs("u u~ > z z, z > l+ l-")
    assert [each[2:] for each in pairs] == [(-11, 11, -11, 11), (-11, 11, -13, 13), (-13, 13, -13, 13)]


def test_what_the_standard_model_conserves() -> None:
    """Charge and three numbers each of quarks and leptons: with charge, 7 independent ones in all."""
    numbers = conserved(load("sm"))
    assert numbers.number == 7
    assert numbers.total((2, -1)) == numbers.total((24,)) == numbers.total((-11, 12))
    assert numbers.total((2, -3)) != numbers.total((24,))
    assert numbers.total((21, 23, 25)) == numbers.total(())
    found = legs("p p > e+ ve")
    assert sorted(each[:2] for each in found) == [(-3, 4), (-1, 2), (2, -1), (4, -3)]


def test_labels() -> None:
    pairs = {each[:2] for each in legs("p p > e+ e-")}
    assert {(1, -1), (-1, 1), (4, -4), (21, 21)} <= pairs
    assert not any(5 in map(abs, pair) for pair in pairs)
    assert (5, -5) in {each[:2] for each in legs("p p > e+ e-", flavours=5)}
    labels = {"q": "u d", "both": ["q", "c"]}
    assert legs("q u~ > both c~", labels=labels) == [(2, -2, 4, -4)]
    assert legs("q g > both g", labels=labels) == [(2, 21, 2, 21), (1, 21, 1, 21)]
    assert not any(5 in map(abs, each[2:]) for each in legs("g g > j j", flavours=5))


def test_particles_by_name_code_and_case() -> None:
    assert legs("21 21 > 6 -6") == legs("g g > t t~") == legs("G g > T t~") == [(21, 21, 6, -6)]


def test_charge_conjugates_are_added_once() -> None:
    assert legs("u d~ > w+ ; cc") == [(2, -1, 24), (-2, 1, -24)]
    assert legs("g g > t t~ ; cc") == [(21, 21, 6, -6)]
    both = legs("g g > t t~, (t > w+ b, w+ > e+ ve), (t~ > w- b~, w- > d u~) ; cc")
    assert both[1] == (21, 21, 11, -12, -5, -1, 2, 5)


def test_equal_particles_decay_as_madgraph_lets_them() -> None:
    one = "u u~ > z z, z > e+ e-"
    assert parse(one).terms[0].products == (Decay("z", ("e+", "e-")),) * 2
    two = parse("u u~ > z z, z > e+ e-, z > mu+ mu-").terms
    assert [term.legs for term in two] == [("e+", "e-", "mu+", "mu-")]
    either = parse("u u~ > w+ w-, w+ > e+ ve, w+ > mu+ vm").terms
    assert [term.legs for term in either] == [("e+", "ve", "w-"), ("mu+", "vm", "w-")]


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        ("u u~ > z z, z > e+ e-", 2),
        ("u u~ > z z, z > e+ e-, z > mu+ mu-", 1),
        ("g g > g g g", 6),
        ("g g > t t~ b b~, (t > w+ b, w+ > mu+ vm), (t~ > w- b~, w- > d u~)", 1),
        ("u u~ > z h, h > a a", 2),
        ("u u~ > h h, h > a a", 8),
    ],
)
def test_identical_particles(text: str, factor: int) -> None:
    (only,) = expand(parse(text), load("sm"))
    assert only.identical == factor


def test_the_levels_of_a_chain() -> None:
    (only,) = expand(parse("g g > t t~ QCD=2, (t > w+ b, w+ > e+ ve)"), load("sm"))
    assert isinstance(only, Subprocess)
    places = dict(only.levels())
    assert set(places) == {(), (0,), (0, 0)}
    inner = places[0, 0]
    assert isinstance(inner, Branch)
    assert inner.particle == 24
    assert places[()].requirements.orders == (Bound("QCD", "<=", 2),)
    assert places[0,].requirements.orders == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("u u~ > e+ ve", "charge is not conserved: +0 comes in and +1 goes out"),
        ("u d~ > t t~, t > w+ h", "in the decay 't > w+ h'"),
        ("e+ e- > mu+ ta-", "no vertices of model 'sm' lead there"),
        ("l- > l- g", "colour is not conserved"),
        ("vl g > vl h h g g g l+", "charge is not conserved, in"),
        ("g > h", "colour is not conserved"),
        ("u u~ > g h, g > h a", "colour is not conserved"),
        ("g g > tt t~", "did you mean 't'"),
        ("g g > t t~ QCDD=2", "did you mean 'QCD'"),
        ("p p > t t~, w+ > l+ vl", "'w+' decays in 'w+ > l+ vl', but p p makes t t~"),
        ("p p > t t~, (t > w+ b, z > l+ l-)", "'z' decays in 'z > l+ l-', but t makes w+ b"),
        ("p p > e+ e- $ z", "'$'"),
        ("p p > e+ e- $$ z", "'$$'"),
        ("p p > e+ e- [QCD]", "loops"),
        ("p p > e+ e- @2", "'@'"),
        ("p p > w+ > e+ ve | h", "';'"),
        ("p p > e+ e- QCD^2=2", "is no order"),
        ("p p > e+ e- QCD>=2", "is no order"),
        ("p p > t t~, (t > w+ b", "is not closed"),
        ("p p > t t~)", "')' was not expected"),
        ("p p >", "names > names"),
        ("", "names > names"),
        ("p p p > t t~", "not 3 (p p p)"),
        ("g g > t t~, t g > w+ b", "one particle decays"),
        ("g g > t t~ /", "'/' is followed by"),
        ("cc", "no reaction before it"),
        ("g g > h ; cc ; g g > a a", "write it last"),
        ("g g > h ; g g > h h", "equally many legs"),
        ("p p > t t~, " + "(t > t h, " * 40 + "t > w+ b" + ")" * 40, "deeper than"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises((ReactionError, UnknownNameError)) as error:
        expand(parse(text), load("sm"))
    assert said in str(error.value)


def test_labels_that_make_no_sense() -> None:
    with pytest.raises(ReactionError, match="made of itself"):
        legs("q q > q q", labels={"q": "u q"})
    with pytest.raises(ReactionError, match="no particle"):
        legs("q q > q q", labels={"q": ""})
    with pytest.raises(UnknownNameError, match="'up'"):
        legs("q q > q q", labels={"q": "up"})


def test_one_of_two_equal_particles_can_not_decay_alone() -> None:
    with pytest.raises(ReactionError, match="all of them do, or none"):
        Production(("u", "u~"), ("z", Decay("z", ("e+", "e-"))))
