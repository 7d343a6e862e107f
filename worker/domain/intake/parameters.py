"""Cells of `PROVIDER.PARAMETER` columns: text becomes the JSON value that the provider's schema wants."""

import json
import re
from collections.abc import MutableMapping
from typing import Any, Literal

Wanted = Literal["string", "boolean", "integer", "number", "array", "object"]

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?")
_BOOLEANS = {"true": True, "false": False}
_YES_AND_NO = {**_BOOLEANS, "1": True, "0": False, "yes": True, "no": False}


def parse_cell(cell: Any, wanted: Wanted | None = None, items: Wanted | None = None) -> tuple[Any, str | None]:
    """The cell as a value of the JSON type `wanted` (an array of `items`), and None; or None and its problem.

    Values that are not text (from JSON lines and events) stay as they are: the schema checks them. Without
    `wanted` the type is guessed: true and false, numbers as a person writes them (not 007), JSON, `;` lists.
    """
    if not isinstance(cell, str):
        return cell, None
    text = cell.strip()
    match wanted:
        case "string":
            return text, None
        case "boolean":
            value = _YES_AND_NO.get(text.lower())
            return value, None if value is not None else "neither true nor false"
        case "integer":
            return (int(text), None) if _INTEGER.fullmatch(text) else (None, "not a whole number")
        case "number":
            return (_number(text), None) if _NUMBER.fullmatch(text) else (None, "not a number")
        case "array" if not text.startswith("["):
            return _list(text, items)
        case "array":
            return _json(text, list, "a JSON array")
        case "object":
            return _json(text, dict, "a JSON object")
        case _:
            return _guess(text)


def _number(text: str) -> int | float:
    return int(text) if _INTEGER.fullmatch(text) else float(text)


def _list(text: str, items: Wanted | None) -> tuple[Any, str | None]:
    values = []
    for part in text.split(";"):
        if part.strip():
            value, problem = parse_cell(part, items or "string")
            if problem:
                return None, f"in the list: {problem}"
            values.append(value)
    return values, None


def _json(text: str, kind: type, name: str) -> tuple[Any, str | None]:
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # the decoder has no message of its own for a value that is nested too deep
        return None, f"not {name}"
    return (value, None) if isinstance(value, kind) else (None, f"not {name}")


def _no_constant(_name: str) -> Any:
    raise ValueError("NaN and Infinity are not JSON")


def _guess(text: str) -> tuple[Any, str | None]:
    if text.startswith("{"):
        return _json(text, dict, "a JSON object")
    if text.startswith("["):
        return _json(text, list, "a JSON array")
    if text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()], None
    if _NUMBER.fullmatch(text) and str(_number(text)) == text:
        return _number(text), None
    return _list(text, None) if ";" in text else (text, None)


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
