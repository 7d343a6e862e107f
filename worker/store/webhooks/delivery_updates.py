"""What senders told of messages, worked off: read again from what was kept, and applied one after the other."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.domain.contact.delivery_reports import DeliveryStatus, DeliveryUpdate, Stop
from worker.domain.model.backoff import Backoff
from worker.domain.model.wakeups import WakeUp
from worker.foundation.keyring import Keyring
from worker.store.messages import delivery_reports as delivering
from worker.store.messages.delivery_reports import deliver
from worker.store.messages.fallback import DeliveryPolicy
from worker.store.webhooks.webhooks import SENDER, Became, KeptWebhook, WebhookState

# The reference of a text message is known moments after the hand-over, or minutes after it where the answer was lost
# and reconciled. A mail has an id of ours before it leaves: an update with an unknown id is not about our mail.
UNMATCHED_BACKOFF = Backoff.steps(3, 15, 60, 5 * 60, 20 * 60)
# While the message is being handed over: the result of the hand-over is written first.
HAND_OVER_BACKOFF = Backoff(first=timedelta(seconds=3), most=timedelta(seconds=3 * 2**6))


class DeliveryUpdates:
    """Applies what senders say of messages."""

    def __init__(self, keyring: Keyring, policy: Callable[[], DeliveryPolicy]) -> None:
        self._keyring = keyring
        self._policy = policy

    def __call__(
        self, connection: sa.Connection, webhooks: Sequence[KeptWebhook], due: set[WakeUp], now: datetime
    ) -> dict[uuid.UUID, Became]:
        policy = self._policy()
        updates = [
            (one, delivery_update(one.said)) for one in sorted(webhooks, key=lambda one: (one.received_at, one.id))
        ]
        delivering.lock(connection, [(one.source, update.reference) for one, update in updates])
        became, delivered = {}, []
        for one, update in updates:
            what = deliver(connection, self._keyring, policy, one.source, update, received_at=one.received_at, now=now)
            if what.channel is not None:
                due.add(WakeUp.invite(what.channel))
            became[one.id] = _became(one, what)
            delivered.append(what)
        delivering.count(connection, delivered, policy, now=now)
        return became


def _became(one: KeptWebhook, delivered: delivering.Delivered) -> Became:
    match delivered.applied:
        case delivering.Applied.LATER:
            wait = HAND_OVER_BACKOFF.after(one.attempts + 1)
            return Became(WebhookState.WAITING, "the message is being sent", again_after=wait)
        case delivering.Applied.UNKNOWN:
            wait = UNMATCHED_BACKOFF.after(one.attempts + 1) if one.source == f"{SENDER}sms" else None
            state = WebhookState.IGNORED if wait is None else WebhookState.WAITING
            return Became(state, "it names no message of ours", again_after=wait)
        case delivering.Applied.APPLIED:
            return Became(WebhookState.APPLIED, invitation_id=delivered.invitation_id)
        case delivering.Applied.NOTHING_NEW:
            return Became(WebhookState.IGNORED, invitation_id=delivered.invitation_id)


def delivery_as_json(update: DeliveryUpdate) -> dict[str, Any]:
    """All that a sender said, as JSON has it, to be kept until it is applied."""
    kept = {name: value for name, value in vars(update).items() if value}
    return kept | ({"happened_at": update.happened_at.isoformat()} if update.happened_at else {})


def delivery_update(kept: Mapping[str, Any]) -> DeliveryUpdate:
    """What `delivery_as_json` gave. Raises ValueError for what it never gives."""
    given = dict(kept)
    for name, read in (("status", DeliveryStatus), ("stop", Stop), ("happened_at", datetime.fromisoformat)):
        if name in given:
            given[name] = read(given[name])
    return DeliveryUpdate(**given)
