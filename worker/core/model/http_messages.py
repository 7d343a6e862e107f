"""HTTP requests and answers as values, and the first reading of an answer: bounded, and without values in errors.

Providers and SMS senders build and read these values; `worker.http.client` makes the call in between.
"""

import codecs
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from worker.core.foundation.strict_json import has_unstorable_text

# Called at most once, directly before a request or message is written. The argument says whether the call has waited
# for a connection, which may have taken long. The answer False: nothing is written. A call that has not waited is
# always written, and needs no answer.
MayWrite = Callable[[bool], bool]


@dataclass(repr=False)  # these two are not frozen: see `customers.customers`
class HttpRequest:
    """One request, ready to send. `headers` contains the credential: never logged, no repr."""

    method: str
    url: str  # absolute, built from the account's base_url and the provider's documented path
    headers: Mapping[str, str]
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpRequest({self.method}, …)"


@dataclass(repr=False)
class HttpAnswer:
    """One complete, bounded answer. `body` may contain a token: no repr.

    `headers` finds a name in lower case, and of a name that comes more than once the first value.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpAnswer({self.status}, {len(self.body)} bytes)"


@dataclass(frozen=True)
class Broken:
    """No answer. `sent`: the request was or may have been written, so it may have been carried out."""

    sent: bool
    detail: str  # names the failure ("connect timeout"), never an address or value


# Answers are a few hundred bytes, FrankieOne's with vendor parameters a few thousand.
LARGEST_ANSWER = 1024 * 1024
TOO_LARGE = Broken(sent=True, detail=f"answer larger than {LARGEST_ANSWER} bytes")
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
