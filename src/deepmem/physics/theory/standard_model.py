"""The Standard Model in unitary gauge, with a unit CKM matrix, as a `Model`: its Lagrangian, term by term.

    D = ∂ − i g_s T^a G^a − i g (τ^k/2) W^k − i g' Y B,    W³ = c Z + s A,    B = c A − s Z,

c and s the cosine and the sine of the mixing angle. In UFO a vertex lists what leaves it, and momenta are
those that leave, too: "d~ u w-" is ū γ d W⁺. A coupling is i times the factor of its term in the Lagrangian
and of a derivative i p.

Source: A. Denner, arXiv:0709.1075, with the signs of the fields of FeynRules (arXiv:1310.1921).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from deepmem.physics.theory.model import Coupling, Lorentz, Model, Order, Parameter, Particle, Vertex
from deepmem.physics.theory.parameters import Parameters

FIELD = "P(1,2)*P(2,1) - P(-1,1)*P(-1,2)*Metric(1,2)"
"""−½ F_μν F^μν of two vectors."""
DUAL = "Epsilon(1,2,-1,-2)*P(-1,1)*P(-2,2)"
"""Half of F_μν F̃^μν of two vectors."""

_THREE = (
    "P(3,1)*Metric(1,2) - P(3,2)*Metric(1,2) - P(2,1)*Metric(1,3)"
    " + P(2,3)*Metric(1,3) + P(1,2)*Metric(2,3) - P(1,3)*Metric(2,3)"
)
_FOUR = (
    "Metric(1,4)*Metric(2,3) - Metric(1,3)*Metric(2,4)",
    "Metric(1,4)*Metric(2,3) - Metric(1,2)*Metric(3,4)",
    "Metric(1,3)*Metric(2,4) - Metric(1,2)*Metric(3,4)",
)
_FOUR_COLOURS = ("f(-1,1,2)*f(3,4,-1)", "f(-1,1,3)*f(2,4,-1)", "f(-1,1,4)*f(2,3,-1)")


class Term(NamedTuple):
    """A term of a Lagrangian: the vertex of some fields and the one structure that it has."""

    particles: tuple[int, ...]
    lorentz: str
    coupling: str
    colour: str = "1"


class Family(NamedTuple):
    """Fermions of equal quantum numbers, one of each generation."""

    names: tuple[str, str, str]
    codes: tuple[int, int, int]
    masses: tuple[str, str, str]
    thrice_charge: int
    twice_isospin: int
    colour: int


UP = Family(("u", "c", "t"), (2, 4, 6), ("ZERO", "ZERO", "MT"), 2, 1, 3)
DOWN = Family(("d", "s", "b"), (1, 3, 5), ("ZERO", "ZERO", "MB"), -1, -1, 3)
NEUTRINO = Family(("ve", "vm", "vt"), (12, 14, 16), ("ZERO",) * 3, 0, 1, 1)
ELECTRON = Family(("e-", "mu-", "ta-"), (11, 13, 15), ("ZERO", "ZERO", "MTA"), -3, -1, 1)
FAMILIES = (UP, DOWN, NEUTRINO, ELECTRON)

_YUKAWA = {"MT": "ymt", "MB": "ymb", "MTA": "ymtau"}


def particles() -> Iterable[Particle]:
    """Fermions, then bosons."""
    for family in FAMILIES:
        for name, code, mass in zip(family.names, family.codes, family.masses, strict=True):
            anti = f"{name[:-1]}+" if name.endswith("-") else f"{name}~"
            width = "WT" if mass == "MT" else "ZERO"
            yield Particle(code, name, anti, 2, family.colour, mass, width, family.thrice_charge)
    yield Particle(21, "g", "g", 3, 8, "ZERO", "ZERO", 0)
    yield Particle(22, "a", "a", 3, 1, "ZERO", "ZERO", 0)
    yield Particle(23, "z", "z", 3, 1, "MZ", "WZ", 0)
    yield Particle(24, "w+", "w-", 3, 1, "MW", "WW", 3)
    yield Particle(25, "h", "h", 1, 1, "MH", "WH", 0)


def parameters() -> Iterable[Parameter]:
    """Those of a card, and what follows from them; Yukawa masses and the W's follow unless they are set."""
    default = Parameters()

    def given(name: str, block: str, index: int, value: float | None = None) -> Parameter:
        number = getattr(default, name) if value is None else value
        return Parameter(name, value=float(number), block=block, indices=(index,))

    yield given("aEWM1", "SMINPUTS", 1)
    yield given("GF", "SMINPUTS", 2)
    yield given("alpha_s", "SMINPUTS", 3)
    for name, index in (("MB", 5), ("MT", 6), ("MZ", 23), ("MH", 25)):
        yield given(name, "MASS", index)
    yield given("MTA", "MASS", 15, 1.777)
    for name, index in (("WT", 6), ("WZ", 23), ("WW", 24), ("WH", 25)):
        yield given(name, "DECAY", index)
    for name, mass, index in (("ymb", "MB", 5), ("ymt", "MT", 6), ("ymtau", "MTA", 15)):
        yield Parameter(name, expression=mass, block="YUKAWA", indices=(index,))
    for name, expression in (
        ("MW", "cmath.sqrt(MZ**2/2 + cmath.sqrt(MZ**4/4 - cmath.pi*MZ**2/(aEWM1*GF*cmath.sqrt(2))))"),
        ("ee", "cmath.sqrt(4*cmath.pi/aEWM1)"),
        ("sw2", "1 - MW**2/MZ**2"),
        ("sw", "cmath.sqrt(sw2)"),
        ("cw", "cmath.sqrt(1 - sw2)"),
        ("v", "2*MW*sw/ee"),
        ("G", "cmath.sqrt(4*cmath.pi*alpha_s)"),
    ):
        yield Parameter(name, expression=expression)


