"""JSON Lines to objects: bounded in memory, and a line that is none is a problem in place of its object."""

import codecs
import json
import math
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

from worker.customers import FieldProblem
from worker.intake.columns import shown

LONGEST_LINE = 1 << 20  # bytes, without the line's end
MOST_LEVELS = 32  # objects and lists inside each other; the decoder itself gives up at some 1,000

_ONE_OBJECT = 'write each customer as an object on one line: {"customer_id": "A1", …}'
_TOO_LONG = FieldProblem("", f"the line has more than {LONGEST_LINE:,} bytes", _ONE_OBJECT)
_TOO_DEEP = FieldProblem("", f"objects or lists more than {MOST_LEVELS} deep", "leave out the inner ones")
_NOT_UTF8 = FieldProblem("", "the line is not UTF-8", "write the file as UTF-8")
_NO_OBJECT = FieldProblem("", "the line is not a JSON object", _ONE_OBJECT)


class _Twice(ValueError):
    """A key that an object has twice: which of the two values is meant, nobody knows."""

    def __init__(self, key: str) -> None:
        super().__init__("a key comes twice")
        self.key = key


def json_lines(raw: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | FieldProblem]]:
    """Each line's object with the line's number, which counts blank lines too; they are left out."""
    row = 0
    while line := raw.readline(LONGEST_LINE + 1):
        row += 1
        if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = raw.readline(LONGEST_LINE + 1)
            yield row, _TOO_LONG
            continue
        if row == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield row, _object(line)


def _object(line: bytes) -> dict[str, Any] | FieldProblem:
    try:
        text = line.decode("utf-8")
        value = _DECODER.decode(text)
    except UnicodeDecodeError:
        return _NOT_UTF8
    except _Twice as error:
        return FieldProblem(shown(error.key), "the key comes twice in one object", "keep one of the two")
    except ValueError as error:
        # The decoder's own words are left out: they may repeat what the line holds.
        at = f" at character {error.pos + 1:,}" if isinstance(error, json.JSONDecodeError) else ""
        return FieldProblem("", f"the line is not JSON{at}", _ONE_OBJECT)
    except RecursionError:
        return _TOO_DEEP
    if type(value) is not dict:
        return _NO_OBJECT
    if text.count("{") + text.count("[") > MOST_LEVELS and _is_too_deep(value):
        return _TOO_DEEP
    return value


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
        level = [inner for inner in level if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(key)
        found[key] = value
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number too large")
    return value


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_no_key_twice, parse_float=_finite, parse_constant=_no_constant)
