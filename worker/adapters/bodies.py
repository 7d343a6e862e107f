"""The bodies of requests and of answers. A request's has nested values from dotted names, as JSON bytes.

The answers of providers and senders are read strictly, with bounds, and without repeating values. Their messages are
shown, stored and logged without personal values and secrets. A field that cannot be read raises BadAnswer, which names
the field and never shows its value.
"""

import codecs
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from onboarding_worker.adapters.strict_json import has_unstorable_text
from onboarding_worker.core.foundation.notation import plain
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.http_messages import HttpAnswer
from onboarding_worker.core.model.sessions import SessionRequest


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by documented name, with "a.b" put inside "a". If two collide, the later value wins."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if "." not in name and name not in result:
            result[name] = value
            continue
        *outer, last = name.split(".")
        holder = result
        for part in outer:
            inner = holder.get(part)
            # A copy: the given values belong to the account or the customer, and are used again.
            holder[part] = dict(inner) if isinstance(inner, Mapping) else {}
            holder = holder[part]
        present = holder.get(last)
        holder[last] = {**present, **value} if isinstance(present, dict) and isinstance(value, Mapping) else value
    return result


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Several layers of values merged into one. A later layer wins, name by name, inside objects too."""
    result: dict[str, Any] = {}
    for layer in layers:
        if not layer:
            continue
        if not result:
            result = nested(layer)
            continue
        for name, value in nested(layer).items():
            present = result.get(name)
            both = isinstance(present, Mapping) and isinstance(value, Mapping)
            result[name] = merged(present, value) if both else value  # type: ignore[arg-type]  # both are mappings
    return result


def holds(values: Mapping[str, Any], name: str) -> bool:
    """True if nested `values` have a value at the dotted name."""
    first, _, rest = name.partition(".")
    if first not in values:
        return False
    inner = values[first]
    return not rest or not isinstance(inner, Mapping) or holds(inner, rest)


def json_body(fields: Mapping[str, Any]) -> bytes:
    """JSON in ASCII: escapes survive every proxy, and half of a surrogate pair cannot break the encoding."""
    return _ENCODER.encode(fields).encode()


def _plain(value: object) -> str:
    if isinstance(value, date):  # TOML has dates
        return value.isoformat()
    raise TypeError(f"cannot be sent as JSON: {type(value).__name__}")


_ENCODER = json.JSONEncoder(separators=(",", ":"), default=_plain)


# iDenfy documents at most 40 characters; vendors behind FrankieOne may use signed tokens (JWT) of some thousand.
LONGEST_TOKEN = 4096
LONGEST_REFERENCE = 256
SUCCESS = range(200, 300)  # statuses
MOST_FIELDS = 10  # documented fields that a detail names
LONGEST_READ = 4000  # characters of a message that are searched for them
_FOREVER = timedelta(days=3650)  # what a larger number in `Retry-After` is read as
T = TypeVar("T")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

MASK = "…"
LONGEST_MESSAGE = 300
# The rest of a longer message is dropped: the patterns below must not run over a megabyte.
LONGEST_MASKED = 640
# Shorter values are masked only as whole words: "Li" is a name, and also a part of "limit".
SHORTEST_ANYWHERE = 3

PATTERNS = (
    # A URL keeps its host; path and query may hold a token.
    (re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://)(?:[^\s/?#@]*@)?([^\s/?#\"'<>]*)[^\s\"'<>]*", re.I), r"\1\2/" + MASK),
    # Email addresses. Here and below a run is looked at from its beginning only, which keeps the search linear.
    (re.compile(r"(?<![^\s@\"'<>(),;:])[^\s@\"'<>(),;:]+(?:@|%40)[^\s@\"'<>(),;:]+", re.IGNORECASE), MASK),
    # Tokens and ids: long runs that mix letters and digits, and very long runs of anything.
    (
        re.compile(
            r"(?<![A-Za-z0-9_+/=.~-])(?=[A-Za-z0-9_+/=.~-]*\d)(?=[A-Za-z0-9_+/=.~-]*[A-Za-z])[A-Za-z0-9_+/=.~-]{16,}"
        ),
        MASK,
    ),
    (re.compile(r"(?<![A-Za-z0-9_+/=.~-])[A-Za-z0-9_+/=.~-]{40,}"), MASK),
    (re.compile(r"\+?\d(?:[\s().-]{0,2}\d){6,}"), MASK),  # phone, document and personal numbers, dates of birth
)


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


def mail_date(value: object) -> datetime | None:
    """The date of a mail (RFC 5322) or of HTTP, aware; None if it is not readable."""
    try:
        date = parsedate_to_datetime(value) if isinstance(value, str) else None
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    # A date in the unknown zone "-0000" comes back naive; HTTP dates are GMT.
    return date.replace(tzinfo=UTC) if date is not None and date.tzinfo is None else date


def asked_wait(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The wait that `Retry-After` asks for, however long; None where it is not usable.

    Seconds or an HTTP date (RFC 9110, 10.2.3). A negative wait, a date in the past and garbage are not usable.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII):  # fractions are not in the standard, but some servers send them
        wait = timedelta(seconds=min(float(value), _FOREVER.total_seconds()))
    else:
        date = mail_date(value)
        if date is None:
            return None
        wait = date - now
    return min(wait, _FOREVER) if wait > timedelta(0) else None


def retry_after(headers: Mapping[str, str], now: datetime, *, longest: timedelta) -> timedelta | None:
    """The wait to keep: the one that `Retry-After` asks for, at most `longest`; None where it asks for none.

    `longest` is the longest wait that the other side documents. A longer one is a mistake (milliseconds for seconds),
    and must not keep an account waiting: after `longest` one call finds out.
    """
    asked = asked_wait(headers, now)
    return None if asked is None else min(asked, longest)


@dataclass(frozen=True)
class Unread:
    """An answer without what was asked for: its JSON object, empty if it has none, and why, without a value of it."""

    found: Mapping[str, Any]
    reason: str


def read_from(
    answer: HttpAnswer, read: Callable[[Mapping[str, Any]], T], good: Collection[int] = SUCCESS
) -> T | Unread:
    """What `read` makes of the answer's JSON object, if its status is good. `read` may raise BadAnswer."""
    found: Mapping[str, Any] = {}
    reason = ""
    try:
        found = json_object(answer.body)
        if answer.status in good:
            return read(found)
    except BadAnswer as error:  # its text names the field, never its value
        reason = str(error)
    return Unread(found, reason)


