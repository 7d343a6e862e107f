"""The shape of a payload without its values: its keys, and of each value the kind and size. Pure.

For operators who look at a refused event: its values are personal data.
"""

import re
from typing import Any

MOST_ITEMS = 50
# A key that looks like the name of a field. A key that holds a person's data does not.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,39}(?:[_.:-][A-Za-z][A-Za-z0-9]{0,39}){0,5}")


def shape_of(value: Any) -> Any:
    """The shape, as JSON values: objects and lists keep their form."""
    match value:
        case dict():
            shown = {_name(key): shape_of(inner) for key, inner in list(value.items())[:MOST_ITEMS]}
            return shown | ({"…": f"{len(value) - MOST_ITEMS:,} more"} if len(value) > MOST_ITEMS else {})
        case list():
            shown_items = [shape_of(inner) for inner in value[:MOST_ITEMS]]
            return shown_items + ([f"{len(value) - MOST_ITEMS:,} more"] if len(value) > MOST_ITEMS else [])
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return f"a text of {len(value):,}"
        case bytes():
            return f"{len(value):,} bytes"
    return type(value).__name__


def _name(key: Any) -> str:
    text = str(key)
    return text if _NAME.fullmatch(text) else f"a key of {len(text):,}"
