"""A JSON object or list from untrusted bytes: ambiguous content is refused, not guessed at. The standard library's
decoder accepts NaN, numbers that become infinite, and a key that an object has twice. It raises RecursionError where
objects are nested too deep."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
MOST_LEVELS = 32  # objects and lists inside each other; the decoder itself fails at about 1,000


class Flaw(StrEnum):
    """What is wrong with bytes that should be an object, after their name: "the body is not JSON". No value."""

    NOT_UTF8 = "is not UTF-8"
    NOT_JSON = "is not JSON"
    KEY_TWICE = "has the same key twice in one object"
    TOO_DEEP = f"has objects or lists nested more than {MOST_LEVELS} levels deep"
    NO_OBJECT = "is not a JSON object"
    NUMBER_TOO_LARGE = "has a number that is too large"


@dataclass(frozen=True)
class NoObject:
    """Why there is no object. `at` is the character where valid JSON ends, from 1, if known; `key` is the repeated key
    as it was written. No repr: personal data may be in the place of a key."""

    flaw: Flaw
    at: int | None = None
    key: str = field(default="", repr=False)

    @property
    def words(self) -> str:
        """The flaw, and the place if it is known."""
        return self.flaw.value + (f" at character {self.at:,}" if self.at is not None else "")


class _Refused(ValueError):
    """What the decoder accepts, and we do not."""

    def __init__(self, why: NoObject) -> None:
        super().__init__(why.flaw)
        self.why = why


def read_object(raw: bytes) -> dict[str, Any] | NoObject:
    """The object that is all of `raw`, which is UTF-8 without a byte order mark."""
    return _read(raw, dict)


def read_list(raw: bytes) -> list[Any] | NoObject:
    """The list that is all of `raw`, as `read_object` reads an object."""
    return _read(raw, list)


def _read(raw: bytes, kind: type[T]) -> T | NoObject:
    try:
        text = raw.decode("utf-8")
        value = _DECODER.decode(text)
    except UnicodeDecodeError:
        return NoObject(Flaw.NOT_UTF8)
    except _Refused as error:
        return error.why
    except json.JSONDecodeError as error:
        # The decoder's own text is left out: it may contain parts of the input.
        return NoObject(Flaw.NOT_JSON, at=error.pos + 1)
    except ValueError:  # a whole number of more than 4,300 digits
        return NoObject(Flaw.NUMBER_TOO_LARGE)
    except RecursionError:
        return NoObject(Flaw.TOO_DEEP)
    if type(value) is not kind:
        return NoObject(Flaw.NO_OBJECT)
    if text.count("{") + text.count("[") > MOST_LEVELS and is_too_deep(value):
        return NoObject(Flaw.TOO_DEEP)
    return value


def has_unstorable_text(value: Any) -> bool:
    """Whether a key or a text contains a NUL or half of a surrogate pair. JSON allows both, no database stores them.
    For what `read_object` reads, so not nested too deep."""
    return any(_UNSTORABLE.search(text) for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            yield from value
            for inner in value.values():
                yield from _texts(inner)
        case list() | tuple():
            for inner in value:
                yield from _texts(inner)


def is_too_deep(value: Any, *, most: int = MOST_LEVELS) -> bool:
    """Whether more than `most` objects and lists lie in each other: their readers call themselves."""
    level = [value]
    for _ in range(most):
        inside = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [one for many in inside for one in many]
    return any(isinstance(one, dict | list) for one in level)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Refused(NoObject(Flaw.KEY_TWICE, key=key))
        found[key] = value
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Refused(NoObject(Flaw.NUMBER_TOO_LARGE))
    return value


def _no_constant(_name: str) -> NoReturn:
    raise _Refused(NoObject(Flaw.NOT_JSON))  # NaN and Infinity


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_DECODER = json.JSONDecoder(object_pairs_hook=_no_key_twice, parse_float=_finite, parse_constant=_no_constant)
