"""What every reader of a provider's webhooks promises: first whether the bytes are the provider's, then what they say.

Readers are pure, like the adapters beside them: bytes in, words of ours out, the time an argument. Nobody waits for
them, so they never raise on what is sent. What an event does: docs/webhooks.md; facts: providers.md 7.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Protocol

from worker.domain.verification.session_updates import Key, SessionUpdate
from worker.foundation.strict_json import NoObject, read_object
from worker.providers.account import Secret
from worker.providers.answers import LONGEST_TOKEN, BadAnswer, optional_text, utc_time

# A result with its screening hits is some ten kilobytes; a company's with many owners some hundred.
LARGEST = 1024 * 1024
# The column that a reference is kept in.
LONGEST_REFERENCE = 100
# Before this nobody was verified: a time below is a zero, or seconds of something else.
EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, repr=False)
class Delivery:
    """One POST as it came. It is personal, and its headers and path may hold a secret: no repr.

    `headers` has lower-case names. `path` has what follows the account's name, decoded: ("SECRET", "REQUESTID").
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Delivery({len(self.body)} bytes)"


@dataclass(frozen=True)
class Unreadable:
    """Bytes that say nothing, though they are the provider's. `reason` names no value; `status` is what to answer."""

    reason: str
    status: int = 200


class WebhookReader(Protocol):
    """One account's webhooks. Built once per process from the account's settings."""

    def refuses_unread(self, delivery: Delivery, *, now: datetime) -> str:
        """As `refuses`, by the headers and the path alone: so that strangers' bodies need not be read."""

    def refuses(self, delivery: Delivery, *, now: datetime) -> str:
        """Why this is not the provider's, for the log, naming no value; "" where it is. Nothing is parsed before.

        `now` is aware UTC. Whatever is refused is answered 401.
        """

    def read(self, delivery: Delivery) -> SessionUpdate | Unreadable:
        """What it says. Only for what was not refused. An event that is not known is news that changes nothing."""


class WebhookSettings(Protocol):
    """What a reader needs of one `[accounts.NAME]`."""

    @property
    def name(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def webhook_keys(self) -> tuple[Secret, ...]: ...
    @property
    def jwt_key(self) -> tuple[Secret, ...]: ...
    @property
    def webhook_secret(self) -> tuple[Secret, ...]: ...


def same(given: str, expected: str) -> bool:
    """Whether two texts are equal, found in a time that does not say where they differ, or which is the longer."""
    hashes = (sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (given, expected))
    return hmac.compare_digest(*hashes)


def json_said(body: bytes) -> Mapping[str, Any]:
    """The JSON object in the body. Raises BadAnswer for anything else, whose text names no value.

    A field that is said twice is refused: one reader takes the first and another the last.
    """
    if len(body) > LARGEST:
        raise BadAnswer("the body is too large")
    said = read_object(body)
    if isinstance(said, NoObject):
        raise BadAnswer(f"the body is no JSON object that can be read: {said.flaw.name}")
    return said


def matches(said: Mapping[str, Any], *fields: tuple[str, Key]) -> tuple[tuple[Key, str], ...]:
    """The ids among the fields that can be used, in the order given."""
    found = ((key, optional_text(said, name, most=_longest(key))) for name, key in fields)
    return tuple((key, value) for key, value in found if value)


def _longest(key: Key) -> int:
    return LONGEST_TOKEN if key is Key.TOKEN else LONGEST_REFERENCE


def within(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object in the field; an empty one for anything else."""
    value = said.get(name)
    return value if isinstance(value, Mapping) else {}


def word(said: Mapping[str, Any], name: str) -> str:
    """The field's text as a name of the provider's, upper-case; "" for anything that is none."""
    return optional_text(said, name, most=64).strip().upper()


def unix_time(value: object) -> datetime | None:
    """Unix seconds as aware UTC; None for anything else, milliseconds among it."""
    if not isinstance(value, int | float):
        return None
    try:
        return plausible(datetime.fromtimestamp(value, UTC))
    except (ValueError, OverflowError, OSError):
        return None


def iso_time(value: object) -> datetime | None:
    """An ISO 8601 time as aware UTC; None for anything else."""
    return plausible(utc_time(value))


def plausible(time: datetime | None) -> datetime | None:
    return time if time is not None and time >= EARLIEST else None
