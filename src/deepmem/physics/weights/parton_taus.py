"""Decays of taus of generated events: what of each is seen, by f(x), see `detector.taus`. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepmem.physics.detector.taus import HADRONIC, HADRONS, LEPTONIC, TAUS, drawn
from deepmem.physics.errors import ParameterError

_WORDS = {"h": HADRONIC, "l": LEPTONIC}


def decayed(name: str, kinds: Sequence[str], taus: str | None) -> tuple[str, ...]:
    """The classes of the legs of a reaction, each tau's by what it is seen as.

    **Arguments:** `name` of the reaction; `taus`, a letter for each tau in the order of the legs, h: hadrons,
    l: an electron or a muon; None: all hadrons.

    **Raises** `ParameterError` for other letters, or another number of them.
    """
    legs = [leg for leg, kind in enumerate(kinds) if kind in TAUS]
    letters = "h" * len(legs) if taus is None else taus
    if len(letters) != len(legs) or not {*letters} <= {*_WORDS}:
        raise ParameterError(
            f"taus must say for each of the {len(legs)} taus of {name} whether it is seen as hadrons (h) or "
            f"as an electron or a muon (l), such as hl, got {taus!r}"
        )
    found = list(kinds)
    for leg, letter in zip(legs, letters, strict=True):
        found[leg] = _WORDS[letter]
    return tuple(found)


def seen_of_tau(
    kind: str, p: np.ndarray, mass: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What is seen of taus: momenta `[points, 4]`, in their directions, and masses in GeV `[points]`.

    **Arguments:** `kind`, the class; `p` of taus `[points, 4]` in GeV, of a `mass`.
    """
    own = np.zeros(len(p))
    if kind == HADRONIC:
        masses, shares = np.array(HADRONS).T
        own = masses[np.searchsorted(np.cumsum(shares)[:-1], rng.random(len(p)))]
    # never at rest, so that it has a direction
    least = own * (1 + 1e-6)
    energy = np.maximum(p[:, 0] * drawn(kind, rng.random(len(p)), (own / mass) ** 2), least)
    size = np.sqrt(energy**2 - own**2) / np.sqrt((p[:, 1:] ** 2).sum(axis=1))
    return np.column_stack([energy, p[:, 1:] * size[:, None]]), own
