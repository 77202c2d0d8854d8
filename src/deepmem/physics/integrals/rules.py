"""The rules there are: frozen values, each with `integrate(integral, accuracy) → Estimate`."""

from __future__ import annotations

from typing import TypeAlias

from deepmem.physics.integrals.lattice import Lattice
from deepmem.physics.integrals.quadrature import Quadrature
from deepmem.physics.integrals.single import Single

Rule: TypeAlias = Single | Quadrature | Lattice