def text(answer: Mapping[str, Any], field: str, *, most: int = LONGEST_REFERENCE) -> str:
    """The text in `field`: present, not empty, printable, at most `most` characters. Raises BadAnswer."""
    value = answer.get(field)
    if value is None or value == "":
        raise BadAnswer(f"the answer has no {field}")
    if not isinstance(value, str):
        raise BadAnswer(f"{field} in the answer is not a string")
    if len(value) > most:
        raise BadAnswer(f"{field} in the answer is longer than {most} characters")
    if not value.isprintable() or value.isspace():
        raise BadAnswer(f"{field} in the answer has unprintable characters")
    return value


def optional_text(answer: Mapping[str, Any], field: str, *, most: int = LONGEST_REFERENCE) -> str:
    """As `text`, but "" if the field is not usable: nothing depends on it."""
    if not answer.get(field):
        return ""
    try:
        return text(answer, field, most=most)
    except BadAnswer:
        return ""


def check_echo(answer: Mapping[str, Any], field: str, sent: str) -> None:
    """Raise BadAnswer if the answer repeats another value than was sent: then it is about another customer.

    A proxy that mixes answers up would otherwise give one customer the link of another.
    """
    value = answer.get(field)
    if isinstance(value, str) and value and value != sent:
        raise BadAnswer(f"{field} in the answer is not the one that was sent")


def fields_in(message: str, names: Collection[str]) -> str:
    """Which documented fields a provider's message mentions, in words; "" if it mentions none."""
    mentioned = dict.fromkeys(word for word in _WORD.findall(message[:LONGEST_READ]) if word in names)
    return f"it mentions {', '.join(list(mentioned)[:MOST_FIELDS])}" if mentioned else ""


