"""Real roots of a quartic, x⁴ + … = (x² ± s x + …)(x² ∓ s x + …), s² from the resolvent cubic: Ferrari's way.

Elementwise over any shape. Two roots that are closer than about 1e-7 may be taken for none or one.
"""

from __future__ import annotations

import jax.numpy as jnp

from deepmem.kinematics import Scalar


def largest_root_of_cubic(a: Scalar, b: Scalar, c: Scalar) -> Scalar:
    """The largest real x with x³ + a x² + b x + c = 0: closed form, then Newton steps."""
    p, q = (a**2 - 3 * b) / 9, (2 * a**3 - 9 * a * b + 27 * c) / 54
    three = q**2 <= p**3
    root_p = jnp.sqrt(jnp.maximum(p, 0.0))
    cosine = jnp.clip(q / jnp.where(three, jnp.maximum(root_p**3, 1e-300), 1.0), -1, 1)
    of_three = 2 * root_p * jnp.cos((jnp.pi - jnp.arccos(cosine)) / 3)
    big = jnp.cbrt(jnp.abs(q) + jnp.sqrt(jnp.where(three, 0.0, q**2 - p**3)))
    of_one = -jnp.sign(q) * (big + p / jnp.where(big > 0, big, 1.0))
    x = jnp.where(three, of_three, of_one) - a / 3
    for _ in range(2):
        slope = (3 * x + 2 * a) * x + b
        step = (((x + a) * x + b) * x + c) / jnp.where(slope != 0, slope, 1.0)
        # at a double root the slope is rounding only
        x = x - jnp.where(jnp.abs(step) < 1e-3 * (jnp.abs(x) + jnp.abs(a)), step, 0.0)
    return x


def quartic_roots(c0: Scalar, c1: Scalar, c2: Scalar, c3: Scalar, c4: Scalar) -> tuple[Scalar, Scalar]:
    """The real roots of Σ c_k x^k, c₄ ≠ 0: Ferrari's factors x² ± s x + …, s² from the resolvent cubic.

    **Returns** roots `[4, ...]`, and which are real `[4, ...]`; of a complex pair, the real part.
    """
    b, c, d, e = c3 / c4, c2 / c4, c1 / c4, c0 / c4
    shift = b / 4
    p = c - 6 * shift**2
    q = d - 2 * c * shift + 8 * shift**3
    r = e - d * shift + c * shift**2 - 3 * shift**4
    # y⁴ + p y² + q y + r = (y² + s y + u)(y² − s y + v):  u + v = p + s², s (v − u) = q, u v = r
    s2 = jnp.maximum(largest_root_of_cubic(2 * p, p**2 - 4 * r, -(q**2)), 0.0)
    s = jnp.sqrt(s2)
    total = p + s2
    # of the two forms of v − u, the one that is not a ratio of rounding errors
    from_product = jnp.sqrt(jnp.maximum(total**2 - 4 * r, 0.0)) * jnp.where(q < 0, -1.0, 1.0)
    small = s2 <= 1e-8 * (jnp.abs(p) + jnp.sqrt(jnp.abs(r)))
    difference = jnp.where(small, from_product, q / jnp.where(small, 1.0, s))
    roots, real = [], []
    for sign in (-1, 1):
        discriminant = s2 - 2 * (total + sign * difference)
        h = jnp.sqrt(jnp.maximum(discriminant, 0.0))
        for branch in (-1, 1):
            roots.append((sign * s + branch * h) / 2 - shift)
            real.append(discriminant >= 0)
    return jnp.stack(roots), jnp.stack(real)
