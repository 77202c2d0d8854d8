"""Any tree-level amplitude: from a model and a subprocess to |M|² as straight-line JAX.

The way of a subprocess: `currents` grow over subsets of its legs, component by component, in a `graph` of
real scalars in which equal numbers are one node; `squared` sums helicities and colours; what is left is a
`program`, a list of sums and products that files keep; `stages` makes a JAX function of it. `amplitude` is
the way in.
"""
