"""HTTP requests and answers as values, and the first reading of an answer: bounded, and without values in errors.

Providers and SMS senders build and read these values; `worker.http.client` makes the call in between.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any


@dataclass(frozen=True, repr=False)
class HttpRequest:
    """One request, ready to send. `headers` contains the credential: never logged, no repr."""

    method: str
    url: str  # absolute, built from the account's base_url and the provider's documented path
    headers: Mapping[str, str]
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpRequest({self.method}, …)"


@dataclass(frozen=True, repr=False)
class HttpAnswer:
    """One complete, bounded answer. `headers` has lower-case names. `body` may contain a token: no repr."""

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


# No documented wait of any provider is longer than an hour (iDenfy's quota). A wait of more than a day is a mistake of
# the provider (a year in seconds, milliseconds for seconds), and must not stop an account for so long.
LONGEST_WAIT = timedelta(days=1)


class BadAnswer(Exception):
    """An answer that cannot be used. The text names a field and its shape, never a value."""


def json_object(body: bytes) -> Mapping[str, Any]:
    """The JSON object in `body`. Raises BadAnswer for anything else: HTML, an array, NaN, too deep nesting."""
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadAnswer("the answer is not JSON") from None
    if not isinstance(value, dict):
        raise BadAnswer("the answer is not a JSON object")
    return value


def _no_constant(_: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The wait that `Retry-After` asks for, at most LONGEST_WAIT; None where it is not usable.

    Seconds or an HTTP date (RFC 9110, 10.2.3). A negative wait, a date in the past and garbage are not usable.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII):  # fractions are not in the standard, but some servers send them
        wait = timedelta(seconds=min(float(value), LONGEST_WAIT.total_seconds()))
    else:
        try:
            date = parsedate_to_datetime(value)
            # A date in the unknown zone "-0000" comes back naive; HTTP dates are GMT.
            wait = (date.replace(tzinfo=UTC) if date.tzinfo is None else date) - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return min(wait, LONGEST_WAIT) if wait > timedelta(0) else None
