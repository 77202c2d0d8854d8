"""Weights in ROOT files: a tree with a branch per weight, its error, status and source, and beside it what
says how they were made."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import uproot

from deepmem.data.files import whole_file
from deepmem.data.trees import expand, open_tree
from deepmem.errors import DeepMEMError, UsageError, nearest
from deepmem.event import LARGEST_SHARES, Couplings, Monomials, Status, Weight

TREE = "deepmem"
_BESIDE = {
    "_error": "the error", "_status": "the status", "_source": "the source", "_reason": "the reason",
    "_cov": "the covariance", "_share": "the shares of assignments", "_role": "the roles of jets",
    "_lost": "the number of lost jets",
}  # fmt: skip


class Further(NamedTuple):
    """Branches beside values, errors and statuses, and the weights that have them.

    - `source`: whether all have NAME_source;
    - `neutrinos`: NAME_nu_px …;
    - `terms`: NAME_c0, …, NAME_cov of polynomials in couplings, and how many terms these have;
    - `covariance`: NAME_cov, of variations with the nominal weight;
    - `reasons`: NAME_reason;
    - `assignments`: NAME_share and NAME_role, lists;
    - `lost`: NAME_lost, how many jets are.
    """

    source: bool = False
    neutrinos: Sequence[str] = ()
    terms: Mapping[str, int] = MappingProxyType({})
    covariance: Sequence[str] = ()
    reasons: Sequence[str] = ()
    assignments: Sequence[str] = ()
    lost: Sequence[str] = ()

    def branches(self, name: str) -> dict[str, Any]:
        """The branches of a weight, with their types."""
        kinds: dict[str, Any] = {name: "f8", f"{name}_error": "f8", f"{name}_status": "i4"}
        if self.source:
            kinds[f"{name}_source"] = "i4"
        if name in self.reasons:
            kinds[f"{name}_reason"] = "i4"
        if name in self.neutrinos:
            kinds |= dict.fromkeys(neutrino_branches(name), "f8")
        if name in self.assignments:
            kinds |= {f"{name}_share": "var * float64", f"{name}_role": "var * int32"}
        if name in self.lost:
            kinds[f"{name}_lost"] = "i4"
        if name in self.covariance:
            kinds[f"{name}_cov"] = "f8"
        if (terms := self.terms.get(name)) is not None:
            *coefficients, covariance = coupling_branches(name, terms)
            kinds |= dict.fromkeys(coefficients, "f8")
            kinds[covariance] = np.dtype(("f8", (terms * (terms + 1) // 2,)))
        return kinds


_NOTHING_MORE = Further()


class WeightWriter:
    """Appends weights to an open weight file; get one from `write_weights`."""

    def __init__(self, file: Any, names: Sequence[str], kept: Mapping[str, np.dtype], further: Further):
        self._further = further
        self._tree = file.mktree(TREE, all_branches(names, kept, further))

    def append(self, weights: dict[str, Weight], kept: dict[str, np.ndarray] | None = None) -> None:
        """Write the next entries, one `Weight` per name, all of one length."""
        arrays: dict[str, Any] = dict(kept or {})
        for name, weight in weights.items():
            arrays |= {name: weight.value, f"{name}_error": weight.error, f"{name}_status": weight.status}
            if weight.source is not None:
                arrays[f"{name}_source"] = weight.source
            if weight.neutrinos is not None:
                columns = weight.neutrinos.reshape(len(weight), -1).T
                arrays |= dict(zip(neutrino_branches(name), columns, strict=True))
            if weight.couplings is not None and name in self._further.terms:
                found = weight.couplings
                values = [*found.coefficients.T, found.covariance]
                arrays |= dict(zip(coupling_branches(name, self._further.terms[name]), values, strict=True))
            if weight.share is not None and weight.role is not None and name in self._further.assignments:
                there = np.isfinite(weight.share)
                arrays[f"{name}_share"] = ak.unflatten(weight.share[there], there.sum(axis=1))
                arrays[f"{name}_role"] = ak.from_regular(ak.Array(weight.role.astype(np.int32)))
            if weight.lost is not None and name in self._further.lost:
                arrays[f"{name}_lost"] = weight.lost
            if weight.covariance is not None and name in self._further.covariance:
                arrays[f"{name}_cov"] = weight.covariance
            if weight.reason is not None and name in self._further.reasons:
                arrays[f"{name}_reason"] = weight.reason
        self._tree.extend(arrays)


def counters(names: Sequence[str], further: Further) -> set[str]:
    """The branches that count the elements of lists, which ROOT wants beside them."""
    return {f"n{name}_{each}" for name in names if name in further.assignments for each in ("share", "role")}


def all_branches(names: Sequence[str], kept: Mapping[str, np.dtype], further: Further) -> dict[str, Any]:
    """The branches of a weight file, with their types.

    **Raises** `UsageError` where a branch to keep is called as one of the weights'.
    """
    kinds = {branch: kind for name in names for branch, kind in further.branches(name).items()}
    if clash := sorted(set(kinds) & set(kept)):
        raise UsageError(f"--keep names {', '.join(clash)}, which the weights themselves are called")
    return kinds | dict(kept)


def neutrino_branches(name: str) -> list[str]:
    """NAME_nu_px … NAME_nubar_pz, beside a weight that brings its neutrinos' mean momenta in GeV."""
    return [f"{name}_{leg}_p{axis}" for leg in ("nu", "nubar") for axis in "xyz"]