def _quantum_chromodynamics() -> Iterable[Term]:
    """q̄ G q; the three gluons' vertex. (That of four has three structures: see `_four_gluons`.)"""
    for family in (UP, DOWN):
        for code in family.codes:
            yield Term((-code, code, 21), "FFV", "qqg", "T(3,2,1)")
    yield Term((21, 21, 21), "VVV", "ggg", "f(1,2,3)")


def _currents() -> Iterable[Term]:
    """f̄ A f, f̄ Z f and ū W⁺ d with its conjugate."""
    for family in FAMILIES:
        colour = "Identity(1,2)" if family.colour == 3 else "1"
        kind = family.names[0].rstrip("-")
        for code in family.codes:
            if family.thrice_charge:
                yield Term((-code, code, 22), "FFV", f"{kind}_a", colour)
                yield Term((-code, code, 23), "FFV_R", f"{kind}_zR", colour)
            yield Term((-code, code, 23), "FFV_L", f"{kind}_zL", colour)
    for upper, lower, colour in ((UP, DOWN, "Identity(1,2)"), (NEUTRINO, ELECTRON, "1")):
        for u, d in zip(upper.codes, lower.codes, strict=True):
            yield Term((-d, u, -24), "FFV_L", "ud_w", colour)
            yield Term((-u, d, 24), "FFV_L", "ud_w", colour)


def _electroweak_bosons() -> Iterable[Term]:
    """W⁺W⁻ with one or two others."""
    yield Term((22, -24, 24), "VVV", "aww")
    yield Term((23, -24, 24), "VVV", "zww")
    yield Term((22, 22, -24, 24), "VVVV", "aaww")
    yield Term((22, 23, -24, 24), "VVVV", "azww")
    yield Term((23, 23, -24, 24), "VVVV", "zzww")
    yield Term((-24, -24, 24, 24), "VVVV", "wwww")


