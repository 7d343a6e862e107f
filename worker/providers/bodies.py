"""Request bodies: nested values from dotted names, and their JSON bytes."""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by documented name, with "a.b" put inside "a". If two collide, the later value wins."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if "." not in name and name not in result:
            result[name] = value
            continue
        *outer, last = name.split(".")
        holder = result
        for part in outer:
            inner = holder.get(part)
            # A copy: the given values belong to the account or the customer, and are used again.
            holder[part] = dict(inner) if isinstance(inner, Mapping) else {}
            holder = holder[part]
        present = holder.get(last)
        holder[last] = {**present, **value} if isinstance(present, dict) and isinstance(value, Mapping) else value
    return result


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Several layers of values merged into one. A later layer wins, name by name, inside objects too."""
    result: dict[str, Any] = {}
    for layer in layers:
        if not layer:
            continue
        if not result:
            result = nested(layer)
            continue
        for name, value in nested(layer).items():
            present = result.get(name)
            both = isinstance(present, Mapping) and isinstance(value, Mapping)
            result[name] = merged(present, value) if both else value  # type: ignore[arg-type]  # both are mappings
    return result


def holds(values: Mapping[str, Any], name: str) -> bool:
    """True if nested `values` have a value at the dotted name."""
    first, _, rest = name.partition(".")
    if first not in values:
        return False
    inner = values[first]
    return not rest or not isinstance(inner, Mapping) or holds(inner, rest)


def json_body(fields: Mapping[str, Any]) -> bytes:
    """JSON in ASCII: escapes survive every proxy, and half of a surrogate pair cannot break the encoding."""
    return _ENCODER.encode(fields).encode()


def _plain(value: object) -> str:
    if isinstance(value, date):  # TOML has dates
        return value.isoformat()
    raise TypeError(f"cannot be sent as JSON: {type(value).__name__}")


_ENCODER = json.JSONEncoder(separators=(",", ":"), default=_plain)