def coupling_branches(name: str, terms: int) -> list[str]:
    """NAME_c0, NAME_c1, … and NAME_cov, beside a weight that is a polynomial in couplings."""
    return [*(f"{name}_c{k}" for k in range(terms)), f"{name}_cov"]


@contextmanager
def write_weights(
    path: str | Path,
    names: Sequence[str],
    provenance: dict[str, Any],
    kept: dict[str, np.dtype] | None = None,
    further: Further = _NOTHING_MORE,
) -> Iterator[WeightWriter]:
    """A weight file, complete under its name when the block ends and absent when it fails.

    **Arguments:** `names` of the weights; `provenance`, written as JSON beside the tree when the block ends;
    `kept`, branches of the events; `further`, what weights bring beside value, error and status.

    **Raises** `UsageError` where the file cannot be written.
    """
    # Level 1: weights are nearly random bits, a higher one costs time and saves nothing.
    with whole_file(path) as temporary, uproot.recreate(temporary, compression=uproot.ZSTD(1)) as file:
        yield WeightWriter(file, names, kept or {}, further)
        file["provenance"] = json.dumps(provenance, ensure_ascii=True)


def read_weights(path: str | Path, name: str | None = None, tree: str | None = None) -> Weight:
    """Read one weight back from a weight file, or from any tree with a branch of that name.

    **Arguments:** `name`, by default the file's only weight (a branch NAME beside a NAME_status).
    """
    located, own = expand([str(path)])[0]
    file = open_tree(located, own or tree, ())
    branches = list(file.tree.keys())
    if name is None:
        names = [branch for branch in branches if f"{branch}_status" in branches] or branches
        if len(names) != 1:
            raise UsageError(f"{file.address} has several weights ({', '.join(names)}): say which one")
        name = names[0]
    refuse_other_than_weight([name], branches)
    error = next((e for e in (f"{name}_error", f"{name}_err") if e in branches), None)
    couplings = _read_couplings(located, name) if f"{name}_cov" in branches else None
    more = (
        f"{name}_{each}" for each in ("status", "source", "reason", *(["cov"] if couplings is None else []))
    )
    wanted = [name, *([error] if error else []), *(each for each in more if each in branches)]
    table = open_tree(located, own or tree, wanted).read(0, file.num_entries).astype(np.float64)
    column = dict(zip(wanted, table.T, strict=True))
    value = column[name]
    status = column.get(f"{name}_status")
    if status is not None:
        _refuse_other_than_status(status, f"{file.address}: the branch {name}_status")
    lost = file.tree[f"{name}_lost"].array(library="np") if f"{name}_lost" in branches else None
    share, role = _read_assignments(file.tree, name) if f"{name}_role" in branches else (None, None)
    source, reason = (column.get(f"{name}_{each}") for each in ("source", "reason"))
    return Weight(
        value,
        column[error] if error else np.full_like(value, np.nan),
        np.where(np.isfinite(value), 0, 3).astype(np.int32) if status is None else status.astype(np.int32),
        None if source is None else source.astype(np.int32),
        reason=None if reason is None else reason.astype(np.int32),
        couplings=couplings,
        share=share,
        role=role,
        lost=lost,
        covariance=column.get(f"{name}_cov"),
    )


