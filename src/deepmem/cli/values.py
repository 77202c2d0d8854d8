"""What the texts of options mean; a text that means nothing is a `UsageError` that shows one that does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import typer

from deepmem.errors import UsageError

if TYPE_CHECKING:
    from deepmem.devices import DeviceNumber

# Options that a user may take for parameters.
_NO_PARAMETERS = (
    "pdf", "precision", "calls", "seed", "neutrinos", "entries", "keep", "selection", "mass",
)  # fmt: skip
_LONGEST_SCAN = 1000  # values


def device(text: str | None) -> DeviceNumber:
    """`--device`: the number of a GPU, `all`, or `None` for the CPU as in DeepMEM 0.0.1."""
    if text is None or text.lower() == "none":
        return None
    if text.lower() == "all":
        return "all"
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is not the number of a GPU (0, 1, …), all, or None for the CPU")
    return int(text)


def names(text: str | None) -> list[str]:
    """`--keep`: names between commas."""
    return [name for name in (text or "").split(",") if name]


def entries(text: str | None) -> tuple[int, int] | None:
    """`--entries A:B`: two entry numbers."""
    if text is None:
        return None
    parts = text.split(":")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise UsageError(
            f"--entries {text}: expected A:B, the first entry and the one after the last, such as 0:10000"
        )
    return int(parts[0]), int(parts[1])


def window(text: str) -> tuple[float, float]:
    """`--mass LOW:HIGH`, in GeV."""
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        raise UsageError(f"--mass {text}: expected LOW:HIGH in GeV, such as 60:120") from None
    return low, high


def cuts(text: str | None) -> dict[str, Any] | None:
    """`--selection`: a JSON object."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"--selection is not valid JSON ({error}), such as '{{\"lepton_pt\": [20, 10]}}'"
        ) from None
    if not isinstance(value, dict):
        raise UsageError(f"--selection: expected a JSON object of cuts, got {text}")
    return value


def settings(texts: Iterable[str] | None) -> dict[str, Any]:
    """`--set NAME=VALUE`, each: numbers as numbers, `A:B:STEP` as the values of a scan (B included), {…}
    as JSON, other words as they are."""
    values: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"--set {text}: expected NAME=VALUE, such as MZ=91.0 or MZ=90:92:0.5")
        if name in values:
            raise UsageError(f"--set gives {name} twice")
        if name in _NO_PARAMETERS:
            raise UsageError(f"--set {text}: {name} is no parameter of a process; see the option --{name}")
        if value.startswith("{"):
            values[name] = _object(text, value)
            continue
        free = value == "[:]"  # a coupling in which the weight is a polynomial
        values[name] = value if free else _scan(text, value) if ":" in value else _number(value)
    return values


def _object(text: str, value: str) -> dict[str, Any]:
    try:
        found = json.loads(value)
    except ValueError as error:
        raise UsageError(f'--set {text}: expected a JSON object, such as {{"b": 0.77}}: {error}') from None
    assert isinstance(found, dict)
    return found


def _number(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _scan(text: str, value: str) -> list[float]:
    try:
        low, high, step = map(float, value.split(":"))
    except ValueError:
        raise UsageError(f"--set {text}: a scan is FIRST:LAST:STEP, such as MZ=90:92:0.5") from None
    if not (step > 0 and high >= low and (high - low) / step < _LONGEST_SCAN):
        raise UsageError(
            f"--set {text}: expected FIRST ≤ LAST and a STEP above 0 (at most {_LONGEST_SCAN} values)"
        )
    return [low + i * step for i in range(int((high - low) / step + 1e-9) + 1)]
