"""qq̄ → 4ℓ against 24 diagrams with explicit Dirac matrices in extended precision, at hard points.

Shares nothing with the package but the parameters: every boson, order and helicity is summed by brute force,
and the sign between identical leptons is put in by hand. Where `longdouble` is no wider than `double`, it
still is a check of the algebra.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from deepmem.physics.amplitude import matrix_element
from deepmem.physics.theory.parameters import Parameters

REAL, COMPLEX = np.longdouble, np.clongdouble
SIGMA = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]]).astype(COMPLEX)
SIGN = np.array([1, -1, -1, -1], dtype=REAL)
GAMMA = np.zeros((4, 4, 4), dtype=COMPLEX)
GAMMA[:, :2, 2:] = SIGMA
GAMMA[:, 2:, :2] = SIGMA * SIGN[:, None, None]
L, R = 0, 1


def slash(v: np.ndarray) -> np.ndarray:
    return np.tensordot(v * SIGN, GAMMA, axes=1)


def spinor(p: np.ndarray, chirality: int) -> np.ndarray:
    """A massless spinor: p̸ on a constant one of the other chirality, brought to ψ†ψ = 2E."""
    constants = np.eye(4, dtype=COMPLEX)[2:] if chirality == L else np.eye(4, dtype=COMPLEX)[:2]
    psi = max((slash(p) @ constant for constant in constants), key=lambda x: np.sum(np.abs(x) ** 2))
    return psi * np.sqrt(2 * p[0] / np.sum(np.abs(psi) ** 2))


class Constants:
    """The couplings, from the parameters, in extended precision."""

    def __init__(self) -> None:
        p = Parameters()
        pi, alpha, m2 = 4 * np.arctan(REAL(1)), 1 / REAL(p.aEWM1), REAL(p.MZ) ** 2
        mw2 = m2 / 2 + np.sqrt(m2**2 / 4 - pi * alpha * m2 / (np.sqrt(REAL(2)) * REAL(p.GF)))
        self.e2, self.sin2 = 4 * pi * alpha, 1 - mw2 / m2
        self.pole = m2 - 1j * REAL(p.MZ) * REAL(p.WZ)

    def boson(self, name: str, s, f, x: int, g, y: int):
        """Coupling at both ends times the propagator; f and g are (charge, isospin)."""
        if name == "photon":
            return self.e2 * f[0] * g[0] / s
        at_f, at_g = (
            (isospin if chirality == L else 0) - charge * self.sin2
            for (charge, isospin), chirality in ((f, x), (g, y))
        )
        return self.e2 * at_f * at_g / (self.sin2 * (1 - self.sin2)) / (s - self.pole)


def amplitude(p: np.ndarray, helicities, pairs, quark) -> complex:
    """Sum over the emitting line, the order of emission, and both bosons: 3 × 2 × 4 diagrams."""
    constants = Constants()
    lepton = (REAL(-1), REAL(-1) / 2)
    # (row's leg, column's leg, their sum of outgoing momenta, the column's momentum in the sense of the line)
    ends = [(1, 0), *pairs]
    charges = [quark, lepton, lepton]
    outgoing = [-(p[0] + p[1]), *(p[i] + p[j] for i, j in pairs)]
    into = [p[0], *(-p[j] for _, j in pairs)]
    rows = [spinor(p[i], h).conj() @ GAMMA[0] for (i, _), h in zip(ends, helicities, strict=True)]
    columns = [spinor(p[j], h) for (_, j), h in zip(ends, helicities, strict=True)]
    currents = [
        np.einsum("i,mij,j->m", row, GAMMA, column) for row, column in zip(rows, columns, strict=True)
    ]

    def squared(k):
        return np.sum(k * k * SIGN)

    total = COMPLEX(0)
    for emitter in range(3):
        for near_row, near_column in (
            (a, b) for a in range(3) for b in range(3) if len({a, b, emitter}) == 3
        ):
            q = into[emitter] - outgoing[near_column]
            chain = (
                rows[emitter]
                @ slash(currents[near_row])
                @ slash(q)
                @ slash(currents[near_column])
                @ columns[emitter]
            )
            for bosons in product(("photon", "z"), repeat=2):
                factor = 1
                for name, line in zip(bosons, (near_row, near_column), strict=True):
                    factor = factor * constants.boson(
                        name,
                        squared(outgoing[line]),
                        charges[emitter],
                        helicities[emitter],
                        charges[line],
                        helicities[line],
                    )
                total += chain * factor / squared(q)
    return total


def brute_force(momenta: np.ndarray, quark, identical: bool) -> float:
    """Σ̄ |M|² over the helicities of all six legs."""
    p = momenta.astype(REAL)
    p[:, 0] = np.sqrt(np.sum(p[:, 1:] ** 2, axis=1))
    total = REAL(0)
    # chiralities of ℓ⁺ ℓ⁻ ℓ'⁺ ℓ'⁻, as spinors: a line joins two of one chirality
    for x, *h in product((L, R), repeat=5):
        m = COMPLEX(0)
        if h[0] == h[1] and h[2] == h[3]:
            m += amplitude(p, (x, h[1], h[3]), [(3, 2), (5, 4)], quark)
        if identical and h[2] == h[1] and h[0] == h[3]:
            m -= amplitude(p, (x, h[1], h[3]), [(3, 4), (5, 2)], quark)
        total += np.abs(m) ** 2
    return float(total / 12 / (4 if identical else 1))


def decays(energy: float, mass_a: float, mass_b: float, axis, rapidity: float = 0.0) -> np.ndarray:
    """One point `[6, 4]`: two pairs of given masses, back to back along `axis`, decaying at random."""
    generator = np.random.default_rng(0)
    p = np.zeros((6, 4), dtype=REAL)
    p[0], p[1] = [energy / 2, 0, 0, energy / 2], [energy / 2, 0, 0, -energy / 2]
    axis = np.array(axis, dtype=REAL) / np.linalg.norm(axis)
    for leg, mass, other, sign in ((2, mass_a, mass_b, 1), (4, mass_b, mass_a, -1)):
        mass, other = REAL(mass), REAL(other)
        total = (REAL(energy) ** 2 + mass**2 - other**2) / (2 * energy)
        boost = sign * np.sqrt(np.maximum(total**2 - mass**2, 0)) / mass
        rest = generator.normal(size=3).astype(REAL)
        rest *= mass / 2 / np.sqrt(np.sum(rest**2))
        for position, vector in ((leg, rest), (leg + 1, -rest)):
            along = np.sum(vector * axis)
            p[position, 1:] = vector + (along * (total / mass - 1) + boost * mass / 2) * axis
            p[position, 0] = np.sqrt(np.sum(p[position, 1:] ** 2))
    c, s = np.cosh(REAL(rapidity)), np.sinh(REAL(rapidity))
    p[:, 0], p[:, 3] = c * p[:, 0] + s * p[:, 3], s * p[:, 0] + c * p[:, 3]
    return p.astype(np.float64)


POINTS = {
    "plain": decays(250.0, 90.0, 60.0, [1, 2, 1]),
    "at rest, at threshold": decays(2 * 91.188 + 1e-9, 91.188, 91.188, [1, 0, 1]),
    "collinear leptons": decays(200.0, 1e-2, 91.0, [1, 1, -1]),
    "pair along the beam": decays(400.0, 91.0, 5.0, [1e-5, 0, 1]),
    "high rapidity": decays(300.0, 91.0, 80.0, [2, 1, 1], rapidity=4.5),
}
UP, DOWN = (REAL(2) / 3, REAL(1) / 2), (REAL(-1) / 3, REAL(-1) / 2)


@pytest.mark.parametrize(("process", "incoming", "quark"), [("zz_4l", (2, -2), UP), ("zz_4e", (1, -1), DOWN)])
def test_against_dirac_matrices(process, incoming, quark):
    momenta = np.stack(list(POINTS.values()))
    ours = matrix_element(process, incoming, momenta)
    expected = [brute_force(point, quark, identical=process == "zz_4e") for point in momenta]
    np.testing.assert_allclose(ours, expected, rtol=1e-10, err_msg=", ".join(POINTS))
