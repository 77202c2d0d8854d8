"""From the names of branches to what they hold: the pT of lepton 1, in GeV.

The configuration names branches as prefixes times suffixes; what each column is, is read off its name, so
that a user's own naming (`lep1_PT`, `Muon_pt[0]`, `METPhi`, `top/fCoordinates/fCoordinates.fEta`) needs no
dictionary. A name that says nothing is not guessed at: such a column is used as it is, with a warning where
it looks like one of these; the key `columns` says what it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import reduce
from operator import or_
from typing import Any

import numpy as np

from deepmem.errors import UsageError, nearest


class Quantity(StrEnum):
    """What a column holds of its object."""

    PT = "pT"
    ETA = "eta"
    PHI = "phi"
    MASS = "mass"
    ENERGY = "energy"
    CHARGE = "charge"
    PDG = "pdg"
    ANGLE = "angle"
    """A difference of azimuths, or what is between planes: rotations about the beam leave it alone."""
    OTHER = "other"

    @property
    def has_energy_unit(self) -> bool:
        return self in (Quantity.PT, Quantity.MASS, Quantity.ENERGY)


@dataclass(frozen=True)
class Column:
    """One branch: its `name`, the `object` it describes (`lep1`, `MET`), and the `quantity`."""

    name: str
    object: str
    quantity: Quantity

    @property
    def meaning(self) -> str:
        """In words: "pT of lep1"."""
        if self.quantity is Quantity.OTHER:
            return "as it is"
        return "angle, no azimuth" if self.quantity is Quantity.ANGLE else f"{self.quantity} of {self.object}"


# Long names may follow the object's name directly (`j1PT`, `METPhi`); one-letter names need a separator.
_SPELLING = {
    "pt": Quantity.PT,
    "p_t": Quantity.PT,
    "eta": Quantity.ETA,
    "phi": Quantity.PHI,
    "mass": Quantity.MASS,
    "energy": Quantity.ENERGY,
    "charge": Quantity.CHARGE,
    "pdgid": Quantity.PDG,
    "pdg": Quantity.PDG,
    "pid": Quantity.PDG,
}
_SHORT = {"m": Quantity.MASS, "e": Quantity.ENERGY, "q": Quantity.CHARGE}
_WORDS = "|".join(sorted(_SPELLING, key=len, reverse=True))
_LONG = re.compile(rf"(.*?)[_.]?({_WORDS})", re.IGNORECASE)
_SEPARATED = re.compile(rf"(.*?)[_.]({'|'.join(_SHORT)})", re.IGNORECASE)
# `lep_pt_1`; two digits are a threshold (`njet_pt30`)
_BETWEEN = re.compile(rf"(.+?)[_.]?({_WORDS})[_.]?(\d)", re.IGNORECASE)
# The quantity first, of a number (`pt1`) or of what is one of these (`pT_h1`, `ptl1`, `eta_mup`)
_PARTICLE = (
    r"(?:(?:lead(?:ing)?|sub(?:lead(?:ing)?)?)_?)?"
    r"(?:(?:puppi|pf)?met|lepton|lep|electron|ele|el|muon|mu|tau|photon|pho|gamma|ph|bjet|jet|higgs|top|had|nu|"
    r"ee|mumu|ll|jj|bb|tt|vv|ww|zz|hh|[lejbgthzwvq])_?\d*(?:plus|minus|[pm])?"
)
_FIRST = re.compile(rf"({_WORDS})[_.]?(\d+|{_PARTICLE})", re.IGNORECASE)
_SHORT_FIRST = re.compile(rf"([QqMmE])(?:(\d)|[_.](\d|{_PARTICLE}))")
_MISSING = re.compile(r"(?:.*_)?(?:(?:puppi|raw|pf)?met|missinget|[pe]_?t_?miss)", re.IGNORECASE)
_INDEX = re.compile(r"(.*)\[(\d+)\]")
_SPLIT_OBJECT = re.compile(r"(.*)/fCoordinates/fCoordinates\.f(\w+)")
_MET_ITSELF = re.compile(r"(.*?)[_.]?(?:met|et)", re.IGNORECASE)
# Where a word begins: after a separator, or with a capital letter after a small one.
_BEGIN = r"(?:.*(?:[_.]|[a-z0-9](?=[A-Z])))?"
_ANGLE = re.compile(
    rf"{_BEGIN}(?i:(?:abs|min|max)?_?(?:d|delta_?|hel_?)phi.*)|"
    r"(?i:(?:.*[_.])?(?:phi_?(?:star_?z\d|planes?|decay|cs|hel).*|planes?_?phi.*|acoplanarity))"
)
_FUNCTION = re.compile(
    rf"{_BEGIN}(?i:(?:(?:cos|sin|tan|log\d*|ln|sqrt|delta|diff|ratio)_?|d|abs)(?:d|delta_?|hel)?(?:{_WORDS}|theta).*|"
    rf"(?:delta_?r|dr|err(?:or)?|sigma|std|rms|resolution|unc|cov|mean|avg|rel|frac(?:tion)?|eff|sf|prob|score|num|count)"
    rf"_?(?:{_WORDS})|(?:n|sum|total|tot)_?(?:charge|pdgid|pid))"
)
# What stands before a letter that is no quantity of it: `n_e` counts electrons, `sf_e` is of electrons.
_NO_OBJECT = re.compile(
    r"(?i:(?:.*_)?(?:n|n_?(?:good|b|l|c|gen|reco)?_?(?:jets?|leps?|leptons?|e|el|mu|tau|pho|trk|tracks?)|num|number|"
    r"counts?|is|has|pass|flag|trig|id|idx|index|type|eff|sf|weight|prob|score|frac|fraction|ratio|rel|rank|err|error|"
    r"sigma|std|rms|unc|res|cov|iso|delta|diff|run|lumi|m?ht|st|meff|mt))|(?:.*_)?n[A-Z]\w*"
)
_ENGLISH = re.compile(r"(?i:.*(?:accept|except|kept|attempt|script|theta|zeta|[^a-z]opt)\d*)")
_SYSTEMATIC = re.compile(r"(?i:nosys|nom|nominal|raw|T1|T1smear|smeared|.*(?:up|down))")
_LOOKS = (
    (re.compile(r"pt.*|perp|transverse"), Quantity.PT),
    (re.compile(r"eta.*|pseudorap.*"), Quantity.ETA),
    (re.compile(r"phi.*|azimuth.*"), Quantity.PHI),
    (re.compile(r"mass"), Quantity.MASS),
    (re.compile(r"charge"), Quantity.CHARGE),
)
# What stands beside the name of an object, and may be these of it.
_WORDS_OF = {
    Quantity.CHARGE: ("ch", "chg", "c", "sign", "sgn", "qe", "cha"),
    Quantity.ETA: ("y", "rap", "rapidity", "et", "h"),
    Quantity.PHI: ("ph", "p", "az", "angle", "f"),
}
_COMPONENT = re.compile(
    r"(?:.*[_.\d]|.*[a-z0-9](?=P))?(?:[pP]_?[xyzXYZ])(?:_?\d+)?|[pP][xyzXYZ](?:[_.].*|\d.*)?"
)
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

LARGEST_PHI = 2 * np.pi + 0.1
"""rad; an angle beyond it is no angle in radians."""
# Degrees end here, with a turn to spare; and what files hold where there is no angle.
_LARGEST_DEGREES = 400.0
_SENTINELS = (9.0, 9.9, 10.0, 77.0, 88.0, 99.0, 99.9, 100.0, 111.0, 200.0, 300.0, 333.0)


def split_index(name: str) -> tuple[str, int | None]:
    """`Jet_PT[0]` as the branch `Jet_PT` and the element 0; a plain name has no element."""
    match = _INDEX.fullmatch(name)
    return (match[1], int(match[2])) if match else (name, None)


def recognise(name: str) -> Column:
    """What the column `name` holds, read off its name."""
    branch, index = split_index(name)
    element = "" if index is None else f"[{index}]"
    if match := _SPLIT_OBJECT.fullmatch(branch):
        branch = f"{match[1]}_{match[2]}"
    for stem in _without_systematic(branch):
        if found := _read(stem):
            return Column(name, found[0] + element, found[1])
    return Column(name, branch + element, Quantity.OTHER)


def _without_systematic(branch: str) -> Iterator[str]:
    """The name, and what is left of it without a variation at its end: `mu_pt` of `mu_pt_NOSYS`."""
    yield branch
    for match in reversed(list(re.finditer(r"[_.]", branch))):
        if _SYSTEMATIC.fullmatch(branch[match.end() :]):
            yield branch[: match.start()]


def _read(branch: str) -> tuple[str, Quantity] | None:
    """Object and quantity of a name; None where it says nothing."""
    if match := _FIRST.fullmatch(branch):
        return match[2], _SPELLING[match[1].lower()]
    if (match := _MET_ITSELF.fullmatch(branch)) and _MISSING.fullmatch(match[1]):
        return match[1], Quantity.PT
    if _MISSING.fullmatch(branch):
        return branch, Quantity.PT
    if _ANGLE.fullmatch(branch):
        return branch, Quantity.ANGLE
    if _FUNCTION.fullmatch(branch) or _ENGLISH.fullmatch(branch):
        return None
    if match := _LONG.fullmatch(branch):
        return match[1] or "event", _SPELLING[match[2].lower()]
    if (match := _SEPARATED.fullmatch(branch)) and not _NO_OBJECT.fullmatch(match[1]):
        return match[1], _SHORT[match[2].lower()]
    if match := _SHORT_FIRST.fullmatch(branch):
        return match[2] or match[3], _SHORT[match[1].lower()]
    if match := _BETWEEN.fullmatch(branch):
        return match[1] + match[3], _SPELLING[match[2].lower()]
    return None


def described(
    columns: Sequence[str | Column], said: Mapping[str, Column] | None = None
) -> tuple[Column, ...]:
    """What columns hold: as it was said, or is given, else read off their names.

    An azimuth of no object (`Phi`, `Phi1`), without a pT or η beside it, is an angle between planes; `d_phi`
    is a difference, but for a d quark that has a pT.
    """
    given = {each.name: each for each in columns if isinstance(each, Column)} | dict(said or {})
    names = [each.name if isinstance(each, Column) else each for each in columns]
    found = [given.get(name) or recognise(name) for name in names]
    found = [
        _beside(each, found) if each.quantity is Quantity.OTHER and each.name not in given else each
        for each in found
    ]
    companions = Counter(column.object for column in found if column.quantity is not Quantity.OTHER)
    with_pt = {column.object for column in found if column.quantity is Quantity.PT}

    def alone(column: Column) -> bool:
        if column.name in given:
            return False
        if column.object.lower() == "d":
            return column.object not in with_pt
        nobody = column.object == "event" or column.object.isdigit()
        return nobody and companions[column.object] == 1

    return tuple(
        replace(each, quantity=Quantity.ANGLE) if each.quantity is Quantity.PHI and alone(each) else each
        for each in found
    )


def _beside(column: Column, others: Sequence[Column]) -> Column:
    """One letter beside the name of an object that other columns describe: `ql1`, `l1Q` beside `ptl1`."""
    for owner, rest in _owners(column, others):
        if rest in _SHORT:
            return Column(column.name, owner, _SHORT[rest])
    return column


def _owners(column: Column, others: Sequence[Column]) -> Iterator[tuple[str, str]]:
    """Objects with a pT whose name is in a column's, and what else that has, in small letters."""
    name = column.name.lower()
    for owner in dict.fromkeys(each.object for each in others if each.quantity is Quantity.PT):
        stem = owner.lower()
        if stem.isdigit() or name == stem:
            continue
        # `lep1` is in `lep1_ch`, `ch_lep1` and `lepCh1`
        words, number = stem.rstrip("0123456789"), stem[len(stem.rstrip("0123456789")) :]
        whole, words = re.escape(stem), re.escape(words)
        around = rf"{whole}[_.]?(.+)|(.+?)[_.]?{whole}|{words}[_.]?(\D+?)[_.]?{number}"
        if match := re.fullmatch(around, name):
            yield owner, next(each for each in match.groups() if each)


