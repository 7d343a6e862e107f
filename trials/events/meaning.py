"""The expected result of events: a small model of docs/reference/events.md, written only from that page.

The model reads what happened, so the order of arrival makes no difference, as the page promises.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from trials.events.event import CANCELLED, ERASED, REQUESTED, UPDATED, Event

# An event without a time happened when it came: after all times in these stories.
RECEIVED = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Due:
    """What a customer must get for a purpose. `wanted`: one invitation by each of the `channels`, or only the session
    if it is `deferred`. `requests` is the number of events that asked for it.
    """

    wanted: bool
    deferred: bool
    requests: int
    channels: frozenset[str]


@dataclass(frozen=True)
class Known:
    """A customer after all events. `email`, `phone`: the current addresses; `former` has the earlier ones. `is_known`:
    personal data of the customer is stored."""

    customer_id: str
    is_known: bool = False
    email: str = ""
    phone: str = ""
    former: frozenset[str] = frozenset()
    due: Mapping[str, Due] = field(default_factory=dict)  # by purpose


def meant(events: Iterable[Event]) -> dict[str, Known]:
    """The expected customers, by id. `events` has each event once, however often it was sent."""
    stories: defaultdict[str, list[Event]] = defaultdict(list)
    for one in events:
        stories[one.customer_id].append(one)
    return {customer_id: _known(customer_id, story) for customer_id, story in stories.items()}


def _known(customer_id: str, story: Sequence[Event]) -> Known:
    erased_at = max((_at(one) for one in story if one.kind == ERASED), default=datetime.min.replace(tzinfo=UTC))
    since = [one for one in story if _at(one) > erased_at]
    rows = sorted((one for one in since if one.kind == REQUESTED), key=_at)
    columns: dict[str, Any] = {}
    if rows:
        newest = rows[-1]
        columns = dict(newest.data)
        for one in sorted((one for one in since if one.kind == UPDATED and _at(one) > _at(newest)), key=_at):
            columns |= one.data
    addresses = {str(one.data[name]) for one in story for name in ("email", "phone") if name in one.data}
    purposes = {one.purpose for one in story if one.kind == REQUESTED}
    now = {str(columns.get(name, "")) for name in ("email", "phone")}
    return Known(
        customer_id,
        is_known=bool(rows),
        email=str(columns.get("email", "")),
        phone=str(columns.get("phone", "")),
        former=frozenset(addresses - now),
        due={purpose: _due(purpose, story, since) for purpose in purposes},
    )


def _due(purpose: str, story: Sequence[Event], since: Sequence[Event]) -> Due:
    def of(kind: str, events: Sequence[Event]) -> list[Event]:
        return sorted((one for one in events if one.kind == kind and one.purpose == purpose), key=_at)

    ever, asked, cancelled = of(REQUESTED, story), of(REQUESTED, since), of(CANCELLED, since)
    called_off = not asked or (bool(cancelled) and _at(cancelled[-1]) > _at(asked[-1]))
    newest = (asked or ever)[-1]
    channel = str(newest.data["channel"])
    return Due(
        wanted=not called_off,
        deferred="invite_after" in newest.data,
        requests=len(ever),
        channels=frozenset({"email", "sms"} if channel == "both" else {channel}),
    )


def _at(event: Event) -> datetime:
    return event.time or RECEIVED
