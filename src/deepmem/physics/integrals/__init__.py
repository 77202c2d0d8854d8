"""Integrals over the unit cube, for many events at once; knows no physics.

    Lattice().integrate(Integral(f, shared, events, dimensions), Accuracy(precision=0.01)) → Estimate

`integral`: what is integrated; `integrand`: what `f` may be; `accuracy`: how precisely, at what cost. Rules:
`single` for no dimension, `quadrature` for smooth integrands, `lattice` for everything else, with the maps
that it learns in `importance`. Below them `points` (which points), `slots` (how the work is cut) and `tally`
(what is known of each event).
"""
