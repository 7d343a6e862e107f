"""Request bodies: nested values from dotted names, and their JSON bytes."""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by documented name, with "a.b" put inside "a". The later of two that collide wins."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        *outer, last = name.split(".")
        place = result
        for part in outer:
            inner = place.get(part)
            # A copy: what came in belongs to the account or the customer, and is used again.
            place[part] = dict(inner) if isinstance(inner, Mapping) else {}
            place = place[part]
        present = place.get(last)
        place[last] = {**present, **value} if isinstance(present, dict) and isinstance(value, Mapping) else value
    return result


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Several layers of values as one: a later layer wins, name by name also inside objects."""
    result: dict[str, Any] = {}
    for layer in layers:
        for name, value in nested(layer).items():
            present = result.get(name)
            both = isinstance(present, Mapping) and isinstance(value, Mapping)
            result[name] = merged(present, value) if both else value  # type: ignore[arg-type]  # both are mappings
    return result


def holds(values: Mapping[str, Any], name: str) -> bool:
    """Whether nested `values` have something at the dotted name."""
    first, _, rest = name.partition(".")
    if first not in values:
        return False
    inner = values[first]
    return not rest or not isinstance(inner, Mapping) or holds(inner, rest)


def json_body(fields: Mapping[str, Any]) -> bytes:
    """JSON in ASCII: escapes survive every proxy, and half of a surrogate pair cannot break the encoding."""
    return json.dumps(fields, separators=(",", ":"), default=_plain).encode("ascii")


def _plain(value: object) -> str:
    if isinstance(value, date):  # TOML has dates
        return value.isoformat()
    raise TypeError(f"cannot be sent as JSON: {type(value).__name__}")
