"""Names of a file's branches: which there are, what they begin with, and what is read in place of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from deepmem.data.expressions import Expression
from deepmem.errors import UsageError, nearest

USUAL = {
    "pt": ("pt", "PT", "Pt"),
    "eta": ("eta", "Eta"),
    "phi": ("phi", "Phi"),
    "mass": ("mass", "Mass", "m", "M"),
    "energy": ("energy", "Energy", "E", "e"),
    "px": ("px", "Px"),
    "py": ("py", "Py"),
    "pz": ("pz", "Pz"),
    "charge": ("charge", "Charge"),
    "pdg": ("pdgId", "PDG"),
}
"""What branches of a quantity are usually called, behind what names of the collection begin with."""


class Names:
    """The branches of a file, by their full paths and by what these end with."""

    def __init__(self, branches: Iterable[str]):
        self.all = tuple(branches)
        self._short: dict[str, list[str]] = {}
        for name in self.all:
            self._short.setdefault(name.rsplit("/", 1)[-1], []).append(name)
        self._known = frozenset(self.all)

    @property
    def short(self) -> Collection[str]:
        """What full paths end with."""
        return self._short

    def find(self, name: str) -> str | None:
        """The full path of a branch; None: there is none. **Raises** `UsageError` where it may be several."""
        if name in self._known:
            return name
        found = self._short.get(name, [])
        if len(found) > 1:
            raise UsageError(f"{name!r} may be {' or '.join(found)}: give the whole name")
        return next(iter(found), None)

    def prefix(self, said: str) -> str | None:
        """What names of branches begin with, where a separator may be left out; None: none does.

        `muonp4` is `muonp4.` where there are `muonp4` and `muonp4.pt`.
        """
        usual = [name for each in USUAL.values() for name in each]
        for prefix in (said, *(said + separator for separator in "._:")) if said else ():
            if any(self.find(prefix + name) for name in usual):
                return prefix
        return said if said and any(name.startswith(said) for name in self._short) else None

    def near(self, name: str) -> str:
        return nearest(name, self._short) or self.some

    @property
    def collections(self) -> str:
        """What names begin with that end as those of a pT."""
        ends = re.compile(rf"(.*[_.:])({'|'.join(USUAL['pt'])})")
        found = dict.fromkeys(each[1] for name in self._short if (each := ends.fullmatch(name)))
        own = [each for each in found if each[1:] not in found]  # not numbers of objects
        return f"; the file has {', '.join(own)}" if own else self.some

    @property
    def some(self) -> str:
        """What the file has, the first of it."""
        short = list(self._short)
        return f"; the file has {', '.join(short[:12])}{', …' * (len(short) > 12)}"


def replacements(
    where: str, variation: Mapping[str, str], branches: Iterable[str]
) -> dict[str, tuple[str, dict[str, str]]]:
    """What a variation reads in place of branches: branch → text, and the branches that it names.

    A text is a branch, or an expression over branches. **Raises** `UsageError` where one is not there.
    """
    names = Names(branches)

    def there(name: str) -> str:
        if (path := names.find(name)) is None:
            raise UsageError(f"{where}: 'variations' names {name!r}, which is no branch{names.near(name)}")
        return path

    found = {}
    for branch, text in variation.items():
        whole = names.find(text)
        known = {"": whole} if whole is not None else {name: there(name) for name in Expression(text).names}
        if not known:
            raise UsageError(f"{where}: 'variations' replaces {branch!r} by {text!r}, which names no branch")
        found[there(branch)] = text, {name: str(path) for name, path in known.items()}
    return found
