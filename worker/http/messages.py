"""What goes over HTTP, as values, and the first reading of what came back: bounded, and silent about values.

Providers and SMS senders are written in these words; `worker.http.client` makes the call between them.
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
    """One request, ready for the wire. `headers` holds the credential: never logged, no repr."""

    method: str
    url: str  # absolute, built from the account's base_url and the provider's documented path
    headers: Mapping[str, str]
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpRequest({self.method}, …)"


@dataclass(frozen=True, repr=False)
class HttpAnswer:
    """One answer, read whole and bounded. `headers` has lower-case names. `body` may hold a token: no repr."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpAnswer({self.status}, {len(self.body)} bytes)"


@dataclass(frozen=True)
class Broken:
    """No answer. `sent`: the request was, or may have been, written, so it may have been carried out."""

    sent: bool
    detail: str  # names the failure ("connect timeout"), never an address or value


# No documented wait of any provider is longer than an hour (iDenfy's quota); beyond a day it is a mistake
# of theirs (a year in seconds, milliseconds for seconds), and an account must not sleep through it.
LONGEST_WAIT = timedelta(days=1)


class BadAnswer(Exception):
    """An answer that cannot be used. The text names a field and a shape, never a value."""


def json_object(body: bytes) -> Mapping[str, Any]:
    """The JSON object in `body`. Raises BadAnswer for anything else: HTML, an array, NaN, nesting without end."""
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
    """How long `Retry-After` asks to wait, at most LONGEST_WAIT; None where it says nothing usable.

    Seconds or an HTTP date (RFC 9110, 10.2.3). A negative wait, one that is over and garbage say nothing.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII):  # fractions are not in the standard, and are sent
        wait = timedelta(seconds=min(float(value), LONGEST_WAIT.total_seconds()))
    else:
        try:
            date = parsedate_to_datetime(value)
            # A date in the unknown zone "-0000" comes back naive; HTTP dates are GMT.
            wait = (date.replace(tzinfo=UTC) if date.tzinfo is None else date) - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return min(wait, LONGEST_WAIT) if wait > timedelta(0) else None
