"""The values of `PROVIDER.PARAMETER` columns: where they stand, and whether they can be stored."""

from collections.abc import MutableMapping
from typing import Any


def put(parameters: MutableMapping[str, Any], name: str, value: Any) -> None:
    """Set the parameter of this dotted name: `a.b` is `b` inside `a`. The header's check excludes clashes."""
    *outer, last = name.split(".")
    for part in outer:
        parameters = parameters.setdefault(part, {})
    parameters[last] = value


def storable(value: Any) -> bool:
    """True if every text in the value can be stored and sent.

    No database stores a NUL in a text, and JSON's \\ud800 is half of a surrogate pair, which no encoding has.
    """
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            if not one.isprintable() and ("\x00" in one or any("\ud800" <= sign <= "\udfff" for sign in one)):
                return False
        elif isinstance(one, dict):
            left += (*one.keys(), *one.values())
        elif isinstance(one, list | tuple):
            left += one
    return True
