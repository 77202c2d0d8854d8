"""What files say of the hypotheses that their weights belong to, and in what two of them differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepmem.event import scan_name, variation_name


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What two descriptions of weights or hypotheses differ in, a phrase for each: "MZ 91.2, not 80"."""
    flat, against = _flat(one), _flat(other)
    return [
        f"{key} {_short(flat.get(key))}, not {_short(against.get(key))}"
        for key in dict.fromkeys([*flat, *against])
        if flat.get(key) != against.get(key)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts and lists of dicts as one, keys joined by dots; parameters under their own names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= _flat(value, "" if key == "parameters" else f"{name}.")
        elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            for i, each in enumerate(value):
                flat |= _flat(each, f"{name}[{i}]." if len(value) > 1 else prefix)
        else:
            flat[name] = value
    return flat


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}…{text[-12:]}"


def described(about: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a provenance says of the hypothesis of each weight; in a scan, with the weight's own value.

    Learned weights have what their model says of the labels.
    """
    found: dict[str, dict[str, Any]] = {}
    for entry in about.get("hypotheses") or about.get("model", {}).get("hypotheses", ()):
        scan = scanned(entry)
        if scan is None:
            found[entry["process"]] = entry
            continue
        parameter, values = scan
        for value in values:
            at = entry | {"parameters": entry["parameters"] | {parameter: value}}
            found[scan_name(entry["process"], parameter, value)] = at
    for variation in about.get("variations") or ():
        found |= {
            variation_name(name, variation): entry | {"variation": variation}
            for name, entry in found.items()
            if "variation" not in entry
        }
    return found


def scanned(entry: Mapping[str, Any]) -> tuple[str, list[float]] | None:
    """The parameter that a described hypothesis was scanned in, and its values."""
    return next(((k, v) for k, v in entry["parameters"].items() if isinstance(v, list)), None)