def refusal(
    answer: HttpAnswer,
    kind: Kind,
    *,
    code: str | None,
    details: Sequence[str],
    words: str,
    longest_wait: timedelta,
    now: datetime,
    undocumented: bool = False,
) -> Problem:
    """The Problem for an answer without a usable session.

    `details` are our own words, and names of documented fields. `words` is the provider's sentence.

    The Problem has the wait that the answer asks for if the call is to be made again, at most `longest_wait`: the
    longest that the provider documents. `undocumented`: the code is not in our table of the provider, so that the calls
    for other rows show whether a refusal is about this one.
    """
    waits = kind in (Kind.RATE_LIMITED, Kind.TRANSIENT)
    asked = asked_wait(answer.headers, now) if waits else None
    too_long = asked is not None and asked > longest_wait
    status = f"HTTP {answer.status}" + (f" {code}" if code else "")
    longer = "it asks for a longer wait than is documented, so one call goes ahead sooner" if too_long else ""
    joined = "; ".join(part.rstrip(".") if longer else part for part in (*details, longer) if part)
    return Problem(
        kind,
        f"{status}: {joined}" if joined else status,
        code=code,
        status=answer.status,
        retry_after=retry_after(answer.headers, now, longest=longest_wait) if waits else None,
        # A firewall on the way may refuse this request alone.
        unclear=(answer.status == 403 and not _is_object(answer)) or (kind is Kind.BAD_INPUT and undocumented),
        undocumented=undocumented,
        words=words,
    )


def _is_object(answer: HttpAnswer) -> bool:
    """Whether the answer is a JSON object, as those of providers are."""
    try:
        json_object(answer.body)
    except BadAnswer:
        return False
    return True


def masked(message: object, request: SessionRequest, *, secrets: Iterable[str] = ()) -> str:
    """`message` on one line, at most LONGEST_MESSAGE characters, without the request's personal values.

    `secrets` are masked too, anywhere in the text. A message that is not a text gives "".
    """
    if not isinstance(message, str):
        return ""
    line = _one_line(message[:LONGEST_MASKED])
    if len(message) > LONGEST_MASKED:
        line = line.rpartition(" ")[0]  # the cut may have left half of a value, which would no longer match
    for value in sorted(_values(request, secrets), key=len, reverse=True):
        whole = re.escape(value) if len(value) >= SHORTEST_ANYWHERE else rf"(?<!\w){re.escape(value)}(?!\w)"
        line = re.sub(whole, MASK, line, flags=re.IGNORECASE)
    for pattern, replacement in PATTERNS:
        line = pattern.sub(replacement, line)
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"


def _one_line(text: str) -> str:
    """The text as one line of visible characters: bidi and zero-width characters could hide or reverse a value."""
    return plain(unicodedata.normalize("NFC", text), most=sys.maxsize)


def _values(request: SessionRequest, secrets: Iterable[str]) -> set[str]:
    """Every value that must not be shown: unchanged, in upper case (as iDenfy writes it), and word by word."""
    person = request.customer.person
    values = {
        person.email,
        person.phone,
        person.first_name,
        person.last_name,
        person.company_name,
        person.nationality,
        person.address,
        person.date_of_birth.isoformat() if person.date_of_birth else "",
        *_texts(request.parameters),
        *secrets,
    }
    lines = {_one_line(value) for value in values}
    words = {word.strip(",.;:'\"()") for line in lines for word in line.split()}
    # Some letters become two in another case ("ß", "İ"); a case-insensitive search does not find those.
    forms = (form for value in lines | words for form in (value, value.upper(), value.lower()))
    return {line for form in forms if len(line := _one_line(form)) > 1}


def _texts(value: Any) -> Iterator[str]:
    """Every text and number in a parameter, at any depth. Booleans are skipped: they identify no person."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float | date) and not isinstance(value, bool):
        yield str(value)
