"""How Pythia 8 makes each process, and what is kept of it by default."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from deepmem.errors import UsageError, nearest
from deepmem.physics.processes.base import Process
from deepmem.physics.theory.parameters import Parameters
from deepmem.physics.weights.sampling import default_masses
from deepmem.selection import Selection

PARAMETERS = {
    "sqrt_s": "Beams:eCM",
    "MZ": "23:m0",
    "MW": "24:m0",
    "WW": "24:mWidth",
    "MT": "6:m0",
    "WT": "6:mWidth",
    "MB": "5:m0",
    "MH": "25:m0",
    "WH": "25:mWidth",
}
"""What Pythia is told, where a recipe has it, and what Pythia calls it.

Its couplings are its own (sin²θ_W stays when MZ changes), and so is the width of the Z, which γ*/Z takes
from them.
"""


@dataclass(frozen=True)
class Recipe:
    """How Pythia makes a process, and what is kept of it by default."""

    settings: tuple[str, ...]
    selection: Selection
    parameters: tuple[str, ...]
    """Those of `PARAMETERS` that it depends on."""
    missing_pt: float | None = None
    """Noise of each component of missing pT in GeV; None: none, and no missing pT without neutrinos."""
    heaviest: bool = False
    """Whether √ŝ is bounded above, at twice the selection's mass window: most of the rate lies beyond it."""


_Z = ("sqrt_s", "MZ")


_W = ("sqrt_s", "MW", "WW")


_HIGGS = ("MH", "WH")


_FOUR_LEPTONS = Selection(lepton_pt=(5.0,), lepton_eta=2.5, mass=(105.0, 140.0))


_TWO_LEPTONS = Selection(lepton_pt=(20.0, 10.0), lepton_eta=2.5)


_Z_DECAYS = ("23:doForceWidth = on", "23:onMode = off")


_W_DECAYS = ("24:doForceWidth = on", "24:onMode = off")


_TOP_DECAYS = ("6:doForceWidth = on", "6:onMode = off", "6:onIfMatch = 24 5")


_HIGGS_DECAYS = ("HiggsSM:gg2H = on", "25:doForceWidth = on", "25:onMode = off")


_DRELL_YAN = Recipe(
    ("WeakSingleBoson:ffbar2gmZ = on", *_Z_DECAYS),
    replace(_TWO_LEPTONS, mass=(40.0, np.inf)),
    _Z,
    missing_pt=8.0,
)


_ZZ = Recipe(
    ("WeakDoubleBoson:ffbar2gmZgmZ = on", *_Z_DECAYS, "23:mMin = 4"), _FOUR_LEPTONS, _Z, heaviest=True
)


_HIGGS_ZZ = Recipe(
    (*_HIGGS_DECAYS, "25:onIfMatch = 23 23", *_Z_DECAYS, "23:mMin = 4"), _FOUR_LEPTONS, _Z + _HIGGS
)


_TOPS = Recipe(
    ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *_TOP_DECAYS, *_W_DECAYS),
    Selection(lepton_pt=(20.0,), lepton_eta=2.5, jet_pt=(25.0,), jet_eta=2.5, jet_delta_r=0.4),
    (*_W, "MT", "WT", "MB"),
)


_WW = Recipe(("WeakDoubleBoson:ffbar2WW = on", *_W_DECAYS), _TWO_LEPTONS, (*_W, "MZ"))


_HIGGS_WW = Recipe(
    (*_HIGGS_DECAYS, "25:onIfMatch = 24 24", *_W_DECAYS, "24:mMin = 1"), _TWO_LEPTONS, _W + _HIGGS
)


RECIPES: dict[str, Recipe] = {
    "drell_yan": _DRELL_YAN,
    **dict.fromkeys(("zz_4l", "zz_4e", "zz_4mu"), _ZZ),
    **dict.fromkeys(("higgs_4l", "higgs_4e", "higgs_4mu"), _HIGGS_ZZ),
    "ttbar_2l": _TOPS,
    "ww_2l": _WW,
    "higgs_ww_2l": _HIGGS_WW,
}


def recipe_of(process: str) -> Recipe:
    if process not in RECIPES:
        raise UsageError(
            f"{process} cannot be generated{nearest(process, RECIPES)}; there are recipes for "
            f"{', '.join(RECIPES)}"
        )
    return RECIPES[process]


def usual_selection(process: Process, recipe: Recipe, p: Parameters) -> Selection:
    """The recipe's cuts; the mass window of four leptons is that of σ, so it follows the Higgs boson's."""
    if len(process.outgoing) == 4 and not process.invisible:
        return replace(recipe.selection, mass=default_masses(process, p))
    return recipe.selection