def _higgs() -> Iterable[Term]:
    """The Higgs boson with the massive fermions, with the W and the Z, and with itself."""
    for family in FAMILIES:
        colour = "Identity(1,2)" if family.colour == 3 else "1"
        for code, mass in zip(family.codes, family.masses, strict=True):
            if mass != "ZERO":
                yield Term((-code, code, 25), "FFS", f"h_{_YUKAWA[mass]}", colour)
    yield Term((-24, 24, 25), "VVS", "hww")
    yield Term((23, 23, 25), "VVS", "hzz")
    yield Term((-24, 24, 25, 25), "VVSS", "hhww")
    yield Term((23, 23, 25, 25), "VVSS", "hhzz")
    yield Term((25, 25, 25), "SSS", "hhh")
    yield Term((25, 25, 25, 25), "SSSS", "hhhh")


def couplings() -> Iterable[Coupling]:
    """i × the factor of each term, and of −1 for the i p of its derivative."""

    def qed(name: str, expression: str, power: int = 1) -> Coupling:
        return Coupling(name, f"complex(0,1)*{expression}", (("QED", power),))

    yield Coupling("qqg", "complex(0,1)*G", (("QCD", 1),))
    yield Coupling("ggg", "-G", (("QCD", 1),))
    yield Coupling("gggg", "complex(0,1)*G**2", (("QCD", 2),))
    for family in FAMILIES:
        kind, charge = family.names[0].rstrip("-"), f"{family.thrice_charge}/3"
        yield qed(f"{kind}_zL", f"ee/(sw*cw)*({family.twice_isospin}/2 - {charge}*sw2)")
        if family.thrice_charge:
            yield qed(f"{kind}_a", f"ee*({charge})")
            yield qed(f"{kind}_zR", f"ee/(sw*cw)*(-({charge})*sw2)")
    yield qed("ud_w", "ee/(sw*cmath.sqrt(2))")
    yield qed("aww", "ee")
    yield qed("zww", "ee*cw/sw")
    yield qed("aaww", "(-ee**2)", 2)
    yield qed("azww", "(-ee**2*cw/sw)", 2)
    yield qed("zzww", "(-ee**2*cw**2/sw**2)", 2)
    yield qed("wwww", "ee**2/sw**2", 2)
    for yukawa in _YUKAWA.values():
        yield qed(f"h_{yukawa}", f"(-{yukawa}/v)")
    yield qed("hww", "2*MW**2/v")
    yield qed("hzz", "2*MZ**2/v")
    yield qed("hhww", "2*MW**2/v**2", 2)
    yield qed("hhzz", "2*MZ**2/v**2", 2)
    yield qed("hhh", "(-3*MH**2/v)")
    yield qed("hhhh", "(-3*MH**2/v**2)", 2)


def structures() -> Iterable[Lorentz]:
    """The Lorentz structures of the terms."""
    yield Lorentz("FFV", (2, 2, 3), "Gamma(3,2,1)")
    yield Lorentz("FFV_L", (2, 2, 3), "Gamma(3,2,-1)*ProjM(-1,1)")
    yield Lorentz("FFV_R", (2, 2, 3), "Gamma(3,2,-1)*ProjP(-1,1)")
    yield Lorentz("FFS", (2, 2, 1), "Identity(2,1)")
    yield Lorentz("VVV", (3, 3, 3), _THREE)
    four = "2*Metric(1,2)*Metric(3,4) - Metric(1,3)*Metric(2,4) - Metric(1,4)*Metric(2,3)"
    yield Lorentz("VVVV", (3, 3, 3, 3), four)
    for number, structure in enumerate(_FOUR):
        yield Lorentz(f"VVVV_{number + 1}", (3, 3, 3, 3), structure)
    yield Lorentz("VVS", (3, 3, 1), "Metric(1,2)")
    yield Lorentz("VVSS", (3, 3, 1, 1), "Metric(1,2)")
    yield Lorentz("SSS", (1, 1, 1), "1")
    yield Lorentz("SSSS", (1, 1, 1, 1), "1")


def collected(terms: Iterable[Term]) -> Iterable[Vertex]:
    """Vertices: terms with the same particles in the same order and the same colour are one."""
    found: dict[tuple[tuple[int, ...], str], list[Term]] = {}
    for term in terms:
        found.setdefault((term.particles, term.colour), []).append(term)
    for (codes, colour), alike in found.items():
        yield Vertex(
            name="_".join(map(str, codes)),
            particles=codes,
            colour=(colour,),
            lorentz=tuple(term.lorentz for term in alike),
            couplings=tuple((0, position, term.coupling) for position, term in enumerate(alike)),
        )


