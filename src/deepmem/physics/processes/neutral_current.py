"""The s-channel exchange of a photon or a Z between massless fermions."""

from __future__ import annotations

from typing import NamedTuple

from deepmem.kinematics import Scalar
from deepmem.physics.spinors import Complex, breit_wigner
from deepmem.physics.theory.parameters import Chiral, Electroweak, Parameters


class NeutralCurrent(NamedTuple):
    """Both propagators at one invariant mass, times e²."""

    photon: Scalar
    z: Complex

    def between(self, f: Chiral, x: str, g: Chiral, y: str) -> Complex:
        """P_XY(s) = e² [Q_f Q_g / s + g_fX g_gY / (s − MZ² + i MZ ΓZ)], in GeV⁻².

        The currents of massless fermions are conserved and chiral, so photon and Z differ by this factor
        alone. **Arguments:** two fermions, and the chirality ("L" or "R") of each.
        """
        return f.charge * g.charge * self.photon + f.z(x) * g.z(y) * self.z


def neutral_current(s: Scalar, p: Parameters, ew: Electroweak, photon: bool = True) -> NeutralCurrent:
    """Photon (unless left out) and Z at s in GeV², with a fixed width."""
    e2 = ew.e**2
    return NeutralCurrent(e2 / s if photon else 0.0, e2 * breit_wigner(s, p.MZ, p.WZ))
