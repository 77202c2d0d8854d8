"""The menu's processes: lines of data, whose |M|² is generated from a reaction.

|M|² of four leptons is written by hand, for a weight is faster with it: of two Z, in `four_leptons`, twice,
for its four initial states share their work; of H → 4ℓ, in `higgs_to_leptons`, by 6 to 18 %.

Gluons and photons couple to a Higgs boson by the effective vertices of the model `heft`, which are taken at
MH, off the resonance too. In pp → tt̄ and pp → WW only diagrams with both resonances count, with their full
propagators; |M|² of off-shell tops from gluons depends on the frame, see `Hypothesis.frame`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from deepmem.physics.processes import four_leptons, higgs_to_leptons
from deepmem.physics.processes.base import (
    DEFAULT_FLAVOURS,
    GLUON_CHANNELS,
    MISSING_COLUMNS,
    QUARK_CHANNELS,
    InitialState,
    MatrixElements,
    Process,
    jet_columns,
    lepton_columns,
)
from deepmem.physics.processes.generated import Generated
from deepmem.physics.reactions import Theory

_STANDARD, _HEFT = Theory(), Theory(model="heft")


def _of(channels: Iterable[tuple[InitialState, ...]], reaction: str, theory: Theory = _STANDARD) -> Generated:
    return Generated(reaction, tuple(states[0] for states in channels), theory)


DRELL_YAN = Process(
    name="drell_yan",
    title="pp → γ*/Z → ℓ⁻ℓ⁺",
    reference="Drell and Yan, Phys. Rev. Lett. 25 (1970) 316",
    outgoing=(-13, 13),
    classes=("lepton", "lepton"),
    columns=lepton_columns(2),
    parameters=("MZ", "WZ", "aEWM1", "GF", "MW"),
    channels=QUARK_CHANNELS,
    matrix_elements=_of(QUARK_CHANNELS, "p p > mu+ mu-"),
    scale="MZ",
    dimensions=2,
    wide_resonance=("MZ", "WZ"),
)


def _two_bosons(name: str, title: str, outgoing: tuple[int, ...], matrix_elements: MatrixElements) -> Process:
    return Process(
        name=name,
        title=f"pp → γ*/Z γ*/Z → {title}",
        reference="Dixon, Kunszt and Signer, Nucl. Phys. B531 (1998) 3, hep-ph/9803250",
        outgoing=outgoing,
        classes=("lepton",) * 4,
        columns=lepton_columns(4, flavour=True),
        parameters=("MZ", "WZ", "aEWM1", "GF", "MW"),
        channels=QUARK_CHANNELS,
        matrix_elements=matrix_elements,
        scale=125.0,
        dimensions=4,
        subsets=("zz",),
    )


ZZ_4L = _two_bosons("zz_4l", "e⁺e⁻μ⁺μ⁻", (-11, 11, -13, 13), four_leptons.two_flavours)
ZZ_4E = _two_bosons("zz_4e", "e⁺e⁻e⁺e⁻", (-11, 11, -11, 11), four_leptons.one_flavour)
ZZ_4MU = _two_bosons("zz_4mu", "μ⁺μ⁻μ⁺μ⁻", (-13, 13, -13, 13), four_leptons.one_flavour)


def _higgs_to_leptons(name: str, title: str, outgoing: tuple[int, ...], elements: MatrixElements) -> Process:
    return Process(
        name=name,
        title=f"gg → H → ZZ* → {title}",
        reference="Djouadi, Phys. Rept. 457 (2008) 1, hep-ph/0503172",
        outgoing=outgoing,
        classes=("lepton",) * 4,
        columns=lepton_columns(4, flavour=True),
        parameters=("MZ", "WZ", "MT", "MH", "WH", "aEWM1", "GF", "alpha_s", "MW"),
        channels=GLUON_CHANNELS,
        matrix_elements=elements,
        scale=125.0,
        dimensions=4,
        subsets=("zz",),
        resonance=("MH", "WH"),
    )


HIGGS_4L = _higgs_to_leptons("higgs_4l", "e⁺e⁻μ⁺μ⁻", (-11, 11, -13, 13), higgs_to_leptons.two_flavours)
HIGGS_4E = _higgs_to_leptons("higgs_4e", "e⁺e⁻e⁺e⁻", (-11, 11, -11, 11), higgs_to_leptons.one_flavour)
HIGGS_4MU = _higgs_to_leptons("higgs_4mu", "μ⁺μ⁻μ⁺μ⁻", (-13, 13, -13, 13), higgs_to_leptons.one_flavour)

_TOPS = (*GLUON_CHANNELS, tuple(state for states in QUARK_CHANNELS for state in states))

TTBAR_2L = Process(
    name="ttbar_2l",
    title="pp → tt̄ → (b ℓ⁺ν)(b̄ ℓ⁻ν̄)",
    reference="Kleiss and Stirling, Z. Phys. C40 (1988) 419",
    outgoing=(-11, 12, 5, 13, -14, -5),
    classes=("lepton", "invisible", "bjet", "lepton", "invisible", "bjet"),
    columns=(*lepton_columns(2), *jet_columns(2), *MISSING_COLUMNS),
    parameters=("MZ", "WW", "MT", "WT", "MB", "aEWM1", "GF", "alpha_s", "MW"),
    channels=_TOPS,
    matrix_elements=_of(_TOPS, "p p > t t~, (t > w+ b, w+ > e+ ve), (t~ > w- b~, w- > mu- vm~)"),
    scale="MT",
    dimensions=8,
    responses=MappingProxyType({"lepton": 0.05, "bjet": 0.10}),
    topology="top pair",
    assignments=(0, 1),
)

TTBAR_2L_ASSIGNMENT_0 = replace(
    TTBAR_2L, name="ttbar_2l_assignment_0", title=f"{TTBAR_2L.title}, jet 1 from t", assignments=(0,)
)
TTBAR_2L_ASSIGNMENT_1 = replace(
    TTBAR_2L, name="ttbar_2l_assignment_1", title=f"{TTBAR_2L.title}, jet 2 from t", assignments=(1,)
)

_W_PAIR = "w+ > e+ ve, w- > mu- vm~"

WW_2L = Process(
    name="ww_2l",
    title="pp → W⁺W⁻ → ℓ⁺ν ℓ'⁻ν̄'",
    reference="Brown and Mikaelian, Phys. Rev. D19 (1979) 922",
    outgoing=(-11, 12, 13, -14),
    classes=("lepton", "invisible", "lepton", "invisible"),
    columns=(*lepton_columns(2), *MISSING_COLUMNS),
    parameters=("MZ", "WZ", "WW", "aEWM1", "GF", "MW"),
    channels=QUARK_CHANNELS,
    matrix_elements=_of(QUARK_CHANNELS, f"p p > w+ w-, {_W_PAIR}"),
    scale=80.419,  # MW as derived
    dimensions=6,
    responses=MappingProxyType({"lepton": 0.05}),
    topology="W pair",
)

HIGGS_WW_2L = Process(
    name="higgs_ww_2l",
    title="gg → H → WW* → ℓ⁺ν ℓ'⁻ν̄'",
    reference="Djouadi, Phys. Rept. 457 (2008) 1, hep-ph/0503172",
    outgoing=(-11, 12, 13, -14),
    classes=("lepton", "invisible", "lepton", "invisible"),
    columns=(*lepton_columns(2), *MISSING_COLUMNS),
    parameters=("MZ", "WW", "MT", "MH", "WH", "aEWM1", "GF", "alpha_s", "MW"),
    channels=GLUON_CHANNELS,
    matrix_elements=_of(GLUON_CHANNELS, f"g g > h > w+ w-, {_W_PAIR}", _HEFT),
    scale="MH",
    dimensions=6,
    responses=MappingProxyType({"lepton": 0.05}),
    resonance=("MH", "WH"),
    topology="Higgs boson to W pair",
)


@dataclass(frozen=True)
class Line:
    """A process of the menu that is its reaction: all else follows from it."""

    title: str
    reaction: str
    scale: str | float | None = None
    """The factorisation scale Q, a parameter's name or GeV; None: the heaviest particle that is written."""
    model: str = "sm"
    """What the reaction is read in by default."""
    flavours: int = DEFAULT_FLAVOURS
    """Of quarks in a proton, by default: 5 where b quarks come in."""

    @property
    def theory(self) -> dict[str, Any]:
        """The settings that it is read in by default."""
        return {"model": self.model, "flavours": self.flavours}


