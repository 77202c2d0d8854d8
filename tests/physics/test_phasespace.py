"""Phase space where nothing is measured: its volume by the textbook's formula, and conservation."""

from __future__ import annotations

from functools import lru_cache
from math import factorial, pi

import jax
import numpy as np
import pytest

from deepmem.errors import UsageError
from deepmem.physics.phasespace.free import DIMENSIONS, Region, sampler
from deepmem.physics.processes import all_processes, find_process
from deepmem.physics.processes.base import Process
from deepmem.physics.theory.parameters import Parameters

NAMES = ("drell_yan", "zz_4l", "zz_4mu", "higgs_4e")


POINTS = 30_000


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@lru_cache
def drawer(name: str):
    return jax.jit(jax.vmap(sampler(find_process(name)), in_axes=(1, None, None)))


def points(name: str, region: Region, p: Parameters):
    legs = len(find_process(name).outgoing)
    u = np.random.default_rng(3).random((DIMENSIONS[legs], POINTS))
    return jax.tree.map(np.asarray, drawer(name)(u, p, region))


@pytest.mark.parametrize("name", NAMES)
def test_the_volume_of_phase_space(name):
    """∫dΦ_n = (2π)^(4−3n) (π/2)^(n−1) s^(n−2)/((n−1)! (n−2)!) for massless legs (PDG, Kinematics)."""
    # a Higgs as wide as the window, so that its map does not leave the rest to few points
    p, region = Parameters(WH=20.0), Region(100.0, 150.0)
    point = points(name, region, p)
    n = len(find_process(name).outgoing)
    volume = (2 * pi) ** (4 - 3 * n) * (pi / 2) ** (n - 1) * point.s ** (n - 2)
    volume /= factorial(n - 1) * factorial(n - 2)
    ratio = point.measure / volume / np.log(p.sqrt_s**2 / point.s) / (region.high**2 - region.low**2)
    error = ratio.std() / np.sqrt(len(ratio))
    assert error < 0.03
    assert ratio.mean() == pytest.approx(1, abs=4 * error)


@pytest.mark.parametrize("name", NAMES)
def test_momentum_is_conserved_and_legs_are_massless(name):
    region = Region(105.0, 140.0, 0.0 if name == "drell_yan" else 4.0)
    point = points(name, region, Parameters())
    legs = np.moveaxis(np.array(point.legs), -1, 0)
    assert np.abs(legs[:, :2].sum(1) - legs[:, 2:].sum(1)).max() < 1e-9
    assert np.abs(legs[..., 0] ** 2 - (legs[..., 1:] ** 2).sum(-1)).max() < 1e-8
    assert np.sqrt(point.s).min() >= 105 - 1e-9
    assert np.sqrt(point.s).max() <= 140 + 1e-9
    codes = find_process(name).outgoing
    pairs = [(i, j) for j in range(len(codes)) for i in range(j) if codes[i] == -codes[j]]
    for i, j in pairs:
        both = legs[:, 2 + i] + legs[:, 2 + j]
        mass2 = both[:, 0] ** 2 - (both[:, 1:] ** 2).sum(-1)
        assert (mass2[point.measure > 0] >= region.pair**2 * (1 - 1e-9)).all()


def test_a_final_state_without_a_map_is_refused():
    known = all_processes()["drell_yan"]
    other = Process(**{**vars(known), "name": "photons", "outgoing": (22, 22)})
    with pytest.raises(UsageError, match="two or four charged leptons"):
        sampler(other)
