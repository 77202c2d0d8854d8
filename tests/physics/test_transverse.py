"""Tables of a neutrino's p_T: they reach all of it, and follow what they are made of."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepmem.physics.phasespace.composed import transverse
from deepmem.physics.phasespace.composed.transverse import Table, Tables

SIGMA = np.array([18.0, 14.0])
RELATIVE_WIDTH = 0.026
# The likeliest k in GeV and a: where the W can be on its shell, and where it can't be.
REACHED = [((45.0, 10.0), 80.0), ((3.0, -2.0), 100.0), ((250.0, 2.0), 12.0)]
OUT_OF_REACH = [((-60.0, 0.0), 40.0), ((-20.0, 90.0), 30.0)]


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def tables(centre: np.ndarray, scale: float) -> Tables:
    """Of a Gaussian about `centre`, GeV, below a W of relative width 2.6 %."""
    alpha, beta = transverse.edges(jnp.asarray(centre), jnp.diag(SIGMA), jnp.asarray(scale))
    at = transverse.nodes(alpha, beta)
    k = jnp.stack(transverse.components(*at, scale), axis=-1)
    chi2 = (((k - centre) / SIGMA) ** 2).sum(axis=-1)
    rows, columns, _ = transverse.shares(chi2, transverse.log_factor(*at, RELATIVE_WIDTH), alpha, beta)
    zero = jnp.zeros(0)
    each = jax.tree.map(
        lambda leaf: leaf[None], Table(rows, columns, alpha, beta, jnp.asarray(centre), zero, zero)
    )
    return Tables(each, jnp.asarray(0), jnp.zeros((0, 2)), jnp.asarray(scale))


def points(found: Tables, n: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """k in GeV `[points, 2]` and d²k/d²u at even points."""
    u = (np.arange(n) + 0.5) / n
    both = np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1).reshape(-1, 2)
    of_all = jax.jit(jax.vmap(lambda v: transverse.drawn(found, jnp.zeros(0), v[0], v[1])))(both)
    scale = float(found.scale)
    return scale * np.stack(of_all.k, axis=1), scale**2 * np.asarray(of_all.density)


def left_by_the_shape(k: np.ndarray, scale: float) -> np.ndarray:
    """What s_W leaves at p_T, from the energies: Re 1/√(m² − least + imΓ) · 1/√(m² − least + 4pk), m = 1."""
    size = np.hypot(*k.T)
    d = 1 - (size - k[:, 0]) / scale + 1j * RELATIVE_WIDTH
    return np.real(1 / np.sqrt(d)) / np.sqrt(1 + (size + k[:, 0]) / scale)


def spread(values: np.ndarray) -> float:
    """The mean square over the mean's square."""
    return float((values**2).mean() / values.mean() ** 2)


@pytest.mark.parametrize(("centre", "scale"), [*REACHED, *OUT_OF_REACH])
def test_the_plane_is_drawn_whole(centre, scale):
    """∫ of a normalised Gaussian is 1: no place is left out, none is drawn twice, and the measure is right."""
    k, measure = points(tables(np.array(centre), scale))
    pull = (k - np.array(centre)) / SIGMA
    values = np.exp(-(pull**2).sum(axis=1) / 2) / (2 * np.pi * SIGMA.prod()) * measure
    assert values.mean() == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize(("centre", "scale"), [*REACHED, *OUT_OF_REACH])
def test_a_table_flattens_what_it_is_made_of(centre, scale):
    """Of the likelihood times what the W's shape leaves; the likelihood alone is far off where p_T is too large."""
    k, measure = points(tables(np.array(centre), scale))
    pull = (k - np.array(centre)) / SIGMA
    values = np.exp(-(pull**2).sum(axis=1) / 2) * left_by_the_shape(k, scale) * measure
    assert spread(values) < 1.25
    if (centre, scale) in OUT_OF_REACH:
        even = np.array(centre) + SIGMA * np.random.default_rng(1).standard_normal((400_000, 2))
        assert spread(left_by_the_shape(even, scale)) > 20
