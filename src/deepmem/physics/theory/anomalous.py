"""The Standard Model with the most general couplings of a Higgs boson to two vectors: the model `hvv`.

    A(H → V₁V₂) = (2/v) { [ca1 − cL1 (q₁² + q₂²)/TeV²] m_V² ε₁·ε₂ + ca2 f₁·f₂ + ca3 f₁·f̃₂ },

f^μν = ε^μ q^ν − ε^ν q^μ and f̃^μν = ½ ε^μναβ f_αβ of outgoing momenta, with ε^0123 = −1. ca1 = 1 is the
Standard Model, and cL1 is (1 TeV/Λ₁)². Of Zγ and γγ the same without ca1, with q² of the photon for cL1za;
photons couple as e Q, the Z as e/(s c) (T³ − Q s²). Vertices with yet another vector are not included.

Source: I. Anderson et al., 1309.4819; Λ₁ as in CMS, 1411.3441. Docs: anomalous.md, with JHUGen's names.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from deepmem.physics.theory.model import Coupling, Lorentz, Model, Parameter
from deepmem.physics.theory.standard_model import DUAL, Term, collected, heft

_Q1, _Q2 = "P(-1,1)*P(-1,1)*Metric(1,2)", "P(-2,2)*P(-2,2)*Metric(1,2)"
_THREE_DUAL = " + ".join(f"Epsilon(1,2,3,-1)*P(-1,{leg})" for leg in (1, 2, 3))

_GIVEN = (
    ("ca1", 1.0),
    ("ca2", 0.0),
    ("ca3", 0.0),
    ("cL1", 0.0),
    ("ca2za", 0.0),
    ("ca3za", 0.0),
    ("cL1za", 0.0),
    ("ca2aa", 0.0),
    ("ca3aa", 0.0),
    ("cg2", 1.0),
    ("cg3", 0.0),
    ("kappa", 1.0),
    ("kappa_tilde", 0.0),
)
# Those of the W, which follow from those of the Z unless they are set.
_W = (("ca1w", "ca1"), ("ca2w", "ca2"), ("ca3w", "ca3"), ("cL1w", "cL1"))

_TERMS = (
    *(
        Term(particles, shape, f"h{kind}_{name}")
        for particles, kind in (((-24, 24, 25), "ww"), ((23, 23, 25), "zz"))
        for shape, name in (("VVS", "1"), ("VVS_field", "2"), ("VVS_dual", "3"), ("VVS_squares", "L"))
    ),
    Term((22, 23, 25), "VVS_field", "hza_2"),
    Term((22, 23, 25), "VVS_dual", "hza_3"),
    Term((22, 23, 25), "VVS_square", "hza_L"),
    Term((22, 22, 25), "VVS_field", "haa_2"),
    Term((22, 22, 25), "VVS_dual", "haa_3"),
    Term((21, 21, 25), "VVS_field", "gg_h", "Identity(1,2)"),
    Term((21, 21, 25), "VVS_dual", "gg_h_odd", "Identity(1,2)"),
    Term((21, 21, 21, 25), "VVVS", "ggg_h", "f(1,2,3)"),
    Term((21, 21, 21, 25), "VVVS_dual", "ggg_h_odd", "f(1,2,3)"),
    Term((-6, 6, 25), "FFS", "h_top", "Identity(1,2)"),
    Term((-6, 6, 25), "FFS_odd", "h_top_odd", "Identity(1,2)"),
)


def _parameters() -> tuple[Parameter, ...]:
    given = [
        Parameter(name, value=value, block="HVV", indices=(index,))
        for index, (name, value) in enumerate(_GIVEN, start=1)
    ]
    following = [
        Parameter(name, expression=other, block="HVVW", indices=(index,))
        for index, (name, other) in enumerate(_W, start=1)
    ]
    return (*given, *following)


def _couplings() -> tuple[Coupling, ...]:
    """i × the factors of ε₁·ε₂, of `FIELD` = −½ f₁·f₂ and of `DUAL` = −½ f₁·f̃₂."""
    qed = (("QED", 1),)
    found = []
    for kind, mass, w in (("hww", "MW", "w"), ("hzz", "MZ", "")):
        found += [
            Coupling(f"{kind}_1", f"complex(0,1)*2*{mass}**2/v*ca1{w}", qed),
            Coupling(f"{kind}_2", f"-complex(0,1)*4/v*ca2{w}", qed),
            Coupling(f"{kind}_3", f"-complex(0,1)*4/v*ca3{w}", qed),
            Coupling(f"{kind}_L", f"-complex(0,1)*2*{mass}**2/v*cL1{w}/1000**2", qed),
        ]
    for kind in ("za", "aa"):
        found += [Coupling(f"h{kind}_{n}", f"-complex(0,1)*4/v*ca{n}{kind}", qed) for n in (2, 3)]
    return (
        *found,
        Coupling("hza_L", "-complex(0,1)*2*MZ**2/v*cL1za/1000**2", qed),
        Coupling("gg_h", "-complex(0,1)*G_H*cg2", (("HIG", 1),)),
        Coupling("gg_h_odd", "-complex(0,1)*G_H*cg3", (("HIG", 1),)),
        Coupling("ggg_h", "-G*G_H*cg2", (("HIG", 1), ("QCD", 1))),
        Coupling("ggg_h_odd", "-G*G_H*cg3", (("HIG", 1), ("QCD", 1))),
        Coupling("gggg_h", "complex(0,1)*G**2*G_H*cg2", (("HIG", 1), ("QCD", 2))),
        Coupling("h_top", "complex(0,1)*(-ymt/v)*kappa", qed),
        Coupling("h_top_odd", "ymt/v*kappa_tilde", qed),
    )


@lru_cache
def anomalous() -> Model:
    """`hvv`: `sm`, ggH as in `heft`, and anomalous couplings, each a factor of its own in one term.

    L = −(ymt/v) h t̄(kappa + i kappa_tilde γ⁵)t − ¼ G_H h (cg2 G_μν G^μν + cg3 G_μν G̃^μν) + the terms of the
    module's A. The W's ca1w, ca2w, ca3w and cL1w follow from the Z's unless they are set. All vertices of H
    with Z, W and γ have order QED = 1, those with gluons HIG = 1.
    """
    model = heft()
    replaced = {"hww", "hzz", "h_ymt", "aa_h", "gg_h", "ggg_h", "gggg_h"}
    terms = {term.particles for term in _TERMS}
    return replace(
        model,
        name="hvv",
        parameters=(*(p for p in model.parameters if p.name != "A_H"), *_parameters()),
        couplings=(*(c for c in model.couplings if c.name not in replaced), *_couplings()),
        lorentz=(
            *model.lorentz,
            Lorentz("VVS_dual", (3, 3, 1), DUAL),
            Lorentz("VVS_squares", (3, 3, 1), f"{_Q1} + {_Q2}"),
            Lorentz("VVS_square", (3, 3, 1), _Q1),
            Lorentz("VVVS_dual", (3, 3, 3, 1), _THREE_DUAL),
            Lorentz("FFS_odd", (2, 2, 1), "Gamma5(2,1)"),
        ),
        vertices=(*(v for v in model.vertices if v.particles not in terms), *collected(_TERMS)),
        orders=tuple(order for order in model.orders if order.name != "HIW"),
    )
