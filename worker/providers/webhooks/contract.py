"""The contract of every webhook reader: it first checks that the bytes are the provider's, then reads them. And what a
provider said of one session, in our words: by a webhook, or in its list.

Readers are pure, like the adapters in this room: they take bytes and the time, and return an update. They never raise
on bytes that were sent. The effect of each event: docs/reference/webhooks.md.

Updates come late, twice and in any order, so each has a rank. What they do to the customer's sessions and jobs:
`web.webhooks.session_chain`.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from hashlib import sha256
from typing import Any, Protocol

from onboarding_worker.adapters.bodies import LONGEST_TOKEN, BadAnswer, optional_text
from onboarding_worker.adapters.settings import AccountSettings, Secret
from onboarding_worker.adapters.strict_json import NoObject, read_object
from onboarding_worker.core.foundation.notation import utc_time
from onboarding_worker.core.model.states import Result, SessionState
from onboarding_worker.core.rules.reconciliation import Listed

LOOK_UP = "LOOK-UP"  # the name of the event where the provider's list was read
LISTED = -1  # the weight of what a provider's list says
# A person's result with its screening hits has about ten kilobytes; a company's with many owners about a hundred.
LARGEST = 1024 * 1024
# The length of the column that stores a reference.
LONGEST_REFERENCE = 100
# No verification is older. An earlier time is a zero, or seconds in another unit.
EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)


class Key(StrEnum):
    """The ids by which a session can be found, under the provider's names."""

    SCAN_REF = "scanRef"
    EXTERNAL_REF = "externalRef"
    TOKEN = "token"  # noqa: S105  # the name of a field; its value is as secret as the link
    COMPANY_ID = "companyId"
    CLIENT_ID = "clientId"  # the customer's id: its newest session
    ENTITY_ID = "entityId"  # its newest session that has not ended
    CUSTOMER_REFERENCE = "entityCustomerReference"  # the customer's id


class Rank(IntEnum):
    """The rank of an update. An update with a lower rank never replaces one with a higher rank, however late it is."""

    NOTHING = 0  # no update yet; our own clock may have called the session expired
    BEGUN = 1
    GONE = 2  # deleted or archived at the provider, which does not show how the session ended
    ENDED = 3  # expired or cancelled, and a verdict may still come; or replaced by us
    FINAL = 4  # a verdict, which only a later verdict replaces


@dataclass(frozen=True, repr=False)
class SessionUpdate:
    """The content of one webhook. Nothing personal is stored: no names, documents, images or screening hits.

    `match` holds the ids to find the session by, in the order in which to try them; an id may be a token, so no repr
    shows them. `state` None changes nothing. `final`: the provider marks it as final. `happened_at` is aware UTC, None
    where the event has no time. `weight` orders events of the same time: the heavier is the later. `note` is a text of
    ours for operators. `alert`: an operator should look at it. `company_id` is stored with the session, because later
    events may have no other id. `vouched`: an operator has checked the update at the provider. `reasons`: its codes of
    why it decided so (`model.refusals`).
    """

    event: str
    match: tuple[tuple[Key, str], ...] = ()
    state: SessionState | None = None
    final: bool = False
    result: Result | None = None
    happened_at: datetime | None = None
    weight: int = 0
    gone: bool = False
    note: str = ""
    alert: bool = False
    company_id: str = ""
    vouched: bool = False
    reasons: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"SessionUpdate({self.event}, state={self.state}, result={self.result}, final={self.final})"

    @property
    def rank(self) -> Rank:
        if self.state is None:
            return Rank.NOTHING
        if self.state is SessionState.STARTED:
            return Rank.BEGUN
        if self.gone:
            return Rank.GONE
        # An expiry is not a verdict, even if the event is marked final: a verdict that comes later still counts.
        return Rank.FINAL if self.final and self.state is not SessionState.EXPIRED else Rank.ENDED


def update_of_listed(entry: Listed) -> SessionUpdate | None:
    """What an entry of the provider's list says, as an update; None: nothing new."""
    if entry.state is None:
        return None
    return SessionUpdate(
        LOOK_UP,
        match=((Key.SCAN_REF, entry.reference),),
        state=entry.state,
        final=entry.has_verdict,
        result=Result(entry.result) if entry.result else None,
        weight=LISTED,
        gone=entry.state is SessionState.FAILED and not entry.result,
    )


@dataclass(frozen=True, repr=False)
class Delivery:
    """One POST as it came. Its body is personal, and its headers and path may hold a secret: no repr shows them.
    `headers` has lower-case names. `path` has the decoded segments after the account's name: ("SECRET",
    "REQUESTID")."""

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
        """Why this is not the provider's, for the log and without values; "" if it is. Nothing is parsed before. `now`
        is aware UTC. The response to a refused webhook is 401."""

    def read(self, delivery: Delivery) -> SessionUpdate | Unreadable:
        """The update in a webhook that was not refused. An unknown event is an update that changes nothing."""


class WebhookSettings(AccountSettings, Protocol):
    """One `[accounts.NAME]`, with the keys that a reader needs."""

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
    """The JSON object in the body. Raises BadAnswer for anything else; its text names no value. A field that appears
    twice is refused: one parser uses the first, another the last."""
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
