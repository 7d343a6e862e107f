"""A payload without what it says: its keys, and of each value the kind and size. Pure.

For people who look at a refused event: it is personal, and more so where it is not what it should be.
"""

import re
from typing import Any

MOST_ITEMS = 50
# A key that looks like a name of a field. Where a person's data stands in the key, it does not.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,39}(?:[_.:-][A-Za-z][A-Za-z0-9]{0,39}){0,5}")


def shape_of(value: Any) -> Any:
    """For JSON: objects and lists keep their form."""
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
