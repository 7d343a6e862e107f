"""The first reading of an HTTP answer, by adapters of providers and senders: bounded, and without values in errors."""

import codecs
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from worker.core.foundation.strict_json import has_unstorable_text

_FOREVER = timedelta(days=3650)  # what a larger number in `Retry-After` is read as


class BadAnswer(Exception):
    """An answer that cannot be used. The text names a field and its shape, never a value."""


def json_object(body: bytes) -> Mapping[str, Any]:
    """The JSON object in `body`. Raises BadAnswer for anything else: HTML, an array, NaN, too deep nesting.

    Also for text that no database stores, because parts of the answer are kept.
    """
    try:
        value = _DECODER.decode(body.removeprefix(codecs.BOM_UTF8).decode())
        if not isinstance(value, dict):
            raise BadAnswer("the answer is not a JSON object")
        if b"\\u" in body and has_unstorable_text(value):  # UTF-8 and JSON allow both only as an escape
            raise BadAnswer("the answer holds a NUL or half of a character")
    except (ValueError, RecursionError):
        raise BadAnswer("the answer is not JSON") from None
    return value


def _no_constant(_: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def asked_wait(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The wait that `Retry-After` asks for, however long; None where it is not usable.

    Seconds or an HTTP date (RFC 9110, 10.2.3). A negative wait, a date in the past and garbage are not usable.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII):  # fractions are not in the standard, but some servers send them
        wait = timedelta(seconds=min(float(value), _FOREVER.total_seconds()))
    else:
        try:
            date = parsedate_to_datetime(value)
            # A date in the unknown zone "-0000" comes back naive; HTTP dates are GMT.
            wait = (date.replace(tzinfo=UTC) if date.tzinfo is None else date) - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return min(wait, _FOREVER) if wait > timedelta(0) else None


def retry_after(headers: Mapping[str, str], now: datetime, *, longest: timedelta) -> timedelta | None:
    """The wait to keep: the one that `Retry-After` asks for, at most `longest`; None where it asks for none.

    `longest` is the longest wait that the other side documents. A longer one is a mistake (milliseconds for seconds),
    and must not keep an account waiting: after `longest` one call finds out.
    """
    asked = asked_wait(headers, now)
    return None if asked is None else min(asked, longest)