def misgivings(columns: Iterable[Column]) -> list[str]:
    """A sentence for each column that looks like a momentum or charge and was not recognised as one, and for
    each object whose momentum lacks a quantity that one of its other columns may be."""
    columns = tuple(columns)
    texts = {each.name: _misgiving(each, columns) for each in unsaid(columns)}
    suspected = {name for name, text in texts.items() if text}
    return [*filter(None, texts.values()), *_of_momenta(columns, suspected)]


def unsaid(columns: Iterable[Column], kind: Quantity = Quantity.OTHER) -> tuple[Column, ...]:
    """Those of a kind, by default of no known meaning, that the key `columns` says nothing of."""
    return tuple(c for c in columns if c.quantity is kind and c == recognise(c.name))


def how_to_say(column: str, owner: str, quantity: Quantity) -> str:
    """The entry of the input file that says what a column holds."""
    key = next(key for key, value in _SPELLING.items() if value is quantity)
    entry = f'{{"{column}": {{"object": "{owner}", "quantity": "{key}"}}}}'
    return f'in the input file: "columns": {entry}'


def _misgiving(column: Column, columns: Sequence[Column]) -> str:
    name = split_index(column.name)[0]
    if _COMPONENT.fullmatch(name):
        return (
            f"{column.name!r} looks like a component of a momentum, and is taken as it is: pT, eta and phi "
            "teach better. 'objects' makes them, in the input file: "
            '"objects": {"leptons": {"prefix": "…"}}'
        )
    if quantity := _looks_like(name):
        owner, what = "lep1", "does not say of what"
    elif found := _in_other_words(column, columns):
        owner, quantity = found
        what = f"does not say so, though {owner} has others"
    else:
        return ""
    return (
        f"{column.name!r} looks like {quantity}, and its name {what}: it is taken as it is. Say what it "
        f"holds, {how_to_say(column.name, owner, quantity)}"
    )


