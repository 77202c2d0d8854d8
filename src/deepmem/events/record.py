"""What is read out of Pythia's event record: momenta, dressed leptons, tagged jets."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepmem.selection import CHARGED_LEPTONS, NEUTRINOS, delta_r

DRESSING = 0.1
"""ΔR within which a dressed lepton gets back its photons."""


JET_RADIUS = 0.4


LEAST_JET_PT = 10.0
"""Of a jet before the response, GeV."""


def momentum(particle: Any) -> tuple[float, float, float, float]:
    """(E, px, py, pz); a lepton's is its energy along its direction, E² = p⃗² exactly, as weights assume."""
    energy = particle.e()
    stretch = energy / particle.pAbs() if particle.idAbs() in CHARGED_LEPTONS + NEUTRINOS else 1.0
    return energy, particle.px() * stretch, particle.py() * stretch, particle.pz() * stretch


def before_decays_radiate(process: Any, event: Any, codes: tuple[int, ...]) -> np.ndarray:
    """Momenta `[legs, 4]` of the hard process, moved along with the tops, Ws or Higgs that it produced.

    A lepton from a W has recoiled against what the b quark of the same top radiated, so that momenta from
    the record of the whole event make no top.
    """
    found = {}
    for index in range(process.size()):
        particle = process[index]
        if particle.status() != 23:
            continue
        top = index
        while process[process[top].mother1()].statusAbs() != 21:
            top = process[top].mother1()
        # the first entries of both records are the same
        particle.bstback(process[top].p())
        particle.bst(event[event[top].iBotCopyId()].p())
        found[particle.id()] = momentum(particle)
    return np.array([found[code] for code in codes])


def dress(event: Any, leptons: np.ndarray) -> np.ndarray:
    """Add to each lepton the photons that are nearer to it than ΔR = 0.1, and to no other lepton nearer.

    They are final no longer, so that no jet has them too.
    """
    found = [
        p
        for p in (event[index] for index in range(event.size()))
        if p.id() == 22 and p.isFinal() and p.pT() > 0
    ]
    photons = np.array([(p.e(), p.px(), p.py(), p.pz()) for p in found]).reshape(-1, 4)
    distance = delta_r(leptons[:, None], photons[None])
    dressed = leptons.copy()
    for photon in range(len(photons)):
        lepton = int(distance[:, photon].argmin())
        if distance[lepton, photon] < DRESSING:
            dressed[lepton] += photons[photon]
            found[photon].statusNeg()
    length = np.sqrt((dressed[:, 1:] ** 2).sum(axis=1))
    dressed[:, 1:] *= (dressed[:, 0] / length)[:, None]
    return dressed


def jet_finder() -> Any:
    """Anti-kT jets of all final particles but neutrinos, by Pythia's own loop: FastJet prints a banner."""
    from pythia8mc import SlowJet

    anti_kt, not_neutrinos, own_masses, fastjet = -1, 2, 2, False
    return SlowJet(anti_kt, JET_RADIUS, LEAST_JET_PT, 25.0, not_neutrinos, own_masses, None, fastjet)


def tagged(finder: Any, event: Any, quarks: np.ndarray) -> np.ndarray:
    """The two hardest jets with a b quark, each in the place of the quark that it belongs to, or NaN.

    Of the two assignments, that of the smaller ΔR² + ΔR².
    """
    finder.analyze(event)
    jets: list[tuple[float, float, float, float]] = []
    # jets come by falling pT
    for index in range(finder.sizeJet()):
        if any(event[int(part)].idAbs() == 5 for part in finder.constituents(index)):
            p = finder.p(index)
            jets.append((p.e(), p.px(), p.py(), p.pz()))
        if len(jets) == 2:
            pair = np.array(jets)
            swapped = pair[::-1]
            closer = (delta_r(pair, quarks) ** 2).sum() <= (delta_r(swapped, quarks) ** 2).sum()
            return pair if closer else swapped
    return np.full((2, 4), np.nan)
