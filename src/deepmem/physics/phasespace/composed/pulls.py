"""The pulls of what was measured of an event, z = (Ē/E − 1)/r, as a function of energies and masses."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import FourVector, Scalar, add, dot
from deepmem.physics.detector.gaussians import Gaussian
from deepmem.physics.phasespace.composed.chain import Chain
from deepmem.physics.phasespace.composed.masses import shape_of
from deepmem.physics.phasespace.composition import Composition
from deepmem.physics.phasespace.visible import Shared, Visible

FARTHEST = 1.5
"""How far ln √s moves energies along."""
REACH = (-4.0, 4.5)
"""The range of ln √s/m in which there is a profile."""
NO_SOLUTION = 200.0
"""Added to χ² where an energy does not exist."""
TEMPER, EVEN = 0.8, 0.04
"""How sharply cells of a mass follow its profile, and the part of them that is even."""
_LARGEST_PULL = 25.0
# Of a measured mass from its pole, in standard deviations; and how far off a start may be, in ln √s.
TENSION, _LARGEST_ANCHOR, _LARGEST_START = 3.5, 4.0, 1.2
_QUANTILES = np.array([0.15865525393145707, 0.5, 0.8413447460685429])


class Allowed(NamedTuple):
    """What responses allow, of each visible leg."""

    median: Scalar
    """Ē, GeV."""
    width: Scalar
    """r; 0 of a perfect measurement."""


def allowed_energies(chain: Chain) -> Allowed:
    medians, widths = [], []
    for i, response in enumerate(chain.seen.responses):
        rec, mass = chain.event.legs.energy[i], chain.event.legs.mass[i]
        low = middle = high = rec
        if isinstance(response, Gaussian):
            low, high = response.resolution.energy(rec, 1.0), response.resolution.energy(rec, -1.0)
        elif response.dimensions:
            low, middle, high = (response.flatten(u, rec, mass)[0] for u in _QUANTILES)
        medians.append(middle)
        widths.append(middle * (1 / low - 1 / high) / 2)
    return Allowed(jnp.stack(medians), jnp.stack(widths))


class Pulls:
    """The pulls of one event as a function of x = ln E/Ē of the drawn legs, and t."""

    def __init__(self, composition: Composition, shared: Shared, event: Visible, allowed: Allowed) -> None:
        self.chain = Chain(composition, shared, event)
        self.composition, self.shared, self.allowed = composition, shared, allowed
        resonances = [composition.tree.resonances[each.resonance] for each in composition.solves]
        self.shapes = [shape_of(shared.parameters, each.mass, each.width) for each in resonances]
        self.poles = [shape.mass[0] for shape in self.shapes]

    def _of(self, number: int, energy: Scalar) -> Scalar:
        place = self.chain.place[number]
        return (self.allowed.median[place] / energy - 1) / self.allowed.width[place]

    def __call__(self, x: Scalar, t: Scalar) -> tuple[Scalar, Scalar]:
        """All pulls, and whether all energies exist."""
        composition = self.composition
        momenta, valid = self.momenta(x, t)
        numbers = (*composition.drawn, *(each.leg for each in composition.solves))
        pulls = [self._of(number, momenta[number][0]) for number in numbers]
        if composition.missing == "recoil" and composition.neutrino is None and composition.pair is None:
            event, total = self.chain.event, add(*momenta.values())
            sigma = self.shared.detector.transverse.sigma(event.activity)  # type: ignore[union-attr]
            pulls += [(total[i + 1] - event.missing[i]) / sigma for i in (0, 1)]
        if not pulls:
            return jnp.zeros(0), jnp.asarray(True)
        exists = jnp.all(jnp.stack(valid)) if valid else jnp.asarray(True)
        return jnp.clip(jnp.stack(pulls), -_LARGEST_PULL, _LARGEST_PULL), exists

    def momenta(self, x: Scalar, t: Scalar) -> tuple[dict[int, FourVector], list[Scalar]]:
        """Of all legs that are known by x and t, and which energies exist."""
        drawn = [
            self.allowed.median[self.chain.place[number]] * jnp.exp(x[i])
            for i, number in enumerate(self.composition.drawn)
        ]
        momenta = self.chain.known(drawn)
        s = [(pole * jnp.exp(t[q])) ** 2 for q, pole in enumerate(self.poles)]
        return momenta, [solution.valid for solution in self.chain.solutions(s, momenta)]

    def transverse(self, x: Scalar, t: Scalar) -> tuple[Scalar, Scalar]:
        """The p_T of all legs that are no taus, GeV."""
        momenta, _ = self.momenta(x, t)
        if not momenta:
            return jnp.asarray(0.0), jnp.asarray(0.0)
        total = add(*momenta.values())
        return total[1], total[2]

    def aim(self, x: Scalar, t: Scalar) -> tuple[Scalar, Scalar]:
        """The p_T that is missing with these energies, GeV."""
        missing = self.chain.event.missing[0], self.chain.event.missing[1]
        if self.composition.missing != "recoil":
            return missing
        total = self.transverse(x, t)
        return missing[0] - total[0], missing[1] - total[1]

    def of_missing(self, x: Scalar, t: Scalar) -> Scalar:
        """The pulls of a neutrino's p_T of 0 `[2]`, where it has a table: they move with the energies."""
        if not self.composition.transverse:
            return jnp.zeros(0)
        sigma = self.shared.detector.transverse.sigma(self.chain.event.activity)  # type: ignore[union-attr]
        return -jnp.stack(self.aim(x, t)) / sigma

    def measured_mass(self, q: int) -> tuple[Scalar, Scalar]:
        """ln √s/m of the measured energies of a resonance, and its standard deviation."""
        each = self.composition.solves[q]
        numbers = (*each.others, each.leg)
        momenta = [
            self.chain.momentum(number, self.allowed.median[self.chain.place[number]]) for number in numbers
        ]
        total = add(*momenta)
        s = jnp.maximum(dot(total, total), 1e-3)
        # ∂ ln √s/∂ ln E of massless legs is P·p/s
        variance = [
            (self.allowed.width[self.chain.place[number]] * dot(total, p) / s) ** 2
            for number, p in zip(numbers, momenta, strict=True)
        ]
        return 0.5 * jnp.log(s) - jnp.log(self.poles[q]), jnp.sqrt(sum(variance))

    def start(self) -> tuple[Scalar, Scalar, Scalar]:
        """x and t where the fit begins, and t as measured."""
        composition, measured = self.composition, []
        x, t = jnp.zeros(len(composition.drawn)), jnp.zeros(len(self.poles))
        solved = {each.leg for each in composition.solves}
        for q, each in enumerate(composition.solves):
            off, sigma = self.measured_mass(q)
            far = jnp.abs(off) > TENSION * sigma
            measured.append(jnp.clip(off, -_LARGEST_ANCHOR, _LARGEST_ANCHOR))
            t = t.at[q].set(jnp.where(far, measured[q], 0.0))
            if solved & set(each.others):
                continue
            for number in set(each.others) & set(composition.drawn):
                place = composition.drawn.index(number)
                x = x.at[place].set(jnp.clip(t[q] - off, -_LARGEST_START, _LARGEST_START))
        return x, t, jnp.stack(measured) if measured else t