def _of_momenta(columns: Sequence[Column], suspected: Set[str]) -> Iterator[str]:
    """A sentence for each object that has two of pT, η and φ, and columns that may be the third.

    pT and φ of missing pT are all there is. What may be φ is called an angle, or is known by its values, see
    `ranges.Unsaid`.
    """
    held: dict[str, set[Quantity]] = {}
    for each in columns:
        held.setdefault(each.object, set()).add(each.quantity)
    for owner, has in held.items():
        lacks = [q for q in (Quantity.PT, Quantity.ETA, Quantity.PHI) if q not in has]
        if len(lacks) != 1 or _MISSING.fullmatch(owner):
            continue
        kind = Quantity.ANGLE if lacks[0] is Quantity.PHI else Quantity.OTHER
        of_owner = re.compile(rf"(?<!\d){re.escape(owner)}(?!\d)", re.IGNORECASE)
        mine = [each.name for each in unsaid(columns, kind) if of_owner.search(each.name)]
        if mine and suspected.isdisjoint(mine):
            there = " and ".join(q for q in (Quantity.PT, Quantity.ETA, Quantity.PHI) if q in has)
            yield (
                f"{', '.join(map(repr, mine))} may be {lacks[0]} of {owner}, which has {there}: without it, "
                "there is no momentum, and columns are taken one by one. Say it, "
                f"{how_to_say(mine[0], owner, lacks[0])}"
            )


