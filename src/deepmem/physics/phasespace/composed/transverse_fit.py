"""Tables of the p_T of a neutrino below one resonance (`transverse`), from what is likely in its event.

Where energies and k go along with a mass that is off its pole, there is a table at the pole, one where the
mass was measured, and one between. What k leaves of the likelihood is a factor of the mass's own shares.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from deepmem.kinematics import Scalar
from deepmem.physics.phasespace.composed import transverse
from deepmem.physics.phasespace.composed.masses import CELLS, edges, shape_of
from deepmem.physics.phasespace.composed.pulls import EVEN, FARTHEST, NO_SOLUTION, REACH, TEMPER, Pulls

# Of ln √s/m as measured, where tables are made.
_LEAST_OFF = 1e-3


class OfMissing:
    """The p_T of the neutrino of one event, where it has a table.

    **Arguments:** `of_missing`, dlnE per standard deviation of missing p_T `[n, 2]`; `spread`, the lower
    triangle of the covariance of p_T in these `[2, 2]`.
    """

    def __init__(self, pulls: Pulls, of_missing: Scalar, spread: Scalar) -> None:
        composition, shared, event = pulls.composition, pulls.shared, pulls.chain.event
        self.pulls, neutrino = pulls, composition.neutrino
        assert neutrino is not None
        self.sigma = shared.detector.transverse.sigma(event.activity)  # type: ignore[union-attr]
        self.missing = jnp.stack([event.missing[0], event.missing[1]])
        lepton = pulls.chain.momentum(neutrino.lepton, pulls.chain.measured(neutrino.lepton))
        self.scale = transverse.scale_of(composition, shared, lepton)
        axes = (transverse.along(lepton, each) for each in ((1.0, 0.0), (0.0, 1.0)))
        self.turn = jnp.stack([jnp.stack(each) for each in axes]).T
        self.slope, self.spread = of_missing @ self.turn.T / self.sigma, self.sigma * self.turn @ spread

    def tables(self, x: Scalar, t: Scalar, path: Scalar, shares: Scalar) -> tuple[transverse.Tables, Scalar]:
        """Along the mass that is farthest off its pole, with which others and energies go."""
        poles = self.pulls.poles
        if not poles:
            each, _ = jax.tree.map(lambda part: part[None], self._table(x, x, t))
            return transverse.Tables(each, jnp.asarray(0), self.slope, self.scale), shares
        off, sigma = jnp.stack([jnp.stack(self.pulls.measured_mass(q)) for q in range(len(poles))]).T
        q = jnp.argmax(jnp.abs(off) / sigma)
        measured = jnp.clip(off[q], *REACH)
        measured = jnp.where(jnp.abs(measured) < _LEAST_OFF, _LEAST_OFF, measured)

        def there(place: Scalar) -> tuple[transverse.Table, Scalar]:
            move = jnp.clip(place * measured - t[q], -FARTHEST, FARTHEST) * path[:, q]
            at = (t + move[len(x) :]).at[q].set(place * measured)
            return self._table(x, x + move[: len(x)], at)

        each, logs = jax.vmap(there)(jnp.asarray(transverse.PLACES))
        return transverse.Tables(each, q, self.slope, self.scale), self._shares(shares, q, measured, logs)

    def _shares(self, shares: Scalar, q: Scalar, measured: Scalar, logs: Scalar) -> Scalar:
        """Of cells of all masses, that of one with what p_T leaves where tables are, linear in between."""
        places, found = jnp.asarray(transverse.PLACES), []
        for k, (shape, pole) in enumerate(zip(self.pulls.shapes, self.pulls.poles, strict=True)):
            theta, strength = edges(shape), shape.mass * shape.width
            middle = jnp.minimum((theta[:, 1:] + theta[:, :-1]) / 2, np.pi / 2 - 1e-9)
            s = (shape.mass**2)[:, None] + strength[:, None] * jnp.tan(middle)
            of_cell = (0.5 * jnp.log(jnp.maximum(s, 1e-3)) - jnp.log(pole)) / measured
            factor = TEMPER * jnp.interp(of_cell, places, logs - logs.max())
            share = (shares[k] - EVEN / CELLS) * jnp.exp(jnp.where(k == q, factor, 0.0))
            found.append((1 - EVEN) * share / share.sum(axis=-1, keepdims=True) + EVEN / CELLS)
        return jnp.concatenate([jnp.stack(found), shares[len(found) :]])

    def _table(self, fitted: Scalar, x: Scalar, t: Scalar) -> tuple[transverse.Table, Scalar]:
        """With energies x and masses t; and ln of its cells' likelihood in all, over that of the energies."""
        pulls, recoil = self.pulls, self.pulls.shared.detector.recoil
        centre = self.turn @ jnp.stack(pulls.aim(x, t))
        alpha, beta = transverse.edges(centre, self.spread, self.scale)
        resonance = pulls.composition.tree.resonances[pulls.composition.neutrino.masses[0]]  # type: ignore[union-attr]
        shape = shape_of(pulls.shared.parameters, resonance.mass, resonance.width).of(0)

        def at(alpha: Scalar, beta: Scalar) -> tuple[Scalar, Scalar]:
            k = jnp.stack(transverse.components(alpha, beta, self.scale))
            there = x + jnp.clip(self.slope @ (k - centre), -FARTHEST, FARTHEST)
            z, exists = pulls(there, t)
            off = self.turn.T @ k - jnp.stack(pulls.aim(there, t))
            log = transverse.log_factor(alpha, beta, shape.width / shape.mass)
            if recoil is not None:
                log = log + jnp.log(recoil.prior(tuple(off + self.missing)))
            chi2 = (z**2).sum() + (off**2).sum() / self.sigma**2
            return chi2 + jnp.where(exists, 0.0, NO_SOLUTION), log

        chi2, log = jax.vmap(jax.vmap(at))(*transverse.nodes(alpha, beta))
        rows, columns, total = transverse.shares(chi2, log, alpha, beta)
        z, _ = pulls(x, t)
        return transverse.Table(rows, columns, alpha, beta, centre, x - fitted, t), total + (z**2).sum() / 2
