"""What senders told of messages, worked off: read again from what was kept, and applied one after the other."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.domain.contact.delivery_reports import DeliveryNews, Fate, Stop
from worker.foundation.keyring import Keyring
from worker.store.messages import delivery_reports as delivering
from worker.store.messages.delivery_reports import deliver
from worker.store.messages.fallback import DeliveryTerms
from worker.store.webhooks.webhooks import SENDER, Became, Told, WebhookState

# A text's reference is known once its hand-over is written, by moments; where the answer was lost, once it was looked
# up, by minutes. A mail is known by an id that was ours before it left: one that is not known is somebody else's.
UNKNOWN_WAITS = tuple(timedelta(seconds=seconds) for seconds in (3, 15, 60, 5 * 60, 20 * 60))
# While the message is being handed over, what comes of that must be written first.
LATER = timedelta(seconds=3)


class Delivers:
    """Applies what senders say of messages."""

    def __init__(self, keyring: Keyring, terms: Callable[[], DeliveryTerms]) -> None:
        self._keyring = keyring
        self._terms = terms

    def __call__(
        self, connection: sa.Connection, told: Sequence[Told], due: set[tuple[str, str]], now: datetime
    ) -> dict[uuid.UUID, Became]:
        terms = self._terms()
        heard = [(one, delivery_of(one.said)) for one in sorted(told, key=lambda one: (one.received_at, one.id))]
        delivering.lock(connection, [(one.source, news.reference) for one, news in heard])
        became, delivered = {}, []
        for one, news in heard:
            what = deliver(connection, self._keyring, terms, one.source, news, received_at=one.received_at, now=now)
            if what.channel is not None:
                due.add(("invite", what.channel))
            became[one.id] = _became(one, what)
            delivered.append(what)
        delivering.count(connection, delivered, terms, now=now)
        return became


def _became(one: Told, delivered: delivering.Delivered) -> Became:
    match delivered.told:
        case delivering.Told.LATER:
            return Became(
                WebhookState.WAITING, "the message is being sent", again_after=LATER * 2 ** min(one.attempts, 6)
            )
        case delivering.Told.UNKNOWN if one.source == f"{SENDER}sms" and one.attempts < len(UNKNOWN_WAITS):
            return Became(WebhookState.WAITING, "it names no message of ours", again_after=UNKNOWN_WAITS[one.attempts])
        case delivering.Told.UNKNOWN:
            return Became(WebhookState.IGNORED, "it names no message of ours")
        case delivering.Told.APPLIED:
            return Became(WebhookState.APPLIED, invitation_id=delivered.invitation_id)
        case delivering.Told.NOTHING_NEW:
            return Became(WebhookState.IGNORED, invitation_id=delivered.invitation_id)


def said_of(news: DeliveryNews) -> dict[str, Any]:
    """All that a sender said, as JSON has it, to be kept until it is applied."""
    kept = {name: value for name, value in vars(news).items() if value}
    return kept | ({"happened_at": news.happened_at.isoformat()} if news.happened_at else {})


def delivery_of(kept: Mapping[str, Any]) -> DeliveryNews:
    """What `said_of` gave. Raises ValueError for what it never gives."""
    given = dict(kept)
    for name, read in (("fate", Fate), ("stop", Stop), ("happened_at", datetime.fromisoformat)):
        if name in given:
            given[name] = read(given[name])
    return DeliveryNews(**given)
