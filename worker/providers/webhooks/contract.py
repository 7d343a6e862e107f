"""The contract of every webhook reader: it first checks that the bytes are the provider's, then reads them.

Readers are pure, like the adapters in this room: they take bytes and the time, and return an update. They never raise
on bytes that were sent. The effect of each event: docs/reference/webhooks.md.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Protocol

from worker.core.foundation.notation import utc_time
from worker.providers.account import Secret
from worker.providers.bodies import LONGEST_TOKEN, BadAnswer, optional_text
from worker.providers.strict_json import NoObject, read_object
from worker.providers.webhooks.session_updates import Key, SessionUpdate

# A person's result with its screening hits has about ten kilobytes; a company's with many owners about a hundred.
LARGEST = 1024 * 1024
# The length of the column that stores a reference.
LONGEST_REFERENCE = 100
# No verification is older. An earlier time is a zero, or seconds in another unit.
EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, repr=False)
class Delivery:
    """One POST as it came. Its body is personal, and its headers and path may hold a secret: no repr shows them.

    `headers` has lower-case names. `path` has the decoded segments after the account's name: ("SECRET", "REQUESTID").
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Delivery({len(self.body)} bytes)"


@dataclass(frozen=True)
class Unreadable:
    """The provider's bytes, but not readable. `reason` names no value; `status` is the HTTP status of the response."""

    reason: str
    status: int = 200


class WebhookReader(Protocol):
    """One account's webhooks. Built once per process from the account's settings."""

    def refuses_unread(self, delivery: Delivery, *, now: datetime) -> str:
        """As `refuses`, by the headers and the path alone, so that the body of a forged request is not read."""

    def refuses(self, delivery: Delivery, *, now: datetime) -> str:
        """Why this is not the provider's, for the log and without values; "" if it is. Nothing is parsed before.

        `now` is aware UTC. The response to a refused webhook is 401.
        """

    def read(self, delivery: Delivery) -> SessionUpdate | Unreadable:
        """The update in a webhook that was not refused. An unknown event is an update that changes nothing."""


class WebhookSettings(Protocol):
    """The keys of one `[accounts.NAME]` that a reader needs."""

    @property
    def name(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def webhook_keys(self) -> tuple[Secret, ...]: ...
    @property
    def jwt_key(self) -> tuple[Secret, ...]: ...
    @property
    def jwt_audience(self) -> str | None: ...
    @property
    def webhook_secret(self) -> tuple[Secret, ...]: ...


def same(given: str, expected: str) -> bool:
    """True if the two texts are equal. The duration does not reveal where they differ, or which one is longer."""
    hashes = (sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (given, expected))
    return hmac.compare_digest(*hashes)


def json_content(body: bytes) -> Mapping[str, Any]:
    """The JSON object in the body. Raises BadAnswer for anything else; its text names no value.

    A field that appears twice is refused: one parser uses the first, another the last.
    """
    if len(body) > LARGEST:
        raise BadAnswer("the body is too large")
    content = read_object(body)
    if isinstance(content, NoObject):
        raise BadAnswer(f"the body {content.words}")
    return content


def matches(content: Mapping[str, Any], *fields: tuple[str, Key]) -> tuple[tuple[Key, str], ...]:
    """The usable ids of these fields, in the given order."""
    longest = {Key.TOKEN: LONGEST_TOKEN}
    found = ((key, optional_text(content, name, most=longest.get(key, LONGEST_REFERENCE))) for name, key in fields)
    return tuple((key, value) for key, value in found if value)


def object_in(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object in the field; an empty object for anything else."""
    value = content.get(name)
    return value if isinstance(value, Mapping) else {}


def upper_text(content: Mapping[str, Any], name: str) -> str:
    """The field's text in upper case; "" if it is not a short text."""
    return optional_text(content, name, most=64).strip().upper()


def unix_time(value: object) -> datetime | None:
    """Unix seconds as aware UTC; None for anything else, milliseconds included."""
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
