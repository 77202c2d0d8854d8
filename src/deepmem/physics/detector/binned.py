"""A response that is a histogram in E_gen and E_rec − E_gen."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from deepmem.errors import DeepMEMWarning
from deepmem.physics.detector.response import Point, Response, TransferError, Values, clipped

_LARGEST_FLOW = 0.01
# A column that ends at more than this part of its peak does not look whole; and half of the second axis in
# GeV below which it does not look like GeV where E_gen is above 10.
_HIGH_END, _NARROW = 0.25, 0.5


class Binned(Response):
    """A histogram in E_gen (first axis) and E_rec − E_gen (second axis), as MoMEMta has it.

    Every column of E_gen is normalised to 1 over the second axis. T is a step function: the support is all
    of the second axis, nothing is lost. An E_rec beyond the first axis has no response: such an event has
    no weight, and σ_vis does not count it. For an E_gen just beyond the axis the nearest column counts.
    """

    gen_edges: Values
    difference_edges: Values
    contents: Values
    dimensions: ClassVar[int] = 1

    @classmethod
    def from_counts(cls, counts: np.ndarray, gen_edges: np.ndarray, difference_edges: np.ndarray) -> Binned:
        """From bin contents `[gen, difference]` (any normalisation) and edges in GeV.

        **Warns** (`DeepMEMWarning`) where columns end high above 0, or the second axis does not look like
        GeV.

        **Raises** `TransferError` if the shapes don't fit, an axis can't be one of energies, or a column is
        empty or negative.
        """
        counts, gen_edges, difference_edges = (
            np.asarray(array, dtype=float) for array in (counts, gen_edges, difference_edges)
        )
        if counts.shape != (len(gen_edges) - 1, len(difference_edges) - 1):
            raise TransferError(
                f"a binned response needs contents of shape [E_gen bins, E_rec − E_gen bins] = "
                f"{len(gen_edges) - 1, len(difference_edges) - 1}, got {counts.shape}"
            )
        for name, edges in (("E_gen", gen_edges), ("E_rec − E_gen", difference_edges)):
            if not (np.isfinite(edges).all() and (np.diff(edges) > 0).all()):
                raise TransferError(
                    f"the edges of a binned response's {name} bins must be finite and increase, got {edges}"
                )
        if gen_edges[0] < 0:
            raise TransferError(
                "the first axis of a binned response is E_gen, which is not negative, got "
                f"{gen_edges[0]:g} to {gen_edges[-1]:g} GeV: are the axes in the other order?"
            )
        if not difference_edges[0] < 0 < difference_edges[-1]:
            raise TransferError(
                "the second axis of a binned response is E_rec − E_gen in GeV, on both sides of 0, got "
                f"{difference_edges[0]:g} to {difference_edges[-1]:g}: is it a ratio?"
            )
        total = counts.sum(axis=1)
        bad = ~(np.isfinite(counts).all(axis=1) & (counts >= 0).all(axis=1) & (total > 0))
        if bad.any():
            first = int(np.argmax(bad))
            raise TransferError(
                "a binned response needs contents ≥ 0 and none of its E_gen columns empty; look at column "
                f"{first}, {gen_edges[first]:g} to {gen_edges[first + 1]:g} GeV"
            )
        density = counts / total[:, None] / np.diff(difference_edges)
        _warn_of_odd_axes(density, gen_edges, difference_edges)
        return cls(gen_edges, difference_edges, density)

    @classmethod
    def from_root(cls, where: str) -> Binned:
        """From a TH2 in a ROOT file, `where` being `path:histogram`.

        **Raises** `TransferError` if there is no such file, no two-dimensional histogram of that name in
        it, or more than a hundredth of its contents in under- and overflow.
        """
        import uproot

        path, _, name = where.rpartition(":")
        if not path:
            raise TransferError(f"a histogram is given as path.root:name, got {where!r}")
        try:
            with uproot.open(path) as file:
                counts, gen_edges, difference_edges = file[name].to_numpy(flow=True)
        except FileNotFoundError as error:
            raise TransferError(f"no file {path} with a binned response") from error
        except (KeyError, AttributeError, ValueError) as error:
            raise TransferError(f"{path} has no two-dimensional histogram {name!r}") from error
        inside, whole = counts[1:-1, 1:-1], counts[1:-1]
        lost = 1 - inside.sum() / whole.sum() if whole.sum() > 0 else 0.0
        if lost > _LARGEST_FLOW:
            raise TransferError(
                f"{where}: {100 * lost:.2g} % of its contents are beyond the axis of E_rec − E_gen, "
                f"{difference_edges[1]:g} to {difference_edges[-2]:g} GeV: fill it with a wider one"
            )
        return cls.from_counts(inside, gen_edges[1:-1], difference_edges[1:-1])

    def covers(self, rec: Values) -> Array:
        edges = jnp.asarray(self.gen_edges)
        return (rec >= edges[0]) & (rec <= edges[-1])

    def density(self, rec: Values, gen: Values) -> Array:
        edges = jnp.asarray(self.difference_edges)
        difference = rec - gen
        j = jnp.clip(jnp.searchsorted(edges, difference, side="right") - 1, 0, len(edges) - 2)
        inside = (difference >= edges[0]) & (difference < edges[-1])
        return jnp.where(inside, jnp.asarray(self.contents)[self._column(gen), j], 0.0)

    def above(self, rec: Values, gen: Values) -> Array:
        edges = jnp.asarray(self.difference_edges)
        column = jnp.asarray(self.contents)[self._column(gen)]
        part = edges[1:] - jnp.clip(jnp.asarray(rec - gen)[..., None], edges[:-1], edges[1:])
        return (column * part).sum(axis=-1)

    def draw(self, gen: Values, u: Values) -> Array:
        gen, u = jnp.broadcast_arrays(jnp.asarray(gen), jnp.asarray(u))
        edges = jnp.asarray(self.difference_edges)
        column = jnp.asarray(self.contents)[self._column(gen)] * jnp.diff(edges)
        cumulative = jnp.cumsum(column, axis=-1)
        j = jnp.minimum((cumulative <= u[..., None]).sum(axis=-1), len(edges) - 2)
        share = jnp.take_along_axis(column, j[..., None], axis=-1)[..., 0]
        past = jnp.take_along_axis(cumulative, j[..., None], axis=-1)[..., 0] - share
        return gen + edges[j] + (edges[j + 1] - edges[j]) * jnp.clip((u - past) / share, 0.0, 1.0)

    def support(self, rec: Values, mass: Values = 0.0) -> tuple[Array, Array]:
        edges = jnp.asarray(self.difference_edges)
        return clipped(rec - edges[-1], rec - edges[0], rec, mass)

    def flatten(self, u: Values, rec: Values, mass: Values = 0.0, stretch: Values = 1.0) -> Point:
        # exact: along E_gen, T is constant between these
        low, high = self.support(rec, mass)
        breaks = jnp.concatenate([rec - jnp.asarray(self.difference_edges), jnp.asarray(self.gen_edges)])
        breaks = jnp.sort(jnp.clip(breaks, low, high))
        width = jnp.diff(breaks)
        height = self.density(rec, breaks[:-1] + width / 2)
        share = width * height ** (1 / stretch**2)
        cumulative = jnp.cumsum(share)
        area = jnp.asarray(u) * cumulative[-1]
        k = jnp.minimum((cumulative <= area[..., None]).sum(axis=-1), len(share) - 1)
        # a step without density is never chosen unless there is nothing else, and then its weight is 0
        inside = jnp.clip(
            (area - cumulative[k] + share[k]) / jnp.where(share[k] > 0, share[k], 1.0), 0.0, 1.0
        )
        weight = jnp.where(share[k] > 0, cumulative[-1] * height[k] ** (1 - 1 / stretch**2), 0.0)
        return breaks[k] + width[k] * inside, weight

    def scale(self, energy: Values) -> Array:
        edges = jnp.asarray(self.difference_edges)
        middle, width = (edges[1:] + edges[:-1]) / 2, jnp.diff(edges)
        column = jnp.asarray(self.contents)[self._column(energy)] * width
        mean = (column * middle).sum(axis=-1)
        spread = jnp.sqrt((column * (middle - mean[..., None]) ** 2).sum(axis=-1))
        # a column with one filled bin is as wide as that bin
        within = jnp.sqrt((column * width**2).sum(axis=-1) / 12)
        return jnp.where(spread > 1e-6 * within, spread, within)

    def to_dict(self) -> dict[str, Any]:
        names = {
            "gen_edges": self.gen_edges,
            "difference_edges": self.difference_edges,
            "density": self.contents,
        }
        return {"kind": "binned"} | {name: np.asarray(array).tolist() for name, array in names.items()}

    def _column(self, gen: Values) -> Array:
        edges = jnp.asarray(self.gen_edges)
        return jnp.clip(jnp.searchsorted(edges, gen, side="right") - 1, 0, len(edges) - 2)


def _warn_of_odd_axes(density: np.ndarray, gen_edges: np.ndarray, difference_edges: np.ndarray) -> None:
    ends = density[:, [0, -1]].max(axis=1) / density.max(axis=1)
    if density.shape[1] > 2 and ends.max() > _HIGH_END:
        at = int(ends.argmax())
        warnings.warn(
            f"the binned response of E_gen from {gen_edges[at]:g} to {gen_edges[at + 1]:g} GeV ends at "
            f"{100 * ends[at]:.0f} % of its peak, at {difference_edges[0]:g} or {difference_edges[-1]:g} "
            "GeV: is the axis of E_rec − E_gen too short, or are the axes in the other order?",
            DeepMEMWarning,
            stacklevel=4,
        )
    if np.abs(difference_edges).max() < _NARROW and gen_edges[-1] > 10:
        warnings.warn(
            f"the binned response has E_rec − E_gen from {difference_edges[0]:g} to "
            f"{difference_edges[-1]:g} GeV for energies up to {gen_edges[-1]:g} GeV: it is not relative, "
            "is it?",
            DeepMEMWarning,
            stacklevel=4,
        )
