"""What a detector measures: a response for each class of particles, by |η|, of missing pT and the recoil."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Array

from deepmem.physics.detector.gaussians import Gaussian
from deepmem.physics.detector.response import (
    Delta,
    Point,
    Response,
    TransferError,
    Values,
    standard_normal,
)
from deepmem.physics.detector.taus import response_class
from deepmem.physics.precision import double_precision


class ByEta(eqx.Module):
    """Responses by region of |η|: region i ends where region i + 1 begins, and the last one at `limit`.

    `bounds` are the upper ends in |η| of all regions but the last, increasing. Beyond `limit` no response is
    known: a particle there has no weight, and σ_vis does not count it.
    """

    bounds: Values
    responses: tuple[Response, ...]
    limit: Values = np.inf

    @property
    def dimensions(self) -> int:
        """Integrations per particle."""
        return self.responses[0].dimensions

    def to_dict(self) -> dict[str, Any] | list[dict[str, Any]]:
        """The entry of a configuration that makes these responses, for `response`."""
        entries = [each.to_dict() for each in self.responses]
        for entry, end in zip(entries, [*np.asarray(self.bounds), self.limit], strict=True):
            entry |= {} if np.isinf(end) else {"eta_max": float(end)}
        return entries[0] if len(entries) == 1 else entries

    def at(self, eta: Values) -> Response:
        """The response of the region that `eta` lies in (a number; batch from outside)."""
        if len(self.responses) == 1:
            return self.responses[0]
        index = jnp.searchsorted(jnp.asarray(self.bounds), jnp.abs(eta), side="right")
        flat = [jax.tree.flatten(response) for response in self.responses]
        alike = len({(str(tree), str([np.shape(leaf) for leaf in leaves])) for leaves, tree in flat}) == 1
        if alike:
            return jax.tree.map(lambda *leaves: jnp.stack(leaves)[index], *self.responses)
        return _Chosen(index, self.responses)


class _Chosen(Response):
    """One of several responses of different shapes: all are computed, one is taken."""

    index: Array
    responses: tuple[Response, ...]
    dimensions: ClassVar[int] = 1

    def density(self, rec: Values, gen: Values) -> Array:
        return self._take([response.density(rec, gen) for response in self.responses])

    def draw(self, gen: Values, u: Values) -> Array:
        return self._take([response.draw(gen, u) for response in self.responses])

    def above(self, rec: Values, gen: Values) -> Array:
        return self._take([response.above(rec, gen) for response in self.responses])

    def support(self, rec: Values, mass: Values = 0.0) -> tuple[Array, Array]:
        low, high = zip(*(response.support(rec, mass) for response in self.responses), strict=True)
        return self._take(low), self._take(high)

    def flatten(self, u: Values, rec: Values, mass: Values = 0.0, stretch: Values = 1.0) -> Point:
        gen, weight = zip(*(r.flatten(u, rec, mass, stretch) for r in self.responses), strict=True)
        return self._take(gen), self._take(weight)

    def flatten_below(self, u: Values, rec: Values, limit: Values) -> Point:
        gen, weight = zip(*(r.flatten_below(u, rec, limit) for r in self.responses), strict=True)
        return self._take(gen), self._take(weight)

    def scale(self, energy: Values) -> Array:
        return self._take([response.scale(energy) for response in self.responses])

    def covers(self, rec: Values) -> Array:
        return self._take([response.covers(rec) for response in self.responses])

    def to_dict(self) -> dict[str, Any]:
        raise TransferError("one of several responses is described by all of them, see ByEta")

    def _take(self, values: Sequence[Values]) -> Array:
        return jnp.stack(jnp.broadcast_arrays(*values))[self.index]


class MissingMomentum(eqx.Module):
    """The response of missing pT: a Gaussian in each component, σ² = c² + b² H.

    H is what the event's calorimeter activity is measured by (a scalar sum of pT in GeV); b in √GeV, c in
    GeV.
    """

    b: Values = 0.0
    c: Values = 0.0

    def to_dict(self) -> dict[str, float]:
        """The entry of a configuration that makes this response."""
        return {"b": float(self.b), "c": float(self.c)}

    def sigma(self, activity: Values = 0.0) -> Array:
        """σ of one component in GeV."""
        return jnp.sqrt(self.c**2 + self.b**2 * activity)

    def density(
        self, rec: tuple[Values, Values], gen: tuple[Values, Values], activity: Values = 0.0
    ) -> Array:
        """T in GeV⁻², for (p_x, p_y) in GeV."""
        sigma = self.sigma(activity)
        return (
            standard_normal((rec[0] - gen[0]) / sigma) * standard_normal((rec[1] - gen[1]) / sigma) / sigma**2
        )

    def draw(
        self, gen: tuple[Values, Values], u: tuple[Values, Values], activity: Values = 0.0
    ) -> tuple[Array, Array]:
        """Reconstructed (p_x, p_y) from the true ones and two uniform numbers."""
        sigma = self.sigma(activity)
        return gen[0] + sigma * ndtri(u[0]), gen[1] + sigma * ndtri(u[1])

    def flatten(
        self, u: tuple[Values, Values], rec: tuple[Values, Values], activity: Values = 0.0
    ) -> tuple[tuple[Array, Array], Array]:
        """True (p_x, p_y) by Gaussian quantiles, and T d²p/d²u, which is 1; nothing is cut."""
        sigma = self.sigma(activity)
        return (rec[0] + sigma * ndtri(u[0]), rec[1] + sigma * ndtri(u[1])), jnp.ones_like(sigma)


class Recoil(MissingMomentum):
    """The response of the recoil K, minus the p_T of all legs together, and what is known of K beforehand.

    K_meas, minus the p_T of all that was measured, missing p_T included, is K with the noise of
    `MissingMomentum`. The prior is (1 + K²/K₀²)⁻² with `K0` in GeV; it is 1 for an infinite one.
    """

    K0: Values = np.inf

    def to_dict(self) -> dict[str, float]:
        """The entry of a configuration that makes this response."""
        return super().to_dict() | ({} if np.isinf(self.K0) else {"K0": float(self.K0)})

    def prior(self, total: tuple[Values, Values]) -> Array:
        """Of the p_T (p_x, p_y) of all legs in GeV, 1 at 0."""
        return 1 / (1 + (total[0] ** 2 + total[1] ** 2) / self.K0**2) ** 2


class Detector(eqx.Module):
    """What is seen of an event: each class of particles with its response, missing pT and recoil with theirs.

    One detector serves weights, cross-sections and events. `missing` is None where missing pT is measured
    perfectly, or not used; `recoil` where the recoil is not used. Make it with `entries.detector`, of which
    `to_dict` is the inverse.
    """

    by_class: dict[str, ByEta]
    missing: MissingMomentum | None = None
    recoil: Recoil | None = None

    def to_dict(self) -> dict[str, Any]:
        """The key `response` of a configuration that makes this detector, all its numbers in it."""
        entries: dict[str, Any] = {name: response.to_dict() for name, response in self.by_class.items()}
        entries |= {} if self.missing is None else {"met": self.missing.to_dict()}
        return entries | ({} if self.recoil is None else {"recoil": self.recoil.to_dict()})

    def used_by(self, met: str) -> Detector:
        """Without that of the responses of missing pT and recoil which a choice of `met` has no use for."""
        return Detector(self.by_class, *((None, self.recoil) if met == "recoil" else (self.missing, None)))

    @property
    def transverse(self) -> MissingMomentum | None:
        """The response of a measured p_T: of the recoil where it is used, else of what is missing."""
        return self.missing if self.recoil is None else self.recoil

    def draw_missing(
        self,
        escaped: tuple[Values, Values],
        total: tuple[Values, Values],
        seen: tuple[Values, Values],
        activity: Values,
        u: tuple[Values, Values],
    ) -> tuple[Values, Values]:
        """The measured missing (p_x, p_y) in GeV: −Σ measured − K_meas where the recoil is used.

        **Arguments:** true p_T of what `escaped`, and of all legs, `total` = −K; the measured one of all
        that is `seen`; `activity` as for `MissingMomentum`; `u`, two uniform numbers in (0, 1).
        """
        if self.recoil is not None:
            # minus K_meas
            drawn = self.recoil.draw(total, u, activity)
            return drawn[0] - seen[0], drawn[1] - seen[1]
        return escaped if self.missing is None else self.missing.draw(escaped, u, activity)

    def of(self, kind: str) -> ByEta:
        """The responses of a class of legs: of an electron or a muon of a tau, those of leptons."""
        return self.by_class[response_class(kind)]

    def dimensions(self, classes: Iterable[str]) -> int:
        """Energies to integrate over, of particles of these classes: one measured perfectly has none."""
        return sum(self.of(kind).dimensions for kind in classes)

    def covers(self, classes: Sequence[str], eta: np.ndarray, energy: np.ndarray) -> np.ndarray:
        """Which measured particles have a response: within the last region of |η|, and the tables' energies.

        **Arguments:** `classes` of the legs; `eta` and `energy` (GeV), NumPy arrays `[events, legs]`.
        """
        covered = []
        with double_precision():
            for leg, kind in enumerate(classes):
                by_eta = self.of(kind)
                region = np.searchsorted(np.asarray(by_eta.bounds), np.abs(eta[:, leg]), side="right")
                each = [np.asarray(response.covers(energy[:, leg])) for response in by_eta.responses]
                known = np.choose(np.minimum(region, len(each) - 1), each)
                covered.append(known & (np.abs(eta[:, leg]) < by_eta.limit))
        return np.stack(covered, axis=1)

    @property
    def gaussian(self) -> bool:
        """Whether all responses are Gaussians, or perfect."""
        return all(isinstance(response, Gaussian | Delta) for response in self.responses)

    @property
    def responses(self) -> list[Response]:
        """All of its responses of energies, whatever their class and region."""
        return [response for by_eta in self.by_class.values() for response in by_eta.responses]

    def draw(
        self, kind: str, eta: Values, energy: Values, u: Values, mass: Values = 0.0
    ) -> tuple[Array, Array]:
        """The measured energy of one particle, and whether a weight's integral reaches its true energy.

        It does not where the true energy lies outside of the support of the measured one, or η beyond the
        last region: such an event counts neither in a weight nor in σ_vis.

        **Arguments:** `kind`, its class; `eta`; `energy` and `mass` in GeV; `u`, a uniform number in (0, 1).
        """
        response = self.of(kind)
        here = response.at(eta)
        rec = here.draw(energy, u)
        return rec, here.reaches(rec, energy, mass) & (jnp.abs(eta) < response.limit)

    def reach(self, energies: np.ndarray) -> tuple[float, float]:
        """Bounds of E_gen/E_rec that the responses allow at measured energies `[energies]` in GeV."""
        with double_precision():
            limits = _supports(self.responses, energies)
            ratios = [np.asarray(limit) / energies for each in limits for limit in each]
        return float(np.min(ratios)), float(np.max(ratios))


@jax.jit
def _supports(responses: list[Response], energies: Array) -> list[tuple[Array, Array]]:
    return [jax.vmap(response.support)(energies) for response in responses]
