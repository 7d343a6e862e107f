"""Reading what a provider sent: strict, bounded, and silent about values.

Whatever cannot be read is a BadAnswer that names the field and never shows what was in it.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

# iDenfy documents at most 40 characters; vendors behind FrankieOne may use signed tokens (JWT) of some thousand.
LONGEST_TOKEN = 4096
LONGEST_REFERENCE = 256
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


def text(answer: Mapping[str, Any], field: str, *, most: int = LONGEST_REFERENCE) -> str:
    """The text in `field`: present, not empty, printable, at most `most` characters. Raises BadAnswer."""
    value = answer.get(field)
    if value is None or value == "":
        raise BadAnswer(f"the answer has no {field}")
    if not isinstance(value, str):
        raise BadAnswer(f"{field} in the answer is not a text")
    if len(value) > most:
        raise BadAnswer(f"{field} in the answer is longer than {most} characters")
    if not value.isprintable() or value.isspace():
        raise BadAnswer(f"{field} in the answer holds unprintable characters")
    return value


def optional_text(answer: Mapping[str, Any], field: str, *, most: int = LONGEST_REFERENCE) -> str:
    """As `text`, but "" for whatever is not usable: nothing depends on the field."""
    try:
        return text(answer, field, most=most)
    except BadAnswer:
        return ""


def utc_time(value: object) -> datetime | None:
    """An ISO 8601 time as aware UTC; one without an offset is UTC. None where it is not readable.

    A date alone is not a time, and a number is never read as one.
    """
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d", value.strip()):
        return None
    try:
        # Beyond microseconds fromisoformat gives up, and some libraries write nanoseconds.
        time = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value.strip()))
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


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