def _read_couplings(path: str, name: str) -> Couplings | None:
    """The polynomial of a weight; None where the file does not say which one it is."""
    with uproot.open(path) as file:
        about = json.loads(str(file["provenance"])) if "provenance" in file else {}
        said = [entry for entry in about.get("hypotheses", ()) if entry["process"] == name]
        if not said or "polynomial" not in said[0]:
            return None
        monomials = Monomials.from_dict(said[0]["polynomial"])
        *coefficients, covariance = coupling_branches(name, len(monomials.exponents))
        columns = file[TREE].arrays([*coefficients, covariance], library="np")
    return Couplings(
        monomials, np.stack([columns[each] for each in coefficients], axis=1), columns[covariance]
    )


def _read_assignments(tree: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """`Weight.share` and `Weight.role`."""
    share, role = (tree[f"{name}_{each}"].array(library="ak") for each in ("share", "role"))
    padded = ak.fill_none(ak.pad_none(share, LARGEST_SHARES, clip=True), np.nan)
    most = int(ak.max(ak.num(role), initial=0))
    roles = ak.fill_none(ak.pad_none(role, most, clip=True), -1)
    return ak.to_numpy(padded), ak.to_numpy(roles).astype(np.int32)


def _refuse_other_than_status(status: np.ndarray, where: str) -> None:
    """**Raises** `UsageError` where a number is no `Status`: what its weight is worth is not known."""
    if len(strange := np.flatnonzero(~np.isin(status, list(Status)))):
        values = ", ".join(f"{value:g}" for value in np.unique(status[strange])[:3])
        raise UsageError(
            f"{where} has {len(strange):,} of {len(status):,} entries that are no status "
            f"(0 to {max(Status)}), such as {values} at entry {strange[0]}. "
            "Write 0 for good weights, or none of these branches"
        )


def refuse_other_than_weight(names: Sequence[str], branches: Collection[str]) -> None:
    """**Raises** `UsageError` where a name is that of an error, a status or a source beside its weight."""
    for name in names:
        for suffix, what in _BESIDE.items():
            weight = name.removesuffix(suffix)
            if weight != name and weight in branches and f"{weight}_status" in branches:
                raise UsageError(f"the branch {name!r} is {what} of the weight {weight!r}, not a weight")


def branch_names(path: str | Path) -> list[str]:
    """All branches of a weight file."""
    return list(open_tree(str(path), TREE, ()).tree.keys())


def weight_names(path: str | Path) -> list[str]:
    """The weights in a weight file: branches NAME beside a NAME_status."""
    branches = branch_names(path)
    return [branch for branch in branches if f"{branch}_status" in branches]


def read_provenance(path: str | Path) -> dict[str, Any]:
    """What a weight file says about how it was made. **Raises** `DeepMEMError` where it says nothing."""
    open_tree(str(path), TREE, ())  # its errors are the clear ones
    with uproot.open(path) as file:
        if "provenance" not in file:
            raise DeepMEMError(f"{path} carries no provenance: it is not a weight file of DeepMEM")
        return json.loads(str(file["provenance"]))


def further_of(weights: Mapping[str, Weight], reasons: bool = False) -> Further:
    """What weights have beside values, errors and statuses; `reasons`, whether these are written, too."""
    terms = {name: each.couplings.coefficients.shape[1] for name, each in weights.items() if each.couplings}
    return Further(
        all(weight.source is not None for weight in weights.values()),
        [name for name, weight in weights.items() if weight.neutrinos is not None],
        terms,
        [name for name, weight in weights.items() if weight.covariance is not None],
        [name for name, weight in weights.items() if reasons and weight.reason is not None],
        [name for name, weight in weights.items() if weight.share is not None],
        [name for name, weight in weights.items() if weight.lost is not None],
    )


class Weights(Mapping[str, Weight]):
    """Weights by name, as `compute`, a `Surrogate` and `refine` return them; `to_root` writes the file."""

    def __init__(self, weights: Mapping[str, Weight], provenance: dict[str, Any]):
        self._weights = dict(weights)
        self.provenance = provenance

    def __getitem__(self, name: str) -> Weight:
        if name not in self._weights:
            raise KeyError(
                f"no weight {name!r}{nearest(name, self._weights)}; there are {', '.join(self._weights)}"
            )
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def __repr__(self) -> str:
        return f"Weights({', '.join(f'{name}: {len(weight)} events' for name, weight in self.items())})"

    def to_root(self, path: str | Path) -> None:
        """Write a weight file, whole or not at all. **Raises** `UsageError` where that is not possible."""
        with write_weights(path, list(self), self.provenance, further=further_of(self._weights)) as writer:
            writer.append(self._weights)
