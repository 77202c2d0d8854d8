"""|M|² from the currents of all legs but one: summed over helicities and colours, averaged, in one node.

With amplitudes A_c(h) of the colour structures c, few of which are independent, and the colour matrix C,

    |M|² = 1/(spins × colours × Π n!) Σ_h w_h Σ_cc' A_c C_cc' A*_c',    C = L D Lᵀ    exactly,

so that every helicity is a sum of squares D_k |Σ_c L_ck A_c|². Relations between colour structures are read
off the amplitudes' values in the prime field.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TypeAlias

from deepmem.physics.amplitudes import colour as colours
from deepmem.physics.amplitudes.colour import String
from deepmem.physics.amplitudes.currents import Branched, Currents, Helicities, spinor_turned
from deepmem.physics.amplitudes.external import External
from deepmem.physics.amplitudes.graph import Complex, Reference
from deepmem.physics.amplitudes.lorentz import Components
from deepmem.physics.amplitudes.plan import Level
from deepmem.physics.amplitudes.propagators import dot
from deepmem.physics.amplitudes.residues import PRIME, rational

Structure: TypeAlias = tuple[String, ...]
Amplitudes: TypeAlias = dict[Helicities, dict[Structure, Complex]]
Matrix: TypeAlias = list[list[Fraction]]

# At one point there are more relations than those that hold at all: points are added until as many as these
# in a row leave no relation out.
_STEADY = 2
_SEED = 100


def squared(external: External, root: int = 0) -> Reference:
    """The node of |M|² with all factors; 0 where every amplitude vanishes.

    **Arguments:** `root`: the leg whose wave function closes the current of all others.
    """
    subprocess = external.subprocess
    currents = Currents(external)
    beams = len(subprocess.incoming)
    legs = [currents.leg(number) for number in range(beams)] + currents.level(subprocess.products, beams)
    amplitudes = _amplitudes(currents, legs, root)
    total = _summed(external, amplitudes, _weights(external, legs, amplitudes))
    g = external.graph
    for order, power in currents.powers.items():
        for _ in range(2 * power):
            total = g.mul(total, external.base(order))
    halves = sum(leg.circular for leg in external.legs)
    return g.mul(total, g.constant(Fraction(2**halves, _states(external) * subprocess.identical)))


def _states(external: External) -> int:
    """How many spins and colours the incoming particles have."""
    number = 1
    for label, leg in zip(external.labels, external.legs, strict=True):
        if leg.incoming:
            number *= leg.helicities * abs(external.colour(label))
    return number


def _amplitudes(currents: Currents, legs: Sequence[Branched], root: int) -> Amplitudes:
    """By helicities and colour structure; those that vanish are left out."""
    external = currents.external
    last = legs[root]
    rest = [one for k, one in enumerate(legs) if k != root]
    level = Level(
        tuple(one.label for one in rest),
        (external.model.conjugate(last.label),),
        tuple(not external.legs[one.legs[0]].incoming for one in rest),
        external.subprocess.requirements,
    )
    total = currents.total(rest, level, propagate=False)
    found: Amplitudes = {}
    for h, states in total.table.items():
        for own, waves in last.table.items():
            slot = found.setdefault(tuple(sorted(h + own)), {})
            for state, current in states.items():
                for other, wave in waves.items():
                    value = _closed(external, last.label, current, wave)
                    if value.vanishes:
                        continue
                    for result, factor in colours.contracted(state, other):
                        if factor:
                            term = value.times(factor)
                            old = slot.get(result.closed)
                            slot[result.closed] = term if old is None else old + term
    kept = {h: {c: z for c, z in slot.items() if not z.vanishes} for h, slot in found.items()}
    return {h: slot for h, slot in kept.items() if slot}


def _closed(external: External, label: int, current: Components, wave: Components) -> Complex:
    """The product of an amputated current and a wave function."""
    spin = external.spin(label)
    if spin == 3:
        return dot(current, wave)
    if spin == 2 and external.model.by_code[label].self_conjugate:
        wave = spinor_turned(wave, to_column=True)
    value = current[0] * wave[0]
    for a, b in zip(current[1:], wave[1:], strict=True):
        value = value + a * b
    return value


def _weights(
    external: External, legs: Sequence[Branched], amplitudes: Amplitudes
) -> dict[Helicities, Reference]:
    found = {}
    for helicities in amplitudes:
        weight = external.graph.one
        for one in legs:
            own = tuple(each for each in helicities if each[0] in one.legs)
            weight = external.graph.mul(weight, one.weights[own])
        found[helicities] = weight
    return found


def _summed(external: External, amplitudes: Amplitudes, weights: Mapping[Helicities, Reference]) -> Reference:
    """Σ over helicities and colours: equal squares are counted, equal factors taken out."""
    g = external.graph
    structures = sorted({c for slot in amplitudes.values() for c in slot})
    if not structures:
        return 0
    gluons = frozenset(n for n, label in enumerate(external.labels) if external.colour(label) == 8)
    basis, relations = _relations(external, amplitudes, structures)
    matrix = _reduced_matrix(structures, relations, gluons)
    lower, diagonal = _decomposed(matrix)
    counts: Counter[tuple[Reference, Fraction, Reference]] = Counter()
    for helicities, slot in amplitudes.items():
        for k, weight in enumerate(diagonal):
            if not weight:
                continue
            total = Complex(g)
            for j in range(k, len(basis)):
                if lower[j][k] and structures[basis[j]] in slot:
                    total = total + slot[structures[basis[j]]].times(lower[j][k])
            square = total.square()
            if square:
                counts[square, weight, weights[helicities]] += 1
    by_factor: dict[tuple[Reference, Fraction], list[Reference]] = {}
    for (square, weight, own), times in counts.items():
        by_factor.setdefault((own, weight * times), []).append(square)
    by_weight: dict[Reference, list[Reference]] = {}
    for (own, number), squares in by_factor.items():
        by_weight.setdefault(own, []).append(g.mul(g.constant(number), g.sum(squares)))
    return g.sum(g.mul(own, g.sum(terms)) for own, terms in by_weight.items())


def _relations(
    external: External, amplitudes: Amplitudes, structures: Sequence[Structure]
) -> tuple[list[int], Matrix]:
    """Which structures are independent (by number), and all of them in these: A_c = Σ_b R_bc A_b."""
    n = len(structures)
    unit = [[Fraction(i == j) for j in range(n)] for i in range(n)]
    if n == 1:
        return [0], unit
    references = [z.key for slot in amplitudes.values() for z in slot.values()]
    live = external.graph.live(part for key in references for part in key)
    values, seed, rank, steady = external.graph.values, _SEED, 0, 0
    columns: dict[tuple[int, ...], None] = {}
    while True:
        for slot in amplitudes.values():
            numbers = [slot[c].key if c in slot else (0, 0) for c in structures]
            for part in (0, 1):
                columns[tuple(_at(values, key[part]) for key in numbers)] = None
        basis, coefficients = _eliminated([list(row) for row in zip(*columns, strict=True)])
        steady = steady + 1 if len(basis) == rank else 0
        rank = len(basis)
        if rank == n or steady == _STEADY:
            break
        seed += 1
        values = _values_at(external, seed, live)
    relations = [[rational(x) for x in row] for row in coefficients]
    if any(x is None for row in relations for x in row):
        return list(range(n)), unit
    return basis, relations  # type: ignore[return-value]


def _at(values: Sequence[int], reference: Reference) -> int:
    return values[reference] if reference >= 0 else PRIME - values[-reference]


def _values_at(external: External, seed: int, live: Sequence[int]) -> list[int]:
    """The values of some nodes at another point of the field."""
    return external.graph.evaluated(external.values_at(seed), live)


def _eliminated(rows: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """Independent rows, and R[b][c] with row_c = Σ_b R[b][c] row_b, modulo p."""
    basis: list[int] = []
    reduced: list[tuple[int, list[int], dict[int, int]]] = []
    coefficients: list[dict[int, int]] = []
    for number, row in enumerate(rows):
        left = list(row)
        used: dict[int, int] = {}
        for pivot, other, made_of in reduced:
            factor = left[pivot]
            if factor:
                left = [(x - factor * y) % PRIME for x, y in zip(left, other, strict=True)]
                for b, c in made_of.items():
                    used[b] = (used.get(b, 0) + factor * c) % PRIME
        nonzero = next((k for k, x in enumerate(left) if x), None)
        if nonzero is None:
            coefficients.append(used)
            continue
        inverse = pow(left[nonzero], -1, PRIME)
        made_of = {b: -c * inverse % PRIME for b, c in used.items()} | {number: inverse}
        reduced.append((nonzero, [x * inverse % PRIME for x in left], made_of))
        basis.append(number)
        coefficients.append({number: 1})
    return basis, [[each.get(b, 0) for each in coefficients] for b in basis]


def _reduced_matrix(structures: Sequence[Structure], relations: Matrix, gluons: frozenset[int]) -> Matrix:
    """R C Rᵀ: the colour matrix of the independent structures."""
    full = [[colours.squared(a, b, gluons) for b in structures] for a in structures]
    half = [
        [sum((r * c for r, c in zip(row, column, strict=True) if r and c), Fraction(0)) for column in full]
        for row in relations
    ]
    return [
        [sum((x * r for x, r in zip(row, other, strict=True) if x and r), Fraction(0)) for other in relations]
        for row in half
    ]


def _decomposed(matrix: Matrix) -> tuple[Matrix, list[Fraction]]:
    """L and D of L D Lᵀ, L with ones on its diagonal."""
    left = [list(row) for row in matrix]
    n = len(left)
    lower = [[Fraction(i == j) for j in range(n)] for i in range(n)]
    diagonal = []
    for k in range(n):
        diagonal.append(left[k][k])
        if not diagonal[k]:
            continue
        for i in range(k + 1, n):
            lower[i][k] = left[i][k] / diagonal[k]
        for i in range(k + 1, n):
            for j in range(k + 1, n):
                left[i][j] -= lower[i][k] * left[k][j]
    return lower, diagonal