_TOP, _TOP_TO_JETS = "(t > w+ b, w+ > l+ vl)", "(t~ > w- b~, w- > j j)"
_TOP_TO_LEPTONS = "(t~ > w- b~, w- > l- vl~)"
_MW = 80.419  # GeV, as derived

REACTIONS: dict[str, Line] = {
    "ttbar_1l": Line("pp → tt̄ → (b ℓν)(b jj)", f"p p > t t~, {_TOP}, {_TOP_TO_JETS} ; cc"),
    "ttbar_0l": Line("pp → tt̄ → (b jj)(b̄ jj)", "p p > t t~, (t > w+ b, w+ > j j), (t~ > w- b~, w- > j j)"),
    "tth_bb_1l": Line("pp → tt̄H → (b ℓν)(b jj)(bb̄)", f"p p > t t~ h, {_TOP}, {_TOP_TO_JETS}, h > b b~ ; cc"),
    "ttbb_1l": Line("pp → tt̄bb̄ → (b ℓν)(b jj)bb̄", f"p p > t t~ b b~, {_TOP}, {_TOP_TO_JETS} ; cc"),
    "tth_bb_2l": Line("pp → tt̄H → (b ℓ⁺ν)(b̄ ℓ⁻ν̄)(bb̄)", f"p p > t t~ h, {_TOP}, {_TOP_TO_LEPTONS}, h > b b~"),
    "ttbb_2l": Line("pp → tt̄bb̄ → (b ℓ⁺ν)(b̄ ℓ⁻ν̄)bb̄", f"p p > t t~ b b~, {_TOP}, {_TOP_TO_LEPTONS}"),
    "ttz_1l": Line("pp → tt̄Z → (b ℓν)(b jj)(ℓ⁺ℓ⁻)", f"p p > t t~ z, {_TOP}, {_TOP_TO_JETS}, z > l+ l- ; cc"),
    "ttw_2l": Line(
        "pp → tt̄W → (b ℓν)(b jj)(ℓ'ν), equal charges",
        f"p p > t t~ w+, {_TOP}, {_TOP_TO_JETS}, w+ > l+ vl ; cc",
    ),
    "tw_2l": Line("pp → tW → (b ℓν)(ℓ'ν)", f"p p > t w-, {_TOP}, w- > l- vl~ ; cc", flavours=5),
    "single_top_s": Line("pp → tb̄ → (b ℓν)b̄, s-channel", f"p p > t b~, {_TOP} ; cc"),
    "single_top_t": Line("pp → tj → (b ℓν)j, t-channel", f"p p > t j, {_TOP} ; cc", flavours=5),
    "wh_bb": Line("pp → WH → (ℓν)(bb̄)", "p p > w+ h, w+ > l+ vl, h > b b~ ; cc"),
    "zh_bb": Line("pp → ZH → (ℓ⁺ℓ⁻)(bb̄)", "p p > z h, z > l+ l-, h > b b~"),
    "zbb": Line("pp → γ*/Z bb̄ → ℓ⁺ℓ⁻bb̄", "p p > l+ l- b b~", scale="MZ"),
    "wjj": Line("pp → Wjj → ℓνjj", "p p > l+ vl j j ; cc", scale=_MW),
    "zjj": Line("pp → γ*/Z jj → ℓ⁺ℓ⁻jj", "p p > l+ l- j j", scale="MZ"),
    "vbf_higgs_4l": Line("pp → Hjj → (e⁺e⁻μ⁺μ⁻)jj, electroweak", "p p > h j j QCD=0, h > e+ e- mu+ mu-"),
    "wz_3l": Line(
        "pp → WZ → (ℓν)(ℓ'⁺ℓ'⁻), other flavour", "p p > e+ ve mu+ mu- ; p p > mu+ vm e+ e- ; cc", scale="MZ"
    ),
    "ww_2l_full": Line(
        "pp → ℓ⁺ν ℓ'⁻ν̄', e and μ, all diagrams",
        "p p > e+ ve mu- vm~ ; p p > mu+ vm e- ve~",
        scale=_MW,
    ),
    "diphoton": Line("pp → γγ, tree level", "p p > a a", scale=100.0),
    "higgs_diphoton": Line("gg → H → γγ", "g g > h > a a", model="heft"),
    "z_tautau": Line("pp → γ*/Z → τ⁺τ⁻", "p p > ta+ ta-", scale="MZ"),
    "higgs_tautau": Line("gg → H → τ⁺τ⁻", "g g > h > ta+ ta-", model="heft"),
}
"""By name; beside the processes above, which are definite."""
