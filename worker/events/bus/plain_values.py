"""The values of headers as JSON values, and back: AMQP has bytes, times and decimals, which JSON has no form for. Pure.

A text, a number, true, false and null are themselves. Any other value is a list of its kind and its content.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

MOST_LEVELS = 32  # of lists and objects inside each other


class TooDeep(ValueError):
    """Values are nested too deep to be kept."""


def to_plain(value: Any, levels: int = MOST_LEVELS) -> Any:
    """The value as JSON values. Raises TooDeep."""
    if levels < 0:
        raise TooDeep
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return ["object", [[str(name), to_plain(inner, levels - 1)] for name, inner in value.items()]]
        case list() | tuple():
            return ["list", [to_plain(inner, levels - 1) for inner in value]]
        case bytes() | bytearray() | memoryview():
            return ["bytes", b64encode(bytes(value)).decode()]
        case datetime():
            return ["time", value.isoformat()]
        case Decimal():
            return ["decimal", str(value)]
    return str(value)


def from_plain(plain: Any) -> Any:
    """The value of `to_plain`."""
    match plain:
        case ["object", items]:
            return {name: from_plain(inner) for name, inner in items}
        case ["list", items]:
            return [from_plain(inner) for inner in items]
        case ["bytes", text]:
            return b64decode(text)
        case ["time", text]:
            return datetime.fromisoformat(text)
        case ["decimal", text]:
            return Decimal(text)
    return plain