def _in_other_words(column: Column, columns: Sequence[Column]) -> tuple[str, Quantity] | None:
    """An object, and what of it a column may be in other words than are known."""
    for owner, rest in _owners(column, columns):
        lacks = {Quantity.ETA, Quantity.PHI, Quantity.CHARGE} - {
            c.quantity for c in columns if c.object == owner
        }
        for quantity, words in _WORDS_OF.items():
            if rest in words and quantity in lacks:
                return owner, quantity
    return None


def _looks_like(name: str) -> Quantity | None:
    if _FUNCTION.fullmatch(name) or _ENGLISH.fullmatch(name):
        return None
    for token in _TOKEN.findall(name):
        for pattern, quantity in _LOOKS:
            if pattern.fullmatch(token.lower()):
                return quantity
    return None


def combine(
    prefixes: Sequence[Sequence[str]], suffixes: Sequence[Sequence[str]], split_objects: bool = False
) -> tuple[str, ...]:
    """All prefix + suffix combinations of lists at the same index, in that order.

    With `split_objects` (the key `dir_name_processing`) a name is prefix + `/fCoordinates/fCoordinates.` +
    suffix.

    **Raises** `UsageError` where the two lists differ in length or a column comes twice.
    """
    if len(prefixes) != len(suffixes):
        raise UsageError(
            f"'prefixes' has {len(prefixes)} lists and 'suffixes' {len(suffixes)}: "
            "they are combined list by list, so give as many of one as of the other"
        )
    infix = "/fCoordinates/fCoordinates." if split_objects else ""
    names = tuple(
        prefix + infix + suffix
        for before, after in zip(prefixes, suffixes, strict=True)
        for prefix in before
        for suffix in after
    )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"'prefixes' and 'suffixes' name these columns twice: {', '.join(twice)}")
    if not names:
        raise UsageError("'prefixes' and 'suffixes' name no column at all: give at least one of each")
    return names


def check_column_names(mapping: Mapping[str, str], known: Iterable[str]) -> None:
    """Refuse `column_names` that cannot be meant.

    **Arguments:** `mapping`, default column → branch; `known`, all default columns that there are.

    **Raises** `UsageError` for a column that is none of them (with the nearest), a branch whose name says
    that it holds something else, and two columns that are read from one branch.
    """
    known = tuple(dict.fromkeys(known))
    for column, branch in mapping.items():
        if column not in known:
            listed = nearest(column, known) or f"; known: {', '.join(known)}"
            raise UsageError(f"'column_names': there is no column {column!r}{listed}")
        wanted, there = recognise(column).quantity, recognise(branch).quantity
        if Quantity.OTHER not in (wanted, there) and wanted is not there:
            raise UsageError(
                f"'column_names': {column!r} is to hold {wanted}, and {branch!r} looks like {there}"
            )
    readers: dict[str, str] = {}
    for column in known:
        branch = mapping.get(column, column)
        if branch in readers and (column in mapping or readers[branch] in mapping):
            raise UsageError(
                f"'column_names': {readers[branch]!r} and {column!r} are both read from {branch!r}: "
                "name a branch for each"
            )
        readers[branch] = column


def no_angle(values: Any) -> Any:
    """Which values of φ are neither radians nor degrees, but what is written where nothing was measured.

    Of an array of NumPy or JAX.
    """
    size = abs(values)
    written = reduce(or_, (size == sentinel for sentinel in _SENTINELS))
    return (size > _LARGEST_DEGREES) | ((size > LARGEST_PHI) & written)