def _four_gluons(higgs: bool = False) -> Vertex:
    """f f × (g g − g g), for each of the three ways to pair four gluons; with a Higgs boson in heft."""
    shape, coupling = ("VVVVS", "gggg_h") if higgs else ("VVVV", "gggg")
    return Vertex(
        name="four_gluons_h" if higgs else "four_gluons",
        particles=(21,) * 4 + ((25,) if higgs else ()),
        colour=_FOUR_COLOURS,
        lorentz=tuple(f"{shape}_{number}" for number in (1, 2, 3)),
        couplings=tuple((number, number, coupling) for number in range(3)),
    )


@lru_cache
def standard_model() -> Model:
    """The Standard Model, `sm`; light fermions are massless, widths are fixed, orders are QCD and QED."""
    terms = (*_quantum_chromodynamics(), *_currents(), *_electroweak_bosons(), *_higgs())
    return Model(
        name="sm",
        particles=tuple(particles()),
        parameters=tuple(parameters()),
        couplings=tuple(couplings()),
        lorentz=tuple(structures()),
        vertices=(*collected(terms), _four_gluons()),
        orders=(Order("QCD", 1), Order("QED", 2)),
    )


@lru_cache
def heft() -> Model:
    """The Standard Model with a heavy top's loops as vertices: ggH, gggH, ggggH (order HIG) and Hγγ (HIW).

    L = −¼ G_H h G^a_μν G^aμν − ¼ A_H h F_μν F^μν, one such vertex at most in an amplitude (for each of both
    orders, of hierarchy 2); G_H and A_H are expansions in (MH/2MT)² and (MH/2MW)² about

        G_H = −α_s/(3π v),    A_H = 47 α/(18π v).

    Source: M. Spira et al., hep-ph/9504378; the series are those of MadGraph's model of that name.
    """
    model = standard_model()
    top, w = "(MH/MT)**2", "(MH/MW)**2"
    series = "1 + r*(33/470 + r*(57/6580 + r*(87/65800 + r*(41/180950 + r*(5/119756 + r*213/26346320)))))"
    field = f"47*ee**2/(72*cmath.pi**2*v)*({series.replace('r*', w + '*')}"
    field += f" - 14/705*{top} - 2/987*{top}**2)"
    strong = f"-alpha_s/(3*cmath.pi*v)*(1 + {top}*(7/120 + {top}*(1/168 + {top}*13/16800)))"
    terms = (
        Term((21, 21, 25), "VVS_field", "gg_h", "Identity(1,2)"),
        Term((21, 21, 21, 25), "VVVS", "ggg_h", "f(1,2,3)"),
        Term((22, 22, 25), "VVS_field", "aa_h"),
    )
    return Model(
        name="heft",
        particles=model.particles,
        parameters=(
            *model.parameters,
            Parameter("G_H", expression=strong),
            Parameter("A_H", expression=field),
        ),
        couplings=(
            *model.couplings,
            Coupling("gg_h", "-complex(0,1)*G_H", (("HIG", 1),)),
            Coupling("ggg_h", "-G*G_H", (("HIG", 1), ("QCD", 1))),
            Coupling("gggg_h", "complex(0,1)*G**2*G_H", (("HIG", 1), ("QCD", 2))),
            Coupling("aa_h", "-complex(0,1)*A_H", (("HIW", 1),)),
        ),
        lorentz=(
            *model.lorentz,
            Lorentz("VVS_field", (3, 3, 1), FIELD),
            Lorentz("VVVS", (3, 3, 3, 1), _THREE),
            *(Lorentz(f"VVVVS_{n + 1}", (3, 3, 3, 3, 1), structure) for n, structure in enumerate(_FOUR)),
        ),
        vertices=(*model.vertices, *collected(terms), _four_gluons(higgs=True)),
        orders=(*model.orders, Order("HIG", 2, 1), Order("HIW", 2, 1)),
    )
