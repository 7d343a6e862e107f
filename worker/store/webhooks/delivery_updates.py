"""Processes stored webhooks of senders: reads their delivery updates and applies them one by one."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.domain.contact.delivery_reports import DeliveryStatus, DeliveryUpdate, Stop
from worker.domain.model.backoff import Backoff
from worker.domain.model.channels import is_mail
from worker.domain.model.wakeups import WakeUp
from worker.foundation.keyring import Keyring
from worker.store.messages import delivery_reports
from worker.store.messages.delivery_reports import deliver
from worker.store.messages.fallback import DeliveryPolicy
from worker.store.webhooks.webhooks import SENDER, KeptWebhook, WebhookResult, WebhookState

# The reference of a text message is known moments after the hand-over, or minutes after it where the answer was lost
# and reconciled. A mail has an id of ours before it leaves: an update with an unknown id is not about our mail.
UNMATCHED_BACKOFF = Backoff.steps(3, 15, 60, 5 * 60, 20 * 60)
# While the message is being handed over: the result of the hand-over is written first.
HAND_OVER_BACKOFF = Backoff(first=timedelta(seconds=3), most=timedelta(seconds=3 * 2**6))


class DeliveryUpdates:
    """Applies senders' delivery updates."""

    def __init__(self, keyring: Keyring, policy: Callable[[], DeliveryPolicy]) -> None:
        self._keyring = keyring
        self._policy = policy

    def __call__(
        self, connection: sa.Connection, webhooks: Sequence[KeptWebhook], due: set[WakeUp], now: datetime
    ) -> dict[uuid.UUID, WebhookResult]:
        policy = self._policy()
        updates = [
            (one, delivery_update(one.update)) for one in sorted(webhooks, key=lambda one: (one.received_at, one.id))
        ]
        delivery_reports.lock(connection, [(one.source, update.reference) for one, update in updates])
        results, delivered = {}, []
        for one, update in updates:
            done = deliver(connection, self._keyring, policy, one.source, update, received_at=one.received_at, now=now)
            if done.channel is not None:
                due.add(WakeUp.invite(done.channel))
            results[one.id] = _result(one, update, done)
            delivered.append(done)
        delivery_reports.count(connection, delivered, policy, now=now)
        return results


def _result(one: KeptWebhook, update: DeliveryUpdate, delivered: delivery_reports.Delivered) -> WebhookResult:
    match delivered.applied:
        case delivery_reports.Applied.LATER:
            wait = HAND_OVER_BACKOFF.after(one.attempts + 1)
            return WebhookResult(WebhookState.WAITING, "the message is being sent", again_after=wait)
        case delivery_reports.Applied.UNKNOWN:
            wait = UNMATCHED_BACKOFF.after(one.attempts + 1) if not is_mail(one.source.removeprefix(SENDER)) else None
            state = WebhookState.IGNORED if wait is None else WebhookState.WAITING
            return WebhookResult(state, "no message here matches it", again_after=wait)
        case delivery_reports.Applied.APPLIED:
            said = [word.value for word in (update.status, update.stop) if word is not None]
            changed = ", ".join([*said, *(["may get messages again"] if update.resume else [])])
            return WebhookResult(WebhookState.APPLIED, invitation_id=delivered.invitation_id, changed=changed)
        case delivery_reports.Applied.NOTHING_NEW:
            return WebhookResult(WebhookState.IGNORED, invitation_id=delivered.invitation_id)


def delivery_as_json(update: DeliveryUpdate) -> dict[str, Any]:
    """The whole update as JSON, to be stored until it is applied."""
    kept = {name: value for name, value in vars(update).items() if value}
    return kept | ({"happened_at": update.happened_at.isoformat()} if update.happened_at else {})


def delivery_update(kept: Mapping[str, Any]) -> DeliveryUpdate:
    """The update from the output of `delivery_as_json`. Raises ValueError for anything else."""
    given = dict(kept)
    for name, read in (("status", DeliveryStatus), ("stop", Stop), ("happened_at", datetime.fromisoformat)):
        if name in given:
            given[name] = read(given[name])
    return DeliveryUpdate(**given)
